/* History: records written, deleted and read. */
#include "store/history.h"
#include "store/bind.h"
#include "store/impl.h"

#include <assert.h>
#include <stdio.h>

/* ---- changes: control ---- */

void store_record_open(struct store *s, const struct store_record *r)
{
	store_put(s, &(struct store_op){.kind = STORE_RECORD_OPEN, .u.record = *r});
}

void store_record_close(struct store *s, const struct store_record *r)
{
	store_put(s, &(struct store_op){.kind = STORE_RECORD_CLOSE, .u.record = *r});
}

static void put_moment(
	struct store *s, enum store_op_kind kind, uint64_t now_ns, uint64_t before_ns)
{
	store_put(s, &(struct store_op){
			     .kind = kind, .u.moment = {.now_ns = now_ns, .before_ns = before_ns}});
}

void store_history_begin(struct store *s, uint64_t now_ns)
{
	put_moment(s, STORE_HISTORY_BEGIN, now_ns, 0);
}

void store_history_alive(struct store *s, uint64_t now_ns, uint64_t before_ns)
{
	put_moment(s, STORE_HISTORY_ALIVE, now_ns, before_ns);
}

void store_history_stop(struct store *s, uint64_t now_ns)
{
	put_moment(s, STORE_HISTORY_STOP, now_ns, 0);
}

void store_history_forget(struct store *s)
{
	put_moment(s, STORE_HISTORY_FORGET, 0, 0);
}

/* ---- changes: the thread ---- */

static const char *const protos[] = {"all", "tcp", "udp", "both"};

static void bind_opening(sqlite3_stmt *st, const struct store_record *r)
{
	bind_number(st, 1, r->id);
	bind_addr(st, 2, &r->public_addr);
	bind_number(st, 3, r->first_port);
	bind_number(st, 4, r->n_ports);
	bind_text(st, 5, protos[r->protos & 3]);
	bind_key(st, 6, r->peer_key);
	bind_text(st, 7, r->peer_name);
	if (!ip_is_none(&r->inner_addr)) {
		bind_addr(st, 8, &r->inner_addr);
		bind_number(st, 9, r->inner_port);
	}
	bind_text(st, 10, r->label);
	bind_number(st, 11, r->opened_ns);
	bind_text(st, 12, r->opened_by.by);
	if (r->opened_by.has_uid)
		bind_number(st, 13, r->opened_by.uid);
}

/* From parameter i on. */
static void bind_end(sqlite3_stmt *st, int i, const struct store_record *r)
{
	bind_number(st, i, r->closed_ns);
	bind_text(st, i + 1, r->closed_by.by);
	if (r->closed_by.has_uid)
		bind_number(st, i + 2, r->closed_by.uid);
	bind_text(st, i + 3, r->reason);
	bind_time(st, i + 4, r->known_ns);
}

/* What is to be forgotten goes before anything new comes. */
static int forget_at_once(struct store *s)
{
	if (!s->is_forgetting || s->has_forgotten)
		return 0;
	s->has_forgotten = true;
	return store_sql(s, "DELETE FROM history");
}

static int write_record(struct store *s, const struct store_op *op)
{
	const struct store_record *r = &op->u.record;
	int err;

	if (r->id > s->written_last_id)
		s->written_last_id = r->id;
	if (op->kind == STORE_RECORD_OPEN) {
		bind_opening(s->op[STORE_RECORD_OPEN], r);
		return run(s->op[STORE_RECORD_OPEN]);
	}
	bind_number(s->op[STORE_RECORD_CLOSE], 1, r->id);
	bind_end(s->op[STORE_RECORD_CLOSE], 2, r);
	err = run(s->op[STORE_RECORD_CLOSE]);
	if (err != 0 || sqlite3_changes(s->db) > 0 || r->n_ports == 0)
		return err;
	bind_opening(s->op[STORE_RECORD_WHOLE], r);
	bind_end(s->op[STORE_RECORD_WHOLE], 14, r);
	return run(s->op[STORE_RECORD_WHOLE]);
}

static int write_meta(struct store *s, const char *name, uint64_t value)
{
	bind_text(s->op[STORE_META_PUT], 1, name);
	bind_number(s->op[STORE_META_PUT], 2, value);
	return run(s->op[STORE_META_PUT]);
}

