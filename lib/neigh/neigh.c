#include "neigh/neigh.h"
#include "base/time.h"
#include "table/table.h"
#include "neigh/entry.h"
#include "neigh/frame.h"
#include "neigh/onlink.h"

#include <rte_malloc.h>

#include <stdio.h>

static struct link *link_of_port(const struct neigh *n, uint16_t port_idx)
{
	for (unsigned i = 0; i < n->n_links; i++)
		if (n->links[i].port_idx == port_idx)
			return &n->links[i];
	return NULL;
}

void neigh_tick(struct neigh *n, uint64_t now_ns)
{
	struct entry *e;

	while ((e = TAILQ_FIRST(&n->ask_timers)) != NULL && e->deadline_ns <= now_ns)
		entry_ask_again(e, now_ns);
	while ((e = TAILQ_FIRST(&n->age_timers)) != NULL && e->deadline_ns <= now_ns)
		entry_age(e, now_ns);
}

uint64_t neigh_next_deadline_ns(const struct neigh *n)
{
	const struct entry *asking = TAILQ_FIRST(&n->ask_timers);
	const struct entry *aging = TAILQ_FIRST(&n->age_timers);
	uint64_t deadline_ns = asking != NULL ? asking->deadline_ns : TIME_NEVER;

	return aging != NULL && aging->deadline_ns < deadline_ns ? aging->deadline_ns : deadline_ns;
}

/* Input */

/* What a request says about its sender: true when that is worth something. */
static bool learn_from_ask(struct link *link, const struct frame_msg *msg, uint64_t now_ns)
{
	struct entry *e = table_lookup(link->table, &msg->peer);

	if (e == NULL) {
		if (link->n_free <= link->n_entries / 4)
			return false;
		e = entry_add(link, &msg->peer);
		if (e == NULL)
			return false;
	}
	if (e->word == 0)
		entry_learn(e, &msg->mac, now_ns);
	else if (e->word != pack_word(&msg->mac) && e->state == ENTRY_REACHABLE)
		entry_start_probe(e, true, now_ns);
	return true;
}

/* True: it was for us and we answered. */
static bool take_ask(struct link *link, const struct frame_msg *msg, uint64_t now_ns)
{
	const struct onlink *o = &link->onlink;
	bool is_probe = ip_is_none(&msg->peer), is_host = onlink_is_host(o, &msg->peer);
	uint8_t bytes[FRAME_BYTES_MAX];
	size_t len;

	if (!onlink_is_ours(o, &msg->target))
		return false;
	/* Nobody else has our address, or a broadcast one. */
	if (!is_probe && !is_host &&
		(ip_is_martian(&msg->peer) || onlink_is_ours(o, &msg->peer) ||
			onlink_is_near(o, &msg->peer)))
		return false;
	len = frame_build_answer(bytes, &link->mac, msg);
	if (entry_send_bytes(link, bytes, len))
		link->neigh->counters.answered++;
	if (is_host && msg->has_mac)
		learn_from_ask(link, msg, now_ns);
	return true;
}

/* True: we had asked, and know it now (RFC 4861, 7.2.5). */
static bool take_answer(struct link *link, const struct frame_msg *msg, uint64_t now_ns)
{
	const struct rte_ether_addr *mac = NULL;
	struct rte_ether_addr known;
	struct entry *e;
	bool is_known;

	if (!msg->is_solicited || !onlink_is_ours(&link->onlink, &msg->peer) ||
		!rte_is_same_ether_addr(&msg->eth_dst, &link->mac))
		return false;
	e = table_lookup(link->table, &msg->target);
	if (e == NULL || (e->state != ENTRY_ASKING && e->state != ENTRY_PROBING))
		return false;
	is_known = unpack_word(e->word, &known);
	if (msg->has_mac)
		mac = &msg->mac;
	else if (is_known)
		mac = &known;
	if (mac == NULL || (is_known && !msg->is_override && !rte_is_same_ether_addr(mac, &known)))
		return false;
	entry_learn(e, mac, now_ns);
	return true;
}

