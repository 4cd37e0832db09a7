/* lease.check: a probe at the door of a lease (probe/probe.h), and what came of it. The reply comes
 * later; meanwhile nobody waits.
 */
#include "ctl/server.h"

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
/* Ports that a probe comes from, and how often one is drawn. */
#define PORT_FIRST    32768u
#define PORT_COUNT    28232u
#define PORT_DRAWS    16
#define POOL_TRIES    64u /* addresses of a prefix that are looked at */
#define VERDICT_CHARS 384

struct ctl_check {
	TAILQ_ENTRY(ctl_check) next;
	struct ctl_client *client; /* NULL: it hung up */
	struct rpc_text reply;	   /* begun */
	uint64_t lease_id;
	uint8_t number; /* of the probe */
	struct probe_ask ask;
	uint64_t began_ns, ends_ns, resend_ns, resend_gap_ns;
	unsigned n_sent;
};

static const struct rpc_param check_params[] = {
	{"id", RPC_INTEGER, true, "the id of an open lease"},
	{"proto", RPC_TEXT, false, "tcp or udp"},
	{"timeout_s", RPC_SECONDS, false, TIMEOUT_WORDS},
};

/* --- from where */

static bool is_admitted(const struct lease *l, const struct ip_addr *a)
{
	for (unsigned i = 0; i < l->n_sources; i++)
		if (ip_prefix_contains(&l->sources[i], a))
			return true;
	return l->n_sources == 0;
}

/* What was found so far: *first may be used but for the lease's sources. */
struct pick {
	const struct lease *lease;
	struct ip_addr first, from;
};

/* True: it is the one. */
static bool try_address(struct pick *pick, const struct ip_addr *a)
{
	const struct lease *l = pick->lease;

	if (ip_is_v4(a) != ip_is_v4(&l->public_addr) || ip_equal(a, &l->public_addr))
		return false;
	if (ip_is_none(&pick->first))
		pick->first = *a;
	if (!is_admitted(l, a))
		return false;
	pick->from = *a;
	return true;
}

static bool try_pool(struct pick *pick, const struct ip_prefix *pool, unsigned n_pool)
{
	for (unsigned i = 0; i < n_pool; i++) {
		uint32_t base = load_be32(ip_v4_bytes(&pool[i].addr));

		for (uint32_t k = 0; k < POOL_TRIES; k++) {
			struct ip_addr a = ctl_v4_addr(base + k);

			if (!ip_prefix_contains(&pool[i], &a))
				break;
			if (try_address(pick, &a))
				return true;
		}
	}
	return false;
}

/* The public side's own addresses, which an operator knows; then the pools'. */
static bool pick_address(const struct conf *conf, struct pick *pick)
{
	for (unsigned i = 0; i < conf->n_ports; i++)
		for (unsigned k = 0; conf->ports[i].is_public && k < conf->ports[i].n_ifaddrs; k++)
			if (try_address(pick, &conf->ports[i].ifaddrs[k].addr))
				return true;
	return try_pool(pick, conf->pool, conf->n_pool) ||
	       try_pool(pick, conf->nat_pool, conf->n_nat_pool);
}

static int refuse_source(const struct pick *pick, struct rpc_fault *fault)
{
	char from[IP_TEXT_CHARS];

	if (ip_is_none(&pick->first))
		return rpc_fault_set(fault, RPC_REFUSED, "ports.addresses",
			"a public port with an address of that family",
			"there is no public address to check lease %" PRIu64 " from, beside its "
			"own; accepted: an address of that family at the public port "
			"(ports.addresses)",
			pick->lease->id);
	ip_addr_format(&pick->first, from);
	return rpc_fault_set(fault, RPC_REFUSED, "from", from,
		"lease %" PRIu64 " does not admit %s, where a check comes from; accepted: a lease "
		"that admits it too, as with --from %s",
		pick->lease->id, from, from);
}

/* A port where the gateway has nothing else to hear. */
static bool is_unused(struct ctl *c, const struct ip_endpoint *e)
{
	if (lease_find_public(c->p.leases, &e->addr, LEASE_PROTO_BOTH, e->port) != NULL)
		return false;
	return c->p.blocks == NULL || !ip_is_v4(&e->addr) ||
	       blocks_owner(c->p.blocks, load_be32(ip_v4_bytes(&e->addr)), e->port) == PEER_NONE;
}

static void draw_port(struct ctl *c, struct ip_endpoint *from)
{
	uint16_t drawn;

	for (unsigned i = 0; i < PORT_DRAWS; i++) {
		crypto_random(&drawn, sizeof(drawn));
		from->port = (uint16_t)(PORT_FIRST + drawn % PORT_COUNT);
		if (is_unused(c, from))
			return;
	}
}

