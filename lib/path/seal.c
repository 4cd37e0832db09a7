/* seal.c - from inner packets to WireGuard data messages on their way to the peers' endpoints.
 *
 * Spec: WireGuard paper 5.4.6. Padding goes to a multiple of 16, but not past the inner MTU.
 */
#include <rte_prefetch.h>

#include "path/worker.h"

/* A packet and its peer. */
struct sealing {
	struct rte_mbuf *m;
	struct peer_hot *hot;
};

/* Keys, counter and header for one packet. False: it was held or dropped. */
static bool prepare(struct path_worker *w, const struct sealing *s, struct aead_job *job)
{
	const struct path *p = w->path;
	struct rte_mbuf *m = s->m;
	uint32_t len = m->data_len, padded = RTE_MIN(wgmsg_padded_len(len), p->inner_mtu_bytes);
	struct noise_keypair *kp;
	struct wgmsg_data *header;
	unsigned actions = 0;
	uint64_t counter;
	uint8_t *tail;

	padded = RTE_MAX(padded, len);
	kp = noise_session_reserve(&s->hot->session, &p->timing, 1, w->now_ns, &counter, &actions);
	path_session_touched(w, s->hot, actions);
	if (unlikely(!kp)) {
		path_hold(w, s->hot, m);
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
	/* Field by field, because the cipher reads it soon: a copy would wait for its parts. */
	job->key = kp->send_key;
	job->counter = counter;
	job->src = (uint8_t *)(header + 1);
	job->dst = (uint8_t *)(header + 1);
	job->len = padded;
	return true;
}

/* Timers and counters of one peer, for packets of it that follow each other. hot: NULL before the
 * first. */
static void touch_peer(
	struct path_worker *w, struct peer_hot *hot, uint64_t n_pkts, uint64_t n_bytes)
{
	if (!hot)
		return;
	hot->tx_pkts += n_pkts;
	hot->tx_bytes += n_bytes;
	noise_session_sent(&hot->session, &w->path->timing, n_bytes != 0, w->now_ns);
	path_session_touched(w, hot, 0);
}

/* Each packet with its peer, of which all that prepare, touch_peer and path_send_peer touch is
 * under way at once: with many peers none of it is in a near cache. */
static void take_burst(struct path_worker *w, struct sealing *out)
{
	uint16_t n = w->sealing.n;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = w->sealing.pkts[i];
		struct peer_hot *hot = peer_hot(w->path->params.peers, path_meta(m)->peer_idx);

		out[i].m = m;
		out[i].hot = hot;
		rte_prefetch0(hot);
		rte_prefetch0(&hot->wheel_due_ns);
		rte_prefetch0(&hot->tx_pkts);
		/* Where outer headers will be: nobody touched this line of the buffer yet. */
		__builtin_prefetch(rte_pktmbuf_mtod_offset(m, void *, -RTE_CACHE_LINE_SIZE), 1);
		rte_prefetch0(hot->outer.bytes + PEER_OUTER_MAX_BYTES - 1);
	}
	for (uint16_t i = 0; i < n; i++)
		rte_prefetch0(out[i].hot->session.current);
	w->sealing.n = 0;
}

void path_seal_flush(struct path_worker *w)
{
	struct aead_job jobs[PATH_BURST];
	struct sealing burst[PATH_BURST];
	struct peer_hot *hot = NULL;
	uint64_t n_pkts = 0, n_bytes = 0;
	uint16_t n = w->sealing.n, n_jobs = 0;

	/* Taken out first: holding and releasing packets may push new ones. */
	take_burst(w, burst);
	for (uint16_t i = 0; i < n; i++) {
		uint32_t len = burst[i].m->data_len;

		if (!prepare(w, &burst[i], &jobs[n_jobs]))
			continue;
		if (burst[i].hot != hot) {
			touch_peer(w, hot, n_pkts, n_bytes);
			hot = burst[i].hot;
			n_pkts = n_bytes = 0;
		}
		n_pkts++;
		n_bytes += len;
		burst[n_jobs++] = burst[i];
	}
	touch_peer(w, hot, n_pkts, n_bytes);
	aead_seal_burst(w->aead, jobs, n_jobs);
	w->stats.counter[STATS_sealed] += n_jobs;

	for (uint16_t i = 0; i < n_jobs; i++)
		path_send_peer(w, burst[i].m, burst[i].hot);
}

void path_seal_push(struct path_worker *w, struct rte_mbuf *m)
{
	if (w->sealing.n == PATH_BURST)
		path_seal_flush(w);
	w->sealing.pkts[w->sealing.n++] = m;
}
