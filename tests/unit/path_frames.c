#include "path_frames.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <rte_arp.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "base/bytes.h"

struct ip_addr frame_addr(const char *text)
{
	struct ip_addr a;

	if (ip_addr_parse(text, &a) != 0)
		abort();
	return a;
}

static bool is_v4(const uint8_t *ip)
{
	return ip[0] >> 4 == 4;
}

static size_t l4_header_bytes(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return sizeof(struct rte_tcp_hdr);
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 8;
	default:
		return 0;
	}
}

size_t packet_len(const uint8_t *ip)
{
	return is_v4(ip) ? load_be16(ip + 2) : 40u + load_be16(ip + 4);
}

static void put_l4_checksum(uint8_t *ip, uint8_t *l4, uint8_t proto, size_t l4_len)
{
	uint8_t *field = l4 + (proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : 2);
	uint16_t sum;

	if (l4_header_bytes(proto) == 0)
		return;
	memset(field, 0, 2);
	if (proto == IPPROTO_ICMP)
		sum = (uint16_t)~rte_raw_cksum(l4, l4_len);
	else if (is_v4(ip))
		sum = rte_ipv4_udptcp_cksum((void *)ip, l4);
	else
		sum = rte_ipv6_udptcp_cksum((void *)ip, l4);
	memcpy(field, &sum, 2);
}

static uint8_t *put_ip_header(uint8_t *out, const struct flow *f, size_t l4_len)
{
	struct ip_addr src = frame_addr(f->src), dst = frame_addr(f->dst);
	uint8_t hops = f->hops ? f->hops : 64;

	if (ip_is_v4(&src) && !strchr(f->src, ':')) {
		struct rte_ipv4_hdr *ip = (void *)out;

		*ip = (struct rte_ipv4_hdr){.version_ihl = 0x45,
			.total_length = htons((uint16_t)(sizeof(*ip) + l4_len)),
			.packet_id = htons(0x4711),
			.time_to_live = hops,
			.next_proto_id = f->proto};
		memcpy(&ip->src_addr, src.bytes + 12, 4);
		memcpy(&ip->dst_addr, dst.bytes + 12, 4);
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		return out + sizeof(*ip);
	}

	struct rte_ipv6_hdr *ip6 = (void *)out;

	*ip6 = (struct rte_ipv6_hdr){.vtc_flow = htonl(6u << 28),
		.payload_len = htons((uint16_t)l4_len),
		.proto = f->proto,
		.hop_limits = hops};
	memcpy(ip6->src_addr, src.bytes, 16);
	memcpy(ip6->dst_addr, dst.bytes, 16);
	return out + sizeof(*ip6);
}

size_t packet_build(uint8_t *out, const struct flow *f, const void *payload, size_t payload_len)
{
	size_t l4_len = l4_header_bytes(f->proto) + payload_len;
	uint8_t *l4 = put_ip_header(out, f, l4_len), *body = l4 + l4_header_bytes(f->proto);

	memset(l4, 0, l4_header_bytes(f->proto));
	if (f->proto == IPPROTO_TCP) {
		l4[12] = 5 << 4;
		l4[13] = f->type ? f->type : RTE_TCP_SYN_FLAG;
	} else if (f->proto == IPPROTO_UDP) {
		store_be16(l4 + 4, (uint16_t)l4_len);
	} else if (f->proto == IPPROTO_ICMP || f->proto == IPPROTO_ICMPV6) {
		l4[0] = f->type ? f->type : f->proto == IPPROTO_ICMP ? 8 : 128;
		store_be16(l4 + 4, f->src_port ? f->src_port : 0x1234);
	}
	if (f->proto == IPPROTO_TCP || f->proto == IPPROTO_UDP) {
		store_be16(l4, f->src_port);
		store_be16(l4 + 2, f->dst_port);
	}
	for (size_t i = 0; i < payload_len; i++)
		body[i] = payload ? ((const uint8_t *)payload)[i] : (uint8_t)(i * 7 + 1);
	put_l4_checksum(out, l4, f->proto, l4_len);
	return (size_t)(l4 - out) + l4_len;
}

void packet_mend(uint8_t *ip)
{
	struct rte_ipv4_hdr *header = (void *)ip;

	header->hdr_checksum = 0;
	header->hdr_checksum = rte_ipv4_cksum(header);
}

void packet_mend_l4(uint8_t *ip)
{
	size_t at = is_v4(ip) ? 20 : 40;

	put_l4_checksum(ip, ip + at, is_v4(ip) ? ip[9] : ip[6], packet_len(ip) - at);
}

size_t packet_payload_at(const uint8_t *ip)
{
	size_t at = is_v4(ip) ? 20 : 40;

	return at + l4_header_bytes(is_v4(ip) ? ip[9] : ip[6]);
}

bool packet_is_sound(const uint8_t *ip, size_t len)
{
	uint8_t copy[FRAME_BYTES_MAX];
	size_t at = is_v4(ip) ? 20 : 40, total = packet_len(ip), field;
	uint8_t proto = is_v4(ip) ? ip[9] : ip[6];

	if (total > len || total < at + l4_header_bytes(proto))
		return false;
	if (is_v4(ip) && (ip[0] != 0x45 || rte_raw_cksum(ip, 20) != 0xffff))
		return false;
	if (l4_header_bytes(proto) == 0)
		return true;
	field = at + (proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : 2);
	if (proto == IPPROTO_UDP && is_v4(ip) && load_be16(ip + field) == 0)
		return true;
	memcpy(copy, ip, total);
	put_l4_checksum(copy, copy + at, proto, total - at);
	return memcmp(copy + field, ip + field, 2) == 0;
}

