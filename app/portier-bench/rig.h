/* rig.h - the gateway on the bench: all its parts, wired as the daemon wires them, with ring ports.
 *
 *               queue 0 .. n                queue 0 .. n
 *   far end --> rx rings --> tunnel port    public port <-- rx rings <-- far end
 *   far end <-- tx rings <--      workers by hand       --> tx rings --> far end
 *
 * Threads: one thread is control, workers and, unless has_handshake_thread, handshake thread; it
 * calls everything here.
 */
#ifndef PORTIER_BENCH_RIG_H
#define PORTIER_BENCH_RIG_H

#include <pthread.h>

#include <rte_ring.h>

#include "base/bytes.h"
#include "conf/conf.h"
#include "lease/lease.h"
#include "port/port.h"
#include "doors/doors.h"
#include "handshake/handshake.h"
#include "neigh/neigh.h"
#include "path/path.h"

#include "bench.h"

#define RIG_FAULT_CHARS	 256
#define RIG_WORKERS_MAX	 2
#define RIG_RING_SLOTS	 2048
#define RIG_LISTEN_PORT	 51820
#define RIG_INNER_MTU	 1420
#define RIG_PUBLIC_ADDRS 64u /* in the pool */
/* Where there are sessions, leases have the ports below these. */
#define RIG_NAT_PORT_FIRST 32768u
#define RIG_NAT_PORT_LAST  65535u

enum rig_port {
	RIG_TUNNEL = 0,
	RIG_PUBLIC,
	RIG_N_PORTS,
};

struct rig_params {
	unsigned n_workers;
	uint32_t max_peers, max_leases;
	uint32_t max_sessions;	/* 0: all traffic goes by leases, which have every port */
	enum aead_backend aead; /* AUTO: chosen by self-test */
	bool has_handshake_thread;
	bool is_remote; /* a process of its own (remote.h), with one worker */
};

struct remote;

struct rig {
	struct rig_params params;
	struct conf *conf;
	uint8_t public_key[CRYPTO_KEY_BYTES];
	enum aead_backend aead;
	struct rte_mempool *mempool;
	struct rte_ring *rx[RIG_N_PORTS][RIG_WORKERS_MAX], *tx[RIG_N_PORTS][RIG_WORKERS_MAX];
	struct port ports[RIG_N_PORTS];
	unsigned n_ports;    /* opened so far */
	struct grace *grace; /* readers: workers, then the handshake thread */
	struct peers *peers;
	struct keypairs *keypairs;
	struct lease_table *leases;
	struct doors *doors;
	struct probes *probes;
	struct neigh *neigh;
	struct path_mail mail[RIG_WORKERS_MAX];
	struct mbox *peer_msgs_out, *peer_msgs_in;
	struct stats_handshake handshake_stats;
	struct handshake *handshake;
	pthread_t handshake_thread;
	bool is_handshake_running;
	bool has_control_thread; /* rig_upkeep leaves control's part to it */
	struct path *path;
	struct path_worker *workers[RIG_WORKERS_MAX];
	struct remote *remote; /* then only rings, buffers and configuration are here */
};

/* The addresses of the bench, host order. */
#define RIG_ENTRY_V4	     0xc0000201u /* 192.0.2.1/24 */
#define RIG_ENTRY_ROUTER_V4  0xc00002feu /* 192.0.2.254 */
#define RIG_PUBLIC_V4	     0xc6336401u /* 198.51.100.1/24 */
#define RIG_PUBLIC_ROUTER_V4 0xc63364feu /* 198.51.100.254 */
#define RIG_POOL_V4	     0xcb007100u /* 203.0.113.0/26 */
#define RIG_INNER_SELF_V4    0x0a000001u /* 10.0.0.1 */
#define RIG_INNER_FIRST_V4   0x0a400000u /* 10.64.0.0/10: rig_inner_addr */
#define RIG_OUTER_FIRST_V4   0x64400000u /* 100.64.0.0: peer i adds i */
#define RIG_INTERNET_V4	     0xc6120000u /* 198.18.0.0/15 */

static inline struct ip_addr rig_addr_v4(uint32_t v4)
{
	uint8_t bytes[4];

	store_be32(bytes, v4);
	return ip_from_v4(bytes);
}

/* The inner address of a peer: none that ends in 0, 1 or 255, which others may take for a router.
 */
static inline struct ip_addr rig_inner_addr(uint32_t peer_idx)
{
	return rig_addr_v4(RIG_INNER_FIRST_V4 + (peer_idx / 250 << 8) + 2 + peer_idx % 250);
}

/* DPDK itself, once a process. 0 or -1, with a sentence. */
int rig_eal_up(bool is_huge, unsigned memory_mb, char fault[static RIG_FAULT_CHARS]);

/* 0 or -1, with a sentence; rig_down is to be called either way. */
int rig_up(struct rig *rig, const struct rig_params *params, char fault[static RIG_FAULT_CHARS]);
void rig_down(struct rig *rig);

/* The clock of the gateway: monotonic, plus what rig_clock_skip added. */
uint64_t rig_now_ns(void);
void rig_clock_skip(uint64_t ns);

/* What the control thread and, without one of its own, the handshake thread do: one turn each.
 * Returns how much the handshake thread did. */
unsigned rig_upkeep(struct rig *rig);
/* The control part of it. */
void rig_control_turn(struct rig *rig);
/* A thread on the CPUs that the caller's thread does not use, if there are any. 0 or an errno. */
int rig_start_elsewhere(pthread_t *thread, void *(*body)(void *), void *arg);
/* One turn of a worker, as in its loop: the turn, then its quiescent point. */
static inline void rig_turn(struct rig *rig, unsigned worker)
{
	path_worker_turn(rig->workers[worker]);
	grace_reader_quiescent(rig->grace, worker);
}

/* The same for all of them; with a remote gateway, carry frames to and from it. Returns how many
 * packets moved. */
unsigned rig_work(struct rig *rig);

/* The caller's workers, and its handshake thread by hand, look at no table until they resume: no
 * grace period waits for them. */
void rig_rest(struct rig *rig);
void rig_resume(struct rig *rig);

/* Add peer number peer_idx (they come in order, from 0), forwarding on. 0 or -errno, printed. */
int rig_peer_add(struct rig *rig, uint32_t peer_idx, const uint8_t public_key[CRYPTO_KEY_BYTES]);
/* Open a UDP lease as control does: lease_grant, doors_open. 0 or -errno. */
int rig_lease_open(struct rig *rig, uint32_t peer_idx, uint16_t inner_port, struct lease *out);

/* received + handed_in == forwarded + consumed + dropped + handed_out + holding, on every worker.
 */
bool rig_is_balanced(const struct rig *rig);
/* Over all workers. */
uint64_t rig_dropped(const struct rig *rig);
/* The drop counters that are not zero, to standard error. */
void rig_drops_print(const struct rig *rig);

#endif
