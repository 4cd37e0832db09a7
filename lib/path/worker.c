/* worker.c - the loop of a worker: one clock read a turn, bursts in, bursts out, never a wait while
 * there is work. */
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include <rte_ethdev.h>
#include <rte_pause.h>

#include "path/worker.h"

/* Turns without work before the worker yields, and again before it sleeps. */
#define IDLE_TURNS_SPIN	 64
#define IDLE_TURNS_YIELD 128
#define SLEEP_FIRST_US	 10
/* The kernel\'s default of 50 us would make every short sleep a long one. */
#define TIMER_SLACK_NS 1000

void path_free_flush(struct path_worker *w)
{
	rte_pktmbuf_free_bulk(w->freeing.pkts, w->freeing.n);
	w->freeing.n = 0;
}

static void run_opening(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	n = path_open_burst(w, pkts, n);
	n = path_replay_burst(w, pkts, n);
	n = path_inner_burst(w, pkts, n);
	path_snat_burst(w, pkts, n);
}

static void run_admitting(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	n = path_dnat_burst(w, pkts, n);
	n = path_mtu_burst(w, pkts, n);
	for (uint16_t i = 0; i < n; i++)
		path_seal_push(w, pkts[i]);
}

/* What a burst was sorted into. */
static void run_sorted(struct path_worker *w)
{
	struct path_burst *b = &w->opening;

	w->stats.counter[STATS_recognised_data] += w->opening.n;
	w->stats.counter[STATS_recognised_public] += w->knocking.n;
	if (b->n) {
		uint16_t n = path_dispatch_burst(w, PATH_STAGE_OPEN, b->pkts, b->n);

		run_opening(w, b->pkts, n);
		b->n = 0;
	}
	b = &w->knocking;
	if (b->n) {
		uint16_t n = path_door_burst(w, b->pkts, b->n);

		n = path_dispatch_burst(w, PATH_STAGE_DNAT, b->pkts, n);
		run_admitting(w, b->pkts, n);
		b->n = 0;
	}
}

static unsigned rx_turn(struct path_worker *w)
{
	unsigned n_all = 0;

	for (unsigned q = 0; q < w->n_rx_queues; q++) {
		const struct path_rx_queue *rxq = &w->rx_queues[q];
		struct rte_mbuf *pkts[PATH_BURST];
		uint16_t n = rte_eth_rx_burst(
			w->path->ports[rxq->port_idx].port->eth_id, rxq->queue, pkts, PATH_BURST);
		uint64_t n_bytes = 0;

		if (n == 0)
			continue;
		for (uint16_t i = 0; i < n; i++)
			n_bytes += pkts[i]->pkt_len;
		w->stats.counter[STATS_received] += n;
		w->stats.counter[STATS_received_bytes] += n_bytes;
		path_classify_burst(w, rxq->port_idx, pkts, n);
		run_sorted(w);
		n_all += n;
	}
	return n_all;
}

/* Packets that other workers handed over: one burst from each. */
static unsigned handed_turn(struct path_worker *w)
{
	unsigned n_all = 0;

	for (unsigned from = 0; from < w->path->params.n_workers; from++) {
		struct rte_mbuf *pkts[PATH_BURST];
		unsigned n;

		if (!w->rings_in[from])
			continue;
		n = rte_ring_sc_dequeue_burst(w->rings_in[from], (void **)pkts, PATH_BURST, NULL);
		for (unsigned i = 0; i < n; i++) {
			struct path_meta *meta = path_meta(pkts[i]);

			w->stats.counter[meta->is_originated ? STATS_originated
							     : STATS_handed_in]++;
			if (meta->stage == PATH_STAGE_OPEN)
				w->opening.pkts[w->opening.n++] = pkts[i];
			else if (meta->stage == PATH_STAGE_DNAT)
				w->admitting.pkts[w->admitting.n++] = pkts[i];
			else
				path_tx(w, pkts[i], meta->path.port_idx);
		}
		run_opening(w, w->opening.pkts, w->opening.n);
		run_admitting(w, w->admitting.pkts, w->admitting.n);
		w->opening.n = w->admitting.n = 0;
		n_all += n;
	}
	return n_all;
}

unsigned path_worker_turn(struct path_worker *w)
{
	unsigned n;

	w->now_ns = w->path->params.now_ns();
	n = path_mail_turn(w);
	n += rx_turn(w);
	n += handed_turn(w);
	path_timers_turn(w);
	/* Releasing what was held may queue more for sealing. */
	while (w->sealing.n)
		path_seal_flush(w);
	path_tx_flush(w);
	path_hand_over_flush(w);
	path_free_flush(w);

	w->stats.counter[STATS_turns]++;
	w->stats.counter[STATS_busy_turns] += n != 0;
	return n;
}

/* Nothing to do: spin for a while, then let others run, then sleep a little longer each time. */
static void idle(struct path_worker *w)
{
	const struct conf *conf = w->path->params.conf;
	struct grace *grace = w->path->params.grace;

	w->idle_turns++;
	if (conf->poll_always || w->idle_turns < IDLE_TURNS_SPIN) {
		rte_pause();
		return;
	}
	grace_reader_offline(grace, w->idx);
	if (w->idle_turns < IDLE_TURNS_YIELD) {
		sched_yield();
	} else {
		struct timespec pause = {.tv_nsec = (long)(w->sleep_us * NS_IN_US)};

		w->stats.counter[STATS_sleeps]++;
		nanosleep(&pause, NULL);
		w->sleep_us = RTE_MIN(w->sleep_us * 2, RTE_MAX(conf->max_sleep_us, 1u));
	}
	grace_reader_online(grace, w->idx);
}

int path_worker_run(void *worker)
{
	struct path_worker *w = worker;
	struct grace *grace = w->path->params.grace;

	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	w->sleep_us = SLEEP_FIRST_US;
	grace_reader_online(grace, w->idx);
	while (!atomic_load_explicit(&w->path->is_stopping, memory_order_relaxed)) {
		if (path_worker_turn(w)) {
			w->idle_turns = 0;
			w->sleep_us = SLEEP_FIRST_US;
			grace_reader_quiescent(grace, w->idx);
		} else {
			grace_reader_quiescent(grace, w->idx);
			idle(w);
		}
	}
	grace_reader_offline(grace, w->idx);
	return 0;
}
