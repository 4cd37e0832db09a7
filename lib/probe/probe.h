/* probe.h - the gateway knocks at a door of its own, and takes the answer out of what the peer
 * sends: which packets go in, which one is the answer, and what it was.
 *
 * A probe comes from one of the gateway's own public addresses. So its answer is never for the
 * Internet: what the peer sends there and is not the answer is dropped as ever.
 *
 * Answers:   of TCP an acceptance (SYN and ACK) or a reset, that acknowledge a sequence number
 *            which was drawn for this probe (RFC 9293, 3.10.7.3: others are unacceptable); of UDP a
 *            datagram from the door's inner endpoint to the port that was drawn; of both an ICMP
 *            "unreachable" that quotes the probe. From the peer that was asked, and only the first.
 * Threads:   control begins and ends probes (one writer of all else); the home worker of the peer
 *            that is asked writes answer and answered_ns, once; workers write lost. Workers are
 *            readers of the grace given at create.
 * Memory:    PROBE_SLOTS at once. A slot is used again only after a grace period.
 */
#ifndef PORTIER_PROBE_H
#define PORTIER_PROBE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "nat/icmp.h"
#include "nat/nat.h"
#include "stats/stats.h"
#include "table/grace.h"

#define PROBE_SLOTS 16u
/* The largest packet that is built here. */
#define PROBE_PKT_BYTES 60u

struct probe_ask {
	uint32_t peer_idx;
	uint8_t proto;		   /* TCP or UDP */
	struct ip_endpoint from;   /* where it pretends to come from */
	struct ip_endpoint public; /* the door */
	struct ip_endpoint inner;  /* where that leads */
	uint32_t tcp_seq;	   /* of its SYN */
};

enum probe_kind {
	PROBE_NOTHING = 0,
	PROBE_ACCEPTED,	   /* TCP: SYN and ACK */
	PROBE_RESET,	   /* TCP: RST */
	PROBE_DATAGRAM,	   /* UDP */
	PROBE_UNREACHABLE, /* ICMP or ICMPv6 */
};

struct probe_answer {
	enum probe_kind kind;
	uint8_t icmp_type, icmp_code; /* of UNREACHABLE */
};

struct probe {
	struct probe_ask ask; /* W: control, while the slot is free */
	_Atomic bool is_running;
	_Atomic uint32_t answer; /* packed; 0: none yet */
	_Atomic uint64_t answered_ns;
	_Atomic uint32_t lost; /* why a packet of it ended here: enum stats_drop + 1; 0: none did */
	struct grace_work retire; /* W, R: control */
	struct probes *probes;
	bool is_taken; /* control's */
} __attribute__((aligned(64)));

struct probes;

/* NULL when memory is out. g outlives them. */
struct probes *probes_create(struct grace *g);
/* Nobody reads any more, and nothing of g waits. NULL is fine. */
void probes_destroy(struct probes *ps);

/* --- control */

/* Begin one: from now on its answer is taken. Returns its number, from 1; 0: all are in use. */
uint8_t probe_begin(struct probes *ps, const struct probe_ask *ask);
void probe_end(struct probes *ps, uint8_t number);
const struct probe_ask *probe_ask_get(const struct probes *ps, uint8_t number);
/* What is known by now; *answered_ns is set with an answer. */
struct probe_answer probe_answer_get(
	const struct probes *ps, uint8_t number, uint64_t *answered_ns);
/* Before it is sent again: what became of the packet before says nothing of the next. */
void probe_again(struct probes *ps, uint8_t number);
/* Was the packet that was sent last dropped on its way in? */
bool probe_lost_get(const struct probes *ps, uint8_t number, enum stats_drop *reason);

/* The packet that is sent, as it comes from outside: a SYN, or an empty datagram. Returns its
 * length. */
uint16_t probe_build(const struct probe_ask *ask, uint8_t out[static PROBE_PKT_BYTES]);
/* The one that ends what was accepted: an RST, as it is sent to the peer. */
uint16_t probe_build_reset(const struct probe_ask *ask, uint8_t out[static PROBE_PKT_BYTES]);

/* --- workers */

/* One load of a line that only control writes. */
bool probes_are_running(const struct probes *ps);
/* A packet of this peer, decrypted, from an address of its own: is it for a probe? Returns its
 * number; 0: it is not, and goes its way. *out, set with a number, is the answer, which is noted,
 * or PROBE_NOTHING: it is none, or not the first, and ends here, for nobody else sent from there.
 * v, verdict: as nat_parse said. Home worker of the peer. */
uint8_t probe_take(struct probes *ps, uint32_t peer_idx, const uint8_t *pkt,
	const struct nat_view *v, enum nat_verdict verdict, uint64_t now_ns,
	struct probe_answer *out);
/* A packet of the probe is dropped. Any worker. */
void probe_note_lost(struct probes *ps, uint8_t number, enum stats_drop reason);

#endif
