/* cases.h - trials that are compared with each other: repeated in turns, each beside the raw AEAD.
 */
#ifndef PORTIER_BENCH_CASES_H
#define PORTIER_BENCH_CASES_H

#include "beside.h"
#include "lab.h"
#include "report.h"
#include "trial.h"

#define CASES_MAX 32

/* What packets cost over what the cipher alone costs, trial by trial. */
struct bench_aead {
	struct sample_series own, ratio;   /* the back end that the gateway had */
	struct sample_series mb, ratio_mb; /* libipsec-mb */
};

/* One row. */
struct bench_case {
	bool has_in, has_out;
	struct bench_size size;
	uint32_t first_flow, n_flows;
	unsigned wrong_pct;
	uint32_t n_warm_pkts;	   /* before each trial: what it needs is near again */
	enum aead_backend backend; /* that the gateway has meanwhile; AUTO: its own */

	/* Filled by cases_run. */
	struct sample_series cycles, mean, slowest, maker, sink;
	struct bench_aead aead;
	struct sample_series stages[STAGE_N];
	struct flow_tally counts;
	uint64_t n_interrupted;
};

/* Every case once per repeat, and before each the cipher alone. 0 or -1, printed. */
int cases_run(struct lab *lab, const struct bench_options *o, struct bench_case *cases, unsigned n);
/* What all rows of packets have. */
json_t *case_row(struct report *r, const struct bench_case *c);
/* Parts of rows, for benchmarks whose trials are of their own kind. cycles: a packet, of the whole
 * gateway, in the trial beside. n_bursts: the first of the sample. */
void aead_add(struct bench_aead *a, double cycles, const struct beside_figure *beside);
void stages_add(struct sample_series stages[static STAGE_N], const struct trial_result *result,
	uint32_t n_bursts);
void row_aead(json_t *row, const struct bench_aead *a);
void row_stages(json_t *row, const struct sample_series stages[static STAGE_N]);

/* The sizes asked for, or else these; returns how many. */
unsigned cases_sizes(const struct bench_options *o, const struct bench_size *defaults,
	unsigned n_defaults, struct bench_size out[static BENCH_SIZES_MAX]);

/* 64, 256, 512, 1024, 1420 and IMIX. */
extern const struct bench_size cases_all_sizes[6];

#endif
