/* crypto.c - the primitives of the handshake, over OpenSSL, libb2 and libsodium. */
#include "crypto/crypto.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <blake2.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>

#define HMAC_BLOCK_BYTES BLAKE2S_BLOCKBYTES
#define KEY_TEXT_LEN	 (CRYPTO_KEY_TEXT_CHARS - 1)

static_assert(BLAKE2S_OUTBYTES == CRYPTO_HASH_BYTES, "");
static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == CRYPTO_TAG_BYTES, "");
static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == CRYPTO_XNONCE_BYTES, "");
static_assert(crypto_shorthash_KEYBYTES == CRYPTO_SIPHASH_KEY_BYTES, "");
static_assert(crypto_shorthash_BYTES == sizeof(uint64_t), "");

struct crypto_x25519_key {
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *derive; /* initialised once; each operation works on a copy */
	uint8_t public_key[CRYPTO_KEY_BYTES];
};

/* RFC 7693, appendix B. */
static bool is_blake2s_sane(void)
{
	static const uint8_t abc[CRYPTO_HASH_BYTES] = {0x50, 0x8c, 0x5e, 0x8c, 0x32, 0x7c, 0x14,
		0xe2, 0xe1, 0xa7, 0x2b, 0xa3, 0x4e, 0xeb, 0x45, 0x2f, 0x37, 0x45, 0x8b, 0x20, 0x9e,
		0xd6, 0x3a, 0x29, 0x4d, 0x99, 0x9b, 0x4c, 0x86, 0x67, 0x59, 0x82};
	uint8_t hash[CRYPTO_HASH_BYTES];
	uint8_t mac[CRYPTO_MAC_BYTES];

	crypto_blake2s(hash, "abc", 3, NULL, 0);
	/* libb2 picks its code for this CPU at the first call of each function, without a lock:
	 * the keyed form is called here too, before there are threads. */
	crypto_mac(mac, hash, sizeof(hash), "", 0);
	return memcmp(hash, abc, sizeof(hash)) == 0;
}

int crypto_init(void)
{
	/* Fetched here, an algorithm stays in OpenSSL's cache for the implicit fetches below. */
	EVP_KEYMGMT *keymgmt = EVP_KEYMGMT_fetch(NULL, "X25519", NULL);
	EVP_KEYEXCH *keyexch = EVP_KEYEXCH_fetch(NULL, "X25519", NULL);
	bool has_x25519 = keymgmt != NULL && keyexch != NULL;

	EVP_KEYMGMT_free(keymgmt);
	EVP_KEYEXCH_free(keyexch);
	if (!has_x25519 || sodium_init() < 0 || !is_blake2s_sane())
		return -ENOSYS;
	return 0;
}

/* Both halves are given: OpenSSL would otherwise compute the public one itself, which takes it 80
 * us where libsodium takes 49. */
static EVP_PKEY *create_pkey(const uint8_t private_key[static CRYPTO_KEY_BYTES],
	const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(
			OSSL_PKEY_PARAM_PRIV_KEY, (void *)private_key, CRYPTO_KEY_BYTES),
		OSSL_PARAM_construct_octet_string(
			OSSL_PKEY_PARAM_PUB_KEY, (void *)public_key, CRYPTO_KEY_BYTES),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL);
	EVP_PKEY *pkey = NULL;

	if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
		EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

struct crypto_x25519_key *crypto_x25519_key_create(
	const uint8_t private_key[static CRYPTO_KEY_BYTES])
{
	struct crypto_x25519_key *key = calloc(1, sizeof(*key));

	if (key == NULL)
		return NULL;
	crypto_scalarmult_base(key->public_key, private_key);
	key->pkey = create_pkey(private_key, key->public_key);
	if (key->pkey == NULL)
		goto fail;
	key->derive = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	if (key->derive == NULL || EVP_PKEY_derive_init(key->derive) != 1)
		goto fail;
	return key;

fail:
	ERR_clear_error();
	crypto_x25519_key_destroy(key);
	return NULL;
}

void crypto_x25519_key_destroy(struct crypto_x25519_key *key)
{
	if (key == NULL)
		return;
	EVP_PKEY_CTX_free(key->derive);
	EVP_PKEY_free(key->pkey); /* clears the private key */
	free(key);
}

