/* path_icmp_test.c - errors, sizes and fragments through the whole path: what the gateway says when
 * a packet ends, what it passes on of what others say, and packets that come or leave in pieces.
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

#define INNER_PORT  5000 /* of no lease */
#define HOST_PORT   80
#define ROUTER4	    "198.51.100.254"
#define DF	    0x40
#define UNREACH	    3
#define EXCEEDED    11
#define V6_TOO_BIG  2
#define V6_EXCEEDED 3

static int setup(void **state)
{
	return pass_setup(&(struct rig_params){0}, 0);
}

static int setup_two_workers(void **state)
{
	return pass_setup(&(struct rig_params){.n_workers = 2}, 1);
}

static int setup_narrow(void **state)
{
	return pass_setup(&(struct rig_params){.n_workers = 2, .public_mtu_bytes = 1280}, 1);
}

/* --- helpers --- */

static void set_df(uint8_t *ip)
{
	ip[6] |= DF;
	packet_mend(ip);
}

/* An ICMP error from src about a packet; its length. */
static size_t error_build(uint8_t *out, const char *src, const char *dst, uint8_t type,
	uint8_t code, const uint8_t *about, size_t about_len)
{
	const struct flow f = {src, dst, 0, 0, IPPROTO_ICMP, 64, type};
	uint8_t body[128];

	memcpy(body, about, about_len);
	packet_build(out, &f, body, about_len);
	out[21] = code;
	packet_mend_l4(out);
	return 28 + about_len;
}

/* From the client, as it is; the frame that leaves by the public port. */
static void client_sends(struct rig_client *c, const uint8_t *ip, size_t len, struct frame *out)
{
	struct frame f;

	rig_client_frame(rig, c, &f, ip, len);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, out);
}

static void host_sends(struct rig_client *c, const uint8_t *ip, size_t len, uint8_t *plain)
{
	struct frame f, out;

	memcpy(f.bytes + FRAME_ETHER, ip, len);
	rig_public_wrap(rig, &f, len);
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
	assert_true(rig_client_open(rig, c, &out, plain) > 0);
}

static void host_sends_in_vain(const uint8_t *ip, size_t len, enum stats_drop reason)
{
	struct frame f;

	memcpy(f.bytes + FRAME_ETHER, ip, len);
	rig_public_wrap(rig, &f, len);
	drop_one(RIG_PUBLIC, &f, reason);
}

/* --- errors of others, passed on --- */

static void test_error_comes_in(void **state)
{
	const struct flow inside = {client->inner4, RIG_HOST4, INNER_PORT, HOST_PORT, IPPROTO_UDP};
	const struct flow seen = {ROUTER4, client->inner4, 0, 0, IPPROTO_ICMP, 63, EXCEEDED};
	uint8_t sent[FRAME_BYTES_MAX], error[256], plain[FRAME_BYTES_MAX];
	size_t sent_len = packet_build(sent, &inside, NULL, 64), len;
	struct frame left;

	client_sends(client, sent, sent_len, &left);
	len = error_build(
		error, ROUTER4, RIG_POOL4, EXCEEDED, 0, left.bytes + FRAME_ETHER, 20 + 8 + 8);
	host_sends(client, error, len, plain);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &seen));
	/* What is quoted is what the client sent, one hop later; the identification is ours. */
	sent[8]--;
	memcpy(sent + 4, plain + 28 + 4, 2);
	packet_mend(sent);
	assert_memory_equal(plain + 28, sent, 20 + 8 + 8);

	/* Of another port, of another remote, of nobody: nothing sent that. */
	left.bytes[FRAME_ETHER + 23] ^= 1;
	len = error_build(error, ROUTER4, RIG_POOL4, EXCEEDED, 0, left.bytes + FRAME_ETHER, 36);
	host_sends_in_vain(error, len, STATS_DROP_icmp_error_stray);
	left.bytes[FRAME_ETHER + 23] ^= 1;
	left.bytes[FRAME_ETHER + 20] = 0xff;
	len = error_build(error, ROUTER4, RIG_POOL4, EXCEEDED, 0, left.bytes + FRAME_ETHER, 36);
	host_sends_in_vain(error, len, STATS_DROP_no_lease);
	error[30] ^= 1;
	host_sends_in_vain(error, len, STATS_DROP_bad_icmp_checksum);
}

