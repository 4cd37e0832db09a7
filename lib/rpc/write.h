/* write.h - JSON values straight into a text, without a tree of them first: for what is asked for
 * by the thousand. Part of rpc/rpc.h.
 *
 * Each is a member (name) of the object that was begun last, or with name NULL an item of an array
 * or alone. Names are ours, plain ASCII, and best literals: then their length and their copying are
 * worked out by the compiler. A text whose memory was out takes more, and stays broken.
 */
#ifndef PORTIER_RPC_WRITE_H
#define PORTIER_RPC_WRITE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <jansson.h>

#include "base/time.h"

/* A growing text; {0} is empty. */
struct rpc_text {
	char *chars;
	size_t len, room;
	bool is_broken; /* memory was out; stays so */
};

/* The longest integer and the longest number of seconds, with room to spare. */
#define RPC_NUMBER_CHARS 32

char *rpc_text_reserve(struct rpc_text *t, size_t len);

/* --- inside ------------------------------------------------------------------------------------*/

/* Digits at at; returns their end. */
char *rpc_put_integer(char *at, int64_t value);
char *rpc_put_seconds(char *at, uint64_t ns);

/* A comma unless this is the first in its object or array; then the name. Returns room for n more
 * chars, NULL: memory was out. rpc_write_done is due with the end of what was written there. */
static inline char *rpc_write_name(struct rpc_text *t, const char *name, size_t n)
{
	size_t len = name == NULL ? 0 : strlen(name);
	char *at;

	if (t->room - t->len < len + 4 + n && rpc_text_reserve(t, len + 4 + n) == NULL)
		return NULL;
	at = t->chars + t->len;
	if (t->len > 0 && at[-1] != '{' && at[-1] != ',' && at[-1] != ':' && at[-1] != '[' &&
		at[-1] != '\n')
		*at++ = ',';
	if (name != NULL) {
		*at++ = '"';
		memcpy(at, name, len);
		at += len;
		*at++ = '"';
		*at++ = ':';
	}
	return at;
}

static inline void rpc_write_done(struct rpc_text *t, const char *end)
{
	t->len = (size_t)(end - t->chars);
}

/* As it stands. */
static inline void rpc_write_chars(
	struct rpc_text *t, const char *name, const char *chars, size_t len)
{
	char *at = rpc_write_name(t, name, len);

	if (at == NULL)
		return;
	memcpy(at, chars, len);
	rpc_write_done(t, at + len);
}

/* --- values ------------------------------------------------------------------------------------*/

/* { or [ */
static inline void rpc_write_begin(struct rpc_text *t, const char *name, char bracket)
{
	assert(bracket == '{' || bracket == '[');
	rpc_write_chars(t, name, &bracket, 1);
}

/* } or ] */
static inline void rpc_write_end(struct rpc_text *t, char bracket)
{
	char *at = rpc_text_reserve(t, 1);

	assert(bracket == '}' || bracket == ']');
	if (at == NULL)
		return;
	*at = bracket;
	t->len++;
}

/* Not UTF-8: null. */
void rpc_write_text(struct rpc_text *t, const char *name, const char *text);

static inline void rpc_write_integer(struct rpc_text *t, const char *name, int64_t value)
{
	char *at = rpc_write_name(t, name, RPC_NUMBER_CHARS);

	if (at != NULL)
		rpc_write_done(t, rpc_put_integer(at, value));
}

static inline void rpc_write_null(struct rpc_text *t, const char *name)
{
	rpc_write_chars(t, name, "null", 4);
}

/* To the millisecond; TIME_NEVER: null. */
static inline void rpc_write_seconds(struct rpc_text *t, const char *name, uint64_t ns)
{
	char *at = rpc_write_name(t, name, RPC_NUMBER_CHARS);

	if (at != NULL)
		rpc_write_done(t, rpc_put_seconds(at, ns));
}

static inline void rpc_write_bool(struct rpc_text *t, const char *name, bool value)
{
	if (value)
		rpc_write_chars(t, name, "true", 4);
	else
		rpc_write_chars(t, name, "false", 5);
}

/* value is consumed; NULL: null. */
void rpc_write_json(struct rpc_text *t, const char *name, json_t *value);

#endif
