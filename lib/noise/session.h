/* session.h - which keypair is used when: rotation, rekeying, keepalives, expiry.
 *
 * Rotation, as the handshake's two roles see it:
 *
 *   initiator, response opened:    current -> previous, new -> current; next, if any, is outrun
 *   responder, response created:   new -> next
 *   responder, packet under next:  current -> previous, next -> current, unless outrun (CONFIRMED)
 *
 * A next is outrun when the far end's initiation was overtaken by ours. Mostly the far end has
 * dropped it; if it did not, packets under it are in flight, so next still opens them.
 *
 * Liveness: no state waits for a message that may be lost. Whatever is in the three places, the
 * first packet that finds no usable key asks for a handshake, at the latest rekey_timeout later
 * from tick; and data that is not answered within keepalive + rekey_timeout asks too.
 *
 * Spec:      WireGuard paper, sections 6.1 to 6.5.
 * Purity:    times are arguments; what is to be done comes back as a verdict or as action bits.
 * Threads:   one writer, the peer's home worker.
 * Memory:    keypairs belong to the caller; a keypair that leaves the session is returned, once,
 *            through struct noise_retired and must be wiped by the caller.
 * Invariant: deadline_ns <= every armed timer, after every call.
 */
#ifndef PORTIER_NOISE_SESSION_H
#define PORTIER_NOISE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "noise/noise.h"

/* The protocol's constants (paper 6.1), variable for tests that run on accelerated time. */
struct noise_timing {
	uint64_t rekey_after_ns;   /* 120 s */
	uint64_t reject_after_ns;  /* 180 s */
	uint64_t rekey_attempt_ns; /* 90 s: give up beginning a handshake */
	uint64_t rekey_timeout_ns; /* 5 s between initiations, plus jitter */
	uint64_t keepalive_ns;	   /* 10 s: passive keepalive */
};
extern const struct noise_timing noise_timing_default;

/* All zero is a valid start: no keys, persistent keepalive off, one idle tick due. */
struct noise_session {
	struct noise_keypair *current;	/* used for sending */
	struct noise_keypair *previous; /* still accepted */
	struct noise_keypair *next;	/* responder's new one, until the initiator uses it */

	uint64_t deadline_ns; /* when tick is due at the latest; TIME_NEVER: no timer runs */

	/* Points in time; 0: not armed. Private to session.c. */
	uint64_t keepalive_due_ns;   /* answer what we received, if nothing else does */
	uint64_t handshake_due_ns;   /* we sent, or wanted to, and heard nothing */
	uint64_t persistent_due_ns;  /* nothing passed in either direction */
	uint64_t last_minute_due_ns; /* we only receive, and our key nears its end */
	/* Up to here a cache line: all that sent and received touch. */
	uint64_t erase_due_ns;		  /* 3 x reject_after with no new keys: wipe all */
	uint64_t ask_again_ns;		  /* no START_HANDSHAKE before */
	uint64_t persistent_keepalive_ns; /* 0: off, and persistent_due_ns is 0 */
	bool is_next_outrun;		  /* never to be used for sending */
};

struct noise_retired {
	struct noise_keypair *keypairs[3];
	unsigned n;
};

/* Action bits. */
#define NOISE_ACT_KEEPALIVE	  (1u << 0) /* send an empty data packet */
#define NOISE_ACT_START_HANDSHAKE (1u << 1) /* ask the handshake thread to initiate */
#define NOISE_ACT_CONFIRMED	  (1u << 2) /* next became current: held packets may go */

/* With a persistent keepalive the first one is due at once. */
void noise_session_init(struct noise_session *s, uint64_t persistent_keepalive_ns);
/* 0 turns it off. Turned on, the first is due at once; an unchanged interval changes nothing. */
void noise_session_set_persistent_keepalive(
	struct noise_session *s, uint64_t interval_ns, uint64_t now_ns);

/* A handshake completed; kp is filled, is_live, its created_ns set, and in no session. As
 * initiator it is current from now on: the caller then sends something, a keepalive if nothing is
 * held, which confirms the keys to the responder. As responder it is next. Adds up to two keypairs
 * to retired. */
