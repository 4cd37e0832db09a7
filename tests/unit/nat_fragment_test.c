#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "nat/fragment.h"
#include "nat_packets.h"

#include <stdlib.h>
#include <string.h>

#define PACKET_MAX 4096
#define MORE	   0x2000

static enum nat_verdict parse_fragment(
	const uint8_t *pkt, size_t len, struct nat_view *v, struct nat_fragment *f)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum nat_verdict verdict;

	assert_non_null(copy);
	memcpy(copy, pkt, len);
	verdict = nat_parse(copy, len, v);
	if (verdict == NAT_FRAGMENT)
		verdict = nat_fragment_parse(copy, v, f);
	free(copy);
	return verdict;
}

/* An IPv4 fragment with this much payload: field is MORE and the offset in units of 8. */
static unsigned build_fragment_v4(uint8_t *pkt, uint8_t proto, uint16_t field, unsigned len)
{
	unsigned total = build_v4(pkt, proto, 0, len < 20 ? 20 : len) - (len < 20 ? 20 - len : 0);

	store_be16(pkt + 2, (uint16_t)total);
	store_be16(pkt + 6, field);
	seal_v4_header(pkt);
	return total;
}

static void first_fragment_has_ports(void **state)
{
	static const uint8_t protos[] = {NAT_PROTO_TCP, NAT_PROTO_UDP, NAT_PROTO_ICMP};
	struct nat_fragment f;
	uint8_t pkt[PACKET_MAX];
	struct nat_view v;
	unsigned len;

	(void)state;
	for (unsigned i = 0; i < sizeof(protos); i++) {
		bool is_icmp = protos[i] == NAT_PROTO_ICMP;

		len = build_fragment_v4(pkt, protos[i], MORE, 40);
		if (protos[i] == NAT_PROTO_UDP)
			store_be16(pkt + 24, 4000); /* of the whole datagram */
		assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_OK);
		assert_true(v.has_l4);
		assert_int_equal(v.src_port, load_be16(pkt + (is_icmp ? 24 : 20)));
		assert_int_equal(v.dst_port, load_be16(pkt + (is_icmp ? 24 : 22)));
		assert_int_equal(v.icmp_type, is_icmp ? 8 : 0);
		assert_true(f.is_first);
		assert_false(f.is_last);
		assert_int_equal(f.offset_bytes, 0);
		assert_int_equal(f.len_bytes, 40);
		assert_int_equal(f.id, load_be16(pkt + 4));
	}
	len = build_fragment_v4(pkt, 47, MORE, 40);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_OTHER_PROTO);
	assert_false(v.has_l4);
	assert_true(f.is_first);
	len = build_fragment_v4(pkt, NAT_PROTO_ICMP, MORE, 40);
	pkt[20] = 3;
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_OTHER_PROTO);
	assert_int_equal(v.icmp_type, 3);
	len = build_fragment_v4(pkt, NAT_PROTO_ICMPV6, MORE, 40);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_OTHER_PROTO);
}

static void later_fragment_has_none(void **state)
{
	struct nat_fragment f;
	uint8_t pkt[PACKET_MAX];
	struct nat_view v;
	unsigned len;

	(void)state;
	len = build_fragment_v4(pkt, NAT_PROTO_UDP, MORE | 185, 1480);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_FRAGMENT);
	assert_false(v.has_l4);
	assert_false(f.is_first);
	assert_false(f.is_last);
	assert_int_equal(f.offset_bytes, 1480);
	assert_int_equal(f.len_bytes, 1480);
	len = build_fragment_v4(pkt, NAT_PROTO_UDP, 0x1ffd, 3);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_FRAGMENT);
	assert_true(f.is_last);
	assert_int_equal(f.offset_bytes + f.len_bytes, 65515);
}

