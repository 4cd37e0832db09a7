/* begin.c - may a session begin? Quotas, filters, and the record that it begins with. */
#include "flow/impl.h"

/* GCRA: *spent_ns is the time up to which tokens are spent, never longer ago than a full bucket. */
static bool take_token(
	const struct flow_limits *limits, bool is_inbound, uint64_t now_ns, uint64_t *spent_ns)
{
	uint64_t token_ns, depth_ns, oldest_ns, end_ns = now_ns;

	if (limits->new_per_s == 0)
		return true;
	token_ns = NS_IN_S / limits->new_per_s;
	depth_ns = token_ns * limits->burst;
	oldest_ns = now_ns > depth_ns ? now_ns - depth_ns : 0;
	if (is_inbound)
		end_ns = oldest_ns + (now_ns - oldest_ns) / 2;
	if (*spent_ns < oldest_ns)
		*spent_ns = oldest_ns;
	if (*spent_ns + token_ns > end_ns)
		return false;
	*spent_ns += token_ns;
	return true;
}

/* Room for the session and what comes with it; a quota of the peer left; a token, which *spent_ns
 * tells. Any thread. */
static enum flow_verdict may_begin(const struct flows *f, const struct flow_session *s,
	const struct flow_limits *limits, bool is_inbound, uint64_t now_ns, uint64_t *spent_ns)
{
	const struct flow_peer *peer = &f->peers[s->peer_idx];
	uint32_t n_unanswered = __atomic_load_n(&peer->n_unanswered, __ATOMIC_RELAXED);

	*spent_ns = __atomic_load_n(&peer->token_ns, __ATOMIC_RELAXED);
	if (__atomic_load_n(&peer->n_sessions, __ATOMIC_RELAXED) >= limits->max_sessions)
		return FLOW_TOO_MANY;
	if (is_inbound && n_unanswered >= limits->max_sessions / 2)
		return FLOW_TOO_MANY;
	if (!take_token(limits, is_inbound, now_ns, spent_ns))
		return FLOW_TOO_FAST;
	if (flow_slab_room(&f->session_slab) < 1u + s->wants_permit)
		return FLOW_TABLE_FULL;
	return FLOW_OK;
}

