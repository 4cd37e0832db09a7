/* run_rekey.c - packets while peers rekey: what that costs the path, and what it loses.
 *
 * Twice: with the handshake thread's turns taken between the workers' turns, untimed, which shows
 * what rekeys cost a worker; and with that thread running beside it, as in the daemon, which shows
 * what the machine makes of it. Where two CPUs are two threads of one core, the second is slower,
 * because the Diffie-Hellmans take their share of that core.
 *
 * Quiet and busy slices of SLICE_US take turns, either first in every second pair; the slow-down is
 * the median over the pairs.
 */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "cases.h"

#define REKEYS_PER_S 1000 /* of the time that the workers work */
#define SLICE_US     8000 /* of that time: shorter than what disturbs a shared machine */

/* Goes on from one busy slice to the next. */
struct pace {
	uint32_t cursor;
	uint64_t cycles_before; /* that the workers worked in the slices before this one */
	uint64_t n_begun;
	uint64_t n_busy; /* the next peer still waited for its last one */
};

static void rekey_some(struct lab *lab, void *arg, uint64_t gateway_cycles)
{
	struct pace *pace = arg;
	uint64_t n_due = (pace->cycles_before + gateway_cycles) / (rte_get_tsc_hz() / REKEYS_PER_S);

	while (pace->n_begun + pace->n_busy < n_due) {
		if (lab_initiate(lab, pace->cursor))
			pace->n_begun++;
		else
			pace->n_busy++;
		pace->cursor = pace->cursor + 1 == lab->parties.n ? 0 : pace->cursor + 1;
	}
}

/* One row. Means, not cut ones: the turns that carry a rekey are among the slowest two per cent. */
struct rekey_case {
	enum flow_way way;
	struct bench_size size;
	struct pace pace;
	struct sample_series quiet, busy, quiet_slowest, busy_slowest;
	struct sample_course course[2]; /* quiet, busy */
	uint64_t n_rekeys, n_interrupted, lost;
};

static int run_once(struct lab *lab, const struct bench_options *o, struct rekey_case *c,
	bool is_busy, struct trial_result *result)
{
	struct trial trial = {
		.has_in = c->way == FLOW_IN,
		.has_out = c->way == FLOW_OUT,
		.burst = o->burst,
		.n_pkts = o->n_pkts,
		.n_cycles = o->n_pkts ? 0 : rte_get_tsc_hz() / 1000000 * SLICE_US,
		.is_live = true,
		.between = is_busy ? rekey_some : NULL,
		.between_arg = &c->pace,
	};
	uint64_t lost = lab->flows.counts.lost, n_handshakes = lab->parties.n_handshakes;
	struct sample_figure figure;
	int rc;

	flows_use(&lab->flows, 0, lab->flows.n, c->size);
	rc = trial_run(lab, &trial, result);
	if (rc == 0)
		rc = lab_handshakes_wait(lab, 0, lab->parties.n);
	if (rc < 0)
		return rc;
	figure = sample_figure(&result->sample);
	course_add(&c->course[is_busy], &figure, result->gateway_cycles);
	series_add(is_busy ? &c->busy : &c->quiet, figure.mean);
	series_add(is_busy ? &c->busy_slowest : &c->quiet_slowest, figure.slowest_burst);
	c->lost += lab->flows.counts.lost - lost;
	c->n_interrupted += result->n_interrupted;
	if (is_busy) {
		c->n_rekeys += lab->parties.n_handshakes - n_handshakes;
		c->pace.cycles_before += result->gateway_cycles;
	}
	return 0;
}

static void rekey_row(struct report *r, const struct rekey_case *c, bool has_thread)
{
	double us = (double)rte_get_tsc_hz() / 1e6;
	struct sample_series slow_downs;
	json_t *row = report_row(r);

	series_slow_downs(&c->busy, &c->quiet, &slow_downs);
	row_text(row, "handshakes", has_thread ? "beside" : "untimed");
	row_text(row, "way", c->way == FLOW_IN ? "in" : "out");
	row_size(row, c->size);
	row_cycles(row, series_median(&c->busy), c->size.bytes);
	row_number(row, "quiet_cycles_per_pkt", series_median(&c->quiet));
	row_number(row, "slow_down_pct", series_median(&slow_downs));
	row_number(row, "slow_down_q1_pct", series_quantile(&slow_downs, 0.25));
	row_number(row, "slow_down_q3_pct", series_quantile(&slow_downs, 0.75));
	row_number(row, "rekeys_per_s",
		(double)c->n_rekeys * us * 1e6 / (double)RTE_MAX(c->pace.cycles_before, 1u));
	row_count(row, "rekeys", c->n_rekeys);
	row_count(row, "late", c->pace.n_busy);
	row_number(row, "slowest_turn_us", series_median(&c->busy_slowest) / us);
	row_number(row, "slowest_turn_max_us", series_max(&c->busy_slowest) / us);
	row_number(row, "quiet_slowest_turn_us", series_median(&c->quiet_slowest) / us);
	row_count(row, "interrupted", c->n_interrupted);
	row_count(row, "lost", c->lost);
	row_course(row, "course_quiet", &c->course[0]);
	row_course(row, "course", &c->course[1]);
}

static int run_rekeys(const struct bench_options *o, struct report *r, bool has_thread,
	struct trial_result *result)
{
	static const struct bench_size sizes_default[] = {{64}, {1420}};
	static struct rekey_case cases[2 * BENCH_SIZES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n = 2 * cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes);
	uint32_t n_peers = o->max_peers ? o->max_peers : o->is_quick ? 10 : 1000;
	static struct lab lab;
	int rc = lab_up(&lab, o,
		&(struct rig_params){.n_workers = 1,
			.max_peers = n_peers,
			.max_leases = n_peers,
			.aead = o->aead,
			.has_handshake_thread = has_thread});

	if (rc == 0)
		rc = lab_peers_add(&lab, n_peers, 0);
	if (rc == 0)
		rc = lab_leases_add(&lab, n_peers, 0, n_peers);
	for (unsigned i = 0; i < n; i++)
		cases[i] = (struct rekey_case){
			.way = i % 2 ? FLOW_OUT : FLOW_IN, .size = sizes[i / 2]};
	for (unsigned repeat = 0; rc == 0 && repeat < o->repeats; repeat++)
		for (unsigned i = 0; rc == 0 && i < 2 * n; i++)
			rc = run_once(&lab, o, &cases[i / 2], (i + repeat) % 2, result);
	for (unsigned i = 0; rc == 0 && i < n; i++)
		rekey_row(r, &cases[i], has_thread);
	return lab_finish(&lab, rc);
}

int bench_rekey(const struct bench_options *o, struct report *r)
{
	struct trial_result *result = calloc(1, sizeof(*result));
	int rc = result ? run_rekeys(o, r, false, result) : -1;

	if (rc == 0)
		rc = run_rekeys(o, r, true, result);
	free(result);
	return rc;
}
