/* run_aead.c - the cipher alone: each back end, by size of the packets and of the burst, and under
 * forgeries.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "raw.h"

static const enum aead_backend backends[] = {AEAD_IPSEC_MB, AEAD_OPENSSL, AEAD_LANES};
#define N_BACKENDS RTE_DIM(backends)

/* Bursts of these sizes tell where a back end for many packets begins to pay. */
static const uint8_t axis_bursts[] = {
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 17, 24, 32, 48, 64};
static const struct raw_load axis_loads[] = {
	{.size = {64}},
	{.size = {1420}},
	{.size = {BENCH_IMIX_MEAN_BYTES, true}},
	{.size = {64}, .has_long = true},
};
/* A flood of packets that nobody sealed. */
static const uint8_t forged_pcts[] = {3, 50, 100};
static const struct bench_size forged_sizes[] = {{64}, {1420}};
#define AXIS_SHARE 8 /* of the packets of other trials: there are many of these */

#define POINTS_MAX                                                      \
	(BENCH_SIZES_MAX + RTE_DIM(axis_loads) * RTE_DIM(axis_bursts) + \
		RTE_DIM(forged_sizes) * RTE_DIM(forged_pcts))

/* Cycles a packet of one load, of each back end, repeat by repeat. */
struct point {
	struct raw_load load;
	uint32_t n_pkts;
	struct sample_series seal[N_BACKENDS], open[N_BACKENDS];
};

static struct point points[POINTS_MAX];

static void point_set(struct point *p, struct raw_load load, unsigned burst, uint32_t n_pkts)
{
	*p = (struct point){.load = load, .n_pkts = n_pkts};
	p->load.burst = burst;
}

static unsigned points_init(const struct bench_options *o)
{
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n_sizes = cases_sizes(o, cases_all_sizes, RTE_DIM(cases_all_sizes), sizes), n = 0;

	for (unsigned i = 0; i < n_sizes; i++)
		point_set(&points[n++], (struct raw_load){.size = sizes[i]}, o->burst, o->n_pkts);
	if (o->n_sizes)
		return n;
	for (unsigned i = 0; i < RTE_DIM(axis_loads); i++)
		for (unsigned k = 0; k < RTE_DIM(axis_bursts); k++)
			if (axis_bursts[k] != o->burst || axis_loads[i].has_long)
				point_set(&points[n++], axis_loads[i], axis_bursts[k],
					o->n_pkts / AXIS_SHARE);
	for (unsigned i = 0; i < RTE_DIM(forged_sizes); i++)
		for (unsigned k = 0; k < RTE_DIM(forged_pcts); k++)
			point_set(&points[n++],
				(struct raw_load){
					.size = forged_sizes[i], .forged_pct = forged_pcts[k]},
				o->burst, o->n_pkts / AXIS_SHARE);
	return n;
}

/* Every back end, one behind the other, before the next load. */
static int measure(struct point *p, struct raw *const raws[N_BACKENDS], struct sample samples[2])
{
	for (unsigned b = 0; b < N_BACKENDS; b++) {
		if (!raws[b])
			continue;
		if (!raw_trial(raws[b], &p->load, p->n_pkts, &samples[0], &samples[1])) {
			fprintf(stderr, "portier-bench: %s: a packet did not come back as it was\n",
				aead_backend_name(backends[b]));
			return -1;
		}
		series_add(&p->seal[b], sample_figure(&samples[0]).cycles);
		series_add(&p->open[b], sample_figure(&samples[1]).cycles);
	}
	return 0;
}

/* The best of the others in each repeat. */
static struct sample_series best_other(const struct sample_series all[N_BACKENDS], unsigned own)
{
	struct sample_series best = {.n = 0};

	for (unsigned b = 0; b < N_BACKENDS; b++) {
		if (b == own || all[b].n == 0)
			continue;
		for (unsigned i = 0; i < all[b].n; i++)
			if (best.n < all[b].n)
				series_add(&best, all[b].values[i]);
			else if (all[b].values[i] < best.values[i])
				best.values[i] = all[b].values[i];
		best.n = all[b].n;
	}
	return best;
}

static void row_ratios(
	json_t *row, const char *key, const struct sample_series *a, const struct sample_series *b)
{
	if (b->n)
		row_number(row, key, series_median_ratio(a, b));
}

static void point_row(struct report *r, const struct point *p, unsigned own, unsigned chosen)
{
	const struct sample_series *seal = &p->seal[own], *open = &p->open[own];
	struct sample_series other_seal = best_other(p->seal, own);
	struct sample_series other_open = best_other(p->open, own);
	json_t *row = report_row(r);

	row_text(row, "backend", aead_backend_name(backends[own]));
	row_size(row, p->load.size);
	if (p->load.has_long)
		row_text(row, "size", "64, one long");
	row_count(row, "burst", p->load.burst);
	if (p->load.forged_pct)
		row_count(row, "forged_pct", p->load.forged_pct);
	row_cycles(row, series_median(seal), p->load.size.bytes);
	row_number(row, "cycles_min", series_min(seal));
	row_number(row, "cycles_max", series_max(seal));
	row_number(row, "open_cycles_per_pkt", series_median(open));
	row_number(row, "open_min", series_min(open));
	row_number(row, "open_max", series_max(open));
	row_number(row, "aead_cycles_per_pkt", series_median(&p->seal[chosen]));
	row_number(row, "ratio", series_median_ratio(seal, &p->seal[chosen]));
	row_number(row, "open_ratio", series_median_ratio(open, &p->open[chosen]));
	row_ratios(row, "of_best_other", seal, &other_seal);
	row_ratios(row, "open_of_best_other", open, &other_open);
	row_count(row, "lost", 0);
}

int bench_aead(const struct bench_options *o, struct report *r)
{
	enum aead_backend choice = aead_select(o->aead, NULL);
	struct sample *samples = calloc(2, sizeof(*samples));
	struct raw *raws[N_BACKENDS];
	unsigned n = points_init(o), chosen = 0;
	int rc = samples && choice != AEAD_AUTO ? 0 : -1;

	report_backend(r, choice);
	for (unsigned b = 0; b < N_BACKENDS; b++) {
		raws[b] = raw_create(backends[b], o->seed);
		if (backends[b] == choice)
			chosen = b;
	}
	for (unsigned repeat = 0; repeat < o->repeats && rc == 0; repeat++)
		for (unsigned i = 0; i < n && rc == 0; i++)
			rc = measure(&points[i], raws, samples);
	for (unsigned b = 0; b < N_BACKENDS; b++) {
		for (unsigned i = 0; rc == 0 && raws[b] && i < n; i++)
			point_row(r, &points[i], b, chosen);
		raw_destroy(raws[b]);
	}
	free(samples);
	return rc;
}
