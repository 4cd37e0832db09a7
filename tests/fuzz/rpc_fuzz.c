/* rpc_fuzz.c - foreign bytes through the framing, the server's parsers and the client's. */
#include "rpc/rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* Whatever came in, what goes out is a sound reply. */
static void check_answer(const struct rpc_value *id, const struct rpc_fault *fault)
{
	struct rpc_text t = {0};
	struct rpc_fault back;
	json_t *result = NULL;
	json_t *reply;

	rpc_text_fault(&t, id, fault);
	check(!t.is_broken && memchr(t.chars, '\n', t.len) == NULL);
	reply = json_loadb(t.chars, t.len, JSON_REJECT_DUPLICATES, NULL);
	check(reply != NULL);
	if (id == NULL) {
		check(rpc_reply_parse(t.chars, t.len, 1, &result, &back) < 0);
		check(back.code == fault->code && strcmp(back.sentence, fault->sentence) == 0);
	}
	json_decref(reply);
	rpc_text_fini(&t);
}

/* The same as another reader finds. */
static void check_same(const struct rpc_value *v, const json_t *other)
{
	const struct rpc_value *item = NULL;
	char name[4096];
	size_t i = 0;

	switch (json_typeof(other)) {
	case JSON_NULL:
		check(v->kind == RPC_NULL);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		check(v->kind == (json_is_true(other) ? RPC_TRUE : RPC_FALSE));
		break;
	case JSON_INTEGER:
		check(rpc_value_is_integer(v) && v->integer == json_integer_value(other));
		break;
	case JSON_REAL:
		check(v->kind == RPC_REAL && v->real == json_real_value(other));
		break;
	case JSON_STRING:
		check(v->kind == RPC_STRING && v->n == json_string_length(other) &&
			memcmp(v->text, json_string_value(other), v->n + 1) == 0);
		break;
	case JSON_ARRAY:
		check(v->kind == RPC_ARRAY && v->n == json_array_size(other));
		while ((item = rpc_value_next(v, item)) != NULL)
			check_same(item, json_array_get(other, i++));
		check(i == v->n);
		break;
	case JSON_OBJECT:
		check(v->kind == RPC_OBJECT && v->n == json_object_size(other));
		while ((item = rpc_value_next(v, item)) != NULL) {
			check(item->name_len < sizeof(name));
			memcpy(name, item->name, item->name_len);
			name[item->name_len] = '\0';
			check(strlen(name) == item->name_len && rpc_value_get(v, name) == item);
			check(json_object_get(other, name) != NULL);
			check_same(item, json_object_get(other, name));
			i++;
		}
		check(i == v->n);
		break;
	}
}

/* What one reader takes the other takes, but for what is too deep or has too many members. */
static void check_reader(const char *line, size_t len)
{
	static struct rpc_arena arena;
	const struct rpc_value *v = NULL;
	json_t *other = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	size_t at = 0;
	int err = rpc_read(&arena, line, len, &v, &at);

	check(at <= len && (err != 0 || at == len));
	check(err == -E2BIG || (err == 0) == (other != NULL));
	if (err == 0)
		check_same(v, other);
	json_decref(other);
	rpc_arena_reset(&arena);
}

static void read_line(const char *line, size_t len)
{
	static const struct rpc_param list[] = {
		{"peer", RPC_TEXT, true, NULL},
		{"sources", RPC_TEXTS, false, NULL},
		{"forwarding", RPC_BOOL, false, NULL},
		{"port", RPC_INTEGER, false, NULL},
		{"ttl_s", RPC_SECONDS, false, NULL},
	};
	static struct rpc_arena arena;
	struct rpc_message m;
	struct rpc_request r;
	struct rpc_fault fault = {0};
	json_t *result;

	check_reader(line, len);
	if (rpc_reply_parse(line, len, 1, &result, &fault) == 0)
		json_decref(result);
	if (rpc_message_parse(&arena, line, len, &m, &fault) != 0) {
		check_answer(NULL, &fault);
		return;
	}
	check(m.n >= 1 && m.n <= RPC_BATCH_MAX);
	for (size_t i = 0; i < m.n; i++) {
		if (rpc_message_request(&m, &r, &fault) != 0)
			check_answer(r.id, &fault);
		else if (rpc_params_check(r.params, list, 5, &fault) != 0)
			check_answer(r.id, &fault);
	}
	rpc_message_fini(&m);
}

/* The first byte says into how large pieces the rest is cut on its way in. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_ready;
	struct rpc_lines lines;
	const char *line;
	size_t len, piece;
	int got = 0;

	if (!is_ready)
		rpc_init();
	is_ready = true;
	if (size < 2)
		return 0;
	piece = data[0] + 1u;
	rpc_lines_init(&lines, 4096);
	for (size_t at = 1; at < size && got >= 0; at += piece) {
		size_t n = size - at < piece ? size - at : piece;
		void *room = rpc_lines_reserve(&lines, n);

		check(room != NULL);
		memcpy(room, data + at, n);
		rpc_lines_commit(&lines, n);
		while ((got = rpc_lines_next(&lines, &line, &len)) > 0) {
			check(len <= 4096 && memchr(line, '\n', len) == NULL);
			read_line(line, len);
		}
	}
	rpc_lines_fini(&lines);
	return 0;
}
