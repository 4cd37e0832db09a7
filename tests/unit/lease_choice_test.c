#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

/* The engine is built into this program so that its allocations can be made to fail. */
static unsigned calls_until_failure = UINT32_MAX;

static void *failing_calloc(size_t n, size_t size)
{
	if (calls_until_failure == 0)
		return NULL;
	calls_until_failure--;
	return calloc(n, size);
}

#define calloc failing_calloc
#include "lease/heap.c"
#include "lease/pool.c"
#include "lease/number.c"
#include "lease/table.c"
#undef calloc

#include "lease_requests.h"

static void zero_bytes(void *out, size_t len)
{
	memset(out, 0, len);
}

static void quota_counts_leases_and_bounds_the_quarantine(void **state)
{
	struct lease_table *t = make_table(128, 50000, 59999, 1000);
	struct lease_request req = make_request(1, LEASE_PROTO_TCP, 1);
	const struct ip_addr addr = public_addr(0);
	uint64_t ids[3], bits[157] = {0};
	unsigned n_numbers = 0;
	const struct lease *l;

	(void)state;
	req.peer_max_leases = 3;
	for (unsigned i = 0; i < 3; i++) {
		req.inner_port = (uint16_t)(i + 1);
		assert_int_equal(lease_grant(t, &req, 0, &l), 0);
		ids[i] = l->id;
	}
	req.inner_port = 4;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EDQUOT);

	/* A peer that opens and closes without end never takes more than twice its quota. */
	for (unsigned i = 0; i < 10000; i++) {
		close_id(t, ids[i % 3], i);
		req.inner_port = (uint16_t)(i + 5);
		assert_int_equal(lease_grant(t, &req, i, &l), 0);
		ids[i % 3] = l->id;
		bits[(l->public_port - 50000) / 64] |= 1ull << (l->public_port - 50000) % 64;
	}
	for (unsigned i = 0; i < 157; i++)
		n_numbers += (unsigned)__builtin_popcountll(bits[i]);
	assert_in_range(n_numbers, 1, 6);

	/* Nor by asking for each port by name. */
	close_id(t, ids[0], 10000);
	req.inner_port = 4;
	req.public_port = 50000;
	while (lease_number_find(&t->numbers, &addr, req.public_port))
		req.public_port++;
	assert_int_equal(lease_grant(t, &req, 10000, &l), -EDQUOT);
	lease_table_destroy(t);
}

static void create_survives_each_failed_allocation(void **state)
{
	struct lease_conf conf = make_conf(120, 50000, 59999, 64);
	struct lease_table *t = NULL;
	unsigned n;

	(void)state;
	for (n = 0; !t; n++) {
		calls_until_failure = n;
		t = lease_table_create(&conf);
	}
	assert_in_range(n, 20, 30); /* it did fail at each */
	/* No allocation afterwards. */
	calls_until_failure = 0;
	for (uint16_t i = 0; i < 64; i++)
		grant(t, i / 4, LEASE_PROTO_TCP, i + 1, 0);
	calls_until_failure = UINT32_MAX;
	lease_table_destroy(t);
	lease_table_destroy(NULL);
}

