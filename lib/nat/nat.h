/* nat.h - reading and rewriting the headers of one inner packet: bytes in, verdict and bytes out.
 *
 * Spec:    RFC 791, RFC 8200, RFC 1624 (incremental checksum), RFC 768 (UDP checksum zero),
 *          RFC 5508 (echo identifiers in the place of ports).
 * Purity:  no state, no clock. Threads: any.
 * Total:   every function is defined for any bytes of any length.
 */
#ifndef PORTIER_NAT_H
#define PORTIER_NAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum nat_verdict {
	NAT_MALFORMED = 0, /* lengths that do not fit, bad version, bad IPv4 header checksum */
	NAT_OK,		   /* unfragmented TCP, UDP or ICMP echo of the packet's own family */
	NAT_FRAGMENT,	   /* well formed, a fragment: ports are not to be trusted */
	NAT_OTHER_PROTO,   /* well formed, neither TCP, UDP nor ICMP echo: no ports */
	NAT_TINY_FRAGMENT, /* only of nat_fragment_parse: it hides or overwrites a header */
};

#define NAT_PROTO_ICMP	 1
#define NAT_PROTO_TCP	 6
#define NAT_PROTO_UDP	 17
#define NAT_PROTO_ICMPV6 58

/* Where things are in a packet. Offsets count from the first byte of the IP header. */
struct nat_view {
	uint8_t version;   /* 4 or 6 */
	uint8_t icmp_type; /* of an ICMP or ICMPv6 packet, when its header is here; else 0 */
	uint16_t l4_offset;
	uint16_t total_len; /* IP total length: may be less than the bytes given (padding) */
	/* Host order; 0 unless has_l4. An echo's identifier stands in both: seen from either end it
	 * is the port of the one who asked. */
	uint16_t src_port, dst_port;
	uint8_t proto;	    /* of the payload */
	bool has_l4;	    /* the whole TCP, UDP or ICMP echo header is here */
	bool dont_fragment; /* IPv4 DF; always true for IPv6 */
	uint8_t hop_limit;  /* TTL */
};

/* Parse an IPv4 or IPv6 packet. On anything but MALFORMED the view is filled, else untouched. The
 * IPv4 header checksum is verified; the L4 checksum is not. On OK the whole TCP (with options), UDP
 * or ICMP header lies within total_len, and a UDP length within the packet. Of any ICMP packet 8
 * bytes do.
 *
 * IPv6 extension headers are walked, at most 8 and within total_len; a fragment header (but not an
 * atomic one) gives FRAGMENT. A routing header of type 0 is MALFORMED (RFC 5095); another one with
 * segments left is OTHER_PROTO, because the destination is not the one in the IPv6 header.
 * Fragments that would end past 65,535, or that are not the last and no multiple of 8 bytes, are
 * MALFORMED. */
enum nat_verdict nat_parse(const uint8_t *pkt, size_t len, struct nat_view *out);

/* One's complement helpers, big-endian values in host order. */
static inline uint16_t nat_checksum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). Differences of several fields may be added up. */
static inline uint16_t nat_checksum_update(uint16_t checksum, uint32_t diff)
{
	return (uint16_t)~nat_checksum_fold(
		(uint32_t)(uint16_t)~checksum + nat_checksum_fold(diff));
}

static inline uint32_t nat_diff16(uint16_t from, uint16_t to)
{
	return (uint32_t)(uint16_t)~from + to;
}

static inline uint32_t nat_diff32(uint32_t from, uint32_t to)
{
	return nat_diff16((uint16_t)(from >> 16), (uint16_t)(to >> 16)) +
	       nat_diff16((uint16_t)from, (uint16_t)to);
}

/* Set the destination (dnat) or source (snat) of an IPv4 packet that nat_parse did not call
 * MALFORMED, and mend the IPv4 and L4 checksums; the view's ports stay as parsed. addr: 4 bytes,
 * network order. Of an echo, port is the identifier. A UDP checksum of zero stays zero; one that
 * becomes zero is written as 0xffff. Without has_l4 only the address changes. */
void nat_rewrite_dst(
	uint8_t *pkt, const struct nat_view *v, const uint8_t addr[static 4], uint16_t port);
void nat_rewrite_src(
	uint8_t *pkt, const struct nat_view *v, const uint8_t addr[static 4], uint16_t port);

/* Lower the MSS that a TCP SYN (with or without ACK) announces to max_mss, and mend the checksum.
 * True when it was higher. A packet that announces none is left alone: its MSS is the least already
 * (RFC 9293, section 3.7.1). Either family. Cost: the options before it, at most 40 bytes. */
bool nat_mss_clamp(uint8_t *pkt, const struct nat_view *v, uint16_t max_mss);

/* Set the IPv4 identification and mend the header checksum; of IPv6 nothing changes. Packets of
 * several hosts behind one address must not share one, while they may be fragmented (RFC 6864). */
void nat_set_ip_id(uint8_t *pkt, const struct nat_view *v, uint16_t id);

/* One hop: decrement TTL or hop limit and mend the IPv4 checksum. False, unchanged, when it is 0 or
 * 1: the packet ends here. The packet's own byte counts, not the view's. */
static inline bool nat_hop(uint8_t *pkt, const struct nat_view *v)
{
	uint8_t *hops = v->version == 4 ? &pkt[8] : &pkt[7];
	uint32_t sum;

	if (__builtin_expect(*hops <= 1, 0))
		return false;
	*hops -= 1;
	if (v->version == 4) {
		/* The TTL is the high byte of its word: 256 less there, 256 more here, and 0 for
		 * 0xffff (RFC 1624, 4). */
		sum = load_be16(pkt + 10) + 0x100u;
		store_be16(pkt + 10, (uint16_t)(sum + (sum >= 0xffff)));
	}
	return true;
}

/* The ICMP or ICMPv6 checksum of an unfragmented packet is right (RFC 5508 REQ-3). False for other
 * protocols. */
bool nat_icmp_sum_ok(const uint8_t *pkt, const struct nat_view *v);

/* Turn an ICMP or ICMPv6 echo request, addressed to us, into its reply in place (addresses swapped,
 * hop limit 64, checksums mended). False, unchanged, when it is not an unfragmented echo request,
 * its checksum is wrong, or it carries IPv4 options or IPv6 extension headers (a source route must
 * not be reflected). Whether the source may be answered (no multicast, no martian) is the caller's
 * part. */
bool nat_echo_reply(uint8_t *pkt, size_t len);

/* Plain RFC 1071 sum over bytes, not folded to 16 bits; start is added. An odd len only in the last
 * part of a sum. For tests and for building packets. */
uint32_t nat_checksum_add(uint32_t start, const uint8_t *data, size_t len);
/* The L4 checksum as it should be, over pseudo header and payload (field taken as zero; a UDP
 * result of zero is 0xffff). Only for a packet that nat_parse called OK. */
uint16_t nat_l4_checksum(const uint8_t *pkt, const struct nat_view *v);

#endif
