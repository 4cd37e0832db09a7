/* lanes_secret_test.c - no branch and no address depends on a secret (run by valgrind's memcheck,
 * to which secrets are memory without a value; what is computed from them has none either).
 *
 * What may depend on keys is the verdict of open, and what follows from it: MAKE_PUBLIC of
 * lanes_avx2.c, which is compiled with it for this test. Of AVX-512 valgrind knows nothing.
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
/* Where they go, out of place. */
static uint8_t other[AEAD_BURST_MAX][TEXT_MAX + AEAD_TAG_BYTES], opened[AEAD_BURST_MAX][TEXT_MAX];

/* Keys and texts are secret; lengths, their number and addresses are not. */
static void draw(uint16_t n, bool is_even, bool is_in_place)
{
	uint32_t len = random_below(TEXT_MAX + 1);

	for (uint16_t i = 0; i < n; i++) {
		random_bytes(keys[i], sizeof(keys[i]));
		random_bytes(texts[i], sizeof(texts[i]));
		jobs[i] = (struct aead_job){.key = keys[i],
			.counter = random_u64(),
			.src = texts[i],
			.dst = is_in_place ? texts[i] : other[i],
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
}

/* Seals and opens; every third packet is forged in between, if so wished. */
static void try_burst(uint16_t n, bool is_in_place, bool has_forged)
{
	hide(n);
	inside->seal(inside_lanes, jobs, n);
	for (uint16_t i = 0; i < n; i++) {
		jobs[i].src = jobs[i].dst;
		jobs[i].dst = is_in_place ? texts[i] : opened[i];
		if (has_forged && i % 3 == 0)
			((uint8_t *)(uintptr_t)jobs[i].src)[jobs[i].len + i % AEAD_TAG_BYTES] ^= 1;
	}
	inside->open(inside_lanes, jobs, n);
	show(n);
	for (uint16_t i = 0; i < n; i++)
		assert_int_equal(jobs[i].is_authentic, !has_forged || i % 3 != 0);
}

static void test_nothing_depends_on_secrets(void **state)
{
	static const uint16_t sizes[] = {1, 2, 5, 8, 16, 19, 32, 64};

	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
		for (unsigned round = 0; round < 16; round++) {
			bool is_in_place = round / 2 % 2;

			draw(sizes[s], round % 2, is_in_place);
			try_burst(sizes[s], is_in_place, round / 4 % 2);
		}
	assert_int_equal(VALGRIND_COUNT_ERRORS, 0);
}

/* The instrument shows a branch that does depend on one. */
static void test_would_be_seen(void **state)
{
	static volatile unsigned n_odd;

	draw(1, true, true);
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
