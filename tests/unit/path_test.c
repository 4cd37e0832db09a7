/* path_test.c - what arrives at the gateway and goes no further: each packet ends under exactly one
 * reason, and nothing else changes.
 */
#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rig *rig;
static struct rig_client *client;

static int setup_with(const struct rig_params *params)
{
	rig = rig_create(params);
	client = rig_client_add(rig, 0, 0);
	rig_client_connect(rig, client);
	return 0;
}

static int setup(void **state)
{
	return setup_with(&(struct rig_params){0});
}

static int setup_one_device(void **state)
{
	return setup_with(&(struct rig_params){.one_device = true});
}

static int setup_no_ping(void **state)
{
	return setup_with(&(struct rig_params){.has_no_ping = true});
}

static int setup_wide(void **state)
{
	return setup_with(&(struct rig_params){.is_wide = true});
}

static int teardown(void **state)
{
	rig_destroy(rig);
	return 0;
}

/* --- nothing but one count changes --- */

struct before {
	uint64_t n_dropped, n_reason, n_forwarded, n_consumed, n_originated;
	struct peer_hot hot;
	struct noise_keypair keypair;
};

static void remember(struct before *b, enum stats_drop reason)
{
	b->n_dropped = rig_dropped_all(rig);
	b->n_reason = rig_dropped(rig, reason);
	b->n_forwarded = rig_counter(rig, STATS_forwarded);
	b->n_consumed = rig_counter(rig, STATS_consumed);
	b->n_originated = rig_counter(rig, STATS_originated);
	b->hot = *rig_hot(rig, client);
	b->keypair = *client->keypair;
}

static void compare(const struct before *b, enum stats_drop reason, uint64_t n, const char *what)
{
	if (rig_dropped(rig, reason) != b->n_reason + n ||
		rig_dropped_all(rig) != b->n_dropped + n) {
		print_error("%s: wanted %s; all drops:\n", what, stats_drop_name(reason));
		for (unsigned i = 0; i < STATS_N_DROPS; i++)
			if (rig_dropped(rig, i))
				print_error("  %s %lu\n", stats_drop_name(i), rig_dropped(rig, i));
		fail();
	}
	assert_int_equal(rig_counter(rig, STATS_forwarded), b->n_forwarded);
	assert_int_equal(rig_counter(rig, STATS_consumed), b->n_consumed);
	assert_int_equal(rig_counter(rig, STATS_originated), b->n_originated);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
	assert_int_equal(rig_tx_count(rig, RIG_PUBLIC), 0);
}

static void expect_untouched(const struct before *b, const char *what)
{
	if (memcmp(&b->hot, rig_hot(rig, client), sizeof(b->hot)) ||
		memcmp(&b->keypair, client->keypair, sizeof(b->keypair)))
		fail_msg("%s: changed the peer's state", what);
}

static void expect_drop(
	unsigned port, const struct frame *f, enum stats_drop reason, const char *what)
{
	struct before b;

	remember(&b, reason);
	rig_rx(rig, port, 0, f);
	rig_settle(rig);
	compare(&b, reason, 1, what);
	expect_untouched(&b, what);
}

/* Authentic and fresh: the peer's timers have moved, but the packet goes nowhere. */
static void expect_inner_drop(const struct frame *f, enum stats_drop reason, const char *what)
{
	struct before b;

	remember(&b, reason);
	rig_rx(rig, RIG_TUNNEL, 0, f);
	rig_settle(rig);
	compare(&b, reason, 1, what);
	assert_int_equal(rig_hot(rig, client)->rx_pkts, b.hot.rx_pkts + 1);
}

/* --- flows --- */

static void build(struct frame *f, unsigned port, const struct flow *flow, size_t payload_len)
{
	frame_build(f, rig_neighbour_mac(port), &rig->ports[rig->n_ports == 1 ? 0 : port].mac, flow,
		NULL, payload_len);
}

struct flow_case {
	unsigned port;
	struct flow flow;
	enum stats_drop reason;
};

static void run_flows(const struct flow_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct frame f;
		char what[128];

		snprintf(what, sizeof(what), "case %zu: %s > %s proto %u", i, cases[i].flow.src,
			cases[i].flow.dst, cases[i].flow.proto);
		build(&f, cases[i].port, &cases[i].flow, 40);
		expect_drop(cases[i].port, &f, cases[i].reason, what);
	}
}

