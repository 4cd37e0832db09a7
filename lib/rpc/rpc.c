#include "rpc/rpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- memory ------------------------------------------------------------------------------------*/

/* jansson frees without saying how much, so each block carries its size, for the wipe. */
struct block {
	size_t len;
	max_align_t bytes[];
};

static void *block_alloc(size_t len)
{
	struct block *b;

	if (len > SIZE_MAX - sizeof(*b))
		return NULL;
	b = malloc(sizeof(*b) + len);
	if (b == NULL)
		return NULL;
	b->len = len;
	return b->bytes;
}

static void block_free(void *bytes)
{
	struct block *b;

	if (bytes == NULL)
		return;
	b = (struct block *)((char *)bytes - offsetof(struct block, bytes));
	explicit_bzero(bytes, b->len);
	free(b);
}

void rpc_init(void)
{
	json_set_alloc_funcs(block_alloc, block_free);
	json_object_seed(0);
}

/* --- faults ------------------------------------------------------------------------------------*/

/* How much of text's first len bytes is whole UTF-8 characters; text itself is sound. */
static size_t whole_chars(const char *text, size_t len)
{
	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	return len;
}

static void copy_cut(char *dst, size_t size, const char *src)
{
	size_t len = src == NULL ? 0 : strlen(src);

	if (len >= size)
		len = whole_chars(src, size - 1);
	if (len > 0)
		memcpy(dst, src, len);
	dst[len] = '\0';
}

int rpc_fault_set(struct rpc_fault *f, int code, const char *culprit, const char *accepts,
	const char *fmt, ...)
{
	char sentence[2 * RPC_SENTENCE_CHARS];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	f->code = code;
	copy_cut(f->sentence, sizeof(f->sentence), sentence);
	copy_cut(f->culprit, sizeof(f->culprit), culprit);
	copy_cut(f->accepts, sizeof(f->accepts), accepts);
	return -EINVAL;
}

char *rpc_excerpt(const char *text, char buf[static RPC_EXCERPT_CHARS])
{
	const size_t max = RPC_EXCERPT_CHARS - sizeof("...");
	size_t len = strlen(text);

	if (len <= max) {
		memcpy(buf, text, len + 1);
		return buf;
	}
	len = whole_chars(text, max);
	memcpy(buf, text, len);
	memcpy(buf + len, "...", sizeof("..."));
	return buf;
}

/* --- text --------------------------------------------------------------------------------------*/

void rpc_text_fini(struct rpc_text *t)
{
	if (t->chars != NULL)
		explicit_bzero(t->chars, t->room);
	free(t->chars);
	*t = (struct rpc_text){0};
}

/* A request may carry a key, so the old copy is wiped, which realloc would not do. */
static bool grow(struct rpc_text *t, size_t need)
{
	size_t room = t->room == 0 ? 256 : t->room;
	char *chars;

	while (room < need) {
		if (room > SIZE_MAX / 2)
			return false;
		room *= 2;
	}
	chars = malloc(room);
	if (chars == NULL)
		return false;
	if (t->len > 0)
		memcpy(chars, t->chars, t->len);
	if (t->chars != NULL)
		explicit_bzero(t->chars, t->room);
	free(t->chars);
	t->chars = chars;
	t->room = room;
	return true;
}

void rpc_text_append(struct rpc_text *t, const char *chars, size_t len)
{
	if (t->is_broken || len == 0)
		return;
	if (len > SIZE_MAX / 4 - t->len || (t->len + len > t->room && !grow(t, t->len + len))) {
		t->is_broken = true;
		return;
	}
	memcpy(t->chars + t->len, chars, len);
	t->len += len;
}

static void append_literal(struct rpc_text *t, const char *s)
{
	rpc_text_append(t, s, strlen(s));
}

static int dump_chunk(const char *chars, size_t len, void *arg)
{
	rpc_text_append(arg, chars, len);
	return 0;
}

static void append_json(struct rpc_text *t, const json_t *value)
{
	if (value == NULL)
		append_literal(t, "null");
	else if (json_dump_callback(value, dump_chunk, t, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
		t->is_broken = true;
}

void rpc_text_result(struct rpc_text *t, const json_t *id, json_t *result)
{
	struct rpc_fault fault;

	if (result == NULL) {
		rpc_fault_set(&fault, RPC_INTERNAL_ERROR, NULL, NULL, "memory is out");
		rpc_text_fault(t, id, &fault);
		return;
	}
	append_literal(t, "{\"jsonrpc\":\"2.0\",\"id\":");
	append_json(t, id);
	append_literal(t, ",\"result\":");
	append_json(t, result);
	append_literal(t, "}");
	json_decref(result);
}

void rpc_text_fault(struct rpc_text *t, const json_t *id, const struct rpc_fault *fault)
{
	json_t *error = json_pack("{s:i, s:s}", "code", fault->code, "message", fault->sentence),
	       *data = json_object();

	if (fault->culprit[0] != '\0')
		json_object_set_new(data, "culprit", json_string(fault->culprit));
	if (fault->accepts[0] != '\0')
		json_object_set_new(data, "accepts", json_string(fault->accepts));
	if (json_object_size(data) > 0)
		json_object_set(error, "data", data);
	json_decref(data);

	append_literal(t, "{\"jsonrpc\":\"2.0\",\"id\":");
	append_json(t, id);
	append_literal(t, ",\"error\":");
	if (error == NULL)
		append_literal(t, "{\"code\":-32603,\"message\":\"memory is out\"}");
	else
		append_json(t, error);
	append_literal(t, "}");
	json_decref(error);
}

void rpc_text_request(struct rpc_text *t, json_int_t id, const char *method, json_t *params)
{
	json_t *request = params == NULL ? json_pack("{s:s, s:I, s:s}", "jsonrpc", "2.0", "id", id,
						   "method", method)
					 : json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id",
						   id, "method", method, "params", params);

	if (request == NULL)
		t->is_broken = true;
	else
		append_json(t, request);
	append_literal(t, "\n");
	json_decref(request);
}
