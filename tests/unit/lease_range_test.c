/* Leases of several ports: one number, one lease, found by any of its ports. */
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

static struct lease_table *table_of(uint8_t len_bits, uint16_t first, uint16_t last, uint32_t max)
{
	struct lease_conf conf = make_conf(len_bits, first, last, max);
	struct lease_table *t;

	conf.reserve_ns = HOUR;
	t = lease_table_create(&conf);
	assert_non_null(t);
	return t;
}

/* To the same ports inside. */
static struct lease_request range(uint32_t peer, uint16_t n_ports, uint16_t first)
{
	struct lease_request req = make_request(peer, LEASE_PROTO_BOTH, 0);

	req.n_ports = n_ports;
	req.public_port = first;
	req.is_symmetric = true;
	return req;
}

/* To those from to on. */
static struct lease_request shifted(uint32_t peer, uint16_t n_ports, uint16_t to)
{
	struct lease_request req = make_request(peer, LEASE_PROTO_BOTH, to);

	req.n_ports = n_ports;
	return req;
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
	assert_ptr_equal(l, t);
}

static void each_of_its_ports_is_its_owners(void **state)
{
	struct lease_table *t = table_of(128, 50000, 50999, 128);
	struct lease_request req = range(1, 64, 0), other;
	const struct lease *l = must_grant(t, &req, 0);
	struct ip_addr addr = l->public_addr;
	uint16_t first = l->public_port;

	(void)state;
	assert_int_equal(l->n_ports, 64);
	assert_int_equal(first % 64, 0);
	assert_true(first >= 50000 && first + 63 <= 50999);
	assert_int_equal(l->inner_port, first);
	for (uint16_t i = 0; i < 64; i++) {
		assert_ptr_equal(lease_find_public(t, &addr, LEASE_PROTO_UDP, first + i), l);
		other = make_request(2, LEASE_PROTO_TCP, 80);
		other.public_port = (uint16_t)(first + i);
		assert_refused(t, &other, -EADDRINUSE);
	}
	assert_null(lease_find_public(t, &addr, LEASE_PROTO_UDP, first - 1));
	assert_null(lease_find_public(t, &addr, LEASE_PROTO_UDP, first + 64));
	assert_int_equal(lease_count(t, 1), 1);
	assert_int_equal(lease_port_count(t, 1), 64);
	assert_ptr_equal(lease_find_inner(t, 1, &l->inner_addr, LEASE_PROTO_TCP, first + 9), l);
	/* Where it leads, no other lease of the peer leads. */
	other = make_request(1, LEASE_PROTO_TCP, (uint16_t)(first + 3));
	assert_refused(t, &other, -EEXIST);
	other.inner_port = (uint16_t)(first + 64);
	must_grant(t, &other, 0);
	lease_table_destroy(t);
}

static void what_can_not_be_a_range(void **state)
{
	struct lease_table *t = table_of(128, 50000, 50099, 2048);
	struct lease_request req;

	(void)state;
	req = range(1, 3, 0);
	assert_refused(t, &req, -EINVAL);
	req = range(1, 2 * LEASE_RANGE_MAX, 0), req.peer_max_leases = UINT32_MAX;
	assert_refused(t, &req, -EINVAL);
	req = range(1, 8, 50001);
	assert_refused(t, &req, -EINVAL);
	req = shifted(1, 8, 65529);
	assert_refused(t, &req, -EINVAL);
	req = shifted(1, 8, 0);
	assert_refused(t, &req, -EINVAL);
	req = range(1, 8, 0), req.inner_addr.bytes[0] = 0xfd;
	assert_refused(t, &req, -EINVAL);
	/* Beyond the ports that leases have; larger than they are. */
	req = range(1, 64, 50048);
	assert_refused(t, &req, -ERANGE);
	req = range(1, 128, 0);
	assert_refused(t, &req, -ENOSPC);
	assert_int_equal(lease_count(t, UINT32_MAX), 0);
	lease_table_destroy(t);
}

