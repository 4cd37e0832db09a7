/* ctl_check_test.c - a lease is checked: from where, what is refused, that nobody waits meanwhile,
 * and what is told in the end. The test is the packet path and the peer.
 */
#include "ctl_server.h"

#include <netinet/in.h>

#include "base/bytes.h"
#include "nat/nat.h"
#include "why/why.h"

#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

static struct probes *probes;
static unsigned n_sent;
static uint8_t last_number;

static bool play_send(void *arg, uint8_t number)
{
	n_sent++;
	last_number = number;
	return true;
}

static int setup(void **state)
{
	struct server *s = server_create();
	char fault[CTL_FAULT_CHARS];
	struct ctl_params p = server_params(s);

	probes = probes_create(s->grace);
	assert_non_null(probes);
	p.probes = probes;
	p.probe_send = play_send;
	n_sent = 0;
	last_number = 0;
	s->conf.ports[0].is_tunnel = false;
	s->ctl = ctl_create(&p, fault);
	assert_non_null(s->ctl);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	server_destroy(*state);
	probes_destroy(probes);
	return 0;
}

/* A connected peer with a lease from 198.51.100.1:40007 to port 8080; returns its id. */
static json_int_t make_lease(struct client *c, struct server *s, const char *more)
{
	char params[512];

	if (peer_find(s->peers, "bob") == PEER_NONE)
		add_peer(c, "bob", 2);
	peer_home_set(s->peers, peer_find(s->peers, "bob"), 0);
	snprintf(params, sizeof(params),
		"{'peer':'bob','to_port':8080,'public_address':'198.51.100.1','public_port':40007%"
		"s}",
		more);
	return open_lease(c, params);
}

static void ask(struct client *c, json_int_t request_id, json_int_t lease_id, const char *more)
{
	char params[256];

	snprintf(params, sizeof(params), "{\"id\":%lld%s}", (long long)lease_id, more);
	client_request(c, request_id, "lease.check", params);
}

static void until_sent(struct server *s, unsigned n)
{
	uint64_t deadline_ns = test_now_ns() + DEADLINE_S * NS_IN_S;

	while (n_sent < n) {
		pump(s);
		assert_true(test_now_ns() < deadline_ns);
	}
}

/* The peer answers the last probe. */
static void answer(uint8_t flags)
{
	const struct probe_ask *a = probe_ask_get(probes, last_number);
	const struct why_packet q = {.proto = a->proto,
		.src = a->inner.addr,
		.dst = a->from.addr,
		.src_port = a->inner.port,
		.dst_port = a->from.port,
		.tcp_flags = flags,
		.ttl = 64};
	struct probe_answer got;
	struct nat_view v;
	uint8_t pkt[128];
	size_t len = why_packet_build(&q, pkt, sizeof(pkt));

	assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
	if (a->proto == IPPROTO_TCP) {
		store_be32(pkt + v.l4_offset + 8, a->tcp_seq + 1);
		store_be16(pkt + v.l4_offset + 16, nat_l4_checksum(pkt, &v));
	}
	assert_int_equal(
		probe_take(probes, a->peer_idx, pkt, &v, NAT_OK, test_now_ns(), &got), last_number);
}

/* The next message, which is the reply to this request. */
static json_t *reply_to(struct client *c, json_int_t request_id)
{
	json_t *reply = client_json(c), *result = json_object_get(reply, "result");

	assert_int_equal(json_integer_value(json_object_get(reply, "id")), request_id);
	if (result == NULL)
		fail_msg("%s", json_string_value(json_object_get(
				       json_object_get(reply, "error"), "message")));
	json_incref(result);
	json_decref(reply);
	return result;
}

