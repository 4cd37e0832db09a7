/* why.lease: how a lease stands, what came to nothing at it, and what to do about it. Looks only.
 */
#include "ctl/server.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define LEASE_WORDS "the id of an open lease, or ADDRESS:PORT or ADDRESS:PORT/PROTO (tcp, udp)"
/* A failure explains how a lease stands as long as it is not older. */
#define FAILURE_FRESH_NS (600 * NS_IN_S)
#define MATCHES_MAX	 16
#define SENTENCE_CHARS	 384
/* One of each protocol. */
#define VERDICT_CHARS (2 * SENTENCE_CHARS + 32)
#define WORDS_CHARS   64
/* So many sources of a lease are named. */
#define SOURCES_NAMED 3
#define SOURCES_CHARS (SOURCES_NAMED * IP_TEXT_CHARS)

static const struct rpc_param lease_params[] = {
	{"lease", RPC_TEXT, true, LEASE_WORDS},
};

/* What is asked about. */
struct question {
	struct ip_endpoint public; /* of the lease, when there is one */
	uint8_t protos;
	const struct lease *lease; /* NULL: none is open there */
};

/* --- what is meant */

static int refuse_lease(const char *text, struct rpc_fault *fault)
{
	char excerpt[RPC_EXCERPT_CHARS];

	return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, LEASE_WORDS,
		"lease \"%s\" is not accepted; accepted: " LEASE_WORDS, rpc_excerpt(text, excerpt));
}

static int get_public(const char *text, struct question *q, struct rpc_fault *fault)
{
	if (ctl_number_parse(text, &q->public, &q->protos) != 0)
		return refuse_lease(text, fault);
	if (q->protos == 0)
		q->protos = LEASE_PROTO_BOTH;
	return 0;
}

static int get_question(
	struct ctl *c, const struct rpc_value *params, struct question *q, struct rpc_fault *fault)
{
	const char *text = rpc_value_get_text(params, "lease");
	uint64_t id = 0;

	*q = (struct question){0};
	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0') {
		if (get_public(text, q, fault) != 0)
			return -EINVAL;
		q->lease =
			lease_find_public(c->p.leases, &q->public.addr, q->protos, q->public.port);
		return 0;
	}
	if (sscanf(text, "%19" SCNu64, &id) != 1 || strlen(text) > 19)
		return refuse_lease(text, fault);
	q->lease = ctl_lease_get(c, id, fault);
	if (q->lease == NULL)
		return -EINVAL;
	q->public = (struct ip_endpoint){q->lease->public_addr, q->lease->public_port};
	q->protos = q->lease->protos;
	return 0;
}

/* --- words */

/* "2 s", "3 min", "5 h", "2 days" */
static const char *span_words(uint64_t ns, char buf[static WORDS_CHARS])
{
	uint64_t s = ns / NS_IN_S;

	if (s < 120)
		snprintf(buf, WORDS_CHARS, "%" PRIu64 " s", s);
	else if (s < 7200)
		snprintf(buf, WORDS_CHARS, "%" PRIu64 " min", s / 60);
	else if (s < 172800)
		snprintf(buf, WORDS_CHARS, "%" PRIu64 " h", s / 3600);
	else
		snprintf(buf, WORDS_CHARS, "%" PRIu64 " days", s / 86400);
	return buf;
}

static const char *age_words(uint64_t now_ns, uint64_t then_ns, char buf[static WORDS_CHARS])
{
	return span_words(now_ns > then_ns ? now_ns - then_ns : 0, buf);
}

/* "3 connections were" */
static const char *count_words(uint64_t n, const char *what, char buf[static WORDS_CHARS])
{
	snprintf(buf, WORDS_CHARS, "%" PRIu64 " %s%s", n, what, n == 1 ? " was" : "s were");
	return buf;
}

/* "192.0.2.0/24, 198.51.100.7/32, 2001:db8::/32 and 5 more" */
static const char *sources_words(const struct lease *lease, char buf[static SOURCES_CHARS])
{
	char prefix[IP_TEXT_CHARS];
	size_t len = 0;

	/* A prefix has at most 43 characters: room for all this is there. */
	buf[0] = '\0';
	for (unsigned i = 0; i < lease->n_sources && i < SOURCES_NAMED; i++)
		len += (size_t)snprintf(buf + len, SOURCES_CHARS - len, "%s%s", i > 0 ? ", " : "",
			ip_prefix_format(&lease->sources[i], prefix));
	if (lease->n_sources > SOURCES_NAMED)
		snprintf(buf + len, SOURCES_CHARS - len, " and %u more",
			lease->n_sources - SOURCES_NAMED);
	return buf;
}

