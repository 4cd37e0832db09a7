/* flow_model_test.c - random operations on three workers over one small pool, against one rule: a
 * (public address, protocol, public port) has one owner, until it has rested.
 *
 * The model knows nothing of blocks, lists or timers. For each number it keeps who had it last and
 * until when nobody else may; for UDP and ICMP, where every packet sent says exactly when its
 * mapping ends, also that the same endpoint gets the same port until then. Of TCP it sees what the
 * engine still has.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "flow/impl.h"
#include "flow_world.h"

#define OPERATIONS  1000000
#define WORKERS	    3
#define PEERS	    24
#define INNER_PORTS 24
#define REMOTES	    16
#define PORTS	    1280
#define SESSIONS    600 /* of a worker: it is full now and then */

static const uint8_t protos[] = {UDP, TCP, ICMP};
static const uint32_t publics[] = {PUBLIC_A, PUBLIC_B};

struct owner {
	uint32_t peer_idx, epoch, inner_port;
	uint64_t until_ns; /* nobody else before */
};

static struct {
	struct blocks *blocks;
	struct flows *workers[WORKERS];
	struct flow_limits limits;
	uint64_t now_ns;
	uint32_t epochs[PEERS]; /* one more each time a peer is forgotten */
	/* By public address, protocol and number. */
	struct owner owners[2 * 3 * PORTS];
	/* By public address, protocol, peer and inner port: since the epoch began. */
	uint16_t ports[2][3][PEERS][INNER_PORTS];
	/* How often something happened, to be sure that it does. */
	unsigned n_sent, n_received, n_revived, n_reused, n_refused[FLOW_NOT_A_BEGINNING + 1];
} m;

static struct flows *home(uint32_t peer_idx)
{
	return m.workers[peer_idx % WORKERS];
}

static unsigned proto_at(uint8_t proto)
{
	return proto == UDP ? 0 : proto == TCP ? 1 : 2;
}

static unsigned public_at(uint32_t public_v4)
{
	return public_v4 == PUBLIC_B;
}

static struct owner *owner_of(unsigned public, unsigned proto, uint16_t port)
{
	return &m.owners[(public * 3 + proto) * PORTS + port - PORT_FIRST];
}

static struct owner *owner_of_session(const struct flow_session *s)
{
	return owner_of(public_at(s->public_v4), proto_at(s->proto), s->public_port);
}

static uint32_t inner_addr(uint32_t peer_idx)
{
	return INNER + peer_idx + (m.epochs[peer_idx] << 8);
}

static bool is_of(const struct owner *o, uint32_t peer_idx, uint16_t inner_port)
{
	return o->peer_idx == peer_idx && o->epoch == m.epochs[peer_idx] &&
	       o->inner_port == inner_port;
}

static bool is_kept_for(const struct owner *o, uint32_t peer_idx, uint16_t inner_port)
{
	return is_of(o, peer_idx, inner_port) && m.now_ns < o->until_ns;
}

/* The number is this session's mapping's: was it free to be? */
static void assert_is_owner(const struct flow_session *s)
{
	struct owner *o = owner_of_session(s);
	uint64_t until_ns = m.now_ns + REST_NS;

	assert_in_range(s->public_port, PORT_FIRST, PORT_FIRST + PORTS - 1);
	assert_int_equal(s->inner_v4, inner_addr(s->peer_idx));
	assert_int_equal(blocks_owner(m.blocks, s->public_v4, s->public_port), s->peer_idx);
	if (!is_of(o, s->peer_idx, s->inner_port)) {
		assert_true(m.now_ns >= o->until_ns);
		m.n_reused += o->until_ns > 0;
		*o = (struct owner){s->peer_idx, m.epochs[s->peer_idx], s->inner_port, 0};
	}
	if (s->has_sent && until_ns > o->until_ns)
		o->until_ns = until_ns;
}

/* What every worker has, seen as control sees it. */
static void check_all(void)
{
	uint64_t n_blocks = 0, n_owned = 0;

	for (unsigned w = 0; w < WORKERS; w++) {
		const struct flow_counts *c = flows_counts(m.workers[w]);
		struct flow_session s;
		uint64_t n = 0;

		for (uint32_t i = 1; i <= flows_max(m.workers[w]); i++) {
			if (!flow_session_read(m.workers[w], i, &s))
				continue;
			n++;
			assert_int_equal(s.peer_idx % WORKERS, w);
			assert_is_owner(&s);
		}
		assert_int_equal(c->sessions, n);
		assert_int_equal(c->begun - c->ended, n);
		n_blocks += c->blocks;
	}
	for (unsigned a = 0; a < 2; a++) {
		struct blocks_counts counts;

		assert_true(blocks_count(m.blocks, publics[a], &counts));
		n_owned += counts.owned + counts.resting;
	}
	assert_int_equal(n_blocks, n_owned);
}

