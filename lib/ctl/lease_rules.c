/* What a lease may be, and the one way of opening and closing one. */
#include "ctl/server.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- opening
 * ------------------------------------------------------------------------------------*/

struct ip_addr ctl_peer_inner(const struct peer_conf *conf)
{
	return ip_is_none(&conf->address4) ? conf->address6 : conf->address4;
}

static int refuse_target(const struct peer_conf *conf, const struct lease_request *req,
	const char *peer, struct rpc_fault *fault)
{
	char wanted[IP_TEXT_CHARS], prefix[IP_TEXT_CHARS], own[RPC_ACCEPTS_CHARS];
	const struct ip_addr *addrs[] = {&conf->address4, &conf->address6};
	size_t len = 0;

	own[0] = '\0';
	for (unsigned i = 0; i < 2; i++)
		if (!ip_is_none(addrs[i]))
			len += (size_t)snprintf(own + len, sizeof(own) - len, "%s%s",
				len > 0 ? ", " : "", ip_addr_format(addrs[i], prefix));
	for (unsigned i = 0; i < conf->n_routes && len < sizeof(own); i++)
		len += (size_t)snprintf(own + len, sizeof(own) - len, ", one of %s",
			ip_prefix_format(&conf->routes[i], prefix));
	return rpc_fault_set(fault, RPC_REFUSED, ip_addr_format(&req->inner_addr, wanted), own,
		"to_address %s is not that of peer %s; accepted: %s", wanted, peer, own);
}

int ctl_peer_check_leases(const struct ctl *c, const struct peer_conf *conf, const char *peer,
	struct rpc_fault *fault)
{
	if (ctl_peer_is_barred(c, conf))
		return rpc_fault_set(fault, RPC_REFUSED, peer, "a peer that is not barred",
			"peer %s is barred; let it have leases again with: portierctl peer unbar "
			"%s",
			peer, peer);
	if (!conf->forwarding)
		return rpc_fault_set(fault, RPC_REFUSED, peer, "a peer with forwarding on",
			"peer %s has forwarding off; turn it on with: portierctl peer set %s "
			"--forwarding on",
			peer, peer);
	return 0;
}

/* The peer may have leases, and this one leads to an address of its own. Fills what the peer says.
 */
static int check_peer(struct ctl *c, struct lease_request *req, struct rpc_fault *fault)
{
	const struct peer_conf *conf = peer_conf_get(c->p.peers, req->peer_idx);
	char peer[CTL_PEER_WORD_CHARS];

	if (conf == NULL)
		return rpc_fault_set(fault, RPC_NOT_FOUND, "peer", NULL, "the peer is gone");
	ctl_peer_word(c, req->peer_idx, peer);
	if (ctl_peer_check_leases(c, conf, peer, fault) != 0)
		return -EINVAL;
	if (ip_is_none(&req->inner_addr))
		req->inner_addr = ctl_peer_inner(conf);
	if (!peer_conf_has(conf, &req->inner_addr))
		return refuse_target(conf, req, peer, fault);
	/* The file was checked by itself: what is stored beside it is no reason not to start. */
	req->peer_max_leases = c->is_loading ? UINT32_MAX : conf->max_leases;
	/* If it is of the pool of leases, the first lease leaves the peer the address that it has.
	 */
	req->paired_addr = ctl_v4_addr(ctl_peer_public(c, req->peer_idx));
	return 0;
}

/* Its number of ports is checked where it is read. */
static int check_range(const struct lease_request *req, struct rpc_fault *fault)
{
	unsigned n = req->n_ports, last = UINT16_MAX + 1 - n;
	char text[64];

	if (lease_is_pinhole(&req->inner_addr))
		return rpc_fault_set(fault, RPC_REFUSED, "ports", "1, or an IPv4 to_address",
			"ports %u is not for IPv6, which is not translated; accepted: 1, or an "
			"IPv4 to_address",
			n);
	if (req->public_port % n != 0) {
		snprintf(text, sizeof(text), "one that is, as %u, or none for any",
			req->public_port / n * n);
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "public_port", text,
			"public_port %u is no multiple of the %u ports; accepted: %s",
			req->public_port, n, text);
	}
	if (req->is_symmetric || req->inner_port <= last)
		return 0;
	snprintf(text, sizeof(text), "1 to %u", last);
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, "to_port", text,
		"to_port %u leaves no room for %u ports; accepted: %s", req->inner_port, n, text);
}

