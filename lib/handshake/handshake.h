/* handshake.h - the thread that does the Diffie-Hellmans.
 *
 * Takes handshake messages from the workers, judges them (MAC1, cookie, limiter, Noise, replay,
 * flood), answers, and tells each peer's home worker which keypair to install. Begins handshakes
 * when a worker asks, and repeats them (paper 6.4). Decides a peer's home. What it says to workers
 * and hears from them is in peer/order.h; what control says is struct peer_msg.
 *
 * Spec:      WireGuard paper, sections 5.3, 5.4, 6.3 to 6.5.
 * Threads:   handshake_run is one thread; handshake_stop may be called from any other.
 * Writes:    peer_shake, peer homes, its own struct stats_handshake.
 * Invariant: what does not verify changes no state (but counters and, under load, the limiter).
 */
#ifndef PORTIER_HANDSHAKE_H
#define PORTIER_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mempool.h>

#include "mbox/mbox.h"
#include "noise/session.h"
#include "peer/keypairs.h"
#include "peer/order.h"
#include "peer/peer.h"
#include "stats/stats.h"
#include "table/grace.h"

/* The mailboxes of one worker, as in peer/order.h. msgs and events have a descriptor (wants_fd),
 * orders has none. All belong to the caller. */
struct handshake_lane {
	struct mbox *msgs, *events, *orders;
};

struct handshake_params {
	struct peers *peers;
	struct keypairs *keypairs; /* tells n_workers */
	struct handshake_lane lanes[KEYPAIRS_WORKERS_MAX];
	struct mbox *from_control,
		*to_control; /* struct peer_msg *; from_control has a descriptor */
	struct grace *grace;
	uint32_t grace_reader_id;
	struct rte_mempool *mbufs;	       /* for initiations; headroom for the outer headers */
	uint8_t private_key[CRYPTO_KEY_BYTES]; /* copied; the caller wipes its own */
	struct noise_timing timing;
	uint32_t queue_msgs; /* under load from an eighth of this many waiting messages */
	uint32_t home_shift; /* a first handshake's home is this many workers further on */
	struct stats_handshake *stats;
	uint64_t (*now_ns)(void); /* monotonic, the same clock as the workers' */
	int socket_id;
};

struct handshake;

/* NULL when memory or descriptors are out. Boot. */
struct handshake *handshake_create(const struct handshake_params *p);
/* Wipes; frees what is still in msgs and orders. No thread runs any more; before peers_destroy and
 * before the mailboxes and the mbuf pool go. NULL is fine. */
void handshake_destroy(struct handshake *h);

/* The thread's body: returns after handshake_stop. Naps for some milliseconds after it had work,
 * then sleeps in epoll; offline for grace periods. */
void handshake_run(struct handshake *h);
void handshake_stop(struct handshake *h);

/* One turn, as handshake_run makes it: a burst from each mailbox and the retries that are due.
 * wall_s, wall_ns: UNIX time, for TAI64N. Returns how much was done; 0: nothing is left to do now.
 * Bounded work: at most a few bursts. The thread only, or a test in its place. */
unsigned handshake_turn(struct handshake *h, uint64_t now_ns, uint64_t wall_s, uint32_t wall_ns);
/* When a turn is due without any message; TIME_NEVER. */
uint64_t handshake_next_deadline_ns(const struct handshake *h);

#endif
