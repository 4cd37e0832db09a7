/* pool.show: the public addresses, and what each is used for. Leases and peers are counted as they
 * come and go, because there may be a million of them when somebody asks.
 */
#include "ctl/server.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>

/* W: control, like all of it. */
struct ctl_pool_use {
	uint32_t n_leases, n_peers; /* peers: whose ordinary traffic leaves by it */
};

int ctl_pool_init(struct ctl *c)
{
	if (c->p.blocks == NULL)
		return 0;
	c->pool_uses = calloc(blocks_addrs(c->p.blocks) + 1, sizeof(c->pool_uses[0]));
	return c->pool_uses == NULL ? -ENOMEM : 0;
}

/* NULL: nobody counts, or the address is not of the pool (0, for a peer without IPv4). */
static struct ctl_pool_use *use_of(struct ctl *c, uint32_t public_v4)
{
	uint32_t rank =
		c->pool_uses != NULL ? blocks_addr_rank(c->p.blocks, public_v4) : BLOCKS_NONE;

	return rank == BLOCKS_NONE ? NULL : &c->pool_uses[rank];
}

void ctl_pool_peer_moved(struct ctl *c, uint32_t from_v4, uint32_t to_v4)
{
	struct ctl_pool_use *from = use_of(c, from_v4), *to = use_of(c, to_v4);

	if (from != NULL)
		from->n_peers--;
	if (to != NULL)
		to->n_peers++;
}

static struct ctl_pool_use *use_of_lease(struct ctl *c, const struct lease *lease)
{
	const struct ip_addr *a = &lease->public_addr;

	return ip_is_v4(a) ? use_of(c, load_be32(ip_v4_bytes(a))) : NULL;
}

void ctl_pool_lease_opened(struct ctl *c, const struct lease *lease)
{
	struct ctl_pool_use *use = use_of_lease(c, lease);

	if (use != NULL)
		use->n_leases++;
}

void ctl_pool_lease_ended(struct ctl *c, const struct lease *lease)
{
	struct ctl_pool_use *use = use_of_lease(c, lease);

	if (use != NULL)
		use->n_leases--;
}

/* What an address is for, by configuration. */
static const char *role_word(const struct conf *conf, const struct ip_addr *a)
{
	bool is_leases = ip_prefixes_contain(conf->pool, conf->n_pool, a);

	if (conf->n_nat_pool == 0)
		return "both";
	if (is_leases && ip_prefixes_contain(conf->nat_pool, conf->n_nat_pool, a))
		return "both";
	return is_leases ? "leases" : "traffic";
}

static void write_address(struct ctl *c, uint32_t rank, struct rpc_text *t)
{
	uint32_t public_v4 = blocks_addr_at(c->p.blocks, rank);
	struct ip_addr a = ctl_v4_addr(public_v4);
	struct blocks_counts counts = {0};

	blocks_count(c->p.blocks, public_v4, &counts);
	rpc_write_begin(t, NULL, '{');
	ctl_address_write(t, "address", &a);
	rpc_write_text(t, "role", role_word(c->p.conf, &a));
	rpc_write_integer(t, "leases", c->pool_uses[rank].n_leases);
	rpc_write_integer(t, "peers", c->pool_uses[rank].n_peers);
	rpc_write_integer(t, "blocks", counts.total);
	rpc_write_integer(t, "owned", counts.owned);
	rpc_write_integer(t, "resting", counts.resting);
	rpc_write_integer(t, "free", counts.total - counts.owned - counts.resting);
	rpc_write_end(t, '}');
}

/* --- addresses that leases have whole: none of the blocks --- */

