/* server.h - the inside of the control server; for lib/ctl only.
 *
 *   socket.c   a socket file
 *   listen.c   connections of the control socket, and whom they belong to
 *   client.c   bytes of one client in and out, in bounds
 *   commit.c   replies that wait for the workers, and for the store
 *   durable.c  what is put into the store, and the wait for it
 *   overrule.c   which entries of the configuration a change since was stronger than
 *   announce.c           clients are told, unasked, of lost leases and of another address
 *   restore.c, heard.c   what comes back after a restart
 *   used.c     when leases were used last
 *   method.c   a line to replies: the table of methods
 *   peer_methods.c, lease_methods.c, session_methods.c, report_methods.c   the methods
 *   pool.c     the public addresses and what each is used for
 *   why_methods.c, why_lease.c   questions about packets, and about a lease
 *   recent.c   the last dropped packets
 *   check.c, check_from.c, check_found.c   probes of doors (check.h)
 *   peer_rules.c, route_rules.c, lease_rules.c   what may be changed, and the one way of it
 *   bars.c     who may have no leases
 *   history.c, history_methods.c   who had which public ports (history.h)
 *   pairing.c  the address that a peer leaves by
 *   portmap.c and portmap_*.c   NAT-PMP and PCP (portmap.h)
 *   promises.c what is promised, counted where it is broken
 *   events.c   what happens, told to those who asked for it
 *   health.c   the look at the workers
 *   uapi_server.c, uapi_set.c   the socket of the WireGuard tools, and what they may change
 *   reload.c   the configuration, read again
 *   metrics.c, metrics_http.c   what monitoring reads, and how
 *   shape.c    values to JSON
 *   ctl.c      boot, timers, end
 */
#ifndef PORTIER_CTL_SERVER_H
#define PORTIER_CTL_SERVER_H

#include "ctl/ctl.h"
#include "ctl/pairing.h"

#include <event2/buffer.h>
#include <event2/event.h>

#include <sys/queue.h>
#include <sys/types.h>

/* What one client may have the server hold for it before its next request waits. One reply may
 * exceed it. */
#define CTL_OUT_BYTES (1u << 20)
/* Where a batch stops being carried out: its reply would not be bounded. */
#define CTL_REPLY_BYTES_MAX (16u << 20)
#define CTL_READ_BYTES	    (64u << 10)
/* What is kept from one reply to the next. */
#define CTL_KEEP_BYTES (1u << 20)
/* Connections of those who may only read never take the last ones. */
#define CTL_READERS_MAX (CTL_CLIENTS_MAX * 3 / 4)
/* A turn of ctl_tick. */
#define CTL_EXPIRE_SLICE 1024u
#define CTL_SWEEP_SLICE	 8192u

/* X(name, help): what NAT-PMP and PCP came to. */
#define CTL_PORTMAP_COUNTERS(X)                                        \
	X(requests, "NAT-PMP and PCP requests")                        \
	X(answered, "of these, answered")                              \
	X(ignored, "of these, no requests, or of a peer that is gone") \
	X(lost, "answers that found no room")                          \
	X(opened, "mappings opened")                                   \
	X(renewed, "mappings renewed")                                 \
	X(closed, "mappings closed")                                   \
	X(refused, "answers that refuse")                              \
	X(announced, "messages that told of a loss or of another address")

struct ctl_portmap_counters {
#define X(name, help) uint64_t name;
	CTL_PORTMAP_COUNTERS(X)
#undef X
};

struct ctl_portmap {
	TAILQ_HEAD(, ctl_portmap_answer) answers; /* that wait for the workers */
	uint64_t n_answers;			  /* of them */
	uint64_t known_id;			  /* workers know of the leases up to this one */
	bool answer_has_address;		  /* of the mapping that is being opened */
	struct ctl_portmap_counters counters;
};

/* Who is at the far end. */
struct ctl_role {
	uid_t uid;
	bool may_write;
};

/* Who asks for what is being done. */
enum ctl_by {
	CTL_BY_TIME = 0, /* nobody: an end came */
	CTL_BY_CONTROL,
	CTL_BY_UAPI,
	CTL_BY_NATPMP,
	CTL_BY_PCP,
	CTL_BY_CONF, /* at the start, or at a reload */
};

struct ctl_actor {
	enum ctl_by by;
	uid_t uid; /* of CONTROL and UAPI */
};