/* Each port of each address once, up to the last; then each hole that opens in the full table. */
static void the_last_free_port_is_found(void **state)
{
	static const unsigned ranges[] = {1, 2, 3, 4, 5, 63, 64, 65, 128, 1000, 10000};
	struct lease_request req;
	const struct lease *l;
	struct lease gone;
	uint64_t now = 0;

	(void)state;
	for (unsigned r = 0; r < sizeof(ranges) / sizeof(*ranges); r++) {
		unsigned n = ranges[r];
		struct lease_table *t = make_table(127, 1025, (uint16_t)(1024 + n), 2 * n);
		uint8_t *seen = calloc(2, n);
		uint64_t *ids = calloc(2 * n, sizeof(*ids));

		assert_true(seen && ids);
		for (unsigned i = 0; i < 2 * n; i++) {
			l = grant(t, i, LEASE_PROTO_BOTH, 80, now);
			assert_in_range(l->public_port, 1025, 1024 + n);
			assert_int_equal(
				seen[l->public_addr.bytes[15] * n + l->public_port - 1025]++, 0);
			ids[i] = l->id;
		}
		for (unsigned i = 0; i < 200; i++) {
			unsigned victim = random_below(2 * n);

			gone = close_id(t, ids[victim], now);
			req = make_request(1000000 + i, LEASE_PROTO_BOTH, 80);
			assert_int_equal(lease_grant(t, &req, now, &l), -ENOSPC);
			now += 2 * MINUTE;
			assert_int_equal(lease_grant(t, &req, now, &l), 0);
			assert_int_equal(l->public_port, gone.public_port);
			assert_true(ip_equal(&l->public_addr, &gone.public_addr));
			ids[victim] = l->id;
		}
		free(seen);
		free(ids);
		lease_table_destroy(t);
	}
}

/* Pearson's sum over k equally likely classes; its mean is k - 1 and its variance 2 (k - 1). */
static void assert_uniform(const unsigned *count, unsigned k, unsigned n)
{
	double want = (double)n / k, sum = 0, df = k - 1;

	for (unsigned i = 0; i < k; i++)
		sum += (count[i] - want) * (count[i] - want) / want;
	if ((sum - df) * (sum - df) > 2 * df * 49) /* 7 deviations */
		fail_msg("chi-square %.1f over %.0f degrees of freedom", sum, df);
}

static void ports_are_chosen_uniformly(void **state)
{
	static const unsigned used[] = {0, 50, 100, 101, 150, 190};
	const struct ip_addr addr = public_addr(0);
	unsigned count[200], rank[200], n_free;
	struct lease_table *t;

	(void)state;
	for (unsigned u = 0; u < sizeof(used) / sizeof(*used); u++) {
		t = make_table(128, 40000, 40199, 200);
		for (uint32_t i = 0; i < used[u]; i++)
			grant(t, i, LEASE_PROTO_TCP, 80, 0);
		assert_int_equal(t->numbers.bitmap_slab.n_touched, used[u] > 100);
		n_free = 0;
		for (unsigned i = 0; i < 200; i++)
			rank[i] = lease_number_find(&t->numbers, &addr, (uint16_t)(40000 + i))
					  ? UINT32_MAX
					  : n_free++;
		assert_int_equal(n_free, 200 - used[u]);
		memset(count, 0, sizeof(count));
		for (unsigned i = 0; i < 100000; i++) {
			uint16_t port = lease_number_choose(&t->numbers, &addr);

			assert_in_range(port, 40000, 40199);
			assert_true(rank[port - 40000] < n_free);
			count[rank[port - 40000]]++;
		}
		assert_uniform(count, n_free, 100000);
		lease_table_destroy(t);
	}
}

static void addresses_are_chosen_uniformly(void **state)
{
	struct lease_conf conf = make_conf(125, 1024, 65535, 40000);
	struct lease_table *t;
	unsigned count[13] = {0};
	struct ip_addr addr;

	(void)state;
	conf.n_pool = 2;
	conf.pool[1] = (struct ip_prefix){.addr = v4(203, 0, 113, 4), .len_bits = 126};
	t = lease_table_create(&conf);
	assert_non_null(t);
	for (uint32_t peer = 0; peer < 30000; peer++) {
		addr = grant(t, peer, LEASE_PROTO_TCP, 80, 0)->public_addr;
		assert_true(ip_is_v4(&addr));
		count[addr.bytes[12] == 198 ? addr.bytes[15] : addr.bytes[15] - 4 + 8]++;
	}
	assert_uniform(count, 12, 30000);
	assert_int_equal(count[12], 0);
	lease_table_destroy(t);
}

