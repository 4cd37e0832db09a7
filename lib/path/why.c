/* why.c - what would happen to a packet, told in the order of the stages. The rules are those of
 * the stages themselves (worker.h, flow_peek_*); only the words are made here.
 */
#include "path/why.h"

#include <errno.h>
#include <stdio.h>

char *why_peer(const struct why_ask *k, uint32_t peer_idx, char buf[static WHY_PEER_CHARS])
{
	const struct peer_conf *conf = peer_conf_get(k->p->params.peers, peer_idx);

	if (conf && conf->name[0] != '\0')
		snprintf(buf, WHY_PEER_CHARS, "%s", conf->name);
	else if (conf)
		crypto_key_format(conf->public_key, buf);
	else
		snprintf(buf, WHY_PEER_CHARS, "that is gone");
	return buf;
}

void why_drop(struct why_ask *k, enum stats_drop reason)
{
	k->a->end = WHY_DROPPED;
	k->a->reason = reason;
}

void why_refuse(struct why_ask *k, enum stats_drop reason)
{
	why_drop(k, reason);
	/* Nobody is told about an error (RFC 1122, section 3.2.2). */
	k->a->tells_sender = !k->is_error;
}

void why_end(struct why_ask *k, enum why_end end, uint32_t to_peer, uint16_t port_idx)
{
	k->a->end = end;
	k->a->to_peer = to_peer;
	k->a->port_idx = port_idx;
	k->a->src = k->src;
	k->a->dst = k->dst;
}

bool why_takes_quote(struct why_ask *k)
{
	struct nat_icmp_error quote;

	if (k->verdict != NAT_OTHER_PROTO || nat_icmp_error_parse(k->pkt, &k->v, &quote) != NAT_OK)
		return false;
	k->is_error = true;
	k->quote = (struct why_tuple){quote.inner_proto, {quote.inner_src, quote.inner_src_port},
		{quote.inner_dst, quote.inner_dst_port}};
	return true;
}

void why_stray(struct why_ask *k, const char *stage)
{
	why_say(k->a, stage, "neither a session nor a lease sent the packet that it quotes");
	why_drop(k, STATS_DROP_icmp_error_stray);
}

struct why_tuple why_lead(const struct why_ask *k)
{
	if (k->is_error)
		return (struct why_tuple){k->quote.proto, k->quote.dst, k->quote.src};
	return (struct why_tuple){k->v.proto, k->src, k->dst};
}

bool why_may_pass(struct why_ask *k, const char *stage, uint16_t mtu_bytes, bool is_hop)
{
	const struct nat_view *v = &k->v;

	if (v->total_len > mtu_bytes && v->dont_fragment) {
		why_say(k->a, stage, "%u bytes are more than %u, and it must not be cut",
			v->total_len, mtu_bytes);
		why_refuse(k, STATS_DROP_too_big);
		return false;
	}
	if (is_hop && !nat_hop(k->pkt, v)) {
		why_say(k->a, stage, "its TTL ends here");
		why_refuse(k, STATS_DROP_ttl_expired);
		return false;
	}
	if (v->total_len > mtu_bytes)
		why_say(k->a, stage, "%u bytes are cut into pieces of at most %u", v->total_len,
			mtu_bytes);
	return true;
}

void why_say_session(struct why_ask *k, const char *stage, const struct flow_session *s)
{
	static const char *const states[FLOW_TCP_STATES] = {
		[FLOW_TCP_NONE] = "",
		[FLOW_TCP_INIT_OUT] = ", opening",
		[FLOW_TCP_INIT_IN] = ", opened from outside",
		[FLOW_TCP_ESTABLISHED] = ", established",
		[FLOW_TCP_FIN_OUT] = ", closed by the peer",
		[FLOW_TCP_FIN_IN] = ", closed by the other side",
		[FLOW_TCP_FIN_BOTH] = ", closed",
		[FLOW_TCP_TRANS] = ", reset",
	};
	char peer[WHY_PEER_CHARS];

	why_say(k->a, stage, "a session of peer %s%s, which ends in %u s",
		why_peer(k, s->peer_idx, peer),
		s->tcp_state < FLOW_TCP_STATES ? states[s->tcp_state] : "",
		why_seconds(k->now_ns, s->due_ns));
}

/* By which port a packet to dst comes. */
static uint16_t port_of(const struct path *p, const struct ip_addr *dst)
{
	for (unsigned i = 0; i < p->n_ports; i++) {
		const struct path_addrs *locals = &p->ports[i].locals;

		if (ip_is_v4(dst) ? path_addrs_has_v4(locals, load_be32(ip_v4_bytes(dst)))
				  : path_addrs_has_v6(locals, dst))
			return (uint16_t)i;
	}
	return (uint16_t)p->public_idx;
}

/* Largest packet that can come that way: of a peer's, what a message around it leaves room for. */
static uint16_t largest(const struct path *p, const struct why_packet *q, uint16_t port_idx)
{
	uint16_t mtu_bytes = p->ports[q->is_out ? p->tunnel_idx : port_idx].mtu_bytes;

	return q->is_out ? (uint16_t)(mtu_bytes - 20 - 8 - WGMSG_DATA_MIN_BYTES) : mtu_bytes;
}

int path_why(const struct path *p, const struct why_packet *q, struct why_answer *out)
{
	uint16_t port_idx = q->port_idx != WHY_PORT_ANY ? q->port_idx : port_of(p, &q->dst);
	struct why_ask k = {.p = p, .a = out, .now_ns = p->params.now_ns()};
	size_t len = why_packet_build(q, k.pkt, largest(p, q, port_idx));

	if (len == 0)
		return -EMSGSIZE;
	*out = (struct why_answer){.to_peer = WHY_NOBODY};
	k.tcp_flags = q->proto == NAT_PROTO_TCP ? q->tcp_flags : 0;
	k.src = (struct ip_endpoint){q->src, q->src_port};
	k.dst = (struct ip_endpoint){q->dst, q->dst_port};
	why_tuple_add(out, &(struct why_tuple){q->proto, k.src, k.dst});
	k.verdict = nat_parse(k.pkt, len, &k.v);
	if (q->is_out)
		why_from_peer(&k, q->peer_idx);
	else
		why_from_outside(&k, port_idx);
	return 0;
}
