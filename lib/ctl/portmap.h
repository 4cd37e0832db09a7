/* portmap.h - NAT-PMP and PCP as the control server answers them; for lib/ctl only.
 *
 *   portmap.c          requests in, answers out, when each may leave
 *   portmap_rules.c    what both protocols decide alike, in terms of leases
 *   portmap_natpmp.c, portmap_pcp.c   requests to wishes, outcomes to result codes
 *
 * Spec:   RFC 6886, RFC 6887. Where the gateway goes beyond: idempotence on (peer, protocol, inner
 *         port) whatever is suggested; one number for both protocols; symmetric mappings.
 * Commit: an answer that says that something is open, shut or scoped leaves when every worker knows
 *         it and, with a store, when it is on disk. A renewal changes nothing that workers read: it
 *         is answered at once, and on disk within a second or so; a restart grants it once more.
 */
#ifndef PORTIER_CTL_PORTMAP_H
#define PORTIER_CTL_PORTMAP_H

#include "ctl/server.h"
#include "portmap/portmap.h"

enum ctl_portmap_outcome {
	CTL_PORTMAP_DONE = 0,
	CTL_PORTMAP_NOT_AUTHORIZED,
	CTL_PORTMAP_NO_NETWORK, /* no public address for it */
	CTL_PORTMAP_NO_RESOURCES,
	CTL_PORTMAP_OVER_QUOTA,
	CTL_PORTMAP_NOT_AS_WISHED, /* and no alternative was wanted */
	CTL_PORTMAP_TOO_MANY_SOURCES,
};

/* A mapping that a peer wishes. */
struct ctl_portmap_wish {
	uint32_t peer_idx;
	enum lease_opener opener;
	uint8_t proto; /* LEASE_PROTO_TCP or _UDP; of a deletion also both */
	struct ip_addr inner_addr;
	uint16_t inner_port;	       /* 0: symmetric; of a deletion: all */
	uint16_t suggested_port;       /* 0: any */
	bool takes_no_other;	       /* than the suggested address and port */
	struct ip_addr suggested_addr; /* of those; none: any */
	uint32_t lifetime_s, least_s;
	bool has_nonce;
	uint8_t nonce[LEASE_NONCE_BYTES];
	const struct portmap_pcp_filter *filters;
	unsigned n_filters;
};

/* Where the answer stands. */
struct ctl_portmap_grant {
	struct ip_addr public_addr;
	uint16_t public_port;
	uint32_t lifetime_s;
	bool waits;	   /* workers have to learn of it first */
	uint64_t lease_id; /* what they learn of; 0: of something else */
};

/* --- portmap_rules.c */
/* Open, renew or scope. *out is filled when DONE. O(1) for a renewal. */
enum ctl_portmap_outcome ctl_portmap_map(
	struct ctl *c, const struct ctl_portmap_wish *wish, struct ctl_portmap_grant *out);
/* Close; what is not there is closed already. */
enum ctl_portmap_outcome ctl_portmap_unmap(
	struct ctl *c, const struct ctl_portmap_wish *wish, struct ctl_portmap_grant *out);
/* Tell of a peer that may not and asked for a mapping (ctl_event_denied). */
void ctl_portmap_deny(struct ctl *c, uint32_t peer_idx, uint16_t inner_port);
bool ctl_portmap_is_allowed(const struct ctl *c, uint32_t peer_idx);
/* The address that the Internet knows the peer by; none when that is not decided. */
struct ip_addr ctl_portmap_address(const struct ctl *c, uint32_t peer_idx);
/* Seconds since the table of leases began. */
uint32_t ctl_portmap_epoch_s(const struct ctl *c);

/* --- portmap_natpmp.c, portmap_pcp.c */
/* The answer's bytes, and their number. grant->waits and lease_id are set. */
size_t ctl_portmap_natpmp(struct ctl *c, const struct ctl_portmap_request *r,
	uint8_t out[static PORTMAP_MSG_BYTES], struct ctl_portmap_grant *grant);
size_t ctl_portmap_pcp(struct ctl *c, const struct ctl_portmap_request *r,
	uint8_t out[static PORTMAP_MSG_BYTES], struct ctl_portmap_grant *grant);
/* Unasked: the peer's address (RFC 6886, 3.2.1). */
size_t ctl_portmap_natpmp_announce(
	const struct ctl *c, uint32_t peer_idx, uint8_t out[static PORTMAP_MSG_BYTES]);
/* The answer instead, when what was done does not get on disk: no resources. */
size_t ctl_portmap_natpmp_fail(
	struct ctl *c, const struct ctl_portmap_request *r, uint8_t out[static PORTMAP_MSG_BYTES]);
size_t ctl_portmap_pcp_fail(
	struct ctl *c, const struct ctl_portmap_request *r, uint8_t out[static PORTMAP_MSG_BYTES]);

#endif
