/* lease.check: a probe at the door of a lease (probe/probe.h), and what came of it. The reply comes
 * later; meanwhile nobody waits.
 */
#include "ctl/check.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* portierctl waits 30 s for any reply. */
#define TIMEOUT_DEFAULT_NS (5 * NS_IN_S)
#define TIMEOUT_MAX_NS	   (20 * NS_IN_S)
#define TIMEOUT_WORDS	   "more than 0 s, at most 20 s"
/* How often answers are looked for. */
#define LOOK_US 20000
/* Sent again as TCP does (RFC 6298, section 2): after 1 s, 2 s more, 4 s more. */
#define RESEND_NS NS_IN_S
/* How many a second, and in one go. */
#define CHECK_INTERVAL_NS (NS_IN_S / 5)
#define CHECK_BURST	  10u

static const struct rpc_param check_params[] = {
	{"id", RPC_INTEGER, true, "the id of an open lease"},
	{"proto", RPC_TEXT, false, "tcp or udp"},
	{"public_port", RPC_INTEGER, false, "one of the lease"},
	{"timeout_s", RPC_SECONDS, false, TIMEOUT_WORDS},
};

/* --- what is asked */

static int get_proto(const struct rpc_value *params, const struct lease *l, uint8_t *out,
	struct rpc_fault *fault)
{
	const char *text = rpc_value_get_text(params, "proto");
	char excerpt[RPC_EXCERPT_CHARS];
	uint8_t bit;

	if (text == NULL) {
		*out = l->protos & LEASE_PROTO_TCP ? IPPROTO_TCP : IPPROTO_UDP;
		return 0;
	}
	if (strcmp(text, "tcp") != 0 && strcmp(text, "udp") != 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, "tcp or udp",
			"proto \"%s\" is not accepted; accepted: tcp or udp",
			rpc_excerpt(text, excerpt));
	*out = text[0] == 't' ? IPPROTO_TCP : IPPROTO_UDP;
	bit = text[0] == 't' ? LEASE_PROTO_TCP : LEASE_PROTO_UDP;
	if (l->protos & bit)
		return 0;
	return rpc_fault_set(fault, RPC_REFUSED, text, "the protocol of the lease",
		"lease %" PRIu64 " is not for %s; accepted: the protocol that it is for", l->id,
		text);
}

/* Which port of the lease: the first, unless it is said. A whole address has none that is the first
 * to be meant. */
static int get_port(const struct rpc_value *params, const struct lease *l, uint16_t *out,
	struct rpc_fault *fault)
{
	const struct rpc_value *value = rpc_value_get(params, "public_port");
	bool is_whole = lease_is_whole(l->public_port);
	unsigned first = is_whole ? 1 : l->public_port;
	unsigned last = is_whole ? UINT16_MAX : first + lease_ports_of(l->n_ports) - 1;
	int64_t port = value != NULL ? rpc_value_integer(value) : (int64_t)first;
	char accepts[32];

	if (first == last)
		snprintf(accepts, sizeof(accepts), "%u", first);
	else
		snprintf(accepts, sizeof(accepts), "%u to %u", first, last);
	if (value == NULL && is_whole)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "public_port", accepts,
			"lease %" PRIu64 " has a whole address, and a check knocks at one port; "
			"accepted: a public_port, %s",
			l->id, accepts);
	if (port < first || port > last)
		return rpc_fault_set(fault, RPC_REFUSED, "public_port", accepts,
			"lease %" PRIu64 " has no public port %lld; accepted: %s", l->id,
			(long long)port, accepts);
	*out = (uint16_t)port;
	return 0;
}

static int get_timeout(const struct rpc_value *params, uint64_t *out_ns, struct rpc_fault *fault)
{
	*out_ns = TIMEOUT_DEFAULT_NS;
	if (ctl_seconds_get(params, "timeout_s", out_ns, fault) != 0)
		return -EINVAL;
	if (*out_ns == 0 || *out_ns > TIMEOUT_MAX_NS)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "timeout_s", TIMEOUT_WORDS,
			"timeout_s is not accepted; accepted: " TIMEOUT_WORDS);
	return 0;
}

