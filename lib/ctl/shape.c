/* Values to JSON and back: one word for one thing. */
#include "ctl/server.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

#define SECONDS_MAX (100.0 * 365 * 86400)

json_t *ctl_seconds_build(uint64_t ns)
{
	if (ns == TIME_NEVER)
		return json_null();
	if (ns % NS_IN_S == 0)
		return json_integer((json_int_t)(ns / NS_IN_S));
	/* Whole milliseconds: the rest is noise to a reader. */
	return json_real((double)(ns / NS_IN_MS) / 1e3);
}

json_t *ctl_age_build(uint64_t now_ns, uint64_t then_ns)
{
	if (then_ns == 0)
		return json_null();
	return ctl_seconds_build(now_ns > then_ns ? now_ns - then_ns : 0);
}

int ctl_seconds_get(
	const struct rpc_value *params, const char *name, uint64_t *out_ns, struct rpc_fault *fault)
{
	const struct rpc_value *value = rpc_value_get(params, name);

	if (value == NULL)
		return 0;
	if (rpc_value_number(value) > SECONDS_MAX)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, "up to 100 years",
			"%s is over 100 years", name);
	*out_ns = (uint64_t)(rpc_value_number(value) * 1e9);
	return 0;
}

int ctl_page_get(const struct rpc_value *params, struct ctl_page *out, struct rpc_fault *fault)
{
	static const char accepts[] = "limit up to 4000, cursor of a reply";
	const struct rpc_value *limit = rpc_value_get(params, "limit");

	static_assert(CTL_LIST_MAX == 4000, "as the words say");
	out->limit = limit == NULL ? CTL_LIST_DEFAULT : (uint64_t)rpc_value_integer(limit);
	out->cursor = (uint64_t)rpc_value_integer(rpc_value_get(params, "cursor"));
	if (out->limit > CTL_LIST_MAX)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "limit", accepts,
			"limit is over %u; accepted: %s", CTL_LIST_MAX, accepts);
	return 0;
}

int ctl_moment_get(const struct ctl *c, const struct rpc_value *params, const char *name,
	uint64_t *out_ns, struct rpc_fault *fault)
{
	uint64_t wall_ns = c->p.wall_ns(), at_ns = 0;
	const struct rpc_value *value = rpc_value_get(params, name);

	if (value == NULL)
		return 0;
	if (rpc_value_number(value) > (double)wall_ns / 1e9 + SECONDS_MAX)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, "up to 100 years ahead",
			"%s is over 100 years ahead; accepted: seconds since 1970", name);
	at_ns = (uint64_t)(rpc_value_number(value) * 1e9);
	*out_ns = at_ns > wall_ns ? c->p.now_ns() + (at_ns - wall_ns) : 1;
	return 0;
}

json_t *ctl_address_build(const struct ip_addr *a)
{
	char text[IP_TEXT_CHARS];

	return ip_is_none(a) ? json_null() : json_string(ip_addr_format(a, text));
}

void ctl_address_write(struct rpc_text *t, const char *name, const struct ip_addr *a)
{
	char text[IP_TEXT_CHARS];

	if (ip_is_none(a))
		rpc_write_null(t, name);
	else
		rpc_write_text(t, name, ip_addr_format(a, text));
}

struct ip_addr ctl_v4_addr(uint32_t v4)
{
	uint8_t bytes[4];

	store_be32(bytes, v4);
	return v4 == 0 ? (struct ip_addr){0} : ip_from_v4(bytes);
}

json_t *ctl_v4_build(uint32_t v4)
{
	struct ip_addr a = ctl_v4_addr(v4);

	return ctl_address_build(&a);
}

const char *ctl_filter_word(enum flow_filter filter)
{
	static const char *const words[] = {"strict", "moderate", "open"};

	return words[filter];
}

static json_t *endpoint_build(const struct ip_endpoint *e)
{
	char text[IP_TEXT_CHARS];

	return e->port == 0 ? json_null() : json_string(ip_endpoint_format(e, text));
}

static json_t *key_build(const uint8_t key[static CRYPTO_KEY_BYTES])
{
	char text[CRYPTO_KEY_TEXT_CHARS];

	return json_string(crypto_key_format(key, text));
}

/* They are all at its home. */
static uint32_t sessions_of(const struct ctl *c, uint32_t peer_idx)
{
	uint8_t home = peer_home(c->p.peers, peer_idx);

	return c->p.flows == NULL || home == PEER_HOME_NONE
		       ? 0
		       : flow_peer_sessions(c->p.flows[home], peer_idx);
}

/* What concerns a peer's ordinary traffic. */
static void traffic_add(
	struct ctl *c, uint32_t peer_idx, const struct peer_conf *conf, json_t *peer)
{
	json_t *routes = json_array();
	char text[IP_TEXT_CHARS];

