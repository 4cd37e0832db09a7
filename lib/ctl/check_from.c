/* Where the probe of lease.check comes from: an address that is the gateway's own, so that no
 * answer to it is for the Internet, and not the lease's, so that it comes from outside.
 */
#include "ctl/check.h"

#include "base/bytes.h"

#include <inttypes.h>

/* Ports that a probe comes from, and how often one is drawn. */
#define PORT_FIRST 32768u
#define PORT_COUNT 28232u
#define PORT_DRAWS 16
#define POOL_TRIES 64u /* addresses of a prefix that are looked at */

static bool is_admitted(const struct lease *l, const struct ip_addr *a)
{
	return l->n_sources == 0 || ip_prefixes_contain(l->sources, l->n_sources, a);
}

/* What was found so far: *first may be used but for the lease's sources. */
struct pick {
	const struct lease *lease;
	struct ip_addr first, from;
};

/* True: it is the one. */
static bool try_address(struct pick *pick, const struct ip_addr *a)
{
	const struct lease *l = pick->lease;

	if (ip_is_v4(a) != ip_is_v4(&l->public_addr) || ip_equal(a, &l->public_addr))
		return false;
	if (ip_is_none(&pick->first))
		pick->first = *a;
	if (!is_admitted(l, a))
		return false;
	pick->from = *a;
	return true;
}

static bool try_pool(struct pick *pick, const struct ip_prefix *pool, unsigned n_pool)
{
	for (unsigned i = 0; i < n_pool; i++) {
		uint32_t base = load_be32(ip_v4_bytes(&pool[i].addr));

		for (uint32_t k = 0; k < POOL_TRIES; k++) {
			struct ip_addr a = ctl_v4_addr(base + k);

			if (!ip_prefix_contains(&pool[i], &a))
				break;
			if (try_address(pick, &a))
				return true;
		}
	}
	return false;
}

static bool try_port(struct pick *pick, const struct conf_port *port)
{
	for (unsigned i = 0; port->is_public && !port->is_tunnel && i < port->n_ifaddrs; i++)
		if (try_address(pick, &port->ifaddrs[i].addr))
			return true;
	return false;
}

/* The public side's own addresses, which an operator knows; then the pools'. Never one that clients
 * tunnel to: some have a route to it that goes around the tunnel, and would answer there, for
 * everybody on the way to see. */
static bool pick_address(const struct conf *conf, struct pick *pick)
{
	for (unsigned i = 0; i < conf->n_ports; i++)
		if (try_port(pick, &conf->ports[i]))
			return true;
	return try_pool(pick, conf->pool, conf->n_pool) ||
	       try_pool(pick, conf->nat_pool, conf->n_nat_pool);
}

static int refuse_source(const struct pick *pick, struct rpc_fault *fault)
{
	char from[IP_TEXT_CHARS];

	if (ip_is_none(&pick->first))
		return rpc_fault_set(fault, RPC_REFUSED, "ports.addresses",
			"an address of that family at a public port, or of a pool",
			"there is no public address to check lease %" PRIu64 " from, beside its "
			"own and those that clients tunnel to; accepted: an address of that "
			"family at a port that is public alone (ports.addresses), or one more of "
			"a pool",
			pick->lease->id);
	ip_addr_format(&pick->first, from);
	return rpc_fault_set(fault, RPC_REFUSED, "from", from,
		"lease %" PRIu64 " does not admit %s, where a check comes from; accepted: a lease "
		"that admits it too, as with --from %s",
		pick->lease->id, from, from);
}

/* A port where the gateway has nothing else to hear. */
static bool is_unused(struct ctl *c, const struct ip_endpoint *e)
{
	if (lease_find_public(c->p.leases, &e->addr, LEASE_PROTO_BOTH, e->port) != NULL)
		return false;
	return c->p.blocks == NULL || !ip_is_v4(&e->addr) ||
	       blocks_owner(c->p.blocks, load_be32(ip_v4_bytes(&e->addr)), e->port) == PEER_NONE;
}

static void draw_port(struct ctl *c, struct ip_endpoint *from)
{
	uint16_t drawn;

	for (unsigned i = 0; i < PORT_DRAWS; i++) {
		crypto_random(&drawn, sizeof(drawn));
		from->port = (uint16_t)(PORT_FIRST + drawn % PORT_COUNT);
		if (is_unused(c, from))
			return;
	}
}

int ctl_check_from(
	struct ctl *c, const struct lease *l, struct ip_endpoint *out, struct rpc_fault *fault)
{
	struct pick pick = {.lease = l};

	if (!pick_address(c->p.conf, &pick))
		return refuse_source(&pick, fault);
	out->addr = pick.from;
	draw_port(c, out);
	return 0;
}
