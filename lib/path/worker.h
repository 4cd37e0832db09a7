/* worker.h - inside the packet path: one worker's state, and the stages it is made of.
 *
 * Every stage takes a burst, drops with exactly one reason, and passes the rest on. Everything here
 * has one writer, the worker itself, except the hand-over rings (one producer, one consumer each).
 */
#ifndef PORTIER_PATH_WORKER_H
#define PORTIER_PATH_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "portmap/portmap.h"
#include "flow/flow.h"
#include "frag/frag.h"
#include "nat/fragment.h"
#include "nat/icmp.h"
#include "nat/nat.h"
#include "stats/recent.h"
#include "pkt/pkt.h"
#include "path/path.h"

/* Where a packet goes on when another worker takes it over. */
enum path_stage {
	PATH_STAGE_NONE = 0,
	PATH_STAGE_OPEN,     /* WireGuard data for this worker's keypair */
	PATH_STAGE_FRAGMENT, /* a fragment from the Internet; its datagram is collected here */
	PATH_STAGE_DNAT,     /* IPv4 for a peer that lives here */
	PATH_STAGE_V6,	     /* IPv6 for a peer that lives here */
	PATH_STAGE_SEAL,     /* from another peer, for one that lives here: nothing to translate */
	PATH_STAGE_TX,	     /* a finished frame, for a port without a tx queue for its maker */
};

/* What leads a packet, once it is found: it may end while the packet waits. */
enum path_via {
	PATH_VIA_NONE = 0, /* nothing yet, or nothing that could end */
	PATH_VIA_DOOR,
	PATH_VIA_SESSION,
};

/* What the path knows of a packet, in the mbuf's private area. path comes first: the handshake
 * thread reads it there. */
struct path_meta {
	struct peer_path path; /* tunnel -> Internet: how it came; else only port_idx */
	uint8_t stage;	       /* enum path_stage */
	bool is_originated;    /* made by the gateway */
	bool is_hairpin;       /* from a peer to a public address: its hop is counted */
	bool is_error;	       /* an ICMP error: led by the packet that it quotes */
	bool is_exempt;	       /* from an exempt source to an inner address */
	bool is_fragment;      /* its ports are those of its first fragment */
	uint8_t via;	       /* enum path_via */
	uint8_t probe;	       /* the number of the gateway's own knock; 0: it is none */
	uint32_t peer_idx;
	struct nat_view view; /* of the IP packet that the data begins with */
	uint32_t generation;  /* of door, or serial of session, when it was looked up */
	union {
		struct noise_keypair *keypair;
		struct door *door;
		struct flow_session *session;
	};
};
static_assert(sizeof(struct path_meta) <= PKT_PRIV_BYTES, "fits the private area");
static_assert(sizeof(struct path_punt) <= PKT_PRIV_BYTES, "fits the private area");
static_assert(sizeof(struct path_service) <= PKT_PRIV_BYTES, "fits the private area");
static_assert(sizeof(struct path_probe) <= PKT_PRIV_BYTES, "fits the private area");

static inline struct path_meta *path_meta(struct rte_mbuf *m)
{
	return rte_mbuf_to_priv(m);
}

struct path_burst {
	uint16_t n;
	struct rte_mbuf *pkts[PATH_BURST];
};

/* Some of the gateway's own addresses, by family, because each packet is compared with them. */
struct path_addrs {
	unsigned n_v4, n_v6;
	uint32_t v4[CONF_IFADDRS_MAX * CONF_PORTS_MAX]; /* host order */
	struct ip_addr v6[CONF_IFADDRS_MAX * CONF_PORTS_MAX];
};

static inline bool path_addrs_has_v4(const struct path_addrs *a, uint32_t addr)
{
	for (unsigned i = 0; i < a->n_v4; i++)
		if (a->v4[i] == addr)
			return true;
	return false;
}

static inline bool path_addrs_has_v6(const struct path_addrs *a, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < a->n_v6; i++)
		if (ip_equal(&a->v6[i], addr))
			return true;
	return false;
}

/* An IPv4 prefix, host order. */
struct path_prefix {
	uint32_t net, mask;
};

static inline bool path_prefixes_have(const struct path_prefix *set, unsigned n, uint32_t addr)
{
	for (unsigned i = 0; i < n; i++)
		if ((addr & set[i].mask) == set[i].net)
			return true;
	return false;
}

