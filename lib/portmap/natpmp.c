#include "portmap/portmap.h"

#include "base/bytes.h"

#define VERSION_NATPMP 0
#define VERSION_PCP    2
/* In the opcode byte of both protocols. */
#define ANSWER_BIT 0x80

#define ADDRESS_REQUEST_BYTES 2
#define MAP_REQUEST_BYTES     12
#define HEADER_BYTES	      8
#define ADDRESS_ANSWER_BYTES  12
#define MAP_ANSWER_BYTES      16

enum portmap_kind portmap_classify(const uint8_t *msg, size_t len)
{
	/* RFC 6887, 8.2: fewer than two bytes, or an answer, are silently dropped. RFC 6886, 3.4:
	 * so are opcodes from 128. */
	if (len < 2 || (msg[1] & ANSWER_BIT) != 0)
		return PORTMAP_NO_REQUEST;
	if (msg[0] == VERSION_NATPMP)
		return PORTMAP_NATPMP;
	return msg[0] == VERSION_PCP ? PORTMAP_PCP : PORTMAP_OTHER_VERSION;
}

static bool is_map(uint8_t op)
{
	return op == PORTMAP_NATPMP_UDP || op == PORTMAP_NATPMP_TCP;
}

void portmap_natpmp_parse(const uint8_t *msg, size_t len, struct portmap_natpmp_request *out)
{
	uint8_t whole[MAP_REQUEST_BYTES] = {0};

	memcpy(whole, msg, len < sizeof(whole) ? len : sizeof(whole));
	*out = (struct portmap_natpmp_request){
		.op = whole[1] & (uint8_t)~ANSWER_BIT,
		.is_whole = len >= ADDRESS_REQUEST_BYTES,
	};
	if (!is_map(out->op))
		return;
	/* RFC 6886, 3.3: two bytes are reserved, and ignored. */
	out->is_whole = len >= sizeof(whole);
	out->inner_port = load_be16(whole + 4);
	out->suggested_port = load_be16(whole + 6);
	out->lifetime_s = load_be32(whole + 8);
}

size_t portmap_natpmp_build(
	const struct portmap_natpmp_answer *a, uint8_t out[static PORTMAP_MSG_BYTES])
{
	memset(out, 0, MAP_ANSWER_BYTES);
	out[0] = VERSION_NATPMP;
	out[1] = a->op | ANSWER_BIT;
	store_be16(out + 2, (uint16_t)a->result);
	store_be32(out + 4, a->epoch_s);
	if (a->op == PORTMAP_NATPMP_ADDRESS) {
		if (ip_is_v4(&a->public_addr))
			memcpy(out + 8, ip_v4_bytes(&a->public_addr), 4);
		return ADDRESS_ANSWER_BYTES;
	}
	if (!is_map(a->op))
		return HEADER_BYTES;
	store_be16(out + 8, a->inner_port);
	store_be16(out + 10, a->public_port);
	store_be32(out + 12, a->lifetime_s);
	return MAP_ANSWER_BYTES;
}
