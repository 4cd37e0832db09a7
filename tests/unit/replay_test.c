/* The window against its edges, and against a model that remembers every counter. */
#include "noise/replay.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WINDOW ((uint64_t)NOISE_REPLAY_WINDOW_PKTS)

static uint64_t rng_state;

static uint64_t rng_next(void)
{
	uint64_t z = rng_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static void rng_seed(void)
{
	const char *text = getenv("PORTIER_TEST_SEED");

	rng_state = text ? strtoull(text, NULL, 0) : 20240611;
	print_message("seed %" PRIu64 "\n", rng_state);
}

/* The specification, literally: everything ever accepted, in a ring far longer than the window. */
#define MODEL_BITS (1u << 17)
struct model {
	uint64_t greatest;
	bool has_greatest;
	uint64_t seen[MODEL_BITS]; /* counter + 1 */
};

static bool model_accept(struct model *m, uint64_t counter)
{
	if (counter >= NOISE_REJECT_AFTER_MSGS)
		return false;
	if (m->has_greatest && counter < m->greatest && m->greatest - counter >= WINDOW)
		return false;
	if (m->seen[counter % MODEL_BITS] == counter + 1)
		return false;
	m->seen[counter % MODEL_BITS] = counter + 1;
	if (!m->has_greatest || counter > m->greatest)
		m->greatest = counter;
	m->has_greatest = true;
	return true;
}

/* A refused counter must leave no trace. */
static void assert_refused(struct noise_replay *r, uint64_t counter)
{
	struct noise_replay before = *r;

	assert_false(noise_replay_accept(r, counter));
	assert_memory_equal(r, &before, sizeof(before));
}

static void test_starts_empty(void **state)
{
	(void)state;
	struct noise_replay r;

	memset(&r, 0xff, sizeof(r));
	noise_replay_init(&r);
	for (uint64_t c = 0; c < 3 * WINDOW; c++) {
		assert_true(noise_replay_accept(&r, c));
		assert_refused(&r, c);
	}
}

static void test_first_counter_may_be_any(void **state)
{
	(void)state;
	static const uint64_t firsts[] = {0, 1, 63, 64, 65, 8127, 8128, 8191, 8192, 8193,
		1ULL << 32, 1ULL << 60, NOISE_REJECT_AFTER_MSGS - 1};

	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		struct noise_replay r = {0};

		assert_true(noise_replay_accept(&r, firsts[i]));
		assert_refused(&r, firsts[i]);
		for (uint64_t back = 1; back <= firsts[i] && back < WINDOW; back++)
			assert_true(noise_replay_accept(&r, firsts[i] - back));
		for (uint64_t back = 1; back <= firsts[i] && back < WINDOW + 200; back++)
			assert_refused(&r, firsts[i] - back);
	}
}

/* For every position of the front inside its word, and twice round the ring: the oldest counter of
 * the window passes once, the one behind it never. */
static void test_back_edge_at_every_front(void **state)
{
	(void)state;
	struct noise_replay r = {0};
	uint64_t first = WINDOW + 5;

	for (uint64_t front = first; front < first + 2 * NOISE_REPLAY_BITS + 64; front++) {
		assert_true(noise_replay_accept(&r, front));
		assert_refused(&r, front);
		assert_refused(&r, front - WINDOW);
		/* Before `first` nothing was sent; after it, each counter was a front. */
		if (front - (WINDOW - 1) < first)
			assert_true(noise_replay_accept(&r, front - (WINDOW - 1)));
		assert_refused(&r, front - (WINDOW - 1));
	}
}

/* From every offset in a word, jump by every distance up to twice the ring: what the jump passed
 * over is new, what was seen before it stays seen while in the window. */
static void test_every_jump(void **state)
{
	(void)state;
	for (uint64_t offset = 0; offset < 64; offset += 21) {
		for (uint64_t jump = 1; jump <= 2 * NOISE_REPLAY_BITS + 65; jump++) {
			struct noise_replay r = {0};
			uint64_t base = 3 * NOISE_REPLAY_BITS + offset;
			uint64_t to = base + jump;

			assert_true(noise_replay_accept(&r, base - 1));
			assert_true(noise_replay_accept(&r, base));
			assert_true(noise_replay_accept(&r, to));
			assert_refused(&r, to);
			assert_refused(&r, base);
			assert_refused(&r, base - 1);
			if (jump > 1)
				assert_true(noise_replay_accept(&r, to - 1));
			if (jump > 2 && jump - 1 < WINDOW)
				assert_true(noise_replay_accept(&r, base + 1));
			assert_refused(&r, to - WINDOW);
			if (jump > WINDOW)
				assert_true(noise_replay_accept(&r, to - WINDOW + 1));
		}
	}
}

