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

static int twin_compare(const void *a, const void *b)
{
	const struct twin *x = a, *y = b;
	int d = memcmp(x->key, y->key, sizeof(x->key));

	return d != 0 ? d : (x->idx > y->idx) - (x->idx < y->idx);
}

void conf_find_twins(
	struct conf_ctx *ctx, uint32_t n, conf_twin_key_fn key_of, conf_twin_fault_fn fault)
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
		if (key_of(ctx, i, twins[used].key))
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

static bool name_key(const struct conf_ctx *ctx, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	const struct conf *c = ctx->conf;

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

static bool public_key_key(
	const struct conf_ctx *ctx, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	const struct conf *c = ctx->conf;

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
static bool address_key(
	const struct conf_ctx *ctx, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	const struct conf *c = ctx->conf;
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
	conf_find_twins(ctx, c->n_peers, name_key, name_fault);
	conf_find_twins(ctx, c->n_peers, public_key_key, public_key_fault);
	conf_find_twins(ctx, 2 * c->n_peers, address_key, address_fault);
}
