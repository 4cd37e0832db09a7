/* ctl_rules_test.c - what the methods allow and refuse, through the socket. */
#include "ctl_server.h"

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

static size_t list_size(struct client *c, const char *method, const char *params, const char *name)
{
	json_t *result = call(c, method, params);
	size_t n = json_array_size(json_object_get(result, name));

	json_decref(result);
	return n;
}

/* --- peers
 * --------------------------------------------------------------------------------------*/

static void peer_life(void **state)
{
	struct client c;
	char params[512];
	json_t *peer;

	client_open(&c, *state);
	snprintf(params, sizeof(params),
		"{'public_key':'%s','name':'alice','address4':'10.0.0.2','address6':'fd00::2',"
		"'endpoint':'192.0.2.9:51820','max_leases':3,'persistent_keepalive_s':25}",
		key_text(2));
	peer = call(&c, "peer.add", params);
	assert_string_equal(text(peer, "name"), "alice");
	assert_string_equal(text(peer, "public_key"), key_text(2));
	assert_string_equal(text(peer, "address4"), "10.0.0.2");
	assert_string_equal(text(peer, "address6"), "fd00::2");
	assert_string_equal(text(peer, "endpoint"), "192.0.2.9:51820");
	assert_true(json_is_false(json_object_get(peer, "forwarding")));
	assert_true(json_is_false(json_object_get(peer, "portmap")));
	assert_true(json_is_null(json_object_get(peer, "last_handshake_age_s")));
	assert_true(json_is_null(json_object_get(peer, "home")));
	assert_int_equal(number(peer, "max_leases"), 3);
	assert_int_equal(number(peer, "leases"), 0);
	assert_int_equal(number(peer, "persistent_keepalive_s"), 25);
	json_decref(peer);

	peer = call(&c, "peer.set", "{'peer':'alice','name':'a.l_i-c@x','forwarding':true}");
	assert_string_equal(text(peer, "name"), "a.l_i-c@x");
	assert_string_equal(text(peer, "address6"), "fd00::2");
	assert_int_equal(number(peer, "leases_closed"), 0);
	json_decref(peer);
	peer = call(&c, "peer.set", "{'peer':'a.l_i-c@x','portmap':true}");
	assert_true(json_is_true(json_object_get(peer, "portmap")));
	assert_true(json_is_true(json_object_get(peer, "forwarding")));
	json_decref(peer);
	peer = call(&c, "peer.set", "{'peer':'a.l_i-c@x','address6':'','name':''}");
	assert_true(json_is_null(json_object_get(peer, "address6")));
	json_decref(peer);

	/* Nameless now: the key names it. */
	snprintf(params, sizeof(params), "{'peer':'%s'}", key_text(2));
	json_decref(call(&c, "peer.show", params));
	json_decref(call(&c, "peer.del", params));
	refuse(&c, "peer.show", params, RPC_NOT_FOUND, key_text(2), NULL);
	assert_int_equal(list_size(&c, "peer.list", "{}", "peers"), 0);
	client_close(&c);
}

static void peer_refusals(void **state)
{
	static const struct {
		const char *params;
		int code;
		const char *word;
	} cases[] = {
		{"'name':'x'", RPC_INVALID_PARAMS, "no inner address"},
		{"'address4':'10.0.0.300'", RPC_INVALID_PARAMS, "10.0.0.300"},
		{"'address4':'fd00::9'", RPC_INVALID_PARAMS, "fd00::9"},
		{"'address6':'10.0.0.9'", RPC_INVALID_PARAMS, "10.0.0.9"},
		{"'address4':'10.0.0.1'", RPC_REFUSED, "the gateway's own inside"},
		{"'address4':'198.51.100.2'", RPC_REFUSED, "public pool"},
		{"'address4':'192.0.2.1'", RPC_REFUSED, "own on a port"},
		{"'address4':'127.0.0.1'", RPC_REFUSED, "127.0.0.1"},
		{"'address4':'10.0.0.2'", RPC_IN_USE, "address"},
		{"'address4':'10.0.7.1'", RPC_REFUSED, "guess the gateway"},
		{"'address4':'10.0.0.9','portmap':'on'", RPC_INVALID_PARAMS, "portmap"},
		{"'address4':'10.0.0.9','name':'alice'", RPC_IN_USE, "name"},
		{"'address4':'10.0.0.9','name':'a b'", RPC_INVALID_PARAMS, "a b"},
		{"'address4':'10.0.0.9','name':'x/y'", RPC_INVALID_PARAMS, "x/y"},
		{"'address4':'10.0.0.9','name':'abcdefghijklmnopqrstuvwxyzabcdef'",
			RPC_INVALID_PARAMS, "too long"},
		{"'address4':'10.0.0.9','endpoint':'nowhere'", RPC_INVALID_PARAMS, "nowhere"},
		{"'address4':'10.0.0.9','endpoint':'192.0.2.9:0'", RPC_INVALID_PARAMS,
			"192.0.2.9:0"},
		{"'address4':'10.0.0.9','endpoint':'198.51.100.2:51820'", RPC_REFUSED,
			"in the public pool"},
		{"'address4':'10.0.0.9','endpoint':'192.0.2.1:51820'", RPC_REFUSED,
			"own on a port"},
		{"'address4':'10.0.0.9','preshared_key':'short'", RPC_INVALID_PARAMS,
			"preshared_key"},
		{"'address4':'10.0.0.9','persistent_keepalive_s':65536", RPC_INVALID_PARAMS,
			"65535"},
		{"'address4':'10.0.0.9','colour':'red'", RPC_INVALID_PARAMS, "colour"},
		{"'address4':'10.0.0.9','forwarding':'on'", RPC_INVALID_PARAMS, "forwarding"},
	};
	struct client c;
	char params[512];

	client_open(&c, *state);
	add_peer(&c, "alice", 2);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(params, sizeof(params), "{'public_key':'%s',%s}", key_text(9),
			cases[i].params);
		refuse(&c, "peer.add", params, cases[i].code, cases[i].word, NULL);
	}
	snprintf(params, sizeof(params), "{'public_key':'%s','address4':'10.0.0.9'}", key_text(2));
	refuse(&c, "peer.add", params, RPC_IN_USE, "public key", NULL);
	refuse(&c, "peer.add", "{'public_key':'AAAA','address4':'10.0.0.9'}", RPC_INVALID_PARAMS,
		"public_key", NULL);
	refuse(&c, "peer.add",
		"{'public_key':'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=','address4':'10.0.0.9'"
		"}",
		RPC_INVALID_PARAMS, "zero", NULL);
	refuse(&c, "peer.add", "{'address4':'10.0.0.9'}", RPC_INVALID_PARAMS, "public_key", NULL);
	refuse(&c, "peer.set", "{'peer':'bob','forwarding':true}", RPC_NOT_FOUND, "bob", NULL);
	refuse(&c, "peer.set", "{'peer':'alice','address4':''}", RPC_INVALID_PARAMS, "no inner",
		NULL);
	assert_int_equal(list_size(&c, "peer.list", "{}", "peers"), 1);
	client_close(&c);
}

