/* Granting, renewing and ending. */
#include "lease/impl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* ---- time ---- */

uint64_t lease_time_add(uint64_t now_ns, uint64_t duration_ns)
{
	return duration_ns > TIME_NEVER - now_ns ? TIME_NEVER : now_ns + duration_ns;
}

static void set_ttl(struct lease_table *t, uint32_t i, uint64_t ttl_ns, uint64_t now_ns)
{
	struct lease *l = &t->leases[i];

	l->ttl_ns = ttl_ns < t->conf.max_ttl_ns ? ttl_ns : t->conf.max_ttl_ns;
	l->granted_ns = now_ns;
	l->expires_ns = lease_time_add(now_ns, l->ttl_ns);
	if (l->expires_ns > l->until_ns)
		l->expires_ns = l->until_ns;
	lease_heap_set(&t->deadlines, i, l->expires_ns);
}

/* ---- leases ---- */

uint32_t lease_of_number(const struct lease_number *n, uint8_t protos)
{
	if ((protos & LEASE_PROTO_TCP) && n->lease[0] != 0)
		return n->lease[0];
	return protos & LEASE_PROTO_UDP ? n->lease[1] : 0;
}

static uint64_t hash_id(uint64_t id)
{
	return id; /* counted up by us: nobody chooses it, and neighbours fall into different chains
		    */
}

uint32_t lease_id_find(const struct lease_table *t, uint64_t id)
{
	uint32_t i;

	for (i = lease_index_first(&t->by_id, hash_id(id)); i != 0; i = t->by_id.next[i])
		if (t->leases[i].id == id)
			break;
	return i;
}

/* Where no renewal leads beyond. What has no end has no maximum age. */
static uint64_t last_moment(
	const struct lease_table *t, const struct lease_request *req, uint64_t now_ns)
{
	uint64_t until_ns = req->until_ns != 0 ? req->until_ns : TIME_NEVER, age_ns;

	if (t->conf.max_age_ns == 0 || req->ttl_ns == TIME_NEVER)
		return until_ns;
	age_ns = lease_time_add(now_ns, t->conf.max_age_ns);
	return age_ns < until_ns ? age_ns : until_ns;
}

uint32_t lease_add(struct lease_table *t, uint32_t number, const struct lease *from)
{
	struct lease_number *n = &t->numbers.numbers[number];
	uint32_t i = lease_slab_get(&t->slab);
	struct holder *h = &t->holders[n->holder];

	t->leases[i] = *from;
	t->leases[i].state = h->is_unreachable ? LEASE_SUSPENDED : LEASE_ACTIVE;
	t->n_suspended += h->is_unreachable;
	if (from->protos & LEASE_PROTO_TCP)
		n->lease[0] = i;
	if (from->protos & LEASE_PROTO_UDP)
		n->lease[1] = i;
	t->number_of[i] = number;
	lease_index_add(&t->by_id, hash_id(from->id), i);
	lease_list_append(&h->leases, t->lease_links, i);
	t->leases[i].n_ports = lease_ports_of(from->n_ports);
	h->n_leases++;
	h->n_ranges += lease_is_range(from->n_ports);
	h->n_ports += t->leases[i].n_ports;
	t->n_leases++;
	t->n_pinholes += lease_is_pinhole(&from->inner_addr);
	t->n_ports += t->leases[i].n_ports;
	return i;
}

static uint32_t add_granted(
	struct lease_table *t, uint32_t number, const struct lease_request *req, uint64_t now_ns)
{
	const struct lease_number *n = &t->numbers.numbers[number];
	struct lease l = {
		.id = t->next_id++,
		.peer_idx = req->peer_idx,
		.protos = req->protos,
		.public_addr = n->public_addr,
		.public_port = n->public_port,
		.inner_addr = n->inner_addr,
		.inner_port = n->inner_port,
		.n_ports = n->n_ports,
		.opened_ns = now_ns,
		.until_ns = last_moment(t, req, now_ns),
		.idle_ns = req->idle_ns,
		.n_sources = req->n_sources,
		.max_pps = req->max_pps,
		.max_new_flows = req->max_new_flows,
		.opener = req->opener,
	};
	uint32_t i;

	memcpy(l.sources, req->sources, req->n_sources * sizeof(l.sources[0]));
	memcpy(l.nonce, req->nonce, sizeof(l.nonce));
	memcpy(l.label, req->label, sizeof(l.label) - 1);
	i = lease_add(t, number, &l);
	set_ttl(t, i, req->ttl_ns != 0 ? req->ttl_ns : t->conf.default_ttl_ns, now_ns);
	return i;
}

