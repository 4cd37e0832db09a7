/* Who had which public ports: what is told to the store, and what it is asked.
 *
 * A lease and a block are recorded when they begin and when they end, in the commit of the change.
 * What began while nothing was recorded is found by a sweep; what ends without a record gets a
 * whole one. Of blocks those that peers have now are kept here, too, whatever is recorded. */
#include "ctl/history.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Records are known to be good at least so often. */
#define ALIVE_NS (10 * NS_IN_S)
/* What a sweep looks at each second. */
#define LEASES_SLICE 4096u
#define BLOCKS_SLICE 262144u
/* Records of blocks that wait for a store that cannot be written. */
#define WAITING_MAX 65536u

/* One place for each block that an address can have, by address and first port. */
struct ctl_live_block {
	uint64_t id;	   /* of its record; 0: none yet */
	uint64_t since_ns; /* wall clock; 0: nobody's */
	uint32_t peer_idx;
};

int ctl_history_init(struct ctl *c)
{
	struct ctl_history *h = &c->history;

	if (c->p.blocks == NULL || blocks_total(c->p.blocks) == 0)
		return 0;
	h->blocks_of_address = (UINT16_MAX + 1u) / blocks_ports(c->p.blocks);
	h->n_blocks = (uint64_t)blocks_addrs(c->p.blocks) * h->blocks_of_address;
	/* Address space only, until they are claimed. */
	h->blocks = calloc(h->n_blocks, sizeof(h->blocks[0]));
	return h->blocks == NULL ? -ENOMEM : 0;
}

void ctl_history_fini(struct ctl *c)
{
	if (c->history.is_on)
		store_history_stop(c->p.store, c->p.wall_ns());
	free(c->history.blocks);
}

/* ---- who ---- */

static struct store_actor actor_of(const struct ctl *c)
{
	static const char *const words[] = {"gateway", "control", "uapi", "natpmp", "pcp", "conf"};
	struct store_actor a = {
		.has_uid = c->actor.by == CTL_BY_CONTROL || c->actor.by == CTL_BY_UAPI,
		.uid = c->actor.uid,
	};

	snprintf(a.by, sizeof(a.by), "%s", words[c->actor.by]);
	return a;
}

static struct store_actor actor_named(const char *word)
{
	struct store_actor a = {0};

	snprintf(a.by, sizeof(a.by), "%s", word);
	return a;
}

static void put_peer(struct store_record *r, const uint8_t key[static CRYPTO_KEY_BYTES],
	const char name[static PEER_NAME_CHARS])
{
	static_assert(sizeof(r->peer_name) == PEER_NAME_CHARS, "a name is a name");
	memcpy(r->peer_key, key, sizeof(r->peer_key));
	memcpy(r->peer_name, name, sizeof(r->peer_name));
}

/* ---- leases ---- */

void ctl_history_of_lease(const struct ctl *c, const struct lease *lease, struct store_record *out)
{
	const struct peer_conf *peer = peer_conf_get(c->p.peers, lease->peer_idx);

	*out = (struct store_record){
		.id = lease->id,
		.public_addr = lease->public_addr,
		.first_port = lease->public_port,
		.n_ports = lease_ports_of(lease->n_ports),
		.protos = lease->protos,
		.inner_addr = lease->inner_addr,
		.inner_port = lease->inner_port,
		.opened_ns = ctl_wall_of(c, lease->opened_ns),
		.opened_by = actor_named(ctl_opener_word(lease->opener)),
		.closed_ns = TIME_NEVER,
		.known_ns = TIME_NEVER,
	};
	memcpy(out->label, lease->label, sizeof(out->label));
	if (peer != NULL)
		put_peer(out, peer->public_key, peer->name);
}

void ctl_history_lease_opened(struct ctl *c, const struct lease *lease)
{
	struct store_record r;

	if (!c->history.is_on)
		return;
	ctl_history_of_lease(c, lease, &r);
	r.opened_by = actor_of(c);
	store_record_open(c->p.store, &r);
}

void ctl_history_lease_closed(struct ctl *c, const struct lease *gone, const char *reason)
{
	struct store_record r;

	if (!c->history.is_on)
		return;
	ctl_history_of_lease(c, gone, &r);
	r.closed_ns = c->p.wall_ns();
	r.closed_by = actor_of(c);
	snprintf(r.reason, sizeof(r.reason), "%s", reason);
	store_record_close(c->p.store, &r);
}

