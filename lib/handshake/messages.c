/* messages.c - one handshake message from a worker: judged, answered, its keys sent home.
 *
 * The order of the checks is by cost, and nothing is changed by a message before it is proven:
 *
 *   shape, MAC1                          a hash
 *   under load: MAC2, per-source limiter two hashes more; else a cookie goes back
 *   e, es, s                             one Diffie-Hellman: who claims to send this?
 *   ss, {t}                              proves the sender, and that it is no replay
 *   flood limit                          per peer, after the proof: no one can use it up for
 * another
 */
#include "handshake/impl.h"

#include <string.h>

#define FLOOD_WINDOW_NS	 NS_IN_S
#define FLOOD_PER_WINDOW 50

/* A message on its way through. */
struct incoming {
	struct rte_mbuf *m; /* NULL: it was sent on its way back, as the answer */
	const uint8_t *msg;
	uint32_t len;
	uint32_t worker;
	struct peer_path path;
};

/* The answer travels in the buffer of what it answers: none can be lacking, and all are shorter. */
static struct rte_mbuf *answer_in_place(struct incoming *in, const void *msg, uint16_t len)
{
	struct rte_mbuf *m = in->m;

	memcpy(rte_pktmbuf_mtod(m, void *), msg, len);
	m->data_len = len;
	m->pkt_len = len;
	m->ol_flags = 0;
	m->tx_offload = 0;
	m->packet_type = 0;
	in->m = NULL;
	return m;
}

static void send_cookie(struct handshake *h, struct incoming *in)
{
	uint8_t fresh_secret[CRYPTO_KEY_BYTES]; /* wiped */
	uint8_t nonce[CRYPTO_XNONCE_BYTES];
	struct wgmsg_cookie_reply reply;
	struct peer_order *o = order_get(h, PEER_ORDER_SEND, PEER_NONE);

	if (!o)
		return;
	crypto_random(fresh_secret, sizeof(fresh_secret));
	crypto_random(nonce, sizeof(nonce));
	cookie_reply_build(&h->checker, in->msg, in->len, &in->path.remote, fresh_secret, nonce,
		h->now_ns, &reply);
	crypto_wipe(fresh_secret, sizeof(fresh_secret));
	o->path = in->path;
	o->pkt = answer_in_place(in, &reply, sizeof(reply));
	if (order_push(h, in->worker, o))
		count(h, STATS_HANDSHAKE_cookie_sent);
}

/* Paper 5.3 and 5.4.4: is this worth a Diffie-Hellman? */
static bool is_admitted(struct handshake *h, struct incoming *in)
{
	switch (cookie_check(
		&h->checker, in->msg, in->len, &in->path.remote, h->is_under_load, h->now_ns)) {
	case COOKIE_INVALID:
		count(h, STATS_HANDSHAKE_bad_mac1);
		return false;
	case COOKIE_MAC1_OK:
		if (!h->is_under_load)
			return true;
		send_cookie(h, in);
		return false;
	case COOKIE_MAC2_OK:
		if (cookie_limiter_allow(h->limiter, &in->path.remote.addr, h->now_ns))
			return true;
		count(h, STATS_HANDSHAKE_rate_limited);
		return false;
	}
	return false;
}

/* Give the keys in h->keypair to the home worker; pkt (may be NULL) follows them. */
static bool install(struct handshake *h, struct incoming *in, struct peer_order *o,
	struct rte_mbuf *pkt, uint32_t home)
{
	const struct noise_keypair *kp = &h->keypair;
	struct peer_shake *shake = peer_shake(h->params.peers, o->peer_idx);

	/* It has just proved to be there. */
	__atomic_store_n(&shake->unreachable_since_ns, 0, __ATOMIC_RELAXED);
	o->pkt = pkt;
	o->path = in->path;
	o->created_ns = h->now_ns;
	o->local_idx = kp->local_idx;
	o->remote_idx = kp->remote_idx;
	o->is_initiator = kp->is_initiator;
	memcpy(o->send_key, kp->send_key, sizeof(o->send_key));
	memcpy(o->recv_key, kp->recv_key, sizeof(o->recv_key));
	crypto_wipe(&h->keypair, sizeof(h->keypair));
	return order_push(h, home, o);
}

/* --- 5.4.2: an initiation --- */