/* A socket that listens, and its file. */
struct ctl_socket {
	int fd; /* -1: none */
	char path[108];
	dev_t dev;
	ino_t ino;
};

/* Somebody waits for a grace period and for the store. */
struct ctl_wait {
	TAILQ_ENTRY(ctl_wait) next; /* when past its grace period */
	struct grace_work work;
	struct ctl *ctl;
	uint64_t ticket; /* of the store; 0: none */
	bool is_past_grace;
	void (*fn)(void *arg, bool is_durable);
	void *arg;
};

/* Stands in a refusal where the reason of the store will be, and how it looks as JSON: no text that
 * is read from a client has it. */
#define CTL_WHY_MARK	  "\x01"
#define CTL_WHY_MARK_JSON "\\u0001"

/* Replies that wait. It may outlive its client. */
struct ctl_commit {
	TAILQ_ENTRY(ctl_commit) next;
	struct ctl_wait wait;
	struct ctl *ctl;
	struct ctl_client *client; /* NULL: it hung up */
	struct evbuffer *replies;
	struct evbuffer *refusals; /* instead, when the store fails; with a store */
	/* The replies tell of leases whose ids lie between: more than the first, up to the second.
	 */
	uint64_t opened_after_id, opened_to_id;
};

struct ctl_client {
	TAILQ_ENTRY(ctl_client) next;
	struct ctl *ctl;
	struct ctl_role role;
	int fd;
	struct event *ev_read, *ev_write;
	struct rpc_lines lines;
	struct evbuffer *out;
	struct ctl_commit *commit; /* of the current read; NULL: nothing changed yet */
	size_t uncommitted_bytes;  /* replies in commits */
	unsigned n_checks;	   /* whose replies it waits for */
	unsigned n_commits;
	uint64_t progress_ns; /* when it last read something, or had nothing to read */
	json_t *events;	      /* names of those it subscribed to, empty: all; NULL: none */
	uint64_t n_missed;    /* events that it was too slow for, and was not told of yet */
	bool is_ending;	      /* no further request is read: end of file, or a line too long */
};

/* Where a lease was. */
struct ctl_number {
	struct ip_addr addr;
	uint16_t port;
};

/* Public keys of those who are barred, in the order of their bytes. A bar belongs to the key: it
 * outlives the peer. */
struct ctl_bars {
	uint8_t (*keys)[CRYPTO_KEY_BYTES];
	size_t n, room;
};

/* Who a peer is, when it is no more. */
struct ctl_peer_id {
	uint8_t public_key[CRYPTO_KEY_BYTES];
	char name[PEER_NAME_CHARS];
};

struct ctl_history {
	bool is_on;	       /* records are put into the store */
	bool is_sweeping;      /* of what is open some may have none */
	uint64_t lease_cursor; /* UINT64_MAX: all were seen */
	uint64_t block_cursor;
	uint64_t alive_ns;	       /* when it was last said that all is as recorded */
	struct ctl_live_block *blocks; /* NULL: there are none */
	uint64_t n_blocks;
	uint32_t blocks_of_address;
	uint32_t n_waiting; /* records of blocks, for a store that cannot be written */
	uint64_t n_missed;  /* while it can not be written */
	uint64_t n_missed_ever;
};

struct ctl_look {
	uint64_t turns;
	uint64_t moved_ns;
};

struct ctl {
	struct ctl_params p;
	uint64_t stall_ns;

	/* listen.c */
	struct ctl_socket socket;
	bool has_group;
	gid_t group;
	struct event *ev_listen;

	/* client.c */
	TAILQ_HEAD(, ctl_client) clients;
	unsigned n_clients, n_readers;
	struct rpc_text reply;	 /* of the line that runs; empty in between */
	struct rpc_text refusal; /* what it would be if the store failed */

	/* method.c */
	struct rpc_arena arena; /* of the line that runs */
	bool is_asked_alone;	/* the request that is carried out has an id, and is in no batch */

	/* check.c */
	TAILQ_HEAD(, ctl_check) checks;
	struct event *ev_checks;
	uint64_t checks_full_ns; /* when as many as ever may begin at once */
	uint64_t n_checks;	 /* begun */

	/* uapi_server.c; NULL: off */
	struct ctl_uapi *uapi;

	/* metrics_http.c; NULL: off */
	struct ctl_metrics *metrics;

