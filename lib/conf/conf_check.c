#include "conf/conf_impl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define V4_BITS_OFFSET 96
#define POOL_ADDRS_MAX 65536u

/* What WireGuard adds to an inner packet: outer IP, UDP, data header, tag (paper, section 5.4.6).
 */
#define OVERHEAD_V4_BYTES (20 + 8 + 16 + 16)
#define OVERHEAD_V6_BYTES (40 + 8 + 16 + 16)

/* A DPDK mbuf with room for one frame, and its share of the pool's own lists. */
#define MBUF_BYTES 2432u

const config_setting_t *conf_at(const struct conf_ctx *ctx, const char *path)
{
	return config_setting_lookup((config_setting_t *)ctx->root, path);
}

const config_setting_t *conf_at_elem(const config_setting_t *list, unsigned idx)
{
	return list ? config_setting_get_elem(list, idx) : NULL;
}

const config_setting_t *conf_at_port(const struct conf_ctx *ctx, unsigned port_idx, const char *key)
{
	const config_setting_t *port = conf_at_elem(conf_at(ctx, "ports"), port_idx);
	const config_setting_t *s =
		port && config_setting_is_group(port) ? config_setting_get_member(port, key) : NULL;

	return s ? s : port;
}

const config_setting_t *conf_at_peer(const struct conf_ctx *ctx, uint32_t idx, const char *key)
{
	const config_setting_t *peer = conf_at_elem(conf_at(ctx, "peers"), idx);
	const config_setting_t *s =
		peer && config_setting_is_group(peer) ? config_setting_get_member(peer, key) : NULL;

	return s ? s : peer;
}

struct conf_pool conf_pool_get(const struct conf *c, unsigned pool_idx)
{
	switch (pool_idx) {
	case 0:
		return (struct conf_pool){"public.pool", c->pool, c->n_pool};
	case 1:
		return (struct conf_pool){"nat.pool", c->nat_pool, c->n_nat_pool};
	default:
		return (struct conf_pool){"public.dedicated", c->dedicated, c->n_dedicated};
	}
}

const struct ip_prefix *conf_pool_find(
	const struct conf *c, const struct ip_addr *a, const char **key)
{
	for (unsigned k = 0; k < CONF_POOLS; k++) {
		struct conf_pool pool = conf_pool_get(c, k);

		*key = pool.key;
		for (unsigned i = 0; i < pool.n; i++) {
			/* len 0: refused before */
			if (pool.prefixes[i].len_bits > 0 &&
				ip_prefix_contains(&pool.prefixes[i], a))
				return &pool.prefixes[i];
		}
	}
	return NULL;
}

int conf_port_find(const struct conf *c, const struct ip_addr *a)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		for (unsigned j = 0; j < c->ports[i].n_ifaddrs; j++) {
			if (ip_equal(&c->ports[i].ifaddrs[j].addr, a))
				return (int)i;
		}
	}
	return -1;
}

void conf_check_host(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;
	unsigned long long need_mb = (unsigned long long)c->n_mbufs * MBUF_BYTES >> 20;

	if (c->memory_mb > 0 && need_mb > c->memory_mb)
		conf_fault(ctx, conf_at(ctx, "eal.mbufs") ?: conf_at(ctx, "eal.memory_mb"),
			"eal.mbufs = %u packet buffers need %llu MiB, which is more than "
			"eal.memory_mb = %u; raise the one or lower the other",
			c->n_mbufs, need_mb, c->memory_mb);
	if (c->n_lcores > 0 && c->home_shift >= c->n_lcores - 1 && c->home_shift > 0)
		conf_fault(ctx, conf_at(ctx, "testing.home_shift"),
			"testing.home_shift = %u needs more workers than eal.lcores gives; it "
			"takes less than %u",
			c->home_shift, c->n_lcores - 1);
}

/* --- ports ----------------------------------------------------------------------------------- */

