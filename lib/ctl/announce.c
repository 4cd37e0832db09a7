/* Clients are told, unasked, that what they hold may be no more: after a start that lost the leases
 * of the run before, and when the public address of a peer changes. Each peer that may map ports is
 * told once it is heard, a few times, for a datagram may be lost: where it asked last, by each
 * family, and by NAT-PMP too unless it is known to speak PCP only.
 *
 * Spec: RFC 6887, 8.5 (epoch) and 14.1.3; RFC 6886, 3.2.1; unicast, for a tunnel has one client.
 */
#include "ctl/portmap.h"

#include <errno.h>
#include <stdlib.h>

#define TIMES 3 /* now, a second later, and two more */
/* A second. Answers go by the same mailboxes, and have to have room there. */
#define LOOK_SLICE 8192u
#define TELL_SLICE 512u /* messages; one peer may exceed it */

enum { V4, V6, N_FAMILIES };

/* Nothing of a peer costs memory before it asks, or is to be told. */
struct ctl_announce {
	uint64_t next_ns;
	uint8_t left;
	bool has_asked_natpmp, has_asked_pcp;
	struct {
		struct ip_addr peer, gateway;
	} last[N_FAMILIES]; /* as it asked; none: it did not */
};

int ctl_announce_init(struct ctl *c)
{
	c->announces = calloc(c->p.conf->max_peers, sizeof(c->announces[0]));
	return c->announces == NULL ? -ENOMEM : 0;
}

void ctl_announce_fini(struct ctl *c)
{
	free(c->announces);
}

static void stop(struct ctl *c, uint32_t peer_idx)
{
	c->n_announcing -= c->announces[peer_idx].left > 0;
	c->announces[peer_idx].left = 0;
}

void ctl_announce_forget(struct ctl *c, uint32_t peer_idx)
{
	stop(c, peer_idx);
	c->announces[peer_idx] = (struct ctl_announce){0};
}

void ctl_announce_to(struct ctl *c, uint32_t peer_idx)
{
	stop(c, peer_idx);
	if (!ctl_portmap_is_allowed(c, peer_idx))
		return;
	c->announces[peer_idx].left = TIMES;
	c->announces[peer_idx].next_ns = 0;
	c->n_announcing++;
}

void ctl_announce_to_all(struct ctl *c)
{
	uint32_t cursor = 0, peer_idx;

	while ((peer_idx = peer_next(c->p.peers, &cursor)) != PEER_NONE)
		ctl_announce_to(c, peer_idx);
}

void ctl_announce_note(struct ctl *c, const struct ctl_portmap_route *from, bool is_pcp)
{
	struct ctl_announce *a = &c->announces[from->peer_idx];
	unsigned family = ip_is_v4(&from->peer.addr) ? V4 : V6;

	a->has_asked_pcp |= is_pcp;
	a->has_asked_natpmp |= !is_pcp && family == V4;
	a->last[family].peer = from->peer.addr;
	a->last[family].gateway = from->gateway.addr;
}

bool ctl_announce_has_natpmp(const struct ctl *c, uint32_t peer_idx)
{
	return c->announces[peer_idx].has_asked_natpmp || !c->announces[peer_idx].has_asked_pcp;
}

/* It has keys, in all likelihood: else the message would only wait for them, and be dropped. */
static bool is_live(const struct ctl *c, uint32_t peer_idx, uint64_t now_ns)
{
	struct peer_status status;

	peer_status_get(c->p.peers, peer_idx, &status);
	return status.home != PEER_HOME_NONE && status.last_received_ns != 0 &&
	       now_ns - status.last_received_ns < c->p.conf->reject_after_ns;
}

/* The gateway's first address of a family; NULL: it has none. */
static const struct ip_addr *first_inner(const struct conf *conf, unsigned family)
{
	for (unsigned i = 0; i < conf->n_inner_addrs; i++)
		if (ip_is_v4(&conf->inner_addrs[i]) == (family == V4))
			return &conf->inner_addrs[i];
	return NULL;
}

