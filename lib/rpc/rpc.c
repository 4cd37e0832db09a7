#include "rpc/rpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	rpc_text_cut(t, 0);
	free(t->chars);
	*t = (struct rpc_text){0};
}

void rpc_text_cut(struct rpc_text *t, size_t len)
{
	if (t->len > len)
		explicit_bzero(t->chars + len, t->len - len);
	t->len = len;
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
	if (t->len > 0) {
		memcpy(chars, t->chars, t->len);
		explicit_bzero(t->chars, t->len);
	}
	free(t->chars);
	t->chars = chars;
	t->room = room;
	return true;
}

char *rpc_text_reserve(struct rpc_text *t, size_t len)
{
	if (!t->is_broken &&
		(len > SIZE_MAX / 4 - t->len || (t->len + len > t->room && !grow(t, t->len + len))))
		t->is_broken = true;
	return t->is_broken ? NULL : t->chars + t->len;
}

void rpc_text_append(struct rpc_text *t, const char *chars, size_t len)
{
	char *at = len == 0 ? NULL : rpc_text_reserve(t, len);

	if (at == NULL)
		return;
	memcpy(at, chars, len);
	t->len += len;
}

static void append_literal(struct rpc_text *t, const char *s)
{
	rpc_text_append(t, s, strlen(s));
}

static void write_id(struct rpc_text *t, const struct rpc_value *id)
{
	append_literal(t, "{\"jsonrpc\":\"2.0\"");
	if (rpc_value_is_integer(id))
		rpc_write_integer(t, "id", id->integer);
	else if (rpc_value_text(id) != NULL)
		rpc_write_text(t, "id", id->text);
	else if (id != NULL && id->kind == RPC_REAL)
		rpc_write_json(t, "id", json_real(id->real));
	else
		rpc_write_null(t, "id");
}

void rpc_text_result_begin(struct rpc_text *t, const struct rpc_value *id)
{
	write_id(t, id);
	append_literal(t, ",\"result\":");
}

void rpc_text_result_end(struct rpc_text *t)
{
	append_literal(t, "}");
}

void rpc_text_fault(struct rpc_text *t, const struct rpc_value *id, const struct rpc_fault *fault)
{
	write_id(t, id);
	rpc_write_begin(t, "error", '{');
	rpc_write_integer(t, "code", fault->code);
	rpc_write_text(t, "message", fault->sentence);
	if (fault->culprit[0] != '\0' || fault->accepts[0] != '\0') {
		rpc_write_begin(t, "data", '{');
		if (fault->culprit[0] != '\0')
			rpc_write_text(t, "culprit", fault->culprit);
		if (fault->accepts[0] != '\0')
			rpc_write_text(t, "accepts", fault->accepts);
		rpc_write_end(t, '}');
	}
	rpc_write_end(t, '}');
	rpc_write_end(t, '}');
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
		rpc_write_json(t, NULL, request);
	append_literal(t, "\n");
}
