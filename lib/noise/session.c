#include "noise/session.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static_assert(offsetof(struct noise_session, erase_due_ns) == 64, "the packet path's line");

const struct noise_timing noise_timing_default = {
	.rekey_after_ns = 120 * NS_IN_S,
	.reject_after_ns = 180 * NS_IN_S,
	.rekey_attempt_ns = 90 * NS_IN_S,
	.rekey_timeout_ns = 5 * NS_IN_S,
	.keepalive_ns = 10 * NS_IN_S,
};

static inline void lower_deadline(struct noise_session *s, uint64_t at_ns)
{
	if (at_ns < s->deadline_ns)
		s->deadline_ns = at_ns;
}

/* 0 means "not armed", so the first instant of time is 1. */
static inline void arm(struct noise_session *s, uint64_t *timer_ns, uint64_t at_ns)
{
	*timer_ns = at_ns ? at_ns : 1;
	lower_deadline(s, *timer_ns);
}

static inline bool is_due(uint64_t timer_ns, uint64_t now_ns)
{
	return timer_ns != 0 && now_ns >= timer_ns;
}

static void recompute_deadline(struct noise_session *s)
{
	const uint64_t timers_ns[] = {
		s->keepalive_due_ns, s->handshake_due_ns, s->persistent_due_ns, s->erase_due_ns};

	s->deadline_ns = TIME_NEVER;
	for (size_t i = 0; i < sizeof(timers_ns) / sizeof(timers_ns[0]); i++) {
		if (timers_ns[i] != 0)
			lower_deadline(s, timers_ns[i]);
	}
}

static void retire(struct noise_keypair **place, struct noise_retired *retired)
{
	if (*place)
		retired->keypairs[retired->n++] = *place;
	*place = NULL;
}

/* At most one START_HANDSHAKE per rekey_timeout leaves the session. */
static unsigned ask(struct noise_session *s, const struct noise_timing *t, uint64_t now_ns)
{
	if (now_ns < s->ask_again_ns)
		return 0;
	s->ask_again_ns = now_ns + t->rekey_timeout_ns;
	return NOISE_ACT_START_HANDSHAKE;
}

/* current changed. An initiator that only receives asks shortly before the key ends, while the
 * far end can still send (paper 6.2: reject - keepalive - rekey_timeout); once for each key. */
static void set_last_minute(struct noise_session *s, const struct noise_timing *t)
{
	uint64_t margin_ns = t->keepalive_ns + t->rekey_timeout_ns;

	s->last_minute_due_ns = 0;
	if (!s->current->is_initiator)
		return;
	s->last_minute_due_ns = s->current->created_ns;
	if (t->reject_after_ns > margin_ns)
		s->last_minute_due_ns += t->reject_after_ns - margin_ns;
}

void noise_session_init(struct noise_session *s, uint64_t persistent_keepalive_ns)
{
	memset(s, 0, sizeof(*s));
	s->deadline_ns = TIME_NEVER;
	noise_session_set_persistent_keepalive(s, persistent_keepalive_ns, 0);
}

void noise_session_set_persistent_keepalive(
	struct noise_session *s, uint64_t interval_ns, uint64_t now_ns)
{
	if (interval_ns == s->persistent_keepalive_ns)
		return;
	s->persistent_keepalive_ns = interval_ns;
	s->persistent_due_ns = 0;
	if (interval_ns != 0)
		arm(s, &s->persistent_due_ns, now_ns);
}

void noise_session_install(struct noise_session *s, const struct noise_timing *t,
	struct noise_keypair *kp, uint64_t now_ns, struct noise_retired *retired)
{
	if (kp->is_initiator) {
		if (s->is_next_outrun)
			retire(&s->next, retired);
		s->is_next_outrun = s->next != NULL;
		retire(&s->previous, retired);
		s->previous = s->current;
		s->current = kp;
		s->handshake_due_ns = 0;
		set_last_minute(s, t);
	} else {
		/* previous stays until next is confirmed: packets under it may be in flight.
		 * handshake_due stays too: an unconfirmed key is no answer. */
		retire(&s->next, retired);
		s->next = kp;
		s->is_next_outrun = false;
	}
	arm(s, &s->erase_due_ns, now_ns + 3 * t->reject_after_ns);
}

/* A response of ours has just left: beginning now would cross with its confirmation. */
static bool is_confirmation_near(
	const struct noise_session *s, const struct noise_timing *t, uint64_t now_ns)
{
	return s->next && !s->is_next_outrun && now_ns < s->next->created_ns + t->rekey_timeout_ns;
}

/* No usable key: a handshake now, or a little later if one is about to complete without us. Either
 * way tick asks once more, should the request or the confirmation be lost. */
static unsigned want_key(struct noise_session *s, const struct noise_timing *t, uint64_t now_ns)
{
	if (s->handshake_due_ns == 0 || s->handshake_due_ns > now_ns + t->rekey_timeout_ns)
		arm(s, &s->handshake_due_ns, now_ns + t->rekey_timeout_ns);
	return is_confirmation_near(s, t, now_ns) ? 0 : ask(s, t, now_ns);
}

static inline bool may_send(const struct noise_keypair *kp, const struct noise_timing *t,
	uint32_t n_pkts, uint64_t now_ns)
{
	return kp && noise_keypair_may_open(kp, t, now_ns) &&
	       n_pkts <= NOISE_REJECT_AFTER_MSGS - kp->send_counter;
}

