/* lanes_walk.h - Poly1305 tags of up to 8 packets: how lanes go through texts of unequal lengths.
 *
 * Spec:    RFC 8439, 2.8, without associated data.
 * Threads: pure functions. Only for lanes_tags.c, which is compiled for AVX-512.
 *
 * Lanes go along together in steps of 64 bytes that end together: the last one holds the last
 * three blocks of text and the length block. Whatever precedes the text counts as zero blocks in
 * front of the first, which change nothing as the sum is still zero.
 *
 * A packet may have 1, 2 or 4 lanes (its width) to itself: lane j takes the chunks j, j + width...
 * with the 4 * width-th power of r between two of its own, and its last chunk is brought to where
 * it belongs by a power of its own.
 */
#ifndef PORTIER_AEAD_LANES_WALK_H
#define PORTIER_AEAD_LANES_WALK_H

#include "aead/lanes_poly.h"

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

/* How the lanes go through their texts: at each step a chunk of each lane, at its offset from the
 * start of its text. The first of a lane that is not wholly in front of it is its head. */
struct poly_walk {
	__m512i heads[POLY_LANES];  /* their bytes, zero in front of the text */
	__m512i offsets, first;	    /* of step 0; and as addresses */
	uintptr_t from[POLY_LANES]; /* first; then addresses of a step */
	uint64_t masks[POLY_LANES]; /* of load_edge */
	uint32_t n_steps, n_edges;  /* from step n_edges on all lanes are behind their heads */
	uint32_t stride;	    /* bytes from step to step */
	bool is_even;		    /* all lengths are len_max, all offsets the same */
	int64_t len_max, offset;    /* with is_even: of step 0 */
};

/* What was stored is loaded again, lane by lane: taking a vector apart costs more. */
#define THROUGH_MEMORY(x) __asm__("" : "+m"(x))

/* Chunks of which what lies in the texts counts. Where nothing does, the text itself is named (and
 * not read): what lies far before it may be on no page. */
ALWAYS_INLINE void load_edge(struct poly_walk *w, const struct poly_group *g, __m512i offsets,
	__m512i lens, __m512i c[POLY_LANES])
{
	const __m512i ones = splat64(UINT64_MAX), zero = _mm512_setzero_si512();
	__m512i skip = _mm512_max_epi64(_mm512_sub_epi64(zero, offsets), zero);
	__m512i end = _mm512_max_epi64(_mm512_sub_epi64(lens, offsets), zero);
	__m512i near = _mm512_maskz_mov_epi64(
		_mm512_cmpgt_epi64_mask(offsets, splat64(-(uint64_t)POLY_CHUNK)), offsets);

	/* A shift by 64 or more leaves nothing. */
	_mm512_storeu_si512(w->masks,
		_mm512_andnot_si512(_mm512_sllv_epi64(ones, end), _mm512_sllv_epi64(ones, skip)));
	_mm512_storeu_si512(w->from, _mm512_add_epi64(_mm512_loadu_si512(g->texts), near));
	THROUGH_MEMORY(w->masks);
	THROUGH_MEMORY(w->from);
#pragma GCC unroll 8
	for (unsigned i = 0; i < POLY_LANES; i++)
		c[i] = _mm512_maskz_loadu_epi8(w->masks[i], (const void *)w->from[i]);
}

ALWAYS_INLINE void start_walk(struct poly_walk *w, const struct poly_group *g, __m512i lens,
	unsigned width, uint32_t len_max, bool is_even)
{
	w->n_steps = (count_chunks(len_max) + width - 1) / width;
	w->stride = POLY_CHUNK * width;
	w->is_even = is_even;
	w->len_max = len_max;
	if (is_even) {
		w->offset = (int64_t)((len_max + 31) & ~15u) - POLY_CHUNK * (int64_t)w->n_steps;
		w->n_edges = w->offset < 0;
		w->offsets = splat64((uint64_t)w->offset);
	} else {
		__m512i c[POLY_LANES], to_head = splat64(w->stride - 1);

		w->offsets = first_offsets(lens, w->n_steps, width);
		w->n_edges = (uint32_t)((w->stride - 1 - _mm512_reduce_min_epi64(w->offsets)) /
					w->stride);
		to_head = _mm512_and_si512(
			_mm512_add_epi64(w->offsets, splat64(POLY_CHUNK - 1)), to_head);
		load_edge(w, g, _mm512_sub_epi64(to_head, splat64(POLY_CHUNK - 1)), lens, c);
#pragma GCC unroll 8
		for (unsigned i = 0; i < POLY_LANES; i++)
			w->heads[i] = c[i];
	}
	w->first = _mm512_add_epi64(_mm512_loadu_si512(g->texts), w->offsets);
	_mm512_storeu_si512(w->from, w->first);
	THROUGH_MEMORY(w->from);
}

/* Chunks at done bytes from those that from names. */
ALWAYS_INLINE void load_whole(const struct poly_walk *w, size_t done, __m512i c[POLY_LANES])
{
#pragma GCC unroll 8
	for (unsigned i = 0; i < POLY_LANES; i++)
		c[i] = _mm512_loadu_si512((const void *)(w->from[i] + done));
}

/* The same, where in each lane the bytes skip to end - 1 count. */
ALWAYS_INLINE void load_part(
	const struct poly_walk *w, size_t done, int64_t skip, int64_t end, __m512i c[POLY_LANES])
{
	__mmask64 mask = (end < POLY_CHUNK ? (1ULL << end) - 1 : UINT64_MAX) &
			 UINT64_MAX << (skip > 0 ? skip : 0);

#pragma GCC unroll 8
	for (unsigned i = 0; i < POLY_LANES; i++)
		c[i] = _mm512_maskz_loadu_epi8(mask, (const void *)(w->from[i] + done));
}

