/* Requests in, answers out, when each may leave. */
#include "ctl/portmap.h"

#include <stdlib.h>
#include <string.h>

/* An answer that waits for the workers. */
struct ctl_portmap_answer {
	TAILQ_ENTRY(ctl_portmap_answer) next;
	struct grace_work work;
	struct ctl *ctl;
	struct ctl_portmap_route to;
	uint64_t lease_id;
	size_t len;
	uint8_t msg[PORTMAP_MSG_BYTES];
};

static void send_answer(
	struct ctl *c, const struct ctl_portmap_route *to, const uint8_t *msg, size_t len)
{
	if (c->p.portmap_reply(c->p.portmap_reply_arg, to, msg, len))
		c->portmap.counters.answered++;
	else
		c->portmap.counters.lost++;
}

static void destroy_answer(struct ctl_portmap_answer *a)
{
	TAILQ_REMOVE(&a->ctl->portmap.answers, a, next);
	free(a);
}

static void on_committed(void *arg)
{
	struct ctl_portmap_answer *a = arg;
	struct ctl *c = a->ctl;

	/* Grace periods end in the order in which they began. */
	if (a->lease_id > c->portmap.known_id)
		c->portmap.known_id = a->lease_id;
	send_answer(c, &a->to, a->msg, a->len);
	destroy_answer(a);
}

/* Without memory it is lost: the client asks again, and finds what it asked for. */
static void defer_answer(struct ctl *c, const struct ctl_portmap_route *to,
	const struct ctl_portmap_grant *grant, const uint8_t *msg, size_t len)
{
	struct ctl_portmap_answer *a = malloc(sizeof(*a));

	if (a == NULL) {
		c->portmap.counters.lost++;
		return;
	}
	a->ctl = c;
	a->to = *to;
	a->lease_id = grant->lease_id;
	a->len = len;
	memcpy(a->msg, msg, len);
	TAILQ_INSERT_TAIL(&c->portmap.answers, a, next);
	grace_defer_work(c->p.grace, &a->work, on_committed, a);
	ctl_commit_poll(c);
}

void ctl_portmap_take(struct ctl *c, const struct ctl_portmap_request *r)
{
	struct ctl_portmap_grant grant = {0};
	uint8_t out[PORTMAP_MSG_BYTES];
	size_t len;

	/* Gone since: nobody is there to hear an answer. */
	if (peer_conf_get(c->p.peers, r->from.peer_idx) == NULL)
		return;
	c->portmap.counters.requests++;
	switch (portmap_classify(r->msg, r->len)) {
	case PORTMAP_NATPMP:
		len = ctl_portmap_natpmp(c, r, out, &grant);
		break;
	case PORTMAP_PCP:
		len = ctl_portmap_pcp(c, r, out, &grant);
		break;
	case PORTMAP_OTHER_VERSION:
		len = portmap_pcp_refuse_version(r->msg[1], ctl_portmap_epoch_s(c), out);
		break;
	default:
		c->portmap.counters.ignored++;
		return;
	}
	if (grant.waits)
		defer_answer(c, &r->from, &grant, out, len);
	else
		send_answer(c, &r->from, out, len);
}

void ctl_portmap_init(struct ctl *c)
{
	TAILQ_INIT(&c->portmap.answers);
}

void ctl_portmap_fini(struct ctl *c)
{
	struct ctl_portmap_answer *a;

	while ((a = TAILQ_FIRST(&c->portmap.answers)) != NULL) {
		grace_cancel(c->p.grace, &a->work);
		destroy_answer(a);
	}
}

json_t *ctl_portmap_build(const struct ctl *c)
{
	const struct ctl_portmap_counters *n = &c->portmap.counters;

	return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}", "counters", "requests",
		(json_int_t)n->requests, "answered", (json_int_t)n->answered, "ignored",
		(json_int_t)n->ignored, "lost", (json_int_t)n->lost, "opened",
		(json_int_t)n->opened, "renewed", (json_int_t)n->renewed, "closed",
		(json_int_t)n->closed, "refused", (json_int_t)n->refused);
}
