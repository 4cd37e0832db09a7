/* path_probe_test.c - the gateway's own knock, through the whole path: it comes in by the door like
 * any other packet, its answer goes no further than the gateway, and the lease knows nothing of it.
 */
#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "path_pass.h"

#define SYN 0x02
#define RST 0x04
#define ACK 0x10
#define SEQ 0x01020304u

static int setup(void **state)
{
	return pass_setup(&(struct rig_params){0}, 0);
}

static int setup_two_workers(void **state)
{
	return pass_setup(&(struct rig_params){.n_workers = 2}, 1);
}

/* From the public side's own address, or this one. */
static struct probe_ask ask_of(const struct lease *l, uint8_t proto, const char *from)
{
	bool is_v4 = ip_is_v4(&l->public_addr);

	return (struct probe_ask){
		.peer_idx = l->peer_idx,
		.proto = proto,
		.from = {frame_addr(from    ? from
				    : is_v4 ? RIG_PUBLIC4
					    : RIG_PUBLIC6),
			50505},
		.public = {l->public_addr, l->public_port},
		.inner = {l->inner_addr, l->inner_port},
		.tcp_seq = SEQ,
	};
}

static void send_probe(uint8_t number, unsigned worker)
{
	struct rte_mbuf *m = pkt_alloc(rig->mempool);

	assert_non_null(m);
	m->data_len =
		probe_build(probe_ask_get(rig->probes, number), rte_pktmbuf_mtod(m, uint8_t *));
	m->pkt_len = m->data_len;
	*(struct path_probe *)rte_mbuf_to_priv(m) = (struct path_probe){.number = number};
	assert_true(mbox_push(rig->mail[worker].probes, m));
	rig_settle(rig);
}

static struct flow flow_of(
	const struct ip_endpoint *from, const struct ip_endpoint *to, uint8_t proto, uint8_t flags)
{
	static char src[IP_TEXT_CHARS], dst[IP_TEXT_CHARS];

	return (struct flow){ip_addr_format(&from->addr, src), ip_addr_format(&to->addr, dst),
		from->port, to->port, proto, 0, flags};
}

/* The peer gets it, by its door. */
static void reaches_the_peer(const struct probe_ask *ask)
{
	struct flow want = flow_of(&ask->from, &ask->inner, ask->proto, SYN);
	uint8_t inner[2048];
	struct frame f;
	int len;

	assert_true(rig_tx(rig, RIG_TUNNEL, &f));
	len = rig_client_open(rig, client, &f, inner);
	assert_true(len > 0);
	assert_true(packet_is(inner, &want));
	assert_true(packet_is_sound(inner, packet_len(inner)));
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL) + rig_tx_count(rig, RIG_PUBLIC), 0);
}

static uint8_t begin(const struct probe_ask *ask, unsigned worker)
{
	uint8_t number = probe_begin(rig->probes, ask);

	assert_int_not_equal(number, 0);
	send_probe(number, worker);
	reaches_the_peer(ask);
	return number;
}

static void from_the_peer(const struct probe_ask *ask, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct flow flow = flow_of(&ask->inner, &ask->from, ask->proto, flags);
	uint8_t ip[256];
	size_t len = packet_build(ip, &flow, NULL, 0);
	uint8_t *tcp = ip + (ip[0] >> 4 == 4 ? 20 : 40);
	struct frame f;

	if (ask->proto == IPPROTO_TCP) {
		store_be32(tcp + 4, seq);
		store_be32(tcp + 8, ack);
		packet_mend_l4(ip);
	}
	rig_client_frame(rig, client, &f, ip, len);
	rig_rx(rig, RIG_TUNNEL, 0, &f);
	rig_settle(rig);
}

static enum probe_kind end_of(uint8_t number)
{
	uint64_t at_ns;
	enum probe_kind kind = probe_answer_get(rig->probes, number, &at_ns).kind;

	probe_end(rig->probes, number);
	rig_settle(rig);
	return kind;
}

/* All that a lease could be known to be used by. */
struct traces {
	struct door_counters counters;
	struct door_failures failures;
	struct door_seen seen;
	bool has_seen;
	uint64_t n_dropped;
};

static struct traces traces_of(const struct lease *l)
{
	struct traces t;

	memset(&t, 0, sizeof(t));
	doors_counters_get(rig->doors, l->id, &t.counters);
	doors_failures_get(rig->doors, l->id, &t.failures);
	t.has_seen = doors_seen_get(rig->doors, l->id, rig_now_ns, &t.seen);
	t.n_dropped = rig_dropped_all(rig);
	return t;
}

