/* wgmsg.h - the four WireGuard messages as they are on the wire.
 *
 * Spec:    WireGuard paper, section 5.4 (5.4.2, 5.4.3, 5.4.6, 5.4.7).
 * Layout:  byte arrays only, so any alignment is fine and sizeof is the wire size.
 * Threads: pure functions, any thread.
 */
#ifndef PORTIER_WGMSG_H
#define PORTIER_WGMSG_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum wgmsg_type {
	WGMSG_INVALID = 0,
	WGMSG_INITIATION = 1,
	WGMSG_RESPONSE = 2,
	WGMSG_COOKIE_REPLY = 3,
	WGMSG_DATA = 4,
};

struct wgmsg_initiation {
	uint8_t type_le32[4]; /* type, then three reserved zero bytes */
	uint8_t sender_idx_le32[4];
	uint8_t ephemeral[32];
	uint8_t static_sealed[32 + 16];
	uint8_t timestamp_sealed[12 + 16];
	uint8_t mac1[16];
	uint8_t mac2[16];
};

struct wgmsg_response {
	uint8_t type_le32[4];
	uint8_t sender_idx_le32[4];
	uint8_t receiver_idx_le32[4];
	uint8_t ephemeral[32];
	uint8_t empty_sealed[16];
	uint8_t mac1[16];
	uint8_t mac2[16];
};

struct wgmsg_cookie_reply {
	uint8_t type_le32[4];
	uint8_t receiver_idx_le32[4];
	uint8_t nonce[24];
	uint8_t cookie_sealed[16 + 16];
};

/* Followed by the sealed packet: plaintext padded to 16, then the tag. */
struct wgmsg_data {
	uint8_t type_le32[4];
	uint8_t receiver_idx_le32[4];
	uint8_t counter_le64[8];
};

static_assert(sizeof(struct wgmsg_initiation) == 148, "paper 5.4.2");
static_assert(sizeof(struct wgmsg_response) == 92, "paper 5.4.3");
static_assert(sizeof(struct wgmsg_cookie_reply) == 64, "paper 5.4.7");
static_assert(sizeof(struct wgmsg_data) == 16, "paper 5.4.6");

#define WGMSG_TAG_BYTES	     16
#define WGMSG_PAD_BYTES	     16
#define WGMSG_DATA_MIN_BYTES (sizeof(struct wgmsg_data) + WGMSG_TAG_BYTES)

/* The type, when length and reserved bytes are right for it; WGMSG_INVALID otherwise. len is the
 * UDP payload: exact for the handshake messages; data is at least 32 bytes (of any length: padding
 * to 16 stops at the sender's MTU, paper 5.4.6 and every implementation). */
enum wgmsg_type wgmsg_classify(const uint8_t *msg, size_t len);

/* Plaintext length on the wire: rounded up to 16. */
static inline uint32_t wgmsg_padded_len(uint32_t len)
{
	return (len + WGMSG_PAD_BYTES - 1) & ~(uint32_t)(WGMSG_PAD_BYTES - 1);
}

#endif
