/* mapping.c - mappings and their ports: chosen at random in the peer's blocks, kept while they
 * rest, given back with their blocks.
 */
#include "flow/impl.h"

static unsigned proto_slot(uint8_t proto)
{
	return proto == FLOW_PROTO_TCP ? 0 : proto == FLOW_PROTO_UDP ? 1 : 2;
}

/* RFC 6056, section 3: not to be guessed from earlier ones. A keyed hash of a counter. */
static uint32_t draw(struct flows *f)
{
	uint64_t n = f->n_randoms++;

	return (uint32_t)(crypto_siphash(f->random_key, &n, sizeof(n)) >> 32);
}

/* --- blocks */

static void record_block(
	struct flows *f, const struct flow_block *b, bool is_claimed, uint64_t now_ns)
{
	flow_records_add(f->records, &(struct flow_record){
					     .at_ns = now_ns,
					     .peer_idx = b->peer_idx,
					     .public_v4 = b->public_v4,
					     .first_port = b->first_port,
					     .n_ports = (uint16_t)f->n_block_ports,
					     .is_claimed = is_claimed,
				     });
}

static bool claim_block(
	struct flows *f, uint32_t peer_idx, uint32_t public_v4, uint64_t now_ns, uint32_t *out)
{
	struct flow_peer *peer = &f->peers[peer_idx];
	struct flow_block *b;
	uint32_t number, i;

	if (flow_slab_room(&f->block_slab) == 0)
		return false;
	number = blocks_claim(f->conf.blocks, public_v4, peer_idx, draw(f));
	if (number == BLOCKS_NONE)
		return false;
	i = flow_slab_get(&f->block_slab, flow_links_peer_blocks(f));
	b = flow_block(f, i);
	b->number = number;
	b->peer_idx = peer_idx;
	b->public_v4 = public_v4;
	b->first_port = blocks_first_port(f->conf.blocks, number);
	for (unsigned p = 0; p < FLOW_BLOCK_PROTOS; p++)
		b->n_free[p] = (uint16_t)f->n_block_ports;
	flow_list_append(&peer->blocks, flow_links_peer_blocks(f), i);
	peer->n_blocks++;
	f->counts.blocks++;
	record_block(f, b, true, now_ns);
	*out = i;
	return true;
}

/* No port of it is taken any more. */
static void give_block_back(struct flows *f, uint32_t i, uint64_t now_ns)
{
	struct flow_block *b = flow_block(f, i);

	if (b->peer_idx != BLOCKS_NONE) {
		struct flow_peer *peer = &f->peers[b->peer_idx];

		flow_list_del(&peer->blocks, flow_links_peer_blocks(f), i);
		peer->n_blocks--;
		record_block(f, b, false, now_ns);
	}
	blocks_release(f->conf.blocks, b->number);
	flow_slab_put(&f->block_slab, flow_links_peer_blocks(f), i);
	f->counts.blocks--;
}

/* The bit of the nth free port: there are more than n. */
static unsigned find_nth_free(const uint64_t *taken, uint32_t n)
{
	unsigned at = 0;
	uint64_t is_free = ~taken[0];

	for (uint32_t here; n >= (here = (uint32_t)__builtin_popcountll(is_free)); n -= here)
		is_free = ~taken[++at];
	while (n-- > 0)
		is_free &= is_free - 1;
	return at * 64 + (unsigned)__builtin_ctzll(is_free);
}

static uint32_t count_free(
	const struct flows *f, const struct flow_peer *peer, uint32_t public_v4, unsigned slot)
{
	uint32_t n = 0;

	for (uint32_t i = peer->blocks.head; i != 0; i = flow_block(f, i)->in_peer.next)
		if (flow_block(f, i)->public_v4 == public_v4)
			n += flow_block(f, i)->n_free[slot];
	return n;
}

/* Each free port of the peer's blocks is as likely as any other. */
static bool take_port(struct flows *f, struct flow_mapping *m, uint16_t max_blocks, uint64_t now_ns)
{
	struct flow_peer *peer = &f->peers[m->peer_idx];
	unsigned slot = proto_slot(m->public.proto), bit;
	uint32_t n_free = count_free(f, peer, m->public.v4, slot);
	uint32_t i = peer->blocks.head, nth;
	struct flow_block *b;

	if (n_free == 0) {
		if (peer->n_blocks >= max_blocks ||
			!claim_block(f, m->peer_idx, m->public.v4, now_ns, &i))
			return false;
		n_free = f->n_block_ports;
	}
	nth = (uint32_t)((uint64_t)draw(f) * n_free >> 32);
	for (;; i = b->in_peer.next) {
		b = flow_block(f, i);
		if (b->public_v4 != m->public.v4)
			continue;
		if (nth < b->n_free[slot])
			break;
		nth -= b->n_free[slot];
	}
	bit = find_nth_free(b->taken + (size_t)slot * f->n_block_words, nth);
	b->taken[slot * f->n_block_words + bit / 64] |= UINT64_C(1) << bit % 64;
	b->n_free[slot]--;
	b->n_taken_all++;
	m->block = i;
	m->public.port = (uint16_t)(b->first_port + bit);
	return true;
}

