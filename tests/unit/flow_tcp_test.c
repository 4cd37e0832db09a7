/* flow_tcp_test.c - RFC 6146, section 3.5.2, as a table, and the sequences of RFC 5382. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "flow/tcp.h"

#include <string.h>

#define SYN FLOW_TCP_SYN
#define ACK FLOW_TCP_ACK
#define RST FLOW_TCP_RST
#define FIN FLOW_TCP_FIN
#define OUT true
#define IN  false

/* Every line of the RFC's text that names a state and a packet; ours where tcp.h says so. */
static const struct {
	enum flow_tcp_state state;
	bool is_out;
	uint8_t flags;
	enum flow_tcp_state next;
	enum flow_tcp_life life;
} lines[] = {
	/* V6 INIT */
	{FLOW_TCP_INIT_OUT, IN, SYN, FLOW_TCP_ESTABLISHED, FLOW_TCP_LONG},
	{FLOW_TCP_INIT_OUT, IN, SYN | ACK, FLOW_TCP_ESTABLISHED, FLOW_TCP_LONG},
	{FLOW_TCP_INIT_OUT, OUT, SYN, FLOW_TCP_INIT_OUT, FLOW_TCP_TRANSITORY},
	{FLOW_TCP_INIT_OUT, OUT, ACK, FLOW_TCP_INIT_OUT, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_OUT, IN, ACK, FLOW_TCP_INIT_OUT, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_OUT, OUT, FIN | ACK, FLOW_TCP_INIT_OUT, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_OUT, IN, FIN | ACK, FLOW_TCP_INIT_OUT, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_OUT, OUT, RST, FLOW_TCP_INIT_OUT, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_OUT, IN, RST | ACK, FLOW_TCP_INIT_OUT, FLOW_TCP_KEEP},
	/* V4 INIT */
	{FLOW_TCP_INIT_IN, OUT, SYN, FLOW_TCP_ESTABLISHED, FLOW_TCP_LONG},
	{FLOW_TCP_INIT_IN, OUT, SYN | ACK, FLOW_TCP_ESTABLISHED, FLOW_TCP_LONG},
	{FLOW_TCP_INIT_IN, IN, SYN, FLOW_TCP_INIT_IN, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_IN, IN, ACK, FLOW_TCP_INIT_IN, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_IN, OUT, ACK, FLOW_TCP_INIT_IN, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_IN, OUT, RST | ACK, FLOW_TCP_INIT_IN, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_IN, IN, RST, FLOW_TCP_INIT_IN, FLOW_TCP_KEEP},
	{FLOW_TCP_INIT_IN, OUT, FIN, FLOW_TCP_INIT_IN, FLOW_TCP_KEEP},
	/* ESTABLISHED; what comes in prolongs nothing (ours) */
	{FLOW_TCP_ESTABLISHED, IN, FIN | ACK, FLOW_TCP_FIN_IN, FLOW_TCP_KEEP},
	{FLOW_TCP_ESTABLISHED, OUT, FIN | ACK, FLOW_TCP_FIN_OUT, FLOW_TCP_LONG},
	{FLOW_TCP_ESTABLISHED, IN, RST, FLOW_TCP_TRANS, FLOW_TCP_CUT},
	{FLOW_TCP_ESTABLISHED, OUT, RST, FLOW_TCP_TRANS, FLOW_TCP_CUT},
	{FLOW_TCP_ESTABLISHED, OUT, ACK, FLOW_TCP_ESTABLISHED, FLOW_TCP_LONG},
	{FLOW_TCP_ESTABLISHED, OUT, SYN, FLOW_TCP_ESTABLISHED, FLOW_TCP_LONG},
	{FLOW_TCP_ESTABLISHED, IN, ACK, FLOW_TCP_ESTABLISHED, FLOW_TCP_KEEP},
	{FLOW_TCP_ESTABLISHED, IN, SYN, FLOW_TCP_ESTABLISHED, FLOW_TCP_KEEP},
	/* V4 FIN RCV; RST leaves it (ours) */
	{FLOW_TCP_FIN_IN, OUT, FIN | ACK, FLOW_TCP_FIN_BOTH, FLOW_TCP_TRANSITORY},
	{FLOW_TCP_FIN_IN, OUT, ACK, FLOW_TCP_FIN_IN, FLOW_TCP_LONG},
	{FLOW_TCP_FIN_IN, IN, ACK, FLOW_TCP_FIN_IN, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_IN, IN, FIN | ACK, FLOW_TCP_FIN_IN, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_IN, OUT, RST, FLOW_TCP_TRANS, FLOW_TCP_CUT},
	{FLOW_TCP_FIN_IN, IN, RST, FLOW_TCP_TRANS, FLOW_TCP_CUT},
	/* V6 FIN RCV */
	{FLOW_TCP_FIN_OUT, IN, FIN | ACK, FLOW_TCP_FIN_BOTH, FLOW_TCP_TRANSITORY},
	{FLOW_TCP_FIN_OUT, OUT, ACK, FLOW_TCP_FIN_OUT, FLOW_TCP_LONG},
	{FLOW_TCP_FIN_OUT, OUT, FIN | ACK, FLOW_TCP_FIN_OUT, FLOW_TCP_LONG},
	{FLOW_TCP_FIN_OUT, IN, ACK, FLOW_TCP_FIN_OUT, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_OUT, OUT, RST, FLOW_TCP_TRANS, FLOW_TCP_CUT},
	{FLOW_TCP_FIN_OUT, IN, RST, FLOW_TCP_TRANS, FLOW_TCP_CUT},
	/* V4 FIN + V6 FIN RCV; the peer's SYN leaves it (ours) */
	{FLOW_TCP_FIN_BOTH, OUT, ACK, FLOW_TCP_FIN_BOTH, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_BOTH, IN, ACK, FLOW_TCP_FIN_BOTH, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_BOTH, OUT, FIN | ACK, FLOW_TCP_FIN_BOTH, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_BOTH, IN, FIN | ACK, FLOW_TCP_FIN_BOTH, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_BOTH, OUT, RST, FLOW_TCP_FIN_BOTH, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_BOTH, IN, RST, FLOW_TCP_FIN_BOTH, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_BOTH, IN, SYN, FLOW_TCP_FIN_BOTH, FLOW_TCP_KEEP},
	{FLOW_TCP_FIN_BOTH, OUT, SYN, FLOW_TCP_INIT_OUT, FLOW_TCP_TRANSITORY},
	{FLOW_TCP_FIN_BOTH, OUT, SYN | ACK, FLOW_TCP_ESTABLISHED, FLOW_TCP_LONG},
	/* TRANS: anything but RST leads back; FIN is remembered, the peer's SYN begins (ours) */
	{FLOW_TCP_TRANS, OUT, ACK, FLOW_TCP_ESTABLISHED, FLOW_TCP_LONG},
	{FLOW_TCP_TRANS, IN, ACK, FLOW_TCP_ESTABLISHED, FLOW_TCP_KEEP},
	{FLOW_TCP_TRANS, IN, SYN | ACK, FLOW_TCP_ESTABLISHED, FLOW_TCP_KEEP},
	{FLOW_TCP_TRANS, OUT, RST, FLOW_TCP_TRANS, FLOW_TCP_KEEP},
	{FLOW_TCP_TRANS, IN, RST | ACK, FLOW_TCP_TRANS, FLOW_TCP_KEEP},
	{FLOW_TCP_TRANS, OUT, FIN | ACK, FLOW_TCP_FIN_OUT, FLOW_TCP_LONG},
	{FLOW_TCP_TRANS, IN, FIN | ACK, FLOW_TCP_FIN_IN, FLOW_TCP_KEEP},
	{FLOW_TCP_TRANS, OUT, SYN, FLOW_TCP_INIT_OUT, FLOW_TCP_TRANSITORY},
	{FLOW_TCP_TRANS, IN, SYN, FLOW_TCP_TRANS, FLOW_TCP_KEEP},
	{FLOW_TCP_TRANS, OUT, SYN | ACK, FLOW_TCP_ESTABLISHED, FLOW_TCP_LONG},
};

