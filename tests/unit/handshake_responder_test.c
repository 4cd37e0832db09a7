/* handshake_responder_test.c - messages that arrive: who is answered, who is not. */
#include "handshake_world.h"

static void test_initiation_is_answered(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	struct peer_order *o;
	struct party p;

	party_add(w, &p, 1);
	expect_no_order(w);
	assert_int_equal(peer_home(w->peers, p.peer_idx), PEER_HOME_NONE);
	msg = party_begin(w, &p, 77);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	/* Home is the next worker after the one it came by, as home_shift says. */
	assert_int_equal(peer_home(w->peers, p.peer_idx), 1);
	order_done(expect_order(w, 1, PEER_ORDER_SET, p.peer_idx));
	o = expect_order(w, 1, PEER_ORDER_INSTALL, p.peer_idx);
	party_complete(w, &p, o);
	assert_int_equal(keypairs_worker(w->keypairs, o->local_idx), 1);
	assert_int_equal(o->remote_idx, 77);
	order_done(o);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, received), 1);
	assert_int_equal(COUNTED(w, initiations_in), 1);
	assert_int_equal(COUNTED(w, responses_out), 1);

	/* The home stays, whoever receives the next one. */
	msg = party_begin(w, &p, 78);
	deliver(w, 1, &msg, sizeof(msg), &p.path);
	turns(w);
	o = expect_order(w, 1, PEER_ORDER_INSTALL, p.peer_idx);
	party_complete(w, &p, o);
	order_done(o);
	party_fini(&p);
}

static void test_each_byte_counts(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg, bad;
	struct party p;

	party_add(w, &p, 1);
	msg = party_begin(w, &p, 1);
	for (size_t i = 0; i < sizeof(msg) - sizeof(msg.mac2); i++) {
		bad = msg;
		((uint8_t *)&bad)[i] ^= 0x40;
		deliver(w, 0, &bad, sizeof(bad), &p.path);
		turns(w);
		expect_no_order(w);
	}
	assert_int_equal(COUNTED(w, rejected), 4);   /* the type */
	assert_int_equal(COUNTED(w, bad_mac1), 128); /* all else */
	assert_int_equal(peer_home(w->peers, p.peer_idx), PEER_HOME_NONE);
	/* With a MAC1 that is right (anyone can make one) Noise decides. */
	for (size_t i = 8; i < offsetof(struct wgmsg_initiation, mac1); i++) {
		bad = msg;
		((uint8_t *)&bad)[i] ^= 0x40;
		cookie_macs_add(&p.maker, (uint8_t *)&bad, sizeof(bad), w->now_ns);
		deliver(w, 0, &bad, sizeof(bad), &p.path);
		turns(w);
		expect_no_order(w);
	}
	assert_int_equal(COUNTED(w, rejected), 4 + 108);
	/* Nothing of it was believed: the real one still passes. */
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	assert_int_equal(COUNTED(w, responses_out), 1);
	drop_orders(w);
	party_fini(&p);
}

static void test_unknown_and_replayed(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	struct party p, stranger;

	party_add(w, &p, 1);
	party_init(w, &stranger, 2);
	msg = party_begin(w, &stranger, 5);
	deliver(w, 0, &msg, sizeof(msg), &stranger.path);
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, unknown_peer), 1);

	msg = party_begin(w, &p, 5);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	drop_orders(w);
	deliver(w, 1, &msg, sizeof(msg), &p.path);
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, replayed), 1);
	assert_int_equal(COUNTED(w, rejected), 0);
	assert_int_equal(COUNTED(w, responses_out), 1);
	party_fini(&p);
	party_fini(&stranger);
}

static void test_flood_of_one_peer(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	uint64_t start_ns;
	struct party p, other;

	party_add(w, &p, 1);
	party_add(w, &other, 2);
	start_ns = w->now_ns;
	for (unsigned n = 0; n < 60; n++) {
		msg = party_begin(w, &p, n);
		/* All in one second, whatever their timestamps say. */
		w->now_ns = start_ns + n;
		deliver(w, 0, &msg, sizeof(msg), &p.path);
		turns(w);
		for (struct peer_order *o; (o = next_order(w, 1)); order_done(o))
			if (o->kind == PEER_ORDER_INSTALL)
				peer_event_retired(w->params.lanes[1].events, o->local_idx);
		w->now_ns = start_ns + (n + 1) * 20 * NS_IN_MS;
	}
	assert_int_equal(COUNTED(w, initiations_in), 50);
	assert_int_equal(COUNTED(w, flooded), 10);
	/* Others are not concerned, and a second later neither is this one. */
	party_handshake(w, &other);
	w->now_ns = start_ns + 2 * NS_IN_S;
	party_handshake(w, &p);
	party_fini(&p);
	party_fini(&other);
}

