/* rpc: values written straight into a text, against jansson; and the memory of a message. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/time.h"
#include "rpc/rpc.h"

#include <inttypes.h>
#include <string.h>

#include "seeded.h"

/* What was written, as jansson reads it; the text is empty again. */
static json_t *read_back(struct rpc_text *t)
{
	json_t *value;

	assert_false(t->is_broken);
	value = json_loadb(t->chars, t->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	assert_non_null(value);
	rpc_text_cut(t, 0);
	return value;
}

static void written_is(struct rpc_text *t, const char *want)
{
	assert_int_equal(t->len, strlen(want));
	assert_memory_equal(t->chars, want, t->len);
	rpc_text_cut(t, 0);
}

static void members_and_items(void **state)
{
	struct rpc_text t = {0};

	rpc_write_begin(&t, NULL, '{');
	rpc_write_begin(&t, "none", '[');
	rpc_write_end(&t, ']');
	rpc_write_begin(&t, "list", '[');
	rpc_write_text(&t, NULL, "a");
	rpc_write_bool(&t, NULL, true);
	rpc_write_begin(&t, NULL, '{');
	rpc_write_end(&t, '}');
	rpc_write_null(&t, NULL);
	rpc_write_end(&t, ']');
	rpc_write_bool(&t, "no", false);
	rpc_write_json(&t, "tree", json_pack("{s:[i,i]}", "n", 1, 2));
	rpc_write_json(&t, "gone", NULL);
	rpc_write_end(&t, '}');
	written_is(&t, "{\"none\":[],\"list\":[\"a\",true,{},null],\"no\":false,"
		       "\"tree\":{\"n\":[1,2]},\"gone\":null}");
	rpc_text_fini(&t);
}

static void integers(void **state)
{
	static const int64_t edges[] = {
		0, 1, 9, 10, 99, 100, 101, 12345, INT64_MAX, -1, -10, -12345, INT64_MIN};
	struct rpc_text t = {0};
	char want[32];

	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		snprintf(want, sizeof(want), "%" PRId64, edges[i]);
		rpc_write_integer(&t, NULL, edges[i]);
		written_is(&t, want);
	}
	for (unsigned i = 0; i < 10000; i++) {
		int64_t value = (int64_t)(random_u64() >> (random_u64() % 64));

		snprintf(want, sizeof(want), "%" PRId64, value);
		rpc_write_integer(&t, NULL, value);
		written_is(&t, want);
	}
	rpc_text_fini(&t);
}

static void seconds(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {{0, "0"}, {1, "0.000"}, {NS_IN_MS, "0.001"}, {50 * NS_IN_MS + 7, "0.050"},
		{999 * NS_IN_MS, "0.999"}, {NS_IN_S, "1"}, {3600 * NS_IN_S, "3600"},
		{12 * NS_IN_S + 345 * NS_IN_MS, "12.345"}, {TIME_NEVER, "null"},
		{TIME_NEVER - 1, "18446744073.709"}};
	struct rpc_text t = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rpc_write_seconds(&t, NULL, cases[i].ns);
		written_is(&t, cases[i].text);
	}
	rpc_text_fini(&t);
}

static void texts_are_escaped(void **state)
{
	static const char *const cases[] = {"", "plain", "a \"quote\" and a \\", "tab\tline\n\x01",
		"caf\xc3\xa9", "\x7f", "\xf0\x9f\x9a\xaa"};
	struct rpc_text t = {0};
	json_t *value;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rpc_write_begin(&t, NULL, '{');
		rpc_write_bool(&t, "first", true);
		rpc_write_text(&t, "text", cases[i]);
		rpc_write_end(&t, '}');
		assert_null(memchr(t.chars, '\n', t.len));
		value = read_back(&t);
		assert_string_equal(json_string_value(json_object_get(value, "text")), cases[i]);
		json_decref(value);
	}
	/* Not UTF-8: no sound reply could have it. */
	rpc_write_text(&t, NULL, "\xc3\x28");
	written_is(&t, "null");
	rpc_text_fini(&t);
}