static void preshared_key_is_never_shown(void **state)
{
	static const char secret[] = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=";
	struct server *s = *state;
	struct client c;
	char params[512], *line;

	client_open(&c, s);
	snprintf(params, sizeof(params),
		"{\"public_key\":\"%s\",\"name\":\"alice\",\"address4\":\"10.0.0.2\",\"preshared_"
		"key\":"
		"\"%s\"}",
		key_text(2), secret);
	client_request(&c, 1, "peer.add", params);
	for (unsigned i = 0; i < 3; i++) {
		line = client_line(&c);
		assert_non_null(line);
		assert_non_null(strstr(line, "\"has_preshared_key\":true"));
		assert_null(strstr(line, secret));
		free(line);
		client_request(&c, 2, i == 0 ? "peer.list" : "peer.show",
			i == 0 ? "{}" : "{\"peer\":\"alice\"}");
	}
	line = client_line(&c);
	free(line);
	client_close(&c);
}

static void handshake_thread_behind_means_try_again(void **state)
{
	struct server *s = *state;
	struct client c;
	char params[256];
	unsigned n = 2;

	client_open(&c, s);
	s->is_behind = true;
	for (; n < 2 + 15; n++) {
		snprintf(params, sizeof(params), "p%u", n);
		add_peer(&c, params, n);
	}
	snprintf(
		params, sizeof(params), "{'public_key':'%s','address4':'10.0.0.99'}", key_text(99));
	refuse(&c, "peer.add", params, RPC_TRY_AGAIN, "try again", NULL);
	s->is_behind = false;
	pump(s);
	json_decref(call(&c, "peer.add", params));
	client_close(&c);
}

static void many_peers_come_in_pages(void **state)
{
	struct client c;
	json_t *result;
	size_t n = 0, pages = 0;
	char params[64] = "{'limit':7}";

	client_open(&c, *state);
	for (unsigned i = 2; i < 22; i++) {
		char name[16];

		snprintf(name, sizeof(name), "p%u", i);
		add_peer(&c, name, i);
	}
	do {
		result = call(&c, "peer.list", params);
		n += json_array_size(json_object_get(result, "peers"));
		pages++;
		if (!json_is_integer(json_object_get(result, "next")))
			break;
		snprintf(params, sizeof(params), "{'limit':7,'cursor':%d}",
			(int)number(result, "next"));
		json_decref(result);
	} while (pages < 10);
	json_decref(result);
	assert_int_equal(n, 20);
	assert_int_equal(pages, 3);
	refuse(&c, "peer.list", "{'limit':4001}", RPC_INVALID_PARAMS, "4000", NULL);
	assert_int_equal(list_size(&c, "peer.list", "{'cursor':2147483647}", "peers"), 0);
	client_close(&c);
}

/* --- leases
 * -------------------------------------------------------------------------------------*/

