/* peer.add, peer.set, peer.del, peer.bar, peer.unbar, peer.show, peer.list */
#include "ctl/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SESSIONS_MAX 16777216

#define PEER_WORDS     "a name or a public key"
#define ADDRESS4_WORDS "an IPv4 address"
#define ADDRESS6_WORDS "an IPv6 address"
#define KEY_WORDS      "32 bytes in base64, 44 characters"
#define FILTER_WORDS   "strict, moderate or open"
#define SESSIONS_WORDS "1 to 16777216"
#define ROUTES_WORDS   "up to 4 IPv6 prefixes of 48 to 128 bits, as 2001:db8:2::/64"
#define ENDPOINT_WORDS "address and port, as 192.0.2.1:51820 or [2001:db8::1]:51820; empty for none"

static const struct rpc_param add_params[] = {
	{"public_key", RPC_TEXT, true, KEY_WORDS},
	{"name", RPC_TEXT, false, NULL},
	{"address4", RPC_TEXT, false, ADDRESS4_WORDS},
	{"address6", RPC_TEXT, false, ADDRESS6_WORDS},
	{"endpoint", RPC_TEXT, false, ENDPOINT_WORDS},
	{"preshared_key", RPC_TEXT, false, KEY_WORDS},
	{"forwarding", RPC_BOOL, false, NULL},
	{"portmap", RPC_BOOL, false, NULL},
	{"max_leases", RPC_INTEGER, false, NULL},
	{"filter", RPC_TEXT, false, FILTER_WORDS},
	{"max_sessions", RPC_INTEGER, false, SESSIONS_WORDS},
	{"routes", RPC_TEXTS, false, ROUTES_WORDS},
	{"persistent_keepalive_s", RPC_INTEGER, false, "0 (off) to 65535"},
};

/* The first one names the peer; the others are those of peer.add. */
static const struct rpc_param set_params[] = {
	{"peer", RPC_TEXT, true, PEER_WORDS},
	{"name", RPC_TEXT, false, NULL},
	{"address4", RPC_TEXT, false, ADDRESS4_WORDS},
	{"address6", RPC_TEXT, false, ADDRESS6_WORDS},
	{"endpoint", RPC_TEXT, false, ENDPOINT_WORDS},
	{"preshared_key", RPC_TEXT, false, KEY_WORDS},
	{"forwarding", RPC_BOOL, false, NULL},
	{"portmap", RPC_BOOL, false, NULL},
	{"max_leases", RPC_INTEGER, false, NULL},
	{"filter", RPC_TEXT, false, FILTER_WORDS},
	{"max_sessions", RPC_INTEGER, false, SESSIONS_WORDS},
	{"routes", RPC_TEXTS, false, ROUTES_WORDS},
	{"persistent_keepalive_s", RPC_INTEGER, false, "0 (off) to 65535"},
};

static const struct rpc_param one_params[] = {
	{"peer", RPC_TEXT, true, PEER_WORDS},
};

static const struct rpc_param list_params[] = {
	{"limit", RPC_INTEGER, false, NULL},
	{"cursor", RPC_INTEGER, false, NULL},
};

/* An empty text means none. */
static int get_address(const struct rpc_value *params, const char *name, struct ip_addr *out,
	struct rpc_fault *fault)
{
	const char *text = rpc_value_get_text(params, name);
	char excerpt[RPC_EXCERPT_CHARS];

	if (text == NULL)
		return 0;
	if (text[0] == '\0') {
		*out = (struct ip_addr){0};
		return 0;
	}
	if (ip_addr_parse(text, out) != 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, text,
			"an address, as 10.0.0.2 or fd00::2",
			"%s \"%s\" is no address; accepted: %s", name, rpc_excerpt(text, excerpt),
			"one as 10.0.0.2 or fd00::2");
	return 0;
}

static int get_endpoint(
	const struct rpc_value *params, struct ip_endpoint *out, struct rpc_fault *fault)
{
	const char *text = rpc_value_get_text(params, "endpoint");
	char excerpt[RPC_EXCERPT_CHARS];

	if (text == NULL)
		return 0;
	if (text[0] == '\0') {
		*out = (struct ip_endpoint){0};
		return 0;
	}
	if (ip_endpoint_parse(text, out) != 0 || out->port == 0 || ip_is_martian(&out->addr))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, ENDPOINT_WORDS,
			"endpoint \"%s\" is none; accepted: %s", rpc_excerpt(text, excerpt),
			ENDPOINT_WORDS);
	return 0;
}

