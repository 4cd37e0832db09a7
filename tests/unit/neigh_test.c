/* Next hops, questions and their limits, packets that wait, ageing, and workers that look on. */
#include "neigh_world.h"

#include <pthread.h>
#include <sched.h>

static void test_gateways_are_asked_for_first(void **state)
{
	assert_int_equal(neigh_next_deadline_ns(neigh), 0);
	assert_int_equal(resolve("8.8.8.8", NULL), WAITS);
	tick_at(now_ns);
	assert_int_equal(n_sent, 2);
	expect_sent(0, arp_ask(own_mac, "192.0.2.1", "192.0.2.254"), 60);
	expect_nd_sent(1, &(struct nd){NS, group_fe, own_mac, "2001:db8::1", "ff02::1:ff00:fe",
				  "2001:db8::fe", 0, own_mac});
	assert_int_equal(neigh_next_deadline_ns(neigh), now_ns + NS_IN_S);
	/* For ever, once a second, and not more often for more ticks. */
	forget();
	for (unsigned i = 1; i <= 10; i++) {
		tick_at(now_ns + NS_IN_S / 2);
		assert_int_equal(n_sent, 2 * (i - 1));
		tick_at(now_ns + NS_IN_S / 2);
		assert_int_equal(n_sent, 2 * i);
	}
	assert_int_equal(resolve("8.8.8.8", NULL), WAITS);
	input(arp_answer(gw_mac, "192.0.2.254"), ARP_BYTES_IN);
	assert_int_equal(resolve("8.8.8.8", gw_mac), RESOLVED);
	assert_int_equal(resolve("2001:4860::8888", NULL), WAITS);
	input_nd(&gateway_answers);
	assert_int_equal(resolve("2001:4860::8888", gw_mac), RESOLVED);
	assert_int_equal(resolve("192.0.2.254", gw_mac), RESOLVED);
	assert_int_equal(resolve("2001:db8::fe", gw_mac), RESOLVED);
	assert_int_equal(counters().learnt, 2);
	assert_int_equal(neigh_next_deadline_ns(neigh), now_ns + 30 * NS_IN_S);
}

static void test_next_hops(void **state)
{
	static const char *const nowhere[] = {"192.0.2.1", "10.9.0.1", "2001:db8::1", "192.0.2.0",
		"192.0.2.255", "10.9.0.0", "10.9.255.255", "192.0.2.249", "224.0.0.1",
		"255.255.255.255", "127.0.0.1", "ff02::1", "::1"};
	struct ip_addr a = ip("8.8.8.8");
	struct rte_ether_addr out;
	bool is_unreachable = false;

	learn_gateways();
	for (size_t i = 0; i < RTE_DIM(nowhere); i++)
		assert_int_equal(resolve(nowhere[i], NULL), UNREACHABLE);
	assert_int_equal(resolve("192.0.2.77", NULL), WAITS);
	assert_int_equal(resolve("10.9.0.255", NULL), WAITS);
	assert_int_equal(resolve("2001:db8::77", NULL), WAITS);
	assert_int_equal(resolve("fe80::77", NULL), WAITS);
	assert_int_equal(resolve("2001:db8:0:2::", gw_mac), RESOLVED);
	assert_false(neigh_resolve(neigh, PORT + 1, &a, &out, &is_unreachable));
	assert_true(is_unreachable);
}

static void test_without_gateways(void **state)
{
	assert_int_equal(neigh_next_deadline_ns(neigh), TIME_NEVER);
	assert_int_equal(resolve("8.8.8.8", NULL), UNREACHABLE);
	assert_int_equal(resolve("2001:4860::8888", NULL), UNREACHABLE);
	hold("8.8.8.8", 1);
	assert_int_equal(counters().held_dropped, 1);
	assert_int_equal(counters().held, 0);
	tick_at(now_ns);
	assert_int_equal(n_sent, 0);
}

