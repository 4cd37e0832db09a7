/* peer_world.h - peers, and the mailboxes by which control and the handshake thread tell each other
 * of them. The test is both.
 */
#ifndef PORTIER_TEST_PEER_WORLD_H
#define PORTIER_TEST_PEER_WORLD_H

#include "peer/peer.h"

#include <stdlib.h>

#define MAX_PEERS 8

struct world {
	struct grace *grace;
	struct peers *peers;
	struct mbox *to, *from; /* as control sees them */
};

/* As many workers as readers; n_to messages may wait for the handshake thread. NULL: memory. */
static inline struct world *world_begin(unsigned n_workers, uint32_t n_to)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->grace = grace_create(n_workers);
	w->peers = peers_create(&(struct peer_params){.max_peers = MAX_PEERS,
		.n_workers = n_workers,
		.grace = w->grace,
		.socket_id = -1});
	w->to = mbox_create("to", n_to, false, -1);
	w->from = mbox_create("from", 64, false, -1);
	if (!w->peers || !w->to || !w->from)
		return NULL;
	peers_connect(w->peers, w->to, w->from);
	return w;
}

static inline int world_end(void **state)
{
	struct world *w = *state;

	peers_destroy(w->peers);
	mbox_destroy(w->to);
	mbox_destroy(w->from);
	grace_destroy(w->grace);
	free(w);
	return 0;
}

#endif
