/* noise.c - the handshake, token by token. Names follow the paper: C chaining key, H hash. */
#include "noise/noise.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* Paper 5.4: the Noise protocol name, and the identifier of this use of it. */
static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

#define TAI64_EPOCH	 0x400000000000000aULL /* TAI64 label of the UNIX epoch: 2^62 + 10 s */
#define STAMP_GRAIN_MASK 0xffffffu

/* The running state of one handshake: C and H. Secret. */
struct symmetric {
	uint8_t chaining_key[CRYPTO_HASH_BYTES];
	uint8_t hash[CRYPTO_HASH_BYTES];
};

/* --- steps that the tokens are made of -----------------------------------------------------------
 */

/* H = HASH(H || data) */
static void mix_hash(struct symmetric *s, const void *data, size_t len)
{
	crypto_blake2s(s->hash, s->hash, sizeof(s->hash), data, len);
}

/* C = KDF1(C, input), or (C, k) = KDF2(C, input) when a key is wanted. */
static void mix_key(
	struct symmetric *s, const uint8_t input[static CRYPTO_KEY_BYTES], uint8_t *out_key)
{
	crypto_kdf(s->chaining_key, out_key, NULL, s->chaining_key, input, CRYPTO_KEY_BYTES);
}

/* Token DH: false when the result is zero. */
static bool mix_dh(struct symmetric *s, const struct crypto_x25519_key *key,
	const uint8_t public_key[static CRYPTO_KEY_BYTES], uint8_t *out_key)
{
	uint8_t shared[CRYPTO_KEY_BYTES]; /* wiped */
	bool is_good = crypto_x25519(key, public_key, shared) == 0;

	if (is_good)
		mix_key(s, shared, out_key);
	crypto_wipe(shared, sizeof(shared));
	return is_good;
}

/* Token e: the ephemeral goes into H, and because of the psk also into C (Noise 9.2). */
static void mix_ephemeral(struct symmetric *s, const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	mix_key(s, public_key, NULL);
	mix_hash(s, public_key, CRYPTO_KEY_BYTES);
}

/* Token psk: (C, t, k) = KDF3(C, Q), H = HASH(H || t). */
static void mix_preshared_key(struct symmetric *s,
	const uint8_t preshared_key[static CRYPTO_KEY_BYTES],
	uint8_t out_key[static CRYPTO_KEY_BYTES])
{
	uint8_t t[CRYPTO_HASH_BYTES]; /* wiped */

	crypto_kdf(s->chaining_key, t, out_key, s->chaining_key, preshared_key, CRYPTO_KEY_BYTES);
	mix_hash(s, t, sizeof(t));
	crypto_wipe(t, sizeof(t));
}

/* Each handshake key seals one message, so the counter is 0. H covers what was sealed. */
static void seal_and_hash(struct symmetric *s, uint8_t *dst, const void *src, size_t len,
	const uint8_t key[static CRYPTO_KEY_BYTES])
{
	crypto_aead_seal(dst, src, len, s->hash, sizeof(s->hash), 0, key);
	mix_hash(s, dst, len + CRYPTO_TAG_BYTES);
}

static bool open_and_hash(struct symmetric *s, uint8_t *dst, const uint8_t *src, size_t src_len,
	const uint8_t key[static CRYPTO_KEY_BYTES])
{
	if (!crypto_aead_open(dst, src, src_len, s->hash, sizeof(s->hash), 0, key))
		return false;
	mix_hash(s, src, src_len);
	return true;
}

/* C = HASH(construction) */
static void start_chaining_key(uint8_t out[static CRYPTO_HASH_BYTES])
{
	crypto_blake2s(out, construction, sizeof(construction) - 1, NULL, 0);
}

/* H = HASH(HASH(C || identifier) || S_responder) */
static void start_hash(
	uint8_t out[static CRYPTO_HASH_BYTES], const uint8_t responder[static CRYPTO_KEY_BYTES])
{
	start_chaining_key(out);
	crypto_blake2s(out, out, CRYPTO_HASH_BYTES, identifier, sizeof(identifier) - 1);
	crypto_blake2s(out, out, CRYPTO_HASH_BYTES, responder, CRYPTO_KEY_BYTES);
}