static int get_ask(struct ctl *c, const struct rpc_value *params, const struct lease *l,
	struct probe_ask *ask, struct rpc_fault *fault)
{
	uint16_t port = 0;

	if (get_port(params, l, &port, fault) != 0)
		return -EINVAL;
	*ask = (struct probe_ask){
		.peer_idx = l->peer_idx,
		.public = {l->public_addr, port},
		.inner = {l->inner_addr, lease_inner_port_of(l, port)},
	};
	if (get_proto(params, l, &ask->proto, fault) != 0 ||
		ctl_check_from(c, l, &ask->from, fault) != 0)
		return -EINVAL;
	crypto_random(&ask->tcp_seq, sizeof(ask->tcp_seq));
	return 0;
}

/* A bucket as those of leases are: what is kept is when it will be full again. */
static bool is_within_rate(struct ctl *c, uint64_t now_ns)
{
	uint64_t full_ns = c->checks_full_ns > now_ns ? c->checks_full_ns : now_ns;

	if (full_ns - now_ns > (CHECK_BURST - 1) * CHECK_INTERVAL_NS)
		return false;
	c->checks_full_ns = full_ns + CHECK_INTERVAL_NS;
	return true;
}

/* May one more be carried out now? */
static int check_bounds(struct ctl *c, uint64_t lease_id, struct rpc_fault *fault)
{
	const struct ctl_check *check;

	if (!c->is_asked_alone)
		return rpc_fault_set(fault, RPC_INVALID_REQUEST, "lease.check", "a request alone",
			"lease.check is answered later; accepted: a request with an id, in no "
			"batch");
	if (c->p.probe_send == NULL)
		return rpc_fault_set(fault, RPC_REFUSED, "lease.check", NULL,
			"there is no packet path to check a lease by");
	TAILQ_FOREACH(check, &c->checks, next)
	if (check->lease_id == lease_id)
		return rpc_fault_set(fault, RPC_TRY_AGAIN, "id", "one check of a lease at a time",
			"lease %" PRIu64 " is being checked; accepted: one check of a lease at a "
			"time",
			lease_id);
	if (!is_within_rate(c, c->p.now_ns()))
		return rpc_fault_set(fault, RPC_TRY_AGAIN, "lease.check", "5 checks a second",
			"there are more checks than the gateway makes; accepted: 5 a second");
	return 0;
}

static void send_probe(struct ctl *c, struct ctl_check *check)
{
	probe_again(c->p.probes, check->number);
	check->n_sent += c->p.probe_send(c->p.probe_send_arg, check->number);
}

static void look_soon(struct ctl *c)
{
	const struct timeval soon = {.tv_usec = LOOK_US};

	event_add(c->ev_checks, &soon);
}

static int begin_check(struct ctl *c, const struct rpc_value *id, const struct rpc_value *params,
	struct rpc_fault *fault)
{
	uint64_t lease_id = (uint64_t)rpc_value_integer(rpc_value_get(params, "id"));
	const struct lease *l = ctl_lease_get(c, lease_id, fault);
	uint64_t now_ns = c->p.now_ns(), timeout_ns;
	struct ctl_check *check;
	struct probe_ask ask;
	uint8_t number;