/* Two spellings of one PCI address, or one virtual device with other arguments, are one device. */
static bool is_same_device(const char *a, const char *b)
{
	size_t a_len, b_len;

	a += strncmp(a, "pci:", 4) == 0 ? 4 : 0;
	b += strncmp(b, "pci:", 4) == 0 ? 4 : 0;
	a += strncmp(a, "0000:", 5) == 0 ? 5 : 0;
	b += strncmp(b, "0000:", 5) == 0 ? 5 : 0;
	a_len = strcspn(a, ",");
	b_len = strcspn(b, ",");
	return a_len == b_len && strncasecmp(a, b, a_len) == 0;
}

static void check_port_twins(struct conf_ctx *ctx, unsigned i)
{
	const struct conf_port *p = &ctx->conf->ports[i];
	char value[CONF_VALUE_CHARS];

	for (unsigned j = 0; j < i; j++) {
		const struct conf_port *q = &ctx->conf->ports[j];
		const config_setting_t *s = conf_at_port(ctx, i, "device");

		if (p->name[0] && strcmp(p->name, q->name) == 0)
			conf_fault(ctx, conf_at_port(ctx, i, "name"),
				"ports[%u].name = \"%s\" is the name of ports[%u] too; each port "
				"takes a name of its own",
				i, p->name, j);
		if (p->device[0] && is_same_device(p->device, q->device))
			conf_fault(ctx, s,
				"ports[%u].device = %s is the device of ports[%u] too; one port "
				"with both roles uses a device for both",
				i, conf_value_text(s, value), j);
	}
}

static void check_role(
	struct conf_ctx *ctx, const char *role, bool is_of_port(const struct conf_port *))
{
	int first = -1;

	for (unsigned i = 0; i < ctx->conf->n_ports; i++) {
		if (!is_of_port(&ctx->conf->ports[i]))
			continue;
		if (first >= 0)
			conf_fault(ctx, conf_at_port(ctx, i, "roles"),
				"ports[%u].roles has \"%s\", which ports[%d] has too; exactly one "
				"port takes each role",
				i, role, first);
		else
			first = (int)i;
	}
	/* After another fault it may well have been meant to have it. */
	if (first < 0 && ctx->n_faults == 0)
		conf_fault(ctx, conf_at(ctx, "ports"),
			"ports has no port with the role \"%s\"; exactly one port takes each role",
			role);
}

static bool is_tunnel(const struct conf_port *p)
{
	return p->is_tunnel;
}

static bool is_public(const struct conf_port *p)
{
	return p->is_public;
}

/* The all-zeros and all-ones hosts of an IPv4 link (RFC 1122, 3.2.1.3); a /31 has none (RFC 3021).
 */
static bool is_link_edge(const struct ip_ifaddr *link, const struct ip_addr *a)
{
	struct ip_prefix p = ip_ifaddr_prefix(link);
	bool is_zeros = true, is_ones = true;

	if (!ip_is_v4(a) || link->len_bits > 126 || !ip_prefix_contains(&p, a))
		return false;
	for (unsigned bit = link->len_bits; bit < 128; bit++) {
		if (a->bytes[bit / 8] & (0x80u >> bit % 8))
			is_zeros = false;
		else
			is_ones = false;
	}
	return is_zeros || is_ones;
}

/* True as well when a link is not known, because its address was refused. */
static bool is_on_link(const struct conf_port *p, const struct ip_addr *a)
{
	static const uint8_t link_local[2] = {0xfe, 0x80};
	bool is_known = p->n_ifaddrs > 0;

	if (memcmp(a->bytes, link_local, sizeof(link_local)) == 0)
		return true;
	for (unsigned i = 0; i < p->n_ifaddrs; i++) {
		struct ip_prefix link = ip_ifaddr_prefix(&p->ifaddrs[i]);

		if (ip_is_none(&p->ifaddrs[i].addr))
			is_known = false;
		else if (ip_prefix_contains(&link, a))
			return true;
	}
	return !is_known;
}

