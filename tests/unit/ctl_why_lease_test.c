/* ctl_why_lease_test.c - how a lease is explained: what is meant, what is told of it, and which
 * sentence comes out.
 */
#include "ctl_server.h"

#include <netinet/in.h>

static struct stats_recent recent[N_WORKERS];
static const struct stats_recent *recents[N_WORKERS];

static int serve(void **state, uint64_t reserve_ns)
{
	struct server *s = server_create();
	char fault[CTL_FAULT_CHARS];
	struct ctl_params p;

	s->conf.reserve_ns = reserve_ns;
	lease_table_destroy(s->leases);
	s->leases = make_leases(&s->conf);
	p = server_params(s);

	for (unsigned i = 0; i < N_WORKERS; i++) {
		stats_recent_init(&recent[i], 600 * NS_IN_S);
		recents[i] = &recent[i];
	}
	p.recent = recents;
	s->ctl = ctl_create(&p, fault);
	assert_non_null(s->ctl);
	*state = s;
	return 0;
}

static int setup(void **state)
{
	return serve(state, 0);
}

static int setup_reserving(void **state)
{
	return serve(state, 3600 * NS_IN_S);
}

static int teardown(void **state)
{
	server_destroy(*state);
	return 0;
}

/* The answer must say these words, up to NULL, in its verdict. */
static json_t *explain(struct client *c, const char *lease, ...)
{
	char params[128];
	const char *verdict, *word;
	json_t *answer;
	va_list ap;

	snprintf(params, sizeof(params), "{'lease':'%s'}", lease);
	answer = call(c, "why.lease", params);
	verdict = text(answer, "verdict");
	va_start(ap, lease);
	while ((word = va_arg(ap, const char *)) != NULL)
		if (strstr(verdict, word) == NULL)
			fail_msg("%s: \"%s\" does not say \"%s\"", lease, verdict, word);
	va_end(ap);
	return answer;
}

static void says(struct client *c, const char *lease, const char *words, const char *more)
{
	json_decref(explain(c, lease, words, more, NULL));
}

/* A peer with a lease on port 40007 to 8080; returns its id. */
static json_int_t make_lease(struct client *c, struct server *s, const char *more)
{
	char params[512];

	add_peer(c, "bob", 2);
	peer_home_set(s->peers, peer_find(s->peers, "bob"), 0);
	snprintf(params, sizeof(params),
		"{'peer':'bob','to_port':8080,'public_address':'198.51.100.1','public_port':40007%"
		"s}",
		more);
	return open_lease(c, params);
}

/* As a worker would, at the door of the lease. */
static void fails(struct server *s, enum door_failure failure, unsigned n)
{
	struct door_public_key key = {.port_be16 = htons(40007), .proto = IPPROTO_TCP};
	struct ip_addr addr = address("198.51.100.1");
	struct door *door;

	memcpy(key.addr_v4, ip_v4_bytes(&addr), 4);
	door = doors_lookup_public(s->doors, &key);
	if (!door) {
		key.proto = IPPROTO_UDP;
		door = doors_lookup_public(s->doors, &key);
		assert_non_null(door);
	}
	while (n-- > 0)
		doors_note_failure(s->doors, door, failure, false, test_now_ns());
}

static void a_lease_is_named(void **state)
{
	struct server *s = *state;
	struct client c;
	char id[32];
	json_t *answer;

	client_open(&c, s);
	snprintf(id, sizeof(id), "%lld", (long long)make_lease(&c, s, ",'proto':'tcp'"));
	says(&c, id, "is open", "198.51.100.1:40007");
	says(&c, "198.51.100.1:40007", "is open", NULL);
	says(&c, "198.51.100.1:40007/tcp", "is open", NULL);
	says(&c, "198.51.100.1:40007/udp", "not for udp", NULL);
	answer = explain(&c, id, NULL);
	assert_string_equal(text(answer, "public"), "198.51.100.1:40007");
	assert_string_equal(text(json_object_get(answer, "lease"), "state"), "active");
	assert_true(json_is_null(json_object_get(answer, "kept")));
	assert_true(json_is_true(json_object_get(answer, "peer_has_connected")));
	assert_true(json_is_number(json_object_get(answer, "state_age_s")));
	json_decref(answer);
	client_close(&c);
}