static int check_request(const struct lease_request *req, struct rpc_fault *fault)
{
	if (req->is_whole && lease_is_pinhole(&req->inner_addr))
		return rpc_fault_set(fault, RPC_REFUSED, "to_address", "an IPv4 address",
			"whole_address is for IPv4, and to_address is not; IPv6 is not translated; "
			"accepted: an IPv4 to_address of the peer");
	if (req->inner_port == 0 && !req->is_symmetric && !req->is_whole)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "to_port", "1 to 65535",
			"to_port is 0; accepted: 1 to 65535");
	if ((req->protos & LEASE_PROTO_BOTH) == 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "proto", "tcp, udp or both",
			"no protocol; accepted: tcp, udp or both");
	return lease_is_range(req->n_ports) ? check_range(req, fault) : 0;
}

static void pool_words(const struct ip_prefix *pool, unsigned n, char buf[static RPC_ACCEPTS_CHARS])
{
	char prefix[IP_TEXT_CHARS];
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < n && len < RPC_ACCEPTS_CHARS; i++)
		len += (size_t)snprintf(buf + len, RPC_ACCEPTS_CHARS - len, "%s%s",
			i > 0 ? ", " : "", ip_prefix_format(&pool[i], prefix));
}

/* Of a range the first port that is not free. */
static uint16_t taken_port(
	const struct ctl *c, const struct lease_request *req, const struct ip_addr *at)
{
	struct lease_held held;

	for (uint32_t i = 0; i < lease_ports_of(req->n_ports); i++) {
		uint16_t port = (uint16_t)(req->public_port + i);

		if (lease_find_public(c->p.leases, at, LEASE_PROTO_BOTH, port) != NULL ||
			lease_held_get(c->p.leases, at, port, &held))
			return port;
	}
	return req->public_port;
}

static int refuse_port_in_use(
	struct ctl *c, const struct lease_request *req, const char *peer, struct rpc_fault *fault)
{
	const char *accepts = "another port, or none for any free one";
	char addr[IP_TEXT_CHARS], owner[CTL_PEER_WORD_CHARS], culprit[IP_TEXT_CHARS + 16];
	uint64_t kept_ns = c->p.conf->reserve_ns + c->p.conf->quarantine_ns;
	char kept[TIME_DURATION_CHARS];
	/* Where no address was asked for, that of the peer's leases was meant. */
	struct ip_addr at = ip_is_none(&req->public_addr)
				    ? lease_peer_address(c->p.leases, req->peer_idx)
				    : req->public_addr;
	uint16_t port = taken_port(c, req, &at);
	const struct lease *l = lease_find_public(c->p.leases, &at, LEASE_PROTO_BOTH, port);

	snprintf(culprit, sizeof(culprit), "public port %u", port);
	if (l == NULL)
		return rpc_fault_set(fault, RPC_IN_USE, culprit, accepts,
			"%s was another's and rests for up to %s after its end; accepted: %s",
			culprit, time_duration_format(kept_ns, kept), accepts);
	ip_addr_format(&l->public_addr, addr);
	if (l->peer_idx == req->peer_idx)
		return rpc_fault_set(fault, RPC_IN_USE, culprit, accepts,
			"%s of %s already leads to port %u of peer %s (lease %llu); accepted: %s",
			culprit, addr, lease_inner_port_of(l, port), peer,
			(unsigned long long)l->id, accepts);
	return rpc_fault_set(fault, RPC_IN_USE, culprit, accepts,
		"%s of %s is held by peer %s (lease %llu); accepted: %s", culprit, addr,
		ctl_peer_word(c, l->peer_idx, owner), (unsigned long long)l->id, accepts);
}

static const char *of_a_range(const struct lease_request *req)
{
	return lease_is_range(req->n_ports) ? ", or a port of its range," : "";
}

