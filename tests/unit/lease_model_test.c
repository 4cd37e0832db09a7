/* Random operations on a small table, each compared with a model that scans plain arrays. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lease/lease.h"

#include <errno.h>
#include <string.h>

#include "seeded.h"

#define ROUNDS	      400
#define OPS_PER_ROUND 5000
#define ADDRS	      3
#define PORTS_MAX     12
#define NUMBERS_MAX   (ADDRS * PORTS_MAX)
#define PEERS	      6
#define PORT_FIRST    50000
#define DEFAULT_TTL   10
#define MAX_TTL	      25
#define QUARANTINE    20
#define RESERVE	      30
#define MAX_AGE	      40

enum { FREE = -2, ORPHAN = -1 }; /* instead of an owner */

struct model_lease {
	uint64_t id; /* 0: none */
	uint32_t peer;
	uint8_t protos;
	unsigned number;
	uint64_t ttl, expires, until;
};

struct model_number {
	int owner;
	unsigned inner; /* inner endpoint */
	uint64_t reserved_until, free_at;
	uint64_t retired_at; /* order of events */
};

static struct {
	struct lease_table *t;
	struct lease_conf conf;
	unsigned n_ports;
	uint64_t now, event;
	struct model_number numbers[NUMBERS_MAX]; /* addr * PORTS_MAX + port */
	struct model_lease leases[NUMBERS_MAX * 2];
	unsigned last_addr[PEERS]; /* the address of its last new number */
	bool is_unreachable[PEERS];
	bool is_denied[PORTS_MAX];
} m;

static struct ip_addr public_addr(unsigned i)
{
	return ip_from_v4((const uint8_t[]){198, 51, i < 2 ? 100 : 101, (uint8_t)(i < 2 ? i : 7)});
}

/* Inner endpoints: two addresses, shared by all peers, with three ports each. */
static struct ip_addr inner_addr(unsigned inner)
{
	return ip_from_v4((const uint8_t[]){10, 0, 0, (uint8_t)(1 + inner / 3)});
}

static uint16_t inner_port(unsigned inner)
{
	return (uint16_t)(80 + inner % 3);
}

/* ---- the model's questions, each a scan ---- */

static bool is_live(unsigned number)
{
	for (unsigned i = 0; i < NUMBERS_MAX * 2; i++)
		if (m.leases[i].id != 0 && m.leases[i].number == number)
			return true;
	return false;
}

static struct model_lease *lease_of(unsigned number, uint8_t protos)
{
	for (unsigned i = 0; i < NUMBERS_MAX * 2; i++)
		if (m.leases[i].id != 0 && m.leases[i].number == number &&
			(m.leases[i].protos & protos))
			return &m.leases[i];
	return NULL;
}

static struct model_lease *lease_by_id(uint64_t id)
{
	for (unsigned i = 0; i < NUMBERS_MAX * 2; i++)
		if (m.leases[i].id == id)
			return &m.leases[i];
	return NULL;
}

/* peer UINT32_MAX: all */
static unsigned count_leases(uint32_t peer)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NUMBERS_MAX * 2; i++)
		n += m.leases[i].id != 0 && (peer == UINT32_MAX || m.leases[i].peer == peer);
	return n;
}

static unsigned count_held(int owner, bool is_any_owner)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NUMBERS_MAX; i++)
		n += m.numbers[i].owner == owner || (is_any_owner && m.numbers[i].owner != FREE);
	return n;
}

static int live_number_for(uint32_t peer, unsigned inner)
{
	for (unsigned i = 0; i < NUMBERS_MAX; i++)
		if (m.numbers[i].owner == (int)peer && m.numbers[i].inner == inner && is_live(i))
			return (int)i;
	return -1;
}

static int paired_addr(uint32_t peer)
{
	for (unsigned i = 0; i < NUMBERS_MAX; i++)
		if (m.numbers[i].owner == (int)peer && is_live(i))
			return (int)(i / PORTS_MAX);
	return -1;
}

static bool is_kept(unsigned number)
{
	return m.numbers[number].owner != FREE && !is_live(number);
}

