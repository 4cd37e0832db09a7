/* All back ends of this CPU against libsodium: every length, mixed bursts, in place and not,
 * forgeries, edges.
 */
#include "aead/aead.h"
#include "aead/backend.h"
#include "eal.h"

#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define LEN_MAX	    1600
#define SEALED_MAX  (LEN_MAX + AEAD_TAG_BYTES)
#define GUARD_BYTES 32

/* One packet of a burst with all its buffers. Guards around dst show writes past its end. */
struct packet {
	uint8_t key[AEAD_KEY_BYTES];
	uint8_t plain[LEN_MAX];
	uint8_t sealed[SEALED_MAX]; /* as libsodium says */
	uint8_t out[GUARD_BYTES + SEALED_MAX + GUARD_BYTES];
};

static struct packet packets[AEAD_BURST_MAX];
static struct aead_job jobs[AEAD_BURST_MAX];

/* Lanes come last: not every CPU has them. */
static const enum aead_backend all_backends[] = {AEAD_IPSEC_MB, AEAD_OPENSSL, AEAD_LANES};
static const enum aead_backend *backends = all_backends;
static unsigned n_backends;

static const uint64_t edges[] = {0, 1, 255, 256, UINT32_MAX, UINT32_MAX + 1ULL,
	UINT64_MAX - (1 << 13) - 1, UINT64_MAX - 1, UINT64_MAX};

static uint8_t *out_of(unsigned i)
{
	return packets[i].out + GUARD_BYTES;
}

static void expect_guards(unsigned i, uint32_t n_written)
{
	const struct packet *p = &packets[i];

	for (unsigned j = 0; j < GUARD_BYTES; j++) {
		assert_int_equal(p->out[j], 0xa5);
		assert_int_equal(out_of(i)[n_written + j], 0xa5);
	}
}

static void draw_packet(unsigned i, uint32_t len, uint64_t counter)
{
	struct packet *p = &packets[i];
	uint8_t nonce[AEAD_NONCE_BYTES];

	for (unsigned j = 0; j < sizeof(p->key); j++)
		p->key[j] = (uint8_t)random();
	for (unsigned j = 0; j < len; j++)
		p->plain[j] = (uint8_t)random();
	memset(nonce, 0, 4);
	for (int j = 0; j < 8; j++)
		nonce[4 + j] = (uint8_t)(counter >> 8 * j);
	crypto_aead_chacha20poly1305_ietf_encrypt(
		p->sealed, NULL, p->plain, len, NULL, 0, NULL, nonce, p->key);
	jobs[i] = (struct aead_job){.key = p->key, .counter = counter, .len = len};
}

static void aim(unsigned i, const uint8_t *from, uint32_t n_from, bool is_in_place)
{
	memset(packets[i].out, 0xa5, sizeof(packets[i].out));
	if (is_in_place)
		memcpy(out_of(i), from, n_from);
	jobs[i].src = is_in_place ? out_of(i) : from;
	jobs[i].dst = out_of(i);
}

static void expect_sealed(struct aead *a, uint16_t n, bool is_in_place)
{
	for (uint16_t i = 0; i < n; i++)
		aim(i, packets[i].plain, jobs[i].len, is_in_place);
	aead_seal_burst(a, jobs, n);
	for (uint16_t i = 0; i < n; i++) {
		assert_memory_equal(out_of(i), packets[i].sealed, jobs[i].len + AEAD_TAG_BYTES);
		expect_guards(i, jobs[i].len + AEAD_TAG_BYTES);
	}
}

/* forged: the packet that must be refused, n for none. */
static void expect_opened(struct aead *a, uint16_t n, bool is_in_place, unsigned forged)
{
	for (uint16_t i = 0; i < n; i++) {
		aim(i, packets[i].sealed, jobs[i].len + AEAD_TAG_BYTES, is_in_place);
		jobs[i].is_authentic = i == forged;
	}
	aead_open_burst(a, jobs, n);
	for (uint16_t i = 0; i < n; i++) {
		assert_int_equal(jobs[i].is_authentic, i != forged);
		if (i != forged)
			assert_memory_equal(out_of(i), packets[i].plain, jobs[i].len);
		if (!is_in_place)
			expect_guards(i, jobs[i].len);
		else
			expect_guards(i, jobs[i].len + AEAD_TAG_BYTES);
	}
}

static struct aead *create(unsigned b)
{
	struct aead *a = aead_create(backends[b], SOCKET_ID_ANY);

	assert_non_null(a);
	return a;
}

