/* peer.c - a peer's life: added, changed, deleted, its number used again. */
#include "crypto/crypto.h"
#include "peer/impl.h"
#include "peer/sparse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IDX_NONE   UINT32_MAX
#define POLL_BURST 64

/* --- create and destroy --- */

struct peers *peers_create(const struct peer_params *params)
{
	uint32_t max = params->max_peers;
	int socket_id = params->socket_id;
	struct peers *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->max_peers = max;
	p->free_head = IDX_NONE;
	p->grace = params->grace;
	p->by_key = table_create("peers_key", max, CRYPTO_KEY_BYTES, socket_id, p->grace);
	p->by_inner =
		table_create("peers_inner", 2 * max, sizeof(struct ip_addr), socket_id, p->grace);
	p->by_route = table_create("peers_route", max + PEER_ROUTES_MAX, sizeof(struct route_key),
		socket_id, p->grace);
	p->by_name = table_create("peers_name", max, PEER_NAME_CHARS, socket_id, p->grace);
	p->slots = sparse_alloc(max, sizeof(*p->slots), socket_id);
	p->views = sparse_alloc(max, sizeof(*p->views), socket_id);
	p->publics = sparse_alloc(max, sizeof(*p->publics), socket_id);
	p->homes = sparse_alloc(max, sizeof(*p->homes), socket_id);
	p->hot = sparse_alloc(max, sizeof(*p->hot), socket_id);
	p->shake = sparse_alloc(max, sizeof(*p->shake), socket_id);
	if (!p->by_key || !p->by_inner || !p->by_route || !p->by_name || !p->slots || !p->views ||
		!p->publics || !p->homes || !p->hot || !p->shake) {
		peers_destroy(p);
		return NULL;
	}
	return p;
}

void peer_msg_free(struct peer_msg *msg)
{
	crypto_wipe(msg->preshared_key, sizeof(msg->preshared_key));
	if (msg->kind != PEER_MSG_DEL)
		free(msg);
}

static void mbox_drain(struct mbox *m)
{
	void *msgs[POLL_BURST];
	unsigned n;

	while (m && (n = mbox_pop_burst(m, msgs, POLL_BURST)) > 0)
		for (unsigned i = 0; i < n; i++)
			peer_msg_free(msgs[i]);
}

void peers_destroy(struct peers *p)
{
	if (!p)
		return;
	/* No reader runs, so all that was deferred is due; some of it points here. */
	while (grace_poll(p->grace) > 0)
		;
	mbox_drain(p->to_handshake);
	mbox_drain(p->from_handshake);
	for (uint32_t i = 0; i < p->n_fresh; i++) {
		free(atomic_load_explicit(&p->views[i], memory_order_relaxed));
		crypto_wipe(&p->slots[i], sizeof(p->slots[i]));
		crypto_wipe(&p->shake[i], sizeof(p->shake[i]));
	}
	table_destroy(p->by_key);
	table_destroy(p->by_inner);
	table_destroy(p->by_route);
	table_destroy(p->by_name);
	sparse_free(p->slots, p->max_peers, sizeof(*p->slots));
	sparse_free(p->views, p->max_peers, sizeof(*p->views));
	sparse_free(p->publics, p->max_peers, sizeof(*p->publics));
	sparse_free(p->homes, p->max_peers, sizeof(*p->homes));
	sparse_free(p->hot, p->max_peers, sizeof(*p->hot));
	sparse_free(p->shake, p->max_peers, sizeof(*p->shake));
	free(p);
}

void peers_connect(struct peers *p, struct mbox *to_handshake, struct mbox *from_handshake)
{
	p->to_handshake = to_handshake;
	p->from_handshake = from_handshake;
}

/* --- numbers and views --- */

static uint32_t idx_get(struct peers *p)
{
	uint32_t i = p->free_head;

	if (i != IDX_NONE)
		p->free_head = p->slots[i].next;
	else if (p->n_fresh < p->max_peers)
		i = p->n_fresh++;
	return i;
}

static void idx_put(struct peers *p, uint32_t i)
{
	p->slots[i].state = SLOT_FREE;
	p->slots[i].next = p->free_head;
	p->free_head = i;
}

static uint64_t keepalive_ns(const struct peer_conf *conf)
{
	return conf->persistent_keepalive_s * NS_IN_S;
}

static struct view *view_create(const struct peer_conf *conf)
{
	struct view *v = calloc(1, sizeof(*v));

