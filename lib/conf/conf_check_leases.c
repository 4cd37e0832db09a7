/* The leases of peers: what each takes, and that none takes what is another's. */
#include "conf/conf_impl.h"

#include <assert.h>
#include <string.h>

/* For sentences only: it counts the peers before this one. */
static char *lease_path(
	const struct conf_ctx *ctx, uint32_t idx, char buf[static CONF_KEY_PATH_CHARS])
{
	return conf_key_path(ctx->lease_settings[idx], buf);
}

/* Where it leads: zero when that was refused. */
static const struct ip_addr *inner_addr(const struct conf *c, const struct conf_lease *l)
{
	const struct conf_peer *p = &c->peers[l->peer_idx];

	if (!ip_is_none(&l->inner_addr))
		return &l->inner_addr;
	return ip_is_none(&p->address4) ? &p->address6 : &p->address4;
}

/* IPv6 is not translated: the public side of such a lease is its inner side. */
static bool is_pinhole(const struct conf *c, const struct conf_lease *l)
{
	const struct ip_addr *a = inner_addr(c, l);

	return !ip_is_none(a) && !ip_is_v4(a);
}

/* Where a lease without an address will be, if there is no choice. */
static const struct ip_addr *lease_addr(const struct conf *c, const struct conf_lease *l)
{
	bool is_single = c->n_pool == 1 && c->pool[0].len_bits == 128;

	return ip_is_none(&l->public_addr) && is_single ? &c->pool[0].addr : &l->public_addr;
}

static bool public_side_key(
	const struct conf *c, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	const struct conf_lease *l = &c->leases[idx];
	const struct ip_addr *a = lease_addr(c, l);

	memcpy(key, a->bytes, sizeof(a->bytes));
	memcpy(key + sizeof(a->bytes), &l->public_port, sizeof(l->public_port));
	return !ip_is_none(a) && l->public_port != 0 && !is_pinhole(c, l);
}

static void public_side_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf *c = ctx->conf;
	char path[CONF_KEY_PATH_CHARS], first_path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS];

	if (c->leases[idx].peer_idx == c->leases[first_idx].peer_idx)
		return; /* may share a number between TCP and UDP: own_side_key looks at that */
	conf_fault(ctx, ctx->lease_settings[idx],
		"%s takes port %u of %s, which %s of another peer has; a port belongs to one "
		"peer, for TCP and UDP together",
		lease_path(ctx, idx, path), c->leases[idx].public_port,
		ip_addr_format(lease_addr(c, &c->leases[idx]), text),
		lease_path(ctx, first_idx, first_path));
}

/* Two keys a lease, one for each protocol that it has. addr: zero on the public side, where a peer
 * has but one. */
static bool proto_key(const struct conf_lease *l, uint32_t bit, const struct ip_addr *addr,
	uint16_t port, uint8_t *key)
{
	static_assert(sizeof(l->peer_idx) + sizeof(port) + sizeof(*addr) + 1 <= CRYPTO_KEY_BYTES,
		"it fits a twin key");

	memcpy(key, &l->peer_idx, sizeof(l->peer_idx));
	key += sizeof(l->peer_idx);
	memcpy(key, &port, sizeof(port));
	key += sizeof(port);
	memcpy(key, addr, sizeof(*addr));
	key[sizeof(*addr)] = (uint8_t)bit;
	return (l->protos & 1u << bit) != 0 && port != 0;
}

static bool own_side_key(const struct conf *c, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	static const struct ip_addr none;
	const struct conf_lease *l = &c->leases[idx / 2];

	return !is_pinhole(c, l) && proto_key(l, idx % 2, &none, l->public_port, key);
}

static bool inner_side_key(const struct conf *c, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	const struct conf_lease *l = &c->leases[idx / 2];

	return proto_key(l, idx % 2, inner_addr(c, l), l->inner_port, key);
}

/* Of two leases for TCP and UDP only the TCP half is reported. */
static bool is_second_half(const struct conf *c, uint32_t idx, uint32_t first_idx)
{
	return idx % 2 == 1 &&
	       (c->leases[idx / 2].protos & c->leases[first_idx / 2].protos & 1) != 0;
}

