/* What changes is put into the store, and replies wait for it. */
#include "ctl/server.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- moments: the store has wall-clock time, all else the monotonic clock ----------------------*/

uint64_t ctl_wall_of(const struct ctl *c, uint64_t at_ns)
{
	uint64_t now_ns = c->p.now_ns(), wall_ns = c->p.wall_ns();

	if (at_ns == TIME_NEVER)
		return TIME_NEVER;
	return at_ns > now_ns ? wall_ns + (at_ns - now_ns) : wall_ns - (now_ns - at_ns);
}

uint64_t ctl_moment_at(uint64_t now_ns, uint64_t wall_ns, uint64_t wall_at_ns)
{
	if (wall_at_ns == TIME_NEVER)
		return TIME_NEVER;
	if (wall_at_ns > wall_ns)
		return now_ns + (wall_at_ns - wall_ns);
	/* From before the clock began: as early as can be said. */
	return now_ns > wall_ns - wall_at_ns ? now_ns - (wall_ns - wall_at_ns) : 1;
}

uint64_t ctl_moment_of(const struct ctl *c, uint64_t wall_at_ns)
{
	return ctl_moment_at(c->p.now_ns(), c->p.wall_ns(), wall_at_ns);
}

/* --- changes -----------------------------------------------------------------------------------*/

static bool is_stored(const struct ctl *c)
{
	return c->p.store != NULL && !c->is_restoring;
}

bool ctl_store_is_failing(const struct ctl *c)
{
	return c->store_status.failed > c->store_status.done;
}

int ctl_store_check(const struct ctl *c, struct rpc_fault *fault)
{
	if (!ctl_store_is_failing(c))
		return 0;
	return rpc_fault_set(fault, RPC_NOT_DURABLE, "store.path", NULL,
		"nothing was done: the store %s cannot be written: %s", c->p.conf->store_path,
		c->store_status.why);
}

bool ctl_lease_is_configured(const struct lease *lease)
{
	return lease->ttl_ns == TIME_NEVER;
}

bool ctl_is_by_conf(const struct ctl *c)
{
	return c->actor.by == CTL_BY_CONF;
}

/* What the file says is not stored; what it said of this lease is in force again. */
static void take_as_configured(struct ctl *c, const struct lease *lease)
{
	char entry[STORE_ENTRY_CHARS];

	store_lease_del(c->p.store, lease->id);
	if (ctl_overrule_lease_word(c, lease, entry))
		store_overrule_del(c->p.store, entry);
}

void ctl_store_lease(struct ctl *c, const struct lease *lease)
{
	const struct peer_conf *peer = peer_conf_get(c->p.peers, lease->peer_idx);
	struct store_lease row = {
		.id = lease->id,
		.protos = lease->protos,
		.public_addr = lease->public_addr,
		.inner_addr = lease->inner_addr,
		.public_port = lease->public_port,
		.inner_port = lease->inner_port,
		.n_ports = lease->n_ports,
		.ttl_ns = lease->ttl_ns,
		.idle_ns = lease->idle_ns,
		.max_pps = lease->max_pps,
		.max_new_flows = lease->max_new_flows,
		.n_sources = lease->n_sources,
	};
	uint64_t used_ns;

	if (!is_stored(c) || peer == NULL)
		return;
	if (ctl_lease_is_configured(lease)) {
		take_as_configured(c, lease);
		return;
	}
	memcpy(row.peer_key, peer->public_key, sizeof(row.peer_key));
	row.opened_ns = ctl_wall_of(c, lease->opened_ns);
	row.expires_ns = ctl_wall_of(c, lease->expires_ns);
	row.until_ns = ctl_wall_of(c, lease->until_ns);
	used_ns = ctl_lease_used_ns(c, lease);
	row.used_ns = used_ns == 0 ? TIME_NEVER : ctl_wall_of(c, used_ns);
	memcpy(row.sources, lease->sources, lease->n_sources * sizeof(row.sources[0]));
	memcpy(row.label, lease->label, sizeof(row.label));
	memcpy(row.nonce, lease->nonce, sizeof(row.nonce));
	snprintf(row.opened_by, sizeof(row.opened_by), "%s", ctl_opener_word(lease->opener));
	store_lease_put(c->p.store, &row);
}

/* A client asks again in time, and after a restart its lease lasts for a whole lifetime again: so
 * it need not wait, and while the store fails memory is not filled with it. */
void ctl_store_renewal(struct ctl *c, const struct lease *lease)
{
	if (ctl_store_is_failing(c))
		c->has_unwritten = true;
	else
		ctl_store_lease(c, lease);
}

static void put_held(struct ctl *c, const struct lease *gone, const struct peer_conf *peer)
{
	struct lease_held held;
	struct store_held row;

	if (!lease_held_get(c->p.leases, &gone->public_addr, gone->public_port, &held))
		return;
	row = (struct store_held){
		.public_addr = held.public_addr,
		.inner_addr = held.inner_addr,
		.public_port = held.public_port,
		.inner_port = held.inner_port,
		.n_ports = held.n_ports,
		.has_peer = true,
		.reserved_until_ns = ctl_wall_of(
			c, held.state == LEASE_RESERVED ? held.until_ns : c->p.now_ns()),
		.free_ns = ctl_wall_of(c, gone->expires_ns),
	};
	memcpy(row.peer_key, peer->public_key, sizeof(row.peer_key));
	store_held_put(c->p.store, &row);
}

