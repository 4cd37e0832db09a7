#include "doors/knocks.h"

#include <string.h>

struct knocks *knocks_take(struct knocks_share *share)
{
	struct knocks *k;

	/* Only looked at, most times: when all are in use, each packet that is noted comes here. */
	if (share->free == NULL &&
		atomic_load_explicit(&share->returned, memory_order_relaxed) != NULL)
		share->free =
			atomic_exchange_explicit(&share->returned, NULL, memory_order_acquire);
	k = share->free;
	if (k != NULL) {
		share->free = k->next;
		memset(k, 0, sizeof(*k));
		return k;
	}
	return share->n_touched < share->n ? &share->records[share->n_touched++] : NULL;
}

void knocks_return(struct knocks_share *share, struct knocks *k)
{
	struct knocks *head = atomic_load_explicit(&share->returned, memory_order_relaxed);

	/* The worker takes all or nothing, so that what head names is head when this succeeds. */
	do
		k->next = head;
	while (!atomic_compare_exchange_weak_explicit(
		&share->returned, &head, k, memory_order_release, memory_order_relaxed));
}

static void count_flow(struct knocks *k, uint64_t now_ns)
{
	uint64_t window = now_ns / KNOCKS_WINDOW_NS;

	if (window != k->window) {
		k->n_before = window == k->window + 1 ? k->n_now : 0;
		k->n_now = 0;
		k->window = window;
	}
	k->n_now++;
	k->new_flows++;
}

bool knocks_note(struct knocks *k, uint64_t source_hash, uint64_t flow_hash, uint64_t now_ns)
{
	if (recent_has(&k->recent, flow_hash))
		return false;
	recent_add(&k->recent, flow_hash);
	sketch_add(&k->sources, source_hash);
	count_flow(k, now_ns);
	return true;
}

/* Read while it is written: a reader may be one flow behind, or see a window end twice. */
uint32_t knocks_window_flows(const struct knocks *k, uint64_t now_ns)
{
	uint64_t window = __atomic_load_n(&k->window, __ATOMIC_RELAXED);
	uint64_t now = now_ns / KNOCKS_WINDOW_NS;

	if (now == window)
		return __atomic_load_n(&k->n_before, __ATOMIC_RELAXED);
	return now == window + 1 ? __atomic_load_n(&k->n_now, __ATOMIC_RELAXED) : 0;
}
