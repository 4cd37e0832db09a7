/* What a mapping is in terms of leases. */
#include "ctl/portmap.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

bool ctl_portmap_is_allowed(const struct ctl *c, uint32_t peer_idx)
{
	const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);

	return conf != NULL && conf->portmap && conf->forwarding && !ctl_peer_is_barred(c, conf);
}

struct ip_addr ctl_portmap_address(const struct ctl *c, uint32_t peer_idx)
{
	const struct conf *conf = c->p.conf;
	uint32_t public_v4 = peer_public(c->p.peers, peer_idx);
	uint8_t v4[4];

	if (public_v4 != 0) {
		store_be32(v4, public_v4);
		return ip_from_v4(v4);
	}
	/* A pool of one leaves no choice. */
	if (conf->n_pool == 1 && conf->pool[0].len_bits == 128)
		return conf->pool[0].addr;
	return (struct ip_addr){0};
}

/* RFC 6887, 8.5, would have it begin anew with another public address, too. It goes on: a peer's
 * address changes only while it has no mapping there, for all its leases have one address, so
 * nothing is to be made again; and it is one number for all peers, who would all take their
 * mappings for lost. Who has another address is told so (announce.c). */
uint32_t ctl_portmap_epoch_s(const struct ctl *c)
{
	uint64_t now_ns = c->p.now_ns();

	/* A clock that was set back to before it began: as young as can be. */
	return now_ns > c->epoch_ns ? (uint32_t)((now_ns - c->epoch_ns) / NS_IN_S) : 0;
}

/* --- lifetimes: 64 bits throughout
 * --------------------------------------------------------------*/

/* As long as is asked, within the least that the protocol has and the most that there is. */
static uint64_t lifetime_ns(const struct ctl *c, const struct ctl_portmap_wish *wish)
{
	uint64_t s = wish->lifetime_s > wish->least_s ? wish->lifetime_s : wish->least_s;

	return s * NS_IN_S < c->p.conf->max_ttl_ns ? s * NS_IN_S : c->p.conf->max_ttl_ns;
}

static uint32_t left_s(const struct ctl *c, const struct lease *lease, uint64_t most_ns)
{
	uint64_t now_ns = c->p.now_ns(), left_ns = 0;

	if (lease->expires_ns > now_ns)
		left_ns = lease->expires_ns - now_ns;
	if (left_ns > most_ns)
		left_ns = most_ns;
	/* Up, because a little of it has passed already. */
	return (uint32_t)((left_ns + NS_IN_S - 1) / NS_IN_S);
}

/* The operator may have opened a range, of which the client asks for one port. */
static uint16_t public_port_of(const struct lease *lease, const struct ctl_portmap_wish *wish)
{
	return wish->inner_port != 0 ? lease_public_port_of(lease, wish->inner_port)
				     : lease->public_port;
}

static void fill_grant(struct ctl *c, const struct ctl_portmap_wish *wish,
	const struct lease *lease, uint64_t most_ns, struct ctl_portmap_grant *out)
{
	ctl_promise_address(c, lease);
	out->public_addr = lease->public_addr;
	out->public_port = public_port_of(lease, wish);
	out->lifetime_s = left_s(c, lease, most_ns);
	out->lease_id = lease->id;
	/* Opened a moment ago, and this is the same request again. */
	out->waits = out->waits || lease->id > c->portmap.known_id;
}

/* --- sources
 * ------------------------------------------------------------------------------------*/

struct source_set {
	struct ip_prefix list[LEASE_SOURCES_MAX];
	uint8_t n;
};

static struct ip_prefix prefix_of(const struct portmap_pcp_filter *f)
{
	struct ip_prefix p = {.addr = f->addr, .len_bits = f->len_bits};

	for (unsigned i = 0; i < sizeof(p.addr.bytes); i++) {
		unsigned kept = f->len_bits > 8 * i ? f->len_bits - 8 * i : 0;

		if (kept < 8)
			p.addr.bytes[i] &= (uint8_t)(0xff00u >> kept);
	}
	return p;
}

/* False: there is no room for it. One that is there already takes none, so that a request may come
 * twice. */
