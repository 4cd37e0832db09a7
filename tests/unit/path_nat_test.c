/* path_nat_test.c - ordinary traffic of peers through the whole path: out by a session and back,
 * what may come in, from peer to peer, and without translation.
 */
#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "path_pass.h"

#define INNER_PORT 5000 /* of no lease */
#define HOST_PORT  80
#define TCP_ACK	   0x10
#define TCP_SYNACK 0x12

static int setup(void **state)
{
	return pass_setup(&(struct rig_params){0}, 0);
}

static int setup_two_workers(void **state)
{
	return pass_setup(&(struct rig_params){.n_workers = 2}, 1);
}

static int setup_three_workers(void **state)
{
	return pass_setup(
		&(struct rig_params){.n_workers = 3, .n_rx_queues = 3, .n_tx_queues = 2}, 2);
}

static int setup_peer_to_peer(void **state)
{
	return pass_setup(&(struct rig_params){.n_workers = 2, .peer_to_peer = true}, 1);
}

/* The client sends from its port to the host's; the public port (ICMP: identifier) it left by. */
static uint16_t send_out(struct rig_client *c, uint8_t proto, uint16_t port, uint16_t to_port)
{
	const struct flow inside = {c->inner4, RIG_HOST4, port, to_port, proto, 64};
	struct flow outside = {RIG_POOL4, RIG_HOST4, 0, to_port, proto, 63};
	struct frame f, out;
	const uint8_t *ip = out.bytes + FRAME_ETHER;

	rig_client_flow(rig, c, &f, &inside, 100);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &out);
	assert_true(packet_is_sound(ip, out.len - FRAME_ETHER));
	outside.src_port = load_be16(ip + (proto == IPPROTO_ICMP ? 24 : 20));
	assert_true(packet_is(ip, &outside));
	return outside.src_port;
}

/* The host answers to that public port; it comes to the client's port. */
static void answer(struct rig_client *c, uint8_t proto, uint16_t public_port, uint16_t port,
	uint16_t from_port)
{
	bool is_icmp = proto == IPPROTO_ICMP;
	struct flow outside = {RIG_HOST4, RIG_POOL4, from_port, public_port, proto, 64, TCP_SYNACK};
	struct flow inside = {RIG_HOST4, c->inner4, from_port, port, proto, 63};
	uint8_t packet[FRAME_BYTES_MAX], plain[FRAME_BYTES_MAX];
	struct frame f, out;

	if (is_icmp) {
		outside.src_port = public_port;
		inside.src_port = port;
		outside.type = 8;
	}
	rig_public_frame(rig, &f, &outside, 100);
	if (is_icmp)
		frame_echo_reply(&f);
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
	assert_true(rig_client_open(rig, c, &out, plain) > 0);
	assert_true(packet_is_sound(plain, sizeof(packet)));
	assert_true(packet_is(plain, &inside));
}

static void test_out_and_back(void **state)
{
	static const uint8_t protos[] = {IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP};

	for (size_t i = 0; i < RTE_DIM(protos); i++) {
		uint16_t to = protos[i] == IPPROTO_ICMP ? 0 : HOST_PORT;
		uint16_t port = send_out(client, protos[i], INNER_PORT, to);

		assert_in_range(port, rig->conf.nat_port_first, rig->conf.nat_port_last);
		answer(client, protos[i], port, INNER_PORT, to);
		/* The mapping does not depend on where it leads (RFC 4787, REQ-1). */
		assert_int_equal(send_out(client, protos[i], INNER_PORT, to), port);
		if (to)
			assert_int_equal(send_out(client, protos[i], INNER_PORT, to + 1), port);
	}
	assert_int_equal(flows_counts(path_flows(rig->path, client->home))->sessions, 5);
}

static void test_two_peers_one_port(void **state)
{
	struct rig_client *other = pass_client_add(1, 0);
	uint16_t a = send_out(client, IPPROTO_UDP, INNER_PORT, HOST_PORT);
	uint16_t b = send_out(other, IPPROTO_UDP, INNER_PORT, HOST_PORT);

	assert_int_not_equal(a, b);
	answer(client, IPPROTO_UDP, a, INNER_PORT, HOST_PORT);
	answer(other, IPPROTO_UDP, b, INNER_PORT, HOST_PORT);
}

static void knock(uint16_t public_port, uint16_t from_port, struct frame *f)
{
	const struct flow in = {RIG_HOST4, RIG_POOL4, from_port, public_port, IPPROTO_UDP};

	rig_public_frame(rig, f, &in, 10);
}

