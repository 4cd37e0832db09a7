/* lanes.c - a burst cut into columns for ChaCha20 and groups for Poly1305.
 *
 * Packets are taken longest first, in sets of 16. A whole set has one column for its Poly1305 keys
 * (block 0 of each), whose r and s then lie in lanes, and one for each further block that all have.
 * What remains (blocks that only some have, all of a set that is not whole) is cut into runs of one
 * packet each and fills further columns, run after run; the keys column of a set that is not whole
 * is filled up with it too.
 *
 * Cycles a packet on a Sapphire Rapids core: see lanes_backend.c.
 */
#include "aead/lanes_impl.h"
#include "aead/lanes_wipe.h"

/* Of the deepest callee, and some. */
#define STACK_BYTES 8192u

size_t lanes_bytes(void)
{
	return sizeof(struct lanes);
}

/* --- bursts -------------------------------------------------------------------------------------
 */

/* The jobs that can be done, longest first. Returns their number. */
static uint16_t sort_jobs(
	struct aead_job *jobs, uint16_t n, struct aead_job *sorted[AEAD_BURST_MAX])
{
	uint32_t keys[AEAD_BURST_MAX], differ = 0, all = 0;
	uint16_t n_good = 0;

	for (uint16_t i = 0; i < n; i++) {
		sorted[i] = &jobs[i];
		differ |= jobs[i].len ^ jobs[0].len;
		all |= jobs[i].len;
	}
	if (differ == 0 && all <= LANES_LEN_MAX)
		return n;
	/* Each key's place is the number of larger ones; keys not in use are 0. */
	memset(keys, 0, sizeof(keys));
	for (uint16_t i = 0; i < n; i++)
		if (jobs[i].len <= LANES_LEN_MAX)
			keys[n_good++] = jobs[i].len << 6 | i;
	for (uint16_t i = 0; i < n_good; i++) {
		unsigned place = 0;

		for (unsigned v = 0; v < n_good; v += N_LANES)
			place += (unsigned)__builtin_popcount(_mm512_cmpgt_epu32_mask(
				_mm512_loadu_si512(keys + v), _mm512_set1_epi32((int)keys[i])));
		sorted[place] = &jobs[keys[i] % AEAD_BURST_MAX];
	}
	return n_good;
}

/* Measured; a column of 16 or 8 lanes, and what every burst and packet costs besides. */
#define COLUMN_CYCLES  500u
#define COLUMN8_CYCLES 430u
#define BURST_CYCLES   250u
#define PACKET_CYCLES  15u

uint32_t lanes_cycles(const struct aead_job *jobs, uint16_t n)
{
	/* Only their lengths are looked at. */
	struct aead_job *all = (struct aead_job *)(uintptr_t)jobs, *sorted[AEAD_BURST_MAX];
	uint32_t n_blocks = n, cycles = BURST_CYCLES + PACKET_CYCLES * n;

	n = sort_jobs(all, n, sorted);
	for (uint16_t i = 0; i < n; i++)
		n_blocks += count_blocks(sorted[i]->len);
	cycles += n_blocks / N_LANES * COLUMN_CYCLES;
	if (n_blocks % N_LANES > 8)
		cycles += COLUMN_CYCLES;
	else if (n_blocks % N_LANES > 0)
		cycles += COLUMN8_CYCLES;
	return cycles + lanes_tags_cycles(sorted, n);
}

static NOINLINE void seal_all(struct lanes *l, struct aead_job *jobs, uint16_t n)
{
	struct aead_job *sorted[AEAD_BURST_MAX];
	unsigned done = 0, n_runs;

	for (uint16_t i = 0; i < n; i++)
		if (jobs[i].len > LANES_LEN_MAX)
			memset(jobs[i].dst, 0, (size_t)jobs[i].len + AEAD_TAG_BYTES);
	n = sort_jobs(jobs, n, sorted);
	for (unsigned set = 0; set * N_LANES < n; set++) {
		struct aead_job *const *in_set = sorted + set * N_LANES;
		unsigned n_set = n - set * N_LANES;

		if (n_set >= N_LANES) {
			lanes_run_keys(l, set, in_set);
			n_runs = l->n_runs;
			lanes_run_set(l, in_set, 0);
			/* While the texts are in the cache. */
			if (l->n_runs == n_runs) {
				lanes_run_tags(l, set, in_set, N_LANES, true);
				done |= 1u << set;
			}
		} else {
			for (unsigned i = 0; i < n_set; i++)
				lanes_add_run(l, in_set[i], 0);
			lanes_run_part_keys(l, set, in_set, n_set, false);
		}
	}
	lanes_flush_runs(l);
	for (unsigned set = 0; set * N_LANES < n; set++) {
		unsigned n_set = n - set * N_LANES;

		if (!(done >> set & 1))
			lanes_run_tags(l, set, sorted + set * N_LANES,
				n_set < N_LANES ? n_set : N_LANES, true);
	}
}

