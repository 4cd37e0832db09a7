/* flow_time_test.c - every timer at its edge, what refreshes and what does not, rest before reuse,
 * and that no turn looks at more than it may.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "flow_world.h"

/* It is there until silence_ns have passed, and gone soon after. */
static void assert_ends_after(const struct flow_out_key *key, uint64_t silence_ns)
{
	world_pass(silence_ns - 1);
	assert_non_null(find_out(key));
	world_pass(1 + LATE_NS);
	assert_null(find_out(key));
}

/* --- what silence ends, and when */

/* RFC 4787 REQ-5; RFC 5508 REQ-2. */
static void test_silence(void **state)
{
	struct flow_out_key udp = out_key(0, UDP, 5000, REMOTE, 53);
	struct flow_out_key icmp = out_key(0, ICMP, 7, REMOTE, 0);

	begin_out(&udp, 0);
	assert_ends_after(&udp, UDP_NS);
	begin_out(&icmp, 0);
	assert_ends_after(&icmp, ICMP_NS);
	assert_int_equal(flows_counts(world.flows)->sessions, 0);
	assert_int_equal(flow_peer_sessions(world.flows, 0), 0);
}

/* The row of the checklist as it is written: in after 290 s, gone after 310 s. */
static void test_idle_290_in_310_gone(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 5000, REMOTE, 53);
	struct flow_in_key back = in_key(begin_out(&key, 0), REMOTE, 53);

	world_pass(290 * NS_IN_S);
	assert_int_equal(receive_packet(&back, 0, NULL), FLOW_OK);
	world_pass(20 * NS_IN_S);
	assert_int_equal(receive_packet(&back, 0, NULL), FLOW_REFUSED);
}

/* RFC 5382 REQ-5, and each state of TCP. */
static void test_silence_of_tcp(void **state)
{
	static const struct {
		/* Flags in the order in which they pass after the first SYN; bit 7: inbound. */
		uint8_t packets[4];
		uint64_t silence_ns;
	} cases[] = {
		{{0}, TRANS_NS},
		{{0x80 | SYN | ACK}, LONG_NS},
		{{0x80 | SYN | ACK, ACK, FIN}, LONG_NS},
		{{0x80 | SYN | ACK, ACK, 0x80 | FIN}, LONG_NS},
		{{0x80 | SYN | ACK, FIN, 0x80 | FIN}, TRANS_NS},
		{{0x80 | SYN | ACK, 0x80 | FIN, FIN}, TRANS_NS},
		{{0x80 | SYN | ACK, RST}, TRANS_NS},
		{{0x80 | SYN | ACK, 0x80 | RST}, TRANS_NS},
		{{0x80 | SYN | ACK, 0x80 | RST, ACK}, LONG_NS},
		{{0x80 | SYN | ACK, 0x80 | RST, 0x80 | ACK, ACK}, LONG_NS},
		{{0x80 | RST}, TRANS_NS},
	};

	for (unsigned c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct flow_out_key key = out_key(0, TCP, (uint16_t)c, REMOTE, 80);
		struct flow_in_key back = in_key(begin_out(&key, SYN), REMOTE, 80);

		for (unsigned i = 0; i < 4 && cases[c].packets[i] != 0; i++) {
			uint8_t flags = cases[c].packets[i] & 0x7f;

			if (cases[c].packets[i] & 0x80)
				assert_int_equal(receive_packet(&back, flags, NULL), FLOW_OK);
			else
				begin_out(&key, flags);
		}
		assert_ends_after(&key, cases[c].silence_ns);
	}
}

