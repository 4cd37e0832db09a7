/* path_why_test.c - what path_why says of a packet is what then becomes of it: each packet is asked
 * about, then sent, and the two are compared. Asking changes nothing.
 */
#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SYN	  0x02
#define ACK	  0x10
#define N_CLIENTS 4
#define NEVER	  2 /* this client has no home */
#define SILENT	  3 /* this one has no keys and no endpoint */
#define FREE_PORT 5000
#define STRANGER  "198.51.100.200" /* near, and nobody has asked for it yet */
#define FAR	  "192.0.2.99"	   /* not on the public link, which has no gateway */
#define ROUTER	  "198.51.100.254"
#define INNER0	  "10.0.0.10"
#define INNER1	  "10.0.0.11"
#define INNER0_6  "fd00::10"
#define SILENT_6  "fd00::13"

static struct rig *rig;
static struct rig_client *clients[N_CLIENTS];
static unsigned n_checked;

/* One packet. client: whose tunnel it leaves; OUTSIDE: it comes in by the public port; TUNNEL: by
 * the tunnel's. */
enum { OUTSIDE = -1, TUNNEL = -2 };

struct row {
	int client;
	uint8_t proto;
	const char *src;
	uint16_t src_port;
	const char *dst;
	uint16_t dst_port;
	uint8_t flags; /* TCP; 0: SYN */
	uint8_t ttl;   /* 0: 64 */
	bool dont_fragment;
	uint16_t size_bytes;
	enum why_end end;
	enum stats_drop reason;
	/* An error of this type about such a packet. */
	uint8_t icmp_type;
	struct {
		uint8_t proto;
		const char *src;
		uint16_t src_port;
		const char *dst;
		uint16_t dst_port;
	} about;
};

static struct why_packet packet_of(const struct row *r)
{
	struct why_packet q = {
		.is_out = r->client >= 0,
		.peer_idx = r->client >= 0 ? clients[r->client]->peer_idx : 0,
		.port_idx = r->client == TUNNEL ? RIG_TUNNEL : RIG_PUBLIC,
		.proto = r->proto,
		.src = frame_addr(r->src),
		.dst = frame_addr(r->dst),
		.src_port = r->src_port,
		.dst_port = r->dst_port,
		.tcp_flags = r->flags ? r->flags : SYN,
		.ttl = r->ttl ? r->ttl : 64,
		.dont_fragment = r->dont_fragment,
		.size_bytes = r->size_bytes,
		.is_error = r->icmp_type != 0,
		.icmp_type = r->icmp_type,
	};

	if (q.is_error)
		q.quote = (struct why_tuple){r->about.proto,
			{frame_addr(r->about.src), r->about.src_port},
			{frame_addr(r->about.dst), r->about.dst_port}};
	return q;
}

/* --- all that a look might have touched */

struct state {
	struct stats_worker stats[RIG_WORKERS_MAX];
	struct flow_counts flows[RIG_WORKERS_MAX];
	struct peer_hot hot[N_CLIENTS];
	struct door_counters doors[N_CLIENTS];
	struct neigh_counters neigh;
	unsigned n_blocks;
	uint32_t n_mbufs;
};

static void look(struct state *s)
{
	struct ip_addr pool = frame_addr(RIG_POOL4);
	struct blocks_counts counts;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < rig->params.n_workers; i++) {
		s->stats[i] = *path_stats(rig->path, i);
		s->flows[i] = *flows_counts(path_flows(rig->path, i));
	}
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		memcpy(&s->hot[i], rig_hot(rig, clients[i]), sizeof(s->hot[i]));
		doors_counters_get(rig->doors, clients[i]->lease_id, &s->doors[i]);
	}
	neigh_counters_get(rig->neigh, &s->neigh);
	assert_true(blocks_count(path_blocks(rig->path), load_be32(ip_v4_bytes(&pool)), &counts));
	s->n_blocks = counts.owned;
	s->n_mbufs = rte_mempool_in_use_count(rig->mempool);
}

static void ask(const struct row *r, struct why_answer *a)
{
	static struct state before, after;
	struct why_packet q = packet_of(r);

	look(&before);
	assert_int_equal(path_why(rig->path, &q, a), 0);
	look(&after);
	assert_memory_equal(&before, &after, sizeof(before));
}

