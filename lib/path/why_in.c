/* why_in.c - from the Internet to a peer: classify, door, dispatch, dnat, mtu, seal. */
#include "path/why.h"

#include <stdio.h>

/* --- seal and what follows */

/* What the message needs on the wire, of a packet or its largest piece. */
static uint32_t outer_bytes(const struct path *p, uint32_t len, bool is_v4)
{
	uint32_t padded;

	len = RTE_MIN(len, p->inner_mtu_bytes);
	padded = RTE_MAX(RTE_MIN(wgmsg_padded_len(len), p->inner_mtu_bytes), len);
	return padded + WGMSG_DATA_MIN_BYTES + (is_v4 ? 20 : 40) + 8;
}

/* As path_send_outer chooses for what is only configured. */
static uint16_t port_to_peer(const struct path *p, const struct peer_path *path)
{
	return ip_is_none(&path->local) ? (uint16_t)p->tunnel_idx : path->port_idx;
}

static void without_key(struct why_ask *k, uint32_t peer_idx, const struct peer_path *path)
{
	const struct peer_hot *hot = peer_hot(k->p->params.peers, peer_idx);
	const struct path_worker *home = k->p->workers[peer_home(k->p->params.peers, peer_idx)];
	enum stats_drop reason;

	if (path_hold_ends(home, hot, path, &reason)) {
		why_say(k->a, "seal", "%s",
			reason == STATS_DROP_peer_unreachable
				? "there are no keys, and no endpoint to ask for any"
				: "there are no keys, and enough packets wait for a handshake");
		why_drop(k, reason);
		return;
	}
	why_say(k->a, "seal", "there are no keys: it waits, and a handshake is begun");
	why_end(k, WHY_WAITS, peer_idx, port_to_peer(k->p, path));
}

static void to_wire(struct why_ask *k, uint32_t peer_idx, const struct peer_path *path)
{
	const struct path *p = k->p;
	uint16_t port_idx = port_to_peer(p, path);
	uint32_t bytes = outer_bytes(p, k->v.total_len, ip_is_v4(&path->remote.addr));
	struct rte_ether_addr mac;
	char text[IP_TEXT_CHARS];
	bool is_unreachable, is_known;

	why_say(k->a, "seal", "a message of %u bytes to %s by port %s", bytes,
		ip_endpoint_format(&path->remote, text), p->params.conf->ports[port_idx].name);
	if (bytes > p->ports[port_idx].mtu_bytes) {
		why_say(k->a, "tx", "that is more than the %u of the port",
			p->ports[port_idx].mtu_bytes);
		why_drop(k, STATS_DROP_too_big);
		return;
	}
	is_known = neigh_peek(p->params.neigh, port_idx, &path->remote.addr, &mac, &is_unreachable);
	if (is_unreachable) {
		why_say(k->a, "tx", "its endpoint is on no link, and the port has no gateway");
		why_drop(k, STATS_DROP_neigh_unreachable);
		return;
	}
	why_say(k->a, "tx", "%s", is_known ? "the next hop is known" : "the next hop is asked for");
	why_end(k, is_known ? WHY_FORWARDED : WHY_WAITS, peer_idx, port_idx);
}

void why_seal(struct why_ask *k, uint32_t peer_idx)
{
	const struct peer_hot *hot = peer_hot(k->p->params.peers, peer_idx);
	struct peer_path path;

	if (!why_may_pass(k, "mtu", k->p->inner_mtu_bytes, false))
		return;
	if (!peer_path_get(k->p->params.peers, peer_idx, &path))
		path = (struct peer_path){0};
	if (!noise_session_has_key(&hot->session, &k->p->timing, k->now_ns))
		without_key(k, peer_idx, &path);
	else
		to_wire(k, peer_idx, &path);
}

/* True: it goes on at its home. */
static bool dispatch(struct why_ask *k, uint32_t peer_idx)
{
	uint8_t home = peer_home(k->p->params.peers, peer_idx);
	struct peer_status status;
	char peer[WHY_PEER_CHARS];

	why_peer(k, peer_idx, peer);
	peer_status_get(k->p->params.peers, peer_idx, &status);
	if (home >= k->p->params.n_workers) {
		why_say(k->a, "dispatch", "peer %s has never connected", peer);
		why_drop(k, STATS_DROP_peer_unreachable);
		return false;
	}
	if (status.unreachable_since_ns != 0)
		why_say(k->a, "dispatch",
			"peer %s is at home on worker %u; it has not answered for %u s", peer, home,
			why_seconds(status.unreachable_since_ns, k->now_ns));
	else
		why_say(k->a, "dispatch", "peer %s is at home on worker %u", peer, home);
	return true;
}

/* --- IPv4 */

static void rewrite_dst(struct why_ask *k, uint32_t inner_v4, uint16_t inner_port)
{
	uint8_t bytes[4];

	store_be32(bytes, inner_v4);
	k->dst = (struct ip_endpoint){ip_from_v4(bytes), k->is_error ? 0 : inner_port};
	k->quote.src = (struct ip_endpoint){k->dst.addr, inner_port};
	why_tuple_add(k->a, &(struct why_tuple){k->v.proto, k->src, k->dst});
}

