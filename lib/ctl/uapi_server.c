/* The socket of the WireGuard tools: their requests in, what they ask out, in bounds.
 *
 * Spec: https://www.wireguard.com/xplatform/. Of errno, wg(8) takes a negative number after set and
 * a positive one after get; so that is what they are given. */
#include "ctl/server.h"

#include "uapi/uapi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 32u /* more are hung up on */
/* A line past this is not read to its end: the connection ends with an errno. */
#define LINE_BYTES_MAX (4u * UAPI_LINE_BYTES_MAX)
/* Peers are written as the far end reads them: so much at a time. */
#define GET_OUT_BYTES (64u << 10)

struct uapi_client {
	TAILQ_ENTRY(uapi_client) next;
	struct ctl_uapi *uapi;
	struct ctl_role role;
	int fd;
	struct event *ev_read, *ev_write;
	struct rpc_lines lines;
	struct uapi_request request;
	struct evbuffer *out;
	struct ctl_wait commit;
	int set_err;	      /* the answer to the set that is being committed */
	uint32_t get_cursor;  /* the next peer of the get that is being answered */
	uint64_t progress_ns; /* when it last read something, or had nothing to read */
	bool is_committing;   /* a set was carried out; workers are waited for */
	bool is_getting;      /* peers are still to be written */
	bool is_ending;	      /* end of file, or a line too long */
	bool is_broken;	      /* memory was out */
};

struct ctl_uapi {
	struct ctl *ctl;
	struct ctl_socket socket;
	struct event *ev_accept;
	TAILQ_HEAD(, uapi_client) clients;
	unsigned n_clients;
};

static void run(struct uapi_client *client);

static void destroy_client(struct uapi_client *client)
{
	struct ctl_uapi *u = client->uapi;

	if (client->is_committing)
		ctl_wait_cancel(&client->commit);
	if (client->ev_read != NULL)
		event_free(client->ev_read);
	if (client->ev_write != NULL)
		event_free(client->ev_write);
	if (client->out != NULL)
		evbuffer_free(client->out);
	rpc_lines_fini(&client->lines);
	uapi_request_fini(&client->request);
	close(client->fd);
	TAILQ_REMOVE(&u->clients, client, next);
	u->n_clients--;
	free(client);
}

/* --- what is said
 * --------------------------------------------------------------------------------*/