static void check_answers(bool is_v4, unsigned worker)
{
	struct lease l = pass_lease(is_v4);
	struct probe_ask ask = ask_of(&l, IPPROTO_TCP, NULL);
	struct flow rst = flow_of(&ask.from, &ask.inner, IPPROTO_TCP, RST);
	struct traces before = traces_of(&l), after;
	uint8_t inner[2048], number;
	struct frame f;

	/* Accepted: it is told, and ended by a reset, through the tunnel. */
	number = begin(&ask, worker);
	from_the_peer(&ask, SYN | ACK, 99, SEQ + 1);
	assert_int_equal(rig_tx_count(rig, RIG_PUBLIC), 0);
	assert_true(rig_tx(rig, RIG_TUNNEL, &f));
	assert_true(rig_client_open(rig, client, &f, inner) > 0);
	rst = flow_of(&ask.from, &ask.inner, IPPROTO_TCP, RST);
	assert_true(packet_is(inner, &rst));
	assert_true(packet_is_sound(inner, packet_len(inner)));
	assert_int_equal(inner[(is_v4 ? 20 : 40) + 13], RST);
	assert_int_equal(load_be32(inner + (is_v4 ? 20 : 40) + 4), SEQ + 1);
	assert_int_equal(end_of(number), PROBE_ACCEPTED);

	/* Refused. */
	number = begin(&ask, worker);
	from_the_peer(&ask, RST | ACK, 0, SEQ + 1);
	assert_int_equal(end_of(number), PROBE_RESET);

	/* A datagram. */
	ask = ask_of(&l, IPPROTO_UDP, NULL);
	number = begin(&ask, worker);
	from_the_peer(&ask, 0, 0, 0);
	assert_int_equal(end_of(number), PROBE_DATAGRAM);

	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL) + rig_tx_count(rig, RIG_PUBLIC), 0);
	after = traces_of(&l);
	assert_memory_equal(&before, &after, sizeof(before));
	rig_check_balance(rig);
}

static void answers(void **state)
{
	for (unsigned worker = 0; worker < rig->params.n_workers; worker++)
		check_answers(true, worker);
}

static void answers_of_a_pinhole(void **state)
{
	for (unsigned worker = 0; worker < rig->params.n_workers; worker++)
		check_answers(false, worker);
}

static void a_port_is_unreachable(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct lease l = pass_lease(i);
		struct probe_ask ask = ask_of(&l, IPPROTO_UDP, NULL), got = ask;
		struct nat_icmp_make make = {
			.kind = NAT_ICMP_PORT_UNREACHABLE, .src = l.inner_addr};
		uint8_t about[PROBE_PKT_BYTES], error[NAT_ICMP_ERROR_MAX_BYTES];
		uint8_t number = begin(&ask, 0);
		struct traces before = traces_of(&l), after;
		struct frame f;
		size_t len;

		got.public = ask.inner;
		len = nat_icmp_error_build(
			error, sizeof(error), about, probe_build(&got, about), &make);
		rig_client_frame(rig, client, &f, error, len);
		rig_rx(rig, RIG_TUNNEL, 0, &f);
		rig_settle(rig);
		assert_int_equal(rig_tx_count(rig, RIG_TUNNEL) + rig_tx_count(rig, RIG_PUBLIC), 0);
		after = traces_of(&l);
		assert_memory_equal(&before, &after, sizeof(before));
		assert_int_equal(end_of(number), PROBE_UNREACHABLE);
	}
}

/* Whatever the peer sends there and is not the answer: nothing of it gets out, and nothing is told.
 */
static void what_is_no_answer(void **state)
{
	static const char *const froms[] = {RIG_PUBLIC4, "203.0.113.6"};
	struct lease l = pass_lease(true);
	struct door_counters before, after;

	for (size_t i = 0; i < 2; i++) {
		struct probe_ask ask = ask_of(&l, IPPROTO_TCP, froms[i]);
		uint8_t number = begin(&ask, 0);
		uint64_t n = rig_dropped_all(rig);

		doors_counters_get(rig->doors, client->lease_id, &before);

		from_the_peer(&ask, SYN | ACK, 99, SEQ);
		from_the_peer(&ask, SYN | ACK, 99, SEQ + 2);
		from_the_peer(&ask, RST | ACK, 0, 0);
		from_the_peer(&ask, ACK, 0, SEQ + 1);
		from_the_peer(&ask, SYN, 0, 0);
		assert_int_equal(rig_dropped_all(rig), n + 5);
		/* After the answer there is no other, and after the end none. */
		from_the_peer(&ask, RST | ACK, 0, SEQ + 1);
		from_the_peer(&ask, SYN | ACK, 99, SEQ + 1);
		assert_int_equal(rig_dropped_all(rig), n + 6);
		/* None of them is a use of the lease. */
		doors_counters_get(rig->doors, client->lease_id, &after);
		assert_int_equal(after.out_pkts, before.out_pkts);
		assert_int_equal(end_of(number), PROBE_RESET);
		from_the_peer(&ask, SYN | ACK, 99, SEQ + 1);
		assert_int_equal(rig_dropped_all(rig), n + 7);
		assert_int_equal(rig_tx_count(rig, RIG_PUBLIC), 0);
		rig_tx_discard(rig);
	}
}

