/* peer_routes_test.c - IPv6 prefixes that lead to a peer, and the address that it leaves by. */
#include "peer_world.h"

#include "eal.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state)
{
	*state = world_begin(1, 64);
	assert_non_null(*state);
	return 0;
}

/* Routes end with NULL. */
static struct peer_conf conf_of(unsigned n, const char *const *routes)
{
	struct peer_conf c = {.public_key = {[0] = (uint8_t)n, [31] = 1}};
	char text[IP_TEXT_CHARS];

	snprintf(text, sizeof(text), "fd00::%u", n);
	assert_int_equal(ip_addr_parse(text, &c.address6), 0);
	for (; *routes; routes++)
		assert_int_equal(ip_prefix_parse(*routes, &c.routes[c.n_routes++]), 0);
	return c;
}

#define CONF(n, ...) conf_of(n, (const char *const[]){__VA_ARGS__, NULL})

static uint32_t add(struct world *w, struct peer_conf conf)
{
	const char *culprit = NULL;
	uint32_t idx = PEER_NONE;

	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), 0);
	return idx;
}

static uint32_t find(struct world *w, const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return peer_find_inner(w->peers, &a);
}

/* The messages go their way at once: nobody else is here. */
static void serve_all(struct world *w)
{
	void *msg;

	while (grace_poll(w->grace) > 0)
		;
	while (mbox_pop_burst(w->to, &msg, 1) == 1)
		assert_true(mbox_push(w->from, msg));
	peers_poll(w->peers);
}

static void test_the_longest_leads(void **state)
{
	struct world *w = *state;
	uint32_t one = add(w, CONF(1, "2001:db8:1::/48", "fd01:2:3::8/127"));
	uint32_t two = add(w, CONF(2, "2001:db8:1:2::/64"));
	uint32_t three = add(w, CONF(3, "2001:db8:1:2::5/128", "2001:db8:1:2::4/128"));

	assert_int_equal(find(w, "2001:db8:1::"), one);
	assert_int_equal(find(w, "2001:db8:1:ffff:ffff:ffff:ffff:ffff"), one);
	assert_int_equal(find(w, "2001:db8:2::"), PEER_NONE);
	assert_int_equal(find(w, "2001:db8:0:ffff:ffff:ffff:ffff:ffff"), PEER_NONE);
	assert_int_equal(find(w, "2001:db8:1:2::1"), two);
	assert_int_equal(find(w, "2001:db8:1:2::5"), three);
	assert_int_equal(find(w, "2001:db8:1:2::6"), two);
	assert_int_equal(find(w, "fd01:2:3::9"), one);
	assert_int_equal(find(w, "fd01:2:3::a"), PEER_NONE);
	/* An address leads before any route. */
	add(w, CONF(4, "fd00::/64"));
	assert_int_equal(find(w, "fd00::2"), two);
	/* IPv4 has no routes, whatever it looks like as IPv6. */
	assert_int_equal(find(w, "192.0.2.1"), PEER_NONE);
	assert_int_equal(peer_view(w->peers, three)->n_routes, 2);
	assert_int_equal(peer_view(w->peers, three)->routes[1].len_bits, 128);
}

static void test_routes_come_and_go(void **state)
{
	struct world *w = *state;
	struct peer_conf conf = CONF(1, "2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:3::/56");
	uint32_t one = add(w, conf), other;
	const char *culprit = NULL;

	/* Another order, one less and one more: what stays is found all the time. */
	conf = CONF(1, "2001:db8:2::/64", "2001:db8:4::/60", "2001:db8:1::/64");
	assert_int_equal(peer_set(w->peers, one, &conf, &culprit), 0);
	assert_int_equal(find(w, "2001:db8:1::1"), one);
	assert_int_equal(find(w, "2001:db8:2::1"), one);
	assert_int_equal(find(w, "2001:db8:3::1"), PEER_NONE);
	assert_int_equal(find(w, "2001:db8:4::1"), one);

	/* What is refused leaves all as it was. */
	other = add(w, CONF(2, "2001:db8:5::/64"));
	conf = CONF(1, "2001:db8:6::/64", "2001:db8:5::/64");
	assert_int_equal(peer_set(w->peers, one, &conf, &culprit), -EEXIST);
	assert_string_equal(culprit, "route");
	assert_int_equal(find(w, "2001:db8:6::1"), PEER_NONE);
	assert_int_equal(find(w, "2001:db8:5::1"), other);
	assert_int_equal(find(w, "2001:db8:4::1"), one);

	/* The last of a length goes, one of that length stays for others. */
	assert_int_equal(peer_del(w->peers, one), 0);
	assert_int_equal(find(w, "2001:db8:2::1"), PEER_NONE);
	assert_int_equal(find(w, "2001:db8:4::1"), PEER_NONE);
	assert_int_equal(find(w, "2001:db8:5::1"), other);
	serve_all(w);
	add(w, CONF(1, "2001:db8:2::/64"));
	assert_int_equal(find(w, "2001:db8:2::1"), one);
}

