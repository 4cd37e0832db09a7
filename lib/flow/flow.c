#include "flow/impl.h"

#include <stdlib.h>

/* What a packet's key is; a constant where the functions below are inlined. */
enum key_kind {
	KEY_OUT,
	KEY_IN,
	KEY_V6,
};

static inline const void *key_at(enum key_kind kind, const void *keys, uint32_t i)
{
	switch (kind) {
	case KEY_OUT:
		return (const struct flow_out_key *)keys + i;
	case KEY_IN:
		return (const struct flow_in_key *)keys + i;
	default:
		return (const struct flow_v6_key *)keys + i;
	}
}

static inline uint32_t hash_of(const struct flows *f, enum key_kind kind, const void *key)
{
	switch (kind) {
	case KEY_OUT:
		return flow_hash_out(f, key);
	case KEY_IN:
		return flow_hash_in(f, key);
	default:
		return flow_hash_v6(f, key);
	}
}

static inline bool is_session_of(const struct flow_session *s, enum key_kind kind, const void *key)
{
	switch (kind) {
	case KEY_OUT:
		return flow_session_is_out(s, key);
	case KEY_IN:
		return flow_session_is_in(s, key, false);
	default:
		return flow_session_is_v6(s, key);
	}
}

static inline const struct flow_index *index_of(const struct flows *f, enum key_kind kind)
{
	return kind == KEY_IN ? &f->in : &f->out;
}

static inline struct flow_session *find(const struct flows *f, enum key_kind kind, const void *key)
{
	const struct flow_index *ix = index_of(f, kind);
	struct flow_walk walk = flow_index_walk(ix, hash_of(f, kind, key));
	uint32_t i;

	while ((i = flow_index_next(ix, &walk)) != 0)
		if (is_session_of(&f->sessions[i], kind, key))
			return &f->sessions[i];
	return NULL;
}

