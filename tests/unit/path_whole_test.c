/* path_whole_test.c - a lease of a whole address through the path: every port and ping, unchanged,
 * in and out, behind sessions and ordinary leases.
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

#define WHOLE4	  "203.0.113.15" /* of the pool in this rig; no block of it is ever taken */
#define LEASE_ID  7777
#define HOST_PORT 5555

static void whole_open(void)
{
	const struct lease l = {.id = LEASE_ID,
		.state = LEASE_ACTIVE,
		.peer_idx = client->peer_idx,
		.protos = LEASE_PROTO_BOTH,
		.public_addr = frame_addr(WHOLE4),
		.inner_addr = frame_addr(client->inner4),
		.n_ports = 1};

	assert_int_equal(doors_open(rig->doors, &l), 0);
}

static int setup(void **state)
{
	return pass_setup(&(struct rig_params){0}, 0);
}

static int setup_two_workers(void **state)
{
	return pass_setup(&(struct rig_params){.n_workers = 2}, 1);
}

static void out_as(const struct flow *f, const struct flow *seen)
{
	uint8_t bytes[FRAME_BYTES_MAX];
	struct frame in, out;

	rig_client_frame(rig, client, &in, bytes, packet_build(bytes, f, NULL, 64));
	pass(RIG_TUNNEL, RIG_PUBLIC, &in, &out);
	assert_true(packet_is_sound(out.bytes + FRAME_ETHER, out.len - FRAME_ETHER));
	assert_true(packet_is(out.bytes + FRAME_ETHER, seen));
}

static void in_as(const struct flow *f, const struct flow *seen)
{
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame in, out;

	rig_public_frame(rig, &in, f, 64);
	pass(RIG_PUBLIC, RIG_TUNNEL, &in, &out);
	assert_true(rig_client_open(rig, client, &out, plain) > 0);
	assert_true(packet_is_sound(plain, packet_len(plain)) && packet_is(plain, seen));
}

static void why_is(bool is_out, const struct flow *f, const struct flow *seen)
{
	const struct why_packet q = {.is_out = is_out,
		.peer_idx = client->peer_idx,
		.port_idx = RIG_PUBLIC,
		.proto = f->proto,
		.src = frame_addr(f->src),
		.dst = frame_addr(f->dst),
		.src_port = f->src_port,
		.dst_port = f->proto == IPPROTO_ICMP ? f->src_port : f->dst_port,
		.tcp_flags = 2,
		.ttl = 64};
	struct ip_addr src = frame_addr(seen->src), dst = frame_addr(seen->dst);
	struct why_answer a;

	assert_int_equal(path_why(rig->path, &q, &a), 0);
	assert_int_not_equal(a.end, WHY_DROPPED);
	assert_true(ip_equal(&a.src.addr, &src) && ip_equal(&a.dst.addr, &dst));
	assert_int_equal(a.src.port, seen->src_port);
}

static void test_every_port_is_the_same(void **state)
{
	static const uint16_t ports[] = {1, 22, 1024, 20000, RIG_LEASE_PORT, 65535};
	static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP};

	whole_open();
	for (unsigned i = 0; i < 2 * RTE_DIM(ports); i++) {
		uint16_t port = ports[i / 2];
		uint8_t proto = protos[i % 2];
		const struct flow in = {RIG_HOST4, WHOLE4, HOST_PORT, port, proto, 64};
		const struct flow in_seen = {RIG_HOST4, client->inner4, HOST_PORT, port, proto};
		const struct flow out = {client->inner4, RIG_HOST4, port, HOST_PORT, proto, 64};
		const struct flow out_seen = {WHOLE4, RIG_HOST4, port, HOST_PORT, proto};

		in_as(&in, &in_seen);
		why_is(false, &in, &in_seen);
		out_as(&out, &out_seen);
		why_is(true, &out, &out_seen);
	}
}

static void test_ping_goes_through(void **state)
{
	const struct flow in = {RIG_HOST4, WHOLE4, 77, 0, IPPROTO_ICMP, 64};
	const struct flow in_seen = {RIG_HOST4, client->inner4, 77, 0, IPPROTO_ICMP};
	const struct flow out = {client->inner4, RIG_HOST4, 78, 0, IPPROTO_ICMP, 64};
	const struct flow out_seen = {WHOLE4, RIG_HOST4, 78, 0, IPPROTO_ICMP};

	whole_open();
	in_as(&in, &in_seen);
	out_as(&out, &out_seen);
}

