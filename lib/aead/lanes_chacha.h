/* lanes_chacha.h - ChaCha20 in columns: 16 (or 8) blocks of any packets, a block a lane.
 *
 * Spec:    RFC 8439, 2.1 to 2.4. Word i of all blocks is one vector; rows are the blocks.
 * Threads: pure functions. Only for lanes.c, which is compiled for AVX-512.
 */
#ifndef PORTIER_AEAD_LANES_CHACHA_H
#define PORTIER_AEAD_LANES_CHACHA_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_BYTES 64
#define N_LANES	    16

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef uint32_t v16 __attribute__((vector_size(64)));
typedef uint32_t v8 __attribute__((vector_size(32)));

/* Where the block of each lane goes: dst = src ^ block, in the bytes of mask. */
struct rows {
	const uint8_t *src[N_LANES];
	uint8_t *dst[N_LANES];
	uint64_t mask[N_LANES];
	uint64_t step[N_LANES]; /* from a column to the next */
};

/* What the lanes of a column are blocks of. */
struct column {
	const uint8_t *keys[N_LANES];
	uint64_t counters[N_LANES]; /* the nonce */
	uint32_t blocks[N_LANES];   /* the block counter */
};

/* The state without its constants: words 4 to 11, 12 (the block counter), 14 and 15. Word 13, the
 * first of WireGuard's nonce, is 0. */
struct state16 {
	v16 key[8], block, nonce[2];
};

/* Words 1 to 3 of each row of the state after the first round, which the block counter does not
 * reach: they are the same for all blocks of a packet. */
struct first_round {
	v16 words[12];
};

/* A macro, as it serves vectors of both sizes. */
#define ROTATE(x, n) ((x) << (n) | (x) >> (32 - (n)))
#define MIX(x, a, b, d, n)                           \
	do {                                         \
		(x)[a] += (x)[b];                    \
		(x)[d] = ROTATE((x)[d] ^ (x)[a], n); \
	} while (0)

/* Four quarter rounds side by side; gcc keeps an array in registers only if its indices are
 * constants from the start. */
#define HALF_ROUND(x, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, n, m) \
	do {                                                                \
		MIX(x, 0, b0, d0, n);                                       \
		MIX(x, 1, b1, d1, n);                                       \
		MIX(x, 2, b2, d2, n);                                       \
		MIX(x, 3, b3, d3, n);                                       \
		MIX(x, c0, d0, b0, m);                                      \
		MIX(x, c1, d1, b1, m);                                      \
		MIX(x, c2, d2, b2, m);                                      \
		MIX(x, c3, d3, b3, m);                                      \
	} while (0)
#define ROUND(x, ...)                               \
	do {                                        \
		HALF_ROUND(x, __VA_ARGS__, 16, 12); \
		HALF_ROUND(x, __VA_ARGS__, 8, 7);   \
	} while (0)
#define COLUMN_ROUND(x)	  ROUND(x, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define DIAGONAL_ROUND(x) ROUND(x, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14)
/* The quarter round that meets the block counter. */
#define FIRST_QUARTER(x)              \
	do {                          \
		MIX(x, 0, 4, 12, 16); \
		MIX(x, 8, 12, 4, 12); \
		MIX(x, 0, 4, 12, 8);  \
		MIX(x, 8, 12, 4, 7);  \
	} while (0)
/* All rounds but the first. */
#define LATER_ROUNDS(x)                                     \
	do {                                                \
		for (unsigned pair = 0; pair < 9; pair++) { \
			DIAGONAL_ROUND(x);                  \
			COLUMN_ROUND(x);                    \
		}                                           \
		DIAGONAL_ROUND(x);                          \
	} while (0)

/* "expand 32-byte k" */
static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

ALWAYS_INLINE v16 splat(uint32_t word)
{
	return (v16)_mm512_set1_epi32((int)word);
}

ALWAYS_INLINE __m512i load_two_keys(const uint8_t *a, const uint8_t *b)
{
	__m512i low = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)a));

	return _mm512_inserti64x4(low, _mm256_loadu_si256((const void *)b), 1);
}

