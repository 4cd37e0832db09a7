/* lease.h - port-forwarding leases: which peer owns a public port, and until when.
 *
 * Spec:      DESIGN section 4; RFC 6888 REQ-8 (quarantine); RFC 6056 (random choice).
 * Threads:   control thread only; workers see leases through doors.
 * Memory:    sized at create; no allocation afterwards.
 * Invariant: at most one owner of (public address, public port), both protocols together, and all
 *            its live leases lead to the same inner address and port;
 *            at most one live lease per (peer, protocol, inner address, inner port);
 *            all leases of a peer have the same public address.
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
#define LEASE_TABLE_MAX	  (1u << 28)
#define LEASE_NONCE_BYTES 12

enum lease_state {
	LEASE_FREE = 0,
	LEASE_ACTIVE,
	LEASE_QUARANTINE, /* ended: only in the copies that close and expire_next give */
};

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
	uint16_t public_port;
	struct ip_addr inner_addr;
	uint16_t inner_port;
	uint64_t opened_ns;
	uint64_t expires_ns; /* TIME_NEVER: no end; in QUARANTINE: when others may have the port */
	uint64_t ttl_ns;     /* as granted; a renewal without a TTL grants it again */
	uint64_t idle_ns;    /* close when unused for this long; 0: no idle limit */
	struct ip_prefix sources[LEASE_SOURCES_MAX];
	uint8_t n_sources; /* 0: any source */
	char label[LEASE_LABEL_CHARS];
	enum lease_opener opener;
	uint8_t nonce[LEASE_NONCE_BYTES]; /* of the last PCP request for it; zero: none */
};

/* Where public ports come from. */
struct lease_conf {
	struct ip_prefix pool[LEASE_POOL_MAX];
	unsigned n_pool;
	uint16_t port_first, port_last; /* inclusive */
	uint32_t max_leases;		/* live ones; as many numbers again may be in quarantine */
	uint64_t default_ttl_ns, max_ttl_ns;
	uint64_t quarantine_ns;
	/* Random bytes: crypto_random in the gateway, a seeded generator in tests. */
	void (*random)(void *out, size_t len);
};

/* Zero means "not asked for" in public_addr, public_port and ttl_ns. */
struct lease_request {
	uint32_t peer_idx;
	uint32_t peer_max_leases; /* quota */
	uint8_t protos;
	struct ip_addr public_addr;
	uint16_t public_port;
	struct ip_addr inner_addr;
	uint16_t inner_port;
	bool is_symmetric; /* inner_port is ignored: it is to be the public port, whichever */
	uint64_t ttl_ns;
	uint64_t idle_ns;
	struct ip_prefix sources[LEASE_SOURCES_MAX];
	uint8_t n_sources;
	char label[LEASE_LABEL_CHARS];
	enum lease_opener opener;
	uint8_t nonce[LEASE_NONCE_BYTES];
};

struct lease_table;

/* NULL when memory is out. conf is copied. */
struct lease_table *lease_table_create(const struct lease_conf *conf);
void lease_table_destroy(struct lease_table *t);

