/* ctl_session_test.c - control's view of the workers' sessions and of the public addresses. */
#include "ctl_server.h"

#include "flow/flow.h"

#include <netinet/in.h>

#define MAX_SESSIONS 70000 /* of each worker: more than one reply looks at */

static struct flows *flows[N_WORKERS];
static const struct flows *seen[N_WORKERS]; /* as control has them */
static struct blocks *blocks;

static const struct flow_limits limits = {
	.filter = FLOW_STRICT, .max_sessions = 5000, .max_blocks = 16};

static int setup(void **state)
{
	struct server *s = server_create();
	struct blocks_conf bc = {
		.pool = {prefix("198.51.100.0/30"), prefix("203.0.113.64/31")},
		.n_pool = 2,
		.port_first = 1024,
		.port_last = 19999,
		.block_ports = 256,
	};
	char fault[CTL_FAULT_CHARS];
	struct ctl_params p;

	s->conf.nat_pool[0] = prefix("203.0.113.64/31");
	s->conf.n_nat_pool = 1;
	blocks = blocks_create(&bc);
	assert_non_null(blocks);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		flows[i] = flows_create(&(struct flow_conf){.max_peers = MAX_PEERS,
			.max_sessions = MAX_SESSIONS,
			.udp_ns = 300 * NS_IN_S,
			.tcp_established_ns = 7440 * NS_IN_S,
			.tcp_transitory_ns = 240 * NS_IN_S,
			.icmp_ns = 60 * NS_IN_S,
			.rest_ns = 120 * NS_IN_S,
			.blocks = blocks,
			.random = crypto_random});
		assert_non_null(flows[i]);
		seen[i] = flows[i];
	}
	p = server_params(s);
	p.flows = seen;
	p.blocks = blocks;
	s->ctl = ctl_create(&p, fault);
	assert_non_null(s->ctl);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	server_destroy(*state);
	for (unsigned i = 0; i < N_WORKERS; i++)
		flows_destroy(flows[i]);
	blocks_destroy(blocks);
	return 0;
}

static uint32_t add_peer_at(
	struct client *c, struct server *s, const char *name, unsigned n, uint8_t home)
{
	uint32_t peer_idx;

	add_peer(c, name, n);
	peer_idx = peer_find(s->peers, name);
	peer_home_set(s->peers, peer_idx, home);
	return peer_idx;
}

static struct flow_session *begin(
	uint8_t worker, uint32_t peer_idx, uint8_t proto, uint16_t inner_port)
{
	struct flow_out_key key = {.peer_idx = peer_idx,
		.inner_v4 = 0x0a000002,
		.remote_v4 = 0xc0000209,
		.inner_port = inner_port,
		.remote_port = 443,
		.proto = proto};
	uint8_t flags = proto == IPPROTO_TCP ? FLOW_TCP_SYN : 0;
	struct flow_session *session;

	assert_int_equal(flow_begin_out(flows[worker], &key, 0xcb007140, flags, &limits,
				 test_now_ns(), &session),
		FLOW_OK);
	flow_sent(flows[worker], session, flags, test_now_ns());
	return session;
}

static void a_session_is_told_whole(void **state)
{
	struct server *s = *state;
	struct flow_session *session;
	struct client c;
	uint32_t alice;
	json_t *result, *one;

	client_open(&c, s);
	alice = add_peer_at(&c, s, "alice", 2, 1);
	session = begin(1, alice, IPPROTO_TCP, 4321);
	result = call(&c, "session.list", "{'peer':'alice'}");
	assert_int_equal(json_array_size(json_object_get(result, "sessions")), 1);
	one = json_array_get(json_object_get(result, "sessions"), 0);
	assert_string_equal(text(one, "peer"), "alice");
	assert_string_equal(text(one, "proto"), "tcp");
	assert_string_equal(text(one, "inner_address"), "10.0.0.2");
	assert_int_equal(number(one, "inner_port"), 4321);
	assert_string_equal(text(one, "public_address"), "203.0.113.64");
	assert_int_equal(number(one, "public_port"), session->public_port);
	assert_string_equal(text(one, "remote_address"), "192.0.2.9");
	assert_int_equal(number(one, "remote_port"), 443);
	assert_string_equal(text(one, "tcp_state"), "opening");
	assert_true(json_number_value(json_object_get(one, "expires_in_s")) > 200);
	json_decref(result);
	result = call(&c, "peer.show", "{'peer':'alice'}");
	assert_int_equal(number(result, "sessions"), 1);
	json_decref(result);
	client_close(&c);
}

