#include "nat/impl.h"

#define ECHO_REPLY_HOPS 64

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Loads in the machine's own order, for sums only: a one's complement sum of words with their bytes
 * swapped is the sum, with its bytes swapped (RFC 1071, section 2B). */
static inline uint32_t load_native32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint16_t load_native16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void store_native16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

uint32_t nat_checksum_add(uint32_t start, const uint8_t *data, size_t len)
{
	/* 2^16 and 2^32 are both 1 modulo 0xffff, so 32-bit words may be added up and folded later.
	 */
	uint64_t sum = start;

	for (; len >= 4; data += 4, len -= 4)
		sum += load_be32(data);
	if (len >= 2) {
		sum += load_be16(data);
		data += 2;
		len -= 2;
	}
	if (len > 0)
		sum += (uint32_t)data[0] << 8;

	sum = (sum & UINT32_MAX) + (sum >> 32);
	return (uint32_t)((sum & UINT32_MAX) + (sum >> 32));
}

/* The usual 20 bytes are five loads in the machine's own order. */
static inline bool is_v4_header_sum_ok(const uint8_t *pkt, unsigned header_len)
{
	uint64_t sum;

	if (header_len != IPV4_HEADER_BYTES)
		return nat_checksum_fold(nat_checksum_add(0, pkt, header_len)) == 0xffff;
	sum = (uint64_t)load_native32(pkt) + load_native32(pkt + 4) + load_native32(pkt + 8) +
	      load_native32(pkt + 12) + load_native32(pkt + 16);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return nat_checksum_fold((uint32_t)sum) == 0xffff;
}

/* The header of an unfragmented TCP or UDP payload of len bytes is here, and its lengths fit. */
static inline bool is_l4_whole(uint8_t proto, const uint8_t *l4, unsigned len)
{
	unsigned header_len, udp_len;

	if (proto == NAT_PROTO_TCP) {
		if (UNLIKELY(len < TCP_HEADER_BYTES))
			return false;
		header_len = (l4[12] >> 4) * 4u;
		if (UNLIKELY(header_len < TCP_HEADER_BYTES || header_len > len))
			return false;
	} else {
		if (UNLIKELY(len < UDP_HEADER_BYTES))
			return false;
		udp_len = load_be16(l4 + 4);
		if (UNLIKELY(udp_len < UDP_HEADER_BYTES || udp_len > len))
			return false;
	}
	return true;
}

enum nat_verdict nat_parse_icmp(const uint8_t *pkt, struct nat_view *v)
{
	const uint8_t *icmp = pkt + v->l4_offset;

	v->icmp_type = icmp[0];
	if (!nat_icmp_is_echo(v->version, icmp[0]))
		return NAT_OTHER_PROTO;
	v->src_port = load_be16(icmp + ICMP_ECHO_ID_AT);
	v->dst_port = v->src_port;
	v->has_l4 = true;
	return NAT_OK;
}

/* offset_bytes and len are this fragment's place in its packet. All but the last are multiples of
 * 8 bytes (RFC 791, section 3.2; RFC 8200, section 4.5), and none may end past 65,535. */
static __attribute__((noinline)) enum nat_verdict check_fragment(
	unsigned header_len, unsigned offset_bytes, unsigned len, bool is_last)
{
	if (header_len + offset_bytes + len > UINT16_MAX ||
		(!is_last && (len % 8 != 0 || len == 0)))
		return NAT_MALFORMED;
	return NAT_FRAGMENT;
}

/* The view is stored field by field: through a copy of the struct it took twice as long, because
 * the wide loads of the copy waited for the narrow stores. */
