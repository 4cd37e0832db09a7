/* What was there before the restart comes back, around what the configuration says:
 *
 *   - a peer or lease of the configuration is as the file says, unless a change since then was
 *     stronger (overrule.c);
 *   - a stored peer or lease that contradicts it is dropped, with a line in the log;
 *   - what ended meanwhile ends now: its number is kept for its owner as if it had just been
 * closed.
 */
#include "ctl/server.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_CLAIM UINT32_MAX
/* Lines of the log about what is dropped; the rest is counted. */
#define DROPS_LOGGED_MAX 100
/* Renewals that do not wait for the disk may be behind it by so much. */
#define RENEWAL_LAG_NS (5 * NS_IN_S)

/* A port of a configured lease: of a range each is one. */
struct claim {
	uint32_t lease_idx; /* into conf->leases */
	uint32_t next;	    /* with the same port */
};

/* Leases of the configuration by public port, and by port inside: chains of indices into the claims
 * of that side; and by peer_idx whether it has one to IPv4, and where those have to be. */
struct claims {
	uint32_t by_public[UINT16_MAX + 1], by_inner[UINT16_MAX + 1];
	struct claim *public, *inner;
	uint32_t n;
	bool *has_peer;
	struct ip_addr *addr_of_peer;
};

struct restore {
	struct ctl *c;
	const uint32_t *peer_idx; /* of conf->peers[i] */
	struct claims *claims;
	uint64_t now_ns, wall_ns; /* when it began */
	/* Rows that wait to be brought back together. */
	struct lease leases[DOORS_PREFETCH_MAX];
	uint64_t used_ns[DOORS_PREFETCH_MAX];
	unsigned n_waiting;
	unsigned n_peers, n_leases, n_dropped;
};

static void claims_destroy(struct claims *cl)
{
	if (cl == NULL)
		return;
	free(cl->public);
	free(cl->inner);
	free(cl->has_peer);
	free(cl->addr_of_peer);
	free(cl);
}

/* Those that are overruled claim nothing. */
static bool is_claimed(
	const struct ctl *c, const uint32_t *peer_idx, uint32_t i, struct ctl_overrules *o)
{
	const struct conf_lease *l = &c->p.conf->leases[i];

	return peer_idx[l->peer_idx] != PEER_NONE &&
	       !ctl_overrules_lease(c, o, peer_idx[l->peer_idx], l);
}

static struct ip_addr inner_of(const struct conf_lease *l, const struct peer_conf *peer)
{
	return ip_is_none(&l->inner_addr) ? ctl_peer_inner(peer) : l->inner_addr;
}

static bool is_pinhole(const struct ctl *c, const uint32_t *peer_idx, const struct conf_lease *l)
{
	struct ip_addr inner = inner_of(l, peer_conf_get(c->p.peers, peer_idx[l->peer_idx]));

	return lease_is_pinhole(&inner);
}

/* A pinhole has no number that another could want. */
static void claim(
	struct claims *cl, uint32_t lease_idx, const struct conf_lease *l, bool has_number)
{
	for (uint32_t at = 0; at < lease_ports_of(l->n_ports); at++, cl->n++) {
		uint16_t public = (uint16_t)(l->public_port + at);
		uint16_t inner = (uint16_t)(l->inner_port + at);

		if (has_number) {
			cl->public[cl->n] = (struct claim){lease_idx, cl->by_public[public]};
			cl->by_public[public] = cl->n;
		}
		cl->inner[cl->n] = (struct claim){lease_idx, cl->by_inner[inner]};
		cl->by_inner[inner] = cl->n;
	}
}

static struct claims *claims_create(
	const struct ctl *c, const uint32_t *peer_idx, struct ctl_overrules *o)
{
	const struct conf *conf = c->p.conf;
	struct claims *cl = calloc(1, sizeof(*cl));
	size_t n = 1;

	if (cl == NULL)
		return NULL;
	memset(cl->by_public, 0xff, sizeof(cl->by_public));
	memset(cl->by_inner, 0xff, sizeof(cl->by_inner));
	for (uint32_t i = 0; i < conf->n_leases; i++)
		n += lease_ports_of(conf->leases[i].n_ports);
	cl->public = calloc(n, sizeof(cl->public[0]));
	cl->inner = calloc(n, sizeof(cl->inner[0]));
	cl->has_peer = calloc(conf->max_peers, sizeof(cl->has_peer[0]));
	cl->addr_of_peer = calloc(conf->max_peers, sizeof(cl->addr_of_peer[0]));
	if (cl->public == NULL || cl->inner == NULL || cl->has_peer == NULL ||
		cl->addr_of_peer == NULL) {
		claims_destroy(cl);
		return NULL;
	}
	for (uint32_t i = 0; i < conf->n_leases; i++) {
		const struct conf_lease *l = &conf->leases[i];
		bool has_number;

		if (!is_claimed(c, peer_idx, i, o))
			continue;
		has_number = !is_pinhole(c, peer_idx, l);
		claim(cl, i, l, has_number);
		cl->has_peer[peer_idx[l->peer_idx]] |= has_number;
		if (has_number && !ip_is_none(&l->public_addr))
			cl->addr_of_peer[peer_idx[l->peer_idx]] = l->public_addr;
	}
	return cl;
}

