#include "neigh/frame.h"
#include "base/bytes.h"
#include "nat/nat.h"

#include <assert.h>
#include <string.h>

/* Offsets count from the first byte of the Ethernet header. */
enum {
	ETH_DST = 0,
	ETH_SRC = 6,
	ETH_TYPE = 12,
	ETH_END = 14,

	ARP_HTYPE = 14,
	ARP_PTYPE = 16,
	ARP_HLEN = 18,
	ARP_PLEN = 19,
	ARP_OP = 20,
	ARP_SHA = 22,
	ARP_SPA = 28,
	ARP_THA = 32,
	ARP_TPA = 38,
	ARP_END = 42,

	IP6_VERSION = 14,
	IP6_PAYLOAD_LEN = 18,
	IP6_NEXT = 20,
	IP6_HOP_LIMIT = 21,
	IP6_SRC = 22,
	IP6_DST = 38,
	ND_TYPE = 54,
	ND_CODE = 55,
	ND_CHECKSUM = 56,
	ND_FLAGS = 58,
	ND_TARGET = 62,
	ND_OPTIONS = 78,
	ND_END = 86, /* with one link-layer address option */
};

#define FRAME_BYTES_MIN	   60
#define TYPE_ARP	   0x0806
#define TYPE_IPV6	   0x86dd
#define ARP_REQUEST	   1
#define ARP_REPLY	   2
#define ND_NS		   135
#define ND_NA		   136
#define ND_SOLICITED	   0x40
#define ND_OVERRIDE	   0x20
#define ND_OPTION_SOURCE   1
#define ND_OPTION_TARGET   2
#define ND_OPTION_UNIT	   8
#define ND_HOP_LIMIT	   255
#define ND_PAYLOAD_LEN_MIN (ND_OPTIONS - ND_TYPE)

static_assert(ND_END == FRAME_BYTES_MAX, "frame.h");

static bool is_station(const struct rte_ether_addr *mac)
{
	return rte_is_valid_assigned_ether_addr(mac);
}

static enum frame_kind parse_arp(const uint8_t *f, size_t len, struct frame_msg *out)
{
	static const uint8_t ether_ipv4[] = {0, 1, 0x08, 0, 6, 4};
	uint16_t op;

	if (len < ARP_END || memcmp(f + ARP_HTYPE, ether_ipv4, sizeof(ether_ipv4)) != 0)
		return FRAME_IGNORED;
	memcpy(&out->mac, f + ARP_SHA, sizeof(out->mac));
	if (!is_station(&out->mac))
		return FRAME_IGNORED;
	out->has_mac = true;
	op = load_be16(f + ARP_OP);
	if (op == ARP_REQUEST) {
		/* RFC 5227, 1.1: a probe has no sender. */
		if (load_be32(f + ARP_SPA) != 0)
			out->peer = ip_from_v4(f + ARP_SPA);
		out->target = ip_from_v4(f + ARP_TPA);
		return FRAME_ASK;
	}
	if (op != ARP_REPLY)
		return FRAME_IGNORED;
	out->target = ip_from_v4(f + ARP_SPA);
	out->peer = ip_from_v4(f + ARP_TPA);
	out->is_solicited = out->is_override = true;
	return FRAME_ANSWER;
}

static uint32_t sum_icmp6(const uint8_t *f, uint16_t payload_len)
{
	uint32_t pseudo =
		nat_checksum_add((uint32_t)payload_len + NAT_PROTO_ICMPV6, f + IP6_SRC, 32);

	return nat_checksum_add(pseudo, f + ND_TYPE, payload_len);
}

/* The checks that RFC 4861, 7.1.1 and 7.1.2 have in common. */
static bool is_sound_nd(const uint8_t *f, size_t len)
{
	uint16_t payload_len;

	if (len < ND_OPTIONS || f[IP6_VERSION] >> 4 != 6 || f[IP6_NEXT] != NAT_PROTO_ICMPV6)
		return false;
	payload_len = load_be16(f + IP6_PAYLOAD_LEN);
	return f[IP6_HOP_LIMIT] == ND_HOP_LIMIT && payload_len >= ND_PAYLOAD_LEN_MIN &&
	       payload_len <= len - ND_TYPE && f[ND_CODE] == 0 &&
	       nat_checksum_fold(sum_icmp6(f, payload_len)) == 0xffff;
}

