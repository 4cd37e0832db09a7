#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "frag_world.h"

static struct frag_out out;

static struct frag_table *create(const struct frag_conf *conf)
{
	struct frag_table *t = frag_table_create(conf);

	assert_non_null(t);
	return t;
}

/* Nothing may be left over. */
static void finish(struct frag_table *t)
{
	void *pkts[256];

	while (frag_n_datagrams(t) > 0)
		frag_expire(t, UINT64_MAX, pkts, 256);
	assert_int_equal(frag_n_held(t), 0);
	frag_table_destroy(t);
}

static void assert_held(const void *const *pkts, unsigned n, uintptr_t first)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal((uintptr_t)pkts[i], first + i);
}

static void conf_is_checked(void **state)
{
	struct frag_conf c;

	(void)state;
	c = usual_conf, c.n_datagrams = FRAG_DATAGRAMS_MIN - 1;
	assert_null(frag_table_create(&c));
	c = usual_conf, c.n_datagrams = FRAG_DATAGRAMS_MAX + 1;
	assert_null(frag_table_create(&c));
	c = usual_conf, c.owner_datagrams = 0;
	assert_null(frag_table_create(&c));
	c = usual_conf, c.target_datagrams = 0;
	assert_null(frag_table_create(&c));
	c = usual_conf, c.held_pkts = 0;
	assert_null(frag_table_create(&c));
	c = usual_conf, c.owner_held_pkts = 0;
	assert_null(frag_table_create(&c));
	c = usual_conf, c.datagram_held_pkts = 0;
	assert_null(frag_table_create(&c));
	c = usual_conf, c.datagram_held_pkts = FRAG_HELD_MAX + 1;
	assert_null(frag_table_create(&c));
	c = usual_conf, c.timeout_ns = 0;
	assert_null(frag_table_create(&c));
	frag_table_destroy(NULL);
}

static void in_order(void **state)
{
	struct frag_table *t = create(&usual_conf);

	(void)state;
	for (uint32_t id = 0; id < 1000; id++) {
		struct piece p = {.id = id, .len = 1480, .new_id = (uint16_t)(id * 7)};

		for (unsigned k = 0; k < 3; k++) {
			p.is_last = k == 2;
			assert_int_equal(give(t, p, 0, &out), FRAG_PASS);
			assert_true(out.has_l4);
			assert_int_equal(out.proto, NAT_PROTO_UDP);
			assert_int_equal(out.src_port, 1000 + id);
			assert_int_equal(out.dst_port, 53);
			assert_int_equal(out.new_id, (uint16_t)(id * 7));
			assert_int_equal(out.n_released + out.n_dropped, 0);
			p.start = (uint16_t)(p.start + 1480);
			p.new_id = 9; /* of the datagram only what came first counts */
		}
		assert_int_equal(frag_n_datagrams(t), 0);
	}
	finish(t);
}

/* All that came before the first fragment go behind it, in their order. */
static void reversed(void **state)
{
	struct frag_table *t = create(&usual_conf);

	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		for (unsigned k = 5; k > 0; k--) {
			struct piece p = {.version = (uint8_t)version,
				.start = (uint16_t)(k * 1480),
				.len = 1480,
				.is_last = k == 5,
				.pkt = 6 - k,
				.new_id = 77};

			assert_int_equal(give(t, p, 0, &out), FRAG_HELD);
		}
		assert_int_equal(frag_n_held(t), 5);
		assert_int_equal(
			give(t, (struct piece){.version = (uint8_t)version, .len = 1480}, 0, &out),
			FRAG_PASS);
		assert_int_equal(out.n_released, 5);
		assert_int_equal(out.n_dropped, 0);
		assert_held((const void *const *)out.released, 5, 1);
		assert_int_equal(out.src_port, 1000);
		assert_int_equal(out.new_id, 77);
		assert_int_equal(frag_n_datagrams(t), 0);
		assert_int_equal(frag_n_held(t), 0);
	}
	finish(t);
}