/* Its one lease, if it has one, and the peer of that, whose traffic leaves by it. */
static void write_dedicated(struct ctl *c, uint64_t nth, struct rpc_text *t)
{
	static const char *const of_blocks[] = {"blocks", "owned", "resting", "free"};
	const struct conf *conf = c->p.conf;
	struct ip_addr a = ip_prefixes_at(conf->dedicated, conf->n_dedicated, nth);
	bool is_leased = lease_find_public(c->p.leases, &a, LEASE_PROTO_BOTH, 0) != NULL;

	rpc_write_begin(t, NULL, '{');
	ctl_address_write(t, "address", &a);
	rpc_write_text(t, "role", "dedicated");
	rpc_write_integer(t, "leases", is_leased);
	rpc_write_integer(t, "peers", is_leased);
	for (unsigned i = 0; i < sizeof(of_blocks) / sizeof(of_blocks[0]); i++)
		rpc_write_integer(t, of_blocks[i], 0);
	rpc_write_end(t, '}');
}

/* With blocks of ports; the dedicated ones come after them. */
static uint64_t count_of_blocks(const struct ctl *c)
{
	return c->p.blocks != NULL ? blocks_addrs(c->p.blocks) : 0;
}

static uint64_t count_addresses(const struct ctl *c)
{
	return count_of_blocks(c) + ip_prefixes_count(c->p.conf->dedicated, c->p.conf->n_dedicated);
}

/* Of all addresses together; the workers' own counts, each as it stands. */
static void write_totals(struct ctl *c, struct rpc_text *t)
{
	struct flow_counts sum = {0};
	uint64_t sessions_max = 0;

	for (unsigned i = 0; c->p.flows != NULL && i < c->p.n_workers; i++) {
		const struct flow_counts *n = flows_counts(c->p.flows[i]);

		sessions_max += flows_max(c->p.flows[i]);
		sum.sessions += __atomic_load_n(&n->sessions, __ATOMIC_RELAXED);
		sum.mappings += __atomic_load_n(&n->mappings, __ATOMIC_RELAXED);
		sum.resting += __atomic_load_n(&n->resting, __ATOMIC_RELAXED);
		sum.blocks += __atomic_load_n(&n->blocks, __ATOMIC_RELAXED);
	}
	rpc_write_begin(t, "totals", '{');
	rpc_write_integer(t, "addresses", (int64_t)count_addresses(c));
	rpc_write_integer(t, "leases", lease_count(c->p.leases, UINT32_MAX));
	rpc_write_integer(t, "leases_max", c->p.conf->max_leases);
	rpc_write_integer(t, "peers", peers_count(c->p.peers));
	rpc_write_integer(t, "blocks", c->p.blocks != NULL ? blocks_total(c->p.blocks) : 0);
	rpc_write_integer(t, "blocks_taken", (int64_t)sum.blocks);
	rpc_write_integer(t, "ports_used", (int64_t)sum.mappings);
	rpc_write_integer(t, "ports_resting", (int64_t)sum.resting);
	rpc_write_integer(t, "sessions", (int64_t)sum.sessions);
	rpc_write_integer(t, "sessions_max", (int64_t)sessions_max);
	rpc_write_end(t, '}');
}

static int run_show(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	uint64_t n_addrs = count_addresses(c), n_of_blocks = count_of_blocks(c);
	struct ctl_page page;

	if (ctl_page_get(params, &page, fault) != 0)
		return -EINVAL;
	rpc_write_begin(result, NULL, '{');
	rpc_write_begin(result, "addresses", '[');
	for (uint64_t n = 0; n < page.limit && page.cursor < n_addrs; n++, page.cursor++)
		if (page.cursor < n_of_blocks)
			write_address(c, (uint32_t)page.cursor, result);
		else
			write_dedicated(c, page.cursor - n_of_blocks, result);
	rpc_write_end(result, ']');
	write_totals(c, result);
	if (page.cursor < n_addrs)
		rpc_write_integer(result, "next", (int64_t)page.cursor);
	else
		rpc_write_null(result, "next");
	rpc_write_end(result, '}');
	return 0;
}

static const struct rpc_param show_params[] = {
	{"limit", RPC_INTEGER, false, NULL},
	{"cursor", RPC_INTEGER, false, NULL},
};

const struct ctl_method ctl_pool_methods[] = {
	{"pool.show", false, show_params, sizeof(show_params) / sizeof(show_params[0]),
		.write = run_show},
	{NULL},
};