#define TO_ENTRY(source)                                                           \
	{                                                                          \
		RIG_TUNNEL, {source, RIG_ENTRY4, 9, RIG_LISTEN_PORT, IPPROTO_UDP}, \
			STATS_DROP_martian_source                                  \
	}
#define TO_LEASE(source, reason)                                                 \
	{                                                                        \
		RIG_PUBLIC, {source, RIG_POOL4, 9, RIG_LEASE_PORT, IPPROTO_UDP}, \
			STATS_DROP_##reason                                      \
	}

static void test_sources(void **state)
{
	static const struct flow_case cases[] = {
		TO_ENTRY("0.0.0.0"),
		TO_ENTRY("0.1.2.3"),
		TO_ENTRY("127.0.0.1"),
		TO_ENTRY("224.0.0.5"),
		TO_ENTRY("240.1.1.1"),
		TO_ENTRY("255.255.255.255"),
		TO_LEASE("127.0.0.1", martian_source),
		TO_LEASE("255.255.255.255", martian_source),
		/* Ours, on whichever side they claim to come from. */
		TO_LEASE(RIG_PUBLIC4, own_source),
		TO_LEASE(RIG_ENTRY4, own_source),
		TO_LEASE(RIG_POOL4, own_source),
		TO_LEASE("203.0.113.9", own_source),
		{RIG_TUNNEL, {RIG_ENTRY4, RIG_ENTRY4, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_own_source},
		{RIG_TUNNEL, {RIG_PUBLIC4, RIG_ENTRY4, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_own_source},
		{RIG_TUNNEL, {RIG_POOL4, RIG_ENTRY4, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_own_source},
		{RIG_TUNNEL, {RIG_POOL4, RIG_ENTRY4, 0, 0, IPPROTO_ICMP}, STATS_DROP_own_source},
		/* What lies inside the tunnel does not speak from the Internet. */
		TO_LEASE(RIG_INNER_GW4, martian_source),
		TO_LEASE("10.0.0.10", martian_source),
		{RIG_TUNNEL, {"::", RIG_ENTRY6, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_martian_source},
		{RIG_TUNNEL, {"::1", RIG_ENTRY6, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_martian_source},
		{RIG_TUNNEL, {"ff02::1", RIG_ENTRY6, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_martian_source},
		{RIG_TUNNEL, {"::ffff:192.0.2.10", RIG_ENTRY6, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_martian_source},
		{RIG_TUNNEL, {RIG_ENTRY6, RIG_ENTRY6, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_own_source},
	};

	run_flows(cases, RTE_DIM(cases));
}

static void test_destinations(void **state)
{
	static const struct flow_case cases[] = {
		/* Neither ours nor the pool's. */
		{RIG_TUNNEL, {RIG_CLIENT4, "192.0.2.200", 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_not_for_us},
		{RIG_PUBLIC, {RIG_HOST4, "203.0.113.16", 9, RIG_LEASE_PORT, IPPROTO_UDP},
			STATS_DROP_not_for_us},
		{RIG_PUBLIC, {RIG_HOST4, "10.0.0.10", 9, RIG_INNER_PORT, IPPROTO_UDP},
			STATS_DROP_not_for_us},
		{RIG_PUBLIC, {RIG_HOST4, RIG_INNER_GW4, 0, 0, IPPROTO_ICMP}, STATS_DROP_not_for_us},
		{RIG_TUNNEL, {RIG_CLIENT6, "2001:db8:1::99", 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_not_for_us},
		{RIG_PUBLIC, {RIG_HOST6, "::ffff:10.0.0.10", 9, RIG_INNER_PORT, IPPROTO_UDP},
			STATS_DROP_not_for_us},
		/* The entry has WireGuard and ping, nothing else. */
		{RIG_TUNNEL, {RIG_CLIENT4, RIG_ENTRY4, 9, RIG_LISTEN_PORT, IPPROTO_TCP},
			STATS_DROP_entry_closed},
		{RIG_TUNNEL, {RIG_CLIENT4, RIG_ENTRY4, 9, RIG_LEASE_PORT, IPPROTO_UDP},
			STATS_DROP_entry_closed},
		{RIG_TUNNEL, {RIG_CLIENT4, RIG_ENTRY4, 9, 9, 47}, STATS_DROP_entry_closed},
		{RIG_TUNNEL, {RIG_CLIENT4, RIG_ENTRY4, 9, 9, IPPROTO_ICMPV6},
			STATS_DROP_entry_closed},
		{RIG_TUNNEL, {RIG_CLIENT6, RIG_ENTRY6, 9, RIG_LISTEN_PORT, IPPROTO_TCP},
			STATS_DROP_entry_closed},
		{RIG_TUNNEL, {RIG_CLIENT6, RIG_ENTRY6, 9, 9, IPPROTO_ICMP},
			STATS_DROP_entry_closed},
		/* Of the public pool only what is leased. */
		{RIG_PUBLIC, {RIG_HOST4, RIG_POOL4, 9, RIG_LEASE_PORT + 1, IPPROTO_UDP},
			STATS_DROP_no_lease},
		{RIG_PUBLIC, {RIG_HOST4, RIG_POOL4, 9, RIG_INNER_PORT, IPPROTO_TCP},
			STATS_DROP_no_lease},
		{RIG_PUBLIC, {RIG_HOST4, "203.0.113.6", 9, RIG_LEASE_PORT, IPPROTO_TCP},
			STATS_DROP_no_lease},
		{RIG_PUBLIC, {RIG_HOST4, RIG_POOL4, 0, 0, IPPROTO_ICMP}, STATS_DROP_no_lease},
		{RIG_PUBLIC, {RIG_HOST4, RIG_POOL4, 0, 0, 132}, STATS_DROP_no_lease},
		{RIG_PUBLIC, {RIG_HOST4, RIG_POOL4, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_no_lease},
	};

	run_flows(cases, RTE_DIM(cases));
}

/* Two devices: each role only where it lives. */
static void test_roles_stay_on_their_ports(void **state)
{
	static const struct flow_case cases[] = {
		{RIG_PUBLIC, {RIG_HOST4, RIG_PUBLIC4, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_entry_closed},
		{RIG_PUBLIC, {RIG_HOST4, RIG_ENTRY4, 9, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_not_for_us},
		{RIG_TUNNEL, {RIG_CLIENT4, RIG_POOL4, 9, RIG_LEASE_PORT, IPPROTO_UDP},
			STATS_DROP_not_for_us},
		{RIG_TUNNEL, {RIG_CLIENT6, "fd00::10", 9, RIG_INNER_PORT, IPPROTO_UDP},
			STATS_DROP_not_for_us},
	};

	run_flows(cases, RTE_DIM(cases));
}

static void test_ping_disabled(void **state)
{
	static const struct flow_case cases[] = {
		{RIG_TUNNEL, {RIG_CLIENT4, RIG_ENTRY4, 0, 0, IPPROTO_ICMP},
			STATS_DROP_ping_disabled},
		{RIG_TUNNEL, {RIG_CLIENT6, RIG_ENTRY6, 0, 0, IPPROTO_ICMPV6},
			STATS_DROP_ping_disabled},
		{RIG_PUBLIC, {RIG_HOST4, RIG_PUBLIC4, 0, 0, IPPROTO_ICMP},
			STATS_DROP_ping_disabled},
	};

	run_flows(cases, RTE_DIM(cases));
}

/* --- frames --- */

static const struct flow to_lease = {RIG_HOST4, RIG_POOL4, 4444, RIG_LEASE_PORT, IPPROTO_UDP, 0};
static const struct flow to_entry = {
	RIG_CLIENT4, RIG_ENTRY4, 7000, RIG_LISTEN_PORT, IPPROTO_UDP, 0};
static const struct flow to_entry6 = {
	RIG_CLIENT6, RIG_ENTRY6, 7000, RIG_LISTEN_PORT, IPPROTO_UDP, 0};

static void test_ethernet(void **state)
{
	struct frame f;
	static const uint8_t types[][2] = {{0x81, 0}, {0x88, 0xa8}, {0, 46}, {0x88, 0x63}};

	build(&f, RIG_PUBLIC, &to_lease, 40);
	f.bytes[5] ^= 0x40;
	expect_drop(RIG_PUBLIC, &f, STATS_DROP_not_for_us, "another's MAC");
	memset(f.bytes, 0xff, 6);
	expect_drop(RIG_PUBLIC, &f, STATS_DROP_link_group, "IPv4 to all");
	memcpy(f.bytes, (uint8_t[]){1, 0, 0x5e, 0, 0, 1}, 6);
	expect_drop(RIG_PUBLIC, &f, STATS_DROP_link_group, "IPv4 to a group");
	build(&f, RIG_TUNNEL, &to_entry6, 40);
	memcpy(f.bytes, (uint8_t[]){0x33, 0x33, 0, 0, 0, 1}, 6);
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_link_group, "IPv6 to a group");
	for (size_t i = 0; i < RTE_DIM(types); i++) {
		build(&f, RIG_PUBLIC, &to_lease, 40);
		memcpy(f.bytes + 12, types[i], 2);
		expect_drop(RIG_PUBLIC, &f, STATS_DROP_unknown_ethertype, "EtherType");
	}
}

static void test_truncated_at_every_length(void **state)
{
	static const struct {
		unsigned port;
		const struct flow *flow;
	} kinds[] = {{RIG_PUBLIC, &to_lease}, {RIG_TUNNEL, &to_entry}, {RIG_TUNNEL, &to_entry6}};

	for (size_t k = 0; k < RTE_DIM(kinds); k++) {
		struct frame f;
		size_t full;

		build(&f, kinds[k].port, kinds[k].flow, 40);
		full = f.len;
		for (f.len = 0; f.len < full; f.len++)
			expect_drop(kinds[k].port, &f,
				f.len < FRAME_ETHER ? STATS_DROP_rx_truncated
						    : STATS_DROP_bad_ip_header,
				"truncated");
	}
}

static void test_bad_ip_headers(void **state)
{
	struct frame f;

	for (unsigned bit = 0; bit < 20 * 8; bit++) {
		build(&f, RIG_PUBLIC, &to_lease, 40);
		f.bytes[FRAME_ETHER + bit / 8] ^= (uint8_t)(1u << bit % 8);
		expect_drop(RIG_PUBLIC, &f, STATS_DROP_bad_ip_header, "one bit of the header");
	}
	build(&f, RIG_TUNNEL, &to_entry6, 40);
	f.bytes[12] = 0x08;
	f.bytes[13] = 0x00;
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_bad_ip_header, "IPv6 said to be IPv4");
	build(&f, RIG_TUNNEL, &to_entry, 40);
	f.bytes[12] = 0x86;
	f.bytes[13] = 0xdd;
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_bad_ip_header, "IPv4 said to be IPv6");
}

static void test_fragments(void **state)
{
	static const uint8_t offsets[][2] = {{0x20, 0}, {0x20, 5}, {0, 5}};
	struct frame f;

	for (size_t i = 0; i < RTE_DIM(offsets); i++) {
		build(&f, RIG_TUNNEL, &to_entry, 40);
		memcpy(f.bytes + FRAME_ETHER + 6, offsets[i], 2);
		packet_mend(f.bytes + FRAME_ETHER);
		expect_drop(RIG_TUNNEL, &f, STATS_DROP_fragment, "to the entry");
	}
}

static void test_segmented(void **state)
{
	struct rte_mbuf *m = pkt_alloc(rig->mempool), *tail = pkt_alloc(rig->mempool);
	struct before b;
	struct frame f;

	build(&f, RIG_PUBLIC, &to_lease, 40);
	memcpy(rte_pktmbuf_append(m, 50), f.bytes, 50);
	memcpy(rte_pktmbuf_append(tail, (uint16_t)(f.len - 50)), f.bytes + 50, f.len - 50);
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	remember(&b, STATS_DROP_rx_segmented);
	rig_rx_mbuf(rig, RIG_PUBLIC, 0, m);
	rig_settle(rig);
	compare(&b, STATS_DROP_rx_segmented, 1, "segmented");
}

/* --- WireGuard --- */

static void test_wireguard_malformed(void **state)
{
	static const size_t sizes[] = {[1] = 148, [2] = 92, [3] = 64};
	uint8_t msg[200] = {0};
	struct frame f;

	for (unsigned type = 0; type < 8; type++) {
		for (size_t len = 0; len < sizeof(msg); len++) {
			msg[0] = (uint8_t)type;
			if ((type < 4 && type && len == sizes[type]) || (type == 4 && len >= 32))
				continue;
			frame_build(&f, rig_neighbour_mac(RIG_TUNNEL), &rig->ports[RIG_TUNNEL].mac,
				&to_entry, msg, len);
			expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_malformed, "length and type");
		}
	}
	for (unsigned reserved = 1; reserved < 4; reserved++) {
		rig_client_frame(rig, client, &f, "", 1);
		f.bytes[FRAME_ETHER + 28 + reserved] = 1;
		expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_malformed, "reserved byte");
	}
	/* A peer can not be answered at port 0. */
	client->outer.port = 0;
	rig_client_frame(rig, client, &f, "", 1);
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_malformed, "source port 0");
}

static void test_wireguard_index(void **state)
{
	uint32_t good = client->gateway_idx;
	struct frame f;

	for (unsigned bit = 0; bit < 32; bit++) {
		client->gateway_idx = good ^ UINT32_C(1) << bit;
		rig_client_frame(rig, client, &f, "hello", 5);
		expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_unknown_index, "index");
	}
	client->gateway_idx = good;
	rig_client_frame(rig, client, &f, NULL, 0);
	client->gateway_idx = 0;
	store_le32(f.bytes + FRAME_ETHER + 28 + 4, 0);
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_unknown_index, "index 0");
	client->gateway_idx = good;
}

static void test_wireguard_every_byte_forged(void **state)
{
	const size_t at = FRAME_ETHER + 28;
	struct frame good, f;

	rig_client_frame(rig, client, &good, "forty bytes of payload, more or less....", 40);
	for (size_t i = at + 8; i < good.len; i++) {
		f = good;
		f.bytes[i] ^= 0x10;
		expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_bad_tag, "one byte");
	}
	/* And from another place: the endpoint stays. */
	client->outer.port++;
	rig_client_frame(rig, client, &f, "x", 1);
	f.bytes[f.len - 1] ^= 1;
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_bad_tag, "from another port");
}

static void test_wireguard_replayed(void **state)
{
	const struct flow flow = {client->inner4, RIG_HOST4, RIG_INNER_PORT, 80, IPPROTO_UDP, 0};
	struct frame f;

	rig_client_flow(rig, client, &f, &flow, 20);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_tx_count(rig, RIG_PUBLIC), 1);
	rig_tx_discard(rig);
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_replayed, "again");
	/* Somebody who saw it sends it on from elsewhere: the endpoint stays. */
	memcpy(f.bytes + FRAME_ETHER + 12, (uint8_t[]){192, 0, 2, 77}, 4);
	packet_mend(f.bytes + FRAME_ETHER);
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_replayed, "from elsewhere");
	client->counter = NOISE_REJECT_AFTER_MSGS;
	rig_client_flow(rig, client, &f, &flow, 20);
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_replayed, "past the last counter");
	client->counter = UINT64_MAX;
	rig_client_flow(rig, client, &f, &flow, 20);
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_replayed, "greatest counter");
}