static void test_error_comes_in_by_lease(void **state)
{
	const struct flow inside = {
		client->inner4, RIG_HOST4, RIG_INNER_PORT, HOST_PORT, IPPROTO_TCP};
	uint8_t sent[FRAME_BYTES_MAX], error[256], plain[FRAME_BYTES_MAX];
	size_t sent_len = packet_build(sent, &inside, NULL, 64), len;
	struct frame left;

	client_sends(client, sent, sent_len, &left);
	len = error_build(error, ROUTER4, RIG_POOL4, UNREACH, 1, left.bytes + FRAME_ETHER, 28);
	host_sends(client, error, len, plain);
	assert_int_equal(load_be16(plain + 28 + 20), RIG_INNER_PORT);
	assert_memory_equal(plain + 28 + 12, sent + 12, 4);
}

static void test_error_goes_out(void **state)
{
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, RIG_LEASE_PORT, IPPROTO_UDP, 64};
	const struct flow seen = {RIG_POOL4, RIG_HOST4, 0, 0, IPPROTO_ICMP, 63, UNREACH};
	uint8_t sent[FRAME_BYTES_MAX], plain[FRAME_BYTES_MAX], error[256];
	size_t len = packet_build(sent, &in, NULL, 64);
	struct frame out;
	const uint8_t *ip = out.bytes + FRAME_ETHER;

	host_sends(client, sent, len, plain);
	len = error_build(error, client->inner4, RIG_HOST4, UNREACH, 3, plain, 28);
	client_sends(client, error, len, &out);
	assert_true(packet_is_sound(ip, out.len - FRAME_ETHER) && packet_is(ip, &seen));
	/* What is quoted is what the host sent, one hop later. */
	sent[8]--;
	packet_mend(sent);
	assert_memory_equal(ip + 28, sent, 28);
}

/* It neither ends nor refreshes what it is about (RFC 4787 REQ-12, RFC 5508 REQ-6). */
static void test_error_leaves_the_session(void **state)
{
	const struct flow inside = {client->inner4, RIG_HOST4, INNER_PORT, HOST_PORT, IPPROTO_UDP};
	uint8_t sent[FRAME_BYTES_MAX], error[256], plain[FRAME_BYTES_MAX];
	size_t sent_len = packet_build(sent, &inside, NULL, 64), len;
	struct frame left;

	client_sends(client, sent, sent_len, &left);
	len = error_build(error, ROUTER4, RIG_POOL4, UNREACH, 3, left.bytes + FRAME_ETHER, 28);
	host_sends(client, error, len, plain);
	pass_time(290 * NS_IN_S);
	host_sends(client, error, len, plain);
	pass_time(20 * NS_IN_S);
	host_sends_in_vain(error, len, STATS_DROP_icmp_error_stray);
}

/* Of every type and some codes, about a packet that the client sent: it can be answered still (RFC
 * 4787 REQ-12, RFC 5382 REQ-10). */
static void test_no_message_ends_a_session(void **state)
{
	static const uint8_t protos[] = {IPPROTO_UDP, IPPROTO_TCP};

	for (unsigned p = 0; p < 2; p++) {
		const struct flow inside = {
			client->inner4, RIG_HOST4, INNER_PORT, HOST_PORT, protos[p], 64, 0x02};
		struct flow answer = {RIG_HOST4, RIG_POOL4, HOST_PORT, 0, protos[p], 64, 0x12};
		uint8_t sent[FRAME_BYTES_MAX], message[256], plain[FRAME_BYTES_MAX];
		size_t sent_len = packet_build(sent, &inside, NULL, 64), len;
		struct frame left, f;

		client_sends(client, sent, sent_len, &left);
		answer.dst_port = load_be16(left.bytes + FRAME_ETHER + 20);
		for (unsigned type = 0; type < 256; type++) {
			for (uint8_t code = 0; code < 16; code++) {
				len = error_build(message, ROUTER4, RIG_POOL4, (uint8_t)type, code,
					left.bytes + FRAME_ETHER, 28);
				memcpy(f.bytes + FRAME_ETHER, message, len);
				rig_public_wrap(rig, &f, len);
				rig_rx(rig, RIG_PUBLIC, 0, &f);
				rig_settle(rig);
				rig_tx_discard(rig);
			}
		}
		sent_len = packet_build(sent, &answer, NULL, 64);
		host_sends(client, sent, sent_len, plain);
		assert_int_equal(load_be16(plain + 22), INNER_PORT);
	}
}