/* Earlier in the file: on an earlier port, or before on the same one. */
static bool is_seen_before(const struct conf *c, unsigned port_idx, unsigned addr_idx)
{
	const struct ip_addr *a = &c->ports[port_idx].ifaddrs[addr_idx].addr;

	for (unsigned i = 0; i <= port_idx; i++) {
		unsigned n = i == port_idx ? addr_idx : c->ports[i].n_ifaddrs;

		for (unsigned j = 0; j < n; j++) {
			if (ip_equal(&c->ports[i].ifaddrs[j].addr, a))
				return true;
		}
	}
	return false;
}

static void check_port_addr(struct conf_ctx *ctx, unsigned i, unsigned j)
{
	const struct conf_port *p = &ctx->conf->ports[i];
	const struct ip_ifaddr *a = &p->ifaddrs[j];
	const config_setting_t *s = conf_at_elem(conf_at_port(ctx, i, "addresses"), j);
	const char *key;
	const struct ip_prefix *pool = conf_pool_find(ctx->conf, &a->addr, &key);
	char path[CONF_KEY_PATH_CHARS], value[CONF_VALUE_CHARS], prefix[IP_TEXT_CHARS];

	conf_key_path(s, path);
	conf_value_text(s, value);
	if (ip_is_martian(&a->addr) || is_link_edge(a, &a->addr))
		conf_fault(ctx, s, "%s = %s is not a host's address; it takes a unicast address",
			path, value);
	else if (is_seen_before(ctx->conf, i, j))
		conf_fault(ctx, s, "%s = %s is given twice; each address belongs to one port, once",
			path, value);
	else if (pool && p->is_tunnel)
		conf_fault(ctx, s,
			"%s = %s is an entry address inside %s %s: a client's packets to "
			"it go around the tunnel, so a lease there would show its real address "
			"(Port Fail); it takes an address outside the pool",
			path, value, key, ip_prefix_format(pool, prefix));
	else if (pool)
		conf_fault(ctx, s,
			"%s = %s is inside %s %s, whose ports belong to peers; it takes "
			"an address outside the pool",
			path, value, key, ip_prefix_format(pool, prefix));
}

static void check_gateway(struct conf_ctx *ctx, unsigned i, const struct ip_addr *gw)
{
	const config_setting_t *s = conf_at_port(ctx, i, "gateways");
	char text[IP_TEXT_CHARS];
	const char *key;

	if (ip_is_none(gw))
		return;
	ip_addr_format(gw, text);
	if (conf_port_find(ctx->conf, gw) >= 0)
		conf_fault(ctx, s,
			"ports[%u].gateways has %s, which is an address of this gateway itself; "
			"it takes the router's",
			i, text);
	else if (conf_pool_find(ctx->conf, gw, &key))
		conf_fault(ctx, s,
			"ports[%u].gateways has %s, which is inside %s; it takes an "
			"address outside the pool",
			i, text, key);
	else if (!is_on_link(&ctx->conf->ports[i], gw))
		conf_fault(ctx, s,
			"ports[%u].gateways has %s, which is not on the link; it takes an address "
			"within the prefixes of ports[%u].addresses",
			i, text, i);
}

static bool has_family(const struct conf_port *p, bool v4)
{
	for (unsigned i = 0; i < p->n_ifaddrs; i++) {
		if (!ip_is_none(&p->ifaddrs[i].addr) && ip_is_v4(&p->ifaddrs[i].addr) == v4)
			return true;
	}
	return false;
}

/* A tunnel packet is never fragmented by us, so the inner MTU has to leave room for the outer. */
static void check_inner_mtu(struct conf_ctx *ctx, unsigned i)
{
	const struct conf *c = ctx->conf;
	const struct conf_port *p = &c->ports[i];
	int overhead_bytes = has_family(p, false) ? OVERHEAD_V6_BYTES : OVERHEAD_V4_BYTES;
	const config_setting_t *s = conf_at(ctx, "tunnel.inner_mtu");

	if (p->mtu_bytes == 0 || p->n_ifaddrs == 0 ||
		c->inner_mtu_bytes + overhead_bytes <= p->mtu_bytes)
		return;
	conf_fault(ctx, s ? s : conf_at_port(ctx, i, "mtu"),
		"tunnel.inner_mtu = %u does not fit ports[%u].mtu = %u with %d bytes of tunnel "
		"header; it takes at most %d",
		c->inner_mtu_bytes, i, p->mtu_bytes, overhead_bytes, p->mtu_bytes - overhead_bytes);
}

