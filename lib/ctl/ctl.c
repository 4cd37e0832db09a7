/* Boot, timers, end. */
#include "ctl/server.h"

#include "base/log.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- timers
 * -------------------------------------------------------------------------------------*/

#define TIMER_GRAIN_US 1000

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	ctl_tick(arg);
}

void ctl_tick_arm(struct ctl *c)
{
	uint64_t now_ns = c->p.now_ns(), at_ns = c->looked_ns + CTL_LOOK_NS, wait_us;
	uint64_t lease_ns = lease_next_deadline_ns(c->p.leases);
	struct timeval wait;

	if (lease_ns < at_ns)
		at_ns = lease_ns;
	if (at_ns == c->tick_at_ns)
		return;
	c->tick_at_ns = at_ns;
	/* Not less than the grain of libevent's clock, or it would come too early, many times. */
	wait_us = at_ns > now_ns ? (at_ns - now_ns) / NS_IN_US + TIMER_GRAIN_US : 0;
	wait = (struct timeval){
		.tv_sec = (time_t)(wait_us / 1000000), .tv_usec = (suseconds_t)(wait_us % 1000000)};
	event_add(c->ev_tick, &wait);
}

void ctl_tick(struct ctl *c)
{
	uint64_t now_ns = c->p.now_ns();

	ctl_peers_poll(c);
	ctl_leases_expire(c, now_ns);
	if (now_ns - c->looked_ns >= CTL_LOOK_NS) {
		ctl_look(c, now_ns);
		ctl_leases_sweep(c, now_ns);
		ctl_heartbeats_sweep(c);
		ctl_events_look(c, now_ns);
		ctl_heard_sweep(c);
		ctl_announce_sweep(c, now_ns);
		ctl_history_sweep(c, now_ns);
		ctl_clients_sweep(c, now_ns);
		ctl_uapi_sweep(c->uapi, now_ns);
		/* It stopped if descriptors were out. */
		event_add(c->ev_listen, NULL);
	}
	if (c->p.store != NULL)
		store_commit(c->p.store);
	ctl_commit_poll(c);
	c->tick_at_ns = TIME_NEVER;
	ctl_tick_arm(c);
}

/* --- boot and end
 * -------------------------------------------------------------------------------*/

struct ctl *ctl_create(const struct ctl_params *p, char fault[static CTL_FAULT_CHARS])
{
	struct ctl *c = calloc(1, sizeof(*c));

	rpc_init();
	snprintf(fault, CTL_FAULT_CHARS, "control: memory is out");
	if (c == NULL)
		return NULL;
	c->p = *p;
	c->epoch_ns = p->started_ns;
	c->stall_ns = p->stall_ns != 0 ? p->stall_ns : CTL_STALL_NS;
	c->socket.fd = -1;
	c->tick_at_ns = TIME_NEVER;
	TAILQ_INIT(&c->clients);
	if (p->conf->n_nat_pool > 0)
		pairing_init(
			&c->pairing, p->conf->private_key, p->conf->nat_pool, p->conf->n_nat_pool);
	else
		pairing_init(&c->pairing, p->conf->private_key, p->conf->pool, p->conf->n_pool);
	pairing_init(&c->lease_pairing, p->conf->private_key, p->conf->pool, p->conf->n_pool);
	ctl_portmap_init(c);
	c->looks = calloc(p->n_workers, sizeof(c->looks[0]));
	c->ev_tick = evtimer_new(p->base, on_tick, c);
	if (ctl_announce_init(c) != 0 || ctl_commits_init(c) != 0 || ctl_checks_init(c) != 0 ||
		ctl_durable_init(c) != 0 || ctl_pool_init(c) != 0 ||
		ctl_block_records_init(c) != 0 || ctl_history_init(c) != 0 || c->looks == NULL ||
		c->ev_tick == NULL || ctl_listen(c, fault) != 0) {
		ctl_destroy(c);
		return NULL;
	}
	if ((p->conf->uapi_name[0] != '\0' && (c->uapi = ctl_uapi_create(c, fault)) == NULL) ||
		(p->conf->metrics_listen.port != 0 &&
			(c->metrics = ctl_metrics_create(c, fault)) == NULL)) {
		ctl_destroy(c);
		return NULL;
	}
	ctl_look(c, p->now_ns());
	c->is_under_load = false;
	ctl_tick_arm(c);
	return c;
}