static void test_packets_wait_for_the_answer(void **state)
{
	learn_gateways();
	for (uint8_t nr = 1; nr <= NEIGH_HOLD_MAX + 2; nr++)
		hold("192.0.2.55", nr);
	assert_int_equal(n_sent, 1);
	expect_sent(0, arp_ask(own_mac, "192.0.2.1", "192.0.2.55"), 60);
	assert_int_equal(counters().held_dropped, 2);
	assert_int_equal(counters().held, NEIGH_HOLD_MAX + 2);
	forget();
	input(arp_answer(host_mac, "192.0.2.55"), 60);
	assert_int_equal(n_sent, NEIGH_HOLD_MAX);
	for (unsigned i = 0; i < NEIGH_HOLD_MAX; i++)
		expect_packet_sent(i, (uint8_t)(i + 3), host_mac);
	/* Known by now: no detour. */
	hold("192.0.2.55", 99);
	expect_packet_sent(NEIGH_HOLD_MAX, 99, host_mac);
	hold("8.8.8.8", 98);
	expect_packet_sent(NEIGH_HOLD_MAX + 1, 98, gw_mac);
	/* A request of the awaited host is as good as its answer. */
	hold("10.9.3.4", 7);
	forget();
	input(arp_ask(other_mac, "10.9.3.4", "10.9.0.1"), 60);
	assert_int_equal(n_sent, 2);
	expect_packet_sent(1, 7, other_mac);
	/* Too short to have a destination, or without a link: freed. */
	neigh_hold(neigh, PORT, &(struct ip_addr[1]){ip("192.0.2.55")}[0], mbuf_of(packet(1), 13),
		now_ns);
	neigh_hold(neigh, PORT + 1, &(struct ip_addr[1]){ip("192.0.2.55")}[0],
		mbuf_of(packet(1), 60), now_ns);
	hold("192.0.2.255", 1);
	hold("192.0.2.1", 1);
	assert_int_equal(counters().held_dropped, 6);
	assert_int_equal(n_sent, 2);
}

static void test_silence_gives_up(void **state)
{
	uint64_t t0 = now_ns;

	hold("192.0.2.77", 1);
	hold("192.0.2.77", 2);
	assert_int_equal(n_sent, 1);
	assert_int_equal(neigh_next_deadline_ns(neigh), t0 + NS_IN_S);
	tick_at(t0 + NS_IN_S - 1);
	assert_int_equal(n_sent, 1);
	tick_at(t0 + NS_IN_S);
	tick_at(t0 + 2 * NS_IN_S);
	assert_int_equal(n_sent, 3);
	for (unsigned i = 0; i < 3; i++)
		expect_sent(i, arp_ask(own_mac, "192.0.2.1", "192.0.2.77"), 60);
	assert_int_equal(counters().held_dropped, 0);
	tick_at(t0 + 3 * NS_IN_S);
	assert_int_equal(n_sent, 3);
	assert_int_equal(counters().held_dropped, 2);
	assert_int_equal(neigh_next_deadline_ns(neigh), TIME_NEVER);
	/* Too late to be an answer to anything. */
	expect_ignored(arp_answer(host_mac, "192.0.2.77"), 60);
	/* The next packet starts anew. */
	hold("192.0.2.77", 3);
	assert_int_equal(n_sent, 4);
}

static void test_silent_gateway_drops_what_waits(void **state)
{
	uint64_t t0 = now_ns;

	tick_at(t0);
	hold("8.8.8.8", 1);
	for (unsigned s = 1; s <= 2; s++)
		tick_at(t0 + s * NS_IN_S);
	assert_int_equal(counters().held_dropped, 0);
	tick_at(t0 + 3 * NS_IN_S);
	assert_int_equal(counters().held_dropped, 1);
	hold("8.8.8.8", 2);
	forget();
	input(arp_answer(gw_mac, "192.0.2.254"), 60);
	expect_packet_sent(0, 2, gw_mac);
}

static void test_entries_in_use_are_probed(void **state)
{
	struct arp probe = {host_mac, 1, own_mac, "192.0.2.1", host_mac, "192.0.2.55"};
	uint64_t t0;

	hold("192.0.2.55", 1);
	input(arp_answer(host_mac, "192.0.2.55"), 60);
	t0 = now_ns;
	forget();
	assert_int_equal(resolve("192.0.2.55", host_mac), RESOLVED);
	tick_at(t0 + 30 * NS_IN_S - 1);
	assert_int_equal(n_sent, 0);
	tick_at(t0 + 30 * NS_IN_S);
	assert_int_equal(n_sent, 1);
	expect_sent(0, arp(&probe), 60);
	assert_int_equal(resolve("192.0.2.55", host_mac), RESOLVED);
	input(arp_answer(host_mac, "192.0.2.55"), 60);
	assert_int_equal(neigh_next_deadline_ns(neigh), t0 + 60 * NS_IN_S);
	/* In use (looked up above), and silent: two probes, one question to all, gone. */
	forget();
	for (unsigned s = 60; s <= 62; s++) {
		tick_at(t0 + s * NS_IN_S);
		assert_int_equal(resolve("192.0.2.55", host_mac), RESOLVED);
	}
	assert_int_equal(n_sent, 3);
	expect_sent(0, arp(&probe), 60);
	expect_sent(1, arp(&probe), 60);
	expect_sent(2, arp_ask(own_mac, "192.0.2.1", "192.0.2.55"), 60);
	tick_at(t0 + 63 * NS_IN_S);
	assert_int_equal(resolve("192.0.2.55", NULL), WAITS);
	assert_int_equal(n_sent, 3);
}