	if (l == NULL || get_timeout(params, &timeout_ns, fault) != 0 ||
		get_ask(c, params, l, &ask, fault) != 0 || check_bounds(c, lease_id, fault) != 0)
		return -EINVAL;
	number = probe_begin(c->p.probes, &ask);
	if (number == 0)
		return rpc_fault_set(fault, RPC_TRY_AGAIN, "lease.check", "16 checks at a time",
			"%u leases are being checked; accepted: so many at a time", PROBE_SLOTS);
	check = calloc(1, sizeof(*check));
	if (check == NULL) {
		probe_end(c->p.probes, number);
		return rpc_fault_set(fault, RPC_INTERNAL_ERROR, NULL, NULL, "memory is out");
	}
	*check = (struct ctl_check){
		.client = c->asking,
		.lease_id = lease_id,
		.number = number,
		.ask = ask,
		.began_ns = now_ns,
		.ends_ns = now_ns + timeout_ns,
		.resend_ns = now_ns + RESEND_NS,
		.resend_gap_ns = 2 * RESEND_NS,
	};
	rpc_text_result_begin(&check->reply, id);
	c->asking->n_checks++;
	TAILQ_INSERT_TAIL(&c->checks, check, next);
	c->n_checks++;
	/* To who has no home there is no way, and its state is told at once. */
	if (peer_home(c->p.peers, ask.peer_idx) == PEER_HOME_NONE)
		check->ends_ns = now_ns;
	else
		send_probe(c, check);
	look_soon(c);
	return 0;
}

/* --- the end */

static void destroy_check(struct ctl *c, struct ctl_check *check)
{
	TAILQ_REMOVE(&c->checks, check, next);
	rpc_text_fini(&check->reply);
	free(check);
}

/* The client may be gone afterwards. */
static void reply(struct ctl_client *client, const struct rpc_text *t)
{
	struct evbuffer *out = evbuffer_new();

	client->n_checks--;
	/* A reply that cannot be given cannot be left out either: the far end would wait. */
	if (out == NULL || t->is_broken || evbuffer_add(out, t->chars, t->len) != 0)
		ctl_client_destroy(client);
	else if (ctl_client_send(client, out))
		ctl_client_run(client);
	if (out != NULL)
		evbuffer_free(out);
}

static void finish(struct ctl *c, struct ctl_check *check)
{
	struct ctl_client *client = check->client;
	struct rpc_text text;

	ctl_check_write(c, check, &check->reply);
	rpc_text_result_end(&check->reply);
	rpc_text_append(&check->reply, "\n", 1);
	probe_end(c->p.probes, check->number);
	ctl_commit_poll(c);
	text = check->reply;
	check->reply = (struct rpc_text){0};
	destroy_check(c, check);
	if (client != NULL)
		reply(client, &text);
	rpc_text_fini(&text);
}

/* Sent again, or at its end? */
static bool is_over(struct ctl *c, struct ctl_check *check)
{
	uint64_t now_ns = c->p.now_ns(), answered_ns;

	if (probe_answer_get(c->p.probes, check->number, &answered_ns).kind != PROBE_NOTHING ||
		now_ns >= check->ends_ns || lease_get(c->p.leases, check->lease_id) == NULL)
		return true;
	if (now_ns >= check->resend_ns) {
		send_probe(c, check);
		check->resend_ns = now_ns + check->resend_gap_ns;
		check->resend_gap_ns *= 2;
	}
	return false;
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct ctl *c = arg;
	struct ctl_check *check = TAILQ_FIRST(&c->checks), *next;

	for (; check != NULL; check = next) {
		next = TAILQ_NEXT(check, next);
		if (is_over(c, check))
			finish(c, check);
	}
	if (!TAILQ_EMPTY(&c->checks))
		look_soon(c);
}

int ctl_checks_init(struct ctl *c)
{
	TAILQ_INIT(&c->checks);
	c->ev_checks = evtimer_new(c->p.base, on_look, c);
	return c->ev_checks == NULL ? -ENOMEM : 0;
}

void ctl_checks_fini(struct ctl *c)
{
	if (c->ev_checks != NULL)
		event_free(c->ev_checks);
	while (!TAILQ_EMPTY(&c->checks))
		destroy_check(c, TAILQ_FIRST(&c->checks));
}

void ctl_checks_disown(struct ctl_client *client)
{
	struct ctl_check *check;

	TAILQ_FOREACH(check, &client->ctl->checks, next)
	if (check->client == client)
		check->client = NULL;
}

const struct ctl_method ctl_check_methods[] = {
	{"lease.check", true, check_params, sizeof(check_params) / sizeof(check_params[0]),
		.begin = begin_check},
	{NULL},
};
