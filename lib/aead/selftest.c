/* selftest.c - what a back end must do right before it is trusted with traffic. */
#include "aead/backend.h"

#include <openssl/crypto.h>

#include <assert.h>

/* RFC 8439, appendix A.5: key, nonce 00000000 0102030405060708 and the first 64 bytes. The tag is
 * of these bytes without the associated data of the RFC, which WireGuard does not have. */
static const uint8_t rfc_key[AEAD_KEY_BYTES] = {0x1c, 0x92, 0x40, 0xa5, 0xeb, 0x55, 0xd3, 0x8a,
	0xf3, 0x33, 0x88, 0x86, 0x04, 0xf6, 0xb5, 0xf0, 0x47, 0x39, 0x17, 0xc1, 0x40, 0x2b, 0x80,
	0x09, 0x9d, 0xca, 0x5c, 0xbc, 0x20, 0x70, 0x75, 0xc0};
#define RFC_COUNTER 0x0807060504030201
static const uint8_t rfc_plain[64] =
	"Internet-Drafts are draft documents valid for a maximum of six m";
static const uint8_t rfc_sealed[sizeof(rfc_plain) + AEAD_TAG_BYTES] = {0x64, 0xa0, 0x86, 0x15, 0x75,
	0x86, 0x1a, 0xf4, 0x60, 0xf0, 0x62, 0xc7, 0x9b, 0xe6, 0x43, 0xbd, 0x5e, 0x80, 0x5c, 0xfd,
	0x34, 0x5c, 0xf3, 0x89, 0xf1, 0x08, 0x67, 0x0a, 0xc7, 0x6c, 0x8c, 0xb2, 0x4c, 0x6c, 0xfc,
	0x18, 0x75, 0x5d, 0x43, 0xee, 0xa0, 0x9e, 0xe9, 0x4e, 0x38, 0x2d, 0x26, 0xb0, 0xbd, 0xb7,
	0xb7, 0x3c, 0x32, 0x1b, 0x01, 0x00, 0xd4, 0xf0, 0x3b, 0x7f, 0x35, 0x58, 0x94, 0xcf, 0x6a,
	0x03, 0x47, 0x0a, 0xd6, 0x73, 0xe5, 0xd2, 0x76, 0x44, 0x7e, 0x00, 0x0e, 0x77, 0x16, 0xc4};

/* Lengths around every block and vector size, counters at every edge. Key byte j of vector i is 17
 * i + j, plaintext byte j is i + j + j / 256. The tags are OpenSSL's; libsodium agrees. */
static const struct vector {
	uint32_t len;
	uint64_t counter, tag_be64[2];
} vectors[] = {
	{0, 0x0, {0x10324f800a160bd9, 0xa1794255be7ec29d}},
	{1, 0x1, {0x8ff2d5bae9543c7f, 0x9e5d5f57d516b646}},
	{15, 0xffffffff, {0xbf28cc91e203d956, 0x9dd847ce497d7726}},
	{16, 0x100000000, {0xd98796c6e9771cbc, 0x81cfcbab09c82f79}},
	{17, 0xffffffffffffdffe, {0xad38468a174d792a, 0x1f0a8b1bc6f80fd8}},
	{63, 0xffffffffffffffff, {0x2db2fd4b359e741e, 0x3d85a524361ee374}},
	{64, 0x123456789abcdef, {0x8d36f5bca3707d03, 0xb89640ab53b58aa5}},
	{65, 0x0, {0xbe56db343028b2b1, 0xd0b4258211bf641b}},
	{127, 0x1, {0x5008d9b7512414a1, 0xcfe90b9e56b27137}},
	{128, 0xffffffff, {0x95019aa6ebaba57e, 0x679ce92b8291fa5e}},
	{192, 0x100000000, {0x34020b07535c8b15, 0xa9bd2ae4e9f4ad2f}},
	{255, 0xffffffffffffdffe, {0x35b92c6eeecd9189, 0xa8b62361fb24bc62}},
	{256, 0xffffffffffffffff, {0x1806ae0ff9183df6, 0x112942512d241114}},
	{257, 0x123456789abcdef, {0x855826f3f1b630f9, 0xe81e2d4ede16ab10}},
	{320, 0x0, {0xb24dba2b491bd5e6, 0x706c11535cc3aa10}},
	{511, 0x1, {0x6558749e0d0f892b, 0x9b7f18f338587f72}},
	{512, 0xffffffff, {0x54f3650a1f239188, 0x59888e6399c3cb85}},
	{513, 0x100000000, {0x20c2625499358df7, 0xd9730c0c0bf74d4e}},
	{768, 0xffffffffffffdffe, {0xb296ea3ea7c0ec9b, 0x6f3a22f6ff6119d9}},
	{1023, 0xffffffffffffffff, {0xbafbbf65ded61df9, 0x8b3a5668cd0bfbef}},
	{1024, 0x123456789abcdef, {0x1639142352afd2d1, 0x89199de08ad1cdf3}},
	{1088, 0x0, {0x1f1640ddd024825c, 0xdc0ee325c1543c01}},
	{1280, 0x1, {0xe1ef7158cd0e39ce, 0xb9def89d089ae440}},
	{1420, 0xffffffff, {0x14c977ea59ae4b06, 0x5c4e8fc09eaab06c}},
	{1424, 0x100000000, {0x5fc32fa56358828f, 0x6f30c5acd14ccef7}},
};