static int refuse_part(
	struct ctl *c, const struct lease_request *req, const char *peer, struct rpc_fault *fault)
{
	const char *accepts = "the same range again, another port, or none for any free one";
	uint64_t kept_ns = c->p.conf->reserve_ns + c->p.conf->quarantine_ns;
	char kept[TIME_DURATION_CHARS], culprit[32];

	snprintf(culprit, sizeof(culprit), "public port %u", req->public_port);
	return rpc_fault_set(fault, RPC_IN_USE, culprit, accepts,
		"%s%s is part of a larger range, which is peer %s's own and rests for up to %s "
		"after its end; accepted: %s",
		culprit, of_a_range(req), peer, time_duration_format(kept_ns, kept), accepts);
}

static int refuse_other_address(
	struct ctl *c, const struct lease_request *req, const char *peer, struct rpc_fault *fault)
{
	char wanted[IP_TEXT_CHARS], own[IP_TEXT_CHARS];
	struct ip_addr addr = lease_peer_address(c->p.leases, req->peer_idx);

	ip_addr_format(&addr, own);
	if (lease_find_public(c->p.leases, &addr, LEASE_PROTO_BOTH, 0) != NULL)
		return rpc_fault_set(fault, RPC_IN_USE, own, NULL,
			"peer %s has the whole of %s: every port of it leads to the peer already",
			peer, own);
	return rpc_fault_set(fault, RPC_REFUSED, ip_addr_format(&req->public_addr, wanted), own,
		"public address %s is not the egress address of peer %s, which its other leases "
		"have; "
		"accepted: %s",
		wanted, peer, own);
}

/* What only a pinhole is refused for. 0: something else. */
static int refuse_pinhole(const struct lease_request *req, int err, struct rpc_fault *fault)
{
	char wanted[IP_TEXT_CHARS], own[IP_TEXT_CHARS];

	ip_addr_format(&req->inner_addr, own);
	switch (err) {
	case -EADDRNOTAVAIL:
		return rpc_fault_set(fault, RPC_REFUSED, ip_addr_format(&req->public_addr, wanted),
			own,
			"public address %s is not that of the lease: IPv6 is not translated, and "
			"it leads to %s as it is; accepted: %s, or none",
			wanted, own, own);
	case -ERANGE:
		return rpc_fault_set(fault, RPC_REFUSED, "public_port", "to_port, or none",
			"public port %u is not that of the lease: IPv6 is not translated, and it "
			"leads to port %u as it is; accepted: %u, or none",
			req->public_port, req->inner_port, req->inner_port);
	case -EACCES:
		return rpc_fault_set(fault, RPC_REFUSED, "to_port",
			"a port that is not in leases.deny",
			"port %u is denied by leases.deny; accepted: another", req->inner_port);
	default:
		return 0;
	}
}

/* A lease of the peer leads where the new one would. */
static int refuse_crossing(
	struct ctl *c, const struct lease_request *req, const char *peer, struct rpc_fault *fault)
{
	uint16_t n = lease_ports_of(req->n_ports);
	const struct lease *l = NULL;
	char range[32];

	for (uint32_t i = 0; l == NULL && i < n; i++)
		l = lease_find_inner(c->p.leases, req->peer_idx, &req->inner_addr, LEASE_PROTO_BOTH,
			(uint16_t)(req->inner_port + i));
	if (l == NULL || (l->n_ports == n && l->inner_port == req->inner_port))
		return rpc_fault_set(fault, RPC_IN_USE, "proto",
			"the protocols of the lease there is",
			"peer %s has a lease to port %u for one of these protocols; close it "
			"first, or ask "
			"for the other protocol alone",
			peer, req->inner_port);
	snprintf(range, sizeof(range), lease_is_range(l->n_ports) ? "ports %u-%u" : "port %u",
		l->inner_port, l->inner_port + l->n_ports - 1u);
	return rpc_fault_set(fault, RPC_IN_USE, "to_port", "ports that no lease leads to",
		"to_port %u: lease %llu of peer %s leads to %s already; close it first, or choose "
		"ports that no lease leads to",
		req->inner_port, (unsigned long long)l->id, peer, range);
}

