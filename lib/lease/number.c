#include "lease/number.h"

#include <assert.h>

#define SPARSE_PROBES 128

struct public_key {
	uint8_t addr[16];
	uint16_t port;
};
static_assert(sizeof(struct public_key) == 18, "no padding may reach the hash");

struct inner_key {
	uint32_t holder;
	uint8_t addr[16];
	uint32_t port;
};
static_assert(sizeof(struct inner_key) == 24, "no padding may reach the hash");

/* ---- memory ---- */

static bool is_denied(const struct lease_conf *conf, uint32_t port)
{
	for (unsigned i = 0; i < conf->n_deny; i++)
		if (port >= conf->deny[i].first && port <= conf->deny[i].last)
			return true;
	return false;
}

static bool rank_ports(struct lease_numbers *ns)
{
	const struct lease_conf *conf = ns->conf;

	ns->port_of = calloc(UINT16_MAX + 1, sizeof(*ns->port_of));
	ns->rank_of = malloc((UINT16_MAX + 1) * sizeof(*ns->rank_of));
	if (!ns->port_of || !ns->rank_of)
		return false;
	memset(ns->rank_of, 0xff, (UINT16_MAX + 1) * sizeof(*ns->rank_of));
	static_assert(LEASE_PORT_DENIED == 0xffff, "what memset wrote");
	for (uint32_t port = conf->port_first; port <= conf->port_last; port++) {
		if (is_denied(conf, port))
			continue;
		ns->rank_of[port] = (uint16_t)ns->n_ports;
		ns->port_of[ns->n_ports++] = (uint16_t)port;
	}
	assert(ns->n_ports > 0);
	return true;
}

static uint32_t bitmap_words(const struct lease_numbers *ns)
{
	return (ns->n_ports + 63) / 64;
}

bool lease_numbers_init(
	struct lease_numbers *ns, const struct lease_conf *conf, uint32_t n_max, uint64_t n_places)
{
	uint64_t n_bitmaps;
	uint32_t quarter;

	ns->conf = conf;
	if (!rank_ports(ns))
		return false;
	conf->random(ns->hash_key, sizeof(ns->hash_key));
	if (n_places > n_max)
		n_places = n_max;
	/* A place keeps its bitmap until less than a quarter of its ports is used. Ranges that are
	 * kept may use more ports than there are numbers: places that come then go without. */
	quarter = ns->n_ports / 4 > 0 ? ns->n_ports / 4 : 1;
	n_bitmaps = n_max / quarter;
	if (n_bitmaps > n_places)
		n_bitmaps = n_places;

	ns->numbers = lease_array_create(n_max, sizeof(*ns->numbers));
	ns->kept_links = lease_array_create(n_max, sizeof(*ns->kept_links));
	ns->places = calloc(n_places + 1, sizeof(*ns->places));
	ns->bitmaps = calloc((n_bitmaps + 1) * bitmap_words(ns), sizeof(*ns->bitmaps));
	return ns->numbers && ns->kept_links && ns->places && ns->bitmaps &&
	       lease_slab_init(&ns->slab, n_max) && lease_index_init(&ns->by_public, n_max) &&
	       lease_index_init(&ns->by_inner, n_max) &&
	       lease_slab_init(&ns->place_slab, (uint32_t)n_places) &&
	       lease_index_init(&ns->by_addr, (uint32_t)n_places) &&
	       lease_slab_init(&ns->bitmap_slab, (uint32_t)n_bitmaps);
}

void lease_numbers_fini(struct lease_numbers *ns)
{
	free(ns->numbers);
	free(ns->kept_links);
	free(ns->port_of);
	free(ns->rank_of);
	free(ns->places);
	free(ns->bitmaps);
	lease_slab_fini(&ns->slab);
	lease_index_fini(&ns->by_public);
	lease_index_fini(&ns->by_inner);
	lease_slab_fini(&ns->place_slab);
	lease_index_fini(&ns->by_addr);
	lease_slab_fini(&ns->bitmap_slab);
	crypto_wipe(ns->hash_key, sizeof(ns->hash_key));
}

bool lease_number_is_denied(const struct lease_numbers *ns, uint16_t port)
{
	return is_denied(ns->conf, port);
}

/* ---- hashing and chance ---- */

uint64_t lease_hash(const struct lease_numbers *ns, const void *key, size_t len)
{
	return crypto_siphash(ns->hash_key, key, len);
}

static uint64_t hash_public(
	const struct lease_numbers *ns, const struct ip_addr *addr, uint16_t port)
{
	struct public_key key = {.port = port};

	memcpy(key.addr, addr->bytes, sizeof(key.addr));
	return lease_hash(ns, &key, sizeof(key));
}