/* --- what is asked */

static int get_proto(
	const json_t *params, const struct lease *l, uint8_t *out, struct rpc_fault *fault)
{
	const char *text = json_string_value(json_object_get(params, "proto"));
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

static int get_timeout(const json_t *params, uint64_t *out_ns, struct rpc_fault *fault)
{
	*out_ns = TIMEOUT_DEFAULT_NS;
	if (ctl_seconds_get(params, "timeout_s", out_ns, fault) != 0)
		return -EINVAL;
	if (*out_ns == 0 || *out_ns > TIMEOUT_MAX_NS)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "timeout_s", TIMEOUT_WORDS,
			"timeout_s is not accepted; accepted: " TIMEOUT_WORDS);
	return 0;
}

static int get_ask(struct ctl *c, const json_t *params, const struct lease *l,
	struct probe_ask *ask, struct rpc_fault *fault)
{
	struct pick pick = {.lease = l};

	*ask = (struct probe_ask){
		.peer_idx = l->peer_idx,
		.public = {l->public_addr, l->public_port},
		.inner = {l->inner_addr, l->inner_port},
	};
	if (get_proto(params, l, &ask->proto, fault) != 0)
		return -EINVAL;
	if (!pick_address(c->p.conf, &pick))
		return refuse_source(&pick, fault);
	ask->from.addr = pick.from;
	draw_port(c, &ask->from);
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
	check->n_sent += c->p.probe_send(c->p.probe_send_arg, check->number);
}

static void look_soon(struct ctl *c)
{
	const struct timeval soon = {.tv_usec = LOOK_US};

	event_add(c->ev_checks, &soon);
}

static int begin_check(
	struct ctl *c, const json_t *id, const json_t *params, struct rpc_fault *fault)
{
	uint64_t lease_id = (uint64_t)json_integer_value(json_object_get(params, "id"));
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
	/* To who has no home there is no way, and its state is told at once. */
	if (peer_home(c->p.peers, ask.peer_idx) == PEER_HOME_NONE)
		check->ends_ns = now_ns;
	else
		send_probe(c, check);
	look_soon(c);
	return 0;
}

/* --- what came of it */

enum outcome {
	OUTCOME_SILENT = 0,
	OUTCOME_ANSWERED,
	OUTCOME_REFUSED,
	OUTCOME_UNREACHABLE,
	OUTCOME_DROPPED,
};

struct found {
	enum outcome outcome;
	struct probe_answer answer;
	uint64_t answered_ns;
	enum stats_drop lost; /* of DROPPED */
	struct peer_status peer;
};

/* The peer has no session that a packet could take, or is known not to answer. */
static bool is_for_want_of_peer(bool is_lost, enum stats_drop lost, const struct peer_status *peer)
{
	return peer->home == PEER_HOME_NONE || peer->unreachable_since_ns != 0 ||
	       (is_lost &&
		       (lost == STATS_DROP_peer_hold_full || lost == STATS_DROP_peer_unreachable));
}

static struct found find_outcome(struct ctl *c, const struct ctl_check *check)
{
	struct found f = {.outcome = OUTCOME_SILENT};
	bool is_lost;

	f.answer = probe_answer_get(c->p.probes, check->number, &f.answered_ns);
	is_lost = probe_lost_get(c->p.probes, check->number, &f.lost);
	peer_status_get(c->p.peers, check->ask.peer_idx, &f.peer);
	if (f.answer.kind == PROBE_ACCEPTED || f.answer.kind == PROBE_DATAGRAM) {
		f.outcome = OUTCOME_ANSWERED;
	} else if (f.answer.kind != PROBE_NOTHING) {
		f.outcome = OUTCOME_REFUSED;
	} else if (lease_get(c->p.leases, check->lease_id) == NULL) {
		f.outcome = OUTCOME_DROPPED;
		f.lost = STATS_DROP_lease_closed;
	} else if (is_for_want_of_peer(is_lost, f.lost, &f.peer)) {
		f.outcome = OUTCOME_UNREACHABLE;
	} else if (is_lost) {
		f.outcome = OUTCOME_DROPPED;
	}
	return f;
}

static void refused_words(const struct ctl_check *check, const struct found *f, char *buf)
{
	bool is_port = f->answer.kind == PROBE_RESET ||
		       (f->answer.icmp_type == 3 && f->answer.icmp_code == 3) ||
		       (f->answer.icmp_type == 1 && f->answer.icmp_code == 4);

	if (is_port)
		snprintf(buf, VERDICT_CHARS,
			"the door is open, and the peer refused what came: no program listens on "
			"its port %u",
			check->ask.inner.port);
	else
		snprintf(buf, VERDICT_CHARS,
			"the door is open, but at the peer's side it is answered that %s is "
			"unreachable (ICMP %u/%u): a firewall there, or a host behind the peer",
			"the port", f->answer.icmp_type, f->answer.icmp_code);
}

