/* rpc: framing at every split, messages sound and unsound, parameters, replies. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "rpc/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t rng_state;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static void seed_rng(void)
{
	const char *text = getenv("PORTIER_TEST_SEED");

	rng_state = text != NULL ? strtoull(text, NULL, 0) : 0x5eed1234abcdefULL;
	if (rng_state == 0)
		rng_state = 1;
	print_message("PORTIER_TEST_SEED=%llu\n", (unsigned long long)rng_state);
}

static void feed(struct rpc_lines *l, const char *bytes, size_t len)
{
	void *room = rpc_lines_reserve(l, len);

	assert_non_null(room);
	memcpy(room, bytes, len);
	rpc_lines_commit(l, len);
}

static void assert_next(struct rpc_lines *l, const char *want)
{
	const char *line;
	size_t len;

	assert_int_equal(rpc_lines_next(l, &line, &len), 1);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(line, want, len);
}

static void assert_no_next(struct rpc_lines *l)
{
	const char *line;
	size_t len;

	assert_int_equal(rpc_lines_next(l, &line, &len), 0);
}

static void lines_split_anywhere(void **state)
{
	const char text[] = "one\n\ntwo\r\nthree\n";
	const size_t len = sizeof(text) - 1;

	for (size_t a = 0; a <= len; a++) {
		for (size_t b = a; b <= len; b++) {
			const char *want[] = {"one", "", "two", "three"};
			const size_t cuts[] = {0, a, b, len};
			struct rpc_lines l;
			unsigned n = 0;
			const char *line;
			size_t line_len;

			rpc_lines_init(&l, 16);
			for (unsigned i = 0; i < 3; i++) {
				feed(&l, text + cuts[i], cuts[i + 1] - cuts[i]);
				while (rpc_lines_next(&l, &line, &line_len) == 1) {
					assert_true(n < 4);
					assert_int_equal(line_len, strlen(want[n]));
					assert_memory_equal(line, want[n], line_len);
					n++;
				}
			}
			assert_int_equal(n, 4);
			rpc_lines_fini(&l);
		}
	}
}

static void lines_too_long(void **state)
{
	struct rpc_lines l;
	const char *line;
	size_t len;

	rpc_lines_init(&l, 8);
	feed(&l, "12345678\n", 9);
	assert_next(&l, "12345678");
	feed(&l, "12345678", 8);
	assert_no_next(&l);
	feed(&l, "9", 1);
	assert_int_equal(rpc_lines_next(&l, &line, &len), -EMSGSIZE);
	feed(&l, "\nshort\n", 7);
	assert_int_equal(rpc_lines_next(&l, &line, &len), -EMSGSIZE);
	assert_int_equal(rpc_lines_next(&l, &line, &len), -EMSGSIZE);
	rpc_lines_fini(&l);
}

/* A preshared key must not stay in the buffer once its line was dealt with. */
static void lines_are_wiped(void **state)
{
	struct rpc_lines l;

	rpc_lines_init(&l, 100);
	feed(&l, "secret-secret\nrest", 18);
	assert_next(&l, "secret-secret");
	assert_non_null(rpc_lines_reserve(&l, 1));
	assert_int_equal(l.len, 4);
	for (size_t i = l.len; i < 18; i++)
		assert_int_equal(l.buf[i], 0);
	assert_memory_equal(l.buf, "rest", 4);
	rpc_lines_fini(&l);
}

static void lines_shrink_after_a_long_one(void **state)
{
	const size_t len = 300000;
	char *text = malloc(len);
	struct rpc_lines l;
	const char *line;
	size_t line_len;

	memset(text, 'x', len);
	text[len - 1] = '\n';
	rpc_lines_init(&l, RPC_LINE_BYTES_MAX);
	for (size_t at = 0; at < len; at += 1000)
		feed(&l, text + at, 1000);
	assert_int_equal(rpc_lines_next(&l, &line, &line_len), 1);
	assert_int_equal(line_len, len - 1);
	feed(&l, "y\n", 2);
	assert_true(l.room < 100000);
	assert_next(&l, "y");
	rpc_lines_fini(&l);
	free(text);
}

