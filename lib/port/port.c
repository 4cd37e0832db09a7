#include "port/port.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#define PAIR	    0x6d, 0x5a
#define EIGHT_PAIRS PAIR, PAIR, PAIR, PAIR, PAIR, PAIR, PAIR, PAIR
const uint8_t port_rss_key[PORT_RSS_KEY_BYTES_MAX] = {
	EIGHT_PAIRS, EIGHT_PAIRS, EIGHT_PAIRS, EIGHT_PAIRS};

static uint16_t at_most(unsigned wanted, uint16_t limit)
{
	return wanted < limit ? (uint16_t)wanted : limit;
}

static int find_eth_id(const char *device, uint16_t *out)
{
	struct rte_dev_iterator it;
	uint16_t id;

	RTE_ETH_FOREACH_MATCHING_DEV(id, device, &it)
	{
		rte_eth_iterator_cleanup(&it);
		*out = id;
		return 0;
	}
	return -ENODEV;
}

static void hash_prepare(const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	struct rte_eth_rss_conf *rss = &conf->rx_adv_conf.rss_conf;

	if (!info->flow_type_rss_offloads)
		return;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	rss->rss_hf =
		info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
	/* A device whose key is longer, or that does not say, keeps its own. */
	if (info->hash_key_size > 0 && info->hash_key_size <= PORT_RSS_KEY_BYTES_MAX) {
		rss->rss_key = (uint8_t *)(uintptr_t)port_rss_key; /* only read */
		rss->rss_key_len = info->hash_key_size;
	}
}

/* Of a device that has such a table; one that refuses keeps its own. */
static void reta_set(const struct port *port)
{
	struct rte_eth_rss_reta_entry64 reta[PORT_RETA_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};
	struct rte_eth_dev_info info;

	if (port->n_rx_queues < 2 || rte_eth_dev_info_get(port->eth_id, &info) < 0 ||
		info.reta_size == 0 || info.reta_size > PORT_RETA_MAX)
		return;
	for (uint16_t i = 0; i < info.reta_size; i++) {
		struct rte_eth_rss_reta_entry64 *group = &reta[i / RTE_ETH_RETA_GROUP_SIZE];

		group->mask |= UINT64_C(1) << i % RTE_ETH_RETA_GROUP_SIZE;
		group->reta[i % RTE_ETH_RETA_GROUP_SIZE] = i % port->n_rx_queues;
	}
	(void)rte_eth_dev_rss_reta_update(port->eth_id, reta, info.reta_size);
}

static int configure(struct port *port, const struct port_params *p, char *fault)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf = {0};
	uint16_t n_rxd = p->rx_ring_pkts, n_txd = p->tx_ring_pkts;
	int rc = rte_eth_dev_info_get(port->eth_id, &info);

	if (rc < 0)
		goto refuse;
	port->driver = info.driver_name;
	port->n_rx_queues =
		at_most(p->n_rx_queues ? p->n_rx_queues : p->n_workers, info.max_rx_queues);
	port->n_tx_queues = at_most(p->n_workers, info.max_tx_queues);
	/* TAP has its queues in pairs only. */
	if (strcmp(info.driver_name, "net_tap") == 0)
		port->n_rx_queues = port->n_tx_queues =
			RTE_MIN(port->n_rx_queues, port->n_tx_queues);
	if (port->n_rx_queues > 1)
		hash_prepare(&info, &conf);
	rc = rte_eth_dev_configure(port->eth_id, port->n_rx_queues, port->n_tx_queues, &conf);
	if (rc == 0)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(port->eth_id, &n_rxd, &n_txd);
	for (uint16_t q = 0; rc == 0 && q < port->n_rx_queues; q++)
		rc = rte_eth_rx_queue_setup(
			port->eth_id, q, n_rxd, port->socket_id, NULL, p->mempool);
	for (uint16_t q = 0; rc == 0 && q < port->n_tx_queues; q++)
		rc = rte_eth_tx_queue_setup(port->eth_id, q, n_txd, port->socket_id, NULL);
	if (rc < 0)
		goto refuse;

	/* Not every virtual device can change its MTU; the path enforces the configured one itself.
	 */
	rc = rte_eth_dev_set_mtu(port->eth_id, p->mtu_bytes);
	if (rc < 0 && rc != -ENOTSUP) {
		snprintf(fault, PORT_FAULT_CHARS,
			"port %s: device %s does not take an MTU of %u: %s", p->name, p->device,
			p->mtu_bytes, rte_strerror(-rc));
		return rc;
	}
	return 0;
refuse:
	snprintf(fault, PORT_FAULT_CHARS, "port %s: device %s can not be configured: %s", p->name,
		p->device, rte_strerror(-rc));
	return rc;
}

int port_open(struct port *port, const struct port_params *p, char fault[static PORT_FAULT_CHARS])
{
	int rc;

	*port = (struct port){0};
	snprintf(port->name, sizeof(port->name), "%s", p->name);
	rc = rte_dev_probe(p->device);
	if (rc == 0)
		rc = find_eth_id(p->device, &port->eth_id);
	if (rc < 0) {
		snprintf(fault, PORT_FAULT_CHARS,
			"port %s: device %s can not be opened: %s; accepted are a PCI address that "
			"is "
			"bound to vfio-pci, or a DPDK virtual device such as "
			"\"net_af_packet0,iface=eth0\" whose interface exists",
			p->name, p->device, rte_strerror(-rc));
		return rc;
	}
	port->socket_id = rte_eth_dev_socket_id(port->eth_id);
	rc = configure(port, p, fault);
	if (rc < 0)
		goto close;
	rc = rte_eth_dev_start(port->eth_id);
	if (rc < 0) {
		snprintf(fault, PORT_FAULT_CHARS, "port %s: device %s does not start: %s", p->name,
			p->device, rte_strerror(-rc));
		goto close;
	}
	reta_set(port);
	/* Wanted for ND and for frames that a switch floods; virtual devices may not know the call.
	 */
	(void)rte_eth_allmulticast_enable(port->eth_id);
	rte_eth_macaddr_get(port->eth_id, &port->mac);
	return 0;
close:
	port_close(port);
	return rc;
}

void port_close(struct port *port)
{
	struct rte_eth_dev_info info;
	int has_info = rte_eth_dev_info_get(port->eth_id, &info) == 0;

	(void)rte_eth_dev_stop(port->eth_id);
	(void)rte_eth_dev_close(port->eth_id);
	if (has_info && info.device)
		(void)rte_dev_remove(info.device);
}