static inline __attribute__((always_inline)) enum nat_verdict fill_v4(
	const uint8_t *pkt, unsigned header_len, enum nat_verdict verdict, struct nat_view *out)
{
	out->version = 4;
	out->icmp_type = 0;
	out->l4_offset = (uint16_t)header_len;
	out->total_len = load_be16(pkt + 2);
	out->src_port = verdict == NAT_OK ? load_be16(pkt + header_len) : 0;
	out->dst_port = verdict == NAT_OK ? load_be16(pkt + header_len + 2) : 0;
	out->proto = pkt[9];
	out->has_l4 = verdict == NAT_OK;
	out->dont_fragment = load_be16(pkt + IPV4_FRAGMENT_AT) & IPV4_DF;
	out->hop_limit = pkt[8];
	return verdict;
}

/* Neither TCP nor UDP, or a fragment; the header is right. */
static __attribute__((noinline)) enum nat_verdict parse_v4_rest(
	const uint8_t *pkt, unsigned header_len, struct nat_view *out)
{
	unsigned len = load_be16(pkt + 2) - header_len,
		 fragment = load_be16(pkt + IPV4_FRAGMENT_AT);
	enum nat_verdict verdict;

	if (fragment & (IPV4_MF | IPV4_OFFSET)) {
		verdict = check_fragment(
			header_len, (fragment & IPV4_OFFSET) * 8, len, !(fragment & IPV4_MF));
		return verdict == NAT_MALFORMED ? verdict : fill_v4(pkt, header_len, verdict, out);
	}
	if (pkt[9] != NAT_PROTO_ICMP)
		return fill_v4(pkt, header_len, NAT_OTHER_PROTO, out);
	if (len < ICMP_HEADER_BYTES)
		return NAT_MALFORMED;
	fill_v4(pkt, header_len, NAT_OTHER_PROTO, out);
	return nat_parse_icmp(pkt, out);
}

/* header_len is at most len. Inlined twice: the compiler keeps only the 20-byte sum in one. */
static inline __attribute__((always_inline)) enum nat_verdict parse_v4(
	const uint8_t *pkt, size_t len, unsigned header_len, struct nat_view *out)
{
	unsigned total_len = load_be16(pkt + 2), fragment = load_be16(pkt + IPV4_FRAGMENT_AT);

	if (UNLIKELY(total_len < header_len || total_len > len ||
		     !is_v4_header_sum_ok(pkt, header_len)))
		return NAT_MALFORMED;
	if (UNLIKELY((fragment & (IPV4_MF | IPV4_OFFSET)) ||
		     (pkt[9] != NAT_PROTO_TCP && pkt[9] != NAT_PROTO_UDP)))
		return parse_v4_rest(pkt, header_len, out);
	if (UNLIKELY(!is_l4_whole(pkt[9], pkt + header_len, total_len - header_len)))
		return NAT_MALFORMED;
	return fill_v4(pkt, header_len, NAT_OK, out);
}

static __attribute__((noinline)) enum nat_verdict parse_v4_options(
	const uint8_t *pkt, size_t len, struct nat_view *out)
{
	unsigned header_len = (pkt[0] & 0xf) * 4u;

	if (header_len < IPV4_HEADER_BYTES || header_len > len)
		return NAT_MALFORMED;
	return parse_v4(pkt, len, header_len, out);
}

/* Bytes of the extension header at ext, of which at least two bytes are there; 0: not one. */
static unsigned ext_header_bytes(uint8_t next_header, const uint8_t *ext)
{
	switch (next_header) {
	case IPV6_NH_HOPOPTS:
	case IPV6_NH_ROUTING:
	case IPV6_NH_DSTOPTS:
	case IPV6_NH_MOBILITY:
	case IPV6_NH_HIP:
	case IPV6_NH_SHIM6:
		return (ext[1] + 1u) * 8;
	case IPV6_NH_AH: /* counted in 4-byte units, less 2 (RFC 4302, section 2.2) */
		return (ext[1] + 2u) * 4;
	case IPV6_NH_FRAGMENT:
		return IPV6_FRAGMENT_BYTES;
	default:
		return 0;
	}
}

static bool is_ext_header(uint8_t next_header)
{
	static const uint8_t dummy[2];

	return ext_header_bytes(next_header, dummy) != 0;
}

