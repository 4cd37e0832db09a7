/* path_flow_test.c - what goes through: by a lease in both directions, pings, and from worker to
 * worker.
 */
#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lease/lease.h"
#include "path_pass.h"

static int setup(void **state)
{
	return pass_setup(&(struct rig_params){0}, 0);
}

static int setup_one_device(void **state)
{
	return pass_setup(&(struct rig_params){.one_device = true}, 0);
}

/* Packets come by worker 0, the peer lives on 1, and only worker 0 can send. */
static int setup_two_workers(void **state)
{
	return pass_setup(&(struct rig_params){.n_workers = 2}, 1);
}

/* Received by 0, handled by 2, sent by 0: the ports have two tx queues, and 2 uses the first. */
static int setup_three_workers(void **state)
{
	return pass_setup(
		&(struct rig_params){.n_workers = 3, .n_rx_queues = 3, .n_tx_queues = 2}, 2);
}

static struct flow flow_in(uint8_t proto, uint8_t hops)
{
	return (struct flow){RIG_HOST4, RIG_POOL4, 5555, RIG_LEASE_PORT, proto, hops};
}

static struct flow flow_out(uint8_t proto, uint8_t hops)
{
	return (struct flow){client->inner4, RIG_HOST4, RIG_INNER_PORT, 5555, proto, hops};
}

/* --- by a lease --- */

static void check_in(uint8_t proto, size_t payload_len)
{
	const struct flow in = flow_in(proto, 33);
	const struct flow inside = {RIG_HOST4, client->inner4, 5555, RIG_INNER_PORT, proto, 32};
	uint8_t plain[FRAME_BYTES_MAX], sent[FRAME_BYTES_MAX];
	size_t len = packet_build(sent, &in, NULL, payload_len), at;
	struct frame f, out;
	int n;

	rig_public_frame(rig, &f, &in, payload_len);
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
	n = rig_client_open(rig, client, &out, plain);
	/* Padded to 16, but not past the inner MTU, and with zeros. */
	assert_int_equal(n, RTE_MIN((len + 15) / 16 * 16, (size_t)RIG_INNER_MTU));
	assert_true(packet_is_sound(plain, (size_t)n));
	assert_true(packet_is(plain, &inside));
	assert_int_equal(packet_len(plain), len);
	at = packet_payload_at(plain);
	assert_memory_equal(plain + at, sent + at, len - at);
	for (size_t i = len; i < (size_t)n; i++)
		assert_int_equal(plain[i], 0);
}

static void check_out(uint8_t proto, size_t payload_len)
{
	const struct flow out_flow = flow_out(proto, 64);
	const struct flow outside = {RIG_POOL4, RIG_HOST4, RIG_LEASE_PORT, 5555, proto, 63};
	uint8_t sent[FRAME_BYTES_MAX];
	size_t len = packet_build(sent, &out_flow, NULL, payload_len), at;
	struct frame f, out;
	const uint8_t *ip = out.bytes + FRAME_ETHER;

	rig_client_flow(rig, client, &f, &out_flow, payload_len);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &out);
	assert_memory_equal(out.bytes, rig_neighbour_mac(RIG_PUBLIC), 6);
	assert_int_equal(out.len, FRAME_ETHER + len);
	assert_true(packet_is_sound(ip, len));
	assert_true(packet_is(ip, &outside));
	at = packet_payload_at(ip);
	assert_memory_equal(ip + at, sent + at, len - at);
}

static void test_lease_in_and_out(void **state)
{
	static const size_t sizes[] = {
		0, 1, 2, 15, 16, 17, 500, 1339, 1351, 1360, 1363, 1364, 1365, 1370, 1379, 1380};
	struct door_counters c;
	uint64_t bytes = 0, n = 0;

	for (size_t i = 0; i < RTE_DIM(sizes); i++) {
		check_in(IPPROTO_TCP, sizes[i]);
		check_out(IPPROTO_TCP, sizes[i]);
		check_in(IPPROTO_UDP, sizes[i]);
		check_out(IPPROTO_UDP, sizes[i]);
		bytes += 2 * sizes[i] + 40 + 28;
		n += 2;
	}
	doors_counters_get(rig->doors, client->lease_id, &c);
	assert_int_equal(c.in_pkts, n);
	assert_int_equal(c.out_pkts, n);
	assert_int_equal(c.in_bytes, bytes);
	assert_int_equal(c.out_bytes, bytes);
	assert_int_equal(rig_counter(rig, STATS_forwarded), 2 * n);
}

