/* mbox.h - a ring from one thread to another that may be asleep in epoll.
 *
 * One producer, one consumer, pointers. The producer pays a system call only when the consumer has
 * said that it is about to sleep: once per sleep, not once per message.
 * Spinning consumers (workers) create it without a descriptor.
 *
 * Threads: each function names its side; a side is one thread at a time.
 * Memory:  sized at create; no allocation afterwards.
 */
#ifndef PORTIER_MBOX_H
#define PORTIER_MBOX_H

#include <stdbool.h>
#include <stdint.h>

struct mbox;

/* name: unique in the process, at most 24 characters. n_slots is a power of two; n_slots - 1
 * messages fit. wants_fd: the consumer sleeps in epoll. NULL: bad n_slots, name taken, or memory or
 * descriptors are out. */
struct mbox *mbox_create(const char *name, uint32_t n_slots, bool wants_fd, int socket_id);
/* What is still inside is the caller's to drain first. NULL is fine. */
void mbox_destroy(struct mbox *m);

/* Producer. False: full, the message is still the caller's. Costs a full fence with a descriptor,
 * and a system call when the consumer sleeps. */
bool mbox_push(struct mbox *m, void *msg);
/* Producer: as many as fit, in order; returns how many. One fence for all. */
unsigned mbox_push_burst(struct mbox *m, void **msgs, unsigned n);

/* Consumer: up to n messages, in order. Everything written before the push is visible. */
unsigned mbox_pop_burst(struct mbox *m, void **msgs, unsigned n);
/* Either side: a snapshot. */
unsigned mbox_count(const struct mbox *m);

/* Consumer, before sleeping: arm, then look once more (pop), then sleep until the descriptor is
 * readable. After the sleep, or when the second look found something: mbox_disarm, which reads the
 * descriptor empty. Spurious wake-ups happen; lost ones do not. The descriptor is -1 without
 * wants_fd. */
int mbox_fd(const struct mbox *m);
void mbox_arm(struct mbox *m);
void mbox_disarm(struct mbox *m);

#endif