/* ---- blocks ---- */

static struct ctl_live_block *live_of(const struct ctl *c, uint32_t public_v4, uint16_t port)
{
	uint32_t rank = BLOCKS_NONE;

	if (c->history.blocks != NULL)
		rank = blocks_addr_rank(c->p.blocks, public_v4);
	if (rank == BLOCKS_NONE)
		return NULL;
	return &c->history.blocks[(uint64_t)rank * c->history.blocks_of_address +
				  port / blocks_ports(c->p.blocks)];
}

static void fill_block(const struct ctl *c, const struct ctl_live_block *live, uint32_t public_v4,
	uint16_t first_port, struct store_record *out)
{
	*out = (struct store_record){
		.id = live->id,
		.public_addr = ctl_v4_addr(public_v4),
		.first_port = first_port,
		.n_ports = blocks_ports(c->p.blocks),
		.opened_ns = live->since_ns,
		.opened_by = actor_named("traffic"),
		.closed_ns = TIME_NEVER,
		.known_ns = TIME_NEVER,
	};
}

bool ctl_history_of_block(
	const struct ctl *c, const struct ip_addr *addr, uint16_t port, struct store_record *out)
{
	uint32_t public_v4 = ip_is_v4(addr) ? load_be32(ip_v4_bytes(addr)) : 0, owner;
	const struct ctl_live_block *live = live_of(c, public_v4, port);
	const struct peer_conf *peer;

	if (live == NULL || live->since_ns == 0)
		return false;
	owner = blocks_owner(c->p.blocks, public_v4, port);
	peer = owner == live->peer_idx ? peer_conf_get(c->p.peers, owner) : NULL;
	if (peer == NULL)
		return false;
	fill_block(c, live, public_v4, port - port % blocks_ports(c->p.blocks), out);
	put_peer(out, peer->public_key, peer->name);
	return true;
}

/* False: the store cannot be written, and enough waits for it. Blocks come and go by themselves,
 * which leases do not: those are refused meanwhile. */
static bool has_room(struct ctl *c)
{
	struct ctl_history *h = &c->history;

	if (!ctl_store_is_failing(c))
		return true;
	if (h->n_waiting < WAITING_MAX) {
		h->n_waiting++;
		return true;
	}
	h->n_missed_ever++;
	if (h->n_missed++ == 0)
		log_error("history: the store cannot be written, and %u records of blocks wait; "
			  "of further ones some will be missing",
			WAITING_MAX);
	return false;
}

static void open_block(struct ctl *c, struct ctl_live_block *live, struct store_record *r)
{
	if (!c->history.is_on || !has_room(c))
		return;
	if (live->id == 0)
		live->id = lease_id_reserve(c->p.leases);
	r->id = live->id;
	store_record_open(c->p.store, r);
}

static void close_block(struct ctl *c, struct ctl_live_block *live, struct store_record *r,
	uint64_t wall_ns, const char *reason)
{
	if (!c->history.is_on || !has_room(c))
		return;
	if (live->id == 0)
		live->id = lease_id_reserve(c->p.leases);
	r->id = live->id;
	r->closed_ns = wall_ns;
	r->closed_by = actor_named("traffic");
	snprintf(r->reason, sizeof(r->reason), "%s", reason);
	store_record_close(c->p.store, r);
}

/* The record of its end was lost: all that is known is that it is over. */
static void end_lost(struct ctl *c, struct ctl_live_block *live, uint64_t wall_ns)
{
	struct store_record r = {.known_ns = live->since_ns};

	if (live->id != 0)
		close_block(c, live, &r, wall_ns, "record lost");
}

void ctl_history_block(struct ctl *c, const struct ctl_block_record *record)
{
	const struct flow_record *flow = record->flow;
	struct ctl_live_block *live = live_of(c, flow->public_v4, flow->first_port);
	struct store_record r;

	if (live == NULL)
		return;
	if (flow->is_claimed && live->since_ns != 0)
		end_lost(c, live, record->wall_ns);
	if (flow->is_claimed)
		*live = (struct ctl_live_block){
			.since_ns = record->wall_ns, .peer_idx = flow->peer_idx};
	/* Its beginning was lost. */
	if (!flow->is_claimed && live->since_ns == 0)
		return;
	fill_block(c, live, flow->public_v4, flow->first_port, &r);
	put_peer(&r, record->peer->public_key, record->peer->name);
	if (flow->is_claimed) {
		open_block(c, live, &r);
		return;
	}
	close_block(c, live, &r, record->wall_ns, "released");
	*live = (struct ctl_live_block){0};
}