static void test_garbage_of_every_length(void **state)
{
	struct world *w = *state;
	unsigned long seed = eal_test_seed(6);
	uint8_t bytes[2048];
	struct party p;

	srandom((unsigned)seed);
	party_add(w, &p, 1);
	for (uint16_t len = 0; len < 400; len++) {
		for (uint8_t type = 0; type < 6; type++) {
			for (uint16_t i = 0; i < len; i++)
				bytes[i] = (uint8_t)random();
			if (len >= 4)
				store_le32(bytes, type);
			deliver(w, type % N_WORKERS, bytes, len, &p.path);
		}
		turns(w);
	}
	expect_no_order(w);
	assert_int_equal(COUNTED(w, received), 2400);
	assert_int_equal(COUNTED(w, rejected) + COUNTED(w, bad_mac1), 2400);
	assert_int_equal(COUNTED(w, bad_mac1), 2);
	party_fini(&p);
}

static void test_truncated_and_segmented(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	struct rte_mbuf *m, *tail;
	struct party p;

	party_add(w, &p, 1);
	msg = party_begin(w, &p, 1);
	for (uint16_t len = 0; len < sizeof(msg); len++) {
		deliver(w, 0, &msg, len, &p.path);
		turns(w);
	}
	m = rte_pktmbuf_alloc(w->mbufs);
	tail = rte_pktmbuf_alloc(w->mbufs);
	memcpy(rte_pktmbuf_append(m, 100), &msg, 100);
	memcpy(rte_pktmbuf_append(tail, 48), (uint8_t *)&msg + 100, 48);
	memcpy(rte_mbuf_to_priv(m), &p.path, sizeof(p.path));
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	assert_true(mbox_push(w->params.lanes[0].msgs, m));
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, rejected), 149);
	party_fini(&p);
}

/* --- under load --- */

static void test_cookie_under_load(void **state)
{
	struct world *w = *state;
	const struct wgmsg_cookie_reply *reply;
	struct wgmsg_initiation msg;
	uint8_t junk[148] = {WGMSG_INITIATION};
	struct peer_order *o;
	struct party p;

	party_add(w, &p, 1);
	/* An eighth of 64 is 8; less is no load. */
	for (unsigned i = 0; i < 7; i++)
		deliver(w, i % 2, junk, sizeof(junk), &p.path);
	turns(w);
	assert_int_equal(COUNTED(w, under_load), 0);
	for (unsigned i = 0; i < 8; i++)
		deliver(w, i % 2, junk, sizeof(junk), &p.path);
	turns(w);
	assert_true(COUNTED(w, under_load) > 0);
	assert_int_equal(COUNTED(w, bad_mac1), 15);
	expect_no_order(w);

	/* Junk is dropped; a message with MAC1 gets a cookie, by the worker that received it. */
	msg = party_begin(w, &p, 42);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	o = expect_order(w, 0, PEER_ORDER_SEND, PEER_NONE);
	assert_memory_equal(&o->path, &p.path, sizeof(p.path));
	reply = pkt_data(o->pkt, sizeof(*reply));
	assert_int_equal(load_le32(reply->receiver_idx_le32), 42);
	assert_true(cookie_reply_open(&p.maker, reply, w->now_ns));
	order_done(o);
	assert_int_equal(COUNTED(w, cookie_sent), 1);
	assert_int_equal(COUNTED(w, initiations_in), 0);

	/* With the cookie it passes; from another address it does not. */
	msg = party_begin(w, &p, 43);
	p.path.remote.port++;
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	order_done(expect_order(w, 0, PEER_ORDER_SEND, PEER_NONE));
	p.path.remote.port--;
	party_handshake(w, &p);

	/* One source has five at once and twenty a second. */
	msg = party_begin(w, &p, 44);
	for (unsigned i = 0; i < 10; i++) {
		deliver(w, 0, &msg, sizeof(msg), &p.path);
		turns(w);
	}
	assert_true(COUNTED(w, rate_limited) >= 5);
	drop_orders(w);

	/* A second without load ends it: no cookie is asked for. */
	w->now_ns += 2 * NS_IN_S;
	cookie_maker_fini(&p.maker);
	cookie_maker_init(&p.maker, w->public_key);
	party_handshake(w, &p);
	assert_int_equal(COUNTED(w, cookie_sent), 2);
	party_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HS_TEST(test_initiation_is_answered),
		HS_TEST(test_each_byte_counts),
		HS_TEST(test_unknown_and_replayed),
		HS_TEST(test_flood_of_one_peer),
		HS_TEST(test_garbage_of_every_length),
		HS_TEST(test_truncated_and_segmented),
		HS_TEST(test_cookie_under_load),
	};

	eal_start();
	if (crypto_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
