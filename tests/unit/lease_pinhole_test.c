/* Pinholes: leases to IPv6 endpoints, whose number is the inner endpoint itself. */
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

/* Address n of a peer's prefix. */
static struct ip_addr inner_v6(unsigned peer, unsigned n)
{
	return (struct ip_addr){
		{0x20, 1, 0xd, 0xb8, (uint8_t)(peer >> 8), (uint8_t)peer, [15] = (uint8_t)n}};
}

static struct lease_request pinhole(uint32_t peer, uint8_t protos, uint16_t port)
{
	struct lease_request req = make_request(peer, protos, port);

	req.inner_addr = inner_v6(peer, 2);
	return req;
}

/* Numbers of the pool are reserved for an hour: pinholes are not. */
static struct lease_table *table_of(uint16_t first, uint16_t last, uint32_t max)
{
	struct lease_conf conf = make_conf(128, first, last, max);
	struct lease_table *t;

	conf.reserve_ns = HOUR;
	conf.n_deny = 2;
	conf.deny[0] = (struct lease_ports){25, 25};
	conf.deny[1] = (struct lease_ports){50002, 50002};
	t = lease_table_create(&conf);
	assert_non_null(t);
	return t;
}

static const struct lease *must_grant(
	struct lease_table *t, const struct lease_request *req, uint64_t now)
{
	const struct lease *l = NULL;

	assert_int_equal(lease_grant(t, req, now, &l), 0);
	return l;
}

static void assert_refused(struct lease_table *t, const struct lease_request *req, int err)
{
	const struct lease *l = (const void *)t;

	assert_int_equal(lease_grant(t, req, 0, &l), err);
	assert_ptr_equal(l, t); /* untouched */
}

static void its_public_side_is_its_inner_side(void **state)
{
	struct lease_table *t = table_of(50000, 50001, 8);
	/* Below the range, above it, at both ends: there is no range for it. */
	const uint16_t ports[] = {1, 80, 49999, 50000, 65535};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct lease_request req = pinhole(7, LEASE_PROTO_BOTH, ports[i]);
		const struct lease *l = must_grant(t, &req, 0);

		assert_true(ip_equal(&l->public_addr, &req.inner_addr));
		assert_true(ip_equal(&l->inner_addr, &req.inner_addr));
		assert_int_equal(l->public_port, ports[i]);
		assert_int_equal(l->inner_port, ports[i]);
		assert_int_equal(l->state, LEASE_ACTIVE);
		assert_ptr_equal(
			lease_find_public(t, &req.inner_addr, LEASE_PROTO_UDP, ports[i]), l);
		assert_ptr_equal(
			lease_find_inner(t, 7, &req.inner_addr, LEASE_PROTO_TCP, ports[i]), l);
	}
	assert_int_equal(lease_count(t, 7), 5);
	lease_table_destroy(t);
}

static void what_can_not_be_asked_for(void **state)
{
	struct lease_table *t = table_of(50000, 50001, 8);
	const struct lease_request good = pinhole(7, LEASE_PROTO_TCP, 80);
	struct lease_request req;

	(void)state;
	req = good, req.public_addr = public_addr(1);
	assert_refused(t, &req, -EADDRNOTAVAIL);
	req = good, req.public_addr = inner_v6(7, 3);
	assert_refused(t, &req, -EADDRNOTAVAIL);
	req = good, req.public_port = 50000;
	assert_refused(t, &req, -ERANGE);
	req = good, req.inner_port = 25;
	assert_refused(t, &req, -EACCES);
	req = good, req.inner_port = 50002;
	assert_refused(t, &req, -EACCES);
	req = good, req.is_symmetric = true;
	assert_refused(t, &req, -EINVAL);
	req = good, req.inner_port = 0;
	assert_refused(t, &req, -EINVAL);
	req = good, req.peer_max_leases = 0;
	assert_refused(t, &req, -EDQUOT);
	assert_int_equal(lease_count(t, UINT32_MAX), 0);

	/* Its own side may be said; as a suggestion anything. */
	req = good, req.public_addr = good.inner_addr, req.public_port = 80;
	must_grant(t, &req, 0);
	req = pinhole(7, LEASE_PROTO_TCP, 81);
	req.public_addr = public_addr(1), req.public_port = 50000, req.is_suggestion = true;
	assert_int_equal(must_grant(t, &req, 0)->public_port, 81);
	lease_table_destroy(t);
}

