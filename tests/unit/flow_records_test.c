/* flow_records_test.c - one record when a block of ports becomes a peer's, one when it ceases to
 * be; none is lost unsaid, whatever the two threads do.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "flow_world.h"

static struct flow_record take(void)
{
	struct flow_record record;

	assert_true(flow_records_take(flows_records(world.flows), &record));
	return record;
}

static void assert_no_record(void)
{
	struct flow_record record;

	assert_false(flow_records_take(flows_records(world.flows), &record));
}

/* --- the queue */

static void test_order_and_misses(void **state)
{
	struct flow_records *r = flow_records_create();
	struct flow_record record = {0};
	uint32_t next = 0, n_taken = 0;

	assert_non_null(r);
	assert_false(flow_records_take(r, &record));
	/* The places are used several times over. */
	for (uint32_t i = 0; i < 3 * FLOW_RECORDS_WAITING; i++) {
		flow_records_add(r, &(struct flow_record){.peer_idx = i});
		if (i % 4 == 0)
			continue;
		assert_true(flow_records_take(r, &record));
		assert_int_equal(record.peer_idx, next++);
	}
	assert_int_equal(flow_records_missed(r), 0);
	while (flow_records_take(r, &record))
		assert_int_equal(record.peer_idx, next++);
	assert_int_equal(next, 3 * FLOW_RECORDS_WAITING);

	for (uint32_t i = 0; i < FLOW_RECORDS_WAITING + 5; i++)
		flow_records_add(r, &(struct flow_record){.peer_idx = i});
	assert_int_equal(flow_records_missed(r), 5);
	while (flow_records_take(r, &record))
		assert_int_equal(record.peer_idx, n_taken++);
	assert_int_equal(n_taken, FLOW_RECORDS_WAITING);
	flow_records_destroy(r);
	flow_records_destroy(NULL);
}

#define N_RACED 200000u

static void *add_many(void *arg)
{
	for (uint32_t i = 0; i < N_RACED; i++)
		flow_records_add(
			arg, &(struct flow_record){.at_ns = i, .peer_idx = i, .public_v4 = ~i});
	return NULL;
}

static void test_two_threads(void **state)
{
	struct flow_records *r = flow_records_create();
	struct flow_record record;
	uint32_t n_taken = 0, least = 0;
	pthread_t worker;

	assert_int_equal(pthread_create(&worker, NULL, add_many, r), 0);
	while (n_taken + flow_records_missed(r) < N_RACED) {
		if (!flow_records_take(r, &record)) {
			sched_yield();
			continue;
		}
		assert_true(record.peer_idx >= least);
		assert_int_equal(record.public_v4, ~record.peer_idx);
		assert_int_equal(record.at_ns, record.peer_idx);
		least = record.peer_idx + 1;
		n_taken++;
	}
	pthread_join(worker, NULL);
	assert_false(flow_records_take(r, &record));
	flow_records_destroy(r);
}

/* --- blocks */

static void test_one_a_block(void **state)
{
	struct flow_out_key key;
	struct flow_record first, second;

	for (uint16_t i = 0; i <= BLOCK; i++) {
		key = out_key(3, UDP, 5000 + i, REMOTE, 53);
		begin_out(&key, 0);
	}
	key = out_key(3, TCP, 5000, REMOTE, 53);
	begin_out(&key, SYN);
	first = take();
	second = take();
	assert_no_record();
	assert_true(first.is_claimed && second.is_claimed);
	assert_true(first.peer_idx == 3 && second.peer_idx == 3);
	assert_true(first.public_v4 == PUBLIC_A && second.public_v4 == PUBLIC_A);
	assert_true(first.n_ports == BLOCK && second.n_ports == BLOCK);
	assert_int_equal(first.at_ns, world.now_ns);
	assert_int_not_equal(first.first_port, second.first_port);
	assert_int_equal(blocks_owner(world.blocks, PUBLIC_A, first.first_port), 3);
	assert_int_equal(blocks_owner(world.blocks, PUBLIC_A, second.first_port + BLOCK - 1), 3);

	/* It is the peer's while one of its ports rests. */
	world_pass(UDP_NS + REST_NS - NS_IN_S);
	assert_no_record();
	world_pass(NS_IN_S + LATE_NS + 100 * NS_IN_MS);
	first = take();
	second = take();
	assert_no_record();
	assert_true(!first.is_claimed && !second.is_claimed);
	assert_true(first.peer_idx == 3 && second.peer_idx == 3);
	assert_true(first.at_ns > world.now_ns - NS_IN_S && first.at_ns <= world.now_ns);
	assert_int_equal(blocks_owner(world.blocks, PUBLIC_A, first.first_port), BLOCKS_NONE);
}

/* Nobody's while they rest: not recorded again when they are free. */
static void test_forgotten(void **state)
{
	struct flow_out_key key = out_key(3, UDP, 5000, REMOTE, 53);
	struct flow_record record;

	begin_out(&key, 0);
	assert_true(take().is_claimed);
	flow_peer_forget(world.flows, 3, world.now_ns);
	record = take();
	assert_false(record.is_claimed);
	assert_int_equal(record.peer_idx, 3);
	assert_int_equal(record.at_ns, world.now_ns);
	world_pass(REST_NS + LATE_NS);
	assert_no_record();
}

/* What the records say is how things are, at any moment. */
static void test_records_are_true(void **state)
{
	uint32_t owners[65536 / BLOCK];
	struct flow_record record;

	memset(owners, 0xff, sizeof(owners));
	for (unsigned i = 0; i < 3000; i++) {
		uint32_t peer_idx = random_below(20);
		struct flow_out_key key =
			out_key(peer_idx, UDP, (uint16_t)(5000 + random_below(100)), REMOTE, 53);

		if (random_below(50) == 0)
			flow_peer_forget(world.flows, peer_idx, world.now_ns);
		else
			send_packet(&key, 0, NULL);
		world_pass(random_below(40) == 0 ? UDP_NS + REST_NS : random_below(4) * NS_IN_S);
		while (flow_records_take(flows_records(world.flows), &record)) {
			uint32_t *owner = &owners[record.first_port / BLOCK];

			assert_int_equal(*owner, record.is_claimed ? BLOCKS_NONE : record.peer_idx);
			*owner = record.is_claimed ? record.peer_idx : BLOCKS_NONE;
		}
		for (unsigned port = PORT_FIRST; port <= PORT_LAST; port += BLOCK)
			assert_int_equal(blocks_owner(world.blocks, PUBLIC_A, (uint16_t)port),
				owners[port / BLOCK]);
	}
	assert_int_equal(flow_records_missed(flows_records(world.flows)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_misses),
		cmocka_unit_test(test_two_threads),
		cmocka_unit_test_setup_teardown(test_one_a_block, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_forgotten, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_records_are_true, world_setup, world_teardown),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
