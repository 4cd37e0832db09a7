/* One client: bytes in, lines run, bytes out, all in bounds. */
#include "ctl/server.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t held_bytes(const struct ctl_client *client)
{
	return evbuffer_get_length(client->out) + client->uncommitted_bytes;
}

/* evbuffer_write would raise SIGPIPE when the far end hung up. */
ssize_t ctl_send_some(int fd, struct evbuffer *out)
{
	struct evbuffer_iovec some[8];
	int n = evbuffer_peek(out, -1, NULL, some, 8);
	struct msghdr msg = {.msg_iov = some, .msg_iovlen = n < 8 ? (size_t)n : 8};
	ssize_t sent = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent > 0)
		evbuffer_drain(out, (size_t)sent);
	return sent;
}

/* Write what the far end takes. False: it is gone, and so is the client. */
static bool flush(struct ctl_client *client)
{
	while (evbuffer_get_length(client->out) > 0) {
		ssize_t n = ctl_send_some(client->fd, client->out);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			ctl_client_destroy(client);
			return false;
		}
		client->progress_ns = client->ctl->p.now_ns();
		ctl_events_missed(client);
	}
	if (evbuffer_get_length(client->out) > 0)
		event_add(client->ev_write, NULL);
	else
		event_del(client->ev_write);
	return true;
}

/* Replies are about to be added. */
static void note_progress(struct ctl_client *client)
{
	if (evbuffer_get_length(client->out) == 0)
		client->progress_ns = client->ctl->p.now_ns();
}

static bool append_out(struct ctl_client *client, const struct rpc_text *replies)
{
	note_progress(client);
	return !replies->is_broken && evbuffer_add(client->out, replies->chars, replies->len) == 0;
}

bool ctl_client_send(struct ctl_client *client, struct evbuffer *replies)
{
	note_progress(client);
	/* A reply that cannot be given cannot be left out either: the far end would wait. */
	if (evbuffer_add_buffer(client->out, replies) != 0) {
		ctl_client_destroy(client);
		return false;
	}
	return flush(client);
}

static bool append_uncommitted(
	struct ctl_client *client, const struct rpc_text *replies, const struct rpc_text *refusals)
{
	struct ctl_commit *commit = ctl_commit_get(client);

	client->uncommitted_bytes += replies->len;
	return commit != NULL && !replies->is_broken && !refusals->is_broken &&
	       evbuffer_add(commit->replies, replies->chars, replies->len) == 0 &&
	       evbuffer_add(commit->refusals, refusals->chars, refusals->len) == 0;
}

static void empty_text(struct rpc_text *t)
{
	if (t->room > CTL_KEEP_BYTES || t->is_broken)
		rpc_text_fini(t);
	else
		rpc_text_cut(t, 0);
}

/* False: memory is out. */
static bool run_line(struct ctl_client *client, const char *line, size_t len)
{
	struct rpc_text *reply = &client->ctl->reply, *refusal = &client->ctl->refusal;
	bool is_change, ok = true;

	client->ctl->asking = client;
	client->ctl->actor = (struct ctl_actor){CTL_BY_CONTROL, client->role.uid};
	is_change = ctl_line_run(client->ctl, &client->role, line, len, reply, refusal);
	client->ctl->actor = (struct ctl_actor){CTL_BY_TIME};
	client->ctl->asking = NULL;
	if (is_change)
		ok = append_uncommitted(client, reply, refusal);
	else if (reply->len > 0 || reply->is_broken)
		ok = append_out(client, reply);
	empty_text(reply);
	empty_text(refusal);
	return ok;
}

static unsigned line_bytes_max(const struct ctl_client *client)
{
	return client->role.may_write ? RPC_LINE_BYTES_MAX : RPC_READER_LINE_BYTES_MAX;
}

static bool refuse_long_line(struct ctl_client *client)
{
	struct rpc_text reply = {0};
	struct rpc_fault fault;
	bool ok;

	rpc_fault_set(&fault, RPC_INVALID_REQUEST, NULL, NULL,
		"a line of more than %u bytes; the connection ends", line_bytes_max(client));
	rpc_text_fault(&reply, NULL, &fault);
	rpc_text_append(&reply, "\n", 1);
	ok = append_out(client, &reply);
	rpc_text_fini(&reply);
	client->is_ending = true;
	return ok;
}