static void test_every_line(void **state)
{
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct flow_tcp_step step =
			flow_tcp_step(lines[i].state, lines[i].flags, lines[i].is_out);

		if (step.state != lines[i].next || step.life != lines[i].life)
			fail_msg("line %u: state %u, life %u", i, step.state, step.life);
	}
}

/* For any flags at all: what comes in never sets the long time but once, to complete an opening; a
 * RST never prolongs; whatever has no state keeps none. */
static void test_any_flags(void **state)
{
	for (unsigned s = 0; s < FLOW_TCP_STATES; s++) {
		for (unsigned flags = 0; flags < 256; flags++) {
			struct flow_tcp_step out, in;

			out = flow_tcp_step((enum flow_tcp_state)s, (uint8_t)flags, OUT);
			in = flow_tcp_step((enum flow_tcp_state)s, (uint8_t)flags, IN);
			assert_true(out.state < FLOW_TCP_STATES && in.state < FLOW_TCP_STATES);
			if (s == FLOW_TCP_NONE)
				assert_true(out.state == FLOW_TCP_NONE &&
					    out.life == FLOW_TCP_KEEP &&
					    in.state == FLOW_TCP_NONE && in.life == FLOW_TCP_KEEP);
			if (s != FLOW_TCP_INIT_OUT)
				assert_int_not_equal(in.life, FLOW_TCP_LONG);
			if (flags & RST)
				assert_true(out.life <= FLOW_TCP_CUT && in.life <= FLOW_TCP_CUT);
		}
	}
}

