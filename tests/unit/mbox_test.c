/* A mailbox keeps order, refuses when full, and never loses a wake-up. */
#include "mbox/mbox.h"
#include "eal.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static void *msg(uintptr_t i)
{
	return (void *)(i + 1);
}

static bool is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void test_create_refuses(void **state)
{
	struct mbox *m = mbox_create("twice", 8, false, SOCKET_ID_ANY);

	assert_non_null(m);
	assert_null(mbox_create("twice", 8, false, SOCKET_ID_ANY));
	assert_null(mbox_create("odd", 7, true, SOCKET_ID_ANY));
	mbox_destroy(m);
	mbox_destroy(NULL);
	m = mbox_create("twice", 8, false, SOCKET_ID_ANY);
	assert_non_null(m);
	mbox_destroy(m);
}

static void test_order_and_full(void **state)
{
	struct mbox *m = mbox_create("full", 8, false, SOCKET_ID_ANY);
	void *in[16], *out[16];

	assert_int_equal(mbox_fd(m), -1);
	for (uintptr_t i = 0; i < 16; i++)
		in[i] = msg(i);
	/* Several turns, so that the ring's indices wrap. */
	for (int turn = 0; turn < 5; turn++) {
		assert_int_equal(mbox_push_burst(m, in, 5), 5);
		assert_int_equal(mbox_push_burst(m, in + 5, 11), 2);
		assert_false(mbox_push(m, in[7]));
		assert_int_equal(mbox_count(m), 7);
		assert_int_equal(mbox_pop_burst(m, out, 3), 3);
		assert_true(mbox_push(m, in[7]));
		assert_int_equal(mbox_pop_burst(m, out + 3, 16), 5);
		for (int i = 0; i < 8; i++)
			assert_ptr_equal(out[i], in[i]);
		assert_int_equal(mbox_pop_burst(m, out, 16), 0);
	}
	mbox_destroy(m);
}

static void test_wakes_once_per_sleep(void **state)
{
	struct mbox *m = mbox_create("wake", 8, true, SOCKET_ID_ANY);
	void *out[8];

	assert_true(mbox_fd(m) >= 0);
	assert_true(mbox_push(m, msg(0)));
	assert_false(is_readable(mbox_fd(m)));
	mbox_arm(m);
	assert_int_equal(mbox_pop_burst(m, out, 8), 1);
	assert_false(is_readable(mbox_fd(m)));
	assert_true(mbox_push(m, msg(1)));
	assert_true(is_readable(mbox_fd(m)));
	mbox_disarm(m);
	assert_false(is_readable(mbox_fd(m)));
	assert_true(mbox_push(m, msg(2)));
	assert_false(is_readable(mbox_fd(m)));
	mbox_arm(m);
	mbox_disarm(m);
	assert_true(mbox_push(m, msg(3)));
	assert_false(is_readable(mbox_fd(m)));
	assert_int_equal(mbox_pop_burst(m, out, 8), 3);
	mbox_destroy(m);
}

#define N_MESSAGES 300000UL

/* What a message points at: plain memory, so that a race detector checks the hand-over. */
static uint64_t payload[N_MESSAGES];

static void *produce(void *arg)
{
	struct mbox *m = arg;
	void *burst[7];

	for (uintptr_t i = 0; i < N_MESSAGES;) {
		unsigned n = (unsigned)(i % 7) + 1, sent = 0;

		if (n > N_MESSAGES - i)
			n = (unsigned)(N_MESSAGES - i);
		for (unsigned j = 0; j < n; j++) {
			payload[i + j] = i + j;
			burst[j] = &payload[i + j];
		}
		while (sent < n) {
			unsigned got = mbox_push_burst(m, burst + sent, n - sent);

			if (got == 0)
				sched_yield();
			sent += got;
		}
		i += n;
	}
	return NULL;
}

/* One message at a time: each arming of the consumer meets the next push as closely as two cores
 * can. */
static void *produce_one_by_one(void *arg)
{
	struct mbox *m = arg;

	for (uint64_t i = 0; i < N_MESSAGES; i++) {
		payload[i] = i;
		while (!mbox_push(m, &payload[i]))
			sched_yield();
		for (int spins = 0; mbox_count(m) != 0; spins++)
			if (spins > 1000)
				sched_yield();
	}
	return NULL;
}

static void consume_all(const char *name, void *(*producer_fn)(void *))
{
	struct mbox *m = mbox_create(name, 64, true, SOCKET_ID_ANY);
	struct pollfd p = {.fd = mbox_fd(m), .events = POLLIN};
	uint64_t expected = 0;
	pthread_t producer;

	assert_int_equal(pthread_create(&producer, NULL, producer_fn, m), 0);
	while (expected < N_MESSAGES) {
		void *out[16];
		unsigned n = mbox_pop_burst(m, out, 16);

		if (n == 0) {
			mbox_arm(m);
			n = mbox_pop_burst(m, out, 16);
			/* A lost wake-up would sleep here for ever; the deadline makes it a
			 * failure. */
			if (n == 0)
				assert_int_equal(poll(&p, 1, 20000), 1);
			mbox_disarm(m);
		}
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(*(uint64_t *)out[i], expected++);
	}
	pthread_join(producer, NULL);
	mbox_destroy(m);
}

static void test_no_wake_up_is_lost(void **state)
{
	consume_all("bursts", produce);
	consume_all("single", produce_one_by_one);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_refuses),
		cmocka_unit_test(test_order_and_full),
		cmocka_unit_test(test_wakes_once_per_sleep),
		cmocka_unit_test(test_no_wake_up_is_lost),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
