/* path_session_test.c - what happens between packets: keys come and go, packets wait for them,
 * endpoints move, timers fire, peers are forgotten.
 */
#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rig *rig;
static struct rig_client *client;

static int setup_silent(void **state)
{
	rig = rig_create(&(struct rig_params){.n_workers = 2});
	client = rig_client_add(rig, 0, 1);
	return 0;
}

static int setup(void **state)
{
	setup_silent(state);
	rig_client_connect(rig, client);
	return 0;
}

static int teardown(void **state)
{
	rig_destroy(rig);
	return 0;
}

static void public_packet(struct frame *f)
{
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, client->lease_port, IPPROTO_UDP, 0};

	rig_public_frame(rig, f, &in, 40);
}

static void knock(unsigned n)
{
	struct frame f;

	public_packet(&f);
	for (unsigned i = 0; i < n; i++) {
		/* They tell which came first. */
		f.bytes[FRAME_ETHER + 28] = (uint8_t)i;
		memset(f.bytes + FRAME_ETHER + 26, 0, 2);
		rig_rx(rig, RIG_PUBLIC, 0, &f);
		rig_settle(rig);
	}
}

static void client_says(const void *data, size_t len)
{
	struct frame f;

	rig_client_frame(rig, client, &f, data, len);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
}

/* The endpoint of a peer that was never heard of comes from the configuration. */
static void set_endpoint(const char *endpoint)
{
	struct peer_order *o = rig_order(rig, PEER_ORDER_SET, client);

	assert_int_equal(ip_endpoint_parse(endpoint, &o->path.remote), 0);
	rig_order_push(rig, client->home, o);
	rig_settle(rig);
}

static void expect_delivered(unsigned first, unsigned n)
{
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f;

	for (unsigned i = 0; i < n; i++) {
		assert_true(rig_tx(rig, RIG_TUNNEL, &f));
		assert_int_equal(rig_client_open(rig, client, &f, plain), 80);
		assert_int_equal(plain[28], first + i);
	}
}

static void expect_keepalive(void)
{
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f;

	assert_true(rig_tx(rig, RIG_TUNNEL, &f));
	assert_int_equal(rig_client_open(rig, client, &f, plain), 0);
	assert_false(rig_tx(rig, RIG_TUNNEL, &f));
}

/* --- a silent peer --- */

static void test_eight_packets_wait(void **state)
{
	set_endpoint("192.0.2.10:7000");
	knock(PEER_HOLD_MAX + 3);
	assert_int_equal(rig_counter(rig, STATS_holding), PEER_HOLD_MAX);
	assert_int_equal(rig_dropped(rig, STATS_DROP_peer_hold_full), 3);
	assert_int_equal(rig->n_start, 1);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);

	rig_client_order_keys(rig, client, true);
	rig_settle(rig);
	assert_int_equal(rig_counter(rig, STATS_holding), 0);
	expect_delivered(0, PEER_HOLD_MAX);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
	assert_int_equal(rig_counter(rig, STATS_forwarded), PEER_HOLD_MAX);
}

/* As responder the keys are the peer's to use first (paper 5.4.6). */
static void test_responder_waits_for_the_first_packet(void **state)
{
	set_endpoint("192.0.2.10:7000");
	knock(2);
	rig_client_order_keys(rig, client, false);
	rig_settle(rig);
	assert_int_equal(rig_counter(rig, STATS_holding), 2);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
	assert_int_equal(rig->n_confirmed, 0);
	client_says(NULL, 0);
	assert_int_equal(rig->n_confirmed, 1);
	expect_delivered(0, 2);
	assert_int_equal(rig_counter(rig, STATS_holding), 0);
}

static void test_initiator_confirms_with_a_keepalive(void **state)
{
	rig_client_order_keys(rig, client, true);
	rig_settle(rig);
	expect_keepalive();
	assert_int_equal(rig_hot(rig, client)->last_handshake_ns, rig_now_ns);
}

static void test_give_up_drops_what_waits(void **state)
{
	set_endpoint("192.0.2.10:7000");
	knock(5);
	rig_order_push(rig, client->home, rig_order(rig, PEER_ORDER_GIVE_UP, client));
	rig_settle(rig);
	assert_int_equal(rig_counter(rig, STATS_holding), 0);
	assert_int_equal(rig_dropped(rig, STATS_DROP_peer_hold_expired), 5);
	assert_int_equal(rig_dropped_all(rig), 5);
	/* And the next one may wait again. */
	rig_now_ns += 6 * NS_IN_S;
	knock(1);
	assert_int_equal(rig_counter(rig, STATS_holding), 1);
	assert_int_equal(rig->n_start, 2);
}

