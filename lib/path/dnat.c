/* dnat.c - to the peer, on its home worker: through a door or back along a session. Filter,
 * rewrite, count.
 */
#include <rte_prefetch.h>

#include "path/worker.h"

/* Who is at the far end: of what an ICMP error quotes, not the router that sent it. */
static struct ip_addr far_end(const uint8_t *ip, const struct nat_icmp_error *quote)
{
	return quote ? quote->inner_dst : ip_from_v4(ip + 12);
}

bool path_may_enter(struct path_worker *w, struct rte_mbuf *m)
{
	const struct path_meta *meta = path_meta(m);
	uint16_t mtu_bytes = w->path->inner_mtu_bytes;

	if (!path_fits(m, mtu_bytes)) {
		path_refuse_public(w, m, STATS_DROP_too_big, mtu_bytes);
		return false;
	}
	if (!meta->is_hairpin && !nat_hop(rte_pktmbuf_mtod(m, uint8_t *), &meta->view)) {
		path_refuse_public(w, m, STATS_DROP_ttl_expired, 0);
		return false;
	}
	return true;
}

static void note(struct path_worker *w, struct rte_mbuf *m, struct door *door)
{
	struct ip_addr src = far_end(rte_pktmbuf_mtod(m, const uint8_t *), NULL);

	path_door_note(w, m, door, &src);
}

/* What only the ends of a connection's beginning have. Not inlined: other packets are many more. */
static __rte_noinline void take_syn(struct path_worker *w, struct rte_mbuf *m, struct door *door)
{
	if (w->path->mss4)
		nat_mss_clamp(rte_pktmbuf_mtod(m, uint8_t *), &path_meta(m)->view, w->path->mss4);
	if (door && !path_meta(m)->probe)
		note(w, m, door);
}

/* door: NULL for a session. */
static void rewrite(struct path_worker *w, struct rte_mbuf *m, const struct nat_icmp_error *quote,
	const uint8_t inner_v4[static 4], uint16_t inner_port, struct door *door)
{
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	const struct nat_view *v = &path_meta(m)->view;

	if (unlikely(quote)) {
		nat_icmp_error_rewrite_inner_src(ip, v, quote, inner_v4, inner_port);
		nat_rewrite_dst(ip, v, inner_v4, 0);
		w->stats.counter[STATS_errors_translated]++;
		return;
	}
	if (unlikely(path_tcp_flags(m) & FLOW_TCP_SYN))
		take_syn(w, m, door);
	nat_rewrite_dst(ip, v, inner_v4, inner_port);
}

static bool by_door(struct path_worker *w, struct rte_mbuf *m, const struct nat_icmp_error *quote)
{
	struct path_meta *meta = path_meta(m);
	struct door *door = meta->door;
	uint16_t port = quote ? quote->inner_src_port : meta->view.dst_port;
	struct door_terms *terms;

	if (!door_is(door, meta->generation)) {
		path_drop(w, m, STATS_DROP_lease_closed);
		return false;
	}
	terms = door_terms_of(door);
	if (unlikely(terms != NULL)) {
		struct ip_addr src = far_end(rte_pktmbuf_mtod(m, const uint8_t *), quote);

		if (!path_door_asks(w, m, door, terms, &src))
			return false;
	}
	if (!path_may_enter(w, m))
		return false;
	rewrite(w, m, quote, door->inner_v4, door_inner_port_of(door, port), door);
	if (unlikely(meta->probe))
		return true;
	door->counters.in_pkts++;
	door->counters.in_bytes += meta->view.total_len;
	if (likely(!quote) && path_door_used(w, door))
		note(w, m, door);
	return true;
}

/* A packet that no session leads: what its mapping's filter says. NULL: it ended here. */
static struct flow_session *begin(
	struct path_worker *w, struct rte_mbuf *m, const struct flow_in_key *key)
{
	const struct path_meta *meta = path_meta(m);
	const struct peer_view *view = peer_view(w->path->params.peers, meta->peer_idx);
	struct flow_session *s;
	enum flow_verdict verdict = FLOW_REFUSED;

	if (meta->is_error) {
		path_drop(w, m, STATS_DROP_icmp_error_stray);
		return NULL;
	}
	if (view)
		verdict = flow_begin_in(
			w->flows, key, path_tcp_flags(m), &view->limits, w->now_ns, &s);
	if (verdict == FLOW_OK)
		return s;
	path_drop(w, m, path_flow_reason(verdict));
	return NULL;
}

static bool by_session(struct path_worker *w, struct rte_mbuf *m, struct flow_session *s,
	const struct nat_icmp_error *quote)
{
	struct path_meta *meta = path_meta(m);
	uint8_t inner_v4[4];

	meta->via = PATH_VIA_SESSION;
	meta->session = s;
	meta->generation = s->serial;
	if (!path_may_enter(w, m))
		return false;
	if (likely(!quote))
		flow_received(w->flows, s, path_tcp_flags(m), w->now_ns);
	store_be32(inner_v4, s->inner_v4);
	if (likely(!s->is_exempt))
		rewrite(w, m, quote, inner_v4, s->inner_port, NULL);
	return true;
}

/* From where the packet comes, to which public port: of an ICMP error, of what it quotes. */
static struct flow_in_key in_key(struct rte_mbuf *m, const struct nat_icmp_error *quote)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct nat_view *v = &path_meta(m)->view;

	if (unlikely(quote))
		return (struct flow_in_key){
			.public_v4 = load_be32(ip_v4_bytes(&quote->inner_src)),
			.remote_v4 = load_be32(ip_v4_bytes(&quote->inner_dst)),
			.public_port = quote->inner_src_port,
			.remote_port =
				quote->inner_proto == NAT_PROTO_ICMP ? 0 : quote->inner_dst_port,
			.proto = quote->inner_proto,
		};
	return (struct flow_in_key){
		.public_v4 = load_be32(ip + 16),
		.remote_v4 = load_be32(ip + 12),
		.public_port = v->dst_port,
		.remote_port = v->proto == NAT_PROTO_ICMP ? 0 : v->src_port,
		.proto = v->proto,
	};
}

uint16_t path_dnat_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	struct flow_in_key keys[PATH_BURST];
	struct flow_session *sessions[PATH_BURST];
	struct nat_icmp_error room;
	uint16_t n_keys = 0, at = 0, kept = 0;

	for (uint16_t i = 0; i < n; i++)
		if (path_meta(pkts[i])->via == PATH_VIA_NONE)
			keys[n_keys++] = in_key(pkts[i], path_quote_of(pkts[i], &room));
		else
			rte_prefetch0(&path_meta(pkts[i])->door->counters);
	if (n_keys)
		flow_find_in_burst(w->flows, keys, n_keys, sessions);

	for (uint16_t i = 0; i < n; i++) {
		const struct nat_icmp_error *quote = path_quote_of(pkts[i], &room);
		bool is_admitted;

		if (path_meta(pkts[i])->via == PATH_VIA_DOOR) {
			is_admitted = by_door(w, pkts[i], quote);
		} else {
			struct flow_session *s = sessions[at];

			if (!s)
				s = begin(w, pkts[i], &keys[at]);
			at++;
			is_admitted = s && by_session(w, pkts[i], s, quote);
		}
		if (is_admitted)
			pkts[kept++] = pkts[i];
	}
	path_door_notes_flush(w);
	w->stats.counter[STATS_translated_in] += kept;
	return kept;
}
