/* flow_test.c - mappings, filters, quotas: what may begin, and by which port. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "flow_world.h"

static void test_a_session_is_found_both_ways(void **state)
{
	struct flow_out_key key = out_key(3, UDP, 5000, REMOTE, 53);
	struct flow_session *s = begin_out(&key, 0);
	struct flow_in_key back = in_key(s, REMOTE, 53);

	assert_int_equal(s->public_v4, PUBLIC_A);
	assert_in_range(s->public_port, PORT_FIRST, PORT_LAST);
	assert_int_equal(s->inner_v4, key.inner_v4);
	assert_int_equal(s->inner_port, 5000);
	assert_int_equal(s->peer_idx, 3);
	assert_true(s->serial & 1);
	assert_ptr_equal(find_out(&key), s);
	assert_ptr_equal(find_in(&back), s);
	assert_int_equal(blocks_owner(world.blocks, PUBLIC_A, s->public_port), 3);
	assert_int_equal(flow_peer_sessions(world.flows, 3), 1);
	assert_int_equal(flow_peer_sessions(world.flows, 2), 0);
}

/* Whatever differs in a key, it is another session or none. */
static void test_every_byte_of_a_key_counts(void **state)
{
	struct flow_out_key key = out_key(3, UDP, 5000, REMOTE, 53);
	struct flow_session *s = begin_out(&key, 0);
	struct flow_in_key back = in_key(s, REMOTE, 53);

	for (size_t i = 0; i < offsetof(struct flow_out_key, zero); i++) {
		struct flow_out_key other = key;

		((uint8_t *)&other)[i] ^= 1;
		assert_null(find_out(&other));
	}
	for (size_t i = 0; i < offsetof(struct flow_in_key, zero); i++) {
		struct flow_in_key other = back;

		((uint8_t *)&other)[i] ^= 1;
		assert_null(find_in(&other));
	}
}

/* RFC 4787 REQ-1, RFC 5382 REQ-1: one port, wherever to. */
static void test_mapping_is_endpoint_independent(void **state)
{
	static const uint8_t protos[] = {UDP, TCP, ICMP};

	for (unsigned p = 0; p < 3; p++) {
		struct flow_out_key key = out_key(0, protos[p], 5000, REMOTE, 0);
		uint16_t port = begin_out(&key, SYN)->public_port;

		for (uint32_t i = 1; i < 200; i++) {
			key = out_key(0, protos[p], 5000, REMOTE + i, (uint16_t)(i % 7));
			assert_int_equal(begin_out(&key, SYN)->public_port, port);
		}
	}
	assert_int_equal(flows_counts(world.flows)->mappings, 3);
	assert_int_equal(flows_counts(world.flows)->sessions, 600);
	assert_int_equal(flows_counts(world.flows)->blocks, 1);
}

/* RFC 4787 REQ-3; the peer's own port is not preserved: two peers with one inner port. */
static void test_no_port_is_shared(void **state)
{
	static bool is_taken[3][65536];

	memset(is_taken, 0, sizeof(is_taken));
	for (uint32_t peer_idx = 0; peer_idx < 8; peer_idx++) {
		for (uint16_t port = 1; port <= 100; port++) {
			struct flow_out_key key = out_key(peer_idx, UDP, port, REMOTE, 53);
			uint16_t public_port = begin_out(&key, 0)->public_port;

			assert_false(is_taken[0][public_port]);
			is_taken[0][public_port] = true;
			assert_int_equal(
				blocks_owner(world.blocks, PUBLIC_A, public_port), peer_idx);
		}
	}
}