static uint64_t hash_inner(
	const struct lease_numbers *ns, uint32_t holder, const struct ip_addr *addr, uint16_t port)
{
	struct inner_key key = {.holder = holder, .port = port};

	memcpy(key.addr, addr->bytes, sizeof(key.addr));
	return lease_hash(ns, &key, sizeof(key));
}

static uint32_t random_word(struct lease_numbers *ns)
{
	if (ns->n_random == 0) {
		ns->conf->random(ns->random_words, sizeof(ns->random_words));
		ns->n_random = sizeof(ns->random_words) / sizeof(ns->random_words[0]);
	}
	return ns->random_words[--ns->n_random];
}

uint64_t lease_random_below(struct lease_numbers *ns, uint64_t n)
{
	uint64_t r = (uint64_t)random_word(ns) << 32;

	return (r | random_word(ns)) % n;
}

/* ---- places and their bitmaps ---- */

static uint32_t find_place(const struct lease_numbers *ns, const struct ip_addr *addr)
{
	uint64_t hash = lease_hash(ns, addr->bytes, sizeof(addr->bytes));
	uint32_t i;

	for (i = lease_index_first(&ns->by_addr, hash); i != 0; i = ns->by_addr.next[i])
		if (ip_equal(&ns->places[i].addr, addr))
			break;
	return i;
}

static uint64_t *bitmap_of(const struct lease_numbers *ns, const struct lease_place *p)
{
	return ns->bitmaps + (size_t)p->bitmap * bitmap_words(ns);
}

/* bit: the port's rank. */
static void set_used(
	const struct lease_numbers *ns, const struct lease_place *p, uint32_t bit, bool is_used)
{
	uint64_t *word = bitmap_of(ns, p) + bit / 64, mask = 1ull << bit % 64;

	if (p->bitmap == 0)
		return;
	*word = is_used ? *word | mask : *word & ~mask;
}

/* Random probing is quick while half of the ports are free. Beyond, a bitmap keeps the choice quick
 * up to the last free port. Building it asks for each port once, which the uses that it took to
 * come here have paid for; it is dropped only at a quarter, so that no toggling at the edge repeats
 * it. When all bitmaps are in use, probing has to do. */
static void adjust_bitmap(struct lease_numbers *ns, struct lease_place *p)
{
	if (p->bitmap == 0 && p->n_used > ns->n_ports / 2) {
		p->bitmap = lease_slab_get(&ns->bitmap_slab);
		if (p->bitmap == 0)
			return;
		memset(bitmap_of(ns, p), 0, bitmap_words(ns) * sizeof(uint64_t));
		for (uint32_t bit = 0; bit < ns->n_ports; bit++)
			if (lease_number_find(ns, &p->addr, ns->port_of[bit]))
				set_used(ns, p, bit, true);
	} else if (p->bitmap != 0 && (p->n_used == 0 || p->n_used < ns->n_ports / 4)) {
		lease_slab_put(&ns->bitmap_slab, p->bitmap);
		p->bitmap = 0;
	}
}

/* The free port of this rank; rank is less than the number of free ports. */
static uint32_t find_free_bit(
	const struct lease_numbers *ns, const struct lease_place *p, uint32_t rank)
{
	const uint64_t *words = bitmap_of(ns, p);
	uint64_t free_bits = ~words[0];
	uint32_t i = 0, n;

	while (rank >= (n = (uint32_t)__builtin_popcountll(free_bits))) {
		rank -= n;
		free_bits = ~words[++i];
	}
	for (; rank > 0; rank--)
		free_bits &= free_bits - 1;
	return i * 64 + (uint32_t)__builtin_ctzll(free_bits);
}

uint16_t lease_number_choose(struct lease_numbers *ns, const struct ip_addr *addr)
{
	uint32_t place = find_place(ns, addr), rank;
	const struct lease_place *p = &ns->places[place];
	uint16_t port;

	if (place != 0 && p->n_used == ns->n_ports)
		return 0;
	if (place != 0 && p->bitmap != 0) {
		rank = (uint32_t)lease_random_below(ns, ns->n_ports - p->n_used);
		return ns->port_of[find_free_bit(ns, p, rank)];
	}
	for (unsigned i = 0; i < SPARSE_PROBES; i++) {
		port = ns->port_of[lease_random_below(ns, ns->n_ports)];
		if (lease_number_find(ns, addr, port) == 0)
			return port;
	}
	/* Nearly all are used and no bitmap was left, or the generator is none. The next free port
	 * after a random one will do; there is one. */
	rank = (uint32_t)lease_random_below(ns, ns->n_ports);
	while (lease_number_find(ns, addr, ns->port_of[rank]) != 0)
		rank = (rank + 1) % ns->n_ports;
	return ns->port_of[rank];
}