static void unreachable_words(
	struct ctl *c, const struct ctl_check *check, const struct found *f, char *buf)
{
	char peer[CTL_PEER_WORD_CHARS];
	uint64_t now_ns = c->p.now_ns(), since_ns = f->peer.unreachable_since_ns, s;

	s = now_ns > since_ns ? (now_ns - since_ns) / NS_IN_S : 0;
	ctl_peer_word(c, check->ask.peer_idx, peer);
	if (f->peer.home == PEER_HOME_NONE)
		snprintf(buf, VERDICT_CHARS,
			"peer %s has never connected: nothing can be sent to it before its client "
			"does",
			peer);
	else if (since_ns != 0)
		snprintf(buf, VERDICT_CHARS,
			"peer %s has not answered for %" PRIu64 " s: look whether its client runs "
			"and gets here",
			peer, s);
	else
		snprintf(buf, VERDICT_CHARS,
			"peer %s has no session, and has not answered a handshake yet: look "
			"whether its client runs and gets here",
			peer);
}

static void verdict_words(
	struct ctl *c, const struct ctl_check *check, const struct found *f, char *buf)
{
	bool is_tcp = check->ask.proto == IPPROTO_TCP;

	switch (f->outcome) {
	case OUTCOME_ANSWERED:
		snprintf(buf, VERDICT_CHARS,
			"the door is open, and the program on the peer's port "
			"%u %s",
			check->ask.inner.port,
			is_tcp ? "accepted a connection" : "answered a datagram");
		break;
	case OUTCOME_REFUSED:
		refused_words(check, f, buf);
		break;
	case OUTCOME_UNREACHABLE:
		unreachable_words(c, check, f, buf);
		break;
	case OUTCOME_DROPPED:
		snprintf(buf, VERDICT_CHARS, "the gateway itself dropped what came: %s",
			stats_drop_help(f->lost));
		break;
	default:
		snprintf(buf, VERDICT_CHARS, "the peer was sent %u packets and kept silent: %s",
			check->n_sent,
			is_tcp ? "a firewall at the peer drops them, or the peer has just gone"
			       : "a UDP service may do that to an empty datagram, or a firewall "
				 "drops it");
	}
}

static void write_answer(struct rpc_text *t, const struct probe_answer *a)
{
	static const char *const words[] = {NULL, "syn-ack", "rst", "datagram", "icmp"};
	char text[32];

	if (a->kind == PROBE_NOTHING)
		rpc_write_null(t, "answer");
	else if (a->kind != PROBE_UNREACHABLE)
		rpc_write_text(t, "answer", words[a->kind]);
	else {
		snprintf(text, sizeof(text), "icmp %u/%u", a->icmp_type, a->icmp_code);
		rpc_write_text(t, "answer", text);
	}
}

static void write_result(
	struct ctl *c, struct ctl_check *check, const struct found *f, struct rpc_text *t)
{
	static const char *const outcomes[] = {
		"silent", "answered", "refused", "unreachable", "dropped"};
	char verdict[VERDICT_CHARS], proto[CTL_IP_PROTO_CHARS];

	verdict_words(c, check, f, verdict);
	rpc_write_begin(t, NULL, '{');
	rpc_write_integer(t, "id", (int64_t)check->lease_id);
	rpc_write_text(t, "proto", ctl_ip_proto_word(check->ask.proto, proto));
	rpc_write_text(t, "outcome", outcomes[f->outcome]);
	write_answer(t, &f->answer);
	if (f->answer.kind != PROBE_NOTHING && f->answered_ns > check->began_ns)
		rpc_write_seconds(t, "answer_s", f->answered_ns - check->began_ns);
	else
		rpc_write_null(t, "answer_s");
	if (f->outcome == OUTCOME_DROPPED)
		rpc_write_text(t, "reason", stats_drop_name(f->lost));
	else
		rpc_write_null(t, "reason");
	ctl_end_write(t, "from", &check->ask.from);
	ctl_end_write(t, "public", &check->ask.public);
	ctl_end_write(t, "to", &check->ask.inner);
	rpc_write_integer(t, "sent", check->n_sent);
	rpc_write_text(t, "verdict", verdict);
	rpc_write_end(t, '}');
	rpc_text_result_end(t);
	rpc_text_append(t, "\n", 1);
}

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
	struct found f = find_outcome(c, check);

	write_result(c, check, &f, &check->reply);
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