static void test_every_length(void **state)
{
	for (unsigned b = 0; b < n_backends; b++) {
		struct aead *a = create(b);

		for (uint32_t len = 0; len <= LEN_MAX; len++) {
			draw_packet(0, len, edges[len % RTE_DIM(edges)]);
			for (int is_in_place = 0; is_in_place < 2; is_in_place++) {
				expect_sealed(a, 1, is_in_place);
				expect_opened(a, 1, is_in_place, 1);
			}
		}
		aead_destroy(a);
	}
}

static void test_mixed_bursts(void **state)
{
	for (unsigned b = 0; b < n_backends; b++) {
		struct aead *a = create(b);

		aead_seal_burst(a, jobs, 0);
		aead_open_burst(a, jobs, 0);
		for (uint16_t n = 1; n <= AEAD_BURST_MAX; n++) {
			for (uint16_t i = 0; i < n; i++)
				draw_packet(i, (uint32_t)random() % (n % 4 == 0 ? 80 : LEN_MAX + 1),
					(uint64_t)random() << 32 ^ (uint64_t)random());
			expect_sealed(a, n, n % 2 == 0);
			expect_opened(a, n, n % 3 == 0, n);
		}
		aead_destroy(a);
	}
}

/* Every bit of the tag, and every byte of the ciphertext: refused, and the neighbours are not
 * touched. */
static void test_forgeries(void **state)
{
	static const uint32_t lens[] = {0, 1, 16, 64, 65, 300, 1420};

	for (unsigned b = 0; b < n_backends; b++) {
		struct aead *a = create(b);

		for (unsigned l = 0; l < RTE_DIM(lens); l++) {
			for (uint16_t i = 0; i < 5; i++)
				draw_packet(i, i == 2 ? lens[l] : (uint32_t)random() % 100, i);
			for (uint32_t bit = 0; bit < 8 * AEAD_TAG_BYTES; bit++) {
				uint8_t *byte = &packets[2].sealed[lens[l] + bit / 8];

				*byte ^= (uint8_t)(1 << bit % 8);
				expect_opened(a, 5, bit % 2 == 0, 2);
				*byte ^= (uint8_t)(1 << bit % 8);
			}
			for (uint32_t at = 0; at < lens[l]; at++) {
				packets[2].sealed[at] ^= 0x10;
				expect_opened(a, 5, at % 2 == 0, 2);
				packets[2].sealed[at] ^= 0x10;
			}
			jobs[2].counter ^= 1ULL << 63;
			expect_opened(a, 5, false, 2);
			jobs[2].counter ^= 1ULL << 63;
			packets[2].key[31] ^= 1;
			expect_opened(a, 5, false, 2);
			packets[2].key[31] ^= 1;
			expect_opened(a, 5, false, 5);
		}
		aead_destroy(a);
	}
}

/* Buffers that end where memory ends: neither reads nor writes go further. */
static void test_stays_inside(void **state)
{
	long page = sysconf(_SC_PAGESIZE);
	uint8_t *map = mmap(
		NULL, 4 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *src_end = map + page, *dst_end = map + 3 * page;

	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mprotect(src_end, (size_t)page, PROT_NONE), 0);
	assert_int_equal(mprotect(dst_end, (size_t)page, PROT_NONE), 0);
	for (unsigned b = 0; b < n_backends; b++) {
		struct aead *a = create(b);

		for (uint32_t len = 0; len <= LEN_MAX; len++) {
			uint32_t sealed_len = len + AEAD_TAG_BYTES;

			draw_packet(0, len, len);
			jobs[0].src = memcpy(src_end - len, packets[0].plain, len);
			jobs[0].dst = dst_end - sealed_len;
			aead_seal_burst(a, jobs, 1);
			assert_memory_equal(jobs[0].dst, packets[0].sealed, sealed_len);
			jobs[0].src = memcpy(src_end - sealed_len, packets[0].sealed, sealed_len);
			jobs[0].dst = dst_end - len;
			aead_open_burst(a, jobs, 1);
			assert_true(jobs[0].is_authentic);
			assert_memory_equal(jobs[0].dst, packets[0].plain, len);
		}
		aead_destroy(a);
	}
	munmap(map, 4 * (size_t)page);
}