	if (v) {
		v->seen.address4 = conf->address4;
		v->seen.address6 = conf->address6;
		v->seen.limits = conf->limits;
		v->seen.max_leases = conf->max_leases;
		memcpy(v->seen.routes, conf->routes, sizeof(conf->routes));
		v->seen.n_routes = conf->n_routes;
		v->seen.persistent_keepalive_ns = keepalive_ns(conf);
	}
	return v;
}

/* Publish (NULL: unpublish). The one before is the caller's to free after a grace period. */
static struct view *view_swap(struct peers *p, uint32_t i, struct view *v)
{
	return (struct view *)atomic_exchange_explicit(
		&p->views[i], v ? &v->seen : NULL, memory_order_acq_rel);
}

/* --- what control is told: sound, and nobody else's --- */

static bool are_routes(const struct peer_conf *conf)
{
	if (conf->n_routes > PEER_ROUTES_MAX)
		return false;
	for (unsigned i = 0; i < conf->n_routes; i++) {
		const struct ip_prefix *r = &conf->routes[i];

		if (r->len_bits < PEER_ROUTE_BITS_MIN || r->len_bits > 128 || ip_is_v4(&r->addr))
			return false;
		for (unsigned j = 0; j < i; j++)
			if (ip_prefix_equal(r, &conf->routes[j]))
				return false;
	}
	return true;
}

static int conf_check(const struct peer_conf *conf, const char **culprit)
{
	static const uint8_t zero[CRYPTO_KEY_BYTES];

	const char *what = NULL;

	if (memcmp(conf->public_key, zero, sizeof(zero)) == 0)
		what = "public key";
	else if (!memchr(conf->name, '\0', sizeof(conf->name)))
		what = "name";
	else if (ip_is_none(&conf->address4) && ip_is_none(&conf->address6))
		what = "address";
	else if (!ip_is_none(&conf->address4) && !ip_is_v4(&conf->address4))
		what = "address";
	else if (ip_is_v4(&conf->address6))
		what = "IPv6 address";
	else if (!are_routes(conf))
		what = "route";
	if (!what)
		return 0;
	*culprit = what;
	return -EINVAL;
}

/* Names are table keys: bytes after the NUL are zero. */
static void conf_copy(struct peer_conf *to, const struct peer_conf *from)
{
	size_t len = strlen(from->name);

	*to = *from;
	memset(to->name + len, 0, sizeof(to->name) - len);
}

/* --- messages to the handshake thread --- */

/* The shorter of both; 0 is none. */
static uint64_t silence_ns(const struct peer_conf *conf, uint64_t heartbeat_ns)
{
	uint64_t persistent_ns = keepalive_ns(conf);

	if (persistent_ns == 0 || (heartbeat_ns != 0 && heartbeat_ns < persistent_ns))
		return heartbeat_ns;
	return persistent_ns;
}

static struct peer_msg *msg_create(enum peer_msg_kind kind, uint32_t peer_idx,
	const struct peer_conf *conf, uint64_t heartbeat_ns)
{
	struct peer_msg *msg = calloc(1, sizeof(*msg));

	if (!msg)
		return NULL;
	msg->kind = kind;
	msg->peer_idx = peer_idx;
	memcpy(msg->public_key, conf->public_key, sizeof(msg->public_key));
	memcpy(msg->preshared_key, conf->preshared_key, sizeof(msg->preshared_key));
	msg->endpoint = conf->endpoint;
	msg->sets_endpoint = conf->endpoint.port != 0;
	msg->persistent_keepalive_ns = silence_ns(conf, heartbeat_ns);
	return msg;
}

/* As far as there is room. */
static void unsent_push(struct peers *p)
{
	while (p->unsent) {
		struct peer_msg *next = p->unsent->next;

		if (!mbox_push(p->to_handshake, p->unsent))
			return;
		p->unsent = next;
	}
}

/* A grace period after the number was unpublished. */
static void number_graced(void *arg)
{
	struct slot *slot = arg;
	struct peers *p = slot->peers;

	free(slot->retired);
	slot->retired = NULL;
	/* Never announced: nobody else has to let go. */
	if (slot->del.kind == PEER_MSG_NONE) {
		idx_put(p, (uint32_t)(slot - p->slots));
		return;
	}
	slot->del.next = p->unsent;
	p->unsent = &slot->del;
	if (p->to_handshake)
		unsent_push(p);
}

