/* Bursts through the lanes against libsodium: lengths, mixtures, strides, forgeries, the ends of
 * memory, and nothing left behind.
 *
 * PORTIER_TEST_PACKETS: so many packets at random instead of the usual 40,000; with more than
 * those, every length in a burst of every size too.
 */
#include "lanes_inside.h"
#include "seeded.h"

#include "aead/lanes.h"
#include "aead/lanes_avx2.h"

#include "base/bytes.h"
#include "pkt/pkt.h"

#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#define LEN_MAX	      1600u
#define JUMBO_MAX     9000u
#define SEALED_MAX    (JUMBO_MAX + AEAD_TAG_BYTES)
#define STRIDE_MAX    4096u
#define JUMBO_STRIDE  9472u
#define JUMBO_BURST   (AEAD_BURST_MAX * STRIDE_MAX / JUMBO_STRIDE)
#define FRONT	      128u /* the least bytes of a slot in front of the text */
#define SKEWS	      64u  /* the text begins so many bytes later, at random */
#define FILL	      0xa5
#define SHORT_PACKETS 40000u

static_assert(RTE_PKTMBUF_HEADROOM >= LANES_MAPPED_BEFORE, "mapped in front of a payload");
static_assert(LANES_LEN_MAX == INSIDE_LEN_MAX && LANES_AVX2_LEN_MAX == INSIDE_LEN_MAX, "one limit");

static struct aead_job jobs[AEAD_BURST_MAX];
static uint8_t keys[AEAD_BURST_MAX][AEAD_KEY_BYTES];
static uint8_t plain[AEAD_BURST_MAX][JUMBO_MAX];
static uint8_t sealed[AEAD_BURST_MAX][SEALED_MAX]; /* as libsodium says */
/* Where jobs read and write, at a stride; between them is FILL. */
static uint8_t from[AEAD_BURST_MAX * STRIDE_MAX], to[AEAD_BURST_MAX * STRIDE_MAX];
static uint32_t stride = 2304, skews[AEAD_BURST_MAX];

static void draw_packet(unsigned i, uint32_t len)
{
	uint64_t counter = random_u64() >> random_below(64);
	uint8_t nonce[12] = {0};

	random_bytes(keys[i], AEAD_KEY_BYTES);
	random_bytes(plain[i], len);
	store_le64(nonce + 4, counter);
	crypto_aead_chacha20poly1305_ietf_encrypt(
		sealed[i], NULL, plain[i], len, NULL, 0, NULL, nonce, keys[i]);
	jobs[i] = (struct aead_job){.key = keys[i], .counter = counter, .len = len};
}

static void draw_skews(uint16_t n)
{
	bool is_each = random_below(2);

	skews[0] = random_below(SKEWS);
	for (uint16_t i = 1; i < n; i++)
		skews[i] = is_each ? random_below(SKEWS) : skews[0];
}

/* Puts the n texts where the jobs are to find them. */
static void aim(uint16_t n, bool is_seal, bool is_in_place)
{
	memset(to, FILL, (size_t)n * stride);
	for (uint16_t i = 0; i < n; i++) {
		uint8_t *src = (is_in_place ? to : from) + i * stride + FRONT + skews[i];

		if (is_seal)
			memcpy(src, plain[i], jobs[i].len);
		else
			memcpy(src, sealed[i], jobs[i].len + AEAD_TAG_BYTES);
		jobs[i].src = src;
		jobs[i].dst = to + i * stride + FRONT + skews[i];
		jobs[i].is_authentic = false;
	}
}

static void expect_fill(const uint8_t *p, size_t len)
{
	static uint8_t fill[JUMBO_STRIDE];

	memset(fill, FILL, len);
	assert_memory_equal(p, fill, len);
}

/* In the slot of packet i are len bytes of text and nothing else was written. */
static void expect_slot(unsigned i, const void *text, size_t len)
{
	const uint8_t *slot = to + i * stride;
	uint32_t front = FRONT + skews[i];

	expect_fill(slot, front);
	assert_memory_equal(slot + front, text, len);
	expect_fill(slot + front + len, stride - front - len);
}

static void expect_sealed(uint16_t n, bool is_in_place)
{
	aim(n, true, is_in_place);
	inside->seal(inside_lanes, jobs, n);
	for (uint16_t i = 0; i < n; i++)
		expect_slot(i, sealed[i], jobs[i].len + AEAD_TAG_BYTES);
}

