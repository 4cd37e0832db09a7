/* ctl_reload_test.c - the configuration, read again: what changes, what waits for a restart, what
 * is refused, and what is left alone.
 */
#include "ctl_server.h"

#include <stdio.h>

static char conf_path[128], key_path[128];

static const char *const base_conf =
	"eal = { lcores = [0, 0]; };\n"
	"ports = ( { name = \"wan\"; device = \"net_null0\"; roles = [\"tunnel\", \"public\"];\n"
	"	addresses = [\"192.0.2.1/24\"]; } );\n"
	"tunnel = { private_key_file = \"%s\"; inner_addresses = [\"10.0.0.1\"]; %s };\n"
	"public = { pool = [\"198.51.100.0/30\"]; };\n"
	"leases = { ports = \"40000-40099\"; max = 64; %s };\n"
	"control = { %s };\n"
	"peers = ( %s );\n";

static void write_file(const char *path, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void write_file(const char *path, const char *fmt, ...)
{
	FILE *f = fopen(path, "w");
	va_list ap;

	assert_non_null(f);
	va_start(ap, fmt);
	assert_true(vfprintf(f, fmt, ap) > 0);
	va_end(ap);
	assert_int_equal(fclose(f), 0);
}

/* Keys of the groups tunnel, leases and control, and the list of peers. */
static void write_conf(
	const char *tunnel, const char *leases, const char *control, const char *peers)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	write_file(conf_path, base_conf, key_path, tunnel, leases, control, peers);
#pragma GCC diagnostic pop
}

/* An entry of the list; more are its further keys. */
static const char *peer_entry(unsigned n, const char *name, const char *more)
{
	static char text[4][512];
	static unsigned next;
	char *buf = text[next++ % 4];

	snprintf(buf, sizeof(text[0]),
		"{ public_key = \"%s\"; name = \"%s\"; address = \"10.0.0.%u\"; %s }", key_text(n),
		name, n, more);
	return buf;
}

static void print_fault(void *arg, const char *sentence)
{
	fprintf(stderr, "%s\n", sentence);
}

static int setup(void **state)
{
	struct server *s = server_create();
	struct ctl_params p;
	struct conf *conf;
	char fault[CTL_FAULT_CHARS];

	snprintf(conf_path, sizeof(conf_path), "%s/portier.conf", s->dir);
	snprintf(key_path, sizeof(key_path), "%s/key", s->dir);
	write_file(key_path, "%s\n", key_text(77));
	assert_int_equal(chmod(key_path, 0600), 0);
	write_conf("", "", "",
		peer_entry(2, "alice",
			"forwarding = true; leases = "
			"( { public_port = 40001; to_port = 80; }, { public_port = 40002; to_port "
			"= 81; } );"));
	assert_int_equal(conf_load(conf_path, print_fault, NULL, &conf), 0);
	snprintf(conf->socket_path, sizeof(conf->socket_path), "%s", s->conf.socket_path);
	conf->uapi_name[0] = '\0';
	/* The gateway runs with what the file said. */
	s->conf = *conf;
	p = server_params(s);
	p.conf_path = conf_path;
	s->ctl = ctl_create(&p, fault);
	if (s->ctl == NULL || ctl_load_conf(s->ctl, fault) != 0)
		fail_msg("%s", fault);
	free(conf);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct server *s = *state;

	free(s->conf.peers);
	free(s->conf.leases);
	unlink(conf_path);
	unlink(key_path);
	server_destroy(s);
	return 0;
}

static bool has_text(const json_t *list, const char *wanted)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (strstr(json_string_value(item), wanted) != NULL)
			return true;
	}
	return false;
}

/* The socket's path and the name for wg are the test's own: they always differ. */
static void assert_restart_only(const json_t *result, const char *key)
{
	const json_t *list = json_object_get(result, "at_restart");

	assert_true(has_text(list, "control.socket"));
	assert_true(has_text(list, "control.uapi_name"));
	assert_int_equal(json_array_size(list), key == NULL ? 2 : 3);
	assert_true(key == NULL || has_text(list, key));
}

static void assert_counts(const json_t *result, unsigned added, unsigned changed, unsigned deleted,
	unsigned opened, unsigned closed)
{
	assert_int_equal(number(result, "peers_added"), added);
	assert_int_equal(number(result, "peers_changed"), changed);
	assert_int_equal(number(result, "peers_deleted"), deleted);
	assert_int_equal(number(result, "leases_opened"), opened);
	assert_int_equal(number(result, "leases_closed"), closed);
}

#define ALICE_LEASES                                                      \
	"forwarding = true; leases = ( { public_port = 40001; to_port = " \
	"80; }, { public_port = 40002; to_port = 81; } );"

static void test_nothing_new(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *result;

	client_open(&c, s);
	result = call(&c, "reload", "{}");
	assert_restart_only(result, NULL);
	assert_int_equal(json_array_size(json_object_get(result, "applied")), 0);
	assert_int_equal(json_array_size(json_object_get(result, "refused")), 0);
	assert_counts(result, 0, 0, 0, 0, 0);
	json_decref(result);
	client_close(&c);
}