static void what_is_not_translated_has_no_public_side(void **state)
{
	struct server *s = *state;
	struct flow_v6_key key = {.inner = address("fd00::2"),
		.remote = address("2001:db8::9"),
		.inner_port = 7,
		.remote_port = 8,
		.proto = IPPROTO_UDP};
	struct flow_session *session;
	json_t *result, *one;
	struct client c;

	client_open(&c, s);
	assert_int_equal(flow_begin_v6(flows[0], add_peer_at(&c, s, "alice", 2, 0), &key, 0,
				 &limits, test_now_ns(), &session),
		FLOW_OK);
	result = call(&c, "session.list", "{}");
	one = json_array_get(json_object_get(result, "sessions"), 0);
	assert_string_equal(text(one, "inner_address"), "fd00::2");
	assert_string_equal(text(one, "remote_address"), "2001:db8::9");
	assert_true(json_is_null(json_object_get(one, "public_address")));
	assert_true(json_is_null(json_object_get(one, "public_port")));
	assert_true(json_is_null(json_object_get(one, "tcp_state")));
	json_decref(result);
	client_close(&c);
}

/* All pages together, by their next. */
static size_t count(struct client *c, const char *params, unsigned *n_pages)
{
	char ask[128];
	json_int_t cursor = 0;
	json_t *result, *next;
	size_t n = 0;

	*n_pages = 0;
	do {
		snprintf(ask, sizeof(ask), "{%s'cursor':%lld}", params, (long long)cursor);
		result = call(c, "session.list", ask);
		n += json_array_size(json_object_get(result, "sessions"));
		next = json_object_get(result, "next");
		cursor = json_is_null(next) ? -1 : json_integer_value(next);
		json_decref(result);
		(*n_pages)++;
	} while (cursor >= 0);
	return n;
}

static void pages_cover_all_workers(void **state)
{
	struct server *s = *state;
	uint32_t alice, bob;
	struct client c;
	unsigned n_pages;
	json_t *result;

	client_open(&c, s);
	alice = add_peer_at(&c, s, "alice", 2, 0);
	bob = add_peer_at(&c, s, "bob", 3, 1);
	add_peer(&c, "carol", 4); /* nobody's home yet */
	for (uint16_t i = 0; i < 25; i++)
		begin(0, alice, IPPROTO_UDP, (uint16_t)(1000 + i));
	for (uint16_t i = 0; i < 10; i++)
		begin(1, bob, IPPROTO_UDP, (uint16_t)(1000 + i));
	assert_int_equal(count(&c, "", &n_pages), 35);
	/* A reply looks at so many records, whatever they are. */
	assert_true(n_pages >= 2 * MAX_SESSIONS / 32768);
	assert_int_equal(count(&c, "'limit':7,", &n_pages), 35);
	assert_true(n_pages >= 5);
	assert_int_equal(count(&c, "'peer':'alice',", &n_pages), 25);
	assert_int_equal(count(&c, "'peer':'bob',", &n_pages), 10);
	assert_int_equal(count(&c, "'peer':'bob','limit':3,", &n_pages), 10);
	assert_int_equal(count(&c, "'peer':'carol',", &n_pages), 0);
	assert_int_equal(count(&c, "'limit':4000,", &n_pages), 35);
	refuse(&c, "session.list", "{'limit':4001}", RPC_INVALID_PARAMS, "4000", NULL);
	refuse(&c, "session.list", "{'peer':'dave'}", RPC_NOT_FOUND, "dave", NULL);
	/* A cursor that no reply gave finds nothing. */
	result = call(&c, "session.list", "{'cursor':9000000000000000000}");
	assert_int_equal(json_array_size(json_object_get(result, "sessions")), 0);
	json_decref(result);
	client_close(&c);
}

