/* Which keypair is used when, and when a new one is asked for: one rule at a time. */
#include "session_fixture.h"

/* --- rotation --------------------------------------------------------------------------------- */

static void test_initiator_uses_new_keys_at_once(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp[4];
	unsigned actions;

	kp[0] = install(f, INITIATOR);
	assert_places(f, NULL, kp[0], NULL);
	assert_ptr_equal(send(f, true, &actions), kp[0]);
	kp[1] = install(f, INITIATOR);
	assert_places(f, kp[0], kp[1], NULL);
	assert_ptr_equal(send(f, true, &actions), kp[1]);
	assert_retired(f, NULL, NULL);
	kp[2] = install(f, INITIATOR);
	assert_places(f, kp[1], kp[2], NULL);
	assert_retired(f, kp[0], NULL);
	/* Late packets under previous rotate nothing. */
	assert_int_equal(receive(f, kp[1], true), 0);
	assert_places(f, kp[1], kp[2], NULL);
	assert_retired(f, NULL, NULL);
}

static void test_responder_waits_for_proof(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp[4];
	unsigned actions;

	kp[0] = install(f, RESPONDER);
	assert_places(f, NULL, NULL, kp[0]);
	assert_null(send(f, true, &actions));
	assert_int_equal(receive(f, kp[0], false), NOISE_ACT_CONFIRMED);
	assert_places(f, NULL, kp[0], NULL);
	assert_int_equal(receive(f, kp[0], false), 0);

	kp[1] = install(f, RESPONDER);
	assert_places(f, NULL, kp[0], kp[1]);
	assert_ptr_equal(send(f, true, &actions), kp[0]);
	assert_int_equal(receive(f, kp[0], true), 0); /* still the old keys: proves nothing */
	assert_places(f, NULL, kp[0], kp[1]);
	assert_int_equal(receive(f, kp[1], true), NOISE_ACT_CONFIRMED);
	assert_places(f, kp[0], kp[1], NULL);
	assert_ptr_equal(send(f, true, &actions), kp[1]);
	assert_retired(f, NULL, NULL);

	kp[2] = install(f, RESPONDER);
	assert_places(f, kp[0], kp[1], kp[2]); /* packets under previous may be in flight */
	kp[3] = install(f, RESPONDER); /* the initiator tried again: the first response is lost */
	assert_places(f, kp[0], kp[1], kp[3]);
	assert_retired(f, kp[2], NULL);
	assert_int_equal(receive(f, kp[3], false), NOISE_ACT_CONFIRMED);
	assert_places(f, kp[1], kp[3], NULL);
	assert_retired(f, kp[0], NULL);
}

/* Both ends begin: we hold an unconfirmed next when our own handshake completes. The far end may
 * have dropped next (and still sends under current), or not (and sends under next). */
static void test_crossing_as_initiator(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *old, *older, *theirs, *ours, *newer;
	unsigned actions;

	older = install(f, INITIATOR);
	old = install(f, INITIATOR);
	theirs = install(f, RESPONDER);
	ours = install(f, INITIATOR);
	assert_places(f, old, ours, theirs);
	assert_retired(f, older, NULL);
	/* Going back would leave each end with keys that the other is to renew. */
	assert_int_equal(receive(f, theirs, true), 0);
	assert_places(f, old, ours, theirs);
	assert_ptr_equal(send(f, true, &actions), ours);
	/* Nor does it keep us from rekeying. */
	noise_session_clear(&f->s, &f->retired);
	f->retired.n = 0;
	theirs = install(f, RESPONDER);
	ours = install(f, INITIATOR);
	ours->send_counter = NOISE_REKEY_AFTER_MSGS;
	assert_ptr_equal(send(f, true, &actions), ours);
	assert_int_equal(actions, START);
	newer = install(f, INITIATOR);
	assert_places(f, ours, newer, NULL);
	assert_retired(f, theirs, NULL);
	/* A new next is an ordinary one again. */
	theirs = install(f, RESPONDER);
	assert_int_equal(receive(f, theirs, true), NOISE_ACT_CONFIRMED);
	assert_places(f, newer, theirs, NULL);
	assert_retired(f, ours, NULL);
}

