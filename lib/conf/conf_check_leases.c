/* The leases of peers: what each takes, and that none takes what is another's. */
#include "conf/conf_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More ports than any leases.max admits are refused for that, and not compared. */
#define PORTS_COMPARED_MAX (1u << 23)

/* For sentences only: it counts the peers before this one. */
static char *lease_path(
	const struct conf_ctx *ctx, uint32_t idx, char buf[static CONF_KEY_PATH_CHARS])
{
	return conf_key_path(ctx->lease_settings[idx], buf);
}

/* Where it leads: zero when that was refused. */
static const struct ip_addr *inner_addr(const struct conf *c, const struct conf_lease *l)
{
	const struct conf_peer *p = &c->peers[l->peer_idx];

	if (!ip_is_none(&l->inner_addr))
		return &l->inner_addr;
	return ip_is_none(&p->address4) ? &p->address6 : &p->address4;
}

static uint32_t ports_of(const struct conf_lease *l)
{
	return l->n_ports > 1 ? l->n_ports : 1;
}

/* IPv6 is not translated: the public side of such a lease is its inner side. */
static bool is_pinhole(const struct conf *c, const struct conf_lease *l)
{
	const struct ip_addr *a = inner_addr(c, l);

	return !ip_is_none(a) && !ip_is_v4(a);
}

/* Where a lease without an address will be, if there is no choice. */
static const struct ip_addr *lease_addr(const struct conf *c, const struct conf_lease *l)
{
	bool is_single = c->n_pool == 1 && c->pool[0].len_bits == 128;

	return ip_is_none(&l->public_addr) && is_single ? &c->pool[0].addr : &l->public_addr;
}

/* --- ports that are taken twice: each port of a range is looked at ---------------------------- */

static const struct conf_lease_port *port_at(const struct conf_ctx *ctx, uint32_t idx)
{
	return &ctx->lease_ports[idx];
}

/* Of a range that overlaps another lease, only the first port they share is reported: it is the
 * first of one of both. */
static bool is_later_port(const struct conf_lease_port *a, const struct conf_lease_port *b)
{
	return a->at != 0 && b->at != 0;
}

static bool public_side_key(
	const struct conf_ctx *ctx, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	const struct conf *c = ctx->conf;
	const struct conf_lease *l = &c->leases[port_at(ctx, idx)->lease_idx];
	const struct ip_addr *a = lease_addr(c, l);
	uint16_t port = (uint16_t)(l->public_port + port_at(ctx, idx)->at);

	memcpy(key, a->bytes, sizeof(a->bytes));
	memcpy(key + sizeof(a->bytes), &port, sizeof(port));
	return !ip_is_none(a) && l->public_port != 0 && !is_pinhole(c, l);
}

static void public_side_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf *c = ctx->conf;
	const struct conf_lease_port *port = port_at(ctx, idx), *first = port_at(ctx, first_idx);
	const struct conf_lease *l = &c->leases[port->lease_idx];
	char path[CONF_KEY_PATH_CHARS], first_path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS];

	/* Those of a peer may share a number between TCP and UDP: own_side_key looks at that. */
	if (l->peer_idx == c->leases[first->lease_idx].peer_idx || is_later_port(port, first))
		return;
	conf_fault(ctx, ctx->lease_settings[port->lease_idx],
		"%s takes port %u of %s, which %s of another peer has; a port belongs to one "
		"peer, for TCP and UDP together",
		lease_path(ctx, port->lease_idx, path), l->public_port + port->at,
		ip_addr_format(lease_addr(c, l), text),
		lease_path(ctx, first->lease_idx, first_path));
}

/* addr: zero on the public side, where a peer has but one. */
static bool peer_port_key(
	const struct conf_lease *l, const struct ip_addr *addr, uint16_t port, uint8_t *key)
{
	static_assert(sizeof(l->peer_idx) + sizeof(port) + sizeof(*addr) + 1 <= CRYPTO_KEY_BYTES,
		"it fits a twin key");

	memcpy(key, &l->peer_idx, sizeof(l->peer_idx));
	key += sizeof(l->peer_idx);
	memcpy(key, &port, sizeof(port));
	key += sizeof(port);
	memcpy(key, addr, sizeof(*addr));
	return port != 0;
}

