/* begin.c - may a session begin? Quotas, filters, and the record that it begins with. */
#include "flow/impl.h"

/* GCRA: token_ns is the time up to which tokens are spent, never longer ago than a full bucket. */
static bool take_token(
	struct flow_peer *peer, const struct flow_limits *limits, bool is_inbound, uint64_t now_ns)
{
	uint64_t token_ns, depth_ns, oldest_ns, end_ns = now_ns;

	if (limits->new_per_s == 0)
		return true;
	token_ns = NS_IN_S / limits->new_per_s;
	depth_ns = token_ns * limits->burst;
	oldest_ns = now_ns > depth_ns ? now_ns - depth_ns : 0;
	if (is_inbound)
		end_ns = oldest_ns + (now_ns - oldest_ns) / 2;
	if (peer->token_ns < oldest_ns)
		peer->token_ns = oldest_ns;
	if (peer->token_ns + token_ns > end_ns)
		return false;
	peer->token_ns += token_ns;
	return true;
}

/* Room for the session and what comes with it; a quota of the peer left; a token. */
static enum flow_verdict admit(struct flows *f, const struct flow_session *s,
	const struct flow_limits *limits, bool is_inbound, uint64_t now_ns)
{
	struct flow_peer *peer = &f->peers[s->peer_idx];

	if (peer->n_sessions >= limits->max_sessions)
		return FLOW_TOO_MANY;
	if (is_inbound && peer->n_unanswered >= limits->max_sessions / 2)
		return FLOW_TOO_MANY;
	if (!take_token(peer, limits, is_inbound, now_ns))
		return FLOW_TOO_FAST;
	if (flow_slab_room(&f->session_slab) < 1u + s->wants_permit)
		return FLOW_TABLE_FULL;
	return FLOW_OK;
}

/* Ports of ICMP are no ports: its address filter is the session itself. */
static bool wants_permit(const struct flow_limits *limits, uint8_t proto)
{
	return limits->filter != FLOW_STRICT && proto != FLOW_PROTO_ICMP;
}

static bool is_translated(uint8_t proto)
{
	return proto == FLOW_PROTO_TCP || proto == FLOW_PROTO_UDP || proto == FLOW_PROTO_ICMP;
}

static void set_times(const struct flows *f, struct flow_session *s, uint64_t now_ns)
{
	s->begun_ns = now_ns;
	s->due_ns = now_ns + (s->proto == FLOW_PROTO_TCP ? f->conf.tcp_transitory_ns
							 : flow_silence_ns(f, s->proto));
}

/* A session that its peer begins, for which all that it needs is there. */
static struct flow_session *open_outbound(
	struct flows *f, struct flow_session *from, uint64_t now_ns)
{
	struct flow_session *s;

	if (from->proto == FLOW_PROTO_TCP)
		from->tcp_state = FLOW_TCP_INIT_OUT;
	set_times(f, from, now_ns);
	s = flow_session_open(f, from);
	flow_session_count(f, s);
	return s;
}

static struct flow_session outbound_v4(const struct flow_out_key *key)
{
	return (struct flow_session){
		.peer_idx = key->peer_idx,
		.inner_v4 = key->inner_v4,
		.remote_v4 = key->remote_v4,
		.inner_port = key->inner_port,
		.remote_port = key->remote_port,
		.proto = key->proto,
	};
}

enum flow_verdict flow_begin_out(struct flows *f, const struct flow_out_key *key,
	uint32_t public_v4, uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session **out)
{
	struct flow_session *s = flow_find_out(f, key), from = outbound_v4(key);
	struct flow_mapping wanted = {
		.public = {.v4 = public_v4, .proto = key->proto},
		.peer_idx = key->peer_idx,
		.inner_v4 = key->inner_v4,
		.inner_port = key->inner_port,
	};
	struct flow_mapping *m;
	enum flow_verdict verdict;

	if (s) {
		*out = s;
		return FLOW_OK;
	}
	if (key->peer_idx >= f->conf.max_peers || !is_translated(key->proto))
		return FLOW_REFUSED;
	if (key->proto == FLOW_PROTO_TCP && !flow_tcp_begins(tcp_flags))
		return FLOW_NOT_A_BEGINNING;
	from.wants_permit = wants_permit(limits, key->proto);
	verdict = admit(f, &from, limits, false, now_ns);
	if (verdict != FLOW_OK)
		return verdict;
	verdict = flow_mapping_get(f, &wanted, limits->max_blocks, now_ns, &m);
	if (verdict != FLOW_OK)
		return verdict;
	from.mapping = flow_mapping_idx(f, m);
	from.public_v4 = m->public.v4;
	from.public_port = m->public.port;
	*out = open_outbound(f, &from, now_ns);
	return FLOW_OK;
}