static void test_outrun_next_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *outrun = install(f, RESPONDER), *ours = install(f, INITIATOR);
	struct noise_keypair *theirs = install(f, RESPONDER);

	assert_places(f, NULL, ours, theirs);
	assert_retired(f, outrun, NULL);
	assert_int_equal(receive(f, theirs, true), NOISE_ACT_CONFIRMED);
	assert_places(f, ours, theirs, NULL);
}

static void test_crossing_as_responder(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *ours, *theirs;

	ours = install(f, INITIATOR);
	theirs = install(f, RESPONDER);
	assert_places(f, NULL, ours, theirs);
	assert_int_equal(receive(f, ours, true), 0);
	assert_int_equal(receive(f, theirs, false), NOISE_ACT_CONFIRMED);
	assert_places(f, ours, theirs, NULL);
	assert_retired(f, NULL, NULL);
}

static void test_clear_retires_all_once(void **state)
{
	struct fixture *f = *state;
	unsigned actions;

	send(f, true, &actions);
	assert_int_equal(actions, START);
	install(f, INITIATOR);
	install(f, INITIATOR);
	install(f, RESPONDER);
	receive(f, f->s.current, true);
	noise_session_clear(&f->s, &f->retired);
	assert_int_equal(f->retired.n, 3);
	for (unsigned i = 0; i < 3; i++)
		f->retired.keypairs[i]->is_live = false;
	for (unsigned i = 0; i < 3; i++)
		assert_false(f->pool[i].is_live);
	assert_places(f, NULL, NULL, NULL);
	assert_true(f->s.deadline_ns == TIME_NEVER);
	f->retired.n = 0;
	noise_session_clear(&f->s, &f->retired);
	assert_int_equal(f->retired.n, 0);
	/* A handshake may be asked for at once. */
	assert_null(send(f, true, &actions));
	assert_int_equal(actions, START);

	install(f, INITIATOR);
	send(f, true, &actions);
	noise_session_clear(&f->s, &f->retired);
	assert_true(f->s.deadline_ns == TIME_NEVER);
}

static void test_zeroed_is_a_valid_start(void **state)
{
	struct fixture *f = *state;
	unsigned actions;

	memset(&f->s, 0, sizeof(f->s));
	assert_int_equal(tick(f), 0);
	assert_true(f->s.deadline_ns == TIME_NEVER);
	memset(&f->s, 0, sizeof(f->s));
	assert_null(send(f, true, &actions));
	assert_int_equal(actions, START);
	install(f, INITIATOR);
	assert_non_null(send(f, true, &actions));
}

/* --- when keys may be used -------------------------------------------------------------------- */

static void test_reject_by_time(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp;
	unsigned actions;

	for (enum role role = RESPONDER; role <= INITIATOR; role++) {
		kp = install(f, role);
		receive(f, kp, false);
		f->now_ns = kp->created_ns + 180 * S - 1;
		assert_true(noise_keypair_may_open(kp, T, f->now_ns));
		assert_ptr_equal(send(f, true, &actions), kp);
		f->now_ns++;
		assert_false(noise_keypair_may_open(kp, T, f->now_ns));
		/* So that the request is due again, whoever asked just now. */
		f->now_ns += 5 * S;
		assert_null(send(f, true, &actions));
		assert_int_equal(actions, START);
	}
	kp->is_live = false;
	assert_false(noise_keypair_may_open(kp, T, kp->created_ns));
	kp->is_live = true;
	/* Born by another thread's clock, which was read a little later than ours. */
	assert_true(noise_keypair_may_open(kp, T, kp->created_ns - 1));
	f->now_ns = kp->created_ns - 1;
	assert_ptr_equal(send(f, true, &actions), kp);
	assert_int_equal(actions, 0);
}

