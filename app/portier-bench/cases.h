/* cases.h - trials that are compared with each other: repeated in turns, each beside the raw AEAD.
 */
#ifndef PORTIER_BENCH_CASES_H
#define PORTIER_BENCH_CASES_H

#include "lab.h"
#include "raw.h"
#include "report.h"
#include "trial.h"

#define CASES_MAX 32

/* One row. */
struct bench_case {
	bool has_in, has_out;
	struct bench_size size;
	uint32_t first_flow, n_flows;
	unsigned wrong_pct;
	uint32_t n_warm_pkts; /* before each trial: what it needs is near again */

	/* Filled by cases_run. */
	struct sample_series cycles, mean, slowest, aead, ratio, maker, sink;
	struct sample_series mb, ratio_mb; /* libipsec-mb, where the gateway has another */
	struct sample_series stages[STAGE_N];
	struct flow_tally counts;
	uint64_t n_interrupted;
};

/* Every case once per repeat, and before each the cipher alone: the gateway's, and libipsec-mb,
 * which the goals are about. 0 or -1, printed. */
int cases_run(struct lab *lab, const struct bench_options *o, struct bench_case *cases, unsigned n);
/* What all rows of packets have. */
json_t *case_row(struct report *r, const struct bench_case *c);
/* The sizes asked for, or else these; returns how many. */
unsigned cases_sizes(const struct bench_options *o, const struct bench_size *defaults,
	unsigned n_defaults, struct bench_size out[static BENCH_SIZES_MAX]);

/* 64, 256, 512, 1024, 1420 and IMIX. */
extern const struct bench_size cases_all_sizes[6];

#endif