static void test_filters(void **state)
{
	const struct flow stranger = {"198.51.100.10", RIG_POOL4, HOST_PORT, 0, IPPROTO_UDP};
	struct flow in = stranger;
	uint16_t port = send_out(client, IPPROTO_UDP, INNER_PORT, HOST_PORT);
	struct frame f;

	knock(port, HOST_PORT + 1, &f);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_no_session);
	/* Nobody's port: no block of the client ends beyond the range. */
	knock((uint16_t)(rig->conf.nat_port_last + 1), HOST_PORT, &f);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_no_lease);

	rig_client_filter(rig, client, FLOW_MODERATE);
	port = send_out(client, IPPROTO_UDP, INNER_PORT + 1, HOST_PORT);
	answer(client, IPPROTO_UDP, port, INNER_PORT + 1, HOST_PORT + 1);
	in.dst_port = port;
	rig_public_frame(rig, &f, &in, 10);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_no_session);

	rig_client_filter(rig, client, FLOW_OPEN);
	port = send_out(client, IPPROTO_UDP, INNER_PORT + 2, HOST_PORT);
	in.dst_port = port;
	rig_public_frame(rig, &f, &in, 10);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 1);
}

static void test_lease_leaves_sessions_alone(void **state)
{
	const struct flow inside = {client->inner4, RIG_HOST4, RIG_INNER_PORT, 90, IPPROTO_UDP};
	struct frame f, out;
	uint16_t port;

	rig_lease_close(rig, client);
	port = send_out(client, IPPROTO_UDP, RIG_INNER_PORT, HOST_PORT);
	rig_lease_open(rig, client);
	assert_int_equal(send_out(client, IPPROTO_UDP, RIG_INNER_PORT, HOST_PORT), port);
	/* What begins now goes by the lease. */
	rig_client_flow(rig, client, &f, &inside, 10);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &out);
	assert_int_equal(load_be16(out.bytes + FRAME_ETHER + 20), client->lease_port);
}

static void test_tcp_begins_with_syn(void **state)
{
	const struct flow stray = {
		client->inner4, RIG_HOST4, INNER_PORT, HOST_PORT, IPPROTO_TCP, 64, TCP_ACK};
	struct frame f;

	rig_client_flow(rig, client, &f, &stray, 10);
	drop_one(RIG_TUNNEL, &f, STATS_DROP_nat_no_beginning);
}

static void test_blocked_port(void **state)
{
	const struct flow out = {client->inner4, RIG_HOST4, INNER_PORT, RIG_BLOCKED, IPPROTO_TCP};
	const struct flow told = {RIG_INNER_GW4, client->inner4, 0, 0, IPPROTO_ICMP, 0, 3};
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f;

	rig_client_flow(rig, client, &f, &out, 10);
	refuse_one(RIG_TUNNEL, RIG_TUNNEL, &f, STATS_DROP_nat_blocked, &f);
	assert_true(rig_client_open(rig, client, &f, plain) > 0);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &told));
	assert_int_equal(plain[21], 13);
}

static void test_quota(void **state)
{
	uint16_t n = 64; /* rig_client_add */
	const struct flow more = {client->inner4, RIG_HOST4, INNER_PORT, 9999, IPPROTO_UDP};
	struct rig_client *other = pass_client_add(1, 0);
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f;

	for (uint16_t i = 0; i < n; i++)
		send_out(client, IPPROTO_UDP, INNER_PORT, 1000 + i);
	rig_client_flow(rig, client, &f, &more, 10);
	refuse_one(RIG_TUNNEL, RIG_TUNNEL, &f, STATS_DROP_nat_too_many, &f);
	assert_true(rig_client_open(rig, client, &f, plain) > 0);
	assert_int_equal(plain[21], 13);
	/* Neither what it has nor anybody else pays for it. */
	send_out(client, IPPROTO_UDP, INNER_PORT, 1000);
	send_out(other, IPPROTO_UDP, INNER_PORT, 9999);
	/* It is told so often, not each time. */
	for (unsigned i = 0; i < 200; i++) {
		rig_client_flow(rig, client, &f, &more, 10);
		rig_rx(rig, RIG_TUNNEL, 0, &f);
		rig_settle(rig);
	}
	assert_in_range(rig_tx_count(rig, RIG_TUNNEL), 1, 60);
	rig_tx_discard(rig);
}

