/* why.packet: what would happen to a packet. What is asked is parsed here, every word of it; who
 * answers is the packet path (ctl_params.why).
 */
#include "ctl/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define END_WORDS \
	"an address, with a port behind it for TCP and UDP: 192.0.2.1:80, [2001:db8::1]:80"
#define FLAG_WORDS  "some of S A F R P U, as SA"
#define TTL_WORDS   "1 to 255"
#define ERROR_WORDS "TYPE or TYPE/CODE, of icmp type 3, 11 or 12, of icmpv6 1 to 4: 3/4"
#define ABOUT_WORDS \
	"PROTO SRC DST of the packet that the error quotes: udp 198.51.100.3:40001 203.0.113.9:53"
/* Recent drops told with an answer. */
#define MATCHES_MAX 16

static const struct rpc_param packet_params[] = {
	{"peer", RPC_TEXT, false, "a name or a public key"},
	{"proto", RPC_TEXT, true, "tcp, udp, icmp, icmpv6 or a number up to 255"},
	{"src", RPC_TEXT, true, END_WORDS},
	{"dst", RPC_TEXT, true, END_WORDS},
	{"port", RPC_TEXT, false, "the name of a port"},
	{"flags", RPC_TEXT, false, FLAG_WORDS},
	{"size", RPC_INTEGER, false, "bytes"},
	{"ttl", RPC_INTEGER, false, TTL_WORDS},
	{"df", RPC_BOOL, false, NULL},
	{"error", RPC_TEXT, false, ERROR_WORDS},
	{"about", RPC_TEXT, false, ABOUT_WORDS},
};

/* An address alone has port 0. */
static int get_end(
	const char *text, const char *name, struct ip_endpoint *out, struct rpc_fault *fault)
{
	char excerpt[RPC_EXCERPT_CHARS];

	out->port = 0;
	if (ip_addr_parse(text, &out->addr) == 0 || ip_endpoint_parse(text, out) == 0)
		return 0;
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, END_WORDS,
		"%s \"%s\" is not accepted; accepted: %s", name, rpc_excerpt(text, excerpt),
		END_WORDS);
}

/* TCP and UDP need both ports, an echo has one identifier, other protocols have none. */
static int check_ports(struct why_tuple *t, struct rpc_fault *fault)
{
	bool has_ports = t->proto == IPPROTO_TCP || t->proto == IPPROTO_UDP;
	bool is_echo = t->proto == IPPROTO_ICMP || t->proto == IPPROTO_ICMPV6;
	const char *portless = t->src.port == 0 ? "src" : "dst";

	if (has_ports && (t->src.port == 0 || t->dst.port == 0))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, portless, END_WORDS,
			"%s has no port; accepted: %s", portless, END_WORDS);
	if (is_echo && t->src.port == 0)
		t->src.port = t->dst.port;
	if (is_echo && t->dst.port == 0)
		t->dst.port = t->src.port;
	if (is_echo && t->src.port != t->dst.port)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "dst", "one identifier",
			"an echo has one identifier, and these are two; accepted: it stands behind "
			"either address, in the place of a port");
	if (!has_ports && !is_echo && (t->src.port != 0 || t->dst.port != 0))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "src", "addresses alone",
			"IP protocol %u has no ports; accepted: addresses alone", t->proto);
	return 0;
}

static int get_tuple(const char *proto, const char *src, const char *dst, struct why_tuple *out,
	struct rpc_fault *fault)
{
	bool is_v4;

	if (ctl_ip_proto_parse(proto, &out->proto, fault) != 0 ||
		get_end(src, "src", &out->src, fault) != 0 ||
		get_end(dst, "dst", &out->dst, fault) != 0)
		return -EINVAL;
	is_v4 = ip_is_v4(&out->src.addr);
	if (is_v4 != ip_is_v4(&out->dst.addr))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "dst", "two of one family",
			"src and dst are of two families; accepted: two of one");
	if (out->proto == (is_v4 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "proto",
			"icmp for IPv4, icmpv6 for IPv6",
			"proto is that of the other family; accepted: icmp for IPv4, icmpv6 for "
			"IPv6");
	return check_ports(out, fault);
}

/* --- an ICMP error, and the packet that it is about */

/* Up to three digits; what follows them. NULL: none, or over 255. */
static const char *take_byte(const char *text, uint8_t *out)
{
	unsigned value = 0, n = 0;

	for (; n < 3 && text[n] >= '0' && text[n] <= '9'; n++)
		value = value * 10 + (unsigned)(text[n] - '0');
	*out = (uint8_t)value;
	return n > 0 && value <= UINT8_MAX ? text + n : NULL;
}