static void test_another_public_address_is_another_mapping(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 5000, REMOTE, 1), other = key;
	struct flow_session *a = begin_out(&key, 0), *b = NULL;
	struct flow_in_key crossed;

	other.remote_port = 2;
	assert_int_equal(
		flow_begin_out(world.flows, &other, PUBLIC_B, 0, &world.limits, world.now_ns, &b),
		FLOW_OK);
	assert_int_equal(b->public_v4, PUBLIC_B);
	assert_int_equal(flows_counts(world.flows)->mappings, 2);
	/* What is there goes on by its old address, and the new one does not admit its remote. */
	assert_ptr_equal(begin_out(&key, 0), a);
	world.limits.filter = FLOW_OPEN;
	crossed = in_key(b, REMOTE, 1);
	assert_int_equal(receive_packet(&crossed, 0, NULL), FLOW_REFUSED);
	assert_int_equal(flow_begin_out(world.flows, &(struct flow_out_key){.proto = UDP}, REMOTE,
				 0, &world.limits, world.now_ns, &b),
		FLOW_NO_PORT);
}

static void test_what_is_no_key_is_refused(void **state)
{
	struct flow_out_key key = out_key(0, 47, 0, REMOTE, 0);
	struct flow_session *s;

	assert_int_equal(send_packet(&key, 0, NULL), FLOW_REFUSED);
	key = out_key(64, UDP, 1, REMOTE, 1);
	assert_int_equal(send_packet(&key, 0, NULL), FLOW_REFUSED);
	assert_int_equal(flow_begin_exempt(world.flows, &key, 0, &world.limits, world.now_ns, &s),
		FLOW_REFUSED);
	assert_int_equal(flow_begin_v6(world.flows, 64, &(struct flow_v6_key){0}, 0, &world.limits,
				 world.now_ns, &s),
		FLOW_REFUSED);
	assert_int_equal(flow_peer_sessions(world.flows, 64), 0);
	flow_peer_forget(world.flows, 64, world.now_ns);
}

/* An earlier packet of the burst has begun it. */
static void test_beginning_twice_is_one_session(void **state)
{
	struct flow_out_key key = out_key(0, TCP, 5000, REMOTE, 80);
	struct flow_session *s = begin_out(&key, SYN), *again = NULL;
	struct flow_in_key back = in_key(s, REMOTE, 80);

	assert_int_equal(flow_begin_out(world.flows, &key, PUBLIC_A, ACK, &world.limits,
				 world.now_ns, &again),
		FLOW_OK);
	assert_ptr_equal(again, s);
	again = NULL;
	assert_int_equal(
		flow_begin_in(world.flows, &back, ACK, &world.limits, world.now_ns, &again),
		FLOW_OK);
	assert_ptr_equal(again, s);
	assert_int_equal(flows_counts(world.flows)->begun, 1);
}

/* --- filters: RFC 4787, section 5 */

/* From which of (the remote, another port of it, another address) may a packet begin? */
static unsigned admitted(const struct flow_session *s, enum flow_filter filter)
{
	static const struct {
		uint32_t remote;
		uint16_t port;
	} from[] = {{REMOTE, 80}, {REMOTE, 81}, {REMOTE + 1, 80}};
	unsigned mask = 0;

	world.limits.filter = filter;
	for (unsigned i = 0; i < 3; i++) {
		struct flow_in_key key = in_key(s, from[i].remote, from[i].port);
		bool is_known = find_in(&key) != NULL;
		enum flow_verdict seen = flow_peek_filter(world.flows, &key, filter);
		enum flow_verdict verdict = receive_packet(&key, SYN, NULL);

		if (!is_known)
			assert_int_equal(seen, verdict);
		mask |= (unsigned)(verdict == FLOW_OK) << i;
	}
	return mask;
}

static void test_filters(void **state)
{
	static const uint8_t protos[] = {UDP, TCP};
	static const unsigned expected[] = {
		[FLOW_STRICT] = 1,
		[FLOW_MODERATE] = 3,
		[FLOW_OPEN] = 7,
	};

	for (unsigned p = 0; p < 2; p++) {
		for (unsigned filter = FLOW_STRICT; filter <= FLOW_OPEN; filter++) {
			struct flow_out_key key = out_key(filter, protos[p], 5000, REMOTE, 80);

			world.limits.filter = (enum flow_filter)filter;
			assert_int_equal(admitted(begin_out(&key, SYN), (enum flow_filter)filter),
				expected[filter]);
		}
	}
}

