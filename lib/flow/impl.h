/* impl.h - what the files of flow share: records, lists, keys. Not for others.
 *
 * Who writes: the worker, everything. Control reads the indexes, the visible part of sessions, the
 * public side of mappings and the peers' counts; those are written in relaxed atomic words, which
 * are plain stores to the machine.
 */
#ifndef PORTIER_FLOW_IMPL_H
#define PORTIER_FLOW_IMPL_H

#include "crypto/crypto.h"
#include "flow/flow.h"
#include "flow/index.h"

#define FLOW_PROTO_ICMP	  1
#define FLOW_PROTO_TCP	  6
#define FLOW_PROTO_UDP	  17
#define FLOW_PROTO_ICMPV6 58

/* --- lists of records, joined by a link at the same place in each */

struct flow_list {
	uint32_t head, tail;
};

struct flow_links {
	char *of_record_0;
	size_t stride_bytes;
};

static inline struct flow_link *flow_link(struct flow_links links, uint32_t i)
{
	return (struct flow_link *)(links.of_record_0 + links.stride_bytes * i);
}

static inline void flow_list_append(struct flow_list *l, struct flow_links links, uint32_t i)
{
	*flow_link(links, i) = (struct flow_link){.prev = l->tail};
	if (l->tail != 0)
		flow_link(links, l->tail)->next = i;
	else
		l->head = i;
	l->tail = i;
}

static inline void flow_list_del(struct flow_list *l, struct flow_links links, uint32_t i)
{
	const struct flow_link *at = flow_link(links, i);

	if (at->prev != 0)
		flow_link(links, at->prev)->next = at->next;
	else
		l->head = at->next;
	if (at->next != 0)
		flow_link(links, at->next)->prev = at->prev;
	else
		l->tail = at->prev;
}

/* Records 1 to n_max, which of them are free: those given back last go out first, while they are in
 * the cache. Those that never went out are not touched. */
struct flow_slab {
	uint32_t n_max, n_taken, n_touched, free;
};

/* The caller has seen to it that one is free. */
static inline uint32_t flow_slab_get(struct flow_slab *s, struct flow_links links)
{
	uint32_t i = s->free;

	s->n_taken++;
	if (i == 0)
		return ++s->n_touched;
	s->free = flow_link(links, i)->next;
	return i;
}

static inline void flow_slab_put(struct flow_slab *s, struct flow_links links, uint32_t i)
{
	s->n_taken--;
	flow_link(links, i)->next = s->free;
	s->free = i;
}

static inline uint32_t flow_slab_room(const struct flow_slab *s)
{
	return s->n_max - s->n_taken;
}

/* --- records */

enum flow_mapping_state {
	FLOW_MAPPING_FREE = 0,
	FLOW_MAPPING_LIVE,    /* a session on which its peer has sent */
	FLOW_MAPPING_CLOSING, /* only sessions on which it has not, about to end */
	FLOW_MAPPING_RESTING, /* no sessions */
};

/* In one word, so that control reads it whole. */
struct flow_public {
	uint32_t v4;
	uint16_t port;
	uint8_t proto;
	uint8_t state; /* enum flow_mapping_state */
} __attribute__((aligned(8)));

struct flow_mapping {
	struct flow_public public;
	uint32_t peer_idx; /* BLOCKS_NONE: forgotten, and in no list of a peer */
	uint32_t inner_v4;
	uint16_t inner_port;
	uint16_t unused;
	uint32_t block;	     /* a record */
	uint32_t n_counting; /* sessions on which the peer has sent */
	struct flow_list sessions;
	struct flow_link in_peer;
	struct flow_link in_state; /* in closing or in resting */
	uint64_t rests_until_ns;
} __attribute__((aligned(64)));

static_assert(sizeof(struct flow_mapping) == 64, "one cache line");

/* A protocol's place in a block. */
#define FLOW_BLOCK_PROTOS 3

struct flow_block {
	uint32_t number;   /* in blocks.h */
	uint32_t peer_idx; /* BLOCKS_NONE: forgotten, and in no list of a peer */
	struct flow_link in_peer;
	uint32_t public_v4;
	uint16_t first_port;
	uint16_t n_taken_all; /* of all protocols */
	uint16_t n_free[FLOW_BLOCK_PROTOS];
	uint16_t unused;
	uint64_t taken[]; /* a bit each, protocol by protocol */
};

struct flow_peer {
	struct flow_list sessions, mappings, blocks;
	uint32_t n_sessions;
	uint32_t n_unanswered; /* of those, on how many the peer has not sent */
	uint32_t n_blocks;
	uint32_t unused;
	uint64_t token_ns; /* the time up to which tokens are spent */
};

