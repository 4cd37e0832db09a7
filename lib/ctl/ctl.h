/* ctl.h - the control server: who may change what, and the one way in which it is changed.
 *
 * Interface: JSON-RPC 2.0 on a UNIX stream socket, one message a line (rpc/rpc.h). Methods:
 *              peer.add peer.set peer.del peer.bar peer.unbar peer.show peer.list
 *              lease.open lease.renew lease.close lease.show lease.list lease.reserved
 *              lease.check
 *              session.list pool.show why.packet why.lease history.list
 *              stats drops workers ports health version reload subscribe
 *            lib/ctl/README.md lists their parameters and results.
 *            The WireGuard tools' own protocol on a second socket, conf->uapi_name (uapi/uapi.h).
 *            Metrics over HTTP at conf->metrics_listen.
 * Roles:     by the credentials of the far end at connect (SO_PEERCRED, SO_PEERGROUPS): uid 0 and
 *            members of control.socket_group, when that group exists, may write; all others may
 *            read. The socket's mode is 0666, therefore: the file does not decide, the role does.
 * Commit:    a request that changed a table is answered after every worker has passed a quiescent
 *            point that follows the change and, with a store, after it is on disk. All requests
 * that arrive in one read are carried out first; replies leave in the order in which they are
 *            committed, so a reply may overtake one to an earlier request. A batch is answered when
 *            all of it is committed.
 * Bounds:    clients, line length, batch, reply size; a client's requests wait while it does not
 *            read its replies, and it is dropped when it reads nothing for a while.
 * Threads:   control thread only; everything here runs inside its event loop.
 */
#ifndef PORTIER_CTL_H
#define PORTIER_CTL_H

#include <stdint.h>

#include "conf/conf.h"
#include "lease/lease.h"
#include "rpc/rpc.h"
#include "stats/recent.h"
#include "stats/stats.h"
#include "why/why.h"
#include "peer/peer.h"
#include "neigh/neigh.h"
#include "flow/flow.h"
#include "doors/doors.h"
#include "probe/probe.h"
#include "store/store.h"

#define CTL_FAULT_CHARS	 512
#define CTL_CLIENTS_MAX	 64
#define CTL_STALL_NS	 (10 * NS_IN_S) /* a client that reads nothing for so long is dropped */
#define CTL_LOOK_NS	 NS_IN_S	/* how often workers are looked at, at least */
#define CTL_STUCK_NS	 (3 * NS_IN_S)	/* a worker that does not turn for so long is stuck */
#define CTL_UAPI_DIR	 "/var/run/wireguard" /* where wg(8) looks */
#define CTL_LIST_DEFAULT 1000u		      /* entries in one reply to a list method */
#define CTL_LIST_MAX	 4000u

struct event_base;

/* Where a NAT-PMP or PCP request came from: its answer goes back to peer, from gateway. */
struct ctl_portmap_route {
	uint32_t peer_idx;
	struct ip_endpoint peer, gateway;
};

/* All pointers stay the caller's and outlive the server. */
struct ctl_params {
	struct event_base *base;
	struct conf *conf;     /* written by a reload only */
	const char *conf_path; /* what a reload reads; NULL: nothing to read */
	struct peers *peers;
	struct lease_table *leases; /* made with max_ttl_ns TIME_NEVER: conf->max_ttl_ns bounds
				     * what is asked here, and leases of the configuration have
				     * no end */
	struct doors *doors;
	struct store *store; /* opened, not started; NULL: memory only */
	struct neigh *neigh; /* may be NULL: no counters of it are shown */
	/* The sessions of each worker, whose records are taken here, and the blocks of all; NULL:
	 * nothing is translated here. */
	const struct flows *const *flows;
	const struct blocks *blocks;
	struct grace *grace;
	const struct stats_worker *const *workers; /* one pointer per worker */
	unsigned n_workers;
	const struct stats_handshake *handshake;
	const uint16_t *eth_port_ids; /* DPDK port id of conf->ports[i] */
	uint64_t (*now_ns)(void);     /* monotonic; the clock that workers stamp with */
	uint64_t (*wall_ns)(void);    /* UNIX time */
	const char *uapi_dir;	      /* where conf->uapi_name goes; NULL: CTL_UAPI_DIR */
	const char *aead_name;	      /* the back end chosen at start */
	uint64_t started_ns;
	uint64_t stall_ns; /* 0: CTL_STALL_NS */
	/* How answers of ctl_portmap_take leave. False: the answer is lost. */
	bool (*portmap_reply)(
		void *arg, const struct ctl_portmap_route *to, const uint8_t *msg, size_t len);
	void *portmap_reply_arg;
	/* The recent drops of each worker; NULL: none are kept. */
	const struct stats_recent *const *recent;
	/* What would happen to a packet; as path_why(). NULL: nobody knows. */
	int (*why)(void *arg, const struct why_packet *q, struct why_answer *out);
	void *why_arg;
	/* Probes of doors, and how one is put on its way: false when it is not. probe_send NULL:
	 * there is no way, and probes may be NULL. */
	struct probes *probes;
	bool (*probe_send)(void *arg, uint8_t number);
	void *probe_send_arg;
};