/* An entry of pool.show has these numbers. */
static void expect_uses(const json_t *one, const char *role, int leases, int peers, int owned)
{
	assert_string_equal(text(one, "role"), role);
	assert_int_equal(number(one, "leases"), leases);
	assert_int_equal(number(one, "peers"), peers);
	assert_int_equal(number(one, "owned"), owned);
	assert_int_equal(number(one, "blocks"), 74);
	assert_int_equal(number(one, "resting"), 0);
	assert_int_equal(number(one, "free"), 74 - owned);
}

static json_t *find_address(const json_t *result, const char *wanted)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(result, "addresses"), i, one)
	{
		if (strcmp(text(one, "address"), wanted) == 0)
			return one;
	}
	fail_msg("no %s", wanted);
	return NULL;
}

static void pools_are_told_by_address(void **state)
{
	struct server *s = *state;
	json_t *result, *totals;
	char paired[16];
	struct client c;

	client_open(&c, s);
	begin(0, add_peer_at(&c, s, "alice", 2, 0), IPPROTO_UDP, 1);
	result = call(&c, "peer.show", "{'peer':'alice'}");
	snprintf(paired, sizeof(paired), "%s", text(result, "public_address"));
	json_decref(result);
	result = call(&c, "pool.show", "{}");
	assert_int_equal(json_array_size(json_object_get(result, "addresses")), 6 + 2);
	assert_true(json_is_null(json_object_get(result, "next")));
	expect_uses(find_address(result, "198.51.100.0"), "leases", 0, 0, 0);
	/* The session is on .64, wherever the peer is paired with. */
	expect_uses(find_address(result, "203.0.113.64"), "traffic", 0,
		strcmp(paired, "203.0.113.64") == 0, 1);
	assert_int_equal(number(find_address(result, paired), "peers"), 1);
	totals = json_object_get(result, "totals");
	assert_int_equal(number(totals, "addresses"), 6 + 2);
	assert_int_equal(number(totals, "blocks"), 6 * 74);
	assert_int_equal(number(totals, "blocks_taken"), 1);
	assert_int_equal(number(totals, "ports_used"), 1);
	assert_int_equal(number(totals, "ports_resting"), 0);
	assert_int_equal(number(totals, "sessions"), 1);
	assert_int_equal(number(totals, "sessions_max"), N_WORKERS * MAX_SESSIONS);
	assert_int_equal(number(totals, "leases"), 0);
	assert_int_equal(number(totals, "peers"), 1);
	json_decref(result);
	result = call(&c, "pool.show", "{'limit':4}");
	assert_int_equal(json_array_size(json_object_get(result, "addresses")), 4);
	assert_int_equal(number(result, "next"), 4);
	json_decref(result);
	result = call(&c, "pool.show", "{'cursor':4}");
	assert_int_equal(json_array_size(json_object_get(result, "addresses")), 2 + 2);
	json_decref(result);
	refuse(&c, "pool.show", "{'limit':4001}", RPC_INVALID_PARAMS, "4000", NULL);
	client_close(&c);
}

static void expect_dedicated(struct client *c, const char *address, int n_leases)
{
	json_t *result = call(c, "pool.show", "{'cursor':6}");
	const json_t *one = find_address(result, address);

	assert_string_equal(text(one, "role"), "dedicated");
	assert_int_equal(number(one, "leases"), n_leases);
	assert_int_equal(number(one, "peers"), n_leases);
	assert_int_equal(number(one, "blocks"), 0);
	json_decref(result);
}

static void dedicated_addresses_come_last(void **state)
{
	struct client c;

	client_open(&c, *state);
	add_peer(&c, "alice", 2);
	expect_dedicated(&c, "198.51.100.64", 0);
	open_lease(&c, "{'peer':'alice','whole_address':true,'public_address':'198.51.100.65'}");
	expect_dedicated(&c, "198.51.100.64", 0);
	expect_dedicated(&c, "198.51.100.65", 1);
	json_decref(call(&c, "lease.close", "{'id':1}"));
	expect_dedicated(&c, "198.51.100.65", 0);
	client_close(&c);
}

