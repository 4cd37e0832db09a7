/* steer: rules against the oracle of software dispatch. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "path/steer.h"

#include "base/bytes.h"
#include "pkt/pkt.h"
#include "wgmsg/wgmsg.h"

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

static bool rule_matches(const struct steer_rule *rule, const struct frame *f)
{
	for (const struct rte_flow_item *item = rule->pattern;; item++) {
		const struct rte_flow_item_udp *udp = item->spec;

		switch ((int)item->type) {
		case RTE_FLOW_ITEM_TYPE_ETH:
			continue;
		case RTE_FLOW_ITEM_TYPE_IPV4:
		case RTE_FLOW_ITEM_TYPE_IPV6:
			if (f->is_v6 != (item->type == RTE_FLOW_ITEM_TYPE_IPV6))
				return false;
			continue;
		case RTE_FLOW_ITEM_TYPE_UDP:
			if (load_be16(f->bytes + f->payload_at - 6) !=
				rte_be_to_cpu_16(udp->hdr.dst_port))
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
		if (!rule_matches(&c->rules[i], f))
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
	};

	random_seed();
	return cmocka_run_group_tests(tests, setup, NULL);
}
