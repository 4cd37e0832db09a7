/* doors_test.c - leases become visible and invisible to workers, whole and in time. */
#include "doors/doors.h"
#include "doors/index.h"

#include "eal.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_LEASES 16
#define MAX_PEERS  256

struct world {
	struct grace *grace;
	struct doors *doors;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->grace = grace_create(2);
	assert_non_null(w->grace);
	w->doors = doors_create(MAX_LEASES, MAX_PEERS, w->grace, -1);
	assert_non_null(w->doors);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	doors_destroy(w->doors);
	grace_destroy(w->grace);
	free(w);
	return 0;
}

static bool admits(const struct door *door, const struct ip_addr *src)
{
	const struct door_terms *terms = door_terms_of(door);

	return terms == NULL || door_terms_admit_source(terms, src);
}

static uint32_t peer_of(uint64_t lease_id)
{
	return (uint32_t)((lease_id + 100) % MAX_PEERS);
}

static struct lease lease_of(uint64_t id, uint16_t public_port, uint8_t protos)
{
	struct lease l = {
		.id = id,
		.state = LEASE_ACTIVE,
		.peer_idx = peer_of(id),
		.protos = protos,
		.public_port = public_port,
		.inner_port = (uint16_t)(public_port + 1),
	};

	l.public_addr = ip_from_v4((const uint8_t[]){203, 0, 113, 7});
	l.inner_addr = ip_from_v4((const uint8_t[]){10, 0, 0, 9});
	return l;
}

static struct door *lookup_public(struct world *w, const struct lease *l, uint8_t proto)
{
	struct door_public_key key = {.addr_v4 = {203, 0, 113, 7}, .proto = proto};

	key.port_be16 = htons(l->public_port);
	return doors_lookup_public(w->doors, &key);
}

static struct door *lookup_inner(struct world *w, const struct lease *l, uint8_t proto)
{
	struct door_inner_key key = {
		.peer_idx = l->peer_idx, .addr_v4 = {10, 0, 0, 9}, .proto = proto};
	struct door *out;

	key.port_be16 = htons(l->inner_port);
	doors_lookup_inner_bulk(w->doors, &key, 1, &out);
	return out;
}

/* A lease on the n-th public address. */
static struct lease lease_on(uint64_t id, unsigned nth, uint16_t public_port)
{
	struct lease l = lease_of(id, public_port, LEASE_PROTO_BOTH);

	l.public_addr = ip_from_v4((const uint8_t[]){198, 51, (uint8_t)(nth >> 8), (uint8_t)nth});
	return l;
}

static struct door *lookup_on(struct world *w, unsigned nth, uint16_t public_port, uint8_t proto)
{
	struct door_public_key key;

	door_public_key_set(&key, (const uint8_t[]){198, 51, (uint8_t)(nth >> 8), (uint8_t)nth},
		public_port, proto);
	return doors_lookup_public(w->doors, &key);
}

/* More addresses than the index has room for: leases on the others are found all the same, and
 * beside those of the index in one burst. */
static void test_any_number_of_addresses(void **state)
{
	static const unsigned last = 3 * DOOR_INDEX_ADDRS / 2;
	struct world *w = *state;
	struct lease first = lease_on(1, 0, 40000), l;

	assert_int_equal(doors_open(w->doors, &first), 0);
	for (unsigned nth = 1; nth <= last; nth++) {
		struct door_public_key both[2];
		struct door *out[2];

		l = lease_on(1 + nth, nth, (uint16_t)(20000 + nth));
		assert_null(lookup_on(w, nth, l.public_port, IPPROTO_UDP));
		assert_int_equal(doors_open(w->doors, &l), 0);
		door_public_key_set(
			&both[0], ip_v4_bytes(&l.public_addr), l.public_port, IPPROTO_TCP);
		door_public_key_set(&both[1], ip_v4_bytes(&first.public_addr), 40000, IPPROTO_UDP);
		doors_lookup_public_bulk(w->doors, both, 2, out);
		assert_true(out[0] && out[1]);
		assert_int_equal(doors_lease_id(w->doors, out[0]), l.id);
		assert_int_equal(doors_lease_id(w->doors, out[1]), first.id);
		assert_null(lookup_on(w, nth, 40000, IPPROTO_UDP));
		assert_null(lookup_on(w, nth, l.public_port, IPPROTO_ICMP));
		assert_int_equal(doors_close(w->doors, l.id), 0);
		assert_null(lookup_on(w, nth, l.public_port, IPPROTO_UDP));
		assert_null(lookup_on(w, nth, l.public_port, IPPROTO_TCP));
		while (grace_poll(w->grace) > 0)
			;
	}
}

