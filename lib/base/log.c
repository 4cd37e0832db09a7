/* log.c - one line to standard error, with a level. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longer lines are cut: a pipe takes up to PIPE_BUF (4096) bytes in one piece. */
#define LINE_MAX_BYTES 1024

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

/* syslog(3): err, warning, info, debug. */
static const char *const journal_prefixes[] = {
	[LOG_LEVEL_ERROR] = "<3>",
	[LOG_LEVEL_WARN] = "<4>",
	[LOG_LEVEL_INFO] = "<6>",
	[LOG_LEVEL_DEBUG] = "<7>",
};

static bool is_journal; /* W: main thread, before there are others */
static atomic_int max_level = LOG_LEVEL_INFO;

void log_begin_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) != 0)
		return;
	snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	is_journal = strcmp(stream, ours) == 0;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	char line[LINE_MAX_BYTES];
	size_t used, room;
	ssize_t rc;
	va_list args;
	int len;

	if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	if (is_journal)
		used = (size_t)snprintf(line, sizeof(line), "%s", journal_prefixes[level]);
	else
		used = (size_t)snprintf(line, sizeof(line), "%s ", level_names[level]);
	room = sizeof(line) - used - 1; /* keep one for the newline */
	va_start(args, fmt);
	len = vsnprintf(line + used, room, fmt, args);
	va_end(args);
	if (len < 0)
		len = 0;
	used += (size_t)len < room ? (size_t)len : room - 1;

	/* Text that came from outside can not forge a second line or drive a terminal. */
	for (size_t i = 0; i < used; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[used++] = '\n';
	do {
		rc = write(STDERR_FILENO, line, used);
	} while (rc < 0 && errno == EINTR);
	errno = saved_errno;
}
