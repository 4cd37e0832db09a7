/* v6.c - IPv6 inside the tunnel: routed, not translated, and closed unless the peer began.
 *
 * Spec: RFC 6092 (simple security), RFC 4890 (which ICMPv6 may pass), RFC 8200.
 */
#define PATH_MARK(stage)
#include "path/turn.h"

/* Both directions have the same key: inner is the peer's end. Protocols without ports have 0. */
static void v6_key(struct rte_mbuf *m, const struct nat_icmp_error *quote, bool is_out,
	struct flow_v6_key *out)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct nat_view *v = &path_meta(m)->view;
	struct flow_v6_key key = {.proto = v->proto};
	uint16_t src_port = v->src_port, dst_port = v->dst_port;
	struct ip_addr src = ip_from_v6(ip + 8), dst = ip_from_v6(ip + 24);

	/* What is quoted went the other way. */
	if (quote) {
		key.proto = quote->inner_proto;
		src = quote->inner_dst;
		dst = quote->inner_src;
		src_port = quote->inner_dst_port;
		dst_port = quote->inner_src_port;
	}
	key.inner = is_out ? src : dst;
	key.remote = is_out ? dst : src;
	key.inner_port = is_out ? src_port : dst_port;
	key.remote_port = is_out ? dst_port : src_port;
	if (key.proto == NAT_PROTO_ICMPV6)
		key.remote_port = 0;
	*out = key;
}

/* The pinhole at the peer's end; NULL: none is open, or it is another peer's: an ICMP error may
 * quote anything. */
struct door *path_v6_door(const struct path *p, const struct flow_v6_key *key, uint32_t peer_idx)
{
	struct door_v6_key door_key = {
		.port_be16 = rte_cpu_to_be_16(key->inner_port), .proto = key->proto};
	struct door *door;

	memcpy(door_key.addr, key->inner.bytes, sizeof(door_key.addr));
	door = doors_lookup_v6(p->params.doors, &door_key);
	return door && door->peer_idx == peer_idx ? door : NULL;
}

/* The same of a session. */
static struct flow_session *own(struct flow_session *s, uint32_t peer_idx)
{
	return s && s->peer_idx == peer_idx ? s : NULL;
}

/* True: it is a TCP segment with a SYN. */
static bool clamp(struct path_worker *w, struct rte_mbuf *m)
{
	if (likely(!(path_tcp_flags(m) & FLOW_TCP_SYN)))
		return false;
	if (w->path->mss6)
		nat_mss_clamp(rte_pktmbuf_mtod(m, uint8_t *), &path_meta(m)->view, w->path->mss6);
	return true;
}

/* The session that leads a packet of the peer; NULL: it ended here. */
static struct flow_session *begin(
	struct path_worker *w, struct rte_mbuf *m, const struct flow_v6_key *key)
{
	uint32_t peer_idx = path_meta(m)->peer_idx;
	const struct peer_view *view = peer_view(w->path->params.peers, peer_idx);
	enum flow_verdict verdict;
	struct flow_session *s;

	if (path_meta(m)->is_error || !view) {
		path_drop(w, m, view ? STATS_DROP_icmp_error_stray : STATS_DROP_peer_gone);
		return NULL;
	}
	verdict = flow_begin_v6(
		w->flows, peer_idx, key, path_tcp_flags(m), &view->limits, w->now_ns, &s);
	if (verdict == FLOW_OK)
		return s;
	path_refuse_beginning(w, m, verdict);
	return NULL;
}

static void count_out(struct path_worker *w, struct rte_mbuf *m, struct door *door,
	const struct nat_icmp_error *quote)
{
	if (unlikely(quote || path_tcp_flags(m) & FLOW_TCP_RST))
		path_failure_look(w, m, door, quote);
	door->counters.out_pkts++;
	door->counters.out_bytes += path_meta(m)->view.total_len;
	path_door_used(w, door);
}