/* Two keys a port, one for each protocol that its lease has. */
static bool proto_key(const struct conf_lease *l, uint32_t bit, const struct ip_addr *addr,
	uint16_t port, uint8_t *key)
{
	key[sizeof(l->peer_idx) + sizeof(port) + sizeof(*addr)] = (uint8_t)bit;
	return (l->protos & 1u << bit) != 0 && peer_port_key(l, addr, port, key);
}

static bool own_side_key(
	const struct conf_ctx *ctx, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	static const struct ip_addr none;
	const struct conf_lease_port *port = port_at(ctx, idx / 2);
	const struct conf_lease *l = &ctx->conf->leases[port->lease_idx];

	return !is_pinhole(ctx->conf, l) && l->public_port != 0 &&
	       proto_key(l, idx % 2, &none, (uint16_t)(l->public_port + port->at), key);
}

static bool inner_side_key(
	const struct conf_ctx *ctx, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	const struct conf_lease_port *port = port_at(ctx, idx / 2);
	const struct conf_lease *l = &ctx->conf->leases[port->lease_idx];

	return l->inner_port != 0 && proto_key(l, idx % 2, inner_addr(ctx->conf, l),
					     (uint16_t)(l->inner_port + port->at), key);
}

/* Of two leases for TCP and UDP only the TCP half is reported, and of ranges one port. */
static bool is_told(const struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf_lease_port *port = port_at(ctx, idx / 2);
	const struct conf_lease_port *first = port_at(ctx, first_idx / 2);
	const struct conf_lease *leases = ctx->conf->leases;

	return is_later_port(port, first) ||
	       (idx % 2 == 1 &&
		       (leases[port->lease_idx].protos & leases[first->lease_idx].protos & 1) != 0);
}

static void own_side_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf_lease_port *port = port_at(ctx, idx / 2);
	const struct conf_lease_port *first = port_at(ctx, first_idx / 2);
	char path[CONF_KEY_PATH_CHARS], first_path[CONF_KEY_PATH_CHARS];

	if (is_told(ctx, idx, first_idx))
		return;
	conf_fault(ctx, ctx->lease_settings[port->lease_idx],
		"%s.public_port = %u is the public port of %s too; each lease of a protocol takes "
		"a port of its own",
		lease_path(ctx, port->lease_idx, path),
		ctx->conf->leases[port->lease_idx].public_port + port->at,
		lease_path(ctx, first->lease_idx, first_path));
}

static void inner_side_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf_lease_port *port = port_at(ctx, idx / 2);
	const struct conf_lease_port *first = port_at(ctx, first_idx / 2);
	char path[CONF_KEY_PATH_CHARS], first_path[CONF_KEY_PATH_CHARS];

	if (is_told(ctx, idx, first_idx))
		return;
	conf_fault(ctx, ctx->lease_settings[port->lease_idx],
		"%s.to_port = %u is the target of %s too; a port of a peer takes one lease for "
		"each protocol",
		lease_path(ctx, port->lease_idx, path),
		ctx->conf->leases[port->lease_idx].inner_port + port->at,
		lease_path(ctx, first->lease_idx, first_path));
}

static bool own_number_key(
	const struct conf_ctx *ctx, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	static const struct ip_addr none;
	const struct conf_lease_port *port = port_at(ctx, idx);
	const struct conf_lease *l = &ctx->conf->leases[port->lease_idx];

	return !is_pinhole(ctx->conf, l) && l->public_port != 0 &&
	       peer_port_key(l, &none, (uint16_t)(l->public_port + port->at), key);
}

static bool inner_number_key(
	const struct conf_ctx *ctx, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES])
{
	const struct conf_lease_port *port = port_at(ctx, idx);
	const struct conf_lease *l = &ctx->conf->leases[port->lease_idx];

	return l->inner_port != 0 && peer_port_key(l, inner_addr(ctx->conf, l),
					     (uint16_t)(l->inner_port + port->at), key);
}

/* Of two that have no protocol in common (the others are told by protocol): only as the two halves
 * of one number, which leads one way, do they share a port. */
