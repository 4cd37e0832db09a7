/* lanes_avx2.c - a burst cut into columns of 8 blocks for ChaCha20 and pairs for Poly1305.
 *
 * Packets are taken longest first, in sets of 8. A whole set of short packets has one column for
 * its Poly1305 keys (block 0 of each) and one for each further block that all have, with keys put
 * into lanes once. Everything else (long packets, blocks that only some have, a set that is not
 * whole) becomes runs of one packet each, which fill columns one behind the other.
 */
#include "aead/lanes_avx2.h"
#include "aead/lanes_avx2_chacha.h"
#include "aead/lanes_avx2_poly.h"

#include <assert.h>

#define NOINLINE __attribute__((noinline))

/* Texts of more blocks go packet by packet: their lines stay in the cache, and frames at a stride
 * of 4096 bytes do not push each other out of it. */
#define SET_BLOCKS_MAX 8

/* Of the deepest callee, and some. */
#define STACK_BYTES 4096u

/* Blocks next to end - 1 of a packet, which no column has taken yet; block 0 is its Poly1305 key,
 * block b the bytes 64 (b - 1) and up of the text. nth: among the sorted jobs. */
struct run {
	const struct aead_job *job;
	uint32_t next, end;
	unsigned nth;
};

struct lane {
	const struct aead_job *job;
	uint32_t block;
	unsigned nth;
};

