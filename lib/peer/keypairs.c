#include "peer/keypairs.h"

#include "crypto/crypto.h"
#include "peer/sparse.h"

#include <stdlib.h>

#define SLOTS_PER_PEER 4

static uint32_t count_bits(uint64_t n)
{
	uint32_t bits = 0;

	while ((UINT64_C(1) << bits) < n)
		bits++;
	return bits;
}

struct keypairs *keypairs_create(uint32_t n_workers, uint32_t max_peers)
{
	struct keypairs *k;
	uint64_t n_wanted;
	uint32_t worker_bits;

	if (n_workers == 0 || n_workers > KEYPAIRS_WORKERS_MAX)
		return NULL;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	/* At least one bit, so that no shift is as wide as the index. */
	worker_bits = n_workers > 1 ? count_bits(n_workers) : 1;
	n_wanted = (uint64_t)SLOTS_PER_PEER * max_peers / n_workers;
	if (n_wanted < KEYPAIRS_SLOTS_MIN)
		n_wanted = KEYPAIRS_SLOTS_MIN;
	k->n_workers = n_workers;
	k->slot_bits = count_bits(n_wanted);
	if (k->slot_bits > 32 - KEYPAIRS_TAG_BITS_MIN - worker_bits)
		k->slot_bits = 32 - KEYPAIRS_TAG_BITS_MIN - worker_bits;
	k->tag_bits = 32 - worker_bits - k->slot_bits;
	k->n_slots = UINT32_C(1) << k->slot_bits;
	for (uint32_t w = 0; w < n_workers; w++) {
		k->slots[w] = sparse_alloc(k->n_slots, sizeof(*k->slots[w]), -1);
		if (!k->slots[w]) {
			keypairs_destroy(k);
			return NULL;
		}
	}
	return k;
}

void keypairs_destroy(struct keypairs *k)
{
	if (!k)
		return;
	for (uint32_t w = 0; w < k->n_workers; w++) {
		/* Past n_used nothing was ever written, and looking would cost a page fault each.
		 */
		for (uint32_t i = 0; i < k->n_used[w]; i++)
			crypto_wipe(&k->slots[w][i], sizeof(k->slots[w][i]));
		sparse_free(k->slots[w], k->n_slots, sizeof(*k->slots[w]));
	}
	free(k);
}
