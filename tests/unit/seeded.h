/* seeded.h - random numbers for tests: the seed is printed, and PORTIER_TEST_SEED sets it. */
#ifndef PORTIER_TEST_SEEDED_H
#define PORTIER_TEST_SEEDED_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t random_state;

/* Once, at the start of main. */
static inline void random_seed(void)
{
	const char *text = getenv("PORTIER_TEST_SEED");

	random_state = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	printf("PORTIER_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

/* How often a test with random input goes round: PORTIER_TEST_ROUNDS sets it for a long hunt. */
static inline uint64_t random_rounds(uint64_t usual)
{
	const char *text = getenv("PORTIER_TEST_ROUNDS");

	return text ? strtoull(text, NULL, 0) : usual;
}

/* splitmix64 */
static inline uint64_t random_u64(void)
{
	uint64_t z = (random_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline uint32_t random_below(uint32_t n)
{
	return (uint32_t)(random_u64() >> 32) % n;
}

static inline void random_bytes(void *out, size_t len)
{
	uint8_t *p = out;
	uint64_t eight;

	for (; len >= sizeof(eight); len -= sizeof(eight), p += sizeof(eight)) {
		eight = random_u64();
		memcpy(p, &eight, sizeof(eight));
	}
	eight = random_u64();
	memcpy(p, &eight, len);
}

#endif
