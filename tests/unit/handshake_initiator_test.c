/* handshake_initiator_test.c - handshakes that we begin, and how often. */
#include "handshake_world.h"

/* Our initiation arrives at the party, which answers. */
static struct wgmsg_response party_respond(
	struct world *w, struct party *p, const struct peer_order *o, struct noise_keypair *out)
{
	const struct wgmsg_initiation *msg = pkt_data(o->pkt, sizeof(*msg));
	struct wgmsg_response resp;
	struct noise_hello hello;
	uint8_t ephemeral[32];

	assert_int_equal(cookie_check(&p->checker, (const uint8_t *)msg, sizeof(*msg),
				 &p->path.remote, false, w->now_ns),
		COOKIE_MAC1_OK);
	assert_int_equal(noise_initiation_open(&p->local, msg, &hello), NOISE_OK);
	assert_memory_equal(hello.public_key, w->public_key, 32);
	assert_int_equal(noise_initiation_accept(&p->gateway, &hello), NOISE_OK);
	crypto_random(ephemeral, sizeof(ephemeral));
	assert_int_equal(noise_response_create(&p->gateway, 0x99, ephemeral, &resp, out), NOISE_OK);
	cookie_macs_add(&p->maker, (uint8_t *)&resp, sizeof(resp), w->now_ns);
	return resp;
}

static void test_start_begins_a_handshake(void **state)
{
	struct world *w = *state;
	struct noise_keypair theirs;
	struct wgmsg_response resp, bad;
	struct peer_order *o;
	struct party p;
	unsigned home;

	party_add_with_endpoint(w, &p, 1);
	home = peer_home(w->peers, p.peer_idx);
	assert_int_equal(home, p.peer_idx % N_WORKERS);
	/* The home worker learns of it, so that its timers run. */
	o = expect_order(w, home, PEER_ORDER_SET, p.peer_idx);
	assert_int_equal(o->persistent_keepalive_ns, 25 * NS_IN_S);
	assert_true(ip_endpoint_equal(&o->path.remote, &p.path.remote));
	order_done(o);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);

	assert_true(peer_event_start(w->params.lanes[home].events, p.peer_idx));
	turns(w);
	o = expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx);
	assert_true(ip_endpoint_equal(&o->path.remote, &p.path.remote));
	resp = party_respond(w, &p, o, &theirs);
	order_done(o);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, initiations_out), 1);

	/* Any byte wrong: refused, and the real one still passes. */
	for (size_t i = 0; i < offsetof(struct wgmsg_response, mac1); i++) {
		bad = resp;
		((uint8_t *)&bad)[i] ^= 1;
		cookie_macs_add(&p.maker, (uint8_t *)&bad, sizeof(bad), w->now_ns);
		if (i >= 4 && i < 8)
			continue; /* the sender's index is the sender's */
		deliver(w, 1, &bad, sizeof(bad), &p.path);
		turns(w);
		expect_no_order(w);
	}
	assert_int_equal(COUNTED(w, rejected), 60 - 4);
	deliver(w, 1, &resp, sizeof(resp), &p.path);
	turns(w);
	o = expect_order(w, home, PEER_ORDER_INSTALL, p.peer_idx);
	assert_null(o->pkt);
	assert_true(o->is_initiator);
	assert_memory_equal(o->send_key, theirs.recv_key, 32);
	assert_memory_equal(o->recv_key, theirs.send_key, 32);
	assert_int_equal(o->local_idx, theirs.remote_idx);
	assert_int_equal(o->remote_idx, 0x99);
	assert_memory_equal(&o->path, &p.path, sizeof(p.path));
	order_done(o);
	assert_int_equal(COUNTED(w, responses_in), 1);
	/* The series ended, and the answer is good once. */
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	deliver(w, 1, &resp, sizeof(resp), &p.path);
	w->now_ns += 200 * NS_IN_S;
	turns(w);
	expect_no_order(w);
	party_fini(&p);
}

