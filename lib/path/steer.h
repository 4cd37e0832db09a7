/* steer.h - the owner of a packet, said to the network card: rules that put a data message into the
 * rx queue of the worker that owns it, so that nobody has to hand it over.
 *
 * Without rules, receive side scaling does it for a peer that does not move: its handshake reaches
 * its home by the same hash as its data. A peer that roams keeps its home, and its packets hash to
 * another worker: the rules look into the receiver index instead (peer/keypairs.h), whose upper
 * bits are the worker.
 *
 * A rule is a hint. Every packet is still asked for its owner (path_owner_of) where it arrives, so
 * a device that takes a rule and does otherwise costs a hand-over, no packet.
 *
 * Spec:    rte_flow; WireGuard paper, section 5.4.6 (layout of a data message).
 * Threads: control, before workers start.
 */
#ifndef PORTIER_PATH_STEER_H
#define PORTIER_PATH_STEER_H

#include <rte_flow.h>

#include "port/port.h"
#include "peer/keypairs.h"

#define STEER_MSG_BYTES	  8 /* type, reserved, receiver index */
#define STEER_ITEMS	  5 /* Ethernet, IP, UDP, the message, end */
#define STEER_FAULT_CHARS 128

/* One rule, whole in itself: pattern and actions point into the same struct, so it is not copied.
 */
struct steer_rule {
	struct rte_flow_attr attr;
	struct rte_flow_item pattern[STEER_ITEMS];
	struct rte_flow_action actions[2];
	struct rte_flow_item_udp udp, udp_mask;
	struct rte_flow_item_raw raw, raw_mask;
	uint8_t msg[STEER_MSG_BYTES], msg_mask[STEER_MSG_BYTES];
	struct rte_flow_action_queue queue;
};

/* Data messages to listen_port over IPv4 (or IPv6) whose receiver index names this worker go to
 * this rx queue. There is more than one worker: else no bit of an index tells them apart. */
void steer_rule_build(struct steer_rule *rule, const struct keypairs *keypairs,
	uint16_t listen_port, bool is_v6, uint32_t worker, uint16_t rx_queue);

/* Give the port its rules: one for each worker that has an rx queue there, for IPv4 and for IPv6.
 * All are validated before the first is made, and a device that refuses any gets none.
 *
 * Returns how many rules there are now; 0: none, and why in fault. They go when the port closes.
 */
unsigned steer_port(const struct port *port, const struct keypairs *keypairs, uint16_t listen_port,
	char fault[static STEER_FAULT_CHARS]);

#endif