	/* events.c */
	struct ctl_client *asking; /* whose request is carried out */
	unsigned n_subscribers;
	uint64_t n_events_missed;	  /* by all who were too slow */
	struct ctl_seen_peer *seen_peers; /* by peer_idx; made when first asked for */
	uint32_t peers_cursor;
	uint64_t leases_seen_ns;
	bool is_pool_low;

	/* promises.c */
	uint64_t n_broken[STATS_N_PROMISES];

	/* commit.c */
	TAILQ_HEAD(, ctl_commit) commits;
	/* Of leases that clients opened, those of the read that runs: as in a commit. */
	uint64_t opened_after_id, opened_to_id;
	struct event *ev_poll;
	unsigned n_polls; /* in vain, in a row */

	/* bars.c */
	struct ctl_bars bars;

	/* history.c */
	struct ctl_history history;

	/* peer_rules.c, lease_rules.c */
	struct pairing pairing;		/* for ordinary traffic */
	struct pairing lease_pairing;	/* of public.pool; the same without nat.pool */
	struct ctl_pool_use *pool_uses; /* pool.c: by rank in blocks; NULL: no blocks */
	struct ctl_peer_id *gone_peers; /* block_records.c: by number; NULL: no workers */
	uint64_t n_block_records, n_block_records_missed;
	uint32_t heartbeat_cursor;  /* heartbeat.c */
	bool is_loading;	    /* what comes was compared with each other already */
	struct ctl_actor actor;	    /* of the change that is under way */
	struct ctl_portmap portmap; /* portmap.c */

	/* durable.c */
	TAILQ_HEAD(, ctl_wait) waits;
	struct event *ev_store;
	struct store_status store_status; /* as last told */
	uint64_t n_store_failures;	  /* times that it began to fail */
	bool *is_configured;		  /* by peer_idx: as the file says, hence not stored */
	bool is_restoring;		  /* what is put is there already */
	bool has_unwritten;		  /* renewals, while it failed */
	unsigned n_rewrite_rounds;	  /* of the sweep, in which leases are put again */

	/* used.c */
	bool is_used_round;	/* of the sweep: what was used since used_since_ns is put */
	uint64_t used_since_ns; /* when the round before it began */
	uint64_t used_round_ns; /* when the last of these rounds began */

	/* restore.c */
	uint64_t epoch_ns; /* when the table of leases began, of all runs */
	bool has_lost;	   /* this run knows nothing of the one before */

	/* announce.c */
	struct ctl_announce *announces; /* by peer_idx */
	uint32_t n_announcing;		/* peers that are still to be told */
	uint32_t announce_cursor;
	/* heard.c */
	struct ctl_heard *heard; /* by peer_idx; NULL: no store */
	uint32_t heard_cursor;
	struct ctl_begin *begins;
	uint32_t n_begins, n_begun;
	struct event *ev_begin;

	/* ctl.c */
	struct event *ev_tick;
	uint64_t tick_at_ns;
	uint64_t looked_ns;
	uint64_t sweep_cursor;

	/* health.c */
	struct ctl_look *looks; /* one per worker */
	uint64_t under_load;	/* the handshake thread's counter at the last look */
	bool is_under_load;	/* it moved between the last two */
};

/* --- socket.c */
/* Serve path with this mode; its directory is made when missing. 0, or -EINVAL and the sentence in
 * fault, which begins with key; s->fd is then -1. */
int ctl_socket_open(struct ctl_socket *s, const char *key, const char *path, mode_t mode,
	char fault[static CTL_FAULT_CHARS]);
void ctl_socket_close(struct ctl_socket *s);

/* --- listen.c */
/* 0 or -errno. */
int ctl_role_get(const struct ctl *c, int fd, struct ctl_role *out);
int ctl_listen(struct ctl *c, char fault[static CTL_FAULT_CHARS]);
void ctl_unlisten(struct ctl *c);

/* --- client.c */
/* Takes fd over. */
void ctl_client_create(struct ctl *c, int fd, struct ctl_role role);
void ctl_client_destroy(struct ctl_client *client);
/* Replies are ready to leave; they are moved out of there. False: the client is gone. */
bool ctl_client_send(struct ctl_client *client, struct evbuffer *replies);
/* Go on with requests that waited for room. The client may be gone afterwards. */
void ctl_client_run(struct ctl_client *client);
/* Write what the far end takes of out, and take it away there; as sendmsg, without SIGPIPE. */
ssize_t ctl_send_some(int fd, struct evbuffer *out);
void ctl_clients_sweep(struct ctl *c, uint64_t now_ns);

