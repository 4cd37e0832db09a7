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
	path_mtu_burst(w, pkts, n);
}

static void run_admitting6(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	n = path_v6_in_burst(w, pkts, n);
	path_mtu_burst(w, pkts, n);
}

/* What a burst was sorted into. */
static void run_sorted(struct path_worker *w)
{
	struct path_burst *b = &w->opening;

	w->stats.counter[STATS_recognised_data] += b->n;
	if (b->n) {
		uint16_t n = path_dispatch_burst(w, PATH_STAGE_OPEN, b->pkts, b->n);

		run_opening(w, b->pkts, n);
		b->n = 0;
	}
	if (w->knocking.n)
		path_knock_flush(w);
	if (w->admitting6.n)
		path_v6_flush(w);
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

/* What another worker handed over, by the stage at which it goes on. */
struct handed {
	struct path_burst opening, admitting, admitting6, sealing;
};

static void sort_handed(struct path_worker *w, struct rte_mbuf *m, struct handed *h)
{
	struct path_burst *b;

	switch ((enum path_stage)path_meta(m)->stage) {
	case PATH_STAGE_OPEN:
		b = &h->opening;
		break;
	case PATH_STAGE_DNAT:
		b = &h->admitting;
		break;
	case PATH_STAGE_V6:
		b = &h->admitting6;
		break;
	case PATH_STAGE_SEAL:
		b = &h->sealing;
		break;
	case PATH_STAGE_FRAGMENT:
		path_fragment_collect(w, m);
		return;
	default:
		path_tx(w, m, path_meta(m)->path.port_idx);
		return;
	}
	b->pkts[b->n++] = m;
}

/* Packets that other workers handed over: one burst from each. */
static unsigned handed_turn(struct path_worker *w)
{
	unsigned n_all = 0;

	for (unsigned from = 0; from < w->path->params.n_workers; from++) {
		struct rte_mbuf *pkts[PATH_BURST];
		struct handed h;
		unsigned n;

		if (!w->rings_in[from])
			continue;
		n = rte_ring_sc_dequeue_burst(w->rings_in[from], (void **)pkts, PATH_BURST, NULL);
		if (n == 0)
			continue;
		h.opening.n = h.admitting.n = h.admitting6.n = h.sealing.n = 0;
		for (unsigned i = 0; i < n; i++) {
			w->stats.counter[path_meta(pkts[i])->is_originated ? STATS_originated
									   : STATS_handed_in]++;
			sort_handed(w, pkts[i], &h);
		}
		run_opening(w, h.opening.pkts, h.opening.n);
		run_admitting(w, h.admitting.pkts, h.admitting.n);
		run_admitting6(w, h.admitting6.pkts, h.admitting6.n);
		path_mtu_burst(w, h.sealing.pkts, h.sealing.n);
		n_all += n;
	}
	return n_all;
}

/* Packets made on the way (answers, pieces, what came back by another door) run to their end. */
static void finish_turn(struct path_worker *w)
{
	while (w->knocking.n || w->admitting6.n || w->sealing.n) {
		if (w->knocking.n)
			path_knock_flush(w);
		if (w->admitting6.n)
			path_v6_flush(w);
		/* Releasing what was held may queue more for sealing. */
		while (w->sealing.n)
			path_seal_flush(w);
	}
}

unsigned path_worker_turn(struct path_worker *w)
{
	unsigned n;

	w->now_ns = w->path->params.now_ns();
	n = path_mail_turn(w);
	n += path_service_turn(w);
	n += path_probe_turn(w);
	n += rx_turn(w);
	n += handed_turn(w);
	path_timers_turn(w);
	path_fragments_turn(w);
	flow_turn(w->flows, w->now_ns, PATH_FLOWS_PER_TURN);
	finish_turn(w);
	path_tx_flush(w);
	path_hand_over_flush(w);
	path_free_flush(w);
	stats_recent_turn(&w->recent, w->now_ns);

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
