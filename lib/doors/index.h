/* index.h - from a public address, protocol and port to a door, without a hash: a word for each
 * port.
 *
 * Why:     a hash table costs a packet three lines of far memory and about 150 instructions, this
 *          one line and 20.
 * Memory:  512 KB of address space for each public address, touched where leases are; for the
 *          first DOOR_INDEX_ADDRS addresses that ever have one. Doors at others, and at protocols
 *          without ports, are not for this index.
 * Threads: control writes, workers look up, lock-free. What an entry leads to is the caller's to
 *          keep readable for a grace period after it was deleted.
 */
#ifndef PORTIER_DOORS_INDEX_H
#define PORTIER_DOORS_INDEX_H

#include <assert.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#define DOOR_INDEX_ADDRS  256u
#define DOOR_INDEX_PLACES (2 * DOOR_INDEX_ADDRS) /* half of them stay empty */

/* W: control, R: workers. */
struct door_index {
	/* By address: address + 2^32 * (1 + which block of ports it has); 0: empty. */
	_Atomic uint64_t places[DOOR_INDEX_PLACES];
	/* By block, protocol and port: number of the record + 1; 0: no door. */
	_Atomic uint32_t *records;
	uint32_t n_addrs;
};

/* 0 or -ENOMEM. */
int door_index_init(struct door_index *ix, int socket_id);
void door_index_fini(struct door_index *ix);

static inline unsigned door_index_first_place(uint32_t addr_le)
{
	return (addr_le * UINT32_C(0x9e3779b1)) >> 23;
}
static_assert(DOOR_INDEX_PLACES == 1u << (32 - 23), "a place from the upper bits");

/* The entry of this port (host order); NULL: none of this index. */
static inline _Atomic uint32_t *door_index_entry(
	const struct door_index *ix, const uint8_t addr_v4[static 4], uint8_t proto, uint16_t port)
{
	uint32_t addr_le = load_le32(addr_v4);
	unsigned place = door_index_first_place(addr_le);
	uint64_t found;

	if (proto != IPPROTO_UDP && proto != IPPROTO_TCP)
		return NULL;
	for (;; place = (place + 1) % DOOR_INDEX_PLACES) {
		found = atomic_load_explicit(&ix->places[place], memory_order_acquire);
		if ((uint32_t)found == addr_le && found != 0)
			break;
		if (found == 0)
			return NULL;
	}
	return &ix->records[((size_t)(found >> 32) - 1) << 17 |
			    (size_t)(proto == IPPROTO_TCP) << 16 | port];
}

/* Control. The same, and room for the address is made if there is any left. */
_Atomic uint32_t *door_index_make(
	struct door_index *ix, const uint8_t addr_v4[static 4], uint8_t proto, uint16_t port);

#endif