/* Run lines while there is room for their replies. 0: no whole line is left; 1: room is; negative:
 * the client cannot be kept. */
static int run_lines(struct ctl_client *client)
{
	const char *line;
	size_t len;
	int got;

	while (held_bytes(client) < CTL_OUT_BYTES) {
		got = rpc_lines_next(&client->lines, &line, &len);
		if (got == -EMSGSIZE && !client->is_ending && !refuse_long_line(client))
			return -ENOMEM;
		if (got <= 0)
			return 0;
		if (!run_line(client, line, len))
			return -ENOMEM;
	}
	return 1;
}

void ctl_client_run(struct ctl_client *client)
{
	bool has_room;
	int left;

	do {
		left = run_lines(client);
		ctl_commit_start(client);
		ctl_tick_arm(client->ctl);
		if (left < 0) {
			ctl_client_destroy(client);
			return;
		}
		if (!flush(client))
			return;
		has_room = held_bytes(client) < CTL_OUT_BYTES;
	} while (left == 1 && has_room);

	if (!client->is_ending && has_room)
		event_add(client->ev_read, NULL);
	else
		event_del(client->ev_read);
	if (left == 0 && client->is_ending && client->n_commits == 0 && client->n_checks == 0 &&
		evbuffer_get_length(client->out) == 0)
		ctl_client_destroy(client);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ctl_client *client = arg;
	void *room = rpc_lines_reserve(&client->lines, CTL_READ_BYTES);
	ssize_t n = room == NULL ? -1 : read(fd, room, CTL_READ_BYTES);

	if (n < 0) {
		if (room == NULL || (errno != EAGAIN && errno != EINTR))
			ctl_client_destroy(client);
		return;
	}
	if (n == 0)
		client->is_ending = true;
	rpc_lines_commit(&client->lines, (size_t)n);
	ctl_client_run(client);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct ctl_client *client = arg;

	if (flush(client))
		ctl_client_run(client);
}

void ctl_client_create(struct ctl *c, int fd, struct ctl_role role)
{
	struct ctl_client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		close(fd);
		return;
	}
	client->ctl = c;
	client->role = role;
	client->fd = fd;
	client->progress_ns = c->p.now_ns();
	rpc_lines_init(&client->lines, line_bytes_max(client));
	TAILQ_INSERT_TAIL(&c->clients, client, next);
	c->n_clients++;
	c->n_readers += !role.may_write;
	client->ev_read = event_new(c->p.base, fd, EV_READ | EV_PERSIST, on_readable, client);
	client->ev_write = event_new(c->p.base, fd, EV_WRITE | EV_PERSIST, on_writable, client);
	client->out = evbuffer_new();
	if (client->ev_read == NULL || client->ev_write == NULL || client->out == NULL ||
		event_add(client->ev_read, NULL) != 0)
		ctl_client_destroy(client);
}

void ctl_client_destroy(struct ctl_client *client)
{
	struct ctl *c = client->ctl;

	ctl_commits_disown(client);
	ctl_checks_disown(client);
	ctl_events_unsubscribe(client);
	if (client->ev_read != NULL)
		event_free(client->ev_read);
	if (client->ev_write != NULL)
		event_free(client->ev_write);
	if (client->out != NULL)
		evbuffer_free(client->out);
	rpc_lines_fini(&client->lines);
	close(client->fd);
	TAILQ_REMOVE(&c->clients, client, next);
	c->n_clients--;
	c->n_readers -= !client->role.may_write;
	free(client);
}

void ctl_clients_sweep(struct ctl *c, uint64_t now_ns)
{
	struct ctl_client *client = TAILQ_FIRST(&c->clients), *next;

	for (; client != NULL; client = next) {
		next = TAILQ_NEXT(client, next);
		if (evbuffer_get_length(client->out) == 0 ||
			now_ns < client->progress_ns + c->stall_ns)
			continue;
		log_warn("control: a client of uid %u does not read its replies; dropped",
			(unsigned)client->role.uid);
		ctl_client_destroy(client);
	}
}