/* Packets in the order in which they pass, and the state after the last. */
static enum flow_tcp_state run(enum flow_tcp_state first, const char *packets)
{
	static const struct {
		const char *name;
		uint8_t flags;
	} names[] = {{"SA", SYN | ACK}, {"S", SYN}, {"FA", FIN | ACK}, {"A", ACK}, {"R", RST}};
	enum flow_tcp_state at = first;

	for (; *packets != '\0'; packets += strspn(packets, " ")) {
		bool is_out = *packets++ == '>';
		unsigned i = 0;

		while (strncmp(packets, names[i].name, strlen(names[i].name)) != 0)
			i++;
		packets += strlen(names[i].name);
		at = (enum flow_tcp_state)flow_tcp_step(at, names[i].flags, is_out).state;
	}
	return at;
}

/* RFC 5382 REQ-2: all sequences; > from the peer, < to it. */
static void test_sequences(void **state)
{
	static const struct {
		enum flow_tcp_state first;
		const char *packets;
		enum flow_tcp_state last;
	} runs[] = {
		{FLOW_TCP_INIT_OUT, ">S <SA >A >A <A", FLOW_TCP_ESTABLISHED},
		/* Simultaneous open, both orders (RFC 9293, figure 7). */
		{FLOW_TCP_INIT_OUT, ">S <S >SA <SA >A <A", FLOW_TCP_ESTABLISHED},
		{FLOW_TCP_INIT_IN, "<S >S <SA >SA", FLOW_TCP_ESTABLISHED},
		{FLOW_TCP_INIT_IN, "<S >SA <A", FLOW_TCP_ESTABLISHED},
		/* Closing from either side, and both at once. */
		{FLOW_TCP_INIT_OUT, ">S <SA >A >FA <A <A <FA >A", FLOW_TCP_FIN_BOTH},
		{FLOW_TCP_INIT_OUT, ">S <SA >A <FA >A >A >FA <A", FLOW_TCP_FIN_BOTH},
		{FLOW_TCP_INIT_OUT, ">S <SA >A >FA <FA >A <A", FLOW_TCP_FIN_BOTH},
		{FLOW_TCP_INIT_OUT, ">S <SA >A >FA <A <A >A", FLOW_TCP_FIN_OUT},
		/* Refused; forged RST and then data; reset for good. */
		{FLOW_TCP_INIT_OUT, ">S <R", FLOW_TCP_INIT_OUT},
		{FLOW_TCP_INIT_OUT, ">S <SA >A <R >A", FLOW_TCP_ESTABLISHED},
		{FLOW_TCP_INIT_OUT, ">S <SA >A <R <A", FLOW_TCP_ESTABLISHED},
		{FLOW_TCP_INIT_OUT, ">S <SA >A <R <R >R", FLOW_TCP_TRANS},
		/* The same ports again. */
		{FLOW_TCP_INIT_OUT, ">S <SA >A >FA <FA >A >S <SA >A", FLOW_TCP_ESTABLISHED},
		{FLOW_TCP_INIT_IN, "<S >SA <A <FA >FA <A <S >SA <A", FLOW_TCP_ESTABLISHED},
		{FLOW_TCP_INIT_OUT, ">S <SA >A >R >S <SA", FLOW_TCP_ESTABLISHED},
	};

	for (unsigned i = 0; i < sizeof(runs) / sizeof(runs[0]); i++)
		if (run(runs[i].first, runs[i].packets) != runs[i].last)
			fail_msg("%s: state %d", runs[i].packets,
				run(runs[i].first, runs[i].packets));
}

static void test_beginnings(void **state)
{
	for (unsigned flags = 0; flags < 256; flags++) {
		bool is_syn = flags & SYN, is_more = flags & (ACK | RST | FIN);

		assert_int_equal(flow_tcp_begins((uint8_t)flags), is_syn && !is_more);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_line),
		cmocka_unit_test(test_any_flags),
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_beginnings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