/* Each part of the key keeps datagrams apart; of IPv6 the protocol is none. */
static void interleaved(void **state)
{
	static const struct piece keys[] = {{.id = 1}, {.id = 2}, {.id = 1, .src = 1},
		{.id = 1, .dst = 1}, {.id = 1, .owner = 1}, {.id = 1, .proto = NAT_PROTO_ICMP},
		{.id = 1, .owner = FRAG_OWNER_NONE}, {.id = 1, .version = 6}};
	enum { N = sizeof(keys) / sizeof(*keys) };
	struct frag_table *t = create(&usual_conf);

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		struct piece p = keys[i];

		p.start = 800, p.len = 10, p.is_last = true, p.pkt = 100 + i;
		assert_int_equal(give(t, p, 0, &out), FRAG_HELD);
	}
	assert_int_equal(frag_n_datagrams(t), N);
	for (unsigned i = 0; i < N; i++) {
		struct piece p = keys[i];

		p.len = 800;
		assert_int_equal(give(t, p, 0, &out), FRAG_PASS);
		assert_int_equal(out.n_released, 1);
		assert_held((const void *const *)out.released, 1, 100 + i);
	}
	assert_int_equal(frag_n_datagrams(t), 0);
	give(t, (struct piece){.version = 6, .proto = 60, .start = 800, .len = 8, .pkt = 1}, 0,
		&out);
	assert_int_equal(give(t, (struct piece){.version = 6, .len = 800}, 0, &out), FRAG_PASS);
	assert_int_equal(out.n_released, 1);
	finish(t);
}

static void duplicates_cost_nothing(void **state)
{
	struct frag_table *t = create(&usual_conf);
	const struct piece last = {.start = 800, .len = 10, .is_last = true, .pkt = 1};
	const struct piece middle = {.start = 400, .len = 400}, first = {.len = 400};

	(void)state;
	assert_int_equal(give(t, last, 0, &out), FRAG_HELD);
	assert_int_equal(give(t, last, 0, &out), FRAG_DUPLICATE);
	assert_int_equal(give(t, first, 0, &out), FRAG_PASS);
	assert_int_equal(out.n_released, 1);
	assert_int_equal(give(t, first, 0, &out), FRAG_DUPLICATE);
	assert_int_equal(give(t, last, 0, &out), FRAG_DUPLICATE);
	assert_int_equal(give(t, middle, 0, &out), FRAG_PASS);
	assert_int_equal(frag_n_datagrams(t), 0);
	finish(t);
}

/* Each way to overlap, before and after the first fragment came: the rest is lost too. */
static void overlap_loses_the_datagram(void **state)
{
	static const struct piece bad[] = {
		{.start = 392, .len = 16},		    /* over the end of one */
		{.start = 400, .len = 8},		    /* within one */
		{.start = 392, .len = 800},		    /* over all of one */
		{.start = 0, .len = 408},		    /* first, into the next */
		{.start = 1000, .len = 8},		    /* behind the end */
		{.start = 1000, .len = 8, .is_last = true}, /* a second end */
		{.start = 808, .len = 8, .is_last = true},
	};
	struct frag_table *t = create(&usual_conf);
	uint32_t id = 0;

	(void)state;
	for (unsigned is_known = 0; is_known < 2; is_known++)
		for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++, id++) {
			struct piece p = bad[i];

			if (is_known && p.start == 0)
				continue;
			if (is_known)
				assert_int_equal(
					give(t, (struct piece){.id = id, .len = 8}, 0, &out),
					FRAG_PASS);
			give(t, (struct piece){.id = id, .start = 400, .len = 400, .pkt = 1}, 0,
				&out);
			give(t,
				(struct piece){.id = id,
					.start = 824,
					.len = 8,
					.is_last = true,
					.pkt = 2},
				0, &out);
			p.id = id;
			assert_int_equal(give(t, p, 0, &out), FRAG_OVERLAP);
			assert_int_equal(out.n_released, 0);
			assert_int_equal(out.n_dropped, is_known ? 0 : 2);
			assert_held((const void *const *)out.dropped, out.n_dropped, 1);
			assert_int_equal(
				give(t, (struct piece){.id = id, .start = 1600, .len = 8}, 0, &out),
				FRAG_OVERLAP);
			assert_int_equal(
				give(t, (struct piece){.id = id, .len = 8}, 0, &out), FRAG_OVERLAP);
		}
	/* an end before what has come already */
	give(t, (struct piece){.id = id, .start = 800, .len = 8, .pkt = 1}, 0, &out);
	assert_int_equal(
		give(t, (struct piece){.id = id, .start = 400, .len = 8, .is_last = true}, 0, &out),
		FRAG_OVERLAP);
	assert_int_equal(out.n_dropped, 1);
	assert_int_equal(frag_n_held(t), 0);
	finish(t);
}