static int get_type(const char *text, struct why_packet *q, struct rpc_fault *fault)
{
	const char *types = q->proto == IPPROTO_ICMP ? "\3\13\14" : "\1\2\3\4";
	const char *at = take_byte(text, &q->icmp_type);
	char excerpt[RPC_EXCERPT_CHARS];

	if (at != NULL && at[0] == '/')
		at = take_byte(at + 1, &q->icmp_code);
	if (at != NULL && at[0] == '\0' && q->icmp_type != 0 && strchr(types, q->icmp_type) != NULL)
		return 0;
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, ERROR_WORDS,
		"error \"%s\" is not accepted; accepted: " ERROR_WORDS, rpc_excerpt(text, excerpt));
}

static int get_quote(const char *text, struct why_packet *q, struct rpc_fault *fault)
{
	char proto[16], src[IP_TEXT_CHARS], dst[IP_TEXT_CHARS], excerpt[RPC_EXCERPT_CHARS];
	int end = -1;

	static_assert(IP_TEXT_CHARS >= 55, "as the format says");
	if (sscanf(text, "%15s %54s %54s%n", proto, src, dst, &end) != 3 || text[end] != '\0')
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, ABOUT_WORDS,
			"about \"%s\" is not accepted; accepted: " ABOUT_WORDS,
			rpc_excerpt(text, excerpt));
	if (get_tuple(proto, src, dst, &q->quote, fault) != 0)
		return -EINVAL;
	if (ip_is_v4(&q->quote.src.addr) == ip_is_v4(&q->src))
		return 0;
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, "about", "a packet of the same family",
		"about is of the other family; accepted: a packet of the same");
}

static int get_error(const struct rpc_value *params, struct why_packet *q, struct rpc_fault *fault)
{
	const char *error = rpc_value_get_text(params, "error"),
		   *about = rpc_value_get_text(params, "about");

	if (error == NULL && about == NULL)
		return 0;
	if (error == NULL || about == NULL)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, error == NULL ? "error" : "about",
			"both, or neither",
			"an ICMP error has a type, and a packet that it is about; accepted: error "
			"and about, or neither");
	if (q->proto != IPPROTO_ICMP && q->proto != IPPROTO_ICMPV6)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "proto", "icmp or icmpv6",
			"error is for icmp and icmpv6; accepted: one of them as proto");
	if (q->src_port != 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "src", "addresses alone",
			"an ICMP error has no identifier; accepted: addresses alone");
	q->is_error = true;
	return get_type(error, q, fault) != 0 ? -EINVAL : get_quote(about, q, fault);
}

static int get_ends(const struct rpc_value *params, struct why_packet *q, struct rpc_fault *fault)
{
	struct why_tuple t;

	if (get_tuple(rpc_value_get_text(params, "proto"), rpc_value_get_text(params, "src"),
		    rpc_value_get_text(params, "dst"), &t, fault) != 0)
		return -EINVAL;
	q->proto = t.proto;
	q->src = t.src.addr;
	q->dst = t.dst.addr;
	q->src_port = t.src.port;
	q->dst_port = t.dst.port;
	return 0;
}

static int get_flags(const struct rpc_value *params, uint8_t *out, struct rpc_fault *fault)
{
	static const char letters[] = "FSRPAU"; /* by bit, from the lowest */
	const char *text = rpc_value_get_text(params, "flags");
	char excerpt[RPC_EXCERPT_CHARS];

	if (text == NULL)
		return 0;
	if (text[0] == '\0' || text[strspn(text, letters)] != '\0')
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, FLAG_WORDS,
			"flags \"%s\" are not accepted; accepted: " FLAG_WORDS,
			rpc_excerpt(text, excerpt));
	*out = 0;
	for (const char *at = text; *at != '\0'; at++)
		*out |= (uint8_t)(1u << (strchr(letters, *at) - letters));
	return 0;
}

static int get_number(const struct rpc_value *params, const char *name, int64_t max,
	const char *accepts, int64_t *out, struct rpc_fault *fault)
{
	const struct rpc_value *value = rpc_value_get(params, name);

	if (value == NULL)
		return 0;
	*out = rpc_value_integer(value);
	if (*out < 1 || *out > max)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, accepts,
			"%s %lld is not accepted; accepted: %s", name, (long long)*out, accepts);
	return 0;
}

static int get_port(struct ctl *c, const struct rpc_value *params, struct why_packet *q,
	struct rpc_fault *fault)
{
	const char *name = rpc_value_get_text(params, "port");
	char excerpt[RPC_EXCERPT_CHARS];

	q->port_idx = WHY_PORT_ANY;
	if (name == NULL)
		return 0;
	if (q->is_out)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "port", "peer alone, or port alone",
			"a packet comes out of a tunnel or in by a port; accepted: peer alone, or "
			"port alone");
	for (unsigned i = 0; i < c->p.conf->n_ports; i++) {
		if (strcmp(c->p.conf->ports[i].name, name) == 0) {
			q->port_idx = (uint16_t)i;
			return 0;
		}
	}
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, "the name of a port",
		"there is no port \"%s\"; accepted: the name of one (portierctl ports)",
		rpc_excerpt(name, excerpt));
}