static bool is_number_shared(const struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf_lease_port *port = port_at(ctx, idx), *first = port_at(ctx, first_idx);
	const struct conf_lease *a = &ctx->conf->leases[port->lease_idx];
	const struct conf_lease *b = &ctx->conf->leases[first->lease_idx];

	/* Pinholes meet inside only, and say their public port or not. */
	if ((a->protos & b->protos) != 0 || is_later_port(port, first) || is_pinhole(ctx->conf, a))
		return false;
	return ports_of(a) != ports_of(b) || a->public_port != b->public_port ||
	       a->inner_port != b->inner_port ||
	       !ip_equal(inner_addr(ctx->conf, a), inner_addr(ctx->conf, b));
}

/* What would be accepted. */
static const char *sharing(const struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf_lease *leases = ctx->conf->leases;

	if (ports_of(&leases[port_at(ctx, idx)->lease_idx]) > 1 ||
		ports_of(&leases[port_at(ctx, first_idx)->lease_idx]) > 1)
		return "a range shares its ports with the same range of the other protocol only";
	return "for TCP and UDP a public port leads to one port, and that one has no other";
}

static void own_number_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf_lease_port *port = port_at(ctx, idx), *first = port_at(ctx, first_idx);
	char path[CONF_KEY_PATH_CHARS], first_path[CONF_KEY_PATH_CHARS];

	if (!is_number_shared(ctx, idx, first_idx))
		return;
	conf_fault(ctx, ctx->lease_settings[port->lease_idx],
		"%s.public_port = %u is a public port of %s too; %s",
		lease_path(ctx, port->lease_idx, path),
		ctx->conf->leases[port->lease_idx].public_port + port->at,
		lease_path(ctx, first->lease_idx, first_path), sharing(ctx, idx, first_idx));
}

static void inner_number_fault(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx)
{
	const struct conf_lease_port *port = port_at(ctx, idx), *first = port_at(ctx, first_idx);
	char path[CONF_KEY_PATH_CHARS], first_path[CONF_KEY_PATH_CHARS];

	if (!is_number_shared(ctx, idx, first_idx))
		return;
	conf_fault(ctx, ctx->lease_settings[port->lease_idx],
		"%s.to_port = %u is a target of %s too; %s", lease_path(ctx, port->lease_idx, path),
		ctx->conf->leases[port->lease_idx].inner_port + port->at,
		lease_path(ctx, first->lease_idx, first_path), sharing(ctx, idx, first_idx));
}

static void find_ports_taken_twice(struct conf_ctx *ctx, uint32_t n_ports)
{
	const struct conf *c = ctx->conf;

	ctx->lease_ports = calloc(n_ports + 1, sizeof(*ctx->lease_ports));
	if (!ctx->lease_ports) {
		ctx->error = -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < c->n_leases; i++)
		for (uint16_t at = 0; at == 0 || at < c->leases[i].n_ports; at++)
			ctx->lease_ports[ctx->n_lease_ports++] =
				(struct conf_lease_port){.lease_idx = i, .at = at};
	conf_find_twins(ctx, ctx->n_lease_ports, public_side_key, public_side_fault);
	conf_find_twins(ctx, 2 * ctx->n_lease_ports, own_side_key, own_side_fault);
	conf_find_twins(ctx, 2 * ctx->n_lease_ports, inner_side_key, inner_side_fault);
	conf_find_twins(ctx, ctx->n_lease_ports, own_number_key, own_number_fault);
	conf_find_twins(ctx, ctx->n_lease_ports, inner_number_key, inner_number_fault);
}

/* --- each lease by itself --------------------------------------------------------------------- */

/* nat.pool has no leases. */
static bool is_lease_addr(const struct conf *c, const struct ip_addr *a)
{
	const char *key;
	const struct ip_prefix *p = conf_pool_find(c, a, &key);

	return p >= c->pool && p < c->pool + c->n_pool;
}