bool packet_is(const uint8_t *ip, const struct flow *f)
{
	struct ip_addr src = frame_addr(f->src), dst = frame_addr(f->dst);
	size_t at = is_v4(ip) ? 20 : 40;

	if (is_v4(ip) != ip_is_v4(&src) || (is_v4(ip) ? ip[9] : ip[6]) != f->proto)
		return false;
	if (is_v4(ip) ? memcmp(ip + 12, src.bytes + 12, 4) || memcmp(ip + 16, dst.bytes + 12, 4)
		      : memcmp(ip + 8, src.bytes, 16) || memcmp(ip + 24, dst.bytes, 16))
		return false;
	if (f->hops && f->hops != (is_v4(ip) ? ip[8] : ip[7]))
		return false;
	if (f->proto == IPPROTO_ICMP || f->proto == IPPROTO_ICMPV6)
		return (!f->type || f->type == ip[at]) &&
		       (!f->src_port || f->src_port == load_be16(ip + at + 4));
	return (f->proto != IPPROTO_TCP && f->proto != IPPROTO_UDP) ||
	       (load_be16(ip + at) == f->src_port && load_be16(ip + at + 2) == f->dst_port);
}

void frame_wrap(struct frame *f, const struct rte_ether_addr *src, const struct rte_ether_addr *dst,
	size_t len)
{
	struct rte_ether_hdr *eth = (void *)f->bytes;

	eth->dst_addr = *dst;
	eth->src_addr = *src;
	eth->ether_type = is_v4(f->bytes + FRAME_ETHER) ? htons(RTE_ETHER_TYPE_IPV4)
							: htons(RTE_ETHER_TYPE_IPV6);
	f->len = FRAME_ETHER + len;
}

void frame_build(struct frame *f, const struct rte_ether_addr *src,
	const struct rte_ether_addr *dst, const struct flow *flow, const void *payload,
	size_t payload_len)
{
	frame_wrap(f, src, dst, packet_build(f->bytes + FRAME_ETHER, flow, payload, payload_len));
}

void frame_echo_reply(struct frame *f)
{
	uint8_t *ip = f->bytes + FRAME_ETHER;

	if (is_v4(ip))
		ip[20] = 0;
	else
		ip[40] = 129;
	packet_mend_l4(ip);
}

static void who_has_v6(struct frame *f, const struct rte_ether_addr *mac,
	const struct ip_addr *sender, const struct ip_addr *target)
{
	struct rte_ether_addr group = {{0x33, 0x33, 0xff}};
	uint8_t *ip = f->bytes + FRAME_ETHER, *icmp = ip + 40;
	struct rte_ipv6_hdr *ip6 = (void *)ip;

	memcpy(group.addr_bytes + 3, target->bytes + 13, 3);
	*ip6 = (struct rte_ipv6_hdr){.vtc_flow = htonl(6u << 28),
		.payload_len = htons(32),
		.proto = IPPROTO_ICMPV6,
		.hop_limits = 255};
	memcpy(ip6->src_addr, sender->bytes, 16);
	/* The solicited-node group (RFC 4291, section 2.7.1). */
	memcpy(ip6->dst_addr, (const uint8_t[]){0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}, 13);
	memcpy(ip6->dst_addr + 13, target->bytes + 13, 3);
	memset(icmp, 0, 32);
	icmp[0] = 135;
	memcpy(icmp + 8, target->bytes, 16);
	icmp[24] = 1;
	icmp[25] = 1;
	memcpy(icmp + 26, mac->addr_bytes, 6);
	put_l4_checksum(ip, icmp, IPPROTO_ICMPV6, 32);
	frame_wrap(f, mac, &group, 72);
}

void frame_who_has(struct frame *f, const struct rte_ether_addr *mac, const struct ip_addr *sender,
	const struct ip_addr *target)
{
	struct rte_ether_hdr *eth = (void *)f->bytes;
	struct rte_arp_hdr *arp = (void *)(eth + 1);

	if (!ip_is_v4(target)) {
		who_has_v6(f, mac, sender, target);
		return;
	}
	memset(&eth->dst_addr, 0xff, sizeof(eth->dst_addr));
	eth->src_addr = *mac;
	eth->ether_type = htons(RTE_ETHER_TYPE_ARP);
	memset(arp, 0, sizeof(*arp));
	arp->arp_hardware = htons(1);
	arp->arp_protocol = htons(RTE_ETHER_TYPE_IPV4);
	arp->arp_hlen = 6;
	arp->arp_plen = 4;
	arp->arp_opcode = htons(RTE_ARP_OP_REQUEST);
	arp->arp_data.arp_sha = *mac;
	memcpy(&arp->arp_data.arp_sip, sender->bytes + 12, 4);
	memcpy(&arp->arp_data.arp_tip, target->bytes + 12, 4);
	f->len = sizeof(*eth) + sizeof(*arp);
}
