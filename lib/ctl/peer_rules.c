/* What may be said of a peer, and the one way of saying it. */
#include "ctl/portmap.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

char *ctl_peer_word(const struct ctl *c, uint32_t peer_idx, char buf[static CTL_PEER_WORD_CHARS])
{
	const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);

	static_assert(CTL_PEER_WORD_CHARS >= CRYPTO_KEY_TEXT_CHARS &&
			      CTL_PEER_WORD_CHARS >= PEER_NAME_CHARS,
		"either fits");
	if (conf == NULL)
		snprintf(buf, CTL_PEER_WORD_CHARS, "?");
	else if (conf->name[0] != '\0')
		memcpy(buf, conf->name, sizeof(conf->name));
	else
		crypto_key_format(conf->public_key, buf);
	return buf;
}

int ctl_peer_find(struct ctl *c, const char *who, uint32_t *out_idx, struct rpc_fault *fault)
{
	uint32_t peer_idx = peer_find(c->p.peers, who);
	char word[RPC_EXCERPT_CHARS + 8];

	if (peer_idx == PEER_NONE)
		return rpc_fault_set(fault, RPC_NOT_FOUND, who, "the name or public key of a peer",
			"there is no peer \"%s\"; accepted: the name or public key of one "
			"(portierctl "
			"peer list)",
			strlen(who) < sizeof(word) ? who : rpc_excerpt(who, word));
	*out_idx = peer_idx;
	return 0;
}

/* As the configuration has it. */
static bool is_name(const char *name)
{
	static const char chars[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-";

	return name[strspn(name, chars)] == '\0';
}

/* Whose address is that already, if it is the gateway's own business? NULL: nobody's. */
static const char *gateway_use(const struct ctl *c, const struct ip_addr *a)
{
	const struct conf *conf = c->p.conf;

	for (unsigned i = 0; i < conf->n_inner_addrs; i++) {
		if (ip_equal(a, &conf->inner_addrs[i]))
			return "the gateway's own inside the tunnel";
	}
	if (ip_prefixes_contain(conf->pool, conf->n_pool, a))
		return "in the public pool";
	if (ip_prefixes_contain(conf->nat_pool, conf->n_nat_pool, a))
		return "in the pool of ordinary traffic";
	if (ip_prefixes_contain(conf->dedicated, conf->n_dedicated, a))
		return "a dedicated address";
	for (unsigned i = 0; i < conf->n_ports; i++) {
		for (unsigned j = 0; j < conf->ports[i].n_ifaddrs; j++) {
			if (ip_equal(a, &conf->ports[i].ifaddrs[j].addr))
				return "the gateway's own on a port";
		}
	}
	return NULL;
}

static int check_address(
	struct ctl *c, const struct ip_addr *a, const char *field, struct rpc_fault *fault)
{
	const char *accepts = "a host address that only this peer has, inside the tunnel", *use;
	char text[IP_TEXT_CHARS];

	if (ip_is_none(a))
		return 0;
	ip_addr_format(a, text);
	if (ip_is_v4(a) != (strcmp(field, "address4") == 0))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, field,
			"IPv4 as address4, IPv6 as address6", "%s %s is of the other family", field,
			text);
	use = ip_is_martian(a) ? "no host's" : gateway_use(c, a);
	if (use == NULL && ip_is_gateway_guess(a))
		use = "where clients of NAT-PMP guess the gateway to be";
	if (use == NULL)
		return 0;
	return rpc_fault_set(fault, RPC_REFUSED, text, accepts, "%s %s is %s; accepted: %s", field,
		text, use, accepts);
}

/* A peer behind an address of ours would be sent its packets round and round. */
static int check_endpoint(struct ctl *c, const struct ip_endpoint *e, struct rpc_fault *fault)
{
	const char *use = e->port == 0 ? NULL : gateway_use(c, &e->addr);
	char text[IP_TEXT_CHARS];

	if (use == NULL)
		return 0;
	ip_endpoint_format(e, text);
	return rpc_fault_set(fault, RPC_REFUSED, text, "the peer's own address and UDP port",
		"endpoint %s is %s; accepted: the peer's own address and UDP port", text, use);
}