/* The text is not said again: it may be most of a key. */
static int get_key(const struct rpc_value *params, const char *name,
	uint8_t out[static CRYPTO_KEY_BYTES], struct rpc_fault *fault)
{
	const char *text = rpc_value_get_text(params, name);

	if (text == NULL)
		return 0;
	if (text[0] == '\0' && strcmp(name, "preshared_key") == 0) {
		crypto_wipe(out, CRYPTO_KEY_BYTES);
		return 0;
	}
	if (crypto_key_parse(text, out) != 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, KEY_WORDS,
			"%s is not a key; accepted: %s", name, KEY_WORDS);
	return 0;
}

static int get_number(const struct rpc_value *params, const char *name, uint32_t max, uint32_t *out,
	struct rpc_fault *fault)
{
	const struct rpc_value *value = rpc_value_get(params, name);
	int64_t number = rpc_value_integer(value);
	char accepts[32];

	if (value == NULL)
		return 0;
	snprintf(accepts, sizeof(accepts), "0 to %u", max);
	if (number > max)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, accepts,
			"%s %lld is too large; accepted: %s", name, (long long)number, accepts);
	*out = (uint32_t)number;
	return 0;
}

static int get_filter(
	const struct rpc_value *params, enum flow_filter *out, struct rpc_fault *fault)
{
	const char *text = rpc_value_get_text(params, "filter");
	char excerpt[RPC_EXCERPT_CHARS];

	if (text == NULL)
		return 0;
	for (enum flow_filter f = FLOW_STRICT; f <= FLOW_OPEN; f++) {
		if (strcmp(text, ctl_filter_word(f)) == 0) {
			*out = f;
			return 0;
		}
	}
	return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, FILTER_WORDS,
		"filter \"%s\" is none; accepted: %s", rpc_excerpt(text, excerpt), FILTER_WORDS);
}

static int get_max_sessions(const struct rpc_value *params, uint32_t *out, struct rpc_fault *fault)
{
	const struct rpc_value *value = rpc_value_get(params, "max_sessions");
	int64_t number = rpc_value_integer(value);

	if (value == NULL)
		return 0;
	if (number < 1 || number > SESSIONS_MAX)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "max_sessions", SESSIONS_WORDS,
			"max_sessions %lld is not accepted; accepted: %s", (long long)number,
			SESSIONS_WORDS);
	*out = (uint32_t)number;
	return 0;
}

/* All that it has from now on; an empty text means none. */
static int get_routes(
	const struct rpc_value *params, struct peer_conf *conf, struct rpc_fault *fault)
{
	const struct rpc_value *list = rpc_value_get(params, "routes"), *item = NULL;
	char excerpt[RPC_EXCERPT_CHARS];

	if (list == NULL)
		return 0;
	if (rpc_value_count(list) > PEER_ROUTES_MAX)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "routes", ROUTES_WORDS,
			"routes has %u prefixes; accepted: up to %d", rpc_value_count(list),
			PEER_ROUTES_MAX);
	conf->n_routes = 0;
	while ((item = rpc_value_next(list, item)) != NULL) {
		const char *text = rpc_value_text(item);
		struct ip_prefix p;

		if (text[0] == '\0')
			continue;
		if (ip_prefix_parse(text, &p) != 0 || !ctl_route_is_sound(&p))
			return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, ROUTES_WORDS,
				"route \"%s\" is not accepted; accepted: an IPv6 prefix of 48 to "
				"128 bits out of 2000::/3 or fc00::/7",
				rpc_excerpt(text, excerpt));
		conf->routes[conf->n_routes++] = p;
	}
	return 0;
}