static void test_both_sides_lead_to_one_record(void **state)
{
	struct world *w = *state;
	struct lease l = lease_of(1, 40000, LEASE_PROTO_BOTH);
	struct door *door;

	assert_null(lookup_public(w, &l, IPPROTO_TCP));
	assert_int_equal(doors_open(w->doors, &l), 0);
	assert_int_equal(doors_count(w->doors), 1);
	door = lookup_public(w, &l, IPPROTO_TCP);
	assert_non_null(door);
	assert_ptr_equal(lookup_public(w, &l, IPPROTO_UDP), door);
	assert_ptr_equal(lookup_inner(w, &l, IPPROTO_TCP), door);
	assert_ptr_equal(lookup_inner(w, &l, IPPROTO_UDP), door);
	assert_null(lookup_public(w, &l, IPPROTO_ICMP));
	assert_int_equal(door->peer_idx, 101);
	assert_int_equal(door->public_port, 40000);
	assert_int_equal(door->inner_port, 40001);
	assert_memory_equal(door->public_v4, ip_v4_bytes(&l.public_addr), 4);
	assert_memory_equal(door->inner_v4, ip_v4_bytes(&l.inner_addr), 4);
	assert_true(door_is(door, 1));
	assert_true(doors_peer_has(w->doors, 101));
	assert_false(doors_peer_has(w->doors, 102));
	assert_int_equal(doors_close(w->doors, 1), 0);
	assert_false(doors_peer_has(w->doors, 101));
	assert_int_equal(doors_close(w->doors, 1), -ENOENT);
	assert_int_equal(doors_count(w->doors), 0);
	assert_null(lookup_public(w, &l, IPPROTO_TCP));
	assert_null(lookup_inner(w, &l, IPPROTO_UDP));
	/* The pointer that a packet carries tells that it is shut, whichever generation it saw. */
	assert_false(door_is(door, 1));
	assert_false(door_is(door, 2));
}

static void test_each_port_of_a_range_is_a_key(void **state)
{
	struct world *w = *state;
	struct lease l = lease_of(1, 40000, LEASE_PROTO_TCP), one, next = lease_of(2, 40008, 3);
	struct door *door;

	l.n_ports = next.n_ports = 8;
	assert_int_equal(doors_open(w->doors, &l), 0);
	assert_int_equal(doors_count(w->doors), 1);
	door = lookup_public(w, &l, IPPROTO_TCP);
	for (uint16_t i = 0; i < 8; i++) {
		one = lease_of(1, (uint16_t)(40000 + i), LEASE_PROTO_TCP);
		assert_ptr_equal(lookup_public(w, &one, IPPROTO_TCP), door);
		assert_ptr_equal(lookup_inner(w, &one, IPPROTO_TCP), door);
		assert_null(lookup_public(w, &one, IPPROTO_UDP));
		assert_int_equal(door_inner_port_of(door, one.public_port), one.inner_port);
		assert_int_equal(door_public_port_of(door, one.inner_port), one.public_port);
	}
	one = lease_of(1, 40008, LEASE_PROTO_TCP);
	assert_null(lookup_public(w, &one, IPPROTO_TCP));
	/* The other protocol joins, all of it. */
	l.protos = LEASE_PROTO_BOTH;
	assert_int_equal(doors_open(w->doors, &l), 0);
	one = lease_of(1, 40007, LEASE_PROTO_BOTH);
	assert_ptr_equal(lookup_public(w, &one, IPPROTO_UDP), door);
	/* It has taken 8 of MAX_LEASES. */
	assert_int_equal(doors_open(w->doors, &next), 0);
	one = lease_of(3, 50000, LEASE_PROTO_TCP);
	assert_int_equal(doors_open(w->doors, &one), -ENOSPC);
	assert_int_equal(doors_close(w->doors, 1), 0);
	for (uint16_t i = 0; i < 8; i++) {
		one = lease_of(1, (uint16_t)(40000 + i), LEASE_PROTO_BOTH);
		assert_null(lookup_public(w, &one, IPPROTO_UDP));
		assert_null(lookup_inner(w, &one, IPPROTO_TCP));
	}
}