static void test_exempt(void **state)
{
	const struct flow out = {client->inner4, RIG_EXEMPT4, INNER_PORT, 53, IPPROTO_UDP, 64};
	const struct flow left = {client->inner4, RIG_EXEMPT4, INNER_PORT, 53, IPPROTO_UDP, 63};
	const struct flow back = {RIG_EXEMPT4, client->inner4, 53, INNER_PORT, IPPROTO_UDP, 64};
	const struct flow in = {RIG_EXEMPT4, client->inner4, 53, INNER_PORT, IPPROTO_UDP, 63};
	const struct flow other = {RIG_EXEMPT4, client->inner4, 54, INNER_PORT, IPPROTO_UDP, 64};
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f, sent;

	rig_client_flow(rig, client, &f, &out, 30);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &sent);
	assert_true(packet_is(sent.bytes + FRAME_ETHER, &left));
	rig_public_frame(rig, &f, &back, 30);
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &sent);
	assert_true(rig_client_open(rig, client, &sent, plain) > 0);
	assert_true(packet_is(plain, &in));
	rig_public_frame(rig, &f, &other, 30);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_no_session);
}

/* --- from peer to peer --- */

static void test_hairpin_to_a_lease(void **state)
{
	struct rig_client *other = pass_client_add(1, 0);
	const struct flow to_lease = {
		client->inner4, RIG_POOL4, INNER_PORT, other->lease_port, IPPROTO_UDP, 64};
	struct flow seen = {RIG_POOL4, other->inner4, 0, RIG_INNER_PORT, IPPROTO_UDP, 63};
	struct flow reply = {other->inner4, RIG_POOL4, RIG_INNER_PORT, 0, IPPROTO_UDP, 64};
	const struct flow back = {
		RIG_POOL4, client->inner4, other->lease_port, INNER_PORT, IPPROTO_UDP, 63};
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f, out;

	rig_client_flow(rig, client, &f, &to_lease, 30);
	pass(RIG_TUNNEL, RIG_TUNNEL, &f, &out);
	assert_true(rig_client_open(rig, other, &out, plain) > 0);
	seen.src_port = load_be16(plain + 20);
	assert_in_range(seen.src_port, rig->conf.nat_port_first, rig->conf.nat_port_last);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &seen));

	reply.dst_port = seen.src_port;
	rig_client_flow(rig, other, &f, &reply, 30);
	pass(RIG_TUNNEL, RIG_TUNNEL, &f, &out);
	assert_true(rig_client_open(rig, client, &out, plain) > 0);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &back));
	assert_int_equal(rig_counter(rig, STATS_hairpinned), 2);
}

static void test_hairpin_to_oneself(void **state)
{
	const struct flow out = {
		client->inner4, RIG_POOL4, INNER_PORT, client->lease_port, IPPROTO_TCP, 64};
	struct frame f, sent;
	uint8_t plain[FRAME_BYTES_MAX];

	rig_client_flow(rig, client, &f, &out, 30);
	pass(RIG_TUNNEL, RIG_TUNNEL, &f, &sent);
	assert_true(rig_client_open(rig, client, &sent, plain) > 0);
	assert_int_equal(load_be16(plain + 22), RIG_INNER_PORT);
	assert_int_not_equal(load_be16(plain + 20), INNER_PORT);
}

static void test_hairpin_to_nobody(void **state)
{
	const struct flow out = {client->inner4, RIG_POOL4, INNER_PORT, 50000, IPPROTO_UDP, 64};
	struct frame f;

	rig_client_flow(rig, client, &f, &out, 30);
	drop_one(RIG_TUNNEL, &f, STATS_DROP_no_lease);
}

static void test_peer_to_peer(void **state)
{
	struct rig_client *other = pass_client_add(1, 0);
	const struct flow out = {client->inner4, other->inner4, 1, 2, IPPROTO_UDP, 64};
	const struct flow seen = {client->inner4, other->inner4, 1, 2, IPPROTO_UDP, 63};
	const struct flow out6 = {client->inner6, other->inner6, 1, 2, IPPROTO_UDP, 64};
	const struct flow seen6 = {client->inner6, other->inner6, 1, 2, IPPROTO_UDP, 63};
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f, sent;

	rig_client_flow(rig, client, &f, &out, 30);
	pass(RIG_TUNNEL, RIG_TUNNEL, &f, &sent);
	assert_true(rig_client_open(rig, other, &sent, plain) > 0);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &seen));
	rig_client_flow(rig, client, &f, &out6, 30);
	pass(RIG_TUNNEL, RIG_TUNNEL, &f, &sent);
	assert_true(rig_client_open(rig, other, &sent, plain) > 0);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &seen6));
}

/* --- IPv6 --- */