static void test_retries_and_gives_up(void **state)
{
	struct world *w = *state;
	const struct noise_timing *t = &w->params.timing;
	uint64_t start_ns, last_ns = 0;
	struct peer_status status;
	struct peer_order *o;
	struct party p;
	unsigned n = 0, home;

	party_add_with_endpoint(w, &p, 1);
	drop_orders(w);
	home = peer_home(w->peers, p.peer_idx);
	start_ns = w->now_ns;
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	while (w->now_ns - start_ns < t->rekey_attempt_ns) {
		uint64_t deadline_ns;

		o = expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx);
		pkt_data(o->pkt, sizeof(struct wgmsg_initiation));
		order_done(o);
		n++;
		deadline_ns = handshake_next_deadline_ns(w->h);
		assert_true(deadline_ns >= w->now_ns + t->rekey_timeout_ns);
		assert_true(deadline_ns <= w->now_ns + t->rekey_timeout_ns * 16 / 15 + 1);
		/* Not a moment before. */
		w->now_ns = deadline_ns - 1;
		turns(w);
		expect_no_order(w);
		w->now_ns = deadline_ns;
		turns(w);
	}
	order_done(expect_order(w, home, PEER_ORDER_GIVE_UP, p.peer_idx));
	last_ns = w->now_ns;
	assert_true(n >= 17 && n <= 18);
	assert_true(last_ns - start_ns < t->rekey_attempt_ns + 6 * NS_IN_S);
	assert_int_equal(COUNTED(w, initiations_out), n);
	assert_int_equal(COUNTED(w, gave_up), 1);
	assert_false(peer_is_reachable(w->peers, p.peer_idx));
	peer_status_get(w->peers, p.peer_idx, &status);
	assert_int_equal(status.unreachable_since_ns, last_ns);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	w->now_ns += 100 * NS_IN_S;
	turns(w);
	expect_no_order(w);
	/* Asked again, it begins again; and no slot was lost on the way. */
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	order_done(expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx));
	assert_int_equal(w->keypairs->n_used[home], 1);
	party_fini(&p);
}

static void test_cookie_reply_goes_into_the_next_initiation(void **state)
{
	struct world *w = *state;
	struct wgmsg_cookie_reply reply;
	uint8_t secret[32], nonce[CRYPTO_XNONCE_BYTES];
	struct ip_endpoint gateway = {.port = 51820};
	struct peer_order *o;
	struct party p;
	unsigned home;

	party_add_with_endpoint(w, &p, 1);
	drop_orders(w);
	home = peer_home(w->peers, p.peer_idx);
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	o = expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx);
	crypto_random(secret, sizeof(secret));
	crypto_random(nonce, sizeof(nonce));
	cookie_reply_build(&p.checker, pkt_data(o->pkt, sizeof(struct wgmsg_initiation)),
		sizeof(struct wgmsg_initiation), &gateway, secret, nonce, w->now_ns, &reply);
	order_done(o);
	reply.nonce[0] ^= 1;
	deliver(w, 0, &reply, sizeof(reply), &p.path);
	turns(w);
	assert_int_equal(COUNTED(w, rejected), 1);
	reply.nonce[0] ^= 1;
	deliver(w, 0, &reply, sizeof(reply), &p.path);
	turns(w);
	assert_int_equal(COUNTED(w, cookies_in), 1);
	expect_no_order(w);
	w->now_ns = handshake_next_deadline_ns(w->h);
	turns(w);
	o = expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx);
	assert_int_equal(cookie_check(&p.checker, pkt_data(o->pkt, sizeof(struct wgmsg_initiation)),
				 sizeof(struct wgmsg_initiation), &gateway, true, w->now_ns),
		COOKIE_MAC2_OK);
	order_done(o);
	party_fini(&p);
}

/* Both began at once. Ours is dropped for theirs, but goes on until their keys are confirmed. */
static void test_crossing_initiations(void **state)
{
	struct world *w = *state;
	struct party p;
	unsigned home;

	party_add_with_endpoint(w, &p, 2);
	drop_orders(w);
	home = peer_home(w->peers, p.peer_idx);
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	order_done(expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx));
	for (unsigned n = 0; n < 2; n++) {
		struct wgmsg_initiation msg = party_begin(w, &p, 7);
		struct peer_order *o;

		deliver(w, home, &msg, sizeof(msg), &p.path);
		turns(w);
		o = expect_order(w, home, PEER_ORDER_INSTALL, p.peer_idx);
		party_complete(w, &p, o);
		order_done(o);
		/* The slot that ours had reserved went to theirs. */
		assert_int_equal(w->keypairs->n_used[home], n + 1);
		/* Not confirmed yet: ours is repeated. */
		w->now_ns += 6 * NS_IN_S;
		turns(w);
		order_done(expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx));
	}
	peer_event_confirmed(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	w->now_ns += 200 * NS_IN_S;
	turns(w);
	expect_no_order(w);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	party_fini(&p);
}