static void say(struct uapi_client *client, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void say(struct uapi_client *client, const char *fmt, ...)
{
	va_list ap;

	if (evbuffer_get_length(client->out) == 0)
		client->progress_ns = client->uapi->ctl->p.now_ns();
	va_start(ap, fmt);
	if (evbuffer_add_vprintf(client->out, fmt, ap) < 0)
		client->is_broken = true;
	va_end(ap);
}

/* A key leaves the gateway only towards uid 0, who can read the files that it came from. */
static void say_secret(
	struct uapi_client *client, const char *name, const uint8_t key[static CRYPTO_KEY_BYTES])
{
	char text[UAPI_KEY_TEXT_CHARS]; /* wiped */

	if (client->role.uid == 0)
		say(client, "%s=%s\n", name, uapi_key_format(key, text));
	crypto_wipe(text, sizeof(text));
}

static void say_allowed_ip(struct uapi_client *client, const struct ip_addr *a)
{
	char text[IP_TEXT_CHARS];

	if (!ip_is_none(a))
		say(client, "allowed_ip=%s/%u\n", ip_addr_format(a, text), ip_is_v4(a) ? 32 : 128);
}

static void say_routes(struct uapi_client *client, const struct peer_conf *conf)
{
	char text[IP_TEXT_CHARS];

	for (unsigned i = 0; i < conf->n_routes; i++)
		say(client, "allowed_ip=%s\n", ip_prefix_format(&conf->routes[i], text));
}

/* Handshakes are remembered on the monotonic clock, and told on the wall's. */
static void say_last_handshake(struct uapi_client *client, uint64_t then_ns)
{
	const struct ctl_params *p = &client->uapi->ctl->p;
	uint64_t wall_ns = then_ns == 0 ? 0 : p->wall_ns() - (p->now_ns() - then_ns);

	say(client, "last_handshake_time_sec=%llu\nlast_handshake_time_nsec=%llu\n",
		(unsigned long long)(wall_ns / NS_IN_S), (unsigned long long)(wall_ns % NS_IN_S));
}

static void say_peer(struct uapi_client *client, uint32_t peer_idx)
{
	struct peers *peers = client->uapi->ctl->p.peers;
	const struct peer_conf *conf = peer_conf_get(peers, peer_idx);
	char key[UAPI_KEY_TEXT_CHARS], endpoint[IP_TEXT_CHARS];
	struct peer_status status;

	peer_status_get(peers, peer_idx, &status);
	if (status.endpoint.port == 0)
		status.endpoint = conf->endpoint;
	say(client, "public_key=%s\n", uapi_key_format(conf->public_key, key));
	say_secret(client, "preshared_key", conf->preshared_key);
	say(client, "protocol_version=1\n");
	if (status.endpoint.port != 0)
		say(client, "endpoint=%s\n", ip_endpoint_format(&status.endpoint, endpoint));
	say_last_handshake(client, status.last_handshake_ns);
	say(client, "tx_bytes=%llu\nrx_bytes=%llu\npersistent_keepalive_interval=%u\n",
		(unsigned long long)status.tx_bytes, (unsigned long long)status.rx_bytes,
		conf->persistent_keepalive_s);
	say_allowed_ip(client, &conf->address4);
	say_allowed_ip(client, &conf->address6);
	say_routes(client, conf);
}

static void say_more_peers(struct uapi_client *client)
{
	while (client->is_getting && evbuffer_get_length(client->out) < GET_OUT_BYTES) {
		uint32_t peer_idx = peer_next(client->uapi->ctl->p.peers, &client->get_cursor);

		client->is_getting = peer_idx != PEER_NONE;
		if (client->is_getting)
			say_peer(client, peer_idx);
		else
			say(client, "errno=0\n\n");
	}
}

/* --- requests
 * ------------------------------------------------------------------------------------*/

static void on_committed(void *arg, bool is_durable)
{
	struct uapi_client *client = arg;

	client->is_committing = false;
	if (!is_durable && client->set_err == 0)
		client->set_err = EIO;
	say(client, "errno=%d\n\n", client->set_err);
	run(client);
}

static void carry_out(struct uapi_client *client)
{
	const struct conf *conf = client->uapi->ctl->p.conf;
	struct uapi_request *request = &client->request;

	if (request->kind != UAPI_SET && request->err != 0) {
		say(client, "errno=%d\n\n", -request->err);
	} else if (request->kind == UAPI_GET) {
		say_secret(client, "private_key", conf->private_key);
		say(client, "listen_port=%u\n", conf->listen_port);
		client->is_getting = true;
		client->get_cursor = 0;
	} else {
		client->uapi->ctl->actor = (struct ctl_actor){CTL_BY_UAPI, client->role.uid};
		client->set_err = ctl_uapi_set(client->uapi->ctl, &client->role, request);
		client->uapi->ctl->actor = (struct ctl_actor){CTL_BY_TIME};
		client->is_committing = true;
		ctl_wait_start(client->uapi->ctl, &client->commit, on_committed, client);
	}
	uapi_request_fini(request);
}

/* Until none is left, or one takes its time: then true. */
static bool take_lines(struct uapi_client *client)
{
	const char *line;
	size_t len;
	int got;

	while ((got = rpc_lines_next(&client->lines, &line, &len)) > 0) {
		if (!uapi_request_line(&client->request, line, len))
			continue;
		carry_out(client);
		if (client->is_committing || client->is_getting)
			return true;
	}
	if (got == -EMSGSIZE && !client->is_ending) {
		say(client, "errno=%d\n\n", -EMSGSIZE);
		client->is_ending = true;
	}
	return false;
}

/* False: the far end is gone. */
static bool flush(struct uapi_client *client)
{
	while (evbuffer_get_length(client->out) > 0) {
		ssize_t n = ctl_send_some(client->fd, client->out);

		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		client->progress_ns = client->uapi->ctl->p.now_ns();
		say_more_peers(client);
	}
	return true;
}

static bool is_busy(const struct uapi_client *client)
{
	return client->is_committing || evbuffer_get_length(client->out) > 0;
}

static void set_event(struct event *event, bool is_wanted)
{
	if (is_wanted)
		event_add(event, NULL);
	else
		event_del(event);
}

/* Go on from wherever it stands. The client may be gone afterwards. */
static void run(struct uapi_client *client)
{
	bool has_more, is_alive;

	do {
		has_more = is_busy(client) || take_lines(client);
		say_more_peers(client);
		is_alive = flush(client) && !client->is_broken;
	} while (is_alive && has_more && !is_busy(client));

	if (!is_alive || (client->is_ending && !is_busy(client))) {
		destroy_client(client);
		return;
	}
	set_event(client->ev_write, evbuffer_get_length(client->out) > 0);
	set_event(client->ev_read, !is_busy(client) && !client->is_ending);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct uapi_client *client = arg;
	void *room = rpc_lines_reserve(&client->lines, CTL_READ_BYTES);
	ssize_t n = room == NULL ? -1 : read(fd, room, CTL_READ_BYTES);

	if (n < 0) {
		if (room == NULL || (errno != EAGAIN && errno != EINTR))
			destroy_client(client);
		return;
	}
	client->is_ending |= n == 0;
	rpc_lines_commit(&client->lines, (size_t)n);
	run(client);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	run(arg);
}

/* --- clients
 * -------------------------------------------------------------------------------------*/

static void create_client(struct ctl_uapi *u, int fd, struct ctl_role role)
{
	struct uapi_client *client = calloc(1, sizeof(*client));
	struct event_base *base = u->ctl->p.base;

	if (client == NULL) {
		close(fd);
		return;
	}
	client->uapi = u;
	client->role = role;
	client->fd = fd;
	rpc_lines_init(&client->lines, LINE_BYTES_MAX);
	TAILQ_INSERT_TAIL(&u->clients, client, next);
	u->n_clients++;
	client->ev_read = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, client);
	client->ev_write = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, client);
	client->out = evbuffer_new();
	if (client->ev_read == NULL || client->ev_write == NULL || client->out == NULL ||
		event_add(client->ev_read, NULL) != 0)
		destroy_client(client);
}

