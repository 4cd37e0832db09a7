/* number.h - public numbers (address, port) that are held: by whom, for which inner endpoint, and,
 * once their leases have ended, until when they are kept for their owner and from others.
 *
 * A number stands between its leases (one for each protocol, or one for both) and the outside: it
 * is owned as a whole, so the companion protocol can never go to another peer.
 *
 * Spec:    RFC 6056, section 3.3.1 (random choice); RFC 6888 REQ-8 (quarantine).
 * Threads: those of the lease table. Memory: sized at init.
 * Cost:    O(1) expected, whatever an attacker chooses: the hash is keyed.
 */
#ifndef PORTIER_LEASE_NUMBER_H
#define PORTIER_LEASE_NUMBER_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "crypto/crypto.h"
#include "lease/lease.h"
#include "lease/links.h"

struct lease_number {
	struct ip_addr public_addr, inner_addr;
	uint16_t public_port, inner_port; /* of a range the first, outside a multiple of n_ports */
	uint16_t n_ports;		  /* 1, or a power of two */
	uint32_t holder;   /* its owner's entry in the lease table; 0: nobody may have it back */
	uint32_t place;	   /* of its public address; 0: a pinhole and a whole address have none */
	uint32_t lease[2]; /* live leases, TCP and UDP; the same twice for one of both; 0: none */
	enum lease_state state; /* FREE here: held, with or without leases */
	uint64_t until_ns;	/* RESERVED, QUARANTINE: end of that */
};

/* A public address that has numbers. */
struct lease_place {
	struct ip_addr addr;
	uint32_t n_used;
	uint32_t bitmap; /* which ports are used, once more than half are; 0: none, or none left */
};

#define LEASE_SIZES 11 /* 2^0 to 2^10 ports */
static_assert(1u << (LEASE_SIZES - 1) == LEASE_RANGE_MAX, "the largest range has a size");

#define LEASE_PORT_DENIED UINT16_MAX /* no rank: the range has at most 65535 ports */

struct lease_numbers {
	const struct lease_conf *conf;
	uint8_t hash_key[CRYPTO_SIPHASH_KEY_BYTES];
	uint32_t random_words[64]; /* drawn ahead */
	unsigned n_random;
	uint32_t n_ports;  /* in the range and not denied; known by rank, in ascending order */
	uint16_t *port_of; /* by rank */
	uint16_t *rank_of; /* by port; LEASE_PORT_DENIED where there is none */

	uint32_t n_of_size[LEASE_SIZES]; /* numbers of 2^i ports */
	uint32_t sizes;			 /* bit i: there are some, i > 0 */

	struct lease_number *numbers;
	struct lease_slab slab;
	struct lease_index by_public, by_inner;
	struct lease_list reserved, quarantine; /* each in the order of until_ns */
	struct lease_link *kept_links;		/* of either */
	uint32_t n_kept, n_reserved;		/* n_reserved: of these */
	uint32_t n_kept_ports;			/* of these; a whole address has none */

	struct lease_place *places;
	struct lease_slab place_slab;
	struct lease_index by_addr;
	uint64_t *bitmaps; /* of (n_ports + 63) / 64 words */
	struct lease_slab bitmap_slab;
};

/* At most n_max numbers, on n_places possible addresses. conf must outlive ns. False when memory is
 * out; fini is due in any case. */
bool lease_numbers_init(
	struct lease_numbers *ns, const struct lease_conf *conf, uint32_t n_max, uint64_t n_places);
void lease_numbers_fini(struct lease_numbers *ns);

uint64_t lease_hash(const struct lease_numbers *ns, const void *key, size_t len);
/* In 0..n-1, each with a probability that is off by less than n / 2^64; n > 0. */
uint64_t lease_random_below(struct lease_numbers *ns, uint64_t n);

/* May a lease on a number of the pool have this port at all? */
static inline bool lease_number_is_allowed(const struct lease_numbers *ns, uint16_t port)
{
	return ns->rank_of[port] != LEASE_PORT_DENIED;
}

/* Is it one of those that no lease may have, pinholes included? O(ranges). */
bool lease_number_is_denied(const struct lease_numbers *ns, uint16_t port);

/* Whose number, live or kept, a range's included; 0: free. O(1), and O(sizes there are) for a port
 * that is nobody's alone. */
uint32_t lease_number_find(
	const struct lease_numbers *ns, const struct ip_addr *addr, uint16_t port);
/* Any number that has a port of these; 0: all are free. O(n). */
uint32_t lease_number_find_overlap(
	const struct lease_numbers *ns, const struct ip_addr *addr, uint16_t first, uint16_t n);
/* The holder's live number of one port for this inner endpoint; there is at most one. */
uint32_t lease_number_find_live(const struct lease_numbers *ns, uint32_t holder,
	const struct ip_addr *inner_addr, uint16_t inner_port);
/* The number of this public address that the holder last had for this inner endpoint, now kept: of
 * several, the one that ended last. */
uint32_t lease_number_find_former(const struct lease_numbers *ns, const struct ip_addr *public_addr,
	uint32_t holder, const struct ip_addr *inner_addr, uint16_t inner_port);

static inline bool lease_number_is_live(const struct lease_number *n)
{
	return n->lease[0] != 0 || n->lease[1] != 0;
}

/* A random free port of this address; 0 when all are used. Uniform; where kept ranges left no
 * bitmap and nearly all ports are used, not quite, and O(ports). */
uint16_t lease_number_choose(struct lease_numbers *ns, const struct ip_addr *addr);

/* A random range of n ports, all free and none denied; 0: there is none. O(ports) at worst. */
uint16_t lease_number_choose_range(
	struct lease_numbers *ns, const struct ip_addr *addr, uint16_t n);

/* Hold a free number, of the pool or a pinhole (an IPv6 address); 0 when ns is full. It is neither
 * live nor kept until the caller says. Of n both endpoints, n_ports and holder are set. */
uint32_t lease_number_add(struct lease_numbers *ns, const struct lease_number *n);
/* It is kept no more: for an inner endpoint of the same holder. */
void lease_number_reclaim(struct lease_numbers *ns, uint32_t i, const struct ip_addr *inner_addr,
	uint16_t inner_port);
/* Keep it, RESERVED or in QUARANTINE. until_ns does not decrease from call to call of a state. */
void lease_number_keep(
	struct lease_numbers *ns, uint32_t i, enum lease_state state, uint64_t until_ns);
/* It is kept, but from now on nobody's. */
void lease_number_disown(struct lease_numbers *ns, uint32_t i);
/* A kept one, or a pinhole, is free. */
void lease_number_del(struct lease_numbers *ns, uint32_t i);

#endif
