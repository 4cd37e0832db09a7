/* store_test.c - what was committed is there again, whole, whatever ends the process or the disk.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/history.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "failing_vfs.h"
#include "seeded.h"

#define WALL_NS	     (UINT64_C(1700000000) * NS_IN_S)
#define KILLS	     200
#define GROUP_LEASES 4 /* each commit of the killed writer opens and closes that many */

static char dir[64], path[96];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/portier-store-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/portier.db", dir);
	return 0;
}

static int teardown(void **state)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char name[112];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		unlink(name);
	}
	return rmdir(dir);
}

static struct store *open_store(void)
{
	char fault[STORE_FAULT_CHARS];
	struct store *s = store_open(path, WALL_NS, fault);

	if (!s)
		fail_msg("%s", fault);
	return s;
}

/* Until the ticket is on disk, or failed. */
static struct store_status wait_for(struct store *s, uint64_t ticket)
{
	struct pollfd fd = {.fd = store_fd(s), .events = POLLIN};
	struct store_status st;
	uint64_t n;

	for (store_status_get(s, &st); st.done < ticket && st.failed < ticket;
		store_status_get(s, &st)) {
		assert_int_equal(poll(&fd, 1, 20000), 1);
		assert_int_equal(read(fd.fd, &n, sizeof(n)), sizeof(n));
	}
	return st;
}

static struct store_lease make_lease(uint64_t id)
{
	struct store_lease l = {
		.id = id,
		.peer_key = {(uint8_t)id, 1},
		.protos = (uint8_t)(1 + id % 3),
		.public_addr = ip_from_v4((const uint8_t[]){198, 51, 100, (uint8_t)(id >> 15)}),
		.inner_addr = ip_from_v4((const uint8_t[]){10, 0, 0, 2}),
		.public_port = (uint16_t)(20000 + id % 32768),
		.inner_port = 80,
		.n_ports = (uint16_t)(1u << id % 3),
		.opened_ns = WALL_NS + id,
		.expires_ns = id % 2 ? TIME_NEVER : WALL_NS + 3600 * NS_IN_S,
		.until_ns = id % 2 ? WALL_NS + 7200 * NS_IN_S : TIME_NEVER,
		.ttl_ns = 3600 * NS_IN_S,
		.idle_ns = 5,
		.max_pps = (uint32_t)id + 1000,
		.max_new_flows = (uint32_t)id + 10,
		.opened_by = "pcp",
		.nonce = {(uint8_t)(id % 2)},
		.used_ns = id % 2 ? TIME_NEVER : WALL_NS + id,
	};

	snprintf(l.label, sizeof(l.label), "label '%llu'", (unsigned long long)id);
	return l;
}

struct rows {
	unsigned n_peers, n_leases, n_held, n_heard;
	struct store_peer peer;
	struct store_lease lease;
	struct store_held held;
	struct store_heard heard;
	uint64_t lease_ids_sum;
};

static void take_peer(void *arg, const struct store_peer *row)
{
	struct rows *r = arg;

	r->n_peers++;
	r->peer = *row;
}

static void take_lease(void *arg, const struct store_lease *row)
{
	struct rows *r = arg;

	r->n_leases++;
	r->lease = *row;
	r->lease_ids_sum += row->id;
}

static void take_held(void *arg, const struct store_held *row)
{
	struct rows *r = arg;

	r->n_held++;
	r->held = *row;
}

static void take_heard(void *arg, const struct store_heard *row)
{
	struct rows *r = arg;

	r->n_heard++;
	r->heard = *row;
}

static struct rows load(struct store *s)
{
	char fault[STORE_FAULT_CHARS] = "";
	struct rows r = {0};

	if (store_peers_load(s, take_peer, &r, fault) != 0 ||
		store_leases_load(s, take_lease, &r, fault) != 0 ||
		store_held_load(s, take_held, &r, fault) != 0 ||
		store_heard_load(s, take_heard, &r, fault) != 0)
		fail_msg("%s", fault);
	return r;
}

