/* peer.h - one VPN client as the gateway knows it: what control says, and what each thread may
 * read.
 *
 * A peer is a number, peer_idx, into parallel arrays. Each array has one writer:
 *
 *   conf     W: control                     names, keys, limits
 *   view     W: control, R: all             addresses and switches, immutable once published
 *   public   W: control, R: all             the address that its ordinary traffic leaves by
 *   home     W: handshake, R: all           the worker that owns the peer's packets
 *   hot      W: home worker, R: control     session, endpoint, counters
 *   shake    W: handshake                   Noise state, cookies, retries
 *
 * Birth: control fills conf and view, then tells the handshake thread (PEER_MSG_ADD), which
 * computes the static-static secret. Death: control unpublishes the view; after a grace period it
 * tells the handshake thread, which wipes its part and tells the home worker, which wipes its own
 * and passes the message back; only then is the number used again.
 */
#ifndef PORTIER_PEER_H
#define PORTIER_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "base/bytes.h"
#include "base/ip.h"
#include "cookie/cookie.h"
#include "flow/flow.h"
#include "mbox/mbox.h"
#include "noise/noise.h"
#include "noise/session.h"
#include "table/table.h"

#define PEER_NONE	    UINT32_MAX
#define PEER_HOME_NONE	    UINT8_MAX
#define PEER_NAME_CHARS	    32
#define PEER_HOLD_MAX	    8 /* packets that wait for a handshake, per peer */
#define PEER_ROUTES_MAX	    4
#define PEER_ROUTE_BITS_MIN 48

/* What control was told. Control thread only. */
struct peer_conf {
	char name[PEER_NAME_CHARS]; /* may be empty; unique otherwise */
	uint8_t public_key[CRYPTO_KEY_BYTES];
	uint8_t preshared_key[CRYPTO_KEY_BYTES]; /* zero: none. Wiped with the peer. */
	struct ip_addr address4, address6;	 /* inner; at least one */
	struct ip_endpoint endpoint;		 /* configured; port 0: none */
	bool forwarding;			 /* may have leases */
	bool portmap;				 /* may ask for them by NAT-PMP and PCP */
	uint32_t max_leases;
	struct flow_limits limits;
	struct ip_prefix routes[PEER_ROUTES_MAX]; /* IPv6, beside address6; each once */
	uint8_t n_routes;
	uint16_t persistent_keepalive_s;
};

/* What workers read of a peer. Immutable; replaced whole. */
struct peer_view {
	struct ip_addr address4, address6; /* none where absent */
	struct flow_limits limits;
	uint32_t max_leases;
	struct ip_prefix routes[PEER_ROUTES_MAX];
	uint8_t n_routes;
	uint64_t persistent_keepalive_ns;
};

/* Is a one of these inner addresses? Shared by the two functions that follow. */
static inline bool peer_addresses_have(const struct ip_addr *address4,
	const struct ip_addr *address6, const struct ip_prefix *routes, unsigned n_routes,
	const struct ip_addr *a)
{
	if (ip_is_v4(a))
		return ip_equal(a, address4);
	if (ip_equal(a, address6))
		return !ip_is_none(a);
	for (unsigned i = 0; i < n_routes; i++)
		if (ip_prefix_contains(&routes[i], a))
			return true;
	return false;
}

/* Is a one of the peer's own inside the tunnel: an address of it, or one that a route of it
 * contains? */
static inline bool peer_view_has(const struct peer_view *v, const struct ip_addr *a)
{
	return peer_addresses_have(&v->address4, &v->address6, v->routes, v->n_routes, a);
}

static inline bool peer_conf_has(const struct peer_conf *c, const struct ip_addr *a)
{
	return peer_addresses_have(&c->address4, &c->address6, c->routes, c->n_routes, a);
}

/* peer_view_has of an IPv4 address, host order. */
static inline bool peer_view_has_v4(const struct peer_view *v, uint32_t a)
{
	return a != 0 && a == load_be32(ip_v4_bytes(&v->address4));
}

/* Where a peer is heard, and through which of our addresses and ports we answer it. local is none
 * when that is not known (a configured endpoint): the sender chooses both by its routes. */
struct peer_path {
	struct ip_endpoint remote;
	struct ip_addr local;
	uint16_t port_idx;
};

/* Ethernet, IP and UDP headers as they stand in front of every message to a peer; lengths, IP
 * identification and checksums are filled in for each. Made by path, from the peer's path and next
 * hop. */
#define PEER_OUTER_MAX_BYTES (14 + 40 + 8)
struct peer_outer {
	uint64_t fresh_until_ns; /* made again after this; 0: none */
	uint32_t ip_sum;	 /* IPv4: header checksum before folding, variable fields as zero */
	uint16_t port_idx;
	uint8_t len_bytes;
	uint8_t bytes[PEER_OUTER_MAX_BYTES];
};

