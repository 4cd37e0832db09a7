/* The life of a lease and of its number: suspended, reserved, in quarantine, free; and how both
 * come back after a restart. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lease/lease.h"

#include <errno.h>
#include <string.h>

#include "lease_requests.h"

#define HOUR	(60 * MINUTE)
#define LAST_ID 1000

/* One address; numbers are reserved for an hour. */
static struct lease_conf life_conf(uint16_t first, uint16_t last)
{
	struct lease_conf conf = make_conf(128, first, last, 8);

	conf.reserve_ns = HOUR;
	return conf;
}

static struct lease_table *life_table(uint16_t first, uint16_t last)
{
	struct lease_conf conf = life_conf(first, last);
	struct lease_table *t = lease_table_create(&conf);

	assert_non_null(t);
	return t;
}

static struct lease_held only_held(const struct lease_table *t)
{
	struct lease_held held, none;
	uint64_t cursor = 0;

	assert_int_equal(lease_held_count(t), 1);
	assert_true(lease_held_next(t, &cursor, &held));
	assert_false(lease_held_next(t, &cursor, &none));
	assert_false(lease_held_next(t, &cursor, &none));
	return held;
}

static void a_number_is_reserved_then_rests_then_is_free(void **state)
{
	struct lease_table *t = life_table(50000, 50000);
	struct lease_request other = make_request(2, LEASE_PROTO_UDP, 80);
	const struct lease *l = grant(t, 1, LEASE_PROTO_TCP, 80, 0);
	struct lease out = close_id(t, l->id, MINUTE);
	struct lease_held held = only_held(t);

	(void)state;
	assert_int_equal(out.state, LEASE_RESERVED);
	assert_int_equal(out.expires_ns, MINUTE + HOUR + 2 * MINUTE);
	assert_int_equal(held.state, LEASE_RESERVED);
	assert_int_equal(held.peer_idx, 1);
	assert_int_equal(held.public_port, 50000);
	assert_int_equal(held.inner_port, 80);
	assert_int_equal(held.until_ns, MINUTE + HOUR);
	assert_int_equal(lease_next_deadline_ns(t), MINUTE + HOUR);
	/* Neither the number nor its companion protocol is another's, in both states. */
	assert_int_equal(lease_grant(t, &other, HOUR, &l), -ENOSPC);
	assert_false(lease_expire_next(t, MINUTE + HOUR, &out));
	assert_int_equal(only_held(t).state, LEASE_QUARANTINE);
	assert_int_equal(only_held(t).until_ns, HOUR + 3 * MINUTE);
	assert_int_equal(lease_grant(t, &other, HOUR + 3 * MINUTE - 1, &l), -ENOSPC);
	assert_int_equal(lease_grant(t, &other, HOUR + 3 * MINUTE, &l), 0);
	assert_int_equal(lease_held_count(t), 0);
	lease_table_destroy(t);
}

static void an_owner_that_comes_back_has_its_port(void **state)
{
	struct lease_table *t = life_table(50000, 59999);
	struct lease_request req = make_request(1, LEASE_PROTO_BOTH, 80);
	const struct lease *l = grant(t, 1, LEASE_PROTO_BOTH, 80, 0);
	uint16_t port = l->public_port;
	struct lease out;

	(void)state;
	for (uint64_t now = HOUR; now < 100 * HOUR; now += 2 * HOUR - 1) {
		assert_true(lease_expire_next(t, now, &out));
		assert_int_equal(out.public_port, port);
		/* The last moment of the reservation, and of the quarantine after it. */
		assert_int_equal(lease_grant(t, &req, now + HOUR - 1, &l), 0);
		assert_int_equal(l->public_port, port);
	}
	assert_true(lease_expire_next(t, 200 * HOUR, &out));
	assert_int_equal(lease_grant(t, &req, 201 * HOUR + 2 * MINUTE - 1, &l), 0);
	assert_int_equal(l->public_port, port);
	lease_table_destroy(t);
}