/* --- commit.c */
/* Where the replies of this read go that wait for the workers; NULL: memory is out. */
struct ctl_commit *ctl_commit_get(struct ctl_client *client);
/* The read ended: from here a grace period runs. */
void ctl_commit_start(struct ctl_client *client);
/* The client is going. */
void ctl_commits_disown(struct ctl_client *client);
/* Poll grace until nothing is pending. */
void ctl_commit_poll(struct ctl *c);
/* 0 or -ENOMEM. */
int ctl_commits_init(struct ctl *c);
/* Clients are gone; replies that still wait are dropped. */
void ctl_commits_fini(struct ctl *c);

/* --- method.c */
/* One line of a client: everything in it is carried out; its reply is appended to *reply (with a
 * newline) unless none is due. Returns whether something changed, so that the reply must wait. */
bool ctl_line_run(struct ctl *c, const struct ctl_role *role, const char *line, size_t len,
	struct rpc_text *reply, struct rpc_text *refusal);

/* A method: params were checked against its list. It has one of run, write and begin. */
struct ctl_method {
	const char *name;
	bool writes;
	const struct rpc_param *params;
	size_t n_params;
	/* The result; NULL with *fault on failure: then nothing changed. */
	json_t *(*run)(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault);
	/* The same, for what is asked for by the thousand: the result goes straight into the text,
	 * as one value. 0; -EINVAL with *fault: then nothing changed. */
	int (*write)(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
		struct rpc_fault *fault);
	/* The reply to the request with this id comes later, by itself. 0; -EINVAL with *fault:
	 * then nothing was begun, and none comes. */
	int (*begin)(struct ctl *c, const struct rpc_value *id, const struct rpc_value *params,
		struct rpc_fault *fault);
};
/* Each ends with a method without a name. */
extern const struct ctl_method ctl_peer_methods[];
extern const struct ctl_method ctl_lease_methods[];
extern const struct ctl_method ctl_check_methods[];
extern const struct ctl_method ctl_session_methods[];
extern const struct ctl_method ctl_pool_methods[];
extern const struct ctl_method ctl_why_methods[];
extern const struct ctl_method ctl_why_lease_methods[];
extern const struct ctl_method ctl_report_methods[];
extern const struct ctl_method ctl_reload_methods[];
extern const struct ctl_method ctl_event_methods[];
extern const struct ctl_method ctl_history_methods[];

/* --- durable.c: without a store all but the waits do nothing */
uint64_t ctl_wall_of(const struct ctl *c, uint64_t at_ns);
uint64_t ctl_moment_of(const struct ctl *c, uint64_t wall_at_ns);
/* The same, when the clocks say so. */
uint64_t ctl_moment_at(uint64_t now_ns, uint64_t wall_ns, uint64_t wall_at_ns);
bool ctl_store_is_failing(const struct ctl *c);
/* -EINVAL with *fault while the store cannot be written: then nothing is to be opened, added or
 * changed. What is to end ends, and its reply says that it is not on disk. */
int ctl_store_check(const struct ctl *c, struct rpc_fault *fault);
bool ctl_is_by_conf(const struct ctl *c);
bool ctl_lease_is_configured(const struct lease *lease);
void ctl_store_lease(struct ctl *c, const struct lease *lease);
/* For an answer that does not wait. */
void ctl_store_renewal(struct ctl *c, const struct lease *lease);
void ctl_store_lease_end(struct ctl *c, const struct lease *gone);
/* old: as it was; NULL: it is new. */
void ctl_store_peer(struct ctl *c, uint32_t peer_idx, const struct peer_conf *old);
void ctl_store_peer_gone(struct ctl *c, uint32_t peer_idx, const struct peer_conf *old);
/* fn is called when all that was changed so far is in force and on disk, or with false: in force,
 * but the disk does not take it. w lives until then, or until ctl_wait_cancel. */
void ctl_wait_start(
	struct ctl *c, struct ctl_wait *w, void (*fn)(void *arg, bool is_durable), void *arg);
void ctl_wait_cancel(struct ctl_wait *w);
/* 0 or -1: memory or descriptors are out. */
int ctl_durable_init(struct ctl *c);
void ctl_durable_fini(struct ctl *c);