void crypto_x25519_key_public(
	const struct crypto_x25519_key *key, uint8_t out[static CRYPTO_KEY_BYTES])
{
	memcpy(out, key->public_key, CRYPTO_KEY_BYTES);
}

int crypto_x25519(const struct crypto_x25519_key *key,
	const uint8_t public_key[static CRYPTO_KEY_BYTES], uint8_t out[static CRYPTO_KEY_BYTES])
{
	uint8_t shared[CRYPTO_KEY_BYTES]; /* wiped */
	size_t len = sizeof(shared);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_dup(key->derive);
	EVP_PKEY *peer =
		EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, public_key, CRYPTO_KEY_BYTES);
	int rc = -EINVAL;

	/* OpenSSL fails on an all-zero result (RFC 7748, 6.1). */
	if (ctx != NULL && peer != NULL && EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) == 1 &&
		EVP_PKEY_derive(ctx, shared, &len) == 1 && len == sizeof(shared)) {
		memcpy(out, shared, sizeof(shared));
		rc = 0;
	} else {
		ERR_clear_error();
		memset(out, 0, CRYPTO_KEY_BYTES);
	}
	EVP_PKEY_free(peer);
	EVP_PKEY_CTX_free(ctx);
	crypto_wipe(shared, sizeof(shared));
	return rc;
}

void crypto_blake2s(uint8_t out[static CRYPTO_HASH_BYTES], const void *a, size_t a_len,
	const void *b, size_t b_len)
{
	blake2s_state s; /* wiped */

	blake2s_init(&s, CRYPTO_HASH_BYTES);
	blake2s_update(&s, a, a_len);
	if (b_len != 0)
		blake2s_update(&s, b, b_len);
	blake2s_final(&s, out, CRYPTO_HASH_BYTES);
	crypto_wipe(&s, sizeof(s));
}

void crypto_mac(uint8_t out[static CRYPTO_MAC_BYTES], const void *key, size_t key_len,
	const void *data, size_t data_len)
{
	blake2s_state s; /* wiped */

	assert(key_len >= 1 && key_len <= BLAKE2S_KEYBYTES);
	blake2s_init_key(&s, CRYPTO_MAC_BYTES, key, key_len);
	blake2s_update(&s, data, data_len);
	blake2s_final(&s, out, CRYPTO_MAC_BYTES);
	crypto_wipe(&s, sizeof(s));
}

/* RFC 2104 over BLAKE2s, for keys that fit a block. The key's two pads are absorbed once, so that
 * several messages under one key cost two compressions less each. */
struct hmac_key {
	blake2s_state inner, outer;
};