static int refuse_quota(
	struct ctl *c, const struct lease_request *req, const char *peer, struct rpc_fault *fault)
{
	uint32_t n_ports = lease_port_count(c->p.leases, req->peer_idx);

	if (n_ports + lease_ports_of(req->n_ports) <= req->peer_max_leases)
		return rpc_fault_set(fault, RPC_EXHAUSTED, peer, NULL,
			"peer %s may have %u leases, and twice as many ports are its own or still "
			"kept for it; wait, or raise it with: portierctl peer set %s --max-leases "
			"N",
			peer, req->peer_max_leases, peer);
	if (lease_is_range(req->n_ports))
		return rpc_fault_set(fault, RPC_EXHAUSTED, peer, NULL,
			"peer %s may have leases of %u ports and has %u, and a range counts as "
			"its %u ports; close one, or raise it with: portierctl peer set %s "
			"--max-leases N",
			peer, req->peer_max_leases, n_ports, req->n_ports, peer);
	return rpc_fault_set(fault, RPC_EXHAUSTED, peer, NULL,
		"peer %s may have %u leases and has %u; close one, or raise it with: "
		"portierctl peer set %s --max-leases N",
		peer, req->peer_max_leases, n_ports, peer);
}

static int refuse_address_in_use(
	struct ctl *c, const struct ip_addr *public_addr, struct rpc_fault *fault)
{
	const char *accepts = "another, or none for any";
	const struct lease *l = lease_find_public(c->p.leases, public_addr, LEASE_PROTO_BOTH, 0);
	uint64_t kept_ns = c->p.conf->reserve_ns + c->p.conf->quarantine_ns;
	char addr[IP_TEXT_CHARS], owner[CTL_PEER_WORD_CHARS], kept[TIME_DURATION_CHARS];

	ip_addr_format(public_addr, addr);
	if (l == NULL)
		return rpc_fault_set(fault, RPC_IN_USE, addr, accepts,
			"public address %s was another's and rests for up to %s after its end; "
			"accepted: %s",
			addr, time_duration_format(kept_ns, kept), accepts);
	return rpc_fault_set(fault, RPC_IN_USE, addr, accepts,
		"public address %s is held by peer %s (lease %llu); accepted: %s", addr,
		ctl_peer_word(c, l->peer_idx, owner), (unsigned long long)l->id, accepts);
}

/* What only a whole address is refused for. 0: something else. */
static int refuse_whole(struct ctl *c, const struct lease_request *req, int err, const char *peer,
	struct rpc_fault *fault)
{
	const struct conf *conf = c->p.conf;
	char addr[IP_TEXT_CHARS], text[RPC_ACCEPTS_CHARS];

	ip_addr_format(&req->public_addr, addr);
	switch (err) {
	case -EADDRNOTAVAIL:
		pool_words(conf->dedicated, conf->n_dedicated, text);
		if (conf->n_dedicated == 0)
			return rpc_fault_set(fault, RPC_REFUSED, "public.dedicated", NULL,
				"no address is dedicated: public.dedicated of the configuration "
				"is empty");
		return rpc_fault_set(fault, RPC_REFUSED, addr, text,
			"public address %s is not dedicated; accepted: one of %s, or none for any",
			addr, text);
	case -EADDRINUSE:
		return refuse_address_in_use(c, &req->public_addr, fault);
	case -EXDEV:
		return rpc_fault_set(fault, RPC_IN_USE, peer, "a peer without leases to IPv4",
			"peer %s has other leases, and all leases of a peer have one address; "
			"close them first",
			peer);
	case -ENOSPC:
		return rpc_fault_set(fault, RPC_EXHAUSTED, "public.dedicated", NULL,
			"no dedicated address is free, or all %u leases of leases.max are open",
			conf->max_leases);
	default:
		return 0;
	}
}

static int refuse_grant(
	struct ctl *c, const struct lease_request *req, int err, struct rpc_fault *fault)
{
	const struct conf *conf = c->p.conf;
	char peer[CTL_PEER_WORD_CHARS], text[RPC_ACCEPTS_CHARS], addr[IP_TEXT_CHARS];

