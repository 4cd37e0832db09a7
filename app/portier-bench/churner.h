/* churner.h - a client of the control socket that opens and closes leases as fast as it is
 * answered.
 *
 * Several batches are under way at a time; each is opened, and closed when the reply to its opening
 * is there. Reads no more of a reply than the leases' numbers.
 *
 * Threads: start, pause, resume, stop by one thread; the client is a thread of its own.
 */
#ifndef PORTIER_BENCH_CHURNER_H
#define PORTIER_BENCH_CHURNER_H

#include <stdbool.h>
#include <stdint.h>

struct churner_params {
	const char *socket_path;
	uint32_t first_peer, n_peers; /* whose leases: peer-N by name */
	unsigned batch;		      /* leases in a request */
};

struct churner;

/* Paused. NULL: no memory, or no server. */
struct churner *churner_start(const struct churner_params *params);
/* Returns when the first leases have changed. False: it has failed. */
bool churner_resume(struct churner *c);
/* Returns when all replies are there and all its leases are closed. False: it has failed. */
bool churner_pause(struct churner *c);
/* NULL is fine. */
void churner_stop(struct churner *c);

/* Leases opened, and leases closed, so far; both are confirmed by replies. */
uint64_t churner_updates(const struct churner *c);
/* Requests that were refused. */
uint64_t churner_refused(const struct churner *c);

#endif
