#include "cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct bench_size cases_all_sizes[6] = {
	{64}, {256}, {512}, {1024}, {1420}, {BENCH_IMIX_MEAN_BYTES, true}};

unsigned cases_sizes(const struct bench_options *o, const struct bench_size *defaults,
	unsigned n_defaults, struct bench_size out[static BENCH_SIZES_MAX])
{
	const struct bench_size *from = o->n_sizes ? o->sizes : defaults;
	unsigned n = o->n_sizes ? o->n_sizes : n_defaults;

	memcpy(out, from, n * sizeof(out[0]));
	return n;
}

/* The cipher alone: the gateway's back end, and libipsec-mb if that is another. */
struct ciphers {
	struct raw *own, *mb;
};

/* Where trials put what they measured: too large for a stack. */
struct room {
	struct trial_result result;
	struct sample seal, open;
};

static void counts_add(
	struct flow_tally *to, const struct flow_tally *before, const struct flow_tally *after)
{
	to->sent += after->sent - before->sent;
	to->received += after->received - before->received;
	to->lost += after->lost - before->lost;
	to->duplicated += after->duplicated - before->duplicated;
	to->reordered += after->reordered - before->reordered;
	to->corrupt += after->corrupt - before->corrupt;
	to->foreign += after->foreign - before->foreign;
}

static double aead_of(const struct bench_case *c, struct room *room)
{
	double seal = sample_figure(&room->seal).cycles, open = sample_figure(&room->open).cycles;

	return c->has_in && c->has_out ? (seal + open) / 2 : c->has_in ? seal : open;
}

/* Over the bursts that were not cut from the figure. */
static void stages_add(
	struct bench_case *c, const struct trial_result *result, const struct sample_figure *figure)
{
	uint64_t sums[STAGE_N] = {0};

	for (uint32_t i = 0; i < figure->n_kept; i++)
		for (unsigned k = 0; k < STAGE_N; k++)
			sums[k] += result->stages[result->sample.bursts[i].idx][k];
	for (unsigned k = 0; k < STAGE_N; k++)
		series_add(&c->stages[k], (double)sums[k] / (double)figure->n_kept_pkts);
}

/* 0: a packet did not come back as it was. */
static double measure_aead(struct raw *raw, const struct bench_options *o,
	const struct bench_case *c, struct room *room)
{
	if (raw_trial(raw, &(struct raw_load){.size = c->size, .burst = o->burst}, o->n_pkts,
		    &room->seal, &room->open))
		return aead_of(c, room);
	lab_complain("raw AEAD: a packet did not come back as it was");
	return 0;
}

static int run_once(struct lab *lab, const struct bench_options *o, const struct ciphers *ciphers,
	struct bench_case *c, struct room *room)
{
	struct trial trial = {
		.has_in = c->has_in,
		.has_out = c->has_out,
		.burst = o->burst,
		.n_pkts = o->n_pkts,
		.n_warm_pkts = c->n_warm_pkts,
	};
	struct flow_tally before = lab->flows.counts;
	struct sample_figure figure;
	double aead, mb;

	flows_use(&lab->flows, c->first_flow, c->n_flows, c->size);
	lab->wrong_pct = c->wrong_pct;
	aead = measure_aead(ciphers->own, o, c, room);
	mb = ciphers->mb ? measure_aead(ciphers->mb, o, c, room) : aead;
	if (aead <= 0 || mb <= 0)
		return -1;
	if (trial_run(lab, &trial, &room->result) < 0)
		return -1;
	figure = sample_figure(&room->result.sample);
	series_add(&c->cycles, figure.cycles);
	series_add(&c->mean, figure.mean);
	series_add(&c->slowest, figure.slowest_burst);
	series_add(&c->aead, aead);
	series_add(&c->ratio, figure.cycles / aead);
	series_add(&c->mb, mb);
	series_add(&c->ratio_mb, figure.cycles / mb);
	c->n_interrupted += room->result.n_interrupted;
	series_add(&c->maker, room->result.maker_cycles);
	series_add(&c->sink, room->result.sink_cycles);
	if (lab->rig.params.n_workers == 1) {
		trial.in_stages = true;
		if (trial_run(lab, &trial, &room->result) < 0)
			return -1;
		figure = sample_figure(&room->result.sample);
		stages_add(c, &room->result, &figure);
	}
	counts_add(&c->counts, &before, &lab->flows.counts);
	return 0;
}

int cases_run(struct lab *lab, const struct bench_options *o, struct bench_case *cases, unsigned n)
{
	struct ciphers ciphers = {.own = raw_create(lab->rig.aead, o->seed)};
	struct room *room = calloc(1, sizeof(*room));
	struct bench_options warm_up = *o;
	int rc = ciphers.own && room ? 0 : -1;

	if (lab->rig.aead != AEAD_IPSEC_MB)
		ciphers.mb = raw_create(AEAD_IPSEC_MB, o->seed);
	if (rc < 0)
		lab_complain("out of memory");
	warm_up.n_pkts = RTE_MIN(o->n_pkts, 4096u);
	for (unsigned i = 0; i < n && rc == 0; i++) {
		struct bench_case scratch = cases[i];

		rc = run_once(lab, &warm_up, &ciphers, &scratch, room);
	}
	for (unsigned repeat = 0; repeat < o->repeats && rc == 0; repeat++)
		for (unsigned i = 0; i < n && rc == 0; i++)
			rc = run_once(lab, o, &ciphers, &cases[i], room);
	raw_destroy(ciphers.own);
	raw_destroy(ciphers.mb);
	free(room);
	return rc;
}

static json_t *stages_object(const struct bench_case *c)
{
	json_t *stages = json_object();

	for (unsigned i = 0; i < STAGE_N; i++)
		if (series_max(&c->stages[i]) > 0)
			row_number(stages, stage_name(i), series_median(&c->stages[i]));
	return stages;
}

json_t *case_row(struct report *r, const struct bench_case *c)
{
	json_t *row = report_row(r);

	row_text(row, "way", c->has_in && c->has_out ? "both" : c->has_in ? "in" : "out");
	row_size(row, c->size);
	row_cycles(row, series_median(&c->cycles), c->size.bytes);
	row_number(row, "cycles_min", series_min(&c->cycles));
	row_number(row, "cycles_max", series_max(&c->cycles));
	row_number(row, "cycles_mean", series_median(&c->mean));
	row_number(row, "slowest_turn_cycles", series_median(&c->slowest));
	row_number(row, "aead_cycles_per_pkt", series_median(&c->aead));
	row_number(row, "ratio", series_median(&c->ratio));
	row_number(row, "ratio_min", series_min(&c->ratio));
	row_number(row, "ratio_max", series_max(&c->ratio));
	row_number(row, "ipsec_mb_cycles_per_pkt", series_median(&c->mb));
	row_number(row, "ratio_ipsec_mb", series_median(&c->ratio_mb));
	row_number(row, "ratio_of_best", series_min(&c->cycles) / series_min(&c->aead));
	row_number(row, "maker_cycles", series_median(&c->maker));
	row_number(row, "sink_cycles", series_median(&c->sink));
	row_count(row, "interrupted", c->n_interrupted);
	row_count(row, "sent", c->counts.sent);
	row_count(row, "received", c->counts.received);
	row_count(row, "lost", c->counts.lost);
	row_count(row, "duplicated", c->counts.duplicated);
	row_count(row, "reordered", c->counts.reordered);
	row_count(row, "corrupt", c->counts.corrupt + c->counts.foreign);
	if (c->stages[STAGE_rx].n)
		json_object_set_new(row, "stages", stages_object(c));
	return row;
}
