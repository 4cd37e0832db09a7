/* lease.open, lease.renew, lease.close, lease.show, lease.list, lease.reserved */
#include "ctl/server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PROTO_WORDS "tcp, udp or both"
#define PORT_WORDS  "1 to 65535"
#define RANGE_WORDS "1, 2, 4 and so on to 1024"
#define RATE_WORDS  "0 (no limit) to 10000000"

static const struct rpc_param open_params[] = {
	{"peer", RPC_TEXT, true, "a name or a public key"},
	{"proto", RPC_TEXT, false, PROTO_WORDS},
	{"public_address", RPC_TEXT, false,
		"an address of the public pool; of an IPv6 lease to_address"},
	{"public_port", RPC_INTEGER, false, PORT_WORDS},
	{"to_port", RPC_INTEGER, false, PORT_WORDS},
	{"ports", RPC_INTEGER, false, RANGE_WORDS},
	{"whole_address", RPC_BOOL, false, NULL},
	{"to_address", RPC_TEXT, false,
		"an inner address of the peer, or one that its routes contain"},
	{"ttl_s", RPC_SECONDS, false, NULL},
	{"until", RPC_SECONDS, false, "seconds since 1970"},
	{"idle_s", RPC_SECONDS, false, NULL},
	{"from", RPC_TEXTS, false, "an array of up to 8 prefixes, as 192.0.2.0/24"},
	{"max_pps", RPC_INTEGER, false, RATE_WORDS},
	{"max_new_flows", RPC_INTEGER, false, RATE_WORDS},
	{"label", RPC_TEXT, false, NULL},
};

static const struct rpc_param renew_params[] = {
	{"id", RPC_INTEGER, true, "the id of an open lease"},
	{"ttl_s", RPC_SECONDS, false, NULL},
};

static const struct rpc_param one_params[] = {
	{"id", RPC_INTEGER, true, "the id of an open lease"},
};

static const struct rpc_param close_params[] = {
	{"id", RPC_INTEGER, false, "the id of an open lease"},
	{"peer", RPC_TEXT, false, "a name or a public key: all that it has"},
};

static const struct rpc_param list_params[] = {
	{"peer", RPC_TEXT, false, "a name or a public key"},
	{"limit", RPC_INTEGER, false, NULL},
	{"cursor", RPC_INTEGER, false, NULL},
	{"unused_s", RPC_SECONDS, false, NULL},
};

static const struct rpc_param reserved_params[] = {
	{"limit", RPC_INTEGER, false, NULL},
	{"cursor", RPC_INTEGER, false, NULL},
};

static int get_proto(const struct rpc_value *params, uint8_t *out, struct rpc_fault *fault)
{
	const char *text = rpc_value_get_text(params, "proto");
	char excerpt[RPC_EXCERPT_CHARS];

	if (text == NULL || strcmp(text, "both") == 0)
		*out = LEASE_PROTO_BOTH;
	else if (strcmp(text, "tcp") == 0)
		*out = LEASE_PROTO_TCP;
	else if (strcmp(text, "udp") == 0)
		*out = LEASE_PROTO_UDP;
	else
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, PROTO_WORDS,
			"proto \"%s\" is unknown; accepted: %s", rpc_excerpt(text, excerpt),
			PROTO_WORDS);
	return 0;
}

static int get_port(
	const struct rpc_value *params, const char *name, uint16_t *out, struct rpc_fault *fault)
{
	const struct rpc_value *value = rpc_value_get(params, name);
	int64_t port = rpc_value_integer(value);

	if (value == NULL)
		return 0;
	if (port < 1 || port > UINT16_MAX)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, PORT_WORDS,
			"%s %lld is no port; accepted: %s", name, (long long)port, PORT_WORDS);
	*out = (uint16_t)port;
	return 0;
}

/* All ports, and both protocols, of anyone: nothing else is to be said of them. What the
 * configuration says of limits is for leases that carry no answers to the peer's own traffic. */
static int get_whole(
	const struct rpc_value *params, struct lease_request *req, struct rpc_fault *fault)
{
	static const char *const others[] = {"to_port", "public_port", "ports", "proto", "from"};

	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (rpc_value_get(params, others[i]) != NULL)
			return rpc_fault_set(fault, RPC_INVALID_PARAMS, others[i], "none",
				"whole_address is all ports and protocols, for anyone; accepted: "
				"no %s",
				others[i]);
	req->is_whole = true;
	req->max_pps = req->max_new_flows = 0;
	return 0;
}