	for (unsigned i = 0; i < conf->n_routes; i++)
		json_array_append_new(
			routes, json_string(ip_prefix_format(&conf->routes[i], text)));
	json_object_set_new(peer, "routes", routes);
	json_object_set_new(peer, "public_address", ctl_v4_build(ctl_peer_public(c, peer_idx)));
	json_object_set_new(peer, "filter", json_string(ctl_filter_word(conf->limits.filter)));
	json_object_set_new(peer, "sessions", json_integer(sessions_of(c, peer_idx)));
	json_object_set_new(peer, "max_sessions", json_integer(conf->limits.max_sessions));
}

/* Keys but the public one stay inside: only whether there is a preshared key is said. */
json_t *ctl_peer_build(struct ctl *c, uint32_t peer_idx)
{
	static const uint8_t zero[CRYPTO_KEY_BYTES];
	const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);
	uint64_t now_ns = c->p.now_ns();
	struct peer_status status;
	json_t *peer;

	if (conf == NULL)
		return NULL;
	peer_status_get(c->p.peers, peer_idx, &status);
	/* Where it is heard; else where it is said to be. */
	if (status.endpoint.port == 0)
		status.endpoint = conf->endpoint;
	peer = json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:b, s:b, s:i, s:i, s:i, s:b, s:o, s:o, s:o, s:o,"
		" s:{s:I, s:I, s:I, s:I}}",
		"name", conf->name, "public_key", key_build(conf->public_key), "address4",
		ctl_address_build(&conf->address4), "address6", ctl_address_build(&conf->address6),
		"endpoint", endpoint_build(&status.endpoint), "forwarding", conf->forwarding,
		"portmap", conf->portmap, "max_leases", (int)conf->max_leases, "leases",
		(int)lease_count(c->p.leases, peer_idx), "persistent_keepalive_s",
		(int)conf->persistent_keepalive_s, "has_preshared_key",
		memcmp(conf->preshared_key, zero, sizeof(zero)) != 0, "home",
		status.home == PEER_HOME_NONE ? json_null() : json_integer(status.home),
		"last_handshake_age_s", ctl_age_build(now_ns, status.last_handshake_ns),
		"last_received_age_s", ctl_age_build(now_ns, status.last_received_ns),
		"unreachable_age_s", ctl_age_build(now_ns, status.unreachable_since_ns), "counters",
		"rx_pkts", (json_int_t)status.rx_pkts, "rx_bytes", (json_int_t)status.rx_bytes,
		"tx_pkts", (json_int_t)status.tx_pkts, "tx_bytes", (json_int_t)status.tx_bytes);
	traffic_add(c, peer_idx, conf, peer);
	json_object_set_new(peer, "is_barred", json_boolean(ctl_peer_is_barred(c, conf)));
	json_object_set_new(
		peer, "lease_ports", json_integer(lease_port_count(c->p.leases, peer_idx)));
	json_object_set_new(peer, "heartbeat_s",
		json_real((double)(peer_heartbeat(c->p.peers, peer_idx) / NS_IN_MS) / 1e3));
	return peer;
}

const char *ctl_proto_word(uint8_t protos)
{
	static const char *const words[] = {"none", "tcp", "udp", "both"};

	return words[protos & LEASE_PROTO_BOTH];
}

int ctl_number_parse(const char *text, struct ip_endpoint *out, uint8_t *protos)
{
	const char *slash = strchr(text, '/');
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char end[IP_TEXT_CHARS];

	*protos = 0;
	if (slash != NULL && strcmp(slash, "/tcp") == 0)
		*protos = LEASE_PROTO_TCP;
	else if (slash != NULL && strcmp(slash, "/udp") == 0)
		*protos = LEASE_PROTO_UDP;
	else if (slash != NULL)
		return -EINVAL;
	if (len >= sizeof(end))
		return -EINVAL;
	memcpy(end, text, len);
	end[len] = '\0';
	return ip_endpoint_parse(end, out) == 0 && out->port != 0 ? 0 : -EINVAL;
}

const char *ctl_opener_word(enum lease_opener opener)
{
	static const char *const words[] = {"control", "conf", "natpmp", "pcp"};

	return words[opener];
}

/* A moment of the monotonic clock as seconds since 1970; null for TIME_NEVER. */
static void write_moment(struct rpc_text *t, const char *name, const struct ctl *c, uint64_t at_ns)
{
	uint64_t now_ns = c->p.now_ns(), wall_ns = c->p.wall_ns();

	if (at_ns == TIME_NEVER) {
		rpc_write_null(t, name);
		return;
	}
	wall_ns = at_ns > now_ns ? wall_ns + (at_ns - now_ns) : wall_ns - (now_ns - at_ns);
	rpc_write_integer(t, name, (int64_t)((wall_ns + NS_IN_S / 2) / NS_IN_S));
}

static void write_age(struct rpc_text *t, const char *name, uint64_t now_ns, uint64_t then_ns)
{
	if (then_ns == 0)
		rpc_write_null(t, name);
	else
		rpc_write_seconds(t, name, now_ns > then_ns ? now_ns - then_ns : 0);
}

static void write_sources(struct rpc_text *t, const struct lease *lease)
{
	char text[IP_TEXT_CHARS];

	rpc_write_begin(t, "from", '[');
	for (unsigned i = 0; i < lease->n_sources; i++)
		rpc_write_text(t, NULL, ip_prefix_format(&lease->sources[i], text));
	rpc_write_end(t, ']');
}

