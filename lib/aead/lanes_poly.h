/* lanes_poly.h - Poly1305 of up to 8 packets, in 8 lanes of 64 bits.
 *
 * Spec:    RFC 8439, 2.5, and 2.8 for the length block; no associated data.
 * Threads: pure functions. Only for lanes.c, which is compiled for AVX-512.
 *
 * A number is three limbs of 44, 44 and 42 bits, each a little above that between carries. The
 * multiplier takes the low 52 bits of each factor and gives the low or the high 52 bits of the
 * product. A limb of weight 2^132 is 2^2 * 2^130, which is 20 modulo p = 2^130 - 5.
 *
 * Lanes go along together in steps of 64 bytes that end together: the last one holds the last
 * three blocks of text and the length block. Whatever precedes the text counts as zero blocks in
 * front of the first, which change nothing as the sum is still zero.
 *
 * A packet may have 1, 2 or 4 lanes (its width) to itself: lane j takes the chunks j, j + width...
 * with the 4 * width-th power of r between two of its own, and its last chunk is brought to where
 * it belongs by a power of its own.
 */
#ifndef PORTIER_AEAD_LANES_POLY_H
#define PORTIER_AEAD_LANES_POLY_H

#include "aead/lanes_chacha.h"

#define POLY_LANES  8
#define POLY_BLOCKS 4 /* a lane and step */
#define POLY_CHUNK  (16 * POLY_BLOCKS)

struct number {
	__m512i l0, l1, l2;
};

/* A factor with 20 times its upper limbs. */
struct factor {
	__m512i r0, r1, r2, s1, s2;
};

/* Sums of products: the low and the high 52 bits of each, by weight of their limb. */
struct sums {
	__m512i lo0, lo1, lo2, hi0, hi1, hi2;
};

/* r and s of the packets, and their texts, one a lane of width 1. */
struct poly_group {
	__m512i r_lo, r_hi, s_lo, s_hi;
	const uint8_t *texts[POLY_LANES];
	uint64_t lens[POLY_LANES];
};

ALWAYS_INLINE __m512i splat64(uint64_t x)
{
	return _mm512_set1_epi64((long long)x);
}

#define MASK44 splat64((1ULL << 44) - 1)
#define MASK42 splat64((1ULL << 42) - 1)
/* 2^128 in the upper limb. */
#define TOP splat64(1ULL << 40)

ALWAYS_INLINE struct number split_limbs(__m512i lo, __m512i hi)
{
	return (struct number){
		.l0 = _mm512_and_si512(lo, MASK44),
		.l1 = _mm512_and_si512(_mm512_shrdi_epi64(lo, hi, 44), MASK44),
		.l2 = _mm512_srli_epi64(hi, 24),
	};
}

ALWAYS_INLINE __m512i times20(__m512i x)
{
	return _mm512_add_epi64(_mm512_slli_epi64(x, 4), _mm512_slli_epi64(x, 2));
}

ALWAYS_INLINE struct factor to_factor(struct number n)
{
	return (struct factor){
		.r0 = n.l0, .r1 = n.l1, .r2 = n.l2, .s1 = times20(n.l1), .s2 = times20(n.l2)};
}

