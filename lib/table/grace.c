#include "table/grace.h"

#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct grace {
	struct rte_rcu_qsbr *qsbr;
	uint32_t n_readers;
	/* W, R: control. First in, first out; tokens grow from head to tail. */
	struct grace_work *head, **tail;
	size_t n_pending;
};

struct grace *grace_create(uint32_t n_readers)
{
	struct grace *g;

	if (n_readers == 0)
		return NULL;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return NULL;
	g->tail = &g->head;
	g->n_readers = n_readers;
	g->qsbr = rte_zmalloc("grace", rte_rcu_qsbr_get_memsize(n_readers), RTE_CACHE_LINE_SIZE);
	if (g->qsbr == NULL || rte_rcu_qsbr_init(g->qsbr, n_readers) != 0)
		goto fail;
	/* Registered for good: coming and going is online and offline, one plain store each. */
	for (uint32_t i = 0; i < n_readers; i++)
		if (rte_rcu_qsbr_thread_register(g->qsbr, i) != 0)
			goto fail;
	return g;
fail:
	grace_destroy(g);
	return NULL;
}

uint32_t grace_readers(const struct grace *g)
{
	return g->n_readers;
}

static void run_head(struct grace *g)
{
	struct grace_work *w = g->head;
	void (*fn)(void *) = w->fn;
	void *arg = w->arg;

	g->head = w->next;
	if (g->head == NULL)
		g->tail = &g->head;
	g->n_pending--;
	if (w->is_own)
		free(w);
	/* Last: fn may defer, and may free or defer again the memory of w. */
	fn(arg);
}

void grace_destroy(struct grace *g)
{
	if (g == NULL)
		return;
	while (g->head != NULL)
		run_head(g);
	rte_free(g->qsbr);
	free(g);
}

void grace_reader_online(struct grace *g, uint32_t reader_id)
{
	rte_rcu_qsbr_thread_online(g->qsbr, reader_id);
}

void grace_reader_offline(struct grace *g, uint32_t reader_id)
{
	rte_rcu_qsbr_thread_offline(g->qsbr, reader_id);
}

void grace_reader_quiescent(struct grace *g, uint32_t reader_id)
{
	rte_rcu_qsbr_quiescent(g->qsbr, reader_id);
}

static void append(struct grace *g, struct grace_work *w, void (*fn)(void *arg), void *arg)
{
	w->next = NULL;
	w->fn = fn;
	w->arg = arg;
	/* The release in here makes the caller's unpublishing visible before the token is. */
	w->token = rte_rcu_qsbr_start(g->qsbr);
	*g->tail = w;
	g->tail = &w->next;
	g->n_pending++;
}

int grace_defer(struct grace *g, void (*fn)(void *arg), void *arg)
{
	struct grace_work *w = malloc(sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->is_own = true;
	append(g, w, fn, arg);
	return 0;
}

void grace_defer_work(struct grace *g, struct grace_work *w, void (*fn)(void *arg), void *arg)
{
	w->is_own = false;
	append(g, w, fn, arg);
}

void grace_cancel(struct grace *g, struct grace_work *w)
{
	struct grace_work **link = &g->head;

	while (*link != NULL && *link != w)
		link = &(*link)->next;
	if (*link == NULL)
		return;
	*link = w->next;
	if (g->tail == &w->next)
		g->tail = link;
	g->n_pending--;
}

unsigned grace_poll(struct grace *g)
{
	unsigned n_run = 0;
	uint64_t last;

	if (g->head == NULL)
		return 0;
	/* W: this thread only, so a plain look: what fn defers below gets a larger token. */
	last = __atomic_load_n(&g->qsbr->token, __ATOMIC_RELAXED);
	while (g->head != NULL && g->head->token <= last &&
		rte_rcu_qsbr_check(g->qsbr, g->head->token, false) == 1) {
		run_head(g);
		n_run++;
	}
	return n_run;
}

size_t grace_pending(const struct grace *g)
{
	return g->n_pending;
}