/* As an answer would go. False: nobody is there, by this family. */
static bool find_route(
	const struct ctl *c, uint32_t peer_idx, unsigned family, struct ctl_portmap_route *out)
{
	const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);
	const struct ctl_announce *a = &c->announces[peer_idx];
	const struct ip_addr *peer = family == V4 ? &conf->address4 : &conf->address6;
	const struct ip_addr *gateway = first_inner(c->p.conf, family);

	/* Its addresses may have changed since. */
	if (!ip_is_none(&a->last[family].peer) && peer_conf_has(conf, &a->last[family].peer)) {
		peer = &a->last[family].peer;
		gateway = &a->last[family].gateway;
	}
	if (ip_is_none(peer) || gateway == NULL)
		return false;
	*out = (struct ctl_portmap_route){.peer_idx = peer_idx,
		.peer = {*peer, PORTMAP_CLIENT_PORT},
		.gateway = {*gateway, PORTMAP_PORT}};
	return true;
}

static bool send_one(
	struct ctl *c, const struct ctl_portmap_route *to, const uint8_t *msg, size_t len)
{
	if (!c->p.portmap_reply(c->p.portmap_reply_arg, to, msg, len))
		return false;
	c->portmap.counters.announced++;
	return true;
}

/* How many messages; negative: there is no room now. */
static int tell_by(struct ctl *c, const struct ctl_portmap_route *to, bool by_natpmp)
{
	uint8_t msg[PORTMAP_MSG_BYTES];

	if (!send_one(c, to, msg, portmap_pcp_announce(ctl_portmap_epoch_s(c), msg)))
		return -EAGAIN;
	if (!by_natpmp)
		return 1;
	if (!send_one(c, to, msg, ctl_portmap_natpmp_announce(c, to->peer_idx, msg)))
		return -EAGAIN;
	return 2;
}

/* Likewise. What was sent before there was no room is sent again. */
static int tell(struct ctl *c, uint32_t peer_idx, uint64_t now_ns)
{
	struct ctl_announce *a = &c->announces[peer_idx];
	struct ctl_portmap_route to;
	int n = 0, n_by;

	if (!ctl_portmap_is_allowed(c, peer_idx)) {
		stop(c, peer_idx);
		return 0;
	}
	for (unsigned family = 0; family < N_FAMILIES; family++) {
		if (!find_route(c, peer_idx, family, &to))
			continue;
		n_by = tell_by(c, &to, family == V4 && ctl_announce_has_natpmp(c, peer_idx));
		if (n_by < 0)
			return n_by;
		n += n_by;
	}
	a->next_ns = now_ns + (uint64_t)(TIMES + 1 - a->left) * NS_IN_S;
	if (n == 0)
		ctl_promise_untold(c);
	if (n == 0 || a->left == 1)
		stop(c, peer_idx);
	else
		a->left--;
	return n;
}

void ctl_announce_sweep(struct ctl *c, uint64_t now_ns)
{
	unsigned n_told = 0;

	for (unsigned n = 0; c->n_announcing > 0 && n < LOOK_SLICE && n_told < TELL_SLICE; n++) {
		uint32_t at = c->announce_cursor;
		uint32_t peer_idx = peer_next(c->p.peers, &c->announce_cursor);
		int n_messages;

		if (peer_idx == PEER_NONE) {
			c->announce_cursor = 0;
			break;
		}
		if (c->announces[peer_idx].left == 0 || c->announces[peer_idx].next_ns > now_ns ||
			!is_live(c, peer_idx, now_ns))
			continue;
		n_messages = tell(c, peer_idx, now_ns);
		if (n_messages < 0) {
			c->announce_cursor = at; /* it is the first to be told next time */
			break;
		}
		n_told += (unsigned)n_messages;
	}
}