/* To us or to a group, and not our own voice come back. */
static bool is_for_link(const struct link *link, const struct frame_msg *msg)
{
	if (!rte_is_same_ether_addr(&msg->eth_dst, &link->mac) &&
		!rte_is_multicast_ether_addr(&msg->eth_dst))
		return false;
	return !rte_is_same_ether_addr(&msg->eth_src, &link->mac) &&
	       !(msg->has_mac && rte_is_same_ether_addr(&msg->mac, &link->mac));
}

void neigh_input(struct neigh *n, uint16_t port_idx, struct rte_mbuf *frame, uint64_t now_ns)
{
	struct link *link = link_of_port(n, port_idx);
	struct frame_msg msg;
	enum frame_kind kind = frame_parse(
		rte_pktmbuf_mtod(frame, const uint8_t *), rte_pktmbuf_data_len(frame), &msg);
	bool is_taken = false;

	rte_pktmbuf_free(frame);
	if (link != NULL && kind != FRAME_IGNORED && is_for_link(link, &msg))
		is_taken = kind == FRAME_ASK ? take_ask(link, &msg, now_ns)
					     : take_answer(link, &msg, now_ns);
	n->counters.input_dropped += !is_taken;
}

/* Resolution */

/* The entry of the next hop. NULL and not unreachable: an on-link host that has none yet. */
static struct entry *find_next_hop(
	const struct link *link, const struct ip_addr *dst, bool *is_unreachable)
{
	struct entry *e;

	*is_unreachable = false;
	if (onlink_is_near(&link->onlink, dst)) {
		e = table_lookup(link->table, dst);
		*is_unreachable = e == NULL && !onlink_is_host(&link->onlink, dst);
		return e;
	}
	e = ip_is_v4(dst) ? link->gateway4 : link->gateway6;
	*is_unreachable = e == NULL || ip_is_martian(dst);
	return e;
}

/* NULL: unreachable, or no entry yet. */
static struct entry *resolve(
	const struct neigh *n, uint16_t port_idx, const struct ip_addr *dst, bool *is_unreachable)
{
	const struct link *link = link_of_port(n, port_idx);
	struct entry *e;

	*is_unreachable = link == NULL;
	if (link == NULL)
		return NULL;
	e = find_next_hop(link, dst, is_unreachable);
	return *is_unreachable ? NULL : e;
}

bool neigh_peek(const struct neigh *n, uint16_t port_idx, const struct ip_addr *dst,
	struct rte_ether_addr *out, bool *is_unreachable)
{
	const struct entry *e = resolve(n, port_idx, dst, is_unreachable);

	return e != NULL && unpack_word(__atomic_load_n(&e->word, __ATOMIC_RELAXED), out);
}

bool neigh_resolve(const struct neigh *n, uint16_t port_idx, const struct ip_addr *dst,
	struct rte_ether_addr *out, bool *is_unreachable)
{
	struct entry *e = resolve(n, port_idx, dst, is_unreachable);

	if (e == NULL)
		return false;
	/* Looked at first: a shared line is written once in 30 s, not for every packet. */
	if (!__atomic_load_n(&e->is_used, __ATOMIC_RELAXED))
		__atomic_store_n(&e->is_used, true, __ATOMIC_RELAXED);
	return unpack_word(__atomic_load_n(&e->word, __ATOMIC_RELAXED), out);
}

bool neigh_is_ours(const struct neigh *n, uint16_t port_idx, const struct ip_addr *addr)
{
	const struct link *link = link_of_port(n, port_idx);

	return link != NULL && onlink_is_ours(&link->onlink, addr);
}

/* A new entry, and its first question. NULL: no room, or too many questions this second. */
static struct entry *start_asking(struct link *link, const struct ip_addr *addr, uint64_t now_ns)
{
	struct entry *e;

	if (entry_is_over_budget(link, now_ns))
		return NULL;
	e = entry_add(link, addr);
	if (e == NULL)
		return NULL;
	entry_enter_state(e, ENTRY_ASKING, now_ns);
	entry_ask(e, now_ns);
	return e;
}

void neigh_hold(struct neigh *n, uint16_t port_idx, const struct ip_addr *dst,
	struct rte_mbuf *frame, uint64_t now_ns)
{
	struct link *link = link_of_port(n, port_idx);
	struct entry *e = NULL;
	struct rte_ether_addr mac;
	bool is_unreachable = true;

