/* noise.h - the WireGuard handshake, Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s, in both roles.
 *
 *   <- s                     the responder's static key is known
 *   ...
 *   -> e, es, s, ss, {t}     initiation; t is a TAI64N timestamp
 *   <- e, ee, se, psk, {}    response
 *
 * Spec:      WireGuard paper, sections 5.4.1 to 5.4.5. MAC1 and MAC2 belong to cookie.h.
 * Purity:    no clock, no socket, no random: ephemerals, timestamps and times are arguments.
 * Threads:   one writer per noise_remote (the handshake thread); noise_local never changes.
 * Secrets:   every secret on the stack, and every handshake state that ended, is wiped.
 * Invariant: a rejected message leaves the noise_remote as it was.
 * Not here:  type and length of a message (wgmsg_classify goes first), and the sender index of both
 *            messages, which the handshake does not authenticate: MAC1 is its only cover.
 */
#ifndef PORTIER_NOISE_H
#define PORTIER_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/crypto.h"
#include "noise/replay.h"
#include "wgmsg/wgmsg.h"

#define NOISE_TIMESTAMP_BYTES 12 /* TAI64N */

enum noise_verdict {
	NOISE_REJECT = 0,
	NOISE_OK,
};

/* Keys of one completed handshake and their use. Cache lines by use: what sealing reads and writes,
 * then what opening does. W: the peer's home worker, once installed. */
struct noise_keypair {
	uint8_t send_key[CRYPTO_KEY_BYTES];
	uint64_t send_counter; /* the next to be used */
	uint64_t created_ns;
	uint32_t local_idx;  /* what the far end puts into receiver_idx */
	uint32_t remote_idx; /* what we put there */
	uint32_t peer_idx;   /* owner of this keypair; set by the caller */
	bool is_initiator;   /* we began the handshake: rekeying by time is our duty */
	bool is_live;	     /* false: the slot is free, its keys are wiped */

	uint8_t recv_key[CRYPTO_KEY_BYTES] __attribute__((aligned(64)));
	struct noise_replay replay;
} __attribute__((aligned(64)));

/* The gateway's own static key. */
struct noise_local {
	struct crypto_x25519_key *key;
	uint8_t public_key[CRYPTO_KEY_BYTES];
	uint8_t initial_hash[CRYPTO_HASH_BYTES]; /* where we respond: mixed with our key */
};

/* Returns 0 or -ENOMEM. fini wipes. */
int noise_local_init(struct noise_local *local, const uint8_t private_key[static CRYPTO_KEY_BYTES]);
void noise_local_fini(struct noise_local *local);

enum noise_state {
	NOISE_IDLE = 0,
	NOISE_INITIATION_SENT,
	NOISE_INITIATION_RECEIVED,
};

/* Handshakes with one peer. W: handshake thread. */
struct noise_remote {
	uint8_t public_key[CRYPTO_KEY_BYTES];
	uint8_t preshared_key[CRYPTO_KEY_BYTES];       /* zero: none */
	uint8_t static_static[CRYPTO_KEY_BYTES];       /* precomputed DH */
	uint8_t initial_hash[CRYPTO_HASH_BYTES];       /* where we initiate: mixed with their key */
	uint8_t last_timestamp[NOISE_TIMESTAMP_BYTES]; /* greatest accepted */
	bool has_static_static; /* false: their key is of low order, all handshakes are rejected */

	enum noise_state state;
	uint8_t hash[CRYPTO_HASH_BYTES];
	uint8_t chaining_key[CRYPTO_HASH_BYTES];
	uint8_t ephemeral_private[CRYPTO_KEY_BYTES]; /* ours, while INITIATION_SENT */
	uint8_t remote_ephemeral[CRYPTO_KEY_BYTES];  /* theirs, while INITIATION_RECEIVED */
	uint32_t local_idx;
	uint32_t remote_idx;
};

/* Costs one Diffie-Hellman. preshared_key may be NULL. */
void noise_remote_init(struct noise_remote *remote, const struct noise_local *local,
	const uint8_t public_key[static CRYPTO_KEY_BYTES], const uint8_t *preshared_key);
void noise_remote_set_preshared_key(struct noise_remote *remote, const uint8_t *preshared_key);
void noise_remote_fini(struct noise_remote *remote);

/* What an initiation says before its sender is looked up. Wiped by noise_initiation_accept, or by
 * the caller with crypto_wipe when there is no such peer. */
struct noise_hello {
	uint8_t public_key[CRYPTO_KEY_BYTES]; /* the sender's static key, not yet proven */
	uint8_t hash[CRYPTO_HASH_BYTES];
	uint8_t chaining_key[CRYPTO_HASH_BYTES];
	uint8_t remote_ephemeral[CRYPTO_KEY_BYTES];
	uint8_t timestamp_sealed[NOISE_TIMESTAMP_BYTES + CRYPTO_TAG_BYTES];
	uint32_t remote_idx;
};

/* e, es, s: whom does this initiation claim to be from? One Diffie-Hellman. REJECT: not sealed to
 * our key, or a DH result of zero; out is then untouched. */
enum noise_verdict noise_initiation_open(const struct noise_local *local,
	const struct wgmsg_initiation *msg, struct noise_hello *out);

/* ss, {t}: proves the sender, who must be this remote. The timestamp must be greater than any
 * accepted before (replay). On OK the remote is INITIATION_RECEIVED (an initiation of ours in
 * flight is dropped). hello is wiped with either verdict. */
enum noise_verdict noise_initiation_accept(struct noise_remote *remote, struct noise_hello *hello);

/* e, ee, se, psk, {}: answer the accepted initiation. Two Diffie-Hellmans and a key generation.
 * MACs are left zero. On OK the remote is IDLE, and out_keypair is live and ready for its first
 * packet, with is_initiator = false; created_ns and peer_idx are the caller's and not touched.
 * REJECT when the state is not INITIATION_RECEIVED or a DH result is zero; outputs are then
 * untouched. */
enum noise_verdict noise_response_create(struct noise_remote *remote, uint32_t local_idx,
	const uint8_t ephemeral_private[static CRYPTO_KEY_BYTES], struct wgmsg_response *out_msg,
	struct noise_keypair *out_keypair);

/* e, es, s, ss, {t}: begin. Remote becomes INITIATION_SENT, whatever it was. One Diffie-Hellman and
 * a key generation. MACs are left zero. REJECT only when a DH result is zero (or memory is out):
 * all is then as it was. */
enum noise_verdict noise_initiation_create(struct noise_remote *remote,
	const struct noise_local *local, uint32_t local_idx,
	const uint8_t ephemeral_private[static CRYPTO_KEY_BYTES],
	const uint8_t timestamp[static NOISE_TIMESTAMP_BYTES], struct wgmsg_initiation *out_msg);

/* e, ee, se, psk, {}: the answer to ours. receiver_idx must be the local_idx of the initiation. Two
 * Diffie-Hellmans and a key generation. On OK the remote is IDLE and out_keypair is filled as by
 * noise_response_create, with is_initiator = true. */
enum noise_verdict noise_response_open(struct noise_remote *remote, const struct noise_local *local,
	const struct wgmsg_response *msg, struct noise_keypair *out_keypair);

/* Forget a handshake in flight and wipe its state; the timestamp memory stays. */
void noise_remote_reset(struct noise_remote *remote);

/* TAI64N of a UNIX time; the low 24 bits of the nanoseconds are cleared, so that a clock of fine
 * grain leaks less (as the kernel implementation does). */
void noise_timestamp_build(uint64_t unix_s, uint32_t ns, uint8_t out[static NOISE_TIMESTAMP_BYTES]);

#endif