ALWAYS_INLINE void add_product(struct sums *t, struct number a, const struct factor *f)
{
	t->lo0 = _mm512_madd52lo_epu64(t->lo0, a.l0, f->r0);
	t->hi0 = _mm512_madd52hi_epu64(t->hi0, a.l0, f->r0);
	t->lo1 = _mm512_madd52lo_epu64(t->lo1, a.l0, f->r1);
	t->hi1 = _mm512_madd52hi_epu64(t->hi1, a.l0, f->r1);
	t->lo2 = _mm512_madd52lo_epu64(t->lo2, a.l0, f->r2);
	t->hi2 = _mm512_madd52hi_epu64(t->hi2, a.l0, f->r2);
	t->lo0 = _mm512_madd52lo_epu64(t->lo0, a.l1, f->s2);
	t->hi0 = _mm512_madd52hi_epu64(t->hi0, a.l1, f->s2);
	t->lo1 = _mm512_madd52lo_epu64(t->lo1, a.l1, f->r0);
	t->hi1 = _mm512_madd52hi_epu64(t->hi1, a.l1, f->r0);
	t->lo2 = _mm512_madd52lo_epu64(t->lo2, a.l1, f->r1);
	t->hi2 = _mm512_madd52hi_epu64(t->hi2, a.l1, f->r1);
	t->lo0 = _mm512_madd52lo_epu64(t->lo0, a.l2, f->s1);
	t->hi0 = _mm512_madd52hi_epu64(t->hi0, a.l2, f->s1);
	t->lo1 = _mm512_madd52lo_epu64(t->lo1, a.l2, f->s2);
	t->hi1 = _mm512_madd52hi_epu64(t->hi1, a.l2, f->s2);
	t->lo2 = _mm512_madd52lo_epu64(t->lo2, a.l2, f->r0);
	t->hi2 = _mm512_madd52hi_epu64(t->hi2, a.l2, f->r0);
}

/* Sums of four products, each under 2^56 (lo) and 2^46 (hi), to limbs of 44 bits and a little (at
 * most 2^18), 44 and 42. The high halves weigh 2^52, which is 2^8 of the next limb. */
ALWAYS_INLINE struct number carry(const struct sums *t)
{
	__m512i l0, l1, l2, c;

	/* 20 * 2^8 = 2^12 + 2^10 */
	l0 = _mm512_add_epi64(t->lo0,
		_mm512_add_epi64(_mm512_slli_epi64(t->hi2, 12), _mm512_slli_epi64(t->hi2, 10)));
	l1 = _mm512_add_epi64(t->lo1, _mm512_slli_epi64(t->hi0, 8));
	l2 = _mm512_add_epi64(t->lo2, _mm512_slli_epi64(t->hi1, 8));
	l1 = _mm512_add_epi64(l1, _mm512_srli_epi64(l0, 44));
	l2 = _mm512_add_epi64(l2, _mm512_srli_epi64(l1, 44));
	c = _mm512_srli_epi64(l2, 42);
	c = _mm512_add_epi64(c, _mm512_slli_epi64(c, 2));
	return (struct number){
		.l0 = _mm512_add_epi64(_mm512_and_si512(l0, MASK44), c),
		.l1 = _mm512_and_si512(l1, MASK44),
		.l2 = _mm512_and_si512(l2, MASK42),
	};
}

ALWAYS_INLINE struct number multiply(struct number a, const struct factor *f)
{
	struct sums t = {0};

	add_product(&t, a, f);
	return carry(&t);
}

/* The blocks of 8 chunks, a chunk a lane: low and high halves. */
struct blocks {
	__m512i lo[POLY_BLOCKS], hi[POLY_BLOCKS];
};

/* From chunks to blocks, in four parts of 8, 8, 4 and 4 shuffles that can stand between other work.
 */
struct shuffling {
	__m512i pairs[2][4], quads[2][4];
};

