#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "nat/icmp.h"
#include "nat_packets.h"

#include <stdlib.h>
#include <string.h>

#define PACKET_MAX 2048

static enum nat_verdict parse_error(const uint8_t *pkt, size_t len, struct nat_icmp_error *e)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum nat_verdict verdict;
	struct nat_view v;

	assert_non_null(copy);
	memcpy(copy, pkt, len);
	verdict = nat_parse(copy, len, &v);
	if (verdict == NAT_OTHER_PROTO)
		verdict = nat_icmp_error_parse(copy, &v, e);
	free(copy);
	return verdict;
}

static void error_types(void **state)
{
	uint8_t pkt[PACKET_MAX], inner[128];
	struct nat_icmp_error e;
	unsigned len, inner_len;

	(void)state;
	inner_len = build_v4(inner, NAT_PROTO_UDP, 0, 20);
	for (unsigned type = 1; type < 256; type++) {
		len = build_error(pkt, (uint8_t)type, 1, inner, inner_len);
		if (type == 8)
			continue;
		assert_int_equal(parse_error(pkt, len, &e),
			type == 3 || type == 11 || type == 12 ? NAT_OK : NAT_OTHER_PROTO);
	}
	inner_len = build_v6(inner, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 20);
	for (unsigned type = 0; type < 256; type++) {
		len = build_error(pkt, (uint8_t)type, 1, inner, inner_len);
		if (type == 128 || type == 129)
			continue;
		assert_int_equal(parse_error(pkt, len, &e),
			type >= 1 && type <= 4 ? NAT_OK : NAT_OTHER_PROTO);
	}
}

static void error_fills_everything(void **state)
{
	uint8_t pkt[PACKET_MAX], inner[256];
	struct nat_icmp_error e;
	unsigned len, inner_len;

	(void)state;
	inner_len = build_v4(inner, NAT_PROTO_TCP, 3, 40);
	len = build_error(pkt, 3, 4, inner, inner_len);
	store_be16(pkt + 26, 1420);
	seal_l4(pkt, 20, NAT_PROTO_ICMP, len - 20);
	assert_int_equal(parse_error(pkt, len, &e), NAT_OK);
	assert_int_equal(e.type, 3);
	assert_int_equal(e.code, 4);
	assert_int_equal(e.mtu, 1420);
	assert_memory_equal(ip_v4_bytes(&e.inner_src), inner + 12, 4);
	assert_memory_equal(ip_v4_bytes(&e.inner_dst), inner + 16, 4);
	assert_true(ip_is_v4(&e.inner_src));
	assert_int_equal(e.inner_proto, NAT_PROTO_TCP);
	assert_true(e.has_ports);
	assert_int_equal(e.inner_src_port, load_be16(inner + 32));
	assert_int_equal(e.inner_dst_port, load_be16(inner + 34));
	assert_int_equal(e.inner_at, 28);
	assert_int_equal(e.inner_l4_at, 28 + 32);
	assert_int_equal(e.inner_end, len);

	inner_len = build_v4(inner, NAT_PROTO_ICMP, 0, 30);
	len = build_error(pkt, 11, 0, inner, 28);
	assert_int_equal(parse_error(pkt, len, &e), NAT_OK);
	assert_int_equal(e.mtu, 0);
	assert_int_equal(e.inner_icmp_type, 8);
	assert_true(e.has_ports);
	assert_int_equal(e.inner_src_port, load_be16(inner + 24));
	assert_int_equal(e.inner_dst_port, e.inner_src_port);
	assert_int_equal(e.inner_end, len);

	inner_len = build_v6(inner, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 60);
	len = build_error(pkt, 2, 0, inner, inner_len);
	store_be32(pkt + 44, 70000);
	seal_l4(pkt, 40, NAT_PROTO_ICMPV6, len - 40);
	assert_int_equal(parse_error(pkt, len, &e), NAT_OK);
	assert_int_equal(e.mtu, 65535);
	assert_memory_equal(e.inner_src.bytes, inner + 8, 16);
	assert_memory_equal(e.inner_dst.bytes, inner + 24, 16);
	assert_int_equal(e.inner_src_port, load_be16(inner + 40));
	assert_int_equal(e.inner_l4_at, 48 + 40);
}

