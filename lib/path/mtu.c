/* mtu.c - packets that are larger than their way: refused, or cut into pieces (RFC 791, RFC 4787
 * REQ-13). IPv6 and packets with DF are never cut; their sender learns the size that fits.
 */
#include "path/worker.h"

void path_cut(struct path_worker *w, struct rte_mbuf *m, uint16_t mtu_bytes,
	void (*sink)(struct path_worker *w, struct rte_mbuf *m))
{
	uint8_t first[PKT_DATA_ROOM_BYTES];
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct nat_view *v = &path_meta(m)->view;
	size_t first_len = nat_fragment_cut(ip, v, mtu_bytes, 0, first);

	if (first_len == 0) {
		path_drop(w, m, STATS_DROP_too_big);
		return;
	}
	for (unsigned k = 1;; k++) {
		struct rte_mbuf *piece = pkt_alloc(w->path->params.mempool);
		size_t len;

		if (!piece) {
			w->stats.counter[STATS_originated]++;
			w->stats.counter[STATS_originated_lost]++;
			break;
		}
		len = nat_fragment_cut(ip, v, mtu_bytes, k, rte_pktmbuf_mtod(piece, uint8_t *));
		if (len == 0) {
			rte_pktmbuf_free(piece);
			break;
		}
		piece->data_len = (uint16_t)len;
		piece->pkt_len = piece->data_len;
		*path_meta(piece) = *path_meta(m);
		path_meta(piece)->is_originated = true;
		path_meta(piece)->view.total_len = piece->data_len;
		w->stats.counter[STATS_originated]++;
		w->stats.counter[STATS_fragments_cut]++;
		sink(w, piece);
	}
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), first, first_len);
	m->data_len = (uint16_t)first_len;
	m->pkt_len = m->data_len;
	path_meta(m)->view.total_len = m->data_len;
	w->stats.counter[STATS_fragments_cut]++;
	sink(w, m);
}

void path_mtu_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		if (likely(path_meta(pkts[i])->view.total_len <= w->path->inner_mtu_bytes))
			path_seal_push(w, pkts[i]);
		else
			path_cut(w, pkts[i], w->path->inner_mtu_bytes, path_seal_push);
	}
}
