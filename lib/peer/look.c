/* look.c - peers as others find and read them. */
#include "base/bytes.h"
#include "crypto/crypto.h"
#include "peer/impl.h"

#include <string.h>

/* A worker writes a path in nanoseconds; only one that was preempted while it did takes longer. */
#define PATH_READS_MAX 64

const struct peer_conf *peer_conf_get(const struct peers *p, uint32_t peer_idx)
{
	const struct slot *slot = live_slot(p, peer_idx);

	return slot ? &slot->conf : NULL;
}

uint32_t peer_find(const struct peers *p, const char *who)
{
	uint8_t public_key[CRYPTO_KEY_BYTES];
	char name[PEER_NAME_CHARS] = {0};
	size_t len = strlen(who);

	if (len == 0)
		return PEER_NONE;
	/* A key's text is longer than any name. */
	if (len >= sizeof(name))
		return crypto_key_parse(who, public_key) == 0 ? peer_find_key(p, public_key)
							      : PEER_NONE;
	memcpy(name, who, len);
	return value_to_idx(table_lookup(p->by_name, name));
}

uint32_t peer_find_key(const struct peers *p, const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	return value_to_idx(table_lookup(p->by_key, public_key));
}

/* Longest first; only lengths that some route has. */
static void *route_find(const struct peers *p, const struct ip_addr *inner)
{
	for (unsigned w = sizeof(p->route_lens) / sizeof(p->route_lens[0]); w-- > 0;) {
		uint64_t lens = atomic_load_explicit(&p->route_lens[w], memory_order_acquire);

		while (lens) {
			unsigned bit = 63u - (unsigned)__builtin_clzll(lens);
			unsigned len_bits = PEER_ROUTE_BITS_MIN + 64 * w + bit;
			struct route_key key = {
				ip_addr_masked(inner, len_bits), (uint8_t)len_bits, {0}};
			void *found = table_lookup(p->by_route, &key);

			if (found)
				return found;
			lens &= ~(UINT64_C(1) << bit);
		}
	}
	return NULL;
}

static bool has_inner_net(const struct peers *p, uint32_t net)
{
	return atomic_load_explicit(&p->inner_nets[net / 64], memory_order_acquire) >> net % 64 & 1;
}

uint32_t peer_find_inner_v4(const struct peers *p, uint32_t inner)
{
	struct ip_addr addr;
	uint8_t bytes[4];

	if (!has_inner_net(p, inner >> 16))
		return PEER_NONE;
	store_be32(bytes, inner);
	addr = ip_from_v4(bytes);
	return value_to_idx(table_lookup(p->by_inner, &addr));
}

uint32_t peer_find_inner(const struct peers *p, const struct ip_addr *inner)
{
	void *found;

	if (ip_is_v4(inner))
		return peer_find_inner_v4(p, load_be32(ip_v4_bytes(inner)));
	found = table_lookup(p->by_inner, inner);
	return value_to_idx(found ? found : route_find(p, inner));
}

uint32_t peer_public(const struct peers *p, uint32_t peer_idx)
{
	return atomic_load_explicit(&p->publics[peer_idx], memory_order_relaxed);
}

void peer_public_set(struct peers *p, uint32_t peer_idx, uint32_t public_v4)
{
	atomic_store_explicit(&p->publics[peer_idx], public_v4, memory_order_relaxed);
}

uint32_t peer_next(const struct peers *p, uint32_t *cursor)
{
	while (*cursor < p->n_fresh) {
		uint32_t i = (*cursor)++;

		if (p->slots[i].state == SLOT_LIVE)
			return i;
	}
	return PEER_NONE;
}

uint32_t peers_count(const struct peers *p)
{
	return p->n_live;
}

/* The home worker may be writing: an odd version, or another one afterwards, means so. What was
 * copied meanwhile is torn and thrown away; that is the race, and all of it. */
static bool path_read(const struct peer_hot *hot, struct peer_path *out)
{
	for (unsigned k = 0; k < PATH_READS_MAX; k++) {
		uint32_t before = __atomic_load_n(&hot->path_version, __ATOMIC_ACQUIRE);

		*out = hot->path;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(before & 1) &&
			before == __atomic_load_n(&hot->path_version, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

bool peer_path_get(const struct peers *p, uint32_t peer_idx, struct peer_path *out)
{
	return peer_idx < p->max_peers && path_read(&p->hot[peer_idx], out);
}

static uint64_t unreachable_since_ns(const struct peers *p, uint32_t peer_idx)
{
	return __atomic_load_n(&p->shake[peer_idx].unreachable_since_ns, __ATOMIC_RELAXED);
}

bool peer_is_reachable(const struct peers *p, uint32_t peer_idx)
{
	return unreachable_since_ns(p, peer_idx) == 0;
}

void peer_status_get(const struct peers *p, uint32_t peer_idx, struct peer_status *out)
{
	const struct slot *slot = live_slot(p, peer_idx);
	const struct peer_hot *hot;
	struct peer_path path;

	memset(out, 0, sizeof(*out));
	out->home = PEER_HOME_NONE;
	if (!slot)
		return;
	hot = &p->hot[peer_idx];
	out->endpoint = path_read(hot, &path) ? path.remote : slot->conf.endpoint;
	out->home = peer_home(p, peer_idx);
	/* Each word is whole, together they may be a burst apart. */
	out->last_handshake_ns = __atomic_load_n(&hot->last_handshake_ns, __ATOMIC_RELAXED);
	out->last_received_ns = __atomic_load_n(&hot->last_received_ns, __ATOMIC_RELAXED);
	out->unreachable_since_ns = unreachable_since_ns(p, peer_idx);
	out->rx_bytes = __atomic_load_n(&hot->rx_bytes, __ATOMIC_RELAXED);
	out->tx_bytes = __atomic_load_n(&hot->tx_bytes, __ATOMIC_RELAXED);
	out->rx_pkts = __atomic_load_n(&hot->rx_pkts, __ATOMIC_RELAXED);
	out->tx_pkts = __atomic_load_n(&hot->tx_pkts, __ATOMIC_RELAXED);
}

const struct peer_view *peer_view(const struct peers *p, uint32_t peer_idx)
{
	return peer_idx < p->max_peers
		       ? atomic_load_explicit(&p->views[peer_idx], memory_order_acquire)
		       : NULL;
}

/* 0 - 1 is PEER_HOME_NONE. */
uint8_t peer_home(const struct peers *p, uint32_t peer_idx)
{
	return (uint8_t)(atomic_load_explicit(&p->homes[peer_idx], memory_order_acquire) - 1);
}

void peer_home_set(struct peers *p, uint32_t peer_idx, uint8_t home)
{
	atomic_store_explicit(&p->homes[peer_idx], (uint8_t)(home + 1), memory_order_release);
}

struct peer_hot *peer_hot(struct peers *p, uint32_t peer_idx)
{
	return &p->hot[peer_idx];
}

struct peer_shake *peer_shake(struct peers *p, uint32_t peer_idx)
{
	return &p->shake[peer_idx];
}

uint32_t peers_max(const struct peers *p)
{
	return p->max_peers;
}