/* --- the engine */

#define FLOW_TICK_LOG2	 27 /* 134 ms */
#define FLOW_WHEEL_SLOTS 4096

struct flows {
	struct flow_conf conf;
	struct flow_session *sessions;
	struct flow_mapping *mappings;
	char *blocks;
	size_t block_bytes;
	unsigned n_block_ports, n_block_words;
	struct flow_peer *peers;

	struct flow_index out, in;	 /* sessions; IPv6 in out only, permits in in only */
	struct flow_index inner, public; /* mappings */
	struct flow_secret out_secret, in_secret, v6_secret, inner_secret, public_secret;
	uint8_t random_key[CRYPTO_SIPHASH_KEY_BYTES];
	uint64_t n_randoms;

	struct flow_slab session_slab, mapping_slab, block_slab;
	struct flow_list closing, resting; /* mappings; resting ones in the order of their ends */
	uint64_t tick;			   /* of the wheel: slots before it are done */
	struct flow_list wheel[FLOW_WHEEL_SLOTS];
	struct flow_counts counts;
	struct flow_records *records;
};

/* How long a session that is not TCP may be silent. */
static inline uint64_t flow_silence_ns(const struct flows *f, uint8_t proto)
{
	return proto == FLOW_PROTO_ICMP || proto == FLOW_PROTO_ICMPV6 ? f->conf.icmp_ns
								      : f->conf.udp_ns;
}

static inline struct flow_block *flow_block(const struct flows *f, uint32_t i)
{
	return (struct flow_block *)(f->blocks + f->block_bytes * i);
}

static inline struct flow_links flow_links_wheel(const struct flows *f)
{
	return (struct flow_links){(char *)&f->sessions[0].in_wheel, sizeof(f->sessions[0])};
}

static inline struct flow_links flow_links_peer(const struct flows *f)
{
	return (struct flow_links){(char *)&f->sessions[0].in_peer, sizeof(f->sessions[0])};
}

static inline struct flow_links flow_links_mapping(const struct flows *f)
{
	return (struct flow_links){(char *)&f->sessions[0].in_mapping, sizeof(f->sessions[0])};
}

static inline struct flow_links flow_links_peer_mappings(const struct flows *f)
{
	return (struct flow_links){(char *)&f->mappings[0].in_peer, sizeof(f->mappings[0])};
}

static inline struct flow_links flow_links_state(const struct flows *f)
{
	return (struct flow_links){(char *)&f->mappings[0].in_state, sizeof(f->mappings[0])};
}

static inline struct flow_links flow_links_peer_blocks(const struct flows *f)
{
	return (struct flow_links){(char *)&flow_block(f, 0)->in_peer, f->block_bytes};
}

static inline uint32_t flow_session_idx(const struct flows *f, const struct flow_session *s)
{
	return (uint32_t)(s - f->sessions);
}

static inline uint32_t flow_mapping_idx(const struct flows *f, const struct flow_mapping *m)
{
	return (uint32_t)(m - f->mappings);
}

/* --- keys: their hash, and whether a session has one */

static inline uint32_t flow_hash_out(const struct flows *f, const struct flow_out_key *key)
{
	uint32_t words[6] = {0};

	static_assert(sizeof(*key) == 20, "no padding");
	memcpy(words, key, sizeof(*key));
	return flow_hash(&f->out_secret, words, 6);
}

static inline uint32_t flow_hash_in(const struct flows *f, const struct flow_in_key *key)
{
	uint32_t words[4];

	static_assert(sizeof(*key) == sizeof(words), "no padding");
	memcpy(words, key, sizeof(words));
	return flow_hash(&f->in_secret, words, 4);
}

static inline uint32_t flow_hash_v6(const struct flows *f, const struct flow_v6_key *key)
{
	uint32_t words[10];

	static_assert(sizeof(*key) == sizeof(words), "no padding");
	memcpy(words, key, sizeof(words));
	return flow_hash(&f->v6_secret, words, 10);
}

static inline uint32_t flow_hash_inner(const struct flows *f, const struct flow_mapping *m)
{
	const uint32_t words[4] = {m->peer_idx, m->inner_v4, m->public.v4,
		(uint32_t)m->public.proto << 16 | m->inner_port};

	return flow_hash(&f->inner_secret, words, 4);
}

static inline uint32_t flow_hash_public(
	const struct flows *f, uint32_t public_v4, uint16_t port, uint8_t proto)
{
	const uint32_t words[2] = {public_v4, (uint32_t)proto << 16 | port};

	return flow_hash(&f->public_secret, words, 2);
}

