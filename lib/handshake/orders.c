/* orders.c - what the workers are told. */
#include "handshake/impl.h"

#include <string.h>

struct peer_order *order_get(struct handshake *h, enum peer_order_kind kind, uint32_t peer_idx)
{
	struct peer_order *o;
	void *obj;

	if (rte_mempool_get(h->orders, &obj) != 0) {
		count(h, STATS_HANDSHAKE_lost);
		return NULL;
	}
	o = obj;
	memset(o, 0, sizeof(*o));
	o->kind = kind;
	o->peer_idx = peer_idx;
	return o;
}

bool order_push(struct handshake *h, uint32_t worker, struct peer_order *o)
{
	if (mbox_push(h->params.lanes[worker].orders, o))
		return true;
	count(h, STATS_HANDSHAKE_lost);
	rte_pktmbuf_free(o->pkt);
	peer_order_put(o);
	return false;
}

bool home_assign(struct handshake *h, uint32_t peer_idx, uint32_t worker)
{
	const struct peer_shake *shake = peer_shake(h->params.peers, peer_idx);
	struct peer_order *o;

	/* What control set at the peer's birth may have changed since; and the worker learns that
	 * the peer's timers are its own now. */
	o = order_get(h, PEER_ORDER_SET, peer_idx);
	if (!o)
		return false;
	o->persistent_keepalive_ns = shake->persistent_keepalive_ns;
	o->path.remote = shake->path.remote;
	if (!order_push(h, worker, o))
		return false;
	peer_home_set(h->params.peers, peer_idx, (uint8_t)worker);
	return true;
}
