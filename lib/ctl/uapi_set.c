/* What the WireGuard tools may change, by the rules of every other change.
 *
 * A request is looked at as a whole first: what can not be, or can not be while the gateway runs,
 * changes nothing. Then its peers are taken in order; the first that a rule forbids ends it, and
 * what came before stays, as with the kernel's WireGuard. */
#include "ctl/server.h"

#include "base/log.h"
#include "crypto/crypto.h"
#include "uapi/uapi.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- the request as a whole
 * ----------------------------------------------------------------------*/

/* The gateway's key and port are what its configuration says until it ends; it has no marks. */
static int check_device(const struct conf *conf, const struct uapi_request *r)
{
	if ((r->sets_private_key &&
		    !crypto_equal(r->private_key, conf->private_key, CRYPTO_KEY_BYTES)) ||
		(r->sets_listen_port && r->listen_port != conf->listen_port) ||
		(r->sets_fwmark && r->fwmark != 0))
		return -EOPNOTSUPP;
	return 0;
}

static bool is_own_key(const struct conf *conf, const uint8_t key[static CRYPTO_KEY_BYTES])
{
	struct crypto_x25519_key *own = crypto_x25519_key_create(conf->private_key);
	uint8_t public_key[CRYPTO_KEY_BYTES] = {0};

	if (own != NULL)
		crypto_x25519_key_public(own, public_key);
	crypto_x25519_key_destroy(own);
	return memcmp(public_key, key, sizeof(public_key)) == 0;
}

#define ALLOWED_WORDS \
	"one IPv4 address, one IPv6 address, up to 4 IPv6 prefixes of 48 bits and more"

static bool has_route(const struct peer_conf *conf, const struct ip_prefix *prefix)
{
	for (unsigned i = 0; i < conf->n_routes; i++)
		if (ip_prefix_equal(&conf->routes[i], prefix))
			return true;
	return false;
}

static int take_route(const struct ip_prefix *prefix, struct peer_conf *conf)
{
	if (has_route(conf, prefix))
		return 0;
	if (conf->n_routes == PEER_ROUTES_MAX || !ctl_route_is_sound(prefix))
		return -EINVAL;
	conf->routes[conf->n_routes++] = *prefix;
	return 0;
}

static int take_address(struct ip_addr *address, const struct ip_prefix *prefix)
{
	if (prefix->len_bits != 128 || (!ip_is_none(address) && !ip_equal(address, &prefix->addr)))
		return -EINVAL;
	*address = prefix->addr;
	return 0;
}

/* A peer has one inner address of each family, and IPv6 prefixes. The first IPv6 address by itself
 * is its address, unless it is one that has none, and had this as a prefix. was: NULL, it is new.
 */
static int take_allowed_ips(
	const struct uapi_peer *peer, const struct peer_conf *was, struct peer_conf *conf)
{
	int err = 0;

	static_assert(UAPI_ALLOWED_IPS_MAX == 2 + PEER_ROUTES_MAX, "all fit into a request");
	for (unsigned i = 0; i < peer->n_allowed_ips && err == 0; i++) {
		const struct ip_prefix *prefix = &peer->allowed_ips[i];

		if (ip_is_v4(&prefix->addr))
			err = take_address(&conf->address4, prefix);
		else if (prefix->len_bits == 128 &&
			 (ip_is_none(&conf->address6) ||
				 ip_equal(&conf->address6, &prefix->addr)) &&
			 !(was != NULL && ip_is_none(&was->address6) && has_route(was, prefix)))
			err = take_address(&conf->address6, prefix);
		else
			err = take_route(prefix, conf);
	}
	return err;
}

static int check_request(const struct conf *conf, const struct uapi_request *r)
{
	int err = check_device(conf, r);

	for (uint32_t i = 0; i < r->n_peers && err == 0; i++) {
		struct peer_conf scratch = {0};

		err = take_allowed_ips(&r->peers[i], NULL, &scratch);
	}
	return err;
}

/* --- replace_peers
 * -------------------------------------------------------------------------------*/

static int compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, CRYPTO_KEY_BYTES);
}

/* Peers that the request does not name go. Those that it names keep what these tools have no word
 * for: their name, whether they may have leases, and the leases. */
static int delete_unnamed(struct ctl *c, const struct uapi_request *r, struct rpc_fault *fault)
{
	uint8_t(*keys)[CRYPTO_KEY_BYTES] = calloc(r->n_peers + 1, sizeof(keys[0]));
	uint32_t cursor = 0, peer_idx;
	unsigned n_closed;
	int err = 0;

	if (keys == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->n_peers; i++)
		memcpy(keys[i], r->peers[i].public_key, sizeof(keys[i]));
	qsort(keys, r->n_peers, sizeof(keys[0]), compare_keys);
	while (err == 0 && (peer_idx = peer_next(c->p.peers, &cursor)) != PEER_NONE) {
		const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);

		if (bsearch(conf->public_key, keys, r->n_peers, sizeof(keys[0]), compare_keys) ==
			NULL)
			err = ctl_peer_del(c, peer_idx, &n_closed, fault);
	}
	free(keys);
	return err;
}

/* --- one peer
 * ------------------------------------------------------------------------------------*/

