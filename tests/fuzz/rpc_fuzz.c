/* rpc_fuzz.c - foreign bytes through the framing, the server's parsers and the client's. */
#include "rpc/rpc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* Whatever came in, what goes out is a sound reply. */
static void check_answer(const json_t *id, const struct rpc_fault *fault)
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

	if (rpc_reply_parse(line, len, 1, &result, &fault) == 0)
		json_decref(result);
	if (rpc_message_parse(&arena, line, len, &m, &fault) != 0) {
		check_answer(NULL, &fault);
		return;
	}
	check(m.n >= 1 && m.n <= RPC_BATCH_MAX);
	for (size_t i = 0; i < m.n; i++) {
		if (rpc_message_request(&m, i, &r, &fault) != 0)
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