static void send_row(const struct row *r)
{
	struct why_packet q = packet_of(r);
	uint8_t pkt[2048];
	size_t len = why_packet_build(&q, pkt, sizeof(pkt));
	struct frame f;

	assert_true(len > 0);
	if (r->client >= 0) {
		rig_client_frame(rig, clients[r->client], &f, pkt, len);
		rig_rx(rig, RIG_TUNNEL, 0, &f);
	} else {
		unsigned port = r->client == TUNNEL ? RIG_TUNNEL : RIG_PUBLIC;

		memcpy(f.bytes + FRAME_ETHER, pkt, len);
		frame_wrap(&f, rig_neighbour_mac(port), &rig->ports[port].mac, len);
		rig_rx(rig, port, 0, &f);
	}
	rig_settle(rig);
}

/* --- what became of it */

static uint64_t sum(const struct state *s, enum stats_counter counter)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < rig->params.n_workers; i++)
		n += s->stats[i].counter[counter];
	return n;
}

static uint64_t sum_dropped(const struct state *s, unsigned reason)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < rig->params.n_workers; i++)
		n += s->stats[i].drop[reason];
	return n;
}

static enum stats_drop reason_between(const struct state *before, const struct state *after)
{
	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		if (sum_dropped(after, i) != sum_dropped(before, i))
			return (enum stats_drop)i;
	return STATS_N_DROPS;
}

/* Is this frame for the client, and its inside as told? Of pieces only the first is looked at. */
static bool is_as_told(const uint8_t *ip, const struct why_answer *a, uint8_t proto)
{
	char src[IP_TEXT_CHARS], dst[IP_TEXT_CHARS];
	struct flow flow = {ip_addr_format(&a->src.addr, src), ip_addr_format(&a->dst.addr, dst),
		a->src.port, a->dst.port, proto};
	struct nat_view v;

	if (nat_parse(ip, packet_len(ip), &v) == NAT_FRAGMENT)
		return memcmp(ip + 12, ip_v4_bytes(&a->src.addr), 4) == 0 &&
		       memcmp(ip + 16, ip_v4_bytes(&a->dst.addr), 4) == 0;
	/* A port that was still to be drawn. */
	if (flow.src_port == 0)
		flow.src_port = v.src_port;
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return memcmp(ip + (v.version == 4 ? 12 : 8),
			       v.version == 4 ? ip_v4_bytes(&a->src.addr) : a->src.addr.bytes,
			       v.version == 4 ? 4 : 16) == 0;
	return packet_is(ip, &flow);
}

static void expect_forwarded(const struct row *r, const struct why_answer *a)
{
	unsigned port = a->to_peer == WHY_NOBODY ? RIG_PUBLIC : RIG_TUNNEL;
	uint8_t inner[2048];
	struct frame f;
	int len;

	assert_int_equal(a->port_idx, port);
	assert_true(rig_tx(rig, port, &f));
	if (port == RIG_PUBLIC) {
		assert_true(is_as_told(f.bytes + FRAME_ETHER, a, r->proto));
		return;
	}
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		if (clients[i]->peer_idx != a->to_peer)
			continue;
		len = rig_client_open(rig, clients[i], &f, inner);
		assert_true(len > 0);
		assert_true(is_as_told(inner, a, r->proto));
		return;
	}
	fail_msg("to no client of the test");
}

static void compare(const struct row *r, const struct why_answer *a, const struct state *before)
{
	static struct state after;
	enum stats_drop reason;

	look(&after);
	reason = reason_between(before, &after);
	if ((a->end == WHY_DROPPED) != (reason != STATS_N_DROPS) ||
		(a->end == WHY_DROPPED && reason != a->reason))
		fail_msg("%d %u %s:%u > %s:%u: told %s %s, became %s", r->client, r->proto, r->src,
			r->src_port, r->dst, r->dst_port, why_end_word(a->end),
			a->end == WHY_DROPPED ? stats_drop_name(a->reason) : "",
			reason == STATS_N_DROPS ? "of no drop" : stats_drop_name(reason));
	switch (a->end) {
	case WHY_DROPPED:
		assert_int_equal(a->tells_sender,
			sum(&after, STATS_errors_sent) != sum(before, STATS_errors_sent));
		break;
	case WHY_FORWARDED:
		assert_int_equal(sum(&after, STATS_forwarded), sum(before, STATS_forwarded) + 1);
		expect_forwarded(r, a);
		break;
	case WHY_WAITS:
		assert_int_equal(sum(&after, STATS_holding) + after.neigh.held,
			sum(before, STATS_holding) + before->neigh.held + 1);
		break;
	case WHY_CONSUMED:
		assert_int_equal(sum(&after, STATS_consumed), sum(before, STATS_consumed) + 1);
		break;
	}
}

