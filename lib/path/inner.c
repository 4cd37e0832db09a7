/* inner.c - may this peer send this packet, and whom does it concern?
 *
 * Cryptokey routing inwards (WireGuard paper, section 2): the source must be the peer's own.
 */
#include "path/worker.h"

bool path_is_blocked(const struct path *p, const struct nat_view *v)
{
	uint8_t proto = v->proto == NAT_PROTO_TCP   ? LEASE_PROTO_TCP
			: v->proto == NAT_PROTO_UDP ? LEASE_PROTO_UDP
						    : 0;

	for (unsigned i = 0; i < p->n_blocked; i++)
		if (p->blocked[i].protos & proto && p->blocked[i].port == v->dst_port)
			return true;
	return false;
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

void path_to_peer(struct path_worker *w, struct rte_mbuf *m)
{
	path_meta(m)->via = PATH_VIA_NONE;
	if (path_dispatch_burst(w, PATH_STAGE_SEAL, &m, 1))
		path_mtu_burst(w, &m, 1);
}

/* To another peer's inner address. */
static void take_neighbour(struct path_worker *w, struct rte_mbuf *m, uint32_t to)
{
	uint16_t mtu_bytes = w->path->inner_mtu_bytes;

	if (!path_fits(m, mtu_bytes)) {
		path_refuse_peer(w, m, STATS_DROP_too_big, mtu_bytes);
	} else if (!nat_hop(rte_pktmbuf_mtod(m, uint8_t *), &path_meta(m)->view)) {
		path_refuse_peer(w, m, STATS_DROP_ttl_expired, 0);
	} else {
		path_meta(m)->peer_idx = to;
		path_to_peer(w, m);
	}
}

/* Parse. NAT_MALFORMED: it ended here. */
static enum nat_verdict take_in(
	struct path_worker *w, struct rte_mbuf *m, const struct peer_view *view)
{
	struct path_meta *meta = path_meta(m);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	enum nat_verdict verdict;

	if (!view) {
		path_drop(w, m, STATS_DROP_peer_gone);
		return NAT_MALFORMED;
	}
	verdict = nat_parse(ip, m->data_len, &meta->view);
	if (verdict == NAT_MALFORMED) {
		path_drop(w, m, STATS_DROP_inner_malformed);
		return NAT_MALFORMED;
	}
	m->data_len = meta->view.total_len;
	m->pkt_len = m->data_len;
	meta->via = PATH_VIA_NONE;
	meta->is_hairpin = meta->is_error = meta->is_exempt = meta->is_fragment = false;
	meta->probe = 0;
	return verdict;
}

/* What leads out: ports, or what an ICMP error quotes. False: it ended here. */
static bool is_led(struct path_worker *w, struct rte_mbuf *m, enum nat_verdict verdict)
{
	struct path_meta *meta = path_meta(m);
	bool is_icmp = meta->view.proto == NAT_PROTO_ICMP || meta->view.proto == NAT_PROTO_ICMPV6;
	struct nat_icmp_error quote;

	if (likely(verdict == NAT_OK && !is_icmp))
		return true;
	if (is_icmp && !nat_icmp_sum_ok(rte_pktmbuf_mtod(m, const uint8_t *), &meta->view)) {
		path_drop(w, m, STATS_DROP_bad_icmp_checksum);
		return false;
	}
	if (verdict == NAT_OK)
		return true;
	/* IPv4 has one address a peer, whose key the look-up takes; IPv6 may have a router there.
	 */
	if (is_icmp && path_quote(m, &quote)) {
		meta->is_error = true;
		return true;
	}
	/* IPv6 is not translated: what has no ports is led by its addresses. */
	if (meta->view.version == 6 && !is_icmp)
		return true;
	path_drop(w, m, is_icmp ? STATS_DROP_icmp_error_stray : STATS_DROP_inner_protocol);
	return false;
}

/* To none of the gateway's addresses. */
static unsigned way_past_us(const struct path *p, enum nat_verdict verdict, uint32_t neighbour)
{
	if (neighbour != PEER_NONE)
		return p->peer_to_peer ? PATH_WAY_NEIGHBOUR : STATS_DROP_inner_to_peer;
	return verdict == NAT_FRAGMENT ? PATH_WAY_FRAGMENT : PATH_WAY_INTERNET;
}

/* To an entry or port address: from inside there is nothing behind it. */
static unsigned way_to_outer(const struct nat_view *v)
{
	return path_service_is_request(v) ? STATS_DROP_portmap_outside : STATS_DROP_inner_to_self;
}

unsigned path_way_inner_v4(const struct path *p, const struct peer_view *view,
	const struct nat_view *v, enum nat_verdict verdict, uint32_t src, uint32_t dst,
	uint32_t *neighbour)
{
	if (!peer_view_has_v4(view, src))
		return STATS_DROP_inner_source;
	if (unlikely(path_service_is_request(v)) && path_service_is_at_v4(p, src, dst))
		return PATH_WAY_SERVICE;
	if (unlikely(path_is_odd_destination(p, dst))) {
		if (path_addrs_has_v4(&p->inner, dst))
			return PATH_WAY_PING;
		if (path_is_martian_v4(dst) || path_is_link_local_v4(dst))
			return STATS_DROP_martian_destination;
		if (path_addrs_has_v4(&p->own, dst))
			return way_to_outer(v);
	}
	*neighbour = peer_find_inner_v4(p->params.peers, dst);
	return way_past_us(p, verdict, *neighbour);
}

unsigned path_way_inner_v6(const struct path *p, const struct peer_view *view,
	const struct nat_view *v, enum nat_verdict verdict, const struct ip_addr *src,
	const struct ip_addr *dst, uint32_t *neighbour)
{
	/* IPv4 written as IPv6 is no address on any link, and would pass as one of ours. */
	if (ip_is_v4(src) || !peer_view_has(view, src))
		return STATS_DROP_inner_source;
	if (ip_is_v4(dst))
		return STATS_DROP_martian_destination;
	if (path_service_is_request(v) && path_service_is_at_v6(p, dst))
		return PATH_WAY_SERVICE;
	if (path_addrs_has_v6(&p->inner, dst))
		return PATH_WAY_PING;
	if (ip_is_martian(dst) || ip_is_link_local(dst))
		return STATS_DROP_martian_destination;
	if (path_addrs_has_v6(&p->own, dst))
		return way_to_outer(v);
	*neighbour = peer_find_inner(p->params.peers, dst);
	return way_past_us(p, verdict, *neighbour);
}

/* Which way it goes that take_in parsed. */
static unsigned way_of(const struct path *p, struct rte_mbuf *m, const struct peer_view *view,
	enum nat_verdict verdict, uint32_t *neighbour)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct nat_view *v = &path_meta(m)->view;
	struct ip_addr src, dst;

	if (likely(v->version == 4))
		return path_way_inner_v4(
			p, view, v, verdict, load_be32(ip + 12), load_be32(ip + 16), neighbour);
	src = path_source(m);
	dst = path_destination(m);
	return path_way_inner_v6(p, view, v, verdict, &src, &dst, neighbour);
}

