/* session.c - a session's record from its beginning to its end, and the permits of moderate peers.
 *
 * A permit says that a remote address was sent to from a mapping. It is a record without times,
 * shared by the sessions to that address that count, and ends with the last of them.
 */
#include "flow/impl.h"

typedef uint64_t __attribute__((may_alias)) word;

/* Control may be reading (flow_session_read): it believes its copy only if the serial number was
 * odd before it and the same after it. The record is even while it is written here, and the end of
 * the session before was fenced from what is written now. */
static void publish(struct flow_session *s, const struct flow_session *from)
{
	const word *f = (const word *)from;
	uint32_t serial = s->serial;
	word *to = (word *)s;

	__atomic_store_n(&s->peer_idx, from->peer_idx, __ATOMIC_RELAXED);
	for (unsigned i = 1; i < sizeof(*s) / sizeof(word); i++)
		__atomic_store_n(&to[i], f[i], __ATOMIC_RELAXED);
	__atomic_store_n(&s->serial, serial + 1, __ATOMIC_RELEASE);
}

static void unpublish(struct flow_session *s)
{
	__atomic_store_n(&s->serial, s->serial + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void index_session(struct flows *f, const struct flow_session *s)
{
	struct flow_out_key out_key = flow_session_out_key(s);
	struct flow_in_key in_key = flow_session_in_key(s);
	struct flow_v6_key v6_key = flow_session_v6_key(s);
	uint32_t i = flow_session_idx(f, s);

	if (s->is_v6) {
		flow_index_add(&f->out, flow_hash_v6(f, &v6_key), i);
		return;
	}
	flow_index_add(&f->in, flow_hash_in(f, &in_key), i);
	if (!s->is_permit)
		flow_index_add(&f->out, flow_hash_out(f, &out_key), i);
}

static void unindex_session(struct flows *f, const struct flow_session *s)
{
	struct flow_out_key out_key = flow_session_out_key(s);
	struct flow_in_key in_key = flow_session_in_key(s);
	struct flow_v6_key v6_key = flow_session_v6_key(s);
	uint32_t i = flow_session_idx(f, s);

	if (s->is_v6) {
		flow_index_del(&f->out, flow_hash_v6(f, &v6_key), i);
		return;
	}
	flow_index_del(&f->in, flow_hash_in(f, &in_key), i);
	if (!s->is_permit)
		flow_index_del(&f->out, flow_hash_out(f, &out_key), i);
}

static struct flow_session *take_record(struct flows *f, const struct flow_session *from)
{
	uint32_t i = flow_slab_get(&f->session_slab, flow_links_wheel(f));
	struct flow_session *s = &f->sessions[i];

	publish(s, from);
	index_session(f, s);
	return s;
}

static void give_record_back(struct flows *f, struct flow_session *s)
{
	unindex_session(f, s);
	unpublish(s);
	flow_slab_put(&f->session_slab, flow_links_wheel(f), flow_session_idx(f, s));
}

/* --- permits */

static struct flow_session *find_permit(const struct flows *f, const struct flow_in_key *key)
{
	struct flow_walk walk = flow_index_walk(&f->in, flow_hash_in(f, key));
	uint32_t i;

	while ((i = flow_index_next(&f->in, &walk)) != 0)
		if (flow_session_is_in(&f->sessions[i], key, true))
			return &f->sessions[i];
	return NULL;
}

/* For a session that counts from now on. Without room it goes without. */
static void get_permit(struct flows *f, struct flow_session *s)
{
	struct flow_in_key in_key = flow_session_in_key(s), key = flow_permit_key(&in_key);
	struct flow_session *permit = find_permit(f, &key);

	if (!permit && flow_slab_room(&f->session_slab) > 0) {
		permit = take_record(f, &(struct flow_session){
						.peer_idx = s->peer_idx,
						.public_v4 = s->public_v4,
						.remote_v4 = s->remote_v4,
						.public_port = s->public_port,
						.proto = s->proto,
						.is_permit = true,
					});
		f->counts.permits++;
	}
	if (!permit)
		return;
	permit->n_refs++;
	s->permit = flow_session_idx(f, permit);
}

static void put_permit(struct flows *f, struct flow_session *permit)
{
	if (--permit->n_refs > 0)
		return;
	give_record_back(f, permit);
	f->counts.permits--;
}

/* --- sessions */

static void set_n_sessions(struct flow_peer *peer, uint32_t n)
{
	__atomic_store_n(&peer->n_sessions, n, __ATOMIC_RELAXED);
}

struct flow_session *flow_session_open(struct flows *f, const struct flow_session *from)
{
	struct flow_session *s = take_record(f, from);
	struct flow_peer *peer = &f->peers[s->peer_idx];
	uint32_t i = flow_session_idx(f, s);

	flow_list_append(&peer->sessions, flow_links_peer(f), i);
	set_n_sessions(peer, peer->n_sessions + 1);
	peer->n_unanswered++;
	if (s->mapping != 0)
		flow_list_append(&f->mappings[s->mapping].sessions, flow_links_mapping(f), i);
	flow_wheel_arm(f, s);
	f->counts.sessions++;
	f->counts.begun++;
	return s;
}

void flow_session_count(struct flows *f, struct flow_session *s)
{
	__atomic_store_n(&s->has_sent, true, __ATOMIC_RELAXED);
	f->peers[s->peer_idx].n_unanswered--;
	if (s->mapping == 0)
		return;
	flow_mapping_count(f, &f->mappings[s->mapping]);
	if (s->wants_permit)
		get_permit(f, s);
}

void flow_session_end(struct flows *f, struct flow_session *s, uint64_t now_ns)
{
	struct flow_peer *peer = &f->peers[s->peer_idx];
	struct flow_mapping *m = &f->mappings[s->mapping];
	uint32_t i = flow_session_idx(f, s);

	flow_wheel_disarm(f, s);
	flow_list_del(&peer->sessions, flow_links_peer(f), i);
	set_n_sessions(peer, peer->n_sessions - 1);
	peer->n_unanswered -= !s->has_sent;
	if (s->mapping != 0) {
		flow_list_del(&m->sessions, flow_links_mapping(f), i);
		m->n_counting -= s->has_sent;
		if (s->permit != 0)
			put_permit(f, &f->sessions[s->permit]);
		flow_mapping_settle(f, m, now_ns);
	}
	give_record_back(f, s);
	f->counts.sessions--;
	f->counts.ended++;
}
