/* replay.h - sliding window over received counters.
 *
 * Spec:      RFC 6479 (bitmap of blocks, no shifting); WireGuard paper 5.4.6; window of 8,192.
 * Threads:   one writer, the peer's home worker.
 * Invariant: called only after the tag of the packet was verified.
 */
#ifndef PORTIER_NOISE_REPLAY_H
#define PORTIER_NOISE_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define NOISE_REPLAY_BITS  8192
#define NOISE_REPLAY_WORDS (NOISE_REPLAY_BITS / 64)
/* One word is always being refilled. Guaranteed span: any counter less than this behind. */
#define NOISE_REPLAY_WINDOW_PKTS (NOISE_REPLAY_BITS - 64)

/* REJECT_AFTER_MESSAGES of paper 6.1, 2^64 - 2^13 - 1: counters below it are used and accepted, so
 * the window's arithmetic never wraps. */
#define NOISE_REJECT_AFTER_MSGS (UINT64_MAX - (1ULL << 13))
#define NOISE_REKEY_AFTER_MSGS	(1ULL << 60)

struct noise_replay {
	uint64_t next; /* greatest accepted counter + 1; 0: none yet */
	uint64_t bitmap[NOISE_REPLAY_WORDS];
};

/* All zero is the valid start. */
void noise_replay_init(struct noise_replay *r);

/* Clear the words from behind that of next - 1 to that of counter, which is at least next: they
 * have seen nothing (RFC 6479, 2). The caller then sets next. */
void noise_replay_advance(struct noise_replay *r, uint64_t counter);

/* True when counter is new: it is then marked as seen. False, unchanged, when it was seen, is
 * behind the window, or is at or over NOISE_REJECT_AFTER_MSGS. O(1), except after a jump (at most
 * 128 words). */
static inline bool noise_replay_accept(struct noise_replay *r, uint64_t counter)
{
	uint64_t *word = &r->bitmap[counter / 64 % NOISE_REPLAY_WORDS];
	uint64_t bit = UINT64_C(1) << (counter % 64);

	if (counter >= NOISE_REJECT_AFTER_MSGS)
		return false;
	if (counter >= r->next) {
		/* Of the first packet, next - 1 is in no word that there is. */
		if (counter / 64 != (r->next - 1) / 64)
			noise_replay_advance(r, counter);
		r->next = counter + 1;
	} else if (r->next - counter > NOISE_REPLAY_WINDOW_PKTS || *word & bit) {
		return false;
	}
	*word |= bit;
	return true;
}

#endif