static void test_every_bit_of_the_window_is_kept(void **state)
{
	(void)state;
	/* Mark every other counter, then ask for all of them, from the back and from the front. */
	for (unsigned odd = 0; odd < 2; odd++) {
		struct noise_replay r = {0};
		uint64_t base = 5 * NOISE_REPLAY_BITS + 17;

		for (uint64_t c = base; c < base + WINDOW; c++) {
			if (c % 2 == odd)
				assert_true(noise_replay_accept(&r, c));
		}
		for (uint64_t c = base; c < base + WINDOW; c++)
			assert_int_equal(noise_replay_accept(&r, c), c % 2 != odd);
		for (uint64_t c = base + WINDOW; c-- > base;)
			assert_refused(&r, c);
	}
}

static void test_upper_limit(void **state)
{
	(void)state;
	static const uint64_t over[] = {NOISE_REJECT_AFTER_MSGS, NOISE_REJECT_AFTER_MSGS + 1,
		UINT64_MAX - NOISE_REPLAY_BITS + 1, UINT64_MAX - 1, UINT64_MAX};
	struct noise_replay r = {0};

	for (size_t i = 0; i < sizeof(over) / sizeof(over[0]); i++)
		assert_refused(&r, over[i]);
	assert_true(noise_replay_accept(&r, NOISE_REJECT_AFTER_MSGS - 2));
	assert_true(noise_replay_accept(&r, NOISE_REJECT_AFTER_MSGS - 1));
	assert_refused(&r, NOISE_REJECT_AFTER_MSGS - 1);
	for (size_t i = 0; i < sizeof(over) / sizeof(over[0]); i++)
		assert_refused(&r, over[i]);
	assert_refused(&r, NOISE_REJECT_AFTER_MSGS - 1 - WINDOW);
	assert_true(noise_replay_accept(&r, NOISE_REJECT_AFTER_MSGS - WINDOW));
	assert_refused(&r, 0);
}

/* Draw a counter near something that matters: the front, the back edge, a jump, or anywhere. */
static uint64_t draw_counter(const struct model *m)
{
	uint64_t front = m->greatest;
	uint64_t r = rng_next();

	switch (r % 8) {
	case 0:
	case 1:
	case 2:
		return front + 1 + (r >> 32) % 3;
	case 3:
		return front - (r >> 32) % 70;
	case 4:
		return front - (r >> 32) % (WINDOW + 64);
	case 5:
		return front - WINDOW + (r >> 32) % 130 - 65;
	case 6:
		return front + (r >> 32) % 200;
	default:
		return (r >> 32) % 50 ? front + 1 : front + (r >> 16) % (3 * NOISE_REPLAY_BITS);
	}
}

static void test_random_against_model(void **state)
{
	(void)state;
	struct model *m = malloc(sizeof(*m));
	/* Starts: cold, far out, and so close to the upper limit that draws cross it. */
	static const uint64_t starts[] = {0, 1ULL << 40, NOISE_REJECT_AFTER_MSGS - (1ULL << 24)};

	assert_non_null(m);
	rng_seed();
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct noise_replay r = {0};
		unsigned n_accepted = 0;

		memset(m, 0, sizeof(*m));
		if (starts[i] > 0)
			assert_int_equal(
				model_accept(m, starts[i]), noise_replay_accept(&r, starts[i]));
		for (unsigned n = 0; n < 1000000; n++) {
			uint64_t c = draw_counter(m);
			bool expected = model_accept(m, c);

			if (noise_replay_accept(&r, c) != expected)
				fail_msg("counter %" PRIu64 " after %" PRIu64 ": expected %d", c,
					m->greatest, expected);
			n_accepted += expected;
		}
		assert_in_range(n_accepted, 10000, 990000);
	}
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starts_empty),
		cmocka_unit_test(test_first_counter_may_be_any),
		cmocka_unit_test(test_back_edge_at_every_front),
		cmocka_unit_test(test_every_jump),
		cmocka_unit_test(test_every_bit_of_the_window_is_kept),
		cmocka_unit_test(test_upper_limit),
		cmocka_unit_test(test_random_against_model),
	};

	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