static void the_paired_address_comes_before_chance(void **state)
{
	struct lease_table *t = make_table(124, 50000, 50001, 100);
	struct lease_request req;
	const struct lease *l;
	struct lease gone;

	(void)state;
	for (uint32_t peer = 0; peer < 3; peer++) {
		req = make_request(peer, LEASE_PROTO_TCP, 80);
		req.paired_addr = public_addr(5);
		assert_int_equal(lease_grant(t, &req, 0, &l), 0);
		/* Two ports: the third peer finds room elsewhere. */
		assert_int_equal(ip_equal(&l->public_addr, &req.paired_addr), peer < 2);
	}
	/* Where it was comes first; what is asked for before all. */
	assert_int_equal(lease_close(t, l->id, 0, &gone), 0);
	req.paired_addr = public_addr(6);
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	assert_true(ip_equal(&l->public_addr, &gone.public_addr));
	req = make_request(7, LEASE_PROTO_TCP, 80);
	req.paired_addr = public_addr(6);
	req.public_addr = public_addr(7);
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	assert_true(ip_equal(&l->public_addr, &req.public_addr));
	/* One that is not in the pool says nothing. */
	req = make_request(8, LEASE_PROTO_TCP, 80);
	req.paired_addr = v4(192, 0, 2, 1);
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	lease_table_destroy(t);
}

/* Chance that is none still gives free ports, and ends. */
static void a_broken_generator_costs_only_the_randomness(void **state)
{
	struct lease_conf conf = make_conf(126, 50000, 50099, 400);
	struct lease_table *t;
	const struct lease *l;

	(void)state;
	conf.random = zero_bytes;
	t = lease_table_create(&conf);
	assert_non_null(t);
	for (uint32_t i = 0; i < 400; i++) {
		l = grant(t, i, LEASE_PROTO_BOTH, 80, 0);
		assert_int_equal(l->public_port, 50000 + i % 100);
		assert_int_equal(l->public_addr.bytes[15], i / 100);
	}
	lease_table_destroy(t);
}

static void a_million_leases(void **state)
{
	const uint32_t n = 1000000;
	struct lease_table *t = make_table(116, 20000, 59999, n);
	struct lease_request req;
	const struct lease *l;
	struct lease out;
	uint32_t ended = 0;

	(void)state;
	for (uint32_t i = 0; i < n; i++) {
		req = make_request(i / 8, LEASE_PROTO_BOTH, (uint16_t)(1 + i % 8));
		req.ttl_ns = 1 + random_below(1000);
		assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	}
	assert_int_equal(lease_count(t, UINT32_MAX), n);
	assert_int_equal(lease_grant(t,
				 &(struct lease_request){.peer_idx = n,
					 .peer_max_leases = 1,
					 .protos = LEASE_PROTO_TCP,
					 .inner_addr = inner_addr(1),
					 .inner_port = 1},
				 0, &l),
		-ENOSPC);
	for (uint32_t i = 0; i < n; i += 7) {
		l = lease_get(t, i + 1);
		assert_non_null(l);
		assert_ptr_equal(
			lease_find_public(t, &l->public_addr, LEASE_PROTO_UDP, l->public_port), l);
	}
	while (lease_expire_next(t, 1000, &out))
		ended++;
	assert_int_equal(ended, n);
	assert_false(lease_expire_next(t, 1000 + 2 * MINUTE, &out));
	assert_int_equal(lease_next_deadline_ns(t), TIME_NEVER);
	lease_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quota_counts_leases_and_bounds_the_quarantine),
		cmocka_unit_test(create_survives_each_failed_allocation),
		cmocka_unit_test(the_last_free_port_is_found),
		cmocka_unit_test(ports_are_chosen_uniformly),
		cmocka_unit_test(addresses_are_chosen_uniformly),
		cmocka_unit_test(the_paired_address_comes_before_chance),
		cmocka_unit_test(a_broken_generator_costs_only_the_randomness),
		cmocka_unit_test(a_million_leases),
	};

	random_seed();
	return cmocka_run_group_tests_name("lease_choice", tests, NULL, NULL);
}