static inline bool path_is_martian_v4(uint32_t addr)
{
	uint32_t net = addr >> 24;

	return net == 0 || net == 127 || net >= 224;
}

/* 169.254.0.0/16 */
#define PATH_LINK_LOCAL_V4 ((struct path_prefix){0xa9fe0000, 0xffff0000})

static inline bool path_is_link_local_v4(uint32_t addr)
{
	return path_prefixes_have(&PATH_LINK_LOCAL_V4, 1, addr);
}

/* IPv4 addresses by their first 12 bits: what asks several sets of them about every packet asks
 * here first, and almost never goes on. */
struct path_nets {
	uint64_t bits[4096 / 64];
};

static inline bool path_nets_may_have(const struct path_nets *nets, uint32_t addr)
{
	return nets->bits[addr >> 26] >> (addr >> 20 & 63) & 1;
}

/* A port as the stages see it; read-only while workers run. */

struct path_port {
	const struct port *port;
	bool is_tunnel, is_public, answer_ping;
	uint16_t mtu_bytes;
	uint8_t tx_worker[CONF_WORKERS_MAX]; /* who sends for each worker: port_tx_worker() */
	struct path_addrs locals;
	unsigned n_on_link;
	struct path_prefix on_link[CONF_IFADDRS_MAX]; /* IPv4: hosts without a router between */
	uint32_t gateway_v4;			      /* the router to all others; 0: none */
};

struct path_rx_queue {
	uint16_t port_idx, queue;
};

#define WHEEL_SLOTS	1024
#define WHEEL_TICK_LOG2 23 /* 8.4 ms; 8.6 s for a round */
/* Peers put back by one look: some 10 us. */
#define WHEEL_PUT_BACK_MAX 256

/* Peers of this worker by the time their session wants a look. */
struct path_wheel {
	uint64_t tick; /* the slot that is looked at next, counted from time 0 */
	struct peer_hot *slots[WHEEL_SLOTS];
};

/* A next hop as it was known not long ago: an on-link host, or the router. */
#define PATH_HOPS 64
#define PATH_HOP_FRESH_NS \
	(100 * NS_IN_MS) /* how long a next hop is believed without asking neigh */

struct path_hop {
	uint64_t fresh_until_ns;
	uint32_t addr; /* IPv4, host order */
	struct rte_ether_addr mac;
};

struct path_worker {
	struct path *path;
	unsigned idx;
	uint64_t now_ns; /* of this turn */
	uint16_t ip_id;
	struct path_mail mail;
	struct aead *aead;
	unsigned n_rx_queues;
	struct path_rx_queue rx_queues[CONF_PORTS_MAX * CONF_WORKERS_MAX];

	struct path_burst opening;    /* for the open stage */
	struct path_burst knocking;   /* for the door stage */
	struct path_burst admitting;  /* for the dnat stage */
	struct path_burst admitting6; /* for the IPv6 filter */
	struct path_burst sealing;    /* for the seal stage */
	struct path_burst freeing;    /* dropped or consumed */
	struct path_sights {
		uint16_t n;
		struct door_sight of[PATH_BURST];
	} sights; /* to be noted of doors at the end of the burst */
	struct path_burst handing[CONF_WORKERS_MAX]; /* by the worker that takes over */
	struct path_burst sending[CONF_PORTS_MAX];   /* by port */

	struct flows *flows;	       /* sessions of the peers at home here */
	struct frag_table *frags_in;   /* datagrams from the Internet, whoever they are for */
	struct frag_table *frags_out;  /* of peers at home here */
	uint16_t datagram_id, id_step; /* path_datagram_id() */
	uint64_t errors_tat_ns;	       /* of ICMP errors to the Internet: path_limit_pass() */

	struct path_hop hops[CONF_PORTS_MAX][PATH_HOPS];
	struct rte_ring *rings_in[CONF_WORKERS_MAX]; /* by the worker that hands over; own: NULL */
	struct path_wheel wheel;
	uint32_t sleep_us; /* the ramp of an idle worker */
	uint32_t idle_turns;

	struct stats_worker stats;
	struct stats_recent recent;
} __attribute__((aligned(64)));