static int write_begin(struct store *s, uint64_t now_ns)
{
	int err;

	bind_number(s->op[STORE_HISTORY_BEGIN], 1, now_ns);
	err = run(s->op[STORE_HISTORY_BEGIN]);
	if (err == 0)
		err = store_sql(s, "DELETE FROM meta"
				   " WHERE name IN ('history_stopped_ns', 'history_alive_ns')");
	bind_number(s->op[STORE_HISTORY_SINCE], 1, now_ns);
	return err == 0 ? run(s->op[STORE_HISTORY_SINCE]) : err;
}

static int write_forget(struct store *s)
{
	s->is_forgetting = true;
	s->has_forgotten = false;
	s->trim_before_ns = 0;
	return store_sql(s, "DELETE FROM meta WHERE name LIKE 'history_%'");
}

int store_history_write(struct store *s, const struct store_op *op)
{
	if (op->kind == STORE_HISTORY_FORGET)
		return write_forget(s);
	if (forget_at_once(s) != 0)
		return -EIO;
	switch (op->kind) {
	case STORE_HISTORY_BEGIN:
		return write_begin(s, op->u.moment.now_ns);
	case STORE_HISTORY_ALIVE:
		s->trim_before_ns = op->u.moment.before_ns;
		return write_meta(s, "history_alive_ns", op->u.moment.now_ns);
	case STORE_HISTORY_STOP:
		return write_meta(s, "history_stopped_ns", op->u.moment.now_ns);
	default:
		return write_record(s, op);
	}
}

/* ---- slices: the thread, between commits ---- */

bool store_history_has_slices(const struct store *s)
{
	return s->is_forgetting || s->trim_before_ns > 0;
}

/* With secure_delete the rows are gone from the pages of the file; what the log of changes has of
 * them goes with the log. */
