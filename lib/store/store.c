/* The file: opening, schema, reading. */
#include "store/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"

/* Somebody else writes to it by hand. */
#define BUSY_MS 1000

/* A connection is one thread's at a time: control's until store_start, then the store's, and what
 * reads is control's always. A lock for each column was a twentieth of loading. */
#define OPEN_FLAGS SQLITE_OPEN_NOMUTEX

/* From schema N to N + 1. Never changed once released: a new step is added. */
static const char *const steps[STORE_SCHEMA] = {
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE peers (public_key TEXT PRIMARY KEY, preshared_key TEXT,"
	" settings TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE leases (id INTEGER PRIMARY KEY, peer TEXT NOT NULL, proto TEXT NOT NULL,"
	" public_address TEXT NOT NULL, public_port INTEGER NOT NULL, to_address TEXT NOT NULL,"
	" to_port INTEGER NOT NULL, opened_ns INTEGER NOT NULL, expires_ns INTEGER,"
	" until_ns INTEGER, ttl_ns INTEGER, idle_ns INTEGER NOT NULL, sources TEXT NOT NULL,"
	" label TEXT NOT NULL, opened_by TEXT NOT NULL, nonce BLOB);"
	"CREATE TABLE reserved (public_address TEXT, public_port INTEGER, peer TEXT,"
	" to_address TEXT NOT NULL, to_port INTEGER NOT NULL, reserved_until_ns INTEGER NOT NULL,"
	" free_ns INTEGER NOT NULL, PRIMARY KEY (public_address, public_port)) WITHOUT ROWID;"
	"CREATE INDEX reserved_by_peer ON reserved (peer);"
	"CREATE TABLE heard (peer TEXT PRIMARY KEY, endpoint TEXT NOT NULL, at_ns INTEGER NOT NULL)"
	" WITHOUT ROWID;",
	"CREATE TABLE overruled (entry TEXT PRIMARY KEY) WITHOUT ROWID;"
	"ALTER TABLE leases ADD COLUMN max_pps INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE leases ADD COLUMN max_new_flows INTEGER NOT NULL DEFAULT 0;",
	"CREATE TABLE barred (public_key TEXT PRIMARY KEY, at_ns INTEGER NOT NULL) WITHOUT ROWID;",
	"ALTER TABLE leases ADD COLUMN ports INTEGER NOT NULL DEFAULT 1;"
	"ALTER TABLE reserved ADD COLUMN ports INTEGER NOT NULL DEFAULT 1;",
	"CREATE TABLE history (id INTEGER PRIMARY KEY, public_address TEXT NOT NULL,"
	" first_port INTEGER NOT NULL, ports INTEGER NOT NULL, proto TEXT NOT NULL,"
	" peer TEXT NOT NULL, peer_name TEXT NOT NULL, to_address TEXT, to_port INTEGER,"
	" label TEXT NOT NULL, opened_ns INTEGER NOT NULL, opened_by TEXT NOT NULL,"
	" opened_uid INTEGER, closed_ns INTEGER, closed_by TEXT, closed_uid INTEGER, reason TEXT,"
	" known_ns INTEGER);"
	"CREATE INDEX history_by_number ON history (public_address, first_port);"
	"CREATE INDEX history_by_peer ON history (substr(peer, 1, 8));"
	"CREATE INDEX history_by_end ON history (closed_ns);",
#define SCHEMA_OF_USES 6
	"ALTER TABLE leases ADD COLUMN used_ns INTEGER;",
};

int store_sql(struct store *s, const char *sql)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

static int refuse(struct store *s, const char *path, const char *what, char *fault)
{
	snprintf(fault, STORE_FAULT_CHARS, "store %s: %s: %s", path, what, sqlite3_errmsg(s->db));
	return -EIO;
}

/* ---- opening ---- */

static int read_number(struct store *s, const char *sql, int64_t *out)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : -EIO;
}

