/* ctl_bars_test.c - all leases of a peer closed at once; one that is barred gets no other by any
 * interface, until it is let in again, whatever is restarted, reconfigured, deleted or added.
 */
#include "ctl_restart.h"

static void bar(const char *who, unsigned n_closed)
{
	char params[96];
	json_t *peer;

	snprintf(params, sizeof(params), "{'peer':'%s'}", who);
	peer = call(&operator, "peer.bar", params);
	assert_true(json_is_true(json_object_get(peer, "is_barred")));
	assert_int_equal(number(peer, "leases_closed"), n_closed);
	json_decref(peer);
}

static void unbar(const char *who)
{
	char params[96];
	json_t *peer;

	snprintf(params, sizeof(params), "{'peer':'%s'}", who);
	peer = call(&operator, "peer.unbar", params);
	assert_true(json_is_false(json_object_get(peer, "is_barred")));
	json_decref(peer);
}

static bool is_barred(const char *who)
{
	char params[96];
	json_t *peer;
	bool is;

	snprintf(params, sizeof(params), "{'peer':'%s'}", who);
	peer = call(&operator, "peer.show", params);
	is = json_is_true(json_object_get(peer, "is_barred"));
	json_decref(peer);
	return is;
}

static void is_refused(void)
{
	refuse(&operator, "lease.open", "{'peer':'alice','to_port':9}", RPC_REFUSED,
		"peer alice is barred", "portierctl peer unbar alice", NULL);
}

/* One of each kind, of alice; and one of bob. */
static void open_some(void)
{
	struct pcp m;

	add_client();
	json_decref(call(&operator, "peer.set", "{'peer':'alice','address6':'fd00::2'}"));
	add_peer(&operator, "bob", 3);
	open_lease(&operator, "{'peer':'alice','to_port':1}");
	open_lease(&operator, "{'peer':'alice','to_port':2,'to_address':'fd00::2'}");
	natpmp_map(alice, PORTMAP_NATPMP_TCP, 3, 0, 600);
	m = pcp_map(alice, 17, 4, 0, 600);
	pcp_granted(alice, &m);
	open_lease(&operator, "{'peer':'bob','to_port':1}");
}

static void all_leases_of_a_peer_close_at_once(void **state)
{
	json_t *result;

	open_some();
	refuse(&operator, "lease.close", "{}", RPC_INVALID_PARAMS, "id", "peer", NULL);
	refuse(&operator, "lease.close", "{'id':1,'peer':'alice'}", RPC_INVALID_PARAMS, "id",
		"peer", NULL);
	refuse(&operator, "lease.close", "{'peer':'nobody'}", RPC_NOT_FOUND, NULL);
	assert_int_equal(leases_count(), 5);
	result = call(&operator, "lease.close", "{'peer':'alice'}");
	assert_string_equal(text(result, "peer"), "alice");
	assert_int_equal(number(result, "leases_closed"), 4);
	json_decref(result);
	assert_int_equal(leases_count(), 1);
	assert_int_equal(doors_count(server->doors), 1);
	/* That is no bar. */
	open_lease(&operator, "{'peer':'alice','to_port':1}");
	restart();
	assert_int_equal(leases_count(), 2);
}

static void one_who_is_barred_gets_no_lease_by_any_interface(void **state)
{
	struct client subscriber;
	json_t *event;
	struct pcp m;

	open_some();
	client_open(&subscriber, server);
	json_decref(call(&subscriber, "subscribe", "{'events':['peer.barred','peer.unbarred']}"));
	bar("alice", 4);
	bar("alice", 0);
	assert_int_equal(leases_count(), 1);
	assert_int_equal(doors_count(server->doors), 1);
	event = client_json(&subscriber);
	assert_string_equal(text(json_object_get(event, "params"), "event"), "peer.barred");
	json_decref(event);
	is_refused();
	refuse(&operator, "lease.open", "{'peer':'alice','to_port':9,'to_address':'fd00::2'}",
		RPC_REFUSED, "is barred", NULL);
	/* RFC 6886, 3.5, and RFC 6887, 7.4: not authorized. */
	assert_int_equal(natpmp_ask(alice, PORTMAP_NATPMP_UDP, 5, 0, 600).result, 2);
	m = pcp_map(alice, 6, 5, 0, 600);
	assert_int_equal(pcp_ask(alice, &m).result, 2);
	/* Others are as they were. */
	open_lease(&operator, "{'peer':'bob','to_port':9}");
	assert_false(is_barred("bob"));
	/* Forwarding switched about is none of its business. */
	json_decref(call(&operator, "peer.set", "{'peer':'alice','forwarding':false}"));
	json_decref(call(&operator, "peer.set", "{'peer':'alice','forwarding':true}"));
	is_refused();

	unbar("alice");
	unbar("alice");
	event = client_json(&subscriber);
	assert_string_equal(text(json_object_get(event, "params"), "event"), "peer.unbarred");
	json_decref(event);
	open_lease(&operator, "{'peer':'alice','to_port':9}");
	natpmp_map(alice, PORTMAP_NATPMP_UDP, 5, 0, 600);
	client_close(&subscriber);
}

