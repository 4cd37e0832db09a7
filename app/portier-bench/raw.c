#include "raw.h"

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "base/bytes.h"
#include "wgmsg/wgmsg.h"

#include "lab.h"

#define BUFFER_BYTES (2048u + 128) /* as packet buffers lie: not all on the same cache sets */

struct raw {
	struct aead *aead;
	uint64_t counter, number, seed;
	uint8_t keys[AEAD_BURST_MAX][AEAD_KEY_BYTES];
	bool is_forged[LAB_AHEAD];
	uint32_t lens[LAB_AHEAD];
	uint64_t counters[LAB_AHEAD];
	uint8_t *buffers;
};

struct raw *raw_create(enum aead_backend backend, uint64_t seed)
{
	struct raw *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->seed = seed;
	r->aead = aead_create(backend, -1);
	r->buffers = aligned_alloc(64, (size_t)BUFFER_BYTES * LAB_AHEAD);
	if (!r->aead || !r->buffers) {
		raw_destroy(r);
		return NULL;
	}
	memset(r->buffers, 0, (size_t)BUFFER_BYTES * LAB_AHEAD);
	for (unsigned i = 0; i < sizeof(r->keys); i += 8)
		store_le64((uint8_t *)r->keys + i, bench_mix(seed + i));
	return r;
}

void raw_destroy(struct raw *r)
{
	if (!r)
		return;
	aead_destroy(r->aead);
	free(r->buffers);
	free(r);
}

/* The plaintext's length, as WireGuard seals it. */
static uint32_t sealed_len(struct bench_size size, uint64_t number)
{
	uint32_t len = bench_size_of(size, number);

	return RTE_MAX(len, RTE_MIN(wgmsg_padded_len(len), (uint32_t)RIG_INNER_MTU));
}

static uint8_t *buffer(struct raw *r, unsigned i)
{
	return r->buffers + (size_t)BUFFER_BYTES * i;
}

static void fill(struct raw *r, const struct raw_load *load)
{
	for (unsigned i = 0; i < LAB_AHEAD; i++) {
		r->counters[i] = r->counter++;
		r->lens[i] = sealed_len(load->size, r->number++);
		if (load->has_long && i % load->burst == 0)
			r->lens[i] = RIG_INNER_MTU;
		r->is_forged[i] = bench_mix(r->counters[i] ^ r->seed) % 100 < load->forged_pct;
		store_le64(buffer(r, i), bench_mix(r->counters[i]));
		memset(buffer(r, i) + 8, (int)i, r->lens[i] - 8);
	}
}

static void forge(struct raw *r)
{
	for (unsigned i = 0; i < LAB_AHEAD; i++)
		if (r->is_forged[i])
			buffer(r, i)[r->lens[i] + i % AEAD_TAG_BYTES] ^= 1;
}

static bool is_filled(struct raw *r)
{
	for (unsigned i = 0; i < LAB_AHEAD; i++) {
		const uint8_t *b = buffer(r, i);

		if (!r->is_forged[i] &&
			(load_le64(b) != bench_mix(r->counters[i]) || b[8] != (uint8_t)i ||
				b[r->lens[i] - 1] != (uint8_t)i))
			return false;
	}
	return true;
}

static bool run_bursts(
	struct raw *r, unsigned burst, bool is_seal, struct sample_watch *watch, struct sample *out)
{
	uint16_t n = (uint16_t)burst;
	bool is_right = true;

	/* Whole bursts: what is left over stays as it is. */
	for (unsigned at = 0; at + n <= LAB_AHEAD; at += n) {
		struct aead_job jobs[AEAD_BURST_MAX];
		uint64_t began, cycles;

		for (unsigned i = 0; i < n; i++)
			jobs[i] = (struct aead_job){
				.key = r->keys[(at + i) % AEAD_BURST_MAX],
				.counter = r->counters[at + i],
				.src = buffer(r, at + i),
				.dst = buffer(r, at + i),
				.len = r->lens[at + i],
			};
		began = rte_rdtsc();
		if (is_seal)
			aead_seal_burst(r->aead, jobs, n);
		else
			aead_open_burst(r->aead, jobs, n);
		cycles = rte_rdtsc() - began;
		if (!watch_saw_interruption(watch, cycles))
			sample_add(out, cycles, n);
		for (unsigned i = 0; i < n && !is_seal; i++)
			is_right &= jobs[i].is_authentic != r->is_forged[at + i];
	}
	return is_right;
}

bool raw_trial(struct raw *r, const struct raw_load *load, uint32_t n_pkts, struct sample *seal,
	struct sample *open)
{
	struct sample_watch watch = {0};
	bool is_sound = true;

	seal->n = open->n = 0;
	for (uint32_t done = 0; done < n_pkts || !seal->n || !open->n; done += LAB_AHEAD) {
		fill(r, load);
		watch_begin(&watch);
		run_bursts(r, load->burst, true, &watch, seal);
		forge(r);
		is_sound &= run_bursts(r, load->burst, false, &watch, open) && is_filled(r);
	}
	return is_sound;
}
