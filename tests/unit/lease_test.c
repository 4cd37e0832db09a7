#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lease_requests.h"

#include <errno.h>
#include <string.h>

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
	before.granted_ns = 5 * MINUTE;
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
	assert_int_equal(lease_peer_forget(t, 1, 0), 0);
	a = *grant(t, 1, LEASE_PROTO_TCP, 80, 0);
	b = *grant(t, 1, LEASE_PROTO_TCP, 81, 0);
	close_id(t, a.id, 0);
	assert_int_equal(lease_peer_forget(t, 1, 0), -EBUSY);
	close_id(t, b.id, 0);
	assert_int_equal(lease_peer_forget(t, 1, 0), 0);
	assert_int_equal(lease_grant(t, &req, MINUTE, &l), -ENOSPC);
	req.public_port = a.public_port;
	assert_int_equal(lease_grant(t, &req, MINUTE, &l), -EADDRINUSE);
	assert_int_equal(lease_grant(t, &req, 2 * MINUTE, &l), 0);
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
		cmocka_unit_test(lifetimes_are_clamped_and_do_not_overflow),
		cmocka_unit_test(leases_expire_in_order_and_on_time),
		cmocka_unit_test(a_table_of_four),
		cmocka_unit_test(walks_may_close_what_they_find),
	};

	random_seed();
	return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