static void lease_life(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *lease;
	json_int_t port;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	lease = call(&c, "lease.open",
		"{'peer':'alice','proto':'tcp','to_port':80,'ttl_s':100,'idle_s':50.5,"
		"'from':['203.0.113.0/24','192.0.2.7'],'label':'web \xc3\xa9'}");
	assert_int_equal(number(lease, "id"), 1);
	assert_string_equal(text(lease, "state"), "active");
	assert_string_equal(text(lease, "peer"), "alice");
	assert_string_equal(text(lease, "proto"), "tcp");
	assert_string_equal(text(lease, "to_address"), "10.0.0.2");
	assert_int_equal(number(lease, "to_port"), 80);
	assert_int_equal(number(lease, "ttl_s"), 100);
	assert_true(json_number_value(json_object_get(lease, "idle_s")) == 50.5);
	assert_string_equal(text(lease, "label"), "web \xc3\xa9");
	assert_string_equal(text(lease, "opened_by"), "control");
	assert_string_equal(json_string_value(json_array_get(json_object_get(lease, "from"), 0)),
		"203.0.113.0/24");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(lease, "from"), 1)), "192.0.2.7");
	assert_true(json_is_false(json_object_get(lease, "is_renewal")));
	port = number(lease, "public_port");
	assert_in_range(port, 40000, 40099);
	json_decref(lease);
	assert_int_equal(doors_count(s->doors), 1);

	/* Asked for again it is renewed, and keeps its port. */
	clock_offset_ns += 60 * NS_IN_S;
	lease = call(&c, "lease.open", "{'peer':'alice','proto':'tcp','to_port':80}");
	assert_int_equal(number(lease, "id"), 1);
	assert_int_equal(number(lease, "public_port"), port);
	assert_true(json_is_true(json_object_get(lease, "is_renewal")));
	json_decref(lease);
	lease = call(&c, "lease.renew", "{'id':1,'ttl_s':500}");
	assert_int_equal(number(lease, "public_port"), port);
	assert_int_equal(number(lease, "ttl_s"), 500);
	json_decref(lease);
	/* No longer than leases.max_ttl. */
	lease = call(&c, "lease.renew", "{'id':1,'ttl_s':1000000}");
	assert_int_equal(number(lease, "ttl_s"), 86400);
	json_decref(lease);

	assert_int_equal(list_size(&c, "lease.list", "{}", "leases"), 1);
	assert_int_equal(list_size(&c, "lease.list", "{'peer':'alice'}", "leases"), 1);
	lease = call(&c, "lease.close", "{'id':1}");
	assert_string_equal(text(lease, "state"), "quarantine");
	json_decref(lease);
	assert_int_equal(doors_count(s->doors), 0);
	assert_int_equal(list_size(&c, "lease.list", "{}", "leases"), 0);
	refuse(&c, "lease.close", "{'id':1}", RPC_NOT_FOUND, "1", NULL);
	refuse(&c, "lease.renew", "{'id':1}", RPC_NOT_FOUND, "1", NULL);
	refuse(&c, "lease.show", "{'id':1}", RPC_NOT_FOUND, "1", NULL);
	client_close(&c);
}

static void lease_refusals(void **state)
{
	static const struct {
		const char *params;
		int code;
		const char *word;
	} cases[] = {
		{"'peer':'nobody','to_port':80", RPC_NOT_FOUND, "nobody"},
		{"'peer':'carol','to_port':80", RPC_REFUSED,
			"peer carol has forwarding off; turn it on with: portierctl peer set carol "
			"--forwarding on"},
		{"'peer':'alice'", RPC_INVALID_PARAMS, "to_port"},
		{"'peer':'alice','to_port':0", RPC_INVALID_PARAMS, "to_port"},
		{"'peer':'alice','to_port':65536", RPC_INVALID_PARAMS, "65536"},
		{"'peer':'alice','to_port':81,'proto':'sctp'", RPC_INVALID_PARAMS, "sctp"},
		{"'peer':'alice','to_port':81,'public_port':39999", RPC_REFUSED, "40000 to 40099"},
		{"'peer':'alice','to_port':81,'public_port':40001", RPC_IN_USE, "peer bob (lease "},
		{"'peer':'alice','to_port':81,'public_address':'198.51.100.1','public_port':40000",
			RPC_IN_USE, "leads to port 80 of peer alice"},
		{"'peer':'alice','to_port':81,'public_address':'203.0.113.1'", RPC_REFUSED,
			"198.51.100.0/30"},
		{"'peer':'alice','to_port':81,'public_address':'198.51.100.2'", RPC_REFUSED,
			"198.51.100.1"},
		{"'peer':'alice','to_port':81,'public_address':'x'", RPC_INVALID_PARAMS, "\"x\""},
		{"'peer':'alice','to_port':81,'to_address':'10.0.0.3'", RPC_REFUSED, "10.0.0.2"},
		{"'peer':'alice','to_port':81,'ttl_s':0", RPC_INVALID_PARAMS, "ttl_s"},
		{"'peer':'alice','to_port':81,'ttl_s':1e300", RPC_INVALID_PARAMS, "100 years"},
		{"'peer':'alice','to_port':81,'from':['10.0.0.1/8']", RPC_INVALID_PARAMS,
			"10.0.0.1/8"},
		{"'peer':'alice','to_port':81,'from':['','','','','','','','','']",
			RPC_INVALID_PARAMS, "9 prefixes"},
		{"'peer':'alice','to_port':81,'max_pps':10000001", RPC_INVALID_PARAMS, "10000000"},
		{"'peer':'alice','to_port':81,'max_new_flows':-1", RPC_INVALID_PARAMS,
			"max_new_flows"},
		{"'peer':'alice','to_port':81,'label':'a\\u001bb'", RPC_INVALID_PARAMS, "control"},
		{"'peer':'alice','to_port':81,'label':'"
		 "0123456789012345678901234567890123456789012345678"
		 "901234567890123'",
			RPC_INVALID_PARAMS, "64 bytes"},
		{"'peer':'alice','to_port':80,'proto':'both'", RPC_IN_USE, "close it first"},
		{"'peer':'few','to_port':81", RPC_EXHAUSTED, "may have 1 leases and has 1"},
		{"'peer':'few','to_port':90,'ports':4", RPC_EXHAUSTED, "counts as its 4 ports"},
		{"'peer':'alice','to_port':90,'ports':3", RPC_INVALID_PARAMS, "1, 2, 4 and so on"},
		{"'peer':'alice','to_port':90,'ports':0", RPC_INVALID_PARAMS, "1, 2, 4 and so on"},
		{"'peer':'alice','to_port':90,'ports':2048", RPC_INVALID_PARAMS, "to 1024"},
		{"'peer':'alice','to_port':90,'ports':4,'public_port':40002", RPC_INVALID_PARAMS,
			"as 40000"},
		{"'peer':'alice','to_port':65533,'ports':4", RPC_INVALID_PARAMS, "1 to 65532"},
		{"'peer':'alice','to_port':90,'ports':4,'public_port':40000", RPC_IN_USE,
			"public port 40000 of 198.51.100.1 already leads to port 80"},
		{"'peer':'alice','to_port':77,'ports':4", RPC_IN_USE, "leads to port 80 already"},
		{"'peer':'alice','to_port':90,'ports':4,'public_port':40100", RPC_REFUSED,
			"or a port of its range, is outside"},
	};
	struct server *s = *state;
	struct client c;
	char params[512];

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	add_peer(&c, "bob", 3);
	add_peer(&c, "carol", 4);
	add_peer(&c, "few", 5);
	json_decref(call(&c, "peer.set", "{'peer':'carol','forwarding':false}"));
	json_decref(call(&c, "peer.set", "{'peer':'few','max_leases':1}"));
	open_lease(&c, "{'peer':'alice','proto':'tcp','to_port':80,'public_address':'198.51.100.1',"
		       "'public_port':40000}");
	open_lease(&c,
		"{'peer':'bob','to_port':80,'public_address':'198.51.100.1','public_port':40001}");
	open_lease(&c, "{'peer':'few','to_port':80}");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(params, sizeof(params), "{%s}", cases[i].params);
		refuse(&c, "lease.open", params, cases[i].code, cases[i].word, NULL);
	}
	refuse(&c, "lease.list", "{'peer':'alice','limit':5}", RPC_INVALID_PARAMS, "one piece",
		NULL);
	assert_int_equal(lease_count(s->leases, UINT32_MAX), 3);
	assert_int_equal(doors_count(s->doors), 3);
	client_close(&c);
}

