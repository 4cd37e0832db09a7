/* session.list: what peers have begun, read from the tables of the workers as they stand, without a
 * word to them.
 *
 * A place in it is worker << 32 | number. A page looks at a bounded number of records, so that it
 * may be short, or empty, and yet have a next one.
 */
#include "ctl/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* Records looked at for one reply: two cache lines each, a few milliseconds when all are cold. */
#define LOOKS_MAX 32768u

#define PROTO_WORDS "tcp, udp, icmp, icmpv6 or a number up to 255"

static const struct rpc_param list_params[] = {
	{"peer", RPC_TEXT, false, "a name or a public key"},
	{"proto", RPC_TEXT, false, PROTO_WORDS},
	{"port", RPC_INTEGER, false, "1 to 65535"},
	{"limit", RPC_INTEGER, false, NULL},
	{"cursor", RPC_INTEGER, false, NULL},
};

/* Which are wanted; what is 0 (or PEER_NONE) is not asked about. */
struct wanted {
	uint32_t peer_idx;
	bool has_proto;
	uint8_t proto;
	uint16_t port; /* inner, public or remote */
};

static const struct {
	const char *word;
	uint8_t proto;
} protos[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP},
	{"icmpv6", IPPROTO_ICMPV6}};

#define N(list) (sizeof(list) / sizeof((list)[0]))

const char *ctl_ip_proto_word(uint8_t proto, char buf[static CTL_IP_PROTO_CHARS])
{
	for (size_t i = 0; i < N(protos); i++)
		if (protos[i].proto == proto)
			return protos[i].word;
	snprintf(buf, CTL_IP_PROTO_CHARS, "%u", proto);
	return buf;
}

int ctl_ip_proto_parse(const char *text, uint8_t *out, struct rpc_fault *fault)
{
	char excerpt[RPC_EXCERPT_CHARS];
	unsigned number = 0;

	for (size_t i = 0; i < N(protos); i++) {
		if (strcmp(text, protos[i].word) == 0) {
			*out = protos[i].proto;
			return 0;
		}
	}
	for (const char *at = text; *at >= '0' && *at <= '9' && number <= UINT8_MAX; at++)
		number = number * 10 + (unsigned)(*at - '0');
	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0' || number > UINT8_MAX)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, PROTO_WORDS,
			"proto \"%s\" is unknown; accepted: %s", rpc_excerpt(text, excerpt),
			PROTO_WORDS);
	*out = (uint8_t)number;
	return 0;
}

static int get_wanted(
	struct ctl *c, const struct rpc_value *params, struct wanted *out, struct rpc_fault *fault)
{
	const char *peer = rpc_value_get_text(params, "peer");
	const char *proto = rpc_value_get_text(params, "proto");
	const struct rpc_value *port = rpc_value_get(params, "port");
	int64_t number = rpc_value_integer(port);

	*out = (struct wanted){.peer_idx = PEER_NONE, .has_proto = proto != NULL};
	if (peer != NULL && ctl_peer_find(c, peer, &out->peer_idx, fault) != 0)
		return -EINVAL;
	if (proto != NULL && ctl_ip_proto_parse(proto, &out->proto, fault) != 0)
		return -EINVAL;
	if (port != NULL && (number < 1 || number > UINT16_MAX))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "port", "1 to 65535",
			"port %lld is no port; accepted: 1 to 65535", (long long)number);
	out->port = (uint16_t)number;
	return 0;
}

static bool is_wanted(const struct wanted *w, const struct flow_session *s)
{
	return (w->peer_idx == PEER_NONE || s->peer_idx == w->peer_idx) &&
	       (!w->has_proto || s->proto == w->proto) &&
	       (w->port == 0 || s->inner_port == w->port || s->public_port == w->port ||
		       s->remote_port == w->port);
}

const char *ctl_tcp_state_word(uint8_t state)
{
	static const char *const words[FLOW_TCP_STATES] = {
		[FLOW_TCP_INIT_OUT] = "opening",
		[FLOW_TCP_INIT_IN] = "opening_in",
		[FLOW_TCP_ESTABLISHED] = "established",
		[FLOW_TCP_FIN_OUT] = "closing",
		[FLOW_TCP_FIN_IN] = "closing_in",
		[FLOW_TCP_FIN_BOTH] = "closed",
		[FLOW_TCP_TRANS] = "reset",
	};

	return state < FLOW_TCP_STATES ? words[state] : NULL;
}