/* --- errors of our own --- */

static void test_last_hop(void **state)
{
	const struct flow out = {client->inner4, RIG_HOST4, INNER_PORT, 80, IPPROTO_UDP, 1};
	const struct flow told = {RIG_INNER_GW4, client->inner4, 0, 0, IPPROTO_ICMP, 64, EXCEEDED};
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, RIG_LEASE_PORT, IPPROTO_UDP, 1};
	const struct flow told_out = {RIG_PUBLIC4, RIG_HOST4, 0, 0, IPPROTO_ICMP, 64, EXCEEDED};
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f, error;

	rig_client_flow(rig, client, &f, &out, 40);
	refuse_one(RIG_TUNNEL, RIG_TUNNEL, &f, STATS_DROP_ttl_expired, &error);
	assert_true(rig_client_open(rig, client, &error, plain) > 0);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &told));
	assert_int_equal(load_be16(plain + 28 + 20), INNER_PORT);

	rig_public_frame(rig, &f, &in, 40);
	refuse_one(RIG_PUBLIC, RIG_PUBLIC, &f, STATS_DROP_ttl_expired, &error);
	assert_true(packet_is_sound(error.bytes + FRAME_ETHER, error.len - FRAME_ETHER));
	assert_true(packet_is(error.bytes + FRAME_ETHER, &told_out));
	/* The sender knows it by the port that it sent to. */
	assert_int_equal(load_be16(error.bytes + FRAME_ETHER + 28 + 22), RIG_LEASE_PORT);
}

static void test_last_hop_v6(void **state)
{
	const struct flow out = {client->inner6, RIG_HOST6, INNER_PORT, 80, IPPROTO_UDP, 1};
	const struct flow told = {
		RIG_INNER_GW6, client->inner6, 0, 0, IPPROTO_ICMPV6, 64, V6_EXCEEDED};
	uint8_t plain[FRAME_BYTES_MAX];
	struct frame f, error;

	rig_client_flow(rig, client, &f, &out, 40);
	refuse_one(RIG_TUNNEL, RIG_TUNNEL, &f, STATS_DROP_ttl_expired, &error);
	assert_true(rig_client_open(rig, client, &error, plain) > 0);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &told));
}

static void test_too_big_in(void **state)
{
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, RIG_LEASE_PORT, IPPROTO_UDP, 64};
	const struct flow told = {RIG_PUBLIC4, RIG_HOST4, 0, 0, IPPROTO_ICMP, 64, UNREACH};
	struct frame f, error;
	const uint8_t *ip = error.bytes + FRAME_ETHER;

	rig_public_frame(rig, &f, &in, RIG_INNER_MTU - 27);
	set_df(f.bytes + FRAME_ETHER);
	refuse_one(RIG_PUBLIC, RIG_PUBLIC, &f, STATS_DROP_too_big, &error);
	assert_true(packet_is_sound(ip, error.len - FRAME_ETHER) && packet_is(ip, &told));
	assert_int_equal(ip[21], 4);
	assert_int_equal(load_be16(ip + 26), RIG_INNER_MTU);
}

static void test_too_big_out(void **state)
{
	const struct flow out = {client->inner4, RIG_HOST4, INNER_PORT, 80, IPPROTO_UDP, 64};
	const struct flow told = {RIG_INNER_GW4, client->inner4, 0, 0, IPPROTO_ICMP, 64, UNREACH};
	const struct flow out6 = {client->inner6, RIG_HOST6, INNER_PORT, 80, IPPROTO_UDP, 64};
	const struct flow told6 = {
		RIG_INNER_GW6, client->inner6, 0, 0, IPPROTO_ICMPV6, 64, V6_TOO_BIG};
	uint8_t plain[FRAME_BYTES_MAX], packet[FRAME_BYTES_MAX];
	size_t len = packet_build(packet, &out, NULL, 1300);
	struct frame f, error;

	set_df(packet);
	rig_client_frame(rig, client, &f, packet, len);
	refuse_one(RIG_TUNNEL, RIG_TUNNEL, &f, STATS_DROP_too_big, &error);
	assert_true(rig_client_open(rig, client, &error, plain) > 0);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &told));
	assert_int_equal(plain[21], 4);
	assert_int_equal(load_be16(plain + 26), 1280);

	rig_client_flow(rig, client, &f, &out6, 1300);
	refuse_one(RIG_TUNNEL, RIG_TUNNEL, &f, STATS_DROP_too_big, &error);
	assert_true(rig_client_open(rig, client, &error, plain) > 0);
	assert_true(packet_is_sound(plain, sizeof(plain)) && packet_is(plain, &told6));
	assert_int_equal(load_be32(plain + 44), 1280);
}

