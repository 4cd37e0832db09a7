/* session.c - what happens to a peer between packets: keys come and go, packets wait, timers fire.
 */
#include "peer/order.h"
#include "path/worker.h"

/* RFC 4594: handshakes travel as AF41, as other implementations send them. */
#define HANDSHAKE_TRAFFIC_CLASS 0x88
#define MAIL_BURST		32
/* Peers looked at per turn: at a few hundred cycles each, well under 50 us. */
#define TIMERS_PER_TURN 64

static void send_keepalive(struct path_worker *w, struct peer_hot *hot)
{
	struct rte_mbuf *m = pkt_alloc(w->path->params.mempool);

	w->stats.counter[STATS_originated]++;
	if (!m) {
		w->stats.counter[STATS_originated_lost]++;
		return;
	}
	*path_meta(m) = (struct path_meta){.is_originated = true, .peer_idx = hot->peer_idx};
	w->stats.counter[STATS_keepalives_out]++;
	path_seal_push(w, m);
}

static void retire(struct path_worker *w, const struct noise_retired *retired)
{
	for (unsigned i = 0; i < retired->n; i++) {
		uint32_t local_idx = retired->keypairs[i]->local_idx;

		crypto_wipe(retired->keypairs[i], sizeof(*retired->keypairs[i]));
		peer_event_retired(w->mail.events, local_idx);
	}
}

void path_session_act(struct path_worker *w, struct peer_hot *hot, unsigned actions,
	const struct noise_retired *retired)
{
	retire(w, retired);
	if (hot->session.deadline_ns < hot->wheel_due_ns || !hot->wheel_prev)
		path_wheel_arm(&w->wheel, hot, hot->session.deadline_ns);
	if (likely(actions == 0))
		return;
	if (actions & NOISE_ACT_START_HANDSHAKE && hot->path.remote.port != 0)
		peer_event_start(w->mail.events, hot->peer_idx);
	if (actions & NOISE_ACT_CONFIRMED) {
		peer_event_confirmed(w->mail.events, hot->peer_idx);
		path_hold_release(w, hot);
	}
	if (actions & NOISE_ACT_KEEPALIVE)
		send_keepalive(w, hot);
}

bool path_hold_ends(const struct path_worker *w, const struct peer_hot *hot,
	const struct peer_path *path, enum stats_drop *reason)
{
	uint64_t n_holding = __atomic_load_n(&w->stats.counter[STATS_holding], __ATOMIC_RELAXED);
	bool is_full = __atomic_load_n(&hot->n_held, __ATOMIC_RELAXED) == PEER_HOLD_MAX ||
		       n_holding >= w->path->max_holding;

	*reason = path->remote.port == 0 ? STATS_DROP_peer_unreachable : STATS_DROP_peer_hold_full;
	return path->remote.port == 0 || is_full;
}

void path_hold(struct path_worker *w, struct peer_hot *hot, struct rte_mbuf *m)
{
	enum stats_drop reason;

	if (path_hold_ends(w, hot, &hot->path, &reason)) {
		path_drop(w, m, reason);
	} else if (path_meta(m)->is_originated) {
		path_drop(w, m, STATS_DROP_peer_hold_full);
	} else {
		hot->held[hot->n_held++] = m;
		w->stats.counter[STATS_holding]++;
	}
}

/* Take out what is held; the caller disposes of it. */
static uint8_t unhold(struct path_worker *w, struct peer_hot *hot, struct rte_mbuf **pkts)
{
	uint8_t n = hot->n_held;

	memcpy(pkts, hot->held, n * sizeof(pkts[0]));
	w->stats.counter[STATS_holding] -= n;
	hot->n_held = 0;
	return n;
}

static bool is_still_led(const struct path_meta *meta)
{
	switch ((enum path_via)meta->via) {
	case PATH_VIA_DOOR:
		return door_is(meta->door, meta->generation);
	case PATH_VIA_SESSION:
		return meta->session->serial == meta->generation;
	default:
		return true;
	}
}

unsigned path_hold_release(struct path_worker *w, struct peer_hot *hot)
{
	struct rte_mbuf *pkts[PEER_HOLD_MAX];
	uint8_t n = unhold(w, hot, pkts);
	unsigned n_released = 0;

	for (uint8_t i = 0; i < n; i++) {
		const struct path_meta *meta = path_meta(pkts[i]);

		/* What led them may have ended while they waited. */
		if (is_still_led(meta)) {
			path_seal_push(w, pkts[i]);
			n_released++;
		} else {
			path_drop(w, pkts[i], STATS_DROP_lease_closed);
		}
	}
	return n_released;
}

void path_hold_drop(struct path_worker *w, struct peer_hot *hot, enum stats_drop reason)
{
	struct rte_mbuf *pkts[PEER_HOLD_MAX];
	uint8_t n = unhold(w, hot, pkts);

	for (uint8_t i = 0; i < n; i++)
		path_drop(w, pkts[i], reason);
}

static void set_path(struct peer_hot *hot, const struct peer_path *path)
{
	peer_hot_path_set(hot, path);
	hot->outer.fresh_until_ns = 0;
}

void path_endpoint_set(struct path_worker *w, struct peer_hot *hot, const struct peer_path *path)
{
	bool is_new = hot->path.remote.port == 0;

	if (likely(ip_endpoint_equal(&hot->path.remote, &path->remote) &&
		    ip_equal(&hot->path.local, &path->local) &&
		    hot->path.port_idx == path->port_idx))
		return;
	if (!is_new)
		w->stats.counter[STATS_roamed]++;
	set_path(hot, path);
}