static void test_udp_without_checksum_stays_without(void **state)
{
	const struct flow in = flow_in(IPPROTO_UDP, 0);
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f, out;

	rig_public_frame(rig, &f, &in, 30);
	memset(f.bytes + FRAME_ETHER + 26, 0, 2);
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
	assert_true(rig_client_open(rig, client, &out, plain) > 0);
	assert_int_equal(load_be16(plain + 26), 0);
}

/* Ethernet's own padding is no part of the packet. */
static void test_padding_of_the_frame_is_cut(void **state)
{
	const struct flow in = flow_in(IPPROTO_UDP, 0);
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f, out;

	rig_public_frame(rig, &f, &in, 1);
	memset(f.bytes + f.len, 0xee, 60 - f.len);
	f.len = 60;
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
	assert_int_equal(rig_client_open(rig, client, &out, plain), 32);
	assert_int_equal(plain[29], 0);
}

static void test_mtu(void **state)
{
	const struct flow in = flow_in(IPPROTO_UDP, 0), out = flow_out(IPPROTO_UDP, 0);
	struct frame f, g;

	rig_public_frame(rig, &f, &in, RIG_INNER_MTU - 28);
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &g);
	/* 20 IPv4, 8 UDP, 16 header, 16 tag */
	assert_int_equal(g.len, FRAME_ETHER + 60 + RIG_INNER_MTU);
	/* One byte more is two pieces. */
	rig_public_frame(rig, &f, &in, RIG_INNER_MTU - 28 + 1);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 2);
	rig_tx_discard(rig);
	/* The peer's MTU is its own affair; the public port's is ours. */
	rig_client_flow(rig, client, &f, &out, 1500 - 28);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &g);
	rig_client_flow(rig, client, &f, &out, 1500 - 28 + 1);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_PUBLIC), 2);
	rig_tx_discard(rig);
}

static void test_sources_of_a_lease(void **state)
{
	struct flow in = flow_in(IPPROTO_TCP, 0);
	struct lease l = {.id = client->lease_id,
		.peer_idx = client->peer_idx,
		.protos = LEASE_PROTO_BOTH,
		.public_addr = frame_addr(RIG_POOL4),
		.public_port = client->lease_port,
		.inner_addr = frame_addr(client->inner4),
		.inner_port = RIG_INNER_PORT,
		.n_sources = 2};
	struct door_counters c;
	struct frame f, out;

	assert_int_equal(ip_prefix_parse("192.88.0.0/16", &l.sources[0]), 0);
	assert_int_equal(ip_prefix_parse("198.51.100.8/31", &l.sources[1]), 0);
	assert_int_equal(doors_open(rig->doors, &l), 0);
	rig_public_frame(rig, &f, &in, 10);
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
	in.src = "198.51.100.10";
	rig_public_frame(rig, &f, &in, 10);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_lease_source);
	doors_counters_get(rig->doors, client->lease_id, &c);
	assert_int_equal(c.refused_pkts, 1);
	assert_int_equal(c.in_pkts, 1);
}

static void test_closed_both_ways(void **state)
{
	const struct flow in = flow_in(IPPROTO_TCP, 0), out = flow_out(IPPROTO_TCP, 0);
	struct frame f, left;

	rig_lease_close(rig, client);
	rig_public_frame(rig, &f, &in, 10);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_no_lease);
	/* It leaves as ordinary traffic does. */
	rig_client_flow(rig, client, &f, &out, 10);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &left);
	assert_int_not_equal(load_be16(left.bytes + FRAME_ETHER + 20), RIG_LEASE_PORT);
}

/* Its absent address is held as all zero, which is no address to send from. */
static void test_no_ipv6_inside(void **state)
{
	const struct flow out = {"::", "2001:db8::9", 1, 80, IPPROTO_TCP, 0};
	struct peer_conf conf = *peer_conf_get(rig->peers, client->peer_idx);
	const char *culprit = "";
	struct frame f;

	conf.address6 = (struct ip_addr){0};
	assert_int_equal(peer_set(rig->peers, client->peer_idx, &conf, &culprit), 0);
	rig_client_flow(rig, client, &f, &out, 10);
	drop_one(RIG_TUNNEL, &f, STATS_DROP_inner_source);
}