static void test_no_endpoint_no_waiting(void **state)
{
	knock(2);
	assert_int_equal(rig_dropped(rig, STATS_DROP_peer_unreachable), 2);
	assert_int_equal(rig_counter(rig, STATS_holding), 0);
	assert_int_equal(rig->n_start, 0);
}

/* A lease that ends takes what waits for its peer with it. */
static void test_closed_while_waiting(void **state)
{
	set_endpoint("192.0.2.10:7000");
	knock(3);
	rig_lease_close(rig, client);
	rig_settle(rig);
	rig_client_order_keys(rig, client, true);
	rig_settle(rig);
	assert_int_equal(rig_dropped(rig, STATS_DROP_lease_closed), 3);
	assert_int_equal(rig_counter(rig, STATS_holding), 0);
	/* The keys are confirmed nevertheless. */
	expect_keepalive();
}

/* Strangers who knock at many silent peers do not get all buffers. */
static void test_waiting_is_bounded(void **state)
{
	const unsigned max = rig->path->max_holding;

	assert_true(max > 0 && max * rig->params.n_workers <= rig->conf.n_mbufs / 4);
	set_endpoint("192.0.2.10:7000");
	path_worker(rig->path, 1)->stats.counter[STATS_holding] += max - 2;
	path_worker(rig->path, 1)->stats.counter[STATS_received] += max - 2;
	knock(4);
	assert_int_equal(rig_counter(rig, STATS_holding), max);
	assert_int_equal(rig_dropped(rig, STATS_DROP_peer_hold_full), 2);
	rig_client_order_keys(rig, client, true);
	rig_settle(rig);
	expect_delivered(0, 2);
}

static void test_keys_that_expired(void **state)
{
	rig_now_ns += 181 * NS_IN_S;
	knock(1);
	assert_int_equal(rig_counter(rig, STATS_holding), 1);
	assert_true(rig->n_start >= 1);
	rig_client_order_keys(rig, client, true);
	rig_settle(rig);
	expect_delivered(0, 1);
}

/* --- roaming --- */

static const struct flow ping_inside = {"10.0.0.10", RIG_INNER_GW4, 0, 0, IPPROTO_ICMP, 0};

static void move_client(const char *outer, const char *entry, uint16_t port)
{
	client->outer = (struct ip_endpoint){frame_addr(outer), port};
	client->entry = entry;
}

static void test_roaming(void **state)
{
	static const struct {
		const char *outer, *entry;
		uint16_t port;
	} places[] = {{"192.0.2.77", RIG_ENTRY4, 7000}, {"192.0.2.77", RIG_ENTRY4, 9999},
		{RIG_CLIENT6, RIG_ENTRY6, 9999}, {RIG_CLIENT4, RIG_ENTRY4, 1}};

	for (size_t i = 0; i < RTE_DIM(places); i++) {
		uint8_t plain[FRAME_BYTES_MAX];
		struct peer_status status;
		struct frame f;

		move_client(places[i].outer, places[i].entry, places[i].port);
		rig_client_flow(rig, client, &f, &ping_inside, 8);
		rig_rx(rig, RIG_TUNNEL, 0, &f);
		rig_settle(rig);
		assert_int_equal(rig_counter(rig, STATS_roamed), i + 1);
		assert_true(rig_tx(rig, RIG_TUNNEL, &f));
		assert_true(rig_client_open(rig, client, &f, plain) > 0);
		peer_status_get(rig->peers, client->peer_idx, &status);
		assert_true(ip_endpoint_equal(&status.endpoint, &client->outer));
	}
	/* A keepalive is as good. */
	move_client("192.0.2.77", RIG_ENTRY4, 4000);
	client_says(NULL, 0);
	assert_int_equal(rig_counter(rig, STATS_roamed), RTE_DIM(places) + 1);
}

/* In one burst: the newest sound packet decides, what is forged or seen before does not. */
static void test_roaming_within_a_burst(void **state)
{
	struct frame older, fresh, forged, seen;

	rig_client_frame(rig, client, &seen, NULL, 0);
	rig_rx(rig, RIG_TUNNEL, 0, &seen);
	rig_settle(rig);
	move_client("192.0.2.77", RIG_ENTRY4, 3999);
	rig_client_frame(rig, client, &older, NULL, 0);
	move_client("192.0.2.77", RIG_ENTRY4, 4001);
	rig_client_frame(rig, client, &fresh, NULL, 0);
	rig_client_frame(rig, client, &forged, NULL, 0);
	forged.bytes[FRAME_ETHER + 21]++; /* source port 4002 */
	forged.bytes[forged.len - 1] ^= 1;
	seen.bytes[FRAME_ETHER + 21]++;
	rig_rx(rig, RIG_TUNNEL, 0, &older);
	rig_rx(rig, RIG_TUNNEL, 0, &fresh);
	rig_rx(rig, RIG_TUNNEL, 0, &forged);
	rig_rx(rig, RIG_TUNNEL, 0, &seen);
	rig_rx(rig, RIG_TUNNEL, 0, &fresh);
	rig_settle(rig);
	assert_int_equal(rig_dropped(rig, STATS_DROP_wg_bad_tag), 1);
	assert_int_equal(rig_dropped(rig, STATS_DROP_wg_replayed), 2);
	assert_true(ip_endpoint_equal(&rig_hot(rig, client)->path.remote, &client->outer));
	assert_int_equal(rig_counter(rig, STATS_roamed), 1);
}