ALWAYS_INLINE void shuffle_part(
	struct shuffling *s, unsigned part, const __m512i c[POLY_LANES], struct blocks *out)
{
	if (part == 0) {
#pragma GCC unroll 4
		for (unsigned i = 0; i < 4; i++) {
			s->pairs[0][i] = _mm512_unpacklo_epi64(c[2 * i], c[2 * i + 1]);
			s->pairs[1][i] = _mm512_unpackhi_epi64(c[2 * i], c[2 * i + 1]);
		}
	} else if (part == 1) {
#pragma GCC unroll 2
		for (unsigned h = 0; h < 2; h++) {
			const __m512i *p = s->pairs[h];

			s->quads[h][0] = _mm512_shuffle_i64x2(p[0], p[1], 0x44);
			s->quads[h][1] = _mm512_shuffle_i64x2(p[0], p[1], 0xee);
			s->quads[h][2] = _mm512_shuffle_i64x2(p[2], p[3], 0x44);
			s->quads[h][3] = _mm512_shuffle_i64x2(p[2], p[3], 0xee);
		}
	} else {
		const __m512i *q = s->quads[part - 2];
		__m512i *o = part == 2 ? out->lo : out->hi;

		o[0] = _mm512_shuffle_i64x2(q[0], q[2], 0x88);
		o[1] = _mm512_shuffle_i64x2(q[0], q[2], 0xdd);
		o[2] = _mm512_shuffle_i64x2(q[1], q[3], 0x88);
		o[3] = _mm512_shuffle_i64x2(q[1], q[3], 0xdd);
	}
}

ALWAYS_INLINE void transpose_chunks(const __m512i c[POLY_LANES], struct blocks *out)
{
	struct shuffling s;

#pragma GCC unroll 4
	for (unsigned part = 0; part < 4; part++)
		shuffle_part(&s, part, c, out);
}

/* RFC 8439, 2.5: h = (h + block) * r for four blocks at once, f[b] being r to the power of 4 - b.
 * Blocks before the first are not there, and h is then zero. tops: 2^128 where a block is one.
 * chunks, unless NULL: those of the next step, which become next meanwhile. */
ALWAYS_INLINE struct number absorb(struct number h, const struct blocks *blocks,
	const __m512i tops[POLY_BLOCKS], const struct factor f[POLY_BLOCKS], unsigned first,
	const __m512i *chunks, struct blocks *next)
{
	struct sums t = {0};
	struct shuffling s;

	/* h comes last: what does not need the step before can be done meanwhile. */
#pragma GCC unroll 4
	for (unsigned i = 0; i < POLY_BLOCKS - first; i++) {
		unsigned b = POLY_BLOCKS - 1 - i;
		struct number m = split_limbs(blocks->lo[b], blocks->hi[b]);

		m.l2 = _mm512_or_si512(m.l2, tops[b]);
		if (b == first) {
			m.l0 = _mm512_add_epi64(m.l0, h.l0);
			m.l1 = _mm512_add_epi64(m.l1, h.l1);
			m.l2 = _mm512_add_epi64(m.l2, h.l2);
		}
		add_product(&t, m, &f[b]);
		if (chunks)
			shuffle_part(&s, i, chunks, next);
	}
	return carry(&t);
}

/* h modulo p, then plus s modulo 2^128 (RFC 8439, 2.5.1, the end). */
ALWAYS_INLINE void finish_tags(struct number h, __m512i s_lo, __m512i s_hi, __m512i tags[2])
{
	__m512i c, g0, g1, g2, lo, hi;
	__mmask8 is_over;

	/* Three times: then limbs are exact, and h is below 2^130. */
	for (unsigned i = 0; i < 3; i++) {
		c = _mm512_srli_epi64(h.l0, 44);
		h.l0 = _mm512_and_si512(h.l0, MASK44);
		h.l1 = _mm512_add_epi64(h.l1, c);
		c = _mm512_srli_epi64(h.l1, 44);
		h.l1 = _mm512_and_si512(h.l1, MASK44);
		h.l2 = _mm512_add_epi64(h.l2, c);
		c = _mm512_srli_epi64(h.l2, 42);
		h.l2 = _mm512_and_si512(h.l2, MASK42);
		h.l0 = _mm512_add_epi64(h.l0, _mm512_add_epi64(c, _mm512_slli_epi64(c, 2)));
	}
	/* g = h + 5: at or above 2^130 exactly when h is at or above p, and then g - 2^130 = h - p.
	 */
	g0 = _mm512_add_epi64(h.l0, splat64(5));
	g1 = _mm512_add_epi64(h.l1, _mm512_srli_epi64(g0, 44));
	g2 = _mm512_add_epi64(h.l2, _mm512_srli_epi64(g1, 44));
	is_over = _mm512_test_epi64_mask(g2, splat64(1ULL << 42));
	h.l0 = _mm512_mask_and_epi64(h.l0, is_over, g0, MASK44);
	h.l1 = _mm512_mask_and_epi64(h.l1, is_over, g1, MASK44);
	h.l2 = _mm512_mask_and_epi64(h.l2, is_over, g2, MASK42);

	lo = _mm512_or_si512(h.l0, _mm512_slli_epi64(h.l1, 44));
	hi = _mm512_or_si512(_mm512_srli_epi64(h.l1, 20), _mm512_slli_epi64(h.l2, 24));
	lo = _mm512_add_epi64(lo, s_lo);
	hi = _mm512_add_epi64(hi, s_hi);
	hi = _mm512_mask_add_epi64(hi, _mm512_cmplt_epu64_mask(lo, s_lo), hi, splat64(1));
	tags[0] = _mm512_unpacklo_epi64(lo, hi); /* lanes 0, 2, 4, 6 */
	tags[1] = _mm512_unpackhi_epi64(lo, hi); /* lanes 1, 3, 5, 7 */
}