/* "port 8080", "ports 8080-8087" */
static const char *port_words(const struct lease *lease, char buf[static WORDS_CHARS])
{
	unsigned n = lease_ports_of(lease->n_ports);

	if (n == 1)
		snprintf(buf, WORDS_CHARS, "port %u", lease->inner_port);
	else
		snprintf(buf, WORDS_CHARS, "ports %u-%u", lease->inner_port,
			lease->inner_port + n - 1);
	return buf;
}

static void no_listener_sentence(const struct lease *lease, const struct door_failures *f,
	bool is_tcp, const char *age, char buf[static SENTENCE_CHARS])
{
	unsigned own = is_tcp ? DOOR_FAILURE_no_listener_tcp : DOOR_FAILURE_no_listener_udp;
	unsigned other = is_tcp ? DOOR_FAILURE_no_listener_udp : DOOR_FAILURE_no_listener_tcp;
	char count[WORDS_CHARS], port[WORDS_CHARS];

	count_words(f->of[own].n, is_tcp ? "connection" : "datagram", count);
	if (lease_is_whole(lease->public_port)) {
		snprintf(buf, SENTENCE_CHARS,
			"%s refused by the peer, the last %s ago: no program listens on some %s "
			"port of its address, which is no fault of the others",
			count, age, is_tcp ? "TCP" : "UDP");
		return;
	}
	snprintf(buf, SENTENCE_CHARS,
		"the program on the peer's %s %s does not listen: %s refused there, the last %s "
		"ago; start it, or open the lease to the port that it has%s",
		is_tcp ? "TCP" : "UDP", port_words(lease, port), count, age,
		lease->protos != LEASE_PROTO_BOTH || f->of[other].n > 0 ? ""
		: is_tcp						? ", or for udp alone"
									: ", or for tcp alone");
}

/* What a failure means and what to do, in one sentence. */
static void failure_sentence(struct ctl *c, const struct lease *lease,
	const struct door_failures *f, enum door_failure failure, char buf[static SENTENCE_CHARS])
{
	char peer[CTL_PEER_WORD_CHARS], count[WORDS_CHARS], age[WORDS_CHARS];
	char from[SOURCES_CHARS];

	age_words(c->p.now_ns(), f->of[failure].last_ns, age);
	count_words(f->of[failure].n, "packet", count);
	switch (failure) {
	case DOOR_FAILURE_peer_unreachable:
		snprintf(buf, SENTENCE_CHARS,
			"peer %s did not answer: %s lost, the last %s ago; look whether its client "
			"runs and gets here",
			ctl_peer_word(c, lease->peer_idx, peer), count, age);
		break;
	case DOOR_FAILURE_no_listener_tcp:
	case DOOR_FAILURE_no_listener_udp:
		no_listener_sentence(lease, f, failure == DOOR_FAILURE_no_listener_tcp, age, buf);
		break;
	case DOOR_FAILURE_too_big:
		snprintf(buf, SENTENCE_CHARS,
			"%s larger than the tunnel takes and must not be cut, the last %s ago; "
			"their senders were told what fits, and send less unless that gets lost",
			count, age);
		break;
	case DOOR_FAILURE_lease_flows:
		snprintf(buf, SENTENCE_CHARS,
			"new flows begin faster than the %u a second that the lease takes: %s "
			"dropped, the last %s ago; --max-new-flows says how many it takes",
			lease->max_new_flows, count, age);
		break;
	case DOOR_FAILURE_lease_rate:
		snprintf(buf, SENTENCE_CHARS,
			"packets come faster than the %u a second that the lease takes: %s "
			"dropped, the last %s ago; --max-pps says how many it takes",
			lease->max_pps, count, age);
		break;
	default:
		snprintf(buf, SENTENCE_CHARS,
			"%s refused because of where it came from, the last %s ago; the lease "
			"admits %s (--from)",
			count, age, sources_words(lease, from));
	}
}

/* --- the verdict: one sentence that somebody can act on */