void conf_check_ports(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;

	check_role(ctx, "tunnel", is_tunnel);
	check_role(ctx, "public", is_public);
	for (unsigned i = 0; i < c->n_ports; i++) {
		const struct conf_port *p = &c->ports[i];

		check_port_twins(ctx, i);
		for (unsigned j = 0; j < p->n_ifaddrs; j++) {
			if (!ip_is_none(&p->ifaddrs[j].addr))
				check_port_addr(ctx, i, j);
		}
		check_gateway(ctx, i, &p->gateway4);
		check_gateway(ctx, i, &p->gateway6);
		if (p->is_tunnel)
			check_inner_mtu(ctx, i);
		if (p->is_public && p->n_ifaddrs > 0 && !has_family(p, true) && ctx->n_faults == 0)
			conf_fault(ctx, conf_at_port(ctx, i, "addresses"),
				"ports[%u].addresses has no IPv4 address; the public port needs "
				"one to reach the next hop of public.pool",
				i);
	}
}

/* --- pool ------------------------------------------------------------------------------------ */

/* Never an Internet address of one host: RFC 6890, less the blocks that laboratories and carriers
 * do translate to (private, shared, documentation, benchmarking). */
static const struct {
	const char *prefix, *what;
} reserved[] = {
	{"0.0.0.0/8", "\"this network\""},
	{"127.0.0.0/8", "loopback"},
	{"169.254.0.0/16", "link-local"},
	{"192.0.0.0/24", "for protocol assignments"},
	{"224.0.0.0/4", "multicast"},
	{"240.0.0.0/4", "reserved"},
};

static void check_pool_reserved(
	struct conf_ctx *ctx, const struct conf_pool *pool, unsigned i, const config_setting_t *s)
{
	char value[CONF_VALUE_CHARS];

	for (unsigned r = 0; r < sizeof(reserved) / sizeof(reserved[0]); r++) {
		struct ip_prefix p;
		int rc = ip_prefix_parse(reserved[r].prefix, &p);

		assert(rc == 0);
		if (rc != 0 || !ip_prefix_overlaps(&p, &pool->prefixes[i]))
			continue;
		conf_fault(ctx, s,
			"%s[%u] = %s overlaps %s, which is %s; it takes unicast "
			"addresses that are routed here",
			pool->key, i, conf_value_text(s, value), reserved[r].prefix,
			reserved[r].what);
		return;
	}
}

/* An address that hosts on the link take for a broadcast can not be a peer's. */
static void check_pool_edges(
	struct conf_ctx *ctx, const struct conf_pool *pool, unsigned i, const config_setting_t *s)
{
	const struct conf *c = ctx->conf;
	const struct ip_prefix *p = &pool->prefixes[i];
	char value[CONF_VALUE_CHARS], text[IP_TEXT_CHARS], edge[IP_TEXT_CHARS];