/* --- ping --- */

static void check_ping(unsigned port, const char *from, const char *to, uint8_t proto)
{
	const struct flow ping = {from, to, 0, 0, proto, 3}, pong = {to, from, 0, 0, proto, 64};
	struct frame f, out;
	const uint8_t *ip = out.bytes + FRAME_ETHER;

	frame_build(&f, rig_neighbour_mac(port), &rig->ports[rig->n_ports == 1 ? 0 : port].mac,
		&ping, NULL, 100);
	pass(port, port, &f, &out);
	assert_memory_equal(out.bytes, rig_neighbour_mac(port), 6);
	assert_true(packet_is_sound(ip, out.len - FRAME_ETHER));
	assert_true(packet_is(ip, &pong));
	assert_int_equal(ip[packet_payload_at(ip) - 8], proto == IPPROTO_ICMP ? 0 : 129);
	assert_memory_equal(
		ip + packet_payload_at(ip), f.bytes + FRAME_ETHER + packet_payload_at(ip), 100);
}

static void test_ping_of_ports(void **state)
{
	check_ping(RIG_TUNNEL, RIG_CLIENT4, RIG_ENTRY4, IPPROTO_ICMP);
	check_ping(RIG_TUNNEL, RIG_CLIENT6, RIG_ENTRY6, IPPROTO_ICMPV6);
	check_ping(RIG_PUBLIC, RIG_HOST4, RIG_PUBLIC4, IPPROTO_ICMP);
	assert_int_equal(rig_counter(rig, STATS_forwarded), 0);
}

static void check_inner_ping(const char *from, const char *to, uint8_t proto, size_t payload_len)
{
	const struct flow ping = {from, to, 0, 0, proto, 64}, pong = {to, from, 0, 0, proto, 64};
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f, out;
	int n;

	rig_client_flow(rig, client, &f, &ping, payload_len);
	pass(RIG_TUNNEL, RIG_TUNNEL, &f, &out);
	n = rig_client_open(rig, client, &out, plain);
	assert_true(n > 0);
	assert_true(packet_is_sound(plain, (size_t)n));
	assert_true(packet_is(plain, &pong));
}

static void test_ping_inside(void **state)
{
	check_inner_ping(client->inner4, RIG_INNER_GW4, IPPROTO_ICMP, 56);
	check_inner_ping(client->inner6, RIG_INNER_GW6, IPPROTO_ICMPV6, 56);
	check_inner_ping(client->inner4, RIG_INNER_GW4, IPPROTO_ICMP, RIG_INNER_MTU - 28);
	check_inner_ping(client->inner4, RIG_INNER_GW4, IPPROTO_ICMP, 0);
}

/* --- between workers --- */

static void test_hand_overs(void **state)
{
	unsigned home = client->home;

	check_in(IPPROTO_TCP, 100);
	assert_true(path_stats(rig->path, home)->counter[STATS_handed_in] >= 1);
	assert_int_equal(path_stats(rig->path, home)->counter[STATS_sealed], 1);
	/* The home worker has no tx queue: what it sealed leaves by worker 0. */
	assert_int_equal(path_stats(rig->path, 0)->counter[STATS_forwarded], 1);
	check_out(IPPROTO_UDP, 100);
	check_out(IPPROTO_UDP, 1380);
	check_in(IPPROTO_UDP, 1380);
	check_inner_ping(client->inner4, RIG_INNER_GW4, IPPROTO_ICMP, 56);
	check_ping(RIG_TUNNEL, RIG_CLIENT4, RIG_ENTRY4, IPPROTO_ICMP);
	check_ping(RIG_PUBLIC, RIG_HOST4, RIG_PUBLIC4, IPPROTO_ICMP);
	/* A keepalive of the gateway's own goes the same way. */
	check_out(IPPROTO_UDP, 8);
	rig_now_ns += 11 * NS_IN_S;
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 1);
	assert_int_equal(rig_counter(rig, STATS_keepalives_out), 1);
	rig_tx_discard(rig);
}

