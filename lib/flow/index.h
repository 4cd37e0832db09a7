/* index.h - from a hash to the records that may have it: open addressing, one cache line a bucket.
 *
 * Bucket:    7 entries of (hash, record), and how many entries probed on past this bucket because
 *            it was full. A look-up goes on only while that is not zero, so a deleted entry needs
 *            no mark, and nothing is ever moved.
 * Hash:      Multilinear-HM with a secret of each index's own, as in table/table.c: whoever
 *            chooses remote addresses cannot choose collisions. The caller verifies in the record.
 * Threads:   one writer. Others may look (relaxed loads, which cost the writer nothing): they may
 *            miss what is added or removed meanwhile, and find records that have changed since.
 * Memory:    sized at create for at most 3 in 4 entries taken.
 */
#ifndef PORTIER_FLOW_INDEX_H
#define PORTIER_FLOW_INDEX_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FLOW_BUCKET_ENTRIES 7
/* Words of 32 bits in a key, an even number. */
#define FLOW_KEY_WORDS_MAX 10

struct flow_bucket {
	uint32_t hashes[FLOW_BUCKET_ENTRIES];
	uint32_t n_passed;
	uint32_t records[FLOW_BUCKET_ENTRIES]; /* 0: free */
	uint32_t unused;
} __attribute__((aligned(64)));

static_assert(sizeof(struct flow_bucket) == 64, "one cache line");

struct flow_index {
	struct flow_bucket *buckets;
	uint32_t mask;
};

struct flow_secret {
	uint64_t words[FLOW_KEY_WORDS_MAX + 1];
};

/* n_words is a constant where it is called: the loop unrolls. */
static inline uint32_t flow_hash(
	const struct flow_secret *secret, const uint32_t *words, unsigned n_words)
{
	uint64_t sum = secret->words[0];

	for (unsigned i = 0; i < n_words; i += 2)
		sum += (secret->words[i + 1] + words[i]) * (secret->words[i + 2] + words[i + 1]);
	return (uint32_t)(sum >> 32);
}

/* How many buckets an index of max_entries needs: a power of two. */
uint32_t flow_index_buckets(uint32_t max_entries);

/* One that is not in the index, which has room. */
void flow_index_add(struct flow_index *ix, uint32_t hash, uint32_t record);
/* One that is in the index, under this hash. */
void flow_index_del(struct flow_index *ix, uint32_t hash, uint32_t record);

static inline void flow_index_prefetch(const struct flow_index *ix, uint32_t hash)
{
	__builtin_prefetch(&ix->buckets[hash & ix->mask]);
}

/* A look-up: where it is. */
struct flow_walk {
	uint32_t hash;
	uint32_t bucket;
	uint32_t matches; /* entries of the bucket still to be given, a bit each */
};

static inline uint32_t flow_bucket_matches(const struct flow_bucket *b, uint32_t hash)
{
	uint32_t matches = 0;

	for (unsigned i = 0; i < FLOW_BUCKET_ENTRIES; i++)
		matches |= (uint32_t)(__atomic_load_n(&b->hashes[i], __ATOMIC_RELAXED) == hash)
			   << i;
	return matches;
}

static inline struct flow_walk flow_index_walk(const struct flow_index *ix, uint32_t hash)
{
	return (struct flow_walk){
		.hash = hash,
		.bucket = hash & ix->mask,
		.matches = flow_bucket_matches(&ix->buckets[hash & ix->mask], hash),
	};
}

/* The next record that may be it; 0: there is none (left). Acquires what was written to the record
 * before it was added. */
static inline uint32_t flow_index_next(const struct flow_index *ix, struct flow_walk *walk)
{
	for (;;) {
		const struct flow_bucket *b = &ix->buckets[walk->bucket];

		while (walk->matches != 0) {
			unsigned i = (unsigned)__builtin_ctz(walk->matches);
			uint32_t record = __atomic_load_n(&b->records[i], __ATOMIC_ACQUIRE);

			walk->matches &= walk->matches - 1;
			if (record != 0)
				return record;
		}
		if (__builtin_expect(__atomic_load_n(&b->n_passed, __ATOMIC_RELAXED) == 0, 1))
			return 0;
		walk->bucket = (walk->bucket + 1) & ix->mask;
		walk->matches = flow_bucket_matches(&ix->buckets[walk->bucket], walk->hash);
	}
}

#endif
