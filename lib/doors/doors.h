/* doors.h - live leases as workers see them: two look-ups, one record, its counters.
 *
 * Threads:   control opens and closes (one writer); workers look up, lock-free; a door's counters
 *            are written by the home worker of its peer.
 *
 * Memory:    records are type-stable: a pointer stays readable for ever, and generation tells
 *            whether it is still the door that was looked up. So a packet may carry (door,
 *            generation) to another worker.
 *
 * Invariant: a closed door forwards nothing after its grace period has passed. A record is used
 *            again, and its counters are zeroed, only after one.
 */
#ifndef PORTIER_DOORS_H
#define PORTIER_DOORS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_byteorder.h>

#include "base/bytes.h"
#include "base/ip.h"
#include "doors/failures.h"
#include "doors/knocks.h"
#include "doors/terms.h"
#include "lease/lease.h"
#include "peer/peer.h"
#include "table/table.h"

/* Counters of one lease. W: home worker of the peer, R: control. */
struct door_counters {
	uint64_t in_pkts, in_bytes;   /* Internet -> peer */
	uint64_t out_pkts, out_bytes; /* peer -> Internet */
	uint64_t refused_pkts;	      /* source not admitted */
	uint64_t limited_pkts;	      /* more packets or new flows than the lease takes */
	uint64_t last_used_ns;	      /* refreshed at most every 250 ms */
};

/* W: control, while no worker can see it; then read-only until closed, but for generation and
 * terms and protos. First line: what a packet needs. */
struct door {
	_Atomic uint32_t generation; /* odd: open */
	uint32_t peer_idx;
	uint8_t public_v4[4], inner_v4[4]; /* network order; IPv6: zero */
	uint16_t public_port, inner_port;  /* host order; of a range the first; of all 0 */
	uint16_t n_ports;
	_Atomic uint8_t protos;		    /* LEASE_PROTO_* bits that it has keys for */
	_Atomic(struct door_terms *) terms; /* NULL: none; see door_terms_of() */

	struct door_counters counters __attribute__((aligned(64)));
	_Atomic(struct knocks *) knocks; /* W: home worker; NULL: nobody knocked, or no room */
} __attribute__((aligned(64)));

static_assert(sizeof(struct door) == 128, "what the home worker writes is one line");

/* Where a port of the door leads, and back: a range keeps the order of its ports. */
static inline uint16_t door_inner_port_of(const struct door *door, uint16_t public_port)
{
	return (uint16_t)(door->inner_port + (public_port - door->public_port));
}

static inline uint16_t door_public_port_of(const struct door *door, uint16_t inner_port)
{
	return (uint16_t)(door->public_port + (inner_port - door->inner_port));
}

/* What is known of those who knocked, as of now. */
struct door_seen {
	uint64_t sources; /* different addresses since the lease was opened, refused ones too: about
			   */
	uint64_t new_flows;    /* since then */
	uint32_t window_flows; /* of these, in the last window of KNOCKS_WINDOW_NS */
};

/* Keys, as workers build them from a packet. All bytes count: no padding. */
struct door_public_key {
	uint8_t addr_v4[4];
	uint16_t port_be16;
	uint8_t proto; /* IP protocol number */
	uint8_t zero;
};

/* In one store, because it is read by one load soon afterwards. port: host order. */
static inline void door_public_key_set(
	struct door_public_key *key, const uint8_t addr_v4[static 4], uint16_t port, uint8_t proto)
{
	store_le64((uint8_t *)key,
		load_le32(addr_v4) | (uint64_t)rte_bswap16(port) << 32 | (uint64_t)proto << 48);
}

struct door_inner_key {
	uint32_t peer_idx;
	uint8_t addr_v4[4];
	uint16_t port_be16;
	uint8_t proto;
	uint8_t zero[5];
};

/* A lease over IPv6 is a pinhole: its public side is its inner side, and one key serves both ways.
 */
struct door_v6_key {
	uint8_t addr[16];
	uint16_t port_be16;
	uint8_t proto;
	uint8_t zero[5];
};

static_assert(sizeof(struct door_public_key) == 8, "key has no padding");
static_assert(sizeof(struct door_inner_key) == 16, "key has no padding");
static_assert(sizeof(struct door_v6_key) == 24, "key has no padding");

struct doors;

/* max_leases: as in lease_conf, so a range takes as many as it has ports; max_peers: as in
 * peer_params. NULL when memory is out. */
struct doors *doors_create(uint32_t max_leases, uint32_t max_peers, struct grace *g, int socket_id);
/* No reader runs any more; before grace_destroy. NULL is fine. */
void doors_destroy(struct doors *d);

/* Before many are opened: their places in the tables come to the cache, all at once instead of one
 * after the other. It changes nothing. n at most DOORS_PREFETCH_MAX. Control. */
#define DOORS_PREFETCH_MAX 32
void doors_prefetch(const struct doors *d, const struct lease *leases, unsigned n);

