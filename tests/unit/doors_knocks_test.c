/* doors_knocks_test.c - how many sources and new flows: the sketch against exact counts, the
 * window, and the shares of workers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "doors/knocks.h"

#include "seeded.h"

/* Standard deviation 6.5 %: five of them are left to chance. */
static void assert_near(uint64_t estimate, uint64_t n)
{
	uint64_t off = estimate > n ? estimate - n : n - estimate;

	if (off * 1000 > n * 325 + 2000)
		fail_msg("%llu are taken for %llu", (unsigned long long)n,
			(unsigned long long)estimate);
}

static void the_sketch_is_near(void **state)
{
	for (unsigned round = 0; round < 20; round++) {
		struct sketch s = {{0}};
		uint64_t next = 1;

		assert_int_equal(sketch_estimate(&s), 0);
		for (uint64_t n = 1; n <= 200000; n++) {
			sketch_add(&s, random_u64());
			if (n < next)
				continue;
			assert_near(sketch_estimate(&s), n);
			next = next * 3 / 2 + 1;
		}
	}
}

/* On average it is right: one sketch may be off by some percent, a hundred are not. */
static void the_sketch_has_no_bias(void **state)
{
	static const unsigned counts[] = {10, 100, 600, 1000, 10000};

	for (unsigned c = 0; c < 5; c++) {
		uint64_t sum = 0;

		for (unsigned round = 0; round < 200; round++) {
			struct sketch s = {{0}};

			for (unsigned i = 0; i < counts[c]; i++)
				sketch_add(&s, random_u64());
			sum += sketch_estimate(&s);
		}
		assert_in_range(sum, 200ull * counts[c] * 97 / 100, 200ull * counts[c] * 103 / 100);
	}
}

static void one_that_comes_again_is_one(void **state)
{
	struct sketch s = {{0}};
	uint64_t hash = random_u64();

	for (unsigned i = 0; i < 100000; i++)
		sketch_add(&s, hash);
	assert_int_equal(sketch_estimate(&s), 1);
	/* The ends of what a hash may be. */
	sketch_add(&s, 0);
	sketch_add(&s, UINT64_MAX);
	assert_in_range(sketch_estimate(&s), 2, 4);
}

static void flows_and_sources(void **state)
{
	static struct knocks k;
	const uint64_t begin = 1000 * KNOCKS_WINDOW_NS;
	uint64_t now = begin;

	/* Ten sources, twenty flows each. */
	for (unsigned round = 0; round < 3; round++)
		for (uint64_t i = 0; i < 200; i++)
			assert_int_equal(knocks_note(&k, (i % 10) * 0x9e3779b97f4a7c15u,
						 i * 0xbf58476d1ce4e5b9u, now),
				round == 0);
	assert_int_equal(k.new_flows, 200);
	assert_near(sketch_estimate(&k.sources), 10);
	/* The window that runs is not told of until it has ended. */
	assert_int_equal(knocks_window_flows(&k, now), 0);
	now += KNOCKS_WINDOW_NS;
	assert_int_equal(knocks_window_flows(&k, now), 200);
	assert_int_equal(knocks_window_flows(&k, now + KNOCKS_WINDOW_NS), 0);
	knocks_note(&k, 1, random_u64(), now);
	assert_int_equal(knocks_window_flows(&k, now), 200);
	assert_int_equal(knocks_window_flows(&k, now + KNOCKS_WINDOW_NS), 1);
	/* After a silence. */
	now += 10 * KNOCKS_WINDOW_NS;
	knocks_note(&k, 2, random_u64(), now);
	assert_int_equal(knocks_window_flows(&k, now), 0);
	assert_int_equal(k.new_flows, 202);
	/* Those who are refused are sources, and no flows. */
	for (unsigned i = 0; i < 1000; i++)
		knocks_note_refused(&k, random_u64());
	assert_near(sketch_estimate(&k.sources), 1012);
	assert_int_equal(k.new_flows, 202);
}

static void a_share_is_used_up_and_comes_back(void **state)
{
	static struct knocks records[3];
	struct knocks_share share = {.records = records, .n = 3};
	struct knocks *taken[3];

	assert_int_equal(sizeof(struct knocks), 832);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3; i++) {
			taken[i] = knocks_take(&share);
			assert_non_null(taken[i]);
			assert_int_equal(taken[i]->new_flows, 0);
			assert_int_equal(sketch_estimate(&taken[i]->sources), 0);
			knocks_note(taken[i], 1, random_u64(), 0);
		}
		assert_null(knocks_take(&share));
		for (unsigned i = 0; i < 3; i++)
			knocks_return(&share, taken[(i + round) % 3]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sketch_is_near),
		cmocka_unit_test(the_sketch_has_no_bias),
		cmocka_unit_test(one_that_comes_again_is_one),
		cmocka_unit_test(flows_and_sources),
		cmocka_unit_test(a_share_is_used_up_and_comes_back),
	};

	random_seed();
	return cmocka_run_group_tests_name("doors_knocks", tests, NULL, NULL);
}
