/* path_failure_test.c - what comes to nothing at a door is noted for its lease, once for each
 * packet and under its reason; what passes is not. Over IPv4, and by a pinhole.
 */
#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "path_pass.h"

#define RST 0x04
#define ACK 0x10

static int setup(void **state)
{
	return pass_setup(&(struct rig_params){0}, 0);
}

static int setup_two_workers(void **state)
{
	return pass_setup(&(struct rig_params){.n_workers = 2}, 1);
}

/* From the host to the lease. */
static struct frame frame_to(const struct lease *l, uint8_t proto, size_t payload_len)
{
	bool is_v4 = ip_is_v4(&l->public_addr);
	struct flow in = {is_v4 ? RIG_HOST4 : RIG_HOST6, is_v4 ? RIG_POOL4 : client->inner6, 5555,
		l->public_port, proto, 0};
	struct frame f;

	rig_public_frame(rig, &f, &in, payload_len);
	return f;
}

/* Of the peer, from its end of the lease to the host. */
static struct flow flow_from(const struct lease *l, uint8_t proto, uint8_t flags)
{
	bool is_v4 = ip_is_v4(&l->public_addr);

	return (struct flow){is_v4 ? client->inner4 : client->inner6, is_v4 ? RIG_HOST4 : RIG_HOST6,
		RIG_INNER_PORT, 5555, proto, 0, flags};
}

/* All that was noted: so often this, and nothing else. */
static void expect_noted(const struct lease *l, enum door_failure failure, uint64_t n)
{
	struct door_failures f;

	doors_failures_get(rig->doors, l->id, &f);
	for (unsigned i = 0; i < DOOR_N_FAILURES; i++)
		assert_int_equal(f.of[i].n, i == failure ? n : 0);
	if (n > 0)
		assert_int_equal(f.of[failure].last_ns, rig_now_ns);
}

static void expect_nothing_noted(const struct lease *l)
{
	expect_noted(l, 0, 0);
}

static void comes_in(const struct lease *l, uint8_t proto)
{
	struct frame f = frame_to(l, proto, 10), out;

	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
}

static void is_dropped(const struct lease *l, enum stats_drop reason)
{
	struct frame f = frame_to(l, IPPROTO_UDP, 10);

	rig_now_ns += NS_IN_MS;
	drop_one(RIG_PUBLIC, &f, reason);
}

static void check_terms(struct lease l)
{
	l.n_sources = 1;
	assert_int_equal(ip_prefix_parse("192.0.2.0/24", &l.sources[0]), 0);
	assert_int_equal(doors_open(rig->doors, &l), 0);
	for (uint64_t n = 1; n <= 3; n++) {
		is_dropped(&l, STATS_DROP_lease_source);
		expect_noted(&l, DOOR_FAILURE_lease_source, n);
	}
	assert_int_equal(doors_close(rig->doors, l.id), 0);
	expect_nothing_noted(&l);
	rig_settle(rig);

	l.n_sources = 0;
	l.max_pps = 1;
	assert_int_equal(doors_open(rig->doors, &l), 0);
	comes_in(&l, IPPROTO_UDP);
	expect_nothing_noted(&l);
	is_dropped(&l, STATS_DROP_lease_rate);
	is_dropped(&l, STATS_DROP_lease_rate);
	expect_noted(&l, DOOR_FAILURE_lease_rate, 2);
	assert_int_equal(doors_close(rig->doors, l.id), 0);
	rig_settle(rig);

	l.max_pps = 0;
	l.max_new_flows = 1;
	assert_int_equal(doors_open(rig->doors, &l), 0);
	comes_in(&l, IPPROTO_TCP);
	is_dropped(&l, STATS_DROP_lease_flows);
	expect_noted(&l, DOOR_FAILURE_lease_flows, 1);
}

static void terms_of_a_lease(void **state)
{
	check_terms(pass_lease(true));
}

static void terms_of_a_pinhole(void **state)
{
	check_terms(pass_lease(false));
}

static void check_size(const struct lease *l)
{
	struct frame f = frame_to(l, IPPROTO_UDP, RIG_INNER_MTU), told;

	/* What may be cut is. */
	if (ip_is_v4(&l->public_addr)) {
		f.bytes[FRAME_ETHER + 6] = 0x40; /* DF */
		packet_mend(f.bytes + FRAME_ETHER);
	}
	refuse_one(RIG_PUBLIC, RIG_PUBLIC, &f, STATS_DROP_too_big, &told);
	expect_noted(l, DOOR_FAILURE_too_big, 1);
}