/* --- in pieces --- */

/* The pieces of one datagram put together again: its payload; -1 when one is missing or wrong. */
struct pieces {
	uint8_t bytes[4096];
	size_t len, got;
	uint16_t id;
	unsigned n;
};

static void piece_add(struct pieces *p, const uint8_t *ip)
{
	size_t at = (load_be16(ip + 6) & 0x1fffu) * 8, len = packet_len(ip) - 20;

	assert_true(at + len <= sizeof(p->bytes));
	if (p->n++)
		assert_int_equal(p->id, load_be16(ip + 4));
	p->id = load_be16(ip + 4);
	memcpy(p->bytes + at, ip + 20, len);
	p->got += len;
	if (!(ip[6] & 0x20))
		p->len = at + len;
}

static void test_cut_in(void **state)
{
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, RIG_LEASE_PORT, IPPROTO_UDP, 64};
	uint8_t plain[FRAME_BYTES_MAX], sent[FRAME_BYTES_MAX];
	size_t len = packet_build(sent, &in, NULL, 1472);
	struct pieces p = {.len = 0};
	struct frame f, out;

	rig_public_frame(rig, &f, &in, 1472);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 2);
	while (rig_tx(rig, RIG_TUNNEL, &out)) {
		assert_true(rig_client_open(rig, client, &out, plain) > 0);
		assert_true(packet_len(plain) <= RIG_INNER_MTU);
		piece_add(&p, plain);
	}
	assert_int_equal(p.got, len - 20);
	assert_int_equal(p.len, len - 20);
	assert_memory_equal(p.bytes + 8, sent + 28, len - 28);
}

static void test_cut_out(void **state)
{
	const struct flow out = {client->inner4, RIG_HOST4, INNER_PORT, 80, IPPROTO_UDP, 64};
	uint8_t sent[FRAME_BYTES_MAX];
	size_t len = packet_build(sent, &out, NULL, 1380);
	struct pieces p = {.len = 0};
	struct frame f, left;

	rig_client_frame(rig, client, &f, sent, len);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_PUBLIC), 2);
	while (rig_tx(rig, RIG_PUBLIC, &left)) {
		assert_true(packet_len(left.bytes + FRAME_ETHER) <= 1280);
		piece_add(&p, left.bytes + FRAME_ETHER);
	}
	assert_int_equal(p.got, len - 20);
	assert_memory_equal(p.bytes + 8, sent + 28, len - 28);
}

/* Piece k of a datagram that is built at whole. */
static size_t piece_of(uint8_t *out, const uint8_t *whole, size_t whole_len, unsigned k)
{
	size_t at = 20 + k * 800u, len = RTE_MIN((size_t)800, whole_len - at);

	memcpy(out, whole, 20);
	memcpy(out + 20, whole + at, len);
	store_be16(out + 2, (uint16_t)(20 + len));
	store_be16(out + 6, (uint16_t)(k * 100 | (at + len < whole_len ? 0x2000 : 0)));
	packet_mend(out);
	return 20 + len;
}

static void check_fragments_in(const unsigned order[static 3], struct rig_client *c)
{
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, c->lease_port, IPPROTO_UDP, 64};
	uint8_t whole[4096], plain[FRAME_BYTES_MAX];
	size_t len = packet_build(whole, &in, NULL, 2000);
	struct pieces p = {.len = 0};
	struct frame f, out;

	for (unsigned i = 0; i < 3; i++) {
		size_t n = piece_of(f.bytes + FRAME_ETHER, whole, len, order[i]);

		rig_public_wrap(rig, &f, n);
		rig_rx(rig, RIG_PUBLIC, i % rig->params.n_rx_queues, &f);
		rig_settle(rig);
	}
	while (rig_tx(rig, RIG_TUNNEL, &out)) {
		assert_true(rig_client_open(rig, c, &out, plain) > 0);
		assert_memory_equal(plain + 16, frame_addr(c->inner4).bytes + 12, 4);
		piece_add(&p, plain);
	}
	assert_int_equal(p.n, 3);
	assert_int_equal(p.got, len - 20);
	assert_int_equal(load_be16(p.bytes + 2), RIG_INNER_PORT);
	assert_memory_equal(p.bytes + 8, whole + 28, len - 28);
	assert_int_equal(rig_counter(rig, STATS_holding), 0);
}

