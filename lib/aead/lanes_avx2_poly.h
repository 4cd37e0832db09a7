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

typedef unsigned __int128 u128;

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

/* Sums of two and three words of 64 bits, lowest first. In assembler: of 128-bit integers and of
 * carry intrinsics gcc 12 makes words in memory and flags in registers, at three times the cost. */
ALWAYS_INLINE void add_two(uint64_t *to0, uint64_t *to1, uint64_t from0, uint64_t from1)
{
	__asm__("addq %2, %0\n\t"
		"adcq %3, %1"
		: "+&r"(*to0), "+r"(*to1)
		: "r"(from0), "r"(from1)
		: "cc");
}

ALWAYS_INLINE void add_three(
	uint64_t *to0, uint64_t *to1, uint64_t *to2, uint64_t from0, uint64_t from1)
{
	__asm__("addq %3, %0\n\t"
		"adcq %4, %1\n\t"
		"adcq $0, %2"
		: "+&r"(*to0), "+&r"(*to1), "+r"(*to2)
		: "r"(from0), "r"(from1)
		: "cc");
}

ALWAYS_INLINE uint64_t multiply(uint64_t a, uint64_t b, uint64_t *hi)
{
	unsigned long long high, low = _mulx_u64(a, b, &high);

	*hi = high;
	return low;
}

/* h = (h + block) * r, so far reduced that h2 is at most 4, and then h1 is next to nothing. */
ALWAYS_INLINE void poly_block(struct poly *p, uint64_t lo, uint64_t hi)
{
	uint64_t d0, d1, d2, e0, e1, carry;

	p->h2++;
	add_three(&p->h0, &p->h1, &p->h2, lo, hi);

	d0 = multiply(p->h0, p->r0, &carry);
	e0 = multiply(p->h1, p->s1, &e1);
	add_two(&d0, &carry, e0, e1);
	d1 = multiply(p->h0, p->r1, &d2);
	e0 = multiply(p->h1, p->r0, &e1);
	add_two(&d1, &d2, e0, e1);
	add_two(&d1, &d2, p->h2 * p->s1, p->h2 * p->r0);
	add_two(&d1, &d2, carry, 0);

	/* 2^130 is 5: four times what lies above bit 130, and once. */
	p->h0 = d0;
	p->h1 = d1;
	p->h2 = d2 & 3;
	add_three(&p->h0, &p->h1, &p->h2, (d2 >> 2) + (d2 & ~UINT64_C(3)), 0);
}

ALWAYS_INLINE void poly_text_block(struct poly *p, const uint8_t *text)
{
	uint64_t words[2];

	memcpy(words, text, sizeof(words));
	poly_block(p, words[0], words[1]);
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
	poly_block(p, 0, len);
}

/* h modulo p, then plus s modulo 2^128 (RFC 8439, 2.5.1, the end). */
ALWAYS_INLINE void poly_end(const struct poly *p, const uint8_t key[32], uint64_t tag[2])
{
	uint64_t s[2], g0, g1, g2, is_over;
	u128 sum;

	/* g = h + 5: at or above 2^130 exactly when h is at or above p, and then g - 2^130 = h - p.
	 */
	sum = (u128)p->h0 + 5;
	g0 = (uint64_t)sum;
	sum = (u128)p->h1 + (uint64_t)(sum >> 64);
	g1 = (uint64_t)sum;
	g2 = p->h2 + (uint64_t)(sum >> 64);
	is_over = 0 - (g2 >> 2 & 1);
	g0 = (g0 & is_over) | (p->h0 & ~is_over);
	g1 = (g1 & is_over) | (p->h1 & ~is_over);

	memcpy(s, key + 16, sizeof(s));
	sum = (u128)g0 + s[0];
	tag[0] = (uint64_t)sum;
	tag[1] = g1 + s[1] + (uint64_t)(sum >> 64);
}

#endif
