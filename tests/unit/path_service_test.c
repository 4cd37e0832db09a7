/* path_service_test.c - NAT-PMP and PCP requests on their way to control, and answers on their way
 * back.
 */
#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "portmap/portmap.h"

#define CLIENT_PORT 54321
#define BURST	    256

static const uint8_t request[12] = {0, 1, 0, 0, 0x1a, 0xe1, 0, 0, 0, 0, 0x0e, 0x10};
static const uint8_t reply[16] = {
	0, 129, 0, 0, 0, 0, 0, 1, 0x1a, 0xe1, 0x9c, 0x40, 0, 0, 0x0e, 0x10};

static struct rig *rig;
static struct rig_client *client;

static int setup_with(const struct rig_params *params, unsigned home)
{
	rig = rig_create(params);
	client = rig_client_add(rig, 0, home);
	rig_client_connect(rig, client);
	return 0;
}

static int setup(void **state)
{
	return setup_with(&(struct rig_params){0}, 0);
}

/* Packets come by worker 0, the peer lives on 1. */
static int setup_two_workers(void **state)
{
	return setup_with(&(struct rig_params){.n_workers = 2}, 1);
}

static int teardown(void **state)
{
	rig_destroy(rig);
	return 0;
}

static void send_bytes(const void *inner, size_t len)
{
	struct frame f;

	rig_client_frame(rig, client, &f, inner, len);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
}

static void send_request(const char *dst, uint16_t dst_port)
{
	const struct flow flow = {strchr(dst, ':') ? client->inner6 : client->inner4, dst,
		CLIENT_PORT, dst_port, IPPROTO_UDP, 0};
	uint8_t inner[256];

	send_bytes(inner, packet_build(inner, &flow, request, sizeof(request)));
}

/* What control gets; NULL: nothing. */
static struct rte_mbuf *pop_request(void)
{
	void *m = NULL;

	return mbox_pop_burst(rig->mail[client->home].requests, &m, 1) ? m : NULL;
}

static void is_asked(const char *dst)
{
	uint64_t n_dropped = rig_dropped_all(rig);
	const struct path_service *s;
	struct ip_addr want_dst = frame_addr(dst);
	struct ip_addr want_src = frame_addr(strchr(dst, ':') ? client->inner6 : client->inner4);
	struct rte_mbuf *m;

	send_request(dst, PORTMAP_PORT);
	assert_int_equal(rig_dropped_all(rig), n_dropped);
	m = pop_request();
	assert_non_null(m);
	s = rte_mbuf_to_priv(m);
	assert_int_equal(s->peer_idx, client->peer_idx);
	assert_true(ip_equal(&s->peer.addr, &want_src));
	assert_int_equal(s->peer.port, CLIENT_PORT);
	assert_true(ip_equal(&s->gateway.addr, &want_dst));
	assert_int_equal(s->gateway.port, PORTMAP_PORT);
	assert_int_equal(m->data_len, sizeof(request));
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), request, sizeof(request));
	rte_pktmbuf_free(m);
	assert_null(pop_request());
	/* No answer of the path's own. */
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
}

static void is_dropped(const char *dst, uint16_t port, enum stats_drop reason)
{
	uint64_t n_dropped = rig_dropped(rig, reason);

	send_request(dst, port);
	assert_int_equal(rig_dropped(rig, reason), n_dropped + 1);
	assert_null(pop_request());
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL) + rig_tx_count(rig, RIG_PUBLIC), 0);
}

static void move_client(const char *inner4)
{
	struct peer_conf conf = *peer_conf_get(rig->peers, client->peer_idx);
	const char *culprit;
	void *msg;

	conf.address4 = frame_addr(inner4);
	assert_int_equal(peer_set(rig->peers, client->peer_idx, &conf, &culprit), 0);
	snprintf(client->inner4, sizeof(client->inner4), "%s", inner4);
	while (mbox_pop_burst(rig->peer_msgs_out, &msg, 1))
		assert_true(mbox_push(rig->peer_msgs_in, msg));
	peers_poll(rig->peers);
}

/* From here on a prefix leads to the client, too. */
static void give_route(const char *route)
{
	struct peer_conf conf = *peer_conf_get(rig->peers, client->peer_idx);
	const char *culprit;
	void *msg;

	assert_int_equal(ip_prefix_parse(route, &conf.routes[conf.n_routes++]), 0);
	assert_int_equal(peer_set(rig->peers, client->peer_idx, &conf, &culprit), 0);
	while (mbox_pop_burst(rig->peer_msgs_out, &msg, 1))
		assert_true(mbox_push(rig->peer_msgs_in, msg));
	peers_poll(rig->peers);
}