static void free_due(void)
{
	for (unsigned i = 0; i < NUMBERS_MAX; i++)
		if (is_kept(i) && m.numbers[i].free_at <= m.now)
			m.numbers[i].owner = FREE;
	/* A peer that holds nothing is not known as unreachable any more. */
	for (unsigned peer = 0; peer < PEERS; peer++)
		if (count_held((int)peer, false) == 0)
			m.is_unreachable[peer] = false;
}

/* ---- what a grant may give ---- */

/* want[n] becomes true for each number the request may get at this address. 0 or the error. */
static int allowed_at(const struct lease_request *req, unsigned inner, unsigned addr, bool *want)
{
	int former = -1, waiting = -1, r = 0;
	unsigned n_free = 0;

	for (unsigned i = addr * PORTS_MAX; i < addr * PORTS_MAX + m.n_ports; i++) {
		struct model_number *n = &m.numbers[i];

		n_free += n->owner == FREE && !m.is_denied[i % PORTS_MAX];
		if (n->owner != (int)req->peer_idx || is_live(i))
			continue;
		if (n->inner == inner && (former < 0 || n->free_at > m.numbers[former].free_at))
			former = (int)i;
		if (waiting < 0 || n->retired_at < m.numbers[waiting].retired_at)
			waiting = (int)i;
	}
	if (req->public_port != 0) {
		unsigned i = addr * PORTS_MAX + req->public_port - PORT_FIRST;

		if (m.numbers[i].owner == (int)req->peer_idx && !is_live(i)) {
			want[i] = true;
			return 0;
		}
		if (m.numbers[i].owner != FREE)
			return -EADDRINUSE;
	} else if (former >= 0) {
		/* What ended at the same moment is as good. */
		for (unsigned i = addr * PORTS_MAX; i < addr * PORTS_MAX + m.n_ports; i++)
			want[i] |= m.numbers[i].owner == (int)req->peer_idx && !is_live(i) &&
				   m.numbers[i].inner == inner &&
				   m.numbers[i].free_at == m.numbers[former].free_at;
		return 0;
	}

	if (count_held((int)req->peer_idx, false) >= 2 * req->peer_max_leases)
		r = -EDQUOT;
	else if (count_held(0, true) == 2 * m.conf.max_leases)
		r = -ENOSPC;
	else if (n_free == 0)
		r = -ENOSPC;
	if (r < 0 && req->public_port == 0 && waiting >= 0) {
		want[waiting] = true;
		return 0;
	}
	for (unsigned i = addr * PORTS_MAX; r == 0 && i < addr * PORTS_MAX + m.n_ports; i++)
		if (m.numbers[i].owner == FREE && !m.is_denied[i % PORTS_MAX] &&
			(req->public_port == 0 ||
				i % PORTS_MAX == (unsigned)(req->public_port - PORT_FIRST)))
			want[i] = true;
	return r;
}

/* asked: the index of the address asked for; ADDRS: one outside the pool; -1: none. */
static int allowed(const struct lease_request *req, unsigned inner, int asked, bool *want)
{
	int paired = paired_addr(req->peer_idx), r = -ENOSPC, last = 0;

	if (req->public_port != 0 &&
		(req->public_port < PORT_FIRST || req->public_port >= PORT_FIRST + m.n_ports))
		return -ERANGE;
	if (req->public_port != 0 && m.is_denied[req->public_port - PORT_FIRST])
		return -EACCES;
	if (asked == ADDRS)
		return -EADDRNOTAVAIL;
	if (paired >= 0 && asked >= 0 && asked != paired)
		return -EXDEV;
	if (paired >= 0 || asked >= 0)
		return allowed_at(req, inner, (unsigned)(paired >= 0 ? paired : asked), want);

	if (count_held((int)req->peer_idx, false) > 0 &&
		allowed_at(req, inner, m.last_addr[req->peer_idx], want) == 0)
		return 0;
	for (unsigned addr = 0; addr < ADDRS; addr++) {
		last = allowed_at(req, inner, addr, want);
		if (last == 0)
			r = 0;
		else if (r != 0)
			r = last;
	}
	return r;
}

