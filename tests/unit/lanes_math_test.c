/* The arithmetic of the lanes: ChaCha20 blocks and Poly1305 at the edges of its limbs, against RFC
 * 8439 and libsodium.
 */
#include "lanes_inside.h"
#include "seeded.h"

#include "aead/lanes.h"
#include "base/bytes.h"

#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#define TEXT_MAX 640

/* --- ChaCha20 -----------------------------------------------------------------------------------
 */

/* RFC 8439, A.1: test vectors 1 to 5. */
static void test_rfc_blocks(void **state)
{
	static const struct {
		uint8_t key_1, key_31;
		uint64_t counter;
		uint32_t block;
		const char *hex;
	} vectors[] = {
		{0, 0, 0, 0,
			"76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
			"da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"},
		{0, 0, 0, 1,
			"9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
			"29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"},
		{0, 1, 0, 1,
			"3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
			"8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"},
		{0xff, 0, 0, 2,
			"72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"
			"13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096"},
		{0, 0, 0x0200000000000000, 0,
			"c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"
			"8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d"},
	};
	uint8_t keys[INSIDE_LANES][32] = {0}, out[INSIDE_LANES][64], expected[64];
	uint64_t counters[INSIDE_LANES];
	uint32_t blocks[INSIDE_LANES];

	for (unsigned n = 8; n <= inside->max_lanes; n += 8) {
		for (unsigned i = 0; i < n; i++) {
			keys[i][1] = vectors[i % 5].key_1;
			keys[i][31] = vectors[i % 5].key_31;
			counters[i] = vectors[i % 5].counter;
			blocks[i] = vectors[i % 5].block;
		}
		inside->blocks(n, keys, counters, blocks, out);
		for (unsigned i = 0; i < n; i++) {
			sodium_hex2bin(expected, 64, vectors[i % 5].hex, 128, NULL, NULL, NULL);
			assert_memory_equal(out[i], expected, 64);
		}
	}
}

static void test_random_blocks(void **state)
{
	uint8_t keys[INSIDE_LANES][32], out[INSIDE_LANES][64], expected[64], nonce[12];
	uint64_t counters[INSIDE_LANES];
	uint32_t blocks[INSIDE_LANES];

	for (unsigned round = 0; round < 500; round++) {
		unsigned n = round % 2 ? 8 : inside->max_lanes;

		random_bytes(keys, sizeof(keys));
		for (unsigned i = 0; i < n; i++) {
			counters[i] = random_u64();
			blocks[i] = round % 5 == 0 ? UINT32_MAX - i : (uint32_t)random_u64();
		}
		inside->blocks(n, keys, counters, blocks, out);
		for (unsigned i = 0; i < n; i++) {
			memset(nonce, 0, sizeof(nonce));
			store_le64(nonce + 4, counters[i]);
			memset(expected, 0, sizeof(expected));
			crypto_stream_chacha20_ietf_xor_ic(
				expected, expected, 64, nonce, blocks[i], keys[i]);
			assert_memory_equal(out[i], expected, 64);
		}
	}
}

/* --- Poly1305 -----------------------------------------------------------------------------------
 */

/* What RFC 8439, 2.8, makes of a text without associated data. */
static void expect_tags(unsigned width, const uint8_t keys[][32], const uint8_t *const texts[],
	const uint32_t lens[])
{
	uint8_t tags[INSIDE_POLY][16], expected[16], all[TEXT_MAX + 32];

	inside->tags(width, keys, texts, lens, tags);
	for (unsigned i = 0; i < INSIDE_POLY / width; i++) {
		uint32_t padded = (lens[i] + 15) / 16 * 16;

		memset(all, 0, sizeof(all));
		memcpy(all, texts[i], lens[i]);
		store_le64(all + padded + 8, lens[i]);
		crypto_onetimeauth_poly1305(expected, all, padded + 16, keys[i]);
		assert_memory_equal(tags[i], expected, 16);
	}
}

static void each_width(
	const uint8_t keys[][32], const uint8_t *const texts[], const uint32_t lens[])
{
	for (unsigned width = 1; width <= inside->max_width; width *= 2)
		expect_tags(width, keys, texts, lens);
}

/* Limbs of 44 bits meet blocks, r and s at all their ends: RFC 8439, A.3, 7 to 11 and their like.
 */
static const uint8_t edges[][16] = {
	{0},
	{1},
	{2},
	{4},
	{5},
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff},
	{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff},
	{0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff},
	{0xfb, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe,
		0xfe},
	{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
	{0xff, 0xff, 0xff, 0xff, 0xff, 0x0f},
	{0, 0, 0, 0, 0, 0x10},
	{0, 0, 0, 0, 0, 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff},
	{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff},
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	/* The largest r that is clamped already, and its bits one by one at the ends of words. */
	{0xff, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff,
		0x0f},
	{0, 0, 0, 0x08, 0x04, 0, 0, 0x08, 0x04, 0, 0, 0x08, 0x04, 0, 0, 0x08},
};

#define N_EDGES (sizeof(edges) / sizeof(edges[0]))

