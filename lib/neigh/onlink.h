/* onlink.h - what a link's configuration says about an address. Private to lib/neigh.
 *
 * Threads: written at init, read by any.
 */
#ifndef PORTIER_NEIGH_ONLINK_H
#define PORTIER_NEIGH_ONLINK_H

#include "neigh/neigh.h"

/* A prefix as two words and their masks: one compare without a loop, any byte order. */
struct onlink_prefix {
	uint64_t net[2], mask[2];
};

struct onlink {
	struct ip_addr gateway4, gateway6;
	struct ip_ifaddr ifaddrs[NEIGH_IFADDRS_MAX];
	struct onlink_prefix nets[NEIGH_IFADDRS_MAX]; /* of ifaddrs, in the same order */
	unsigned n_ifaddrs;
	/* Addresses that are ours: first the interface's, then the pool. */
	struct onlink_prefix ours[NEIGH_IFADDRS_MAX + NEIGH_POOL_MAX];
	unsigned n_ours;
	bool has_v4, has_v6; /* an interface address of that family: only then can we ask */
};

/* False: more of something than fits. */
bool onlink_init(struct onlink *o, const struct neigh_link *link);

static inline bool onlink_prefix_has(const struct onlink_prefix *p, const struct ip_addr *addr)
{
	uint64_t word[2];

	memcpy(word, addr->bytes, sizeof(word));
	return (((word[0] & p->mask[0]) ^ p->net[0]) | ((word[1] & p->mask[1]) ^ p->net[1])) == 0;
}

/* An interface address or one of the pool. */
bool onlink_is_ours(const struct onlink *o, const struct ip_addr *addr);

/* In a prefix of an interface address, whatever it is there. */
bool onlink_is_near(const struct onlink *o, const struct ip_addr *addr);

/* One that a host on this link other than us can have: near or a gateway, not ours, not the
 * network's or broadcast address of an IPv4 prefix, not martian. */
bool onlink_is_host(const struct onlink *o, const struct ip_addr *addr);

/* The address we ask with: of the prefix that target is in, else the first of its family. NULL:
 * none. */
const struct ip_addr *onlink_source(const struct onlink *o, const struct ip_addr *target);

#endif
