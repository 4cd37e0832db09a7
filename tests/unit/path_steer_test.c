/* steer: rules against the oracle of software dispatch, and on a port whose device takes them.
 *
 * No device without hardware takes rules on raw bytes; so rte_flow is wrapped, and behind it stands
 * a card in software that keeps its own copy of each rule, as drivers do, and follows it.
 */
#define ALLOW_EXPERIMENTAL_API /* rte_flow_conv, by which drivers keep a rule */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "path/steer.h"
#include "path/worker.h"

#include "base/bytes.h"
#include "pkt/pkt.h"
#include "wgmsg/wgmsg.h"

#include <stdlib.h>
#include <string.h>

#include <rte_ether.h>

#include "eal.h"
#include "seeded.h"

#define N_WORKERS   5
#define LISTEN_PORT 51820
#define N_FRAMES    20000

/* --- a network card that follows rules, in software --------------------------------------------
 */

struct frame {
	uint8_t bytes[128];
	uint16_t payload_at;
	bool is_v6;
};

/* UDP to this port; the first bytes of the payload are msg. */
static struct frame make_frame(bool is_v6, uint16_t port, const uint8_t msg[static 16])
{
	struct frame f = {.is_v6 = is_v6};
	uint16_t udp_at = (uint16_t)(RTE_ETHER_HDR_LEN + (is_v6 ? 40 : 20));

