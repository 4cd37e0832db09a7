/* flow_blocks_test.c - blocks of public ports: which there are, whose they are, one owner each. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "flow/blocks.h"

#include "seeded.h"

#include <pthread.h>
#include <stdatomic.h>

#define ADDR_1 0xc6336401 /* 198.51.100.1 */

static struct blocks_conf small_conf(void)
{
	struct blocks_conf conf = {
		.n_pool = 1,
		.port_first = 1024,
		.port_last = 65535,
		.block_ports = 256,
	};

	assert_int_equal(ip_prefix_parse("198.51.100.0/30", &conf.pool[0]), 0);
	return conf;
}

static void test_whole_blocks_of_the_range_only(void **state)
{
	static const struct {
		uint16_t first, last, n_ports;
		uint32_t n_blocks, first_port;
	} cases[] = {
		{1024, 65535, 64, 1008, 1024},
		{1024, 65535, 4096, 15, 4096},
		{1024, 65534, 256, 251, 1024},
		{1025, 65535, 256, 251, 1280},
		{1300, 1791, 256, 1, 1536},
		{1300, 1790, 256, 0, 0},
		{1536, 1791, 256, 1, 1536},
		{5000, 5010, 64, 0, 0},
		{5000, 4000, 64, 0, 0},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct blocks_conf conf = small_conf();
		struct blocks_counts counts;
		struct blocks *b;

		conf.port_first = cases[i].first;
		conf.port_last = cases[i].last;
		conf.block_ports = cases[i].n_ports;
		b = blocks_create(&conf);
		assert_non_null(b);
		assert_int_equal(blocks_total(b), 4 * cases[i].n_blocks);
		assert_true(blocks_count(b, ADDR_1, &counts));
		assert_int_equal(counts.total, cases[i].n_blocks);
		if (cases[i].n_blocks > 0)
			assert_int_equal(blocks_first_port(b, 0), cases[i].first_port);
		else
			assert_int_equal(blocks_claim(b, ADDR_1, 1, 0), BLOCKS_NONE);
		for (uint32_t n = 0; n < cases[i].n_blocks; n++)
			assert_int_not_equal(blocks_claim(b, ADDR_1, 1, n), BLOCKS_NONE);
		for (uint32_t port = 0; port <= UINT16_MAX; port++) {
			uint32_t last_port =
				cases[i].first_port + cases[i].n_blocks * cases[i].n_ports;
			bool is_inside = port >= cases[i].first_port && port < last_port;

			assert_int_equal(blocks_owner(b, ADDR_1, (uint16_t)port),
				is_inside ? 1 : BLOCKS_NONE);
		}
		blocks_destroy(b);
	}
}

static void test_what_is_not_sound(void **state)
{
	struct blocks_conf conf = small_conf();

	conf.port_first = 1023;
	assert_null(blocks_create(&conf));
	conf = small_conf();
	conf.block_ports = 32;
	assert_null(blocks_create(&conf));
	conf.block_ports = 8192;
	assert_null(blocks_create(&conf));
	conf.block_ports = 192;
	assert_null(blocks_create(&conf));
	conf = small_conf();
	assert_int_equal(ip_prefix_parse("10.0.0.0/8", &conf.pool[0]), 0);
	assert_null(blocks_create(&conf));
	conf.n_pool = BLOCKS_POOL_MAX + 1;
	assert_null(blocks_create(&conf));
	blocks_destroy(NULL);
}

