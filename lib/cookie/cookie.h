/* cookie.h - MAC1, MAC2, cookies and the per-source limiter: what stands before a Diffie-Hellman.
 *
 * Spec:    WireGuard paper, sections 5.3 and 5.4.4, 5.4.7; secret changed every 120 s.
 * Purity:  times and random bytes are arguments.
 * Threads: one writer each (handshake thread).
 */
#ifndef PORTIER_COOKIE_H
#define PORTIER_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/time.h"
#include "crypto/crypto.h"
#include "wgmsg/wgmsg.h"

#define COOKIE_BYTES	   16
#define COOKIE_LIFETIME_NS (120 * NS_IN_S)
#define COOKIE_LATENCY_NS  (5 * NS_IN_S) /* a cookie is sent no later than this before its end */

enum cookie_verdict {
	COOKIE_INVALID = 0, /* MAC1 wrong: not meant for this key; drop silently */
	COOKIE_MAC1_OK,	    /* MAC1 right, MAC2 absent or stale */
	COOKIE_MAC2_OK,	    /* the sender can receive at its source address */
};

/* The receiving side, for our own static key. */
struct cookie_checker {
	uint8_t mac1_key[CRYPTO_KEY_BYTES];
	uint8_t cookie_key[CRYPTO_KEY_BYTES];
	uint8_t secret[CRYPTO_KEY_BYTES]; /* wiped on change */
	uint64_t secret_born_ns;
	bool has_secret;
};

void cookie_checker_init(
	struct cookie_checker *c, const uint8_t public_key[static CRYPTO_KEY_BYTES]);
void cookie_checker_fini(struct cookie_checker *c);

/* Judge an initiation or response: msg_len is its exact wire size, mac1 and mac2 are its last 32
 * bytes. MAC2 is computed only when under_load. src is the outer source: its address and port are
 * both in the cookie. A cookie ends with the secret that made it, so it lives 120 s at most. */
enum cookie_verdict cookie_check(struct cookie_checker *c, const uint8_t *msg, size_t msg_len,
	const struct ip_endpoint *src, bool under_load, uint64_t now_ns);

/* Answer msg with a cookie for src. fresh_secret is used when the secret is older than 120 s;
 * nonce is random. */
void cookie_reply_build(struct cookie_checker *c, const uint8_t *msg, size_t msg_len,
	const struct ip_endpoint *src, const uint8_t fresh_secret[static CRYPTO_KEY_BYTES],
	const uint8_t nonce[static CRYPTO_XNONCE_BYTES], uint64_t now_ns,
	struct wgmsg_cookie_reply *out);

/* The sending side, towards one peer's static key. */
struct cookie_maker {
	uint8_t mac1_key[CRYPTO_KEY_BYTES];
	uint8_t cookie_key[CRYPTO_KEY_BYTES];
	uint8_t cookie[COOKIE_BYTES];
	uint8_t last_mac1[CRYPTO_MAC_BYTES]; /* of the last message sent: binds the cookie reply */
	uint64_t cookie_born_ns;
	bool has_cookie;
	bool has_last_mac1;
};

void cookie_maker_init(struct cookie_maker *m, const uint8_t public_key[static CRYPTO_KEY_BYTES]);
void cookie_maker_fini(struct cookie_maker *m);

/* Fill the last 32 bytes of a message that is about to be sent: MAC1 always; MAC2 while a cookie
 * younger than 120 s minus 5 s is held, zero otherwise. */
void cookie_macs_add(struct cookie_maker *m, uint8_t *msg, size_t msg_len, uint64_t now_ns);

/* A cookie reply arrived for this peer. True when it opens under our last MAC1: the cookie is kept.
 * False, unchanged, otherwise; also when no message was sent since the last good reply. */
bool cookie_reply_open(
	struct cookie_maker *m, const struct wgmsg_cookie_reply *reply, uint64_t now_ns);

/* Per-source token buckets, applied to handshakes with a good MAC2 under load: 20 a second,
 * burst 5. IPv6 sources count by /64. Memory is bounded: a source has eight possible places, chosen
 * by a keyed hash; an entry that is full of tokens again (a quarter of a second after its last use
 * at most) is free for another source; with none free the source is refused. */
#define COOKIE_LIMITER_PER_S 20
#define COOKIE_LIMITER_BURST 5

struct cookie_limiter;
/* n_entries, at least 1, is rounded up to a power of two. NULL when memory is out. */
struct cookie_limiter *cookie_limiter_create(
	uint32_t n_entries, const uint8_t hash_key[static CRYPTO_SIPHASH_KEY_BYTES]);
/* NULL is fine. */
void cookie_limiter_destroy(struct cookie_limiter *l);
/* True: one token was taken. False: nothing changed. Cost: one hash, at most eight compares. */
bool cookie_limiter_allow(struct cookie_limiter *l, const struct ip_addr *src, uint64_t now_ns);

#endif