void ctl_store_lease_end(struct ctl *c, const struct lease *gone)
{
	const struct peer_conf *peer = peer_conf_get(c->p.peers, gone->peer_idx);
	char entry[STORE_ENTRY_CHARS];

	if (!is_stored(c))
		return;
	store_lease_del(c->p.store, gone->id);
	if (peer != NULL)
		put_held(c, gone, peer);
	if (ctl_lease_is_configured(gone) && !ctl_is_by_conf(c) &&
		ctl_overrule_lease_word(c, gone, entry))
		store_overrule_put(c->p.store, entry);
}

/* old: as it was; what the file said is overruled with it. */
static void overrule_peer(struct ctl *c, uint32_t peer_idx, const struct peer_conf *old)
{
	char entry[STORE_ENTRY_CHARS];

	if (!c->is_configured[peer_idx])
		return;
	store_overrule_put(c->p.store, ctl_overrule_peer_word(old, entry));
	c->is_configured[peer_idx] = false;
}

void ctl_store_peer(struct ctl *c, uint32_t peer_idx, const struct peer_conf *old)
{
	const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);
	char entry[STORE_ENTRY_CHARS];
	struct store_peer row = {0}; /* wiped */

	if (c->p.store != NULL && ctl_is_by_conf(c))
		c->is_configured[peer_idx] = true;
	if (!is_stored(c) || conf == NULL)
		return;
	if (ctl_is_by_conf(c)) {
		store_peer_forget(c->p.store, conf->public_key);
		store_overrule_del(c->p.store, ctl_overrule_peer_word(conf, entry));
		return;
	}
	if (old != NULL)
		overrule_peer(c, peer_idx, old);
	memcpy(row.public_key, conf->public_key, sizeof(row.public_key));
	memcpy(row.preshared_key, conf->preshared_key, sizeof(row.preshared_key));
	ctl_peer_settings(conf, row.settings);
	store_peer_put(c->p.store, &row);
	crypto_wipe(&row, sizeof(row));
}

void ctl_store_peer_gone(struct ctl *c, uint32_t peer_idx, const struct peer_conf *old)
{
	uint64_t wall_ns = c->p.wall_ns();

	if (!is_stored(c))
		return;
	if (!ctl_is_by_conf(c))
		overrule_peer(c, peer_idx, old);
	c->is_configured[peer_idx] = false;
	store_peer_del(c->p.store, old->public_key, wall_ns, wall_ns + c->p.conf->quarantine_ns);
}

/* --- waiting: for a grace period and, with a store, for the disk -------------------------------*/

static bool is_decided(const struct ctl_wait *w)
{
	const struct store_status *st = &w->ctl->store_status;

	return w->ticket <= st->done || w->ticket <= st->failed;
}

static void on_grace(void *arg)
{
	struct ctl_wait *w = arg;

	if (is_decided(w)) {
		w->fn(w->arg, w->ticket <= w->ctl->store_status.done);
		return;
	}
	w->is_past_grace = true;
	TAILQ_INSERT_TAIL(&w->ctl->waits, w, next);
}

static struct ctl_wait *find_decided(struct ctl *c)
{
	struct ctl_wait *w;

	TAILQ_FOREACH(w, &c->waits, next)
	{
		if (is_decided(w))
			break;
	}
	return w;
}

static void note_status(struct ctl *c)
{
	bool was_failing = ctl_store_is_failing(c), is_failing;

	store_status_get(c->p.store, &c->store_status);
	is_failing = ctl_store_is_failing(c);
	if (is_failing && !was_failing)
		log_error("store %s: cannot be written: %s", c->p.conf->store_path,
			c->store_status.why);
	else if (was_failing && !is_failing)
		log_info("store %s: is written again", c->p.conf->store_path);
	if (is_failing != was_failing)
		ctl_event_store(c, is_failing);
	c->n_store_failures += is_failing && !was_failing;
	/* From here one whole round of the sweep, whose present one has begun somewhere. */
	if (was_failing && !is_failing && c->has_unwritten)
		c->n_rewrite_rounds = 2;
}

static void on_store(evutil_socket_t fd, short what, void *arg)
{
	struct ctl *c = arg;
	struct ctl_wait *w;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return;
	note_status(c);
	/* Whom fn answers may be gone afterwards, and others with it. */
	while ((w = find_decided(c)) != NULL) {
		TAILQ_REMOVE(&c->waits, w, next);
		w->is_past_grace = false;
		w->fn(w->arg, w->ticket <= c->store_status.done);
	}
}

void ctl_wait_start(
	struct ctl *c, struct ctl_wait *w, void (*fn)(void *arg, bool is_durable), void *arg)
{
	*w = (struct ctl_wait){.ctl = c, .fn = fn, .arg = arg};
	if (c->p.store != NULL)
		w->ticket = store_commit(c->p.store);
	grace_defer_work(c->p.grace, &w->work, on_grace, w);
	ctl_commit_poll(c);
}

void ctl_wait_cancel(struct ctl_wait *w)
{
	if (w->is_past_grace)
		TAILQ_REMOVE(&w->ctl->waits, w, next);
	else
		grace_cancel(w->ctl->p.grace, &w->work);
}

int ctl_durable_init(struct ctl *c)
{
	TAILQ_INIT(&c->waits);
	if (c->p.store == NULL)
		return 0;
	c->is_configured = calloc(c->p.conf->max_peers, sizeof(c->is_configured[0]));
	c->ev_store = event_new(c->p.base, store_fd(c->p.store), EV_READ | EV_PERSIST, on_store, c);
	if (c->is_configured == NULL || c->ev_store == NULL || event_add(c->ev_store, NULL) != 0)
		return -1;
	return 0;
}

void ctl_durable_fini(struct ctl *c)
{
	ctl_used_fini(c);
	if (c->p.store != NULL)
		store_commit(c->p.store);
	if (c->ev_store != NULL)
		event_free(c->ev_store);
	free(c->is_configured);
}
