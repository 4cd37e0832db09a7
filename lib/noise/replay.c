#include "noise/replay.h"

#include <assert.h>
#include <string.h>

static_assert((NOISE_REPLAY_WORDS & (NOISE_REPLAY_WORDS - 1)) == 0, "words are a ring");

void noise_replay_init(struct noise_replay *r)
{
	memset(r, 0, sizeof(*r));
}

/* Move the front of the window to counter: words that enter it have seen nothing (RFC 6479, 2). */
static void advance(struct noise_replay *r, uint64_t counter)
{
	uint64_t front = r->next == 0 ? 0 : (r->next - 1) / 64;
	uint64_t n_words = counter / 64 - front;

	if (n_words >= NOISE_REPLAY_WORDS) {
		memset(r->bitmap, 0, sizeof(r->bitmap));
	} else {
		for (uint64_t i = 1; i <= n_words; i++)
			r->bitmap[(front + i) % NOISE_REPLAY_WORDS] = 0;
	}
	r->next = counter + 1;
}

bool noise_replay_accept(struct noise_replay *r, uint64_t counter)
{
	if (counter >= NOISE_REJECT_AFTER_MSGS)
		return false;
	if (counter >= r->next)
		advance(r, counter);
	else if (r->next - counter > NOISE_REPLAY_WINDOW_PKTS)
		return false;

	uint64_t *word = &r->bitmap[counter / 64 % NOISE_REPLAY_WORDS];
	uint64_t bit = 1ULL << (counter % 64);

	if (*word & bit)
		return false;
	*word |= bit;
	return true;
}
