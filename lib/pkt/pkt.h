/* pkt.h - packet buffers: their shape, and the outer headers that are put in front of a payload.
 *
 * Shape:   single-segment mbufs; a private area of PKT_PRIV_BYTES that belongs to whoever holds the
 *          packet; headroom for any outer headers; tailroom for padding and tag.
 * Spec:    RFC 791, RFC 8200 (8.1: UDP over IPv6 needs its checksum), RFC 768, RFC 6864.
 * Threads: pure functions on a packet that the caller owns.
 */
#ifndef PORTIER_PKT_H
#define PORTIER_PKT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "base/ip.h"

#define PKT_PRIV_BYTES	    128
#define PKT_DATA_ROOM_BYTES 2048
/* Ethernet, IPv6, UDP and the WireGuard data header, in front of a packet that lost its own
 * Ethernet header. */
#define PKT_HEADROOM_BYTES (RTE_ETHER_HDR_LEN + 40 + 8 + 16)
static_assert(PKT_HEADROOM_BYTES <= RTE_PKTMBUF_HEADROOM, "outer headers fit in front");

#define PKT_ECN_MASK 3
#define PKT_HOPS     64

/* NULL when memory is out; rte_errno tells why. name is unique in the process. */
struct rte_mempool *pkt_pool_create(const char *name, uint32_t n_mbufs, int socket_id);

/* An empty packet with full headroom; NULL when the pool is empty. */
struct rte_mbuf *pkt_alloc(struct rte_mempool *pool);

struct pkt_udp {
	const struct ip_endpoint *src, *dst; /* of one family */
	uint16_t ip_id;			     /* IPv4 only */
	uint8_t traffic_class;
};

/* Prepend UDP and IP headers to the payload. An IPv4 packet may be fragmented on its way (DF
 * clear), so ip_id should not repeat soon. Over IPv4 the UDP checksum is 0: the payload
 * authenticates itself. */
void pkt_udp_prepend(struct rte_mbuf *m, const struct pkt_udp *u);

/* Prepend the Ethernet header; the type follows from the IP version of the first byte. */
static inline void pkt_ether_prepend(
	struct rte_mbuf *m, const struct rte_ether_addr *src, const struct rte_ether_addr *dst)
{
	bool is_v6 = *rte_pktmbuf_mtod(m, uint8_t *) >> 4 == 6;
	struct rte_ether_hdr *eth = (void *)rte_pktmbuf_prepend(m, sizeof(*eth));

	eth->dst_addr = *dst;
	eth->src_addr = *src;
	eth->ether_type = is_v6 ? RTE_BE16(RTE_ETHER_TYPE_IPV6) : RTE_BE16(RTE_ETHER_TYPE_IPV4);
}

#endif
