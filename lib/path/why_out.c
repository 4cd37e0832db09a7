/* why_out.c - from a peer: inner, snat, and then out, or in again by another door. */
#include "path/why.h"

#include <stdio.h>

static void route(struct why_ask *k)
{
	const struct path *p = k->p;
	uint16_t port_idx = (uint16_t)p->public_idx;
	struct rte_ether_addr mac;
	bool is_unreachable;
	bool is_known = neigh_peek(p->params.neigh, port_idx, &k->dst.addr, &mac, &is_unreachable);

	if (is_unreachable) {
		why_say(k->a, "tx", "it is on no link of port %s, which has no gateway",
			p->params.conf->ports[port_idx].name);
		why_drop(k, STATS_DROP_neigh_unreachable);
		return;
	}
	why_say(k->a, "tx", "out by port %s; the next hop is %s",
		p->params.conf->ports[port_idx].name, is_known ? "known" : "asked for");
	why_end(k, is_known ? WHY_FORWARDED : WHY_WAITS, WHY_NOBODY, port_idx);
}

static void to_internet(struct why_ask *k)
{
	if (k->v.version != 4 || !path_is_pool(k->p, why_v4(&k->dst.addr))) {
		route(k);
		return;
	}
	why_say(k->a, "snat", "it is to a public address: it turns round and comes in by a door");
	k->is_hairpin = true;
	why_knock(k, PEER_NONE);
}

/* --- IPv4 */

/* public_port 0: one that is drawn when it begins. */
static void rewrite_src(struct why_ask *k, uint32_t public_v4, uint16_t public_port)
{
	uint8_t bytes[4];

	store_be32(bytes, public_v4);
	k->src = (struct ip_endpoint){ip_from_v4(bytes), k->is_error ? 0 : public_port};
	k->quote.dst = (struct ip_endpoint){k->src.addr, public_port};
	if (k->v.proto == NAT_PROTO_ICMP)
		k->dst.port = k->src.port;
	why_tuple_add(k->a, &(struct why_tuple){k->v.proto, k->src, k->dst});
}

static const struct door *find_door(
	const struct why_ask *k, uint32_t peer_idx, const struct flow_out_key *out)
{
	const struct why_tuple lead = why_lead(k);
	struct door_inner_key key = {.peer_idx = peer_idx,
		.port_be16 = rte_cpu_to_be_16(lead.src.port),
		.proto = lead.proto};
	struct door *door;

	if (!doors_peer_has(k->p->params.doors, peer_idx))
		return NULL;
	memcpy(key.addr_v4, ip_v4_bytes(&lead.src.addr), 4);
	doors_lookup_inner_bulk(k->p->params.doors, &key, 1, &door);
	return door ? door : path_whole_door(k->p, out);
}

static void refuse_beginning(struct why_ask *k, const char *stage, enum flow_verdict verdict)
{
	enum stats_drop reason = path_flow_reason(verdict);

	why_say(k->a, stage, "no session: %s", stats_drop_help(reason));
	if (verdict == FLOW_NOT_A_BEGINNING)
		why_drop(k, reason);
	else
		why_refuse(k, reason);
}

/* By which address and port it would leave in a session of its own. False: it ended here. */
static bool begin(struct why_ask *k, const struct flow_out_key *key, uint32_t *public_v4,
	uint16_t *public_port)
{
	const struct path *p = k->p;
	const struct flows *flows = why_flows(k, key->peer_idx);
	const struct flow_limits *limits = &peer_view(p->params.peers, key->peer_idx)->limits;
	bool is_exempt = path_prefixes_have(p->exempt, p->n_exempt, key->remote_v4);
	enum flow_verdict verdict;

	if (k->is_error) {
		why_stray(k, "snat");
		return false;
	}
	if (is_exempt) {
		*public_v4 = key->inner_v4;
		*public_port = key->inner_port;
		verdict = flow_peek_begin_plain(
			flows, key->peer_idx, key->proto, k->tcp_flags, limits, k->now_ns);
	} else {
		*public_v4 = peer_public(p->params.peers, key->peer_idx);
		verdict = flow_peek_begin_out(
			flows, key, *public_v4, k->tcp_flags, limits, k->now_ns, public_port);
	}
	if (verdict != FLOW_OK) {
		refuse_beginning(k, "snat", verdict);
		return false;
	}
	why_say(k->a, "snat", "no session yet: one begins, %s",
		is_exempt	    ? "without translation"
		: *public_port != 0 ? "on the public port that the inner port has"
				    : "on a public port that is drawn then (shown as 0)");
	return true;
}