/* RFC 1858, RFC 3128: what hides or overwrites the header that decides. */
static void tiny_fragments(void **state)
{
	static const struct {
		uint8_t proto;
		uint16_t field;
		unsigned len;
		enum nat_verdict want;
	} cases[] = {
		{NAT_PROTO_TCP, MORE, 8, NAT_TINY_FRAGMENT},
		{NAT_PROTO_TCP, MORE, 16, NAT_TINY_FRAGMENT},
		{NAT_PROTO_TCP, MORE, 24, NAT_OK},
		{NAT_PROTO_TCP, MORE | 1, 24, NAT_TINY_FRAGMENT},
		{NAT_PROTO_TCP, 1, 24, NAT_TINY_FRAGMENT},
		{NAT_PROTO_TCP, MORE | 2, 24, NAT_TINY_FRAGMENT},
		{NAT_PROTO_TCP, MORE | 3, 24, NAT_FRAGMENT},
		{NAT_PROTO_UDP, MORE, 8, NAT_OK},
		{NAT_PROTO_UDP, MORE | 1, 8, NAT_FRAGMENT},
		{NAT_PROTO_ICMP, MORE, 8, NAT_OK},
		{NAT_PROTO_ICMP, 1, 1, NAT_FRAGMENT},
		{NAT_PROTO_UDP, 5, 0, NAT_TINY_FRAGMENT},
		{47, MORE, 8, NAT_OTHER_PROTO},
	};
	struct nat_fragment f, untouched;
	uint8_t pkt[PACKET_MAX];
	struct nat_view v;
	unsigned len;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		len = build_fragment_v4(pkt, cases[i].proto, cases[i].field, cases[i].len);
		if (cases[i].proto == NAT_PROTO_UDP)
			store_be16(pkt + 24, 100);
		memset(&f, 0xa5, sizeof(f));
		memset(&untouched, 0xa5, sizeof(f));
		assert_int_equal(parse_fragment(pkt, len, &v, &f), cases[i].want);
		if (cases[i].want == NAT_TINY_FRAGMENT) {
			assert_memory_equal(&f, &untouched, sizeof(f));
			assert_false(v.has_l4);
		}
	}
	/* TCP options are part of the header. */
	for (unsigned words = 0; words < 16; words++) {
		len = build_fragment_v4(pkt, NAT_PROTO_TCP, MORE, 32);
		pkt[32] = (uint8_t)(words << 4);
		assert_int_equal(parse_fragment(pkt, len, &v, &f), words < 5 ? NAT_MALFORMED
								   : words <= 8
									   ? NAT_OK
									   : NAT_TINY_FRAGMENT);
	}
	len = build_fragment_v4(pkt, NAT_PROTO_UDP, MORE, 32);
	store_be16(pkt + 24, 7);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_MALFORMED);
}

static unsigned build_fragment_v6(uint8_t *pkt, uint8_t next, uint16_t field, const uint8_t *ext,
	unsigned ext_len, unsigned len)
{
	uint8_t head[64] = {next, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef};

	store_be16(head + 2, field);
	if (ext_len > 0)
		memcpy(head + 8, ext, ext_len);
	return build_v6(pkt, 44, head, 8 + ext_len, NAT_PROTO_TCP, len);
}

static void fragments_of_ipv6(void **state)
{
	const uint8_t options[8] = {NAT_PROTO_TCP, 0, 1, 4}, fragment[8] = {NAT_PROTO_TCP, 0, 0, 9};
	const uint8_t routing[8] = {NAT_PROTO_TCP, 0, 4, 1};
	struct nat_fragment f;
	uint8_t pkt[PACKET_MAX];
	struct nat_view v;
	unsigned len;

	(void)state;
	len = build_fragment_v6(pkt, NAT_PROTO_TCP, 1, NULL, 0, 40);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_OK);
	assert_int_equal(f.id, 0xdeadbeef);
	assert_int_equal(f.len_bytes, 40);
	assert_int_equal(v.l4_offset, 48);
	assert_int_equal(v.src_port, load_be16(pkt + 48));

	/* Headers behind the fragment header belong to the payload that is cut. */
	len = build_fragment_v6(pkt, 60, 1, options, 8, 32);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_OK);
	assert_int_equal(f.len_bytes, 40);
	assert_int_equal(v.l4_offset, 56);
	assert_int_equal(v.proto, NAT_PROTO_TCP);
	assert_int_equal(v.src_port, load_be16(pkt + 56));

	/* RFC 7112: the chain must end in the first fragment. */
	len = build_fragment_v6(pkt, 60, 1, (uint8_t[8]){NAT_PROTO_TCP, 4}, 8, 24);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_TINY_FRAGMENT);
	len = build_fragment_v6(pkt, 60, 1, options, 8, 16);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_TINY_FRAGMENT);
	len = build_fragment_v6(pkt, 44, 1, fragment, 8, 32);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_MALFORMED);
	len = build_fragment_v6(pkt, 43, 1, routing, 8, 32);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_OTHER_PROTO);
	assert_true(f.is_first);

	len = build_fragment_v6(pkt, NAT_PROTO_TCP, 1480 | 1, NULL, 0, 40);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_FRAGMENT);
	assert_int_equal(f.offset_bytes, 1480);
	assert_false(f.is_last);
	len = build_fragment_v6(pkt, NAT_PROTO_TCP, 16, NULL, 0, 40);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_TINY_FRAGMENT);
	len = build_fragment_v6(pkt, NAT_PROTO_TCP, 1480, NULL, 0, 33);
	assert_int_equal(parse_fragment(pkt, len, &v, &f), NAT_FRAGMENT);
	assert_true(f.is_last);
	for (unsigned cut = 0; cut < len; cut++)
		assert_int_equal(parse_fragment(pkt, cut, &v, &f), NAT_MALFORMED);
}