static const unsigned orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {2, 0, 1}};

static void test_fragments_in(void **state)
{
	for (size_t i = 0; i < RTE_DIM(orders); i++)
		check_fragments_in(orders[i], client);
	assert_int_equal(rig_dropped_all(rig), 0);
}

static void test_fragments_out(void **state)
{
	const struct flow out = {client->inner4, RIG_HOST4, INNER_PORT, 80, IPPROTO_UDP, 64};
	uint8_t whole[4096];
	size_t len = packet_build(whole, &out, NULL, 2000);

	for (size_t i = 0; i < RTE_DIM(orders); i++) {
		struct pieces p = {.len = 0};
		struct frame f, left;

		for (unsigned k = 0; k < 3; k++) {
			uint8_t piece[1500];
			size_t n = piece_of(piece, whole, len, orders[i][k]);

			rig_client_frame(rig, client, &f, piece, n);
			rig_rx(rig, RIG_TUNNEL, 0, &f);
			rig_settle(rig);
		}
		while (rig_tx(rig, RIG_PUBLIC, &left)) {
			const uint8_t *ip = left.bytes + FRAME_ETHER;

			assert_memory_equal(ip + 12, frame_addr(RIG_POOL4).bytes + 12, 4);
			piece_add(&p, ip);
		}
		assert_int_equal(p.n, 3);
		assert_int_equal(p.got, len - 20);
		/* Others behind this address have numbers of their own. */
		assert_int_not_equal(p.id, load_be16(whole + 4));
		assert_in_range(
			load_be16(p.bytes), rig->conf.nat_port_first, rig->conf.nat_port_last);
		assert_memory_equal(p.bytes + 8, whole + 28, len - 28);
	}
	assert_int_equal(rig_dropped_all(rig), 0);
}

/* From any number of forged sources to one door: its peer's share is full, the next one's is not.
 */
static void test_fragments_in_a_flood(void **state)
{
	struct rig_client *other = rig_client_add(rig, 1, rig->params.n_workers - 1);
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, RIG_LEASE_PORT, IPPROTO_UDP, 64};
	uint8_t whole[4096];
	size_t len = packet_build(whole, &in, NULL, 2000);
	struct frame f;

	rig_client_connect(rig, other);
	for (uint32_t source = 0; source < 3000; source++) {
		store_be32(whole + 12, 0x08000000 + source * 77);
		rig_public_wrap(rig, &f, piece_of(f.bytes + FRAME_ETHER, whole, len, 0));
		rig_rx(rig, RIG_PUBLIC, source % rig->params.n_rx_queues, &f);
		rig_settle(rig);
		rig_tx_discard(rig);
	}
	assert_true(rig_dropped(rig, STATS_DROP_fragment_quota) > 1000);
	for (size_t i = 0; i < RTE_DIM(orders); i++)
		check_fragments_in(orders[i], other);
}

static void test_fragments_that_end(void **state)
{
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, RIG_LEASE_PORT, IPPROTO_UDP, 64};
	uint8_t whole[4096], piece[1500];
	size_t len = packet_build(whole, &in, NULL, 2000), n;
	struct frame f;

	/* Its first fragment never comes. */
	n = piece_of(f.bytes + FRAME_ETHER, whole, len, 1);
	rig_public_wrap(rig, &f, n);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_counter(rig, STATS_holding), 1);
	rig_now_ns += 3 * NS_IN_S;
	rig_settle(rig);
	assert_int_equal(rig_counter(rig, STATS_holding), 0);
	assert_int_equal(rig_dropped(rig, STATS_DROP_fragment_expired), 1);

	/* The same twice: whoever sees both can not know which counts. */
	store_be16(whole + 4, 0x4712);
	n = piece_of(piece, whole, len, 0);
	memcpy(f.bytes + FRAME_ETHER, piece, n);
	rig_public_wrap(rig, &f, n);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	rig_tx_discard(rig);
	piece[7] = 50;
	packet_mend(piece);
	host_sends_in_vain(piece, n, STATS_DROP_fragment_overlap);

	/* Too short for the ports. */
	store_be16(whole + 4, 0x4713);
	piece_of(piece, whole, len, 0);
	store_be16(piece + 2, 24);
	piece[6] = 0x20;
	packet_mend(piece);
	/* 4 bytes are no fragment at all: not the last, and no multiple of 8. */
	host_sends_in_vain(piece, 24, STATS_DROP_bad_ip_header);
	piece[9] = IPPROTO_TCP;
	store_be16(piece + 2, 28);
	packet_mend(piece);
	host_sends_in_vain(piece, 28, STATS_DROP_fragment_tiny);
}