static void write_session(struct ctl *c, const struct flow_session *s, struct rpc_text *t)
{
	bool is_translated = !s->is_v6 && !s->is_exempt;
	struct ip_addr inner = s->is_v6 ? s->inner_v6 : ctl_v4_addr(s->inner_v4);
	struct ip_addr remote = s->is_v6 ? s->remote_v6 : ctl_v4_addr(s->remote_v4);
	struct ip_addr public = ctl_v4_addr(is_translated ? s->public_v4 : 0);
	const char *state = ctl_tcp_state_word(s->tcp_state);
	char peer[CTL_PEER_WORD_CHARS], proto[CTL_IP_PROTO_CHARS];
	uint64_t now_ns = c->p.now_ns();

	rpc_write_begin(t, NULL, '{');
	rpc_write_text(t, "peer", ctl_peer_word(c, s->peer_idx, peer));
	rpc_write_text(t, "proto", ctl_ip_proto_word(s->proto, proto));
	ctl_address_write(t, "inner_address", &inner);
	rpc_write_integer(t, "inner_port", s->inner_port);
	ctl_address_write(t, "public_address", &public);
	if (is_translated)
		rpc_write_integer(t, "public_port", s->public_port);
	else
		rpc_write_null(t, "public_port");
	ctl_address_write(t, "remote_address", &remote);
	rpc_write_integer(t, "remote_port", s->remote_port);
	if (state != NULL)
		rpc_write_text(t, "tcp_state", state);
	else
		rpc_write_null(t, "tcp_state");
	rpc_write_seconds(t, "age_s", now_ns > s->begun_ns ? now_ns - s->begun_ns : 0);
	rpc_write_seconds(t, "expires_in_s", s->due_ns > now_ns ? s->due_ns - now_ns : 0);
	rpc_write_end(t, '}');
}

/* From *cursor on; then it says where the next page begins. Returns whether there may be one. */
static bool write_sessions(struct ctl *c, const struct wanted *wanted, unsigned end_worker,
	struct ctl_page *page, struct rpc_text *t)
{
	uint32_t number = (uint32_t)page->cursor > 0 ? (uint32_t)page->cursor : 1;
	uint64_t worker = page->cursor >> 32, n = 0;
	struct flow_session s;
	unsigned looks = 0;

	for (; worker < end_worker; worker++, number = 1) {
		const struct flows *f = c->p.flows[worker];

		for (; number <= flows_max(f); number++) {
			if (n >= page->limit || looks++ == LOOKS_MAX) {
				page->cursor = worker << 32 | number;
				return true;
			}
			if (!flow_session_read(f, number, &s) || !is_wanted(wanted, &s))
				continue;
			write_session(c, &s, t);
			n++;
		}
	}
	return false;
}

static int run_list(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	unsigned end_worker = c->p.flows != NULL ? c->p.n_workers : 0;
	struct ctl_page page;
	struct wanted wanted;

	if (ctl_page_get(params, &page, fault) != 0 || get_wanted(c, params, &wanted, fault) != 0)
		return -EINVAL;
	/* All sessions of a peer are at its home. */
	if (wanted.peer_idx != PEER_NONE && end_worker > 0) {
		uint64_t home = peer_home(c->p.peers, wanted.peer_idx);

		end_worker = home == PEER_HOME_NONE ? 0 : (unsigned)home + 1;
		if (page.cursor >> 32 < home)
			page.cursor = home << 32;
	}
	rpc_write_begin(result, NULL, '{');
	rpc_write_begin(result, "sessions", '[');
	if (!write_sessions(c, &wanted, end_worker, &page, result))
		page.cursor = 0;
	rpc_write_end(result, ']');
	if (page.cursor != 0)
		rpc_write_integer(result, "next", (int64_t)page.cursor);
	else
		rpc_write_null(result, "next");
	rpc_write_end(result, '}');
	return 0;
}

const struct ctl_method ctl_session_methods[] = {
	{"session.list", false, list_params, N(list_params), .write = run_list},
	{NULL},
};
