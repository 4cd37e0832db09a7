/* impl.h - the inside of the store; for lib/store only.
 *
 *   store.c   the file: opening, schema, reading
 *   write.c   changes: the queue, the thread, the statements
 *   history.c   records: written, deleted, read
 *   bind.h    values to statements
 */
#ifndef PORTIER_STORE_IMPL_H
#define PORTIER_STORE_IMPL_H

#include <pthread.h>
#include <sqlite3.h>

#include "store/history.h"

enum store_op_kind {
	STORE_PEER_PUT = 0,
	STORE_PEER_FORGET,
	STORE_PEER_DEL,
	STORE_HELD_ORPHAN, /* the second part of PEER_DEL */
	STORE_HEARD_DEL,   /* and the third */
	STORE_LEASE_PUT,
	STORE_HELD_DEL, /* the second half of LEASE_PUT */
	STORE_LEASE_DEL,
	STORE_LEASE_USED,
	STORE_HELD_PUT,
	STORE_HEARD_PUT,
	STORE_OVERRULE_PUT,
	STORE_OVERRULE_DEL,
	STORE_BAR_PUT,
	STORE_BAR_DEL,
	STORE_RECORD_OPEN,
	STORE_RECORD_CLOSE,
	STORE_RECORD_WHOLE, /* instead, when it was never opened */
	STORE_HISTORY_BEGIN,
	STORE_HISTORY_SINCE, /* the second part of it */
	STORE_HISTORY_ALIVE,
	STORE_HISTORY_STOP,
	STORE_META_PUT, /* what these two do */
	STORE_HISTORY_FORGET,
	STORE_FORGET_SLICE, /* what is left of it */
	STORE_TRIM_SLICE,
	STORE_OP_KINDS,
};

struct store_op {
	enum store_op_kind kind;
	union {
		struct store_peer peer; /* wiped */
		struct {
			uint8_t public_key[CRYPTO_KEY_BYTES];
			uint64_t now_ns, free_ns;
		} gone;
		struct store_lease lease;
		uint64_t lease_id;
		struct {
			uint64_t lease_id, at_ns;
		} used;
		struct store_held held;
		struct store_heard heard;
		char entry[STORE_ENTRY_CHARS];
		struct store_record record;
		struct {
			uint64_t now_ns, before_ns;
		} moment;
	} u;
};

/* Changes in their order, one behind the other, each as long as its kind needs. */
struct store_batch {
	uint8_t *bytes;
	size_t len, room;
	bool is_broken; /* memory was out: not whole */
};

struct store {
	sqlite3 *db;
	sqlite3 *reader; /* of history; control's own */
	uint64_t epoch_ns, last_lease_id;
	bool is_new;
	int fd;
	int lock_fd; /* of the file: whoever else opens it is turned away; -1: not open */
	pthread_t thread;
	bool is_running;

	struct store_batch open; /* W: control */

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t changed;
	struct store_batch queue;
	uint64_t ticket; /* of the last commit */
	bool is_ending;
	struct store_status status;

	/* W: the thread */
	struct store_batch writing;
	sqlite3_stmt *op[STORE_OP_KINDS];
	sqlite3_stmt *put_last_id;
	uint64_t written_last_id;
	bool is_forgetting;	 /* history goes, slice by slice */
	bool has_forgotten;	 /* all at once, in the transaction that is under way */
	uint64_t trim_before_ns; /* and so does what was closed before then; 0: nothing */
	bool has_slice_failed;
};

/* store.c */
int store_sql(struct store *s, const char *sql);

/* write.c */
void store_put(struct store *s, const struct store_op *op);

/* history.c, for the thread */
int store_history_write(struct store *s, const struct store_op *op);
bool store_history_has_slices(const struct store *s);
/* One, in a transaction of its own. 0; -EIO. */
int store_history_slice(struct store *s);

#endif