/* Long established, the wheel expects it late; then its end comes nearer. */
static void test_an_end_that_comes_nearer(void **state)
{
	static const uint8_t ways[][2] = {
		{FIN, 0x80 | FIN}, {0x80 | FIN, FIN}, {RST, RST}, {0x80 | RST, 0x80 | RST}};

	for (unsigned w = 0; w < 4; w++) {
		struct flow_out_key key = out_key(0, TCP, (uint16_t)w, REMOTE, 80);
		struct flow_in_key back = in_key(begin_out(&key, SYN), REMOTE, 80);

		assert_int_equal(receive_packet(&back, SYN | ACK, NULL), FLOW_OK);
		world_pass(NS_IN_S * 500);
		for (unsigned i = 0; i < 2; i++) {
			if (ways[w][i] & 0x80)
				assert_int_equal(
					receive_packet(&back, ways[w][i] & 0x7f, NULL), FLOW_OK);
			else
				begin_out(&key, ways[w][i]);
		}
		assert_ends_after(&key, TRANS_NS);
	}
}

/* --- what refreshes: RFC 4787 REQ-6, RFC 7857 section 2 */

static void test_only_what_is_sent_refreshes(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 5000, REMOTE, 53);
	struct flow_in_key back = in_key(begin_out(&key, 0), REMOTE, 53);

	for (unsigned i = 0; i < 10; i++) {
		world_pass(UDP_NS - NS_IN_S);
		begin_out(&key, 0);
	}
	for (unsigned i = 0; i < 29; i++) {
		world_pass(UDP_NS / 30);
		assert_int_equal(receive_packet(&back, 0, NULL), FLOW_OK);
	}
	assert_ends_after(&key, UDP_NS - 29 * (UDP_NS / 30));
}

/* Whoever keeps sending to a peer that only resets it: the session ends. */
static void test_resets_do_not_refresh(void **state)
{
	struct flow_out_key key = out_key(0, TCP, 5000, REMOTE, 80);
	struct flow_in_key back = in_key(begin_out(&key, SYN), REMOTE, 80);

	assert_int_equal(receive_packet(&back, SYN | ACK, NULL), FLOW_OK);
	begin_out(&key, ACK);
	for (unsigned i = 0; i < 24; i++) {
		assert_int_equal(receive_packet(&back, ACK, NULL), FLOW_OK);
		begin_out(&key, RST);
		world_pass(i < 23 ? 10 * NS_IN_S : 10 * NS_IN_S + LATE_NS);
	}
	assert_null(find_out(&key));
}

/* A RST near the end of a session does not give it the transitory time. */
static void test_reset_never_prolongs(void **state)
{
	struct flow_out_key key = out_key(0, TCP, 5000, REMOTE, 80);
	struct flow_in_key back = in_key(begin_out(&key, SYN), REMOTE, 80);

	assert_int_equal(receive_packet(&back, SYN | ACK, NULL), FLOW_OK);
	world_pass(LONG_NS - 10 * NS_IN_S);
	assert_int_equal(receive_packet(&back, RST, NULL), FLOW_OK);
	assert_ends_after(&key, 10 * NS_IN_S);
}

/* --- what the outside begins keeps nothing until the peer has sent on it */

static void test_unanswered_keeps_no_mapping(void **state)
{
	static const uint8_t protos[] = {UDP, TCP};

	for (unsigned p = 0; p < 2; p++) {
		struct flow_out_key key = out_key(p, protos[p], 5000, REMOTE, 80);
		struct flow_in_key guest;
		struct flow_session *s = NULL;
		uint64_t life_ns = protos[p] == TCP ? TRANS_NS : UDP_NS;

		world.limits.filter = FLOW_OPEN;
		guest = in_key(begin_out(&key, SYN), REMOTE + 1, 81);
		/* Late enough that its own time would outlast the mapping's. */
		world_pass(life_ns - 10 * NS_IN_S);
		assert_int_equal(receive_packet(&guest, SYN, &s), FLOW_OK);
		/* A RST that answers is no sign of life. */
		if (protos[p] == TCP)
			flow_sent(world.flows, s, RST | ACK, world.now_ns);
		assert_false(s->has_sent);
		world_pass(10 * NS_IN_S + LATE_NS);
		assert_null(find_in(&guest));
		assert_int_equal(receive_packet(&guest, SYN, NULL), FLOW_REFUSED);
		assert_int_equal(flows_counts(world.flows)->mappings, 0);
		assert_int_equal(flows_counts(world.flows)->resting, 1);
	}
}