static void all_that_was_put_comes_back(void **state)
{
	struct store_peer peer = {
		.public_key = {1, 2}, .preshared_key = {3}, .settings = "{\"name\":\"alice\"}"};
	struct store_lease lease = make_lease(7);
	struct store_held held = {
		.n_ports = 4,
		.public_addr = lease.public_addr,
		.public_port = 20999,
		.inner_addr = lease.inner_addr,
		.inner_port = 81,
		.has_peer = true,
		.peer_key = {1, 2},
		.reserved_until_ns = WALL_NS + 100,
		.free_ns = WALL_NS + 200,
	};
	struct store_heard heard = {.peer_key = {1, 2}, .at_ns = WALL_NS};
	struct store *s = open_store();
	struct stat st;
	struct rows r = load(s);
	uint64_t ticket;

	assert_int_equal(r.n_peers + r.n_leases + r.n_held + r.n_heard, 0);
	assert_int_equal(store_epoch_ns(s), WALL_NS);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(ip_endpoint_parse("203.0.113.9:51000", &heard.endpoint), 0);
	assert_int_equal(ip_prefix_parse("192.0.2.0/24", &lease.sources[0]), 0);
	assert_int_equal(ip_prefix_parse("2001:db8::/32", &lease.sources[1]), 0);
	lease.n_sources = 2;
	assert_int_equal(store_start(s), 0);
	store_peer_put(s, &peer);
	store_lease_put(s, &lease);
	store_held_put(s, &held);
	store_heard_put(s, &heard);
	ticket = store_commit(s);
	assert_int_equal(ticket, 1);
	assert_int_equal(store_commit(s), 1); /* nothing new */
	assert_int_equal(wait_for(s, 1).done, 1);
	store_close(s);

	s = open_store();
	r = load(s);
	assert_int_equal(r.n_peers + r.n_leases + r.n_held + r.n_heard, 4);
	assert_memory_equal(&r.peer, &peer, sizeof(peer));
	assert_memory_equal(&r.lease, &lease, sizeof(lease));
	assert_memory_equal(&r.held, &held, sizeof(held));
	assert_memory_equal(&r.heard, &heard, sizeof(heard));
	assert_int_equal(store_last_lease_id(s), 7);

	assert_int_equal(store_start(s), 0);
	store_lease_used_put(s, 7, WALL_NS + 50);
	store_lease_used_put(s, 6, WALL_NS + 50);
	wait_for(s, store_commit(s));
	store_close(s);
	s = open_store();
	r = load(s);
	assert_int_equal(r.n_leases, 1);
	assert_int_equal(r.lease.used_ns, WALL_NS + 50);

	/* The end of the lease does not free its id; a peer that goes leaves its number to nobody;
	 * and a new lease takes the number. */
	assert_int_equal(store_start(s), 0);
	store_lease_del(s, 7);
	store_peer_del(s, peer.public_key, WALL_NS + 10, WALL_NS + 20);
	wait_for(s, store_commit(s));
	store_close(s);
	s = open_store();
	r = load(s);
	assert_int_equal(r.n_peers + r.n_leases, 0);
	assert_false(r.held.has_peer);
	assert_int_equal(r.held.reserved_until_ns, WALL_NS + 10);
	assert_int_equal(r.held.free_ns, WALL_NS + 20);
	assert_int_equal(store_last_lease_id(s), 7);
	assert_int_equal(store_start(s), 0);
	lease = make_lease(8);
	lease.public_port = held.public_port - 3, lease.n_ports = 4;
	store_lease_put(s, &lease);
	wait_for(s, store_commit(s));
	store_close(s);
	s = open_store();
	r = load(s);
	assert_int_equal(r.n_leases, 1);
	assert_int_equal(r.n_held, 0);
	store_close(s);
}

