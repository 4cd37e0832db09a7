/* ctl_history_test.c - who had a public port at a moment, whatever became of the peer, the lease
 * and the gateway since; and nothing at all where that is not wanted.
 */
#include "ctl_restart.h"

#include <netinet/in.h>
#include <sqlite3.h>

#include "ctl/server.h"

#define ADDRESS	     "198.51.100.1"
#define BLOCK_PORTS  256
#define TRAFFIC_V4   0xcb007140 /* 203.0.113.64 */
#define TRAFFIC_TEXT "203.0.113.64"

static struct flows *flows[N_WORKERS];
static const struct flows *seen[N_WORKERS];
static struct blocks *blocks;

/* --- runs */

static void traffic_create(void)
{
	const struct blocks_conf bc = {
		.pool = {prefix("203.0.113.64/31")},
		.n_pool = 1,
		.port_first = 1024,
		.port_last = 1024 + 2 * BLOCK_PORTS - 1,
		.block_ports = BLOCK_PORTS,
	};

	blocks = blocks_create(&bc);
	assert_non_null(blocks);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		flows[i] = flows_create(&(struct flow_conf){.max_peers = MAX_PEERS,
			.max_sessions = 1000,
			.udp_ns = 300 * NS_IN_S,
			.rest_ns = 0,
			.blocks = blocks,
			.random = crypto_random});
		assert_non_null(flows[i]);
		seen[i] = flows[i];
	}
	run_flows = seen;
	run_blocks = blocks;
}

static void traffic_destroy(void)
{
	for (unsigned i = 0; i < N_WORKERS; i++)
		flows_destroy(flows[i]);
	blocks_destroy(blocks);
	run_flows = NULL;
	run_blocks = NULL;
}

static void begin_again(void)
{
	traffic_destroy();
	traffic_create();
	server_tables_create(server);
	begin();
	ctl_tick(server->ctl);
}

static void stop_and_start(void)
{
	end();
	begin_again();
}

