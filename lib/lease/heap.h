/* heap.h - entries 1..n in the order of their deadlines: a binary min-heap.
 *
 * Cost: set and del O(log n), min O(1). Nothing allocates after init.
 * Threads: those of the owner.
 */
#ifndef PORTIER_LEASE_HEAP_H
#define PORTIER_LEASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct lease_heap {
	struct lease_heap_node {
		uint64_t deadline_ns;
		uint32_t entry;
	} * nodes;    /* 1..n, a parent at half the index of its children */
	uint32_t *at; /* by entry: its node; 0: not in the heap */
	uint32_t n;
};

bool lease_heap_init(struct lease_heap *h, uint32_t n_max);
void lease_heap_fini(struct lease_heap *h);

/* Put the entry in, or move it. TIME_NEVER takes it out. */
void lease_heap_set(struct lease_heap *h, uint32_t entry, uint64_t deadline_ns);
/* No effect on one that is not in. */
void lease_heap_del(struct lease_heap *h, uint32_t entry);

/* The entry with the earliest deadline; 0 when there is none. */
static inline uint32_t lease_heap_first(const struct lease_heap *h)
{
	return h->n > 0 ? h->nodes[1].entry : 0;
}

#endif
