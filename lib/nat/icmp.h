/* icmp.h - ICMP and ICMPv6 errors: reading and translating those of others, and making our own.
 *
 * "Inner" is here the packet that an error quotes: whoever gets the error knows it by the quote, so
 * the quote is translated like the packet once was, in the other direction.
 *
 * Spec:    RFC 792, RFC 4443; RFC 5508, section 4 (translation); RFC 4884 (extensions); RFC 1191
 *          and RFC 8201 (MTU); RFC 1122, 3.2.2, and RFC 1812, 4.3.2 (what may be sent, and how).
 * Purity:  no state, no clock. Threads: any.
 * Total:   every function is defined for any bytes of any length.
 */
#ifndef PORTIER_NAT_ICMP_H
#define PORTIER_NAT_ICMP_H

#include "base/ip.h"
#include "nat/nat.h"

/* Offsets count from the first byte of the outer IP header. */
struct nat_icmp_error {
	uint8_t type, code;
	uint16_t mtu; /* "fragmentation needed", "packet too big" (at most 65535); else 0 */
	struct ip_addr inner_src, inner_dst;
	uint8_t inner_proto;
	uint8_t inner_icmp_type; /* of a quoted echo, else 0 */
	/* TCP, UDP or echo, no later fragment, and its first 8 bytes are quoted. */
	bool has_ports;
	uint16_t inner_src_port, inner_dst_port; /* as in struct nat_view; 0 unless has_ports */
	uint16_t inner_at, inner_l4_at;
	uint16_t inner_end; /* of the quote; what follows are extensions (RFC 4884) or nothing */
};

/* Read an error; v is of a packet that nat_parse called OTHER_PROTO. OK: destination unreachable,
 * time exceeded, parameter problem or ICMPv6 packet too big; out is filled, else untouched.
 *
 * OTHER_PROTO: another kind of packet, source quench and redirects among them. MALFORMED: a wrong
 * ICMP checksum (RFC 5508 REQ-3), or the IP header quoted, with all its options or extension
 * headers, is not whole and right; of IPv4 its checksum is verified (REQ-3a). A quoted L4 checksum
 * never is (REQ-3c). Cost: the ICMP checksum, so the length of the packet. */
enum nat_verdict nat_icmp_error_parse(
	const uint8_t *pkt, const struct nat_view *v, struct nat_icmp_error *out);

/* Set source or destination of the quoted packet, and mend its IPv4 checksum, its L4 checksum as
 * far as it is quoted, and the ICMP checksum. IPv4 only: IPv6 is not translated, and is left alone.
 * addr, port: as in nat_rewrite_dst; without has_ports only the address changes. e stays as parsed;
 * the outer addresses are set by nat_rewrite_src and nat_rewrite_dst. */
void nat_icmp_error_rewrite_inner_src(uint8_t *pkt, const struct nat_view *v,
	const struct nat_icmp_error *e, const uint8_t addr[static 4], uint16_t port);
void nat_icmp_error_rewrite_inner_dst(uint8_t *pkt, const struct nat_view *v,
	const struct nat_icmp_error *e, const uint8_t addr[static 4], uint16_t port);

/* Set the MTU of "fragmentation needed" or "packet too big" and mend the checksum; of other errors
 * nothing changes. */
void nat_icmp_error_set_mtu(
	uint8_t *pkt, const struct nat_view *v, const struct nat_icmp_error *e, uint16_t mtu);

enum nat_icmp_kind {
	NAT_ICMP_NONE = 0,
	NAT_ICMP_TIME_EXCEEDED,	   /* in transit */
	NAT_ICMP_TOO_BIG,	   /* fragmentation needed and DF set; packet too big */
	NAT_ICMP_ADMIN_PROHIBITED, /* 3/13; 1/1 */
	NAT_ICMP_PORT_UNREACHABLE, /* 3/3; 1/4 */
};

struct nat_icmp_make {
	enum nat_icmp_kind kind;
	uint16_t mtu;	    /* of TOO_BIG */
	struct ip_addr src; /* who sends it; of the offending packet's family */
};

/* The longest error that is ever made: RFC 4443, section 2.4(c). IPv4: 576 (RFC 1812, 4.3.2.3). */
#define NAT_ICMP_ERROR_MAX_BYTES 1280

/* Write an error about a packet to that packet's source, IP header and all, with as much of it
 * quoted as may be. Returns its length in bytes; 0, nothing written, when none may be sent or room
 * does not suffice (NAT_ICMP_ERROR_MAX_BYTES always do). None is sent about a malformed packet, an
 * ICMP error or redirect, a later fragment (IPv6: only one of ICMPv6, which may be an error), or a
 * packet from or to an address that is no single host: multicast, broadcast, loopback, unspecified.
 * That a frame was a link-layer broadcast, or an address is the broadcast address of a subnet, is
 * for the caller to know, and so is the rate of errors. */
size_t nat_icmp_error_build(uint8_t *out, size_t room, const uint8_t *offending, size_t len,
	const struct nat_icmp_make *what);

#endif
