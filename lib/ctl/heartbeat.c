/* The heartbeat of peers that have leases: each hears from us at least every leases.heartbeat, so
 * that a NAT in front of it keeps its way open while nobody knocks, and keys are renewed before
 * they are too old. None for a peer that does not answer: it comes back by itself.
 *
 * A peer with a session has it as soon as a lease is opened; all others, and the end of it, are
 * seen to in slices, so that a gateway that starts does not call everybody at once, and leases that
 * come and go cost nothing. */
#include "ctl/server.h"

/* Peers looked at each second: 10,000 take about a millisecond. */
#define PEERS_SLICE 8192u

static uint64_t wanted_ns(const struct ctl *c, uint32_t peer_idx)
{
	return lease_count(c->p.leases, peer_idx) > 0 && peer_is_reachable(c->p.peers, peer_idx)
		       ? c->p.conf->heartbeat_ns
		       : 0;
}

void ctl_heartbeat_begin(struct ctl *c, uint32_t peer_idx)
{
	struct peer_status status;

	if (peer_heartbeat(c->p.peers, peer_idx) != 0 || c->p.conf->heartbeat_ns == 0)
		return;
	peer_status_get(c->p.peers, peer_idx, &status);
	/* On failure the sweep does it. */
	if (status.last_handshake_ns != 0)
		(void)peer_heartbeat_set(c->p.peers, peer_idx, wanted_ns(c, peer_idx));
}

void ctl_heartbeats_sweep(struct ctl *c)
{
	for (unsigned n = 0; n < PEERS_SLICE; n++) {
		uint32_t peer_idx = peer_next(c->p.peers, &c->heartbeat_cursor);

		if (peer_idx == PEER_NONE) {
			c->heartbeat_cursor = 0;
			return;
		}
		/* The handshake thread is behind: later. */
		if (peer_heartbeat_set(c->p.peers, peer_idx, wanted_ns(c, peer_idx)) != 0)
			return;
	}
}