/* 5.4.5: T1 is the initiator's sending key, T2 the responder's. */
static void derive_keypair(
	const struct symmetric *s, const struct noise_remote *remote, struct noise_keypair *out)
{
	uint8_t *t1 = out->is_initiator ? out->send_key : out->recv_key;
	uint8_t *t2 = out->is_initiator ? out->recv_key : out->send_key;

	crypto_kdf(t1, t2, NULL, s->chaining_key, NULL, 0);
	out->local_idx = remote->local_idx;
	out->remote_idx = remote->remote_idx;
	out->send_counter = 0;
	noise_replay_init(&out->replay);
	out->is_live = true;
}

/* --- the two ends --------------------------------------------------------------------------------
 */

int noise_local_init(struct noise_local *local, const uint8_t private_key[static CRYPTO_KEY_BYTES])
{
	struct crypto_x25519_key *key = crypto_x25519_key_create(private_key);

	if (key == NULL)
		return -ENOMEM;
	local->key = key;
	crypto_x25519_key_public(key, local->public_key);
	start_hash(local->initial_hash, local->public_key);
	return 0;
}

void noise_local_fini(struct noise_local *local)
{
	crypto_x25519_key_destroy(local->key);
	crypto_wipe(local, sizeof(*local));
}

void noise_remote_init(struct noise_remote *remote, const struct noise_local *local,
	const uint8_t public_key[static CRYPTO_KEY_BYTES], const uint8_t *preshared_key)
{
	memset(remote, 0, sizeof(*remote));
	memcpy(remote->public_key, public_key, CRYPTO_KEY_BYTES);
	noise_remote_set_preshared_key(remote, preshared_key);
	start_hash(remote->initial_hash, public_key);
	remote->has_static_static =
		crypto_x25519(local->key, public_key, remote->static_static) == 0;
}

void noise_remote_set_preshared_key(struct noise_remote *remote, const uint8_t *preshared_key)
{
	if (preshared_key != NULL)
		memcpy(remote->preshared_key, preshared_key, CRYPTO_KEY_BYTES);
	else
		crypto_wipe(remote->preshared_key, CRYPTO_KEY_BYTES);
}

void noise_remote_fini(struct noise_remote *remote)
{
	crypto_wipe(remote, sizeof(*remote));
}

void noise_remote_reset(struct noise_remote *remote)
{
	remote->state = NOISE_IDLE;
	crypto_wipe(remote->hash, sizeof(remote->hash));
	crypto_wipe(remote->chaining_key, sizeof(remote->chaining_key));
	crypto_wipe(remote->ephemeral_private, sizeof(remote->ephemeral_private));
	crypto_wipe(remote->remote_ephemeral, sizeof(remote->remote_ephemeral));
	remote->local_idx = 0;
	remote->remote_idx = 0;
}

/* --- 5.4.2, first message: initiator to responder ------------------------------------------------
 */

enum noise_verdict noise_initiation_create(struct noise_remote *remote,
	const struct noise_local *local, uint32_t local_idx,
	const uint8_t ephemeral_private[static CRYPTO_KEY_BYTES],
	const uint8_t timestamp[static NOISE_TIMESTAMP_BYTES], struct wgmsg_initiation *out_msg)
{
	struct crypto_x25519_key *ephemeral = crypto_x25519_key_create(ephemeral_private);
	uint8_t key[CRYPTO_KEY_BYTES]; /* wiped */
	struct wgmsg_initiation msg = {0};
	struct symmetric s; /* wiped */
	enum noise_verdict verdict = NOISE_REJECT;

	if (ephemeral == NULL || !remote->has_static_static)
		goto out;
	start_chaining_key(s.chaining_key);
	memcpy(s.hash, remote->initial_hash, sizeof(s.hash));
	store_le32(msg.type_le32, WGMSG_INITIATION);
	store_le32(msg.sender_idx_le32, local_idx);

	/* e */
	crypto_x25519_key_public(ephemeral, msg.ephemeral);
	mix_ephemeral(&s, msg.ephemeral);
	/* es */
	if (!mix_dh(&s, ephemeral, remote->public_key, key))
		goto out;
	/* s */
	seal_and_hash(&s, msg.static_sealed, local->public_key, CRYPTO_KEY_BYTES, key);
	/* ss */
	mix_key(&s, remote->static_static, key);
	/* {t} */
	seal_and_hash(&s, msg.timestamp_sealed, timestamp, NOISE_TIMESTAMP_BYTES, key);

	noise_remote_reset(remote);
	memcpy(remote->hash, s.hash, sizeof(s.hash));
	memcpy(remote->chaining_key, s.chaining_key, sizeof(s.chaining_key));
	memcpy(remote->ephemeral_private, ephemeral_private, CRYPTO_KEY_BYTES);
	remote->local_idx = local_idx;
	remote->state = NOISE_INITIATION_SENT;
	*out_msg = msg;
	verdict = NOISE_OK;
out:
	crypto_x25519_key_destroy(ephemeral);
	crypto_wipe(key, sizeof(key));
	crypto_wipe(&s, sizeof(s));
	return verdict;
}

