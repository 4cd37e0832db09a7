#include "lease/heap.h"

#include "base/time.h"
#include "lease/links.h"

#include <stdlib.h>

bool lease_heap_init(struct lease_heap *h, uint32_t n_max)
{
	h->nodes = lease_array_create(n_max, sizeof(*h->nodes));
	h->at = lease_array_create(n_max, sizeof(*h->at));
	return h->nodes && h->at;
}

void lease_heap_fini(struct lease_heap *h)
{
	free(h->nodes);
	free(h->at);
}

static void put_node(struct lease_heap *h, uint32_t at, struct lease_heap_node node)
{
	h->nodes[at] = node;
	h->at[node.entry] = at;
}

/* Find the node's place from the hole at `at`, upwards or downwards, and put it there. */
static void settle_node(struct lease_heap *h, uint32_t at, struct lease_heap_node node)
{
	uint32_t child;

	while (at > 1 && h->nodes[at / 2].deadline_ns > node.deadline_ns) {
		put_node(h, at, h->nodes[at / 2]);
		at /= 2;
	}
	while ((child = at * 2) <= h->n) {
		if (child < h->n && h->nodes[child + 1].deadline_ns < h->nodes[child].deadline_ns)
			child++;
		if (h->nodes[child].deadline_ns >= node.deadline_ns)
			break;
		put_node(h, at, h->nodes[child]);
		at = child;
	}
	put_node(h, at, node);
}

void lease_heap_set(struct lease_heap *h, uint32_t entry, uint64_t deadline_ns)
{
	struct lease_heap_node node = {.deadline_ns = deadline_ns, .entry = entry};

	if (deadline_ns == TIME_NEVER)
		lease_heap_del(h, entry);
	else
		settle_node(h, h->at[entry] != 0 ? h->at[entry] : ++h->n, node);
}

void lease_heap_del(struct lease_heap *h, uint32_t entry)
{
	uint32_t at = h->at[entry];
	struct lease_heap_node last;

	if (at == 0)
		return;
	last = h->nodes[h->n--];
	h->at[entry] = 0;
	if (last.entry != entry)
		settle_node(h, at, last);
}
