/* lanes_avx2_column.h - a column of ChaCha20, and Poly1305 of other packets beside it.
 *
 * ChaCha20 keeps the vector units busy, Poly1305 the scalar ones and their multiplier: woven into
 * one stream of instructions, two blocks of two packets a round cost next to nothing. What is
 * worked beside a column must not depend on it: packets that are sealed already, or still to be
 * opened.
 *
 * Spec:    RFC 8439, 2.3 and 2.5.
 * Threads: pure functions. Only for lanes_avx2.c, which is compiled for AVX2 and BMI2.
 * Cost:    a column 375 cycles (Zen 3), with 40 blocks of Poly1305 415; 360 for these alone.
 */
#ifndef PORTIER_AEAD_LANES_AVX2_COLUMN_H
#define PORTIER_AEAD_LANES_AVX2_COLUMN_H

#include "aead/lanes_avx2_chacha.h"
#include "aead/lanes_avx2_poly.h"

/* Poly1305 of two packets that goes on in turns. */
struct tag_pair {
	struct poly poly[2];
	const uint8_t *text[2]; /* their next blocks */
	uint32_t n_steps;	/* of TAG_STEP_BYTES that both texts still have */
} __attribute__((aligned(32)));
#define TAG_STEP_BYTES 32

/* 8 blocks of key stream, as words, and steps of *pair, as many as go beside: *pair ends up at the
 * first that has steps left. */
ALWAYS_INLINE void run_column(const struct state8 *s, __m256i x[16], struct tag_pair **pair,
	const struct tag_pair *pairs_end)
{
	unsigned n_left = ROUND_PAIRS;
	__m256i a3;

	fill_words(s, x);
	a3 = x[3];
	for (; n_left && *pair != pairs_end; (*pair)++) {
		struct tag_pair *t = *pair;
		struct poly p = t->poly[0], q = t->poly[1];
		const uint8_t *a = t->text[0], *b = t->text[1];
		unsigned n = t->n_steps < n_left ? t->n_steps : n_left;

		t->n_steps -= n;
		n_left -= n;
		for (; n; n--, a += TAG_STEP_BYTES, b += TAG_STEP_BYTES) {
			COLUMN_HALF(x, &a3, rotated16, "12", "20");
			poly_text_block(&p, a);
			COLUMN_HALF(x, &a3, rotated8, "7", "25");
			poly_text_block(&q, b);
			DIAGONAL_HALF(x, &a3, rotated16, "12", "20");
			poly_text_block(&p, a + POLY_BYTES);
			DIAGONAL_HALF(x, &a3, rotated8, "7", "25");
			poly_text_block(&q, b + POLY_BYTES);
		}
		t->poly[0] = p;
		t->poly[1] = q;
		t->text[0] = a;
		t->text[1] = b;
		if (t->n_steps)
			break;
	}
	for (; n_left; n_left--) {
		COLUMN_HALF(x, &a3, rotated16, "12", "20");
		COLUMN_HALF(x, &a3, rotated8, "7", "25");
		DIAGONAL_HALF(x, &a3, rotated16, "12", "20");
		DIAGONAL_HALF(x, &a3, rotated8, "7", "25");
	}
	x[3] = a3;
	add_words(s, x);
}

/* The steps of a pair that no column took along. */
ALWAYS_INLINE void run_steps(struct tag_pair *t)
{
	struct poly p = t->poly[0], q = t->poly[1];

	for (unsigned n = t->n_steps * (TAG_STEP_BYTES / POLY_BYTES); n; n--) {
		poly_text_block(&p, t->text[0]);
		poly_text_block(&q, t->text[1]);
		t->text[0] += POLY_BYTES;
		t->text[1] += POLY_BYTES;
	}
	t->n_steps = 0;
	t->poly[0] = p;
	t->poly[1] = q;
}

#endif
