/* path_range_test.c - a lease of several ports through the whole path: each port leads to its own
 * inside and back, whole, in pieces, by errors and by turning round; and why says so.
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

#define N_PORTS	  8
#define PUBLIC	  40048 /* the first ports: outside a multiple, inside not */
#define INNER	  7003
#define LEASE_ID  7777
#define HOST_PORT 5555
#define ROUTER4	  "198.51.100.254"
#define UNREACH	  3

static void range_open(void)
{
	const struct lease l = {.id = LEASE_ID,
		.state = LEASE_ACTIVE,
		.peer_idx = client->peer_idx,
		.protos = LEASE_PROTO_BOTH,
		.public_addr = frame_addr(RIG_POOL4),
		.public_port = PUBLIC,
		.inner_addr = frame_addr(client->inner4),
		.inner_port = INNER,
		.n_ports = N_PORTS};

	assert_int_equal(doors_open(rig->doors, &l), 0);
}

static int setup(void **state)
{
	pass_setup(&(struct rig_params){0}, 0);
	range_open();
	return 0;
}

static int setup_two_workers(void **state)
{
	pass_setup(&(struct rig_params){.n_workers = 2}, 1);
	range_open();
	return 0;
}

static struct flow from_host(uint8_t proto, uint16_t port)
{
	return (struct flow){RIG_HOST4, RIG_POOL4, HOST_PORT, port, proto, 64};
}

static struct flow to_host(uint8_t proto, uint16_t port)
{
	return (struct flow){client->inner4, RIG_HOST4, port, HOST_PORT, proto, 64};
}

static void client_sends(const uint8_t *ip, size_t len, struct frame *out)
{
	struct frame f;

	rig_client_frame(rig, client, &f, ip, len);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, out);
}

static void host_sends(const uint8_t *ip, size_t len, uint8_t *plain)
{
	struct frame f, out;

	memcpy(f.bytes + FRAME_ETHER, ip, len);
	rig_public_wrap(rig, &f, len);
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
	assert_true(rig_client_open(rig, client, &out, plain) > 0);
}

static void why_is(bool is_out, const struct flow *f, const char *src, uint16_t src_port,
	const char *dst, uint16_t dst_port)
{
	const struct why_packet q = {.is_out = is_out,
		.peer_idx = client->peer_idx,
		.port_idx = RIG_PUBLIC,
		.proto = f->proto,
		.src = frame_addr(f->src),
		.dst = frame_addr(f->dst),
		.src_port = f->src_port,
		.dst_port = f->dst_port,
		.tcp_flags = 2,
		.ttl = 64};
	struct ip_addr want_src = frame_addr(src), want_dst = frame_addr(dst);
	struct why_answer a;

	assert_int_equal(path_why(rig->path, &q, &a), 0);
	assert_int_not_equal(a.end, WHY_DROPPED);
	assert_true(ip_equal(&a.src.addr, &want_src) && ip_equal(&a.dst.addr, &want_dst));
	assert_int_equal(a.src.port, src_port);
	assert_int_equal(a.dst.port, dst_port);
}

static void test_each_port_leads_to_its_own(void **state)
{
	static const uint8_t protos[] = {IPPROTO_UDP, IPPROTO_TCP};
	uint8_t bytes[FRAME_BYTES_MAX], plain[FRAME_BYTES_MAX];
	struct door_counters counters;
	struct frame out;

	for (unsigned i = 0; i < 2 * N_PORTS; i++) {
		uint16_t at = (uint16_t)(i / 2);
		uint8_t proto = protos[i % 2];
		const struct flow in = from_host(proto, (uint16_t)(PUBLIC + at));
		const struct flow back = to_host(proto, (uint16_t)(INNER + at));
		const struct flow seen_in = {
			RIG_HOST4, client->inner4, HOST_PORT, (uint16_t)(INNER + at), proto};
		const struct flow seen_out = {
			RIG_POOL4, RIG_HOST4, (uint16_t)(PUBLIC + at), HOST_PORT, proto};

		host_sends(bytes, packet_build(bytes, &in, NULL, 64), plain);
		assert_true(packet_is_sound(plain, packet_len(plain)));
		assert_true(packet_is(plain, &seen_in));
		client_sends(bytes, packet_build(bytes, &back, NULL, 64), &out);
		assert_true(packet_is_sound(out.bytes + FRAME_ETHER, out.len - FRAME_ETHER));
		assert_true(packet_is(out.bytes + FRAME_ETHER, &seen_out));
		why_is(false, &in, RIG_HOST4, HOST_PORT, client->inner4, (uint16_t)(INNER + at));
		why_is(true, &back, RIG_POOL4, (uint16_t)(PUBLIC + at), RIG_HOST4, HOST_PORT);
	}
	/* One set of counters. */
	doors_counters_get(rig->doors, LEASE_ID, &counters);
	assert_int_equal(counters.in_pkts, 2 * N_PORTS);
	assert_int_equal(counters.out_pkts, 2 * N_PORTS);
}

