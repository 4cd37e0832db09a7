/* Connections of the control socket, and whom they belong to. */
#include "ctl/server.h"

#include "base/log.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

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

int ctl_role_get(const struct ctl *c, int fd, struct ctl_role *out)
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
		if (ctl_role_get(c, fd, &role) != 0)
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

int ctl_listen(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	/* The file does not decide who may do what, the role does. */
	if (ctl_socket_open(&c->socket, "control.socket", c->p.conf->socket_path, 0666, fault) != 0)
		return -EINVAL;
	find_group(c);
	c->ev_listen = event_new(c->p.base, c->socket.fd, EV_READ | EV_PERSIST, on_connect, c);
	if (c->ev_listen == NULL || event_add(c->ev_listen, NULL) != 0) {
		snprintf(fault, CTL_FAULT_CHARS, "control.socket: memory is out");
		return -EINVAL;
	}
	return 0;
}

void ctl_unlisten(struct ctl *c)
{
	if (c->ev_listen != NULL)
		event_free(c->ev_listen);
	ctl_socket_close(&c->socket);
}