struct path {
	struct path_params params;
	struct noise_timing timing;
	unsigned n_ports;
	unsigned tunnel_idx, public_idx; /* into ports */
	uint16_t listen_port;
	uint16_t inner_mtu_bytes;
	uint32_t max_holding; /* packets that may wait for handshakes, per worker */
	struct path_port ports[CONF_PORTS_MAX];
	struct path_addrs own;	 /* of all ports */
	struct path_addrs inner; /* inside the tunnel */
	/* Sources that nobody outside has are among them. */
	struct path_nets odd_sources;
	/* What is not reached through the Internet's router is among them, but for peers. */
	struct path_nets odd_destinations;
	unsigned n_pool;
	struct path_prefix pool[3 * CONF_POOL_MAX]; /* every public address */
	unsigned n_exempt;
	struct path_prefix exempt[CONF_EXEMPT_MAX]; /* destinations without translation */
	unsigned n_blocked;
	struct conf_blocked
		blocked[CONF_BLOCKED_MAX]; /* destination ports that peers may not use */
	uint16_t mss4, mss6; /* largest TCP segment through the tunnel; 0: not clamped */
	bool peer_to_peer;
	struct blocks *blocks; /* of public ports for source NAT; workers claim, all read */
	atomic_bool is_stopping;
	struct path_worker *workers[CONF_WORKERS_MAX];
};

/* False: the IPv4 source is no martian, and not the gateway's own, on whichever port. */
static inline bool path_is_odd_source(const struct path *p, uint32_t src)
{
	return path_nets_may_have(&p->odd_sources, src);
}

/* False: the IPv4 destination is no martian, not link-local, not the gateway's own (inside, outside
 * or of the pool), and on no link of ours. */
static inline bool path_is_odd_destination(const struct path *p, uint32_t dst)
{
	return path_nets_may_have(&p->odd_destinations, dst);
}

static inline bool path_is_pool(const struct path *p, uint32_t addr)
{
	return path_prefixes_have(p->pool, p->n_pool, addr);
}

/* Entry, port or pool address, on whichever port: nobody else sends from it. */
static inline bool path_is_own_v4(const struct path *p, uint32_t addr)
{
	return path_addrs_has_v4(&p->own, addr) || path_is_pool(p, addr);
}

/* Of the IP packet that the data begins with, once it is parsed. */
static inline struct ip_addr path_source(struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	return likely(path_meta(m)->view.version == 4) ? ip_from_v4(ip + 12) : ip_from_v6(ip + 8);
}

static inline struct ip_addr path_destination(struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	return likely(path_meta(m)->view.version == 4) ? ip_from_v4(ip + 16) : ip_from_v6(ip + 24);
}

/* --- accounting ----------------------------------------------------------------------------------
 */

void path_free_flush(struct path_worker *w);

static inline void path_free(struct path_worker *w, struct rte_mbuf *m)
{
	if (w->freeing.n == PATH_BURST)
		path_free_flush(w);
	w->freeing.pkts[w->freeing.n++] = m;
}

/* Among the recent drops (record.c). */
void path_record(struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason);

/* A probe is dropped (probe.c). */
void path_probe_lost(struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason);

/* A packet that a door leads is dropped: is that told of its lease? (failure.c) */
void path_failure_note(struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason);

/* The end of a packet, counted once. What the gateway made itself is lost, not dropped. */
static inline void path_drop(struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason)
{
	if (path_meta(m)->is_originated) {
		w->stats.counter[STATS_originated_lost]++;
		if (unlikely(path_meta(m)->probe))
			path_probe_lost(w, m, reason);
	} else {
		w->stats.drop[reason]++;
		if (path_meta(m)->via == PATH_VIA_DOOR)
			path_failure_note(w, m, reason);
		if (stats_recent_wants(&w->recent, reason, w->now_ns))
			path_record(w, m, reason);
	}
	path_free(w, m);
}

/* The end of a packet that was for us. */
static inline void path_consume(struct path_worker *w, struct rte_mbuf *m)
{
	w->stats.counter[STATS_consumed]++;
	path_free(w, m);
}

/* A packet that was received ends, and its buffer carries an answer of ours from here on. */
static inline void path_answer(struct path_worker *w, struct rte_mbuf *m)
{
	w->stats.counter[STATS_consumed]++;
	w->stats.counter[STATS_originated]++;
	path_meta(m)->is_originated = true;
}

/* Times in lines that control reads are written at most this often. */
#define PATH_USED_REFRESH_NS (250 * NS_IN_MS)

/* True once in such a time: that is when a packet of an unlimited lease is looked at. */
static inline bool path_door_used(const struct path_worker *w, struct door *door)
{
	if (likely(w->now_ns - door->counters.last_used_ns < PATH_USED_REFRESH_NS))
		return false;
	door->counters.last_used_ns = w->now_ns;
	return true;
}