/* Live: for flows that begin from now on. */
static void test_filter_changes(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 5000, REMOTE, 80);
	struct flow_session *s = begin_out(&key, 0);

	assert_int_equal(admitted(s, FLOW_STRICT), 1);
	/* Begun while strict: no permit. */
	assert_int_equal(admitted(s, FLOW_MODERATE), 1);
	assert_int_equal(admitted(s, FLOW_OPEN), 7);
	/* What was let in stays. */
	assert_int_equal(admitted(s, FLOW_STRICT), 7);
	key = out_key(0, UDP, 5000, REMOTE + 9, 80);
	world.limits.filter = FLOW_MODERATE;
	begin_out(&key, 0);
	assert_int_equal(receive_packet(&(struct flow_in_key){s->public_v4, REMOTE + 9,
						s->public_port, 7, UDP, {0}},
				 0, NULL),
		FLOW_OK);
	assert_int_equal(flows_counts(world.flows)->permits, 1);
}

/* A permit has the life of what was sent to its address. */
static void test_permit_ends_with_its_last_session(void **state)
{
	struct flow_out_key a, b;
	struct flow_session *s;
	struct flow_in_key key;

	world.limits.filter = FLOW_MODERATE;
	a = out_key(0, UDP, 5000, REMOTE, 1);
	b = out_key(0, UDP, 5000, REMOTE, 2);
	s = begin_out(&a, 0);
	world_pass(100 * NS_IN_S);
	begin_out(&b, 0);
	assert_int_equal(flows_counts(world.flows)->permits, 1);
	/* An unanswered guest does not hold it. */
	key = in_key(s, REMOTE, 99);
	assert_int_equal(receive_packet(&key, 0, NULL), FLOW_OK);
	world_pass(UDP_NS - 100 * NS_IN_S + LATE_NS);
	assert_null(find_out(&a));
	key = in_key(find_out(&b), REMOTE, 98);
	assert_int_equal(receive_packet(&key, 0, NULL), FLOW_OK);
	world_pass(100 * NS_IN_S + LATE_NS);
	assert_null(find_out(&b));
	assert_int_equal(flows_counts(world.flows)->permits, 0);
	assert_int_equal(receive_packet(&key, 0, NULL), FLOW_REFUSED);
}

/* A remote port of 0 is a port, not a permit; ICMP has its address in the session. */
static void test_permit_is_no_session(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 5000, REMOTE, 80);
	struct flow_session *s, copy;
	struct flow_in_key from_zero;

	world.limits.filter = FLOW_MODERATE;
	s = begin_out(&key, 0);
	from_zero = in_key(s, REMOTE, 0);
	assert_null(find_in(&from_zero));
	assert_false(flow_peek_in(world.flows, &from_zero, &copy));
	assert_int_equal(receive_packet(&from_zero, 0, &s), FLOW_OK);
	assert_false(s->is_permit);
	assert_int_equal(flows_counts(world.flows)->sessions, 2);
	key = out_key(0, ICMP, 77, REMOTE, 0);
	begin_out(&key, 0);
	assert_int_equal(flows_counts(world.flows)->permits, 1);
}

/* --- TCP */

static void test_only_a_syn_begins(void **state)
{
	static const uint8_t others[] = {
		0, ACK, RST, FIN, SYN | ACK, SYN | RST, SYN | FIN, 0xff, RST | ACK, FIN | ACK};
	struct flow_out_key key = out_key(0, TCP, 5000, REMOTE, 80);
	struct flow_in_key back;

	for (unsigned i = 0; i < sizeof(others); i++)
		assert_int_equal(send_packet(&key, others[i], NULL), FLOW_NOT_A_BEGINNING);
	assert_int_equal(flows_counts(world.flows)->mappings, 0);
	world.limits.filter = FLOW_OPEN;
	back = in_key(begin_out(&key, SYN | 0xc0 /* ECE, CWR */), REMOTE + 1, 80);
	for (unsigned i = 0; i < sizeof(others); i++)
		assert_int_equal(receive_packet(&back, others[i], NULL), FLOW_NOT_A_BEGINNING);
	assert_int_equal(receive_packet(&back, SYN, NULL), FLOW_OK);
}