/* Take a live number out of sight. is_announced: the handshake thread knows of it. */
static void number_retire(struct peers *p, uint32_t i, bool is_announced)
{
	struct slot *slot = &p->slots[i];
	struct claims claims;

	slot->state = SLOT_DYING;
	slot->retired = &view_swap(p, i, NULL)->seen;
	claims_of(p, &slot->conf, &claims);
	claims_del(p, &claims, NULL);
	peer_public_set(p, i, 0);
	crypto_wipe(&slot->conf, sizeof(slot->conf));
	p->n_heartbeats -= slot->heartbeat_ns != 0;
	slot->heartbeat_ns = 0;
	slot->del = (struct peer_msg){
		.kind = is_announced ? PEER_MSG_DEL : PEER_MSG_NONE, .peer_idx = i};
	p->n_live--;
	grace_defer_work(p->grace, &slot->retire, number_graced, slot);
}

void peers_poll(struct peers *p)
{
	void *msgs[POLL_BURST];
	unsigned n;

	unsent_push(p);
	while ((n = mbox_pop_burst(p->from_handshake, msgs, POLL_BURST)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			struct peer_msg *msg = msgs[i];
			bool is_del = msg->kind == PEER_MSG_DEL;
			uint32_t peer_idx = msg->peer_idx;

			peer_msg_free(msg);
			if (is_del)
				idx_put(p, peer_idx);
		}
	}
}

/* --- add, set, del --- */

/* Before anyone can see the peer; its last owner zeroed what it wrote. */
static void hot_init(struct peer_hot *hot, uint32_t peer_idx, const struct peer_conf *conf)
{
	memset(hot, 0, sizeof(*hot));
	hot->peer_idx = peer_idx;
	noise_session_init(&hot->session, keepalive_ns(conf));
	hot->path.remote = conf->endpoint;
}

int peer_add(
	struct peers *p, const struct peer_conf *given, uint32_t *out_idx, const char **culprit)
{
	struct claims claims;
	struct peer_conf conf; /* wiped */
	struct peer_msg *msg = NULL;
	struct view *view = NULL;
	struct slot *slot;
	uint32_t i;
	int rc;

	rc = conf_check(given, culprit);
	if (rc != 0)
		return rc;
	conf_copy(&conf, given);
	claims_of(p, &conf, &claims);
	rc = claims_check(&claims, culprit);
	if (rc != 0)
		goto out;
	rc = -ENOSPC;
	*culprit = "number";
	i = idx_get(p);
	if (i == IDX_NONE)
		goto out;
	slot = &p->slots[i];
	slot->peers = p;
	rc = -ENOMEM;
	view = view_create(&conf);
	msg = msg_create(PEER_MSG_ADD, i, &conf, 0);
	if (!view || !msg)
		goto out_idx;
	hot_init(&p->hot[i], i, &conf);
	rc = claims_add(p, &claims, NULL, i, culprit);
	if (rc != 0)
		goto out_idx;

	slot->conf = conf;
	slot->state = SLOT_LIVE;
	p->n_live++;
	view_swap(p, i, view);
	if (mbox_push(p->to_handshake, msg)) {
		*out_idx = i;
	} else {
		peer_msg_free(msg);
		number_retire(p, i, false);
		rc = -EAGAIN;
	}
	goto out;
out_idx:
	if (msg)
		peer_msg_free(msg);
	/* A worker may have met the number in a table: it rests before it is used again. */
	slot->state = SLOT_DYING;
	slot->retired = view ? &view->seen : NULL;
	slot->del = (struct peer_msg){.kind = PEER_MSG_NONE};
	grace_defer_work(p->grace, &slot->retire, number_graced, slot);
out:
	crypto_wipe(&conf, sizeof(conf));
	return rc;
}

/* What the peer began came from addresses that are not its own any more. */
static bool moves(const struct peer_conf *old, const struct peer_conf *new)
{
	if (!ip_equal(&old->address4, &new->address4) ||
		!ip_equal(&old->address6, &new->address6) || old->n_routes != new->n_routes)
		return true;
	for (unsigned i = 0; i < old->n_routes; i++)
		if (!ip_prefix_equal(&old->routes[i], &new->routes[i]))
			return true;
	return false;
}

/* Does the handshake thread or the home worker have to hear of it? */
static bool needs_msg(const struct peer_conf *old, const struct peer_conf *new)
{
	return !crypto_equal(old->preshared_key, new->preshared_key, CRYPTO_KEY_BYTES) ||
	       old->persistent_keepalive_s != new->persistent_keepalive_s ||
	       (new->endpoint.port != 0 && !ip_endpoint_equal(&old->endpoint, &new->endpoint)) ||
	       moves(old, new);
}

