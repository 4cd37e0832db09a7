/* run_sessions.c - established sessions beside leases, and how fast sessions begin. */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "cases.h"

#define N_ONE 1000u /* leases and sessions of the one peer of the first rows */

/* Where the flows of a kind lie in the list of flows. */
struct kind {
	const char *name;
	uint32_t first_of_one, first_of_many;
};

enum { LEASE, SESSION, N_KINDS };

struct plan {
	uint32_t n_one, most, n_peers;
	struct kind kinds[N_KINDS];
};

/* The first peer has leases, the second sessions, and so have two crowds after them. */
static int plan_carry_out(struct lab *lab, struct plan *plan)
{
	const uint32_t n_one = plan->n_one, most = plan->most, n_peers = plan->n_peers;

	plan->kinds[LEASE] = (struct kind){"lease", 0, n_one};
	plan->kinds[SESSION] = (struct kind){"session", n_one + most, 2 * n_one + most};
	if (lab_peers_add(lab, 2 * (n_peers + 1), 0) < 0 || lab_leases_add(lab, n_one, 0, 1) < 0 ||
		lab_leases_add(lab, most, 2, n_peers) < 0)
		return -1;
	lab_sessions_add(lab, n_one, 1, 1);
	lab_sessions_add(lab, most, 2 + n_peers, n_peers);
	return 0;
}

/* Begin n sessions, from the first-th flow on, in as many parts as other trials have repeats. */
static int begin_sessions(struct lab *lab, const struct bench_options *o, struct report *r,
	uint32_t first, uint32_t n, uint32_t n_before)
{
	static struct trial_result result;
	struct sample_series cycles = {.n = 0};
	struct trial trial = {.has_out = true, .burst = o->burst};
	const struct bench_size size = {64};
	json_t *row;

	for (uint32_t done = 0; done < n; done += trial.n_pkts) {
		trial.n_pkts = RTE_MIN(RTE_MAX(n / o->repeats, (uint32_t)LAB_AHEAD), n - done);
		flows_use_in_order(&lab->flows, first + done, trial.n_pkts, size);
		if (trial_run(lab, &trial, &result) < 0)
			return -1;
		series_add(&cycles, sample_figure(&result.sample).cycles);
	}
	row = report_row(r);
	row_text(row, "way", "begin");
	row_text(row, "via", "session");
	row_size(row, size);
	row_count(row, "sessions", n_before + n);
	row_cycles(row, series_median(&cycles), size.bytes);
	row_number(row, "cycles_min", series_min(&cycles));
	row_number(row, "cycles_max", series_max(&cycles));
	row_number(row, "begun_per_s", (double)rte_get_tsc_hz() / series_median(&cycles));
	row_count(row, "lost", lab->flows.counts.lost);
	return 0;
}

/* Out and in, by n leases and by n sessions, in turns. */
static int run_step(struct lab *lab, const struct bench_options *o, struct report *r,
	const struct plan *plan, bool is_one, uint32_t n)
{
	static const struct bench_size sizes_default[] = {{64}, {1420}};
	static struct bench_case cases[2 * N_KINDS * BENCH_SIZES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n_cases = 0;
	unsigned n_sizes = cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes);

	for (unsigned i = 0; i < 2 * n_sizes; i++)
		for (unsigned k = 0; k < N_KINDS; k++)
			cases[n_cases++] = (struct bench_case){.has_in = i % 2 == 1,
				.has_out = i % 2 == 0,
				.size = sizes[i / 2],
				.first_flow = is_one ? plan->kinds[k].first_of_one
						     : plan->kinds[k].first_of_many,
				.n_flows = n};
	if (cases_run(lab, o, cases, n_cases) < 0)
		return -1;
	for (unsigned i = 0; i < n_cases; i++) {
		unsigned k = i % N_KINDS;
		json_t *row = case_row(r, &cases[i]);

		row_text(row, "via", plan->kinds[k].name);
		row_count(row, "peers", is_one ? 1 : plan->n_peers);
		row_count(row, k == LEASE ? "leases" : "sessions", n);
		if (k == SESSION)
			row_number(row, "against_leases",
				series_median_ratio(&cases[i].cycles, &cases[i - 1].cycles));
	}
	return 0;
}

int bench_sessions(const struct bench_options *o, struct report *r)
{
	static const uint32_t steps[] = {1000, 10000, 100000, 1000000};
	struct plan plan = {
		.n_one = o->is_quick ? 200 : N_ONE,
		.most = o->max_leases ? o->max_leases
			: o->is_quick ? 2000
				      : 1000000,
		.n_peers = o->max_peers	 ? o->max_peers
			   : o->is_quick ? 10
					 : 1000,
	};
	uint32_t n_begun = 0;
	static struct lab lab;
	int rc;

	plan.most = RTE_MAX(plan.most / plan.n_peers, 1u) * plan.n_peers;
	rc = lab_up(&lab, o,
		&(struct rig_params){.n_workers = 1,
			.max_peers = 2 * (plan.n_peers + 1),
			.max_leases = plan.n_one + plan.most,
			.max_sessions = plan.n_one + plan.most,
			.aead = o->aead});
	if (rc == 0)
		rc = plan_carry_out(&lab, &plan);
	if (rc == 0)
		rc = begin_sessions(&lab, o, r, plan.kinds[SESSION].first_of_one, plan.n_one, 0);
	if (rc == 0)
		rc = run_step(&lab, o, r, &plan, true, plan.n_one);
	for (unsigned i = 0; rc == 0 && i < RTE_DIM(steps) && steps[i] <= plan.most; i++) {
		rc = begin_sessions(&lab, o, r, plan.kinds[SESSION].first_of_many + n_begun,
			steps[i] - n_begun, plan.n_one + n_begun);
		n_begun = steps[i];
		if (rc == 0)
			rc = run_step(&lab, o, r, &plan, false, n_begun);
	}
	report_backend(r, lab.rig.aead);
	return lab_finish(&lab, rc);
}
