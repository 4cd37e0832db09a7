/* telemetry.h - counters as DPDK telemetry commands: /portier/stats, /portier/drops,
 * /portier/handshakes, for dpdk-telemetry.py and its like.
 *
 * Threads: up and down are the main thread's; DPDK's telemetry thread answers in between.
 */
#ifndef PORTIER_TELEMETRY_H
#define PORTIER_TELEMETRY_H

#include "boot.h"

/* Once a process, when the EAL is up with telemetry. b outlives telemetry_down. 0 or -1. */
int telemetry_up(const struct boot *b);
/* After it no command looks at b any more. Without telemetry_up, nothing. */
void telemetry_down(void);

#endif
