/* lanes_avx2.h - ChaCha20-Poly1305 for a whole burst, 8 blocks at a time, on CPUs without AVX-512.
 * Private to lib/aead.
 *
 * Spec:    RFC 8439, with nonce and length block as in aead.h.
 * Threads: pure functions; one struct lanes_avx2 for each thread.
 * Needs:   AVX2 and BMI2, and an operating system that saves the registers: the caller has looked
 *          (aead/lanes_backend.c).
 * Memory:  nothing is allocated; no byte outside of a packet is read or written.
 * Secrets: all that was derived from keys is wiped from struct lanes_avx2, the stack and the vector
 *          registers before a call returns. Time depends on lengths, number and verdicts only.
 * Cost:    against libipsec-mb, see lanes_backend.c.
 */
#ifndef PORTIER_AEAD_LANES_AVX2_H
#define PORTIER_AEAD_LANES_AVX2_H

#include "aead/aead.h"

#include <stddef.h>

/* Longer jobs are refused: seal writes zeros, open says that they are not authentic. */
#define LANES_AVX2_LEN_MAX 65535u

#define LANES_AVX2_ALIGN 64

/* Working memory of one worker, LANES_AVX2_ALIGN; no content outlives a call. */
struct lanes_avx2;

size_t lanes_avx2_bytes(void);

/* CPU and operating system have what this needs. (In lanes_backend.c: the rest may not be entered
 * to find out.) */
bool lanes_avx2_can_run(void);

/* n is 1 to AEAD_BURST_MAX, is_authentic of every job false on entry of open, which verifies before
 * it decrypts: where a tag is wrong, dst keeps its bytes. */
void lanes_avx2_seal(struct lanes_avx2 *l, struct aead_job *jobs, uint16_t n);
void lanes_avx2_open(struct lanes_avx2 *l, struct aead_job *jobs, uint16_t n);

#endif
