/* ctl_pinhole_test.c - leases to IPv6 addresses, through the socket and from the configuration. */
#include "ctl_server.h"

#include "ctl/server.h"

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

/* alice: fd00::2 and a /64, beside IPv4; six: IPv6 alone. */
static void add_peers(struct client *c)
{
	char params[512];

	add_peer(c, "alice", 2);
	json_decref(call(c, "peer.set",
		"{'peer':'alice','address6':'fd00::2','routes':['2001:db8:2::/64']}"));
	snprintf(params, sizeof(params),
		"{'public_key':'%s','name':'six','address6':'fd00::6','forwarding':true}",
		key_text(6));
	json_decref(call(c, "peer.add", params));
}

static bool is_open(const struct server *s, const char *addr, uint8_t proto, uint16_t port)
{
	struct ip_addr a = address(addr);
	struct door_v6_key key = {.port_be16 = rte_cpu_to_be_16(port), .proto = proto};

	memcpy(key.addr, a.bytes, sizeof(key.addr));
	return doors_lookup_v6(s->doors, &key) != NULL;
}

static void assert_hole(const json_t *lease, const char *addr, uint16_t port)
{
	assert_string_equal(text(lease, "public_address"), addr);
	assert_string_equal(text(lease, "to_address"), addr);
	assert_int_equal(number(lease, "public_port"), port);
	assert_int_equal(number(lease, "to_port"), port);
}

static void its_life(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *lease;

	client_open(&c, s);
	add_peers(&c);
	lease = call(&c, "lease.open",
		"{'peer':'alice','to_address':'fd00::2','to_port':80,'ttl_s':100,"
		"'from':['2001:db8:9::/48']}");
	assert_hole(lease, "fd00::2", 80);
	assert_string_equal(text(lease, "state"), "active");
	json_decref(lease);
	assert_true(is_open(s, "fd00::2", 6, 80));
	assert_true(is_open(s, "fd00::2", 17, 80));
	assert_false(is_open(s, "fd00::2", 6, 81));
	/* The same inner port over IPv4 is another lease. */
	lease = call(&c, "lease.open", "{'peer':'alice','to_port':80}");
	assert_string_equal(text(lease, "to_address"), "10.0.0.2");
	assert_true(json_is_false(json_object_get(lease, "is_renewal")));
	json_decref(lease);

	lease = call(&c, "lease.open", "{'peer':'alice','to_address':'fd00::2','to_port':80}");
	assert_int_equal(number(lease, "id"), 1);
	assert_true(json_is_true(json_object_get(lease, "is_renewal")));
	json_decref(lease);
	lease = call(&c, "lease.renew", "{'id':1,'ttl_s':500}");
	assert_int_equal(number(lease, "ttl_s"), 500);
	json_decref(lease);
	lease = call(&c, "lease.close", "{'id':1}");
	assert_hole(lease, "fd00::2", 80);
	assert_string_equal(text(lease, "state"), "free");
	json_decref(lease);
	assert_false(is_open(s, "fd00::2", 6, 80));
	lease = call(&c, "lease.reserved", "{}");
	assert_int_equal(json_array_size(json_object_get(lease, "reserved")), 0);
	json_decref(lease);

	/* By itself when its time has come, or when nobody uses it. */
	open_lease(&c, "{'peer':'alice','to_address':'fd00::2','to_port':80,'ttl_s':100}");
	open_lease(&c, "{'peer':'alice','to_address':'fd00::2','to_port':81,'idle_s':50}");
	clock_offset_ns += 60 * NS_IN_S;
	ctl_tick(s->ctl);
	assert_true(is_open(s, "fd00::2", 6, 80));
	assert_false(is_open(s, "fd00::2", 6, 81));
	clock_offset_ns += 60 * NS_IN_S;
	ctl_tick(s->ctl);
	assert_false(is_open(s, "fd00::2", 6, 80));
	client_close(&c);
}

static void where_it_may_lead(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *lease;

	client_open(&c, s);
	add_peers(&c);
	/* Who has no other address is meant by it. */
	lease = call(&c, "lease.open", "{'peer':'six','to_port':443}");
	assert_hole(lease, "fd00::6", 443);
	json_decref(lease);
	lease = call(&c, "lease.open",
		"{'peer':'alice','to_port':443,'to_address':'2001:db8:2::77',"
		"'public_address':'2001:db8:2::77','public_port':443}");
	assert_hole(lease, "2001:db8:2::77", 443);
	json_decref(lease);
	assert_true(is_open(s, "2001:db8:2::77", 6, 443));
	client_close(&c);
}