static void test_answered_keeps_its_mapping(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 5000, REMOTE, 80);
	struct flow_session *s = NULL;
	struct flow_in_key guest;
	uint64_t answered_ns;

	world.limits.filter = FLOW_OPEN;
	guest = in_key(begin_out(&key, 0), REMOTE + 1, 81);
	world_pass(200 * NS_IN_S);
	assert_int_equal(receive_packet(&guest, 0, &s), FLOW_OK);
	flow_sent(world.flows, s, 0, world.now_ns);
	answered_ns = world.now_ns;
	world_pass(UDP_NS - 200 * NS_IN_S + LATE_NS);
	assert_null(find_out(&key));
	assert_int_equal(receive_packet(&guest, 0, NULL), FLOW_OK);
	/* The first endpoint comes back to the same mapping. */
	assert_int_equal(begin_out(&key, 0)->public_port, s->public_port);
	assert_true(answered_ns + UDP_NS > world.now_ns);
}

/* The mapping is about to close; the peer's answer to a guest comes before its turn. */
static void test_answer_while_closing(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 5000, REMOTE, 80);
	struct flow_in_key guests[2];
	struct flow_session *s = NULL;
	unsigned looked = 0;

	world.limits.filter = FLOW_OPEN;
	guests[0] = in_key(begin_out(&key, 0), REMOTE + 1, 81);
	guests[1] = guests[0];
	guests[1].remote_port = 82;
	world_pass(UDP_NS - NS_IN_S);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(receive_packet(&guests[i], 0, NULL), FLOW_OK);
	world.now_ns += NS_IN_S + LATE_NS;
	/* One at a time, until what kept the mapping is gone. */
	for (; find_out(&key); looked++)
		flow_turn(world.flows, world.now_ns, 1);
	assert_true(looked > 0);
	s = find_in(&guests[1]);
	assert_non_null(s);
	assert_int_equal(flow_peek_filter(world.flows, &guests[1], FLOW_OPEN), FLOW_REFUSED);
	flow_sent(world.flows, s, 0, world.now_ns);
	assert_int_equal(flow_peek_filter(world.flows, &guests[1], FLOW_OPEN), FLOW_OK);
	world_pass(NS_IN_S);
	assert_ptr_equal(find_in(&guests[1]), s);
	assert_ptr_equal(find_in(&guests[0])->mapping == s->mapping ? s : NULL, s);
	assert_int_equal(flows_counts(world.flows)->mappings, 1);
	assert_int_equal(flows_counts(world.flows)->resting, 0);
}

/* --- rest: RFC 6888 REQ-8 */

/* One block of one peer, full, and all but the last of its mappings go on. */
static void refresh_all_but_last(void)
{
	for (uint16_t i = 0; i + 1 < BLOCK; i++) {
		struct flow_out_key key = out_key(0, UDP, i, REMOTE, 53);

		begin_out(&key, 0);
	}
}

/* When can a new inner endpoint have the port of one that ended? */
static void test_port_rests_before_reuse(void **state)
{
	struct flow_out_key last = out_key(0, UDP, BLOCK - 1, REMOTE, 53);
	struct flow_out_key late = out_key(0, UDP, 1000, REMOTE, 53);
	uint64_t ended_ns;
	uint16_t port;

	world.limits.max_blocks = 1;
	refresh_all_but_last();
	port = begin_out(&last, 0)->public_port;
	assert_int_equal(send_packet(&late, 0, NULL), FLOW_NO_PORT);
	world_pass(UDP_NS - NS_IN_S);
	refresh_all_but_last();
	while (find_out(&last))
		world_pass(10 * NS_IN_MS);
	ended_ns = world.now_ns;
	while (send_packet(&late, 0, NULL) == FLOW_NO_PORT)
		world_pass(10 * NS_IN_MS);
	assert_int_equal(find_out(&late)->public_port, port);
	assert_in_range(world.now_ns - ended_ns, REST_NS, REST_NS + LATE_NS);
}

