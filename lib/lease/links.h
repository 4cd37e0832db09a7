/* links.h - containers over arrays of entries 1..n, joined by index: free list, hash chains, list.
 *
 * An entry is a number into the caller's own arrays; 0 is none. Nothing allocates after init.
 * Threads: those of the owner.
 */
#ifndef PORTIER_LEASE_LINKS_H
#define PORTIER_LEASE_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Of two huge pages one is whole, wherever the array begins. */
#define LEASE_HUGE_BYTES (4u << 20)

/* n entries and one more, all zero; NULL: memory is out. Large ones come in huge pages where the
 * kernel has them, so that filling a table of a million does not fault a page at a time; freed by
 * free(). */
static inline void *lease_array_create(uint64_t n, size_t size_bytes)
{
	const uintptr_t page_bytes = 4096;
	size_t len = (size_t)(n + 1) * size_bytes;
	void *array = calloc((size_t)(n + 1), size_bytes);
	uintptr_t first = ((uintptr_t)array + page_bytes - 1) & ~(page_bytes - 1);

	if (array != NULL && len > LEASE_HUGE_BYTES)
		(void)madvise((void *)first, len - page_bytes, MADV_HUGEPAGE);
	return array;
}

/* Which entries are free. Entries never handed out are not touched, so that a large table costs
 * memory only as it fills. */
struct lease_slab {
	uint32_t *next;
	uint32_t n_max, n_touched, free;
};

static inline bool lease_slab_init(struct lease_slab *s, uint32_t n_max)
{
	s->n_max = n_max;
	s->next = lease_array_create(n_max, sizeof(*s->next));
	return s->next != NULL;
}

static inline void lease_slab_fini(struct lease_slab *s)
{
	free(s->next);
}

static inline bool lease_slab_is_full(const struct lease_slab *s)
{
	return s->free == 0 && s->n_touched == s->n_max;
}

/* An entry; 0 when all are taken. */
static inline uint32_t lease_slab_get(struct lease_slab *s)
{
	uint32_t i = s->free;

	if (i != 0)
		s->free = s->next[i];
	else if (s->n_touched < s->n_max)
		i = ++s->n_touched;
	return i;
}

static inline void lease_slab_put(struct lease_slab *s, uint32_t i)
{
	s->next[i] = s->free;
	s->free = i;
}

/* Hash chains. The caller hashes its keys and compares them along the chain:
 * for (i = lease_index_first(ix, hash); i != 0; i = ix->next[i]) ... */
struct lease_index {
	uint32_t *bucket, *next;
	uint64_t mask;
};

static inline bool lease_index_init(struct lease_index *ix, uint32_t n_max)
{
	uint64_t n_buckets = 8;

	while (n_buckets < n_max)
		n_buckets *= 2;
	ix->mask = n_buckets - 1;
	ix->bucket = lease_array_create(n_buckets, sizeof(*ix->bucket));
	ix->next = lease_array_create(n_max, sizeof(*ix->next));
	return ix->bucket && ix->next;
}

static inline void lease_index_fini(struct lease_index *ix)
{
	free(ix->bucket);
	free(ix->next);
}

static inline uint32_t lease_index_first(const struct lease_index *ix, uint64_t hash)
{
	return ix->bucket[hash & ix->mask];
}

static inline void lease_index_add(struct lease_index *ix, uint64_t hash, uint32_t i)
{
	ix->next[i] = ix->bucket[hash & ix->mask];
	ix->bucket[hash & ix->mask] = i;
}

/* i must be there, under this hash. */
static inline void lease_index_del(struct lease_index *ix, uint64_t hash, uint32_t i)
{
	uint32_t *at = &ix->bucket[hash & ix->mask];

	while (*at != i)
		at = &ix->next[*at];
	*at = ix->next[i];
}

/* A list; its links live in an array of their own, one for each list an entry may be in. */
struct lease_link {
	uint32_t prev, next;
};

struct lease_list {
	uint32_t head, tail;
};

static inline void lease_list_append(struct lease_list *l, struct lease_link *links, uint32_t i)
{
	links[i] = (struct lease_link){.prev = l->tail};
	if (l->tail != 0)
		links[l->tail].next = i;
	else
		l->head = i;
	l->tail = i;
}

static inline void lease_list_del(struct lease_list *l, struct lease_link *links, uint32_t i)
{
	const struct lease_link *at = &links[i];

	if (at->prev != 0)
		links[at->prev].next = at->next;
	else
		l->head = at->next;
	if (at->next != 0)
		links[at->next].prev = at->prev;
	else
		l->tail = at->prev;
}

#endif
