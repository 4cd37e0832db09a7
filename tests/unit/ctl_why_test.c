/* ctl_why_test.c - what may be asked about a packet, and that it is asked as it was said. */
#include "ctl_server.h"

#include <netinet/in.h>

static struct why_packet asked;
static struct why_answer answer;
static int verdict;
static struct stats_recent recent[N_WORKERS];
static const struct stats_recent *recents[N_WORKERS];

static int play_path(void *arg, const struct why_packet *q, struct why_answer *out)
{
	asked = *q;
	*out = answer;
	return verdict;
}

static int setup(void **state)
{
	struct server *s = server_create();
	char fault[CTL_FAULT_CHARS];
	struct ctl_params p = server_params(s);

	for (unsigned i = 0; i < N_WORKERS; i++) {
		stats_recent_init(&recent[i], 600 * NS_IN_S);
		recents[i] = &recent[i];
	}
	p.recent = recents;
	p.why = play_path;
	answer = (struct why_answer){.to_peer = WHY_NOBODY};
	verdict = 0;
	s->ctl = ctl_create(&p, fault);
	assert_non_null(s->ctl);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	server_destroy(*state);
	return 0;
}

static void a_packet_is_asked_as_said(void **state)
{
	struct ip_addr src = address("203.0.113.9"), dst = address("198.51.100.3");
	struct client c;

	client_open(&c, *state);
	json_decref(call(&c, "why.packet",
		"{'proto':'udp','src':'203.0.113.9:5000','dst':'198.51.100.3:40001'}"));
	assert_false(asked.is_out);
	assert_int_equal(asked.port_idx, WHY_PORT_ANY);
	assert_int_equal(asked.proto, IPPROTO_UDP);
	assert_int_equal(asked.src_port, 5000);
	assert_int_equal(asked.dst_port, 40001);
	assert_true(ip_equal(&asked.src, &src));
	assert_true(ip_equal(&asked.dst, &dst));
	assert_int_equal(asked.ttl, 64);
	assert_int_equal(asked.size_bytes, 0);
	assert_false(asked.dont_fragment);
	add_peer(&c, "alice", 2);
	json_decref(call(&c, "why.packet",
		"{'peer':'alice','proto':'tcp','src':'[fd00::2]:1','dst':'[2001:db8::9]:2',"
		"'flags':'SA','ttl':3,'size':1300,'df':true}"));
	assert_true(asked.is_out);
	assert_int_equal(asked.tcp_flags, 0x12);
	assert_int_equal(asked.ttl, 3);
	assert_int_equal(asked.size_bytes, 1300);
	assert_true(asked.dont_fragment);
	json_decref(call(&c, "why.packet",
		"{'port':'wan','proto':'icmp','src':'192.0.2.9','dst':'192.0.2.1:77'}"));
	assert_int_equal(asked.port_idx, 0);
	assert_int_equal(asked.src_port, 77);
	assert_int_equal(asked.dst_port, 77);
	assert_false(asked.is_error);
	json_decref(call(&c, "why.packet",
		"{'proto':'icmp','src':'192.0.2.9','dst':'198.51.100.3','error':'3/13',"
		"'about':'udp 198.51.100.3:40001 203.0.113.9:53'}"));
	assert_true(asked.is_error);
	assert_int_equal(asked.icmp_type, 3);
	assert_int_equal(asked.icmp_code, 13);
	assert_int_equal(asked.quote.proto, IPPROTO_UDP);
	assert_true(ip_equal(&asked.quote.src.addr, &dst));
	assert_true(ip_equal(&asked.quote.dst.addr, &src));
	assert_int_equal(asked.quote.src.port, 40001);
	assert_int_equal(asked.quote.dst.port, 53);
	client_close(&c);
}

#define ERROR "'proto':'icmp','src':'1.2.3.4','dst':'1.2.3.5',"