static void verdict_of_used(struct ctl *c, const struct question *q, char *buf)
{
	bool is_whole = lease_is_whole(q->lease->public_port);
	char end[IP_TEXT_CHARS], age[WORDS_CHARS];
	struct door_counters counters;

	doors_counters_get(c->p.doors, q->lease->id, &counters);
	if (counters.last_used_ns != 0)
		snprintf(buf, SENTENCE_CHARS,
			"the lease is open and its peer answers; it was last used %s ago",
			age_words(c->p.now_ns(), counters.last_used_ns, age));
	else
		snprintf(buf, SENTENCE_CHARS,
			"the lease is open and its peer answers, but nothing has come by it yet: "
			"whoever calls has to call %s, from outside; portierctl lease check "
			"%" PRIu64 "%s tries it",
			is_whole ? ip_addr_format(&q->public.addr, end)
				 : ip_endpoint_format(&q->public, end),
			q->lease->id, is_whole ? " --public-port N" : "");
}

static uint8_t refused_proto(enum door_failure failure)
{
	if (failure == DOOR_FAILURE_no_listener_tcp)
		return LEASE_PROTO_TCP;
	return failure == DOOR_FAILURE_no_listener_udp ? LEASE_PROTO_UDP : 0;
}

/* Does it tell how the lease stands now, over one of these protocols? Packets that were lost while
 * a handshake ran say nothing any more when the peer was heard since; nor does a refusal at any of
 * all ports, which whoever scans the address brings about. */
static bool is_reason(const struct question *q, uint8_t protos, const struct door_failures *f,
	enum door_failure failure, const struct peer_status *peer, uint64_t now_ns)
{
	if (f->of[failure].n == 0 || now_ns > f->of[failure].last_ns + FAILURE_FRESH_NS)
		return false;
	if (refused_proto(failure) != 0)
		return !lease_is_whole(q->lease->public_port) &&
		       (protos & refused_proto(failure)) != 0;
	return failure != DOOR_FAILURE_peer_unreachable ||
	       peer->last_received_ns <= f->of[failure].last_ns;
}

/* The first that holds, for it hides the ones behind it; DOOR_N_FAILURES: none. */
static enum door_failure find_reason(struct ctl *c, const struct question *q, uint8_t protos,
	const struct door_failures *f, const struct peer_status *peer)
{
	unsigned i = 0;

	while (i < DOOR_N_FAILURES &&
		!is_reason(q, protos, f, (enum door_failure)i, peer, c->p.now_ns()))
		i++;
	return (enum door_failure)i;
}

/* One protocol is refused, which says nothing of the other: each has its own reason. When the lease
 * was used last is not known of each. */
static void verdict_of_each_protocol(struct ctl *c, const struct question *q,
	const struct door_failures *f, const struct peer_status *peer,
	char buf[static VERDICT_CHARS])
{
	static const uint8_t protos[] = {LEASE_PROTO_TCP, LEASE_PROTO_UDP};
	char sentence[2][SENTENCE_CHARS];

	for (unsigned i = 0; i < 2; i++) {
		enum door_failure reason = find_reason(c, q, protos[i], f, peer);

		if (reason == DOOR_N_FAILURES)
			snprintf(sentence[i], SENTENCE_CHARS,
				"the lease is open and its peer answers");
		else
			failure_sentence(c, q->lease, f, reason, sentence[i]);
	}
	snprintf(buf, VERDICT_CHARS, "over tcp: %s; over udp: %s", sentence[0], sentence[1]);
}

/* Of an open lease. */
static void verdict_of_open(struct ctl *c, const struct question *q, const struct door_failures *f,
	char buf[static VERDICT_CHARS])
{
	uint8_t protos = q->protos & q->lease->protos;
	uint64_t now_ns = c->p.now_ns();
	char peer[CTL_PEER_WORD_CHARS], age[WORDS_CHARS];
	struct peer_status status;
	enum door_failure reason;

	peer_status_get(c->p.peers, q->lease->peer_idx, &status);
	ctl_peer_word(c, q->lease->peer_idx, peer);
	if (status.home == PEER_HOME_NONE) {
		snprintf(buf, SENTENCE_CHARS,
			"peer %s has never connected: nothing can be sent to it before its client "
			"does",
			peer);
		return;
	}
	if (status.unreachable_since_ns != 0) {
		snprintf(buf, SENTENCE_CHARS,
			"peer %s has not answered for %s: look whether its client runs and gets "
			"here; the lease stays its own meanwhile",
			peer, age_words(now_ns, status.unreachable_since_ns, age));
		return;
	}
	reason = find_reason(c, q, protos, f, &status);
	if (reason == DOOR_N_FAILURES)
		verdict_of_used(c, q, buf);
	else if (protos == LEASE_PROTO_BOTH && refused_proto(reason) != 0)
		verdict_of_each_protocol(c, q, f, &status, buf);
	else
		failure_sentence(c, q->lease, f, reason, buf);
}

