/* lanes_secret_test.c - no branch and no address depends on a secret (run by valgrind's memcheck,
 * to which secrets are memory without a value; what is computed from them has none either).
 *
 * What may depend on keys is the verdict of open, and what follows from it: lanes_secret.supp.
 */
#include "lanes_inside.h"
#include "seeded.h"

#include <valgrind/memcheck.h>

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TEXT_MAX 1500

static struct aead_job jobs[AEAD_BURST_MAX];
static uint8_t keys[AEAD_BURST_MAX][AEAD_KEY_BYTES];
static uint8_t texts[AEAD_BURST_MAX][TEXT_MAX + AEAD_TAG_BYTES];

/* Keys and texts are secret; lengths, their number and addresses are not. */
static void draw(uint16_t n, bool is_even)
{
	uint32_t len = random_below(TEXT_MAX + 1);

	for (uint16_t i = 0; i < n; i++) {
		random_bytes(keys[i], sizeof(keys[i]));
		random_bytes(texts[i], sizeof(texts[i]));
		jobs[i] = (struct aead_job){.key = keys[i],
			.counter = random_u64(),
			.src = texts[i],
			.dst = texts[i],
			.len = is_even ? len : random_below(TEXT_MAX + 1)};
	}
}

static void hide(uint16_t n)
{
	VALGRIND_MAKE_MEM_UNDEFINED(keys, n * sizeof(keys[0]));
	VALGRIND_MAKE_MEM_UNDEFINED(texts, n * sizeof(texts[0]));
}

static void show(uint16_t n)
{
	VALGRIND_MAKE_MEM_DEFINED(keys, n * sizeof(keys[0]));
	VALGRIND_MAKE_MEM_DEFINED(texts, n * sizeof(texts[0]));
	VALGRIND_MAKE_MEM_DEFINED(jobs, n * sizeof(jobs[0]));
}

static void test_nothing_depends_on_secrets(void **state)
{
	static const uint16_t sizes[] = {1, 2, 5, 8, 16, 19, 32};

	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
		for (unsigned round = 0; round < 8; round++) {
			uint16_t n = sizes[s];

			draw(n, round % 2);
			hide(n);
			inside->seal(inside_lanes, jobs, n);
			inside->open(inside_lanes, jobs, n);
			show(n);
			for (uint16_t i = 0; i < n; i++)
				assert_true(jobs[i].is_authentic);
		}
	assert_int_equal(VALGRIND_COUNT_ERRORS, 0);
}

/* The instrument shows a branch that does depend on one. */
static void test_would_be_seen(void **state)
{
	static volatile unsigned n_odd;

	draw(1, true);
	hide(1);
	if (keys[0][0] & 1)
		n_odd++;
	show(1);
	assert_int_equal(VALGRIND_COUNT_ERRORS, 1);
}

static int run_group(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_depends_on_secrets),
		cmocka_unit_test(test_would_be_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	if (!RUNNING_ON_VALGRIND) {
		printf("not under valgrind\n");
		return 77;
	}
	random_seed();
	return inside_run_each(run_group);
}