enum nat_verdict nat_walk_extensions(const uint8_t *pkt, struct nat_view *v)
{
	unsigned at = v->l4_offset, n;
	const uint8_t *ext;
	uint8_t kind;

	for (unsigned walked = 0; is_ext_header(v->proto); walked++) {
		kind = v->proto;
		ext = pkt + at;
		/* Hop-by-hop options come first or not at all (RFC 8200, section 4.1). */
		if (walked == IPV6_EXT_MAX || v->total_len - at < 8 ||
			(kind == IPV6_NH_HOPOPTS && at != IPV6_HEADER_BYTES))
			return NAT_MALFORMED;
		n = ext_header_bytes(kind, ext);
		if (n > v->total_len - at)
			return NAT_MALFORMED;
		at += n;
		v->proto = ext[0];
		v->l4_offset = (uint16_t)at;

		if (kind == IPV6_NH_FRAGMENT) {
			/* offset and more clear: atomic (RFC 6946) */
			if (nat_v6_fragment_field(pkt, v) & 0xfff9)
				return NAT_FRAGMENT;
		} else if (kind == IPV6_NH_ROUTING) {
			/* Type 0 is gone (RFC 5095). One with segments left names another
			 * destination than the header, so ports would decide wrongly. */
			if (ext[2] == 0)
				return NAT_MALFORMED;
			if (ext[3] != 0)
				return NAT_OTHER_PROTO;
		}
	}
	return NAT_OK;
}

/* The upper-layer header, which the walk has reached. */
static enum nat_verdict parse_l4_v6(const uint8_t *pkt, struct nat_view *v)
{
	const uint8_t *l4 = pkt + v->l4_offset;
	unsigned len = (unsigned)v->total_len - v->l4_offset;

	switch (v->proto) {
	case NAT_PROTO_TCP:
	case NAT_PROTO_UDP:
		if (!is_l4_whole(v->proto, l4, len))
			return NAT_MALFORMED;
		v->src_port = load_be16(l4);
		v->dst_port = load_be16(l4 + 2);
		v->has_l4 = true;
		return NAT_OK;
	case NAT_PROTO_ICMPV6:
		return len < ICMP_HEADER_BYTES ? NAT_MALFORMED : nat_parse_icmp(pkt, v);
	default:
		return NAT_OTHER_PROTO;
	}
}

static __attribute__((noinline)) enum nat_verdict parse_v6(
	const uint8_t *pkt, size_t len, struct nat_view *out)
{
	enum nat_verdict verdict;
	unsigned total_len, fragment;
	struct nat_view v;

	if (len < IPV6_HEADER_BYTES)
		return NAT_MALFORMED;
	total_len = IPV6_HEADER_BYTES + load_be16(pkt + 4);
	if (total_len > len || total_len > UINT16_MAX)
		return NAT_MALFORMED;
	v = (struct nat_view){
		.version = 6,
		.proto = pkt[6],
		.hop_limit = pkt[7],
		.l4_offset = IPV6_HEADER_BYTES,
		.total_len = (uint16_t)total_len,
		.dont_fragment = true,
	};
	verdict = nat_walk_extensions(pkt, &v);
	if (verdict == NAT_OK) {
		verdict = parse_l4_v6(pkt, &v);
	} else if (verdict == NAT_FRAGMENT) {
		fragment = nat_v6_fragment_field(pkt, &v);
		verdict = check_fragment(
			0, fragment & 0xfff8, total_len - v.l4_offset, !(fragment & 1));
	}
	if (verdict != NAT_MALFORMED)
		*out = v;
	return verdict;
}

enum nat_verdict nat_parse(const uint8_t *pkt, size_t len, struct nat_view *out)
{
	if (UNLIKELY(len < IPV4_HEADER_BYTES))
		return NAT_MALFORMED;
	if (LIKELY(pkt[0] == 0x45))
		return parse_v4(pkt, len, IPV4_HEADER_BYTES, out);
	switch (pkt[0] >> 4) {
	case 4:
		return parse_v4_options(pkt, len, out);
	case 6:
		return parse_v6(pkt, len, out);
	default:
		return NAT_MALFORMED;
	}
}