static void a_range_of_ports(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *lease, *list;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	json_decref(call(&c, "peer.set", "{'peer':'alice','max_leases':20}"));
	lease = call(&c, "lease.open", "{'peer':'alice','to_port':7001,'ports':8}");
	assert_int_equal(number(lease, "ports"), 8);
	assert_int_equal(number(lease, "to_port"), 7001);
	assert_int_equal(number(lease, "public_port") % 8, 0);
	json_decref(lease);
	/* The same again; and one that says no port leads to those it has. */
	lease = call(&c, "lease.open", "{'peer':'alice','to_port':7001,'ports':8}");
	assert_true(json_is_true(json_object_get(lease, "is_renewal")));
	json_decref(lease);
	lease = call(&c, "lease.open", "{'peer':'alice','ports':4,'public_port':40096}");
	assert_int_equal(number(lease, "to_port"), 40096);
	json_decref(lease);
	list = call(&c, "peer.show", "{'peer':'alice'}");
	assert_int_equal(number(list, "leases"), 2);
	assert_int_equal(number(list, "lease_ports"), 12);
	json_decref(list);
	refuse(&c, "lease.open", "{'peer':'alice','to_port':7008}", RPC_IN_USE,
		"leads to ports 7001-7008 already", NULL);
	refuse(&c, "lease.open", "{'peer':'alice','to_port':9,'public_port':40099}", RPC_IN_USE,
		"already leads to port 40099 of peer alice", NULL);
	/* What is kept of it is all of it. */
	json_decref(call(&c, "lease.close", "{'id':2}"));
	list = call(&c, "lease.reserved", "{}");
	assert_int_equal(number(json_array_get(json_object_get(list, "reserved"), 0), "ports"), 4);
	json_decref(list);
	add_peer(&c, "bob", 3);
	refuse(&c, "lease.open",
		"{'peer':'bob','to_port':9,'public_address':'198.51.100.0','public_port':1}",
		RPC_REFUSED, "outside", NULL);
	assert_int_equal(doors_count(s->doors), 1);
	client_close(&c);
}

static void expect_limits(
	struct client *c, const char *params, json_int_t max_pps, json_int_t max_new_flows)
{
	json_t *lease = call(c, "lease.open", params);

	assert_int_equal(number(lease, "max_pps"), max_pps);
	assert_int_equal(number(lease, "max_new_flows"), max_new_flows);
	json_decref(lease);
}

/* What lease.open left as it was, in one line. */
static void expect_unchanged(struct client *c, const char *params, const char *names)
{
	json_t *lease = call(c, "lease.open", params), *name;
	char got[256] = "";
	size_t i;

	assert_true(json_is_true(json_object_get(lease, "is_renewal")));
	json_array_foreach(json_object_get(lease, "unchanged"), i, name)
	{
		strcat(got, i > 0 ? " " : "");
		strcat(got, json_string_value(name));
	}
	assert_string_equal(got, names);
	json_decref(lease);
}