/* Which quotes have ports: an L4 header of 8 bytes, of a protocol that has them, not of a later
 * fragment. */
static void quotes_with_and_without_ports(void **state)
{
	const uint8_t fragment_ext[16] = {60, 0, 0, 1, 1, 2, 3, 4, 17, 0, 1, 4, 0, 0, 0, 0};
	const uint8_t routing_ext[8] = {17, 0, 4, 1};
	uint8_t pkt[PACKET_MAX], inner[256], ext[16];
	struct nat_icmp_error e;
	unsigned len;

	(void)state;
	build_v4(inner, NAT_PROTO_UDP, 1, 40);
	for (unsigned quoted = 0; quoted <= 64; quoted++) {
		len = build_error(pkt, 11, 0, inner, quoted);
		assert_int_equal(parse_error(pkt, len, &e), quoted >= 24 ? NAT_OK : NAT_MALFORMED);
		if (quoted >= 24)
			assert_int_equal(e.has_ports, quoted >= 32);
	}
	build_v4(inner, 47, 0, 40);
	assert_int_equal(parse_error(pkt, build_error(pkt, 11, 0, inner, 60), &e), NAT_OK);
	assert_false(e.has_ports);
	build_v4(inner, NAT_PROTO_ICMP, 0, 40);
	inner[20] = 3; /* an error about an error */
	assert_int_equal(parse_error(pkt, build_error(pkt, 11, 0, inner, 60), &e), NAT_OK);
	assert_false(e.has_ports);
	for (unsigned offset = 0; offset < 2; offset++) {
		build_v4(inner, NAT_PROTO_UDP, 0, 40);
		store_be16(inner + 6, (uint16_t)(0x2000 | offset));
		seal_v4_header(inner);
		assert_int_equal(parse_error(pkt, build_error(pkt, 11, 0, inner, 60), &e), NAT_OK);
		assert_int_equal(e.has_ports, offset == 0);

		memcpy(ext, fragment_ext, 16);
		ext[3] |= (uint8_t)(offset << 3);
		len = build_v6(inner, 44, ext, 16, NAT_PROTO_UDP, 40);
		assert_int_equal(parse_error(pkt, build_error(pkt, 3, 0, inner, len), &e), NAT_OK);
		assert_int_equal(e.has_ports, offset == 0);
		assert_int_equal(e.inner_l4_at, 48 + (offset == 0 ? 56 : 48));
	}
	len = build_v6(inner, 43, routing_ext, 8, NAT_PROTO_UDP, 40);
	assert_int_equal(parse_error(pkt, build_error(pkt, 3, 0, inner, len), &e), NAT_OK);
	assert_false(e.has_ports);
	/* the chain of headers is cut */
	assert_int_equal(parse_error(pkt, build_error(pkt, 3, 0, inner, 47), &e), NAT_MALFORMED);
}

/* RFC 4884: extensions behind a padded quote are no part of it. */
static void extensions_end_the_quote(void **state)
{
	uint8_t pkt[PACKET_MAX], inner[256] = {0};
	struct nat_icmp_error e;
	unsigned len;

	(void)state;
	build_v4(inner, NAT_PROTO_UDP, 0, 180);
	len = build_error(pkt, 11, 0, inner, 150);
	pkt[25] = 32; /* words */
	seal_l4(pkt, 20, NAT_PROTO_ICMP, len - 20);
	assert_int_equal(parse_error(pkt, len, &e), NAT_OK);
	assert_int_equal(e.inner_end, 28 + 128);
	pkt[25] = 31; /* too short to be meant */
	seal_l4(pkt, 20, NAT_PROTO_ICMP, len - 20);
	assert_int_equal(parse_error(pkt, len, &e), NAT_OK);
	assert_int_equal(e.inner_end, len);

	build_v6(inner, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 180);
	len = build_error(pkt, 3, 0, inner, 150);
	pkt[44] = 16;
	seal_l4(pkt, 40, NAT_PROTO_ICMPV6, len - 40);
	assert_int_equal(parse_error(pkt, len, &e), NAT_OK);
	assert_int_equal(e.inner_end, 48 + 128);

	/* the quoted packet ends before the quote: padding */
	build_v4(inner, NAT_PROTO_UDP, 0, 12);
	len = build_error(pkt, 11, 0, inner, 128);
	assert_int_equal(parse_error(pkt, len, &e), NAT_OK);
	assert_int_equal(e.inner_end, 28 + 32);
}

