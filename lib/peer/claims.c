/* claims.c - keys, names, addresses and routes in their tables: each is one peer's. */
#include "base/bytes.h"
#include "peer/impl.h"

#include <errno.h>
#include <string.h>

void claims_of(const struct peers *p, const struct peer_conf *conf, struct claims *out)
{
	memset(out, 0, sizeof(*out));
	out->list[0] = (struct claim){p->by_key, conf->public_key, CRYPTO_KEY_BYTES, "public key"};
	out->list[1] =
		(struct claim){p->by_name, conf->name, conf->name[0] ? PEER_NAME_CHARS : 0, "name"};
	out->list[2] = (struct claim){p->by_inner, &conf->address4,
		ip_is_none(&conf->address4) ? 0 : sizeof(conf->address4), "address"};
	out->list[3] = (struct claim){p->by_inner, &conf->address6,
		ip_is_none(&conf->address6) ? 0 : sizeof(conf->address6), "IPv6 address"};
	for (unsigned i = 0; i < conf->n_routes; i++) {
		struct route_key *key = &out->routes[i];

		key->addr = conf->routes[i].addr;
		key->len_bits = conf->routes[i].len_bits;
		out->list[4 + i] =
			(struct claim){p->by_route, key, sizeof(*key), "route", key->len_bits};
	}
}

static bool is_among(const struct claim *claim, const struct claims *c)
{
	for (unsigned k = 0; c && k < N_CLAIMS; k++) {
		const struct claim *other = &c->list[k];

		if (other->table == claim->table && other->len == claim->len &&
			memcmp(other->key, claim->key, claim->len) == 0)
			return true;
	}
	return false;
}

int claims_check(const struct claims *c, const char **culprit)
{
	for (unsigned k = 0; k < N_CLAIMS; k++) {
		if (c->list[k].len > 0 && table_lookup(c->list[k].table, c->list[k].key)) {
			*culprit = c->list[k].what;
			return -EEXIST;
		}
	}
	return 0;
}

/* Who finds the bit of a length, or of a net, clear does not look there: it is set before the key
 * is in the table, and cleared after the last one has left. */
static void route_len_mark(struct peers *p, unsigned len_bits)
{
	unsigned n = len_bits - PEER_ROUTE_BITS_MIN;

	if (p->n_routes[n]++ == 0)
		atomic_fetch_or_explicit(
			&p->route_lens[n / 64], UINT64_C(1) << n % 64, memory_order_release);
}

static void route_len_unmark(struct peers *p, unsigned len_bits)
{
	unsigned n = len_bits - PEER_ROUTE_BITS_MIN;

	if (--p->n_routes[n] == 0)
		atomic_fetch_and_explicit(
			&p->route_lens[n / 64], ~(UINT64_C(1) << n % 64), memory_order_release);
}

static void inner_net_mark(struct peers *p, const struct ip_addr *inner)
{
	unsigned net = load_be16(ip_v4_bytes(inner));

	if (ip_is_v4(inner))
		atomic_fetch_or_explicit(
			&p->inner_nets[net / 64], UINT64_C(1) << net % 64, memory_order_release);
}

static int claim_add(struct peers *p, const struct claim *claim, uint32_t peer_idx)
{
	int rc;

	if (claim->route_len > 0)
		route_len_mark(p, claim->route_len);
	if (claim->table == p->by_inner)
		inner_net_mark(p, claim->key);
	rc = table_add(claim->table, claim->key, idx_to_value(peer_idx));
	if (rc != 0 && claim->route_len > 0)
		route_len_unmark(p, claim->route_len);
	return rc;
}

/* The first n of del. */
static void del_first(
	struct peers *p, const struct claims *del, const struct claims *keep, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		const struct claim *claim = &del->list[k];

		if (claim->len == 0 || is_among(claim, keep))
			continue;
		table_del(claim->table, claim->key);
		if (claim->route_len > 0)
			route_len_unmark(p, claim->route_len);
	}
}

void claims_del(struct peers *p, const struct claims *del, const struct claims *keep)
{
	del_first(p, del, keep, N_CLAIMS);
}

int claims_add(struct peers *p, const struct claims *add, const struct claims *had,
	uint32_t peer_idx, const char **culprit)
{
	for (unsigned k = 0; k < N_CLAIMS; k++) {
		int rc;

		if (add->list[k].len == 0 || is_among(&add->list[k], had))
			continue;
		rc = claim_add(p, &add->list[k], peer_idx);
		if (rc != 0) {
			*culprit = add->list[k].what;
			del_first(p, add, had, k);
			return rc;
		}
	}
	return 0;
}