static bool is_range_free(
	const struct lease_numbers *ns, const struct ip_addr *addr, uint32_t first, uint16_t n)
{
	for (uint32_t port = first; port < first + n; port++)
		if (!lease_number_is_allowed(ns, (uint16_t)port) ||
			lease_number_find(ns, addr, (uint16_t)port) != 0)
			return false;
	return true;
}

/* From a random one on, each in turn: not uniform where many are taken, and never in vain. */
uint16_t lease_number_choose_range(struct lease_numbers *ns, const struct ip_addr *addr, uint16_t n)
{
	uint32_t begin = ((uint32_t)ns->conf->port_first + n - 1) / n;
	uint32_t end = ((uint32_t)ns->conf->port_last + 1) / n, n_ranges = end - begin, at;

	if (end <= begin)
		return 0;
	at = (uint32_t)lease_random_below(ns, n_ranges);
	for (uint32_t i = 0; i < n_ranges; i++) {
		uint32_t first = (begin + (at + i) % n_ranges) * n;

		if (is_range_free(ns, addr, first, n))
			return (uint16_t)first;
	}
	return 0;
}

/* ---- numbers ---- */

static uint32_t find_sized(const struct lease_numbers *ns, const struct ip_addr *addr,
	uint16_t first, uint32_t n_ports)
{
	const struct lease_number *n;
	uint32_t i = lease_index_first(&ns->by_public, hash_public(ns, addr, first));

	for (; i != 0; i = ns->by_public.next[i]) {
		n = &ns->numbers[i];
		if (n->public_port == first && n->n_ports == n_ports &&
			ip_equal(&n->public_addr, addr))
			break;
	}
	return i;
}

/* Ranges do not overlap, so at most one of the sizes has the port. */
uint32_t lease_number_find(
	const struct lease_numbers *ns, const struct ip_addr *addr, uint16_t port)
{
	uint32_t i = find_sized(ns, addr, port, 1);

	for (uint32_t sizes = ns->sizes; i == 0 && sizes != 0; sizes &= sizes - 1) {
		uint32_t n_ports = 1u << __builtin_ctz(sizes);

		i = find_sized(ns, addr, (uint16_t)(port & ~(n_ports - 1)), n_ports);
	}
	return i;
}

uint32_t lease_number_find_overlap(
	const struct lease_numbers *ns, const struct ip_addr *addr, uint16_t first, uint16_t n)
{
	uint32_t found = 0;

	for (uint32_t port = first; found == 0 && port < (uint32_t)first + n; port++)
		found = lease_number_find(ns, addr, (uint16_t)port);
	return found;
}

static bool is_for(const struct lease_number *n, uint32_t holder, const struct ip_addr *inner_addr,
	uint16_t inner_port)
{
	return n->holder == holder && n->inner_port == inner_port && n->n_ports == 1 &&
	       ip_equal(&n->inner_addr, inner_addr);
}

uint32_t lease_number_find_live(const struct lease_numbers *ns, uint32_t holder,
	const struct ip_addr *inner_addr, uint16_t inner_port)
{
	uint32_t i =
		lease_index_first(&ns->by_inner, hash_inner(ns, holder, inner_addr, inner_port));

	for (; i != 0; i = ns->by_inner.next[i])
		if (lease_number_is_live(&ns->numbers[i]) &&
			is_for(&ns->numbers[i], holder, inner_addr, inner_port))
			break;
	return i;
}

/* Ended later: a reservation is younger than any quarantine. */
static bool is_younger(const struct lease_number *a, const struct lease_number *b)
{
	if (a->state != b->state)
		return a->state == LEASE_RESERVED;
	return a->until_ns > b->until_ns;
}

uint32_t lease_number_find_former(const struct lease_numbers *ns, const struct ip_addr *public_addr,
	uint32_t holder, const struct ip_addr *inner_addr, uint16_t inner_port)
{
	uint32_t i = lease_index_first(
			 &ns->by_inner, hash_inner(ns, holder, inner_addr, inner_port)),
		 last = 0;
	const struct lease_number *n;

	for (; i != 0; i = ns->by_inner.next[i]) {
		n = &ns->numbers[i];
		if (!lease_number_is_live(n) && is_for(n, holder, inner_addr, inner_port) &&
			ip_equal(&n->public_addr, public_addr) &&
			(last == 0 || is_younger(n, &ns->numbers[last])))
			last = i;
	}
	return last;
}

static uint64_t hash_inner_of(const struct lease_numbers *ns, const struct lease_number *n)
{
	return hash_inner(ns, n->holder, &n->inner_addr, n->inner_port);
}

static void set_all_used(struct lease_numbers *ns, const struct lease_place *p,
	const struct lease_number *n, bool is_used)
{
	for (uint32_t i = 0; i < n->n_ports; i++)
		set_used(ns, p, ns->rank_of[n->public_port + i], is_used);
}