static void too_big(void **state)
{
	struct lease v4 = pass_lease(true), v6 = pass_lease(false);

	check_size(&v4);
	check_size(&v6);
}

/* A segment of the peer with this sequence number. */
static void answers(const struct lease *l, uint8_t flags, uint32_t seq)
{
	struct flow flow = flow_from(l, IPPROTO_TCP, flags);
	uint8_t ip[256];
	size_t len = packet_build(ip, &flow, NULL, 0);
	struct frame f, out;

	store_be32(ip + (ip[0] >> 4 == 4 ? 20 : 40) + 4, seq);
	packet_mend_l4(ip);
	rig_client_frame(rig, client, &f, ip, len);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &out);
}

static void check_refused_connections(const struct lease *l)
{
	rig_now_ns += NS_IN_S;
	comes_in(l, IPPROTO_TCP);
	answers(l, RST | ACK, 0);
	expect_noted(l, DOOR_FAILURE_no_listener_tcp, 1);
	/* Of a connection that was there: not in answer to a first segment. */
	answers(l, RST | ACK, 77);
	answers(l, RST, 0);
	answers(l, ACK, 0);
	expect_noted(l, DOOR_FAILURE_no_listener_tcp, 1);
	rig_now_ns += NS_IN_S;
	answers(l, RST | ACK, 0);
	expect_noted(l, DOOR_FAILURE_no_listener_tcp, 2);
}

static void nobody_listens_for_connections(void **state)
{
	struct lease v4 = pass_lease(true), v6 = pass_lease(false);

	check_refused_connections(&v4);
	check_refused_connections(&v6);
}

/* A connection that the peer began itself is none of its lease's business. */
static void a_session_of_the_peer_ends(void **state)
{
	struct lease l = pass_lease(true);
	struct flow flow = flow_from(&l, IPPROTO_TCP, 0);
	struct frame f, out;

	assert_int_equal(doors_close(rig->doors, l.id), 0);
	rig_settle(rig);
	rig_client_flow(rig, client, &f, &flow, 0);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &out);
	assert_int_equal(doors_open(rig->doors, &l), 0);
	answers(&l, RST | ACK, 0);
	expect_nothing_noted(&l);
}

/* The peer's ICMP error about a packet of the host. */
static void refuses(const struct lease *l, uint8_t proto, enum nat_icmp_kind kind)
{
	struct flow of = flow_from(l, proto, 0), to = of;
	struct nat_icmp_make make = {.kind = kind, .src = l->inner_addr};
	uint8_t about[256], error[NAT_ICMP_ERROR_MAX_BYTES];
	size_t len;
	struct frame f, out;

	to.src = of.dst;
	to.dst = of.src;
	to.src_port = of.dst_port;
	to.dst_port = of.src_port;
	len = packet_build(about, &to, NULL, 10);
	len = nat_icmp_error_build(error, sizeof(error), about, len, &make);
	assert_true(len > 0);
	rig_client_frame(rig, client, &f, error, len);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &out);
}

static void nobody_listens_for_datagrams(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct lease l = pass_lease(i == 0);

		comes_in(&l, IPPROTO_UDP);
		refuses(&l, IPPROTO_UDP, NAT_ICMP_TIME_EXCEEDED);
		refuses(&l, IPPROTO_UDP, NAT_ICMP_ADMIN_PROHIBITED);
		expect_nothing_noted(&l);
		rig_now_ns += NS_IN_S;
		refuses(&l, IPPROTO_UDP, NAT_ICMP_PORT_UNREACHABLE);
		expect_noted(&l, DOOR_FAILURE_no_listener_udp, 1);
	}
}

/* As a firewall does that rejects all with one ICMP error. */
static void a_connection_is_refused_by_an_error(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct lease l = pass_lease(i == 0);

		comes_in(&l, IPPROTO_TCP);
		refuses(&l, IPPROTO_TCP, NAT_ICMP_PORT_UNREACHABLE);
		expect_noted(&l, DOOR_FAILURE_no_listener_tcp, 1);
	}
}

