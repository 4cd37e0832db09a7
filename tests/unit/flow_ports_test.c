/* flow_ports_test.c - RFC 6056, RFC 6888 REQ-15: no port is likelier than another. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "flow_world.h"

#define PORTS (PORT_LAST + 1 - PORT_FIRST)

/* Nothing rests: a port is free as soon as its mapping has ended. */
static int setup(void **state)
{
	world_begin(256);
	flows_destroy(world.flows);
	world.conf.rest_ns = 0;
	world.flows = flows_create(&world.conf);
	assert_non_null(world.flows);
	return 0;
}

static int teardown(void **state)
{
	world_end();
	return 0;
}

static unsigned draw_port(uint16_t inner_port)
{
	struct flow_out_key key = out_key(0, UDP, inner_port, REMOTE, 53);
	struct flow_session *s = NULL;

	assert_int_equal(send_packet(&key, 0, &s), FLOW_OK);
	return s->public_port;
}

static void forget(void)
{
	flow_peer_forget(world.flows, 0, world.now_ns);
	flow_turn(world.flows, world.now_ns, 64);
	assert_int_equal(flows_counts(world.flows)->blocks, 0);
}

/* The statistic for n bins that should be alike; it has n - 1 degrees of freedom, a mean of as many
 * and a variance of twice that. */
static double chi_square(const unsigned *counts, unsigned n)
{
	double sum = 0, all = 0;

	for (unsigned i = 0; i < n; i++)
		all += counts[i];
	for (unsigned i = 0; i < n; i++)
		sum += (counts[i] - all / n) * (counts[i] - all / n) / (all / n);
	return sum;
}

/* The limits below are passed by chance less than once in a million runs. */

static void test_first_ports(void **state)
{
	static unsigned counts[PORTS];

	for (unsigned i = 0; i < 30 * PORTS; i++) {
		counts[draw_port(1) - PORT_FIRST]++;
		forget();
	}
	assert_true(chi_square(counts, PORTS) < 2047 + 5.5 * 64);
}

/* The distance from one port to the next tells nothing. */
static void test_next_ports(void **state)
{
	unsigned counts[BLOCK] = {0};

	for (unsigned i = 0; i < 50000; i++) {
		counts[(draw_port(1) - draw_port(2)) % BLOCK]++;
		forget();
	}
	assert_int_equal(counts[0], 0);
	assert_true(chi_square(counts + 1, BLOCK - 1) < 62 + 6.5 * 11.2);
}

/* RFC 4787 REQ-11: nor does it when nearly all are taken. */
static void test_last_ports(void **state)
{
	unsigned counts[BLOCK] = {0}, n_drawn = 0, drawn[BLOCK];

	world.limits.max_blocks = 1;
	for (unsigned i = 0; i < 4000; i++) {
		for (uint16_t port = 0; port + 4 < BLOCK; port++)
			draw_port(port);
		counts[draw_port(1000) % BLOCK]++;
		/* That one ends, the others go on. */
		world.now_ns += UDP_NS / 2;
		for (uint16_t port = 0; port + 4 < BLOCK; port++)
			draw_port(port);
		world.now_ns += UDP_NS / 2 + LATE_NS;
		flow_turn(world.flows, world.now_ns, 1000);
	}
	for (unsigned i = 0; i < BLOCK; i++)
		if (counts[i] > 0)
			drawn[n_drawn++] = counts[i];
	assert_int_equal(n_drawn, 4);
	assert_true(chi_square(drawn, 4) < 31);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_next_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_ports, setup, teardown),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
