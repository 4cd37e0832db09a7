#include "table/table.h"

#include <rte_hash.h>
#include <rte_malloc.h>

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* Words of 32 bits; the hash takes them in pairs. */
#define KEY_WORDS_MAX (TABLE_KEY_BYTES_MAX / 4)

/* What rte_hash adds to a key in its store, and how it rounds the sum. */
#define STORE_DATA_BYTES  8
#define STORE_ALIGN_BYTES 16

#define SLOTS_MIN 127 /* 16 buckets */

struct table {
	struct rte_hash *hash;
	uint32_t n_key_words;
	uint64_t secret[KEY_WORDS_MAX + 1];

	/* W, R: control, from here on. */
	uint32_t n_entries __rte_cache_aligned;
	uint32_t max_entries;
	struct grace *grace;
	struct grace_work reclaim;
	bool is_reclaiming;
	/* Positions of deleted keys, a ring: [limbo_head, limbo_due) wait for reclaim, [limbo_due,
	 * limbo_tail) for the one after it. A position is in it at most once, so 2^n hold all. */
	uint32_t limbo_head, limbo_due, limbo_tail, limbo_mask;
	int32_t limbo[];
};

/* Multilinear-HM of keys that count up counts up as well, and a small table could find all of ten
 * names in one bucket of eight. A permutation, so that the bound on collisions stays. */
static inline uint32_t scatter(uint32_t hash)
{
	hash ^= hash >> 16;
	hash *= UINT32_C(0x7feb352d);
	return hash ^ hash >> 15;
}

/* Multilinear-HM (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): for keys of
 * one length, any two collide in the upper 32 bits with probability 2^-32 over the secret, whoever
 * chose them. One multiplication for 8 bytes: no dearer than CRC, whose collisions do not depend on
 * its seed. */
static inline uint32_t hash_key(const struct table *t, const void *key)
{
	const uint8_t *bytes = key;
	uint64_t sum = t->secret[0];

	for (uint32_t i = 0; i < t->n_key_words; i += 2) {
		uint32_t pair[2];

		memcpy(pair, bytes + 4 * (size_t)i, sizeof(pair));
		sum += (t->secret[i + 1] + pair[0]) * (t->secret[i + 2] + pair[1]);
	}
	return scatter((uint32_t)(sum >> 32));
}

/* The smallest 2^n - 1 of which max_entries is at most 80 %; 0: none that rte_hash accepts. */
static uint32_t count_slots(uint32_t max_entries, uint32_t key_bytes)
{
	uint64_t store_bytes = RTE_ALIGN_CEIL(key_bytes + STORE_DATA_BYTES, STORE_ALIGN_BYTES);
	/* Of few buckets all could be full for one key while others are empty. */
	uint64_t n_slots = SLOTS_MIN;

	while (n_slots * 4 < (uint64_t)max_entries * 5)
		n_slots = n_slots * 2 + 1;
	if (n_slots >= RTE_HASH_ENTRIES_MAX || (n_slots + 1) * store_bytes >= UINT32_MAX)
		return 0;
	return (uint32_t)n_slots;
}

static bool draw_secret(struct table *t)
{
	/* Up to 256 bytes come whole or not at all (random(7)). */
	return getrandom(t->secret, sizeof(t->secret), 0) == (ssize_t)sizeof(t->secret);
}

struct table *table_create(
	const char *name, uint32_t max_entries, uint32_t key_bytes, int socket_id, struct grace *g)
{
	struct rte_hash_parameters params = {
		.name = name,
		.key_len = key_bytes,
		.socket_id = socket_id,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF,
	};
	struct table *t;

	static_assert(sizeof(t->secret) <= 256, "one getrandom");
	if (max_entries == 0 || key_bytes == 0 || key_bytes % 8 != 0 ||
		key_bytes > TABLE_KEY_BYTES_MAX)
		return NULL;
	params.entries = count_slots(max_entries, key_bytes);
	if (params.entries == 0)
		return NULL;
	t = rte_zmalloc_socket("table",
		sizeof(*t) + ((size_t)params.entries + 1) * sizeof(t->limbo[0]),
		RTE_CACHE_LINE_SIZE, socket_id);
	if (t == NULL)
		return NULL;
	t->n_key_words = key_bytes / 4;
	t->max_entries = max_entries;
	t->grace = g;
	t->limbo_mask = params.entries;
	if (!draw_secret(t))
		goto fail;
	t->hash = rte_hash_create(&params);
	if (t->hash == NULL)
		goto fail;
	return t;
fail:
	table_destroy(t);
	return NULL;
}

void table_destroy(struct table *t)
{
	if (t == NULL)
		return;
	if (t->is_reclaiming)
		grace_cancel(t->grace, &t->reclaim);
	rte_hash_free(t->hash);
	rte_free(t);
}

int table_add(struct table *t, const void *key, void *value)
{
	hash_sig_t sig = hash_key(t, key);
	int rc;

	if (value == NULL)
		return -EINVAL;
	/* rte_hash would overwrite. */
	if (rte_hash_lookup_with_hash(t->hash, key, sig) >= 0)
		return -EEXIST;
	if (t->n_entries == t->max_entries)
		return -ENOSPC;
	rc = rte_hash_add_key_with_hash_data(t->hash, key, sig, value);
	if (rc != 0)
		return rc;
	t->n_entries++;
	return 0;
}

static void reclaim_slots(void *arg)
{
	struct table *t = arg;
	int rc;

	for (; t->limbo_head != t->limbo_due; t->limbo_head++) {
		rc = rte_hash_free_key_with_position(
			t->hash, t->limbo[t->limbo_head & t->limbo_mask]);
		assert(rc == 0);
		(void)rc;
	}
	t->limbo_due = t->limbo_tail;
	t->is_reclaiming = t->limbo_head != t->limbo_due;
	if (t->is_reclaiming)
		grace_defer_work(t->grace, &t->reclaim, reclaim_slots, t);
}

int table_del(struct table *t, const void *key)
{
	int32_t position = rte_hash_del_key_with_hash(t->hash, key, hash_key(t, key));

	if (position < 0)
		return -ENOENT;
	t->n_entries--;
	t->limbo[t->limbo_tail++ & t->limbo_mask] = position;
	if (!t->is_reclaiming) {
		t->is_reclaiming = true;
		t->limbo_due = t->limbo_tail;
		grace_defer_work(t->grace, &t->reclaim, reclaim_slots, t);
	}
	return 0;
}

uint32_t table_count(const struct table *t)
{
	return t->n_entries;
}

void *table_lookup(const struct table *t, const void *key)
{
	void *value;

	if (rte_hash_lookup_with_hash_data(t->hash, key, hash_key(t, key), &value) < 0)
		return NULL;
	return value;
}

uint64_t table_lookup_bulk(const struct table *t, const void **keys, uint32_t n, void **values)
{
	hash_sig_t sigs[TABLE_BULK_MAX];
	uint64_t hits = 0;

	if (n == 0 || n > TABLE_BULK_MAX)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		sigs[i] = hash_key(t, keys[i]);
		values[i] = NULL;
	}
	(void)rte_hash_lookup_with_hash_bulk_data(t->hash, keys, sigs, n, &hits, values);
	return hits;
}