static NOINLINE void open_all(struct lanes *l, struct aead_job *jobs, uint16_t n)
{
	struct aead_job *sorted[AEAD_BURST_MAX];

	n = sort_jobs(jobs, n, sorted);
	for (unsigned set = 0; set * N_LANES < n; set++) {
		struct aead_job *const *in_set = sorted + set * N_LANES;
		unsigned n_set = n - set * N_LANES < N_LANES ? n - set * N_LANES : N_LANES;
		uint64_t forged;

		if (n_set == N_LANES) {
			lanes_run_keys(l, set, in_set);
		} else {
			lanes_run_part_keys(l, set, in_set, n_set, true);
		}
		forged = lanes_run_tags(l, set, in_set, n_set, false);
		for (unsigned i = 0; i < n_set; i++)
			in_set[i]->is_authentic = !(forged >> i & 1);
		if (n_set == N_LANES)
			lanes_run_set(l, in_set, forged);
		else
			lanes_settle(l, in_set, n_set, forged);
	}
	lanes_flush_runs(l);
}

/* --- nothing stays ------------------------------------------------------------------------------
 */

/* What the functions above may have left below their caller's frame. */
static NOINLINE void wipe_stack(void)
{
	__m512i area[STACK_BYTES / sizeof(__m512i)];

	for (unsigned i = 0; i < STACK_BYTES / sizeof(__m512i); i++)
		area[i] = _mm512_setzero_si512();
	__asm__ volatile("" : : "r"(area) : "memory");
}

static void wipe(struct lanes *l, uint16_t n)
{
	size_t n_sets = ((size_t)n + N_LANES - 1) / N_LANES;
	size_t bytes =
		offsetof(struct lanes, secret.poly_keys) + n_sets * sizeof(l->secret.poly_keys[0]);

	for (size_t at = 0; at < bytes; at += sizeof(__m512i))
		_mm512_store_si512((uint8_t *)l + at, _mm512_setzero_si512());
	wipe_stack();
	__asm__ volatile("vzeroall\n\t"
			 "vpxord %%zmm16, %%zmm16, %%zmm16\n\t"
			 "vmovdqa64 %%zmm16, %%zmm17\n\t"
			 "vmovdqa64 %%zmm16, %%zmm18\n\t"
			 "vmovdqa64 %%zmm16, %%zmm19\n\t"
			 "vmovdqa64 %%zmm16, %%zmm20\n\t"
			 "vmovdqa64 %%zmm16, %%zmm21\n\t"
			 "vmovdqa64 %%zmm16, %%zmm22\n\t"
			 "vmovdqa64 %%zmm16, %%zmm23\n\t"
			 "vmovdqa64 %%zmm16, %%zmm24\n\t"
			 "vmovdqa64 %%zmm16, %%zmm25\n\t"
			 "vmovdqa64 %%zmm16, %%zmm26\n\t"
			 "vmovdqa64 %%zmm16, %%zmm27\n\t"
			 "vmovdqa64 %%zmm16, %%zmm28\n\t"
			 "vmovdqa64 %%zmm16, %%zmm29\n\t"
			 "vmovdqa64 %%zmm16, %%zmm30\n\t"
			 "vmovdqa64 %%zmm16, %%zmm31\n\t" WIPE_GENERAL
			 :
			 :
			 : "memory", GENERAL_REGISTERS, "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
			 "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
			 "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21",
			 "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29",
			 "xmm30", "xmm31");
}

void lanes_seal(struct lanes *l, struct aead_job *jobs, uint16_t n)
{
	seal_all(l, jobs, n);
	wipe(l, n);
}

void lanes_open(struct lanes *l, struct aead_job *jobs, uint16_t n)
{
	open_all(l, jobs, n);
	wipe(l, n);
}
