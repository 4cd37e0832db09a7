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
#define FLAG_WORDS "some of S A F R P U, as SA"
#define TTL_WORDS  "1 to 255"
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
};

static const char *text_of(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

/* An address alone has port 0. */
static int get_end(
	const json_t *params, const char *name, struct ip_endpoint *out, struct rpc_fault *fault)
{
	const char *text = text_of(params, name);
	char excerpt[RPC_EXCERPT_CHARS];

	out->port = 0;
	if (ip_addr_parse(text, &out->addr) == 0 || ip_endpoint_parse(text, out) == 0)
		return 0;
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, END_WORDS,
		"%s \"%s\" is not accepted; accepted: %s", name, rpc_excerpt(text, excerpt),
		END_WORDS);
}

/* TCP and UDP need both ports, an echo has one identifier, other protocols have none. */
static int get_ports(struct why_packet *q, struct rpc_fault *fault)
{
	bool has_ports = q->proto == IPPROTO_TCP || q->proto == IPPROTO_UDP;
	bool is_echo = q->proto == IPPROTO_ICMP || q->proto == IPPROTO_ICMPV6;

	if (has_ports && (q->src_port == 0 || q->dst_port == 0))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, q->src_port == 0 ? "src" : "dst",
			END_WORDS, "%s has no port; accepted: %s", q->src_port == 0 ? "src" : "dst",
			END_WORDS);
	if (is_echo && q->src_port == 0)
		q->src_port = q->dst_port;
	if (is_echo && q->dst_port == 0)
		q->dst_port = q->src_port;
	if (is_echo && q->src_port != q->dst_port)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "dst", "one identifier",
			"an echo has one identifier, and these are two; accepted: it stands behind "
			"either address, in the place of a port");
	if (!has_ports && !is_echo && (q->src_port != 0 || q->dst_port != 0))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "src", "addresses alone",
			"IP protocol %u has no ports; accepted: addresses alone", q->proto);
	return 0;
}

static int get_ends(const json_t *params, struct why_packet *q, struct rpc_fault *fault)
{
	struct ip_endpoint src, dst;

	if (get_end(params, "src", &src, fault) != 0 || get_end(params, "dst", &dst, fault) != 0)
		return -EINVAL;
	q->src = src.addr;
	q->dst = dst.addr;
	q->src_port = src.port;
	q->dst_port = dst.port;
	if (ip_is_v4(&q->src) != ip_is_v4(&q->dst))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "dst", "two of one family",
			"src and dst are of two families; accepted: two of one");
	if (q->proto == (ip_is_v4(&q->src) ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "proto",
			"icmp for IPv4, icmpv6 for IPv6",
			"proto is that of the other family; accepted: icmp for IPv4, icmpv6 for "
			"IPv6");
	return get_ports(q, fault);
}

static int get_flags(const json_t *params, uint8_t *out, struct rpc_fault *fault)
{
	static const char letters[] = "FSRPAU"; /* by bit, from the lowest */
	const char *text = text_of(params, "flags");
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

static int get_number(const json_t *params, const char *name, json_int_t max, const char *accepts,
	json_int_t *out, struct rpc_fault *fault)
{
	const json_t *value = json_object_get(params, name);

	if (value == NULL)
		return 0;
	*out = json_integer_value(value);
	if (*out < 1 || *out > max)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, accepts,
			"%s %lld is not accepted; accepted: %s", name, (long long)*out, accepts);
	return 0;
}

static int get_port(
	struct ctl *c, const json_t *params, struct why_packet *q, struct rpc_fault *fault)
{
	const char *name = text_of(params, "port");
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

static int get_packet(
	struct ctl *c, const json_t *params, struct why_packet *q, struct rpc_fault *fault)
{
	const char *peer = text_of(params, "peer");
	json_int_t size = 0, ttl = 64;
	uint8_t flags = 0x02;

	*q = (struct why_packet){.is_out = peer != NULL,
		.dont_fragment = json_is_true(json_object_get(params, "df"))};
	if (peer != NULL && ctl_peer_find(c, peer, &q->peer_idx, fault) != 0)
		return -EINVAL;
	if (ctl_ip_proto_parse(text_of(params, "proto"), &q->proto, fault) != 0 ||
		get_ends(params, q, fault) != 0 || get_port(c, params, q, fault) != 0 ||
		get_flags(params, &flags, fault) != 0 ||
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

static int run_packet(
	struct ctl *c, const json_t *params, struct rpc_text *result, struct rpc_fault *fault)
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