/* Those that wait for a handshake are lost with it. */
static void a_peer_gives_no_answer(void **state)
{
	struct rig_client *c = rig_client_add(rig, 1, client->home);
	struct lease l = {.id = c->lease_id};
	struct peer_order *o;
	struct frame f;
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, c->lease_port, IPPROTO_UDP, 0};

	rig_public_frame(rig, &f, &in, 10);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_peer_unreachable);
	expect_noted(&l, DOOR_FAILURE_peer_unreachable, 1);

	o = rig_order(rig, PEER_ORDER_SET, c);
	o->path = (struct peer_path){.remote = c->outer, .local = frame_addr(c->entry)};
	rig_order_push(rig, c->home, o);
	rig_settle(rig);
	for (unsigned i = 0; i < PEER_HOLD_MAX; i++) {
		rig_rx(rig, RIG_PUBLIC, 0, &f);
		rig_settle(rig);
	}
	expect_noted(&l, DOOR_FAILURE_peer_unreachable, 1);
	drop_one(RIG_PUBLIC, &f, STATS_DROP_peer_hold_full);
	expect_noted(&l, DOOR_FAILURE_peer_unreachable, 2);
	rig_order_push(rig, c->home, rig_order(rig, PEER_ORDER_GIVE_UP, c));
	rig_settle(rig);
	assert_int_equal(rig_dropped(rig, STATS_DROP_peer_hold_expired), PEER_HOLD_MAX);
	expect_noted(&l, DOOR_FAILURE_peer_unreachable, 2 + PEER_HOLD_MAX);
}

/* Any worker notes it then: a few times a second, however many come. */
static void a_peer_never_connected(void **state)
{
	struct rig_client *c = rig_client_add(rig, 1, 0);
	struct lease l = {.id = c->lease_id};
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, c->lease_port, IPPROTO_UDP, 0};
	struct frame f;

	peer_home_set(rig->peers, c->peer_idx, PEER_HOME_NONE);
	rig_public_frame(rig, &f, &in, 10);
	for (unsigned i = 0; i < 20; i++)
		drop_one(RIG_PUBLIC, &f, STATS_DROP_peer_unreachable);
	expect_noted(&l, DOOR_FAILURE_peer_unreachable, 1);
	rig_now_ns += DOOR_FAILURE_SHARED_NS;
	drop_one(RIG_PUBLIC, &f, STATS_DROP_peer_unreachable);
	expect_noted(&l, DOOR_FAILURE_peer_unreachable, 2);
}

/* The lease is another's by the time that what waited for its peer is dropped. */
static void the_next_lease_knows_nothing_of_it(void **state)
{
	struct rig_client *c = rig_client_add(rig, 1, client->home);
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, c->lease_port, IPPROTO_UDP, 0};
	struct lease l = {.id = c->lease_id};
	struct peer_order *o = rig_order(rig, PEER_ORDER_SET, c);
	struct frame f;

	o->path = (struct peer_path){.remote = c->outer, .local = frame_addr(c->entry)};
	rig_order_push(rig, c->home, o);
	rig_public_frame(rig, &f, &in, 10);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	rig_lease_close(rig, c);
	rig_settle(rig);
	rig_lease_open(rig, c);
	l.id = c->lease_id;
	rig_order_push(rig, c->home, rig_order(rig, PEER_ORDER_GIVE_UP, c));
	rig_settle(rig);
	assert_int_equal(rig_dropped(rig, STATS_DROP_peer_hold_expired), 1);
	expect_nothing_noted(&l);
}

#define rigged(f)     cmocka_unit_test_setup_teardown(f, setup, pass_teardown)
#define rigged_two(f) cmocka_unit_test_setup_teardown(f, setup_two_workers, pass_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rigged(terms_of_a_lease),
		rigged_two(terms_of_a_lease),
		rigged(terms_of_a_pinhole),
		rigged_two(terms_of_a_pinhole),
		rigged(too_big),
		rigged_two(too_big),
		rigged(nobody_listens_for_connections),
		rigged_two(nobody_listens_for_connections),
		rigged(nobody_listens_for_datagrams),
		rigged_two(nobody_listens_for_datagrams),
		rigged(a_connection_is_refused_by_an_error),
		rigged(a_session_of_the_peer_ends),
		rigged(a_peer_gives_no_answer),
		rigged_two(a_peer_gives_no_answer),
		rigged(a_peer_never_connected),
		rigged_two(a_peer_never_connected),
		rigged(the_next_lease_knows_nothing_of_it),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
