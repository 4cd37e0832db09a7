#include "doors/index.h"

#include <errno.h>
#include <string.h>

#include "peer/sparse.h"

#define RECORDS_PER_ADDR ((size_t)2 << 16)

int door_index_init(struct door_index *ix, int socket_id)
{
	memset(ix, 0, sizeof(*ix));
	ix->records =
		sparse_alloc(DOOR_INDEX_ADDRS * RECORDS_PER_ADDR, sizeof(*ix->records), socket_id);
	return ix->records ? 0 : -ENOMEM;
}

void door_index_fini(struct door_index *ix)
{
	sparse_free(ix->records, DOOR_INDEX_ADDRS * RECORDS_PER_ADDR, sizeof(*ix->records));
	ix->records = NULL;
}

_Atomic uint32_t *door_index_make(
	struct door_index *ix, const uint8_t addr_v4[static 4], uint8_t proto, uint16_t port)
{
	uint32_t addr_le = load_le32(addr_v4);
	unsigned place = door_index_first_place(addr_le);
	_Atomic uint32_t *entry = door_index_entry(ix, addr_v4, proto, port);

	if (entry || ix->n_addrs == DOOR_INDEX_ADDRS ||
		(proto != IPPROTO_UDP && proto != IPPROTO_TCP))
		return entry;
	while (atomic_load_explicit(&ix->places[place], memory_order_relaxed) != 0)
		place = (place + 1) % DOOR_INDEX_PLACES;
	ix->n_addrs++;
	atomic_store_explicit(
		&ix->places[place], (uint64_t)ix->n_addrs << 32 | addr_le, memory_order_release);
	return door_index_entry(ix, addr_v4, proto, port);
}