static void too_many_pieces(void **state)
{
	struct frag_conf c = usual_conf;
	struct frag_table *t;
	struct piece p = {.len = 8};

	(void)state;
	c.datagram_held_pkts = 4;
	t = create(&c);
	/* waiting */
	for (p.start = 8; p.start <= 32; p.start += 8) {
		p.pkt = p.start / 8;
		assert_int_equal(give(t, p, 0, &out), FRAG_HELD);
	}
	assert_int_equal(give(t, p, 0, &out), FRAG_TOO_MANY_PIECES);
	assert_int_equal(out.n_dropped, 4);
	assert_held((const void *const *)out.dropped, 4, 1);
	p.start = 0;
	assert_int_equal(give(t, p, 0, &out), FRAG_TOO_MANY_PIECES);
	/* gaps */
	p.id = 1;
	for (p.start = 0; p.start < 16 * 8; p.start += 16)
		assert_int_equal(give(t, p, 0, &out), FRAG_PASS);
	assert_int_equal(give(t, p, 0, &out), FRAG_TOO_MANY_PIECES);
	finish(t);
}

static void time_runs_from_the_earliest_fragment(void **state)
{
	struct frag_table *t = create(&usual_conf);
	void *pkts[16];

	(void)state;
	give(t, (struct piece){.id = 1, .start = 8, .len = 8, .pkt = 1}, 0, &out);
	give(t, (struct piece){.id = 1, .start = 16, .len = 8, .pkt = 2}, 1500 * MS, &out);
	give(t, (struct piece){.id = 2, .len = 8}, 1000 * MS, &out);
	assert_int_equal(frag_expire(t, 2000 * MS - 1, pkts, 16), 0);
	assert_int_equal(frag_n_datagrams(t), 2);
	assert_int_equal(frag_expire(t, 2000 * MS, pkts, 16), 2);
	assert_held((const void *const *)pkts, 2, 1);
	assert_int_equal(frag_n_datagrams(t), 1);
	assert_int_equal(frag_expire(t, 3000 * MS - 1, pkts, 16), 0);
	assert_int_equal(frag_n_datagrams(t), 1);
	assert_int_equal(frag_expire(t, 3000 * MS, pkts, 16), 0);
	assert_int_equal(frag_n_datagrams(t), 0);
	/* forgotten: a late fragment begins anew */
	assert_int_equal(give(t, (struct piece){.id = 2, .start = 8, .len = 8, .pkt = 3}, 0, &out),
		FRAG_HELD);
	finish(t);
}

/* No call takes more packets, or looks at more datagrams, than it was given room for. */
static void expiry_in_slices(void **state)
{
	struct frag_conf c = usual_conf;
	struct frag_table *t;
	unsigned n_got = 0, n, n_before;
	void *pkts[FRAG_HELD_MAX];

	(void)state;
	c.n_datagrams = 256;
	c.owner_datagrams = 256;
	t = create(&c);
	for (uint32_t id = 0; id < 20; id++)
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(give(t,
						 (struct piece){.id = id,
							 .len = 8,
							 .pkt = 1,
							 .start = (uint16_t)(8 + 8 * k)},
						 0, &out),
				FRAG_HELD);
	for (uint32_t id = 20; id < 120; id++)
		give(t, (struct piece){.id = id, .len = 8}, 0, &out);
	while (frag_n_datagrams(t) > 0) {
		n_before = frag_n_datagrams(t);
		n = frag_expire(t, UINT64_MAX, pkts, FRAG_HELD_MAX);
		assert_in_range(n_before - frag_n_datagrams(t), 1, FRAG_HELD_MAX);
		n_got += n;
	}
	assert_int_equal(n_got, 60);
	finish(t);
}

/* Four places: one of them for a datagram without its first fragment. */
static void a_table_of_four(void **state)
{
	struct frag_conf c = usual_conf;
	struct frag_table *t;

	(void)state;
	c.n_datagrams = 4;
	t = create(&c);
	give(t, (struct piece){.id = 1, .start = 8, .len = 8, .pkt = 1}, 0, &out);
	assert_int_equal(give(t, (struct piece){.id = 2, .start = 8, .len = 8, .pkt = 2}, 1, &out),
		FRAG_HELD);
	assert_int_equal(out.n_dropped, 1); /* the older orphan went */
	assert_held((const void *const *)out.dropped, 1, 1);
	for (uint32_t id = 10; id < 13; id++) {
		assert_int_equal(give(t, (struct piece){.id = id, .len = 8}, 2, &out), FRAG_PASS);
		assert_int_equal(out.n_dropped, 0);
	}
	assert_int_equal(give(t, (struct piece){.id = 13, .len = 8}, 3, &out), FRAG_PASS);
	assert_int_equal(out.n_dropped, 1);
	assert_held((const void *const *)out.dropped, 1, 2);
	/* full of known ones: the oldest makes room, for either kind */
	assert_int_equal(give(t, (struct piece){.id = 14, .len = 8}, 4, &out), FRAG_PASS);
	assert_int_equal(give(t, (struct piece){.id = 15, .start = 8, .len = 8, .pkt = 3}, 4, &out),
		FRAG_HELD);
	assert_int_equal(frag_n_datagrams(t), 4);
	for (uint32_t id = 12; id < 15; id++)
		assert_int_equal(
			give(t, (struct piece){.id = id, .start = 8, .len = 8, .is_last = true}, 5,
				&out),
			FRAG_PASS);
	assert_int_equal(frag_n_datagrams(t), 1);
	finish(t);
}