/* What a worker meets between doors_close's first step and its last, or in doors_open. */
static void test_a_keys_a_shut_record_finds_nothing(void **state)
{
	struct world *w = *state;
	struct lease l = lease_of(1, 40000, LEASE_PROTO_TCP);
	struct door *door;

	assert_int_equal(doors_open(w->doors, &l), 0);
	door = lookup_public(w, &l, IPPROTO_TCP);
	atomic_fetch_add(&door->generation, 1);
	assert_null(lookup_public(w, &l, IPPROTO_TCP));
	assert_null(lookup_inner(w, &l, IPPROTO_TCP));
}

static void test_one_protocol_leaves_the_other_shut(void **state)
{
	struct world *w = *state;
	struct lease l = lease_of(2, 40000, LEASE_PROTO_UDP);
	struct door *door;

	assert_int_equal(doors_open(w->doors, &l), 0);
	assert_null(lookup_public(w, &l, IPPROTO_TCP));
	assert_null(lookup_inner(w, &l, IPPROTO_TCP));
	door = lookup_public(w, &l, IPPROTO_UDP);
	assert_non_null(door);
	door->counters.in_pkts = 5;

	/* A renewal adds the companion: same record, same generation, counters kept. */
	l.protos = LEASE_PROTO_BOTH;
	assert_int_equal(doors_open(w->doors, &l), 0);
	assert_int_equal(doors_count(w->doors), 1);
	assert_ptr_equal(lookup_public(w, &l, IPPROTO_TCP), door);
	assert_ptr_equal(lookup_inner(w, &l, IPPROTO_TCP), door);
	assert_true(door_is(door, 1));
	assert_int_equal(door->counters.in_pkts, 5);

	l.protos = LEASE_PROTO_TCP;
	assert_int_equal(doors_open(w->doors, &l), 0);
	assert_null(lookup_public(w, &l, IPPROTO_UDP));
	assert_ptr_equal(lookup_public(w, &l, IPPROTO_TCP), door);
}

static void test_sources_are_replaced_whole(void **state)
{
	struct world *w = *state;
	struct lease l = lease_of(3, 40000, LEASE_PROTO_TCP);
	struct ip_addr in, out;
	struct door *door;
	const struct door_terms *seen;

	assert_int_equal(ip_addr_parse("198.51.100.20", &in), 0);
	assert_int_equal(ip_addr_parse("198.51.101.20", &out), 0);
	assert_int_equal(ip_prefix_parse("198.51.100.0/24", &l.sources[0]), 0);
	l.n_sources = 1;
	assert_int_equal(doors_open(w->doors, &l), 0);
	door = lookup_public(w, &l, IPPROTO_TCP);
	assert_true(admits(door, &in));
	assert_false(admits(door, &out));

	/* A reader that is inside keeps the old set readable (the sanitizer watches). */
	grace_reader_online(w->grace, 0);
	seen = door_terms_of(door);
	assert_int_equal(doors_open(w->doors, &l), 0);
	assert_ptr_equal(door_terms_of(door), seen);
	assert_int_equal(ip_prefix_parse("198.51.101.0/24", &l.sources[0]), 0);
	assert_int_equal(doors_open(w->doors, &l), 0);
	assert_false(admits(door, &in));
	assert_true(admits(door, &out));
	grace_poll(w->grace);
	assert_int_equal(seen->n_sources, 1);
	grace_reader_offline(w->grace, 0);
	assert_true(grace_poll(w->grace) > 0);

	l.n_sources = 0;
	assert_int_equal(doors_open(w->doors, &l), 0);
	assert_true(admits(door, &in));
	assert_true(admits(door, &out));
	assert_true(door_is(door, 1));
}