enum noise_verdict noise_initiation_open(const struct noise_local *local,
	const struct wgmsg_initiation *msg, struct noise_hello *out)
{
	uint8_t key[CRYPTO_KEY_BYTES]; /* wiped */
	uint8_t public_key[CRYPTO_KEY_BYTES];
	struct symmetric s; /* wiped */
	enum noise_verdict verdict = NOISE_REJECT;

	start_chaining_key(s.chaining_key);
	memcpy(s.hash, local->initial_hash, sizeof(s.hash));

	/* e */
	mix_ephemeral(&s, msg->ephemeral);
	/* es */
	if (!mix_dh(&s, local->key, msg->ephemeral, key))
		goto out;
	/* s */
	if (!open_and_hash(&s, public_key, msg->static_sealed, sizeof(msg->static_sealed), key))
		goto out;

	memcpy(out->public_key, public_key, sizeof(public_key));
	memcpy(out->hash, s.hash, sizeof(s.hash));
	memcpy(out->chaining_key, s.chaining_key, sizeof(s.chaining_key));
	memcpy(out->remote_ephemeral, msg->ephemeral, sizeof(msg->ephemeral));
	memcpy(out->timestamp_sealed, msg->timestamp_sealed, sizeof(msg->timestamp_sealed));
	out->remote_idx = load_le32(msg->sender_idx_le32);
	verdict = NOISE_OK;
out:
	crypto_wipe(key, sizeof(key));
	crypto_wipe(public_key, sizeof(public_key)); /* who talks to us is not for a later reader */
	crypto_wipe(&s, sizeof(s));
	return verdict;
}

enum noise_verdict noise_initiation_accept(struct noise_remote *remote, struct noise_hello *hello)
{
	uint8_t key[CRYPTO_KEY_BYTES]; /* wiped */
	uint8_t timestamp[NOISE_TIMESTAMP_BYTES];
	struct symmetric s; /* wiped */
	enum noise_verdict verdict = NOISE_REJECT;

	memcpy(s.hash, hello->hash, sizeof(s.hash));
	memcpy(s.chaining_key, hello->chaining_key, sizeof(s.chaining_key));
	if (!remote->has_static_static ||
		!crypto_equal(remote->public_key, hello->public_key, CRYPTO_KEY_BYTES))
		goto out;
	/* ss */
	mix_key(&s, remote->static_static, key);
	/* {t} */
	if (!open_and_hash(
		    &s, timestamp, hello->timestamp_sealed, sizeof(hello->timestamp_sealed), key))
		goto out;
	/* 5.1: TAI64N is big-endian, so its order is that of memcmp. */
	if (memcmp(timestamp, remote->last_timestamp, sizeof(timestamp)) <= 0)
		goto out;

	noise_remote_reset(remote);
	memcpy(remote->last_timestamp, timestamp, sizeof(timestamp));
	memcpy(remote->hash, s.hash, sizeof(s.hash));
	memcpy(remote->chaining_key, s.chaining_key, sizeof(s.chaining_key));
	memcpy(remote->remote_ephemeral, hello->remote_ephemeral, CRYPTO_KEY_BYTES);
	remote->remote_idx = hello->remote_idx;
	remote->state = NOISE_INITIATION_RECEIVED;
	verdict = NOISE_OK;
out:
	crypto_wipe(key, sizeof(key));
	crypto_wipe(&s, sizeof(s));
	crypto_wipe(hello, sizeof(*hello));
	return verdict;
}