static bool add_source(struct source_set *set, const struct ip_prefix *p)
{
	for (unsigned i = 0; i < set->n; i++)
		if (set->list[i].len_bits == p->len_bits && ip_equal(&set->list[i].addr, &p->addr))
			return true;
	if (set->n == LEASE_SOURCES_MAX)
		return false;
	set->list[set->n++] = *p;
	return true;
}

/* RFC 6887, 13.3: filters add up, in their order; prefix length 0 clears. */
static bool apply_filters(const struct ctl_portmap_wish *wish, struct source_set *set)
{
	for (unsigned i = 0; i < wish->n_filters; i++) {
		const struct portmap_pcp_filter *f = &wish->filters[i];
		struct ip_prefix p = prefix_of(f);

		if (f->len_bits == 0)
			set->n = 0;
		else if (!add_source(set, &p))
			return false;
	}
	return true;
}

static struct source_set sources_of(const struct lease *lease)
{
	struct source_set set = {.n = lease->n_sources};

	memcpy(set.list, lease->sources, lease->n_sources * sizeof(set.list[0]));
	return set;
}

static bool sources_equal(const struct lease *lease, const struct source_set *set)
{
	return lease->n_sources == set->n &&
	       memcmp(lease->sources, set->list, set->n * sizeof(set->list[0])) == 0;
}

/* --- refusals
 * -----------------------------------------------------------------------------------*/

static const char *refusal_of(enum ctl_portmap_outcome outcome)
{
	switch (outcome) {
	case CTL_PORTMAP_TOO_MANY_SOURCES:
		return "a lease admits at most 8 source prefixes, and more FILTERs were asked for";
	case CTL_PORTMAP_NOT_AS_WISHED:
		return "another address or port than the suggested one was not wanted, and that "
		       "one can not be had";
	default:
		return "the mapping there is has another nonce (portmap.pcp_nonce_strict), or is "
		       "the operator's own";
	}
}

/* What the rules of leases refuse, they tell of themselves. */
static enum ctl_portmap_outcome deny(
	struct ctl *c, const struct ctl_portmap_wish *wish, enum ctl_portmap_outcome outcome)
{
	const struct lease_request req = {
		.peer_idx = wish->peer_idx, .inner_port = wish->inner_port};
	struct rpc_fault fault;

	static_assert(LEASE_SOURCES_MAX == 8, "as the sentence says");
	rpc_fault_set(&fault, RPC_REFUSED, NULL, NULL, "%s", refusal_of(outcome));
	ctl_event_denied(c, &req, &fault);
	return outcome;
}

void ctl_portmap_deny(struct ctl *c, uint32_t peer_idx, uint16_t inner_port)
{
	const struct lease_request req = {.peer_idx = peer_idx, .inner_port = inner_port};
	const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);
	char peer[CTL_PEER_WORD_CHARS];
	struct rpc_fault fault;

	ctl_peer_word(c, peer_idx, peer);
	if (ctl_peer_check_leases(c, conf, peer, &fault) == 0)
		rpc_fault_set(&fault, RPC_REFUSED, peer, "a peer with portmap on",
			"peer %s has portmap off; turn it on with: portierctl peer set %s "
			"--portmap on",
			peer, peer);
	ctl_event_denied(c, &req, &fault);
}

/* --- what is there already
 * ----------------------------------------------------------------------*/

static bool is_asked_for(const struct lease *lease)
{
	return lease->opener == LEASE_BY_NATPMP || lease->opener == LEASE_BY_PCP;
}

static const struct lease *find(const struct ctl *c, const struct ctl_portmap_wish *wish)
{
	if (wish->inner_port == 0)
		return lease_find_symmetric(
			c->p.leases, wish->peer_idx, &wish->inner_addr, wish->proto);
	return lease_find_inner(
		c->p.leases, wish->peer_idx, &wish->inner_addr, wish->proto, wish->inner_port);
}

/* The tunnel says who asks, so another nonce is worth as much: clients lose them, and use one for
 * several mappings. */
static bool is_nonce_accepted(
	const struct ctl *c, const struct ctl_portmap_wish *wish, const struct lease *lease)
{
	static const uint8_t none[LEASE_NONCE_BYTES];

	return !c->p.conf->pcp_nonce_strict || !wish->has_nonce ||
	       memcmp(lease->nonce, none, sizeof(none)) == 0 ||
	       memcmp(lease->nonce, wish->nonce, sizeof(wish->nonce)) == 0;
}

