#include "party.h"

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "base/bytes.h"
#include "base/time.h"

#include "bench.h"

#define REKEY_AFTER_NS	 (120 * NS_IN_S)
#define REJECT_AFTER_NS	 (180 * NS_IN_S)
#define REKEY_TIMEOUT_NS (5 * NS_IN_S)
#define KEEPALIVE_NS	 (10 * NS_IN_S)
/* Indices of ours: this bit, the party, the place of the keys. */
#define IDX_BIT	   (UINT32_C(1) << 31)
#define PLACE_BITS 2
static_assert(PARTY_KEYS == 1 << PLACE_BITS, "a place fits its bits");

static void random_bytes(struct parties *p, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		p->seed = bench_mix(p->seed);
		store_le64(out + i, p->seed);
	}
}

int parties_init(struct parties *p, uint32_t max, enum aead_backend aead, uint64_t seed,
	const uint8_t gateway_public_key[CRYPTO_KEY_BYTES])
{
	*p = (struct parties){.max = max, .seed = seed};
	memcpy(p->gateway_public_key, gateway_public_key, CRYPTO_KEY_BYTES);
	p->aead = aead_create(aead, -1);
	p->all = calloc(max, sizeof(*p->all));
	if (p->aead && p->all)
		return 0;
	parties_fini(p);
	return -1;
}

void parties_fini(struct parties *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		noise_remote_fini(&p->all[i].gateway);
		noise_local_fini(&p->all[i].local);
		cookie_maker_fini(&p->all[i].cookie);
	}
	free(p->all);
	aead_destroy(p->aead);
	*p = (struct parties){0};
}

struct party *parties_add(struct parties *p, uint8_t queue)
{
	struct party *party = &p->all[p->n];
	uint8_t private_key[CRYPTO_KEY_BYTES];

	if (p->n == p->max)
		return NULL;
	*party = (struct party){
		.queue = queue,
		.current = PARTY_NO_KEYS,
		.previous = PARTY_NO_KEYS,
		.next = PARTY_NO_KEYS,
		.making = PARTY_NO_KEYS,
	};
	random_bytes(p, private_key, sizeof(private_key));
	if (noise_local_init(&party->local, private_key) < 0)
		return NULL;
	noise_remote_init(&party->gateway, &party->local, p->gateway_public_key, NULL);
	cookie_maker_init(&party->cookie, p->gateway_public_key);
	p->n++;
	return party;
}

struct party *parties_add_hollow(struct parties *p, uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	struct party *party = &p->all[p->n];

	if (p->n == p->max)
		return NULL;
	*party = (struct party){
		.current = PARTY_NO_KEYS,
		.previous = PARTY_NO_KEYS,
		.next = PARTY_NO_KEYS,
		.making = PARTY_NO_KEYS,
	};
	random_bytes(p, public_key, CRYPTO_KEY_BYTES);
	p->n++;
	return party;
}

struct party *parties_find(struct parties *p, uint32_t local_idx, struct party_keys **keys)
{
	uint32_t idx = (local_idx & ~IDX_BIT) >> PLACE_BITS;
	struct party *party;

	if (!(local_idx & IDX_BIT) || idx >= p->n)
		return NULL;
	party = &p->all[idx];
	*keys = &party->keys[local_idx & (PARTY_KEYS - 1)];
	return party;
}

static uint32_t idx_of(const struct parties *p, const struct party *party, uint8_t place)
{
	return IDX_BIT | (uint32_t)(party - p->all) << PLACE_BITS | place;
}

/* A place that no session uses. */
static uint8_t free_place(const struct party *party)
{
	uint8_t place = 0;

	while (place == party->current || place == party->previous || place == party->next)
		place++;
	return place;
}

bool party_initiate(
	struct parties *p, struct party *party, uint64_t now_ns, struct wgmsg_initiation *msg)
{
	uint8_t ephemeral[CRYPTO_KEY_BYTES], timestamp[NOISE_TIMESTAMP_BYTES];
	uint8_t place = free_place(party);

	/* Each later than the one before, however fast they follow each other. */
	noise_timestamp_build(1700000000 + party->n_initiations++, 0, timestamp);
	random_bytes(p, ephemeral, sizeof(ephemeral));
	if (noise_initiation_create(&party->gateway, &party->local, idx_of(p, party, place),
		    ephemeral, timestamp, msg) != NOISE_OK)
		return false;
	cookie_macs_add(&party->cookie, (uint8_t *)msg, sizeof(*msg), now_ns);
	party->making = place;
	party->is_waiting = true;
	party->initiation_ns = now_ns;
	return true;
}

static void keys_fill(struct party_keys *keys, const struct noise_keypair *kp, uint32_t local_idx,
	uint64_t now_ns)
{
	*keys = (struct party_keys){
		.created_ns = now_ns,
		.local_idx = local_idx,
		.remote_idx = kp->remote_idx,
		.is_initiator = kp->is_initiator,
		.is_live = true,
	};
	memcpy(keys->send_key, kp->send_key, CRYPTO_KEY_BYTES);
	memcpy(keys->recv_key, kp->recv_key, CRYPTO_KEY_BYTES);
}

