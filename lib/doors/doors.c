#include "doors/impl.h"

#include "base/bytes.h"
#include "crypto/crypto.h"
#include "peer/sparse.h"

#include <rte_prefetch.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_NONE UINT32_MAX

static const struct {
	uint8_t bit, number;
} protos[] = {{LEASE_PROTO_TCP, IPPROTO_TCP}, {LEASE_PROTO_UDP, IPPROTO_UDP}};

#define N_PROTOS (sizeof(protos) / sizeof(protos[0]))
/* Places for each lease: with two keys of each, nine of ten find theirs free. */
#define INNER_PLACES_EACH 8

/* LEASE_PROTO_* bits whose keys are in the tables. */
static uint8_t protos_of(const struct door *door)
{
	return atomic_load_explicit(&door->protos, memory_order_relaxed);
}

static void protos_set(struct door *door, unsigned bits)
{
	atomic_store_explicit(&door->protos, (uint8_t)bits, memory_order_relaxed);
}

/* Of the at-th port of the door. */
static void keys_build(const struct door *door, uint16_t at, uint8_t proto,
	struct door_public_key *public, struct door_inner_key *inner)
{
	door_public_key_set(public, door->public_v4, (uint16_t)(door->public_port + at), proto);

	memset(inner, 0, sizeof(*inner));
	inner->peer_idx = door->peer_idx;
	memcpy(inner->addr_v4, door->inner_v4, 4);
	store_be16((uint8_t *)&inner->port_be16, (uint16_t)(door->inner_port + at));
	inner->proto = proto;
}

/* --- create and destroy --- */

/* No more than there are doors, in shares that any worker can use up alone. */
static bool shares_create(struct doors *d, uint32_t n_shares, int socket_id)
{
	uint32_t n = d->max_open < KNOCKS_MAX ? d->max_open : KNOCKS_MAX;

	d->n_shares = n_shares;
	d->share_size = (n + n_shares - 1) / n_shares;
	d->knocks =
		sparse_alloc((size_t)d->n_shares * d->share_size, sizeof(*d->knocks), socket_id);
	d->shares = sparse_alloc(n_shares, sizeof(*d->shares), socket_id);
	for (uint32_t i = 0; d->knocks && d->shares && i < n_shares; i++) {
		d->shares[i].records = d->knocks + (size_t)i * d->share_size;
		d->shares[i].n = d->share_size;
	}
	return d->knocks && d->shares;
}

static bool places_create(struct doors *d, int socket_id)
{
	unsigned bits = rte_log2_u64((uint64_t)d->max_open * INNER_PLACES_EACH);

	d->inner_places.shift = 64 - bits;
	d->inner_places.records =
		sparse_alloc((size_t)1 << bits, sizeof(*d->inner_places.records), socket_id);
	return d->inner_places.records != NULL;
}

struct doors *doors_create(uint32_t max_leases, uint32_t max_peers, struct grace *g, int socket_id)
{
	/* Closed doors keep their record and keys for a grace period: room for an eighth more. */
	uint32_t n = max_leases + max_leases / 8 + 8;
	struct doors *d = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*d));

	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->grace = g;
	d->n_records = n;
	d->max_peers = max_peers;
	d->max_open = max_leases;
	d->free_head = RECORD_NONE;
	crypto_random(d->hash_key, sizeof(d->hash_key));
	crypto_random((uint8_t *)&d->factor, sizeof(d->factor));
	d->factor |= 1;
	d->notes = sparse_alloc(n, sizeof(*d->notes), -1);
	d->n_of_peer = sparse_alloc(max_peers, sizeof(*d->n_of_peer), socket_id);
	d->records = sparse_alloc(n, sizeof(*d->records), socket_id);
	d->failures = sparse_alloc(n, sizeof(*d->failures), socket_id);
	d->by_public = table_create("doors_public", max_leases * N_PROTOS,
		sizeof(struct door_public_key), socket_id, g);
	d->by_inner = table_create(
		"doors_inner", max_leases * N_PROTOS, sizeof(struct door_inner_key), socket_id, g);
	d->by_v6 = table_create(
		"doors_v6", max_leases * N_PROTOS, sizeof(struct door_v6_key), socket_id, g);
	d->by_lease = table_create("doors_lease", max_leases, sizeof(uint64_t), socket_id, g);
	if (door_index_init(&d->index, socket_id) < 0 || !places_create(d, socket_id) ||
		!shares_create(d, grace_readers(g), socket_id) || !d->notes || !d->n_of_peer ||
		!d->records || !d->failures || !d->by_public || !d->by_inner || !d->by_v6 ||
		!d->by_lease) {
		doors_destroy(d);
		return NULL;
	}
	return d;
}

