#include "cookie/cookie.h"

#include <stdlib.h>
#include <string.h>

#define WAYS	    8
#define TOKEN_NS    (NS_IN_S / COOKIE_LIMITER_PER_S)
#define BUCKET_NS   (COOKIE_LIMITER_BURST * TOKEN_NS)
#define ENTRIES_MAX (UINT32_C(1) << 28)

/* A token bucket as one point in time: full_ns is when it is full again, so an entry whose full_ns
 * has passed says nothing, and is free. */
struct entry {
	uint8_t source[sizeof(struct ip_addr)];
	uint64_t full_ns;
};

struct cookie_limiter {
	uint8_t hash_key[CRYPTO_SIPHASH_KEY_BYTES];
	uint32_t n_ways;
	uint32_t set_mask;
	struct entry entries[];
};

struct cookie_limiter *cookie_limiter_create(
	uint32_t n_entries, const uint8_t hash_key[static CRYPTO_SIPHASH_KEY_BYTES])
{
	struct cookie_limiter *l;
	uint32_t n = 1;

	if (n_entries == 0 || n_entries > ENTRIES_MAX)
		return NULL;
	while (n < n_entries)
		n *= 2;
	l = calloc(1, sizeof(*l) + n * sizeof(l->entries[0]));
	if (!l)
		return NULL;
	memcpy(l->hash_key, hash_key, sizeof(l->hash_key));
	l->n_ways = n < WAYS ? n : WAYS;
	l->set_mask = n / l->n_ways - 1;
	return l;
}

void cookie_limiter_destroy(struct cookie_limiter *l)
{
	if (!l)
		return;
	crypto_wipe(l->hash_key, sizeof(l->hash_key));
	free(l);
}

bool cookie_limiter_allow(struct cookie_limiter *l, const struct ip_addr *src, uint64_t now_ns)
{
	struct ip_addr source = *src;
	struct entry *set, *found = NULL;
	uint64_t from_ns;

	/* One IPv6 subscriber owns a /64. */
	if (!ip_is_v4(src))
		memset(source.bytes + 8, 0, 8);
	set = &l->entries[(crypto_siphash(l->hash_key, &source, sizeof(source)) & l->set_mask) *
			  l->n_ways];
	for (uint32_t i = 0; i < l->n_ways; i++) {
		if (set[i].full_ns > now_ns &&
			memcmp(set[i].source, source.bytes, sizeof(source.bytes)) == 0) {
			found = &set[i];
			break;
		}
		if (set[i].full_ns <= now_ns)
			found = &set[i];
	}
	if (!found)
		return false;
	from_ns = found->full_ns > now_ns ? found->full_ns : now_ns;
	if (from_ns + TOKEN_NS > now_ns + BUCKET_NS)
		return false;
	memcpy(found->source, source.bytes, sizeof(found->source));
	found->full_ns = from_ns + TOKEN_NS;
	return true;
}