static void sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* As schema 1 had it, with a row of each. */
static const char schema_1[] =
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE peers (public_key TEXT PRIMARY KEY, preshared_key TEXT, settings TEXT NOT "
	"NULL)"
	" WITHOUT ROWID;"
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
	" WITHOUT ROWID;"
	"PRAGMA user_version = 1;"
	"INSERT INTO meta VALUES ('epoch_ns', 123), ('last_lease_id', 45);"
	"INSERT INTO peers VALUES ('AQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', NULL, '{}');"
	"INSERT INTO leases VALUES (44, 'AQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', 'udp',"
	" '198.51.100.1', 20000, '10.0.0.2', 80, 5, NULL, NULL, NULL, 0, '', 'old', 'pcp', NULL);"
	"INSERT INTO reserved VALUES ('198.51.100.1', 20001, NULL, '10.0.0.2', 81, 6, 7);"
	"INSERT INTO heard VALUES ('AQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', "
	"'203.0.113.9:1', 8);";

/* From each schema to the next, with rows of what it brought. */
static const char *const schema_steps[] = {
	"CREATE TABLE overruled (entry TEXT PRIMARY KEY) WITHOUT ROWID;"
	"ALTER TABLE leases ADD COLUMN max_pps INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE leases ADD COLUMN max_new_flows INTEGER NOT NULL DEFAULT 0;"
	"UPDATE leases SET max_pps = 7, max_new_flows = 8;"
	"INSERT INTO overruled VALUES ('lease of alice'); PRAGMA user_version = 2;",
	"CREATE TABLE barred (public_key TEXT PRIMARY KEY, at_ns INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO barred VALUES ('AQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', 9);"
	"PRAGMA user_version = 3;",
	"ALTER TABLE leases ADD COLUMN ports INTEGER NOT NULL DEFAULT 1;"
	"ALTER TABLE reserved ADD COLUMN ports INTEGER NOT NULL DEFAULT 1;"
	"UPDATE leases SET ports = 4; UPDATE reserved SET ports = 2; PRAGMA user_version = 4;",
	"CREATE TABLE history (id INTEGER PRIMARY KEY, public_address TEXT NOT NULL,"
	" first_port INTEGER NOT NULL, ports INTEGER NOT NULL, proto TEXT NOT NULL,"
	" peer TEXT NOT NULL, peer_name TEXT NOT NULL, to_address TEXT, to_port INTEGER,"
	" label TEXT NOT NULL, opened_ns INTEGER NOT NULL, opened_by TEXT NOT NULL,"
	" opened_uid INTEGER, closed_ns INTEGER, closed_by TEXT, closed_uid INTEGER, reason TEXT,"
	" known_ns INTEGER);"
	"CREATE INDEX history_by_number ON history (public_address, first_port);"
	"CREATE INDEX history_by_peer ON history (substr(peer, 1, 8));"
	"CREATE INDEX history_by_end ON history (closed_ns);"
	"INSERT INTO history VALUES (44, '198.51.100.1', 20000, 4, 'udp',"
	" 'AQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', 'old', '10.0.0.2', 80, 'old', 5, 'pcp',"
	" NULL, NULL, NULL, NULL, NULL, NULL); PRAGMA user_version = 5;",
};

#define SCHEMAS_OLD (1 + sizeof(schema_steps) / sizeof(schema_steps[0]))

/* As a gateway with this schema left it. */
static void write_schema(unsigned version)
{
	static_assert(SCHEMAS_OLD == STORE_SCHEMA - 1, "each is tried");
	sql(schema_1);
	for (unsigned i = 1; i < version; i++)
		sql(schema_steps[i - 1]);
}

static void count_entry(void *arg, const char *entry)
{
	unsigned *n = arg;

	assert_string_equal(entry, "lease of alice");
	(*n)++;
}

static unsigned overrules_count(struct store *s)
{
	char fault[STORE_FAULT_CHARS];
	unsigned n = 0;

	assert_int_equal(store_overrules_load(s, count_entry, &n, fault), 0);
	return n;
}

static void take_bar(void *arg, const uint8_t public_key[static CRYPTO_KEY_BYTES])
{
	unsigned *sum = arg;

	*sum = 10 * *sum + public_key[0];
}

/* The first bytes of the keys, as digits. */
static unsigned bars(struct store *s)
{
	char fault[STORE_FAULT_CHARS];
	unsigned sum = 0;

	assert_int_equal(store_bars_load(s, take_bar, &sum, fault), 0);
	return sum;
}

static void bars_are_of_keys(void **state)
{
	const uint8_t one[CRYPTO_KEY_BYTES] = {1}, two[CRYPTO_KEY_BYTES] = {2};
	struct store *s = open_store();

	assert_int_equal(bars(s), 0);
	assert_int_equal(store_start(s), 0);
	store_bar_put(s, two, WALL_NS);
	store_bar_put(s, one, WALL_NS);
	store_bar_put(s, one, WALL_NS + 1);
	store_peer_del(s, one, 1, 2);
	wait_for(s, store_commit(s));
	store_close(s);
	s = open_store();
	assert_int_equal(bars(s), 12);
	assert_int_equal(store_start(s), 0);
	store_bar_del(s, one);
	wait_for(s, store_commit(s));
	store_close(s);
	s = open_store();
	assert_int_equal(bars(s), 2);
	store_close(s);
}

/* All that it had. */
static void is_up_to_date(unsigned version)
{
	struct store *s = open_store();
	struct rows r = load(s);

	assert_int_equal(r.n_peers, 1);
	assert_int_equal(r.n_leases, 1);
	assert_int_equal(r.n_held, 1);
	assert_int_equal(r.n_heard, 1);
	assert_int_equal(r.lease.id, 44);
	assert_string_equal(r.lease.label, "old");
	assert_int_equal(r.lease.used_ns, WALL_NS);
	assert_int_equal(r.lease.max_pps, version < 2 ? 0 : 7);
	assert_int_equal(r.lease.max_new_flows, version < 2 ? 0 : 8);
	assert_int_equal(overrules_count(s), version < 2 ? 0 : 1);
	assert_int_equal(bars(s), version < 3 ? 0 : 1);
	assert_int_equal(r.lease.n_ports, version < 4 ? 1 : 4);
	assert_int_equal(r.held.n_ports, version < 4 ? 1 : 2);
	assert_int_equal(store_history_is_empty(s), version < 5);
	assert_int_equal(store_epoch_ns(s), 123);
	assert_int_equal(store_last_lease_id(s), 45);
	store_close(s);
}

static void each_schema_is_brought_up_to_date(void **state)
{
	for (unsigned version = 1; version <= SCHEMAS_OLD; version++) {
		write_schema(version);
		is_up_to_date(version);
		teardown(NULL);
		assert_int_equal(mkdir(dir, 0700), 0);
	}
}

/* At each write and each sync of it. */
static void killed_while_it_is_brought_up_to_date_it_loses_nothing(void **state)
{
	for (unsigned version = 1; version <= SCHEMAS_OLD; version++) {
		bool is_killed = true;

		for (unsigned n = 1; is_killed; n++) {
			char fault[STORE_FAULT_CHARS];
			int status;
			pid_t pid;

			write_schema(version);
			pid = fork();
			if (pid == 0) {
				disk_steps_left = n;
				_exit(store_open(path, WALL_NS, fault) == NULL);
			}
			assert_int_equal(waitpid(pid, &status, 0), pid);
			is_killed = WIFSIGNALED(status);
			assert_true(is_killed ? WTERMSIG(status) == SIGKILL
					      : WEXITSTATUS(status) == 0 && n > 5);
			is_up_to_date(version);
			teardown(NULL);
			assert_int_equal(mkdir(dir, 0700), 0);
		}
	}
}

static void a_file_of_schema_1_is_brought_up_to_date(void **state)
{
	struct store *s;
	struct rows r;

	sql(schema_1);
	is_up_to_date(1);
	s = open_store();
	r = load(s);
	assert_int_equal(store_start(s), 0);
	store_overrule_put(s, "lease of alice");
	store_overrule_put(s, "lease of alice");
	wait_for(s, store_commit(s));
	store_close(s);
	s = open_store();
	assert_int_equal(overrules_count(s), 1);
	assert_int_equal(store_start(s), 0);
	store_overrule_del(s, "lease of alice");
	store_peer_del(s, r.peer.public_key, 1, 2);
	wait_for(s, store_commit(s));
	store_close(s);
	s = open_store();
	assert_int_equal(overrules_count(s), 0);
	assert_int_equal(load(s).n_heard, 0);
	store_close(s);
}

static void refuse_open(const char *why)
{
	char fault[STORE_FAULT_CHARS] = "";

	assert_null(store_open(path, WALL_NS, fault));
	if (strstr(fault, path) == NULL || strstr(fault, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", fault, why);
}

static void the_file_is_nobody_elses(void **state)
{
	struct store *s;
	struct stat st;

	assert_int_equal(chmod(dir, 0777), 0);
	refuse_open("mode 0777");
	assert_int_equal(chmod(dir, 0770), 0);
	refuse_open("mode 0770");
	assert_int_equal(chmod(dir, 0700), 0);
	assert_int_equal(symlink("/tmp/elsewhere", path), 0);
	refuse_open("cannot be opened");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	refuse_open("cannot be opened");
	assert_int_equal(rmdir(path), 0);
	close(open(path, O_CREAT | O_WRONLY, 0666));
	assert_int_equal(chmod(path, 0644), 0);
	s = open_store();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	refuse_open("another process has it");
	store_close(s);
	store_close(open_store());
}

static void what_it_cannot_read_is_refused_with_a_sentence(void **state)
{
	char fault[STORE_FAULT_CHARS] = "";
	struct rows r = {0};
	struct store *s;

	assert_null(store_open("/nonexistent/portier.db", WALL_NS, fault));
	assert_non_null(strstr(fault, "/nonexistent/portier.db"));
	store_close(open_store());
	sql("INSERT INTO heard VALUES ('no key', '203.0.113.9:1', 5)");
	s = open_store();
	assert_int_equal(store_heard_load(s, take_heard, &r, fault), -EINVAL);
	assert_non_null(strstr(fault, "table heard: the row of no key"));
	store_close(s);
	sql("PRAGMA user_version = 99");
	assert_null(store_open(path, WALL_NS, fault));
	assert_non_null(strstr(fault, "schema 99, written by a newer portier"));
	teardown(NULL);
	assert_int_equal(mkdir(dir, 0700), 0);
	sql("CREATE TABLE peers (what INTEGER)");
	assert_null(store_open(path, WALL_NS, fault));
	assert_non_null(strstr(fault, "schema"));
}

/* ---- kill -9 ---- */

/* In shared memory: what was acknowledged, and what was asked for. */
struct progress {
	_Atomic uint64_t asked, acknowledged;
};

/* Commit n opens the leases of group n and closes those of group n - 1: so exactly one group is
 * there after each. */
static void write_until_killed(struct progress *progress, uint64_t first)
{
	struct store *s = open_store();

	if (store_start(s) != 0)
		_exit(1);
	for (uint64_t n = first;; n++) {
		for (uint64_t i = 0; i < GROUP_LEASES; i++) {
			struct store_lease l = make_lease(n * GROUP_LEASES + i);

			store_lease_put(s, &l);
			if (n > 1)
				store_lease_del(s, (n - 1) * GROUP_LEASES + i);
		}
		progress->asked = n;
		wait_for(s, store_commit(s));
		progress->acknowledged = n;
	}
}

static void killed_at_any_moment_it_loses_nothing_acknowledged(void **state)
{
	struct progress *p =
		mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t group = 0;

	assert_ptr_not_equal(p, MAP_FAILED);
	for (unsigned i = 0; i < KILLS; i++) {
		struct timespec nap = {.tv_nsec = (long)random_below(60000000)};
		struct rows r;
		struct store *s;
		int status;
		pid_t pid = fork();

		if (pid == 0)
			write_until_killed(p, group + 1);
		nanosleep(&nap, NULL);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));

		s = open_store();
		r = load(s);
		if (p->asked == 0) {
			store_close(s);
			continue;
		}
		/* One group and no part of another: an acknowledged one, or the one in flight. */
		assert_true(
			r.n_leases == GROUP_LEASES || (p->acknowledged == 0 && r.n_leases == 0));
		if (r.n_leases > 0)
			group = r.lease.id / GROUP_LEASES;
		assert_in_range(group, p->acknowledged, p->asked);
		assert_int_equal(r.lease_ids_sum,
			r.n_leases == 0 ? 0
					: GROUP_LEASES * GROUP_LEASES * group +
						  GROUP_LEASES * (GROUP_LEASES - 1) / 2);
		if (r.n_leases > 0)
			assert_int_equal(store_last_lease_id(s), r.lease.id);
		store_close(s);
	}
	print_message("%llu commits acknowledged over %u kills\n",
		(unsigned long long)p->acknowledged, KILLS);
	assert_true(p->acknowledged > KILLS / 4);
	munmap(p, sizeof(*p));
}

/* ---- a disk that is full ---- */

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_is_told_and_made_up_for(void **state)
{
	struct store *s = open_store();
	struct store_status st;
	uint64_t id = 1, ticket;
	struct stat file;
	char wal[112];

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(store_start(s), 0);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	assert_int_equal(stat(wal, &file), 0);
	limit_files((rlim_t)file.st_size + 65536);
	do {
		struct store_lease l = make_lease(id++);

		store_lease_put(s, &l);
		ticket = store_commit(s);
		st = wait_for(s, ticket);
		assert_true(id < 10000);
	} while (st.done == ticket);
	assert_int_equal(st.done, ticket - 1);
	assert_int_equal(st.failed, ticket);
	assert_string_not_equal(st.why, "");
	/* Room again: it is written without being asked, with what came meanwhile. */
	store_lease_del(s, 1);
	store_commit(s);
	limit_files(RLIM_INFINITY);
	while (st.done < ticket + 1) {
		st = wait_for(s, st.failed + 1);
		store_status_get(s, &st);
	}
	assert_string_equal(st.why, "");
	store_close(s);
	s = open_store();
	assert_int_equal(load(s).n_leases, id - 2);
	store_close(s);
}

/* ---- a disk that fails ---- */

static void take_away(bool is_away)
{
	char away[80];

	snprintf(away, sizeof(away), "%s.away", dir);
	assert_int_equal(is_away ? rename(dir, away) : rename(away, dir), 0);
}

static void fail_how(unsigned how, bool is_failing)
{
	if (how == 2)
		take_away(is_failing);
	else
		disk = !is_failing ? DISK_WORKS : how == 0 ? DISK_FAILS_WRITES : DISK_FAILS_SYNCS;
}

/* Writes, or syncs, end in an error, or the directory is gone: told, with the reason, and made up
 * for. Meanwhile nothing is half there. */
static void a_failing_disk_is_told_and_made_up_for(void **state)
{
	static const char *const whys[] = {"disk I/O error", "disk I/O error", "not in its place"};
	uint64_t id = 0;

	for (unsigned how = 0; how < 3; how++) {
		struct store *s = open_store();
		struct store_status st;
		struct store_lease one = make_lease(++id), two = make_lease(++id);
		uint64_t ticket;

		assert_int_equal(store_start(s), 0);
		store_lease_put(s, &one);
		ticket = store_commit(s);
		assert_int_equal(wait_for(s, ticket).done, ticket);
		fail_how(how, true);
		store_lease_put(s, &two);
		store_lease_del(s, one.id);
		ticket = store_commit(s);
		st = wait_for(s, ticket);
		assert_int_equal(st.done, ticket - 1);
		assert_int_equal(st.failed, ticket);
		if (strstr(st.why, whys[how]) == NULL)
			fail_msg("%u: %s", how, st.why);
		fail_how(how, false);
		store_lease_del(s, one.id);
		store_commit(s);
		while (st.done < ticket)
			st = wait_for(s, ticket + 1);
		assert_string_equal(st.why, "");
		store_close(s);
		s = open_store();
		assert_int_equal(load(s).n_leases, how + 1);
		assert_int_equal(load(s).lease.id, two.id);
		store_close(s);
	}
}

/* What it could not write before it ended is not there; what it could not be sure of is there as a
 * whole, or not at all. */
static void a_disk_that_fails_for_good_leaves_what_was_acknowledged(void **state)
{
	for (int how = DISK_FAILS_WRITES; how <= DISK_FAILS_SYNCS; how++) {
		struct store *s = open_store();
		struct store_lease one = make_lease(1), two = make_lease(2);

		assert_int_equal(store_start(s), 0);
		store_lease_put(s, &one);
		wait_for(s, store_commit(s));
		disk = (enum failing_vfs)how;
		store_lease_put(s, &two);
		store_lease_del(s, 1);
		wait_for(s, store_commit(s));
		store_close(s);
		disk = DISK_WORKS;
		s = open_store();
		assert_int_equal(load(s).n_leases, 1);
		if (how == DISK_FAILS_WRITES)
			assert_int_equal(load(s).lease.id, 1);
		store_close(s);
	}
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_IN_S + (uint64_t)ts.tv_nsec;
}

/* ---- history ---- */

static struct store_record make_record(uint64_t id)
{
	struct store_lease l = make_lease(id);
	struct store_record r = {
		.id = id,
		.public_addr = l.public_addr,
		.first_port = l.public_port,
		.n_ports = 1,
		.protos = l.protos,
		.inner_addr = l.inner_addr,
		.inner_port = l.inner_port,
		.opened_ns = l.opened_ns,
		.opened_by = {.by = "pcp"},
		.closed_ns = TIME_NEVER,
		.known_ns = TIME_NEVER,
	};

	memcpy(r.peer_key, l.peer_key, sizeof(r.peer_key));
	memcpy(r.label, l.label, sizeof(r.label));
	snprintf(r.peer_name, sizeof(r.peer_name), "mnemonic");
	return r;
}

struct found {
	unsigned n;
	uint64_t ids_sum;
	struct store_record last;
};

static void take_record(void *arg, const struct store_record *r)
{
	struct found *f = arg;

	f->n++;
	f->ids_sum += r->id;
	f->last = *r;
}

static struct found find_port(struct store *s, uint16_t port)
{
	const struct store_history_query q = {
		.public_addr = make_lease(1).public_addr,
		.port = port,
		.until_ns = TIME_NEVER,
		.limit = 100,
	};
	char fault[STORE_FAULT_CHARS];
	struct found f = {0};
	uint64_t next_id;

	if (store_history_read(s, &q, take_record, &f, &next_id, fault) != 0)
		fail_msg("%s", fault);
	assert_int_equal(next_id, 0);
	return f;
}

static void a_record_is_as_it_was_put(void **state)
{
	struct store_record r = make_record(7), one;
	struct store *s = open_store();

	assert_int_equal(store_start(s), 0);
	assert_true(store_history_is_empty(s));
	store_history_begin(s, WALL_NS + 5);
	store_record_open(s, &r);
	one = r;
	one.first_port = 9;
	store_record_open(s, &one); /* the first one stays */
	wait_for(s, store_commit(s));
	assert_int_equal(store_history_since_ns(s), WALL_NS + 5);
	assert_false(store_history_is_empty(s));
	one = find_port(s, r.first_port).last;
	assert_memory_equal(&one, &r, sizeof(r));
	r.closed_ns = WALL_NS; /* the clock went back */
	r.closed_by = (struct store_actor){.by = "uapi", .has_uid = true, .uid = 4000000000};
	snprintf(r.reason, sizeof(r.reason), "peer deleted");
	store_record_close(s, &r);
	one = r;
	snprintf(one.reason, sizeof(one.reason), "again");
	store_record_close(s, &one);
	wait_for(s, store_commit(s));
	r.closed_ns = r.opened_ns;
	one = find_port(s, r.first_port).last;
	assert_memory_equal(&one, &r, sizeof(r));
	/* One that was never opened is whole, and its id is no lease's. */
	one = make_record(99);
	one.closed_ns = one.opened_ns + 1;
	store_record_close(s, &one);
	one.id = 100;
	one.n_ports = 0;
	store_record_close(s, &one);
	wait_for(s, store_commit(s));
	assert_int_equal(find_port(s, one.first_port).n, 1);
	store_close(s);
	s = open_store();
	assert_int_equal(store_last_lease_id(s), 100);
	store_close(s);
}

static void a_port_is_found_among_any_number(void **state)
{
	struct store *s = open_store();
	uint64_t id = 0;

	assert_int_equal(store_start(s), 0);
	for (unsigned ports = 2; ports <= STORE_HISTORY_PORTS_MAX; ports *= 2) {
		struct store_record r = make_record(1);

		r.id = ++id;
		r.protos = 0;
		r.inner_addr = (struct ip_addr){0};
		r.first_port = (uint16_t)(40000 / ports * ports);
		r.n_ports = (uint16_t)ports;
		store_record_open(s, &r);
	}
	wait_for(s, store_commit(s));
	assert_int_equal(find_port(s, 40000).n, id);
	/* 40000 is 625 * 64: those of up to 64 begin at it, those of 128 and 256 at
	 * 39936, and the largest at 36864. */
	assert_int_equal(find_port(s, 40001).n, id);
	assert_int_equal(find_port(s, 40002).n, id - 1);
	assert_int_equal(find_port(s, 40064).n, id - 7);
	assert_int_equal(find_port(s, 39999).n, id - 6);
	assert_int_equal(find_port(s, 36864).n, 1);
	assert_int_equal(find_port(s, 40959).n, 3);
	assert_int_equal(find_port(s, 40960).n, 0);
	assert_int_equal(find_port(s, 36863).n, 0);
	store_close(s);
}

/* Is there this text in the file, or in what goes with it? */
static bool is_in_file(const char *wanted)
{
	static const char *const ends[] = {"", "-wal"};
	char name[112];

	for (unsigned i = 0; i < 2; i++) {
		char *bytes = malloc(64 << 20);
		bool has;
		size_t len;
		FILE *f;

		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		f = fopen(name, "r");
		assert_non_null(bytes);
		assert_non_null(f);
		len = fread(bytes, 1, 64 << 20, f);
		fclose(f);
		has = memmem(bytes, len, wanted, strlen(wanted)) != NULL;
		free(bytes);
		if (has)
			return true;
	}
	return false;
}

static void what_is_forgotten_is_out_of_the_file(void **state)
{
	const uint64_t n = 3 * STORE_HISTORY_SLICE_ROWS;
	struct store *s = open_store();
	struct store_record r;

	assert_int_equal(store_start(s), 0);
	store_history_begin(s, WALL_NS);
	for (uint64_t id = 1; id <= n; id++) {
		r = make_record(id);
		store_record_open(s, &r);
	}
	wait_for(s, store_commit(s));
	assert_true(is_in_file("mnemonic"));
	store_history_forget(s);
	wait_for(s, store_commit(s));
	for (unsigned i = 0; i < 20000 && is_in_file("mnemonic"); i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_false(is_in_file("mnemonic"));
	assert_true(store_history_is_empty(s));
	/* What is put while it goes is of the next time. */
	r = make_record(1);
	store_record_open(s, &r);
	store_history_forget(s);
	store_record_open(s, &r);
	r = make_record(2);
	store_record_open(s, &r);
	wait_for(s, store_commit(s));
	assert_int_equal(find_port(s, r.first_port).n, 1);
	store_history_alive(s, WALL_NS, 1);
	wait_for(s, store_commit(s));
	assert_int_equal(find_port(s, r.first_port).n, 1);
	store_close(s);
}

/* A second of leases opened and closed, with records and without. */
static double changes_a_second(struct store *s, uint64_t first, uint64_t n, bool has_history)
{
	uint64_t start_ns = now_ns(), ticket = 0;

	for (uint64_t id = first; id < first + n; id++) {
		struct store_lease l = make_lease(id);
		struct store_record r = make_record(id);

		store_lease_put(s, &l);
		if (has_history)
			store_record_open(s, &r);
		if (id % 4 == 0) {
			r.closed_ns = WALL_NS + 5 * NS_IN_S;
			store_lease_del(s, id);
			if (has_history)
				store_record_close(s, &r);
		}
		if (id % 500 == 0)
			ticket = store_commit(s);
	}
	ticket = store_commit(s);
	assert_int_equal(wait_for(s, ticket).done, ticket);
	return (double)n * 1.25e9 / (double)(now_ns() - start_ns);
}

static void what_history_costs(void **state)
{
	const char *wanted = getenv("PORTIER_TEST_LEASES");
	const uint64_t n = wanted ? strtoull(wanted, NULL, 10) : 10000;
	struct store *s = open_store();
	double without, with;

	assert_int_equal(store_start(s), 0);
	without = changes_a_second(s, 1, n, false);
	with = changes_a_second(s, n + 1, n, true);
	print_message("%.0f changes a second, %.0f with history\n", without, with);
	assert_int_equal(store_history_is_empty(s), false);
	store_close(s);
}

/* PORTIER_TEST_LEASES=1000000 measures. */
static void many_leases(void **state)
{
	const char *wanted = getenv("PORTIER_TEST_LEASES");
	const uint64_t n = wanted ? strtoull(wanted, NULL, 10) : 100000;
	struct store *s = open_store();
	uint64_t start_ns = now_ns(), written_ns, loaded_ns;
	struct rows r;

	assert_int_equal(store_start(s), 0);
	for (uint64_t id = 1; id <= n; id++) {
		struct store_lease l = make_lease(id);

		store_lease_put(s, &l);
		if (id % 10000 == 0)
			store_commit(s);
	}
	assert_int_equal(wait_for(s, store_commit(s)).done, (n + 9999) / 10000);
	written_ns = now_ns();
	store_close(s);
	s = open_store();
	r = load(s);
	loaded_ns = now_ns();
	store_close(s);
	assert_int_equal(r.n_leases, n);
	assert_int_equal(r.lease_ids_sum, n * (n + 1) / 2);
	print_message("written in %.1f s, read in %.1f s\n", (double)(written_ns - start_ns) / 1e9,
		(double)(loaded_ns - written_ns) / 1e9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_that_was_put_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_file_of_schema_1_is_brought_up_to_date, setup, teardown),
		cmocka_unit_test_setup_teardown(each_schema_is_brought_up_to_date, setup, teardown),
		cmocka_unit_test_setup_teardown(
			killed_while_it_is_brought_up_to_date_it_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(bars_are_of_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(the_file_is_nobody_elses, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_it_cannot_read_is_refused_with_a_sentence, setup, teardown),
		cmocka_unit_test_setup_teardown(
			killed_at_any_moment_it_loses_nothing_acknowledged, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_full_disk_is_told_and_made_up_for, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_failing_disk_is_told_and_made_up_for, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_disk_that_fails_for_good_leaves_what_was_acknowledged, setup, teardown),
		cmocka_unit_test_setup_teardown(many_leases, setup, teardown),
		cmocka_unit_test_setup_teardown(a_record_is_as_it_was_put, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_is_found_among_any_number, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_forgotten_is_out_of_the_file, setup, teardown),
		cmocka_unit_test_setup_teardown(what_history_costs, setup, teardown),
	};

	random_seed();
	failing_vfs_install();
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
