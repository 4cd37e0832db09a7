#include "beside.h"

#include <stdlib.h>

#include "path/worker.h"

#include "raw.h"

struct beside {
	struct lab *lab;
	unsigned burst;
	uint64_t seed;
	enum aead_backend backend; /* in use */
	struct raw *raws[BESIDE_BACKENDS_MAX];
	struct aead
		*ciphers[BESIDE_BACKENDS_MAX][RIG_WORKERS_MAX]; /* that workers do not have now */
	struct sample seal, open;
};

static struct raw *raw_of(struct beside *b, enum aead_backend backend)
{
	if (!b->raws[backend])
		b->raws[backend] = raw_create(backend, b->seed);
	return b->raws[backend];
}

struct beside *beside_create(struct lab *lab, const struct bench_options *o)
{
	struct beside *b = calloc(1, sizeof(*b));

	if (!b) {
		lab_complain("out of memory");
		return NULL;
	}
	b->lab = lab;
	b->burst = o->burst;
	b->seed = o->seed;
	b->backend = lab->rig.aead;
	return b;
}

void beside_destroy(struct beside *b)
{
	if (!b)
		return;
	(void)beside_use(b, AEAD_AUTO);
	for (unsigned i = 0; i < BESIDE_BACKENDS_MAX; i++) {
		raw_destroy(b->raws[i]);
		for (unsigned w = 0; w < RIG_WORKERS_MAX; w++)
			aead_destroy(b->ciphers[i][w]);
	}
	free(b);
}

int beside_use(struct beside *b, enum aead_backend backend)
{
	struct rig *rig = &b->lab->rig;

	if (backend == AEAD_AUTO)
		backend = rig->aead;
	if (backend == b->backend)
		return 0;
	for (unsigned w = 0; w < rig->params.n_workers; w++) {
		if (!b->ciphers[backend][w])
			b->ciphers[backend][w] = aead_create(backend, -1);
		if (!b->ciphers[backend][w])
			return lab_complain("a cipher does not come up");
		b->ciphers[b->backend][w] = rig->workers[w]->aead;
		rig->workers[w]->aead = b->ciphers[backend][w];
		b->ciphers[backend][w] = NULL;
	}
	b->backend = backend;
	return 0;
}

/* 0: a packet did not come back as it was. */
static double time_one(struct beside *b, enum aead_backend backend, bool has_in, bool has_out,
	struct bench_size size, uint32_t n_pkts)
{
	struct raw *raw = raw_of(b, backend);
	double seal, open;

	if (!raw || !raw_trial(raw, &(struct raw_load){.size = size, .burst = b->burst}, n_pkts,
			    &b->seal, &b->open))
		return 0;
	seal = sample_figure(&b->seal).cycles;
	open = sample_figure(&b->open).cycles;
	return has_in && has_out ? (seal + open) / 2 : has_in ? seal : open;
}

int beside_time(struct beside *b, bool has_in, bool has_out, struct bench_size size,
	uint32_t n_pkts, struct beside_figure *out)
{
	out->own = time_one(b, b->backend, has_in, has_out, size, n_pkts);
	out->mb = b->backend == AEAD_IPSEC_MB
			  ? out->own
			  : time_one(b, AEAD_IPSEC_MB, has_in, has_out, size, n_pkts);
	if (out->own > 0 && out->mb > 0)
		return 0;
	return lab_complain("raw AEAD: a packet did not come back as it was");
}

unsigned beside_backends(const struct lab *lab, enum aead_backend out[static BESIDE_BACKENDS_MAX])
{
	unsigned n = 0;

	out[n++] = lab->rig.aead;
	for (enum aead_backend b = AEAD_IPSEC_MB; b <= AEAD_LANES; b++)
		if (b != lab->rig.aead && aead_select(b, NULL) == b)
			out[n++] = b;
	return n;
}
