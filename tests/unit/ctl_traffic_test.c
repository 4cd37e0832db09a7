/* ctl_traffic_test.c - what is said of a peer's ordinary traffic, and by which address it leaves.
 */
#include "ctl_server.h"

static int setup(void **state)
{
	struct server *s = server_create();

	server_open(s);
	*state = s;
	return 0;
}

static int setup_two_pools(void **state)
{
	struct server *s = server_create();

	s->conf.nat_pool[0] = prefix("203.0.113.64/28");
	s->conf.n_nat_pool = 1;
	s->conf.inner_addrs[s->conf.n_inner_addrs++] = address("fd00::1");
	server_open(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	server_destroy(*state);
	return 0;
}

static uint32_t peer_of(struct server *s, const char *name)
{
	uint32_t peer_idx = peer_find(s->peers, name);

	assert_int_not_equal(peer_idx, PEER_NONE);
	return peer_idx;
}

static void add_peer_with(struct client *c, unsigned n, const char *more)
{
	char params[512];

	snprintf(params, sizeof(params),
		"{'public_key':'%s','name':'p%u','address4':'10.0.0.%u'%s}", key_text(n), n, n,
		more);
	json_decref(call(c, "peer.add", params));
}

/* --- settings */

static void defaults_are_those_of_the_configuration(void **state)
{
	struct server *s = *state;
	const struct flow_limits *limits;
	struct client c;
	json_t *peer;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	peer = call(&c, "peer.show", "{'peer':'alice'}");
	assert_string_equal(text(peer, "filter"), "moderate");
	assert_int_equal(number(peer, "max_sessions"), 77);
	assert_int_equal(json_array_size(json_object_get(peer, "routes")), 0);
	json_decref(peer);
	limits = &peer_view(s->peers, peer_of(s, "alice"))->limits;
	assert_int_equal(limits->filter, FLOW_MODERATE);
	assert_int_equal(limits->max_sessions, 77);
	assert_int_equal(limits->max_blocks, 5);
	assert_int_equal(limits->new_per_s, 30);
	assert_int_equal(limits->burst, 60);
	client_close(&c);
}

static void settings_change_live(void **state)
{
	struct server *s = *state;
	const struct peer_view *view;
	struct ip_addr inside = address("2001:db8:2::7");
	uint32_t peer_idx;
	struct client c;
	json_t *peer;

	client_open(&c, s);
	add_peer_with(&c, 2,
		",'filter':'open','max_sessions':5,'routes':['2001:db8:2::/64','fd77::/48']");
	peer_idx = peer_of(s, "p2");
	view = peer_view(s->peers, peer_idx);
	assert_int_equal(view->limits.filter, FLOW_OPEN);
	assert_int_equal(view->limits.max_sessions, 5);
	assert_int_equal(view->n_routes, 2);
	assert_int_equal(peer_find_inner(s->peers, &inside), peer_idx);

	/* What is not named stays. */
	peer = call(&c, "peer.set", "{'peer':'p2','filter':'strict'}");
	assert_string_equal(text(peer, "filter"), "strict");
	assert_int_equal(number(peer, "max_sessions"), 5);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(peer, "routes"), 1)), "fd77::/48");
	json_decref(peer);
	assert_int_equal(peer_view(s->peers, peer_idx)->limits.filter, FLOW_STRICT);
	json_decref(call(&c, "peer.set", "{'peer':'p2','max_sessions':16777216}"));
	assert_int_equal(peer_view(s->peers, peer_idx)->limits.max_sessions, 16777216);

	/* Routes are said as a whole; an empty text is none. */
	json_decref(call(&c, "peer.set", "{'peer':'p2','routes':['2001:db8:3::/64']}"));
	assert_int_equal(peer_find_inner(s->peers, &inside), PEER_NONE);
	assert_int_equal(peer_view(s->peers, peer_idx)->n_routes, 1);
	json_decref(call(&c, "peer.set", "{'peer':'p2','routes':['']}"));
	assert_int_equal(peer_view(s->peers, peer_idx)->n_routes, 0);
	client_close(&c);
}

