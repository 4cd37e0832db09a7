/* Which IPv6 prefixes may lead to a peer: those that meet nothing of the gateway's or of another
 * peer's. */
#include "ctl/server.h"

#include <errno.h>
#include <stdio.h>

#define ACCEPTS "prefixes that are this peer's alone"

bool ctl_route_is_sound(const struct ip_prefix *route)
{
	return !ip_is_v4(&route->addr) && route->len_bits >= PEER_ROUTE_BITS_MIN &&
	       ip_is_routable_v6(&route->addr);
}

static int refuse(enum rpc_code code, const struct ip_prefix *route, const char *verb,
	const char *other, const char *whose, struct rpc_fault *fault)
{
	char text[IP_TEXT_CHARS];

	ip_prefix_format(route, text);
	return rpc_fault_set(fault, code, text, ACCEPTS, "route %s %s %s of %s; accepted: %s", text,
		verb, other, whose, ACCEPTS);
}

static int check_gateway_addr(const struct ip_prefix *route, const struct ip_addr *a,
	const char *whose, struct rpc_fault *fault)
{
	char text[IP_TEXT_CHARS];

	if (ip_is_none(a) || !ip_prefix_contains(route, a))
		return 0;
	return refuse(RPC_REFUSED, route, "contains", ip_addr_format(a, text), whose, fault);
}

static int check_gateway(
	const struct conf *conf, const struct ip_prefix *route, struct rpc_fault *fault)
{
	for (unsigned i = 0; i < conf->n_inner_addrs; i++)
		if (check_gateway_addr(route, &conf->inner_addrs[i],
			    "the gateway inside the tunnel", fault) != 0)
			return -EINVAL;
	for (unsigned i = 0; i < conf->n_ports; i++) {
		const struct conf_port *p = &conf->ports[i];

		for (unsigned j = 0; j < p->n_ifaddrs; j++)
			if (check_gateway_addr(route, &p->ifaddrs[j].addr, "a port of the gateway",
				    fault) != 0)
				return -EINVAL;
		if (check_gateway_addr(route, &p->gateway6, "the next hop", fault) != 0)
			return -EINVAL;
	}
	return 0;
}

static int check_other(
	struct ctl *c, uint32_t other_idx, const struct ip_prefix *route, struct rpc_fault *fault)
{
	const struct peer_conf *other = peer_conf_get(c->p.peers, other_idx);
	char whose[CTL_PEER_WORD_CHARS + 8], word[CTL_PEER_WORD_CHARS], text[IP_TEXT_CHARS];

	snprintf(whose, sizeof(whose), "peer %s", ctl_peer_word(c, other_idx, word));
	if (!ip_is_none(&other->address6) && ip_prefix_contains(route, &other->address6))
		return refuse(RPC_IN_USE, route, "contains", ip_addr_format(&other->address6, text),
			whose, fault);
	for (unsigned i = 0; i < other->n_routes; i++)
		if (ip_prefix_overlaps(route, &other->routes[i]))
			return refuse(RPC_IN_USE, route, "overlaps",
				ip_prefix_format(&other->routes[i], text), whose, fault);
	return 0;
}

static int check_own(const struct peer_conf *conf, unsigned n, struct rpc_fault *fault)
{
	char text[IP_TEXT_CHARS];

	for (unsigned i = 0; i < n; i++)
		if (ip_prefix_overlaps(&conf->routes[n], &conf->routes[i]))
			return refuse(RPC_INVALID_PARAMS, &conf->routes[n], "overlaps",
				ip_prefix_format(&conf->routes[i], text), "the same peer", fault);
	return 0;
}

/* Its address in another's route: packets would come, but the other could send from it, too. The
 * same address as another's is peer_add's to refuse. */
static int check_address(
	struct ctl *c, uint32_t peer_idx, const struct peer_conf *conf, struct rpc_fault *fault)
{
	uint32_t other_idx = ip_is_none(&conf->address6)
				     ? PEER_NONE
				     : peer_find_inner(c->p.peers, &conf->address6);
	char word[CTL_PEER_WORD_CHARS], text[IP_TEXT_CHARS];

	if (other_idx == PEER_NONE || other_idx == peer_idx ||
		ip_equal(&peer_conf_get(c->p.peers, other_idx)->address6, &conf->address6))
		return 0;
	ip_addr_format(&conf->address6, text);
	return rpc_fault_set(fault, RPC_IN_USE, text, "an address that is this peer's alone",
		"address6 %s is in a route of peer %s; accepted: an address that is this peer's "
		"alone",
		text, ctl_peer_word(c, other_idx, word));
}

int ctl_routes_check(
	struct ctl *c, uint32_t peer_idx, const struct peer_conf *conf, struct rpc_fault *fault)
{
	uint32_t cursor = 0, other_idx;

	for (unsigned i = 0; i < conf->n_routes; i++)
		if (check_own(conf, i, fault) != 0 ||
			check_gateway(c->p.conf, &conf->routes[i], fault) != 0)
			return -EINVAL;
	if (c->is_loading)
		return 0;
	if (check_address(c, peer_idx, conf, fault) != 0)
		return -EINVAL;
	while (conf->n_routes > 0 && (other_idx = peer_next(c->p.peers, &cursor)) != PEER_NONE) {
		for (unsigned i = 0; other_idx != peer_idx && i < conf->n_routes; i++)
			if (check_other(c, other_idx, &conf->routes[i], fault) != 0)
				return -EINVAL;
	}
	return 0;
}
