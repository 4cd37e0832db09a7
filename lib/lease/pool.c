#include "lease/pool.h"

#include "base/bytes.h"

bool lease_pool_contains(const struct lease_conf *conf, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < conf->n_pool; i++)
		if (ip_prefix_contains(&conf->pool[i], addr))
			return true;
	return false;
}

static uint64_t count_addresses(const struct ip_prefix *p)
{
	return 1ull << (128 - p->len_bits);
}

uint64_t lease_pool_count(const struct lease_conf *conf)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < conf->n_pool; i++)
		n += count_addresses(&conf->pool[i]);
	return n;
}

struct ip_addr lease_pool_address(const struct lease_conf *conf, uint64_t rank)
{
	struct ip_addr addr = {0};

	for (unsigned i = 0; i < conf->n_pool; i++) {
		addr = conf->pool[i].addr;
		if (rank < count_addresses(&conf->pool[i]))
			break;
		rank -= count_addresses(&conf->pool[i]);
	}
	store_be32(addr.bytes + 12, load_be32(addr.bytes + 12) | (uint32_t)rank);
	return addr;
}