/* What the lease asks. False: it ended here. */
static bool is_admitted(struct why_ask *k, const char *stage, const struct door *door)
{
	const struct door_terms *terms = door_terms_of(door);
	const struct why_tuple lead = why_lead(k);
	struct door_knock knock = path_door_knock(&lead.src.addr, &k->v, k->tcp_flags, k->is_error);
	enum door_verdict verdict =
		terms ? doors_peek(k->p->params.doors, terms, &knock, k->now_ns) : DOOR_ADMITS;

	if (verdict == DOOR_ADMITS)
		return true;
	why_say(k->a, stage, "the lease refuses it: %s",
		stats_drop_help(path_door_reason(verdict)));
	why_drop(k, path_door_reason(verdict));
	return false;
}

static void by_door(struct why_ask *k, const struct door *door)
{
	if (!is_admitted(k, "dnat", door))
		return;
	if (!why_may_pass(k, "dnat", k->p->inner_mtu_bytes, !k->is_hairpin))
		return;
	rewrite_dst(k, load_be32(door->inner_v4), door_inner_port_of(door, why_lead(k).dst.port));
	why_say(k->a, "dnat", "the lease admits it; it is rewritten to the peer's own address%s",
		k->is_error ? ", and so is what it quotes" : "");
	why_seal(k, door->peer_idx);
}

static void by_session(struct why_ask *k, const struct flow_session *s, uint32_t peer_idx)
{
	if (!why_may_pass(k, "dnat", k->p->inner_mtu_bytes, !k->is_hairpin))
		return;
	if (!s->is_exempt)
		rewrite_dst(k, s->inner_v4, s->inner_port);
	why_seal(k, peer_idx);
}

static void without_door(struct why_ask *k, uint32_t peer_idx)
{
	const struct flows *flows = why_flows(k, peer_idx);
	const struct peer_view *view = peer_view(k->p->params.peers, peer_idx);
	const struct why_tuple lead = why_lead(k);
	struct flow_in_key key = {
		.public_v4 = why_v4(&lead.dst.addr),
		.remote_v4 = why_v4(&lead.src.addr),
		.public_port = lead.dst.port,
		.remote_port = lead.proto == NAT_PROTO_ICMP ? 0 : lead.src.port,
		.proto = lead.proto,
	};
	enum flow_verdict verdict = FLOW_REFUSED;
	struct flow_session s;

	if (flow_peek_in(flows, &key, &s)) {
		why_say_session(k, "dnat", &s);
		by_session(k, &s, peer_idx);
		return;
	}
	if (k->is_error) {
		why_stray(k, "dnat");
		return;
	}
	if (view)
		verdict =
			flow_peek_begin_in(flows, &key, k->tcp_flags, &view->limits, k->now_ns, &s);
	if (verdict == FLOW_OK) {
		why_say(k->a, "dnat", "no session yet: the peer's filter admits it, one begins");
		by_session(k, &s, peer_idx);
		return;
	}
	why_say(k->a, "dnat", "no session: %s", stats_drop_help(path_flow_reason(verdict)));
	why_drop(k, path_flow_reason(verdict));
}

static struct door *find_door(const struct why_ask *k)
{
	const struct why_tuple lead = why_lead(k);
	struct door_public_key key;

	door_public_key_set(&key, ip_v4_bytes(&lead.dst.addr), lead.dst.port, lead.proto);
	return doors_lookup_public(k->p->params.doors, &key);
}

static void say_door(struct why_ask *k, const struct door *door)
{
	char peer[WHY_PEER_CHARS];

	why_say(k->a, "door", "lease %" PRIu64 " of peer %s is open here",
		doors_lease_id(k->p->params.doors, door), why_peer(k, door->peer_idx, peer));
}

void why_knock(struct why_ask *k, uint32_t exempt_peer)
{
	const struct why_tuple lead = why_lead(k);
	const struct door *door = find_door(k);
	uint32_t peer_idx = door ? door->peer_idx : exempt_peer;
	char peer[WHY_PEER_CHARS];

	if (peer_idx == PEER_NONE)
		peer_idx = blocks_owner(k->p->blocks, why_v4(&lead.dst.addr), lead.dst.port);
	if (peer_idx == PEER_NONE) {
		door = doors_lookup_whole(k->p->params.doors, ip_v4_bytes(&lead.dst.addr));
		peer_idx = door ? door->peer_idx : PEER_NONE;
	}
	if (peer_idx == PEER_NONE) {
		why_say(k->a, "door", "no lease is open here, and the port is nobody's");
		why_drop(k, path_service_is_request(&k->v) ? STATS_DROP_portmap_outside
							   : STATS_DROP_no_lease);
		return;
	}
	if (!k->is_hairpin && path_is_inner_v4(k->p, why_v4(&k->src.addr))) {
		why_say(k->a, "door", "its source is an address inside the tunnel");
		why_drop(k, STATS_DROP_martian_source);
		return;
	}
	if (door)
		say_door(k, door);
	else
		why_say(k->a, "door", "no lease is open here; %s is peer %s's",
			exempt_peer == PEER_NONE ? "the block of the port" : "the address",
			why_peer(k, peer_idx, peer));
	if (!dispatch(k, peer_idx))
		return;
	if (door)
		by_door(k, door);
	else
		without_door(k, peer_idx);
}

