#include "flow/index.h"

uint32_t flow_index_buckets(uint32_t max_entries)
{
	uint32_t n = 1;

	while ((uint64_t)n * FLOW_BUCKET_ENTRIES * 3 < (uint64_t)max_entries * 4)
		n *= 2;
	return n;
}

/* The entry that holds record (0: a free one); FLOW_BUCKET_ENTRIES: none does. */
static unsigned find_entry(const struct flow_bucket *b, uint32_t record)
{
	unsigned i = 0;

	while (i < FLOW_BUCKET_ENTRIES && b->records[i] != record)
		i++;
	return i;
}

static void pass(struct flow_bucket *b, uint32_t n)
{
	__atomic_store_n(&b->n_passed, b->n_passed + n, __ATOMIC_RELAXED);
}

void flow_index_add(struct flow_index *ix, uint32_t hash, uint32_t record)
{
	struct flow_bucket *b = &ix->buckets[hash & ix->mask];
	uint32_t at = hash;
	unsigned i;

	while ((i = find_entry(b, 0)) == FLOW_BUCKET_ENTRIES) {
		pass(b, 1);
		b = &ix->buckets[++at & ix->mask];
	}
	__atomic_store_n(&b->hashes[i], hash, __ATOMIC_RELAXED);
	__atomic_store_n(&b->records[i], record, __ATOMIC_RELEASE);
}

void flow_index_del(struct flow_index *ix, uint32_t hash, uint32_t record)
{
	struct flow_bucket *b = &ix->buckets[hash & ix->mask];
	uint32_t at = hash;
	unsigned i;

	while ((i = find_entry(b, record)) == FLOW_BUCKET_ENTRIES) {
		assert(b->n_passed > 0);
		pass(b, UINT32_MAX);
		b = &ix->buckets[++at & ix->mask];
	}
	__atomic_store_n(&b->hashes[i], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&b->records[i], 0, __ATOMIC_RELAXED);
}