/* The number that takes_no_other insists on is this one. */
static bool is_as_wished(
	const struct ctl_portmap_wish *wish, const struct ip_addr *addr, uint16_t port)
{
	return (wish->suggested_port == 0 || wish->suggested_port == port) &&
	       (ip_is_none(&wish->suggested_addr) || ip_equal(&wish->suggested_addr, addr));
}

/* Sources and nonce as wished. What workers read is replaced before the lease says so. */
static enum ctl_portmap_outcome amend(struct ctl *c, const struct ctl_portmap_wish *wish,
	const struct lease *lease, struct ctl_portmap_grant *out)
{
	struct source_set set = sources_of(lease);
	struct lease changed = *lease;
	struct rpc_fault ignored;

	if (!apply_filters(wish, &set))
		return deny(c, wish, CTL_PORTMAP_TOO_MANY_SOURCES);
	if (!sources_equal(lease, &set)) {
		if (ctl_store_check(c, &ignored) != 0)
			return CTL_PORTMAP_NO_RESOURCES;
		memcpy(changed.sources, set.list, sizeof(changed.sources));
		changed.n_sources = set.n;
		if (doors_open(c->p.doors, &changed) != 0)
			return CTL_PORTMAP_NO_RESOURCES;
		out->waits = true;
	}
	/* The same request again, before workers know of the first. */
	if (wish->n_filters > 0 && !TAILQ_EMPTY(&c->portmap.answers))
		out->waits = true;
	lease_amend(c->p.leases, lease->id, set.list, set.n,
		wish->has_nonce ? wish->nonce : lease->nonce);
	return CTL_PORTMAP_DONE;
}

static enum ctl_portmap_outcome renew(struct ctl *c, const struct ctl_portmap_wish *wish,
	const struct lease *lease, struct ctl_portmap_grant *out)
{
	enum ctl_portmap_outcome outcome;
	struct rpc_fault ignored;

	if (!is_nonce_accepted(c, wish, lease))
		return deny(c, wish, CTL_PORTMAP_NOT_AUTHORIZED);
	if (wish->takes_no_other &&
		!is_as_wished(wish, &lease->public_addr, public_port_of(lease, wish)))
		return deny(c, wish, CTL_PORTMAP_NOT_AS_WISHED);
	/* The operator's own stays as it is. */
	if (!is_asked_for(lease) && wish->n_filters > 0)
		return deny(c, wish, CTL_PORTMAP_NOT_AUTHORIZED);
	if (!is_asked_for(lease)) {
		fill_grant(c, wish, lease, lifetime_ns(c, wish), out);
		return CTL_PORTMAP_DONE;
	}
	outcome = amend(c, wish, lease, out);
	if (outcome != CTL_PORTMAP_DONE)
		return outcome;
	if (ctl_lease_renew(c, lease->id, lifetime_ns(c, wish), &lease, &ignored) != 0)
		return CTL_PORTMAP_NO_RESOURCES;
	fill_grant(c, wish, lease, TIME_NEVER, out);
	c->portmap.counters.renewed++;
	return CTL_PORTMAP_DONE;
}

/* --- what is not there yet
 * ----------------------------------------------------------------------*/

static enum ctl_portmap_outcome outcome_of(int err)
{
	switch (err) {
	case -EDQUOT:
		return CTL_PORTMAP_OVER_QUOTA;
	case -EADDRNOTAVAIL:
		return CTL_PORTMAP_NO_NETWORK;
	case -EPERM:
	case -EACCES:
		return CTL_PORTMAP_NOT_AUTHORIZED;
	default:
		return CTL_PORTMAP_NO_RESOURCES;
	}
}

static bool is_about_the_port(int err)
{
	return err == -EADDRINUSE || err == -EBUSY || err == -ERANGE || err == -EACCES;
}

/* The address that is the peer's, and not for choosing. */
static struct ip_addr own_address(const struct ctl *c, const struct ctl_portmap_wish *wish)
{
	return lease_is_pinhole(&wish->inner_addr) ? wish->inner_addr
						   : ctl_portmap_address(c, wish->peer_idx);
}

