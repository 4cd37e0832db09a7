/* neigh.h - who is at which Ethernet address on our links: ARP and ND, answered and resolved.
 *
 * Spec:    RFC 826, RFC 4861 (NS and NA, hop limit 255), RFC 5227 for what we answer.
 * Threads: control writes (every function but the two marked so); workers resolve, lock-free,
 * between grace_reader_online and _quiescent. Memory:  sized at create; type-stable entries, reused
 * after a grace period; at most NEIGH_HOLD_MAX packets wait for one address and NEIGH_HELD_MAX for
 * all, freed (and counted) when resolution fails. Rules:   an address is learnt only from an answer
 * we asked for, or from a request addressed to one of ours. A request that contradicts what is
 * known only makes us ask again. Unsolicited learning leaves a quarter of the entries free. At most
 * NEIGH_ASKS_PER_S questions a second and link (gateways apart), so that a flood of unresolvable
 * addresses costs bounded memory and bounded requests.
 */
#ifndef PORTIER_NEIGH_H
#define PORTIER_NEIGH_H

#include "base/ip.h"
#include "table/grace.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <stdbool.h>
#include <stdint.h>

#define NEIGH_HOLD_MAX	  8
#define NEIGH_HELD_MAX	  512
#define NEIGH_ASKS_PER_S  256
#define NEIGH_IFADDRS_MAX 16
#define NEIGH_POOL_MAX	  192

/* One of our links, as the configuration says. */
struct neigh_link {
	uint16_t port_idx; /* our number of the port, 0.. */
	struct rte_ether_addr mac;
	struct ip_ifaddr ifaddrs[NEIGH_IFADDRS_MAX];
	unsigned n_ifaddrs;
	/* More addresses that are ours (the public pool), whole prefixes but for the gateways. */
	struct ip_prefix pool[NEIGH_POOL_MAX];
	unsigned n_pool;
	/* None: only on-link hosts are reachable. On this link even when no prefix says so. */
	struct ip_addr gateway4, gateway6;
};

/* The control side's hands: how frames leave. frame is consumed. */
typedef void (*neigh_send_fn)(void *arg, uint16_t port_idx, struct rte_mbuf *frame);

struct neigh_params {
	const struct neigh_link *links; /* copied */
	unsigned n_links;
	uint32_t max_entries;	     /* per link */
	struct rte_mempool *mempool; /* for requests and answers we build */
	struct grace *grace;
	neigh_send_fn send;
	void *send_arg;
};

struct neigh;
/* NULL: two links of one port, more ifaddrs or pool prefixes than fit, or memory is out. */
struct neigh *neigh_create(const struct neigh_params *p);
/* Frees what is held. Only when no worker runs any more; before the grace is destroyed. NULL is
 * fine. */
void neigh_destroy(struct neigh *n);

/* Worker: the Ethernet address of the next hop towards dst on this port: dst itself when on-link,
 * else the gateway. True: *out is filled. False: not resolved yet (hand the packet to control,
 * which calls neigh_hold), or *is_unreachable: neither on-link nor is there a gateway (drop it).
 * Lock-free, bounded. */
bool neigh_resolve(const struct neigh *n, uint16_t port_idx, const struct ip_addr *dst,
	struct rte_ether_addr *out, bool *is_unreachable);

/* The same for showing: nothing is noted of the look. Control. */
bool neigh_peek(const struct neigh *n, uint16_t port_idx, const struct ip_addr *dst,
	struct rte_ether_addr *out, bool *is_unreachable);

/* Worker or control: is addr one of ours on this link (interface address or pool)? */
bool neigh_is_ours(const struct neigh *n, uint16_t port_idx, const struct ip_addr *addr);

/* Control: an ARP, NS or NA frame came in (Ethernet header first; any bytes). Consumed. Answers,
 * learns, and sends what was held. */
void neigh_input(struct neigh *n, uint16_t port_idx, struct rte_mbuf *frame, uint64_t now_ns);

/* Control: a frame is ready but for its destination Ethernet address, towards dst. Held until that
 * is resolved, then sent through params.send; the oldest is freed when more than NEIGH_HOLD_MAX
 * wait. */
void neigh_hold(struct neigh *n, uint16_t port_idx, const struct ip_addr *dst,
	struct rte_mbuf *frame, uint64_t now_ns);

/* Control: retransmit requests (1 s apart, 3 times), refresh gateways and entries in use before
 * they age (30 s reachable, then probed; entries that do not answer go). Ask for the gateways at
 * the first call. */
void neigh_tick(struct neigh *n, uint64_t now_ns);
uint64_t neigh_next_deadline_ns(const struct neigh *n);

struct neigh_counters {
	uint64_t answered;	/* frames */
	uint64_t learnt;	/* addresses: new, or at another Ethernet address than before */
	uint64_t requests_sent; /* frames */
	uint64_t held;		/* packets that had to wait */
	uint64_t held_dropped;	/* packets given to neigh_hold that never left */
	uint64_t input_dropped; /* frames that were neither answered nor told us anything */
};
void neigh_counters_get(const struct neigh *n, struct neigh_counters *out);

#endif
