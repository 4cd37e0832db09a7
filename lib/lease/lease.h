/* lease.h - port-forwarding leases: which peer owns a public port, and until when.
 *
 * A lease to an IPv4 inner endpoint is on a public number, an address of the pool and a port of the
 * range. IPv6 is routed, not translated: a lease to an IPv6 inner endpoint is a pinhole, whose
 * public address and port are the inner ones. Nobody else can ever own that number, so a pinhole
 * knows no pool, no range, no choice of a port, no RESERVED and no QUARANTINE: when it ends it is
 * FREE at once. What ports must not be (deny) and all else, quotas and times, hold for both.
 *
 * A lease may have a range of ports: 2^k of them, beginning at a multiple of their number, which
 * lead to as many ports of the inner address in the same order. A range is one number and one
 * lease, is kept and comes back whole, and all that a look-up needs to find it by one of its ports
 * is which sizes there are; of quotas and of max_leases it takes as many as it has ports. Only who
 * may be trusted with many ports asks for one: the operator, not the peer.
 *
 * A lease may have a whole address, one of those that are dedicated: all its ports, unchanged,
 * which is what ports 0 on both sides stand for. Nothing else is on such an address, and its owner
 * has no other lease to IPv4. What is denied is not denied there. It is one number, kept
 * after its end as others are. Asked for by the operator only.
 *
 * Spec:      DESIGN section 4; RFC 6888 REQ-8 (quarantine); RFC 6056 (random choice); RFC 6092
 *            section 3.3 (pinholes).
 * Threads:   control thread only; workers see leases through doors.
 * Memory:    sized at create; no allocation afterwards.
 * Invariant: at most one owner of (public address, public port), both protocols together, and all
 *            its live leases lead to the same inner address and port;
 *            at most one live lease per (peer, protocol, inner address, inner port);
 *            all leases of a peer to IPv4 endpoints have the same public address.
 */
#ifndef PORTIER_LEASE_H
#define PORTIER_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/time.h"

#define LEASE_PROTO_TCP	 (1u << 0)
#define LEASE_PROTO_UDP	 (1u << 1)
#define LEASE_PROTO_BOTH (LEASE_PROTO_TCP | LEASE_PROTO_UDP)

#define LEASE_LABEL_CHARS 64 /* with its NUL */
#define LEASE_SOURCES_MAX 8  /* source prefixes per lease */
#define LEASE_POOL_MAX	  64 /* public prefixes */
#define LEASE_DENY_MAX	  64 /* ranges of ports that no lease may have */
#define LEASE_TABLE_MAX	  (1u << 28)
#define LEASE_NONCE_BYTES 12
#define LEASE_RANGE_MAX	  1024u	    /* ports of a range; as few as 2, and powers of two */
#define LEASE_RATE_MAX	  10000000u /* packets or new flows a second that can be limited to */

/* FREE -> ACTIVE <-> SUSPENDED -> RESERVED -> QUARANTINE -> FREE; only its owner comes back from
 * RESERVED and QUARANTINE to ACTIVE. A pinhole goes from ACTIVE and SUSPENDED to FREE. */
enum lease_state {
	LEASE_FREE = 0,
	LEASE_ACTIVE,
	LEASE_SUSPENDED,  /* as open as an active one, but its peer does not answer */
	LEASE_RESERVED,	  /* ended; its number is kept for its owner */
	LEASE_QUARANTINE, /* ended; its number is kept from all but its owner, and soon nobody's */
};

/* As everybody who is told of it reads it. Any thread. */
const char *lease_state_word(enum lease_state state);

/* By which interface it came to be. */
enum lease_opener {
	LEASE_BY_CONTROL = 0, /* the control socket */
	LEASE_BY_CONF,
	LEASE_BY_NATPMP,
	LEASE_BY_PCP,
};

struct lease {
	uint64_t id; /* never reused while the process runs; 1.. */
	enum lease_state state;
	uint32_t peer_idx;
	uint8_t protos; /* LEASE_PROTO_* bits */
	struct ip_addr public_addr;
	uint16_t public_port; /* the first, of a range; 0: a whole address */
	struct ip_addr inner_addr;
	uint16_t inner_port; /* likewise */
	uint16_t n_ports;    /* 1, or those of a range */
	uint64_t opened_ns;
	uint64_t granted_ns; /* or renewed last; 0: before a restart */
	uint64_t expires_ns; /* TIME_NEVER: no end; once ended: when others may have the port */
	uint64_t until_ns;   /* no renewal goes beyond; TIME_NEVER: none is kept from it */
	uint64_t ttl_ns;     /* as granted; a renewal without a TTL grants it again */
	uint64_t idle_ns;    /* close when unused for this long; 0: no idle limit */
	struct ip_prefix sources[LEASE_SOURCES_MAX];
	uint8_t n_sources; /* 0: any source; one of the other family admits nobody */
	/* Of what comes in, each second, and for a moment twice that; 0: no limit. */
	uint32_t max_pps, max_new_flows;
	char label[LEASE_LABEL_CHARS];
	enum lease_opener opener;
	uint8_t nonce[LEASE_NONCE_BYTES]; /* of the last PCP request for it; zero: none */
};

