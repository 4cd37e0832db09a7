/* lanes_avx2.c - a burst cut into columns of 8 blocks for ChaCha20 and pairs for Poly1305.
 *
 * Packets are taken longest first, in sets of 8. A whole set of short packets has one column for
 * its Poly1305 keys (block 0 of each) and one for each further block that all have, with keys put
 * into lanes once. Everything else (long packets, blocks that only some have, a set that is not
 * whole) becomes runs of one packet each, which fill columns one behind the other. Keys are made by
 * the set even so: to open, always; to seal, where they would not fill what texts leave of a
 * column.
 *
 * Tags are worked two and two, beside the columns of other packets: to seal, those of packets whose
 * text is done; to open, those of packets that come next. What is not done by then is worked alone.
 */
#include "aead/lanes_avx2.h"
#include "aead/lanes_avx2_column.h"
#include "aead/lanes_wipe.h"

#include <assert.h>

#define NOINLINE __attribute__((noinline))

/* Everybody sees which packets were right: from there on, branches may depend on it. Their test
 * says so to valgrind, to which all that was computed from secrets is secret. */
#ifdef PORTIER_LANES_MEMCHECK
#include <valgrind/memcheck.h>
#define MAKE_PUBLIC(value) VALGRIND_MAKE_MEM_DEFINED(&(value), sizeof(value))
#else
#define MAKE_PUBLIC(value)
#endif

/* Texts of more blocks go packet by packet: their lines stay in the cache, and frames at a stride
 * of 4096 bytes do not push each other out of it. */
#define SET_BLOCKS_MAX 4

/* Of the deepest callee, and some. */
#define STACK_BYTES 2560u

/* Blocks next to end - 1 of a packet, which no column has taken yet; block 0 is its Poly1305 key,
 * block b the bytes 64 (b - 1) and up of the text. nth: among the sorted jobs. */
struct run {
	const struct aead_job *job;
	uint32_t next, end;
	unsigned nth;
};

/* The end of a text in a lane of its own, n bytes. */
struct part {
	const uint8_t *src, *stream;
	uint8_t *dst;
	uint32_t n;
};

struct lanes_avx2 {
	/* Wiped after each call, up to the last key and pair in use. */
	struct {
		struct state8 state;
		uint8_t keystream[N_LANES][BLOCK_BYTES]; /* of lanes that are no whole block */
		uint8_t poly_keys[AEAD_BURST_MAX][BLOCK_BYTES]; /* block 0: 32 bytes of it */
		struct tag_pair pairs[AEAD_BURST_MAX / 2];
	} secret;
	/* What a column is, by lane. Rows of 8 are written from any lane on. */
	const uint8_t *src[2 * N_LANES];
	uint8_t *dst[2 * N_LANES];
	const uint8_t *keys[2 * N_LANES];
	uint64_t counters[2 * N_LANES];
	uint32_t blocks[2 * N_LANES];
	struct part parts[N_LANES];
	unsigned n_parts;

	struct run runs[AEAD_BURST_MAX];
	unsigned first_run, n_runs;
	uint32_t n_waiting; /* blocks of those runs */

	/* The burst, longest first. Its tags are begun in the order of tagged, and ended in it. */
	struct aead_job *const *jobs;
	bool is_seal;
	uint8_t tagged[AEAD_BURST_MAX];
	unsigned n_begun, n_ended;
	struct tag_pair *pair; /* the first that has steps left */
	uint64_t forged;       /* to open: whose tags differ */
	uint8_t zeros[BLOCK_BYTES];
} __attribute__((aligned(LANES_AVX2_ALIGN)));

size_t lanes_avx2_bytes(void)
{
	return sizeof(struct lanes_avx2);
}