	if (link != NULL && rte_pktmbuf_data_len(frame) >= RTE_ETHER_HDR_LEN)
		e = find_next_hop(link, dst, &is_unreachable);
	if (e == NULL && !is_unreachable)
		e = start_asking(link, dst, now_ns);
	if (e == NULL || is_unreachable) {
		entry_drop(n, frame);
		return;
	}
	__atomic_store_n(&e->is_used, true, __ATOMIC_RELAXED);
	if (unpack_word(e->word, &mac))
		entry_send_to(link, frame, &mac);
	else
		entry_hold(e, frame);
}

void neigh_counters_get(const struct neigh *n, struct neigh_counters *out)
{
	*out = n->counters;
}

/* Birth and death */

/* A gateway that we have no address to ask with is none. It is due at once: the first tick asks. */
static int add_gateway(struct link *link, const struct ip_addr *addr, struct entry **out)
{
	struct entry *e;

	if (ip_is_none(addr) || !(ip_is_v4(addr) ? link->onlink.has_v4 : link->onlink.has_v6))
		return 0;
	e = entry_add(link, addr);
	if (e == NULL)
		return -1;
	e->is_gateway = true;
	entry_enter_state(e, ENTRY_ASKING, 0);
	e->deadline_ns = 0;
	*out = e;
	return 0;
}

static int init_link(
	struct neigh *n, struct link *link, const struct neigh_link *conf, uint32_t max_entries)
{
	char name[24];

	link->neigh = n;
	link->mac = conf->mac;
	link->port_idx = conf->port_idx;
	if (!onlink_init(&link->onlink, conf))
		return -1;
	link->n_entries = max_entries + 2;
	link->entries = rte_zmalloc(
		"neigh", link->n_entries * sizeof(link->entries[0]), RTE_CACHE_LINE_SIZE);
	snprintf(name, sizeof(name), "neigh%u", conf->port_idx);
	link->table = table_create(
		name, link->n_entries, sizeof(struct ip_addr), SOCKET_ID_ANY, n->grace);
	if (link->entries == NULL || link->table == NULL)
		return -1;
	for (uint32_t i = 0; i < link->n_entries; i++) {
		link->entries[i].link = link;
		entry_free(&link->entries[i]);
	}
	if (add_gateway(link, &conf->gateway4, &link->gateway4) != 0)
		return -1;
	return add_gateway(link, &conf->gateway6, &link->gateway6);
}

struct neigh *neigh_create(const struct neigh_params *p)
{
	struct neigh *n = rte_zmalloc("neigh", sizeof(*n), RTE_CACHE_LINE_SIZE);

	if (n == NULL)
		return NULL;
	n->mempool = p->mempool;
	n->grace = p->grace;
	n->send = p->send;
	n->send_arg = p->send_arg;
	TAILQ_INIT(&n->ask_timers);
	TAILQ_INIT(&n->age_timers);
	n->links = rte_zmalloc("neigh", p->n_links * sizeof(n->links[0]), RTE_CACHE_LINE_SIZE);
	if (n->links == NULL)
		goto fail;
	for (unsigned i = 0; i < p->n_links; i++) {
		if (link_of_port(n, p->links[i].port_idx) != NULL)
			goto fail;
		/* Counted first: destroy unwinds a half-made one too. */
		n->n_links++;
		if (init_link(n, &n->links[i], &p->links[i], p->max_entries) != 0)
			goto fail;
	}
	return n;
fail:
	neigh_destroy(n);
	return NULL;
}

static void fini_link(struct link *link)
{
	for (uint32_t i = 0; link->entries != NULL && i < link->n_entries; i++) {
		struct entry *e = &link->entries[i];

		if (e->is_leaving)
			grace_cancel(link->neigh->grace, &e->leaving);
		for (unsigned j = 0; j < e->n_held; j++)
			rte_pktmbuf_free(e->held[j]);
	}
	table_destroy(link->table);
	rte_free(link->entries);
}

void neigh_destroy(struct neigh *n)
{
	if (n == NULL)
		return;
	for (unsigned i = 0; i < n->n_links; i++)
		fini_link(&n->links[i]);
	rte_free(n->links);
	rte_free(n);
}