/* Of a live lease, or a number that is kept. */
static inline bool lease_is_whole(uint16_t public_port)
{
	return public_port == 0;
}

static inline bool lease_is_range(uint16_t n_ports)
{
	return n_ports > 1;
}

/* Where 0 is as good as 1. */
static inline uint16_t lease_ports_of(uint16_t n_ports)
{
	return lease_is_range(n_ports) ? n_ports : 1;
}

/* Where a public port of the lease leads, and back. */
static inline uint16_t lease_inner_port_of(const struct lease *l, uint16_t public_port)
{
	return (uint16_t)(l->inner_port + (public_port - l->public_port));
}

static inline uint16_t lease_public_port_of(const struct lease *l, uint16_t inner_port)
{
	return (uint16_t)(l->public_port + (inner_port - l->inner_port));
}

struct lease_ports {
	uint16_t first, last; /* inclusive */
};

/* Where public ports come from. */
struct lease_conf {
	struct ip_prefix pool[LEASE_POOL_MAX]; /* IPv4 */
	unsigned n_pool;
	struct ip_prefix
		dedicated[LEASE_POOL_MAX]; /* IPv4, disjoint from it: for whole addresses */
	unsigned n_dedicated;
	uint16_t port_first, port_last; /* inclusive */
	struct lease_ports deny[LEASE_DENY_MAX];
	unsigned n_deny; /* they leave at least one port */
	uint32_t
		max_leases; /* ports of live ones; as many numbers again may be kept after an end */
	uint64_t default_ttl_ns, max_ttl_ns;
	uint64_t max_age_ns; /* from opening, whatever renews; 0: no limit */
	uint64_t reserve_ns; /* 0: straight to quarantine */
	uint64_t quarantine_ns;
	/* Random bytes: crypto_random in the gateway, a seeded generator in tests. */
	void (*random)(void *out, size_t len);
};

/* Zero means "not asked for" in public_addr, public_port, ttl_ns and until_ns. */
struct lease_request {
	uint32_t peer_idx;
	uint32_t peer_max_leases; /* quota, in ports of leases */
	uint8_t protos;
	struct ip_addr public_addr;
	struct ip_addr paired_addr; /* where a first lease goes if it can; zero: anywhere */
	uint16_t public_port;
	bool is_suggestion; /* another address and port will do where these can not be had */
	struct ip_addr inner_addr;
	uint16_t inner_port;
	uint16_t n_ports;  /* of a range, and both ports are its first; 0, 1: one port */
	bool is_whole;	   /* a whole address, both protocols, no ports and no sources */
	bool is_symmetric; /* inner_port is ignored: it is to be the public port, whichever */
	uint64_t ttl_ns;   /* TIME_NEVER: no maximum age either */
	uint64_t until_ns;
	uint64_t idle_ns;
	struct ip_prefix sources[LEASE_SOURCES_MAX];
	uint8_t n_sources;
	uint32_t max_pps, max_new_flows;
	char label[LEASE_LABEL_CHARS];
	enum lease_opener opener;
	uint8_t nonce[LEASE_NONCE_BYTES];
};

/* A number that outlives its leases. */
struct lease_held {
	enum lease_state state; /* RESERVED or QUARANTINE */
	uint32_t peer_idx;	/* who may have it back; UINT32_MAX: nobody */
	struct ip_addr public_addr, inner_addr;
	uint16_t public_port, inner_port, n_ports;
	uint64_t until_ns; /* end of this state */
};

struct lease_table;

/* NULL when memory is out. conf is copied. */
struct lease_table *lease_table_create(const struct lease_conf *conf);
void lease_table_destroy(struct lease_table *t);
/* For what is granted, renewed or ended from now on. */
void lease_table_times_set(struct lease_table *t, uint64_t default_ttl_ns, uint64_t quarantine_ns);