/* What was dropped is among the recent drops, by headers that the answer knows. */
static void expect_recorded(const struct why_answer *a)
{
	for (unsigned w = 0; w < rig->params.n_workers; w++) {
		struct stats_recent_drop d;

		for (uint64_t i = 0; i < STATS_RECENT_SLOTS; i++) {
			if (!stats_recent_read(path_recent(rig->path, w), i, rig_now_ns, &d) ||
				d.reason != a->reason)
				continue;
			for (unsigned t = 0; t < a->n_tuples; t++)
				if (a->tuples[t].proto == d.proto &&
					ip_equal(&a->tuples[t].src.addr, &d.src.addr) &&
					ip_equal(&a->tuples[t].dst.addr, &d.dst.addr) &&
					a->tuples[t].dst.port == d.dst.port)
					return;
		}
	}
	fail_msg("%s was not recorded", stats_drop_name(a->reason));
}

/* Asked, sent, compared; the answer. */
static const struct why_answer *check(const struct row *r)
{
	static struct state before;
	static struct why_answer a;

	rig_tx_discard(rig);
	ask(r, &a);
	look(&before);
	send_row(r);
	compare(r, &a, &before);
	if (a.end != r->end || (a.end == WHY_DROPPED && a.reason != r->reason))
		fail_msg("%d %u %s:%u > %s:%u is %s %s", r->client, r->proto, r->src, r->src_port,
			r->dst, r->dst_port, why_end_word(a.end),
			a.end == WHY_DROPPED ? stats_drop_name(a.reason) : "");
	if (a.end == WHY_DROPPED)
		expect_recorded(&a);
	assert_true(a.n_stages > 0 && a.n_stages < WHY_STAGES_MAX);
	n_checked++;
	return &a;
}

#define DROPPED(reason) WHY_DROPPED, STATS_DROP_##reason
#define TCP		IPPROTO_TCP
#define UDP		IPPROTO_UDP
#define PING		IPPROTO_ICMP
#define PING6		IPPROTO_ICMPV6