static void what_was_kept_for_a_deleted_peer_rests_once(void **state)
{
	struct lease_table *t = life_table(50000, 50000);
	struct lease_request again = make_request(1, LEASE_PROTO_TCP, 80);
	const struct lease *l = grant(t, 1, LEASE_PROTO_TCP, 80, 0);

	(void)state;
	close_id(t, l->id, 0);
	assert_int_equal(lease_peer_forget(t, 1, MINUTE), 0);
	assert_int_equal(only_held(t).state, LEASE_QUARANTINE);
	assert_int_equal(only_held(t).peer_idx, UINT32_MAX);
	assert_int_equal(only_held(t).until_ns, 3 * MINUTE);
	assert_int_equal(lease_grant(t, &again, 3 * MINUTE - 1, &l), -ENOSPC);
	assert_int_equal(lease_grant(t, &again, 3 * MINUTE, &l), 0);
	lease_table_destroy(t);
}

static void leases_of_a_silent_peer_are_suspended(void **state)
{
	struct lease_table *t = life_table(50000, 59999);
	const struct lease *a = grant(t, 1, LEASE_PROTO_TCP, 80, 0), *b, *l;
	const struct lease *other = grant(t, 2, LEASE_PROTO_TCP, 80, 0);
	uint64_t cursor = 0;
	struct lease out;

	(void)state;
	assert_int_equal(lease_peer_reach_set(t, 3, false, 0), 0);
	assert_int_equal(lease_peer_reach_set(t, 1, true, 0), 0);
	assert_int_equal(lease_state_since_ns(t, a), 0);
	assert_int_equal(lease_peer_reach_set(t, 1, false, 5), 1);
	assert_int_equal(lease_peer_reach_set(t, 1, false, 6), 0);
	assert_int_equal(a->state, LEASE_SUSPENDED);
	assert_int_equal(lease_state_since_ns(t, a), 5);
	assert_int_equal(lease_state_since_ns(t, other), 0);
	assert_int_equal(other->state, LEASE_ACTIVE);
	/* It is live in every other way. */
	assert_ptr_equal(lease_find_public(t, &a->public_addr, LEASE_PROTO_TCP, a->public_port), a);
	assert_ptr_equal(lease_get(t, a->id), a);
	assert_int_equal(lease_renew(t, a->id, 0, 10, &l), 0);
	assert_int_equal(l->state, LEASE_SUSPENDED);
	b = grant(t, 1, LEASE_PROTO_UDP, 81, 10);
	assert_int_equal(b->state, LEASE_SUSPENDED);
	for (unsigned n = 0; n < 3; n++)
		assert_non_null(lease_next(t, UINT32_MAX, &cursor));
	assert_int_equal(lease_state_since_ns(t, b), 10);
	assert_int_equal(lease_peer_reach_set(t, 1, true, 12), 2);
	assert_int_equal(lease_state_since_ns(t, b), 12);
	assert_int_equal(a->state, LEASE_ACTIVE);
	assert_int_equal(b->state, LEASE_ACTIVE);
	assert_int_equal(lease_peer_reach_set(t, 1, false, 0), 2);
	assert_true(lease_expire_next(t, HOUR, &out));
	lease_table_destroy(t);
}

