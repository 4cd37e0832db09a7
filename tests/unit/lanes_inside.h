/* lanes_inside.h - the arithmetic of aead/lanes_*.h with inputs of the tests' choice.
 *
 * Needs AVX-512, as lanes.h; compiled with the flags of lanes.c.
 */
#ifndef PORTIER_TESTS_LANES_INSIDE_H
#define PORTIER_TESTS_LANES_INSIDE_H

#include "aead/lanes.h"

#include <stdint.h>

#define INSIDE_LANES	 16
#define INSIDE_POLY	 8
#define INSIDE_REGISTERS (32 * 64)

/* A block a lane, in whole vectors (n = 16) or half ones (n = 8). */
void inside_blocks(unsigned n, const uint8_t keys[][32], const uint64_t counters[],
	const uint32_t blocks[], uint8_t out[][64]);

/* Tags of 8 / width texts, followed by their length blocks, under keys r and s. */
void inside_tags(unsigned width, const uint8_t keys[][32], const uint8_t *const texts[],
	const uint32_t lens[], uint8_t tags[][16]);

/* What the vector registers hold after a call. */
void inside_seal_registers(
	struct lanes *l, struct aead_job *jobs, uint16_t n, uint8_t out[static INSIDE_REGISTERS]);

#endif
