#include "lease/lease.h"

#include "crypto/crypto.h"
#include "lease/impl.h"
#include "lease/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Addresses tried for a peer that may have any of them: all of a small pool, enough of a large one.
 */
#define ADDRESS_TRIES 256
/* Ports drawn for a symmetric number before all are called taken: a peer would need other numbers
 * that lead to half of all ports for one draw in two to fail. */
#define SYMMETRIC_TRIES 32

/* ---- memory ---- */

static bool table_init(struct lease_table *t, const struct lease_conf *conf)
{
	uint64_t n_places = lease_pool_count(conf, true) + lease_pool_count(conf, false);
	uint32_t n = conf->max_leases, n_numbers = 2 * n;

	t->conf = *conf;
	if (t->conf.port_first == 0)
		t->conf.port_first = 1;
	t->next_id = 1;
	t->leases = calloc((size_t)n + 1, sizeof(*t->leases));
	t->number_of = calloc((size_t)n + 1, sizeof(*t->number_of));
	t->lease_links = calloc((size_t)n + 1, sizeof(*t->lease_links));
	t->number_links = calloc((size_t)n_numbers + 1, sizeof(*t->number_links));
	t->holders = calloc((size_t)n_numbers + 1, sizeof(*t->holders));
	return t->leases && t->number_of && t->lease_links && t->number_links && t->holders &&
	       lease_slab_init(&t->slab, n) && lease_index_init(&t->by_id, n) &&
	       lease_heap_init(&t->deadlines, n) && lease_slab_init(&t->holder_slab, n_numbers) &&
	       lease_index_init(&t->by_peer, n_numbers) &&
	       lease_numbers_init(&t->numbers, &t->conf, n_numbers, n_places);
}

struct lease_table *lease_table_create(const struct lease_conf *conf)
{
	struct lease_table *t;

	assert(conf->max_leases <= LEASE_TABLE_MAX && conf->n_pool <= LEASE_POOL_MAX &&
		conf->port_first <= conf->port_last && conf->port_last != 0);
	t = calloc(1, sizeof(*t));
	if (t && !table_init(t, conf)) {
		lease_table_destroy(t);
		t = NULL;
	}
	return t;
}

void lease_table_destroy(struct lease_table *t)
{
	if (!t)
		return;
	free(t->leases);
	free(t->number_of);
	free(t->lease_links);
	free(t->number_links);
	free(t->holders);
	lease_slab_fini(&t->slab);
	lease_index_fini(&t->by_id);
	lease_heap_fini(&t->deadlines);
	lease_slab_fini(&t->holder_slab);
	lease_index_fini(&t->by_peer);
	lease_numbers_fini(&t->numbers);
	free(t);
}

void lease_table_times_set(struct lease_table *t, uint64_t default_ttl_ns, uint64_t quarantine_ns)
{
	t->conf.default_ttl_ns = default_ttl_ns;
	t->conf.quarantine_ns = quarantine_ns;
}

/* ---- time ---- */

uint64_t lease_time_add(uint64_t now_ns, uint64_t duration_ns)
{
	return duration_ns > TIME_NEVER - now_ns ? TIME_NEVER : now_ns + duration_ns;
}

static void set_ttl(struct lease_table *t, uint32_t i, uint64_t ttl_ns, uint64_t now_ns)
{
	struct lease *l = &t->leases[i];

	l->ttl_ns = ttl_ns < t->conf.max_ttl_ns ? ttl_ns : t->conf.max_ttl_ns;
	l->expires_ns = lease_time_add(now_ns, l->ttl_ns);
	if (l->expires_ns > l->until_ns)
		l->expires_ns = l->until_ns;
	lease_heap_set(&t->deadlines, i, l->expires_ns);
}

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

	if (t->holders[i].n_numbers > 0)
		return;
	lease_index_del(&t->by_peer, lease_hash(&t->numbers, &peer_idx, sizeof(peer_idx)), i);
	lease_slab_put(&t->holder_slab, i);
}

/* ---- numbers that are kept ---- */

/* Its last lease has ended: the number waits for its owner, then for the world to forget it. */
static void retire_number(struct lease_table *t, uint32_t i, uint64_t now_ns)
{
	struct holder *h = &t->holders[t->numbers.numbers[i].holder];

	h->n_live--;
	lease_list_append(&h->kept, t->number_links, i);
	if (t->conf.reserve_ns > 0)
		lease_number_keep(
			&t->numbers, i, LEASE_RESERVED, lease_time_add(now_ns, t->conf.reserve_ns));
	else
		lease_number_keep(&t->numbers, i, LEASE_QUARANTINE,
			lease_time_add(now_ns, t->conf.quarantine_ns));
}

/* Where a number with this public port will lead. */
static uint16_t inner_port_of(const struct lease_request *req, uint16_t public_port)
{
	return req->is_symmetric ? public_port : req->inner_port;
}