	if (lease_is_pinhole(&req->inner_addr) && refuse_pinhole(req, err, fault) != 0)
		return -EINVAL;
	ctl_peer_word(c, req->peer_idx, peer);
	if (req->is_whole && refuse_whole(c, req, err, peer, fault) != 0)
		return -EINVAL;
	switch (err) {
	case -ERANGE:
		snprintf(text, sizeof(text), "%u to %u", conf->lease_port_first,
			conf->lease_port_last);
		return rpc_fault_set(fault, RPC_REFUSED, "public_port", text,
			"public port %u%s is outside the range for leases; accepted: %s, or none "
			"for any",
			req->public_port, of_a_range(req), text);
	case -EACCES:
		return rpc_fault_set(fault, RPC_REFUSED, "public_port",
			"a port that is not in leases.deny, or none for any",
			"public port %u%s is denied by leases.deny; accepted: another, or none for "
			"any",
			req->public_port, of_a_range(req));
	case -ETIME:
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "until", "a moment to come",
			"until has passed; accepted: a moment to come");
	case -EADDRNOTAVAIL:
		pool_words(conf->pool, conf->n_pool, text);
		return rpc_fault_set(fault, RPC_REFUSED, ip_addr_format(&req->public_addr, addr),
			text,
			"public address %s is not in the public pool; accepted: an IPv4 address of "
			"%s",
			addr, text);
	case -EADDRINUSE:
		return refuse_port_in_use(c, req, peer, fault);
	case -EBUSY:
		return refuse_part(c, req, peer, fault);
	case -EXDEV:
		return refuse_other_address(c, req, peer, fault);
	case -EEXIST:
		return refuse_crossing(c, req, peer, fault);
	case -EDQUOT:
		return refuse_quota(c, req, peer, fault);
	case -ENOSPC:
		if (lease_is_range(req->n_ports))
			snprintf(text, sizeof(text), "range of %u public ports", req->n_ports);
		else
			snprintf(text, sizeof(text), "public port");
		return rpc_fault_set(fault, RPC_EXHAUSTED, "public ports", NULL,
			"no %s is free (%u ports are kept for former owners), or all %u leases "
			"of leases.max are open",
			text, lease_held_port_count(c->p.leases), conf->max_leases);
	default:
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, NULL, NULL,
			"the lease is unsound: %s", strerror(-err));
	}
}

/* The owner of the door keys sees what the table of leases says. On failure, an errno of
 * doors_open, the new lease goes again. */
static int publish(struct ctl *c, const struct lease *lease, bool is_new, struct rpc_fault *fault)
{
	int err = doors_open(c->p.doors, lease);
	struct lease gone;

	if (err == 0)
		return 0;
	if (is_new)
		lease_close(c->p.leases, lease->id, c->p.now_ns(), &gone);
	rpc_fault_set(fault, RPC_EXHAUSTED, "doors", NULL,
		"the tables of the workers are full (%u leases open, leases.max is %u); try again",
		doors_count(c->p.doors), c->p.conf->max_leases);
	return err;
}

/* What the configuration opens has no end, and the table allows that; who asks gets at most
 * leases.max_ttl. */
static uint64_t clamp_ttl(const struct ctl *c, uint64_t ttl_ns)
{
	if (ttl_ns == TIME_NEVER || ttl_ns < c->p.conf->max_ttl_ns)
		return ttl_ns;
	return c->p.conf->max_ttl_ns;
}

/* Replies to a client tell of it. Ids of records of blocks lie between those of leases. */
static void note_opened(struct ctl *c, uint64_t id)
{
	if (c->actor.by != CTL_BY_CONTROL)
		return;
	if (c->opened_after_id == c->opened_to_id)
		c->opened_after_id = id - 1;
	c->opened_to_id = id;
}

static void note_grant(
	struct ctl *c, const struct lease *lease, bool is_renewal, const struct ctl_number *before)
{
	ctl_promise_address(c, lease);
	if (is_renewal)
		ctl_promise_number(c, before, lease);
	else
		note_opened(c, lease->id);
}

