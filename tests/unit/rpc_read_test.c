/* rpc: reading values, against what each text says, and against another reader. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "rpc/rpc.h"
#include "seeded.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct rpc_arena arena;

/* From a copy of exactly this length, so that a read past its end is seen by the sanitiser. It
 * lives until the next. */
static int read_bytes(const char *text, size_t len, const struct rpc_value **out, size_t *at)
{
	static char *copy;

	free(copy);
	copy = malloc(len > 0 ? len : 1);
	assert_non_null(copy);
	memcpy(copy, text, len);
	return rpc_read(&arena, copy, len, out, at);
}

static const struct rpc_value *read_sound(const char *text)
{
	const struct rpc_value *v = NULL;
	size_t at;

	if (read_bytes(text, strlen(text), &v, &at) != 0)
		fail_msg("not read: %s", text);
	assert_int_equal(at, strlen(text));
	return v;
}

static void kinds(void **state)
{
	const struct rpc_value *v;

	assert_int_equal(read_sound("null")->kind, RPC_NULL);
	assert_int_equal(read_sound(" true\t")->kind, RPC_TRUE);
	assert_int_equal(read_sound("false")->kind, RPC_FALSE);
	assert_int_equal(rpc_value_integer(read_sound("-9223372036854775808")), INT64_MIN);
	assert_int_equal(rpc_value_integer(read_sound("9223372036854775807")), INT64_MAX);
	assert_int_equal(rpc_value_integer(read_sound("-0")), 0);
	v = read_sound("1e3");
	assert_false(rpc_value_is_integer(v));
	assert_true(rpc_value_number(v) == 1000);
	assert_true(rpc_value_number(read_sound("-0.25E-1")) == -0.025);
	assert_true(rpc_value_number(read_sound("7")) == 7);
	assert_string_equal(rpc_value_text(read_sound("\"\"")), "");
	assert_int_equal(rpc_value_count(read_sound("[ ]")), 0);
	assert_int_equal(rpc_value_count(read_sound("{ }")), 0);
}

static void texts(void **state)
{
	const struct rpc_value *v =
		read_sound("\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u0041\\u00e9\\u20AC\\ud83d\\ude00 "
			   "\xf4\x8f\xbf\xbf\"");

	assert_string_equal(v->text, "\"\\/\b\f\n\r\t A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 "
				     "\xf4\x8f\xbf\xbf");
	assert_int_equal(v->n, strlen(v->text));
}

static void members_and_items(void **state)
{
	const struct rpc_value *v = read_sound("{\"a\": [1, [2, 3], {\"x\": 4}], \"b\\u0063\" :5 ,"
					       "\"\":{\"a\":6}}"),
			       *list = rpc_value_get(v, "a"), *item;

	assert_int_equal(rpc_value_count(v), 3);
	assert_int_equal(rpc_value_count(list), 3);
	item = rpc_value_next(list, NULL);
	assert_int_equal(rpc_value_integer(item), 1);
	item = rpc_value_next(list, item);
	assert_int_equal(rpc_value_count(item), 2);
	item = rpc_value_next(list, item);
	assert_int_equal(rpc_value_integer(rpc_value_get(item, "x")), 4);
	assert_null(rpc_value_next(list, item));
	assert_int_equal(rpc_value_integer(rpc_value_get(v, "bc")), 5);
	assert_int_equal(rpc_value_integer(rpc_value_get(rpc_value_get(v, ""), "a")), 6);
	assert_null(rpc_value_get(v, "x"));
	assert_null(rpc_value_get(list, "a"));
}

/* Of nothing, and of what is something else. */
static void answers_of_nothing(void **state)
{
	const struct rpc_value *v = read_sound("{\"t\":\"7\",\"i\":7}");

	assert_null(rpc_value_get(NULL, "t"));
	assert_null(rpc_value_text(rpc_value_get(v, "i")));
	assert_int_equal(rpc_value_integer(rpc_value_get(v, "t")), 0);
	assert_int_equal(rpc_value_count(rpc_value_get(v, "t")), 0);
	assert_null(rpc_value_next(rpc_value_get(v, "t"), NULL));
	assert_true(rpc_value_number(NULL) == 0);
	assert_false(rpc_value_is_true(NULL));
}

