/* entry.h - what neigh knows about one address, and when it asks again. Private to lib/neigh.
 *
 * Threads: control, but for the two fields that say otherwise.
 */
#ifndef PORTIER_NEIGH_ENTRY_H
#define PORTIER_NEIGH_ENTRY_H

#include "table/table.h"
#include "neigh/neigh.h"
#include "neigh/onlink.h"

#include <string.h>
#include <sys/queue.h>

enum entry_state {
	ENTRY_FREE = 0,	 /* on the free list, or on its way there */
	ENTRY_ASKING,	 /* word 0; packets may wait */
	ENTRY_REACHABLE, /* word set */
	ENTRY_PROBING,	 /* word set and in use, while we ask whether it still holds */
};

struct link;

struct entry {
	/* W: control, R: workers. 0: not resolved; else six bytes of Ethernet address, 0, 1. */
	uint64_t word;
	bool is_used; /* W: workers set it when it is not, control clears it */

	/* W, R: control. */
	enum entry_state state;
	bool is_gateway; /* never freed, asked for ever */
	bool is_doubted; /* probing because somebody claims the address: ask everyone */
	bool is_leaving; /* leaving waits for its grace period */
	uint8_t n_asked, n_held;
	struct ip_addr addr;
	struct link *link;
	uint64_t deadline_ns;
	TAILQ_ENTRY(entry) timer;
	struct entry *next_free;
	struct rte_mbuf *held[NEIGH_HOLD_MAX]; /* oldest first */
	struct grace_work leaving;
};

TAILQ_HEAD(timers, entry);

struct link {
	struct onlink onlink;
	struct table *table; /* struct ip_addr to struct entry */
	struct entry *gateway4, *gateway6;
	struct rte_ether_addr mac;
	uint16_t port_idx;

	/* W, R: control. */
	struct neigh *neigh;
	struct entry *entries, *free;
	uint32_t n_entries, n_free;
	uint64_t asks_since_ns; /* start of the second that n_asks counts */
	uint32_t n_asks;
};

struct neigh {
	struct link *links;
	unsigned n_links;
	struct rte_mempool *mempool;
	struct grace *grace;
	neigh_send_fn send;
	void *send_arg;
	/* All entries of one list have the same term, so each is in order of deadline. */
	struct timers ask_timers, age_timers;
	unsigned n_held;
	struct neigh_counters counters;
};

static inline uint64_t pack_word(const struct rte_ether_addr *mac)
{
	uint8_t bytes[8] = {[7] = 1};
	uint64_t word;

	memcpy(bytes, mac, sizeof(*mac));
	memcpy(&word, bytes, sizeof(word));
	return word;
}

static inline bool unpack_word(uint64_t word, struct rte_ether_addr *out)
{
	if (word == 0)
		return false;
	memcpy(out, &word, sizeof(*out));
	return true;
}

/* The one place where a state changes, since it says which list the entry is on. */
void entry_enter_state(struct entry *e, enum entry_state state, uint64_t now_ns);

/* A free entry, in the table but on no list: give it a state. NULL: none left. */
struct entry *entry_add(struct link *link, const struct ip_addr *addr);
/* Put e on the free list of its link; at once, so only when no worker knows it. */
void entry_free(void *e);

/* addr of e is at mac: tell workers, send what waited. */
void entry_learn(struct entry *e, const struct rte_ether_addr *mac, uint64_t now_ns);

/* Frames towards the address of e. hold: until it is learnt. send_to and drop: now. */
void entry_hold(struct entry *e, struct rte_mbuf *frame);
void entry_send_to(struct link *link, struct rte_mbuf *frame, const struct rte_ether_addr *mac);
void entry_drop(struct neigh *n, struct rte_mbuf *frame);

/* A frame of our own. False: no mbuf. */
bool entry_send_bytes(struct link *link, const uint8_t *bytes, size_t len);

/* The budget of this second is used up. Gateways are not part of it: they ask once a second. */
bool entry_is_over_budget(const struct link *link, uint64_t now_ns);
/* One question; nothing is sent when over budget. */
void entry_ask(struct entry *e, uint64_t now_ns);
/* Ask whether what we know still holds; is_doubted: ask everyone, not only whom we know. */
void entry_start_probe(struct entry *e, bool is_doubted, uint64_t now_ns);
/* Its deadline has come. e may be gone on return. */
void entry_ask_again(struct entry *e, uint64_t now_ns);
void entry_age(struct entry *e, uint64_t now_ns);

#endif
