/* doors_terms_test.c - what a lease asks of those who come in: sources, packets and new flows a
 * second.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "doors/terms.h"

#include "seeded.h"

#define MS NS_IN_MS

static uint64_t now_ns;

static struct door_terms *terms_of(uint32_t max_pps, uint32_t max_new_flows)
{
	struct lease l = {.max_pps = max_pps, .max_new_flows = max_new_flows};
	struct door_terms *t = NULL;

	assert_int_equal(door_terms_create(&l, &t), 0);
	now_ns = 1000 * NS_IN_S;
	return t;
}

/* A UDP datagram of flow n. */
static enum door_verdict ask(struct door_terms *t, uint64_t n)
{
	const struct door_knock knock = {0};

	return door_terms_ask(t, &knock, n * 0x9e3779b97f4a7c15u, now_ns);
}

static unsigned admitted(struct door_terms *t, unsigned n_tries)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_tries; i++)
		n += ask(t, 1) == DOOR_ADMITS;
	return n;
}

static void who_asks_nothing_has_no_terms(void **state)
{
	struct lease l = {.max_pps = 1};
	struct door_terms *t = terms_of(0, 0);

	assert_null(t);
	l.max_pps = 0;
	assert_true(door_terms_equal(NULL, &l));
	l.max_pps = 5;
	assert_false(door_terms_equal(NULL, &l));
	t = terms_of(5, 0);
	assert_true(door_terms_equal(t, &l));
	l.max_new_flows = 1;
	assert_false(door_terms_equal(t, &l));
	l = (struct lease){.max_pps = 5, .n_sources = 1};
	assert_false(door_terms_equal(t, &l));
	door_terms_destroy(t);
	door_terms_destroy(NULL);
}

static void packets_a_second(void **state)
{
	struct door_terms *t = terms_of(100, 0);

	/* A second's worth at once, and then as time brings them. */
	assert_int_equal(admitted(t, 1000), 100);
	assert_int_equal(ask(t, 1), DOOR_REFUSES_RATE);
	now_ns += 10 * MS - 1;
	assert_int_equal(admitted(t, 10), 0);
	now_ns += 1;
	assert_int_equal(admitted(t, 10), 1);
	now_ns += 250 * MS;
	assert_int_equal(admitted(t, 1000), 25);
	/* No more than a bucketful, however long nothing came. */
	now_ns += 3600 * NS_IN_S;
	assert_int_equal(admitted(t, 1000), 100);
	door_terms_destroy(t);
}

/* Over a long time the rate is what was asked for, whatever it is. */
static void rates_are_kept(void **state)
{
	const uint32_t rates[] = {1, 7, 1000, 333333, LEASE_RATE_MAX};

	for (unsigned i = 0; i < 5; i++) {
		struct door_terms *t = terms_of(rates[i], 0);
		uint64_t end_ns, n = 0, step_ns = NS_IN_S / rates[i] / 3 + 1;

		while (ask(t, 1) == DOOR_ADMITS)
			;
		end_ns = now_ns + (rates[i] < 1000 ? 100 * NS_IN_S : 100000 * (NS_IN_S / rates[i]));
		for (uint64_t begin_ns = now_ns; now_ns < end_ns; now_ns += step_ns) {
			n += ask(t, 1) == DOOR_ADMITS;
			/* Nearly: an interval is whole nanoseconds. */
			assert_true(n <= (now_ns - begin_ns) / (NS_IN_S / rates[i]) + 1);
		}
		assert_in_range(n, rates[i] < 1000 ? 99 * rates[i] : 99000,
			rates[i] < 1000 ? 101 * rates[i] : 101000);
		door_terms_destroy(t);
	}
}

static void new_flows_a_second(void **state)
{
	struct door_terms *t = terms_of(0, 10);

	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(ask(t, i), DOOR_ADMITS);
	for (uint64_t i = 10; i < 100; i++)
		assert_int_equal(ask(t, i), DOOR_REFUSES_FLOW);
	/* What is under way goes on, and takes nothing from those that begin. */
	for (unsigned round = 0; round < 1000; round++)
		for (uint64_t i = 0; i < 10; i++)
			assert_int_equal(ask(t, i), DOOR_ADMITS);
	now_ns += 100 * MS;
	assert_int_equal(ask(t, 50), DOOR_ADMITS);
	assert_int_equal(ask(t, 51), DOOR_REFUSES_FLOW);
	/* A flood of strangers costs no flow its place. */
	for (uint64_t i = 1000; i < 100000; i++)
		ask(t, i);
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(ask(t, i), DOOR_ADMITS);
	door_terms_destroy(t);
}

