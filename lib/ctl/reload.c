/* The configuration, read again while the gateway runs.
 *
 * Of its peers and leases, those that it no longer has go, and those that it has are made to be; an
 * entry that stands as it stood, and what came through a socket, is left alone. */
#include "ctl/server.h"

#include "base/log.h"
#include "crypto/crypto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFUSED_MAX 100 /* sentences in a reply; the log has all */

struct reload {
	struct ctl *ctl;
	json_t *applied, *at_restart, *refused;
	unsigned peers_added, peers_changed, peers_deleted, leases_opened, leases_closed;
};

/* --- entries that can be compared
 * ----------------------------------------------------------------*/

/* Zero where nothing is said, so that equal entries are equal bytes. */
struct entry {
	uint8_t public_key[CRYPTO_KEY_BYTES]; /* first: by it entries are sorted */
	struct lease_request lease;	      /* peer_idx 0; all zero: of the peer itself */
	struct peer_conf peer;		      /* zero in the entry of a lease */
	uint32_t max_pps, max_new_flows;      /* of the lease: zero in it, for they may change */
};

struct entries {
	struct entry *peers, *leases;
	uint32_t n_peers, n_leases;
};

static int compare_peers(const void *a, const void *b)
{
	return memcmp(a, b, CRYPTO_KEY_BYTES);
}

static int compare_leases(const void *a, const void *b)
{
	return memcmp(a, b, offsetof(struct entry, peer));
}

static void free_entries(struct entries *e)
{
	if (e->peers != NULL)
		crypto_wipe(e->peers, e->n_peers * sizeof(e->peers[0]));
	free(e->peers);
	free(e->leases);
}

static int make_entries(const struct conf *conf, struct entries *e)
{
	*e = (struct entries){.n_peers = conf->n_peers, .n_leases = conf->n_leases};
	e->peers = calloc(e->n_peers + 1, sizeof(e->peers[0]));
	e->leases = calloc(e->n_leases + 1, sizeof(e->leases[0]));
	if (e->peers == NULL || e->leases == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < e->n_peers; i++) {
		ctl_conf_peer_fill(conf, &conf->peers[i], &e->peers[i].peer);
		memcpy(e->peers[i].public_key, conf->peers[i].public_key, CRYPTO_KEY_BYTES);
	}
	for (uint32_t i = 0; i < e->n_leases; i++) {
		const struct conf_lease *lease = &conf->leases[i];

		ctl_conf_lease_fill(lease, &e->leases[i].lease);
		e->leases[i].lease.max_pps = e->leases[i].lease.max_new_flows = 0;
		e->leases[i].max_pps = lease->max_pps;
		e->leases[i].max_new_flows = lease->max_new_flows;
		memcpy(e->leases[i].public_key, conf->peers[lease->peer_idx].public_key,
			CRYPTO_KEY_BYTES);
	}
	qsort(e->peers, e->n_peers, sizeof(e->peers[0]), compare_peers);
	qsort(e->leases, e->n_leases, sizeof(e->leases[0]), compare_leases);
	return 0;
}

static const struct entry *find_peer(const struct entries *e, const struct entry *wanted)
{
	return bsearch(wanted, e->peers, e->n_peers, sizeof(*wanted), compare_peers);
}

static bool has_lease(const struct entries *e, const struct entry *wanted)
{
	return bsearch(wanted, e->leases, e->n_leases, sizeof(*wanted), compare_leases) != NULL;
}

/* --- steps
 * ---------------------------------------------------------------------------------------*/

static void note_refusal(struct reload *r, const struct rpc_fault *fault)
{
	log_warn("reload: %s", fault->sentence);
	if (json_array_size(r->refused) < REFUSED_MAX)
		json_array_append_new(r->refused, json_string(fault->sentence));
}

