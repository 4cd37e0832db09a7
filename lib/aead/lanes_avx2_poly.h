/* lanes_avx2_poly.h - Poly1305 of two packets in turns: while the products of one are on their way,
 * those of the other begin.
 *
 * Spec:    RFC 8439, 2.5, and 2.8 for the length block; no associated data.
 * Threads: pure functions. Only for lanes_avx2.c, which is compiled for BMI2.
 *
 * A number is h0 + 2^64 h1 + 2^128 h2, h2 a few bits. r is clamped: its upper word is a multiple of
 * 4, so 2^128 * r1 is 2^130 * r1 / 4, which is s1 = r1 + r1 / 4 modulo p = 2^130 - 5.
 */
#ifndef PORTIER_AEAD_LANES_AVX2_POLY_H
#define PORTIER_AEAD_LANES_AVX2_POLY_H

#include "aead/lanes_avx2_chacha.h"

#include <string.h>

#define POLY_BYTES 16

struct poly {
	uint64_t h0, h1, h2;
	uint64_t r0, r1, s1;
};

/* key: r, then s. */
ALWAYS_INLINE void poly_begin(struct poly *p, const uint8_t key[32])
{
	uint64_t r[2];

	memcpy(r, key, sizeof(r));
	p->r0 = r[0] & 0x0ffffffc0fffffff;
	p->r1 = r[1] & 0x0ffffffc0ffffffc;
	p->s1 = p->r1 + (p->r1 >> 2);
	p->h0 = p->h1 = p->h2 = 0;
}

/* A block where it lies in a text. */
struct poly_words {
	uint64_t lo, hi;
} __attribute__((packed, may_alias));

/* h = (h + block) * r, so far reduced that h2 is at most 4, and then h1 is next to nothing. The
 * block and 2^128, which marks its end, come first; then h times r, d2 d1 d0, whose upper part c
 * and sums of what belongs to one word go along. 2^130 is 5: what lies above bit 130 is added four
 * times and once. In assembler, as 30 instructions: gcc 12 makes twice as many of 128-bit integers
 * or of carry intrinsics, and beside a column their number is what counts. */
ALWAYS_INLINE void poly_block(struct poly *p, const struct poly_words *block)
{
	uint64_t d0, d1, d2, c, t;

	__asm__("addq %[lo], %[h0]\n\t"
		"adcq %[hi], %[h1]\n\t"
		"adcq $1, %[h2]\n\t"
		"movq %[h0], %%rdx\n\t"
		"mulxq %[r0], %[d0], %[c]\n\t"
		"mulxq %[r1], %[d1], %[d2]\n\t"
		"movq %[h1], %%rdx\n\t"
		"mulxq %[s1], %[h0], %[t]\n\t"
		"addq %[h0], %[d0]\n\t"
		"adcq %[t], %[c]\n\t"
		"mulxq %[r0], %[h0], %[h1]\n\t"
		"addq %[h0], %[d1]\n\t"
		"adcq %[h1], %[d2]\n\t"
		"movq %[s1], %%rdx\n\t"
		"imulq %[h2], %%rdx\n\t"
		"imulq %[r0], %[h2]\n\t"
		"addq %%rdx, %[d1]\n\t"
		"adcq %[h2], %[d2]\n\t"
		"addq %[c], %[d1]\n\t"
		"adcq $0, %[d2]\n\t"
		"xorl %k[h1], %k[h1]\n\t"
		"movq %[d2], %[h2]\n\t"
		"andl $3, %k[h2]\n\t"
		"movq %[d2], %[h0]\n\t"
		"shrq $2, %[h0]\n\t"
		"andq $-4, %[d2]\n\t"
		"addq %[d2], %[h0]\n\t"
		"addq %[d0], %[h0]\n\t"
		"adcq %[d1], %[h1]\n\t"
		"adcq $0, %[h2]"
		: [h0] "+&r"(p->h0), [h1] "+&r"(p->h1), [h2] "+&r"(p->h2), [d0] "=&r"(d0),
		[d1] "=&r"(d1), [d2] "=&r"(d2), [c] "=&r"(c), [t] "=&r"(t)
		: [lo] "m"(block->lo), [hi] "m"(block->hi), [r0] "m"(p->r0), [r1] "m"(p->r1),
		[s1] "m"(p->s1)
		: "rdx", "cc");
}

ALWAYS_INLINE void poly_text_block(struct poly *p, const uint8_t *text)
{
	poly_block(p, (const void *)text);
}

/* From byte at of the text, a multiple of 16, to its end; then the length block. */
ALWAYS_INLINE void poly_rest(struct poly *p, const uint8_t *text, uint32_t at, uint32_t len)
{
	for (; at + POLY_BYTES <= len; at += POLY_BYTES)
		poly_text_block(p, text + at);
	if (at < len) {
		uint8_t last[POLY_BYTES] = {0};

		memcpy(last, text + at, len - at);
		poly_text_block(p, last);
	}
	poly_block(p, &(struct poly_words){0, len});
}

/* h modulo p, then plus s modulo 2^128 (RFC 8439, 2.5.1, the end). */
ALWAYS_INLINE void poly_end(const struct poly *p, const uint8_t key[32], uint64_t tag[2])
{
	const struct poly_words *s = (const void *)(key + 16);
	uint64_t g0 = p->h0, g1 = p->h1, g2 = p->h2, is_over;

	/* g = h + 5: at or above 2^130 exactly when h is at or above p, and then g - 2^130 = h - p.
	 */
	__asm__("addq $5, %0\n\t"
		"adcq $0, %1\n\t"
		"adcq $0, %2"
		: "+&r"(g0), "+&r"(g1), "+&r"(g2)
		:
		: "cc");
	is_over = 0 - (g2 >> 2 & 1);
	tag[0] = (g0 & is_over) | (p->h0 & ~is_over);
	tag[1] = (g1 & is_over) | (p->h1 & ~is_over);
	__asm__("addq %2, %0\n\t"
		"adcq %3, %1"
		: "+&r"(tag[0]), "+r"(tag[1])
		: "m"(s->lo), "m"(s->hi)
		: "cc");
}

#endif