static void a_request_again_renews(void **state)
{
	struct lease_table *t = table_of(128, 50000, 50999, 128);
	struct lease_request req = range(1, 16, 50016);
	const struct lease *first = must_grant(t, &req, 0), *l;

	(void)state;
	req.public_port = 0;
	assert_int_equal(lease_grant(t, &req, MINUTE, &l), 1);
	assert_ptr_equal(l, first);
	req.public_port = first->public_port;
	assert_int_equal(lease_grant(t, &req, MINUTE, &l), 1);
	/* Another size, or another place, is another range. */
	req = range(1, 32, 50112);
	assert_ptr_not_equal(must_grant(t, &req, 0), first);
	req = range(1, 16, 50512);
	l = must_grant(t, &req, 0);
	assert_ptr_not_equal(l, first);
	assert_true(ip_equal(&l->public_addr, &first->public_addr));
	lease_table_destroy(t);
}

static void inside_it_begins_anywhere(void **state)
{
	struct lease_table *t = table_of(128, 50000, 50999, 128);
	struct lease_request req = shifted(1, 16, 7001), other;
	const struct lease *l = must_grant(t, &req, 0), *again;

	(void)state;
	assert_int_equal(l->public_port % 16, 0);
	assert_int_equal(l->inner_port, 7001);
	assert_int_equal(lease_public_port_of(l, 7016), l->public_port + 15);
	assert_null(lease_find_inner(t, 1, &l->inner_addr, LEASE_PROTO_UDP, 7000));
	assert_ptr_equal(lease_find_inner(t, 1, &l->inner_addr, LEASE_PROTO_UDP, 7016), l);
	assert_null(lease_find_inner(t, 1, &l->inner_addr, LEASE_PROTO_UDP, 7017));
	/* The same again, wherever it is suggested. */
	req.public_port = 50512;
	assert_int_equal(lease_grant(t, &req, MINUTE, &again), 1);
	assert_ptr_equal(again, l);
	/* What crosses it, on either side. */
	other = shifted(1, 2, 7000);
	assert_refused(t, &other, -EEXIST);
	other = shifted(1, 32, 7016);
	assert_refused(t, &other, -EEXIST);
	other = make_request(1, LEASE_PROTO_TCP, 7016);
	assert_refused(t, &other, -EEXIST);
	other = make_request(1, LEASE_PROTO_TCP, 7017);
	must_grant(t, &other, 0);
	other = shifted(1, 4, 7014);
	assert_refused(t, &other, -EEXIST);
	other = shifted(1, 2, 7017);
	assert_refused(t, &other, -EEXIST);
	/* Another peer's ports are others. */
	other = shifted(2, 16, 7001);
	must_grant(t, &other, 0);
	lease_table_destroy(t);
}

static void quotas_count_its_ports(void **state)
{
	struct lease_table *t = table_of(128, 50000, 50999, 40);
	struct lease_request req = range(1, 16, 0), one = make_request(1, LEASE_PROTO_BOTH, 80);

	(void)state;
	req.peer_max_leases = 15;
	assert_refused(t, &req, -EDQUOT);
	req.peer_max_leases = one.peer_max_leases = 16;
	must_grant(t, &req, 0);
	assert_refused(t, &one, -EDQUOT);
	one.peer_max_leases = 17;
	must_grant(t, &one, 0);
	/* The table too: 17 of 40 are taken. */
	req = range(2, 32, 0);
	assert_refused(t, &req, -ENOSPC);
	req = range(2, 16, 0);
	must_grant(t, &req, 0);
	assert_int_equal(lease_port_count(t, UINT32_MAX), 33);
	assert_int_equal(lease_count(t, UINT32_MAX), 3);
	lease_table_destroy(t);
}