void doors_destroy(struct doors *d)
{
	if (!d)
		return;
	/* No reader runs, so all that was deferred is due; some of it points here. */
	while (grace_poll(d->grace) > 0)
		;
	for (uint32_t i = 0; d->records && i < d->n_fresh; i++)
		door_terms_destroy(door_terms_of(&d->records[i]));
	door_index_fini(&d->index);
	sparse_free(d->inner_places.records, (size_t)1 << (64 - d->inner_places.shift),
		sizeof(*d->inner_places.records));
	table_destroy(d->by_public);
	table_destroy(d->by_inner);
	table_destroy(d->by_v6);
	table_destroy(d->by_lease);
	sparse_free(d->n_of_peer, d->max_peers, sizeof(*d->n_of_peer));
	sparse_free(d->records, d->n_records, sizeof(*d->records));
	sparse_free(d->notes, d->n_records, sizeof(*d->notes));
	sparse_free(d->failures, d->n_records, sizeof(*d->failures));
	sparse_free(d->knocks, (size_t)d->n_shares * d->share_size, sizeof(*d->knocks));
	sparse_free(d->shares, d->n_shares, sizeof(*d->shares));
	crypto_wipe(d->hash_key, sizeof(d->hash_key));
	crypto_wipe(&d->factor, sizeof(d->factor));
	free(d);
}

/* --- records: fresh or free -> open -> retired -> (a grace period) -> free --- */

static struct door *record_get(struct doors *d)
{
	uint32_t i = d->free_head;

	if (i != RECORD_NONE)
		d->free_head = d->notes[i].next;
	else if (d->n_fresh < d->n_records)
		i = d->n_fresh++;
	else
		return NULL;
	d->notes[i].doors = d;
	return &d->records[i];
}

/* Those that were never touched stay so. */
static void failures_clear(struct door_failures *f)
{
	for (unsigned i = 0; i < DOOR_N_FAILURES; i++)
		if (f->of[i].n != 0)
			memset(&f->of[i], 0, sizeof(f->of[i]));
}

static void record_put(struct doors *d, struct door *door)
{
	struct knocks *k = atomic_load_explicit(&door->knocks, memory_order_relaxed);
	struct note *note = note_of(d, door);

	if (k)
		knocks_return(&d->shares[(size_t)(k - d->knocks) / d->share_size], k);
	atomic_store_explicit(&door->knocks, NULL, memory_order_relaxed);

	door_terms_destroy(door_terms_of(door));
	atomic_store_explicit(&door->terms, NULL, memory_order_relaxed);
	memset(&door->counters, 0, sizeof(door->counters));
	failures_clear(&d->failures[door - d->records]);
	note->next = d->free_head;
	d->free_head = (uint32_t)(door - d->records);
}

static void record_graced(void *arg)
{
	struct note *note = arg;
	struct doors *d = note->doors;

	record_put(d, &d->records[note - d->notes]);
}

/* Unpublished: used again when no worker can have it in hand. */
static void record_retire(struct doors *d, struct door *door)
{
	struct note *note = note_of(d, door);

	grace_defer_work(d->grace, &note->retire, record_graced, note);
}