static void test_wireguard_key_expired(void **state)
{
	struct frame f;

	rig_client_frame(rig, client, &f, "late", 4);
	rig_now_ns += 180 * NS_IN_S;
	rig_settle(rig); /* what the timers have to say comes first */
	rig_tx_discard(rig);
	expect_drop(RIG_TUNNEL, &f, STATS_DROP_wg_key_expired, "after 180 s");
}

/* --- inside the tunnel --- */

static void test_inner(void **state)
{
	static const struct {
		struct flow flow;
		enum stats_drop reason;
	} cases[] = {
		{{"10.0.0.11", RIG_HOST4, RIG_INNER_PORT, 80, IPPROTO_TCP},
			STATS_DROP_inner_source},
		{{RIG_INNER_GW4, RIG_HOST4, RIG_INNER_PORT, 80, IPPROTO_TCP},
			STATS_DROP_inner_source},
		{{"0.0.0.0", RIG_HOST4, RIG_INNER_PORT, 80, IPPROTO_TCP}, STATS_DROP_inner_source},
		{{RIG_POOL4, RIG_HOST4, RIG_LEASE_PORT, 80, IPPROTO_TCP}, STATS_DROP_inner_source},
		{{"fd00::11", "2001:db8::9", 1, 80, IPPROTO_TCP}, STATS_DROP_inner_source},
		{{"::", "2001:db8::9", 1, 80, IPPROTO_TCP}, STATS_DROP_inner_source},
		{{"10.0.0.10", RIG_INNER_GW4, 1, 80, IPPROTO_TCP}, STATS_DROP_inner_no_service},
		{{"10.0.0.10", RIG_INNER_GW4, 1, 5350, IPPROTO_UDP}, STATS_DROP_inner_no_service},
		{{"10.0.0.10", RIG_INNER_GW4, 1, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_inner_no_service},
		{{"fd00::10", RIG_INNER_GW6, 1, 53, IPPROTO_UDP}, STATS_DROP_inner_no_service},
		{{"10.0.0.10", "10.0.0.11", RIG_INNER_PORT, 80, IPPROTO_TCP},
			STATS_DROP_inner_to_peer},
		{{"10.0.0.10", "10.0.0.10", RIG_INNER_PORT, 80, IPPROTO_TCP},
			STATS_DROP_inner_to_peer},
		{{"fd00::10", "fd00::11", RIG_INNER_PORT, 80, IPPROTO_TCP},
			STATS_DROP_inner_to_peer},
		{{"10.0.0.10", RIG_ENTRY4, RIG_INNER_PORT, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_inner_to_self},
		{{"10.0.0.10", RIG_PUBLIC4, 0, 0, IPPROTO_ICMP}, STATS_DROP_inner_to_self},
		{{"10.0.0.10", "127.0.0.1", RIG_INNER_PORT, 80, IPPROTO_TCP},
			STATS_DROP_martian_destination},
		{{"10.0.0.10", "224.0.0.1", RIG_INNER_PORT, 80, IPPROTO_UDP},
			STATS_DROP_martian_destination},
		{{"10.0.0.10", "255.255.255.255", RIG_INNER_PORT, 80, IPPROTO_UDP},
			STATS_DROP_martian_destination},
		{{"fd00::10", "ff02::1", RIG_INNER_PORT, 80, IPPROTO_UDP},
			STATS_DROP_martian_destination},
		{{"10.0.0.10", "169.254.1.1", RIG_INNER_PORT, 80, IPPROTO_UDP},
			STATS_DROP_martian_destination},
		{{"fd00::10", "fe80::1", RIG_INNER_PORT, 80, IPPROTO_UDP},
			STATS_DROP_martian_destination},
		/* IPv4 in the clothes of IPv6. */
		{{"::ffff:10.0.0.10", RIG_HOST6, RIG_INNER_PORT, 80, IPPROTO_TCP},
			STATS_DROP_inner_source},
		{{"fd00::10", "::ffff:10.0.0.1", 1, 5351, IPPROTO_UDP},
			STATS_DROP_martian_destination},
		{{"fd00::10", "::ffff:192.0.2.1", RIG_INNER_PORT, RIG_LISTEN_PORT, IPPROTO_UDP},
			STATS_DROP_martian_destination},
		{{"fd00::10", "::ffff:198.51.100.9", RIG_INNER_PORT, 80, IPPROTO_TCP},
			STATS_DROP_martian_destination},
		{{"10.0.0.10", RIG_HOST4, 0, 0, 132}, STATS_DROP_inner_protocol},
		{{"10.0.0.10", RIG_HOST4, 0, 0, IPPROTO_ICMP, .type = 5},
			STATS_DROP_icmp_error_stray},
	};

	rig_client_add(rig, 1, 0);
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct frame f;
		char what[128];

		snprintf(what, sizeof(what), "case %zu: %s > %s", i, cases[i].flow.src,
			cases[i].flow.dst);
		rig_client_flow(rig, client, &f, &cases[i].flow, 30);
		expect_inner_drop(&f, cases[i].reason, what);
	}
}

static void test_inner_malformed(void **state)
{
	const struct flow flow = {client->inner4, RIG_HOST4, RIG_INNER_PORT, 80, IPPROTO_UDP, 0};
	uint8_t inner[FRAME_BYTES_MAX];
	size_t len = packet_build(inner, &flow, NULL, 60);
	struct frame f;

	/* Padding fills up to 16: only what is shorter than that is missing. */
	for (size_t cut = 1; cut <= len - 17; cut += 16) {
		rig_client_frame(rig, client, &f, inner, (cut + 15) / 16 * 16);
		expect_inner_drop(&f, STATS_DROP_inner_malformed, "cut");
	}
	inner[8]++;
	rig_client_frame(rig, client, &f, inner, len);
	expect_inner_drop(&f, STATS_DROP_inner_malformed, "header checksum");
	inner[0] = 0x55;
	rig_client_frame(rig, client, &f, inner, len);
	expect_inner_drop(&f, STATS_DROP_inner_malformed, "version 5");
}

static void test_peer_gone(void **state)
{
	const struct flow flow = {client->inner4, RIG_HOST4, RIG_INNER_PORT, 80, IPPROTO_UDP, 0};
	struct frame f;

	rig_client_flow(rig, client, &f, &flow, 20);
	rig_lease_close(rig, client);
	assert_int_equal(peer_del(rig->peers, client->peer_idx), 0);
	expect_inner_drop(&f, STATS_DROP_peer_gone, "deleted a moment ago");
}

/* --- what an address is asked first --- */

static uint32_t v4(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return load_be32(ip_v4_bytes(&a));
}

/* Prefixes wider than the 12 bits that are looked at, and addresses that share these with others.
 */
static void test_odd_addresses(void **state)
{
	static const struct {
		const char *addr;
		bool is_odd_source, is_odd_destination;
	} cases[] = {
		{"8.8.8.8", false, false},
		{"0.0.0.1", true, true},
		{"127.0.0.1", true, true},
		{"224.0.0.5", true, true},
		{"255.255.255.255", true, true},
		{"169.254.9.9", false, true},
		{"169.240.0.1", false, true}, /* as the last */
		{"169.239.255.255", false, false},
		{RIG_ENTRY4, true, true},
		{"192.0.2.200", true, true}, /* as the last */
		{"192.16.0.1", false, false},
		{RIG_POOL4, true, true},
		{"64.0.0.1", true, true}, /* to be had whole */
		{"64.63.255.255", true, true},
		{"64.64.0.0", false, false},
		{"63.255.255.255", false, false},
		{"172.32.0.1", true, true},	 /* the port itself */
		{"172.63.255.254", false, true}, /* on its link */
		{"172.64.0.0", false, false},
		{"172.31.255.255", false, false},
		{RIG_INNER_GW4, false, true},
		{"10.16.0.1", false, false},
	};
	const struct path *p = rig->path;

	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		uint32_t addr = v4(cases[i].addr);

		if (path_is_odd_source(p, addr) != cases[i].is_odd_source ||
			path_is_odd_destination(p, addr) != cases[i].is_odd_destination)
			fail_msg("%s is taken for another", cases[i].addr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(test, set) cmocka_unit_test_setup_teardown(test, set, teardown)
		CASE(test_sources, setup),
		CASE(test_sources, setup_one_device),
		CASE(test_destinations, setup),
		CASE(test_destinations, setup_one_device),
		CASE(test_roles_stay_on_their_ports, setup),
		CASE(test_ping_disabled, setup_no_ping),
		CASE(test_ethernet, setup),
		CASE(test_truncated_at_every_length, setup),
		CASE(test_bad_ip_headers, setup),
		CASE(test_fragments, setup),
		CASE(test_segmented, setup),
		CASE(test_wireguard_malformed, setup),
		CASE(test_wireguard_index, setup),
		CASE(test_wireguard_every_byte_forged, setup),
		CASE(test_wireguard_replayed, setup),
		CASE(test_wireguard_key_expired, setup),
		CASE(test_odd_addresses, setup_wide),
		CASE(test_inner, setup),
		CASE(test_inner_malformed, setup),
		CASE(test_peer_gone, setup),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