static void test_capacity(void **state)
{
	struct world *w = *state;
	struct lease l;

	for (unsigned i = 0; i < MAX_LEASES; i++) {
		l = lease_of(i + 1, (uint16_t)(40000 + 2 * i), LEASE_PROTO_BOTH);
		assert_int_equal(doors_open(w->doors, &l), 0);
	}
	l = lease_of(99, 50000, LEASE_PROTO_BOTH);
	assert_int_equal(doors_open(w->doors, &l), -ENOSPC);
	assert_false(doors_peer_has(w->doors, l.peer_idx));
	assert_null(lookup_public(w, &l, IPPROTO_TCP));
	assert_int_equal(doors_count(w->doors), MAX_LEASES);
	assert_int_equal(doors_close(w->doors, 1), 0);
	assert_int_equal(doors_open(w->doors, &l), 0);
	assert_non_null(lookup_public(w, &l, IPPROTO_TCP));
}

static void test_records_wait_for_readers(void **state)
{
	struct world *w = *state;
	struct lease l = lease_of(1, 40000, LEASE_PROTO_TCP);
	struct door *first, *second, *third;
	struct door_counters c;

	grace_reader_online(w->grace, 1);
	assert_int_equal(doors_open(w->doors, &l), 0);
	first = lookup_public(w, &l, IPPROTO_TCP);
	first->counters.out_bytes = 77;
	first->counters.last_used_ns = 5;
	doors_counters_get(w->doors, 1, &c);
	assert_int_equal(c.out_bytes, 77);
	assert_int_equal(c.last_used_ns, 5);
	assert_int_equal(doors_close(w->doors, 1), 0);
	doors_counters_get(w->doors, 1, &c);
	assert_int_equal(c.out_bytes, 0);
	grace_poll(w->grace);

	/* Reader 1 may still hold the first record: the same port gets another. */
	l.id = 2;
	assert_int_equal(doors_open(w->doors, &l), 0);
	second = lookup_public(w, &l, IPPROTO_TCP);
	assert_ptr_not_equal(second, first);
	assert_int_equal(first->counters.out_bytes, 77);
	grace_reader_quiescent(w->grace, 1);
	assert_true(grace_poll(w->grace) > 0);
	assert_int_equal(first->counters.out_bytes, 0);
	l = lease_of(3, 41000, LEASE_PROTO_TCP);
	assert_int_equal(doors_open(w->doors, &l), 0);
	third = lookup_public(w, &l, IPPROTO_TCP);
	assert_ptr_equal(third, first);
	assert_true(door_is(third, 3));
	assert_false(door_is(third, 1));
	grace_reader_offline(w->grace, 1);
}

static void test_addresses_that_doors_do_not_serve(void **state)
{
	struct world *w = *state;
	struct lease l = lease_of(1, 40000, LEASE_PROTO_TCP);

	assert_int_equal(ip_addr_parse("2001:db8::1", &l.inner_addr), 0);
	assert_int_equal(doors_open(w->doors, &l), -EAFNOSUPPORT);
	assert_int_equal(doors_count(w->doors), 0);
	doors_destroy(NULL);
}

/* IPv6 is not translated: one key, the peer's own endpoint, leads both ways. */
static void test_pinhole(void **state)
{
	struct world *w = *state;
	struct lease l = lease_of(1, 8080, LEASE_PROTO_TCP);
	struct door_v6_key key = {.port_be16 = rte_cpu_to_be_16(8080), .proto = IPPROTO_TCP};
	struct door *door;

	assert_int_equal(ip_addr_parse("2001:db8::1", &l.inner_addr), 0);
	l.public_addr = l.inner_addr;
	l.inner_port = l.public_port;
	memcpy(key.addr, l.inner_addr.bytes, sizeof(key.addr));
	assert_null(doors_lookup_v6(w->doors, &key));
	assert_int_equal(doors_open(w->doors, &l), 0);
	door = doors_lookup_v6(w->doors, &key);
	assert_non_null(door);
	assert_int_equal(door->peer_idx, l.peer_idx);
	key.proto = IPPROTO_UDP;
	assert_null(doors_lookup_v6(w->doors, &key));
	key.proto = IPPROTO_TCP;
	assert_int_equal(doors_close(w->doors, l.id), 0);
	assert_null(doors_lookup_v6(w->doors, &key));

	/* It is at the peer's own port, no other. */
	l.public_port++;
	assert_int_equal(doors_open(w->doors, &l), -EAFNOSUPPORT);
}

