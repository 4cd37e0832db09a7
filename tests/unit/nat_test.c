#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "nat_packets.h"

#include <stdlib.h>
#include <string.h>

/* Parse a copy that ends where len ends, so that a sanitizer sees each byte read beyond. */
static enum nat_verdict parse_exact(const uint8_t *pkt, size_t len, struct nat_view *v)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum nat_verdict verdict;

	assert_non_null(copy);
	memcpy(copy, pkt, len);
	verdict = nat_parse(copy, len, v);
	free(copy);
	return verdict;
}

static void assert_parse(const uint8_t *pkt, size_t len, enum nat_verdict want)
{
	struct nat_view v;

	assert_int_equal(parse_exact(pkt, len, &v), want);
}

static void parse_fills_the_view(void **state)
{
	struct nat_view v;
	uint8_t pkt[256];
	unsigned len;

	(void)state;
	len = build_v4(pkt, NAT_PROTO_TCP, 2, 21);
	store_be16(pkt + 28, 0x1234);
	store_be16(pkt + 30, 0xfedc);
	assert_int_equal(parse_exact(pkt, len, &v), NAT_OK);
	assert_int_equal(v.version, 4);
	assert_int_equal(v.proto, NAT_PROTO_TCP);
	assert_int_equal(v.hop_limit, 64);
	assert_int_equal(v.l4_offset, 28);
	assert_int_equal(v.total_len, len);
	assert_int_equal(v.src_port, 0x1234);
	assert_int_equal(v.dst_port, 0xfedc);
	assert_true(v.dont_fragment);
	assert_true(v.has_l4);
	assert_int_equal(v.icmp_type, 0);

	store_be16(pkt + 6, 0);
	seal_v4_header(pkt);
	assert_int_equal(parse_exact(pkt, len, &v), NAT_OK);
	assert_false(v.dont_fragment);

	len = build_v6(pkt, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 8);
	assert_int_equal(parse_exact(pkt, len, &v), NAT_OK);
	assert_int_equal(v.version, 6);
	assert_int_equal(v.l4_offset, 40);
	assert_int_equal(v.total_len, 48);
	assert_int_equal(v.src_port, load_be16(pkt + 40));
	assert_true(v.dont_fragment);
	assert_true(v.has_l4);
}

/* The identifier of an echo stands in the place of both ports. */
static void assert_echo(const uint8_t *pkt, unsigned len, bool is_echo)
{
	const uint8_t *icmp = pkt + (pkt[0] >> 4 == 4 ? 20 : 40);
	struct nat_view v;

	assert_int_equal(parse_exact(pkt, len, &v), is_echo ? NAT_OK : NAT_OTHER_PROTO);
	assert_int_equal(v.icmp_type, icmp[0]);
	assert_int_equal(v.has_l4, is_echo);
	assert_int_equal(v.src_port, is_echo ? load_be16(icmp + 4) : 0);
	assert_int_equal(v.dst_port, v.src_port);
}

static void parse_knows_echo_of_its_own_family(void **state)
{
	uint8_t pkt[256];
	unsigned len;

	(void)state;
	len = build_v4(pkt, NAT_PROTO_ICMP, 0, 8);
	for (unsigned type = 0; type < 256; type++) {
		pkt[20] = (uint8_t)type;
		assert_echo(pkt, len, type == 0 || type == 8);
	}
	len = build_v6(pkt, NAT_PROTO_ICMPV6, NULL, 0, NAT_PROTO_ICMPV6, 8);
	for (unsigned type = 0; type < 256; type++) {
		pkt[40] = (uint8_t)type;
		assert_echo(pkt, len, type == 128 || type == 129);
	}

	len = build_v4(pkt, NAT_PROTO_ICMPV6, 0, 8);
	assert_parse(pkt, len, NAT_OTHER_PROTO);
	len = build_v6(pkt, NAT_PROTO_ICMP, NULL, 0, NAT_PROTO_ICMP, 8);
	assert_parse(pkt, len, NAT_OTHER_PROTO);
	len = build_v4(pkt, 47, 0, 0);
	assert_parse(pkt, len, NAT_OTHER_PROTO);
	len = build_v6(pkt, 59, NULL, 0, 59, 0);
	assert_parse(pkt, len, NAT_OTHER_PROTO);
}

