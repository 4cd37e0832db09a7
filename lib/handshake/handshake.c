/* handshake.c - the thread: its life, its turn, its sleep. */
#include "handshake/impl.h"
#include "peer/sparse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES_PER_LANE 16 /* four X25519 operations each: some 2 ms a turn and worker */
#define LOAD_HOLD_NS	  NS_IN_S
#define LIMITER_ENTRIES	  8192
/* What could not be pushed to a full mailbox is tried again after this; nobody tells us sooner. */
#define STALL_NS NS_IN_MS
/* Waking us costs a worker a system call, some 30 us of its turn on a virtual machine. So we look
 * for mail by ourselves for a while after there was some, and who rekeys often wakes us rarely. A
 * message waits for the length of a nap at most. */
#define NAP_NS		 (200 * NS_IN_US)
#define LINGER_NS	 (4 * NS_IN_MS)
#define ORDERS_MIN	 1023
#define EPOLL_EVENTS_MAX 16

/* --- create and destroy --- */

static int wait_on(struct handshake *h, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : -errno;
}

static int descriptors_init(struct handshake *h)
{
	int rc;

	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	h->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (h->epoll_fd < 0 || h->stop_fd < 0)
		return -errno;
	rc = wait_on(h, h->stop_fd);
	if (rc == 0)
		rc = wait_on(h, mbox_fd(h->params.from_control));
	for (uint32_t w = 0; w < h->n_workers && rc == 0; w++) {
		rc = wait_on(h, mbox_fd(h->params.lanes[w].msgs));
		if (rc == 0)
			rc = wait_on(h, mbox_fd(h->params.lanes[w].events));
	}
	return rc;
}

static int crypto_state_init(struct handshake *h, const uint8_t *private_key)
{
	uint8_t hash_key[CRYPTO_SIPHASH_KEY_BYTES]; /* wiped */
	int rc = noise_local_init(&h->local, private_key);

	if (rc != 0)
		return rc;
	cookie_checker_init(&h->checker, h->local.public_key);
	crypto_random(hash_key, sizeof(hash_key));
	h->limiter = cookie_limiter_create(LIMITER_ENTRIES, hash_key);
	crypto_wipe(hash_key, sizeof(hash_key));
	return h->limiter ? 0 : -ENOMEM;
}

/* 2^n - 1, as suits a mempool: a queue full of messages may become as many orders. */
static unsigned count_orders(uint32_t queue_msgs)
{
	unsigned n = ORDERS_MIN;

	while (n < queue_msgs)
		n = 2 * n + 1;
	return n;
}

struct handshake *handshake_create(const struct handshake_params *p)
{
	struct handshake *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->params = *p;
	crypto_wipe(h->params.private_key, sizeof(h->params.private_key));
	h->n_workers = p->keypairs->n_workers;
	h->epoll_fd = -1;
	h->stop_fd = -1;
	h->returns_tail = &h->returns;
	h->heap = sparse_alloc(peers_max(p->peers), sizeof(*h->heap), p->socket_id);
	/* No cache: gets are one thread's, puts are other threads', and neither is per packet. */
	h->orders = rte_mempool_create("handshake_orders", count_orders(p->queue_msgs),
		sizeof(struct peer_order), 0, 0, NULL, NULL, NULL, NULL, p->socket_id, 0);
	if (!h->heap || !h->orders || slots_init(h) != 0 ||
		crypto_state_init(h, p->private_key) != 0 || descriptors_init(h) != 0) {
		handshake_destroy(h);
		return NULL;
	}
	return h;
}

static void lane_drain(const struct handshake_lane *lane)
{
	void *obj;

	while (mbox_pop_burst(lane->msgs, &obj, 1) == 1)
		rte_pktmbuf_free(obj);
	while (mbox_pop_burst(lane->orders, &obj, 1) == 1) {
		struct peer_order *o = obj;

		rte_pktmbuf_free(o->pkt);
		peer_order_put(o);
	}
}

void handshake_destroy(struct handshake *h)
{
	if (!h)
		return;
	if (h->stalled)
		peer_msg_free(h->stalled);
	while (h->returns) {
		struct peer_msg *next = h->returns->next;

		peer_msg_free(h->returns);
		h->returns = next;
	}
	for (uint32_t w = 0; h->orders && w < h->n_workers; w++)
		lane_drain(&h->params.lanes[w]);
	rte_mempool_free(h->orders);
	cookie_limiter_destroy(h->limiter);
	cookie_checker_fini(&h->checker);
	noise_local_fini(&h->local);
	slots_fini(h);
	sparse_free(h->heap, peers_max(h->params.peers), sizeof(*h->heap));
	if (h->stop_fd >= 0)
		close(h->stop_fd);
	if (h->epoll_fd >= 0)
		close(h->epoll_fd);
	crypto_wipe(h, sizeof(*h));
	free(h);
}

/* --- a turn --- */

/* Paper 5.3: under load while an eighth of the queue waits, and for a second after, so that the
 * border is not crossed with each message. */
