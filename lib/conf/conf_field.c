#include "conf/conf_impl.h"
#include "crypto/crypto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-"

static bool is_printable(const char *text)
{
	for (; *text; text++) {
		if (*text < ' ' || *text > '~')
			return false;
	}
	return true;
}

static int copy_text(const struct conf_key *k, const char *text, void *base)
{
	size_t len = strlen(text);

	if (len == 0 || len >= k->width_bytes || !is_printable(text))
		return -EINVAL;
	memcpy((char *)base + k->offset, text, len + 1);
	return 0;
}

int conf_parse_name(const struct conf_key *k, const char *text, void *base)
{
	return text[strspn(text, NAME_CHARS)] ? -EINVAL : copy_text(k, text, base);
}

/* Part of a file's name, and shown where interfaces are. */
int conf_parse_uapi_name(const struct conf_key *k, const char *text, void *base)
{
	bool is_letter = (text[0] >= 'A' && text[0] <= 'Z') || (text[0] >= 'a' && text[0] <= 'z');

	if (text[0] != '\0')
		return is_letter ? conf_parse_name(k, text, base) : -EINVAL;
	((struct conf *)base)->uapi_name[0] = '\0';
	return 0;
}

int conf_parse_label(const struct conf_key *k, const char *text, void *base)
{
	return copy_text(k, text, base);
}

int conf_parse_device(const struct conf_key *k, const char *text, void *base)
{
	/* Digits of a PCI address or letters of a driver; an option would go to the EAL. */
	if (text[0] == '-' || text[0] == ',' || strchr(text, ' '))
		return -EINVAL;
	return copy_text(k, text, base);
}

int conf_parse_role(const struct conf_key *k, const char *text, void *base)
{
	struct conf_port *p = base;
	bool *role = strcmp(text, "tunnel") == 0   ? &p->is_tunnel
		     : strcmp(text, "public") == 0 ? &p->is_public
						   : NULL;

	if (!role || *role)
		return -EINVAL;
	*role = true;
	return 0;
}

int conf_parse_ifaddr(const struct conf_key *k, const char *text, void *base)
{
	struct conf_port *p = base;

	return ip_ifaddr_parse(text, &p->ifaddrs[p->n_ifaddrs++]);
}

int conf_parse_gateway(const struct conf_key *k, const char *text, void *base)
{
	struct conf_port *p = base;
	struct ip_addr a, *slot;

	if (ip_addr_parse(text, &a) != 0)
		return -EINVAL;
	slot = ip_is_v4(&a) ? &p->gateway4 : &p->gateway6;
	if (!ip_is_none(slot) || ip_is_martian(&a))
		return -EINVAL;
	*slot = a;
	return 0;
}

int conf_parse_eal_arg(const struct conf_key *k, const char *text, void *base)
{
	static const char *const taken[] = {"-l", "-c", "-m", "--lcores", "--no-huge"};
	struct conf *c = base;
	char *slot = c->eal_args[c->n_eal_args++];
	size_t len = strlen(text);

	for (unsigned i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		size_t taken_len = strlen(taken[i]);
		bool is_long = taken[i][1] == '-';

		/* "-l0-3" and "--lcores=0-3" are the same option. */
		if (strncmp(text, taken[i], taken_len) == 0 &&
			(!is_long || text[taken_len] == '\0' || text[taken_len] == '='))
			return -EINVAL;
	}
	if (len == 0 || len >= CONF_DEVICE_CHARS || !is_printable(text))
		return -EINVAL;
	memcpy(slot, text, len + 1);
	return 0;
}

int conf_parse_inner_addr(const struct conf_key *k, const char *text, void *base)
{
	struct conf *c = base;

	return ip_addr_parse(text, &c->inner_addrs[c->n_inner_addrs++]);
}

/* The slot is taken even by an entry that is refused, so that entries keep their numbers. */
static int parse_v4_prefix(const char *text, struct ip_prefix *slot)
{
	struct ip_prefix p;

	/* 96: the whole of IPv4 is the shortest prefix that is IPv4 in all its addresses. */
	if (ip_prefix_parse(text, &p) != 0 || !ip_is_v4(&p.addr) || p.len_bits < 96)
		return -EINVAL;
	*slot = p;
	return 0;
}

int conf_parse_pool(const struct conf_key *k, const char *text, void *base)
{
	struct conf *c = base;

	return parse_v4_prefix(text, &c->pool[c->n_pool++]);
}

int conf_parse_dedicated(const struct conf_key *k, const char *text, void *base)
{
	struct conf *c = base;

	return parse_v4_prefix(text, &c->dedicated[c->n_dedicated++]);
}

int conf_parse_nat_pool(const struct conf_key *k, const char *text, void *base)
{
	struct conf *c = base;

	return parse_v4_prefix(text, &c->nat_pool[c->n_nat_pool++]);
}

int conf_parse_exempt(const struct conf_key *k, const char *text, void *base)
{
	struct conf *c = base;

	return parse_v4_prefix(text, &c->nat_exempt[c->n_nat_exempt++]);
}