/* --- keys --- */

/* One key for all its ports and protocols: port 0 of protocol 0, which no packet has. */
static bool is_whole(const struct doors *d, const struct door *door)
{
	return !note_of(d, door)->is_v6 && lease_is_whole(door->public_port);
}

static int public_add(struct doors *d, const struct door_public_key *key, struct door *door)
{
	_Atomic uint32_t *entry = door_index_make(
		&d->index, key->addr_v4, key->proto, rte_be_to_cpu_16(key->port_be16));
	int rc;

	if (!entry) {
		rc = table_add(d->by_public, key, door);
		atomic_fetch_add_explicit(&d->n_hashed, rc == 0, memory_order_release);
		return rc;
	}
	if (atomic_load_explicit(entry, memory_order_relaxed) != 0)
		return -EEXIST;
	atomic_store_explicit(entry, (uint32_t)(door - d->records) + 1, memory_order_release);
	return 0;
}

static void public_del(struct doors *d, const struct door_public_key *key)
{
	_Atomic uint32_t *entry = entry_of(d, key);

	if (entry)
		atomic_store_explicit(entry, 0, memory_order_relaxed);
	else if (table_del(d->by_public, key) == 0)
		atomic_fetch_sub_explicit(&d->n_hashed, 1, memory_order_relaxed);
}

static void place_take(struct doors *d, const struct door *door, uint16_t port, uint8_t proto)
{
	_Atomic uint32_t *place = inner_place(d, door->peer_idx, port, proto);

	if (atomic_load_explicit(place, memory_order_relaxed) == 0)
		atomic_store_explicit(
			place, (uint32_t)(door - d->records) + 1, memory_order_release);
}

static void place_leave(struct doors *d, const struct door *door, uint16_t port, uint8_t proto)
{
	_Atomic uint32_t *place = inner_place(d, door->peer_idx, port, proto);

	if (atomic_load_explicit(place, memory_order_relaxed) == (uint32_t)(door - d->records) + 1)
		atomic_store_explicit(place, 0, memory_order_relaxed);
}

static int port_add_v4(struct doors *d, struct door *door, uint16_t at, uint8_t proto)
{
	struct door_public_key public;
	struct door_inner_key inner;
	int rc;

	keys_build(door, at, proto, &public, &inner);
	rc = public_add(d, &public, door);
	if (rc != 0)
		return rc;
	rc = table_add(d->by_inner, &inner, door);
	if (rc != 0)
		public_del(d, &public);
	else if (proto != 0)
		place_take(d, door, (uint16_t)(door->inner_port + at), proto);
	return rc;
}

static void ports_del_v4(struct doors *d, const struct door *door, uint16_t n_ports, uint8_t proto)
{
	struct door_public_key public;
	struct door_inner_key inner;

	for (uint16_t at = 0; at < n_ports; at++) {
		keys_build(door, at, proto, &public, &inner);
		public_del(d, &public);
		place_leave(d, door, (uint16_t)(door->inner_port + at), proto);
		table_del(d->by_inner, &inner);
	}
}

/* One key for each port of a range, so that a packet's look-up is the same for all leases. */
static int ports_add_v4(struct doors *d, struct door *door, uint8_t proto)
{
	for (uint16_t at = 0; at < door->n_ports; at++) {
		int rc = port_add_v4(d, door, at, proto);

		if (rc != 0) {
			ports_del_v4(d, door, at, proto);
			return rc;
		}
	}
	return 0;
}

static struct door_v6_key key_build_v6(
	const struct doors *d, const struct door *door, uint8_t proto)
{
	struct door_v6_key key = {.proto = proto};

	memcpy(key.addr, note_of(d, door)->inner_v6.bytes, sizeof(key.addr));
	store_be16((uint8_t *)&key.port_be16, door->inner_port);
	return key;
}

