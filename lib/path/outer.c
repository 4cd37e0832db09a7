/* outer.c - the outer headers of data messages, built once for a peer and then copied.
 *
 * Building them for each packet and asking for the next hop cost about 90 cycles; a copy costs 15.
 * What is copied is made again when the peer's path changes and at least every PATH_HOP_FRESH_NS,
 * so a next hop that moved is followed, and neigh sees that it is still in use.
 */
#include <rte_ip.h>
#include <rte_udp.h>

#include "path/worker.h"

/* True: hot->outer is good. False: the next hop is not known now; the slow way sorts that out. */
static bool refresh(struct path_worker *w, struct peer_hot *hot)
{
	const struct path *p = w->path;
	struct peer_outer *outer = &hot->outer;
	const struct peer_path *path = &hot->path;
	struct ip_endpoint src = {path->local, p->listen_port};
	struct rte_ether_addr next_hop;
	uint8_t space[RTE_PKTMBUF_HEADROOM];
	struct rte_mbuf scratch = {
		.buf_addr = space, .buf_len = sizeof(space), .data_off = sizeof(space)};
	bool is_unreachable;

	outer->fresh_until_ns = 0;
	if (ip_is_none(&path->local) || path->remote.port == 0 ||
		!neigh_resolve(p->params.neigh, path->port_idx, &path->remote.addr, &next_hop,
			&is_unreachable))
		return false;
	pkt_udp_prepend(&scratch, &(struct pkt_udp){.src = &src, .dst = &path->remote});
	pkt_ether_prepend(&scratch, &p->ports[path->port_idx].port->mac, &next_hop);
	outer->len_bytes = (uint8_t)scratch.data_len;
	memcpy(outer->bytes, rte_pktmbuf_mtod(&scratch, void *), outer->len_bytes);
	outer->port_idx = path->port_idx;
	if (ip_is_v4(&path->remote.addr)) {
		struct rte_ipv4_hdr *ip = (void *)(outer->bytes + RTE_ETHER_HDR_LEN);

		ip->total_length = 0;
		ip->hdr_checksum = 0;
		outer->ip_sum = rte_raw_cksum(ip, sizeof(*ip));
	}
	outer->fresh_until_ns = w->now_ns + PATH_HOP_FRESH_NS;
	return true;
}

static void finish_ipv4(struct path_worker *w, uint8_t *frame, uint16_t udp_len, uint32_t ip_sum)
{
	struct rte_ipv4_hdr *ip = (void *)(frame + RTE_ETHER_HDR_LEN);
	struct rte_udp_hdr *udp = (void *)(ip + 1);

	ip->total_length = rte_cpu_to_be_16((uint16_t)(udp_len + sizeof(*ip)));
	ip->packet_id = rte_cpu_to_be_16(w->ip_id++);
	ip_sum += (uint32_t)ip->total_length + ip->packet_id;
	ip_sum = (ip_sum & 0xffff) + (ip_sum >> 16);
	ip->hdr_checksum = (uint16_t) ~((ip_sum & 0xffff) + (ip_sum >> 16));
	udp->dgram_len = rte_cpu_to_be_16(udp_len);
}

static void finish_ipv6(uint8_t *frame, uint16_t udp_len)
{
	struct rte_ipv6_hdr *ip = (void *)(frame + RTE_ETHER_HDR_LEN);
	struct rte_udp_hdr *udp = (void *)(ip + 1);

	ip->payload_len = rte_cpu_to_be_16(udp_len);
	udp->dgram_len = ip->payload_len;
	udp->dgram_cksum = 0;
	udp->dgram_cksum = rte_ipv6_udptcp_cksum(ip, udp);
}

void path_send_peer(struct path_worker *w, struct rte_mbuf *m, struct peer_hot *hot)
{
	const struct peer_outer *outer = &hot->outer;
	uint16_t udp_len = (uint16_t)(m->data_len + sizeof(struct rte_udp_hdr));
	uint8_t *frame;

	if (unlikely(w->now_ns >= outer->fresh_until_ns && !refresh(w, hot))) {
		path_send_outer(w, m, &hot->path, 0);
		return;
	}
	if (unlikely((uint32_t)m->data_len + outer->len_bytes - RTE_ETHER_HDR_LEN >
		     w->path->ports[outer->port_idx].mtu_bytes)) {
		path_drop(w, m, STATS_DROP_too_big);
		return;
	}
	frame = (void *)rte_pktmbuf_prepend(m, outer->len_bytes);
	if (outer->len_bytes == PEER_OUTER_MAX_BYTES) {
		memcpy(frame, outer->bytes, PEER_OUTER_MAX_BYTES);
		finish_ipv6(frame, udp_len);
	} else {
		memcpy(frame, outer->bytes, RTE_ETHER_HDR_LEN + 20 + 8);
		finish_ipv4(w, frame, udp_len, outer->ip_sum);
	}
	path_tx(w, m, outer->port_idx);
}
