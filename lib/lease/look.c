/* Looking at what there is. */
#include "lease/impl.h"

const struct lease *lease_get(const struct lease_table *t, uint64_t id)
{
	uint32_t i = lease_id_find(t, id);

	return i != 0 ? &t->leases[i] : NULL;
}

uint64_t lease_state_since_ns(const struct lease_table *t, const struct lease *l)
{
	const struct holder *h = &t->holders[lease_holder_find(t, l->peer_idx)];

	return h->reach_ns > l->opened_ns ? h->reach_ns : l->opened_ns;
}

struct ip_addr lease_peer_address(const struct lease_table *t, uint32_t peer_idx)
{
	uint32_t holder = lease_holder_find(t, peer_idx);

	if (holder == 0 || t->holders[holder].n_live == 0)
		return (struct ip_addr){0};
	return t->holders[holder].public_addr;
}

const struct lease *lease_find_public(
	const struct lease_table *t, const struct ip_addr *addr, uint8_t protos, uint16_t port)
{
	uint32_t i = lease_number_find(&t->numbers, addr, port);

	if (i == 0)
		i = lease_number_find(&t->numbers, addr, 0);
	if (i != 0)
		i = lease_of_number(&t->numbers.numbers[i], protos);
	return i != 0 ? &t->leases[i] : NULL;
}

static const struct lease *lease_at(const struct lease_table *t, uint32_t number, uint8_t protos)
{
	uint32_t i = number != 0 ? lease_of_number(&t->numbers.numbers[number], protos) : 0;

	return i != 0 ? &t->leases[i] : NULL;
}

const struct lease *lease_find_inner(const struct lease_table *t, uint32_t peer_idx,
	const struct ip_addr *inner_addr, uint8_t protos, uint16_t inner_port)
{
	uint32_t holder = lease_holder_find(t, peer_idx);
	uint32_t number = lease_live_number(t, holder, inner_addr, inner_port);

	if (number == 0)
		number = lease_in_range(t, holder, inner_addr, inner_port, 1);
	if (number == 0)
		number = lease_live_number(t, holder, inner_addr, 0);
	return lease_at(t, number, protos);
}

const struct lease *lease_find_symmetric(const struct lease_table *t, uint32_t peer_idx,
	const struct ip_addr *inner_addr, uint8_t protos)
{
	return lease_at(
		t, lease_live_symmetric(t, lease_holder_find(t, peer_idx), inner_addr), protos);
}

/* The cursor is the entry to look at next, plus 1 so that the start is not the end. */
const struct lease *lease_next(const struct lease_table *t, uint32_t peer_idx, uint64_t *cursor)
{
	uint32_t holder, i;

	if (peer_idx == UINT32_MAX) {
		for (i = *cursor != 0 ? (uint32_t)(*cursor - 1) : 1; i <= t->slab.n_touched; i++)
			if (t->leases[i].state != LEASE_FREE) {
				*cursor = i + 2ull;
				return &t->leases[i];
			}
		*cursor = i + 1ull;
		return NULL;
	}
	if (*cursor == 0) {
		holder = lease_holder_find(t, peer_idx);
		i = holder != 0 ? t->holders[holder].leases.head : 0;
	} else {
		i = (uint32_t)(*cursor - 1);
	}
	*cursor = (i != 0 ? t->lease_links[i].next : 0) + 1ull;
	return i != 0 ? &t->leases[i] : NULL;
}

uint32_t lease_count(const struct lease_table *t, uint32_t peer_idx)
{
	uint32_t holder;

	if (peer_idx == UINT32_MAX)
		return t->n_leases;
	holder = lease_holder_find(t, peer_idx);
	return holder != 0 ? t->holders[holder].n_leases : 0;
}

uint32_t lease_port_count(const struct lease_table *t, uint32_t peer_idx)
{
	uint32_t holder;

	if (peer_idx == UINT32_MAX)
		return t->n_ports;
	holder = lease_holder_find(t, peer_idx);
	return holder != 0 ? t->holders[holder].n_ports : 0;
}

const char *lease_state_word(enum lease_state state)
{
	switch (state) {
	case LEASE_FREE:
		return "free";
	case LEASE_ACTIVE:
		return "active";
	case LEASE_SUSPENDED:
		return "suspended";
	case LEASE_RESERVED:
		return "reserved";
	case LEASE_QUARANTINE:
		return "quarantine";
	}
	return "?";
}

uint32_t lease_state_count(const struct lease_table *t, enum lease_state state)
{
	switch (state) {
	case LEASE_ACTIVE:
		return t->n_leases - t->n_suspended;
	case LEASE_SUSPENDED:
		return t->n_suspended;
	case LEASE_RESERVED:
		return t->numbers.n_reserved;
	case LEASE_QUARANTINE:
		return t->numbers.n_kept - t->numbers.n_reserved;
	default:
		return 0;
	}
}

uint32_t lease_pinhole_count(const struct lease_table *t)
{
	return t->n_pinholes;
}

static struct lease_held held_at(const struct lease_table *t, uint32_t number)
{
	const struct lease_number *n = &t->numbers.numbers[number];

	return (struct lease_held){
		.state = n->state,
		.peer_idx = n->holder != 0 ? t->holders[n->holder].peer_idx : UINT32_MAX,
		.public_addr = n->public_addr,
		.inner_addr = n->inner_addr,
		.public_port = n->public_port,
		.inner_port = n->inner_port,
		.n_ports = n->n_ports,
		.until_ns = n->until_ns,
	};
}

bool lease_held_get(const struct lease_table *t, const struct ip_addr *addr, uint16_t port,
	struct lease_held *out)
{
	uint32_t i = lease_number_find(&t->numbers, addr, port);

	if (i == 0 || t->numbers.numbers[i].state == LEASE_FREE)
		return false;
	*out = held_at(t, i);
	return true;
}

/* The cursor is the number to look at next, plus 1. One that is kept no more ends the walk. */
bool lease_held_next(const struct lease_table *t, uint64_t *cursor, struct lease_held *out)
{
	const struct lease_numbers *ns = &t->numbers;
	uint32_t i = *cursor != 0 ? (uint32_t)(*cursor - 1) : ns->quarantine.head;
	const struct lease_number *n;

	if (i == 0 && *cursor == 0)
		i = ns->reserved.head;
	n = &ns->numbers[i];
	if (i == 0 || n->state == LEASE_FREE) {
		*cursor = 1;
		return false;
	}
	*out = held_at(t, i);
	i = ns->kept_links[i].next;
	if (i == 0 && n->state == LEASE_QUARANTINE)
		i = ns->reserved.head;
	*cursor = i + 1ull;
	return true;
}

uint32_t lease_held_count(const struct lease_table *t)
{
	return t->numbers.n_kept;
}

uint32_t lease_held_port_count(const struct lease_table *t)
{
	return t->numbers.n_kept_ports;
}
