/* pairing.h - by which public address a peer's ordinary traffic leaves: always the same one.
 *
 * Spec:    RFC 4787 REQ-2 ("paired" address pooling).
 * Rule:    an address of the pool is chosen by a keyed hash of the peer's public key. The hash key
 *          is derived from the gateway's private key, so that the choice outlives restarts, and so
 *          that nobody who knows a peer's address at one gateway knows anything of its address at
 *          another: else a list of exit addresses would be a fingerprint.
 * Threads: read-only after init; any thread.
 */
#ifndef PORTIER_CTL_PAIRING_H
#define PORTIER_CTL_PAIRING_H

#include <stdint.h>

#include "base/ip.h"
#include "crypto/crypto.h"

struct pairing {
	uint8_t key[CRYPTO_SIPHASH_KEY_BYTES]; /* wiped by fini */
	const struct ip_prefix *pool;	       /* IPv4, disjoint; the caller's, and outlives this */
	unsigned n_pool;
	uint64_t n_addrs;
};

void pairing_init(struct pairing *p, const uint8_t private_key[static CRYPTO_KEY_BYTES],
	const struct ip_prefix *pool, unsigned n_pool);
void pairing_fini(struct pairing *p);
/* Host order; 0: the pool is empty. Another pool gives other addresses. O(prefixes). */
uint32_t pairing_address(
	const struct pairing *p, const uint8_t public_key[static CRYPTO_KEY_BYTES]);

#endif
