/* noise_forge_test.c - messages from people who hold no key, or a key of low order. */
#include "noise_parties.h"

static void strangers_are_refused(void **state)
{
	struct wgmsg_initiation msg;
	struct noise_remote before, other;
	struct noise_hello hello, untouched;
	struct noise_local stranger;
	struct party a, b;

	(void)state;
	parties_init(&a, &b, NULL);
	assert_int_equal(noise_local_init(&stranger, key_of(4)), 0);
	assert_int_equal(initiate(&a, 7, 1, &msg), NOISE_OK);
	/* Not sealed to this gateway. */
	memset(&hello, 0xa5, sizeof(hello));
	memcpy(&untouched, &hello, sizeof(hello));
	assert_int_equal(noise_initiation_open(&stranger, &msg, &hello), NOISE_REJECT);
	assert_memory_equal(&hello, &untouched, sizeof(hello));
	/* Given to the wrong remote. */
	noise_remote_init(&other, &b.local, stranger.public_key, NULL);
	memcpy(&before, &other, sizeof(before));
	assert_int_equal(noise_initiation_open(&b.local, &msg, &hello), NOISE_OK);
	assert_int_equal(noise_initiation_accept(&other, &hello), NOISE_REJECT);
	assert_memory_equal(&other, &before, sizeof(before));
	assert_memory_equal(&hello, zero, sizeof(hello));
	noise_local_fini(&stranger);
	parties_fini(&a, &b);
}

