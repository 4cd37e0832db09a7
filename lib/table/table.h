/* table.h - a hash table with one writer and lock-free readers: rte_hash, used one safe way.
 *
 * Mode:    RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF: exactly one writer thread. A deleted key's slot
 *          is reused only after a grace period (grace.h).
 * Size:    created as 2^n - 1 slots, of which at most 80 % hold keys; the rest covers slots that
 *          wait for their grace period. No allocation afterwards.
 * Values:  opaque non-NULL pointers, read-only to this library.
 * Hash:    keyed, with a secret drawn from the kernel at create: whoever chooses keys cannot choose
 *          collisions.
 */
#ifndef PORTIER_TABLE_H
#define PORTIER_TABLE_H

#include <stdint.h>

#include "table/grace.h"

struct table;

#define TABLE_BULK_MAX	    64
#define TABLE_KEY_BYTES_MAX 64

/* name: unique in the process, at most 24 characters. max_entries: 1 and up. key_bytes: a multiple
 * of 8 (fastest: of 16), at most TABLE_KEY_BYTES_MAX; keys have no padding. g outlives the table
 * or has been destroyed before it with nothing deleted since. NULL: bad argument, name taken,
 * memory out, or more than 4 GiB of keys (rte_hash offsets are 32 bits wide). */
struct table *table_create(
	const char *name, uint32_t max_entries, uint32_t key_bytes, int socket_id, struct grace *g);
/* Only when no reader runs any more. NULL is fine. */
void table_destroy(struct table *t);

/* Writer. add: visible to readers, with what was written to the value before, on return; 0, -EEXIST
 * (unchanged), -EINVAL (NULL value), -ENOSPC: max_entries are in, or more slots than the spare ones
 * wait for their grace period (grace_poll, then try again). del: gone for look-ups that begin after
 * return; 0, -ENOENT. The slot returns after a grace period, without blocking; the value is the
 * caller's to grace_defer. */
int table_add(struct table *t, const void *key, void *value);
int table_del(struct table *t, const void *key);
uint32_t table_count(const struct table *t);

/* Readers, between online and quiescent; the writer, at any time. NULL: absent. */
void *table_lookup(const struct table *t, const void *key);
/* n at most TABLE_BULK_MAX; values[i] NULL where absent; returns a bit mask of hits. */
uint64_t table_lookup_bulk(const struct table *t, const void **keys, uint32_t n, void **values);

#endif
