/* run_rate.c - benchmarks of rates: latency at a share of the highest, and the highest without
 * loss.
 */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "cases.h"
#include "queue.h"

#define LATENCIES_MAX 400000

static int rate_lab_up(struct lab *lab, const struct bench_options *o)
{
	uint32_t n_leases = o->is_quick ? 16 : 1000;
	int rc = lab_up(lab, o,
		&(struct rig_params){
			.n_workers = 1, .max_peers = 1, .max_leases = n_leases, .aead = o->aead});

	if (rc == 0)
		rc = lab_peers_add(lab, 1, 0);
	return rc == 0 ? lab_leases_add(lab, n_leases, 0, 1) : rc;
}

/* What goes through when more is offered than can. */
static int highest_rate(
	struct lab *lab, const struct bench_options *o, enum flow_way way, double *pps)
{
	struct queue_trial trial = {
		.way = way, .pps = 2e7, .duration_s = o->is_quick ? 0.002 : 0.02, .max_loss = 1};
	struct queue_result result;
	int rc = queue_run(lab, &trial, &result);

	*pps = result.pps;
	return rc;
}

/* --- latency -----------------------------------------------------------------------------------
 */

struct latency_case {
	enum flow_way way;
	struct bench_size size;
	unsigned load_pct;
	struct sample_series offered, p50, p99, p999, worst;
	uint32_t n_interrupted;
	uint64_t n_pkts, lost;
};

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int latency_once(
	struct lab *lab, const struct bench_options *o, struct latency_case *c, uint32_t *room)
{
	struct queue_trial trial = {.way = c->way,
		.is_random = true,
		.latencies = room,
		.max_latencies = LATENCIES_MAX,
		.max_loss = 1};
	double us = (double)rte_get_tsc_hz() / 1e6, pps;
	struct queue_result result;
	uint32_t n;
	int rc;

	flows_use(&lab->flows, 0, lab->flows.n, c->size);
	rc = highest_rate(lab, o, c->way, &pps);
	trial.pps = pps * c->load_pct / 100;
	trial.duration_s = (double)o->n_pkts / trial.pps;
	if (rc == 0)
		rc = queue_run(lab, &trial, &result);
	if (rc < 0 || result.n_latencies == 0)
		return -1;
	n = result.n_latencies;
	qsort(room, n, sizeof(room[0]), compare_u32);
	series_add(&c->offered, trial.pps / 1e6);
	series_add(&c->p50, room[n / 2] / us);
	series_add(&c->p99, room[(uint64_t)n * 99 / 100] / us);
	series_add(&c->p999, room[(uint64_t)n * 999 / 1000] / us);
	series_add(&c->worst, room[n - 1] / us);
	c->n_interrupted += result.n_interrupted;
	c->n_pkts += result.n_offered;
	c->lost += result.n_dropped;
	return 0;
}

static void latency_row(struct report *r, const struct latency_case *c)
{
	json_t *row = report_row(r);

	row_text(row, "way", c->way == FLOW_IN ? "in" : "out");
	row_size(row, c->size);
	row_count(row, "load_pct", c->load_pct);
	row_number(row, "offered_mpps", series_median(&c->offered));
	row_number(row, "p50_us", series_median(&c->p50));
	row_number(row, "p99_us", series_median(&c->p99));
	row_number(row, "p999_us", series_median(&c->p999));
	row_number(row, "p999_min_us", series_min(&c->p999));
	row_number(row, "p999_max_us", series_max(&c->p999));
	row_number(row, "max_us", series_median(&c->worst));
	row_count(row, "interrupted", c->n_interrupted);
	row_count(row, "sent", c->n_pkts);
	row_count(row, "lost", c->lost);
}

int bench_latency(const struct bench_options *o, struct report *r)
{
	static const unsigned loads[] = {10, 50, 90};
	static const struct bench_size sizes_default[] = {
		{64}, {1420}, {BENCH_IMIX_MEAN_BYTES, true}};
	static struct latency_case cases[6 * BENCH_SIZES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n_sizes = cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes), n = 0;
	uint32_t *room = calloc(LATENCIES_MAX, sizeof(*room));
	static struct lab lab;
	int rc = room ? rate_lab_up(&lab, o) : -1;

	for (unsigned way = FLOW_IN; way <= FLOW_OUT; way++)
		for (unsigned i = 0; i < n_sizes; i++)
			for (unsigned k = 0; k < RTE_DIM(loads); k++)
				cases[n++] = (struct latency_case){
					.way = way, .size = sizes[i], .load_pct = loads[k]};
	for (unsigned repeat = 0; rc == 0 && repeat < o->repeats; repeat++)
		for (unsigned i = 0; rc == 0 && i < n; i++)
			rc = latency_once(&lab, o, &cases[i], room);
	for (unsigned i = 0; rc == 0 && i < n; i++)
		latency_row(r, &cases[i]);
	free(room);
	return lab_finish(&lab, rc);
}