static void own_side_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf *c = ctx->conf;
	char path[CONF_KEY_PATH_CHARS], first_path[CONF_KEY_PATH_CHARS];

	if (is_second_half(c, idx, first_idx))
		return;
	conf_fault(ctx, ctx->lease_settings[idx / 2],
		"%s.public_port = %u is the public port of %s too; each lease of a protocol takes "
		"a port of its own",
		lease_path(ctx, idx / 2, path), c->leases[idx / 2].public_port,
		lease_path(ctx, first_idx / 2, first_path));
}

static void inner_side_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf *c = ctx->conf;
	char path[CONF_KEY_PATH_CHARS], first_path[CONF_KEY_PATH_CHARS];

	if (is_second_half(c, idx, first_idx))
		return;
	conf_fault(ctx, ctx->lease_settings[idx / 2],
		"%s.to_port = %u is the target of %s too; a port of a peer takes one lease for "
		"each protocol",
		lease_path(ctx, idx / 2, path), c->leases[idx / 2].inner_port,
		lease_path(ctx, first_idx / 2, first_path));
}

/* nat.pool has no leases. */
static bool is_lease_addr(const struct conf *c, const struct ip_addr *a)
{
	const char *key;
	const struct ip_prefix *p = conf_pool_find(c, a, &key);

	return p >= c->pool && p < c->pool + c->n_pool;
}

static void check_pinhole(struct conf_ctx *ctx, uint32_t idx)
{
	const struct conf *c = ctx->conf;
	const struct conf_lease *l = &c->leases[idx];
	const config_setting_t *at = ctx->lease_settings[idx];
	char path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS];

	if (!ip_is_none(&l->public_addr) && !ip_equal(&l->public_addr, inner_addr(c, l)))
		conf_fault(ctx, at,
			"%s.public_address = \"%s\" is not where the lease leads to, and IPv6 is "
			"not translated; it takes none",
			lease_path(ctx, idx, path), ip_addr_format(&l->public_addr, text));
	if (l->public_port != 0 && l->public_port != l->inner_port)
		conf_fault(ctx, at,
			"%s.public_port = %u is not the port that the lease leads to, and IPv6 is "
			"not translated; it takes none",
			lease_path(ctx, idx, path), l->public_port);
	if (l->inner_port != 0 && conf_is_denied(c, l->inner_port))
		conf_fault(ctx, at,
			"%s.to_port = %u is in leases.deny; it takes a port that is not",
			lease_path(ctx, idx, path), l->inner_port);
}

static void check_number(struct conf_ctx *ctx, uint32_t idx)
{
	const struct conf *c = ctx->conf;
	const struct conf_lease *l = &c->leases[idx];
	const config_setting_t *at = ctx->lease_settings[idx];
	char path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS];

	if (!config_setting_get_member(at, "public_port"))
		conf_fault(ctx, at, "%s.public_port is missing; it takes one of leases.ports",
			lease_path(ctx, idx, path));
	if (c->lease_port_first > 0 && l->public_port != 0 &&
		(l->public_port < c->lease_port_first || l->public_port > c->lease_port_last))
		conf_fault(ctx, at,
			"%s.public_port = %u is outside leases.ports = \"%u-%u\"; it takes a port "
			"of that range",
			lease_path(ctx, idx, path), l->public_port, c->lease_port_first,
			c->lease_port_last);
	if (conf_is_denied(c, l->public_port))
		conf_fault(ctx, at,
			"%s.public_port = %u is in leases.deny; it takes a port that is not",
			lease_path(ctx, idx, path), l->public_port);
	if (!ip_is_none(&l->public_addr) && c->n_pool > 0 && !is_lease_addr(c, &l->public_addr))
		conf_fault(ctx, at,
			"%s.public_address = \"%s\" is not in public.pool; it takes an address of "
			"the pool",
			lease_path(ctx, idx, path), ip_addr_format(&l->public_addr, text));
}

