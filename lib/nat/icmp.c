/* icmp.c - errors of others: what they quote, and its translation. */
#include "nat/icmp.h"

#include "nat/impl.h"

/* Quotes with extensions behind them are padded to this at least (RFC 4884, section 4.6). */
#define EXTENDED_QUOTE_MIN_BYTES 128

static bool is_error(uint8_t version, uint8_t type)
{
	if (version == 6)
		return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER;
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER;
}

static bool is_mtu_error(uint8_t version, uint8_t type, uint8_t code)
{
	return version == 4 ? type == ICMP_UNREACHABLE && code == ICMP_FRAG_NEEDED
			    : type == ICMPV6_TOO_BIG;
}

static uint16_t read_mtu(const uint8_t *icmp, uint8_t version)
{
	uint32_t mtu;

	if (!is_mtu_error(version, icmp[0], icmp[1]))
		return 0;
	mtu = version == 4 ? load_be16(icmp + ICMP_MTU_AT) : load_be32(icmp + ICMPV6_MTU_AT);
	return mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)mtu;
}

/* Bytes of quote behind the ICMP header: all there is, or less where the error has extensions and
 * says so, in words of 4 bytes (IPv4) or 8 (ICMPv6 unreachable, time exceeded). */
static unsigned quote_bytes(const uint8_t *icmp, const struct nat_view *v)
{
	unsigned len = (unsigned)v->total_len - v->l4_offset - ICMP_HEADER_BYTES, stated = 0;

	if (v->version == 4)
		stated = icmp[5] * 4u;
	else if (icmp[0] != ICMPV6_TOO_BIG && icmp[0] != ICMPV6_PARAMETER)
		stated = icmp[4] * 8u;
	return stated >= EXTENDED_QUOTE_MIN_BYTES && stated < len ? stated : len;
}

/* The quoted L4 header begins at inner_l4_at. */
static void read_ports(const uint8_t *pkt, uint8_t version, struct nat_icmp_error *e)
{
	const uint8_t *l4 = pkt + e->inner_l4_at;

	if (e->inner_end - e->inner_l4_at < 8)
		return;
	if (e->inner_proto == NAT_PROTO_TCP || e->inner_proto == NAT_PROTO_UDP) {
		e->inner_src_port = load_be16(l4);
		e->inner_dst_port = load_be16(l4 + 2);
	} else if (e->inner_proto == (version == 4 ? NAT_PROTO_ICMP : NAT_PROTO_ICMPV6) &&
		   nat_icmp_is_echo(version, l4[0])) {
		e->inner_icmp_type = l4[0];
		e->inner_src_port = load_be16(l4 + ICMP_ECHO_ID_AT);
		e->inner_dst_port = e->inner_src_port;
	} else {
		return;
	}
	e->has_ports = true;
}

/* len bytes are quoted. */
static bool read_quote_v4(const uint8_t *pkt, unsigned len, struct nat_icmp_error *e)
{
	const uint8_t *inner = pkt + e->inner_at;
	unsigned header_len, total_len;

	if (len < IPV4_HEADER_BYTES || inner[0] >> 4 != 4)
		return false;
	header_len = (inner[0] & 0xf) * 4u;
	total_len = load_be16(inner + 2);
	if (header_len < IPV4_HEADER_BYTES || header_len > len || total_len < header_len ||
		nat_checksum_fold(nat_checksum_add(0, inner, header_len)) != 0xffff)
		return false;
	e->inner_src = ip_from_v4(inner + IPV4_SRC_AT);
	e->inner_dst = ip_from_v4(inner + IPV4_DST_AT);
	e->inner_proto = inner[9];
	e->inner_l4_at = (uint16_t)(e->inner_at + header_len);
	e->inner_end = (uint16_t)(e->inner_at + (total_len < len ? total_len : len));
	if ((load_be16(inner + IPV4_FRAGMENT_AT) & IPV4_OFFSET) == 0)
		read_ports(pkt, 4, e);
	return true;
}

static bool read_quote_v6(const uint8_t *pkt, unsigned len, struct nat_icmp_error *e)
{
	const uint8_t *inner = pkt + e->inner_at;
	enum nat_verdict verdict;
	struct nat_view quoted;
	unsigned total_len;

	if (len < IPV6_HEADER_BYTES || inner[0] >> 4 != 6)
		return false;
	total_len = IPV6_HEADER_BYTES + load_be16(inner + 4);
	quoted = (struct nat_view){
		.version = 6,
		.proto = inner[6],
		.l4_offset = IPV6_HEADER_BYTES,
		.total_len = (uint16_t)(total_len < len ? total_len : len),
	};
	verdict = nat_walk_extensions(inner, &quoted);
	/* of a first fragment the walk goes on */
	if (verdict == NAT_FRAGMENT && (nat_v6_fragment_field(inner, &quoted) & 0xfff8) == 0)
		verdict = nat_walk_extensions(inner, &quoted);
	if (verdict == NAT_MALFORMED)
		return false;
	e->inner_src = ip_from_v6(inner + IPV6_SRC_AT);
	e->inner_dst = ip_from_v6(inner + IPV6_DST_AT);
	e->inner_proto = quoted.proto;
	e->inner_l4_at = (uint16_t)(e->inner_at + quoted.l4_offset);
	e->inner_end = (uint16_t)(e->inner_at + quoted.total_len);
	if (verdict == NAT_OK)
		read_ports(pkt, 6, e);
	return true;
}