static int migrate(struct store *s, uint64_t wall_ns, int64_t from)
{
	char sql[160];

	if (store_sql(s, "BEGIN IMMEDIATE") != 0)
		return -EIO;
	for (int64_t i = from; i < STORE_SCHEMA; i++)
		if (store_sql(s, steps[i]) != 0)
			return -EIO;
	if (from == 0) {
		snprintf(sql, sizeof(sql),
			"INSERT INTO meta VALUES ('epoch_ns', %lld), ('last_lease_id', 0)",
			(long long)wall_ns);
		if (store_sql(s, sql) != 0)
			return -EIO;
	}
	if (from < SCHEMA_OF_USES) {
		/* When they were used was not written down: they count as used now. */
		snprintf(sql, sizeof(sql), "UPDATE leases SET used_ns = %lld", (long long)wall_ns);
		if (store_sql(s, sql) != 0)
			return -EIO;
	}
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", STORE_SCHEMA);
	return store_sql(s, sql) != 0 ? -EIO : store_sql(s, "COMMIT");
}

/* Whoever may write to the directory may put another file in this one's place. */
static int check_dir(const char *path, char *fault)
{
	char dir[PATH_MAX];
	const char *name = strrchr(path, '/');
	struct stat st;

	snprintf(dir, sizeof(dir), "%.*s", name > path ? (int)(name - path) : 1, name ? path : ".");
	if (stat(dir, &st) != 0) {
		snprintf(fault, STORE_FAULT_CHARS, "store %s: its directory: %s", path,
			strerror(errno));
		return -EINVAL;
	}
	if (S_ISDIR(st.st_mode) && (st.st_uid == geteuid() || st.st_uid == 0) &&
		(st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return 0;
	snprintf(fault, STORE_FAULT_CHARS,
		"store %s: its directory has mode %04o and belongs to uid %u; accepted: one of uid "
		"%u or root that nobody else may write to, as with mode 0700",
		path, (unsigned)st.st_mode & 07777, (unsigned)st.st_uid, (unsigned)geteuid());
	return -EINVAL;
}

/* Ours alone, before there is anything in it, and no other process's. The descriptor stays open for
 * as long as SQLite has the file: closing it would drop SQLite's own locks. */
static int take_file(struct store *s, const char *path, char *fault)
{
	struct stat st;

	if (check_dir(path, fault) != 0)
		return -EINVAL;
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock_fd < 0) {
		snprintf(fault, STORE_FAULT_CHARS, "store %s: cannot be opened: %s", path,
			strerror(errno));
		return -EIO;
	}
	if (fstat(s->lock_fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
		fchmod(s->lock_fd, 0600) != 0) {
		snprintf(fault, STORE_FAULT_CHARS,
			"store %s: is not a regular file of uid %u, as it has to be", path,
			(unsigned)geteuid());
		return -EINVAL;
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	snprintf(fault, STORE_FAULT_CHARS, "store %s: another process has it: %s", path,
		strerror(errno));
	return -EBUSY;
}

static int open_db(struct store *s, const char *path, uint64_t wall_ns, char *fault)
{
	int64_t version = 0, epoch_ns, last_id;
	int rc = take_file(s, path, fault);

	if (rc != 0)
		return rc;
	/* Its companions get the mode of the file. */
	rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | OPEN_FLAGS, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(s->db, BUSY_MS);
	if (rc != SQLITE_OK || store_sql(s, "PRAGMA journal_mode = WAL") != 0)
		return refuse(s, path, "cannot be opened", fault);
	/* FULL: a commit is on the disk, not only with the kernel. secure_delete: a key that was
	 * deleted is overwritten. */
	if (store_sql(s, "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;") != 0 ||
		read_number(s, "PRAGMA user_version", &version) != 0)
		return refuse(s, path, "cannot be read", fault);
	if (version > STORE_SCHEMA) {
		snprintf(fault, STORE_FAULT_CHARS,
			"store %s: has schema %lld, written by a newer portier; accepted: up to %d",
			path, (long long)version, STORE_SCHEMA);
		return -EINVAL;
	}
	if (version < STORE_SCHEMA && migrate(s, wall_ns, version) != 0)
		return refuse(s, path, "cannot be brought to today's schema", fault);
	if (read_number(s, "SELECT value FROM meta WHERE name = 'epoch_ns'", &epoch_ns) != 0 ||
		read_number(s, "SELECT value FROM meta WHERE name = 'last_lease_id'", &last_id) !=
			0)
		return refuse(s, path, "is no store of portier", fault);
	s->is_new = version == 0;
	if (sqlite3_open_v2(path, &s->reader, SQLITE_OPEN_READONLY | OPEN_FLAGS, NULL) != SQLITE_OK)
		return refuse(s, path, "cannot be read", fault);
	s->epoch_ns = (uint64_t)epoch_ns;
	s->last_lease_id = s->written_last_id = (uint64_t)last_id;
	return 0;
}

struct store *store_open(const char *path, uint64_t wall_ns, char fault[static STORE_FAULT_CHARS])
{
	struct store *s = calloc(1, sizeof(*s));

	snprintf(fault, STORE_FAULT_CHARS, "store %s: out of memory or descriptors", path);
	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->lock_fd = -1;
	s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->fd < 0 || open_db(s, path, wall_ns, fault) != 0) {
		store_close(s);
		return NULL;
	}
	return s;
}

uint64_t store_epoch_ns(const struct store *s)
{
	return s->epoch_ns;
}

bool store_is_new(const struct store *s)
{
	return s->is_new;
}

uint64_t store_last_lease_id(const struct store *s)
{
	return s->last_lease_id;
}

int store_fd(const struct store *s)
{
	return s->fd;
}

/* ---- reading: a row that does not parse is a fault, not a guess ---- */

/* A public key, as text and as bytes. */
struct owner {
	char text[CRYPTO_KEY_TEXT_CHARS + 1];
	uint8_t key[CRYPTO_KEY_BYTES];
};

static const char *text_at(sqlite3_stmt *st, int col)
{
	const char *text = (const char *)sqlite3_column_text(st, col);

	return text ? text : "";
}

static bool time_at(sqlite3_stmt *st, int col, uint64_t *out)
{
	*out = sqlite3_column_type(st, col) == SQLITE_NULL
		       ? TIME_NEVER
		       : (uint64_t)sqlite3_column_int64(st, col);
	return true;
}

static bool key_at(sqlite3_stmt *st, int col, uint8_t out[static CRYPTO_KEY_BYTES])
{
	return crypto_key_parse(text_at(st, col), out) == 0;
}

static bool port_at(sqlite3_stmt *st, int col, uint16_t *out)
{
	int64_t port = sqlite3_column_int64(st, col);

	*out = (uint16_t)port;
	return port > 0 && port <= UINT16_MAX;
}

/* Both are 0 where a whole address is leased. */
static bool ports_at(
	sqlite3_stmt *st, int public_col, int inner_col, uint16_t *public, uint16_t *inner)
{
	if (sqlite3_column_int64(st, public_col) == 0 && sqlite3_column_int64(st, inner_col) == 0) {
		*public = *inner = 0;
		return true;
	}
	return port_at(st, public_col, public) && port_at(st, inner_col, inner);
}

static bool text_copy(sqlite3_stmt *st, int col, char *out, size_t size)
{
	const char *text = text_at(st, col);
	size_t len = strlen(text);

	if (len >= size)
		return false;
	memcpy(out, text, len + 1);
	return true;
}

static bool sources_at(sqlite3_stmt *st, int col, struct store_lease *l)
{
	char list[STORE_SOURCES_MAX * (IP_TEXT_CHARS + 1)], *rest = list, *one;

	if (!text_copy(st, col, list, sizeof(list)))
		return false;
	while ((one = strsep(&rest, ",")) != NULL && list[0] != '\0')
		if (l->n_sources == STORE_SOURCES_MAX ||
			ip_prefix_parse(one, &l->sources[l->n_sources++]) != 0)
			return false;
	return true;
}

static bool nonce_at(sqlite3_stmt *st, int col, uint8_t out[static STORE_NONCE_BYTES])
{
	const void *blob = sqlite3_column_blob(st, col);

	if (blob && sqlite3_column_bytes(st, col) == STORE_NONCE_BYTES)
		memcpy(out, blob, STORE_NONCE_BYTES);
	else if (sqlite3_column_type(st, col) != SQLITE_NULL)
		return false;
	return true;
}

static bool proto_at(sqlite3_stmt *st, int col, uint8_t *out)
{
	const char *text = text_at(st, col);

	*out = strcmp(text, "tcp") == 0	   ? 1
	       : strcmp(text, "udp") == 0  ? 2
	       : strcmp(text, "both") == 0 ? 3
					   : 0;
	return *out != 0;
}

static bool read_peer(sqlite3_stmt *st, struct store_peer *p)
{
	if (sqlite3_column_type(st, 1) != SQLITE_NULL && !key_at(st, 1, p->preshared_key))
		return false;
	return key_at(st, 0, p->public_key) && text_copy(st, 2, p->settings, sizeof(p->settings));
}

/* Often that of the row before, and a key takes as long to parse as half of the other columns. */
static bool owner_at(
	sqlite3_stmt *st, int col, struct owner *last, uint8_t out[static CRYPTO_KEY_BYTES])
{
	const char *text = text_at(st, col);

	if (strcmp(text, last->text) != 0) {
		if (crypto_key_parse(text, last->key) != 0 ||
			!text_copy(st, col, last->text, sizeof(last->text)))
			return false;
	}
	memcpy(out, last->key, CRYPTO_KEY_BYTES);
	return true;
}

static bool read_lease(sqlite3_stmt *st, struct owner *last, struct store_lease *l)
{
	l->id = (uint64_t)sqlite3_column_int64(st, 0);
	l->idle_ns = (uint64_t)sqlite3_column_int64(st, 11);
	l->max_pps = (uint32_t)sqlite3_column_int64(st, 16);
	l->max_new_flows = (uint32_t)sqlite3_column_int64(st, 17);
	return owner_at(st, 1, last, l->peer_key) && proto_at(st, 2, &l->protos) &&
	       ip_addr_parse(text_at(st, 3), &l->public_addr) == 0 &&
	       ports_at(st, 4, 6, &l->public_port, &l->inner_port) &&
	       ip_addr_parse(text_at(st, 5), &l->inner_addr) == 0 &&
	       time_at(st, 7, &l->opened_ns) && time_at(st, 8, &l->expires_ns) &&
	       time_at(st, 9, &l->until_ns) && time_at(st, 10, &l->ttl_ns) &&
	       sources_at(st, 12, l) && text_copy(st, 13, l->label, sizeof(l->label)) &&
	       text_copy(st, 14, l->opened_by, sizeof(l->opened_by)) &&
	       nonce_at(st, 15, l->nonce) && port_at(st, 18, &l->n_ports) &&
	       time_at(st, 19, &l->used_ns);
}

static bool read_held(sqlite3_stmt *st, struct store_held *h)
{
	h->has_peer = sqlite3_column_type(st, 2) != SQLITE_NULL;
	return ip_addr_parse(text_at(st, 0), &h->public_addr) == 0 &&
	       ports_at(st, 1, 4, &h->public_port, &h->inner_port) &&
	       (!h->has_peer || key_at(st, 2, h->peer_key)) &&
	       ip_addr_parse(text_at(st, 3), &h->inner_addr) == 0 &&
	       time_at(st, 5, &h->reserved_until_ns) && time_at(st, 6, &h->free_ns) &&
	       port_at(st, 7, &h->n_ports);
}

static bool read_heard(sqlite3_stmt *st, struct store_heard *h)
{
	return key_at(st, 0, h->peer_key) && ip_endpoint_parse(text_at(st, 1), &h->endpoint) == 0 &&
	       time_at(st, 2, &h->at_ns);
}

static int load_begin(struct store *s, const char *sql, sqlite3_stmt **st, char *fault)
{
	if (sqlite3_prepare_v2(s->db, sql, -1, st, NULL) == SQLITE_OK)
		return 0;
	return refuse(s, sqlite3_db_filename(s->db, "main"), "cannot be read", fault);
}

/* After the last row, or one that made no sense. */
static int load_end(struct store *s, sqlite3_stmt *st, int rc, const char *table, char *fault)
{
	const char *path = sqlite3_db_filename(s->db, "main");
	int err = 0;

	if (rc == SQLITE_ROW) {
		snprintf(fault, STORE_FAULT_CHARS,
			"store %s: table %s: the row of %s makes no sense; delete it with sqlite3",
			path, table, text_at(st, 0));
		err = -EINVAL;
	} else if (rc != SQLITE_DONE) {
		err = refuse(s, path, "cannot be read", fault);
	}
	sqlite3_finalize(st);
	return err;
}

int store_peers_load(struct store *s, void (*fn)(void *arg, const struct store_peer *row),
	void *arg, char fault[static STORE_FAULT_CHARS])
{
	struct store_peer row; /* wiped */
	sqlite3_stmt *st;
	int rc = load_begin(s, "SELECT * FROM peers", &st, fault);

	if (rc != 0)
		return rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		row = (struct store_peer){0};
		if (!read_peer(st, &row))
			break;
		fn(arg, &row);
	}
	crypto_wipe(&row, sizeof(row));
	return load_end(s, st, rc, "peers", fault);
}

int store_leases_load(struct store *s, void (*fn)(void *arg, const struct store_lease *row),
	void *arg, char fault[static STORE_FAULT_CHARS])
{
	struct owner last = {.text = ""};
	struct store_lease row;
	sqlite3_stmt *st;
	int rc = load_begin(s, "SELECT * FROM leases ORDER BY id", &st, fault);

	if (rc != 0)
		return rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		row = (struct store_lease){0};
		if (!read_lease(st, &last, &row))
			break;
		fn(arg, &row);
	}
	return load_end(s, st, rc, "leases", fault);
}

