/* port: what a device hashes with, against rte_softrss. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "port/port.c"

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_thash.h>

#include "eal.h"
#include "seeded.h"

#define N_QUEUES 5
#define N_TUPLES 20000

/* A device takes a key of its own length only. */
static void key_fits_the_device(void **state)
{
	static const struct {
		uint8_t device, got;
	} cases[] = {{0, 0}, {40, 40}, {52, 52}, {PORT_RSS_KEY_BYTES_MAX, PORT_RSS_KEY_BYTES_MAX},
		{PORT_RSS_KEY_BYTES_MAX + 1, 0}};

	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct rte_eth_dev_info info = {.hash_key_size = cases[i].device,
			.flow_type_rss_offloads = RTE_ETH_RSS_IP | RTE_ETH_RSS_L2_PAYLOAD};
		struct rte_eth_conf conf = {0};
		const struct rte_eth_rss_conf *rss = &conf.rx_adv_conf.rss_conf;

		hash_prepare(&info, &conf);
		assert_int_equal(conf.rxmode.mq_mode, RTE_ETH_MQ_RX_RSS);
		assert_int_equal(rss->rss_hf, RTE_ETH_RSS_IP);
		assert_int_equal(rss->rss_key_len, cases[i].got);
		assert_ptr_equal(rss->rss_key, cases[i].got ? port_rss_key : NULL);
	}
}

static void no_hash_is_asked_of_a_device_without(void **state)
{
	struct rte_eth_dev_info info = {.hash_key_size = 40};
	struct rte_eth_conf conf = {0};

	hash_prepare(&info, &conf);
	assert_int_equal(conf.rxmode.mq_mode, RTE_ETH_MQ_RX_NONE);
}

static void table_goes_round_the_queues(void **state)
{
	struct rte_mempool *mempool = rte_pktmbuf_pool_create(
		"port", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	struct rte_eth_rss_reta_entry64 reta[PORT_RETA_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};
	struct rte_eth_dev_info info;
	char fault[PORT_FAULT_CHARS] = "";
	struct port port;

	if (port_open(&port,
		    &(struct port_params){.name = "null",
			    .device = "net_null0",
			    .n_workers = 3,
			    .rx_ring_pkts = 64,
			    .tx_ring_pkts = 64,
			    .mtu_bytes = 1500,
			    .mempool = mempool},
		    fault) < 0)
		fail_msg("%s", fault);
	assert_int_equal(rte_eth_dev_info_get(port.eth_id, &info), 0);
	assert_true(info.reta_size > 3);
	for (unsigned i = 0; i < info.reta_size; i++)
		reta[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1)
							  << i % RTE_ETH_RETA_GROUP_SIZE;
	assert_int_equal(rte_eth_dev_rss_reta_query(port.eth_id, reta, info.reta_size), 0);
	for (unsigned i = 0; i < info.reta_size; i++)
		assert_int_equal(
			reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE], i % 3);
	port_close(&port);
	rte_mempool_free(mempool);
}

static uint32_t hash_of(uint32_t src, uint32_t dst, uint16_t src_port, uint16_t dst_port)
{
	union rte_thash_tuple tuple = {.v4 = {.src_addr = src, .dst_addr = dst}};

	tuple.v4.sport = src_port;
	tuple.v4.dport = dst_port;
	return rte_softrss((uint32_t *)&tuple, RTE_THASH_V4_L4_LEN, port_rss_key);
}

/* Both ways of a conversation reach the same queue, and peers spread over all of them. */
static void hash_is_symmetric_and_even(void **state)
{
	unsigned counts[N_QUEUES] = {0};

	for (unsigned i = 0; i < N_TUPLES; i++) {
		uint32_t peer = (uint32_t)random_u64(), entry = 0xc0000201;
		uint16_t port = (uint16_t)random_u64();
		uint32_t hash = hash_of(peer, entry, port, 51820);

		assert_int_equal(hash, hash_of(entry, peer, 51820, port));
		counts[hash % 128 % N_QUEUES]++;
	}
	/* 128 places are not a multiple of five: 25 or 26 each. */
	for (unsigned i = 0; i < N_QUEUES; i++) {
		assert_in_range(
			counts[i], N_TUPLES / N_QUEUES * 9 / 10, N_TUPLES / N_QUEUES * 11 / 10);
	}
}

static int setup(void **state)
{
	eal_start();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_fits_the_device),
		cmocka_unit_test(no_hash_is_asked_of_a_device_without),
		cmocka_unit_test(table_goes_round_the_queues),
		cmocka_unit_test(hash_is_symmetric_and_even),
	};

	random_seed();
	return cmocka_run_group_tests(tests, setup, NULL);
}
