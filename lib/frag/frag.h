/* frag.h - which fragments belong together, and whose ports they have; none are put together.
 *
 * A fragment may go on as soon as the first one of its datagram has been seen, because that one has
 * the ports. Those that come earlier are held until then. What could be read differently at the far
 * end than here, overlapping fragments, is refused with the rest of its datagram.
 *
 * Spec:      RFC 791, section 3.2; RFC 8200, section 4.5 (overlap, duplicates); RFC 4787 REQ-14
 *            (in any order, within bounds); RFC 6864 (identifications).
 * Threads:   one, the owner of the table.
 * Memory:    sized at create; no allocation afterwards.
 * Invariant: of each packet given the verdict says once what becomes of it, and each that is held
 *            is given back once: released, dropped or expired.
 */
#ifndef PORTIER_FRAG_H
#define PORTIER_FRAG_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/crypto.h"
#include "nat/fragment.h"

#define FRAG_HELD_MAX	   8 /* of one datagram */
#define FRAG_DATAGRAMS_MIN 4
#define FRAG_DATAGRAMS_MAX (1u << 20)

/* From the Internet. Quotas then count by a keyed hash of the source address (of IPv6, its /64), of
 * this many values: a host has one share, whatever it does, and all hosts together have no more
 * than the table. */
#define FRAG_OWNER_NONE	   UINT32_MAX
#define FRAG_SOURCE_SHARES 1024

/* Not known for whom it is, or nobody's share. */
#define FRAG_TARGET_NONE UINT32_MAX

struct frag_conf {
	uint32_t n_datagrams;	   /* at a time; FRAG_DATAGRAMS_MIN to FRAG_DATAGRAMS_MAX */
	uint32_t owner_datagrams;  /* of one owner */
	uint32_t target_datagrams; /* to one target */
	uint32_t held_pkts;	   /* in all */
	uint32_t owner_held_pkts;
	uint32_t datagram_held_pkts; /* at most FRAG_HELD_MAX */
	uint64_t timeout_ns;	     /* of a datagram, since its earliest fragment */
	uint8_t hash_key[CRYPTO_SIPHASH_KEY_BYTES];
};

enum frag_verdict {
	FRAG_FULL = 0,	      /* no place for another datagram, or another held packet */
	FRAG_PASS,	      /* its ports are known */
	FRAG_HELD,	      /* the table has it now, until its first fragment comes */
	FRAG_DUPLICATE,	      /* of one that came a moment ago; only this copy is dropped */
	FRAG_OVERLAP,	      /* or it contradicts where the datagram ends */
	FRAG_TOO_MANY_PIECES, /* more waiting, or more gaps, than are kept for one datagram */
	FRAG_QUOTA,	      /* its owner or its target has its share already */
};

struct frag_in {
	const uint8_t *ip; /* the packet, from its IP header; addresses not yet translated */
	const struct nat_view *view; /* as nat_fragment_parse completed it */
	const struct nat_fragment *fragment;
	void *pkt;	/* what is held */
	uint32_t owner; /* below 2^31 (a peer), or FRAG_OWNER_NONE */
	/* Who gets it, below 2^31 (a peer), or FRAG_TARGET_NONE. Sources are easily forged: without
	 * this bound one open port would be a way to fill the table for everybody. Never with an
	 * owner. */
	uint32_t target;
	uint16_t new_id; /* IPv4 identification to give to this datagram, if it has none yet */
};

struct frag_out {
	/* On PASS, of the first fragment; without has_l4 ports are 0. */
	uint8_t proto, icmp_type;
	bool has_l4;
	uint16_t src_port, dst_port;
	uint16_t new_id; /* the same for all of a datagram */
	/* Held packets of the datagram whose first fragment this is, in the order in which they
	 * came: they pass behind it. */
	unsigned n_released;
	void *released[FRAG_HELD_MAX];
	/* Held packets to drop. On PASS and HELD they made room: reason FULL. Otherwise they are of
	 * the same datagram, and the reason is the verdict. */
	unsigned n_dropped;
	void *dropped[FRAG_HELD_MAX];
};

struct frag_table;

/* NULL when memory is out or a number of conf is 0 or out of its range. About 300 bytes a datagram.
 */
struct frag_table *frag_table_create(const struct frag_conf *conf);
/* NULL is fine. Held packets are the caller's to take first: frag_expire at UINT64_MAX. */
void frag_table_destroy(struct frag_table *t);

/* A fragment has come. out is filled whatever the verdict. Let a first fragment in only when its
 * ports were found to be let through: then nothing else can fill the table with datagrams whose
 * first fragment was seen.
 *
 * Datagrams are told apart by owner, addresses, identification and, of IPv4, protocol. Those
 * without their first fragment, and lost ones, may have a quarter of the table, where the oldest
 * makes room for the next. In a full table the oldest of all does: who finds it full of datagrams
 * that never end waits for none of them. After any verdict but PASS, HELD and DUPLICATE, the
 * datagram is lost, and if the table knew it, its other fragments get the same verdict until its
 * time is over or it made room.
 *
 * Cost: O(1), a few keyed hashes. */
enum frag_verdict frag_input(
	struct frag_table *t, const struct frag_in *in, uint64_t now_ns, struct frag_out *out);

/* Forget datagrams whose time is over, oldest first, and give their held packets back to be
 * dropped. Returns how many, at most max, which is at least FRAG_HELD_MAX; looks at no more than
 * max datagrams: the rest is for the next call. */
unsigned frag_expire(struct frag_table *t, uint64_t now_ns, void **pkts, unsigned max);

uint32_t frag_n_datagrams(const struct frag_table *t);
uint32_t frag_n_held(const struct frag_table *t);

#endif
