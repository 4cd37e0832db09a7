/* probe_test.c - which packet is the answer to a probe: the right one, once, from the peer that was
 * asked, and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "nat/icmp.h"
#include "probe/probe.h"
#include "why/why.h"

#include "eal.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10
#define SEQ 0xfffffffeu
#define NOW 12345u

struct world {
	struct grace *grace;
	struct probes *probes;
};

static int setup(void **state)
{
	static struct world w;

	w.grace = grace_create(1);
	w.probes = probes_create(w.grace);
	assert_true(w.grace && w.probes);
	grace_reader_online(w.grace, 0);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	grace_reader_offline(w->grace, 0);
	while (grace_poll(w->grace) > 0)
		;
	probes_destroy(w->probes);
	grace_destroy(w->grace);
	return 0;
}

static struct ip_endpoint end(const char *addr, uint16_t port)
{
	struct ip_endpoint e = {.port = port};

	assert_int_equal(ip_addr_parse(addr, &e.addr), 0);
	return e;
}

static struct probe_ask ask_of(bool is_v4, uint8_t proto)
{
	return (struct probe_ask){
		.peer_idx = 7,
		.proto = proto,
		.from = end(is_v4 ? "198.51.100.1" : "2001:db8::1", 40404),
		.public = end(is_v4 ? "203.0.113.5" : "fd00::2", 40000),
		.inner = end(is_v4 ? "10.0.0.2" : "fd00::2", 8080),
		.tcp_seq = SEQ,
	};
}

/* A packet of the peer. */
struct packet {
	uint8_t bytes[256];
	size_t len;
};

static void mend(struct packet *p)
{
	struct nat_view v;

	assert_int_equal(nat_parse(p->bytes, p->len, &v), NAT_OK);
	store_be16(p->bytes + v.l4_offset + (v.proto == NAT_PROTO_TCP ? 16 : 6),
		nat_l4_checksum(p->bytes, &v));
}

static struct packet packet_from_to(const struct probe_ask *ask, const struct ip_endpoint *from,
	const struct ip_endpoint *to, uint8_t flags, uint32_t ack)
{
	const struct why_packet q = {
		.proto = ask->proto,
		.src = from->addr,
		.dst = to->addr,
		.src_port = from->port,
		.dst_port = to->port,
		.tcp_flags = flags,
		.ttl = 64,
	};
	struct packet p;

	p.len = why_packet_build(&q, p.bytes, sizeof(p.bytes));
	assert_true(p.len > 0);
	if (ask->proto == NAT_PROTO_TCP) {
		store_be32(p.bytes + (ip_is_v4(&from->addr) ? 20 : 40) + 8, ack);
		mend(&p);
	}
	return p;
}

static struct packet answer_of(const struct probe_ask *ask, uint8_t flags, uint32_t ack)
{
	return packet_from_to(ask, &ask->inner, &ask->from, flags, ack);
}

static uint8_t take(
	struct world *w, uint32_t peer_idx, const struct packet *p, struct probe_answer *a)
{
	struct nat_view v = {0};
	enum nat_verdict verdict = nat_parse(p->bytes, p->len, &v);

	return verdict == NAT_MALFORMED
		       ? 0
		       : probe_take(w->probes, peer_idx, p->bytes, &v, verdict, NOW, a);
}

static void is_taken(
	struct world *w, const struct probe_ask *ask, const struct packet *p, enum probe_kind kind)
{
	uint8_t number = probe_begin(w->probes, ask);
	struct probe_answer a;
	uint64_t at_ns = 0;

	assert_int_not_equal(number, 0);
	assert_true(probes_are_running(w->probes));
	assert_int_equal(probe_answer_get(w->probes, number, &at_ns).kind, PROBE_NOTHING);
	assert_int_equal(take(w, ask->peer_idx, p, &a), number);
	assert_int_equal(a.kind, kind);
	assert_int_equal(probe_answer_get(w->probes, number, &at_ns).kind, kind);
	assert_int_equal(at_ns, NOW);
	/* Once; the next is no answer, and goes nowhere either. */
	assert_int_equal(take(w, ask->peer_idx, p, &a), number);
	assert_int_equal(a.kind, PROBE_NOTHING);
	probe_end(w->probes, number);
	assert_false(probes_are_running(w->probes));
}

static void is_none(struct world *w, const struct probe_ask *ask, const struct packet *p)
{
	uint8_t number = probe_begin(w->probes, ask);
	struct probe_answer a;
	uint64_t at_ns;

	/* It may be for the probe, and yet no answer. */
	if (take(w, ask->peer_idx, p, &a) != 0)
		assert_int_equal(a.kind, PROBE_NOTHING);
	assert_int_equal(probe_answer_get(w->probes, number, &at_ns).kind, PROBE_NOTHING);
	probe_end(w->probes, number);
	grace_reader_quiescent(w->grace, 0);
	while (grace_poll(w->grace) > 0)
		;
}

