#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "nat/icmp.h"
#include "nat_packets.h"

#include <string.h>

#define PACKET_MAX 2048

static const uint8_t gateway_v6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 1};

static struct nat_icmp_make make_of(const uint8_t *pkt, enum nat_icmp_kind kind)
{
	const uint8_t gateway_v4[4] = {192, 0, 2, 1};

	return (struct nat_icmp_make){
		.kind = kind,
		.mtu = 1420,
		.src = pkt[0] >> 4 == 4 ? ip_from_v4(gateway_v4) : ip_from_v6(gateway_v6),
	};
}

static size_t build(uint8_t *out, const uint8_t *pkt, size_t len, enum nat_icmp_kind kind)
{
	struct nat_icmp_make make = make_of(pkt, kind);

	return nat_icmp_error_build(out, NAT_ICMP_ERROR_MAX_BYTES, pkt, len, &make);
}

/* A packet of len bytes between two hosts. */
static unsigned build_host_packet(uint8_t *pkt, unsigned version, uint8_t proto, unsigned l4_len)
{
	unsigned len = version == 4 ? build_v4(pkt, proto, 0, l4_len)
				    : build_v6(pkt, proto, NULL, 0, proto, l4_len);

	if (version == 4) {
		memcpy(pkt + 12, (uint8_t[]){10, 9, 0, 2, 198, 51, 100, 1}, 8);
		seal_v4_header(pkt);
	} else {
		memcpy(pkt + 8, (uint8_t[]){0x20, 1, 0x0d, 0xb8, [15] = 9}, 16);
		memcpy(pkt + 24, (uint8_t[]){0x20, 1, 0x0d, 0xb9, [15] = 7}, 16);
	}
	return len;
}

static void every_byte_of_a_v4_error(void **state)
{
	static const uint8_t offending[] = {0x45, 0, 0, 29, 0x12, 0x34, 0x40, 0, 1, 17, 0x92, 0x70,
		10, 9, 0, 2, 198, 51, 100, 1, 0x30, 0x39, 0, 53, 0, 9, 0xab, 0xcd, 'x'};
	uint8_t want[20 + 8 + sizeof(offending)] = {0x45, 0xc0, 0, 57, 0, 0, 0x40, 0, 64, 1, 0, 0,
		192, 0, 2, 1, 10, 9, 0, 2, 3, 4, 0, 0, 0, 0, 0x05, 0x8c};
	uint8_t in[sizeof(offending)], out[NAT_ICMP_ERROR_MAX_BYTES];

	(void)state;
	memcpy(in, offending, sizeof(in));
	seal_v4_header(in);
	memcpy(want + 28, in, sizeof(in));
	seal_v4_header(want);
	store_be16(want + 22, plain_checksum(NULL, 0, want + 20, sizeof(want) - 20));
	assert_int_equal(build(out, in, sizeof(in), NAT_ICMP_TOO_BIG), sizeof(want));
	assert_memory_equal(out, want, sizeof(want));
}

static void every_byte_of_a_v6_error(void **state)
{
	uint8_t in[PACKET_MAX], want[PACKET_MAX] = {0x60, 0, 0, 0, 0, 0, 58, 64};
	uint8_t out[NAT_ICMP_ERROR_MAX_BYTES];
	unsigned len;

	(void)state;
	len = build_host_packet(in, 6, NAT_PROTO_UDP, 20);
	store_be16(want + 4, (uint16_t)(8 + len));
	memcpy(want + 8, gateway_v6, 16);
	memcpy(want + 24, in + 8, 16);
	memcpy(want + 40, (uint8_t[]){2, 0, 0, 0, 0, 0, 0x05, 0x8c}, 8);
	memcpy(want + 48, in, len);
	store_be16(want + 42, plain_l4_checksum(want, 40, NAT_PROTO_ICMPV6, 8 + len));
	assert_int_equal(build(out, in, len, NAT_ICMP_TOO_BIG), 48 + len);
	assert_memory_equal(out, want, 48 + len);
}