static const struct row rows[] = {
	/* From outside: classify. */
	{OUTSIDE, UDP, "127.0.0.1", 1, RIG_POOL4, 40000, .end = DROPPED(martian_source)},
	{OUTSIDE, UDP, "224.0.0.1", 1, RIG_POOL4, 40000, .end = DROPPED(martian_source)},
	{OUTSIDE, UDP, RIG_PUBLIC4, 1, RIG_POOL4, 40000, .end = DROPPED(own_source)},
	{OUTSIDE, UDP, "203.0.113.6", 1, RIG_POOL4, 40000, .end = DROPPED(own_source)},
	{OUTSIDE, UDP, RIG_HOST4, 1, "192.0.2.50", 9, .end = DROPPED(not_for_us)},
	{OUTSIDE, UDP, RIG_HOST4, 1, INNER0, 9, .end = DROPPED(not_for_us)},
	{OUTSIDE, TCP, RIG_HOST4, 1, RIG_PUBLIC4, 22, .end = DROPPED(entry_closed)},
	{OUTSIDE, UDP, RIG_HOST4, 1, RIG_PUBLIC4, 5351, .end = DROPPED(portmap_outside)},
	{OUTSIDE, PING, RIG_HOST4, 7, RIG_PUBLIC4, 7, .end = WHY_CONSUMED},
	{OUTSIDE, PING6, RIG_HOST6, 7, RIG_PUBLIC6, 7, .end = WHY_CONSUMED},
	{TUNNEL, UDP, RIG_CLIENT4, 9, RIG_POOL4, 40000, .end = DROPPED(not_for_us)},
	{TUNNEL, TCP, RIG_CLIENT4, 9, RIG_ENTRY4, 51820, .end = DROPPED(entry_closed)},
	{OUTSIDE, 47, RIG_HOST4, 0, RIG_POOL4, 0, .end = DROPPED(no_lease)},
	/* Door. */
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 39999, .end = DROPPED(no_lease)},
	{OUTSIDE, TCP, RIG_HOST4, 9, RIG_POOL4, 3000, .end = DROPPED(no_lease)},
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 5351, .end = DROPPED(portmap_outside)},
	{OUTSIDE, UDP, INNER1, 9, RIG_POOL4, 40000, .end = DROPPED(martian_source)},
	{OUTSIDE, UDP, RIG_INNER_GW4, 9, RIG_POOL4, 40000, .end = DROPPED(martian_source)},
	{OUTSIDE, PING, RIG_HOST4, 9, RIG_POOL4, 9, .end = DROPPED(no_lease)},
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40000, .end = WHY_FORWARDED},
	{OUTSIDE, TCP, RIG_HOST4, 9, RIG_POOL4, 40000, .end = WHY_FORWARDED},
	{OUTSIDE, TCP, RIG_HOST4, 9, RIG_POOL4, 40000, ACK, .end = WHY_FORWARDED},
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40001, .end = WHY_FORWARDED},
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40000 + NEVER, .end = DROPPED(peer_unreachable)},
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40000 + SILENT, .end = DROPPED(peer_unreachable)},
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40000, .ttl = 1, .end = DROPPED(ttl_expired)},
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40000, .dont_fragment = true, .size_bytes = 1421,
		.end = DROPPED(too_big)},
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40000, .dont_fragment = true, .size_bytes = 1420,
		.end = WHY_FORWARDED},
	{OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40000, .size_bytes = 1500, .end = WHY_FORWARDED},
	/* IPv6 from outside. */
	{OUTSIDE, UDP, "::1", 9, INNER0_6, 9, .end = DROPPED(martian_source)},
	{OUTSIDE, UDP, RIG_PUBLIC6, 9, INNER0_6, 9, .end = DROPPED(own_source)},
	{OUTSIDE, UDP, RIG_HOST6, 9, "fd00::99", 9, .end = DROPPED(not_for_us)},
	{OUTSIDE, UDP, SILENT_6, 9, INNER0_6, 9, .end = DROPPED(martian_source)},
	{OUTSIDE, UDP, RIG_HOST6, 9, INNER0_6, 9, .end = DROPPED(no_session)},
	{OUTSIDE, TCP, RIG_HOST6, 9, RIG_PUBLIC6, 9, .end = DROPPED(entry_closed)},
	/* From a peer: inner. */
	{0, UDP, INNER1, 9, RIG_HOST4, 9, .end = DROPPED(inner_source)},
	{0, UDP, SILENT_6, 9, RIG_HOST6, 9, .end = DROPPED(inner_source)},
	{0, PING, INNER0, 9, RIG_INNER_GW4, 9, .end = WHY_CONSUMED},
	{0, PING6, INNER0_6, 9, RIG_INNER_GW6, 9, .end = WHY_CONSUMED},
	{0, TCP, INNER0, 9, RIG_INNER_GW4, 22, .end = DROPPED(inner_no_service)},
	{0, UDP, INNER0, 9, RIG_INNER_GW4, 5351, .end = WHY_CONSUMED},
	{0, UDP, INNER0, 9, RIG_POOL4, 5351, .end = DROPPED(portmap_outside)},
	{0, UDP, INNER0, 9, "224.0.0.251", 5353, .end = DROPPED(martian_destination)},
	{0, UDP, INNER0, 9, "169.254.1.1", 9, .end = DROPPED(martian_destination)},
	{0, UDP, INNER0, 9, RIG_ENTRY4, 51820, .end = DROPPED(inner_to_self)},
	{0, TCP, INNER0, 9, RIG_PUBLIC4, 22, .end = DROPPED(inner_to_self)},
	{0, TCP, INNER0, 9, INNER1, 22, .end = DROPPED(inner_to_peer)},
	{0, 47, INNER0, 0, RIG_HOST4, 0, .end = DROPPED(inner_protocol)},
	{0, TCP, INNER0, 9, RIG_HOST4, RIG_BLOCKED, .end = DROPPED(nat_blocked)},
	/* snat. */
	{0, UDP, INNER0, RIG_INNER_PORT, RIG_HOST4, 80, .end = WHY_FORWARDED},
	{0, TCP, INNER0, RIG_INNER_PORT, RIG_HOST4, 80, ACK, .end = WHY_FORWARDED},
	{0, UDP, INNER0, FREE_PORT, RIG_HOST4, 80, .end = WHY_FORWARDED},
	{0, TCP, INNER0, FREE_PORT, RIG_HOST4, 80, ACK, .end = DROPPED(nat_no_beginning)},
	{0, TCP, INNER0, FREE_PORT, RIG_HOST4, 80, .end = WHY_FORWARDED},
	{0, TCP, INNER0, FREE_PORT, RIG_HOST4, 80, ACK, .end = WHY_FORWARDED},
	{0, PING, INNER0, 77, RIG_HOST4, 77, .end = WHY_FORWARDED},
	{0, UDP, INNER0, FREE_PORT, RIG_EXEMPT4, 80, .end = WHY_FORWARDED},
	{0, UDP, INNER0, FREE_PORT, RIG_HOST4, 80, .ttl = 1, .end = DROPPED(ttl_expired)},
	{0, UDP, INNER0, FREE_PORT, FAR, 80, .end = DROPPED(neigh_unreachable)},
	{0, UDP, INNER0, FREE_PORT, STRANGER, 80, .end = WHY_WAITS},
	{NEVER, UDP, INNER0, FREE_PORT, RIG_HOST4, 80, .end = DROPPED(inner_source)},
	/* IPv6 from a peer. */
	{0, UDP, INNER0_6, FREE_PORT, RIG_HOST6, 80, .end = WHY_FORWARDED},
	{0, TCP, INNER0_6, FREE_PORT, RIG_HOST6, 80, ACK, .end = DROPPED(nat_no_beginning)},
	{0, TCP, INNER0_6, FREE_PORT, RIG_HOST6, 80, .end = WHY_FORWARDED},
	{0, 132, INNER0_6, 0, RIG_HOST6, 0, .end = WHY_FORWARDED},
	{0, PING6, INNER0_6, 7, RIG_HOST6, 7, .end = WHY_FORWARDED},
	{OUTSIDE, UDP, RIG_HOST6, 80, INNER0_6, FREE_PORT, .end = WHY_FORWARDED},
	{OUTSIDE, UDP, RIG_HOST6, 81, INNER0_6, FREE_PORT, .end = DROPPED(no_session)},
	{OUTSIDE, UDP, RIG_EXEMPT4, 80, INNER0, FREE_PORT, .end = WHY_FORWARDED},
	{OUTSIDE, UDP, RIG_EXEMPT4, 81, INNER0, FREE_PORT, .end = DROPPED(no_session)},
	/* Round by the public side: to a lease, to nothing. */
	{0, UDP, INNER0, FREE_PORT, RIG_POOL4, 40001, .end = WHY_FORWARDED},
	{0, UDP, INNER0, FREE_PORT, RIG_POOL4, 39999, .end = DROPPED(no_lease)},
	{0, TCP, INNER0, RIG_INNER_PORT, RIG_POOL4, 40000, .end = WHY_FORWARDED},
};

