/* lanes.h - ChaCha20-Poly1305 for a whole burst, a packet a lane of AVX-512. Private to lib/aead.
 *
 * Spec:    RFC 8439, with nonce and length block as in aead.h.
 * Threads: pure functions; one struct lanes for each thread.
 * Needs:   AVX-512 F, VL, BW, IFMA and VBMI2, and an operating system that saves its registers:
 *          the caller has looked (aead/lanes_backend.c).
 * Memory:  nothing is allocated. Reads and writes outside of a packet are masked: they neither
 *          fault nor change a byte, but cost hundreds of cycles where the page is not mapped
 *          for writing. LANES_MAPPED_BEFORE and _AFTER say how far they reach.
 * Secrets: all that was derived from keys is wiped from struct lanes, the stack and the vector
 *          registers before a call returns. Time depends on lengths, number and verdicts only.
 */
#ifndef PORTIER_AEAD_LANES_H
#define PORTIER_AEAD_LANES_H

#include "aead/aead.h"

#include <stddef.h>

/* The largest data room of a packet buffer. Longer jobs are refused: seal writes zeros, open says
 * that they are not authentic. */
#define LANES_LEN_MAX 65535u

/* Bytes in front of the text and behind the text (not the tag) that masked accesses may touch. */
#define LANES_MAPPED_BEFORE 48u
#define LANES_MAPPED_AFTER  64u

#define LANES_ALIGN 64

/* Working memory of one worker, LANES_ALIGN; no content outlives a call. */
struct lanes;

size_t lanes_bytes(void);

/* CPUID's leaf 1 and leaf 7 (Intel SDM, volume 2A), and XCR0, which is read only with OSXSAVE. */
struct lanes_features {
	uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, xcr0;
};
/* Is that all that the lanes with AVX-512, or those with AVX2, are compiled for? */
bool lanes_are_enough(const struct lanes_features *f);
bool lanes_avx2_are_enough(const struct lanes_features *f);

/* CPU and operating system have what this needs. (In lanes_backend.c: the rest of lanes may not be
 * entered to find out.) */
bool lanes_can_run(void);

/* Bursts of this many packets are never better off one by one. */
#define LANES_ALWAYS 16

/* About how many TSC cycles a burst of n jobs, 1 to LANES_ALWAYS - 1, takes on a Sapphire Rapids
 * core. Depends on lengths only. */
uint32_t lanes_cycles(const struct aead_job *jobs, uint16_t n);

/* n is 1 to AEAD_BURST_MAX, is_authentic of every job false on entry of open, which verifies before
 * it decrypts: where a tag is wrong, dst keeps its bytes. */
void lanes_seal(struct lanes *l, struct aead_job *jobs, uint16_t n);
void lanes_open(struct lanes *l, struct aead_job *jobs, uint16_t n);

#endif