static void test_rest_is_kept_for_its_own_endpoint(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 5000, REMOTE, 53);
	struct flow_session *s = begin_out(&key, 0);
	struct flow_in_key in = in_key(s, REMOTE + 1, 53);
	uint16_t port = s->public_port;

	world.limits.filter = FLOW_OPEN;
	world_pass(UDP_NS + REST_NS - NS_IN_S);
	assert_int_equal(flows_counts(world.flows)->resting, 1);
	assert_int_equal(receive_packet(&in, 0, NULL), FLOW_REFUSED);
	/* Back, to somewhere else, by the same port; and the time of rest begins anew after it. */
	key = out_key(0, UDP, 5000, REMOTE + 7, 99);
	assert_int_equal(begin_out(&key, 0)->public_port, port);
	assert_int_equal(flows_counts(world.flows)->resting, 0);
	assert_int_equal(receive_packet(&in, 0, NULL), FLOW_OK);
	world_pass(UDP_NS + REST_NS - NS_IN_S);
	assert_int_equal(flows_counts(world.flows)->resting, 1);
	assert_int_equal(flows_counts(world.flows)->blocks, 1);
	world_pass(NS_IN_S + 2 * LATE_NS);
	assert_int_equal(flows_counts(world.flows)->resting, 0);
	assert_int_equal(flows_counts(world.flows)->blocks, 0);
	assert_int_equal(blocks_owner(world.blocks, PUBLIC_A, port), BLOCKS_NONE);
}

/* --- forgetting a peer */

static void test_forget(void **state)
{
	struct flow_out_key key, other = out_key(2, UDP, 1, REMOTE, 53);
	struct blocks_counts counts;
	struct flow_session *s = NULL;
	uint16_t port;

	s = begin_out(&other, 0);
	/* Some rest already, some live, in two blocks. */
	for (uint16_t i = 0; i < 40; i++) {
		key = out_key(1, UDP, i, REMOTE, 53);
		begin_out(&key, 0);
	}
	world_pass(UDP_NS - NS_IN_S);
	begin_out(&other, 0);
	for (uint16_t i = 40; i < 100; i++) {
		key = out_key(1, UDP, i, REMOTE, 53);
		port = begin_out(&key, 0)->public_port;
	}
	world_pass(NS_IN_S + LATE_NS);
	assert_int_equal(flows_counts(world.flows)->resting, 40);
	flow_peer_forget(world.flows, 1, world.now_ns);
	assert_int_equal(flow_peer_sessions(world.flows, 1), 0);
	assert_int_equal(flows_counts(world.flows)->sessions, 1);
	assert_int_equal(flows_counts(world.flows)->resting, 100);
	assert_int_equal(blocks_owner(world.blocks, PUBLIC_A, port), BLOCKS_NONE);
	assert_true(blocks_count(world.blocks, PUBLIC_A, &counts));
	assert_int_equal(counts.owned, 1);
	assert_int_equal(counts.resting, 2);
	/* The next of this number has other ports, and they are not given back with the old. */
	key = out_key(1, UDP, 99, REMOTE, 53);
	assert_int_not_equal(begin_out(&key, 0)->public_port, port);
	world_pass(REST_NS + LATE_NS);
	assert_int_equal(flows_counts(world.flows)->resting, 0);
	assert_int_equal(flows_counts(world.flows)->blocks, 2);
	assert_ptr_equal(find_out(&other), s);
	assert_non_null(find_out(&key));
	assert_true(blocks_count(world.blocks, PUBLIC_A, &counts));
	assert_int_equal(counts.owned, 2);
	assert_int_equal(counts.resting, 0);
	/* Nothing to forget is fine. */
	flow_peer_forget(world.flows, 33, world.now_ns);
}

