/* beside.h - the cipher alone, timed beside trials of a gateway; and the gateway with another
 * cipher than its own, so that back ends take turns in one run.
 *
 * Threads: one, that of the gateway's workers.
 */
#ifndef PORTIER_BENCH_BESIDE_H
#define PORTIER_BENCH_BESIDE_H

#include "lab.h"

#define BESIDE_BACKENDS_MAX (AEAD_LANES + 1)

/* Packets of the cipher alone, beside slices that last a time. */
#define BESIDE_PKTS 2048

struct beside;

/* Cycles a packet, to seal what goes in, to open what goes out, the mean of both where both go. */
struct beside_figure {
	double own; /* of the back end that the gateway has */
	double mb;  /* of libipsec-mb, which the goals are about */
};

/* NULL: printed. The gateway must be there until beside_destroy. */
struct beside *beside_create(struct lab *lab, const struct bench_options *o);
/* The gateway has its own back end again. NULL is fine. */
void beside_destroy(struct beside *b);

/* All workers seal and open by this back end from here on; AUTO: by the gateway's own. 0 or -1,
 * printed. */
int beside_use(struct beside *b, enum aead_backend backend);
/* With the back end in use. 0 or -1, printed. */
int beside_time(struct beside *b, bool has_in, bool has_out, struct bench_size size,
	uint32_t n_pkts, struct beside_figure *out);

/* Those that work here, the gateway's own first. */
unsigned beside_backends(const struct lab *lab, enum aead_backend out[static BESIDE_BACKENDS_MAX]);

#endif
