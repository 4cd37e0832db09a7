#include "lease/pool.h"

#include "base/bytes.h"

static bool contains(const struct ip_prefix *pool, unsigned n, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < n; i++)
		if (ip_prefix_contains(&pool[i], addr))
			return true;
	return false;
}

static uint64_t count_addresses(const struct ip_prefix *p)
{
	return 1ull << (128 - p->len_bits);
}

static uint64_t count(const struct ip_prefix *pool, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += count_addresses(&pool[i]);
	return sum;
}

static struct ip_addr address(const struct ip_prefix *pool, unsigned n, uint64_t rank)
{
	struct ip_addr addr = {0};

	for (unsigned i = 0; i < n; i++) {
		addr = pool[i].addr;
		if (rank < count_addresses(&pool[i]))
			break;
		rank -= count_addresses(&pool[i]);
	}
	store_be32(addr.bytes + 12, load_be32(addr.bytes + 12) | (uint32_t)rank);
	return addr;
}

bool lease_pool_contains(const struct lease_conf *conf, const struct ip_addr *addr)
{
	return contains(conf->pool, conf->n_pool, addr);
}

uint64_t lease_pool_count(const struct lease_conf *conf)
{
	return count(conf->pool, conf->n_pool);
}

struct ip_addr lease_pool_address(const struct lease_conf *conf, uint64_t rank)
{
	return address(conf->pool, conf->n_pool, rank);
}

bool lease_dedicated_contains(const struct lease_conf *conf, const struct ip_addr *addr)
{
	return contains(conf->dedicated, conf->n_dedicated, addr);
}

uint64_t lease_dedicated_count(const struct lease_conf *conf)
{
	return count(conf->dedicated, conf->n_dedicated);
}

struct ip_addr lease_dedicated_address(const struct lease_conf *conf, uint64_t rank)
{
	return address(conf->dedicated, conf->n_dedicated, rank);
}