enum nat_verdict nat_icmp_error_parse(
	const uint8_t *pkt, const struct nat_view *v, struct nat_icmp_error *out)
{
	const uint8_t *icmp = pkt + v->l4_offset;
	struct nat_icmp_error e;
	bool is_right;

	if (v->proto != (v->version == 4 ? NAT_PROTO_ICMP : NAT_PROTO_ICMPV6) ||
		!is_error(v->version, v->icmp_type))
		return NAT_OTHER_PROTO;
	if (!nat_icmp_sum_ok(pkt, v))
		return NAT_MALFORMED;
	e = (struct nat_icmp_error){
		.type = icmp[0],
		.code = icmp[1],
		.mtu = read_mtu(icmp, v->version),
		.inner_at = (uint16_t)(v->l4_offset + ICMP_HEADER_BYTES),
	};
	is_right = v->version == 4 ? read_quote_v4(pkt, quote_bytes(icmp, v), &e)
				   : read_quote_v6(pkt, quote_bytes(icmp, v), &e);
	if (!is_right)
		return NAT_MALFORMED;
	*out = e;
	return NAT_OK;
}

/* Mend a checksum that is itself under another one; returns its own difference. */
static uint32_t mend_under(uint8_t *checksum, uint32_t diff)
{
	uint16_t before = load_be16(checksum);

	nat_mend(checksum, diff);
	return nat_diff16(before, load_be16(checksum));
}

/* Set the port of a quoted L4 header and mend its checksum, where it is quoted; addr_diff goes into
 * it with the pseudo header. Returns the difference of the bytes changed. */
static uint32_t rewrite_inner_l4(uint8_t *pkt, const struct nat_icmp_error *e, uint32_t addr_diff,
	uint16_t port, unsigned port_at)
{
	uint8_t *l4 = pkt + e->inner_l4_at;
	unsigned sum_at = UDP_CHECKSUM_AT;
	uint32_t diff;

	if (e->inner_proto == NAT_PROTO_TCP) {
		sum_at = TCP_CHECKSUM_AT;
	} else if (e->inner_proto == NAT_PROTO_ICMP) {
		sum_at = ICMP_CHECKSUM_AT;
		port_at = ICMP_ECHO_ID_AT;
		addr_diff = 0;
	}
	diff = nat_diff16(load_be16(l4 + port_at), port);
	store_be16(l4 + port_at, port);
	if (e->inner_l4_at + sum_at + 2 > e->inner_end ||
		(e->inner_proto == NAT_PROTO_UDP && load_be16(l4 + sum_at) == 0))
		return diff;
	diff += mend_under(l4 + sum_at, addr_diff + diff);
	if (e->inner_proto == NAT_PROTO_UDP && load_be16(l4 + sum_at) == 0) {
		/* RFC 768; the other zero, so no sum changes by it */
		store_be16(l4 + sum_at, 0xffff);
	}
	return diff;
}

static void rewrite_inner(uint8_t *pkt, const struct nat_view *v, const struct nat_icmp_error *e,
	const uint8_t *addr, uint16_t port, unsigned addr_at)
{
	uint8_t *inner = pkt + e->inner_at;
	uint32_t addr_diff, diff;

	if (v->version != 4)
		return;
	addr_diff = nat_diff32(load_be32(inner + addr_at), load_be32(addr));
	memcpy(inner + addr_at, addr, 4);
	diff = addr_diff + mend_under(inner + IPV4_CHECKSUM_AT, addr_diff);
	if (e->has_ports)
		diff += rewrite_inner_l4(pkt, e, addr_diff, port, addr_at == IPV4_SRC_AT ? 0 : 2);
	nat_mend(pkt + v->l4_offset + ICMP_CHECKSUM_AT, diff);
}

void nat_icmp_error_rewrite_inner_src(uint8_t *pkt, const struct nat_view *v,
	const struct nat_icmp_error *e, const uint8_t addr[static 4], uint16_t port)
{
	rewrite_inner(pkt, v, e, addr, port, IPV4_SRC_AT);
}

void nat_icmp_error_rewrite_inner_dst(uint8_t *pkt, const struct nat_view *v,
	const struct nat_icmp_error *e, const uint8_t addr[static 4], uint16_t port)
{
	rewrite_inner(pkt, v, e, addr, port, IPV4_DST_AT);
}

void nat_icmp_error_set_mtu(
	uint8_t *pkt, const struct nat_view *v, const struct nat_icmp_error *e, uint16_t mtu)
{
	uint8_t *icmp = pkt + v->l4_offset;
	uint32_t diff;

	if (!is_mtu_error(v->version, e->type, e->code))
		return;
	if (v->version == 4) {
		diff = nat_diff16(load_be16(icmp + ICMP_MTU_AT), mtu);
		store_be16(icmp + ICMP_MTU_AT, mtu);
	} else {
		diff = nat_diff32(load_be32(icmp + ICMPV6_MTU_AT), mtu);
		store_be32(icmp + ICMPV6_MTU_AT, mtu);
	}
	nat_mend(icmp + ICMP_CHECKSUM_AT, diff);
}