static void create(const struct rig_params *params, unsigned home)
{
	rig = rig_create(params);
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		clients[i] = rig_client_add(rig, i, home);
		if (i < NEVER)
			rig_client_connect(rig, clients[i]);
	}
	peer_home_set(rig->peers, clients[NEVER]->peer_idx, PEER_HOME_NONE);
}

static int setup(void **state)
{
	create(&(struct rig_params){0}, 0);
	return 0;
}

static int setup_two_workers(void **state)
{
	create(&(struct rig_params){.n_workers = 2}, 1);
	return 0;
}

static int setup_narrow(void **state)
{
	create(&(struct rig_params){.public_mtu_bytes = 1400, .peer_to_peer = true}, 0);
	return 0;
}

static int teardown(void **state)
{
	rig_destroy(rig);
	return 0;
}

static void what_is_told_is_what_becomes(void **state)
{
	for (size_t i = 0; i < RTE_DIM(rows); i++)
		if (rows[i].client != NEVER)
			check(&rows[i]);
	assert_true(n_checked >= 60);
}

/* Back along sessions, and what each filter lets in beside them. */
static void filters_are_told(void **state)
{
	static const struct row out = {
		0, UDP, INNER0, FREE_PORT, RIG_HOST4, 80, .end = WHY_FORWARDED};
	struct row in = {OUTSIDE, UDP, RIG_HOST4, 80, RIG_POOL4, 0, .end = WHY_FORWARDED};
	const struct why_answer *a;

	check(&out);
	a = check(&out);
	assert_int_not_equal(a->src.port, 0);
	in.dst_port = a->src.port;
	check(&in);
	in.src_port = 81;
	in.end = WHY_DROPPED;
	in.reason = STATS_DROP_no_session;
	check(&in);
	in.src = RIG_EXEMPT4;
	check(&in);
	in.proto = TCP;
	check(&in);
	/* Open: anybody, to what is in use. */
	in = (struct row){OUTSIDE, UDP, STRANGER, 9, RIG_POOL4, in.dst_port, .end = WHY_FORWARDED};
	rig_client_filter(rig, clients[0], FLOW_OPEN);
	check(&in);
	check(&in);
	in.dst_port ^= 1;
	in.end = WHY_DROPPED;
	in.reason = STATS_DROP_no_session;
	check(&in);
	rig_client_filter(rig, clients[0], FLOW_MODERATE);
	in.src = RIG_HOST4;
	in.src_port = 99;
	check(&in);
}