static int grant(struct ctl *c, const struct lease_request *asked, const struct lease **out,
	bool *is_renewal, struct rpc_fault *fault)
{
	struct lease_request req = *asked;
	const struct lease *lease;
	struct ctl_number before;
	int rc, err;

	if (check_peer(c, &req, fault) != 0 || check_request(&req, fault) != 0 ||
		ctl_store_check(c, fault) != 0)
		return -EINVAL;
	lease = lease_find_own(c->p.leases, &req);
	before = ctl_number_of(lease);
	/* A renewal gives no end to what has none. */
	req.ttl_ns = lease != NULL && lease->ttl_ns == TIME_NEVER ? TIME_NEVER
								  : clamp_ttl(c, req.ttl_ns);
	/* Of the leases that are there already; the new one's state is told with its opening. */
	ctl_leases_reach(c, req.peer_idx);
	rc = lease_grant(c->p.leases, &req, c->p.now_ns(), &lease);
	if (rc < 0) {
		refuse_grant(c, &req, rc, fault);
		return rc;
	}
	err = publish(c, lease, rc == 0, fault);
	if (err != 0)
		return err;
	if (rc == 0)
		ctl_pool_lease_opened(c, lease);
	lease_peer_reach_set(c->p.leases, req.peer_idx, peer_is_reachable(c->p.peers, req.peer_idx),
		c->p.now_ns());
	ctl_peer_public_update(c, req.peer_idx);
	note_grant(c, lease, rc == 1, &before);
	ctl_heartbeat_begin(c, req.peer_idx);
	ctl_store_lease(c, lease);
	if (rc == 0)
		ctl_history_lease_opened(c, lease);
	*out = lease;
	*is_renewal = rc == 1;
	return 0;
}

int ctl_lease_open(struct ctl *c, const struct lease_request *req, const struct lease **out,
	bool *is_renewal, struct rpc_fault *fault)
{
	const struct lease *lease;
	int err = grant(c, req, &lease, is_renewal, fault);

	if (err != 0) {
		ctl_event_denied(c, req, fault);
		return err;
	}
	*out = lease;
	ctl_event_lease(c, *is_renewal ? "lease.renewed" : "lease.opened", lease, NULL, NULL);
	ctl_tick_arm(c);
	return 0;
}

/* --- renewing and closing
 * -----------------------------------------------------------------------*/

static int refuse_unknown(uint64_t id, struct rpc_fault *fault)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)id);
	return rpc_fault_set(fault, RPC_NOT_FOUND, text, "the id of an open lease",
		"there is no open lease %s; accepted: the id of one (portierctl lease list)", text);
}

const struct lease *ctl_lease_get(struct ctl *c, uint64_t id, struct rpc_fault *fault)
{
	const struct lease *lease = lease_get(c->p.leases, id);

	if (lease == NULL)
		refuse_unknown(id, fault);
	return lease;
}

static bool is_from_inside(const struct ctl *c)
{
	return c->actor.by == CTL_BY_NATPMP || c->actor.by == CTL_BY_PCP;
}

int ctl_lease_renew(struct ctl *c, uint64_t id, uint64_t ttl_ns, const struct lease **out,
	struct rpc_fault *fault)
{
	const struct lease *lease = ctl_lease_get(c, id, fault);
	struct ctl_number before = ctl_number_of(lease);

	if (lease == NULL || (!is_from_inside(c) && ctl_store_check(c, fault) != 0))
		return -EINVAL;
	/* A renewal gives no end to what has none. */
	if (lease->expires_ns != TIME_NEVER &&
		lease_renew(c->p.leases, id, clamp_ttl(c, ttl_ns), c->p.now_ns(), &lease) != 0)
		return refuse_unknown(id, fault);
	ctl_promise_number(c, &before, lease);
	if (is_from_inside(c))
		ctl_store_renewal(c, lease);
	else if (!ctl_lease_is_configured(lease))
		ctl_store_lease(c, lease);
	*out = lease;
	ctl_event_lease(c, "lease.renewed", lease, NULL, NULL);
	ctl_tick_arm(c);
	return 0;
}

