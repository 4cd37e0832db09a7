/* Requests in, answers out, when each may leave. */
#include "ctl/portmap.h"

#include <stdlib.h>
#include <string.h>

/* An answer that waits for the workers, and for the store. */
struct ctl_portmap_answer {
	TAILQ_ENTRY(ctl_portmap_answer) next;
	struct ctl_wait wait;
	struct ctl *ctl;
	struct ctl_portmap_route to;
	uint64_t lease_id;
	size_t len, refusal_len; /* the refusal goes instead when the store fails; 0: no store */
	uint8_t bytes[];	 /* one behind the other */
};

/* lease_id: the answer says that it is open; 0: nothing of the kind. */
static void send_answer(struct ctl *c, const struct ctl_portmap_route *to, uint64_t lease_id,
	const uint8_t *msg, size_t len)
{
	if (lease_id != 0)
		ctl_promise_door(c, lease_id);
	if (peer_conf_get(c->p.peers, to->peer_idx) == NULL)
		c->portmap.counters.ignored++;
	else if (c->p.portmap_reply(c->p.portmap_reply_arg, to, msg, len))
		c->portmap.counters.answered++;
	else
		c->portmap.counters.lost++;
}

static void destroy_answer(struct ctl_portmap_answer *a)
{
	TAILQ_REMOVE(&a->ctl->portmap.answers, a, next);
	a->ctl->portmap.n_answers--;
	free(a);
}

static void on_committed(void *arg, bool is_durable)
{
	struct ctl_portmap_answer *a = arg;
	struct ctl *c = a->ctl;

	/* Grace periods end in the order in which they began, and so do commits. */
	if (is_durable && a->lease_id > c->portmap.known_id)
		c->portmap.known_id = a->lease_id;
	if (is_durable)
		send_answer(c, &a->to, a->lease_id, a->bytes, a->len);
	else
		send_answer(c, &a->to, 0, a->bytes + a->len, a->refusal_len);
	destroy_answer(a);
}

static size_t build_refusal(
	struct ctl *c, const struct ctl_portmap_request *r, uint8_t out[static PORTMAP_MSG_BYTES])
{
	if (c->p.store == NULL)
		return 0;
	return portmap_classify(r->msg, r->len) == PORTMAP_NATPMP
		       ? ctl_portmap_natpmp_fail(c, r, out)
		       : ctl_portmap_pcp_fail(c, r, out);
}

/* Without memory it is lost: the client asks again, and finds what it asked for. */
static void defer_answer(struct ctl *c, const struct ctl_portmap_request *r,
	const struct ctl_portmap_grant *grant, const uint8_t *msg, size_t len)
{
	uint8_t refusal[PORTMAP_MSG_BYTES];
	size_t refusal_len = build_refusal(c, r, refusal);
	struct ctl_portmap_answer *a = malloc(sizeof(*a) + len + refusal_len);

	if (a == NULL) {
		c->portmap.counters.lost++;
		return;
	}
	a->ctl = c;
	a->to = r->from;
	a->lease_id = grant->lease_id;
	a->len = len;
	a->refusal_len = refusal_len;
	memcpy(a->bytes, msg, len);
	memcpy(a->bytes + len, refusal, refusal_len);
	TAILQ_INSERT_TAIL(&c->portmap.answers, a, next);
	c->portmap.n_answers++;
	ctl_wait_start(c, &a->wait, on_committed, a);
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
		ctl_announce_note(c, &r->from, false);
		c->actor = (struct ctl_actor){CTL_BY_NATPMP};
		len = ctl_portmap_natpmp(c, r, out, &grant);
		break;
	case PORTMAP_PCP:
		ctl_announce_note(c, &r->from, true);
		c->actor = (struct ctl_actor){CTL_BY_PCP};
		len = ctl_portmap_pcp(c, r, out, &grant);
		break;
	case PORTMAP_OTHER_VERSION:
		len = portmap_pcp_refuse_version(r->msg[1], ctl_portmap_epoch_s(c), out);
		break;
	default:
		c->portmap.counters.ignored++;
		return;
	}
	c->actor = (struct ctl_actor){CTL_BY_TIME};
	if (grant.waits)
		defer_answer(c, r, &grant, out, len);
	else
		send_answer(c, &r->from, grant.lease_id, out, len);
}

void ctl_portmap_init(struct ctl *c)
{
	TAILQ_INIT(&c->portmap.answers);
}

void ctl_portmap_fini(struct ctl *c)
{
	struct ctl_portmap_answer *a;

	while ((a = TAILQ_FIRST(&c->portmap.answers)) != NULL) {
		ctl_wait_cancel(&a->wait);
		destroy_answer(a);
	}
}

json_t *ctl_portmap_build(const struct ctl *c)
{
	const struct ctl_portmap_counters *n = &c->portmap.counters;
	json_t *counters = json_object();

#define X(name, help) json_object_set_new(counters, #name, json_integer((json_int_t)n->name));
	CTL_PORTMAP_COUNTERS(X)
#undef X
	return json_pack("{s:o}", "counters", counters);
}