/* ---- on and off ---- */

static bool is_wanted(const struct ctl *c)
{
	return c->p.conf->history_mode == CONF_HISTORY_FULL && c->p.store != NULL;
}

static void begin(struct ctl *c)
{
	struct ctl_history *h = &c->history;

	h->is_on = true;
	h->is_sweeping = true;
	h->lease_cursor = h->block_cursor = 0;
	h->alive_ns = 0;
	store_history_begin(c->p.store, c->p.wall_ns());
}

void ctl_history_start(struct ctl *c)
{
	if (c->p.store == NULL)
		return;
	if (is_wanted(c))
		begin(c);
	else if (!store_history_is_empty(c->p.store))
		store_history_forget(c->p.store);
}

int ctl_history_switch(struct ctl *c, struct rpc_fault *fault)
{
	struct ctl_history *h = &c->history;

	if (is_wanted(c) && !h->is_on) {
		begin(c);
		log_info("history: who has which public ports is recorded from now on");
	} else if (!is_wanted(c) && h->is_on) {
		h->is_on = false;
		store_history_forget(c->p.store);
		log_info("history: nothing is recorded any more, and what was is deleted");
	}
	if (c->p.conf->history_mode == CONF_HISTORY_FULL && c->p.store == NULL)
		return rpc_fault_set(fault, RPC_REFUSED, "history.mode", "a restart",
			"history.mode = \"full\" waits for the next start, as store.path does");
	return 0;
}

static void sweep_leases(struct ctl *c)
{
	const struct lease *lease = NULL;
	struct store_record r;

	for (unsigned n = 0; n < LEASES_SLICE; n++) {
		lease = lease_next(c->p.leases, UINT32_MAX, &c->history.lease_cursor);
		if (lease == NULL)
			break;
		ctl_history_of_lease(c, lease, &r);
		store_record_open(c->p.store, &r);
	}
	if (lease == NULL)
		c->history.lease_cursor = UINT64_MAX;
}

static void sweep_blocks(struct ctl *c)
{
	struct ctl_history *h = &c->history;
	uint64_t end = h->block_cursor + BLOCKS_SLICE;

	for (; h->block_cursor < h->n_blocks && h->block_cursor < end; h->block_cursor++) {
		struct ctl_live_block *live = &h->blocks[h->block_cursor];
		struct ip_addr addr;
		struct store_record r;

		if (live->since_ns == 0)
			continue;
		addr = ctl_v4_addr(blocks_addr_at(
			c->p.blocks, (uint32_t)(h->block_cursor / h->blocks_of_address)));
		if (ctl_history_of_block(c, &addr,
			    (uint16_t)(h->block_cursor % h->blocks_of_address *
				       blocks_ports(c->p.blocks)),
			    &r))
			open_block(c, live, &r);
	}
}

void ctl_history_sweep(struct ctl *c, uint64_t now_ns)
{
	struct ctl_history *h = &c->history;
	uint64_t wall_ns = c->p.wall_ns(), retention_ns = c->p.conf->history_retention_ns;

	if (!h->is_on || ctl_store_is_failing(c))
		return;
	/* It was written again: what could not wait is found by another sweep. */
	if (h->n_missed > 0) {
		log_info("history: %" PRIu64 " records of blocks could not wait", h->n_missed);
		h->is_sweeping = true;
		h->block_cursor = 0;
		h->n_missed = 0;
	}
	h->n_waiting = 0;
	if (h->is_sweeping && h->lease_cursor != UINT64_MAX)
		sweep_leases(c);
	else if (h->is_sweeping)
		sweep_blocks(c);
	h->is_sweeping =
		h->is_sweeping && (h->lease_cursor != UINT64_MAX || h->block_cursor < h->n_blocks);
	if (h->alive_ns != 0 && now_ns - h->alive_ns < ALIVE_NS)
		return;
	h->alive_ns = now_ns;
	store_history_alive(
		c->p.store, wall_ns, wall_ns > retention_ns ? wall_ns - retention_ns : 0);
}