static void close_lease(struct reload *r, const struct entry *gone)
{
	uint32_t peer_idx = peer_find_key(r->ctl->p.peers, gone->public_key);
	const struct lease_request *said = &gone->lease;
	const struct lease *lease;
	struct rpc_fault fault;
	struct ip_addr inner_addr = said->inner_addr;
	uint64_t cursor = 0;

	if (peer_idx == PEER_NONE)
		return;
	if (ip_is_none(&inner_addr))
		inner_addr = ctl_peer_inner(peer_conf_get(r->ctl->p.peers, peer_idx));
	while ((lease = lease_next(r->ctl->p.leases, peer_idx, &cursor)) != NULL) {
		if (ip_equal(&lease->inner_addr, &inner_addr) &&
			(said->public_port == 0 || lease->public_port == said->public_port) &&
			lease->inner_port == said->inner_port && lease->protos == said->protos &&
			lease->n_ports == lease_ports_of(said->n_ports) &&
			ctl_lease_close(r->ctl, lease->id, NULL, NULL, &fault) == 0)
			r->leases_closed++;
	}
}

static void delete_peer(struct reload *r, const struct entry *gone)
{
	uint32_t peer_idx = peer_find_key(r->ctl->p.peers, gone->public_key);
	struct rpc_fault fault;
	unsigned n_closed = 0;

	if (peer_idx == PEER_NONE)
		return;
	if (ctl_peer_del(r->ctl, peer_idx, &n_closed, &fault) != 0)
		note_refusal(r, &fault);
	else
		r->peers_deleted++;
	r->leases_closed += n_closed;
}

static void make_peer(struct reload *r, const struct entry *wanted, const struct entry *old)
{
	uint32_t peer_idx = peer_find_key(r->ctl->p.peers, wanted->public_key);
	struct rpc_fault fault;
	unsigned n_closed = 0;

	if (peer_idx == PEER_NONE) {
		if (ctl_peer_add_waiting(r->ctl, &wanted->peer, &peer_idx, &fault) != 0)
			note_refusal(r, &fault);
		else
			r->peers_added++;
		return;
	}
	if (old != NULL && memcmp(&old->peer, &wanted->peer, sizeof(old->peer)) == 0)
		return;
	if (ctl_peer_set(r->ctl, peer_idx, &wanted->peer, &n_closed, &fault) != 0)
		note_refusal(r, &fault);
	else
		r->peers_changed++;
	r->leases_closed += n_closed;
}

/* Limits change without an end to what is under way. */
static int limit_lease(struct reload *r, const struct lease *lease, const struct entry *wanted,
	struct rpc_fault *fault)
{
	struct lease changed = *lease;

	if (lease->max_pps == wanted->max_pps && lease->max_new_flows == wanted->max_new_flows)
		return 0;
	changed.max_pps = wanted->max_pps;
	changed.max_new_flows = wanted->max_new_flows;
	if (doors_open(r->ctl->p.doors, &changed) != 0)
		return rpc_fault_set(fault, RPC_EXHAUSTED, "doors", NULL,
			"there is no memory for the limits of lease %llu",
			(unsigned long long)lease->id);
	return lease_limits_set(
		r->ctl->p.leases, lease->id, changed.max_pps, changed.max_new_flows);
}

static void open_lease(struct reload *r, const struct entry *wanted)
{
	struct lease_request req = wanted->lease;
	const struct lease *lease;
	struct rpc_fault fault;
	bool is_renewal;

	req.peer_idx = peer_find_key(r->ctl->p.peers, wanted->public_key);
	if (req.peer_idx == PEER_NONE)
		return; /* it was refused, and that was noted */
	req.max_pps = wanted->max_pps;
	req.max_new_flows = wanted->max_new_flows;
	if (ctl_lease_open(r->ctl, &req, &lease, &is_renewal, &fault) != 0 ||
		limit_lease(r, lease, wanted, &fault) != 0)
		note_refusal(r, &fault);
	else
		r->leases_opened += !is_renewal;
}

