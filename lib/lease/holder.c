/* Peers that have numbers, and what they keep of them when their leases have ended. */
#include "lease/impl.h"

#include <assert.h>
#include <errno.h>

/* ---- holders ---- */

uint32_t lease_holder_find(const struct lease_table *t, uint32_t peer_idx)
{
	uint64_t hash = lease_hash(&t->numbers, &peer_idx, sizeof(peer_idx));
	uint32_t i;

	for (i = lease_index_first(&t->by_peer, hash); i != 0; i = t->by_peer.next[i])
		if (t->holders[i].peer_idx == peer_idx)
			break;
	return i;
}

static uint32_t add_holder(struct lease_table *t, uint32_t peer_idx)
{
	uint32_t i = lease_slab_get(&t->holder_slab);

	assert(i != 0); /* as many as numbers, and each has one */
	t->holders[i] = (struct holder){.peer_idx = peer_idx};
	lease_index_add(&t->by_peer, lease_hash(&t->numbers, &peer_idx, sizeof(peer_idx)), i);
	return i;
}

static void del_holder_if_idle(struct lease_table *t, uint32_t i)
{
	uint32_t peer_idx = t->holders[i].peer_idx;

	if (t->holders[i].n_numbers > 0 || t->holders[i].n_pinholes > 0)
		return;
	lease_index_del(&t->by_peer, lease_hash(&t->numbers, &peer_idx, sizeof(peer_idx)), i);
	lease_slab_put(&t->holder_slab, i);
}

/* ---- numbers that are kept ---- */

void lease_holder_retire(struct lease_table *t, uint32_t i, uint64_t now_ns)
{
	uint32_t holder = t->numbers.numbers[i].holder;
	struct holder *h = &t->holders[holder];

	if (lease_is_pinhole(&t->numbers.numbers[i].inner_addr)) {
		h->n_pinholes--;
		lease_number_del(&t->numbers, i);
		del_holder_if_idle(t, holder);
		return;
	}
	h->n_live--;
	lease_list_append(&h->kept, t->number_links, i);
	if (t->conf.reserve_ns > 0)
		lease_number_keep(
			&t->numbers, i, LEASE_RESERVED, lease_time_add(now_ns, t->conf.reserve_ns));
	else
		lease_number_keep(&t->numbers, i, LEASE_QUARANTINE,
			lease_time_add(now_ns, t->conf.quarantine_ns));
}

uint16_t lease_target_port(const struct lease_request *req, uint16_t public_port)
{
	return req->is_symmetric ? public_port : req->inner_port;
}

bool lease_holds_enough(
	const struct lease_table *t, const struct lease_request *req, uint32_t holder)
{
	return lease_holds_enough_but(t, req, holder, 0);
}

bool lease_holds_enough_but(const struct lease_table *t, const struct lease_request *req,
	uint32_t holder, uint32_t n_freed)
{
	uint64_t n_held = holder != 0 ? t->holders[holder].n_held - n_freed : 0;

	return n_held + lease_ports_of(req->n_ports) > 2ull * req->peer_max_leases;
}

/* The holder has this number, with this inner endpoint, from now on. */
static void note_symmetric(struct lease_table *t, uint32_t i)
{
	const struct lease_number *n = &t->numbers.numbers[i];
	struct holder *h = &t->holders[n->holder];

	if (h->symmetric == 0 && n->public_port == n->inner_port && !lease_is_range(n->n_ports) &&
		!lease_is_whole(n->public_port))
		h->symmetric = i;
}

uint32_t lease_holder_number_add(struct lease_table *t, const struct lease_request *req,
	uint32_t *holder, const struct ip_addr *addr, uint16_t port)
{
	struct lease_number n = {
		.public_addr = *addr,
		.public_port = port,
		.inner_addr = req->inner_addr,
		.inner_port = lease_target_port(req, port),
		.n_ports = lease_ports_of(req->n_ports),
	};
	uint32_t i;

	if (*holder == 0)
		*holder = add_holder(t, req->peer_idx);
	n.holder = *holder;
	i = lease_number_add(&t->numbers, &n);
	t->holders[*holder].n_numbers++;
	t->holders[*holder].n_held += n.n_ports;
	note_symmetric(t, i);
	return i;
}

uint32_t lease_holder_pinhole_add(
	struct lease_table *t, const struct lease_request *req, uint32_t holder)
{
	struct lease_number n = {
		.public_addr = req->inner_addr,
		.public_port = req->inner_port,
		.inner_addr = req->inner_addr,
		.inner_port = req->inner_port,
		.n_ports = 1,
	};

	if (lease_slab_is_full(&t->numbers.slab))
		return 0;
	if (holder == 0)
		holder = add_holder(t, req->peer_idx);
	n.holder = holder;
	t->holders[holder].n_pinholes++;
	return lease_number_add(&t->numbers, &n);
}

static void forget_symmetric(struct holder *h, uint32_t i)
{
	if (h->symmetric == i)
		h->symmetric = 0;
}

void lease_holder_reclaim(struct lease_table *t, uint32_t i, const struct lease_request *req)
{
	const struct lease_number *n = &t->numbers.numbers[i];
	struct holder *h = &t->holders[n->holder];

	lease_list_del(&h->kept, t->number_links, i);
	lease_number_reclaim(
		&t->numbers, i, &req->inner_addr, lease_target_port(req, n->public_port));
	if (n->public_port != n->inner_port)
		forget_symmetric(h, i);
	note_symmetric(t, i);
}

static void detach_number(struct lease_table *t, uint32_t i)
{
	struct holder *h = &t->holders[t->numbers.numbers[i].holder];

	lease_list_del(&h->kept, t->number_links, i);
	forget_symmetric(h, i);
	h->n_numbers--;
	h->n_held -= t->numbers.numbers[i].n_ports;
}

/* Take a kept number from its holder. */
static void orphan_number(struct lease_table *t, uint32_t i)
{
	uint32_t holder = t->numbers.numbers[i].holder;

	detach_number(t, i);
	del_holder_if_idle(t, holder);
}

void lease_holder_free(struct lease_table *t, uint32_t i)
{
	detach_number(t, i);
	lease_number_del(&t->numbers, i);
}

void lease_kept_move(struct lease_table *t, uint64_t now_ns)
{
	const struct lease_number *n = t->numbers.numbers;
	uint32_t i;

	while ((i = t->numbers.reserved.head) != 0 && n[i].until_ns <= now_ns)
		lease_number_keep(&t->numbers, i, LEASE_QUARANTINE,
			lease_time_add(n[i].until_ns, t->conf.quarantine_ns));
	while ((i = t->numbers.quarantine.head) != 0 && n[i].until_ns <= now_ns) {
		if (n[i].holder != 0)
			orphan_number(t, i);
		lease_number_del(&t->numbers, i);
	}
}

int lease_peer_forget(struct lease_table *t, uint32_t peer_idx, uint64_t now_ns)
{
	uint32_t holder, i;

	lease_kept_move(t, now_ns);
	holder = lease_holder_find(t, peer_idx);
	if (holder == 0)
		return 0;
	if (t->holders[holder].n_leases > 0)
		return -EBUSY;
	for (uint32_t n = t->holders[holder].n_numbers; n > 0; n--) {
		i = t->holders[holder].kept.head;
		orphan_number(t, i);
		lease_number_disown(&t->numbers, i);
		if (t->numbers.numbers[i].state == LEASE_RESERVED)
			lease_number_keep(&t->numbers, i, LEASE_QUARANTINE,
				lease_time_add(now_ns, t->conf.quarantine_ns));
	}
	return 0;
}