void ctl_destroy(struct ctl *c)
{
	if (c == NULL)
		return;
	ctl_metrics_destroy(c->metrics);
	ctl_uapi_destroy(c->uapi);
	ctl_unlisten(c);
	while (!TAILQ_EMPTY(&c->clients))
		ctl_client_destroy(TAILQ_FIRST(&c->clients));
	ctl_portmap_fini(c);
	ctl_checks_fini(c);
	ctl_commits_fini(c);
	ctl_heard_fini(c);
	ctl_announce_fini(c);
	ctl_history_fini(c);
	ctl_durable_fini(c);
	if (c->ev_tick != NULL)
		event_free(c->ev_tick);
	rpc_text_fini(&c->reply);
	rpc_text_fini(&c->refusal);
	rpc_arena_fini(&c->arena);
	free(c->looks);
	free(c->pool_uses);
	free(c->gone_peers);
	free(c->bars.keys);
	pairing_fini(&c->pairing);
	pairing_fini(&c->lease_pairing);
	free(c->seen_peers);
	free(c);
}

/* --- the configuration's own peers and leases
 * ---------------------------------------------------*/

void ctl_conf_peer_fill(
	const struct conf *conf, const struct conf_peer *from, struct peer_conf *out)
{
	*out = ctl_peer_conf_default(conf);
	snprintf(out->name, sizeof(out->name), "%s", from->name);
	memcpy(out->public_key, from->public_key, sizeof(out->public_key));
	memcpy(out->preshared_key, from->preshared_key, sizeof(out->preshared_key));
	out->address4 = from->address4;
	out->address6 = from->address6;
	out->endpoint = from->endpoint;
	out->forwarding = from->forwarding;
	out->portmap = from->portmap;
	out->max_leases = from->max_leases;
	out->limits.filter = (enum flow_filter)from->filter;
	out->limits.max_sessions = from->max_sessions;
	out->n_routes = (uint8_t)from->n_routes;
	memcpy(out->routes, from->routes, from->n_routes * sizeof(out->routes[0]));
	out->persistent_keepalive_s = from->persistent_keepalive_s;
}

void ctl_conf_lease_fill(const struct conf_lease *from, struct lease_request *out)
{
	out->protos = from->protos;
	out->public_addr = from->public_addr;
	out->public_port = from->public_port;
	out->inner_addr = from->inner_addr;
	out->inner_port = from->inner_port;
	out->n_ports = from->n_ports;
	out->ttl_ns = TIME_NEVER;
	out->opener = LEASE_BY_CONF;
	out->n_sources = (uint8_t)from->n_sources;
	memcpy(out->sources, from->sources, from->n_sources * sizeof(out->sources[0]));
	out->max_pps = from->max_pps;
	out->max_new_flows = from->max_new_flows;
	snprintf(out->label, sizeof(out->label), "%s", from->label);
}

/* More peers than the mailbox holds: the handshake thread takes them out meanwhile. */
int ctl_peer_add_waiting(
	struct ctl *c, const struct peer_conf *conf, uint32_t *out_idx, struct rpc_fault *fault)
{
	int err;

	while ((err = ctl_peer_add(c, conf, out_idx, fault)) != 0 && fault->code == RPC_TRY_AGAIN) {
		ctl_peers_poll(c);
		sched_yield();
	}
	return err;
}

/* *out_idx: PEER_NONE when a change since is stronger. */
static int load_peer(struct ctl *c, const struct conf_peer *from, struct ctl_overrules *o,
	uint32_t *out_idx, struct rpc_fault *fault)
{
	struct peer_conf conf = {0}; /* wiped */
	int err = 0;

	ctl_conf_peer_fill(c->p.conf, from, &conf);
	*out_idx = PEER_NONE;
	if (!ctl_overrules_peer(o, &conf))
		err = ctl_peer_add_waiting(c, &conf, out_idx, fault);
	crypto_wipe(&conf, sizeof(conf));
	return err;
}

static int load_peers(
	struct ctl *c, struct ctl_overrules *o, uint32_t *peer_idx, struct rpc_fault *fault)
{
	const struct conf *conf = c->p.conf;
	int err = 0;

	for (uint32_t i = 0; i < conf->n_peers && err == 0; i++)
		err = load_peer(c, &conf->peers[i], o, &peer_idx[i], fault);
	return err;
}