static void a_bar_is_the_keys_and_outlives_restarts_and_the_peer(void **state)
{
	char params[96];

	add_peer(&operator, "alice", 2);
	add_peer(&operator, "carol", 5);
	add_peer(&operator, "bob", 3);
	open_lease(&operator, "{'peer':'alice','to_port':1}");
	/* In no order of their keys. */
	bar("carol", 0);
	bar("alice", 1);
	bar("bob", 0);
	unbar("bob");
	restart();
	assert_true(is_barred("alice") && is_barred("carol"));
	assert_false(is_barred("bob"));
	assert_int_equal(leases_count(), 0);
	is_refused();
	json_decref(call(&operator, "peer.del", "{'peer':'alice'}"));
	add_peer(&operator, "alice", 2);
	is_refused();
	json_decref(call(&operator, "peer.del", "{'peer':'alice'}"));
	restart();
	/* A key alone can be let in. */
	refuse(&operator, "peer.unbar", "{'peer':'alice'}", RPC_NOT_FOUND, "alice", NULL);
	snprintf(params, sizeof(params), "%s", key_text(2));
	unbar(params);
	add_peer(&operator, "alice", 2);
	open_lease(&operator, "{'peer':'alice','to_port':1}");
	restart();
	assert_int_equal(leases_count(), 1);
	assert_true(is_barred("carol"));
}

/* Who looks after the file need not know of the bar: the gateway starts, and says so. */
static void what_the_file_opens_stays_closed(void **state)
{
	configure_peer(0, "alice", 2);
	configure_peer(1, "bob", 3);
	configure_lease(0, 40001, 80);
	configure_lease(1, 40002, 81);
	conf_leases[1].peer_idx = 1;
	restart();
	assert_int_equal(leases_count(), 2);
	bar("alice", 1);
	restart();
	assert_int_equal(leases_count(), 1);
	/* The file says something else of her, and of the lease. */
	conf_peers[0].max_leases = 5;
	conf_leases[0].inner_port = 82;
	restart();
	assert_int_equal(
		peer_conf_get(server->peers, peer_find(server->peers, "alice"))->max_leases, 5);
	assert_int_equal(leases_count(), 1);
	is_refused();
	unbar("alice");
	restart();
	assert_int_equal(leases_count(), 2);
}

static void while_the_store_fails_a_bar_holds_and_none_is_lifted(void **state)
{
	add_peer(&operator, "alice", 2);
	open_lease(&operator, "{'peer':'alice','to_port':1}");
	fill_disk();
	refuse(&operator, "peer.bar", "{'peer':'alice'}", RPC_NOT_DURABLE, "is in force", NULL);
	assert_int_equal(leases_count(), 0);
	refuse(&operator, "peer.unbar", "{'peer':'alice'}", RPC_NOT_DURABLE, "nothing was done",
		NULL);
	assert_true(is_barred("alice"));
	limit_files(RLIM_INFINITY);
	restart();
	is_refused();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(all_leases_of_a_peer_close_at_once),
		TEST(one_who_is_barred_gets_no_lease_by_any_interface),
		TEST(a_bar_is_the_keys_and_outlives_restarts_and_the_peer),
		TEST(what_the_file_opens_stays_closed),
		TEST(while_the_store_fails_a_bar_holds_and_none_is_lifted),
	};

	return cmocka_run_group_tests_name("ctl_bars", tests, portmap_group_setup, NULL);
}