static inline void find_burst(const struct flows *f, enum key_kind kind, const void *keys,
	uint32_t n, struct flow_session **out)
{
	const struct flow_index *ix = index_of(f, kind);
	uint32_t hashes[FLOW_BURST_MAX], records[FLOW_BURST_MAX];
	struct flow_walk walks[FLOW_BURST_MAX];

	for (uint32_t i = 0; i < n; i++) {
		hashes[i] = hash_of(f, kind, key_at(kind, keys, i));
		flow_index_prefetch(ix, hashes[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		walks[i] = flow_index_walk(ix, hashes[i]);
		records[i] = flow_index_next(ix, &walks[i]);
		__builtin_prefetch(&f->sessions[records[i]], 1);
		if (kind == KEY_V6)
			__builtin_prefetch(&f->sessions[records[i]].inner_v6);
	}
	for (uint32_t i = 0; i < n; i++) {
		while (records[i] != 0 &&
			!is_session_of(&f->sessions[records[i]], kind, key_at(kind, keys, i)))
			records[i] = flow_index_next(ix, &walks[i]);
		out[i] = records[i] != 0 ? &f->sessions[records[i]] : NULL;
	}
}

struct flow_session *flow_find_out(const struct flows *f, const struct flow_out_key *key)
{
	return find(f, KEY_OUT, key);
}

struct flow_session *flow_find_in(const struct flows *f, const struct flow_in_key *key)
{
	return find(f, KEY_IN, key);
}

struct flow_session *flow_find_v6(const struct flows *f, const struct flow_v6_key *key)
{
	return find(f, KEY_V6, key);
}

void flow_find_out_burst(
	struct flows *f, const struct flow_out_key *keys, uint32_t n, struct flow_session **out)
{
	find_burst(f, KEY_OUT, keys, n, out);
}

void flow_find_in_burst(
	struct flows *f, const struct flow_in_key *keys, uint32_t n, struct flow_session **out)
{
	find_burst(f, KEY_IN, keys, n, out);
}

void flow_find_v6_burst(
	struct flows *f, const struct flow_v6_key *keys, uint32_t n, struct flow_session **out)
{
	find_burst(f, KEY_V6, keys, n, out);
}

/* --- a packet passes */

static inline void set_due(struct flow_session *s, uint64_t due_ns)
{
	__atomic_store_n(&s->due_ns, due_ns, __ATOMIC_RELAXED);
}

static void step_tcp(
	struct flows *f, struct flow_session *s, uint8_t flags, bool is_out, uint64_t now_ns)
{
	struct flow_tcp_step step = flow_tcp_step(s->tcp_state, flags, is_out);
	uint64_t due_ns = now_ns + f->conf.tcp_transitory_ns;
	bool is_sooner;

	__atomic_store_n(&s->tcp_state, step.state, __ATOMIC_RELAXED);
	if (step.life == FLOW_TCP_KEEP)
		return;
	if (step.life == FLOW_TCP_LONG)
		due_ns = now_ns + f->conf.tcp_established_ns;
	is_sooner = due_ns < s->due_ns;
	if (step.life == FLOW_TCP_CUT && !is_sooner)
		return;
	set_due(s, due_ns);
	/* The wheel looks too late by itself only when an end comes nearer. */
	if (is_sooner) {
		flow_wheel_disarm(f, s);
		flow_wheel_arm(f, s);
	}
}

void flow_sent(struct flows *f, struct flow_session *s, uint8_t tcp_flags, uint64_t now_ns)
{
	if (s->proto == FLOW_PROTO_TCP)
		step_tcp(f, s, tcp_flags, true, now_ns);
	else
		set_due(s, now_ns + flow_silence_ns(f, s->proto));
	if (__builtin_expect(!s->has_sent, 0) &&
		!(s->proto == FLOW_PROTO_TCP && tcp_flags & FLOW_TCP_RST))
		flow_session_count(f, s);
}

void flow_received(struct flows *f, struct flow_session *s, uint8_t tcp_flags, uint64_t now_ns)
{
	if (s->proto == FLOW_PROTO_TCP)
		step_tcp(f, s, tcp_flags, false, now_ns);
}

/* --- the whole */

static void *alloc_zeroed(size_t bytes, int socket_id)
{
	void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);

	(void)socket_id;
	return p ? memset(p, 0, bytes) : NULL;
}

static void *take(struct flows *f, uint64_t n, size_t each_bytes)
{
	return f->conf.alloc(n * each_bytes, f->conf.socket_id);
}

static bool make_index(struct flows *f, struct flow_index *ix, uint32_t max_entries)
{
	uint32_t n = flow_index_buckets(max_entries);

	ix->mask = n - 1;
	ix->buckets = take(f, n, sizeof(*ix->buckets));
	return ix->buckets != NULL;
}

static bool make_tables(struct flows *f)
{
	uint32_t n_sessions = f->conf.max_sessions;
	uint32_t n_mappings = n_sessions + n_sessions / 2;
	uint32_t n_blocks = blocks_total(f->conf.blocks);

	/* A block in use has at least one mapping. */
	if (n_blocks > n_mappings)
		n_blocks = n_mappings;
	f->session_slab.n_max = n_sessions;
	f->mapping_slab.n_max = n_mappings;
	f->block_slab.n_max = n_blocks;
	f->sessions = take(f, n_sessions + 1, sizeof(*f->sessions));
	f->mappings = take(f, n_mappings + 1, sizeof(*f->mappings));
	f->blocks = take(f, n_blocks + 1, f->block_bytes);
	/* Address space only, until a peer comes to this worker. */
	f->peers = calloc(f->conf.max_peers, sizeof(*f->peers));
	f->records = flow_records_create();
	return f->sessions && f->mappings && f->blocks && f->peers && f->records &&
	       make_index(f, &f->out, n_sessions) && make_index(f, &f->in, n_sessions) &&
	       make_index(f, &f->inner, n_mappings) && make_index(f, &f->public, n_mappings);
}

struct flows *flows_create(const struct flow_conf *conf)
{
	struct flows *f;

	if (conf->max_sessions == 0 || conf->max_sessions > FLOW_SESSIONS_MAX ||
		conf->max_peers == 0)
		return NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->conf = *conf;
	if (!f->conf.alloc) {
		f->conf.alloc = alloc_zeroed;
		f->conf.free = free;
	}
	f->n_block_ports = blocks_ports(conf->blocks);
	f->n_block_words = f->n_block_ports / 64;
	f->block_bytes =
		sizeof(struct flow_block) + sizeof(uint64_t) * FLOW_BLOCK_PROTOS * f->n_block_words;
	conf->random(&f->out_secret, sizeof(f->out_secret));
	conf->random(&f->in_secret, sizeof(f->in_secret));
	conf->random(&f->v6_secret, sizeof(f->v6_secret));
	conf->random(&f->inner_secret, sizeof(f->inner_secret));
	conf->random(&f->public_secret, sizeof(f->public_secret));
	conf->random(f->random_key, sizeof(f->random_key));
	if (!make_tables(f)) {
		flows_destroy(f);
		return NULL;
	}
	return f;
}

static void release_blocks(struct flows *f)
{
	for (uint32_t i = 1; f->blocks && i <= f->block_slab.n_touched; i++)
		if (flow_block(f, i)->n_taken_all > 0)
			blocks_release(f->conf.blocks, flow_block(f, i)->number);
}

void flows_destroy(struct flows *f)
{
	void *tables[7];

	if (!f)
		return;
	release_blocks(f);
	tables[0] = f->sessions;
	tables[1] = f->mappings;
	tables[2] = f->blocks;
	tables[3] = f->out.buckets;
	tables[4] = f->in.buckets;
	tables[5] = f->inner.buckets;
	tables[6] = f->public.buckets;
	for (unsigned i = 0; i < 7; i++)
		if (tables[i])
			f->conf.free(tables[i]);
	flow_records_destroy(f->records);
	free(f->peers);
	free(f);
}
