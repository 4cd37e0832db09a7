/* fragment.c - fragments get the ports of their first fragment, and then go on like any packet.
 *
 * Nothing is put together (frag/frag.h). A peer's fragments come to its home worker anyway; those
 * from the Internet may come by any queue, so that the worker that collects a datagram is chosen by
 * its addresses and identification.
 *
 * Spec: RFC 4787 REQ-14, RFC 6864 (a datagram that leaves has an identification of ours).
 */
#include "path/worker.h"

static void drop_held(struct path_worker *w, void *const *pkts, unsigned n, enum stats_drop reason)
{
	w->stats.counter[STATS_holding] -= n;
	for (unsigned i = 0; i < n; i++)
		path_drop(w, pkts[i], reason);
}

static enum stats_drop reason_of(enum frag_verdict verdict)
{
	switch (verdict) {
	case FRAG_DUPLICATE:
	case FRAG_OVERLAP:
		return STATS_DROP_fragment_overlap;
	default:
		return STATS_DROP_fragment_quota;
	}
}

/* False: it ended here. */
static bool parse(struct path_worker *w, struct rte_mbuf *m, struct nat_fragment *out)
{
	struct nat_view *v = &path_meta(m)->view;

	switch (nat_fragment_parse(rte_pktmbuf_mtod(m, const uint8_t *), v, out)) {
	case NAT_OK:
	case NAT_FRAGMENT:
		return true;
	case NAT_OTHER_PROTO:
		if (v->version == 6 && v->proto != NAT_PROTO_ICMPV6)
			return true;
		path_drop(w, m, STATS_DROP_fragment_protocol);
		return false;
	case NAT_TINY_FRAGMENT:
		path_drop(w, m, STATS_DROP_fragment_tiny);
		return false;
	default:
		path_drop(w, m, STATS_DROP_bad_ip_header);
		return false;
	}
}

static void adopt(struct rte_mbuf *m, const struct frag_out *out)
{
	struct path_meta *meta = path_meta(m);

	meta->is_fragment = true;
	meta->view.proto = out->proto;
	meta->view.icmp_type = out->icmp_type;
	meta->view.src_port = out->src_port;
	meta->view.dst_port = out->dst_port;
}

/* True: m goes on, and what *out releases behind it. */
static bool collect(struct path_worker *w, struct frag_table *t, struct rte_mbuf *m, uint32_t owner,
	uint32_t target, const struct nat_fragment *fragment, struct frag_out *out)
{
	struct frag_in in = {
		.ip = rte_pktmbuf_mtod(m, const uint8_t *),
		.view = &path_meta(m)->view,
		.fragment = fragment,
		.pkt = m,
		.owner = owner,
		.target = target,
		.new_id = path_datagram_id(w),
	};
	enum frag_verdict verdict = frag_input(t, &in, w->now_ns, out);
	bool makes_room = verdict == FRAG_PASS || verdict == FRAG_HELD;

	drop_held(w, out->dropped, out->n_dropped,
		makes_room ? STATS_DROP_fragment_quota : reason_of(verdict));
	if (verdict == FRAG_HELD)
		w->stats.counter[STATS_holding]++;
	else if (verdict != FRAG_PASS)
		path_drop(w, m, reason_of(verdict));
	if (verdict != FRAG_PASS)
		return false;
	w->stats.counter[STATS_holding] -= out->n_released;
	adopt(m, out);
	for (unsigned i = 0; i < out->n_released; i++)
		adopt(out->released[i], out);
	return true;
}

/* --- from peers --- */

static void leave(struct path_worker *w, struct rte_mbuf *m, uint16_t id)
{
	nat_set_ip_id(rte_pktmbuf_mtod(m, uint8_t *), &path_meta(m)->view, id);
	if (path_inner_led(w, m))
		path_snat_burst(w, &m, 1);
}

void path_fragment_peer(struct path_worker *w, struct rte_mbuf *m)
{
	struct nat_fragment fragment;
	struct frag_out out;

	if (!parse(w, m, &fragment) || !collect(w, w->frags_out, m, path_meta(m)->peer_idx,
					       FRAG_TARGET_NONE, &fragment, &out))
		return;
	leave(w, m, out.new_id);
	for (unsigned i = 0; i < out.n_released; i++)
		leave(w, out.released[i], out.new_id);
}

/* --- from the Internet --- */

uint32_t path_fragment_owner(const struct path *p, struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t sum;

	/* Addresses, and of IPv4 the identification: the same in all fragments of a datagram. */
	if (path_meta(m)->view.version == 4)
		sum = load_be32(ip + 12) ^ load_be32(ip + 16) ^ load_be16(ip + 4);
	else
		sum = load_be32(ip + 20) ^ load_be32(ip + 36);
	return (sum ^ sum >> 16 ^ sum >> 8) % p->params.n_workers;
}

/* Only those that somebody waits for may take room: the port of a first fragment must be a door's
 * or a peer's. False: nobody. The target is told as soon as it is known. */
static bool is_awaited(
	const struct path *p, struct rte_mbuf *m, const struct nat_fragment *f, uint32_t *target)
{
	const struct path_meta *meta = path_meta(m);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct door_public_key key;
	struct door *door;

	*target = FRAG_TARGET_NONE;
	if (meta->view.version == 6 || meta->is_exempt) {
		*target = meta->peer_idx;
		return true;
	}
	if (!f->is_first)
		return true;
	door_public_key_set(&key, ip + 16, meta->view.dst_port, meta->view.proto);
	door = doors_lookup_public(p->params.doors, &key);
	if (!door)
		door = doors_lookup_whole(p->params.doors, ip + 16);
	*target = door ? door->peer_idx
		       : blocks_owner(p->blocks, load_be32(ip + 16), meta->view.dst_port);
	return *target != BLOCKS_NONE;
}

static void enter(struct path_worker *w, struct rte_mbuf *m)
{
	if (path_meta(m)->view.version == 4)
		path_knock(w, m);
	else
		path_v6_in(w, m);
}

void path_fragment_collect(struct path_worker *w, struct rte_mbuf *m)
{
	struct nat_fragment fragment;
	struct frag_out out;
	uint32_t target;

	if (!parse(w, m, &fragment))
		return;
	if (!is_awaited(w->path, m, &fragment, &target)) {
		path_drop(w, m, STATS_DROP_no_lease);
		return;
	}
	if (!collect(w, w->frags_in, m, FRAG_OWNER_NONE, target, &fragment, &out))
		return;
	enter(w, m);
	for (unsigned i = 0; i < out.n_released; i++)
		enter(w, out.released[i]);
}

void path_fragment_public(struct path_worker *w, struct rte_mbuf *m)
{
	if (path_dispatch_burst(w, PATH_STAGE_FRAGMENT, &m, 1))
		path_fragment_collect(w, m);
}

static void expire(struct path_worker *w, struct frag_table *t)
{
	void *pkts[FRAG_HELD_MAX];
	unsigned n = frag_expire(t, w->now_ns, pkts, FRAG_HELD_MAX);

	drop_held(w, pkts, n, STATS_DROP_fragment_expired);
}

void path_fragments_turn(struct path_worker *w)
{
	expire(w, w->frags_in);
	expire(w, w->frags_out);
}
