/* snat.c - to the Internet: by the session that is there, else by a lease, else by a new session.
 * Public source address and port.
 *
 * A session comes before a lease, so that opening a lease leaves what is under way as it is. The
 * source port is the peer's own on an address only that the peer has whole.
 */
#include <rte_prefetch.h>

#include "path/worker.h"

static_assert(PATH_BURST <= TABLE_BULK_MAX, "a burst is looked up at once");

enum stats_drop path_flow_reason(enum flow_verdict verdict)
{
	switch (verdict) {
	case FLOW_NO_PORT:
		return STATS_DROP_nat_no_port;
	case FLOW_TOO_MANY:
		return STATS_DROP_nat_too_many;
	case FLOW_TOO_FAST:
		return STATS_DROP_nat_too_fast;
	case FLOW_TABLE_FULL:
		return STATS_DROP_nat_table_full;
	case FLOW_NOT_A_BEGINNING:
		return STATS_DROP_nat_no_beginning;
	default:
		return STATS_DROP_no_session;
	}
}

void path_refuse_beginning(struct path_worker *w, struct rte_mbuf *m, enum flow_verdict verdict)
{
	enum stats_drop reason = path_flow_reason(verdict);

	/* A stray TCP segment is no request that could be told about. */
	if (verdict == FLOW_NOT_A_BEGINNING)
		path_drop(w, m, reason);
	else
		path_refuse_peer(w, m, reason, 0);
}

static void quoted_key(const struct nat_icmp_error *quote, struct flow_out_key *key)
{
	key->inner_v4 = load_be32(ip_v4_bytes(&quote->inner_dst));
	key->remote_v4 = load_be32(ip_v4_bytes(&quote->inner_src));
	key->inner_port = quote->inner_dst_port;
	key->remote_port = quote->inner_proto == NAT_PROTO_ICMP ? 0 : quote->inner_src_port;
	key->proto = quote->inner_proto;
}

/* From which inner port, to where: of an ICMP error, of what it quotes. Field by field: wide loads
 * of a copy wait for the narrow stores that made it, 15 cycles a packet. */
static void out_key(struct rte_mbuf *m, struct flow_out_key *key)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct path_meta *meta = path_meta(m);
	const struct nat_view *v = &meta->view;
	struct nat_icmp_error room;
	const struct nat_icmp_error *quote = path_quote_of(m, &room);

	key->peer_idx = meta->peer_idx;
	memset(key->zero, 0, sizeof(key->zero));
	if (unlikely(quote)) {
		quoted_key(quote, key);
		return;
	}
	key->inner_v4 = load_be32(ip + 12);
	key->remote_v4 = load_be32(ip + 16);
	key->inner_port = v->src_port;
	key->remote_port = v->proto == NAT_PROTO_ICMP ? 0 : v->dst_port;
	key->proto = v->proto;
}

static void find_sessions(struct path_worker *w, struct rte_mbuf **pkts,
	const struct flow_out_key *keys, uint16_t n, struct flow_session **out)
{
	struct flow_out_key wanted[PATH_BURST];
	struct flow_session *found[PATH_BURST];
	uint16_t at[PATH_BURST], n_wanted = 0;

	for (uint16_t i = 0; i < n; i++) {
		out[i] = NULL;
		if (flow_peer_sessions(w->flows, path_meta(pkts[i])->peer_idx) == 0)
			continue;
		at[n_wanted] = i;
		wanted[n_wanted++] = keys[i];
	}
	if (n_wanted == 0)
		return;
	flow_find_out_burst(w->flows, wanted, n_wanted, found);
	for (uint16_t i = 0; i < n_wanted; i++)
		out[at[i]] = found[i];
}

/* Who has a whole address leaves by it, with its own source ports: there is nobody else on it whom
 * they could hit. What is exempt from translation stays so. */
struct door *path_whole_door(const struct path *p, const struct flow_out_key *key)
{
	uint8_t inner_v4[4];
	struct door *door;