/* A suggestion falls back on any port of the address, then on any address. */
static int allowed_suggestion(
	const struct lease_request *req, unsigned inner, int asked, bool *want)
{
	struct lease_request less = *req;
	int r = allowed(req, inner, asked, want);

	if (r < 0 && req->is_suggestion) {
		less.public_port = 0;
		r = allowed(&less, inner, asked, want);
	}
	if (r < 0 && req->is_suggestion)
		r = allowed(&less, inner, -1, want);
	return r;
}

/* ---- operations ---- */

static void check_lease(const struct lease *l, const struct model_lease *ml)
{
	struct ip_addr addr = public_addr(ml->number / PORTS_MAX);

	assert_non_null(l);
	assert_int_equal(l->id, ml->id);
	assert_int_equal(l->state, m.is_unreachable[ml->peer] ? LEASE_SUSPENDED : LEASE_ACTIVE);
	assert_int_equal(l->peer_idx, ml->peer);
	assert_int_equal(l->protos, ml->protos);
	assert_int_equal(l->public_port, PORT_FIRST + ml->number % PORTS_MAX);
	assert_true(ip_equal(&l->public_addr, &addr));
	assert_int_equal(l->inner_port, inner_port(m.numbers[ml->number].inner));
	assert_int_equal(l->ttl_ns, ml->ttl);
	assert_int_equal(l->expires_ns, ml->expires);
	assert_int_equal(l->until_ns, ml->until);
}

static void model_set_ttl(struct model_lease *ml, uint64_t ttl)
{
	ml->ttl = ttl > m.conf.max_ttl_ns ? m.conf.max_ttl_ns : ttl;
	ml->expires = ml->ttl == TIME_NEVER ? TIME_NEVER : m.now + ml->ttl;
	if (ml->expires > ml->until)
		ml->expires = ml->until;
}

static uint64_t random_ttl(void)
{
	return random_below(4) == 0 ? 0 : random_below(20) == 0 ? TIME_NEVER : random_below(40);
}

static unsigned number_of(const struct lease *l)
{
	unsigned addr = 0;

	while (addr < ADDRS && memcmp(&l->public_addr, &(struct ip_addr[]){public_addr(addr)},
				       sizeof(l->public_addr)) != 0)
		addr++;
	assert_in_range(addr, 0, ADDRS - 1);
	assert_in_range(l->public_port, PORT_FIRST, PORT_FIRST + m.n_ports - 1);
	return addr * PORTS_MAX + l->public_port - PORT_FIRST;
}

static void model_add(
	const struct lease_request *req, unsigned inner, const struct lease *l, bool is_new_number)
{
	unsigned number = number_of(l);
	struct model_lease *ml = lease_by_id(0);

	if (is_new_number) {
		m.numbers[number].owner = (int)req->peer_idx;
		m.numbers[number].inner = inner;
		m.last_addr[req->peer_idx] = number / PORTS_MAX;
	}
	*ml = (struct model_lease){l->id, req->peer_idx, req->protos, number, 0, 0,
		req->until_ns != 0 ? req->until_ns : TIME_NEVER};
	if (m.conf.max_age_ns != 0 && req->ttl_ns != TIME_NEVER &&
		m.now + m.conf.max_age_ns < ml->until)
		ml->until = m.now + m.conf.max_age_ns;
	model_set_ttl(ml, req->ttl_ns != 0 ? req->ttl_ns : DEFAULT_TTL);
	check_lease(l, ml);
}

