/* handshake_peers_test.c - peers that come and go, what runs out, and the thread itself. */
#include "handshake_world.h"

static void test_set_changes_key_and_endpoint(void **state)
{
	struct world *w = *state;
	const char *culprit;
	struct peer_order *o;
	struct party p;

	party_add(w, &p, 1);
	party_handshake(w, &p);
	crypto_random(p.conf.preshared_key, 32);
	noise_remote_set_preshared_key(&p.gateway, p.conf.preshared_key);
	p.conf.persistent_keepalive_s = 9;
	assert_int_equal(ip_endpoint_parse("198.51.100.5:77", &p.conf.endpoint), 0);
	assert_int_equal(peer_set(w->peers, p.peer_idx, &p.conf, &culprit), 0);
	turns(w);
	o = expect_order(w, 1, PEER_ORDER_SET, p.peer_idx);
	assert_int_equal(o->persistent_keepalive_ns, 9 * NS_IN_S);
	assert_false(o->forgets_flows);
	assert_true(ip_endpoint_equal(&o->path.remote, &p.conf.endpoint));
	assert_true(ip_is_none(&o->path.local));
	order_done(o);
	peer_event_start(w->params.lanes[1].events, p.peer_idx);
	turns(w);
	o = expect_order(w, 1, PEER_ORDER_SEND_PEER, p.peer_idx);
	assert_true(ip_endpoint_equal(&o->path.remote, &p.conf.endpoint));
	order_done(o);
	/* Opens only if both ends took the new preshared key. */
	party_handshake(w, &p);
	party_fini(&p);
}

static void test_set_of_an_address_reaches_the_home(void **state)
{
	struct world *w = *state;
	const char *culprit;
	struct peer_order *o;
	struct party p;

	party_add(w, &p, 1);
	p.conf.address4 = ip_from_v4((const uint8_t[]){10, 9, 9, 9});
	assert_int_equal(peer_set(w->peers, p.peer_idx, &p.conf, &culprit), 0);
	turns(w);
	/* Without a home there is nothing to forget. */
	assert_null(next_order(w, 1));
	party_handshake(w, &p);
	p.conf.address4 = ip_from_v4((const uint8_t[]){10, 9, 9, 8});
	assert_int_equal(peer_set(w->peers, p.peer_idx, &p.conf, &culprit), 0);
	turns(w);
	o = expect_order(w, 1, PEER_ORDER_SET, p.peer_idx);
	assert_true(o->forgets_flows);
	assert_int_equal(o->path.remote.port, 0);
	order_done(o);
	party_fini(&p);
}

static bool is_all_zero(const void *p, size_t len)
{
	const uint8_t *bytes = p;

	for (size_t i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static void test_del_wipes_and_recycles(void **state)
{
	struct world *w = *state;
	struct peer_order *o;
	uint32_t idx[3], old_idx;
	struct party p, next;
	const char *culprit;

	party_add_with_endpoint(w, &p, 1);
	drop_orders(w);
	old_idx = p.peer_idx;
	peer_home_set(w->peers, p.peer_idx, 1);
	for (unsigned n = 0; n < 3; n++)
		idx[n] = party_handshake(w, &p);
	peer_event_start(w->params.lanes[1].events, p.peer_idx);
	turns(w);
	order_done(expect_order(w, 1, PEER_ORDER_SEND_PEER, p.peer_idx));
	assert_int_equal(w->keypairs->n_used[1], 4);

	assert_int_equal(peer_del(w->peers, p.peer_idx), 0);
	grace_poll(w->grace);
	turns(w);
	assert_true(is_all_zero(peer_shake(w->peers, p.peer_idx), sizeof(struct peer_shake)));
	assert_int_equal(w->h->n_heap, 0);
	o = expect_order(w, 1, PEER_ORDER_DEL, p.peer_idx);
	/* Until the worker let go, the number is not used again. */
	party_init(w, &next, 2);
	assert_int_equal(peer_add(w->peers, &next.conf, &next.peer_idx, &culprit), 0);
	turns(w);
	assert_int_not_equal(next.peer_idx, old_idx);
	/* The worker's answer. */
	for (unsigned n = 0; n < 3; n++)
		assert_true(peer_event_retired(w->params.lanes[1].events, idx[n]));
	assert_true(peer_event_msg(w->params.lanes[1].events, o->msg));
	order_done(o);
	turns(w);
	assert_int_equal(peer_home(w->peers, old_idx), PEER_HOME_NONE);

	/* Same number, same slots, other indices. */
	party_fini(&p);
	party_add(w, &p, 3);
	assert_int_equal(p.peer_idx, old_idx);
	for (unsigned n = 0; n < 4; n++) {
		uint32_t fresh = party_handshake(w, &p);

		for (unsigned k = 0; k < 3; k++)
			assert_int_not_equal(fresh, idx[k]);
	}
	assert_int_equal(w->keypairs->n_used[1], 4);
	party_fini(&p);
	party_fini(&next);
}

static void test_del_without_home(void **state)
{
	struct world *w = *state;
	struct party p, q;

	party_add(w, &p, 1);
	assert_int_equal(peer_del(w->peers, p.peer_idx), 0);
	grace_poll(w->grace);
	turns(w);
	expect_no_order(w);
	party_add(w, &q, 2);
	assert_int_equal(q.peer_idx, p.peer_idx);
	party_handshake(w, &q);
	party_fini(&p);
	party_fini(&q);
}

/* --- what runs out --- */

static void test_slots_run_out(void **state)
{
	struct world *w = *state;
	uint32_t n_slots = w->keypairs->n_slots, idx[64];
	struct wgmsg_initiation msg;
	struct party p;

	assert_int_equal(n_slots, 64);
	party_add(w, &p, 1);
	for (uint32_t n = 0; n < n_slots; n++) {
		w->now_ns += NS_IN_S / 20;
		idx[n] = party_handshake(w, &p);
	}
	for (unsigned n = 0; n < 3; n++) {
		w->now_ns += NS_IN_S;
		msg = party_begin(w, &p, 1);
		deliver(w, 0, &msg, sizeof(msg), &p.path);
		turns(w);
		expect_no_order(w);
		assert_int_equal(COUNTED(w, no_slot), n + 1);
	}
	peer_event_start(w->params.lanes[1].events, p.peer_idx);
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, no_slot), 4);
	peer_event_confirmed(w->params.lanes[1].events, p.peer_idx);
	/* Indices that are not given out, or twice, free nothing. */
	peer_event_retired(w->params.lanes[1].events, idx[7] ^ 1);
	peer_event_retired(w->params.lanes[1].events, 0);
	peer_event_retired(w->params.lanes[1].events, idx[5]);
	peer_event_retired(w->params.lanes[1].events, idx[5]);
	turns(w);
	w->now_ns += NS_IN_S;
	assert_int_not_equal(party_handshake(w, &p), idx[5]);
	msg = party_begin(w, &p, 1);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	expect_no_order(w);
	/* A peer without a home finds one where there is room. */
	party_fini(&p);
	party_add(w, &p, 2);
	msg = party_begin(w, &p, 1);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	assert_int_equal(peer_home(w->peers, p.peer_idx), 0);
	drop_orders(w);
	party_fini(&p);
}

