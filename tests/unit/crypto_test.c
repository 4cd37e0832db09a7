/* crypto_test.c - the primitives against their specifications. */
#include "crypto/crypto.h"

#include "../vectors/noise_vectors.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static size_t unhex(const char *text, uint8_t *out)
{
	size_t n = strlen(text) / 2;

	for (size_t i = 0; i < n; i++) {
		unsigned byte;

		assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
		out[i] = (uint8_t)byte;
	}
	return n;
}

static void assert_hex(const void *got, const char *want)
{
	uint8_t bytes[512];

	assert_true(strlen(want) <= 2 * sizeof(bytes));
	assert_memory_equal(got, bytes, unhex(want, bytes));
}

static int x25519(const uint8_t scalar[32], const uint8_t u[32], uint8_t out[32])
{
	struct crypto_x25519_key *key = crypto_x25519_key_create(scalar);
	int rc;

	assert_non_null(key);
	rc = crypto_x25519(key, u, out);
	crypto_x25519_key_destroy(key);
	return rc;
}

/* RFC 7748, 5.2: two vectors, then the iterated one. */
static void x25519_vectors(void **state)
{
	static const char *const vectors[][3] = {
		{"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
			"e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
			"c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
		{"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
			"e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
			"95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
	};
	uint8_t k[32] = {9}, u[32] = {9}, out[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(x25519(k, u, out), 0);
		memcpy(u, k, sizeof(u));
		memcpy(k, out, sizeof(k));
		if (i == 0)
			assert_hex(k, "422c8e7a6227d7bca1350b3e2bb7279f"
				      "7897b87bb6854b783c60e80311ae3079");
	}
	assert_hex(k, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
	for (size_t i = 0; i < N_OF(vectors); i++) {
		unhex(vectors[i][0], k);
		unhex(vectors[i][1], u);
		assert_int_equal(x25519(k, u, out), 0);
		assert_hex(out, vectors[i][2]);
	}
}

/* RFC 7748, 6.1. */
static void x25519_two_parties_agree(void **state)
{
	uint8_t a[32], b[32], a_public[32], b_public[32], out[32];
	struct crypto_x25519_key *a_key, *b_key;

	(void)state;
	unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", a);
	unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", b);
	a_key = crypto_x25519_key_create(a);
	b_key = crypto_x25519_key_create(b);
	assert_non_null(a_key);
	assert_non_null(b_key);
	crypto_x25519_key_public(a_key, a_public);
	crypto_x25519_key_public(b_key, b_public);
	assert_hex(a_public, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
	assert_hex(b_public, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
	/* Twice with one key: nothing of an operation stays in it. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(crypto_x25519(a_key, b_public, out), 0);
		assert_hex(out, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
		assert_int_equal(crypto_x25519(b_key, a_public, out), 0);
		assert_hex(out, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
	}
	crypto_x25519_key_destroy(a_key);
	crypto_x25519_key_destroy(b_key);
	crypto_x25519_key_destroy(NULL);
}

/* Every point of order 1, 2, 4 or 8, in each encoding that fits 255 bits. */
static const char *const low_order_points[] = {
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void x25519_refuses_low_order_points(void **state)
{
	static const uint8_t scalar[32] = {1, 2, 3};
	static const uint8_t zero[32], base[32] = {9};
	uint8_t u[32], out[32];

	(void)state;
	for (size_t i = 0; i < 2 * N_OF(low_order_points); i++) {
		unhex(low_order_points[i / 2], u);
		u[31] |= (uint8_t)(i % 2 << 7); /* the top bit is ignored */
		memset(out, 0xa5, sizeof(out));
		assert_int_equal(x25519(scalar, u, out), -EINVAL);
		assert_memory_equal(out, zero, sizeof(out));
	}
	assert_int_equal(x25519(scalar, base, out), 0);
}

static void fill(uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(i % 251);
}

static void blake2s_and_mac(void **state)
{
	uint8_t data[1024], key[32], out[32];

	(void)state;
	crypto_blake2s(out, "abc", 3, NULL, 0); /* RFC 7693, appendix B */
	assert_hex(out, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");

	fill(data, sizeof(data));
	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(0x80 + i);
	for (size_t i = 0; i < N_OF(hash_vectors); i++) {
		const struct hash_vector *v = &hash_vectors[i];

		/* Cut in two at the edges of a block, the result is the same. */
		for (size_t cut = 0; cut <= v->input_len; cut += cut < 66 ? 1 : 63) {
			crypto_blake2s(out, data, cut, data + cut, v->input_len - cut);
			assert_hex(out, v->hash);
		}
		crypto_mac(out, key, v->key_len, data, v->input_len);
		assert_hex(out, v->mac);
	}
}

static void kdf_vectors_hold(void **state)
{
	uint8_t key[32], input[256], out[3][32], untouched[32];
	size_t len;

	(void)state;
	memset(untouched, 0xa5, sizeof(untouched));
	for (size_t i = 0; i < N_OF(kdf_vectors); i++) {
		const struct kdf_vector *v = &kdf_vectors[i];

		unhex(v->key, key);
		len = unhex(v->input, input);
		crypto_kdf(out[0], out[1], out[2], key, len != 0 ? input : NULL, len);
		for (int k = 0; k < 3; k++)
			assert_hex(out[k], v->out[k]);
		memset(out, 0xa5, sizeof(out));
		crypto_kdf(out[0], out[1], NULL, key, input, len);
		assert_hex(out[1], v->out[1]);
		assert_memory_equal(out[2], untouched, 32);
		/* In place, as the chaining key is used. */
		crypto_kdf(key, NULL, NULL, key, input, len);
		assert_hex(key, v->out[0]);
	}
}

/* Seal is known; open gives it back; each byte changed, and each shorter length, is refused. */
#define CHECK_AEAD(name, nonce, plain, plain_len, aad, aad_len, key, sealed_hex)                   \
	do {                                                                                       \
		uint8_t sealed[512], bad[512], out[512], zero[512] = {0};                          \
		size_t sealed_len = (plain_len) + CRYPTO_TAG_BYTES;                                \
                                                                                                   \
		name##_seal(sealed, plain, plain_len, aad, aad_len, nonce, key);                   \
		assert_int_equal(strlen(sealed_hex), 2 * sealed_len);                              \
		assert_hex(sealed, sealed_hex);                                                    \
		memcpy(out, plain, plain_len);                                                     \
		name##_seal(out, out, plain_len, aad, aad_len, nonce, key);                        \
		assert_memory_equal(out, sealed, sealed_len);                                      \
		assert_true(name##_open(out, out, sealed_len, aad, aad_len, nonce, key));          \
		assert_memory_equal(out, plain, plain_len);                                        \
		for (size_t i = 0; i < sealed_len; i++) {                                          \
			memcpy(bad, sealed, sealed_len);                                           \
			bad[i] ^= 0x40;                                                            \
			memset(out, 0xa5, sizeof(out));                                            \
			assert_false(name##_open(out, bad, sealed_len, aad, aad_len, nonce, key)); \
			assert_memory_equal(out, zero, plain_len);                                 \
			assert_false(name##_open(out, sealed, i, aad, aad_len, nonce, key));       \
		}                                                                                  \
		assert_false(name##_open(out, sealed, sealed_len, aad, aad_len - 1, nonce, key));  \
	} while (0)

/* RFC 8439, A.5: its nonce is our 32 zero bits and a 64-bit counter. */
static void aead_vector(void **state)
{
	static const char plain[] =
		"Internet-Drafts are draft documents valid for a maximum of six months and may be "
		"updated, replaced, or obsoleted by other documents at any time. It is "
		"inappropriate "
		"to use Internet-Drafts as reference material or to cite them other than as "
		"/\xe2\x80\x9cwork in progress./\xe2\x80\x9d";
	uint8_t key[32], aad[12];

	(void)state;
	unhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0", key);
	unhex("f33388860000000000004e91", aad);
	CHECK_AEAD(crypto_aead, 0x0807060504030201ULL, plain, sizeof(plain) - 1, aad, sizeof(aad),
		key,
		"64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
		"4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf"
		"332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
		"9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4"
		"b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e"
		"af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
		"0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
		"49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29"
		"a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38");
}

static void aead_of_nothing(void **state)
{
	static const uint8_t key[32] = {7};
	uint8_t tag[CRYPTO_TAG_BYTES];

	(void)state;
	crypto_aead_seal(tag, NULL, 0, "aad", 3, 0, key);
	assert_true(crypto_aead_open(NULL, tag, sizeof(tag), "aad", 3, 0, key));
	assert_false(crypto_aead_open(NULL, tag, sizeof(tag), "aae", 3, 0, key));
	assert_false(crypto_aead_open(NULL, tag, sizeof(tag), "aad", 3, 1, key));
	assert_false(crypto_aead_open(NULL, tag, sizeof(tag) - 1, "aad", 3, 0, key));
}

/* draft-irtf-cfrg-xchacha-03, A.3.1. */
static void xaead_vector(void **state)
{
	static const char plain[] = "Ladies and Gentlemen of the class of '99: If I could offer "
				    "you only one tip for the "
				    "future, sunscreen would be it.";
	uint8_t key[32], nonce[24], aad[12];

	(void)state;
	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(0x80 + i);
	for (unsigned i = 0; i < sizeof(nonce); i++)
		nonce[i] = (uint8_t)(0x40 + i);
	unhex("50515253c0c1c2c3c4c5c6c7", aad);
	CHECK_AEAD(crypto_xaead, nonce, plain, sizeof(plain) - 1, aad, sizeof(aad), key,
		"bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
		"731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
		"2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
		"21f9664c97637da9768812f615c68b13b52e"
		"c0875924c1c7987947deafd8780acf49");
}

static void siphash_vectors(void **state)
{
	uint8_t key[16], data[15];

	(void)state;
	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	memcpy(data, key, sizeof(data));
	/* SipHash paper, appendix A, and its first reference output. */
	assert_true(crypto_siphash(key, data, sizeof(data)) == 0xa129ca6149be45e5ULL);
	assert_true(crypto_siphash(key, data, 0) == 0x726fdb47dd0e0e31ULL);
}

static void random_wipe_and_equal(void **state)
{
	uint8_t a[64] = {0}, b[64] = {0}, zero[64] = {0};

	(void)state;
	assert_true(crypto_equal(a, b, sizeof(a)));
	crypto_random(a, sizeof(a));
	crypto_random(b, sizeof(b));
	assert_memory_not_equal(a, zero, sizeof(a));
	assert_memory_not_equal(a, b, sizeof(a));
	memcpy(b, a, sizeof(b));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] ^= 1;
		assert_false(crypto_equal(a, b, sizeof(a)));
		assert_true(crypto_equal(a, b, i));
		b[i] ^= 1;
	}
	crypto_wipe(a + 1, sizeof(a) - 2);
	assert_memory_equal(a + 1, zero, sizeof(a) - 2);
	assert_int_equal(a[0], b[0]);
	assert_int_equal(a[63], b[63]);
}

static void keys_as_text(void **state)
{
	static const char text[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
	static const char *const bad[] = {"", "=", "\n",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= ",
		" AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8A", /* 33 bytes */
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh==", /* 31 bytes */
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", /* stray low bits */
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX-BkaGxwdHh8=", /* URL alphabet */
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\nBkaGxwdHh8=", "00010203040506070809",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"};
	uint8_t key[32], back[32], before[32];
	char buf[CRYPTO_KEY_TEXT_CHARS];

	(void)state;
	fill(key, sizeof(key));
	assert_ptr_equal(crypto_key_format(key, buf), buf);
	assert_string_equal(buf, text);
	assert_int_equal(crypto_key_parse(text, back), 0);
	assert_memory_equal(back, key, sizeof(key));
	assert_int_equal(
		crypto_key_parse("//////////////////////////////////////////8=\n", back), 0);
	memset(before, 0xff, sizeof(before));
	assert_memory_equal(back, before, sizeof(back));
	for (size_t i = 0; i < N_OF(bad); i++) {
		assert_int_equal(crypto_key_parse(bad[i], back), -EINVAL);
		assert_memory_equal(back, before, sizeof(back));
	}
}

static int init_crypto(void **state)
{
	(void)state;
	return crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(x25519_vectors),
		cmocka_unit_test(x25519_two_parties_agree),
		cmocka_unit_test(x25519_refuses_low_order_points),
		cmocka_unit_test(blake2s_and_mac),
		cmocka_unit_test(kdf_vectors_hold),
		cmocka_unit_test(aead_vector),
		cmocka_unit_test(aead_of_nothing),
		cmocka_unit_test(xaead_vector),
		cmocka_unit_test(siphash_vectors),
		cmocka_unit_test(random_wipe_and_equal),
		cmocka_unit_test(keys_as_text),
	};

	return cmocka_run_group_tests(tests, init_crypto, NULL);
}