/* The holder has this number, with this inner endpoint, from now on. */
static void note_symmetric(struct lease_table *t, uint32_t i)
{
	const struct lease_number *n = &t->numbers.numbers[i];
	struct holder *h = &t->holders[n->holder];

	if (h->symmetric == 0 && n->public_port == n->inner_port)
		h->symmetric = i;
}

static void forget_symmetric(struct holder *h, uint32_t i)
{
	if (h->symmetric == i)
		h->symmetric = 0;
}

/* Its owner takes it back, for this inner endpoint. */
static void reclaim_number(struct lease_table *t, uint32_t i, const struct lease_request *req)
{
	const struct lease_number *n = &t->numbers.numbers[i];
	struct holder *h = &t->holders[n->holder];

	lease_list_del(&h->kept, t->number_links, i);
	lease_number_reclaim(&t->numbers, i, &req->inner_addr, inner_port_of(req, n->public_port));
	if (n->public_port != n->inner_port)
		forget_symmetric(h, i);
	note_symmetric(t, i);
}

/* Take a kept number from its holder. */
static void orphan_number(struct lease_table *t, uint32_t i)
{
	uint32_t holder = t->numbers.numbers[i].holder;

	lease_list_del(&t->holders[holder].kept, t->number_links, i);
	forget_symmetric(&t->holders[holder], i);
	t->holders[holder].n_numbers--;
	del_holder_if_idle(t, holder);
}

/* Each change of state happens, in effect, at its own time, whenever we come to it: so quarantines
 * end in the order in which they begin. */
static void move_due_numbers(struct lease_table *t, uint64_t now_ns)
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

	move_due_numbers(t, now_ns);
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

/* ---- choosing a number ---- */

/* *out: the number that is kept for the holder and that the request asks for, or was for the same
 * inner endpoint; 0: none, and a free one is to be taken. 0; -EADDRINUSE. */