/* What the parameters say replaces what conf says. */
static int get_conf(const struct rpc_value *params, struct peer_conf *conf, struct rpc_fault *fault)
{
	const char *name = rpc_value_get_text(params, "name");
	const struct rpc_value *forwarding = rpc_value_get(params, "forwarding");
	const struct rpc_value *portmap = rpc_value_get(params, "portmap");
	uint32_t keepalive_s = conf->persistent_keepalive_s;
	char excerpt[RPC_EXCERPT_CHARS];

	if (name != NULL && strlen(name) >= sizeof(conf->name))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, "up to 31 characters",
			"name \"%s\" is too long; accepted: up to %d characters",
			rpc_excerpt(name, excerpt), PEER_NAME_CHARS - 1);
	if (get_address(params, "address4", &conf->address4, fault) != 0 ||
		get_address(params, "address6", &conf->address6, fault) != 0 ||
		get_endpoint(params, &conf->endpoint, fault) != 0 ||
		get_key(params, "public_key", conf->public_key, fault) != 0 ||
		get_key(params, "preshared_key", conf->preshared_key, fault) != 0 ||
		get_number(params, "max_leases", INT32_MAX, &conf->max_leases, fault) != 0 ||
		get_filter(params, &conf->limits.filter, fault) != 0 ||
		get_max_sessions(params, &conf->limits.max_sessions, fault) != 0 ||
		get_routes(params, conf, fault) != 0 ||
		get_number(params, "persistent_keepalive_s", UINT16_MAX, &keepalive_s, fault) != 0)
		return -EINVAL;
	if (name != NULL)
		snprintf(conf->name, sizeof(conf->name), "%s", name);
	if (forwarding != NULL)
		conf->forwarding = rpc_value_is_true(forwarding);
	if (portmap != NULL)
		conf->portmap = rpc_value_is_true(portmap);
	conf->persistent_keepalive_s = (uint16_t)keepalive_s;
	return 0;
}

static json_t *routes_build(const struct peer_conf *conf)
{
	json_t *routes = json_array();
	char text[IP_TEXT_CHARS];

	for (unsigned i = 0; i < conf->n_routes; i++)
		json_array_append_new(
			routes, json_string(ip_prefix_format(&conf->routes[i], text)));
	return routes;
}

void ctl_peer_settings(const struct peer_conf *conf, char buf[static STORE_SETTINGS_CHARS])
{
	char address4[IP_TEXT_CHARS] = "", address6[IP_TEXT_CHARS] = "";
	char endpoint[IP_TEXT_CHARS] = "";
	json_t *settings;
	size_t len;

	if (!ip_is_none(&conf->address4))
		ip_addr_format(&conf->address4, address4);
	if (!ip_is_none(&conf->address6))
		ip_addr_format(&conf->address6, address6);
	if (conf->endpoint.port != 0)
		ip_endpoint_format(&conf->endpoint, endpoint);
	settings = json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:I, s:s, s:I, s:o, s:i}", "name",
		conf->name, "address4", address4, "address6", address6, "endpoint", endpoint,
		"forwarding", conf->forwarding, "portmap", conf->portmap, "max_leases",
		(json_int_t)conf->max_leases, "filter", ctl_filter_word(conf->limits.filter),
		"max_sessions", (json_int_t)conf->limits.max_sessions, "routes", routes_build(conf),
		"persistent_keepalive_s", (int)conf->persistent_keepalive_s);
	len = json_dumpb(settings, buf, STORE_SETTINGS_CHARS - 1, JSON_COMPACT);
	buf[len < STORE_SETTINGS_CHARS ? len : 0] = '\0';
	json_decref(settings);
}

int ctl_peer_settings_read(const char *settings, const uint8_t public_key[static CRYPTO_KEY_BYTES],
	struct peer_conf *conf, struct rpc_fault *fault)
{
	const struct rpc_value *params = NULL;
	struct rpc_arena arena = {0};
	size_t at;
	int err;

	/* All but the key, which is the first. */
	if (rpc_read(&arena, settings, strlen(settings), &params, &at) == 0 &&
		params->kind == RPC_OBJECT)
		err = rpc_params_check(params, add_params + 1,
			sizeof(add_params) / sizeof(add_params[0]) - 1, fault);
	else
		err = rpc_fault_set(fault, RPC_INVALID_PARAMS, "settings", NULL,
			"its settings are no JSON object");
	if (err == 0)
		err = get_conf(params, conf, fault);
	if (err == 0)
		memcpy(conf->public_key, public_key, CRYPTO_KEY_BYTES);
	rpc_arena_fini(&arena);
	return err;
}

