/* impl.h - places in headers, shared by the files of this library only. */
#ifndef PORTIER_NAT_IMPL_H
#define PORTIER_NAT_IMPL_H

#include "nat/nat.h"

#define IPV4_HEADER_BYTES     20
#define IPV4_HEADER_MAX_BYTES 60
#define IPV4_ID_AT	      4
#define IPV4_FRAGMENT_AT      6
#define IPV4_CHECKSUM_AT      10
#define IPV4_SRC_AT	      12
#define IPV4_DST_AT	      16
#define IPV4_DF		      0x4000
#define IPV4_MF		      0x2000
#define IPV4_OFFSET	      0x1fff

#define IPV6_HEADER_BYTES   40
#define IPV6_SRC_AT	    8
#define IPV6_DST_AT	    24
#define IPV6_EXT_MAX	    8
#define IPV6_FRAGMENT_BYTES 8
#define IPV6_NH_HOPOPTS	    0
#define IPV6_NH_ROUTING	    43
#define IPV6_NH_FRAGMENT    44
#define IPV6_NH_AH	    51
#define IPV6_NH_DSTOPTS	    60
#define IPV6_NH_MOBILITY    135
#define IPV6_NH_HIP	    139
#define IPV6_NH_SHIM6	    140

#define TCP_HEADER_BYTES  20
#define UDP_HEADER_BYTES  8
#define ICMP_HEADER_BYTES 8
#define TCP_CHECKSUM_AT	  16
#define UDP_CHECKSUM_AT	  6
#define ICMP_CHECKSUM_AT  2
#define ICMP_ECHO_ID_AT	  4

#define ICMP_ECHO_REPLY	     0
#define ICMP_UNREACHABLE     3
#define ICMP_QUENCH	     4
#define ICMP_REDIRECT	     5
#define ICMP_ECHO_REQUEST    8
#define ICMP_TIME_EXCEEDED   11
#define ICMP_PARAMETER	     12
#define ICMPV6_UNREACHABLE   1
#define ICMPV6_TOO_BIG	     2
#define ICMPV6_TIME_EXCEEDED 3
#define ICMPV6_PARAMETER     4
#define ICMPV6_ECHO_REQUEST  128
#define ICMPV6_ECHO_REPLY    129
#define ICMPV6_REDIRECT	     137

/* Where an error says its MTU. */
#define ICMP_FRAG_NEEDED 4 /* code of unreachable */
#define ICMP_MTU_AT	 6
#define ICMPV6_MTU_AT	 4

static inline bool nat_icmp_is_echo(uint8_t version, uint8_t type)
{
	return version == 4 ? type == ICMP_ECHO_REQUEST || type == ICMP_ECHO_REPLY
			    : type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY;
}

/* ICMP of the packet's own family, of at least 8 bytes; the rest of the view is filled. OK: an
 * echo.
 */
enum nat_verdict nat_parse_icmp(const uint8_t *pkt, struct nat_view *v);

/* Walk from v->l4_offset to the upper-layer header of an IPv6 packet, within v->total_len and over
 * at most 8 headers; v->proto and v->l4_offset move along. NAT_OK: it is at l4_offset and may be
 * read further. NAT_FRAGMENT: the walk stands behind a fragment header. Any other verdict is final.
 */
enum nat_verdict nat_walk_extensions(const uint8_t *pkt, struct nat_view *v);

/* Of the fragment header behind which the walk stands: offset (13 bits), reserved (2), more (1). */
static inline uint16_t nat_v6_fragment_field(const uint8_t *pkt, const struct nat_view *v)
{
	return load_be16(pkt + v->l4_offset - IPV6_FRAGMENT_BYTES + 2);
}

static inline void nat_mend(uint8_t *checksum, uint32_t diff)
{
	store_be16(checksum, nat_checksum_update(load_be16(checksum), diff));
}

#endif