static void held_packets_in_all(void **state)
{
	struct frag_conf c = usual_conf;
	struct frag_table *t;

	(void)state;
	c.held_pkts = 3;
	t = create(&c);
	give(t, (struct piece){.id = 1, .start = 8, .len = 8, .pkt = 1}, 0, &out);
	give(t, (struct piece){.id = 1, .start = 16, .len = 8, .pkt = 2}, 0, &out);
	give(t, (struct piece){.id = 2, .start = 8, .len = 8, .pkt = 3}, 0, &out);
	assert_int_equal(give(t, (struct piece){.id = 2, .start = 16, .len = 8, .pkt = 4}, 0, &out),
		FRAG_HELD);
	assert_int_equal(out.n_dropped, 2);
	assert_held((const void *const *)out.dropped, 2, 1);
	assert_int_equal(give(t, (struct piece){.id = 2, .start = 24, .len = 8, .pkt = 5}, 0, &out),
		FRAG_HELD);
	/* none but its own */
	assert_int_equal(give(t, (struct piece){.id = 2, .start = 32, .len = 8, .pkt = 6}, 0, &out),
		FRAG_FULL);
	assert_int_equal(out.n_dropped, 3);
	assert_held((const void *const *)out.dropped, 3, 3);
	assert_int_equal(frag_n_held(t), 0);
	finish(t);
}

static void shares_of_an_owner(void **state)
{
	struct frag_conf c = usual_conf;
	struct frag_table *t;

	(void)state;
	c.owner_datagrams = 3;
	c.owner_held_pkts = 2;
	t = create(&c);
	for (uint32_t owner = 0; owner < 5; owner++) {
		struct piece p = {.owner = owner, .len = 8};

		for (p.id = 0; p.id < 3; p.id++)
			assert_int_equal(give(t, p, 0, &out), FRAG_PASS);
		assert_int_equal(give(t, p, 0, &out), FRAG_QUOTA);
		p.start = 8;
		assert_int_equal(give(t, p, 0, &out), FRAG_QUOTA);
		assert_int_equal(out.n_dropped, 0);
		/* what is known goes on, and when it is whole there is place again */
		p.id = 0, p.is_last = true;
		assert_int_equal(give(t, p, 0, &out), FRAG_PASS);
		p.id = 9, p.is_last = false, p.pkt = 1;
		assert_int_equal(give(t, p, 0, &out), FRAG_HELD);
		p.start = 16, p.pkt = 2;
		assert_int_equal(give(t, p, 0, &out), FRAG_HELD);
		p.start = 24;
		assert_int_equal(give(t, p, 0, &out), FRAG_QUOTA);
		assert_int_equal(out.n_dropped, 2);
		assert_held((const void *const *)out.dropped, 2, 1);
	}
	finish(t);
}

/* From the Internet: a source has one share, of IPv6 its /64 has, and others have theirs. */
static void shares_of_sources(void **state)
{
	struct frag_conf c = usual_conf;
	struct frag_table *t;
	unsigned n_passed = 0;

	(void)state;
	c.owner_datagrams = 3;
	for (unsigned version = 4; version <= 6; version += 2) {
		t = create(&c);
		n_passed = 0;
		for (uint32_t id = 0; id < 10; id++) {
			struct piece p = {.version = (uint8_t)version,
				.owner = FRAG_OWNER_NONE,
				.id = id,
				.dst = id,
				.len = 8,
				.src = version == 6 ? id : 0};

			n_passed += give(t, p, 0, &out) == FRAG_PASS;
		}
		assert_int_equal(n_passed, 3);
		for (uint32_t src = 1; version == 4 && src <= 20; src++)
			n_passed += give(t,
					    (struct piece){
						    .owner = FRAG_OWNER_NONE, .src = src, .len = 8},
					    0, &out) == FRAG_PASS;
		if (version == 4)
			assert_true(n_passed >= 3 + 18); /* of 1024 shares few are shared */
		finish(t);
	}
}