/* --- used.c */
/* When anything last came in or went out by it, also before a restart; 0: never yet. */
uint64_t ctl_lease_used_ns(const struct ctl *c, const struct lease *lease);
/* Nobody used it for so long. */
bool ctl_lease_is_unused(const struct ctl *c, const struct lease *lease, uint64_t unused_ns);
/* Its idle limit is over. */
bool ctl_lease_is_idle(const struct ctl *c, const struct lease *lease);
/* A round of the sweep begins; a lease of the round. */
void ctl_used_round(struct ctl *c, uint64_t now_ns);
void ctl_used_sweep(struct ctl *c, const struct lease *lease);
/* All, at the end. */
void ctl_used_fini(struct ctl *c);

/* --- overrule.c: entries as words, and what of them is in the store at the start */
struct ctl_overrules;
char *ctl_overrule_peer_word(const struct peer_conf *conf, char buf[static STORE_ENTRY_CHARS]);
/* False: its peer is gone. */
bool ctl_overrule_lease_word(
	const struct ctl *c, const struct lease *lease, char buf[static STORE_ENTRY_CHARS]);
/* NULL: the sentence is in fault. */
struct ctl_overrules *ctl_overrules_create(struct ctl *c, char fault[static CTL_FAULT_CHARS]);
void ctl_overrules_destroy(struct ctl_overrules *o);
/* Is this entry overruled? o may be NULL: no. */
bool ctl_overrules_peer(struct ctl_overrules *o, const struct peer_conf *conf);
bool ctl_overrules_lease(const struct ctl *c, struct ctl_overrules *o, uint32_t peer_idx,
	const struct conf_lease *entry);
/* The file says none of what is left. */
void ctl_overrules_forget_unused(struct ctl *c, const struct ctl_overrules *o);

/* --- announce.c: clients are told of a loss and of another address, each when it is heard. */
int ctl_announce_init(struct ctl *c);
void ctl_announce_fini(struct ctl *c);
/* The peer is to be told; all are. No effect on who may not map ports. */
void ctl_announce_to(struct ctl *c, uint32_t peer_idx);
void ctl_announce_to_all(struct ctl *c);
/* Its number is another's, or nobody's. */
void ctl_announce_forget(struct ctl *c, uint32_t peer_idx);
/* The peer asks, by this protocol and from these ends: so it is to be told. */
void ctl_announce_note(struct ctl *c, const struct ctl_portmap_route *from, bool is_pcp);
/* It may have asked by NAT-PMP, or nothing is known of it. */
bool ctl_announce_has_natpmp(const struct ctl *c, uint32_t peer_idx);
/* Each second. */
void ctl_announce_sweep(struct ctl *c, uint64_t now_ns);

/* --- restore.c, heard.c; with a store. 0, or negative with the sentence. */
int ctl_restore_peers(struct ctl *c, char fault[static CTL_FAULT_CHARS]);
/* peer_idx: of conf->peers; PEER_NONE where one is not there. */
int ctl_restore_leases(struct ctl *c, const uint32_t *peer_idx, struct ctl_overrules *o,
	char fault[static CTL_FAULT_CHARS]);
int ctl_restore_held(struct ctl *c, char fault[static CTL_FAULT_CHARS]);
int ctl_heard_restore(struct ctl *c, char fault[static CTL_FAULT_CHARS]);
void ctl_heard_sweep(struct ctl *c);
void ctl_heard_fini(struct ctl *c);

/* --- peer_methods.c: what the store keeps of a peer beside its keys, as peer.add takes it */
void ctl_peer_settings(const struct peer_conf *conf, char buf[static STORE_SETTINGS_CHARS]);
int ctl_peer_settings_read(const char *settings, const uint8_t public_key[static CRYPTO_KEY_BYTES],
	struct peer_conf *conf, struct rpc_fault *fault);

/* --- peer_rules.c, route_rules.c, lease_rules.c */
/* By its lease, or else by its key. After each change of either. */
void ctl_peer_public_update(struct ctl *c, uint32_t peer_idx);
/* May it lead to a peer at all? */
bool ctl_route_is_sound(const struct ip_prefix *route);
/* No prefix or address of the gateway or of another peer meets one of this peer's routes, and its
 * IPv6 address meets none of theirs. peer_idx: itself, PEER_NONE when it is new. 0; -EINVAL with
 * *fault. O(peers) when it has routes. */
int ctl_routes_check(
	struct ctl *c, uint32_t peer_idx, const struct peer_conf *conf, struct rpc_fault *fault);
