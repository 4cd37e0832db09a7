#include "cookie/cookie.h"

#include <string.h>

#include "base/bytes.h"

#define LABEL_BYTES 8
/* What each MAC covers: all of the message before it. */
#define MAC1_AT(msg_len) ((msg_len)-2 * CRYPTO_MAC_BYTES)
#define MAC2_AT(msg_len) ((msg_len)-CRYPTO_MAC_BYTES)

static const char label_mac1[LABEL_BYTES + 1] = "mac1----";
static const char label_cookie[LABEL_BYTES + 1] = "cookie--";

static void derive_keys(uint8_t mac1_key[static CRYPTO_KEY_BYTES],
	uint8_t cookie_key[static CRYPTO_KEY_BYTES],
	const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	crypto_blake2s(mac1_key, label_mac1, LABEL_BYTES, public_key, CRYPTO_KEY_BYTES);
	crypto_blake2s(cookie_key, label_cookie, LABEL_BYTES, public_key, CRYPTO_KEY_BYTES);
}

/* --- the receiving side ----------------------------------------------------------------------- */

void cookie_checker_init(
	struct cookie_checker *c, const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	memset(c, 0, sizeof(*c));
	derive_keys(c->mac1_key, c->cookie_key, public_key);
}

void cookie_checker_fini(struct cookie_checker *c)
{
	crypto_wipe(c, sizeof(*c));
}

static bool is_secret_fresh(const struct cookie_checker *c, uint64_t now_ns)
{
	return c->has_secret && now_ns < c->secret_born_ns + COOKIE_LIFETIME_NS;
}

/* tau of paper 5.4.7: MAC(secret, source address and port). */
static void make_cookie(const struct cookie_checker *c, const struct ip_endpoint *src,
	uint8_t out[static COOKIE_BYTES])
{
	uint8_t source[sizeof(src->addr.bytes) + 2];

	memcpy(source, src->addr.bytes, sizeof(src->addr.bytes));
	store_be16(source + sizeof(src->addr.bytes), src->port);
	crypto_mac(out, c->secret, sizeof(c->secret), source, sizeof(source));
}

enum cookie_verdict cookie_check(struct cookie_checker *c, const uint8_t *msg, size_t msg_len,
	const struct ip_endpoint *src, bool under_load, uint64_t now_ns)
{
	uint8_t cookie[COOKIE_BYTES], mac[CRYPTO_MAC_BYTES]; /* wiped */
	enum cookie_verdict verdict = COOKIE_INVALID;

	if (msg_len < 2 * CRYPTO_MAC_BYTES)
		return COOKIE_INVALID;
	crypto_mac(mac, c->mac1_key, sizeof(c->mac1_key), msg, MAC1_AT(msg_len));
	if (!crypto_equal(mac, msg + MAC1_AT(msg_len), sizeof(mac)))
		goto out;
	verdict = COOKIE_MAC1_OK;
	if (!under_load || !is_secret_fresh(c, now_ns))
		goto out;
	make_cookie(c, src, cookie);
	crypto_mac(mac, cookie, sizeof(cookie), msg, MAC2_AT(msg_len));
	if (crypto_equal(mac, msg + MAC2_AT(msg_len), sizeof(mac)))
		verdict = COOKIE_MAC2_OK;
out:
	crypto_wipe(cookie, sizeof(cookie));
	crypto_wipe(mac, sizeof(mac));
	return verdict;
}

void cookie_reply_build(struct cookie_checker *c, const uint8_t *msg, size_t msg_len,
	const struct ip_endpoint *src, const uint8_t fresh_secret[static CRYPTO_KEY_BYTES],
	const uint8_t nonce[static CRYPTO_XNONCE_BYTES], uint64_t now_ns,
	struct wgmsg_cookie_reply *out)
{
	uint8_t cookie[COOKIE_BYTES]; /* wiped */

	if (!is_secret_fresh(c, now_ns)) {
		memcpy(c->secret, fresh_secret, sizeof(c->secret));
		c->secret_born_ns = now_ns;
		c->has_secret = true;
	}
	make_cookie(c, src, cookie);
	store_le32(out->type_le32, WGMSG_COOKIE_REPLY);
	/* sender_idx is at the same place in initiation and response. */
	memcpy(out->receiver_idx_le32, msg + offsetof(struct wgmsg_initiation, sender_idx_le32),
		sizeof(out->receiver_idx_le32));
	memcpy(out->nonce, nonce, sizeof(out->nonce));
	crypto_xaead_seal(out->cookie_sealed, cookie, sizeof(cookie), msg + MAC1_AT(msg_len),
		CRYPTO_MAC_BYTES, nonce, c->cookie_key);
	crypto_wipe(cookie, sizeof(cookie));
}

/* --- the sending side ------------------------------------------------------------------------- */

void cookie_maker_init(struct cookie_maker *m, const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	memset(m, 0, sizeof(*m));
	derive_keys(m->mac1_key, m->cookie_key, public_key);
}

void cookie_maker_fini(struct cookie_maker *m)
{
	crypto_wipe(m, sizeof(*m));
}

void cookie_macs_add(struct cookie_maker *m, uint8_t *msg, size_t msg_len, uint64_t now_ns)
{
	uint8_t *mac1 = msg + MAC1_AT(msg_len), *mac2 = msg + MAC2_AT(msg_len);

	crypto_mac(mac1, m->mac1_key, sizeof(m->mac1_key), msg, MAC1_AT(msg_len));
	memcpy(m->last_mac1, mac1, sizeof(m->last_mac1));
	m->has_last_mac1 = true;

	if (m->has_cookie && now_ns >= m->cookie_born_ns + COOKIE_LIFETIME_NS - COOKIE_LATENCY_NS) {
		crypto_wipe(m->cookie, sizeof(m->cookie));
		m->has_cookie = false;
	}
	if (m->has_cookie)
		crypto_mac(mac2, m->cookie, sizeof(m->cookie), msg, MAC2_AT(msg_len));
	else
		memset(mac2, 0, CRYPTO_MAC_BYTES);
}

bool cookie_reply_open(
	struct cookie_maker *m, const struct wgmsg_cookie_reply *reply, uint64_t now_ns)
{
	uint8_t cookie[COOKIE_BYTES]; /* wiped */
	bool is_ours;

	if (!m->has_last_mac1)
		return false;
	is_ours = crypto_xaead_open(cookie, reply->cookie_sealed, sizeof(reply->cookie_sealed),
		m->last_mac1, sizeof(m->last_mac1), reply->nonce, m->cookie_key);
	if (is_ours) {
		memcpy(m->cookie, cookie, sizeof(m->cookie));
		m->cookie_born_ns = now_ns;
		m->has_cookie = true;
		m->has_last_mac1 = false;
	}
	crypto_wipe(cookie, sizeof(cookie));
	return is_ours;
}
