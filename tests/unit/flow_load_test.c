/* flow_load_test.c - RFC 4787 REQ-11: the NAT behaves in one way, however full it is. All but the
 * last ports of an address and of a peer are in use, kept alive, while mapping, pairing, filters
 * and timers are looked at again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "flow_world.h"

#define OTHERS	   31 /* peers, each with a block full; the address has one block more */
#define OURS	   0  /* the peer that is looked at */
#define OUR_PORTS  (BLOCK * 95 / 100 + 1) /* that it has already, of each protocol */
#define FILL_FIRST 10000		  /* inner ports of what only fills */
#define PORTS	   (PORT_LAST + 1 - PORT_FIRST)

static const uint8_t protos[] = {UDP, TCP, ICMP};

/* By protocol and public port: who has it, as peer and inner port. */
static uint32_t holders[3][PORTS];

static struct flow_out_key fill_key(uint32_t peer_idx, unsigned proto, unsigned i)
{
	return out_key(peer_idx, protos[proto], (uint16_t)(FILL_FIRST + i), REMOTE,
		protos[proto] == ICMP ? 0 : 80);
}

static unsigned fill_of(uint32_t peer_idx)
{
	return peer_idx == OURS ? OUR_PORTS : BLOCK;
}

/* Rows 2, 3 and 4: of the one address, nobody else's, and no port below 1024. */
static void hold(const struct flow_session *s, unsigned proto)
{
	uint32_t *holder = &holders[proto][s->public_port - PORT_FIRST];
	uint32_t us = (s->peer_idx + 1) << 16 | s->inner_port;

	assert_int_equal(s->public_v4, PUBLIC_A);
	assert_in_range(s->public_port, PORT_FIRST, PORT_LAST);
	assert_true(s->public_port >= 1024);
	assert_true(*holder == 0 || *holder == us);
	*holder = us;
}

static int setup(void **state)
{
	uint32_t n_held = 0;

	memset(holders, 0, sizeof(holders));
	world_begin(16384);
	world.limits.max_blocks = 1;
	for (uint32_t peer_idx = 0; peer_idx <= OTHERS; peer_idx++) {
		for (unsigned proto = 0; proto < 3; proto++) {
			for (unsigned i = 0; i < fill_of(peer_idx); i++) {
				struct flow_out_key key = fill_key(peer_idx, proto, i);

				hold(begin_out(&key, SYN), proto);
				n_held++;
			}
		}
	}
	assert_true(n_held * 100 >= 3 * PORTS * 95);
	return 0;
}

/* Time passes, and what fills goes on. */
static void pass(uint64_t ns)
{
	world_pass(ns);
	for (uint32_t peer_idx = 0; peer_idx <= OTHERS; peer_idx++) {
		for (unsigned proto = 0; proto < 3; proto++) {
			for (unsigned i = 0; i < fill_of(peer_idx); i++) {
				struct flow_out_key key = fill_key(peer_idx, proto, i);

				hold(begin_out(&key, SYN), proto);
			}
		}
	}
}

/* Of three packets to the mapping, which come in: 1 from where it sent to, 2 from another port
 * there, 4 from another address. */
static unsigned admitted(const struct flow_session *s)
{
	const struct flow_in_key from[] = {
		in_key(s, REMOTE, 80), in_key(s, REMOTE, 81), in_key(s, REMOTE + 9, 80)};
	unsigned bits = 0;

	for (unsigned i = 0; i < 3; i++)
		if (receive_packet(&from[i], SYN, NULL) == FLOW_OK)
			bits |= 1u << i;
	return bits;
}

