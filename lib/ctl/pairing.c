#include "ctl/pairing.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

#define LABEL "portier pairing 1"

void pairing_init(struct pairing *p, const uint8_t private_key[static CRYPTO_KEY_BYTES],
	const struct ip_prefix *pool, unsigned n_pool)
{
	static_assert(sizeof(p->key) == CRYPTO_MAC_BYTES, "a MAC is the hash key");

	*p = (struct pairing){
		.pool = pool, .n_pool = n_pool, .n_addrs = ip_prefixes_count(pool, n_pool)};
	crypto_mac(p->key, private_key, CRYPTO_KEY_BYTES, LABEL, strlen(LABEL));
}

void pairing_fini(struct pairing *p)
{
	crypto_wipe(p->key, sizeof(p->key));
}

uint32_t pairing_address(const struct pairing *p, const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	struct ip_addr addr;
	uint64_t rank;

	if (p->n_addrs == 0)
		return 0;
	/* At most 2^16 addresses out of 2^64: the remainder favours none by more than 2^-48. */
	rank = crypto_siphash(p->key, public_key, CRYPTO_KEY_BYTES) % p->n_addrs;
	addr = ip_prefixes_at(p->pool, p->n_pool, rank);
	return load_be32(ip_v4_bytes(&addr));
}
