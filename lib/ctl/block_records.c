/* Blocks of public ports: who has which, as the workers record it (flow/records.h), with the word
 * for the peer. A record may come after its peer was deleted, but before its number is another's:
 * the worker lets go of the peer first, and records are taken before the number is given back.
 */
#include "ctl/server.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int ctl_block_records_init(struct ctl *c)
{
	/* Address space only, until a peer is deleted. */
	if (c->p.flows != NULL)
		c->gone_peers = calloc(c->p.conf->max_peers, sizeof(c->gone_peers[0]));
	return c->p.flows != NULL && c->gone_peers == NULL ? -ENOMEM : 0;
}

static struct ctl_peer_id id_of(const struct ctl *c, uint32_t peer_idx)
{
	const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);
	struct ctl_peer_id id = {0};

	memcpy(id.public_key, conf->public_key, sizeof(id.public_key));
	memcpy(id.name, conf->name, sizeof(id.name));
	return id;
}

void ctl_block_records_leave(struct ctl *c, uint32_t peer_idx)
{
	ctl_block_records_take(c);
	if (c->gone_peers != NULL)
		c->gone_peers[peer_idx] = id_of(c, peer_idx);
}

static void tell(struct ctl *c, const struct flow_record *record)
{
	bool is_gone = peer_conf_get(c->p.peers, record->peer_idx) == NULL;
	const struct ctl_peer_id peer =
		is_gone ? c->gone_peers[record->peer_idx] : id_of(c, record->peer_idx);
	const struct ctl_block_record told = {
		.flow = record,
		.wall_ns = c->p.wall_ns() - (c->p.now_ns() - record->at_ns),
		.peer = &peer,
	};

	c->n_block_records++;
	ctl_history_block(c, &told);
	ctl_event_block(c, &told);
}

uint64_t ctl_block_records_missed(const struct ctl *c)
{
	uint64_t n = 0;

	for (unsigned w = 0; c->p.flows != NULL && w < c->p.n_workers; w++)
		n += flow_records_missed(flows_records(c->p.flows[w]));
	return n;
}

void ctl_block_records_take(struct ctl *c)
{
	struct flow_record record;
	uint64_t n_missed;

	for (unsigned w = 0; c->p.flows != NULL && w < c->p.n_workers; w++)
		/* No more than what may wait: a busy worker does not keep control here. */
		for (unsigned n = 0; n < FLOW_RECORDS_WAITING &&
				     flow_records_take(flows_records(c->p.flows[w]), &record);
			n++)
			tell(c, &record);
	n_missed = ctl_block_records_missed(c);
	if (n_missed == c->n_block_records_missed)
		return;
	log_warn("control: %" PRIu64 " records of port blocks came faster than they were taken; "
		 "they are lost",
		n_missed - c->n_block_records_missed);
	ctl_event_blocks_missed(c, n_missed - c->n_block_records_missed);
	c->n_block_records_missed = n_missed;
}

void ctl_peers_poll(struct ctl *c)
{
	ctl_block_records_take(c);
	peers_poll(c->p.peers);
}
