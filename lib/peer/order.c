#include "peer/order.h"

#include <string.h>

void peer_order_keys_move(struct peer_order *o, struct noise_keypair *slot, uint64_t now_ns)
{
	memcpy(slot->send_key, o->send_key, sizeof(slot->send_key));
	memcpy(slot->recv_key, o->recv_key, sizeof(slot->recv_key));
	slot->send_counter = 0;
	slot->created_ns = o->created_ns < now_ns ? o->created_ns : now_ns;
	slot->local_idx = o->local_idx;
	slot->remote_idx = o->remote_idx;
	slot->peer_idx = o->peer_idx;
	slot->is_initiator = o->is_initiator;
	noise_replay_init(&slot->replay);
	slot->is_live = true;
	crypto_wipe(o->send_key, sizeof(o->send_key));
	crypto_wipe(o->recv_key, sizeof(o->recv_key));
}

void peer_order_put(struct peer_order *o)
{
	crypto_wipe(o, sizeof(*o));
	rte_mempool_put(rte_mempool_from_obj(o), o);
}

uint32_t peer_events_n_slots(const struct keypairs *k, uint32_t max_peers)
{
	uint64_t n = (uint64_t)k->n_slots + max_peers + PEER_EVENTS_OPTIONAL_MAX + 1;
	uint32_t slots = 1;

	while (slots < n)
		slots <<= 1;
	return slots;
}

static bool push(struct mbox *events, enum peer_event_kind kind, uint64_t value)
{
	return mbox_push(events, (void *)((uintptr_t)kind << PEER_EVENT_KIND_SHIFT | value));
}

bool peer_event_start(struct mbox *events, uint32_t peer_idx)
{
	return mbox_count(events) < PEER_EVENTS_OPTIONAL_MAX &&
	       push(events, PEER_EVENT_START, peer_idx);
}

bool peer_event_confirmed(struct mbox *events, uint32_t peer_idx)
{
	return mbox_count(events) < PEER_EVENTS_OPTIONAL_MAX &&
	       push(events, PEER_EVENT_CONFIRMED, peer_idx);
}

bool peer_event_retired(struct mbox *events, uint32_t local_idx)
{
	return push(events, PEER_EVENT_RETIRED, local_idx);
}

bool peer_event_msg(struct mbox *events, struct peer_msg *msg)
{
	static_assert(sizeof(uintptr_t) == 8, "the kind is in the pointer's top byte");

	return push(events, PEER_EVENT_MSG, (uintptr_t)msg);
}
