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

/* Where trials put what they measured: too large for a stack. */
struct room {
	struct trial_result result;
	struct beside *beside;
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

void stages_add(struct sample_series stages[static STAGE_N], const struct trial_result *result,
	uint32_t n_bursts)
{
	uint64_t sums[STAGE_N] = {0}, n_pkts = 0;

	for (uint32_t i = 0; i < n_bursts; i++) {
		n_pkts += result->sample.bursts[i].n_pkts;
		for (unsigned k = 0; k < STAGE_N; k++)
			sums[k] += result->stages[result->sample.bursts[i].idx][k];
	}
	for (unsigned k = 0; k < STAGE_N; k++)
		series_add(&stages[k], (double)sums[k] / (double)RTE_MAX(n_pkts, 1u));
}

void aead_add(struct bench_aead *a, double cycles, const struct beside_figure *beside)
{
	series_add(&a->own, beside->own);
	series_add(&a->ratio, cycles / beside->own);
	series_add(&a->mb, beside->mb);
	series_add(&a->ratio_mb, cycles / beside->mb);
}

void row_aead(json_t *row, const struct bench_aead *a)
{
	row_number(row, "aead_cycles_per_pkt", series_median(&a->own));
	row_number(row, "ratio", series_median(&a->ratio));
	row_number(row, "ratio_min", series_min(&a->ratio));
	row_number(row, "ratio_max", series_max(&a->ratio));
	row_number(row, "ipsec_mb_cycles_per_pkt", series_median(&a->mb));
	row_number(row, "ratio_ipsec_mb", series_median(&a->ratio_mb));
}

void row_stages(json_t *row, const struct sample_series stages[static STAGE_N])
{
	json_t *object;

	if (!stages[STAGE_rx].n)
		return;
	object = json_object();
	for (unsigned i = 0; i < STAGE_N; i++)
		if (series_max(&stages[i]) > 0)
			row_number(object, stage_name(i), series_median(&stages[i]));
	json_object_set_new(row, "stages", object);
}

static int run_once(
	struct lab *lab, const struct bench_options *o, struct bench_case *c, struct room *room)
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
	struct beside_figure beside;

	flows_use(&lab->flows, c->first_flow, c->n_flows, c->size);
	lab->wrong_pct = c->wrong_pct;
	if (beside_use(room->beside, c->backend) < 0 ||
		beside_time(room->beside, c->has_in, c->has_out, c->size, o->n_pkts, &beside) < 0)
		return -1;
	if (trial_run(lab, &trial, &room->result) < 0)
		return -1;
	figure = sample_figure(&room->result.sample);
	series_add(&c->cycles, figure.cycles);
	series_add(&c->mean, figure.mean);
	series_add(&c->slowest, figure.slowest_burst);
	aead_add(&c->aead, figure.cycles, &beside);
	c->n_interrupted += room->result.n_interrupted;
	series_add(&c->maker, room->result.maker_cycles);
	series_add(&c->sink, room->result.sink_cycles);
	if (lab->rig.params.n_workers == 1) {
		trial.in_stages = true;
		if (trial_run(lab, &trial, &room->result) < 0)
			return -1;
		figure = sample_figure(&room->result.sample);
		stages_add(c->stages, &room->result, figure.n_kept);
	}
	counts_add(&c->counts, &before, &lab->flows.counts);
	return 0;
}

int cases_run(struct lab *lab, const struct bench_options *o, struct bench_case *cases, unsigned n)
{
	struct room *room = calloc(1, sizeof(*room));
	struct bench_options warm_up = *o;
	int rc = 0;

	if (!room)
		return lab_complain("out of memory");
	room->beside = beside_create(lab, o);
	if (!room->beside)
		rc = -1;
	warm_up.n_pkts = RTE_MIN(o->n_pkts, 4096u);
	for (unsigned i = 0; i < n && rc == 0; i++) {
		struct bench_case scratch = cases[i];

		rc = run_once(lab, &warm_up, &scratch, room);
	}
	for (unsigned repeat = 0; repeat < o->repeats && rc == 0; repeat++)
		for (unsigned i = 0; i < n && rc == 0; i++)
			rc = run_once(lab, o, &cases[i], room);
	beside_destroy(room->beside);
	free(room);
	return rc;
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
	row_aead(row, &c->aead);
	row_number(row, "ratio_of_best", series_min(&c->cycles) / series_min(&c->aead.own));
	row_number(row, "maker_cycles", series_median(&c->maker));
	row_number(row, "sink_cycles", series_median(&c->sink));
	row_count(row, "interrupted", c->n_interrupted);
	row_count(row, "sent", c->counts.sent);
	row_count(row, "received", c->counts.received);
	row_count(row, "lost", c->counts.lost);
	row_count(row, "duplicated", c->counts.duplicated);
	row_count(row, "reordered", c->counts.reordered);
	row_count(row, "corrupt", c->counts.corrupt + c->counts.foreign);
	row_stages(row, c->stages);
	return row;
}