static void retire(struct party *party, uint8_t place)
{
	if (place != PARTY_NO_KEYS)
		crypto_wipe(&party->keys[place], sizeof(party->keys[place]));
}

static void make_current(struct party *party, uint8_t place)
{
	retire(party, party->previous);
	party->previous = party->current;
	party->current = place;
}

static bool take_response(
	struct parties *p, struct party *party, const struct wgmsg_response *msg, uint64_t now_ns)
{
	struct noise_keypair kp;
	uint8_t place = party->making;

	if (!party->is_waiting ||
		noise_response_open(&party->gateway, &party->local, msg, &kp) != NOISE_OK) {
		p->n_rejected++;
		return false;
	}
	party->is_waiting = false;
	party->making = PARTY_NO_KEYS;
	keys_fill(&party->keys[place], &kp, idx_of(p, party, place), now_ns);
	crypto_wipe(&kp, sizeof(kp));
	make_current(party, place);
	p->n_handshakes++;
	return true;
}

static uint32_t take_initiation(struct parties *p, struct party *party,
	const struct wgmsg_initiation *msg, uint64_t now_ns, uint8_t *out)
{
	struct wgmsg_response response;
	uint8_t ephemeral[CRYPTO_KEY_BYTES], place;
	struct noise_hello hello;
	struct noise_keypair kp;

	if (noise_initiation_open(&party->local, msg, &hello) != NOISE_OK ||
		noise_initiation_accept(&party->gateway, &hello) != NOISE_OK)
		goto reject;
	party->is_waiting = false;
	retire(party, party->next);
	party->next = PARTY_NO_KEYS;
	place = free_place(party);
	random_bytes(p, ephemeral, sizeof(ephemeral));
	if (noise_response_create(&party->gateway, idx_of(p, party, place), ephemeral, &response,
		    &kp) != NOISE_OK)
		goto reject;
	cookie_macs_add(&party->cookie, (uint8_t *)&response, sizeof(response), now_ns);
	keys_fill(&party->keys[place], &kp, idx_of(p, party, place), now_ns);
	crypto_wipe(&kp, sizeof(kp));
	party->next = place;
	p->n_handshakes++;
	memcpy(out, &response, sizeof(response));
	return sizeof(response);
reject:
	p->n_rejected++;
	return 0;
}

uint32_t party_take(struct parties *p, struct party *party, const uint8_t *msg, uint32_t len,
	uint64_t now_ns, uint8_t out[PARTY_MSG_MAX], bool *has_keys)
{
	struct wgmsg_initiation initiation;
	struct wgmsg_response response;
	struct wgmsg_cookie_reply cookie;

	switch (wgmsg_classify(msg, len)) {
	case WGMSG_INITIATION:
		memcpy(&initiation, msg, sizeof(initiation));
		return take_initiation(p, party, &initiation, now_ns, out);
	case WGMSG_RESPONSE:
		memcpy(&response, msg, sizeof(response));
		*has_keys = take_response(p, party, &response, now_ns);
		return 0;
	case WGMSG_COOKIE_REPLY:
		memcpy(&cookie, msg, sizeof(cookie));
		if (!cookie_reply_open(&party->cookie, &cookie, now_ns))
			p->n_rejected++;
		return 0;
	default:
		p->n_rejected++;
		return 0;
	}
}

struct party_keys *party_sending_keys(struct party *party, uint64_t now_ns)
{
	struct party_keys *keys;

	if (party->current == PARTY_NO_KEYS)
		return NULL;
	keys = &party->keys[party->current];
	return now_ns < keys->created_ns + REJECT_AFTER_NS ? keys : NULL;
}

void party_opened(struct party *party, struct party_keys *keys, bool has_data, uint64_t now_ns)
{
	uint8_t place = (uint8_t)(keys - party->keys);

	if (place == party->next) {
		party->next = PARTY_NO_KEYS;
		make_current(party, place);
	}
	if (has_data && party->unanswered_ns == 0)
		party->unanswered_ns = now_ns;
}

enum party_duty party_duty(const struct party *party, uint64_t now_ns)
{
	const struct party_keys *keys = &party->keys[party->current % PARTY_KEYS];

	if (party->is_waiting)
		return now_ns >= party->initiation_ns + REKEY_TIMEOUT_NS ? PARTY_REKEY : PARTY_IDLE;
	if (party->current == PARTY_NO_KEYS)
		return PARTY_IDLE;
	if (keys->is_initiator && now_ns >= keys->created_ns + REKEY_AFTER_NS)
		return PARTY_REKEY;
	if (party->unanswered_ns && now_ns >= party->unanswered_ns + KEEPALIVE_NS)
		return PARTY_KEEPALIVE;
	return PARTY_IDLE;
}
