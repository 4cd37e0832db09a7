/* run_memif.c - packets through a portier process of its own, over shared memory.
 *
 * The generator is one process, the gateway another, each on its own CPU where there are two. So
 * many packets are kept under way that neither waits for the other's answer, and none that a ring
 * could not hold; what is measured is the time between packets that arrive. The slower of the two
 * sets it: where the generator's own part of that time (making, checking, carrying) is close to the
 * whole, the gateway could do more.
 *
 * The gateway's own cycles a packet are the CPU time of its process during the trial, less that of
 * its turns that found nothing, which are counted; what one of those costs is measured right before
 * each trial, while nothing is under way.
 */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "cases.h"
#include "raw.h"
#include "remote.h"

/* Under way at most: less than a memif ring holds. */
#define UNDER_WAY_PKTS 512u
#define LOST_S	       2u /* what does not arrive for so long never does */
/* A trial ends then, however few its packets: where two processes that poll share one CPU, each
 * waits for the other's time slice. */
#define TRIAL_S 1u
/* The gateway polls for nothing so long before each trial. */
#define IDLE_US 10000u

struct memif_case {
	enum flow_way way;
	struct bench_size size;
	struct sample_series cycles, aead, ratio, maker, sink;
	struct sample_series gateway, gateway_ratio; /* its own cycles a packet */
	uint64_t gateway_turns;			     /* that found work */
	struct flow_tally counts;
};

/* What it did from one look to the next. */
static struct remote_work work_between(const struct remote_work *from, const struct remote_work *to)
{
	return (struct remote_work){
		.cpu_ns = to->cpu_ns - from->cpu_ns,
		.turns = to->turns - from->turns,
		.busy_turns = to->busy_turns - from->busy_turns,
	};
}

/* Of its CPU time in a trial, what it had the packets to thank for. */
static double own_ns(const struct remote_work *idle, const struct remote_work *trial)
{
	double turn_ns = (double)idle->cpu_ns / (double)RTE_MAX(idle->turns, UINT64_C(1));

	return (double)trial->cpu_ns - turn_ns * (double)(trial->turns - trial->busy_turns);
}

/* Two looks at an idle gateway. 0 or -1, printed. */
static int watch_idle(struct remote *r, struct remote_work looks[static 2])
{
	uint64_t until = rte_rdtsc() + rte_get_tsc_hz() / 1000000 * IDLE_US;

	if (remote_work(r, &looks[0]) < 0)
		return -1;
	while (rte_rdtsc() < until)
		rte_pause();
	return remote_work(r, &looks[1]);
}

struct stopwatch {
	uint64_t maker_cycles, sink_cycles;
};

static uint64_t count_under_way(const struct lab_flows *f, const struct flow_tally *before)
{
	return (f->counts.sent - before->sent) - (f->counts.received - before->received);
}

static void carry(struct lab *lab, struct stopwatch *w)
{
	uint64_t began = rte_rdtsc();

	if (rig_work(&lab->rig)) {
		lab_drain(lab);
		w->sink_cycles += rte_rdtsc() - began;
	}
}

static bool feed(struct lab *lab, enum flow_way way, struct stopwatch *w)
{
	static struct lab_batch batch;
	unsigned port = way == FLOW_IN ? RIG_PUBLIC : RIG_TUNNEL;
	uint64_t began = rte_rdtsc();
	bool is_made;

	batch.n[port][0] = batch.at[port][0] = 0;
	is_made = lab_make(lab, way, LAB_AHEAD, &batch);
	lab_send(lab, &batch, port, 0, LAB_AHEAD);
	w->maker_cycles += rte_rdtsc() - began;
	return is_made;
}

