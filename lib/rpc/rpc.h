/* rpc.h - JSON-RPC 2.0 messages, one a line: what portier and portierctl say to each other.
 *
 * Spec:    JSON-RPC 2.0 (2013-01-04); RFC 8259. A message is one object, or one array (a batch), on
 *          one line that ends in \n. Parameters go by name only.
 * Threads: none shared; each object belongs to one thread.
 * Memory:  a line is at most RPC_LINE_BYTES_MAX, a batch RPC_BATCH_MAX. Requests may carry a
 *          preshared key: what is read of them is wiped, and so are lines and, after rpc_init, all
 *          JSON memory when it is freed.
 * Foreign: every parser here takes any bytes.
 */
#ifndef PORTIER_RPC_H
#define PORTIER_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "rpc/write.h"

/* Of requests; replies may be longer. A batch of as many as there may be, each with a key and a
 * label, fits into the line of one who may change things. */
#define RPC_LINE_BYTES_MAX	  (4u << 20)
#define RPC_READER_LINE_BYTES_MAX (1u << 20)
#define RPC_BATCH_MAX		  10000u
#define RPC_DEPTH_MAX		  64u  /* of arrays and objects in one another */
#define RPC_MEMBERS_MAX		  256u /* of an object */

#define RPC_SENTENCE_CHARS 384
#define RPC_CULPRIT_CHARS  128
#define RPC_ACCEPTS_CHARS  256

/* Once, before any other function here and before any thread that uses jansson. */
void rpc_init(void);

/* --- faults: one sentence that names the culprit and what would be accepted --------------------*/

enum rpc_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
	/* the gateway's own */
	RPC_REFUSED = -32000,	    /* a rule forbids it: forwarding off, address of another peer */
	RPC_NOT_FOUND = -32001,	    /* no such peer or lease */
	RPC_IN_USE = -32002,	    /* key, name, address or port is someone else's */
	RPC_NOT_PERMITTED = -32003, /* the caller may only read */
	RPC_EXHAUSTED = -32004,	    /* quota, table or pool is full */
	RPC_TRY_AGAIN = -32005,	    /* too much at once; nothing was done */
	RPC_NOT_DURABLE = -32006,   /* the store cannot be written */
};

struct rpc_fault {
	int code; /* enum rpc_code, or a far end's own; 0: none */
	char sentence[RPC_SENTENCE_CHARS];
	char culprit[RPC_CULPRIT_CHARS]; /* error.data.culprit; may be empty */
	char accepts[RPC_ACCEPTS_CHARS]; /* error.data.accepts; may be empty */
};

/* Fill *f; culprit and accepts may be NULL. Text that does not fit is cut, never inside an UTF-8
 * character. Returns -EINVAL, so that a check can end with it. */
