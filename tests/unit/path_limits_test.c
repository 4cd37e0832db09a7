/* path_limits_test.c - leases that take so many packets and new flows a second, and what is seen of
 * those who knock, through the whole path: over IPv4, and as pinholes over IPv6.
 */
#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lease/lease.h"
#include "path_pass.h"

#define TCP_ACK 0x10

static int setup(void **state)
{
	return pass_setup(&(struct rig_params){0}, 0);
}

static int setup_two_workers(void **state)
{
	return pass_setup(&(struct rig_params){.n_workers = 2}, 1);
}

static struct lease lease_v4(void)
{
	return (struct lease){.id = client->lease_id,
		.peer_idx = client->peer_idx,
		.protos = LEASE_PROTO_BOTH,
		.public_addr = frame_addr(RIG_POOL4),
		.public_port = client->lease_port,
		.inner_addr = frame_addr(client->inner4),
		.inner_port = RIG_INNER_PORT};
}

static struct lease lease_v6(void)
{
	return (struct lease){.id = 777,
		.peer_idx = client->peer_idx,
		.protos = LEASE_PROTO_BOTH,
		.public_addr = frame_addr(client->inner6),
		.public_port = RIG_INNER_PORT,
		.inner_addr = frame_addr(client->inner6),
		.inner_port = RIG_INNER_PORT};
}

static struct frame frame_of(const struct lease *l, uint16_t src_port, uint8_t proto, uint8_t flags)
{
	struct flow in = {RIG_HOST4, RIG_POOL4, src_port, l->public_port, proto, 0, flags};
	struct frame f;

	if (!ip_is_v4(&l->public_addr)) {
		in.src = RIG_HOST6;
		in.dst = client->inner6;
	}
	rig_public_frame(rig, &f, &in, 10);
	return f;
}

static void gets_in(const struct lease *l, uint16_t src_port, uint8_t proto, uint8_t flags)
{
	struct frame f = frame_of(l, src_port, proto, flags), out;

	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
}

static void is_refused(const struct lease *l, uint16_t src_port, uint8_t proto, uint8_t flags,
	enum stats_drop reason)
{
	struct frame f = frame_of(l, src_port, proto, flags);

	drop_one(RIG_PUBLIC, &f, reason);
}

static void check_packets(struct lease l)
{
	struct door_counters before, c;

	doors_counters_get(rig->doors, l.id, &before);
	l.max_pps = 4;
	assert_int_equal(doors_open(rig->doors, &l), 0);
	for (uint16_t i = 0; i < 4; i++)
		gets_in(&l, i, IPPROTO_UDP, 0);
	is_refused(&l, 1, IPPROTO_UDP, 0, STATS_DROP_lease_rate);
	is_refused(&l, 1, IPPROTO_TCP, 0, STATS_DROP_lease_rate);
	rig_now_ns += 250 * NS_IN_MS;
	gets_in(&l, 1, IPPROTO_TCP, TCP_ACK);
	is_refused(&l, 1, IPPROTO_TCP, TCP_ACK, STATS_DROP_lease_rate);
	doors_counters_get(rig->doors, l.id, &c);
	assert_int_equal(c.limited_pkts - before.limited_pkts, 3);
	assert_int_equal(c.in_pkts - before.in_pkts, 5);
	assert_int_equal(c.refused_pkts, before.refused_pkts);
	/* Without the limit there is none. */
	l.max_pps = 0;
	assert_int_equal(doors_open(rig->doors, &l), 0);
	for (uint16_t i = 0; i < 20; i++)
		gets_in(&l, 1, IPPROTO_UDP, 0);
	rig_check_balance(rig);
}

static void check_flows(struct lease l)
{
	l.max_new_flows = 2;
	assert_int_equal(doors_open(rig->doors, &l), 0);
	gets_in(&l, 1, IPPROTO_UDP, 0);
	gets_in(&l, 2, IPPROTO_TCP, 0);
	is_refused(&l, 3, IPPROTO_UDP, 0, STATS_DROP_lease_flows);
	is_refused(&l, 4, IPPROTO_TCP, 0, STATS_DROP_lease_flows);
	/* TCP and UDP of one port are two flows. */
	is_refused(&l, 2, IPPROTO_UDP, 0, STATS_DROP_lease_flows);
	for (unsigned i = 0; i < 20; i++) {
		gets_in(&l, 1, IPPROTO_UDP, 0);
		gets_in(&l, 2, IPPROTO_TCP, i % 2 ? TCP_ACK : 0);
	}
	/* No SYN: it belongs to a connection, or its target says that it does not. */
	gets_in(&l, 5, IPPROTO_TCP, TCP_ACK);
	rig_now_ns += 500 * NS_IN_MS;
	gets_in(&l, 3, IPPROTO_UDP, 0);
	is_refused(&l, 4, IPPROTO_TCP, 0, STATS_DROP_lease_flows);
	rig_check_balance(rig);
}