static void test_refusals(void **state)
{
	struct world *w = *state;
	struct peer_conf bad[] = {
		CONF(9, "10.0.0.0/8"),
		CONF(9, "2001:db8::/47"),
		CONF(9, "2001:db8::/64", "2001:db8:1::/64", "2001:db8::/64"),
		CONF(9, "2001:db8::/64"),
	};
	struct peer_conf conf = CONF(9, "2001:db8::/64");
	const char *culprit = NULL;
	uint32_t idx;

	bad[3].n_routes = PEER_ROUTES_MAX + 1;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		culprit = NULL;
		assert_int_equal(peer_add(w->peers, &bad[i], &idx, &culprit), -EINVAL);
		assert_string_equal(culprit, "route");
	}
	add(w, CONF(1, "2001:db8::/64"));
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EEXIST);
	assert_string_equal(culprit, "route");
	assert_int_equal(find(w, "fd00::9"), PEER_NONE);
}

static void test_more_routes_than_room(void **state)
{
	struct world *w = *state;
	struct peer_conf last = CONF(7, "fd07:1::/64");
	const char *culprit = NULL;
	char text[4][IP_TEXT_CHARS];
	uint32_t idx;

	for (unsigned n = 1; n <= (MAX_PEERS + PEER_ROUTES_MAX) / PEER_ROUTES_MAX; n++) {
		for (unsigned i = 0; i < 4; i++)
			snprintf(text[i], sizeof(text[i]), "fd%02u:%u::/%u", n, i, 61 + i);
		add(w, CONF(n, text[0], text[1], text[2], text[3]));
	}
	assert_int_equal(peer_add(w->peers, &last, &idx, &culprit), -ENOSPC);
	assert_string_equal(culprit, "route");
	assert_int_equal(find(w, "fd00::7"), PEER_NONE);
	assert_int_equal(find(w, "fd01:0::1"), peer_find_key(w->peers, (uint8_t[32]){1, [31] = 1}));
}

/* Against each prefix by hand, in peers that come, change and go. */
static void test_against_a_plain_list(void **state)
{
	struct world *w = *state;
	struct peer_conf confs[MAX_PEERS];
	uint32_t idx[MAX_PEERS];

	srandom((unsigned)eal_test_seed(5));
	for (unsigned i = 0; i < MAX_PEERS; i++)
		idx[i] = PEER_NONE;
	for (unsigned round = 0; round < 3000; round++) {
		unsigned i = (unsigned)random() % MAX_PEERS, n = (unsigned)random() % 3;
		uint32_t want = PEER_NONE;
		unsigned best = 0;
		struct peer_conf conf = conf_of(i + 1, (const char *const[]){NULL});
		struct ip_addr probe = {{0x20, 0x01, 0x0d, 0xb8}};
		const char *culprit;

		for (unsigned r = 0; r < n; r++) {
			unsigned len = 48 + (unsigned)random() % 4 * 27 % 81;
			struct ip_addr a = probe;

			a.bytes[5] = (uint8_t)(random() % 3);
			a.bytes[15] = (uint8_t)(random() % 3);
			conf.routes[r] = (struct ip_prefix){ip_addr_masked(&a, len), (uint8_t)len};
			conf.n_routes++;
		}
		if (idx[i] != PEER_NONE && random() % 3 == 0) {
			assert_int_equal(peer_del(w->peers, idx[i]), 0);
			idx[i] = PEER_NONE;
		} else if (idx[i] != PEER_NONE) {
			if (peer_set(w->peers, idx[i], &conf, &culprit) == 0)
				confs[i] = conf;
		} else if (peer_add(w->peers, &conf, &idx[i], &culprit) == 0) {
			confs[i] = conf;
		}
		serve_all(w);
		probe.bytes[5] = (uint8_t)(random() % 3);
		probe.bytes[15] = (uint8_t)(random() % 3);
		for (unsigned k = 0; k < MAX_PEERS; k++) {
			for (unsigned r = 0; idx[k] != PEER_NONE && r < confs[k].n_routes; r++) {
				const struct ip_prefix *p = &confs[k].routes[r];

				if (ip_prefix_contains(p, &probe) && p->len_bits > best) {
					best = p->len_bits;
					want = idx[k];
				}
			}
		}
		assert_int_equal(peer_find_inner(w->peers, &probe), want);
	}
}

static void test_public_address(void **state)
{
	struct world *w = *state;
	uint32_t one = add(w, CONF(1, "fd01::/64")), two = add(w, CONF(2, "fd02::/64"));

	assert_int_equal(peer_public(w->peers, one), 0);
	peer_public_set(w->peers, one, 0xc6336401);
	assert_int_equal(peer_public(w->peers, one), 0xc6336401);
	assert_int_equal(peer_public(w->peers, two), 0);
	/* Whoever has the number next does not leave by it. */
	assert_int_equal(peer_del(w->peers, one), 0);
	assert_int_equal(peer_public(w->peers, one), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_longest_leads, setup, world_end),
		cmocka_unit_test_setup_teardown(test_routes_come_and_go, setup, world_end),
		cmocka_unit_test_setup_teardown(test_refusals, setup, world_end),
		cmocka_unit_test_setup_teardown(test_more_routes_than_room, setup, world_end),
		cmocka_unit_test_setup_teardown(test_against_a_plain_list, setup, world_end),
		cmocka_unit_test_setup_teardown(test_public_address, setup, world_end),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
