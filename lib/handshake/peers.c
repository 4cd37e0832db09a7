/* peers.c - what control and the workers say about peers and their slots. */
#include "handshake/impl.h"

#include <string.h>

#define CONTROL_PER_TURN 32 /* an ADD costs one X25519 */
#define EVENTS_PER_TURN	 256

/* --- back to control --- */

void returns_flush(struct handshake *h)
{
	while (h->returns) {
		struct peer_msg *next = h->returns->next;

		if (!mbox_push(h->params.to_control, h->returns))
			return;
		h->returns = next;
	}
	h->returns_tail = &h->returns;
}

static void give_back(struct handshake *h, struct peer_msg *msg)
{
	msg->next = NULL;
	*h->returns_tail = msg;
	h->returns_tail = &msg->next;
}

/* --- from control: true when done, false to try the same message again later --- */

/* A peer that can be begun with needs a worker to begin from. */
static bool home_ensure(struct handshake *h, uint32_t peer_idx)
{
	return peer_home(h->params.peers, peer_idx) != PEER_HOME_NONE ||
	       home_assign(h, peer_idx, peer_idx % h->n_workers);
}

static bool peer_add_take(struct handshake *h, const struct peer_msg *msg)
{
	struct peer_shake *shake = peer_shake(h->params.peers, msg->peer_idx);

	if (!shake->is_known) {
		noise_remote_init(&shake->noise, &h->local, msg->public_key, msg->preshared_key);
		cookie_maker_init(&shake->cookie, msg->public_key);
		shake->persistent_keepalive_ns = msg->persistent_keepalive_ns;
		if (msg->sets_endpoint)
			shake->path.remote = msg->endpoint;
		shake->is_known = true;
	}
	return !msg->sets_endpoint || home_ensure(h, msg->peer_idx);
}

static bool peer_set_take(struct handshake *h, const struct peer_msg *msg)
{
	struct peer_shake *shake = peer_shake(h->params.peers, msg->peer_idx);
	uint32_t home = peer_home(h->params.peers, msg->peer_idx);
	struct peer_order *o;

	if (!crypto_equal(shake->noise.preshared_key, msg->preshared_key, CRYPTO_KEY_BYTES))
		noise_remote_set_preshared_key(&shake->noise, msg->preshared_key);
	shake->persistent_keepalive_ns = msg->persistent_keepalive_ns;
	if (msg->sets_endpoint)
		shake->path = (struct peer_path){.remote = msg->endpoint};
	if (home == PEER_HOME_NONE)
		return !msg->sets_endpoint || home_ensure(h, msg->peer_idx);
	o = order_get(h, PEER_ORDER_SET, msg->peer_idx);
	if (!o)
		return false;
	o->persistent_keepalive_ns = msg->persistent_keepalive_ns;
	o->forgets_flows = msg->forgets_flows;
	if (msg->sets_endpoint)
		o->path = shake->path;
	return order_push(h, home, o);
}

/* Our part is wiped here, the home worker's by its order; slots come back one by one before msg
 * does. */
static bool peer_del_take(struct handshake *h, struct peer_msg *msg)
{
	struct peer_shake *shake = peer_shake(h->params.peers, msg->peer_idx);
	uint32_t home = peer_home(h->params.peers, msg->peer_idx);
	struct peer_order *o;

	if (shake->is_known) {
		series_stop(h, msg->peer_idx);
		slot_release(h, shake);
		noise_remote_fini(&shake->noise);
		cookie_maker_fini(&shake->cookie);
		crypto_wipe(shake, sizeof(*shake));
	}
	if (home == PEER_HOME_NONE) {
		give_back(h, msg);
		return true;
	}
	o = order_get(h, PEER_ORDER_DEL, msg->peer_idx);
	if (!o)
		return false;
	o->msg = msg;
	return order_push(h, home, o);
}

static bool control_take(struct handshake *h, struct peer_msg *msg)
{
	bool is_done = true;

	switch (msg->kind) {
	case PEER_MSG_DEL:
		return peer_del_take(h, msg);
	case PEER_MSG_ADD:
		is_done = peer_add_take(h, msg);
		break;
	case PEER_MSG_SET:
		is_done = peer_set_take(h, msg);
		if (is_done && msg->starts)
			series_start(h, msg->peer_idx);
		break;
	case PEER_MSG_NONE:
		break;
	}
	if (is_done)
		give_back(h, msg);
	return is_done;
}

unsigned control_turn(struct handshake *h)
{
	unsigned n = 0;
	void *msg;

	if (h->stalled) {
		if (!control_take(h, h->stalled))
			return 0;
		h->stalled = NULL;
		n++;
	}
	while (n < CONTROL_PER_TURN && mbox_pop_burst(h->params.from_control, &msg, 1) == 1) {
		n++;
		if (!control_take(h, msg)) {
			h->stalled = msg;
			break;
		}
	}
	return n;
}

/* --- from workers --- */

static void event_take(struct handshake *h, const void *event)
{
	uint64_t value = peer_event_value_get(event);
	struct peer_msg *msg;

	switch (peer_event_kind_get(event)) {
	case PEER_EVENT_START:
		if (peer_shake(h->params.peers, (uint32_t)value)->is_known)
			series_start(h, (uint32_t)value);
		break;
	case PEER_EVENT_CONFIRMED:
		series_stop(h, (uint32_t)value);
		break;
	case PEER_EVENT_RETIRED:
		slot_put(h, (uint32_t)value);
		break;
	case PEER_EVENT_MSG:
		msg = (struct peer_msg *)(uintptr_t)value;
		peer_home_set(h->params.peers, msg->peer_idx, PEER_HOME_NONE);
		give_back(h, msg);
		break;
	case PEER_EVENT_NONE:
		break;
	}
}

unsigned events_turn(struct handshake *h, uint32_t worker)
{
	void *events[EVENTS_PER_TURN];
	unsigned n = mbox_pop_burst(h->params.lanes[worker].events, events, EVENTS_PER_TURN);

	for (unsigned i = 0; i < n; i++)
		event_take(h, events[i]);
	return n;
}