static void test_worker_that_does_not_listen(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	unsigned n_lost = 0;
	struct party p, q;

	party_add(w, &p, 1);
	party_add(w, &q, 2);
	party_handshake(w, &q);
	/* The mailbox of the home takes 15; the rest is lost, and its slots are not. */
	for (unsigned n = 0; n < 200; n++) {
		w->now_ns += NS_IN_S / 20;
		msg = party_begin(w, &p, n);
		deliver(w, 0, &msg, sizeof(msg), &p.path);
		turns(w);
	}
	n_lost = (unsigned)COUNTED(w, lost);
	assert_int_equal(COUNTED(w, responses_out), 15);
	assert_int_equal(n_lost, 186);
	assert_true(w->keypairs->n_used[1] <= 17);

	/* A peer that can be begun with needs to be announced: that waits. */
	party_fini(&q);
	party_add_with_endpoint(w, &q, 4);
	q.peer_idx = peer_find_key(w->peers, q.conf.public_key);
	assert_int_equal(q.peer_idx % N_WORKERS, 0);
	party_fini(&q);
	party_add_with_endpoint(w, &q, 5);
	assert_int_equal(q.peer_idx % N_WORKERS, 1);
	assert_int_equal(peer_home(w->peers, q.peer_idx), PEER_HOME_NONE);
	assert_true(handshake_next_deadline_ns(w->h) < w->now_ns + NS_IN_S);
	order_done(next_order(w, 1));
	turns(w);
	assert_int_equal(peer_home(w->peers, q.peer_idx), 1);

	/* Deleting waits as well. */
	assert_int_equal(peer_del(w->peers, p.peer_idx), 0);
	assert_int_equal(peer_del(w->peers, q.peer_idx), 0);
	grace_poll(w->grace);
	turns(w);
	assert_true(handshake_next_deadline_ns(w->h) < w->now_ns + NS_IN_S);
	drop_orders(w);
	w->now_ns += NS_IN_S;
	turns(w);
	for (unsigned n = 0; n < 2; n++) {
		struct peer_order *o = next_order(w, 1);

		assert_non_null(o);
		assert_int_equal(o->kind, PEER_ORDER_DEL);
		assert_true(peer_event_msg(w->params.lanes[1].events, o->msg));
		order_done(o);
	}
	turns(w);
	party_fini(&p);
	party_fini(&q);
	/* All numbers but those of the two that live are free again. */
	for (unsigned n = 0; n < MAX_PEERS - 2; n++) {
		party_add(w, &p, n + 10);
		party_fini(&p);
	}
}