/* What the door's lease asks of a packet from this far end (door.c). False: it ended here. */
bool path_door_asks(struct path_worker *w, struct rte_mbuf *m, struct door *door,
	struct door_terms *terms, const struct ip_addr *src);

/* The packet came in by the door, from this far end: of which flow, by whom? Noted by the flush at
 * the end of the burst. (door.c) */
void path_door_note(
	struct path_worker *w, struct rte_mbuf *m, struct door *door, const struct ip_addr *src);
void path_door_notes_flush(struct path_worker *w);

/* A packet of the peer leaves by its door, not yet rewritten, and it has an RST, or is an ICMP
 * error (then quote is not NULL): does it say that nobody listens? (failure.c) */
void path_failure_look(struct path_worker *w, struct rte_mbuf *m, const struct door *door,
	const struct nat_icmp_error *quote);

/* --- who owns what (dispatch.c) ------------------------------------------------------------------
 */

/* The worker that must handle this packet at this stage: of the keypair named by the receiver
 * index, the one that collects a fragmented datagram, or the home of the peer. May be no worker at
 * all (>= n_workers). The one oracle for dispatch. */
uint32_t path_owner_of(const struct path *p, enum path_stage stage, struct rte_mbuf *m);

/* Keep what is this worker's in pkts, hand over the rest. */
uint16_t path_dispatch_burst(
	struct path_worker *w, enum path_stage stage, struct rte_mbuf **pkts, uint16_t n);
void path_hand_over(struct path_worker *w, unsigned to, enum path_stage stage, struct rte_mbuf *m);
void path_hand_over_flush(struct path_worker *w);

/* --- rules (in the files of their stages) -------------------------------------------------------
 *
 * What a packet's headers and the tables say, without touching anything: the stages act on it, and
 * why.c explains it, so that the two cannot differ.
 */

/* Which way a packet goes; below them all, STATS_N_DROPS reasons why it goes none. */
enum path_way {
	PATH_WAY_LOCAL = STATS_N_DROPS, /* to an address of the gateway on the port it came by */
	PATH_WAY_PUBLIC,		/* to a public address, or to a peer's own over IPv6 */
	PATH_WAY_EXEMPT,		/* from an exempt source to a peer's inner address */
	PATH_WAY_WIREGUARD,
	PATH_WAY_PING,	    /* the gateway answers if it is a sound echo request */
	PATH_WAY_SERVICE,   /* of a peer, for control to answer */
	PATH_WAY_NEIGHBOUR, /* from a peer to another's inner address */
	PATH_WAY_FRAGMENT,  /* of a peer: to be collected */
	PATH_WAY_INTERNET,  /* of a peer */
};

/* The way is a reason to drop. */
static inline bool path_way_ends(unsigned way)
{
	return way < STATS_N_DROPS;
}

/* classify.c: LOCAL, PUBLIC, EXEMPT; peer_idx is set for what is a peer's by its address alone, so
 * for EXEMPT and for PUBLIC of IPv6. Of LOCAL then: WIREGUARD, PING. Addresses in host order. */
unsigned path_way_v4(
	const struct path *p, uint16_t port_idx, uint32_t src, uint32_t dst, uint32_t *peer_idx);
unsigned path_way_v6(const struct path *p, uint16_t port_idx, const struct ip_addr *src,
	const struct ip_addr *dst, uint32_t *peer_idx);
unsigned path_way_local(const struct path *p, uint16_t port_idx, const struct nat_view *v,
	enum nat_verdict verdict);

/* door.c: nobody outside has this source. */
bool path_is_inner_v4(const struct path *p, uint32_t src);

/* door.c: how a packet stands before what a lease asks, and why it was refused. */
struct door_knock path_door_knock(
	const struct ip_addr *src, const struct nat_view *v, uint8_t tcp_flags, bool is_error);
enum stats_drop path_door_reason(enum door_verdict verdict);

/* inner.c: of a peer's packet SERVICE, PING, NEIGHBOUR (then *neighbour is set), FRAGMENT or
 * INTERNET. Addresses of IPv4 in host order. */
unsigned path_way_inner_v4(const struct path *p, const struct peer_view *view,
	const struct nat_view *v, enum nat_verdict verdict, uint32_t src, uint32_t dst,
	uint32_t *neighbour);
