#include "churner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rig.h"

#define SLOTS		 4
#define REQUEST_CHARS	 128
#define IN_BYTES	 (4u << 20)
#define POLL_MS		 5
#define INNER_PORT_FIRST 20000

/* One batch that is under way, or about to be. */
struct slot {
	bool is_open, is_waiting;
	uint64_t *ids;
};

struct churner {
	struct churner_params params;
	int fd;
	pthread_t thread;
	bool is_started;
	atomic_bool is_wanted, is_stopping, is_idle, has_failed;
	_Atomic uint64_t n_updates, n_refused;
	struct slot slots[SLOTS];
	char *out, *in;
	size_t out_len, out_at, out_room, in_len;
};

/* --- requests ----------------------------------------------------------------------------------
 */

/* The number of the slot is the number of each of its requests: replies to a batch keep its order.
 */
static void request_open(struct churner *c, unsigned slot)
{
	for (unsigned i = 0; i < c->params.batch; i++) {
		uint32_t lease = slot * c->params.batch + i;

		c->out_len += (size_t)snprintf(c->out + c->out_len, c->out_room - c->out_len,
			"%s{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"lease.open\",\"params\":{"
			"\"peer\":\"peer-%" PRIu32 "\",\"proto\":\"udp\",\"to_port\":%" PRIu32 "}}",
			i ? "," : "[", slot, c->params.first_peer + lease % c->params.n_peers,
			INNER_PORT_FIRST + lease / c->params.n_peers);
	}
	c->out_len += (size_t)snprintf(c->out + c->out_len, c->out_room - c->out_len, "]\n");
}

static void request_close(struct churner *c, unsigned slot)
{
	for (unsigned i = 0; i < c->params.batch; i++)
		c->out_len += (size_t)snprintf(c->out + c->out_len, c->out_room - c->out_len,
			"%s{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"lease.close\",\"params\":{"
			"\"id\":%" PRIu64 "}}",
			i ? "," : "[", slot, c->slots[slot].ids[i]);
	c->out_len += (size_t)snprintf(c->out + c->out_len, c->out_room - c->out_len, "]\n");
}

/* --- replies -----------------------------------------------------------------------------------
 */

/* Text after a marker, from at on; NULL: there is none before end. */
static const char *after(const char *at, const char *end, const char *marker)
{
	const char *found = memmem(at, (size_t)(end - at), marker, strlen(marker));

	return found ? found + strlen(marker) : NULL;
}

/* The reply to a batch: as many results as requests, each after its request's id and beginning with
 * its lease's. */
static void take_reply(struct churner *c, const char *line, const char *end)
{
	const char *at = line, *id = after(line, end, "\"id\":");
	struct slot *slot;
	unsigned n = 0;

	slot = &c->slots[id ? strtoul(id, NULL, 10) % SLOTS : 0];
	while (n < c->params.batch && (at = after(at, end, "\"result\":{\"id\":")) != NULL)
		slot->ids[n++] = strtoull(at, NULL, 10);
	if (!slot->is_waiting || n != c->params.batch) {
		fprintf(stderr, "portier-bench: the control socket answered: %.*s\n",
			(int)RTE_MIN(end - line, 300), line);
		atomic_fetch_add(&c->n_refused, c->params.batch - n);
		atomic_store(&c->has_failed, true);
	}
	slot->is_waiting = false;
	slot->is_open = !slot->is_open;
	atomic_fetch_add_explicit(&c->n_updates, n, memory_order_relaxed);
}

static void read_replies(struct churner *c)
{
	ssize_t n = read(c->fd, c->in + c->in_len, IN_BYTES - c->in_len);
	char *line = c->in, *newline;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		atomic_store(&c->has_failed, true);
		return;
	}
	if (n < 0)
		return;
	c->in_len += (size_t)n;
	while ((newline = memchr(line, '\n', c->in_len - (size_t)(line - c->in))) != NULL) {
		take_reply(c, line, newline);
		line = newline + 1;
	}
	c->in_len -= (size_t)(line - c->in);
	memmove(c->in, line, c->in_len);
	if (c->in_len == IN_BYTES)
		atomic_store(&c->has_failed, true);
}

