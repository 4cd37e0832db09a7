#include "neigh/entry.h"
#include "base/time.h"
#include "neigh/frame.h"

#define ASK_INTERVAL_NS NS_IN_S
#define ASKS_MAX	3
#define REACHABLE_NS	(30 * NS_IN_S)

/* Timers */

static void stop_timer(struct entry *e)
{
	struct neigh *n = e->link->neigh;

	if (e->state == ENTRY_ASKING || e->state == ENTRY_PROBING)
		TAILQ_REMOVE(&n->ask_timers, e, timer);
	else if (e->state == ENTRY_REACHABLE)
		TAILQ_REMOVE(&n->age_timers, e, timer);
}

void entry_enter_state(struct entry *e, enum entry_state state, uint64_t now_ns)
{
	struct neigh *n = e->link->neigh;

	stop_timer(e);
	e->state = state;
	if (state == ENTRY_REACHABLE) {
		e->deadline_ns = now_ns + REACHABLE_NS;
		TAILQ_INSERT_TAIL(&n->age_timers, e, timer);
	} else if (state != ENTRY_FREE) {
		e->deadline_ns = now_ns + ASK_INTERVAL_NS;
		TAILQ_INSERT_TAIL(&n->ask_timers, e, timer);
	}
}

/* Held packets */

void entry_drop(struct neigh *n, struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
	n->counters.held_dropped++;
}

void entry_send_to(struct link *link, struct rte_mbuf *frame, const struct rte_ether_addr *mac)
{
	struct neigh *n = link->neigh;

	memcpy(rte_pktmbuf_mtod(frame, struct rte_ether_hdr *)->dst_addr.addr_bytes, mac,
		sizeof(*mac));
	n->send(n->send_arg, link->port_idx, frame);
}

void entry_hold(struct entry *e, struct rte_mbuf *frame)
{
	struct neigh *n = e->link->neigh;

	if (e->n_held == NEIGH_HOLD_MAX) {
		entry_drop(n, e->held[0]);
		n->n_held--;
		e->n_held--;
		memmove(&e->held[0], &e->held[1], e->n_held * sizeof(e->held[0]));
	}
	if (n->n_held == NEIGH_HELD_MAX) {
		entry_drop(n, frame);
		return;
	}
	e->held[e->n_held++] = frame;
	n->n_held++;
	n->counters.held++;
}

/* To mac, or to the bin when it is NULL. */
static void release_held(struct entry *e, const struct rte_ether_addr *mac)
{
	struct neigh *n = e->link->neigh;

	for (unsigned i = 0; i < e->n_held; i++) {
		if (mac != NULL)
			entry_send_to(e->link, e->held[i], mac);
		else
			entry_drop(n, e->held[i]);
	}
	n->n_held -= e->n_held;
	e->n_held = 0;
}

/* Entries */

struct entry *entry_add(struct link *link, const struct ip_addr *addr)
{
	struct entry *e = link->free;

	if (e == NULL)
		return NULL;
	/* Before the table shows it to workers. */
	__atomic_store_n(&e->word, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&e->is_used, false, __ATOMIC_RELAXED);
	if (table_add(link->table, addr, e) != 0)
		return NULL;
	link->free = e->next_free;
	link->n_free--;
	e->addr = *addr;
	e->is_doubted = false;
	e->n_asked = 0;
	return e;
}

void entry_free(void *arg)
{
	struct entry *e = arg;

	e->is_leaving = false;
	e->next_free = e->link->free;
	e->link->free = e;
	e->link->n_free++;
}

/* Workers may still look at it: the entry serves another address only after a grace period. */
static void del_entry(struct entry *e)
{
	release_held(e, NULL);
	__atomic_store_n(&e->word, 0, __ATOMIC_RELAXED);
	table_del(e->link->table, &e->addr);
	entry_enter_state(e, ENTRY_FREE, 0);
	e->is_leaving = true;
	grace_defer_work(e->link->neigh->grace, &e->leaving, entry_free, e);
}

void entry_learn(struct entry *e, const struct rte_ether_addr *mac, uint64_t now_ns)
{
	uint64_t word = pack_word(mac);

	if (word != e->word)
		e->link->neigh->counters.learnt++;
	/* Relaxed: the word says all there is to know. */
	__atomic_store_n(&e->word, word, __ATOMIC_RELAXED);
	entry_enter_state(e, ENTRY_REACHABLE, now_ns);
	release_held(e, mac);
}

/* Questions and answers */

bool entry_send_bytes(struct link *link, const uint8_t *bytes, size_t len)
{
	struct neigh *n = link->neigh;
	struct rte_mbuf *frame = rte_pktmbuf_alloc(n->mempool);
	char *room;

	if (frame == NULL)
		return false;
	room = rte_pktmbuf_append(frame, (uint16_t)len);
	if (room == NULL) {
		rte_pktmbuf_free(frame);
		return false;
	}
	memcpy(room, bytes, len);
	n->send(n->send_arg, link->port_idx, frame);
	return true;
}

bool entry_is_over_budget(const struct link *link, uint64_t now_ns)
{
	return link->n_asks >= NEIGH_ASKS_PER_S && now_ns - link->asks_since_ns < NS_IN_S;
}

static bool take_from_budget(struct link *link, uint64_t now_ns)
{
	if (entry_is_over_budget(link, now_ns))
		return false;
	if (now_ns - link->asks_since_ns >= NS_IN_S) {
		link->asks_since_ns = now_ns;
		link->n_asks = 0;
	}
	link->n_asks++;
	return true;
}

/* A probe goes to the one we know; the last one, and any other question, to everyone. */
void entry_ask(struct entry *e, uint64_t now_ns)
{
	const struct ip_addr *source = onlink_source(&e->link->onlink, &e->addr);
	struct rte_ether_addr known;
	bool is_known = unpack_word(e->word, &known);
	uint8_t bytes[FRAME_BYTES_MAX];
	size_t len;

	e->n_asked++;
	if (source == NULL || (!e->is_gateway && !take_from_budget(e->link, now_ns)))
		return;
	len = frame_build_ask(bytes, &e->link->mac, source, &e->addr,
		is_known && !e->is_doubted && e->n_asked < ASKS_MAX ? &known : NULL);
	e->link->neigh->counters.requests_sent += entry_send_bytes(e->link, bytes, len);
}

void entry_start_probe(struct entry *e, bool is_doubted, uint64_t now_ns)
{
	e->is_doubted = is_doubted;
	e->n_asked = 0;
	entry_enter_state(e, ENTRY_PROBING, now_ns);
	entry_ask(e, now_ns);
}

void entry_ask_again(struct entry *e, uint64_t now_ns)
{
	if (e->n_asked >= ASKS_MAX) {
		if (!e->is_gateway) {
			del_entry(e);
			return;
		}
		release_held(e, NULL);
		__atomic_store_n(&e->word, 0, __ATOMIC_RELAXED);
		e->n_asked = 0;
		entry_enter_state(e, ENTRY_ASKING, now_ns);
	} else {
		entry_enter_state(e, e->state, now_ns);
	}
	entry_ask(e, now_ns);
}

void entry_age(struct entry *e, uint64_t now_ns)
{
	if (e->is_gateway || __atomic_exchange_n(&e->is_used, false, __ATOMIC_RELAXED))
		entry_start_probe(e, false, now_ns);
	else
		del_entry(e);
}
