/* ctl_events_test.c - events: each is told to those who asked for it, once, and those who read too
 * slowly are told how many they missed.
 */
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

/* The next event, which must be this one; the caller's to decref. */
static json_t *expect(struct client *c, const char *name)
{
	json_t *message = client_json(c);
	json_t *params = json_object_get(message, "params");

	if (!json_is_object(params))
		fail_msg("no event, but %s", json_dumps(message, 0));
	assert_string_equal(text(message, "method"), "event");
	assert_string_equal(text(message, "jsonrpc"), "2.0");
	if (strcmp(text(params, "event"), name) != 0)
		fail_msg("%s, not %s", text(params, "event"), name);
	assert_true(json_number_value(json_object_get(params, "at_s")) >= 1700000000);
	json_incref(params);
	json_decref(message);
	return params;
}

static void expect_lease(struct client *c, const char *name, json_int_t id, const char *reason)
{
	json_t *event = expect(c, name);

	assert_int_equal(number(json_object_get(event, "lease"), "id"), id);
	if (reason != NULL)
		assert_string_equal(text(event, "reason"), reason);
	json_decref(event);
}

static void expect_peer(struct client *c, const char *name, const char *peer)
{
	json_t *event = expect(c, name);

	assert_string_equal(text(json_object_get(event, "peer"), "name"), peer);
	json_decref(event);
}

static void expect_nothing(struct client *c)
{
	char *line;

	for (unsigned i = 0; i < 50; i++) {
		line = client_try_line(c);
		if (line != NULL)
			fail_msg("something was said: %s", line);
	}
}

static void look(struct server *s, uint64_t ns)
{
	clock_offset_ns += ns;
	ctl_tick(s->ctl);
}

static void renew(struct client *c, json_int_t id, unsigned ttl_s)
{
	char params[64];

	snprintf(params, sizeof(params), "{'id':%lld,'ttl_s':%u}", (long long)id, ttl_s);
	json_decref(call(c, "lease.renew", params));
}

/* For an hour, but not beyond in_s seconds from now. */
static json_int_t open_until(struct client *c, unsigned in_s)
{
	char params[96];

	snprintf(params, sizeof(params), "{'peer':'alice','to_port':85,'ttl_s':3600,'until':%llu}",
		(unsigned long long)(test_wall_ns() / NS_IN_S + in_s));
	return open_lease(c, params);
}

/* Nothing for so long, and then, so much later, it ends soon. */
static void expect_expiring(
	struct server *s, struct client *listener, json_int_t id, unsigned quiet_s, unsigned more_s)
{
	look(s, quiet_s * NS_IN_S);
	expect_nothing(listener);
	look(s, more_s * NS_IN_S);
	expect_lease(listener, "lease.expiring", id, NULL);
}

static void test_leases(void **state)
{
	struct server *s = *state;
	struct client c, listener;
	json_int_t id, other;
	json_t *event;

	client_open(&c, s);
	client_open(&listener, s);
	json_decref(call(&listener, "subscribe", "{'events':['lease']}"));
	add_peer(&c, "alice", 2);
	id = open_lease(&c, "{'peer':'alice','to_port':80,'ttl_s':600}");
	expect_lease(&listener, "lease.opened", id, NULL);
	open_lease(&c, "{'peer':'alice','to_port':80,'ttl_s':600}");
	expect_lease(&listener, "lease.renewed", id, NULL);
	json_decref(call(&c, "lease.renew", "{'id':1}"));
	expect_lease(&listener, "lease.renewed", id, NULL);
	refuse(&c, "lease.open", "{'peer':'alice','to_port':81,'public_port':9}", RPC_REFUSED,
		NULL);
	event = expect(&listener, "lease.denied");
	assert_string_equal(text(event, "peer"), "alice");
	assert_int_equal(number(event, "to_port"), 81);
	assert_non_null(strstr(text(event, "reason"), "public port 9 is outside"));
	json_decref(event);

	/* Its peer does not answer, and then it does. */
	set_reachable(s, "alice", false);
	look(s, 0);
	expect_lease(&listener, "lease.suspended", id, NULL);
	set_reachable(s, "alice", true);
	look(s, 0);
	expect_lease(&listener, "lease.resumed", id, NULL);
	/* What is opened while it does not answer is suspended from the first. */
	add_peer(&c, "mute", 5);
	set_reachable(s, "mute", false);
	other = open_lease(&c, "{'peer':'mute','to_port':80}");
	expect_lease(&listener, "lease.opened", other, NULL);
	expect_nothing(&listener);

	/* It is said once that it ends soon. */
	expect_expiring(s, &listener, id, 500, 50);
	look(s, 10 * NS_IN_S);
	expect_nothing(&listener);
	look(s, 60 * NS_IN_S);
	expect_lease(&listener, "lease.closed", id, "expired");

	id = open_lease(&c, "{'peer':'alice','to_port':82,'idle_s':5}");
	expect_lease(&listener, "lease.opened", id, NULL);
	look(s, 10 * NS_IN_S);
	expect_lease(&listener, "lease.closed", id, "idle");
	id = open_lease(&c, "{'peer':'alice','to_port':83}");
	expect_lease(&listener, "lease.opened", id, NULL);
	json_decref(call(&c, "peer.set", "{'peer':'alice','forwarding':false}"));
	expect_lease(&listener, "lease.closed", id, "peer changed");
	json_decref(call(&c, "peer.set", "{'peer':'alice','forwarding':true}"));
	id = open_lease(&c, "{'peer':'alice','to_port':84}");
	expect_lease(&listener, "lease.opened", id, NULL);
	json_decref(call(&c, "peer.del", "{'peer':'alice'}"));
	expect_lease(&listener, "lease.closed", id, "peer deleted");
	client_close(&c);
	client_close(&listener);
}

