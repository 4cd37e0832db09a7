/* lanes_columns.c - columns of ChaCha20: which packets and blocks fill them, and running them. */
#include "aead/lanes_impl.h"

/* Forged packets of a set that keep their lanes; with more it is cheaper to fill lanes anew. */
#define DEAD_MAX 2

/* --- columns ---------------------------------------------------------------------------------- */

/* Blocks 0 of a whole set. */
static NOINLINE void run_keys_column(struct lanes *l, unsigned set)
{
	struct state16 *s = &l->secret.state;
	v16 x[16], *out = l->secret.poly_keys[set];

	load_state(s, &l->column);
	fill_words(x, s);
	COLUMN_ROUND(x);
	save_first_round(&l->secret.first, x);
	LATER_ROUNDS(x);
	add_words(x, s);
	for (unsigned w = 0; w < 8; w++)
		out[w] = x[w];
}

ALWAYS_INLINE void run_set_columns(struct lanes *l, uint32_t from, uint32_t to, bool is_whole)
{
	const struct first_round *first = &l->secret.first;
	struct state16 *s = &l->secret.state;
	struct rows *rows = &l->rows;
	v16 x[16];

	for (uint32_t block = from; block < to; block++) {
		s->block = splat(block);
		fill_words(x, s);
		load_first_round(x, first);
		FIRST_QUARTER(x);
		LATER_ROUNDS(x);
		add_words(x, s);
		apply_rows(rows, x, is_whole);
		advance_rows(rows);
	}
}

/* Blocks from to to - 1 of a whole set, of which all bytes count. */
static NOINLINE void run_whole_columns(struct lanes *l, uint32_t from, uint32_t to)
{
	run_set_columns(l, from, to, true);
}

/* One block of a whole set. */
static NOINLINE void run_masked_column(struct lanes *l, uint32_t block)
{
	run_set_columns(l, block, block + 1, false);
}

/* A column of any blocks. */
ALWAYS_INLINE void run_mixed_column(struct lanes *l, v16 *poly_keys, bool is_whole)
{
	struct state16 s;
	v16 x[16];

	load_state(&s, &l->column);
	fill_words(x, &s);
	COLUMN_ROUND(x);
	LATER_ROUNDS(x);
	add_words(x, &s);
	if (poly_keys)
		for (unsigned w = 0; w < 8; w++)
			poly_keys[w] = x[w];
	apply_rows(&l->rows, x, is_whole);
}

/* The same for 8 lanes. */
ALWAYS_INLINE void run_mixed_column8(struct lanes *l, v16 *poly_keys, bool is_whole)
{
	struct state16 s;
	v8 x[16];

	load_state(&s, &l->column);
	fill_words8(x, &s);
	COLUMN_ROUND(x);
	LATER_ROUNDS(x);
	add_words8(x, &s);
	if (poly_keys)
		for (unsigned w = 0; w < 8; w++)
			poly_keys[w] = (v16)_mm512_zextsi256_si512((__m256i)x[w]);
	apply_rows8(&l->rows, x, is_whole);
}

static NOINLINE void run_mixed_whole(struct lanes *l)
{
	run_mixed_column(l, NULL, true);
}

static NOINLINE void run_mixed_masked(struct lanes *l, v16 *poly_keys)
{
	run_mixed_column(l, poly_keys, false);
}

static NOINLINE void run_mixed_masked8(struct lanes *l, v16 *poly_keys)
{
	run_mixed_column8(l, poly_keys, false);
}

/* --- what goes into them ---------------------------------------------------------------------
 */

void lanes_add_run(struct lanes *l, const struct aead_job *job, uint32_t next)
{
	uint32_t n_blocks = count_blocks(job->len);

	if (next < n_blocks)
		l->runs[l->n_runs++] = (struct run){job, next, n_blocks};
}

static inline void name_lane(
	struct lanes *l, unsigned lane, const struct aead_job *job, uint32_t block)
{
	l->column.keys[lane] = job->key;
	l->column.counters[lane] = job->counter;
	l->column.blocks[lane] = block;
}

static inline void drop_lane(struct lanes *l, unsigned lane)
{
	l->rows.src[lane] = l->zeros;
	l->rows.dst[lane] = l->secret.sink;
	l->rows.mask[lane] = 0;
	l->rows.step[lane] = 0;
}

/* block counts from 0: bytes 64 block and up of the text. */
static inline void aim_lane(
	struct lanes *l, unsigned lane, const struct aead_job *job, uint32_t block)
{
	uint32_t at = block * BLOCK_BYTES, left = job->len - at;

	l->rows.src[lane] = job->src + at;
	l->rows.dst[lane] = job->dst + at;
	l->rows.mask[lane] = left >= BLOCK_BYTES ? UINT64_MAX : (1ULL << left) - 1;
	l->rows.step[lane] = BLOCK_BYTES;
}

/* Blocks of runs into lanes from lane on. Returns the next free lane. */
static unsigned fill_lanes(struct lanes *l, unsigned lane)
{
	while (lane < N_LANES && l->next_run < l->n_runs) {
		struct run *run = &l->runs[l->next_run];

		for (; lane < N_LANES && run->next < run->end; lane++, run->next++) {
			name_lane(l, lane, run->job, run->next + 1);
			aim_lane(l, lane, run->job, run->next);
		}
		if (run->next == run->end)
			l->next_run++;
	}
	return lane;
}