/* --- readers that run --- */

#define N_PORTS	 8
#define N_ROUNDS 20000

struct race {
	struct world *w;
	_Atomic bool is_over;
	_Atomic bool is_shut[N_PORTS]; /* closed, and a grace period has passed */
	_Atomic uint64_t n_found, n_faults;
};

/* DPDK bound the first thread, and so its children, to one CPU: races need two. */
static void use_all_cpus(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(all), &all), 0);
}

static void *reader(void *arg)
{
	struct race *r = arg;
	struct door_public_key keys[N_PORTS] = {0};
	struct door *out[N_PORTS];
	bool was_shut[N_PORTS];

	for (unsigned i = 0; i < N_PORTS; i++) {
		memcpy(keys[i].addr_v4, (const uint8_t[]){203, 0, 113, 7}, 4);
		keys[i].port_be16 = htons((uint16_t)(40000 + i));
		keys[i].proto = IPPROTO_UDP;
	}
	use_all_cpus();
	grace_reader_online(r->w->grace, 0);
	while (!atomic_load(&r->is_over)) {
		for (unsigned i = 0; i < N_PORTS; i++)
			was_shut[i] = atomic_load(&r->is_shut[i]);
		doors_lookup_public_bulk(r->w->doors, keys, N_PORTS, out);
		for (unsigned i = 0; i < N_PORTS; i++) {
			if (!out[i])
				continue;
			atomic_fetch_add(&r->n_found, 1);
			if (out[i]->public_port != 40000 + i ||
				(was_shut[i] && atomic_load(&r->is_shut[i])))
				atomic_fetch_add(&r->n_faults, 1);
		}
		grace_reader_quiescent(r->w->grace, 0);
	}
	grace_reader_offline(r->w->grace, 0);
	return NULL;
}

static void set_true(void *arg)
{
	atomic_store((_Atomic bool *)arg, true);
}

static void test_no_reader_meets_a_wrong_or_a_shut_door(void **state)
{
	struct world *w = *state;
	unsigned long seed = eal_test_seed(7);
	struct race r = {.w = w};
	uint64_t open_id[N_PORTS] = {0}, next_id = 1;
	pthread_t thread;

	srandom((unsigned)seed);
	for (unsigned i = 0; i < N_PORTS; i++)
		atomic_store(&r.is_shut[i], true);
	assert_int_equal(pthread_create(&thread, NULL, reader, &r), 0);
	for (unsigned round = 0; round < N_ROUNDS || atomic_load(&r.n_found) == 0; round++) {
		unsigned i = (unsigned)random() % N_PORTS;

		if (open_id[i]) {
			assert_int_equal(doors_close(w->doors, open_id[i]), 0);
			open_id[i] = 0;
			assert_int_equal(grace_defer(w->grace, set_true, &r.is_shut[i]), 0);
		} else if (atomic_load(&r.is_shut[i])) {
			struct lease l = lease_of(next_id, (uint16_t)(40000 + i), LEASE_PROTO_BOTH);

			atomic_store(&r.is_shut[i], false);
			assert_int_equal(doors_open(w->doors, &l), 0);
			open_id[i] = next_id++;
		}
		grace_poll(w->grace);
	}
	atomic_store(&r.is_over, true);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&r.n_faults), 0);
	assert_true(atomic_load(&r.n_found) > 0);
	while (grace_poll(w->grace) > 0)
		;
}

/* What is known of those who knock is kept for as long as the door is open, and a worker whose
 * share is used up says so. */