static void test_reject_by_count(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp = install(f, RESPONDER);
	unsigned actions = 0;
	uint64_t counter = 77;

	receive(f, kp, false);
	kp->send_counter = NOISE_REJECT_AFTER_MSGS - 3;
	f->s.ask_again_ns = f->now_ns + 5 * S; /* rekeying was asked for long before */
	assert_null(noise_session_reserve(&f->s, T, 4, f->now_ns, &counter, &actions));
	assert_int_equal(counter, 77);
	assert_null(noise_session_reserve(&f->s, T, UINT32_MAX, f->now_ns, &counter, &actions));
	assert_ptr_equal(noise_session_reserve(&f->s, T, 2, f->now_ns, &counter, &actions), kp);
	assert_true(counter == NOISE_REJECT_AFTER_MSGS - 3);
	assert_ptr_equal(noise_session_reserve(&f->s, T, 1, f->now_ns, &counter, &actions), kp);
	assert_true(counter == NOISE_REJECT_AFTER_MSGS - 1);
	assert_true(noise_replay_accept(&kp->replay, counter)); /* the far end takes the last one */
	assert_null(noise_session_reserve(&f->s, T, 1, f->now_ns, &counter, &actions));
	assert_int_equal(actions, 0);
	f->now_ns += 5 * S;
	assert_null(noise_session_reserve(&f->s, T, 1, f->now_ns, &counter, &actions));
	assert_int_equal(actions, START);
	assert_true(kp->send_counter == NOISE_REJECT_AFTER_MSGS);
}

static void test_counters_are_never_given_twice(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp = install(f, INITIATOR);
	uint64_t expected = 0, counter;
	unsigned actions;

	for (uint32_t n = 1; n < 100; n++) {
		assert_ptr_equal(
			noise_session_reserve(&f->s, T, n, f->now_ns, &counter, &actions), kp);
		assert_true(counter == expected);
		expected += n;
	}
}

/* --- rekeying --------------------------------------------------------------------------------- */

static void test_rekey_by_time_is_the_initiators_duty(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp = install(f, INITIATOR);
	unsigned actions;

	f->now_ns = kp->created_ns + 120 * S - 1;
	assert_ptr_equal(send(f, true, &actions), kp);
	assert_int_equal(actions, 0);
	f->now_ns++;
	assert_ptr_equal(send(f, true, &actions), kp); /* and the old keys carry on meanwhile */
	assert_int_equal(actions, START);
	f->now_ns += 5 * S - 1;
	assert_ptr_equal(send(f, true, &actions), kp);
	assert_int_equal(actions, 0);
	f->now_ns++;
	assert_ptr_equal(send(f, true, &actions), kp);
	assert_int_equal(actions, START);

	kp = install(f, RESPONDER);
	receive(f, kp, false);
	f->now_ns = kp->created_ns + 180 * S - 1;
	assert_ptr_equal(send(f, true, &actions), kp);
	assert_int_equal(actions, 0);
}

static void test_rekey_by_count_in_both_roles(void **state)
{
	struct fixture *f = *state;
	unsigned actions;

	for (enum role role = RESPONDER; role <= INITIATOR; role++) {
		struct noise_keypair *kp = install(f, role);

		receive(f, kp, false);
		kp->send_counter = NOISE_REKEY_AFTER_MSGS - 1;
		assert_ptr_equal(send(f, true, &actions), kp);
		assert_int_equal(actions, 0);
		assert_ptr_equal(send(f, true, &actions), kp);
		assert_int_equal(actions, START);
		assert_ptr_equal(send(f, true, &actions), kp);
		assert_int_equal(actions, 0);
		f->now_ns += 5 * S;
	}
}

static void test_no_key_asks_at_most_once_per_timeout(void **state)
{
	struct fixture *f = *state;
	unsigned n_asked = 0, actions;

	for (uint64_t ms = 0; ms < 60000; ms += 10) {
		f->now_ns = EPOCH + ms * NS_IN_MS;
		assert_null(send(f, true, &actions));
		n_asked += (actions & START) != 0;
	}
	assert_int_equal(n_asked, 12);
}