static void test_tcp_states(void **state)
{
	struct flow_out_key key = out_key(0, TCP, 5000, REMOTE, 80);
	struct flow_session *s = begin_out(&key, SYN);
	struct flow_in_key back = in_key(s, REMOTE, 80);

	assert_int_equal(s->tcp_state, FLOW_TCP_INIT_OUT);
	assert_int_equal(s->due_ns, world.now_ns + TRANS_NS);
	receive_packet(&back, SYN | ACK, NULL);
	assert_int_equal(s->tcp_state, FLOW_TCP_ESTABLISHED);
	assert_int_equal(s->due_ns, world.now_ns + LONG_NS);
	begin_out(&key, FIN | ACK);
	assert_int_equal(s->tcp_state, FLOW_TCP_FIN_OUT);
	receive_packet(&back, FIN | ACK, NULL);
	assert_int_equal(s->tcp_state, FLOW_TCP_FIN_BOTH);
	assert_int_equal(s->due_ns, world.now_ns + TRANS_NS);
}

/* --- quotas */

static void test_session_quota(void **state)
{
	struct flow_out_key key;

	world.limits.max_sessions = 10;
	for (uint16_t i = 0; i < 10; i++) {
		key = out_key(1, UDP, i, REMOTE, 53);
		begin_out(&key, 0);
	}
	key = out_key(1, UDP, 100, REMOTE, 53);
	assert_int_equal(send_packet(&key, 0, NULL), FLOW_TOO_MANY);
	assert_int_equal(flow_begin_exempt(world.flows, &key, 0, &world.limits, world.now_ns,
				 &(struct flow_session *){NULL}),
		FLOW_TOO_MANY);
	/* Its own go on, and others begin. */
	key = out_key(1, UDP, 5, REMOTE, 53);
	begin_out(&key, 0);
	key = out_key(2, UDP, 5, REMOTE, 53);
	begin_out(&key, 0);
}

/* The outside fills half of it with what is not answered, and answers give room. */
static void test_outside_gets_half_a_quota(void **state)
{
	struct flow_out_key key = out_key(1, UDP, 5000, REMOTE, 53);
	struct flow_session *s, *guest = NULL;
	struct flow_in_key in;
	uint16_t n = 0;

	world.limits.max_sessions = 10;
	world.limits.filter = FLOW_OPEN;
	s = begin_out(&key, 0);
	for (;; n++) {
		in = in_key(s, REMOTE + 1, n);
		if (receive_packet(&in, 0, &guest) != FLOW_OK)
			break;
	}
	assert_int_equal(n, 5);
	assert_int_equal(receive_packet(&in, 0, NULL), FLOW_TOO_MANY);
	flow_sent(world.flows, guest, 0, world.now_ns);
	assert_int_equal(receive_packet(&in, 0, NULL), FLOW_OK);
	key.remote_port = 54;
	begin_out(&key, 0);
	/* And so does their end. */
	world_pass(UDP_NS - NS_IN_S);
	begin_out(&key, 0);
	world_pass(NS_IN_S + LATE_NS);
	assert_int_equal(flow_peer_sessions(world.flows, 1), 1);
	s = find_out(&key);
	for (n = 0; n < 5; n++) {
		in = in_key(s, REMOTE + 2, n);
		assert_int_equal(receive_packet(&in, 0, NULL), FLOW_OK);
	}
	in = in_key(s, REMOTE + 2, n);
	assert_int_equal(receive_packet(&in, 0, NULL), FLOW_TOO_MANY);
}