static void test_destroy_gives_blocks_back(void **state)
{
	struct flow_out_key key = out_key(1, UDP, 1, REMOTE, 53);
	struct blocks_counts counts;

	begin_out(&key, 0);
	flow_peer_forget(world.flows, 1, world.now_ns);
	begin_out(&key, 0);
	flows_destroy(world.flows);
	assert_true(blocks_count(world.blocks, PUBLIC_A, &counts));
	assert_int_equal(counts.owned + counts.resting, 0);
	world.flows = NULL;
	flows_destroy(NULL);
}

/* --- the turn */

/* After any pause everything due ends, no turn looks at more than its budget, and less than the
 * budget means that nothing is due. */
static void test_turns_are_bounded(void **state)
{
	static const uint64_t pauses_ns[] = {
		UDP_NS + LATE_NS, 549 * NS_IN_S, 551 * NS_IN_S, 86400 * NS_IN_S};

	for (unsigned p = 0; p < 4; p++) {
		unsigned turns = 0;

		for (uint32_t i = 0; i < 1000; i++) {
			struct flow_out_key key = out_key(i % 8, UDP, 1, REMOTE + i, 53);

			begin_out(&key, 0);
		}
		world.now_ns += pauses_ns[p];
		for (unsigned looked = 7; looked == 7; turns++) {
			looked = flow_turn(world.flows, world.now_ns, 7);
			assert_true(looked <= 7);
		}
		assert_int_equal(flows_counts(world.flows)->sessions, 0);
		assert_in_range(turns, 1000 / 7, 2 * 1000 / 7 + 2);
		assert_int_equal(flow_turn(world.flows, world.now_ns, 7), 0);
	}
}

/* A session that goes on is looked at when it was due once, not at each packet. */
static void test_packets_do_not_turn_the_wheel(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 1, REMOTE, 53);
	unsigned n = 0;

	for (unsigned i = 0; i < 100000; i++) {
		begin_out(&key, 0);
		world.now_ns += 10 * NS_IN_MS;
		n += flow_turn(world.flows, world.now_ns, 64);
	}
	/* 1,000 s of 300 s each, and one look more when the clock starts. */
	assert_in_range(n, 3, 5);
}

/* Random packets of sessions; each must end within LATE_NS of its due time, and not before. */
static void test_ends_against_a_model(void **state)
{
	static uint64_t due_ns[1000];

	for (uint16_t i = 0; i < 1000; i++) {
		struct flow_out_key key = out_key(i % 16, UDP, 1, REMOTE, i);

		begin_out(&key, 0);
		due_ns[i] = world.now_ns + UDP_NS;
	}
	for (unsigned n = 0; n < 30000; n++) {
		uint16_t i = (uint16_t)random_below(1000);
		struct flow_out_key key = out_key(i % 16, UDP, 1, REMOTE, i);
		struct flow_session *s = find_out(&key);

		if (world.now_ns < due_ns[i])
			assert_non_null(s);
		if (world.now_ns > due_ns[i] + LATE_NS)
			assert_null(s);
		if (s && random_below(8) == 0) {
			begin_out(&key, 0);
			due_ns[i] = world.now_ns + UDP_NS;
		}
		world_pass(random_below(100) ? random_below(100 * NS_IN_MS)
					     : random_below(UINT32_MAX));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_silence, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_idle_290_in_310_gone, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_silence_of_tcp, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_an_end_that_comes_nearer, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_only_what_is_sent_refreshes, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_resets_do_not_refresh, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_reset_never_prolongs, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_unanswered_keeps_no_mapping, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_answered_keeps_its_mapping, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_answer_while_closing, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_port_rests_before_reuse, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_rest_is_kept_for_its_own_endpoint, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_forget, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_destroy_gives_blocks_back, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_turns_are_bounded, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_packets_do_not_turn_the_wheel, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_ends_against_a_model, world_setup, world_teardown),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
