#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "nat_packets.h"

#include <string.h>

#define PACKET_MAX 2048

/* Known answers: the textbook header whose checksum is b861, and the example of RFC 1624. */
static void known_header(void **state)
{
	uint8_t pkt[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61,
		0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7, 0x00, 0x35, 0xe9, 0x7c, 0x00, 0x5f,
		0x00, 0x00, [114] = 0};
	struct nat_view v;

	(void)state;
	assert_int_equal(nat_parse(pkt, sizeof(pkt), &v), NAT_OK);
	assert_int_equal(v.src_port, 53);
	/* RFC 1624, section 4: HC 0xdd2f, m 0x5555, m' 0x3285 gives 0x0000, not 0xffff. */
	assert_int_equal(nat_checksum_update(0xdd2f, nat_diff16(0x5555, 0x3285)), 0x0000);
}

static void checksum_add_agrees_with_the_plain_sum(void **state)
{
	uint8_t data[301];

	(void)state;
	for (unsigned len = 0; len <= 300; len++) {
		random_bytes(data, sizeof(data));
		assert_int_equal((uint16_t)~nat_checksum_fold(nat_checksum_add(0, data, len)),
			plain_checksum(NULL, 0, data, len));
		/* in two parts */
		uint32_t sum = nat_checksum_add(0, data, len & ~1u);

		sum = nat_checksum_add(sum, data + (len & ~1u), len & 1);
		assert_int_equal(
			(uint16_t)~nat_checksum_fold(sum), plain_checksum(NULL, 0, data, len));
	}
	memset(data, 0xff, sizeof(data));
	assert_int_equal(nat_checksum_fold(nat_checksum_add(UINT32_MAX, data, 300)), 0xffff);
}

/* Rewrites of random packets against a full recomputation. Addresses and ports of few distinct
 * values make sums of 0 and 0xffff frequent. */
static void rewrite_agrees_with_recomputation(void **state)
{
	static const uint16_t edges[] = {0, 1, 0xfffe, 0xffff, 0x8000, 0x7fff};
	uint8_t pkt[PACKET_MAX], want[PACKET_MAX], addr[4];
	uint64_t rounds = random_rounds(1000000), zeros = 0;
	struct nat_view v;

	(void)state;
	for (uint64_t i = 0; i < rounds; i++) {
		bool is_udp = random_u64() & 1, is_dst = random_u64() & 1;
		bool is_edgy = random_below(4) == 0;
		uint8_t proto = is_udp ? NAT_PROTO_UDP : NAT_PROTO_TCP;
		unsigned options = random_below(8) ? 0 : random_below(11);
		unsigned l4_len = (is_udp ? 8 : 20) + random_below(random_below(16) ? 40 : 1400);
		unsigned l4_at = 20 + 4 * options;
		unsigned len = build_v4(pkt, proto, options, l4_len);
		uint16_t port = (uint16_t)random_u64();

		random_bytes(addr, 4);
		if (is_edgy) {
			port = edges[random_below(6)];
			store_be16(addr, edges[random_below(6)]);
			store_be16(addr + 2, edges[random_below(6)]);
			for (unsigned at = 12; at < 20; at += 2)
				store_be16(pkt + at, edges[random_below(6)]);
			memset(pkt + l4_at + (is_udp ? 8 : 20), 0, l4_len - (is_udp ? 8 : 20));
			/* Steer the L4 sum to where the new packet's checksum is zero. */
			if (is_udp && l4_len >= 10) {
				memcpy(want, pkt, len);
				memcpy(want + (is_dst ? 16 : 12), addr, 4);
				store_be16(want + l4_at + (is_dst ? 2 : 0), port);
				store_be16(want + l4_at + 6, 0);
				store_be16(pkt + l4_at + 8,
					plain_l4_checksum(want, l4_at, proto, l4_len));
			}
			seal_v4_header(pkt);
			seal_l4(pkt, l4_at, proto, l4_len);
		}

		memcpy(want, pkt, len);
		memcpy(want + (is_dst ? 16 : 12), addr, 4);
		store_be16(want + l4_at + (is_dst ? 2 : 0), port);
		seal_v4_header(want);
		seal_l4(want, l4_at, proto, l4_len);
		zeros += is_udp && load_be16(want + l4_at + 6) == 0xffff;

		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		assert_int_equal(
			nat_l4_checksum(pkt, &v), load_be16(pkt + l4_at + checksum_at(proto)));
		if (is_dst)
			nat_rewrite_dst(pkt, &v, addr, port);
		else
			nat_rewrite_src(pkt, &v, addr, port);
		assert_memory_equal(pkt, want, len);
	}
	assert_true(zeros >= rounds / 1000); /* the 0 -> 0xffff rule was met */
}

