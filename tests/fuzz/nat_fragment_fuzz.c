/* nat_fragment_fuzz.c - one packet of foreign bytes as a fragment, and cut into pieces. */
#include "nat/fragment.h"

#include "nat_sums.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_fragment(const uint8_t *pkt, size_t size)
{
	const uint8_t addr[4] = {198, 51, 100, 7};
	struct nat_view v, before;
	struct nat_fragment f;
	enum nat_verdict verdict;
	uint8_t *copy;

	if (nat_parse(pkt, size, &before) != NAT_FRAGMENT)
		return;
	v = before;
	verdict = nat_fragment_parse(pkt, &v, &f);
	if (verdict == NAT_MALFORMED || verdict == NAT_TINY_FRAGMENT) {
		check(!v.has_l4 && v.l4_offset == before.l4_offset && v.proto == before.proto);
		return;
	}
	check(f.len_bytes > 0 && f.len_bytes <= v.total_len && !(f.is_first && f.is_last));
	check(f.offset_bytes + f.len_bytes <= UINT16_MAX);
	check(f.is_last || f.len_bytes % 8 == 0);
	check(f.is_first == (verdict != NAT_FRAGMENT) && v.has_l4 == (verdict == NAT_OK));
	check(!v.has_l4 || v.l4_offset + 8u <= v.total_len);
	copy = malloc(size);
	check(copy != NULL);
	memcpy(copy, pkt, size);
	nat_mss_clamp(copy, &v, 1000);
	if (v.version == 4) {
		nat_rewrite_dst(copy, &v, addr, 50001);
		check(nat_parse(copy, size, &v) == NAT_FRAGMENT);
	}
	free(copy);
}

/* Pieces follow each other without a gap, and end where the packet ends. */
static void check_cut(const uint8_t *pkt, size_t size, uint16_t max_bytes)
{
	uint8_t *out = malloc(max_bytes ? max_bytes : 1);
	unsigned header_len, next = 0, k = 0;
	struct nat_view v, piece;
	size_t n;

	check(out != NULL);
	if (nat_parse(pkt, size, &v) == NAT_MALFORMED) {
		free(out);
		return;
	}
	for (; (n = nat_fragment_cut(pkt, &v, max_bytes, k, out)) > 0; k++) {
		check(n <= max_bytes && nat_parse(out, n, &piece) != NAT_MALFORMED);
		header_len = piece.l4_offset;
		check(memcmp(out + header_len, pkt + v.l4_offset + next, n - header_len) == 0);
		check((load_be16(out + 6) & 0x1fff) * 8u ==
			(load_be16(pkt + 6) & 0x1fff) * 8u + next);
		next += (unsigned)n - header_len;
	}
	check(k == 0 || v.l4_offset + next == v.total_len);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *pkt = malloc(size ? size : 1);

	if (!pkt)
		return 0;
	if (size > 0)
		memcpy(pkt, data, size);
	set_v4_sum(pkt, size);
	check_fragment(pkt, size);
	check_cut(pkt, size, 68);
	check_cut(pkt, size, 576);
	/* A size of the input's choosing, too. */
	if (size >= 2)
		check_cut(pkt, size, load_be16(data + size - 2));
	free(pkt);
	return 0;
}