/* --- ndr ---------------------------------------------------------------------------------------
 */

/* As MLRsearch does: short trials narrow the search, full ones decide. */
static const struct phase {
	double duration_s, width;
} phases[] = {{0.05, 0.10}, {0.2, 0.03}, {1.0, 0.01}}, phases_quick[] = {{0.005, 0.5}};

struct search {
	struct lab *lab;
	const struct bench_options *o;
	enum flow_way way;
	double loss; /* that is accepted: a share of the packets */
	unsigned n_trials;
	uint32_t n_interrupted;
};

/* 1: passed; 0: too much was lost; -1: no trial. */
static int passes(struct search *s, double pps, double duration_s)
{
	struct queue_trial trial = {
		.way = s->way, .max_loss = s->loss, .pps = pps, .duration_s = duration_s};
	struct queue_result result;

	s->n_trials++;
	if (queue_run(s->lab, &trial, &result) < 0)
		return -1;
	s->n_interrupted += result.n_interrupted;
	return !result.has_failed;
}

/* Narrow *lo and *hi, which shorter trials found, down to this phase's width. 1; -1: no trial. */
static int search_phase(struct search *s, const struct phase *phase, double *lo, double *hi)
{
	double step = phase->width;
	int rc;

	while ((rc = passes(s, *lo, phase->duration_s)) == 0) {
		*hi = *lo;
		*lo *= 1 - RTE_MIN(step, 0.5);
		step *= 2;
	}
	step = phase->width;
	while (rc == 1 && (rc = passes(s, *hi, phase->duration_s)) == 1) {
		*lo = *hi;
		*hi *= 1 + step;
		step *= 2;
	}
	while (rc >= 0 && *hi - *lo > *hi * phase->width) {
		double middle = (*lo + *hi) / 2;

		rc = passes(s, middle, phase->duration_s);
		if (rc == 1)
			*lo = middle;
		else
			*hi = middle;
	}
	return rc < 0 ? -1 : 1;
}

/* The highest rate that passes; 0: no trial. */
static double search_rate(struct search *s, double guess)
{
	const struct phase *all = s->o->is_quick ? phases_quick : phases;
	unsigned n = s->o->is_quick ? RTE_DIM(phases_quick) : RTE_DIM(phases);
	double lo = guess * 0.95, hi = guess * 1.05;

	for (unsigned i = 0; i < n; i++)
		if (search_phase(s, &all[i], &lo, &hi) < 0)
			return 0;
	return lo;
}

static int ndr_row(struct report *r, struct lab *lab, const struct bench_options *o,
	enum flow_way way, struct bench_size size)
{
	struct search s = {.lab = lab, .o = o, .way = way};
	double most, ndr, pdr;
	json_t *row;

	flows_use(&lab->flows, 0, lab->flows.n, size);
	if (highest_rate(lab, o, way, &most) < 0)
		return -1;
	s.loss = 0.005;
	pdr = search_rate(&s, most);
	s.loss = 0;
	ndr = search_rate(&s, pdr);
	if (ndr <= 0)
		return -1;
	/* What loses nothing does not lose too much, however the noise fell. */
	pdr = RTE_MAX(pdr, ndr);
	row = report_row(r);
	row_text(row, "way", way == FLOW_IN ? "in" : "out");
	row_size(row, size);
	row_number(row, "ndr_mpps", ndr / 1e6);
	row_number(row, "ndr_gbps", ndr * size.bytes * 8 / 1e9);
	row_number(row, "pdr_mpps", pdr / 1e6);
	row_number(row, "pdr_gbps", pdr * size.bytes * 8 / 1e9);
	row_number(row, "most_mpps", most / 1e6);
	row_count(row, "trials", s.n_trials);
	row_count(row, "interrupted", s.n_interrupted);
	row_count(row, "lost", 0);
	return 0;
}

int bench_ndr(const struct bench_options *o, struct report *r)
{
	static const struct bench_size sizes_default[] = {
		{64}, {1420}, {BENCH_IMIX_MEAN_BYTES, true}};
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n = cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes);
	static struct lab lab;
	int rc = rate_lab_up(&lab, o);

	report_note(r, "slots", json_integer(QUEUE_SLOTS));
	for (unsigned way = FLOW_IN; way <= FLOW_OUT; way++)
		for (unsigned i = 0; rc == 0 && i < n; i++)
			rc = ndr_row(r, &lab, o, way, sizes[i]);
	return lab_finish(&lab, rc);
}