static void test_poly_edges(void **state)
{
	static uint8_t texts[INSIDE_POLY][TEXT_MAX];
	const uint8_t *at[INSIDE_POLY];
	uint8_t keys[INSIDE_POLY][32];
	uint32_t lens[INSIDE_POLY];

	for (unsigned round = 0; round < 20000; round++) {
		for (unsigned i = 0; i < INSIDE_POLY; i++) {
			memcpy(keys[i], edges[random_below(N_EDGES)], 16);
			memcpy(keys[i] + 16, edges[random_below(N_EDGES)], 16);
			lens[i] = random_below(round % 4 == 0 ? TEXT_MAX + 1 : 100);
			for (unsigned b = 0; b + 16 <= TEXT_MAX; b += 16)
				memcpy(texts[i] + b, edges[random_below(N_EDGES)], 16);
			if (round % 3 == 0)
				memset(texts[i], 0xff, TEXT_MAX);
			if (round % 7 == 0)
				memset(keys[i], 0xff, 32);
			at[i] = texts[i];
		}
		each_width(keys, at, lens);
	}
}

/* With r = 1 the sum is that of the blocks: 3 * 2^128 + first + second + length. The second is
 * chosen so that the sum is p - 8 to p + 8, and 2^130 in its middle. */
static void test_poly_around_p(void **state)
{
	static uint8_t texts[INSIDE_POLY][TEXT_MAX];
	const uint8_t *at[INSIDE_POLY];
	uint8_t keys[INSIDE_POLY][32];
	uint32_t lens[INSIDE_POLY];

	for (unsigned round = 0; round < 17 * 8; round++) {
		for (unsigned i = 0; i < INSIDE_POLY; i++) {
			/* The length block is 32 * 2^64. */
			unsigned __int128 first = i % 2 ? (unsigned __int128)random_u64() << 40 : 0;
			unsigned __int128 second = (unsigned __int128)0 - 5 - 8 + (round + i) % 17 -
						   ((unsigned __int128)32 << 64) - first;

			memset(keys[i], round % 3 == 0 ? 0xff : 0, 32);
			memset(keys[i], 0, 16);
			keys[i][0] = 1;
			store_le64(texts[i], (uint64_t)first);
			store_le64(texts[i] + 8, (uint64_t)(first >> 64));
			store_le64(texts[i] + 16, (uint64_t)second);
			store_le64(texts[i] + 24, (uint64_t)(second >> 64));
			lens[i] = 32;
			at[i] = texts[i];
		}
		each_width(keys, at, lens);
	}
}

static void test_poly_every_length(void **state)
{
	static uint8_t texts[INSIDE_POLY][TEXT_MAX];
	const uint8_t *at[INSIDE_POLY];
	uint8_t keys[INSIDE_POLY][32];
	uint32_t lens[INSIDE_POLY];

	for (uint32_t len = 0; len <= TEXT_MAX; len++) {
		random_bytes(keys, sizeof(keys));
		random_bytes(texts, sizeof(texts));
		for (unsigned i = 0; i < INSIDE_POLY; i++) {
			lens[i] = len;
			at[i] = texts[i];
		}
		each_width(keys, at, lens);
		for (unsigned i = 1; i < INSIDE_POLY; i++)
			lens[i] = random_below(len + 1);
		each_width(keys, at, lens);
	}
}

/* --- which CPU can run them ---------------------------------------------------------------------
 */

/* Every bit that AVX-512 lanes need, by the names of the Intel SDM: OSXSAVE; BMI2 and AVX2 are not
 * asked for beside AVX-512F, which has them. */
static void test_needs_every_feature(void **state)
{
	const struct lanes_features all = {.leaf1_ecx = 1u << 27,
		.leaf7_ebx = 1u << 5 | 1u << 8 | 1u << 16 | 1u << 21 | 1u << 30 | 1u << 31,
		.leaf7_ecx = 1u << 6,
		.xcr0 = 0xe6};
	const struct lanes_features none = {0};

	assert_true(lanes_are_enough(&all) && lanes_avx2_are_enough(&all));
	assert_false(lanes_are_enough(&none) || lanes_avx2_are_enough(&none));
	for (unsigned word = 0; word < 4; word++)
		for (unsigned bit = 0; bit < 32; bit++) {
			struct lanes_features f = all;
			uint32_t *words[] = {&f.leaf1_ecx, &f.leaf7_ebx, &f.leaf7_ecx, &f.xcr0};
			bool is_of_avx2 = word == 0 || (word == 1 && (bit == 5 || bit == 8)) ||
					  (word == 3 && (bit == 1 || bit == 2));
			bool is_only_of_avx2 = word == 1 && (bit == 5 || bit == 8);

			if (!(*words[word] >> bit & 1))
				continue;
			*words[word] &= ~(1u << bit);
			assert_int_equal(lanes_are_enough(&f), is_only_of_avx2);
			assert_int_equal(lanes_avx2_are_enough(&f), !is_of_avx2);
		}
}

static int run_group(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_blocks),
		cmocka_unit_test(test_random_blocks),
		cmocka_unit_test(test_poly_edges),
		cmocka_unit_test(test_poly_around_p),
		cmocka_unit_test(test_poly_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	static const struct CMUnitTest features[] = {cmocka_unit_test(test_needs_every_feature)};
	int failed;

	if (sodium_init() < 0)
		return 1;
	random_seed();
	failed = cmocka_run_group_tests(features, NULL, NULL);
	return failed ? failed : inside_run_each(run_group);
}
