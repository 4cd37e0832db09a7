/* Metrics over HTTP: libmicrohttpd inside the control thread's loop, without a thread of its own.
 */
#include "ctl/server.h"

#include "base/log.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A monitoring system keeps one connection open; what is past these is hung up on. */
#define CONNECTIONS_MAX	       16u
#define CONNECTION_TIMEOUT_S   15u
#define CONNECTION_BYTES       (16u << 10)
#define OPENMETRICS_MEDIA_TYPE "application/openmetrics-text"

struct ctl_metrics {
	struct ctl *ctl;
	struct MHD_Daemon *daemon;
	struct event *ev_ready, *ev_timer;
};

/* --- answers
 * -------------------------------------------------------------------------------------*/

static enum MHD_Result answer_text(
	struct MHD_Connection *connection, unsigned status, const char *text, const char *allow)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result rc = MHD_NO;

	if (response == NULL)
		return MHD_NO;
	if (MHD_add_response_header(response, "Content-Type", "text/plain") == MHD_YES &&
		(allow == NULL || MHD_add_response_header(response, "Allow", allow) == MHD_YES))
		rc = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result answer_metrics(struct ctl *c, struct MHD_Connection *connection)
{
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
	bool is_openmetrics = accept != NULL && strstr(accept, OPENMETRICS_MEDIA_TYPE) != NULL;
	const char *type = is_openmetrics ? OPENMETRICS_MEDIA_TYPE "; version=1.0.0; charset=utf-8"
					  : "text/plain; version=0.0.4; charset=utf-8";
	struct MHD_Response *response;
	enum MHD_Result rc = MHD_NO;
	size_t len;
	char *text;

	if (ctl_metrics_build(c, is_openmetrics, &text, &len) != 0)
		return MHD_NO;
	response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		free(text);
		return MHD_NO;
	}
	if (MHD_add_response_header(response, "Content-Type", type) == MHD_YES)
		rc = MHD_queue_response(connection, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_len,
	void **request_state)
{
	struct ctl_metrics *m = arg;
	static char is_seen;

	/* First the headers are shown, then, with a body or none, the request. */
	if (*request_state == NULL) {
		*request_state = &is_seen;
		return MHD_YES;
	}
	if (*upload_len > 0) {
		*upload_len = 0;
		return MHD_YES;
	}
	if (strcmp(url, "/metrics") != 0)
		return answer_text(connection, MHD_HTTP_NOT_FOUND,
			"nothing is here; accepted: GET /metrics\n", NULL);
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
			"metrics are only read; accepted: GET /metrics\n", "GET, HEAD");
	return answer_metrics(m->ctl, connection);
}

/* --- the loop
 * ------------------------------------------------------------------------------------*/

static bool is_full(const struct ctl_metrics *m)
{
	return MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)
		       ->num_connections >= CONNECTIONS_MAX;
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct ctl_metrics *m = arg;
	bool was_full = is_full(m);
	MHD_UNSIGNED_LONG_LONG wait_ms;

	MHD_run(m->daemon);
	/* Full, it does not look at those who wait to connect, and takes that up only when it is
	 * run again, for which there might be no other reason. */
	if (was_full && !is_full(m))
		MHD_run(m->daemon);
	if (MHD_get_timeout(m->daemon, &wait_ms) == MHD_YES) {
		struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000),
			.tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};

		event_add(m->ev_timer, &wait);
	}
}

/* --- boot and end
 * --------------------------------------------------------------------------------*/

static bool is_loopback(const struct ip_addr *a)
{
	static const uint8_t loopback6[16] = {[15] = 1};

	return ip_is_v4(a) ? ip_v4_bytes(a)[0] == 127 : memcmp(a->bytes, loopback6, 16) == 0;
}

static socklen_t fill_sockaddr(const struct ip_endpoint *e, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (ip_is_v4(&e->addr)) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(e->port);
		memcpy(&v4->sin_addr, ip_v4_bytes(&e->addr), 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(e->port);
	memcpy(&v6->sin6_addr, e->addr.bytes, 16);
	return sizeof(*v6);
}

/* A socket that listens, or -errno. */
static int listen_at(const struct ip_endpoint *e)
{
	struct sockaddr_storage addr;
	socklen_t len = fill_sockaddr(e, &addr);
	int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0 &&
		bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 64) == 0)
		return fd;
	err = errno;
	close(fd);
	return -err;
}

static int start(struct ctl_metrics *m, int fd)
{
	const union MHD_DaemonInfo *info;

	m->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, m,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_END);
	if (m->daemon == NULL)
		return -ENOMEM;
	info = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	m->ev_ready = event_new(m->ctl->p.base, info->epoll_fd, EV_READ | EV_PERSIST, on_ready, m);
	m->ev_timer = evtimer_new(m->ctl->p.base, on_ready, m);
	if (m->ev_ready == NULL || m->ev_timer == NULL || event_add(m->ev_ready, NULL) != 0)
		return -ENOMEM;
	return 0;
}

struct ctl_metrics *ctl_metrics_create(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	struct ctl_metrics *m = calloc(1, sizeof(*m));
	const struct ip_endpoint *at = &c->p.conf->metrics_listen;
	char text[IP_TEXT_CHARS];
	int fd;

	ip_endpoint_format(at, text);
	snprintf(fault, CTL_FAULT_CHARS, "metrics.listen: memory is out");
	if (m == NULL)
		return NULL;
	m->ctl = c;
	fd = listen_at(at);
	if (fd < 0) {
		snprintf(fault, CTL_FAULT_CHARS,
			"metrics.listen %s cannot be served: %s; accepted: an address of this "
			"host, as the kernel has it, with a free TCP port",
			text, strerror(-fd));
		free(m);
		return NULL;
	}
	if (start(m, fd) != 0) {
		if (m->daemon == NULL)
			close(fd);
		ctl_metrics_destroy(m);
		return NULL;
	}
	if (!is_loopback(&at->addr))
		log_warn("metrics.listen %s is not loopback: whoever reaches it reads all metrics",
			text);
	return m;
}

void ctl_metrics_destroy(struct ctl_metrics *m)
{
	if (m == NULL)
		return;
	if (m->ev_ready != NULL)
		event_free(m->ev_ready);
	if (m->ev_timer != NULL)
		event_free(m->ev_timer);
	if (m->daemon != NULL)
		MHD_stop_daemon(m->daemon);
	free(m);
}
