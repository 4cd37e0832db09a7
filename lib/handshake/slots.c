/* slots.c - which keypair slots of which worker are given out, to whom, and under which index. */
#include "handshake/impl.h"
#include "peer/sparse.h"

#include <errno.h>

int slots_init(struct handshake *h)
{
	const struct keypairs *k = h->params.keypairs;

	for (uint32_t w = 0; w < h->n_workers; w++) {
		h->free_head[w] = SLOT_NONE;
		h->slots[w] = sparse_alloc(k->n_slots, sizeof(*h->slots[w]), h->params.socket_id);
		if (!h->slots[w])
			return -ENOMEM;
	}
	return 0;
}

void slots_fini(struct handshake *h)
{
	for (uint32_t w = 0; w < h->n_workers; w++)
		sparse_free(h->slots[w], h->params.keypairs->n_slots, sizeof(*h->slots[w]));
}

/* The last that was freed goes first: what is touched stays small and warm. The random tag tells
 * its old packets from its new ones. */
uint32_t slot_get(struct handshake *h, uint32_t worker, uint32_t peer_idx)
{
	struct keypairs *k = h->params.keypairs;
	uint32_t i = h->free_head[worker], tag;

	if (i != SLOT_NONE)
		h->free_head[worker] = h->slots[worker][i].link;
	else if (k->n_used[worker] < k->n_slots)
		i = k->n_used[worker]++;
	else
		return 0;
	crypto_random(&tag, sizeof(tag));
	h->slots[worker][i].idx = keypairs_index(k, worker, i, tag);
	h->slots[worker][i].link = peer_idx;
	return h->slots[worker][i].idx;
}

static struct slot *find(const struct handshake *h, uint32_t idx)
{
	const struct keypairs *k = h->params.keypairs;
	uint32_t worker = keypairs_worker(k, idx);
	struct slot *slot;

	if (idx == 0 || worker >= h->n_workers)
		return NULL;
	slot = &h->slots[worker][keypairs_slot(k, idx)];
	return slot->idx == idx ? slot : NULL;
}

void slot_put(struct handshake *h, uint32_t idx)
{
	struct slot *slot = find(h, idx);
	uint32_t worker = keypairs_worker(h->params.keypairs, idx);

	if (!slot)
		return;
	slot->idx = 0;
	slot->link = h->free_head[worker];
	h->free_head[worker] = (uint32_t)(slot - h->slots[worker]);
}

uint32_t slot_peer(const struct handshake *h, uint32_t idx)
{
	const struct slot *slot = find(h, idx);

	return slot ? slot->link : PEER_NONE;
}

void slot_release(struct handshake *h, struct peer_shake *shake)
{
	slot_put(h, shake->slot_idx);
	shake->slot_idx = 0;
}