static void nothing_renews_a_lease_past_its_last_moment(void **state)
{
	struct lease_conf conf = life_conf(50000, 59999);
	struct lease_request req = make_request(1, LEASE_PROTO_TCP, 80);
	struct lease_table *t;
	const struct lease *l;
	struct lease out;

	(void)state;
	conf.max_age_ns = 10 * HOUR;
	t = lease_table_create(&conf);
	assert_non_null(t);
	req.until_ns = 90 * MINUTE;
	assert_int_equal(lease_grant(t, &req, 90 * MINUTE, &l), -ETIME);
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	assert_int_equal(l->expires_ns, HOUR);
	assert_int_equal(lease_renew(t, l->id, 0, 40 * MINUTE, &l), 0);
	assert_int_equal(l->expires_ns, 90 * MINUTE);
	/* As opened: what another request says does not count. */
	req.until_ns = 0;
	assert_int_equal(lease_grant(t, &req, 50 * MINUTE, &l), 1);
	assert_int_equal(l->expires_ns, 90 * MINUTE);
	assert_true(lease_expire_next(t, 90 * MINUTE, &out));

	/* The maximum age, from opening; but not for what has no end. */
	l = grant(t, 2, LEASE_PROTO_TCP, 80, HOUR);
	assert_int_equal(l->until_ns, 11 * HOUR);
	assert_int_equal(lease_renew(t, l->id, 24 * HOUR, 2 * HOUR, &l), 0);
	assert_int_equal(l->expires_ns, 11 * HOUR);
	req = make_request(3, LEASE_PROTO_TCP, 80);
	req.ttl_ns = TIME_NEVER;
	assert_int_equal(lease_grant(t, &req, HOUR, &l), 0);
	assert_int_equal(l->until_ns, TIME_NEVER);
	lease_table_destroy(t);
}

static void denied_ports_are_nobodys(void **state)
{
	struct lease_conf conf = life_conf(50000, 50009);
	struct lease_request req = make_request(1, LEASE_PROTO_TCP, 80);
	bool is_seen[10] = {false};
	struct lease_table *t;
	const struct lease *l;

	(void)state;
	conf.n_deny = 3;
	conf.deny[0] = (struct lease_ports){50000, 50001};
	conf.deny[1] = (struct lease_ports){50005, 50005};
	conf.deny[2] = (struct lease_ports){50009, 60000};
	t = lease_table_create(&conf);
	assert_non_null(t);
	req.public_port = 50005;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EACCES);
	req.public_port = 50010;
	assert_int_equal(lease_grant(t, &req, 0, &l), -ERANGE);
	/* Six are left, and each is found. */
	for (unsigned i = 0; i < 6; i++) {
		l = grant(t, 1, LEASE_PROTO_TCP, (uint16_t)(80 + i), 0);
		assert_false(is_seen[l->public_port - 50000]);
		is_seen[l->public_port - 50000] = true;
	}
	assert_false(is_seen[0] || is_seen[1] || is_seen[5] || is_seen[9]);
	req = make_request(2, LEASE_PROTO_TCP, 80);
	assert_int_equal(lease_grant(t, &req, 0, &l), -ENOSPC);
	lease_table_destroy(t);
}

static void a_suggestion_is_followed_where_it_can_be(void **state)
{
	struct lease_conf conf = make_conf(127, 50000, 50009, 8);
	struct lease_request req = make_request(1, LEASE_PROTO_TCP, 80);
	struct lease_table *t = lease_table_create(&conf);
	const struct lease *l;

	(void)state;
	assert_non_null(t);
	req.is_suggestion = true;
	req.public_addr = public_addr(1);
	req.public_port = 50003;
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	assert_int_equal(l->public_port, 50003);
	assert_true(ip_equal(&l->public_addr, &req.public_addr));
	/* Taken: another port there. Out of range, too. */
	req.peer_idx = 2;
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	assert_int_not_equal(l->public_port, 50003);
	assert_true(ip_equal(&l->public_addr, &req.public_addr));
	req.inner_port = 81;
	req.public_port = 80;
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	/* No address of ours; not that of its other leases. */
	req.inner_port = 82;
	req.public_port = 50007;
	req.public_addr = public_addr(9);
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	assert_true(ip_equal(&l->public_addr, &(struct ip_addr[]){public_addr(1)}[0]));
	/* Quota and table are no matter of suggestions. */
	req.inner_port = 83;
	req.peer_max_leases = 3;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EDQUOT);
	lease_table_destroy(t);
}

/* ---- restart ---- */

