/* path_rig.h - a gateway without threads: real ports in memory, real tables, workers driven by
 * hand, and the test in the place of control, handshake thread, clients and the Internet.
 *
 *   client 192.0.2.10, 2001:db8:1::10 --- [tunnel port 192.0.2.1, 2001:db8:1::1]
 *   host 198.51.100.9 --- [public port 198.51.100.1, pool 203.0.113.0/28]
 *
 * Time stands still unless a test moves it.
 */
#ifndef PORTIER_TESTS_PATH_RIG_H
#define PORTIER_TESTS_PATH_RIG_H

#include "path/worker.h"

#include "path_frames.h"

#define RIG_PORTS	2
#define RIG_TUNNEL	0
#define RIG_PUBLIC	1
#define RIG_WORKERS_MAX 3
#define RIG_CLIENTS_MAX 4
#define RIG_LISTEN_PORT 51820
#define RIG_LEASE_PORT	40000 /* public; client i has 40000 + i */
#define RIG_INNER_PORT	8080
#define RIG_INNER_MTU	1420

#define RIG_ENTRY4    "192.0.2.1"
#define RIG_ENTRY6    "2001:db8:1::1"
#define RIG_CLIENT4   "192.0.2.10"
#define RIG_CLIENT6   "2001:db8:1::10"
#define RIG_PUBLIC4   "198.51.100.1"
#define RIG_HOST4     "198.51.100.9"
#define RIG_POOL4     "203.0.113.5"
#define RIG_HOST6     "2001:db8:9::9"
#define RIG_PUBLIC6   "2001:db8:9::1"
#define RIG_EXEMPT4   "198.51.100.88" /* a neighbour of the host, not to be translated to */
#define RIG_BLOCKED   25	      /* TCP port that peers may not use */
#define RIG_INNER_GW4 "10.0.0.1"
#define RIG_INNER_GW6 "fd00::1"

/* The far end of one tunnel. */
struct rig_client {
	uint32_t peer_idx;
	unsigned home;
	char inner4[16], inner6[16];
	struct ip_endpoint outer; /* where it sends from */
	const char *entry;	  /* where it sends to */
	/* As installed last. */
	uint32_t gateway_idx, own_idx;
	struct noise_keypair *keypair; /* the gateway's */
	uint8_t to_gateway_key[32], to_client_key[32];
	uint64_t counter;
	uint16_t lease_port;
	uint64_t lease_id;
};

struct rig_params {
	unsigned n_workers, n_rx_queues, n_tx_queues; /* 0: 1 */
	bool one_device;			      /* the tunnel port is the public one too */
	bool has_no_ping;
	bool peer_to_peer;
	bool is_wide;		   /* public port 172.32.0.1/11, whole addresses 64.0.0.0/10 */
	uint16_t public_mtu_bytes; /* 0: 1500 */
};

struct rig {
	struct rig_params params;
	struct conf conf;
	unsigned n_ports;
	struct port ports[RIG_PORTS];
	struct rte_ring *rx[RIG_PORTS][RIG_WORKERS_MAX], *tx[RIG_PORTS][RIG_WORKERS_MAX];
	struct rte_mempool *mempool, *orders;
	struct grace *grace;
	struct peers *peers;
	struct keypairs *keypairs;
	struct doors *doors;
	struct probes *probes;
	struct neigh *neigh;
	struct mbox *peer_msgs_out, *peer_msgs_in;
	struct path_mail mail[RIG_WORKERS_MAX];
	struct path *path;
	struct rig_client clients[RIG_CLIENTS_MAX];
	uint32_t n_keys; /* installed so far */
	/* What was heard from the workers. */
	unsigned n_start, n_confirmed, n_retired, n_handshakes;
	struct peer_msg *returned; /* from the last PEER_ORDER_DEL */
};

/* The injected clock. */
extern uint64_t rig_now_ns;

/* Everything but clients. One rig at a time. */
struct rig *rig_create(const struct rig_params *params);
/* Fails the test when a packet buffer or an order was not given back. */
void rig_destroy(struct rig *r);

/* Client i, at home on that worker, with a lease for TCP and UDP: public port RIG_LEASE_PORT + i.
 * No keys yet. */
struct rig_client *rig_client_add(struct rig *r, unsigned i, unsigned home);
void rig_lease_open(struct rig *r, struct rig_client *c);
void rig_lease_close(struct rig *r, struct rig_client *c);
/* Order new keys, as if a handshake had completed. As responder they are confirmed by the client's
 * next packet. */
void rig_client_order_keys(struct rig *r, struct rig_client *c, bool is_initiator);
/* The same, with the client's first keepalive, and all is quiet afterwards. */
void rig_client_connect(struct rig *r, struct rig_client *c);
/* Push an order of this kind; the worker's turn is the caller's. */
struct peer_order *rig_order(struct rig *r, enum peer_order_kind kind, const struct rig_client *c);
void rig_order_push(struct rig *r, unsigned worker, struct peer_order *o);

/* A data message from the client around these bytes (len 0: keepalive), as a frame. */
void rig_client_frame(
	struct rig *r, struct rig_client *c, struct frame *f, const void *inner, size_t len);
/* Around a packet of this flow. */
void rig_client_flow(struct rig *r, struct rig_client *c, struct frame *f, const struct flow *flow,
	size_t payload_len);
/* A frame for the client: verify and decrypt it; returns the plaintext's length, -1 when it is not
 * one. */
int rig_client_open(struct rig *r, struct rig_client *c, const struct frame *f, uint8_t *out);
/* What it may do with sessions: strict, and more of all than tests need. */
void rig_client_filter(struct rig *r, struct rig_client *c, enum flow_filter filter);
/* From host 198.51.100.9 to the public pool. */
/* Of a packet that lies at bytes + FRAME_ETHER. */
void rig_public_wrap(struct rig *r, struct frame *f, size_t len);
void rig_public_frame(struct rig *r, struct frame *f, const struct flow *flow, size_t payload_len);

/* Put a frame on the wire towards a port. */
void rig_rx(struct rig *r, unsigned port, unsigned queue, const struct frame *f);
void rig_rx_mbuf(struct rig *r, unsigned port, unsigned queue, struct rte_mbuf *m);
/* The next frame that left by a port. */
bool rig_tx(struct rig *r, unsigned port, struct frame *out);
unsigned rig_tx_count(struct rig *r, unsigned port);
void rig_tx_discard(struct rig *r);

/* One turn of one worker, quiescent afterwards. */
unsigned rig_worker_turn(struct rig *r, unsigned worker);
/* Turns of all, and of control and handshake, until nothing moves; then the balance is checked. */
void rig_settle(struct rig *r);
void rig_check_balance(const struct rig *r);
/* Of one worker, while others still hold packets. */
void rig_check_balance_of(const struct rig *r, unsigned worker);
/* Drain what workers said to the handshake thread. */
void rig_listen(struct rig *r);

uint64_t rig_counter(const struct rig *r, enum stats_counter counter);
uint64_t rig_dropped(const struct rig *r, enum stats_drop reason);
uint64_t rig_dropped_all(const struct rig *r);
struct peer_hot *rig_hot(struct rig *r, const struct rig_client *c);
const struct rte_ether_addr *rig_neighbour_mac(unsigned port);

#endif
