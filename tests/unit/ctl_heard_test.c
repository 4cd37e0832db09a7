/* ctl_heard_test.c - after a restart: who is led to where it was heard, who is called there, and
 * how many a second. */
#include "ctl_restart.h"

/* As heard.c has it: 1,000 a second, in slices. */
#define SLICE_CALLS  50u
#define SLICE_NS     (50 * NS_IN_MS)
#define MANY	     60u
#define MESSAGES_MAX 256

static void hear_peer(const char *name, const char *endpoint)
{
	uint32_t peer_idx = peer_find(server->peers, name);
	struct peer_hot *hot = peer_hot(server->peers, peer_idx);
	struct peer_path path = {0};

	assert_int_equal(ip_endpoint_parse(endpoint, &path.remote), 0);
	peer_hot_path_set(hot, &path);
	hot->last_received_ns = test_now_ns();
}

/* Messages to the handshake thread that send it somewhere: of starts of them it begins. */
static void take_messages(unsigned *n, unsigned *n_starts, struct ip_endpoint *last)
{
	void *msg;

	pump(server);
	while (mbox_pop_burst(server->to, &msg, 1) == 1) {
		const struct peer_msg *m = msg;

		if (m->kind == PEER_MSG_SET && m->sets_endpoint) {
			(*n)++;
			*n_starts += m->starts;
			if (m->starts)
				*last = m->endpoint;
		}
		assert_true(mbox_push(server->from, msg));
	}
}

/* What the gateway of before had, and a handshake thread whose messages the test takes, with room
 * for all of them. */
static void restart_and_take(void)
{
	end();
	server_tables_create(server);
	mbox_destroy(server->to);
	mbox_destroy(server->from);
	server->to = mbox_create("to_handshake", MESSAGES_MAX, false, -1);
	server->from = mbox_create("from_handshake", MESSAGES_MAX, false, -1);
	assert_true(server->to && server->from);
	peers_connect(server->peers, server->to, server->from);
	server->is_behind = true;
	begin();
}

static void those_with_doors_are_called(void **state)
{
	struct ip_endpoint endpoint = {0}, wanted;
	unsigned n = 0, n_starts = 0;

	add_peer(&operator, "alice", 2);
	add_peer(&operator, "bob", 3);
	add_peer(&operator, "carol", 4);
	open_lease(&operator, "{'peer':'alice','to_port':1,'ttl_s':20000}");
	open_lease(&operator, "{'peer':'carol','to_port':1,'ttl_s':20000}");
	hear_peer("carol", "203.0.113.4:4");
	pass(NS_IN_S);
	pass(2 * HOUR_NS - NS_IN_S);
	hear_peer("alice", "203.0.113.2:2");
	hear_peer("bob", "203.0.113.3:3");
	pass(NS_IN_S);
	restart_and_take();
	for (unsigned i = 0; i < 5; i++)
		take_messages(&n, &n_starts, &endpoint);
	/* All are led to where they were, and alice is called: bob has no door, carol was silent.
	 */
	assert_int_equal(n, 3);
	assert_int_equal(n_starts, 1);
	assert_int_equal(ip_endpoint_parse("203.0.113.2:2", &wanted), 0);
	assert_true(ip_endpoint_equal(&endpoint, &wanted));
}

/* Each handshake costs the handshake thread two X25519 operations: all at once, those that peers
 * begin would wait behind them. */
static void calls_are_paced(void **state)
{
	uint64_t begun_ns, deadline_ns;
	struct ip_endpoint endpoint;
	unsigned n = 0, n_starts = 0;
	char text[96];

	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "p%u", i);
		add_peer(&operator, text, 2 + i);
		snprintf(text, sizeof(text), "{'peer':'p%u','to_port':1}", i);
		open_lease(&operator, text);
		snprintf(text, sizeof(text), "p%u", i);
		hear_peer(text, "203.0.113.2:2");
	}
	pass(NS_IN_S);
	begun_ns = test_now_ns();
	deadline_ns = begun_ns + DEADLINE_S * NS_IN_S;
	restart_and_take();
	while (n_starts < MANY) {
		take_messages(&n, &n_starts, &endpoint);
		assert_in_range(n, 0, SLICE_CALLS * (1 + (test_now_ns() - begun_ns) / SLICE_NS));
		assert_true(test_now_ns() < deadline_ns);
	}
	assert_int_equal(n, MANY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(those_with_doors_are_called),
		TEST(calls_are_paced),
	};

	return cmocka_run_group_tests_name("ctl_heard", tests, portmap_group_setup, NULL);
}