/* --- messages ----------------------------------------------------------------------------------*/

static struct rpc_arena arena;

static int parse(const char *line, struct rpc_message *m, struct rpc_fault *f)
{
	/* A copy of exactly this length: a read past its end is seen by the sanitiser. It lives as
	 * long as the message. */
	static char *copy;
	size_t len = strlen(line);

	free(copy);
	copy = malloc(len > 0 ? len : 1);
	memcpy(copy, line, len);
	return rpc_message_parse(&arena, copy, len, m, f);
}

static void message_single(void **state)
{
	struct rpc_fault f;
	struct rpc_message m;
	struct rpc_request r;

	assert_int_equal(parse("{\"jsonrpc\":\"2.0\",\"method\":\"peer.list\",\"params\":{\"a\":1},"
			       "\"id\":\"x\"}",
				 &m, &f),
		0);
	assert_false(m.is_batch);
	assert_int_equal(m.n, 1);
	assert_int_equal(rpc_message_request(&m, &r, &f), 0);
	assert_string_equal(r.method, "peer.list");
	assert_string_equal(rpc_value_text(r.id), "x");
	assert_int_equal(rpc_value_count(r.params), 1);
	assert_false(r.is_notification);
	rpc_message_fini(&m);
}

static void message_batch(void **state)
{
	struct rpc_fault f;
	struct rpc_message m;
	struct rpc_request r;

	assert_int_equal(parse("[{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":null},7,"
			       "{\"jsonrpc\":\"2.0\",\"method\":\"b\"},"
			       "{\"jsonrpc\":\"2.0\",\"method\":\"c\",\"params\":[1],\"id\":5}]",
				 &m, &f),
		0);
	assert_true(m.is_batch);
	assert_int_equal(m.n, 4);
	assert_int_equal(rpc_message_request(&m, &r, &f), 0);
	assert_false(r.is_notification);
	assert_true(r.id->kind == RPC_NULL);
	assert_int_equal(rpc_message_request(&m, &r, &f), -EINVAL);
	assert_int_equal(f.code, RPC_INVALID_REQUEST);
	assert_null(r.id);
	assert_int_equal(rpc_message_request(&m, &r, &f), 0);
	assert_true(r.is_notification);
	assert_int_equal(rpc_message_request(&m, &r, &f), -EINVAL);
	assert_int_equal(f.code, RPC_INVALID_PARAMS);
	assert_int_equal(rpc_value_integer(r.id), 5);
	rpc_message_fini(&m);
}

static void message_unsound(void **state)
{
	static const struct {
		const char *line;
		int code;
	} cases[] = {
		{"", RPC_PARSE_ERROR},
		{" ", RPC_PARSE_ERROR},
		{"{", RPC_PARSE_ERROR},
		{"{}{}", RPC_PARSE_ERROR},
		{"{'a':1}", RPC_PARSE_ERROR},
		{"\xff\xfe", RPC_PARSE_ERROR},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"\xc3\",\"id\":1}", RPC_PARSE_ERROR},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"a\\u0000b\",\"id\":1}", RPC_PARSE_ERROR},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"method\":\"b\",\"id\":1}",
			RPC_PARSE_ERROR},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":99999999999999999999}",
			RPC_PARSE_ERROR},
		{"[]", RPC_INVALID_REQUEST},
		{"7", RPC_INVALID_REQUEST},
		{"null", RPC_INVALID_REQUEST},
		{"\"x\"", RPC_INVALID_REQUEST},
		{"{}", RPC_INVALID_REQUEST},
		{"{\"method\":\"a\",\"id\":1}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":2.0,\"method\":\"a\",\"id\":1}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"1.0\",\"method\":\"a\",\"id\":1}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"id\":1}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":1,\"id\":1}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":true}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":{}}", RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"params\":1,\"id\":1}",
			RPC_INVALID_REQUEST},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"params\":[],\"id\":1}",
			RPC_INVALID_PARAMS},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rpc_fault f = {0};
		struct rpc_message m = {.arena = &arena};
		struct rpc_request r;
		int err = parse(cases[i].line, &m, &f);

		if (err == 0)
			err = rpc_message_request(&m, &r, &f);
		assert_int_equal(err, -EINVAL);
		assert_int_equal(f.code, cases[i].code);
		assert_true(strlen(f.sentence) > 0);
		rpc_message_fini(&m);
	}
}