/* --- 5.4.3, second message: responder to initiator -----------------------------------------------
 */

enum noise_verdict noise_response_create(struct noise_remote *remote, uint32_t local_idx,
	const uint8_t ephemeral_private[static CRYPTO_KEY_BYTES], struct wgmsg_response *out_msg,
	struct noise_keypair *out_keypair)
{
	struct crypto_x25519_key *ephemeral = NULL;
	uint8_t key[CRYPTO_KEY_BYTES]; /* wiped */
	struct wgmsg_response msg = {0};
	struct symmetric s; /* wiped */
	enum noise_verdict verdict = NOISE_REJECT;

	memcpy(s.hash, remote->hash, sizeof(s.hash));
	memcpy(s.chaining_key, remote->chaining_key, sizeof(s.chaining_key));
	if (remote->state != NOISE_INITIATION_RECEIVED)
		goto out;
	ephemeral = crypto_x25519_key_create(ephemeral_private);
	if (ephemeral == NULL)
		goto out;
	store_le32(msg.type_le32, WGMSG_RESPONSE);
	store_le32(msg.sender_idx_le32, local_idx);
	store_le32(msg.receiver_idx_le32, remote->remote_idx);

	/* e */
	crypto_x25519_key_public(ephemeral, msg.ephemeral);
	mix_ephemeral(&s, msg.ephemeral);
	/* ee */
	if (!mix_dh(&s, ephemeral, remote->remote_ephemeral, NULL))
		goto out;
	/* se */
	if (!mix_dh(&s, ephemeral, remote->public_key, NULL))
		goto out;
	/* psk */
	mix_preshared_key(&s, remote->preshared_key, key);
	/* {} */
	seal_and_hash(&s, msg.empty_sealed, NULL, 0, key);

	remote->local_idx = local_idx;
	out_keypair->is_initiator = false;
	derive_keypair(&s, remote, out_keypair);
	*out_msg = msg;
	noise_remote_reset(remote);
	verdict = NOISE_OK;
out:
	crypto_x25519_key_destroy(ephemeral);
	crypto_wipe(key, sizeof(key));
	crypto_wipe(&s, sizeof(s));
	return verdict;
}

enum noise_verdict noise_response_open(struct noise_remote *remote, const struct noise_local *local,
	const struct wgmsg_response *msg, struct noise_keypair *out_keypair)
{
	struct crypto_x25519_key *ephemeral = NULL;
	uint8_t key[CRYPTO_KEY_BYTES]; /* wiped */
	struct symmetric s;	       /* wiped */
	enum noise_verdict verdict = NOISE_REJECT;

	memcpy(s.hash, remote->hash, sizeof(s.hash));
	memcpy(s.chaining_key, remote->chaining_key, sizeof(s.chaining_key));
	if (remote->state != NOISE_INITIATION_SENT ||
		load_le32(msg->receiver_idx_le32) != remote->local_idx)
		goto out;
	ephemeral = crypto_x25519_key_create(remote->ephemeral_private);
	if (ephemeral == NULL)
		goto out;

	/* e */
	mix_ephemeral(&s, msg->ephemeral);
	/* ee */
	if (!mix_dh(&s, ephemeral, msg->ephemeral, NULL))
		goto out;
	/* se */
	if (!mix_dh(&s, local->key, msg->ephemeral, NULL))
		goto out;
	/* psk */
	mix_preshared_key(&s, remote->preshared_key, key);
	/* {} */
	if (!open_and_hash(&s, NULL, msg->empty_sealed, sizeof(msg->empty_sealed), key))
		goto out;

	remote->remote_idx = load_le32(msg->sender_idx_le32);
	out_keypair->is_initiator = true;
	derive_keypair(&s, remote, out_keypair);
	noise_remote_reset(remote);
	verdict = NOISE_OK;
out:
	crypto_x25519_key_destroy(ephemeral);
	crypto_wipe(key, sizeof(key));
	crypto_wipe(&s, sizeof(s));
	return verdict;
}

void noise_timestamp_build(uint64_t unix_s, uint32_t ns, uint8_t out[static NOISE_TIMESTAMP_BYTES])
{
	store_be64(out, TAI64_EPOCH + unix_s);
	store_be32(out + 8, ns & ~STAMP_GRAIN_MASK);
}
