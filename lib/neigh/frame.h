/* frame.h - the frames of ARP and neighbour discovery in one shape. Private to lib/neigh.
 *
 * Spec:    RFC 826; RFC 4861, 4.3, 4.4, 4.6, 7.1.1, 7.1.2; RFC 5227 (ARP probes).
 * Purity:  bytes in, a message out, and back; no state. Threads: any.
 * Total:   frame_parse is defined for any bytes of any length.
 */
#ifndef PORTIER_NEIGH_FRAME_H
#define PORTIER_NEIGH_FRAME_H

#include "base/ip.h"

#include <rte_ether.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_kind {
	FRAME_IGNORED = 0, /* neither of these, or not as the specifications want it */
	FRAME_ASK,	   /* ARP request, NS */
	FRAME_ANSWER,	   /* ARP reply, NA */
};

struct frame_msg {
	struct rte_ether_addr eth_src, eth_dst;
	struct ip_addr target; /* what is asked for, or announced */
	struct ip_addr peer;   /* ask: who asks, none when it probes; answer: whom it tells */
	/* Of the asker, or of the target; unicast when has_mac. */
	struct rte_ether_addr mac;
	bool has_mac;	   /* always with ARP; ND has it as an option */
	bool is_solicited; /* answer: to a question; always with ARP */
	bool is_override;  /* answer: may replace what is known; always with ARP */
};

enum frame_kind frame_parse(const uint8_t *bytes, size_t len, struct frame_msg *out);

/* An Ethernet frame without its checksum never is shorter than 60 bytes; the longest here is NS or
 * NA. */
#define FRAME_BYTES_MAX 86

/* Who has target? family by target; source is of the same. dst: whom to ask, NULL for everyone
 * (broadcast, or the solicited-node group). Returns the bytes written to out. */
size_t frame_build_ask(uint8_t out[static FRAME_BYTES_MAX], const struct rte_ether_addr *own_mac,
	const struct ip_addr *source, const struct ip_addr *target,
	const struct rte_ether_addr *dst);

/* The answer to ask: its target is at own_mac. Returns the bytes written to out. */
size_t frame_build_answer(uint8_t out[static FRAME_BYTES_MAX], const struct rte_ether_addr *own_mac,
	const struct frame_msg *ask);

#endif