static int check_conf(struct ctl *c, const struct peer_conf *conf, struct rpc_fault *fault)
{
	static const uint8_t zero[CRYPTO_KEY_BYTES];

	if (!is_name(conf->name))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, conf->name,
			"letters, digits and any of . _ @ -",
			"name \"%s\" is not accepted; accepted: up to %d letters, digits and any "
			"of . _ @ -",
			conf->name, PEER_NAME_CHARS - 1);
	if (memcmp(conf->public_key, zero, sizeof(zero)) == 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "public_key",
			"a WireGuard public key",
			"public_key is all zero; accepted: what wg pubkey prints");
	if (ip_is_none(&conf->address4) && ip_is_none(&conf->address6))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "address4",
			"address4, address6 or both",
			"the peer would have no inner address; accepted: address4, address6 or "
			"both");
	if (check_address(c, &conf->address4, "address4", fault) != 0 ||
		check_endpoint(c, &conf->endpoint, fault) != 0)
		return -EINVAL;
	return check_address(c, &conf->address6, "address6", fault);
}

static int refuse(struct ctl *c, const struct peer_conf *conf, int err, const char *culprit,
	struct rpc_fault *fault)
{
	char key[CRYPTO_KEY_TEXT_CHARS];
	const char *who =
		conf->name[0] != '\0' ? conf->name : crypto_key_format(conf->public_key, key);

	switch (err) {
	case -EEXIST:
		return rpc_fault_set(fault, RPC_IN_USE, culprit, "what no other peer has",
			"peer %s: its %s is another peer's; accepted is one that no other peer has",
			who, culprit);
	case -ENOSPC:
		if (strcmp(culprit, "route") == 0)
			return rpc_fault_set(fault, RPC_EXHAUSTED, "tunnel.max_peers", NULL,
				"peer %s: the table of routes, which has room for tunnel.max_peers "
				"= %u, is full",
				who, c->p.conf->max_peers);
		return rpc_fault_set(fault, RPC_EXHAUSTED, "tunnel.max_peers", NULL,
			"peer %s: there are %u peers, and tunnel.max_peers is %u", who,
			peers_count(c->p.peers), c->p.conf->max_peers);
	case -EAGAIN:
		return rpc_fault_set(fault, RPC_TRY_AGAIN, who, NULL,
			"peer %s: the handshake thread is behind; try again", who);
	case -ENOENT:
		return rpc_fault_set(fault, RPC_NOT_FOUND, who, NULL, "peer %s is gone", who);
	default:
		return rpc_fault_set(
			fault, RPC_INTERNAL_ERROR, who, NULL, "peer %s: %s", who, strerror(-err));
	}
}

struct peer_conf ctl_peer_conf_default(const struct conf *conf)
{
	return (struct peer_conf){
		.max_leases = conf->max_leases_per_peer,
		.limits =
			{
				.filter = (enum flow_filter)conf->nat_filter,
				.max_sessions = conf->nat_sessions_per_peer,
				.max_blocks = conf->nat_max_blocks,
				.new_per_s = conf->nat_new_per_s,
				.burst = 2 * conf->nat_new_per_s,
			},
	};
}

/* Who may map ports is where its leases will be from the start: else its first mapping would take
 * its ordinary traffic, and what NAT-PMP had told of its address, to another one. */
static uint32_t paired_address(const struct ctl *c, const struct peer_conf *conf)
{
	if (ip_is_none(&conf->address4))
		return 0;
	return pairing_address(conf->portmap ? &c->lease_pairing : &c->pairing, conf->public_key);
}

void ctl_peer_public_update(struct ctl *c, uint32_t peer_idx)
{
	const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);
	struct ip_addr addr = lease_peer_address(c->p.leases, peer_idx);
	uint32_t public_v4, before_v4;

	if (conf == NULL)
		return;
	public_v4 = ip_is_none(&addr) ? paired_address(c, conf) : load_be32(ip_v4_bytes(&addr));
	before_v4 = peer_public(c->p.peers, peer_idx);
	ctl_pool_peer_moved(c, before_v4, public_v4);
	peer_public_set(c->p.peers, peer_idx, public_v4);
	if (before_v4 != 0 && before_v4 != public_v4 && !c->is_loading &&
		!c->portmap.answer_has_address)
		ctl_announce_to(c, peer_idx);
}

uint32_t ctl_peer_public(const struct ctl *c, uint32_t peer_idx)
{
	return peer_public(c->p.peers, peer_idx);
}

