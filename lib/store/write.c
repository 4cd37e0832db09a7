/* Changes: the queue, the thread, the statements. */
#include "store/bind.h"
#include "store/impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"

#define RETRY_S 1

/* ---- batches ---- */

#define MOMENT_BYTES (offsetof(struct store_op, u) + sizeof(((struct store_op *)0)->u.moment))

static const size_t op_bytes[STORE_OP_KINDS] = {
	[STORE_PEER_PUT] = offsetof(struct store_op, u) + sizeof(struct store_peer),
	[STORE_PEER_FORGET] = offsetof(struct store_op, u) + sizeof(((struct store_op *)0)->u.gone),
	[STORE_PEER_DEL] = offsetof(struct store_op, u) + sizeof(((struct store_op *)0)->u.gone),
	[STORE_LEASE_PUT] = offsetof(struct store_op, u) + sizeof(struct store_lease),
	[STORE_LEASE_DEL] = offsetof(struct store_op, u) + sizeof(uint64_t),
	[STORE_LEASE_USED] = offsetof(struct store_op, u) + sizeof(((struct store_op *)0)->u.used),
	[STORE_HELD_PUT] = offsetof(struct store_op, u) + sizeof(struct store_held),
	[STORE_HEARD_PUT] = offsetof(struct store_op, u) + sizeof(struct store_heard),
	[STORE_OVERRULE_PUT] = offsetof(struct store_op, u) + STORE_ENTRY_CHARS,
	[STORE_OVERRULE_DEL] = offsetof(struct store_op, u) + STORE_ENTRY_CHARS,
	[STORE_BAR_PUT] = offsetof(struct store_op, u) + sizeof(((struct store_op *)0)->u.gone),
	[STORE_BAR_DEL] = offsetof(struct store_op, u) + sizeof(((struct store_op *)0)->u.gone),
	[STORE_RECORD_OPEN] = offsetof(struct store_op, u) + sizeof(struct store_record),
	[STORE_RECORD_CLOSE] = offsetof(struct store_op, u) + sizeof(struct store_record),
	[STORE_HISTORY_BEGIN] = MOMENT_BYTES,
	[STORE_HISTORY_ALIVE] = MOMENT_BYTES,
	[STORE_HISTORY_STOP] = MOMENT_BYTES,
	[STORE_HISTORY_FORGET] = MOMENT_BYTES,
};

static void batch_fini(struct store_batch *b)
{
	if (b->bytes)
		crypto_wipe(b->bytes, b->len);
	free(b->bytes);
	*b = (struct store_batch){0};
}

/* Keys must not stay behind in memory that was given back: no realloc. */
static bool batch_grow(struct store_batch *b, size_t more)
{
	size_t room = b->room ? b->room : 4096;
	uint8_t *bytes;

	while (room < b->len + more)
		room *= 2;
	if (room == b->room)
		return true;
	bytes = malloc(room);
	if (!bytes)
		return false;
	if (b->len > 0) {
		memcpy(bytes, b->bytes, b->len);
		crypto_wipe(b->bytes, b->len);
	}
	free(b->bytes);
	b->bytes = bytes;
	b->room = room;
	return true;
}

