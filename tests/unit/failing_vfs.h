/* failing_vfs.h - SQLite's own way to the disk, with a disk that fails, for tests.
 *
 * What is opened after failing_vfs_install() goes through it. The methods of each kind of file are
 * SQLite's, but for write and sync. */
#ifndef PORTIER_TESTS_FAILING_VFS_H
#define PORTIER_TESTS_FAILING_VFS_H

#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <unistd.h>

enum failing_vfs {
	DISK_WORKS = 0,
	DISK_FAILS_WRITES,
	DISK_FAILS_SYNCS,
};

/* W: the test, R: the thread of the store. */
static _Atomic enum failing_vfs disk;

/* The write or sync, counted down to, at which the process is killed; 0: none. */
static _Atomic unsigned disk_steps_left;

#define FAILING_KINDS_MAX 8

/* The methods of a kind of file as SQLite has them, and as it is given them. */
static struct {
	const sqlite3_io_methods *real;
	sqlite3_io_methods ours;
} failing_kinds[FAILING_KINDS_MAX];

static inline const sqlite3_io_methods *failing_real_of(const sqlite3_file *file)
{
	for (unsigned i = 0; i < FAILING_KINDS_MAX; i++)
		if (file->pMethods == &failing_kinds[i].ours)
			return failing_kinds[i].real;
	fail_msg("a file of an unknown kind");
	return NULL;
}

static inline void failing_step(void)
{
	if (disk_steps_left > 0 && --disk_steps_left == 0)
		kill(getpid(), SIGKILL);
}

static inline int failing_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
	failing_step();
	if (disk == DISK_FAILS_WRITES)
		return SQLITE_IOERR_WRITE;
	return failing_real_of(file)->xWrite(file, bytes, len, at);
}

static inline int failing_sync(sqlite3_file *file, int flags)
{
	failing_step();
	if (disk == DISK_FAILS_SYNCS)
		return SQLITE_IOERR_FSYNC;
	return failing_real_of(file)->xSync(file, flags);
}

static inline int failing_open(
	sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
	sqlite3_vfs *real = vfs->pAppData;
	int rc = real->xOpen(real, name, file, flags, out_flags);
	unsigned i = 0;

	if (rc != SQLITE_OK || file->pMethods == NULL)
		return rc;
	while (i < FAILING_KINDS_MAX && failing_kinds[i].real != NULL &&
		failing_kinds[i].real != file->pMethods)
		i++;
	assert_true(i < FAILING_KINDS_MAX);
	if (failing_kinds[i].real == NULL) {
		failing_kinds[i].ours = *file->pMethods;
		failing_kinds[i].ours.xWrite = failing_write;
		failing_kinds[i].ours.xSync = failing_sync;
		failing_kinds[i].real = file->pMethods;
	}
	file->pMethods = &failing_kinds[i].ours;
	return SQLITE_OK;
}

static inline void failing_vfs_install(void)
{
	static sqlite3_vfs vfs;

	if (vfs.pAppData != NULL)
		return;
	vfs = *sqlite3_vfs_find(NULL);
	vfs.pAppData = sqlite3_vfs_find(NULL);
	vfs.zName = "failing";
	vfs.pNext = NULL;
	vfs.xOpen = failing_open;
	assert_int_equal(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

#endif
