/* A text to values: one pass, no allocation for each of them.
 *
 * Values lie in the order of the text, each before those in it, so a value knows its successor by
 * how many it spans. Texts are copied, without their escapes, to where they can be wiped at once.
 */
#include "rpc/impl.h"
#include "rpc/rpc.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What an arena keeps from one message to the next: a batch of thousands. */
#define KEEP_BYTES     (1u << 20)
#define VALUES_AT_ONCE 64u

struct reader {
	const char *at, *end;
	struct rpc_arena *arena;
	unsigned depth;
	int err;
};

static bool read_value(struct reader *r, const char *name, uint32_t name_len);

/* False, for good. */
static bool fail(struct reader *r, int err)
{
	r->err = err;
	return false;
}

static bool grow_values(struct rpc_arena *a)
{
	uint32_t room = a->room == 0 ? VALUES_AT_ONCE : 2 * a->room;
	struct rpc_value *values = realloc(a->values, room * sizeof(*values));

	if (values == NULL)
		return false;
	a->values = values;
	a->room = room;
	return true;
}

/* The next value, good until there is one more; NULL: memory is out. */
static struct rpc_value *add_value(
	struct reader *r, enum rpc_kind kind, const char *name, uint32_t name_len)
{
	struct rpc_arena *a = r->arena;
	struct rpc_value *v;

	if (a->n == a->room && !grow_values(a)) {
		fail(r, -ENOMEM);
		return NULL;
	}
	v = &a->values[a->n++];
	*v = (struct rpc_value){.name = name, .name_len = name_len, .kind = kind, .span = 1};
	return v;
}