	for (unsigned n = 0; n < c->n_ports; n++) {
		for (unsigned j = 0; j < c->ports[n].n_ifaddrs; j++) {
			const struct ip_ifaddr *a = &c->ports[n].ifaddrs[j];
			struct ip_prefix link = ip_ifaddr_prefix(a);
			struct ip_addr first = link.addr, last = link.addr;

			if (ip_is_none(&a->addr) || !ip_is_v4(&a->addr) || a->len_bits > 126)
				continue;
			for (unsigned bit = a->len_bits; bit < 128; bit++)
				last.bytes[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
			if (!ip_prefix_contains(p, &first) && !ip_prefix_contains(p, &last))
				continue;
			ip_addr_format(ip_prefix_contains(p, &first) ? &first : &last, edge);
			conf_fault(ctx, s,
				"%s[%u] = %s contains %s, the network or broadcast "
				"address of the link %s of ports[%u]; it takes prefixes without it",
				pool->key, i, conf_value_text(s, value), edge,
				ip_prefix_format(&link, text), n);
			return;
		}
	}
}

/* With what stands before it: in its own pool, or in the other. */
static void check_pool_twins(
	struct conf_ctx *ctx, unsigned pool_idx, unsigned i, const config_setting_t *s)
{
	struct conf_pool own = conf_pool_get(ctx->conf, pool_idx);
	char value[CONF_VALUE_CHARS];