/* W: home worker; control while the peer is being born (session ready, keepalive and configured
 * endpoint set, all else zero). The first cache lines are what each packet touches. */
struct peer_hot {
	struct noise_session session;
	struct peer_path path; /* remote.port 0: never heard of */
	uint32_t path_version; /* odd while path is being written: control reads it twice */
	uint64_t wheel_due_ns; /* when the home worker's timer wheel looks at this peer */
	struct peer_hot *wheel_next, **wheel_prev;     /* prev NULL: not in the wheel */
	uint32_t peer_idx;			       /* own number, from birth */
	uint64_t rx_bytes, tx_bytes, rx_pkts, tx_pkts; /* inner packets, keepalives included */
	uint64_t last_handshake_ns;		       /* 0: never */
	uint64_t last_received_ns; /* refreshed at most every 250 ms; 0: never */
	uint64_t errors_tat_ns;	   /* of ICMP errors to the peer: path's limit */
	struct peer_outer outer;
	struct rte_mbuf *held[PEER_HOLD_MAX];
	uint8_t n_held;
	uint64_t requests_due_ns; /* of NAT-PMP and PCP: when its allowance is whole again */
} __attribute__((aligned(64)));

/* W: handshake thread. */
struct peer_shake {
	struct noise_remote noise;
	struct cookie_maker cookie;
	struct noise_retry retry;
	struct peer_path path; /* where initiations go */
	uint64_t persistent_keepalive_ns;
	uint32_t slot_idx;	  /* index reserved for the initiation in flight; 0: none */
	uint64_t flood_window_ns; /* initiations accepted in the second that began here */
	uint32_t flood_n;
	uint32_t heap_pos; /* place among the running retry series, from 1; 0: none runs */
	bool is_known;
	/* Handshakes of ours go unanswered since then; 0: no. Mere silence does not count.
	 * R: control. */
	uint64_t unreachable_since_ns;
};

struct peer_params {
	uint32_t max_peers;
	uint32_t n_workers;
	struct grace *grace;
	int socket_id;
};

struct peers;

/* NULL when memory is out. Boot. max_peers costs address space only; each peer that exists costs
 * about 1 KB. */
struct peers *peers_create(const struct peer_params *p);
/* Wipes every key; no other thread runs any more. After handshake_destroy; before the mailboxes of
 * peers_connect and the grace go. NULL is fine. */
void peers_destroy(struct peers *p);

/* --- control ------------------------------------------------------------------------------------
 */

/* Messages control -> handshake -> home worker -> handshake -> control; each is allocated by
 * control and comes back to it, so that nobody else allocates. */
enum peer_msg_kind {
	PEER_MSG_NONE = 0,
	PEER_MSG_ADD, /* a new peer */
	PEER_MSG_SET, /* changed preshared key, keepalive, endpoint, or inner addresses */
	PEER_MSG_DEL, /* forget everything */
};

struct peer_msg {
	struct peer_msg *next; /* whoever holds it may keep it in a list */
	enum peer_msg_kind kind;
	uint32_t peer_idx;
	uint8_t public_key[CRYPTO_KEY_BYTES];
	uint8_t preshared_key[CRYPTO_KEY_BYTES]; /* wiped by control when the message is back */
	bool sets_endpoint;
	bool starts; /* SET: and begin a handshake there */
	struct ip_endpoint endpoint;
	uint64_t persistent_keepalive_ns;
	bool forgets_flows; /* SET: addresses or routes are others now */
};

/* Wipe a message and free it, unless it is a DEL, which belongs to its peer. Control; at the end
 * whoever still holds one. */
void peer_msg_free(struct peer_msg *msg);

/* Control's two ends towards the handshake thread, set once at boot. */
void peers_connect(struct peers *p, struct mbox *to_handshake, struct mbox *from_handshake);

/* Add a peer. *out_idx on success.
 * 0; -EEXIST public key, name, inner address or route is another peer's; -EINVAL public key all
 * zero, name without its NUL, no address, one in the other family's place, or a route that is no
 * IPv6 prefix of PEER_ROUTE_BITS_MIN bits and more, or is given twice; -ENOSPC max_peers reached (a
 * deleted peer counts until all threads have let go), or there are more routes than max_peers;
 * -ENOMEM; -EAGAIN the handshake thread is behind. With -EEXIST, -EINVAL and -ENOSPC *culprit is
 * static text that names which. Routes of different lengths may meet: the longer one leads. */