/* The peer named so. 0; -EINVAL with *fault. */
int ctl_peer_find(struct ctl *c, const char *who, uint32_t *out_idx, struct rpc_fault *fault);
/* Name, or else public key. */
#define CTL_PEER_WORD_CHARS 48
char *ctl_peer_word(const struct ctl *c, uint32_t peer_idx, char buf[static CTL_PEER_WORD_CHARS]);
/* Where a lease of the peer leads that does not say it: its first address. */
struct ip_addr ctl_peer_inner(const struct peer_conf *conf);
/* The peer may have leases, of which peer is the word. 0; -EINVAL with *fault. */
int ctl_peer_check_leases(const struct ctl *c, const struct peer_conf *conf, const char *peer,
	struct rpc_fault *fault);
/* The open lease with this id; NULL with *fault. */
const struct lease *ctl_lease_get(struct ctl *c, uint64_t id, struct rpc_fault *fault);
/* ctl_lease_close, for another reason than that somebody asked. */
int ctl_lease_end(struct ctl *c, uint64_t id, const char *reason, struct lease *out,
	struct door_counters *counters, struct rpc_fault *fault);
/* All of a peer, or, with what the peer is now, those that it may not have any more. How many.
 * O(its leases). */
unsigned ctl_peer_leases_close(
	struct ctl *c, uint32_t peer_idx, const struct peer_conf *now, const char *reason);
void ctl_leases_expire(struct ctl *c, uint64_t now_ns);
/* The next slice of them: idle ones end, and each is as reachable as its peer. */
void ctl_leases_sweep(struct ctl *c, uint64_t now_ns);
/* What the handshake thread found out about the peer, told to its leases. */
void ctl_leases_reach(struct ctl *c, uint32_t peer_idx);

/* --- bars.c */
bool ctl_peer_is_barred(const struct ctl *c, const struct peer_conf *conf);
/* Close all its leases, and refuse later ones. 0; -EINVAL with *fault: memory is out. */
int ctl_peer_bar(struct ctl *c, uint32_t peer_idx, unsigned *n_closed, struct rpc_fault *fault);
/* who: a peer, or the public key of one that is gone. *out_idx: PEER_NONE for that. 0; -EINVAL with
 * *fault. */
int ctl_peer_unbar(struct ctl *c, const char *who, uint32_t *out_idx, struct rpc_fault *fault);
/* With a store, before its leases. 0, or negative with the sentence. */
int ctl_bars_restore(struct ctl *c, char fault[static CTL_FAULT_CHARS]);

/* --- uapi_server.c, uapi_set.c */
struct uapi_request;
/* Serve conf->uapi_name. NULL: the sentence is in fault. */
struct ctl_uapi *ctl_uapi_create(struct ctl *c, char fault[static CTL_FAULT_CHARS]);
/* NULL is fine, here and in the next. */
void ctl_uapi_destroy(struct ctl_uapi *u);
void ctl_uapi_sweep(struct ctl_uapi *u, uint64_t now_ns);
/* Carry out a set request. 0 or -errno; unless 0, -EINVAL or -EOPNOTSUPP some of it may be done. */
int ctl_uapi_set(struct ctl *c, const struct ctl_role *role, const struct uapi_request *r);

/* --- events.c */
/* What happened to a lease or peer; name as "lease.opened". reason may be NULL, counters too: they
 * are looked up. Cheap when nobody listens. */
void ctl_event_lease(struct ctl *c, const char *name, const struct lease *lease,
	const struct door_counters *counters, const char *reason);
/* Those by NAT-PMP and PCP once a second for each peer; the next one says how many were left out.
 */
void ctl_event_denied(
	struct ctl *c, const struct lease_request *req, const struct rpc_fault *fault);
void ctl_event_peer(struct ctl *c, const char *name, uint32_t peer_idx);
struct ctl_block_record;
/* A block was claimed or released; so many records of that were lost. */
void ctl_event_block(struct ctl *c, const struct ctl_block_record *record);
void ctl_event_blocks_missed(struct ctl *c, uint64_t n);
void ctl_event_store(struct ctl *c, bool is_failing);
/* The number will be another peer's. */
void ctl_events_forget_peer(struct ctl *c, uint32_t peer_idx);
/* Once a second. */
void ctl_events_look(struct ctl *c, uint64_t now_ns);
/* Some of what waited for this client was read: tell it what it missed, if it did. */
void ctl_events_missed(struct ctl_client *client);
void ctl_events_unsubscribe(struct ctl_client *client);

