/* nat_icmp_fuzz.c - one packet of foreign bytes as an ICMP error to translate, and as one to
 * report.
 *
 * So that mutations get past the checksums of both headers and of ICMP, wrong ones are set right.
 */
#include "nat/icmp.h"

#include "nat_sums.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_places(const struct nat_view *v, const struct nat_icmp_error *e)
{
	check(e->inner_at == v->l4_offset + 8);
	check(e->inner_l4_at > e->inner_at && e->inner_l4_at <= e->inner_end);
	check(e->inner_end <= v->total_len);
	check(!e->has_ports || e->inner_end - e->inner_l4_at >= 8);
	check(e->has_ports || (e->inner_src_port == 0 && e->inner_dst_port == 0));
}

static void translate_and_check(uint8_t *pkt, size_t size)
{
	const uint8_t addr[4] = {198, 51, 100, 7};
	struct nat_icmp_error e, after;
	struct nat_view v;

	if (nat_parse(pkt, size, &v) != NAT_OTHER_PROTO)
		return;
	if (nat_icmp_error_parse(pkt, &v, &e) == NAT_MALFORMED && v.total_len - v.l4_offset >= 8) {
		set_v4_sum(pkt + v.l4_offset + 8, v.total_len - v.l4_offset - 8u);
		store_be16(pkt + v.l4_offset + 2, nat_l4_checksum(pkt, &v));
	}
	if (nat_icmp_error_parse(pkt, &v, &e) != NAT_OK)
		return;
	check_places(&v, &e);
	nat_icmp_error_rewrite_inner_src(pkt, &v, &e, addr, 50001);
	nat_icmp_error_rewrite_inner_dst(pkt, &v, &e, addr, 50002);
	nat_icmp_error_set_mtu(pkt, &v, &e, 1400);
	check(nat_icmp_error_parse(pkt, &v, &after) == NAT_OK);
	check_places(&v, &after);
	check(after.mtu == (e.mtu == 0 ? after.mtu : 1400));
	check(after.has_ports == e.has_ports && after.inner_end == e.inner_end);
	if (v.version == 4) {
		check(memcmp(ip_v4_bytes(&after.inner_src), addr, 4) == 0);
		check(memcmp(ip_v4_bytes(&after.inner_dst), addr, 4) == 0);
		check(!e.has_ports || after.inner_dst_port == 50002);
	}
}

static void report_and_check(const uint8_t *pkt, size_t size, enum nat_icmp_kind kind)
{
	static const uint8_t v4[4] = {192, 0, 2, 1}, v6[16] = {0x20, 1, [15] = 1};
	bool is_v4 = size > 0 && pkt[0] >> 4 == 4;
	struct nat_icmp_make make = {
		.kind = kind, .mtu = 1280, .src = is_v4 ? ip_from_v4(v4) : ip_from_v6(v6)};
	uint8_t *out = malloc(NAT_ICMP_ERROR_MAX_BYTES), again[NAT_ICMP_ERROR_MAX_BYTES];
	struct nat_icmp_error e;
	struct nat_view v;
	size_t n;

	check(out != NULL);
	n = nat_icmp_error_build(out, NAT_ICMP_ERROR_MAX_BYTES, pkt, size, &make);
	if (n > 0) {
		check(n <= (is_v4 ? 576 : 1280) && kind != NAT_ICMP_NONE);
		check(nat_parse(out, n, &v) == NAT_OTHER_PROTO && v.total_len == n);
		check(nat_icmp_sum_ok(out, &v));
		check(memcmp(out + v.l4_offset + 8, pkt, n - v.l4_offset - 8) == 0);
		/* An IPv6 chain longer than the error may be cut: no header, no ports. */
		check(nat_icmp_error_parse(out, &v, &e) == NAT_OK || !is_v4);
		/* no error about an error */
		check(nat_icmp_error_build(again, sizeof(again), out, n, &make) == 0);
	}
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
	for (enum nat_icmp_kind kind = NAT_ICMP_NONE; kind <= NAT_ICMP_PORT_UNREACHABLE; kind++)
		report_and_check(pkt, size, kind);
	translate_and_check(pkt, size);
	free(pkt);
	return 0;
}