/* out[w]: words w (first and third 128 bits) and 4 + w (second and fourth) of a key each. */
ALWAYS_INLINE void transpose_keys(__m512i out[4], const uint8_t *const keys[8])
{
	__m512i k0 = load_two_keys(keys[0], keys[4]), k1 = load_two_keys(keys[1], keys[5]);
	__m512i k2 = load_two_keys(keys[2], keys[6]), k3 = load_two_keys(keys[3], keys[7]);
	__m512i t0 = _mm512_unpacklo_epi32(k0, k1), t1 = _mm512_unpackhi_epi32(k0, k1);
	__m512i t2 = _mm512_unpacklo_epi32(k2, k3), t3 = _mm512_unpackhi_epi32(k2, k3);

	out[0] = _mm512_unpacklo_epi64(t0, t2);
	out[1] = _mm512_unpackhi_epi64(t0, t2);
	out[2] = _mm512_unpacklo_epi64(t1, t3);
	out[3] = _mm512_unpackhi_epi64(t1, t3);
}

ALWAYS_INLINE void load_state(struct state16 *s, const struct column *c)
{
	const __m512i evens =
		_mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
	const __m512i odds =
		_mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
	__m512i low[4], high[4];
	__m512i c0 = _mm512_loadu_si512(c->counters), c1 = _mm512_loadu_si512(c->counters + 8);

	transpose_keys(low, c->keys);
	transpose_keys(high, c->keys + 8);
	for (unsigned w = 0; w < 4; w++) {
		s->key[w] = (v16)_mm512_shuffle_i64x2(low[w], high[w], 0x88);
		s->key[4 + w] = (v16)_mm512_shuffle_i64x2(low[w], high[w], 0xdd);
	}
	s->nonce[0] = (v16)_mm512_permutex2var_epi32(c0, evens, c1);
	s->nonce[1] = (v16)_mm512_permutex2var_epi32(c0, odds, c1);
	s->block = (v16)_mm512_loadu_si512(c->blocks);
}

ALWAYS_INLINE void fill_words(v16 x[16], const struct state16 *s)
{
	for (unsigned w = 0; w < 4; w++)
		x[w] = splat(constants[w]);
	for (unsigned w = 0; w < 8; w++)
		x[4 + w] = s->key[w];
	x[12] = s->block;
	x[13] = splat(0);
	x[14] = s->nonce[0];
	x[15] = s->nonce[1];
}

/* RFC 8439, 2.3: the initial state is added. */
ALWAYS_INLINE void add_words(v16 x[16], const struct state16 *s)
{
	for (unsigned w = 0; w < 4; w++)
		x[w] += splat(constants[w]);
	for (unsigned w = 0; w < 8; w++)
		x[4 + w] += s->key[w];
	x[12] += s->block;
	x[14] += s->nonce[0];
	x[15] += s->nonce[1];
}

ALWAYS_INLINE void save_first_round(struct first_round *f, const v16 x[16])
{
	for (unsigned i = 0; i < 12; i++)
		f->words[i] = x[4 * (i / 3) + 1 + i % 3];
}

ALWAYS_INLINE void load_first_round(v16 x[16], const struct first_round *f)
{
	for (unsigned i = 0; i < 12; i++)
		x[4 * (i / 3) + 1 + i % 3] = f->words[i];
}

