/* table.h - a hash table with one writer and lock-free readers: rte_hash, used one safe way.
 *
 * Mode:     RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF: exactly one writer thread. A deleted key's slot is
 *           reused only after a grace period (grace.h).
 * Size:     created as 2^n - 1 with load kept at or under 80 % of it.
 * Values:   opaque non-NULL pointers, read-only to this library.
 */
#ifndef PORTIER_TABLE_H
#define PORTIER_TABLE_H

#include <stdint.h>

#include "table/grace.h"

struct table;

#define TABLE_BULK_MAX 64

/* name: unique in the process, at most 24 characters. key_bytes: multiples of 8, fixed; keys have no
 * padding. NULL when memory is out. hash is seeded (CRC is not keyed: bounded by the 80 % load and
 * bucket chains, see XXX in table.c). */
struct table *table_create(const char *name, uint32_t max_entries, uint32_t key_bytes, int socket_id,
	struct grace *g);
/* Only when no reader runs any more. NULL is fine. */
void table_destroy(struct table *t);

/* Writer. add: visible to readers on return; 0, -EEXIST (unchanged), -ENOSPC. del: gone for look-ups
 * that begin after return; 0, -ENOENT. The slot returns after a grace period, without blocking. */
int table_add(struct table *t, const void *key, void *value);
int table_del(struct table *t, const void *key);
uint32_t table_count(const struct table *t);

/* Readers, between online and quiescent. NULL: absent. */
void *table_lookup(const struct table *t, const void *key);
/* n at most TABLE_BULK_MAX; values[i] NULL where absent; returns a bit mask of hits. */
uint64_t table_lookup_bulk(const struct table *t, const void **keys, uint32_t n, void **values);

#endif
