/* worker.c - the loop of a worker: one clock read a turn, bursts in, bursts out, never a wait while
 * there is work. */
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include <rte_pause.h>

#define PATH_MARK(stage)
#include "path/turn.h"

/* Turns without work before the worker yields, and again before it sleeps. */
#define IDLE_TURNS_SPIN	 64
#define IDLE_TURNS_YIELD 128
#define SLEEP_FIRST_US	 10
/* The kernel's default of 50 us would make every short sleep a long one. */
#define TIMER_SLACK_NS 1000

void path_free_flush(struct path_worker *w)
{
	rte_pktmbuf_free_bulk(w->freeing.pkts, w->freeing.n);
	w->freeing.n = 0;
}

unsigned path_worker_turn(struct path_worker *w)
{
	return path_turn(w);
}

/* Nothing to do: spin for a while, then let others run, then sleep a little longer each time. */
static void idle(struct path_worker *w)
{
	const struct conf *conf = w->path->params.conf;
	struct grace *grace = w->path->params.grace;

	w->idle_turns++;
	if (conf->poll_always || w->idle_turns < IDLE_TURNS_SPIN) {
		rte_pause();
		return;
	}
	grace_reader_offline(grace, w->idx);
	if (w->idle_turns < IDLE_TURNS_YIELD) {
		sched_yield();
	} else {
		struct timespec pause = {.tv_nsec = (long)(w->sleep_us * NS_IN_US)};

		w->stats.counter[STATS_sleeps]++;
		nanosleep(&pause, NULL);
		w->sleep_us = RTE_MIN(w->sleep_us * 2, RTE_MAX(conf->max_sleep_us, 1u));
	}
	grace_reader_online(grace, w->idx);
}

int path_worker_run(void *worker)
{
	struct path_worker *w = worker;
	struct grace *grace = w->path->params.grace;

	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	w->sleep_us = SLEEP_FIRST_US;
	grace_reader_online(grace, w->idx);
	while (!atomic_load_explicit(&w->path->is_stopping, memory_order_relaxed)) {
		if (path_worker_turn(w)) {
			w->idle_turns = 0;
			w->sleep_us = SLEEP_FIRST_US;
			grace_reader_quiescent(grace, w->idx);
		} else {
			grace_reader_quiescent(grace, w->idx);
			idle(w);
		}
	}
	grace_reader_offline(grace, w->idx);
	return 0;
}
