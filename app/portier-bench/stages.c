#include "stages.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>

#include "path/worker.h"

const char *stage_name(unsigned idx)
{
	static const char *const names[] = {
#define X(name) #name,
		STAGES(X)
#undef X
	};

	return names[idx];
}

/* The clock since the last look goes to this stage. */
static inline void book(uint32_t *cycles, enum stage stage, uint64_t *last)
{
	uint64_t now = rte_rdtsc();

	cycles[stage] += (uint32_t)(now - *last);
	*last = now;
}

static void opening_stages(struct path_worker *w, uint32_t *cycles, uint64_t *last)
{
	struct path_burst *b = &w->opening;
	uint16_t n = path_dispatch_burst(w, PATH_STAGE_OPEN, b->pkts, b->n);

	book(cycles, STAGE_dispatch, last);
	n = path_open_burst(w, b->pkts, n);
	book(cycles, STAGE_open, last);
	n = path_replay_burst(w, b->pkts, n);
	book(cycles, STAGE_replay, last);
	n = path_inner_burst(w, b->pkts, n);
	book(cycles, STAGE_inner, last);
	path_snat_burst(w, b->pkts, n);
	book(cycles, STAGE_snat, last);
	b->n = 0;
}

static void knocking_stages(struct path_worker *w, uint32_t *cycles, uint64_t *last)
{
	struct path_burst *b = &w->knocking;
	uint16_t n = path_door_burst(w, b->pkts, b->n);

	book(cycles, STAGE_door, last);
	n = path_dispatch_burst(w, PATH_STAGE_DNAT, b->pkts, n);
	book(cycles, STAGE_dispatch, last);
	n = path_dnat_burst(w, b->pkts, n);
	book(cycles, STAGE_dnat, last);
	path_mtu_burst(w, b->pkts, n);
	b->n = 0;
	book(cycles, STAGE_mtu, last);
}

void stages_turn(struct path_worker *w, uint32_t cycles[static STAGE_N])
{
	uint64_t last = rte_rdtsc();

	w->now_ns = w->path->params.now_ns();
	path_mail_turn(w);
	book(cycles, STAGE_poll, &last);
	for (unsigned q = 0; q < w->n_rx_queues; q++) {
		const struct path_rx_queue *rxq = &w->rx_queues[q];
		struct rte_mbuf *pkts[PATH_BURST];
		uint64_t n_bytes = 0;
		uint16_t n = rte_eth_rx_burst(
			w->path->ports[rxq->port_idx].port->eth_id, rxq->queue, pkts, PATH_BURST);

		if (n == 0) {
			book(cycles, STAGE_poll, &last);
			continue;
		}
		for (uint16_t i = 0; i < n; i++)
			n_bytes += pkts[i]->pkt_len;
		w->stats.counter[STATS_received] += n;
		w->stats.counter[STATS_received_bytes] += n_bytes;
		book(cycles, STAGE_rx, &last);
		path_classify_burst(w, rxq->port_idx, pkts, n);
		book(cycles, STAGE_classify, &last);
		if (w->opening.n)
			opening_stages(w, cycles, &last);
		if (w->knocking.n)
			knocking_stages(w, cycles, &last);
	}
	path_timers_turn(w);
	path_fragments_turn(w);
	flow_turn(w->flows, w->now_ns, PATH_FLOWS_PER_TURN);
	book(cycles, STAGE_timers, &last);
	while (w->sealing.n)
		path_seal_flush(w);
	book(cycles, STAGE_seal, &last);
	path_tx_flush(w);
	path_hand_over_flush(w);
	book(cycles, STAGE_tx, &last);
	path_free_flush(w);
	book(cycles, STAGE_free, &last);
	w->stats.counter[STATS_turns]++;
	w->stats.counter[STATS_busy_turns]++;
}