static void test_entries_out_of_use_go_quietly(void **state)
{
	input(arp_ask(host_mac, "192.0.2.55", "192.0.2.1"), 60);
	input_nd(&host_asks);
	forget();
	tick_at(now_ns + 30 * NS_IN_S);
	assert_int_equal(n_sent, 0);
	assert_int_equal(resolve("192.0.2.55", NULL), WAITS);
	assert_int_equal(resolve("2001:db8::55", NULL), WAITS);
	assert_int_equal(neigh_next_deadline_ns(neigh), TIME_NEVER);
}

static void test_gateway_is_refreshed_and_moves(void **state)
{
	struct nd na = gateway_answers;
	uint64_t t0 = now_ns;

	learn_gateways();
	/* No packet used them, and still they are probed. */
	tick_at(t0 + 30 * NS_IN_S);
	assert_int_equal(n_sent, 2);
	expect_sent(
		0, arp(&(struct arp){gw_mac, 1, own_mac, "192.0.2.1", gw_mac, "192.0.2.254"}), 60);
	expect_nd_sent(1, &(struct nd){NS, gw_mac, own_mac, "2001:db8::1", "2001:db8::fe",
				  "2001:db8::fe", 0, own_mac});
	/* An NA that is not to override does not (RFC 4861, 7.2.5); without the option it confirms.
	 */
	na.mac = other_mac;
	na.flags = 0x40;
	expect_nd_ignored(&na);
	na.mac = NULL;
	input_nd(&na);
	assert_int_equal(resolve("2001:4860::8888", gw_mac), RESOLVED);
	/* The IPv4 one has moved: it answers the last question, which is to all. */
	tick_at(t0 + 32 * NS_IN_S);
	tick_at(t0 + 33 * NS_IN_S);
	expect_sent(n_sent - 1, arp_ask(own_mac, "192.0.2.1", "192.0.2.254"), 60);
	input(arp_answer(other_mac, "192.0.2.254"), 60);
	assert_int_equal(resolve("8.8.8.8", other_mac), RESOLVED);
	/* Dead for good: after three questions packets wait again, and the questions go on. */
	tick_at(t0 + 63 * NS_IN_S);
	for (unsigned s = 64; s <= 66; s++)
		tick_at(t0 + s * NS_IN_S);
	assert_int_equal(resolve("8.8.8.8", NULL), WAITS);
	forget();
	tick_at(t0 + 67 * NS_IN_S);
	assert_true(n_sent >= 1);
}

static void test_contradiction_makes_us_ask(void **state)
{
	learn_gateways();
	input(arp_ask(other_mac, "192.0.2.254", "192.0.2.1"), 60);
	assert_int_equal(n_sent, 2);
	expect_sent(1, arp_ask(own_mac, "192.0.2.1", "192.0.2.254"), 60);
	assert_int_equal(resolve("8.8.8.8", gw_mac), RESOLVED);
	/* Said again, it is still only said. */
	input(arp_ask(other_mac, "192.0.2.254", "192.0.2.1"), 60);
	assert_int_equal(n_sent, 3);
	assert_int_equal(resolve("8.8.8.8", gw_mac), RESOLVED);
	input(arp_answer(gw_mac, "192.0.2.254"), 60);
	expect_ignored(arp_answer(other_mac, "192.0.2.254"), 60);
	assert_int_equal(resolve("8.8.8.8", gw_mac), RESOLVED);
	/* Really moved. */
	input(arp_ask(other_mac, "192.0.2.254", "192.0.2.1"), 60);
	input(arp_answer(other_mac, "192.0.2.254"), 60);
	assert_int_equal(resolve("8.8.8.8", other_mac), RESOLVED);
	/* The same again is no contradiction. */
	forget();
	input(arp_ask(other_mac, "192.0.2.254", "192.0.2.1"), 60);
	assert_int_equal(n_sent, 1);
	assert_int_equal(resolve("8.8.8.8", other_mac), RESOLVED);
}