/* Decimal, at most 65535, no sign and no leading space, up to the stop character. */
static int parse_port(const char *text, char stop, uint16_t *out, const char **rest)
{
	unsigned value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (unsigned)(*p - '0');
		if (value > 65535)
			return -EINVAL;
	}
	if (p == text || *p != stop)
		return -EINVAL;
	*out = (uint16_t)value;
	*rest = p + 1;
	return 0;
}

static int parse_port_range(const char *text, uint16_t *out_first, uint16_t *out_last)
{
	uint16_t first, last;
	const char *rest;

	if (parse_port(text, '-', &first, &rest) != 0 || parse_port(rest, '\0', &last, &rest) != 0)
		return -EINVAL;
	if (first < 1024 || last < first)
		return -EINVAL;
	*out_first = first;
	*out_last = last;
	return 0;
}

int conf_parse_lease_ports(const struct conf_key *k, const char *text, void *base)
{
	struct conf *c = base;

	return parse_port_range(text, &c->lease_port_first, &c->lease_port_last);
}

int conf_parse_nat_ports(const struct conf_key *k, const char *text, void *base)
{
	struct conf *c = base;

	return parse_port_range(text, &c->nat_port_first, &c->nat_port_last);
}

int conf_parse_blocked(const struct conf_key *k, const char *text, void *base)
{
	static const char *const words[] = {[1] = "tcp/", [2] = "udp/", [3] = "both/"};
	struct conf *c = base;
	struct conf_blocked *slot = &c->nat_blocked[c->n_nat_blocked++];
	uint16_t port;

	for (uint8_t protos = 1; protos < sizeof(words) / sizeof(words[0]); protos++) {
		size_t len = strlen(words[protos]);
		const char *rest;

		if (strncmp(text, words[protos], len) != 0)
			continue;
		if (parse_port(text + len, '\0', &port, &rest) != 0 || port == 0)
			return -EINVAL;
		*slot = (struct conf_blocked){protos, port};
		return 0;
	}
	return -EINVAL;
}

int conf_parse_route(const struct conf_key *k, const char *text, void *base)
{
	struct conf_peer *peer = base;
	struct ip_prefix *slot = &peer->routes[peer->n_routes++], p;

	if (ip_prefix_parse(text, &p) != 0 || p.len_bits < 48 || !ip_is_routable_v6(&p.addr))
		return -EINVAL;
	*slot = p;
	return 0;
}

int conf_parse_deny(const struct conf_key *k, const char *text, void *base)
{
	struct conf *c = base;
	struct conf_range *range = &c->deny[c->n_deny++];
	const char *rest;

	if (parse_port(text, '-', &range->first, &rest) == 0) {
		if (parse_port(rest, '\0', &range->last, &rest) != 0 || range->last < range->first)
			goto fault;
	} else {
		if (parse_port(text, '\0', &range->first, &rest) != 0)
			goto fault;
		range->last = range->first;
	}
	if (range->first > 0)
		return 0;
fault:
	*range = (struct conf_range){0};
	return -EINVAL;
}

int conf_parse_store_path(const struct conf_key *k, const char *text, void *base)
{
	if (text[0] != '/' || strlen(text) >= CONF_PATH_CHARS)
		return -EINVAL;
	return copy_text(k, text, base);
}

int conf_parse_socket(const struct conf_key *k, const char *text, void *base)
{
	static const struct sockaddr_un sa;

	if (text[0] != '/' || strlen(text) >= sizeof(sa.sun_path))
		return -EINVAL;
	return copy_text(k, text, base);
}

int conf_parse_public_key(const struct conf_key *k, const char *text, void *base)
{
	static const uint8_t zero[CRYPTO_KEY_BYTES];
	struct conf_peer *peer = base;
	uint8_t key[CRYPTO_KEY_BYTES];

	if (crypto_key_parse(text, key) != 0 || memcmp(key, zero, sizeof(zero)) == 0)
		return -EINVAL;
	memcpy(peer->public_key, key, sizeof(key));
	return 0;
}

int conf_parse_peer_address(const struct conf_key *k, const char *text, void *base)
{
	struct conf_peer *peer = base;
	struct ip_addr got[2];
	char copy[2 * IP_TEXT_CHARS];
	char *comma;
	unsigned n = 1;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	snprintf(copy, sizeof(copy), "%s", text);
	comma = strchr(copy, ',');
	if (comma) {
		*comma = '\0';
		n = 2;
	}
	if (ip_addr_parse(copy, &got[0]) != 0 || (comma && ip_addr_parse(comma + 1, &got[1]) != 0))
		return -EINVAL;
	if (n == 2 && ip_is_v4(&got[0]) == ip_is_v4(&got[1]))
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		*(ip_is_v4(&got[i]) ? &peer->address4 : &peer->address6) = got[i];
	return 0;
}

int conf_parse_endpoint(const struct conf_key *k, const char *text, void *base)
{
	struct conf_peer *peer = base;
	struct ip_endpoint e;

	if (ip_endpoint_parse(text, &e) != 0 || e.port == 0 || ip_is_martian(&e.addr))
		return -EINVAL;
	peer->endpoint = e;
	return 0;
}