/* Find the link-layer address option of this type. False: an option is malformed. */
static bool parse_options(const uint8_t *f, size_t end, uint8_t type, struct frame_msg *out)
{
	size_t at = ND_OPTIONS, option_len;

	for (; at < end; at += option_len) {
		if (end - at < ND_OPTION_UNIT)
			return false;
		option_len = (size_t)f[at + 1] * ND_OPTION_UNIT;
		if (option_len == 0 || option_len > end - at)
			return false;
		if (f[at] != type || out->has_mac)
			continue;
		if (option_len != ND_OPTION_UNIT)
			return false;
		memcpy(&out->mac, f + at + 2, sizeof(out->mac));
		if (!is_station(&out->mac))
			return false;
		out->has_mac = true;
	}
	return true;
}

/* One of IPv4 in IPv6 clothes would be taken for its IPv4 self from here on. */
static bool is_nd_addr(const struct ip_addr *a)
{
	return !ip_is_v4(a) && a->bytes[0] != 0xff && !ip_is_none(a);
}

/* RFC 4291, 2.7.1: ff02::1:ff00:0/104 and the last three bytes. */
static struct ip_addr solicited_node(const struct ip_addr *a)
{
	struct ip_addr group = {{0xff, 0x02, [11] = 0x01, 0xff}};

	memcpy(group.bytes + 13, a->bytes + 13, 3);
	return group;
}

static enum frame_kind parse_ns(const uint8_t *f, size_t end, struct frame_msg *out)
{
	struct ip_addr src = ip_from_v6(f + IP6_SRC), dst = ip_from_v6(f + IP6_DST);
	struct ip_addr group = solicited_node(&out->target);

	if (!parse_options(f, end, ND_OPTION_SOURCE, out))
		return FRAME_IGNORED;
	/* 7.1.1: a probe (duplicate address detection) goes to the group and names no sender. */
	if (ip_is_none(&src))
		return ip_equal(&dst, &group) && !out->has_mac ? FRAME_ASK : FRAME_IGNORED;
	if (!is_nd_addr(&src) || (!ip_equal(&dst, &group) && !ip_equal(&dst, &out->target)))
		return FRAME_IGNORED;
	out->peer = src;
	return FRAME_ASK;
}

static enum frame_kind parse_na(const uint8_t *f, size_t end, struct frame_msg *out)
{
	struct ip_addr src = ip_from_v6(f + IP6_SRC);

	out->peer = ip_from_v6(f + IP6_DST);
	out->is_solicited = (f[ND_FLAGS] & ND_SOLICITED) != 0;
	out->is_override = (f[ND_FLAGS] & ND_OVERRIDE) != 0;
	if (!is_nd_addr(&src) || !parse_options(f, end, ND_OPTION_TARGET, out))
		return FRAME_IGNORED;
	/* 7.1.2: one to a group answers nobody. */
	if (!is_nd_addr(&out->peer) && out->is_solicited)
		return FRAME_IGNORED;
	return FRAME_ANSWER;
}

static enum frame_kind parse_nd(const uint8_t *f, size_t len, struct frame_msg *out)
{
	size_t end;

	if (!is_sound_nd(f, len))
		return FRAME_IGNORED;
	end = ND_TYPE + (size_t)load_be16(f + IP6_PAYLOAD_LEN);
	out->target = ip_from_v6(f + ND_TARGET);
	if (!is_nd_addr(&out->target))
		return FRAME_IGNORED;
	if (f[ND_TYPE] == ND_NS)
		return parse_ns(f, end, out);
	return f[ND_TYPE] == ND_NA ? parse_na(f, end, out) : FRAME_IGNORED;
}

enum frame_kind frame_parse(const uint8_t *bytes, size_t len, struct frame_msg *out)
{
	memset(out, 0, sizeof(*out));
	if (len < ETH_END)
		return FRAME_IGNORED;
	memcpy(&out->eth_dst, bytes + ETH_DST, sizeof(out->eth_dst));
	memcpy(&out->eth_src, bytes + ETH_SRC, sizeof(out->eth_src));
	if (!is_station(&out->eth_src))
		return FRAME_IGNORED;
	switch (load_be16(bytes + ETH_TYPE)) {
	case TYPE_ARP:
		return parse_arp(bytes, len, out);
	case TYPE_IPV6:
		return parse_nd(bytes, len, out);
	default:
		return FRAME_IGNORED;
	}
}

static void put_mac(uint8_t *out, const struct rte_ether_addr *mac)
{
	memcpy(out, mac, sizeof(*mac));
}