/* What a store would keep of t, put into a new table. */
static struct lease_table *restart(
	struct lease_table *t, const struct lease_conf *conf, uint64_t now_ns)
{
	struct lease_table *fresh = lease_table_create(conf);
	const struct lease *l;
	struct lease_held held;
	uint64_t cursor = 0;

	assert_non_null(fresh);
	while ((l = lease_next(t, UINT32_MAX, &cursor)))
		assert_int_equal(lease_restore(fresh, l), 0);
	cursor = 0;
	while (lease_held_next(t, &cursor, &held))
		assert_int_equal(lease_held_restore(fresh, &held, now_ns), 0);
	lease_ids_skip(fresh, LAST_ID);
	lease_table_destroy(t);
	return fresh;
}

static void a_restart_changes_nothing(void **state)
{
	struct lease_conf conf = life_conf(50000, 50002);
	struct lease_table *t = lease_table_create(&conf);
	struct lease_request again = make_request(2, LEASE_PROTO_UDP, 80);
	struct lease_request other = make_request(3, LEASE_PROTO_UDP, 80);
	struct lease a, b, gone, out;
	const struct lease *l;

	(void)state;
	assert_non_null(t);
	a = *grant(t, 1, LEASE_PROTO_TCP, 80, 0);
	b = *grant(t, 1, LEASE_PROTO_UDP, 80, MINUTE); /* the companion */
	gone = *grant(t, 2, LEASE_PROTO_BOTH, 80, 0);
	close_id(t, gone.id, 5 * MINUTE);
	t = restart(t, &conf, 10 * MINUTE);
	assert_memory_equal(lease_get(t, a.id), &a, sizeof(a));
	assert_memory_equal(lease_get(t, b.id), &b, sizeof(b));
	assert_ptr_equal(lease_find_public(t, &b.public_addr, LEASE_PROTO_UDP, b.public_port),
		lease_get(t, b.id));
	assert_int_equal(lease_count(t, 1), 2);
	assert_int_equal(only_held(t).until_ns, 5 * MINUTE + HOUR);
	/* Of three numbers one is free; the other is its owner's. */
	assert_int_equal(lease_grant(t, &other, 10 * MINUTE, &l), 0);
	assert_int_equal(l->id, LAST_ID + 1);
	other.inner_port = 81;
	assert_int_equal(lease_grant(t, &other, 10 * MINUTE, &l), -ENOSPC);
	assert_int_equal(lease_grant(t, &again, 10 * MINUTE, &l), 0);
	assert_int_equal(l->public_port, gone.public_port);
	assert_true(lease_expire_next(t, HOUR, &out));
	assert_int_equal(out.id, a.id);
	lease_table_destroy(t);
}

static void restored_leases_must_fit(void **state)
{
	struct lease_conf conf = life_conf(50000, 50009);
	struct lease_table *t = life_table(50000, 50009);
	struct lease a, l;

	(void)state;
	conf.deny[0] = (struct lease_ports){50004, 50004};
	conf.n_deny = 1;
	a = *grant(t, 1, LEASE_PROTO_TCP, 80, 0);
	lease_table_destroy(t);
	conf.max_leases = 2;
	conf.pool[0].len_bits = 127;
	t = lease_table_create(&conf);
	assert_non_null(t);
	a.public_port = 50001;
	assert_int_equal(lease_restore(t, &a), 0);
	l = a;
	assert_int_equal(lease_restore(t, &l), -EEXIST);
	l.id = 0;
	assert_int_equal(lease_restore(t, &l), -EINVAL);
	l.id = 7;
	assert_int_equal(lease_restore(t, &l), -EEXIST);
	l.public_port = 50002; /* the same inner endpoint elsewhere */
	assert_int_equal(lease_restore(t, &l), -EEXIST);
	l.inner_port = 81;
	l.public_port = 50001; /* and another one here */
	assert_int_equal(lease_restore(t, &l), -EADDRINUSE);
	l.public_port = 50004;
	assert_int_equal(lease_restore(t, &l), -EACCES);
	l.public_port = 50010;
	assert_int_equal(lease_restore(t, &l), -ERANGE);
	l.public_port = 50002;
	l.public_addr = public_addr(1);
	assert_int_equal(lease_restore(t, &l), -EXDEV);
	l.public_addr = public_addr(2);
	assert_int_equal(lease_restore(t, &l), -EADDRNOTAVAIL);
	l.public_addr = public_addr(0);
	assert_int_equal(lease_restore(t, &l), 0);
	l.id = 8;
	l.inner_port = 82;
	l.public_port = 50003;
	assert_int_equal(lease_restore(t, &l), -ENOSPC);
	lease_ids_skip(t, 99);
	close_id(t, 7, 0);
	assert_int_equal(grant(t, 2, LEASE_PROTO_TCP, 80, 0)->id, 100);
	lease_table_destroy(t);
}

