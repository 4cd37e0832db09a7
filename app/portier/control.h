/* control.h - the control thread's loop: signals, neighbours, and frames to and from workers. */
#ifndef PORTIER_CONTROL_H
#define PORTIER_CONTROL_H

#include "boot.h"

/* Run until SIGTERM or SIGINT. 0, or -1 when the loop can not run. */
int control_run(struct boot *b);

/* neigh_send_fn: arg is the struct boot. */
void control_send_frame(void *arg, uint16_t port_idx, struct rte_mbuf *frame);

/* probe_send of ctl_params: arg is the struct boot. */
bool control_send_probe(void *arg, uint8_t number);

/* portmap_reply of ctl_params: arg is the struct boot. */
bool control_send_reply(
	void *arg, const struct ctl_portmap_route *to, const uint8_t *msg, size_t len);

#endif
