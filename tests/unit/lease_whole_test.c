/* Leases of whole addresses: one owner of all its ports, and nothing of the pool beside it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lease/lease.h"

#include <errno.h>
#include <string.h>

#include "lease_requests.h"

#define HOUR (60 * MINUTE)

/* 198.51.100.64 and .65 are dedicated. */
static struct lease_table *make(void)
{
	struct lease_conf conf = make_conf(127, 50000, 50999, 16);
	struct lease_table *t;

	conf.dedicated[0] = (struct ip_prefix){.addr = public_addr(64), .len_bits = 127};
	conf.n_dedicated = 1;
	conf.reserve_ns = HOUR;
	t = lease_table_create(&conf);
	assert_non_null(t);
	return t;
}

static struct lease_request whole(uint32_t peer)
{
	struct lease_request req = make_request(peer, LEASE_PROTO_BOTH, 0);

	req.is_whole = true;
	return req;
}

static const struct lease *must_grant(
	struct lease_table *t, const struct lease_request *req, uint64_t now)
{
	const struct lease *l = NULL;

	assert_int_equal(lease_grant(t, req, now, &l), 0);
	return l;
}

static void refuse(struct lease_table *t, const struct lease_request *req, int err)
{
	const struct lease *l = NULL;

	assert_int_equal(lease_grant(t, req, 0, &l), err);
	assert_null(l);
}

static void all_of_it_is_one_peers(void **state)
{
	struct lease_table *t = make();
	struct lease_request req = whole(1), other;
	const struct lease *l = must_grant(t, &req, 0), *again;
	struct ip_addr first = l->public_addr;

	assert_in_range(first.bytes[15], 64, 65);
	assert_true(lease_is_whole(l->public_port));
	assert_int_equal(l->inner_port, 0);
	assert_ptr_equal(lease_find_public(t, &first, LEASE_PROTO_UDP, 53), l);
	assert_ptr_equal(lease_find_inner(t, 1, &req.inner_addr, LEASE_PROTO_TCP, 80), l);
	assert_int_equal(lease_public_port_of(l, 80), 80);
	other = whole(2);
	/* Asked for again it is renewed. */
	assert_int_equal(lease_grant(t, &req, MINUTE, &again), 1);
	assert_ptr_equal(again, l);
	/* It is nobody else's, and there are two. */
	other.public_addr = first;
	refuse(t, &other, -EADDRINUSE);
	other.public_addr = (struct ip_addr){0};
	assert_int_not_equal(must_grant(t, &other, 0)->public_addr.bytes[15], first.bytes[15]);
	other = whole(3);
	refuse(t, &other, -ENOSPC);
	lease_table_destroy(t);
}

static void it_stands_alone(void **state)
{
	struct lease_table *t = make();
	struct lease_request req = whole(1), one = make_request(1, LEASE_PROTO_TCP, 80);
	struct lease_request of_pool = whole(3), v6 = whole(4);
	const struct lease *l = must_grant(t, &req, 0);

	/* Not with another lease of its peer, whichever was first. */
	refuse(t, &one, -EXDEV);
	one.n_ports = 4;
	refuse(t, &one, -EXDEV);
	grant(t, 2, LEASE_PROTO_TCP, 80, 0);
	req = whole(2);
	refuse(t, &req, -EXDEV);
	/* Only dedicated addresses, and no ordinary lease on one. */
	of_pool.public_addr = public_addr(0);
	refuse(t, &of_pool, -EADDRNOTAVAIL);
	one = make_request(3, LEASE_PROTO_TCP, 80);
	one.public_addr = public_addr(65);
	refuse(t, &one, -EADDRNOTAVAIL);
	/* All of it. */
	v6.inner_addr.bytes[0] = 0xfd;
	refuse(t, &v6, -EINVAL);
	req = whole(3), req.protos = LEASE_PROTO_TCP;
	refuse(t, &req, -EINVAL);
	req = whole(3), req.n_sources = 1;
	refuse(t, &req, -EINVAL);
	req = whole(3), req.inner_port = 80;
	refuse(t, &req, -EINVAL);
	/* When it has ended, the pool is there again. */
	close_id(t, l->id, 0);
	l = grant(t, 1, LEASE_PROTO_TCP, 80, 0);
	assert_in_range(l->public_addr.bytes[15], 0, 1);
	lease_table_destroy(t);
}

static void it_rests_for_its_owner(void **state)
{
	struct lease_table *t = make();
	struct lease_request req = whole(1), other = whole(2);
	const struct lease *l = must_grant(t, &req, 0);
	struct ip_addr addr = l->public_addr;
	struct lease_held held;

	close_id(t, l->id, 0);
	assert_null(lease_find_public(t, &addr, LEASE_PROTO_TCP, 443));
	assert_true(lease_held_get(t, &addr, 0, &held));
	assert_int_equal(held.state, LEASE_RESERVED);
	other.public_addr = addr;
	refuse(t, &other, -EADDRINUSE);
	l = must_grant(t, &req, MINUTE);
	assert_true(ip_equal(&l->public_addr, &addr));
	close_id(t, l->id, MINUTE);
	must_grant(t, &other, 2 * HOUR);
	lease_table_destroy(t);
}

static void a_restart_changes_nothing(void **state)
{
	struct lease_table *before = make(), *t = make();
	struct lease_request req = whole(1);
	struct lease copy = *must_grant(before, &req, 0);
	struct lease_held held = {.state = LEASE_RESERVED, .peer_idx = 2, .until_ns = HOUR};

	assert_int_equal(lease_restore(t, &copy), 0);
	assert_memory_equal(lease_get(t, copy.id), &copy, sizeof(copy));
	copy.id++, copy.peer_idx = 2;
	assert_int_equal(lease_restore(t, &copy), -EADDRINUSE);
	copy.public_addr = public_addr(0);
	assert_int_equal(lease_restore(t, &copy), -EADDRNOTAVAIL);
	held.public_addr = public_addr(64 + 65 - lease_peer_address(t, 1).bytes[15]);
	held.inner_addr = inner_addr(2);
	held.n_ports = 1;
	assert_int_equal(lease_held_restore(t, &held, 0), 0);
	req = whole(2);
	assert_true(ip_equal(&must_grant(t, &req, 0)->public_addr, &held.public_addr));
	lease_table_destroy(before);
	lease_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_it_is_one_peers),
		cmocka_unit_test(it_stands_alone),
		cmocka_unit_test(it_rests_for_its_owner),
		cmocka_unit_test(a_restart_changes_nothing),
	};

	random_seed();
	return cmocka_run_group_tests_name("lease_whole", tests, NULL, NULL);
}
