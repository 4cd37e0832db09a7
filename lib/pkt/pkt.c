#include "pkt/pkt.h"

#include <rte_ip.h>
#include <rte_udp.h>

#include "base/bytes.h"

struct rte_mempool *pkt_pool_create(const char *name, uint32_t n_mbufs, int socket_id)
{
	/* A cache of 256 holds the bursts of a worker that frees on one port what it took on
	 * another. */
	return rte_pktmbuf_pool_create(name, n_mbufs, 256, PKT_PRIV_BYTES,
		RTE_PKTMBUF_HEADROOM + PKT_DATA_ROOM_BYTES, socket_id);
}

struct rte_mbuf *pkt_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

static void prepend_ipv4(struct rte_mbuf *m, const struct pkt_udp *u)
{
	uint16_t len = m->pkt_len + sizeof(struct rte_ipv4_hdr);
	struct rte_ipv4_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));

	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.type_of_service = u->traffic_class,
		.total_length = rte_cpu_to_be_16(len),
		.packet_id = rte_cpu_to_be_16(u->ip_id),
		.time_to_live = PKT_HOPS,
		.next_proto_id = IPPROTO_UDP,
	};
	memcpy(&ip->src_addr, ip_v4_bytes(&u->src->addr), 4);
	memcpy(&ip->dst_addr, ip_v4_bytes(&u->dst->addr), 4);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void prepend_ipv6(struct rte_mbuf *m, const struct pkt_udp *u)
{
	uint16_t len = m->pkt_len;
	struct rte_udp_hdr *udp = rte_pktmbuf_mtod(m, struct rte_udp_hdr *);
	struct rte_ipv6_hdr *ip = (void *)rte_pktmbuf_prepend(m, sizeof(*ip));

	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28 | (uint32_t)u->traffic_class << 20),
		.payload_len = rte_cpu_to_be_16(len),
		.proto = IPPROTO_UDP,
		.hop_limits = PKT_HOPS,
	};
	memcpy(ip->src_addr, u->src->addr.bytes, 16);
	memcpy(ip->dst_addr, u->dst->addr.bytes, 16);
	udp->dgram_cksum = rte_ipv6_udptcp_cksum(ip, udp);
}

void pkt_udp_prepend(struct rte_mbuf *m, const struct pkt_udp *u)
{
	uint16_t len = m->pkt_len + sizeof(struct rte_udp_hdr);
	struct rte_udp_hdr *udp = (void *)rte_pktmbuf_prepend(m, sizeof(*udp));

	*udp = (struct rte_udp_hdr){
		.src_port = rte_cpu_to_be_16(u->src->port),
		.dst_port = rte_cpu_to_be_16(u->dst->port),
		.dgram_len = rte_cpu_to_be_16(len),
	};
	if (ip_is_v4(&u->dst->addr))
		prepend_ipv4(m, u);
	else
		prepend_ipv6(m, u);
}
