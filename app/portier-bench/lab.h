/* lab.h - the gateway and everything around it: the parties in the tunnel, the hosts of the
 * Internet, a router on each link, and the packets between them.
 *
 * Threads: one; the gateway's handshake thread may be another (rig_params).
 */
#ifndef PORTIER_BENCH_LAB_H
#define PORTIER_BENCH_LAB_H

#include "bench.h"
#include "flow.h"
#include "party.h"
#include "rig.h"

#define LAB_AHEAD 256 /* frames that are made before any of them is sent */
static_assert(LAB_AHEAD <= FLOW_WINDOW_PKTS, "all of them may be under way");

struct lab {
	struct rig rig;
	struct parties parties;
	struct lab_flows flows;
	uint64_t n_unknown; /* frames from the gateway that make no sense */
	/* Frames that left the gateway and carry a stamp, until they are looked at; may be NULL. */
	struct rte_ring *stamped[RIG_N_PORTS];
	unsigned wrong_pct; /* share of packets sent to another queue than their worker's */
};

/* Frames that wait to be sent, by where they go in. */
struct lab_batch {
	struct rte_mbuf *pkts[RIG_N_PORTS][RIG_WORKERS_MAX][LAB_AHEAD];
	uint16_t n[RIG_N_PORTS][RIG_WORKERS_MAX];
	uint16_t at[RIG_N_PORTS][RIG_WORKERS_MAX]; /* sent so far */
};

/* Gateway, and both routers known to it. 0 or -1: the reason was printed; lab_down either way. */
int lab_up(struct lab *lab, const struct bench_options *o, const struct rig_params *params);
void lab_down(struct lab *lab);

/* n more peers, whose packets take this rx queue, each with a party that has done its handshake.
 * 0 or -1, printed. */
int lab_peers_add(struct lab *lab, uint32_t n, uint8_t queue);
/* n more leases, a multiple of n_peers, spread over n_peers peers from first_peer on. 0 or -1,
 * printed. */
int lab_leases_add(struct lab *lab, uint32_t n, uint32_t first_peer, uint32_t n_peers);
/* n sessions that are not begun yet, a multiple of n_peers, spread over n_peers peers from
 * first_peer on: each with an inner port and a host of its own. */
void lab_sessions_add(struct lab *lab, uint32_t n, uint32_t first_peer, uint32_t n_peers);
/* Real handshakes of these parties, all the way to confirmed keys. 0 or -1, printed. */
int lab_handshakes(struct lab *lab, uint32_t first, uint32_t n);

/* Make the next n frames this way; adds them to the batch. n is at most LAB_AHEAD. False: no
 * buffers or no keys. */
bool lab_make(struct lab *lab, enum flow_way way, uint16_t n, struct lab_batch *batch);
/* Up to n frames of the batch into this rx ring; returns how many. */
uint16_t lab_send(
	struct lab *lab, struct lab_batch *batch, unsigned port, unsigned queue, uint16_t n);
/* Empty the tx rings: open, check and count packets, answer what wants an answer. */
void lab_drain(struct lab *lab);
/* Move what is in the tx rings aside, stamped; lab_drain finds it there. Returns how many. The
 * rings for it are made by the first call. */
unsigned lab_stamp(struct lab *lab, uint64_t stamp);
/* All but packets of the flows, until nothing moves any more: timers, handshakes, neighbours. */
void lab_settle(struct lab *lab);
/* What the far ends, control and a handshake thread by hand do in between, without a worker's turn.
 */
void lab_look(struct lab *lab);
/* This party begins a handshake, if it does not wait for one already. */
bool lab_initiate(struct lab *lab, uint32_t party_idx);
/* Until no party waits for a response. 0 or -1, printed. */
int lab_handshakes_wait(struct lab *lab, uint32_t first, uint32_t n);

/* Prints; returns -1. */
int lab_complain(const char *what);
/* The end of a benchmark that came to rc: lab_down. -1 also if anything that was to be checked is
 * not as it should be; printed. */
int lab_finish(struct lab *lab, int rc);

#endif