/* Of TCP a connection begins with its SYN; what comes without one asks the bucket for nothing. */
static void new_connections(void **state)
{
	struct door_terms *t = terms_of(0, 1);
	struct door_knock knock = {.is_tcp = true};

	for (uint64_t i = 1; i < 50; i++)
		assert_int_equal(door_terms_ask(t, &knock, i << 16, now_ns), DOOR_ADMITS);
	knock.is_beginning = true;
	assert_int_equal(door_terms_ask(t, &knock, 99, now_ns), DOOR_ADMITS);
	assert_int_equal(door_terms_ask(t, &knock, 100, now_ns), DOOR_REFUSES_FLOW);
	/* The same SYN again. */
	assert_int_equal(door_terms_ask(t, &knock, 99, now_ns), DOOR_ADMITS);
	/* An error is about a flow, and none. */
	knock = (struct door_knock){.is_error = true};
	assert_int_equal(door_terms_ask(t, &knock, 101, now_ns), DOOR_ADMITS);
	door_terms_destroy(t);
}

static void one_limit_at_a_time(void **state)
{
	struct door_terms *t = terms_of(3, 2);

	assert_int_equal(ask(t, 1), DOOR_ADMITS);
	assert_int_equal(ask(t, 2), DOOR_ADMITS);
	/* It takes no packet of the others. */
	assert_int_equal(ask(t, 3), DOOR_REFUSES_FLOW);
	assert_int_equal(ask(t, 1), DOOR_ADMITS);
	assert_int_equal(ask(t, 1), DOOR_REFUSES_RATE);
	door_terms_destroy(t);
}

static void a_source_that_is_refused_costs_nothing(void **state)
{
	struct lease l = {.n_sources = 2, .max_pps = 1, .max_new_flows = 1};
	struct door_knock knock = {0};
	struct door_terms *t;

	assert_int_equal(ip_prefix_parse("192.0.2.0/24", &l.sources[0]), 0);
	assert_int_equal(ip_prefix_parse("2001:db8::/32", &l.sources[1]), 0);
	assert_int_equal(door_terms_create(&l, &t), 0);
	assert_int_equal(ip_addr_parse("192.0.3.1", &knock.src), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(door_terms_ask(t, &knock, i, NS_IN_S), DOOR_REFUSES_SOURCE);
	assert_int_equal(ip_addr_parse("2001:db8::9", &knock.src), 0);
	assert_int_equal(door_terms_ask(t, &knock, 7, NS_IN_S), DOOR_ADMITS);
	door_terms_destroy(t);
}

#define DRAWS  16
#define ROUNDS 10

/* How many of so many flows that all go on are taken for new ones, once each is known: the mean of
 * some draws, since one alone may have many where there is room for four. */
static unsigned forgotten(unsigned n_flows)
{
	static uint64_t hashes[4096];
	unsigned n = 0;

	for (unsigned draw = 0; draw < DRAWS; draw++) {
		struct recent r = {0};

		for (unsigned i = 0; i < n_flows; i++)
			hashes[i] = random_u64();
		for (unsigned round = 0; round < 1 + ROUNDS; round++)
			for (unsigned i = 0; i < n_flows; i++)
				if (!recent_has(&r, hashes[i])) {
					recent_add(&r, hashes[i]);
					n += round > 0;
				}
	}
	return n / (DRAWS * ROUNDS);
}

static void what_recent_remembers(void **state)
{
	struct recent r = {0};
	unsigned n_known = 0;

	assert_int_equal(sizeof(r), 512);
	assert_false(recent_has(&r, 0));
	recent_add(&r, 0);
	assert_true(recent_has(&r, 0));
	assert_int_equal(forgotten(4), 0);
	assert_in_range(forgotten(64), 0, 8);
	assert_in_range(forgotten(128), 0, 40);
	/* Strangers to a full one. */
	for (unsigned i = 0; i < 10000; i++)
		recent_add(&r, random_u64());
	for (unsigned i = 0; i < 1000000; i++)
		n_known += recent_has(&r, random_u64());
	assert_in_range(n_known, 20, 150); /* 4 in 65,536: 61 of a million */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_asks_nothing_has_no_terms),
		cmocka_unit_test(packets_a_second),
		cmocka_unit_test(rates_are_kept),
		cmocka_unit_test(new_flows_a_second),
		cmocka_unit_test(new_connections),
		cmocka_unit_test(one_limit_at_a_time),
		cmocka_unit_test(a_source_that_is_refused_costs_nothing),
		cmocka_unit_test(what_recent_remembers),
	};

	random_seed();
	return cmocka_run_group_tests_name("doors_terms", tests, NULL, NULL);
}
