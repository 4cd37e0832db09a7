/* One conversation with the gateway. */
#include "cli.h"

#include "rpc/rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* The gateway answers in milliseconds; after this long it will not. */
#define ANSWER_S 30
/* A page of a list is a few hundred kilobytes. */
#define REPLY_BYTES_MAX (64u << 20)
#define READ_BYTES	(64u << 10)

struct cli_link {
	const char *socket_path;
	int fd;
	json_int_t last_id;
	struct rpc_lines lines;
};

static const char *advice(int err)
{
	switch (err) {
	case ENOENT:
	case ECONNREFUSED:
		return "; is portier running? another socket is named with -s";
	default:
		return "";
	}
}

struct cli_link *cli_link_open(const char *socket_path)
{
	struct cli_link *link = calloc(1, sizeof(*link));
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const struct timeval wait = {.tv_sec = ANSWER_S};

	if (strlen(socket_path) >= sizeof(addr.sun_path)) {
		cli_complain("socket %s: a path of at most %zu characters is accepted", socket_path,
			sizeof(addr.sun_path) - 1);
		free(link);
		return NULL;
	}
	memcpy(addr.sun_path, socket_path, strlen(socket_path));
	if (link == NULL)
		return NULL;
	link->socket_path = socket_path;
	link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (link->fd < 0 || connect(link->fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		cli_complain("the gateway at %s cannot be reached: %s%s", socket_path,
			strerror(errno), advice(errno));
		cli_link_close(link);
		return NULL;
	}
	setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	rpc_lines_init(&link->lines, REPLY_BYTES_MAX);
	return link;
}

void cli_link_close(struct cli_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	rpc_lines_fini(&link->lines);
	free(link);
}

static int send_all(struct cli_link *link, const struct rpc_text *t)
{
	for (size_t sent = 0; sent < t->len;) {
		ssize_t n = send(link->fd, t->chars + sent, t->len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int receive_line(struct cli_link *link, const char **line, size_t *len)
{
	int got;

	while ((got = rpc_lines_next(&link->lines, line, len)) == 0) {
		void *room = rpc_lines_reserve(&link->lines, READ_BYTES);
		ssize_t n = room == NULL ? -1 : read(link->fd, room, READ_BYTES);

		if (room == NULL)
			return -ENOMEM;
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		rpc_lines_commit(&link->lines, n > 0 ? (size_t)n : 0);
	}
	return got < 0 ? got : 0;
}

enum cli_exit cli_call(struct cli_link *link, const char *method, json_t *params, json_t **result)
{
	struct rpc_text request = {0};
	struct rpc_fault fault;
	const char *line;
	size_t len;
	int err;

	rpc_text_request(&request, ++link->last_id, method, params);
	err = request.is_broken ? -ENOMEM : send_all(link, &request);
	rpc_text_fini(&request);
	/* One that was turned away finds the reason, though its request did not get out. */
	if (err == 0 || err == -EPIPE)
		err = receive_line(link, &line, &len);
	if (err != 0) {
		cli_complain(
			"the gateway at %s does not answer: %s", link->socket_path, strerror(-err));
		return CLI_UNREACHABLE;
	}
	err = rpc_reply_parse(line, len, link->last_id, result, &fault);
	if (err == 0)
		return CLI_OK;
	cli_complain("%s", fault.sentence);
	return err == -EREMOTEIO ? CLI_REFUSED : CLI_UNREACHABLE;
}

enum cli_exit cli_next(struct cli_link *link, json_t **message)
{
	const struct timeval for_ever = {0};
	const char *line;
	size_t len;
	int err;

	setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof(for_ever));
	err = receive_line(link, &line, &len);
	if (err == 0) {
		*message = json_loadb(line, len, 0, NULL);
		if (*message != NULL)
			return CLI_OK;
		err = -EPROTO;
	}
	cli_complain("the gateway at %s says no more: %s", link->socket_path, strerror(-err));
	return CLI_UNREACHABLE;
}
