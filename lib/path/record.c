/* record.c - a dropped packet, written down as it stood (stats/recent.h). */
#include "path/worker.h"

#include <rte_ether.h>

/* The IP header that the data begins with, or that an Ethernet header stands in front of; on the
 * way through the data is either, or what was sealed. */
static const uint8_t *find_ip(struct rte_mbuf *m, struct nat_view *v)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);

	if (nat_parse(data, m->data_len, v) != NAT_MALFORMED)
		return data;
	if (m->data_len > RTE_ETHER_HDR_LEN &&
		nat_parse(data + RTE_ETHER_HDR_LEN, m->data_len - RTE_ETHER_HDR_LEN, v) !=
			NAT_MALFORMED)
		return data + RTE_ETHER_HDR_LEN;
	return NULL;
}

static bool is_of_tunnel(enum stats_drop reason)
{
	return reason == STATS_DROP_wg_unknown_index || reason == STATS_DROP_wg_key_expired ||
	       reason == STATS_DROP_wg_bad_tag || reason == STATS_DROP_wg_replayed ||
	       reason == STATS_DROP_handshake_queue_full;
}

void path_record(struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason)
{
	struct stats_recent_drop drop = {.at_ns = w->now_ns, .reason = (uint8_t)reason};
	struct nat_view v;
	const uint8_t *ip = is_of_tunnel(reason) ? NULL : find_ip(m, &v);

	drop.size_bytes = m->data_len;
	if (ip) {
		bool is_v4 = v.version == 4;

		drop.proto = v.proto;
		drop.size_bytes = v.total_len;
		drop.src = (struct ip_endpoint){
			is_v4 ? ip_from_v4(ip + 12) : ip_from_v6(ip + 8), v.src_port};
		drop.dst = (struct ip_endpoint){
			is_v4 ? ip_from_v4(ip + 16) : ip_from_v6(ip + 24), v.dst_port};
	} else if (is_of_tunnel(reason)) {
		const struct peer_path *path = &path_meta(m)->path;

		drop.proto = NAT_PROTO_UDP;
		drop.src = path->remote;
		drop.dst = (struct ip_endpoint){path->local, w->path->listen_port};
	}
	stats_recent_put(&w->recent, &drop);
}