/* Where the lanes stand: offsets of their chunks from the start of their texts. */
struct poly_walk {
	__m512i offsets;
	uintptr_t first[POLY_LANES]; /* addresses of the chunks of step 0 */
	uint64_t masks[POLY_LANES];
	uintptr_t from[POLY_LANES];
};

/* What was stored is loaded again, lane by lane: taking a vector apart costs more. */
#define THROUGH_MEMORY(x) __asm__("" : "+m"(x))

/* Chunks that lie in their texts, all of them; done: bytes of a lane's text behind step 0. */
ALWAYS_INLINE void load_inside(const struct poly_walk *w, size_t done, __m512i c[POLY_LANES])
{
	for (unsigned i = 0; i < POLY_LANES; i++)
		c[i] = _mm512_loadu_si512((const void *)(w->first[i] + done));
}

/* Chunks of which what lies in the text counts. Where nothing does, the text itself is named (and
 * not read): what lies far before it may be on no page. */
ALWAYS_INLINE void load_edge(struct poly_walk *w, const struct poly_group *g, __m512i lens,
	__m512i c[POLY_LANES], __m512i tops[POLY_BLOCKS])
{
	const __m512i ones = splat64(UINT64_MAX), zero = _mm512_setzero_si512();
	__m512i skip = _mm512_max_epi64(_mm512_sub_epi64(zero, w->offsets), zero);
	__m512i end = _mm512_sub_epi64(lens, w->offsets);
	__m512i near = _mm512_maskz_mov_epi64(
		_mm512_cmpgt_epi64_mask(w->offsets, splat64(-(uint64_t)POLY_CHUNK)), w->offsets);

	/* A shift by 64 or more leaves nothing. */
	_mm512_storeu_si512(w->masks,
		_mm512_andnot_si512(_mm512_sllv_epi64(ones, end), _mm512_sllv_epi64(ones, skip)));
	_mm512_storeu_si512(w->from, _mm512_add_epi64(_mm512_loadu_si512(g->texts), near));
	THROUGH_MEMORY(w->masks);
	THROUGH_MEMORY(w->from);
	for (unsigned i = 0; i < POLY_LANES; i++)
		c[i] = _mm512_maskz_loadu_epi8(w->masks[i], (const void *)w->from[i]);
	for (unsigned b = 0; b < POLY_BLOCKS; b++)
		tops[b] = _mm512_maskz_mov_epi64(
			_mm512_cmpge_epi64_mask(w->offsets, splat64(-(uint64_t)(16 * b))), TOP);
}

