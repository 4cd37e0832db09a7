/* peer_order_test.c - where keypairs live, and what handshake thread and workers say to each other.
 */
#include "peer/order.h"

#include "eal.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t secret[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

static bool holds_secret(const void *p, size_t len)
{
	return memmem(p, len, secret, sizeof(secret)) != NULL;
}

static void test_index_layout(void **state)
{
	static const struct {
		uint32_t n_workers, max_peers, n_slots;
	} cases[] = {{1, 1, 64}, {1, 100, 512}, {2, 1000, 2048}, {3, 1000, 2048}, {64, 16, 64},
		{2, 1000000, 2097152}, {1, 100000000, 1u << 23}, {64, 100000000, 1u << 18}};

	for (unsigned c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct keypairs *k = keypairs_create(cases[c].n_workers, cases[c].max_peers);

		assert_non_null(k);
		assert_int_equal(k->n_slots, cases[c].n_slots);
		assert_true(k->tag_bits >= KEYPAIRS_TAG_BITS_MIN);
		for (uint32_t worker = 0; worker < k->n_workers; worker++) {
			static const uint32_t tags[] = {0, 1, 0x80, 0xdeadbeef, UINT32_MAX};
			uint32_t slots[] = {0, 1, k->n_slots / 2, k->n_slots - 1};

			for (unsigned n = 0; n < 4 * 5; n++) {
				uint32_t idx = keypairs_index(k, worker, slots[n / 5], tags[n % 5]);

				assert_int_not_equal(idx & ((1u << k->tag_bits) - 1), 0);
				assert_int_equal(keypairs_worker(k, idx), worker);
				assert_int_equal(keypairs_slot(k, idx), slots[n / 5]);
				assert_ptr_equal(
					keypairs_get(k, idx), &k->slots[worker][slots[n / 5]]);
				assert_false(keypairs_is(keypairs_get(k, idx), idx));
			}
		}
		if (k->n_workers == 3 || k->n_workers == 1)
			assert_null(keypairs_get(k, UINT32_MAX));
		keypairs_destroy(k);
	}
	assert_null(keypairs_create(0, 1));
	assert_null(keypairs_create(KEYPAIRS_WORKERS_MAX + 1, 1));
	keypairs_destroy(NULL);
	(void)state;
}

static void test_order_moves_its_keys(void **state)
{
	struct keypairs *k = keypairs_create(1, 1);
	struct rte_mempool *pool = rte_mempool_create("orders", 7, sizeof(struct peer_order), 0, 0,
		NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
	struct peer_order *o;
	struct noise_keypair *kp;
	void *obj;

	assert_non_null(pool);
	assert_int_equal(rte_mempool_get(pool, &obj), 0);
	o = obj;
	memset(o, 0, sizeof(*o));
	memcpy(o->send_key, secret, 32);
	memcpy(o->recv_key, secret, 32);
	o->peer_idx = 3;
	o->local_idx = keypairs_index(k, 0, 5, 99);
	o->remote_idx = 4;
	o->created_ns = 1000;
	o->is_initiator = true;
	kp = keypairs_get(k, o->local_idx);
	kp->replay.next = 55;
	kp->send_counter = 66;
	peer_order_keys_move(o, kp, 900);
	assert_false(holds_secret(o, sizeof(*o)));
	assert_memory_equal(kp->send_key, secret, 32);
	assert_memory_equal(kp->recv_key, secret, 32);
	assert_int_equal(kp->created_ns, 900);
	assert_int_equal(kp->replay.next, 0);
	assert_int_equal(kp->send_counter, 0);
	assert_int_equal(kp->peer_idx, 3);
	assert_int_equal(kp->remote_idx, 4);
	assert_true(kp->is_initiator);
	assert_ptr_equal(keypairs_get(k, o->local_idx), kp);
	assert_true(keypairs_is(kp, o->local_idx));
	assert_false(keypairs_is(keypairs_get(k, o->local_idx ^ 1), o->local_idx ^ 1));
	memcpy(o->send_key, secret, 32);
	peer_order_put(o);
	assert_false(holds_secret(o, sizeof(*o)));
	assert_int_equal(rte_mempool_avail_count(pool), 7);
	rte_mempool_free(pool);
	keypairs_destroy(k);
	(void)state;
}

static void test_events(void **state)
{
	struct keypairs *k = keypairs_create(1, 1);
	uint32_t n_slots = peer_events_n_slots(k, 100);
	struct mbox *m = mbox_create("events", n_slots, false, -1);
	struct peer_msg msg;
	void *ev[4];
	unsigned n;

	assert_non_null(m);
	assert_true(peer_event_start(m, 7));
	assert_true(peer_event_confirmed(m, PEER_NONE));
	assert_true(peer_event_retired(m, UINT32_MAX));
	assert_true(peer_event_msg(m, &msg));
	assert_int_equal(mbox_pop_burst(m, ev, 4), 4);
	assert_int_equal(peer_event_kind_get(ev[0]), PEER_EVENT_START);
	assert_int_equal(peer_event_value_get(ev[0]), 7);
	assert_int_equal(peer_event_kind_get(ev[1]), PEER_EVENT_CONFIRMED);
	assert_int_equal(peer_event_value_get(ev[1]), PEER_NONE);
	assert_int_equal(peer_event_kind_get(ev[2]), PEER_EVENT_RETIRED);
	assert_int_equal(peer_event_value_get(ev[2]), UINT32_MAX);
	assert_int_equal(peer_event_kind_get(ev[3]), PEER_EVENT_MSG);
	assert_ptr_equal((void *)peer_event_value_get(ev[3]), &msg);

	/* What may be lost leaves room for what may not. */
	for (n = 0; peer_event_start(m, n); n++)
		;
	assert_int_equal(n, PEER_EVENTS_OPTIONAL_MAX);
	assert_false(peer_event_confirmed(m, 0));
	for (n = 0; n < k->n_slots; n++)
		assert_true(peer_event_retired(m, n + 1));
	for (n = 0; n < 100; n++)
		assert_true(peer_event_msg(m, &msg));
	mbox_destroy(m);
	keypairs_destroy(k);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index_layout),
		cmocka_unit_test(test_order_moves_its_keys),
		cmocka_unit_test(test_events),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