/* --- the thread --------------------------------------------------------------------------------
 */

/* What each slot that does not wait asks next. False: nothing is under way. */
static bool ask(struct churner *c)
{
	bool is_wanted = atomic_load(&c->is_wanted), is_busy = false;

	if (c->out_at == c->out_len)
		c->out_at = c->out_len = 0;
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *slot = &c->slots[i];

		if (!slot->is_waiting && c->out_len == 0 && (slot->is_open || is_wanted)) {
			if (slot->is_open)
				request_close(c, i);
			else
				request_open(c, i);
			slot->is_waiting = true;
		}
		is_busy |= slot->is_waiting || slot->is_open;
	}
	return is_busy;
}

static void *churn(void *arg)
{
	struct churner *c = arg;

	while (!atomic_load(&c->is_stopping) && !atomic_load(&c->has_failed)) {
		struct pollfd pfd = {.fd = c->fd, .events = POLLIN};

		atomic_store(&c->is_idle, !ask(c));
		if (c->out_at < c->out_len)
			pfd.events |= POLLOUT;
		if (poll(&pfd, 1, POLL_MS) <= 0)
			continue;
		if (pfd.revents & POLLOUT) {
			ssize_t n = send(
				c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);

			c->out_at += n > 0 ? (size_t)n : 0;
		}
		if (pfd.revents & (POLLIN | POLLHUP | POLLERR))
			read_replies(c);
	}
	atomic_store(&c->is_idle, true);
	return NULL;
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
		fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

struct churner *churner_start(const struct churner_params *params)
{
	struct churner *c = calloc(1, sizeof(*c));
	bool has_memory;

	if (!c)
		return NULL;
	c->params = *params;
	c->out_room = (size_t)params->batch * REQUEST_CHARS + 16;
	c->out = malloc(c->out_room);
	c->in = malloc(IN_BYTES);
	has_memory = c->out && c->in;
	for (unsigned i = 0; i < SLOTS; i++) {
		c->slots[i].ids = calloc(params->batch, sizeof(uint64_t));
		has_memory &= c->slots[i].ids != NULL;
	}
	c->is_idle = true;
	c->fd = connect_to(params->socket_path);
	if (has_memory && c->fd >= 0)
		c->is_started = rig_start_elsewhere(&c->thread, churn, c) == 0;
	if (c->is_started)
		return c;
	churner_stop(c);
	return NULL;
}

bool churner_resume(struct churner *c)
{
	uint64_t before = churner_updates(c);

	atomic_store(&c->is_wanted, true);
	while (churner_updates(c) == before && !atomic_load(&c->has_failed))
		usleep(100);
	return !atomic_load(&c->has_failed);
}

bool churner_pause(struct churner *c)
{
	atomic_store(&c->is_wanted, false);
	/* Once round its loop, so that idle means with nothing wanted. */
	usleep(2 * POLL_MS * 1000);
	while (!atomic_load(&c->is_idle) && !atomic_load(&c->has_failed))
		usleep(1000);
	return !atomic_load(&c->has_failed);
}

void churner_stop(struct churner *c)
{
	if (!c)
		return;
	if (c->is_started) {
		atomic_store(&c->is_stopping, true);
		pthread_join(c->thread, NULL);
	}
	if (c->fd >= 0)
		close(c->fd);
	for (unsigned i = 0; i < SLOTS; i++)
		free(c->slots[i].ids);
	free(c->out);
	free(c->in);
	free(c);
}

uint64_t churner_updates(const struct churner *c)
{
	return atomic_load_explicit(&c->n_updates, memory_order_relaxed);
}

uint64_t churner_refused(const struct churner *c)
{
	return atomic_load_explicit(&c->n_refused, memory_order_relaxed);
}
