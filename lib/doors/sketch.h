/* sketch.h - how many different things were there, without keeping any of them: HyperLogLog.
 *
 * Spec:    Flajolet, Fusy, Gandouet, Meunier 2007; linear counting below 2.5 registers' worth.
 * Error:   256 registers: 1.04 / sqrt(256) = 6.5 % standard deviation; 64-bit hashes, so that no
 *          correction for collisions is due.
 * Threads: one writer; a reader sees each register whole, some later than others.
 */
#ifndef PORTIER_DOORS_SKETCH_H
#define PORTIER_DOORS_SKETCH_H

#include <stdint.h>

#define SKETCH_REGISTERS 256u

struct sketch {
	uint8_t registers[SKETCH_REGISTERS];
};

/* hash: uniform, and keyed where others choose what is counted. O(1). */
static inline void sketch_add(struct sketch *s, uint64_t hash)
{
	uint8_t *reg = &s->registers[hash % SKETCH_REGISTERS];
	/* The bit below ends the count where all others are zero. */
	uint8_t rank = (uint8_t)(__builtin_clzll(hash | SKETCH_REGISTERS / 2) + 1);

	if (rank > *reg)
		*reg = rank;
}

/* About how many different hashes were added. O(registers). */
uint64_t sketch_estimate(const struct sketch *s);

#endif