static void a_denied_port_is_in_none(void **state)
{
	struct lease_conf conf = make_conf(128, 50000, 50999, 1000);
	struct lease_request req;
	struct lease_table *t;

	(void)state;
	conf.deny[0] = (struct lease_ports){50260, 50261};
	conf.n_deny = 1;
	t = lease_table_create(&conf);
	assert_non_null(t);
	req = range(1, 256, 50176);
	assert_refused(t, &req, -EACCES);
	for (unsigned i = 0; i < 3; i++) {
		/* 50432, 50688: the third there is has the denied ones. */
		req = range(i, 256, 0);
		if (i < 2)
			assert_true(must_grant(t, &req, 0)->public_port >= 50432);
		else
			assert_refused(t, &req, -ENOSPC);
	}
	lease_table_destroy(t);
}

static void it_is_kept_and_comes_back_whole(void **state)
{
	struct lease_table *t = table_of(128, 50000, 50999, 128);
	struct lease_request req = range(1, 16, 0), other;
	const struct lease *l = must_grant(t, &req, 0);
	uint16_t first = l->public_port;
	struct lease_held held;
	uint64_t cursor = 0;

	(void)state;
	close_id(t, l->id, 0);
	assert_true(lease_held_next(t, &cursor, &held));
	assert_int_equal(held.n_ports, 16);
	other = range(2, 8, (uint16_t)(first + 8));
	assert_refused(t, &other, -EADDRINUSE);
	other = make_request(2, LEASE_PROTO_TCP, 1), other.public_port = (uint16_t)(first + 15);
	assert_refused(t, &other, -EADDRINUSE);
	l = must_grant(t, &req, MINUTE);
	assert_int_equal(l->public_port, first);
	assert_int_equal(l->n_ports, 16);
	close_id(t, l->id, MINUTE);
	/* After its rest it is everybody's. */
	other = range(2, 8, (uint16_t)(first + 8));
	must_grant(t, &other, 2 * HOUR);
	lease_table_destroy(t);
}

static void what_is_kept_for_its_owner_may_grow(void **state)
{
	struct lease_table *t = table_of(120, 50000, 50999, 128);
	struct lease_request req = range(1, 16, 50176);
	struct lease_request one = make_request(1, LEASE_PROTO_TCP, 50200);
	const struct lease *l = must_grant(t, &req, 0);
	struct ip_addr addr = l->public_addr;
	struct lease_held held;

	(void)state;
	one.public_port = 50200;
	close_id(t, must_grant(t, &one, 0)->id, 0);
	close_id(t, l->id, 0);
	req = range(1, 16, 50016), req.public_addr = addr;
	close_id(t, must_grant(t, &req, 0)->id, 0);
	/* On its address, though none is asked for; and what it had there is not counted twice. */
	req = range(1, 32, 50176);
	req.peer_max_leases = 32;
	l = must_grant(t, &req, 0);
	assert_true(ip_equal(&l->public_addr, &addr));
	assert_int_equal(lease_held_count(t), 1);
	assert_int_equal(lease_held_port_count(t), 16);
	close_id(t, l->id, 0);
	assert_int_equal(lease_held_port_count(t), 48);
	assert_true(lease_held_get(t, &addr, 50200, &held));
	assert_int_equal(held.n_ports, 32);
	/* Not smaller, and not elsewhere instead. */
	req = range(1, 16, 50176);
	assert_refused(t, &req, -EBUSY);
	assert_refused(t, &one, -EBUSY);
	/* Not over what is another's. */
	req = range(2, 16, 50208), req.public_addr = addr;
	close_id(t, must_grant(t, &req, 0)->id, 0);
	req = range(1, 64, 50176), req.public_addr = addr;
	assert_refused(t, &req, -EADDRINUSE);
	assert_int_equal(lease_held_count(t), 3);
	lease_table_destroy(t);
}