static int key_add(struct doors *d, struct door *door, uint8_t proto)
{
	struct door_v6_key key;

	if (!note_of(d, door)->is_v6)
		return ports_add_v4(d, door, proto);
	key = key_build_v6(d, door, proto);
	return table_add(d->by_v6, &key, door);
}

static void key_del(struct doors *d, const struct door *door, uint8_t proto)
{
	struct door_v6_key key;

	if (!note_of(d, door)->is_v6) {
		ports_del_v4(d, door, door->n_ports, proto);
		return;
	}
	key = key_build_v6(d, door, proto);
	table_del(d->by_v6, &key);
}

static void keys_del(struct doors *d, struct door *door, uint8_t bits)
{
	uint8_t left = protos_of(door) & (uint8_t)~bits;

	if (is_whole(d, door)) {
		if (left == 0)
			ports_del_v4(d, door, 1, 0);
	} else {
		for (unsigned i = 0; i < N_PROTOS; i++)
			if (bits & protos[i].bit)
				key_del(d, door, protos[i].number);
	}
	protos_set(door, left);
}

/* All of bits or none. */
static int keys_add(struct doors *d, struct door *door, uint8_t bits)
{
	uint8_t done = 0;

	if (is_whole(d, door)) {
		int rc = protos_of(door) == 0 ? port_add_v4(d, door, 0, 0) : 0;

		if (rc == 0)
			protos_set(door, protos_of(door) | bits);
		return rc;
	}
	for (unsigned i = 0; i < N_PROTOS; i++) {
		int rc;

		if (!(bits & protos[i].bit))
			continue;
		rc = key_add(d, door, protos[i].number);
		if (rc != 0) {
			keys_del(d, door, done);
			return rc;
		}
		done |= protos[i].bit;
	}
	protos_set(door, protos_of(door) | done);
	return 0;
}

/* --- open and close --- */

static struct door *find(const struct doors *d, uint64_t lease_id)
{
	return table_lookup(d->by_lease, &lease_id);
}

static int update(struct doors *d, struct door *door, const struct lease *lease)
{
	struct door_terms *old = door_terms_of(door), *new = old;
	uint8_t had = protos_of(door);
	int rc;

	if (!door_terms_equal(old, lease)) {
		rc = door_terms_create(lease, &new);
		if (rc != 0)
			return rc;
	}
	rc = keys_add(d, door, lease->protos & (uint8_t)~had);
	if (rc != 0) {
		if (new != old)
			door_terms_destroy(new);
		return rc;
	}
	if (new != old) {
		atomic_store_explicit(&door->terms, new, memory_order_release);
		if (old)
			grace_defer_work(d->grace, &old->retire, door_terms_destroy, old);
	}
	keys_del(d, door, had & (uint8_t)~lease->protos);
	return 0;
}

static int open_new(struct doors *d, const struct lease *lease)
{
	struct door_terms *terms;
	struct door *door;
	int rc;

	if (d->max_open - d->n_ports < lease_ports_of(lease->n_ports))
		return -ENOSPC;
	rc = door_terms_create(lease, &terms);
	if (rc != 0)
		return rc;
	door = record_get(d);
	if (!door) {
		door_terms_destroy(terms);
		return -ENOSPC;
	}
	door->peer_idx = lease->peer_idx;
	note_of(d, door)->lease_id = lease->id;
	door->n_ports = lease_ports_of(lease->n_ports);
	note_of(d, door)->is_v6 = !ip_is_v4(&lease->inner_addr);
	note_of(d, door)->inner_v6 = lease->inner_addr;
	memset(door->public_v4, 0, 4);
	memset(door->inner_v4, 0, 4);
	if (ip_is_v4(&lease->inner_addr)) {
		memcpy(door->public_v4, ip_v4_bytes(&lease->public_addr), 4);
		memcpy(door->inner_v4, ip_v4_bytes(&lease->inner_addr), 4);
	}
	door->public_port = lease->public_port;
	door->inner_port = lease->inner_port;
	atomic_store_explicit(&door->terms, terms, memory_order_relaxed);
	protos_set(door, 0);

	rc = table_add(d->by_lease, &lease->id, door);
	if (rc == 0) {
		rc = keys_add(d, door, lease->protos);
		if (rc != 0)
			table_del(d->by_lease, &lease->id);
	}
	if (rc != 0) {
		/* A worker may have seen a key of it, though shut. */
		record_retire(d, door);
		return rc;
	}
	d->n_open++;
	d->n_ports += door->n_ports;
	if (is_whole(d, door))
		atomic_fetch_add_explicit(&d->n_whole, 1, memory_order_relaxed);
	/* Before it opens: who sees it open can see that there is one. */
	atomic_fetch_add_explicit(&d->n_of_peer[door->peer_idx], 1, memory_order_relaxed);
	/* The keys lead to a record that is shut until now: all of them open at one moment. */
	atomic_fetch_add_explicit(&door->generation, 1, memory_order_release);
	return 0;
}

