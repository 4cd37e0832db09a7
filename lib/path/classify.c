/* classify.c - what is this frame, and is it for us? No lease and no session is asked here.
 *
 * Tunnel packets are recognised before any NAT look-up: a packet to an entry address can only be
 * WireGuard or ping, whatever leases exist (the "port shadow" family, CVE-2021-3773).
 */
#include <rte_ether.h>
#include <rte_prefetch.h>

#include "wgmsg/wgmsg.h"
#include "path/worker.h"

#define ICMPV6_NS 135
#define ICMPV6_NA 136

static void punt_neigh_frame(struct path_worker *w, uint16_t port_idx, struct rte_mbuf *m)
{
	struct path_punt *punt = rte_mbuf_to_priv(m);
	struct path_meta saved = *path_meta(m);

	*punt = (struct path_punt){.port_idx = port_idx};
	if (mbox_push(w->mail.to_control, m)) {
		w->stats.counter[STATS_consumed]++;
		return;
	}
	*path_meta(m) = saved;
	path_drop(w, m, STATS_DROP_punt_full);
}

/* A UDP packet to the WireGuard port of an entry address; data begins at the IP header. */
static void take_wireguard(struct path_worker *w, uint16_t port_idx, struct rte_mbuf *m)
{
	struct path_meta *meta = path_meta(m);
	const struct nat_view *v = &meta->view;
	const uint8_t *udp = rte_pktmbuf_mtod_offset(m, const uint8_t *, v->l4_offset);
	uint16_t udp_len = load_be16(udp + 4);
	enum wgmsg_type type;

	/* Nobody can be answered at port 0, which marks a path that is not known. */
	if (udp_len < 8 || v->l4_offset + udp_len > v->total_len || v->src_port == 0) {
		path_drop(w, m, STATS_DROP_wg_malformed);
		return;
	}
	type = wgmsg_classify(udp + 8, udp_len - 8);
	if (type == WGMSG_INVALID) {
		path_drop(w, m, STATS_DROP_wg_malformed);
		return;
	}
	/* Where they stay: wide loads of a copy wait for the narrow stores that made it. */
	meta->path.remote.addr = path_source(m);
	meta->path.remote.port = v->src_port;
	meta->path.local = path_destination(m);
	meta->path.port_idx = port_idx;
	m->data_off += v->l4_offset + 8;
	m->data_len = udp_len - 8;
	m->pkt_len = m->data_len;

	if (type == WGMSG_DATA) {
		w->opening.pkts[w->opening.n++] = m;
	} else if (mbox_push(w->mail.msgs, m)) {
		w->stats.counter[STATS_consumed]++;
		w->stats.counter[STATS_handshakes_in]++;
	} else {
		path_drop(w, m, STATS_DROP_handshake_queue_full);
	}
}

unsigned path_way_local(
	const struct path *p, uint16_t port_idx, const struct nat_view *v, enum nat_verdict verdict)
{
	const struct path_port *port = &p->ports[port_idx];

	if (verdict == NAT_FRAGMENT)
		return STATS_DROP_fragment;
	if (v->proto == NAT_PROTO_UDP && v->dst_port == p->listen_port && port->is_tunnel)
		return PATH_WAY_WIREGUARD;
	if (path_service_is_request(v))
		return STATS_DROP_portmap_outside;
	if (v->proto != NAT_PROTO_ICMP && v->proto != NAT_PROTO_ICMPV6)
		return STATS_DROP_entry_closed;
	return port->answer_ping ? PATH_WAY_PING : STATS_DROP_ping_disabled;
}

/* To an address of the gateway itself. */
static void take_local(
	struct path_worker *w, uint16_t port_idx, struct rte_mbuf *m, enum nat_verdict verdict)
{
	const struct nat_view *v = &path_meta(m)->view;
	unsigned way = path_way_local(w->path, port_idx, v, verdict);
	struct ip_addr asker;

	if (path_way_ends(way)) {
		path_drop(w, m, (enum stats_drop)way);
	} else if (way == PATH_WAY_WIREGUARD) {
		take_wireguard(w, port_idx, m);
	} else if (nat_echo_reply(rte_pktmbuf_mtod(m, uint8_t *), m->data_len)) {
		asker = path_destination(m);
		path_answer(w, m);
		path_route(w, m, port_idx, &asker);
	} else {
		path_drop(w, m, STATS_DROP_entry_closed);
	}
}

/* Strip Ethernet, parse, cut the frame's padding. */
static enum nat_verdict parse_ip(struct rte_mbuf *m)
{
	struct path_meta *meta = path_meta(m);
	enum nat_verdict verdict;