/* The request, or the packet that would confirm, is lost, and nobody sends a second packet. */
static void test_lost_request_is_repeated_once(void **state)
{
	struct fixture *f = *state;
	unsigned actions;

	assert_null(send(f, true, &actions));
	assert_int_equal(actions, START);
	assert_int_equal(sleep_until(f, EPOCH + 1000 * S), START);
	assert_true(f->now_ns == EPOCH + 5 * S);
	assert_int_equal(sleep_until(f, EPOCH + 1000 * S), 0);
}

static void test_no_request_while_confirmation_is_near(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp = install(f, RESPONDER);
	unsigned actions;

	/* The response has just left: beginning now would cross with its confirmation. */
	f->now_ns += NS_IN_MS;
	assert_null(send(f, true, &actions));
	assert_int_equal(actions, 0);
	assert_int_equal(receive(f, kp, false), NOISE_ACT_CONFIRMED);
	assert_int_equal(sleep_until(f, EPOCH + 100 * S), 0);

	/* The same with an aged key of ours, and a next that is never confirmed. */
	kp = install(f, INITIATOR);
	f->now_ns += 121 * S;
	install(f, RESPONDER);
	assert_ptr_equal(send(f, true, &actions), kp);
	assert_int_equal(actions, 0);
	f->now_ns += 5 * S;
	assert_ptr_equal(send(f, true, &actions), kp);
	assert_int_equal(actions, START);
}

static void test_next_never_confirmed(void **state)
{
	struct fixture *f = *state;
	unsigned actions;

	install(f, RESPONDER);
	assert_null(send(f, true, &actions));
	assert_int_equal(actions, 0);
	/* One packet was enough to make us ask. */
	assert_int_equal(sleep_until(f, EPOCH + 1000 * S), START);
	assert_true(f->now_ns == EPOCH + 5 * S);
	assert_int_equal(f->retired.n, 0);
}

/* A far end that begins again and again, and never confirms, does not keep us from asking. */
static void test_next_renewed_and_never_confirmed(void **state)
{
	struct fixture *f = *state;
	unsigned n_asked = 0, actions;

	for (unsigned second = 0; second < 60; second++) {
		if (second % 3 == 0)
			install(f, RESPONDER);
		assert_null(send(f, true, &actions));
		n_asked += (actions & START) != 0;
		actions = sleep_until(f, f->now_ns + S);
		n_asked += (actions & START) != 0;
		f->now_ns = EPOCH + (second + 1) * S;
		f->retired.n = 0;
	}
	assert_in_range(n_asked, 10, 12);
}

static void test_current_expires_while_next_is_unconfirmed(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp = install(f, RESPONDER);
	unsigned actions;

	receive(f, kp, false);
	f->now_ns = EPOCH + 170 * S;
	install(f, RESPONDER);
	f->now_ns = EPOCH + 179 * S;
	assert_ptr_equal(send(f, true, &actions), kp);
	assert_int_equal(actions, 0);
	f->now_ns = EPOCH + 180 * S;
	assert_null(send(f, true, &actions));
	assert_int_equal(actions, START);
	/* The far end answers, as responder: everything is in order again. */
	kp = install(f, INITIATOR);
	assert_ptr_equal(send(f, true, &actions), kp);
	assert_int_equal(actions, 0);
}

