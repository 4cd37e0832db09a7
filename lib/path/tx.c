/* tx.c - the way out: outer headers, next hop, tx queue. */
#include <rte_ethdev.h>

#include "path/worker.h"

/* A full tx ring is tried again this often before frames are given up: virtual devices drain late.
 */
#define TX_TRIES 4
/* A peer can send to as many unknown neighbours as it likes. Behind this many frames for them,
 * control's mailbox takes ARP and ND only, so that next hops stay known to everybody else. */
#define UNRESOLVED_MAX 256

/* Our address on the port, of the remote's family; false: there is none. */
static bool pick_local(
	const struct path_addrs *locals, const struct ip_addr *remote, struct ip_addr *out)
{
	uint8_t v4[4];

	if (!ip_is_v4(remote)) {
		*out = locals->v6[0];
		return locals->n_v6 != 0;
	}
	store_be32(v4, locals->v4[0]);
	*out = ip_from_v4(v4);
	return locals->n_v4 != 0;
}

void path_send_outer(struct path_worker *w, struct rte_mbuf *m, const struct peer_path *path,
	uint8_t traffic_class)
{
	const struct path *p = w->path;
	struct ip_endpoint src = {path->local, p->listen_port};
	uint16_t port_idx = path->port_idx;
	bool is_reachable = path->remote.port != 0;

	/* A configured endpoint says nothing of our side. */
	if (ip_is_none(&path->local)) {
		port_idx = (uint16_t)p->tunnel_idx;
		is_reachable &=
			pick_local(&p->ports[port_idx].locals, &path->remote.addr, &src.addr);
	}
	if (!is_reachable) {
		path_drop(w, m, STATS_DROP_peer_unreachable);
		return;
	}
	pkt_udp_prepend(m, &(struct pkt_udp){.src = &src,
				   .dst = &path->remote,
				   .ip_id = w->ip_id++,
				   .traffic_class = traffic_class});
	if (m->data_len > p->ports[port_idx].mtu_bytes) {
		path_drop(w, m, STATS_DROP_too_big);
		return;
	}
	path_route(w, m, port_idx, &path->remote.addr);
}

static bool resolve(struct path_worker *w, uint16_t port_idx, const struct ip_addr *dst,
	struct rte_ether_addr *out, bool *is_unreachable)
{
	struct path_hop *hop;
	uint32_t addr;

	if (!neigh_resolve(w->path->params.neigh, port_idx, dst, out, is_unreachable))
		return false;
	if (ip_is_v4(dst)) {
		hop = path_hop_slot(w, port_idx, load_be32(ip_v4_bytes(dst)), &addr);
		*hop = (struct path_hop){
			.addr = addr, .mac = *out, .fresh_until_ns = w->now_ns + PATH_HOP_FRESH_NS};
	}
	return true;
}

void path_route_anew(
	struct path_worker *w, struct rte_mbuf *m, uint16_t port_idx, const struct ip_addr *dst)
{
	const struct path *p = w->path;
	struct path_punt *punt = rte_mbuf_to_priv(m);
	struct path_meta saved;
	struct rte_ether_addr mac = {{0}};
	bool is_unreachable = false;
	bool is_resolved = resolve(w, port_idx, dst, &mac, &is_unreachable);

	if (is_unreachable) {
		path_drop(w, m, STATS_DROP_neigh_unreachable);
		return;
	}
	pkt_ether_prepend(m, &p->ports[port_idx].port->mac, &mac);
	if (is_resolved) {
		path_tx(w, m, port_idx);
		return;
	}

	/* Control asks for the address, then gives the frame back as one of its own. */
	saved = *path_meta(m);
	*punt = (struct path_punt){.next = *dst, .port_idx = port_idx};
	if (mbox_count(w->mail.to_control) < UNRESOLVED_MAX && mbox_push(w->mail.to_control, m)) {
		w->stats.counter[saved.is_originated ? STATS_originated_sent : STATS_consumed]++;
		return;
	}
	*path_meta(m) = saved;
	path_drop(w, m, STATS_DROP_neigh_queue_full);
}

void path_route(
	struct path_worker *w, struct rte_mbuf *m, uint16_t port_idx, const struct ip_addr *dst)
{
	if (ip_is_v4(dst))
		path_route_v4(w, m, port_idx, load_be32(ip_v4_bytes(dst)));
	else
		path_route_anew(w, m, port_idx, dst);
}

static void send_burst(struct path_worker *w, uint16_t port_idx)
{
	const struct port *port = w->path->ports[port_idx].port;
	struct path_burst *b = &w->sending[port_idx];
	uint64_t n_forwarded = 0, n_originated = 0, n_bytes = 0;
	uint16_t sent = 0;

	/* Read before they are sent: afterwards they are the device's. */
	for (uint16_t i = 0; i < b->n; i++) {
		bool is_originated = path_meta(b->pkts[i])->is_originated;

		n_originated += is_originated;
		n_forwarded += !is_originated;
		n_bytes += is_originated ? 0 : b->pkts[i]->pkt_len;
	}
	for (unsigned try = 0; try < TX_TRIES && sent < b->n; try++)
		sent += rte_eth_tx_burst(
			port->eth_id, (uint16_t)w->idx, b->pkts + sent, b->n - sent);
	for (uint16_t i = sent; i < b->n; i++) {
		bool is_originated = path_meta(b->pkts[i])->is_originated;

		n_originated -= is_originated;
		n_forwarded -= !is_originated;
		n_bytes -= is_originated ? 0 : b->pkts[i]->pkt_len;
		path_drop(w, b->pkts[i], STATS_DROP_tx_full);
	}
	w->stats.counter[STATS_forwarded] += n_forwarded;
	w->stats.counter[STATS_forwarded_bytes] += n_bytes;
	w->stats.counter[STATS_originated_sent] += n_originated;
	b->n = 0;
}

void path_tx_otherwise(struct path_worker *w, struct rte_mbuf *m, uint16_t port_idx)
{
	unsigned sender = w->path->ports[port_idx].tx_worker[w->idx];
	struct path_burst *b = &w->sending[port_idx];

	if (sender != w->idx) {
		path_meta(m)->path.port_idx = port_idx;
		path_hand_over(w, sender, PATH_STAGE_TX, m);
		return;
	}
	send_burst(w, port_idx);
	b->pkts[b->n++] = m;
}

void path_tx_flush(struct path_worker *w)
{
	for (unsigned i = 0; i < w->path->n_ports; i++)
		if (w->sending[i].n)
			send_burst(w, (uint16_t)i);
}
