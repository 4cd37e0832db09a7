/* run_path.c - benchmarks of packets: in, out, both, leases, peers, handover, workers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"

static uint32_t at_most(uint32_t value, uint32_t limit)
{
	return limit && limit < value ? limit : value;
}

/* --- in, out, both -----------------------------------------------------------------------------
 */

static int run_ways(const struct bench_options *o, struct report *r, bool has_in, bool has_out)
{
	static struct bench_case cases[BENCH_SIZES_MAX * BESIDE_BACKENDS_MAX];
	enum aead_backend backends[BESIDE_BACKENDS_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n_sizes = cases_sizes(o, cases_all_sizes, RTE_DIM(cases_all_sizes), sizes);
	unsigned n_backends, n;
	uint32_t n_peers = o->max_peers ? o->max_peers : 1;
	uint32_t n_leases = o->max_leases ? o->max_leases : o->is_quick ? 16 : 1000;
	static struct lab lab;
	int rc;

	n_leases = RTE_MAX(n_leases / n_peers * n_peers, n_peers);
	rc = lab_up(&lab, o,
		&(struct rig_params){.n_workers = 1,
			.max_peers = n_peers,
			.max_leases = n_leases,
			.aead = o->aead});
	if (rc == 0)
		rc = lab_peers_add(&lab, n_peers, 0);
	if (rc == 0)
		rc = lab_leases_add(&lab, n_leases, 0, n_peers);
	n_backends = beside_backends(&lab, backends);
	/* One was asked for, or it is not what this benchmark is about. */
	if (o->aead != AEAD_AUTO || (has_in && has_out))
		n_backends = 1;
	n = n_sizes * n_backends;
	for (unsigned i = 0; i < n; i++)
		cases[i] = (struct bench_case){.has_in = has_in,
			.has_out = has_out,
			.backend = backends[i / n_sizes],
			.size = sizes[i % n_sizes],
			.n_flows = n_leases};
	if (rc == 0)
		rc = cases_run(&lab, o, cases, n);
	for (unsigned i = 0; rc == 0 && i < n; i++) {
		json_t *row = case_row(r, &cases[i]);

		row_text(row, "backend", aead_backend_name(cases[i].backend));
		row_count(row, "peers", n_peers);
		row_count(row, "leases", n_leases);
	}
	report_backend(r, lab.rig.aead);
	return lab_finish(&lab, rc);
}

int bench_in(const struct bench_options *o, struct report *r)
{
	return run_ways(o, r, true, false);
}

int bench_out(const struct bench_options *o, struct report *r)
{
	return run_ways(o, r, false, true);
}

int bench_both(const struct bench_options *o, struct report *r)
{
	return run_ways(o, r, true, true);
}

/* --- leases ------------------------------------------------------------------------------------
 */

#define LEASES_STEPS	 5
#define LEASES_FEWEST	 1 /* the step that later ones have more leases than, of as many peers */
#define LEASES_PEERS	 1000
#define LEASES_OF_ONE	 1000
#define LEASES_MOST	 1000000
#define LEASES_WARM_PKTS 4096

/* Packets to some of the leases: all of them are open. */
struct leases_step {
	uint32_t n_peers, first_flow, n_flows;
};

/* The leases of one peer, then 1 k to 1 M of a thousand peers. Returns how many steps. */
static unsigned leases_plan(uint32_t most, uint32_t n_one, uint32_t n_peers,
	struct leases_step out[static LEASES_STEPS])
{
	unsigned n = 0;

	out[n++] = (struct leases_step){1, 0, n_one};
	for (uint32_t n_flows = 1000; n_flows <= most && n < LEASES_STEPS; n_flows *= 10)
		out[n++] = (struct leases_step){n_peers, n_one, n_flows};
	return n;
}

/* What is compared takes its turns: every number of leases in one size, then the next size. */
static int leases_run(struct lab *lab, const struct bench_options *o, struct report *r,
	const struct leases_step *steps, unsigned n_steps)
{
	static const struct bench_size sizes_default[] = {{64}, {1420}};
	static struct bench_case cases[LEASES_STEPS * BENCH_SIZES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n_cases = n_steps * cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes);

	for (unsigned i = 0; i < n_cases; i++)
		cases[i] = (struct bench_case){.has_in = true,
			.size = sizes[i / n_steps],
			.first_flow = steps[i % n_steps].first_flow,
			.n_flows = steps[i % n_steps].n_flows,
			.n_warm_pkts = LEASES_WARM_PKTS};
	if (cases_run(lab, o, cases, n_cases) < 0)
		return -1;
	for (unsigned i = 0; i < n_cases; i++) {
		const struct bench_case *one_peer = &cases[i / n_steps * n_steps];
		json_t *row = case_row(r, &cases[i]);

		row_count(row, "peers", steps[i % n_steps].n_peers);
		row_count(row, "leases", steps[i % n_steps].n_flows);
		row_number(row, "against_first",
			series_median_ratio(&cases[i].cycles, &one_peer->cycles));
		if (i % n_steps > LEASES_FEWEST)
			row_number(row, "against_fewest",
				series_median_ratio(
					&cases[i].cycles, &one_peer[LEASES_FEWEST].cycles));
	}
	return 0;
}

int bench_leases(const struct bench_options *o, struct report *r)
{
	uint32_t most = at_most(o->is_quick ? 2000 : LEASES_MOST, o->max_leases);
	uint32_t n_one = at_most(LEASES_OF_ONE, most);
	uint32_t n_peers = o->is_quick ? 10 : LEASES_PEERS;
	struct leases_step steps[LEASES_STEPS];
	unsigned n_steps;
	static struct lab lab;
	int rc;

	most = RTE_MAX(most / n_peers * n_peers, n_peers);
	n_steps = leases_plan(most, n_one, n_peers, steps);
	rc = lab_up(&lab, o,
		&(struct rig_params){.n_workers = 1,
			.max_peers = n_peers + 1,
			.max_leases = most + n_one,
			.aead = o->aead});
	if (rc == 0)
		rc = lab_peers_add(&lab, n_peers + 1, 0);
	if (rc == 0)
		rc = lab_leases_add(&lab, n_one, 0, 1);
	if (rc == 0)
		rc = lab_leases_add(&lab, most, 1, n_peers);
	if (rc == 0)
		rc = leases_run(&lab, o, r, steps, n_steps);
	report_backend(r, lab.rig.aead);
	return lab_finish(&lab, rc);
}

/* --- peers -------------------------------------------------------------------------------------
 */

int bench_peers(const struct bench_options *o, struct report *r)
{
	static const uint32_t steps[] = {1, 1000, 100000}, steps_quick[] = {1, 10, 100};
	static const struct bench_size sizes_default[] = {{64}, {1420}};
	static struct bench_case cases[2 * BENCH_SIZES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n_sizes = cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes);
	const uint32_t *wanted = o->is_quick ? steps_quick : steps;
	uint32_t most = at_most(wanted[2], o->max_peers);
	static struct lab lab;
	int rc = lab_up(&lab, o,
		&(struct rig_params){
			.n_workers = 1, .max_peers = most, .max_leases = most, .aead = o->aead});

	for (unsigned step = 0; rc == 0 && step < 3; step++) {
		uint32_t n = wanted[step], had = lab.parties.n;

		if (n > most)
			break;
		rc = lab_peers_add(&lab, n - had, 0);
		if (rc == 0)
			rc = lab_leases_add(&lab, n - had, had, n - had);
		for (unsigned i = 0; i < 2 * n_sizes; i++)
			cases[i] = (struct bench_case){.has_in = i % 2 == 0,
				.has_out = i % 2 == 1,
				.size = sizes[i / 2],
				.n_flows = n};
		if (rc == 0)
			rc = cases_run(&lab, o, cases, 2 * n_sizes);
		for (unsigned i = 0; rc == 0 && i < 2 * n_sizes; i++) {
			json_t *row = case_row(r, &cases[i]);

			row_count(row, "peers", n);
			row_count(row, "leases", n);
		}
	}
	report_backend(r, lab.rig.aead);
	return lab_finish(&lab, rc);
}

/* --- handover ----------------------------------------------------------------------------------
 */

/* Two workers in turns on one core; every peer lives on the first. */
int bench_handover(const struct bench_options *o, struct report *r)
{
	static const unsigned wrong[] = {0, 50, 100};
	static const struct bench_size sizes_default[] = {{64}, {1420}};
	static struct bench_case cases[CASES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n_sizes = cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes), n = 0;
	uint32_t n_leases = o->is_quick ? 16 : 1000;
	static struct lab lab;
	int rc = lab_up(&lab, o,
		&(struct rig_params){
			.n_workers = 2, .max_peers = 16, .max_leases = n_leases, .aead = o->aead});

	if (rc == 0)
		rc = lab_peers_add(&lab, 8, 0);
	if (rc == 0)
		rc = lab_leases_add(&lab, n_leases, 0, 8);
	for (unsigned way = 0; way < 2; way++)
		for (unsigned i = 0; i < n_sizes; i++)
			for (unsigned k = 0; k < RTE_DIM(wrong) && n < CASES_MAX; k++)
				cases[n++] = (struct bench_case){.has_in = way == 0,
					.has_out = way == 1,
					.size = sizes[i],
					.n_flows = n_leases,
					.wrong_pct = wrong[k]};
	if (rc == 0)
		rc = cases_run(&lab, o, cases, n);
	for (unsigned i = 0; rc == 0 && i < n; i++) {
		const struct bench_case *none = &cases[i / RTE_DIM(wrong) * RTE_DIM(wrong)];
		json_t *row = case_row(r, &cases[i]);

		row_count(row, "wrong_pct", cases[i].wrong_pct);
		if (cases[i].wrong_pct)
			row_number(row, "handover_cycles",
				series_median_difference(&cases[i].cycles, &none->cycles) * 100 /
					cases[i].wrong_pct);
	}
	report_backend(r, lab.rig.aead);
	return lab_finish(&lab, rc);
}

/* --- workers -----------------------------------------------------------------------------------
 */

/* As many peers at home on each of n workers, which take their turns on one core. */
static int run_workers(const struct bench_options *o, struct report *r, unsigned n_workers,
	double one_ratio[static 2 * BENCH_SIZES_MAX])
{
	static const struct bench_size sizes_default[] = {{64}, {1420}};
	static struct bench_case cases[2 * BENCH_SIZES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n_sizes = cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes);
	uint32_t n_peers = 8, n_leases = o->is_quick ? 16 : 1000;
	static struct lab lab;
	int rc = lab_up(&lab, o,
		&(struct rig_params){.n_workers = n_workers,
			.max_peers = n_peers,
			.max_leases = n_leases,
			.aead = o->aead});

	for (unsigned w = 0; rc == 0 && w < n_workers; w++)
		rc = lab_peers_add(&lab, n_peers / n_workers, (uint8_t)w);
	if (rc == 0)
		rc = lab_leases_add(&lab, n_leases, 0, n_peers);
	for (unsigned i = 0; i < 2 * n_sizes; i++)
		cases[i] = (struct bench_case){.has_in = i % 2 == 0,
			.has_out = i % 2 == 1,
			.size = sizes[i / 2],
			.n_flows = n_leases};
	if (rc == 0)
		rc = cases_run(&lab, o, cases, 2 * n_sizes);
	for (unsigned i = 0; rc == 0 && i < 2 * n_sizes; i++) {
		json_t *row = case_row(r, &cases[i]);
		double ratio = series_median(&cases[i].aead.ratio);

		if (n_workers == 1)
			one_ratio[i] = ratio;
		row_count(row, "workers", n_workers);
		row_count(row, "peers", n_peers);
		row_number(row, "against_first", ratio / one_ratio[i]);
	}
	report_backend(r, lab.rig.aead);
	return lab_finish(&lab, rc);
}

int bench_workers(const struct bench_options *o, struct report *r)
{
	double one_ratio[2 * BENCH_SIZES_MAX];
	int rc = 0;

	for (unsigned n = 1; rc == 0 && n <= RIG_WORKERS_MAX; n++)
		rc = run_workers(o, r, n, one_ratio);
	return rc;
}