/* An error is led by what it quotes, both ways, and nobody is told about one. */
static void errors_are_told(void **state)
{
	static const struct row begin = {
		0, UDP, INNER0, FREE_PORT, RIG_HOST4, 80, .end = WHY_FORWARDED};
	static const struct row begin6 = {
		0, UDP, INNER0_6, FREE_PORT, RIG_HOST6, 80, .end = WHY_FORWARDED};
	static const struct row table[] = {
		/* In: by a lease. */
		{OUTSIDE, PING, ROUTER, 0, RIG_POOL4, 0, .end = WHY_FORWARDED, .icmp_type = 3,
			.about = {UDP, RIG_POOL4, 40000, RIG_HOST4, 9}},
		{OUTSIDE, PING, ROUTER, 0, RIG_POOL4, 0, .end = WHY_FORWARDED, .icmp_type = 11,
			.about = {TCP, RIG_POOL4, 40001, RIG_HOST4, 9}},
		{OUTSIDE, PING, ROUTER, 0, RIG_POOL4, 0, .end = DROPPED(no_lease), .icmp_type = 3,
			.about = {UDP, RIG_POOL4, 39999, RIG_HOST4, 9}},
		{OUTSIDE, PING, ROUTER, 0, RIG_POOL4, 0, .end = DROPPED(icmp_error_stray),
			.icmp_type = 3, .about = {UDP, "203.0.113.6", 40000, RIG_HOST4, 9}},
		{OUTSIDE, PING, ROUTER, 0, RIG_POOL4, 0, .end = DROPPED(icmp_error_stray),
			.icmp_type = 5, .about = {UDP, RIG_POOL4, 40000, RIG_HOST4, 9}},
		{OUTSIDE, PING, ROUTER, 0, RIG_POOL4, 0, .ttl = 1, .end = DROPPED(ttl_expired),
			.icmp_type = 3, .about = {UDP, RIG_POOL4, 40000, RIG_HOST4, 9}},
		/* By a session of IPv6, and by none. */
		{OUTSIDE, PING6, RIG_HOST6, 0, INNER0_6, 0, .end = WHY_FORWARDED, .icmp_type = 1,
			.about = {UDP, INNER0_6, FREE_PORT, RIG_HOST6, 80}},
		{OUTSIDE, PING6, RIG_HOST6, 0, INNER0_6, 0, .end = DROPPED(icmp_error_stray),
			.icmp_type = 1, .about = {UDP, INNER0_6, FREE_PORT, RIG_HOST6, 81}},
		/* Out: about what came by a lease, along a session, along none. */
		{0, PING, INNER0, 0, RIG_HOST4, 0, .end = WHY_FORWARDED, .icmp_type = 3,
			.about = {UDP, RIG_HOST4, 9, INNER0, RIG_INNER_PORT}},
		{0, PING, INNER0, 0, RIG_HOST4, 0, .end = WHY_FORWARDED, .icmp_type = 3,
			.about = {UDP, RIG_HOST4, 80, INNER0, FREE_PORT}},
		{0, PING, INNER0, 0, RIG_HOST4, 0, .end = DROPPED(icmp_error_stray), .icmp_type = 3,
			.about = {UDP, RIG_HOST4, 81, INNER0, FREE_PORT}},
		{0, PING, INNER0, 0, RIG_HOST4, 0, .end = DROPPED(icmp_error_stray), .icmp_type = 4,
			.about = {UDP, RIG_HOST4, 80, INNER0, FREE_PORT}},
		{0, PING6, INNER0_6, 0, RIG_HOST6, 0, .end = WHY_FORWARDED, .icmp_type = 1,
			.about = {UDP, RIG_HOST6, 80, INNER0_6, FREE_PORT}},
		{0, PING6, INNER0_6, 0, RIG_HOST6, 0, .end = DROPPED(icmp_error_stray),
			.icmp_type = 1, .about = {UDP, RIG_HOST6, 81, INNER0_6, FREE_PORT}},
		/* To the gateway itself. */
		{OUTSIDE, PING, ROUTER, 0, RIG_PUBLIC4, 0, .end = DROPPED(entry_closed),
			.icmp_type = 3, .about = {UDP, RIG_PUBLIC4, 9, RIG_HOST4, 9}},
		{0, PING, INNER0, 0, RIG_INNER_GW4, 0, .end = DROPPED(inner_no_service),
			.icmp_type = 3, .about = {UDP, RIG_INNER_GW4, 9, INNER0, 9}},
		/* About what the neighbour sent to a door: back to its own. */
		{0, PING, INNER0, 0, RIG_POOL4, 0, .end = WHY_FORWARDED, .icmp_type = 3,
			.about = {UDP, RIG_POOL4, 40001, INNER0, RIG_INNER_PORT}},
	};
	struct row in = {OUTSIDE, PING, ROUTER, 0, RIG_POOL4, 0, .end = WHY_FORWARDED,
		.icmp_type = 3, .about = {UDP, RIG_POOL4, 0, RIG_HOST4, 80}};

	check(&begin);
	in.about.src_port = check(&begin)->src.port;
	check(&begin6);
	check(&in);
	in.about.dst_port = 81;
	in.end = WHY_DROPPED;
	in.reason = STATS_DROP_icmp_error_stray;
	check(&in);
	for (size_t i = 0; i < RTE_DIM(table); i++)
		check(&table[i]);
}