static void check_pinhole(struct conf_ctx *ctx, uint32_t idx)
{
	const struct conf *c = ctx->conf;
	const struct conf_lease *l = &c->leases[idx];
	const config_setting_t *at = ctx->lease_settings[idx];
	char path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS];

	if (!ip_is_none(&l->public_addr) && !ip_equal(&l->public_addr, inner_addr(c, l)))
		conf_fault(ctx, at,
			"%s.public_address = \"%s\" is not where the lease leads to, and IPv6 is "
			"not translated; it takes none",
			lease_path(ctx, idx, path), ip_addr_format(&l->public_addr, text));
	if (l->public_port != 0 && l->public_port != l->inner_port)
		conf_fault(ctx, at,
			"%s.public_port = %u is not the port that the lease leads to, and IPv6 is "
			"not translated; it takes none",
			lease_path(ctx, idx, path), l->public_port);
	if (l->inner_port != 0 && conf_is_denied(c, l->inner_port))
		conf_fault(ctx, at,
			"%s.to_port = %u is in leases.deny; it takes a port that is not",
			lease_path(ctx, idx, path), l->inner_port);
	if (l->n_ports > 1)
		conf_fault(ctx, at,
			"%s.ports = %u is not for a pinhole, which IPv6 has; it takes one port",
			lease_path(ctx, idx, path), l->n_ports);
}

/* Ranges are cut as blocks are. */
static void check_range(struct conf_ctx *ctx, uint32_t idx)
{
	const struct conf_lease *l = &ctx->conf->leases[idx];
	const config_setting_t *at = ctx->lease_settings[idx];
	char path[CONF_KEY_PATH_CHARS];

	if (l->n_ports <= 1)
		return;
	lease_path(ctx, idx, path);
	if ((l->n_ports & (l->n_ports - 1)) != 0)
		conf_fault(ctx, at,
			"%s.ports = %u is not a power of two; it takes 1, 2, 4 and so on to 1024",
			path, l->n_ports);
	else if (l->public_port % l->n_ports != 0)
		conf_fault(ctx, at,
			"%s.public_port = %u is no multiple of ports = %u; it takes one, as %u",
			path, l->public_port, l->n_ports, l->public_port / l->n_ports * l->n_ports);
	if (l->inner_port > UINT16_MAX + 1 - l->n_ports)
		conf_fault(ctx, at,
			"%s.to_port = %u leaves no room for ports = %u; it takes %u at most", path,
			l->inner_port, l->n_ports, UINT16_MAX + 1 - l->n_ports);
}

static bool is_any_denied(const struct conf *c, const struct conf_lease *l)
{
	for (uint32_t at = 0; at == 0 || at < l->n_ports; at++)
		if (conf_is_denied(c, (uint16_t)(l->public_port + at)))
			return true;
	return false;
}

static void check_number(struct conf_ctx *ctx, uint32_t idx)
{
	const struct conf *c = ctx->conf;
	const struct conf_lease *l = &c->leases[idx];
	const config_setting_t *at = ctx->lease_settings[idx];
	char path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS];
	uint32_t last = l->public_port + (l->n_ports > 1 ? l->n_ports - 1u : 0);

	if (!config_setting_get_member(at, "public_port"))
		conf_fault(ctx, at, "%s.public_port is missing; it takes one of leases.ports",
			lease_path(ctx, idx, path));
	if (c->lease_port_first > 0 && l->public_port != 0 &&
		(l->public_port < c->lease_port_first || last > c->lease_port_last))
		conf_fault(ctx, at,
			"%s.public_port = %u%s is outside leases.ports = \"%u-%u\"; it takes a "
			"port of that range",
			lease_path(ctx, idx, path), l->public_port,
			last != l->public_port ? ", with all its ports," : "", c->lease_port_first,
			c->lease_port_last);
	else if (is_any_denied(c, l))
		conf_fault(ctx, at,
			"%s.public_port = %u%s is in leases.deny; it takes a port that is not",
			lease_path(ctx, idx, path), l->public_port,
			last != l->public_port ? ", or one of its ports," : "");
	check_range(ctx, idx);
	if (!ip_is_none(&l->public_addr) && c->n_pool > 0 && !is_lease_addr(c, &l->public_addr))
		conf_fault(ctx, at,
			"%s.public_address = \"%s\" is not in public.pool; it takes an address of "
			"the pool",
			lease_path(ctx, idx, path), ip_addr_format(&l->public_addr, text));
}