/* A flood of one kind leaves the rest of the table to others. */
static void a_flood_costs_others_nothing(void **state)
{
	struct frag_conf c = usual_conf;
	struct frag_table *t;

	(void)state;
	c.owner_datagrams = 8;
	c.owner_held_pkts = 8;
	t = create(&c);
	for (uint32_t id = 0; id < 10000; id++) {
		give(t, (struct piece){.owner = 1, .id = id, .start = 8, .len = 8, .pkt = 1}, 0,
			&out);
		give(t, (struct piece){.owner = 1, .id = id + 20000, .len = 8}, 0, &out);
	}
	assert_int_equal(frag_n_datagrams(t), 8);
	for (uint32_t id = 0; id < 1000; id++) {
		struct piece p = {
			.owner = 2, .id = id, .start = 8, .len = 8, .is_last = true, .pkt = 7};

		assert_int_equal(give(t, p, 0, &out), FRAG_HELD);
		assert_int_equal(out.n_dropped, 0);
		p.start = 0, p.is_last = false;
		assert_int_equal(give(t, p, 0, &out), FRAG_PASS);
		assert_int_equal(out.n_released, 1);
	}
	finish(t);
}

/* Any number of sources to one target: others have the rest of the table. Orphans learn their
 * target late, with the first fragment. */
static void shares_of_a_target(void **state)
{
	struct frag_conf c = usual_conf;
	struct piece p = {.owner = FRAG_OWNER_NONE, .to = 1, .len = 8};
	struct frag_table *t;

	(void)state;
	c.target_datagrams = 8;
	t = create(&c);
	for (p.src = 0; p.src < 1000; p.src++)
		assert_int_equal(give(t, p, 0, &out), p.src < 8 ? FRAG_PASS : FRAG_QUOTA);
	assert_int_equal(frag_n_datagrams(t), 8);
	p.to = 0, p.start = 8, p.pkt = 5;
	assert_int_equal(give(t, p, 0, &out), FRAG_HELD);
	p.to = 1, p.start = 0, p.pkt = 6;
	assert_int_equal(give(t, p, 0, &out), FRAG_QUOTA);
	assert_int_equal(out.n_dropped, 1);
	assert_held((const void *const *)out.dropped, 1, 5);
	p.to = 2, p.src++;
	assert_int_equal(give(t, p, 0, &out), FRAG_PASS);
	/* one of them is whole: there is place again */
	p.to = 0, p.src = 0, p.start = 8, p.is_last = true;
	assert_int_equal(give(t, p, 0, &out), FRAG_PASS);
	p.to = 1, p.src = 2000, p.start = 0, p.is_last = false;
	assert_int_equal(give(t, p, 0, &out), FRAG_PASS);
	finish(t);
}

/* Pairs that overlap, from everywhere: they have a quarter, and what is known stays. */
static void lost_datagrams_cost_others_nothing(void **state)
{
	struct frag_table *t = create(&usual_conf);
	struct piece p = {.owner = FRAG_OWNER_NONE, .len = 16, .pkt = 1};

	(void)state;
	for (uint32_t id = 0; id < 40; id++)
		assert_int_equal(give(t, (struct piece){.id = id, .len = 8}, 0, &out), FRAG_PASS);
	for (p.src = 1; p.src <= 10000; p.src++) {
		p.start = 8;
		assert_int_equal(give(t, p, 1, &out), FRAG_HELD);
		p.start = 16;
		assert_int_equal(give(t, p, 1, &out), FRAG_OVERLAP);
	}
	assert_int_equal(frag_n_datagrams(t), 40 + 64 / 4);
	for (uint32_t id = 0; id < 40; id++)
		assert_int_equal(
			give(t, (struct piece){.id = id, .start = 8, .len = 8, .is_last = true}, 2,
				&out),
			FRAG_PASS);
	finish(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conf_is_checked),
		cmocka_unit_test(in_order),
		cmocka_unit_test(reversed),
		cmocka_unit_test(interleaved),
		cmocka_unit_test(duplicates_cost_nothing),
		cmocka_unit_test(overlap_loses_the_datagram),
		cmocka_unit_test(too_many_pieces),
		cmocka_unit_test(time_runs_from_the_earliest_fragment),
		cmocka_unit_test(expiry_in_slices),
		cmocka_unit_test(a_table_of_four),
		cmocka_unit_test(held_packets_in_all),
		cmocka_unit_test(shares_of_an_owner),
		cmocka_unit_test(shares_of_sources),
		cmocka_unit_test(shares_of_a_target),
		cmocka_unit_test(a_flood_costs_others_nothing),
		cmocka_unit_test(lost_datagrams_cost_others_nothing),
	};

	return cmocka_run_group_tests_name("frag", tests, NULL, NULL);
}