/* Leases and peers of an address, through every way in which they come, move and go. */
static void uses_are_counted(void **state)
{
	struct server *s = *state;
	json_int_t tcp, udp;
	struct client c;
	json_t *result;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	tcp = open_lease(&c, "{'peer':'alice','proto':'tcp','to_port':1,"
			     "'public_address':'198.51.100.2'}");
	udp = open_lease(&c, "{'peer':'alice','proto':'udp','to_port':2,'ttl_s':60}");
	/* Renewed, not opened. */
	open_lease(&c, "{'peer':'alice','proto':'tcp','to_port':1}");
	result = call(&c, "pool.show", "{}");
	expect_uses(find_address(result, "198.51.100.2"), "leases", 2, 1, 0);
	json_decref(result);
	clock_offset_ns += 61 * NS_IN_S;
	ctl_tick(s->ctl);
	result = call(&c, "pool.show", "{}");
	expect_uses(find_address(result, "198.51.100.2"), "leases", 1, 1, 0);
	json_decref(result);
	refuse(&c, "lease.show", udp == 0 ? "{'id':1}" : "{'id':2}", RPC_NOT_FOUND, NULL);
	result = call(&c, "lease.close", tcp == 1 ? "{'id':1}" : "{'id':0}");
	json_decref(result);
	result = call(&c, "pool.show", "{}");
	expect_uses(find_address(result, "198.51.100.2"), "leases", 0, 0, 0);
	assert_int_equal(number(find_address(result, "203.0.113.64"), "peers") +
				 number(find_address(result, "203.0.113.65"), "peers"),
		1);
	json_decref(result);
	open_lease(&c, "{'peer':'alice','to_port':3,'public_address':'198.51.100.2'}");
	json_decref(call(&c, "peer.del", "{'peer':'alice'}"));
	result = call(&c, "pool.show", "{}");
	for (size_t i = 0; i < 6; i++) {
		const json_t *one = json_array_get(json_object_get(result, "addresses"), i);

		assert_int_equal(number(one, "leases"), 0);
		assert_int_equal(number(one, "peers"), 0);
	}
	json_decref(result);
	client_close(&c);
}

static void sessions_are_chosen_by_protocol_and_port(void **state)
{
	struct server *s = *state;
	struct flow_session *session;
	char ask[64];
	uint32_t alice;
	struct client c;
	unsigned n_pages;

	client_open(&c, s);
	alice = add_peer_at(&c, s, "alice", 2, 0);
	session = begin(0, alice, IPPROTO_TCP, 1001);
	begin(0, alice, IPPROTO_UDP, 1001);
	begin(0, alice, IPPROTO_UDP, 1002);
	assert_int_equal(count(&c, "'proto':'udp',", &n_pages), 2);
	assert_int_equal(count(&c, "'proto':'6',", &n_pages), 1);
	assert_int_equal(count(&c, "'proto':'icmpv6',", &n_pages), 0);
	assert_int_equal(count(&c, "'port':1001,", &n_pages), 2);
	assert_int_equal(count(&c, "'port':443,", &n_pages), 3);
	assert_int_equal(count(&c, "'port':443,'proto':'tcp',", &n_pages), 1);
	snprintf(ask, sizeof(ask), "'port':%u,'proto':'tcp',", session->public_port);
	assert_int_equal(count(&c, ask, &n_pages), 1);
	assert_int_equal(count(&c, "'port':9,", &n_pages), 0);
	refuse(&c, "session.list", "{'port':0}", RPC_INVALID_PARAMS, "65535", NULL);
	refuse(&c, "session.list", "{'port':65536}", RPC_INVALID_PARAMS, "65535", NULL);
	refuse(&c, "session.list", "{'proto':'256'}", RPC_INVALID_PARAMS, "256", "tcp", NULL);
	refuse(&c, "session.list", "{'proto':''}", RPC_INVALID_PARAMS, "tcp", NULL);
	refuse(&c, "session.list", "{'proto':'99999999999999999999'}", RPC_INVALID_PARAMS, "tcp",
		NULL);
	refuse(&c, "session.list", "{'proto':'6x'}", RPC_INVALID_PARAMS, "6x", NULL);
	client_close(&c);
}