static void expect(json_t *result, const char *outcome, const char *words)
{
	assert_string_equal(text(result, "outcome"), outcome);
	if (strstr(text(result, "verdict"), words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text(result, "verdict"), words);
}

static void it_is_answered(void **state)
{
	struct server *s = *state;
	struct client c;
	json_int_t id;
	json_t *result;

	client_open(&c, s);
	id = make_lease(&c, s, "");
	ask(&c, 5, id, "");
	until_sent(s, 1);
	answer(TCP_SYN | TCP_ACK);
	result = reply_to(&c, 5);
	expect(result, "answered", "the program on the peer's port 8080 accepted a connection");
	assert_int_equal(number(result, "id"), id);
	assert_string_equal(text(result, "proto"), "tcp");
	assert_string_equal(text(result, "answer"), "syn-ack");
	assert_true(json_is_number(json_object_get(result, "answer_s")));
	assert_string_equal(text(result, "public"), "198.51.100.1:40007");
	assert_string_equal(text(result, "to"), "10.0.0.2:8080");
	/* From the public port's own address. */
	assert_int_equal(strncmp(text(result, "from"), "192.0.2.1:", 10), 0);
	assert_int_equal(number(result, "sent"), 1);
	json_decref(result);

	ask(&c, 6, id, ",\"proto\":\"udp\"");
	until_sent(s, 2);
	answer(0);
	result = reply_to(&c, 6);
	expect(result, "answered", "answered a datagram");
	json_decref(result);

	ask(&c, 7, id, "");
	until_sent(s, 3);
	answer(TCP_RST | TCP_ACK);
	result = reply_to(&c, 7);
	expect(result, "refused", "no program listens on its port 8080");
	assert_string_equal(text(result, "answer"), "rst");
	json_decref(result);
	client_close(&c);
}

/* Others are answered meanwhile, the asker too. */
static void nobody_waits(void **state)
{
	struct client c, other;
	struct server *s = *state;
	json_int_t id;
	json_t *result;

	client_open(&c, s);
	client_open(&other, s);
	id = make_lease(&c, s, "");
	ask(&c, 5, id, "");
	until_sent(s, 1);
	json_decref(call(&other, "version", "{}"));
	json_decref(call(&c, "version", "{}"));
	refuse(&other, "lease.check", "{'id':1}", RPC_TRY_AGAIN, "is being checked", NULL);
	answer(TCP_SYN | TCP_ACK);
	result = reply_to(&c, 5);
	expect(result, "answered", "");
	json_decref(result);
	client_close(&c);
	client_close(&other);
}

static void silence(void **state)
{
	struct server *s = *state;
	struct client c;
	json_int_t id;
	json_t *result;

	client_open(&c, s);
	id = make_lease(&c, s, "");
	ask(&c, 5, id, "");
	until_sent(s, 1);
	/* It is sent again after 1 s, 2 s more, 4 s more; by then the time is up. */
	clock_offset_ns += 1 * NS_IN_S;
	until_sent(s, 2);
	clock_offset_ns += 2 * NS_IN_S;
	until_sent(s, 3);
	clock_offset_ns += 2 * NS_IN_S;
	result = reply_to(&c, 5);
	assert_int_equal(n_sent, 3);
	expect(result, "silent", "3 packets and kept silent: a firewall");
	assert_true(json_is_null(json_object_get(result, "answer")));
	json_decref(result);
	ask(&c, 6, id, ",\"proto\":\"udp\",\"timeout_s\":0.05");
	result = reply_to(&c, 6);
	expect(result, "silent", "a UDP service may do that");
	json_decref(result);
	client_close(&c);
}

static void a_peer_that_is_not_there(void **state)
{
	struct server *s = *state;
	struct client c;
	json_int_t id;
	json_t *result;

	client_open(&c, s);
	id = make_lease(&c, s, "");
	set_reachable(s, "bob", false);
	clock_offset_ns += 35 * NS_IN_S;
	ask(&c, 5, id, ",\"timeout_s\":0.05");
	result = reply_to(&c, 5);
	expect(result, "unreachable", "bob has not answered for 35 s");
	json_decref(result);
	/* It may be back. */
	ask(&c, 6, id, "");
	until_sent(s, 2);
	answer(TCP_SYN | TCP_ACK);
	result = reply_to(&c, 6);
	expect(result, "answered", "");
	json_decref(result);
	set_reachable(s, "bob", true);
	/* It has no session, as the path found. */
	ask(&c, 7, id, ",\"timeout_s\":0.2");
	until_sent(s, 3);
	probe_note_lost(probes, last_number, STATS_DROP_peer_hold_full);
	result = reply_to(&c, 7);
	expect(result, "unreachable", "has no session");
	json_decref(result);
	/* It was never there: nothing is sent. */
	peer_home_set(s->peers, peer_find(s->peers, "bob"), PEER_HOME_NONE);
	ask(&c, 8, id, "");
	result = reply_to(&c, 8);
	expect(result, "unreachable", "bob has never connected");
	assert_int_equal(number(result, "sent"), 0);
	assert_int_equal(n_sent, 3);
	json_decref(result);
	client_close(&c);
}

static void the_gateway_drops_it(void **state)
{
	struct server *s = *state;
	struct client c;
	char params[64];
	json_int_t id;
	json_t *result;

	client_open(&c, s);
	id = make_lease(&c, s, ",'max_pps':1");
	ask(&c, 5, id, ",\"timeout_s\":0.2");
	until_sent(s, 1);
	probe_note_lost(probes, last_number, STATS_DROP_lease_rate);
	result = reply_to(&c, 5);
	expect(result, "dropped", stats_drop_help(STATS_DROP_lease_rate));
	assert_string_equal(text(result, "reason"), "lease_rate");
	json_decref(result);
	/* One that is closed meanwhile. The reply to that comes first or last. */
	ask(&c, 6, id, "");
	until_sent(s, 2);
	snprintf(params, sizeof(params), "{'id':%lld}", (long long)id);
	{
		struct client other;

		client_open(&other, s);
		json_decref(call(&other, "lease.close", params));
		client_close(&other);
	}
	result = reply_to(&c, 6);
	expect(result, "dropped", "");
	assert_string_equal(text(result, "reason"), "lease_closed");
	json_decref(result);
	client_close(&c);
}

static void who_is_admitted(void **state)
{
	struct server *s = *state;
	struct client c;
	json_int_t id;
	char params[64];
	json_t *result;

	client_open(&c, s);
	id = make_lease(&c, s, ",'from':['203.0.113.0/24']");
	snprintf(params, sizeof(params), "{'id':%lld}", (long long)id);
	refuse(&c, "lease.check", params, RPC_REFUSED, "does not admit 192.0.2.1",
		"--from 192.0.2.1", NULL);
	assert_int_equal(n_sent, 0);
	json_decref(call(&c, "lease.close", params));
	/* Another address of the pool is admitted. */
	id = make_lease(&c, s, ",'from':['203.0.113.0/24','198.51.100.2/32']");
	ask(&c, 5, id, "");
	until_sent(s, 1);
	answer(TCP_SYN | TCP_ACK);
	result = reply_to(&c, 5);
	assert_int_equal(strncmp(text(result, "from"), "198.51.100.2:", 13), 0);
	json_decref(result);
	/* Its own would be no other. */
	snprintf(params, sizeof(params), "{'id':%lld}", (long long)id);
	json_decref(call(&c, "lease.close", params));
	id = make_lease(&c, s, ",'from':['198.51.100.1/32']");
	snprintf(params, sizeof(params), "{'id':%lld}", (long long)id);
	refuse(&c, "lease.check", params, RPC_REFUSED, "does not admit", NULL);
	client_close(&c);
}

/* Some clients have a route to the entry address that goes around the tunnel. */
static void never_from_where_clients_tunnel_to(void **state)
{
	struct server *s = *state;
	struct client c;
	json_int_t id;
	json_t *result;

	s->conf.ports[0].is_tunnel = true;
	client_open(&c, s);
	id = make_lease(&c, s, "");
	ask(&c, 5, id, "");
	until_sent(s, 1);
	answer(TCP_SYN | TCP_ACK);
	result = reply_to(&c, 5);
	assert_int_equal(strncmp(text(result, "from"), "198.51.100.0:", 13), 0);
	json_decref(result);
	json_decref(call(&c, "peer.add",
		"{'public_key':'AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI=','name':'six',"
		"'address6':'2001:db8:7::5','forwarding':true}"));
	open_lease(&c, "{'peer':'six','to_port':80}");
	refuse(&c, "lease.check", "{'id':2}", RPC_REFUSED, "that clients tunnel to", NULL);
	client_close(&c);
}

/* What was dropped first says nothing of what was sent after it. */
static void the_last_one_counts(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *result;

	client_open(&c, s);
	ask(&c, 5, make_lease(&c, s, ""), ",\"timeout_s\":2");
	until_sent(s, 1);
	probe_note_lost(probes, last_number, STATS_DROP_peer_hold_full);
	until_sent(s, 2);
	result = reply_to(&c, 5);
	expect(result, "silent", "a firewall at the peer");
	json_decref(result);
	client_close(&c);
}

static void a_pinhole(void **state)
{
	struct server *s = *state;
	struct client c;
	json_int_t id;
	json_t *result;

	client_open(&c, s);
	json_decref(call(&c, "peer.add",
		"{'public_key':'AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=','name':'six',"
		"'address6':'2001:db8:7::5','forwarding':true}"));
	peer_home_set(s->peers, peer_find(s->peers, "six"), 0);
	id = open_lease(&c, "{'peer':'six','to_port':80,'proto':'udp'}");
	ask(&c, 5, id, "");
	until_sent(s, 1);
	answer(0);
	result = reply_to(&c, 5);
	expect(result, "answered", "");
	assert_string_equal(text(result, "proto"), "udp");
	assert_int_equal(strncmp(text(result, "from"), "[2001:db8::1]:", 14), 0);
	json_decref(result);
	client_close(&c);
	/* Without an address of that family there is none to check from. */
	s->conf.ports[0].n_ifaddrs = 1;
	client_open(&c, s);
	refuse(&c, "lease.check", "{'id':1}", RPC_REFUSED, "no public address to check lease 1",
		"ports.addresses", NULL);
	client_close(&c);
}

/* Where it knocked: the peer accepts, and it is told so of these ends. */
static void knocks_at(struct client *c, json_int_t id, const char *more, const char *public_end,
	const char *to, const char *words)
{
	unsigned n = n_sent;
	json_t *result;

	ask(c, 5, id, more);
	until_sent(c->server, n + 1);
	answer(TCP_SYN | TCP_ACK);
	result = reply_to(c, 5);
	expect(result, "answered", words);
	assert_string_equal(text(result, "public"), public_end);
	assert_string_equal(text(result, "to"), to);
	json_decref(result);
}

/* Only the ports that the lease has. */
static void refuses_port(struct client *c, json_int_t id, int port, const char *accepted)
{
	char params[64], none[64];

	snprintf(params, sizeof(params), "{'id':%lld,'public_port':%d}", (long long)id, port);
	snprintf(none, sizeof(none), "no public port %d; accepted: %s", port, accepted);
	refuse(c, "lease.check", params, RPC_REFUSED, none, NULL);
}

static void a_port_of_a_lease(void **state)
{
	struct server *s = *state;
	struct client c;
	json_int_t id;

	client_open(&c, s);
	id = make_lease(&c, s, "");
	knocks_at(&c, id, ",\"public_port\":40007", "198.51.100.1:40007", "10.0.0.2:8080", "8080");
	refuses_port(&c, id, 40008, "40007");
	refuses_port(&c, id, 8080, "40007");
	id = open_lease(&c, "{'peer':'bob','ports':4,'public_port':40020,'to_port':9000}");
	knocks_at(&c, id, "", "198.51.100.1:40020", "10.0.0.2:9000", "9000");
	knocks_at(&c, id, ",\"public_port\":40023", "198.51.100.1:40023", "10.0.0.2:9003", "9003");
	refuses_port(&c, id, 40024, "40020 to 40023");
	refuses_port(&c, id, 40019, "40020 to 40023");
	client_close(&c);
}

static void a_port_of_a_whole_address(void **state)
{
	struct server *s = *state;
	struct client c;
	char params[64];
	json_int_t id;

	client_open(&c, s);
	add_peer(&c, "bob", 2);
	peer_home_set(s->peers, peer_find(s->peers, "bob"), 0);
	id = open_lease(&c, "{'peer':'bob','whole_address':true,'public_address':'198.51.100.64'}");
	snprintf(params, sizeof(params), "{'id':%lld}", (long long)id);
	refuse(&c, "lease.check", params, RPC_INVALID_PARAMS, "a whole address",
		"accepted: a public_port, 1 to 65535", NULL);
	refuses_port(&c, id, 0, "1 to 65535");
	refuses_port(&c, id, 65536, "1 to 65535");
	assert_int_equal(n_sent, 0);
	knocks_at(&c, id, ",\"public_port\":443", "198.51.100.64:443", "10.0.0.2:443",
		"the peer's port 443 accepted");
	knocks_at(&c, id, ",\"public_port\":65535", "198.51.100.64:65535", "10.0.0.2:65535", "");
	client_close(&c);
}

static void what_is_refused(void **state)
{
	static const char *const bad[] = {
		"'timeout_s':0", "'timeout_s':21", "'proto':'sctp'", "'proto':'icmp'"};
	struct server *s = *state;
	struct client c;
	char params[128];
	json_int_t id;

	client_open(&c, s);
	id = make_lease(&c, s, ",'proto':'tcp'");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(params, sizeof(params), "{'id':%lld,%s}", (long long)id, bad[i]);
		refuse(&c, "lease.check", params, RPC_INVALID_PARAMS, "accepted", NULL);
	}
	snprintf(params, sizeof(params), "{'id':%lld,'proto':'udp'}", (long long)id);
	refuse(&c, "lease.check", params, RPC_REFUSED, "not for udp", NULL);
	refuse(&c, "lease.check", "{'id':99}", RPC_NOT_FOUND, "99", NULL);
	refuse(&c, "lease.check", "{}", RPC_INVALID_PARAMS, "id", NULL);
	assert_int_equal(n_sent, 0);
	client_close(&c);
}

