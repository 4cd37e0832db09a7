/* tcp.h - which state a TCP session is in, and for how long it may stay silent: one pure step.
 *
 * Spec:      RFC 6146, section 3.5.2 (its V6 side is the peer, out; its V4 side the Internet, in);
 *            RFC 5382 REQ-2 and REQ-5; RFC 7857, section 2.
 * Different from RFC 6146, on purpose:
 *            - What comes in prolongs nothing, except that it completes an opening or a closing
 *              (RFC 4787 REQ-6 for UDP): who talks to a dead peer must not keep its port.
 *            - RST leads to TRANS from half-closed states too, and never prolongs.
 *            - TRANS remembers a FIN that leads out of it.
 *            - A peer that begins again on an old session (SYN; SYN ACK when the other side began)
 *              leaves FIN_BOTH and TRANS by it, lest its new connection end with the old one.
 *            - Nobody is probed when an established session runs out.
 * Not known: sequence numbers. A forged RST therefore shortens a session to the transitory time,
 *            and the next packet of either side mends that.
 * Threads:   pure functions, any thread.
 */
#ifndef PORTIER_FLOW_TCP_H
#define PORTIER_FLOW_TCP_H

#include <stdbool.h>
#include <stdint.h>

/* Byte 13 of the TCP header. */
#define FLOW_TCP_FIN 0x01
#define FLOW_TCP_SYN 0x02
#define FLOW_TCP_RST 0x04
#define FLOW_TCP_ACK 0x10

enum flow_tcp_state {
	FLOW_TCP_NONE = 0, /* not TCP */
	FLOW_TCP_INIT_OUT, /* the peer's SYN went out (V6 INIT) */
	FLOW_TCP_INIT_IN,  /* a SYN came in (V4 INIT) */
	FLOW_TCP_ESTABLISHED,
	FLOW_TCP_FIN_OUT,  /* the peer has closed its side (V6 FIN RCV) */
	FLOW_TCP_FIN_IN,   /* the other has (V4 FIN RCV) */
	FLOW_TCP_FIN_BOTH, /* V4 FIN + V6 FIN RCV */
	FLOW_TCP_TRANS,	   /* a RST passed */
	FLOW_TCP_STATES,
};

/* What the packet does to the session's end. */
enum flow_tcp_life {
	FLOW_TCP_KEEP = 0,   /* nothing */
	FLOW_TCP_CUT,	     /* the transitory time from now, unless it ends sooner */
	FLOW_TCP_TRANSITORY, /* the transitory time from now */
	FLOW_TCP_LONG,	     /* the established time from now */
};

struct flow_tcp_step {
	uint8_t state; /* enum flow_tcp_state */
	uint8_t life;  /* enum flow_tcp_life */
};

/* A packet with these flags passes. is_out: from the peer. From FLOW_TCP_NONE nothing leads away.
 */
struct flow_tcp_step flow_tcp_step(enum flow_tcp_state state, uint8_t flags, bool is_out);

/* May a packet with these flags begin a session? A SYN and nothing else of SYN, ACK, RST, FIN. */
static inline bool flow_tcp_begins(uint8_t flags)
{
	return (flags & (FLOW_TCP_SYN | FLOW_TCP_ACK | FLOW_TCP_RST | FLOW_TCP_FIN)) ==
	       FLOW_TCP_SYN;
}

#endif