static void test_packets(void **state)
{
	check_packets(lease_v4());
}

static void test_flows(void **state)
{
	check_flows(lease_v4());
}

static void test_packets_of_a_pinhole(void **state)
{
	check_packets(lease_v6());
}

static void test_flows_of_a_pinhole(void **state)
{
	check_flows(lease_v6());
}

static void expect_seen(const struct lease *l, uint64_t sources, uint64_t new_flows)
{
	struct door_seen seen = {0};

	assert_int_equal(doors_seen_get(rig->doors, l->id, rig_now_ns, &seen), new_flows > 0);
	assert_int_equal(seen.sources, sources);
	assert_int_equal(seen.new_flows, new_flows);
	assert_int_equal(rig_counter(rig, STATS_lease_flows), new_flows);
}

static void check_knocks(struct lease l)
{
	struct door_seen seen;
	struct lease limited;

	assert_int_equal(doors_open(rig->doors, &l), 0);
	expect_seen(&l, 0, 0);
	/* The first of UDP, and then one each quarter of a second. */
	gets_in(&l, 1, IPPROTO_UDP, 0);
	expect_seen(&l, 1, 1);
	gets_in(&l, 2, IPPROTO_UDP, 0);
	expect_seen(&l, 1, 1);
	rig_now_ns += 250 * NS_IN_MS;
	gets_in(&l, 2, IPPROTO_UDP, 0);
	expect_seen(&l, 1, 2);
	/* Of TCP each that begins, once, and no other. */
	for (unsigned i = 0; i < 3; i++) {
		gets_in(&l, 3, IPPROTO_TCP, 0);
		gets_in(&l, 4, IPPROTO_TCP, TCP_ACK);
	}
	expect_seen(&l, 1, 3);
	gets_in(&l, 4, IPPROTO_TCP, 0);
	expect_seen(&l, 1, 4);
	rig_now_ns += 250 * NS_IN_MS;
	gets_in(&l, 5, IPPROTO_TCP, TCP_ACK);
	expect_seen(&l, 1, 4);
	/* Where new flows are limited every one is seen. */
	limited = l;
	limited.max_new_flows = 2;
	assert_int_equal(doors_open(rig->doors, &limited), 0);
	gets_in(&l, 6, IPPROTO_UDP, 0);
	gets_in(&l, 7, IPPROTO_UDP, 0);
	is_refused(&l, 8, IPPROTO_UDP, 0, STATS_DROP_lease_flows);
	expect_seen(&l, 1, 6);
	/* What was seen goes with the lease. */
	assert_int_equal(doors_close(rig->doors, l.id), 0);
	assert_false(doors_seen_get(rig->doors, l.id, rig_now_ns, &seen));
	assert_int_equal(rig_counter(rig, STATS_lease_unseen), 0);
	rig_check_balance(rig);
}

static void test_knocks(void **state)
{
	check_knocks(lease_v4());
}

static void test_knocks_at_a_pinhole(void **state)
{
	check_knocks(lease_v6());
}

/* What the peer sends is none of it. */
static void test_the_way_out_is_free(void **state)
{
	const struct flow out = {client->inner4, RIG_HOST4, RIG_INNER_PORT, 5555, IPPROTO_UDP, 0};
	struct lease l = lease_v4();
	struct frame f, left;

	l.max_pps = l.max_new_flows = 1;
	assert_int_equal(doors_open(rig->doors, &l), 0);
	for (unsigned i = 0; i < 20; i++) {
		rig_client_flow(rig, client, &f, &out, 10);
		pass(RIG_TUNNEL, RIG_PUBLIC, &f, &left);
	}
}

#define rigged(f)     cmocka_unit_test_setup_teardown(f, setup, pass_teardown)
#define rigged_two(f) cmocka_unit_test_setup_teardown(f, setup_two_workers, pass_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rigged(test_packets),
		rigged_two(test_packets),
		rigged(test_flows),
		rigged_two(test_flows),
		rigged(test_packets_of_a_pinhole),
		rigged_two(test_packets_of_a_pinhole),
		rigged(test_flows_of_a_pinhole),
		rigged_two(test_flows_of_a_pinhole),
		rigged(test_the_way_out_is_free),
		rigged(test_knocks),
		rigged_two(test_knocks),
		rigged(test_knocks_at_a_pinhole),
		rigged_two(test_knocks_at_a_pinhole),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