static void what_names_none_is_refused(void **state)
{
	static const char *const words[] = {"", "x", "-1", "1.5", "198.51.100.1", "198.51.100.1:0",
		"198.51.100.1:40007/", "198.51.100.1:40007/sctp", "198.51.100.1:40007/tcp/",
		"198.51.100.1:70000", "2001:db8::1:9", "99999999999999999999999",
		"198.51.100.1000000000000000000000000000000000000000000000000000000000000:1"};
	struct client c;
	char params[256];

	client_open(&c, *state);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		snprintf(params, sizeof(params), "{'lease':'%s'}", words[i]);
		refuse(&c, "why.lease", params, RPC_INVALID_PARAMS, "ADDRESS:PORT", NULL);
	}
	refuse(&c, "why.lease", "{'lease':'7'}", RPC_NOT_FOUND, "7", NULL);
	refuse(&c, "why.lease", "{}", RPC_INVALID_PARAMS, "lease", NULL);
	client_close(&c);
}

static void a_peer_that_is_not_there(void **state)
{
	struct server *s = *state;
	struct client c;
	char id[32];
	json_t *answer;

	client_open(&c, s);
	snprintf(id, sizeof(id), "%lld", (long long)make_lease(&c, s, ""));
	/* That comes before whatever else there is. */
	fails(s, DOOR_FAILURE_no_listener_tcp, 1);
	peer_home_set(s->peers, peer_find(s->peers, "bob"), PEER_HOME_NONE);
	says(&c, id, "bob has never connected", NULL);
	peer_home_set(s->peers, peer_find(s->peers, "bob"), 0);
	set_reachable(s, "bob", false);
	clock_offset_ns += 35 * NS_IN_S;
	answer = explain(&c, id, "bob has not answered for 35 s", NULL);
	assert_string_equal(text(json_object_get(answer, "lease"), "state"), "suspended");
	assert_true(json_number_value(json_object_get(answer, "unreachable_age_s")) >= 35);
	json_decref(answer);
	set_reachable(s, "bob", true);
	says(&c, id, "does not listen", NULL);
	client_close(&c);
}