/* Any bytes, any length: what comes out is JSON, and says the same when it says anything. */
static void texts_at_random(void **state)
{
	struct rpc_text t = {0};

	for (unsigned round = 0; round < 10000; round++) {
		char text[64] = "";
		size_t len = random_u64() % sizeof(text);
		json_t *value, *want;

		for (size_t i = 0; i + 1 < len; i++)
			text[i] = (char)(random_u64() % (round % 2 ? 255 : 127) + 1);
		rpc_write_text(&t, NULL, text);
		value = read_back(&t);
		want = json_string(text);
		assert_true(want != NULL ? json_equal(value, want) : json_is_null(value));
		json_decref(value);
		json_decref(want);
	}
	rpc_text_fini(&t);
}

static void cut_is_wiped(void **state)
{
	struct rpc_text t = {0};

	rpc_text_append(&t, "keep secret", 11);
	rpc_text_cut(&t, 4);
	assert_int_equal(t.len, 4);
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(t.chars[4 + i], 0);
	rpc_text_fini(&t);
	assert_null(t.chars);
}

static size_t count_secrets(const char *bytes, size_t len, const char *secret)
{
	size_t n = 0;

	for (const char *at = bytes;
		(at = memmem(at, len - (size_t)(at - bytes), secret, strlen(secret))) != NULL; at++)
		n++;
	return n;
}

/* A preshared key does not outlive its message, though the memory does. */
static void messages_are_wiped(void **state)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"id\":1,"
				   "\"params\":{\"preshared_key\":\"hunter2hunter2\"}}";
	struct rpc_arena arena = {0};
	struct rpc_message m;
	struct rpc_request request;
	struct rpc_fault fault;
	const char *secret;

	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(rpc_message_parse(&arena, line, sizeof(line) - 1, &m, &fault), 0);
		assert_int_equal(rpc_message_request(&m, &request, &fault), 0);
		secret = rpc_value_text(rpc_value_get(request.params, "preshared_key"));
		assert_int_equal(count_secrets(secret, 14, "hunter2"), 2);
		rpc_message_fini(&m);
		/* The memory is kept, so this may be read. */
		assert_int_equal(count_secrets(secret, 14, "hunter2"), 0);
	}
	rpc_arena_fini(&arena);
	assert_null(arena.chars);
}

/* The largest line of values, each of which takes memory, again and again. */
static void large_messages(void **state)
{
	const size_t len = RPC_LINE_BYTES_MAX;
	char *line = malloc(len), *at = line;
	struct rpc_arena arena = {0};
	struct rpc_message m;
	struct rpc_fault fault;

	*at++ = '[';
	for (unsigned i = 0; i < RPC_BATCH_MAX; i++)
		at += sprintf(at, "%s{\"n\":%u,\"t\":\"%08x\"}", i ? "," : "", i, i);
	*at++ = ']';
	assert_true((size_t)(at - line) <= len);
	for (unsigned round = 0; round < 3; round++) {
		const struct rpc_value *item = NULL;
		unsigned i = 0;

		assert_int_equal(
			rpc_message_parse(&arena, line, (size_t)(at - line), &m, &fault), 0);
		assert_int_equal(m.n, RPC_BATCH_MAX);
		while ((item = rpc_value_next(m.root, item)) != NULL) {
			char text[16];

			snprintf(text, sizeof(text), "%08x", i);
			assert_int_equal(rpc_value_integer(rpc_value_get(item, "n")), i++);
			assert_string_equal(rpc_value_text(rpc_value_get(item, "t")), text);
		}
		assert_int_equal(i, m.n);
		rpc_message_fini(&m);
	}
	rpc_arena_fini(&arena);
	free(line);
}

static int setup(void **state)
{
	rpc_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_and_items),
		cmocka_unit_test(integers),
		cmocka_unit_test(seconds),
		cmocka_unit_test(texts_are_escaped),
		cmocka_unit_test(texts_at_random),
		cmocka_unit_test(cut_is_wiped),
		cmocka_unit_test(messages_are_wiped),
		cmocka_unit_test(large_messages),
	};

	random_seed();
	return cmocka_run_group_tests(tests, setup, NULL);
}
