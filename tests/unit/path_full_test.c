/* path_full_test.c - no room: every ring, mailbox and pool runs full once, what finds no place is
 * counted, and what waits still goes its way.
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

static int setup_with(const struct rig_params *params, unsigned home)
{
	rig = rig_create(params);
	client = rig_client_add(rig, 0, home);
	rig_client_connect(rig, client);
	return 0;
}

static int setup(void **state)
{
	return setup_with(&(struct rig_params){0}, 0);
}

static int setup_two_workers(void **state)
{
	return setup_with(&(struct rig_params){.n_workers = 2}, 1);
}

static int teardown(void **state)
{
	rig_destroy(rig);
	return 0;
}

static struct flow flow_in(uint8_t proto, uint8_t hops)
{
	return (struct flow){RIG_HOST4, RIG_POOL4, 5555, RIG_LEASE_PORT, proto, hops};
}

static void test_handover_full(void **state)
{
	const struct flow in = flow_in(IPPROTO_UDP, 0);
	const unsigned room = rte_ring_get_capacity(path_worker(rig->path, 1)->rings_in[0]);
	struct frame f;
	unsigned n = 0;

	rig_public_frame(rig, &f, &in, 20);
	while (rig_dropped(rig, STATS_DROP_handover_full) == 0) {
		rig_rx(rig, RIG_PUBLIC, 0, &f);
		rig_worker_turn(rig, 0);
		n++;
	}
	assert_int_equal(n, room + 1);
	rig_check_balance_of(rig, 0);
	/* What is in the ring still goes its way. */
	for (unsigned i = 0; i < n; i++) {
		rig_worker_turn(rig, 1);
		rig_worker_turn(rig, 0);
		rig_tx_discard(rig);
	}
	rig_settle(rig);
	assert_int_equal(rig_dropped_all(rig), 1);
	assert_int_equal(rig_counter(rig, STATS_forwarded), room);
}

static void test_tx_full(void **state)
{
	const struct flow in = flow_in(IPPROTO_UDP, 0);
	const struct flow ping = {RIG_CLIENT4, RIG_ENTRY4, 0, 0, IPPROTO_ICMP, 0};
	const unsigned room = 127;
	struct frame f;

	for (unsigned i = 0; i < room + 5; i++) {
		rig_public_frame(rig, &f, &in, 20);
		rig_rx(rig, RIG_PUBLIC, 0, &f);
		rig_worker_turn(rig, 0);
	}
	assert_int_equal(rig_dropped(rig, STATS_DROP_tx_full), 5);
	assert_int_equal(rig_counter(rig, STATS_forwarded), room);
	/* An answer of the gateway's is lost, not dropped. */
	frame_build(&f, rig_neighbour_mac(RIG_TUNNEL), &rig->ports[RIG_TUNNEL].mac, &ping, NULL, 9);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_counter(rig, STATS_originated_lost), 1);
	assert_int_equal(rig_dropped_all(rig), 5);
	rig_tx_discard(rig);
	rig_public_frame(rig, &f, &in, 20);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 1);
}

static void fill(struct mbox *box)
{
	struct rte_mbuf *m = pkt_alloc(rig->mempool);

	assert_non_null(m);
	memset(rte_mbuf_to_priv(m), 0, PKT_PRIV_BYTES);
	while (mbox_push(box, m))
		m = pkt_alloc(rig->mempool);
	rte_pktmbuf_free(m);
}

static void empty(struct mbox *box)
{
	void *m;

	while (mbox_pop_burst(box, &m, 1))
		rte_pktmbuf_free(m);
}

static void drop_in_one_turn(unsigned from, const struct frame *f, enum stats_drop reason)
{
	rig_rx(rig, from, 0, f);
	rig_worker_turn(rig, 0);
	assert_int_equal(rig_dropped(rig, reason), 1);
	rig_check_balance(rig);
}