/* How many, and where they lead: a range that does not say leads to the ports that it has. */
static int get_ports(
	const struct rpc_value *params, struct lease_request *req, struct rpc_fault *fault)
{
	const struct rpc_value *value = rpc_value_get(params, "ports");
	int64_t n = value != NULL ? rpc_value_integer(value) : 1;

	static_assert(LEASE_RANGE_MAX == 1024, "as the words say");
	if (n < 1 || n > LEASE_RANGE_MAX || (n & (n - 1)) != 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "ports", RANGE_WORDS,
			"ports %lld is not accepted; accepted: %s", (long long)n, RANGE_WORDS);
	if (rpc_value_is_true(rpc_value_get(params, "whole_address")))
		return get_whole(params, req, fault);
	req->n_ports = (uint16_t)n;
	if (rpc_value_get(params, "to_port") != NULL)
		return get_port(params, "to_port", &req->inner_port, fault);
	if (n == 1)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "to_port", PORT_WORDS,
			"lease.open needs to_port: %s", PORT_WORDS);
	req->is_symmetric = true;
	return 0;
}

static int get_rate(
	const struct rpc_value *params, const char *name, uint32_t *out, struct rpc_fault *fault)
{
	const struct rpc_value *value = rpc_value_get(params, name);
	int64_t rate = rpc_value_integer(value);

	if (value == NULL)
		return 0;
	if (rate < 0 || rate > LEASE_RATE_MAX)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, RATE_WORDS,
			"%s %lld is not accepted; accepted: %s", name, (long long)rate, RATE_WORDS);
	*out = (uint32_t)rate;
	return 0;
}

static int get_address(const struct rpc_value *params, const char *name, struct ip_addr *out,
	struct rpc_fault *fault)
{
	const char *text = rpc_value_get_text(params, name);
	char excerpt[RPC_EXCERPT_CHARS];

	if (text != NULL && ip_addr_parse(text, out) != 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, text,
			"an address, as 198.51.100.7 or fd00::2",
			"%s \"%s\" is no address; accepted: one as 198.51.100.7 or fd00::2", name,
			rpc_excerpt(text, excerpt));
	return 0;
}

static int get_sources(
	const struct rpc_value *params, struct lease_request *req, struct rpc_fault *fault)
{
	const struct rpc_value *list = rpc_value_get(params, "from"), *item = NULL;
	uint32_t n = rpc_value_count(list), i = 0;
	char excerpt[RPC_EXCERPT_CHARS];

	if (n > LEASE_SOURCES_MAX)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "from", "up to 8 prefixes",
			"from has %u prefixes; accepted: up to %d", n, LEASE_SOURCES_MAX);
	while ((item = rpc_value_next(list, item)) != NULL) {
		const char *text = rpc_value_text(item);

		if (ip_prefix_parse(text, &req->sources[i++]) != 0)
			return rpc_fault_set(fault, RPC_INVALID_PARAMS, text,
				"a prefix without host bits, as 192.0.2.0/24",
				"from \"%s\" is no prefix; accepted: one without host bits, as "
				"192.0.2.0/24",
				rpc_excerpt(text, excerpt));
	}
	req->n_sources = (uint8_t)n;
	return 0;
}

static int get_label(
	const struct rpc_value *params, struct lease_request *req, struct rpc_fault *fault)
{
	const char *text = rpc_value_get_text(params, "label");

	if (text == NULL)
		return 0;
	if (strlen(text) >= sizeof(req->label))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "label", "up to 63 bytes",
			"the label has %zu bytes; accepted: up to %zu", strlen(text),
			sizeof(req->label) - 1);
	for (const char *at = text; *at != '\0'; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			return rpc_fault_set(fault, RPC_INVALID_PARAMS, "label",
				"text without control characters",
				"the label has a control character; accepted: plain text");
	}
	snprintf(req->label, sizeof(req->label), "%s", text);
	return 0;
}

static int get_ttl(const struct rpc_value *params, uint64_t *out_ns, struct rpc_fault *fault)
{
	if (ctl_seconds_get(params, "ttl_s", out_ns, fault) != 0)
		return -EINVAL;
	if (rpc_value_get(params, "ttl_s") != NULL && *out_ns == 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "ttl_s", "more than 0",
			"ttl_s is 0; accepted: more, or none for the default");
	return 0;
}

static void write_lease(struct ctl *c, const struct lease *lease,
	const struct door_counters *counters, struct rpc_text *result)
{
	rpc_write_begin(result, NULL, '{');
	ctl_lease_write(c, lease, counters, result);
	rpc_write_end(result, '}');
}

static bool has_sources(const struct lease *lease, const struct lease_request *req)
{
	unsigned n_found = 0;

	for (unsigned i = 0; i < req->n_sources; i++)
		for (unsigned at = 0; at < lease->n_sources; at++)
			if (ip_prefix_equal(&lease->sources[at], &req->sources[i])) {
				n_found++;
				break;
			}
	return lease->n_sources == req->n_sources && n_found == req->n_sources;
}

