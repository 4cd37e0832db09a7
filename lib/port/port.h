/* port.h - DPDK devices as the gateway opens them, whatever they are: PCI, virtual, in-process.
 *
 * Threads: control, before workers start and after they stop. Workers then call rte_eth_rx_burst
 * and rte_eth_tx_burst on queues that port_rx_worker and port_tx_worker gave them. Rule:    no
 * offload is assumed: TAP, af_packet, memif and ring devices have none.
 */
#ifndef PORTIER_PORT_H
#define PORTIER_PORT_H

#include <stddef.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mempool.h>

#define PORT_NAME_CHARS	 32
#define PORT_FAULT_CHARS 256

struct port_params {
	const char *name;   /* ours, for faults and logs */
	const char *device; /* as in rte_dev_probe: a PCI address, or "net_tap0,iface=..." */
	unsigned n_workers;
	uint16_t n_rx_queues; /* 0: one per worker, as far as the device goes */
	uint16_t rx_ring_pkts, tx_ring_pkts;
	uint16_t mtu_bytes;
	struct rte_mempool *mempool;
};

struct port {
	char name[PORT_NAME_CHARS];
	uint16_t eth_id; /* DPDK's number */
	uint16_t n_rx_queues, n_tx_queues;
	int socket_id;
	struct rte_ether_addr mac;
	const char *driver; /* owned by DPDK */
};

/* What a device hashes with that can hash: the same at each start, so that a peer's packets come to
 * the same queue again; and the same for both directions of a conversation, because it repeats
 * every 16 bits (Woo and Park, "Scalable TCP session monitoring with symmetric receive-side
 * scaling", 2012). Place i of its indirection table is rx queue i modulo their number. */
#define PORT_RSS_KEY_BYTES_MAX 64
#define PORT_RETA_MAX	       512
extern const uint8_t port_rss_key[PORT_RSS_KEY_BYTES_MAX];

/* Probe, configure and start. 0, or a negative errno with one sentence in fault; nothing stays open
 * then. */
int port_open(
	struct port *port, const struct port_params *params, char fault[static PORT_FAULT_CHARS]);
/* Stop, close and remove. */
void port_close(struct port *port);

/* The worker that polls this rx queue. */
static inline unsigned port_rx_worker(uint16_t rx_queue, unsigned n_workers)
{
	return rx_queue % n_workers;
}

/* The worker that sends for this one: itself where the device has a tx queue for it (the queue has
 * the worker's number), else one that does; frames then go there through the hand-over ring. */
static inline unsigned port_tx_worker(const struct port *port, unsigned worker)
{
	return worker % port->n_tx_queues;
}

#endif
