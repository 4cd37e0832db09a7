/* flow_read_test.c - control reads while the worker writes; and a worker with a million sessions.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "flow_world.h"

#include <pthread.h>
#include <stdatomic.h>

#define MILLION	  1000000
#define PEERS	  50
#define OWN_PORTS 40

static int teardown(void **state)
{
	world_end();
	return 0;
}

/* --- a reader beside the writer */

static _Atomic bool is_done;

/* Keys in which every field follows from one number: a copy of two sessions shows. */
static struct flow_out_key key_of(uint32_t n)
{
	struct flow_out_key key = out_key(n % PEERS, n & 1 ? TCP : UDP, (uint16_t)(n % OWN_PORTS),
		REMOTE + n, (uint16_t)(n * 7));

	return key;
}

static struct flow_v6_key v6_key_of(uint32_t n)
{
	struct flow_v6_key key = {
		.inner_port = (uint16_t)n,
		.remote_port = (uint16_t)(n * 7),
		.proto = UDP,
	};

	memset(key.inner.bytes, (int)(n & 0x7f) | 0x80, sizeof(key.inner.bytes));
	memset(key.remote.bytes, (int)(n & 0x7f) | 0x80, sizeof(key.remote.bytes));
	memcpy(key.remote.bytes, &n, sizeof(n));
	return key;
}

/* cmocka's asserts are for the main thread only: counts what is wrong. */
static unsigned check_copy(const struct flow_session *s)
{
	if (s->is_v6) {
		struct flow_v6_key key;
		uint32_t n;

		memcpy(&n, s->remote_v6.bytes, sizeof(n));
		key = v6_key_of(n);
		return s->inner_port != key.inner_port || s->remote_port != key.remote_port ||
		       !ip_equal(&s->inner_v6, &key.inner) ||
		       !ip_equal(&s->remote_v6, &key.remote) || s->peer_idx != n % PEERS ||
		       s->public_v4 != 0 || !(s->serial & 1);
	} else {
		struct flow_out_key key = key_of(s->remote_v4 - REMOTE);

		return s->peer_idx != key.peer_idx || s->inner_v4 != key.inner_v4 ||
		       s->inner_port != key.inner_port || s->remote_port != key.remote_port ||
		       s->proto != key.proto || s->public_v4 != PUBLIC_A || s->is_permit ||
		       s->is_exempt || !(s->serial & 1) || s->mapping != 0;
	}
}

struct seen {
	unsigned n_wrong, n_read, n_peeked, n_admitted;
};

static void *read_all(void *arg)
{
	struct seen *seen = arg;

	while (!atomic_load(&is_done)) {
		for (uint32_t i = 0; i <= flows_max(world.flows) + 1; i++) {
			struct flow_session s, again;
			struct flow_out_key out;
			struct flow_in_key in;

			if (!flow_session_read(world.flows, i, &s))
				continue;
			seen->n_read++;
			seen->n_wrong += check_copy(&s);
			if (s.is_v6)
				continue;
			out = key_of(s.remote_v4 - REMOTE);
			in = in_key(&s, s.remote_v4, s.remote_port);
			if (flow_peek_out(world.flows, &out, &again)) {
				seen->n_peeked++;
				seen->n_wrong += again.remote_v4 != s.remote_v4;
			}
			if (flow_peek_in(world.flows, &in, &again)) {
				seen->n_peeked++;
				seen->n_wrong += again.remote_v4 != s.remote_v4;
			}
			in.remote_port ^= 1;
			seen->n_admitted +=
				flow_peek_filter(world.flows, &in, FLOW_MODERATE) == FLOW_OK;
			(void)flow_peer_sessions(world.flows, s.peer_idx);
		}
	}
	return NULL;
}

/* A few sessions, made and ended as fast as it goes. */
static void write_some(uint32_t n)
{
	struct flow_out_key out = key_of(n);
	struct flow_v6_key v6 = v6_key_of(n);
	struct flow_session *s;

	if (n % 5 == 0) {
		if (flow_begin_v6(world.flows, n % PEERS, &v6, 0, &world.limits, world.now_ns,
			    &s) == FLOW_OK)
			flow_sent(world.flows, s, 0, world.now_ns);
	} else if (send_packet(&out, FLOW_TCP_SYN, &s) == FLOW_OK) {
		flow_received(world.flows, s, FLOW_TCP_SYN | FLOW_TCP_ACK, world.now_ns);
		flow_sent(world.flows, s, FLOW_TCP_RST, world.now_ns);
	}
	world.now_ns += 5 * NS_IN_S;
	flow_turn(world.flows, world.now_ns, 16);
	if (n % 100 == 0)
		flow_peer_forget(world.flows, n / 100 % PEERS, world.now_ns);
}

