#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
#include "lease/lease.c"
#undef calloc

#define MINUTE (60 * NS_IN_S)

static uint64_t random_state;

/* splitmix64 */
static uint64_t random_u64(void)
{
	uint64_t z = (random_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint32_t random_below(uint32_t n)
{
	return (uint32_t)((random_u64() >> 32) % n);
}

static void random_bytes(void *out, size_t len)
{
	uint8_t *p = out;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(random_u64() >> 24);
}

static void zero_bytes(void *out, size_t len)
{
	memset(out, 0, len);
}

static struct ip_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return ip_from_v4((const uint8_t[]){a, b, c, d});
}

static struct ip_addr public_addr(unsigned i)
{
	return v4(198, 51, 100, (uint8_t)i);
}

static struct ip_addr inner_addr(unsigned peer)
{
	return v4(10, (uint8_t)(peer >> 16), (uint8_t)(peer >> 8), (uint8_t)peer);
}

/* 198.51.100.0 with 2^(128-len_bits) addresses. */
static struct lease_conf make_conf(uint8_t len_bits, uint16_t first, uint16_t last, uint32_t max)
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

static struct lease_table *make_table(uint8_t len_bits, uint16_t first, uint16_t last, uint32_t max)
{
	struct lease_conf conf = make_conf(len_bits, first, last, max);
	struct lease_table *t = lease_table_create(&conf);

	assert_non_null(t);
	return t;
}

static struct lease_request make_request(uint32_t peer, uint8_t protos, uint16_t inner_port)
{
	return (struct lease_request){
		.peer_idx = peer,
		.peer_max_leases = 1000,
		.protos = protos,
		.inner_addr = inner_addr(peer),
		.inner_port = inner_port,
	};
}

static const struct lease *grant(
	struct lease_table *t, uint32_t peer, uint8_t protos, uint16_t inner_port, uint64_t now)
{
	struct lease_request req = make_request(peer, protos, inner_port);
	const struct lease *l = NULL;

	assert_int_equal(lease_grant(t, &req, now, &l), 0);
	return l;
}

static struct lease close_id(struct lease_table *t, uint64_t id, uint64_t now)
{
	struct lease out;

	assert_int_equal(lease_close(t, id, now, &out), 0);
	return out;
}

static void grant_fills_the_lease(void **state)
{
	struct lease_table *t = make_table(124, 50000, 50099, 16);
	struct lease_request req = make_request(7, LEASE_PROTO_TCP, 80);
	const struct lease *l;

	(void)state;
	req.public_addr = public_addr(9);
	req.public_port = 50042;
	req.ttl_ns = 5 * MINUTE;
	req.idle_ns = 3 * MINUTE;
	req.n_sources = 2;
	req.sources[1] = (struct ip_prefix){.addr = v4(192, 0, 2, 0), .len_bits = 120};
	memset(req.label, 'x', sizeof(req.label));
	assert_int_equal(lease_grant(t, &req, MINUTE, &l), 0);

	assert_int_equal(l->id, 1);
	assert_int_equal(l->state, LEASE_ACTIVE);
	assert_int_equal(l->peer_idx, 7);
	assert_int_equal(l->protos, LEASE_PROTO_TCP);
	assert_true(ip_equal(&l->public_addr, &req.public_addr));
	assert_int_equal(l->public_port, 50042);
	assert_true(ip_equal(&l->inner_addr, &req.inner_addr));
	assert_int_equal(l->inner_port, 80);
	assert_int_equal(l->opened_ns, MINUTE);
	assert_int_equal(l->ttl_ns, 5 * MINUTE);
	assert_int_equal(l->expires_ns, 6 * MINUTE);
	assert_int_equal(l->idle_ns, 3 * MINUTE);
	assert_int_equal(l->n_sources, 2);
	assert_memory_equal(&l->sources[1], &req.sources[1], sizeof(req.sources[1]));
	assert_int_equal(strlen(l->label), LEASE_LABEL_CHARS - 1);

	assert_ptr_equal(lease_get(t, l->id), l);
	assert_null(lease_get(t, 0));
	assert_null(lease_get(t, 2));
	assert_ptr_equal(lease_find_public(t, &l->public_addr, LEASE_PROTO_BOTH, 50042), l);
	assert_null(lease_find_public(t, &l->public_addr, LEASE_PROTO_UDP, 50042));
	assert_null(lease_find_public(t, &l->public_addr, LEASE_PROTO_TCP, 50043));
	lease_table_destroy(t);
}

static void unsound_requests_are_refused(void **state)
{
	struct lease_table *t = make_table(127, 50000, 50009, 4);
	struct lease_request good = make_request(1, LEASE_PROTO_UDP, 80), req;
	const struct lease *l = (const struct lease *)&good;

	(void)state;
	req = good, req.protos = 0;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EINVAL);
	req = good, req.protos = 4;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EINVAL);
	req = good, req.inner_port = 0;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EINVAL);
	req = good, req.inner_addr = (struct ip_addr){0};
	assert_int_equal(lease_grant(t, &req, 0, &l), -EINVAL);
	req = good, req.n_sources = LEASE_SOURCES_MAX + 1;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EINVAL);
	req = good, req.peer_idx = UINT32_MAX;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EINVAL);
	req = good, req.public_port = 49999;
	assert_int_equal(lease_grant(t, &req, 0, &l), -ERANGE);
	req = good, req.public_port = 50010;
	assert_int_equal(lease_grant(t, &req, 0, &l), -ERANGE);
	req = good, req.public_addr = public_addr(2);
	assert_int_equal(lease_grant(t, &req, 0, &l), -EADDRNOTAVAIL);
	req = good, req.inner_addr.bytes[0] = 0x20; /* IPv6 within, no IPv6 without */
	assert_int_equal(lease_grant(t, &req, 0, &l), -EADDRNOTAVAIL);
	req.public_addr = public_addr(1);
	assert_int_equal(lease_grant(t, &req, 0, &l), -EADDRNOTAVAIL);
	req = good, req.peer_max_leases = 0;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EDQUOT);

	assert_ptr_equal(l, &good); /* untouched */
	assert_int_equal(lease_count(t, UINT32_MAX), 0);
	assert_int_equal(lease_next_deadline_ns(t), TIME_NEVER);
	lease_table_destroy(t);
}

