/* ctl_pairing_test.c - the address that a peer leaves by: fixed, spread, and at each gateway
 * another story.
 */
#include "ctl/pairing.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_GATEWAYS 9
#define N_KEYS	   100000
#define N_ADDRS	   16

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p = {0};

	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

/* A stream of keys that is the same in each run. */
static void key_of(uint32_t n, const char *what, uint8_t out[static CRYPTO_KEY_BYTES])
{
	crypto_blake2s(out, what, strlen(what), &n, sizeof(n));
}

static void test_an_address_is_fixed(void **state)
{
	struct ip_prefix pool[2] = {prefix("198.51.100.0/30"), prefix("203.0.113.8/31")};
	uint8_t own[CRYPTO_KEY_BYTES], key[CRYPTO_KEY_BYTES];
	struct pairing one, again;
	bool seen[6] = {false};

	key_of(0, "gateway", own);
	pairing_init(&one, own, pool, 2);
	pairing_init(&again, own, pool, 2);
	for (uint32_t n = 0; n < 200; n++) {
		uint32_t addr;

		key_of(n, "peer", key);
		addr = pairing_address(&one, key);
		assert_int_equal(pairing_address(&again, key), addr);
		if (addr >> 8 == 0xc63364)
			seen[addr & 0xff] = true;
		else
			seen[addr - 0xcb007108 + 4] = true;
	}
	for (unsigned i = 0; i < 6; i++)
		assert_true(seen[i]);
	pairing_fini(&one);
	assert_int_equal(one.key[0] | one.key[7] | one.key[15], 0);
	pairing_init(&one, own, pool, 0);
	assert_int_equal(pairing_address(&one, key), 0);
}

/* Chi-square against an even spread over cells; about normal with mean n - 1 and variance
 * 2 (n - 1): six deviations are not met by chance, and the keys are the same in each run. */
static void assert_even(const uint32_t *cells, unsigned n)
{
	double mean = (double)N_KEYS / n, sum = 0, over;

	for (unsigned i = 0; i < n; i++)
		sum += (cells[i] - mean) * (cells[i] - mean) / mean;
	over = sum - (n - 1);
	if (over > 0 && over * over > 36 * 2.0 * (n - 1))
		fail_msg("chi-square %.1f of %u cells; expected %u", sum, n, n - 1);
}

static void test_gateways_are_independent(void **state)
{
	static uint8_t rank[N_GATEWAYS][N_KEYS];
	struct ip_prefix pool = prefix("198.51.100.0/28");

	for (uint32_t g = 0; g < N_GATEWAYS; g++) {
		uint8_t own[CRYPTO_KEY_BYTES], key[CRYPTO_KEY_BYTES];
		uint32_t cells[N_ADDRS] = {0};
		struct pairing p;

		key_of(g, "gateway", own);
		pairing_init(&p, own, &pool, 1);
		for (uint32_t n = 0; n < N_KEYS; n++) {
			key_of(n, "peer", key);
			rank[g][n] = (uint8_t)(pairing_address(&p, key) - 0xc6336400);
			cells[rank[g][n]]++;
		}
		assert_even(cells, N_ADDRS);
	}
	/* Of any two, one says nothing of the other. */
	for (unsigned a = 0; a < N_GATEWAYS; a++) {
		for (unsigned b = a + 1; b < N_GATEWAYS; b++) {
			uint32_t cells[N_ADDRS * N_ADDRS] = {0};

			for (unsigned n = 0; n < N_KEYS; n++)
				cells[rank[a][n] * N_ADDRS + rank[b][n]]++;
			assert_even(cells, N_ADDRS * N_ADDRS);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_address_is_fixed),
		cmocka_unit_test(test_gateways_are_independent),
	};

	if (crypto_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