static const char *inside(char text[static 32], unsigned i)
{
	snprintf(text, 32, "10.9.%u.%u", 1 + i / 250, 1 + i % 250);
	return text;
}

static void test_flood_is_bounded(void **state)
{
	char text[32];

	start(1000, true);
	learn_gateways();
	for (unsigned second = 0; second < 5; second++) {
		for (unsigned i = 0; i < 5000; i++)
			hold(inside(text, (second * 5000 + i) % 60000), 1);
		assert_true(rte_mempool_avail_count(mempool) >= N_MBUFS - NEIGH_HELD_MAX);
		assert_int_equal(n_sent, NEIGH_ASKS_PER_S);
		forget();
		tick_at(now_ns + NS_IN_S);
		assert_true(n_sent <= NEIGH_ASKS_PER_S);
		forget();
		/* A new second for the budget. */
		now_ns += NS_IN_S;
	}
	/* The gateway is as it was, and so is a host once the flood is over. */
	assert_int_equal(resolve("8.8.8.8", gw_mac), RESOLVED);
	for (unsigned s = 0; s < 4; s++)
		tick_at(now_ns + NS_IN_S);
	forget();
	hold("192.0.2.55", 1);
	input(arp_answer(host_mac, "192.0.2.55"), 60);
	expect_packet_sent(1, 1, host_mac);
	stop();
}

static void test_unsolicited_learning_leaves_room(void **state)
{
	char text[32];
	unsigned n_resolved = 0;

	start(38, false); /* 40 entries: 30 for those who ask */
	for (unsigned i = 0; i < 60; i++)
		input(arp_ask(host_mac, inside(text, i), "10.9.0.1"), 60);
	assert_int_equal(counters().answered, 60);
	assert_int_equal(counters().learnt, 30);
	for (unsigned i = 0; i < 60; i++)
		n_resolved += resolve(inside(text, i), host_mac) == RESOLVED;
	assert_int_equal(n_resolved, 30);
	forget();
	for (unsigned i = 0; i < 20; i++)
		hold(inside(text, 100 + i), 1);
	assert_int_equal(n_sent, 10);
	assert_int_equal(counters().held_dropped, 10);
	stop();
}

static void test_entries_wait_for_readers(void **state)
{
	char text[32];

	start(2, false); /* 4 entries */
	grace_reader_online(grace, 0);
	for (unsigned i = 0; i < 4; i++)
		hold(inside(text, i), 1);
	for (unsigned s = 0; s < 3; s++)
		tick_at(now_ns + NS_IN_S);
	assert_int_equal(counters().held_dropped, 4);
	hold("10.9.9.9", 1);
	assert_int_equal(counters().held_dropped, 5);
	grace_reader_quiescent(grace, 0);
	grace_poll(grace);
	hold("10.9.9.9", 1);
	assert_int_equal(counters().held_dropped, 5);
	/* And destroy finds some of them on their way. */
	for (unsigned s = 0; s < 3; s++)
		tick_at(now_ns + NS_IN_S);
	grace_reader_offline(grace, 0);
	stop();
}

static void test_out_of_packets(void **state)
{
	static struct rte_mbuf *all[N_MBUFS];
	struct rte_mbuf *ask;

	learn_gateways();
	ask = mbuf_of(arp_ask(host_mac, "192.0.2.55", "192.0.2.1"), 60);
	hold("192.0.2.77", 1);
	forget();
	while (rte_mempool_avail_count(mempool) > 0)
		assert_int_equal(rte_pktmbuf_alloc_bulk(
					 mempool, &all[rte_mempool_avail_count(mempool) - 1], 1),
			0);
	tick_at(now_ns + NS_IN_S);
	assert_int_equal(n_sent, 0);
	neigh_input(neigh, PORT, ask, now_ns); /* its own mbuf is room for the answer */
	assert_int_equal(n_sent, 1);
	for (unsigned i = 0; i < N_MBUFS - 2; i++)
		rte_pktmbuf_free(all[i]);
}

static void test_create_refuses(void **state)
{
	static struct neigh_link links[2];
	struct neigh_params p = {.links = links,
		.n_links = 2,
		.max_entries = 4,
		.mempool = mempool,
		.send = on_send};

	p.grace = grace = grace_create(1);
	assert_null(neigh_create(&p)); /* the same port twice */
	links[1].port_idx = 1;
	links[1].n_ifaddrs = NEIGH_IFADDRS_MAX + 1;
	assert_null(neigh_create(&p));
	links[1].n_ifaddrs = 0;
	links[1].n_pool = NEIGH_POOL_MAX + 1;
	assert_null(neigh_create(&p));
	links[1].n_pool = 0;
	/* A gateway without an address to ask with is as good as none. */
	links[1].gateway4 = ip("192.0.2.254");
	neigh = neigh_create(&p);
	assert_non_null(neigh);
	assert_int_equal(neigh_next_deadline_ns(neigh), TIME_NEVER);
	stop();
	neigh_destroy(NULL);
}