static void skip_space(struct reader *r)
{
	while (r->at < r->end &&
		(*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

/* This character, after what space there is? Then it is behind us. */
static bool take(struct reader *r, char c)
{
	skip_space(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool need(struct reader *r, char c)
{
	return take(r, c) || fail(r, -EINVAL);
}

/* --- texts -------------------------------------------------------------------------------------*/

/* After its opening quote; with a zero after it. There is room: a text and its zero are shorter
 * than it was with its quotes. */
static bool read_text(struct reader *r, const char **text, uint32_t *len)
{
	struct rpc_arena *a = r->arena;
	char *begin = a->chars + a->n_chars, *end = rpc_chars_read(&r->at, r->end, begin);

	if (end == NULL)
		return fail(r, -EINVAL);
	*end = '\0';
	*text = begin;
	*len = (uint32_t)(end - begin);
	a->n_chars += *len + 1u;
	return true;
}

/* Names are compared with their length, so that most need no copy. */
static bool read_name(struct reader *r, const char **name, uint32_t *len)
{
	const char *begin;

	if (!need(r, '"'))
		return false;
	begin = r->at;
	while (r->at < r->end && rpc_is_plain((unsigned char)*r->at))
		r->at++;
	if (r->at < r->end && *r->at == '"') {
		*name = begin;
		*len = (uint32_t)(r->at++ - begin);
		return true;
	}
	r->at = begin;
	return read_text(r, name, len);
}

/* --- numbers and words -------------------------------------------------------------------------*/

/* False: there is none. */
static bool skip_digits(struct reader *r)
{
	const char *begin = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return r->at > begin;
}

static bool set_integer(struct reader *r, struct rpc_value *v, const char *begin, bool is_negative)
{
	uint64_t max = (uint64_t)INT64_MAX + is_negative, value = 0;

	for (const char *at = begin; at < r->at; at++) {
		unsigned digit = (unsigned)(*at - '0');

		if (value > (max - digit) / 10)
			return fail(r, -EINVAL);
		value = value * 10 + digit;
	}
	v->integer = (int64_t)(is_negative ? 0 - value : value);
	return true;
}

/* strtod wants an end; what is not taken yet of the arena has room for it. */
static bool set_real(struct reader *r, struct rpc_value *v, const char *begin)
{
	char *copy = r->arena->chars + r->arena->n_chars;

	memcpy(copy, begin, (size_t)(r->at - begin));
	copy[r->at - begin] = '\0';
	v->kind = RPC_REAL;
	v->real = strtod(copy, NULL);
	return isfinite(v->real) || fail(r, -EINVAL);
}

static bool read_number(struct reader *r, const char *name, uint32_t name_len)
{
	struct rpc_value *v = add_value(r, RPC_WHOLE, name, name_len);
	const char *begin = r->at, *digits;
	bool is_whole = true;

	if (v == NULL)
		return false;
	r->at += *r->at == '-';
	digits = r->at;
	if (!skip_digits(r) || (*digits == '0' && r->at > digits + 1))
		return fail(r, -EINVAL);
	if (r->at < r->end && *r->at == '.') {
		r->at++;
		is_whole = false;
		if (!skip_digits(r))
			return fail(r, -EINVAL);
	}
	if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
		r->at++;
		is_whole = false;
		r->at += r->at < r->end && (*r->at == '+' || *r->at == '-');
		if (!skip_digits(r))
			return fail(r, -EINVAL);
	}
	return is_whole ? set_integer(r, v, digits, digits > begin) : set_real(r, v, begin);
}

static bool read_word(struct reader *r, const char *name, uint32_t name_len)
{
	static const struct {
		const char *word;
		enum rpc_kind kind;
	} words[] = {{"null", RPC_NULL}, {"true", RPC_TRUE}, {"false", RPC_FALSE}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len = strlen(words[i].word);

		if ((size_t)(r->end - r->at) >= len && memcmp(r->at, words[i].word, len) == 0) {
			r->at += len;
			return add_value(r, words[i].kind, name, name_len) != NULL;
		}
	}
	return fail(r, -EINVAL);
}

/* --- arrays and objects ------------------------------------------------------------------------*/

/* Two readers of one line must not see two different requests. */
static bool is_duplicate(const struct rpc_value *object, uint32_t n, const char *name, uint32_t len)
{
	const struct rpc_value *v = object + 1;

	for (uint32_t i = 0; i < n; i++, v += v->span)
		if (v->name_len == len && memcmp(v->name, name, len) == 0)
			return true;
	return false;
}

/* After its bracket. */
static bool read_array(struct reader *r, uint32_t self)
{
	uint32_t n = 0;

	if (take(r, ']'))
		return true;
	do {
		if (!read_value(r, NULL, 0))
			return false;
		n++;
	} while (take(r, ','));
	r->arena->values[self].n = n;
	return need(r, ']');
}

static bool read_object(struct reader *r, uint32_t self)
{
	const char *name;
	uint32_t len, n = 0;

	if (take(r, '}'))
		return true;
	do {
		if (n == RPC_MEMBERS_MAX)
			return fail(r, -E2BIG);
		if (!read_name(r, &name, &len))
			return false;
		if (is_duplicate(&r->arena->values[self], n, name, len))
			return fail(r, -EINVAL);
		if (!need(r, ':') || !read_value(r, name, len))
			return false;
		n++;
	} while (take(r, ','));
	r->arena->values[self].n = n;
	return need(r, '}');
}

static bool read_inside(struct reader *r, enum rpc_kind kind, const char *name, uint32_t name_len)
{
	uint32_t self = r->arena->n;
	bool ok;

	if (r->depth == RPC_DEPTH_MAX)
		return fail(r, -E2BIG);
	if (add_value(r, kind, name, name_len) == NULL)
		return false;
	r->at++;
	r->depth++;
	ok = kind == RPC_ARRAY ? read_array(r, self) : read_object(r, self);
	r->depth--;
	r->arena->values[self].span = r->arena->n - self;
	return ok;
}

static bool read_value(struct reader *r, const char *name, uint32_t name_len)
{
	struct rpc_value *v;

	skip_space(r);
	if (r->at == r->end)
		return fail(r, -EINVAL);
	switch (*r->at) {
	case '"':
		r->at++;
		v = add_value(r, RPC_STRING, name, name_len);
		return v != NULL && read_text(r, &v->text, &v->n);
	case '{':
		return read_inside(r, RPC_OBJECT, name, name_len);
	case '[':
		return read_inside(r, RPC_ARRAY, name, name_len);
	default:
		return *r->at == '-' || (*r->at >= '0' && *r->at <= '9')
			       ? read_number(r, name, name_len)
			       : read_word(r, name, name_len);
	}
}

/* --- the whole ---------------------------------------------------------------------------------*/

/* Texts have to stay where they are, so there is room for all of them before the first. */
static bool make_room(struct rpc_arena *a, size_t len)
{
	char *chars;

	if (a->chars_room > len)
		return true;
	chars = malloc(len + 1);
	if (chars == NULL)
		return false;
	free(a->chars);
	a->chars = chars;
	a->chars_room = len + 1;
	return true;
}

int rpc_read(struct rpc_arena *a, const char *text, size_t len, const struct rpc_value **out,
	size_t *failed_at)
{
	struct reader r = {.at = text, .end = text + len, .arena = a};

	rpc_arena_reset(a);
	*failed_at = 0;
	if (!make_room(a, len))
		return -ENOMEM;
	if (read_value(&r, NULL, 0)) {
		skip_space(&r);
		if (r.at != r.end)
			fail(&r, -EINVAL);
	}
	*failed_at = (size_t)(r.at - text);
	if (r.err == 0) {
		*out = a->values;
	} else {
		/* A text that broke off may be a key, too. */
		a->n_chars = a->chars_room;
		rpc_arena_reset(a);
	}
	return r.err;
}

void rpc_arena_fini(struct rpc_arena *a)
{
	if (a->chars != NULL)
		explicit_bzero(a->chars, a->n_chars);
	free(a->chars);
	free(a->values);
	*a = (struct rpc_arena){0};
}

void rpc_arena_reset(struct rpc_arena *a)
{
	if (a->chars_room > KEEP_BYTES || a->room > KEEP_BYTES / sizeof(*a->values)) {
		rpc_arena_fini(a);
		return;
	}
	if (a->n_chars > 0)
		explicit_bzero(a->chars, a->n_chars);
	a->n_chars = 0;
	a->n = 0;
}

const struct rpc_value *rpc_value_get(const struct rpc_value *object, const char *name)
{
	size_t len = strlen(name);
	const struct rpc_value *v;

	if (object == NULL || object->kind != RPC_OBJECT)
		return NULL;
	v = object + 1;
	for (uint32_t i = 0; i < object->n; i++, v += v->span)
		if (v->name_len == len && memcmp(v->name, name, len) == 0)
			return v;
	return NULL;
}