/* IPv6 is not translated: its lease is a hole at the inner endpoint. */
static bool is_supported(const struct lease *l)
{
	if (ip_is_v4(&l->inner_addr))
		return ip_is_v4(&l->public_addr);
	return !lease_is_range(l->n_ports) && ip_equal(&l->inner_addr, &l->public_addr) &&
	       l->inner_port == l->public_port;
}

int doors_open(struct doors *d, const struct lease *lease)
{
	struct door *door = find(d, lease->id);

	if (!is_supported(lease))
		return -EAFNOSUPPORT;
	return door ? update(d, door, lease) : open_new(d, lease);
}

/* Of the hash tables by a look-up of what is not there, which reads the buckets where it will be. A
 * range's first port only. */
void doors_prefetch(const struct doors *d, const struct lease *leases, unsigned n)
{
	struct door_inner_key inner[TABLE_BULK_MAX];
	const void *inner_at[TABLE_BULK_MAX], *id_at[TABLE_BULK_MAX];
	struct door_public_key public;
	void *ignored[TABLE_BULK_MAX];
	unsigned n_keys = 0;

	static_assert(DOORS_PREFETCH_MAX * N_PROTOS <= TABLE_BULK_MAX, "one look-up a table");
	for (unsigned i = 0; i < n; i++) {
		const struct lease *l = &leases[i];
		struct door door = {.peer_idx = l->peer_idx,
			.public_port = l->public_port,
			.inner_port = l->inner_port};

		id_at[i] = &l->id;
		if (!ip_is_v4(&l->inner_addr) || !ip_is_v4(&l->public_addr))
			continue;
		memcpy(door.public_v4, ip_v4_bytes(&l->public_addr), 4);
		memcpy(door.inner_v4, ip_v4_bytes(&l->inner_addr), 4);
		for (unsigned k = 0; k < N_PROTOS; k++) {
			if (!(l->protos & protos[k].bit))
				continue;
			keys_build(&door, 0, protos[k].number, &public, &inner[n_keys]);
			rte_prefetch0((const void *)entry_of(d, &public));
			rte_prefetch0((const void *)inner_place(
				d, l->peer_idx, l->inner_port, protos[k].number));
			inner_at[n_keys] = &inner[n_keys];
			n_keys++;
		}
	}
	(void)table_lookup_bulk(d->by_lease, id_at, n, ignored);
	(void)table_lookup_bulk(d->by_inner, inner_at, n_keys, ignored);
}

int doors_close(struct doors *d, uint64_t lease_id)
{
	struct door *door = find(d, lease_id);

	if (!door)
		return -ENOENT;
	atomic_fetch_add_explicit(&door->generation, 1, memory_order_release);
	keys_del(d, door, protos_of(door));
	table_del(d->by_lease, &lease_id);
	d->n_open--;
	d->n_ports -= door->n_ports;
	if (is_whole(d, door))
		atomic_fetch_sub_explicit(&d->n_whole, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&d->n_of_peer[door->peer_idx], 1, memory_order_relaxed);
	record_retire(d, door);
	return 0;
}

