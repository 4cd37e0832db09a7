/* Messages: a line to requests, a line to a reply, and what a method takes. */
#include "rpc/impl.h"
#include "rpc/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Duplicate names are refused: two readers of one line must not see two different requests. */
#define PARSE_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY)

int rpc_message_parse(struct rpc_arena *a, const char *line, size_t len, struct rpc_message *out,
	struct rpc_fault *fault)
{
	json_error_t error;
	json_t *root = rpc_arena_load(a, line, len, PARSE_FLAGS, &error);
	size_t n = 1;
	int err = 0;

	/* The parser's own words would quote the line, and the line may hold a key. */
	if (root == NULL)
		err = rpc_fault_set(fault, RPC_PARSE_ERROR, NULL,
			"one JSON object or array a line, in UTF-8",
			"the line is not JSON (at byte %d of %zu)", error.position, len);
	else if (json_is_array(root))
		n = json_array_size(root);
	if (n == 0 || n > RPC_BATCH_MAX)
		err = rpc_fault_set(fault, RPC_INVALID_REQUEST, NULL, NULL,
			"a batch of %zu requests; accepted are 1 to %u", n, RPC_BATCH_MAX);
	if (err != 0)
		rpc_arena_reset(a);
	else
		*out = (struct rpc_message){
			.root = root, .arena = a, .is_batch = json_is_array(root), .n = n};
	return err;
}

void rpc_message_fini(struct rpc_message *m)
{
	rpc_arena_reset(m->arena);
	*m = (struct rpc_message){0};
}

int rpc_message_request(
	const struct rpc_message *m, size_t i, struct rpc_request *out, struct rpc_fault *fault)
{
	json_t *r = m->is_batch ? json_array_get(m->root, i) : m->root;
	const char *version = json_string_value(json_object_get(r, "jsonrpc"));
	const char *method = json_string_value(json_object_get(r, "method"));
	json_t *id = json_object_get(r, "id"), *params = json_object_get(r, "params");

	*out = (struct rpc_request){0};
	if (!json_is_object(r))
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, NULL,
			"an object with jsonrpc, method, params and id", "a request is an object");
	if (id != NULL && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, "id", "a string, a number or null",
			"id is neither a string nor a number nor null");
	out->id = id;
	if (version == NULL || strcmp(version, "2.0") != 0)
		return rpc_fault_set(
			fault, RPC_INVALID_REQUEST, "jsonrpc", "\"2.0\"", "jsonrpc is not \"2.0\"");
	if (method == NULL)
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, "method", "the name of a method",
			"method is missing or not a string");
	if (params != NULL && !json_is_object(params) && !json_is_array(params))
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, "params", "an object",
			"params is neither an object nor an array");
	out->is_notification = id == NULL;
	/* No method has so long a name, so one that is cut is still unknown. */
	memcpy(out->method, method, strnlen(method, sizeof(out->method) - 1));
	if (json_is_array(params))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "params", "an object",
			"parameters go by name, in an object, not by position");
	out->params = params;
	return 0;
}

/* --- parameters --------------------------------------------------------------------------------*/

static bool is_of_type(const json_t *value, enum rpc_type type)
{
	const json_t *item;
	size_t i;

	switch (type) {
	case RPC_TEXT:
		return json_is_string(value);
	case RPC_TEXTS:
		if (!json_is_array(value))
			return false;
		json_array_foreach(value, i, item)
		{
			if (!json_is_string(item))
				return false;
		}
		return true;
	case RPC_BOOL:
		return json_is_boolean(value);
	case RPC_INTEGER:
		return json_is_integer(value) && json_integer_value(value) >= 0;
	case RPC_SECONDS:
		return json_is_number(value) && json_number_value(value) >= 0;
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

static int refuse_unknown(
	const char *name, const struct rpc_param *list, size_t n_list, struct rpc_fault *fault)
{
	char accepts[RPC_ACCEPTS_CHARS] = "nothing", text[RPC_EXCERPT_CHARS];
	size_t len = 0;

	for (size_t i = 0; i < n_list && len < sizeof(accepts); i++)
		len += (size_t)snprintf(accepts + len, sizeof(accepts) - len, "%s%s",
			i > 0 ? ", " : "", list[i].name);
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, accepts,
		"unknown parameter \"%s\"; accepted: %s", rpc_excerpt(name, text), accepts);
}

static const struct rpc_param *find_param(
	const char *name, const struct rpc_param *list, size_t n_list)
{
	for (size_t i = 0; i < n_list; i++) {
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	}
	return NULL;
}

int rpc_params_check(
	const json_t *params, const struct rpc_param *list, size_t n_list, struct rpc_fault *fault)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)params, name, value)
	{
		const struct rpc_param *p = find_param(name, list, n_list);
		const char *accepts;

		if (p == NULL)
			return refuse_unknown(name, list, n_list, fault);
		accepts = p->accepts != NULL ? p->accepts : type_words(p->type);
		if (!is_of_type(value, p->type))
			return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, accepts,
				"%s has the wrong type or sign; accepted: %s", name, accepts);
	}
	for (size_t i = 0; i < n_list; i++) {
		const char *accepts =
			list[i].accepts != NULL ? list[i].accepts : type_words(list[i].type);

		if (list[i].is_required && json_object_get(params, list[i].name) == NULL)
			return rpc_fault_set(fault, RPC_INVALID_PARAMS, list[i].name, accepts,
				"%s is missing; accepted: %s", list[i].name, accepts);
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
	json_t *reply = json_loadb(line, len, PARSE_FLAGS, NULL);
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
