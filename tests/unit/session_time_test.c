/* Keepalives, expiry and retries; then every rule of the session at random. */
#include "session_fixture.h"

static uint64_t rng_state;

static uint64_t rng_next(void)
{
	uint64_t z = rng_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* --- keepalives ------------------------------------------------------------------------------- */

static void test_passive_keepalive(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp = install(f, INITIATOR);
	unsigned actions;

	receive(f, kp, false); /* a keepalive is not answered: two idle ends fall silent */
	assert_int_equal(sleep_until(f, EPOCH + 100 * S), 0);

	receive(f, kp, true);
	f->now_ns += 4 * S;
	receive(f, kp, true); /* counts from the first */
	assert_int_equal(sleep_until(f, EPOCH + 110 * S - 1), 0);
	assert_int_equal(sleep_until(f, EPOCH + 110 * S), NOISE_ACT_KEEPALIVE);
	assert_int_equal(sleep_until(f, EPOCH + 140 * S), 0); /* one is enough */

	receive(f, kp, true);
	f->now_ns += 9 * S;
	send(f, true, &actions); /* anything that we send says the same */
	assert_int_equal(sleep_until(f, f->now_ns + 14 * S), 0);
	receive(f, kp, true);
	send(f, false, &actions);
	assert_int_equal(sleep_until(f, f->now_ns + 100 * S), 0);
}

static void test_persistent_keepalive(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp;
	unsigned actions;

	noise_session_init(&f->s, 25 * S);
	assert_true(f->s.deadline_ns <= f->now_ns);
	assert_int_equal(tick(f), NOISE_ACT_KEEPALIVE);
	assert_null(send(f, false, &actions));
	assert_int_equal(actions, START);
	assert_int_equal(sleep_until(f, EPOCH + 24 * S), START); /* the request's one repetition */
	assert_int_equal(sleep_until(f, EPOCH + 25 * S), NOISE_ACT_KEEPALIVE);
	assert_true(f->now_ns == EPOCH + 25 * S);

	kp = install(f, INITIATOR);
	f->now_ns = EPOCH + 30 * S;
	send(f, false, &actions);
	assert_int_equal(sleep_until(f, EPOCH + 55 * S - 1), 0);
	receive(f, kp, false); /* traffic in either direction keeps the mapping */
	assert_int_equal(sleep_until(f, EPOCH + 80 * S - 2), 0);
	assert_int_equal(sleep_until(f, EPOCH + 80 * S - 1), NOISE_ACT_KEEPALIVE);

	noise_session_set_persistent_keepalive(&f->s, 25 * S, f->now_ns); /* unchanged */
	assert_int_equal(sleep_until(f, f->now_ns + 25 * S - 1), 0);
	noise_session_set_persistent_keepalive(&f->s, 0, f->now_ns);
	assert_int_equal(sleep_until(f, f->now_ns + 100 * S), 0);
	send(f, false, &actions);
	assert_int_equal(sleep_until(f, f->now_ns + 100 * S), 0);
	noise_session_set_persistent_keepalive(&f->s, 7 * S, f->now_ns);
	assert_true(f->s.deadline_ns <= f->now_ns);
	assert_int_equal(tick(f), NOISE_ACT_KEEPALIVE);
	assert_int_equal(sleep_until(f, f->now_ns + 7 * S), NOISE_ACT_KEEPALIVE);
	/* Survives the loss of all keys. */
	noise_session_clear(&f->s, &f->retired);
	assert_int_equal(sleep_until(f, f->now_ns + 7 * S), NOISE_ACT_KEEPALIVE);
}

/* --- expiry and time -------------------------------------------------------------------------- */

static void test_erase(void **state)
{
	struct fixture *f = *state;

	install(f, INITIATOR);
	install(f, INITIATOR);
	f->now_ns += S;
	install(f, RESPONDER);
	assert_int_equal(sleep_until(f, EPOCH + 541 * S - 1), 0);
	assert_int_equal(f->retired.n, 0);
	assert_int_equal(sleep_until(f, EPOCH + 541 * S), 0);
	assert_int_equal(f->retired.n, 3);
	assert_places(f, NULL, NULL, NULL);
	assert_true(f->s.deadline_ns == TIME_NEVER);
	f->retired.n = 0;
	f->now_ns += 1000 * S;
	assert_int_equal(tick(f), 0);
	assert_int_equal(f->retired.n, 0);

	/* Without keys there is nothing left to keep alive. */
	receive(f, install(f, RESPONDER), true);
	f->now_ns += 540 * S;
	assert_int_equal(tick(f), 0);
	assert_int_equal(f->retired.n, 1);
}

/* The machine slept for a day: each timer fires once, and no deadline stays behind. */
static void test_time_jumps_ahead(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp;
	unsigned actions;

	noise_session_set_persistent_keepalive(&f->s, 25 * S, f->now_ns);
	tick(f);
	kp = install(f, INITIATOR);
	send(f, true, &actions);
	receive(f, kp, true);
	install(f, RESPONDER);
	send(f, true, &actions);
	receive(f, kp, true);
	f->now_ns += 86400 * S;
	assert_int_equal(tick(f), NOISE_ACT_KEEPALIVE);
	assert_int_equal(f->retired.n, 2);
	assert_true(f->s.deadline_ns == f->now_ns + 25 * S);
	assert_int_equal(tick(f), 0);
	assert_null(send(f, true, &actions));
	assert_int_equal(actions, START);
	kp = install(f, INITIATOR);
	assert_ptr_equal(send(f, true, &actions), kp);
}

/* Busy in both directions for an hour: the deadline may be early, but ticks stay rare. */
static void test_busy_session_ticks_rarely(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp = install(f, INITIATOR);
	unsigned n_ticks = 0, actions;

	for (uint64_t ms = 0; ms < 3600000; ms += 20) {
		f->now_ns = EPOCH + ms * NS_IN_MS;
		actions = receive(f, kp, true);
		assert_non_null(send(f, true, &actions));
		if (actions & START)
			kp = install(f, INITIATOR);
		if (f->s.deadline_ns <= f->now_ns) {
			assert_int_equal(tick(f), 0);
			n_ticks++;
		}
		f->retired.n = 0;
	}
	assert_in_range(n_ticks, 1, 3600 / 10 + 1);
	assert_in_range(f->n_used, 28, 31);
}

/* --- everything at random --------------------------------------------------------------------- */

static void take_retired(struct fixture *f)
{
	for (unsigned i = 0; i < f->retired.n; i++) {
		struct noise_keypair *kp = f->retired.keypairs[i];

		assert_true(kp->is_live); /* leaves once */
		assert_ptr_not_equal(kp, f->s.current);
		assert_ptr_not_equal(kp, f->s.previous);
		assert_ptr_not_equal(kp, f->s.next);
		kp->is_live = false;
	}
	f->retired.n = 0;
}

static struct noise_keypair *free_keypair(struct fixture *f)
{
	for (unsigned i = 0; i < 4; i++) {
		if (!f->pool[i].is_live) {
			memset(&f->pool[i], 0, sizeof(f->pool[i]));
			return &f->pool[i];
		}
	}
	fail_msg("four slots are not enough: one leaked");
	return NULL;
}

static void random_step(struct fixture *f)
{
	struct noise_session *s = &f->s;
	struct noise_keypair *places[] = {s->current, s->previous, s->next}, *kp;
	uint64_t r = rng_next();
	unsigned actions;

	switch (r % 10) {
	case 0:
		kp = free_keypair(f);
		kp->is_initiator = r >> 32 & 1;
		kp->is_live = true;
		kp->created_ns = f->now_ns + (r >> 40) % 1000;
		noise_session_install(s, T, kp, f->now_ns, &f->retired);
		assert_ptr_equal(kp, kp->is_initiator ? s->current : s->next);
		break;
	case 1:
	case 2:
	case 3:
		kp = places[(r >> 32) % 3];
		if (kp && noise_keypair_may_open(kp, T, f->now_ns))
			receive(f, kp, r >> 40 & 1);
		break;
	case 4:
	case 5:
	case 6:
		kp = send(f, r >> 40 & 1, &actions);
		assert_true(!kp || (kp == s->current && noise_keypair_may_open(kp, T, f->now_ns)));
		break;
	case 7:
		if ((r >> 32) % 50 == 0)
			noise_session_clear(s, &f->retired);
		else if ((r >> 32) % 50 < 10)
			noise_session_set_persistent_keepalive(
				s, (r >> 40) % 3 * 20 * S, f->now_ns);
		break;
	default:
		tick(f);
		break;
	}
	assert_deadline_covers_timers(s);
	take_retired(f);
}

/* Whatever happened, three bounds hold: a packet that finds no key leads to a request within
 * rekey_timeout; data that nobody answers leads to one within keepalive + rekey_timeout; 3 x
 * reject_after after the last keys, none are left. */
static void assert_no_deadlock(struct fixture *f)
{
	uint64_t from_ns = f->now_ns, bound_ns;
	unsigned actions, ignored = 0;
	bool has_key;

	noise_session_set_persistent_keepalive(&f->s, 0, f->now_ns);
	has_key = send(f, true, &actions) != NULL;
	bound_ns = from_ns + (has_key ? 15 * S : 5 * S);
	while (!(actions & START) && f->now_ns < bound_ns) {
		actions = sleep_until(f, bound_ns);
		if (actions & NOISE_ACT_KEEPALIVE)
			send(f, false, &ignored);
		actions |= ignored;
		ignored = 0;
	}
	assert_true(actions & START);
	take_retired(f);
	while (sleep_until(f, from_ns + 541 * S))
		take_retired(f);
	take_retired(f);
	for (unsigned i = 0; i < 4; i++)
		assert_false(f->pool[i].is_live);
}

static void test_random_walk(void **state)
{
	struct fixture *f = *state;
	const char *text = getenv("PORTIER_TEST_SEED");

	rng_state = text ? strtoull(text, NULL, 0) : 20240612;
	print_message("seed %" PRIu64 "\n", rng_state);
	for (unsigned walk = 0; walk < 5000; walk++) {
		unsigned n_steps = rng_next() % 200;

		for (unsigned i = 0; i < n_steps; i++) {
			uint64_t r = rng_next();

			f->now_ns += r % 8 ? (r >> 8) % S : (r >> 8) % (200 * S);
			random_step(f);
		}
		/* A keypair may have been born up to 1 us ahead. */
		f->now_ns += NS_IN_US;
		assert_no_deadlock(f);
	}
}

/* --- retries ---------------------------------------------------------------------------------- */

static void test_retry_series(void **state)
{
	(void)state;
	struct noise_retry r = {0};
	uint64_t now_ns = EPOCH, sent_ns = 0;
	unsigned n_sent = 0;
	bool has_jitter = false;

	assert_int_equal(noise_retry_tick(&r, T, 0, now_ns), NOISE_RETRY_IDLE);
	assert_true(noise_retry_deadline_ns(&r) == TIME_NEVER);
	noise_retry_start(&r, now_ns);
	for (;;) {
		enum noise_retry_verdict v;

		assert_true(noise_retry_deadline_ns(&r) >= now_ns);
		now_ns = noise_retry_deadline_ns(&r);
		assert_int_equal(noise_retry_tick(&r, T, 0, now_ns - 1), NOISE_RETRY_IDLE);
		v = noise_retry_tick(&r, T, (uint32_t)rng_next(), now_ns);
		if (v == NOISE_RETRY_GIVE_UP)
			break;
		assert_int_equal(v, NOISE_RETRY_SEND);
		if (n_sent++ > 0) {
			assert_in_range(now_ns - sent_ns, 5 * S, 5 * S + S / 3);
			has_jitter |= now_ns - sent_ns != 5 * S;
		}
		sent_ns = now_ns;
		assert_int_equal(noise_retry_tick(&r, T, 0, now_ns), NOISE_RETRY_IDLE);
	}
	assert_true(has_jitter);
	assert_in_range(n_sent, 17, 18);
	assert_in_range(now_ns - EPOCH, 90 * S, 90 * S + 5 * S + S / 3);
	assert_true(noise_retry_deadline_ns(&r) == TIME_NEVER);
	assert_int_equal(noise_retry_tick(&r, T, 0, now_ns + 1000 * S), NOISE_RETRY_IDLE);
}

static void test_retry_restart_and_stop(void **state)
{
	(void)state;
	struct noise_retry r = {0};
	uint64_t now_ns = EPOCH;
	unsigned n_sent = 0;

	/* Packets keep coming: asked again each second for ten minutes, it neither gives up nor
	 * sends more often. */
	for (unsigned s = 0; s < 600; s++) {
		noise_retry_start(&r, now_ns);
		if (noise_retry_tick(&r, T, 0, now_ns) == NOISE_RETRY_SEND)
			n_sent++;
		now_ns += S;
	}
	assert_int_equal(n_sent, 120);

	/* It completed; a new series respects the distance to the last initiation. */
	noise_retry_start(&r, now_ns);
	assert_int_equal(noise_retry_tick(&r, T, 0, now_ns), NOISE_RETRY_SEND);
	noise_retry_stop(&r);
	assert_int_equal(noise_retry_tick(&r, T, 0, now_ns + 100 * S), NOISE_RETRY_IDLE);
	noise_retry_start(&r, now_ns + S);
	assert_int_equal(noise_retry_tick(&r, T, 0, now_ns + 5 * S - 1), NOISE_RETRY_IDLE);
	assert_int_equal(noise_retry_tick(&r, T, 0, now_ns + 5 * S), NOISE_RETRY_SEND);
	noise_retry_stop(&r);
	now_ns += 100 * S;
	noise_retry_start(&r, now_ns);
	assert_int_equal(noise_retry_tick(&r, T, 0, now_ns), NOISE_RETRY_SEND);
	/* Time jumps: the series is over, the next is not. */
	now_ns += 86400 * S;
	assert_int_equal(noise_retry_tick(&r, T, 0, now_ns), NOISE_RETRY_GIVE_UP);
	noise_retry_start(&r, now_ns);
	assert_int_equal(noise_retry_tick(&r, T, 0, now_ns), NOISE_RETRY_SEND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_passive_keepalive),
		WITH_FIXTURE(test_persistent_keepalive),
		WITH_FIXTURE(test_erase),
		WITH_FIXTURE(test_time_jumps_ahead),
		WITH_FIXTURE(test_busy_session_ticks_rarely),
		WITH_FIXTURE(test_random_walk),
		cmocka_unit_test(test_retry_series),
		cmocka_unit_test(test_retry_restart_and_stop),
	};

	return cmocka_run_group_tests_name("session_time", tests, NULL, NULL);
}
