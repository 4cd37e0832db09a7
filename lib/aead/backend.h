/* backend.h - what a back end of aead is made of. Private to lib/aead.
 *
 * Threads: as aead.h.
 */
#ifndef PORTIER_AEAD_BACKEND_H
#define PORTIER_AEAD_BACKEND_H

#include "aead/aead.h"
#include "base/bytes.h"

#define AEAD_NONCE_BYTES 12

struct aead_ops {
	const char *name;
	/* NULL when memory is out or the CPU is not enough. */
	void *(*create)(int socket_id);
	/* Wipes; never called with NULL. */
	void (*destroy)(void *state);
	/* n is 1 to AEAD_BURST_MAX; is_authentic of every job is false on entry. */
	void (*seal_burst)(void *state, struct aead_job *jobs, uint16_t n);
	void (*open_burst)(void *state, struct aead_job *jobs, uint16_t n);
};

extern const struct aead_ops aead_ipsec_mb_ops;
extern const struct aead_ops aead_openssl_ops;
extern const struct aead_ops aead_lanes_ops;

/* Known vectors sealed and opened, in one burst, in small ones and one by one, and each of them
 * refused when forged. */
bool aead_selftest(const struct aead_ops *ops, void *state);

static inline void build_nonce(uint8_t nonce[static AEAD_NONCE_BYTES], uint64_t counter)
{
	memset(nonce, 0, 4);
	store_le64(nonce + 4, counter);
}

/* What leaves instead of a packet that could not be sealed. */
static inline void blank_job(const struct aead_job *job)
{
	memset(job->dst, 0, (size_t)job->len + AEAD_TAG_BYTES);
}

#endif
