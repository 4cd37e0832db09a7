/* snat.c - a peer's packet leaves by its lease: public source address and port, never the peer's
 * own. */
#include "path/worker.h"

static bool translate(struct path_worker *w, struct rte_mbuf *m, struct door *door)
{
	const struct path *p = w->path;
	const struct nat_view *v = &path_meta(m)->view;
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);

	if (!door || !(atomic_load_explicit(&door->generation, memory_order_acquire) & 1)) {
		path_drop(w, m, STATS_DROP_inner_no_lease);
		return false;
	}
	if (v->total_len > p->ports[p->public_idx].mtu_bytes) {
		path_drop(w, m, STATS_DROP_too_big);
		return false;
	}
	if (!nat_hop(ip, v)) {
		path_drop(w, m, STATS_DROP_ttl_expired);
		return false;
	}
	nat_rewrite_src(ip, v, door->public_v4, door->public_port);
	door->counters.out_pkts++;
	door->counters.out_bytes += v->total_len;
	path_door_used(w, door);
	return true;
}

void path_snat_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	const struct path *p = w->path;
	struct door_inner_key keys[PATH_BURST];
	const struct door_inner_key *key_ptrs[PATH_BURST];
	struct door *doors[PATH_BURST];

	if (n == 0)
		return;
	for (uint16_t i = 0; i < n; i++) {
		const struct path_meta *meta = path_meta(pkts[i]);

		keys[i] = (struct door_inner_key){
			.peer_idx = meta->peer_idx,
			.port_be16 = rte_cpu_to_be_16(meta->view.src_port),
			.proto = meta->view.proto,
		};
		memcpy(keys[i].addr_v4, rte_pktmbuf_mtod_offset(pkts[i], const uint8_t *, 12), 4);
		key_ptrs[i] = &keys[i];
	}
	doors_lookup_inner_bulk(p->params.doors, key_ptrs, n, doors);

	for (uint16_t i = 0; i < n; i++) {
		if (translate(w, pkts[i], doors[i])) {
			struct ip_addr dst =
				ip_from_v4(rte_pktmbuf_mtod_offset(pkts[i], const uint8_t *, 16));

			w->stats.counter[STATS_translated_out]++;
			path_route(w, pkts[i], (uint16_t)p->public_idx, &dst);
		}
	}
}