static void batch_append(struct store_batch *b, const void *bytes, size_t len)
{
	if (b->is_broken || !batch_grow(b, len)) {
		b->is_broken = true;
		return;
	}
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

void store_put(struct store *s, const struct store_op *op)
{
	/* Each begins where its widest member may. */
	size_t len = (op_bytes[op->kind] + 7) & ~(size_t)7;

	batch_append(&s->open, op, len);
}

void store_peer_put(struct store *s, const struct store_peer *p)
{
	struct store_op op = {.kind = STORE_PEER_PUT, .u.peer = *p}; /* wiped */

	store_put(s, &op);
	crypto_wipe(&op, sizeof(op));
}

void store_peer_forget(struct store *s, const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	struct store_op op = {.kind = STORE_PEER_FORGET};

	memcpy(op.u.gone.public_key, public_key, CRYPTO_KEY_BYTES);
	store_put(s, &op);
}

void store_peer_del(struct store *s, const uint8_t public_key[static CRYPTO_KEY_BYTES],
	uint64_t now_ns, uint64_t free_ns)
{
	struct store_op op = {
		.kind = STORE_PEER_DEL, .u.gone.now_ns = now_ns, .u.gone.free_ns = free_ns};

	memcpy(op.u.gone.public_key, public_key, CRYPTO_KEY_BYTES);
	store_put(s, &op);
}

void store_lease_put(struct store *s, const struct store_lease *l)
{
	store_put(s, &(struct store_op){.kind = STORE_LEASE_PUT, .u.lease = *l});
}

void store_lease_del(struct store *s, uint64_t id)
{
	store_put(s, &(struct store_op){.kind = STORE_LEASE_DEL, .u.lease_id = id});
}

void store_lease_used_put(struct store *s, uint64_t id, uint64_t used_ns)
{
	store_put(s, &(struct store_op){.kind = STORE_LEASE_USED,
			     .u.used = {.lease_id = id, .at_ns = used_ns}});
}

void store_held_put(struct store *s, const struct store_held *h)
{
	store_put(s, &(struct store_op){.kind = STORE_HELD_PUT, .u.held = *h});
}

void store_heard_put(struct store *s, const struct store_heard *h)
{
	store_put(s, &(struct store_op){.kind = STORE_HEARD_PUT, .u.heard = *h});
}

static void put_entry(struct store *s, enum store_op_kind kind, const char *entry)
{
	struct store_op op = {.kind = kind};

	snprintf(op.u.entry, sizeof(op.u.entry), "%s", entry);
	store_put(s, &op);
}

void store_overrule_put(struct store *s, const char *entry)
{
	put_entry(s, STORE_OVERRULE_PUT, entry);
}

void store_overrule_del(struct store *s, const char *entry)
{
	put_entry(s, STORE_OVERRULE_DEL, entry);
}

static void put_bar(struct store *s, enum store_op_kind kind,
	const uint8_t public_key[static CRYPTO_KEY_BYTES], uint64_t now_ns)
{
	struct store_op op = {.kind = kind, .u.gone.now_ns = now_ns};

	memcpy(op.u.gone.public_key, public_key, CRYPTO_KEY_BYTES);
	store_put(s, &op);
}

void store_bar_put(
	struct store *s, const uint8_t public_key[static CRYPTO_KEY_BYTES], uint64_t now_ns)
{
	put_bar(s, STORE_BAR_PUT, public_key, now_ns);
}

void store_bar_del(struct store *s, const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	put_bar(s, STORE_BAR_DEL, public_key, 0);
}

uint64_t store_commit(struct store *s)
{
	uint64_t ticket;

	pthread_mutex_lock(&s->lock);
	if (s->open.len > 0 || s->open.is_broken) {
		s->queue.is_broken |= s->open.is_broken;
		if (s->queue.len == 0 && !s->queue.is_broken) {
			struct store_batch empty = s->queue;

			s->queue = s->open;
			s->open = empty;
		} else {
			batch_append(&s->queue, s->open.bytes, s->open.len);
		}
		batch_fini(&s->open);
		s->ticket++;
		pthread_cond_signal(&s->changed);
	}
	ticket = s->ticket;
	pthread_mutex_unlock(&s->lock);
	return ticket;
}

void store_status_get(struct store *s, struct store_status *out)
{
	pthread_mutex_lock(&s->lock);
	*out = s->status;
	pthread_mutex_unlock(&s->lock);
}

/* ---- statements ---- */

#define RECORD_OPENING                                                               \
	"id, public_address, first_port, ports, proto, peer, peer_name, to_address," \
	" to_port, label, opened_ns, opened_by, opened_uid"
#define WAS_STOPPED "EXISTS (SELECT 1 FROM meta WHERE name = 'history_stopped_ns')"

static const char *const op_sql[STORE_OP_KINDS] = {
	[STORE_PEER_PUT] = "INSERT OR REPLACE INTO peers VALUES (?1, ?2, ?3)",
	[STORE_PEER_FORGET] = "DELETE FROM peers WHERE public_key = ?1",
	[STORE_PEER_DEL] = "DELETE FROM peers WHERE public_key = ?1",
	[STORE_HELD_ORPHAN] = ("UPDATE reserved SET peer = NULL,"
			       " reserved_until_ns = min(reserved_until_ns, ?2),"
			       " free_ns = min(free_ns, ?3) WHERE peer = ?1"),
	[STORE_HEARD_DEL] = "DELETE FROM heard WHERE peer = ?1",
	[STORE_LEASE_PUT] = ("INSERT OR REPLACE INTO leases"
			     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,"
			     " ?15, ?16, ?17, ?18, ?19, ?20)"),
	[STORE_HELD_DEL] = "DELETE FROM reserved WHERE public_address = ?1 AND public_port >= ?2"
			   " AND public_port < ?2 + ?3",
	[STORE_LEASE_DEL] = "DELETE FROM leases WHERE id = ?1",
	[STORE_LEASE_USED] = "UPDATE leases SET used_ns = ?2 WHERE id = ?1",
	[STORE_HELD_PUT] =
		"INSERT OR REPLACE INTO reserved VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[STORE_HEARD_PUT] = "INSERT OR REPLACE INTO heard VALUES (?1, ?2, ?3)",
	[STORE_OVERRULE_PUT] = "INSERT OR IGNORE INTO overruled VALUES (?1)",
	[STORE_OVERRULE_DEL] = "DELETE FROM overruled WHERE entry = ?1",
	[STORE_BAR_PUT] = "INSERT OR IGNORE INTO barred VALUES (?1, ?2)",
	[STORE_BAR_DEL] = "DELETE FROM barred WHERE public_key = ?1",
	[STORE_RECORD_OPEN] = ("INSERT OR IGNORE INTO history (" RECORD_OPENING ")"
			       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"),
	[STORE_RECORD_CLOSE] = ("UPDATE history SET closed_ns = max(?2, opened_ns), closed_by = ?3,"
				" closed_uid = ?4, reason = ?5, known_ns = ?6"
				" WHERE id = ?1 AND closed_ns IS NULL"),
	[STORE_RECORD_WHOLE] = ("INSERT OR IGNORE INTO history (" RECORD_OPENING
				", closed_ns, closed_by, closed_uid, reason, known_ns)"
				" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,"
				" max(?14, ?11), ?15, ?16, ?17, ?18)"),
	[STORE_HISTORY_BEGIN] =
		("UPDATE history SET closed_by = 'gateway', closed_ns = max(opened_ns, coalesce("
		 "(SELECT value FROM meta WHERE name = 'history_stopped_ns'), ?1)),"
		 " reason = CASE WHEN " WAS_STOPPED " THEN 'gateway stopped' ELSE 'gateway died' "
		 "END,"
		 " known_ns = CASE WHEN NOT " WAS_STOPPED " THEN max(opened_ns, min(?1, coalesce("
		 "(SELECT value FROM meta WHERE name = 'history_alive_ns'), 0))) END"
		 " WHERE closed_ns IS NULL AND id NOT IN (SELECT id FROM leases)"),
	[STORE_HISTORY_SINCE] = "INSERT OR IGNORE INTO meta VALUES ('history_since_ns', ?1)",
	[STORE_META_PUT] = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)",
	[STORE_FORGET_SLICE] = "DELETE FROM history WHERE id IN (SELECT id FROM history LIMIT ?1)",
	[STORE_TRIM_SLICE] = ("DELETE FROM history WHERE id IN"
			      " (SELECT id FROM history WHERE closed_ns < ?2 LIMIT ?1)"),
};

static uint64_t ports_of(uint16_t n_ports)
{
	return n_ports > 1 ? n_ports : 1;
}

static int write_peer(struct store *s, const struct store_peer *p)
{
	static const uint8_t zero[CRYPTO_KEY_BYTES];
	sqlite3_stmt *st = s->op[STORE_PEER_PUT];

	bind_key(st, 1, p->public_key);
	if (memcmp(p->preshared_key, zero, sizeof(zero)) != 0)
		bind_key(st, 2, p->preshared_key);
	bind_text(st, 3, p->settings);
	return run(st);
}

static int write_peer_del(struct store *s, const struct store_op *op)
{
	int err;

	bind_key(s->op[STORE_PEER_DEL], 1, op->u.gone.public_key);
	bind_key(s->op[STORE_HELD_ORPHAN], 1, op->u.gone.public_key);
	bind_number(s->op[STORE_HELD_ORPHAN], 2, op->u.gone.now_ns);
	bind_number(s->op[STORE_HELD_ORPHAN], 3, op->u.gone.free_ns);
	bind_key(s->op[STORE_HEARD_DEL], 1, op->u.gone.public_key);
	err = run(s->op[STORE_PEER_DEL]);
	if (err == 0)
		err = run(s->op[STORE_HELD_ORPHAN]);
	return err == 0 ? run(s->op[STORE_HEARD_DEL]) : err;
}

static void bind_sources(sqlite3_stmt *st, int i, const struct store_lease *l)
{
	char list[STORE_SOURCES_MAX * (IP_TEXT_CHARS + 1)] = "", one[IP_TEXT_CHARS];
	size_t len = 0;

	for (unsigned k = 0; k < l->n_sources; k++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", k > 0 ? "," : "",
			ip_prefix_format(&l->sources[k], one));
	bind_text(st, i, list);
}

static int write_lease(struct store *s, const struct store_lease *l)
{
	static const char *const protos[] = {"none", "tcp", "udp", "both"};
	static const uint8_t no_nonce[STORE_NONCE_BYTES];
	sqlite3_stmt *st = s->op[STORE_LEASE_PUT], *held = s->op[STORE_HELD_DEL];

	bind_number(st, 1, l->id);
	bind_key(st, 2, l->peer_key);
	bind_text(st, 3, protos[l->protos & 3]);
	bind_addr(st, 4, &l->public_addr);
	bind_number(st, 5, l->public_port);
	bind_addr(st, 6, &l->inner_addr);
	bind_number(st, 7, l->inner_port);
	bind_number(st, 8, l->opened_ns);
	bind_time(st, 9, l->expires_ns);
	bind_time(st, 10, l->until_ns);
	bind_time(st, 11, l->ttl_ns);
	bind_number(st, 12, l->idle_ns);
	bind_sources(st, 13, l);
	bind_text(st, 14, l->label);
	bind_text(st, 15, l->opened_by);
	if (memcmp(l->nonce, no_nonce, sizeof(no_nonce)) != 0)
		sqlite3_bind_blob(st, 16, l->nonce, sizeof(l->nonce), SQLITE_TRANSIENT);
	bind_number(st, 17, l->max_pps);
	bind_number(st, 18, l->max_new_flows);
	bind_number(st, 19, ports_of(l->n_ports));
	bind_time(st, 20, l->used_ns);
	bind_addr(held, 1, &l->public_addr);
	bind_number(held, 2, l->public_port);
	bind_number(held, 3, ports_of(l->n_ports));
	if (l->id > s->written_last_id)
		s->written_last_id = l->id;
	return run(st) != 0 ? -EIO : run(held);
}

static int write_held(struct store *s, const struct store_held *h)
{
	sqlite3_stmt *st = s->op[STORE_HELD_PUT];

	bind_addr(st, 1, &h->public_addr);
	bind_number(st, 2, h->public_port);
	if (h->has_peer)
		bind_key(st, 3, h->peer_key);
	bind_addr(st, 4, &h->inner_addr);
	bind_number(st, 5, h->inner_port);
	bind_number(st, 6, h->reserved_until_ns);
	bind_number(st, 7, h->free_ns);
	bind_number(st, 8, ports_of(h->n_ports));
	return run(st);
}

static int write_heard(struct store *s, const struct store_heard *h)
{
	sqlite3_stmt *st = s->op[STORE_HEARD_PUT];
	char text[IP_TEXT_CHARS];

	bind_key(st, 1, h->peer_key);
	bind_text(st, 2, ip_endpoint_format(&h->endpoint, text));
	bind_number(st, 3, h->at_ns);
	return run(st);
}

static int write_op(struct store *s, const struct store_op *op)
{
	switch (op->kind) {
	case STORE_PEER_PUT:
		return write_peer(s, &op->u.peer);
	case STORE_PEER_FORGET:
		bind_key(s->op[STORE_PEER_FORGET], 1, op->u.gone.public_key);
		return run(s->op[STORE_PEER_FORGET]);
	case STORE_PEER_DEL:
		return write_peer_del(s, op);
	case STORE_LEASE_PUT:
		return write_lease(s, &op->u.lease);
	case STORE_LEASE_DEL:
		bind_number(s->op[STORE_LEASE_DEL], 1, op->u.lease_id);
		return run(s->op[STORE_LEASE_DEL]);
	case STORE_LEASE_USED:
		bind_number(s->op[STORE_LEASE_USED], 1, op->u.used.lease_id);
		bind_number(s->op[STORE_LEASE_USED], 2, op->u.used.at_ns);
		return run(s->op[STORE_LEASE_USED]);
	case STORE_HELD_PUT:
		return write_held(s, &op->u.held);
	case STORE_HEARD_PUT:
		return write_heard(s, &op->u.heard);
	case STORE_OVERRULE_PUT:
	case STORE_OVERRULE_DEL:
		bind_text(s->op[op->kind], 1, op->u.entry);
		return run(s->op[op->kind]);
	case STORE_BAR_PUT:
		bind_number(s->op[STORE_BAR_PUT], 2, op->u.gone.now_ns);
		/* fall through */
	case STORE_BAR_DEL:
		bind_key(s->op[op->kind], 1, op->u.gone.public_key);
		return run(s->op[op->kind]);
	case STORE_RECORD_OPEN:
	case STORE_RECORD_CLOSE:
	case STORE_HISTORY_BEGIN:
	case STORE_HISTORY_ALIVE:
	case STORE_HISTORY_STOP:
	case STORE_HISTORY_FORGET:
		return store_history_write(s, op);
	default:
		break;
	}
	return -EIO;
}

/* ---- the thread ---- */

/* What is written to a file that was taken away is lost with us. */
static int check_place(const struct store *s)
{
	struct stat ours, there;

	if (fstat(s->lock_fd, &ours) == 0 &&
		stat(sqlite3_db_filename(s->db, "main"), &there) == 0 &&
		ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
		return 0;
	return -ENOENT;
}

static int write_batch(struct store *s)
{
	const struct store_batch *b = &s->writing;
	int err = b->is_broken ? -ENOMEM : check_place(s);

	if (err == 0)
		err = store_sql(s, "BEGIN IMMEDIATE");

	s->has_forgotten = false;
	if (err != 0)
		return err;
	for (size_t at = 0; err == 0 && at < b->len;) {
		const struct store_op *op = (const struct store_op *)(b->bytes + at);

		err = write_op(s, op);
		at += (op_bytes[op->kind] + 7) & ~(size_t)7;
	}
	if (err == 0) {
		bind_number(s->put_last_id, 1, s->written_last_id);
		err = run(s->put_last_id);
	}
	if (err == 0)
		err = store_sql(s, "COMMIT");
	if (err == 0 && s->has_forgotten)
		s->is_forgetting = false;
	return err;
}

/* What is waiting joins what was tried in vain: they go together next time. */
static uint64_t take_queue(struct store *s)
{
	if (s->writing.len == 0 && !s->writing.is_broken) {
		batch_fini(&s->writing);
		s->writing = s->queue;
		s->queue = (struct store_batch){0};
	} else if (s->queue.len > 0) {
		batch_append(&s->writing, s->queue.bytes, s->queue.len);
		s->writing.is_broken |= s->queue.is_broken;
		batch_fini(&s->queue);
	}
	return s->ticket;
}

static const char *why_of(const struct store *s, int err)
{
	switch (err) {
	case -ENOMEM:
		return "memory is out";
	case -ENOENT:
		return "the file is not in its place";
	default:
		return sqlite3_errmsg(s->db);
	}
}

static void tell(struct store *s, uint64_t ticket, int err)
{
	const uint64_t one = 1;

	if (err == 0) {
		s->status = (struct store_status){.done = ticket};
	} else {
		s->status.failed = ticket;
		snprintf(s->status.why, sizeof(s->status.why), "%s", why_of(s, err));
	}
	/* Full is as good as readable. */
	if (write(s->fd, &one, sizeof(one)) < 0)
		return;
}

/* With the lock held: until there is something to do, or to try again, or the end. */
static void wait_for_work(struct store *s)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += RETRY_S;
	if (s->status.failed > s->status.done) {
		while (!s->is_ending && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
			;
		return;
	}
	if (store_history_has_slices(s)) {
		while (s->has_slice_failed && !s->is_ending && s->queue.len == 0 &&
			pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
			;
		return;
	}
	while (!s->is_ending && s->queue.len == 0 && !s->queue.is_broken)
		pthread_cond_wait(&s->changed, &s->lock);
}

/* With the lock held, but while it writes: what waits is on disk, or was tried. */
static int write_waiting(struct store *s)
{
	uint64_t ticket = take_queue(s);
	int err;

	pthread_mutex_unlock(&s->lock);
	err = s->writing.len > 0 || s->writing.is_broken ? write_batch(s) : 0;
	pthread_mutex_lock(&s->lock);
	if (s->status.done < ticket || err != 0)
		tell(s, ticket, err);
	if (err == 0)
		batch_fini(&s->writing);
	else if (!sqlite3_get_autocommit(s->db))
		store_sql(s, "ROLLBACK");
	return err;
}

static void *store_main(void *arg)
{
	struct store *s = arg;
	bool is_last;
	int err;

	pthread_mutex_lock(&s->lock);
	do {
		wait_for_work(s);
		is_last = s->is_ending;
		err = write_waiting(s);
		if (err == 0 && !is_last && store_history_has_slices(s)) {
			pthread_mutex_unlock(&s->lock);
			s->has_slice_failed = store_history_slice(s) != 0;
			pthread_mutex_lock(&s->lock);
		}
	} while (!is_last);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int store_start(struct store *s)
{
	bool ok =
		sqlite3_prepare_v2(s->db, "UPDATE meta SET value = ?1 WHERE name = 'last_lease_id'",
			-1, &s->put_last_id, NULL) == SQLITE_OK;

	for (unsigned i = 0; ok && i < STORE_OP_KINDS; i++)
		ok = op_sql[i] == NULL ||
		     sqlite3_prepare_v3(s->db, op_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->op[i],
			     NULL) == SQLITE_OK;
	if (!ok)
		return -EAGAIN;
	pthread_mutex_lock(&s->lock);
	write_waiting(s);
	pthread_mutex_unlock(&s->lock);
	if (pthread_create(&s->thread, NULL, store_main, s) != 0)
		return -EAGAIN;
	pthread_setname_np(s->thread, "store");
	s->is_running = true;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->is_running) {
		pthread_mutex_lock(&s->lock);
		s->is_ending = true;
		pthread_cond_signal(&s->changed);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	for (unsigned i = 0; i < STORE_OP_KINDS; i++)
		sqlite3_finalize(s->op[i]);
	sqlite3_finalize(s->put_last_id);
	sqlite3_close(s->reader);
	sqlite3_close(s->db);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	batch_fini(&s->open);
	batch_fini(&s->queue);
	batch_fini(&s->writing);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}
