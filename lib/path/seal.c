/* seal.c - from inner packets to WireGuard data messages on their way to the peers' endpoints.
 *
 * Spec: WireGuard paper 5.4.6. Padding goes to a multiple of 16, but not past the inner MTU.
 */
#include <rte_prefetch.h>

#include "path/worker.h"

/* Keys, counter and header for one packet. False: it was held or dropped. */
static bool prepare(struct path_worker *w, struct rte_mbuf *m, struct aead_job *job)
{
	const struct path *p = w->path;
	struct peer_hot *hot = peer_hot(p->params.peers, path_meta(m)->peer_idx);
	uint32_t len = m->data_len, padded = RTE_MIN(wgmsg_padded_len(len), p->inner_mtu_bytes);
	struct noise_keypair *kp;
	struct wgmsg_data *header;
	unsigned actions = 0;
	uint64_t counter;
	uint8_t *tail;

	padded = RTE_MAX(padded, len);
	kp = noise_session_reserve(&hot->session, &p->timing, 1, w->now_ns, &counter, &actions);
	path_session_touched(w, hot, actions);
	if (unlikely(!kp)) {
		path_hold(w, hot, m);
		return false;
	}
	tail = (void *)rte_pktmbuf_append(m, padded - len + WGMSG_TAG_BYTES);
	header = (void *)rte_pktmbuf_prepend(m, sizeof(*header));
	if (unlikely(!tail || !header)) {
		path_drop(w, m, STATS_DROP_too_big);
		return false;
	}
	/* At least the padding, at most into the tag's place: a store of fixed size. */
	memset(tail, 0, WGMSG_TAG_BYTES);
	store_le32(header->type_le32, WGMSG_DATA);
	store_le32(header->receiver_idx_le32, kp->remote_idx);
	store_le64(header->counter_le64, counter);
	*job = (struct aead_job){
		.key = kp->send_key,
		.counter = counter,
		.src = (uint8_t *)(header + 1),
		.dst = (uint8_t *)(header + 1),
		.len = padded,
	};
	return true;
}

/* Timers and counters of one peer, for packets of it that follow each other. */
static void touch_peer(struct path_worker *w, uint32_t peer_idx, uint64_t n_pkts, uint64_t n_bytes)
{
	struct peer_hot *hot;

	if (n_pkts == 0)
		return;
	hot = peer_hot(w->path->params.peers, peer_idx);
	hot->tx_pkts += n_pkts;
	hot->tx_bytes += n_bytes;
	noise_session_sent(&hot->session, &w->path->timing, n_bytes != 0, w->now_ns);
	path_session_touched(w, hot, 0);
}

/* What prepare, touch_peer and path_send_peer touch of each packet's peer, under way at once: with
 * many peers none of it is in a near cache. */
static void fetch_peers(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		struct peer_hot *hot =
			peer_hot(w->path->params.peers, path_meta(pkts[i])->peer_idx);

		rte_prefetch0(hot);
		rte_prefetch0(&hot->wheel_due_ns);
		rte_prefetch0(&hot->tx_pkts);
		rte_prefetch0(hot->outer.bytes + PEER_OUTER_MAX_BYTES - 1);
	}
	for (uint16_t i = 0; i < n; i++)
		rte_prefetch0(peer_hot(w->path->params.peers, path_meta(pkts[i])->peer_idx)
				      ->session.current);
}

void path_seal_flush(struct path_worker *w)
{
	struct aead_job jobs[PATH_BURST];
	struct rte_mbuf *pkts[PATH_BURST];
	uint32_t peer_idx = PEER_NONE;
	uint64_t n_pkts = 0, n_bytes = 0;
	uint16_t n = w->sealing.n, n_jobs = 0;

	/* Taken out first: holding and releasing packets may push new ones. */
	memcpy(pkts, w->sealing.pkts, n * sizeof(pkts[0]));
	w->sealing.n = 0;
	fetch_peers(w, pkts, n);
	for (uint16_t i = 0; i < n; i++) {
		uint32_t len = pkts[i]->data_len;

		if (!prepare(w, pkts[i], &jobs[n_jobs]))
			continue;
		if (path_meta(pkts[i])->peer_idx != peer_idx) {
			touch_peer(w, peer_idx, n_pkts, n_bytes);
			peer_idx = path_meta(pkts[i])->peer_idx;
			n_pkts = n_bytes = 0;
		}
		n_pkts++;
		n_bytes += len;
		pkts[n_jobs++] = pkts[i];
	}
	touch_peer(w, peer_idx, n_pkts, n_bytes);
	aead_seal_burst(w->aead, jobs, n_jobs);
	w->stats.counter[STATS_sealed] += n_jobs;

	for (uint16_t i = 0; i < n_jobs; i++) {
		struct peer_hot *hot =
			peer_hot(w->path->params.peers, path_meta(pkts[i])->peer_idx);

		path_send_peer(w, pkts[i], hot);
	}
}

void path_seal_push(struct path_worker *w, struct rte_mbuf *m)
{
	if (w->sealing.n == PATH_BURST)
		path_seal_flush(w);
	w->sealing.pkts[w->sealing.n++] = m;
}
