/* noise_parties.h - two ends of a handshake, for the tests of lib/noise. */
#ifndef PORTIER_TESTS_NOISE_PARTIES_H
#define PORTIER_TESTS_NOISE_PARTIES_H

#include "noise/noise.h"

#include "base/bytes.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

struct party {
	struct noise_local local;
	struct noise_remote remote; /* the other one */
};

static const uint8_t zero[sizeof(struct noise_remote)];

static inline void unhex(const char *text, uint8_t *out)
{
	for (size_t i = 0; i < strlen(text) / 2; i++) {
		unsigned byte;

		assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
		out[i] = (uint8_t)byte;
	}
}

static inline void assert_hex(const void *got, const char *want)
{
	uint8_t bytes[256];

	unhex(want, bytes);
	assert_memory_equal(got, bytes, strlen(want) / 2);
}

/* Keys and ephemerals that are made from one small number. */
static inline uint8_t *key_of(unsigned n)
{
	static uint8_t keys[4][32];
	static unsigned next;
	uint8_t *key = keys[next++ % N_OF(keys)];
	uint8_t seed[4];

	store_be32(seed, n);
	crypto_blake2s(key, "noise_test", 10, seed, sizeof(seed));
	return key;
}

static inline uint8_t *stamp_of(uint32_t n)
{
	static uint8_t stamp[NOISE_TIMESTAMP_BYTES];

	noise_timestamp_build(1700000000u + n, 0, stamp);
	return stamp;
}

static inline void parties_init(struct party *a, struct party *b, const uint8_t *psk)
{
	assert_int_equal(noise_local_init(&a->local, key_of(1)), 0);
	assert_int_equal(noise_local_init(&b->local, key_of(2)), 0);
	noise_remote_init(&a->remote, &a->local, b->local.public_key, psk);
	noise_remote_init(&b->remote, &b->local, a->local.public_key, psk);
}

static inline void parties_fini(struct party *a, struct party *b)
{
	noise_remote_fini(&a->remote);
	noise_remote_fini(&b->remote);
	assert_memory_equal(&a->remote, zero, sizeof(a->remote));
	noise_local_fini(&a->local);
	noise_local_fini(&b->local);
	assert_memory_equal(&a->local, zero, sizeof(a->local));
}

static inline enum noise_verdict initiate(
	struct party *p, uint32_t idx, uint32_t stamp, struct wgmsg_initiation *msg)
{
	return noise_initiation_create(
		&p->remote, &p->local, idx, key_of(1000 + idx), stamp_of(stamp), msg);
}

static inline enum noise_verdict receive(struct party *p, const struct wgmsg_initiation *msg)
{
	struct noise_hello hello;
	enum noise_verdict verdict;

	if (noise_initiation_open(&p->local, msg, &hello) == NOISE_REJECT)
		return NOISE_REJECT;
	verdict = noise_initiation_accept(&p->remote, &hello);
	assert_memory_equal(&hello, zero, sizeof(hello));
	return verdict;
}

static inline int init_crypto(void **state)
{
	(void)state;
	return crypto_init();
}

#endif