/* Until all have arrived, or nothing has for a while. */
static void wait_for_all(struct lab *lab, const struct flow_tally *before, struct stopwatch *w)
{
	uint64_t patience = rte_get_tsc_hz() * LOST_S, received, since = rte_rdtsc();

	while (count_under_way(&lab->flows, before) > 0 && rte_rdtsc() - since < patience) {
		received = lab->flows.counts.received;
		carry(lab, w);
		if (lab->flows.counts.received != received)
			since = rte_rdtsc();
	}
}

/* looks: before and after the idle time, and after the trial. */
static void gateway_add(
	struct memif_case *c, const struct remote_work looks[static 3], uint64_t n_pkts)
{
	struct remote_work idle = work_between(&looks[0], &looks[1]),
			   trial = work_between(&looks[1], &looks[2]);
	double cycles_per_ns = (double)rte_get_tsc_hz() / 1e9;

	series_add(&c->gateway, own_ns(&idle, &trial) * cycles_per_ns / (double)n_pkts);
	c->gateway_turns += trial.busy_turns;
}

static int run_once(struct lab *lab, const struct bench_options *o, struct memif_case *c)
{
	struct flow_tally before = lab->flows.counts;
	struct stopwatch w = {0};
	uint64_t began, cycles, n_sent = 0;
	struct remote_work looks[3];
	bool is_made = true;

	if (watch_idle(lab->rig.remote, looks) < 0)
		return -1;
	flows_use(&lab->flows, 0, lab->flows.n, c->size);
	began = rte_rdtsc();
	while (is_made && n_sent < o->n_pkts && rte_rdtsc() - began < rte_get_tsc_hz() * TRIAL_S) {
		if (count_under_way(&lab->flows, &before) + LAB_AHEAD <= UNDER_WAY_PKTS) {
			is_made = feed(lab, c->way, &w);
			n_sent = lab->flows.counts.sent - before.sent;
			flow_settle_before(&lab->flows,
				lab->flows.next_number -
					RTE_MIN(lab->flows.next_number, FLOW_WINDOW_PKTS / 2));
		}
		carry(lab, &w);
	}
	wait_for_all(lab, &before, &w);
	cycles = rte_rdtsc() - began;
	if (remote_work(lab->rig.remote, &looks[2]) < 0)
		return -1;
	flow_settle(&lab->flows);
	lab_look(lab);
	if (!is_made)
		return lab_complain("no keys or no buffers to make packets");
	gateway_add(c, looks, n_sent);
	series_add(&c->cycles, (double)cycles / (double)n_sent);
	series_add(&c->maker, (double)w.maker_cycles / (double)n_sent);
	series_add(&c->sink, (double)w.sink_cycles / (double)n_sent);
	c->counts.sent += lab->flows.counts.sent - before.sent;
	c->counts.received += lab->flows.counts.received - before.received;
	c->counts.lost += lab->flows.counts.lost - before.lost;
	c->counts.duplicated += lab->flows.counts.duplicated - before.duplicated;
	c->counts.reordered += lab->flows.counts.reordered - before.reordered;
	c->counts.corrupt += lab->flows.counts.corrupt - before.corrupt;
	return 0;
}

static int measure(struct lab *lab, const struct bench_options *o, struct memif_case *c,
	struct raw *raw, struct sample samples[2])
{
	double aead;

	if (!raw_trial(raw, &(struct raw_load){.size = c->size, .burst = o->burst}, o->n_pkts,
		    &samples[0], &samples[1]))
		return lab_complain("raw AEAD: a packet did not come back as it was");
	aead = sample_figure(&samples[c->way]).cycles;
	if (run_once(lab, o, c) < 0)
		return -1;
	series_add(&c->aead, aead);
	series_add(&c->ratio, c->cycles.values[c->cycles.n - 1] / aead);
	series_add(&c->gateway_ratio, c->gateway.values[c->gateway.n - 1] / aead);
	return 0;
}

static int run_all(
	struct lab *lab, const struct bench_options *o, struct memif_case *cases, unsigned n)
{
	struct raw *raw = raw_create(lab->rig.aead, o->seed);
	struct sample *samples = calloc(2, sizeof(*samples));
	struct bench_options warm_up = *o;
	int rc = raw && samples ? 0 : lab_complain("out of memory");