static void a_renewal_says_what_it_leaves(void **state)
{
	struct client c;
	json_t *lease;

	client_open(&c, *state);
	add_peer(&c, "alice", 2);
	lease = call(&c, "lease.open",
		"{'peer':'alice','to_port':80,'public_address':'198.51.100.1','public_port':40007,"
		"'until':1900000000,'idle_s':60,'from':['192.0.2.0/24','203.0.113.7'],"
		"'max_pps':5,'max_new_flows':6,'label':'web'}");
	assert_null(json_object_get(lease, "unchanged"));
	json_decref(lease);
	clock_offset_ns += 60 * NS_IN_S;
	/* As it is, or not said. */
	expect_unchanged(&c, "{'peer':'alice','to_port':80,'ttl_s':50}", "");
	expect_unchanged(&c,
		"{'peer':'alice','to_port':80,'public_address':'198.51.100.1','public_port':40007,"
		"'until':1900000000,'idle_s':60,'from':['203.0.113.7','192.0.2.0/24'],"
		"'max_pps':5,'max_new_flows':6,'label':'web'}",
		"");
	expect_unchanged(&c,
		"{'peer':'alice','to_port':80,'public_address':'198.51.100.2','public_port':40008,"
		"'until':1900000002,'idle_s':0,'from':['203.0.113.7','192.0.2.0/25'],"
		"'max_pps':0,'max_new_flows':7,'label':''}",
		"public_address public_port until idle_s from max_pps max_new_flows label");
	expect_unchanged(&c, "{'peer':'alice','to_port':80,'from':[]}", "from");
	lease = call(&c, "lease.show", "{'id':1}");
	assert_int_equal(number(lease, "idle_s"), 60);
	assert_string_equal(text(lease, "label"), "web");
	json_decref(lease);
	client_close(&c);
}

/* As is said, or else as the configuration says then. */
static void limits_of_a_lease(void **state)
{
	struct server *s = *state;
	struct client c;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	expect_limits(&c, "{'peer':'alice','to_port':80}", 0, 0);
	s->conf.lease_max_pps = 1000;
	s->conf.lease_max_new_flows = 50;
	expect_limits(&c, "{'peer':'alice','to_port':81}", 1000, 50);
	expect_limits(&c, "{'peer':'alice','to_port':82,'max_pps':0,'max_new_flows':7}", 0, 7);
	expect_limits(&c, "{'peer':'alice','to_port':83,'max_pps':10000000}", 10000000, 50);
	/* A renewal leaves them as they were. */
	expect_limits(&c, "{'peer':'alice','to_port':80,'max_pps':9}", 0, 0);
	client_close(&c);
}

static void whole_addresses_are_refused(void **state)
{
	static const char *const others[] = {"'to_port':80", "'public_port':40000", "'ports':4",
		"'proto':'tcp'", "'from':['192.0.2.0/24']"};
	struct server *s = *state;
	char params[256], name[32];
	struct client c;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	add_peer(&c, "bob", 3);
	add_peer(&c, "carol", 4);
	/* What else is said of it, by its name. */
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(params, sizeof(params), "{'peer':'bob','whole_address':true,%s}",
			others[i]);
		snprintf(name, sizeof(name), "accepted: no %.*s", (int)strcspn(others[i] + 1, "'"),
			others[i] + 1);
		refuse(&c, "lease.open", params, RPC_INVALID_PARAMS, name, NULL);
	}
	json_decref(call(&c, "peer.set", "{'peer':'carol','address6':'fd00::4'}"));
	refuse(&c, "lease.open", "{'peer':'carol','whole_address':true,'to_address':'fd00::4'}",
		RPC_REFUSED, "whole_address is for IPv4", NULL);
	refuse(&c, "lease.open",
		"{'peer':'bob','whole_address':true,'public_address':'198.51.100.1'}", RPC_REFUSED,
		"198.51.100.1 is not dedicated; accepted: one of 198.51.100.64/31", NULL);
	/* Not one of its ports, either. */
	refuse(&c, "lease.open", "{'peer':'bob','to_port':80,'public_address':'198.51.100.64'}",
		RPC_REFUSED, "198.51.100.64 is not in the public pool", NULL);
	open_lease(&c, "{'peer':'alice','whole_address':true,'public_address':'198.51.100.64'}");
	refuse(&c, "lease.open",
		"{'peer':'bob','whole_address':true,'public_address':'198.51.100.64'}", RPC_IN_USE,
		"198.51.100.64 is held by peer alice (lease 1)", NULL);
	refuse(&c, "lease.open", "{'peer':'alice','to_port':80}", RPC_IN_USE,
		"peer alice has the whole of 198.51.100.64", NULL);
	json_decref(call(&c, "lease.close", "{'id':1}"));
	refuse(&c, "lease.open",
		"{'peer':'bob','whole_address':true,'public_address':'198.51.100.64'}", RPC_IN_USE,
		"198.51.100.64 was another's and rests for up to 2m", NULL);
	open_lease(&c, "{'peer':'bob','whole_address':true}");
	refuse(&c, "lease.open", "{'peer':'carol','whole_address':true}", RPC_EXHAUSTED,
		"no dedicated address is free", NULL);
	open_lease(&c, "{'peer':'carol','to_port':80}");
	refuse(&c, "lease.open", "{'peer':'carol','whole_address':true}", RPC_IN_USE,
		"peer carol has other leases", NULL);
	json_decref(call(&c, "peer.set", "{'peer':'carol','max_leases':1}"));
	refuse(&c, "lease.open", "{'peer':'carol','whole_address':true}", RPC_EXHAUSTED,
		"peer carol may have 1 leases and has 1", NULL);
	/* A configuration that has none. */
	s->conf.n_dedicated = 0;
	refuse(&c, "lease.open",
		"{'peer':'alice','whole_address':true,'public_address':'198.51.100.9'}",
		RPC_REFUSED, "public.dedicated of the configuration is empty", NULL);
	client_close(&c);
}