static void verdict_of_kept(
	struct ctl *c, const struct lease_held *held, const char *end, char *buf)
{
	const char *number = lease_is_whole(held->public_port) ? "address" : "number";
	char peer[CTL_PEER_WORD_CHARS], span[WORDS_CHARS];
	uint64_t now_ns = c->p.now_ns();

	span_words(held->until_ns > now_ns ? held->until_ns - now_ns : 0, span);
	if (held->state == LEASE_RESERVED)
		snprintf(buf, SENTENCE_CHARS,
			"no lease is open at %s: it ended, and the %s is kept for peer %s for "
			"another %s; only that peer gets it back",
			end, number, ctl_peer_word(c, held->peer_idx, peer), span);
	else
		snprintf(buf, SENTENCE_CHARS,
			"no lease is open at %s: the %s is in quarantine between two owners "
			"for another %s; what still comes for the last one is dropped",
			end, number, span);
}

/* At a number that is free. */
static void verdict_of_free(struct ctl *c, const struct ip_endpoint *e, const char *end, char *buf)
{
	const struct conf *conf = c->p.conf;
	char addr[IP_TEXT_CHARS];

	if (!ip_is_v4(&e->addr))
		snprintf(buf, SENTENCE_CHARS,
			"no lease is open at %s; over IPv6 a lease is at the peer's own address "
			"and port (lease open --to-address)",
			end);
	else if (ip_prefixes_contain(conf->dedicated, conf->n_dedicated, &e->addr))
		snprintf(buf, SENTENCE_CHARS,
			"no lease is open at %s: the address is dedicated and free, and a lease "
			"has all of it; portierctl lease open --whole-address --public-address %s "
			"opens one",
			end, ip_addr_format(&e->addr, addr));
	else if (!ip_prefixes_contain(conf->pool, conf->n_pool, &e->addr))
		snprintf(buf, SENTENCE_CHARS,
			"no lease can be at %s: the address is not one of leases.pool "
			"(portierctl pool show)",
			end);
	else if (e->port < conf->lease_port_first || e->port > conf->lease_port_last)
		snprintf(buf, SENTENCE_CHARS,
			"no lease can be at %s: leases have ports from %u to %u (leases.ports)",
			end, conf->lease_port_first, conf->lease_port_last);
	else
		snprintf(buf, SENTENCE_CHARS,
			"no lease is open at %s, and the number is free: portierctl lease open "
			"--public-port %u opens one",
			end, e->port);
}

static void verdict_of_none(
	struct ctl *c, const struct question *q, const struct lease_held *held, char *buf)
{
	const struct lease *other =
		lease_find_public(c->p.leases, &q->public.addr, LEASE_PROTO_BOTH, q->public.port);
	char end[IP_TEXT_CHARS];

	ip_endpoint_format(&q->public, end);
	if (held != NULL)
		verdict_of_kept(c, held, end, buf);
	else if (other != NULL)
		snprintf(buf, SENTENCE_CHARS,
			"lease %" PRIu64 " has %s, but not for %s: open it for that too", other->id,
			end, ctl_proto_word(q->protos));
	else
		verdict_of_free(c, &q->public, end, buf);
}

/* --- the answer */

static void write_age(struct rpc_text *t, const char *name, uint64_t now_ns, uint64_t then_ns)
{
	if (then_ns == 0)
		rpc_write_null(t, name);
	else
		rpc_write_seconds(t, name, now_ns > then_ns ? now_ns - then_ns : 0);
}

void ctl_failures_write(struct ctl *c, const struct lease *lease, struct rpc_text *t)
{
	char sentence[SENTENCE_CHARS];
	struct door_failures f;

	doors_failures_get(c->p.doors, lease->id, &f);
	rpc_write_begin(t, "failures", '[');
	for (unsigned i = 0; i < DOOR_N_FAILURES; i++) {
		if (f.of[i].n == 0)
			continue;
		failure_sentence(c, lease, &f, (enum door_failure)i, sentence);
		rpc_write_begin(t, NULL, '{');
		rpc_write_text(t, "reason", door_failure_name((enum door_failure)i));
		rpc_write_text(t, "help", door_failure_help((enum door_failure)i));
		rpc_write_integer(t, "n", (int64_t)f.of[i].n);
		write_age(t, "last_age_s", c->p.now_ns(), f.of[i].last_ns);
		rpc_write_text(t, "text", sentence);
		rpc_write_end(t, '}');
	}
	rpc_write_end(t, ']');
}

