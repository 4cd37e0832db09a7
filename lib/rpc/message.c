/* Messages: a line to requests, a line to a reply, and what a method takes. */
#include "rpc/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int rpc_message_parse(struct rpc_arena *a, const char *line, size_t len, struct rpc_message *out,
	struct rpc_fault *fault)
{
	const struct rpc_value *root = NULL;
	size_t at, n = 1;
	int err = rpc_read(a, line, len, &root, &at);

	/* The line is not quoted: it may hold a key. */
	if (err == -ENOMEM)
		return rpc_fault_set(fault, RPC_INTERNAL_ERROR, NULL, NULL, "memory is out");
	if (err == -E2BIG)
		return rpc_fault_set(fault, RPC_PARSE_ERROR, NULL, NULL,
			"the line has more than %u values in one another, or %u members in an "
			"object (at byte %zu of %zu)",
			RPC_DEPTH_MAX, RPC_MEMBERS_MAX, at, len);
	if (err != 0)
		return rpc_fault_set(fault, RPC_PARSE_ERROR, NULL,
			"one JSON object or array a line, in UTF-8",
			"the line is not JSON (at byte %zu of %zu)", at, len);
	if (root->kind == RPC_ARRAY)
		n = root->n;
	if (n == 0 || n > RPC_BATCH_MAX) {
		rpc_arena_reset(a);
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, NULL, NULL,
			"a batch of %zu requests; accepted are 1 to %u", n, RPC_BATCH_MAX);
	}
	*out = (struct rpc_message){
		.root = root, .arena = a, .is_batch = root->kind == RPC_ARRAY, .n = n};
	return 0;
}

void rpc_message_fini(struct rpc_message *m)
{
	rpc_arena_reset(m->arena);
	*m = (struct rpc_message){0};
}

static bool may_be_id(const struct rpc_value *v)
{
	return v->kind == RPC_WHOLE || v->kind == RPC_STRING || v->kind == RPC_NULL ||
	       v->kind == RPC_REAL;
}

int rpc_message_request(struct rpc_message *m, struct rpc_request *out, struct rpc_fault *fault)
{
	const struct rpc_value *r = m->is_batch ? rpc_value_next(m->root, m->last) : m->root;
	const char *version = rpc_value_get_text(r, "jsonrpc");
	const char *method = rpc_value_get_text(r, "method");
	const struct rpc_value *id = rpc_value_get(r, "id"), *params = rpc_value_get(r, "params");

	m->last = r;
	*out = (struct rpc_request){.method = ""};
	if (r->kind != RPC_OBJECT)
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, NULL,
			"an object with jsonrpc, method, params and id", "a request is an object");
	if (id != NULL && !may_be_id(id))
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, "id", "a string, a number or null",
			"id is neither a string nor a number nor null");
	out->id = id;
	if (version == NULL || strcmp(version, "2.0") != 0)
		return rpc_fault_set(
			fault, RPC_INVALID_REQUEST, "jsonrpc", "\"2.0\"", "jsonrpc is not \"2.0\"");
	if (method == NULL)
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, "method", "the name of a method",
			"method is missing or not a string");
	if (params != NULL && params->kind != RPC_OBJECT && params->kind != RPC_ARRAY)
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, "params", "an object",
			"params is neither an object nor an array");
	out->is_notification = id == NULL;
	out->method = method;
	if (params != NULL && params->kind == RPC_ARRAY)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "params", "an object",
			"parameters go by name, in an object, not by position");
	out->params = params;
	return 0;
}

/* --- parameters --------------------------------------------------------------------------------*/

static bool is_of_type(const struct rpc_value *value, enum rpc_type type)
{
	const struct rpc_value *item = NULL;

	switch (type) {
	case RPC_TEXT:
		return value->kind == RPC_STRING;
	case RPC_TEXTS:
		while ((item = rpc_value_next(value, item)) != NULL)
			if (item->kind != RPC_STRING)
				return false;
		return value->kind == RPC_ARRAY;
	case RPC_BOOL:
		return value->kind == RPC_TRUE || value->kind == RPC_FALSE;
	case RPC_INTEGER:
		return value->kind == RPC_WHOLE && value->integer >= 0;
	case RPC_SECONDS:
		return (value->kind == RPC_WHOLE || value->kind == RPC_REAL) &&
		       rpc_value_number(value) >= 0;
	}
	return false;
}