static void what_is_no_packet_is_refused(void **state)
{
	static const struct {
		const char *params, *word;
	} rows[] = {
		{"'proto':'udp','src':'1.2.3.4','dst':'1.2.3.4:5'", "src has no port"},
		{"'proto':'udp','src':'1.2.3.4:1','dst':'1.2.3.4'", "dst has no port"},
		{"'proto':'udp','src':'1.2.3.4:0','dst':'1.2.3.4:5'", "src"},
		{"'proto':'udp','src':'1.2.3.4:65536','dst':'1.2.3.4:5'", "src"},
		{"'proto':'udp','src':'','dst':'1.2.3.4:5'", "src"},
		{"'proto':'udp','src':'host:1','dst':'1.2.3.4:5'", "host:1"},
		{"'proto':'udp','src':'1.2.3.4:1','dst':'[::9]:5'", "families"},
		{"'proto':'icmp','src':'2001:db8::1','dst':'2001:db8::2'", "icmpv6"},
		{"'proto':'icmpv6','src':'1.2.3.4','dst':'1.2.3.5'", "icmp for"},
		{"'proto':'icmp','src':'1.2.3.4:1','dst':'1.2.3.5:2'", "identifier"},
		{"'proto':'47','src':'1.2.3.4:1','dst':'1.2.3.5'", "no ports"},
		{"'proto':'gre','src':'1.2.3.4','dst':'1.2.3.5'", "gre"},
		{"'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','flags':'X'", "flags"},
		{"'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','flags':''", "flags"},
		{"'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','ttl':0", "ttl"},
		{"'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','ttl':256", "ttl"},
		{"'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','size':9217", "9216"},
		{"'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','size':0", "size"},
		{"'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','port':'lan'", "lan"},
		{"'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','port':'wan','peer':'alice'",
			"port alone"},
		{ERROR "'error':'3'", "error and about"},
		{ERROR "'about':'udp 1.2.3.5:1 1.2.3.6:2'", "error and about"},
		{ERROR "'error':'','about':'udp 1.2.3.5:1 1.2.3.6:2'", "error"},
		{ERROR "'error':'8','about':'udp 1.2.3.5:1 1.2.3.6:2'", "8"},
		{ERROR "'error':'3/','about':'udp 1.2.3.5:1 1.2.3.6:2'", "3/"},
		{ERROR "'error':'3/256','about':'udp 1.2.3.5:1 1.2.3.6:2'", "3/256"},
		{ERROR "'error':'3/4x','about':'udp 1.2.3.5:1 1.2.3.6:2'", "3/4x"},
		{ERROR "'error':'3','about':'udp 1.2.3.5:1'", "about"},
		{ERROR "'error':'3','about':'udp 1.2.3.5:1 1.2.3.6:2 3'", "about"},
		{ERROR "'error':'3','about':'udp 1.2.3.5 1.2.3.6:2'", "src has no port"},
		{ERROR "'error':'3','about':'udp [::1]:1 [::2]:2'", "other family"},
		{"'proto':'icmp','src':'1.2.3.4:7','dst':'1.2.3.5','error':'3',"
		 "'about':'udp 1.2.3.5:1 1.2.3.6:2'",
			"no identifier"},
		{"'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','error':'3',"
		 "'about':'udp 1.2.3.5:1 1.2.3.6:2'",
			"icmpv6"},
	};
	char params[256];
	struct client c;

	client_open(&c, *state);
	add_peer(&c, "alice", 2);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(params, sizeof(params), "{%s}", rows[i].params);
		refuse(&c, "why.packet", params, RPC_INVALID_PARAMS, rows[i].word, NULL);
	}
	refuse(&c, "why.packet", "{'peer':'bob','proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2'}",
		RPC_NOT_FOUND, "bob", NULL);
	verdict = -EMSGSIZE;
	refuse(&c, "why.packet", "{'proto':'tcp','src':'1.2.3.4:1','dst':'1.2.3.5:2','size':39}",
		RPC_INVALID_PARAMS, "40", NULL);
	client_close(&c);
}

static void the_answer_is_told(void **state)
{
	static const char *const ask =
		"{'proto':'tcp','src':'203.0.113.9:1','dst':'198.51.100.3:2'}";
	struct client c;
	json_t *result;

	client_open(&c, *state);
	answer.reason = STATS_DROP_no_lease;
	why_say(&answer, "door", "no lease");
	result = call(&c, "why.packet", ask);
	assert_string_equal(text(result, "end"), "dropped");
	assert_string_equal(text(result, "reason"), "no_lease");
	assert_string_equal(text(result, "help"), stats_drop_help(STATS_DROP_no_lease));
	assert_string_equal(text(result, "hint"), why_hint(STATS_DROP_no_lease));
	assert_true(json_is_null(json_object_get(result, "peer")));
	assert_string_equal(
		text(json_array_get(json_object_get(result, "stages"), 0), "stage"), "door");
	json_decref(result);
	add_peer(&c, "alice", 2);
	answer.end = WHY_FORWARDED;
	answer.to_peer = 0;
	answer.src = (struct ip_endpoint){address("203.0.113.9"), 1};
	answer.dst = (struct ip_endpoint){address("10.0.0.2"), 80};
	result = call(&c, "why.packet", ask);
	assert_string_equal(text(result, "end"), "forwarded");
	assert_true(json_is_null(json_object_get(result, "reason")));
	assert_string_equal(text(result, "peer"), "alice");
	assert_string_equal(text(result, "src"), "203.0.113.9:1");
	assert_string_equal(text(result, "dst"), "10.0.0.2:80");
	assert_string_equal(text(result, "port"), "wan");
	json_decref(result);
	client_close(&c);
}