static enum flow_verdict admit(struct flows *f, const struct flow_session *s,
	const struct flow_limits *limits, bool is_inbound, uint64_t now_ns)
{
	uint64_t spent_ns;
	enum flow_verdict verdict = may_begin(f, s, limits, is_inbound, now_ns, &spent_ns);

	__atomic_store_n(&f->peers[s->peer_idx].token_ns, spent_ns, __ATOMIC_RELAXED);
	return verdict;
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

/* Of a peer's packet that no session leads, before quotas: is it a beginning at all? */
static enum flow_verdict is_beginning(
	const struct flows *f, uint32_t peer_idx, uint8_t proto, uint8_t tcp_flags)
{
	if (peer_idx >= f->conf.max_peers)
		return FLOW_REFUSED;
	if (proto == FLOW_PROTO_TCP && !flow_tcp_begins(tcp_flags))
		return FLOW_NOT_A_BEGINNING;
	return FLOW_OK;
}

static struct flow_mapping wanted_mapping(const struct flow_out_key *key, uint32_t public_v4)
{
	return (struct flow_mapping){
		.public = {.v4 = public_v4, .proto = key->proto},
		.peer_idx = key->peer_idx,
		.inner_v4 = key->inner_v4,
		.inner_port = key->inner_port,
	};
}

enum flow_verdict flow_begin_out(struct flows *f, const struct flow_out_key *key,
	uint32_t public_v4, uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session **out)
{
	struct flow_session *s = flow_find_out(f, key), from = outbound_v4(key);
	struct flow_mapping wanted = wanted_mapping(key, public_v4);
	struct flow_mapping *m;
	enum flow_verdict verdict;

	if (s) {
		*out = s;
		return FLOW_OK;
	}
	if (!is_translated(key->proto))
		return FLOW_REFUSED;
	verdict = is_beginning(f, key->peer_idx, key->proto, tcp_flags);
	if (verdict != FLOW_OK)
		return verdict;
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

enum flow_verdict flow_peek_begin_out(const struct flows *f, const struct flow_out_key *key,
	uint32_t public_v4, uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	uint16_t *public_port)
{
	struct flow_mapping wanted = wanted_mapping(key, public_v4);
	struct flow_session from = outbound_v4(key);
	enum flow_verdict verdict;
	uint64_t spent_ns;

	if (!is_translated(key->proto))
		return FLOW_REFUSED;
	verdict = is_beginning(f, key->peer_idx, key->proto, tcp_flags);
	if (verdict != FLOW_OK)
		return verdict;
	from.wants_permit = wants_permit(limits, key->proto);
	verdict = may_begin(f, &from, limits, false, now_ns, &spent_ns);
	return verdict != FLOW_OK ? verdict
				  : flow_mapping_peek(f, &wanted, limits->max_blocks, public_port);
}

/* One that takes no public port. */
static enum flow_verdict begin_plain(struct flows *f, struct flow_session *from, uint8_t tcp_flags,
	const struct flow_limits *limits, uint64_t now_ns, struct flow_session **out)
{
	enum flow_verdict verdict = is_beginning(f, from->peer_idx, from->proto, tcp_flags);

	if (verdict == FLOW_OK)
		verdict = admit(f, from, limits, false, now_ns);
	if (verdict == FLOW_OK)
		*out = open_outbound(f, from, now_ns);
	return verdict;
}

enum flow_verdict flow_begin_exempt(struct flows *f, const struct flow_out_key *key,
	uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session **out)
{
	struct flow_session *s = flow_find_out(f, key), from = outbound_v4(key);
	struct flow_in_key in_key;

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
	return begin_plain(f, &from, tcp_flags, limits, now_ns, out);
}

enum flow_verdict flow_peek_begin_plain(const struct flows *f, uint32_t peer_idx, uint8_t proto,
	uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns)
{
	struct flow_session from = {.peer_idx = peer_idx};
	enum flow_verdict verdict = is_beginning(f, peer_idx, proto, tcp_flags);
	uint64_t spent_ns;

	return verdict == FLOW_OK ? may_begin(f, &from, limits, false, now_ns, &spent_ns) : verdict;
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

	if (s && s->peer_idx == peer_idx) {
		*out = s;
		return FLOW_OK;
	}
	if (s)
		return FLOW_REFUSED;
	return begin_plain(f, &from, tcp_flags, limits, now_ns, out);
}

/* What a session that begins from outside would be, and whether it may; *from stays untouched
 * unless the mapping and its filter admit it. Any thread. */
static enum flow_verdict inbound(const struct flows *f, const struct flow_in_key *key,
	uint8_t tcp_flags, const struct flow_limits *limits, struct flow_session *from)
{
	const struct flow_mapping *m;
	struct flow_out_key out_key;
	struct flow_session other;

	if (flow_peek_filter(f, key, limits->filter) != FLOW_OK)
		return FLOW_REFUSED;
	if (key->proto == FLOW_PROTO_TCP && !flow_tcp_begins(tcp_flags))
		return FLOW_NOT_A_BEGINNING;
	m = flow_mapping_find_live(f, key->public_v4, key->public_port, key->proto);
	if (!m) /* Not for the worker, whose own it is. */
		return FLOW_REFUSED;
	*from = (struct flow_session){
		.peer_idx = __atomic_load_n(&m->peer_idx, __ATOMIC_RELAXED),
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
	out_key = flow_session_out_key(from);
	return flow_peek_out(f, &out_key, &other) ? FLOW_REFUSED : FLOW_OK;
}

enum flow_verdict flow_begin_in(struct flows *f, const struct flow_in_key *key, uint8_t tcp_flags,
	const struct flow_limits *limits, uint64_t now_ns, struct flow_session **out)
{
	struct flow_session *s = flow_find_in(f, key), from;
	enum flow_verdict verdict;

	if (s) {
		*out = s;
		return FLOW_OK;
	}
	verdict = inbound(f, key, tcp_flags, limits, &from);
	if (verdict == FLOW_OK)
		verdict = admit(f, &from, limits, true, now_ns);
	if (verdict != FLOW_OK)
		return verdict;
	set_times(f, &from, now_ns);
	*out = flow_session_open(f, &from);
	return FLOW_OK;
}

enum flow_verdict flow_peek_begin_in(const struct flows *f, const struct flow_in_key *key,
	uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session *out)
{
	struct flow_session from;
	enum flow_verdict verdict = inbound(f, key, tcp_flags, limits, &from);
	uint64_t spent_ns;

	if (verdict != FLOW_OK)
		return verdict;
	/* Read while the worker went on: nobody's any more. */
	if (from.peer_idx >= f->conf.max_peers)
		return FLOW_REFUSED;
	*out = from;
	return may_begin(f, &from, limits, true, now_ns, &spent_ns);
}