static void configured_peers_are_as_said(void **state)
{
	struct server *s = *state;
	struct conf_peer peer = {.name = "conf",
		.public_key = {[0] = 9, [31] = 1},
		.address4 = address("10.0.0.9"),
		.filter = FLOW_OPEN,
		.max_sessions = 9,
		.routes = {prefix("fd66::/48")},
		.n_routes = 1};
	char fault[CTL_FAULT_CHARS];
	const struct peer_view *view;

	s->conf.peers = &peer;
	s->conf.n_peers = 1;
	assert_int_equal(ctl_load_conf(s->ctl, fault), 0);
	s->conf.n_peers = 0;
	view = peer_view(s->peers, peer_of(s, "conf"));
	assert_int_equal(view->limits.filter, FLOW_OPEN);
	assert_int_equal(view->limits.max_sessions, 9);
	assert_int_equal(view->limits.max_blocks, 5);
	assert_int_equal(view->n_routes, 1);
	assert_int_not_equal(ctl_peer_public(s->ctl, peer_of(s, "conf")), 0);
}

static void refusals(void **state)
{
	static const struct {
		const char *param;
		int code;
		const char *word;
	} cases[] = {
		{"'filter':'closed'", RPC_INVALID_PARAMS, "strict, moderate or open"},
		{"'filter':1", RPC_INVALID_PARAMS, "filter"},
		{"'max_sessions':0", RPC_INVALID_PARAMS, "1 to 16777216"},
		{"'max_sessions':16777217", RPC_INVALID_PARAMS, "16777217"},
		{"'routes':'fd77::/48'", RPC_INVALID_PARAMS, "routes"},
		{"'routes':['10.0.0.0/8']", RPC_INVALID_PARAMS, "10.0.0.0/8"},
		{"'routes':['2001:db8:2::/47']", RPC_INVALID_PARAMS, "2001:db8:2::/47"},
		{"'routes':['fe80::/64']", RPC_INVALID_PARAMS, "fe80::/64"},
		{"'routes':['2001:db8:2::1/64']", RPC_INVALID_PARAMS, "2001:db8:2::1/64"},
		{"'routes':['fd01::/48','fd02::/48','fd03::/48','fd04::/48','fd05::/48']",
			RPC_INVALID_PARAMS, "up to 4"},
		{"'routes':['fd77:0:0:1::/64','fd77::/48']", RPC_INVALID_PARAMS, "overlaps"},
		{"'routes':['fd88:0:0:1::/64']", RPC_IN_USE, "peer p3"},
		{"'routes':['fd88::/48']", RPC_IN_USE, "peer p3"},
		{"'routes':['fd99::/48']", RPC_IN_USE, "fd99::3 of peer p3"},
		{"'address6':'fd88:0:0:8::1'", RPC_IN_USE, "a route of peer p3"},
		{"'address6':'fd99::3'", RPC_IN_USE, "address"},
		{"'routes':['2001:db8::/64']", RPC_REFUSED, "2001:db8::1 of a port"},
		{"'routes':['fd00::/64']", RPC_REFUSED, "fd00::1 of the gateway inside"},
	};
	struct server *s = *state;
	char params[512];
	struct client c;
	json_t *before, *after;

	client_open(&c, s);
	add_peer_with(&c, 2, ",'routes':['fd66::/48']");
	add_peer_with(&c, 3, ",'address6':'fd99::3','routes':['fd88::/56','fd98::/48']");
	before = call(&c, "peer.show", "{'peer':'p2'}");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(params, sizeof(params), "{'peer':'p2',%s}", cases[i].param);
		refuse(&c, "peer.set", params, cases[i].code, cases[i].word, NULL);
		snprintf(params, sizeof(params), "{'public_key':'%s','address4':'10.0.0.9',%s}",
			key_text(9), cases[i].param);
		refuse(&c, "peer.add", params, cases[i].code, cases[i].word, NULL);
	}
	refuse(&c, "peer.set", "{'peer':'p2','address4':'203.0.113.65'}", RPC_REFUSED,
		"pool of ordinary traffic", NULL);
	after = call(&c, "peer.show", "{'peer':'p2'}");
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	/* Its own address in its own route, and the routes that it has, are no conflict. */
	json_decref(call(&c, "peer.set",
		"{'peer':'p2','address6':'fd66::1','routes':['fd66::/48','fd67::/48']}"));
	client_close(&c);
}