static inline bool flow_session_is_out(const struct flow_session *s, const struct flow_out_key *key)
{
	return s->inner_v4 == key->inner_v4 && s->remote_v4 == key->remote_v4 &&
	       s->inner_port == key->inner_port && s->remote_port == key->remote_port &&
	       s->peer_idx == key->peer_idx && s->proto == key->proto && !s->is_v6;
}

static inline bool flow_session_is_in(
	const struct flow_session *s, const struct flow_in_key *key, bool is_permit)
{
	return s->public_v4 == key->public_v4 && s->remote_v4 == key->remote_v4 &&
	       s->public_port == key->public_port && s->remote_port == key->remote_port &&
	       s->proto == key->proto && s->is_permit == is_permit;
}

static inline bool flow_session_is_v6(const struct flow_session *s, const struct flow_v6_key *key)
{
	return s->is_v6 && s->inner_port == key->inner_port && s->remote_port == key->remote_port &&
	       s->proto == key->proto && ip_equal(&s->inner_v6, &key->inner) &&
	       ip_equal(&s->remote_v6, &key->remote);
}

static inline struct flow_out_key flow_session_out_key(const struct flow_session *s)
{
	return (struct flow_out_key){
		.peer_idx = s->peer_idx,
		.inner_v4 = s->inner_v4,
		.remote_v4 = s->remote_v4,
		.inner_port = s->inner_port,
		.remote_port = s->remote_port,
		.proto = s->proto,
	};
}

/* A permit's key is like no packet's. */
static inline struct flow_in_key flow_session_in_key(const struct flow_session *s)
{
	return (struct flow_in_key){
		.public_v4 = s->public_v4,
		.remote_v4 = s->remote_v4,
		.public_port = s->public_port,
		.remote_port = s->remote_port,
		.proto = s->proto,
		.zero = {s->is_permit},
	};
}

static inline struct flow_in_key flow_permit_key(const struct flow_in_key *key)
{
	return (struct flow_in_key){
		.public_v4 = key->public_v4,
		.remote_v4 = key->remote_v4,
		.public_port = key->public_port,
		.proto = key->proto,
		.zero = {true},
	};
}

static inline struct flow_v6_key flow_session_v6_key(const struct flow_session *s)
{
	return (struct flow_v6_key){
		.inner = s->inner_v6,
		.remote = s->remote_v6,
		.inner_port = s->inner_port,
		.remote_port = s->remote_port,
		.proto = s->proto,
	};
}

/* --- flow.c */

/* One key. NULL: none. */
struct flow_session *flow_find_out(const struct flows *f, const struct flow_out_key *key);
struct flow_session *flow_find_in(const struct flows *f, const struct flow_in_key *key);
struct flow_session *flow_find_v6(const struct flows *f, const struct flow_v6_key *key);

/* --- session.c: sessions and permits */

/* A record as given, which has a room: in the indexes, lists and the wheel that it belongs to. */
struct flow_session *flow_session_open(struct flows *f, const struct flow_session *from);
void flow_session_end(struct flows *f, struct flow_session *s, uint64_t now_ns);
/* The peer has sent on it, for the first time. */
void flow_session_count(struct flows *f, struct flow_session *s);

/* --- mapping.c: mappings, ports and blocks */

/* The mapping of these (public.v4, public.proto, peer_idx, inner), made if need be. */
enum flow_verdict flow_mapping_get(struct flows *f, const struct flow_mapping *wanted,
	uint16_t max_blocks, uint64_t now_ns, struct flow_mapping **out);
/* What flow_mapping_get would say; *public_port as flow_peek_begin_out. Any thread. */
enum flow_verdict flow_mapping_peek(const struct flows *f, const struct flow_mapping *wanted,
	uint16_t max_blocks, uint16_t *public_port);
/* NULL: none, or it does not live. Any thread, but what it points to is the worker's. */
struct flow_mapping *flow_mapping_find_live(
	const struct flows *f, uint32_t public_v4, uint16_t port, uint8_t proto);
/* One more session counts; one that counted, or the last that did not, has ended. */
void flow_mapping_count(struct flows *f, struct flow_mapping *m);
void flow_mapping_settle(struct flows *f, struct flow_mapping *m, uint64_t now_ns);
/* Its port is free from now on. */
void flow_mapping_free(struct flows *f, struct flow_mapping *m, uint64_t now_ns);
/* The peer's blocks and mappings, which all rest, are nobody's. */
void flow_mappings_orphan(struct flows *f, uint32_t peer_idx, uint64_t now_ns);

/* --- turn.c */

/* Into the wheel, which looks at it when due_ns comes, or before; out of it. */
void flow_wheel_arm(struct flows *f, struct flow_session *s);
void flow_wheel_disarm(struct flows *f, struct flow_session *s);

#endif
