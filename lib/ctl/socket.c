/* A socket file: made, and taken away only while it is our own. */
#include "ctl/server.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* One directory deep: /run/portier. Deeper ones are the operator's to make. */
static int make_parent(const char *key, const char *path, char fault[static CTL_FAULT_CHARS])
{
	char copy[CONF_PATH_CHARS];
	const char *dir;

	snprintf(copy, sizeof(copy), "%s", path);
	dir = dirname(copy);
	if (mkdir(dir, 0755) == 0 || errno == EEXIST)
		return 0;
	snprintf(fault, CTL_FAULT_CHARS,
		"%s %s: its directory %s cannot be made: %s; name a path in a directory that "
		"exists",
		key, path, dir, strerror(errno));
	return -EINVAL;
}

/* Make way for our socket: what a dead process left behind is removed, anything else is not. */
static int clear_way(
	const char *key, const struct sockaddr_un *addr, char fault[static CTL_FAULT_CHARS])
{
	struct stat st;
	int fd, err;

	if (lstat(addr->sun_path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(fault, CTL_FAULT_CHARS,
			"%s %s is a file, not a socket; remove it or name another path", key,
			addr->sun_path);
		return -EINVAL;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		snprintf(fault, CTL_FAULT_CHARS, "no socket to be had: %s", strerror(errno));
		return -EINVAL;
	}
	err = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ? 0 : errno;
	close(fd);
	if (err != ECONNREFUSED) {
		snprintf(fault, CTL_FAULT_CHARS,
			"%s %s is served by a process that runs; stop it or name another path", key,
			addr->sun_path);
		return -EINVAL;
	}
	unlink(addr->sun_path);
	return 0;
}

static int bind_socket(struct ctl_socket *s, const struct sockaddr_un *addr, mode_t mode)
{
	struct stat st;

	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0 || bind(s->fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0)
		return -errno;
	/* Before listen nobody can connect, so nobody sees the mode that umask left. */
	if (chmod(addr->sun_path, mode) != 0 || stat(addr->sun_path, &st) != 0 ||
		listen(s->fd, 64) != 0)
		return -errno;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
}

int ctl_socket_open(struct ctl_socket *s, const char *key, const char *path, mode_t mode,
	char fault[static CTL_FAULT_CHARS])
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int err;

	static_assert(sizeof(s->path) == sizeof(addr.sun_path), "one fits the other");
	if (path[0] != '/' || strlen(path) >= sizeof(addr.sun_path)) {
		snprintf(fault, CTL_FAULT_CHARS,
			"%s %s: accepted is an absolute path of at most %zu characters", key, path,
			sizeof(addr.sun_path) - 1);
		return -EINVAL;
	}
	memcpy(addr.sun_path, path, strlen(path));
	memcpy(s->path, addr.sun_path, sizeof(s->path));
	if (make_parent(key, path, fault) != 0 || clear_way(key, &addr, fault) != 0)
		return -EINVAL;
	err = bind_socket(s, &addr, mode);
	if (err == 0)
		return 0;
	snprintf(fault, CTL_FAULT_CHARS, "%s %s cannot be served: %s", key, path, strerror(-err));
	ctl_socket_close(s);
	return -EINVAL;
}

void ctl_socket_close(struct ctl_socket *s)
{
	struct stat st;

	if (s->fd < 0)
		return;
	close(s->fd);
	s->fd = -1;
	/* Only our own: by now another gateway may serve the same path. */
	if (s->ino != 0 && lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
}
