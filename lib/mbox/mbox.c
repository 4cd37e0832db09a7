#include "mbox/mbox.h"

#include <rte_malloc.h>
#include <rte_ring.h>

#include <sys/eventfd.h>
#include <unistd.h>

struct mbox {
	struct rte_ring *ring;
	int fd; /* -1: the consumer spins */
	/* W: consumer arms, whoever sees it first disarms. Own line: producers poll it on each
	 * push, and it only changes around a sleep. */
	bool is_armed __rte_cache_aligned;
};

struct mbox *mbox_create(const char *name, uint32_t n_slots, bool wants_fd, int socket_id)
{
	struct mbox *m = rte_zmalloc_socket("mbox", sizeof(*m), RTE_CACHE_LINE_SIZE, socket_id);

	if (m == NULL)
		return NULL;
	m->fd = -1;
	m->ring = rte_ring_create(name, n_slots, socket_id, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (m->ring == NULL)
		goto fail;
	if (wants_fd) {
		m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (m->fd < 0)
			goto fail;
	}
	return m;
fail:
	mbox_destroy(m);
	return NULL;
}

void mbox_destroy(struct mbox *m)
{
	if (m == NULL)
		return;
	if (m->fd >= 0)
		close(m->fd);
	rte_ring_free(m->ring);
	rte_free(m);
}

/* Dekker's pattern with mbox_arm: the producer stores a message and then looks at the flag, the
 * consumer stores the flag and then looks for messages; with a full fence between, at least one
 * sees the other. */
static void wake_consumer(struct mbox *m)
{
	static const uint64_t one = 1;

	if (m->fd < 0)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&m->is_armed, __ATOMIC_RELAXED))
		return;
	if (!__atomic_exchange_n(&m->is_armed, false, __ATOMIC_RELAXED))
		return;
	/* Cannot fail: the counter is far from its end, since each arming adds at most one. */
	(void)!write(m->fd, &one, sizeof(one));
}

bool mbox_push(struct mbox *m, void *msg)
{
	return mbox_push_burst(m, &msg, 1) == 1;
}

unsigned mbox_push_burst(struct mbox *m, void **msgs, unsigned n)
{
	unsigned n_pushed = rte_ring_sp_enqueue_burst(m->ring, msgs, n, NULL);

	if (n_pushed != 0)
		wake_consumer(m);
	return n_pushed;
}

unsigned mbox_pop_burst(struct mbox *m, void **msgs, unsigned n)
{
	return rte_ring_sc_dequeue_burst(m->ring, msgs, n, NULL);
}

unsigned mbox_count(const struct mbox *m)
{
	return rte_ring_count(m->ring);
}

int mbox_fd(const struct mbox *m)
{
	return m->fd;
}

void mbox_arm(struct mbox *m)
{
	__atomic_store_n(&m->is_armed, true, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void mbox_disarm(struct mbox *m)
{
	uint64_t n_wakes;

	__atomic_store_n(&m->is_armed, false, __ATOMIC_RELAXED);
	/* A producer between its exchange and its write leaves one spurious wake-up for the next
	 * sleep. */
	if (m->fd >= 0)
		(void)!read(m->fd, &n_wakes, sizeof(n_wakes));
}