static bool is_flood(struct handshake *h, struct peer_shake *shake)
{
	if (shake->flood_n == 0 || h->now_ns - shake->flood_window_ns >= FLOOD_WINDOW_NS) {
		shake->flood_window_ns = h->now_ns;
		shake->flood_n = 0;
	}
	if (shake->flood_n == FLOOD_PER_WINDOW)
		return true;
	shake->flood_n++;
	return false;
}

/* Why was hello refused? It is a replay if it would pass for a peer that was never heard. For the
 * counters only: on a copy. */
static bool is_replay(const struct noise_remote *remote, struct noise_hello *hello)
{
	struct noise_remote fresh = *remote; /* wiped */
	bool would_pass;

	memset(fresh.last_timestamp, 0, sizeof(fresh.last_timestamp));
	would_pass = noise_initiation_accept(&fresh, hello) == NOISE_OK;
	crypto_wipe(&fresh, sizeof(fresh));
	return would_pass;
}

/* Who sent it, proven; PEER_NONE: counted. */
static uint32_t initiation_accept(struct handshake *h, const struct incoming *in)
{
	struct noise_hello hello, again; /* wiped */
	struct peer_shake *shake;
	uint32_t peer_idx;

	if (noise_initiation_open(&h->local, (const struct wgmsg_initiation *)in->msg, &hello) !=
		NOISE_OK) {
		count(h, STATS_HANDSHAKE_rejected);
		return PEER_NONE;
	}
	peer_idx = peer_find_key(h->params.peers, hello.public_key);
	/* Found but not known: control's message is still on its way. */
	if (peer_idx == PEER_NONE || !peer_shake(h->params.peers, peer_idx)->is_known) {
		count(h, STATS_HANDSHAKE_unknown_peer);
		crypto_wipe(&hello, sizeof(hello));
		return PEER_NONE;
	}
	shake = peer_shake(h->params.peers, peer_idx);
	again = hello;
	if (noise_initiation_accept(&shake->noise, &hello) != NOISE_OK) {
		count(h, is_replay(&shake->noise, &again) ? STATS_HANDSHAKE_replayed
							  : STATS_HANDSHAKE_rejected);
		return PEER_NONE;
	}
	crypto_wipe(&again, sizeof(again));
	/* An initiation of ours in flight was dropped by it. */
	slot_release(h, shake);
	if (is_flood(h, shake)) {
		count(h, STATS_HANDSHAKE_flooded);
		noise_remote_reset(&shake->noise);
		return PEER_NONE;
	}
	count(h, STATS_HANDSHAKE_initiations_in);
	return peer_idx;
}

/* A slot at the peer's home; one without a home gets it here: the worker that the NIC chose for
 * its packets, or the next that has room. 0: none (counted). */
static uint32_t slot_at_home(struct handshake *h, uint32_t peer_idx, uint32_t worker)
{
	uint32_t home = peer_home(h->params.peers, peer_idx), idx = 0;

	if (home != PEER_HOME_NONE) {
		idx = slot_get(h, home, peer_idx);
	} else {
		home = (worker + h->params.home_shift) % h->n_workers;
		for (uint32_t n = 0; n < h->n_workers && idx == 0; n++)
			idx = slot_get(h, (home + n) % h->n_workers, peer_idx);
		home = keypairs_worker(h->params.keypairs, idx);
		if (idx != 0 && !home_assign(h, peer_idx, home)) {
			slot_put(h, idx);
			return 0;
		}
	}
	if (idx == 0)
		count(h, STATS_HANDSHAKE_no_slot);
	return idx;
}

/* Paper 5.4.3: our response. The peer's state is INITIATION_RECEIVED. */
static void respond(
	struct handshake *h, struct incoming *in, uint32_t peer_idx, struct peer_order *o)
{
	struct peer_shake *shake = peer_shake(h->params.peers, peer_idx);
	uint8_t ephemeral[CRYPTO_KEY_BYTES]; /* wiped */
	struct wgmsg_response msg;
	struct rte_mbuf *pkt;
	uint32_t idx;