/* --- metrics.c, metrics_http.c */
/* All metrics, now; *out is the caller's to free. 0; -ENOMEM. */
int ctl_metrics_build(struct ctl *c, bool is_openmetrics, char **out, size_t *out_len);
/* Serve conf->metrics_listen. NULL: the sentence is in fault. */
struct ctl_metrics *ctl_metrics_create(struct ctl *c, char fault[static CTL_FAULT_CHARS]);
/* NULL is fine. */
void ctl_metrics_destroy(struct ctl_metrics *m);

/* --- session_methods.c */
/* "tcp", "udp", "icmp", "icmpv6", else the number; and back: 0, or -EINVAL with *fault. */
#define CTL_IP_PROTO_CHARS 8
const char *ctl_ip_proto_word(uint8_t proto, char buf[static CTL_IP_PROTO_CHARS]);
int ctl_ip_proto_parse(const char *text, uint8_t *out, struct rpc_fault *fault);
/* NULL: it is not TCP. */
const char *ctl_tcp_state_word(uint8_t state);

/* --- pool.c: counts of the public addresses. All of them do nothing where there are no blocks. */
/* 0; -ENOMEM. */
int ctl_pool_init(struct ctl *c);
/* The ordinary traffic of a peer leaves by another address; 0: by none. */
void ctl_pool_peer_moved(struct ctl *c, uint32_t from_v4, uint32_t to_v4);
void ctl_pool_lease_opened(struct ctl *c, const struct lease *lease);
void ctl_pool_lease_ended(struct ctl *c, const struct lease *lease);

/* --- block_records.c: what workers record of blocks of public ports */
struct ctl_block_record {
	const struct flow_record *flow;
	uint64_t wall_ns;
	const struct ctl_peer_id *peer;
};
/* 0; -ENOMEM. */
int ctl_block_records_init(struct ctl *c);
/* Each is told; those of one worker in their order. */
void ctl_block_records_take(struct ctl *c);
/* A peer is about to be deleted: what comes of it later has its word all the same. */
void ctl_block_records_leave(struct ctl *c, uint32_t peer_idx);
uint64_t ctl_block_records_missed(const struct ctl *c);
/* peers_poll, after which numbers of deleted peers may be others'. */
void ctl_peers_poll(struct ctl *c);

/* --- history.c */
/* 0; -ENOMEM. */
int ctl_history_init(struct ctl *c);
void ctl_history_fini(struct ctl *c);
/* At the start, between what the store brings back and what the file opens. */
void ctl_history_start(struct ctl *c);
/* The configuration may say something else of it now. -EINVAL with *fault: it takes a restart. */
int ctl_history_switch(struct ctl *c, struct rpc_fault *fault);
/* By and for the actor of the change. */
void ctl_history_lease_opened(struct ctl *c, const struct lease *lease);
void ctl_history_lease_closed(struct ctl *c, const struct lease *gone, const char *reason);
void ctl_history_block(struct ctl *c, const struct ctl_block_record *record);
/* Once a second. */
void ctl_history_sweep(struct ctl *c, uint64_t now_ns);

/* --- heartbeat.c */
/* A lease of the peer was opened. O(1), and a message when it is the first in a while. */
void ctl_heartbeat_begin(struct ctl *c, uint32_t peer_idx);
/* Once a second: the next slice of peers have one, or have none, as their leases want it. */
void ctl_heartbeats_sweep(struct ctl *c);

/* --- why_lease.c */
/* What came to nothing at an open lease: a member "failures" of what is being written. */
void ctl_failures_write(struct ctl *c, const struct lease *lease, struct rpc_text *t);

/* --- check.c */
/* 0; -ENOMEM. */
int ctl_checks_init(struct ctl *c);
/* Those that still wait get no reply. */
void ctl_checks_fini(struct ctl *c);
/* The client is going. */
void ctl_checks_disown(struct ctl_client *client);

/* --- recent.c */
/* The last dropped packets of all workers, youngest first, at most n of them; those only that
 * wants(arg, ...) says, NULL: all. A member "recent" of what is being written. */
void ctl_recent_write(struct ctl *c, struct rpc_text *t, uint64_t n,
	bool (*wants)(const void *arg, const struct stats_recent_drop *d), const void *arg);
/* Nowhere else is an endpoint of one text: without a port the address alone, null for none. */
void ctl_end_write(struct rpc_text *t, const char *name, const struct ip_endpoint *e);

