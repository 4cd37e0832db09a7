/* aead.h - ChaCha20-Poly1305 over bursts of packets with different keys.
 *
 * Spec:      RFC 8439, section 2.8, with the WireGuard nonce: 32 zero bits, then the 64-bit
 *            counter, little-endian; no associated data.
 * Back ends: libipsec-mb (burst API), OpenSSL EVP (cached context), lanes that work across the
 *            packets of a burst, with AVX-512 or AVX2. Chosen once at start.
 * Threads:   one struct aead per worker, used by that worker only.
 * Contract:  a burst goes to the back end whole: the lanes win only by what is in one call.
 */
#ifndef PORTIER_AEAD_H
#define PORTIER_AEAD_H

#include <stdbool.h>
#include <stdint.h>

#define AEAD_BURST_MAX 64
#define AEAD_KEY_BYTES 32
#define AEAD_TAG_BYTES 16

/* One packet. dst may be src (in place) but may not overlap it otherwise. */
struct aead_job {
	const uint8_t *key; /* AEAD_KEY_BYTES */
	uint64_t counter;
	const uint8_t *src; /* plaintext; for open: ciphertext, followed by the tag */
	uint8_t *dst;	    /* seal: ciphertext, followed by the tag; open: plaintext */
	uint32_t len;	    /* plaintext bytes, 0 and up */
	/* Out, open only: the tag verified. When false, dst's content is undefined and must not be
	 * looked at. */
	bool is_authentic;
};

enum aead_backend {
	AEAD_AUTO = 0, /* the fastest that passes its self-test on this CPU */
	AEAD_IPSEC_MB,
	AEAD_OPENSSL,
	AEAD_LANES,
};

const char *aead_backend_name(enum aead_backend b);

/* Each back end first proves itself on known vectors (seal, open, forged tags and ciphertext are
 * refused); then those that did are timed, for about 10 ms in all, and with AUTO the fastest is
 * chosen. Returns the back end; AEAD_AUTO when none works, or the wanted one does not. *seal_cycles
 * (may be NULL): its TSC cycles a packet, of seven of 64 bytes, four of 576 and one of 1,420.
 * Control thread, before workers start.
 */
enum aead_backend aead_select(enum aead_backend wanted, uint64_t *seal_cycles);

struct aead;
/* NULL when memory is out or b is no back end of this CPU. socket_id: NUMA socket of the worker. */
struct aead *aead_create(enum aead_backend b, int socket_id);
/* Wipes; NULL is fine. */
void aead_destroy(struct aead *a);

/* n is at most AEAD_BURST_MAX. Should a back end ever fail at a packet, seal writes zeros instead
 * (never the plaintext; no peer accepts it) and open says that it is not authentic. Tags are
 * compared in constant time. */
void aead_seal_burst(struct aead *a, struct aead_job *jobs, uint16_t n);
void aead_open_burst(struct aead *a, struct aead_job *jobs, uint16_t n);

#endif
