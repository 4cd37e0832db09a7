/* impl.h - what peers are made of, shared by the files of this library only. */
#ifndef PORTIER_PEER_IMPL_H
#define PORTIER_PEER_IMPL_H

#include "peer/peer.h"

enum slot_state {
	SLOT_FREE = 0,
	SLOT_LIVE,
	SLOT_DYING, /* deleted; other threads may still know the number */
};

/* Control's own part of a peer. */
struct slot {
	enum slot_state state;
	uint32_t next; /* in the free list */
	struct peers *peers;
	struct peer_conf conf;
	struct grace_work retire;  /* of the number, when it was deleted */
	struct peer_msg del;	   /* so that deleting needs no memory */
	struct peer_view *retired; /* the view that goes with it */
};

/* A view with what its retirement needs; readers see the first member. */
struct view {
	struct peer_view seen;
	struct grace_work retire;
};

struct peers {
	uint32_t max_peers;
	uint32_t n_live;
	uint32_t n_fresh; /* numbers from here on were never used */
	uint32_t free_head;
	struct grace *grace;
	struct mbox *to_handshake, *from_handshake;
	struct peer_msg *unsent; /* DEL messages that found to_handshake full */

	/* Values are peer_idx + 1, as integers. */
	struct table *by_key;	/* public key */
	struct table *by_inner; /* struct ip_addr */
	struct table *by_name;	/* char[PEER_NAME_CHARS], zero-padded; control only */

	/* Which IPv4 /16 ever held an inner address: almost no destination on the Internet lies in
	 * one, and a bit is cheaper than a look-up. W: control, R: all. */
	_Atomic uint64_t inner_nets[1 << 10];

	struct slot *slots;
	_Atomic(struct peer_view *) *views;
	_Atomic uint8_t *homes; /* worker + 1; so that untouched memory means none */
	struct peer_hot *hot;
	struct peer_shake *shake;
};

static inline void *idx_to_value(uint32_t peer_idx)
{
	return (void *)((uintptr_t)peer_idx + 1);
}

/* NULL becomes PEER_NONE. */
static inline uint32_t value_to_idx(const void *value)
{
	return (uint32_t)((uintptr_t)value - 1);
}

static inline struct slot *live_slot(const struct peers *p, uint32_t i)
{
	return i < p->n_fresh && p->slots[i].state == SLOT_LIVE ? &p->slots[i] : NULL;
}

#endif