/* --- portmap.c */
void ctl_portmap_init(struct ctl *c);
/* Answers that still wait are dropped. */
void ctl_portmap_fini(struct ctl *c);
json_t *ctl_portmap_build(const struct ctl *c);

/* --- promises.c; all O(1) */
/* A lease as it is before a renewal; NULL: there is none. */
struct ctl_number ctl_number_of(const struct lease *lease);
/* It was renewed. */
void ctl_promise_number(struct ctl *c, const struct ctl_number *before, const struct lease *now);
/* It is told to its peer, with the address. */
void ctl_promise_address(struct ctl *c, const struct lease *lease);
/* Its opener is told now that it is open. */
void ctl_promise_door(struct ctl *c, uint64_t lease_id);
/* A peer that has to ask again can not be told. */
void ctl_promise_untold(struct ctl *c);
/* How often it was broken. */
uint64_t ctl_promise_broken(const struct ctl *c, enum stats_promise promise);
json_t *ctl_promises_build(const struct ctl *c);

/* --- health.c */
/* Ports that leases can have, on all addresses of the pool. */
uint64_t ctl_pool_ports_count(const struct conf *conf);
void ctl_look(struct ctl *c, uint64_t now_ns);
bool ctl_worker_is_stuck(const struct ctl *c, unsigned worker, uint64_t now_ns);
json_t *ctl_health_build(struct ctl *c);

/* --- shape.c */
json_t *ctl_peer_build(struct ctl *c, uint32_t peer_idx);
/* The members of a lease, without the braces. counters NULL: look them up. */
void ctl_lease_write(struct ctl *c, const struct lease *lease, const struct door_counters *counters,
	struct rpc_text *t);
/* A kept number, whole; as a member of this name, or NULL. */
void ctl_held_write(
	struct ctl *c, const char *name, const struct lease_held *held, struct rpc_text *t);
const char *ctl_opener_word(enum lease_opener opener);
const char *ctl_proto_word(uint8_t protos);
/* "ADDRESS:PORT" or "ADDRESS:PORT/PROTO", tcp or udp, to a public port and LEASE_PROTO_*, 0 when it
 * is not said. -EINVAL: something else; *out and *protos may be changed. */
int ctl_number_parse(const char *text, struct ip_endpoint *out, uint8_t *protos);
json_t *ctl_seconds_build(uint64_t ns);
/* Seconds since then; null when then is 0. */
json_t *ctl_age_build(uint64_t now_ns, uint64_t then_ns);
/* A parameter, seconds since 1970, to a moment of the monotonic clock; what has passed is 1.
 * Absent: leaves *out_ns. */
int ctl_moment_get(const struct ctl *c, const struct rpc_value *params, const char *name,
	uint64_t *out_ns, struct rpc_fault *fault);
json_t *ctl_address_build(const struct ip_addr *a);
/* null for none. */
void ctl_address_write(struct rpc_text *t, const char *name, const struct ip_addr *a);
/* Host order to an address; 0 to none. */
struct ip_addr ctl_v4_addr(uint32_t v4);
/* Host order; null for 0. */
json_t *ctl_v4_build(uint32_t v4);
const char *ctl_filter_word(enum flow_filter filter);
/* Which part of a list is asked for: parameters limit and cursor, checked to be integers. */
struct ctl_page {
	uint64_t limit, cursor;
};
/* 0; -EINVAL with *fault: limit over CTL_LIST_MAX. Any cursor is taken. */
int ctl_page_get(const struct rpc_value *params, struct ctl_page *out, struct rpc_fault *fault);
/* Seconds of a checked parameter to nanoseconds: -EINVAL with *fault over 100 years. absent: leaves
 * *out_ns. */
int ctl_seconds_get(const struct rpc_value *params, const char *name, uint64_t *out_ns,
	struct rpc_fault *fault);

/* --- ctl.c */
/* An entry of the configuration, into what is all zero and stays so where it says nothing. */
void ctl_conf_peer_fill(
	const struct conf *conf, const struct conf_peer *from, struct peer_conf *out);
void ctl_conf_lease_fill(const struct conf_lease *from, struct lease_request *out);
/* ctl_peer_add, until the handshake thread has room. */
int ctl_peer_add_waiting(
	struct ctl *c, const struct peer_conf *conf, uint32_t *out_idx, struct rpc_fault *fault);
/* The timer fires no later than the next lease ends. */
void ctl_tick_arm(struct ctl *c);

#endif