static void unsound(void **state)
{
	static const char *const cases[] = {"", " ", "nul", "True", "01", "-", "+1", "1.", ".5",
		"1e", "1e+", "--1", "0x10", "1 2", "9223372036854775808", "-9223372036854775809",
		"1e999", "NaN", "\"", "\"a", "\"\x01\"", "\"\\\"", "\"\\x\"", "\"\\u12g4\"",
		"\"\\u0000\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\x80\"",
		"\"\xc1\x81\"", "\"\xe0\x9f\xbf\"", "\"\xed\xa0\x80\"", "\"\xf0\x8f\xbf\xbf\"",
		"\"\xf4\x90\x80\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "[", "[1", "[1,]",
		"[,1]", "[1 2]", "]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{a:1}",
		"{\"a\" 1}", "{1:1}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{}}", "[1}",
		"'a'", "/**/1",
		("\xef\xbb\xbf"
		 "1")};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct rpc_value *v = NULL;
		size_t at;

		if (read_bytes(cases[i], strlen(cases[i]), &v, &at) != -EINVAL)
			fail_msg("read: %s", cases[i]);
		assert_null(v);
		assert_in_range(at, 0, strlen(cases[i]));
		assert_int_equal(arena.n_chars, 0);
	}
	assert_int_equal(read_bytes("\"a\0b\"", 5, &(const struct rpc_value *){NULL}, &(size_t){0}),
		-EINVAL);
}

/* Keys come as texts, and a line may end in the middle of one. */
static void nothing_is_left_of_a_text(void **state)
{
	static const char *const lines[] = {"[\"secret\",\"secret\"", "[\"secret", "\"secr\\u00zz"};
	const struct rpc_value *v;
	size_t at;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(read_bytes(lines[i], strlen(lines[i]), &v, &at), -EINVAL);
		for (size_t k = 0; k < arena.chars_room; k++)
			assert_int_equal(arena.chars[k], 0);
	}
}

static void deep_and_wide(void **state)
{
	char text[16384], *at = text;
	const struct rpc_value *v;
	size_t failed_at;

	for (unsigned depth = RPC_DEPTH_MAX; depth <= RPC_DEPTH_MAX + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		assert_int_equal(read_bytes(text, 2 * depth, &v, &failed_at),
			depth > RPC_DEPTH_MAX ? -E2BIG : 0);
	}
	for (unsigned i = 0; i < RPC_MEMBERS_MAX; i++)
		at += sprintf(at, "%c\"m%u\":%u", i == 0 ? '{' : ',', i, i);
	*at = '}';
	assert_int_equal(read_bytes(text, (size_t)(at + 1 - text), &v, &failed_at), 0);
	assert_int_equal(rpc_value_count(v), RPC_MEMBERS_MAX);
	assert_int_equal(rpc_value_integer(rpc_value_get(v, "m255")), 255);
	at += sprintf(at, ",\"more\":1}");
	assert_int_equal(read_bytes(text, (size_t)(at - text), &v, &failed_at), -E2BIG);
}

/* --- against another reader --------------------------------------------------------------------*/

static void assert_same(const struct rpc_value *v, json_t *other)
{
	const struct rpc_value *item = NULL;
	json_t *member;
	const char *name;
	size_t i;

	assert_int_equal(rpc_value_is_integer(v), json_is_integer(other));
	assert_int_equal(rpc_value_integer(v), json_integer_value(other));
	assert_true(rpc_value_number(v) == json_number_value(other));
	assert_int_equal(rpc_value_is_true(v), json_is_true(other));
	assert_int_equal(v->kind == RPC_NULL, json_is_null(other));
	assert_int_equal(v->kind == RPC_STRING, json_is_string(other));
	if (json_is_string(other))
		assert_string_equal(v->text, json_string_value(other));
	assert_int_equal(rpc_value_count(v), json_array_size(other) + json_object_size(other));
	json_array_foreach(other, i, member)
	{
		item = rpc_value_next(v, item);
		assert_same(item, member);
	}
	json_object_foreach(other, name, member) assert_same(rpc_value_get(v, name), member);
}

static void at_random(void **state)
{
	static const char *const pieces[] = {"{", "}", "[", "]", ":", ",", "\"a\"",
		"\"b\":", "\"\":", "{}", "[]", "1", "-7", "0.5", "-1e2", "1E-3",
		"12345678901234567890", "null", "true", "false", " ", "\"\\n\\u00e9\"",
		"\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\xc3\xa9\"", "\"\xc3\"", "\"a\":{\"a\":1}",
		"[1,[2,[3]]]"};
	uint64_t n_rounds = random_rounds(200000);
	uint64_t n_sound = 0;

	for (uint64_t round = 0; round < n_rounds; round++) {
		unsigned n = random_below(9);
		const struct rpc_value *v = NULL;
		char text[400] = "";
		json_t *other;
		size_t at;
		int err;

		for (unsigned i = 0; i < n; i++)
			strcat(text, pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))]);
		other = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
		err = read_bytes(text, strlen(text), &v, &at);
		if ((err == 0) != (other != NULL))
			fail_msg("%s by one reader: %s", err == 0 ? "read" : "refused", text);
		if (err == 0)
			assert_same(v, other);
		n_sound += err == 0;
		json_decref(other);
	}
	assert_true(n_sound >= n_rounds / 100);
}

static int setup(void **state)
{
	rpc_init();
	return 0;
}

static int teardown(void **state)
{
	rpc_arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(texts),
		cmocka_unit_test(members_and_items),
		cmocka_unit_test(answers_of_nothing),
		cmocka_unit_test(unsound),
		cmocka_unit_test(nothing_is_left_of_a_text),
		cmocka_unit_test(deep_and_wide),
		cmocka_unit_test(at_random),
	};

	random_seed();
	return cmocka_run_group_tests(tests, setup, teardown);
}
