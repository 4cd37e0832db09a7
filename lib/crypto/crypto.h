/* crypto.h - the primitives of the handshake: X25519, BLAKE2s, HKDF, one-shot AEAD, random, wipe.
 *
 * Spec:      RFC 7748, RFC 7693, RFC 8439, RFC 5869 as used in the WireGuard paper, section 5.4.
 * Back ends: OpenSSL 3 (X25519), libb2 (BLAKE2s), libsodium (AEAD, compare, wipe).
 * Threads:   any; objects are not shared without a lock, except a const crypto_x25519_key.
 * Secrets:   every intermediate on the stack is wiped before return.
 */
#ifndef PORTIER_CRYPTO_H
#define PORTIER_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_KEY_BYTES      32
#define CRYPTO_HASH_BYTES     32
#define CRYPTO_TAG_BYTES      16
#define CRYPTO_MAC_BYTES      16
#define CRYPTO_XNONCE_BYTES   24
#define CRYPTO_KEY_TEXT_CHARS 45 /* 44 base64 characters and a NUL */

/* Call once before any other function of this library. Returns 0, or -ENOSYS when a back end
 * lacks an algorithm. */
int crypto_init(void);

/* A private key decoded once (OpenSSL EVP_PKEY), for many Diffie-Hellman operations. */
struct crypto_x25519_key;

/* NULL when memory is out. private_key is clamped as RFC 7748, section 5. Computes the public key:
 * as dear as one Diffie-Hellman. */
struct crypto_x25519_key *crypto_x25519_key_create(
	const uint8_t private_key[static CRYPTO_KEY_BYTES]);
/* Wipes and frees; NULL is fine. */
void crypto_x25519_key_destroy(struct crypto_x25519_key *key);
void crypto_x25519_key_public(
	const struct crypto_x25519_key *key, uint8_t out[static CRYPTO_KEY_BYTES]);

/* Shared secret. Returns 0; -EINVAL when the result is all zero (a low-order point): out is then
 * zero and must not be used. One scalar multiplication (28 k/s on a server core) and about 6 us of
 * OpenSSL's object handling. */
int crypto_x25519(const struct crypto_x25519_key *key,
	const uint8_t public_key[static CRYPTO_KEY_BYTES], uint8_t out[static CRYPTO_KEY_BYTES]);

/* BLAKE2s-256 of the concatenation of two parts; b may be NULL when b_len is 0. (crypto_hash would
 * be a symbol of libsodium.) */
void crypto_blake2s(uint8_t out[static CRYPTO_HASH_BYTES], const void *a, size_t a_len,
	const void *b, size_t b_len);

/* Keyed BLAKE2s with a 16-byte result (the paper's MAC). key_len is 1 to 32 bytes. */
void crypto_mac(uint8_t out[static CRYPTO_MAC_BYTES], const void *key, size_t key_len,
	const void *data, size_t data_len);

/* The paper's KDF_n: HKDF with HMAC-BLAKE2s. Unwanted outputs are NULL from the last backwards.
 * out1 may be ck itself. */
void crypto_kdf(uint8_t *out1, uint8_t *out2, uint8_t *out3,
	const uint8_t ck[static CRYPTO_HASH_BYTES], const void *input, size_t input_len);

/* ChaCha20-Poly1305 with the nonce 0^32 || counter_le64. dst gets src_len + 16 bytes. In place is
 * fine. */
void crypto_aead_seal(uint8_t *dst, const void *src, size_t src_len, const void *aad,
	size_t aad_len, uint64_t counter, const uint8_t key[static CRYPTO_KEY_BYTES]);
/* src_len includes the tag. Returns false, dst zeroed, when the tag does not verify or src_len is
 * under 16. dst may be NULL when only a tag is expected. */
bool crypto_aead_open(uint8_t *dst, const void *src, size_t src_len, const void *aad,
	size_t aad_len, uint64_t counter, const uint8_t key[static CRYPTO_KEY_BYTES]);

/* XChaCha20-Poly1305, for cookies. Same contracts. */
void crypto_xaead_seal(uint8_t *dst, const void *src, size_t src_len, const void *aad,
	size_t aad_len, const uint8_t nonce[static CRYPTO_XNONCE_BYTES],
	const uint8_t key[static CRYPTO_KEY_BYTES]);
bool crypto_xaead_open(uint8_t *dst, const void *src, size_t src_len, const void *aad,
	size_t aad_len, const uint8_t nonce[static CRYPTO_XNONCE_BYTES],
	const uint8_t key[static CRYPTO_KEY_BYTES]);

/* Keyed hash for tables whose keys an attacker chooses: SipHash-2-4 (libsodium). */
#define CRYPTO_SIPHASH_KEY_BYTES 16
uint64_t crypto_siphash(
	const uint8_t key[static CRYPTO_SIPHASH_KEY_BYTES], const void *data, size_t len);

/* From the kernel's generator; never fails after crypto_init(). */
void crypto_random(void *out, size_t len);
/* Not removed by the optimiser. */
void crypto_wipe(void *p, size_t len);
/* Constant time. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* base64 of a 32-byte key, as wg(8) prints it. parse: 0 or -EINVAL (wrong length, alphabet or
 * padding); text may carry one trailing newline. */
int crypto_key_parse(const char *text, uint8_t out[static CRYPTO_KEY_BYTES]);
char *crypto_key_format(
	const uint8_t key[static CRYPTO_KEY_BYTES], char buf[static CRYPTO_KEY_TEXT_CHARS]);

#endif