static void end_lease(struct lease_table *t, uint32_t i, uint64_t now_ns, struct lease *out)
{
	struct lease_number *n = &t->numbers.numbers[t->number_of[i]];
	struct holder *h = &t->holders[n->holder];
	struct lease *l = &t->leases[i];

	lease_heap_del(&t->deadlines, i);
	lease_index_del(&t->by_id, hash_id(l->id), i);
	lease_list_del(&h->leases, t->lease_links, i);
	h->n_leases--;
	h->n_ranges -= lease_is_range(l->n_ports);
	h->n_ports -= l->n_ports;
	t->n_leases--;
	t->n_suspended -= l->state == LEASE_SUSPENDED;
	t->n_pinholes -= lease_is_pinhole(&l->inner_addr);
	t->n_ports -= l->n_ports;
	for (unsigned proto = 0; proto < 2; proto++)
		if (n->lease[proto] == i)
			n->lease[proto] = 0;
	if (!lease_number_is_live(n))
		lease_holder_retire(t, t->number_of[i], now_ns);

	*out = *l;
	if (lease_is_pinhole(&l->inner_addr)) {
		out->state = LEASE_FREE;
		out->expires_ns = now_ns;
	} else {
		out->state = t->conf.reserve_ns > 0 ? LEASE_RESERVED : LEASE_QUARANTINE;
		out->expires_ns = lease_time_add(
			lease_time_add(now_ns, t->conf.reserve_ns), t->conf.quarantine_ns);
	}
	memset(l, 0, sizeof(*l));
	lease_slab_put(&t->slab, i);
}

/* A power of two, beginning at a multiple of it outside, and anywhere inside. */
static bool is_range_sound(const struct lease_request *req)
{
	uint16_t n = req->n_ports;

	return !lease_is_range(n) ||
	       (n <= LEASE_RANGE_MAX && (n & (n - 1)) == 0 && req->public_port % n == 0 &&
		       (req->is_symmetric || req->inner_port <= UINT16_MAX + 1 - n) &&
		       !lease_is_pinhole(&req->inner_addr));
}

/* All of it or nothing: whoever may not come in by it could not answer the peer, either. */
static bool is_whole_sound(const struct lease_request *req)
{
	return req->protos == LEASE_PROTO_BOTH && req->peer_idx != UINT32_MAX &&
	       !ip_is_none(&req->inner_addr) && !lease_is_pinhole(&req->inner_addr) &&
	       req->inner_port == 0 && req->public_port == 0 && !req->is_symmetric &&
	       !lease_is_range(req->n_ports) && req->n_sources == 0;
}

bool lease_request_is_sound(const struct lease_request *req)
{
	if (req->is_whole)
		return is_whole_sound(req);
	return is_range_sound(req) && (req->protos & LEASE_PROTO_BOTH) != 0 &&
	       (req->protos & ~LEASE_PROTO_BOTH) == 0 && req->peer_idx != UINT32_MAX &&
	       (req->inner_port != 0 || req->is_symmetric) && !ip_is_none(&req->inner_addr) &&
	       req->n_sources <= LEASE_SOURCES_MAX &&
	       !(req->is_symmetric && lease_is_pinhole(&req->inner_addr));
}

uint32_t lease_live_number(const struct lease_table *t, uint32_t holder,
	const struct ip_addr *inner_addr, uint16_t inner_port)
{
	return holder == 0 ? 0
			   : lease_number_find_live(&t->numbers, holder, inner_addr, inner_port);
}

uint32_t lease_live_symmetric(
	const struct lease_table *t, uint32_t holder, const struct ip_addr *inner_addr)
{
	uint32_t i = holder != 0 ? t->holders[holder].symmetric : 0;
	const struct lease_number *n = &t->numbers.numbers[i];

	return i != 0 && lease_number_is_live(n) && ip_equal(&n->inner_addr, inner_addr) ? i : 0;
}

/* The caller's own that the request is about; 0. */
static uint32_t live_of(
	const struct lease_table *t, const struct lease_request *req, uint32_t holder)
{
	if (lease_is_range(req->n_ports))
		return lease_live_range(t, req, holder);
	if (req->is_symmetric)
		return lease_live_symmetric(t, holder, &req->inner_addr);
	/* That of a whole address leads to port 0. */
	return lease_live_number(t, holder, &req->inner_addr, req->inner_port);
}

const struct lease *lease_find_own(const struct lease_table *t, const struct lease_request *req)
{
	uint32_t number = live_of(t, req, lease_holder_find(t, req->peer_idx)), i;

	i = number != 0 ? lease_of_number(&t->numbers.numbers[number], req->protos) : 0;
	return i != 0 ? &t->leases[i] : NULL;
}

/* Where it is to lead, another lease leads already: a range, or what a range would cover. */
static bool is_crossed(
	const struct lease_table *t, const struct lease_request *req, uint32_t holder)
{
	if (req->is_symmetric)
		return false; /* the choice looks at that */
	return lease_is_range(req->n_ports)
		       ? lease_is_led_to(t, holder, &req->inner_addr, req->inner_port, req->n_ports)
		       : lease_in_range(t, holder, &req->inner_addr, req->inner_port, 1) != 0;
}