static void test_knocks_have_room_for_so_many(void **state)
{
	struct world *w = *state;
	const struct door_knock knock = {.src_port = 9};
	uint64_t id = 1, n = 0;
	struct door_seen seen;

	for (unsigned round = 0; round < 3; round++) {
		for (n = 0; n < MAX_LEASES; n++) {
			struct lease l = lease_of(id + n, (uint16_t)(1000 + n), LEASE_PROTO_UDP);
			struct door_sight sight;
			struct door *door;

			assert_int_equal(doors_open(w->doors, &l), 0);
			door = lookup_public(w, &l, IPPROTO_UDP);
			assert_non_null(door);
			if (!doors_see(w->doors, 1, door, &knock, &sight))
				break;
			assert_true(door_note(&sight, NS_IN_S));
			assert_false(door_note(&sight, NS_IN_S));
			assert_true(doors_seen_get(w->doors, l.id, NS_IN_S, &seen));
			assert_int_equal(seen.sources, 1);
			assert_int_equal(seen.new_flows, 1);
		}
		/* One of two readers' shares. */
		assert_int_equal(n, MAX_LEASES / 2);
		for (uint64_t i = 0; i <= n; i++)
			assert_int_equal(doors_close(w->doors, id + i), 0);
		while (grace_poll(w->grace) > 0)
			;
		id += n + 1;
	}
}

/* Whose key it is; 0: nobody's. */
static uint64_t owner_of(
	const struct lease *leases, unsigned n, const struct lease *probe, uint8_t proto)
{
	uint8_t bit = proto == IPPROTO_TCP   ? LEASE_PROTO_TCP
		      : proto == IPPROTO_UDP ? LEASE_PROTO_UDP
					     : 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned at = (uint16_t)(probe->inner_port - leases[i].inner_port);

		if (leases[i].peer_idx == probe->peer_idx && leases[i].protos & bit &&
			at < leases[i].n_ports)
			return leases[i].id;
	}
	return 0;
}

/* Each key of the neighbourhood leads to the lease that has it, and to no other: places of inner
 * keys are few here, so many of them are shared. */
static void check_inner_keys(struct world *w, const struct lease *leases, unsigned n)
{
	static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};

	for (unsigned i = 0; i < 14 * n; i++) {
		struct lease probe = leases[i / 14];

		probe.inner_port = (uint16_t)(probe.inner_port + i % 7 - 2);
		probe.peer_idx ^= i / 7 % 2;
		for (unsigned k = 0; k < sizeof(protos); k++) {
			struct door *door = lookup_inner(w, &probe, protos[k]);

			assert_true((door ? doors_lease_id(w->doors, door) : 0) ==
				    owner_of(leases, n, &probe, protos[k]));
		}
	}
}

/* Leases come, change their protocols and go. */
static void change_inner_keys(struct world *w)
{
	static const uint8_t protos[] = {LEASE_PROTO_TCP, LEASE_PROTO_UDP, LEASE_PROTO_BOTH};
	struct lease leases[MAX_LEASES / 2];
	unsigned n = 0;

	for (uint64_t id = 1; id <= 2 * MAX_LEASES; id++) {
		unsigned at = n < MAX_LEASES / 2 ? n++ : (unsigned)(id * 7 % n);

		if (id > n)
			assert_int_equal(doors_close(w->doors, leases[at].id), 0);
		leases[at] = lease_of(id, (uint16_t)(id * 16), protos[id % 3]);
		leases[at].peer_idx = (uint32_t)(id % 2);
		leases[at].n_ports = id % 5 == 0 ? 2 : 1;
		assert_int_equal(doors_open(w->doors, &leases[at]), 0);
		leases[at].protos = protos[id / 3 % 3];
		assert_int_equal(doors_open(w->doors, &leases[at]), 0);
		check_inner_keys(w, leases, n);
		while (grace_poll(w->grace) > 0)
			;
	}
}

/* Which keys share a place is decided at random once for all doors: so they are made again. */
static void test_inner_keys_are_told_apart(void **state)
{
	struct world *w = *state;

	for (unsigned round = 0; round < 300; round++) {
		change_inner_keys(w);
		doors_destroy(w->doors);
		w->doors = doors_create(MAX_LEASES, MAX_PEERS, w->grace, -1);
		assert_non_null(w->doors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_both_sides_lead_to_one_record, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_each_port_of_a_range_is_a_key, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_keys_a_shut_record_finds_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_one_protocol_leaves_the_other_shut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sources_are_replaced_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_number_of_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_capacity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_records_wait_for_readers, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_addresses_that_doors_do_not_serve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inner_keys_are_told_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pinhole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_knocks_have_room_for_so_many, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_no_reader_meets_a_wrong_or_a_shut_door, setup, teardown),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