int ctl_peer_add(
	struct ctl *c, const struct peer_conf *conf, uint32_t *out_idx, struct rpc_fault *fault)
{
	const char *culprit = "address";
	int err;

	if (check_conf(c, conf, fault) != 0 || ctl_routes_check(c, PEER_NONE, conf, fault) != 0 ||
		ctl_store_check(c, fault) != 0)
		return -EINVAL;
	err = peer_add(c->p.peers, conf, out_idx, &culprit);
	if (err != 0)
		return refuse(c, conf, err, culprit, fault);
	ctl_peer_public_update(c, *out_idx);
	ctl_announce_forget(c, *out_idx);
	/* It may have been there before the start. */
	if (c->has_lost)
		ctl_announce_to(c, *out_idx);
	ctl_events_forget_peer(c, *out_idx);
	ctl_store_peer(c, *out_idx, NULL);
	ctl_event_peer(c, "peer.added", *out_idx);
	return 0;
}

unsigned ctl_peer_leases_close(
	struct ctl *c, uint32_t peer_idx, const struct peer_conf *now, const char *reason)
{
	const struct lease *lease;
	uint64_t cursor = 0;
	unsigned n = 0;

	while ((lease = lease_next(c->p.leases, peer_idx, &cursor)) != NULL) {
		struct rpc_fault ignored;

		if (now != NULL && now->forwarding && peer_conf_has(now, &lease->inner_addr))
			continue;
		n += ctl_lease_end(c, lease->id, reason, NULL, NULL, &ignored) == 0;
	}
	return n;
}

/* The leases end in the same turn of the control thread, after the peer has changed: so a refusal
 * leaves them open, and nobody else can be given the address in between. */
int ctl_peer_set(struct ctl *c, uint32_t peer_idx, const struct peer_conf *conf, unsigned *n_closed,
	struct rpc_fault *fault)
{
	const char *culprit = "address";
	struct peer_conf before; /* wiped */
	bool was_allowed = ctl_portmap_is_allowed(c, peer_idx);
	int err;

	if (peer_conf_get(c->p.peers, peer_idx) == NULL)
		return refuse(c, conf, -ENOENT, NULL, fault);
	if (check_conf(c, conf, fault) != 0 || ctl_routes_check(c, peer_idx, conf, fault) != 0 ||
		ctl_store_check(c, fault) != 0)
		return -EINVAL;
	before = *peer_conf_get(c->p.peers, peer_idx);
	err = peer_set(c->p.peers, peer_idx, conf, &culprit);
	if (err == 0) {
		ctl_store_peer(c, peer_idx, &before);
		*n_closed = ctl_peer_leases_close(c, peer_idx, conf, "peer changed");
		ctl_peer_public_update(c, peer_idx);
		/* Those who add a peer and then turn it on. */
		if (c->has_lost && !was_allowed)
			ctl_announce_to(c, peer_idx);
	} else {
		refuse(c, conf, err, culprit, fault);
	}
	crypto_wipe(&before, sizeof(before));
	return err == 0 ? 0 : -EINVAL;
}

int ctl_peer_del(struct ctl *c, uint32_t peer_idx, unsigned *n_closed, struct rpc_fault *fault)
{
	const struct peer_conf *old = peer_conf_get(c->p.peers, peer_idx);
	struct peer_conf copy;
	uint32_t public_v4;
	int err;

	if (old == NULL)
		return rpc_fault_set(fault, RPC_NOT_FOUND, "peer", NULL, "the peer is gone");
	copy = *old; /* wiped */
	*n_closed = ctl_peer_leases_close(c, peer_idx, NULL, "peer deleted");
	ctl_event_peer(c, "peer.deleted", peer_idx);
	ctl_block_records_leave(c, peer_idx);
	ctl_announce_forget(c, peer_idx);
	/* Nobody inherits its ports or its egress address with its number. */
	lease_peer_forget(c->p.leases, peer_idx, c->p.now_ns());
	public_v4 = peer_public(c->p.peers, peer_idx);
	err = peer_del(c->p.peers, peer_idx);
	if (err != 0) {
		refuse(c, &copy, err, NULL, fault);
	} else {
		ctl_pool_peer_moved(c, public_v4, 0);
		ctl_store_peer_gone(c, peer_idx, &copy);
	}
	crypto_wipe(&copy, sizeof(copy));
	return err == 0 ? 0 : -EINVAL;
}