int lease_grant(struct lease_table *t, const struct lease_request *req, uint64_t now_ns,
	const struct lease **out)
{
	uint32_t holder, number, n_ports, i;
	int r;

	if (!lease_request_is_sound(req))
		return -EINVAL;
	if (req->until_ns != 0 && req->until_ns <= now_ns)
		return -ETIME;
	lease_kept_move(t, now_ns);
	holder = lease_holder_find(t, req->peer_idx);
	number = live_of(t, req, holder);
	if (number == 0 && is_crossed(t, req, holder))
		return -EEXIST;

	/* The caller's own: renewed whole, or joined by the other protocol. */
	if (number != 0) {
		i = lease_of_number(&t->numbers.numbers[number], req->protos);
		if (i != 0 && (req->protos & ~t->leases[i].protos) != 0)
			return -EEXIST;
		if (i != 0) {
			set_ttl(t, i, req->ttl_ns != 0 ? req->ttl_ns : t->leases[i].ttl_ns, now_ns);
			*out = &t->leases[i];
			return 1;
		}
	}

	n_ports = lease_ports_of(req->n_ports);
	if (req->peer_max_leases < (holder != 0 ? t->holders[holder].n_ports : 0) + n_ports)
		return -EDQUOT;
	if (t->conf.max_leases - t->n_ports < n_ports)
		return -ENOSPC;
	if (number == 0) {
		r = lease_choose(t, req, holder, &number);
		if (r < 0)
			return r;
	}
	*out = &t->leases[add_granted(t, number, req, now_ns)];
	return 0;
}

int lease_renew(struct lease_table *t, uint64_t id, uint64_t ttl_ns, uint64_t now_ns,
	const struct lease **out)
{
	uint32_t i = lease_id_find(t, id);

	if (i == 0)
		return -ENOENT;
	set_ttl(t, i, ttl_ns != 0 ? ttl_ns : t->leases[i].ttl_ns, now_ns);
	*out = &t->leases[i];
	return 0;
}

int lease_amend(struct lease_table *t, uint64_t id, const struct ip_prefix *sources,
	uint8_t n_sources, const uint8_t nonce[static LEASE_NONCE_BYTES])
{
	uint32_t i = lease_id_find(t, id);
	struct lease *l = &t->leases[i];

	if (i == 0)
		return -ENOENT;
	assert(n_sources <= LEASE_SOURCES_MAX);
	if (n_sources > 0)
		memmove(l->sources, sources, n_sources * sizeof(l->sources[0]));
	l->n_sources = n_sources;
	memmove(l->nonce, nonce, sizeof(l->nonce));
	return 0;
}

int lease_limits_set(struct lease_table *t, uint64_t id, uint32_t max_pps, uint32_t max_new_flows)
{
	uint32_t i = lease_id_find(t, id);

	if (i == 0)
		return -ENOENT;
	t->leases[i].max_pps = max_pps;
	t->leases[i].max_new_flows = max_new_flows;
	return 0;
}

/* ---- ends ---- */

int lease_close(struct lease_table *t, uint64_t id, uint64_t now_ns, struct lease *out)
{
	uint32_t i = lease_id_find(t, id);

	if (i == 0)
		return -ENOENT;
	lease_kept_move(t, now_ns);
	end_lease(t, i, now_ns, out);
	return 0;
}

bool lease_expire_next(struct lease_table *t, uint64_t now_ns, struct lease *out)
{
	uint32_t i = lease_heap_first(&t->deadlines);

	lease_kept_move(t, now_ns);
	if (i == 0 || t->leases[i].expires_ns > now_ns)
		return false;
	end_lease(t, i, now_ns, out);
	return true;
}

static uint64_t first_number_ns(const struct lease_table *t, const struct lease_list *list)
{
	return list->head != 0 ? t->numbers.numbers[list->head].until_ns : TIME_NEVER;
}

uint64_t lease_next_deadline_ns(const struct lease_table *t)
{
	uint32_t i = lease_heap_first(&t->deadlines);
	uint64_t first_ns = i != 0 ? t->leases[i].expires_ns : TIME_NEVER;
	uint64_t reserved_ns = first_number_ns(t, &t->numbers.reserved);
	uint64_t quarantine_ns = first_number_ns(t, &t->numbers.quarantine);

	if (reserved_ns < first_ns)
		first_ns = reserved_ns;
	return quarantine_ns < first_ns ? quarantine_ns : first_ns;
}

unsigned lease_peer_reach_set(
	struct lease_table *t, uint32_t peer_idx, bool is_reachable, uint64_t now_ns)
{
	uint32_t holder = lease_holder_find(t, peer_idx), i;
	unsigned n = 0;

	if (holder == 0 || t->holders[holder].is_unreachable == !is_reachable)
		return 0;
	t->holders[holder].is_unreachable = !is_reachable;
	t->holders[holder].reach_ns = now_ns;
	for (i = t->holders[holder].leases.head; i != 0; i = t->lease_links[i].next, n++)
		t->leases[i].state = is_reachable ? LEASE_ACTIVE : LEASE_SUSPENDED;
	t->n_suspended = is_reachable ? t->n_suspended - n : t->n_suspended + n;
	return n;
}