/* A datagram in two pieces, whose first alone has the ports. */
static void test_fragments_come_in(void **state)
{
	const struct flow in = {RIG_HOST4, WHOLE4, HOST_PORT, 443, IPPROTO_UDP, 64};
	uint8_t whole[4096], plain[FRAME_BYTES_MAX];
	size_t len = packet_build(whole, &in, NULL, 1600), first = 800;
	struct frame f, out;

	whole_open();
	for (unsigned k = 0; k < 2; k++) {
		uint8_t *ip = f.bytes + FRAME_ETHER;
		size_t at = 20 + k * first, n = k == 0 ? first : len - at;

		memcpy(ip, whole, 20);
		memcpy(ip + 20, whole + at, n);
		store_be16(ip + 2, (uint16_t)(20 + n));
		store_be16(ip + 6, k == 0 ? 0x2000 : (uint16_t)(first / 8));
		packet_mend(ip);
		rig_public_wrap(rig, &f, 20 + n);
		pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
		assert_true(rig_client_open(rig, client, &out, plain) > 0);
		assert_memory_equal(plain + 16, frame_addr(client->inner4).bytes + 12, 4);
	}
}

/* What an ordinary lease leads stays its own; what was under way goes on as it was. */
static void test_it_comes_last(void **state)
{
	const struct flow before = {client->inner4, RIG_HOST4, 5000, HOST_PORT, IPPROTO_UDP, 64};
	const struct flow leased = {
		client->inner4, RIG_HOST4, RIG_INNER_PORT, HOST_PORT, IPPROTO_UDP, 64};
	const struct flow leased_seen = {
		RIG_POOL4, RIG_HOST4, RIG_LEASE_PORT, HOST_PORT, IPPROTO_UDP};
	const struct flow after = {client->inner4, RIG_HOST4, 5001, HOST_PORT, IPPROTO_UDP, 64};
	const struct flow after_seen = {WHOLE4, RIG_HOST4, 5001, HOST_PORT, IPPROTO_UDP};
	uint8_t bytes[FRAME_BYTES_MAX];
	struct frame in, first, second;

	rig_client_frame(rig, client, &in, bytes, packet_build(bytes, &before, NULL, 64));
	pass(RIG_TUNNEL, RIG_PUBLIC, &in, &first);
	whole_open();
	rig_client_frame(rig, client, &in, bytes, packet_build(bytes, &before, NULL, 64));
	pass(RIG_TUNNEL, RIG_PUBLIC, &in, &second);
	assert_memory_equal(first.bytes + FRAME_ETHER + 12, second.bytes + FRAME_ETHER + 12, 12);
	out_as(&leased, &leased_seen);
	out_as(&after, &after_seen);
}

static void test_it_is_shut_when_closed(void **state)
{
	const struct flow in = {RIG_HOST4, WHOLE4, HOST_PORT, 443, IPPROTO_TCP, 64};
	const struct flow in_seen = {RIG_HOST4, client->inner4, HOST_PORT, 443, IPPROTO_TCP};
	const struct flow spoofed = {WHOLE4, RIG_POOL4, HOST_PORT, RIG_LEASE_PORT, IPPROTO_UDP, 64};
	struct frame f;

	rig_public_frame(rig, &f, &in, 64);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_no_lease);
	whole_open();
	in_as(&in, &in_seen);
	rig_public_frame(rig, &f, &spoofed, 64);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_own_source);
	assert_int_equal(doors_close(rig->doors, LEASE_ID), 0);
	rig_public_frame(rig, &f, &in, 64);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_no_lease);
	assert_null(doors_lookup_whole(rig->doors, ip_v4_bytes(&(struct ip_addr){0})));
}

int main(void)
{
#define ON(test, setup_fn) cmocka_unit_test_setup_teardown(test, setup_fn, pass_teardown)
	const struct CMUnitTest tests[] = {
		ON(test_every_port_is_the_same, setup),
		ON(test_every_port_is_the_same, setup_two_workers),
		ON(test_ping_goes_through, setup_two_workers),
		ON(test_fragments_come_in, setup),
		ON(test_fragments_come_in, setup_two_workers),
		ON(test_it_comes_last, setup_two_workers),
		ON(test_it_is_shut_when_closed, setup_two_workers),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