static int find_own(const struct lease_table *t, const struct lease_request *req, uint32_t holder,
	const struct ip_addr *addr, uint32_t *out)
{
	const struct lease_number *n;

	*out = 0;
	if (req->public_port != 0) {
		*out = lease_number_find(&t->numbers, addr, req->public_port);
		n = &t->numbers.numbers[*out];
		if (*out != 0 && (holder == 0 || n->holder != holder || lease_number_is_live(n)))
			return -EADDRINUSE;
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

uint32_t lease_holder_number_add(struct lease_table *t, const struct lease_request *req,
	uint32_t *holder, const struct ip_addr *addr, uint16_t port)
{
	uint32_t i;

	if (*holder == 0)
		*holder = add_holder(t, req->peer_idx);
	i = lease_number_add(
		&t->numbers, addr, port, *holder, &req->inner_addr, inner_port_of(req, port));
	t->holders[*holder].n_numbers++;
	note_symmetric(t, i);
	return i;
}

/* A symmetric number with this port would be the second that leads to the same inner endpoint. */
static bool is_led_to(const struct lease_table *t, const struct lease_request *req, uint32_t holder,
	uint16_t port)
{
	return req->is_symmetric && holder != 0 &&
	       lease_number_find_live(&t->numbers, holder, &req->inner_addr, port) != 0;
}

/* A random free port of this address; 0: none. */
static uint16_t choose_port(struct lease_table *t, const struct lease_request *req, uint32_t holder,
	const struct ip_addr *addr)
{
	uint16_t port = 0;

	for (unsigned i = 0; i < SYMMETRIC_TRIES; i++) {
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

	while (i != 0 && (!ip_equal(&t->numbers.numbers[i].public_addr, addr) ||
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
		if (holder != 0 && t->holders[holder].n_numbers >= 2ull * req->peer_max_leases)
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
		reclaim_number(t, i, req);
	else
		i = lease_holder_number_add(t, req, &holder, addr, port);
	t->holders[holder].n_live++;
	t->holders[holder].public_addr = *addr;
	*out = i;
	return 0;
}

static int take_number_anywhere(
	struct lease_table *t, const struct lease_request *req, uint32_t holder, uint32_t *out)
{
	bool is_v4 = ip_is_v4(&req->inner_addr);
	struct ip_addr addr;
	uint64_t n, start;
	int r = -ENOSPC;

	/* Its address of old first: that is where others may still look for it. */
	if (holder != 0 && ip_is_v4(&t->holders[holder].public_addr) == is_v4) {
		addr = t->holders[holder].public_addr;
		if (take_number_at(t, req, holder, &addr, out) == 0)
			return 0;
	}
	if (ip_is_v4(&req->paired_addr) == is_v4 &&
		lease_pool_contains(&t->conf, &req->paired_addr) &&
		take_number_at(t, req, holder, &req->paired_addr, out) == 0)
		return 0;
	n = lease_pool_count(&t->conf, is_v4);
	if (n == 0)
		return -EADDRNOTAVAIL;
	start = lease_random_below(&t->numbers, n);
	for (uint64_t i = 0; r < 0 && i < n && i < ADDRESS_TRIES; i++) {
		addr = lease_pool_address(&t->conf, is_v4, (start + i) % n);
		r = take_number_at(t, req, holder, &addr, out);
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

	addr = is_paired ? t->holders[holder].public_addr : req->public_addr;
	if (is_asked && !ip_equal(&addr, &req->public_addr))
		return -EXDEV;
	if (ip_is_v4(&addr) != ip_is_v4(&req->inner_addr))
		return -EADDRNOTAVAIL;
	return take_number_at(t, req, holder, &addr, out);
}

/* A suggestion is followed whole, or in its address, or not at all. */
static int take_number(
	struct lease_table *t, const struct lease_request *req, uint32_t holder, uint32_t *out)
{
	struct lease_request less = *req;
	int r = take_asked_number(t, req, holder, out);

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
	if (from->protos & LEASE_PROTO_TCP)
		n->lease[0] = i;
	if (from->protos & LEASE_PROTO_UDP)
		n->lease[1] = i;
	t->number_of[i] = number;
	lease_index_add(&t->by_id, hash_id(from->id), i);
	lease_list_append(&h->leases, t->lease_links, i);
	h->n_leases++;
	t->n_leases++;
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
		.opened_ns = now_ns,
		.until_ns = last_moment(t, req, now_ns),
		.idle_ns = req->idle_ns,
		.n_sources = req->n_sources,
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
	t->n_leases--;
	for (unsigned proto = 0; proto < 2; proto++)
		if (n->lease[proto] == i)
			n->lease[proto] = 0;
	if (!lease_number_is_live(n))
		retire_number(t, t->number_of[i], now_ns);

	*out = *l;
	out->state = t->conf.reserve_ns > 0 ? LEASE_RESERVED : LEASE_QUARANTINE;
	out->expires_ns =
		lease_time_add(lease_time_add(now_ns, t->conf.reserve_ns), t->conf.quarantine_ns);
	memset(l, 0, sizeof(*l));
	lease_slab_put(&t->slab, i);
}

bool lease_request_is_sound(const struct lease_request *req)
{
	return (req->protos & LEASE_PROTO_BOTH) != 0 && (req->protos & ~LEASE_PROTO_BOTH) == 0 &&
	       req->peer_idx != UINT32_MAX && (req->inner_port != 0 || req->is_symmetric) &&
	       !ip_is_none(&req->inner_addr) && req->n_sources <= LEASE_SOURCES_MAX;
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

int lease_grant(struct lease_table *t, const struct lease_request *req, uint64_t now_ns,
	const struct lease **out)
{
	uint32_t holder, number, i;
	int r;

	if (!lease_request_is_sound(req))
		return -EINVAL;
	if (req->until_ns != 0 && req->until_ns <= now_ns)
		return -ETIME;
	move_due_numbers(t, now_ns);
	holder = lease_holder_find(t, req->peer_idx);
	number = req->is_symmetric
			 ? lease_live_symmetric(t, holder, &req->inner_addr)
			 : lease_live_number(t, holder, &req->inner_addr, req->inner_port);

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

	if (req->peer_max_leases <= (holder != 0 ? t->holders[holder].n_leases : 0))
		return -EDQUOT;
	if (t->n_leases == t->conf.max_leases)
		return -ENOSPC;
	if (number == 0) {
		r = take_number(t, req, holder, &number);
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

/* ---- ends ---- */

int lease_close(struct lease_table *t, uint64_t id, uint64_t now_ns, struct lease *out)
{
	uint32_t i = lease_id_find(t, id);

	if (i == 0)
		return -ENOENT;
	move_due_numbers(t, now_ns);
	end_lease(t, i, now_ns, out);
	return 0;
}

bool lease_expire_next(struct lease_table *t, uint64_t now_ns, struct lease *out)
{
	uint32_t i = lease_heap_first(&t->deadlines);

	move_due_numbers(t, now_ns);
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

unsigned lease_peer_reach_set(struct lease_table *t, uint32_t peer_idx, bool is_reachable)
{
	uint32_t holder = lease_holder_find(t, peer_idx), i;
	unsigned n = 0;

	if (holder == 0 || t->holders[holder].is_unreachable == !is_reachable)
		return 0;
	t->holders[holder].is_unreachable = !is_reachable;
	for (i = t->holders[holder].leases.head; i != 0; i = t->lease_links[i].next, n++)
		t->leases[i].state = is_reachable ? LEASE_ACTIVE : LEASE_SUSPENDED;
	return n;
}
