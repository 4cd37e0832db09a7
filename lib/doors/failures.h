/* failures.h - what came to nothing at a door, how often and when last: so that a lease can be
 * explained.
 *
 * Memory:  two lines a door, apart from what packets that pass read and write; they are touched
 *          when something fails, so a door at which nothing does costs address space only.
 * Threads: W: home worker of the peer, R: control. While the peer has no home any worker writes, a
 *          few times a second: whoever floods such a door makes no workers pass a line to and fro,
 *          and two of them that write at once lose one count.
 */
#ifndef PORTIER_DOORS_FAILURES_H
#define PORTIER_DOORS_FAILURES_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

/* X(name, help): in the order in which they explain a lease: what keeps all from the program, then
 * what keeps some packets or senders from it. All but the first can be brought about from outside,
 * by whoever sends to a port where only the other protocol is listened to, too much, or from
 * elsewhere; so one may hide those behind it for a while, but never in the list. */
#define DOOR_FAILURES(X)                                                                  \
	X(peer_unreachable, "packets that the peer could not be sent: it did not answer") \
	X(no_listener_tcp, "connections that the peer refused")                           \
	X(no_listener_udp, "datagrams that the peer refused")                             \
	X(lease_flows, "packets of more new flows than the lease takes in a second")      \
	X(lease_rate, "packets beyond those that the lease takes in a second")            \
	X(too_big, "packets larger than the tunnel takes that must not be cut")           \
	X(lease_source, "packets from a source that the lease does not admit")

enum door_failure {
#define X(name, help) DOOR_FAILURE_##name,
	DOOR_FAILURES(X)
#undef X
		DOOR_N_FAILURES
};

/* While the peer has no home. */
#define DOOR_FAILURE_SHARED_NS (250 * NS_IN_MS)

struct door_failures {
	struct {
		uint64_t n, last_ns; /* n 0: never */
	} of[DOOR_N_FAILURES];
} __attribute__((aligned(64)));

static_assert(sizeof(struct door_failures) == 128, "two lines a door");

/* The words of the list. */
const char *door_failure_name(enum door_failure failure);
const char *door_failure_help(enum door_failure failure);

/* One more. is_shared: the peer has no home. O(1), waits for nobody. */
static inline void door_failures_note(
	struct door_failures *f, enum door_failure failure, bool is_shared, uint64_t now_ns)
{
	uint64_t *n = &f->of[failure].n, *last_ns = &f->of[failure].last_ns;

	if (is_shared &&
		now_ns - __atomic_load_n(last_ns, __ATOMIC_RELAXED) < DOOR_FAILURE_SHARED_NS)
		return;
	__atomic_store_n(last_ns, now_ns, __ATOMIC_RELAXED);
	__atomic_store_n(n, __atomic_load_n(n, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

#endif
