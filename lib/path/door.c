/* door.c - from the Internet: is there a lease at this address, port and protocol? */
#include "path/worker.h"

/* Peers believe what lies inside the tunnel, the gateway's services and each other: nobody outside
 * speaks for them. */
static bool is_inner(const struct path *p, const uint8_t *ip)
{
	struct ip_addr src = ip_from_v4(ip + 12);

	return path_addrs_has_v4(&p->inner, load_be32(ip + 12)) ||
	       peer_find_inner(p->params.peers, &src) != PEER_NONE;
}

uint16_t path_door_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	struct door_public_key keys[PATH_BURST];
	const struct door_public_key *key_ptrs[PATH_BURST];
	struct door *doors[PATH_BURST];
	uint16_t kept = 0;

	if (n == 0)
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		const struct nat_view *v = &path_meta(pkts[i])->view;

		keys[i] = (struct door_public_key){
			.port_be16 = rte_cpu_to_be_16(v->dst_port), .proto = v->proto};
		memcpy(keys[i].addr_v4, rte_pktmbuf_mtod_offset(pkts[i], const uint8_t *, 16), 4);
		key_ptrs[i] = &keys[i];
	}
	doors_lookup_public_bulk(w->path->params.doors, key_ptrs, n, doors);

	for (uint16_t i = 0; i < n; i++) {
		struct path_meta *meta = path_meta(pkts[i]);

		if (doors[i]) {
			meta->generation =
				atomic_load_explicit(&doors[i]->generation, memory_order_acquire);
			meta->door = doors[i];
			meta->peer_idx = doors[i]->peer_idx;
		}
		if (!doors[i] || !(meta->generation & 1))
			path_drop(w, pkts[i], STATS_DROP_no_lease);
		else if (is_inner(w->path, rte_pktmbuf_mtod(pkts[i], const uint8_t *)))
			path_drop(w, pkts[i], STATS_DROP_martian_source);
		else
			pkts[kept++] = pkts[i];
	}
	w->stats.counter[STATS_door_found] += kept;
	return kept;
}
