/* flow.h - source NAT of one worker: by which public port a peer's packet leaves, and what may come
 * back to it.
 *
 * Spec:      RFC 4787 (UDP), RFC 5382 and RFC 7857 (TCP), RFC 5508 (ICMP echo), RFC 6888 (carrier
 *            grade), RFC 6146 (TCP states), RFC 6056 (random ports), RFC 6092 (IPv6 filter).
 * Mapping:   (peer, protocol, inner address and port, public address) -> public port, endpoint
 *            independent. It lives as long as a session on which its peer has sent; then it rests:
 *            nothing comes in, and for rest_ns only the same inner endpoint can have it back; then
 *            its port is free, and a block without ports goes back.
 * Session:   a remote endpoint of a mapping: filter, timer and TCP state. IPv6, and IPv4 to exempt
 *            destinations, have sessions without a mapping: nothing is translated.
 * Quotas:    a refused beginning costs nobody but its peer anything; nobody is evicted, ever. The
 *            outside may fill half a peer's quota, and half its burst, with what it did not answer.
 * Threads:   one worker writes. Control may look through the functions of the last section; blocks
 *            (blocks.h) are shared by all workers.
 * Memory:    sized at create; no allocation afterwards. A session's memory is a session for ever.
 * Invariant: no two owners of one (public address, protocol, public port), ever: a port belongs to
 *            a block, a block to one peer, a bit of the block to one mapping.
 */
#ifndef PORTIER_FLOW_H
#define PORTIER_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/time.h"
#include "flow/blocks.h"
#include "flow/limits.h"
#include "flow/records.h"
#include "flow/tcp.h"

#define FLOW_BURST_MAX	  64
#define FLOW_SESSIONS_MAX (1u << 26)

struct flow_conf {
	uint32_t max_peers;
	/* Of this worker, all peers, 1 to FLOW_SESSIONS_MAX. Half as many mappings again, because
	 * those that rest have no sessions. A remote address of a moderate peer takes one, too. */
	uint32_t max_sessions;
	uint64_t udp_ns, tcp_established_ns, tcp_transitory_ns, icmp_ns;
	uint64_t rest_ns;      /* RFC 6888 REQ-8 */
	struct blocks *blocks; /* outlives the flows */
	/* Random bytes, at create only: crypto_random in the gateway, seeded in tests. */
	void (*random)(void *out, size_t len);
	/* Where large tables come from: zeroed memory, cache aligned. Both NULL: libc. */
	void *(*alloc)(size_t bytes, int socket_id);
	void (*free)(void *p);
	int socket_id;
};

/* By what a packet finds its session; addresses and ports in host order. ICMP echo: the identifier
 * is the near port, and remote_port is 0. No padding: zero is zero. */
struct flow_out_key {
	uint32_t peer_idx;
	uint32_t inner_v4, remote_v4;
	uint16_t inner_port, remote_port;
	uint8_t proto;
	uint8_t zero[3];
};

struct flow_in_key {
	uint32_t public_v4, remote_v4;
	uint16_t public_port, remote_port;
	uint8_t proto;
	uint8_t zero[3];
};

/* IPv6, both ways: inner addresses are unique among all peers. */
struct flow_v6_key {
	struct ip_addr inner, remote;
	uint16_t inner_port, remote_port;
	uint8_t proto;
	uint8_t zero[3];
};

enum flow_verdict {
	FLOW_REFUSED = 0,     /* in: no mapping there, or its filter says no; out: not a key to have
			       * a session by (protocol, peer_idx, an inner address in use by
			       * another peer) */
	FLOW_OK,	      /* here is the session */
	FLOW_NO_PORT,	      /* no port is free in the peer's blocks, and it may have no further
			       * block or the address has none left */
	FLOW_TOO_MANY,	      /* sessions of the peer */
	FLOW_TOO_FAST,	      /* new sessions of the peer, in this second */
	FLOW_TABLE_FULL,      /* of this worker */
	FLOW_NOT_A_BEGINNING, /* TCP, and not a SYN: a stray packet must not hold a port */
};

/* Lists are joined by the index of a record; 0 is none. */
struct flow_link {
	uint32_t prev, next;
};

/* One session. The first 64 bytes are all that an IPv4 packet needs. W: the worker, through the
 * functions below. R: the worker; control reads through flow_session_read. */
struct flow_session {
	uint32_t serial; /* odd: live; another one afterwards: not the same session any more */
	uint32_t peer_idx;
	uint32_t public_v4, inner_v4, remote_v4; /* IPv6: 0. Exempt: public is inner */
	uint16_t public_port, inner_port, remote_port;
	uint8_t proto;
	uint8_t tcp_state; /* enum flow_tcp_state */
	bool is_v6;
	bool is_exempt;
	bool is_permit;	 /* not a session: that a moderate filter lets remote_v4 in */
	bool has_sent;	 /* the peer has: it counts for its mapping's life */
	uint64_t due_ns; /* when it ends, if nothing more passes */
	uint64_t begun_ns;
	/* The engine's own, here and at the end. */
	uint32_t mapping;
	struct flow_link in_wheel;
	uint16_t wheel_slot;
	bool wants_permit;
	uint8_t unused;

	struct ip_addr inner_v6, remote_v6; /* IPv4: zero */
	struct flow_link in_peer, in_mapping;
	uint32_t permit;
	uint32_t n_refs; /* of a permit */
	uint64_t reserved;
} __attribute__((aligned(64)));

struct flows;

/* NULL: memory, or max_sessions or max_peers out of bounds. */
struct flows *flows_create(const struct flow_conf *conf);
/* Its blocks are released. NULL is fine. */
void flows_destroy(struct flows *f);