void path_v6_out(struct path_worker *w, struct rte_mbuf *m)
{
	struct nat_icmp_error room;
	const struct nat_icmp_error *quote = path_quote_of(m, &room);
	struct flow_v6_key key;
	struct flow_session *s;
	struct door *door = NULL;

	v6_key(m, quote, true, &key);
	flow_find_v6_burst(w->flows, &key, 1, &s);
	s = own(s, path_meta(m)->peer_idx);
	if (!s)
		door = path_v6_door(w->path, &key, path_meta(m)->peer_idx);
	if (!s && !door)
		s = begin(w, m, &key);
	if (!s && !door)
		return;
	if (!path_may_leave(w, m))
		return;
	clamp(w, m);
	if (door)
		count_out(w, m, door, quote);
	else if (!quote)
		flow_sent(w->flows, s, path_tcp_flags(m), w->now_ns);
	w->stats.counter[STATS_routed_out]++;
	path_to_public(w, m);
}

/* By what the packet may come in: a session of the peer's, or a pinhole. False: it ended here. */
static bool find_way(struct path_worker *w, struct rte_mbuf *m, struct flow_session *s,
	const struct flow_v6_key *key)
{
	struct path_meta *meta = path_meta(m);
	struct door_terms *terms;
	struct door *door;

	s = own(s, meta->peer_idx);
	if (s) {
		meta->via = PATH_VIA_SESSION;
		meta->session = s;
		meta->generation = s->serial;
		return true;
	}
	door = path_v6_door(w->path, key, meta->peer_idx);
	if (!door) {
		path_drop(
			w, m, meta->is_error ? STATS_DROP_icmp_error_stray : STATS_DROP_no_session);
		return false;
	}
	meta->via = PATH_VIA_DOOR;
	meta->door = door;
	meta->generation = atomic_load_explicit(&door->generation, memory_order_acquire);
	terms = door_terms_of(door);
	return likely(terms == NULL) || path_door_asks(w, m, door, terms, &key->remote);
}

static bool admit(struct path_worker *w, struct rte_mbuf *m, struct flow_session *s,
	const struct flow_v6_key *key)
{
	struct path_meta *meta = path_meta(m);
	bool is_looked_at;

	if (!find_way(w, m, s, key) || !path_may_enter(w, m))
		return false;
	is_looked_at = clamp(w, m);
	if (unlikely(meta->probe))
		return true;
	if (meta->via == PATH_VIA_DOOR) {
		/* Its flows are led by the door alone: they end with it. */
		meta->door->counters.in_pkts++;
		meta->door->counters.in_bytes += meta->view.total_len;
		is_looked_at |= path_door_used(w, meta->door);
		if (unlikely(is_looked_at))
			path_door_note(w, m, meta->door, &key->remote);
	} else if (!meta->is_error) {
		flow_received(w->flows, s, path_tcp_flags(m), w->now_ns);
	}
	return true;
}

/* n is not 0. */
static void find_sessions(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n,
	struct flow_v6_key *keys, struct flow_session **out)
{
	struct nat_icmp_error room;
	uint16_t i = 0;

	do
		v6_key(pkts[i], path_quote_of(pkts[i], &room), false, &keys[i]);
	while (++i < n);
	flow_find_v6_burst(w->flows, keys, n, out);
}

uint16_t path_v6_in_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	struct flow_v6_key keys[PATH_BURST];
	struct flow_session *sessions[PATH_BURST];
	uint16_t kept = 0;

	if (n == 0)
		return 0;
	find_sessions(w, pkts, n, keys, sessions);
	for (uint16_t i = 0; i < n; i++)
		if (admit(w, pkts[i], sessions[i], &keys[i]))
			pkts[kept++] = pkts[i];
	path_door_notes_flush(w);
	w->stats.counter[STATS_routed_in] += kept;
	return kept;
}

void path_v6_in(struct path_worker *w, struct rte_mbuf *m)
{
	if (w->admitting6.n == PATH_BURST)
		run_knocking6(w);
	w->admitting6.pkts[w->admitting6.n++] = m;
}
