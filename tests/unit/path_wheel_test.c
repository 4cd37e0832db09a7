/* path_wheel_test.c - the timer wheel: never early, hardly late, nobody lost. */
#include "path/worker.h"

#include "eal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define TICK_NS	   (UINT64_C(1) << WHEEL_TICK_LOG2)
#define HORIZON_NS (TICK_NS * WHEEL_SLOTS)
#define START_NS   (UINT64_C(1000) * NS_IN_S + 12345)

static struct path_wheel wheel;

static int setup(void **state)
{
	path_wheel_init(&wheel, START_NS);
	return 0;
}

static unsigned count_in_wheel(void)
{
	unsigned n = 0;

	for (unsigned s = 0; s < WHEEL_SLOTS; s++) {
		struct peer_hot **link = &wheel.slots[s];

		for (; *link; link = &(*link)->wheel_next) {
			assert_ptr_equal((*link)->wheel_prev, link);
			n++;
		}
	}
	return n;
}

static void test_empty(void **state)
{
	assert_null(path_wheel_next(&wheel, START_NS));
	assert_null(path_wheel_next(&wheel, START_NS + 100 * HORIZON_NS));
	assert_null(path_wheel_next(&wheel, START_NS + 100 * HORIZON_NS));
}

static unsigned count_in_slot(uint64_t tick)
{
	unsigned n = 0;

	for (struct peer_hot *hot = wheel.slots[tick % WHEEL_SLOTS]; hot; hot = hot->wheel_next)
		n++;
	return n;
}

/* All wait in the last slot; when it comes up, one look puts back no more than it may. */
static void test_one_look_is_bounded(void **state)
{
	static struct peer_hot hots[3 * WHEEL_PUT_BACK_MAX];
	uint64_t last_tick = wheel.tick + WHEEL_SLOTS - 1;
	uint64_t now_ns = START_NS + 2 * HORIZON_NS;

	memset(hots, 0, sizeof(hots));
	for (size_t i = 0; i < RTE_DIM(hots); i++)
		path_wheel_arm(&wheel, &hots[i], START_NS + 100 * HORIZON_NS);
	assert_int_equal(count_in_slot(last_tick), RTE_DIM(hots));
	for (unsigned looks = 1; looks <= 3; looks++) {
		assert_null(path_wheel_next(&wheel, now_ns));
		assert_int_equal(count_in_wheel(), RTE_DIM(hots));
		if (looks < 3)
			assert_true(wheel.tick << WHEEL_TICK_LOG2 < now_ns - TICK_NS);
	}
	assert_null(path_wheel_next(&wheel, now_ns));
	for (size_t i = 0; i < RTE_DIM(hots); i++)
		path_wheel_remove(&hots[i]);
}

/* Looked at every quarter of a tick: at the deadline or within one tick and a look after it. */
static void test_never_early_and_at_most_a_tick_late(void **state)
{
	static const uint64_t delays_ns[] = {0, 1, TICK_NS - 1, TICK_NS, TICK_NS + 1, 5 * TICK_NS,
		HORIZON_NS - 2 * TICK_NS, HORIZON_NS - TICK_NS, HORIZON_NS, HORIZON_NS + 1,
		2 * HORIZON_NS + 7, 25 * NS_IN_S, 540 * NS_IN_S};
	const uint64_t step_ns = TICK_NS / 4;

	for (size_t i = 0; i < RTE_DIM(delays_ns); i++) {
		struct peer_hot hot = {.peer_idx = 1};
		uint64_t start_ns = wheel.tick << WHEEL_TICK_LOG2, now_ns = start_ns;

		path_wheel_arm(&wheel, &hot, start_ns + delays_ns[i]);
		while (!path_wheel_next(&wheel, now_ns))
			now_ns += step_ns;
		assert_true(now_ns >= start_ns + delays_ns[i]);
		assert_true(now_ns <= start_ns + delays_ns[i] + TICK_NS + step_ns);
		assert_null(hot.wheel_prev);
		assert_null(path_wheel_next(&wheel, now_ns));
		assert_int_equal(count_in_wheel(), 0);
	}
}

static void test_past_deadlines_are_due_at_once(void **state)
{
	struct peer_hot a = {0}, b = {0};

	path_wheel_arm(&wheel, &a, 0);
	path_wheel_arm(&wheel, &b, START_NS - HORIZON_NS * 3);
	assert_non_null(path_wheel_next(&wheel, START_NS));
	assert_non_null(path_wheel_next(&wheel, START_NS));
	assert_null(path_wheel_next(&wheel, START_NS));
}

static void test_never_is_not_in_the_wheel(void **state)
{
	struct peer_hot hot = {0};

	path_wheel_arm(&wheel, &hot, START_NS + NS_IN_S);
	path_wheel_arm(&wheel, &hot, TIME_NEVER);
	assert_null(hot.wheel_prev);
	assert_int_equal(count_in_wheel(), 0);
	assert_int_equal(hot.wheel_due_ns, TIME_NEVER);
	path_wheel_remove(&hot);
	assert_null(path_wheel_next(&wheel, START_NS + 10 * NS_IN_S));
}

