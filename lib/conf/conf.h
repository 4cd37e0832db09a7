/* conf.h - the configuration: one text file in, one validated immutable struct out.
 *
 * Syntax:  libconfig. config/portier.conf documents each key, its default, unit and range; the two
 *          agree by test.
 * Threads: control thread; the struct is read-only afterwards, but for what
 *          conf_take_live changes.
 * Rule:    unknown keys, wrong types and values that contradict each other are faults, each with
 * one sentence that names the key, the value and what would be accepted.
 */
#ifndef PORTIER_CONF_H
#define PORTIER_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/log.h"
#include "base/time.h"

#define CONF_NAME_CHARS	  32
#define CONF_PATH_CHARS	  256
#define CONF_UAPI_CHARS	  16 /* an interface's name with its NUL */
#define CONF_DEVICE_CHARS 256
#define CONF_PORTS_MAX	  8
#define CONF_IFADDRS_MAX  16
#define CONF_POOL_MAX	  64
#define CONF_EAL_ARGS_MAX 32
#define CONF_WORKERS_MAX  64
#define CONF_LABEL_CHARS  64
#define CONF_SOURCES_MAX  8
#define CONF_EXEMPT_MAX	  64
#define CONF_BLOCKED_MAX  64
#define CONF_ROUTES_MAX	  4
#define CONF_DENY_MAX	  64
#define CONF_FAULT_CHARS  512

struct conf_port {
	char name[CONF_NAME_CHARS];	/* unique */
	char device[CONF_DEVICE_CHARS]; /* a PCI address, or a DPDK virtual device with its
					   arguments */
	bool is_tunnel; /* WireGuard arrives here; its addresses are the entry addresses */
	bool is_public; /* the public pool is reachable here */
	struct ip_ifaddr ifaddrs[CONF_IFADDRS_MAX];
	unsigned n_ifaddrs;
	struct ip_addr gateway4, gateway6;   /* none: only on-link hosts */
	uint16_t mtu_bytes;		     /* 1280 to 1500; default 1500 */
	uint16_t n_rx_queues;		     /* 0: one per worker, as far as the device goes */
	uint16_t rx_ring_pkts, tx_ring_pkts; /* descriptors; default 1024 each */
	bool answer_ping;		     /* default true */
};

struct conf_range {
	uint16_t first, last; /* inclusive */
};

struct conf_peer {
	char name[CONF_NAME_CHARS]; /* may be empty */
	uint8_t public_key[32];
	uint8_t preshared_key[32];	   /* zero: none; wiped by conf_destroy */
	struct ip_addr address4, address6; /* inner; at least one */
	struct ip_endpoint endpoint;	   /* where a handshake may be begun; port 0: none */
	bool forwarding;		   /* default false */
	bool portmap;			   /* default false */
	uint32_t max_leases;
	int filter; /* as conf.nat_filter */
	uint32_t max_sessions;
	struct ip_prefix routes[CONF_ROUTES_MAX]; /* IPv6, led to this peer beside address6 */
	unsigned n_routes;
	uint16_t persistent_keepalive_s; /* 0: off */
};

struct conf_lease {
	unsigned peer_idx;	    /* into conf.peers */
	uint8_t protos;		    /* bit 0 TCP, bit 1 UDP, as LEASE_PROTO_* */
	struct ip_addr public_addr; /* none: any */
	/* What is configured does not move: 0 in a pinhole only, whose public port is to_port. */
	uint16_t public_port;
	struct ip_addr inner_addr; /* none: the peer's address4, or else its address6 */
	uint16_t inner_port;
	uint16_t n_ports; /* of a range, of which both ports are the first; default 1 */
	struct ip_prefix sources[CONF_SOURCES_MAX];
	unsigned n_sources;
	uint32_t max_pps, max_new_flows; /* 0: no limit */
	char label[CONF_LABEL_CHARS];
};

/* A public service that peers do not reach. */
struct conf_blocked {
	uint8_t protos; /* bit 0 TCP, bit 1 UDP, as LEASE_PROTO_* */
	uint16_t port;	/* of the destination */
};

enum conf_history { CONF_HISTORY_NONE = 0, CONF_HISTORY_FULL };

struct conf {
	/* eal: what DPDK is started with */
	uint32_t n_lcores;			   /* 1 control + workers */
	uint32_t lcore_cpus[CONF_WORKERS_MAX + 1]; /* [0] control; one CPU may serve several */
	bool no_huge;
	bool telemetry; /* DPDK's own socket, with our commands */
	uint32_t memory_mb;
	char eal_args[CONF_EAL_ARGS_MAX][CONF_DEVICE_CHARS]; /* passed on as they are */
	unsigned n_eal_args;
	uint32_t n_mbufs;

	/* workers */
	bool poll_always; /* workers.idle = "poll" (else "sleep") */
	uint32_t max_sleep_us;
	int aead_backend; /* enum aead_backend: 0 auto, 1 ipsec-mb, 2 openssl, 3 lanes */

	struct conf_port ports[CONF_PORTS_MAX];
	unsigned n_ports;