static bool is_port_claimed(const struct restore *r, const struct ip_addr *addr, uint16_t port)
{
	const struct claims *cl = r->claims;

	for (uint32_t i = cl->by_public[port]; i != NO_CLAIM; i = cl->public[i].next) {
		const struct conf_lease *k = &r->c->p.conf->leases[cl->public[i].lease_idx];

		if (ip_is_none(&k->public_addr) || ip_equal(&k->public_addr, addr))
			return true;
	}
	return false;
}

/* The configuration wants this number for another, or the peer's leases on another address; of a
 * whole one its owner has no other. A configured lease without an address may be on any. */
static bool is_number_claimed(const struct restore *r, const struct lease *l)
{
	const struct ip_addr *addr = &r->claims->addr_of_peer[l->peer_idx];

	if (lease_is_whole(l->public_port))
		return r->claims->has_peer[l->peer_idx];
	if (!ip_is_none(addr) && !ip_equal(addr, &l->public_addr))
		return true;
	for (uint32_t at = 0; at < lease_ports_of(l->n_ports); at++)
		if (is_port_claimed(r, &l->public_addr, (uint16_t)(l->public_port + at)))
			return true;
	return false;
}

static bool is_inner_claimed(
	const struct restore *r, const struct lease *l, const struct peer_conf *peer, uint16_t port)
{
	const struct claims *cl = r->claims;

	for (uint32_t i = cl->by_inner[port]; i != NO_CLAIM; i = cl->inner[i].next) {
		const struct conf_lease *k = &r->c->p.conf->leases[cl->inner[i].lease_idx];
		struct ip_addr inner_addr = inner_of(k, peer);

		if (r->peer_idx[k->peer_idx] == l->peer_idx &&
			ip_equal(&inner_addr, &l->inner_addr))
			return true;
	}
	return false;
}

/* It wants this inner endpoint on another number, or the very pinhole. */
static bool is_target_claimed(
	const struct restore *r, const struct lease *l, const struct peer_conf *peer)
{
	for (uint32_t at = 0; at < lease_ports_of(l->n_ports); at++)
		if (is_inner_claimed(r, l, peer, (uint16_t)(l->inner_port + at)))
			return true;
	return false;
}

/* --- peers -------------------------------------------------------------------------------------*/

/* NULL: it is back, or was there. */
static const char *restore_peer_as(
	struct restore *r, const struct store_peer *row, struct rpc_fault *fault)
{
	struct peer_conf conf = ctl_peer_conf_default(r->c->p.conf); /* wiped */
	uint32_t peer_idx;
	int err;

	err = ctl_peer_settings_read(row->settings, row->public_key, &conf, fault);
	memcpy(conf.preshared_key, row->preshared_key, sizeof(conf.preshared_key));
	if (err == 0)
		err = ctl_peer_add_waiting(r->c, &conf, &peer_idx, fault);
	crypto_wipe(&conf, sizeof(conf));
	return err == 0 ? NULL : fault->sentence;
}

static bool is_drop_logged(struct restore *r)
{
	return r->n_dropped++ < DROPS_LOGGED_MAX;
}

static void restore_peer(void *arg, const struct store_peer *row)
{
	struct restore *r = arg;
	struct store *store = r->c->p.store;
	uint64_t wall_ns = r->c->p.wall_ns();
	char key[CRYPTO_KEY_TEXT_CHARS];
	struct rpc_fault fault;
	const char *why = "the configuration has it, and was changed since";
	bool is_configured = peer_find_key(r->c->p.peers, row->public_key) != PEER_NONE;

	if (!is_configured)
		why = restore_peer_as(r, row, &fault);
	if (why == NULL) {
		r->n_peers++;
		return;
	}
	if (is_drop_logged(r))
		log_warn("store: peer %s is dropped: %s", crypto_key_format(row->public_key, key),
			why);
	if (is_configured)
		store_peer_forget(store, row->public_key);
	else
		store_peer_del(
			store, row->public_key, wall_ns, wall_ns + r->c->p.conf->quarantine_ns);
}