static void test_rate_of_beginnings(void **state)
{
	unsigned n = 0;

	world.limits.new_per_s = 50;
	world.limits.burst = 20;
	for (uint32_t i = 0; i < 1000; i++) {
		struct flow_out_key key = out_key(1, UDP, 5000, REMOTE + i, 53);
		enum flow_verdict verdict = send_packet(&key, 0, NULL);

		n += verdict == FLOW_OK;
		assert_true(verdict == FLOW_OK || verdict == FLOW_TOO_FAST);
		if (i == 499)
			assert_int_equal(n, 20);
		if (i >= 500)
			world.now_ns += 10 * NS_IN_MS;
	}
	/* Five seconds at 50 a second after the burst. */
	assert_in_range(n, 20 + 249, 20 + 250);
	/* A long rest fills the bucket, and no more. */
	world.now_ns += 1000 * NS_IN_S;
	n = 0;
	for (uint32_t i = 0; i < 100; i++) {
		struct flow_out_key key = out_key(1, UDP, 5000, REMOTE + 5000 + i, 53);

		n += send_packet(&key, 0, NULL) == FLOW_OK;
	}
	assert_int_equal(n, 20);
}

static void test_outside_gets_half_a_burst(void **state)
{
	struct flow_out_key key = out_key(1, UDP, 5000, REMOTE, 53);
	struct flow_session *s;
	unsigned n = 0;

	world.limits.new_per_s = 50;
	world.limits.burst = 21;
	world.limits.filter = FLOW_OPEN;
	s = begin_out(&key, 0);
	for (uint16_t i = 0; i < 100; i++) {
		struct flow_in_key in = in_key(s, REMOTE + 1, i);

		n += receive_packet(&in, 0, NULL) == FLOW_OK;
	}
	assert_in_range(n, 9, 10);
	n = 0;
	for (uint16_t i = 0; i < 100; i++) {
		key.remote_port = (uint16_t)(1000 + i);
		n += send_packet(&key, 0, NULL) == FLOW_OK;
	}
	assert_in_range(n, 10, 11);
}

/* RFC 6888 REQ-4, REQ-11: the peer's blocks are full; others are as before, and so is it. */
static void test_blocks_run_out(void **state)
{
	struct flow_out_key key;
	struct flow_session *first;

	world.limits.max_blocks = 2;
	key = out_key(1, UDP, 0, REMOTE, 53);
	first = begin_out(&key, 0);
	for (uint16_t i = 1; i < 2 * BLOCK; i++) {
		key = out_key(1, UDP, i, REMOTE, 53);
		begin_out(&key, 0);
	}
	key = out_key(1, UDP, 2 * BLOCK, REMOTE, 53);
	assert_int_equal(send_packet(&key, 0, NULL), FLOW_NO_PORT);
	assert_int_equal(flows_counts(world.flows)->blocks, 2);
	key = out_key(1, UDP, 0, REMOTE, 53);
	assert_ptr_equal(begin_out(&key, 0), first);
	/* An old mapping still has new sessions; other protocols have their own numbers. */
	key = out_key(1, UDP, 0, REMOTE + 1, 53);
	begin_out(&key, 0);
	key = out_key(1, TCP, 2 * BLOCK, REMOTE, 53);
	begin_out(&key, SYN);
	key = out_key(2, UDP, 0, REMOTE, 53);
	begin_out(&key, 0);
}

static void test_address_runs_out(void **state)
{
	struct flow_out_key key;
	unsigned n_blocks = (PORT_LAST + 1 - PORT_FIRST) / BLOCK;

	for (uint32_t peer_idx = 0; peer_idx < n_blocks; peer_idx++) {
		key = out_key(peer_idx, UDP, 1, REMOTE, 53);
		begin_out(&key, 0);
	}
	key = out_key(n_blocks, UDP, 1, REMOTE, 53);
	assert_int_equal(send_packet(&key, 0, NULL), FLOW_NO_PORT);
	assert_int_equal(flows_counts(world.flows)->sessions, n_blocks);
}

