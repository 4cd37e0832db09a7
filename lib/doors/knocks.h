/* knocks.h - who knocks at a door: how many different sources, how many new flows. No source is
 * kept.
 *
 * What is looked at: TCP segments that begin a connection; of all else a packet each quarter of a
 * second at most (the one that also notes when the lease was used last), or every packet where the
 * lease limits new flows; and what a lease refuses. So the way of other packets is what it was.
 *
 * Memory:  832 bytes a door, from the first knock on; KNOCKS_MAX of these in all (54 MB when all
 * are in use), an equal share for each reader of the doors' grace. A door that comes too late has
 * none, and says so. Threads: a share is its worker's; control gives back what closed doors had,
 * after their grace period, and reads.
 */
#ifndef PORTIER_DOORS_KNOCKS_H
#define PORTIER_DOORS_KNOCKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "doors/recent.h"
#include "doors/sketch.h"

#define KNOCKS_MAX	 65536u
#define KNOCKS_WINDOW_NS (10 * NS_IN_S) /* over which flows a second are said */

/* W: home worker of the door, R: control. */
struct knocks {
	struct sketch sources;
	struct recent recent;
	uint64_t new_flows;	  /* whose beginnings were seen */
	uint64_t window;	  /* number of the window since the clock began */
	uint32_t n_now, n_before; /* new flows in it, and in the one before */
	struct knocks *next;	  /* while it is free */
} __attribute__((aligned(64)));

/* A worker's share. */
struct knocks_share {
	struct knocks *records;		   /* n; W: boot */
	uint32_t n, n_touched;		   /* W: worker */
	struct knocks *free;		   /* W: worker */
	_Atomic(struct knocks *) returned; /* W: control puts, worker takes all */
} __attribute__((aligned(64)));

/* Worker. A zeroed record; NULL: the share is used up. O(1), waits for nobody. */
struct knocks *knocks_take(struct knocks_share *share);
/* Control; no worker has it any more. */
void knocks_return(struct knocks_share *share, struct knocks *k);

/* Before many are noted, because most records lie in far memory: the lines that knocks_note reads
 * and writes come to the cache, all at once instead of one after the other. */
static inline void knocks_fetch(const struct knocks *k, uint64_t source_hash, uint64_t flow_hash)
{
	__builtin_prefetch(&k->recent.sets[flow_hash % RECENT_SETS], 1);
	__builtin_prefetch(&k->sources.registers[source_hash % SKETCH_REGISTERS], 1);
	__builtin_prefetch(&k->new_flows, 1);
}

/* A flow begins, or something of it was seen. Is it new? */
bool knocks_note(struct knocks *k, uint64_t source_hash, uint64_t flow_hash, uint64_t now_ns);
/* Somebody was refused. */
static inline void knocks_note_refused(struct knocks *k, uint64_t source_hash)
{
	sketch_add(&k->sources, source_hash);
}

/* New flows in the last full window, as of now; 0 after a silent one. */
uint32_t knocks_window_flows(const struct knocks *k, uint64_t now_ns);

#endif
