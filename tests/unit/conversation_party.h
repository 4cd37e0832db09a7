/* conversation_party.h - one whole WireGuard end in memory: what handshake thread and worker do
 * with noise, session, replay, cookie and the cipher, without packets' outer headers or threads.
 */
#ifndef PORTIER_TESTS_CONVERSATION_PARTY_H
#define PORTIER_TESTS_CONVERSATION_PARTY_H

#include "cookie/cookie.h"
#include "noise/session.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

#define T (&noise_timing_default)

#define N_SLOTS	   4 /* previous, current, next, and one in the making */
#define HOLD_MAX   1024
#define INNER_MAX  128
#define PACKET_MAX (sizeof(struct wgmsg_data) + INNER_MAX + WGMSG_TAG_BYTES)

struct packet {
	uint64_t due_ns;
	struct ip_endpoint src;
	unsigned to;	   /* which party */
	bool is_corrupted; /* a bit was flipped under way */
	size_t len;
	uint8_t bytes[PACKET_MAX];
};

/* What happened; for the tests that a conversation was not trivial. */
struct tally {
	unsigned n_initiations, n_completed, n_confirmed, n_given_up;
	unsigned n_cookies_sent, n_cookies_kept, n_mac2_ok, n_replays, n_expired, n_keepalives;
};

struct party {
	unsigned number;
	struct noise_local local;
	struct noise_remote remote;
	struct cookie_checker checker;
	struct cookie_maker maker;
	struct cookie_limiter *limiter;
	struct noise_session session;
	struct noise_retry retry;
	struct noise_keypair slots[N_SLOTS];
	uint32_t pending_idx; /* of our initiation in flight; 0: none */
	uint32_t n_indices;
	struct ip_endpoint endpoint;
	bool under_load;
	uint64_t held[HOLD_MAX]; /* ids of inner packets */
	unsigned n_held;
	struct tally tally;
};

/* --- what the test provides ------------------------------------------------------------------- */

static uint64_t rng_next(void);
static uint64_t now_ns; /* the one clock */
static void link_send(const struct party *from, const void *bytes, size_t len);
/* Inner packets by id: fill and say how long; this id leaves under kp; this one arrived. */
static size_t inner_fill(uint64_t id, uint8_t *bytes);
static void inner_sealed(const struct party *from, uint64_t id, const struct noise_keypair *kp);
static void inner_arrived(const struct party *to, const uint8_t *bytes, size_t len);
/* A counter was used for sealing. */
static void counter_used(const struct noise_keypair *kp, uint64_t counter);

/* --- keypair slots ---------------------------------------------------------------------------- */

static uint32_t slot_of(uint32_t idx)
{
	return idx % N_SLOTS;
}

static uint32_t take_index(struct party *p)
{
	for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
		if (!p->slots[slot].is_live)
			return ++p->n_indices * N_SLOTS + slot;
	}
	fail_msg("party %u: no keypair slot is free: one leaked", p->number);
	return 0;
}

static void assert_no_leak(const struct party *p)
{
	const struct noise_session *s = &p->session;
	unsigned n_live = 0;

	for (unsigned i = 0; i < N_SLOTS; i++)
		n_live += p->slots[i].is_live;
	assert_int_equal(n_live, (s->current != NULL) + (s->previous != NULL) + (s->next != NULL));
	assert_true(!s->current || s->current->is_live);
	assert_true(!s->previous || s->previous->is_live);
	assert_true(!s->next || s->next->is_live);
}