/* Grant a new lease, or renew the caller's own: a request for the same (peer, inner address, inner
 * port) and protocols, or for one of both, renews that lease, keeping its port, whatever is
 * suggested. A renewal changes the lifetime only: sources, limits, label, idle limit and until_ns
 * stay as opened. Asking for the companion protocol of an own lease gives a lease on the same
 * number.
 *
 * A symmetric request is for an inner endpoint that the number decides: it renews or joins the
 * peer's symmetric number (lease_find_symmetric), takes it back while it is kept, or else gets one
 * whose port is no other number's inner port.
 *
 * The public address is the one the peer's other leases have; for a first lease the requested one,
 * else the one it had, else the paired one if it is of the pool and has a port, else a random
 * address of the pool. The port is the requested one; else the one
 * that the peer had for this inner endpoint, if still kept for it; else a random free one out of
 * the range. A peer that holds twice its quota, numbers that are kept included, gets the
 * longest-waiting of its own instead of a free one.
 *
 * A range is renewed by a request for as many ports from the same inner one on, a symmetric one by
 * one that says its public port or none. It has no number and no inner port in common with any
 * other lease of the peer. Numbers that are kept for the peer and lie in the range that it asks for
 * become part of it.
 *
 * A whole address is the requested one, else the one that is kept for the peer, else a random free
 * one of those that are dedicated.
 *
 * A pinhole is what inner_addr and inner_port say, and asking for another public address or port is
 * refused, unless it is a suggestion. That the address is the peer's is for the caller to know.
 *
 * now_ns   never less than in an earlier call, here and below.
 * *out     on success the live lease, owned by the table, valid until it ends.
 * Returns 0 new; 1 renewed;
 *   -EINVAL no inner address or port, no protocol, too many sources, peer_idx UINT32_MAX, a
 *   symmetric pinhole, or a range that is a pinhole, of no such size or not at a multiple of it;
 *   -EEXIST both protocols wanted, and one has a lease of its own for this inner endpoint, or a
 *   range and another lease of the peer would lead to the same inner port;
 *   -ERANGE public port outside the lease range, or not the pinhole's inner one; -EACCES public
 * port denied; -EADDRNOTAVAIL public address not in the pool, or not the pinhole's inner one;
 *   -EADDRINUSE port held by another peer, kept for or from another, or by the caller for another
 *   inner endpoint; -EBUSY port of a larger range that is kept for the caller; -EXDEV the peer's
 * leases have another public address, or a whole one; -EDQUOT per-peer limit (or twice that, kept
 * numbers included, when a port is asked for); -ENOSPC table full or no free port; -ETIME until_ns
 * has come. The ttl is clamped to max_ttl, the end to until_ns and the maximum age. Cost O(1)
 * expected, O(log n) for the deadline, never blocks. */
int lease_grant(struct lease_table *t, const struct lease_request *req, uint64_t now_ns,
	const struct lease **out);

/* It now ends ttl_ns from now (0: as granted before), clamped. A lease that is due but was not yet
 * returned by lease_expire_next is live. 0; -ENOENT no such live lease. */
int lease_renew(struct lease_table *t, uint64_t id, uint64_t ttl_ns, uint64_t now_ns,
	const struct lease **out);

/* What else may change of a live lease; sources and nonce may be its own. The caller tells doors.
 * 0; -ENOENT.
 */
int lease_amend(struct lease_table *t, uint64_t id, const struct ip_prefix *sources,
	uint8_t n_sources, const uint8_t nonce[static LEASE_NONCE_BYTES]);

/* Other limits of a live lease. The caller tells doors. 0; -ENOENT. */
int lease_limits_set(struct lease_table *t, uint64_t id, uint32_t max_pps, uint32_t max_new_flows);

/* --- after a restart, before anything is granted: what was there ---------------------------------
 */

/* A live lease as it was; its state is ACTIVE, and no later lease gets its id. No quota is looked
 * at. Returns 0, or what is in the way, and nothing changed:
 *   -EINVAL unsound, or no id; -EEXIST its id, or its protocols at its inner endpoint, are taken;
 *   -ERANGE, -EACCES, -EADDRNOTAVAIL, -EADDRINUSE, -EXDEV, -ENOSPC as lease_grant. O(1) expected.
 */
int lease_restore(struct lease_table *t, const struct lease *l);
/* A number that was kept; after all leases, and in the order of lease_held_next. It is kept for as
 * long as lease_conf says now at most. 0, or as lease_restore. */
int lease_held_restore(struct lease_table *t, const struct lease_held *held, uint64_t now_ns);
/* Ids up to this one are taken for good. */
void lease_ids_skip(struct lease_table *t, uint64_t last_id);
/* An id that no lease has, had or gets: of something else that is numbered with them. */
uint64_t lease_id_reserve(struct lease_table *t);

