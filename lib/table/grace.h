/* grace.h - grace periods: when has every worker stopped looking at what was unpublished?
 *
 * Readers (workers, the handshake thread) report a quiescent point every loop turn, and go offline
 * before they sleep. The one writer (control) defers work until every reader has passed one; it
 * never blocks. Built on rte_rcu_qsbr; the limbo list is our own (the library's defer queue leaks
 * when full).
 *
 * Threads: each reader id is one thread's; all else is the control thread's.
 */
#ifndef PORTIER_TABLE_GRACE_H
#define PORTIER_TABLE_GRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grace;

/* NULL when n_readers is 0 or memory is out. Reader ids are 0 to n_readers - 1, all offline at
 * first. */
struct grace *grace_create(uint32_t n_readers);
uint32_t grace_readers(const struct grace *g);
/* Runs all deferred functions at once, those included that they defer: only when no reader runs any
 * more. NULL is fine. */
void grace_destroy(struct grace *g);

/* Reader side: any one thread per id, lock-free. online before the first look at a shared table. */
void grace_reader_online(struct grace *g, uint32_t reader_id);
void grace_reader_offline(struct grace *g, uint32_t reader_id);
void grace_reader_quiescent(struct grace *g, uint32_t reader_id);

/* Writer side: control thread only. fn(arg) is called from grace_poll, after all readers have
 * passed a quiescent point that follows this call, in the order of the calls. Returns 0 or -ENOMEM
 * (fn is then not called). grace_defer may be called from within fn. */
int grace_defer(struct grace *g, void (*fn)(void *arg), void *arg);

/* The same with the caller's memory, for those that must not fail: w lives, untouched, until its
 * function is called (which may defer it again) or grace_cancel has returned. */
struct grace_work {
	struct grace_work *next;
	uint64_t token;
	void (*fn)(void *arg);
	void *arg;
	bool is_own; /* made by grace_defer */
};
void grace_defer_work(struct grace *g, struct grace_work *w, void (*fn)(void *arg), void *arg);
/* Take w off the list if it is there; its function is not called. O(pending). */
void grace_cancel(struct grace *g, struct grace_work *w);

/* Run what has become due; returns how many functions ran. O(1) when nothing is due. What these
 * functions defer is left for the next call, so that one call ends. */
unsigned grace_poll(struct grace *g);
size_t grace_pending(const struct grace *g);

#endif
