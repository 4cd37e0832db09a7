/* ctl_metrics_test.c - metrics: every counter is there with its help, in both formats, and HTTP
 * gives them to one who asks in the right way.
 */
#include "ctl_server.h"

#include <netinet/in.h>
#include <stdio.h>

#include "ctl/server.h"

static int setup(void **state)
{
	struct server *s = server_create();
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	/* A port that is free now. */
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	close(fd);
	s->conf.metrics_listen.addr = address("127.0.0.1");
	s->conf.metrics_listen.port = ntohs(addr.sin_port);
	server_open(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	server_destroy(*state);
	return 0;
}

static char *build(struct server *s, bool is_openmetrics)
{
	size_t len;
	char *text;

	assert_int_equal(ctl_metrics_build(s->ctl, is_openmetrics, &text, &len), 0);
	assert_int_equal(strlen(text), len);
	return text;
}

/* text has line, from its beginning to its end. */
static void assert_line(const char *text, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void assert_line(const char *text, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	line[0] = '\n';
	vsnprintf(line + 1, sizeof(line) - 2, fmt, ap);
	va_end(ap);
	strcat(line, "\n");
	if (strstr(text, line) == NULL)
		fail_msg("there is no line: %s", line);
}

static void test_every_counter(void **state)
{
	struct server *s = *state;
	char *text;

	for (unsigned i = 0; i < STATS_N_COUNTERS; i++)
		s->stats[1].counter[i] = 1000 + i;
	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		s->stats[0].drop[i] = 2000 + i;
	for (unsigned i = 0; i < STATS_N_HANDSHAKE_COUNTERS; i++)
		s->handshake.counter[i] = 3000 + i;
	text = build(s, true);
	for (unsigned i = 0; i < STATS_N_COUNTERS; i++) {
		const char *name = stats_counter_name(i);
		bool is_gauge = i == STATS_holding;

		assert_line(
			text, "# TYPE portier_worker_%s %s", name, is_gauge ? "gauge" : "counter");
		assert_line(text, "# HELP portier_worker_%s %s", name, stats_counter_help(i));
		assert_line(text, "portier_worker_%s%s{worker=\"0\"} 0", name,
			is_gauge ? "" : "_total");
		assert_line(text, "portier_worker_%s%s{worker=\"1\"} %u", name,
			is_gauge ? "" : "_total", 1000 + i);
	}
	assert_line(text, "# TYPE portier_drops counter");
	for (unsigned i = 0; i < STATS_N_DROPS; i++) {
		assert_line(text, "portier_drops_total{reason=\"%s\",worker=\"0\"} %u",
			stats_drop_name(i), 2000 + i);
		assert_line(text, "portier_drop_reason{reason=\"%s\",help=\"%s\"} 1",
			stats_drop_name(i), stats_drop_help(i));
	}
	for (unsigned i = 0; i < STATS_N_HANDSHAKE_COUNTERS; i++) {
		assert_line(text, "# HELP portier_handshake_%s %s", stats_handshake_name(i),
			stats_handshake_help(i));
		assert_line(
			text, "portier_handshake_%s_total %u", stats_handshake_name(i), 3000 + i);
	}
	free(text);
}

static void test_gauges(void **state)
{
	struct server *s = *state;
	struct client c;
	char *text;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	open_lease(&c, "{'peer':'alice','to_port':80}");
	clock_offset_ns += 90 * NS_IN_S;
	text = build(s, true);
	assert_line(text, "portier_peers 1");
	assert_line(text, "portier_peers_max %d", MAX_PEERS);
	assert_line(text, "portier_leases 1");
	assert_line(text, "portier_leases_max %d", MAX_LEASES);
	assert_line(text, "portier_public_ports 400");
	assert_line(text, "portier_lease_states{state=\"active\"} 1");
	assert_line(text, "portier_lease_states{state=\"suspended\"} 0");
	assert_line(text, "portier_lease_states{state=\"reserved\"} 0");
	assert_line(text, "portier_lease_states{state=\"quarantine\"} 0");
	assert_line(text, "portier_portmap_requests_total 0");
	assert_line(text, "portier_history_records_missed_total 0");
	assert_line(text, "portier_events_missed_total 0");
	assert_line(text, "portier_checks_total 0");
	assert_line(text, "portier_bars 0");
	assert_line(text, "portier_control_clients 1");
	assert_line(text, "portier_port_up{port=\"wan\"} 1");
	assert_line(text, "portier_port_rx_pkts_total{port=\"wan\"} 0");
	assert_line(text, "portier_worker_stuck{worker=\"0\"} 1");
	assert_line(text, "portier_healthy 0");
	assert_non_null(strstr(text, "\nportier_uptime_seconds 9"));
	free(text);
	client_close(&c);
}

/* No text of ours needs to be escaped. */
static void test_words_need_no_escape(void **state)
{
	for (unsigned i = 0; i < STATS_N_COUNTERS; i++)
		assert_null(strpbrk(stats_counter_help(i), "\"\\\n"));
	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		assert_null(strpbrk(stats_drop_help(i), "\"\\\n"));
	for (unsigned i = 0; i < STATS_N_HANDSHAKE_COUNTERS; i++)
		assert_null(strpbrk(stats_handshake_help(i), "\"\\\n"));
}

/* --- HTTP ----------------------------------------------------------------------------------------
 */

static int http_open(struct server *s)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
		.sin_addr = {htonl(INADDR_LOOPBACK)},
		.sin_port = htons(s->conf.metrics_listen.port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Everything until the server hangs up; the caller frees it. */
static char *http(struct server *s, const char *request)
{
	uint64_t deadline_ns = test_now_ns() + DEADLINE_S * NS_IN_S;
	size_t len = 0, room = 1 << 20;
	char *text = calloc(1, room);
	int fd = http_open(s);
	ssize_t n;

	assert_non_null(text);
	assert_true(send(fd, request, strlen(request), MSG_NOSIGNAL) >= 0);
	for (;;) {
		pump(s);
		n = recv(fd, text + len, room - len - 1, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		len += n > 0 ? (size_t)n : 0;
		assert_true(test_now_ns() < deadline_ns);
	}
	close(fd);
	return text;
}

static void assert_http(struct server *s, const char *request, const char *status, const char *word)
{
	char *text = http(s, request);

	if (strncmp(text, "HTTP/1.1 ", 9) != 0 || strncmp(text + 9, status, 3) != 0)
		fail_msg("%s: %.60s", request, text);
	if (strstr(text, word) == NULL)
		fail_msg("%s: no \"%s\" in %s", request, word, text);
	free(text);
}

#define END "\r\nHost: x\r\nConnection: close\r\n\r\n"

static void test_http(void **state)
{
	struct server *s = *state;

	assert_http(s, "GET /metrics HTTP/1.1" END, "200", "version=0.0.4");
	assert_http(s, "GET /metrics HTTP/1.1" END, "200", "# TYPE portier_drops_total counter\n");
	assert_http(s,
		"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,*/*"
		";q=0.1" END,
		"200", "application/openmetrics-text; version=1.0.0");
	assert_http(s, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text" END, "200",
		"\n# EOF\n");
	assert_http(s, "HEAD /metrics HTTP/1.1" END, "200", "Content-Length: ");
	assert_http(s, "GET / HTTP/1.1" END, "404", "GET /metrics");
	assert_http(s, "POST /metrics HTTP/1.1\r\nContent-Length: 5" END "hello", "405",
		"Allow: GET, HEAD");
	free(http(s, "nonsense\r\n\r\n"));
	assert_http(s, "GET /metrics HTTP/1.1" END, "200", "portier_peers 0");
}

/* Many who connect and say nothing keep the next one out no longer than they stay, and the control
 * socket not at all. */
static void test_idle_connections(void **state)
{
	struct server *s = *state;
	struct client c;
	uint64_t left_ns;
	int fds[40];

	for (unsigned i = 0; i < 40; i++) {
		fds[i] = http_open(s);
		pump(s);
	}
	client_open(&c, s);
	json_decref(call(&c, "health", "{}"));
	client_close(&c);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
	left_ns = test_now_ns();
	assert_http(s, "GET /metrics HTTP/1.1" END, "200", "portier_peers 0");
	/* Not by the server's own patience, which is 15 s. */
	assert_true(test_now_ns() - left_ns < 10 * NS_IN_S);
}

static void test_port_is_taken(void **state)
{
	struct server *s = *state;
	struct ctl_params p = server_params(s);
	char fault[CTL_FAULT_CHARS];
	struct conf conf = s->conf;

	snprintf(conf.socket_path, sizeof(conf.socket_path), "%s/run/other.sock", s->dir);
	p.conf = &conf;
	assert_null(ctl_create(&p, fault));
	assert_non_null(strstr(fault, "metrics.listen 127.0.0.1:"));
	assert_non_null(strstr(fault, "Address already in use"));
	conf.metrics_listen.addr = address("192.0.2.1");
	assert_null(ctl_create(&p, fault));
	assert_non_null(strstr(fault, "metrics.listen 192.0.2.1:"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_counter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gauges, setup, teardown),
		cmocka_unit_test(test_words_need_no_escape),
		cmocka_unit_test_setup_teardown(test_http, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_is_taken, setup, teardown),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
