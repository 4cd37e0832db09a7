/* A line to replies: the table of methods. */
#include "ctl/server.h"

#include <errno.h>
#include <string.h>

static const struct ctl_method *const tables[] = {
	ctl_peer_methods,
	ctl_lease_methods,
	ctl_session_methods,
	ctl_pool_methods,
	ctl_why_methods,
	ctl_report_methods,
	ctl_reload_methods,
	ctl_event_methods,
};

static const struct ctl_method *find_method(const char *name)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		for (const struct ctl_method *m = tables[i]; m->name != NULL; m++) {
			if (strcmp(m->name, name) == 0)
				return m;
		}
	}
	return NULL;
}

static int refuse_writer(const struct ctl *c, const struct ctl_role *role, const char *method,
	struct rpc_fault *fault)
{
	char accepts[RPC_ACCEPTS_CHARS];

	if (c->has_group)
		snprintf(accepts, sizeof(accepts), "root and members of group %s",
			c->p.conf->socket_group);
	else
		snprintf(accepts, sizeof(accepts), "root");
	return rpc_fault_set(fault, RPC_NOT_PERMITTED, method, accepts,
		"uid %u may read, but not %s; accepted: %s", (unsigned)role->uid, method, accepts);
}

static int write_result(struct ctl *c, const struct ctl_method *m, const json_t *params,
	struct rpc_text *reply, struct rpc_fault *fault)
{
	json_t *result;

	if (m->write != NULL)
		return m->write(c, params, reply, fault);
	result = m->run(c, params, fault);
	if (result == NULL)
		return -EINVAL;
	rpc_write_json(reply, NULL, result);
	return 0;
}

/* The reply with the result; or -EINVAL with *fault, and none. */
static int run_request(struct ctl *c, const struct ctl_role *role,
	const struct rpc_request *request, bool *is_change, struct rpc_text *reply,
	struct rpc_fault *fault)
{
	const struct ctl_method *m = find_method(request->method);
	char name[RPC_EXCERPT_CHARS];
	size_t begin = reply->len;

	if (m == NULL)
		return rpc_fault_set(fault, RPC_METHOD_NOT_FOUND, request->method, NULL,
			"there is no method \"%s\"", rpc_excerpt(request->method, name));
	if (m->writes && !role->may_write)
		return refuse_writer(c, role, m->name, fault);
	if (rpc_params_check(request->params, m->params, m->n_params, fault) != 0)
		return -EINVAL;
	if (m->writes)
		ctl_peers_poll(c);
	fault->code = 0;
	rpc_text_result_begin(reply, request->id);
	if (write_result(c, m, request->params, reply, fault) != 0) {
		rpc_text_cut(reply, begin);
		if (fault->code == 0)
			rpc_fault_set(fault, RPC_INTERNAL_ERROR, NULL, NULL, "memory is out");
		return -EINVAL;
	}
	rpc_text_result_end(reply);
	*is_change |= m->writes;
	return 0;
}

/* Request i of the message, and its reply when one is due. */
static bool run_one(struct ctl *c, const struct ctl_role *role, const struct rpc_message *m,
	size_t i, struct rpc_text *reply)
{
	struct rpc_request request;
	struct rpc_fault fault;
	bool is_change = false;
	size_t begin = reply->len;
	int err = rpc_message_request(m, i, &request, &fault);

	if (m->is_batch)
		rpc_text_append(reply, reply->len == 0 ? "[" : ",", 1);
	if (err == 0 && begin > CTL_REPLY_BYTES_MAX)
		err = rpc_fault_set(&fault, RPC_TRY_AGAIN, NULL, "smaller batches",
			"the reply to this batch has over %u bytes already; not carried out",
			CTL_REPLY_BYTES_MAX);
	else if (err == 0)
		err = run_request(c, role, &request, &is_change, reply, &fault);
	if (request.is_notification)
		rpc_text_cut(reply, begin);
	else if (err != 0)
		rpc_text_fault(reply, request.id, &fault);
	return is_change;
}

bool ctl_line_run(struct ctl *c, const struct ctl_role *role, const char *line, size_t len,
	struct rpc_text *reply)
{
	struct rpc_message m;
	struct rpc_fault fault;
	bool is_change = false;

	if (rpc_message_parse(&c->arena, line, len, &m, &fault) != 0) {
		rpc_text_fault(reply, NULL, &fault);
		rpc_text_append(reply, "\n", 1);
		return false;
	}
	for (size_t i = 0; i < m.n; i++)
		is_change |= run_one(c, role, &m, i, reply);
	if (reply->len > 0 && m.is_batch)
		rpc_text_append(reply, "]", 1);
	if (reply->len > 0)
		rpc_text_append(reply, "\n", 1);
	rpc_message_fini(&m);
	return is_change;
}