static void test_table_full(void **state)
{
	struct flow_session *s, *refused = NULL;
	struct flow_out_key key;
	struct flow_in_key back;

	world_end();
	world_begin(4);
	world.limits.filter = FLOW_OPEN;
	for (uint16_t i = 0; i < 2; i++) {
		key = out_key(i, UDP, 1, REMOTE, 53);
		s = begin_out(&key, 0);
	}
	/* With its permits it is full. */
	assert_int_equal(flows_counts(world.flows)->permits, 2);
	back = in_key(s, REMOTE + 1, 53);
	assert_int_equal(receive_packet(&back, 0, &refused), FLOW_TABLE_FULL);
	key = out_key(2, UDP, 1, REMOTE, 53);
	assert_int_equal(send_packet(&key, 0, &refused), FLOW_TABLE_FULL);
	assert_null(refused);
	assert_int_equal(flows_counts(world.flows)->mappings, 2);
	assert_int_equal(flow_peer_sessions(world.flows, 2), 0);
	for (uint16_t i = 0; i < 2; i++) {
		key = out_key(i, UDP, 1, REMOTE, 53);
		assert_non_null(find_out(&key));
	}
	world_pass(UDP_NS + LATE_NS);
	key = out_key(2, UDP, 1, REMOTE, 53);
	begin_out(&key, 0);
}

/* Where there is room for the session but not for its permit, it does not begin. */
static void test_no_room_for_the_permit(void **state)
{
	struct flow_out_key key = out_key(0, UDP, 1, REMOTE, 53);

	world_end();
	world_begin(3);
	world.limits.filter = FLOW_MODERATE;
	begin_out(&key, 0);
	key = out_key(0, UDP, 1, REMOTE + 1, 53);
	assert_int_equal(send_packet(&key, 0, NULL), FLOW_TABLE_FULL);
	world.limits.filter = FLOW_STRICT;
	begin_out(&key, 0);
}

static void zero_bytes(void *out, size_t len)
{
	memset(out, 0, len);
}

/* With a secret of zeros all hashes are alike: what tells keys apart is the records. */
static void test_like_hashes(void **state)
{
	struct flow_session *sessions[100], *s = NULL;
	struct flow_v6_key v6 = {.proto = UDP};

	flows_destroy(world.flows);
	world.conf.random = zero_bytes;
	world.flows = flows_create(&world.conf);
	for (uint32_t i = 0; i < 100; i++) {
		struct flow_out_key key = out_key(i % 3, UDP, (uint16_t)(i / 6), REMOTE + i, 53);

		assert_int_equal(flow_begin_out(world.flows, &key, i & 1 ? PUBLIC_A : PUBLIC_B, 0,
					 &world.limits, world.now_ns, &sessions[i]),
			FLOW_OK);
		assert_int_equal(sessions[i]->public_v4, i & 1 ? PUBLIC_A : PUBLIC_B);
		v6.inner_port = (uint16_t)i;
		assert_int_equal(
			flow_begin_v6(world.flows, 0, &v6, 0, &world.limits, world.now_ns, &s),
			FLOW_OK);
		assert_int_equal(s->inner_port, i);
	}
	for (uint32_t i = 0; i < 100; i++) {
		struct flow_out_key key = out_key(i % 3, UDP, (uint16_t)(i / 6), REMOTE + i, 53);
		struct flow_in_key back = in_key(sessions[i], REMOTE + i, 53);

		assert_ptr_equal(find_out(&key), sessions[i]);
		assert_ptr_equal(find_in(&back), sessions[i]);
		back.remote_v4 = REMOTE + 1000;
		assert_null(find_in(&back));
	}
	/* Six sessions of one i / 6 are of three peers by two addresses. */
	assert_int_equal(flows_counts(world.flows)->mappings, 100);
}

/* --- without translation */

static void test_exempt(void **state)
{
	struct flow_out_key key = out_key(1, TCP, 5000, REMOTE, 80);
	struct flow_session *s = NULL;
	struct flow_in_key back;

	assert_int_equal(flow_begin_exempt(world.flows, &key, ACK, &world.limits, world.now_ns, &s),
		FLOW_NOT_A_BEGINNING);
	assert_int_equal(flow_begin_exempt(world.flows, &key, SYN, &world.limits, world.now_ns, &s),
		FLOW_OK);
	assert_true(s->is_exempt);
	back = in_key(s, REMOTE, 80);
	assert_int_equal(back.public_v4, key.inner_v4);
	assert_int_equal(back.public_port, 5000);
	assert_ptr_equal(find_in(&back), s);
	assert_ptr_equal(find_out(&key), s);
	assert_int_equal(flows_counts(world.flows)->mappings, 0);
	/* Another peer cannot have the same. */
	key.peer_idx = 2;
	assert_int_equal(flow_begin_exempt(world.flows, &key, SYN, &world.limits, world.now_ns, &s),
		FLOW_REFUSED);
	world_pass(TRANS_NS + LATE_NS);
	assert_null(find_in(&back));
}

