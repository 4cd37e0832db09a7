#include "noise/replay.h"

#include <assert.h>
#include <string.h>

static_assert((NOISE_REPLAY_WORDS & (NOISE_REPLAY_WORDS - 1)) == 0, "words are a ring");

void noise_replay_init(struct noise_replay *r)
{
	memset(r, 0, sizeof(*r));
}

void noise_replay_advance(struct noise_replay *r, uint64_t counter)
{
	uint64_t front = r->next == 0 ? 0 : (r->next - 1) / 64;
	uint64_t n_words = counter / 64 - front;

	if (n_words >= NOISE_REPLAY_WORDS) {
		memset(r->bitmap, 0, sizeof(r->bitmap));
	} else {
		for (uint64_t i = 1; i <= n_words; i++)
			r->bitmap[(front + i) % NOISE_REPLAY_WORDS] = 0;
	}
}