/* forged: packets that were changed; their bytes stay as they are. */
static void expect_opened(uint16_t n, bool is_in_place, uint64_t forged)
{
	aim(n, false, is_in_place);
	inside->open(inside_lanes, jobs, n);
	for (uint16_t i = 0; i < n; i++) {
		uint32_t len = jobs[i].len;
		bool is_forged = forged >> i & 1;

		assert_int_equal(jobs[i].is_authentic, !is_forged);
		if (is_in_place) {
			/* Behind the text the tag stays. */
			assert_memory_equal(jobs[i].dst, is_forged ? sealed[i] : plain[i], len);
			memcpy(jobs[i].dst, sealed[i], len);
			expect_slot(i, sealed[i], len + AEAD_TAG_BYTES);
		} else if (is_forged) {
			expect_slot(i, NULL, 0);
		} else {
			expect_slot(i, plain[i], len);
		}
	}
}

/* One byte of some of the packets. Returns which. */
static uint64_t forge(uint16_t n, unsigned one_in)
{
	uint64_t forged = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (random_below(one_in) != 0)
			continue;
		sealed[i][random_below(jobs[i].len + AEAD_TAG_BYTES)] ^=
			(uint8_t)(1u << random_below(8));
		forged |= 1ULL << i;
	}
	return forged;
}

static uint32_t draw_len(unsigned mixture, uint32_t base)
{
	static const uint32_t imix[] = {64, 64, 64, 64, 64, 64, 64, 576, 576, 576, 576, 1424};

	switch (mixture) {
	case 0:
		return base;
	case 1:
		return random_below(LEN_MAX + 1);
	case 2:
		return random_below(130);
	case 3:
		return imix[random_below(12)];
	case 4:
		return base > 16 ? base - random_below(16) : base;
	default:
		return random_below(8) ? random_below(100) : LEN_MAX - random_below(200);
	}
}

static void expect_burst(uint16_t n)
{
	draw_skews(n);
	expect_sealed(n, random_below(2));
	expect_opened(n, random_below(2), 0);
	expect_opened(n, random_below(2), forge(n, 1 + random_below(20)));
}

static void try_burst(uint16_t n, unsigned mixture, uint32_t base)
{
	for (uint16_t i = 0; i < n; i++)
		draw_packet(i, draw_len(mixture, base));
	expect_burst(n);
}

static uint64_t count_packets(void)
{
	const char *text = getenv("PORTIER_TEST_PACKETS");

	return text ? strtoull(text, NULL, 0) : SHORT_PACKETS;
}

/* --- the tests ----------------------------------------------------------------------------------
 */

/* RFC 8439, 2.4.2: a nonce of this form, block counter 1. */
static void test_rfc_text(void **state)
{
	static const char text[] =
		"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
		"the future, sunscreen would be it.";
	static const char hex[] =
		"6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab"
		"8f593dabcd62b3571639d624e65152ab8f530c359f0861d807ca0dbf500d6a6156a38e088a22b65e"
		"52bc514d16ccf806818ce91ab77937365af90bbf74a35be6b40b8eedf2785e42874d";
	uint8_t key[AEAD_KEY_BYTES], out[sizeof(text) + AEAD_TAG_BYTES], expected[sizeof(text) - 1];
	struct aead_job job = {.key = key,
		.counter = 0x4a000000,
		.src = (const uint8_t *)text,
		.dst = out,
		.len = sizeof(expected)};

	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	sodium_hex2bin(expected, sizeof(expected), hex, strlen(hex), NULL, NULL, NULL);
	inside->seal(inside_lanes, &job, 1);
	assert_memory_equal(out, expected, sizeof(expected));
}

static void test_every_length(void **state)
{
	bool is_long = count_packets() > SHORT_PACKETS;

	for (uint32_t len = 0; len <= LEN_MAX; len++)
		if (is_long)
			for (uint16_t n = 1; n <= AEAD_BURST_MAX; n++)
				try_burst(n, 0, len);
		else
			try_burst(len % 8 == 0 ? 16 : (uint16_t)(1 + len % 7), 0, len);
}

static void test_every_burst_size(void **state)
{
	for (uint16_t n = 1; n <= AEAD_BURST_MAX; n++)
		for (unsigned mixture = 0; mixture < 6; mixture++)
			try_burst(n, mixture, random_below(LEN_MAX + 1));
}

static void test_random_bursts(void **state)
{
	uint64_t wanted = count_packets();

	for (uint64_t done = 0; done < wanted;) {
		uint16_t n = (uint16_t)(1 + random_below(AEAD_BURST_MAX));

		try_burst(n, random_below(6), random_below(LEN_MAX + 1));
		done += n;
	}
}

/* 4096 sends the packets of a set along another way. */
static void test_strides(void **state)
{
	static const uint32_t strides[] = {2048, 2304, 4096};

	for (unsigned s = 0; s < 3; s++) {
		stride = strides[s];
		for (unsigned round = 0; round < 60; round++)
			try_burst((uint16_t)(15 + random_below(AEAD_BURST_MAX - 14)), round % 6,
				random_below(LEN_MAX + 1));
	}
	stride = 2304;
}