/* --- IPv6 */

static void into_v6(struct why_ask *k, uint32_t peer_idx)
{
	const struct why_tuple lead = why_lead(k);
	struct flow_v6_key key = {.inner = lead.dst.addr,
		.remote = lead.src.addr,
		.inner_port = lead.dst.port,
		.remote_port = lead.proto == NAT_PROTO_ICMPV6 ? 0 : lead.src.port,
		.proto = lead.proto};
	struct door *door;
	struct flow_session s;

	if (!dispatch(k, peer_idx))
		return;
	if (flow_peek_v6(why_flows(k, peer_idx), &key, &s) && s.peer_idx == peer_idx) {
		why_say_session(k, "filter", &s);
	} else {
		door = path_v6_door(k->p, &key, peer_idx);
		if (!door && k->is_error) {
			why_stray(k, "filter");
			return;
		}
		if (!door) {
			why_say(k->a, "filter",
				"neither a session of the peer nor a lease lets it in");
			why_drop(k, STATS_DROP_no_session);
			return;
		}
		say_door(k, door);
		if (!is_admitted(k, "filter", door))
			return;
	}
	if (why_may_pass(k, "filter", k->p->inner_mtu_bytes, true))
		why_seal(k, peer_idx);
}

/* --- classify */

static void to_gateway(struct why_ask *k, uint16_t port_idx)
{
	unsigned way = path_way_local(k->p, port_idx, &k->v, k->verdict);

	if (way == PATH_WAY_PING && k->verdict == NAT_OTHER_PROTO)
		way = STATS_DROP_entry_closed;
	if (path_way_ends(way)) {
		why_say(k->a, "classify", "to an address of the gateway itself: %s",
			stats_drop_help(way));
		why_drop(k, (enum stats_drop)way);
		return;
	}
	why_say(k->a, "classify", "%s",
		way == PATH_WAY_PING
			? "a ping of the gateway itself, which answers"
			: "to the WireGuard port: what is inside the message decides (why out)");
	why_end(k, WHY_CONSUMED, WHY_NOBODY, port_idx);
}

static void to_public(struct why_ask *k, unsigned way, uint32_t peer_idx)
{
	bool is_v4 = k->v.version == 4;

	if (why_is_icmp(k) && k->verdict == NAT_OTHER_PROTO &&
		(!why_takes_quote(k) || !ip_equal(&k->quote.src.addr, &k->dst.addr))) {
		why_say(k->a, "classify",
			"no ICMP error to whoever sent the packet that it quotes");
		why_drop(k, STATS_DROP_icmp_error_stray);
		return;
	}
	if (is_v4 && !k->is_error && k->verdict == NAT_OTHER_PROTO) {
		why_say(k->a, "classify", "IP protocol %u has no ports to find a door by",
			k->v.proto);
		why_drop(k, STATS_DROP_no_lease);
		return;
	}
	why_say(k->a, "classify", "%s",
		!is_v4 ? "to an address of a peer"
		: way == PATH_WAY_EXEMPT
			? "from a source that is exempt from translation, to a peer's own address"
			: "to an address of the public pool");
	if (k->is_error)
		why_say(k->a, "classify", "an ICMP error: what it quotes leads it");
	/* Of an echo both are the identifier. */
	k->src.port = k->v.src_port;
	k->dst.port = k->v.dst_port;
	if (is_v4)
		why_knock(k, way == PATH_WAY_EXEMPT ? peer_idx : PEER_NONE);
	else
		into_v6(k, peer_idx);
}

void why_from_outside(struct why_ask *k, uint16_t port_idx)
{
	const struct path_port *port = &k->p->ports[port_idx];
	uint32_t peer_idx = PEER_NONE;
	unsigned way = k->v.version == 4
			       ? path_way_v4(k->p, port_idx, why_v4(&k->src.addr),
					 why_v4(&k->dst.addr), &peer_idx)
			       : path_way_v6(k->p, port_idx, &k->src.addr, &k->dst.addr, &peer_idx);

	why_say(k->a, "rx", "by port %s (%s%s%s)", k->p->params.conf->ports[port_idx].name,
		port->is_tunnel ? "tunnel" : "", port->is_tunnel && port->is_public ? ", " : "",
		port->is_public ? "public" : "");
	if (path_way_ends(way)) {
		why_say(k->a, "classify", "%s", stats_drop_help(way));
		why_drop(k, (enum stats_drop)way);
	} else if (way == PATH_WAY_LOCAL) {
		to_gateway(k, port_idx);
	} else {
		to_public(k, way, peer_idx);
	}
}
