/* store.h - what outlives the process: peers, leases, reserved numbers, where peers were heard, who
 * is barred.
 *
 * File:      one SQLite database in WAL mode, mode 0600, in a directory that nobody else may write
 *            to, held by one process; an operator may read it while we run. Times are nanoseconds
 *            since 1970, addresses and keys text, absent ones NULL.
 * Threads:   the control thread puts and commits; a thread of the store's own writes. Each commit
 *            is a part of one transaction, whole or not at all; what waits at a time goes together
 *            (group commit), with one fsync.
 * Failure:   a transaction that fails is tried again every second, and all later ones wait behind
 *            it: memory may be ahead of the disk, never beside it. A file that is not in its place
 *            any more is a failure, too, until it is there again.
 * Secrets:   preshared keys are in the file, and wiped from what is queued once it is written.
 *            Private keys are never here.
 */
#ifndef PORTIER_STORE_H
#define PORTIER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "crypto/crypto.h"

#define STORE_SCHEMA	     6
#define STORE_FAULT_CHARS    512
#define STORE_SETTINGS_CHARS 2048
#define STORE_LABEL_CHARS    64
#define STORE_SOURCES_MAX    8
#define STORE_WORD_CHARS     16
#define STORE_NONCE_BYTES    12
#define STORE_ENTRY_CHARS    128
#define STORE_WHY_CHARS	     128

struct store_peer {
	uint8_t public_key[CRYPTO_KEY_BYTES];
	uint8_t preshared_key[CRYPTO_KEY_BYTES]; /* zero: none */
	char settings[STORE_SETTINGS_CHARS];	 /* a JSON object; the store does not read it */
};

struct store_lease {
	uint64_t id;
	uint8_t peer_key[CRYPTO_KEY_BYTES];
	uint8_t protos; /* as LEASE_PROTO_* */
	struct ip_addr public_addr, inner_addr;
	uint16_t public_port, inner_port,
		n_ports; /* of a range the first, and how many; of all 0 */
	uint64_t opened_ns;
	uint64_t expires_ns, until_ns; /* TIME_NEVER: NULL */
	uint64_t ttl_ns, idle_ns;
	uint32_t max_pps, max_new_flows; /* 0: no limit */
	struct ip_prefix sources[STORE_SOURCES_MAX];
	uint8_t n_sources;
	char label[STORE_LABEL_CHARS];
	char opened_by[STORE_WORD_CHARS]; /* the interface, in a word */
	uint64_t used_ns;		  /* when last, as far as was put; TIME_NEVER: not yet */
	uint8_t nonce[STORE_NONCE_BYTES]; /* of PCP; zero: NULL */
};

/* A number without a lease: its owner's, then in quarantine. */
struct store_held {
	struct ip_addr public_addr, inner_addr;
	uint16_t public_port, inner_port, n_ports;
	bool has_peer;
	uint8_t peer_key[CRYPTO_KEY_BYTES];
	uint64_t reserved_until_ns, free_ns;
};

/* Where a peer was heard last. */
struct store_heard {
	uint8_t peer_key[CRYPTO_KEY_BYTES];
	struct ip_endpoint endpoint;
	uint64_t at_ns;
};

struct store;

/* Open the database, or make it. Older schemas are brought up to date in one transaction; a newer
 * one is refused. wall_ns: now, for the epoch of a new one. NULL: the sentence is in fault. */
struct store *store_open(const char *path, uint64_t wall_ns, char fault[static STORE_FAULT_CHARS]);
/* Writes what is committed, if the disk lets it, and ends the thread. NULL is fine. */
void store_close(struct store *s);

/* When the state in this file began; it was never lost since. */
uint64_t store_epoch_ns(const struct store *s);
/* There was none, or nothing in it, before store_open. */
bool store_is_new(const struct store *s);
/* No lease had a greater id. */
uint64_t store_last_lease_id(const struct store *s);

/* Give each row to fn; held ones in the order of their ends. Before store_start. 0, or -EIO with
 * the sentence; -EINVAL: a row makes no sense, and the sentence says which. */
int store_peers_load(struct store *s, void (*fn)(void *arg, const struct store_peer *row),
	void *arg, char fault[static STORE_FAULT_CHARS]);
int store_leases_load(struct store *s, void (*fn)(void *arg, const struct store_lease *row),
	void *arg, char fault[static STORE_FAULT_CHARS]);
int store_held_load(struct store *s, void (*fn)(void *arg, const struct store_held *row), void *arg,
	char fault[static STORE_FAULT_CHARS]);
int store_heard_load(struct store *s, void (*fn)(void *arg, const struct store_heard *row),
	void *arg, char fault[static STORE_FAULT_CHARS]);
int store_overrules_load(struct store *s, void (*fn)(void *arg, const char *entry), void *arg,
	char fault[static STORE_FAULT_CHARS]);
int store_bars_load(struct store *s,
	void (*fn)(void *arg, const uint8_t public_key[static CRYPTO_KEY_BYTES]), void *arg,
	char fault[static STORE_FAULT_CHARS]);

/* What was committed before is written now; from here on the thread writes.
 * 0; -EAGAIN the system refuses a thread. */
int store_start(struct store *s);

/* --- changes; control thread; each takes effect with the next commit. When memory is out the
 * commit fails as a whole, and so does each later one. */
void store_peer_put(struct store *s, const struct store_peer *p);
/* Its row alone: the peer stays, by the configuration. */
void store_peer_forget(struct store *s, const uint8_t public_key[static CRYPTO_KEY_BYTES]);
/* What was kept for it is in quarantine from now_ns until free_ns, and nobody's; where it was heard
 * is forgotten. */
void store_peer_del(struct store *s, const uint8_t public_key[static CRYPTO_KEY_BYTES],
	uint64_t now_ns, uint64_t free_ns);
/* Its number is held no more. */
void store_lease_put(struct store *s, const struct store_lease *l);
void store_lease_del(struct store *s, uint64_t id);
/* It was used then; nothing when there is none. */
void store_lease_used_put(struct store *s, uint64_t id, uint64_t used_ns);
void store_held_put(struct store *s, const struct store_held *h);
void store_heard_put(struct store *s, const struct store_heard *h);
/* An entry of the configuration, in the caller's words, that a change since then is stronger than.
 */
void store_overrule_put(struct store *s, const char *entry);
void store_overrule_del(struct store *s, const char *entry);
/* Whoever has this key may have no leases. */
void store_bar_put(
	struct store *s, const uint8_t public_key[static CRYPTO_KEY_BYTES], uint64_t now_ns);
void store_bar_del(struct store *s, const uint8_t public_key[static CRYPTO_KEY_BYTES]);

/* Hand over what was put since the last commit. Returns its ticket, to compare with the status;
 * that of the last one when nothing was put. */
uint64_t store_commit(struct store *s);

struct store_status {
	uint64_t done;	 /* all commits up to this ticket are on disk */
	uint64_t failed; /* those above done up to this one were tried in vain, and wait */
	char why[STORE_WHY_CHARS]; /* when failed > done */
};
/* Control thread; takes a lock that the writer holds for an instant only. */
void store_status_get(struct store *s, struct store_status *out);
/* Readable when the status has changed; the reader reads 8 bytes. */
int store_fd(const struct store *s);

#endif