static void a_request_again_renews(void **state)
{
	struct lease_table *t = table_of(50000, 50001, 8);
	struct lease_request req = pinhole(7, LEASE_PROTO_TCP, 80);
	const struct lease *first, *l;

	(void)state;
	req.until_ns = 3 * HOUR;
	first = must_grant(t, &req, 0);
	assert_int_equal(first->expires_ns, HOUR);
	assert_int_equal(lease_grant(t, &req, 30 * MINUTE, &l), 1);
	assert_ptr_equal(l, first);
	assert_int_equal(l->expires_ns, 90 * MINUTE);
	assert_int_equal(lease_renew(t, first->id, 24 * HOUR, HOUR, &l), 0);
	assert_int_equal(l->expires_ns, 3 * HOUR);
	/* The companion is at the same endpoint, and both is neither. */
	req.protos = LEASE_PROTO_BOTH;
	assert_int_equal(lease_grant(t, &req, HOUR, &l), -EEXIST);
	req.protos = LEASE_PROTO_UDP;
	l = must_grant(t, &req, HOUR);
	assert_int_not_equal(l->id, first->id);
	assert_int_equal(l->public_port, 80);
	lease_table_destroy(t);
}

static void it_is_free_as_soon_as_it_ends(void **state)
{
	struct lease_table *t = table_of(50000, 50001, 8);
	struct lease_request req = pinhole(7, LEASE_PROTO_TCP, 80);
	const struct lease *l;
	struct lease_held held;
	uint64_t cursor = 0, id;
	struct lease gone;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		gone = close_id(t, must_grant(t, &req, i)->id, i);
		assert_int_equal(gone.state, LEASE_FREE);
		assert_int_equal(gone.expires_ns, i);
		assert_null(lease_find_public(t, &req.inner_addr, LEASE_PROTO_TCP, 80));
	}
	assert_false(lease_held_next(t, &cursor, &held));
	assert_int_equal(lease_next_deadline_ns(t), TIME_NEVER);

	/* One protocol after the other. */
	must_grant(t, &req, 100);
	req.protos = LEASE_PROTO_UDP, req.ttl_ns = MINUTE;
	l = must_grant(t, &req, 100);
	id = l->id;
	assert_int_equal(lease_next_deadline_ns(t), 100 + MINUTE);
	assert_true(lease_expire_next(t, 100 + MINUTE, &gone));
	assert_int_equal(gone.id, id);
	assert_int_equal(gone.state, LEASE_FREE);
	assert_non_null(lease_find_public(t, &req.inner_addr, LEASE_PROTO_TCP, 80));
	assert_true(lease_expire_next(t, 100 + HOUR, &gone));
	assert_null(lease_find_public(t, &req.inner_addr, LEASE_PROTO_BOTH, 80));

	/* And the peer of this number is forgotten with its last one: another may have the
	 * address. */
	assert_int_equal(lease_peer_forget(t, 7, 2 * HOUR), 0);
	req = pinhole(8, LEASE_PROTO_TCP, 80), req.inner_addr = inner_v6(7, 2);
	must_grant(t, &req, 2 * HOUR);
	lease_table_destroy(t);
}

static void it_is_suspended_with_its_peer(void **state)
{
	struct lease_table *t = table_of(50000, 50001, 8);
	struct lease_request req = pinhole(7, LEASE_PROTO_TCP, 80);
	const struct lease *l = must_grant(t, &req, 0);

	(void)state;
	assert_int_equal(lease_peer_reach_set(t, 7, false, 0), 1);
	assert_int_equal(l->state, LEASE_SUSPENDED);
	req.inner_port = 81;
	assert_int_equal(must_grant(t, &req, 0)->state, LEASE_SUSPENDED);
	assert_int_equal(lease_peer_reach_set(t, 7, true, 0), 2);
	assert_int_equal(l->state, LEASE_ACTIVE);
	lease_table_destroy(t);
}

/* Two ports, both taken and then kept: no pinhole takes one away, and none says where the peer's
 * other leases are. */
static void the_pool_is_no_concern_of_it(void **state)
{
	struct lease_table *t = table_of(50000, 50001, 8);
	struct lease_request req = pinhole(7, LEASE_PROTO_TCP, 80), other;
	struct ip_addr none = {0}, addr;
	const struct lease *l;

	(void)state;
	for (unsigned i = 0; i < 4; i++, req.inner_port++)
		must_grant(t, &req, 0);
	addr = lease_peer_address(t, 7);
	assert_true(ip_equal(&addr, &none));
	close_id(t, grant(t, 7, LEASE_PROTO_TCP, 1, 0)->id, 0);
	addr = lease_peer_address(t, 7);
	assert_true(ip_equal(&addr, &none));
	assert_int_equal(lease_held_count(t), 1);
	l = grant(t, 7, LEASE_PROTO_TCP, 1, 0);
	addr = lease_peer_address(t, 7);
	assert_true(ip_equal(&addr, &l->public_addr));
	grant(t, 7, LEASE_PROTO_TCP, 2, 0);
	other = make_request(8, LEASE_PROTO_TCP, 1);
	assert_refused(t, &other, -ENOSPC);
	req.inner_port++;
	must_grant(t, &req, 0);
	/* Quota and table count it like any other. */
	req.inner_port++, req.peer_max_leases = 7;
	assert_refused(t, &req, -EDQUOT);
	req.peer_max_leases = 8;
	must_grant(t, &req, 0);
	req.inner_port++, req.peer_max_leases = 9;
	assert_refused(t, &req, -ENOSPC);
	lease_table_destroy(t);
}