/* Once in each term: a short one, one that was renewed, and one that is cut by its until. */
static void test_terms(void **state)
{
	struct server *s = *state;
	struct client c, listener;
	json_int_t id;

	client_open(&c, s);
	client_open(&listener, s);
	json_decref(call(&listener, "subscribe", "{'events':['lease']}"));
	add_peer(&c, "alice", 2);
	id = open_lease(&c, "{'peer':'alice','to_port':82,'ttl_s':60}");
	expect_lease(&listener, "lease.opened", id, NULL);
	expect_expiring(s, &listener, id, 40, 6);
	renew(&c, id, 20);
	expect_lease(&listener, "lease.renewed", id, NULL);
	expect_expiring(s, &listener, id, 10, 6);
	look(s, 1 * NS_IN_S);
	expect_nothing(&listener);
	look(s, 4 * NS_IN_S);
	expect_lease(&listener, "lease.closed", id, "expired");
	id = open_until(&c, 40);
	expect_lease(&listener, "lease.opened", id, NULL);
	expect_expiring(s, &listener, id, 25, 6);
	look(s, 10 * NS_IN_S);
	expect_lease(&listener, "lease.closed", id, "expired");
	client_close(&c);
	client_close(&listener);
}

static void test_peers(void **state)
{
	struct server *s = *state;
	struct client c, listener;
	struct peer_hot *hot;

	s->conf.reject_after_ns = 180 * NS_IN_S;
	client_open(&c, s);
	client_open(&listener, s);
	add_peer(&c, "bob", 3);
	hot = peer_hot(s->peers, peer_find(s->peers, "bob"));
	hot->last_handshake_ns = test_now_ns();
	/* Bob is up already: that is no event. */
	json_decref(call(&listener, "subscribe", "{'events':['peer']}"));
	look(s, 2 * NS_IN_S);
	expect_nothing(&listener);
	add_peer(&c, "alice", 2);
	expect_peer(&listener, "peer.added", "alice");
	look(s, 2 * NS_IN_S);
	hot = peer_hot(s->peers, peer_find(s->peers, "alice"));
	hot->last_handshake_ns = test_now_ns();
	peer_hot_path_set(
		hot, &(struct peer_path){.remote = {.addr = address("192.0.2.77"), .port = 5}});
	look(s, 2 * NS_IN_S);
	expect_peer(&listener, "peer.up", "alice");
	peer_hot_path_set(
		hot, &(struct peer_path){.remote = {.addr = address("192.0.2.78"), .port = 5}});
	look(s, 2 * NS_IN_S);
	expect_peer(&listener, "peer.roamed", "alice");
	look(s, 2 * NS_IN_S);
	expect_nothing(&listener);
	/* It was down for a moment, and comes back from elsewhere: both are told. */
	hot->last_handshake_ns = 0;
	look(s, 2 * NS_IN_S);
	expect_peer(&listener, "peer.down", "alice");
	hot->last_handshake_ns = test_now_ns();
	peer_hot_path_set(
		hot, &(struct peer_path){.remote = {.addr = address("192.0.2.79"), .port = 5}});
	look(s, 2 * NS_IN_S);
	expect_peer(&listener, "peer.up", "alice");
	expect_peer(&listener, "peer.roamed", "alice");
	expect_nothing(&listener);
	hot->last_handshake_ns = test_now_ns();
	look(s, 175 * NS_IN_S);
	expect_peer(&listener, "peer.down", "bob");
	look(s, 10 * NS_IN_S);
	expect_peer(&listener, "peer.down", "alice");
	json_decref(call(&c, "peer.del", "{'peer':'alice'}"));
	expect_peer(&listener, "peer.deleted", "alice");
	client_close(&c);
	client_close(&listener);
}

