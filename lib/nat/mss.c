/* mss.c - the segment size of TCP, so that its packets fit where no error may tell (RFC 4459, 3.2).
 */
#include "nat/impl.h"

#define TCP_FLAGS_AT   13
#define TCP_SYN	       0x02
#define OPTION_END     0
#define OPTION_NOP     1
#define OPTION_MSS     2
#define OPTION_MSS_LEN 4

/* Offset of the MSS option in the TCP header; 0: none, or what stands before it makes no sense. */
static unsigned find_mss(const uint8_t *tcp, unsigned header_len)
{
	for (unsigned at = TCP_HEADER_BYTES; at + OPTION_MSS_LEN <= header_len;) {
		if (tcp[at] == OPTION_NOP) {
			at++;
			continue;
		}
		if (tcp[at] == OPTION_END || tcp[at + 1] < 2)
			return 0;
		if (tcp[at] == OPTION_MSS)
			return tcp[at + 1] == OPTION_MSS_LEN ? at : 0;
		at += tcp[at + 1];
	}
	return 0;
}

static uint16_t swap16(uint16_t v)
{
	return (uint16_t)(v << 8 | v >> 8);
}

bool nat_mss_clamp(uint8_t *pkt, const struct nat_view *v, uint16_t max_mss)
{
	uint8_t *tcp = pkt + v->l4_offset;
	uint16_t mss;
	unsigned at;

	if (!v->has_l4 || v->proto != NAT_PROTO_TCP || !(tcp[TCP_FLAGS_AT] & TCP_SYN))
		return false;
	at = find_mss(tcp, (tcp[12] >> 4) * 4u);
	if (at == 0)
		return false;
	mss = load_be16(tcp + at + 2);
	if (mss <= max_mss)
		return false;
	store_be16(tcp + at + 2, max_mss);
	/* At an odd offset its bytes lie in two words, the high one in a low half (RFC 1071, 2B).
	 */
	nat_mend(tcp + TCP_CHECKSUM_AT,
		at % 2 == 0 ? nat_diff16(mss, max_mss) : nat_diff16(swap16(mss), swap16(max_mss)));
	return true;
}