struct ctl;

/* Bind conf->socket_path and serve it from base. Its directory is made when missing. The socket of
 * a dead process is replaced; one that answers, or a file that is no socket, is refused. NULL: the
 * sentence is in fault. */
struct ctl *ctl_create(const struct ctl_params *p, char fault[static CTL_FAULT_CHARS]);
/* Drops clients, removes the socket. May precede or follow the last grace_poll. NULL is fine. */
void ctl_destroy(struct ctl *c);

/* Add the peers and leases of the configuration, and around them what the store has; it runs
 * afterwards. A change since then is stronger than the entry of the file that it changed, until the
 * file says something else; what else is stored and contradicts the file is dropped. 0, or -EINVAL
 * and the sentence of the first that was refused. The handshake thread runs, or its mailbox takes
 * all peers. */
int ctl_load_conf(struct ctl *c, char fault[static CTL_FAULT_CHARS]);

/* Read conf_path again and bring about what may change while the gateway runs; everything that
 * happens is logged, too. The reply of the method "reload", or NULL with *fault: nothing changed.
 * Blocks on the file: about a second for 100,000 peers. */
json_t *ctl_reload(struct ctl *c, struct rpc_fault *fault);

/* Does every worker turn? For a watchdog. */
bool ctl_workers_turn(struct ctl *c);

/* Do what is due: leases that expire or idle, clients that stall, peers that are let go of, the
 * look at the workers. The server's own timer calls it; call it after the clock was moved by hand.
 * Bounded work; what is left continues at the next turn of the loop. */
void ctl_tick(struct ctl *c);

/* The IPv4 address that the peer's ordinary traffic leaves by, host order; 0: none, it has no IPv4.
 * Fixed by its key while it has no lease; that of its leases while it has. */
uint32_t ctl_peer_public(const struct ctl *c, uint32_t peer_idx);

/* --- the rules, as the methods apply them; for the parts of the control thread -----------------
 *
 * Each returns 0, or -EINVAL with *fault and nothing changed. Changes are visible to workers on
 * return or a little later; who must know waits with grace_defer. */

int ctl_peer_add(
	struct ctl *c, const struct peer_conf *conf, uint32_t *out_idx, struct rpc_fault *fault);
/* What a peer is of which nothing else is said: defaults of the configuration. */
struct peer_conf ctl_peer_conf_default(const struct conf *conf);
/* Leases that the change ends (forwarding off, another IPv4 address) are closed first. */
int ctl_peer_set(struct ctl *c, uint32_t peer_idx, const struct peer_conf *conf, unsigned *n_closed,
	struct rpc_fault *fault);
/* Its leases are closed first. */
int ctl_peer_del(struct ctl *c, uint32_t peer_idx, unsigned *n_closed, struct rpc_fault *fault);

/* Open or renew. peer_max_leases is filled in here; inner_addr none means the peer's address. On
 * failure -EINVAL when the request may not be, else the errno of lease_grant or doors_open. */
int ctl_lease_open(struct ctl *c, const struct lease_request *req, const struct lease **out,
	bool *is_renewal, struct rpc_fault *fault);
int ctl_lease_renew(struct ctl *c, uint64_t id, uint64_t ttl_ns, const struct lease **out,
	struct rpc_fault *fault);
/* *out: what ended; *counters: its last sums. Both may be NULL. */
int ctl_lease_close(struct ctl *c, uint64_t id, struct lease *out, struct door_counters *counters,
	struct rpc_fault *fault);

/* --- NAT-PMP and PCP inside the tunnel ----------------------------------------------------------
 */

struct ctl_portmap_request {
	struct ctl_portmap_route from; /* peer.addr is the peer's own: the tunnel vouches for it */
	const uint8_t *msg;	       /* UDP payload, any bytes */
	size_t len;
};

/* Carry out and answer: by portmap_reply, before this returns or, when workers have to learn of it
 * first, later from within the loop. Never logs. A renewal costs O(1), and O(log n) for its
 * deadline. */
void ctl_portmap_take(struct ctl *c, const struct ctl_portmap_request *r);

#endif