static void test_silence_after_data_asks(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp = install(f, INITIATOR);
	unsigned actions;

	send(f, false, &actions); /* a keepalive wants no answer */
	assert_int_equal(sleep_until(f, EPOCH + 20 * S), 0);

	assert_ptr_equal(send(f, true, &actions), kp);
	f->now_ns += 14 * S;
	send(f, true, &actions); /* counts from the first unanswered packet */
	assert_int_equal(sleep_until(f, f->now_ns + S - 1), 0);
	assert_int_equal(sleep_until(f, f->now_ns + 1), START);
	assert_true(f->now_ns == EPOCH + 35 * S);
	assert_int_equal(sleep_until(f, f->now_ns + 60 * S), 0); /* the retries are not ours */

	/* Any authenticated packet is an answer, also an empty one, also under previous. */
	install(f, INITIATOR);
	send(f, true, &actions);
	f->now_ns += 14 * S;
	receive(f, kp, false);
	assert_int_equal(sleep_until(f, f->now_ns + 60 * S), 0);
	/* So is a response. */
	send(f, true, &actions);
	f->now_ns += 14 * S;
	install(f, INITIATOR);
	assert_int_equal(sleep_until(f, f->now_ns + 60 * S), 0);
	/* An initiation that is never confirmed is none. */
	send(f, true, &actions);
	f->now_ns += 14 * S;
	install(f, RESPONDER);
	assert_int_equal(sleep_until(f, f->now_ns + S), START);
}

static void test_receiving_initiator_asks_once(void **state)
{
	struct fixture *f = *state;
	struct noise_keypair *kp = install(f, INITIATOR), *theirs;

	f->now_ns = EPOCH + 165 * S - 1;
	assert_int_equal(receive(f, kp, true), 0);
	f->now_ns++;
	assert_int_equal(receive(f, kp, true), START);
	for (; f->now_ns < EPOCH + 180 * S; f->now_ns += S)
		assert_int_equal(receive(f, kp, true), 0);

	/* Each key has its own chance, and only as initiator. */
	f->now_ns = EPOCH + 200 * S;
	kp = install(f, INITIATOR);
	theirs = install(f, RESPONDER);
	assert_int_equal(receive(f, theirs, true), NOISE_ACT_CONFIRMED);
	f->now_ns += 179 * S;
	assert_int_equal(receive(f, theirs, true), 0);
	kp = install(f, INITIATOR);
	f->now_ns += 165 * S;
	assert_int_equal(receive(f, kp, true), START);
}

/* Timing whose parts do not fit into each other, as a test configuration may have it. */
static void test_last_minute_of_a_short_life(void **state)
{
	struct fixture *f = *state;
	struct noise_timing t = *T;
	struct noise_keypair *kp;

	f->now_ns = S; /* and an uptime shorter than they are */
	kp = new_keypair(f, INITIATOR);
	t.reject_after_ns = 3 * S;
	noise_session_install(&f->s, &t, kp, f->now_ns, &f->retired);
	assert_int_equal(
		noise_session_received(&f->s, &t, kp, true, f->now_ns, &f->retired), START);
	assert_int_equal(noise_session_received(&f->s, &t, kp, true, f->now_ns, &f->retired), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_initiator_uses_new_keys_at_once),
		WITH_FIXTURE(test_responder_waits_for_proof),
		WITH_FIXTURE(test_crossing_as_initiator),
		WITH_FIXTURE(test_outrun_next_is_replaced),
		WITH_FIXTURE(test_crossing_as_responder),
		WITH_FIXTURE(test_clear_retires_all_once),
		WITH_FIXTURE(test_zeroed_is_a_valid_start),
		WITH_FIXTURE(test_reject_by_time),
		WITH_FIXTURE(test_reject_by_count),
		WITH_FIXTURE(test_counters_are_never_given_twice),
		WITH_FIXTURE(test_rekey_by_time_is_the_initiators_duty),
		WITH_FIXTURE(test_rekey_by_count_in_both_roles),
		WITH_FIXTURE(test_no_key_asks_at_most_once_per_timeout),
		WITH_FIXTURE(test_lost_request_is_repeated_once),
		WITH_FIXTURE(test_no_request_while_confirmation_is_near),
		WITH_FIXTURE(test_next_never_confirmed),
		WITH_FIXTURE(test_next_renewed_and_never_confirmed),
		WITH_FIXTURE(test_current_expires_while_next_is_unconfirmed),
		WITH_FIXTURE(test_silence_after_data_asks),
		WITH_FIXTURE(test_receiving_initiator_asks_once),
		WITH_FIXTURE(test_last_minute_of_a_short_life),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