static void parse_refuses_each_truncation(void **state)
{
	static const uint8_t protos[] = {NAT_PROTO_TCP, NAT_PROTO_UDP, NAT_PROTO_ICMP};
	const uint8_t ext[16] = {60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0};
	struct nat_view v, untouched;
	uint8_t pkt[256];
	unsigned len;

	(void)state;
	for (unsigned options = 0; options <= 10; options++)
		for (unsigned i = 0; i < 3; i++) {
			len = build_v4(pkt, protos[i], options, 33);
			assert_parse(pkt, len, NAT_OK);
			for (unsigned cut = 0; cut < len; cut++) {
				memset(&v, 0xa5, sizeof(v));
				memset(&untouched, 0xa5, sizeof(v));
				assert_int_equal(parse_exact(pkt, cut, &v), NAT_MALFORMED);
				assert_memory_equal(&v, &untouched, sizeof(v));
			}
		}
	len = build_v6(pkt, 0, ext, sizeof(ext), NAT_PROTO_UDP, 20);
	assert_parse(pkt, len, NAT_OK);
	for (unsigned cut = 0; cut < len; cut++)
		assert_parse(pkt, cut, NAT_MALFORMED);
}

/* The length that IP states is cut, not the buffer: every header must fit in it. */
static void parse_believes_the_smaller_length(void **state)
{
	struct nat_view v;
	uint8_t pkt[256];
	unsigned len;

	(void)state;
	for (unsigned total = 0; total <= 60; total++) {
		build_v4(pkt, NAT_PROTO_TCP, 0, 40);
		store_be16(pkt + 2, (uint16_t)total);
		seal_v4_header(pkt);
		assert_parse(pkt, 60, total >= 40 ? NAT_OK : NAT_MALFORMED);

		build_v4(pkt, NAT_PROTO_UDP, 0, 40);
		store_be16(pkt + 2, (uint16_t)total);
		store_be16(pkt + 24, 8);
		seal_v4_header(pkt);
		assert_parse(pkt, 60, total >= 28 ? NAT_OK : NAT_MALFORMED);
	}

	/* Ethernet padding behind a short packet. */
	len = build_v4(pkt, NAT_PROTO_UDP, 0, 9);
	assert_int_equal(parse_exact(pkt, 60, &v), NAT_OK);
	assert_int_equal(v.total_len, len);
	len = build_v6(pkt, NAT_PROTO_TCP, NULL, 0, NAT_PROTO_TCP, 21);
	assert_int_equal(parse_exact(pkt, 80, &v), NAT_OK);
	assert_int_equal(v.total_len, len);
	assert_int_equal(nat_l4_checksum(pkt, &v), load_be16(pkt + 56));
}

static void parse_checks_l4_lengths(void **state)
{
	uint8_t pkt[256];
	unsigned len;

	(void)state;
	len = build_v4(pkt, NAT_PROTO_TCP, 0, 32);
	for (unsigned words = 0; words < 16; words++) {
		pkt[32] = (uint8_t)(words << 4);
		assert_parse(pkt, len, words >= 5 && words <= 8 ? NAT_OK : NAT_MALFORMED);
	}
	len = build_v4(pkt, NAT_PROTO_UDP, 0, 32);
	for (unsigned udp_len = 0; udp_len < 40; udp_len++) {
		store_be16(pkt + 24, (uint16_t)udp_len);
		assert_parse(pkt, len, udp_len >= 8 && udp_len <= 32 ? NAT_OK : NAT_MALFORMED);
	}
}