static void limit(const struct flow_limits *limits)
{
	struct peer_conf conf = *peer_conf_get(rig->peers, clients[0]->peer_idx);
	const char *culprit;
	void *msg;

	conf.limits = *limits;
	assert_int_equal(peer_set(rig->peers, clients[0]->peer_idx, &conf, &culprit), 0);
	while (mbox_pop_burst(rig->peer_msgs_out, &msg, 1))
		assert_true(mbox_push(rig->peer_msgs_in, msg));
	peers_poll(rig->peers);
}

/* As many packets to other ports until one is refused, each as told. */
static void quotas_are_told(void **state)
{
	static const struct {
		struct flow_limits limits;
		enum stats_drop reason;
		bool keeps_port; /* one inner port, so one public port */
	} quotas[] = {
		{{.max_sessions = 5, .max_blocks = 2}, STATS_DROP_nat_too_many, false},
		{{.max_sessions = 1000, .max_blocks = 2, .new_per_s = 3, .burst = 3},
			STATS_DROP_nat_too_fast, true},
		{{.max_sessions = 1000, .max_blocks = 1}, STATS_DROP_nat_no_port, false},
	};

	for (size_t q = 0; q < RTE_DIM(quotas); q++) {
		unsigned n = 0;
		bool is_refused = false;

		/* What the one before took is over, its ports included. */
		rig_now_ns += 1000 * NS_IN_S;
		for (unsigned i = 0; i < 64; i++)
			rig_settle(rig);
		rig_client_connect(rig, clients[0]);
		limit(&quotas[q].limits);
		for (; !is_refused && n < 200; n++) {
			struct row row = {0, UDP, INNER0, (uint16_t)(6000 + n), RIG_HOST4, 80};
			struct why_packet packet;
			struct why_answer a;

			if (quotas[q].keeps_port) {
				row.src_port = 6000;
				row.dst_port = (uint16_t)(1000 + n);
			}
			packet = packet_of(&row);
			assert_int_equal(path_why(rig->path, &packet, &a), 0);
			row.end = a.end;
			row.reason = a.reason;
			check(&row);
			is_refused = a.end == WHY_DROPPED;
			if (is_refused)
				assert_int_equal(a.reason, quotas[q].reason);
		}
		assert_true(is_refused);
	}
}

/* Without keys packets wait, until enough do. */
static void waiting_is_told(void **state)
{
	struct row row = {OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40000, .end = WHY_WAITS};

	rig_now_ns += 200 * NS_IN_S;
	for (unsigned i = 0; i < PEER_HOLD_MAX; i++)
		check(&row);
	row.end = WHY_DROPPED;
	row.reason = STATS_DROP_peer_hold_full;
	check(&row);
}

static void sources_of_a_lease_are_told(void **state)
{
	struct lease lease = {.id = 4711,
		.state = LEASE_ACTIVE,
		.peer_idx = clients[0]->peer_idx,
		.protos = LEASE_PROTO_UDP,
		.public_addr = frame_addr(RIG_POOL4),
		.public_port = 40044,
		.inner_addr = frame_addr(INNER0),
		.inner_port = 44,
		.n_sources = 1};
	struct row row = {OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40044, .end = WHY_FORWARDED};
	const struct why_answer *a;
	bool names_lease = false;

	assert_int_equal(ip_prefix_parse(RIG_HOST4, &lease.sources[0]), 0);
	assert_int_equal(doors_open(rig->doors, &lease), 0);
	a = check(&row);
	for (unsigned i = 0; i < a->n_stages; i++)
		names_lease |= strstr(a->stages[i].text, "lease 4711") != NULL;
	assert_true(names_lease);
	row.src = STRANGER;
	row.end = WHY_DROPPED;
	row.reason = STATS_DROP_lease_source;
	check(&row);
	row.src = RIG_HOST4;
	row.proto = TCP;
	row.reason = STATS_DROP_no_lease;
	check(&row);
	assert_int_equal(doors_close(rig->doors, lease.id), 0);
	rig_settle(rig);
	row.proto = UDP;
	check(&row);
}