static void do_grant(void)
{
	unsigned inner = random_below(6);
	int asked = random_below(2) ? -1 : (int)random_below(ADDRS + 1), number, want_r, r;
	bool want[NUMBERS_MAX] = {false};
	struct model_lease *ml = NULL;
	const struct lease *l = NULL;
	struct lease_request req = {
		.peer_idx = random_below(PEERS),
		.peer_max_leases = random_below(8),
		.protos = (uint8_t)(1 + random_below(3)),
		.inner_addr = inner_addr(inner),
		.inner_port = inner_port(inner),
		.public_port =
			random_below(2) ? 0 : (uint16_t)(PORT_FIRST + random_below(m.n_ports)),
		.ttl_ns = random_ttl(),
		.until_ns = random_below(4) ? 0 : m.now + random_below(60),
		.is_suggestion = random_below(2),
	};

	if (asked >= 0)
		req.public_addr = public_addr((unsigned)asked);
	if (asked == ADDRS)
		req.public_addr.bytes[15] = 99;
	if (random_below(50) == 0)
		req.public_port =
			(uint16_t)(random_below(2) ? PORT_FIRST - 1 : PORT_FIRST + m.n_ports);

	r = lease_grant(m.t, &req, m.now, &l);
	if (req.until_ns != 0 && req.until_ns <= m.now) {
		assert_int_equal(r, -ETIME);
		return;
	}
	free_due();
	number = live_number_for(req.peer_idx, inner);
	if (number >= 0)
		ml = lease_of((unsigned)number, req.protos);
	if (ml && (req.protos & ~ml->protos)) {
		assert_int_equal(r, -EEXIST);
	} else if (ml) {
		assert_int_equal(r, 1);
		model_set_ttl(ml, req.ttl_ns != 0 ? req.ttl_ns : ml->ttl);
		check_lease(l, ml);
	} else if (count_leases(req.peer_idx) >= req.peer_max_leases) {
		assert_int_equal(r, -EDQUOT);
	} else if (count_leases(UINT32_MAX) == m.conf.max_leases) {
		assert_int_equal(r, -ENOSPC);
	} else if (number >= 0) {
		assert_int_equal(r, 0);
		assert_int_equal(number_of(l), number);
		model_add(&req, inner, l, false);
	} else {
		want_r = allowed_suggestion(&req, inner, asked, want);
		/* Over several addresses, which of their errors is told depends on chance. */
		assert_int_equal(r < 0, want_r < 0);
		if ((asked >= 0 && !req.is_suggestion) || paired_addr(req.peer_idx) >= 0)
			assert_int_equal(r, want_r);
		if (r == 0) {
			assert_true(want[number_of(l)]);
			model_add(&req, inner, l, true);
		}
	}
	if (r < 0)
		assert_null(l);
}

static void model_end(struct model_lease *ml, const struct lease *out)
{
	unsigned number = ml->number;

	assert_int_equal(out->id, ml->id);
	assert_int_equal(out->peer_idx, ml->peer);
	assert_int_equal(out->state, m.conf.reserve_ns != 0 ? LEASE_RESERVED : LEASE_QUARANTINE);
	assert_int_equal(out->expires_ns, m.now + m.conf.reserve_ns + QUARANTINE);
	assert_int_equal(number_of(out), number);
	ml->id = 0;
	if (!is_live(number)) {
		m.numbers[number].reserved_until = m.now + m.conf.reserve_ns;
		m.numbers[number].free_at = m.now + m.conf.reserve_ns + QUARANTINE;
		m.numbers[number].retired_at = ++m.event;
	}
}

static void do_close_or_renew(bool is_close)
{
	struct model_lease *ml = &m.leases[random_below(NUMBERS_MAX * 2)];
	const struct lease *l = NULL;
	uint64_t ttl = random_ttl();
	struct lease out;

	if (ml->id == 0) {
		assert_int_equal(lease_close(m.t, 1ull << 40, m.now, &out), -ENOENT);
		assert_int_equal(lease_renew(m.t, 1ull << 40, ttl, m.now, &l), -ENOENT);
	} else if (is_close) {
		free_due();
		assert_int_equal(lease_close(m.t, ml->id, m.now, &out), 0);
		model_end(ml, &out);
	} else {
		assert_int_equal(lease_renew(m.t, ml->id, ttl, m.now, &l), 0);
		model_set_ttl(ml, ttl != 0 ? ttl : ml->ttl);
		check_lease(l, ml);
	}
}

static uint64_t first_expiry(void)
{
	uint64_t first = TIME_NEVER;

	for (unsigned i = 0; i < NUMBERS_MAX * 2; i++)
		if (m.leases[i].id != 0 && m.leases[i].expires < first)
			first = m.leases[i].expires;
	return first;
}

