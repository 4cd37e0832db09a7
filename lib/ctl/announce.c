/* PCP clients are told, unasked, that what they hold may be no more: after a start that lost the
 * leases of the run before, and when the public address of a peer changes. Each peer that may map
 * ports is told once it is heard, a few times, for a datagram may be lost.
 *
 * Spec: RFC 6887, 8.5 (epoch) and 14.1.3; unicast, for a tunnel has one client.
 */
#include "ctl/portmap.h"

#include <errno.h>
#include <stdlib.h>

#define TIMES 3 /* now, a second later, and two more */
/* A second. Answers go by the same mailboxes, and have to have room there. */
#define LOOK_SLICE 8192u
#define TELL_SLICE 512u

struct ctl_announce {
	uint64_t next_ns;
	uint8_t left;
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

void ctl_announce_forget(struct ctl *c, uint32_t peer_idx)
{
	c->n_announcing -= c->announces[peer_idx].left > 0;
	c->announces[peer_idx] = (struct ctl_announce){0};
}

void ctl_announce_to(struct ctl *c, uint32_t peer_idx)
{
	ctl_announce_forget(c, peer_idx);
	if (!ctl_portmap_is_allowed(c, peer_idx))
		return;
	c->announces[peer_idx].left = TIMES;
	c->n_announcing++;
}

void ctl_announce_to_all(struct ctl *c)
{
	uint32_t cursor = 0, peer_idx;

	while ((peer_idx = peer_next(c->p.peers, &cursor)) != PEER_NONE)
		ctl_announce_to(c, peer_idx);
}

/* It has keys, in all likelihood: else the message would only wait for them, and be dropped. */
static bool is_live(const struct ctl *c, uint32_t peer_idx, uint64_t now_ns)
{
	struct peer_status status;

	peer_status_get(c->p.peers, peer_idx, &status);
	return status.home != PEER_HOME_NONE && status.last_received_ns != 0 &&
	       now_ns - status.last_received_ns < c->p.conf->reject_after_ns;
}

/* From the gateway's first address of the peer's family, as an answer would come. */
static bool find_route(const struct ctl *c, uint32_t peer_idx, struct ctl_portmap_route *out)
{
	const struct conf *conf = c->p.conf;
	struct ip_addr peer = ctl_peer_inner(peer_conf_get(c->p.peers, peer_idx));

	for (unsigned i = 0; i < conf->n_inner_addrs; i++) {
		if (ip_is_v4(&conf->inner_addrs[i]) != ip_is_v4(&peer))
			continue;
		*out = (struct ctl_portmap_route){.peer_idx = peer_idx,
			.peer = {peer, PORTMAP_CLIENT_PORT},
			.gateway = {conf->inner_addrs[i], PORTMAP_PORT}};
		return true;
	}
	return false;
}

/* False: there is no room now. */
static bool tell(struct ctl *c, uint32_t peer_idx, uint64_t now_ns)
{
	struct ctl_announce *a = &c->announces[peer_idx];
	uint8_t msg[PORTMAP_MSG_BYTES];
	struct ctl_portmap_route to;
	size_t len;

	if (!ctl_portmap_is_allowed(c, peer_idx)) {
		ctl_announce_forget(c, peer_idx);
		return true;
	}
	if (!find_route(c, peer_idx, &to)) {
		ctl_promise_untold(c);
		ctl_announce_forget(c, peer_idx);
		return true;
	}
	len = portmap_pcp_announce(ctl_portmap_epoch_s(c), msg);
	if (!c->p.portmap_reply(c->p.portmap_reply_arg, &to, msg, len))
		return false;
	c->portmap.counters.announced++;
	a->next_ns = now_ns + (uint64_t)(TIMES + 1 - a->left) * NS_IN_S;
	if (--a->left == 0)
		ctl_announce_forget(c, peer_idx);
	return true;
}

void ctl_announce_sweep(struct ctl *c, uint64_t now_ns)
{
	unsigned n_told = 0;

	for (unsigned n = 0; c->n_announcing > 0 && n < LOOK_SLICE && n_told < TELL_SLICE; n++) {
		uint32_t at = c->announce_cursor;
		uint32_t peer_idx = peer_next(c->p.peers, &c->announce_cursor);

		if (peer_idx == PEER_NONE) {
			c->announce_cursor = 0;
			break;
		}
		if (c->announces[peer_idx].left == 0 || c->announces[peer_idx].next_ns > now_ns ||
			!is_live(c, peer_idx, now_ns))
			continue;
		if (!tell(c, peer_idx, now_ns)) {
			c->announce_cursor = at; /* it is the first to be told next time */
			break;
		}
		n_told++;
	}
}
