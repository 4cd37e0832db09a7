/* peek.c - looking without touching, from any thread. */
#include "flow/impl.h"

typedef uint64_t __attribute__((may_alias)) word;

const struct flow_counts *flows_counts(const struct flows *f)
{
	return &f->counts;
}

uint32_t flows_max(const struct flows *f)
{
	return f->session_slab.n_max;
}

struct flow_records *flows_records(const struct flows *f)
{
	return f->records;
}

uint32_t flow_peer_sessions(const struct flows *f, uint32_t peer_idx)
{
	if (peer_idx >= f->conf.max_peers)
		return 0;
	return __atomic_load_n(&f->peers[peer_idx].n_sessions, __ATOMIC_RELAXED);
}

/* The worker may be writing. A serial number that was odd before and is the same afterwards means
 * that the record was one session all the while, so that what identifies it is whole; due_ns,
 * tcp_state and has_sent are written as packets pass, each in one piece, and may be of two moments.
 * Nobody acts on the copy but to show it. */
static bool copy_session(const struct flow_session *s, struct flow_session *out)
{
	uint32_t serial = __atomic_load_n(&s->serial, __ATOMIC_ACQUIRE);
	const word *from = (const word *)s;
	struct flow_session copy = {0};
	word *to = (word *)&copy;

	if (!(serial & 1))
		return false;
	for (size_t i = 0; i < offsetof(struct flow_session, mapping) / sizeof(word); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	for (size_t i = offsetof(struct flow_session, inner_v6) / sizeof(word);
		i < offsetof(struct flow_session, in_peer) / sizeof(word); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&s->serial, __ATOMIC_RELAXED) != serial)
		return false;
	*out = copy;
	return true;
}

bool flow_session_read(const struct flows *f, uint32_t idx, struct flow_session *out)
{
	struct flow_session copy;

	if (idx == 0 || idx > flows_max(f) || !copy_session(&f->sessions[idx], &copy) ||
		copy.is_permit)
		return false;
	*out = copy;
	return true;
}

bool flow_peek_out(const struct flows *f, const struct flow_out_key *key, struct flow_session *out)
{
	struct flow_walk walk = flow_index_walk(&f->out, flow_hash_out(f, key));
	struct flow_session copy;
	uint32_t i;

	while ((i = flow_index_next(&f->out, &walk)) != 0) {
		if (copy_session(&f->sessions[i], &copy) && flow_session_is_out(&copy, key)) {
			*out = copy;
			return true;
		}
	}
	return false;
}

static bool peek_in(const struct flows *f, const struct flow_in_key *key, bool is_permit,
	struct flow_session *out)
{
	struct flow_walk walk = flow_index_walk(&f->in, flow_hash_in(f, key));
	struct flow_session copy;
	uint32_t i;

	while ((i = flow_index_next(&f->in, &walk)) != 0) {
		if (copy_session(&f->sessions[i], &copy) &&
			flow_session_is_in(&copy, key, is_permit)) {
			*out = copy;
			return true;
		}
	}
	return false;
}

bool flow_peek_in(const struct flows *f, const struct flow_in_key *key, struct flow_session *out)
{
	return peek_in(f, key, false, out);
}

bool flow_peek_v6(const struct flows *f, const struct flow_v6_key *key, struct flow_session *out)
{
	struct flow_walk walk = flow_index_walk(&f->out, flow_hash_v6(f, key));
	struct flow_session copy;
	uint32_t i;

	while ((i = flow_index_next(&f->out, &walk)) != 0) {
		if (copy_session(&f->sessions[i], &copy) && flow_session_is_v6(&copy, key)) {
			*out = copy;
			return true;
		}
	}
	return false;
}

enum flow_verdict flow_peek_filter(
	const struct flows *f, const struct flow_in_key *key, enum flow_filter filter)
{
	struct flow_in_key permit_key = flow_permit_key(key);
	struct flow_session permit;

	if (!flow_mapping_find_live(f, key->public_v4, key->public_port, key->proto))
		return FLOW_REFUSED;
	if (filter == FLOW_OPEN)
		return FLOW_OK;
	return filter == FLOW_MODERATE && peek_in(f, &permit_key, true, &permit) ? FLOW_OK
										 : FLOW_REFUSED;
}
