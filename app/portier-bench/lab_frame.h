/* lab_frame.h - inside the lab: the ends of its two wires.
 */
#ifndef PORTIER_BENCH_LAB_FRAME_H
#define PORTIER_BENCH_LAB_FRAME_H

#include <string.h>

#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "base/bytes.h"

#include "lab.h"

#define LAB_SETTLE_NS (20 * NS_IN_S) /* what takes longer has failed */

/* Of the router on either link. */
static const struct rte_ether_addr router_mac = {{0x02, 0, 0, 0, 0, 0xfe}};

static inline void ether_write(uint8_t *frame, const struct rte_ether_addr *dst, uint16_t type)
{
	memcpy(frame, dst, 6);
	memcpy(frame + 6, &router_mac, 6);
	store_be16(frame + 12, type);
}

/* Room for a frame of len bytes in a fresh packet. */
static inline uint8_t *frame_of(struct rte_mbuf *m, uint32_t len)
{
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	return rte_pktmbuf_mtod(m, uint8_t *);
}

static inline void enqueue(struct lab *lab, unsigned port, unsigned queue, struct rte_mbuf *m)
{
	if (rte_ring_enqueue(lab->rig.rx[port][queue], m) < 0)
		rte_pktmbuf_free(m);
}

#endif