static void what_is_sent(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct probe_ask ask = ask_of(i & 1, i & 2 ? NAT_PROTO_TCP : NAT_PROTO_UDP);
		uint8_t pkt[PROBE_PKT_BYTES];
		uint16_t len = probe_build(&ask, pkt);
		struct nat_view v;

		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		assert_int_equal(v.total_len, len);
		assert_int_equal(v.src_port, ask.from.port);
		assert_int_equal(v.dst_port, ask.public.port);
		assert_int_equal(
			load_be16(pkt + v.l4_offset + (i & 2 ? 16 : 6)), nat_l4_checksum(pkt, &v));
		if (!(i & 2))
			continue;
		assert_int_equal(load_be32(pkt + v.l4_offset + 4), SEQ);
		assert_int_equal(pkt[v.l4_offset + 13], SYN);

		/* And what ends it: it goes to where the door leads, with the next number. */
		len = probe_build_reset(&ask, pkt);
		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		assert_int_equal(v.dst_port, ask.inner.port);
		assert_int_equal(load_be32(pkt + v.l4_offset + 4), SEQ + 1);
		assert_int_equal(pkt[v.l4_offset + 13], RST);
		assert_int_equal(load_be16(pkt + v.l4_offset + 16), nat_l4_checksum(pkt, &v));
	}
}

static void answers_over_tcp(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct probe_ask ask = ask_of(i, NAT_PROTO_TCP);
		struct packet p = answer_of(&ask, SYN | ACK, SEQ + 1);

		is_taken(*state, &ask, &p, PROBE_ACCEPTED);
		p = answer_of(&ask, RST | ACK, SEQ + 1);
		is_taken(*state, &ask, &p, PROBE_RESET);
	}
}

static void other_segments(void **state)
{
	struct probe_ask ask = ask_of(true, NAT_PROTO_TCP);
	static const struct {
		uint8_t flags;
		uint32_t ack;
	} rows[] = {{SYN | ACK, SEQ}, {SYN | ACK, SEQ + 2}, {SYN | ACK, 0}, {RST | ACK, SEQ},
		{RST, SEQ + 1}, {RST, 0}, {SYN, SEQ + 1}, {ACK, SEQ + 1}, {FIN | ACK, SEQ + 1}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet p = answer_of(&ask, rows[i].flags, rows[i].ack);

		is_none(*state, &ask, &p);
	}
}

/* From anywhere else, or to anywhere else; each end, address and port. */
static void of_other_ends(void **state)
{
	struct probe_ask ask = ask_of(true, NAT_PROTO_TCP), other = ask;
	struct packet p;

	other.inner.port++;
	p = answer_of(&other, SYN | ACK, SEQ + 1);
	is_none(*state, &ask, &p);
	other = ask;
	other.inner.addr = end("10.0.0.3", 1).addr;
	p = answer_of(&other, SYN | ACK, SEQ + 1);
	is_none(*state, &ask, &p);
	other = ask;
	other.from.port++;
	p = answer_of(&other, SYN | ACK, SEQ + 1);
	is_none(*state, &ask, &p);
	other = ask;
	other.from.addr = end("198.51.100.2", 1).addr;
	p = answer_of(&other, SYN | ACK, SEQ + 1);
	is_none(*state, &ask, &p);
	other = ask;
	other.proto = NAT_PROTO_UDP;
	p = answer_of(&other, 0, 0);
	is_none(*state, &ask, &p);
	other = ask;
	other.peer_idx++;
	p = answer_of(&ask, SYN | ACK, SEQ + 1);
	is_none(*state, &other, &(struct packet){0});
	assert_int_equal(take(*state, 8, &p, &(struct probe_answer){0}), 0);
}

static void of_another_peer(void **state)
{
	struct probe_ask ask = ask_of(true, NAT_PROTO_TCP);
	struct packet p = answer_of(&ask, SYN | ACK, SEQ + 1);
	struct world *w = *state;
	uint8_t number = probe_begin(w->probes, &ask);
	struct probe_answer a;

	assert_int_equal(take(w, ask.peer_idx + 1, &p, &a), 0);
	assert_int_equal(take(w, ask.peer_idx, &p, &a), number);
}

/* Checksums cover every byte. */
static void a_byte_is_wrong(void **state)
{
	for (unsigned proto = 0; proto < 2; proto++) {
		struct probe_ask ask = ask_of(true, proto ? NAT_PROTO_TCP : NAT_PROTO_UDP);
		struct packet p = answer_of(&ask, SYN | ACK, SEQ + 1);

		for (size_t i = 0; i < p.len; i++) {
			p.bytes[i] ^= 0x01;
			is_none(*state, &ask, &p);
			p.bytes[i] ^= 0x01;
		}
		for (size_t len = 0; len < p.len; len++) {
			struct packet cut = p;

			cut.len = len;
			is_none(*state, &ask, &cut);
		}
	}
}

