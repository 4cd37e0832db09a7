#include "conf/conf_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A route of a peer, or its IPv6 address. */
struct claim {
	struct ip_prefix prefix;
	uint32_t peer_idx;
	bool is_address;
};

/* What contains comes before what is contained: then one claim at a time is enough to look back
 * at, because of two prefixes that meet one contains the other. */
static int claim_compare(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int d = memcmp(&x->prefix.addr, &y->prefix.addr, sizeof(x->prefix.addr));

	if (d == 0)
		d = x->prefix.len_bits - y->prefix.len_bits;
	if (d == 0)
		d = x->is_address - y->is_address;
	return d != 0 ? d : (x->peer_idx > y->peer_idx) - (x->peer_idx < y->peer_idx);
}

static uint32_t claims_collect(const struct conf *c, struct claim *claims)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n_peers; i++) {
		const struct conf_peer *p = &c->peers[i];

		for (unsigned r = 0; r < p->n_routes; r++) {
			if (p->routes[r].len_bits > 0) /* else refused before */
				claims[n++] = (struct claim){p->routes[r], i, false};
		}
		if (!ip_is_none(&p->address6))
			claims[n++] = (struct claim){{p->address6, 128}, i, true};
	}
	return n;
}

/* A peer's own address within its own route is the usual case; two equal addresses have their own
 * sentence. */
static bool is_conflict(const struct claim *outer, const struct claim *inner)
{
	if (outer->is_address || !ip_prefix_overlaps(&outer->prefix, &inner->prefix))
		return false;
	return !inner->is_address || inner->peer_idx != outer->peer_idx;
}

static void fault_conflict(
	struct conf_ctx *ctx, const struct claim *outer, const struct claim *inner)
{
	char text[IP_TEXT_CHARS], other[IP_TEXT_CHARS];

	ip_prefix_format(&inner->prefix, text);
	ip_prefix_format(&outer->prefix, other);
	if (inner->is_address)
		conf_fault(ctx, conf_at_peer(ctx, outer->peer_idx, "routes"),
			"peers[%u].routes has %s, which contains %s, the address of peers[%u]; "
			"it takes prefixes that are this peer's alone",
			outer->peer_idx, other, text, inner->peer_idx);
	else
		conf_fault(ctx, conf_at_peer(ctx, inner->peer_idx, "routes"),
			"peers[%u].routes has %s, which overlaps %s of peers[%u]; it takes "
			"prefixes that are disjoint",
			inner->peer_idx, text, other, outer->peer_idx);
}

static void check_conflicts(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;
	struct claim *claims;
	uint32_t n = 0, outer = 0;

	for (uint32_t i = 0; i < c->n_peers; i++)
		n += c->peers[i].n_routes;
	if (n == 0)
		return;
	claims = calloc(n + c->n_peers, sizeof(*claims));
	if (!claims) {
		ctx->error = -ENOMEM;
		return;
	}
	n = claims_collect(c, claims);
	qsort(claims, n, sizeof(*claims), claim_compare);
	for (uint32_t i = 1; i < n; i++) {
		if (is_conflict(&claims[outer], &claims[i]))
			fault_conflict(ctx, &claims[outer], &claims[i]);
		if (!ip_prefix_overlaps(&claims[outer].prefix, &claims[i].prefix))
			outer = i;
	}
	free(claims);
}

/* What the gateway itself needs to reach or to be reached by. */
static void check_gateway_addr(
	struct conf_ctx *ctx, uint32_t idx, const struct ip_addr *a, const char *whose)
{
	const struct conf_peer *p = &ctx->conf->peers[idx];
	char text[IP_TEXT_CHARS], addr[IP_TEXT_CHARS];

	for (unsigned r = 0; r < p->n_routes; r++) {
		if (p->routes[r].len_bits == 0 || ip_is_none(a) ||
			!ip_prefix_contains(&p->routes[r], a))
			continue;
		conf_fault(ctx, conf_at_peer(ctx, idx, "routes"),
			"peers[%u].routes has %s, which contains %s of %s; it takes prefixes that "
			"are this peer's alone",
			idx, ip_prefix_format(&p->routes[r], text), ip_addr_format(a, addr), whose);
	}
}

static void check_gateway_addrs(struct conf_ctx *ctx, uint32_t idx)
{
	const struct conf *c = ctx->conf;

	for (unsigned i = 0; i < c->n_inner_addrs; i++)
		check_gateway_addr(ctx, idx, &c->inner_addrs[i], "tunnel.inner_addresses");
	for (unsigned i = 0; i < c->n_ports; i++) {
		const struct conf_port *p = &c->ports[i];

		for (unsigned j = 0; j < p->n_ifaddrs; j++)
			check_gateway_addr(ctx, idx, &p->ifaddrs[j].addr, "a port's addresses");
		check_gateway_addr(ctx, idx, &p->gateway6, "a port's gateways");
	}
}

void conf_check_routes(struct conf_ctx *ctx)
{
	for (uint32_t i = 0; i < ctx->conf->n_peers; i++) {
		if (ctx->conf->peers[i].n_routes > 0)
			check_gateway_addrs(ctx, i);
	}
	if (ctx->error == 0)
		check_conflicts(ctx);
}
