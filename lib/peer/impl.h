/* impl.h - what peers are made of, shared by the files of this library only. */
#ifndef PORTIER_PEER_IMPL_H
#define PORTIER_PEER_IMPL_H

#include "peer/peer.h"

#include <assert.h>

#define ROUTE_LENS (128 - PEER_ROUTE_BITS_MIN + 1)

/* All bytes count: no padding. */
struct route_key {
	struct ip_addr addr;
	uint8_t len_bits;
	uint8_t zero[7];
};
static_assert(sizeof(struct route_key) == 24, "key has no padding");

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
	uint64_t heartbeat_ns;	   /* 0: none */
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
	uint32_t n_heartbeats;
	uint32_t n_fresh; /* numbers from here on were never used */
	uint32_t free_head;
	struct grace *grace;
	struct mbox *to_handshake, *from_handshake;
	struct peer_msg *unsent; /* DEL messages that found to_handshake full */

	/* Values are peer_idx + 1, as integers. */
	struct table *by_key;	/* public key */
	struct table *by_inner; /* struct ip_addr */
	struct table *by_route; /* struct route_key */
	struct table *by_name;	/* char[PEER_NAME_CHARS], zero-padded; control only */

	/* Which lengths routes have: bit n of the whole is PEER_ROUTE_BITS_MIN + n. A look-up tries
	 * these, and none when there are no routes. W: control, R: all. */
	_Atomic uint64_t route_lens[ROUTE_LENS / 64 + 1];
	uint32_t n_routes[ROUTE_LENS]; /* of each length; control only */

	/* Which IPv4 /16 ever held an inner address: almost no destination on the Internet lies in
	 * one, and a bit is cheaper than a look-up. W: control, R: all. */
	_Atomic uint64_t inner_nets[1 << 10];

	struct slot *slots;
	_Atomic(struct peer_view *) *views;
	_Atomic uint32_t *publics;
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

/* --- claims.c: what only one peer may have, as keys of the tables --- */

struct claim {
	struct table *table;
	const void *key;
	size_t len; /* 0: none */
	const char *what;
	unsigned route_len; /* PEER_ROUTE_BITS_MIN and up; 0: not a route */
};

#define N_CLAIMS (4 + PEER_ROUTES_MAX)

/* Points into the conf that it was made of, and into itself. */
struct claims {
	struct claim list[N_CLAIMS];
	struct route_key routes[PEER_ROUTES_MAX];
};

void claims_of(const struct peers *p, const struct peer_conf *conf, struct claims *out);
/* 0; -EEXIST with *culprit: one of them is in a table. */
int claims_check(const struct claims *c, const char **culprit);
/* Add what is in add and not in had (NULL: there was nothing): all, or none with *culprit. */
int claims_add(struct peers *p, const struct claims *add, const struct claims *had,
	uint32_t peer_idx, const char **culprit);
/* Delete what is in del and not in keep (NULL: nothing is kept). */
void claims_del(struct peers *p, const struct claims *del, const struct claims *keep);

static inline struct slot *live_slot(const struct peers *p, uint32_t i)
{
	return i < p->n_fresh && p->slots[i].state == SLOT_LIVE ? &p->slots[i] : NULL;
}

#endif