/* --- finding, in bursts: hash and prefetch all, then look. n at most FLOW_BURST_MAX; out[i] NULL:
 * there is none. Pointers are good until the next call that begins, turns or forgets. */
void flow_find_out_burst(
	struct flows *f, const struct flow_out_key *keys, uint32_t n, struct flow_session **out);
void flow_find_in_burst(
	struct flows *f, const struct flow_in_key *keys, uint32_t n, struct flow_session **out);
void flow_find_v6_burst(
	struct flows *f, const struct flow_v6_key *keys, uint32_t n, struct flow_session **out);

/* --- beginning. *out is set on FLOW_OK only: the session, or the one that an earlier packet has
 * begun. flow_sent or flow_received follows with the packet. On any other verdict nothing has
 * changed, except that a beginning refused for want of a port or of room has cost its token.
 * tcp_flags: byte 13 of the TCP header; else 0. O(blocks of the peer), and O(blocks of an address)
 * when a new block is claimed. */

/* The peer's packet: finds or makes the mapping on public_v4. TCP, UDP and ICMP only. */
enum flow_verdict flow_begin_out(struct flows *f, const struct flow_out_key *key,
	uint32_t public_v4, uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session **out);
/* The same without translation, to an exempt destination; any protocol. */
enum flow_verdict flow_begin_exempt(struct flows *f, const struct flow_out_key *key,
	uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session **out);
/* The same for IPv6. Protocols other than TCP and ICMPv6 have the timer of UDP. */
enum flow_verdict flow_begin_v6(struct flows *f, uint32_t peer_idx, const struct flow_v6_key *key,
	uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session **out);
/* A packet from the Internet to a public port: is there a mapping that does not rest, and does the
 * filter admit it? limits are those of the mapping's peer (blocks_owner()). */
enum flow_verdict flow_begin_in(struct flows *f, const struct flow_in_key *key, uint8_t tcp_flags,
	const struct flow_limits *limits, uint64_t now_ns, struct flow_session **out);

/* --- passing: a packet of the session goes on. ICMP errors do not come here: they end nothing and
 * refresh nothing. What the peer sends refreshes (RFC 4787 REQ-6), except a RST; what it receives
 * only moves the TCP state (tcp.h). Cost: the session's first 64 bytes. */
void flow_sent(struct flows *f, struct flow_session *s, uint8_t tcp_flags, uint64_t now_ns);
void flow_received(struct flows *f, struct flow_session *s, uint8_t tcp_flags, uint64_t now_ns);

/* --- ending */

/* End what is due; look at no more than budget records. Returns at how many it looked: less than
 * budget when nothing is due any more. now_ns: never less than in an earlier call. A session ends
 * at most 135 ms late if this is called often enough. */
unsigned flow_turn(struct flows *f, uint64_t now_ns, unsigned budget);
/* The peer is gone, or its inner addresses are others now: its sessions end, its ports rest and
 * are nobody's, and its blocks go back after that. O(its sessions and mappings). */
void flow_peer_forget(struct flows *f, uint32_t peer_idx, uint64_t now_ns);

/* --- looking, at any time, from control or the worker. Nothing is changed. */

struct flow_counts {
	uint64_t sessions;	    /* now */
	uint64_t permits;	    /* now; they take room among the sessions */
	uint64_t mappings, resting; /* now; resting ones are not among the mappings */
	uint64_t blocks;	    /* now, also those of which all ports rest */
	uint64_t begun, ended;	    /* sessions, ever */
};
const struct flow_counts *flows_counts(const struct flows *f);
/* Sessions are numbered from 1 to this. */
uint32_t flows_max(const struct flows *f);
/* A copy of session idx, of which due_ns, tcp_state and has_sent are a moment's, and the engine's
 * own is zero. False: there is none, or it ended while it was read. */
bool flow_session_read(const struct flows *f, uint32_t idx, struct flow_session *out);
/* The session that a packet would find, copied likewise. One that begins or ends meanwhile may be
 * missed. */
bool flow_peek_out(const struct flows *f, const struct flow_out_key *key, struct flow_session *out);
bool flow_peek_in(const struct flows *f, const struct flow_in_key *key, struct flow_session *out);
bool flow_peek_v6(const struct flows *f, const struct flow_v6_key *key, struct flow_session *out);
/* Would flow_begin_in find a mapping whose filter admits this? FLOW_OK or FLOW_REFUSED. */
enum flow_verdict flow_peek_filter(
	const struct flows *f, const struct flow_in_key *key, enum flow_filter filter);
/* What would a beginning that no session leads be told? FLOW_OK: *public_port is that of the
 * mapping there is, 0 for one that is still to be drawn. plain: flow_begin_exempt, flow_begin_v6;
 * in: *out is what the session would be. They need the same moments as the calls that begin, and
 * may be wrong by what happens meanwhile. O(blocks of an address), no more. */
enum flow_verdict flow_peek_begin_out(const struct flows *f, const struct flow_out_key *key,
	uint32_t public_v4, uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	uint16_t *public_port);
enum flow_verdict flow_peek_begin_plain(const struct flows *f, uint32_t peer_idx, uint8_t proto,
	uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns);
enum flow_verdict flow_peek_begin_in(const struct flows *f, const struct flow_in_key *key,
	uint8_t tcp_flags, const struct flow_limits *limits, uint64_t now_ns,
	struct flow_session *out);
/* What its blocks went through, for control to take. Those that are claimed when the flows are
 * destroyed have no record of their end. */
struct flow_records *flows_records(const struct flows *f);
/* Sessions that peer_idx has now. */
uint32_t flow_peer_sessions(const struct flows *f, uint32_t peer_idx);

#endif