struct lanes_avx2 {
	/* Wiped after each call, up to the last key in use. */
	struct {
		struct state8 state;
		uint8_t keystream[N_LANES][BLOCK_BYTES]; /* of lanes that are no whole block */
		uint8_t poly_keys[AEAD_BURST_MAX][32];
	} secret;
	struct lane lanes[N_LANES];
	const uint8_t *src[N_LANES];
	uint8_t *dst[N_LANES];
	unsigned in_parts; /* lanes whose key stream is still to be used */
	struct run runs[AEAD_BURST_MAX];
	unsigned n_runs;
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

/* A lane that keeps its key stream here. */
static inline void keep_lane(struct lanes_avx2 *l, unsigned lane)
{
	l->src[lane] = l->zeros;
	l->dst[lane] = l->secret.keystream[lane];
	l->in_parts |= 1u << lane;
}

static inline void aim_lane(struct lanes_avx2 *l, unsigned lane, const struct aead_job *job,
	uint32_t block, unsigned nth)
{
	size_t at = (size_t)(block - 1) * BLOCK_BYTES;

	l->lanes[lane] = (struct lane){job, block, nth};
	if (block == 0 || at + BLOCK_BYTES > job->len) {
		keep_lane(l, lane);
		return;
	}
	l->src[lane] = job->src + at;
	l->dst[lane] = job->dst + at;
}

static void apply_part(uint8_t *dst, const uint8_t *src, const uint8_t *stream, uint32_t n)
{
	uint32_t i = 0;

	for (; i + 16 <= n; i += 16)
		_mm_storeu_si128(
			(void *)(dst + i), _mm_xor_si128(_mm_loadu_si128((const void *)(src + i)),
						   _mm_load_si128((const void *)(stream + i))));
	for (; i < n; i++)
		dst[i] = src[i] ^ stream[i];
}

static void use_parts(struct lanes_avx2 *l)
{
	for (; l->in_parts; l->in_parts &= l->in_parts - 1) {
		unsigned i = (unsigned)__builtin_ctz(l->in_parts);
		const struct lane *lane = &l->lanes[i];
		size_t at = (size_t)(lane->block - 1) * BLOCK_BYTES;

		if (!lane->job)
			continue;
		if (lane->block == 0)
			memcpy(l->secret.poly_keys[lane->nth], l->secret.keystream[i], 32);
		else
			apply_part(lane->job->dst + at, lane->job->src + at, l->secret.keystream[i],
				(uint32_t)(lane->job->len - at));
	}
}

static NOINLINE void run_lanes(struct lanes_avx2 *l)
{
	__m256i x[16];

	run_column(&l->secret.state, x);
	apply_column(x, l->src, l->dst);
}

static NOINLINE void load_set(struct lanes_avx2 *l, struct aead_job *const jobs[N_LANES])
{
	const uint8_t *keys[N_LANES];
	uint64_t counters[N_LANES];

	for (unsigned i = 0; i < N_LANES; i++) {
		keys[i] = jobs[i]->key;
		counters[i] = jobs[i]->counter;
	}
	load_state(&l->secret.state, keys, counters);
}

/* The Poly1305 keys of the set whose state is loaded; its first packet is the first-th. */
static NOINLINE void run_set_keys(struct lanes_avx2 *l, unsigned first)
{
	__m256i x[16];

	l->secret.state.block = splat(0);
	run_column(&l->secret.state, x);
	store_halves(x, l->secret.poly_keys[first], 32);
}

/* The blocks of text that all packets of the set have whose state is loaded; returns how many. */
static uint32_t run_set_texts(struct lanes_avx2 *l, struct aead_job *const jobs[N_LANES])
{
	uint32_t n_blocks = count_blocks(jobs[N_LANES - 1]->len);

	for (uint32_t block = 1; block <= n_blocks; block++) {
		l->secret.state.block = splat(block);
		for (unsigned i = 0; i < N_LANES; i++)
			aim_lane(l, i, jobs[i], block, 0);
		run_lanes(l);
		use_parts(l);
	}
	return n_blocks;
}

/* --- runs ------------------------------------------------------------------------------------- */

static void add_run(
	struct lanes_avx2 *l, const struct aead_job *job, unsigned nth, uint32_t next, uint32_t end)
{
	if (next < end)
		l->runs[l->n_runs++] = (struct run){job, next, end, nth};
}

/* Keys, nonces and block counters of n lanes that are aimed; the others are like the first. */
static NOINLINE void load_lanes(struct lanes_avx2 *l, unsigned n)
{
	const struct aead_job *first = l->lanes[0].job;
	const uint8_t *keys[N_LANES];
	uint64_t counters[N_LANES];
	uint32_t blocks[N_LANES];
	bool is_one = true;

	for (unsigned i = 0; i < N_LANES; i++) {
		const struct lane *lane = &l->lanes[i < n ? i : 0];

		is_one &= lane->job == first;
		keys[i] = lane->job->key;
		counters[i] = lane->job->counter;
		blocks[i] = lane->block;
	}
	if (is_one)
		load_state_of_one(&l->secret.state, first->key, first->counter);
	else
		load_state(&l->secret.state, keys, counters);
	l->secret.state.block = _mm256_loadu_si256((const void *)blocks);
}

static void flush_runs(struct lanes_avx2 *l)
{
	unsigned next_run = 0;

	while (next_run < l->n_runs) {
		unsigned n = 0;

		while (n < N_LANES && next_run < l->n_runs) {
			struct run *run = &l->runs[next_run];

			for (; n < N_LANES && run->next < run->end; n++, run->next++)
				aim_lane(l, n, run->job, run->next, run->nth);
			next_run += run->next == run->end;
		}
		load_lanes(l, n);
		for (; n < N_LANES; n++) {
			l->lanes[n].job = NULL;
			keep_lane(l, n);
		}
		run_lanes(l);
		use_parts(l);
	}
	l->n_runs = 0;
}

/* --- tags ------------------------------------------------------------------------------------- */

struct tagged {
	const uint8_t *text, *key;
	uint32_t len;
	uint64_t tag[2];
};

static NOINLINE void run_tag(struct tagged *a)
{
	struct poly p;

	poly_begin(&p, a->key);
	poly_rest(&p, a->text, 0, a->len);
	poly_end(&p, a->key, a->tag);
}

/* b is not longer than a. */
static NOINLINE void run_two_tags(struct tagged *a, struct tagged *b)
{
	struct poly p, q;
	uint32_t at = 0;

	poly_begin(&p, a->key);
	poly_begin(&q, b->key);
	for (; at + POLY_BYTES <= b->len; at += POLY_BYTES) {
		poly_text_block(&p, a->text + at);
		poly_text_block(&q, b->text + at);
	}
	poly_rest(&q, b->text, at, b->len);
	poly_rest(&p, a->text, at, a->len);
	poly_end(&p, a->key, a->tag);
	poly_end(&q, b->key, b->tag);
}

/* Written behind the text, or compared with what is there: true if they differ. */
static bool settle_tag(const struct aead_job *job, const struct tagged *t, bool is_seal)
{
	uint64_t there[2];

	if (is_seal) {
		memcpy(job->dst + job->len, t->tag, AEAD_TAG_BYTES);
		return false;
	}
	memcpy(there, job->src + job->len, AEAD_TAG_BYTES);
	return ((there[0] ^ t->tag[0]) | (there[1] ^ t->tag[1])) != 0;
}

/* Of all sorted jobs. Returns those whose tags differ. */
static uint64_t run_tags(
	struct lanes_avx2 *l, struct aead_job *const *jobs, unsigned n, bool is_seal)
{
	uint64_t forged = 0;

