/* errors.c - ICMP errors that the gateway sends: why a packet ended, told to its sender.
 *
 * Spec: RFC 792, RFC 1191 and RFC 8201 (path MTU), RFC 1812 4.3.2.8 and RFC 4443 2.4(f) (limits),
 *       RFC 5508 REQ-8 and RFC 6888 REQ-11 (administratively prohibited).
 * Limits: each peer has its own, so that no peer uses up another's; the Internet has one a worker.
 */
#include "path/worker.h"

#define PEER_ERRORS_PER_S   50
#define PEER_ERRORS_BURST   50
#define PUBLIC_ERRORS_PER_S 1000
#define PUBLIC_ERRORS_BURST 100

/* A token bucket in one word: the time at which it would be full again ("theoretical arrival time"
 * of the generic cell rate algorithm). */
static bool limit_pass(uint64_t *tat_ns, uint64_t now_ns, uint64_t per_s, uint64_t burst)
{
	uint64_t interval_ns = NS_IN_S / per_s, at_ns = RTE_MAX(*tat_ns, now_ns);

	if (at_ns - now_ns > interval_ns * (burst - 1))
		return false;
	*tat_ns = at_ns + interval_ns;
	return true;
}

static enum nat_icmp_kind kind_of(enum stats_drop reason)
{
	switch (reason) {
	case STATS_DROP_ttl_expired:
		return NAT_ICMP_TIME_EXCEEDED;
	case STATS_DROP_too_big:
		return NAT_ICMP_TOO_BIG;
	default:
		return NAT_ICMP_ADMIN_PROHIBITED;
	}
}

/* Ours, of the packet's family: what the error says it is from. False: there is none. */
static bool own_address(const struct path_addrs *set, bool is_v4, struct ip_addr *out)
{
	uint8_t v4[4];

	if (!is_v4) {
		*out = set->v6[0];
		return set->n_v6 != 0;
	}
	store_be32(v4, set->v4[0]);
	*out = ip_from_v4(v4);
	return set->n_v4 != 0;
}

/* NULL: none is due (RFC 1122, 3.2.2), or there is no buffer. */
static struct rte_mbuf *build(struct path_worker *w, struct rte_mbuf *about,
	const struct path_addrs *from, enum stats_drop reason, uint16_t mtu_bytes)
{
	const uint8_t *ip = rte_pktmbuf_mtod(about, const uint8_t *);
	struct nat_icmp_make make = {.kind = kind_of(reason), .mtu = mtu_bytes};
	struct rte_mbuf *m;
	size_t len;

	if (!own_address(from, ip[0] >> 4 == 4, &make.src))
		return NULL;
	m = pkt_alloc(w->path->params.mempool);
	if (!m)
		return NULL;
	len = nat_icmp_error_build(rte_pktmbuf_mtod(m, uint8_t *), rte_pktmbuf_tailroom(m), ip,
		about->data_len, &make);
	if (len == 0) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	m->data_len = (uint16_t)len;
	m->pkt_len = m->data_len;
	*path_meta(m) = (struct path_meta){
		.is_originated = true, .is_error = true, .peer_idx = path_meta(about)->peer_idx};
	nat_parse(rte_pktmbuf_mtod(m, const uint8_t *), len, &path_meta(m)->view);
	w->stats.counter[STATS_originated]++;
	w->stats.counter[STATS_errors_sent]++;
	return m;
}

void path_refuse_peer(
	struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason, uint16_t mtu_bytes)
{
	struct peer_hot *hot = peer_hot(w->path->params.peers, path_meta(m)->peer_idx);
	struct rte_mbuf *error = NULL;

	if (limit_pass(&hot->errors_tat_ns, w->now_ns, PEER_ERRORS_PER_S, PEER_ERRORS_BURST))
		error = build(w, m, &w->path->inner, reason, mtu_bytes);
	if (error)
		path_seal_push(w, error);
	path_drop(w, m, reason);
}

void path_refuse_public(
	struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason, uint16_t mtu_bytes)
{
	const struct path *p = w->path;
	struct rte_mbuf *error = NULL;

	if (limit_pass(&w->errors_tat_ns, w->now_ns, PUBLIC_ERRORS_PER_S, PUBLIC_ERRORS_BURST))
		error = build(w, m, &p->ports[p->public_idx].locals, reason, mtu_bytes);
	if (error)
		path_to_public(w, error);
	path_drop(w, m, reason);
}