/* --- timers --- */

static void test_passive_keepalive(void **state)
{
	struct frame f;

	rig_client_flow(rig, client, &f,
		&(struct flow){client->inner4, RIG_HOST4, RIG_INNER_PORT, 5, IPPROTO_UDP, 0}, 9);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
	rig_tx_discard(rig);
	rig_now_ns += 10 * NS_IN_S - 1;
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
	rig_now_ns += 20 * NS_IN_MS;
	rig_settle(rig);
	expect_keepalive();
	rig_now_ns += 60 * NS_IN_S;
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
}

static void test_persistent_keepalive(void **state)
{
	struct peer_order *o = rig_order(rig, PEER_ORDER_SET, client);

	o->persistent_keepalive_ns = 25 * NS_IN_S;
	rig_order_push(rig, client->home, o);
	rig_settle(rig);
	for (unsigned i = 0; i < 5; i++) {
		rig_now_ns += 25 * NS_IN_S + 20 * NS_IN_MS;
		rig_settle(rig);
		expect_keepalive();
		rig_now_ns -= 20 * NS_IN_MS;
	}
}

/* An hour without a packet from either side, a NAT in front of the peer that forgets after 30 s,
 * keys that age: the way in is open all the time, and then it is used. */
static void test_an_hour_of_silence(void **state)
{
	struct peer_order *o = rig_order(rig, PEER_ORDER_SET, client);
	uint64_t heard_ns, end_ns = rig_now_ns + 3600 * NS_IN_S;
	unsigned n_rekeys = 0;
	struct frame f;

	o->persistent_keepalive_ns = 25 * NS_IN_S;
	rig_order_push(rig, client->home, o);
	rig_settle(rig);
	for (heard_ns = rig_now_ns; rig_now_ns < end_ns; rig_now_ns += NS_IN_S) {
		rig_settle(rig);
		/* The handshake thread begins, and the client answers. */
		if (rig->n_start > n_rekeys) {
			n_rekeys = rig->n_start;
			rig_client_order_keys(rig, client, true);
			rig_settle(rig);
		}
		while (rig_tx(rig, RIG_TUNNEL, &f))
			heard_ns = rig_now_ns;
		assert_true(rig_now_ns - heard_ns < 30 * NS_IN_S);
	}
	assert_in_range(n_rekeys, 3600 / 180, 3600 / 120);
	knock(1);
	expect_delivered(0, 1);
}

/* Data that nobody answers asks for a new handshake after 15 s. */
static void test_unanswered_data(void **state)
{
	knock(1);
	expect_delivered(0, 1);
	rig_now_ns += 15 * NS_IN_S - 1;
	rig_settle(rig);
	assert_int_equal(rig->n_start, 0);
	rig_now_ns += 20 * NS_IN_MS;
	rig_settle(rig);
	assert_int_equal(rig->n_start, 1);
}

static void test_keys_are_wiped_in_the_end(void **state)
{
	static const struct noise_keypair wiped;

	rig_now_ns += 540 * NS_IN_S + 20 * NS_IN_MS;
	rig_settle(rig);
	rig_settle(rig);
	assert_int_equal(rig->n_retired, 1);
	assert_memory_equal(client->keypair, &wiped, sizeof(wiped));
}

/* previous, current, next: the one before the last goes with the confirmation. */
static void test_rotation(void **state)
{
	struct noise_keypair *slots[4];

	for (unsigned i = 0; i < 4; i++) {
		slots[i] = client->keypair;
		rig_client_order_keys(rig, client, false);
		rig_settle(rig);
		client_says(NULL, 0);
	}
	assert_int_equal(rig->n_retired, 3);
	assert_false(slots[0]->is_live || slots[1]->is_live || slots[2]->is_live);
	assert_true(slots[3]->is_live && client->keypair->is_live);
	assert_ptr_equal(rig_hot(rig, client)->session.previous, slots[3]);
	assert_ptr_equal(rig_hot(rig, client)->session.current, client->keypair);
}