static void test_served_addresses(void **state)
{
	is_asked(RIG_INNER_GW4);
	is_asked(RIG_INNER_GW6);
	is_asked("192.0.0.9");
	is_asked("2001:1::1");
	/* Its own address with 1 for the last byte, and no other's: those are on the Internet, to
	 * which there is no route here. */
	move_client("10.7.8.9");
	is_asked("10.7.8.1");
	is_asked(RIG_INNER_GW4);
	is_dropped("10.7.9.1", PORTMAP_PORT, STATS_DROP_neigh_unreachable);
	is_dropped("10.7.8.2", PORTMAP_PORT, STATS_DROP_neigh_unreachable);
	is_dropped("192.0.0.10", PORTMAP_PORT, STATS_DROP_neigh_unreachable);
	/* That port alone. */
	is_dropped("10.7.8.1", PORTMAP_PORT + 1, STATS_DROP_neigh_unreachable);
	is_dropped(RIG_INNER_GW4, PORTMAP_PORT - 1, STATS_DROP_inner_no_service);
	rig_check_balance(rig);
}

/* RFC 6886: never on a public address. */
static void test_never_outside(void **state)
{
	static const char *const addrs[] = {RIG_POOL4, RIG_PUBLIC4, RIG_ENTRY4};
	uint64_t n = rig_dropped(rig, STATS_DROP_portmap_outside);
	struct flow flow = {RIG_HOST4, NULL, CLIENT_PORT, PORTMAP_PORT, IPPROTO_UDP, 0};
	struct frame f;

	for (unsigned i = 0; i < RTE_DIM(addrs); i++)
		is_dropped(addrs[i], PORTMAP_PORT, STATS_DROP_portmap_outside);
	n += RTE_DIM(addrs);
	for (unsigned i = 0; i < 2; i++) {
		flow.dst = addrs[i];
		rig_public_frame(rig, &f, &flow, sizeof(request));
		rig_rx(rig, RIG_PUBLIC, 0, &f);
		rig_settle(rig);
		assert_int_equal(rig_dropped(rig, STATS_DROP_portmap_outside), ++n);
	}
	/* TCP to that number is any other port. */
	flow.proto = IPPROTO_TCP;
	flow.dst = RIG_POOL4;
	rig_public_frame(rig, &f, &flow, 0);
	rig_rx(rig, RIG_PUBLIC, 0, &f);
	rig_settle(rig);
	assert_int_equal(rig_dropped(rig, STATS_DROP_portmap_outside), n);
	assert_null(pop_request());
	rig_check_balance(rig);
}

static void test_unsound_requests(void **state)
{
	const struct flow v4 = {
		client->inner4, RIG_INNER_GW4, CLIENT_PORT, PORTMAP_PORT, IPPROTO_UDP, 0};
	const struct flow v6 = {
		client->inner6, RIG_INNER_GW6, CLIENT_PORT, PORTMAP_PORT, IPPROTO_UDP, 0};
	uint64_t n = rig_dropped(rig, STATS_DROP_inner_malformed);
	uint8_t inner[256];
	size_t len;

	len = packet_build(inner, &v4, request, sizeof(request));
	inner[len - 1] ^= 1;
	send_bytes(inner, len);
	assert_int_equal(rig_dropped(rig, STATS_DROP_inner_malformed), n + 1);
	/* Without a checksum: over IPv4 that may be. */
	store_be16(inner + 20 + 6, 0);
	send_bytes(inner, len);
	assert_int_equal(rig_dropped(rig, STATS_DROP_inner_malformed), n + 1);
	rte_pktmbuf_free(pop_request());
	len = packet_build(inner, &v6, request, sizeof(request));
	store_be16(inner + 40 + 6, 0);
	send_bytes(inner, len);
	assert_int_equal(rig_dropped(rig, STATS_DROP_inner_malformed), n + 2);
	assert_null(pop_request());
	rig_check_balance(rig);
}

static void push_reply(uint32_t peer_idx, const char *gateway, const char *peer)
{
	struct rte_mbuf *m = pkt_alloc(rig->mempool);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, sizeof(reply)), reply, sizeof(reply));
	*(struct path_service *)rte_mbuf_to_priv(m) = (struct path_service){
		.peer_idx = peer_idx,
		.peer = {frame_addr(peer), CLIENT_PORT},
		.gateway = {frame_addr(gateway), PORTMAP_PORT},
	};
	assert_true(mbox_push(rig->mail[client->home].replies, m));
	rig_settle(rig);
}

static void is_answered(const char *gateway, const char *peer)
{
	const struct flow want = {gateway, peer, PORTMAP_PORT, CLIENT_PORT, IPPROTO_UDP, 0};
	uint8_t inner[FRAME_BYTES_MAX];
	struct frame f;
	int len;

	push_reply(client->peer_idx, gateway, peer);
	assert_true(rig_tx(rig, RIG_TUNNEL, &f));
	len = rig_client_open(rig, client, &f, inner);
	assert_true(len > 0);
	assert_true(packet_is_sound(inner, (size_t)len));
	assert_true(packet_is(inner, &want));
	assert_memory_equal(inner + packet_payload_at(inner), reply, sizeof(reply));
	assert_int_equal(packet_len(inner), packet_payload_at(inner) + sizeof(reply));
	rig_check_balance(rig);
}