/* nat_checksum_update, all of it in the machine's own order; diff: below 2^34. */
static inline uint16_t update_native(uint16_t checksum, uint64_t diff)
{
	diff += (uint16_t)~checksum;
	diff = (diff & UINT32_MAX) + (diff >> 32);
	diff = (diff & 0xffff) + (diff >> 16);
	return (uint16_t)~nat_checksum_fold((uint32_t)diff);
}

static inline void mend_native(uint8_t *checksum, uint64_t diff)
{
	store_native16(checksum, update_native(load_native16(checksum), diff));
}

static inline void rewrite(uint8_t *pkt, const struct nat_view *v, const uint8_t *addr,
	uint16_t port, unsigned addr_at, unsigned port_at)
{
	uint8_t *l4 = pkt + v->l4_offset;
	uint16_t old_sum, sum;
	uint64_t diff;

	diff = (uint64_t)~load_native32(pkt + addr_at) + load_native32(addr);
	memcpy(pkt + addr_at, addr, 4);
	mend_native(pkt + IPV4_CHECKSUM_AT, diff);
	if (UNLIKELY(!v->has_l4))
		return;

	if (UNLIKELY(v->proto != NAT_PROTO_TCP && v->proto != NAT_PROTO_UDP)) {
		/* An echo: no pseudo header, so the address is not in its sum. */
		nat_mend(l4 + ICMP_CHECKSUM_AT, nat_diff16(load_be16(l4 + ICMP_ECHO_ID_AT), port));
		store_be16(l4 + ICMP_ECHO_ID_AT, port);
		return;
	}
	diff += (uint16_t)~load_native16(l4 + port_at);
	store_be16(l4 + port_at, port);
	diff += load_native16(l4 + port_at);
	if (v->proto == NAT_PROTO_TCP) {
		mend_native(l4 + TCP_CHECKSUM_AT, diff);
		return;
	}
	/* RFC 768: zero on the wire means "none", so none stays none and a computed zero is sent as
	 * all ones. */
	old_sum = load_native16(l4 + UDP_CHECKSUM_AT);
	sum = update_native(old_sum, diff);
	sum = sum == 0 ? 0xffff : sum;
	store_native16(l4 + UDP_CHECKSUM_AT, old_sum == 0 ? 0 : sum);
}

void nat_rewrite_dst(
	uint8_t *pkt, const struct nat_view *v, const uint8_t addr[static 4], uint16_t port)
{
	rewrite(pkt, v, addr, port, IPV4_DST_AT, 2);
}

void nat_rewrite_src(
	uint8_t *pkt, const struct nat_view *v, const uint8_t addr[static 4], uint16_t port)
{
	rewrite(pkt, v, addr, port, IPV4_SRC_AT, 0);
}

void nat_set_ip_id(uint8_t *pkt, const struct nat_view *v, uint16_t id)
{
	if (v->version != 4)
		return;
	nat_mend(pkt + IPV4_CHECKSUM_AT, nat_diff16(load_be16(pkt + IPV4_ID_AT), id));
	store_be16(pkt + IPV4_ID_AT, id);
}

/* The TTL is the high byte of its checksummed word. */
static inline void set_ttl(uint8_t *pkt, uint8_t ttl)
{
	nat_mend(pkt + IPV4_CHECKSUM_AT, nat_diff16((uint16_t)(pkt[8] << 8), (uint16_t)(ttl << 8)));
	pkt[8] = ttl;
}

/* The L4 length that checksums cover: UDP has its own, which may be less than what IP carries. */
static unsigned l4_bytes(const uint8_t *pkt, const struct nat_view *v)
{
	if (v->proto == NAT_PROTO_UDP)
		return load_be16(pkt + v->l4_offset + 4);
	return (unsigned)v->total_len - v->l4_offset;
}

