/* boot.h - the gateway's parts, brought up in order and taken down in reverse.
 *
 * Threads: the main thread is control; it calls everything here.
 */
#ifndef PORTIER_BOOT_H
#define PORTIER_BOOT_H

#include <pthread.h>

#include "conf/conf.h"
#include "lease/lease.h"
#include "port/port.h"
#include "doors/doors.h"
#include "handshake/handshake.h"
#include "neigh/neigh.h"
#include "probe/probe.h"
#include "path/path.h"
#include "ctl/ctl.h"

#define BOOT_FAULT_CHARS 1024

struct event_base;

struct boot {
	struct conf *conf; /* written by a reload only */
	const char *conf_path;
	unsigned n_workers, n_ports; /* n_ports: opened so far */
	struct event_base *base;
	struct rte_mempool *mempool;
	struct port ports[CONF_PORTS_MAX];
	uint16_t eth_port_ids[CONF_PORTS_MAX];
	struct grace *grace; /* readers: workers, then the handshake thread */
	struct peers *peers;
	struct keypairs *keypairs;
	struct lease_table *leases;
	struct doors *doors;
	struct probes *probes;
	struct neigh *neigh;
	enum aead_backend aead;
	struct path_mail mail[CONF_WORKERS_MAX];
	struct mbox *peer_msgs_out, *peer_msgs_in; /* control -> handshake, and back */
	struct stats_handshake handshake_stats;
	struct handshake *handshake;
	struct path *path;
	const struct stats_worker *worker_stats[CONF_WORKERS_MAX];
	const struct flows *worker_flows[CONF_WORKERS_MAX];
	const struct stats_recent *worker_recent[CONF_WORKERS_MAX];
	struct store *store; /* NULL: memory only */
	struct ctl *ctl;
	pthread_t handshake_thread;
	bool is_eal_up, is_handshake_running;
	unsigned n_running; /* workers launched */
	unsigned n_probes_sent;
};

/* Everything up to running workers and an open control socket. 0, or -1 and one sentence in fault;
 * boot_down is to be called either way. */
int boot_up(struct boot *b, struct conf *conf, const char *conf_path, struct event_base *base,
	char fault[static BOOT_FAULT_CHARS]);
void boot_down(struct boot *b);

/* The monotonic clock of the whole process. */
uint64_t boot_now_ns(void);

#endif
