/* Deferred work runs after every reader has looked away, in order, and never before. */
#include "table/grace.h"
#include "eal.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static int ran[16];
static unsigned n_ran;

static void note(void *arg)
{
	ran[n_ran++ % 16] = *(int *)arg;
}

static int setup(void **state)
{
	n_ran = 0;
	return 0;
}

static void test_offline_readers_do_not_hold_up(void **state)
{
	static int ids[] = {0, 1, 2};
	struct grace *g = grace_create(3);

	assert_null(grace_create(0));
	assert_int_equal(grace_poll(g), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(grace_defer(g, note, &ids[i]), 0);
	assert_int_equal(grace_pending(g), 3);
	assert_int_equal(n_ran, 0);
	assert_int_equal(grace_poll(g), 3);
	assert_int_equal(grace_pending(g), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ran[i], i);
	grace_destroy(g);
	grace_destroy(NULL);
}

static void test_every_reader_must_pass(void **state)
{
	static int one = 1, two = 2;
	struct grace *g = grace_create(70); /* more than one word of rte_rcu_qsbr's bitmap */

	grace_reader_online(g, 0);
	grace_reader_online(g, 69);
	grace_defer(g, note, &one);
	assert_int_equal(grace_poll(g), 0);
	grace_reader_quiescent(g, 0);
	assert_int_equal(grace_poll(g), 0);
	grace_reader_quiescent(g, 69);
	grace_defer(g, note, &two); /* after the quiescent points: waits for the next ones */
	assert_int_equal(grace_poll(g), 1);
	assert_int_equal(ran[0], 1);
	grace_reader_quiescent(g, 0);
	assert_int_equal(grace_poll(g), 0);
	grace_reader_offline(g, 69);
	assert_int_equal(grace_poll(g), 1);
	assert_int_equal(ran[1], 2);
	/* Who comes online after the call has nothing to do with it. */
	grace_defer(g, note, &one);
	grace_reader_quiescent(g, 0);
	grace_reader_online(g, 69);
	assert_int_equal(grace_poll(g), 1);
	grace_destroy(g);
}

struct again {
	struct grace *g;
	struct grace_work work;
	int n_left;
};

static void defer_again(void *arg)
{
	struct again *a = arg;

	n_ran++;
	if (--a->n_left > 0)
		grace_defer_work(a->g, &a->work, defer_again, a);
}

static void test_work_may_defer(void **state)
{
	struct again a = {.g = grace_create(1), .n_left = 5};

	grace_defer_work(a.g, &a.work, defer_again, &a);
	for (unsigned i = 1; i <= 3; i++) {
		/* All readers are offline, and yet one poll is one turn. */
		assert_int_equal(grace_poll(a.g), 1);
		assert_int_equal(n_ran, i);
	}
	grace_destroy(a.g);
	assert_int_equal(n_ran, 5);
}

static void test_cancel(void **state)
{
	static int ids[] = {0, 1, 2, 3, 4};
	struct grace_work w[3];
	struct grace *g = grace_create(1);

	grace_defer_work(g, &w[0], note, &ids[0]);
	grace_defer_work(g, &w[1], note, &ids[1]);
	grace_defer(g, note, &ids[2]);
	grace_defer_work(g, &w[2], note, &ids[3]);
	grace_cancel(g, &w[2]); /* the tail: the next one must still be found */
	grace_cancel(g, &w[2]);
	grace_defer(g, note, &ids[4]);
	grace_cancel(g, &w[0]);
	assert_int_equal(grace_pending(g), 3);
	assert_int_equal(grace_poll(g), 3);
	assert_int_equal(ran[0], 1);
	assert_int_equal(ran[1], 2);
	assert_int_equal(ran[2], 4);
	grace_destroy(g);
}

/* Readers follow a pointer; the writer replaces what it points at and frees the old one after a
 * grace period. ALIVE in a freed one would be a reader that was not waited for. */
#define N_READERS 3
#define N_SWAPS	  20000
#define ALIVE	  0x600d600dU
#define DEAD	  0xdeaddeadU

struct object {
	uint32_t
		state; /* W: writer, R: readers; atomic only to tell a race detector that we look */
};

static struct object *published;
static struct grace *shared;
static bool must_stop;
static unsigned n_freed;

static void bury(void *arg)
{
	struct object *o = arg;

	__atomic_store_n(&o->state, DEAD, __ATOMIC_RELAXED);
	n_freed++;
	free(o);
}

static void *read_on(void *arg)
{
	uint32_t id = *(uint32_t *)arg;
	uintptr_t n_bad = 0;

	grace_reader_online(shared, id);
	for (unsigned turn = 0; !__atomic_load_n(&must_stop, __ATOMIC_RELAXED); turn++) {
		struct object *o = __atomic_load_n(&published, __ATOMIC_ACQUIRE);

		for (int i = 0; i < 50; i++)
			n_bad += __atomic_load_n(&o->state, __ATOMIC_RELAXED) != ALIVE;
		if (turn % 64 == 63) {
			grace_reader_offline(shared, id);
			sched_yield();
			grace_reader_online(shared, id);
		} else {
			grace_reader_quiescent(shared, id);
		}
	}
	grace_reader_offline(shared, id);
	return (void *)n_bad;
}

static struct object *create_object(void)
{
	struct object *o = malloc(sizeof(*o));

	assert_non_null(o);
	o->state = ALIVE;
	return o;
}

static void test_readers_see_no_freed_object(void **state)
{
	static uint32_t ids[N_READERS] = {0, 1, 2};
	pthread_t readers[N_READERS];
	void *n_bad;

	shared = grace_create(N_READERS);
	published = create_object();
	for (int i = 0; i < N_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_on, &ids[i]), 0);
	for (int i = 0; i < N_SWAPS; i++) {
		struct object *old = published;

		__atomic_store_n(&published, create_object(), __ATOMIC_RELEASE);
		assert_int_equal(grace_defer(shared, bury, old), 0);
		grace_poll(shared);
		while (grace_pending(shared) > 100) {
			sched_yield();
			grace_poll(shared);
		}
	}
	__atomic_store_n(&must_stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < N_READERS; i++) {
		pthread_join(readers[i], &n_bad);
		assert_ptr_equal(n_bad, NULL);
	}
	grace_destroy(shared);
	assert_int_equal(n_freed, N_SWAPS);
	free(published);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_offline_readers_do_not_hold_up, setup),
		cmocka_unit_test_setup(test_every_reader_must_pass, setup),
		cmocka_unit_test_setup(test_work_may_defer, setup),
		cmocka_unit_test_setup(test_cancel, setup),
		cmocka_unit_test(test_readers_see_no_freed_object),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