int peer_add(
	struct peers *p, const struct peer_conf *conf, uint32_t *out_idx, const char **culprit);
/* Replace what was said of a peer; the public key stays. Errors as peer_add. The caller has closed
 * leases that a change of address or forwarding ends. */
int peer_set(
	struct peers *p, uint32_t peer_idx, const struct peer_conf *conf, const char **culprit);
/* The peer shall hear from us when nothing passed for so long; 0: it need not. Of this and
 * persistent_keepalive_s the shorter one holds. Nothing is done when it is so already. 0; -ENOENT;
 * -ENOMEM; -EAGAIN the handshake thread is behind. O(1). */
int peer_heartbeat_set(struct peers *p, uint32_t peer_idx, uint64_t interval_ns);
/* 0: none, or no such peer. */
uint64_t peer_heartbeat(const struct peers *p, uint32_t peer_idx);
/* How many peers have one. */
uint32_t peers_heartbeats(const struct peers *p);
/* It was heard there before a restart: lead to it, and, when starts, begin a handshake. 0; -ENOENT;
 * -ENOMEM; -EAGAIN the handshake thread is behind. */
int peer_begin(struct peers *p, uint32_t peer_idx, const struct ip_endpoint *endpoint, bool starts);
/* Delete. The caller has closed its leases. From now on workers drop its packets; the number is
 * reused when all threads have let go. -ENOENT. */
int peer_del(struct peers *p, uint32_t peer_idx);
/* Drain messages that came back. From the control loop. */
void peers_poll(struct peers *p);

/* Of a live peer; gone with it. Workers see it a little later. */
void peer_public_set(struct peers *p, uint32_t peer_idx, uint32_t public_v4);

/* NULL when there is none (deleted ones included). */
const struct peer_conf *peer_conf_get(const struct peers *p, uint32_t peer_idx);
/* PEER_NONE when unknown. who: a name, or a public key in base64. */
uint32_t peer_find(const struct peers *p, const char *who);
uint32_t peer_find_key(const struct peers *p, const uint8_t public_key[static CRYPTO_KEY_BYTES]);
/* Walk: *cursor starts at 0; PEER_NONE ends. */
uint32_t peer_next(const struct peers *p, uint32_t *cursor);
uint32_t peers_count(const struct peers *p);

/* What is known live; a snapshot that may be a burst old. */
struct peer_status {
	struct ip_endpoint endpoint; /* port 0: never heard of and none configured */
	uint8_t home;		     /* worker, or PEER_HOME_NONE */
	uint64_t last_handshake_ns, last_received_ns; /* 0: never */
	uint64_t unreachable_since_ns;		      /* 0: it is not known to be */
	uint64_t rx_bytes, tx_bytes, rx_pkts, tx_pkts;
};
/* Of that, whether it answers; one read. */
bool peer_is_reachable(const struct peers *p, uint32_t peer_idx);
void peer_status_get(const struct peers *p, uint32_t peer_idx, struct peer_status *out);
/* The whole path by which it is answered. False: it changes too fast to be read. */
bool peer_path_get(const struct peers *p, uint32_t peer_idx, struct peer_path *out);

/* --- any thread that is a grace reader --- */

/* NULL: no such peer (any more). Valid until the reader's next quiescent point. */
const struct peer_view *peer_view(const struct peers *p, uint32_t peer_idx);
/* The peer whose inner address this is, or, for want of one, the longest route; PEER_NONE. */
uint32_t peer_find_inner(const struct peers *p, const struct ip_addr *inner);
/* The same of an IPv4 address in host order; of nearly all of the Internet's, one load. */
uint32_t peer_find_inner_v4(const struct peers *p, uint32_t inner);
/* The IPv4 address that the peer's ordinary traffic leaves by, host order; 0: none. */
uint32_t peer_public(const struct peers *p, uint32_t peer_idx);
uint8_t peer_home(const struct peers *p, uint32_t peer_idx);

/* --- home worker --- */
struct peer_hot *peer_hot(struct peers *p, uint32_t peer_idx);

/* Every change of path goes through here, because control may be reading it (peer_status_get). */
static inline void peer_hot_path_set(struct peer_hot *hot, const struct peer_path *path)
{
	uint32_t version = hot->path_version;

	__atomic_store_n(&hot->path_version, version + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	hot->path = *path;
	__atomic_store_n(&hot->path_version, version + 2, __ATOMIC_RELEASE);
}

/* --- handshake thread --- */
struct peer_shake *peer_shake(struct peers *p, uint32_t peer_idx);
void peer_home_set(struct peers *p, uint32_t peer_idx, uint8_t home);
uint32_t peers_max(const struct peers *p);

#endif