/* --- the public address */

static const char *public_of(struct client *c, const char *name)
{
	static char out[64];
	char params[64];
	json_t *peer;

	snprintf(params, sizeof(params), "{'peer':'%s'}", name);
	peer = call(c, "peer.show", params);
	snprintf(out, sizeof(out), "%s", text(peer, "public_address"));
	json_decref(peer);
	return out;
}

static void assert_within(const struct ip_prefix *pool, const char *addr)
{
	struct ip_addr a = address(addr);

	assert_true(ip_prefix_contains(pool, &a));
}

static void the_first_lease_keeps_the_address(void **state)
{
	struct server *s = *state;
	char before[64], params[128], name[8];
	struct client c;

	client_open(&c, s);
	for (unsigned n = 2; n < 12; n++) {
		snprintf(name, sizeof(name), "p%u", n);
		add_peer_with(&c, n, ",'forwarding':true");
		snprintf(before, sizeof(before), "%s", public_of(&c, name));
		assert_within(&s->conf.pool[0], before);
		snprintf(params, sizeof(params), "{'peer':'%s','to_port':80}", name);
		open_lease(&c, params);
		assert_string_equal(public_of(&c, name), before);
	}
	client_close(&c);
}

static void a_lease_moves_the_address_and_back(void **state)
{
	struct server *s = *state;
	char paired[64], params[128];
	struct client c;
	json_int_t id;

	client_open(&c, s);
	add_peer_with(&c, 2, ",'forwarding':true");
	snprintf(paired, sizeof(paired), "%s", public_of(&c, "p2"));
	assert_within(&s->conf.nat_pool[0], paired);
	id = open_lease(&c, "{'peer':'p2','to_port':80,'public_address':'198.51.100.1'}");
	assert_string_equal(public_of(&c, "p2"), "198.51.100.1");
	assert_int_equal(ctl_peer_public(s->ctl, peer_of(s, "p2")), 0xc6336401);
	/* As long as one is left. */
	open_lease(&c, "{'peer':'p2','to_port':81,'ttl_s':60}");
	snprintf(params, sizeof(params), "{'id':%lld}", (long long)id);
	json_decref(call(&c, "lease.close", params));
	assert_string_equal(public_of(&c, "p2"), "198.51.100.1");
	clock_offset_ns += 61 * NS_IN_S;
	ctl_tick(s->ctl);
	assert_string_equal(public_of(&c, "p2"), paired);

	/* With its IPv4 address its public one goes. */
	json_decref(call(&c, "peer.set", "{'peer':'p2','address4':'','address6':'fd66::2'}"));
	assert_int_equal(ctl_peer_public(s->ctl, peer_of(s, "p2")), 0);
	json_decref(call(&c, "peer.set", "{'peer':'p2','address4':'10.0.0.2'}"));
	assert_string_equal(public_of(&c, "p2"), paired);
	/* The same key finds the same address again. */
	json_decref(call(&c, "peer.del", "{'peer':'p2'}"));
	add_peer_with(&c, 2, "");
	assert_string_equal(public_of(&c, "p2"), paired);
	client_close(&c);
}

static int group_setup(void **state)
{
	rpc_init();
	eal_start();
	return crypto_init();
}

int main(void)
{
#define one_pool(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define two_pools(f) cmocka_unit_test_setup_teardown(f, setup_two_pools, teardown)
	const struct CMUnitTest tests[] = {
		one_pool(defaults_are_those_of_the_configuration),
		one_pool(settings_change_live),
		one_pool(configured_peers_are_as_said),
		two_pools(refusals),
		one_pool(the_first_lease_keeps_the_address),
		two_pools(a_lease_moves_the_address_and_back),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