static void failures_are_told(void **state)
{
	static const struct {
		enum door_failure failure;
		unsigned n;
		const char *words, *more;
	} rows[] = {
		/* From the one that hides least. */
		{DOOR_FAILURE_lease_source, 2, "2 packets were refused", "192.0.2.0/24"},
		{DOOR_FAILURE_too_big, 4, "4 packets were larger than the tunnel", NULL},
		{DOOR_FAILURE_lease_rate, 1, "faster than the 50 a second", "1 packet was"},
		{DOOR_FAILURE_lease_flows, 1, "faster than the 5 a second", "--max-new-flows"},
		{DOOR_FAILURE_no_listener_udp, 2,
			"the program on the peer's UDP port 8080 does not listen: 2 datagrams were "
			"refused there, the last 0 s ago",
			"or for tcp alone"},
		{DOOR_FAILURE_no_listener_tcp, 3,
			"the program on the peer's TCP port 8080 does not listen: 3 connections "
			"were refused there, the last 0 s ago; start it, or open the lease to the "
			"port that it has; over udp",
			"over udp: the program on the peer's UDP port"},
		{DOOR_FAILURE_peer_unreachable, 1, "did not answer: 1 packet was lost", NULL},
	};
	const json_t *list, *item;
	struct server *s = *state;
	json_t *answer, *shown;
	struct client c;
	char id[32], params[64];

	client_open(&c, s);
	snprintf(id, sizeof(id), "%lld",
		(long long)make_lease(
			&c, s, ",'from':['192.0.2.0/24'],'max_pps':50,'max_new_flows':5"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fails(s, rows[i].failure, rows[i].n);
		answer = explain(&c, id, rows[i].words, rows[i].more, NULL);
		list = json_object_get(answer, "failures");
		assert_int_equal(json_array_size(list), i + 1);
		item = json_array_get(list, 0);
		assert_string_equal(text(item, "reason"), door_failure_name(rows[i].failure));
		assert_int_equal(number(item, "n"), rows[i].n);
		assert_non_null(strstr(text(answer, "verdict"), text(item, "text")));
		json_decref(answer);
	}
	snprintf(params, sizeof(params), "{'id':%s}", id);
	/* It was heard since: that is listed, and explains nothing any more. */
	peer_hot(s->peers, peer_find(s->peers, "bob"))->last_received_ns = test_now_ns();
	says(&c, id, "does not listen", NULL);
	shown = call(&c, "lease.show", params);
	assert_int_equal(json_array_size(json_object_get(shown, "failures")), DOOR_N_FAILURES);
	json_decref(shown);
	/* What was long ago is listed, and explains nothing. */
	clock_offset_ns += 601 * NS_IN_S;
	answer = explain(&c, id, "is open and its peer answers", NULL);
	assert_int_equal(json_array_size(json_object_get(answer, "failures")), DOOR_N_FAILURES);
	json_decref(answer);
	client_close(&c);
}

static void sources_are_named_whole(void **state)
{
	struct server *s = *state;
	struct client c;
	char id[32];

	client_open(&c, s);
	snprintf(id, sizeof(id), "%lld",
		(long long)make_lease(&c, s,
			",'from':['2001:db8:1111:2222:3333:4444:5555:6660/127',"
			"'2001:db8:1111:2222:3333:4444:5555:6662/127',"
			"'2001:db8:1111:2222:3333:4444:5555:6664/127','192.0.2.0/24',"
			"'192.0.3.0/24','192.0.4.0/24','192.0.5.0/24','192.0.6.0/24']"));
	fails(s, DOOR_FAILURE_lease_source, 1);
	says(&c, id,
		"admits 2001:db8:1111:2222:3333:4444:5555:6660/127, "
		"2001:db8:1111:2222:3333:4444:5555:6662/127, "
		"2001:db8:1111:2222:3333:4444:5555:6664/127 and 5 more (--from)",
		NULL);
	client_close(&c);
}

/* One datagram from anywhere says nothing of the connections that are accepted: not when that is
 * asked, and not when nothing is. */
static void each_protocol_has_its_own_reason(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *answer;

	client_open(&c, s);
	make_lease(&c, s, "");
	fails(s, DOOR_FAILURE_no_listener_udp, 1);
	says(&c, "198.51.100.1:40007", "over tcp: the lease is open and its peer answers; over udp",
		"over udp: the program on the peer's UDP port 8080 does not listen");
	says(&c, "198.51.100.1:40007", "or for tcp alone", NULL);
	says(&c, "198.51.100.1:40007/udp", "UDP port 8080 does not listen", "or for tcp alone");
	answer = explain(&c, "198.51.100.1:40007/tcp", "is open and its peer answers", NULL);
	assert_string_equal(text(json_array_get(json_object_get(answer, "failures"), 0), "reason"),
		"no_listener_udp");
	json_decref(answer);
	fails(s, DOOR_FAILURE_no_listener_tcp, 1);
	says(&c, "198.51.100.1:40007/tcp", "TCP port 8080 does not listen", NULL);
	says(&c, "198.51.100.1:40007/udp", "UDP port 8080 does not listen", NULL);
	answer = explain(
		&c, "198.51.100.1:40007", "over tcp: the program", "over udp: the program", NULL);
	/* Neither is what is left. */
	assert_null(strstr(text(answer, "verdict"), "alone"));
	json_decref(answer);
	/* The older one explains nothing any more. */
	clock_offset_ns += 601 * NS_IN_S;
	fails(s, DOOR_FAILURE_no_listener_tcp, 1);
	says(&c, "198.51.100.1:40007", "TCP port 8080 does not listen",
		"over udp: the lease is open and its peer answers");
	client_close(&c);
}

static void datagrams_are_called_so(void **state)
{
	struct server *s = *state;
	struct client c;
	char id[32];
	json_t *answer;

	client_open(&c, s);
	snprintf(id, sizeof(id), "%lld", (long long)make_lease(&c, s, ",'proto':'udp'"));
	fails(s, DOOR_FAILURE_no_listener_udp, 1);
	says(&c, id, "1 datagram was refused", NULL);
	/* There is no other protocol to tell of. */
	answer = explain(&c, "198.51.100.1:40007", "1 datagram was refused", NULL);
	assert_null(strstr(text(answer, "verdict"), "over "));
	json_decref(answer);
	client_close(&c);
}

static void numbers_without_a_lease(void **state)
{
	struct server *s = *state;
	struct client c;
	char params[64];
	json_int_t id;
	json_t *answer;

	client_open(&c, s);
	says(&c, "198.51.100.1:40007", "is free", "--public-port 40007");
	says(&c, "198.51.100.1:80", "ports from 40000 to 40099", NULL);
	says(&c, "203.0.113.5:40007", "not one of leases.pool", NULL);
	says(&c, "[2001:db8::5]:80", "over IPv6", NULL);
	id = make_lease(&c, s, "");
	snprintf(params, sizeof(params), "{'id':%lld}", (long long)id);
	json_decref(call(&c, "lease.close", params));
	answer = explain(&c, "198.51.100.1:40007", "in quarantine", NULL);
	assert_string_equal(text(json_object_get(answer, "kept"), "state"), "quarantine");
	assert_true(json_is_null(json_object_get(answer, "lease")));
	json_decref(answer);
	client_close(&c);
}

static void a_number_that_is_kept_for_its_owner(void **state)
{
	struct server *s = *state;
	struct client c;
	char params[64];

	client_open(&c, s);
	snprintf(params, sizeof(params), "{'id':%lld}", (long long)make_lease(&c, s, ""));
	json_decref(call(&c, "lease.close", params));
	says(&c, "198.51.100.1:40007", "kept for peer bob for another", NULL);
	json_decref(call(&c, "peer.del", "{'peer':'bob'}"));
	says(&c, "198.51.100.1:40007", "in quarantine", NULL);
	client_close(&c);
}

static void a_range_is_found(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *answer;

	client_open(&c, s);
	add_peer(&c, "bob", 2);
	peer_home_set(s->peers, peer_find(s->peers, "bob"), 0);
	json_decref(call(&c, "lease.open",
		"{'peer':'bob','ports':8,'proto':'tcp','public_address':'198.51.100.1',"
		"'public_port':40000}"));
	answer = explain(&c, "198.51.100.1:40007/tcp", "is open", NULL);
	assert_int_equal(number(json_object_get(answer, "lease"), "ports"), 8);
	json_decref(answer);
	fails(s, DOOR_FAILURE_no_listener_tcp, 1);
	says(&c, "198.51.100.1:40003", "on the peer's TCP ports 40000-40007 does not listen", NULL);
	says(&c, "198.51.100.1:40008", "is free", NULL);
	client_close(&c);
}

static bool says_port_0(const char *text)
{
	const char *at = strstr(text, ":0");

	return strstr(text, "port 0") != NULL || strstr(text, "ports 0") != NULL ||
	       (at != NULL && strchr(" ;,", at[2]) != NULL);
}

static json_int_t make_whole(struct client *c, struct server *s)
{
	add_peer(c, "bob", 2);
	peer_home_set(s->peers, peer_find(s->peers, "bob"), 0);
	return open_lease(
		c, "{'peer':'bob','whole_address':true,'public_address':'198.51.100.64'}");
}

static void a_whole_address_is_explained(void **state)
{
	static const enum door_failure refused[] = {
		DOOR_FAILURE_no_listener_tcp, DOOR_FAILURE_no_listener_udp};
	struct server *s = *state;
	const json_t *list;
	struct client c;
	struct door *door;
	char id[32];
	json_t *answer;

	client_open(&c, s);
	snprintf(id, sizeof(id), "%lld", (long long)make_whole(&c, s));
	answer = explain(
		&c, id, "has to call 198.51.100.64, from outside", "--public-port N tries", NULL);
	assert_string_equal(text(answer, "public"), "198.51.100.64");
	json_decref(answer);
	door = doors_lookup_whole(s->doors, (const uint8_t[]){198, 51, 100, 64});
	assert_non_null(door);
	for (unsigned i = 0; i < 2; i++)
		doors_note_failure(s->doors, door, refused[i], false, test_now_ns());
	answer = explain(&c, "198.51.100.64:80", "is open and its peer answers", NULL);
	list = json_object_get(answer, "failures");
	assert_int_equal(json_array_size(list), 2);
	for (unsigned i = 0; i < 2; i++) {
		const char *said = text(json_array_get(list, i), "text");

		assert_non_null(strstr(said, "1 "));
		assert_false(says_port_0(said));
	}
	json_decref(answer);
	doors_note_failure(s->doors, door, DOOR_FAILURE_too_big, false, test_now_ns());
	says(&c, id, "larger than the tunnel", NULL);
	client_close(&c);
}

/* To any port of it, and of any protocol. */
static void recent_drops_of_a_whole_address(void **state)
{
	struct stats_recent_drop drop = {.proto = IPPROTO_TCP,
		.src = {address("203.0.113.9"), 5},
		.dst = {address("198.51.100.64"), 22},
		.size_bytes = 60};
	struct server *s = *state;
	struct client c;
	char id[32];
	json_t *answer;

	client_open(&c, s);
	snprintf(id, sizeof(id), "%lld", (long long)make_whole(&c, s));
	drop.at_ns = test_now_ns();
	stats_recent_put(&recent[0], &drop);
	drop.proto = IPPROTO_ICMP;
	drop.dst.port = 0;
	stats_recent_put(&recent[0], &drop);
	drop.dst.addr = address("198.51.100.65");
	stats_recent_put(&recent[0], &drop);
	answer = explain(&c, id, NULL);
	assert_int_equal(json_array_size(json_object_get(answer, "recent")), 2);
	json_decref(answer);
	answer = explain(&c, "198.51.100.64:443/tcp", NULL);
	assert_int_equal(json_array_size(json_object_get(answer, "recent")), 1);
	json_decref(answer);
	client_close(&c);
}

static void a_dedicated_address_without_a_lease(void **state)
{
	struct server *s = *state;
	struct client c;
	char params[64];
	json_t *answer;

	client_open(&c, s);
	says(&c, "198.51.100.64:80", "dedicated and free",
		"--whole-address --public-address 198.51.100.64 opens");
	snprintf(params, sizeof(params), "{'id':%lld}", (long long)make_whole(&c, s));
	json_decref(call(&c, "lease.close", params));
	answer = explain(&c, "198.51.100.64:80",
		"no lease is open at 198.51.100.64:80: it ended, and the address is kept for peer "
		"bob",
		NULL);
	assert_string_equal(text(json_object_get(answer, "kept"), "state"), "reserved");
	json_decref(answer);
	says(&c, "198.51.100.65:80", "dedicated and free", NULL);
	json_decref(call(&c, "peer.del", "{'peer':'bob'}"));
	says(&c, "198.51.100.64:80", "the address is in quarantine", NULL);
	client_close(&c);
}

static void a_pinhole_is_found(void **state)
{
	struct client c;

	client_open(&c, *state);
	json_decref(call(&c, "peer.add",
		"{'public_key':'AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=','name':'six',"
		"'address6':'2001:db8:7::5','forwarding':true}"));
	open_lease(&c, "{'peer':'six','to_port':80,'proto':'tcp'}");
	says(&c, "[2001:db8:7::5]:80/tcp", "six has never connected", NULL);
	says(&c, "[2001:db8:7::5]:80/udp", "not for udp", NULL);
	says(&c, "[2001:db8:7::5]:81", "no lease is open", NULL);
	client_close(&c);
}

/* Those to its public side, and those that were rewritten already. */
static void recent_drops_of_a_lease(void **state)
{
	struct stats_recent_drop drop = {.proto = IPPROTO_TCP,
		.src = {address("203.0.113.9"), 5},
		.dst = {address("198.51.100.1"), 40007},
		.size_bytes = 60};
	struct server *s = *state;
	struct client c;
	char id[32];
	json_t *answer;

	client_open(&c, s);
	snprintf(id, sizeof(id), "%lld", (long long)make_lease(&c, s, ",'proto':'tcp'"));
	drop.at_ns = test_now_ns();
	stats_recent_put(&recent[0], &drop);
	drop.dst = (struct ip_endpoint){address("10.0.0.2"), 8080};
	stats_recent_put(&recent[1], &drop);
	drop.dst.port = 8081;
	stats_recent_put(&recent[1], &drop);
	drop.dst.port = 8080;
	drop.proto = IPPROTO_UDP;
	stats_recent_put(&recent[1], &drop);
	answer = explain(&c, id, NULL);
	assert_int_equal(json_array_size(json_object_get(answer, "recent")), 2);
	json_decref(answer);
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
		served(a_lease_is_named),
		served(what_names_none_is_refused),
		served(a_peer_that_is_not_there),
		served(failures_are_told),
		served(sources_are_named_whole),
		served(each_protocol_has_its_own_reason),
		served(datagrams_are_called_so),
		served(numbers_without_a_lease),
		cmocka_unit_test_setup_teardown(
			a_number_that_is_kept_for_its_owner, setup_reserving, teardown),
		served(a_range_is_found),
		served(a_whole_address_is_explained),
		served(recent_drops_of_a_whole_address),
		cmocka_unit_test_setup_teardown(
			a_dedicated_address_without_a_lease, setup_reserving, teardown),
		served(a_pinhole_is_found),
		served(recent_drops_of_a_lease),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