static void give_port_back(struct flows *f, const struct flow_mapping *m, uint64_t now_ns)
{
	struct flow_block *b = flow_block(f, m->block);
	unsigned slot = proto_slot(m->public.proto);
	unsigned bit = (unsigned)(m->public.port - b->first_port);

	b->taken[slot * f->n_block_words + bit / 64] &= ~(UINT64_C(1) << bit % 64);
	b->n_free[slot]++;
	if (--b->n_taken_all == 0)
		give_block_back(f, m->block, now_ns);
}

/* --- mappings */

static struct flow_mapping *find_inner(const struct flows *f, const struct flow_mapping *wanted)
{
	struct flow_walk walk = flow_index_walk(&f->inner, flow_hash_inner(f, wanted));
	uint32_t i;

	while ((i = flow_index_next(&f->inner, &walk)) != 0) {
		struct flow_mapping *m = &f->mappings[i];

		if (m->peer_idx == wanted->peer_idx && m->inner_v4 == wanted->inner_v4 &&
			m->inner_port == wanted->inner_port && m->public.v4 == wanted->public.v4 &&
			m->public.proto == wanted->public.proto)
			return m;
	}
	return NULL;
}

typedef uint64_t __attribute__((may_alias)) word;

static struct flow_public get_public(const struct flow_mapping *m)
{
	word w = __atomic_load_n((const word *)&m->public, __ATOMIC_RELAXED);
	struct flow_public public;

	memcpy(&public, &w, sizeof(public));
	return public;
}

static void set_public(struct flow_mapping *m, struct flow_public public)
{
	word w;

	memcpy(&w, &public, sizeof(w));
	__atomic_store_n((word *)&m->public, w, __ATOMIC_RELAXED);
}

struct flow_mapping *flow_mapping_find_live(
	const struct flows *f, uint32_t public_v4, uint16_t port, uint8_t proto)
{
	struct flow_walk walk =
		flow_index_walk(&f->public, flow_hash_public(f, public_v4, port, proto));
	uint32_t i;

	while ((i = flow_index_next(&f->public, &walk)) != 0) {
		struct flow_public p = get_public(&f->mappings[i]);

		if (p.v4 == public_v4 && p.port == port && p.proto == proto)
			return p.state == FLOW_MAPPING_LIVE ? &f->mappings[i] : NULL;
	}
	return NULL;
}

/* Another thread may see a list while it is changed: at most so many steps, and only to records
 * that there are. */
static bool has_free_port(
	const struct flows *f, const struct flow_peer *peer, uint32_t public_v4, unsigned slot)
{
	uint32_t i = __atomic_load_n(&peer->blocks.head, __ATOMIC_RELAXED);

	for (uint32_t n = 0; n < f->block_slab.n_max && i != 0 && i <= f->block_slab.n_max; n++) {
		const struct flow_block *b = flow_block(f, i);

		if (__atomic_load_n(&b->public_v4, __ATOMIC_RELAXED) == public_v4 &&
			__atomic_load_n(&b->n_free[slot], __ATOMIC_RELAXED) > 0)
			return true;
		i = __atomic_load_n(&b->in_peer.next, __ATOMIC_RELAXED);
	}
	return false;
}

enum flow_verdict flow_mapping_peek(const struct flows *f, const struct flow_mapping *wanted,
	uint16_t max_blocks, uint16_t *public_port)
{
	const struct flow_mapping *m = find_inner(f, wanted);
	const struct flow_peer *peer = &f->peers[wanted->peer_idx];
	struct blocks_counts counts = {0};

	*public_port = m ? get_public(m).port : 0;
	if (m)
		return FLOW_OK;
	if (flow_slab_room(&f->mapping_slab) == 0)
		return FLOW_TABLE_FULL;
	if (has_free_port(f, peer, wanted->public.v4, proto_slot(wanted->public.proto)))
		return FLOW_OK;
	blocks_count(f->conf.blocks, wanted->public.v4, &counts);
	return __atomic_load_n(&peer->n_blocks, __ATOMIC_RELAXED) < max_blocks &&
			       counts.total > counts.owned + counts.resting &&
			       flow_slab_room(&f->block_slab) > 0
		       ? FLOW_OK
		       : FLOW_NO_PORT;
}

