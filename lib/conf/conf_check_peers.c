#include "conf/conf_impl.h"
#include "crypto/crypto.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A million peers are compared by sorting, not each with each. */
struct twin {
	uint8_t key[CRYPTO_KEY_BYTES];
	uint32_t idx;
};
static_assert(CONF_NAME_CHARS <= CRYPTO_KEY_BYTES, "a name fits a twin key");

/* Fills a zeroed key; false: this one takes no part. */
typedef bool (*twin_key_fn)(
	const struct conf *c, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES]);
typedef void (*twin_fault_fn)(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx);

static int twin_compare(const void *a, const void *b)
{
	const struct twin *x = a, *y = b;
	int d = memcmp(x->key, y->key, sizeof(x->key));

	return d != 0 ? d : (x->idx > y->idx) - (x->idx < y->idx);
}

/* Calls fault for each of n things whose key an earlier one has. */
static void find_twins(struct conf_ctx *ctx, uint32_t n, twin_key_fn key_of, twin_fault_fn fault)
{
	struct twin *twins;
	uint32_t used = 0, first = 0;

	if (n < 2 || ctx->error != 0)
		return;
	twins = calloc(n, sizeof(*twins));
	if (!twins) {
		ctx->error = -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		twins[used].idx = i;
		if (key_of(ctx->conf, i, twins[used].key))
			used++;
	}
	qsort(twins, used, sizeof(*twins), twin_compare);
	for (uint32_t i = 1; i < used; i++) {
		if (memcmp(twins[i].key, twins[first].key, sizeof(twins[i].key)) == 0)
			fault(ctx, twins[i].idx, twins[first].idx);
		else
			first = i;
	}
	free(twins);
}

/* --- peers ----------------------------------------------------------------------------------- */

/* The key is there with another type: that is its fault, and its value says nothing. */
static bool is_refused(const struct conf_ctx *ctx, uint32_t idx, const char *key, int type)
{
	const config_setting_t *s = conf_at_peer(ctx, idx, key);

	return s && config_setting_name(s) && config_setting_type(s) != type;
}

static bool name_key(const struct conf *c, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	memcpy(key, c->peers[idx].name, CONF_NAME_CHARS);
	return c->peers[idx].name[0] != '\0';
}

static void name_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	conf_fault(ctx, conf_at_peer(ctx, idx, "name"),
		"peers[%u].name = \"%s\" is the name of peers[%u] too; each peer takes a name of "
		"its own",
		idx, ctx->conf->peers[idx].name, first_idx);
}

static bool is_zero(const uint8_t key[static CRYPTO_KEY_BYTES])
{
	static const uint8_t zero[CRYPTO_KEY_BYTES];

	return memcmp(key, zero, sizeof(zero)) == 0;
}

static bool public_key_key(const struct conf *c, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	memcpy(key, c->peers[idx].public_key, CRYPTO_KEY_BYTES);
	return !is_zero(key);
}

static void public_key_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	conf_fault(ctx, conf_at_peer(ctx, idx, "public_key"),
		"peers[%u].public_key is the key of peers[%u] too; each peer takes a key of its "
		"own",
		idx, first_idx);
}

/* Two keys a peer: the even one is its IPv4 address, the odd one its IPv6. */
static bool address_key(const struct conf *c, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	const struct conf_peer *p = &c->peers[idx / 2];
	const struct ip_addr *a = idx % 2 ? &p->address6 : &p->address4;

	memcpy(key, a->bytes, sizeof(a->bytes));
	return !ip_is_none(a);
}

static void address_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf_peer *p = &ctx->conf->peers[idx / 2];
	char text[IP_TEXT_CHARS];

	conf_fault(ctx, conf_at_peer(ctx, idx / 2, "address"),
		"peers[%u].address has %s, which is an address of peers[%u] too; each peer takes "
		"addresses of its own",
		idx / 2, ip_addr_format(idx % 2 ? &p->address6 : &p->address4, text),
		first_idx / 2);
}

static void check_peer_addr(struct conf_ctx *ctx, uint32_t idx, const struct ip_addr *a)
{
	const struct conf *c = ctx->conf;
	const char *why = NULL, *key;
	char text[IP_TEXT_CHARS], in_pool[CONF_VALUE_CHARS];

	if (ip_is_none(a))
		return;
	if (ip_is_martian(a)) {
		why = "which is not a host's address; it takes a unicast address";
	} else if (conf_pool_find(c, a, &key)) {
		snprintf(in_pool, sizeof(in_pool),
			"which is inside %s; it takes an address outside the pool", key);
		why = in_pool;
	}
	if (!why && conf_port_find(c, a) >= 0)
		why = "which is an address of a port of this gateway; it takes an address of the "
		      "peer's own";
	for (unsigned i = 0; i < c->n_inner_addrs && !why; i++) {
		if (ip_equal(&c->inner_addrs[i], a))
			why = "which is in tunnel.inner_addresses; it takes an address of the "
			      "peer's own";
	}
	if (!why && ip_is_gateway_guess(a))
		why = "which ends in .1, where clients of NAT-PMP guess the gateway to be; it "
		      "takes an address that does not";
	if (why)
		conf_fault(ctx, conf_at_peer(ctx, idx, "address"), "peers[%u].address has %s, %s",
			idx, ip_addr_format(a, text), why);
}