/* Rows 1 to 4 and 8, down to the last port; and when there is none, what is there stays. */
static void test_mappings_and_filters(void **state)
{
	static const unsigned expected[] = {
		[FLOW_STRICT] = 1,
		[FLOW_MODERATE] = 3,
		[FLOW_OPEN] = 7,
	};

	assert_int_equal(BLOCK - OUR_PORTS, 3);
	for (unsigned proto = 0; proto < 2; proto++) {
		for (unsigned filter = FLOW_STRICT; filter <= FLOW_OPEN; filter++) {
			struct flow_out_key key =
				out_key(OURS, protos[proto], (uint16_t)(100 + filter), REMOTE, 80);
			struct flow_out_key other = out_key(
				OURS, protos[proto], (uint16_t)(100 + filter), REMOTE + 1, 443);
			struct flow_session *s;
			uint16_t public_port;

			world.limits.filter = (enum flow_filter)filter;
			s = begin_out(&key, SYN);
			hold(s, proto);
			public_port = s->public_port;
			assert_int_equal(admitted(s), expected[filter]);
			s = begin_out(&other, SYN);
			hold(s, proto);
			assert_int_equal(s->public_port, public_port);
		}
	}
	for (unsigned proto = 0; proto < 2; proto++) {
		struct flow_out_key key = out_key(OURS, protos[proto], 999, REMOTE, 80);

		/* The other address has room; it is not this peer's. */
		assert_int_equal(send_packet(&key, SYN, NULL), FLOW_NO_PORT);
		for (unsigned filter = FLOW_STRICT; filter <= FLOW_OPEN; filter++) {
			key = out_key(OURS, protos[proto], (uint16_t)(100 + filter), REMOTE + 2, 5);
			hold(begin_out(&key, SYN), proto);
		}
	}
	pass(10 * NS_IN_S);
}

/* Row 5. In order would be 63 times the next number, by chance it is once. */
static void test_ports_are_random(void **state)
{
	for (uint32_t peer_idx = 0; peer_idx <= OTHERS; peer_idx++) {
		unsigned n_next = 0;
		uint16_t last = 0;

		for (unsigned i = 0; i < fill_of(peer_idx); i++) {
			struct flow_out_key key = fill_key(peer_idx, 0, i);
			uint16_t port = find_out(&key)->public_port;

			n_next += port == last + 1;
			last = port;
		}
		assert_true(n_next < 20);
	}
}

/* Rows 6 and 7: 290 s in, 310 s gone; what the peer sends keeps a mapping, what comes in and a RST
 * do not. */
static void test_timers(void **state)
{
	struct flow_out_key idle = out_key(OURS, UDP, 100, REMOTE, 80);
	struct flow_out_key kept = out_key(OURS, UDP, 101, REMOTE, 80);
	struct flow_out_key spammed = out_key(OURS, UDP, 102, REMOTE, 80);
	struct flow_out_key reset = out_key(OURS, TCP, 100, REMOTE, 80);
	struct flow_in_key to_idle = in_key(begin_out(&idle, 0), REMOTE, 80);
	struct flow_in_key to_kept = in_key(begin_out(&kept, 0), REMOTE, 80);
	struct flow_in_key to_spammed = in_key(begin_out(&spammed, 0), REMOTE, 80);
	struct flow_in_key to_reset = in_key(begin_out(&reset, SYN), REMOTE, 80);

	receive_packet(&to_reset, SYN | ACK, NULL);
	begin_out(&reset, ACK);
	for (unsigned s = 10; s <= 310; s += 10) {
		if (s <= 240) {
			assert_int_equal(receive_packet(&to_reset, ACK, NULL), FLOW_OK);
			begin_out(&reset, RST);
		}
		pass(10 * NS_IN_S);
		if (s < 300)
			assert_int_equal(receive_packet(&to_spammed, 0, NULL), FLOW_OK);
		if (s == 100 || s == 200)
			begin_out(&kept, 0);
		if (s == 250)
			assert_null(find_out(&reset));
		if (s == 290)
			assert_int_equal(receive_packet(&to_idle, 0, NULL), FLOW_OK);
	}
	assert_int_equal(receive_packet(&to_idle, 0, NULL), FLOW_REFUSED);
	assert_int_equal(receive_packet(&to_spammed, 0, NULL), FLOW_REFUSED);
	assert_int_equal(receive_packet(&to_kept, 0, NULL), FLOW_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_mappings_and_filters, setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_ports_are_random, setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_timers, setup, world_teardown),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
