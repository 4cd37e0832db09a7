/* keypairs.h - where installed keypairs live, and how a receiver index names one.
 *
 * We choose the index that the far end puts into each data message, so it says where the packet
 * belongs before any look-up:
 *
 *   [worker][slot in the worker's array][random tag, never 0]
 *
 * Threads:   a slot's content has one writer, the worker it belongs to; which slot is free is known
 *            to the handshake thread only. The layout is read-only after create.
 * Memory:    an untouched slot costs address space only; a touched page lies on the socket of the
 *            worker that touched it first.
 * Invariant: no index is 0. An index is not used again before its worker said that the slot is
 *            free (peer/order.h).
 */
#ifndef PORTIER_KEYPAIRS_H
#define PORTIER_KEYPAIRS_H

#include <stddef.h>
#include <stdint.h>

#include "noise/noise.h"

#define KEYPAIRS_WORKERS_MAX  64
#define KEYPAIRS_SLOTS_MIN    64 /* per worker */
#define KEYPAIRS_TAG_BITS_MIN 8

struct keypairs {
	uint32_t n_workers;
	uint32_t n_slots; /* per worker; a power of two */
	uint32_t slot_bits, tag_bits;
	struct noise_keypair *slots[KEYPAIRS_WORKERS_MAX];
	/* W: handshake thread. Slots from here on were never given out. */
	uint32_t n_used[KEYPAIRS_WORKERS_MAX];
};

/* Four slots a peer (previous, current, next, and one for a handshake in flight) if the peers
 * spread over the workers evenly; capped so that the tag keeps KEYPAIRS_TAG_BITS_MIN bits. NULL
 * when memory is out. n_workers is 1 to KEYPAIRS_WORKERS_MAX. Boot. */
struct keypairs *keypairs_create(uint32_t n_workers, uint32_t max_peers);
/* Wipes every slot that was given out; no worker runs any more. NULL is fine. */
void keypairs_destroy(struct keypairs *k);

/* The owner named by idx. For an index that we never gave out it may be >= n_workers. */
static inline uint32_t keypairs_worker(const struct keypairs *k, uint32_t idx)
{
	return idx >> (k->slot_bits + k->tag_bits);
}

static inline uint32_t keypairs_slot(const struct keypairs *k, uint32_t idx)
{
	return (idx >> k->tag_bits) & (k->n_slots - 1);
}

/* The place that idx names, whatever is in it; NULL when there is no such worker. */
static inline struct noise_keypair *keypairs_get(const struct keypairs *k, uint32_t idx)
{
	uint32_t worker = keypairs_worker(k, idx);

	return worker < k->n_workers ? &k->slots[worker][keypairs_slot(k, idx)] : NULL;
}

/* Owner only: at this place is the live keypair whose index is idx. */
static inline bool keypairs_is(const struct noise_keypair *kp, uint32_t idx)
{
	return kp && kp->is_live && kp->local_idx == idx;
}

/* tag: any number; its low bits are used, 1 for 0. */
static inline uint32_t keypairs_index(
	const struct keypairs *k, uint32_t worker, uint32_t slot, uint32_t tag)
{
	tag &= (UINT32_C(1) << k->tag_bits) - 1;
	return (worker << k->slot_bits | slot) << k->tag_bits | (tag ? tag : 1);
}

#endif