/* The next event of listener, which must be this one. */
static void expect_block(struct client *listener, const char *name, const char *peer,
	const struct flow_session *session)
{
	json_t *message = client_json(listener), *event = json_object_get(message, "params");
	int first;

	assert_string_equal(text(event, "event"), name);
	assert_string_equal(text(event, "peer"), peer);
	assert_string_equal(text(event, "public_address"), "203.0.113.64");
	assert_int_equal(number(event, "ports"), 256);
	first = (int)number(event, "first_port");
	assert_true(session->public_port >= first && session->public_port < first + 256);
	assert_true(json_number_value(json_object_get(event, "at_s")) > 1700000000);
	json_decref(message);
}

static void blocks_are_told_once(void **state)
{
	struct server *s = *state;
	struct flow_session *of_alice, *of_bob;
	struct client c, listener;
	uint32_t alice, bob;

	client_open(&c, s);
	client_open(&listener, s);
	alice = add_peer_at(&c, s, "alice", 2, 0);
	bob = add_peer_at(&c, s, "bob", 3, 1);
	json_decref(call(&listener, "subscribe", "{'events':['block']}"));
	of_alice = begin(0, alice, IPPROTO_UDP, 4321);
	begin(0, alice, IPPROTO_UDP, 4322);
	of_bob = begin(1, bob, IPPROTO_UDP, 4321);
	clock_offset_ns += 2 * NS_IN_S;
	ctl_tick(s->ctl);
	expect_block(&listener, "block.claimed", "alice", of_alice);
	expect_block(&listener, "block.claimed", "bob", of_bob);
	flow_peer_forget(flows[1], bob, test_now_ns());
	ctl_tick(s->ctl);
	expect_block(&listener, "block.released", "bob", of_bob);
	client_close(&c);
	client_close(&listener);
}

/* What the worker lets go of after the peer was deleted is told with its name, also when nobody had
 * looked since the block was claimed. */
static void blocks_of_a_deleted_peer_have_its_name(void **state)
{
	struct server *s = *state;
	struct flow_session *session;
	struct client c, listener;
	uint32_t alice;

	client_open(&c, s);
	client_open(&listener, s);
	alice = add_peer_at(&c, s, "alice", 2, 0);
	json_decref(call(&listener, "subscribe", "{'events':['block']}"));
	session = begin(0, alice, IPPROTO_UDP, 4321);
	json_decref(call(&c, "peer.del", "{'peer':'alice'}"));
	flow_peer_forget(flows[0], alice, test_now_ns());
	add_peer(&c, "carol", 4);
	expect_block(&listener, "block.claimed", "alice", session);
	expect_block(&listener, "block.released", "alice", session);
	client_close(&c);
	client_close(&listener);
}

static void records_that_are_lost_are_told(void **state)
{
	struct server *s = *state;
	struct flow_records *records = flows_records(flows[0]);
	struct flow_record record = {.public_v4 = 0xcb007140, .first_port = 1024, .n_ports = 256};
	struct client c, listener;
	json_t *message;

	client_open(&c, s);
	client_open(&listener, s);
	record.peer_idx = add_peer_at(&c, s, "alice", 2, 0);
	json_decref(call(&listener, "subscribe", "{'events':['block.missed']}"));
	for (unsigned i = 0; i < FLOW_RECORDS_WAITING + 7; i++)
		flow_records_add(records, &record);
	ctl_tick(s->ctl);
	message = client_json(&listener);
	assert_string_equal(text(json_object_get(message, "params"), "event"), "block.missed");
	assert_int_equal(number(json_object_get(message, "params"), "records"), 7);
	json_decref(message);
	client_close(&c);
	client_close(&listener);
}

static int group_setup(void **state)
{
	rpc_init();
	eal_start();
	return crypto_init();
}

int main(void)
{
#define served(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		served(a_session_is_told_whole),
		served(what_is_not_translated_has_no_public_side),
		served(pages_cover_all_workers),
		served(sessions_are_chosen_by_protocol_and_port),
		served(pools_are_told_by_address),
		served(dedicated_addresses_come_last),
		served(uses_are_counted),
		served(blocks_are_told_once),
		served(blocks_of_a_deleted_peer_have_its_name),
		served(records_that_are_lost_are_told),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