/* Points whose multiples are all zero: 0, 1, the two of order 8, p - 1, p, p + 1. */
static const char *const low_order_points[] = {
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

/* What an attacker computes who lets a Diffie-Hellman be zero: then he knows each key. */
struct forger {
	uint8_t ck[32], h[32], key[32];
};

static void forge_hash(struct forger *f, const void *data, size_t len)
{
	crypto_blake2s(f->h, f->h, 32, data, len);
}

static void forge_initiation(const uint8_t responder[32], const uint8_t ephemeral[32],
	const uint8_t es[32], const uint8_t claimed[32], struct wgmsg_initiation *msg)
{
	static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
	static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";
	struct forger f;

	memset(msg, 0, sizeof(*msg));
	msg->type_le32[0] = WGMSG_INITIATION;
	crypto_blake2s(f.ck, construction, strlen(construction), NULL, 0);
	crypto_blake2s(f.h, f.ck, 32, identifier, strlen(identifier));
	forge_hash(&f, responder, 32);
	memcpy(msg->ephemeral, ephemeral, 32);
	crypto_kdf(f.ck, NULL, NULL, f.ck, ephemeral, 32);
	forge_hash(&f, ephemeral, 32);
	crypto_kdf(f.ck, f.key, NULL, f.ck, es, 32);
	crypto_aead_seal(msg->static_sealed, claimed, 32, f.h, 32, 0, f.key);
	forge_hash(&f, msg->static_sealed, sizeof(msg->static_sealed));
	crypto_kdf(f.ck, f.key, NULL, f.ck, zero, 32);
	crypto_aead_seal(
		msg->timestamp_sealed, stamp_of(1), NOISE_TIMESTAMP_BYTES, f.h, 32, 0, f.key);
}

static void low_order_ephemeral_in_an_initiation(void **state)
{
	struct wgmsg_initiation msg;
	struct noise_hello hello;
	uint8_t point[32], es[32];
	struct crypto_x25519_key *good;
	struct party a, b;

	(void)state;
	parties_init(&a, &b, NULL);
	for (size_t i = 0; i < N_OF(low_order_points); i++) {
		unhex(low_order_points[i], point);
		forge_initiation(b.local.public_key, point, zero, a.local.public_key, &msg);
		assert_int_equal(noise_initiation_open(&b.local, &msg, &hello), NOISE_REJECT);
	}
	/* The forger is a good one: with an honest ephemeral his first half is believed. */
	good = crypto_x25519_key_create(key_of(8));
	assert_non_null(good);
	crypto_x25519_key_public(good, point);
	assert_int_equal(crypto_x25519(good, b.local.public_key, es), 0);
	forge_initiation(b.local.public_key, point, es, a.local.public_key, &msg);
	assert_int_equal(noise_initiation_open(&b.local, &msg, &hello), NOISE_OK);
	assert_memory_equal(hello.public_key, a.local.public_key, 32);
	assert_int_equal(noise_initiation_accept(&b.remote, &hello), NOISE_REJECT);
	crypto_x25519_key_destroy(good);
	parties_fini(&a, &b);
}

static void low_order_static_key(void **state)
{
	struct wgmsg_initiation msg;
	struct noise_remote remote, before;
	struct noise_hello hello;
	uint8_t point[32], public_key[32], es[32];
	struct crypto_x25519_key *ephemeral = crypto_x25519_key_create(key_of(8));
	struct party a, b;

	(void)state;
	assert_non_null(ephemeral);
	parties_init(&a, &b, NULL);
	crypto_x25519_key_public(ephemeral, public_key);
	assert_int_equal(crypto_x25519(ephemeral, b.local.public_key, es), 0);
	for (size_t i = 0; i < N_OF(low_order_points); i++) {
		unhex(low_order_points[i], point);
		noise_remote_init(&remote, &b.local, point, NULL);
		memcpy(&before, &remote, sizeof(before));
		assert_false(remote.has_static_static);
		assert_int_equal(
			noise_initiation_create(&remote, &b.local, 7, key_of(9), stamp_of(1), &msg),
			NOISE_REJECT);
		forge_initiation(b.local.public_key, public_key, es, point, &msg);
		assert_int_equal(noise_initiation_open(&b.local, &msg, &hello), NOISE_OK);
		assert_int_equal(noise_initiation_accept(&remote, &hello), NOISE_REJECT);
		assert_memory_equal(&remote, &before, sizeof(before));
	}
	crypto_x25519_key_destroy(ephemeral);
	parties_fini(&a, &b);
}

/* A response under state that the forger knows: chaining key, hash and the two results. */
static void forge_response(const uint8_t ck[32], const uint8_t h[32], const uint8_t ephemeral[32],
	const uint8_t dh[2][32], struct wgmsg_response *msg)
{
	struct forger f;
	uint8_t t[32];

	memcpy(f.ck, ck, 32);
	memcpy(f.h, h, 32);
	memcpy(msg->ephemeral, ephemeral, 32);
	crypto_kdf(f.ck, NULL, NULL, f.ck, ephemeral, 32);
	forge_hash(&f, ephemeral, 32);
	crypto_kdf(f.ck, NULL, NULL, f.ck, dh[0], 32);
	crypto_kdf(f.ck, NULL, NULL, f.ck, dh[1], 32);
	crypto_kdf(f.ck, t, f.key, f.ck, zero, 32);
	forge_hash(&f, t, 32);
	crypto_aead_seal(msg->empty_sealed, NULL, 0, f.h, 32, 0, f.key);
}

static void low_order_ephemeral_in_a_response(void **state)
{
	static const uint8_t dh[2][32];
	struct noise_remote before;
	struct wgmsg_initiation initiation;
	struct wgmsg_response msg = {{WGMSG_RESPONSE}};
	struct noise_keypair kp;
	uint8_t point[32];
	struct party a, b;

	(void)state;
	parties_init(&a, &b, NULL);
	assert_int_equal(initiate(&a, 7, 1, &initiation), NOISE_OK);
	memcpy(&before, &a.remote, sizeof(before));
	store_le32(msg.receiver_idx_le32, 7);
	for (size_t i = 0; i < N_OF(low_order_points); i++) {
		unhex(low_order_points[i], point);
		forge_response(a.remote.chaining_key, a.remote.hash, point, dh, &msg);
		assert_int_equal(noise_response_open(&a.remote, &a.local, &msg, &kp), NOISE_REJECT);
		assert_memory_equal(&a.remote, &before, sizeof(before));
	}
	parties_fini(&a, &b);
}

/* All of an idle remote's handshake state is zero, so that everybody knows it: only the state
 * itself keeps a response out. */
static void response_without_an_initiation(void **state)
{
	struct crypto_x25519_key *ephemeral = crypto_x25519_key_create(key_of(8));
	struct crypto_x25519_key *wiped = crypto_x25519_key_create(zero);
	uint8_t public_key[32], dh[2][32];
	struct wgmsg_response msg = {{WGMSG_RESPONSE}};
	struct noise_remote before;
	struct noise_keypair kp;
	struct party a, b;

	(void)state;
	assert_non_null(ephemeral);
	assert_non_null(wiped);
	parties_init(&a, &b, NULL);
	memcpy(&before, &a.remote, sizeof(before));
	crypto_x25519_key_public(ephemeral, public_key);
	assert_int_equal(crypto_x25519(wiped, public_key, dh[0]), 0);
	assert_int_equal(crypto_x25519(ephemeral, a.local.public_key, dh[1]), 0);
	forge_response(zero, zero, public_key, dh, &msg);
	assert_int_equal(noise_response_open(&a.remote, &a.local, &msg, &kp), NOISE_REJECT);
	assert_memory_equal(&a.remote, &before, sizeof(before));
	crypto_x25519_key_destroy(ephemeral);
	crypto_x25519_key_destroy(wiped);
	parties_fini(&a, &b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strangers_are_refused),
		cmocka_unit_test(low_order_ephemeral_in_an_initiation),
		cmocka_unit_test(low_order_static_key),
		cmocka_unit_test(low_order_ephemeral_in_a_response),
		cmocka_unit_test(response_without_an_initiation),
	};

	return cmocka_run_group_tests(tests, init_crypto, NULL);
}