/* Flipped anywhere, an error is refused: by its own checksum, or by the header that it quotes. */
static void error_refuses_each_flipped_bit(void **state)
{
	uint8_t pkt[PACKET_MAX], inner[128];
	struct nat_icmp_error e, untouched;
	unsigned len, inner_len;

	(void)state;
	inner_len = build_v4(inner, NAT_PROTO_UDP, 2, 30);
	len = build_error(pkt, 3, 3, inner, inner_len);
	memset(&untouched, 0xa5, sizeof(e));
	for (unsigned bit = 0; bit < len * 8; bit++) {
		pkt[bit / 8] ^= (uint8_t)(1u << bit % 8);
		memset(&e, 0xa5, sizeof(e));
		assert_int_not_equal(parse_error(pkt, len, &e), NAT_OK);
		assert_memory_equal(&e, &untouched, sizeof(e));
		pkt[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	/* The quoted header, under a right ICMP checksum. */
	for (unsigned bit = 28 * 8; bit < (28 + 28) * 8; bit++) {
		pkt[bit / 8] ^= (uint8_t)(1u << bit % 8);
		seal_l4(pkt, 20, NAT_PROTO_ICMP, len - 20);
		assert_int_equal(parse_error(pkt, len, &e), NAT_MALFORMED);
		pkt[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	/* The quoted L4 checksum is not looked at (RFC 5508 REQ-3c). */
	pkt[28 + 28 + 6] ^= 1;
	seal_l4(pkt, 20, NAT_PROTO_ICMP, len - 20);
	assert_int_equal(parse_error(pkt, len, &e), NAT_OK);
}

static void error_refuses_each_truncation(void **state)
{
	uint8_t pkt[PACKET_MAX], inner[128];
	struct nat_icmp_error e;
	unsigned inner_len;

	(void)state;
	inner_len = build_v4(inner, NAT_PROTO_UDP, 2, 30);
	for (unsigned cut = 0; cut < inner_len; cut++)
		assert_int_equal(parse_error(pkt, build_error(pkt, 3, 3, inner, cut), &e),
			cut < 28 ? NAT_MALFORMED : NAT_OK);
	inner_len = build_v6(inner, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 30);
	for (unsigned cut = 0; cut < inner_len; cut++)
		assert_int_equal(parse_error(pkt, build_error(pkt, 1, 3, inner, cut), &e),
			cut < 40 ? NAT_MALFORMED : NAT_OK);
}

/* Translate a whole packet: what a right error quotes. */
static void translate_plainly(uint8_t *inner, bool is_dst, const uint8_t *addr, uint16_t port)
{
	unsigned header_len = (inner[0] & 0xf) * 4u, len = load_be16(inner + 2);
	uint8_t *l4 = inner + header_len, proto = inner[9];
	bool has_no_sum = proto == NAT_PROTO_UDP && load_be16(l4 + 6) == 0;

	memcpy(inner + (is_dst ? 16 : 12), addr, 4);
	store_be16(l4 + (proto == NAT_PROTO_ICMP ? 4 : is_dst ? 2 : 0), port);
	seal_v4_header(inner);
	if (!has_no_sum)
		seal_l4(inner, header_len, proto, len - header_len);
}

/* Zero has two forms as a one's complement sum; all else is compared byte for byte. */
static void assert_same_but_zeros(
	const uint8_t *got, const uint8_t *want, unsigned len, unsigned a, unsigned b)
{
	for (unsigned i = 0; i < len; i++) {
		unsigned word = i & ~1u;

		if ((word == a || word == b) && word + 2 <= len)
			assert_int_equal(
				load_be16(got + word) % 0xffff, load_be16(want + word) % 0xffff);
		else
			assert_int_equal(got[i], want[i]);
	}
}

/* Each rewrite against a quote of the packet as it would be after translation, over all protocols,
 * options, and lengths of the quote. */
static void rewrite_inner_agrees_with_recomputation(void **state)
{
	static const uint8_t protos[] = {NAT_PROTO_TCP, NAT_PROTO_UDP, NAT_PROTO_ICMP};
	uint8_t pkt[PACKET_MAX], want[PACKET_MAX], inner[256], addr[4];
	struct nat_icmp_error e;
	struct nat_view v;

	(void)state;
	for (uint64_t i = random_rounds(200000); i > 0; i--) {
		uint8_t proto = protos[random_below(3)];
		bool is_dst = random_u64() & 1;
		unsigned options = random_below(4) ? 0 : random_below(11);
		unsigned l4_at = 20 + 4 * options;
		unsigned inner_len = build_v4(inner, proto, options, 20 + random_below(60));
		unsigned quoted = l4_at + 8 + random_below(inner_len - l4_at - 8 + 1);
		uint16_t port = random_below(8) ? (uint16_t)random_u64() : 0;
		unsigned len;

		random_bytes(addr, 4);
		if (proto == NAT_PROTO_UDP && random_below(4) == 0)
			store_be16(inner + l4_at + 6, 0);
		len = build_error(pkt, 3, 1, inner, quoted);
		translate_plainly(inner, is_dst, addr, port);
		memcpy(want, pkt, 28);
		memcpy(want + 28, inner, quoted);
		/* of half a checksum nothing can be mended */
		if (quoted == l4_at + checksum_at(proto) + 1)
			want[27 + quoted] = pkt[27 + quoted];
		seal_l4(want, 20, NAT_PROTO_ICMP, len - 20);

		assert_int_equal(nat_parse(pkt, len, &v), NAT_OTHER_PROTO);
		assert_int_equal(nat_icmp_error_parse(pkt, &v, &e), NAT_OK);
		assert_true(e.has_ports);
		if (is_dst)
			nat_icmp_error_rewrite_inner_dst(pkt, &v, &e, addr, port);
		else
			nat_icmp_error_rewrite_inner_src(pkt, &v, &e, addr, port);
		assert_same_but_zeros(pkt, want, len, 22, 28 + l4_at + checksum_at(proto));
		assert_true(nat_icmp_sum_ok(pkt, &v));

		/* The outer addresses go the ordinary way and touch nothing else. */
		memcpy(want, pkt, len);
		memcpy(want + 16, addr, 4);
		seal_v4_header(want);
		nat_rewrite_dst(pkt, &v, addr, port);
		assert_memory_equal(pkt, want, len);
	}
}

/* RFC 768: a sum that becomes zero is written as all ones; zero would say that there is none. */
static void rewritten_inner_udp_keeps_a_checksum(void **state)
{
	const uint8_t addr[4] = {10, 1, 2, 3};
	uint8_t pkt[PACKET_MAX], inner[64], wanted[64];
	struct nat_icmp_error e;
	struct nat_view v;
	unsigned len;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		len = build_v4(inner, NAT_PROTO_UDP, 0, 20);
		/* the word that makes the translated packet's sum zero */
		store_be16(inner + 28, 0);
		memcpy(wanted, inner, len);
		translate_plainly(wanted, false, addr, 6881);
		store_be16(inner + 28, load_be16(wanted + 26));
		seal_l4(inner, 20, NAT_PROTO_UDP, 20);
		len = build_error(pkt, 3, 3, inner, len);
		assert_int_equal(nat_parse(pkt, len, &v), NAT_OTHER_PROTO);
		assert_int_equal(nat_icmp_error_parse(pkt, &v, &e), NAT_OK);
		nat_icmp_error_rewrite_inner_src(pkt, &v, &e, addr, 6881);
		assert_int_equal(load_be16(pkt + 28 + 26), 0xffff);
		assert_true(nat_icmp_sum_ok(pkt, &v));
	}
}

/* A quoted later fragment has no port to set. IPv6 is not translated. */
static void rewrite_inner_without_ports(void **state)
{
	const uint8_t addr[4] = {10, 1, 2, 3};
	uint8_t pkt[PACKET_MAX], want[PACKET_MAX], inner[128];
	struct nat_icmp_error e;
	struct nat_view v;
	unsigned len;

	(void)state;
	build_v4(inner, NAT_PROTO_UDP, 0, 40);
	store_be16(inner + 6, 5);
	seal_v4_header(inner);
	len = build_error(pkt, 11, 0, inner, 60);
	memcpy(inner + 12, addr, 4);
	seal_v4_header(inner);
	memcpy(want, pkt, 28);
	memcpy(want + 28, inner, 60);
	seal_l4(want, 20, NAT_PROTO_ICMP, len - 20);
	assert_int_equal(nat_parse(pkt, len, &v), NAT_OTHER_PROTO);
	assert_int_equal(nat_icmp_error_parse(pkt, &v, &e), NAT_OK);
	nat_icmp_error_rewrite_inner_src(pkt, &v, &e, addr, 6881);
	assert_same_but_zeros(pkt, want, len, 22, 22);

	build_v6(inner, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 30);
	len = build_error(pkt, 1, 0, inner, 70);
	memcpy(want, pkt, len);
	assert_int_equal(nat_parse(pkt, len, &v), NAT_OTHER_PROTO);
	assert_int_equal(nat_icmp_error_parse(pkt, &v, &e), NAT_OK);
	nat_icmp_error_rewrite_inner_src(pkt, &v, &e, addr, 6881);
	nat_icmp_error_rewrite_inner_dst(pkt, &v, &e, addr, 6881);
	assert_memory_equal(pkt, want, len);
}

static void set_mtu_of_either_family(void **state)
{
	uint8_t pkt[PACKET_MAX], want[PACKET_MAX], inner[128];
	struct nat_icmp_error e;
	struct nat_view v;
	unsigned len, inner_len, l4_at;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		bool is_v4 = i & 1;
		uint16_t mtu = (uint16_t)random_u64();

		inner_len = is_v4 ? build_v4(inner, NAT_PROTO_UDP, 0, 30)
				  : build_v6(inner, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 30);
		len = is_v4 ? build_error(pkt, 3, 4, inner, inner_len)
			    : build_error(pkt, 2, 0, inner, inner_len);
		l4_at = is_v4 ? 20 : 40;
		store_be16(pkt + l4_at + 6, (uint16_t)random_u64());
		if (!is_v4)
			store_be16(pkt + l4_at + 4, (uint16_t)random_u64());
		seal_l4(pkt, l4_at, is_v4 ? 1 : 58, len - l4_at);
		memcpy(want, pkt, len);
		store_be16(want + l4_at + 6, mtu);
		if (!is_v4)
			store_be16(want + l4_at + 4, 0);
		seal_l4(want, l4_at, is_v4 ? 1 : 58, len - l4_at);

		assert_int_equal(nat_parse(pkt, len, &v), NAT_OTHER_PROTO);
		assert_int_equal(nat_icmp_error_parse(pkt, &v, &e), NAT_OK);
		nat_icmp_error_set_mtu(pkt, &v, &e, mtu);
		assert_same_but_zeros(pkt, want, len, l4_at + 2, l4_at + 2);
	}
	/* other errors have something else there */
	build_v4(inner, NAT_PROTO_UDP, 0, 30);
	len = build_error(pkt, 3, 3, inner, 50);
	memcpy(want, pkt, len);
	assert_int_equal(nat_parse(pkt, len, &v), NAT_OTHER_PROTO);
	assert_int_equal(nat_icmp_error_parse(pkt, &v, &e), NAT_OK);
	nat_icmp_error_set_mtu(pkt, &v, &e, 1400);
	assert_memory_equal(pkt, want, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_types),
		cmocka_unit_test(error_fills_everything),
		cmocka_unit_test(quotes_with_and_without_ports),
		cmocka_unit_test(extensions_end_the_quote),
		cmocka_unit_test(error_refuses_each_flipped_bit),
		cmocka_unit_test(error_refuses_each_truncation),
		cmocka_unit_test(rewrite_inner_agrees_with_recomputation),
		cmocka_unit_test(rewritten_inner_udp_keeps_a_checksum),
		cmocka_unit_test(rewrite_inner_without_ports),
		cmocka_unit_test(set_mtu_of_either_family),
	};

	random_seed();
	return cmocka_run_group_tests_name("nat_icmp", tests, NULL, NULL);
}