/* Clocks are read at each request: the same moment comes out a little different. */
static bool is_moment(uint64_t a_ns, uint64_t b_ns)
{
	return (a_ns > b_ns ? a_ns - b_ns : b_ns - a_ns) < NS_IN_S;
}

/* What a renewal was asked for and left as the lease has it, by the names of params. */
static void write_unchanged(const struct rpc_value *params, const struct lease_request *req,
	const struct lease *lease, struct rpc_text *result)
{
	const struct {
		const char *name;
		bool is_so;
	} terms[] = {
		{"public_address", ip_equal(&req->public_addr, &lease->public_addr)},
		{"public_port", req->public_port == lease->public_port},
		{"ttl_s", lease->ttl_ns != TIME_NEVER},
		{"until", is_moment(req->until_ns, lease->until_ns)},
		{"idle_s", req->idle_ns == lease->idle_ns},
		{"from", has_sources(lease, req)},
		{"max_pps", req->max_pps == lease->max_pps},
		{"max_new_flows", req->max_new_flows == lease->max_new_flows},
		{"label", strcmp(req->label, lease->label) == 0},
	};

	rpc_write_begin(result, "unchanged", '[');
	for (unsigned i = 0; i < sizeof(terms) / sizeof(terms[0]); i++)
		if (rpc_value_get(params, terms[i].name) != NULL && !terms[i].is_so)
			rpc_write_text(result, NULL, terms[i].name);
	rpc_write_end(result, ']');
}

static int run_open(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	struct lease_request req = {
		.max_pps = c->p.conf->lease_max_pps,
		.max_new_flows = c->p.conf->lease_max_new_flows,
	};
	const struct lease *lease;
	bool is_renewal;

	if (ctl_peer_find(c, rpc_value_get_text(params, "peer"), &req.peer_idx, fault) != 0 ||
		get_proto(params, &req.protos, fault) != 0 ||
		get_address(params, "public_address", &req.public_addr, fault) != 0 ||
		get_port(params, "public_port", &req.public_port, fault) != 0 ||
		get_address(params, "to_address", &req.inner_addr, fault) != 0 ||
		get_ports(params, &req, fault) != 0 || get_ttl(params, &req.ttl_ns, fault) != 0 ||
		ctl_moment_get(c, params, "until", &req.until_ns, fault) != 0 ||
		ctl_seconds_get(params, "idle_s", &req.idle_ns, fault) != 0 ||
		get_sources(params, &req, fault) != 0 ||
		get_rate(params, "max_pps", &req.max_pps, fault) != 0 ||
		get_rate(params, "max_new_flows", &req.max_new_flows, fault) != 0 ||
		get_label(params, &req, fault) != 0 ||
		ctl_lease_open(c, &req, &lease, &is_renewal, fault) != 0)
		return -EINVAL;
	rpc_write_begin(result, NULL, '{');
	ctl_lease_write(c, lease, NULL, result);
	rpc_write_bool(result, "is_renewal", is_renewal);
	if (is_renewal)
		write_unchanged(params, &req, lease, result);
	rpc_write_end(result, '}');
	return 0;
}

static uint64_t id_of(const struct rpc_value *params)
{
	return (uint64_t)rpc_value_integer(rpc_value_get(params, "id"));
}

static int run_renew(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	const struct lease *lease;
	uint64_t ttl_ns = 0;

	if (get_ttl(params, &ttl_ns, fault) != 0 ||
		ctl_lease_renew(c, id_of(params), ttl_ns, &lease, fault) != 0)
		return -EINVAL;
	write_lease(c, lease, NULL, result);
	return 0;
}

/* All leases of a peer. */
static int close_of_peer(
	struct ctl *c, const char *who, struct rpc_text *result, struct rpc_fault *fault)
{
	char peer[CTL_PEER_WORD_CHARS];
	uint32_t peer_idx;

	if (ctl_peer_find(c, who, &peer_idx, fault) != 0)
		return -EINVAL;
	rpc_write_begin(result, NULL, '{');
	rpc_write_text(result, "peer", ctl_peer_word(c, peer_idx, peer));
	rpc_write_integer(
		result, "leases_closed", ctl_peer_leases_close(c, peer_idx, NULL, "closed"));
	rpc_write_end(result, '}');
	return 0;
}