/* What the request says of the peer, on top of what is known of it. */
static int take_conf(
	const struct uapi_request *r, const struct uapi_peer *peer, struct peer_conf *conf)
{
	struct peer_conf was = *conf; /* wiped */
	int err;

	if (r->replaces_peers || peer->replaces_allowed_ips) {
		conf->address4 = conf->address6 = (struct ip_addr){0};
		memset(conf->routes, 0, sizeof(conf->routes));
		conf->n_routes = 0;
	}
	if (r->replaces_peers) {
		memset(conf->preshared_key, 0, sizeof(conf->preshared_key));
		conf->endpoint = (struct ip_endpoint){0};
		conf->persistent_keepalive_s = 0;
	}
	if (peer->sets_preshared_key)
		memcpy(conf->preshared_key, peer->preshared_key, sizeof(conf->preshared_key));
	if (peer->sets_endpoint)
		conf->endpoint = peer->endpoint;
	if (peer->sets_keepalive)
		conf->persistent_keepalive_s = peer->persistent_keepalive_s;
	err = take_allowed_ips(peer, &was, conf);
	crypto_wipe(&was, sizeof(was));
	return err;
}

/* A peer that was heard elsewhere since goes back to the endpoint that it had before, when that is
 * said again. */
static int forget_endpoint(
	struct ctl *c, uint32_t peer_idx, const struct peer_conf *conf, struct rpc_fault *fault)
{
	struct peer_conf without = *conf; /* wiped */
	struct peer_status status;
	unsigned n_closed;
	int err = 0;

	peer_status_get(c->p.peers, peer_idx, &status);
	without.endpoint = (struct ip_endpoint){0};
	if (!ip_endpoint_equal(&status.endpoint, &conf->endpoint))
		err = ctl_peer_set(c, peer_idx, &without, &n_closed, fault);
	crypto_wipe(&without, sizeof(without));
	return err;
}

static int change_peer(struct ctl *c, uint32_t peer_idx, const struct uapi_peer *peer,
	const struct peer_conf *conf, struct rpc_fault *fault)
{
	const struct peer_conf *old = peer_conf_get(c->p.peers, peer_idx);
	bool is_same = memcmp(old, conf, sizeof(*old)) == 0;
	unsigned n_closed;
	int err = 0;

	if (peer->sets_endpoint && ip_endpoint_equal(&old->endpoint, &conf->endpoint)) {
		err = forget_endpoint(c, peer_idx, conf, fault);
		is_same = false;
	}
	return err != 0 || is_same ? err : ctl_peer_set(c, peer_idx, conf, &n_closed, fault);
}

static int set_peer(struct ctl *c, const struct uapi_request *r, const struct uapi_peer *peer,
	struct rpc_fault *fault)
{
	uint32_t peer_idx = peer_find_key(c->p.peers, peer->public_key);
	struct peer_conf conf = ctl_peer_conf_default(c->p.conf); /* wiped */
	unsigned n_closed;
	int err;

	if (peer->removes)
		return peer_idx == PEER_NONE ? 0 : ctl_peer_del(c, peer_idx, &n_closed, fault);
	if (peer_idx == PEER_NONE && peer->updates_only)
		return 0;
	if (peer_idx == PEER_NONE)
		memcpy(conf.public_key, peer->public_key, sizeof(conf.public_key));
	else
		conf = *peer_conf_get(c->p.peers, peer_idx);
	err = take_conf(r, peer, &conf);
	if (err != 0)
		rpc_fault_set(fault, RPC_INVALID_PARAMS, NULL, NULL,
			"allowed IPs of a peer are " ALLOWED_WORDS);
	else if (peer_idx != PEER_NONE)
		err = change_peer(c, peer_idx, peer, &conf, fault);
	else if (is_own_key(c->p.conf, peer->public_key))
		err = rpc_fault_set(fault, RPC_INVALID_PARAMS, NULL, NULL,
			"the public key is the gateway's own");
	else
		err = ctl_peer_add(c, &conf, &peer_idx, fault);
	crypto_wipe(&conf, sizeof(conf));
	return err;
}

/* --- the whole
 * ------------------------------------------------------------------------------------*/

static int errno_of(const struct rpc_fault *fault)
{
	switch (fault->code) {
	case RPC_NOT_FOUND:
		return -ENOENT;
	case RPC_IN_USE:
		return -EADDRINUSE;
	case RPC_EXHAUSTED:
		return -ENOSPC;
	case RPC_TRY_AGAIN:
		return -EAGAIN;
	case RPC_INTERNAL_ERROR:
		return -ENOMEM;
	case RPC_REFUSED:
		return -EADDRNOTAVAIL;
	default:
		return -EINVAL;
	}
}

int ctl_uapi_set(struct ctl *c, const struct ctl_role *role, const struct uapi_request *r)
{
	struct rpc_fault fault = {.code = RPC_INTERNAL_ERROR};
	int err = r->err;

	if (!role->may_write)
		return -EPERM;
	if (err == 0)
		err = check_request(c->p.conf, r);
	if (err != 0)
		return err;
	ctl_peers_poll(c);
	if (r->replaces_peers)
		err = delete_unnamed(c, r, &fault);
	for (uint32_t i = 0; i < r->n_peers && err == 0; i++)
		err = set_peer(c, r, &r->peers[i], &fault);
	if (err == 0)
		return 0;
	/* wg(8) shows a number; the sentence is worth more. */
	log_warn("control: a request of the WireGuard tools is refused: %s", fault.sentence);
	return errno_of(&fault);
}
