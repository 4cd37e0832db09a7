/* probe.c - the gateway's own knocks at its doors (probe/probe.h): in, as if they came by the
 * public port, and the answer out of what the peer sends.
 *
 * A probe takes the stages from door on; what classify asks of a source it need not be asked, for
 * it has one of the gateway's own. It is no use of the lease: neither its counters nor its idle
 * limit, its buckets or those who watch its door see it.
 */
#include "path/worker.h"

#define MAIL_BURST 32

static void come_in(struct path_worker *w, struct rte_mbuf *m)
{
	uint8_t number = ((const struct path_probe *)rte_mbuf_to_priv(m))->number;
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct path_meta *meta = path_meta(m);
	struct ip_addr dst;

	*meta = (struct path_meta){.is_originated = true, .probe = number};
	meta->path.port_idx = (uint16_t)w->path->public_idx;
	w->stats.counter[STATS_originated]++;
	if (nat_parse(ip, m->data_len, &meta->view) != NAT_OK) {
		path_drop(w, m, STATS_DROP_internal);
		return;
	}
	if (meta->view.version == 4) {
		path_knock(w, m);
		return;
	}
	dst = ip_from_v6(ip + 24);
	meta->peer_idx = peer_find_inner(w->path->params.peers, &dst);
	if (meta->peer_idx == PEER_NONE)
		path_drop(w, m, STATS_DROP_not_for_us);
	else
		path_v6_in(w, m);
}

unsigned path_probe_turn(struct path_worker *w)
{
	void *mail[MAIL_BURST];
	unsigned n = mbox_pop_burst(w->mail.probes, mail, MAIL_BURST);

	for (unsigned i = 0; i < n; i++)
		come_in(w, mail[i]);
	return n;
}

void path_probe_lost(struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason)
{
	probe_note_lost(w->path->params.probes, path_meta(m)->probe, reason);
}

/* What the peer accepted must not stay half open there. */
static void reset(struct path_worker *w, struct rte_mbuf *m, uint8_t number)
{
	const struct probe_ask *ask = probe_ask_get(w->path->params.probes, number);

	path_answer(w, m);
	m->data_len = probe_build_reset(ask, rte_pktmbuf_mtod(m, uint8_t *));
	m->pkt_len = m->data_len;
	path_seal_push(w, m);
}

bool path_probe_answers(struct path_worker *w, struct rte_mbuf *m, enum nat_verdict verdict)
{
	const struct path_meta *meta = path_meta(m);
	struct probe_answer answer;
	uint8_t number = probe_take(w->path->params.probes, meta->peer_idx,
		rte_pktmbuf_mtod(m, const uint8_t *), &meta->view, verdict, w->now_ns, &answer);

	if (number == 0)
		return false;
	if (answer.kind == PROBE_ACCEPTED)
		reset(w, m, number);
	else if (answer.kind == PROBE_NOTHING)
		path_drop(w, m, STATS_DROP_inner_to_self);
	else
		path_consume(w, m);
	return true;
}
