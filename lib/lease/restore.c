/* What was there before a restart. */
#include "lease/impl.h"
#include "lease/pool.h"

#include <errno.h>

void lease_ids_skip(struct lease_table *t, uint64_t last_id)
{
	if (t->next_id <= last_id)
		t->next_id = last_id + 1;
}

uint64_t lease_id_reserve(struct lease_table *t)
{
	return t->next_id++;
}

/* May it be one of the pool today? */
static int check_number(const struct lease_table *t, const struct ip_addr *public_addr,
	uint16_t public_port, uint16_t n_ports)
{
	int r = 0;

	if (lease_is_whole(public_port))
		return lease_dedicated_contains(&t->conf, public_addr) ? 0 : -EADDRNOTAVAIL;
	for (uint32_t i = 0; r == 0 && i < lease_ports_of(n_ports); i++)
		r = lease_port_check(t, (uint16_t)(public_port + i));

	if (r == 0 && !lease_pool_contains(&t->conf, public_addr))
		r = -EADDRNOTAVAIL;
	return r;
}

static int check_pinhole(const struct lease_table *t, const struct lease *l)
{
	if (!ip_equal(&l->public_addr, &l->inner_addr))
		return -EADDRNOTAVAIL;
	if (l->public_port != l->inner_port)
		return -ERANGE;
	return lease_number_is_denied(&t->numbers, l->public_port) ? -EACCES : 0;
}

/* The number that the lease was on: its holder's own, which it may share with the companion, or a
 * free one. */
static int restore_number(struct lease_table *t, const struct lease *l,
	const struct lease_request *req, uint32_t *out)
{
	uint32_t holder = lease_holder_find(t, l->peer_idx), live = 0, i;
	const struct lease_number *n;

	if (lease_is_range(l->n_ports))
		live = lease_live_range(t, req, holder);
	else if (holder != 0)
		live = lease_number_find_live(&t->numbers, holder, &l->inner_addr, l->inner_port);
	i = lease_number_find_overlap(
		&t->numbers, &l->public_addr, l->public_port, lease_ports_of(l->n_ports));
	n = &t->numbers.numbers[i];
	if (i != 0 && i == live && lease_of_number(n, l->protos) == 0) {
		*out = i;
		return 0;
	}
	if (live != 0 || lease_is_led_to(t, holder, &l->inner_addr, l->inner_port,
				 lease_ports_of(l->n_ports)))
		return -EEXIST;
	if (i != 0)
		return -EADDRINUSE;
	if (lease_is_pinhole(&l->inner_addr)) {
		*out = lease_holder_pinhole_add(t, req, holder);
		return *out != 0 ? 0 : -ENOSPC;
	}
	if (holder != 0 && t->holders[holder].n_live > 0 &&
		!ip_equal(&t->holders[holder].public_addr, &l->public_addr))
		return -EXDEV;
	if (lease_slab_is_full(&t->numbers.slab))
		return -ENOSPC;
	*out = lease_holder_number_add(t, req, &holder, &l->public_addr, l->public_port);
	t->holders[holder].n_live++;
	t->holders[holder].public_addr = l->public_addr;
	return 0;
}

int lease_restore(struct lease_table *t, const struct lease *l)
{
	const struct lease_request req = {
		.peer_idx = l->peer_idx,
		.protos = l->protos,
		.inner_addr = l->inner_addr,
		.inner_port = l->inner_port,
		.public_port = l->public_port,
		.n_ports = l->n_ports,
		.is_whole = lease_is_whole(l->public_port),
		.n_sources = l->n_sources,
	};
	uint32_t number = 0, i;
	int r;

	if (!lease_request_is_sound(&req) || l->id == 0)
		return -EINVAL;
	if (lease_id_find(t, l->id) != 0)
		return -EEXIST;
	if (t->conf.max_leases - t->n_ports < lease_ports_of(l->n_ports))
		return -ENOSPC;
	if (lease_is_pinhole(&l->inner_addr))
		r = check_pinhole(t, l);
	else
		r = check_number(t, &l->public_addr, l->public_port, l->n_ports);
	if (r == 0)
		r = restore_number(t, l, &req, &number);
	if (r < 0)
		return r;
	i = lease_add(t, number, l);
	lease_heap_set(&t->deadlines, i, l->expires_ns);
	lease_ids_skip(t, l->id);
	return 0;
}

int lease_held_restore(struct lease_table *t, const struct lease_held *held, uint64_t now_ns)
{
	bool is_reserved = held->state == LEASE_RESERVED;
	uint64_t last_ns =
		lease_time_add(now_ns, is_reserved ? t->conf.reserve_ns : t->conf.quarantine_ns);
	uint64_t until_ns = held->until_ns < last_ns ? held->until_ns : last_ns;
	const struct lease_request req = {
		.peer_idx = held->peer_idx,
		.inner_addr = held->inner_addr,
		.inner_port = held->inner_port,
		.n_ports = held->n_ports,
	};
	const struct lease_number nobodys = {
		.public_addr = held->public_addr,
		.public_port = held->public_port,
		.inner_addr = held->inner_addr,
		.inner_port = held->inner_port,
		.n_ports = lease_ports_of(held->n_ports),
	};
	uint32_t holder = 0, i;
	int r = check_number(t, &held->public_addr, held->public_port, held->n_ports);

	if (lease_is_pinhole(&held->inner_addr))
		r = -EADDRNOTAVAIL;
	if (r < 0)
		return r;
	if (lease_number_find_overlap(
		    &t->numbers, &held->public_addr, held->public_port, nobodys.n_ports) != 0)
		return -EADDRINUSE;
	if (until_ns <= now_ns && !is_reserved)
		return 0;
	if (lease_slab_is_full(&t->numbers.slab))
		return -ENOSPC;
	if (held->peer_idx != UINT32_MAX)
		holder = lease_holder_find(t, held->peer_idx);
	i = held->peer_idx == UINT32_MAX ? lease_number_add(&t->numbers, &nobodys)
					 : lease_holder_number_add(t, &req, &holder,
						   &held->public_addr, held->public_port);
	if (holder != 0) {
		lease_list_append(&t->holders[holder].kept, t->number_links, i);
		if (t->holders[holder].n_live == 0)
			t->holders[holder].public_addr = held->public_addr;
	}
	/* What ended while nobody looked ends now: so ends stay in order. */
	lease_number_keep(&t->numbers, i, held->state, until_ns > now_ns ? until_ns : now_ns);
	return 0;
}
