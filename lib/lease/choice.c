/* Which number a lease gets. */
#include "lease/impl.h"
#include "lease/pool.h"

#include <errno.h>

/* Addresses tried for a peer that may have any of them: all of a small pool, enough of a large one.
 */
#define ADDRESS_TRIES 256

/* ---- choosing a number ---- */

/* *out: the number that is kept for the holder and that the request asks for, or was for the same
 * inner endpoint; 0: none, and a free one is to be taken. 0; -EADDRINUSE; -EBUSY. */
static int find_own(const struct lease_table *t, const struct lease_request *req, uint32_t holder,
	const struct ip_addr *addr, uint32_t *out)
{
	const struct lease_number *n;

	*out = 0;
	if (req->public_port != 0) {
		*out = lease_number_find(&t->numbers, addr, req->public_port);
		n = &t->numbers.numbers[*out];
		if (*out != 0 && !lease_is_kept_for(n, holder))
			return -EADDRINUSE;
		if (*out != 0 && lease_is_range(n->n_ports))
			return -EBUSY;
	} else if (req->is_symmetric && holder != 0) {
		*out = t->holders[holder].symmetric;
		n = &t->numbers.numbers[*out];
		if (*out != 0 && (lease_number_is_live(n) || !ip_equal(&n->public_addr, addr)))
			*out = 0;
	} else if (holder != 0) {
		*out = lease_number_find_former(
			&t->numbers, addr, holder, &req->inner_addr, req->inner_port);
	}
	return 0;
}

/* A symmetric number with this port would be the second that leads to the same inner endpoint. */
static bool is_led_to(const struct lease_table *t, const struct lease_request *req, uint32_t holder,
	uint16_t port)
{
	return req->is_symmetric && lease_is_led_to(t, holder, &req->inner_addr, port, 1);
}

/* A random free port of this address; 0: none. */
static uint16_t choose_port(struct lease_table *t, const struct lease_request *req, uint32_t holder,
	const struct ip_addr *addr)
{
	uint16_t port = 0;

	for (unsigned i = 0; i < LEASE_SYMMETRIC_TRIES; i++) {
		port = lease_number_choose(&t->numbers, addr);
		if (port == 0 || !is_led_to(t, req, holder, port))
			return port;
	}
	return 0;
}

/* The longest-waiting number of this address that is kept for the holder and that will do; 0. */
static uint32_t find_waiting(const struct lease_table *t, const struct lease_request *req,
	uint32_t holder, const struct ip_addr *addr)
{
	uint32_t i = holder != 0 ? t->holders[holder].kept.head : 0;

	while (i != 0 && (lease_is_range(t->numbers.numbers[i].n_ports) ||
				 lease_is_whole(t->numbers.numbers[i].public_port) ||
				 !ip_equal(&t->numbers.numbers[i].public_addr, addr) ||
				 is_led_to(t, req, holder, t->numbers.numbers[i].public_port)))
		i = t->number_links[i].next;
	return i;
}

/* A number of this address for the request, a kept or a free one. */
static int take_number_at(struct lease_table *t, const struct lease_request *req, uint32_t holder,
	const struct ip_addr *addr, uint32_t *out)
{
	uint16_t port = req->public_port;
	uint32_t i;
	int r;

	r = find_own(t, req, holder, addr, &i);
	if (r == 0 && port != 0 && is_led_to(t, req, holder, port))
		r = -EADDRINUSE;
	if (r < 0)
		return r;
	if (i != 0 && is_led_to(t, req, holder, t->numbers.numbers[i].public_port))
		i = 0;
	if (i == 0) {
		/* A peer that opens and closes at will must not fill the pool with kept numbers:
		 * past twice its quota, or when nothing is free, it gets its own again. */
		if (lease_holds_enough(t, req, holder))
			r = -EDQUOT;
		else if (lease_slab_is_full(&t->numbers.slab))
			r = -ENOSPC;
		else if (port == 0 && (port = choose_port(t, req, holder, addr)) == 0)
			r = -ENOSPC;
		if (r < 0 && req->public_port == 0)
			i = find_waiting(t, req, holder, addr);
		if (r < 0 && i == 0)
			return r;
	}

	if (i != 0)
		lease_holder_reclaim(t, i, req);
	else
		i = lease_holder_number_add(t, req, &holder, addr, port);
	t->holders[holder].n_live++;
	t->holders[holder].public_addr = *addr;
	*out = i;
	return 0;
}

