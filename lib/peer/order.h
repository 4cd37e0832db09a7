/* order.h - what the handshake thread and the workers say to each other.
 *
 * Three mailboxes a worker:
 *
 *   msgs     worker -> handshake   struct rte_mbuf *: data begins at the WireGuard message, one
 *                                  segment, outer headers removed; the private area begins with the
 *                                  struct peer_path it came by (remote = outer source). May be
 *                                  full: the worker drops the packet and counts it.
 *   events   worker -> handshake   tagged integers, see peer_event_*. Sized by
 *                                  peer_events_n_slots(), so that what must not be lost fits.
 *   orders   handshake -> worker   struct peer_order *; the worker carries out all of a burst, in
 *                                  order, and gives each back with peer_order_put().
 *
 * Threads: one producer and one consumer for each mailbox. Orders come from a pool of the handshake
 *          thread; any worker may put them back.
 * Secrets: an order's keys are wiped when they are moved, and again when the order is put back.
 */
#ifndef PORTIER_PEER_ORDER_H
#define PORTIER_PEER_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "base/ip.h"
#include "crypto/crypto.h"
#include "mbox/mbox.h"
#include "noise/noise.h"
#include "peer/keypairs.h"
#include "peer/peer.h"

/* --- orders: handshake thread -> worker ---------------------------------------------------------
 */

enum peer_order_kind {
	PEER_ORDER_NONE = 0,
	/* Send pkt, a whole WireGuard message, by path. (Cookie replies: to the worker that
	 * received what they answer.) */
	PEER_ORDER_SEND,
	/* Send pkt to the peer: by peer_hot's path when it has one (the peer may have roamed
	 * since), else by path. To the home worker. (Initiations.) */
	PEER_ORDER_SEND_PEER,
	/* A handshake completed. Move the keys into their slot (peer_order_keys_move), install the
	 * keypair in the session, make path the peer's path (it is authenticated), then send pkt by
	 * path if there is one (the response). To the home worker. */
	PEER_ORDER_INSTALL,
	/* Set the persistent keepalive; with path.remote.port not 0, that is the peer's new
	 * endpoint; with forgets_flows, end what the peer began. To the home worker. */
	PEER_ORDER_SET,
	/* Forget the peer: clear the session (each slot goes back with peer_event_retired), free
	 * what is held, leave the timer wheel, zero its struct peer_hot; then give msg back with
	 * peer_event_msg. To the home worker. */
	PEER_ORDER_DEL,
	/* The series of initiations ended without an answer: drop what is held for the peer. */
	PEER_ORDER_GIVE_UP,
};

/* W: handshake thread until it is pushed, then the worker until it is put back. */
struct peer_order {
	enum peer_order_kind kind;
	uint32_t peer_idx;    /* all but SEND */
	struct rte_mbuf *pkt; /* SEND, SEND_PEER; INSTALL: may be NULL. The worker's from now on. */
	struct peer_msg *msg; /* DEL */
	struct peer_path path; /* SEND, SEND_PEER, INSTALL, SET; local is none when we do not know
				* it: the worker chooses address and port by its routes */
	uint64_t persistent_keepalive_ns; /* SET */
	bool forgets_flows;		  /* SET: its inner addresses are others now */

	/* INSTALL. Names as in struct noise_keypair. */
	uint64_t created_ns;
	uint32_t local_idx, remote_idx;
	bool is_initiator;
	uint8_t send_key[CRYPTO_KEY_BYTES], recv_key[CRYPTO_KEY_BYTES]; /* wiped */
};

/* Worker: fill the slot that local_idx names and wipe the keys here. now_ns is the worker's: the
 * keypair is born at created_ns or now_ns, whichever is earlier, because the worker's clock of this
 * turn may have been read before the handshake thread's. */
void peer_order_keys_move(struct peer_order *o, struct noise_keypair *slot, uint64_t now_ns);
/* Wipe o and return it to its pool. Does not touch pkt and msg: who takes an order takes them. */
void peer_order_put(struct peer_order *o);

/* --- events: worker -> handshake thread ---------------------------------------------------------
 */

enum peer_event_kind {
	PEER_EVENT_NONE = 0,
	PEER_EVENT_START, /* value: peer_idx. Begin a handshake, or keep a running series alive */
	PEER_EVENT_CONFIRMED, /* value: peer_idx. The initiator used its new keys: nothing to retry
			       */
	PEER_EVENT_RETIRED,   /* value: local_idx. The slot is wiped and free */
	PEER_EVENT_MSG,	      /* value: struct peer_msg *, back from PEER_ORDER_DEL */
};

/* Above this many events in the mailbox, START and CONFIRMED are not pushed. */
#define PEER_EVENTS_OPTIONAL_MAX 1024

/* Slots for a worker's events mailbox: as many keypair slots and peers as it can have at most, and
 * the optional ones. A power of two. */
uint32_t peer_events_n_slots(const struct keypairs *k, uint32_t max_peers);

/* Producer. start and confirmed: false when the handshake thread is behind: forget it (the session
 * asks for a start again after rekey_timeout). retired and msg: false never, when the mailbox was
 * sized as above. */
bool peer_event_start(struct mbox *events, uint32_t peer_idx);
bool peer_event_confirmed(struct mbox *events, uint32_t peer_idx);
bool peer_event_retired(struct mbox *events, uint32_t local_idx);
bool peer_event_msg(struct mbox *events, struct peer_msg *msg);

/* Consumer. */
#define PEER_EVENT_KIND_SHIFT 56

static inline enum peer_event_kind peer_event_kind_get(const void *event)
{
	return (enum peer_event_kind)((uintptr_t)event >> PEER_EVENT_KIND_SHIFT);
}

static inline uint64_t peer_event_value_get(const void *event)
{
	return (uintptr_t)event & ((UINT64_C(1) << PEER_EVENT_KIND_SHIFT) - 1);
}

#endif
