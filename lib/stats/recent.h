/* recent.h - the last dropped packets of a worker, so that a question about one can be answered.
 *
 * What is kept: addresses, ports, protocol, size, reason and time; never a byte of the payload. In
 * memory only, for control.drops_kept at most; nothing when that is 0.
 * Sampling:     each reason is recorded at most STATS_RECENT_PER_S times a second, after a burst:
 *               a flood of one leaves room for the others, and costs one comparison a packet.
 * Threads:      W: the worker. R: control, which copies a slot and believes the copy when its
 *               version was even and the same before and after.
 */
#ifndef PORTIER_STATS_RECENT_H
#define PORTIER_STATS_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/time.h"
#include "stats/stats.h"

#define STATS_RECENT_SLOTS 512u
#define STATS_RECENT_PER_S 16u
#define STATS_RECENT_BURST 16u

struct stats_recent_drop {
	uint64_t at_ns;
	struct ip_endpoint src, dst; /* addresses none: it had no IP header that could be read */
	uint16_t size_bytes;
	uint8_t proto;
	uint8_t reason; /* enum stats_drop */
};

struct stats_recent_slot {
	uint32_t version;	       /* odd: being written */
	struct stats_recent_drop drop; /* at_ns 0: empty */
};

struct stats_recent {
	uint64_t keep_ns; /* 0: nothing is recorded */
	/* By reason: when its allowance will be whole again; in the past: it is. */
	uint64_t whole_ns[STATS_N_DROPS];
	uint64_t n;	  /* recorded ever; the next goes to slot n % STATS_RECENT_SLOTS */
	uint64_t n_wiped; /* of these, up to here */
	struct stats_recent_slot slots[STATS_RECENT_SLOTS];
};

void stats_recent_init(struct stats_recent *r, uint64_t keep_ns);

/* Is a drop for this reason to be recorded now? The usual answer of a flood is no. */
static inline bool stats_recent_wants(
	const struct stats_recent *r, enum stats_drop reason, uint64_t now_ns)
{
	return r->whole_ns[reason] <= now_ns + STATS_RECENT_BURST * NS_IN_S / STATS_RECENT_PER_S;
}

/* One that was wanted. */
void stats_recent_put(struct stats_recent *r, const struct stats_recent_drop *drop);
/* Wipe what is too old: a slot a call. Once a turn of the worker. */
void stats_recent_turn(struct stats_recent *r, uint64_t now_ns);

/* Control: the drop that was recorded i before the last, 0 the last. False: there is none so long
 * ago that is not too old, or it is being written. */
bool stats_recent_read(
	const struct stats_recent *r, uint64_t i, uint64_t now_ns, struct stats_recent_drop *out);

#endif