static int take_at(struct lease_table *t, const struct lease_request *req, uint32_t holder,
	const struct ip_addr *addr, uint32_t *out)
{
	return lease_is_range(req->n_ports) ? lease_range_take(t, req, holder, addr, out)
					    : take_number_at(t, req, holder, addr, out);
}

static int take_number_anywhere(
	struct lease_table *t, const struct lease_request *req, uint32_t holder, uint32_t *out)
{
	struct ip_addr addr;
	uint64_t n, start;
	int r = -ENOSPC;

	/* Its address of old first: that is where others may still look for it. */
	if (holder != 0 && lease_pool_contains(&t->conf, &t->holders[holder].public_addr)) {
		addr = t->holders[holder].public_addr;
		r = take_at(t, req, holder, &addr, out);
		if (r == 0 || r == -EBUSY)
			return r;
	}
	if (lease_pool_contains(&t->conf, &req->paired_addr) &&
		take_at(t, req, holder, &req->paired_addr, out) == 0)
		return 0;
	n = lease_pool_count(&t->conf);
	if (n == 0)
		return -EADDRNOTAVAIL;
	start = lease_random_below(&t->numbers, n);
	for (uint64_t i = 0; r < 0 && i < n && i < ADDRESS_TRIES; i++) {
		addr = lease_pool_address(&t->conf, (start + i) % n);
		r = take_at(t, req, holder, &addr, out);
	}
	return r;
}

int lease_port_check(const struct lease_table *t, uint16_t port)
{
	if (port < t->conf.port_first || port > t->conf.port_last)
		return -ERANGE;
	return lease_number_is_allowed(&t->numbers, port) ? 0 : -EACCES;
}

static int take_asked_number(
	struct lease_table *t, const struct lease_request *req, uint32_t holder, uint32_t *out)
{
	const struct lease_conf *conf = &t->conf;
	bool is_asked = !ip_is_none(&req->public_addr);
	bool is_paired = holder != 0 && t->holders[holder].n_live > 0;
	struct ip_addr addr;
	int r = req->public_port != 0 ? lease_port_check(t, req->public_port) : 0;

	if (r < 0)
		return r;
	if (is_asked && !lease_pool_contains(conf, &req->public_addr))
		return -EADDRNOTAVAIL;
	if (!is_asked && !is_paired)
		return take_number_anywhere(t, req, holder, out);

	if (is_paired && !lease_pool_contains(conf, &t->holders[holder].public_addr))
		return -EXDEV;
	addr = is_paired ? t->holders[holder].public_addr : req->public_addr;
	if (is_asked && !ip_equal(&addr, &req->public_addr))
		return -EXDEV;
	return take_at(t, req, holder, &addr, out);
}

/* Its number is its inner endpoint, and free: it would be the holder's, and live, otherwise. */
static int take_pinhole(
	struct lease_table *t, const struct lease_request *req, uint32_t holder, uint32_t *out)
{
	if (!req->is_suggestion && !ip_is_none(&req->public_addr) &&
		!ip_equal(&req->public_addr, &req->inner_addr))
		return -EADDRNOTAVAIL;
	if (!req->is_suggestion && req->public_port != 0 && req->public_port != req->inner_port)
		return -ERANGE;
	if (lease_number_is_denied(&t->numbers, req->inner_port))
		return -EACCES;
	/* Unless the caller did not know whose address it is. */
	if (lease_number_find(&t->numbers, &req->inner_addr, req->inner_port) != 0)
		return -EADDRINUSE;
	*out = lease_holder_pinhole_add(t, req, holder);
	return *out != 0 ? 0 : -ENOSPC;
}

/* A suggestion is followed whole, or in its address, or not at all. */
int lease_choose(
	struct lease_table *t, const struct lease_request *req, uint32_t holder, uint32_t *out)
{
	struct lease_request less = *req;
	int r;

	if (lease_is_pinhole(&req->inner_addr))
		return take_pinhole(t, req, holder, out);
	if (req->is_whole)
		return lease_whole_take(t, req, holder, out);
	r = take_asked_number(t, req, holder, out);
	if (r < 0 && req->is_suggestion && less.public_port != 0) {
		less.public_port = 0;
		r = take_asked_number(t, &less, holder, out);
	}
	if (r < 0 && req->is_suggestion && !ip_is_none(&less.public_addr)) {
		less.public_addr = (struct ip_addr){0};
		r = take_asked_number(t, &less, holder, out);
	}
	return r;
}