static void write_peer(struct ctl *c, uint32_t peer_idx, struct rpc_text *t)
{
	uint64_t now_ns = c->p.now_ns();
	struct peer_status status;

	peer_status_get(c->p.peers, peer_idx, &status);
	rpc_write_bool(t, "peer_has_connected", status.home != PEER_HOME_NONE);
	write_age(t, "unreachable_age_s", now_ns, status.unreachable_since_ns);
	write_age(t, "last_received_age_s", now_ns, status.last_received_ns);
}

static bool is_among(
	const struct ip_endpoint *e, const struct ip_addr *addr, uint16_t first_port, unsigned n)
{
	bool is_port =
		lease_is_whole(first_port) || (e->port >= first_port && e->port < first_port + n);

	return is_port && ip_equal(&e->addr, addr);
}

/* To the lease, as it came or as it was rewritten. */
static bool is_match(const void *arg, const struct stats_recent_drop *d)
{
	const struct question *q = arg;
	uint8_t proto = d->proto == IPPROTO_TCP	  ? LEASE_PROTO_TCP
			: d->proto == IPPROTO_UDP ? LEASE_PROTO_UDP
						  : 0;
	const struct lease *l = q->lease;
	unsigned n = l != NULL ? lease_ports_of(l->n_ports) : 1;
	/* All that comes to a whole address is its lease's, a ping too. */
	bool is_any = l != NULL && lease_is_whole(l->public_port) && q->protos == LEASE_PROTO_BOTH;

	if ((proto & q->protos) == 0 && !is_any)
		return false;
	if (l == NULL)
		return ip_endpoint_equal(&d->dst, &q->public);
	return is_among(&d->dst, &l->public_addr, l->public_port, n) ||
	       is_among(&d->dst, &l->inner_addr, l->inner_port, n);
}

static void write_open(struct ctl *c, const struct question *q, struct rpc_text *t)
{
	uint64_t now_ns = c->p.now_ns();
	char verdict[VERDICT_CHARS];
	struct door_failures failures;

	rpc_write_begin(t, "lease", '{');
	ctl_lease_write(c, q->lease, NULL, t);
	rpc_write_end(t, '}');
	rpc_write_null(t, "kept");
	write_age(t, "state_age_s", now_ns, lease_state_since_ns(c->p.leases, q->lease));
	write_peer(c, q->lease->peer_idx, t);
	ctl_failures_write(c, q->lease, t);
	doors_failures_get(c->p.doors, q->lease->id, &failures);
	verdict_of_open(c, q, &failures, verdict);
	rpc_write_text(t, "verdict", verdict);
}

/* Kept by itself, or as one of all that an address has (as lease_find_public). */
static bool get_held(struct ctl *c, const struct ip_endpoint *e, struct lease_held *out)
{
	return lease_held_get(c->p.leases, &e->addr, e->port, out) ||
	       lease_held_get(c->p.leases, &e->addr, 0, out);
}

static void write_none(struct ctl *c, const struct question *q, struct rpc_text *t)
{
	static const char *const nulls[] = {
		"state_age_s", "peer_has_connected", "unreachable_age_s", "last_received_age_s"};
	char sentence[SENTENCE_CHARS];
	struct lease_held held;
	bool is_kept = get_held(c, &q->public, &held);

	rpc_write_null(t, "lease");
	if (is_kept)
		ctl_held_write(c, "kept", &held, t);
	else
		rpc_write_null(t, "kept");
	for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
		rpc_write_null(t, nulls[i]);
	rpc_write_begin(t, "failures", '[');
	rpc_write_end(t, ']');
	verdict_of_none(c, q, is_kept ? &held : NULL, sentence);
	rpc_write_text(t, "verdict", sentence);
}

static int run_lease(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	struct question q;

	if (get_question(c, params, &q, fault) != 0)
		return -EINVAL;
	rpc_write_begin(result, NULL, '{');
	ctl_end_write(result, "public", &q.public);
	if (q.lease != NULL)
		write_open(c, &q, result);
	else
		write_none(c, &q, result);
	ctl_recent_write(c, result, MATCHES_MAX, is_match, &q);
	rpc_write_end(result, '}');
	return 0;
}

const struct ctl_method ctl_why_lease_methods[] = {
	{"why.lease", false, lease_params, sizeof(lease_params) / sizeof(lease_params[0]),
		.write = run_lease},
	{NULL},
};