static void hmac_key_init(struct hmac_key *h, const uint8_t key[static CRYPTO_HASH_BYTES])
{
	uint8_t pad[HMAC_BLOCK_BYTES]; /* wiped */

	memset(pad, 0x36, sizeof(pad));
	for (unsigned i = 0; i < CRYPTO_HASH_BYTES; i++)
		pad[i] ^= key[i];
	blake2s_init(&h->inner, CRYPTO_HASH_BYTES);
	blake2s_update(&h->inner, pad, sizeof(pad));
	for (unsigned i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	blake2s_init(&h->outer, CRYPTO_HASH_BYTES);
	blake2s_update(&h->outer, pad, sizeof(pad));
	crypto_wipe(pad, sizeof(pad));
}

static void hmac_build(const struct hmac_key *h, const void *data, size_t len,
	uint8_t out[static CRYPTO_HASH_BYTES])
{
	blake2s_state s = h->inner;	  /* wiped */
	uint8_t inner[CRYPTO_HASH_BYTES]; /* wiped */

	if (len != 0)
		blake2s_update(&s, data, len);
	blake2s_final(&s, inner, sizeof(inner));
	s = h->outer;
	blake2s_update(&s, inner, sizeof(inner));
	blake2s_final(&s, out, CRYPTO_HASH_BYTES);
	crypto_wipe(&s, sizeof(s));
	crypto_wipe(inner, sizeof(inner));
}

void crypto_kdf(uint8_t *out1, uint8_t *out2, uint8_t *out3,
	const uint8_t ck[static CRYPTO_HASH_BYTES], const void *input, size_t input_len)
{
	uint8_t *const outs[] = {out1, out2, out3};
	struct hmac_key h;		      /* wiped */
	uint8_t block[CRYPTO_HASH_BYTES + 1]; /* wiped; T(i - 1) || i */

	/* Extract: the pseudo-random key. */
	hmac_key_init(&h, ck);
	hmac_build(&h, input, input_len, block);
	/* Expand: T(1) = HMAC(prk, 1), T(i) = HMAC(prk, T(i - 1) || i). */
	hmac_key_init(&h, block);
	for (unsigned i = 0; i < 3 && outs[i] != NULL; i++) {
		block[CRYPTO_HASH_BYTES] = (uint8_t)(i + 1);
		if (i == 0)
			hmac_build(&h, block + CRYPTO_HASH_BYTES, 1, block);
		else
			hmac_build(&h, block, sizeof(block), block);
		memcpy(outs[i], block, CRYPTO_HASH_BYTES);
	}
	crypto_wipe(&h, sizeof(h));
	crypto_wipe(block, sizeof(block));
}

static void build_nonce(uint64_t counter, uint8_t nonce[static 12])
{
	store_le32(nonce, 0);
	store_le64(nonce + 4, counter);
}

void crypto_aead_seal(uint8_t *dst, const void *src, size_t src_len, const void *aad,
	size_t aad_len, uint64_t counter, const uint8_t key[static CRYPTO_KEY_BYTES])
{
	uint8_t nonce[12];

	build_nonce(counter, nonce);
	crypto_aead_chacha20poly1305_ietf_encrypt(
		dst, NULL, src, src_len, aad, aad_len, NULL, nonce, key);
}

bool crypto_aead_open(uint8_t *dst, const void *src, size_t src_len, const void *aad,
	size_t aad_len, uint64_t counter, const uint8_t key[static CRYPTO_KEY_BYTES])
{
	uint8_t nonce[12];

	build_nonce(counter, nonce);
	return crypto_aead_chacha20poly1305_ietf_decrypt(
		       dst, NULL, NULL, src, src_len, aad, aad_len, nonce, key) == 0;
}

void crypto_xaead_seal(uint8_t *dst, const void *src, size_t src_len, const void *aad,
	size_t aad_len, const uint8_t nonce[static CRYPTO_XNONCE_BYTES],
	const uint8_t key[static CRYPTO_KEY_BYTES])
{
	crypto_aead_xchacha20poly1305_ietf_encrypt(
		dst, NULL, src, src_len, aad, aad_len, NULL, nonce, key);
}

bool crypto_xaead_open(uint8_t *dst, const void *src, size_t src_len, const void *aad,
	size_t aad_len, const uint8_t nonce[static CRYPTO_XNONCE_BYTES],
	const uint8_t key[static CRYPTO_KEY_BYTES])
{
	return crypto_aead_xchacha20poly1305_ietf_decrypt(
		       dst, NULL, NULL, src, src_len, aad, aad_len, nonce, key) == 0;
}

uint64_t crypto_siphash(
	const uint8_t key[static CRYPTO_SIPHASH_KEY_BYTES], const void *data, size_t len)
{
	uint8_t out[crypto_shorthash_BYTES];

	crypto_shorthash(out, data, len, key);
	return load_le64(out);
}

void crypto_random(void *out, size_t len)
{
	randombytes_buf(out, len);
}

void crypto_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}

int crypto_key_parse(const char *text, uint8_t out[static CRYPTO_KEY_BYTES])
{
	uint8_t key[CRYPTO_KEY_BYTES]; /* wiped */
	size_t text_len = strnlen(text, KEY_TEXT_LEN + 2), key_len = 0;
	int rc = -EINVAL;

	if (text_len == KEY_TEXT_LEN + 1 && text[KEY_TEXT_LEN] == '\n')
		text_len--;
	if (text_len != KEY_TEXT_LEN)
		return -EINVAL;
	if (sodium_base642bin(key, sizeof(key), text, text_len, NULL, &key_len, NULL,
		    sodium_base64_VARIANT_ORIGINAL) == 0 &&
		key_len == sizeof(key)) {
		memcpy(out, key, sizeof(key));
		rc = 0;
	}
	crypto_wipe(key, sizeof(key));
	return rc;
}

char *crypto_key_format(
	const uint8_t key[static CRYPTO_KEY_BYTES], char buf[static CRYPTO_KEY_TEXT_CHARS])
{
	return sodium_bin2base64(
		buf, CRYPTO_KEY_TEXT_CHARS, key, CRYPTO_KEY_BYTES, sodium_base64_VARIANT_ORIGINAL);
}
