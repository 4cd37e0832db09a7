/* party.h - the far ends of the tunnel: WireGuard parties that do real handshakes with the gateway.
 *
 * Each has its own static key and session, begins handshakes, answers the gateway's, rekeys in
 * time, and sends keepalives when it only receives, as the paper has it. Shares the handshake
 * engine with the gateway (lib/noise, both roles) and nothing else.
 *
 * Spec:    WireGuard paper, sections 5.4, 6.1 to 6.5; no replay window: the flows' own numbers
 * tell. Threads: one.
 */
#ifndef PORTIER_BENCH_PARTY_H
#define PORTIER_BENCH_PARTY_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "cookie/cookie.h"
#include "noise/noise.h"
#include "aead/aead.h"

#define PARTY_KEYS    4 /* previous, current, next, and one that is being made */
#define PARTY_NO_KEYS 0xff

struct party_keys {
	uint8_t send_key[CRYPTO_KEY_BYTES], recv_key[CRYPTO_KEY_BYTES];
	uint64_t send_counter, created_ns;
	uint32_t local_idx, remote_idx;
	bool is_initiator, is_live;
};

struct party {
	struct noise_local local;
	struct noise_remote gateway;
	struct cookie_maker cookie;
	struct party_keys keys[PARTY_KEYS];
	uint8_t current, previous, next; /* into keys; PARTY_NO_KEYS */
	uint8_t making;			 /* for the initiation in flight */
	uint8_t queue;			 /* rx queue of the gateway that its packets take */
	bool is_waiting;		 /* for a response */
	uint64_t initiation_ns;		 /* when the last one was sent */
	uint32_t n_initiations;
	uint64_t last_sent_ns;
	uint64_t unanswered_ns; /* of the first data since we sent anything; 0: none */
};

/* A message that a party sends: a WireGuard message, not yet in any frame. */
#define PARTY_MSG_MAX sizeof(struct wgmsg_initiation)

struct parties {
	struct party *all;
	uint32_t n, max;
	uint64_t seed;
	struct aead *aead;
	uint8_t gateway_public_key[CRYPTO_KEY_BYTES];
	uint32_t cursor; /* of the look after timers */
	uint64_t n_handshakes, n_rejected;
};

/* 0 or -1: out of memory. */
int parties_init(struct parties *p, uint32_t max, enum aead_backend aead, uint64_t seed,
	const uint8_t gateway_public_key[CRYPTO_KEY_BYTES]);
void parties_fini(struct parties *p);
/* One more; its packets take this rx queue of the gateway. NULL: out of memory. Costs three
 * Diffie-Hellmans. */
struct party *parties_add(struct parties *p, uint8_t queue);

/* One that only has a name: a public key, at random. Free of charge. */
struct party *parties_add_hollow(struct parties *p, uint8_t public_key[static CRYPTO_KEY_BYTES]);

/* The party whose keys have this index of ours; NULL. *keys: which. */
struct party *parties_find(struct parties *p, uint32_t local_idx, struct party_keys **keys);

/* Begin a handshake: an initiation into msg. False: it can not be built. */
bool party_initiate(
	struct parties *p, struct party *party, uint64_t now_ns, struct wgmsg_initiation *msg);
/* A handshake message arrived. Returns the length of the answer in out, 0: none; *has_keys is set
 * when new keys are ready to send with (and should be used soon, which confirms them). */
uint32_t party_take(struct parties *p, struct party *party, const uint8_t *msg, uint32_t len,
	uint64_t now_ns, uint8_t out[PARTY_MSG_MAX], bool *has_keys);

/* Keys for sending now; NULL: none. */
struct party_keys *party_sending_keys(struct party *party, uint64_t now_ns);
/* A packet opened under keys. */
void party_opened(struct party *party, struct party_keys *keys, bool has_data, uint64_t now_ns);

/* What is due for this party now. */
enum party_duty {
	PARTY_IDLE = 0,
	PARTY_REKEY,
	PARTY_KEEPALIVE,
};
enum party_duty party_duty(const struct party *party, uint64_t now_ns);

#endif
