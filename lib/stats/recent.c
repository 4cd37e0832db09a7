#include "stats/recent.h"

#include <assert.h>
#include <string.h>

typedef uint64_t __attribute__((may_alias)) word;

static_assert(sizeof(struct stats_recent_drop) % sizeof(word) == 0, "copied in words");
static_assert(STATS_N_DROPS <= UINT8_MAX, "a reason is one byte");

void stats_recent_init(struct stats_recent *r, uint64_t keep_ns)
{
	memset(r, 0, sizeof(*r));
	r->keep_ns = keep_ns;
	/* No time is as late: nothing is wanted. */
	for (unsigned i = 0; keep_ns == 0 && i < STATS_N_DROPS; i++)
		r->whole_ns[i] = UINT64_MAX;
}

static void write_slot(struct stats_recent_slot *s, const struct stats_recent_drop *drop)
{
	const word *from = (const word *)drop;
	word *to = (word *)&s->drop;

	__atomic_store_n(&s->version, s->version + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (unsigned i = 0; i < sizeof(*drop) / sizeof(word); i++)
		__atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
	__atomic_store_n(&s->version, s->version + 1, __ATOMIC_RELEASE);
}

void stats_recent_put(struct stats_recent *r, const struct stats_recent_drop *drop)
{
	uint64_t *whole_ns = &r->whole_ns[drop->reason];

	if (*whole_ns < drop->at_ns)
		*whole_ns = drop->at_ns;
	*whole_ns += NS_IN_S / STATS_RECENT_PER_S;
	write_slot(&r->slots[r->n % STATS_RECENT_SLOTS], drop);
	__atomic_store_n(&r->n, r->n + 1, __ATOMIC_RELEASE);
}

void stats_recent_turn(struct stats_recent *r, uint64_t now_ns)
{
	static const struct stats_recent_drop empty;
	struct stats_recent_slot *s;

	if (r->n_wiped == r->n)
		return;
	if (r->n - r->n_wiped > STATS_RECENT_SLOTS)
		r->n_wiped = r->n - STATS_RECENT_SLOTS;
	s = &r->slots[r->n_wiped % STATS_RECENT_SLOTS];
	if (s->drop.at_ns + r->keep_ns > now_ns)
		return;
	write_slot(s, &empty);
	r->n_wiped++;
}

bool stats_recent_read(
	const struct stats_recent *r, uint64_t i, uint64_t now_ns, struct stats_recent_drop *out)
{
	uint64_t n = __atomic_load_n(&r->n, __ATOMIC_ACQUIRE);
	const struct stats_recent_slot *s;
	struct stats_recent_drop copy;
	word *to = (word *)&copy;
	const word *from;
	uint32_t version;

	if (i >= n || i >= STATS_RECENT_SLOTS)
		return false;
	s = &r->slots[(n - 1 - i) % STATS_RECENT_SLOTS];
	from = (const word *)&s->drop;
	version = __atomic_load_n(&s->version, __ATOMIC_ACQUIRE);
	for (unsigned k = 0; k < sizeof(copy) / sizeof(word); k++)
		to[k] = __atomic_load_n(&from[k], __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (version & 1 || __atomic_load_n(&s->version, __ATOMIC_RELAXED) != version ||
		copy.at_ns == 0 || copy.at_ns + r->keep_ns <= now_ns)
		return false;
	*out = copy;
	return true;
}