static void test_its_neighbours_are_shut(void **state)
{
	static const uint16_t ports[] = {PUBLIC - 1, PUBLIC + N_PORTS};
	struct frame f;

	for (unsigned i = 0; i < 2; i++) {
		const struct flow in = from_host(IPPROTO_UDP, ports[i]);

		rig_public_frame(rig, &f, &in, 64);
		drop_one(RIG_PUBLIC, &f, STATS_DROP_no_lease);
	}
	/* And all of it once it is closed. */
	assert_int_equal(doors_close(rig->doors, LEASE_ID), 0);
	for (uint16_t at = 0; at < N_PORTS; at++) {
		const struct flow in = from_host(IPPROTO_TCP, (uint16_t)(PUBLIC + at));

		rig_public_frame(rig, &f, &in, 64);
		drop_one(RIG_PUBLIC, &f, STATS_DROP_no_lease);
	}
}

/* An ICMP error from src about a packet; its length. */
static size_t error_build(uint8_t *out, const char *src, const char *dst, const uint8_t *about)
{
	const struct flow f = {src, dst, 0, 0, IPPROTO_ICMP, 64, UNREACH};
	uint8_t body[28];

	memcpy(body, about, sizeof(body));
	packet_build(out, &f, body, sizeof(body));
	out[21] = 1;
	packet_mend_l4(out);
	return 28 + sizeof(body);
}

static void test_errors_about_it(void **state)
{
	const struct flow out = to_host(IPPROTO_UDP, INNER + 5);
	const struct flow in = from_host(IPPROTO_UDP, PUBLIC + 6);
	uint8_t sent[FRAME_BYTES_MAX], error[256], plain[FRAME_BYTES_MAX];
	struct frame left;

	client_sends(sent, packet_build(sent, &out, NULL, 64), &left);
	host_sends(error, error_build(error, ROUTER4, RIG_POOL4, left.bytes + FRAME_ETHER), plain);
	assert_true(packet_is_sound(plain, packet_len(plain)));
	assert_int_equal(load_be16(plain + 28 + 20), INNER + 5);
	assert_memory_equal(plain + 28 + 12, sent + 12, 4);

	host_sends(sent, packet_build(sent, &in, NULL, 64), plain);
	client_sends(error, error_build(error, client->inner4, RIG_HOST4, plain), &left);
	assert_true(packet_is_sound(left.bytes + FRAME_ETHER, left.len - FRAME_ETHER));
	assert_int_equal(load_be16(left.bytes + FRAME_ETHER + 28 + 22), PUBLIC + 6);
}

static void test_in_pieces(void **state)
{
	const struct flow in = from_host(IPPROTO_UDP, PUBLIC + 3);
	uint8_t whole[4096], plain[FRAME_BYTES_MAX];
	size_t len = packet_build(whole, &in, NULL, 2000), first = 1024;
	unsigned n = 0;
	struct frame f, out;

	/* The second comes first. */
	for (unsigned i = 0; i < 2; i++) {
		size_t from = i == 0 ? 20 + first : 20, bytes = i == 0 ? len - from : first;

		memcpy(f.bytes + FRAME_ETHER, whole, 20);
		memcpy(f.bytes + FRAME_ETHER + 20, whole + from, bytes);
		store_be16(f.bytes + FRAME_ETHER + 2, (uint16_t)(20 + bytes));
		store_be16(f.bytes + FRAME_ETHER + 6, (uint16_t)(i == 0 ? first / 8 : 0x2000));
		packet_mend(f.bytes + FRAME_ETHER);
		rig_public_wrap(rig, &f, 20 + bytes);
		rig_rx(rig, RIG_PUBLIC, 0, &f);
		rig_settle(rig);
	}
	for (; rig_tx(rig, RIG_TUNNEL, &out); n++) {
		assert_true(rig_client_open(rig, client, &out, plain) > 0);
		assert_memory_equal(plain + 16, frame_addr(client->inner4).bytes + 12, 4);
		if ((load_be16(plain + 6) & 0x1fff) == 0)
			assert_int_equal(load_be16(plain + 22), INNER + 3);
	}
	assert_int_equal(n, 2);
	assert_int_equal(rig_dropped_all(rig), 0);
}

/* From one port of it to another: out by the first, and in again. */
static void test_it_turns_round(void **state)
{
	const struct flow out = {client->inner4, RIG_POOL4, INNER + 1, PUBLIC + 2, IPPROTO_UDP, 64};
	const struct flow seen = {
		RIG_POOL4, client->inner4, PUBLIC + 1, INNER + 2, IPPROTO_UDP, 63};
	uint8_t bytes[FRAME_BYTES_MAX], plain[FRAME_BYTES_MAX];
	struct frame f, back;

	rig_client_frame(rig, client, &f, bytes, packet_build(bytes, &out, NULL, 64));
	pass(RIG_TUNNEL, RIG_TUNNEL, &f, &back);
	assert_true(rig_client_open(rig, client, &back, plain) > 0);
	assert_true(packet_is(plain, &seen));
}

int main(void)
{
#define ON(test, setup_fn) cmocka_unit_test_setup_teardown(test, setup_fn, pass_teardown)
	const struct CMUnitTest tests[] = {
		ON(test_each_port_leads_to_its_own, setup),
		ON(test_each_port_leads_to_its_own, setup_two_workers),
		ON(test_its_neighbours_are_shut, setup_two_workers),
		ON(test_errors_about_it, setup),
		ON(test_errors_about_it, setup_two_workers),
		ON(test_in_pieces, setup_two_workers),
		ON(test_it_turns_round, setup_two_workers),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