static void message_truncated_at_each_length(void **state)
{
	const char line[] =
		"[{\"jsonrpc\":\"2.0\",\"method\":\"lease.open\",\"params\":{\"peer\":\"a\"},"
		"\"id\":1}]";

	for (size_t len = 0; len < sizeof(line) - 1; len++) {
		char *copy = strndup(line, len);
		struct rpc_message m;
		struct rpc_fault f;

		assert_int_equal(parse(copy, &m, &f), -EINVAL);
		assert_int_equal(f.code, RPC_PARSE_ERROR);
		free(copy);
	}
}

static void message_deep_and_wide(void **state)
{
	const size_t depth = 100000;
	char *deep = malloc(depth + 1), *wide = malloc(2 * (RPC_BATCH_MAX + 1) + 2), *at = wide;
	struct rpc_message m;
	struct rpc_fault f;

	memset(deep, '[', depth);
	deep[depth] = '\0';
	assert_int_equal(parse(deep, &m, &f), -EINVAL);
	assert_int_equal(f.code, RPC_PARSE_ERROR);

	for (unsigned i = 0; i <= RPC_BATCH_MAX; i++) {
		*at++ = i == 0 ? '[' : ',';
		*at++ = '1';
	}
	*at++ = ']';
	*at = '\0';
	assert_int_equal(parse(wide, &m, &f), -EINVAL);
	assert_int_equal(f.code, RPC_INVALID_REQUEST);
	free(deep);
	free(wide);
}

/* A fault never quotes the line: it may hold a key. */
static void parse_fault_keeps_secrets(void **state)
{
	struct rpc_message m;
	struct rpc_fault f;

	assert_int_equal(parse("{\"preshared_key\":\"hunter2hunter2", &m, &f), -EINVAL);
	assert_null(strstr(f.sentence, "hunter2"));
	assert_null(strstr(f.culprit, "hunter2"));
}

static void message_garbage(void **state)
{
	static const char *const pieces[] = {"{", "}", "[", "]", ":", ",", "\"jsonrpc\"", "\"2.0\"",
		"\"method\"", "\"id\"", "\"params\"", "1", "null", "\"\\ud800\"", "-0.5e9",
		"\xc3\x28"};

	for (unsigned round = 0; round < 20000; round++) {
		char line[200] = "";
		struct rpc_message m;
		struct rpc_request r;
		struct rpc_fault f;

		for (unsigned i = 0; i < rng() % 14; i++) {
			if (rng() % 8 == 0)
				strcat(line, (char[]){(char)(rng() % 255 + 1), '\0'});
			else
				strcat(line, pieces[rng() % (sizeof(pieces) / sizeof(pieces[0]))]);
		}
		if (parse(line, &m, &f) != 0)
			continue;
		for (size_t i = 0; i < m.n; i++)
			rpc_message_request(&m, &r, &f);
		rpc_message_fini(&m);
	}
}

/* --- parameters --------------------------------------------------------------------------------*/

static const struct rpc_param list[] = {
	{"peer", RPC_TEXT, true, "a name or a public key"},
	{"sources", RPC_TEXTS, false, NULL},
	{"forwarding", RPC_BOOL, false, NULL},
	{"port", RPC_INTEGER, false, NULL},
	{"ttl_s", RPC_SECONDS, false, NULL},
};

static int check(const char *text, struct rpc_fault *f)
{
	const struct rpc_value *params;
	size_t at;

	assert_int_equal(rpc_read(&arena, text, strlen(text), &params, &at), 0);
	return rpc_params_check(params, list, sizeof(list) / sizeof(list[0]), f);
}