/* What control or the handshake thread made: from here on in the balance of packets. */
static void take_originated(struct path_worker *w, struct rte_mbuf *m)
{
	*path_meta(m) = (struct path_meta){.is_originated = true};
	w->stats.counter[STATS_originated]++;
}

static void send_message(struct path_worker *w, struct rte_mbuf *m, const struct peer_path *path)
{
	take_originated(w, m);
	path_send_outer(w, m, path, HANDSHAKE_TRAFFIC_CLASS);
}

static void lose_message(struct path_worker *w, struct rte_mbuf *m)
{
	take_originated(w, m);
	path_drop(w, m, STATS_DROP_internal);
}

static void install(struct path_worker *w, struct peer_order *o)
{
	struct path *p = w->path;
	struct peer_hot *hot = peer_hot(p->params.peers, o->peer_idx);
	struct noise_keypair *kp = keypairs_get(p->params.keypairs, o->local_idx);
	struct noise_retired retired = {.n = 0};

	/* An index of no worker at all: nobody makes such an order. */
	if (unlikely(!kp)) {
		if (o->pkt)
			lose_message(w, o->pkt);
		return;
	}
	peer_order_keys_move(o, kp, w->now_ns);
	noise_session_install(&hot->session, &p->timing, kp, w->now_ns, &retired);
	hot->last_handshake_ns = w->now_ns;
	hot->last_received_ns = w->now_ns;
	path_endpoint_set(w, hot, &o->path);
	w->stats.counter[STATS_installed]++;
	path_session_act(w, hot, 0, &retired);
	if (o->pkt)
		send_message(w, o->pkt, &o->path);
	/* The first packet under the new keys confirms them to the responder. */
	if (o->is_initiator && path_hold_release(w, hot) == 0)
		send_keepalive(w, hot);
}

static void set_peer(struct path_worker *w, const struct peer_order *o)
{
	struct peer_hot *hot = peer_hot(w->path->params.peers, o->peer_idx);
	struct noise_retired none = {.n = 0};

	noise_session_set_persistent_keepalive(
		&hot->session, o->persistent_keepalive_ns, w->now_ns);
	if (o->path.remote.port != 0)
		set_path(hot, &o->path);
	if (o->forgets_flows)
		flow_peer_forget(w->flows, o->peer_idx, w->now_ns);
	path_session_act(w, hot, 0, &none);
}

static void forget_peer(struct path_worker *w, const struct peer_order *o)
{
	struct peer_hot *hot = peer_hot(w->path->params.peers, o->peer_idx);
	struct noise_retired retired = {.n = 0};

	/* What this turn queued for it leaves first: sealing later would put the number, which may
	 * be another peer's by then, back into the wheel. */
	while (w->sealing.n)
		path_seal_flush(w);
	noise_session_clear(&hot->session, &retired);
	retire(w, &retired);
	path_hold_drop(w, hot, STATS_DROP_peer_gone);
	flow_peer_forget(w->flows, o->peer_idx, w->now_ns);
	path_wheel_remove(hot);
	memset(hot, 0, sizeof(*hot));
	peer_event_msg(w->mail.events, o->msg);
}

static void obey(struct path_worker *w, struct peer_order *o)
{
	switch (o->kind) {
	case PEER_ORDER_SEND:
		send_message(w, o->pkt, &o->path);
		break;
	case PEER_ORDER_SEND_PEER: {
		struct peer_hot *hot = peer_hot(w->path->params.peers, o->peer_idx);

		send_message(w, o->pkt, hot->path.remote.port != 0 ? &hot->path : &o->path);
		break;
	}
	case PEER_ORDER_INSTALL:
		install(w, o);
		break;
	case PEER_ORDER_SET:
		set_peer(w, o);
		break;
	case PEER_ORDER_DEL:
		forget_peer(w, o);
		break;
	case PEER_ORDER_GIVE_UP:
		path_hold_drop(w, peer_hot(w->path->params.peers, o->peer_idx),
			STATS_DROP_peer_hold_expired);
		break;
	case PEER_ORDER_NONE:
		break;
	}
	peer_order_put(o);
}

unsigned path_mail_turn(struct path_worker *w)
{
	void *mail[MAIL_BURST];
	unsigned n_orders = mbox_pop_burst(w->mail.orders, mail, MAIL_BURST), n_frames;

	for (unsigned i = 0; i < n_orders; i++)
		obey(w, mail[i]);

	n_frames = mbox_pop_burst(w->mail.from_control, mail, MAIL_BURST);
	for (unsigned i = 0; i < n_frames; i++) {
		struct rte_mbuf *m = mail[i];
		uint16_t port_idx = ((struct path_punt *)rte_mbuf_to_priv(m))->port_idx;

		take_originated(w, m);
		path_tx(w, m, port_idx);
	}
	return n_orders + n_frames;
}

void path_timers_turn(struct path_worker *w)
{
	for (unsigned i = 0; i < TIMERS_PER_TURN; i++) {
		struct peer_hot *hot = path_wheel_next(&w->wheel, w->now_ns);
		struct noise_retired retired = {.n = 0};
		unsigned actions;

		if (!hot)
			return;
		actions = noise_session_tick(&hot->session, &w->path->timing, w->now_ns, &retired);
		path_session_act(w, hot, actions, &retired);
	}
}
