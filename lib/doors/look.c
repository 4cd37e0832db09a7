/* What workers ask of doors, and note of them. */
#include "doors/impl.h"

#include "crypto/crypto.h"

#include <rte_branch_prediction.h>
#include <rte_prefetch.h>

#include <string.h>

bool doors_peer_has(const struct doors *d, uint32_t peer_idx)
{
	return atomic_load_explicit(&d->n_of_peer[peer_idx], memory_order_acquire) > 0;
}

/* A key may lead to a record that is shut: just being opened, or just closed. */
static void leave_open(uint32_t n, struct door **out)
{
	for (uint32_t i = 0; i < n; i++)
		if (!is_open(out[i]))
			out[i] = NULL;
}

/* Those that are in no array; at[] is where they stand in out. */
static void find_hashed(const struct table *t, const void **wanted, const uint8_t *at, uint32_t n,
	struct door **out)
{
	void *found[TABLE_BULK_MAX];

	table_lookup_bulk(t, wanted, n, found);
	for (uint32_t i = 0; i < n; i++) {
		out[at[i]] = found[i];
		rte_prefetch0(found[i]);
	}
}

void doors_lookup_public_bulk(
	const struct doors *d, const struct door_public_key *keys, uint32_t n, struct door **out)
{
	_Atomic uint32_t *entries[TABLE_BULK_MAX];
	const void *wanted[TABLE_BULK_MAX];
	uint8_t at[TABLE_BULK_MAX];
	uint32_t n_others = 0;

	for (uint32_t i = 0; i < n; i++) {
		entries[i] = entry_of(d, &keys[i]);
		rte_prefetch0((const void *)entries[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t record = 0;

		if (likely(entries[i])) {
			record = atomic_load_explicit(entries[i], memory_order_acquire);
		} else {
			wanted[n_others] = &keys[i];
			at[n_others++] = (uint8_t)i;
		}
		out[i] = record ? &d->records[record - 1] : NULL;
		rte_prefetch0(out[i]);
	}
	if (n_others && atomic_load_explicit(&d->n_hashed, memory_order_acquire))
		find_hashed(d->by_public, wanted, at, n_others, out);
	leave_open(n, out);
}

struct door *doors_lookup_public(const struct doors *d, const struct door_public_key *key)
{
	struct door *door;

	doors_lookup_public_bulk(d, key, 1, &door);
	return door;
}

/* Is it what the key leads to? */
static bool has_inner_key(const struct door *door, const struct door_inner_key *key)
{
	uint8_t bit = key->proto == IPPROTO_TCP	  ? LEASE_PROTO_TCP
		      : key->proto == IPPROTO_UDP ? LEASE_PROTO_UDP
						  : 0;
	unsigned at = (uint16_t)(rte_be_to_cpu_16(key->port_be16) - door->inner_port);

	return door->peer_idx == key->peer_idx &&
	       load_le32(door->inner_v4) == load_le32(key->addr_v4) && at < door->n_ports &&
	       atomic_load_explicit(&door->protos, memory_order_relaxed) & bit;
}

void doors_lookup_inner_bulk(
	const struct doors *d, const struct door_inner_key *keys, uint32_t n, struct door **out)
{
	const _Atomic uint32_t *places[TABLE_BULK_MAX];
	const void *wanted[TABLE_BULK_MAX];
	uint8_t at[TABLE_BULK_MAX];
	uint32_t n_others = 0;

	for (uint32_t i = 0; i < n; i++) {
		places[i] = inner_place(
			d, keys[i].peer_idx, rte_be_to_cpu_16(keys[i].port_be16), keys[i].proto);
		rte_prefetch0((const void *)places[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t record = atomic_load_explicit(places[i], memory_order_acquire);

		out[i] = record ? &d->records[record - 1] : NULL;
		rte_prefetch0(out[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (likely(is_open(out[i]) && has_inner_key(out[i], &keys[i])))
			continue;
		wanted[n_others] = &keys[i];
		at[n_others++] = (uint8_t)i;
	}
	if (n_others == 0)
		return;
	find_hashed(d->by_inner, wanted, at, n_others, out);
	leave_open(n, out);
}

struct door *doors_lookup_whole(const struct doors *d, const uint8_t public_v4[static 4])
{
	struct door_public_key key = {0};
	struct door *door;

	if (atomic_load_explicit(&d->n_whole, memory_order_acquire) == 0)
		return NULL;
	memcpy(key.addr_v4, public_v4, 4);
	door = table_lookup(d->by_public, &key);
	return is_open(door) ? door : NULL;
}

struct door *doors_lookup_whole_of(
	const struct doors *d, uint32_t peer_idx, const uint8_t inner_v4[static 4])
{
	struct door_inner_key key = {.peer_idx = peer_idx};
	struct door *door;

	if (atomic_load_explicit(&d->n_whole, memory_order_acquire) == 0)
		return NULL;
	memcpy(key.addr_v4, inner_v4, 4);
	door = table_lookup(d->by_inner, &key);
	return is_open(door) ? door : NULL;
}

struct door *doors_lookup_v6(const struct doors *d, const struct door_v6_key *key)
{
	struct door *door = table_lookup(d->by_v6, key);

	return is_open(door) ? door : NULL;
}

static uint64_t source_hash(const struct doors *d, const struct door_knock *knock)
{
	return crypto_siphash(d->hash_key, knock->src.bytes, sizeof(knock->src.bytes));
}

/* Its source's, which nobody outside knows, times a factor that nobody knows: different for all
 * flows of one source, and whoever chooses ports does not choose what falls together. */
static uint64_t flow_hash_of(const struct doors *d, const struct door_knock *knock, uint64_t source)
{
	uint64_t product = (source ^ knock->src_port ^ (uint64_t)knock->is_tcp << 16) * d->factor;

	return product ^ product >> 32;
}

static uint64_t flow_hash(const struct doors *d, const struct door_knock *knock)
{
	return flow_hash_of(d, knock, source_hash(d, knock));
}

enum door_verdict doors_ask(const struct doors *d, struct door_terms *terms,
	const struct door_knock *knock, uint64_t now_ns)
{
	uint64_t hash = door_terms_need_flow(terms, knock) ? flow_hash(d, knock) : 0;

	return door_terms_ask(terms, knock, hash, now_ns);
}

enum door_verdict doors_peek(const struct doors *d, const struct door_terms *terms,
	const struct door_knock *knock, uint64_t now_ns)
{
	uint64_t hash = door_terms_need_flow(terms, knock) ? flow_hash(d, knock) : 0;

	return door_terms_peek(terms, knock, hash, now_ns);
}

/* The door's record, from its first use on; NULL: the worker's share is used up. */
static struct knocks *knocks_of(struct doors *d, uint32_t reader, struct door *door)
{
	struct knocks *k = atomic_load_explicit(&door->knocks, memory_order_relaxed);

	if (!k) {
		k = knocks_take(&d->shares[reader]);
		atomic_store_explicit(&door->knocks, k, memory_order_release);
	}
	return k;
}

bool doors_see(struct doors *d, uint32_t reader, struct door *door, const struct door_knock *knock,
	struct door_sight *out)
{
	out->knocks = knocks_of(d, reader, door);
	if (!out->knocks)
		return false;
	out->source_hash = source_hash(d, knock);
	out->flow_hash = flow_hash_of(d, knock, out->source_hash);
	knocks_fetch(out->knocks, out->source_hash, out->flow_hash);
	return true;
}

bool doors_note_refused(
	struct doors *d, uint32_t reader, struct door *door, const struct door_knock *knock)
{
	struct knocks *k = knocks_of(d, reader, door);

	if (k)
		knocks_note_refused(k, source_hash(d, knock));
	return k != NULL;
}

void doors_note_failure(struct doors *d, const struct door *door, enum door_failure failure,
	bool is_shared, uint64_t now_ns)
{
	door_failures_note(&d->failures[door - d->records], failure, is_shared, now_ns);
}