/* to NULL: a request, to everyone unless eth_dst says whom. */
static size_t build_arp(uint8_t *out, const struct rte_ether_addr *own_mac, uint16_t op,
	const struct ip_addr *own, const struct ip_addr *peer, const struct rte_ether_addr *dst)
{
	static const uint8_t ether_ipv4[] = {0, 1, 0x08, 0, 6, 4};

	memset(out, 0, FRAME_BYTES_MIN);
	memset(out + ETH_DST, 0xff, RTE_ETHER_ADDR_LEN);
	if (dst != NULL) {
		put_mac(out + ETH_DST, dst);
		put_mac(out + ARP_THA, dst);
	}
	put_mac(out + ETH_SRC, own_mac);
	store_be16(out + ETH_TYPE, TYPE_ARP);
	memcpy(out + ARP_HTYPE, ether_ipv4, sizeof(ether_ipv4));
	store_be16(out + ARP_OP, op);
	put_mac(out + ARP_SHA, own_mac);
	memcpy(out + ARP_SPA, ip_v4_bytes(own), 4);
	/* A probe is answered to 0.0.0.0. */
	if (!ip_is_none(peer))
		memcpy(out + ARP_TPA, ip_v4_bytes(peer), 4);
	return FRAME_BYTES_MIN;
}

/* dst NULL: to the Ethernet group of ip_dst (RFC 2464, 7). */
static size_t build_nd(uint8_t *out, uint8_t type, const struct rte_ether_addr *own_mac,
	const struct ip_addr *src, const struct ip_addr *ip_dst, const struct rte_ether_addr *dst)
{
	memset(out, 0, ND_END);
	if (dst != NULL) {
		put_mac(out + ETH_DST, dst);
	} else {
		out[ETH_DST] = out[ETH_DST + 1] = 0x33;
		memcpy(out + ETH_DST + 2, ip_dst->bytes + 12, 4);
	}
	put_mac(out + ETH_SRC, own_mac);
	store_be16(out + ETH_TYPE, TYPE_IPV6);
	out[IP6_VERSION] = 6 << 4;
	store_be16(out + IP6_PAYLOAD_LEN, ND_END - ND_TYPE);
	out[IP6_NEXT] = NAT_PROTO_ICMPV6;
	out[IP6_HOP_LIMIT] = ND_HOP_LIMIT;
	memcpy(out + IP6_SRC, src->bytes, 16);
	memcpy(out + IP6_DST, ip_dst->bytes, 16);
	out[ND_TYPE] = type;
	out[ND_OPTIONS] = type == ND_NS ? ND_OPTION_SOURCE : ND_OPTION_TARGET;
	out[ND_OPTIONS + 1] = 1;
	put_mac(out + ND_OPTIONS + 2, own_mac);
	return ND_END;
}

static size_t finish_nd(uint8_t *out, uint8_t flags, const struct ip_addr *target)
{
	out[ND_FLAGS] = flags;
	memcpy(out + ND_TARGET, target->bytes, 16);
	store_be16(
		out + ND_CHECKSUM, (uint16_t)~nat_checksum_fold(sum_icmp6(out, ND_END - ND_TYPE)));
	return ND_END;
}

size_t frame_build_ask(uint8_t out[static FRAME_BYTES_MAX], const struct rte_ether_addr *own_mac,
	const struct ip_addr *source, const struct ip_addr *target,
	const struct rte_ether_addr *dst)
{
	struct ip_addr group;

	if (ip_is_v4(target))
		return build_arp(out, own_mac, ARP_REQUEST, source, target, dst);
	group = solicited_node(target);
	build_nd(out, ND_NS, own_mac, source, dst == NULL ? &group : target, dst);
	return finish_nd(out, 0, target);
}

size_t frame_build_answer(uint8_t out[static FRAME_BYTES_MAX], const struct rte_ether_addr *own_mac,
	const struct frame_msg *ask)
{
	static const struct ip_addr all_nodes = {{0xff, 0x02, [15] = 1}};
	const struct rte_ether_addr *dst = ask->has_mac ? &ask->mac : &ask->eth_src;

	if (ip_is_v4(&ask->target))
		return build_arp(out, own_mac, ARP_REPLY, &ask->target, &ask->peer, dst);
	/* RFC 4861, 7.2.4: who has no address yet is told with all others, and not as solicited. */
	if (ip_is_none(&ask->peer)) {
		build_nd(out, ND_NA, own_mac, &ask->target, &all_nodes, NULL);
		return finish_nd(out, ND_OVERRIDE, &ask->target);
	}
	build_nd(out, ND_NA, own_mac, &ask->target, &ask->peer, dst);
	return finish_nd(out, ND_SOLICITED | ND_OVERRIDE, &ask->target);
}
