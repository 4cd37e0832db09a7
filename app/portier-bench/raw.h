/* raw.h - what the cipher alone costs: the denominator of every ratio.
 *
 * The same back end, the same lengths (padded as WireGuard pads), bursts of the same size, a key
 * for each packet of a burst, buffers that are aligned and warm: nothing a gateway could beat
 * without a better cipher.
 */
#ifndef PORTIER_BENCH_RAW_H
#define PORTIER_BENCH_RAW_H

#include <stdint.h>

#include "bench.h"
#include "sample.h"

struct raw;

/* NULL: out of memory, or the back end does not work here. */
struct raw *raw_create(enum aead_backend backend, uint64_t seed);
void raw_destroy(struct raw *r);

struct raw_load {
	struct bench_size size;
	unsigned burst;
	bool has_long;	     /* the first packet of every burst is as long as packets get */
	unsigned forged_pct; /* of those that are opened: about so many are nobody's */
};

/* Seal and open n_pkts packets, and more as long as every burst was interrupted. False: a packet
 * did not come back as it was, or a forged one did. */
bool raw_trial(struct raw *r, const struct raw_load *load, uint32_t n_pkts, struct sample *seal,
	struct sample *open);

#endif