int rpc_fault_set(struct rpc_fault *f, int code, const char *culprit, const char *accepts,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The beginning of foreign text, for use in a sentence: at most 40 bytes, whole characters, "..."
 * when cut. Returns buf. */
#define RPC_EXCERPT_CHARS 44
char *rpc_excerpt(const char *text, char buf[static RPC_EXCERPT_CHARS]);

/* --- framing: bytes in, lines out --------------------------------------------------------------*/

/* init/fini; fields are private. */
struct rpc_lines {
	char *buf;
	size_t max_line_bytes;
	size_t room;	/* allocated */
	size_t len;	/* filled */
	size_t taken;	/* of these, handed out as lines */
	size_t scanned; /* of these, known to hold no newline */
};

void rpc_lines_init(struct rpc_lines *l, size_t max_line_bytes);
/* Wipes and frees. */
void rpc_lines_fini(struct rpc_lines *l);
/* Where to read at least want bytes to; NULL when memory is out. Ends the life of the last line. */
void *rpc_lines_reserve(struct rpc_lines *l, size_t want);
/* len bytes were written there. */
void rpc_lines_commit(struct rpc_lines *l, size_t len);
/* The next whole line, without its \n or \r\n, as *line and *len; valid until the next reserve.
 * 1 a line; 0 none yet; -EMSGSIZE: what comes is longer than max_line_bytes (for good: close). */
int rpc_lines_next(struct rpc_lines *l, const char **line, size_t *len);

/* --- values, as the server reads them ----------------------------------------------------------*/

enum rpc_kind {
	RPC_NULL = 0,
	RPC_FALSE,
	RPC_TRUE,
	RPC_WHOLE, /* an integer */
	RPC_REAL,
	RPC_STRING,
	RPC_ARRAY,
	RPC_OBJECT,
};

/* Read only. Those in it follow it, in the order of the text. */
struct rpc_value {
	const char *name; /* of a member of an object: UTF-8, not terminated */
	uint32_t name_len;
	uint32_t span; /* itself and all in it, values */
	enum rpc_kind kind;
	uint32_t n; /* items, members, or bytes of text */
	union {
		int64_t integer;
		double real;
		const char *text; /* UTF-8 without zeros, terminated */
	};
};

/* Memory of one text at a time; {0} is empty, fields are private. */
struct rpc_arena {
	struct rpc_value *values;
	uint32_t n, room;
	char *chars; /* texts without their escapes */
	size_t n_chars, chars_room;
};

/* JSON to values: RFC 8259 with numbers that an int64_t or a double holds, texts without U+0000 and
 * no name twice in an object. They live in the arena until the next reading, and as long as text.
 * 0; -EINVAL: something else; -E2BIG: more than RPC_DEPTH_MAX or RPC_MEMBERS_MAX; -ENOMEM; then
 * *failed_at is where, in bytes, and *out untouched. Cost O(len), at worst times
 * RPC_MEMBERS_MAX / 2 comparisons of lengths for each member. */
int rpc_read(struct rpc_arena *a, const char *text, size_t len, const struct rpc_value **out,
	size_t *failed_at);
/* Wipes; keeps memory for the next. */
void rpc_arena_reset(struct rpc_arena *a);
/* Wipes and frees. */
void rpc_arena_fini(struct rpc_arena *a);

/* Of these v may be NULL, and of another kind: then the answer is that of nothing. */

/* The member of this name; NULL. O(members). */
const struct rpc_value *rpc_value_get(const struct rpc_value *object, const char *name);

static inline const char *rpc_value_text(const struct rpc_value *v)
{
	return v != NULL && v->kind == RPC_STRING ? v->text : NULL;
}

/* A member that is a text; NULL. */
static inline const char *rpc_value_get_text(const struct rpc_value *object, const char *name)
{
	return rpc_value_text(rpc_value_get(object, name));
}

static inline bool rpc_value_is_integer(const struct rpc_value *v)
{
	return v != NULL && v->kind == RPC_WHOLE;
}

static inline int64_t rpc_value_integer(const struct rpc_value *v)
{
	return rpc_value_is_integer(v) ? v->integer : 0;
}

static inline double rpc_value_number(const struct rpc_value *v)
{
	return v != NULL && v->kind == RPC_REAL ? v->real : (double)rpc_value_integer(v);
}

static inline bool rpc_value_is_true(const struct rpc_value *v)
{
	return v != NULL && v->kind == RPC_TRUE;
}

/* Items or members. */
static inline uint32_t rpc_value_count(const struct rpc_value *v)
{
	return v != NULL && v->kind >= RPC_ARRAY ? v->n : 0;
}

/* The item or member after this one, item NULL: the first; NULL: there is none. */
static inline const struct rpc_value *rpc_value_next(
	const struct rpc_value *list, const struct rpc_value *item)
{
	if (rpc_value_count(list) == 0)
		return NULL;
	item = item == NULL ? list + 1 : item + item->span;
	return item < list + list->span ? item : NULL;
}

/* --- requests ----------------------------------------------------------------------------------*/

struct rpc_message {
	const struct rpc_value *root; /* NULL after fini */
	struct rpc_arena *arena;
	const struct rpc_value *last; /* request that was asked for; NULL: none yet */
	bool is_batch;
	size_t n; /* requests in it, at least 1 */
};

struct rpc_request {
	bool is_notification;		/* has no id: never answered */
	const struct rpc_value *id;	/* what the answer says; NULL: null */
	const char *method;		/* "" where there is none */
	const struct rpc_value *params; /* an object, or NULL: none */
};

/* A line to a message in this arena, which has no other; the line outlives it. 0; -EINVAL with
 * *fault (RPC_PARSE_ERROR; RPC_INVALID_REQUEST: empty or oversized batch; RPC_INTERNAL_ERROR:
 * memory is out), to be answered with a null id; *out untouched. */
int rpc_message_parse(struct rpc_arena *a, const char *line, size_t len, struct rpc_message *out,
	struct rpc_fault *fault);
/* Wipes; the arena keeps some of the memory for the next. */
void rpc_message_fini(struct rpc_message *m);
/* The next of the message's n requests. 0; -EINVAL with *fault: no request (RPC_INVALID_REQUEST) or
 * params by position (RPC_INVALID_PARAMS); out->is_notification and out->id are set all the same.
 */
int rpc_message_request(struct rpc_message *m, struct rpc_request *out, struct rpc_fault *fault);

/* What a method takes. */
enum rpc_type {
	RPC_TEXT = 1,
	RPC_TEXTS, /* array of strings */
	RPC_BOOL,
	RPC_INTEGER, /* 0 and up */
	RPC_SECONDS, /* number, 0 and up, fractions allowed */
};

struct rpc_param {
	const char *name;
	enum rpc_type type;
	bool is_required;
	const char *accepts; /* in words, for the fault; NULL: the type says it */
};

/* Every name known, every type right, nothing required missing; params may be NULL (none). 0, or
 * -EINVAL with *fault. After it, rpc_value_get of a named parameter has the stated type or is NULL.
 */
int rpc_params_check(const struct rpc_value *params, const struct rpc_param *list, size_t n_list,
	struct rpc_fault *fault);

/* --- replies, as the server writes them; for values see rpc/write.h ----------------------------*/

void rpc_text_fini(struct rpc_text *t);
void rpc_text_append(struct rpc_text *t, const char *chars, size_t len);
/* Where to write up to len chars, and then add what was written to t->len. NULL: memory was out. */
char *rpc_text_reserve(struct rpc_text *t, size_t len);
/* Back to its first len chars; the others are wiped. The room stays. */
void rpc_text_cut(struct rpc_text *t, size_t len);
/* {"jsonrpc":"2.0","id":...,"result":...} without a newline, around one value that is written in
 * between. id NULL: null. */
void rpc_text_result_begin(struct rpc_text *t, const struct rpc_value *id);
void rpc_text_result_end(struct rpc_text *t);
void rpc_text_fault(struct rpc_text *t, const struct rpc_value *id, const struct rpc_fault *fault);

/* --- the client's side -------------------------------------------------------------------------*/

/* One request with its newline. params is consumed, NULL: none. */
void rpc_text_request(struct rpc_text *t, json_int_t id, const char *method, json_t *params);
/* A line to the result with this id. 0 and *result (the caller's to decref); -EREMOTEIO: *fault is
 * the far end's; -EPROTO: no sound reply to this id, *fault says what is wrong with it. */
int rpc_reply_parse(
	const char *line, size_t len, json_int_t id, json_t **result, struct rpc_fault *fault);

#endif
