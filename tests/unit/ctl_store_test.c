/* ctl_store_test.c - what was acknowledged is there after a restart; what the configuration says
 * and what the store says; a store that cannot be written. */
#include "ctl/server.h"
#include "ctl_restart.h"
#include "failing_vfs.h"

/* --- what comes back */

static void peers_and_leases_come_back(void **state)
{
	char params[512];
	char *peer, *lease;

	snprintf(params, sizeof(params),
		"{'public_key':'%s','name':'carol','address4':'10.0.0.9','address6':'fd00::9',"
		"'endpoint':'203.0.113.9:1024','preshared_key':'%s','forwarding':true,"
		"'portmap':true,'max_leases':3,'filter':'open','max_sessions':99,"
		"'routes':['2001:db8:77::/64'],'persistent_keepalive_s':25}",
		key_text(9), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	json_decref(call(&operator, "peer.add", params));
	add_peer(&operator, "alice", 2);
	json_decref(call(&operator, "peer.set", "{'peer':'alice','name':'alicia'}"));
	add_peer(&operator, "bob", 3);
	json_decref(call(&operator, "peer.del", "{'peer':'bob'}"));
	open_lease(&operator,
		"{'peer':'carol','to_port':5001,'proto':'tcp','public_port':40010,'ttl_s':7200,"
		"'idle_s':3600,'until':1900000000,'from':['192.0.2.0/24','2001:db8::/32'],"
		"'max_pps':1000,'max_new_flows':50,'label':'web \\u00e9'}");
	json_decref(call(&operator, "lease.renew", "{'id':1,'ttl_s':9000}"));
	open_lease(&operator, "{'peer':'carol','to_port':5001,'proto':'udp'}");
	open_lease(&operator, "{'peer':'alicia','to_port':7}");
	json_decref(call(&operator, "lease.close", "{'id':3}"));
	peer = lasting(call(&operator, "peer.show", "{'peer':'carol'}"));
	lease = lasting(call(&operator, "lease.show", "{'id':1}"));

	restart();
	is_as_before("peer.show", "{'peer':'carol'}", peer);
	is_as_before("lease.show", "{'id':1}", lease);
	assert_int_equal(leases_count(), 2);
	assert_int_equal(count("peer.list", "{}", "peers"), 2);
	assert_int_equal(count("lease.reserved", "{}", "reserved"), 1);
	refuse(&operator, "peer.show", "{'peer':'bob'}", RPC_NOT_FOUND, NULL);
	/* The id of the closed one is not given again, and its owner has its port back. */
	assert_int_equal(open_lease(&operator, "{'peer':'alicia','to_port':7}"), 4);
	assert_int_equal(count("lease.reserved", "{}", "reserved"), 0);
	assert_memory_equal(
		peer_conf_get(server->peers, peer_find(server->peers, "carol"))->preshared_key,
		"\x00\x01\x02\x03", 4);
}

static void what_ended_meanwhile_is_kept_for_its_owner(void **state)
{
	json_t *held, *one;

	add_peer(&operator, "alice", 2);
	add_peer(&operator, "bob", 3);
	open_lease(&operator, "{'peer':'alice','to_port':7,'public_address':'198.51.100.1',"
			      "'public_port':40007,'ttl_s':600}");
	open_lease(&operator, "{'peer':'alice','to_port':8,'ttl_s':6000}");
	end();
	clock_offset_ns += 601 * NS_IN_S;
	server_tables_create(server);
	begin();
	assert_int_equal(doors_count(server->doors), 1); /* not even for a moment */
	ctl_tick(server->ctl);
	assert_int_equal(leases_count(), 1);
	held = call(&operator, "lease.reserved", "{}");
	one = json_array_get(json_object_get(held, "reserved"), 0);
	assert_string_equal(text(one, "state"), "reserved");
	assert_string_equal(text(one, "peer"), "alice");
	assert_int_equal(number(one, "public_port"), 40007);
	json_decref(held);
	refuse(&operator, "lease.open",
		"{'peer':'bob','to_port':7,'public_address':'198.51.100.1','public_port':40007}",
		RPC_IN_USE, NULL);
	/* That is on disk, too. */
	restart();
	assert_int_equal(count("lease.reserved", "{}", "reserved"), 1);
	/* Its owner deleted, it is in quarantine, and then anybody's. */
	json_decref(call(&operator, "peer.del", "{'peer':'alice'}"));
	restart();
	refuse(&operator, "lease.open",
		"{'peer':'bob','to_port':7,'public_address':'198.51.100.1','public_port':40007}",
		RPC_IN_USE, NULL);
	pass(121 * NS_IN_S);
	open_lease(&operator,
		"{'peer':'bob','to_port':7,'public_address':'198.51.100.1','public_port':40007}");
}

/* As its worker would. */
static void use_lease(uint64_t id)
{
	const struct lease *l = lease_get(server->leases, id);
	const struct door_public_key key = {
		.addr_v4 = {l->public_addr.bytes[12], l->public_addr.bytes[13],
			l->public_addr.bytes[14], l->public_addr.bytes[15]},
		.port_be16 = htons(l->public_port),
		.proto = IPPROTO_TCP,
	};
	struct door *door;

	door = doors_lookup_public(server->doors, &key);
	assert_non_null(door);
	door->counters.last_used_ns = test_now_ns();
}

static void is_forgotten(unsigned days, unsigned n)
{
	char params[64];

	snprintf(params, sizeof(params), "{'unused_s':%u}", days * 86400);
	assert_int_equal(count("lease.list", params, "leases"), n);
}

#define DAY_NS (24 * HOUR_NS)

/* What was not handed to the store yet is lost. What was is on disk before the answer to a change
 * that came later: commits keep their order. */
static void die_and_restart(void)
{
	json_decref(call(&operator, "peer.set", "{'peer':'alice','max_leases':100}"));
	fill_disk();
	end();
	limit_files(RLIM_INFINITY);
	server_tables_create(server);
	begin();
}

/* Used and then ended in order, killed more than an hour later, and used before a renewal. */
static void doors_in_use_are_not_forgotten_by_a_restart(void **state)
{
	add_peer(&operator, "alice", 2);
	server->conf.max_ttl_ns = 365 * DAY_NS;
	for (unsigned i = 0; i < 4; i++) {
		char params[64];

		snprintf(params, sizeof(params), "{'peer':'alice','to_port':%u,'ttl_s':20000000}",
			i + 1);
		open_lease(&operator, params);
	}
	pass(30 * DAY_NS);
	use_lease(1);
	is_forgotten(30, 3);
	restart();
	is_forgotten(30, 3);
	pass(DAY_NS);
	use_lease(2);
	use_lease(3);
	json_decref(call(&operator, "lease.renew", "{'id':3,'ttl_s':20000000}"));
	pass(2 * NS_IN_S); /* a round of the sweep */
	pass(2 * HOUR_NS);
	pass(2 * NS_IN_S);
	die_and_restart();
	is_forgotten(30, 1);
	pass(30 * DAY_NS);
	is_forgotten(30, 4);
	is_forgotten(31, 2);
}

static void a_clock_that_went_back_prolongs_nothing(void **state)
{
	json_t *lease;

	clock_offset_ns += 2 * HOUR_NS;
	add_peer(&operator, "alice", 2);
	open_lease(&operator, "{'peer':'alice','to_port':7,'ttl_s':600}");
	end();
	clock_offset_ns -= 2 * HOUR_NS;
	server_tables_create(server);
	begin();
	lease = call(&operator, "lease.show", "{'id':1}");
	assert_in_range(json_number_value(json_object_get(lease, "expires_in_s")), 590, 600);
	json_decref(lease);
}

/* --- the configuration and the store */

static bool is_forwarding(const char *name)
{
	return peer_conf_get(server->peers, peer_find(server->peers, name))->forwarding;
}

static void a_change_is_stronger_than_the_file_that_it_changed(void **state)
{
	configure_peer(0, "alice", 2);
	configure_peer(1, "bob", 3);
	configure_lease(0, 40001, 80);
	configure_lease(1, 40002, 81);
	restart();
	assert_int_equal(leases_count(), 2);
	json_decref(call(&operator, "peer.set", "{'peer':'alice','max_leases':5}"));
	json_decref(call(&operator, "peer.del", "{'peer':'bob'}"));
	json_decref(call(&operator, "lease.close", "{'id':1}"));
	for (unsigned i = 0; i < 2; i++) {
		restart();
		assert_int_equal(count("peer.list", "{}", "peers"), 1);
		assert_int_equal(
			peer_conf_get(server->peers, peer_find(server->peers, "alice"))->max_leases,
			5);
		assert_int_equal(leases_count(), 1);
		assert_null(lease_find_public(
			server->leases, &conf_leases[0].public_addr, LEASE_PROTO_BOTH, 40001));
	}
	/* Now the file says something else of both peers, and no more of the closed lease. */
	conf_peers[0].max_leases = 7;
	conf_peers[1].max_leases = 7;
	conf_leases[0] = conf_leases[1];
	server->conf.n_leases = 1;
	restart();
	assert_int_equal(count("peer.list", "{}", "peers"), 2);
	assert_int_equal(
		peer_conf_get(server->peers, peer_find(server->peers, "alice"))->max_leases, 7);
	/* Forgotten once it said nothing of it: said again, it counts. */
	configure_lease(1, 40001, 80);
	restart();
	assert_int_equal(leases_count(), 2);
}

static void forwarding_that_was_taken_stays_taken(void **state)
{
	configure_peer(0, "alice", 2);
	configure_lease(0, 40001, 80);
	restart();
	assert_true(is_forwarding("alice"));
	json_decref(call(&operator, "peer.set", "{'peer':'alice','forwarding':false}"));
	restart();
	assert_false(is_forwarding("alice"));
	assert_int_equal(leases_count(), 0);
}

static void pinholes_come_back_and_stay_closed(void **state)
{
	configure_peer(0, "alice", 2);
	conf_peers[0].address6 = address("fd00::2");
	configure_lease(0, 0, 80);
	conf_leases[0].public_addr = (struct ip_addr){0};
	conf_leases[0].inner_addr = conf_peers[0].address6;
	configure_lease(1, 40001, 80);
	restart();
	open_lease(
		&operator, "{'peer':'alice','to_address':'fd00::2','to_port':40001,'ttl_s':600}");
	assert_int_equal(leases_count(), 3);
	json_decref(call(&operator, "lease.close", "{'id':1}"));
	restart();
	assert_int_equal(leases_count(), 2);
	assert_null(
		lease_find_public(server->leases, &conf_peers[0].address6, LEASE_PROTO_BOTH, 80));
	assert_non_null(lease_find_public(
		server->leases, &conf_peers[0].address6, LEASE_PROTO_BOTH, 40001));
}

static void what_contradicts_the_file_is_dropped(void **state)
{
	add_peer(&operator, "alice", 2);
	add_peer(&operator, "bob", 3);
	open_lease(&operator, "{'peer':'bob','to_port':90,'public_port':40001,"
			      "'public_address':'198.51.100.1'}");
	open_lease(&operator, "{'peer':'alice','to_port':80,'public_port':40009,"
			      "'public_address':'198.51.100.2'}");
	/* Alice's address is another's now; bob's port is, too; and dave, who was stored, is in
	 * the file, with a lease on another address. */
	configure_peer(0, "eve", 2);
	assert_int_equal(crypto_key_parse(key_text(50), conf_peers[0].public_key), 0);
	configure_lease(0, 40001, 80);
	restart();
	refuse(&operator, "peer.show", "{'peer':'alice'}", RPC_NOT_FOUND, NULL);
	assert_int_equal(count("lease.list", "{'peer':'bob'}", "leases"), 0);
	assert_int_equal(count("lease.list", "{'peer':'eve'}", "leases"), 1);
	open_lease(&operator, "{'peer':'bob','to_port':91,'public_address':'198.51.100.2'}");
	configure_peer(1, "bob", 3);
	conf_leases[1] = conf_leases[0];
	conf_leases[1].peer_idx = 1;
	conf_leases[1].public_port = 40002;
	server->conf.n_leases = 2;
	restart();
	assert_int_equal(count("lease.list", "{'peer':'bob'}", "leases"), 1);
	/* For good. */
	server->conf.n_peers = server->conf.n_leases = 0;
	restart();
	assert_int_equal(count("peer.list", "{}", "peers"), 0);
	assert_int_equal(leases_count(), 0);
}

static void dedicate(const char *addr)
{
	server->conf.dedicated[0] = prefix(addr);
	server->conf.n_dedicated = 1;
	lease_table_destroy(server->leases);
	server->leases = make_leases(&server->conf);
	server->ctl->p.leases = server->leases;
}

static void is_whole_owner(const char *addr, bool is_one)
{
	struct ip_addr a = address(addr);

	assert_true(
		(lease_find_public(server->leases, &a, LEASE_PROTO_TCP, 443) != NULL) == is_one);
}

/* What the file says of its peer, that was closed, or that is a pinhole, takes nothing from it. */
static void a_whole_address_comes_back(void **state)
{
	dedicate("198.51.100.64/32");
	configure_peer(0, "alice", 2);
	conf_peers[0].address6 = address("fd00::2");
	configure_lease(0, 80, 80);
	conf_leases[0].public_addr = conf_leases[0].inner_addr = conf_peers[0].address6;
	configure_lease(1, 40001, 80);
	restart();
	json_decref(call(&operator, "lease.close", "{'id':2}"));
	open_lease(&operator, "{'peer':'alice','whole_address':true,'ttl_s':600}");
	restart();
	is_whole_owner("198.51.100.64", true);
	assert_int_equal(leases_count(), 2);
	/* The file has another for the peer. */
	configure_lease(1, 40001, 81);
	restart();
	is_whole_owner("198.51.100.64", false);
	assert_int_equal(leases_count(), 2);
}

static void a_pinhole_of_the_file_claims_no_number(void **state)
{
	configure_peer(0, "alice", 2);
	conf_peers[0].address6 = address("fd00::2");
	configure_lease(0, 40001, 40001);
	conf_leases[0].public_addr = conf_leases[0].inner_addr = conf_peers[0].address6;
	restart();
	open_lease(&operator, "{'peer':'alice','to_port':80,'public_port':40001,'ttl_s':600}");
	restart();
	assert_int_equal(leases_count(), 2);
}

static void quotas_of_the_file_come_first(void **state)
{
	add_peer(&operator, "alice", 2);
	for (unsigned i = 0; i < 8; i++) {
		char params[96];

		snprintf(params, sizeof(params),
			"{'peer':'alice','to_port':%u,'public_port':%u,"
			"'public_address':'198.51.100.1'}",
			100 + i, 40002 + i);
		open_lease(&operator, params);
	}
	configure_peer(0, "alice", 2);
	configure_lease(0, 40001, 80);
	restart();
	assert_int_equal(leases_count(), 9);
}

/* --- NAT-PMP and PCP */

static void mappings_are_granted_once_more_and_the_epoch_goes_on(void **state)
{
	struct natpmp_reply r;
	struct pcp m;
	uint16_t port;

	add_client();
	port = natpmp_map(alice, PORTMAP_NATPMP_TCP, 5001, 0, 600);
	m = pcp_map(alice, 17, 5002, 0, 600);
	put_filter(&m, 96 + 24, 0, "192.0.2.0");
	pcp_granted(alice, &m);
	pass(300 * NS_IN_S);
	end();
	clock_offset_ns += 200 * NS_IN_S;
	server_tables_create(server);
	begin();
	alice = peer_find(server->peers, "alice");
	assert_int_equal(leases_count(), 2);
	/* 500 of its 600 s had passed. */
	assert_in_range(
		(lease_of(alice, LEASE_PROTO_TCP, 5001)->expires_ns - test_now_ns()) / NS_IN_S, 590,
		600);
	assert_int_equal(lease_of(alice, LEASE_PROTO_UDP, 5002)->n_sources, 1);
	assert_int_equal(lease_of(alice, LEASE_PROTO_UDP, 5002)->nonce[0], 'n');
	ask_quickly(alice, natpmp(PORTMAP_NATPMP_TCP, 5001, 0, 600).bytes, 12);
	r = natpmp_read(PORTMAP_NATPMP_TCP);
	assert_int_equal(r.result, 0);
	assert_int_equal(r.public_port, port);
	assert_in_range(r.epoch_s, 500, 600);
}

/* --- a store that cannot be written */

static bool is_degraded(void)
{
	json_t *health = call(&operator, "health", "{}");
	char *reasons = dump(json_object_get(health, "reasons"));
	bool is_named = strstr(reasons, db) != NULL && strstr(reasons, "cannot be written") != NULL;

	free(reasons);
	json_decref(health);
	return is_named;
}

static void is_told(struct client *subscriber, const char *name)
{
	json_t *event = client_json(subscriber);
	json_t *params = json_object_get(event, "params");

	assert_string_equal(text(params, "event"), name);
	assert_string_equal(text(params, "path"), db);
	json_decref(event);
}

static void a_full_disk_is_an_error_to_the_asker_and_an_alarm(void **state)
{
	struct client subscriber;

	add_peer(&operator, "alice", 2);
	open_lease(&operator, "{'peer':'alice','to_port':1}");
	client_open(&subscriber, server);
	json_decref(call(&subscriber, "subscribe", "{'events':['store']}"));
	assert_false(is_degraded());
	fill_disk();
	/* The first finds out: what it asked for is done, and it is told that it is not safe. */
	refuse(&operator, "lease.open", "{'peer':'alice','to_port':2}", RPC_NOT_DURABLE,
		"is in force", db, "disk", NULL);
	is_told(&subscriber, "store.failing");
	assert_true(is_degraded());
	/* From here on nothing is begun. */
	refuse(&operator, "lease.open", "{'peer':'alice','to_port':3}", RPC_NOT_DURABLE,
		"nothing was done", db, "disk", NULL);
	refuse(&operator, "lease.renew", "{'id':1}", RPC_NOT_DURABLE, "nothing was done", NULL);
	refuse(&operator, "peer.set", "{'peer':'alice','max_leases':7}", RPC_NOT_DURABLE,
		"nothing was done", NULL);
	assert_int_equal(leases_count(), 2);
	/* What is to end ends. */
	refuse(&operator, "lease.close", "{'id':1}", RPC_NOT_DURABLE, "is in force", db, NULL);
	assert_int_equal(leases_count(), 1);
	limit_files(RLIM_INFINITY);
	is_told(&subscriber, "store.recovered");
	assert_false(is_degraded());
	client_close(&subscriber);
	/* It was made up for. */
	restart();
	assert_int_equal(leases_count(), 1);
	assert_non_null(lease_get(server->leases, 2));
}

static void a_failing_disk_is_an_error_to_the_asker_and_an_alarm(void **state)
{
	struct client subscriber;
	unsigned port = 1;

	add_peer(&operator, "alice", 2);
	client_open(&subscriber, server);
	json_decref(call(&subscriber, "subscribe", "{'events':['store']}"));
	for (int how = DISK_FAILS_WRITES; how <= DISK_FAILS_SYNCS; how++) {
		char params[64];

		disk = (enum failing_vfs)how;
		snprintf(params, sizeof(params), "{'peer':'alice','to_port':%u}", port++);
		refuse(&operator, "lease.open", params, RPC_NOT_DURABLE, "is in force", db,
			"disk I/O error", NULL);
		is_told(&subscriber, "store.failing");
		assert_true(is_degraded());
		snprintf(params, sizeof(params), "{'peer':'alice','to_port':%u}", port);
		refuse(&operator, "lease.open", params, RPC_NOT_DURABLE, "nothing was done", db,
			"disk I/O error", NULL);
		disk = DISK_WORKS;
		is_told(&subscriber, "store.recovered");
		assert_false(is_degraded());
	}
	client_close(&subscriber);
	restart();
	assert_int_equal(leases_count(), 2);
}

static void a_full_disk_leaves_mappings_as_they_are(void **state)
{
	uint16_t port;
	struct natpmp_reply r;
	struct pcp m;

	add_client();
	port = natpmp_map(alice, PORTMAP_NATPMP_TCP, 5001, 0, 600);
	fill_disk();
	/* Done, but not said: the client asks again. */
	r = natpmp_ask(alice, PORTMAP_NATPMP_UDP, 5002, 0, 600);
	assert_int_equal(r.result, PORTMAP_NATPMP_NO_RESOURCES);
	assert_int_equal(r.public_port, 0);
	r = natpmp_ask(alice, PORTMAP_NATPMP_UDP, 5002, 0, 600);
	assert_int_equal(r.result, PORTMAP_NATPMP_NO_RESOURCES);
	m = pcp_map(alice, 17, 5003, 0, 600);
	pcp_refused(alice, &m, PORTMAP_PCP_NO_RESOURCES, 30);
	/* A renewal waits for nothing. */
	pass(500 * NS_IN_S);
	ask_quickly(alice, natpmp(PORTMAP_NATPMP_TCP, 5001, 0, 600).bytes, 12);
	r = natpmp_read(PORTMAP_NATPMP_TCP);
	assert_int_equal(r.result, 0);
	assert_int_equal(r.public_port, port);
	/* A deletion is done, and not said either. */
	r = natpmp_ask(alice, PORTMAP_NATPMP_UDP, 5002, 0, 0);
	assert_int_equal(r.result, PORTMAP_NATPMP_NO_RESOURCES);
	assert_int_equal(leases_count(), 1);
	limit_files(RLIM_INFINITY);
	while (is_degraded())
		;
	/* What was renewed meanwhile is written once it can be. */
	pass(2 * NS_IN_S);
	pass(2 * NS_IN_S);
	end();
	clock_offset_ns += 200 * NS_IN_S;
	server_tables_create(server);
	begin();
	assert_int_equal(leases_count(), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(peers_and_leases_come_back),
		TEST(what_ended_meanwhile_is_kept_for_its_owner),
		TEST(doors_in_use_are_not_forgotten_by_a_restart),
		TEST(a_clock_that_went_back_prolongs_nothing),
		TEST(a_change_is_stronger_than_the_file_that_it_changed),
		TEST(forwarding_that_was_taken_stays_taken),
		TEST(pinholes_come_back_and_stay_closed),
		TEST(what_contradicts_the_file_is_dropped),
		TEST(a_whole_address_comes_back),
		TEST(a_pinhole_of_the_file_claims_no_number),
		TEST(quotas_of_the_file_come_first),
		TEST(mappings_are_granted_once_more_and_the_epoch_goes_on),
		TEST(a_full_disk_is_an_error_to_the_asker_and_an_alarm),
		TEST(a_failing_disk_is_an_error_to_the_asker_and_an_alarm),
		TEST(a_full_disk_leaves_mappings_as_they_are),
	};

	failing_vfs_install();
	return cmocka_run_group_tests_name("ctl_store", tests, portmap_group_setup, NULL);
}