static void test_jumbo_frames(void **state)
{
	stride = JUMBO_STRIDE;
	for (uint16_t n = 1; n <= JUMBO_BURST; n++) {
		for (uint16_t i = 0; i < n; i++)
			draw_packet(i, random_below((random_below(4) ? LEN_MAX : JUMBO_MAX) + 1));
		expect_burst(n);
	}
	stride = 2304;
}

static void test_every_bit_of_the_tag(void **state)
{
	for (uint16_t n = 1; n <= 33; n += 16)
		for (unsigned bit = 0; bit < 8 * AEAD_TAG_BYTES; bit++) {
			unsigned victim = random_below(n);
			uint8_t *byte;

			for (uint16_t i = 0; i < n; i++)
				draw_packet(i, random_below(200));
			byte = &sealed[victim][jobs[victim].len + bit / 8];
			*byte ^= (uint8_t)(1u << bit % 8);
			expect_opened(n, bit % 2, 1ULL << victim);
		}
}

static void test_every_byte_of_the_text(void **state)
{
	for (uint32_t len = 1; len <= 300; len += 23)
		for (uint32_t at = 0; at < len; at++) {
			for (uint16_t i = 0; i < 18; i++)
				draw_packet(i, len);
			sealed[at % 18][at] ^= (uint8_t)(1u << at % 8);
			expect_opened(18, at % 2, 1ULL << at % 18);
		}
}

/* Longer than INSIDE_LEN_MAX is refused; the others of the burst do not notice. */
static void test_refuses_too_long(void **state)
{
	static uint8_t huge[2][INSIDE_LEN_MAX + 1 + AEAD_TAG_BYTES], expected[sizeof(huge[0])];
	uint8_t nonce[12] = {0};

	for (unsigned over = 0; over < 2; over++) {
		uint32_t len = INSIDE_LEN_MAX + over;

		for (uint16_t i = 0; i < 20; i++)
			draw_packet(i, i);
		store_le64(nonce + 4, 77);
		memset(huge[0], 7, len);
		crypto_aead_chacha20poly1305_ietf_encrypt(
			expected, NULL, huge[0], len, NULL, 0, NULL, nonce, keys[20]);
		if (over)
			memset(expected, 0, sizeof(expected));
		aim(20, true, true);
		jobs[20] = (struct aead_job){
			.key = keys[20], .counter = 77, .src = huge[0], .dst = huge[1], .len = len};
		inside->seal(inside_lanes, jobs, 21);
		assert_memory_equal(huge[1], expected, len + AEAD_TAG_BYTES);
		for (uint16_t i = 0; i < 20; i++)
			expect_slot(i, sealed[i], jobs[i].len + AEAD_TAG_BYTES);
		aim(20, false, true);
		jobs[20].src = jobs[20].dst = huge[1];
		inside->open(inside_lanes, jobs, 21);
		assert_int_equal(jobs[20].is_authentic, !over);
		assert_int_equal(jobs[19].is_authentic, true);
		assert_int_equal(huge[1][len - 1], over ? 0 : 7);
	}
}