static int run_close(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	struct door_counters counters;
	const char *peer = rpc_value_get_text(params, "peer");
	struct lease gone;

	if ((peer == NULL) == (rpc_value_get(params, "id") == NULL))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "id", "id, or peer",
			"which lease is to close? accepted: the id of one, or a peer for all that "
			"it has");
	if (peer != NULL)
		return close_of_peer(c, peer, result, fault);
	if (ctl_lease_close(c, id_of(params), &gone, &counters, fault) != 0)
		return -EINVAL;
	write_lease(c, &gone, &counters, result);
	return 0;
}

static int run_show(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	const struct lease *lease = ctl_lease_get(c, id_of(params), fault);

	if (lease == NULL)
		return -EINVAL;
	rpc_write_begin(result, NULL, '{');
	ctl_lease_write(c, lease, NULL, result);
	ctl_failures_write(c, lease, result);
	rpc_write_end(result, '}');
	return 0;
}

static int check_page(int64_t limit, uint64_t cursor, struct rpc_fault *fault)
{
	if (limit <= CTL_LIST_MAX && cursor <= INT32_MAX)
		return 0;
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, "limit",
		"limit up to 4000, cursor of a reply",
		"limit is over %u or the cursor is none; accepted: smaller ones", CTL_LIST_MAX);
}

/* A place in the whole table is an index that stays good while leases come and go; a place in the
 * list of one peer does not, so that one is given at once (its quota bounds it). */
static int run_list(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	const struct rpc_value *peer = rpc_value_get(params, "peer"),
			       *limit_value = rpc_value_get(params, "limit"),
			       *cursor_value = rpc_value_get(params, "cursor");
	int64_t limit =
		limit_value == NULL ? (int64_t)CTL_LIST_DEFAULT : rpc_value_integer(limit_value);
	uint64_t cursor = (uint64_t)rpc_value_integer(cursor_value);
	const struct lease *lease = NULL;
	uint32_t peer_idx = UINT32_MAX;
	uint64_t unused_ns = 0;

	if (ctl_seconds_get(params, "unused_s", &unused_ns, fault) != 0)
		return -EINVAL;
	if (peer != NULL && (limit_value != NULL || cursor_value != NULL))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "peer",
			"peer alone, or limit and cursor",
			"the leases of a peer come in one piece; accepted: peer without limit and "
			"cursor");
	if (check_page(limit, cursor, fault) != 0)
		return -EINVAL;
	if (peer != NULL && ctl_peer_find(c, rpc_value_text(peer), &peer_idx, fault) != 0)
		return -EINVAL;
	rpc_write_begin(result, NULL, '{');
	rpc_write_begin(result, "leases", '[');
	for (int64_t n = 0; n < limit || peer != NULL; n++) {
		lease = lease_next(c->p.leases, peer_idx, &cursor);
		if (lease == NULL)
			break;
		if (ctl_lease_is_unused(c, lease, unused_ns))
			write_lease(c, lease, NULL, result);
	}
	rpc_write_end(result, ']');
	if (lease == NULL)
		rpc_write_null(result, "next");
	else
		rpc_write_integer(result, "next", (int64_t)cursor);
	rpc_write_end(result, '}');
	return 0;
}

/* Numbers without leases. */
static int run_reserved(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	const struct rpc_value *limit_value = rpc_value_get(params, "limit");
	int64_t limit =
		limit_value == NULL ? (int64_t)CTL_LIST_DEFAULT : rpc_value_integer(limit_value);
	uint64_t cursor = (uint64_t)rpc_value_integer(rpc_value_get(params, "cursor"));
	struct lease_held held;
	bool has_more = true;

	if (check_page(limit, cursor, fault) != 0)
		return -EINVAL;
	rpc_write_begin(result, NULL, '{');
	rpc_write_begin(result, "reserved", '[');
	for (int64_t n = 0; n < limit; n++) {
		has_more = lease_held_next(c->p.leases, &cursor, &held);
		if (!has_more)
			break;
		ctl_held_write(c, NULL, &held, result);
	}
	rpc_write_end(result, ']');
	if (has_more)
		rpc_write_integer(result, "next", (int64_t)cursor);
	else
		rpc_write_null(result, "next");
	rpc_write_end(result, '}');
	return 0;
}

#define N(list) (sizeof(list) / sizeof((list)[0]))

const struct ctl_method ctl_lease_methods[] = {
	{"lease.open", true, open_params, N(open_params), .write = run_open},
	{"lease.renew", true, renew_params, N(renew_params), .write = run_renew},
	{"lease.close", true, close_params, N(close_params), .write = run_close},
	{"lease.show", false, one_params, N(one_params), .write = run_show},
	{"lease.list", false, list_params, N(list_params), .write = run_list},
	{"lease.reserved", false, reserved_params, N(reserved_params), .write = run_reserved},
	{NULL},
};
