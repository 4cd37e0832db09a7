/* build.c - the packet that is asked about, in bytes. */
#include "why/why.h"

#include "base/bytes.h"
#include "nat/nat.h"

#define IPV4_BYTES 20
#define IPV6_BYTES 40
#define TCP_BYTES  20
#define L4_BYTES   8 /* UDP, and ICMP */

#define QUOTED_L4_BYTES 8  /* RFC 792 */
#define QUOTED_TTL	64 /* of no consequence */

#define ECHO_REQUEST   8
#define ECHO_REQUEST_6 128

static uint16_t ip_bytes(const struct why_packet *q)
{
	return ip_is_v4(&q->src) ? IPV4_BYTES : IPV6_BYTES;
}

static uint16_t l4_bytes(uint8_t proto)
{
	switch (proto) {
	case NAT_PROTO_TCP:
		return TCP_BYTES;
	case NAT_PROTO_UDP:
	case NAT_PROTO_ICMP:
	case NAT_PROTO_ICMPV6:
		return L4_BYTES;
	default:
		return 0;
	}
}

uint16_t why_packet_min(const struct why_packet *q)
{
	uint16_t quoted_bytes = q->is_error ? (uint16_t)(ip_bytes(q) + QUOTED_L4_BYTES) : 0;

	return (uint16_t)(ip_bytes(q) + l4_bytes(q->proto) + quoted_bytes);
}

static void build_ipv4(const struct why_packet *q, uint16_t size_bytes, uint8_t *ip)
{
	ip[0] = 0x45;
	store_be16(ip + 2, size_bytes);
	ip[6] = q->dont_fragment ? 0x40 : 0;
	ip[8] = q->ttl;
	ip[9] = q->proto;
	memcpy(ip + 12, ip_v4_bytes(&q->src), 4);
	memcpy(ip + 16, ip_v4_bytes(&q->dst), 4);
	store_be16(ip + 10, (uint16_t)~nat_checksum_fold(nat_checksum_add(0, ip, IPV4_BYTES)));
}

static void build_ipv6(const struct why_packet *q, uint16_t size_bytes, uint8_t *ip)
{
	ip[0] = 0x60;
	store_be16(ip + 4, (uint16_t)(size_bytes - IPV6_BYTES));
	ip[6] = q->proto;
	ip[7] = q->ttl;
	memcpy(ip + 8, q->src.bytes, 16);
	memcpy(ip + 24, q->dst.bytes, 16);
}

/* Returns where the checksum goes; 0: there is none. */
static unsigned build_l4(const struct why_packet *q, uint16_t len_bytes, uint8_t *l4)
{
	switch (q->proto) {
	case NAT_PROTO_TCP:
		store_be16(l4, q->src_port);
		store_be16(l4 + 2, q->dst_port);
		l4[12] = TCP_BYTES / 4 << 4;
		l4[13] = q->tcp_flags;
		return 16;
	case NAT_PROTO_UDP:
		store_be16(l4, q->src_port);
		store_be16(l4 + 2, q->dst_port);
		store_be16(l4 + 4, len_bytes);
		return 6;
	case NAT_PROTO_ICMP:
	case NAT_PROTO_ICMPV6:
		l4[0] = q->proto == NAT_PROTO_ICMP ? ECHO_REQUEST : ECHO_REQUEST_6;
		store_be16(l4 + 4, q->src_port);
		return 2;
	default:
		return 0;
	}
}

/* Behind the error's header: the packet as it was seen where the error was made. */
static void build_quote(const struct why_packet *q, uint8_t *at)
{
	const struct why_packet quoted = {
		.proto = q->quote.proto,
		.src = q->quote.src.addr,
		.dst = q->quote.dst.addr,
		.src_port = q->quote.src.port,
		.dst_port = q->quote.dst.port,
		.ttl = QUOTED_TTL,
	};
	uint16_t len_bytes = (uint16_t)(ip_bytes(q) + l4_bytes(quoted.proto));
	uint8_t l4[TCP_BYTES] = {0};

	if (ip_is_v4(&q->src))
		build_ipv4(&quoted, len_bytes, at);
	else
		build_ipv6(&quoted, len_bytes, at);
	build_l4(&quoted, l4_bytes(quoted.proto), l4);
	memcpy(at + ip_bytes(q), l4, QUOTED_L4_BYTES);
}

size_t why_packet_build(const struct why_packet *q, uint8_t *pkt, size_t room)
{
	uint16_t size_bytes = q->size_bytes != 0 ? q->size_bytes : why_packet_min(q);
	uint16_t l4_offset = ip_bytes(q);
	struct nat_view v;
	unsigned sum_at;

	if (ip_is_v4(&q->src) != ip_is_v4(&q->dst) || size_bytes < why_packet_min(q) ||
		size_bytes > room)
		return 0;
	memset(pkt, 0, size_bytes);
	if (ip_is_v4(&q->src))
		build_ipv4(q, size_bytes, pkt);
	else
		build_ipv6(q, size_bytes, pkt);
	sum_at = build_l4(q, (uint16_t)(size_bytes - l4_offset), pkt + l4_offset);
	if (q->is_error) {
		pkt[l4_offset] = q->icmp_type;
		pkt[l4_offset + 1] = q->icmp_code;
		build_quote(q, pkt + l4_offset + L4_BYTES);
	}
	if (sum_at != 0 && nat_parse(pkt, size_bytes, &v) != NAT_MALFORMED)
		store_be16(pkt + l4_offset + sum_at, nat_l4_checksum(pkt, &v));
	return size_bytes;
}