	m->data_off += RTE_ETHER_HDR_LEN;
	m->data_len -= RTE_ETHER_HDR_LEN;
	verdict = nat_parse(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &meta->view);
	if (verdict != NAT_MALFORMED)
		m->data_len = meta->view.total_len;
	m->pkt_len = m->data_len;
	return verdict;
}

/* It is sent to the one who sent what it quotes. */
static bool is_quote_of(struct rte_mbuf *m, const struct nat_icmp_error *quote)
{
	struct ip_addr dst = path_destination(m);

	return ip_equal(&quote->inner_src, &dst);
}

/* For a peer, or for nobody: what could lead it? */
static void take_public(
	struct path_worker *w, uint16_t port_idx, struct rte_mbuf *m, enum nat_verdict verdict)
{
	struct path_meta *meta = path_meta(m);
	bool is_icmp = meta->view.proto == NAT_PROTO_ICMP || meta->view.proto == NAT_PROTO_ICMPV6;
	bool is_v4 = meta->view.version == 4;
	struct nat_icmp_error quote;

	meta->path.port_idx = port_idx;
	w->stats.counter[STATS_recognised_public]++;
	if (likely(verdict == NAT_OK && !is_icmp)) {
		/* The usual case. */
	} else if (verdict == NAT_FRAGMENT) {
		path_fragment_public(w, m);
		return;
	} else if (is_icmp && !nat_icmp_sum_ok(rte_pktmbuf_mtod(m, const uint8_t *), &meta->view)) {
		/* RFC 5508, REQ-3 */
		path_drop(w, m, STATS_DROP_bad_icmp_checksum);
		return;
	} else if (verdict == NAT_OK) {
		/* An echo. */
	} else if (is_icmp && path_quote(m, &quote) && is_quote_of(m, &quote)) {
		meta->is_error = true;
	} else if (is_icmp || is_v4) {
		path_drop(w, m, is_icmp ? STATS_DROP_icmp_error_stray : STATS_DROP_no_lease);
		return;
	}
	if (is_v4)
		path_knock(w, m);
	else
		path_v6_in(w, m);
}

/* From an exempt source to the inner address of a peer: for its session there, untranslated. */
static bool is_exempt(const struct path *p, uint32_t src, uint32_t dst, uint32_t *peer_idx)
{
	if (likely(!p->n_exempt) || !path_prefixes_have(p->exempt, p->n_exempt, src))
		return false;
	*peer_idx = peer_find_inner_v4(p->params.peers, dst);
	return *peer_idx != PEER_NONE;
}

unsigned path_way_v4(
	const struct path *p, uint16_t port_idx, uint32_t src, uint32_t dst, uint32_t *peer_idx)
{
	const struct path_port *port = &p->ports[port_idx];

	if (unlikely(path_is_odd_source(p, src))) {
		if (path_is_martian_v4(src))
			return STATS_DROP_martian_source;
		if (path_is_own_v4(p, src))
			return STATS_DROP_own_source;
	}
	if (path_addrs_has_v4(&port->locals, dst))
		return PATH_WAY_LOCAL;
	if (!port->is_public)
		return STATS_DROP_not_for_us;
	if (path_is_pool(p, dst))
		return PATH_WAY_PUBLIC;
	return is_exempt(p, src, dst, peer_idx) ? PATH_WAY_EXEMPT : STATS_DROP_not_for_us;
}

static void classify_ipv4(struct path_worker *w, uint16_t port_idx, struct rte_mbuf *m)
{
	struct path_meta *meta = path_meta(m);
	enum nat_verdict verdict = parse_ip(m);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned way;

	if (verdict == NAT_MALFORMED || meta->view.version != 4) {
		path_drop(w, m, STATS_DROP_bad_ip_header);
		return;
	}
	way = path_way_v4(
		w->path, port_idx, load_be32(ip + 12), load_be32(ip + 16), &meta->peer_idx);
	if (path_way_ends(way)) {
		path_drop(w, m, (enum stats_drop)way);
	} else if (way == PATH_WAY_LOCAL) {
		take_local(w, port_idx, m, verdict);
	} else {
		meta->is_exempt = way == PATH_WAY_EXEMPT;
		take_public(w, port_idx, m, verdict);
	}
}

static bool is_neighbour_discovery(const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	const uint8_t *ip = frame + RTE_ETHER_HDR_LEN;

	return m->data_len > RTE_ETHER_HDR_LEN + 40 && ip[6] == NAT_PROTO_ICMPV6 &&
	       (ip[40] == ICMPV6_NS || ip[40] == ICMPV6_NA);
}