#define N_VECTORS (sizeof(vectors) / sizeof(vectors[0]))
#define N_JOBS	  (N_VECTORS + 1)
#define LEN_MAX	  1424

/* All vectors, sealed from plain to sealed and opened in place there, in bursts of up to n_burst: a
 * back end may have another way for few packets than for many. */
struct bench {
	uint16_t n_burst;
	struct aead_job jobs[N_JOBS];
	uint8_t keys[N_JOBS][AEAD_KEY_BYTES];
	uint8_t plain[N_JOBS][LEN_MAX];
	uint8_t sealed[N_JOBS][LEN_MAX + AEAD_TAG_BYTES];
};

static_assert(N_JOBS <= AEAD_BURST_MAX, "one burst");
static const uint16_t burst_sizes[] = {N_JOBS, 1, 4};

static void run_bursts(
	struct bench *b, void *state, void (*run)(void *state, struct aead_job *jobs, uint16_t n))
{
	for (uint16_t at = 0; at < N_JOBS; at += b->n_burst)
		run(state, b->jobs + at, N_JOBS - at < b->n_burst ? N_JOBS - at : b->n_burst);
}

static void fill_plain(struct bench *b)
{
	for (unsigned i = 0; i < N_VECTORS; i++) {
		for (unsigned j = 0; j < AEAD_KEY_BYTES; j++)
			b->keys[i][j] = (uint8_t)(17 * i + j);
		for (unsigned j = 0; j < vectors[i].len; j++)
			b->plain[i][j] = (uint8_t)(i + j + j / 256);
		b->jobs[i].counter = vectors[i].counter;
		b->jobs[i].len = vectors[i].len;
	}
	memcpy(b->keys[N_VECTORS], rfc_key, sizeof(rfc_key));
	memcpy(b->plain[N_VECTORS], rfc_plain, sizeof(rfc_plain));
	b->jobs[N_VECTORS].counter = RFC_COUNTER;
	b->jobs[N_VECTORS].len = sizeof(rfc_plain);
}

static bool seals_right(const struct aead_ops *ops, void *state, struct bench *b)
{
	for (unsigned i = 0; i < N_JOBS; i++) {
		b->jobs[i].key = b->keys[i];
		b->jobs[i].src = b->plain[i];
		b->jobs[i].dst = b->sealed[i];
	}
	run_bursts(b, state, ops->seal_burst);
	for (unsigned i = 0; i < N_VECTORS; i++) {
		const uint8_t *tag = b->sealed[i] + vectors[i].len;

		if (load_be64(tag) != vectors[i].tag_be64[0] ||
			load_be64(tag + 8) != vectors[i].tag_be64[1])
			return false;
	}
	return memcmp(b->sealed[N_VECTORS], rfc_sealed, sizeof(rfc_sealed)) == 0;
}

/* Opens what is in sealed, in place; forged names a job whose bytes were changed, N_JOBS none. */
static bool opens_right(const struct aead_ops *ops, void *state, struct bench *b, unsigned forged)
{
	for (unsigned i = 0; i < N_JOBS; i++) {
		b->jobs[i].src = b->sealed[i];
		b->jobs[i].dst = b->sealed[i];
		b->jobs[i].is_authentic = false;
	}
	run_bursts(b, state, ops->open_burst);
	for (unsigned i = 0; i < N_JOBS; i++) {
		if (b->jobs[i].is_authentic != (i != forged))
			return false;
		if (i != forged && memcmp(b->sealed[i], b->plain[i], b->jobs[i].len) != 0)
			return false;
	}
	return true;
}

/* Each job in turn with one bit wrong, in the tag or in the first or last byte before it. */
static bool refuses_forgeries(const struct aead_ops *ops, void *state, struct bench *b)
{
	bool is_right = true;

	for (unsigned i = 0; is_right && i < 3 * N_JOBS; i++) {
		unsigned job = i / 3;
		uint32_t len = b->jobs[job].len;
		uint32_t at = i % 3 == 0 || len == 0 ? len + i % AEAD_TAG_BYTES
			      : i % 3 == 1	     ? 0
						     : len - 1;

		is_right = seals_right(ops, state, b);
		b->sealed[job][at] ^= (uint8_t)(1 << i % 8);
		is_right = is_right && opens_right(ops, state, b, job);
	}
	return is_right;
}

bool aead_selftest(const struct aead_ops *ops, void *state)
{
	struct bench *b = OPENSSL_zalloc(sizeof(*b));
	bool is_right = b != NULL;

	if (b == NULL)
		return false;
	fill_plain(b);
	for (unsigned i = 0; is_right && i < sizeof(burst_sizes) / sizeof(burst_sizes[0]); i++) {
		b->n_burst = burst_sizes[i];
		is_right = seals_right(ops, state, b) && opens_right(ops, state, b, N_JOBS) &&
			   refuses_forgeries(ops, state, b);
	}
	OPENSSL_free(b);
	return is_right;
}