/* What goes first makes room for what comes. */
static void apply(struct reload *r, const struct entries *old, const struct entries *fresh)
{
	for (uint32_t i = 0; i < old->n_leases; i++)
		if (!has_lease(fresh, &old->leases[i]))
			close_lease(r, &old->leases[i]);
	for (uint32_t i = 0; i < old->n_peers; i++)
		if (find_peer(fresh, &old->peers[i]) == NULL)
			delete_peer(r, &old->peers[i]);
	for (uint32_t i = 0; i < fresh->n_peers; i++)
		make_peer(r, &fresh->peers[i], find_peer(old, &fresh->peers[i]));
	for (uint32_t i = 0; i < fresh->n_leases; i++)
		open_lease(r, &fresh->leases[i]);
}

/* --- the whole
 * ------------------------------------------------------------------------------------*/

static void note_key(void *arg, const char *key, bool is_live)
{
	struct reload *r = arg;

	if (is_live)
		log_info("reload: %s is as the configuration says now", key);
	else
		log_warn("reload: %s has changed in the configuration; it takes a restart", key);
	json_array_append_new(is_live ? r->applied : r->at_restart, json_string(key));
}

struct faults {
	struct rpc_fault *first;
	unsigned n;
};

static void note_fault(void *arg, const char *sentence)
{
	struct faults *f = arg;

	log_error("reload: %s", sentence);
	if (f->n++ == 0)
		rpc_fault_set(
			f->first, RPC_REFUSED, NULL, NULL, "%s; nothing was changed", sentence);
}

static json_t *build(const struct reload *r)
{
	return json_pack("{s:O, s:O, s:O, s:i, s:i, s:i, s:i, s:i}", "applied", r->applied,
		"at_restart", r->at_restart, "refused", r->refused, "peers_added",
		(int)r->peers_added, "peers_changed", (int)r->peers_changed, "peers_deleted",
		(int)r->peers_deleted, "leases_opened", (int)r->leases_opened, "leases_closed",
		(int)r->leases_closed);
}

static json_t *take(struct ctl *c, struct conf *fresh)
{
	struct reload r = {.ctl = c};
	const struct ctl_actor asker = c->actor;
	struct entries old, new;
	struct rpc_fault fault;
	json_t *result = NULL;
	int err;

	r.applied = json_array();
	r.at_restart = json_array();
	r.refused = json_array();
	err = make_entries(c->p.conf, &old);
	if (make_entries(fresh, &new) == 0 && err == 0) {
		conf_take_live(c->p.conf, fresh, note_key, &r);
		log_set_level(c->p.conf->log_level);
		lease_table_times_set(
			c->p.leases, c->p.conf->default_ttl_ns, c->p.conf->quarantine_ns);
		if (ctl_history_switch(c, &fault) != 0)
			note_refusal(&r, &fault);
		c->actor = (struct ctl_actor){CTL_BY_CONF};
		apply(&r, &old, &new);
		c->actor = asker;
		result = build(&r);
		log_info("reload: done; peers: %u added, %u changed, %u deleted; leases: %u "
			 "opened, %u closed; %zu refused",
			r.peers_added, r.peers_changed, r.peers_deleted, r.leases_opened,
			r.leases_closed, json_array_size(r.refused));
	}
	free_entries(&old);
	free_entries(&new);
	json_decref(r.applied);
	json_decref(r.at_restart);
	json_decref(r.refused);
	return result;
}

json_t *ctl_reload(struct ctl *c, struct rpc_fault *fault)
{
	struct faults faults = {.first = fault};
	json_t *result = NULL;
	struct conf *fresh;
	int err;

	if (c->p.conf_path == NULL) {
		rpc_fault_set(fault, RPC_REFUSED, NULL, NULL,
			"this gateway has no configuration file to read again");
		return NULL;
	}
	rpc_fault_set(fault, RPC_INTERNAL_ERROR, NULL, NULL, "memory is out");
	err = conf_load(c->p.conf_path, note_fault, &faults, &fresh);
	if (err == 0) {
		result = take(c, fresh);
		conf_destroy(fresh);
	}
	if (result == NULL && faults.n == 0)
		log_error("reload: %s", fault->sentence);
	return result;
}

static json_t *run_reload(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	return ctl_reload(c, fault);
}

const struct ctl_method ctl_reload_methods[] = {
	{"reload", true, NULL, 0, run_reload},
	{NULL},
};