/* --- recent drops */

static void record(unsigned worker, uint64_t age_s, uint8_t proto, const char *src,
	uint16_t src_port, const char *dst, uint16_t dst_port, enum stats_drop reason)
{
	struct stats_recent_drop d = {.at_ns = test_now_ns() - age_s * NS_IN_S,
		.src = {address(src), src_port},
		.dst = {address(dst), dst_port},
		.proto = proto,
		.size_bytes = 99,
		.reason = (uint8_t)reason};

	stats_recent_put(&recent[worker], &d);
}

static void recent_drops_are_told_youngest_first(void **state)
{
	struct client c;
	json_t *result, *list;

	client_open(&c, *state);
	record(0, 30, 17, "203.0.113.9", 1, "198.51.100.3", 2, STATS_DROP_no_lease);
	record(1, 20, 6, "2001:db8::9", 1, "fd00::2", 2, STATS_DROP_no_session);
	record(0, 10, 47, "203.0.113.9", 0, "198.51.100.3", 0, STATS_DROP_no_lease);
	result = call(&c, "drops", "{}");
	assert_null(json_object_get(result, "recent"));
	json_decref(result);
	result = call(&c, "drops", "{'recent':2}");
	list = json_object_get(result, "recent");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text(json_array_get(list, 0), "proto"), "47");
	assert_string_equal(text(json_array_get(list, 0), "src"), "203.0.113.9");
	assert_int_equal(number(json_array_get(list, 0), "worker"), 0);
	assert_string_equal(text(json_array_get(list, 1), "src"), "[2001:db8::9]:1");
	assert_string_equal(text(json_array_get(list, 1), "dst"), "[fd00::2]:2");
	assert_string_equal(text(json_array_get(list, 1), "reason"), "no_session");
	assert_int_equal(number(json_array_get(list, 1), "bytes"), 99);
	assert_int_equal(number(json_array_get(list, 1), "worker"), 1);
	json_decref(result);
	refuse(&c, "drops", "{'recent':0}", RPC_INVALID_PARAMS, "4000", NULL);
	refuse(&c, "drops", "{'recent':4001}", RPC_INVALID_PARAMS, "4000", NULL);
	client_close(&c);
}

/* Before and after it is rewritten; other ports, protocols and directions are other packets. */
static void those_that_match_are_told(void **state)
{
	struct client c;
	json_t *result;

	client_open(&c, *state);
	record(0, 1, 17, "203.0.113.9", 1, "198.51.100.3", 2, STATS_DROP_no_lease);
	record(1, 2, 17, "203.0.113.9", 1, "10.0.0.2", 80, STATS_DROP_peer_hold_full);
	record(0, 3, 6, "203.0.113.9", 1, "198.51.100.3", 2, STATS_DROP_no_lease);
	record(0, 3, 17, "203.0.113.9", 9, "198.51.100.3", 2, STATS_DROP_no_lease);
	record(0, 3, 17, "198.51.100.3", 2, "203.0.113.9", 1, STATS_DROP_no_lease);
	why_tuple_add(&answer, &(struct why_tuple){.proto = 17,
				       .src = {address("203.0.113.9"), 1},
				       .dst = {address("198.51.100.3"), 2}});
	why_tuple_add(&answer, &(struct why_tuple){.proto = 17,
				       .src = {address("203.0.113.9"), 1},
				       .dst = {address("10.0.0.2"), 80}});
	result = call(
		&c, "why.packet", "{'proto':'udp','src':'203.0.113.9:1','dst':'198.51.100.3:2'}");
	assert_int_equal(json_array_size(json_object_get(result, "recent")), 2);
	assert_string_equal(text(json_array_get(json_object_get(result, "recent"), 1), "reason"),
		"peer_hold_full");
	json_decref(result);
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
		served(a_packet_is_asked_as_said),
		served(what_is_no_packet_is_refused),
		served(the_answer_is_told),
		served(recent_drops_are_told_youngest_first),
		served(those_that_match_are_told),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