static void the_same_request_renews(void **state)
{
	struct lease_table *t = make_table(124, 50000, 50099, 16);
	struct lease_request req = make_request(7, LEASE_PROTO_TCP, 80);
	const struct lease *first, *l;
	struct lease before;

	(void)state;
	req.n_sources = 1;
	req.idle_ns = MINUTE;
	strcpy(req.label, "opened");
	req.ttl_ns = 10 * MINUTE;
	assert_int_equal(lease_grant(t, &req, 0, &first), 0);
	before = *first;

	/* Whatever is suggested, even what could not be had, and with the quota used up. */
	req.public_addr = public_addr(200);
	req.public_port = 1;
	req.peer_max_leases = 0;
	req.n_sources = 0;
	req.idle_ns = 0;
	strcpy(req.label, "renewed");
	req.ttl_ns = 0;
	assert_int_equal(lease_grant(t, &req, 5 * MINUTE, &l), 1);
	assert_ptr_equal(l, first);
	before.expires_ns = 15 * MINUTE;
	assert_memory_equal(l, &before, sizeof(before));
	assert_int_equal(lease_count(t, 7), 1);

	req.ttl_ns = MINUTE; /* shorter: so be it */
	assert_int_equal(lease_grant(t, &req, 6 * MINUTE, &l), 1);
	assert_int_equal(l->expires_ns, 7 * MINUTE);
	assert_int_equal(lease_renew(t, before.id, 0, 7 * MINUTE, &l), 0);
	assert_int_equal(l->expires_ns, 8 * MINUTE);
	assert_int_equal(lease_renew(t, before.id + 1, 0, 7 * MINUTE, &l), -ENOENT);

	/* Another inner port, inner address or peer is another lease. */
	req = make_request(7, LEASE_PROTO_TCP, 81);
	assert_int_equal(lease_grant(t, &req, 7 * MINUTE, &l), 0);
	req = make_request(7, LEASE_PROTO_TCP, 80);
	req.inner_addr = inner_addr(8);
	assert_int_equal(lease_grant(t, &req, 7 * MINUTE, &l), 0);
	req.peer_idx = 8;
	assert_int_equal(lease_grant(t, &req, 7 * MINUTE, &l), 0);
	assert_int_equal(lease_count(t, 7), 3);
	assert_int_equal(lease_count(t, 8), 1);
	lease_table_destroy(t);
}