	/* tunnel */
	uint8_t private_key[32];		/* read from the file; wiped by conf_destroy */
	char private_key_file[CONF_PATH_CHARS]; /* a relative one in the file starts at its
						   directory */
	uint16_t listen_port;
	struct ip_addr inner_addrs[4]; /* the gateway's own, inside the tunnel */
	unsigned n_inner_addrs;
	uint32_t max_peers;
	uint16_t inner_mtu_bytes; /* default 1420 */
	bool mss_clamp;		  /* default true */
	bool peer_to_peer;	  /* peers may reach each other's inner addresses; default false */
	uint32_t handshake_queue; /* default 4096; under load from an eighth of it */
	/* wireguard timers, for tests on accelerated time */
	uint64_t rekey_after_ns, reject_after_ns, rekey_attempt_ns, rekey_timeout_ns, keepalive_ns;

	/* public */
	struct ip_prefix pool[CONF_POOL_MAX];
	unsigned n_pool;
	struct ip_prefix dedicated[CONF_POOL_MAX]; /* addresses that a lease has whole */
	unsigned n_dedicated;

	/* nat: ordinary traffic of peers to the Internet */
	struct ip_prefix nat_pool[CONF_POOL_MAX]; /* none: pool serves both */
	unsigned n_nat_pool;
	uint16_t nat_port_first, nat_port_last; /* disjoint from the leases' */
	uint16_t nat_block_ports;		/* a power of two */
	uint16_t nat_max_blocks;		/* per peer */
	uint32_t nat_max_sessions;		/* per worker */
	uint32_t nat_sessions_per_peer;		/* default for peers that state none */
	uint32_t nat_new_per_s;			/* per peer; bursts of twice that */
	int nat_filter; /* enum flow_filter, for peers that state none: 0 strict, 1 moderate,
			 * 2 open */
	uint64_t nat_udp_ns, nat_tcp_established_ns, nat_tcp_transitory_ns, nat_icmp_ns;
	uint64_t nat_rest_ns;			      /* of a port, before it serves again */
	uint64_t nat_fragment_ns;		      /* how long a fragment waits for the others */
	struct ip_prefix nat_exempt[CONF_EXEMPT_MAX]; /* destinations without translation */
	unsigned n_nat_exempt;
	struct conf_blocked nat_blocked[CONF_BLOCKED_MAX];
	unsigned n_nat_blocked;

	/* leases */
	uint16_t lease_port_first, lease_port_last;
	struct conf_range deny[CONF_DENY_MAX]; /* ports that no lease may have */
	unsigned n_deny;
	uint64_t default_ttl_ns, max_ttl_ns, reserve_ns, quarantine_ns;
	uint64_t heartbeat_ns; /* of peers with leases; 0: none */
	uint64_t max_age_ns;   /* 0: no limit */
	uint32_t lease_max_pps,
		lease_max_new_flows; /* where its opener does not say; 0: no limit */
	uint32_t max_leases;
	uint32_t max_leases_per_peer; /* default for peers that state none */

	/* portmap: NAT-PMP and PCP inside the tunnel */
	bool pcp_nonce_strict; /* default false */

	/* store */
	char store_path[CONF_PATH_CHARS]; /* empty: memory only */

	/* history: who had which public ports */
	int history_mode;	       /* enum conf_history */
	uint64_t history_retention_ns; /* of a record, after its end */

	/* control */
	char socket_path[CONF_PATH_CHARS];
	char socket_group[CONF_NAME_CHARS];
	char uapi_name[CONF_UAPI_CHARS]; /* what wg(8) calls the gateway; empty: not at all */
	enum log_level log_level;
	uint64_t drops_kept_ns; /* 0: none is */

	/* metrics */
	struct ip_endpoint metrics_listen; /* an address of the host's kernel; port 0: off */

	/* testing: not for production, logged as a warning when set */
	uint32_t home_shift; /* a peer's home is this many workers away from where its
			      * handshake arrived, so that every packet is handed over */

	struct conf_peer *peers;
	uint32_t n_peers;
	struct conf_lease *leases;
	uint32_t n_leases;
};

/* One fault: "FILE:LINE: sentence", or "FILE: sentence" where no line is known; at most
 * CONF_FAULT_CHARS with its NUL, one line of printable text, never with a secret. Valid during the
 * call. */
typedef void (*conf_fault_fn)(void *arg, const char *sentence);

/* Read and validate path, and the key files that it names. crypto_init() comes before.
 *
 * On success 0 and *out, to be destroyed by the caller. On failure *out is untouched:
 *   -EINVAL  the content is at fault; every fault that was found (the first 100, then their number)
 *            is reported through fault, in the order of the file; a missing key has the line of its
 *            group. Values that contradict each other are looked for even when others are wrong.
 *   -ENOENT, -EACCES, -EISDIR (not a regular file), -EFBIG (past 512 MiB) or another of open() and
 *            read(): the file can not be read; reported in the same way, once.
 *   -ENOMEM  nothing is reported.
 * Cost O(n log n) for n peers and leases. Control thread; blocks on the files. */
int conf_load(const char *path, conf_fault_fn fault, void *arg, struct conf **out);
/* Take over what may change while the gateway runs. note is called for each key that differs, with
 * whether it was taken over (is_live) or waits for the next start. Peers and leases change places:
 * those of running are the caller's to bring about, and fresh has the old ones. Both were made by
 * conf_load. Control thread, which is the only reader of what changes. */
typedef void (*conf_note_fn)(void *arg, const char *key, bool is_live);
void conf_take_live(struct conf *running, struct conf *fresh, conf_note_fn note, void *arg);
/* Wipes keys; NULL is fine. */
void conf_destroy(struct conf *c);

#endif