void noise_session_install(struct noise_session *s, const struct noise_timing *t,
	struct noise_keypair *kp, uint64_t now_ns, struct noise_retired *retired);

/* Would reserve give a keypair now? Any thread, as long as keypairs stay readable: the answer of a
 * moment, for showing. */
bool noise_session_has_key(
	const struct noise_session *s, const struct noise_timing *t, uint64_t now_ns);

/* May packets be sent now, and with which keypair? NULL: no usable key (none, older than
 * reject_after, or too few counters left: then none is used up). *actions is or-ed with
 * NOISE_ACT_START_HANDSHAKE when a handshake is wanted (no key; or we are the initiator and it is
 * older than rekey_after; or the counter passed 2^60), at most once per rekey_timeout, and not
 * while a next younger than rekey_timeout may still be confirmed. n_pkts counters are reserved:
 * *counter is the first; untouched with NULL. */
struct noise_keypair *noise_session_reserve(struct noise_session *s, const struct noise_timing *t,
	uint32_t n_pkts, uint64_t now_ns, uint64_t *counter, unsigned *actions);

/* May a packet that arrived under kp be opened? False when kp is older than reject_after. A birth
 * that lies ahead of now_ns (another thread's clock read) is age 0. */
static inline bool noise_keypair_may_open(
	const struct noise_keypair *kp, const struct noise_timing *t, uint64_t now_ns)
{
	return kp->is_live && now_ns < kp->created_ns + t->reject_after_ns;
}

/* After tag and replay window: packets were received under kp, which is in this session. has_data:
 * at least one was not a keepalive. Returns action bits; rotates when kp is next (CONFIRMED). Once
 * per peer and burst; a handful of instructions unless it rotates. */
unsigned noise_session_received(struct noise_session *s, const struct noise_timing *t,
	struct noise_keypair *kp, bool has_data, uint64_t now_ns, struct noise_retired *retired);

/* Packets were sent. has_data and cost as above. */
void noise_session_sent(
	struct noise_session *s, const struct noise_timing *t, bool has_data, uint64_t now_ns);

/* Fire what is due; returns action bits and recomputes deadline_ns. Early is harmless; late, even
 * by days, fires each timer once. */
unsigned noise_session_tick(struct noise_session *s, const struct noise_timing *t, uint64_t now_ns,
	struct noise_retired *retired);

/* All keypairs leave, and a handshake may be asked for at once; the persistent keepalive stays. */
void noise_session_clear(struct noise_session *s, struct noise_retired *retired);

/* When initiations are repeated (paper 6.4): one attempt, then every rekey_timeout plus jitter
 * until rekey_attempt has passed. All zero is the valid start. W: handshake thread. */
struct noise_retry {
	uint64_t began_ns; /* of this series */
	uint64_t next_ns;  /* no initiation before, also that of the next series */
	bool is_running;
};

enum noise_retry_verdict {
	NOISE_RETRY_IDLE = 0, /* nothing to do now */
	NOISE_RETRY_SEND,     /* send an initiation now; next_ns is set */
	NOISE_RETRY_GIVE_UP,  /* rekey_attempt has passed: the series ended */
};

/* Ask for a handshake: begins a series if none runs; a running one gets its full time again (new
 * packets want out). The first initiation is due at once, unless that of an earlier series was sent
 * less than rekey_timeout ago. */
void noise_retry_start(struct noise_retry *r, uint64_t now_ns);
/* jitter is a random number; up to 333 ms (1/15 of rekey_timeout) is added by it. Two sides that
 * begin at the same instant, and so refuse each other's response, meet again only by chance. */
enum noise_retry_verdict noise_retry_tick(
	struct noise_retry *r, const struct noise_timing *t, uint32_t jitter, uint64_t now_ns);
/* A handshake completed. As initiator: the response opened. As responder: not when the response is
 * created, but when its keys are confirmed (NOISE_ACT_CONFIRMED): it may be lost, and after
 * crossing initiations both sides wait for a confirmation that never comes. */
void noise_retry_stop(struct noise_retry *r);

/* When noise_retry_tick is due; TIME_NEVER: no series runs. */
static inline uint64_t noise_retry_deadline_ns(const struct noise_retry *r)
{
	return r->is_running ? r->next_ns : TIME_NEVER;
}

#endif