/* f[b] = r^(4 - b) */
ALWAYS_INLINE void raise(struct factor f[POLY_BLOCKS], const struct poly_group *g)
{
	struct number r = split_limbs(_mm512_and_si512(g->r_lo, splat64(0x0ffffffc0fffffff)),
		_mm512_and_si512(g->r_hi, splat64(0x0ffffffc0ffffffc)));
	struct number r2;

	f[3] = to_factor(r);
	r2 = multiply(r, &f[3]);
	f[2] = to_factor(r2);
	f[1] = to_factor(multiply(r2, &f[3]));
	f[0] = to_factor(multiply(r2, &f[2]));
}

ALWAYS_INLINE struct number to_number(const struct factor *f)
{
	return (struct number){f->r0, f->r1, f->r2};
}

/* For width 2 or 4: in f the powers between two chunks of a lane, in last those behind the last
 * chunk of each lane; on entry f is as of raise. */
ALWAYS_INLINE void widen(
	struct factor f[POLY_BLOCKS], struct factor last[POLY_BLOCKS], unsigned width)
{
	struct number x = to_number(&f[0]), all = x, own;
	struct factor fx = f[0], f_all, f_own;

	/* own: x to the number of chunks of the packet that follow the lane's last one. */
	own = (struct number){splat64(1), splat64(0), splat64(0)};
	if (width == 2) {
		own.l0 = _mm512_mask_mov_epi64(own.l0, 0x55, x.l0);
		own.l1 = _mm512_mask_mov_epi64(own.l1, 0x55, x.l1);
		own.l2 = _mm512_mask_mov_epi64(own.l2, 0x55, x.l2);
	} else {
		struct number x2 = multiply(x, &fx);

		all = multiply(x2, &fx);
		own.l0 = _mm512_mask_mov_epi64(own.l0, 0x44, x.l0);
		own.l1 = _mm512_mask_mov_epi64(own.l1, 0x44, x.l1);
		own.l2 = _mm512_mask_mov_epi64(own.l2, 0x44, x.l2);
		own.l0 = _mm512_mask_mov_epi64(own.l0, 0x22, x2.l0);
		own.l1 = _mm512_mask_mov_epi64(own.l1, 0x22, x2.l1);
		own.l2 = _mm512_mask_mov_epi64(own.l2, 0x22, x2.l2);
		own.l0 = _mm512_mask_mov_epi64(own.l0, 0x11, all.l0);
		own.l1 = _mm512_mask_mov_epi64(own.l1, 0x11, all.l1);
		own.l2 = _mm512_mask_mov_epi64(own.l2, 0x11, all.l2);
	}
	f_all = to_factor(all);
	f_own = to_factor(own);
	for (unsigned b = 0; b < POLY_BLOCKS; b++) {
		struct number base = to_number(&f[b]);

		last[b] = to_factor(multiply(base, &f_own));
		f[b] = to_factor(multiply(base, &f_all));
	}
}

/* Adds up the lanes of each packet. */
ALWAYS_INLINE struct number gather_lanes(struct number h, unsigned width)
{
	h.l0 = _mm512_add_epi64(h.l0, _mm512_permutex_epi64(h.l0, 0xb1));
	h.l1 = _mm512_add_epi64(h.l1, _mm512_permutex_epi64(h.l1, 0xb1));
	h.l2 = _mm512_add_epi64(h.l2, _mm512_permutex_epi64(h.l2, 0xb1));
	if (width == 4) {
		h.l0 = _mm512_add_epi64(h.l0, _mm512_permutex_epi64(h.l0, 0x4e));
		h.l1 = _mm512_add_epi64(h.l1, _mm512_permutex_epi64(h.l1, 0x4e));
		h.l2 = _mm512_add_epi64(h.l2, _mm512_permutex_epi64(h.l2, 0x4e));
	}
	return h;
}

/* Chunks of a text and its length block. */
ALWAYS_INLINE uint32_t count_chunks(uint32_t len)
{
	return ((len + 15) / 16 + 1 + POLY_BLOCKS - 1) / POLY_BLOCKS;
}

