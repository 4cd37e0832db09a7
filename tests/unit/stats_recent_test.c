/* stats_recent_test.c - the last drops: what is kept, for how long, and how many of a flood. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "stats/recent.h"

#define KEEP_NS (600 * NS_IN_S)

static struct stats_recent recent;
static uint64_t now_ns;

static int setup(void **state)
{
	stats_recent_init(&recent, KEEP_NS);
	now_ns = 1000 * NS_IN_S;
	return 0;
}

static bool put(enum stats_drop reason, uint16_t port)
{
	struct stats_recent_drop d = {.at_ns = now_ns,
		.dst = {.addr = {{[15] = 9}}, .port = port},
		.reason = (uint8_t)reason};

	if (!stats_recent_wants(&recent, reason, now_ns))
		return false;
	stats_recent_put(&recent, &d);
	return true;
}

static unsigned count(void)
{
	struct stats_recent_drop d;
	unsigned n = 0;

	for (uint64_t i = 0; i < 2 * STATS_RECENT_SLOTS; i++)
		n += stats_recent_read(&recent, i, now_ns, &d);
	return n;
}

static void the_last_comes_first(void **state)
{
	struct stats_recent_drop d;

	assert_int_equal(count(), 0);
	assert_true(put(STATS_DROP_no_lease, 1));
	now_ns += NS_IN_S;
	assert_true(put(STATS_DROP_ttl_expired, 2));
	assert_true(stats_recent_read(&recent, 0, now_ns, &d));
	assert_int_equal(d.reason, STATS_DROP_ttl_expired);
	assert_int_equal(d.dst.port, 2);
	assert_true(stats_recent_read(&recent, 1, now_ns, &d));
	assert_int_equal(d.dst.port, 1);
	assert_false(stats_recent_read(&recent, 2, now_ns, &d));
}

static void a_flood_leaves_room(void **state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 100000; i++, now_ns += NS_IN_S / 10000)
		n += put(STATS_DROP_no_lease, 7);
	/* Ten seconds of it, and the burst. */
	assert_in_range(n, 9 * STATS_RECENT_PER_S, 11 * STATS_RECENT_PER_S + STATS_RECENT_BURST);
	assert_true(put(STATS_DROP_inner_source, 8));
	now_ns += 10 * NS_IN_S;
	assert_true(put(STATS_DROP_no_lease, 9));
}

static void the_ring_turns(void **state)
{
	struct stats_recent_drop d;

	for (unsigned i = 0; i < 3 * STATS_RECENT_SLOTS; i++, now_ns += NS_IN_S / 10)
		assert_true(put(STATS_DROP_no_lease, (uint16_t)i));
	assert_int_equal(count(), STATS_RECENT_SLOTS);
	assert_true(stats_recent_read(&recent, STATS_RECENT_SLOTS - 1, now_ns, &d));
	assert_int_equal(d.dst.port, 2 * STATS_RECENT_SLOTS);
}

static void what_is_old_is_wiped(void **state)
{
	for (unsigned i = 0; i < 2 * STATS_RECENT_SLOTS; i++, now_ns += NS_IN_S / 10)
		put(STATS_DROP_no_lease, 7);
	now_ns += KEEP_NS - 30 * NS_IN_S;
	assert_in_range(count(), 1, STATS_RECENT_SLOTS - 1);
	now_ns += 30 * NS_IN_S;
	/* It is not told any more, and then it is gone. */
	assert_int_equal(count(), 0);
	for (unsigned i = 0; i < STATS_RECENT_SLOTS; i++)
		stats_recent_turn(&recent, now_ns);
	for (unsigned i = 0; i < STATS_RECENT_SLOTS; i++)
		for (size_t k = 0; k < sizeof(recent.slots[i].drop); k++)
			assert_int_equal(((const char *)&recent.slots[i].drop)[k], 0);
	assert_true(put(STATS_DROP_no_lease, 8));
	assert_int_equal(count(), 1);
	stats_recent_turn(&recent, now_ns);
	assert_int_equal(count(), 1);
}

static void off_is_off(void **state)
{
	stats_recent_init(&recent, 0);
	for (unsigned reason = 0; reason < STATS_N_DROPS; reason++)
		assert_false(put((enum stats_drop)reason, 1));
	assert_int_equal(count(), 0);
}

/* --- read while it is written: what is believed is whole */

static _Atomic bool is_over;

static void *write_all(void *arg)
{
	for (uint64_t i = 1; i < 2000000; i++) {
		struct stats_recent_drop d = {.at_ns = i, .size_bytes = (uint16_t)i};

		memset(&d.src.addr, (int)(i & 0xff), sizeof(d.src.addr));
		memset(&d.dst.addr, (int)(i & 0xff), sizeof(d.dst.addr));
		stats_recent_put(&recent, &d);
	}
	atomic_store(&is_over, true);
	return NULL;
}

static void a_copy_is_whole(void **state)
{
	struct stats_recent_drop d;
	pthread_t writer;

	atomic_store(&is_over, false);
	assert_int_equal(pthread_create(&writer, NULL, write_all, NULL), 0);
	while (!atomic_load(&is_over)) {
		for (uint64_t i = 0; i < STATS_RECENT_SLOTS; i += 7) {
			if (!stats_recent_read(&recent, i, 1, &d))
				continue;
			assert_int_equal(d.size_bytes, (uint16_t)d.at_ns);
			for (unsigned k = 0; k < 16; k++) {
				assert_int_equal(d.src.addr.bytes[k], d.at_ns & 0xff);
				assert_int_equal(d.dst.addr.bytes[k], d.at_ns & 0xff);
			}
		}
	}
	pthread_join(writer, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_last_comes_first, setup),
		cmocka_unit_test_setup(a_flood_leaves_room, setup),
		cmocka_unit_test_setup(the_ring_turns, setup),
		cmocka_unit_test_setup(what_is_old_is_wiped, setup),
		cmocka_unit_test_setup(off_is_off, setup),
		cmocka_unit_test_setup(a_copy_is_whole, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