int store_held_load(struct store *s, void (*fn)(void *arg, const struct store_held *row), void *arg,
	char fault[static STORE_FAULT_CHARS])
{
	struct store_held row;
	sqlite3_stmt *st;
	int rc = load_begin(s, "SELECT * FROM reserved ORDER BY free_ns", &st, fault);

	if (rc != 0)
		return rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		row = (struct store_held){0};
		if (!read_held(st, &row))
			break;
		fn(arg, &row);
	}
	return load_end(s, st, rc, "reserved", fault);
}

int store_heard_load(struct store *s, void (*fn)(void *arg, const struct store_heard *row),
	void *arg, char fault[static STORE_FAULT_CHARS])
{
	struct store_heard row;
	sqlite3_stmt *st;
	int rc = load_begin(s, "SELECT * FROM heard", &st, fault);

	if (rc != 0)
		return rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		row = (struct store_heard){0};
		if (!read_heard(st, &row))
			break;
		fn(arg, &row);
	}
	return load_end(s, st, rc, "heard", fault);
}

int store_overrules_load(struct store *s, void (*fn)(void *arg, const char *entry), void *arg,
	char fault[static STORE_FAULT_CHARS])
{
	sqlite3_stmt *st;
	int rc = load_begin(s, "SELECT * FROM overruled", &st, fault);

	if (rc != 0)
		return rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		fn(arg, text_at(st, 0));
	return load_end(s, st, rc, "overruled", fault);
}

int store_bars_load(struct store *s,
	void (*fn)(void *arg, const uint8_t public_key[static CRYPTO_KEY_BYTES]), void *arg,
	char fault[static STORE_FAULT_CHARS])
{
	uint8_t key[CRYPTO_KEY_BYTES];
	sqlite3_stmt *st;
	int rc = load_begin(s, "SELECT * FROM barred", &st, fault);

	if (rc != 0)
		return rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (!key_at(st, 0, key))
			break;
		fn(arg, key);
	}
	return load_end(s, st, rc, "barred", fault);
}