/* End it. Until the number is FREE only the same peer gets it again; RESERVED counts from the end
 * of the last lease on it, QUARANTINE from the end of RESERVED. *out: what ended. 0; -ENOENT. */
int lease_close(struct lease_table *t, uint64_t id, uint64_t now_ns, struct lease *out);

/* The next live lease whose time has come ends (copied to *out, true), or false: none is due.
 * Numbers that are due go from RESERVED to QUARANTINE, and from there to FREE, on the way. Call
 * until false. O(log n) each. */
bool lease_expire_next(struct lease_table *t, uint64_t now_ns, struct lease *out);
/* When lease_expire_next has something to do; TIME_NEVER when the table is empty. */
uint64_t lease_next_deadline_ns(const struct lease_table *t);

/* From now on peer_idx may name another peer: what was kept for it is in QUARANTINE, and nobody's.
 * Call it when a peer is deleted, once its leases are closed. 0; -EBUSY it has live leases. */
int lease_peer_forget(struct lease_table *t, uint32_t peer_idx, uint64_t now_ns);

/* Whether the peer answers: its leases are ACTIVE, else SUSPENDED, those it opens later included.
 * Returns how many changed. O(its leases) when something changes. */
unsigned lease_peer_reach_set(
	struct lease_table *t, uint32_t peer_idx, bool is_reachable, uint64_t now_ns);
/* Since when a live lease is in its state: opened, or its peer was last said to answer or not. */
uint64_t lease_state_since_ns(const struct lease_table *t, const struct lease *l);

/* Is it, or will it be, a pinhole? */
static inline bool lease_is_pinhole(const struct ip_addr *inner_addr)
{
	return !ip_is_v4(inner_addr);
}
/* The public address of the peer's live leases to IPv4 endpoints; none: it has none. O(1). */
struct ip_addr lease_peer_address(const struct lease_table *t, uint32_t peer_idx);

/* A live lease; NULL. */
const struct lease *lease_get(const struct lease_table *t, uint64_t id);
/* The live lease that has this public port for one of these protocols; NULL. */
const struct lease *lease_find_public(
	const struct lease_table *t, const struct ip_addr *addr, uint8_t protos, uint16_t port);

/* The peer's live lease for this inner endpoint and one of these protocols, a range that has it
 * included; NULL. O(1), and O(its leases) for a peer that has ranges. */
const struct lease *lease_find_inner(const struct lease_table *t, uint32_t peer_idx,
	const struct ip_addr *inner_addr, uint8_t protos, uint16_t inner_port);
/* The same on the peer's symmetric number, whose public port is its inner port too. A peer may have
 * several such numbers: meant is the first, until it is no more the peer's. */
const struct lease *lease_find_symmetric(const struct lease_table *t, uint32_t peer_idx,
	const struct ip_addr *inner_addr, uint8_t protos);

/* The live lease that lease_grant would renew, or refuse with -EEXIST; NULL: it would be a new one.
 */
const struct lease *lease_find_own(const struct lease_table *t, const struct lease_request *req);

/* Walk live leases in no particular order: *cursor starts at 0; NULL ends. peer_idx UINT32_MAX:
 * all. With a peer the cost is that peer's leases only. The table may not change during a walk,
 * except that the lease just returned may be closed. */
const struct lease *lease_next(const struct lease_table *t, uint32_t peer_idx, uint64_t *cursor);
uint32_t lease_count(const struct lease_table *t, uint32_t peer_idx);
/* What quotas and max_leases bound: of a range all its ports. */
uint32_t lease_port_count(const struct lease_table *t, uint32_t peer_idx);
/* Leases that are ACTIVE or SUSPENDED, numbers that are kept in RESERVED or QUARANTINE. O(1). */
uint32_t lease_state_count(const struct lease_table *t, enum lease_state state);
/* Of all leases. */
uint32_t lease_pinhole_count(const struct lease_table *t);

/* Walk the numbers that are kept, as lease_next does: those in QUARANTINE first, each kind in the
 * order of its ends. False ends. Between calls the table may change if the caller does not mind
 * to miss some. */
bool lease_held_next(const struct lease_table *t, uint64_t *cursor, struct lease_held *out);
/* The one kept number there; false: it is free or has a lease. */
bool lease_held_get(const struct lease_table *t, const struct ip_addr *addr, uint16_t port,
	struct lease_held *out);
uint32_t lease_held_count(const struct lease_table *t);
/* Their ports: of a range all, of a whole address, which has none of the pool, none. O(1). */
uint32_t lease_held_port_count(const struct lease_table *t);

#endif