int ctl_lease_end(struct ctl *c, uint64_t id, const char *reason, struct lease *out,
	struct door_counters *counters, struct rpc_fault *fault)
{
	struct door_counters last;
	struct lease gone;

	doors_counters_get(c->p.doors, id, &last);
	if (lease_close(c->p.leases, id, c->p.now_ns(), &gone) != 0)
		return refuse_unknown(id, fault);
	doors_close(c->p.doors, id);
	ctl_pool_lease_ended(c, &gone);
	ctl_peer_public_update(c, gone.peer_idx);
	ctl_store_lease_end(c, &gone);
	ctl_history_lease_closed(c, &gone, reason);
	if (out != NULL)
		*out = gone;
	if (counters != NULL)
		*counters = last;
	ctl_event_lease(c, "lease.closed", &gone, &last, reason);
	ctl_tick_arm(c);
	return 0;
}

int ctl_lease_close(struct ctl *c, uint64_t id, struct lease *out, struct door_counters *counters,
	struct rpc_fault *fault)
{
	return ctl_lease_end(c, id, "closed", out, counters, fault);
}

/* --- ends that nobody asks for
 * ------------------------------------------------------------------*/

void ctl_leases_expire(struct ctl *c, uint64_t now_ns)
{
	struct door_counters last;
	struct lease gone;
	unsigned n = 0;

	while (n < CTL_EXPIRE_SLICE && lease_expire_next(c->p.leases, now_ns, &gone)) {
		doors_counters_get(c->p.doors, gone.id, &last);
		doors_close(c->p.doors, gone.id);
		ctl_pool_lease_ended(c, &gone);
		ctl_peer_public_update(c, gone.peer_idx);
		ctl_store_lease_end(c, &gone);
		ctl_history_lease_closed(c, &gone, "expired");
		ctl_event_lease(c, "lease.closed", &gone, &last, "expired");
		n++;
	}
	if (n > 0)
		log_debug("control: %u leases expired", n);
}

void ctl_leases_reach(struct ctl *c, uint32_t peer_idx)
{
	bool is_reachable = peer_is_reachable(c->p.peers, peer_idx);
	unsigned n = lease_peer_reach_set(c->p.leases, peer_idx, is_reachable, c->p.now_ns());
	char peer[CTL_PEER_WORD_CHARS];
	const struct lease *lease;
	uint64_t cursor = 0;

	if (n == 0)
		return;
	while ((lease = lease_next(c->p.leases, peer_idx, &cursor)) != NULL)
		ctl_event_lease(
			c, is_reachable ? "lease.resumed" : "lease.suspended", lease, NULL, NULL);
	log_info("peer %s %s: %u leases %s", ctl_peer_word(c, peer_idx, peer),
		is_reachable ? "answers again" : "does not answer", n,
		is_reachable ? "resumed" : "suspended");
}

/* A slice of the table each time; the next one goes on from there. Leases that come or go in
 * between are seen in the next round at the latest. */
void ctl_leases_sweep(struct ctl *c, uint64_t now_ns)
{
	const struct lease *lease;
	struct rpc_fault ignored;

	if (c->sweep_cursor == 0)
		ctl_used_round(c, now_ns);
	for (unsigned n = 0; n < CTL_SWEEP_SLICE; n++) {
		lease = lease_next(c->p.leases, UINT32_MAX, &c->sweep_cursor);
		if (lease == NULL) {
			c->sweep_cursor = 0;
			c->n_rewrite_rounds -= c->n_rewrite_rounds > 0;
			c->has_unwritten &= c->n_rewrite_rounds > 0;
			return;
		}
		if (c->n_rewrite_rounds > 0 && !ctl_lease_is_configured(lease))
			ctl_store_renewal(c, lease);
		ctl_leases_reach(c, lease->peer_idx);
		ctl_used_sweep(c, lease);
		if (ctl_lease_is_idle(c, lease))
			ctl_lease_end(c, lease->id, "idle", NULL, NULL, &ignored);
	}
}