	store_be32(inner_v4, key->inner_v4);
	door = doors_lookup_whole_of(p->params.doors, key->peer_idx, inner_v4);
	/* Last: most who come here have none, and the list is walked. */
	return door && !path_prefixes_have(p->exempt, p->n_exempt, key->remote_v4) ? door : NULL;
}

/* Only where there is no session, and the peer has a lease at all. */
static void find_doors(struct path_worker *w, const struct flow_out_key *keys, uint16_t n,
	struct flow_session *const *sessions, struct door **out)
{
	const struct doors *doors = w->path->params.doors;
	struct door_inner_key wanted[PATH_BURST];
	struct door *found[PATH_BURST];
	uint16_t at[PATH_BURST], n_wanted = 0;

	for (uint16_t i = 0; i < n; i++) {
		out[i] = NULL;
		if (sessions[i] || !doors_peer_has(doors, keys[i].peer_idx))
			continue;
		at[n_wanted] = i;
		wanted[n_wanted] = (struct door_inner_key){
			.peer_idx = keys[i].peer_idx,
			.port_be16 = rte_cpu_to_be_16(keys[i].inner_port),
			.proto = keys[i].proto,
		};
		store_be32(wanted[n_wanted].addr_v4, keys[i].inner_v4);
		n_wanted++;
	}
	if (n_wanted == 0)
		return;
	doors_lookup_inner_bulk(doors, wanted, n_wanted, found);
	for (uint16_t i = 0; i < n_wanted; i++) {
		out[at[i]] = found[i] ? found[i] : path_whole_door(w->path, &keys[at[i]]);
		if (out[at[i]])
			rte_prefetch0(&out[at[i]]->counters);
	}
}

/* NULL: the packet ended here, and the peer was told. */
static struct flow_session *begin(
	struct path_worker *w, struct rte_mbuf *m, const struct flow_out_key *key)
{
	const struct path *p = w->path;
	const struct peer_view *view = peer_view(p->params.peers, key->peer_idx);
	struct flow_session *s;
	uint32_t public_v4 = peer_public(p->params.peers, key->peer_idx);
	enum flow_verdict verdict;

	if (path_meta(m)->is_error || !view) {
		path_drop(w, m, view ? STATS_DROP_icmp_error_stray : STATS_DROP_peer_gone);
		return NULL;
	}
	if (path_prefixes_have(p->exempt, p->n_exempt, key->remote_v4))
		verdict = flow_begin_exempt(
			w->flows, key, path_tcp_flags(m), &view->limits, w->now_ns, &s);
	else
		verdict = flow_begin_out(
			w->flows, key, public_v4, path_tcp_flags(m), &view->limits, w->now_ns, &s);
	if (verdict == FLOW_OK)
		return s;
	path_refuse_beginning(w, m, verdict);
	return NULL;
}

inline bool path_may_leave(struct path_worker *w, struct rte_mbuf *m)
{
	const struct path *p = w->path;
	uint16_t mtu_bytes = p->ports[p->public_idx].mtu_bytes;

	if (!path_fits(m, mtu_bytes)) {
		path_refuse_peer(w, m, STATS_DROP_too_big, mtu_bytes);
		return false;
	}
	if (!nat_hop(rte_pktmbuf_mtod(m, uint8_t *), &path_meta(m)->view)) {
		path_refuse_peer(w, m, STATS_DROP_ttl_expired, 0);
		return false;
	}
	return true;
}

/* What only the ends of a connection have. Not inlined: other packets are many more. */
static __rte_noinline void take_end(
	struct path_worker *w, struct rte_mbuf *m, const struct door *door)
{
	if (path_tcp_flags(m) & FLOW_TCP_SYN && w->path->mss4)
		nat_mss_clamp(rte_pktmbuf_mtod(m, uint8_t *), &path_meta(m)->view, w->path->mss4);
	if (path_tcp_flags(m) & FLOW_TCP_RST && door)
		path_failure_look(w, m, door, NULL);
}