static void do_expire(void)
{
	uint64_t first, deadline;
	struct model_lease *ml;
	struct lease out;

	m.now += random_below(6);
	deadline = lease_next_deadline_ns(m.t);
	first = first_expiry();
	/* What a grant freed on its way is gone from the table, and from the model; but only the
	 * table remembers whether it has seen the end of a reservation. */
	for (unsigned i = 0; i < NUMBERS_MAX; i++)
		if (is_kept(i) && m.numbers[i].free_at < first)
			first = m.numbers[i].free_at;
	assert_true(deadline <= first);
	for (unsigned i = 0; i < NUMBERS_MAX; i++)
		if (is_kept(i) && m.numbers[i].reserved_until < first)
			first = m.numbers[i].reserved_until;
	assert_true(deadline >= first);

	free_due();
	while ((first = first_expiry()) <= m.now) {
		assert_true(lease_expire_next(m.t, m.now, &out));
		ml = lease_by_id(out.id);
		assert_non_null(ml);
		assert_int_equal(ml->expires, first);
		model_end(ml, &out);
	}
	assert_false(lease_expire_next(m.t, m.now, &out));
}

static void do_forget(void)
{
	uint32_t peer = random_below(PEERS);
	bool is_busy = count_leases(peer) > 0;

	free_due();
	assert_int_equal(lease_peer_forget(m.t, peer, m.now), is_busy ? -EBUSY : 0);
	for (unsigned i = 0; i < NUMBERS_MAX && !is_busy; i++)
		if (m.numbers[i].owner == (int)peer) {
			m.numbers[i].owner = ORPHAN;
			if (m.numbers[i].reserved_until > m.now) {
				m.numbers[i].reserved_until = m.now;
				m.numbers[i].free_at = m.now + QUARANTINE;
			}
		}
	free_due();
}

static void do_reach(void)
{
	uint32_t peer = random_below(PEERS);
	bool is_reachable = random_below(2);
	unsigned n_want = m.is_unreachable[peer] == is_reachable ? count_leases(peer) : 0;

	if (m.is_unreachable[peer] != is_reachable || count_held((int)peer, false) == 0)
		n_want = 0;
	else
		m.is_unreachable[peer] = !is_reachable;
	assert_int_equal(lease_peer_reach_set(m.t, peer, is_reachable, 0), n_want);
}

/* A new table that is told all that this one knows goes on as this one would have. */
static void do_restart(void)
{
	struct lease_table *fresh = lease_table_create(&m.conf);
	struct lease_held held;
	const struct lease *l;
	uint64_t cursor = 0, last_id = 0;

	assert_non_null(fresh);
	free_due();
	/* Who has nothing; but now no number is due. */
	assert_int_equal(lease_peer_forget(m.t, PEERS, m.now), 0);
	while ((l = lease_next(m.t, UINT32_MAX, &cursor))) {
		assert_int_equal(lease_restore(fresh, l), 0);
		last_id = l->id > last_id ? l->id : last_id;
	}
	cursor = 0;
	while (lease_held_next(m.t, &cursor, &held))
		assert_int_equal(lease_held_restore(fresh, &held, m.now), 0);
	lease_ids_skip(fresh, last_id);
	lease_table_destroy(m.t);
	m.t = fresh;
	memset(m.is_unreachable, 0, sizeof(m.is_unreachable));
}

/* ---- the whole state ---- */

static void check_all(void)
{
	uint32_t peer = random_below(PEERS + 1);
	unsigned n = 0;
	uint64_t cursor = 0;
	const struct lease *l;

	for (unsigned i = 0; i < NUMBERS_MAX; i++) {
		struct ip_addr addr = public_addr(i / PORTS_MAX);

		for (uint8_t protos = 1; protos <= 2; protos++) {
			const struct model_lease *ml = lease_of(i, protos);

			l = lease_find_public(
				m.t, &addr, protos, (uint16_t)(PORT_FIRST + i % PORTS_MAX));
			assert_int_equal(l != NULL, ml != NULL);
			if (ml)
				check_lease(l, ml);
			if (ml)
				assert_ptr_equal(lease_get(m.t, ml->id), l);
		}
	}
	if (peer == PEERS)
		peer = UINT32_MAX;
	assert_int_equal(lease_count(m.t, peer), count_leases(peer));
	while ((l = lease_next(m.t, peer, &cursor))) {
		assert_true(peer == UINT32_MAX || l->peer_idx == peer);
		check_lease(l, lease_by_id(l->id));
		n++;
	}
	assert_int_equal(n, count_leases(peer));
}