/* Texts that start where memory starts, and end where it ends. */
static void test_stays_inside(void **state)
{
	const uint32_t room = 4096;
	uint8_t *map = mmap(NULL, 2 * room * (AEAD_BURST_MAX + 1), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(map, MAP_FAILED);
	for (unsigned i = 0; i <= AEAD_BURST_MAX; i++)
		assert_int_equal(mprotect(map + 2 * room * i, room, PROT_NONE), 0);
	for (uint32_t len = 0; len <= LEN_MAX; len += 1 + len / 400) {
		uint16_t n = (uint16_t)(1 + random_below(AEAD_BURST_MAX));
		bool is_end = random_below(2);

		for (uint16_t i = 0; i < n; i++) {
			uint8_t *p = map + 2 * room * i + room;

			draw_packet(i, random_below(4) ? len : random_below(len + 1));
			p += is_end ? room - AEAD_TAG_BYTES - jobs[i].len : 0;
			jobs[i].src = jobs[i].dst = memcpy(p, plain[i], jobs[i].len);
		}
		inside->seal(inside_lanes, jobs, n);
		for (uint16_t i = 0; i < n; i++)
			assert_memory_equal(jobs[i].src, sealed[i], jobs[i].len + AEAD_TAG_BYTES);
		inside->open(inside_lanes, jobs, n);
		for (uint16_t i = 0; i < n; i++)
			assert_memory_equal(jobs[i].src, plain[i], jobs[i].len);
	}
	munmap(map, 2 * room * (AEAD_BURST_MAX + 1));
}

/* --- nothing stays ------------------------------------------------------------------------------
 */

#define SECRET_WORDS (AEAD_BURST_MAX * (8 + 3 * 16 + 4))
#define STACK_BYTES  16384

static uint32_t secrets[SECRET_WORDS];
static unsigned n_secrets;

static int compare_words(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Keys, Poly1305 keys (also as r is clamped), and the first blocks of key stream. */
static void collect_secrets(uint16_t n)
{
	static const uint8_t zeros[192];
	uint8_t nonce[12] = {0};

	n_secrets = 0;
	for (uint16_t i = 0; i < n; i++) {
		store_le64(nonce + 4, jobs[i].counter);
		memcpy(secrets + n_secrets, keys[i], 32);
		crypto_stream_chacha20_ietf_xor(
			(uint8_t *)(secrets + n_secrets + 8), zeros, 192, nonce, keys[i]);
		for (unsigned w = 0; w < 4; w++)
			secrets[n_secrets + 56 + w] =
				secrets[n_secrets + 8 + w] & (w == 0 ? 0x0fffffff : 0x0ffffffc);
		n_secrets += 8 + 48 + 4;
	}
	qsort(secrets, n_secrets, sizeof(secrets[0]), compare_words);
}

/* How many words of a memory are secrets: one or two are chance. */
static unsigned count_secrets(const volatile void *memory, size_t bytes)
{
	const volatile uint32_t *words = memory;
	unsigned n = 0;

	for (size_t i = 0; i < bytes / 4; i++) {
		uint32_t word = words[i];

		n += bsearch(&word, secrets, n_secrets, sizeof(word), compare_words) != NULL;
	}
	return n;
}

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifndef HAS_ASAN
#define HAS_ASAN 0
#endif

/* A copy of what lies below the caller's frame; made before anything else is called. */
static uint8_t stack_copy[STACK_BYTES];

static __attribute__((noinline)) void copy_stack(void)
{
	volatile uint8_t here[STACK_BYTES];

	__asm__ volatile("" : : "r"(here) : "memory");
	for (size_t i = 0; i < sizeof(here); i++)
		stack_copy[i] = here[i];
}

/* What the reference left there is not what is looked for. */
static __attribute__((noinline)) void clear_stack(void)
{
	volatile uint8_t here[STACK_BYTES];

	for (size_t i = 0; i < sizeof(here); i++)
		here[i] = 0;
}

static void expect_wiped(uint16_t n, bool is_seal)
{
	static uint8_t registers[INSIDE_REGISTERS]; /* those that are not there stay 0 */

	aim(n, is_seal, true);
	collect_secrets(n);
	clear_stack();
	if (is_seal)
		inside->seal(inside_lanes, jobs, n);
	else
		inside->open(inside_lanes, jobs, n);
	copy_stack();
	assert_in_range(count_secrets(inside_lanes, inside->bytes()), 0, 1);
	/* Red zones make frames larger than what is wiped. */
	if (!HAS_ASAN)
		assert_in_range(count_secrets(stack_copy, sizeof(stack_copy)), 0, 1);
	aim(n, is_seal, true);
	inside->registers(inside_lanes, jobs, n, is_seal, registers);
	for (unsigned i = 0; i < sizeof(registers); i++)
		assert_int_equal(registers[i], 0);
}

static void test_leaves_nothing(void **state)
{
	static const uint16_t sizes[] = {1, 3, 9, 16, 31, 48, 64};

	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
		for (unsigned mixture = 0; mixture < 6; mixture++) {
			for (uint16_t i = 0; i < sizes[s]; i++)
				draw_packet(i, draw_len(mixture, 700));
			expect_wiped(sizes[s], true);
			expect_wiped(sizes[s], false);
			forge(sizes[s], 6);
			expect_wiped(sizes[s], false);
		}
	/* The test can see what it looks for. */
	assert_in_range(count_secrets(keys, sizeof(keys)), 64, UINT32_MAX);
}

static int run_group(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_text),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_every_burst_size),
		cmocka_unit_test(test_random_bursts),
		cmocka_unit_test(test_strides),
		cmocka_unit_test(test_jumbo_frames),
		cmocka_unit_test(test_every_bit_of_the_tag),
		cmocka_unit_test(test_every_byte_of_the_text),
		cmocka_unit_test(test_refuses_too_long),
		cmocka_unit_test(test_stays_inside),
		cmocka_unit_test(test_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	if (sodium_init() < 0)
		return 1;
	random_seed();
	return inside_run_each(run_group);
}