/* Chunks of a step in which some lane is not behind its head: from the text, the head, or zeros in
 * front of it. In tops the blocks that are. */
ALWAYS_INLINE void load_early(
	struct poly_walk *w, size_t done, __m512i c[POLY_LANES], __m512i tops[POLY_BLOCKS])
{
	static const uint8_t zeros[POLY_CHUNK];
	__m512i offsets = _mm512_add_epi64(w->offsets, splat64(done));
	__m512i heads = _mm512_add_epi64(splat64((uintptr_t)w->heads),
		_mm512_setr_epi64(0, 64, 128, 192, 256, 320, 384, 448));
	__mmask8 is_in = _mm512_cmpgt_epi64_mask(offsets, splat64(-(uint64_t)POLY_CHUNK));
	__mmask8 is_whole = _mm512_cmpge_epi64_mask(offsets, splat64(0));
	__m512i from = _mm512_mask_mov_epi64(splat64((uintptr_t)zeros), is_in, heads);

	from = _mm512_mask_add_epi64(from, is_whole, w->first, splat64(done));
	_mm512_storeu_si512(w->from, from);
	THROUGH_MEMORY(w->from);
	load_whole(w, 0, c);
#pragma GCC unroll 4
	for (unsigned b = 0; b < POLY_BLOCKS; b++)
		tops[b] = _mm512_maskz_mov_epi64(
			_mm512_cmpge_epi64_mask(offsets, splat64(-(uint64_t)(16 * b))), TOP);
	/* The next step may be one for load_whole. */
	_mm512_storeu_si512(w->from, w->first);
	THROUGH_MEMORY(w->from);
}

/* The chunks of a step, and in tops the blocks that are. */
ALWAYS_INLINE void load_chunks(struct poly_walk *w, const struct poly_group *g, __m512i lens,
	uint32_t step, __m512i c[POLY_LANES], __m512i tops[POLY_BLOCKS])
{
	size_t done = (size_t)step * w->stride;
	bool is_last = step + 1 == w->n_steps;

#pragma GCC unroll 4
	for (unsigned b = 0; b < POLY_BLOCKS; b++)
		tops[b] = TOP;
	if (step >= w->n_edges && !is_last) {
		load_whole(w, done, c);
	} else if (w->is_even) {
		int64_t offset = w->offset + (int64_t)done;

		load_part(w, done, -offset, w->len_max - offset, c);
		/* Only in step 0 a block may be missing. */
#pragma GCC unroll 4
		for (unsigned b = 0; b < POLY_BLOCKS; b++)
			tops[b] = _mm512_maskz_mov_epi64(
				offset + 16 * (int64_t)b >= 0 ? 0xff : 0, TOP);
	} else if (!is_last) {
		load_early(w, done, c, tops);
	} else {
		__m512i offsets = _mm512_add_epi64(w->offsets, splat64(done));

		load_edge(w, g, offsets, lens, c);
#pragma GCC unroll 4
		for (unsigned b = 0; b < POLY_BLOCKS; b++)
			tops[b] = _mm512_maskz_mov_epi64(
				_mm512_cmpge_epi64_mask(offsets, splat64(-(uint64_t)(16 * b))),
				TOP);
	}
}

/* The tags of a group: that of lane i in tags[i % 2], 128 bits i / 2; of a packet with several
 * lanes in each of them. width: 1, 2 or 4 lanes a packet. is_even: all lengths are len_max, and
 * width is 1; else it is the longest. w: memory to work in, without secrets. */
ALWAYS_INLINE void poly_tags(const struct poly_group *g, struct poly_walk *w, unsigned width,
	uint32_t len_max, bool is_even, __m512i tags[2])
{
	const __m512i lens = _mm512_loadu_si512(g->lens);
	/* The lane of a packet that meets the length block. */
	const __mmask8 ending = width == 1 ? 0xff : width == 2 ? 0xaa : 0x88;
	/* Blocks of step 0 that no packet has. */
	unsigned first = width == 1 ? 3 - (len_max + 15) / 16 % POLY_BLOCKS : 0;
	struct number h = {splat64(0), splat64(0), splat64(0)};
	__m512i c[POLY_LANES], tops[POLY_BLOCKS];
	struct factor powers[POLY_BLOCKS], last_powers[POLY_BLOCKS];
	struct blocks blocks, next;

	start_walk(w, g, lens, width, len_max, is_even);
	raise(powers, g);
	if (width > 1)
		widen(powers, last_powers, width);
	load_chunks(w, g, lens, 0, c, tops);
	transpose_chunks(c, &blocks);
	for (uint32_t step = 1; step < w->n_steps; step++) {
		__m512i next_tops[POLY_BLOCKS];

		load_chunks(w, g, lens, step, c, next_tops);
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
#pragma GCC unroll 4
		for (unsigned b = 0; b < POLY_BLOCKS; b++) {
			blocks.lo[b] = next.lo[b];
			blocks.hi[b] = next.hi[b];
			tops[b] = next_tops[b];
		}
	}
	blocks.hi[3] = _mm512_mask_mov_epi64(blocks.hi[3], ending, lens);
	h = absorb(h, &blocks, tops, width == 1 ? powers : last_powers, 0, NULL, NULL);
	if (width > 1)
		h = gather_lanes(h, width);
	finish_tags(h, width, g->s_lo, g->s_hi, tags);
}

#endif