bool noise_session_has_key(
	const struct noise_session *s, const struct noise_timing *t, uint64_t now_ns)
{
	return may_send(__atomic_load_n(&s->current, __ATOMIC_RELAXED), t, 1, now_ns);
}

struct noise_keypair *noise_session_reserve(struct noise_session *s, const struct noise_timing *t,
	uint32_t n_pkts, uint64_t now_ns, uint64_t *counter, unsigned *actions)
{
	struct noise_keypair *kp = s->current;

	if (!may_send(kp, t, n_pkts, now_ns)) {
		*actions |= want_key(s, t, now_ns);
		return NULL;
	}
	*counter = kp->send_counter;
	kp->send_counter += n_pkts;

	/* Paper 6.2. The responder leaves rekeying by time to the initiator: otherwise both would
	 * begin at once. */
	bool is_aged = kp->is_initiator && now_ns >= kp->created_ns + t->rekey_after_ns;

	if ((is_aged || kp->send_counter > NOISE_REKEY_AFTER_MSGS) &&
		!is_confirmation_near(s, t, now_ns))
		*actions |= ask(s, t, now_ns);
	return kp;
}

static void confirm_next(
	struct noise_session *s, const struct noise_timing *t, struct noise_retired *retired)
{
	retire(&s->previous, retired);
	s->previous = s->current;
	s->current = s->next;
	s->next = NULL;
	set_last_minute(s, t);
}

unsigned noise_session_received(struct noise_session *s, const struct noise_timing *t,
	struct noise_keypair *kp, bool has_data, uint64_t now_ns, struct noise_retired *retired)
{
	unsigned actions = 0;

	s->handshake_due_ns = 0;
	if (has_data && s->keepalive_due_ns == 0)
		arm(s, &s->keepalive_due_ns, now_ns + t->keepalive_ns);
	if (s->persistent_due_ns != 0)
		arm(s, &s->persistent_due_ns, now_ns + s->persistent_keepalive_ns);
	if (kp == s->next && !s->is_next_outrun) {
		confirm_next(s, t, retired);
		actions |= NOISE_ACT_CONFIRMED;
	}
	if (is_due(s->last_minute_due_ns, now_ns) && ask(s, t, now_ns)) {
		s->last_minute_due_ns = 0;
		actions |= NOISE_ACT_START_HANDSHAKE;
	}
	return actions;
}

void noise_session_sent(
	struct noise_session *s, const struct noise_timing *t, bool has_data, uint64_t now_ns)
{
	s->keepalive_due_ns = 0;
	if (has_data && s->handshake_due_ns == 0)
		arm(s, &s->handshake_due_ns, now_ns + t->keepalive_ns + t->rekey_timeout_ns);
	if (s->persistent_due_ns != 0)
		arm(s, &s->persistent_due_ns, now_ns + s->persistent_keepalive_ns);
}

unsigned noise_session_tick(struct noise_session *s, const struct noise_timing *t, uint64_t now_ns,
	struct noise_retired *retired)
{
	unsigned actions = 0;

	if (is_due(s->erase_due_ns, now_ns)) {
		retire(&s->current, retired);
		retire(&s->previous, retired);
		retire(&s->next, retired);
		s->erase_due_ns = 0;
		s->keepalive_due_ns = 0;
		s->last_minute_due_ns = 0;
	}
	if (is_due(s->keepalive_due_ns, now_ns)) {
		s->keepalive_due_ns = 0;
		actions |= NOISE_ACT_KEEPALIVE;
	}
	if (is_due(s->persistent_due_ns, now_ns)) {
		s->persistent_due_ns = now_ns + s->persistent_keepalive_ns;
		actions |= NOISE_ACT_KEEPALIVE;
	}
	if (is_due(s->handshake_due_ns, now_ns)) {
		/* Asked a moment ago: that answer may still come, and if it does not, we ask. */
		unsigned asked = ask(s, t, now_ns);

		s->handshake_due_ns = asked ? 0 : s->ask_again_ns;
		actions |= asked;
	}
	recompute_deadline(s);
	return actions;
}

void noise_session_clear(struct noise_session *s, struct noise_retired *retired)
{
	retire(&s->current, retired);
	retire(&s->previous, retired);
	retire(&s->next, retired);
	s->keepalive_due_ns = 0;
	s->handshake_due_ns = 0;
	s->erase_due_ns = 0;
	s->last_minute_due_ns = 0;
	s->ask_again_ns = 0;
	recompute_deadline(s);
}

void noise_retry_start(struct noise_retry *r, uint64_t now_ns)
{
	if (r->next_ns < now_ns)
		r->next_ns = now_ns;
	r->is_running = true;
	r->began_ns = now_ns;
}

enum noise_retry_verdict noise_retry_tick(
	struct noise_retry *r, const struct noise_timing *t, uint32_t jitter, uint64_t now_ns)
{
	if (!r->is_running || now_ns < r->next_ns)
		return NOISE_RETRY_IDLE;
	if (now_ns >= r->began_ns + t->rekey_attempt_ns) {
		r->is_running = false;
		return NOISE_RETRY_GIVE_UP;
	}
	r->next_ns = now_ns + t->rekey_timeout_ns + jitter % (t->rekey_timeout_ns / 15 + 1);
	return NOISE_RETRY_SEND;
}

void noise_retry_stop(struct noise_retry *r)
{
	r->is_running = false;
}