static void rewrite_keeps_udp_without_checksum(void **state)
{
	const uint8_t addr[4] = {10, 1, 2, 3};
	uint8_t pkt[256], want[256];
	struct nat_view v;
	unsigned len;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		len = build_v4(pkt, NAT_PROTO_UDP, 0, 30);
		store_be16(pkt + 26, 0);
		memcpy(want, pkt, len);
		memcpy(want + 16, addr, 4);
		store_be16(want + 22, 6881);
		seal_v4_header(want);
		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		nat_rewrite_dst(pkt, &v, addr, 6881);
		assert_memory_equal(pkt, want, len);
	}
}

/* The identifier is the port, whichever end is rewritten, and the addresses are not in the sum. */
static void rewrite_of_echo_agrees_with_recomputation(void **state)
{
	uint8_t pkt[256], want[256], addr[4];
	struct nat_view v;

	(void)state;
	for (uint64_t i = random_rounds(200000); i > 0; i--) {
		bool is_dst = random_u64() & 1;
		unsigned options = random_below(8) ? 0 : random_below(11);
		unsigned l4_at = 20 + 4 * options, l4_len = 8 + random_below(60);
		unsigned len = build_v4(pkt, NAT_PROTO_ICMP, options, l4_len);
		uint16_t id = (uint16_t)random_u64();

		pkt[l4_at] = random_u64() & 1 ? 8 : 0;
		seal_l4(pkt, l4_at, NAT_PROTO_ICMP, l4_len);
		random_bytes(addr, 4);
		memcpy(want, pkt, len);
		memcpy(want + (is_dst ? 16 : 12), addr, 4);
		store_be16(want + l4_at + 4, id);
		seal_v4_header(want);
		seal_l4(want, l4_at, NAT_PROTO_ICMP, l4_len);

		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		assert_true(nat_icmp_sum_ok(pkt, &v));
		if (is_dst)
			nat_rewrite_dst(pkt, &v, addr, id);
		else
			nat_rewrite_src(pkt, &v, addr, id);
		/* a sum of zero may be written in two ways */
		if (load_be16(want + l4_at + 2) % 0xffff == 0)
			continue;
		assert_memory_equal(pkt, want, len);
	}
}

/* ICMP errors, other protocols and fragments: an identifier or port would land in foreign bytes. */
static void rewrite_without_l4_changes_the_address_only(void **state)
{
	static const uint8_t protos[] = {NAT_PROTO_ICMP, 47, NAT_PROTO_TCP, NAT_PROTO_UDP};
	const uint8_t addr[4] = {10, 1, 2, 3};
	uint8_t pkt[256], want[256];
	struct nat_view v;
	unsigned len;

	(void)state;
	for (unsigned i = 0; i < sizeof(protos); i++) {
		len = build_v4(pkt, protos[i], 0, 32);
		if (protos[i] == NAT_PROTO_ICMP)
			pkt[20] = 3;
		else if (protos[i] != 47)
			store_be16(pkt + 6, 0x2000);
		seal_v4_header(pkt);
		memcpy(want, pkt, len);
		memcpy(want + 12, addr, 4);
		seal_v4_header(want);
		assert_in_range(nat_parse(pkt, len, &v), NAT_FRAGMENT, NAT_OTHER_PROTO);
		nat_rewrite_src(pkt, &v, addr, 6881);
		assert_memory_equal(pkt, want, len);
		memcpy(want + 16, addr, 4);
		seal_v4_header(want);
		nat_rewrite_dst(pkt, &v, addr, 6881);
		assert_memory_equal(pkt, want, len);
	}
}