int peer_set(struct peers *p, uint32_t peer_idx, const struct peer_conf *conf, const char **culprit)
{
	struct slot *slot = live_slot(p, peer_idx);
	struct claims old_claims, new_claims;
	struct peer_conf new; /* wiped */
	struct peer_msg *msg = NULL;
	struct view *view, *old_view;
	int rc;

	if (!slot)
		return -ENOENT;
	rc = conf_check(conf, culprit);
	if (rc != 0)
		return rc;
	conf_copy(&new, conf);
	memcpy(new.public_key, slot->conf.public_key, sizeof(new.public_key));
	claims_of(p, &slot->conf, &old_claims);
	claims_of(p, &new, &new_claims);

	rc = -ENOMEM;
	view = view_create(&new);
	if (!view)
		goto out;
	if (needs_msg(&slot->conf, &new)) {
		msg = msg_create(PEER_MSG_SET, peer_idx, &new, slot->heartbeat_ns);
		if (!msg)
			goto out_view;
		msg->sets_endpoint = new.endpoint.port != 0 &&
				     !ip_endpoint_equal(&slot->conf.endpoint, &new.endpoint);
		msg->forgets_flows = moves(&slot->conf, &new);
	}
	/* New addresses lead to this peer before the old ones cease to. */
	rc = claims_add(p, &new_claims, &old_claims, peer_idx, culprit);
	if (rc != 0)
		goto out_msg;
	rc = -EAGAIN;
	if (msg && !mbox_push(p->to_handshake, msg))
		goto out_claims;

	old_view = view_swap(p, peer_idx, view);
	grace_defer_work(p->grace, &old_view->retire, free, old_view);
	claims_del(p, &old_claims, &new_claims);
	slot->conf = new;
	rc = 0;
	goto out;
out_claims:
	claims_del(p, &new_claims, &old_claims);
out_msg:
	if (msg)
		peer_msg_free(msg);
out_view:
	free(view);
out:
	crypto_wipe(&new, sizeof(new));
	return rc;
}

int peer_heartbeat_set(struct peers *p, uint32_t peer_idx, uint64_t interval_ns)
{
	struct slot *slot = live_slot(p, peer_idx);
	uint64_t old_ns;

	if (!slot)
		return -ENOENT;
	old_ns = slot->heartbeat_ns;
	if (interval_ns == old_ns)
		return 0;
	if (silence_ns(&slot->conf, interval_ns) != silence_ns(&slot->conf, old_ns)) {
		struct peer_msg *msg = msg_create(PEER_MSG_SET, peer_idx, &slot->conf, interval_ns);

		if (!msg)
			return -ENOMEM;
		/* The configured endpoint is not news. */
		msg->sets_endpoint = false;
		if (!mbox_push(p->to_handshake, msg)) {
			peer_msg_free(msg);
			return -EAGAIN;
		}
	}
	p->n_heartbeats += (interval_ns != 0) - (old_ns != 0);
	slot->heartbeat_ns = interval_ns;
	return 0;
}

uint64_t peer_heartbeat(const struct peers *p, uint32_t peer_idx)
{
	const struct slot *slot = live_slot(p, peer_idx);

	return slot ? slot->heartbeat_ns : 0;
}

uint32_t peers_heartbeats(const struct peers *p)
{
	return p->n_heartbeats;
}

int peer_begin(struct peers *p, uint32_t peer_idx, const struct ip_endpoint *endpoint, bool starts)
{
	struct slot *slot = live_slot(p, peer_idx);
	struct peer_msg *msg;

	if (!slot)
		return -ENOENT;
	/* It was faster, and may be elsewhere by now. */
	if (__atomic_load_n(&p->hot[peer_idx].last_handshake_ns, __ATOMIC_RELAXED) != 0)
		return 0;
	msg = msg_create(PEER_MSG_SET, peer_idx, &slot->conf, slot->heartbeat_ns);
	if (!msg)
		return -ENOMEM;
	msg->sets_endpoint = true;
	msg->endpoint = *endpoint;
	msg->starts = starts;
	if (mbox_push(p->to_handshake, msg))
		return 0;
	peer_msg_free(msg);
	return -EAGAIN;
}

int peer_del(struct peers *p, uint32_t peer_idx)
{
	if (!live_slot(p, peer_idx))
		return -ENOENT;
	number_retire(p, peer_idx, true);
	return 0;
}