static void note_sent(const struct flow_session *s)
{
	struct owner *o = owner_of_session(s);
	uint64_t silence_ns = s->proto == UDP ? UDP_NS : s->proto == ICMP ? ICMP_NS : 0;

	m.n_sent++;
	assert_is_owner(s);
	if (m.now_ns + silence_ns + REST_NS > o->until_ns)
		o->until_ns = m.now_ns + silence_ns + REST_NS;
	m.ports[public_at(s->public_v4)][proto_at(s->proto)][s->peer_idx][s->inner_port] =
		s->public_port;
}

static uint8_t any_flags(void)
{
	static const uint8_t flags[] = {FLOW_TCP_SYN, FLOW_TCP_SYN | FLOW_TCP_ACK, FLOW_TCP_ACK,
		FLOW_TCP_FIN | FLOW_TCP_ACK, FLOW_TCP_RST};

	return flags[random_below(5)];
}

static void send_any(void)
{
	uint32_t peer_idx = random_below(PEERS);
	unsigned proto = random_below(3), public = random_below(8) == 0;
	uint8_t flags = random_below(2) ? FLOW_TCP_SYN : any_flags();
	struct flow_out_key key = {
		.peer_idx = peer_idx,
		.inner_v4 = inner_addr(peer_idx),
		.remote_v4 = REMOTE + random_below(REMOTES),
		.inner_port = (uint16_t)random_below(INNER_PORTS),
		.remote_port = (uint16_t)random_below(2),
		.proto = protos[proto],
	};
	uint16_t port = m.ports[public][proto][peer_idx][key.inner_port];
	bool is_kept = port != 0 && key.proto != TCP &&
		       is_kept_for(owner_of(public, proto, port), peer_idx, key.inner_port);
	struct flow_session *s;
	enum flow_verdict verdict = FLOW_OK, told;
	uint16_t told_port;
	bool is_new;

	flow_find_out_burst(home(peer_idx), &key, 1, &s);
	is_new = !s;
	if (!s) {
		told = flow_peek_begin_out(home(peer_idx), &key, publics[public], flags, &m.limits,
			m.now_ns, &told_port);
		verdict = flow_begin_out(
			home(peer_idx), &key, publics[public], flags, &m.limits, m.now_ns, &s);
		assert_int_equal(told, verdict);
		assert_true(verdict != FLOW_OK || told_port == 0 || told_port == s->public_port);
	}
	if (verdict != FLOW_OK) {
		m.n_refused[verdict]++;
		assert_false(is_kept && verdict == FLOW_NO_PORT);
		return;
	}
	flow_sent(home(peer_idx), s, flags, m.now_ns);
	if (is_new && is_kept)
		assert_int_equal(s->public_port, port);
	m.n_revived += is_new && is_kept;
	if (key.proto != TCP || is_new)
		note_sent(s);
}

/* To a number that is in use, more often than not. */
static struct flow_in_key any_inbound(void)
{
	struct flow_in_key key = {
		.public_v4 = publics[random_below(2)],
		.remote_v4 = REMOTE + random_below(REMOTES),
		.public_port = (uint16_t)(PORT_FIRST + random_below(PORTS)),
		.remote_port = (uint16_t)random_below(2),
		.proto = protos[random_below(3)],
	};
	struct flow_session s;

	if (flow_session_read(m.workers[random_below(WORKERS)], 1 + random_below(SESSIONS), &s)) {
		key.public_v4 = s.public_v4;
		key.public_port = s.public_port;
		key.proto = s.proto;
	}
	return key;
}

static void receive_any(void)
{
	struct flow_in_key key = any_inbound();
	uint32_t peer_idx = blocks_owner(m.blocks, key.public_v4, key.public_port);
	uint8_t flags = any_flags();
	enum flow_verdict verdict = FLOW_OK, told;
	struct flow_session *s, seen;

	if (peer_idx == BLOCKS_NONE)
		return;
	flow_find_in_burst(home(peer_idx), &key, 1, &s);
	if (!s) {
		told = flow_peek_begin_in(home(peer_idx), &key, flags, &m.limits, m.now_ns, &seen);
		verdict = flow_begin_in(home(peer_idx), &key, flags, &m.limits, m.now_ns, &s);
		assert_int_equal(told, verdict);
		assert_true(verdict != FLOW_OK || seen.inner_port == s->inner_port);
	}
	m.n_refused[verdict]++;
	if (verdict != FLOW_OK)
		return;
	m.n_received++;
	assert_is_owner(s);
	flow_received(home(peer_idx), s, flags, m.now_ns);
	if (random_below(4) != 0)
		return;
	flow_sent(home(peer_idx), s, flags, m.now_ns);
	if (key.proto != TCP)
		note_sent(s);
}