/* An address has more ports in ranges that are kept than the table has numbers. */
static void kept_ranges_may_fill_an_address(void **state)
{
	struct lease_table *t = table_of(128, 20480, 59391, LEASE_RANGE_MAX);
	struct lease_request req = make_request(2, LEASE_PROTO_BOTH, 80);
	const struct lease *l;
	uint16_t last = 0;

	(void)state;
	for (unsigned first = 20480; first < 58368; first += LEASE_RANGE_MAX) {
		struct lease_request r = range(1, LEASE_RANGE_MAX, (uint16_t)first);

		r.peer_max_leases = UINT16_MAX;
		close_id(t, must_grant(t, &r, 0)->id, 0);
	}
	/* What is left is found, to the last port of it. */
	for (unsigned i = 0; i < LEASE_RANGE_MAX; i++) {
		req.inner_port++;
		req.peer_max_leases = LEASE_RANGE_MAX;
		l = must_grant(t, &req, 0);
		assert_true(l->public_port >= 58368 && l->public_port != last);
		last = l->public_port;
	}
	close_id(t, l->id, 0);
	req = make_request(3, LEASE_PROTO_BOTH, 80);
	assert_refused(t, &req, -ENOSPC);
	lease_table_destroy(t);
}

static void a_restart_changes_nothing(void **state)
{
	struct lease_table *before = table_of(128, 50000, 50999, 128);
	struct lease_table *t = table_of(128, 50000, 50999, 128);
	struct lease_request req = range(1, 16, 50016);
	struct lease copy = *must_grant(before, &req, 0);
	struct lease_held held = {.state = LEASE_RESERVED, .peer_idx = 2, .until_ns = HOUR};

	(void)state;
	assert_int_equal(lease_restore(t, &copy), 0);
	assert_memory_equal(lease_get(t, copy.id), &copy, sizeof(copy));
	copy.id++, copy.peer_idx = 2, copy.public_port = copy.inner_port = 50024, copy.n_ports = 8;
	assert_int_equal(lease_restore(t, &copy), -EADDRINUSE);
	copy.public_port = copy.inner_port = 50020, copy.n_ports = 8;
	assert_int_equal(lease_restore(t, &copy), -EINVAL);
	held.public_addr = copy.public_addr, held.inner_addr = inner_addr(2);
	held.public_port = held.inner_port = 50024, held.n_ports = 8;
	assert_int_equal(lease_held_restore(t, &held, 0), -EADDRINUSE);
	held.public_port = held.inner_port = 50032;
	assert_int_equal(lease_held_restore(t, &held, 0), 0);
	req = range(2, 8, 0);
	assert_int_equal(must_grant(t, &req, 0)->public_port, 50032);
	lease_table_destroy(before);
	lease_table_destroy(t);
}

#define N_PORTS 256
#define FIRST	51200
#define MAX	300

static struct lease_request random_request(void)
{
	uint16_t size = (uint16_t)(1u << random_below(6));
	struct lease_request req = make_request(random_below(8), (uint8_t)(1 + random_below(3)),
		(uint16_t)(FIRST + random_below(N_PORTS)));

	req.n_ports = size;
	req.peer_max_leases = 100;
	req.is_symmetric = random_below(2);
	if (random_below(3) == 0)
		req.public_port = (uint16_t)(FIRST + random_below(N_PORTS) / size * size);
	return req;
}

/* A table that is told all that this one knows. */
static struct lease_table *restart(struct lease_table *t, uint64_t now)
{
	struct lease_table *fresh = table_of(128, FIRST, FIRST + N_PORTS - 1, MAX);
	struct lease_held held;
	const struct lease *l;
	uint64_t cursor = 0, last = 0;

	/* What is due goes now, here as there. */
	assert_int_equal(lease_peer_forget(t, 1000, now), 0);
	for (; (l = lease_next(t, UINT32_MAX, &cursor)); last = l->id > last ? l->id : last)
		assert_int_equal(lease_restore(fresh, l), 0);
	cursor = 0;
	while (lease_held_next(t, &cursor, &held))
		assert_int_equal(lease_held_restore(fresh, &held, now), 0);
	assert_int_equal(lease_held_count(fresh), lease_held_count(t));
	assert_int_equal(lease_held_port_count(fresh), lease_held_port_count(t));
	lease_ids_skip(fresh, last);
	lease_table_destroy(t);
	return fresh;
}