static void write_counters(struct rpc_text *t, const struct door_counters *counters)
{
	rpc_write_begin(t, "counters", '{');
	rpc_write_integer(t, "in_pkts", (int64_t)counters->in_pkts);
	rpc_write_integer(t, "in_bytes", (int64_t)counters->in_bytes);
	rpc_write_integer(t, "out_pkts", (int64_t)counters->out_pkts);
	rpc_write_integer(t, "out_bytes", (int64_t)counters->out_bytes);
	rpc_write_integer(t, "refused_pkts", (int64_t)counters->refused_pkts);
	rpc_write_integer(t, "limited_pkts", (int64_t)counters->limited_pkts);
	rpc_write_end(t, '}');
}

static void write_knocks(struct rpc_text *t, struct ctl *c, uint64_t lease_id, uint64_t now_ns)
{
	struct door_seen seen;

	if (!doors_seen_get(c->p.doors, lease_id, now_ns, &seen)) {
		rpc_write_null(t, "knocks");
		return;
	}
	rpc_write_begin(t, "knocks", '{');
	rpc_write_integer(t, "sources", (int64_t)seen.sources);
	rpc_write_integer(t, "new_flows", (int64_t)seen.new_flows);
	rpc_write_integer(t, "new_flows_10s", seen.window_flows);
	rpc_write_end(t, '}');
}

/* Null where all are meant. */
static void write_port(struct rpc_text *t, const char *name, uint16_t port)
{
	if (port == 0)
		rpc_write_null(t, name);
	else
		rpc_write_integer(t, name, port);
}

void ctl_lease_write(struct ctl *c, const struct lease *lease, const struct door_counters *counters,
	struct rpc_text *t)
{
	uint64_t now_ns = c->p.now_ns(), left_ns = TIME_NEVER;
	char peer[CTL_PEER_WORD_CHARS];
	struct door_counters now;

	if (lease->state == LEASE_ACTIVE || lease->state == LEASE_SUSPENDED)
		ctl_leases_reach(c, lease->peer_idx);
	if (counters == NULL) {
		doors_counters_get(c->p.doors, lease->id, &now);
		counters = &now;
	}
	if (lease->expires_ns != TIME_NEVER)
		left_ns = lease->expires_ns > now_ns ? lease->expires_ns - now_ns : 0;
	rpc_write_integer(t, "id", (int64_t)lease->id);
	rpc_write_text(t, "state", lease_state_word(lease->state));
	rpc_write_text(t, "peer", ctl_peer_word(c, lease->peer_idx, peer));
	rpc_write_text(t, "proto", ctl_proto_word(lease->protos));
	ctl_address_write(t, "public_address", &lease->public_addr);
	write_port(t, "public_port", lease->public_port);
	ctl_address_write(t, "to_address", &lease->inner_addr);
	write_port(t, "to_port", lease->inner_port);
	write_port(t, "ports", lease_is_whole(lease->public_port) ? 0 : lease->n_ports);
	rpc_write_bool(t, "whole_address", lease_is_whole(lease->public_port));
	write_age(t, "age_s", now_ns, lease->opened_ns);
	rpc_write_seconds(t, "ttl_s", lease->ttl_ns);
	rpc_write_seconds(t, "expires_in_s", left_ns);
	write_moment(t, "until", c, lease->until_ns);
	rpc_write_seconds(t, "idle_s", lease->idle_ns);
	write_sources(t, lease);
	rpc_write_integer(t, "max_pps", lease->max_pps);
	rpc_write_integer(t, "max_new_flows", lease->max_new_flows);
	rpc_write_text(t, "label", lease->label);
	rpc_write_text(t, "opened_by", ctl_opener_word(lease->opener));
	write_age(t, "last_used_age_s", now_ns, counters->last_used_ns);
	write_knocks(t, c, lease->id, now_ns);
	write_counters(t, counters);
}

void ctl_held_write(
	struct ctl *c, const char *name, const struct lease_held *held, struct rpc_text *t)
{
	uint64_t now_ns = c->p.now_ns();
	char peer[CTL_PEER_WORD_CHARS];

	rpc_write_begin(t, name, '{');
	rpc_write_text(t, "state", lease_state_word(held->state));
	if (held->peer_idx == UINT32_MAX)
		rpc_write_null(t, "peer");
	else
		rpc_write_text(t, "peer", ctl_peer_word(c, held->peer_idx, peer));
	ctl_address_write(t, "public_address", &held->public_addr);
	write_port(t, "public_port", held->public_port);
	ctl_address_write(t, "to_address", &held->inner_addr);
	write_port(t, "to_port", held->inner_port);
	write_port(t, "ports", lease_is_whole(held->public_port) ? 0 : held->n_ports);
	rpc_write_seconds(t, "ends_in_s", held->until_ns > now_ns ? held->until_ns - now_ns : 0);
	rpc_write_end(t, '}');
}
