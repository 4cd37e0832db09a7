/* wgmsg.c - which message is this? */
#include "wgmsg/wgmsg.h"

#include "base/bytes.h"

enum wgmsg_type wgmsg_classify(const uint8_t *msg, size_t len)
{
	if (len < sizeof(uint32_t))
		return WGMSG_INVALID;
	/* One 32-bit load: the reserved bytes must be zero, so they take part in the compare. */
	switch (load_le32(msg)) {
	case WGMSG_INITIATION:
		return len == sizeof(struct wgmsg_initiation) ? WGMSG_INITIATION : WGMSG_INVALID;
	case WGMSG_RESPONSE:
		return len == sizeof(struct wgmsg_response) ? WGMSG_RESPONSE : WGMSG_INVALID;
	case WGMSG_COOKIE_REPLY:
		return len == sizeof(struct wgmsg_cookie_reply) ? WGMSG_COOKIE_REPLY
								: WGMSG_INVALID;
	case WGMSG_DATA:
		return len >= WGMSG_DATA_MIN_BYTES ? WGMSG_DATA : WGMSG_INVALID;
	default:
		return WGMSG_INVALID;
	}
}
