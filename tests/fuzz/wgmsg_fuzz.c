/* wgmsg_fuzz.c - any UDP payload, as a worker and the handshake thread meet it: classified, then
 * given to the handshake in both roles. Nothing may be accepted that was not made with the keys,
 * and a refused message leaves the remote as it was.
 */
#include "noise/noise.h"

#include <stdlib.h>
#include <string.h>

static struct noise_local local;
static struct noise_remote remote, before;

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* The keys differ in their second byte, since clamping clears low bits of the first.
 * An initiation of ours is in flight, so that responses get as far as they can. */
static void set_up(void)
{
	static const uint8_t ours[CRYPTO_KEY_BYTES] = {[1] = 1},
			     theirs[CRYPTO_KEY_BYTES] = {[1] = 2};
	static const uint8_t ephemeral[CRYPTO_KEY_BYTES] = {[1] = 3};
	static const uint8_t timestamp[NOISE_TIMESTAMP_BYTES] = {0x40};
	struct crypto_x25519_key *key;
	struct wgmsg_initiation msg;
	uint8_t public_key[CRYPTO_KEY_BYTES];

	require(crypto_init() == 0);
	require(noise_local_init(&local, ours) == 0);
	key = crypto_x25519_key_create(theirs);
	require(key != NULL);
	crypto_x25519_key_public(key, public_key);
	crypto_x25519_key_destroy(key);
	noise_remote_init(&remote, &local, public_key, NULL);
	require(noise_initiation_create(&remote, &local, 0x01020304, ephemeral, timestamp, &msg) ==
		NOISE_OK);
	memcpy(&before, &remote, sizeof(before));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct noise_keypair keypair;
	struct noise_hello hello;

	if (local.key == NULL)
		set_up();
	switch (wgmsg_classify(data, size)) {
	case WGMSG_INITIATION:
		/* The static key inside is sealed to us with an ephemeral, which anybody can do;
		 * only the timestamp proves a known sender. */
		if (noise_initiation_open(&local, (const void *)data, &hello) == NOISE_OK)
			require(noise_initiation_accept(&remote, &hello) == NOISE_REJECT);
		break;
	case WGMSG_RESPONSE:
		require(noise_response_open(&remote, &local, (const void *)data, &keypair) ==
			NOISE_REJECT);
		break;
	case WGMSG_COOKIE_REPLY:
		require(size == sizeof(struct wgmsg_cookie_reply));
		break;
	case WGMSG_DATA:
		require(size >= WGMSG_DATA_MIN_BYTES);
		break;
	case WGMSG_INVALID:
		break;
	}
	require(memcmp(&remote, &before, sizeof(remote)) == 0);
	return 0;
}
