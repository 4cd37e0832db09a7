/* lanes_inside.h - both kinds of lanes, whole and in parts, with inputs of the tests' choice.
 *
 * Only kinds that can run here may be entered; each is compiled with the flags of its source.
 */
#ifndef PORTIER_TESTS_LANES_INSIDE_H
#define PORTIER_TESTS_LANES_INSIDE_H

#include "aead/aead.h"

#include <stddef.h>
#include <stdint.h>

#define INSIDE_LANES	 16
#define INSIDE_POLY	 8
#define INSIDE_VECTORS	 (32 * 64)
#define INSIDE_REGISTERS (INSIDE_VECTORS + 9 * 8)
#define INSIDE_ALIGN	 64
#define INSIDE_LEN_MAX	 65535u

struct inside {
	const char *name;
	bool (*can_run)(void);

	size_t (*bytes)(void);
	void (*seal)(void *lanes, struct aead_job *jobs, uint16_t n);
	void (*open)(void *lanes, struct aead_job *jobs, uint16_t n);

	/* A block a lane, in vectors of n lanes: 8 and, if there are so many, 16. */
	unsigned max_lanes;
	void (*blocks)(unsigned n, const uint8_t keys[][32], const uint64_t counters[],
		const uint32_t blocks[], uint8_t out[][64]);

	/* Tags of 8 / width texts, followed by their length blocks, under keys r and s; width 1, 2
	 * or 4, but not more than this. */
	unsigned max_width;
	void (*tags)(unsigned width, const uint8_t keys[][32], const uint8_t *const texts[],
		const uint32_t lens[], uint8_t tags[][16]);

	/* What the vector registers hold after a call, and then the general ones that are the
	 * caller's to save; 0 for those that are not used. */
	void (*registers)(void *lanes, struct aead_job *jobs, uint16_t n, bool is_seal,
		uint8_t out[static INSIDE_REGISTERS]);
};

/* Right behind a call; the general registers first, before anything else needs them. */
#define INSIDE_SAVE_GENERAL(to)                                                        \
	__asm__ volatile("movq %%rax, %0\n\tmovq %%rcx, %1\n\tmovq %%rdx, %2\n\t"      \
			 "movq %%rsi, %3\n\tmovq %%rdi, %4\n\tmovq %%r8, %5\n\t"       \
			 "movq %%r9, %6\n\tmovq %%r10, %7\n\tmovq %%r11, %8"           \
			 : "=m"((to)[0]), "=m"((to)[1]), "=m"((to)[2]), "=m"((to)[3]), \
			 "=m"((to)[4]), "=m"((to)[5]), "=m"((to)[6]), "=m"((to)[7]),   \
			 "=m"((to)[8]))

extern const struct inside inside_avx512, inside_avx2;

/* The group of tests once for each kind that can run here, named; with PORTIER_TEST_LANES only for
 * the kind of that name. Returns main's exit status: 77 if none can. */
int inside_run_each(int (*group)(void));
/* The one whose turn it is, and its working memory, zero at the beginning. */
extern const struct inside *inside;
extern void *inside_lanes;

#endif