static void test_start_without_endpoint(void **state)
{
	struct world *w = *state;
	struct party p;

	party_add(w, &p, 1);
	peer_event_start(w->params.lanes[0].events, p.peer_idx);
	peer_event_start(w->params.lanes[0].events, p.peer_idx + 1);
	peer_event_confirmed(w->params.lanes[0].events, p.peer_idx + 1);
	turns(w);
	expect_no_order(w);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	/* Once it was heard, it has one. */
	party_handshake(w, &p);
	peer_event_start(w->params.lanes[1].events, p.peer_idx);
	turns(w);
	order_done(expect_order(w, 1, PEER_ORDER_SEND_PEER, p.peer_idx));
	party_fini(&p);
}

static uint64_t earliest_retry_ns(struct world *w, const struct party *p)
{
	uint64_t min_ns = TIME_NEVER;

	for (unsigned i = 0; i < MAX_PEERS; i++) {
		uint64_t due_ns =
			noise_retry_deadline_ns(&peer_shake(w->peers, p[i].peer_idx)->retry);

		if (due_ns < min_ns)
			min_ns = due_ns;
	}
	return min_ns;
}

/* Many series: the heap gives each its turn in the order of time. */
static void test_many_series(void **state)
{
	struct world *w = *state;
	unsigned long seed = eal_test_seed(3);
	struct party p[MAX_PEERS];
	unsigned sent[MAX_PEERS] = {0};
	bool is_running[MAX_PEERS] = {false};

	srandom((unsigned)seed);
	for (unsigned i = 0; i < MAX_PEERS; i++)
		party_add_with_endpoint(w, &p[i], i + 1);
	drop_orders(w);
	for (unsigned step = 0; step < 600; step++) {
		unsigned i = (unsigned)random() % MAX_PEERS;
		struct mbox *events = w->params.lanes[peer_home(w->peers, p[i].peer_idx)].events;
		uint64_t deadline_ns;
		struct peer_order *o;

		if (random() % 3 == 0) {
			peer_event_confirmed(events, p[i].peer_idx);
			is_running[i] = false;
		} else if (random() % 2) {
			peer_event_start(events, p[i].peer_idx);
			is_running[i] = true;
		}
		turns(w);
		deadline_ns = handshake_next_deadline_ns(w->h);
		if (deadline_ns != TIME_NEVER && random() % 2)
			w->now_ns = deadline_ns;
		else
			w->now_ns += (uint64_t)random() % NS_IN_S;
		turns(w);
		for (unsigned k = 0; k < N_WORKERS; k++)
			for (; (o = next_order(w, k)); order_done(o)) {
				assert_int_equal(o->kind, PEER_ORDER_SEND_PEER);
				for (i = 0; i < MAX_PEERS; i++)
					if (p[i].peer_idx == o->peer_idx)
						sent[i]++;
			}
		deadline_ns = handshake_next_deadline_ns(w->h);
		assert_true(deadline_ns > w->now_ns);
		assert_true(deadline_ns == earliest_retry_ns(w, p));
	}
	for (unsigned i = 0; i < MAX_PEERS; i++) {
		assert_true(sent[i] > 0);
		if (is_running[i])
			peer_event_confirmed(
				w->params.lanes[peer_home(w->peers, p[i].peer_idx)].events,
				p[i].peer_idx);
		party_fini(&p[i]);
	}
	turns(w);
	assert_int_equal(w->h->n_heap, 0);
	drop_orders(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HS_TEST(test_start_begins_a_handshake),
		HS_TEST(test_retries_and_gives_up),
		HS_TEST(test_cookie_reply_goes_into_the_next_initiation),
		HS_TEST(test_crossing_initiations),
		HS_TEST(test_start_without_endpoint),
		HS_TEST(test_many_series),
	};

	eal_start();
	if (crypto_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