static void each_kind_has_its_type_and_code(void **state)
{
	static const struct {
		enum nat_icmp_kind kind;
		uint8_t v4[2], v6[2];
		uint16_t mtu;
	} cases[] = {
		{NAT_ICMP_TIME_EXCEEDED, {11, 0}, {3, 0}, 0},
		{NAT_ICMP_TOO_BIG, {3, 4}, {2, 0}, 1420},
		{NAT_ICMP_ADMIN_PROHIBITED, {3, 13}, {1, 1}, 0},
		{NAT_ICMP_PORT_UNREACHABLE, {3, 3}, {1, 4}, 0},
	};
	uint8_t in[PACKET_MAX], out[NAT_ICMP_ERROR_MAX_BYTES];
	struct nat_icmp_error e;
	struct nat_view v;
	size_t n;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (unsigned version = 4; version <= 6; version += 2) {
			const uint8_t *want = version == 4 ? cases[i].v4 : cases[i].v6;

			n = build(out, in, build_host_packet(in, version, NAT_PROTO_TCP, 60),
				cases[i].kind);
			assert_int_equal(nat_parse(out, n, &v), NAT_OTHER_PROTO);
			assert_int_equal(v.total_len, n);
			assert_int_equal(nat_icmp_error_parse(out, &v, &e), NAT_OK);
			assert_int_equal(e.type, want[0]);
			assert_int_equal(e.code, want[1]);
			assert_int_equal(e.mtu, cases[i].mtu);
			assert_true(e.has_ports);
		}
	for (unsigned version = 4; version <= 6; version += 2) {
		n = build_host_packet(in, version, NAT_PROTO_TCP, 60);
		assert_int_equal(build(out, in, n, NAT_ICMP_NONE), 0);
	}
}

/* As much is quoted as may be (RFC 1812, section 4.3.2.3; RFC 4443, section 2.4(c)). */
static void quotes_up_to_the_limit(void **state)
{
	uint8_t in[PACKET_MAX], out[NAT_ICMP_ERROR_MAX_BYTES];
	struct nat_icmp_make make;
	struct nat_view v;
	size_t n, want;

	(void)state;
	for (unsigned version = 4; version <= 6; version += 2)
		for (unsigned l4_len = 8; l4_len <= 1460; l4_len++) {
			unsigned len = build_host_packet(in, version, NAT_PROTO_UDP, l4_len);
			unsigned limit = version == 4 ? 576 : 1280;
			unsigned head = version == 4 ? 28 : 48;

			want = head + len < limit ? head + len : limit;
			n = build(out, in, len, NAT_ICMP_ADMIN_PROHIBITED);
			assert_int_equal(n, want);
			assert_memory_equal(out + head, in, n - head);
			assert_int_equal(nat_parse(out, n, &v), NAT_OTHER_PROTO);
			assert_true(nat_icmp_sum_ok(out, &v));
			/* a byte less of room, and nothing is written */
			memset(out, 0xa5, sizeof(out));
			make = make_of(in, NAT_ICMP_ADMIN_PROHIBITED);
			assert_int_equal(nat_icmp_error_build(out, want - 1, in, len, &make), 0);
			for (unsigned i = 0; i < sizeof(out); i++)
				assert_int_equal(out[i], 0xa5);
		}
}

static void assert_silent(const uint8_t *pkt, size_t len)
{
	uint8_t out[NAT_ICMP_ERROR_MAX_BYTES];

	assert_int_equal(build(out, pkt, len, NAT_ICMP_TIME_EXCEEDED), 0);
}

static void none_from_or_to_no_single_host(void **state)
{
	static const uint8_t v4[][4] = {{0, 0, 0, 0}, {0, 1, 2, 3}, {127, 0, 0, 1}, {224, 0, 0, 1},
		{239, 1, 1, 1}, {240, 0, 0, 1}, {255, 255, 255, 255}};
	static const uint8_t v6[][16] = {{0}, {[15] = 1}, {0xff, 2, [15] = 1}};
	uint8_t pkt[PACKET_MAX];
	unsigned len;

	(void)state;
	for (unsigned is_dst = 0; is_dst < 2; is_dst++) {
		for (unsigned i = 0; i < sizeof(v4) / sizeof(*v4); i++) {
			len = build_host_packet(pkt, 4, NAT_PROTO_UDP, 20);
			memcpy(pkt + (is_dst ? 16 : 12), v4[i], 4);
			seal_v4_header(pkt);
			assert_silent(pkt, len);
		}
		for (unsigned i = 0; i < sizeof(v6) / sizeof(*v6); i++) {
			len = build_host_packet(pkt, 6, NAT_PROTO_UDP, 20);
			memcpy(pkt + (is_dst ? 24 : 8), v6[i], 16);
			assert_silent(pkt, len);
		}
	}
}

