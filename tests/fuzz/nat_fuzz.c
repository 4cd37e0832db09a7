/* nat_fuzz.c - one inner packet of foreign bytes through every function of nat.h. */
#include "nat/nat.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool is_same_sum(uint16_t a, uint16_t b)
{
	return a % 0xffff == b % 0xffff;
}

/* A SYN with a lower MSS is the same packet otherwise, and its sum as right as before. */
static void clamp_and_check(uint8_t *pkt, const struct nat_view *v)
{
	unsigned field_at = v->l4_offset + 16;
	bool was_right;

	if (v->proto != NAT_PROTO_TCP) {
		check(!nat_mss_clamp(pkt, v, 1000));
		return;
	}
	was_right = is_same_sum(load_be16(pkt + field_at), nat_l4_checksum(pkt, v));
	nat_mss_clamp(pkt, v, 1000);
	check(!nat_mss_clamp(pkt, v, 1000));
	check(is_same_sum(load_be16(pkt + field_at), nat_l4_checksum(pkt, v)) == was_right);
}

/* pkt gets the whole treatment of the packet path; its sums must be as right after as before. */
static void rewrite_and_check(uint8_t *pkt, size_t size, const struct nat_view *v)
{
	const uint8_t addr[4] = {198, 51, 100, 7};
	bool is_echo = v->proto == NAT_PROTO_ICMP;
	unsigned field_at = v->l4_offset + (is_echo ? 2 : v->proto == NAT_PROTO_TCP ? 16 : 6);
	uint16_t sum = load_be16(pkt + field_at);
	bool was_right = is_same_sum(sum, nat_l4_checksum(pkt, v));
	struct nat_view after;

	nat_rewrite_dst(pkt, v, addr, 50001);
	nat_rewrite_src(pkt, v, addr, 50002);
	check(nat_hop(pkt, v) == (v->hop_limit > 1));
	check(nat_parse(pkt, size, &after) == NAT_OK);
	/* an echo has one identifier for both */
	check(after.dst_port == (is_echo ? 50002 : 50001) && after.src_port == 50002);
	check(after.hop_limit == (v->hop_limit > 1 ? v->hop_limit - 1 : v->hop_limit));
	if (v->proto == NAT_PROTO_UDP && sum == 0)
		check(load_be16(pkt + field_at) == 0);
	else
		check(is_same_sum(load_be16(pkt + field_at), nat_l4_checksum(pkt, v)) == was_right);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nat_view v = {0};
	enum nat_verdict verdict = nat_parse(data, size, &v);
	uint8_t *pkt = malloc(size ? size : 1);

	if (!pkt)
		return 0;
	if (size > 0)
		memcpy(pkt, data, size);
	if (verdict != NAT_MALFORMED) {
		check(v.version == 4 || v.version == 6);
		check(v.total_len <= size && v.l4_offset <= v.total_len);
		check(v.has_l4 == (verdict == NAT_OK));
		check(v.has_l4 || (v.src_port == 0 && v.dst_port == 0));
		if (verdict != NAT_FRAGMENT)
			nat_icmp_sum_ok(data, &v);
	}
	if (verdict == NAT_OK) {
		check(v.l4_offset + 8u <= v.total_len);
		clamp_and_check(pkt, &v);
		if (v.version == 4)
			rewrite_and_check(pkt, size, &v);
	}

	if (size > 0)
		memcpy(pkt, data, size);
	if (nat_echo_reply(pkt, size)) {
		check(nat_parse(pkt, size, &v) == NAT_OK && v.hop_limit == 64);
		check(is_same_sum(load_be16(pkt + v.l4_offset + 2), nat_l4_checksum(pkt, &v)));
	} else {
		check(size == 0 || memcmp(pkt, data, size) == 0);
	}
	free(pkt);
	return 0;
}