	for (unsigned i = 0; i < n; i += 2) {
		unsigned n_here = i + 1 < n ? 2 : 1;
		struct tagged t[2];

		for (unsigned k = 0; k < n_here; k++)
			t[k] = (struct tagged){
				.text = is_seal ? jobs[i + k]->dst : jobs[i + k]->src,
				.key = l->secret.poly_keys[i + k],
				.len = jobs[i + k]->len,
			};
		if (n_here == 2)
			run_two_tags(&t[0], &t[1]);
		else
			run_tag(&t[0]);
		for (unsigned k = 0; k < n_here; k++)
			forged |= (uint64_t)settle_tag(jobs[i + k], &t[k], is_seal) << (i + k);
	}
	return forged;
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

/* Does a whole set go through its texts together? The shortest packet is the last. */
static bool is_short(struct aead_job *const jobs[N_LANES])
{
	return count_blocks(jobs[N_LANES - 1]->len) <= SET_BLOCKS_MAX;
}

static NOINLINE void seal_all(struct lanes_avx2 *l, struct aead_job *jobs, uint16_t n)
{
	struct aead_job *sorted[AEAD_BURST_MAX];

	for (uint16_t i = 0; i < n; i++)
		if (jobs[i].len > LANES_AVX2_LEN_MAX)
			memset(jobs[i].dst, 0, (size_t)jobs[i].len + AEAD_TAG_BYTES);
	n = sort_jobs(jobs, n, sorted);
	for (unsigned first = 0; first < n; first += N_LANES) {
		struct aead_job *const *set = sorted + first;
		unsigned n_set = n - first < N_LANES ? n - first : N_LANES;
		uint32_t next = 0;

		if (n_set == N_LANES && is_short(set)) {
			load_set(l, set);
			run_set_keys(l, first);
			next = 1 + run_set_texts(l, set);
		}
		for (unsigned i = 0; i < n_set; i++)
			add_run(l, set[i], first + i, next, 1 + count_blocks(set[i]->len));
	}
	flush_runs(l);
	run_tags(l, sorted, n, true);
}

/* Poly1305 keys of all jobs. */
static void run_keys(struct lanes_avx2 *l, struct aead_job *const *jobs, unsigned n)
{
	for (unsigned first = 0; first < n; first += N_LANES) {
		if (n - first >= N_LANES) {
			load_set(l, jobs + first);
			run_set_keys(l, first);
		} else {
			for (unsigned i = first; i < n; i++)
				add_run(l, jobs[i], i, 0, 1);
		}
	}
	flush_runs(l);
}

static NOINLINE void open_all(struct lanes_avx2 *l, struct aead_job *jobs, uint16_t n)
{
	struct aead_job *sorted[AEAD_BURST_MAX];
	uint64_t forged;

	n = sort_jobs(jobs, n, sorted);
	run_keys(l, sorted, n);
	forged = run_tags(l, sorted, n, false);
	for (unsigned first = 0; first < n; first += N_LANES) {
		struct aead_job *const *set = sorted + first;
		unsigned n_set = n - first < N_LANES ? n - first : N_LANES;
		uint32_t n_common = 0;

		if (n_set == N_LANES && (forged >> first & 0xff) == 0 && is_short(set)) {
			load_set(l, set);
			n_common = run_set_texts(l, set);
		}
		for (unsigned i = 0; i < n_set; i++) {
			set[i]->is_authentic = !(forged >> (first + i) & 1);
			if (set[i]->is_authentic)
				add_run(l, set[i], first + i, 1 + n_common,
					1 + count_blocks(set[i]->len));
		}
	}
	flush_runs(l);
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

static void wipe(struct lanes_avx2 *l, uint16_t n)
{
	size_t bytes =
		offsetof(struct lanes_avx2, secret.poly_keys) + n * sizeof(l->secret.poly_keys[0]);

	for (size_t at = 0; at < bytes; at += sizeof(__m256i))
		_mm256_store_si256((void *)((uint8_t *)l + at), _mm256_setzero_si256());
	wipe_stack();
	__asm__ volatile("vzeroall"
			 :
			 :
			 : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
			 "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
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