/* The number that one gave up rests before another gets it. */
static void quarantine_is_explained(void **state)
{
	struct client c;

	client_open(&c, *state);
	add_peer(&c, "alice", 2);
	add_peer(&c, "bob", 3);
	open_lease(&c, "{'peer':'alice','to_port':80,'public_address':'198.51.100.1',"
		       "'public_port':40000}");
	json_decref(call(&c, "lease.close", "{'id':1}"));
	refuse(&c, "lease.open",
		"{'peer':'bob','to_port':80,'public_address':'198.51.100.1','public_port':40000}",
		RPC_IN_USE, "rests", NULL);
	client_close(&c);
}

static void changes_of_a_peer_close_its_leases(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *result;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	add_peer(&c, "bob", 3);
	open_lease(&c, "{'peer':'bob','to_port':1}");
	open_lease(&c, "{'peer':'alice','to_port':1}");
	open_lease(&c, "{'peer':'alice','to_port':2}");

	/* What is refused changes nothing. */
	refuse(&c, "peer.set", "{'peer':'alice','forwarding':false,'name':'bob'}", RPC_IN_USE,
		"name", NULL);
	assert_int_equal(doors_count(s->doors), 3);
	result = call(
		&c, "peer.set", "{'peer':'alice','persistent_keepalive_s':5,'address6':'fd00::2'}");
	assert_int_equal(number(result, "leases_closed"), 0);
	json_decref(result);

	result = call(&c, "peer.set", "{'peer':'alice','forwarding':false}");
	assert_int_equal(number(result, "leases_closed"), 2);
	assert_int_equal(number(result, "leases"), 0);
	json_decref(result);
	assert_int_equal(doors_count(s->doors), 1);

	json_decref(call(&c, "peer.set", "{'peer':'alice','forwarding':true}"));
	open_lease(&c, "{'peer':'alice','to_port':3}");
	result = call(&c, "peer.set", "{'peer':'alice','address4':'10.0.0.77'}");
	assert_int_equal(number(result, "leases_closed"), 1);
	json_decref(result);

	open_lease(&c, "{'peer':'alice','to_port':4}");
	result = call(&c, "peer.del", "{'peer':'alice'}");
	assert_int_equal(number(result, "leases_closed"), 1);
	json_decref(result);
	assert_int_equal(doors_count(s->doors), 1);
	assert_int_equal(lease_count(s->leases, UINT32_MAX), 1);
	client_close(&c);
}

static void a_peer_that_does_not_answer_suspends_its_leases(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *lease, *peer;
	json_int_t id;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	id = open_lease(&c, "{'peer':'alice','to_port':80}");
	/* Found out by the sweep, without anybody looking. */
	set_reachable(s, "alice", false);
	move_clock(s, 2 * NS_IN_S);
	assert_int_equal(lease_get(s->leases, (uint64_t)id)->state, LEASE_SUSPENDED);
	peer = call(&c, "peer.show", "{'peer':'alice'}");
	assert_int_equal((int)json_number_value(json_object_get(peer, "unreachable_age_s")), 2);
	json_decref(peer);
	lease = call(&c, "lease.open", "{'peer':'alice','to_port':81}");
	assert_string_equal(text(lease, "state"), "suspended");
	json_decref(lease);
	/* And when it is looked at, at once. */
	set_reachable(s, "alice", true);
	lease = call(&c, "lease.show", "{'id':1}");
	assert_string_equal(text(lease, "state"), "active");
	json_decref(lease);
	client_close(&c);
}

static uint64_t heartbeat_ns(struct server *s, const char *peer)
{
	return peer_heartbeat(s->peers, peer_find(s->peers, peer));
}

static void peers_with_leases_have_a_heartbeat(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *peer;

	s->conf.heartbeat_ns = 25 * NS_IN_S;
	client_open(&c, s);
	add_peer(&c, "alice", 2);
	add_peer(&c, "bob", 3);
	peer_hot(s->peers, peer_find(s->peers, "alice"))->last_handshake_ns = test_now_ns();
	/* At once where there is a session; nobody is called who was not there yet. */
	open_lease(&c, "{'peer':'alice','to_port':80}");
	open_lease(&c, "{'peer':'bob','to_port':80}");
	assert_int_equal(heartbeat_ns(s, "alice"), 25 * NS_IN_S);
	assert_int_equal(heartbeat_ns(s, "bob"), 0);
	move_clock(s, 2 * NS_IN_S);
	assert_int_equal(heartbeat_ns(s, "bob"), 25 * NS_IN_S);
	peer = call(&c, "peer.show", "{'peer':'bob'}");
	assert_int_equal((int)json_number_value(json_object_get(peer, "heartbeat_s")), 25);
	json_decref(peer);

	/* None without leases, or for a peer that does not answer; the interval changes live. */
	json_decref(call(&c, "lease.close", "{'id':1}"));
	set_reachable(s, "bob", false);
	move_clock(s, 2 * NS_IN_S);
	assert_int_equal(peers_heartbeats(s->peers), 0);
	set_reachable(s, "bob", true);
	s->conf.heartbeat_ns = 10 * NS_IN_S;
	/* The handshake thread is behind: it is told later. */
	s->is_behind = true;
	for (unsigned i = 0; i < 20; i++)
		(void)!peer_heartbeat_set(
			s->peers, peer_find(s->peers, "alice"), (i + 1) * NS_IN_S);
	ctl_tick(s->ctl);
	clock_offset_ns += 2 * NS_IN_S;
	ctl_tick(s->ctl);
	assert_int_equal(heartbeat_ns(s, "bob"), 0);
	s->is_behind = false;
	pump(s);
	for (unsigned i = 0; i < 3; i++)
		move_clock(s, 2 * NS_IN_S);
	assert_int_equal(heartbeat_ns(s, "bob"), 10 * NS_IN_S);
	assert_int_equal(heartbeat_ns(s, "alice"), 0);
	client_close(&c);
}