/* It would be answered later than the rest. */
static void alone_only(void **state)
{
	static const char batch[] = "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"lease.check\","
				    "\"params\":{\"id\":1}}]\n";
	static const char notification[] = "{\"jsonrpc\":\"2.0\",\"method\":\"lease.check\","
					   "\"params\":{\"id\":1}}\n";
	struct server *s = *state;
	struct client c;
	json_t *reply;

	client_open(&c, s);
	make_lease(&c, s, "");
	client_send(&c, batch, strlen(batch));
	reply = client_json(&c);
	assert_true(json_is_array(reply));
	assert_int_equal(number(json_object_get(json_array_get(reply, 0), "error"), "code"),
		RPC_INVALID_REQUEST);
	json_decref(reply);
	client_send(&c, notification, strlen(notification));
	json_decref(call(&c, "version", "{}"));
	assert_int_equal(n_sent, 0);
	client_close(&c);
}

/* More than the gateway makes. */
static void so_many_a_second(void **state)
{
	struct server *s = *state;
	struct client c;
	char params[64];
	json_int_t id;
	unsigned n;

	client_open(&c, s);
	id = make_lease(&c, s, "");
	for (n = 0; n < 10; n++) {
		json_t *result;

		ask(&c, n, id, ",\"timeout_s\":0.01");
		result = reply_to(&c, n);
		json_decref(result);
	}
	snprintf(params, sizeof(params), "{\"id\":%lld,\"timeout_s\":0.01}", (long long)id);
	for (bool is_refused = false; !is_refused; n++) {
		json_t *reply;

		assert_true(n < 1000);
		client_request(&c, n, "lease.check", params);
		reply = client_json(&c);
		is_refused = json_object_get(reply, "error") != NULL;
		if (is_refused)
			assert_int_equal(
				number(json_object_get(reply, "error"), "code"), RPC_TRY_AGAIN);
		json_decref(reply);
	}
	clock_offset_ns += 10 * NS_IN_S;
	ask(&c, 1000, id, ",\"timeout_s\":0.01");
	json_decref(reply_to(&c, 1000));
	client_close(&c);
}

