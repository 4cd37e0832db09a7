/* why.h - a question about a packet, and what the packet path says of it: the words that path and
 * control share. path answers (path_why), control asks and shows.
 *
 * Threads: plain values of whoever holds them.
 */
#ifndef PORTIER_WHY_H
#define PORTIER_WHY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "stats/stats.h"

#define WHY_STAGES_MAX 24
#define WHY_TEXT_CHARS 224
#define WHY_TUPLES_MAX 4
#define WHY_PKT_BYTES  9216 /* the largest packet that can be asked about */
#define WHY_PORT_ANY   UINT16_MAX
#define WHY_NOBODY     UINT32_MAX /* no peer */

/* Headers by which a packet is known. */
struct why_tuple {
	uint8_t proto;
	struct ip_endpoint src, dst; /* of an echo both ports are its identifier */
};

/* The packet: unfragmented, without options, sound. */
struct why_packet {
	bool is_out;	   /* from inside the tunnel of peer_idx; else it comes in by a port */
	uint32_t peer_idx; /* out */
	uint16_t port_idx; /* in: WHY_PORT_ANY is the one that has dst, else the public one */
	uint8_t proto;	   /* IP protocol number */
	struct ip_addr src, dst; /* of one family */
	/* ICMP and ICMPv6: of an echo request, both its identifier; other protocols: 0. */
	uint16_t src_port, dst_port;
	uint8_t tcp_flags; /* byte 13 of the TCP header */
	uint8_t ttl;
	bool dont_fragment;  /* IPv4 */
	uint16_t size_bytes; /* of the IP packet; 0: its headers alone */
	/* An error of ICMP or ICMPv6, in the place of an echo, about the packet quote. */
	bool is_error;
	uint8_t icmp_type, icmp_code;
	struct why_tuple quote;
};

enum why_end {
	WHY_DROPPED = 0, /* for reason */
	WHY_FORWARDED,	 /* as src and dst say, to to_peer or out of port_idx */
	WHY_WAITS,	 /* forwarded as soon as a handshake ends or a neighbour answers */
	WHY_CONSUMED,	 /* the gateway itself is who it is for */
};

/* What one stage found. */
struct why_stage {
	const char *name;
	char text[WHY_TEXT_CHARS];
};

struct why_answer {
	enum why_end end;
	enum stats_drop reason;	     /* of WHY_DROPPED */
	bool tells_sender;	     /* of WHY_DROPPED: by an ICMP error, within limits */
	struct ip_endpoint src, dst; /* of what goes on: its headers at the end */
	uint32_t to_peer;	     /* who gets it; WHY_NOBODY: the Internet, or nobody */
	uint16_t port_idx;	     /* by which it leaves */
	unsigned n_stages, n_tuples;
	struct why_stage stages[WHY_STAGES_MAX];
	struct why_tuple tuples[WHY_TUPLES_MAX]; /* as it came, and as it was rewritten */
};

/* --- the packet in bytes (build.c) */

/* Of what size_bytes must at least be. */
uint16_t why_packet_min(const struct why_packet *q);
/* Headers as asked, payload zero, checksums right; of an error the quote is a header and 8 bytes.
 * Returns the length; 0: size_bytes is under why_packet_min or over room, or the addresses are of
 * two families. */
size_t why_packet_build(const struct why_packet *q, uint8_t *pkt, size_t room);

/* --- the answer (why.c) */

/* One more stage; what does not fit is cut or left out. */
void why_say(struct why_answer *a, const char *stage, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The headers that the packet has from now on. */
void why_tuple_add(struct why_answer *a, const struct why_tuple *t);
/* "dropped", "forwarded", "waits", "consumed" */
const char *why_end_word(enum why_end end);
/* What to change or to look at when that is not what was meant; a sentence, "" when there is
 * nothing to say. */
const char *why_hint(enum stats_drop reason);

#endif
