#include "path/steer.h"

#include <stdio.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_common.h>

#include "base/bytes.h"
#include "wgmsg/wgmsg.h"

static_assert(offsetof(struct wgmsg_data, receiver_idx_le32) + 4 == STEER_MSG_BYTES,
	"the message's beginning, up to the index");

void steer_rule_build(struct steer_rule *rule, const struct keypairs *keypairs,
	uint16_t listen_port, bool is_v6, uint32_t worker, uint16_t rx_queue)
{
	uint32_t shift = keypairs->slot_bits + keypairs->tag_bits;
	struct rte_flow_item *item = rule->pattern;

	memset(rule, 0, sizeof(*rule));
	rule->attr.ingress = 1;
	rule->udp.hdr.dst_port = rte_cpu_to_be_16(listen_port);
	rule->udp_mask.hdr.dst_port = RTE_BE16(0xffff);

	/* Type and the three zeros behind it; then of the index the bits that are the worker. */
	store_le32(rule->msg, WGMSG_DATA);
	store_le32(rule->msg_mask, UINT32_MAX);
	store_le32(rule->msg + 4, worker << shift);
	store_le32(rule->msg_mask + 4, UINT32_MAX << shift);
	rule->raw = (struct rte_flow_item_raw){
		.relative = 1, .length = STEER_MSG_BYTES, .pattern = rule->msg};
	rule->raw_mask = (struct rte_flow_item_raw){.relative = 1,
		.search = 1,
		.offset = -1,
		.limit = UINT16_MAX,
		.length = UINT16_MAX,
		.pattern = rule->msg_mask};

	*item++ = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_ETH};
	*item++ = (struct rte_flow_item){
		.type = is_v6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4};
	*item++ = (struct rte_flow_item){
		.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &rule->udp, .mask = &rule->udp_mask};
	*item++ = (struct rte_flow_item){
		.type = RTE_FLOW_ITEM_TYPE_RAW, .spec = &rule->raw, .mask = &rule->raw_mask};
	*item = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_END};

	rule->queue.index = rx_queue;
	rule->actions[0] =
		(struct rte_flow_action){.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &rule->queue};
	rule->actions[1] = (struct rte_flow_action){.type = RTE_FLOW_ACTION_TYPE_END};
}

/* rx queue n is polled by worker n (port_rx_worker), so far as there is one. */
static unsigned count_rules(const struct port *port, const struct keypairs *keypairs)
{
	unsigned n_steered = RTE_MIN((unsigned)port->n_rx_queues, keypairs->n_workers);

	return n_steered > 1 ? 2 * n_steered : 0;
}

static void nth_rule_build(
	struct steer_rule *rule, const struct keypairs *keypairs, uint16_t listen_port, unsigned n)
{
	steer_rule_build(rule, keypairs, listen_port, n % 2, n / 2, (uint16_t)(n / 2));
}

static unsigned refuse(char *fault, const struct port *port, const struct rte_flow_error *error)
{
	snprintf(fault, STEER_FAULT_CHARS, "%s",
		error->message ? error->message : "the device takes no such rules");
	rte_flow_flush(port->eth_id, NULL);
	return 0;
}

unsigned steer_port(const struct port *port, const struct keypairs *keypairs, uint16_t listen_port,
	char fault[static STEER_FAULT_CHARS])
{
	unsigned n = count_rules(port, keypairs);
	struct rte_flow_error error = {0};
	struct steer_rule rule;

	snprintf(fault, STEER_FAULT_CHARS, "it has one rx queue, or there is one worker");
	for (unsigned i = 0; i < n; i++) {
		nth_rule_build(&rule, keypairs, listen_port, i);
		if (rte_flow_validate(
			    port->eth_id, &rule.attr, rule.pattern, rule.actions, &error) < 0)
			return refuse(fault, port, &error);
	}
	for (unsigned i = 0; i < n; i++) {
		nth_rule_build(&rule, keypairs, listen_port, i);
		if (!rte_flow_create(port->eth_id, &rule.attr, rule.pattern, rule.actions, &error))
			return refuse(fault, port, &error);
	}
	return n;
}