static void on_connect(evutil_socket_t listen_fd, short what, void *arg)
{
	struct ctl_uapi *u = arg;
	struct ctl_role role;
	int fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		if (u->n_clients < CLIENTS_MAX && ctl_role_get(u->ctl, fd, &role) == 0)
			create_client(u, fd, role);
		else
			close(fd);
	}
	/* As in listen.c: without descriptors the next look tries again. */
	if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		event_del(u->ev_accept);
}

void ctl_uapi_sweep(struct ctl_uapi *u, uint64_t now_ns)
{
	struct uapi_client *client, *next;

	if (u == NULL)
		return;
	for (client = TAILQ_FIRST(&u->clients); client != NULL; client = next) {
		next = TAILQ_NEXT(client, next);
		if (evbuffer_get_length(client->out) > 0 &&
			now_ns >= client->progress_ns + u->ctl->stall_ns)
			destroy_client(client);
	}
	event_add(u->ev_accept, NULL);
}

/* --- boot and end
 * --------------------------------------------------------------------------------*/

struct ctl_uapi *ctl_uapi_create(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	struct ctl_uapi *u = calloc(1, sizeof(*u));
	const char *dir = c->p.uapi_dir != NULL ? c->p.uapi_dir : CTL_UAPI_DIR;
	char path[CONF_PATH_CHARS];

	snprintf(fault, CTL_FAULT_CHARS, "control.uapi_name: memory is out");
	if (u == NULL)
		return NULL;
	u->ctl = c;
	u->socket.fd = -1;
	TAILQ_INIT(&u->clients);
	snprintf(path, sizeof(path), "%s/%s.sock", dir, c->p.conf->uapi_name);
	/* Who reads keys here can take the gateway's place: uid 0 and nobody else. */
	if (ctl_socket_open(&u->socket, "control.uapi_name", path, 0600, fault) != 0) {
		free(u);
		return NULL;
	}
	u->ev_accept = event_new(c->p.base, u->socket.fd, EV_READ | EV_PERSIST, on_connect, u);
	if (u->ev_accept == NULL || event_add(u->ev_accept, NULL) != 0) {
		ctl_uapi_destroy(u);
		return NULL;
	}
	return u;
}

void ctl_uapi_destroy(struct ctl_uapi *u)
{
	if (u == NULL)
		return;
	while (!TAILQ_EMPTY(&u->clients))
		destroy_client(TAILQ_FIRST(&u->clients));
	if (u->ev_accept != NULL)
		event_free(u->ev_accept);
	ctl_socket_close(&u->socket);
	free(u);
}