enum flow_verdict flow_begin_exempt(struct flows *f, const struct flow_out_key *key,
	uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session **out)
{
	struct flow_session *s = flow_find_out(f, key), from = outbound_v4(key);
	struct flow_in_key in_key;
	enum flow_verdict verdict;

	if (s) {
		*out = s;
		return FLOW_OK;
	}
	from.is_exempt = true;
	from.public_v4 = key->inner_v4;
	from.public_port = key->inner_port;
	in_key = flow_session_in_key(&from);
	if (key->peer_idx >= f->conf.max_peers || flow_find_in(f, &in_key))
		return FLOW_REFUSED;
	if (key->proto == FLOW_PROTO_TCP && !flow_tcp_begins(tcp_flags))
		return FLOW_NOT_A_BEGINNING;
	verdict = admit(f, &from, limits, false, now_ns);
	if (verdict == FLOW_OK)
		*out = open_outbound(f, &from, now_ns);
	return verdict;
}

enum flow_verdict flow_begin_v6(struct flows *f, uint32_t peer_idx, const struct flow_v6_key *key,
	uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session **out)
{
	struct flow_session *s = flow_find_v6(f, key);
	struct flow_session from = {
		.peer_idx = peer_idx,
		.inner_port = key->inner_port,
		.remote_port = key->remote_port,
		.proto = key->proto,
		.is_v6 = true,
		.inner_v6 = key->inner,
		.remote_v6 = key->remote,
	};
	enum flow_verdict verdict;

	if (s && s->peer_idx == peer_idx) {
		*out = s;
		return FLOW_OK;
	}
	if (s || peer_idx >= f->conf.max_peers)
		return FLOW_REFUSED;
	if (key->proto == FLOW_PROTO_TCP && !flow_tcp_begins(tcp_flags))
		return FLOW_NOT_A_BEGINNING;
	verdict = admit(f, &from, limits, false, now_ns);
	if (verdict == FLOW_OK)
		*out = open_outbound(f, &from, now_ns);
	return verdict;
}

enum flow_verdict flow_begin_in(struct flows *f, const struct flow_in_key *key, uint8_t tcp_flags,
	const struct flow_limits *limits, uint64_t now_ns, struct flow_session **out)
{
	struct flow_session *s = flow_find_in(f, key), from;
	struct flow_out_key out_key;
	struct flow_mapping *m;
	enum flow_verdict verdict;

	if (s) {
		*out = s;
		return FLOW_OK;
	}
	if (flow_peek_begin_in(f, key, limits->filter) != FLOW_OK)
		return FLOW_REFUSED;
	if (key->proto == FLOW_PROTO_TCP && !flow_tcp_begins(tcp_flags))
		return FLOW_NOT_A_BEGINNING;
	m = flow_mapping_find_live(f, key->public_v4, key->public_port, key->proto);
	from = (struct flow_session){
		.peer_idx = m->peer_idx,
		.public_v4 = key->public_v4,
		.inner_v4 = m->inner_v4,
		.remote_v4 = key->remote_v4,
		.public_port = key->public_port,
		.inner_port = m->inner_port,
		.remote_port = key->remote_port,
		.proto = key->proto,
		.tcp_state = key->proto == FLOW_PROTO_TCP ? FLOW_TCP_INIT_IN : FLOW_TCP_NONE,
		.mapping = flow_mapping_idx(f, m),
		.wants_permit = wants_permit(limits, key->proto),
	};
	/* The peer has this session by another public address: its answer would leave by that. */
	out_key = flow_session_out_key(&from);
	if (flow_find_out(f, &out_key))
		return FLOW_REFUSED;
	verdict = admit(f, &from, limits, true, now_ns);
	if (verdict != FLOW_OK)
		return verdict;
	set_times(f, &from, now_ns);
	*out = flow_session_open(f, &from);
	return FLOW_OK;
}