/* Put pieces together by their offsets alone. Returns the bytes of payload. */
struct whole {
	uint8_t payload[65536];
	uint8_t seen[65536];
	unsigned n_seen, end, n_last;
};

static void put_piece(struct whole *w, const uint8_t *piece, size_t len, uint16_t max_bytes)
{
	unsigned header_len = (piece[0] & 0xf) * 4u, field = load_be16(piece + 6);
	unsigned offset = (field & 0x1fff) * 8, n = (unsigned)len - header_len;
	struct nat_view v;

	assert_true(len <= max_bytes);
	assert_int_equal(nat_parse(piece, len, &v), NAT_FRAGMENT);
	assert_int_equal(v.total_len, len);
	for (unsigned i = 0; i < n; i++) {
		assert_false(w->seen[offset + i]);
		w->seen[offset + i] = 1;
		w->payload[offset + i] = piece[header_len + i];
	}
	w->n_seen += n;
	if (!(field & MORE)) {
		w->n_last++;
		w->end = offset + n;
	}
}

/* Packets of all sizes, cut, and each piece cut again: together they are what was cut. */
static void pieces_make_the_packet(void **state)
{
	static struct whole w;
	uint8_t pkt[PACKET_MAX], piece[PACKET_MAX], second[PACKET_MAX];
	struct nat_view v, piece_view;
	size_t n, m;

	(void)state;
	for (uint64_t rounds = random_rounds(3000); rounds > 0; rounds--) {
		unsigned options = random_below(11), l4_len = 1500 + random_below(2400);
		unsigned len = build_v4(pkt, NAT_PROTO_UDP, options, l4_len);
		uint16_t max_bytes = (uint16_t)(68 + random_below(1400));
		uint16_t max_again = (uint16_t)(68 + random_below(600));

		store_be16(pkt + 6, 0);
		seal_v4_header(pkt);
		memset(&w, 0, sizeof(w));
		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		for (unsigned k = 0; (n = nat_fragment_cut(pkt, &v, max_bytes, k, piece)) > 0;
			k++) {
			assert_int_equal(nat_parse(piece, n, &piece_view), NAT_FRAGMENT);
			for (unsigned j = 0; (m = nat_fragment_cut(piece, &piece_view, max_again, j,
						      second)) > 0;
				j++)
				put_piece(&w, second, m, max_again);
		}
		assert_int_equal(w.n_seen, l4_len);
		assert_int_equal(w.n_last, 1);
		assert_int_equal(w.end, l4_len);
		assert_memory_equal(w.payload, pkt + 20 + 4 * options, l4_len);
	}
}

static void every_byte_of_three_pieces(void **state)
{
	static const uint8_t options[8] = {0x88, 4, 1, 2, 7, 3, 4, 0};
	uint8_t pkt[28 + 100], piece[68];
	static const uint8_t heads[3][28] = {
		{0x47, 0, 0, 68, 0x12, 0x34, 0x20, 0, 64, 17, 0, 0, 10, 9, 0, 2, 198, 51, 100, 1,
			0x88, 4, 1, 2, 7, 3, 4, 0},
		{0x46, 0, 0, 64, 0x12, 0x34, 0x20, 5, 64, 17, 0, 0, 10, 9, 0, 2, 198, 51, 100, 1,
			0x88, 4, 1, 2},
		{0x46, 0, 0, 44, 0x12, 0x34, 0x00, 10, 64, 17, 0, 0, 10, 9, 0, 2, 198, 51, 100, 1,
			0x88, 4, 1, 2},
	};
	static const unsigned starts[] = {0, 40, 80, 100};
	struct nat_view v;

	(void)state;
	build_v4(pkt, NAT_PROTO_UDP, 2, 100);
	memcpy(pkt, heads[0], 20);
	store_be16(pkt + 2, sizeof(pkt));
	store_be16(pkt + 6, 0);
	memcpy(pkt + 20, options, 8);
	seal_v4_header(pkt);
	assert_int_equal(nat_parse(pkt, sizeof(pkt), &v), NAT_OK);
	for (unsigned k = 0; k < 3; k++) {
		uint8_t want[68];
		unsigned header_len = (heads[k][0] & 0xf) * 4u, n = starts[k + 1] - starts[k];

		memcpy(want, heads[k], header_len);
		memcpy(want + header_len, pkt + 28 + starts[k], n);
		seal_v4_header(want);
		assert_int_equal(nat_fragment_cut(pkt, &v, 68, k, piece), header_len + n);
		assert_memory_equal(piece, want, header_len + n);
	}
	assert_int_equal(nat_fragment_cut(pkt, &v, 68, 3, piece), 0);
	assert_int_equal(nat_fragment_cut(pkt, &v, 68, UINT32_MAX, piece), 0);
}

