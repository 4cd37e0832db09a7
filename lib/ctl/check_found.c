/* What came of the probe of lease.check, and the sentence that tells it. */
#include "ctl/check.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

#define VERDICT_CHARS 384

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
		if (check->n_sent == 0) {
			snprintf(buf, VERDICT_CHARS,
				"nothing was sent: the peer's worker takes no more at this moment");
			break;
		}
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

void ctl_check_write(struct ctl *c, const struct ctl_check *check, struct rpc_text *t)
{
	static const char *const outcomes[] = {
		"silent", "answered", "refused", "unreachable", "dropped"};
	char verdict[VERDICT_CHARS], proto[CTL_IP_PROTO_CHARS];
	struct found f = find_outcome(c, check);

	verdict_words(c, check, &f, verdict);
	rpc_write_begin(t, NULL, '{');
	rpc_write_integer(t, "id", (int64_t)check->lease_id);
	rpc_write_text(t, "proto", ctl_ip_proto_word(check->ask.proto, proto));
	rpc_write_text(t, "outcome", outcomes[f.outcome]);
	write_answer(t, &f.answer);
	if (f.answer.kind != PROBE_NOTHING && f.answered_ns > check->began_ns)
		rpc_write_seconds(t, "answer_s", f.answered_ns - check->began_ns);
	else
		rpc_write_null(t, "answer_s");
	if (f.outcome == OUTCOME_DROPPED)
		rpc_write_text(t, "reason", stats_drop_name(f.lost));
	else
		rpc_write_null(t, "reason");
	ctl_end_write(t, "from", &check->ask.from);
	ctl_end_write(t, "public", &check->ask.public);
	ctl_end_write(t, "to", &check->ask.inner);
	rpc_write_integer(t, "sent", check->n_sent);
	rpc_write_text(t, "verdict", verdict);
	rpc_write_end(t, '}');
}