/* Who asked is gone; who half closed is answered. */
static void askers_that_go(void **state)
{
	struct server *s = *state;
	struct client c, half;
	json_int_t id;
	json_t *result;

	client_open(&c, s);
	id = make_lease(&c, s, "");
	ask(&c, 5, id, "");
	until_sent(s, 1);
	client_close(&c);
	for (unsigned i = 0; i < 10; i++)
		pump(s);
	answer(TCP_SYN | TCP_ACK);
	client_open(&half, s);
	for (uint64_t deadline_ns = test_now_ns() + DEADLINE_S * NS_IN_S;
		probes_are_running(probes);) {
		pump(s);
		assert_true(test_now_ns() < deadline_ns);
	}
	ask(&half, 6, id, "");
	until_sent(s, 2);
	assert_int_equal(shutdown(half.fd, SHUT_WR), 0);
	for (unsigned i = 0; i < 10; i++)
		pump(s);
	answer(TCP_SYN | TCP_ACK);
	result = reply_to(&half, 6);
	expect(result, "answered", "");
	json_decref(result);
	assert_null(client_line(&half));
	client_close(&half);
}

/* The server ends while checks run: nothing is left behind (as ASan sees). */
static void the_server_ends(void **state)
{
	struct server *s = *state;
	struct client c;

	client_open(&c, s);
	ask(&c, 5, make_lease(&c, s, ""), "");
	until_sent(s, 1);
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
#define served(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		served(it_is_answered),
		served(nobody_waits),
		served(silence),
		served(a_peer_that_is_not_there),
		served(the_gateway_drops_it),
		served(who_is_admitted),
		served(never_from_where_clients_tunnel_to),
		served(the_last_one_counts),
		served(a_pinhole),
		served(a_port_of_a_lease),
		served(a_port_of_a_whole_address),
		served(what_is_refused),
		served(alone_only),
		served(so_many_a_second),
		served(askers_that_go),
		served(the_server_ends),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