/* Its next inner address is another one. Every number that it had rests from now on, at most. */
static void forget_any(void)
{
	uint32_t peer_idx = random_below(PEERS);

	flow_peer_forget(home(peer_idx), peer_idx, m.now_ns);
	for (unsigned i = 0; i < 2 * 3 * PORTS; i++) {
		struct owner *o = &m.owners[i];

		if (o->peer_idx == peer_idx && o->epoch == m.epochs[peer_idx] &&
			o->until_ns > m.now_ns + REST_NS)
			o->until_ns = m.now_ns + REST_NS;
	}
	m.epochs[peer_idx]++;
	for (unsigned i = 0; i < 2 * 3; i++)
		memset(m.ports[i / 3][i % 3][peer_idx], 0, sizeof(m.ports[0][0][0]));
	assert_int_equal(flow_peer_sessions(home(peer_idx), peer_idx), 0);
}

static void pass_time(void)
{
	m.now_ns += random_below(1000) ? random_below(200 * NS_IN_MS) : random_u64() % UDP_NS;
	for (unsigned w = 0; w < WORKERS; w++)
		flow_turn(m.workers[w], m.now_ns, random_below(40));
}

static void operate(void)
{
	unsigned choice = random_below(10000);

	if (choice < 5)
		forget_any();
	else if (choice < 10)
		check_all();
	else if (choice < 20)
		m.limits.filter = (enum flow_filter)random_below(3);
	else if (choice < 1500)
		pass_time();
	else if (choice < 4000)
		receive_any();
	else
		send_any();
}

static int setup(void **state)
{
	memset(&m, 0, sizeof(m));
	m.blocks = world_blocks(PORT_FIRST + PORTS - 1);
	m.now_ns = 1000 * NS_IN_S;
	m.limits = (struct flow_limits){
		.max_sessions = 80,
		.max_blocks = 2,
		.new_per_s = 1,
		.burst = 10,
	};
	for (unsigned w = 0; w < WORKERS; w++) {
		struct flow_conf conf = world_conf(m.blocks, SESSIONS);

		m.workers[w] = flows_create(&conf);
	}
	return 0;
}

static int teardown(void **state)
{
	for (unsigned w = 0; w < WORKERS; w++)
		flows_destroy(m.workers[w]);
	blocks_destroy(m.blocks);
	return 0;
}

static void assert_index_is_empty(const struct flow_index *ix)
{
	for (uint32_t b = 0; b <= ix->mask; b++) {
		assert_int_equal(ix->buckets[b].n_passed, 0);
		for (unsigned i = 0; i < FLOW_BUCKET_ENTRIES; i++)
			assert_int_equal(ix->buckets[b].records[i], 0);
	}
}

static void test_one_owner_ever(void **state)
{
	for (unsigned i = 0; i < OPERATIONS; i++)
		operate();
	check_all();
	/* All of it did happen. */
	assert_true(m.n_sent > 1000 && m.n_received > 1000);
	assert_true(m.n_revived > 1000 && m.n_reused > 1000);
	for (unsigned v = FLOW_REFUSED; v <= FLOW_NOT_A_BEGINNING; v++)
		assert_true(m.n_refused[v] > 100);
	/* And it all goes back. */
	for (uint32_t p = 0; p < PEERS; p++)
		flow_peer_forget(home(p), p, m.now_ns);
	m.now_ns += REST_NS;
	for (unsigned w = 0; w < WORKERS; w++) {
		const struct flows *f = m.workers[w];
		struct flow_counts nothing = {
			.begun = f->counts.begun,
			.ended = f->counts.begun,
		};

		while (flow_turn(m.workers[w], m.now_ns, 64) == 64)
			;
		assert_memory_equal(&f->counts, &nothing, sizeof(nothing));
		assert_int_equal(f->session_slab.n_taken, 0);
		assert_int_equal(f->mapping_slab.n_taken, 0);
		assert_int_equal(f->block_slab.n_taken, 0);
		assert_index_is_empty(&f->out);
		assert_index_is_empty(&f->in);
		assert_index_is_empty(&f->inner);
		assert_index_is_empty(&f->public);
	}
	check_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_owner_ever, setup, teardown),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
