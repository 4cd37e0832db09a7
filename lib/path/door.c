/* door.c - from the Internet: is there a lease at this address, port and protocol? If not, whose
 * port is it? If nobody's, who has the whole address?
 */
#define PATH_MARK(stage)
#include "path/turn.h"

/* Peers believe what lies inside the tunnel, the gateway's services and each other: nobody outside
 * speaks for them. */
bool path_is_inner_v4(const struct path *p, uint32_t src)
{
	return path_addrs_has_v4(&p->inner, src) ||
	       peer_find_inner_v4(p->params.peers, src) != PEER_NONE;
}

/* What the packet knocks at: of an ICMP error, where the packet that it quotes came from. */
static void public_key(struct rte_mbuf *m, struct door_public_key *key)
{
	const struct nat_view *v = &path_meta(m)->view;
	struct nat_icmp_error quote;

	if (likely(!path_meta(m)->is_error))
		door_public_key_set(key, rte_pktmbuf_mtod_offset(m, const uint8_t *, 16),
			v->dst_port, v->proto);
	else if (path_quote(m, &quote) && ip_is_v4(&quote.inner_src))
		door_public_key_set(key, ip_v4_bytes(&quote.inner_src), quote.inner_src_port,
			quote.inner_proto);
	else
		*key = (struct door_public_key){0};
}

/* The peer whose port it is, or that has the inner address. */
static uint32_t find_owner(
	const struct path *p, struct rte_mbuf *m, const struct door_public_key *key)
{
	if (unlikely(path_meta(m)->is_exempt))
		return path_meta(m)->peer_idx;
	return blocks_owner(p->blocks, load_be32(key->addr_v4), rte_be_to_cpu_16(key->port_be16));
}

uint16_t path_door_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n)
{
	struct door_public_key keys[PATH_BURST];
	struct door *doors[PATH_BURST];
	uint16_t kept = 0, n_doors = 0, n_keys = 0;

	if (n == 0)
		return 0;
	/* Of what a loop that may not begin leaves unset, gcc warns. */
	do
		public_key(pkts[n_keys], &keys[n_keys]);
	while (++n_keys < n);
	doors_lookup_public_bulk(w->path->params.doors, keys, n, doors);

	for (uint16_t i = 0; i < n; i++) {
		struct path_meta *meta = path_meta(pkts[i]);
		bool is_led = false;

		meta->via = PATH_VIA_NONE;
		if (!doors[i]) {
			meta->peer_idx = find_owner(w->path, pkts[i], &keys[i]);
			is_led = meta->peer_idx != PEER_NONE;
			if (!is_led)
				doors[i] =
					doors_lookup_whole(w->path->params.doors, keys[i].addr_v4);
		}
		if (doors[i]) {
			meta->generation =
				atomic_load_explicit(&doors[i]->generation, memory_order_acquire);
			meta->door = doors[i];
			meta->via = PATH_VIA_DOOR;
			meta->peer_idx = doors[i]->peer_idx;
			is_led = meta->generation & 1;
		}
		if (!is_led) {
			path_drop(w, pkts[i],
				path_service_is_request(&meta->view) ? STATS_DROP_portmap_outside
								     : STATS_DROP_no_lease);
		} else if (!meta->is_hairpin && !meta->is_originated &&
			   path_is_inner_v4(w->path, load_be32(rte_pktmbuf_mtod_offset(
							     pkts[i], const uint8_t *, 12)))) {
			path_drop(w, pkts[i], STATS_DROP_martian_source);
		} else {
			n_doors += doors[i] != NULL;
			pkts[kept++] = pkts[i];
		}
	}
	w->stats.counter[STATS_door_found] += n_doors;
	w->stats.counter[STATS_port_found] += kept - n_doors;
	return kept;
}

enum stats_drop path_door_reason(enum door_verdict verdict)
{
	static const enum stats_drop reasons[] = {
		[DOOR_REFUSES_SOURCE] = STATS_DROP_lease_source,
		[DOOR_REFUSES_RATE] = STATS_DROP_lease_rate,
		[DOOR_REFUSES_FLOW] = STATS_DROP_lease_flows,
	};

	return reasons[verdict];
}

struct door_knock path_door_knock(
	const struct ip_addr *src, const struct nat_view *v, uint8_t tcp_flags, bool is_error)
{
	return (struct door_knock){
		.src = *src,
		.src_port = v->src_port,
		.is_tcp = v->proto == NAT_PROTO_TCP,
		.is_beginning = (tcp_flags & (FLOW_TCP_SYN | FLOW_TCP_ACK)) == FLOW_TCP_SYN,
		.is_error = is_error,
	};
}

static struct door_knock knock_of(struct rte_mbuf *m, const struct ip_addr *src)
{
	const struct path_meta *meta = path_meta(m);

	return path_door_knock(src, &meta->view, path_tcp_flags(m), meta->is_error);
}

static void see(struct path_worker *w, struct door *door, const struct door_knock *knock)
{
	if (w->sights.n == PATH_BURST)
		path_door_notes_flush(w);
	if (doors_see(w->path->params.doors, w->idx, door, knock, &w->sights.of[w->sights.n]))
		w->sights.n++;
	else
		w->stats.counter[STATS_lease_unseen]++;
}

void path_door_note(
	struct path_worker *w, struct rte_mbuf *m, struct door *door, const struct ip_addr *src)
{
	struct door_knock knock = knock_of(m, src);

	/* Of TCP only a beginning tells of a new flow: what is in its midst was one once. */
	if (!knock.is_error && (!knock.is_tcp || knock.is_beginning))
		see(w, door, &knock);
}

void path_door_notes_flush(struct path_worker *w)
{
	for (uint16_t i = 0; i < w->sights.n; i++)
		w->stats.counter[STATS_lease_flows] += door_note(&w->sights.of[i], w->now_ns);
	w->sights.n = 0;
}

bool path_door_asks(struct path_worker *w, struct rte_mbuf *m, struct door *door,
	struct door_terms *terms, const struct ip_addr *src)
{
	struct doors *doors = w->path->params.doors;
	struct door_knock knock = knock_of(m, src);
	/* A probe leaves no trace in the buckets. */
	enum door_verdict verdict = likely(!path_meta(m)->probe)
					    ? doors_ask(doors, terms, &knock, w->now_ns)
					    : doors_peek(doors, terms, &knock, w->now_ns);

	if (unlikely(path_meta(m)->probe)) {
		if (verdict != DOOR_ADMITS)
			path_drop(w, m, path_door_reason(verdict));
		return verdict == DOOR_ADMITS;
	}
	if (verdict == DOOR_ADMITS) {
		if (door_terms_need_flow(terms, &knock))
			see(w, door, &knock);
		return true;
	}
	if (verdict == DOOR_REFUSES_SOURCE)
		door->counters.refused_pkts++;
	else
		door->counters.limited_pkts++;
	if (!knock.is_error && !doors_note_refused(doors, w->idx, door, &knock))
		w->stats.counter[STATS_lease_unseen]++;
	path_drop(w, m, path_door_reason(verdict));
	return false;
}

void path_knock(struct path_worker *w, struct rte_mbuf *m)
{
	if (w->knocking.n == PATH_BURST)
		run_knocking(w);
	w->knocking.pkts[w->knocking.n++] = m;
}
