/* mbox.h - a ring from one thread to another that may be asleep in epoll.
 *
 * One producer, one consumer, pointers. The producer pays a system call only when the consumer has
 * said that it is about to sleep: once per sleep, not once per message.
 * Spinning consumers (workers) create it without a descriptor.
 */
#ifndef PORTIER_MBOX_H
#define PORTIER_MBOX_H

#include <stdbool.h>
#include <stdint.h>

struct mbox;

/* n_slots is a power of two; n_slots - 1 messages fit. wants_fd: the consumer sleeps in epoll.
 * NULL when memory or descriptors are out. */
struct mbox *mbox_create(const char *name, uint32_t n_slots, bool wants_fd, int socket_id);
/* What is still inside is the caller's to drain first. NULL is fine. */
void mbox_destroy(struct mbox *m);

/* Producer. False: full, the message is still the caller's. */
bool mbox_push(struct mbox *m, void *msg);
/* Producer: as many as fit, in order; returns how many. */
unsigned mbox_push_burst(struct mbox *m, void **msgs, unsigned n);

/* Consumer: up to n messages. */
unsigned mbox_pop_burst(struct mbox *m, void **msgs, unsigned n);
unsigned mbox_count(const struct mbox *m);

/* Consumer, before sleeping: arm, then look once more (pop), then sleep on the descriptor. Waking reads the
 * descriptor empty with mbox_disarm. */
int mbox_fd(const struct mbox *m);
void mbox_arm(struct mbox *m);
void mbox_disarm(struct mbox *m);

#endif
