#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "frag/ranges.h"
#include "seeded.h"

#include <string.h>

static void pieces_in_any_order_become_one(void **state)
{
	struct frag_ranges r = {0};

	(void)state;
	assert_int_equal(frag_ranges_add(&r, 16, 24), FRAG_RANGES_ADDED);
	assert_int_equal(frag_ranges_end(&r), 24);
	assert_false(frag_ranges_has_no_gap(&r));
	assert_int_equal(frag_ranges_add(&r, 0, 8), FRAG_RANGES_ADDED);
	assert_int_equal(r.n, 2);
	assert_int_equal(frag_ranges_add(&r, 8, 16), FRAG_RANGES_ADDED);
	assert_int_equal(r.n, 1);
	assert_true(frag_ranges_has_no_gap(&r));
	assert_int_equal(frag_ranges_end(&r), 24);
}

static void touching_is_not_overlapping(void **state)
{
	struct frag_ranges r = {0};

	(void)state;
	assert_int_equal(frag_ranges_add(&r, 16, 32), FRAG_RANGES_ADDED);
	assert_int_equal(frag_ranges_add(&r, 8, 17), FRAG_RANGES_OVERLAP);
	assert_int_equal(frag_ranges_add(&r, 31, 40), FRAG_RANGES_OVERLAP);
	assert_int_equal(frag_ranges_add(&r, 0, 64), FRAG_RANGES_OVERLAP);
	assert_int_equal(frag_ranges_add(&r, 20, 24), FRAG_RANGES_OVERLAP);
	assert_int_equal(frag_ranges_add(&r, 16, 31), FRAG_RANGES_OVERLAP);
	assert_int_equal(frag_ranges_add(&r, 8, 16), FRAG_RANGES_ADDED);
	assert_int_equal(frag_ranges_add(&r, 32, 40), FRAG_RANGES_ADDED);
	assert_int_equal(r.n, 1);
}

/* Of the last eight pieces, exactly. */
static void a_repeated_piece_is_told_apart(void **state)
{
	struct frag_ranges r = {0};

	(void)state;
	for (uint16_t i = 0; i < FRAG_RECENT + 1; i++)
		assert_int_equal(frag_ranges_add(&r, (uint16_t)(8 * i), (uint16_t)(8 * i + 8)),
			FRAG_RANGES_ADDED);
	assert_int_equal(frag_ranges_add(&r, 8, 16), FRAG_RANGES_REPEATED);
	assert_int_equal(frag_ranges_add(&r, 64, 72), FRAG_RANGES_REPEATED);
	assert_int_equal(frag_ranges_add(&r, 0, 8), FRAG_RANGES_OVERLAP); /* the ninth last */
	assert_int_equal(frag_ranges_add(&r, 8, 24), FRAG_RANGES_OVERLAP);
}

static void gaps_are_bounded(void **state)
{
	struct frag_ranges r = {0}, before;

	(void)state;
	for (uint16_t i = 0; i < FRAG_RANGES_MAX; i++)
		assert_int_equal(frag_ranges_add(&r, (uint16_t)(16 * i), (uint16_t)(16 * i + 8)),
			FRAG_RANGES_ADDED);
	before = r;
	assert_int_equal(frag_ranges_add(&r, 1000, 1008), FRAG_RANGES_FULL);
	assert_memory_equal(&r, &before, sizeof(r));
	/* what closes a gap has a place, and makes one */
	assert_int_equal(frag_ranges_add(&r, 8, 16), FRAG_RANGES_ADDED);
	assert_int_equal(frag_ranges_add(&r, 1000, 1008), FRAG_RANGES_ADDED);
	assert_int_equal(r.n, FRAG_RANGES_MAX);
}

/* Against a map of bytes. */
static void random_pieces_agree_with_a_map(void **state)
{
	uint8_t map[66];
	struct frag_ranges r;

	(void)state;
	for (uint64_t rounds = random_rounds(20000); rounds > 0; rounds--) {
		memset(&r, 0, sizeof(r));
		memset(map, 0, sizeof(map));
		for (unsigned n = 0; n < 40; n++) {
			unsigned start = random_below(64), end = start + 1 + random_below(4);
			enum frag_ranges_verdict got;
			unsigned n_ranges = 0, last = 0;
			bool overlaps = false;

			end = end > 64 ? 64 : end;
			for (unsigned i = start; i < end; i++)
				overlaps |= map[i] != 0;
			got = frag_ranges_add(&r, (uint16_t)start, (uint16_t)end);
			assert_int_equal(overlaps,
				got == FRAG_RANGES_OVERLAP || got == FRAG_RANGES_REPEATED);
			if (got == FRAG_RANGES_ADDED)
				memset(map + start, 1, end - start);
			for (unsigned i = 0; i < 64; i++) {
				n_ranges += map[i] && (i == 0 || !map[i - 1]);
				last = map[i] ? i + 1 : last;
			}
			assert_int_equal(r.n, n_ranges);
			assert_int_equal(frag_ranges_end(&r), last);
			assert_int_equal(frag_ranges_has_no_gap(&r), n_ranges == 1 && map[0] != 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_in_any_order_become_one),
		cmocka_unit_test(touching_is_not_overlapping),
		cmocka_unit_test(a_repeated_piece_is_told_apart),
		cmocka_unit_test(gaps_are_bounded),
		cmocka_unit_test(random_pieces_agree_with_a_map),
	};

	random_seed();
	return cmocka_run_group_tests_name("frag_ranges", tests, NULL, NULL);
}