/* RFC 6888 REQ-3: prefixes apart, overlapping, side by side, of one address, of both families. */
static void test_a_pool_of_odd_prefixes(void **state)
{
	static const char *const prefixes[] = {"203.0.113.64/31", "2001:db8::/64",
		"198.51.100.0/30", "198.51.100.3/32", "198.51.100.4/32", "255.255.255.255/32",
		"0.0.0.0/32", "203.0.113.64/32"};
	static const uint32_t addrs[] = {0, 0xc6336400, 0xc6336401, 0xc6336402, 0xc6336403,
		0xc6336404, 0xcb007140, 0xcb007141, UINT32_MAX};
	struct blocks_conf conf = small_conf();
	struct blocks_counts counts;
	struct blocks *b;

	conf.n_pool = 0;
	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		assert_int_equal(ip_prefix_parse(prefixes[i], &conf.pool[conf.n_pool++]), 0);
	b = blocks_create(&conf);
	assert_int_equal(blocks_addrs(b), 9);
	for (uint32_t rank = 0; rank < 9; rank++) {
		uint32_t block;

		assert_int_equal(blocks_addr_at(b, rank), addrs[rank]);
		assert_int_equal(blocks_addr_rank(b, addrs[rank]), rank);
		block = blocks_claim(b, addrs[rank], 100 + rank, random_below(UINT32_MAX));
		assert_int_not_equal(block, BLOCKS_NONE);
		assert_int_equal(blocks_addr(b, block), addrs[rank]);
		assert_int_equal(
			blocks_owner(b, addrs[rank], blocks_first_port(b, block)), 100 + rank);
		assert_false(blocks_count(b, addrs[rank] + 0x10000, &counts));
	}
	assert_int_equal(blocks_addr_rank(b, 0xc63363ff), BLOCKS_NONE);
	assert_int_equal(blocks_claim(b, 0xc63363ff, 1, 0), BLOCKS_NONE);
	assert_int_equal(blocks_claim(b, 0xc6336405, 1, 0), BLOCKS_NONE);
	assert_int_equal(blocks_owner(b, 0xcb007142, 2000), BLOCKS_NONE);
	blocks_destroy(b);
	conf.n_pool = 0;
	b = blocks_create(&conf);
	assert_int_equal(blocks_total(b), 0);
	assert_int_equal(blocks_owner(b, ADDR_1, 2000), BLOCKS_NONE);
	blocks_destroy(b);
}

/* Free, owned, resting, free; a resting block is nobody's and not to be had. */
static void test_life_of_a_block(void **state)
{
	struct blocks_conf conf = small_conf();
	struct blocks_counts counts;
	struct blocks *b;
	uint32_t block;
	uint16_t port;

	conf.port_last = 1024 + 255;
	b = blocks_create(&conf);
	block = blocks_claim(b, ADDR_1, 7, 12345);
	port = blocks_first_port(b, block);
	assert_int_equal(blocks_owner(b, ADDR_1, (uint16_t)(port + 255)), 7);
	assert_int_equal(blocks_claim(b, ADDR_1, 8, 0), BLOCKS_NONE);
	blocks_retire(b, block);
	assert_int_equal(blocks_owner(b, ADDR_1, port), BLOCKS_NONE);
	assert_int_equal(blocks_claim(b, ADDR_1, 8, 0), BLOCKS_NONE);
	assert_true(blocks_count(b, ADDR_1, &counts));
	assert_int_equal(counts.owned, 0);
	assert_int_equal(counts.resting, 1);
	blocks_release(b, block);
	assert_int_equal(blocks_claim(b, ADDR_1, 8, 0), block);
	assert_true(blocks_count(b, ADDR_1, &counts));
	assert_int_equal(counts.owned, 1);
	assert_int_equal(counts.resting, 0);
	blocks_destroy(b);
}

/* Two threads want them all: each block goes to one. */
#define CLAIMS 1008

static struct blocks *contested;
static _Atomic unsigned n_ready;
static uint32_t got[2][CLAIMS + 1];

static void *claim_all(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg;

	atomic_fetch_add(&n_ready, 1);
	while (atomic_load(&n_ready) < 2)
		;
	for (unsigned n = 0; n <= CLAIMS; n++) {
		got[me][n] = blocks_claim(contested, ADDR_1, me, 0);
		if (got[me][n] == BLOCKS_NONE)
			break;
	}
	return NULL;
}

static void test_two_threads_never_share(void **state)
{
	static bool is_taken[4 * CLAIMS];
	struct blocks_conf conf = small_conf();
	pthread_t threads[2];
	unsigned n = 0;

	conf.block_ports = 64;
	contested = blocks_create(&conf);
	for (uintptr_t t = 0; t < 2; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, claim_all, (void *)t), 0);
	for (unsigned t = 0; t < 2; t++)
		pthread_join(threads[t], NULL);
	for (uint32_t t = 0; t < 2; t++) {
		for (unsigned i = 0; got[t][i] != BLOCKS_NONE; i++, n++) {
			assert_false(is_taken[got[t][i]]);
			is_taken[got[t][i]] = true;
			assert_int_equal(blocks_owner(contested, ADDR_1,
						 blocks_first_port(contested, got[t][i])),
				t);
		}
	}
	assert_int_equal(n, CLAIMS);
	blocks_destroy(contested);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_blocks_of_the_range_only),
		cmocka_unit_test(test_what_is_not_sound),
		cmocka_unit_test(test_a_pool_of_odd_prefixes),
		cmocka_unit_test(test_life_of_a_block),
		cmocka_unit_test(test_two_threads_never_share),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