/* The oracle and the path agree, for every queue a packet may come by. */
static void test_any_queue_leads_home(void **state)
{
	const struct flow in = flow_in(IPPROTO_TCP, 0), out = flow_out(IPPROTO_TCP, 0);

	for (unsigned q = 0; q < 3; q++) {
		uint64_t n_sealed = path_stats(rig->path, 2)->counter[STATS_sealed];
		uint64_t n_opened = path_stats(rig->path, 2)->counter[STATS_opened];
		struct frame f;

		rig_public_frame(rig, &f, &in, 64);
		rig_rx(rig, RIG_PUBLIC, q, &f);
		rig_client_flow(rig, client, &f, &out, 64);
		rig_rx(rig, RIG_TUNNEL, q, &f);
		rig_settle(rig);
		assert_int_equal(path_stats(rig->path, 2)->counter[STATS_sealed], n_sealed + 1);
		assert_int_equal(path_stats(rig->path, 2)->counter[STATS_opened], n_opened + 1);
		assert_true(
			rig_tx_count(rig, RIG_TUNNEL) == 1 && rig_tx_count(rig, RIG_PUBLIC) == 1);
		rig_tx_discard(rig);
	}
	assert_int_equal(rig_dropped_all(rig), 0);
}

static void test_closed_while_handed_over(void **state)
{
	const struct flow in = flow_in(IPPROTO_TCP, 0);
	struct frame f;

	rig_public_frame(rig, &f, &in, 64);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_worker_turn(rig, 0); /* the door is found, the packet is in the ring */
	rig_lease_close(rig, client);
	rig_settle(rig);
	assert_int_equal(rig_dropped(rig, STATS_DROP_lease_closed), 1);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
}

/* The record is another lease's by the time the packet comes out of the ring. */
static void test_reopened_while_handed_over(void **state)
{
	const struct flow in = flow_in(IPPROTO_TCP, 0);
	struct rig_client *other = rig_client_add(rig, 1, 1);
	struct frame f;

	rig_client_connect(rig, other);
	rig_lease_close(rig, other);
	rig_public_frame(rig, &f, &in, 64);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_worker_turn(rig, 0);
	rig_lease_close(rig, client);
	for (unsigned i = 0; i < 2; i++)
		grace_reader_quiescent(rig->grace, i);
	assert_true(grace_poll(rig->grace) > 0);
	for (unsigned i = 0; i < 4; i++) {
		rig_lease_open(rig, other);
		if (i < 3)
			rig_lease_close(rig, other);
	}
	rig_settle(rig);
	assert_int_equal(rig_dropped(rig, STATS_DROP_lease_closed), 1);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
}

static void test_no_home_yet(void **state)
{
	struct rig_client *other = rig_client_add(rig, 1, PEER_HOME_NONE);
	struct flow in = flow_in(IPPROTO_TCP, 0);
	struct frame f;

	in.dst_port = other->lease_port;
	rig_public_frame(rig, &f, &in, 64);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_peer_unreachable);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(test, set) cmocka_unit_test_setup_teardown(test, set, pass_teardown)
		CASE(test_lease_in_and_out, setup),
		CASE(test_lease_in_and_out, setup_one_device),
		CASE(test_lease_in_and_out, setup_two_workers),
		CASE(test_udp_without_checksum_stays_without, setup),
		CASE(test_padding_of_the_frame_is_cut, setup),
		CASE(test_mtu, setup),
		CASE(test_mtu, setup_two_workers),
		CASE(test_sources_of_a_lease, setup),
		CASE(test_sources_of_a_lease, setup_three_workers),
		CASE(test_closed_both_ways, setup),
		CASE(test_closed_both_ways, setup_two_workers),
		CASE(test_no_ipv6_inside, setup),
		CASE(test_ping_of_ports, setup),
		CASE(test_ping_of_ports, setup_one_device),
		CASE(test_ping_inside, setup),
		CASE(test_ping_inside, setup_two_workers),
		CASE(test_hand_overs, setup_two_workers),
		CASE(test_hand_overs, setup_three_workers),
		CASE(test_any_queue_leads_home, setup_three_workers),
		CASE(test_closed_while_handed_over, setup_two_workers),
		CASE(test_reopened_while_handed_over, setup_two_workers),
		CASE(test_no_home_yet, setup),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