/* Stored peers were compared with each other when they came; what the file says may be new. */
int ctl_restore_peers(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	struct restore r = {.c = c};
	bool was_loading = c->is_loading;
	const struct ctl_actor was = c->actor;
	char why[STORE_FAULT_CHARS];
	int err;

	c->is_loading = c->p.conf->n_peers == 0;
	c->actor = (struct ctl_actor){CTL_BY_TIME};
	err = store_peers_load(c->p.store, restore_peer, &r, why);
	c->actor = was;
	c->is_loading = was_loading;
	if (err != 0)
		snprintf(fault, CTL_FAULT_CHARS, "%s", why);
	else
		log_info("store %s: %u peers are back, %u dropped", c->p.conf->store_path,
			r.n_peers, r.n_dropped);
	return err;
}

/* --- leases ------------------------------------------------------------------------------------*/

static enum lease_opener opener_of(const char *word)
{
	enum lease_opener by = LEASE_BY_CONTROL;

	while (by < LEASE_BY_PCP && strcmp(word, ctl_opener_word(by)) != 0)
		by++;
	return strcmp(word, ctl_opener_word(by)) == 0 ? by : LEASE_BY_CONTROL;
}

static bool is_asked_for_again(const struct lease *l)
{
	return l->opener == LEASE_BY_NATPMP || l->opener == LEASE_BY_PCP;
}

/* Renewals of clients are told before they are on disk: each is granted once more. */
static void set_end(struct lease *l, uint64_t now_ns)
{
	uint64_t whole_ns = now_ns + l->ttl_ns;

	if (l->expires_ns == TIME_NEVER)
		return;
	if (is_asked_for_again(l) && l->expires_ns + RENEWAL_LAG_NS > now_ns)
		l->expires_ns = whole_ns;
	/* A clock that went back prolongs nothing. */
	if (l->expires_ns > whole_ns)
		l->expires_ns = whole_ns;
	if (l->expires_ns > l->until_ns)
		l->expires_ns = l->until_ns;
}

static const char *check_lease(const struct restore *r, const struct lease *l)
{
	const struct peer_conf *peer = NULL;

	if (l->peer_idx != PEER_NONE)
		peer = peer_conf_get(r->c->p.peers, l->peer_idx);
	if (peer == NULL)
		return "its peer is gone";
	if (ctl_peer_is_barred(r->c, peer))
		return "its peer is barred";
	if (!peer->forwarding)
		return "its peer has forwarding off";
	if (!peer_conf_has(peer, &l->inner_addr))
		return "its peer has another address";
	if (is_target_claimed(r, l, peer) ||
		(!lease_is_pinhole(&l->inner_addr) && is_number_claimed(r, l)))
		return "the configuration has a lease in its place";
	return NULL;
}

/* NULL: it is back. One that ended meanwhile has no door any more, and expires at the first tick:
 * so its number is kept after those that were kept before. */
static const char *restore_lease_as(struct restore *r, struct lease *l, uint64_t used_ns)
{
	struct ctl *c = r->c;
	uint64_t now_ns = r->now_ns;
	const char *why = check_lease(r, l);
	struct lease gone;
	int err;

	if (why != NULL)
		return why;
	set_end(l, now_ns);
	err = lease_restore(c->p.leases, l);
	if (err != 0)
		return strerror(-err);
	if (l->expires_ns <= now_ns)
		return NULL;
	err = doors_open(c->p.doors, lease_get(c->p.leases, l->id));
	if (err != 0) {
		lease_close(c->p.leases, l->id, now_ns, &gone);
		return strerror(-err);
	}
	if (used_ns != TIME_NEVER)
		doors_used_set(c->p.doors, l->id, used_ns < now_ns ? used_ns : now_ns);
	ctl_peer_public_update(c, l->peer_idx);
	return NULL;
}

static uint64_t moment_of(const struct restore *r, uint64_t wall_at_ns)
{
	return ctl_moment_at(r->now_ns, r->wall_ns, wall_at_ns);
}

