#include "trial.h"

#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>

/* Frames of this worker into its rings; how many. */
static uint16_t feed(struct lab *lab, struct lab_batch *b, unsigned worker, unsigned burst)
{
	uint16_t n = 0;

	for (unsigned port = 0; port < RIG_N_PORTS; port++)
		n += lab_send(lab, b, port, worker, (uint16_t)burst);
	return n;
}

static uint64_t handed(const struct lab *lab, unsigned worker, enum stats_counter counter)
{
	return path_stats(lab->rig.path, worker)->counter[counter];
}

/* Has another worker handed something over that this one has not taken yet? */
static bool has_handed(const struct lab *lab)
{
	uint64_t in = 0, out = 0;

	if (lab->rig.params.n_workers == 1)
		return false;
	for (unsigned i = 0; i < lab->rig.params.n_workers; i++) {
		in += handed(lab, i, STATS_handed_in);
		out += handed(lab, i, STATS_handed_out);
	}
	return in != out;
}

static uint64_t turn(struct lab *lab, const struct trial *t, unsigned worker, uint32_t *stages)
{
	uint64_t began = rte_rdtsc();

	if (t->in_stages) {
		stages_turn(lab->rig.workers[worker], stages);
		grace_reader_quiescent(lab->rig.grace, worker);
	} else {
		rig_turn(&lab->rig, worker);
	}
	return rte_rdtsc() - began;
}

/* The last worker first: what it hands to the first is taken in the same round. */
static void run_batch(struct lab *lab, const struct trial *t, struct lab_batch *b,
	struct sample_watch *watch, struct trial_result *out)
{
	uint32_t n_round;
	bool has_more;

	do {
		uint32_t *stages = out->stages[RTE_MIN(out->sample.n, SAMPLE_BURSTS_MAX - 1u)];
		uint64_t cycles = 0;

		if (t->in_stages)
			memset(stages, 0, sizeof(out->stages[0]));
		n_round = 0;
		for (unsigned i = lab->rig.params.n_workers; i-- > 0;) {
			uint16_t n = feed(lab, b, i, t->burst);

			if (n || has_handed(lab))
				cycles += turn(lab, t, i, stages);
			n_round += n;
		}
		if (watch_saw_interruption(watch, cycles))
			cycles = 0;
		else if (n_round)
			sample_add(&out->sample, cycles, n_round);
		else if (out->sample.n)
			out->sample.bursts[out->sample.n - 1].cycles += (uint32_t)cycles;
		out->gateway_cycles += cycles;
		has_more = n_round || has_handed(lab);
	} while (has_more);
}

static void result_clear(struct trial_result *out)
{
	out->sample.n = 0;
	out->n_pkts = 0;
	out->gateway_cycles = 0;
}

static bool is_over(const struct trial *t, const struct trial_result *result, uint64_t n_made)
{
	return n_made >= (uint64_t)t->n_warm_pkts + t->n_pkts && result->sample.n &&
	       result->gateway_cycles >= t->n_cycles;
}

int trial_run(struct lab *lab, const struct trial *t, struct trial_result *out)
{
	uint64_t maker_cycles = 0, sink_cycles = 0;
	struct sample_watch watch = {0};
	static struct lab_batch batch;

	result_clear(out);
	for (uint64_t n_made = 0; !is_over(t, out, n_made); n_made += LAB_AHEAD) {
		uint64_t began, made, turned;
		bool is_made = true;

		if (n_made < (uint64_t)t->n_warm_pkts + LAB_AHEAD) {
			result_clear(out);
			maker_cycles = sink_cycles = 0;
		}
		if (t->between)
			t->between(lab, t->between_arg, out->gateway_cycles);
		/* What is not timed is not the worker's: control does not wait for it. */
		rig_rest(&lab->rig);
		began = rte_rdtsc();
		memset(batch.n, 0, sizeof(batch.n));
		memset(batch.at, 0, sizeof(batch.at));
		if (t->has_in)
			is_made &= lab_make(lab, FLOW_IN, LAB_AHEAD, &batch);
		if (t->has_out)
			is_made &= lab_make(lab, FLOW_OUT, LAB_AHEAD, &batch);
		if (!is_made) {
			fprintf(stderr, "portier-bench: no keys or no buffers to make packets\n");
			return -1;
		}
		made = rte_rdtsc();
		rig_resume(&lab->rig);
		if (t->at_start)
			t->at_start(lab, t->between_arg, out->gateway_cycles);
		watch_begin(&watch);
		run_batch(lab, t, &batch, &watch, out);
		rig_rest(&lab->rig);
		turned = rte_rdtsc();
		lab_drain(lab);
		sink_cycles += rte_rdtsc() - turned;
		rig_resume(&lab->rig);
		maker_cycles += made - began;
		out->n_pkts += (uint64_t)LAB_AHEAD * ((unsigned)t->has_in + t->has_out);
		if (t->is_live)
			lab_look(lab);
		else
			lab_settle(lab);
		flow_settle(&lab->flows);
	}
	out->n_interrupted = watch.n_interrupted;
	out->maker_cycles = (double)maker_cycles / (double)out->n_pkts;
	out->sink_cycles = (double)sink_cycles / (double)out->n_pkts;
	return 0;
}
