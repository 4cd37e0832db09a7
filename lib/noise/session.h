/* session.h - which keypair is used when: rotation, rekeying, keepalives, expiry.
 *
 * Spec:      WireGuard paper, sections 6.1 to 6.5.
 * Purity:    times are arguments; what is to be done comes back as a verdict or as action bits.
 * Threads:   one writer, the peer's home worker.
 * Memory:    keypairs belong to the caller; a keypair that leaves the session is returned, once,
 *            through struct noise_retired and must be wiped by the caller.
 */
#ifndef PORTIER_NOISE_SESSION_H
#define PORTIER_NOISE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "noise/noise.h"

/* The protocol's constants (paper 6.1), variable for tests that run on accelerated time. */
struct noise_timing {
	uint64_t rekey_after_ns;   /* 120 s */
	uint64_t reject_after_ns;  /* 180 s */
	uint64_t rekey_attempt_ns; /* 90 s: give up beginning a handshake */
	uint64_t rekey_timeout_ns; /* 5 s between initiations, plus jitter */
	uint64_t keepalive_ns;     /* 10 s: passive keepalive */
};
extern const struct noise_timing noise_timing_default;

struct noise_session {
	struct noise_keypair *current;  /* used for sending */
	struct noise_keypair *previous; /* still accepted */
	struct noise_keypair *next;     /* responder's new one, until the initiator uses it */

	uint64_t deadline_ns; /* when tick is due at the latest; TIME_NEVER: no timer runs */

	/* Timers, as points in time; 0 or TIME_NEVER: not armed. Private to session.c. */
	uint64_t keepalive_due_ns;  /* answer what we received, if nothing else does */
	uint64_t handshake_due_ns;  /* we sent and heard nothing */
	uint64_t persistent_due_ns;
	uint64_t erase_due_ns;      /* 3 x reject_after with no new keys: wipe all */
	uint64_t handshake_asked_ns; /* last START_HANDSHAKE, to ask at most once per rekey_timeout */
	uint64_t persistent_keepalive_ns; /* 0: off */
};

struct noise_retired {
	struct noise_keypair *keypairs[3];
	unsigned n;
};

/* Action bits. */
#define NOISE_ACT_KEEPALIVE       (1u << 0) /* send an empty data packet */
#define NOISE_ACT_START_HANDSHAKE (1u << 1) /* ask the handshake thread to initiate */
#define NOISE_ACT_CONFIRMED       (1u << 2) /* next became current: held packets may go */

void noise_session_init(struct noise_session *s, uint64_t persistent_keepalive_ns);
void noise_session_set_persistent_keepalive(struct noise_session *s, uint64_t interval_ns,
	uint64_t now_ns);

/* A handshake completed. As initiator: current -> previous, kp -> current (the caller then sends
 * something, a keepalive if nothing is held: that confirms the keys to the responder). As responder:
 * kp -> next, used for sending only after the initiator proved it has it. */
void noise_session_install(struct noise_session *s, const struct noise_timing *t,
	struct noise_keypair *kp, uint64_t now_ns, struct noise_retired *retired);

/* May packets be sent now, and with which keypair? NULL: no usable key (none, older than
 * reject_after, or counter used up). *actions gets NOISE_ACT_START_HANDSHAKE when a handshake is
 * wanted (no key; or we are the initiator and it is older than rekey_after; or the counter passed
 * 2^60), at most once per rekey_timeout. n_pkts counters are reserved: *counter is the first. */
struct noise_keypair *noise_session_reserve(struct noise_session *s, const struct noise_timing *t,
	uint32_t n_pkts, uint64_t now_ns, uint64_t *counter, unsigned *actions);

/* May a packet that arrived under kp be opened? False when kp is older than reject_after. */
static inline bool noise_keypair_may_open(const struct noise_keypair *kp,
	const struct noise_timing *t, uint64_t now_ns)
{
	return kp->is_live && now_ns - kp->created_ns < t->reject_after_ns;
}

/* After tag and replay window: packets were received under kp. has_data: at least one was not a
 * keepalive. Returns action bits; rotates when kp is next (CONFIRMED). */
unsigned noise_session_received(struct noise_session *s, const struct noise_timing *t,
	struct noise_keypair *kp, bool has_data, uint64_t now_ns, struct noise_retired *retired);

/* Packets were sent. has_data as above. */
void noise_session_sent(struct noise_session *s, const struct noise_timing *t, bool has_data,
	uint64_t now_ns);

/* Fire what is due; returns action bits and recomputes deadline_ns. */
unsigned noise_session_tick(struct noise_session *s, const struct noise_timing *t, uint64_t now_ns,
	struct noise_retired *retired);

/* All keypairs leave. */
void noise_session_clear(struct noise_session *s, struct noise_retired *retired);

/* When initiations are repeated (paper 6.4): one attempt, then every rekey_timeout plus jitter until
 * rekey_attempt has passed. W: handshake thread. */
struct noise_retry {
	uint64_t began_ns; /* of this series; 0: no series runs */
	uint64_t next_ns;  /* when the next initiation is due */
};

enum noise_retry_verdict {
	NOISE_RETRY_IDLE = 0, /* nothing to do now */
	NOISE_RETRY_SEND,     /* send an initiation now; next_ns is set */
	NOISE_RETRY_GIVE_UP,  /* rekey_attempt has passed: the series ended */
};

/* Ask for a handshake: begins a series if none runs; a running one gets its full time again (new
 * packets want out). jitter is a random number; up to 333 ms (1/15 of rekey_timeout) is added. */
void noise_retry_start(struct noise_retry *r, uint64_t now_ns);
enum noise_retry_verdict noise_retry_tick(struct noise_retry *r, const struct noise_timing *t,
	uint32_t jitter, uint64_t now_ns);
/* A handshake completed, in either role. */
void noise_retry_stop(struct noise_retry *r);

#endif