static void test_control_that_does_not_listen(void **state)
{
	struct world *w = *state;
	struct party p[MAX_PEERS];
	const char *culprit;

	for (unsigned n = 0; n < MAX_PEERS; n++) {
		party_init(w, &p[n], n + 1);
		assert_int_equal(peer_add(w->peers, &p[n].conf, &p[n].peer_idx, &culprit), 0);
	}
	/* The way back takes three; the others wait. */
	while (handshake_turn(w->h, w->now_ns, WALL_S, 0) > 0)
		;
	assert_int_equal(mbox_count(w->params.to_control), 3);
	assert_true(handshake_next_deadline_ns(w->h) < TIME_NEVER);
	for (unsigned n = 0; n < 4; n++)
		turn(w);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	assert_int_equal(mbox_count(w->params.to_control), 0);
	for (unsigned n = 0; n < MAX_PEERS; n++)
		party_fini(&p[n]);
}

static void test_no_buffers(void **state)
{
	struct world *w = *state;
	struct rte_mbuf *all[MBUFS];
	struct party p;
	unsigned home;

	party_add_with_endpoint(w, &p, 1);
	drop_orders(w);
	home = peer_home(w->peers, p.peer_idx);
	assert_int_equal(rte_pktmbuf_alloc_bulk(w->mbufs, all, MBUFS), 0);
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, lost), 1);
	rte_pktmbuf_free_bulk(all, MBUFS);
	w->now_ns = handshake_next_deadline_ns(w->h);
	turns(w);
	order_done(expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx));
	party_fini(&p);
}

/* --- the thread itself --- */

static void *run(void *arg)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	pthread_setaffinity_np(pthread_self(), sizeof(all), &all);
	handshake_run(arg);
	return NULL;
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

/* With nothing to do the thread sleeps, and no grace period waits for it. */
static void expect_grace_passes(struct world *w)
{
	uint64_t give_up_ns = real_now_ns() + 20 * NS_IN_S;
	bool is_over = false;

	assert_int_equal(grace_defer(w->grace, set_true, &is_over), 0);
	while (!is_over) {
		grace_poll(w->grace);
		sched_yield();
		assert_true(real_now_ns() < give_up_ns);
	}
}

static void test_thread_sleeps_and_wakes(void **state)
{
	struct world *w = *state;
	pthread_t thread;
	struct party p;

	party_init(w, &p, 1);
	assert_int_equal(pthread_create(&thread, NULL, run, w->h), 0);
	for (unsigned round = 0; round < 50; round++) {
		const char *culprit;
		struct wgmsg_initiation msg;
		struct peer_order *o;

		assert_int_equal(peer_add(w->peers, &p.conf, &p.peer_idx, &culprit), 0);
		msg = party_begin(w, &p, round);
		/* Control's message and a worker's arrive in any order: the initiator repeats. */
		do {
			if (mbox_count(w->params.lanes[0].msgs) == 0)
				deliver(w, 0, &msg, sizeof(msg), &p.path);
			peers_poll(w->peers);
			sched_yield();
		} while (!(o = next_order(w, 1)));
		do {
			bool is_del = o && o->kind == PEER_ORDER_DEL;

			if (o && o->kind == PEER_ORDER_INSTALL) {
				assert_int_equal(peer_del(w->peers, p.peer_idx), 0);
				peer_event_retired(w->params.lanes[1].events, o->local_idx);
			} else if (is_del) {
				peer_event_msg(w->params.lanes[1].events, o->msg);
			}
			if (o)
				order_done(o);
			if (is_del)
				break;
			grace_poll(w->grace);
			sched_yield();
			o = next_order(w, 1);
		} while (true);
		while (peer_home(w->peers, p.peer_idx) != PEER_HOME_NONE)
			sched_yield();
		peers_poll(w->peers);
		expect_grace_passes(w);
	}
	handshake_stop(w->h);
	pthread_join(thread, NULL);
	assert_int_equal(COUNTED(w, responses_out), 50);
	party_fini(&p);
}

static void test_destroy_with_work_left(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	const char *culprit;
	struct party p, q;

	party_add(w, &p, 1);
	msg = party_begin(w, &p, 1);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	for (unsigned n = 0; n < 6; n++) {
		party_init(w, &q, n + 2);
		assert_int_equal(peer_add(w->peers, &q.conf, &q.peer_idx, &culprit), 0);
		party_fini(&q);
	}
	while (handshake_turn(w->h, w->now_ns, WALL_S, 0) > 0)
		;
	party_fini(&p);
	handshake_destroy(NULL);
	/* teardown destroys with orders, messages and returns still in the mailboxes */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HS_TEST(test_set_changes_key_and_endpoint),
		HS_TEST(test_set_of_an_address_reaches_the_home),
		HS_TEST(test_del_wipes_and_recycles),
		HS_TEST(test_del_without_home),
		HS_TEST(test_slots_run_out),
		HS_TEST(test_worker_that_does_not_listen),
		HS_TEST(test_control_that_does_not_listen),
		HS_TEST(test_no_buffers),
		HS_TEST(test_thread_sleeps_and_wakes),
		HS_TEST(test_destroy_with_work_left),
	};

	eal_start();
	if (crypto_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