static void snat(struct why_ask *k, uint32_t peer_idx)
{
	const struct why_tuple lead = why_lead(k);
	struct flow_out_key key = {.peer_idx = peer_idx,
		.inner_v4 = why_v4(&lead.src.addr),
		.remote_v4 = why_v4(&lead.dst.addr),
		.inner_port = lead.src.port,
		.remote_port = lead.proto == NAT_PROTO_ICMP ? 0 : lead.dst.port,
		.proto = lead.proto};
	uint16_t mtu_bytes = k->p->ports[k->p->public_idx].mtu_bytes, public_port;
	const struct door *door = NULL;
	struct flow_session s;
	uint32_t public_v4;

	if (flow_peek_out(why_flows(k, peer_idx), &key, &s)) {
		why_say_session(k, "snat", &s);
		public_v4 = s.public_v4;
		public_port = s.public_port;
	} else if ((door = find_door(k, peer_idx, &key))) {
		why_say(k->a, "snat", "by lease %" PRIu64 " of the peer",
			doors_lease_id(k->p->params.doors, door));
		public_v4 = load_be32(door->public_v4);
		public_port = door_public_port_of(door, key.inner_port);
	} else if (!begin(k, &key, &public_v4, &public_port)) {
		return;
	}
	if (!why_may_pass(k, "snat", mtu_bytes, true))
		return;
	rewrite_src(k, public_v4, public_port);
	to_internet(k);
}

/* --- IPv6 */

static void out_v6(struct why_ask *k, uint32_t peer_idx)
{
	const struct flows *flows = why_flows(k, peer_idx);
	const struct flow_limits *limits = &peer_view(k->p->params.peers, peer_idx)->limits;
	const struct why_tuple lead = why_lead(k);
	struct flow_v6_key key = {.inner = lead.src.addr,
		.remote = lead.dst.addr,
		.inner_port = lead.src.port,
		.remote_port = lead.proto == NAT_PROTO_ICMPV6 ? 0 : lead.dst.port,
		.proto = lead.proto};
	enum flow_verdict verdict = FLOW_OK;
	const struct door *door;
	struct flow_session s;
	bool has_session = flow_peek_v6(flows, &key, &s);

	if (has_session && s.peer_idx == peer_idx) {
		why_say_session(k, "filter", &s);
	} else if ((door = path_v6_door(k->p, &key, peer_idx))) {
		why_say(k->a, "filter", "by lease %" PRIu64 " of the peer",
			doors_lease_id(k->p->params.doors, door));
	} else if (k->is_error) {
		why_stray(k, "filter");
		return;
	} else {
		verdict = has_session ? FLOW_REFUSED
				      : flow_peek_begin_plain(flows, peer_idx, key.proto,
						k->tcp_flags, limits, k->now_ns);
		if (verdict != FLOW_OK) {
			refuse_beginning(k, "filter", verdict);
			return;
		}
		why_say(k->a, "filter", "no session yet: one begins");
	}
	if (why_may_pass(k, "filter", k->p->ports[k->p->public_idx].mtu_bytes, true))
		to_internet(k);
}

/* --- inner */

static void to_service(struct why_ask *k, uint32_t peer_idx)
{
	const struct peer_conf *conf = peer_conf_get(k->p->params.peers, peer_idx);

	why_say(k->a, "inner",
		"to the gateway's NAT-PMP and PCP service, which is %s for this peer",
		conf && conf->portmap && conf->forwarding ? "on" : "off: it answers so");
	why_end(k, WHY_CONSUMED, WHY_NOBODY, WHY_PORT_ANY);
}