	for (unsigned k = 0; k <= pool_idx; k++) {
		struct conf_pool other = conf_pool_get(ctx->conf, k);
		unsigned n = k == pool_idx ? i : other.n;

		for (unsigned j = 0; j < n; j++) {
			if (other.prefixes[j].len_bits == 0 ||
				!ip_prefix_overlaps(&own.prefixes[i], &other.prefixes[j]))
				continue;
			conf_fault(ctx, s,
				"%s[%u] = %s overlaps %s[%u]; it takes prefixes that are disjoint",
				own.key, i, conf_value_text(s, value), other.key, j);
		}
	}
}

void conf_check_pools(struct conf_ctx *ctx)
{
	for (unsigned k = 0; k < CONF_POOLS; k++) {
		struct conf_pool pool = conf_pool_get(ctx->conf, k);
		const config_setting_t *list = conf_at(ctx, pool.key);
		uint64_t total = 0;

		for (unsigned i = 0; i < pool.n; i++) {
			const config_setting_t *s = conf_at_elem(list, i);

			if (pool.prefixes[i].len_bits == 0) /* refused before */
				continue;
			total += 1ull << (128 - pool.prefixes[i].len_bits);
			check_pool_twins(ctx, k, i, s);
			check_pool_reserved(ctx, &pool, i, s);
			check_pool_edges(ctx, &pool, i, s);
		}
		if (total > POOL_ADDRS_MAX)
			conf_fault(ctx, list,
				"%s has %llu addresses; it takes at most %u in all its prefixes",
				pool.key, (unsigned long long)total, POOL_ADDRS_MAX);
	}
}

/* --- tunnel, leases -------------------------------------------------------------------------- */

static void check_inner_addr(struct conf_ctx *ctx, unsigned i)
{
	const struct conf *c = ctx->conf;
	const struct ip_addr *a = &c->inner_addrs[i];
	const config_setting_t *s = conf_at_elem(conf_at(ctx, "tunnel.inner_addresses"), i);
	char path[CONF_KEY_PATH_CHARS], value[CONF_VALUE_CHARS];
	bool is_twin = false;
	const char *key;

	for (unsigned j = 0; j < i; j++)
		is_twin |= ip_equal(&c->inner_addrs[j], a);
	conf_key_path(s, path);
	conf_value_text(s, value);
	if (ip_is_martian(a))
		conf_fault(ctx, s, "%s = %s is not a host's address; it takes a unicast address",
			path, value);
	else if (is_twin)
		conf_fault(
			ctx, s, "%s = %s is given twice; it takes each address once", path, value);
	else if (conf_pool_find(c, a, &key))
		conf_fault(ctx, s,
			"%s = %s is inside %s, which faces the Internet; it takes an "
			"address outside the pool",
			path, value, key);
	else if (conf_port_find(c, a) >= 0)
		conf_fault(ctx, s,
			"%s = %s is an address of ports[%d]; it takes one that only the tunnel has",
			path, value, conf_port_find(c, a));
	if (!ip_is_v4(a) && c->inner_mtu_bytes > 0 && c->inner_mtu_bytes < 1280)
		conf_fault(ctx, conf_at(ctx, "tunnel.inner_mtu"),
			"tunnel.inner_mtu = %u is too small for IPv6 inside the tunnel (%s); it "
			"takes at least 1280",
			c->inner_mtu_bytes, value);
}

static void check_timers(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;
	char a[TIME_DURATION_CHARS], b[TIME_DURATION_CHARS], d[TIME_DURATION_CHARS];
	const config_setting_t *s = conf_at(ctx, "tunnel.timers");

	if (c->rekey_after_ns == 0 || c->reject_after_ns == 0 || c->keepalive_ns == 0 ||
		c->rekey_timeout_ns == 0 || c->rekey_attempt_ns == 0)
		return;
	time_duration_format(c->reject_after_ns, a);
	if (c->reject_after_ns <= c->rekey_after_ns)
		conf_fault(ctx, s,
			"tunnel.timers.reject_after = \"%s\" is not longer than rekey_after = "
			"\"%s\"; a key has to be replaced before it is refused",
			a, time_duration_format(c->rekey_after_ns, b));
	/* The receiver rekeys at reject_after - keepalive - rekey_timeout (paper, section 6.2). */
	else if (c->reject_after_ns <= c->keepalive_ns + c->rekey_timeout_ns)
		conf_fault(ctx, s,
			"tunnel.timers.reject_after = \"%s\" is not longer than keepalive = "
			"\"%s\" and rekey_timeout = \"%s\" together; the receiver's rekey needs "
			"the time between",
			a, time_duration_format(c->keepalive_ns, b),
			time_duration_format(c->rekey_timeout_ns, d));
	if (c->rekey_attempt_ns < c->rekey_timeout_ns)
		conf_fault(ctx, s,
			"tunnel.timers.rekey_attempt = \"%s\" is shorter than rekey_timeout = "
			"\"%s\"; it takes at least that, for one attempt",
			time_duration_format(c->rekey_attempt_ns, a),
			time_duration_format(c->rekey_timeout_ns, b));
}

void conf_check_tunnel(struct conf_ctx *ctx)
{
	for (unsigned i = 0; i < ctx->conf->n_inner_addrs; i++) {
		if (!ip_is_none(&ctx->conf->inner_addrs[i]))
			check_inner_addr(ctx, i);
	}
	check_timers(ctx);
}

bool conf_is_denied(const struct conf *c, uint16_t port)
{
	for (unsigned i = 0; i < c->n_deny; i++)
		if (c->deny[i].first <= port && port <= c->deny[i].last)
			return true;
	return false;
}

static void check_deny(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;

	if (c->lease_port_first == 0)
		return;
	for (uint32_t port = c->lease_port_first; port <= c->lease_port_last; port++)
		if (!conf_is_denied(c, (uint16_t)port))
			return;
	conf_fault(ctx, conf_at(ctx, "leases.deny"),
		"leases.deny leaves no port of leases.ports = \"%u-%u\"; it takes ports of which "
		"one at least is left",
		c->lease_port_first, c->lease_port_last);
}

void conf_check_history(struct conf_ctx *ctx)
{
	if (ctx->conf->history_mode == CONF_HISTORY_FULL && ctx->conf->store_path[0] == '\0')
		conf_fault(ctx, conf_at(ctx, "history.mode"),
			"history.mode = \"full\" has nowhere to keep records; it takes store.path, "
			"or \"none\"");
}

void conf_check_lease_rules(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;
	char a[TIME_DURATION_CHARS], b[TIME_DURATION_CHARS];

	check_deny(ctx);
	if (c->default_ttl_ns == 0 || c->max_ttl_ns == 0 || c->default_ttl_ns <= c->max_ttl_ns)
		return;
	conf_fault(ctx, conf_at(ctx, "leases.default_ttl") ?: conf_at(ctx, "leases"),
		"leases.default_ttl = \"%s\" is longer than leases.max_ttl = \"%s\"; it takes at "
		"most that",
		time_duration_format(c->default_ttl_ns, a), time_duration_format(c->max_ttl_ns, b));
}