static void test_answers(void **state)
{
	is_answered(RIG_INNER_GW4, client->inner4);
	is_answered("192.0.0.9", client->inner4);
	is_answered("2001:1::1", client->inner6);
	is_answered(RIG_INNER_GW6, client->inner6);
}

/* Who asks from within a prefix of its own is answered there. */
static void test_answers_to_a_route(void **state)
{
	const struct flow flow = {
		"2001:db8:7::9", RIG_INNER_GW6, CLIENT_PORT, PORTMAP_PORT, IPPROTO_UDP, 0};
	uint64_t n = rig_counter(rig, STATS_originated_lost);
	uint8_t inner[256];

	push_reply(client->peer_idx, RIG_INNER_GW6, "2001:db8:7::9");
	assert_int_equal(rig_counter(rig, STATS_originated_lost), n + 1);
	give_route("2001:db8:7::/64");
	send_bytes(inner, packet_build(inner, &flow, request, sizeof(request)));
	rte_pktmbuf_free(pop_request());
	is_answered(RIG_INNER_GW6, "2001:db8:7::9");
	push_reply(client->peer_idx, RIG_INNER_GW6, "2001:db8:7:1::9");
	assert_int_equal(rig_counter(rig, STATS_originated_lost), n + 2);
	rig_check_balance(rig);
}

/* To nobody, or to one who is not the one who asked any more. */
static void test_answers_to_nobody(void **state)
{
	uint64_t n = rig_counter(rig, STATS_originated_lost);
	struct rig_client *silent = rig_client_add(rig, 1, 0);

	push_reply(client->peer_idx, RIG_INNER_GW4, "10.0.0.99");
	push_reply(7, RIG_INNER_GW4, client->inner4);
	push_reply(silent->peer_idx, RIG_INNER_GW4, silent->inner4);
	assert_int_equal(rig_counter(rig, STATS_originated_lost), n + 3);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL), 0);
	rig_check_balance(rig);
}

/* What one peer sends too much of is its own loss. */
static void test_allowance(void **state)
{
	uint64_t n_dropped;

	for (unsigned i = 0; i < BURST; i++)
		is_asked(RIG_INNER_GW4);
	is_dropped(RIG_INNER_GW4, PORTMAP_PORT, STATS_DROP_portmap_rate);
	rig_now_ns += NS_IN_S / 64;
	is_asked(RIG_INNER_GW4);
	is_dropped(RIG_INNER_GW4, PORTMAP_PORT, STATS_DROP_portmap_rate);
	/* Others are not touched by it. */
	client = rig_client_add(rig, 1, 0);
	rig_client_connect(rig, client);
	is_asked(RIG_INNER_GW4);
	/* After a while all is as at first. */
	client = &rig->clients[0];
	rig_now_ns += 8 * NS_IN_S;
	n_dropped = rig_dropped_all(rig);
	for (unsigned i = 0; i < BURST; i++)
		is_asked(RIG_INNER_GW4);
	assert_int_equal(rig_dropped_all(rig), n_dropped);
	rig_check_balance(rig);
}

/* Who may have many leases may ask for all of them at once, four times. */
static void test_allowance_by_leases(void **state)
{
	struct peer_conf conf = *peer_conf_get(rig->peers, client->peer_idx);
	const char *culprit;

	conf.max_leases = 2 * BURST / 4;
	assert_int_equal(peer_set(rig->peers, client->peer_idx, &conf, &culprit), 0);
	for (unsigned i = 0; i < 2 * BURST; i++)
		is_asked(RIG_INNER_GW4);
	is_dropped(RIG_INNER_GW4, PORTMAP_PORT, STATS_DROP_portmap_rate);
	rig_check_balance(rig);
}

static void test_control_is_behind(void **state)
{
	uint64_t n = 0;
	struct rte_mbuf *m;

	while (rig_dropped(rig, STATS_DROP_portmap_full) == 0) {
		assert_true(n++ < 1000);
		rig_now_ns += NS_IN_S / 64;
		send_request(RIG_INNER_GW4, PORTMAP_PORT);
	}
	rig_check_balance(rig);
	while ((m = pop_request()) != NULL)
		rte_pktmbuf_free(m);
	is_asked(RIG_INNER_GW4);
}

#define rigged(f)     cmocka_unit_test_setup_teardown(f, setup, teardown)
#define rigged_two(f) cmocka_unit_test_setup_teardown(f, setup_two_workers, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rigged(test_served_addresses),
		rigged_two(test_served_addresses),
		rigged(test_never_outside),
		rigged(test_unsound_requests),
		rigged(test_answers),
		rigged_two(test_answers),
		rigged(test_answers_to_a_route),
		rigged(test_answers_to_nobody),
		rigged(test_allowance),
		rigged(test_allowance_by_leases),
		rigged(test_control_is_behind),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
