/* impl.h - the doors, shared by the files of this library only: control's (doors.c) and the
 * workers' (look.c).
 *
 * Threads: as doors.h; what a worker may touch is said beside it.
 */
#ifndef PORTIER_DOORS_IMPL_H
#define PORTIER_DOORS_IMPL_H

#include "crypto/crypto.h"
#include "doors/doors.h"
#include "doors/index.h"

#include <rte_byteorder.h>
#include <rte_common.h>

/* Control's notes on a record, beside what workers read. */
struct note {
	struct doors *doors;
	uint64_t lease_id;
	bool is_v6;
	struct ip_addr inner_v6;
	uint32_t next; /* in the free list */
	struct grace_work retire;
};

/* Where the door of an inner key is found without a look-up in by_inner, if its place was free when
 * it was opened: one line instead of three, and a tenth of the instructions. What is found must be
 * compared with the key. In hash order, 32 to 64 bytes for each of max_leases. W: control,
 * R: workers. */
struct inner_places {
	_Atomic uint32_t *records; /* 2^(64 - shift): number of the record + 1; 0: none */
	unsigned shift;
};

/* What workers read of it for each burst is in other cache lines than what control writes for each
 * lease. */
struct doors {
	struct grace *grace;
	struct door_index index; /* public address, protocol, port -> record */
	struct table *by_public; /* struct door_public_key -> struct door: what index is not for */
	struct table *by_inner;	 /* struct door_inner_key -> struct door */
	struct inner_places inner_places; /* the same of most of them, to be asked first */
	struct table *by_v6;		  /* struct door_v6_key -> struct door */
	struct table *by_lease;		  /* lease id -> struct door; control only */
	struct door *records;		  /* n_records */
	struct note *notes;		  /* n_records */
	struct door_failures *failures;	  /* n_records */
	_Atomic uint32_t *n_of_peer;	  /* open doors; max_peers. W: control, R: all */
	uint32_t n_records, max_peers;
	uint32_t max_open;
	/* Whole addresses, and keys in by_public. W: control, when one comes or goes; R: all. */
	_Atomic uint32_t n_whole, n_hashed;
	uint8_t hash_key[CRYPTO_SIPHASH_KEY_BYTES]; /* of far endpoints, which others choose */
	uint64_t factor;			    /* odd; secret as the key; of hashes */
	struct knocks *knocks;			    /* n_shares * share_size */
	struct knocks_share *shares;		    /* one a grace reader */
	uint32_t n_shares, share_size;

	/* W, R: control, from here on. */
	uint32_t n_open __rte_cache_aligned;
	uint32_t n_ports; /* of open doors: at most max_open */
	uint32_t n_fresh; /* records from here on were never used */
	uint32_t free_head;
} __rte_cache_aligned;

static inline struct note *note_of(const struct doors *d, const struct door *door)
{
	return &d->notes[door - d->records];
}

static inline _Atomic uint32_t *inner_place(
	const struct doors *d, uint32_t peer_idx, uint16_t port, uint8_t proto)
{
	uint64_t key = (uint64_t)peer_idx << 32 | (uint32_t)proto << 16 | port;

	return &d->inner_places.records[key * d->factor >> d->inner_places.shift];
}

static inline bool is_open(const struct door *door)
{
	return door && atomic_load_explicit(&door->generation, memory_order_acquire) & 1;
}

/* NULL: the key is none of the index, but of by_public. */
static inline _Atomic uint32_t *entry_of(const struct doors *d, const struct door_public_key *key)
{
	return door_index_entry(
		&d->index, key->addr_v4, key->proto, rte_be_to_cpu_16(key->port_be16));
}

#endif
