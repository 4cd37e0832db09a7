/* Whole addresses: which one a lease gets. */
#include "lease/impl.h"
#include "lease/pool.h"

#include <errno.h>

/* The one that is kept for the holder, and that the request asks for if it asks; 0. */
static uint32_t find_kept(
	const struct lease_table *t, const struct lease_request *req, uint32_t holder)
{
	uint32_t i = holder != 0 ? t->holders[holder].kept.head : 0;

	for (; i != 0; i = t->number_links[i].next) {
		const struct lease_number *n = &t->numbers.numbers[i];

		if (lease_is_whole(n->public_port) &&
			(ip_is_none(&req->public_addr) ||
				ip_equal(&req->public_addr, &n->public_addr)))
			break;
	}
	return i;
}

static bool is_free(const struct lease_table *t, const struct ip_addr *addr)
{
	return lease_number_find(&t->numbers, addr, 0) == 0;
}

/* From a random one on, each in turn: at most 65,536. */
static int choose(struct lease_table *t, struct ip_addr *out)
{
	uint64_t n = lease_dedicated_count(&t->conf), at;

	if (n == 0)
		return -EADDRNOTAVAIL;
	at = lease_random_below(&t->numbers, n);
	for (uint64_t i = 0; i < n; i++) {
		*out = lease_dedicated_address(&t->conf, (at + i) % n);
		if (is_free(t, out))
			return 0;
	}
	return -ENOSPC;
}

int lease_whole_take(
	struct lease_table *t, const struct lease_request *req, uint32_t holder, uint32_t *out)
{
	uint32_t i = find_kept(t, req, holder);
	struct ip_addr addr = req->public_addr;
	int r = 0;

	if (!ip_is_none(&addr) && !lease_dedicated_contains(&t->conf, &addr))
		return -EADDRNOTAVAIL;
	if (holder != 0 && t->holders[holder].n_live > 0)
		return -EXDEV;
	if (i == 0) {
		if (lease_holds_enough(t, req, holder))
			return -EDQUOT;
		if (lease_slab_is_full(&t->numbers.slab))
			return -ENOSPC;
		if (ip_is_none(&addr))
			r = choose(t, &addr);
		else if (!is_free(t, &addr))
			r = -EADDRINUSE;
		if (r < 0)
			return r;
		i = lease_holder_number_add(t, req, &holder, &addr, 0);
	} else {
		lease_holder_reclaim(t, i, req);
	}
	t->holders[holder].n_live++;
	t->holders[holder].public_addr = t->numbers.numbers[i].public_addr;
	*out = i;
	return 0;
}