static bool is_peers(const struct conf_peer *p, const struct ip_addr *a)
{
	return ip_equal(a, &p->address4) || ip_equal(a, &p->address6) ||
	       ip_prefixes_contain(p->routes, p->n_routes, a);
}

static void check_lease(struct conf_ctx *ctx, uint32_t idx)
{
	const struct conf *c = ctx->conf;
	const struct conf_lease *l = &c->leases[idx];
	const struct conf_peer *peer = &c->peers[l->peer_idx];
	char path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS];
	bool has_addr = !ip_is_none(&peer->address4) || !ip_is_none(&peer->address6);

	if (is_pinhole(c, l))
		check_pinhole(ctx, idx);
	else
		check_number(ctx, idx);
	if (has_addr && !ip_is_none(&l->inner_addr) && !is_peers(peer, &l->inner_addr))
		conf_fault(ctx, ctx->lease_settings[idx],
			"%s.to_address = \"%s\" is not its peer's; it takes an address of "
			"peers[%u].address, or one that its routes contain",
			lease_path(ctx, idx, path), ip_addr_format(&l->inner_addr, text),
			l->peer_idx);
}

/* The key is there with another type: that is its fault, and its value says nothing. */
static bool is_refused(const struct conf_ctx *ctx, uint32_t idx, const char *key, int type)
{
	const config_setting_t *s = conf_at_peer(ctx, idx, key);

	return s && config_setting_name(s) && config_setting_type(s) != type;
}

/* Leases of one peer are neighbours: they are read together. */
static uint32_t check_peer_leases(struct conf_ctx *ctx, uint32_t first)
{
	const struct conf *c = ctx->conf;
	uint32_t peer_idx = c->leases[first].peer_idx, end = first;
	const struct conf_peer *peer = &c->peers[peer_idx];
	const struct ip_addr *addr = NULL;
	char path[CONF_KEY_PATH_CHARS], text[IP_TEXT_CHARS], other[IP_TEXT_CHARS];
	uint32_t n_ports = 0;

	for (; end < c->n_leases && c->leases[end].peer_idx == peer_idx; end++) {
		const struct conf_lease *l = &c->leases[end];

		check_lease(ctx, end);
		n_ports += ports_of(l);
		if (ip_is_none(&l->public_addr) || is_pinhole(c, l))
			continue;
		if (addr && !ip_equal(addr, &l->public_addr))
			conf_fault(ctx, ctx->lease_settings[end],
				"%s.public_address = \"%s\" differs from %s of the peer's other "
				"leases; all leases of a peer take one public address",
				lease_path(ctx, end, path), ip_addr_format(&l->public_addr, text),
				ip_addr_format(addr, other));
		if (!addr)
			addr = &l->public_addr;
	}
	if (!peer->forwarding && !is_refused(ctx, peer_idx, "forwarding", CONFIG_TYPE_BOOL))
		conf_fault(ctx, conf_at_peer(ctx, peer_idx, "leases"),
			"peers[%u].leases is not empty, but forwarding is off for this peer; it "
			"takes forwarding = true",
			peer_idx);
	if (n_ports > peer->max_leases)
		conf_fault(ctx, conf_at_peer(ctx, peer_idx, "leases"),
			"peers[%u].leases has %u %s, which is more than its max_leases = %u; "
			"raise it or leases.max_per_peer",
			peer_idx, n_ports,
			n_ports > end - first ? "ports"
			: n_ports == 1	      ? "entry"
					      : "entries",
			peer->max_leases);
	return end;
}

void conf_check_leases(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;
	uint64_t n_ports = 0;

	for (uint32_t i = 0; i < c->n_leases;)
		i = check_peer_leases(ctx, i);
	for (uint32_t i = 0; i < c->n_leases; i++)
		n_ports += ports_of(&c->leases[i]);
	if (c->max_leases > 0 && n_ports > c->max_leases)
		conf_fault(ctx, conf_at(ctx, "peers"),
			"peers have %llu %s between them, which is more than leases.max = %u; "
			"raise it",
			(unsigned long long)n_ports,
			n_ports > c->n_leases ? "ports of leases" : "leases", c->max_leases);
	if (n_ports <= PORTS_COMPARED_MAX)
		find_ports_taken_twice(ctx, (uint32_t)n_ports);
}
