/* blocks.h - who owns which block of public ports for source NAT, on all workers together.
 *
 * Spec:      RFC 6888 REQ-3 (a pool of several prefixes), REQ-14 and RFC 7422 (ports by the block,
 *            so that one record a block tells whose a port was).
 * Block:     a run of 2^n ports of one public IPv4 address, for all protocols. One word says whose
 *            it is: free, a peer's, or resting: nobody's, and not to be had yet.
 * Threads:   a worker claims by compare-and-swap, once a block, never for a packet; anybody reads.
 * Memory:    sized at create; no allocation afterwards.
 * Invariant: a block has at most one owner. The range is disjoint from that of the leases by
 *            configuration.
 */
#ifndef PORTIER_FLOW_BLOCKS_H
#define PORTIER_FLOW_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

#define BLOCKS_POOL_MAX	 128 /* prefixes */
#define BLOCKS_MAX	 (1u << 28)
#define BLOCKS_PORT_MIN	 1024
#define BLOCKS_PORTS_MIN 64 /* in a block */
#define BLOCKS_PORTS_MAX 4096

/* No such block, or no owner. */
#define BLOCKS_NONE UINT32_MAX

struct blocks_conf {
	/* Every public address that a peer may leave by; may overlap. IPv6 prefixes are skipped. */
	struct ip_prefix pool[BLOCKS_POOL_MAX];
	unsigned n_pool;
	/* Inclusive, BLOCKS_PORT_MIN and up. Blocks begin at multiples of block_ports: what the
	 * range has of a block at either end is not used. */
	uint16_t port_first, port_last;
	uint16_t block_ports; /* a power of two, BLOCKS_PORTS_MIN to BLOCKS_PORTS_MAX */
};

struct blocks;

/* A pool without IPv4 prefixes, or a range without a whole block, is fine: there are no blocks.
 * NULL: memory, a port below BLOCKS_PORT_MIN, block_ports not as above, or more than BLOCKS_MAX. */
struct blocks *blocks_create(const struct blocks_conf *conf);
/* Only when nobody uses it any more. NULL is fine. */
void blocks_destroy(struct blocks *b);

/* A free block of this address, now peer_idx's (less than UINT32_MAX - 1). random chooses where the
 * search begins. BLOCKS_NONE: none is free, or the address is not in the pool. O(blocks of an
 * address) when nearly none is free. Any thread. */
uint32_t blocks_claim(struct blocks *b, uint32_t addr_v4, uint32_t peer_idx, uint32_t random);
/* By the thread that claimed it. retire: the owner is gone, the ports are not free yet. release:
 * free for everybody. */
void blocks_retire(struct blocks *b, uint32_t block);
void blocks_release(struct blocks *b, uint32_t block);

/* The peer that owns the block of this port; BLOCKS_NONE: nobody. One load after a search among the
 * prefixes of the pool, merged. Any thread. */
uint32_t blocks_owner(const struct blocks *b, uint32_t addr_v4, uint16_t port);

/* What a block is: constant. */
uint32_t blocks_addr(const struct blocks *b, uint32_t block);
uint16_t blocks_first_port(const struct blocks *b, uint32_t block);
uint16_t blocks_ports(const struct blocks *b);
/* All of them: blocks are numbered from 0. */
uint32_t blocks_total(const struct blocks *b);

/* For showing: how the blocks of one address stand. A snapshot, O(blocks of the address), any
 * thread. False: not in the pool. */
struct blocks_counts {
	uint32_t total, owned, resting;
};
bool blocks_count(const struct blocks *b, uint32_t addr_v4, struct blocks_counts *out);
/* The addresses of the pool by rank, in ascending order: 0 to blocks_addrs() - 1. */
uint32_t blocks_addrs(const struct blocks *b);
uint32_t blocks_addr_at(const struct blocks *b, uint32_t rank);
/* The rank of an address; BLOCKS_NONE: not in the pool. */
uint32_t blocks_addr_rank(const struct blocks *b, uint32_t addr_v4);

#endif
