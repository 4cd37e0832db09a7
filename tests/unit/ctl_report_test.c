/* ctl_report_test.c - stats, drops, workers, health and ports, through the socket. */
#include "ctl_server.h"

#include <rte_ethdev.h>

static int setup(void **state)
{
	struct server *s = server_create();

	server_open(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	server_destroy(*state);
	return 0;
}

static void move_clock(struct server *s, uint64_t ns)
{
	clock_offset_ns += ns;
	ctl_tick(s->ctl);
}

static void stats_balance_and_add_up(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *stats, *worker;

	s->stats[0].counter[STATS_received] = 10;
	s->stats[0].counter[STATS_forwarded] = 4;
	s->stats[0].counter[STATS_consumed] = 1;
	s->stats[0].counter[STATS_handed_out] = 2;
	s->stats[0].counter[STATS_holding] = 1;
	s->stats[0].drop[STATS_DROP_no_lease] = 2;
	s->stats[1].counter[STATS_handed_in] = 2;
	s->stats[1].counter[STATS_forwarded] = 1;
	s->handshake.counter[STATS_HANDSHAKE_bad_mac1] = 9;
	client_open(&c, s);
	stats = call(&c, "stats", "{}");
	worker = json_array_get(json_object_get(stats, "workers"), 0);
	assert_int_equal(number(worker, "worker"), 0);
	assert_true(json_is_true(json_object_get(worker, "balanced")));
	assert_int_equal(number(json_object_get(worker, "counters"), "received"), 10);
	assert_int_equal(number(json_object_get(worker, "drops"), "no_lease"), 2);
	assert_int_equal(number(worker, "dropped"), 2);
	worker = json_array_get(json_object_get(stats, "workers"), 1);
	assert_true(json_is_false(json_object_get(worker, "balanced")));
	assert_int_equal(
		number(json_object_get(json_object_get(stats, "totals"), "counters"), "forwarded"),
		5);
	assert_true(json_is_false(json_object_get(json_object_get(stats, "totals"), "balanced")));
	assert_int_equal(number(json_object_get(json_object_get(stats, "handshake"), "counters"),
				 "bad_mac1"),
		9);
	json_decref(stats);

	s->stats[1].counter[STATS_forwarded] = 2;
	s->stats[1].counter[STATS_originated] = 1;
	stats = call(&c, "workers", "{}");
	worker = json_array_get(json_object_get(stats, "workers"), 1);
	assert_true(json_is_false(json_object_get(worker, "balanced")));
	json_decref(stats);
	s->stats[1].counter[STATS_originated_lost] = 1;
	stats = call(&c, "workers", "{}");
	worker = json_array_get(json_object_get(stats, "workers"), 1);
	assert_true(json_is_true(json_object_get(worker, "balanced")));
	assert_int_equal(number(worker, "cpu"), 0);
	json_decref(stats);
	client_close(&c);
}

static void drops_name_every_reason(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *result, *drop;

	s->stats[0].drop[STATS_DROP_wg_bad_tag] = 3;
	s->stats[1].drop[STATS_DROP_wg_bad_tag] = 4;
	client_open(&c, s);
	result = call(&c, "drops", "{}");
	assert_int_equal(number(result, "dropped"), 7);
	assert_int_equal(json_array_size(json_object_get(result, "drops")), STATS_N_DROPS);
	drop = json_array_get(json_object_get(result, "drops"), STATS_DROP_wg_bad_tag);
	assert_string_equal(text(drop, "name"), "wg_bad_tag");
	assert_string_equal(text(drop, "help"), "authentication failed");
	assert_int_equal(number(drop, "pkts"), 7);
	json_decref(result);
	client_close(&c);
}

static void expect_health(struct client *c, const char *word)
{
	json_t *health = call(c, "health", "{}"), *reasons = json_object_get(health, "reasons");
	const char *reason = json_string_value(json_array_get(reasons, 0));

	assert_string_equal(text(health, "health"), word == NULL ? "ok" : "degraded");
	assert_int_equal(json_array_size(reasons), word == NULL ? 0 : 1);
	if (word != NULL && strstr(reason, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", reason, word);
	json_decref(health);
}

static void turn(struct server *s, unsigned first)
{
	for (unsigned i = first; i < N_WORKERS; i++)
		s->stats[i].counter[STATS_turns]++;
}

static void health_sees_what_is_wrong(void **state)
{
	struct server *s = *state;
	struct client c;

	client_open(&c, s);
	expect_health(&c, NULL);
	/* Worker 0 stops turning, then goes on. */
	for (unsigned i = 0; i < 4; i++) {
		turn(s, 1);
		move_clock(s, NS_IN_S);
	}
	expect_health(&c, "worker 0");
	turn(s, 0);
	expect_health(&c, NULL);

	s->handshake.counter[STATS_HANDSHAKE_under_load]++;
	turn(s, 0);
	move_clock(s, NS_IN_S);
	expect_health(&c, "under load");
	turn(s, 0);
	move_clock(s, NS_IN_S);
	expect_health(&c, NULL);

	assert_int_equal(rte_eth_dev_stop(s->eth_port_ids[0]), 0);
	expect_health(&c, "port wan");
	assert_int_equal(rte_eth_dev_start(s->eth_port_ids[0]), 0);
	expect_health(&c, NULL);

	s->conf.max_peers = 2;
	add_peer(&c, "alice", 2);
	expect_health(&c, NULL);
	add_peer(&c, "bob", 3);
	expect_health(&c, "tunnel.max_peers");
	s->conf.max_peers = MAX_PEERS;

	s->conf.lease_port_last = s->conf.lease_port_first;
	for (unsigned i = 1; i <= 4; i++) {
		char params[64];

		snprintf(params, sizeof(params), "{'peer':'alice','to_port':%u}", i);
		json_decref(call(&c, "lease.open", params));
	}
	expect_health(&c, "public pool");
	s->conf.lease_port_last = 40099;
	s->conf.max_leases = 4;
	expect_health(&c, "leases.max");
	client_close(&c);
}

static void open_and_close(struct client *c, const char *params)
{
	char closing[64];

	snprintf(closing, sizeof(closing), "{'id':%lld}", (long long)open_lease(c, params));
	json_decref(call(c, "lease.close", closing));
}

/* A range that is kept takes all its ports from the pool, and a whole address none. */
static void health_counts_ports_that_are_kept(void **state)
{
	struct server *s = *state;
	struct client c;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	add_peer(&c, "bob", 3);
	json_decref(call(&c, "peer.set", "{'peer':'alice','max_leases':64}"));
	open_and_close(&c, "{'peer':'bob','whole_address':true}");
	open_and_close(&c, "{'peer':'alice','to_port':1024,'ports':16}");
	open_and_close(&c, "{'peer':'alice','to_port':2048,'ports':8}");
	open_and_close(&c, "{'peer':'alice','to_port':3072,'ports':4}");
	/* 28 of 32. */
	s->conf.lease_port_last = 40007;
	expect_health(&c, NULL);
	open_and_close(&c, "{'peer':'alice','to_port':80}");
	expect_health(&c, "0 leases and 29 kept ports of 32");
	clock_offset_ns += 121 * NS_IN_S;
	while (lease_held_count(s->leases) > 0)
		pump(s);
	turn(s, 0);
	expect_health(&c, NULL);
	client_close(&c);
}

static void ports_show_their_devices(void **state)
{
	struct client c;
	json_t *result, *port;

	client_open(&c, *state);
	result = call(&c, "ports", "{}");
	assert_int_equal(json_array_size(json_object_get(result, "ports")), 1);
	port = json_array_get(json_object_get(result, "ports"), 0);
	assert_string_equal(text(port, "name"), "wan");
	assert_string_equal(text(port, "device"), "net_null0");
	assert_string_equal(text(port, "driver"), "net_null");
	assert_int_equal(strlen(text(port, "mac")), 17);
	assert_int_equal(number(port, "mtu_bytes"), 1500);
	assert_true(json_is_true(json_object_get(json_object_get(port, "link"), "up")));
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(port, "addresses"), 0)),
		"192.0.2.1/24");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(port, "addresses"), 1)),
		"2001:db8::1/64");
	assert_string_equal(json_string_value(json_array_get(json_object_get(port, "gateways"), 0)),
		"192.0.2.254");
	assert_int_equal(json_array_size(json_object_get(port, "roles")), 2);
	assert_int_equal(number(json_object_get(port, "counters"), "rx_pkts"), 0);
	json_decref(result);
	client_close(&c);
}

static int group_setup(void **state)
{
	rpc_init();
	eal_start();
	return crypto_init();
}

#define served(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		served(stats_balance_and_add_up),
		served(drops_name_every_reason),
		served(health_sees_what_is_wrong),
		served(health_counts_ports_that_are_kept),
		served(ports_show_their_devices),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
