/* Who may have no leases: closed all at once, and refused from then on, until they are let in
 * again.
 *
 * It is no setting of a peer, for the configuration would take it back as soon as its entry is
 * changed, and whoever deletes and adds the peer, too. So it is kept by public key. */
#include "ctl/server.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The place of the key, or where it would go. */
static size_t place_of(const struct ctl_bars *b, const uint8_t key[static CRYPTO_KEY_BYTES])
{
	size_t first = 0, end = b->n;

	while (first < end) {
		size_t mid = first + (end - first) / 2;

		if (memcmp(b->keys[mid], key, CRYPTO_KEY_BYTES) < 0)
			first = mid + 1;
		else
			end = mid;
	}
	return first;
}

static bool has(const struct ctl_bars *b, const uint8_t key[static CRYPTO_KEY_BYTES])
{
	size_t i = place_of(b, key);

	return i < b->n && memcmp(b->keys[i], key, CRYPTO_KEY_BYTES) == 0;
}

static int add(struct ctl_bars *b, const uint8_t key[static CRYPTO_KEY_BYTES])
{
	size_t i = place_of(b, key), room = b->room > 0 ? 2 * b->room : 16;
	void *keys;

	if (b->n == b->room) {
		keys = realloc(b->keys, room * sizeof(b->keys[0]));
		if (keys == NULL)
			return -ENOMEM;
		b->keys = keys;
		b->room = room;
	}
	memmove(&b->keys[i + 1], &b->keys[i], (b->n - i) * sizeof(b->keys[0]));
	memcpy(b->keys[i], key, CRYPTO_KEY_BYTES);
	b->n++;
	return 0;
}

static void del(struct ctl_bars *b, const uint8_t key[static CRYPTO_KEY_BYTES])
{
	size_t i = place_of(b, key);

	b->n--;
	memmove(&b->keys[i], &b->keys[i + 1], (b->n - i) * sizeof(b->keys[0]));
}

bool ctl_peer_is_barred(const struct ctl *c, const struct peer_conf *conf)
{
	return has(&c->bars, conf->public_key);
}

int ctl_peer_bar(struct ctl *c, uint32_t peer_idx, unsigned *n_closed, struct rpc_fault *fault)
{
	const struct peer_conf *conf = peer_conf_get(c->p.peers, peer_idx);
	char peer[CTL_PEER_WORD_CHARS];

	*n_closed = 0;
	if (ctl_peer_is_barred(c, conf))
		return 0;
	if (add(&c->bars, conf->public_key) != 0)
		return rpc_fault_set(
			fault, RPC_INTERNAL_ERROR, NULL, NULL, "memory is out; nothing was done");
	if (c->p.store != NULL)
		store_bar_put(c->p.store, conf->public_key, c->p.wall_ns());
	*n_closed = ctl_peer_leases_close(c, peer_idx, NULL, "peer barred");
	ctl_event_peer(c, "peer.barred", peer_idx);
	log_info(
		"peer %s is barred; %u leases closed", ctl_peer_word(c, peer_idx, peer), *n_closed);
	return 0;
}

int ctl_peer_unbar(struct ctl *c, const char *who, uint32_t *out_idx, struct rpc_fault *fault)
{
	uint32_t peer_idx = peer_find(c->p.peers, who);
	uint8_t key[CRYPTO_KEY_BYTES];

	if (peer_idx != PEER_NONE)
		memcpy(key, peer_conf_get(c->p.peers, peer_idx)->public_key, sizeof(key));
	else if (crypto_key_parse(who, key) != 0 || !has(&c->bars, key))
		return ctl_peer_find(c, who, out_idx, fault);
	if (has(&c->bars, key)) {
		if (ctl_store_check(c, fault) != 0)
			return -EINVAL;
		del(&c->bars, key);
		if (c->p.store != NULL)
			store_bar_del(c->p.store, key);
		if (peer_idx != PEER_NONE)
			ctl_event_peer(c, "peer.unbarred", peer_idx);
		log_info("peer %s is barred no more", who);
	}
	*out_idx = peer_idx;
	return 0;
}

struct bars_load {
	struct ctl_bars *bars;
	bool is_broken; /* memory was out */
};

static void take(void *arg, const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	struct bars_load *l = arg;

	l->is_broken |= add(l->bars, public_key) != 0;
}

int ctl_bars_restore(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	struct bars_load l = {.bars = &c->bars};
	char why[STORE_FAULT_CHARS] = "control: memory is out";
	int err = store_bars_load(c->p.store, take, &l, why);

	if (err == 0 && l.is_broken)
		err = -ENOMEM;
	if (err != 0)
		snprintf(fault, CTL_FAULT_CHARS, "%s", why);
	return err;
}