static void drop_log(struct store *s)
{
	sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

int store_history_slice(struct store *s)
{
	sqlite3_stmt *st = s->op[s->is_forgetting ? STORE_FORGET_SLICE : STORE_TRIM_SLICE];

	bind_number(st, 1, STORE_HISTORY_SLICE_ROWS);
	if (!s->is_forgetting)
		bind_number(st, 2, s->trim_before_ns);
	if (run(st) != 0)
		return -EIO;
	if (sqlite3_changes(s->db) > 0)
		return 0;
	if (s->is_forgetting)
		drop_log(s);
	s->is_forgetting = false;
	s->trim_before_ns = 0;
	return 0;
}

/* ---- reading: control, by a connection of its own ---- */

static sqlite3_stmt *prepare(struct store *s, const char *sql)
{
	sqlite3_stmt *st;

	return sqlite3_prepare_v2(s->reader, sql, -1, &st, NULL) == SQLITE_OK ? st : NULL;
}

static uint64_t read_number(struct store *s, const char *sql)
{
	sqlite3_stmt *st = prepare(s, sql);
	uint64_t n = 0;

	if (st != NULL && sqlite3_step(st) == SQLITE_ROW)
		n = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

uint64_t store_history_since_ns(struct store *s)
{
	return read_number(s, "SELECT value FROM meta WHERE name = 'history_since_ns'");
}

bool store_history_is_empty(struct store *s)
{
	return read_number(s, "SELECT EXISTS (SELECT 1 FROM history)"
			      " OR EXISTS (SELECT 1 FROM meta WHERE name LIKE 'history_%')") == 0;
}

static void copy_text(sqlite3_stmt *st, int col, char *out, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(st, col);

	snprintf(out, size, "%s", text != NULL ? text : "");
}

static void read_actor(sqlite3_stmt *st, int col, struct store_actor *a)
{
	copy_text(st, col, a->by, sizeof(a->by));
	a->has_uid = sqlite3_column_type(st, col + 1) != SQLITE_NULL;
	a->uid = (uint32_t)sqlite3_column_int64(st, col + 1);
}

static uint64_t time_of(sqlite3_stmt *st, int col)
{
	return sqlite3_column_type(st, col) == SQLITE_NULL
		       ? TIME_NEVER
		       : (uint64_t)sqlite3_column_int64(st, col);
}

static uint8_t protos_of(const char *word)
{
	uint8_t i = 0;

	while (i < 3 && strcmp(word, protos[i]) != 0)
		i++;
	return i;
}

/* False: somebody wrote it by hand, and badly. */
static bool read_record(sqlite3_stmt *st, struct store_record *r)
{
	char text[IP_TEXT_CHARS];

	*r = (struct store_record){.id = (uint64_t)sqlite3_column_int64(st, 0),
		.first_port = (uint16_t)sqlite3_column_int64(st, 2),
		.n_ports = (uint16_t)sqlite3_column_int64(st, 3),
		.inner_port = (uint16_t)sqlite3_column_int64(st, 8),
		.opened_ns = time_of(st, 10),
		.closed_ns = time_of(st, 13),
		.known_ns = time_of(st, 17)};
	copy_text(st, 4, text, sizeof(text));
	r->protos = protos_of(text);
	copy_text(st, 5, text, sizeof(text));
	if (crypto_key_parse(text, r->peer_key) != 0)
		return false;
	copy_text(st, 6, r->peer_name, sizeof(r->peer_name));
	copy_text(st, 7, text, sizeof(text));
	if (text[0] != '\0' && ip_addr_parse(text, &r->inner_addr) != 0)
		return false;
	copy_text(st, 9, r->label, sizeof(r->label));
	read_actor(st, 11, &r->opened_by);
	read_actor(st, 14, &r->closed_by);
	copy_text(st, 16, r->reason, sizeof(r->reason));
	copy_text(st, 1, text, sizeof(text));
	return ip_addr_parse(text, &r->public_addr) == 0;
}

static bool is_wanted(const struct store_history_query *q, const struct store_record *r)
{
	/* Of one that was had for no time: the moment counts. */
	uint64_t end_ns = r->closed_ns > r->opened_ns ? r->closed_ns : r->opened_ns + 1;

	if (r->opened_ns >= q->until_ns || end_ns <= q->since_ns)
		return false;
	if (q->protos != 0 && r->protos != 0 && (q->protos & r->protos) == 0)
		return false;
	return q->is_of_peer || (q->port >= r->first_port && q->port - r->first_port < r->n_ports);
}

#define COLUMNS                                                                               \
	"id, public_address, first_port, ports, proto, peer, peer_name, to_address, to_port," \
	" label, opened_ns, opened_by, opened_uid, closed_ns, closed_by, closed_uid, reason," \
	" known_ns"

/* Blocks and ranges begin at multiples of their size, so a port is in one of few. */
static const char by_number[] =
	"SELECT " COLUMNS " FROM history INDEXED BY history_by_number WHERE public_address = ?1"
	" AND first_port IN (?2, ?2 & ~1, ?2 & ~3, ?2 & ~7, ?2 & ~15, ?2 & ~31, ?2 & ~63, ?2 & "
	"~127,"
	" ?2 & ~255, ?2 & ~511, ?2 & ~1023, ?2 & ~2047, ?2 & ~4095) AND id > ?3 ORDER BY id LIMIT "
	"?4";

/* Its index has only the beginnings of keys: so it is a third as large, and as much faster to
 * write. */
static const char by_peer[] =
	"SELECT " COLUMNS " FROM history INDEXED BY history_by_peer WHERE substr(peer, 1, 8) = "
	"substr(?1, 1, 8) AND +peer = ?1"
	" AND id > ?3 ORDER BY id LIMIT ?4";

static void bind_query(sqlite3_stmt *st, const struct store_history_query *q)
{
	static_assert(STORE_HISTORY_PORTS_MAX == 4096, "as by_number says");
	if (q->is_of_peer) {
		bind_key(st, 1, q->peer_key);
	} else {
		bind_addr(st, 1, &q->public_addr);
		bind_number(st, 2, q->port);
	}
	bind_number(st, 3, q->after_id);
	bind_number(st, 4, STORE_HISTORY_READ_MAX + 1);
}

int store_history_read(struct store *s, const struct store_history_query *q,
	void (*fn)(void *arg, const struct store_record *r), void *arg, uint64_t *next_id,
	char fault[static STORE_FAULT_CHARS])
{
	sqlite3_stmt *st = prepare(s, q->is_of_peer ? by_peer : by_number);
	uint32_t n_seen = 0, n_given = 0;
	struct store_record r = {.id = q->after_id};
	int rc = SQLITE_ERROR;

	*next_id = 0;
	if (st != NULL)
		bind_query(st, q);
	while (st != NULL && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (n_given == q->limit || n_seen++ == STORE_HISTORY_READ_MAX) {
			*next_id = r.id;
			break;
		}
		if (!read_record(st, &r) || !is_wanted(q, &r))
			continue;
		fn(arg, &r);
		n_given++;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		snprintf(fault, STORE_FAULT_CHARS, "store: its history cannot be read: %s",
			sqlite3_errmsg(s->reader));
	sqlite3_finalize(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -EIO;
}