static uint32_t count_blocks(uint32_t len)
{
	return (len + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

/* --- columns ---------------------------------------------------------------------------------- */

/* row[0] and up: 8 times the same value. */
static inline void fill_row(void *row, uint64_t value)
{
	__m256i four = _mm256_set1_epi64x((int64_t)value);

	_mm256_storeu_si256(row, four);
	_mm256_storeu_si256((__m256i *)row + 1, four);
}

/* row[0] and up: 8 blocks of a text, one behind the other. They may reach behind its end. */
static inline void fill_row_of_blocks(void *row, uintptr_t text)
{
	const __m256i at = _mm256_setr_epi64x(0, BLOCK_BYTES, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES);
	__m256i four = _mm256_add_epi64(_mm256_set1_epi64x((int64_t)text), at);

	_mm256_storeu_si256(row, four);
	_mm256_storeu_si256(
		(__m256i *)row + 1, _mm256_add_epi64(four, _mm256_set1_epi64x(4 * BLOCK_BYTES)));
}

/* Each of 8 goes on to its next block. */
static inline void advance_row(void *row)
{
	__m256i *four = row;

	for (unsigned i = 0; i < 2; i++)
		_mm256_storeu_si256(four + i, _mm256_add_epi64(_mm256_loadu_si256(four + i),
						      _mm256_set1_epi64x(BLOCK_BYTES)));
}

/* A lane that keeps its key stream here. */
static inline void keep_lane(struct lanes_avx2 *l, unsigned lane)
{
	l->src[lane] = l->zeros;
	l->dst[lane] = l->secret.keystream[lane];
}

/* The last block of a text, where it is not a whole one. */
static inline void keep_part(
	struct lanes_avx2 *l, unsigned lane, const struct aead_job *job, uint32_t at)
{
	keep_lane(l, lane);
	l->parts[l->n_parts++] = (struct part){
		job->src + at, l->secret.keystream[lane], job->dst + at, job->len - at};
}

/* A block of text of a packet that has it. */
static inline void aim_lane(
	struct lanes_avx2 *l, unsigned lane, const struct aead_job *job, uint32_t block)
{
	uint32_t at = (block - 1) * BLOCK_BYTES;

	if (at + BLOCK_BYTES > job->len) {
		keep_part(l, lane, job, at);
		return;
	}
	l->src[lane] = job->src + at;
	l->dst[lane] = job->dst + at;
}

static void apply_part(const struct part *p)
{
	uint32_t i = 0;

	for (; i + 16 <= p->n; i += 16)
		_mm_storeu_si128((void *)(p->dst + i),
			_mm_xor_si128(_mm_loadu_si128((const void *)(p->src + i)),
				_mm_load_si128((const void *)(p->stream + i))));
	for (; i < p->n; i++)
		p->dst[i] = p->src[i] ^ p->stream[i];
}

static void use_parts(struct lanes_avx2 *l)
{
	for (; l->n_parts; l->n_parts--)
		apply_part(&l->parts[l->n_parts - 1]);
}

static NOINLINE void end_pairs(struct lanes_avx2 *l);

static const struct tag_pair *pairs_end(const struct lanes_avx2 *l)
{
	return l->secret.pairs + l->n_begun / 2;
}

static NOINLINE void run_lanes(struct lanes_avx2 *l)
{
	__m256i x[16];

	run_column(&l->secret.state, x, &l->pair, pairs_end(l));
	apply_column(x, l->src, l->dst);
	end_pairs(l);
}

static NOINLINE void load_set(struct lanes_avx2 *l, unsigned first)
{
	for (unsigned i = 0; i < N_LANES; i++) {
		l->keys[i] = l->jobs[first + i]->key;
		l->counters[i] = l->jobs[first + i]->counter;
	}
	load_state(&l->secret.state, l->keys, l->counters);
}

/* The Poly1305 keys of the set whose state is loaded. */
static NOINLINE void run_set_keys(struct lanes_avx2 *l, unsigned first)
{
	__m256i x[16];

	l->secret.state.block = splat(0);
	run_column(&l->secret.state, x, &l->pair, pairs_end(l));
	store_halves(x, l->secret.poly_keys[first], BLOCK_BYTES);
	end_pairs(l);
}

/* The blocks of text that all packets of the set have whose state is loaded; returns how many.
 * Forged packets keep theirs. */
static uint32_t run_set_texts(struct lanes_avx2 *l, unsigned first, unsigned forged)
{
	uint32_t shortest = l->jobs[first + N_LANES - 1]->len, n_blocks = count_blocks(shortest);

	for (uint32_t block = 1; block <= n_blocks; block++) {
		l->secret.state.block = splat(block);
		if (block > 1 && block * BLOCK_BYTES <= shortest && !forged) {
			advance_row(l->src);
			advance_row(l->dst);
		} else {
			for (unsigned i = 0; i < N_LANES; i++) {
				if (forged >> i & 1)
					keep_lane(l, i);
				else
					aim_lane(l, i, l->jobs[first + i], block);
			}
		}
		run_lanes(l);
		use_parts(l);
	}
	return n_blocks;
}

/* --- tags ------------------------------------------------------------------------------------- */

/* Of a packet whose Poly1305 key is there, and the text that it is for. */
static void begin_tag(struct lanes_avx2 *l, unsigned nth)
{
	unsigned k = l->n_begun % 2;
	struct tag_pair *t = &l->secret.pairs[l->n_begun / 2];
	const struct aead_job *job = l->jobs[nth];
	uint32_t n_steps = job->len / TAG_STEP_BYTES;

	poly_begin(&t->poly[k], l->secret.poly_keys[nth]);
	t->text[k] = l->is_seal ? job->dst : job->src;
	t->n_steps = k == 0 || n_steps < t->n_steps ? n_steps : t->n_steps;
	l->tagged[l->n_begun++] = (uint8_t)nth;
}

/* Written behind the text, or compared with what is there. */
static void settle_tag(struct lanes_avx2 *l, unsigned nth, const uint64_t tag[2])
{
	const struct aead_job *job = l->jobs[nth];
	uint64_t there[2];

	if (l->is_seal) {
		memcpy(job->dst + job->len, tag, AEAD_TAG_BYTES);
		return;
	}
	memcpy(there, job->src + job->len, AEAD_TAG_BYTES);
	l->forged |= (uint64_t)(((there[0] ^ tag[0]) | (there[1] ^ tag[1])) != 0) << nth;
}

/* Of the next tags, one or two: what is not in whole steps of both, and the lengths. */
static void end_some(struct lanes_avx2 *l, unsigned n)
{
	struct tag_pair *t = &l->secret.pairs[l->n_ended / 2];

	for (unsigned k = 0; k < n; k++) {
		unsigned nth = l->tagged[l->n_ended + k];
		const struct aead_job *job = l->jobs[nth];
		const uint8_t *text = l->is_seal ? job->dst : job->src;
		uint64_t tag[2];

		poly_rest(&t->poly[k], text, (uint32_t)(t->text[k] - text), job->len);
		poly_end(&t->poly[k], l->secret.poly_keys[nth], tag);
		settle_tag(l, nth, tag);
	}
	l->n_ended += n;
}

/* Those of which columns have done all that they can. */
static NOINLINE void end_pairs(struct lanes_avx2 *l)
{
	while (&l->secret.pairs[l->n_ended / 2] < l->pair)
		end_some(l, 2);
}

/* The first n_tags that were begun. An odd number: no more are begun. */
static NOINLINE void end_tags(struct lanes_avx2 *l, unsigned n_tags)
{
	while (l->n_ended < n_tags) {
		unsigned n = l->n_begun - l->n_ended < 2 ? 1 : 2;

		if (n == 2)
			run_steps(l->pair++);
		end_some(l, n);
	}
}

/* --- runs ------------------------------------------------------------------------------------- */

static void add_run(struct lanes_avx2 *l, unsigned nth, uint32_t next, uint32_t end)
{
	l->runs[l->n_runs++] = (struct run){l->jobs[nth], next, end, nth};
	l->n_waiting += end - next;
}

/* As many blocks as the run still has go into lanes from this one on; returns the first lane that
 * is left. Rows reach further, and what follows overwrites that. */
static unsigned aim_run(struct lanes_avx2 *l, struct run *run, unsigned lane)
{
	const struct aead_job *job = run->job;
	uint64_t at = ((uint64_t)run->next - 1) * BLOCK_BYTES;
	uint32_t n = run->end - run->next, text_end;

	n = n < N_LANES - lane ? n : N_LANES - lane;
	fill_row_of_blocks(l->src + lane, (uintptr_t)job->src + at);
	fill_row_of_blocks(l->dst + lane, (uintptr_t)job->dst + at);
	if (run->next == 0) {
		l->src[lane] = l->zeros;
		l->dst[lane] = l->secret.poly_keys[run->nth];
	}
	run->next += n;
	text_end = (run->next - 1) * BLOCK_BYTES;
	if (text_end > job->len)
		keep_part(l, lane + n - 1, job, text_end - BLOCK_BYTES);
	return lane + n;
}

/* Blocks of one packet in neighbouring lanes. */
struct segment {
	const struct aead_job *job;
	uint32_t block; /* of its first lane */
	unsigned lane;
};

/* Lanes behind the last segment go on with it. */
static NOINLINE void load_segments(
	struct lanes_avx2 *l, const struct segment *segments, unsigned n_segments)
{
	const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	const struct segment *a = &segments[0], *b = &segments[1];
	struct state8 *state = &l->secret.state;

	if (n_segments == 1) {
		load_state_of_one(state, a->job->key, a->job->counter);
		state->block = _mm256_add_epi32(lanes, splat(a->block));
		return;
	}
	if (n_segments == 2) {
		__m256i is_second = _mm256_cmpgt_epi32(lanes, splat(b->lane - 1));

		load_state_of_two(state, (const uint8_t *const[]){a->job->key, b->job->key},
			(const uint64_t[]){a->job->counter, b->job->counter}, is_second);
		state->block = _mm256_add_epi32(lanes,
			_mm256_blendv_epi8(splat(a->block), splat(b->block - b->lane), is_second));
		return;
	}
	for (const struct segment *s = segments; s < segments + n_segments; s++) {
		fill_row(l->keys + s->lane, (uintptr_t)s->job->key);
		fill_row(l->counters + s->lane, s->job->counter);
		_mm256_storeu_si256(
			(void *)(l->blocks + s->lane), _mm256_add_epi32(lanes, splat(s->block)));
	}
	load_state(state, l->keys, l->counters);
	state->block = _mm256_loadu_si256((const void *)l->blocks);
}

/* A column of the next blocks of runs. To seal, tags begin where texts end. */
static void run_from_runs(struct lanes_avx2 *l)
{
	struct segment segments[N_LANES];
	unsigned ended[N_LANES], n_ended = 0, n_segments = 0, n = 0;

	while (n < N_LANES && l->first_run < l->n_runs) {
		struct run *run = &l->runs[l->first_run];

		segments[n_segments++] = (struct segment){run->job, run->next, n};
		n = aim_run(l, run, n);
		if (run->next == run->end) {
			ended[n_ended++] = run->nth;
			l->first_run++;
		}
	}
	l->n_waiting -= n;
	load_segments(l, segments, n_segments);
	for (; n < N_LANES; n++)
		keep_lane(l, n);
	run_lanes(l);
	use_parts(l);
	for (unsigned i = 0; i < n_ended && l->is_seal; i++)
		begin_tag(l, ended[i]);
}

/* All runs, or as long as they fill columns. */
static void flush_runs(struct lanes_avx2 *l, bool is_last)
{
	while (l->n_waiting >= (is_last ? 1 : N_LANES))
		run_from_runs(l);
	if (is_last)
		l->first_run = l->n_runs = 0;
}

/* --- bursts ----------------------------------------------------------------------------------- */

/* The jobs that can be done, longest first. Returns their number. */
static uint16_t sort_jobs(
	struct aead_job *jobs, uint16_t n, struct aead_job *sorted[AEAD_BURST_MAX])
{
	uint32_t keys[AEAD_BURST_MAX] __attribute__((aligned(32))), differ = 0, all = 0;
	uint16_t n_good = 0;

	for (uint16_t i = 0; i < n; i++) {
		sorted[i] = &jobs[i];
		differ |= jobs[i].len ^ jobs[0].len;
		all |= jobs[i].len;
	}
	if (differ == 0 && all <= LANES_AVX2_LEN_MAX)
		return n;
	/* Each key's place is the number of larger ones; keys not in use are 0. */
	memset(keys, 0, sizeof(keys));
	for (uint16_t i = 0; i < n; i++)
		if (jobs[i].len <= LANES_AVX2_LEN_MAX)
			keys[n_good++] = jobs[i].len << 6 | i;
	for (uint16_t i = 0; i < n_good; i++) {
		__m256i own = splat(keys[i]);
		unsigned place = 0;

		for (unsigned v = 0; v < n_good; v += N_LANES) {
			__m256i larger = _mm256_cmpgt_epi32(
				_mm256_load_si256((const void *)(keys + v)), own);

			place += (unsigned)__builtin_popcount(
				(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(larger)));
		}
		sorted[place] = &jobs[keys[i] % AEAD_BURST_MAX];
	}
	return n_good;
}

/* Does a whole set begin here, of packets that go through their texts together? The shortest is the
 * last. */
static bool is_short_set(const struct lanes_avx2 *l, unsigned first, unsigned n)
{
	return n - first >= N_LANES &&
	       count_blocks(l->jobs[first + N_LANES - 1]->len) <= SET_BLOCKS_MAX;
}

/* Does a whole set begin here, of texts that fill columns without a rest? Its keys have a column of
 * their own; others go in front of their texts, where they fill what is left. */
static bool is_even_set(const struct lanes_avx2 *l, unsigned first, unsigned n)
{
	uint32_t rest = 0;

	if (n - first < N_LANES)
		return false;
	for (unsigned i = first; i < first + N_LANES; i++)
		rest |= count_blocks(l->jobs[i]->len) % N_LANES;
	return rest == 0;
}

static void begin_burst(struct lanes_avx2 *l, struct aead_job *const *jobs, bool is_seal)
{
	l->jobs = jobs;
	l->is_seal = is_seal;
	l->n_begun = l->n_ended = 0;
	l->pair = l->secret.pairs;
	l->n_parts = 0;
	l->forged = 0;
}

static void seal_set(struct lanes_avx2 *l, unsigned first, bool is_short)
{
	uint32_t next = 1;

	load_set(l, first);
	run_set_keys(l, first);
	if (is_short)
		next += run_set_texts(l, first, 0);
	for (unsigned i = first; i < first + N_LANES; i++) {
		uint32_t end = 1 + count_blocks(l->jobs[i]->len);

		if (next < end)
			add_run(l, i, next, end);
		else
			begin_tag(l, i);
	}
}

static NOINLINE void seal_all(struct lanes_avx2 *l, struct aead_job *jobs, uint16_t n)
{
	struct aead_job *sorted[AEAD_BURST_MAX];
	unsigned first = 0;

	for (uint16_t i = 0; i < n; i++)
		if (jobs[i].len > LANES_AVX2_LEN_MAX)
			memset(jobs[i].dst, 0, (size_t)jobs[i].len + AEAD_TAG_BYTES);
	n = sort_jobs(jobs, n, sorted);
	begin_burst(l, sorted, true);
	while (first < n) {
		bool is_short = is_short_set(l, first, n);

		if (is_short || is_even_set(l, first, n)) {
			seal_set(l, first, is_short);
			first += N_LANES;
		} else {
			add_run(l, first, 0, 1 + count_blocks(sorted[first]->len));
			first++;
		}
	}
	flush_runs(l, true);
	end_tags(l, n);
}

/* Poly1305 keys of all packets. The tags of a set begin while the next has its keys made. */
static void run_keys(struct lanes_avx2 *l, unsigned n)
{
	unsigned first = 0;

	for (; n - first >= N_LANES; first += N_LANES) {
		load_set(l, first);
		run_set_keys(l, first);
		for (unsigned i = 0; i < N_LANES; i++)
			begin_tag(l, first + i);
	}
	for (unsigned i = first; i < n; i++)
		add_run(l, i, 0, 1);
	flush_runs(l, true);
	for (unsigned i = first; i < n; i++)
		begin_tag(l, i);
}

/* Texts of packets whose tags are known; beside them go the tags of those that follow. */
static void open_group(struct lanes_avx2 *l, unsigned first, unsigned n_group)
{
	unsigned forged = (unsigned)(l->forged >> first) & ((1u << n_group) - 1);
	uint32_t n_common = 0;

	/* Where most are forged, columns would be nearly empty. */
	if (n_group == N_LANES && __builtin_popcount(forged) <= N_LANES / 2) {
		load_set(l, first);
		n_common = run_set_texts(l, first, forged);
	}
	for (unsigned i = 0; i < n_group; i++) {
		struct aead_job *job = l->jobs[first + i];

		job->is_authentic = !(forged >> i & 1);
		if (job->is_authentic && count_blocks(job->len) > n_common)
			add_run(l, first + i, 1 + n_common, 1 + count_blocks(job->len));
	}
	flush_runs(l, false);
}

static NOINLINE void open_all(struct lanes_avx2 *l, struct aead_job *jobs, uint16_t n)
{
	struct aead_job *sorted[AEAD_BURST_MAX];
	unsigned n_group;

	n = sort_jobs(jobs, n, sorted);
	begin_burst(l, sorted, false);
	run_keys(l, n);
	for (unsigned first = 0; first < n; first += n_group) {
		n_group = is_short_set(l, first, n) ? N_LANES : n - first < 2 ? 1 : 2;
		end_tags(l, first + n_group);
		MAKE_PUBLIC(l->forged);
		open_group(l, first, n_group);
	}
	flush_runs(l, true);
}

/* --- nothing stays -----------------------------------------------------------------------------
 */

/* What the functions above may have left below their caller's frame. */
static NOINLINE void wipe_stack(void)
{
	__m256i area[STACK_BYTES / sizeof(__m256i)];

	for (unsigned i = 0; i < STACK_BYTES / sizeof(__m256i); i++)
		area[i] = _mm256_setzero_si256();
	__asm__ volatile("" : : "r"(area) : "memory");
}

/* Vectors of 32 bytes. */
static_assert(sizeof(struct state8) % 32 == 0 && sizeof(struct tag_pair) % 32 == 0, "whole ones");

static void wipe_memory(void *memory, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += sizeof(__m256i))
		_mm256_store_si256((void *)((uint8_t *)memory + at), _mm256_setzero_si256());
}

static void wipe(struct lanes_avx2 *l, uint16_t n)
{
	wipe_memory(l,
		offsetof(struct lanes_avx2, secret.poly_keys) + n * sizeof(l->secret.poly_keys[0]));
	wipe_memory(l->secret.pairs, (n + 1u) / 2 * sizeof(l->secret.pairs[0]));
	wipe_stack();
	__asm__ volatile("vzeroall\n\t" WIPE_GENERAL
			 :
			 :
			 : "memory", GENERAL_REGISTERS, "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
			 "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
			 "xmm14", "xmm15");
}

void lanes_avx2_seal(struct lanes_avx2 *l, struct aead_job *jobs, uint16_t n)
{
	seal_all(l, jobs, n);
	wipe(l, n);
}

void lanes_avx2_open(struct lanes_avx2 *l, struct aead_job *jobs, uint16_t n)
{
	open_all(l, jobs, n);
	wipe(l, n);
}