/* What is kept, and for whom: each once, and nothing else. */
static void check_held(void)
{
	bool is_seen[NUMBERS_MAX] = {false};
	struct lease_held held;
	uint64_t cursor = 0;
	unsigned n = 0, number, n_want = 0;

	while (lease_held_next(m.t, &cursor, &held)) {
		struct lease as_lease = {
			.public_addr = held.public_addr, .public_port = held.public_port};

		number = number_of(&as_lease);
		assert_true(is_kept(number) && !is_seen[number]);
		is_seen[number] = true;
		assert_int_equal(held.peer_idx, (uint32_t)m.numbers[number].owner);
		assert_int_equal(held.inner_port, inner_port(m.numbers[number].inner));
		assert_int_equal(held.until_ns, held.state == LEASE_RESERVED
							? m.numbers[number].reserved_until
							: m.numbers[number].free_at);
		n++;
	}
	for (unsigned i = 0; i < NUMBERS_MAX; i++)
		n_want += is_kept(i);
	assert_int_equal(n, n_want);
	assert_int_equal(lease_held_count(m.t), n_want);
}

static void deny_some_ports(void)
{
	unsigned n_left = m.n_ports;

	memset(m.is_denied, 0, sizeof(m.is_denied));
	while (n_left > 1 && random_below(3) == 0) {
		unsigned port = random_below(m.n_ports);

		n_left -= !m.is_denied[port];
		m.is_denied[port] = true;
		m.conf.deny[m.conf.n_deny].first = (uint16_t)(PORT_FIRST + port);
		m.conf.deny[m.conf.n_deny++].last = (uint16_t)(PORT_FIRST + port);
	}
}

static void one_round(void)
{
	m.n_ports = 1 + random_below(PORTS_MAX);
	m.now = random_below(2) ? 0 : random_u64() >> 1;
	m.conf = (struct lease_conf){
		.pool = {{.addr = public_addr(0), .len_bits = 127},
			{.addr = public_addr(2), .len_bits = 128}},
		.n_pool = 2,
		.port_first = PORT_FIRST,
		.port_last = (uint16_t)(PORT_FIRST + m.n_ports - 1),
		.max_leases = 1 + random_below(30),
		.default_ttl_ns = DEFAULT_TTL,
		.max_ttl_ns = random_below(4) ? MAX_TTL : TIME_NEVER,
		.max_age_ns = random_below(2) ? 0 : MAX_AGE,
		.reserve_ns = random_below(2) ? 0 : RESERVE,
		.quarantine_ns = QUARANTINE,
		.random = random_bytes,
	};
	deny_some_ports();
	memset(m.leases, 0, sizeof(m.leases));
	memset(m.is_unreachable, 0, sizeof(m.is_unreachable));
	for (unsigned i = 0; i < NUMBERS_MAX; i++)
		m.numbers[i].owner = FREE;
	m.t = lease_table_create(&m.conf);
	assert_non_null(m.t);
	for (unsigned i = 0; i < OPS_PER_ROUND; i++) {
		uint32_t dice = random_below(100);

		if (dice < 65)
			do_grant();
		else if (dice < 85)
			do_close_or_renew(dice < 75);
		else if (dice < 94)
			do_expire();
		else if (dice < 97)
			do_reach();
		else if (dice < 98)
			do_restart();
		else
			do_forget();
		if (i % 8 == 0) {
			check_all();
			check_held();
		}
	}
	lease_table_destroy(m.t);
}

static void random_operations_agree_with_the_model(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++)
		one_round();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_the_model),
	};

	random_seed();
	return cmocka_run_group_tests_name("lease_model", tests, NULL, NULL);
}