	store_be16(f.bytes + 12, is_v6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	f.bytes[RTE_ETHER_HDR_LEN] = is_v6 ? 0x60 : 0x45;
	store_be16(f.bytes + udp_at + 2, port);
	f.payload_at = (uint16_t)(udp_at + 8);
	memcpy(f.bytes + f.payload_at, msg, 16);
	return f;
}

static bool raw_matches(const struct rte_flow_item_raw *raw, const struct rte_flow_item_raw *mask,
	const uint8_t *at)
{
	assert_true(raw->relative && !raw->search && raw->offset == 0);
	for (uint16_t i = 0; i < raw->length; i++)
		if ((at[i] & mask->pattern[i]) != (raw->pattern[i] & mask->pattern[i]))
			return false;
	return true;
}

static bool udp_matches(const struct rte_flow_item_udp *udp, const struct rte_flow_item_udp *mask,
	rte_be16_t dst_port)
{
	return ((udp->hdr.dst_port ^ dst_port) & mask->hdr.dst_port) == 0;
}

static bool pattern_matches(const struct rte_flow_item *item, const struct frame *f)
{
	for (;; item++) {

		switch ((int)item->type) {
		case RTE_FLOW_ITEM_TYPE_ETH:
			continue;
		case RTE_FLOW_ITEM_TYPE_IPV4:
		case RTE_FLOW_ITEM_TYPE_IPV6:
			if (f->is_v6 != (item->type == RTE_FLOW_ITEM_TYPE_IPV6))
				return false;
			continue;
		case RTE_FLOW_ITEM_TYPE_UDP:
			if (!udp_matches(item->spec, item->mask,
				    rte_cpu_to_be_16(load_be16(f->bytes + f->payload_at - 6))))
				return false;
			continue;
		case RTE_FLOW_ITEM_TYPE_RAW:
			if (!raw_matches(item->spec, item->mask, f->bytes + f->payload_at))
				return false;
			continue;
		case RTE_FLOW_ITEM_TYPE_END:
			return true;
		default:
			fail_msg("an item of type %d", item->type);
		}
	}
}

struct card {
	struct keypairs *keypairs;
	struct steer_rule rules[2 * N_WORKERS];
};

/* The queue of the one rule that matches; -1: none does. */
static int queue_of(const struct card *c, const struct frame *f)
{
	int queue = -1;

	for (unsigned i = 0; i < 2 * N_WORKERS; i++) {
		if (!pattern_matches(c->rules[i].pattern, f))
			continue;
		assert_int_equal(queue, -1);
		assert_int_equal(c->rules[i].actions[0].type, RTE_FLOW_ACTION_TYPE_QUEUE);
		queue = c->rules[i].queue.index;
	}
	return queue;
}

static void card_init(struct card *c)
{
	c->keypairs = keypairs_create(N_WORKERS, 1000);
	assert_non_null(c->keypairs);
	for (unsigned i = 0; i < 2 * N_WORKERS; i++)
		steer_rule_build(
			&c->rules[i], c->keypairs, LISTEN_PORT, i % 2, i / 2, (uint16_t)(i / 2));
}

/* --- rules -------------------------------------------------------------------------------------
 */

/* Whatever index was given out, in either family: the rule's queue is polled by its owner. */
static void data_goes_to_its_owner(void **state)
{
	struct card c;
	uint8_t msg[16] = {WGMSG_DATA};

	card_init(&c);
	for (unsigned i = 0; i < N_FRAMES; i++) {
		uint32_t worker = random_below(N_WORKERS),
			 idx = keypairs_index(c.keypairs, worker, random_below(c.keypairs->n_slots),
				 (uint32_t)random_u64());
		struct frame f;
		int queue;

		store_le32(msg + 4, idx);
		store_le64(msg + 8, random_u64());
		f = make_frame(i % 2, LISTEN_PORT, msg);
		queue = queue_of(&c, &f);
		assert_true(queue >= 0);
		assert_int_equal(port_rx_worker((uint16_t)queue, N_WORKERS),
			keypairs_worker(c.keypairs, idx));
	}
	keypairs_destroy(c.keypairs);
}

/* Handshakes go where the hash says, as does what is not WireGuard, or of no worker. */
static void nothing_else_is_steered(void **state)
{
	struct card c;

	card_init(&c);
	for (unsigned i = 0; i < N_FRAMES; i++) {
		uint8_t msg[16];
		uint16_t port = LISTEN_PORT;
		struct frame f;

		random_bytes(msg, sizeof(msg));
		switch (i % 4) {
		case 0:
			store_le32(msg, 1 + random_below(3));
			break;
		case 1:
			store_le32(msg, WGMSG_DATA);
			port = (uint16_t)(LISTEN_PORT + 1 + random_below(1000));
			break;
		case 2:
			store_le32(msg, WGMSG_DATA | (1 + random_below(0xffffff)) << 8);
			break;
		default:
			store_le32(msg, WGMSG_DATA);
			store_le32(msg + 4, UINT32_MAX - random_below(1000));
			break;
		}
		f = make_frame(random_below(2), port, msg);
		assert_int_equal(queue_of(&c, &f), -1);
	}
	keypairs_destroy(c.keypairs);
}

/* --- ports -------------------------------------------------------------------------------------
 */

static struct rte_mempool *mempool;

static void null_port_open(struct port *port, unsigned n_workers)
{
	char fault[PORT_FAULT_CHARS] = "";
	int rc = port_open(port,
		&(struct port_params){.name = "null",
			.device = "net_null0",
			.n_workers = n_workers,
			.rx_ring_pkts = 64,
			.tx_ring_pkts = 64,
			.mtu_bytes = 1500,
			.mempool = mempool},
		fault);

	if (rc < 0)
		fail_msg("%s", fault);
}

/* A device without rules keeps none, says so, and works on. */
static void a_port_without_rules_has_software_dispatch(void **state)
{
	char fault[STEER_FAULT_CHARS] = "";
	struct keypairs *one = keypairs_create(1, 10), *four = keypairs_create(4, 10);
	struct port port;

	null_port_open(&port, 4);
	assert_int_equal(port.n_rx_queues, 4);
	assert_int_equal(steer_port(&port, four, LISTEN_PORT, fault), 0);
	assert_true(strlen(fault) > 0);
	assert_int_equal(steer_port(&port, one, LISTEN_PORT, fault), 0);
	assert_string_equal(fault, "it has one rx queue, or there is one worker");
	port_close(&port);
	keypairs_destroy(one);
	keypairs_destroy(four);
}

/* --- a port whose device takes rules -----------------------------------------------------------
 */

#define DEVICE_RULES_MAX (2 * 8)
#define PEERS		 1000

/* What stands behind rte_flow while is_there. */
static struct device {
	bool is_there;
	unsigned n_validated, n_created, n_rules;
	unsigned refuse_validate, refuse_create; /* the n-th from 1; 0: none */
	struct rte_flow_conv_rule *rules[DEVICE_RULES_MAX];
} device;

int __real_rte_flow_validate(uint16_t port_id, const struct rte_flow_attr *attr,
	const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	struct rte_flow_error *error);
int __wrap_rte_flow_validate(uint16_t port_id, const struct rte_flow_attr *attr,
	const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	struct rte_flow_error *error);
struct rte_flow *__wrap_rte_flow_create(uint16_t port_id, const struct rte_flow_attr *attr,
	const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	struct rte_flow_error *error);
int __real_rte_flow_flush(uint16_t port_id, struct rte_flow_error *error);
int __wrap_rte_flow_flush(uint16_t port_id, struct rte_flow_error *error);

int __wrap_rte_flow_validate(uint16_t port_id, const struct rte_flow_attr *attr,
	const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	struct rte_flow_error *error)
{
	if (!device.is_there)
		return __real_rte_flow_validate(port_id, attr, pattern, actions, error);
	/* All of them before the first is made. */
	assert_int_equal(device.n_created, 0);
	if (++device.n_validated == device.refuse_validate)
		return rte_flow_error_set(
			error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, NULL, "no such items");
	return 0;
}

struct rte_flow *__wrap_rte_flow_create(uint16_t port_id, const struct rte_flow_attr *attr,
	const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	struct rte_flow_error *error)
{
	struct rte_flow_conv_rule rule = {
		.attr_ro = attr, .pattern_ro = pattern, .actions_ro = actions};
	int bytes = rte_flow_conv(RTE_FLOW_CONV_OP_RULE, NULL, 0, &rule, error);

	assert_true(device.is_there && bytes > 0 && device.n_rules < DEVICE_RULES_MAX);
	assert_true(attr->ingress && !attr->egress && !attr->transfer);
	if (++device.n_created == device.refuse_create) {
		rte_flow_error_set(error, ENOSPC, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "no room");
		return NULL;
	}
	device.rules[device.n_rules] = malloc((size_t)bytes);
	assert_non_null(device.rules[device.n_rules]);
	rte_flow_conv(
		RTE_FLOW_CONV_OP_RULE, device.rules[device.n_rules], (size_t)bytes, &rule, error);
	/* A handle, which nobody looks into. */
	return (struct rte_flow *)device.rules[device.n_rules++];
}

int __wrap_rte_flow_flush(uint16_t port_id, struct rte_flow_error *error)
{
	if (!device.is_there)
		return __real_rte_flow_flush(port_id, error);
	while (device.n_rules > 0)
		free(device.rules[--device.n_rules]);
	return 0;
}

/* The queue of the one rule that matches; -1: none does. */
static int device_queue_of(const struct frame *f)
{
	int queue = -1;

	for (unsigned i = 0; i < device.n_rules; i++) {
		const struct rte_flow_action *action = device.rules[i]->actions;

		if (!pattern_matches(device.rules[i]->pattern, f))
			continue;
		assert_int_equal(queue, -1);
		assert_int_equal(action[0].type, RTE_FLOW_ACTION_TYPE_QUEUE);
		assert_int_equal(action[1].type, RTE_FLOW_ACTION_TYPE_END);
		queue = ((const struct rte_flow_action_queue *)action[0].conf)->index;
	}
	return queue;
}

/* What software dispatch says of the message. */
static uint32_t owner_of(struct keypairs *keypairs, uint8_t msg[static 16])
{
	const struct path p = {.params.keypairs = keypairs};
	struct rte_mbuf m = {.buf_addr = msg, .data_len = 16, .pkt_len = 16};

	return path_owner_of(&p, PATH_STAGE_OPEN, &m);
}

/* A queue is its owner's, for each index; owners without a queue here get no rule. */
static void see_owners(struct keypairs *keypairs, uint32_t n_steered)
{
	uint8_t msg[16] = {WGMSG_DATA};

	for (unsigned i = 0; i < N_FRAMES; i++) {
		uint32_t worker = random_below(keypairs->n_workers), owner;
		struct frame f;

		store_le32(
			msg + 4, keypairs_index(keypairs, worker, random_below(keypairs->n_slots),
					 (uint32_t)random_u64()));
		owner = owner_of(keypairs, msg);
		assert_int_equal(owner, worker);
		f = make_frame(i % 2, LISTEN_PORT, msg);
		assert_int_equal(device_queue_of(&f), owner < n_steered ? (int)owner : -1);
	}
}

static void a_port_with_rules_puts_data_to_its_owner(void **state)
{
	static const unsigned workers[] = {2, 3, 5, 8};
	char fault[STEER_FAULT_CHARS];

	for (unsigned i = 0; i < RTE_DIM(workers); i++) {
		unsigned n = workers[i];
		struct keypairs *keypairs = keypairs_create(n, PEERS);
		struct port port;

		null_port_open(&port, n);
		assert_int_equal(port.n_rx_queues, n);
		device = (struct device){.is_there = true};
		assert_int_equal(steer_port(&port, keypairs, LISTEN_PORT, fault), 2 * n);
		assert_int_equal(device.n_validated, 2 * n);
		assert_int_equal(device.n_rules, 2 * n);
		see_owners(keypairs, n);
		rte_flow_flush(port.eth_id, NULL);
		device.is_there = false;
		port_close(&port);
		keypairs_destroy(keypairs);
	}
}

/* Fewer queues than workers: those that have none are found in software. */
static void a_worker_without_a_queue_has_no_rule(void **state)
{
	char fault[STEER_FAULT_CHARS];
	struct keypairs *keypairs = keypairs_create(5, PEERS);
	struct port port;

	null_port_open(&port, 2);
	device = (struct device){.is_there = true};
	assert_int_equal(steer_port(&port, keypairs, LISTEN_PORT, fault), 4);
	see_owners(keypairs, 2);
	rte_flow_flush(port.eth_id, NULL);
	device.is_there = false;
	port_close(&port);
	keypairs_destroy(keypairs);
}

/* Whichever rule is refused, and when: none is left, and the device's word is passed on. */
static void a_device_that_refuses_one_rule_has_none(void **state)
{
	struct keypairs *keypairs = keypairs_create(3, PEERS);
	struct port port;

	null_port_open(&port, 3);
	for (unsigned nth = 1; nth <= 6; nth++) {
		char fault[STEER_FAULT_CHARS];

		device = (struct device){.is_there = true, .refuse_validate = nth};
		assert_int_equal(steer_port(&port, keypairs, LISTEN_PORT, fault), 0);
		assert_string_equal(fault, "no such items");
		assert_int_equal(device.n_created, 0);
		device = (struct device){.is_there = true, .refuse_create = nth};
		assert_int_equal(steer_port(&port, keypairs, LISTEN_PORT, fault), 0);
		assert_string_equal(fault, "no room");
		assert_int_equal(device.n_created, nth);
		assert_int_equal(device.n_rules, 0);
	}
	device.is_there = false;
	port_close(&port);
	keypairs_destroy(keypairs);
}

static int setup(void **state)
{
	eal_start();
	mempool = pkt_pool_create("steer", 4096, SOCKET_ID_ANY);
	return mempool ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_goes_to_its_owner),
		cmocka_unit_test(nothing_else_is_steered),
		cmocka_unit_test(a_port_without_rules_has_software_dispatch),
		cmocka_unit_test(a_port_with_rules_puts_data_to_its_owner),
		cmocka_unit_test(a_worker_without_a_queue_has_no_rule),
		cmocka_unit_test(a_device_that_refuses_one_rule_has_none),
	};

	random_seed();
	return cmocka_run_group_tests(tests, setup, NULL);
}