static void what_is_refused(void **state)
{
	static const struct {
		const char *params;
		int code;
		const char *word;
	} cases[] = {
		{"'peer':'alice','to_port':81,'to_address':'fd00::6'", RPC_REFUSED,
			"10.0.0.2, fd00::2, one of 2001:db8:2::/64"},
		{"'peer':'alice','to_port':81,'to_address':'2001:db8:2:1::1'", RPC_REFUSED,
			"not that of peer alice"},
		{"'peer':'six','to_port':81,'to_address':'10.0.0.2'", RPC_REFUSED,
			"accepted: fd00::6"},
		{"'peer':'six','to_port':81,'public_address':'198.51.100.1'", RPC_REFUSED,
			"IPv6 is not translated"},
		{"'peer':'six','to_port':81,'public_port':40000", RPC_REFUSED,
			"IPv6 is not translated"},
		{"'peer':'six','to_port':25", RPC_REFUSED, "leases.deny"},
		{"'peer':'six','to_port':80,'proto':'both'", RPC_IN_USE, "close it first"},
		{"'peer':'six','to_port':82,'to_address':'fd00::6/64'", RPC_INVALID_PARAMS,
			"fd00::6/64"},
	};
	struct server *s = *state;
	struct client c;
	char params[512];

	ctl_destroy(s->ctl);
	lease_table_destroy(s->leases);
	s->conf.n_deny = 1;
	s->conf.deny[0] = (struct conf_range){25, 25};
	s->leases = make_leases(&s->conf);
	server_open(s);
	client_open(&c, s);
	add_peers(&c);
	open_lease(&c, "{'peer':'six','to_port':80,'proto':'tcp'}");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(params, sizeof(params), "{%s}", cases[i].params);
		refuse(&c, "lease.open", params, cases[i].code, cases[i].word, NULL);
	}
	json_decref(call(&c, "peer.set", "{'peer':'six','max_leases':1}"));
	refuse(&c, "lease.open", "{'peer':'six','to_port':81}", RPC_EXHAUSTED,
		"may have 1 leases and has 1", NULL);
	json_decref(call(&c, "peer.set", "{'peer':'six','forwarding':false}"));
	refuse(&c, "lease.open", "{'peer':'six','to_port':81}", RPC_REFUSED, "forwarding off",
		NULL);
	assert_int_equal(doors_count(s->doors), 0);
	client_close(&c);
}

static void expect_closed(struct client *c, const char *params, json_int_t n)
{
	json_t *peer = call(c, "peer.set", params);

	assert_int_equal(number(peer, "leases_closed"), n);
	json_decref(peer);
}

/* What leads to an address that the peer has no more ends; the others stay. */
static void changes_of_a_peer(void **state)
{
	struct server *s = *state;
	struct client c;

	client_open(&c, s);
	add_peers(&c);
	open_lease(&c, "{'peer':'alice','to_port':1}");
	open_lease(&c, "{'peer':'alice','to_port':1,'to_address':'fd00::2'}");
	open_lease(&c, "{'peer':'alice','to_port':1,'to_address':'2001:db8:2::1'}");
	open_lease(&c, "{'peer':'alice','to_port':1,'to_address':'2001:db8:2::2'}");
	expect_closed(&c, "{'peer':'alice','persistent_keepalive_s':9}", 0);
	expect_closed(&c, "{'peer':'alice','routes':['2001:db8:2::/127','2001:db8:3::/64']}", 1);
	assert_false(is_open(s, "2001:db8:2::2", 6, 1));
	expect_closed(&c, "{'peer':'alice','address6':'fd00::22'}", 1);
	assert_false(is_open(s, "fd00::2", 6, 1));
	expect_closed(&c, "{'peer':'alice','address4':'10.0.0.77'}", 1);
	assert_true(is_open(s, "2001:db8:2::1", 6, 1));
	expect_closed(&c, "{'peer':'alice','routes':[]}", 1);
	open_lease(&c, "{'peer':'alice','to_port':1}");
	open_lease(&c, "{'peer':'alice','to_port':1,'to_address':'fd00::22'}");
	expect_closed(&c, "{'peer':'alice','forwarding':false}", 2);
	assert_int_equal(doors_count(s->doors), 0);
	client_close(&c);
}

