#include "queue.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>

#include "sample.h"

#define IDLE_TURNS 64
/* The oldest packet under way is never further back: a full ring, a burst, and what is made. */
#define UNDER_WAY_MAX (QUEUE_SLOTS + PATH_BURST + 2 * LAB_AHEAD)

struct queue {
	struct lab *lab;
	const struct queue_trial *t;
	struct queue_result *out;
	struct lab_batch batch;
	uint64_t first_number; /* of the batch */
	double now, next, gap; /* cycles */
	uint64_t dice;
	double idle_turn;
	struct sample_watch watch;
	uint64_t arrivals[FLOW_WINDOW_PKTS]; /* by number */
};

static unsigned port_of(const struct queue *q)
{
	return q->t->way == FLOW_IN ? RIG_PUBLIC : RIG_TUNNEL;
}

static double random_unit(struct queue *q)
{
	q->dice = bench_mix(q->dice);
	return ((double)(q->dice >> 11) + 0.5) / (double)(UINT64_C(1) << 53);
}

/* Every packet whose time has come: into the ring; or, with no room there, it is dropped, and the
 * frame that was made for it serves the next. */
static void arrive(struct queue *q)
{
	struct lab_batch *b = &q->batch;
	unsigned port = port_of(q);
	struct rte_ring *ring = q->lab->rig.rx[port][0];

	while (b->at[port][0] < b->n[port][0] && q->next <= q->now) {
		uint64_t number = q->first_number + b->at[port][0];

		q->out->n_offered++;
		if (rte_ring_count(ring) < QUEUE_SLOTS) {
			q->arrivals[number % FLOW_WINDOW_PKTS] = (uint64_t)q->next;
			lab_send(q->lab, b, port, 0, 1);
		} else {
			q->out->n_dropped++;
		}
		q->next += q->t->is_random ? -log(random_unit(q)) * q->gap : q->gap;
	}
}

static void turn(struct queue *q)
{
	unsigned n = rte_ring_count(q->lab->rig.rx[port_of(q)][0]);
	uint64_t began = rte_rdtsc();
	double cycles;

	rig_turn(&q->lab->rig, 0);
	cycles = (double)(rte_rdtsc() - began);
	n = RTE_MIN(n, (unsigned)PATH_BURST);
	if (watch_saw_interruption(&q->watch, (uint64_t)(cycles / n)))
		cycles = q->watch.usual_cycles * n;
	q->now += cycles;
	lab_stamp(q->lab, (uint64_t)q->now);
}

static void measure_idle_turn(struct queue *q)
{
	uint64_t began = rte_rdtsc();

	for (unsigned i = 0; i < IDLE_TURNS; i++)
		rig_turn(&q->lab->rig, 0);
	q->idle_turn = (double)(rte_rdtsc() - began) / IDLE_TURNS;
}

static void on_arrival(void *arg, uint64_t number, uint64_t stamp)
{
	struct queue *q = arg;
	struct queue_result *out = q->out;

	if (out->n_latencies < q->t->max_latencies)
		q->t->latencies[out->n_latencies++] =
			(uint32_t)(stamp - q->arrivals[number % FLOW_WINDOW_PKTS]);
}

/* Until all frames of the batch have arrived, or all that wait have been served too. */
static void serve(struct queue *q, bool is_last)
{
	struct lab_batch *b = &q->batch;
	unsigned port = port_of(q);
	struct rte_ring *ring = q->lab->rig.rx[port][0];

	for (;;) {
		bool has_frames = b->at[port][0] < b->n[port][0];

		if (rte_ring_empty(ring) && has_frames && q->next > q->now)
			q->now = q->next + random_unit(q) * q->idle_turn;
		arrive(q);
		if (rte_ring_empty(ring) && b->at[port][0] == b->n[port][0])
			return;
		if (b->at[port][0] == b->n[port][0] && !is_last)
			return;
		turn(q);
	}
}

static void settle_old(struct lab_flows *f)
{
	if (f->next_number - f->window_number > UNDER_WAY_MAX)
		flow_settle_before(f, f->next_number - UNDER_WAY_MAX);
}

int queue_run(struct lab *lab, const struct queue_trial *t, struct queue_result *out)
{
	static struct queue q;
	double end;
	bool is_made = true;

	*out = (struct queue_result){0};
	q = (struct queue){.lab = lab, .t = t, .out = out, .dice = lab->flows.seed};
	q.gap = (double)rte_get_tsc_hz() / t->pps;
	end = (double)rte_get_tsc_hz() * t->duration_s;
	lab_settle(lab);
	measure_idle_turn(&q);
	if (t->latencies) {
		lab->flows.arrived = on_arrival;
		lab->flows.arrived_arg = &q;
	}
	while (is_made && q.next < end && !out->has_failed) {
		memset(q.batch.n, 0, sizeof(q.batch.n));
		memset(q.batch.at, 0, sizeof(q.batch.at));
		q.first_number = lab->flows.next_number;
		is_made = lab_make(lab, t->way, LAB_AHEAD, &q.batch);
		watch_begin(&q.watch);
		serve(&q, false);
		lab_drain(lab);
		lab_look(lab);
		settle_old(&lab->flows);
		out->has_failed = (double)out->n_dropped > t->max_loss * t->pps * t->duration_s;
	}
	watch_begin(&q.watch);
	serve(&q, true);
	out->n_interrupted = q.watch.n_interrupted;
	out->has_failed = (double)out->n_dropped > t->max_loss * t->pps * t->duration_s;
	out->pps = (double)(out->n_offered - out->n_dropped) * (double)rte_get_tsc_hz() / q.now;
	lab_settle(lab);
	flow_settle(&lab->flows);
	lab->flows.arrived = NULL;
	return is_made ? 0 : lab_complain("no keys or no buffers to make packets");
}