static void icmp_sum_of_each_flipped_bit(void **state)
{
	uint8_t pkt[256];
	struct nat_view v;
	unsigned len, l4_at;

	(void)state;
	for (unsigned is_v6 = 0; is_v6 < 2; is_v6++) {
		len = is_v6 ? build_v6(pkt, 58, NULL, 0, NAT_PROTO_ICMPV6, 29)
			    : build_v4(pkt, NAT_PROTO_ICMP, 2, 29);
		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		assert_true(nat_icmp_sum_ok(pkt, &v));
		l4_at = v.l4_offset;
		for (unsigned bit = l4_at * 8; bit < len * 8; bit++) {
			pkt[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_false(nat_icmp_sum_ok(pkt, &v));
			pkt[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		/* The pseudo header of IPv6 has the addresses. */
		pkt[is_v6 ? 8 : 12] ^= 1;
		assert_int_equal(nat_icmp_sum_ok(pkt, &v), !is_v6);
	}
	build_v4(pkt, NAT_PROTO_UDP, 0, 29);
	assert_int_equal(nat_parse(pkt, 49, &v), NAT_OK);
	assert_false(nat_icmp_sum_ok(pkt, &v));
}

/* A routing header with segments left hides how much ICMP there is: nothing, here. */
static void icmp_sum_never_reads_beyond(void **state)
{
	const uint8_t ext[8] = {NAT_PROTO_ICMPV6, 0, 4, 1};
	uint8_t pkt[48 + 8];
	struct nat_view v;

	(void)state;
	for (unsigned l4_len = 0; l4_len < 8; l4_len++) {
		memset(pkt, 0, sizeof(pkt));
		pkt[0] = 0x60;
		store_be16(pkt + 4, (uint16_t)(sizeof(ext) + l4_len));
		pkt[6] = 43;
		memcpy(pkt + 40, ext, sizeof(ext));
		assert_int_equal(nat_parse(pkt, 48 + l4_len, &v), NAT_OTHER_PROTO);
		assert_int_equal(v.proto, NAT_PROTO_ICMPV6);
		assert_false(nat_icmp_sum_ok(pkt, &v));
	}
}

static void set_ip_id_agrees_with_recomputation(void **state)
{
	uint8_t pkt[256], want[256];
	struct nat_view v;
	unsigned len;

	(void)state;
	for (uint64_t i = random_rounds(200000); i > 0; i--) {
		uint16_t id = (uint16_t)random_u64();

		len = build_v4(pkt, NAT_PROTO_UDP, random_below(3), 12);
		memcpy(want, pkt, len);
		store_be16(want + 4, id);
		seal_v4_header(want);
		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		nat_set_ip_id(pkt, &v, id);
		assert_memory_equal(pkt, want, len);
	}
	len = build_v6(pkt, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 12);
	memcpy(want, pkt, len);
	assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
	nat_set_ip_id(pkt, &v, 1);
	assert_memory_equal(pkt, want, len);
}

static void hop_at_each_limit(void **state)
{
	uint8_t pkt[256], want[256];
	struct nat_view v;
	unsigned len;

	(void)state;
	for (unsigned hops = 0; hops < 256; hops++)
		for (unsigned i = 0; i < 200; i++) {
			len = build_v4(pkt, NAT_PROTO_UDP, i % 3, 12);
			pkt[8] = (uint8_t)hops;
			seal_v4_header(pkt);
			memcpy(want, pkt, len);
			if (hops > 1) {
				want[8]--;
				seal_v4_header(want);
			}
			assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
			assert_int_equal(nat_hop(pkt, &v), hops > 1);
			assert_memory_equal(pkt, want, len);
		}
	for (unsigned hops = 0; hops < 256; hops++) {
		len = build_v6(pkt, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 12);
		pkt[7] = (uint8_t)hops;
		memcpy(want, pkt, len);
		want[7] = (uint8_t)(hops > 1 ? hops - 1 : hops);
		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		assert_int_equal(nat_hop(pkt, &v), hops > 1);
		assert_memory_equal(pkt, want, len);
	}
}

static void echo_reply_v4(void **state)
{
	uint8_t pkt[PACKET_MAX], want[PACKET_MAX];
	unsigned len;

	(void)state;
	for (unsigned l4_len = 8; l4_len < 1500; l4_len++) {
		len = build_v4(pkt, NAT_PROTO_ICMP, 0, l4_len);
		pkt[8] = (uint8_t)random_u64();
		seal_v4_header(pkt);
		memcpy(want, pkt, len);
		memcpy(want + 12, pkt + 16, 4);
		memcpy(want + 16, pkt + 12, 4);
		want[8] = 64;
		want[20] = 0;
		seal_v4_header(want);
		seal_l4(want, 20, NAT_PROTO_ICMP, l4_len);
		assert_true(nat_echo_reply(pkt, len));
		assert_memory_equal(pkt, want, len);
		assert_false(nat_echo_reply(pkt, len)); /* a reply is not a request */
		assert_memory_equal(pkt, want, len);
	}
}

static void echo_reply_v6(void **state)
{
	uint8_t pkt[PACKET_MAX], want[PACKET_MAX];
	unsigned len;

	(void)state;
	for (unsigned l4_len = 8; l4_len < 1500; l4_len++) {
		len = build_v6(pkt, NAT_PROTO_ICMPV6, NULL, 0, NAT_PROTO_ICMPV6, l4_len);
		pkt[7] = (uint8_t)random_u64();
		memcpy(want, pkt, len);
		memcpy(want + 8, pkt + 24, 16);
		memcpy(want + 24, pkt + 8, 16);
		want[7] = 64;
		want[40] = 129;
		seal_l4(want, 40, NAT_PROTO_ICMPV6, l4_len);
		assert_true(nat_echo_reply(pkt, len));
		assert_memory_equal(pkt, want, len);
		assert_false(nat_echo_reply(pkt, len));
	}
}

static void assert_no_reply(uint8_t *pkt, unsigned len)
{
	uint8_t before[PACKET_MAX];

	memcpy(before, pkt, len);
	assert_false(nat_echo_reply(pkt, len));
	assert_memory_equal(pkt, before, len);
}

static void echo_reply_refuses_the_rest(void **state)
{
	const uint8_t atomic[8] = {NAT_PROTO_ICMPV6};
	uint8_t pkt[PACKET_MAX];
	unsigned len;

	(void)state;
	/* Each flipped byte of the ICMP message is a wrong checksum or another type. */
	len = build_v4(pkt, NAT_PROTO_ICMP, 0, 41);
	for (unsigned at = 20; at < len; at++) {
		pkt[at] ^= 0x55;
		assert_no_reply(pkt, len);
		pkt[at] ^= 0x55;
	}
	len = build_v6(pkt, NAT_PROTO_ICMPV6, NULL, 0, NAT_PROTO_ICMPV6, 41);
	for (unsigned at = 8; at < len; at++) {
		pkt[at] ^= 0x55;
		assert_no_reply(pkt, len);
		pkt[at] ^= 0x55;
	}
	for (unsigned cut = 0; cut < len; cut++)
		assert_no_reply(pkt, cut);

	len = build_v4(pkt, NAT_PROTO_ICMP, 0, 40);
	store_be16(pkt + 6, 0x2000);
	seal_v4_header(pkt);
	assert_no_reply(pkt, len);
	len = build_v4(pkt, NAT_PROTO_ICMP, 1, 40);
	assert_no_reply(pkt, len);
	len = build_v6(pkt, 44, atomic, 8, NAT_PROTO_ICMPV6, 40);
	assert_no_reply(pkt, len);
	len = build_v4(pkt, NAT_PROTO_UDP, 0, 40);
	assert_no_reply(pkt, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_header),
		cmocka_unit_test(checksum_add_agrees_with_the_plain_sum),
		cmocka_unit_test(rewrite_agrees_with_recomputation),
		cmocka_unit_test(rewrite_keeps_udp_without_checksum),
		cmocka_unit_test(rewrite_of_echo_agrees_with_recomputation),
		cmocka_unit_test(rewrite_without_l4_changes_the_address_only),
		cmocka_unit_test(icmp_sum_of_each_flipped_bit),
		cmocka_unit_test(icmp_sum_never_reads_beyond),
		cmocka_unit_test(set_ip_id_agrees_with_recomputation),
		cmocka_unit_test(hop_at_each_limit),
		cmocka_unit_test(echo_reply_v4),
		cmocka_unit_test(echo_reply_v6),
		cmocka_unit_test(echo_reply_refuses_the_rest),
	};

	random_seed();
	return cmocka_run_group_tests_name("nat_rewrite", tests, NULL, NULL);
}
