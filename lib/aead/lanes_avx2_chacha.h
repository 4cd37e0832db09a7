/* lanes_avx2_chacha.h - ChaCha20 in columns: 8 blocks of any packets, a block a lane.
 *
 * Spec:    RFC 8439, 2.1 to 2.4. Word i of all blocks is one vector; rows are the blocks.
 * Threads: pure functions. Only for lanes_avx2.c, which is compiled for AVX2.
 */
#ifndef PORTIER_AEAD_LANES_AVX2_CHACHA_H
#define PORTIER_AEAD_LANES_AVX2_CHACHA_H

#include "aead/lanes_rounds.h"

#include <immintrin.h>
#include <stdint.h>

#define BLOCK_BYTES 64
#define N_LANES	    8

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* The state without its constants: words 4 to 11, 12 (the block counter), 14 and 15. Word 13, the
 * first of WireGuard's nonce, is 0. */
struct state8 {
	__m256i key[8], block, nonce[2];
};

/* "expand 32-byte k" */
static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

ALWAYS_INLINE __m256i splat(uint32_t word)
{
	return _mm256_set1_epi32((int)word);
}

/* Which bytes come where when all words are rotated by 16 and by 8. */
static const uint8_t rotated16[32] __attribute__((aligned(32))) = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11,
	8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
static const uint8_t rotated8[32] __attribute__((aligned(32))) = {3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9,
	10, 15, 12, 13, 14, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14};

/* n is a constant. Where bytes change places, their order is an operand in memory: the state fills
 * all registers, and gcc would keep it in one. */
ALWAYS_INLINE __m256i rotate(__m256i x, int n)
{
	if (n == 16)
		__asm__("vpshufb %1, %0, %0" : "+x"(x) : "m"(rotated16));
	else if (n == 8)
		__asm__("vpshufb %1, %0, %0" : "+x"(x) : "m"(rotated8));
	else
		x = _mm256_or_si256(_mm256_slli_epi32(x, n), _mm256_srli_epi32(x, 32 - n));
	return x;
}

#define MIX(x, a, b, d, n)                                            \
	do {                                                          \
		(x)[a] = _mm256_add_epi32((x)[a], (x)[b]);            \
		(x)[d] = rotate(_mm256_xor_si256((x)[d], (x)[a]), n); \
	} while (0)

/* 8 rows of 8 words to 8 columns, and back. */
ALWAYS_INLINE void transpose(const __m256i in[8], __m256i out[8])
{
	__m256i t[8], u[8];

#pragma GCC unroll 4
	for (unsigned i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_epi32(in[i], in[i + 1]);
		t[i + 1] = _mm256_unpackhi_epi32(in[i], in[i + 1]);
	}
#pragma GCC unroll 2
	for (unsigned i = 0; i < 8; i += 4) {
		u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
		u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
		u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
		u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++) {
		out[i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x20);
		out[4 + i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x31);
	}
}

/* Keys and nonces of 8 packets; the block counter is the caller's to set. */
ALWAYS_INLINE void load_state(
	struct state8 *s, const uint8_t *const keys[N_LANES], const uint64_t counters[N_LANES])
{
	const __m256i evens = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
	__m256i rows[8], low, high;

#pragma GCC unroll 8
	for (unsigned i = 0; i < N_LANES; i++)
		rows[i] = _mm256_loadu_si256((const void *)keys[i]);
	transpose(rows, s->key);
	/* Low words of four counters, then their high words. */
	low = _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const void *)counters), evens);
	high = _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const void *)(counters + 4)), evens);
	s->nonce[0] = _mm256_permute2x128_si256(low, high, 0x20);
	s->nonce[1] = _mm256_permute2x128_si256(low, high, 0x31);
}

/* The same packet in all lanes. */
ALWAYS_INLINE void load_state_of_one(struct state8 *s, const uint8_t *key, uint64_t counter)
{
#pragma GCC unroll 8
	for (unsigned w = 0; w < 8; w++) {
		uint32_t word;

		__builtin_memcpy(&word, key + 4 * (size_t)w, 4);
		s->key[w] = splat(word);
	}
	s->nonce[0] = splat((uint32_t)counter);
	s->nonce[1] = splat((uint32_t)(counter >> 32));
}

/* The 20 rounds are ROUND_PAIRS pairs. */
#define ROUND_PAIRS 10

/* The initial state (RFC 8439, 2.3), and its addition after the rounds. */
ALWAYS_INLINE void fill_words(const struct state8 *s, __m256i x[16])
{
#pragma GCC unroll 4
	for (unsigned w = 0; w < 4; w++)
		x[w] = splat(constants[w]);
#pragma GCC unroll 8
	for (unsigned w = 0; w < 8; w++)
		x[4 + w] = s->key[w];
	x[12] = s->block;
	x[13] = _mm256_setzero_si256();
	x[14] = s->nonce[0];
	x[15] = s->nonce[1];
}

ALWAYS_INLINE void add_words(const struct state8 *s, __m256i x[16])
{
#pragma GCC unroll 4
	for (unsigned w = 0; w < 4; w++)
		x[w] = _mm256_add_epi32(x[w], splat(constants[w]));
#pragma GCC unroll 8
	for (unsigned w = 0; w < 8; w++)
		x[4 + w] = _mm256_add_epi32(x[4 + w], s->key[w]);
	x[12] = _mm256_add_epi32(x[12], s->block);
	x[14] = _mm256_add_epi32(x[14], s->nonce[0]);
	x[15] = _mm256_add_epi32(x[15], s->nonce[1]);
}

/* dst = src ^ block, whole blocks. */
ALWAYS_INLINE void apply_column(
	const __m256i x[16], const uint8_t *const src[N_LANES], uint8_t *const dst[N_LANES])
{
#pragma GCC unroll 2
	for (unsigned half = 0; half < 2; half++) {
		__m256i rows[8];

		transpose(x + 8 * half, rows);
#pragma GCC unroll 8
		for (unsigned i = 0; i < N_LANES; i++) {
			const __m256i *from = (const __m256i *)src[i] + half;

			_mm256_storeu_si256((__m256i *)dst[i] + half,
				_mm256_xor_si256(rows[i], _mm256_loadu_si256(from)));
		}
	}
}

/* The first, or second, halves of the blocks to 8 places that are stride bytes apart. */
ALWAYS_INLINE void store_halves(const __m256i words[8], uint8_t *to, size_t stride)
{
	__m256i rows[8];

	transpose(words, rows);
#pragma GCC unroll 8
	for (unsigned i = 0; i < N_LANES; i++)
		_mm256_storeu_si256((void *)(to + i * stride), rows[i]);
}

#endif