static void kept_numbers_leave_it_room_or_a_clear_no(void **state)
{
	struct lease_table *t = table_of(50000, 50100, 2);
	struct lease_request req = pinhole(100, LEASE_PROTO_TCP, 80);

	(void)state;
	/* Each peer leaves a number behind, until the table knows no further one. */
	for (uint32_t peer = 0; peer < 4; peer++)
		close_id(t, grant(t, peer, LEASE_PROTO_TCP, 80, 0)->id, 0);
	assert_refused(t, &req, -ENOSPC);
	must_grant(t, &req, 2 * HOUR);
	lease_table_destroy(t);
}

static void a_restart_changes_nothing(void **state)
{
	struct lease_table *before = table_of(50000, 50001, 8), *t = table_of(50000, 50001, 8);
	struct lease_request req = pinhole(7, LEASE_PROTO_TCP, 80);
	struct lease_held held = {.state = LEASE_RESERVED, .peer_idx = 7, .until_ns = HOUR};
	const struct lease *l;
	struct lease copy;

	(void)state;
	req.n_sources = 1, req.sources[0] = (struct ip_prefix){inner_v6(9, 0), 48};
	copy = *must_grant(before, &req, 0);
	assert_int_equal(lease_restore(t, &copy), 0);
	l = lease_get(t, copy.id);
	assert_non_null(l);
	assert_memory_equal(l, &copy, sizeof(copy));
	assert_int_equal(lease_restore(t, &copy), -EEXIST);
	/* What it could not have been granted. */
	copy.id++, copy.inner_port = copy.public_port = 25;
	assert_int_equal(lease_restore(t, &copy), -EACCES);
	copy.public_port = 81, copy.inner_port = 82;
	assert_int_equal(lease_restore(t, &copy), -ERANGE);
	copy.inner_port = 81, copy.public_addr = public_addr(1);
	assert_int_equal(lease_restore(t, &copy), -EADDRNOTAVAIL);
	/* Another peer's, where this one is open. */
	copy = *l, copy.id = 99, copy.peer_idx = 8;
	assert_int_equal(lease_restore(t, &copy), -EADDRINUSE);
	/* None is ever kept. */
	held.public_addr = held.inner_addr = inner_v6(7, 4);
	held.public_port = held.inner_port = 50000;
	assert_int_equal(lease_held_restore(t, &held, 0), -EADDRNOTAVAIL);
	lease_table_destroy(before);
	lease_table_destroy(t);
}

/* Leases of both kinds come and go; at each moment a number has one owner, and what is counted is
 * there. */
static void both_kinds_live_together(void **state)
{
	struct lease_table *t = table_of(50000, 50040, 64);
	uint64_t ids[64] = {0}, cursor;
	const struct lease *l;
	struct lease gone;
	unsigned n;

	(void)state;
	for (uint64_t now = 0; now < 20000; now++) {
		unsigned slot = (unsigned)(random_u64() % 64), peer = slot % 8;
		uint16_t port = (uint16_t)(1 + slot / 16);
		struct lease_request req = slot / 8 % 2 == 0
						   ? pinhole(peer, LEASE_PROTO_TCP, port)
						   : make_request(peer, LEASE_PROTO_TCP, port);

		if (ids[slot] != 0) {
			gone = close_id(t, ids[slot], now * NS_IN_S);
			assert_int_equal(gone.inner_port, port);
			ids[slot] = 0;
		} else if (lease_grant(t, &req, now * NS_IN_S, &l) == 0) {
			ids[slot] = l->id;
			assert_ptr_equal(lease_find_public(t, &l->public_addr, LEASE_PROTO_TCP,
						 l->public_port),
				l);
			assert_int_equal(
				ip_is_v4(&l->public_addr), !lease_is_pinhole(&req.inner_addr));
		}
	}
	n = 0, cursor = 0;
	while ((l = lease_next(t, UINT32_MAX, &cursor)) != NULL)
		n++;
	for (unsigned i = 0; i < 64; i++)
		n -= ids[i] != 0;
	assert_int_equal(n, 0);
	lease_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_public_side_is_its_inner_side),
		cmocka_unit_test(what_can_not_be_asked_for),
		cmocka_unit_test(a_request_again_renews),
		cmocka_unit_test(it_is_free_as_soon_as_it_ends),
		cmocka_unit_test(it_is_suspended_with_its_peer),
		cmocka_unit_test(the_pool_is_no_concern_of_it),
		cmocka_unit_test(kept_numbers_leave_it_room_or_a_clear_no),
		cmocka_unit_test(a_restart_changes_nothing),
		cmocka_unit_test(both_kinds_live_together),
	};

	random_seed();
	return cmocka_run_group_tests_name("lease_pinhole", tests, NULL, NULL);
}
