/* Ranges of ports: which one a lease gets, and what it shares with no other. */
#include "lease/impl.h"

#include <errno.h>

uint32_t lease_live_range(
	const struct lease_table *t, const struct lease_request *req, uint32_t holder)
{
	uint32_t i =
		holder != 0 && t->holders[holder].n_ranges > 0 ? t->holders[holder].leases.head : 0;

	for (; i != 0; i = t->lease_links[i].next) {
		const struct lease *l = &t->leases[i];

		if (l->n_ports != req->n_ports || !ip_equal(&l->inner_addr, &req->inner_addr))
			continue;
		if (!req->is_symmetric && l->inner_port == req->inner_port)
			break;
		if (req->is_symmetric && l->inner_port == l->public_port &&
			(req->public_port == 0 || req->public_port == l->public_port))
			break;
	}
	return i != 0 ? t->number_of[i] : 0;
}

uint32_t lease_in_range(const struct lease_table *t, uint32_t holder,
	const struct ip_addr *inner_addr, uint16_t first, uint16_t n_ports)
{
	uint32_t i =
		holder != 0 && t->holders[holder].n_ranges > 0 ? t->holders[holder].leases.head : 0;

	for (; i != 0; i = t->lease_links[i].next) {
		const struct lease *l = &t->leases[i];

		if (lease_is_range(l->n_ports) && ip_equal(&l->inner_addr, inner_addr) &&
			l->inner_port < (uint32_t)first + n_ports &&
			first < (uint32_t)l->inner_port + l->n_ports)
			break;
	}
	return i != 0 ? t->number_of[i] : 0;
}

bool lease_is_led_to(const struct lease_table *t, uint32_t holder, const struct ip_addr *inner_addr,
	uint16_t first, uint16_t n_ports)
{
	if (holder == 0)
		return false;
	for (uint32_t port = first; port < (uint32_t)first + n_ports; port++)
		if (lease_number_find_live(&t->numbers, holder, inner_addr, (uint16_t)port) != 0)
			return true;
	return lease_in_range(t, holder, inner_addr, first, n_ports) != 0;
}

/* It leads where another lease of the holder does. Of what is not symmetric the caller knows. */
static bool is_in_the_way(const struct lease_table *t, const struct lease_request *req,
	uint32_t holder, uint16_t first)
{
	return req->is_symmetric &&
	       lease_is_led_to(t, holder, &req->inner_addr, first, req->n_ports);
}

/* A range that is kept for the holder, of this address, and of the port that is asked for, if one
 * is: the one that led to the same ports, or else the first; 0. */
static uint32_t find_kept(const struct lease_table *t, const struct lease_request *req,
	uint32_t holder, const struct ip_addr *addr)
{
	uint32_t i = holder != 0 ? t->holders[holder].kept.head : 0, first = 0;

	for (; i != 0; i = t->number_links[i].next) {
		const struct lease_number *n = &t->numbers.numbers[i];

		if (n->n_ports != req->n_ports || !ip_equal(&n->public_addr, addr) ||
			(req->public_port != 0 && req->public_port != n->public_port) ||
			is_in_the_way(t, req, holder, n->public_port))
			continue;
		if (n->inner_port == lease_target_port(req, n->public_port))
			return i;
		if (first == 0)
			first = i;
	}
	return first;
}

/* The range that is asked for may be one, and is nobody's but for numbers that are kept for the
 * holder and lie in it, with *n_kept ports. */
static int check_asked(const struct lease_table *t, const struct lease_request *req,
	uint32_t holder, const struct ip_addr *addr, uint32_t *n_kept)
{
	uint32_t end = (uint32_t)req->public_port + req->n_ports;

	*n_kept = 0;
	for (uint32_t i = 0; i < req->n_ports; i++) {
		int r = lease_port_check(t, (uint16_t)(req->public_port + i));

		if (r < 0)
			return r;
	}
	for (uint32_t port = req->public_port; port < end; port++) {
		uint32_t i = lease_number_find(&t->numbers, addr, (uint16_t)port);
		const struct lease_number *n = &t->numbers.numbers[i];

		if (i == 0)
			continue;
		if (!lease_is_kept_for(n, holder))
			return -EADDRINUSE;
		if (n->n_ports > req->n_ports)
			return -EBUSY; /* ranges that overlap contain one another */
		++*n_kept;
	}
	return is_in_the_way(t, req, holder, req->public_port) ? -EADDRINUSE : 0;
}

static void free_kept(
	struct lease_table *t, const struct lease_request *req, const struct ip_addr *addr)
{
	uint32_t i;

	while ((i = lease_number_find_overlap(&t->numbers, addr, req->public_port, req->n_ports)) !=
		0)
		lease_holder_free(t, i);
}

/* A few draws: one that leads where another lease of the holder does is no use. */
static uint16_t choose(struct lease_table *t, const struct lease_request *req, uint32_t holder,
	const struct ip_addr *addr)
{
	for (unsigned i = 0; i < LEASE_SYMMETRIC_TRIES; i++) {
		uint16_t first = lease_number_choose_range(&t->numbers, addr, req->n_ports);

		if (first == 0 || !is_in_the_way(t, req, holder, first))
			return first;
	}
	return 0;
}

int lease_range_take(struct lease_table *t, const struct lease_request *req, uint32_t holder,
	const struct ip_addr *addr, uint32_t *out)
{
	uint32_t i = find_kept(t, req, holder, addr);
	uint16_t first = req->public_port;
	uint32_t n_kept = 0;
	int r = 0;

	if (i == 0) {
		if (first != 0)
			r = check_asked(t, req, holder, addr, &n_kept);
		if (r < 0)
			return r;
		if (lease_holds_enough_but(t, req, holder, n_kept))
			return -EDQUOT;
		if (n_kept == 0 && lease_slab_is_full(&t->numbers.slab))
			return -ENOSPC;
		if (first == 0)
			first = choose(t, req, holder, addr);
		if (first == 0)
			return -ENOSPC;
		if (n_kept > 0)
			free_kept(t, req, addr);
		i = lease_holder_number_add(t, req, &holder, addr, first);
	} else {
		lease_holder_reclaim(t, i, req);
	}
	t->holders[holder].n_live++;
	t->holders[holder].public_addr = *addr;
	*out = i;
	return 0;
}