static void parse_refuses_bad_headers(void **state)
{
	uint8_t pkt[256];
	unsigned len;

	(void)state;
	for (unsigned options = 0; options <= 10; options += 5) {
		len = build_v4(pkt, NAT_PROTO_TCP, options, 20);
		for (unsigned bit = 0; bit < (20 + 4 * options) * 8; bit++) {
			pkt[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_parse(pkt, len, NAT_MALFORMED);
			pkt[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		assert_parse(pkt, len, NAT_OK);
	}
	for (unsigned first = 0; first < 256; first++) {
		len = build_v4(pkt, NAT_PROTO_UDP, 10, 40);
		pkt[0] = (uint8_t)first;
		if (first >> 4 == 6)
			continue;
		/* 0x40 to 0x44: seal_v4_header would sum a header that is too short. */
		store_be16(pkt + 10, 0);
		store_be16(pkt + 10, plain_checksum(NULL, 0, pkt, (first & 0xf) * 4u));
		if (first >> 4 != 4 || (first & 0xf) < 5)
			assert_parse(pkt, len, NAT_MALFORMED);
	}
}

static void parse_v4_fragments(void **state)
{
	static const struct {
		uint16_t field, total_len;
		enum nat_verdict want;
	} cases[] = {
		{0x2000, 20 + 40, NAT_FRAGMENT},  /* first */
		{0x6000, 20 + 40, NAT_FRAGMENT},  /* first, with DF */
		{0x2005, 20 + 40, NAT_FRAGMENT},  /* middle */
		{0x000a, 20 + 33, NAT_FRAGMENT},  /* last */
		{0x400a, 20 + 33, NAT_FRAGMENT},  /* last, with DF */
		{0x1fff, 20 + 1, NAT_MALFORMED},  /* 20 + 65528 + 1 */
		{0x1ffd, 20 + 3, NAT_FRAGMENT},	  /* 20 + 65512 + 3 = 65535 */
		{0x1ffd, 20 + 4, NAT_MALFORMED},  /* one more */
		{0x2000, 20 + 39, NAT_MALFORMED}, /* not the last, not a multiple of 8 */
		{0x2000, 20, NAT_MALFORMED},	  /* not the last, empty */
		{0x8000, 20 + 40, NAT_OK},	  /* the reserved bit says nothing */
	};
	struct nat_view v;
	uint8_t pkt[256];

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		build_v4(pkt, NAT_PROTO_TCP, 0, 40);
		store_be16(pkt + 2, cases[i].total_len);
		store_be16(pkt + 6, cases[i].field);
		seal_v4_header(pkt);
		assert_int_equal(parse_exact(pkt, 60, &v), cases[i].want);
		if (cases[i].want != NAT_FRAGMENT)
			continue;
		assert_int_equal(v.proto, NAT_PROTO_TCP);
		assert_false(v.has_l4);
		assert_int_equal(v.src_port, 0);
		assert_int_equal(v.dst_port, 0);
		assert_int_equal(v.dont_fragment, (cases[i].field & 0x4000) != 0);
	}
}

static void parse_v6_fragments(void **state)
{
	static const struct {
		uint16_t field;
		unsigned l4_len;
		enum nat_verdict want;
	} cases[] = {
		{0x0000, 33, NAT_OK},	     /* atomic (RFC 6946) */
		{0x0006, 33, NAT_OK},	     /* atomic, reserved bits set */
		{0x0001, 40, NAT_FRAGMENT},  /* first */
		{0x0029, 40, NAT_FRAGMENT},  /* middle */
		{0x0028, 33, NAT_FRAGMENT},  /* last */
		{0x0029, 33, NAT_MALFORMED}, /* middle, not a multiple of 8 */
		{0xfff8, 32, NAT_MALFORMED}, /* ends past 65535 */
	};
	uint8_t pkt[256], ext[8] = {NAT_PROTO_TCP, 0, 0, 0, 1, 2, 3, 4};
	struct nat_view v;
	unsigned len;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		store_be16(ext + 2, cases[i].field);
		len = build_v6(pkt, 44, ext, sizeof(ext), NAT_PROTO_TCP, cases[i].l4_len);
		assert_int_equal(parse_exact(pkt, len, &v), cases[i].want);
		if (cases[i].want == NAT_MALFORMED)
			continue;
		assert_int_equal(v.proto, NAT_PROTO_TCP);
		assert_int_equal(v.l4_offset, 48);
		assert_int_equal(v.src_port, cases[i].want == NAT_OK ? load_be16(pkt + 48) : 0);
	}
}

static void parse_v6_extension_headers(void **state)
{
	static const uint8_t kinds[] = {43, 51, 60, 135, 139, 140};
	uint8_t pkt[512], ext[16 * 9];
	struct nat_view v;
	unsigned len;

	(void)state;
	/* A chain of n headers of each kind, 16 bytes each; 8 are walked, 9 are not. */
	for (unsigned k = 0; k < sizeof(kinds); k++)
		for (unsigned n = 1; n <= 9; n++) {
			memset(ext, 0, sizeof(ext));
			for (unsigned i = 0; i < n; i++) {
				ext[16 * i] = i + 1 < n ? kinds[k] : NAT_PROTO_UDP;
				ext[16 * i + 1] = kinds[k] == 51 ? 2 : 1;
				ext[16 * i + 2] = 4; /* routing type */
			}
			len = build_v6(pkt, kinds[k], ext, 16 * n, NAT_PROTO_UDP, 12);
			assert_int_equal(
				parse_exact(pkt, len, &v), n <= 8 ? NAT_OK : NAT_MALFORMED);
			if (n > 8)
				continue;
			assert_int_equal(v.l4_offset, 40 + 16 * n);
			assert_int_equal(v.proto, NAT_PROTO_UDP);
			assert_int_equal(v.dst_port, load_be16(pkt + 42 + 16 * n));
		}

	/* Hop-by-hop options are only the first. */
	memset(ext, 0, sizeof(ext));
	ext[0] = NAT_PROTO_UDP;
	len = build_v6(pkt, 0, ext, 8, NAT_PROTO_UDP, 12);
	assert_parse(pkt, len, NAT_OK);
	ext[0] = 0;
	ext[8] = NAT_PROTO_UDP;
	len = build_v6(pkt, 60, ext, 16, NAT_PROTO_UDP, 12);
	assert_parse(pkt, len, NAT_MALFORMED);

	/* Routing headers: type 0 never, others only when they are used up. */
	memcpy(ext, (uint8_t[]){NAT_PROTO_UDP, 0, 0, 0}, 4);
	len = build_v6(pkt, 43, ext, 8, NAT_PROTO_UDP, 12);
	assert_parse(pkt, len, NAT_MALFORMED);
	memcpy(ext, (uint8_t[]){NAT_PROTO_UDP, 0, 4, 1}, 4);
	len = build_v6(pkt, 43, ext, 8, NAT_PROTO_UDP, 12);
	assert_int_equal(parse_exact(pkt, len, &v), NAT_OTHER_PROTO);
	assert_int_equal(v.dst_port, 0);

	/* A header that claims more than there is. */
	memcpy(ext, (uint8_t[]){NAT_PROTO_UDP, 255, 4, 0}, 4);
	len = build_v6(pkt, 43, ext, 8, NAT_PROTO_UDP, 12);
	assert_parse(pkt, len, NAT_MALFORMED);
}

static void parse_v6_refuses_more_than_16_bits(void **state)
{
	uint8_t *pkt = calloc(1, 65575);
	struct nat_view v;

	(void)state;
	assert_non_null(pkt);
	pkt[0] = 0x60;
	pkt[6] = NAT_PROTO_TCP;
	pkt[52] = 0x50;
	store_be16(pkt + 4, 65495);
	assert_int_equal(nat_parse(pkt, 65575, &v), NAT_OK);
	assert_int_equal(v.total_len, 65535);
	store_be16(pkt + 4, 65496);
	assert_int_equal(nat_parse(pkt, 65575, &v), NAT_MALFORMED);
	store_be16(pkt + 4, 65535);
	assert_int_equal(nat_parse(pkt, 65575, &v), NAT_MALFORMED);
	free(pkt);
}

/* Random bytes, and right packets with random damage: parse, and do what the verdict allows. */
static void damaged_packets_are_survived(void **state)
{
	uint8_t base[160], *pkt;
	const uint8_t addr[4] = {192, 0, 2, 1};
	struct nat_view v;
	unsigned len;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		if (random_u64() & 1)
			len = build_v4(base, random_u64() & 1 ? 6 : 17, random_below(11), 24);
		else
			len = build_v6(base, (uint8_t)random_u64(), NULL, 0, 17, 80);
		for (unsigned n = random_below(4); n > 0; n--)
			base[random_below(len)] = (uint8_t)random_u64();
		if (base[0] >> 4 == 4 && (base[0] & 0xf) >= 5)
			seal_v4_header(base);
		len = random_below(8) ? len : random_below(len + 1);
		pkt = malloc(len ? len : 1);
		assert_non_null(pkt);
		memcpy(pkt, base, len);
		if (nat_parse(pkt, len, &v) == NAT_OK) {
			assert_in_range(v.total_len, v.l4_offset + 8u, len);
			nat_l4_checksum(pkt, &v);
			nat_icmp_sum_ok(pkt, &v);
			nat_hop(pkt, &v);
			if (v.version == 4) {
				nat_rewrite_dst(pkt, &v, addr, 1);
				nat_rewrite_src(pkt, &v, addr, 2);
			}
			assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		}
		nat_echo_reply(pkt, len);
		free(pkt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_fills_the_view),
		cmocka_unit_test(parse_knows_echo_of_its_own_family),
		cmocka_unit_test(parse_refuses_each_truncation),
		cmocka_unit_test(parse_believes_the_smaller_length),
		cmocka_unit_test(parse_checks_l4_lengths),
		cmocka_unit_test(parse_refuses_bad_headers),
		cmocka_unit_test(parse_v4_fragments),
		cmocka_unit_test(parse_v6_fragments),
		cmocka_unit_test(parse_v6_extension_headers),
		cmocka_unit_test(parse_v6_refuses_more_than_16_bits),
		cmocka_unit_test(damaged_packets_are_survived),
	};

	random_seed();
	return cmocka_run_group_tests_name("nat", tests, NULL, NULL);
}
