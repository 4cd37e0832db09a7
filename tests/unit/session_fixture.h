/* session_fixture.h - a session, its keypairs and a clock, and the steps that session tests share.
 */
#ifndef PORTIER_TESTS_SESSION_FIXTURE_H
#define PORTIER_TESTS_SESSION_FIXTURE_H

#include "noise/session.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S     NS_IN_S
#define START NOISE_ACT_START_HANDSHAKE
#define T     (&noise_timing_default)
#define EPOCH (1000 * S) /* some moment on the monotonic clock */

enum role { RESPONDER, INITIATOR };

struct fixture {
	struct noise_session s;
	struct noise_retired retired; /* since the last look */
	struct noise_keypair pool[64];
	unsigned n_used;
	uint64_t now_ns;
};

#define WITH_FIXTURE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline int setup(void **state)
{
	struct fixture *f = aligned_alloc(64, sizeof(*f));

	assert_non_null(f);
	memset(f, 0, sizeof(*f));
	noise_session_init(&f->s, 0);
	f->now_ns = EPOCH;
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	free(*state);
	return 0;
}

static inline void assert_deadline_covers_timers(const struct noise_session *s)
{
	const uint64_t timers_ns[] = {
		s->keepalive_due_ns, s->handshake_due_ns, s->persistent_due_ns, s->erase_due_ns};

	for (size_t i = 0; i < sizeof(timers_ns) / sizeof(timers_ns[0]); i++) {
		if (timers_ns[i] != 0)
			assert_true(s->deadline_ns <= timers_ns[i]);
	}
}

static inline struct noise_keypair *new_keypair(struct fixture *f, enum role role)
{
	struct noise_keypair *kp = &f->pool[f->n_used++ % 64];

	memset(kp, 0, sizeof(*kp));
	kp->created_ns = f->now_ns;
	kp->is_initiator = role == INITIATOR;
	kp->is_live = true;
	return kp;
}

static inline struct noise_keypair *install(struct fixture *f, enum role role)
{
	struct noise_keypair *kp = new_keypair(f, role);

	noise_session_install(&f->s, T, kp, f->now_ns, &f->retired);
	assert_deadline_covers_timers(&f->s);
	return kp;
}

static inline unsigned receive(struct fixture *f, struct noise_keypair *kp, bool has_data)
{
	unsigned actions = noise_session_received(&f->s, T, kp, has_data, f->now_ns, &f->retired);

	assert_deadline_covers_timers(&f->s);
	return actions;
}

/* One packet out, as the packet path does it. */
static inline struct noise_keypair *send(struct fixture *f, bool has_data, unsigned *actions)
{
	uint64_t counter;
	struct noise_keypair *kp;

	*actions = 0;
	kp = noise_session_reserve(&f->s, T, 1, f->now_ns, &counter, actions);
	if (kp)
		noise_session_sent(&f->s, T, has_data, f->now_ns);
	assert_deadline_covers_timers(&f->s);
	return kp;
}

static inline unsigned tick(struct fixture *f)
{
	unsigned actions = noise_session_tick(&f->s, T, f->now_ns, &f->retired);

	assert_deadline_covers_timers(&f->s);
	assert_true(f->s.deadline_ns > f->now_ns);
	return actions;
}

/* Sleep as a timer wheel would: wake at each deadline, until something is to be done or `until`. */
static inline unsigned sleep_until(struct fixture *f, uint64_t until_ns)
{
	while (f->s.deadline_ns <= until_ns) {
		unsigned actions;

		if (f->s.deadline_ns > f->now_ns)
			f->now_ns = f->s.deadline_ns;
		actions = tick(f);
		if (actions)
			return actions;
	}
	f->now_ns = until_ns;
	return 0;
}

static inline void assert_places(const struct fixture *f, const struct noise_keypair *previous,
	const struct noise_keypair *current, const struct noise_keypair *next)
{
	assert_ptr_equal(f->s.previous, previous);
	assert_ptr_equal(f->s.current, current);
	assert_ptr_equal(f->s.next, next);
}

/* Exactly these left since the last look, in any order; NULL is nobody. */
static inline void assert_retired(
	struct fixture *f, const struct noise_keypair *a, const struct noise_keypair *b)
{
	assert_int_equal(f->retired.n, (a != NULL) + (b != NULL));
	for (unsigned i = 0; i < f->retired.n; i++)
		assert_true(f->retired.keypairs[i] == a || f->retired.keypairs[i] == b);
	if (f->retired.n == 2)
		assert_ptr_not_equal(f->retired.keypairs[0], f->retired.keypairs[1]);
	f->retired.n = 0;
}

#endif
