/* dnat.c - through the door: on the home worker of the peer, filter, rewrite, count; then the
 * tunnel's MTU. */
#include "path/worker.h"

uint16_t path_dnat_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct path_meta *meta = path_meta(pkts[i]);
		struct door *door = meta->door;
		uint8_t *ip = rte_pktmbuf_mtod(pkts[i], uint8_t *);
		struct ip_addr src;

		if (!door_is(door, meta->generation)) {
			path_drop(w, pkts[i], STATS_DROP_lease_closed);
			continue;
		}
		src = ip_from_v4(ip + 12);
		if (!door_admits(door, &src)) {
			door->counters.refused_pkts++;
			path_drop(w, pkts[i], STATS_DROP_lease_source);
			continue;
		}
		if (!nat_hop(ip, &meta->view)) {
			path_drop(w, pkts[i], STATS_DROP_ttl_expired);
			continue;
		}
		nat_rewrite_dst(ip, &meta->view, door->inner_v4, door->inner_port);
		door->counters.in_pkts++;
		door->counters.in_bytes += meta->view.total_len;
		path_door_used(w, door);
		pkts[kept++] = pkts[i];
	}
	w->stats.counter[STATS_translated_in] += kept;
	return kept;
}

uint16_t path_mtu_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (path_meta(pkts[i])->view.total_len <= w->path->inner_mtu_bytes)
			pkts[kept++] = pkts[i];
		else
			path_drop(w, pkts[i], STATS_DROP_too_big);
	}
	return kept;
}