/* Control. Make a lease visible to workers, both protocols at one moment; or, for one that is open,
 * what changed of it: protocols, sources and limits. The rest of a lease never changes. O(its
 * ports): 1,024 of them in both protocols take about 1 ms.
 *
 * 0; -ENOSPC more leases than max_leases (closed ones count until their grace period has passed,
 * as far as they exceed an eighth more); -ENOMEM; -EAFNOSUPPORT the two addresses are of different
 * families, or IPv6 and not the same endpoint. On failure nothing changed. */
int doors_open(struct doors *d, const struct lease *lease);
/* Unpublish. Packets in flight are dropped from the next quiescent point of each worker at the
 * latest; answer the asker after a grace period (grace_defer) that begins after this call. -ENOENT.
 */
int doors_close(struct doors *d, uint64_t lease_id);
/* Do workers find the open lease at its public side now (of a range at its first port), in all its
 * protocols? By the tables that they ask. O(1). */
bool doors_has(const struct doors *d, const struct lease *lease);
/* Sums over the lease's life; zeros when it is not open. */
void doors_counters_get(const struct doors *d, uint64_t lease_id, struct door_counters *out);
/* It was used then, before this process began. Control, for a door whose peer has no home yet. */
void doors_used_set(struct doors *d, uint64_t lease_id, uint64_t at_ns);
/* Of a door that was looked up, in the same turn of control. */
uint64_t doors_lease_id(const struct doors *d, const struct door *door);
/* False: nothing was seen at its door, or there is no room for what is (knocks.h). O(256). */
bool doors_seen_get(
	const struct doors *d, uint64_t lease_id, uint64_t now_ns, struct door_seen *out);
/* What came to nothing there since it was opened; zeros when it is not open. */
void doors_failures_get(const struct doors *d, uint64_t lease_id, struct door_failures *out);
uint32_t doors_count(const struct doors *d);

/* Workers, grace readers. NULL: no open door. keys and out are arrays of n <= TABLE_BULK_MAX. The
 * first line of what is found has been brought into the cache. */
void doors_lookup_public_bulk(
	const struct doors *d, const struct door_public_key *keys, uint32_t n, struct door **out);
void doors_lookup_inner_bulk(
	const struct doors *d, const struct door_inner_key *keys, uint32_t n, struct door **out);
/* One of them; NULL: none that is open. */
struct door *doors_lookup_public(const struct doors *d, const struct door_public_key *key);
/* The lease that has a whole address, for what no other door and no port of a block leads: by that
 * address, and by whom it leads to. One load while there are none. NULL: none is open. */
struct door *doors_lookup_whole(const struct doors *d, const uint8_t public_v4[static 4]);
struct door *doors_lookup_whole_of(
	const struct doors *d, uint32_t peer_idx, const uint8_t inner_v4[static 4]);
/* One pinhole; NULL: none is open. */
struct door *doors_lookup_v6(const struct doors *d, const struct door_v6_key *key);

/* Has this peer any open door? One load: who has none needs no look-up. As current as a look-up.
 * Any thread. */
bool doors_peer_has(const struct doors *d, uint32_t peer_idx);

/* Is this still the door that was looked up with this generation, and open? */
static inline bool door_is(const struct door *door, uint32_t generation)
{
	return (generation & 1) &&
	       atomic_load_explicit(&door->generation, memory_order_acquire) == generation;
}

/* A packet that is looked at (knocks.h): where it is noted, whose it is, of which flow. */
struct door_sight {
	struct knocks *knocks;
	uint64_t source_hash, flow_hash;
};

/* False: there is no room for what is seen at this door. A flow is told from others by its far end,
 * whichever port of a range it is to. What door_note touches is brought to the cache: so a burst is
 * first seen, then noted, in the same turn. reader: the worker's number in the grace of
 * doors_create. Home worker. */
bool doors_see(struct doors *d, uint32_t reader, struct door *door, const struct door_knock *knock,
	struct door_sight *out);
/* True: the flow is new. */
static inline bool door_note(const struct door_sight *sight, uint64_t now_ns)
{
	return knocks_note(sight->knocks, sight->source_hash, sight->flow_hash, now_ns);
}
/* Its source was refused. False: no room. Home worker. */
bool doors_note_refused(
	struct doors *d, uint32_t reader, struct door *door, const struct door_knock *knock);

/* Something failed at this door (failures.h). is_shared: its peer has no home; then any worker,
 * else the home worker. */
void doors_note_failure(struct doors *d, const struct door *door, enum door_failure failure,
	bool is_shared, uint64_t now_ns);

/* What the lease asks of those who come in; NULL: nothing. Good until quiescent. */
static inline struct door_terms *door_terms_of(const struct door *door)
{
	return atomic_load_explicit(&door->terms, memory_order_acquire);
}

/* May this packet come in? peek: without a trace, for showing; control. terms: of one of d's doors.
 * Home worker. */
enum door_verdict doors_ask(const struct doors *d, struct door_terms *terms,
	const struct door_knock *knock, uint64_t now_ns);
enum door_verdict doors_peek(const struct doors *d, const struct door_terms *terms,
	const struct door_knock *knock, uint64_t now_ns);

#endif
