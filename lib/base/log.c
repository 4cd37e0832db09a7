/* log.c - one line to standard error, with a level. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

/* Longer lines are cut: a pipe takes up to PIPE_BUF (4096) bytes in one piece. */
#define LINE_MAX_BYTES 1024

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

static atomic_int max_level = LOG_LEVEL_INFO;

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
