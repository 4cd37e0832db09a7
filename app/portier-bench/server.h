/* server.h - the gateway's control thread, beside the worker: the real control server on a real
 * socket, and the neighbours' and peers' part of the daemon's loop.
 *
 * Between start and stop, nobody else may do what control does (rig_upkeep knows).
 * Threads: start and stop by the worker's thread.
 */
#ifndef PORTIER_BENCH_SERVER_H
#define PORTIER_BENCH_SERVER_H

#include "rig.h"

struct server;

/* NULL: the reason was printed. */
struct server *server_start(struct rig *rig);
/* NULL is fine. */
void server_stop(struct server *s);
const char *server_socket(const struct server *s);
/* CPU time that the control thread has used. */
uint64_t server_cpu_ns(const struct server *s);

#endif