/* Each (address, protocol, port) outside and each of a peer inside is at most one lease's, both
 * protocols of a number are one peer's, what is kept is nobody else's, and a look-up says the same.
 */
static void check_owners(const struct lease_table *t)
{
	static uint64_t outside[2][N_PORTS], inside[8][2][2 * N_PORTS];
	uint32_t peer_of[N_PORTS], n_ports = 0;
	struct ip_addr addr = public_addr(0);
	const struct lease *l;
	struct lease_held held;
	uint64_t cursor = 0;

	memset(outside, 0, sizeof(outside));
	memset(inside, 0, sizeof(inside));
	memset(peer_of, 0xff, sizeof(peer_of));
	for (; (l = lease_next(t, UINT32_MAX, &cursor)); n_ports += l->n_ports)
		for (unsigned i = 0; i < l->n_ports; i++) {
			unsigned at = l->public_port + i - FIRST, to = l->inner_port + i - FIRST;

			assert_true(peer_of[at] == UINT32_MAX || peer_of[at] == l->peer_idx);
			peer_of[at] = l->peer_idx;
			for (unsigned p = 0; p < 2; p++) {
				if (!(l->protos & 1u << p))
					continue;
				assert_int_equal(outside[p][at], 0);
				assert_int_equal(inside[l->peer_idx][p][to], 0);
				outside[p][at] = inside[l->peer_idx][p][to] = l->id;
			}
		}
	cursor = 0;
	while (lease_held_next(t, &cursor, &held))
		for (unsigned i = 0; i < held.n_ports; i++)
			assert_int_equal(peer_of[held.public_port + i - FIRST], UINT32_MAX);
	for (unsigned i = 0; i < 2 * N_PORTS; i++) {
		unsigned p = i % 2, at = i / 2;

		l = lease_find_public(t, &addr, (uint8_t)(1u << p), (uint16_t)(FIRST + at));
		assert_int_equal(l != NULL ? l->id : 0, outside[p][at]);
	}
	assert_int_equal(lease_port_count(t, UINT32_MAX), n_ports);
	assert_true(n_ports <= MAX);
}

static void no_port_has_two_owners(void **state)
{
	struct lease_table *t = table_of(128, FIRST, FIRST + N_PORTS - 1, MAX);
	uint64_t ids[MAX], now = 0;
	unsigned n = 0, n_granted = 0, n_ranges = 0;

	(void)state;
	for (unsigned round = 0; round < 20000; round++, now += MINUTE / 2) {
		struct lease_request req = random_request();
		const struct lease *l;

		req.ttl_ns = TIME_NEVER;
		if (n > 0 && random_below(3) == 0) {
			unsigned i = random_below(n);

			close_id(t, ids[i], now);
			ids[i] = ids[--n];
		} else if (lease_grant(t, &req, now, &l) == 0) {
			ids[n++] = l->id;
			n_granted++;
			n_ranges += l->n_ports > 1;
			assert_true(req.public_port == 0 || req.public_port == l->public_port ||
				    l->protos != LEASE_PROTO_BOTH);
		}
		if (random_below(500) == 0)
			t = restart(t, now);
		if (round % 16 == 0)
			check_owners(t);
	}
	assert_true(n_granted > 1000 && n_ranges > 300);
	lease_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_of_its_ports_is_its_owners),
		cmocka_unit_test(what_can_not_be_a_range),
		cmocka_unit_test(a_request_again_renews),
		cmocka_unit_test(inside_it_begins_anywhere),
		cmocka_unit_test(quotas_count_its_ports),
		cmocka_unit_test(a_denied_port_is_in_none),
		cmocka_unit_test(it_is_kept_and_comes_back_whole),
		cmocka_unit_test(what_is_kept_for_its_owner_may_grow),
		cmocka_unit_test(kept_ranges_may_fill_an_address),
		cmocka_unit_test(a_restart_changes_nothing),
		cmocka_unit_test(no_port_has_two_owners),
	};

	random_seed();
	return cmocka_run_group_tests_name("lease_range", tests, NULL, NULL);
}