static void load_judge(struct handshake *h)
{
	uint64_t n_waiting = 0;

	for (uint32_t w = 0; w < h->n_workers; w++)
		n_waiting += mbox_count(h->params.lanes[w].msgs);
	if (n_waiting > 0 && n_waiting >= h->params.queue_msgs / 8)
		h->load_until_ns = h->now_ns + LOAD_HOLD_NS;
	h->is_under_load = h->now_ns < h->load_until_ns;
	if (h->is_under_load)
		count(h, STATS_HANDSHAKE_under_load);
}

static unsigned messages_turn(struct handshake *h, uint32_t worker)
{
	void *pkts[MESSAGES_PER_LANE];
	unsigned n = mbox_pop_burst(h->params.lanes[worker].msgs, pkts, MESSAGES_PER_LANE);

	for (unsigned i = 0; i < n; i++)
		message_take(h, worker, pkts[i]);
	return n;
}

unsigned handshake_turn(struct handshake *h, uint64_t now_ns, uint64_t wall_s, uint32_t wall_ns)
{
	unsigned n;

	h->now_ns = now_ns;
	if (wall_s > h->wall_s || (wall_s == h->wall_s && wall_ns > h->wall_ns)) {
		h->wall_s = wall_s;
		h->wall_ns = wall_ns;
	}
	load_judge(h);
	n = control_turn(h);
	for (uint32_t i = 0; i < h->n_workers; i++)
		n += events_turn(h, i);
	/* Round robin, so that no worker's messages meet a full order pool first every time. */
	for (uint32_t i = 0; i < h->n_workers; i++)
		n += messages_turn(h, (h->first_lane + i) % h->n_workers);
	h->first_lane = (h->first_lane + 1) % h->n_workers;
	n += series_turn(h);
	returns_flush(h);
	return n;
}

uint64_t handshake_next_deadline_ns(const struct handshake *h)
{
	uint64_t deadline_ns = series_deadline_ns(h);

	if ((h->stalled || h->returns) && h->now_ns + STALL_NS < deadline_ns)
		deadline_ns = h->now_ns + STALL_NS;
	return deadline_ns;
}

/* --- the thread --- */

static void for_each_mbox(struct handshake *h, void (*fn)(struct mbox *m))
{
	fn(h->params.from_control);
	for (uint32_t w = 0; w < h->n_workers; w++) {
		fn(h->params.lanes[w].msgs);
		fn(h->params.lanes[w].events);
	}
}

static bool has_mail(const struct handshake *h)
{
	if (!h->stalled && mbox_count(h->params.from_control) > 0)
		return true;
	for (uint32_t w = 0; w < h->n_workers; w++)
		if (mbox_count(h->params.lanes[w].msgs) > 0 ||
			mbox_count(h->params.lanes[w].events) > 0)
			return true;
	return false;
}

/* Until there is mail, a deadline, or the end; offline, so that no grace period waits for us. */
static void sleep_until_needed(struct handshake *h)
{
	struct epoll_event events[EPOLL_EVENTS_MAX];
	uint64_t deadline_ns = handshake_next_deadline_ns(h);
	int timeout_ms = -1;

	if (deadline_ns != TIME_NEVER) {
		uint64_t now_ns = h->params.now_ns();
		uint64_t wait_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;

		timeout_ms = wait_ns < 1000 * NS_IN_S ? (int)((wait_ns + NS_IN_MS - 1) / NS_IN_MS)
						      : 1000000;
	}
	for_each_mbox(h, mbox_arm);
	if (!has_mail(h)) {
		grace_reader_offline(h->params.grace, h->params.grace_reader_id);
		(void)epoll_wait(h->epoll_fd, events, EPOLL_EVENTS_MAX, timeout_ms);
		grace_reader_online(h->params.grace, h->params.grace_reader_id);
	}
	for_each_mbox(h, mbox_disarm);
}

/* Not armed meanwhile: whoever has mail for us leaves it without a system call. */
static void nap(struct handshake *h)
{
	const struct timespec pause = {.tv_nsec = NAP_NS};

	grace_reader_offline(h->params.grace, h->params.grace_reader_id);
	nanosleep(&pause, NULL);
	grace_reader_online(h->params.grace, h->params.grace_reader_id);
}

void handshake_run(struct handshake *h)
{
	uint64_t worked_ns = 0;

	grace_reader_online(h->params.grace, h->params.grace_reader_id);
	while (!atomic_load_explicit(&h->is_stopping, memory_order_acquire)) {
		struct timespec wall;
		unsigned n;

		clock_gettime(CLOCK_REALTIME, &wall);
		n = handshake_turn(
			h, h->params.now_ns(), (uint64_t)wall.tv_sec, (uint32_t)wall.tv_nsec);
		grace_reader_quiescent(h->params.grace, h->params.grace_reader_id);
		if (n > 0)
			worked_ns = h->now_ns;
		else if (h->now_ns - worked_ns < LINGER_NS)
			nap(h);
		else
			sleep_until_needed(h);
	}
	grace_reader_offline(h->params.grace, h->params.grace_reader_id);
}

void handshake_stop(struct handshake *h)
{
	static const uint64_t one = 1;

	atomic_store_explicit(&h->is_stopping, true, memory_order_release);
	/* Cannot fail: nobody else writes. */
	(void)!write(h->stop_fd, &one, sizeof(one));
}