static void none_about_errors(void **state)
{
	uint8_t pkt[PACKET_MAX], out[NAT_ICMP_ERROR_MAX_BYTES];
	unsigned len;

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		len = build_host_packet(pkt, 4, NAT_PROTO_ICMP, 20);
		pkt[20] = (uint8_t)type;
		assert_int_equal(build(out, pkt, len, NAT_ICMP_TIME_EXCEEDED) == 0,
			(type >= 3 && type <= 5) || type == 11 || type == 12);
		len = build_host_packet(pkt, 6, NAT_PROTO_ICMPV6, 20);
		pkt[40] = (uint8_t)type;
		assert_int_equal(build(out, pkt, len, NAT_ICMP_TIME_EXCEEDED) == 0,
			type < 128 || type == 137);
	}
}

/* An error may hide in a first fragment, or behind a routing header. */
static void none_about_hidden_errors(void **state)
{
	uint8_t pkt[PACKET_MAX], ext[16], out[NAT_ICMP_ERROR_MAX_BYTES];
	const uint8_t hosts[32] = {0x20, 1, [16] = 0x20, [17] = 1};
	unsigned len;

	(void)state;
	for (unsigned is_error = 0; is_error < 2; is_error++) {
		uint8_t type_v4 = is_error ? 3 : 8, type_v6 = is_error ? 1 : 128;

		len = build_host_packet(pkt, 4, NAT_PROTO_ICMP, 24);
		pkt[20] = type_v4;
		store_be16(pkt + 6, 0x2000);
		seal_v4_header(pkt);
		assert_int_equal(build(out, pkt, len, NAT_ICMP_TOO_BIG) == 0, is_error);

		for (unsigned first = 43; first <= 44; first++) {
			memcpy(ext, (uint8_t[16]){60, 0, 4, 1, 0, 0, 0, 0, 58, 0, 1, 4}, 16);
			if (first == 44)
				store_be16(ext + 2, 1);
			len = build_v6(pkt, (uint8_t)first, ext, 16, NAT_PROTO_ICMPV6, 24);
			memcpy(pkt + 8, hosts, 32);
			pkt[56] = type_v6;
			assert_int_equal(build(out, pkt, len, NAT_ICMP_TOO_BIG) == 0, is_error);
			/* cut before its type */
			store_be16(pkt + 4, 16);
			assert_silent(pkt, 56);
		}
	}
}

static void none_about_later_fragments_or_rubbish(void **state)
{
	const uint8_t hosts[32] = {0x20, 1, [16] = 0x20, [17] = 1};
	uint8_t pkt[PACKET_MAX], ext[8] = {NAT_PROTO_UDP}, out[NAT_ICMP_ERROR_MAX_BYTES];
	struct nat_icmp_make make;
	unsigned len;

	(void)state;
	for (unsigned offset = 0; offset < 2; offset++) {
		len = build_host_packet(pkt, 4, NAT_PROTO_UDP, 24);
		store_be16(pkt + 6, (uint16_t)(0x2000 | offset));
		seal_v4_header(pkt);
		assert_int_equal(build(out, pkt, len, NAT_ICMP_TOO_BIG) == 0, offset != 0);
		store_be16(ext + 2, (uint16_t)(offset << 3 | 1));
		len = build_v6(pkt, 44, ext, 8, NAT_PROTO_UDP, 24);
		memcpy(pkt + 8, hosts, 32);
		assert_int_equal(build(out, pkt, len, NAT_ICMP_TOO_BIG) == 0, offset != 0);
	}
	for (unsigned version = 4; version <= 6; version += 2) {
		len = build_host_packet(pkt, version, NAT_PROTO_UDP, 24);
		for (unsigned cut = 0; cut < len; cut++)
			assert_silent(pkt, cut);
		/* of the other family */
		make = make_of(pkt, NAT_ICMP_TIME_EXCEEDED);
		build_host_packet(pkt, 10 - version, NAT_PROTO_UDP, 24);
		assert_int_equal(nat_icmp_error_build(out, sizeof(out), pkt, 64, &make), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_of_a_v4_error),
		cmocka_unit_test(every_byte_of_a_v6_error),
		cmocka_unit_test(each_kind_has_its_type_and_code),
		cmocka_unit_test(quotes_up_to_the_limit),
		cmocka_unit_test(none_from_or_to_no_single_host),
		cmocka_unit_test(none_about_errors),
		cmocka_unit_test(none_about_hidden_errors),
		cmocka_unit_test(none_about_later_fragments_or_rubbish),
	};

	random_seed();
	return cmocka_run_group_tests_name("nat_icmp_build", tests, NULL, NULL);
}