/* door: NULL for a session. */
static void rewrite(struct path_worker *w, struct rte_mbuf *m, const struct nat_icmp_error *quote,
	const uint8_t public_v4[static 4], uint16_t public_port, const struct door *door)
{
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	struct nat_view *v = &path_meta(m)->view;

	if (unlikely(quote)) {
		if (door)
			path_failure_look(w, m, door, quote);
		nat_icmp_error_rewrite_inner_dst(ip, v, quote, public_v4, public_port);
		nat_rewrite_src(ip, v, public_v4, 0);
		w->stats.counter[STATS_errors_translated]++;
		return;
	}
	if (unlikely(path_tcp_flags(m) & (FLOW_TCP_SYN | FLOW_TCP_RST)))
		take_end(w, m, door);
	nat_rewrite_src(ip, v, public_v4, public_port);
	/* Should it turn round, it is looked up by these. */
	v->src_port = public_port;
	if (v->proto == NAT_PROTO_ICMP)
		v->dst_port = public_port;
}

static bool translate(
	struct path_worker *w, struct rte_mbuf *m, struct flow_session *s, struct door *door)
{
	const struct nat_view *v = &path_meta(m)->view;
	struct nat_icmp_error room;
	const struct nat_icmp_error *quote = path_quote_of(m, &room);
	uint8_t public_v4[4];

	if (!path_may_leave(w, m))
		return false;
	/* Whoever shares the public address may have chosen the same number (RFC 6864, 5.3); a
	 * fragment got that of its datagram when it was collected. */
	if (!v->dont_fragment && !path_meta(m)->is_fragment)
		nat_set_ip_id(rte_pktmbuf_mtod(m, uint8_t *), v, path_datagram_id(w));
	if (door) {
		rewrite(w, m, quote, door->public_v4,
			door_public_port_of(door, quote ? quote->inner_dst_port : v->src_port),
			door);
		door->counters.out_pkts++;
		door->counters.out_bytes += v->total_len;
		path_door_used(w, door);
		return true;
	}
	if (likely(!quote))
		flow_sent(w->flows, s, path_tcp_flags(m), w->now_ns);
	store_be32(public_v4, s->public_v4);
	if (likely(!s->is_exempt))
		rewrite(w, m, quote, public_v4, s->public_port, NULL);
	return true;
}

/* After NAT: out, or in again by another door. */
inline void path_to_public(struct path_worker *w, struct rte_mbuf *m)
{
	const struct path *p = w->path;
	struct path_meta *meta = path_meta(m);
	struct ip_addr to;
	uint32_t dst;

	if (unlikely(meta->view.version == 6)) {
		to = path_destination(m);
		path_route(w, m, (uint16_t)p->public_idx, &to);
		return;
	}
	dst = load_be32(rte_pktmbuf_mtod_offset(m, const uint8_t *, 16));
	if (unlikely(path_is_odd_destination(p, dst) && path_is_pool(p, dst))) {
		meta->is_hairpin = true;
		meta->via = PATH_VIA_NONE;
		w->stats.counter[STATS_hairpinned]++;
		path_knock(w, m);
	} else {
		path_route_v4(w, m, (uint16_t)p->public_idx, dst);
	}
}

void path_snat_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	const struct path *p = w->path;
	uint16_t mtu_bytes = p->ports[p->public_idx].mtu_bytes;
	struct flow_out_key keys[PATH_BURST];
	struct flow_session *sessions[PATH_BURST];
	struct door *doors[PATH_BURST];

	for (uint16_t i = 0; i < n; i++)
		out_key(pkts[i], &keys[i]);
	find_sessions(w, pkts, keys, n, sessions);
	find_doors(w, keys, n, sessions, doors);

	for (uint16_t i = 0; i < n; i++) {
		struct flow_session *s = sessions[i];

		if (!s && !doors[i])
			s = begin(w, pkts[i], &keys[i]);
		if ((!s && !doors[i]) || !translate(w, pkts[i], s, doors[i]))
			continue;
		w->stats.counter[STATS_translated_out]++;
		if (likely(path_meta(pkts[i])->view.total_len <= mtu_bytes))
			path_to_public(w, pkts[i]);
		else
			path_cut(w, pkts[i], mtu_bytes, path_to_public);
	}
}