static void what_is_not_cut(void **state)
{
	uint8_t pkt[PACKET_MAX], piece[PACKET_MAX];
	struct nat_view v;
	unsigned len;

	(void)state;
	len = build_v4(pkt, NAT_PROTO_UDP, 0, 1480);
	assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
	assert_int_equal(nat_fragment_cut(pkt, &v, 1400, 0, piece), 0); /* DF */
	store_be16(pkt + 6, 0);
	seal_v4_header(pkt);
	assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
	assert_int_equal(nat_fragment_cut(pkt, &v, 67, 0, piece), 0);
	/* what fits is its own piece */
	assert_int_equal(nat_fragment_cut(pkt, &v, 1500, 0, piece), 1500);
	assert_memory_equal(piece, pkt, 1500);
	assert_int_equal(nat_fragment_cut(pkt, &v, 1500, 1, piece), 0);

	len = build_v6(pkt, NAT_PROTO_UDP, NULL, 0, NAT_PROTO_UDP, 1480);
	assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
	assert_int_equal(nat_fragment_cut(pkt, &v, 1400, 0, piece), 0);
}

static void options_that_cannot_be_read(void **state)
{
	static const uint8_t bad[][4] = {
		{0x88, 0, 0, 0}, {0x88, 1, 0, 0}, {0x88, 5, 0, 0}, {1, 1, 1, 0x88}, {7, 255, 0, 0}};
	uint8_t pkt[PACKET_MAX], piece[PACKET_MAX];
	struct nat_view v;
	unsigned len;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		len = build_v4(pkt, NAT_PROTO_UDP, 1, 1480);
		store_be16(pkt + 6, 0);
		memcpy(pkt + 20, bad[i], 4);
		seal_v4_header(pkt);
		assert_int_equal(nat_parse(pkt, len, &v), NAT_OK);
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(nat_fragment_cut(pkt, &v, 1400, k, piece), 0);
	}
}

/* Rewritten piece by piece, a packet is what it is when rewritten whole. */
static void rewritten_pieces_make_the_rewritten_packet(void **state)
{
	static struct whole w;
	uint8_t pkt[PACKET_MAX], piece[PACKET_MAX], addr[4];
	static const uint8_t protos[] = {NAT_PROTO_TCP, NAT_PROTO_UDP, NAT_PROTO_ICMP};
	struct nat_view v, whole_view;
	struct nat_fragment f;
	size_t n;

	(void)state;
	for (uint64_t rounds = random_rounds(3000); rounds > 0; rounds--) {
		uint8_t proto = protos[random_below(3)];
		unsigned l4_len = 700 + random_below(1400);
		unsigned len = build_v4(pkt, proto, 0, l4_len);
		uint16_t port = (uint16_t)random_u64();

		random_bytes(addr, 4);
		store_be16(pkt + 6, 0);
		seal_v4_header(pkt);
		memset(&w, 0, sizeof(w));
		assert_int_equal(nat_parse(pkt, len, &whole_view), NAT_OK);
		for (unsigned k = 0; (n = nat_fragment_cut(pkt, &whole_view, 400, k, piece)) > 0;
			k++) {
			assert_int_equal(
				parse_fragment(piece, n, &v, &f), k == 0 ? NAT_OK : NAT_FRAGMENT);
			nat_rewrite_src(piece, &v, addr, port);
			assert_memory_equal(piece + 12, addr, 4);
			put_piece(&w, piece, n, 400);
		}
		nat_rewrite_src(pkt, &whole_view, addr, port);
		assert_memory_equal(w.payload, pkt + 20, l4_len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_fragment_has_ports),
		cmocka_unit_test(later_fragment_has_none),
		cmocka_unit_test(tiny_fragments),
		cmocka_unit_test(fragments_of_ipv6),
		cmocka_unit_test(pieces_make_the_packet),
		cmocka_unit_test(every_byte_of_three_pieces),
		cmocka_unit_test(what_is_not_cut),
		cmocka_unit_test(options_that_cannot_be_read),
		cmocka_unit_test(rewritten_pieces_make_the_rewritten_packet),
	};

	random_seed();
	return cmocka_run_group_tests_name("nat_fragment", tests, NULL, NULL);
}
