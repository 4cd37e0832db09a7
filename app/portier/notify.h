/* notify.h - what the service manager is told: sd_notify(3) over its datagram socket.
 *
 * Threads: the main thread.
 */
#ifndef PORTIER_NOTIFY_H
#define PORTIER_NOTIFY_H

#include <stdint.h>

/* Send lines as "READY=1"; without a service manager, nothing. */
void notify_send(const char *lines);
/* How often it wants to hear WATCHDOG=1 at least; 0: not at all. */
uint64_t notify_watchdog_ns(void);

#endif
