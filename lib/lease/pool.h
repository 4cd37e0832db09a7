/* pool.h - the public addresses that leases may have, by rank, so that one can be drawn.
 *
 * Of a prefix of more than 2^32 addresses only the lowest 2^32 have a rank; all may be asked for.
 * Threads: pure functions, any thread. Cost: O(prefixes).
 */
#ifndef PORTIER_LEASE_POOL_H
#define PORTIER_LEASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "lease/lease.h"

bool lease_pool_contains(const struct lease_conf *conf, const struct ip_addr *addr);
/* Addresses of a family that have a rank. */
uint64_t lease_pool_count(const struct lease_conf *conf, bool is_v4);
/* rank is less than lease_pool_count(conf, is_v4). */
struct ip_addr lease_pool_address(const struct lease_conf *conf, bool is_v4, uint64_t rank);

#endif