static void answers_over_udp(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct probe_ask ask = ask_of(i, NAT_PROTO_UDP);
		struct packet p = answer_of(&ask, 0, 0);

		is_taken(*state, &ask, &p, PROBE_DATAGRAM);
		/* None is one over IPv4 only. */
		store_be16(p.bytes + (i ? 20 : 40) + 6, 0);
		if (i)
			is_taken(*state, &ask, &p, PROBE_DATAGRAM);
		else
			is_none(*state, &ask, &p);
	}
}

/* Of the probe as the peer got it. */
static struct packet error_about(const struct probe_ask *ask, enum nat_icmp_kind kind, uint32_t seq)
{
	struct probe_ask got = *ask;
	const struct nat_icmp_make make = {.kind = kind, .src = ask->inner.addr, .mtu = 1280};
	uint8_t about[PROBE_PKT_BYTES];
	struct packet p;

	got.public = ask->inner;
	got.tcp_seq = seq;
	p.len = nat_icmp_error_build(
		p.bytes, sizeof(p.bytes), about, probe_build(&got, about), &make);
	/* The builder wants room for the longest. */
	if (p.len == 0) {
		uint8_t room[NAT_ICMP_ERROR_MAX_BYTES];

		p.len = nat_icmp_error_build(
			room, sizeof(room), about, probe_build(&got, about), &make);
		assert_in_range(p.len, 1, sizeof(p.bytes));
		memcpy(p.bytes, room, p.len);
	}
	return p;
}

static void errors(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct probe_ask ask = ask_of(i & 1, i & 2 ? NAT_PROTO_TCP : NAT_PROTO_UDP), other;
		struct packet p = error_about(&ask, NAT_ICMP_PORT_UNREACHABLE, SEQ);

		is_taken(*state, &ask, &p, PROBE_UNREACHABLE);
		p = error_about(&ask, NAT_ICMP_ADMIN_PROHIBITED, SEQ);
		is_taken(*state, &ask, &p, PROBE_UNREACHABLE);
		p = error_about(&ask, NAT_ICMP_TIME_EXCEEDED, SEQ);
		is_none(*state, &ask, &p);
		p = error_about(&ask, NAT_ICMP_TOO_BIG, SEQ);
		is_none(*state, &ask, &p);
		if (i & 2) {
			p = error_about(&ask, NAT_ICMP_PORT_UNREACHABLE, SEQ + 1);
			is_none(*state, &ask, &p);
		}
		other = ask;
		other.from.port++;
		p = error_about(&other, NAT_ICMP_PORT_UNREACHABLE, SEQ);
		is_none(*state, &ask, &p);
		p = error_about(&ask, NAT_ICMP_PORT_UNREACHABLE, SEQ);
		for (size_t k = 0; k < p.len; k++) {
			p.bytes[k] ^= 0x01;
			/* Hop limit, flow label and addresses of the router are IPv6's alone. */
			if (i & 1 || k >= 40)
				is_none(*state, &ask, &p);
			p.bytes[k] ^= 0x01;
		}
	}
}

static void slots(void **state)
{
	struct probe_ask ask = ask_of(true, NAT_PROTO_TCP);
	struct packet p = answer_of(&ask, SYN | ACK, SEQ + 1);
	struct world *w = *state;
	struct probe_answer a;
	enum stats_drop reason;

	for (unsigned i = 1; i <= PROBE_SLOTS; i++) {
		ask.from.port = (uint16_t)(40404 + i);
		assert_int_equal(probe_begin(w->probes, &ask), i);
	}
	assert_int_equal(probe_begin(w->probes, &ask), 0);
	ask.from.port = 40404 + 3;
	p = answer_of(&ask, SYN | ACK, SEQ + 1);
	assert_int_equal(take(w, ask.peer_idx, &p, &a), 3);

	/* A slot is free when no worker can be reading it. */
	assert_false(probe_lost_get(w->probes, 5, &reason));
	probe_note_lost(w->probes, 5, STATS_DROP_rx_segmented);
	assert_true(probe_lost_get(w->probes, 5, &reason));
	assert_int_equal(reason, STATS_DROP_rx_segmented);
	ask.from.port = 40404 + 5;
	p = answer_of(&ask, SYN | ACK, SEQ + 1);
	probe_end(w->probes, 5);
	assert_int_equal(take(w, ask.peer_idx, &p, &a), 0);
	grace_poll(w->grace);
	assert_int_equal(probe_begin(w->probes, &ask), 0);
	grace_reader_quiescent(w->grace, 0);
	while (grace_poll(w->grace) > 0)
		;
	assert_int_equal(probe_begin(w->probes, &ask), 5);
	assert_false(probe_lost_get(w->probes, 5, &reason));
	assert_int_equal(take(w, ask.peer_idx, &p, &a), 5);
}

#define with_world(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sent),
		with_world(answers_over_tcp),
		with_world(other_segments),
		with_world(of_other_ends),
		with_world(of_another_peer),
		with_world(a_byte_is_wrong),
		with_world(answers_over_udp),
		with_world(errors),
		with_world(slots),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