static enum ctl_portmap_outcome open_new(
	struct ctl *c, const struct ctl_portmap_wish *wish, struct ctl_portmap_grant *out)
{
	struct lease_request req = {
		.peer_idx = wish->peer_idx,
		.protos = wish->proto,
		.inner_addr = wish->inner_addr,
		.inner_port = wish->inner_port,
		.is_symmetric = wish->inner_port == 0,
		.public_port = wish->suggested_port,
		.is_suggestion = !wish->takes_no_other,
		.ttl_ns = lifetime_ns(c, wish),
		.max_pps = c->p.conf->lease_max_pps,
		.max_new_flows = c->p.conf->lease_max_new_flows,
		.opener = wish->opener,
	};
	struct source_set set = {0};
	const struct lease *lease;
	struct rpc_fault ignored;
	bool is_renewal;
	int err;

	if (!apply_filters(wish, &set))
		return deny(c, wish, CTL_PORTMAP_TOO_MANY_SOURCES);
	memcpy(req.sources, set.list, sizeof(req.sources));
	req.n_sources = set.n;
	memcpy(req.nonce, wish->nonce, sizeof(req.nonce));
	if (wish->takes_no_other && !ip_is_none(&wish->suggested_addr)) {
		struct ip_addr own = own_address(c, wish);

		if (!ip_equal(&own, &wish->suggested_addr))
			return deny(c, wish, CTL_PORTMAP_NOT_AS_WISHED);
	}
	/* PCP's tells the address; NAT-PMP's does not. */
	c->portmap.answer_has_address =
		wish->opener == LEASE_BY_PCP && !ctl_announce_has_natpmp(c, wish->peer_idx);
	err = ctl_lease_open(c, &req, &lease, &is_renewal, &ignored);
	c->portmap.answer_has_address = false;
	if (err != 0 && wish->takes_no_other && is_about_the_port(err))
		return CTL_PORTMAP_NOT_AS_WISHED;
	if (err != 0)
		return outcome_of(err);
	out->waits = true;
	fill_grant(c, wish, lease, TIME_NEVER, out);
	c->portmap.counters.opened++;
	return CTL_PORTMAP_DONE;
}

enum ctl_portmap_outcome ctl_portmap_map(
	struct ctl *c, const struct ctl_portmap_wish *wish, struct ctl_portmap_grant *out)
{
	const struct lease *lease = find(c, wish);

	return lease != NULL ? renew(c, wish, lease, out) : open_new(c, wish, out);
}

/* --- closing
 * ------------------------------------------------------------------------------------*/

static void close_one(struct ctl *c, uint64_t id, struct ctl_portmap_grant *out)
{
	struct rpc_fault ignored;

	if (ctl_lease_close(c, id, NULL, NULL, &ignored) != 0)
		return;
	out->waits = true;
	c->portmap.counters.closed++;
}

/* All of these protocols that were asked for; the operator's own are no mappings. */
static void close_all(
	struct ctl *c, const struct ctl_portmap_wish *wish, struct ctl_portmap_grant *out)
{
	const struct lease *lease;
	uint64_t cursor = 0;

	while ((lease = lease_next(c->p.leases, wish->peer_idx, &cursor)) != NULL)
		if (is_asked_for(lease) && (lease->protos & wish->proto) != 0 &&
			ip_equal(&lease->inner_addr, &wish->inner_addr) &&
			is_nonce_accepted(c, wish, lease))
			close_one(c, lease->id, out);
}

enum ctl_portmap_outcome ctl_portmap_unmap(
	struct ctl *c, const struct ctl_portmap_wish *wish, struct ctl_portmap_grant *out)
{
	const struct lease *lease;

	/* What is not there may have been shut a moment ago, by the same request. */
	out->waits = !TAILQ_EMPTY(&c->portmap.answers) || ctl_store_is_failing(c);
	if (wish->inner_port == 0) {
		close_all(c, wish, out);
		return CTL_PORTMAP_DONE;
	}
	lease = find(c, wish);
	if (lease == NULL)
		return CTL_PORTMAP_DONE;
	if (!is_asked_for(lease) || !is_nonce_accepted(c, wish, lease))
		return CTL_PORTMAP_NOT_AUTHORIZED;
	close_one(c, lease->id, out);
	return CTL_PORTMAP_DONE;
}
