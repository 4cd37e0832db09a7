/* flow_index_test.c - the index against a plain array: nothing lost, nothing left behind. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "flow/index.h"

#include "seeded.h"

#define RECORDS 3000
#define CHURNS	300000

static struct flow_index ix;
static uint32_t hashes[RECORDS + 1]; /* of each record */
static bool is_in[RECORDS + 1];

static int setup(void **state)
{
	uint32_t n = flow_index_buckets(RECORDS);

	ix.mask = n - 1;
	ix.buckets = aligned_alloc(64, n * sizeof(*ix.buckets));
	assert_non_null(ix.buckets);
	memset(ix.buckets, 0, n * sizeof(*ix.buckets));
	memset(is_in, 0, sizeof(is_in));
	return 0;
}

static int teardown(void **state)
{
	free(ix.buckets);
	return 0;
}

/* How often a look-up gives this record; every record that it gives has the hash. */
static unsigned times_found(uint32_t record)
{
	struct flow_walk walk = flow_index_walk(&ix, hashes[record]);
	unsigned n = 0;
	uint32_t i;

	while ((i = flow_index_next(&ix, &walk)) != 0) {
		assert_int_equal(hashes[i], hashes[record]);
		assert_true(is_in[i]);
		n += i == record;
	}
	return n;
}

static void check_all(void)
{
	for (uint32_t i = 1; i <= RECORDS; i++)
		assert_int_equal(times_found(i), is_in[i]);
}

static void toggle(uint32_t record)
{
	if (is_in[record])
		flow_index_del(&ix, hashes[record], record);
	else
		flow_index_add(&ix, hashes[record], record);
	is_in[record] = !is_in[record];
}

static void assert_empty(void)
{
	for (uint32_t b = 0; b <= ix.mask; b++) {
		assert_int_equal(ix.buckets[b].n_passed, 0);
		for (unsigned i = 0; i < FLOW_BUCKET_ENTRIES; i++)
			assert_int_equal(ix.buckets[b].records[i], 0);
	}
}

/* hash_range: the fewer hashes, the more look-ups go on past full buckets. */
static void churn(uint32_t hash_range)
{
	for (uint32_t i = 1; i <= RECORDS; i++)
		hashes[i] = hash_range ? random_below(hash_range) : (uint32_t)random_u64();
	for (uint32_t i = 1; i <= RECORDS; i++)
		toggle(i);
	check_all();
	for (unsigned n = 0; n < CHURNS; n++) {
		uint32_t record = 1 + random_below(RECORDS);

		toggle(record);
		assert_int_equal(times_found(record), is_in[record]);
		if (n % (CHURNS / 20) == 0)
			check_all();
	}
	check_all();
	for (uint32_t i = 1; i <= RECORDS; i++)
		if (is_in[i])
			toggle(i);
	assert_empty();
}

static void test_churn(void **state)
{
	churn(0);
}

static void test_churn_of_like_hashes(void **state)
{
	churn(200);
}

/* Around the end of the table, hash 0 and a hash of all ones included. */
static void test_wraps_around(void **state)
{
	for (uint32_t i = 1; i <= 40; i++) {
		hashes[i] = i % 2 ? UINT32_MAX : 0;
		toggle(i);
	}
	for (uint32_t i = 1; i <= 40; i++)
		assert_int_equal(times_found(i), 1);
	for (uint32_t i = 40; i >= 1; i--)
		toggle(i);
	assert_empty();
}

static void test_size(void **state)
{
	for (uint32_t n = 1; n < 1u << 22; n += 1 + n / 3) {
		uint32_t n_buckets = flow_index_buckets(n);

		assert_int_equal(n_buckets & (n_buckets - 1), 0);
		assert_true((uint64_t)n_buckets * FLOW_BUCKET_ENTRIES * 3 >= (uint64_t)n * 4);
	}
}

/* Keys that differ in one bit, and all secrets: as many like hashes as chance gives. */
static void test_hash_spreads(void **state)
{
	unsigned n_like = 0;

	for (unsigned n = 0; n < 200000; n++) {
		uint32_t key[FLOW_KEY_WORDS_MAX], other[FLOW_KEY_WORDS_MAX];
		struct flow_secret secret;
		unsigned bit = random_below(32 * FLOW_KEY_WORDS_MAX);

		random_bytes(&secret, sizeof(secret));
		random_bytes(key, sizeof(key));
		memcpy(other, key, sizeof(key));
		other[bit / 32] ^= 1u << bit % 32;
		n_like += (flow_hash(&secret, key, FLOW_KEY_WORDS_MAX) & 0xffff) ==
			  (flow_hash(&secret, other, FLOW_KEY_WORDS_MAX) & 0xffff);
	}
	/* Three expected. */
	assert_in_range(n_like, 0, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_churn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_churn_of_like_hashes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wraps_around, setup, teardown),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_hash_spreads),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