/* Grant a new lease, or renew the caller's own: a request for the same (peer, inner address, inner
 * port) and protocols, or for one of both, renews that lease, keeping its port, whatever is
 * suggested. A renewal changes the lifetime only: sources, label and idle limit stay as opened.
 * Asking for the companion protocol of an own lease gives a lease on the same number.
 *
 * A symmetric request is for an inner endpoint that the number decides: it renews or joins the
 * peer's symmetric number (lease_find_symmetric), takes it back from quarantine, or else gets one
 * whose port is no other number's inner port.
 *
 * The public address is the one the peer's other leases have; for a first lease the requested one,
 * else the one it had, else a random address of the pool, of the inner address's family. The port
 * is the requested one; else the one that the peer had for this inner endpoint, if still in
 * quarantine; else a random free one out of the range. A peer that holds twice its quota, numbers
 * in quarantine included, gets the longest-waiting of its own instead of a free one.
 *
 * now_ns   never less than in an earlier call, here and below.
 * *out     on success the live lease, owned by the table, valid until it ends.
 * Returns 0 new; 1 renewed;
 *   -EINVAL no inner address or port, no protocol, too many sources, peer_idx UINT32_MAX;
 *   -EEXIST both protocols wanted, and one has a lease of its own for this inner endpoint;
 *   -ERANGE public port outside the lease range; -EADDRNOTAVAIL public address not in the pool, or
 *   none of the inner address's family; -EADDRINUSE port held by another peer, in quarantine from
 *   another peer, or by the caller for another inner endpoint; -EXDEV the peer's leases have
 * another public address; -EDQUOT per-peer limit (or twice that, quarantine included, when a port
 * is asked for); -ENOSPC table full or no free port. The ttl is clamped to max_ttl. Cost O(1)
 * expected, O(log n) for the deadline, never blocks. */
int lease_grant(struct lease_table *t, const struct lease_request *req, uint64_t now_ns,
	const struct lease **out);

/* It now ends ttl_ns from now (0: as granted before), clamped. A lease that is due but was not yet
 * returned by lease_expire_next is live. 0; -ENOENT no such live lease. */
int lease_renew(struct lease_table *t, uint64_t id, uint64_t ttl_ns, uint64_t now_ns,
	const struct lease **out);

/* What else may change of a live lease; sources may be its own. The caller tells doors. 0; -ENOENT.
 */
int lease_amend(struct lease_table *t, uint64_t id, const struct ip_prefix *sources,
	uint8_t n_sources, const uint8_t nonce[static LEASE_NONCE_BYTES]);

/* End it: ACTIVE -> QUARANTINE. During the quarantine only the same peer gets the port again; it
 * counts from the end of the last lease on that port. *out: what ended. 0; -ENOENT. */
int lease_close(struct lease_table *t, uint64_t id, uint64_t now_ns, struct lease *out);

/* The next ACTIVE lease whose time has come ends (copied to *out, true), or false: none is due.
 * QUARANTINE entries that are due become FREE on the way. Call until false. O(log n) each. */
bool lease_expire_next(struct lease_table *t, uint64_t now_ns, struct lease *out);
/* When lease_expire_next has something to do; TIME_NEVER when the table is empty. */
uint64_t lease_next_deadline_ns(const struct lease_table *t);

/* From now on peer_idx may name another peer: its numbers in quarantine are nobody's until they are
 * FREE. Call it when a peer is deleted, once its leases are closed. 0; -EBUSY it has live leases.
 */
int lease_peer_forget(struct lease_table *t, uint32_t peer_idx);

/* A live lease; NULL. */
const struct lease *lease_get(const struct lease_table *t, uint64_t id);
/* The live lease that holds this public port for one of these protocols; NULL. */
const struct lease *lease_find_public(
	const struct lease_table *t, const struct ip_addr *addr, uint8_t protos, uint16_t port);

/* The peer's live lease for this inner endpoint and one of these protocols; NULL. O(1). */
const struct lease *lease_find_inner(const struct lease_table *t, uint32_t peer_idx,
	const struct ip_addr *inner_addr, uint8_t protos, uint16_t inner_port);
/* The same on the peer's symmetric number, whose public port is its inner port too. A peer may have
 * several such numbers: meant is the first, until it is no more the peer's. */
const struct lease *lease_find_symmetric(const struct lease_table *t, uint32_t peer_idx,
	const struct ip_addr *inner_addr, uint8_t protos);

/* Walk live leases in no particular order: *cursor starts at 0; NULL ends. peer_idx UINT32_MAX:
 * all. With a peer the cost is that peer's leases only. The table may not change during a walk,
 * except that the lease just returned may be closed. */
const struct lease *lease_next(const struct lease_table *t, uint32_t peer_idx, uint64_t *cursor);
uint32_t lease_count(const struct lease_table *t, uint32_t peer_idx);

#endif