/* Workers resolve while control learns, forgets and gives entries to other addresses: what a worker
 * gets for an address must be what that address once answered. */
#define N_READERS 2
#define N_ADDRS	  200

static bool must_stop;
static uint64_t n_resolved[N_READERS]; /* W: its reader, R: main */

static void *resolve_on(void *arg)
{
	uint32_t id = *(uint32_t *)arg;
	unsigned lcg = id;
	uintptr_t n_bad = 0;

	grace_reader_online(grace, id);
	while (!__atomic_load_n(&must_stop, __ATOMIC_RELAXED)) {
		for (unsigned i = 0; i < 32; i++) {
			struct ip_addr a = {{[10] = 0xff, 0xff, 10, 9}};
			struct rte_ether_addr mac;
			bool is_unreachable;

			lcg = lcg * 1664525 + 1013904223;
			a.bytes[14] = 1;
			a.bytes[15] = (uint8_t)(1 + (lcg >> 8) % N_ADDRS);
			if (!neigh_resolve(neigh, PORT, &a, &mac, &is_unreachable)) {
				n_bad += is_unreachable;
				continue;
			}
			__atomic_fetch_add(&n_resolved[id], 1, __ATOMIC_RELAXED);
			n_bad += mac.addr_bytes[0] != 2 || mac.addr_bytes[5] != a.bytes[15];
		}
		grace_reader_quiescent(grace, id);
	}
	grace_reader_offline(grace, id);
	return (void *)n_bad;
}

/* On a busy machine control may be far ahead before a reader has even begun. */
static bool have_seen_enough(void)
{
	for (int i = 0; i < N_READERS; i++)
		if (__atomic_load_n(&n_resolved[i], __ATOMIC_RELAXED) < 5000)
			return false;
	return true;
}

static void test_workers_resolve_while_control_changes(void **state)
{
	static uint32_t ids[N_READERS] = {0, 1};
	pthread_t readers[N_READERS];
	uint8_t mac[6] = {2};
	char text[32];
	void *n_bad;

	start(60, false); /* fewer than addresses: entries change hands */
	for (int i = 0; i < N_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, resolve_on, &ids[i]), 0);
	for (unsigned step = 0; step < 20000 || !have_seen_enough(); step++) {
		unsigned i = (unsigned)random() % N_ADDRS;

		mac[5] = (uint8_t)(1 + i);
		mac[1] = (uint8_t)step;
		hold(inside(text, i), 1);
		if (step % 2 == 0)
			input(arp_answer(mac, inside(text, i)), 60);
		if (step % 8 == 0)
			tick_at(now_ns + NS_IN_S);
		/* Entries come back as fast as readers get their turns. */
		while (grace_pending(grace) > 30) {
			sched_yield();
			grace_poll(grace);
		}
		if (n_sent > SENT_MAX)
			forget();
	}
	__atomic_store_n(&must_stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < N_READERS; i++) {
		pthread_join(readers[i], &n_bad);
		assert_ptr_equal(n_bad, NULL);
	}
	assert_true(counters().learnt > 100);
	stop();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		LINK_TEST(test_gateways_are_asked_for_first),
		LINK_TEST(test_next_hops),
		HOST_TEST(test_without_gateways),
		LINK_TEST(test_packets_wait_for_the_answer),
		HOST_TEST(test_silence_gives_up),
		LINK_TEST(test_silent_gateway_drops_what_waits),
		HOST_TEST(test_entries_in_use_are_probed),
		HOST_TEST(test_entries_out_of_use_go_quietly),
		LINK_TEST(test_gateway_is_refreshed_and_moves),
		LINK_TEST(test_contradiction_makes_us_ask),
		cmocka_unit_test(test_flood_is_bounded),
		cmocka_unit_test(test_unsolicited_learning_leaves_room),
		cmocka_unit_test(test_entries_wait_for_readers),
		LINK_TEST(test_out_of_packets),
		cmocka_unit_test(test_create_refuses),
		cmocka_unit_test(test_workers_resolve_while_control_changes),
	};

	start_world();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