static int load_leases(
	struct ctl *c, struct ctl_overrules *o, const uint32_t *peer_idx, struct rpc_fault *fault)
{
	const struct conf *conf = c->p.conf;
	int err = 0;

	for (uint32_t i = 0; i < conf->n_leases && err == 0; i++) {
		const struct conf_lease *from = &conf->leases[i];
		struct lease_request req = {.peer_idx = peer_idx[from->peer_idx]};
		const struct lease *lease;
		bool is_renewal;

		ctl_conf_lease_fill(from, &req);
		if (req.peer_idx == PEER_NONE || ctl_overrules_lease(c, o, req.peer_idx, from))
			continue;
		err = ctl_lease_open(c, &req, &lease, &is_renewal, fault);
		/* Somebody barred it since: that is no fault of the file. */
		if (err != 0 && ctl_peer_is_barred(c, peer_conf_get(c->p.peers, req.peer_idx))) {
			log_warn("configuration: port %u of a lease is not opened: %s",
				req.inner_port, fault->sentence);
			err = 0;
		}
	}
	return err;
}

/* What the store has goes in between: its peers after those of the file, its leases before, for
 * they have their numbers already. */
static int load_stored(struct ctl *c, struct ctl_overrules *o, uint32_t *peer_idx,
	char fault[static CTL_FAULT_CHARS])
{
	const struct conf *conf = c->p.conf;
	int err;

	c->is_restoring = true;
	err = ctl_bars_restore(c, fault);
	if (err == 0)
		err = ctl_restore_peers(c, fault);
	/* Those that were overruled are there as they are now, or not at all. */
	for (uint32_t i = 0; i < conf->n_peers; i++)
		if (peer_idx[i] == PEER_NONE)
			peer_idx[i] = peer_find_key(c->p.peers, conf->peers[i].public_key);
	if (err == 0)
		err = ctl_restore_leases(c, peer_idx, o, fault);
	c->is_restoring = false;
	return err;
}

/* The rest of what it has, and from here on it writes. */
static int start_store(
	struct ctl *c, const struct ctl_overrules *o, char fault[static CTL_FAULT_CHARS])
{
	ctl_overrules_forget_unused(c, o);
	if (ctl_restore_held(c, fault) != 0 || ctl_heard_restore(c, fault) != 0)
		return -EINVAL;
	c->portmap.known_id = store_last_lease_id(c->p.store);
	c->epoch_ns = ctl_moment_of(c, store_epoch_ns(c->p.store));
	store_commit(c->p.store);
	if (store_start(c->p.store) == 0)
		return 0;
	snprintf(fault, CTL_FAULT_CHARS, "store %s: the system refuses a thread",
		c->p.conf->store_path);
	return -EINVAL;
}

static int load(struct ctl *c, struct ctl_overrules *o, uint32_t *peer_idx,
	char fault[static CTL_FAULT_CHARS])
{
	struct rpc_fault why;
	int err = load_peers(c, o, peer_idx, &why);

	if (err == 0 && c->p.store != NULL && load_stored(c, o, peer_idx, fault) != 0)
		return -EINVAL;
	ctl_history_start(c);
	if (err == 0)
		err = load_leases(c, o, peer_idx, &why);
	if (err != 0) {
		snprintf(fault, CTL_FAULT_CHARS, "configuration: %s", why.sentence);
		return -EINVAL;
	}
	return c->p.store == NULL ? 0 : start_store(c, o, fault);
}

int ctl_load_conf(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	uint32_t *peer_idx = calloc(c->p.conf->n_peers + 1, sizeof(peer_idx[0]));
	struct ctl_overrules *o = NULL;
	int err = -EINVAL;

	snprintf(fault, CTL_FAULT_CHARS, "control: memory is out");
	if (peer_idx != NULL && c->p.store != NULL)
		o = ctl_overrules_create(c, fault);
	if (peer_idx != NULL && (c->p.store == NULL || o != NULL)) {
		c->is_loading = true;
		c->actor.by = CTL_BY_CONF;
		err = load(c, o, peer_idx, fault);
		c->actor.by = CTL_BY_TIME;
		c->is_loading = false;
		/* Nothing is left of what clients were told by the run before. */
		c->has_lost = c->p.store == NULL || store_is_new(c->p.store);
		if (err == 0 && c->has_lost)
			ctl_announce_to_all(c);
	}
	ctl_overrules_destroy(o);
	free(peer_idx);
	return err;
}
