/* impl.h - the handshake thread's state, shared by the files of this library only. */
#ifndef PORTIER_HANDSHAKE_IMPL_H
#define PORTIER_HANDSHAKE_IMPL_H

#include "base/bytes.h"
#include "base/time.h"
#include "cookie/cookie.h"
#include "handshake/handshake.h"
#include "noise/noise.h"

#define SLOT_NONE UINT32_MAX

/* One keypair slot of a worker, as far as the handshake thread cares. */
struct slot {
	uint32_t idx;  /* the index it was given out under; 0: free */
	uint32_t link; /* given out: peer_idx; free: the next free one */
};

struct handshake {
	struct handshake_params params; /* private_key is wiped */
	uint32_t n_workers;
	struct noise_local local;
	struct cookie_checker checker;
	struct cookie_limiter *limiter;
	struct rte_mempool *orders;
	int epoll_fd, stop_fd;
	_Atomic bool is_stopping;

	/* This turn. */
	uint64_t now_ns;
	uint64_t wall_s; /* never goes back: a peer refuses a timestamp that does */
	uint32_t wall_ns;
	uint64_t load_until_ns;
	bool is_under_load;
	uint32_t first_lane; /* where this turn's round begins */

	/* Slots by worker; which are free is known here only. */
	struct slot *slots[KEYPAIRS_WORKERS_MAX];
	uint32_t free_head[KEYPAIRS_WORKERS_MAX];

	/* Running series of initiations: a binary heap of peer_idx by noise_retry_deadline_ns. */
	uint32_t *heap;
	uint32_t n_heap;

	struct peer_msg *stalled;		  /* from control, and cannot be carried out yet */
	struct peer_msg *returns, **returns_tail; /* to control, and found no room yet */

	struct noise_keypair keypair; /* scratch, wiped after use */
};

static inline void count(struct handshake *h, enum stats_handshake_counter c)
{
	h->params.stats->counter[c]++;
}

/* --- slots.c --- */

int slots_init(struct handshake *h);
void slots_fini(struct handshake *h);
/* An index in worker's array for peer_idx; 0: none is free. */
uint32_t slot_get(struct handshake *h, uint32_t worker, uint32_t peer_idx);
/* Free idx; nothing when it is not given out. */
void slot_put(struct handshake *h, uint32_t idx);
/* Whose idx is; PEER_NONE. */
uint32_t slot_peer(const struct handshake *h, uint32_t idx);
/* Free the index reserved for the initiation in flight. */
void slot_release(struct handshake *h, struct peer_shake *shake);

/* --- orders.c --- */

/* An order, zeroed; NULL (counted as lost): the workers are behind. */
struct peer_order *order_get(struct handshake *h, enum peer_order_kind kind, uint32_t peer_idx);
/* To the worker, or false, counted as lost: it is put back and its packet freed. */
bool order_push(struct handshake *h, uint32_t worker, struct peer_order *o);
/* Make worker the home of a peer that has none. False: it could not be told. */
bool home_assign(struct handshake *h, uint32_t peer_idx, uint32_t worker);

/* --- messages.c --- */

/* Judge and answer one message from worker. Takes m. */
void message_take(struct handshake *h, uint32_t worker, struct rte_mbuf *m);

/* --- series.c --- */

/* Begin a series, or prolong it. Nothing when the peer has no endpoint. */
void series_start(struct handshake *h, uint32_t peer_idx);
void series_stop(struct handshake *h, uint32_t peer_idx);
/* Up to a burst of what is due. Returns how many. */
unsigned series_turn(struct handshake *h);
uint64_t series_deadline_ns(const struct handshake *h);

/* --- peers.c --- */

/* What control says, up to a burst. */
unsigned control_turn(struct handshake *h);
/* What a worker says, up to a burst. */
unsigned events_turn(struct handshake *h, uint32_t worker);
/* Messages go back to control, as far as there is room. */
void returns_flush(struct handshake *h);

#endif
