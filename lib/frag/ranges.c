#include "frag/ranges.h"

#include <string.h>

static bool is_repeated(const struct frag_ranges *r, uint16_t start, uint16_t end)
{
	for (unsigned i = 0; i < FRAG_RECENT; i++)
		if (r->recent[i].start == start && r->recent[i].end == end)
			return true;
	return false;
}

enum frag_ranges_verdict frag_ranges_add(struct frag_ranges *r, uint16_t start, uint16_t end)
{
	bool touches_left, touches_right;
	unsigned at = 0;

	/* range[at] is the first that does not end before the piece begins */
	while (at < r->n && r->range[at].end <= start)
		at++;
	if (at < r->n && r->range[at].start < end)
		return is_repeated(r, start, end) ? FRAG_RANGES_REPEATED : FRAG_RANGES_OVERLAP;

	touches_left = at > 0 && r->range[at - 1].end == start;
	touches_right = at < r->n && r->range[at].start == end;
	if (touches_left && touches_right) {
		r->range[at - 1].end = r->range[at].end;
		r->n--;
		memmove(&r->range[at], &r->range[at + 1], (r->n - at) * sizeof(r->range[0]));
	} else if (touches_left) {
		r->range[at - 1].end = end;
	} else if (touches_right) {
		r->range[at].start = start;
	} else {
		if (r->n == FRAG_RANGES_MAX)
			return FRAG_RANGES_FULL;
		memmove(&r->range[at + 1], &r->range[at], (r->n - at) * sizeof(r->range[0]));
		r->range[at] = (struct frag_range){start, end};
		r->n++;
	}
	r->recent[r->n_pieces++ % FRAG_RECENT] = (struct frag_range){start, end};
	return FRAG_RANGES_ADDED;
}