/* The offset of each lane's first chunk: their last ones end with the length block. */
ALWAYS_INLINE __m512i first_offsets(__m512i lens, uint32_t n_steps, unsigned width)
{
	const uint64_t stride = POLY_CHUNK * (uint64_t)width;
	const __m512i places = _mm512_setr_epi64(0, 64, 128, 192, 256, 320, 384, 448);
	__m512i ends = _mm512_and_si512(_mm512_add_epi64(lens, splat64(31)), splat64(~15ULL));

	return _mm512_add_epi64(_mm512_sub_epi64(ends, splat64(stride * n_steps)),
		_mm512_and_si512(places, splat64(stride - 1)));
}

/* The tags of a group: that of lane i in tags[i % 2], 128 bits i / 2; of a packet with several
 * lanes in each of them. width: 1, 2 or 4 lanes a packet. len_max: of the longest text. A lane that
 * is not used has length 0. */
ALWAYS_INLINE void poly_tags(
	const struct poly_group *g, unsigned width, uint32_t len_max, __m512i tags[2])
{
	const __m512i lens = _mm512_loadu_si512(g->lens);
	const uint32_t n_steps = (count_chunks(len_max) + width - 1) / width;
	/* The lane of a packet that meets the length block. */
	const __mmask8 ending = width == 1 ? 0xff : width == 2 ? 0xaa : 0x88;
	/* Blocks of step 0 that no packet has. */
	const uint32_t stride = POLY_CHUNK * width;
	uint32_t n_edges;
	unsigned first = width == 1 ? 3 - (len_max + 15) / 16 % POLY_BLOCKS : 0;
	struct number h = {splat64(0), splat64(0), splat64(0)};
	__m512i c[POLY_LANES], tops[POLY_BLOCKS];
	struct factor powers[POLY_BLOCKS], last_powers[POLY_BLOCKS];
	struct blocks blocks, next;
	struct poly_walk w;

	raise(powers, g);
	if (width > 1)
		widen(powers, last_powers, width);
	w.offsets = first_offsets(lens, n_steps, width);
	_mm512_storeu_si512(w.first, _mm512_add_epi64(_mm512_loadu_si512(g->texts), w.offsets));
	THROUGH_MEMORY(w.first);
	/* Steps in which a lane has not yet, or just, met its text. */
	n_edges = (uint32_t)(-_mm512_reduce_min_epi64(w.offsets) + (int64_t)stride - 1) / stride;
	load_edge(&w, g, lens, c, tops);
	transpose_chunks(c, &blocks);
	for (uint32_t step = 1; step < n_steps; step++) {
		__m512i next_tops[POLY_BLOCKS] = {TOP, TOP, TOP, TOP};

		w.offsets = _mm512_add_epi64(w.offsets, splat64(stride));
		if (step + 1 < n_steps && step + 1 > n_edges)
			load_inside(&w, step * stride, c);
		else
			load_edge(&w, g, lens, c, next_tops);
		if (first == 0) {
			h = absorb(h, &blocks, tops, powers, 0, c, &next);
		} else {
			transpose_chunks(c, &next);
			if (first == 1)
				h = absorb(h, &blocks, tops, powers, 1, NULL, NULL);
			else if (first == 2)
				h = absorb(h, &blocks, tops, powers, 2, NULL, NULL);
			else
				h = absorb(h, &blocks, tops, powers, 3, NULL, NULL);
			first = 0;
		}
		blocks = next;
		for (unsigned b = 0; b < POLY_BLOCKS; b++)
			tops[b] = next_tops[b];
	}
	blocks.hi[3] = _mm512_mask_mov_epi64(blocks.hi[3], ending, lens);
	h = absorb(h, &blocks, tops, width == 1 ? powers : last_powers, 0, NULL, NULL);
	if (width > 1)
		h = gather_lanes(h, width);
	finish_tags(h, g->s_lo, g->s_hi, tags);
}

#endif
