#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "frag_world.h"
#include "seeded.h"

#define PKTS_MAX 4096

static struct frag_out out;

/* Which packets the table has. */
static bool is_held[PKTS_MAX];

static unsigned take_back(void *const *pkts, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uintptr_t pkt = (uintptr_t)pkts[i];

		assert_in_range(pkt, 1, PKTS_MAX - 1);
		assert_true(is_held[pkt]);
		is_held[pkt] = false;
	}
	return n;
}

/* Anything in any order under tight bounds: no packet is lost or given back twice, and no bound is
 * passed. */
static void every_packet_is_accounted_for(void **state)
{
	void *pkts[FRAG_HELD_MAX];

	(void)state;
	for (uint64_t rounds = random_rounds(300); rounds > 0; rounds--) {
		struct frag_conf c = {
			.n_datagrams = 4 + random_below(12),
			.owner_datagrams = 1 + random_below(6),
			.target_datagrams = 1 + random_below(6),
			.held_pkts = 1 + random_below(12),
			.owner_held_pkts = 1 + random_below(8),
			.datagram_held_pkts = 1 + random_below(FRAG_HELD_MAX),
			.timeout_ns = 100,
		};
		struct frag_table *t = frag_table_create(&c);
		uint64_t now_ns = 0;
		unsigned n_held = 0;

		assert_non_null(t);
		memset(is_held, 0, sizeof(is_held));
		for (uintptr_t pkt = 1; pkt < PKTS_MAX; pkt++) {
			struct piece p = {
				.version = random_u64() & 1 ? 4 : 6,
				.owner = random_below(4) ? random_below(3) : FRAG_OWNER_NONE,
				.id = random_below(6),
				.start = (uint16_t)(8 * random_below(12)),
				.len = (uint16_t)(8 * (1 + random_below(2))),
				.is_last = random_below(6) == 0,
				.pkt = pkt,
			};

			if (p.owner == FRAG_OWNER_NONE && (p.start == 0 || p.version == 6))
				p.to = random_below(4);
			now_ns += random_below(20);
			if (give(t, p, now_ns, &out) == FRAG_HELD) {
				is_held[pkt] = true;
				n_held++;
			}
			n_held -= take_back(out.released, out.n_released);
			n_held -= take_back(out.dropped, out.n_dropped);
			if (random_below(4) == 0)
				n_held -= take_back(
					pkts, frag_expire(t, now_ns, pkts, FRAG_HELD_MAX));
			assert_int_equal(frag_n_held(t), n_held);
			assert_true(n_held <= c.held_pkts);
			assert_true(frag_n_datagrams(t) <= c.n_datagrams);
		}
		while (frag_n_datagrams(t) > 0)
			n_held -= take_back(pkts, frag_expire(t, UINT64_MAX, pkts, FRAG_HELD_MAX));
		assert_int_equal(n_held, 0);
		frag_table_destroy(t);
	}
}

enum { IDS = 16, UNITS = 32 };

/* What has gone on of one datagram, in units of 8 bytes. */
struct gone {
	bool is_lost;
	bool units[UNITS];
};

static void go_on(struct gone *gone, const struct piece *p)
{
	assert_false(gone[p->id].is_lost);
	for (unsigned u = p->start / 8; u < (p->start + p->len) / 8u; u++) {
		assert_false(gone[p->id].units[u]);
		gone[p->id].units[u] = true;
	}
}

/* Where datagrams never end, no byte of one goes on twice, and once one is lost nothing does. */
static void no_byte_passes_twice(void **state)
{
	struct piece sent[400];
	void *pkts[64];

	(void)state;
	for (uint64_t rounds = random_rounds(300); rounds > 0; rounds--) {
		struct frag_table *t = frag_table_create(&usual_conf);
		struct gone gone[IDS] = {0};

		assert_non_null(t);
		for (uintptr_t pkt = 1; pkt < 400; pkt++) {
			struct piece *p = &sent[pkt];
			enum frag_verdict verdict;

			*p = (struct piece){.id = random_below(IDS),
				.start = (uint16_t)(8 * random_below(UNITS - 1)),
				.len = (uint16_t)(8 * (1 + random_below(2))),
				.pkt = pkt};
			verdict = give(t, *p, 0, &out);
			assert_true(verdict == FRAG_PASS || out.n_released == 0);
			if (verdict == FRAG_PASS)
				go_on(gone, p);
			for (unsigned i = 0; i < out.n_released; i++) {
				assert_int_equal(sent[(uintptr_t)out.released[i]].id, p->id);
				go_on(gone, &sent[(uintptr_t)out.released[i]]);
			}
			if (verdict == FRAG_OVERLAP || verdict == FRAG_TOO_MANY_PIECES)
				gone[p->id].is_lost = true;
		}
		while (frag_n_datagrams(t) > 0)
			frag_expire(t, UINT64_MAX, pkts, 64);
		frag_table_destroy(t);
	}
}

/* Honest datagrams, each in its own random order, all at once, with repeats: all of them arrive. */
static void shuffled_datagrams_arrive(void **state)
{
	enum { PIECES = 7, ALL = IDS * PIECES };
	struct frag_conf c = usual_conf;

	(void)state;
	c.held_pkts = c.owner_held_pkts = ALL; /* as many as could have to wait */
	for (uint64_t rounds = random_rounds(3000); rounds > 0; rounds--) {
		struct frag_table *t = frag_table_create(&c);
		unsigned order[ALL], n_passed[IDS] = {0}, n_given[IDS] = {0};

		assert_non_null(t);
		for (unsigned i = 0; i < ALL; i++) {
			unsigned j = random_below(i + 1);

			order[i] = order[j];
			order[j] = i;
		}
		for (unsigned i = 0; i < ALL; i++) {
			unsigned id = order[i] / PIECES, k = order[i] % PIECES;
			struct piece p = {.id = id,
				.start = (uint16_t)(1480 * k),
				.len = 1480,
				.is_last = k == PIECES - 1,
				.pkt = 1 + order[i],
				.new_id = (uint16_t)(id + 500)};
			enum frag_verdict verdict = give(t, p, 0, &out);

			assert_true(verdict == FRAG_PASS || verdict == FRAG_HELD);
			assert_int_equal(out.n_dropped, 0);
			if (verdict == FRAG_PASS) {
				assert_int_equal(out.src_port, 1000 + id);
				assert_int_equal(out.new_id, id + 500);
				n_passed[id] += 1 + out.n_released;
			}
			for (unsigned r = 0; r < out.n_released; r++)
				assert_int_equal(((uintptr_t)out.released[r] - 1) / PIECES, id);
			/* the network repeats one, of a datagram that is not whole yet */
			if (++n_given[id] < PIECES && random_below(3) == 0)
				assert_int_equal(give(t, p, 0, &out), FRAG_DUPLICATE);
		}
		for (unsigned id = 0; id < IDS; id++)
			assert_int_equal(n_passed[id], PIECES);
		assert_int_equal(frag_n_datagrams(t), 0);
		assert_int_equal(frag_n_held(t), 0);
		frag_table_destroy(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_packet_is_accounted_for),
		cmocka_unit_test(no_byte_passes_twice),
		cmocka_unit_test(shuffled_datagrams_arrive),
	};

	random_seed();
	return cmocka_run_group_tests_name("frag_model", tests, NULL, NULL);
}