static void params_checked(void **state)
{
	static const struct {
		const char *text, *culprit; /* NULL: sound */
	} cases[] = {
		{"{\"peer\":\"a\"}", NULL},
		{"{\"peer\":\"a\",\"sources\":[],\"forwarding\":false,\"port\":0,\"ttl_s\":0.5}",
			NULL},
		{"{\"peer\":\"a\",\"sources\":[\"x\",\"y\"],\"ttl_s\":7}", NULL},
		{"{}", "peer"},
		{"{\"peer\":1}", "peer"},
		{"{\"peer\":null}", "peer"},
		{"{\"peer\":\"a\",\"per\":\"b\"}", "per"},
		{"{\"peer\":\"a\",\"sources\":\"x\"}", "sources"},
		{"{\"peer\":\"a\",\"sources\":[\"x\",1]}", "sources"},
		{"{\"peer\":\"a\",\"forwarding\":1}", "forwarding"},
		{"{\"peer\":\"a\",\"port\":-1}", "port"},
		{"{\"peer\":\"a\",\"port\":1.0}", "port"},
		{"{\"peer\":\"a\",\"ttl_s\":-0.1}", "ttl_s"},
		{"{\"peer\":\"a\",\"ttl_s\":\"1h\"}", "ttl_s"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rpc_fault f = {0};

		assert_int_equal(check(cases[i].text, &f), cases[i].culprit == NULL ? 0 : -EINVAL);
		if (cases[i].culprit != NULL) {
			assert_string_equal(f.culprit, cases[i].culprit);
			assert_non_null(strstr(f.sentence, cases[i].culprit));
			assert_true(strlen(f.accepts) > 0);
			assert_int_equal(f.code, RPC_INVALID_PARAMS);
		}
	}
}

static void params_none(void **state)
{
	struct rpc_fault f;

	assert_int_equal(rpc_params_check(NULL, NULL, 0, &f), 0);
	assert_int_equal(rpc_params_check(NULL, list + 1, 4, &f), 0);
	assert_int_equal(rpc_params_check(NULL, list, 5, &f), -EINVAL);
}

/* --- replies -----------------------------------------------------------------------------------*/

static int parse_reply(
	const struct rpc_text *t, json_int_t id, json_t **result, struct rpc_fault *f)
{
	assert_false(t->is_broken);
	return rpc_reply_parse(t->chars, t->len, id, result, f);
}

static void reply_result(void **state)
{
	struct rpc_text t = {0};
	struct rpc_fault f;
	struct rpc_value id = {.kind = RPC_WHOLE, .integer = 7};
	json_t *result;

	rpc_text_result_begin(&t, &id);
	rpc_write_json(&t, NULL, json_pack("{s:i}", "n", 3));
	rpc_text_result_end(&t);
	assert_int_equal(parse_reply(&t, 7, &result, &f), 0);
	assert_int_equal(json_integer_value(json_object_get(result, "n")), 3);
	json_decref(result);
	assert_int_equal(parse_reply(&t, 8, &result, &f), -EPROTO);
	rpc_text_fini(&t);
}

static void reply_fault(void **state)
{
	struct rpc_text t = {0};
	struct rpc_fault f, back;
	struct rpc_value id = {.kind = RPC_WHOLE, .integer = 7};
	json_t *result;

	assert_int_equal(
		rpc_fault_set(&f, RPC_IN_USE, "port 5", "any other", "port %d is \"taken\"\n", 5),
		-EINVAL);
	rpc_text_fault(&t, &id, &f);
	assert_int_equal(parse_reply(&t, 7, &result, &back), -EREMOTEIO);
	assert_int_equal(back.code, RPC_IN_USE);
	assert_string_equal(back.sentence, "port 5 is \"taken\"\n");
	assert_string_equal(back.culprit, "port 5");
	assert_string_equal(back.accepts, "any other");
	rpc_text_fini(&t);

	/* A line that could not be read is answered to nobody in particular. */
	rpc_text_fault(&t, NULL, &f);
	assert_int_equal(parse_reply(&t, 7, &result, &back), -EREMOTEIO);
	rpc_text_fini(&t);
}

static void reply_unsound(void **state)
{
	static const char *const cases[] = {"", "[]", "{}", "null",
		"{\"jsonrpc\":\"2.0\",\"id\":7}", "{\"jsonrpc\":\"2.0\",\"id\":\"7\",\"result\":1}",
		"{\"jsonrpc\":\"1.0\",\"id\":7,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1,\"error\":{\"code\":1}}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":5}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":\"x\",\"message\":\"m\"}}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":1}"};
	struct rpc_fault f;
	json_t *result;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			rpc_reply_parse(cases[i], strlen(cases[i]), 7, &result, &f), -EPROTO);
}

