/* impl.h - the inside of the lease table; for lib/lease only.
 *
 *   table.c     memory
 *   lease.c     granting, renewing and ending
 *   choice.c    which number a lease gets
 *   range.c     the same for ranges of ports
 *   whole.c     the same for whole addresses
 *   holder.c    peers that have numbers, and what they keep of them
 *   look.c      looking at what there is
 *   restore.c   what was there before a restart
 *   number.c    numbers: who holds which, and for how long
 *   pool.c, heap.c, links.h   addresses by rank, deadlines, containers
 */
#ifndef PORTIER_LEASE_IMPL_H
#define PORTIER_LEASE_IMPL_H

#include "lease/heap.h"
#include "lease/lease.h"
#include "lease/links.h"
#include "lease/number.h"

/* A peer that has numbers, live or kept. */
struct holder {
	uint32_t peer_idx;
	uint32_t n_numbers; /* of the pool */
	uint32_t n_live;    /* of these */
	uint32_t n_pinholes;
	uint32_t n_leases;
	uint32_t n_ranges;	    /* of these */
	uint32_t n_ports;	    /* of its leases: what its quota bounds */
	uint32_t n_held;	    /* ports of its numbers, live or kept */
	struct ip_addr public_addr; /* of its live numbers; of the last ones when there is none */
	uint32_t symmetric; /* its first number that leads to a port of the same name; 0: none */
	bool is_unreachable;
	uint64_t reach_ns; /* when that last changed; 0: never */
	struct lease_list leases;
	struct lease_list kept; /* its numbers that are, oldest first */
};

struct lease_table {
	struct lease_conf conf;
	uint64_t next_id;
	uint32_t n_leases;
	uint32_t n_pinholes; /* of these */
	uint32_t n_suspended;
	uint32_t n_ports; /* of all: at most max_leases */

	struct lease *leases;
	uint32_t *number_of; /* by lease */
	struct lease_slab slab;
	struct lease_index by_id;
	struct lease_heap deadlines;
	struct lease_link *lease_links;

	struct lease_numbers numbers;
	struct lease_link *number_links;

	struct holder *holders;
	struct lease_slab holder_slab;
	struct lease_index by_peer;
};

/* Entries: 0 is none. */

/* now + duration; TIME_NEVER absorbs, and is what a sum too large becomes. */
uint64_t lease_time_add(uint64_t now_ns, uint64_t duration_ns);
/* Where a number with this public port will lead. */
uint16_t lease_target_port(const struct lease_request *req, uint16_t public_port);

/* --- holder.c */
/* Another number would be more than twice its quota. */
bool lease_holds_enough(
	const struct lease_table *t, const struct lease_request *req, uint32_t holder);
/* The same, once so many ports of its kept numbers are free. */
bool lease_holds_enough_but(const struct lease_table *t, const struct lease_request *req,
	uint32_t holder, uint32_t n_freed);
uint32_t lease_holder_find(const struct lease_table *t, uint32_t peer_idx);
/* Hold a free number; *holder is made when the peer is none yet. */
uint32_t lease_holder_number_add(struct lease_table *t, const struct lease_request *req,
	uint32_t *holder, const struct ip_addr *addr, uint16_t port);
/* A live pinhole at the request's inner endpoint; 0: there is no room. */
uint32_t lease_holder_pinhole_add(
	struct lease_table *t, const struct lease_request *req, uint32_t holder);
/* Its last lease has ended: the number waits for its owner, then for the world to forget it; a
 * pinhole is gone. */
void lease_holder_retire(struct lease_table *t, uint32_t number, uint64_t now_ns);
/* Free a kept number of a holder that gets another at once: it stays, even without any. */
void lease_holder_free(struct lease_table *t, uint32_t number);
/* Its owner takes it back, for the request's inner endpoint. */
void lease_holder_reclaim(struct lease_table *t, uint32_t number, const struct lease_request *req);
/* Kept numbers that are due go from RESERVED to QUARANTINE, and from there to FREE. Each change
 * happens, in effect, at its own time, whenever we come to it: so quarantines end in the order in
 * which they begin. */
void lease_kept_move(struct lease_table *t, uint64_t now_ns);

/* --- range.c; O(its leases) for a holder that has ranges */
/* The holder's live range that a request for one is about. */
uint32_t lease_live_range(
	const struct lease_table *t, const struct lease_request *req, uint32_t holder);
/* Its live range that leads to one of these inner ports. */
uint32_t lease_in_range(const struct lease_table *t, uint32_t holder,
	const struct ip_addr *inner_addr, uint16_t first, uint16_t n_ports);
/* Any live lease of it does. */
bool lease_is_led_to(const struct lease_table *t, uint32_t holder, const struct ip_addr *inner_addr,
	uint16_t first, uint16_t n_ports);
/* A range of this address for the request, a kept or a free one; errors as lease_grant. */
int lease_range_take(struct lease_table *t, const struct lease_request *req, uint32_t holder,
	const struct ip_addr *addr, uint32_t *out);

/* --- whole.c */
int lease_whole_take(
	struct lease_table *t, const struct lease_request *req, uint32_t holder, uint32_t *out);

/* --- choice.c */
/* Ports drawn for a symmetric number before all are called taken: a peer would need other numbers
 * that lead to half of all ports for one draw in two to fail. */
#define LEASE_SYMMETRIC_TRIES 32
/* A number for the request, held and live from now on; errors as lease_grant. */
int lease_choose(
	struct lease_table *t, const struct lease_request *req, uint32_t holder, uint32_t *out);
/* 0; -ERANGE; -EACCES. */
int lease_port_check(const struct lease_table *t, uint16_t port);
/* The live lease of the number for one of these protocols. */
uint32_t lease_of_number(const struct lease_number *n, uint8_t protos);
/* The holder's live number for the inner endpoint; its live symmetric one. */
uint32_t lease_live_number(const struct lease_table *t, uint32_t holder,
	const struct ip_addr *inner_addr, uint16_t inner_port);
uint32_t lease_live_symmetric(
	const struct lease_table *t, uint32_t holder, const struct ip_addr *inner_addr);
uint32_t lease_id_find(const struct lease_table *t, uint64_t id);
/* The lease, all set but for its deadline, on a number that the peer holds and whose wanted
 * protocols are free. */
uint32_t lease_add(struct lease_table *t, uint32_t number, const struct lease *from);
static inline bool lease_is_kept_for(const struct lease_number *n, uint32_t holder)
{
	return holder != 0 && n->holder == holder && !lease_number_is_live(n);
}
bool lease_request_is_sound(const struct lease_request *req);

#endif
