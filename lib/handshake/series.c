/* series.c - initiations of ours, repeated until they are answered (paper 6.4).
 *
 * A heap, because after an outage every leased peer may have a series at once.
 */
#include "handshake/impl.h"

#include <string.h>

/* Each costs two X25519 operations, so a turn of them takes about as long as one of messages. */
#define SERIES_PER_TURN 16

static uint64_t due_ns(const struct handshake *h, uint32_t peer_idx)
{
	return noise_retry_deadline_ns(&peer_shake(h->params.peers, peer_idx)->retry);
}

/* --- the heap; positions count from 1, so that 0 means "not in it" --- */

static void heap_set(struct handshake *h, uint32_t pos, uint32_t peer_idx)
{
	h->heap[pos - 1] = peer_idx;
	peer_shake(h->params.peers, peer_idx)->heap_pos = pos;
}

static void heap_up(struct handshake *h, uint32_t pos)
{
	uint32_t peer_idx = h->heap[pos - 1];

	for (; pos > 1 && due_ns(h, h->heap[pos / 2 - 1]) > due_ns(h, peer_idx); pos /= 2)
		heap_set(h, pos, h->heap[pos / 2 - 1]);
	heap_set(h, pos, peer_idx);
}

static void heap_down(struct handshake *h, uint32_t pos)
{
	uint32_t peer_idx = h->heap[pos - 1];

	for (;;) {
		uint32_t child = 2 * pos;

		if (child > h->n_heap)
			break;
		if (child < h->n_heap && due_ns(h, h->heap[child]) < due_ns(h, h->heap[child - 1]))
			child++;
		if (due_ns(h, h->heap[child - 1]) >= due_ns(h, peer_idx))
			break;
		heap_set(h, pos, h->heap[child - 1]);
		pos = child;
	}
	heap_set(h, pos, peer_idx);
}

static void heap_fix(struct handshake *h, uint32_t pos)
{
	heap_up(h, pos);
	heap_down(h, pos);
}

static void heap_remove(struct handshake *h, uint32_t peer_idx)
{
	struct peer_shake *shake = peer_shake(h->params.peers, peer_idx);
	uint32_t pos = shake->heap_pos, last;

	if (pos == 0)
		return;
	shake->heap_pos = 0;
	last = h->heap[--h->n_heap];
	if (last == peer_idx)
		return;
	heap_set(h, pos, last);
	heap_fix(h, pos);
}

/* --- series --- */

void series_start(struct handshake *h, uint32_t peer_idx)
{
	struct peer_shake *shake = peer_shake(h->params.peers, peer_idx);

	if (shake->path.remote.port == 0 || peer_home(h->params.peers, peer_idx) == PEER_HOME_NONE)
		return;
	noise_retry_start(&shake->retry, h->now_ns);
	if (shake->heap_pos == 0)
		heap_set(h, ++h->n_heap, peer_idx);
	heap_fix(h, shake->heap_pos);
}

void series_stop(struct handshake *h, uint32_t peer_idx)
{
	noise_retry_stop(&peer_shake(h->params.peers, peer_idx)->retry);
	heap_remove(h, peer_idx);
}

/* Paper 5.4.2. Whatever is out (slots, buffers, a worker's queue), the next try is in a while. */
static void initiate(struct handshake *h, uint32_t peer_idx, uint32_t home)
{
	struct peer_shake *shake = peer_shake(h->params.peers, peer_idx);
	uint8_t ephemeral[CRYPTO_KEY_BYTES]; /* wiped */
	uint8_t timestamp[NOISE_TIMESTAMP_BYTES];
	struct wgmsg_initiation msg;
	struct rte_mbuf *m = NULL;
	struct peer_order *o;

	slot_release(h, shake);
	o = order_get(h, PEER_ORDER_SEND_PEER, peer_idx);
	if (!o)
		return;
	m = rte_pktmbuf_alloc(h->params.mbufs);
	if (!m) {
		count(h, STATS_HANDSHAKE_lost);
		goto fail;
	}
	shake->slot_idx = slot_get(h, home, peer_idx);
	if (shake->slot_idx == 0) {
		count(h, STATS_HANDSHAKE_no_slot);
		goto fail;
	}
	crypto_random(ephemeral, sizeof(ephemeral));
	noise_timestamp_build(h->wall_s, h->wall_ns, timestamp);
	if (noise_initiation_create(&shake->noise, &h->local, shake->slot_idx, ephemeral, timestamp,
		    &msg) != NOISE_OK) {
		count(h, STATS_HANDSHAKE_rejected);
		slot_release(h, shake);
		goto fail;
	}
	cookie_macs_add(&shake->cookie, (uint8_t *)&msg, sizeof(msg), h->now_ns);
	memcpy(rte_pktmbuf_append(m, sizeof(msg)), &msg, sizeof(msg));
	o->pkt = m;
	o->path = shake->path;
	if (order_push(h, home, o))
		count(h, STATS_HANDSHAKE_initiations_out);
	crypto_wipe(ephemeral, sizeof(ephemeral));
	return;
fail:
	crypto_wipe(ephemeral, sizeof(ephemeral));
	rte_pktmbuf_free(m);
	peer_order_put(o);
}

static void give_up(struct handshake *h, uint32_t peer_idx, uint32_t home)
{
	struct peer_shake *shake = peer_shake(h->params.peers, peer_idx);
	struct peer_order *o;

	count(h, STATS_HANDSHAKE_gave_up);
	if (shake->unreachable_since_ns == 0)
		__atomic_store_n(&shake->unreachable_since_ns, h->now_ns, __ATOMIC_RELAXED);
	heap_remove(h, peer_idx);
	noise_remote_reset(&shake->noise);
	slot_release(h, shake);
	o = order_get(h, PEER_ORDER_GIVE_UP, peer_idx);
	if (o)
		order_push(h, home, o);
}

unsigned series_turn(struct handshake *h)
{
	unsigned n;

	for (n = 0; n < SERIES_PER_TURN && series_deadline_ns(h) <= h->now_ns; n++) {
		uint32_t peer_idx = h->heap[0], jitter;
		struct peer_shake *shake = peer_shake(h->params.peers, peer_idx);
		uint32_t home = peer_home(h->params.peers, peer_idx);

		crypto_random(&jitter, sizeof(jitter));
		switch (noise_retry_tick(&shake->retry, &h->params.timing, jitter, h->now_ns)) {
		case NOISE_RETRY_SEND:
			heap_fix(h, shake->heap_pos);
			initiate(h, peer_idx, home);
			break;
		case NOISE_RETRY_GIVE_UP:
			give_up(h, peer_idx, home);
			break;
		case NOISE_RETRY_IDLE:
			return n;
		}
	}
	return n;
}

uint64_t series_deadline_ns(const struct handshake *h)
{
	return h->n_heap > 0 ? due_ns(h, h->heap[0]) : TIME_NEVER;
}