static void set_state(struct flow_mapping *m, enum flow_mapping_state state)
{
	__atomic_store_n(&m->public.state, (uint8_t)state, __ATOMIC_RELAXED);
}

enum flow_verdict flow_mapping_get(struct flows *f, const struct flow_mapping *wanted,
	uint16_t max_blocks, uint64_t now_ns, struct flow_mapping **out)
{
	struct flow_mapping made = *wanted;
	struct flow_mapping *m = find_inner(f, wanted);
	uint32_t i;

	if (m) {
		*out = m;
		return FLOW_OK;
	}
	if (flow_slab_room(&f->mapping_slab) == 0)
		return FLOW_TABLE_FULL;
	if (!take_port(f, &made, max_blocks, now_ns))
		return FLOW_NO_PORT;
	i = flow_slab_get(&f->mapping_slab, flow_links_state(f));
	m = &f->mappings[i];
	made.public.state = FLOW_MAPPING_LIVE;
	set_public(m, made.public);
	m->peer_idx = made.peer_idx;
	m->inner_v4 = made.inner_v4;
	m->inner_port = made.inner_port;
	m->block = made.block;
	flow_index_add(&f->inner, flow_hash_inner(f, m), i);
	flow_index_add(
		&f->public, flow_hash_public(f, m->public.v4, m->public.port, m->public.proto), i);
	flow_list_append(&f->peers[m->peer_idx].mappings, flow_links_peer_mappings(f), i);
	f->counts.mappings++;
	*out = m;
	return FLOW_OK;
}

void flow_mapping_count(struct flows *f, struct flow_mapping *m)
{
	uint32_t i = flow_mapping_idx(f, m);

	m->n_counting++;
	if (m->public.state == FLOW_MAPPING_CLOSING) {
		flow_list_del(&f->closing, flow_links_state(f), i);
	} else if (m->public.state == FLOW_MAPPING_RESTING) {
		flow_list_del(&f->resting, flow_links_state(f), i);
		f->counts.resting--;
		f->counts.mappings++;
	}
	set_state(m, FLOW_MAPPING_LIVE);
}

void flow_mapping_settle(struct flows *f, struct flow_mapping *m, uint64_t now_ns)
{
	uint32_t i = flow_mapping_idx(f, m);

	if (m->n_counting > 0)
		return;
	if (m->sessions.head != 0) {
		if (m->public.state == FLOW_MAPPING_LIVE) {
			flow_list_append(&f->closing, flow_links_state(f), i);
			set_state(m, FLOW_MAPPING_CLOSING);
		}
		return;
	}
	if (m->public.state == FLOW_MAPPING_CLOSING)
		flow_list_del(&f->closing, flow_links_state(f), i);
	m->rests_until_ns = now_ns + f->conf.rest_ns;
	flow_list_append(&f->resting, flow_links_state(f), i);
	set_state(m, FLOW_MAPPING_RESTING);
	f->counts.mappings--;
	f->counts.resting++;
}

void flow_mapping_free(struct flows *f, struct flow_mapping *m, uint64_t now_ns)
{
	uint32_t i = flow_mapping_idx(f, m);

	flow_list_del(&f->resting, flow_links_state(f), i);
	f->counts.resting--;
	if (m->peer_idx != BLOCKS_NONE) {
		flow_index_del(&f->inner, flow_hash_inner(f, m), i);
		flow_list_del(&f->peers[m->peer_idx].mappings, flow_links_peer_mappings(f), i);
	}
	flow_index_del(
		&f->public, flow_hash_public(f, m->public.v4, m->public.port, m->public.proto), i);
	give_port_back(f, m, now_ns);
	set_state(m, FLOW_MAPPING_FREE);
	flow_slab_put(&f->mapping_slab, flow_links_state(f), i);
}

void flow_mappings_orphan(struct flows *f, uint32_t peer_idx, uint64_t now_ns)
{
	struct flow_peer *peer = &f->peers[peer_idx];

	for (uint32_t i = peer->mappings.head; i != 0; i = f->mappings[i].in_peer.next) {
		struct flow_mapping *m = &f->mappings[i];

		flow_index_del(&f->inner, flow_hash_inner(f, m), i);
		m->peer_idx = BLOCKS_NONE;
	}
	for (uint32_t i = peer->blocks.head; i != 0; i = flow_block(f, i)->in_peer.next) {
		struct flow_block *b = flow_block(f, i);

		blocks_retire(f->conf.blocks, b->number);
		record_block(f, b, false, now_ns);
		b->peer_idx = BLOCKS_NONE;
	}
	peer->mappings = (struct flow_list){0};
	peer->blocks = (struct flow_list){0};
	peer->n_blocks = 0;
}