static void test_control_reads_whole_sessions(void **state)
{
	struct seen seen = {0};
	pthread_t reader;

	world_begin(64);
	world.limits.filter = FLOW_MODERATE;
	atomic_store(&is_done, false);
	assert_int_equal(pthread_create(&reader, NULL, read_all, &seen), 0);
	for (uint32_t n = 1; n <= 200000; n++)
		write_some(n);
	atomic_store(&is_done, true);
	pthread_join(reader, NULL);
	assert_int_equal(seen.n_wrong, 0);
	assert_true(seen.n_read > 0 && seen.n_peeked > 0 && seen.n_admitted > 0);
}

static void test_copies_without_a_writer(void **state)
{
	struct flow_session *s = NULL, copy;
	struct flow_out_key key = key_of(1);
	uint32_t idx = 0;

	world_begin(64);
	world.limits.filter = FLOW_MODERATE;
	assert_int_equal(send_packet(&key, FLOW_TCP_SYN, &s), FLOW_OK);
	for (uint32_t i = 0; i <= 70; i++)
		if (flow_session_read(world.flows, i, &copy))
			idx = idx == 0 ? i : UINT32_MAX;
	assert_true(flow_session_read(world.flows, idx, &copy));
	assert_int_equal(check_copy(&copy), 0);
	assert_int_equal(copy.due_ns, s->due_ns);
	assert_int_equal(copy.begun_ns, world.now_ns);
	assert_true(copy.has_sent);
	flow_peer_forget(world.flows, 1, world.now_ns);
	assert_false(flow_session_read(world.flows, idx, &copy));
	assert_false(flow_peek_out(world.flows, &key, &copy));
}

/* --- a million */

static struct flow_out_key million_key(uint32_t n)
{
	return out_key(n % PEERS, UDP, (uint16_t)(n / PEERS % 64), REMOTE + n / PEERS / 64, 53);
}

static void find_million(bool is_there)
{
	struct flow_out_key outs[FLOW_BURST_MAX];
	struct flow_in_key ins[FLOW_BURST_MAX];
	struct flow_session *found[FLOW_BURST_MAX], *back[FLOW_BURST_MAX];

	for (uint32_t n = 0; n < MILLION; n += FLOW_BURST_MAX) {
		for (uint32_t i = 0; i < FLOW_BURST_MAX; i++)
			outs[i] = million_key(n + i);
		flow_find_out_burst(world.flows, outs, FLOW_BURST_MAX, found);
		for (uint32_t i = 0; i < FLOW_BURST_MAX; i++) {
			assert_int_equal(found[i] != NULL, is_there);
			if (is_there)
				ins[i] = in_key(found[i], outs[i].remote_v4, 53);
		}
		if (!is_there)
			continue;
		flow_find_in_burst(world.flows, ins, FLOW_BURST_MAX, back);
		assert_memory_equal(back, found, sizeof(found));
	}
}

static void test_a_million_sessions(void **state)
{
	struct flow_out_key key;
	unsigned looked;

	world_begin(MILLION);
	/* More peers than one address has blocks: half of them on each. */
	for (uint32_t n = 0; n < MILLION; n++) {
		struct flow_session *s = NULL;

		key = million_key(n);
		assert_int_equal(
			flow_begin_out(world.flows, &key, key.peer_idx & 1 ? PUBLIC_A : PUBLIC_B, 0,
				&world.limits, world.now_ns, &s),
			FLOW_OK);
	}
	assert_int_equal(flows_counts(world.flows)->sessions, MILLION);
	find_million(true);
	key = million_key(MILLION);
	assert_int_equal(send_packet(&key, 0, NULL), FLOW_TABLE_FULL);
	find_million(true);
	world.now_ns += UDP_NS + LATE_NS;
	do {
		looked = flow_turn(world.flows, world.now_ns, 256);
		assert_true(looked <= 256);
	} while (looked == 256);
	assert_int_equal(flows_counts(world.flows)->sessions, 0);
	find_million(false);
	assert_int_equal(send_packet(&key, 0, NULL), FLOW_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_control_reads_whole_sessions, teardown),
		cmocka_unit_test_teardown(test_copies_without_a_writer, teardown),
		cmocka_unit_test_teardown(test_a_million_sessions, teardown),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