static void a_lease_has_a_last_moment(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *lease;
	char params[128];
	json_int_t until = (json_int_t)(test_wall_ns() / NS_IN_S) + 600;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	refuse(&c, "lease.open", "{'peer':'alice','to_port':80,'until':1600000000}",
		RPC_INVALID_PARAMS, "until", "to come", NULL);
	refuse(&c, "lease.open", "{'peer':'alice','to_port':80,'until':1e15}", RPC_INVALID_PARAMS,
		"100 years", NULL);
	snprintf(params, sizeof(params), "{'peer':'alice','to_port':80,'until':%lld}",
		(long long)until);
	lease = call(&c, "lease.open", params);
	assert_int_equal(number(lease, "until"), until);
	assert_in_range(json_number_value(json_object_get(lease, "expires_in_s")), 590, 600);
	json_decref(lease);
	lease = call(&c, "lease.renew", "{'id':1,'ttl_s':3600}");
	assert_in_range(json_number_value(json_object_get(lease, "expires_in_s")), 590, 600);
	json_decref(lease);
	move_clock(s, 601 * NS_IN_S);
	assert_int_equal(list_size(&c, "lease.list", "{}", "leases"), 0);
	client_close(&c);
}

static void kept_ports_are_listed(void **state)
{
	struct client c;
	json_t *result;
	const json_t *held;

	client_open(&c, *state);
	add_peer(&c, "alice", 2);
	add_peer(&c, "bob", 3);
	open_lease(&c, "{'peer':'alice','to_port':80,'public_port':40000}");
	open_lease(&c, "{'peer':'bob','to_port':81,'public_port':40001}");
	assert_int_equal(list_size(&c, "lease.reserved", "{}", "reserved"), 0);
	json_decref(call(&c, "lease.close", "{'id':1}"));
	json_decref(call(&c, "peer.del", "{'peer':'bob'}"));
	result = call(&c, "lease.reserved", "{'limit':1}");
	held = json_array_get(json_object_get(result, "reserved"), 0);
	assert_string_equal(text(held, "state"), "quarantine");
	assert_string_equal(text(held, "peer"), "alice");
	assert_int_equal(number(held, "public_port"), 40000);
	assert_int_equal(number(held, "to_port"), 80);
	assert_true(json_is_integer(json_object_get(result, "next")));
	json_decref(result);
	result = call(&c, "lease.reserved", "{}");
	held = json_array_get(json_object_get(result, "reserved"), 1);
	assert_true(json_is_null(json_object_get(held, "peer"))); /* bob is gone */
	json_decref(result);
	refuse(&c, "lease.reserved", "{'limit':5000}", RPC_INVALID_PARAMS, "4000", NULL);
	client_close(&c);
}

static void leases_expire_by_themselves(void **state)
{
	struct server *s = *state;
	uint64_t deadline_ns;
	struct client c;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	open_lease(&c, "{'peer':'alice','to_port':1,'ttl_s':1000}");
	open_lease(&c, "{'peer':'alice','to_port':2,'ttl_s':0.05}");
	open_lease(&c, "{'peer':'alice','to_port':3,'ttl_s':2000}");
	/* Nobody calls: the server's own timer closes it. */
	deadline_ns = test_now_ns() + 900 * NS_IN_MS;
	while (doors_count(s->doors) == 3 && test_now_ns() < deadline_ns)
		pump(s);
	assert_int_equal(doors_count(s->doors), 2);
	move_clock(s, 999 * NS_IN_S);
	assert_int_equal(doors_count(s->doors), 2);
	move_clock(s, 2 * NS_IN_S);
	assert_int_equal(doors_count(s->doors), 1);
	json_decref(call(&c, "lease.show", "{'id':3}"));
	json_decref(call(&c, "lease.renew", "{'id':3}"));
	move_clock(s, 1500 * NS_IN_S);
	assert_int_equal(doors_count(s->doors), 1);
	move_clock(s, 600 * NS_IN_S);
	assert_int_equal(doors_count(s->doors), 0);
	client_close(&c);
}

static struct door *door_of(struct server *s, const char *addr, uint16_t port)
{
	struct ip_addr a = address(addr);
	struct door_public_key key = {.proto = 6};
	struct door *door = NULL;

	memcpy(key.addr_v4, ip_v4_bytes(&a), 4);
	key.port_be16 = rte_cpu_to_be_16(port);
	door = doors_lookup_public(s->doors, &key);
	return door;
}