static int get_packet(struct ctl *c, const struct rpc_value *params, struct why_packet *q,
	struct rpc_fault *fault)
{
	const char *peer = rpc_value_get_text(params, "peer");
	int64_t size = 0, ttl = 64;
	uint8_t flags = 0x02;

	*q = (struct why_packet){.is_out = peer != NULL,
		.dont_fragment = rpc_value_is_true(rpc_value_get(params, "df"))};
	if (peer != NULL && ctl_peer_find(c, peer, &q->peer_idx, fault) != 0)
		return -EINVAL;
	if (get_ends(params, q, fault) != 0 || get_error(params, q, fault) != 0 ||
		get_port(c, params, q, fault) != 0 || get_flags(params, &flags, fault) != 0 ||
		get_number(params, "size", WHY_PKT_BYTES, "bytes, up to 9216", &size, fault) != 0 ||
		get_number(params, "ttl", 255, TTL_WORDS, &ttl, fault) != 0)
		return -EINVAL;
	q->size_bytes = (uint16_t)size;
	q->ttl = (uint8_t)ttl;
	q->tcp_flags = flags;
	return 0;
}

/* --- the answer */

static void write_stages(struct rpc_text *t, const struct why_answer *a)
{
	rpc_write_begin(t, "stages", '[');
	for (unsigned i = 0; i < a->n_stages; i++) {
		rpc_write_begin(t, NULL, '{');
		rpc_write_text(t, "stage", a->stages[i].name);
		rpc_write_text(t, "text", a->stages[i].text);
		rpc_write_end(t, '}');
	}
	rpc_write_end(t, ']');
}

static void write_reason(struct rpc_text *t, const struct why_answer *a)
{
	static const char *const names[] = {"reason", "help", "hint"};

	if (a->end != WHY_DROPPED) {
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			rpc_write_null(t, names[i]);
		return;
	}
	rpc_write_text(t, "reason", stats_drop_name(a->reason));
	rpc_write_text(t, "help", stats_drop_help(a->reason));
	rpc_write_text(t, "hint", why_hint(a->reason));
}

/* An endpoint that was still to be drawn has port 0, and matches any. */
static bool is_end(const struct ip_endpoint *told, const struct ip_endpoint *seen)
{
	return ip_equal(&told->addr, &seen->addr) && (told->port == 0 || told->port == seen->port);
}

/* It had the headers that this packet has, before or after it is rewritten. */
static bool is_match(const void *arg, const struct stats_recent_drop *d)
{
	const struct why_answer *a = arg;

	for (unsigned i = 0; i < a->n_tuples; i++) {
		const struct why_tuple *t = &a->tuples[i];

		if (t->proto == d->proto && is_end(&t->src, &d->src) && is_end(&t->dst, &d->dst))
			return true;
	}
	return false;
}

static void write_answer(struct ctl *c, const struct why_answer *a, struct rpc_text *t)
{
	char peer[CTL_PEER_WORD_CHARS];
	bool goes_on = a->end == WHY_FORWARDED || a->end == WHY_WAITS;

	rpc_write_begin(t, NULL, '{');
	rpc_write_text(t, "end", why_end_word(a->end));
	write_reason(t, a);
	rpc_write_bool(t, "tells_sender", a->tells_sender);
	ctl_end_write(t, "src", &a->src);
	ctl_end_write(t, "dst", &a->dst);
	if (a->to_peer != WHY_NOBODY)
		rpc_write_text(t, "peer", ctl_peer_word(c, a->to_peer, peer));
	else
		rpc_write_null(t, "peer");
	if (goes_on && a->port_idx < c->p.conf->n_ports)
		rpc_write_text(t, "port", c->p.conf->ports[a->port_idx].name);
	else
		rpc_write_null(t, "port");
	write_stages(t, a);
	ctl_recent_write(c, t, MATCHES_MAX, is_match, a);
	rpc_write_end(t, '}');
}

static int run_packet(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	struct why_answer answer;
	struct why_packet q;

	if (get_packet(c, params, &q, fault) != 0)
		return -EINVAL;
	if (c->p.why == NULL || c->p.why(c->p.why_arg, &q, &answer) != 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "size",
			"at least its headers, at most what its way takes",
			"no packet of that size comes that way; accepted: at least %u bytes, and "
			"at most what the port (or a message in the tunnel) takes",
			why_packet_min(&q));
	write_answer(c, &answer, result);
	return 0;
}

#define N(list) (sizeof(list) / sizeof((list)[0]))

const struct ctl_method ctl_why_methods[] = {
	{"why.packet", false, packet_params, N(packet_params), .write = run_packet},
	{NULL},
};