/* Peers believe what lies inside the tunnel: nobody outside speaks for it. */
static bool is_inner_v6(const struct path *p, const struct ip_addr *src)
{
	return path_addrs_has_v6(&p->inner, src) ||
	       peer_find_inner(p->params.peers, src) != PEER_NONE || ip_is_link_local(src);
}

unsigned path_way_v6(const struct path *p, uint16_t port_idx, const struct ip_addr *src,
	const struct ip_addr *dst, uint32_t *peer_idx)
{
	const struct path_port *port = &p->ports[port_idx];

	if (ip_is_martian(src) || ip_is_v4(src))
		return STATS_DROP_martian_source;
	if (path_addrs_has_v6(&p->own, src))
		return STATS_DROP_own_source;
	if (path_addrs_has_v6(&port->locals, dst))
		return PATH_WAY_LOCAL;
	*peer_idx = port->is_public && !ip_is_v4(dst) ? peer_find_inner(p->params.peers, dst)
						      : PEER_NONE;
	if (*peer_idx == PEER_NONE)
		return STATS_DROP_not_for_us;
	return is_inner_v6(p, src) ? STATS_DROP_martian_source : PATH_WAY_PUBLIC;
}

static void classify_ipv6(struct path_worker *w, uint16_t port_idx, struct rte_mbuf *m)
{
	const struct nat_view *v = &path_meta(m)->view;
	struct ip_addr src, dst;
	enum nat_verdict verdict;
	const uint8_t *ip;
	unsigned way;

	if (is_neighbour_discovery(m)) {
		punt_neigh_frame(w, port_idx, m);
		return;
	}
	verdict = parse_ip(m);
	if (verdict == NAT_MALFORMED || v->version != 6) {
		path_drop(w, m, STATS_DROP_bad_ip_header);
		return;
	}
	ip = rte_pktmbuf_mtod(m, const uint8_t *);
	src = ip_from_v6(ip + 8);
	dst = ip_from_v6(ip + 24);
	way = path_way_v6(w->path, port_idx, &src, &dst, &path_meta(m)->peer_idx);
	if (path_way_ends(way))
		path_drop(w, m, (enum stats_drop)way);
	else if (way == PATH_WAY_LOCAL)
		take_local(w, port_idx, m, verdict);
	else
		take_public(w, port_idx, m, verdict);
}

static void classify(struct path_worker *w, uint16_t port_idx, struct rte_mbuf *m)
{
	const struct path_port *port = &w->path->ports[port_idx];
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	bool is_group;

	if (m->nb_segs != 1) {
		path_drop(w, m, STATS_DROP_rx_segmented);
		return;
	}
	/* A device that fills buffers from their very beginning leaves no room for outer headers.
	 */
	if (unlikely(rte_pktmbuf_headroom(m) < PKT_HEADROOM_BYTES)) {
		path_drop(w, m, STATS_DROP_internal);
		return;
	}
	if (m->data_len < RTE_ETHER_HDR_LEN) {
		path_drop(w, m, STATS_DROP_rx_truncated);
		return;
	}
	is_group = rte_is_multicast_ether_addr(&eth->dst_addr);
	if (!is_group && !rte_is_same_ether_addr(&eth->dst_addr, &port->port->mac)) {
		path_drop(w, m, STATS_DROP_not_for_us);
		return;
	}
	switch (eth->ether_type) {
	case RTE_BE16(RTE_ETHER_TYPE_IPV4):
		/* RFC 1122, 3.3.6: nothing of ours is reached by a link-layer broadcast. */
		if (is_group)
			path_drop(w, m, STATS_DROP_link_group);
		else
			classify_ipv4(w, port_idx, m);
		break;
	case RTE_BE16(RTE_ETHER_TYPE_IPV6):
		if (is_group && !is_neighbour_discovery(m))
			path_drop(w, m, STATS_DROP_link_group);
		else
			classify_ipv6(w, port_idx, m);
		break;
	case RTE_BE16(RTE_ETHER_TYPE_ARP):
		punt_neigh_frame(w, port_idx, m);
		break;
	default:
		path_drop(w, m, STATS_DROP_unknown_ethertype);
	}
}

void path_classify_burst(
	struct path_worker *w, uint16_t port_idx, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		rte_prefetch0(rte_pktmbuf_mtod(pkts[i], void *));
		rte_prefetch0(path_meta(pkts[i]));
	}
	for (uint16_t i = 0; i < n; i++) {
		struct path_meta *meta = path_meta(pkts[i]);

		meta->is_originated = meta->is_hairpin = meta->is_error = false;
		meta->is_exempt = meta->is_fragment = false;
		meta->via = PATH_VIA_NONE;
		meta->probe = 0;
		classify(w, port_idx, pkts[i]);
	}
}