static void test_select(void **state)
{
	uint64_t cycles = 0;
	enum aead_backend b;

	for (unsigned i = 0; i < n_backends; i++) {
		assert_int_equal(aead_select(backends[i], &cycles), backends[i]);
		assert_true(cycles != 0);
		printf("%s: %lu cycles\n", aead_backend_name(backends[i]), (unsigned long)cycles);
	}
	b = aead_select(AEAD_AUTO, NULL);
	assert_true(b == AEAD_IPSEC_MB || b == AEAD_OPENSSL ||
		    (b == AEAD_LANES && n_backends == RTE_DIM(all_backends)));
	assert_int_equal(aead_select((enum aead_backend)99, NULL), AEAD_AUTO);
	assert_null(aead_create(AEAD_AUTO, SOCKET_ID_ANY));
	assert_null(aead_create((enum aead_backend)99, SOCKET_ID_ANY));
	assert_string_equal(aead_backend_name(AEAD_IPSEC_MB), "ipsec-mb");
	assert_string_equal(aead_backend_name(AEAD_OPENSSL), "openssl");
	assert_string_equal(aead_backend_name(AEAD_LANES), "lanes");
	assert_string_equal(aead_backend_name(AEAD_AUTO), "auto");
	aead_destroy(NULL);
}

/* A CPU without AVX-512, or one that is to be taken for such, does as before. */
static void test_lanes_forbidden(void **state)
{
	enum aead_backend b;

	assert_int_equal(setenv("PORTIER_AEAD_LANES", "forbid", 1), 0);
	assert_null(aead_create(AEAD_LANES, SOCKET_ID_ANY));
	assert_int_equal(aead_select(AEAD_LANES, NULL), AEAD_AUTO);
	b = aead_select(AEAD_AUTO, NULL);
	assert_true(b == AEAD_IPSEC_MB || b == AEAD_OPENSSL);
	assert_int_equal(unsetenv("PORTIER_AEAD_LANES"), 0);
}

/* A back end that is wrong in one way; the self-test must see each. */
static enum {
	ACCEPTS_ALL,
	REFUSES_ALL,
	IGNORES_KEYS,
	SKIPS_LAST,
	BREAKS_LONG,
	BREAKS_SINGLE,
	BREAKS_FEW,
} fault;

static void faulty_seal(void *state, struct aead_job *js, uint16_t n)
{
	const uint8_t *key = js[0].key;

	for (uint16_t i = 0; fault == IGNORES_KEYS && i < n; i++)
		js[i].key = key;
	aead_openssl_ops.seal_burst(state, js, fault == SKIPS_LAST ? n - 1 : n);
	for (uint16_t i = 0; fault == BREAKS_LONG && i < n; i++)
		if (js[i].len == 1424)
			js[i].dst[1024] ^= 1;
	if ((fault == BREAKS_SINGLE && n == 1) || (fault == BREAKS_FEW && n > 1 && n < 16))
		js[0].dst[js[0].len] ^= 1;
}

static void faulty_open(void *state, struct aead_job *js, uint16_t n)
{
	aead_openssl_ops.open_burst(state, js, n);
	for (uint16_t i = 0; i < n; i++) {
		if (fault == ACCEPTS_ALL)
			js[i].is_authentic = true;
		if (fault == REFUSES_ALL)
			js[i].is_authentic = false;
	}
}

static void test_selftest_sees_faults(void **state)
{
	static const struct aead_ops faulty = {
		.seal_burst = faulty_seal, .open_burst = faulty_open};
	void *openssl = aead_openssl_ops.create(SOCKET_ID_ANY);

	assert_non_null(openssl);
	assert_true(aead_selftest(&aead_openssl_ops, openssl));
	for (fault = ACCEPTS_ALL; fault <= BREAKS_FEW; fault++)
		assert_false(aead_selftest(&faulty, openssl));
	aead_openssl_ops.destroy(openssl);
}

/* Every burst through the lanes, whatever its size; and through those that have no AVX-512. */
static int run_forced(const char *how)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_mixed_bursts),
		cmocka_unit_test(test_forgeries),
	};
	static const enum aead_backend lanes_only[] = {AEAD_LANES};
	int failed;

	printf("PORTIER_AEAD_LANES=%s\n", how);
	setenv("PORTIER_AEAD_LANES", how, 1);
	backends = lanes_only;
	n_backends = 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unsetenv("PORTIER_AEAD_LANES");
	return failed;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_mixed_bursts),
		cmocka_unit_test(test_forgeries),
		cmocka_unit_test(test_stays_inside),
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_lanes_forbidden),
		cmocka_unit_test(test_selftest_sees_faults),
	};

	struct aead *lanes;
	int failed;

	eal_start();
	lanes = aead_create(AEAD_LANES, SOCKET_ID_ANY);
	n_backends = lanes ? 3 : 2;
	aead_destroy(lanes);
	if (sodium_init() < 0)
		return 1;
	srandom((unsigned)eal_test_seed(8439));
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (n_backends == RTE_DIM(all_backends))
		failed += run_forced("force") + run_forced("avx2");
	return failed;
}