static void the_companion_gets_the_same_number(void **state)
{
	struct lease_table *t = make_table(120, 50000, 59999, 64);
	struct lease_request req;
	const struct lease *tcp, *udp, *both, *l;
	uint16_t port;

	(void)state;
	tcp = grant(t, 1, LEASE_PROTO_TCP, 80, 0);
	req = make_request(1, LEASE_PROTO_UDP, 80);
	req.public_port = tcp->public_port == 50000 ? 50001 : 50000;
	assert_int_equal(lease_grant(t, &req, 0, &udp), 0);
	assert_int_not_equal(udp->id, tcp->id);
	assert_int_equal(udp->public_port, tcp->public_port);
	assert_true(ip_equal(&udp->public_addr, &tcp->public_addr));
	assert_int_equal(udp->protos, LEASE_PROTO_UDP);
	assert_int_equal(lease_count(t, 1), 2);

	/* Neither grows into both. */
	req = make_request(1, LEASE_PROTO_BOTH, 80);
	assert_int_equal(lease_grant(t, &req, 0, &l), -EEXIST);

	/* One for both is renewed by either. */
	both = grant(t, 1, LEASE_PROTO_BOTH, 81, 0);
	assert_int_not_equal(both->public_port, tcp->public_port);
	req = make_request(1, LEASE_PROTO_UDP, 81);
	assert_int_equal(lease_grant(t, &req, 0, &l), 1);
	assert_ptr_equal(l, both);
	assert_ptr_equal(
		lease_find_public(t, &both->public_addr, LEASE_PROTO_UDP, both->public_port), both);
	assert_ptr_equal(
		lease_find_public(t, &both->public_addr, LEASE_PROTO_TCP, both->public_port), both);

	/* The half that is not leased belongs to nobody else, and leads nowhere else. */
	close_id(t, udp->id, 0);
	req = make_request(2, LEASE_PROTO_UDP, 80);
	req.public_addr = tcp->public_addr;
	req.public_port = tcp->public_port;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EADDRINUSE);
	req = make_request(1, LEASE_PROTO_UDP, 82);
	req.public_port = tcp->public_port;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EADDRINUSE);
	/* Even after the closed half's quarantine, for the number lives. */
	req = make_request(2, LEASE_PROTO_UDP, 80);
	req.public_addr = tcp->public_addr;
	req.public_port = port = tcp->public_port;
	assert_int_equal(lease_grant(t, &req, 10 * MINUTE, &l), -EADDRINUSE);
	udp = grant(t, 1, LEASE_PROTO_UDP, 80, 10 * MINUTE);
	assert_int_equal(udp->public_port, port);
	lease_table_destroy(t);
}