static bool is_peers(const struct conf_peer *p, const struct ip_addr *a)
{
	if (ip_equal(a, &p->address4) || ip_equal(a, &p->address6))
		return true;
	for (unsigned i = 0; i < p->n_routes; i++)
		if (ip_prefix_contains(&p->routes[i], a))
			return true;
	return false;
}

static void check_lease(struct conf_ctx *ctx, uint32_t idx)
{
	const struct conf *c = ctx->conf;
	const struct conf_lease *l = &c->leases[idx];
	const struct conf_peer *peer = &c->peers[l->peer_idx];
	char path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS];
	bool has_addr = !ip_is_none(&peer->address4) || !ip_is_none(&peer->address6);

	if (is_pinhole(c, l))
		check_pinhole(ctx, idx);
	else
		check_number(ctx, idx);
	if (has_addr && !ip_is_none(&l->inner_addr) && !is_peers(peer, &l->inner_addr))
		conf_fault(ctx, ctx->lease_settings[idx],
			"%s.to_address = \"%s\" is not its peer's; it takes an address of "
			"peers[%u].address, or one that its routes contain",
			lease_path(ctx, idx, path), ip_addr_format(&l->inner_addr, text),
			l->peer_idx);
}

/* The key is there with another type: that is its fault, and its value says nothing. */
static bool is_refused(const struct conf_ctx *ctx, uint32_t idx, const char *key, int type)
{
	const config_setting_t *s = conf_at_peer(ctx, idx, key);

	return s && config_setting_name(s) && config_setting_type(s) != type;
}

/* Leases of one peer are neighbours: they are read together. */
static uint32_t check_peer_leases(struct conf_ctx *ctx, uint32_t first)
{
	const struct conf *c = ctx->conf;
	uint32_t peer_idx = c->leases[first].peer_idx, end = first;
	const struct conf_peer *peer = &c->peers[peer_idx];
	const struct ip_addr *addr = NULL;
	char path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS], other[IP_TEXT_CHARS];

	for (; end < c->n_leases && c->leases[end].peer_idx == peer_idx; end++) {
		const struct conf_lease *l = &c->leases[end];

		check_lease(ctx, end);
		if (ip_is_none(&l->public_addr) || is_pinhole(c, l))
			continue;
		if (addr && !ip_equal(addr, &l->public_addr))
			conf_fault(ctx, ctx->lease_settings[end],
				"%s.public_address = \"%s\" differs from %s of the peer's other "
				"leases; all leases of a peer take one public address",
				lease_path(ctx, end, path), ip_addr_format(&l->public_addr, text),
				ip_addr_format(addr, other));
		if (!addr)
			addr = &l->public_addr;
	}
	if (!peer->forwarding && !is_refused(ctx, peer_idx, "forwarding", CONFIG_TYPE_BOOL))
		conf_fault(ctx, conf_at_peer(ctx, peer_idx, "leases"),
			"peers[%u].leases is not empty, but forwarding is off for this peer; it "
			"takes forwarding = true",
			peer_idx);
	if (end - first > peer->max_leases)
		conf_fault(ctx, conf_at_peer(ctx, peer_idx, "leases"),
			"peers[%u].leases has %u %s, which is more than its max_leases = %u; "
			"raise it or leases.max_per_peer",
			peer_idx, end - first, end - first == 1 ? "entry" : "entries",
			peer->max_leases);
	return end;
}

void conf_check_leases(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;

	for (uint32_t i = 0; i < c->n_leases;)
		i = check_peer_leases(ctx, i);
	if (c->max_leases > 0 && c->n_leases > c->max_leases)
		conf_fault(ctx, conf_at(ctx, "peers"),
			"peers have %u leases between them, which is more than leases.max = %u; "
			"raise it",
			c->n_leases, c->max_leases);
	conf_find_twins(ctx, c->n_leases, public_side_key, public_side_fault);
	conf_find_twins(ctx, 2 * c->n_leases, own_side_key, own_side_fault);
	conf_find_twins(ctx, 2 * c->n_leases, inner_side_key, inner_side_fault);
}