unsigned path_way_inner_v6(const struct path *p, const struct peer_view *view,
	const struct nat_view *v, enum nat_verdict verdict, const struct ip_addr *src,
	const struct ip_addr *dst, uint32_t *neighbour);
/* v6.c: the pinhole at the peer's end; NULL: none is open, or it is another peer's. */
struct door *path_whole_door(const struct path *p, const struct flow_out_key *key);
struct door *path_v6_door(const struct path *p, const struct flow_v6_key *key, uint32_t peer_idx);
/* session.c: a packet without keys for it does not wait, but ends for this reason. path: the
 * peer's, because hot's is its worker's. */
bool path_hold_ends(const struct path_worker *w, const struct peer_hot *hot,
	const struct peer_path *path, enum stats_drop *reason);
/* To a destination port that peers may not use. */
bool path_is_blocked(const struct path *p, const struct nat_view *v);
/* service.c: of what path_service_is_request() says yes to: does the gateway serve it at dst? IPv4
 * in host order, and from whom, because a peer may guess the gateway at .1 of its own /24. */
bool path_service_is_at_v4(const struct path *p, uint32_t src, uint32_t dst);
bool path_service_is_at_v6(const struct path *p, const struct ip_addr *dst);

/* --- stages --------------------------------------------------------------------------------------
 */

/* Frames of one port, sorted into opening, knocking and admitting6, answered, punted or dropped. */
void path_classify_burst(
	struct path_worker *w, uint16_t port_idx, struct rte_mbuf **pkts, uint16_t n);

/* Tunnel -> Internet. Each returns the survivors, compacted in place; snat sends its own on. */
uint16_t path_open_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n);
uint16_t path_replay_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n);
uint16_t path_inner_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n);
void path_snat_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n);

/* Internet -> tunnel. mtu pushes to seal, whole or in pieces. */
uint16_t path_door_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n);
uint16_t path_dnat_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n);
void path_mtu_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n);

/* What is left of inner for packets that have ports or need none: blocked ports; IPv6 goes on from
 * here. True: to snat. */
bool path_inner_led(struct path_worker *w, struct rte_mbuf *m);

/* IPv6 inside is routed, not translated (v6.c). Out: one packet that inner let pass. In: queue one
 * for its peer, wherever that lives; what lives here, in bursts. */
void path_v6_out(struct path_worker *w, struct rte_mbuf *m);
void path_v6_in(struct path_worker *w, struct rte_mbuf *m);
uint16_t path_v6_in_burst(struct path_worker *w, struct rte_mbuf **pkts, uint16_t n);

/* A packet for the door stage, from wherever; what is queued runs when there is no room. */
void path_knock(struct path_worker *w, struct rte_mbuf *m);
/* For the peer in its meta, at home here or elsewhere, as it is. */
void path_to_peer(struct path_worker *w, struct rte_mbuf *m);
/* From a peer, translated, or from the gateway: out of the public port, or in again by another
 * door. */
void path_to_public(struct path_worker *w, struct rte_mbuf *m);

/* Why flow said no. */
enum stats_drop path_flow_reason(enum flow_verdict verdict);
/* The end of a peer's packet that flow would not begin a session with; the peer is told. */
void path_refuse_beginning(struct path_worker *w, struct rte_mbuf *m, enum flow_verdict verdict);
/* Size and hop, to the Internet and to a peer; the sender is told. False: the packet ended here. */
bool path_may_leave(struct path_worker *w, struct rte_mbuf *m);
bool path_may_enter(struct path_worker *w, struct rte_mbuf *m);

/* Of a TCP packet with its header; else 0. */
static inline uint8_t path_tcp_flags(struct rte_mbuf *m)
{
	const struct nat_view *v = &path_meta(m)->view;

	if (v->proto != NAT_PROTO_TCP || !v->has_l4)
		return 0;
	return rte_pktmbuf_mtod_offset(m, const uint8_t *, v->l4_offset)[13];
}

/* Queue an inner packet (empty: a keepalive) for the peer in its meta. */
void path_seal_push(struct path_worker *w, struct rte_mbuf *m);
void path_seal_flush(struct path_worker *w);