static json_t *run_add(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	struct peer_conf conf = ctl_peer_conf_default(c->p.conf); /* wiped */
	json_t *result = NULL;
	uint32_t peer_idx;

	if (get_conf(params, &conf, fault) == 0 && ctl_peer_add(c, &conf, &peer_idx, fault) == 0)
		result = ctl_peer_build(c, peer_idx);
	crypto_wipe(&conf, sizeof(conf));
	return result;
}

static json_t *run_set(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	struct peer_conf conf; /* wiped */
	json_t *result = NULL;
	uint32_t peer_idx;
	unsigned n_closed;

	if (ctl_peer_find(c, rpc_value_get_text(params, "peer"), &peer_idx, fault) != 0)
		return NULL;
	conf = *peer_conf_get(c->p.peers, peer_idx);
	if (get_conf(params, &conf, fault) == 0 &&
		ctl_peer_set(c, peer_idx, &conf, &n_closed, fault) == 0) {
		result = ctl_peer_build(c, peer_idx);
		json_object_set_new(result, "leases_closed", json_integer(n_closed));
	}
	crypto_wipe(&conf, sizeof(conf));
	return result;
}

static json_t *run_del(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	uint32_t peer_idx;
	unsigned n_closed;
	json_t *result;

	if (ctl_peer_find(c, rpc_value_get_text(params, "peer"), &peer_idx, fault) != 0)
		return NULL;
	result = ctl_peer_build(c, peer_idx);
	if (ctl_peer_del(c, peer_idx, &n_closed, fault) != 0) {
		json_decref(result);
		return NULL;
	}
	json_object_set_new(result, "leases_closed", json_integer(n_closed));
	return result;
}

static json_t *run_bar(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	uint32_t peer_idx;
	unsigned n_closed;
	json_t *result;

	if (ctl_peer_find(c, rpc_value_get_text(params, "peer"), &peer_idx, fault) != 0 ||
		ctl_peer_bar(c, peer_idx, &n_closed, fault) != 0)
		return NULL;
	result = ctl_peer_build(c, peer_idx);
	json_object_set_new(result, "leases_closed", json_integer(n_closed));
	return result;
}

/* Of a peer that is gone there is no more than its key. */
static json_t *run_unbar(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	uint32_t peer_idx;

	if (ctl_peer_unbar(c, rpc_value_get_text(params, "peer"), &peer_idx, fault) != 0)
		return NULL;
	if (peer_idx != PEER_NONE)
		return ctl_peer_build(c, peer_idx);
	return json_pack("{s:s, s:s, s:b}", "name", "", "public_key",
		rpc_value_get_text(params, "peer"), "is_barred", 0);
}

static json_t *run_show(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	uint32_t peer_idx;

	if (ctl_peer_find(c, rpc_value_get_text(params, "peer"), &peer_idx, fault) != 0)
		return NULL;
	return ctl_peer_build(c, peer_idx);
}

static json_t *run_list(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	uint32_t limit = CTL_LIST_DEFAULT, cursor = 0, peer_idx = PEER_NONE;
	json_t *list;

	if (get_number(params, "limit", CTL_LIST_MAX, &limit, fault) != 0 ||
		get_number(params, "cursor", INT32_MAX, &cursor, fault) != 0)
		return NULL;
	list = json_array();
	for (uint32_t n = 0; n < limit; n++) {
		peer_idx = peer_next(c->p.peers, &cursor);
		if (peer_idx == PEER_NONE)
			break;
		json_array_append_new(list, ctl_peer_build(c, peer_idx));
	}
	return json_pack("{s:o, s:o}", "peers", list, "next",
		peer_idx == PEER_NONE ? json_null() : json_integer(cursor));
}

#define N(list) (sizeof(list) / sizeof((list)[0]))

const struct ctl_method ctl_peer_methods[] = {
	{"peer.add", true, add_params, N(add_params), run_add},
	{"peer.set", true, set_params, N(set_params), run_set},
	{"peer.del", true, one_params, N(one_params), run_del},
	{"peer.bar", true, one_params, N(one_params), run_bar},
	{"peer.unbar", true, one_params, N(one_params), run_unbar},
	{"peer.show", false, one_params, N(one_params), run_show},
	{"peer.list", false, list_params, N(list_params), run_list},
	{NULL},
};