/* As hosts make them: as large as their own link, so that the first is cut again. */
static void test_large_fragments_in(void **state)
{
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, RIG_LEASE_PORT, IPPROTO_UDP, 64};
	static const size_t cuts[][2] = {{20, 1480}, {20 + 1480, 2008 - 1480}};
	uint8_t whole[4096], plain[FRAME_BYTES_MAX];
	size_t len = packet_build(whole, &in, NULL, 2000);
	struct pieces p = {.len = 0};
	struct frame f, out;

	for (unsigned i = 0; i < 2; i++) {
		uint8_t *ip = f.bytes + FRAME_ETHER;

		memcpy(ip, whole, 20);
		memcpy(ip + 20, whole + cuts[i][0], cuts[i][1]);
		store_be16(ip + 2, (uint16_t)(20 + cuts[i][1]));
		store_be16(ip + 6, i == 0 ? 0x2000 : 185);
		packet_mend(ip);
		rig_public_wrap(rig, &f, 20 + cuts[i][1]);
		rig_rx(rig, RIG_PUBLIC, 0, &f);
		rig_settle(rig);
	}
	assert_int_equal(rig_dropped_all(rig), 0);
	while (rig_tx(rig, RIG_TUNNEL, &out)) {
		assert_true(rig_client_open(rig, client, &out, plain) > 0);
		piece_add(&p, plain);
	}
	assert_int_equal(p.n, 3);
	assert_int_equal(p.got, len - 20);
	assert_memory_equal(p.bytes + 8, whole + 28, len - 28);
}

/* --- MSS --- */

static void test_mss(void **state)
{
	const struct flow out = {client->inner4, RIG_HOST4, INNER_PORT, 80, IPPROTO_TCP, 64};
	uint8_t syn[FRAME_BYTES_MAX];
	size_t len = packet_build(syn, &out, (const uint8_t[]){2, 4, 0x05, 0xb4}, 4);
	struct frame left;

	syn[32] = 6 << 4;
	packet_mend_l4(syn);
	client_sends(client, syn, len, &left);
	assert_true(packet_is_sound(left.bytes + FRAME_ETHER, left.len - FRAME_ETHER));
	assert_int_equal(load_be16(left.bytes + FRAME_ETHER + 42), RIG_INNER_MTU - 40);
}

int main(void)
{
#define ON(test, setup_fn) cmocka_unit_test_setup_teardown(test, setup_fn, pass_teardown)
	const struct CMUnitTest tests[] = {
		ON(test_error_comes_in, setup),
		ON(test_error_comes_in, setup_two_workers),
		ON(test_error_comes_in_by_lease, setup_two_workers),
		ON(test_error_goes_out, setup),
		ON(test_error_goes_out, setup_two_workers),
		ON(test_error_leaves_the_session, setup),
		ON(test_no_message_ends_a_session, setup),
		ON(test_last_hop, setup_two_workers),
		ON(test_last_hop_v6, setup),
		ON(test_too_big_in, setup_two_workers),
		ON(test_too_big_out, setup_narrow),
		ON(test_cut_in, setup_two_workers),
		ON(test_cut_out, setup_narrow),
		ON(test_fragments_in, setup),
		ON(test_fragments_in, setup_two_workers),
		ON(test_large_fragments_in, setup),
		ON(test_large_fragments_in, setup_two_workers),
		ON(test_fragments_out, setup),
		ON(test_fragments_out, setup_two_workers),
		ON(test_fragments_in_a_flood, setup),
		ON(test_fragments_in_a_flood, setup_two_workers),
		ON(test_fragments_that_end, setup),
		ON(test_mss, setup),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