static void test_mailboxes_full(void **state)
{
	const struct flow to_entry = {
		RIG_CLIENT4, RIG_ENTRY4, 7000, RIG_LISTEN_PORT, IPPROTO_UDP, 0};
	/* On the link, but nobody has answered for it. */
	const struct flow to_stranger = {
		client->inner4, "198.51.100.77", RIG_INNER_PORT, 5555, IPPROTO_UDP, 0};
	struct ip_addr sender = frame_addr(RIG_CLIENT4), target = frame_addr(RIG_ENTRY4);
	uint8_t initiation[148] = {1};
	struct frame f;

	fill(rig->mail[0].msgs);
	frame_build(&f, rig_neighbour_mac(RIG_TUNNEL), &rig->ports[RIG_TUNNEL].mac, &to_entry,
		initiation, sizeof(initiation));
	drop_in_one_turn(RIG_TUNNEL, &f, STATS_DROP_handshake_queue_full);
	empty(rig->mail[0].msgs);

	fill(rig->mail[0].to_control);
	frame_who_has(&f, rig_neighbour_mac(RIG_TUNNEL), &sender, &target);
	drop_in_one_turn(RIG_TUNNEL, &f, STATS_DROP_punt_full);
	rig_client_flow(rig, client, &f, &to_stranger, 20);
	drop_in_one_turn(RIG_TUNNEL, &f, STATS_DROP_neigh_queue_full);
	empty(rig->mail[0].to_control);
	assert_int_equal(rig_dropped_all(rig), 3);
}

/* Frames for unknown neighbours leave room for what makes neighbours known. */
static void test_unknown_neighbours_leave_room(void **state)
{
	const struct flow out = {
		client->inner4, "198.51.100.77", RIG_INNER_PORT, 5555, IPPROTO_UDP, 0};
	struct ip_addr sender = frame_addr(RIG_CLIENT4), target = frame_addr(RIG_ENTRY4);
	struct frame f;

	while (rig_dropped(rig, STATS_DROP_neigh_queue_full) == 0) {
		rig_client_flow(rig, client, &f, &out, 20);
		rig_rx(rig, RIG_TUNNEL, 0, &f);
		rig_worker_turn(rig, 0);
	}
	frame_who_has(&f, rig_neighbour_mac(RIG_TUNNEL), &sender, &target);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_worker_turn(rig, 0);
	assert_int_equal(rig_dropped_all(rig), 1);
	rig_check_balance(rig);
	rig_settle(rig);
}

/* A frame whose neighbour is not known goes to control, and on when it answers. */
static void test_unknown_neighbour(void **state)
{
	const struct flow out = {
		client->inner4, "198.51.100.77", RIG_INNER_PORT, 5555, IPPROTO_UDP, 0};
	const struct flow seen = {RIG_POOL4, "198.51.100.77", RIG_LEASE_PORT, 5555, IPPROTO_UDP, 0};
	struct ip_addr sender = frame_addr("198.51.100.77"), target = frame_addr(RIG_PUBLIC4);
	struct frame f;
	bool is_sent = false;

	rig_client_flow(rig, client, &f, &out, 20);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_PUBLIC), 1); /* who has it? */
	rig_tx_discard(rig);
	frame_who_has(&f, rig_neighbour_mac(RIG_PUBLIC), &sender, &target);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	while (rig_tx(rig, RIG_PUBLIC, &f))
		is_sent |= f.bytes[12] == 8 && f.bytes[13] == 0 &&
			   packet_is(f.bytes + FRAME_ETHER, &seen);
	assert_true(is_sent);
	assert_int_equal(rig_dropped_all(rig), 0);
}

static void test_no_way_out(void **state)
{
	const struct flow out = {client->inner4, "8.8.8.8", RIG_INNER_PORT, 53, IPPROTO_UDP, 0};
	struct frame f;

	rig_client_flow(rig, client, &f, &out, 20);
	drop_in_one_turn(RIG_TUNNEL, &f, STATS_DROP_neigh_unreachable);
}

static void test_no_buffers_for_keepalives(void **state)
{
	struct rte_mbuf *taken[4096];
	unsigned n = 0;
	struct frame f;

	rig_client_flow(rig, client, &f,
		&(struct flow){client->inner4, RIG_HOST4, RIG_INNER_PORT, 5, IPPROTO_UDP, 0}, 20);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
	rig_tx_discard(rig);
	while (n < RTE_DIM(taken) && (taken[n] = pkt_alloc(rig->mempool)))
		n++;
	rig_now_ns += 11 * NS_IN_S;
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
	assert_int_equal(rig_counter(rig, STATS_originated_lost), 1);
	rte_pktmbuf_free_bulk(taken, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(test, set) cmocka_unit_test_setup_teardown(test, set, teardown)
		CASE(test_handover_full, setup_two_workers),
		CASE(test_tx_full, setup),
		CASE(test_mailboxes_full, setup),
		CASE(test_unknown_neighbours_leave_room, setup),
		CASE(test_unknown_neighbour, setup),
		CASE(test_unknown_neighbour, setup_two_workers),
		CASE(test_no_way_out, setup),
		CASE(test_no_buffers_for_keepalives, setup),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
