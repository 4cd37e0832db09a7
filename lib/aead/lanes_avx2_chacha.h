/* lanes_avx2_chacha.h - ChaCha20 in columns: 8 blocks of any packets, a block a lane.
 *
 * Spec:    RFC 8439, 2.1 to 2.4. Word i of all blocks is one vector; rows are the blocks.
 * Threads: pure functions. Only for lanes_avx2.c, which is compiled for AVX2.
 */
#ifndef PORTIER_AEAD_LANES_AVX2_CHACHA_H
#define PORTIER_AEAD_LANES_AVX2_CHACHA_H

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

/* Which bytes come where when all words are rotated by 16 and by 8: operands in memory. */
static const uint8_t rotated16[32] __attribute__((aligned(32))) = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11,
	8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
static const uint8_t rotated8[32] __attribute__((aligned(32))) = {3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9,
	10, 15, 12, 13, 14, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14};

/* Half of all four quarter rounds (RFC 8439, 2.1), in two steps: a += b, d = (d ^ a) rotated by
 * whole bytes; c += d, b = (b ^ c) rotated by n bits to the left.
 *
 * 16 words and one more for the rotations are a register too many: word 3 lives in memory, *a3. In
 * assembler, because compilers put away more of them, and wait for what they have just put away. As
 * macros, because gcc keeps an array in registers only if its indices are constants from the start.
 */
#define ADD_B_TO_A(x, a3, b0, b1, b2, b3, d0, d1, d2, d3, rotated)                    \
	do {                                                                          \
		__m256i spare;                                                        \
		__asm__("vpaddd %[A3], %[B3], %[T]\n\t"                               \
			"vpaddd %[B0], %[A0], %[A0]\n\t"                              \
			"vpaddd %[B1], %[A1], %[A1]\n\t"                              \
			"vpaddd %[B2], %[A2], %[A2]\n\t"                              \
			"vmovdqa %[T], %[A3]\n\t"                                     \
			"vpxor %[T], %[D3], %[D3]\n\t"                                \
			"vpxor %[A0], %[D0], %[D0]\n\t"                               \
			"vpxor %[A1], %[D1], %[D1]\n\t"                               \
			"vpxor %[A2], %[D2], %[D2]\n\t"                               \
			"vpshufb %[R], %[D0], %[D0]\n\t"                              \
			"vpshufb %[R], %[D1], %[D1]\n\t"                              \
			"vpshufb %[R], %[D2], %[D2]\n\t"                              \
			"vpshufb %[R], %[D3], %[D3]"                                  \
			: [A0] "+&x"((x)[0]), [A1] "+&x"((x)[1]), [A2] "+&x"((x)[2]), \
			[A3] "+m"(*(a3)), [D0] "+&x"((x)[d0]), [D1] "+&x"((x)[d1]),   \
			[D2] "+&x"((x)[d2]), [D3] "+&x"((x)[d3]), [T] "=&x"(spare)    \
			: [B0] "x"((x)[b0]), [B1] "x"((x)[b1]), [B2] "x"((x)[b2]),    \
			[B3] "x"((x)[b3]), [R] "m"(rotated));                         \
	} while (0)
#define ROTATE_B(i, left, right)                      \
	"vpslld $" left ", %[B" i "], %[T]\n\t"       \
	"vpsrld $" right ", %[B" i "], %[B" i "]\n\t" \
	"vpor %[T], %[B" i "], %[B" i "]\n\t"
#define ADD_D_TO_C(x, c0, c1, c2, c3, d0, d1, d2, d3, b0, b1, b2, b3, left, right)                 \
	do {                                                                                       \
		__m256i spare;                                                                     \
		__asm__("vpaddd %[D0], %[C0], %[C0]\n\t"                                           \
			"vpaddd %[D1], %[C1], %[C1]\n\t"                                           \
			"vpaddd %[D2], %[C2], %[C2]\n\t"                                           \
			"vpaddd %[D3], %[C3], %[C3]\n\t"                                           \
			"vpxor %[C0], %[B0], %[B0]\n\t"                                            \
			"vpxor %[C1], %[B1], %[B1]\n\t"                                            \
			"vpxor %[C2], %[B2], %[B2]\n\t"                                            \
			"vpxor %[C3], %[B3], %[B3]\n\t" ROTATE_B("0", left, right) ROTATE_B("1",   \
				left, right) ROTATE_B("2", left, right) ROTATE_B("3", left, right) \
			: [C0] "+&x"((x)[c0]), [C1] "+&x"((x)[c1]), [C2] "+&x"((x)[c2]),           \
			[C3] "+&x"((x)[c3]), [B0] "+&x"((x)[b0]), [B1] "+&x"((x)[b1]),             \
			[B2] "+&x"((x)[b2]), [B3] "+&x"((x)[b3]), [T] "=&x"(spare)                 \
			: [D0] "x"((x)[d0]), [D1] "x"((x)[d1]), [D2] "x"((x)[d2]),                 \
			[D3] "x"((x)[d3]));                                                        \
	} while (0)

#define COLUMN_HALF(x, a3, rotated, left, right)                                      \
	do {                                                                          \
		ADD_B_TO_A(x, a3, 4, 5, 6, 7, 12, 13, 14, 15, rotated);               \
		ADD_D_TO_C(x, 8, 9, 10, 11, 12, 13, 14, 15, 4, 5, 6, 7, left, right); \
	} while (0)
#define DIAGONAL_HALF(x, a3, rotated, left, right)                                    \
	do {                                                                          \
		ADD_B_TO_A(x, a3, 5, 6, 7, 4, 15, 12, 13, 14, rotated);               \
		ADD_D_TO_C(x, 10, 11, 8, 9, 15, 12, 13, 14, 5, 6, 7, 4, left, right); \
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

/* One packet in the lanes whose is_second is 0, another in those where it is all ones. */
ALWAYS_INLINE void load_state_of_two(struct state8 *s, const uint8_t *const keys[2],
	const uint64_t counters[2], __m256i is_second)
{
	struct state8 second;

	load_state_of_one(s, keys[0], counters[0]);
	load_state_of_one(&second, keys[1], counters[1]);
#pragma GCC unroll 8
	for (unsigned w = 0; w < 8; w++)
		s->key[w] = _mm256_blendv_epi8(s->key[w], second.key[w], is_second);
#pragma GCC unroll 2
	for (unsigned w = 0; w < 2; w++)
		s->nonce[w] = _mm256_blendv_epi8(s->nonce[w], second.nonce[w], is_second);
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
