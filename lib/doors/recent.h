/* recent.h - which flows were seen lately: fingerprints that make room for later ones.
 *
 * A door leads flows without keeping any, so nothing says whether a packet begins one. This does,
 * in 512 bytes: 64 sets of 4 fingerprints of 16 bits, in each the one seen last first. What is new
 * is taken for known once in 2^14 times at most; what is known is forgotten when four others of its
 * set were seen since.
 *
 * Threads: one writer. Hashes are keyed: nobody outside chooses the set.
 */
#ifndef PORTIER_DOORS_RECENT_H
#define PORTIER_DOORS_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#define RECENT_SETS 64u
#define RECENT_WAYS 4u

struct recent {
	uint16_t sets[RECENT_SETS][RECENT_WAYS]; /* 0: empty */
};

static inline uint16_t recent_fingerprint(uint64_t hash)
{
	uint16_t f = (uint16_t)(hash >> 16);

	return f != 0 ? f : 1;
}

/* Its fingerprint is the first of its set from now on; i: where it was, or the last place. */
static inline void recent_put_first(uint16_t *set, unsigned i, uint16_t fingerprint)
{
	for (; i > 0; i--)
		set[i] = set[i - 1];
	set[0] = fingerprint;
}

/* Was it seen? Then it is the last one seen. O(1). */
static inline bool recent_has(struct recent *r, uint64_t hash)
{
	uint16_t *set = r->sets[hash % RECENT_SETS], fingerprint = recent_fingerprint(hash);

	for (unsigned i = 0; i < RECENT_WAYS; i++)
		if (set[i] == fingerprint) {
			recent_put_first(set, i, fingerprint);
			return true;
		}
	return false;
}

/* Of one that recent_has did not find. O(1). */
static inline void recent_add(struct recent *r, uint64_t hash)
{
	recent_put_first(r->sets[hash % RECENT_SETS], RECENT_WAYS - 1, recent_fingerprint(hash));
}

#endif
