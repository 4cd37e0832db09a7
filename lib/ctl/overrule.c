/* What the configuration says and a change since was stronger than.
 *
 * A restart after a crash must not undo what was acknowledged: so a configured peer that was
 * changed or deleted, and a configured lease that was closed, are noted in the store, each as a
 * word. The word of a peer has a digest of what the file says of it: once the file says something
 * else, the file comes first again. That of a lease names it: it stays closed until a reload opens
 * it, or the file has it no more. */
#include "ctl/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ctl_overrules {
	char (*words)[STORE_ENTRY_CHARS];
	bool *is_used;
	size_t n, room;
	bool is_broken; /* memory was out */
};

char *ctl_overrule_peer_word(const struct peer_conf *conf, char buf[static STORE_ENTRY_CHARS])
{
	char settings[STORE_SETTINGS_CHARS], key[CRYPTO_KEY_TEXT_CHARS];
	char digest_text[CRYPTO_KEY_TEXT_CHARS];
	uint8_t digest[CRYPTO_HASH_BYTES];

	static_assert(CRYPTO_HASH_BYTES == CRYPTO_KEY_BYTES, "written as a key is");
	ctl_peer_settings(conf, settings);
	crypto_blake2s(digest, settings, strlen(settings), conf->preshared_key,
		sizeof(conf->preshared_key));
	snprintf(buf, STORE_ENTRY_CHARS, "peer %s %s", crypto_key_format(conf->public_key, key),
		crypto_key_format(digest, digest_text));
	return buf;
}

/* n_ports: told of a range only. */
static char *lease_word(const struct peer_conf *peer, uint8_t protos, const struct ip_endpoint *to,
	uint16_t n_ports, char *buf)
{
	char key[CRYPTO_KEY_TEXT_CHARS], addr[IP_TEXT_CHARS], range[16] = "";

	if (lease_is_range(n_ports))
		snprintf(range, sizeof(range), "+%u", n_ports - 1u);
	snprintf(buf, STORE_ENTRY_CHARS, "lease %s %u %s %u%s",
		crypto_key_format(peer->public_key, key), protos, ip_addr_format(&to->addr, addr),
		to->port, range);
	return buf;
}

bool ctl_overrule_lease_word(
	const struct ctl *c, const struct lease *lease, char buf[static STORE_ENTRY_CHARS])
{
	const struct peer_conf *peer = peer_conf_get(c->p.peers, lease->peer_idx);
	const struct ip_endpoint to = {lease->inner_addr, lease->inner_port};

	if (peer != NULL)
		lease_word(peer, lease->protos, &to, lease->n_ports, buf);
	return peer != NULL;
}

/* --- at the start --------------------------------------------------------------------------------
 */

static void take_word(void *arg, const char *word)
{
	struct ctl_overrules *o = arg;
	void *words;

	if (o->n == o->room) {
		o->room = o->room > 0 ? 2 * o->room : 64;
		words = realloc(o->words, o->room * sizeof(o->words[0]));
		o->is_broken |= words == NULL;
		if (words == NULL) {
			o->room = o->n;
			return;
		}
		o->words = words;
	}
	snprintf(o->words[o->n++], STORE_ENTRY_CHARS, "%s", word);
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(a, b);
}

struct ctl_overrules *ctl_overrules_create(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	struct ctl_overrules *o = calloc(1, sizeof(*o));
	char why[STORE_FAULT_CHARS] = "control: memory is out";
	int err = -ENOMEM;

	if (o != NULL)
		err = store_overrules_load(c->p.store, take_word, o, why);
	if (err == 0)
		o->is_used = calloc(o->n + 1, sizeof(o->is_used[0]));
	if (err == 0 && o->is_used != NULL && !o->is_broken) {
		if (o->n > 0)
			qsort(o->words, o->n, sizeof(o->words[0]), compare_words);
		return o;
	}
	snprintf(fault, CTL_FAULT_CHARS, "%s", err == 0 ? "control: memory is out" : why);
	ctl_overrules_destroy(o);
	return NULL;
}

void ctl_overrules_destroy(struct ctl_overrules *o)
{
	if (o == NULL)
		return;
	free(o->words);
	free(o->is_used);
	free(o);
}

static bool has_word(struct ctl_overrules *o, const char *word)
{
	char(*found)[STORE_ENTRY_CHARS] =
		o->n == 0 ? NULL
			  : bsearch(word, o->words, o->n, sizeof(o->words[0]), compare_words);

	if (found == NULL)
		return false;
	o->is_used[found - o->words] = true;
	return true;
}

bool ctl_overrules_peer(struct ctl_overrules *o, const struct peer_conf *conf)
{
	char word[STORE_ENTRY_CHARS];

	return o != NULL && has_word(o, ctl_overrule_peer_word(conf, word));
}

bool ctl_overrules_lease(const struct ctl *c, struct ctl_overrules *o, uint32_t peer_idx,
	const struct conf_lease *entry)
{
	const struct peer_conf *peer = peer_conf_get(c->p.peers, peer_idx);
	struct ip_endpoint to = {entry->inner_addr, entry->inner_port};
	char word[STORE_ENTRY_CHARS];

	if (ip_is_none(&to.addr))
		to.addr = ctl_peer_inner(peer);
	return o != NULL && has_word(o, lease_word(peer, entry->protos, &to, entry->n_ports, word));
}

void ctl_overrules_forget_unused(struct ctl *c, const struct ctl_overrules *o)
{
	for (size_t i = 0; i < o->n; i++)
		if (!o->is_used[i])
			store_overrule_del(c->p.store, o->words[i]);
}
