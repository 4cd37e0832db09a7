#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "nat_packets.h"

#include <string.h>

#define SYN 0x02
#define ACK 0x10

/* A TCP packet with these options; returns its length, and where its L4 header is. */
static unsigned build_tcp(uint8_t *pkt, bool is_v4, uint8_t flags, const uint8_t *options,
	unsigned options_len, unsigned *l4_at)
{
	unsigned l4_len = 20 + options_len + 9, len;

	*l4_at = is_v4 ? 20 : 40;
	len = is_v4 ? build_v4(pkt, NAT_PROTO_TCP, 0, l4_len)
		    : build_v6(pkt, NAT_PROTO_TCP, NULL, 0, NAT_PROTO_TCP, l4_len);
	pkt[*l4_at + 12] = (uint8_t)((20 + options_len) << 2);
	pkt[*l4_at + 13] = flags;
	memcpy(pkt + *l4_at + 20, options, options_len);
	seal_l4(pkt, *l4_at, NAT_PROTO_TCP, l4_len);
	return len;
}

static void assert_left_alone(const uint8_t *options, unsigned options_len, uint8_t flags)
{
	uint8_t pkt[256], want[256];
	struct nat_view v;
	unsigned len, l4_at;

	len = build_tcp(pkt, true, flags, options, options_len, &l4_at);
	memcpy(want, pkt, len);
	assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
	assert_false(nat_mss_clamp(pkt, &v, 100));
	assert_memory_equal(pkt, want, len);
}

/* The option at each place where it fits, of either parity, against a recomputation. */
static void clamp_agrees_with_recomputation(void **state)
{
	uint8_t pkt[256], want[256], options[40];
	struct nat_view v;
	unsigned len, l4_at, at, n;

	(void)state;
	for (uint64_t i = random_rounds(200000); i > 0; i--) {
		uint16_t mss = (uint16_t)random_u64(), max_mss = (uint16_t)random_u64();

		n = 4 + 4 * random_below(10);
		at = random_below(n - 3);
		random_bytes(options, sizeof(options));
		memset(options, 1, at);
		if (at >= 8 && random_u64() & 1)
			memcpy(options, (uint8_t[]){8, (uint8_t)at, 2, 4}, 4); /* one long option */
		memcpy(options + at, (uint8_t[]){2, 4}, 2);
		store_be16(options + at + 2, mss);
		len = build_tcp(pkt, random_u64() & 1, random_u64() & 1 ? SYN : SYN | ACK, options,
			n, &l4_at);
		memcpy(want, pkt, len);
		if (mss > max_mss)
			store_be16(want + l4_at + 20 + at + 2, max_mss);
		seal_l4(want, l4_at, NAT_PROTO_TCP, len - l4_at);

		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		assert_int_equal(nat_mss_clamp(pkt, &v, max_mss), mss > max_mss);
		if (load_be16(want + l4_at + 16) % 0xffff == 0)
			continue; /* zero has two forms */
		assert_memory_equal(pkt, want, len);
	}
}

static void only_a_syn_is_clamped(void **state)
{
	const uint8_t mss[4] = {2, 4, 0x05, 0xb4};

	(void)state;
	for (unsigned flags = 0; flags < 256; flags++)
		if (!(flags & SYN))
			assert_left_alone(mss, 4, (uint8_t)flags);
}

static void options_without_a_right_mss(void **state)
{
	(void)state;
	assert_left_alone((uint8_t[4]){0}, 0, SYN);
	assert_left_alone((uint8_t[]){1, 1, 1, 1}, 4, SYN);
	assert_left_alone((uint8_t[]){0, 1, 1, 1, 2, 4, 5, 180}, 8, SYN); /* behind the end */
	assert_left_alone((uint8_t[]){3, 0, 1, 1, 2, 4, 5, 180}, 8, SYN); /* no step forward */
	assert_left_alone((uint8_t[]){3, 1, 1, 1, 2, 4, 5, 180}, 8, SYN); /* shorter than itself */
	assert_left_alone((uint8_t[]){3, 255, 1, 1, 2, 4, 5, 180}, 8, SYN); /* past the header */
	assert_left_alone(
		(uint8_t[]){2, 3, 5, 180, 1, 1, 1, 1}, 8, SYN); /* MSS of a wrong length */
	assert_left_alone((uint8_t[]){1, 2, 4, 5}, 4, SYN);	/* cut */
	assert_left_alone((uint8_t[]){1, 1, 1, 2}, 4, SYN);
}

/* Random options in a header that ends where the packet ends: nothing beyond is read or written. */
static void any_options_are_survived(void **state)
{
	uint8_t pkt[256], before[256], options[40];
	struct nat_view v;
	unsigned len, l4_at, n;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		n = 4 * random_below(11);
		for (unsigned k = 0; k < n; k++)
			options[k] = (uint8_t)(random_u64() & 1 ? random_below(5) : random_u64());
		len = build_tcp(pkt, true, SYN, options, n, &l4_at);
		memcpy(before, pkt, sizeof(pkt));
		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		nat_mss_clamp(pkt, &v, 100);
		assert_int_equal(nat_l4_checksum(pkt, &v) % 0xffff, load_be16(pkt + 36) % 0xffff);
		assert_memory_equal(pkt, before, 36);
		assert_memory_equal(pkt + 40 + n, before + 40 + n, sizeof(pkt) - 40 - n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clamp_agrees_with_recomputation),
		cmocka_unit_test(only_a_syn_is_clamped),
		cmocka_unit_test(options_without_a_right_mss),
		cmocka_unit_test(any_options_are_survived),
	};

	random_seed();
	return cmocka_run_group_tests_name("nat_mss", tests, NULL, NULL);
}