	warm_up.n_pkts = RTE_MIN(o->n_pkts, 4096u);
	for (unsigned i = 0; rc == 0 && i < n; i++) {
		struct memif_case scratch = cases[i];

		rc = measure(lab, &warm_up, &scratch, raw, samples);
	}
	for (unsigned repeat = 0; rc == 0 && repeat < o->repeats; repeat++)
		for (unsigned i = 0; rc == 0 && i < n; i++)
			rc = measure(lab, o, &cases[i], raw, samples);
	raw_destroy(raw);
	free(samples);
	return rc;
}

static void memif_row(struct report *r, const struct memif_case *c, const struct lab *lab)
{
	json_t *row = report_row(r);

	row_text(row, "way", c->way == FLOW_IN ? "in" : "out");
	row_size(row, c->size);
	row_cycles(row, series_median(&c->cycles), c->size.bytes);
	row_number(row, "cycles_min", series_min(&c->cycles));
	row_number(row, "cycles_max", series_max(&c->cycles));
	row_number(row, "aead_cycles_per_pkt", series_median(&c->aead));
	row_number(row, "ratio", series_median(&c->ratio));
	row_number(row, "ratio_min", series_min(&c->ratio));
	row_number(row, "ratio_max", series_max(&c->ratio));
	row_number(row, "gateway_cycles_per_pkt", series_median(&c->gateway));
	row_number(row, "gateway_cycles_min", series_min(&c->gateway));
	row_number(row, "gateway_cycles_max", series_max(&c->gateway));
	row_number(row, "gateway_ratio", series_median(&c->gateway_ratio));
	row_count(row, "gateway_turns", c->gateway_turns);
	row_number(row, "maker_cycles", series_median(&c->maker));
	row_number(row, "sink_cycles", series_median(&c->sink));
	row_count(row, "peers", lab->parties.n);
	row_count(row, "leases", lab->flows.n);
	row_count(row, "sent", c->counts.sent);
	row_count(row, "received", c->counts.received);
	row_count(row, "lost", c->counts.lost);
	row_count(row, "duplicated", c->counts.duplicated);
	row_count(row, "reordered", c->counts.reordered);
	row_count(row, "corrupt", c->counts.corrupt);
}

int bench_memif(const struct bench_options *o, struct report *r)
{
	static const struct bench_size sizes_default[] = {
		{64}, {512}, {1420}, {BENCH_IMIX_MEAN_BYTES, true}};
	static struct memif_case cases[2 * BENCH_SIZES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n = 2 * cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes);
	uint32_t n_peers = o->max_peers ? o->max_peers : o->is_quick ? 2 : 16;
	uint32_t n_leases = o->max_leases ? o->max_leases : o->is_quick ? 8 : 256;
	static struct lab lab;
	int rc = lab_up(&lab, o,
		&(struct rig_params){.n_workers = 1,
			.max_peers = n_peers,
			.max_leases = RTE_MAX(n_leases / n_peers * n_peers, n_peers),
			.aead = o->aead,
			.is_remote = true});

	if (rc == 0)
		rc = lab_peers_add(&lab, n_peers, 0);
	if (rc == 0)
		rc = lab_leases_add(&lab, lab.rig.params.max_leases, 0, n_peers);
	for (unsigned i = 0; i < n; i++)
		cases[i] = (struct memif_case){
			.way = i % 2 ? FLOW_OUT : FLOW_IN, .size = sizes[i / 2]};
	if (rc == 0)
		rc = run_all(&lab, o, cases, n);
	for (unsigned i = 0; rc == 0 && i < n; i++)
		memif_row(r, &cases[i], &lab);
	report_backend(r, lab.rig.aead);
	return lab_finish(&lab, rc);
}