static void test_keys(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *result;
	json_int_t id;

	client_open(&c, s);
	write_conf("listen_port = 4000;",
		"max_ttl = \"10m\"; default_ttl = \"5m\"; max_per_peer = 3; quarantine = \"7s\";",
		"log_level = \"debug\";", peer_entry(2, "alice", "max_leases = 16; " ALICE_LEASES));
	result = call(&c, "reload", "{}");
	assert_restart_only(result, "tunnel.listen_port");
	assert_int_equal(json_array_size(json_object_get(result, "applied")), 5);
	assert_true(has_text(json_object_get(result, "applied"), "control.log_level"));
	assert_counts(result, 0, 0, 0, 0, 0);
	json_decref(result);
	assert_int_equal(s->conf.listen_port, 51820);

	/* They hold for what comes. */
	result = call(&c, "lease.open", "{'peer':'alice','to_port':90}");
	assert_int_equal(number(result, "ttl_s"), 300);
	id = number(result, "id");
	json_decref(result);
	result = call(&c, "lease.open", "{'peer':'alice','to_port':91,'ttl_s':3600}");
	assert_int_equal(number(result, "ttl_s"), 600);
	json_decref(result);
	result = call(&c, "peer.add",
		"{'public_key':'AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=',"
		"'address4':'10.0.0.3'}");
	assert_int_equal(number(result, "max_leases"), 3);
	json_decref(result);
	assert_non_null(lease_get(s->leases, (uint64_t)id));
	client_close(&c);
}

static void test_peers_and_leases(void **state)
{
	struct server *s = *state;
	const struct lease *lease;
	struct client c;
	json_t *result;
	char peers[1024];

	client_open(&c, s);
	/* One that came through the socket is no business of the file. */
	json_decref(call(&c, "peer.add",
		"{'public_key':'CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=','name':'guest',"
		"'address4':'10.0.0.9','forwarding':true}"));
	open_lease(&c, "{'peer':'guest','to_port':80,'public_port':40050}");

	snprintf(peers, sizeof(peers), "%s, %s",
		peer_entry(2, "alice",
			"forwarding = true; persistent_keepalive_s = 9; leases = "
			"( { public_port = 40002; to_port = 81; }, { public_port = 40003; to_port "
			"= 82; } );"),
		peer_entry(3, "bob", ""));
	write_conf("", "", "", peers);
	result = call(&c, "reload", "{}");
	assert_counts(result, 1, 1, 0, 1, 1);
	assert_int_equal(json_array_size(json_object_get(result, "refused")), 0);
	json_decref(result);
	assert_int_equal(peers_count(s->peers), 3);
	assert_int_equal(lease_count(s->leases, UINT32_MAX), 3);
	lease = lease_find_public(s->leases,
		&lease_next(s->leases, peer_find(s->peers, "alice"), &(uint64_t){0})->public_addr,
		LEASE_PROTO_BOTH, 40003);
	assert_non_null(lease);
	assert_int_equal(lease->expires_ns, TIME_NEVER);

	/* Alice goes, with her leases; bob may have one. */
	write_conf("", "", "",
		peer_entry(3, "bob",
			"forwarding = true; leases = "
			"( { public_port = 40009; to_port = 1; } );"));
	result = call(&c, "reload", "{}");
	assert_counts(result, 0, 1, 1, 1, 2);
	json_decref(result);
	assert_int_equal(peer_find(s->peers, "alice"), PEER_NONE);

	/* All go; the guest stays. */
	write_conf("", "", "", "");
	result = call(&c, "reload", "{}");
	assert_counts(result, 0, 0, 1, 0, 1);
	json_decref(result);
	assert_int_equal(peers_count(s->peers), 1);
	assert_int_equal(lease_count(s->leases, UINT32_MAX), 1);
	client_close(&c);
}

static void expect_limits(struct server *s, uint64_t id, uint32_t max_pps, uint32_t max_new_flows)
{
	const struct lease *lease = lease_get(s->leases, id);
	struct door *door;
	struct door_public_key key = {.port_be16 = rte_cpu_to_be_16(40002), .proto = 6};

	assert_non_null(lease);
	assert_int_equal(lease->max_pps, max_pps);
	assert_int_equal(lease->max_new_flows, max_new_flows);
	memcpy(key.addr_v4, ip_v4_bytes(&lease->public_addr), sizeof(key.addr_v4));
	door = doors_lookup_public(s->doors, &key);
	assert_non_null(door);
	assert_true(door_terms_equal(door_terms_of(door), lease));
}