/* --- orders --- */

static void test_messages_go_where_they_are_told(void **state)
{
	static const enum peer_order_kind kinds[] = {PEER_ORDER_SEND, PEER_ORDER_SEND_PEER};

	for (size_t i = 0; i < RTE_DIM(kinds); i++) {
		struct peer_order *o = rig_order(rig, kinds[i], client);
		const struct flow flow = {RIG_ENTRY4, i ? RIG_CLIENT4 : "192.0.2.77",
			RIG_LISTEN_PORT, i ? client->outer.port : 99, IPPROTO_UDP, 64};
		struct frame f;

		o->pkt = pkt_alloc(rig->mempool);
		memset(rte_pktmbuf_append(o->pkt, 148), 0x11, 148);
		o->path = (struct peer_path){
			.remote = {frame_addr("192.0.2.77"), 99}, .local = frame_addr(RIG_ENTRY4)};
		rig_order_push(rig, client->home, o);
		rig_settle(rig);
		assert_true(rig_tx(rig, RIG_TUNNEL, &f));
		assert_true(packet_is(f.bytes + FRAME_ETHER, &flow));
		assert_true(packet_is_sound(f.bytes + FRAME_ETHER, f.len - FRAME_ETHER));
		assert_int_equal(f.bytes[FRAME_ETHER + 1], 0x88);
	}
}

static void push_del(void)
{
	static struct peer_msg msg = {.kind = PEER_MSG_DEL};
	struct peer_order *o = rig_order(rig, PEER_ORDER_DEL, client);

	rig->returned = NULL;
	o->msg = &msg;
	rig_order_push(rig, client->home, o);
}

static unsigned count_in_wheel(unsigned worker)
{
	unsigned n = 0;

	for (unsigned s = 0; s < WHEEL_SLOTS; s++)
		for (struct peer_hot *h = path_worker(rig->path, worker)->wheel.slots[s]; h;
			h = h->wheel_next)
			n++;
	return n;
}

static void expect_forgotten(void)
{
	static const struct peer_hot zero;

	assert_non_null(rig->returned);
	assert_memory_equal(rig_hot(rig, client), &zero, sizeof(zero));
	assert_int_equal(count_in_wheel(client->home), 0);
}

static void test_forgetting(void **state)
{
	static const struct noise_keypair wiped;

	rig_client_order_keys(rig, client, false);
	rig_settle(rig);
	push_del();
	rig_settle(rig);
	expect_forgotten();
	assert_int_equal(rig->n_retired, 2);
	assert_memory_equal(client->keypair, &wiped, sizeof(wiped));
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
}

static void test_forgetting_drops_what_waits(void **state)
{
	set_endpoint("192.0.2.10:7000");
	knock(4);
	push_del();
	rig_settle(rig);
	expect_forgotten();
	assert_int_equal(rig_counter(rig, STATS_holding), 0);
	assert_int_equal(rig_dropped(rig, STATS_DROP_peer_gone), 4);
}

/* Keys, a keepalive to confirm them, and the end, all in one turn: nothing of the peer may be left
 * behind, because its number is used again. */
static void test_forgetting_in_the_turn_of_new_keys(void **state)
{
	rig_client_order_keys(rig, client, true);
	push_del();
	rig_settle(rig);
	expect_forgotten();
	assert_int_equal(rig->n_retired, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(test, set) cmocka_unit_test_setup_teardown(test, set, teardown)
		CASE(test_eight_packets_wait, setup_silent),
		CASE(test_responder_waits_for_the_first_packet, setup_silent),
		CASE(test_initiator_confirms_with_a_keepalive, setup_silent),
		CASE(test_give_up_drops_what_waits, setup_silent),
		CASE(test_no_endpoint_no_waiting, setup_silent),
		CASE(test_closed_while_waiting, setup_silent),
		CASE(test_waiting_is_bounded, setup_silent),
		CASE(test_keys_that_expired, setup),
		CASE(test_roaming, setup),
		CASE(test_roaming_within_a_burst, setup),
		CASE(test_passive_keepalive, setup),
		CASE(test_persistent_keepalive, setup),
		CASE(test_an_hour_of_silence, setup),
		CASE(test_unanswered_data, setup),
		CASE(test_keys_are_wiped_in_the_end, setup),
		CASE(test_rotation, setup),
		CASE(test_messages_go_where_they_are_told, setup),
		CASE(test_forgetting, setup),
		CASE(test_forgetting_drops_what_waits, setup_silent),
		CASE(test_forgetting_in_the_turn_of_new_keys, setup),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