static bool is_from(struct rte_mbuf *m, const struct peer_view *view)
{
	struct ip_addr src = path_source(m);

	return peer_view_has(view, &src);
}

bool path_inner_led(struct path_worker *w, struct rte_mbuf *m)
{
	if (unlikely(w->path->n_blocked && path_is_blocked(w->path, &path_meta(m)->view))) {
		path_refuse_peer(w, m, STATS_DROP_nat_blocked, 0);
		return false;
	}
	w->stats.counter[STATS_admitted]++;
	if (path_meta(m)->view.version == 4)
		return true;
	path_v6_out(w, m);
	return false;
}

/* Ways that are not to the Internet. */
static void take_other(struct path_worker *w, struct rte_mbuf *m, enum nat_verdict verdict,
	unsigned way, uint32_t neighbour)
{
	switch (way) {
	case PATH_WAY_SERVICE:
		path_service_take(w, m);
		break;
	case PATH_WAY_PING:
		take_service(w, m, verdict);
		break;
	case PATH_WAY_NEIGHBOUR:
		take_neighbour(w, m, neighbour);
		break;
	case PATH_WAY_FRAGMENT:
		path_fragment_peer(w, m);
		break;
	default:
		path_drop(w, m, (enum stats_drop)way);
	}
}

/* True: it goes on to the Internet by IPv4. False: it ended here, or goes another way. */
static bool admit(struct path_worker *w, struct rte_mbuf *m)
{
	const struct path *p = w->path;
	const struct peer_view *view = peer_view(p->params.peers, path_meta(m)->peer_idx);
	enum nat_verdict verdict = take_in(w, m, view);
	uint32_t neighbour = PEER_NONE;
	unsigned way;

	if (verdict == NAT_MALFORMED)
		return false;
	if (unlikely(probes_are_running(p->params.probes)) && is_from(m, view) &&
		path_probe_answers(w, m, verdict))
		return false;
	way = way_of(p, m, view, verdict, &neighbour);
	if (likely(way == PATH_WAY_INTERNET))
		return is_led(w, m, verdict) && path_inner_led(w, m);
	take_other(w, m, verdict, way, neighbour);
	return false;
}

uint16_t path_inner_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++)
		if (admit(w, pkts[i]))
			pkts[kept++] = pkts[i];
	return kept;
}
