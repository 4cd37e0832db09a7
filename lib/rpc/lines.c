/* Framing: bytes in, whole lines out. */
#include "rpc/rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What an idle connection may keep. */
#define KEEP_BYTES (64u << 10)

void rpc_lines_init(struct rpc_lines *l, size_t max_line_bytes)
{
	*l = (struct rpc_lines){.max_line_bytes = max_line_bytes};
}

void rpc_lines_fini(struct rpc_lines *l)
{
	if (l->buf != NULL)
		explicit_bzero(l->buf, l->room);
	free(l->buf);
	*l = (struct rpc_lines){.max_line_bytes = l->max_line_bytes};
}

/* Drop the lines that were handed out, and wipe where they were. */
static void shift(struct rpc_lines *l)
{
	size_t rest = l->len - l->taken;

	if (l->taken == 0)
		return;
	memmove(l->buf, l->buf + l->taken, rest);
	explicit_bzero(l->buf + rest, l->len - rest);
	l->scanned = l->scanned > l->taken ? l->scanned - l->taken : 0;
	l->len = rest;
	l->taken = 0;
}

void *rpc_lines_reserve(struct rpc_lines *l, size_t want)
{
	size_t room;
	char *buf;

	shift(l);
	if (l->len == 0 && l->room > KEEP_BYTES + want)
		rpc_lines_fini(l);
	if (l->room - l->len >= want && l->buf != NULL)
		return l->buf + l->len;
	if (want > SIZE_MAX / 4 || l->len > SIZE_MAX / 4)
		return NULL;
	room = l->len + want;
	if (room < 2 * l->len)
		room = 2 * l->len;
	buf = malloc(room);
	if (buf == NULL)
		return NULL;
	if (l->buf != NULL) {
		memcpy(buf, l->buf, l->len);
		explicit_bzero(l->buf, l->room);
		free(l->buf);
	}
	l->buf = buf;
	l->room = room;
	return buf + l->len;
}

void rpc_lines_commit(struct rpc_lines *l, size_t len)
{
	l->len += len;
}

int rpc_lines_next(struct rpc_lines *l, const char **line, size_t *len)
{
	size_t from = l->scanned > l->taken ? l->scanned : l->taken, n;
	const char *end = l->len > from ? memchr(l->buf + from, '\n', l->len - from) : NULL;

	if (end == NULL) {
		l->scanned = l->len;
		return l->len - l->taken > l->max_line_bytes ? -EMSGSIZE : 0;
	}
	n = (size_t)(end - l->buf) - l->taken;
	if (n > l->max_line_bytes)
		return -EMSGSIZE;
	*line = l->buf + l->taken;
	l->taken += n + 1;
	if (n > 0 && (*line)[n - 1] == '\r')
		n--;
	*len = n;
	return 1;
}
