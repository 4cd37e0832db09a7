/* icmp_build.c - errors of our own. */
#include "nat/icmp.h"

#include "nat/impl.h"

#define V4_MAX_BYTES	576
#define ERROR_HOPS	64
#define TOS_NET_CONTROL 0xc0 /* RFC 1812, section 4.3.2.5: errors have precedence 6 */
#define CODE_V4_PORT	3
#define CODE_V4_ADMIN	13
#define CODE_V6_ADMIN	1
#define CODE_V6_PORT	4

static bool is_error_or_redirect(uint8_t version, uint8_t type)
{
	if (version == 6)
		return type < ICMPV6_ECHO_REQUEST || type == ICMPV6_REDIRECT;
	return type == ICMP_UNREACHABLE || type == ICMP_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER;
}

/* Whether an error about this packet may be sent: RFC 1122, 3.2.2; RFC 4443, 2.4(e). */
static bool is_reportable(const uint8_t *pkt, enum nat_verdict verdict, struct nat_view v,
	const struct ip_addr *src, const struct ip_addr *dst)
{
	if (ip_is_martian(src) || ip_is_martian(dst))
		return false;
	if (v.version == 4) {
		if ((load_be16(pkt + IPV4_FRAGMENT_AT) & IPV4_OFFSET) != 0)
			return false;
		return v.proto != NAT_PROTO_ICMP || !is_error_or_redirect(4, pkt[v.l4_offset]);
	}
	if (verdict == NAT_FRAGMENT && (nat_v6_fragment_field(pkt, &v) & 0xfff8) != 0)
		return false;
	/* A first fragment or a routing header ended the walk: what is behind it may be an error.
	 * Each step is at least 8 bytes. */
	while (verdict == NAT_FRAGMENT || verdict == NAT_OTHER_PROTO)
		verdict = nat_walk_extensions(pkt, &v);
	if (verdict == NAT_MALFORMED)
		return false;
	return v.proto != NAT_PROTO_ICMPV6 ||
	       (v.l4_offset < v.total_len && !is_error_or_redirect(6, pkt[v.l4_offset]));
}

/* Type, code and the second word. False: not a kind of error. */
static bool write_icmp_head(uint8_t *icmp, uint8_t version, const struct nat_icmp_make *what)
{
	bool is_v4 = version == 4;

	memset(icmp, 0, ICMP_HEADER_BYTES);
	icmp[0] = is_v4 ? ICMP_UNREACHABLE : ICMPV6_UNREACHABLE;
	switch (what->kind) {
	case NAT_ICMP_TIME_EXCEEDED:
		icmp[0] = is_v4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEEDED;
		return true;
	case NAT_ICMP_TOO_BIG:
		icmp[0] = is_v4 ? ICMP_UNREACHABLE : ICMPV6_TOO_BIG;
		icmp[1] = is_v4 ? ICMP_FRAG_NEEDED : 0;
		/* The upper half of the 32-bit field of ICMPv6 is zero. */
		store_be16(icmp + 6, what->mtu);
		return true;
	case NAT_ICMP_ADMIN_PROHIBITED:
		icmp[1] = is_v4 ? CODE_V4_ADMIN : CODE_V6_ADMIN;
		return true;
	case NAT_ICMP_PORT_UNREACHABLE:
		icmp[1] = is_v4 ? CODE_V4_PORT : CODE_V6_PORT;
		return true;
	default:
		return false;
	}
}

/* DF is set, so the packet is atomic and its identification says nothing (RFC 6864). */
static void write_v4_header(
	uint8_t *out, size_t len, const struct ip_addr *src, const struct ip_addr *dst)
{
	memset(out, 0, IPV4_HEADER_BYTES);
	out[0] = 0x45;
	out[1] = TOS_NET_CONTROL;
	store_be16(out + 2, (uint16_t)len);
	store_be16(out + IPV4_FRAGMENT_AT, IPV4_DF);
	out[8] = ERROR_HOPS;
	out[9] = NAT_PROTO_ICMP;
	memcpy(out + IPV4_SRC_AT, ip_v4_bytes(src), 4);
	memcpy(out + IPV4_DST_AT, ip_v4_bytes(dst), 4);
	store_be16(out + IPV4_CHECKSUM_AT,
		(uint16_t)~nat_checksum_fold(nat_checksum_add(0, out, IPV4_HEADER_BYTES)));
}

static void write_v6_header(
	uint8_t *out, size_t len, const struct ip_addr *src, const struct ip_addr *dst)
{
	memset(out, 0, IPV6_HEADER_BYTES);
	out[0] = 0x60;
	store_be16(out + 4, (uint16_t)(len - IPV6_HEADER_BYTES));
	out[6] = NAT_PROTO_ICMPV6;
	out[7] = ERROR_HOPS;
	memcpy(out + IPV6_SRC_AT, src->bytes, 16);
	memcpy(out + IPV6_DST_AT, dst->bytes, 16);
}

size_t nat_icmp_error_build(uint8_t *out, size_t room, const uint8_t *offending, size_t len,
	const struct nat_icmp_make *what)
{
	uint8_t icmp[ICMP_HEADER_BYTES];
	struct nat_view v, made;
	enum nat_verdict verdict = nat_parse(offending, len, &v);
	size_t header_len, max_len, total_len;
	struct ip_addr src, dst;

	if (verdict == NAT_MALFORMED || ip_is_v4(&what->src) != (v.version == 4))
		return 0;
	if (v.version == 4) {
		src = ip_from_v4(offending + IPV4_SRC_AT);
		dst = ip_from_v4(offending + IPV4_DST_AT);
		header_len = IPV4_HEADER_BYTES + ICMP_HEADER_BYTES;
		max_len = V4_MAX_BYTES;
	} else {
		src = ip_from_v6(offending + IPV6_SRC_AT);
		dst = ip_from_v6(offending + IPV6_DST_AT);
		header_len = IPV6_HEADER_BYTES + ICMP_HEADER_BYTES;
		max_len = NAT_ICMP_ERROR_MAX_BYTES;
	}
	total_len = header_len + v.total_len;
	if (total_len > max_len)
		total_len = max_len;
	if (total_len > room || !write_icmp_head(icmp, v.version, what) ||
		!is_reportable(offending, verdict, v, &src, &dst))
		return 0;

	made = (struct nat_view){
		.version = v.version,
		.proto = v.version == 4 ? NAT_PROTO_ICMP : NAT_PROTO_ICMPV6,
		.l4_offset = (uint16_t)(header_len - ICMP_HEADER_BYTES),
		.total_len = (uint16_t)total_len,
	};
	if (v.version == 4)
		write_v4_header(out, total_len, &what->src, &src);
	else
		write_v6_header(out, total_len, &what->src, &src);
	memcpy(out + made.l4_offset, icmp, sizeof(icmp));
	memcpy(out + header_len, offending, total_len - header_len);
	store_be16(out + made.l4_offset + ICMP_CHECKSUM_AT, nat_l4_checksum(out, &made));
	return total_len;
}