static void kept_numbers_come_back_in_order_and_within_todays_rules(void **state)
{
	struct lease_conf conf = life_conf(50000, 50009);
	struct lease_held held = {
		.state = LEASE_QUARANTINE,
		.peer_idx = UINT32_MAX,
		.public_addr = public_addr(0),
		.inner_addr = inner_addr(1),
		.inner_port = 80,
	};
	const uint64_t now = 100 * HOUR;
	struct lease_table *t;
	struct lease out;

	(void)state;
	conf.reserve_ns = 10 * MINUTE;
	t = lease_table_create(&conf);
	assert_non_null(t);
	/* Over already: free. Far too long: as long as today's rules say. */
	held.public_port = 50000;
	held.until_ns = now;
	assert_int_equal(lease_held_restore(t, &held, now), 0);
	assert_int_equal(lease_held_count(t), 0);
	held.until_ns = now + HOUR;
	assert_int_equal(lease_held_restore(t, &held, now), 0);
	assert_int_equal(only_held(t).until_ns, now + 2 * MINUTE);
	assert_int_equal(lease_held_restore(t, &held, now), -EADDRINUSE);
	/* A reservation that ended while nobody looked begins its quarantine now. */
	held.state = LEASE_RESERVED;
	held.peer_idx = 1;
	held.public_port = 50001;
	held.until_ns = now - HOUR;
	assert_int_equal(lease_held_restore(t, &held, now), 0);
	held.public_port = 50002;
	held.until_ns = now + 24 * HOUR;
	assert_int_equal(lease_held_restore(t, &held, now), 0);
	assert_int_equal(lease_next_deadline_ns(t), now);
	assert_false(lease_expire_next(t, now, &out));
	assert_int_equal(lease_next_deadline_ns(t), now + 2 * MINUTE);
	assert_false(lease_expire_next(t, now + 2 * MINUTE, &out));
	assert_int_equal(only_held(t).public_port, 50002);
	assert_int_equal(only_held(t).until_ns, now + 10 * MINUTE);
	held.public_port = 50010;
	assert_int_equal(lease_held_restore(t, &held, now), -ERANGE);
	lease_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_is_reserved_then_rests_then_is_free),
		cmocka_unit_test(an_owner_that_comes_back_has_its_port),
		cmocka_unit_test(what_was_kept_for_a_deleted_peer_rests_once),
		cmocka_unit_test(leases_of_a_silent_peer_are_suspended),
		cmocka_unit_test(nothing_renews_a_lease_past_its_last_moment),
		cmocka_unit_test(denied_ports_are_nobodys),
		cmocka_unit_test(a_suggestion_is_followed_where_it_can_be),
		cmocka_unit_test(a_restart_changes_nothing),
		cmocka_unit_test(restored_leases_must_fit),
		cmocka_unit_test(kept_numbers_come_back_in_order_and_within_todays_rules),
	};

	random_seed();
	return cmocka_run_group_tests_name("lease_life", tests, NULL, NULL);
}
