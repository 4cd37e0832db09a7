/* path_frames.h - packets for tests of the packet path, made and checked with checksum code that is
 * not the gateway's own.
 */
#ifndef PORTIER_TESTS_PATH_FRAMES_H
#define PORTIER_TESTS_PATH_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_ether.h>

#include "base/ip.h"

#define FRAME_BYTES_MAX 2048
#define FRAME_ETHER	14

struct frame {
	uint8_t bytes[FRAME_BYTES_MAX];
	size_t len;
};

/* One IP packet without options. Addresses are text of one family. */
struct flow {
	const char *src, *dst;
	uint16_t src_port, dst_port; /* of an echo request: its identifier is src_port */
	uint8_t proto; /* TCP, UDP, ICMP or ICMPv6 (an echo request); else the payload is bare */
	uint8_t hops;  /* 0: 64 */
	uint8_t type;  /* TCP: flags; ICMP: type; 0: SYN, echo request */
};

struct ip_addr frame_addr(const char *text);

/* Build at out; returns the packet's length. payload NULL: bytes that tell their place. */
size_t packet_build(uint8_t *out, const struct flow *f, const void *payload, size_t payload_len);
/* Put the IPv4 header checksum right again after a change. */
void packet_mend(uint8_t *ip);
/* And the checksum of TCP, UDP or ICMP. */
void packet_mend_l4(uint8_t *ip);
/* IP header, lengths and the L4 checksum are right. */
bool packet_is_sound(const uint8_t *ip, size_t len);
/* Does it say src:port -> dst:port? */
bool packet_is(const uint8_t *ip, const struct flow *f);
size_t packet_len(const uint8_t *ip);
/* Bytes between the start of the packet and its payload (TCP and UDP). */
size_t packet_payload_at(const uint8_t *ip);

/* The Ethernet header in front of what lies at bytes + FRAME_ETHER. */
void frame_wrap(struct frame *f, const struct rte_ether_addr *src, const struct rte_ether_addr *dst,
	size_t packet_len);
void frame_build(struct frame *f, const struct rte_ether_addr *src,
	const struct rte_ether_addr *dst, const struct flow *flow, const void *payload,
	size_t payload_len);
/* The echo request at bytes + FRAME_ETHER becomes a reply. */
void frame_echo_reply(struct frame *f);
/* A broadcast request "who has target, tell sender", or a solicitation for IPv6. */
void frame_who_has(struct frame *f, const struct rte_ether_addr *mac, const struct ip_addr *sender,
	const struct ip_addr *target);

#endif