static const struct door *look_up(const struct doors *d, const struct door *door, uint8_t proto)
{
	struct door_public_key public;
	struct door_v6_key key;

	if (note_of(d, door)->is_v6) {
		key = key_build_v6(d, door, proto);
		return doors_lookup_v6(d, &key);
	}
	if (is_whole(d, door))
		return doors_lookup_whole(d, door->public_v4);
	door_public_key_set(&public, door->public_v4, door->public_port, proto);
	return doors_lookup_public(d, &public);
}

bool doors_has(const struct doors *d, const struct lease *lease)
{
	const struct door *door = find(d, lease->id);

	if (!is_open(door))
		return false;
	for (unsigned i = 0; i < N_PROTOS; i++)
		if ((lease->protos & protos[i].bit) && look_up(d, door, protos[i].number) != door)
			return false;
	return true;
}

/* Written by a worker meanwhile: each word is whole, together they may be a burst apart. */
void doors_counters_get(const struct doors *d, uint64_t lease_id, struct door_counters *out)
{
	const struct door *door = find(d, lease_id);
	const struct door_counters *c;

	memset(out, 0, sizeof(*out));
	if (!door)
		return;
	c = &door->counters;
	out->in_pkts = __atomic_load_n(&c->in_pkts, __ATOMIC_RELAXED);
	out->in_bytes = __atomic_load_n(&c->in_bytes, __ATOMIC_RELAXED);
	out->out_pkts = __atomic_load_n(&c->out_pkts, __ATOMIC_RELAXED);
	out->out_bytes = __atomic_load_n(&c->out_bytes, __ATOMIC_RELAXED);
	out->refused_pkts = __atomic_load_n(&c->refused_pkts, __ATOMIC_RELAXED);
	out->limited_pkts = __atomic_load_n(&c->limited_pkts, __ATOMIC_RELAXED);
	out->last_used_ns = __atomic_load_n(&c->last_used_ns, __ATOMIC_RELAXED);
}

void doors_used_set(struct doors *d, uint64_t lease_id, uint64_t at_ns)
{
	struct door *door = find(d, lease_id);

	if (door)
		__atomic_store_n(&door->counters.last_used_ns, at_ns, __ATOMIC_RELAXED);
}

uint64_t doors_lease_id(const struct doors *d, const struct door *door)
{
	return note_of(d, door)->lease_id;
}

bool doors_seen_get(
	const struct doors *d, uint64_t lease_id, uint64_t now_ns, struct door_seen *out)
{
	const struct door *door = find(d, lease_id);
	const struct knocks *k =
		door ? atomic_load_explicit(&door->knocks, memory_order_acquire) : NULL;

	if (!k)
		return false;
	out->sources = sketch_estimate(&k->sources);
	out->new_flows = __atomic_load_n(&k->new_flows, __ATOMIC_RELAXED);
	out->window_flows = knocks_window_flows(k, now_ns);
	return true;
}

void doors_failures_get(const struct doors *d, uint64_t lease_id, struct door_failures *out)
{
	const struct door *door = find(d, lease_id);
	const struct door_failures *f;

	memset(out, 0, sizeof(*out));
	if (!door)
		return;
	f = &d->failures[door - d->records];
	for (unsigned i = 0; i < DOOR_N_FAILURES; i++) {
		out->of[i].n = __atomic_load_n(&f->of[i].n, __ATOMIC_RELAXED);
		out->of[i].last_ns = __atomic_load_n(&f->of[i].last_ns, __ATOMIC_RELAXED);
	}
}

uint32_t doors_count(const struct doors *d)
{
	return d->n_open;
}
