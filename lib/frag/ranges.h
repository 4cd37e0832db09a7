/* ranges.h - which bytes of one datagram have come.
 *
 * Ranges that touch are merged, so fragments in any order cost few entries. The last few pieces are
 * kept as they came: a network repeats a packet a moment later, if at all, and a repeated piece is
 * no overlap (RFC 8200, section 4.5).
 */
#ifndef PORTIER_FRAG_RANGES_H
#define PORTIER_FRAG_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#define FRAG_RANGES_MAX 8
#define FRAG_RECENT	8 /* a power of two */

struct frag_range {
	uint16_t start, end; /* bytes; end is behind the last */
};

/* All zero: nothing has come. */
struct frag_ranges {
	uint8_t n;
	uint8_t n_pieces; /* of all times, modulo 256: the next goes to recent[n_pieces %
			     FRAG_RECENT] */
	struct frag_range range[FRAG_RANGES_MAX]; /* ascending, neither touching nor overlapping */
	struct frag_range recent[FRAG_RECENT];
};

enum frag_ranges_verdict {
	FRAG_RANGES_OVERLAP = 0,
	FRAG_RANGES_ADDED,
	FRAG_RANGES_REPEATED, /* exactly one of the last FRAG_RECENT pieces */
	FRAG_RANGES_FULL,     /* would be one gap too many */
};

/* start < end. Nothing changes unless ADDED. */
enum frag_ranges_verdict frag_ranges_add(struct frag_ranges *r, uint16_t start, uint16_t end);

/* Behind the last byte that has come. */
static inline uint16_t frag_ranges_end(const struct frag_ranges *r)
{
	return r->n > 0 ? r->range[r->n - 1].end : 0;
}

/* All bytes before frag_ranges_end have come. */
static inline bool frag_ranges_has_no_gap(const struct frag_ranges *r)
{
	return r->n == 1 && r->range[0].start == 0;
}

#endif