/* As many packets, or flows, as the lease takes. */
static void limits_of_a_lease_are_told(void **state)
{
	struct lease lease = {.id = 4712,
		.state = LEASE_ACTIVE,
		.peer_idx = clients[0]->peer_idx,
		.protos = LEASE_PROTO_BOTH,
		.public_addr = frame_addr(RIG_POOL4),
		.public_port = 40045,
		.inner_addr = frame_addr(INNER0),
		.inner_port = 45,
		.max_pps = 20,
		.max_new_flows = 3};
	struct row row = {OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40045, .end = WHY_FORWARDED};
	unsigned n = 0;

	assert_int_equal(doors_open(rig->doors, &lease), 0);
	for (; row.src_port < 12; row.src_port++, n++)
		check(&row);
	row.end = WHY_DROPPED;
	row.reason = STATS_DROP_lease_flows;
	check(&row);
	row.proto = TCP;
	check(&row);
	/* No beginning, and one that is known. */
	row.flags = ACK;
	row.end = WHY_FORWARDED;
	check(&row);
	row.proto = UDP;
	row.src_port = 9;
	for (n++; n < lease.max_pps; n++)
		check(&row);
	row.end = WHY_DROPPED;
	row.reason = STATS_DROP_lease_rate;
	check(&row);
	assert_int_equal(doors_close(rig->doors, lease.id), 0);
}

static void sizes_on_the_way_out_are_told(void **state)
{
	static const struct row table[] = {
		{0, UDP, INNER0, FREE_PORT, RIG_HOST4, 80, .dont_fragment = true,
			.size_bytes = 1401, .end = DROPPED(too_big)},
		{0, UDP, INNER0, FREE_PORT, RIG_HOST4, 80, .dont_fragment = true,
			.size_bytes = 1400, .end = WHY_FORWARDED},
		{0, UDP, INNER0, FREE_PORT, RIG_HOST4, 80, .size_bytes = 1420,
			.end = WHY_FORWARDED},
		{0, UDP, INNER0_6, FREE_PORT, RIG_HOST6, 80, .size_bytes = 1401,
			.end = DROPPED(too_big)},
		/* From peer to peer, as it is. */
		{0, UDP, INNER0, FREE_PORT, INNER1, 80, .end = WHY_FORWARDED},
		{0, UDP, INNER0, FREE_PORT, INNER1, 80, .ttl = 1, .end = DROPPED(ttl_expired)},
		{0, UDP, INNER0, FREE_PORT, "10.0.0.12", 80, .end = DROPPED(peer_unreachable)},
		{0, UDP, INNER0, FREE_PORT, "10.0.0.13", 80, .end = DROPPED(peer_unreachable)},
		{0, UDP, INNER0, FREE_PORT, INNER1, 80, .dont_fragment = true, .size_bytes = 1421,
			.end = DROPPED(too_big)},
	};

	for (size_t i = 0; i < RTE_DIM(table); i++)
		check(&table[i]);
}

static void what_cannot_come_is_refused(void **state)
{
	struct row row = {OUTSIDE, UDP, RIG_HOST4, 9, RIG_POOL4, 40000, .size_bytes = 1501};
	struct why_packet q = packet_of(&row);
	struct why_answer a;

	assert_int_equal(path_why(rig->path, &q, &a), -EMSGSIZE);
	q.size_bytes = 27;
	assert_int_equal(path_why(rig->path, &q, &a), -EMSGSIZE);
	q.size_bytes = 28;
	q.dst = frame_addr(INNER0_6);
	assert_int_equal(path_why(rig->path, &q, &a), -EMSGSIZE);
	/* A port of its own accord: that which has the address. */
	q.port_idx = WHY_PORT_ANY;
	q.dst = frame_addr(RIG_ENTRY4);
	q.dst_port = RIG_LISTEN_PORT;
	assert_int_equal(path_why(rig->path, &q, &a), 0);
	assert_int_equal(a.end, WHY_CONSUMED);
	assert_int_equal(a.port_idx, RIG_TUNNEL);
}

int main(void)
{
#define rigged(f, s) cmocka_unit_test_setup_teardown(f, s, teardown)
	const struct CMUnitTest tests[] = {
		rigged(what_is_told_is_what_becomes, setup),
		rigged(what_is_told_is_what_becomes, setup_two_workers),
		rigged(filters_are_told, setup),
		rigged(errors_are_told, setup),
		rigged(errors_are_told, setup_two_workers),
		rigged(quotas_are_told, setup),
		rigged(waiting_is_told, setup),
		rigged(sources_of_a_lease_are_told, setup),
		rigged(limits_of_a_lease_are_told, setup),
		rigged(sizes_on_the_way_out_are_told, setup_narrow),
		rigged(what_cannot_come_is_refused, setup),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