static void test_pool(void **state)
{
	struct server *s = *state;
	struct client c, listener;
	char params[128];
	json_t *event;

	client_open(&c, s);
	client_open(&listener, s);
	json_decref(call(&listener, "subscribe", "{'events':['pool']}"));
	for (unsigned peer = 0; peer < 8; peer++) {
		char name[16];

		snprintf(name, sizeof(name), "p%u", peer);
		add_peer(&c, name, 10 + peer);
		for (unsigned i = 0; i < (peer < 7 ? 8 : 2); i++) {
			snprintf(params, sizeof(params), "{'peer':'%s','to_port':%u}", name, i + 1);
			open_lease(&c, params);
		}
	}
	/* 58 of 64. */
	look(s, 2 * NS_IN_S);
	event = expect(&listener, "pool.low");
	assert_int_equal(number(event, "leases"), 58);
	assert_int_equal(number(event, "leases_max"), MAX_LEASES);
	json_decref(event);
	look(s, 2 * NS_IN_S);
	expect_nothing(&listener);
	json_decref(call(&c, "peer.del", "{'peer':'p0'}"));
	look(s, 2 * NS_IN_S);
	json_decref(expect(&listener, "pool.enough"));
	client_close(&c);
	client_close(&listener);
}

static void test_who_is_told(void **state)
{
	struct server *s = *state;
	struct client c, one, all;
	json_int_t id;

	client_open(&c, s);
	client_open(&one, s);
	client_open(&all, s);
	refuse(&one, "subscribe", "{'events':['doors']}", RPC_INVALID_PARAMS, "doors", "lease",
		NULL);
	json_decref(call(&one, "subscribe", "{'events':['lease.closed']}"));
	json_decref(call(&all, "subscribe", "{}"));
	add_peer(&c, "alice", 2);
	expect_peer(&all, "peer.added", "alice");
	id = open_lease(&c, "{'peer':'alice','to_port':80}");
	expect_lease(&all, "lease.opened", id, NULL);
	expect_nothing(&c);
	expect_nothing(&one);
	json_decref(call(&c, "lease.close", "{'id':1}"));
	expect_lease(&all, "lease.closed", id, "closed");
	expect_lease(&one, "lease.closed", id, "closed");
	/* Asked again, for something else. */
	json_decref(call(&one, "subscribe", "{'events':['peer.deleted']}"));
	client_close(&all);
	open_lease(&c, "{'peer':'alice','to_port':80}");
	json_decref(call(&c, "peer.del", "{'peer':'alice'}"));
	expect_peer(&one, "peer.deleted", "alice");
	client_close(&one);
	for (unsigned i = 0; i < 50; i++)
		pump(s);
	add_peer(&c, "bob", 3);
	client_close(&c);
}

/* Lease 1, in one batch: so quickly that nobody is taken for one who reads nothing any more. */
static void renew_often(struct client *c, unsigned n)
{
	static const char one[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"lease.renew\","
				  "\"params\":{\"id\":1}},";
	size_t len = sizeof(one) - 1;
	char *batch = malloc(n * len + 3);

	assert_non_null(batch);
	batch[0] = '[';
	for (unsigned i = 0; i < n; i++)
		memcpy(batch + 1 + i * len, one, len);
	memcpy(batch + n * len, "]\n", 2);
	client_send(c, batch, n * len + 2);
	free(batch);
	free(client_line(c));
}

/* Events that came and events that were missed are all that happened. */
static void test_slow_reader(void **state)
{
	struct server *s = *state;
	unsigned n_renewals = 1500, n_told = 0, n_missed = 0;
	struct client c, slow;
	json_t *event;

	client_open(&c, s);
	client_open(&slow, s);
	json_decref(call(&slow, "subscribe", "{'events':['lease.renewed']}"));
	add_peer(&c, "alice", 2);
	open_lease(&c, "{'peer':'alice','to_port':80}");
	renew_often(&c, n_renewals);
	while (n_told + n_missed < n_renewals) {
		json_t *message = client_json(&slow);

		event = json_object_get(message, "params");
		if (strcmp(text(event, "event"), "missed") == 0)
			n_missed += (unsigned)number(event, "events");
		else
			n_told++;
		json_decref(message);
	}
	assert_int_equal(n_told + n_missed, n_renewals);
	assert_true(n_missed > 0 && n_told > 0);
	/* From here on it hears of everything again. */
	json_decref(call(&c, "lease.renew", "{'id':1}"));
	expect_lease(&slow, "lease.renewed", 1, NULL);
	client_close(&c);
	client_close(&slow);
}

static void test_unused(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *result;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	open_lease(&c, "{'peer':'alice','to_port':80,'ttl_s':86400}");
	look(s, 3600 * NS_IN_S);
	open_lease(&c, "{'peer':'alice','to_port':81,'ttl_s':86400}");
	result = call(&c, "lease.list", "{'unused_s':1800}");
	assert_int_equal(json_array_size(json_object_get(result, "leases")), 1);
	assert_int_equal(
		number(json_array_get(json_object_get(result, "leases"), 0), "to_port"), 80);
	json_decref(result);
	result = call(&c, "lease.list", "{'unused_s':0,'peer':'alice'}");
	assert_int_equal(json_array_size(json_object_get(result, "leases")), 2);
	json_decref(result);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_leases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_terms, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pool, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unused, setup, teardown),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
