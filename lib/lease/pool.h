/* pool.h - the public addresses that leases may have, by rank, so that one can be drawn.
 *
 * Threads: pure functions, any thread. Cost: O(prefixes).
 */
#ifndef PORTIER_LEASE_POOL_H
#define PORTIER_LEASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "lease/lease.h"

bool lease_pool_contains(const struct lease_conf *conf, const struct ip_addr *addr);
uint64_t lease_pool_count(const struct lease_conf *conf);
/* rank is less than lease_pool_count(conf). */
struct ip_addr lease_pool_address(const struct lease_conf *conf, uint64_t rank);

/* The same of the dedicated ones. */
bool lease_dedicated_contains(const struct lease_conf *conf, const struct ip_addr *addr);
uint64_t lease_dedicated_count(const struct lease_conf *conf);
struct ip_addr lease_dedicated_address(const struct lease_conf *conf, uint64_t rank);

#endif
