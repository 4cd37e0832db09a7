/* service.c - what the gateway serves inside the tunnel by way of control: NAT-PMP and PCP.
 *
 * A request leaves the path as it came, without its headers; the answer comes back to the home of
 * the peer, which puts headers in front of it and seals it.
 *
 * Spec: RFC 6886 (never on a public address), RFC 7723 (anycast addresses of PCP).
 */
#include "path/worker.h"

#define MAIL_BURST 32
/* A peer that has many mappings renews them at once, twice in half of their lifetime: so often that
 * it may ask for each at once, and again when it takes an answer for lost. What a peer sends beyond
 * costs its home a look and control nothing. */
#define REQUEST_INTERVAL_NS (NS_IN_S / 64)
#define REQUEST_BURST_LEAST 256u
#define REQUESTS_PER_LEASE  4u

#define ANYCAST_V4 0xc0000009u /* 192.0.0.9 */

static const struct ip_addr anycast_v6 = {{0x20, 0x01, 0, 1, [15] = 1}}; /* 2001:1::1 */

/* On the gateway's own addresses, on those of anycast, and where the peer guesses its gateway. */
bool path_service_is_at_v4(const struct path *p, uint32_t src, uint32_t dst)
{
	return path_addrs_has_v4(&p->inner, dst) || dst == ANYCAST_V4 ||
	       ((dst & 0xff) == 1 && src >> 8 == dst >> 8);
}

bool path_service_is_at_v6(const struct path *p, const struct ip_addr *dst)
{
	return path_addrs_has_v6(&p->inner, dst) || ip_equal(dst, &anycast_v6);
}

static bool is_sound(const uint8_t *ip, const struct nat_view *v)
{
	uint16_t sum = load_be16(ip + v->l4_offset + 6);

	/* RFC 768, RFC 8200 (8.1): none is right with IPv4 only. */
	return sum == 0 ? v->version == 4 : sum == nat_l4_checksum(ip, v);
}

static uint64_t burst_of(const struct path_worker *w, uint32_t peer_idx)
{
	const struct peer_view *view = peer_view(w->path->params.peers, peer_idx);
	uint64_t burst = view ? (uint64_t)REQUESTS_PER_LEASE * view->max_leases : 0;

	return RTE_MAX(burst, REQUEST_BURST_LEAST);
}

/* As if a bucket of burst_of() filled by one each interval: requests_due_ns is when it will be
 * full. */
static bool is_within_rate(const struct path_worker *w, uint32_t peer_idx)
{
	struct peer_hot *hot = peer_hot(w->path->params.peers, peer_idx);
	uint64_t due_ns = RTE_MAX(hot->requests_due_ns, w->now_ns) + REQUEST_INTERVAL_NS;

	if (due_ns - w->now_ns > burst_of(w, peer_idx) * REQUEST_INTERVAL_NS)
		return false;
	hot->requests_due_ns = due_ns;
	return true;
}

void path_service_take(struct path_worker *w, struct rte_mbuf *m)
{
	const struct path_meta saved = *path_meta(m);
	const struct nat_view *v = &saved.view;
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	uint16_t udp_len = load_be16(ip + v->l4_offset + 4);
	struct ip_addr src, dst;

	src = path_source(m);
	dst = path_destination(m);
	if (!is_sound(ip, v) || udp_len < 8) {
		path_drop(w, m, STATS_DROP_inner_malformed);
		return;
	}
	if (!is_within_rate(w, saved.peer_idx)) {
		path_drop(w, m, STATS_DROP_portmap_rate);
		return;
	}
	m->data_off += v->l4_offset + 8;
	m->data_len = udp_len - 8;
	m->pkt_len = m->data_len;
	*(struct path_service *)rte_mbuf_to_priv(m) = (struct path_service){
		.peer_idx = saved.peer_idx,
		.peer = {src, v->src_port},
		.gateway = {dst, v->dst_port},
	};
	if (mbox_push(w->mail.requests, m)) {
		w->stats.counter[STATS_consumed]++;
		return;
	}
	*path_meta(m) = saved;
	path_drop(w, m, STATS_DROP_portmap_full);
}

/* The number may have become another peer's meanwhile. */
static bool is_still_there(const struct path_worker *w, const struct path_service *s)
{
	const struct peer_view *view = peer_view(w->path->params.peers, s->peer_idx);

	return view && peer_home(w->path->params.peers, s->peer_idx) == w->idx &&
	       peer_view_has(view, &s->peer.addr);
}

static void send_answer(struct path_worker *w, struct rte_mbuf *m)
{
	const struct path_service s = *(struct path_service *)rte_mbuf_to_priv(m);

	*path_meta(m) = (struct path_meta){.is_originated = true, .peer_idx = s.peer_idx};
	w->stats.counter[STATS_originated]++;
	if (!is_still_there(w, &s)) {
		path_drop(w, m, STATS_DROP_peer_gone);
		return;
	}
	pkt_udp_prepend(
		m, &(struct pkt_udp){.src = &s.gateway, .dst = &s.peer, .ip_id = w->ip_id++});
	path_seal_push(w, m);
}

unsigned path_service_turn(struct path_worker *w)
{
	void *mail[MAIL_BURST];
	unsigned n = mbox_pop_burst(w->mail.replies, mail, MAIL_BURST);

	for (unsigned i = 0; i < n; i++)
		send_answer(w, mail[i]);
	return n;
}
