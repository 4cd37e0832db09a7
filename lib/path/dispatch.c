/* dispatch.c - every packet to the worker that owns its state, in bursts. */
#include "path/worker.h"

uint32_t path_owner_of(const struct path *p, enum path_stage stage, struct rte_mbuf *m)
{
	if (stage == PATH_STAGE_OPEN)
		return keypairs_worker(p->params.keypairs,
			load_le32(rte_pktmbuf_mtod_offset(m, const uint8_t *,
				offsetof(struct wgmsg_data, receiver_idx_le32))));
	if (stage == PATH_STAGE_FRAGMENT)
		return path_fragment_owner(p, m);
	return peer_home(p->params.peers, path_meta(m)->peer_idx);
}

/* What the gateway made itself is no part of the balance of received packets: who takes it over
 * counts it as if it had made it. */
static void flush_to(struct path_worker *w, unsigned to)
{
	struct path_burst *b = &w->handing[to];
	struct rte_ring *ring = w->path->workers[to]->rings_in[w->idx];
	/* As many as fit, known before they are another's; room only grows meanwhile. */
	unsigned n = RTE_MIN(rte_ring_free_count(ring), b->n), n_originated = 0;

	for (unsigned i = 0; i < n; i++)
		n_originated += path_meta(b->pkts[i])->is_originated;
	w->stats.counter[STATS_handed_out] += n - n_originated;
	w->stats.counter[STATS_originated] -= n_originated;
	rte_ring_sp_enqueue_bulk(ring, (void **)b->pkts, n, NULL);
	for (unsigned i = n; i < b->n; i++)
		path_drop(w, b->pkts[i], STATS_DROP_handover_full);
	b->n = 0;
}

void path_hand_over(struct path_worker *w, unsigned to, enum path_stage stage, struct rte_mbuf *m)
{
	struct path_burst *b = &w->handing[to];

	if (b->n == PATH_BURST)
		flush_to(w, to);
	path_meta(m)->stage = stage;
	b->pkts[b->n++] = m;
}

void path_hand_over_flush(struct path_worker *w)
{
	for (unsigned to = 0; to < w->path->params.n_workers; to++)
		if (w->handing[to].n)
			flush_to(w, to);
}

uint16_t path_dispatch_burst(
	struct path_worker *w, enum path_stage stage, struct rte_mbuf **pkts, uint16_t n)
{
	const struct path *p = w->path;
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		uint32_t owner = path_owner_of(p, stage, pkts[i]);

		if (owner == w->idx)
			pkts[kept++] = pkts[i];
		else if (owner < p->params.n_workers)
			path_hand_over(w, owner, stage, pkts[i]);
		else
			path_drop(w, pkts[i],
				stage == PATH_STAGE_OPEN ? STATS_DROP_wg_unknown_index
							 : STATS_DROP_peer_unreachable);
	}
	return kept;
}