/* Lanes without a block get somebody's key and go nowhere. */
static void run_filled_column(struct lanes *l, unsigned n, v16 *poly_keys)
{
	uint64_t all = UINT64_MAX;

	for (unsigned lane = n; lane < (n <= 8 ? 8 : N_LANES); lane++) {
		l->column.blocks[lane] = 0;
		drop_lane(l, lane);
	}
	/* Names of lanes that no column of this burst has used are of the burst before. */
	for (unsigned lane = n; lane < N_LANES; lane++) {
		l->column.keys[lane] = l->column.keys[0];
		l->column.counters[lane] = 0;
	}
	for (unsigned lane = 0; lane < N_LANES; lane++)
		all &= l->rows.mask[lane];
	if (n <= 8)
		run_mixed_masked8(l, poly_keys);
	else if (all == UINT64_MAX && !poly_keys)
		run_mixed_whole(l);
	else
		run_mixed_masked(l, poly_keys);
}

void lanes_flush_runs(struct lanes *l)
{
	while (l->next_run < l->n_runs)
		run_filled_column(l, fill_lanes(l, 0), NULL);
	l->n_runs = l->next_run = 0;
}

void lanes_run_keys(struct lanes *l, unsigned set, struct aead_job *const jobs[N_LANES])
{
	for (unsigned i = 0; i < N_LANES; i++)
		name_lane(l, i, jobs[i], 0);
	run_keys_column(l, set);
}

/* Lines of one column in so few sets of the L1 cache that they would push each other out: frames at
 * a stride of 4096 bytes. (48 KiB and 12 ways on Sapphire Rapids.) */
static bool has_conflicts(struct aead_job *const jobs[N_LANES])
{
	uint64_t src_sets = 0, dst_sets = 0;

	for (unsigned i = 0; i < N_LANES; i++) {
		src_sets |= 1ULL << ((uintptr_t)jobs[i]->src >> 6 & 63);
		dst_sets |= 1ULL << ((uintptr_t)jobs[i]->dst >> 6 & 63);
	}
	return __builtin_popcountll(src_sets) < 2 || __builtin_popcountll(dst_sets) < 2;
}

void lanes_run_set(struct lanes *l, struct aead_job *const jobs[N_LANES], uint64_t dead)
{
	/* The last is the shortest. */
	uint32_t len_min = jobs[N_LANES - 1]->len;
	uint32_t n_whole = len_min / BLOCK_BYTES, n_common = count_blocks(len_min);

	if (__builtin_popcountll(dead) > DEAD_MAX || (n_whole >= 4 && has_conflicts(jobs)))
		n_whole = n_common = 0;
	if (n_common > 0) {
		for (unsigned i = 0; i < N_LANES; i++) {
			aim_lane(l, i, jobs[i], 0);
			if (dead >> i & 1)
				drop_lane(l, i);
		}
		run_whole_columns(l, 1, n_whole + 1);
	}
	if (n_common > n_whole) {
		for (unsigned i = 0; i < N_LANES; i++)
			if (!(dead >> i & 1))
				aim_lane(l, i, jobs[i], n_whole);
		run_masked_column(l, n_common);
	}
	for (unsigned i = 0; i < N_LANES; i++)
		if (!(dead >> i & 1))
			lanes_add_run(l, jobs[i], n_common);
}

void lanes_run_part_keys(
	struct lanes *l, unsigned set, struct aead_job *const *jobs, unsigned n, bool is_deferred)
{
	unsigned lane;

	for (lane = 0; lane < n; lane++) {
		name_lane(l, lane, jobs[lane], 0);
		drop_lane(l, lane);
	}
	lane = fill_lanes(l, n);
	for (unsigned i = 0; is_deferred && i < n; i++)
		for (uint32_t b = 0; lane < N_LANES && b < count_blocks(jobs[i]->len); b++) {
			name_lane(l, lane, jobs[i], b + 1);
			l->rows.src[lane] = l->zeros;
			l->rows.dst[lane] = l->secret.keystream[l->n_deferred];
			l->rows.mask[lane] = UINT64_MAX;
			l->deferred[l->n_deferred++] = (struct deferred){jobs[i], b};
			lane++;
		}
	run_filled_column(l, lane, l->secret.poly_keys[set]);
}

void lanes_settle(struct lanes *l, struct aead_job *const *jobs, unsigned n, uint64_t forged)
{
	unsigned d = 0;

	for (unsigned i = 0; i < n; i++) {
		uint32_t next = 0;

		for (; d < l->n_deferred && l->deferred[d].job == jobs[i]; d++, next++) {
			if (forged >> i & 1)
				continue;
			aim_lane(l, 0, jobs[i], next);
			apply_row(&l->rows, 0, _mm512_loadu_si512(l->secret.keystream[d]), false);
		}
		if (!(forged >> i & 1))
			lanes_add_run(l, jobs[i], next);
	}
	l->n_deferred = 0;
}