static const char *type_words(enum rpc_type type)
{
	switch (type) {
	case RPC_TEXT:
		return "a string";
	case RPC_TEXTS:
		return "an array of strings";
	case RPC_BOOL:
		return "true or false";
	case RPC_INTEGER:
		return "an integer, 0 or more";
	case RPC_SECONDS:
		return "a number of seconds, 0 or more";
	}
	return "";
}

static int refuse_unknown(const struct rpc_value *value, const struct rpc_param *list,
	size_t n_list, struct rpc_fault *fault)
{
	char accepts[RPC_ACCEPTS_CHARS] = "nothing", text[RPC_EXCERPT_CHARS];
	char name[RPC_CULPRIT_CHARS + 4]; /* so that what is too long is cut at a character */
	size_t len = 0, name_len = value->name_len;

	if (name_len >= sizeof(name))
		name_len = sizeof(name) - 1;
	memcpy(name, value->name, name_len);
	name[name_len] = '\0';
	for (size_t i = 0; i < n_list && len < sizeof(accepts); i++)
		len += (size_t)snprintf(accepts + len, sizeof(accepts) - len, "%s%s",
			i > 0 ? ", " : "", list[i].name);
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, accepts,
		"unknown parameter \"%s\"; accepted: %s", rpc_excerpt(name, text), accepts);
}

static const struct rpc_param *find_param(
	const struct rpc_value *value, const struct rpc_param *list, size_t n_list)
{
	for (size_t i = 0; i < n_list; i++)
		if (strncmp(list[i].name, value->name, value->name_len) == 0 &&
			list[i].name[value->name_len] == '\0')
			return &list[i];
	return NULL;
}

static const char *accepts_of(const struct rpc_param *p)
{
	return p->accepts != NULL ? p->accepts : type_words(p->type);
}

int rpc_params_check(const struct rpc_value *params, const struct rpc_param *list, size_t n_list,
	struct rpc_fault *fault)
{
	const struct rpc_value *value = NULL;

	while ((value = rpc_value_next(params, value)) != NULL) {
		const struct rpc_param *p = find_param(value, list, n_list);

		if (p == NULL)
			return refuse_unknown(value, list, n_list, fault);
		if (!is_of_type(value, p->type))
			return rpc_fault_set(fault, RPC_INVALID_PARAMS, p->name, accepts_of(p),
				"%s has the wrong type or sign; accepted: %s", p->name,
				accepts_of(p));
	}
	for (size_t i = 0; i < n_list; i++) {
		const struct rpc_param *p = &list[i];

		if (p->is_required && rpc_value_get(params, p->name) == NULL)
			return rpc_fault_set(fault, RPC_INVALID_PARAMS, p->name, accepts_of(p),
				"%s is missing; accepted: %s", p->name, accepts_of(p));
	}
	return 0;
}

/* --- the client's side -------------------------------------------------------------------------*/

static int refuse_reply(struct rpc_fault *fault, const char *why)
{
	rpc_fault_set(fault, RPC_INTERNAL_ERROR, NULL, NULL, "the gateway's reply %s", why);
	return -EPROTO;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL ? "" : text;
}

int rpc_reply_parse(
	const char *line, size_t len, json_int_t id, json_t **result, struct rpc_fault *fault)
{
	json_t *reply = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	const json_t *reply_id = json_object_get(reply, "id");
	json_t *value = json_object_get(reply, "result"), *error = json_object_get(reply, "error");
	int err = 0;

	if (!json_is_object(reply) || strcmp(text_of(reply, "jsonrpc"), "2.0") != 0) {
		err = refuse_reply(fault, "is not JSON-RPC 2.0");
	} else if (json_is_object(error) && value == NULL &&
		   json_is_integer(json_object_get(error, "code")) &&
		   ((json_is_integer(reply_id) && json_integer_value(reply_id) == id) ||
			   json_is_null(reply_id))) {
		const json_t *data = json_object_get(error, "data");
		json_int_t code = json_integer_value(json_object_get(error, "code"));

		rpc_fault_set(fault, (int)code, text_of(data, "culprit"), text_of(data, "accepts"),
			"%s", text_of(error, "message"));
		err = -EREMOTEIO;
	} else if (!json_is_integer(reply_id) || json_integer_value(reply_id) != id) {
		err = refuse_reply(fault, "is to another request");
	} else if (value == NULL || error != NULL) {
		err = refuse_reply(fault, "has neither a result nor an error");
	} else {
		*result = json_incref(value);
	}
	json_decref(reply);
	return err;
}
