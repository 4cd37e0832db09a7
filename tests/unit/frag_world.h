/* frag_world.h - fragments for tests of frag.h, said in numbers. */
#ifndef PORTIER_TEST_FRAG_WORLD_H
#define PORTIER_TEST_FRAG_WORLD_H

#include "frag/frag.h"

#include <string.h>

#define MS 1000000ull

/* One fragment: of which datagram, and which bytes. */
struct piece {
	uint8_t version; /* 0: 4 */
	uint8_t proto;	 /* 0: UDP */
	uint32_t owner;
	uint32_t to;	   /* target + 1; 0: none */
	uint32_t src, dst; /* the last 4 bytes of the addresses */
	uint32_t id;
	uint16_t start, len;
	bool is_last;
	uint16_t new_id;
	uintptr_t pkt; /* a number, as what is held */
};

static const struct frag_conf usual_conf = {
	.n_datagrams = 64,
	.owner_datagrams = 64,
	.target_datagrams = 64,
	.held_pkts = 64,
	.owner_held_pkts = 64,
	.datagram_held_pkts = FRAG_HELD_MAX,
	.timeout_ns = 2000 * MS,
	.hash_key = {1, 2, 3},
};

/* Ports of a first fragment: 1000 + id, and 53. */
static inline enum frag_verdict give(
	struct frag_table *t, struct piece p, uint64_t now_ns, struct frag_out *out)
{
	uint8_t version = p.version ? p.version : 4, ip[40] = {0};
	bool is_first = p.start == 0;
	struct nat_fragment fragment = {
		.id = p.id,
		.offset_bytes = p.start,
		.len_bytes = p.len,
		.is_first = is_first,
		.is_last = p.is_last,
	};
	struct nat_view view = {
		.version = version,
		.proto = p.proto ? p.proto : NAT_PROTO_UDP,
		.has_l4 = is_first,
		.src_port = is_first ? (uint16_t)(1000 + p.id) : 0,
		.dst_port = is_first ? 53 : 0,
	};
	struct frag_in in = {
		.ip = ip,
		.view = &view,
		.fragment = &fragment,
		.pkt = (void *)p.pkt,
		.owner = p.owner,
		.target = p.to ? p.to - 1 : FRAG_TARGET_NONE,
		.new_id = p.new_id,
	};

	store_be32(ip + (version == 4 ? 12 : 20), p.src);
	store_be32(ip + (version == 4 ? 16 : 36), p.dst);
	return frag_input(t, &in, now_ns, out);
}

#endif
