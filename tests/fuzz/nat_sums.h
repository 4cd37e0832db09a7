/* nat_sums.h - right checksums for packets of mutated bytes, which would else be refused at once.
 */
#ifndef PORTIER_TEST_NAT_SUMS_H
#define PORTIER_TEST_NAT_SUMS_H

#include "nat/nat.h"

/* The IPv4 header that size bytes begin with, if they do. */
static inline void set_v4_sum(uint8_t *pkt, size_t size)
{
	size_t header_len;

	if (size < 20 || pkt[0] >> 4 != 4)
		return;
	header_len = (pkt[0] & 0xf) * 4u;
	if (header_len < 20 || header_len > size)
		return;
	store_be16(pkt + 10, 0);
	store_be16(pkt + 10, (uint16_t)~nat_checksum_fold(nat_checksum_add(0, pkt, header_len)));
}

#endif