static void restore_one(struct restore *r, struct lease *l, uint64_t used_ns)
{
	const char *why = restore_lease_as(r, l, used_ns);
	char addr[IP_TEXT_CHARS];

	if (why == NULL) {
		r->n_leases++;
		return;
	}
	if (is_drop_logged(r))
		log_warn("store: lease %llu of %s:%u is dropped: %s", (unsigned long long)l->id,
			ip_addr_format(&l->public_addr, addr), l->public_port, why);
	store_lease_del(r->c->p.store, l->id);
}

static void restore_waiting(struct restore *r)
{
	doors_prefetch(r->c->p.doors, r->leases, r->n_waiting);
	for (unsigned i = 0; i < r->n_waiting; i++)
		restore_one(r, &r->leases[i], r->used_ns[i]);
	r->n_waiting = 0;
}

static void restore_lease(void *arg, const struct store_lease *row)
{
	struct restore *r = arg;
	struct lease *l = &r->leases[r->n_waiting];

	*l = (struct lease){
		.id = row->id,
		.protos = row->protos,
		.public_addr = row->public_addr,
		.inner_addr = row->inner_addr,
		.public_port = row->public_port,
		.inner_port = row->inner_port,
		.n_ports = row->n_ports,
		.opened_ns = moment_of(r, row->opened_ns),
		.expires_ns = moment_of(r, row->expires_ns),
		.until_ns = moment_of(r, row->until_ns),
		.ttl_ns = row->ttl_ns,
		.idle_ns = row->idle_ns,
		.max_pps = row->max_pps,
		.max_new_flows = row->max_new_flows,
		.n_sources = row->n_sources,
		.opener = opener_of(row->opened_by),
	};
	l->peer_idx = peer_find_key(r->c->p.peers, row->peer_key);
	memcpy(l->sources, row->sources, row->n_sources * sizeof(l->sources[0]));
	memcpy(l->label, row->label, sizeof(l->label));
	memcpy(l->nonce, row->nonce, sizeof(l->nonce));
	r->used_ns[r->n_waiting++] = moment_of(r, row->used_ns);
	if (r->n_waiting == DOORS_PREFETCH_MAX)
		restore_waiting(r);
}

/* What does not fit any more is forgotten: nobody has it open. */
static void restore_held(void *arg, const struct store_held *row)
{
	struct restore *r = arg;
	struct ctl *c = r->c;
	bool is_reserved = row->reserved_until_ns > r->wall_ns;
	struct lease_held held = {
		.state = is_reserved ? LEASE_RESERVED : LEASE_QUARANTINE,
		.peer_idx = row->has_peer ? peer_find_key(c->p.peers, row->peer_key) : PEER_NONE,
		.public_addr = row->public_addr,
		.inner_addr = row->inner_addr,
		.public_port = row->public_port,
		.inner_port = row->inner_port,
		.n_ports = row->n_ports,
		.until_ns = moment_of(r, is_reserved ? row->reserved_until_ns : row->free_ns),
	};

	static_assert(PEER_NONE == UINT32_MAX, "nobody, for both");
	lease_held_restore(c->p.leases, &held, r->now_ns);
}

int ctl_restore_leases(struct ctl *c, const uint32_t *peer_idx, struct ctl_overrules *o,
	char fault[static CTL_FAULT_CHARS])
{
	struct restore r = {
		.c = c, .peer_idx = peer_idx, .now_ns = c->p.now_ns(), .wall_ns = c->p.wall_ns()};
	char why[STORE_FAULT_CHARS] = "control: memory is out";
	int err = -ENOMEM;

	r.claims = claims_create(c, peer_idx, o);
	if (r.claims != NULL)
		err = store_leases_load(c->p.store, restore_lease, &r, why);
	restore_waiting(&r);
	claims_destroy(r.claims);
	lease_ids_skip(c->p.leases, store_last_lease_id(c->p.store));
	if (err != 0)
		snprintf(fault, CTL_FAULT_CHARS, "%s", why);
	else
		log_info("store %s: %u leases are back, %u dropped", c->p.conf->store_path,
			r.n_leases, r.n_dropped);
	return err;
}

int ctl_restore_held(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	struct restore r = {.c = c, .now_ns = c->p.now_ns(), .wall_ns = c->p.wall_ns()};
	char why[STORE_FAULT_CHARS] = "";
	int err = store_held_load(c->p.store, restore_held, &r, why);

	if (err != 0)
		snprintf(fault, CTL_FAULT_CHARS, "%s", why);
	return err;
}