/* The kernel knows which addresses it has; loopback is one, and so is "any". */
int conf_parse_metrics_listen(const struct conf_key *k, const char *text, void *base)
{
	return ip_endpoint_parse(text, &((struct conf *)base)->metrics_listen);
}

int conf_parse_public_addr(const struct conf_key *k, const char *text, void *base)
{
	struct conf_lease *lease = base;

	return ip_addr_parse(text, &lease->public_addr);
}

int conf_parse_to_addr(const struct conf_key *k, const char *text, void *base)
{
	struct conf_lease *lease = base;

	return ip_addr_parse(text, &lease->inner_addr);
}

int conf_parse_source(const struct conf_key *k, const char *text, void *base)
{
	struct conf_lease *lease = base;

	return ip_prefix_parse(text, &lease->sources[lease->n_sources++]);
}

void conf_read_lcores(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	struct conf *c = base;
	long n_cpus = sysconf(_SC_NPROCESSORS_CONF);
	char path[CONF_KEY_PATH_CHARS];
	int n;

	if (!conf_is_sequence(s)) {
		conf_fault_type(ctx, s, k->takes);
		return;
	}
	n = config_setting_length(s);
	if (n < k->min || n > k->max) {
		conf_fault(ctx, s, "%s has %d %s; it takes %s", conf_key_path(s, path), n,
			n == 1 ? "entry" : "entries", k->takes);
		return;
	}
	for (int i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		int type = config_setting_type(e);
		long long cpu = config_setting_get_int64(e);

		if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
			conf_fault_type(ctx, e, "a CPU number");
		else if (cpu < 0 || cpu >= n_cpus)
			conf_fault(ctx, e,
				"%s = %lld is not a CPU of this machine; it has CPUs 0 to %ld",
				conf_key_path(e, path), cpu, n_cpus - 1);
		else
			c->lcore_cpus[i] = (uint32_t)cpu;
	}
	c->n_lcores = (uint32_t)n;
}

void conf_read_ports(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	struct conf *c = base;
	char path[CONF_KEY_PATH_CHARS];
	int n;

	if (!config_setting_is_list(s)) {
		conf_fault_type(ctx, s, k->takes);
		return;
	}
	n = config_setting_length(s);
	if (n < k->min || n > k->max) {
		conf_fault(ctx, s, "%s has %d %s; it takes %s", conf_key_path(s, path), n,
			n == 1 ? "entry" : "entries", k->takes);
		return;
	}
	for (int i = 0; i < n; i++)
		conf_read_group(ctx, config_setting_get_elem(s, (unsigned)i), NULL, conf_port_keys,
			&c->ports[c->n_ports++]);
}

/* How many leases the peers of a list have between them, so that they are allocated once. */
static size_t count_leases(const config_setting_t *peers)
{
	size_t n = 0;

	for (int i = 0; i < config_setting_length(peers); i++) {
		const config_setting_t *peer = config_setting_get_elem(peers, (unsigned)i);
		const config_setting_t *leases = config_setting_is_group(peer)
							 ? config_setting_get_member(peer, "leases")
							 : NULL;

		if (leases && config_setting_is_list(leases))
			n += (size_t)config_setting_length(leases);
	}
	return n;
}

void conf_read_peers(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	struct conf *c = base;
	size_t n_leases;
	unsigned n;

	if (!config_setting_is_list(s)) {
		conf_fault_type(ctx, s, k->takes);
		return;
	}
	n = (unsigned)config_setting_length(s);
	n_leases = count_leases(s);
	if (n == 0)
		return;
	c->peers = calloc(n, sizeof(*c->peers));
	if (n_leases > 0) {
		c->leases = calloc(n_leases, sizeof(*c->leases));
		ctx->lease_settings = calloc(n_leases, sizeof(*ctx->lease_settings));
	}
	if (!c->peers || (n_leases > 0 && (!c->leases || !ctx->lease_settings))) {
		ctx->error = -ENOMEM;
		return;
	}
	c->n_peers = n;
	for (unsigned i = 0; i < n; i++) {
		c->peers[i].max_leases = c->max_leases_per_peer;
		c->peers[i].filter = c->nat_filter;
		c->peers[i].max_sessions = c->nat_sessions_per_peer;
		conf_read_group(
			ctx, config_setting_get_elem(s, i), NULL, conf_peer_keys, &c->peers[i]);
	}
}

void conf_read_peer_leases(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	struct conf *c = ctx->conf;
	const struct conf_peer *peer = base;

	if (!config_setting_is_list(s)) {
		conf_fault_type(ctx, s, k->takes);
		return;
	}
	for (int i = 0; i < config_setting_length(s); i++) {
		const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
		struct conf_lease *lease = &c->leases[c->n_leases];

		ctx->lease_settings[c->n_leases++] = e;
		lease->peer_idx = (unsigned)(peer - c->peers);
		lease->max_pps = c->lease_max_pps;
		lease->max_new_flows = c->lease_max_new_flows;
		conf_read_group(ctx, e, NULL, conf_lease_keys, lease);
	}
}
