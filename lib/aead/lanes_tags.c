/* lanes_tags.c - groups of packets whose tags are made together. */
#include "aead/lanes_impl.h"

static NOINLINE void run_tags1(struct lanes *l, uint32_t len_max)
{
	poly_tags(&l->secret.group, 1, len_max, l->secret.tags);
}

static NOINLINE void run_tags2(struct lanes *l, uint32_t len_max)
{
	poly_tags(&l->secret.group, 2, len_max, l->secret.tags);
}

static NOINLINE void run_tags4(struct lanes *l, uint32_t len_max)
{
	poly_tags(&l->secret.group, 4, len_max, l->secret.tags);
}

/* What tags of one group cost in cycles: the powers of r, then a step. */
#define STEP_CYCLES 75u
static const struct {
	unsigned n_packets, setup_cycles;
} widths[] = {{8, 160}, {4, 270}, {2, 320}};

/* Which width comes first for packets i to n - 1 of a set, for each i, at the least cost, which is
 * returned (0 where there is no choice). */
static uint32_t plan_groups(struct aead_job *const *jobs, unsigned n, uint8_t plan[N_LANES])
{
	uint32_t cost[N_LANES + 1] = {0};

	if (n == N_LANES && jobs[0]->len == jobs[n - 1]->len) {
		plan[0] = plan[POLY_LANES] = 0;
		return 0;
	}
	for (unsigned i = n; i-- > 0;) {
		uint32_t n_chunks = count_chunks(jobs[i]->len);

		cost[i] = UINT32_MAX;
		for (unsigned w = 0; w < 3; w++) {
			unsigned rest = i + widths[w].n_packets < n ? i + widths[w].n_packets : n;
			uint32_t n_steps = (n_chunks + (1u << w) - 1) >> w;
			uint32_t c = widths[w].setup_cycles + n_steps * STEP_CYCLES + cost[rest];

			if (c < cost[i]) {
				cost[i] = c;
				plan[i] = (uint8_t)w;
			}
		}
	}
	return cost[0];
}

uint32_t lanes_tags_cycles(struct aead_job *const *jobs, unsigned n)
{
	uint8_t plan[N_LANES];

	return plan_groups(jobs, n, plan);
}

/* r and s of n packets of a set from first on, each in 1 << width_log2 lanes, from lanes of 32 bits
 * to such of 64. */
static void fill_group(struct lanes *l, const v16 poly_keys[8], struct aead_job *const *jobs,
	unsigned first, unsigned n, unsigned width_log2, bool is_seal)
{
	struct poly_group *g = &l->secret.group;
	__m512i lanes = _mm512_srl_epi64(
		_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm_cvtsi32_si128((int)width_log2));
	/* Even words of the lanes come from the first operand below, odd ones from the second. */
	__m512i words = _mm512_add_epi64(lanes, splat64(first));

	words = _mm512_or_si512(
		words, _mm512_slli_epi64(_mm512_add_epi64(words, splat64(N_LANES)), 32));
	g->r_lo = _mm512_permutex2var_epi32((__m512i)poly_keys[0], words, (__m512i)poly_keys[1]);
	g->r_hi = _mm512_permutex2var_epi32((__m512i)poly_keys[2], words, (__m512i)poly_keys[3]);
	g->s_lo = _mm512_permutex2var_epi32((__m512i)poly_keys[4], words, (__m512i)poly_keys[5]);
	g->s_hi = _mm512_permutex2var_epi32((__m512i)poly_keys[6], words, (__m512i)poly_keys[7]);
	for (unsigned lane = 0; lane < POLY_LANES; lane++) {
		unsigned i = lane >> width_log2;
		const struct aead_job *job = i < n ? jobs[first + i] : NULL;

		g->texts[lane] = !job ? l->zeros : is_seal ? job->dst : job->src;
		g->lens[lane] = job ? job->len : 0;
	}
}

uint64_t lanes_run_tags(
	struct lanes *l, unsigned set, struct aead_job *const *jobs, unsigned n, bool is_seal)
{
	uint64_t forged = 0;
	uint8_t plan[N_LANES];
	unsigned n_group;

	plan_groups(jobs, n, plan);
	for (unsigned first = 0; first < n; first += n_group) {
		unsigned w = plan[first];

		n_group = first + widths[w].n_packets < n ? widths[w].n_packets : n - first;
		fill_group(l, l->secret.poly_keys[set], jobs, first, n_group, w, is_seal);
		if (w == 0)
			run_tags1(l, jobs[first]->len);
		else if (w == 1)
			run_tags2(l, jobs[first]->len);
		else
			run_tags4(l, jobs[first]->len);
		for (unsigned i = 0; i < n_group; i++) {
			const struct aead_job *job = jobs[first + i];
			unsigned lane = i << w;
			const __m128i *tag = (const __m128i *)&l->secret.tags[lane % 2] + lane / 2;

			if (is_seal)
				_mm_storeu_si128((void *)(job->dst + job->len), *tag);
			else if (_mm_cmpneq_epi64_mask(*tag,
					 _mm_loadu_si128((const void *)(job->src + job->len))))
				forged |= 1ULL << (first + i);
		}
	}
	return forged;
}