static void test_v6(void **state)
{
	static const uint8_t protos[] = {IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMPV6, 132};

	for (size_t i = 0; i < RTE_DIM(protos); i++) {
		const struct flow out = {client->inner6, RIG_HOST6, 7, 80, protos[i], 64};
		const struct flow left = {client->inner6, RIG_HOST6, 7, 80, protos[i], 63};
		struct flow back = {RIG_HOST6, client->inner6, 80, 7, protos[i], 64, TCP_SYNACK};
		struct flow stray = {RIG_HOST6, client->inner6, 81, 7, protos[i], 64};
		uint8_t plain[FRAME_BYTES_MAX];
		struct frame f, sent;

		if (protos[i] == IPPROTO_ICMPV6) {
			back.src_port = 7;
			back.type = 129;
		} else if (protos[i] == 132) {
			stray.src = "2001:db8:9::8";
		}
		rig_client_flow(rig, client, &f, &out, 30);
		pass(RIG_TUNNEL, RIG_PUBLIC, &f, &sent);
		assert_true(packet_is_sound(sent.bytes + FRAME_ETHER, sent.len - FRAME_ETHER));
		assert_true(packet_is(sent.bytes + FRAME_ETHER, &left));
		rig_public_frame(rig, &f, &back, 30);
		pass(RIG_PUBLIC, RIG_TUNNEL, &f, &sent);
		assert_true(rig_client_open(rig, client, &sent, plain) > 0);
		assert_true(packet_is_sound(plain, sizeof(plain)));
		back.hops = 63;
		assert_true(packet_is(plain, &back));
		rig_public_frame(rig, &f, &stray, 30);
		drop_one(RIG_PUBLIC, &f, STATS_DROP_no_session);
	}
}

static void test_v6_spoofed(void **state)
{
	struct rig_client *other = pass_client_add(1, 0);
	const struct flow from_peer = {other->inner6, client->inner6, 1, 2, IPPROTO_UDP};
	const struct flow from_gateway = {RIG_INNER_GW6, client->inner6, 1, 2, IPPROTO_UDP};
	const struct flow to_nobody = {RIG_HOST6, "fd00::99", 1, 2, IPPROTO_UDP};
	struct frame f;

	rig_public_frame(rig, &f, &from_peer, 30);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_martian_source);
	rig_public_frame(rig, &f, &from_gateway, 30);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_martian_source);
	rig_public_frame(rig, &f, &to_nobody, 30);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_not_for_us);
}

/* --- ends --- */

static void test_peer_forgotten(void **state)
{
	uint16_t port = send_out(client, IPPROTO_UDP, INNER_PORT, HOST_PORT);
	struct peer_order *o = rig_order(rig, PEER_ORDER_SET, client);
	struct frame f;

	o->forgets_flows = true;
	rig_order_push(rig, client->home, o);
	rig_settle(rig);
	knock(port, HOST_PORT, &f);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_no_lease);
}

static void test_session_expires(void **state)
{
	uint16_t port = send_out(client, IPPROTO_UDP, INNER_PORT, HOST_PORT);
	struct frame f;

	pass_time(290 * NS_IN_S);
	knock(port, HOST_PORT, &f);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_dropped_all(rig), 0);
	rig_tx_discard(rig);
	/* What comes in does not keep it (RFC 4787, REQ-6). */
	pass_time(20 * NS_IN_S);
	knock(port, HOST_PORT, &f);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_no_session);
}

int main(void)
{
#define ON(test, setup_fn) cmocka_unit_test_setup_teardown(test, setup_fn, pass_teardown)
	const struct CMUnitTest tests[] = {
		ON(test_out_and_back, setup),
		ON(test_out_and_back, setup_two_workers),
		ON(test_out_and_back, setup_three_workers),
		ON(test_two_peers_one_port, setup_two_workers),
		ON(test_filters, setup),
		ON(test_filters, setup_two_workers),
		ON(test_lease_leaves_sessions_alone, setup),
		ON(test_tcp_begins_with_syn, setup),
		ON(test_blocked_port, setup),
		ON(test_quota, setup_two_workers),
		ON(test_exempt, setup),
		ON(test_exempt, setup_two_workers),
		ON(test_hairpin_to_a_lease, setup),
		ON(test_hairpin_to_a_lease, setup_two_workers),
		ON(test_hairpin_to_a_lease, setup_three_workers),
		ON(test_hairpin_to_oneself, setup_two_workers),
		ON(test_hairpin_to_nobody, setup),
		ON(test_peer_to_peer, setup_peer_to_peer),
		ON(test_v6, setup),
		ON(test_v6, setup_two_workers),
		ON(test_v6, setup_three_workers),
		ON(test_v6_spoofed, setup),
		ON(test_peer_forgotten, setup_two_workers),
		ON(test_session_expires, setup),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