static void idle_leases_close(void **state)
{
	struct server *s = *state;
	struct client c;
	struct door *used;
	json_t *lease;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	open_lease(&c, "{'peer':'alice','to_port':1,'idle_s':60}");
	lease = call(&c, "lease.open", "{'peer':'alice','to_port':2,'idle_s':60}");
	used = door_of(s, text(lease, "public_address"), (uint16_t)number(lease, "public_port"));
	assert_non_null(used);
	json_decref(lease);
	open_lease(&c, "{'peer':'alice','to_port':3}");

	move_clock(s, 50 * NS_IN_S);
	assert_int_equal(doors_count(s->doors), 3);
	used->counters.in_pkts = 5;
	used->counters.in_bytes = 500;
	used->counters.last_used_ns = test_now_ns();
	move_clock(s, 20 * NS_IN_S);
	refuse(&c, "lease.show", "{'id':1}", RPC_NOT_FOUND, NULL);
	lease = call(&c, "lease.show", "{'id':2}");
	assert_int_equal(number(json_object_get(lease, "counters"), "in_pkts"), 5);
	assert_int_equal(number(json_object_get(lease, "counters"), "in_bytes"), 500);
	assert_in_range(
		json_number_value(json_object_get(lease, "last_used_age_s")) * 1000, 20000, 30000);
	json_decref(lease);
	move_clock(s, 50 * NS_IN_S);
	refuse(&c, "lease.show", "{'id':2}", RPC_NOT_FOUND, NULL);
	json_decref(call(&c, "lease.show", "{'id':3}"));
	client_close(&c);
}

/* --- the configuration's own
 * --------------------------------------------------------------------*/

static void configured_peers_and_leases(void **state)
{
	struct conf_peer peers[2] = {
		{.name = "alice", .public_key = {2}, .forwarding = true, .max_leases = 4},
		{.name = "bob", .public_key = {3}, .max_leases = 4},
	};
	struct conf_lease lease = {.protos = LEASE_PROTO_TCP,
		.public_port = 40007,
		.inner_port = 8080,
		.n_sources = 1,
		.label = "kept"};
	struct server *s = *state;
	char fault[CTL_FAULT_CHARS];
	struct client c;
	json_t *shown;

	peers[0].address4 = address("10.0.0.2");
	peers[1].address4 = address("10.0.0.3");
	lease.public_addr = address("198.51.100.3");
	lease.sources[0] = prefix("203.0.113.0/24");
	s->conf.peers = peers;
	s->conf.n_peers = 2;
	s->conf.leases = &lease;
	s->conf.n_leases = 1;
	assert_int_equal(ctl_load_conf(s->ctl, fault), 0);
	client_open(&c, s);
	assert_int_equal(list_size(&c, "peer.list", "{}", "peers"), 2);
	shown = call(&c, "lease.show", "{'id':1}");
	assert_int_equal(number(shown, "public_port"), 40007);
	assert_string_equal(text(shown, "opened_by"), "conf");
	assert_string_equal(text(shown, "public_address"), "198.51.100.3");
	assert_true(json_is_null(json_object_get(shown, "expires_in_s")));
	assert_true(json_is_null(json_object_get(shown, "ttl_s")));
	json_decref(shown);
	/* It has no end, and a renewal gives it none. */
	json_decref(call(&c, "lease.renew", "{'id':1,'ttl_s':10}"));
	shown = call(&c, "lease.open", "{'peer':'alice','proto':'tcp','to_port':8080,'ttl_s':10}");
	assert_int_equal(number(shown, "id"), 1);
	assert_true(json_is_true(json_object_get(shown, "is_renewal")));
	assert_true(json_is_null(json_object_get(shown, "ttl_s")));
	assert_true(json_is_null(json_object_get(shown, "expires_in_s")));
	json_decref(shown);
	shown = call(&c, "lease.open", "{'peer':'alice','proto':'tcp','to_port':8080,'ttl_s':10}");
	assert_int_equal(number(shown, "id"), 1);
	assert_true(json_is_true(json_object_get(shown, "is_renewal")));
	assert_true(json_is_null(json_object_get(shown, "ttl_s")));
	assert_true(json_is_null(json_object_get(shown, "expires_in_s")));
	json_decref(shown);
	move_clock(s, 1000000 * NS_IN_S);
	json_decref(call(&c, "lease.show", "{'id':1}"));
	client_close(&c);

	/* A lease for a peer with forwarding off is the first fault. */
	peers[0] = (struct conf_peer){.name = "dave", .public_key = {9}, .max_leases = 4};
	peers[0].address4 = address("10.0.0.9");
	s->conf.n_peers = 1;
	lease.public_port = 40008;
	assert_int_equal(ctl_load_conf(s->ctl, fault), -EINVAL);
	assert_non_null(strstr(fault, "dave has forwarding off"));
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
		served(peer_life),
		served(peer_refusals),
		served(preshared_key_is_never_shown),
		served(handshake_thread_behind_means_try_again),
		served(many_peers_come_in_pages),
		served(lease_life),
		served(lease_refusals),
		served(a_renewal_says_what_it_leaves),
		served(whole_addresses_are_refused),
		served(limits_of_a_lease),
		served(a_range_of_ports),
		served(quarantine_is_explained),
		served(changes_of_a_peer_close_its_leases),
		served(a_peer_that_does_not_answer_suspends_its_leases),
		served(peers_with_leases_have_a_heartbeat),
		served(a_lease_has_a_last_moment),
		served(kept_ports_are_listed),
		served(leases_expire_by_themselves),
		served(idle_leases_close),
		served(configured_peers_and_leases),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
