#include "aead/aead.h"
#include "aead/backend.h"

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_malloc.h>

#include <assert.h>

struct aead {
	const struct aead_ops *ops;
	void *state;
};

static const struct aead_ops *const backends[] = {
	[AEAD_IPSEC_MB] = &aead_ipsec_mb_ops,
	[AEAD_OPENSSL] = &aead_openssl_ops,
	[AEAD_LANES] = &aead_lanes_ops,
};

#define N_BACKENDS RTE_DIM(backends)

/* Rounds of one burst a back end: 256 x 36 x 1,100 and 2,000 cycles are 10 ms at 2.7 GHz. */
#define TIMED_ROUNDS  256
#define TIMED_PACKETS 36
#define TIMED_LEN_MAX 1420

/* Of twelve packets, as they are met: short ones decide where back ends are alike in long ones. */
static const uint16_t timed_lens[12] = {64, 576, 64, 64, 576, 64, 1420, 64, 576, 64, 64, 576};

const char *aead_backend_name(enum aead_backend b)
{
	return b > AEAD_AUTO && b < N_BACKENDS ? backends[b]->name : "auto";
}

struct aead *aead_create(enum aead_backend b, int socket_id)
{
	struct aead *a;

	if (b <= AEAD_AUTO || b >= N_BACKENDS)
		return NULL;
	a = rte_zmalloc_socket("aead", sizeof(*a), RTE_CACHE_LINE_SIZE, socket_id);
	if (a == NULL)
		return NULL;
	a->ops = backends[b];
	a->state = a->ops->create(socket_id);
	if (a->state == NULL) {
		rte_free(a);
		return NULL;
	}
	return a;
}

void aead_destroy(struct aead *a)
{
	if (a == NULL)
		return;
	a->ops->destroy(a->state);
	rte_free(a);
}

void aead_seal_burst(struct aead *a, struct aead_job *jobs, uint16_t n)
{
	assert(n <= AEAD_BURST_MAX);
	if (n != 0)
		a->ops->seal_burst(a->state, jobs, n);
}

void aead_open_burst(struct aead *a, struct aead_job *jobs, uint16_t n)
{
	assert(n <= AEAD_BURST_MAX);
	for (uint16_t i = 0; i < n; i++)
		jobs[i].is_authentic = false;
	if (n != 0)
		a->ops->open_burst(a->state, jobs, n);
}

struct timed {
	uint8_t keys[TIMED_PACKETS][AEAD_KEY_BYTES];
	uint8_t packets[TIMED_PACKETS][TIMED_LEN_MAX + AEAD_TAG_BYTES];
	struct aead_job jobs[TIMED_PACKETS];
	uint64_t best[N_BACKENDS];
};

/* One burst; the fastest of many is the cipher's own cost, whatever else the machine was doing. */
static void time_burst(struct timed *t, struct aead *a, uint64_t *best)
{
	uint64_t start = rte_rdtsc_precise(), cycles;

	aead_seal_burst(a, t->jobs, TIMED_PACKETS);
	cycles = rte_rdtsc_precise() - start;
	if (cycles < *best)
		*best = cycles;
}

/* Turn and turn about, so that a change of clock speed meets them all. */
static enum aead_backend pick_fastest(
	struct timed *t, struct aead *const tried[static N_BACKENDS], uint64_t *seal_cycles)
{
	enum aead_backend fastest = AEAD_AUTO;

	for (unsigned i = 0; i < TIMED_PACKETS; i++) {
		memset(t->keys[i], (int)i + 1, AEAD_KEY_BYTES);
		t->jobs[i] = (struct aead_job){.key = t->keys[i],
			.src = t->packets[i],
			.dst = t->packets[i],
			.len = timed_lens[i % RTE_DIM(timed_lens)]};
	}
	memset(t->best, 0xff, sizeof(t->best));
	for (unsigned round = 0; round < TIMED_ROUNDS; round++)
		for (unsigned b = 0; b < N_BACKENDS; b++)
			if (tried[b] != NULL)
				time_burst(t, tried[b], &t->best[b]);
	for (unsigned b = 0; b < N_BACKENDS; b++)
		if (tried[b] != NULL && (fastest == AEAD_AUTO || t->best[b] < t->best[fastest]))
			fastest = (enum aead_backend)b;
	if (fastest != AEAD_AUTO && seal_cycles != NULL)
		*seal_cycles = t->best[fastest] / TIMED_PACKETS;
	return fastest;
}

enum aead_backend aead_select(enum aead_backend wanted, uint64_t *seal_cycles)
{
	struct aead *tried[N_BACKENDS] = {NULL};
	enum aead_backend fastest = AEAD_AUTO;
	struct timed *t = rte_zmalloc("aead", sizeof(*t), RTE_CACHE_LINE_SIZE);

	for (unsigned b = AEAD_AUTO + 1; t != NULL && b < N_BACKENDS; b++) {
		if (wanted != AEAD_AUTO && wanted != b)
			continue;
		tried[b] = aead_create((enum aead_backend)b, SOCKET_ID_ANY);
		if (tried[b] != NULL && !aead_selftest(tried[b]->ops, tried[b]->state)) {
			aead_destroy(tried[b]);
			tried[b] = NULL;
		}
	}
	if (t != NULL)
		fastest = pick_fastest(t, tried, seal_cycles);
	for (unsigned b = 0; b < N_BACKENDS; b++)
		aead_destroy(tried[b]);
	rte_free(t);
	return fastest;
}