static void copy_file(const char *from, const char *to)
{
	static char bytes[8 << 20];
	FILE *f = fopen(from, "r");
	size_t len = 0;

	if (f != NULL) {
		len = fread(bytes, 1, sizeof(bytes), f);
		fclose(f);
	}
	assert_true(len < sizeof(bytes));
	f = fopen(to, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* What the disk has at this moment is all that the next run finds, as after kill -9; it begins
 * down_ns later. */
static void kill_and_start(uint64_t down_ns)
{
	char wal[112], saved[112], saved_wal[112];

	snprintf(wal, sizeof(wal), "%s-wal", db);
	snprintf(saved, sizeof(saved), "%s.saved", db);
	snprintf(saved_wal, sizeof(saved_wal), "%s.saved-wal", db);
	copy_file(db, saved);
	copy_file(wal, saved_wal);
	end();
	assert_int_equal(rename(saved, db), 0);
	assert_int_equal(rename(saved_wal, wal), 0);
	assert_int_equal(chmod(db, 0600), 0);
	clock_offset_ns += down_ns;
	begin_again();
}

/* What happened by itself is on disk: this comes after it. */
static void settle(void)
{
	json_decref(call(&operator, "peer.add",
		"{'public_key':'YwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=','address4':'10.0.9.9'"
		"}"));
	json_decref(call(
		&operator, "peer.del", "{'peer':'YwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE='}"));
}

static void switch_to(enum conf_history mode)
{
	struct rpc_fault fault;

	server->conf.history_mode = mode;
	assert_int_equal(ctl_history_switch(server->ctl, &fault), 0);
	settle();
}

static int setup_off(void **state)
{
	int r = setup(state);

	server->conf.reserve_ns = 0;
	server->conf.quarantine_ns = 10 * NS_IN_S;
	server->conf.history_retention_ns = 30 * 86400 * NS_IN_S;
	traffic_create();
	stop_and_start();
	return r;
}

static int setup_full(void **state)
{
	int r = setup_off(state);

	server->conf.history_mode = CONF_HISTORY_FULL;
	stop_and_start();
	return r;
}

static int teardown_all(void **state)
{
	int r;

	clock_offset_ns += NS_IN_S;
	r = teardown(state);
	traffic_destroy();
	return r;
}

/* --- asking */

static double now_s(void)
{
	return (double)(test_wall_ns() / NS_IN_MS) / 1e3;
}

/* {'number':...} of a public port, with more. */
static json_t *ask_number(const char *number, const char *more)
{
	char params[160];

	snprintf(params, sizeof(params), "{'number':'%s'%s}", number, more);
	return call(&operator, "history.list", params);
}

static json_t *records_of(json_t *result)
{
	json_t *records = json_incref(json_object_get(result, "records"));

	json_decref(result);
	return records;
}

/* The one record, or NULL; the caller frees it. */
static json_t *only(json_t *result)
{
	json_t *records = records_of(result), *one = NULL;

	if (json_array_size(records) > 1)
		fail_msg("more than one: %s", dump(records));
	if (json_array_size(records) == 1)
		one = json_incref(json_array_get(records, 0));
	json_decref(records);
	return one;
}

/* The one who had it at that moment; NULL: nobody. */
static json_t *at(const char *number, double s)
{
	char more[64];

	snprintf(more, sizeof(more), ",'at':%.3f", s);
	return only(ask_number(number, more));
}

static void was_of(const char *number, double s, const char *peer)
{
	json_t *one = at(number, s);

	if (peer == NULL)
		assert_null(one);
	else if (one == NULL)
		fail_msg("nobody had %s, and not %s", number, peer);
	else
		assert_string_equal(text(one, "peer"), peer);
	json_decref(one);
}

static void is_null(const json_t *object, const char *name)
{
	assert_true(json_is_null(json_object_get(object, name)));
}

static double real(const json_t *object, const char *name)
{
	assert_true(json_is_number(json_object_get(object, name)));
	return json_number_value(json_object_get(object, name));
}

static void is_near(double got, double wanted)
{
	if (got < wanted - 2 || got > wanted + 2)
		fail_msg("%.3f, not about %.3f", got, wanted);
}

/* How many rows the file has of it. */
static int rows(void)
{
	sqlite3_stmt *st;
	sqlite3 *file;
	int n;

	assert_int_equal(sqlite3_open(db, &file), SQLITE_OK);
	assert_int_equal(
		sqlite3_prepare_v2(file, "SELECT count(*) FROM history", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(file);
	return n;
}

static json_int_t open_at(
	const char *peer, unsigned to_port, unsigned public_port, const char *more)
{
	char params[256];

	snprintf(params, sizeof(params),
		"{'peer':'%s','to_port':%u,'public_address':'" ADDRESS "','public_port':%u%s}",
		peer, to_port, public_port, more);
	return open_lease(&operator, params);
}

static void close_id(json_int_t id)
{
	char params[64];

	snprintf(params, sizeof(params), "{'id':%lld}", (long long)id);
	json_decref(call(&operator, "lease.close", params));
}

/* --- traffic */

/* A session, so that the peer has a block: its public port. */
static uint16_t send_from(const char *peer, uint16_t inner_port)
{
	static const struct flow_limits limits = {
		.filter = FLOW_STRICT, .max_sessions = 100, .max_blocks = 1};
	struct flow_out_key key = {.peer_idx = peer_find(server->peers, peer),
		.inner_v4 = 0x0a000002,
		.remote_v4 = 0xc0000209,
		.inner_port = inner_port,
		.remote_port = 443,
		.proto = IPPROTO_UDP};
	struct flow_session *session;

	assert_int_equal(
		flow_begin_out(flows[0], &key, TRAFFIC_V4, 0, &limits, test_now_ns(), &session),
		FLOW_OK);
	return session->public_port;
}

static void traffic_ends(const char *peer)
{
	flow_peer_forget(flows[0], peer_find(server->peers, peer), test_now_ns());
	pass(NS_IN_S);
	/* The ports have rested. */
	flow_turn(flows[0], test_now_ns(), 1000);
	settle();
}

static char *traffic_number(uint16_t port, char buf[static 64])
{
	snprintf(buf, 64, TRAFFIC_TEXT ":%u/udp", port);
	return buf;
}

/* --- tests */

static void while_it_is_off_only_what_is_open_is_known(void **state)
{
	double before_s = now_s();
	char number_text[64];
	json_int_t id;
	json_t *one;
	uint16_t port;

	add_peer(&operator, "alice", 2);
	pass(10 * NS_IN_S);
	id = open_at("alice", 80, 40001, ",'label':'web'");
	port = send_from("alice", 1);
	pass(2 * NS_IN_S);
	one = only(ask_number(ADDRESS ":40001/tcp", ""));
	assert_string_equal(text(one, "peer"), "alice");
	assert_string_equal(text(one, "kind"), "lease");
	assert_string_equal(text(one, "opened_by"), "control");
	assert_string_equal(text(one, "label"), "web");
	is_null(one, "closed_s");
	json_decref(one);
	was_of(ADDRESS ":40001/udp", before_s, NULL);
	was_of(ADDRESS ":40001/udp", now_s(), "alice");
	was_of(ADDRESS ":40001/udp", now_s() + 60, NULL);
	was_of(ADDRESS ":40002", now_s(), NULL);
	was_of(traffic_number(port, number_text), now_s(), "alice");
	was_of(traffic_number(port, number_text), before_s, NULL);
	refuse(&operator, "history.list", "{'peer':'alice'}", RPC_REFUSED, "history is off",
		"lease list", NULL);
	one = ask_number(ADDRESS ":40001", "");
	assert_string_equal(text(one, "mode"), "none");
	is_null(one, "kept_since_s");
	json_decref(one);
	close_id(id);
	traffic_ends("alice");
	one = ask_number(ADDRESS ":40001", "");
	assert_int_equal(json_array_size(json_object_get(one, "records")), 0);
	json_decref(one);
	was_of(traffic_number(port, number_text), now_s(), NULL);
	stop_and_start();
	assert_int_equal(rows(), 0);
}

static void each_moment_has_its_owner(void **state)
{
	double alice_s, free_s, bob_s;
	json_t *one, *records;
	json_int_t id;

	add_peer(&operator, "alice", 2);
	add_peer(&operator, "bob", 3);
	id = open_at("alice", 80, 40001, ",'proto':'tcp','label':'web'");
	pass(20 * NS_IN_S);
	alice_s = now_s();
	pass(20 * NS_IN_S);
	close_id(id);
	pass(5 * NS_IN_S);
	free_s = now_s();
	pass(10 * NS_IN_S);
	open_at("bob", 22, 40001, "");
	pass(5 * NS_IN_S);
	bob_s = now_s();
	for (unsigned i = 0; i < 3; i++) {
		was_of(ADDRESS ":40001/tcp", alice_s, "alice");
		was_of(ADDRESS ":40001/udp", alice_s, NULL);
		was_of(ADDRESS ":40001", alice_s - 60, NULL);
		was_of(ADDRESS ":40001", free_s, NULL);
		was_of(ADDRESS ":40001/udp", bob_s, "bob");
		was_of(ADDRESS ":40001/tcp", bob_s, "bob");
		was_of(ADDRESS ":40000", bob_s, NULL);
		was_of("198.51.100.2:40001", bob_s, NULL);
		if (i == 0)
			kill_and_start(20 * NS_IN_S);
		else
			stop_and_start();
	}
	one = at(ADDRESS ":40001", alice_s);
	assert_int_equal(number(one, "id"), id);
	assert_string_equal(text(one, "public_key"), key_text(2));
	assert_string_equal(text(one, "proto"), "tcp");
	assert_string_equal(text(one, "public_address"), ADDRESS);
	assert_int_equal(number(one, "first_port"), 40001);
	assert_int_equal(number(one, "ports"), 1);
	assert_string_equal(text(one, "to_address"), "10.0.0.2");
	assert_int_equal(number(one, "to_port"), 80);
	assert_string_equal(text(one, "label"), "web");
	assert_string_equal(text(one, "opened_by"), "control");
	assert_int_equal(number(one, "opened_uid"), getuid());
	is_near(real(one, "opened_s"), alice_s - 20);
	assert_string_equal(text(one, "closed_by"), "control");
	assert_int_equal(number(one, "closed_uid"), getuid());
	assert_string_equal(text(one, "reason"), "closed");
	is_near(real(one, "closed_s"), alice_s + 20);
	is_null(one, "known_until_s");
	json_decref(one);
	/* Without a moment: all of them, the oldest first. */
	records = records_of(ask_number(ADDRESS ":40001", ""));
	assert_int_equal(json_array_size(records), 2);
	assert_string_equal(text(json_array_get(records, 1), "peer"), "bob");
	is_null(json_array_get(records, 1), "closed_s");
	json_decref(records);
	/* A whole second is meant by its number: of it both ends count. */
	{
		char more[64];

		snprintf(more, sizeof(more), ",'at':%lld", (long long)alice_s);
		one = only(ask_number(ADDRESS ":40001", more));
		assert_string_equal(text(one, "peer"), "alice");
		json_decref(one);
	}
}

static void what_a_peer_had_is_known_by_its_key(void **state)
{
	char params[256];
	double first_s = 0;
	json_t *result;

	add_peer(&operator, "alice", 2);
	add_peer(&operator, "bob", 3);
	for (unsigned i = 0; i < 5; i++) {
		json_int_t id = open_at("alice", 80, 40000 + i, "");

		if (i == 0)
			first_s = now_s();
		open_at("bob", 90 + i, 40050 + i, "");
		pass(10 * NS_IN_S);
		close_id(id);
	}
	json_decref(call(&operator, "peer.del", "{'peer':'alice'}"));
	refuse(&operator, "history.list", "{'peer':'alice'}", RPC_NOT_FOUND, "public key", NULL);
	result = call(&operator, "history.list", "{'peer':'bob','limit':2}");
	assert_int_equal(json_array_size(json_object_get(result, "records")), 2);
	snprintf(params, sizeof(params), "{'peer':'bob','limit':2,'cursor':%lld}",
		(long long)number(result, "next"));
	json_decref(result);
	result = call(&operator, "history.list", params);
	assert_int_equal(
		number(json_array_get(json_object_get(result, "records"), 0), "first_port"), 40052);
	json_decref(result);
	snprintf(params, sizeof(params), "{'peer':'%s'}", key_text(2));
	result = call(&operator, "history.list", params);
	assert_int_equal(json_array_size(json_object_get(result, "records")), 5);
	is_null(result, "next");
	assert_string_equal(
		text(json_array_get(json_object_get(result, "records"), 4), "peer"), "alice");
	json_decref(result);
	snprintf(params, sizeof(params), "{'peer':'%s','since':%.3f,'until':%.3f}", key_text(2),
		first_s + 15, first_s + 25);
	result = call(&operator, "history.list", params);
	assert_int_equal(json_array_size(json_object_get(result, "records")), 2);
	json_decref(result);
}

/* A port in the middle is its lease's, while it is open and afterwards. */
static void a_range_is_one_record(void **state)
{
	double open_s;
	json_int_t id;
	json_t *one;

	add_peer(&operator, "alice", 2);
	id = open_lease(&operator, "{'peer':'alice','to_port':7000,'ports':8,"
				   "'public_address':'" ADDRESS "','public_port':40008}");
	pass(5 * NS_IN_S);
	open_s = now_s();
	was_of(ADDRESS ":40013/udp", open_s, "alice");
	pass(5 * NS_IN_S);
	close_id(id);
	for (unsigned i = 0; i < 2; i++) {
		was_of(ADDRESS ":40007", open_s, NULL);
		was_of(ADDRESS ":40008", open_s, "alice");
		was_of(ADDRESS ":40015", open_s, "alice");
		was_of(ADDRESS ":40016", open_s, NULL);
		stop_and_start();
	}
	one = at(ADDRESS ":40012", open_s);
	assert_int_equal(number(one, "first_port"), 40008);
	assert_int_equal(number(one, "ports"), 8);
	assert_int_equal(number(one, "to_port"), 7000);
	json_decref(one);
	assert_int_equal(rows(), 1);
}

/* Who opened it, who closed it, and why. */
static void is_told(
	const char *number_text, const char *opened_by, const char *closed_by, const char *reason)
{
	json_t *records, *one;

	settle();
	records = records_of(ask_number(number_text, ""));
	one = json_array_get(records, json_array_size(records) - 1);
	assert_string_equal(text(one, "opened_by"), opened_by);
	assert_string_equal(text(one, "closed_by"), closed_by);
	assert_string_equal(text(one, "reason"), reason);
	json_decref(records);
}

static char *number_of(const char *peer, uint8_t proto, uint16_t inner_port, char buf[static 64])
{
	const struct lease *lease = lease_of(peer_find(server->peers, peer), proto, inner_port);
	char addr[IP_TEXT_CHARS];

	assert_non_null(lease);
	snprintf(buf, 64, "%s:%u", ip_addr_format(&lease->public_addr, addr), lease->public_port);
	return buf;
}

static void each_interface_is_named(void **state)
{
	char natpmp_text[64], pcp_text[64], text_buf[64];
	struct pcp m;

	add_client();
	natpmp_map(alice, PORTMAP_NATPMP_TCP, 3, 0, 600);
	number_of("alice", LEASE_PROTO_TCP, 3, natpmp_text);
	natpmp_ask(alice, PORTMAP_NATPMP_TCP, 3, 0, 0);
	is_told(natpmp_text, "natpmp", "natpmp", "closed");
	m = pcp_map(alice, 17, 4, 0, 600);
	pcp_granted(alice, &m);
	number_of("alice", LEASE_PROTO_UDP, 4, pcp_text);
	pass(HOUR_NS);
	is_told(pcp_text, "pcp", "gateway", "expired");
	open_lease(&operator, "{'peer':'alice','to_port':5,'idle_s':60}");
	number_of("alice", LEASE_PROTO_UDP, 5, text_buf);
	pass(61 * NS_IN_S);
	pass(2 * NS_IN_S);
	is_told(text_buf, "control", "gateway", "idle");
	open_lease(&operator, "{'peer':'alice','to_port':6}");
	number_of("alice", LEASE_PROTO_UDP, 6, text_buf);
	json_decref(call(&operator, "peer.bar", "{'peer':'alice'}"));
	is_told(text_buf, "control", "control", "peer barred");
	json_decref(call(&operator, "peer.unbar", "{'peer':'alice'}"));
	open_lease(&operator, "{'peer':'alice','to_port':7}");
	number_of("alice", LEASE_PROTO_UDP, 7, text_buf);
	json_decref(call(&operator, "peer.del", "{'peer':'alice'}"));
	is_told(text_buf, "control", "control", "peer deleted");
	/* Renewals are no news: one record each. */
	assert_int_equal(rows(), 5);
}

static void what_nobody_closed_says_what_is_known(void **state)
{
	double killed_s, stopped_s;
	json_t *records, *one;

	configure_peer(0, "alice", 2);
	configure_lease(0, 40001, 80);
	stop_and_start();
	pass(HOUR_NS);
	pass(30 * NS_IN_S);
	settle();
	killed_s = now_s();
	kill_and_start(100 * NS_IN_S);
	pass(HOUR_NS);
	stopped_s = now_s();
	end();
	clock_offset_ns += 500 * NS_IN_S;
	begin_again();
	records = records_of(ask_number(ADDRESS ":40001/tcp", ""));
	assert_int_equal(json_array_size(records), 3);
	one = json_array_get(records, 0);
	assert_string_equal(text(one, "opened_by"), "conf");
	assert_string_equal(text(one, "closed_by"), "gateway");
	assert_string_equal(text(one, "reason"), "gateway died");
	assert_in_range(real(one, "known_until_s"), killed_s - 31, killed_s + 1);
	is_near(real(one, "closed_s"), killed_s + 100);
	one = json_array_get(records, 1);
	assert_string_equal(text(one, "reason"), "gateway stopped");
	is_null(one, "known_until_s");
	is_near(real(one, "closed_s"), stopped_s);
	is_null(json_array_get(records, 2), "closed_s");
	json_decref(records);
	was_of(ADDRESS ":40001", stopped_s + 100, NULL);
	/* It may have had it after what is known. */
	was_of(ADDRESS ":40001", killed_s + 50, "alice");
}

static void a_block_is_one_record(void **state)
{
	char port_text[64], next_text[64];
	double alice_s, bob_s, killed_s;
	uint16_t port, next;
	json_t *one;

	add_peer(&operator, "alice", 2);
	add_peer(&operator, "bob", 3);
	port = send_from("alice", 1);
	send_from("alice", 2);
	pass(20 * NS_IN_S);
	alice_s = now_s();
	was_of(traffic_number(port, port_text), alice_s, "alice");
	traffic_ends("alice");
	/* Two blocks there are: one of them is bob's before long. */
	do {
		pass(20 * NS_IN_S);
		next = send_from("bob", 1);
		pass(2 * NS_IN_S);
		bob_s = now_s();
		if (next / BLOCK_PORTS != port / BLOCK_PORTS)
			traffic_ends("bob");
	} while (next / BLOCK_PORTS != port / BLOCK_PORTS);
	was_of(port_text, alice_s, "alice");
	was_of(port_text, bob_s, "bob");
	was_of(traffic_number(next, next_text), bob_s, "bob");
	pass(11 * NS_IN_S);
	settle();
	killed_s = now_s();
	kill_and_start(60 * NS_IN_S);
	was_of(port_text, alice_s, "alice");
	was_of(port_text, bob_s, "bob");
	was_of(port_text, now_s() + 1, NULL);
	one = at(port_text, bob_s);
	assert_string_equal(text(one, "kind"), "block");
	assert_string_equal(text(one, "proto"), "all");
	assert_int_equal(number(one, "ports"), BLOCK_PORTS);
	assert_int_equal(number(one, "first_port"), port / BLOCK_PORTS * BLOCK_PORTS);
	assert_string_equal(text(one, "opened_by"), "traffic");
	assert_string_equal(text(one, "reason"), "gateway died");
	assert_in_range(real(one, "known_until_s"), bob_s, killed_s + 1);
	is_null(one, "to_port");
	json_decref(one);
	one = at(port_text, alice_s);
	assert_string_equal(text(one, "reason"), "released");
	assert_string_equal(text(one, "closed_by"), "traffic");
	json_decref(one);
}

/* A worker claims and releases faster than control looks: the end of a block was not recorded. */
static void a_lost_end_is_closed_by_the_next_beginning(void **state)
{
	struct flow_record record = {.public_v4 = TRAFFIC_V4,
		.first_port = 1024,
		.n_ports = BLOCK_PORTS,
		.is_claimed = true};
	json_t *records;

	add_peer(&operator, "alice", 2);
	add_peer(&operator, "bob", 3);
	record.peer_idx = peer_find(server->peers, "alice");
	record.at_ns = test_now_ns();
	flow_records_add(flows_records(flows[0]), &record);
	pass(10 * NS_IN_S);
	record.peer_idx = peer_find(server->peers, "bob");
	record.at_ns = test_now_ns();
	flow_records_add(flows_records(flows[0]), &record);
	pass(10 * NS_IN_S);
	settle();
	records = records_of(ask_number(TRAFFIC_TEXT ":1100/tcp", ""));
	assert_int_equal(json_array_size(records), 2);
	assert_string_equal(text(json_array_get(records, 0), "peer"), "alice");
	assert_string_equal(text(json_array_get(records, 0), "reason"), "record lost");
	assert_true(real(json_array_get(records, 0), "known_until_s") <
		    real(json_array_get(records, 0), "closed_s") - 5);
	assert_string_equal(text(json_array_get(records, 1), "peer"), "bob");
	is_null(json_array_get(records, 1), "closed_s");
	json_decref(records);
}

static void it_is_switched_while_it_runs(void **state)
{
	char number_text[64];
	double early_s;
	uint16_t port;
	json_t *result;
	json_int_t id;

	add_peer(&operator, "alice", 2);
	id = open_at("alice", 80, 40001, "");
	open_at("alice", 81, 40002, "");
	port = send_from("alice", 1);
	pass(5 * NS_IN_S);
	early_s = now_s();
	pass(5 * NS_IN_S);
	/* What is open when it begins is recorded, as of when it was opened. */
	switch_to(CONF_HISTORY_FULL);
	pass(2 * NS_IN_S);
	pass(2 * NS_IN_S);
	close_id(id);
	assert_int_equal(rows(), 3);
	was_of(ADDRESS ":40001", early_s, "alice");
	was_of(traffic_number(port, number_text), early_s, "alice");
	result = ask_number(ADDRESS ":40001", "");
	assert_string_equal(text(result, "mode"), "full");
	is_near(real(result, "kept_since_s"), early_s + 5);
	json_decref(result);
	/* A number that ends before the sweep comes to it has a whole record. */
	switch_to(CONF_HISTORY_NONE);
	id = open_at("alice", 82, 40003, "");
	switch_to(CONF_HISTORY_FULL);
	close_id(id);
	was_of(ADDRESS ":40003", now_s() + 1, NULL);
	result = only(ask_number(ADDRESS ":40003", ""));
	assert_string_equal(text(result, "reason"), "closed");
	json_decref(result);
	/* What was kept is gone with the first switch, and all with the last. */
	was_of(ADDRESS ":40001", early_s, NULL);
	switch_to(CONF_HISTORY_NONE);
	for (unsigned i = 0; rows() > 0 && i < 1000; i++)
		settle();
	assert_int_equal(rows(), 0);
	was_of(ADDRESS ":40003", early_s, NULL);
	was_of(ADDRESS ":40002", early_s, "alice"); /* it is open */
}

static void a_file_of_when_it_was_on_is_emptied(void **state)
{
	add_peer(&operator, "alice", 2);
	close_id(open_at("alice", 80, 40001, ""));
	assert_int_equal(rows(), 1);
	server->conf.history_mode = CONF_HISTORY_NONE;
	stop_and_start();
	for (unsigned i = 0; rows() > 0 && i < 1000; i++)
		settle();
	assert_int_equal(rows(), 0);
}

static void what_is_old_goes(void **state)
{
	json_int_t id;

	server->conf.history_retention_ns = 600 * NS_IN_S;
	add_peer(&operator, "alice", 2);
	close_id(open_at("alice", 80, 40001, ""));
	id = open_at("alice", 81, 40002, ",'ttl_s':80000");
	pass(500 * NS_IN_S);
	close_id(open_at("alice", 82, 40003, ""));
	pass(50 * NS_IN_S);
	assert_int_equal(rows(), 3);
	pass(100 * NS_IN_S);
	pass(11 * NS_IN_S);
	for (unsigned i = 0; rows() > 2 && i < 1000; i++)
		settle();
	assert_int_equal(rows(), 2);
	/* What is open is never old. */
	pass(2 * HOUR_NS);
	for (unsigned i = 0; rows() > 1 && i < 1000; i++)
		settle();
	assert_int_equal(rows(), 1);
	close_id(id);
	was_of(ADDRESS ":40002", now_s() - 10, "alice");
}

static void what_is_asked_badly_is_refused(void **state)
{
	refuse(&operator, "history.list", "{}", RPC_INVALID_PARAMS, "whose history", NULL);
	refuse(&operator, "history.list", "{'number':'1.2.3.4:5','peer':'x'}", RPC_INVALID_PARAMS,
		"whose history", NULL);
	refuse(&operator, "history.list", "{'number':'1.2.3.4'}", RPC_INVALID_PARAMS, "1.2.3.4",
		"198.51.100.7:20001/tcp", NULL);
	refuse(&operator, "history.list", "{'number':'1.2.3.4:0'}", RPC_INVALID_PARAMS, NULL);
	refuse(&operator, "history.list", "{'number':'1.2.3.4:5/icmp'}", RPC_INVALID_PARAMS,
		"tcp or udp", NULL);
	refuse(&operator, "history.list", "{'number':'1.2.3.4:5','at':1,'since':2}",
		RPC_INVALID_PARAMS, "at, or", NULL);
	refuse(&operator, "history.list", "{'number':'1.2.3.4:5','at':9e10}", RPC_INVALID_PARAMS,
		"too far", NULL);
	refuse(&operator, "history.list", "{'number':'1.2.3.4:5','limit':5000}", RPC_INVALID_PARAMS,
		"limit", NULL);
	json_decref(ask_number("[2001:db8::1]:65535/udp", ""));
}

int main(void)
{
#define OFF(name)  cmocka_unit_test_setup_teardown(name, setup_off, teardown_all)
#define FULL(name) cmocka_unit_test_setup_teardown(name, setup_full, teardown_all)
	const struct CMUnitTest tests[] = {
		OFF(while_it_is_off_only_what_is_open_is_known),
		FULL(each_moment_has_its_owner),
		FULL(what_a_peer_had_is_known_by_its_key),
		FULL(a_range_is_one_record),
		FULL(each_interface_is_named),
		FULL(what_nobody_closed_says_what_is_known),
		FULL(a_block_is_one_record),
		FULL(a_lost_end_is_closed_by_the_next_beginning),
		OFF(it_is_switched_while_it_runs),
		FULL(a_file_of_when_it_was_on_is_emptied),
		FULL(what_is_old_goes),
		FULL(what_is_asked_badly_is_refused),
	};

	return cmocka_run_group_tests_name("ctl_history", tests, portmap_group_setup, NULL);
}
