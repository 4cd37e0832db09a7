#include "lease/pool.h"

bool lease_pool_contains(const struct lease_conf *conf, const struct ip_addr *addr)
{
	return ip_prefixes_contain(conf->pool, conf->n_pool, addr);
}

uint64_t lease_pool_count(const struct lease_conf *conf)
{
	return ip_prefixes_count(conf->pool, conf->n_pool);
}

struct ip_addr lease_pool_address(const struct lease_conf *conf, uint64_t rank)
{
	return ip_prefixes_at(conf->pool, conf->n_pool, rank);
}

bool lease_dedicated_contains(const struct lease_conf *conf, const struct ip_addr *addr)
{
	return ip_prefixes_contain(conf->dedicated, conf->n_dedicated, addr);
}

uint64_t lease_dedicated_count(const struct lease_conf *conf)
{
	return ip_prefixes_count(conf->dedicated, conf->n_dedicated);
}

struct ip_addr lease_dedicated_address(const struct lease_conf *conf, uint64_t rank)
{
	return ip_prefixes_at(conf->dedicated, conf->n_dedicated, rank);
}