static void request_round_trip(void **state)
{
	struct rpc_text t = {0};
	struct rpc_message m;
	struct rpc_request r;
	struct rpc_fault f;

	rpc_text_request(&t, 42, "lease.show", json_pack("{s:i}", "id", 9));
	assert_int_equal(t.chars[t.len - 1], '\n');
	assert_null(memchr(t.chars, '\n', t.len - 1));
	assert_int_equal(rpc_message_parse(&arena, t.chars, t.len - 1, &m, &f), 0);
	assert_int_equal(rpc_message_request(&m, &r, &f), 0);
	assert_string_equal(r.method, "lease.show");
	assert_int_equal(rpc_value_integer(r.id), 42);
	assert_int_equal(rpc_value_integer(rpc_value_get(r.params, "id")), 9);
	rpc_message_fini(&m);
	rpc_text_fini(&t);

	rpc_text_request(&t, 1, "stats", NULL);
	assert_int_equal(rpc_message_parse(&arena, t.chars, t.len - 1, &m, &f), 0);
	assert_int_equal(rpc_message_request(&m, &r, &f), 0);
	assert_null(r.params);
	rpc_message_fini(&m);
	rpc_text_fini(&t);
}

/* Sentences that do not fit are cut between characters, so that they stay JSON. */
static void fault_cut_is_utf8(void **state)
{
	for (unsigned shift = 0; shift < 4; shift++) {
		char text[1200] = "";
		struct rpc_fault f;
		struct rpc_text t = {0};
		json_t *s;

		memset(text, 'x', shift);
		for (size_t at = shift; at < 1100; at += 3)
			memcpy(text + at, "\xe2\x82\xac", 3);
		rpc_fault_set(&f, RPC_REFUSED, text, text, "%s", text);
		assert_true(strlen(f.sentence) >= RPC_SENTENCE_CHARS - 4);
		s = json_string(f.sentence);
		assert_non_null(s);
		json_decref(s);
		rpc_text_fault(&t, NULL, &f);
		assert_non_null(memmem(t.chars, t.len, "culprit", 7));
		assert_non_null(memmem(t.chars, t.len, "accepts", 7));
		rpc_text_fini(&t);
	}
}

static void excerpt_is_utf8(void **state)
{
	char buf[RPC_EXCERPT_CHARS], text[200] = "";

	assert_string_equal(rpc_excerpt("short", buf), "short");
	for (unsigned shift = 0; shift < 3; shift++) {
		json_t *s;

		memset(text, 'y', shift);
		for (size_t at = shift; at < 120; at += 3)
			memcpy(text + at, "\xe2\x82\xac", 4);
		rpc_excerpt(text, buf);
		assert_string_equal(buf + strlen(buf) - 3, "...");
		s = json_string(buf);
		assert_non_null(s);
		json_decref(s);
	}
}

static int setup(void **state)
{
	rpc_init();
	seed_rng();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_split_anywhere),
		cmocka_unit_test(lines_too_long),
		cmocka_unit_test(lines_are_wiped),
		cmocka_unit_test(lines_shrink_after_a_long_one),
		cmocka_unit_test(message_single),
		cmocka_unit_test(message_batch),
		cmocka_unit_test(message_unsound),
		cmocka_unit_test(message_truncated_at_each_length),
		cmocka_unit_test(message_deep_and_wide),
		cmocka_unit_test(parse_fault_keeps_secrets),
		cmocka_unit_test(message_garbage),
		cmocka_unit_test(params_checked),
		cmocka_unit_test(params_none),
		cmocka_unit_test(reply_result),
		cmocka_unit_test(reply_fault),
		cmocka_unit_test(reply_unsound),
		cmocka_unit_test(request_round_trip),
		cmocka_unit_test(fault_cut_is_utf8),
		cmocka_unit_test(excerpt_is_utf8),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
