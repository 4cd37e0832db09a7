/* path.h - the packet path: poll-mode workers that run each packet to completion in burst stages.
 *
 *   tunnel -> Internet   rx classify dispatch open replay inner snat tx
 *   Internet -> tunnel   rx classify door dispatch dnat mtu seal tx
 *   IPv6 inside          the same without door, dnat and snat: v6
 *
 * Threads:   control creates and destroys; each worker runs path_worker_run on its own lcore.
 * Ownership: a peer's packets are handled by its home worker only; the others hand them over.
 * Meets:     handshake and control only through mailboxes, tables and rings.
 */
#ifndef PORTIER_PATH_H
#define PORTIER_PATH_H

#include <stdint.h>

#include "conf/conf.h"
#include "aead/aead.h"
#include "mbox/mbox.h"
#include "port/port.h"
#include "stats/recent.h"
#include "stats/stats.h"
#include "doors/doors.h"
#include "flow/flow.h"
#include "neigh/neigh.h"
#include "peer/keypairs.h"
#include "peer/order.h"
#include "peer/peer.h"
#include "probe/probe.h"
#include "why/why.h"

#define PATH_BURST 64

/* What a punted or injected frame carries in front of its mbuf's private area. */
struct path_punt {
	struct ip_addr
		next; /* destination to be resolved; none: an ARP or ND frame for neigh_input */
	uint16_t port_idx;
};

/* The UDP payload of a request to the gateway inside the tunnel, or of its answer: what it carries
 * in its mbuf's private area. */
struct path_service {
	uint32_t peer_idx;
	struct ip_endpoint peer, gateway;
};

/* A probe on its way to a worker: an IP packet, as it comes from outside. */
struct path_probe {
	uint8_t number; /* as probe_begin gave it */
};

/* A worker's mailboxes; the other end of each is handshake's or control's. */
struct path_mail {
	struct mbox *msgs, *events, *orders; /* to and from the handshake thread: peer/order.h */
	struct mbox *to_control;	     /* struct rte_mbuf * with struct path_punt */
	struct mbox *from_control; /* struct rte_mbuf * with struct path_punt: frames to be sent */
	struct mbox *requests;	   /* to control: struct rte_mbuf * with struct path_service */
	struct mbox *replies;	   /* from control, to the home of the peer: the same */
	struct mbox *probes;	   /* from control: struct rte_mbuf * with struct path_probe */
};

struct path_params {
	const struct conf *conf;
	const struct port *ports; /* conf->n_ports of them, open */
	unsigned n_workers;
	const struct path_mail *mail; /* one per worker */
	struct peers *peers;
	struct keypairs *keypairs;
	struct doors *doors;
	struct probes *probes;
	struct neigh *neigh;
	struct grace *grace; /* worker i is reader i */
	struct rte_mempool *mempool;
	enum aead_backend aead;
	uint64_t (*now_ns)(void); /* monotonic; read once a turn */
};

struct path;
struct path_worker;

/* NULL when memory is out. params and what it points to must outlive the path. */
struct path *path_create(const struct path_params *params);
/* After every worker has returned. Frees what it still holds. */
void path_destroy(struct path *p);

struct path_worker *path_worker(struct path *p, unsigned idx);
/* Until path_stop. The argument is a struct path_worker; returns 0 (an lcore function). */
int path_worker_run(void *worker);
/* One turn of the loop, for those who drive workers by hand (tests, benchmarks): returns how many
 * packets and orders were met. The caller reports quiescence. */
unsigned path_worker_turn(struct path_worker *w);
/* Any thread. */
void path_stop(struct path *p);

/* Source NAT, to be looked at: the sessions of the peers at home on a worker, and whose ports are
 * whose. */
const struct flows *path_flows(const struct path *p, unsigned worker);
const struct blocks *path_blocks(const struct path *p);

/* The last dropped packets of a worker: stats/recent.h. */
const struct stats_recent *path_recent(const struct path *p, unsigned worker);

/* What would happen to this packet now, stage by stage. Nothing is changed by it, no neighbour is
 * asked for, no worker knows of it; what workers do meanwhile may make it wrong. Control thread.
 * 0; -EMSGSIZE: no packet of this size, or with these addresses, can come by that way. */
int path_why(const struct path *p, const struct why_packet *q, struct why_answer *out);

/* Counters; read by any thread. */
const struct stats_worker *path_stats(const struct path *p, unsigned worker);

#endif
