/* Values straight into a text, without a tree of them first. */
#include "rpc/rpc.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/time.h"

/* The longest integer and the longest number of seconds, with room to spare. */
#define NUMBER_CHARS 32

static const char decimal_pairs[] = "00010203040506070809"
				    "10111213141516171819"
				    "20212223242526272829"
				    "30313233343536373839"
				    "40414243444546474849"
				    "50515253545556575859"
				    "60616263646566676869"
				    "70717273747576777879"
				    "80818283848586878889"
				    "90919293949596979899";

/* Digits of value, right-aligned in front of end; returns where they begin. */
static char *put_digits(char *end, uint64_t value)
{
	while (value >= 100) {
		end -= 2;
		memcpy(end, decimal_pairs + value % 100 * 2, 2);
		value /= 100;
	}
	if (value >= 10) {
		end -= 2;
		memcpy(end, decimal_pairs + value * 2, 2);
	} else {
		*--end = (char)('0' + value);
	}
	return end;
}

static bool is_value_end(char c)
{
	return c != '{' && c != ',' && c != ':' && c != '[' && c != '\n';
}

/* A comma unless this is the first in its object or array; then the name. Returns room for n_value
 * more chars, NULL: memory was out. */
static char *begin_value(struct rpc_text *t, const char *name, size_t n_value)
{
	size_t n_name = name == NULL ? 0 : strlen(name);
	char *at = rpc_text_reserve(t, n_name + 4 + n_value);

	if (at == NULL)
		return NULL;
	if (t->len > 0 && is_value_end(at[-1]))
		*at++ = ',';
	if (name != NULL) {
		*at++ = '"';
		memcpy(at, name, n_name);
		at += n_name;
		*at++ = '"';
		*at++ = ':';
	}
	return at;
}

static void end_value(struct rpc_text *t, const char *end)
{
	t->len = (size_t)(end - t->chars);
}

static void write_chars(struct rpc_text *t, const char *name, const char *chars, size_t len)
{
	char *at = begin_value(t, name, len);

	if (at == NULL)
		return;
	memcpy(at, chars, len);
	end_value(t, at + len);
}

void rpc_write_begin(struct rpc_text *t, const char *name, char bracket)
{
	assert(bracket == '{' || bracket == '[');
	write_chars(t, name, &bracket, 1);
}

void rpc_write_end(struct rpc_text *t, char bracket)
{
	assert(bracket == '}' || bracket == ']');
	rpc_text_append(t, &bracket, 1);
}

/* Copied as it is; false: something in it needs an escape, or the eye of who knows UTF-8. */
static bool copy_plain(char *at, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			return false;
		at[i] = (char)c;
	}
	return true;
}

void rpc_write_text(struct rpc_text *t, const char *name, const char *text)
{
	size_t len = strlen(text);
	char *at = begin_value(t, name, len + 2);

	if (at == NULL)
		return;
	if (!copy_plain(at + 1, text, len)) {
		rpc_write_json(t, name, json_stringn(text, len));
		return;
	}
	at[0] = '"';
	at[len + 1] = '"';
	end_value(t, at + len + 2);
}

void rpc_write_integer(struct rpc_text *t, const char *name, int64_t value)
{
	char digits[NUMBER_CHARS], *end = digits + sizeof(digits), *at;

	at = put_digits(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
	if (value < 0)
		*--at = '-';
	write_chars(t, name, at, (size_t)(end - at));
}

void rpc_write_seconds(struct rpc_text *t, const char *name, uint64_t ns)
{
	char digits[NUMBER_CHARS], *end = digits + sizeof(digits), *at = end;
	uint64_t ms = ns % NS_IN_S / NS_IN_MS;

	if (ns == TIME_NEVER) {
		rpc_write_null(t, name);
		return;
	}
	if (ns % NS_IN_S != 0) {
		/* 1,000 more, so that the zeros in front are there; the point takes its place. */
		at = put_digits(end, 1000 + ms);
		*at = '.';
	}
	at = put_digits(at, ns / NS_IN_S);
	write_chars(t, name, at, (size_t)(end - at));
}

void rpc_write_bool(struct rpc_text *t, const char *name, bool value)
{
	write_chars(t, name, value ? "true" : "false", value ? 4 : 5);
}

void rpc_write_null(struct rpc_text *t, const char *name)
{
	write_chars(t, name, "null", 4);
}

static int append_chunk(const char *chars, size_t len, void *arg)
{
	rpc_text_append(arg, chars, len);
	return 0;
}

void rpc_write_json(struct rpc_text *t, const char *name, json_t *value)
{
	char *at = begin_value(t, name, 4);

	if (at == NULL) {
		json_decref(value);
		return;
	}
	end_value(t, at);
	if (value == NULL)
		rpc_text_append(t, "null", 4);
	else if (json_dump_callback(value, append_chunk, t, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
		t->is_broken = true;
	json_decref(value);
}
