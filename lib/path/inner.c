/* inner.c - may this peer send this packet, and whom does it concern?
 *
 * Cryptokey routing inwards (WireGuard paper, section 2): the source must be the peer's own
 * address.
 */
#include "path/worker.h"

static bool is_gateway_inner(const struct path *p, const struct ip_addr *addr)
{
	return ip_is_v4(addr) ? path_addrs_has_v4(&p->inner, load_be32(ip_v4_bytes(addr)))
			      : path_addrs_has_v6(&p->inner, addr);
}

static bool is_gateway_outer(const struct path *p, const struct ip_addr *addr)
{
	return ip_is_v4(addr) ? path_is_own_v4(p, load_be32(ip_v4_bytes(addr)))
			      : path_addrs_has_v6(&p->own, addr);
}

static void take_service(struct path_worker *w, struct rte_mbuf *m, enum nat_verdict verdict)
{
	if (verdict != NAT_FRAGMENT &&
		nat_echo_reply(rte_pktmbuf_mtod(m, uint8_t *), m->data_len)) {
		path_answer(w, m);
		path_seal_push(w, m);
	} else {
		path_drop(w, m, STATS_DROP_inner_no_service);
	}
}

/* True: it goes on to the Internet. False: it ended here. */
static bool admit(struct path_worker *w, struct rte_mbuf *m)
{
	const struct path *p = w->path;
	struct path_meta *meta = path_meta(m);
	const struct peer_view *view = peer_view(p->params.peers, meta->peer_idx);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	enum nat_verdict verdict;
	struct ip_addr src, dst;

	if (!view) {
		path_drop(w, m, STATS_DROP_peer_gone);
		return false;
	}
	verdict = nat_parse(ip, m->data_len, &meta->view);
	if (verdict == NAT_MALFORMED) {
		path_drop(w, m, STATS_DROP_inner_malformed);
		return false;
	}
	m->data_len = meta->view.total_len;
	m->pkt_len = m->data_len;
	if (meta->view.version == 4) {
		src = ip_from_v4(ip + 12);
		dst = ip_from_v4(ip + 16);
	} else {
		src = ip_from_v6(ip + 8);
		dst = ip_from_v6(ip + 24);
	}
	if (!ip_equal(&src, meta->view.version == 4 ? &view->address4 : &view->address6) ||
		ip_is_none(&src)) {
		path_drop(w, m, STATS_DROP_inner_source);
		return false;
	}
	if (is_gateway_inner(p, &dst)) {
		take_service(w, m, verdict);
		return false;
	}

	enum stats_drop reason;

	if (ip_is_martian(&dst))
		reason = STATS_DROP_martian_destination;
	else if (is_gateway_outer(p, &dst))
		reason = STATS_DROP_inner_to_self;
	else if (verdict == NAT_FRAGMENT)
		reason = STATS_DROP_fragment;
	else if (peer_find_inner(p->params.peers, &dst) != PEER_NONE)
		reason = STATS_DROP_inner_to_peer;
	else if (meta->view.version != 4 ||
		 (meta->view.proto != NAT_PROTO_TCP && meta->view.proto != NAT_PROTO_UDP))
		reason = STATS_DROP_inner_no_lease;
	else
		return true;
	path_drop(w, m, reason);
	return false;
}

uint16_t path_inner_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++)
		if (admit(w, pkts[i]))
			pkts[kept++] = pkts[i];
	w->stats.counter[STATS_admitted] += kept;
	return kept;
}