/* Another peer speaks for itself only. */
static void another_peer_answers(void **state)
{
	struct rig_client *other = pass_client_add(1, client->home);
	struct lease l = pass_lease(true);
	struct probe_ask ask = ask_of(&l, IPPROTO_UDP, NULL);
	uint8_t number = begin(&ask, 0);
	struct flow flow = flow_of(&ask.inner, &ask.from, IPPROTO_UDP, 0);
	struct frame f;

	rig_client_flow(rig, other, &f, &flow, 0);
	drop_one(RIG_TUNNEL, &f, STATS_DROP_inner_source);
	assert_int_equal(end_of(number), PROBE_NOTHING);
}

/* Other packets of the peer go as ever, while a probe runs. */
static void others_pass(void **state)
{
	struct lease l = pass_lease(true);
	struct probe_ask ask = ask_of(&l, IPPROTO_TCP, NULL);
	uint8_t number = begin(&ask, 0);
	const struct flow out = {
		client->inner4, RIG_HOST4, RIG_INNER_PORT, 5555, IPPROTO_TCP, 0, SYN | ACK};
	struct frame f, left;

	rig_client_flow(rig, client, &f, &out, 0);
	pass(RIG_TUNNEL, RIG_PUBLIC, &f, &left);
	assert_int_equal(end_of(number), PROBE_NOTHING);
}

static void is_lost(const struct probe_ask *ask, const struct lease *l, enum stats_drop reason)
{
	uint8_t number = probe_begin(rig->probes, ask);
	struct traces before = traces_of(l), after;
	enum stats_drop lost;

	send_probe(number, 0);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL) + rig_tx_count(rig, RIG_PUBLIC), 0);
	assert_true(probe_lost_get(rig->probes, number, &lost));
	assert_int_equal(lost, reason);
	after = traces_of(l);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(end_of(number), PROBE_NOTHING);
}

static void why_it_is_lost(void **state)
{
	struct rig_client *silent = rig_client_add(rig, 1, client->home);
	struct lease l = pass_lease(true), v6 = pass_lease(false), its = {.id = silent->lease_id};
	struct probe_ask ask = ask_of(&l, IPPROTO_TCP, NULL), asks_it = ask;
	struct peer_order *o;

	l.n_sources = 1;
	assert_int_equal(ip_prefix_parse("192.0.2.0/24", &l.sources[0]), 0);
	assert_int_equal(doors_open(rig->doors, &l), 0);
	is_lost(&ask, &l, STATS_DROP_lease_source);
	l.n_sources = 0;
	assert_int_equal(doors_open(rig->doors, &l), 0);

	/* Nobody to send it to, and then nobody who has keys: a handshake is begun. */
	asks_it.peer_idx = silent->peer_idx;
	asks_it.public.port = silent->lease_port;
	asks_it.inner.addr = frame_addr(silent->inner4);
	is_lost(&asks_it, &its, STATS_DROP_peer_unreachable);
	o = rig_order(rig, PEER_ORDER_SET, silent);
	o->path = (struct peer_path){
		.remote = silent->outer, .local = frame_addr(silent->entry), .port_idx = 0};
	rig_order_push(rig, silent->home, o);
	rig_settle(rig);
	rig_now_ns += 10 * NS_IN_S;
	is_lost(&asks_it, &its, STATS_DROP_peer_hold_full);
	assert_true(rig->n_start >= 1);

	assert_int_equal(doors_close(rig->doors, l.id), 0);
	rig_settle(rig);
	is_lost(&ask, &l, STATS_DROP_no_lease);
	ask = ask_of(&v6, IPPROTO_UDP, NULL);
	assert_int_equal(doors_close(rig->doors, v6.id), 0);
	rig_settle(rig);
	is_lost(&ask, &v6, STATS_DROP_no_session);
}

/* It takes nothing of what a lease takes in a second. */
static void limits_are_not_used_up(void **state)
{
	struct lease l = pass_lease(true);
	struct probe_ask ask = ask_of(&l, IPPROTO_TCP, NULL);
	const struct flow in = {RIG_HOST4, RIG_POOL4, 5555, client->lease_port, IPPROTO_UDP, 0};
	struct frame f, out;

	l.max_pps = 1;
	assert_int_equal(doors_open(rig->doors, &l), 0);
	for (unsigned i = 0; i < 3; i++)
		end_of(begin(&ask, 0));
	rig_public_frame(rig, &f, &in, 10);
	pass(RIG_PUBLIC, RIG_TUNNEL, &f, &out);
	is_lost(&ask, &l, STATS_DROP_lease_rate);
}

#define rigged(f)     cmocka_unit_test_setup_teardown(f, setup, pass_teardown)
#define rigged_two(f) cmocka_unit_test_setup_teardown(f, setup_two_workers, pass_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rigged(answers),
		rigged_two(answers),
		rigged(answers_of_a_pinhole),
		rigged_two(answers_of_a_pinhole),
		rigged(a_port_is_unreachable),
		rigged_two(a_port_is_unreachable),
		rigged(what_is_no_answer),
		rigged_two(what_is_no_answer),
		rigged(another_peer_answers),
		rigged(others_pass),
		rigged(why_it_is_lost),
		rigged_two(why_it_is_lost),
		rigged(limits_are_not_used_up),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
