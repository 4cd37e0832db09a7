/* turn.h - one turn of a worker, as a text that is compiled more than once.
 *
 * PATH_MARK(stage) stands behind each stage: the worker compiles it to nothing, and so the path
 * carries no instruments; portier-bench compiles it to a look at the clock. So what it measures by
 * stage is what a worker does, whatever becomes of it. Define it before this is included.
 */
#ifndef PORTIER_PATH_TURN_H
#define PORTIER_PATH_TURN_H

#include <rte_ethdev.h>

#include "path/worker.h"

static inline void run_opening(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	n = path_open_burst(w, pkts, n);
	PATH_MARK(open);
	n = path_replay_burst(w, pkts, n);
	PATH_MARK(replay);
	n = path_inner_burst(w, pkts, n);
	PATH_MARK(inner);
	path_snat_burst(w, pkts, n);
	PATH_MARK(snat);
}

static inline void run_admitting(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	n = path_dnat_burst(w, pkts, n);
	PATH_MARK(dnat);
	path_mtu_burst(w, pkts, n);
	PATH_MARK(mtu);
}

static inline void run_admitting6(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	n = path_v6_in_burst(w, pkts, n);
	PATH_MARK(v6);
	path_mtu_burst(w, pkts, n);
	PATH_MARK(mtu);
}

static inline void run_knocking(struct path_worker *w)
{
	struct rte_mbuf *pkts[PATH_BURST];
	uint16_t n = w->knocking.n;

	/* Taken out first: what is refused on the way may knock for its sender. */
	memcpy(pkts, w->knocking.pkts, n * sizeof(pkts[0]));
	w->knocking.n = 0;
	n = path_door_burst(w, pkts, n);
	PATH_MARK(door);
	n = path_dispatch_burst(w, PATH_STAGE_DNAT, pkts, n);
	PATH_MARK(dispatch);
	run_admitting(w, pkts, n);
}

static inline void run_knocking6(struct path_worker *w)
{
	struct rte_mbuf *pkts[PATH_BURST];
	uint16_t n = w->admitting6.n;

	memcpy(pkts, w->admitting6.pkts, n * sizeof(pkts[0]));
	w->admitting6.n = 0;
	n = path_dispatch_burst(w, PATH_STAGE_V6, pkts, n);
	PATH_MARK(dispatch);
	run_admitting6(w, pkts, n);
}

/* What a burst was sorted into. */
static inline void run_sorted(struct path_worker *w)
{
	struct path_burst *b = &w->opening;

	w->stats.counter[STATS_recognised_data] += b->n;
	if (b->n) {
		uint16_t n = path_dispatch_burst(w, PATH_STAGE_OPEN, b->pkts, b->n);

		PATH_MARK(dispatch);
		run_opening(w, b->pkts, n);
		b->n = 0;
	}
	if (w->knocking.n)
		run_knocking(w);
	if (w->admitting6.n)
		run_knocking6(w);
}

static inline unsigned rx_turn(struct path_worker *w)
{
	unsigned n_all = 0;

	for (unsigned q = 0; q < w->n_rx_queues; q++) {
		const struct path_rx_queue *rxq = &w->rx_queues[q];
		struct rte_mbuf *pkts[PATH_BURST];
		uint16_t n = rte_eth_rx_burst(
			w->path->ports[rxq->port_idx].port->eth_id, rxq->queue, pkts, PATH_BURST);
		uint64_t n_bytes = 0;

		if (n == 0) {
			PATH_MARK(poll);
			continue;
		}
		for (uint16_t i = 0; i < n; i++)
			n_bytes += pkts[i]->pkt_len;
		w->stats.counter[STATS_received] += n;
		w->stats.counter[STATS_received_bytes] += n_bytes;
		PATH_MARK(rx);
		path_classify_burst(w, rxq->port_idx, pkts, n);
		PATH_MARK(classify);
		run_sorted(w);
		n_all += n;
	}
	return n_all;
}

/* What another worker handed over, by the stage at which it goes on. */
struct handed {
	struct path_burst opening, admitting, admitting6, sealing;
};

static inline void sort_handed(struct path_worker *w, struct rte_mbuf *m, struct handed *h)
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
static inline unsigned handed_turn(struct path_worker *w)
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
		PATH_MARK(rx);
		run_opening(w, h.opening.pkts, h.opening.n);
		run_admitting(w, h.admitting.pkts, h.admitting.n);
		run_admitting6(w, h.admitting6.pkts, h.admitting6.n);
		path_mtu_burst(w, h.sealing.pkts, h.sealing.n);
		PATH_MARK(mtu);
		n_all += n;
	}
	return n_all;
}

/* Packets made on the way (answers, pieces, what came back by another door) run to their end. */
static inline void finish_turn(struct path_worker *w)
{
	while (w->knocking.n || w->admitting6.n || w->sealing.n) {
		if (w->knocking.n)
			run_knocking(w);
		if (w->admitting6.n)
			run_knocking6(w);
		/* Releasing what was held may queue more for sealing. */
		while (w->sealing.n)
			path_seal_flush(w);
		PATH_MARK(seal);
	}
}

static inline unsigned path_turn(struct path_worker *w)
{
	unsigned n;

	w->now_ns = w->path->params.now_ns();
	n = path_mail_turn(w);
	n += path_service_turn(w);
	n += path_probe_turn(w);
	PATH_MARK(poll);
	n += rx_turn(w);
	n += handed_turn(w);
	PATH_MARK(poll);
	path_timers_turn(w);
	path_fragments_turn(w);
	flow_turn(w->flows, w->now_ns, PATH_FLOWS_PER_TURN);
	PATH_MARK(timers);
	finish_turn(w);
	path_tx_flush(w);
	path_hand_over_flush(w);
	PATH_MARK(tx);
	path_free_flush(w);
	stats_recent_turn(&w->recent, w->now_ns);
	PATH_MARK(free);

	w->stats.counter[STATS_turns]++;
	w->stats.counter[STATS_busy_turns] += n != 0;
	return n;
}

#endif
