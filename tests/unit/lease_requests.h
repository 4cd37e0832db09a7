/* lease_requests.h - small lease tables and requests for tests: time in minutes, public addresses
 * 198.51.100.x, each peer with an inner address of its own. */
#ifndef PORTIER_TEST_LEASE_REQUESTS_H
#define PORTIER_TEST_LEASE_REQUESTS_H

#include "lease/lease.h"

#include <cmocka.h>

#include "seeded.h"

#define MINUTE (60 * NS_IN_S)

static inline struct ip_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return ip_from_v4((const uint8_t[]){a, b, c, d});
}

static inline struct ip_addr public_addr(unsigned i)
{
	return v4(198, 51, 100, (uint8_t)i);
}

static inline struct ip_addr inner_addr(unsigned peer)
{
	return v4(10, (uint8_t)(peer >> 16), (uint8_t)(peer >> 8), (uint8_t)peer);
}

/* 198.51.100.0 with 2^(128-len_bits) addresses. */
static inline struct lease_conf make_conf(
	uint8_t len_bits, uint16_t first, uint16_t last, uint32_t max)
{
	return (struct lease_conf){
		.pool = {{.addr = public_addr(0), .len_bits = len_bits}},
		.n_pool = 1,
		.port_first = first,
		.port_last = last,
		.max_leases = max,
		.default_ttl_ns = 60 * MINUTE,
		.max_ttl_ns = 24 * 60 * MINUTE,
		.quarantine_ns = 2 * MINUTE,
		.random = random_bytes,
	};
}

static inline struct lease_table *make_table(
	uint8_t len_bits, uint16_t first, uint16_t last, uint32_t max)
{
	struct lease_conf conf = make_conf(len_bits, first, last, max);
	struct lease_table *t = lease_table_create(&conf);

	assert_non_null(t);
	return t;
}

static inline struct lease_request make_request(uint32_t peer, uint8_t protos, uint16_t inner_port)
{
	return (struct lease_request){
		.peer_idx = peer,
		.peer_max_leases = 1000,
		.protos = protos,
		.inner_addr = inner_addr(peer),
		.inner_port = inner_port,
	};
}

static inline const struct lease *grant(
	struct lease_table *t, uint32_t peer, uint8_t protos, uint16_t inner_port, uint64_t now)
{
	struct lease_request req = make_request(peer, protos, inner_port);
	const struct lease *l = NULL;

	assert_int_equal(lease_grant(t, &req, now, &l), 0);
	return l;
}

static inline struct lease close_id(struct lease_table *t, uint64_t id, uint64_t now)
{
	struct lease out;

	assert_int_equal(lease_close(t, id, now, &out), 0);
	return out;
}

#endif