static void to_gateway(struct why_ask *k)
{
	if (!why_is_icmp(k) || k->verdict == NAT_OTHER_PROTO) {
		why_say(k->a, "inner", "to the gateway's own address inside the tunnel");
		why_drop(k, STATS_DROP_inner_no_service);
		return;
	}
	why_say(k->a, "inner", "a ping of the gateway's own address, which answers");
	why_end(k, WHY_CONSUMED, WHY_NOBODY, WHY_PORT_ANY);
}

static void to_neighbour(struct why_ask *k, uint32_t to)
{
	char peer[WHY_PEER_CHARS];

	why_say(k->a, "inner", "to peer %s, as it is", why_peer(k, to, peer));
	if (!why_may_pass(k, "inner", k->p->inner_mtu_bytes, true))
		return;
	if (peer_home(k->p->params.peers, to) >= k->p->params.n_workers) {
		why_say(k->a, "dispatch", "that peer has never connected");
		why_drop(k, STATS_DROP_peer_unreachable);
		return;
	}
	why_seal(k, to);
}

static void to_outside(struct why_ask *k, uint32_t peer_idx)
{
	const struct path *p = k->p;

	if (!why_takes_quote(k) && k->verdict != NAT_OK &&
		(k->v.version == 4 || k->v.proto == NAT_PROTO_ICMPV6)) {
		why_say(k->a, "inner", "IP protocol %u is not translated", k->v.proto);
		why_drop(k,
			why_is_icmp(k) ? STATS_DROP_icmp_error_stray : STATS_DROP_inner_protocol);
		return;
	}
	if (path_is_blocked(p, &k->v)) {
		why_say(k->a, "inner", "to a destination port that peers may not use");
		why_refuse(k, STATS_DROP_nat_blocked);
		return;
	}
	why_say(k->a, "inner", "its source is the peer's own; it is for the Internet%s",
		k->is_error ? ", and what it quotes leads it" : "");
	k->src.port = k->v.src_port;
	k->dst.port = k->v.dst_port;
	if (k->v.version == 4)
		snat(k, peer_idx);
	else
		out_v6(k, peer_idx);
}

static void say_home(struct why_ask *k, uint32_t peer_idx)
{
	uint8_t home = peer_home(k->p->params.peers, peer_idx);
	char peer[WHY_PEER_CHARS];

	if (home >= k->p->params.n_workers)
		why_say(k->a, "open", "peer %s has never connected: nothing of it can arrive yet",
			why_peer(k, peer_idx, peer));
	else
		why_say(k->a, "open", "sealed by peer %s, which is at home on worker %u",
			why_peer(k, peer_idx, peer), home);
}

void why_from_peer(struct why_ask *k, uint32_t peer_idx)
{
	const struct path *p = k->p;
	const struct peer_view *view = peer_view(p->params.peers, peer_idx);
	uint32_t neighbour = PEER_NONE;
	unsigned way;

	if (!view) {
		why_say(k->a, "open", "there is no such peer");
		why_drop(k, STATS_DROP_peer_gone);
		return;
	}
	say_home(k, peer_idx);
	if (k->v.version == 4)
		way = path_way_inner_v4(p, view, &k->v, k->verdict,
			load_be32(ip_v4_bytes(&k->src.addr)), load_be32(ip_v4_bytes(&k->dst.addr)),
			&neighbour);
	else
		way = path_way_inner_v6(
			p, view, &k->v, k->verdict, &k->src.addr, &k->dst.addr, &neighbour);
	switch (way) {
	case PATH_WAY_INTERNET:
		to_outside(k, peer_idx);
		break;
	case PATH_WAY_SERVICE:
		to_service(k, peer_idx);
		break;
	case PATH_WAY_PING:
		to_gateway(k);
		break;
	case PATH_WAY_NEIGHBOUR:
		to_neighbour(k, neighbour);
		break;
	default:
		why_say(k->a, "inner", "%s", stats_drop_help(way));
		why_drop(k, (enum stats_drop)way);
	}
}