/* A finished frame. Otherwise: when another worker sends for this port, or the burst is full. */
void path_tx_otherwise(struct path_worker *w, struct rte_mbuf *m, uint16_t port_idx);
static inline void path_tx(struct path_worker *w, struct rte_mbuf *m, uint16_t port_idx)
{
	struct path_burst *b = &w->sending[port_idx];

	if (likely(w->path->ports[port_idx].tx_worker[w->idx] == w->idx && b->n < PATH_BURST))
		b->pkts[b->n++] = m;
	else
		path_tx_otherwise(w, m, port_idx);
}

/* Whose MAC leads to this IPv4 destination, as neigh sees it. */
static inline uint32_t path_hop_of(const struct path *p, const struct path_port *port, uint32_t dst)
{
	bool is_near = unlikely(path_is_odd_destination(p, dst)) &&
		       (path_is_martian_v4(dst) ||
			       path_prefixes_have(port->on_link, port->n_on_link, dst));

	return is_near || !port->gateway_v4 ? dst : port->gateway_v4;
}

/* A small cache of next hops (IPv4 only) in front of neigh_resolve: a look-up costs about 60
 * cycles, a hit 10, and hosts of the Internet are all behind one router. */
static inline struct path_hop *path_hop_slot(
	struct path_worker *w, uint16_t port_idx, uint32_t dst, uint32_t *addr)
{
	*addr = path_hop_of(w->path, &w->path->ports[port_idx], dst);
	return &w->hops[port_idx][*addr % PATH_HOPS];
}

/* Send an IP packet towards dst through this port: Ethernet header, tx queue; or to control, until
 * the neighbour is known. v4: host order, by what is remembered of next hops. Anew: IPv6, and what
 * has to be asked for, of neigh or of the link. */
void path_route(
	struct path_worker *w, struct rte_mbuf *m, uint16_t port_idx, const struct ip_addr *dst);
void path_route_anew(
	struct path_worker *w, struct rte_mbuf *m, uint16_t port_idx, const struct ip_addr *dst);
static inline void path_route_v4(
	struct path_worker *w, struct rte_mbuf *m, uint16_t port_idx, uint32_t dst)
{
	uint32_t addr;
	const struct path_hop *hop = path_hop_slot(w, port_idx, dst, &addr);
	struct ip_addr to;
	uint8_t bytes[4];

	if (likely(hop->addr == addr && w->now_ns < hop->fresh_until_ns)) {
		pkt_ether_prepend(m, &w->path->ports[port_idx].port->mac, &hop->mac);
		path_tx(w, m, port_idx);
		return;
	}
	store_be32(bytes, dst);
	to = ip_from_v4(bytes);
	path_route_anew(w, m, port_idx, &to);
}
void path_tx_flush(struct path_worker *w);
/* Put UDP and IP in front of a WireGuard message and route it. remote.port is not 0. */
void path_send_outer(struct path_worker *w, struct rte_mbuf *m, const struct peer_path *path,
	uint8_t traffic_class);

/* A data message to the peer, by its path (outer.c). */
void path_send_peer(struct path_worker *w, struct rte_mbuf *m, struct peer_hot *hot);

/* --- sizes (mtu.c) -------------------------------------------------------------------------------
 */

/* False: larger than mtu_bytes, and may not be cut. */
static inline bool path_fits(struct rte_mbuf *m, uint16_t mtu_bytes)
{
	const struct nat_view *v = &path_meta(m)->view;

	return likely(v->total_len <= mtu_bytes) || !v->dont_fragment;
}

/* Cut an IPv4 packet into pieces of at most mtu_bytes, each to sink. The first is m itself, the
 * others are the gateway's own (is_originated). */
void path_cut(struct path_worker *w, struct rte_mbuf *m, uint16_t mtu_bytes,
	void (*sink)(struct path_worker *w, struct rte_mbuf *m));

/* The IPv4 identification of a datagram that leaves by a public address and may be cut later
 * (RFC 6864): no two workers give the same within a round. */
static inline uint16_t path_datagram_id(struct path_worker *w)
{
	return w->datagram_id = (uint16_t)(w->datagram_id + w->id_step);
}

/* --- ICMP errors (errors.c) ----------------------------------------------------------------------
 */

/* The end of a packet for a reason that its sender is told, as often as limits allow: TTL, size,
 * prohibited. mtu_bytes: of STATS_DROP_too_big. The packet is as its sender made it, but for the
 * hop; from a peer (then meta.peer_idx is it, and the answer comes from inside), or from outside.
 */
void path_refuse_peer(
	struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason, uint16_t mtu_bytes);
void path_refuse_public(
	struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason, uint16_t mtu_bytes);