uint16_t nat_l4_checksum(const uint8_t *pkt, const struct nat_view *v)
{
	const uint8_t *l4 = pkt + v->l4_offset;
	unsigned field_at, len = l4_bytes(pkt, v);
	uint32_t sum = 0;

	switch (v->proto) {
	case NAT_PROTO_TCP:
		field_at = TCP_CHECKSUM_AT;
		break;
	case NAT_PROTO_UDP:
		field_at = UDP_CHECKSUM_AT;
		break;
	default:
		field_at = ICMP_CHECKSUM_AT;
		break;
	}
	if (v->proto != NAT_PROTO_ICMP) {
		sum = len + v->proto;
		sum = v->version == 4 ? nat_checksum_add(sum, pkt + IPV4_SRC_AT, 8)
				      : nat_checksum_add(sum, pkt + IPV6_SRC_AT, 32);
	}
	sum = nat_checksum_add(sum, l4, field_at);
	sum = nat_checksum_add(sum, l4 + field_at + 2, len - field_at - 2);
	sum = (uint16_t)~nat_checksum_fold(sum);
	return v->proto == NAT_PROTO_UDP && sum == 0 ? 0xffff : (uint16_t)sum;
}

/* Equal as one's complement numbers: 0 and 0xffff are both zero. */
static bool is_same_checksum(uint16_t a, uint16_t b)
{
	return a == b || ((a == 0 || a == 0xffff) && (b == 0 || b == 0xffff));
}

bool nat_icmp_sum_ok(const uint8_t *pkt, const struct nat_view *v)
{
	/* Not each packet of another protocol was found to have 8 bytes of it: a routing header may
	 * stand before it. */
	if (v->proto != (v->version == 4 ? NAT_PROTO_ICMP : NAT_PROTO_ICMPV6) ||
		v->total_len - v->l4_offset < ICMP_HEADER_BYTES)
		return false;
	return is_same_checksum(
		load_be16(pkt + v->l4_offset + ICMP_CHECKSUM_AT), nat_l4_checksum(pkt, v));
}

static void swap_bytes(uint8_t *a, uint8_t *b, size_t len)
{
	uint8_t keep[16];

	memcpy(keep, a, len);
	memcpy(a, b, len);
	memcpy(b, keep, len);
}

bool nat_echo_reply(uint8_t *pkt, size_t len)
{
	uint8_t request, reply, *l4;
	struct nat_view v;

	if (nat_parse(pkt, len, &v) != NAT_OK)
		return false;
	if (v.proto == NAT_PROTO_ICMP && v.l4_offset == IPV4_HEADER_BYTES) {
		request = ICMP_ECHO_REQUEST;
		reply = ICMP_ECHO_REPLY;
	} else if (v.proto == NAT_PROTO_ICMPV6 && v.l4_offset == IPV6_HEADER_BYTES) {
		request = ICMPV6_ECHO_REQUEST;
		reply = ICMPV6_ECHO_REPLY;
	} else {
		return false;
	}
	l4 = pkt + v.l4_offset;
	/* RFC 5508 REQ-3: a wrong ICMP checksum is dropped. */
	if (l4[0] != request || !nat_icmp_sum_ok(pkt, &v))
		return false;

	/* Swapping the addresses changes no sum. */
	if (v.version == 4) {
		swap_bytes(pkt + IPV4_SRC_AT, pkt + IPV4_DST_AT, 4);
		set_ttl(pkt, ECHO_REPLY_HOPS);
	} else {
		swap_bytes(pkt + IPV6_SRC_AT, pkt + IPV6_DST_AT, 16);
		pkt[7] = ECHO_REPLY_HOPS;
	}
	nat_mend(l4 + ICMP_CHECKSUM_AT,
		nat_diff16((uint16_t)(request << 8), (uint16_t)(reply << 8)));
	l4[0] = reply;
	return true;
}
