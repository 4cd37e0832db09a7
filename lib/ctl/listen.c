/* The socket file, and whom a connection belongs to. */
#include "ctl/server.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* One directory deep: /run/portier. Deeper ones are the operator's to make. */
static int make_parent(const char *path, char fault[static CTL_FAULT_CHARS])
{
	char copy[CONF_PATH_CHARS];
	const char *dir;

	snprintf(copy, sizeof(copy), "%s", path);
	dir = dirname(copy);
	if (mkdir(dir, 0755) == 0 || errno == EEXIST)
		return 0;
	snprintf(fault, CTL_FAULT_CHARS,
		"control.socket %s: its directory %s cannot be made: %s; name a path in a "
		"directory that "
		"exists",
		path, dir, strerror(errno));
	return -EINVAL;
}

/* Make way for our socket: what a dead process left behind is removed, anything else is not. */
static int clear_way(const struct sockaddr_un *addr, char fault[static CTL_FAULT_CHARS])
{
	struct stat st;
	int fd, err;

	if (lstat(addr->sun_path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(fault, CTL_FAULT_CHARS,
			"control.socket %s is a file, not a socket; remove it or name another path",
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
			"control.socket %s is served by a process that runs; stop it or name "
			"another path",
			addr->sun_path);
		return -EINVAL;
	}
	unlink(addr->sun_path);
	return 0;
}

/* SO_PEERGROUPS: supplementary groups at connect. */
static bool is_in_group(int fd, gid_t group)
{
	gid_t few[32], *gids = few;
	socklen_t len = sizeof(few);
	bool is_in = false;
	int rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &len);

	if (rc != 0 && errno == ERANGE) {
		gids = malloc(len);
		rc = gids == NULL ? -1 : getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &len);
	}
	for (size_t i = 0; rc == 0 && i < len / sizeof(gids[0]); i++)
		is_in |= gids[i] == group;
	if (gids != few)
		free(gids);
	return is_in;
}

static int get_role(const struct ctl *c, int fd, struct ctl_role *out)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return -errno;
	out->uid = cred.uid;
	out->may_write = cred.uid == 0 ||
			 (c->has_group && (cred.gid == c->group || is_in_group(fd, c->group)));
	return 0;
}

/* One line that says why, as far as it goes out at once. */
static void turn_away(int fd)
{
	struct rpc_fault fault;
	struct rpc_text t = {0};

	rpc_fault_set(&fault, RPC_EXHAUSTED, "connections", NULL,
		"too many connections: at most %u, and %u of those who may only read",
		CTL_CLIENTS_MAX, CTL_READERS_MAX);
	rpc_text_fault(&t, NULL, &fault);
	rpc_text_append(&t, "\n", 1);
	if (!t.is_broken)
		(void)!send(fd, t.chars, t.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	rpc_text_fini(&t);
	close(fd);
}

static void on_connect(evutil_socket_t listen_fd, short what, void *arg)
{
	struct ctl *c = arg;
	struct ctl_role role;
	int fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		if (get_role(c, fd, &role) != 0)
			close(fd);
		else if (c->n_clients >= CTL_CLIENTS_MAX ||
			 (!role.may_write && c->n_readers >= CTL_READERS_MAX))
			turn_away(fd);
		else
			ctl_client_create(c, fd, role);
	}
	/* Descriptors are out: the connection stays where it is, and asking for it again at once
	 * would keep the loop busy. The next look tries again. */
	if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		event_del(c->ev_listen);
}

static void find_group(struct ctl *c)
{
	const char *name = c->p.conf->socket_group;
	const struct group *group = name[0] == '\0' ? NULL : getgrnam(name);

	c->has_group = group != NULL;
	if (group != NULL)
		c->group = group->gr_gid;
	else if (name[0] != '\0')
		log_warn("control: there is no group %s; only root may write", name);
}

static int bind_socket(struct ctl *c, const struct sockaddr_un *addr)
{
	struct stat st;

	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listen_fd < 0 ||
		bind(c->listen_fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0)
		return -errno;
	/* Before listen nobody can connect, so nobody sees the mode that umask left. */
	if (chmod(addr->sun_path, 0666) != 0 || stat(addr->sun_path, &st) != 0 ||
		listen(c->listen_fd, 64) != 0)
		return -errno;
	c->socket_dev = st.st_dev;
	c->socket_ino = st.st_ino;
	return 0;
}

int ctl_listen(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	const char *path = c->p.conf->socket_path;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int err;

	if (path[0] != '/' || strlen(path) >= sizeof(addr.sun_path)) {
		snprintf(fault, CTL_FAULT_CHARS,
			"control.socket %s: accepted is an absolute path of at most %zu characters",
			path, sizeof(addr.sun_path) - 1);
		return -EINVAL;
	}
	memcpy(addr.sun_path, path, strlen(path));
	if (make_parent(path, fault) != 0 || clear_way(&addr, fault) != 0)
		return -EINVAL;
	find_group(c);
	err = bind_socket(c, &addr);
	if (err == 0) {
		c->ev_listen =
			event_new(c->p.base, c->listen_fd, EV_READ | EV_PERSIST, on_connect, c);
		if (c->ev_listen == NULL || event_add(c->ev_listen, NULL) != 0)
			err = -ENOMEM;
	}
	if (err != 0)
		snprintf(fault, CTL_FAULT_CHARS, "control.socket %s cannot be served: %s", path,
			strerror(-err));
	return err == 0 ? 0 : -EINVAL;
}

void ctl_unlisten(struct ctl *c)
{
	const char *path = c->p.conf->socket_path;
	struct stat st;

	if (c->ev_listen != NULL)
		event_free(c->ev_listen);
	if (c->listen_fd < 0)
		return;
	close(c->listen_fd);
	/* Only our own: by now another gateway may serve the same path. */
	if (c->socket_ino != 0 && lstat(path, &st) == 0 && st.st_dev == c->socket_dev &&
		st.st_ino == c->socket_ino)
		unlink(path);
}