static void wipe_retired(struct party *p, const struct noise_retired *retired)
{
	for (unsigned i = 0; i < retired->n; i++) {
		assert_true(retired->keypairs[i]->is_live);
		crypto_wipe(retired->keypairs[i], sizeof(*retired->keypairs[i]));
	}
	assert_no_leak(p);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Send one inner packet; id 0 is a keepalive. False: there is no key. */
static bool seal_and_send(struct party *p, uint64_t id)
{
	uint8_t inner[INNER_MAX];
	struct {
		struct wgmsg_data header;
		uint8_t sealed[INNER_MAX + WGMSG_TAG_BYTES];
	} msg;
	size_t len = id ? inner_fill(id, inner) : 0;
	struct noise_keypair *kp;
	unsigned actions = 0;
	uint64_t counter;

	kp = noise_session_reserve(&p->session, T, 1, now_ns, &counter, &actions);
	if (actions & NOISE_ACT_START_HANDSHAKE)
		noise_retry_start(&p->retry, now_ns);
	if (!kp)
		return false;
	counter_used(kp, counter);
	store_le32(msg.header.type_le32, WGMSG_DATA);
	store_le32(msg.header.receiver_idx_le32, kp->remote_idx);
	store_le64(msg.header.counter_le64, counter);
	crypto_aead_seal(msg.sealed, inner, len, NULL, 0, counter, kp->send_key);
	noise_session_sent(&p->session, T, id != 0, now_ns);
	if (id)
		inner_sealed(p, id, kp);
	link_send(p, &msg, sizeof(msg.header) + len + WGMSG_TAG_BYTES);
	return true;
}

static void party_send(struct party *p, uint64_t id)
{
	if (!seal_and_send(p, id) && p->n_held < HOLD_MAX)
		p->held[p->n_held++] = id;
}

static void release_held(struct party *p)
{
	unsigned n = p->n_held;

	p->n_held = 0;
	for (unsigned i = 0; i < n; i++)
		party_send(p, p->held[i]);
}

static void random_key(uint8_t key[static CRYPTO_KEY_BYTES])
{
	for (unsigned i = 0; i < CRYPTO_KEY_BYTES; i += 8)
		store_le64(key + i, rng_next());
}

static void send_initiation(struct party *p)
{
	uint8_t ephemeral[CRYPTO_KEY_BYTES], timestamp[NOISE_TIMESTAMP_BYTES];
	struct wgmsg_initiation msg;

	random_key(ephemeral);
	noise_timestamp_build(
		1700000000 + now_ns / NS_IN_S, (uint32_t)(now_ns % NS_IN_S), timestamp);
	p->pending_idx = take_index(p);
	assert_int_equal(noise_initiation_create(
				 &p->remote, &p->local, p->pending_idx, ephemeral, timestamp, &msg),
		NOISE_OK);
	cookie_macs_add(&p->maker, (uint8_t *)&msg, sizeof(msg), now_ns);
	p->tally.n_initiations++;
	link_send(p, &msg, sizeof(msg));
}

static void act(struct party *p, unsigned actions, const struct noise_retired *retired)
{
	wipe_retired(p, retired);
	if (actions & NOISE_ACT_START_HANDSHAKE)
		noise_retry_start(&p->retry, now_ns);
	if (actions & NOISE_ACT_CONFIRMED) {
		p->tally.n_confirmed++;
		noise_retry_stop(&p->retry);
		release_held(p);
	}
	if (actions & NOISE_ACT_KEEPALIVE) {
		p->tally.n_keepalives++;
		seal_and_send(p, 0);
	}
}

/* --- receiving -------------------------------------------------------------------------------- */

static void install(struct party *p, struct noise_keypair *kp)
{
	struct noise_retired retired = {.n = 0};

	kp->created_ns = now_ns;
	noise_session_install(&p->session, T, kp, now_ns, &retired);
	wipe_retired(p, &retired);
}

/* MACs first. False: the message goes no further; under load it may have been answered. */
static bool admit(struct party *p, const struct packet *pkt)
{
	uint8_t secret[CRYPTO_KEY_BYTES];
	struct wgmsg_cookie_reply reply;

	switch (cookie_check(&p->checker, pkt->bytes, pkt->len, &pkt->src, p->under_load, now_ns)) {
	case COOKIE_INVALID:
		return false;
	case COOKIE_MAC2_OK:
		p->tally.n_mac2_ok++;
		return cookie_limiter_allow(p->limiter, &pkt->src.addr, now_ns);
	case COOKIE_MAC1_OK:
		break;
	}
	if (!p->under_load)
		return true;
	random_key(secret);
	cookie_reply_build(
		&p->checker, pkt->bytes, pkt->len, &pkt->src, secret, secret, now_ns, &reply);
	p->tally.n_cookies_sent++;
	link_send(p, &reply, sizeof(reply));
	return false;
}

static void receive_initiation(struct party *p, const struct packet *pkt)
{
	uint8_t ephemeral[CRYPTO_KEY_BYTES];
	struct wgmsg_initiation msg;
	struct wgmsg_response response;
	struct noise_hello hello;
	struct noise_keypair *kp;
	uint32_t idx;

	if (!admit(p, pkt))
		return;
	memcpy(&msg, pkt->bytes, sizeof(msg));
	if (noise_initiation_open(&p->local, &msg, &hello) != NOISE_OK ||
		!crypto_equal(hello.public_key, p->remote.public_key, CRYPTO_KEY_BYTES) ||
		noise_initiation_accept(&p->remote, &hello) != NOISE_OK) {
		return;
	}
	p->pending_idx = 0;
	random_key(ephemeral);
	idx = take_index(p);
	kp = &p->slots[slot_of(idx)];
	assert_int_equal(
		noise_response_create(&p->remote, idx, ephemeral, &response, kp), NOISE_OK);
	cookie_macs_add(&p->maker, (uint8_t *)&response, sizeof(response), now_ns);
	install(p, kp);
	link_send(p, &response, sizeof(response));
}

static void receive_response(struct party *p, const struct packet *pkt)
{
	struct wgmsg_response msg;
	struct noise_keypair *kp;

	if (!admit(p, pkt))
		return;
	memcpy(&msg, pkt->bytes, sizeof(msg));
	if (p->pending_idx == 0 || load_le32(msg.receiver_idx_le32) != p->pending_idx)
		return;
	kp = &p->slots[slot_of(p->pending_idx)];
	if (noise_response_open(&p->remote, &p->local, &msg, kp) != NOISE_OK)
		return;
	p->pending_idx = 0;
	p->tally.n_completed++;
	noise_retry_stop(&p->retry);
	install(p, kp);
	if (p->n_held)
		release_held(p);
	else
		seal_and_send(p, 0);
}

static void receive_data(struct party *p, const struct packet *pkt)
{
	struct wgmsg_data header;
	size_t sealed_len = pkt->len - sizeof(header);
	uint8_t inner[INNER_MAX];
	struct noise_retired retired = {.n = 0};
	struct noise_keypair *kp;
	unsigned actions;
	uint64_t counter;
	uint32_t idx;

	memcpy(&header, pkt->bytes, sizeof(header));
	idx = load_le32(header.receiver_idx_le32);
	counter = load_le64(header.counter_le64);
	kp = &p->slots[slot_of(idx)];
	if (!kp->is_live || kp->local_idx != idx)
		return;
	if (!noise_keypair_may_open(kp, T, now_ns)) {
		p->tally.n_expired++;
		return;
	}
	if (!crypto_aead_open(inner, pkt->bytes + sizeof(header), sealed_len, NULL, 0, counter,
		    kp->recv_key)) {
		assert_true(pkt->is_corrupted);
		return;
	}
	assert_false(pkt->is_corrupted);
	if (!noise_replay_accept(&kp->replay, counter)) {
		p->tally.n_replays++;
		return;
	}
	sealed_len -= WGMSG_TAG_BYTES;
	actions = noise_session_received(&p->session, T, kp, sealed_len != 0, now_ns, &retired);
	if (sealed_len)
		inner_arrived(p, inner, sealed_len);
	act(p, actions, &retired);
}

static void party_receive(struct party *p, const struct packet *pkt)
{
	struct wgmsg_cookie_reply reply;

	switch (wgmsg_classify(pkt->bytes, pkt->len)) {
	case WGMSG_INITIATION:
		receive_initiation(p, pkt);
		break;
	case WGMSG_RESPONSE:
		receive_response(p, pkt);
		break;
	case WGMSG_COOKIE_REPLY:
		memcpy(&reply, pkt->bytes, sizeof(reply));
		p->tally.n_cookies_kept += cookie_reply_open(&p->maker, &reply, now_ns);
		break;
	case WGMSG_DATA:
		receive_data(p, pkt);
		break;
	case WGMSG_INVALID:
		assert_true(pkt->is_corrupted);
		break;
	}
	assert_no_leak(p);
}

/* --- time ------------------------------------------------------------------------------------- */

static uint64_t party_deadline_ns(const struct party *p)
{
	uint64_t retry_ns = noise_retry_deadline_ns(&p->retry);

	return p->session.deadline_ns < retry_ns ? p->session.deadline_ns : retry_ns;
}

static void party_tick(struct party *p)
{
	struct noise_retired retired = {.n = 0};

	if (p->session.deadline_ns <= now_ns) {
		act(p, noise_session_tick(&p->session, T, now_ns, &retired), &retired);
		assert_true(p->session.deadline_ns > now_ns);
	}
	switch (noise_retry_tick(&p->retry, T, (uint32_t)rng_next(), now_ns)) {
	case NOISE_RETRY_SEND:
		send_initiation(p);
		break;
	case NOISE_RETRY_GIVE_UP:
		p->tally.n_given_up++;
		p->n_held = 0;
		break;
	case NOISE_RETRY_IDLE:
		break;
	}
}

/* --- birth and death -------------------------------------------------------------------------- */

static void party_start(struct party *p, unsigned number, const uint8_t *private_key,
	const uint8_t *peer_public_key, const uint8_t *preshared_key, uint64_t persistent_ns)
{
	static const uint8_t hash_key[CRYPTO_SIPHASH_KEY_BYTES] = {7};
	/* Indices and source survive in the test, so that packets to the dead one miss. */
	uint32_t n_indices = p->n_indices;
	struct ip_endpoint endpoint = p->endpoint;
	struct tally tally = p->tally;

	memset(p, 0, sizeof(*p));
	p->number = number;
	p->n_indices = n_indices;
	p->endpoint = endpoint;
	p->tally = tally;
	assert_int_equal(noise_local_init(&p->local, private_key), 0);
	noise_remote_init(&p->remote, &p->local, peer_public_key, preshared_key);
	cookie_checker_init(&p->checker, p->local.public_key);
	cookie_maker_init(&p->maker, peer_public_key);
	p->limiter = cookie_limiter_create(16, hash_key);
	assert_non_null(p->limiter);
	noise_session_init(&p->session, persistent_ns);
}

static void party_stop(struct party *p)
{
	struct noise_retired retired = {.n = 0};

	noise_session_clear(&p->session, &retired);
	wipe_retired(p, &retired);
	noise_remote_fini(&p->remote);
	noise_local_fini(&p->local);
	cookie_checker_fini(&p->checker);
	cookie_maker_fini(&p->maker);
	cookie_limiter_destroy(p->limiter);
}

#endif
