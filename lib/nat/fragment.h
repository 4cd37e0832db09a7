/* fragment.h - fragments of packets: what one says of itself, and cutting IPv4 packets into them.
 *
 * Spec:    RFC 791, section 3.2; RFC 8200, section 4.5; RFC 1858 and RFC 3128 (tiny fragments);
 *          RFC 7112 (IPv6: the first fragment has all headers).
 * Purity:  no state, no clock. Threads: any. Which fragments belong together: frag/frag.h.
 * Total:   every function is defined for any bytes of any length.
 */
#ifndef PORTIER_NAT_FRAGMENT_H
#define PORTIER_NAT_FRAGMENT_H

#include "nat/nat.h"

struct nat_fragment {
	uint32_t id; /* IPv4: 16 bits */
	/* Where its bytes are in the payload of the whole packet, which for IPv6 begins behind the
	 * fragment header. All but the last are multiples of 8 bytes, and none is empty. */
	uint16_t offset_bytes, len_bytes;
	bool is_first, is_last; /* never both */
};

/* Read a fragment; v is of a packet that nat_parse called FRAGMENT. On OK, OTHER_PROTO and FRAGMENT
 * out is filled and the view is completed, else both are untouched.
 *
 * OK: a first fragment. The view has has_l4, ports and icmp_type as by nat_parse, and of IPv6 proto
 * and l4_offset have moved past extension headers behind the fragment header; rewrites translate it
 * like a whole packet. OTHER_PROTO: a first fragment without ports. FRAGMENT: a later one; without
 * has_l4, rewrites change its address only.
 *
 * TINY_FRAGMENT: a first fragment without the whole TCP (with options), UDP or ICMP header, a later
 * one that lies in such a TCP header, or an empty one. MALFORMED: a TCP or UDP length that cannot
 * be, or a fragment of a fragment. */
enum nat_verdict nat_fragment_parse(
	const uint8_t *pkt, struct nat_view *v, struct nat_fragment *out);

/* RFC 791: what every link carries. */
#define NAT_FRAGMENT_MIN_BYTES 68

/* Write piece k, from 0, of an IPv4 packet that is to be sent in pieces of at most max_bytes.
 * Returns its length in bytes; 0: there is no such piece, because the packet has fewer, must not be
 * fragmented (DF, IPv6), max_bytes is under NAT_FRAGMENT_MIN_BYTES or the packet's options cannot
 * be read.
 *
 * v: as nat_parse or nat_fragment_parse left it; the packet may itself be a fragment. out:
 * max_bytes, not within pkt. The first piece has the options, the others those to be copied. A
 * packet that fits is its own piece 0. */
size_t nat_fragment_cut(
	const uint8_t *pkt, const struct nat_view *v, uint16_t max_bytes, unsigned k, uint8_t *out);

#endif