static void test_arming_again_moves(void **state)
{
	struct peer_hot hots[3] = {{.peer_idx = 0}, {.peer_idx = 1}, {.peer_idx = 2}};

	/* All in one slot, so that the list is met at its head, middle and tail. */
	for (unsigned victim = 0; victim < 3; victim++) {
		uint64_t now_ns = wheel.tick << WHEEL_TICK_LOG2;
		unsigned seen = 0;
		struct peer_hot *hot;

		for (unsigned i = 0; i < 3; i++)
			path_wheel_arm(&wheel, &hots[i], now_ns + 10 * TICK_NS);
		path_wheel_arm(&wheel, &hots[victim], now_ns + 3 * TICK_NS);
		assert_int_equal(count_in_wheel(), 3);
		assert_ptr_equal(path_wheel_next(&wheel, now_ns + 5 * TICK_NS), &hots[victim]);
		assert_null(path_wheel_next(&wheel, now_ns + 9 * TICK_NS));
		while ((hot = path_wheel_next(&wheel, now_ns + 12 * TICK_NS)))
			seen |= 1u << hot->peer_idx;
		assert_int_equal(seen, 7u & ~(1u << victim));
	}
}

static void test_long_pauses_meet_everybody(void **state)
{
	static const uint64_t pauses_ns[] = {HORIZON_NS - TICK_NS, HORIZON_NS, HORIZON_NS + TICK_NS,
		3 * HORIZON_NS + 5, 86400 * NS_IN_S};
	static struct peer_hot hots[WHEEL_SLOTS + 64];

	for (size_t p = 0; p < RTE_DIM(pauses_ns); p++) {
		uint64_t now_ns = wheel.tick << WHEEL_TICK_LOG2;
		unsigned n_due = 0, n_all = RTE_DIM(hots);

		memset(hots, 0, sizeof(hots));
		for (unsigned i = 0; i < n_all; i++)
			path_wheel_arm(&wheel, &hots[i], now_ns + i * TICK_NS + 1);
		now_ns += pauses_ns[p];
		for (struct peer_hot *hot; (hot = path_wheel_next(&wheel, now_ns)); n_due++)
			assert_true(hot->wheel_due_ns <= now_ns);
		for (unsigned i = 0; i < n_all; i++)
			if (!hots[i].wheel_prev)
				assert_true(hots[i].wheel_due_ns <= now_ns);
			else
				assert_true(hots[i].wheel_due_ns + TICK_NS > now_ns);
		assert_int_equal(count_in_wheel() + n_due, n_all);
		while (path_wheel_next(&wheel, now_ns += TICK_NS) || count_in_wheel())
			;
	}
}

/* Against a list of deadlines, with time in steps from nothing to many rounds. */
static void test_random_model(void **state)
{
	static struct peer_hot hots[200];
	unsigned long seed = eal_test_seed(1);
	uint64_t now_ns = START_NS;

	memset(hots, 0, sizeof(hots));
	for (unsigned i = 0; i < RTE_DIM(hots); i++)
		hots[i].peer_idx = i;
	srand48((long)seed);
	for (unsigned step = 0; step < 20000; step++) {
		struct peer_hot *hot = &hots[(unsigned)lrand48() % RTE_DIM(hots)];
		uint64_t delay_ns = (uint64_t)(drand48() * drand48() * 3.0 * (double)HORIZON_NS);

		switch (lrand48() % 4) {
		case 0:
			path_wheel_remove(hot);
			break;
		case 1:
			now_ns += lrand48() % 50 ? (uint64_t)lrand48() % (2 * TICK_NS)
						 : (uint64_t)lrand48() * 16;
			while ((hot = path_wheel_next(&wheel, now_ns)))
				assert_true(hot->wheel_due_ns <= now_ns && !hot->wheel_prev);
			for (unsigned i = 0; i < RTE_DIM(hots); i++)
				assert_true(!hots[i].wheel_prev ||
					    hots[i].wheel_due_ns + TICK_NS > now_ns);
			break;
		default:
			path_wheel_arm(&wheel, hot, now_ns + delay_ns);
		}
		if (step % 64 == 0)
			count_in_wheel();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty, setup),
		cmocka_unit_test_setup(test_one_look_is_bounded, setup),
		cmocka_unit_test_setup(test_never_early_and_at_most_a_tick_late, setup),
		cmocka_unit_test_setup(test_past_deadlines_are_due_at_once, setup),
		cmocka_unit_test_setup(test_never_is_not_in_the_wheel, setup),
		cmocka_unit_test_setup(test_arming_again_moves, setup),
		cmocka_unit_test_setup(test_long_pauses_meet_everybody, setup),
		cmocka_unit_test_setup(test_random_model, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
