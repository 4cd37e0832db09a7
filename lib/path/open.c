/* open.c - from WireGuard data messages to authenticated, fresh inner packets.
 *
 * The order is the security argument: tag, then replay window, then state (endpoint, timers,
 * keypair rotation). Spec: WireGuard paper 5.4.6, 6.5, 2.1 (roaming).
 */
#include <rte_prefetch.h>

#include "path/worker.h"

static uint32_t receiver_idx(struct rte_mbuf *m)
{
	return load_le32(rte_pktmbuf_mtod_offset(
		m, const uint8_t *, offsetof(struct wgmsg_data, receiver_idx_le32)));
}

/* The places that the packets name, under way at once. */
static void fetch_keypairs(
	const struct path *p, struct rte_mbuf **pkts, uint16_t n, struct noise_keypair **places)
{
	for (uint16_t i = 0; i < n; i++) {
		struct noise_keypair *kp = keypairs_get(p->params.keypairs, receiver_idx(pkts[i]));

		places[i] = kp;
		if (kp) {
			rte_prefetch0(kp);
			rte_prefetch0(kp->recv_key);
			rte_prefetch0(&kp->replay);
		}
	}
}

uint16_t path_open_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	const struct path *p = w->path;
	struct noise_keypair *places[PATH_BURST];
	struct aead_job jobs[PATH_BURST];
	uint16_t n_jobs = 0, kept = 0;

	fetch_keypairs(p, pkts, n, places);
	for (uint16_t i = 0; i < n; i++) {
		uint8_t *msg = rte_pktmbuf_mtod(pkts[i], uint8_t *);
		struct noise_keypair *kp = places[i];

		if (!keypairs_is(kp, receiver_idx(pkts[i]))) {
			path_drop(w, pkts[i], STATS_DROP_wg_unknown_index);
			continue;
		}
		if (!noise_keypair_may_open(kp, &p->timing, w->now_ns)) {
			path_drop(w, pkts[i], STATS_DROP_wg_key_expired);
			continue;
		}
		path_meta(pkts[i])->keypair = kp;
		path_meta(pkts[i])->peer_idx = kp->peer_idx;
		jobs[n_jobs] = (struct aead_job){
			.key = kp->recv_key,
			.counter = load_le64(msg + offsetof(struct wgmsg_data, counter_le64)),
			.src = msg + sizeof(struct wgmsg_data),
			.dst = msg + sizeof(struct wgmsg_data),
			.len = pkts[i]->data_len - (uint32_t)WGMSG_DATA_MIN_BYTES,
		};
		pkts[n_jobs++] = pkts[i];
	}
	aead_open_burst(w->aead, jobs, n_jobs);

	for (uint16_t i = 0; i < n_jobs; i++) {
		if (jobs[i].is_authentic)
			pkts[kept++] = pkts[i];
		else
			path_drop(w, pkts[i], STATS_DROP_wg_bad_tag);
	}
	w->stats.counter[STATS_opened] += kept;
	return kept;
}

/* Packets that followed each other under one keypair; path: of the newest. */
static void touch_peer(struct path_worker *w, struct noise_keypair *keypair,
	const struct peer_path *path, uint64_t n_pkts, uint64_t n_bytes)
{
	struct noise_retired retired = {.n = 0};
	struct peer_hot *hot;
	unsigned actions;

	/* Retired by an earlier run of this burst: authentic, but no longer state of anyone. */
	if (!keypair->is_live)
		return;
	hot = peer_hot(w->path->params.peers, keypair->peer_idx);
	path_endpoint_set(w, hot, path);
	hot->rx_pkts += n_pkts;
	hot->rx_bytes += n_bytes;
	if (w->now_ns - hot->last_received_ns >= PATH_USED_REFRESH_NS)
		hot->last_received_ns = w->now_ns;
	actions = noise_session_received(
		&hot->session, &w->path->timing, keypair, n_bytes != 0, w->now_ns, &retired);
	path_session_act(w, hot, actions, &retired);
}

/* What touch_peer touches of each packet's peer, and its view, which inner reads. */
static void fetch_peers(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	const struct peers *peers = w->path->params.peers;

	for (uint16_t i = 0; i < n; i++) {
		uint32_t peer_idx = path_meta(pkts[i])->peer_idx;
		struct peer_hot *hot = peer_hot(w->path->params.peers, peer_idx);

		rte_prefetch0(hot);
		rte_prefetch0(&hot->path);
		rte_prefetch0(&hot->wheel_due_ns);
		rte_prefetch0(&hot->rx_bytes);
		rte_prefetch0(peer_view(peers, peer_idx));
	}
}

/* Leaves the inner packet; returns its length. */
static uint16_t strip(struct rte_mbuf *m)
{
	m->data_off += sizeof(struct wgmsg_data);
	m->data_len -= WGMSG_DATA_MIN_BYTES;
	m->pkt_len = m->data_len;
	return m->data_len;
}

/* Those without keepalives, which end here. */
static uint16_t drop_keepalives(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (pkts[i]->data_len) {
			pkts[kept++] = pkts[i];
		} else {
			w->stats.counter[STATS_keepalives_in]++;
			path_consume(w, pkts[i]);
		}
	}
	return kept;
}

uint16_t path_replay_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t n_fresh = 0, n_data = 0;

	fetch_peers(w, pkts, n);

	/* All windows first: rotation, below, may wipe a keypair. */
	for (uint16_t i = 0; i < n; i++) {
		const uint8_t *msg = rte_pktmbuf_mtod(pkts[i], const uint8_t *);

		if (noise_replay_accept(&path_meta(pkts[i])->keypair->replay,
			    load_le64(msg + offsetof(struct wgmsg_data, counter_le64))))
			pkts[n_fresh++] = pkts[i];
		else
			path_drop(w, pkts[i], STATS_DROP_wg_replayed);
	}

	w->stats.counter[STATS_fresh] += n_fresh;
	/* Sums of a run in registers: in a struct they are a vector that is read behind its store.
	 */
	for (uint16_t i = 0; i < n_fresh;) {
		struct noise_keypair *keypair = path_meta(pkts[i])->keypair;
		uint16_t first = i;
		uint64_t n_bytes = 0;

		for (; i < n_fresh && path_meta(pkts[i])->keypair == keypair; i++) {
			uint16_t len = strip(pkts[i]);

			n_data += len != 0;
			n_bytes += len;
		}
		touch_peer(w, keypair, &path_meta(pkts[i - 1])->path, i - first, n_bytes);
	}
	return likely(n_data == n_fresh) ? n_fresh : drop_keepalives(w, pkts, n_fresh);
}