static void test_v6(void **state)
{
	struct flow_v6_key key = {.inner_port = 5000, .remote_port = 443, .proto = UDP};
	struct flow_session *s = NULL, *found, copy;

	assert_int_equal(ip_addr_parse("2001:db8:1::2", &key.inner), 0);
	assert_int_equal(ip_addr_parse("2001:db8:ffff::1", &key.remote), 0);
	assert_int_equal(
		flow_begin_v6(world.flows, 5, &key, 0, &world.limits, world.now_ns, &s), FLOW_OK);
	assert_true(s->is_v6);
	flow_find_v6_burst(world.flows, &key, 1, &found);
	assert_ptr_equal(found, s);
	assert_true(flow_peek_v6(world.flows, &key, &copy));
	assert_true(ip_equal(&copy.remote_v6, &key.remote));
	for (size_t i = 0; i < offsetof(struct flow_v6_key, zero); i++) {
		struct flow_v6_key other = key;

		((uint8_t *)&other)[i] ^= 1;
		flow_find_v6_burst(world.flows, &other, 1, &found);
		assert_null(found);
		assert_false(flow_peek_v6(world.flows, &other, &copy));
	}
	assert_int_equal(flow_begin_v6(world.flows, 6, &key, 0, &world.limits, world.now_ns, &s),
		FLOW_REFUSED);
	flow_peer_forget(world.flows, 5, world.now_ns);
	assert_int_equal(
		flow_begin_v6(world.flows, 6, &key, 0, &world.limits, world.now_ns, &s), FLOW_OK);
	/* ICMPv6 has the time of ICMP. */
	key.proto = 58;
	assert_int_equal(
		flow_begin_v6(world.flows, 6, &key, 0, &world.limits, world.now_ns, &s), FLOW_OK);
	assert_int_equal(s->due_ns, world.now_ns + ICMP_NS);
}

/* Bursts of hits and misses, in any order, of every length. */
static void test_bursts(void **state)
{
	struct flow_out_key outs[FLOW_BURST_MAX];
	struct flow_in_key ins[FLOW_BURST_MAX];
	struct flow_session *expected[FLOW_BURST_MAX], *found[FLOW_BURST_MAX];

	for (uint32_t i = 0; i < FLOW_BURST_MAX; i++) {
		outs[i] = out_key(i % 16, UDP, (uint16_t)i, REMOTE, 53);
		expected[i] = i % 3 ? begin_out(&outs[i], 0) : NULL;
		if (expected[i])
			ins[i] = in_key(expected[i], REMOTE, 53);
		else
			ins[i] = (struct flow_in_key){.public_v4 = PUBLIC_A, .proto = UDP};
	}
	for (uint32_t n = 0; n <= FLOW_BURST_MAX; n++) {
		flow_find_out_burst(world.flows, outs, n, found);
		assert_memory_equal(found, expected, n * sizeof(found[0]));
		flow_find_in_burst(world.flows, ins, n, found);
		assert_memory_equal(found, expected, n * sizeof(found[0]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_session_is_found_both_ways, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_every_byte_of_a_key_counts, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_mapping_is_endpoint_independent, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_no_port_is_shared, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_another_public_address_is_another_mapping,
			world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_what_is_no_key_is_refused, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_beginning_twice_is_one_session, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_filters, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_filter_changes, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_permit_ends_with_its_last_session, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_permit_is_no_session, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_only_a_syn_begins, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_tcp_states, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_session_quota, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_outside_gets_half_a_quota, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_rate_of_beginnings, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_outside_gets_half_a_burst, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_blocks_run_out, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_address_runs_out, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_table_full, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			test_no_room_for_the_permit, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_like_hashes, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_exempt, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_v6, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_bursts, world_setup, world_teardown),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