static void a_peer_has_one_public_address(void **state)
{
	struct lease_table *t = make_table(120, 50000, 59999, 2000);
	struct lease_request req;
	const struct lease *l;
	struct ip_addr addr;
	uint64_t seen[4] = {0};
	unsigned n_seen = 0;

	(void)state;
	for (uint32_t peer = 0; peer < 200; peer++) {
		addr = grant(t, peer, LEASE_PROTO_TCP, 1, 0)->public_addr;
		seen[addr.bytes[15] / 64] |= 1ull << addr.bytes[15] % 64;
		for (uint16_t port = 2; port < 8; port++) {
			l = grant(t, peer, 1 + port % 3, port, 0);
			assert_true(ip_equal(&l->public_addr, &addr));
		}
		req = make_request(peer, LEASE_PROTO_TCP, 9);
		req.public_addr = addr;
		req.public_addr.bytes[15] ^= 1;
		assert_int_equal(lease_grant(t, &req, 0, &l), -EXDEV);
		req.public_addr = addr;
		assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		n_seen += (unsigned)__builtin_popcountll(seen[i]);
	assert_in_range(n_seen, 100, 180); /* 200 of 256 drawn: 139 expected, deviation 5 */
	lease_table_destroy(t);
}

static void quarantine_keeps_the_port_for_its_owner(void **state)
{
	struct lease_table *t = make_table(128, 50000, 50000, 4);
	struct lease_request mine = make_request(1, LEASE_PROTO_TCP, 80);
	struct lease_request other = make_request(2, LEASE_PROTO_UDP, 80);
	const struct lease *l;
	struct lease ended;

	(void)state;
	other.public_addr = public_addr(0);
	other.public_port = 50000;
	l = grant(t, 1, LEASE_PROTO_TCP, 80, 0);
	ended = close_id(t, l->id, 10 * MINUTE);
	assert_int_equal(ended.state, LEASE_QUARANTINE);
	assert_int_equal(ended.expires_ns, 12 * MINUTE);
	assert_int_equal(ended.public_port, 50000);
	assert_null(lease_get(t, ended.id));
	assert_null(lease_find_public(t, &ended.public_addr, LEASE_PROTO_BOTH, 50000));
	assert_int_equal(lease_next_deadline_ns(t), 12 * MINUTE);
	assert_int_equal(lease_close(t, ended.id, 10 * MINUTE, &ended), -ENOENT);

	assert_int_equal(lease_grant(t, &other, 12 * MINUTE - 1, &l), -EADDRINUSE);
	other.public_port = 0;
	assert_int_equal(lease_grant(t, &other, 12 * MINUTE - 1, &l), -ENOSPC);
	/* The owner, under another inner port; a new lease with a new name. */
	mine.inner_port = 81;
	assert_int_equal(lease_grant(t, &mine, 12 * MINUTE - 1, &l), 0);
	assert_int_equal(l->public_port, 50000);
	assert_int_not_equal(l->id, ended.id);

	close_id(t, l->id, 20 * MINUTE);
	assert_int_equal(lease_grant(t, &other, 22 * MINUTE - 1, &l), -ENOSPC);
	assert_int_equal(lease_grant(t, &other, 22 * MINUTE, &l), 0);
	assert_int_equal(lease_grant(t, &mine, 22 * MINUTE, &l), -ENOSPC);
	lease_table_destroy(t);
}

static void reopening_gives_the_former_port(void **state)
{
	struct lease_table *t = make_table(120, 50000, 59999, 64);
	struct lease first, second;
	const struct lease *l;

	(void)state;
	first = *grant(t, 1, LEASE_PROTO_BOTH, 80, 0);
	second = *grant(t, 1, LEASE_PROTO_BOTH, 81, 0);
	close_id(t, first.id, MINUTE);
	close_id(t, second.id, MINUTE);
	l = grant(t, 1, LEASE_PROTO_TCP, 81, 2 * MINUTE);
	assert_int_equal(l->public_port, second.public_port);
	assert_true(ip_equal(&l->public_addr, &second.public_addr));
	l = grant(t, 1, LEASE_PROTO_TCP, 80, 2 * MINUTE);
	assert_int_equal(l->public_port, first.public_port);
	lease_table_destroy(t);
}

static void a_forgotten_peer_leaves_nothing_to_its_successor(void **state)
{
	struct lease_table *t = make_table(128, 50000, 50001, 4);
	struct lease_request req = make_request(1, LEASE_PROTO_TCP, 80);
	const struct lease *l;
	struct lease a, b;

	(void)state;
	assert_int_equal(lease_peer_forget(t, 1), 0);
	a = *grant(t, 1, LEASE_PROTO_TCP, 80, 0);
	b = *grant(t, 1, LEASE_PROTO_TCP, 81, 0);
	close_id(t, a.id, 0);
	assert_int_equal(lease_peer_forget(t, 1), -EBUSY);
	close_id(t, b.id, 0);
	assert_int_equal(lease_peer_forget(t, 1), 0);
	assert_int_equal(lease_grant(t, &req, MINUTE, &l), -ENOSPC);
	req.public_port = a.public_port;
	assert_int_equal(lease_grant(t, &req, MINUTE, &l), -EADDRINUSE);
	assert_int_equal(lease_grant(t, &req, 2 * MINUTE, &l), 0);
	lease_table_destroy(t);
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

static void lifetimes_are_clamped_and_do_not_overflow(void **state)
{
	struct lease_conf conf = make_conf(120, 50000, 59999, 16);
	struct lease_request req = make_request(1, LEASE_PROTO_TCP, 1);
	struct lease_table *t = lease_table_create(&conf);
	const struct lease *l;
	struct lease out;

	(void)state;
	assert_non_null(t);
	assert_int_equal(grant(t, 1, LEASE_PROTO_TCP, 1, 5)->ttl_ns, conf.default_ttl_ns);
	req.ttl_ns = conf.max_ttl_ns + 1;
	assert_int_equal(lease_grant(t, &req, 5, &l), 1);
	assert_int_equal(l->ttl_ns, conf.max_ttl_ns);
	assert_int_equal(l->expires_ns, 5 + conf.max_ttl_ns);
	assert_int_equal(lease_renew(t, l->id, TIME_NEVER, 6, &l), 0);
	assert_int_equal(l->expires_ns, 6 + conf.max_ttl_ns);
	/* At the far end of time, a sum that does not fit is "never". */
	assert_int_equal(lease_renew(t, l->id, 0, TIME_NEVER - 10, &l), 0);
	assert_int_equal(l->expires_ns, TIME_NEVER);
	out = close_id(t, l->id, TIME_NEVER - 10);
	assert_int_equal(out.expires_ns, TIME_NEVER);
	lease_table_destroy(t);

	conf.max_ttl_ns = TIME_NEVER;
	conf.default_ttl_ns = TIME_NEVER;
	t = lease_table_create(&conf);
	assert_non_null(t);
	l = grant(t, 1, LEASE_PROTO_TCP, 1, 5);
	assert_int_equal(l->expires_ns, TIME_NEVER);
	assert_int_equal(lease_next_deadline_ns(t), TIME_NEVER);
	assert_false(lease_expire_next(t, TIME_NEVER - 1, &out));
	/* To an end and back. */
	assert_int_equal(lease_renew(t, l->id, 7, 10, &l), 0);
	assert_int_equal(lease_next_deadline_ns(t), 17);
	assert_int_equal(lease_renew(t, l->id, TIME_NEVER, 10, &l), 0);
	assert_int_equal(lease_next_deadline_ns(t), TIME_NEVER);
	lease_table_destroy(t);
}

static void leases_expire_in_order_and_on_time(void **state)
{
	struct lease_table *t = make_table(120, 50000, 59999, 5000);
	static uint64_t due[5001]; /* by id */
	struct lease_request req;
	const struct lease *l;
	struct lease out;
	unsigned n = 0;
	uint64_t now;

	(void)state;
	for (uint32_t i = 0; i < 5000; i++) {
		req = make_request(i / 10, LEASE_PROTO_TCP, (uint16_t)(i + 1));
		req.ttl_ns = 1 + random_below(1000000);
		assert_int_equal(lease_grant(t, &req, 0, &l), 0);
		due[l->id] = l->expires_ns;
		if (i % 3 == 0) {
			uint64_t id = 1 + random_below(i + 1), ttl = 1 + random_below(1000000);

			assert_int_equal(lease_renew(t, id, ttl, 0, &l), 0);
			due[id] = ttl;
		}
	}
	while ((now = lease_next_deadline_ns(t)) < 2 * MINUTE) {
		assert_false(lease_expire_next(t, now - 1, &out));
		while (lease_expire_next(t, now, &out)) {
			assert_int_equal(due[out.id], now);
			assert_int_equal(out.expires_ns, now + 2 * MINUTE);
			assert_null(lease_get(t, out.id));
			n++;
		}
	}
	assert_int_equal(n, 5000);
	assert_int_equal(lease_count(t, UINT32_MAX), 0);
	assert_false(lease_expire_next(t, 4 * MINUTE, &out)); /* the quarantines end */
	assert_int_equal(lease_next_deadline_ns(t), TIME_NEVER);
	assert_int_equal(t->numbers.quarantine.head, 0);
	lease_table_destroy(t);
}

static void a_table_of_four(void **state)
{
	struct lease_table *t = make_table(120, 50000, 59999, 4);
	const struct lease *l, *leases[4];
	struct lease_request req;

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		leases[i] = grant(t, i, LEASE_PROTO_TCP, 80, 0);
	req = make_request(4, LEASE_PROTO_TCP, 80);
	assert_int_equal(lease_grant(t, &req, 0, &l), -ENOSPC);
	req = make_request(3, LEASE_PROTO_TCP, 80);
	assert_int_equal(lease_grant(t, &req, 0, &l), 1);

	/* Quarantine does not count, up to as many again. */
	for (uint32_t i = 0; i < 4; i++) {
		close_id(t, leases[i]->id, 1);
		leases[i] = grant(t, 10 + i, LEASE_PROTO_TCP, 80, 1);
	}
	close_id(t, leases[0]->id, 2);
	req = make_request(20, LEASE_PROTO_TCP, 80);
	assert_int_equal(lease_grant(t, &req, 2, &l), -ENOSPC);
	req = make_request(10, LEASE_PROTO_TCP, 99);
	assert_int_equal(lease_grant(t, &req, 2, &l), 0); /* its own from the quarantine */
	close_id(t, l->id, 3);
	req = make_request(20, LEASE_PROTO_TCP, 80);
	assert_int_equal(lease_grant(t, &req, 2 * MINUTE + 1, &l), 0);
	lease_table_destroy(t);

	t = make_table(120, 50000, 59999, 0);
	assert_int_equal(lease_grant(t, &req, 0, &l), -ENOSPC);
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
	conf.n_pool = 3;
	conf.pool[1] = (struct ip_prefix){.addr = {{0x20, 1, 0xd, 0xb8}}, .len_bits = 64};
	conf.pool[2] = (struct ip_prefix){.addr = v4(203, 0, 113, 4), .len_bits = 126};
	t = lease_table_create(&conf);
	assert_non_null(t);
	for (uint32_t peer = 0; peer < 30000; peer++) {
		addr = grant(t, peer, LEASE_PROTO_TCP, 80, 0)->public_addr;
		assert_true(ip_is_v4(&addr));
		count[addr.bytes[12] == 198 ? addr.bytes[15] : addr.bytes[15] - 4 + 8]++;
	}
	assert_uniform(count, 12, 30000);
	assert_int_equal(count[12], 0);

	/* IPv6 inside has IPv6 outside. */
	struct lease_request req = make_request(30000, LEASE_PROTO_TCP, 80);
	const struct lease *l;

	req.inner_addr.bytes[0] = 0xfd;
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	assert_true(ip_prefix_contains(&conf.pool[1], &l->public_addr));
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

static void walks_may_close_what_they_find(void **state)
{
	struct lease_table *t = make_table(120, 50000, 59999, 100);
	uint64_t cursor = 0, seen = 0;
	const struct lease *l;
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < 60; i++)
		grant(t, i % 3, LEASE_PROTO_TCP, (uint16_t)(i + 1), 0);
	while ((l = lease_next(t, 1, &cursor))) {
		assert_int_equal(l->peer_idx, 1);
		seen |= 1ull << l->id;
		if (n++ % 2)
			close_id(t, l->id, 0);
	}
	assert_int_equal(n, 20);
	assert_int_equal(__builtin_popcountll(seen), 20);
	assert_null(lease_next(t, 1, &cursor));
	assert_int_equal(lease_count(t, 1), 10);
	cursor = 0;
	assert_null(lease_next(t, 99, &cursor));

	cursor = 0;
	seen = 0;
	while ((l = lease_next(t, UINT32_MAX, &cursor))) {
		seen |= 1ull << l->id;
		close_id(t, l->id, 0);
	}
	assert_int_equal(__builtin_popcountll(seen), 50);
	assert_int_equal(lease_count(t, UINT32_MAX), 0);
	assert_null(lease_next(t, UINT32_MAX, &cursor));
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
		cmocka_unit_test(grant_fills_the_lease),
		cmocka_unit_test(unsound_requests_are_refused),
		cmocka_unit_test(the_same_request_renews),
		cmocka_unit_test(the_companion_gets_the_same_number),
		cmocka_unit_test(a_peer_has_one_public_address),
		cmocka_unit_test(quarantine_keeps_the_port_for_its_owner),
		cmocka_unit_test(reopening_gives_the_former_port),
		cmocka_unit_test(a_forgotten_peer_leaves_nothing_to_its_successor),
		cmocka_unit_test(quota_counts_leases_and_bounds_the_quarantine),
		cmocka_unit_test(lifetimes_are_clamped_and_do_not_overflow),
		cmocka_unit_test(leases_expire_in_order_and_on_time),
		cmocka_unit_test(a_table_of_four),
		cmocka_unit_test(create_survives_each_failed_allocation),
		cmocka_unit_test(the_last_free_port_is_found),
		cmocka_unit_test(ports_are_chosen_uniformly),
		cmocka_unit_test(addresses_are_chosen_uniformly),
		cmocka_unit_test(a_broken_generator_costs_only_the_randomness),
		cmocka_unit_test(walks_may_close_what_they_find),
		cmocka_unit_test(a_million_leases),
	};
	const char *text = getenv("PORTIER_TEST_SEED");

	random_state = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	printf("PORTIER_TEST_SEED=%llu\n", (unsigned long long)random_state);
	return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
