/* A line to replies: the table of methods. */
#include "ctl/server.h"

#include <errno.h>
#include <string.h>

static const struct ctl_method *const tables[] = {
	ctl_peer_methods,
	ctl_lease_methods,
	ctl_check_methods,
	ctl_session_methods,
	ctl_pool_methods,
	ctl_why_methods,
	ctl_why_lease_methods,
	ctl_report_methods,
	ctl_reload_methods,
	ctl_event_methods,
	ctl_history_methods,
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

static int write_result(struct ctl *c, const struct ctl_method *m, const struct rpc_value *params,
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

/* The reply with the result, unless that comes later; or -EINVAL with *fault, and none. */
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
	if (m->begin != NULL)
		return m->begin(c, request->id, request->params, fault);
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

/* The same for when the store fails: what looked stays, what changed is refused. Why it fails is
 * not known yet. */
static void append_refusal(const struct ctl *c, struct rpc_text *refusal,
	const struct rpc_message *m, const struct rpc_request *request, bool is_change,
	const char *reply, size_t len)
{
	struct rpc_fault fault;

	if (!is_change || len == 0) {
		rpc_text_append(refusal, reply, len);
		return;
	}
	if (m->is_batch)
		rpc_text_append(refusal, refusal->len == 0 ? "[" : ",", 1);
	rpc_fault_set(&fault, RPC_NOT_DURABLE, "store.path", NULL,
		"the change is in force, but the store %s cannot be written: %s; it is tried again "
		"every second, and a restart before that undoes it",
		c->p.conf->store_path, CTL_WHY_MARK);
	rpc_text_fault(refusal, request->id, &fault);
}

/* The next request of the message, and its reply when one is due. */
static bool run_one(struct ctl *c, const struct ctl_role *role, struct rpc_message *m,
	struct rpc_text *reply, struct rpc_text *refusal)
{
	struct rpc_request request;
	struct rpc_fault fault;
	bool is_change = false;
	size_t begin = reply->len;
	int err = rpc_message_request(m, &request, &fault);

	c->is_asked_alone = !m->is_batch && !request.is_notification;
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
	if (c->p.store != NULL && !reply->is_broken)
		append_refusal(c, refusal, m, &request, is_change, reply->chars + begin,
			reply->len - begin);
	return is_change;
}

static void end_line(struct rpc_text *t, bool is_batch)
{
	if (t->len > 0 && is_batch)
		rpc_text_append(t, "]", 1);
	if (t->len > 0)
		rpc_text_append(t, "\n", 1);
}

bool ctl_line_run(struct ctl *c, const struct ctl_role *role, const char *line, size_t len,
	struct rpc_text *reply, struct rpc_text *refusal)
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
		is_change |= run_one(c, role, &m, reply, refusal);
	end_line(reply, m.is_batch);
	end_line(refusal, m.is_batch);
	rpc_message_fini(&m);
	return is_change;
}