/* The port is used on the number's address, so that it is not chosen again. */
static void take_place(struct lease_numbers *ns, struct lease_number *n)
{
	struct lease_place *p;

	n->place = find_place(ns, &n->public_addr);
	p = &ns->places[n->place];
	if (n->place == 0) {
		n->place = lease_slab_get(&ns->place_slab);
		assert(n->place != 0);
		p = &ns->places[n->place];
		*p = (struct lease_place){.addr = n->public_addr};
		lease_index_add(&ns->by_addr, lease_hash(ns, p->addr.bytes, sizeof(p->addr.bytes)),
			n->place);
	}
	p->n_used += n->n_ports;
	set_all_used(ns, p, n, true);
	adjust_bitmap(ns, p);
}

static void leave_place(struct lease_numbers *ns, const struct lease_number *n)
{
	struct lease_place *p = &ns->places[n->place];

	p->n_used -= n->n_ports;
	set_all_used(ns, p, n, false);
	adjust_bitmap(ns, p);
	if (p->n_used > 0)
		return;
	lease_index_del(
		&ns->by_addr, lease_hash(ns, p->addr.bytes, sizeof(p->addr.bytes)), n->place);
	lease_slab_put(&ns->place_slab, n->place);
}

static void count_size(struct lease_numbers *ns, uint16_t n_ports, int by)
{
	unsigned size = (unsigned)__builtin_ctz(n_ports);

	ns->n_of_size[size] += (uint32_t)by;
	if (size > 0 && ns->n_of_size[size] > 0)
		ns->sizes |= 1u << size;
	else
		ns->sizes &= ~(1u << size);
}

uint32_t lease_number_add(struct lease_numbers *ns, const struct lease_number *n)
{
	uint32_t i = lease_slab_get(&ns->slab);

	if (i == 0)
		return 0;
	ns->numbers[i] = *n;
	lease_index_add(&ns->by_public, hash_public(ns, &n->public_addr, n->public_port), i);
	lease_index_add(&ns->by_inner, hash_inner_of(ns, n), i);
	count_size(ns, n->n_ports, 1);
	if (!lease_is_pinhole(&n->public_addr) && !lease_is_whole(n->public_port))
		take_place(ns, &ns->numbers[i]);
	return i;
}

static uint32_t ports_kept_in(const struct lease_number *n)
{
	return lease_is_whole(n->public_port) ? 0 : n->n_ports;
}

static void stop_keeping(struct lease_numbers *ns, uint32_t i)
{
	struct lease_number *n = &ns->numbers[i];

	if (n->state == LEASE_FREE)
		return;
	lease_list_del(
		n->state == LEASE_RESERVED ? &ns->reserved : &ns->quarantine, ns->kept_links, i);
	ns->n_reserved -= n->state == LEASE_RESERVED;
	n->state = LEASE_FREE;
	ns->n_kept--;
	ns->n_kept_ports -= ports_kept_in(n);
}

void lease_number_keep(
	struct lease_numbers *ns, uint32_t i, enum lease_state state, uint64_t until_ns)
{
	stop_keeping(ns, i);
	ns->numbers[i].state = state;
	ns->numbers[i].until_ns = until_ns;
	lease_list_append(
		state == LEASE_RESERVED ? &ns->reserved : &ns->quarantine, ns->kept_links, i);
	ns->n_kept++;
	ns->n_kept_ports += ports_kept_in(&ns->numbers[i]);
	ns->n_reserved += state == LEASE_RESERVED;
}

void lease_number_reclaim(
	struct lease_numbers *ns, uint32_t i, const struct ip_addr *inner_addr, uint16_t inner_port)
{
	struct lease_number *n = &ns->numbers[i];

	stop_keeping(ns, i);
	lease_index_del(&ns->by_inner, hash_inner_of(ns, n), i);
	n->inner_addr = *inner_addr;
	n->inner_port = inner_port;
	lease_index_add(&ns->by_inner, hash_inner_of(ns, n), i);
}

void lease_number_disown(struct lease_numbers *ns, uint32_t i)
{
	struct lease_number *n = &ns->numbers[i];

	lease_index_del(&ns->by_inner, hash_inner_of(ns, n), i);
	n->holder = 0;
	lease_index_add(&ns->by_inner, hash_inner_of(ns, n), i);
}

void lease_number_del(struct lease_numbers *ns, uint32_t i)
{
	const struct lease_number *n = &ns->numbers[i];

	stop_keeping(ns, i);
	lease_index_del(&ns->by_inner, hash_inner_of(ns, n), i);
	lease_index_del(&ns->by_public, hash_public(ns, &n->public_addr, n->public_port), i);
	count_size(ns, n->n_ports, -1);
	if (n->place != 0)
		leave_place(ns, n);
	lease_slab_put(&ns->slab, i);
}