/* From words of 16 blocks to 16 rows of a block each. */
ALWAYS_INLINE void transpose(__m512i rows[16], const v16 x[16])
{
	__m512i t[16], u[16];

	for (unsigned i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_epi32((__m512i)x[i], (__m512i)x[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32((__m512i)x[i], (__m512i)x[i + 1]);
	}
	/* u[4 q + r]: words 4 q to 4 q + 3 of the blocks r, 4 + r, 8 + r, 12 + r. */
	for (unsigned i = 0; i < 16; i += 4) {
		u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	for (unsigned r = 0; r < 4; r++) {
		__m512i a = _mm512_shuffle_i32x4(u[r], u[4 + r], 0x44);
		__m512i b = _mm512_shuffle_i32x4(u[r], u[4 + r], 0xee);
		__m512i c = _mm512_shuffle_i32x4(u[8 + r], u[12 + r], 0x44);
		__m512i d = _mm512_shuffle_i32x4(u[8 + r], u[12 + r], 0xee);

		rows[r] = _mm512_shuffle_i32x4(a, c, 0x88);
		rows[4 + r] = _mm512_shuffle_i32x4(a, c, 0xdd);
		rows[8 + r] = _mm512_shuffle_i32x4(b, d, 0x88);
		rows[12 + r] = _mm512_shuffle_i32x4(b, d, 0xdd);
	}
}

ALWAYS_INLINE void apply_row(const struct rows *r, unsigned i, __m512i block, bool is_whole)
{
	__mmask64 mask = r->mask[i];

	if (is_whole)
		_mm512_storeu_si512(
			r->dst[i], _mm512_xor_si512(block, _mm512_loadu_si512(r->src[i])));
	else
		_mm512_mask_storeu_epi8(r->dst[i], mask,
			_mm512_xor_si512(block, _mm512_maskz_loadu_epi8(mask, r->src[i])));
}

ALWAYS_INLINE void apply_rows(const struct rows *rows, const v16 x[16], bool is_whole)
{
	__m512i blocks[16];

	transpose(blocks, x);
#pragma GCC unroll 16
	for (unsigned i = 0; i < N_LANES; i++)
		apply_row(rows, i, blocks[i], is_whole);
}

ALWAYS_INLINE void advance_rows(struct rows *r)
{
#pragma GCC unroll 2
	for (unsigned i = 0; i < N_LANES; i += 8) {
		__m512i step = _mm512_loadu_si512(r->step + i);

		_mm512_storeu_si512(
			r->src + i, _mm512_add_epi64(_mm512_loadu_si512(r->src + i), step));
		_mm512_storeu_si512(
			r->dst + i, _mm512_add_epi64(_mm512_loadu_si512(r->dst + i), step));
	}
}

/* Half a column, in vectors of half the size: lanes 0 to 7. */
ALWAYS_INLINE void fill_words8(v8 x[16], const struct state16 *s)
{
	v16 whole[16];

	fill_words(whole, s);
	for (unsigned w = 0; w < 16; w++)
		x[w] = (v8)_mm512_castsi512_si256((__m512i)whole[w]);
}

ALWAYS_INLINE void add_words8(v8 x[16], const struct state16 *s)
{
	v8 y[16];

	fill_words8(y, s);
	for (unsigned w = 0; w < 16; w++)
		x[w] += y[w];
}

ALWAYS_INLINE void apply_rows8(const struct rows *rows, const v8 x[16], bool is_whole)
{
	__m256i t[16], u[16];

	for (unsigned i = 0; i < 16; i += 2) {
		t[i] = _mm256_unpacklo_epi32((__m256i)x[i], (__m256i)x[i + 1]);
		t[i + 1] = _mm256_unpackhi_epi32((__m256i)x[i], (__m256i)x[i + 1]);
	}
	for (unsigned i = 0; i < 16; i += 4) {
		u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
		u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
		u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
		u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	for (unsigned r = 0; r < 4; r++) {
		/* Words 0 to 7 and 8 to 15 of block r, then of block 4 + r. */
		__m256i a = _mm256_permute2x128_si256(u[r], u[4 + r], 0x20);
		__m256i b = _mm256_permute2x128_si256(u[8 + r], u[12 + r], 0x20);
		__m256i c = _mm256_permute2x128_si256(u[r], u[4 + r], 0x31);
		__m256i d = _mm256_permute2x128_si256(u[8 + r], u[12 + r], 0x31);

		apply_row(rows, r, _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1), is_whole);
		apply_row(
			rows, 4 + r, _mm512_inserti64x4(_mm512_castsi256_si512(c), d, 1), is_whole);
	}
}

#endif