/* Its own, and those that it has from the group; what is under way goes on. */
static void test_limits_of_a_lease(void **state)
{
	static const char *const one = "forwarding = true; leases = "
				       "( { public_port = 40002; to_port = 81; %s } );";
	struct server *s = *state;
	char more[256];
	struct client c;
	json_t *result;
	uint64_t id = 0;

	client_open(&c, s);
	for (unsigned i = 0; i < 4; i++) {
		static const char *const own[] = {"", "", "max_pps = 7;", ""};
		static const char *const group[] = {
			"", "max_pps = 100; max_new_flows = 5;", "max_new_flows = 6;", ""};
		static const uint32_t want[][2] = {{0, 0}, {100, 5}, {7, 6}, {0, 0}};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(more, sizeof(more), one, own[i]);
#pragma GCC diagnostic pop
		write_conf("", group[i], "", peer_entry(2, "alice", more));
		result = call(&c, "reload", "{}");
		assert_int_equal(json_array_size(json_object_get(result, "refused")), 0);
		if (i > 0) {
			assert_int_equal(number(result, "leases_opened"), 0);
			assert_int_equal(number(result, "leases_closed"), 0);
		}
		json_decref(result);
		if (i == 0)
			id = lease_next(s->leases, peer_find(s->peers, "alice"), &(uint64_t){0})
				     ->id;
		expect_limits(s, id, want[i][0], want[i][1]);
	}
	client_close(&c);
}

/* What cannot be done is said, and the rest is done. */
static void test_refused(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *result;
	char peers[1024];

	client_open(&c, s);
	json_decref(call(&c, "peer.add",
		"{'public_key':'CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=','name':'bob',"
		"'address4':'10.0.0.9'}"));
	snprintf(peers, sizeof(peers), "%s, %s, %s", peer_entry(2, "alice", ALICE_LEASES),
		peer_entry(3, "bob", ""), peer_entry(4, "carol", ""));
	write_conf("", "", "", peers);
	result = call(&c, "reload", "{}");
	assert_counts(result, 1, 0, 0, 0, 0);
	assert_int_equal(json_array_size(json_object_get(result, "refused")), 1);
	assert_true(has_text(json_object_get(result, "refused"), "bob"));
	json_decref(result);
	assert_int_not_equal(peer_find(s->peers, "carol"), PEER_NONE);
	client_close(&c);
}

/* It needs a store, which takes a restart. */
static void test_history(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *result;

	client_open(&c, s);
	write_conf("", "", "}; history = { mode = \"full\"; retention = \"90d\";",
		peer_entry(2, "alice", ALICE_LEASES));
	refuse(&c, "reload", "{}", RPC_REFUSED, "store.path", "nothing was changed", NULL);
	write_conf("", "",
		"}; store = { path = \"/nonexistent/portier.db\"; }; history = { mode = \"full\"; "
		"retention = \"90d\";",
		peer_entry(2, "alice", ALICE_LEASES));
	result = call(&c, "reload", "{}");
	assert_restart_only(result, "store.path");
	assert_true(has_text(json_object_get(result, "applied"), "history.retention"));
	assert_true(has_text(json_object_get(result, "refused"), "waits for the next start"));
	json_decref(result);
	result = call(&c, "history.list", "{'number':'198.51.100.1:40001'}");
	assert_string_equal(text(result, "mode"), "none");
	json_decref(result);
	client_close(&c);
}

/* What the file says of one who is barred is refused, each time, and the rest is done. */
static void test_barred(void **state)
{
	struct server *s = *state;
	char peers[1024];
	struct client c;
	json_t *result;

	client_open(&c, s);
	json_decref(call(&c, "peer.bar", "{'peer':'alice'}"));
	assert_int_equal(lease_count(s->leases, UINT32_MAX), 0);
	snprintf(peers, sizeof(peers), "%s, %s",
		peer_entry(2, "alice", "max_leases = 9; " ALICE_LEASES),
		peer_entry(3, "bob",
			"forwarding = true; leases = ( { public_port = 40009; to_port = 1; } );"));
	write_conf("", "", "", peers);
	for (unsigned i = 0; i < 2; i++) {
		result = call(&c, "reload", "{}");
		assert_int_equal(number(result, "leases_opened"), i == 0 ? 1 : 0);
		assert_int_equal(json_array_size(json_object_get(result, "refused")), 2);
		assert_true(has_text(json_object_get(result, "refused"),
			"peer alice is barred; let it have leases again with: portierctl peer "
			"unbar alice"));
		json_decref(result);
	}
	json_decref(call(&c, "peer.unbar", "{'peer':'alice'}"));
	result = call(&c, "reload", "{}");
	assert_counts(result, 0, 0, 0, 2, 0);
	assert_int_equal(json_array_size(json_object_get(result, "refused")), 0);
	json_decref(result);
	client_close(&c);
}

/* A file with faults changes nothing. */
static void test_unsound_file(void **state)
{
	struct server *s = *state;
	struct client c;

	client_open(&c, s);
	write_conf("", "max_ttl = \"10m\"; max_ttls = 3;", "", "");
	refuse(&c, "reload", "{}", RPC_REFUSED, "max_ttls", "nothing was changed", NULL);
	unlink(conf_path);
	refuse(&c, "reload", "{}", RPC_REFUSED, conf_path, "nothing was changed", NULL);
	assert_int_equal(s->conf.max_ttl_ns, 24 * 3600 * NS_IN_S);
	assert_int_equal(lease_count(s->leases, UINT32_MAX), 2);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing_new, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peers_and_leases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits_of_a_lease, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_barred, setup, teardown),
		cmocka_unit_test_setup_teardown(test_history, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unsound_file, setup, teardown),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