static void check_endpoint(struct conf_ctx *ctx, uint32_t idx)
{
	const struct ip_endpoint *e = &ctx->conf->peers[idx].endpoint;
	char text[IP_TEXT_CHARS];
	const char *key;

	if (e->port == 0)
		return;
	if (conf_pool_find(ctx->conf, &e->addr, &key) || conf_port_find(ctx->conf, &e->addr) >= 0)
		conf_fault(ctx, conf_at_peer(ctx, idx, "endpoint"),
			"peers[%u].endpoint = \"%s\" is an address of this gateway; it takes the "
			"peer's",
			idx, ip_endpoint_format(e, text));
}

/* 0 and own; -ENOMEM. */
static int own_public_key(const struct conf *c, uint8_t own[static CRYPTO_KEY_BYTES])
{
	struct crypto_x25519_key *key = crypto_x25519_key_create(c->private_key);

	if (!key)
		return -ENOMEM;
	crypto_x25519_key_public(key, own);
	crypto_x25519_key_destroy(key);
	return 0;
}

static void check_own_key(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;
	uint8_t own[CRYPTO_KEY_BYTES];

	if (is_zero(c->private_key) || c->n_peers == 0)
		return;
	if (own_public_key(c, own) != 0) {
		ctx->error = -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < c->n_peers; i++) {
		if (memcmp(c->peers[i].public_key, own, sizeof(own)) == 0)
			conf_fault(ctx, conf_at_peer(ctx, i, "public_key"),
				"peers[%u].public_key is the public key of this gateway; it takes "
				"the peer's",
				i);
	}
}

void conf_check_peers(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;

	if (c->max_peers > 0 && c->n_peers > c->max_peers)
		conf_fault(ctx, conf_at(ctx, "peers"),
			"peers has %u entries, which is more than tunnel.max_peers = %u; raise it",
			c->n_peers, c->max_peers);
	for (uint32_t i = 0; i < c->n_peers; i++) {
		check_peer_addr(ctx, i, &c->peers[i].address4);
		check_peer_addr(ctx, i, &c->peers[i].address6);
		check_endpoint(ctx, i);
	}
	check_own_key(ctx);
	find_twins(ctx, c->n_peers, name_key, name_fault);
	find_twins(ctx, c->n_peers, public_key_key, public_key_fault);
	find_twins(ctx, 2 * c->n_peers, address_key, address_fault);
}

/* --- leases ---------------------------------------------------------------------------------- */

/* For sentences only: it counts the peers before this one. */
static char *lease_path(
	const struct conf_ctx *ctx, uint32_t idx, char buf[static CONF_KEY_PATH_CHARS])
{
	return conf_key_path(ctx->lease_settings[idx], buf);
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
	return !ip_is_none(a) && l->public_port != 0;
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

/* Two keys a lease, one for each protocol that it has. */
static bool proto_key(const struct conf_lease *l, uint32_t bit, uint16_t port, uint8_t *key)
{
	memcpy(key, &l->peer_idx, sizeof(l->peer_idx));
	memcpy(key + sizeof(l->peer_idx), &port, sizeof(port));
	key[sizeof(l->peer_idx) + sizeof(port)] = (uint8_t)bit;
	return (l->protos & 1u << bit) != 0 && port != 0;
}

static bool own_side_key(const struct conf *c, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	return proto_key(&c->leases[idx / 2], idx % 2, c->leases[idx / 2].public_port, key);
}

static bool inner_side_key(const struct conf *c, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	return proto_key(&c->leases[idx / 2], idx % 2, c->leases[idx / 2].inner_port, key);
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

static void check_lease(struct conf_ctx *ctx, uint32_t idx)
{
	const struct conf *c = ctx->conf;
	const struct conf_lease *l = &c->leases[idx];
	const struct conf_peer *peer = &c->peers[l->peer_idx];
	const config_setting_t *at = ctx->lease_settings[idx];
	char path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS];

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
	if (ip_is_none(&peer->address4) && !ip_is_none(&peer->address6))
		conf_fault(ctx, at,
			"%s needs an IPv4 address of its peer, as public.pool has; give one in "
			"peers[%u].address",
			lease_path(ctx, idx, path), l->peer_idx);
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
		if (ip_is_none(&l->public_addr))
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
	find_twins(ctx, c->n_leases, public_side_key, public_side_fault);
	find_twins(ctx, 2 * c->n_leases, own_side_key, own_side_fault);
	find_twins(ctx, 2 * c->n_leases, inner_side_key, inner_side_fault);
}
