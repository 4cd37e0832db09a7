/* nat_packets.h - right packets for tests of nat.h, and the checksums they must have, computed in
 * the plainest way. */
#ifndef PORTIER_TEST_NAT_PACKETS_H
#define PORTIER_TEST_NAT_PACKETS_H

#include "nat/nat.h"

#include <string.h>

#include "seeded.h"

/* RFC 1071 as its text says it, byte by byte: what the code under test is compared with. */
static inline uint16_t plain_checksum(
	const uint8_t *pseudo, size_t pseudo_len, const uint8_t *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < pseudo_len + len; i++) {
		uint8_t byte = i < pseudo_len ? pseudo[i] : data[i - pseudo_len];

		sum += i % 2 == 0 ? (uint32_t)byte << 8 : byte;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)~sum;
}

static inline uint16_t plain_l4_checksum(
	const uint8_t *pkt, unsigned l4_at, uint8_t proto, unsigned len)
{
	uint8_t pseudo[40] = {0};

	if (proto == NAT_PROTO_ICMP)
		return plain_checksum(NULL, 0, pkt + l4_at, len);
	if (pkt[0] >> 4 == 4) {
		memcpy(pseudo, pkt + 12, 8);
		pseudo[9] = proto;
		store_be16(pseudo + 10, (uint16_t)len);
		return plain_checksum(pseudo, 12, pkt + l4_at, len);
	}
	memcpy(pseudo, pkt + 8, 32);
	store_be32(pseudo + 32, len);
	pseudo[39] = proto;
	return plain_checksum(pseudo, 40, pkt + l4_at, len);
}

static inline unsigned checksum_at(uint8_t proto)
{
	return proto == NAT_PROTO_TCP ? 16 : proto == NAT_PROTO_UDP ? 6 : 2;
}

/* Write the right L4 checksum into a packet whose L4 header starts at l4_at and ends with it. */
static inline void seal_l4(uint8_t *pkt, unsigned l4_at, uint8_t proto, unsigned len)
{
	uint8_t *field = pkt + l4_at + checksum_at(proto);
	uint16_t sum;

	store_be16(field, 0);
	sum = plain_l4_checksum(pkt, l4_at, proto, len);
	store_be16(field, proto == NAT_PROTO_UDP && sum == 0 ? 0xffff : sum);
}

static inline void seal_v4_header(uint8_t *pkt)
{
	store_be16(pkt + 10, 0);
	store_be16(pkt + 10, plain_checksum(NULL, 0, pkt, (pkt[0] & 0xf) * 4u));
}

static inline void build_l4(uint8_t *l4, uint8_t proto, unsigned len)
{
	random_bytes(l4, len);
	if (proto == NAT_PROTO_TCP)
		l4[12] = 0x50;
	else if (proto == NAT_PROTO_UDP)
		store_be16(l4 + 4, (uint16_t)len);
	else if (proto == NAT_PROTO_ICMP)
		l4[0] = 8;
	else if (proto == NAT_PROTO_ICMPV6)
		l4[0] = 128;
}

/* A right IPv4 packet: option_words of no-operation, l4_len bytes of random L4. Returns its bytes.
 */
static inline unsigned build_v4(uint8_t *pkt, uint8_t proto, unsigned option_words, unsigned l4_len)
{
	unsigned header_len = 20 + 4 * option_words;

	random_bytes(pkt, 20);
	pkt[0] = (uint8_t)(0x40 | header_len / 4);
	store_be16(pkt + 2, (uint16_t)(header_len + l4_len));
	store_be16(pkt + 6, 0x4000);
	pkt[8] = 64;
	pkt[9] = proto;
	memset(pkt + 20, 1, 4 * option_words);
	build_l4(pkt + header_len, proto, l4_len);
	seal_v4_header(pkt);
	seal_l4(pkt, header_len, proto, l4_len);
	return header_len + l4_len;
}

/* A right IPv6 packet; ext_len bytes of extension headers (already chained, ending in proto) start
 * with the type first. */
static inline unsigned build_v6(uint8_t *pkt, uint8_t first, const uint8_t *ext, unsigned ext_len,
	uint8_t proto, unsigned l4_len)
{
	random_bytes(pkt, 40);
	store_be32(pkt, 0x60000000);
	store_be16(pkt + 4, (uint16_t)(ext_len + l4_len));
	pkt[6] = first;
	pkt[7] = 64;
	if (ext_len > 0)
		memcpy(pkt + 40, ext, ext_len);
	build_l4(pkt + 40 + ext_len, proto, l4_len);
	seal_l4(pkt, 40 + ext_len, proto, l4_len);
	return 40 + ext_len + l4_len;
}

/* A right ICMP error of the quoted packet's family, which quotes len bytes of it. */
static inline unsigned build_error(
	uint8_t *pkt, uint8_t type, uint8_t code, const uint8_t *quoted, unsigned len)
{
	bool is_v4 = quoted[0] >> 4 == 4;
	uint8_t proto = is_v4 ? NAT_PROTO_ICMP : NAT_PROTO_ICMPV6;
	unsigned l4_at = is_v4 ? 20 : 40, total;

	total = is_v4 ? build_v4(pkt, proto, 0, 8 + len)
		      : build_v6(pkt, proto, NULL, 0, proto, 8 + len);
	pkt[l4_at] = type;
	pkt[l4_at + 1] = code;
	memset(pkt + l4_at + 4, 0, 4);
	memcpy(pkt + l4_at + 8, quoted, len);
	seal_l4(pkt, l4_at, proto, 8 + len);
	return total;
}

#endif