static char *public_address(struct client *c, char buf[static 64])
{
	json_t *peer = call(c, "peer.show", "{'peer':'alice'}");

	snprintf(buf, 64, "%s", text(peer, "public_address"));
	json_decref(peer);
	return buf;
}

/* Where the peer's IPv4 traffic leaves, and how full the pool is. */
static void the_pool_is_no_concern_of_it(void **state)
{
	struct server *s = *state;
	char before[64], after[64], params[256];
	struct client c;
	json_t *lease;
	char *metrics;
	size_t len;

	ctl_destroy(s->ctl);
	s->conf.lease_port_first = 40000, s->conf.lease_port_last = 40001;
	lease_table_destroy(s->leases);
	s->leases = make_leases(&s->conf);
	server_open(s);
	client_open(&c, s);
	add_peers(&c);
	public_address(&c, before);
	/* As many as the pool has ports. */
	for (unsigned i = 1; i <= 8; i++) {
		snprintf(params, sizeof(params),
			"{'peer':'alice','to_port':%u,'to_address':'fd00::2'}", i);
		open_lease(&c, params);
	}
	assert_string_equal(public_address(&c, after), before);
	lease = call(&c, "health", "{}");
	assert_string_equal(text(lease, "health"), "ok");
	json_decref(lease);
	json_decref(call(&c, "peer.set", "{'peer':'alice','max_leases':9}"));
	lease = call(&c, "lease.open", "{'peer':'alice','to_port':1}");
	assert_string_equal(text(lease, "public_address"), before);
	json_decref(lease);
	assert_int_equal(ctl_metrics_build(s->ctl, false, &metrics, &len), 0);
	assert_non_null(strstr(metrics, "\nportier_leases 9\n"));
	assert_non_null(strstr(metrics, "\nportier_pinholes 8\n"));
	free(metrics);
	client_close(&c);
}

static void it_is_suspended_with_its_peer(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *lease;

	client_open(&c, s);
	add_peers(&c);
	open_lease(&c, "{'peer':'six','to_port':80}");
	peer_shake(s->peers, peer_find(s->peers, "six"))->unreachable_since_ns = test_now_ns();
	lease = call(&c, "lease.show", "{'id':1}");
	assert_string_equal(text(lease, "state"), "suspended");
	json_decref(lease);
	client_close(&c);
}

static void the_configurations_own(void **state)
{
	struct conf_peer peers[2] = {
		{.name = "alice", .public_key = {2}, .forwarding = true, .max_leases = 4},
		{.name = "six", .public_key = {6}, .forwarding = true, .max_leases = 4},
	};
	struct conf_lease leases[2] = {
		{.protos = LEASE_PROTO_TCP, .inner_port = 80},
		{.peer_idx = 1, .protos = LEASE_PROTO_UDP, .inner_port = 443},
	};
	struct server *s = *state;
	char fault[CTL_FAULT_CHARS];
	struct client c;
	json_t *lease;

	peers[0].address4 = address("10.0.0.2");
	peers[0].routes[0] = prefix("2001:db8:2::/64");
	peers[0].n_routes = 1;
	peers[1].address6 = address("fd00::6");
	leases[0].inner_addr = address("2001:db8:2::1");
	s->conf.peers = peers;
	s->conf.n_peers = 2;
	s->conf.leases = leases;
	s->conf.n_leases = 2;
	if (ctl_load_conf(s->ctl, fault) != 0)
		fail_msg("%s", fault);
	assert_true(is_open(s, "2001:db8:2::1", 6, 80));
	assert_true(is_open(s, "fd00::6", 17, 443));
	client_open(&c, s);
	lease = call(&c, "lease.show", "{'id':1}");
	assert_hole(lease, "2001:db8:2::1", 80);
	assert_string_equal(text(lease, "opened_by"), "conf");
	assert_true(json_is_null(json_object_get(lease, "expires_in_s")));
	json_decref(lease);
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
		served(its_life),
		served(where_it_may_lead),
		served(what_is_refused),
		served(changes_of_a_peer),
		served(the_pool_is_no_concern_of_it),
		served(it_is_suspended_with_its_peer),
		served(the_configurations_own),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