/* The packet that an ICMP error quotes. False: it quotes none, or its checksum is wrong. */
static inline bool path_quote(struct rte_mbuf *m, struct nat_icmp_error *out)
{
	return nat_icmp_error_parse(
		       rte_pktmbuf_mtod(m, const uint8_t *), &path_meta(m)->view, out) == NAT_OK;
}

/* NULL: not an ICMP error. Parsed anew at each stage: errors are rare, and the private area is
 * small. */
static inline const struct nat_icmp_error *path_quote_of(
	struct rte_mbuf *m, struct nat_icmp_error *room)
{
	return unlikely(path_meta(m)->is_error) && path_quote(m, room) ? room : NULL;
}

/* --- fragments (fragment.c) ----------------------------------------------------------------------
 */

/* A fragment from the Internet to a public address or a peer's own IPv6 address: to the worker that
 * collects its datagram; there it waits, ends, or knocks with those that waited for it. */
void path_fragment_public(struct path_worker *w, struct rte_mbuf *m);
void path_fragment_collect(struct path_worker *w, struct rte_mbuf *m);
/* The same for all fragments of a datagram, whichever queues they come by. */
uint32_t path_fragment_owner(const struct path *p, struct rte_mbuf *m);
/* A fragment from a peer: it waits, ends, or goes on with those that waited for it. */
void path_fragment_peer(struct path_worker *w, struct rte_mbuf *m);
/* Those that waited too long. */
void path_fragments_turn(struct path_worker *w);
/* --- services (service.c) ------------------------------------------------------------------------
 */

/* NAT-PMP or PCP, wherever it is sent to. */
static inline bool path_service_is_request(const struct nat_view *v)
{
	return v->proto == NAT_PROTO_UDP && v->dst_port == PORTMAP_PORT;
}

/* Such a packet, to control. */
void path_service_take(struct path_worker *w, struct rte_mbuf *m);
/* Up to a burst of control's answers; returns how many. */
unsigned path_service_turn(struct path_worker *w);

/* --- probes (probe.c) ----------------------------------------------------------------------------
 */

/* Up to a burst of control's probes; returns how many. */
unsigned path_probe_turn(struct path_worker *w);
/* A packet of a peer, from an address of its own, while probes run: the answer to one? Then it
 * ended here. */
bool path_probe_answers(struct path_worker *w, struct rte_mbuf *m, enum nat_verdict verdict);

/* --- sessions (session.c) ------------------------------------------------------------------------
 */

/* After noise_session_*: carry out its actions, let retired keypairs go, keep the wheel in step. */
void path_session_act(struct path_worker *w, struct peer_hot *hot, unsigned actions,
	const struct noise_retired *retired);

/* The same where nothing was retired: for most packets there is nothing to do. */
static inline void path_session_touched(
	struct path_worker *w, struct peer_hot *hot, unsigned actions)
{
	static const struct noise_retired none = {.n = 0};

	if (unlikely(actions || hot->session.deadline_ns < hot->wheel_due_ns || !hot->wheel_prev))
		path_session_act(w, hot, actions, &none);
}
/* Keep a packet until the peer has keys; the caller asked for a handshake. */
void path_hold(struct path_worker *w, struct peer_hot *hot, struct rte_mbuf *m);
/* Those whose door is still open go on; returns how many. */
unsigned path_hold_release(struct path_worker *w, struct peer_hot *hot);
void path_hold_drop(struct path_worker *w, struct peer_hot *hot, enum stats_drop reason);
void path_endpoint_set(struct path_worker *w, struct peer_hot *hot, const struct peer_path *path);
/* Up to a burst of orders and of control's frames; returns how many. */
unsigned path_mail_turn(struct path_worker *w);

/* Sessions looked at per turn of the loop: at some 100 cycles each, a few microseconds. */
#define PATH_FLOWS_PER_TURN 64

/* --- timer wheel (wheel.c) -----------------------------------------------------------------------
 */

void path_wheel_init(struct path_wheel *wheel, uint64_t now_ns);
void path_wheel_arm(struct path_wheel *wheel, struct peer_hot *hot, uint64_t due_ns);
void path_wheel_remove(struct peer_hot *hot);
/* One peer that is due, taken out of the wheel; NULL: none is, or enough was looked at for now. */
struct peer_hot *path_wheel_next(struct path_wheel *wheel, uint64_t now_ns);
void path_timers_turn(struct path_worker *w);

#endif