	idx = slot_at_home(h, peer_idx, in->worker);
	if (idx == 0)
		goto fail;
	crypto_random(ephemeral, sizeof(ephemeral));
	if (noise_response_create(&shake->noise, idx, ephemeral, &msg, &h->keypair) != NOISE_OK) {
		count(h, STATS_HANDSHAKE_rejected);
		slot_put(h, idx);
		goto fail;
	}
	crypto_wipe(ephemeral, sizeof(ephemeral));
	cookie_macs_add(&shake->cookie, (uint8_t *)&msg, sizeof(msg), h->now_ns);
	shake->path = in->path;
	pkt = answer_in_place(in, &msg, sizeof(msg));
	/* Our own series runs on, if there is one: until the keys are confirmed. */
	if (install(h, in, o, pkt, peer_home(h->params.peers, peer_idx)))
		count(h, STATS_HANDSHAKE_responses_out);
	else
		slot_put(h, idx);
	return;
fail:
	crypto_wipe(ephemeral, sizeof(ephemeral));
	noise_remote_reset(&shake->noise);
	peer_order_put(o);
}

static void initiation_take(struct handshake *h, struct incoming *in)
{
	/* First, because without it all that follows would be in vain. */
	struct peer_order *o = order_get(h, PEER_ORDER_INSTALL, PEER_NONE);

	if (!o)
		return;
	o->peer_idx = initiation_accept(h, in);
	if (o->peer_idx == PEER_NONE)
		peer_order_put(o);
	else
		respond(h, in, o->peer_idx, o);
}

/* --- 5.4.3: a response --- */

static void response_take(struct handshake *h, struct incoming *in)
{
	const struct wgmsg_response *msg = (const struct wgmsg_response *)in->msg;
	uint32_t idx = load_le32(msg->receiver_idx_le32);
	uint32_t peer_idx = slot_peer(h, idx);
	struct peer_shake *shake;
	struct peer_order *o;

	shake = peer_idx == PEER_NONE ? NULL : peer_shake(h->params.peers, peer_idx);
	if (!shake || shake->slot_idx != idx) {
		count(h, STATS_HANDSHAKE_rejected);
		return;
	}
	o = order_get(h, PEER_ORDER_INSTALL, peer_idx);
	if (!o)
		return;
	if (noise_response_open(&shake->noise, &h->local, msg, &h->keypair) != NOISE_OK) {
		count(h, STATS_HANDSHAKE_rejected);
		peer_order_put(o);
		return;
	}
	count(h, STATS_HANDSHAKE_responses_in);
	shake->slot_idx = 0;
	shake->path = in->path;
	series_stop(h, peer_idx);
	if (!install(h, in, o, NULL, peer_home(h->params.peers, peer_idx))) {
		slot_put(h, idx);
		series_start(h, peer_idx);
	}
}

/* --- 5.4.7: a cookie reply --- */

static void cookie_take(struct handshake *h, struct incoming *in)
{
	const struct wgmsg_cookie_reply *msg = (const struct wgmsg_cookie_reply *)in->msg;
	uint32_t peer_idx = slot_peer(h, load_le32(msg->receiver_idx_le32));
	struct peer_shake *shake;

	shake = peer_idx == PEER_NONE ? NULL : peer_shake(h->params.peers, peer_idx);
	/* Kept for the next initiation: sending it at once would let an observer drive us. */
	if (shake && shake->is_known && cookie_reply_open(&shake->cookie, msg, h->now_ns))
		count(h, STATS_HANDSHAKE_cookies_in);
	else
		count(h, STATS_HANDSHAKE_rejected);
}

void message_take(struct handshake *h, uint32_t worker, struct rte_mbuf *m)
{
	struct incoming in = {
		.m = m,
		.msg = rte_pktmbuf_mtod(m, const uint8_t *),
		/* A second segment is never looked at, so such a message has the wrong length. */
		.len = m->data_len == m->pkt_len ? m->data_len : 0,
		.worker = worker,
	};

	memcpy(&in.path, rte_mbuf_to_priv(m), sizeof(in.path));
	count(h, STATS_HANDSHAKE_received);
	switch (wgmsg_classify(in.msg, in.len)) {
	case WGMSG_INITIATION:
		if (is_admitted(h, &in))
			initiation_take(h, &in);
		break;
	case WGMSG_RESPONSE:
		if (is_admitted(h, &in))
			response_take(h, &in);
		break;
	case WGMSG_COOKIE_REPLY:
		cookie_take(h, &in);
		break;
	case WGMSG_DATA:
	case WGMSG_INVALID:
		count(h, STATS_HANDSHAKE_rejected);
		break;
	}
	rte_pktmbuf_free(in.m);
}
