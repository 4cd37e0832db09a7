/* frag_fuzz.c - a sequence of packets of foreign bytes into one table of fragments.
 *
 * Input: records of a length (one byte), a step of time (one byte) and that many bytes of packet.
 * Checked: each packet held is given back exactly once, and no bound is passed.
 */
#include "frag/frag.h"

#include <stdlib.h>
#include <string.h>

#include "nat_sums.h"

#define PKTS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct frag_conf conf = {
	.n_datagrams = 8,
	.owner_datagrams = 3,
	.target_datagrams = 2,
	.held_pkts = 6,
	.owner_held_pkts = 4,
	.datagram_held_pkts = 3,
	.timeout_ns = 1000,
};

static bool is_held[PKTS_MAX];
static unsigned n_held;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void take_back(void *const *pkts, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		bool *held = pkts[i];

		check(*held);
		*held = false;
		n_held--;
	}
}

static void give(struct frag_table *t, uint8_t *ip, size_t len, bool *held, uint64_t now_ns)
{
	enum nat_verdict verdict;
	struct nat_fragment f;
	struct frag_out out;
	struct nat_view v;

	set_v4_sum(ip, len);
	if (nat_parse(ip, len, &v) != NAT_FRAGMENT)
		return;
	verdict = nat_fragment_parse(ip, &v, &f);
	if (verdict == NAT_MALFORMED || verdict == NAT_TINY_FRAGMENT)
		return;
	struct frag_in in = {
		.ip = ip,
		.view = &v,
		.fragment = &f,
		.pkt = held,
		.owner = ip[1] & 1 ? FRAG_OWNER_NONE : ip[1] >> 6,
		.target = (ip[1] & 3) == 3 ? ip[1] >> 6 : FRAG_TARGET_NONE,
		.new_id = ip[4],
	};

	switch (frag_input(t, &in, now_ns, &out)) {
	case FRAG_HELD:
		check(!f.is_first && out.n_released == 0);
		*held = true;
		n_held++;
		break;
	case FRAG_PASS:
		check(!f.is_first || (out.has_l4 == v.has_l4 && out.src_port == v.src_port));
		break;
	default:
		check(out.n_released == 0);
	}
	take_back(out.released, out.n_released);
	take_back(out.dropped, out.n_dropped);
	check(n_held == frag_n_held(t) && n_held <= conf.held_pkts);
	check(frag_n_datagrams(t) <= conf.n_datagrams);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frag_table *t = frag_table_create(&conf);
	void *pkts[FRAG_HELD_MAX];
	uint64_t now_ns = 0;
	size_t at = 0, len;

	check(t != NULL);
	n_held = 0;
	memset(is_held, 0, sizeof(is_held));
	for (unsigned n = 0; n < PKTS_MAX && size - at > 2; n++) {
		uint8_t *ip;

		now_ns += data[at + 1];
		len = data[at];
		at += 2;
		if (len > size - at)
			len = size - at;
		ip = malloc(len ? len : 1);
		check(ip != NULL);
		memcpy(ip, data + at, len);
		give(t, ip, len, &is_held[n], now_ns);
		free(ip);
		at += len;
		if (n % 4 == 3)
			take_back(pkts, frag_expire(t, now_ns, pkts, FRAG_HELD_MAX));
	}
	while (frag_n_datagrams(t) > 0)
		take_back(pkts, frag_expire(t, UINT64_MAX, pkts, FRAG_HELD_MAX));
	check(n_held == 0);
	frag_table_destroy(t);
	return 0;
}
