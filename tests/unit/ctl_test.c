/* ctl_test.c - the control server on a real socket with real tables: protocol, roles, commit. */
#include "ctl_server.h"

#include <grp.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int setup(void **state)
{
	struct server *s = server_create();

	server_open(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	server_destroy(*state);
	return 0;
}

/* --- protocol
 * -----------------------------------------------------------------------------------*/

static int error_code(const json_t *reply)
{
	return (int)json_integer_value(json_object_get(json_object_get(reply, "error"), "code"));
}

static void expect_error(struct client *c, const char *line, int code)
{
	json_t *reply;

	client_send(c, line, strlen(line));
	reply = client_json(c);
	assert_int_equal(error_code(reply), code);
	assert_non_null(json_object_get(reply, "id"));
	json_decref(reply);
}

static void standard_errors(void **state)
{
	struct client c;

	client_open(&c, *state);
	expect_error(&c, "nonsense\n", RPC_PARSE_ERROR);
	expect_error(&c, "\n", RPC_PARSE_ERROR);
	expect_error(&c, "\xff\n", RPC_PARSE_ERROR);
	expect_error(&c, "[]\n", RPC_INVALID_REQUEST);
	expect_error(&c, "17\n", RPC_INVALID_REQUEST);
	expect_error(&c, "{\"jsonrpc\":\"2.0\",\"id\":1}\n", RPC_INVALID_REQUEST);
	expect_error(
		&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fly\"}\n", RPC_METHOD_NOT_FOUND);
	expect_error(&c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\",\"params\":[1]}\n",
		RPC_INVALID_PARAMS);
	expect_error(&c,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\",\"params\":{\"a\":1}}\n",
		RPC_INVALID_PARAMS);
	/* And it still serves. */
	json_decref(call(&c, "version", "{}"));
	client_close(&c);
}

static void batch_is_one_reply(void **state)
{
	const char batch[] = "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"},"
			     "{\"jsonrpc\":\"2.0\",\"method\":\"version\"},"
			     "5,"
			     "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"none\"}]\n"
			     "[{\"jsonrpc\":\"2.0\",\"method\":\"version\"}]\n"
			     "{\"jsonrpc\":\"2.0\",\"method\":\"version\"}\n"
			     "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"version\"}\n";
	struct client c;
	json_t *reply;

	client_open(&c, *state);
	client_send(&c, batch, sizeof(batch) - 1);
	reply = client_json(&c);
	assert_int_equal(json_array_size(reply), 3);
	assert_non_null(json_object_get(json_array_get(reply, 0), "result"));
	assert_int_equal(error_code(json_array_get(reply, 1)), RPC_INVALID_REQUEST);
	assert_int_equal(error_code(json_array_get(reply, 2)), RPC_METHOD_NOT_FOUND);
	assert_string_equal(text(json_array_get(reply, 2), "id"), "x");
	json_decref(reply);
	/* Neither a notification nor a batch of them is answered: the next reply is to id 2. */
	reply = client_json(&c);
	assert_int_equal(number(reply, "id"), 2);
	json_decref(reply);
	client_close(&c);
}

static void split_at_every_byte(void **state)
{
	const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"version\"}\n";
	struct client c;
	json_t *reply;

	client_open(&c, *state);
	for (size_t cut = 0; cut < sizeof(line); cut++) {
		client_send(&c, line, cut);
		pump(*state);
		client_send(&c, line + cut, sizeof(line) - 1 - cut);
		reply = client_json(&c);
		assert_int_equal(number(reply, "id"), 7);
		json_decref(reply);
	}
	client_close(&c);
}

static void long_line_is_refused_and_ends(void **state)
{
	const size_t len = RPC_LINE_BYTES_MAX + 1000;
	char *line = malloc(len), *rest;
	struct client c;

	memset(line, ' ', len);
	client_open(&c, *state);
	client_send(&c, line, len);
	rest = client_line(&c);
	assert_non_null(rest);
	assert_non_null(strstr(rest, "-32600"));
	free(rest);
	assert_null(client_line(&c));
	assert_true(c.is_closed);
	client_close(&c);

	/* The longest accepted one is. */
	memset(line, ' ', RPC_LINE_BYTES_MAX);
	memcpy(line, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"version\"}", 44);
	line[RPC_LINE_BYTES_MAX] = '\n';
	client_open(&c, *state);
	client_send(&c, line, RPC_LINE_BYTES_MAX + 1);
	json_decref(client_json(&c));
	client_close(&c);
	free(line);
}

static void garbage_harms_nobody(void **state)
{
	unsigned long seed = eal_test_seed(20221122);
	static const char *const pieces[] = {
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"lease.open\"",
		",\"params\":{\"peer\":\"", "\"}}", "[", "]", "\n", "{", "}", ",", "\"to_port\":80",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"peer.list\",\"params\":{\"cursor\":",
		"2147483647", "99999", "}}\n", "\\u0000", "\"from\":[\"\"]"};

	srandom((unsigned)seed);
	for (unsigned round = 0; round < 300; round++) {
		struct client c;
		char *line;

		client_open(&c, *state);
		for (unsigned i = 0; i < (unsigned)random() % 20; i++) {
			char bytes[64];

			for (size_t k = 0; k < sizeof(bytes); k++)
				bytes[k] = (char)random();
			if (random() % 4 == 0) {
				client_send(&c, bytes, (size_t)random() % sizeof(bytes));
			} else {
				const char *piece = pieces[(size_t)random() %
							   (sizeof(pieces) / sizeof(pieces[0]))];

				client_send(&c, piece, strlen(piece));
			}
		}
		client_send(&c, "\n", 1);
		shutdown(c.fd, SHUT_WR);
		/* Every line of the answer is JSON, and then the server hangs up. */
		while ((line = client_line(&c)) != NULL) {
			json_t *reply = json_loads(line, 0, NULL);

			assert_non_null(reply);
			json_decref(reply);
			free(line);
		}
		client_close(&c);
	}
}

/* What was asked before the far end shut its side is still answered. */
static void half_closed_client_gets_its_replies(void **state)
{
	struct server *s = *state;
	struct client c;
	json_t *reply;

	client_open(&c, s);
	s->is_withholding = true;
	client_request(&c, 1, "peer.add",
		"{\"public_key\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\","
		"\"address4\":\"10.0.0.9\"}");
	shutdown(c.fd, SHUT_WR);
	for (unsigned i = 0; i < 50; i++)
		assert_null(client_try_line(&c));
	assert_false(c.is_closed);
	s->is_withholding = false;
	reply = client_json(&c);
	assert_non_null(json_object_get(reply, "result"));
	json_decref(reply);
	assert_null(client_line(&c));
	client_close(&c);
}

/* --- commit before reply
 * ------------------------------------------------------------------------*/

static void change_waits_for_the_workers(void **state)
{
	struct server *s = *state;
	struct client c, other;
	json_t *reply;

	client_open(&c, s);
	client_open(&other, s);
	add_peer(&c, "alice", 2);

	s->is_withholding = true;
	client_request(&c, 1, "lease.open", "{\"peer\":\"alice\",\"to_port\":80}");
	for (unsigned i = 0; i < 200; i++)
		assert_null(client_try_line(&c));
	/* The door is there for the workers already; only the word is held back. Others go on. */
	assert_int_equal(doors_count(s->doors), 1);
	json_decref(call(&other, "lease.list", "{}"));

	/* One worker of two is not enough. */
	grace_reader_quiescent(s->grace, 0);
	for (unsigned i = 0; i < 200; i++)
		assert_null(client_try_line(&c));
	grace_reader_quiescent(s->grace, 1);
	reply = client_json(&c);
	assert_int_equal(number(reply, "id"), 1);
	json_decref(reply);

	/* A worker that is offline (asleep) is not waited for. */
	client_request(&c, 2, "lease.close", "{\"id\":1}");
	for (unsigned i = 0; i < 50; i++)
		assert_null(client_try_line(&c));
	assert_int_equal(doors_count(s->doors), 0);
	grace_reader_offline(s->grace, 0);
	grace_reader_offline(s->grace, 1);
	reply = client_json(&c);
	assert_int_equal(number(reply, "id"), 2);
	json_decref(reply);
	grace_reader_online(s->grace, 0);
	grace_reader_online(s->grace, 1);
	client_close(&c);
	client_close(&other);
}

/* A refusal changed nothing, so it need not wait; nor need a look. They overtake. */
static void looks_overtake_changes(void **state)
{
	const char lines[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"lease.open\",\"params\":{"
			     "\"peer\":\"alice\","
			     "\"to_port\":80}}\n"
			     "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"lease.open\",\"params\":{"
			     "\"peer\":\"nobody\","
			     "\"to_port\":80}}\n"
			     "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"lease.list\"}\n"
			     "[{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"version\"},"
			     "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"lease.close\",\"params\":{"
			     "\"id\":1}}]\n";
	struct server *s = *state;
	struct client c;
	json_t *reply;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	s->is_withholding = true;
	client_send(&c, lines, sizeof(lines) - 1);
	reply = client_json(&c);
	assert_int_equal(number(reply, "id"), 2);
	json_decref(reply);
	reply = client_json(&c);
	assert_int_equal(number(reply, "id"), 3);
	/* All of the read was carried out in order: the look saw the open lease. */
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(reply, "result"), "leases")), 1);
	json_decref(reply);
	for (unsigned i = 0; i < 100; i++)
		assert_null(client_try_line(&c));
	s->is_withholding = false;
	reply = client_json(&c);
	assert_int_equal(number(reply, "id"), 1);
	json_decref(reply);
	reply = client_json(&c);
	assert_int_equal(json_array_size(reply), 2);
	assert_int_equal(number(json_array_get(reply, 0), "id"), 4);
	assert_int_equal(number(json_array_get(reply, 1), "id"), 5);
	json_decref(reply);
	client_close(&c);
}

static void client_may_leave_before_its_reply(void **state)
{
	struct server *s = *state;
	struct client c;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	s->is_withholding = true;
	client_request(&c, 1, "lease.open", "{\"peer\":\"alice\",\"to_port\":80}");
	for (unsigned i = 0; i < 20; i++)
		pump(s);
	client_close(&c);
	for (unsigned i = 0; i < 20; i++)
		pump(s);
	s->is_withholding = false;
	while (grace_pending(s->grace) > 0)
		pump(s);
	client_open(&c, s);
	json_decref(call(&c, "lease.show", "{'id':1}"));
	client_close(&c);

	/* And the server may end before it too: nothing is left behind (the sanitizer looks). */
	client_open(&c, s);
	s->is_withholding = true;
	client_request(&c, 1, "lease.close", "{\"id\":1}");
	for (unsigned i = 0; i < 20; i++)
		pump(s);
	client_close(&c);
}

/* What the loop waits for, when nothing is pending: a connection, a request, the next tick. */
static void loop_sleeps_when_nothing_is_pending(void **state)
{
	struct server *s = *state;
	struct client c;

	client_open(&c, s);
	add_peer(&c, "alice", 2);
	json_decref(call(&c, "lease.open", "{'peer':'alice','to_port':80}"));
	while (grace_pending(s->grace) > 0)
		pump(s);
	for (unsigned i = 0; i < 10; i++)
		pump(s);
	assert_int_equal(event_base_get_num_events(s->base, EVENT_BASE_COUNT_ADDED), 3);
	client_close(&c);
}

/* --- bounds
 * -------------------------------------------------------------------------------------*/

/* Pipelining without reading is fine up to a bound; beyond it the client's own requests wait, and
 * none is lost. */
static void unread_replies_make_requests_wait(void **state)
{
	const unsigned n = 1000; /* one read of the server */
	const char look[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"drops\"}\n";
	struct server *s = *state;
	struct rpc_text t = {0};
	struct client c, other;

	client_open(&c, s);
	client_open(&other, s);
	for (unsigned i = 0; i < n; i++)
		rpc_text_append(&t, look, sizeof(look) - 1);
	rpc_text_request(&t, 2, "peer.add",
		json_pack("{s:s, s:s, s:s}", "public_key", key_text(2), "name", "last", "address4",
			"10.0.0.2"));
	client_send(&c, t.chars, t.len);
	for (unsigned i = 0; i < 200; i++)
		pump(s);
	refuse(&other, "peer.show", "{'peer':'last'}", RPC_NOT_FOUND, NULL);
	for (unsigned i = 0; i <= n; i++) {
		char *reply = client_line(&c);

		assert_non_null(reply);
		free(reply);
	}
	json_decref(call(&other, "peer.show", "{'peer':'last'}"));
	rpc_text_fini(&t);
	client_close(&c);
	client_close(&other);
}

static void client_that_never_reads_is_dropped(void **state)
{
	const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"drops\"}\n";
	struct server *s = *state;
	struct client c, other;
	unsigned n = 0;

	client_open(&c, s);
	client_open(&other, s);
	while (send(c.fd, line, sizeof(line) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0 && n++ < 100000)
		pump(s);
	for (unsigned i = 0; i < 100; i++)
		pump(s);
	clock_offset_ns += CTL_STALL_NS - NS_IN_S;
	ctl_tick(s->ctl);
	assert_false(send(c.fd, line, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EPIPE);
	clock_offset_ns += 2 * NS_IN_S;
	ctl_tick(s->ctl);
	assert_int_equal(send(c.fd, line, 1, MSG_NOSIGNAL | MSG_DONTWAIT), -1);
	assert_int_equal(errno, EPIPE);
	json_decref(call(&other, "version", "{}"));
	client_close(&c);
	client_close(&other);
}

static void too_many_clients_are_turned_away(void **state)
{
	struct client clients[CTL_CLIENTS_MAX], extra;
	char *line;

	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++) {
		client_open(&clients[i], *state);
		json_decref(call(&clients[i], "version", "{}"));
	}
	client_open(&extra, *state);
	line = client_line(&extra);
	assert_non_null(line);
	assert_non_null(strstr(line, "too many connections"));
	free(line);
	assert_null(client_line(&extra));
	client_close(&extra);
	client_close(&clients[0]);
	for (unsigned i = 0; i < 10; i++)
		pump(*state);
	client_open(&clients[0], *state);
	json_decref(call(&clients[0], "version", "{}"));
	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++)
		client_close(&clients[i]);
}

static void no_descriptor_left_is_no_busy_loop(void **state)
{
	struct server *s = *state;
	struct rlimit old, few;
	struct client c;

	client_open(&c, s); /* connected, not accepted: the server has not run yet */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){.rlim_cur = (rlim_t)c.fd + 1, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (unsigned i = 0; i < 10; i++)
		pump(s);
	/* Only the next tick is waited for. */
	assert_int_equal(event_base_get_num_events(s->base, EVENT_BASE_COUNT_ADDED), 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	clock_offset_ns += 2 * NS_IN_S;
	ctl_tick(s->ctl);
	json_decref(call(&c, "version", "{}"));
	client_close(&c);
}

static void batch_with_an_endless_reply_is_cut(void **state)
{
	struct rpc_text t = {0};
	struct client c;
	json_t *reply;
	int code;

	for (unsigned i = 0; i < RPC_BATCH_MAX; i++) {
		const char *piece = i == 0 ? "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}"
					   : ",{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}";

		rpc_text_append(&t, piece, strlen(piece));
	}
	rpc_text_append(&t, "]\n", 2);
	client_open(&c, *state);
	c.lines.max_line_bytes = 64u << 20;
	client_send(&c, t.chars, t.len);
	reply = client_json(&c);
	assert_int_equal(json_array_size(reply), RPC_BATCH_MAX);
	assert_non_null(json_object_get(json_array_get(reply, 0), "result"));
	code = error_code(json_array_get(reply, RPC_BATCH_MAX - 1));
	assert_int_equal(code, RPC_TRY_AGAIN);
	json_decref(reply);
	rpc_text_fini(&t);
	client_close(&c);
}

/* --- roles
 * --------------------------------------------------------------------------------------*/

/* A connection made by another user: a child changes its ids, connects, and passes the socket back
 * through the pair. */
static int dial_as(const struct server *s, uid_t uid, gid_t gid, const gid_t *more, size_t n_more)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int pair[2], status, fd = -1;
	pid_t child;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	child = fork();
	if (child == 0) {
		if (setgroups(n_more, more) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
			_exit(1);
		fd = dial(s);
		if (fd < 0)
			_exit(2);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
		_exit(sendmsg(pair[0], &msg, 0) == 1 ? 0 : 3);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(recvmsg(pair[1], &msg, 0), 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	close(pair[0]);
	close(pair[1]);
	return fd;
}

static void others_may_read_only(void **state)
{
	struct server *s = *state;
	struct client c;
	struct stat st;

	if (getuid() != 0)
		skip();
	client_attach(&c, s, dial_as(s, 12345, 12345, NULL, 0));
	json_decref(call(&c, "peer.list", "{}"));
	json_decref(call(&c, "stats", "{}"));
	refuse(&c, "peer.del", "{'peer':'alice'}", RPC_NOT_PERMITTED, "12345", "peer.del", "root",
		NULL);
	refuse(&c, "lease.close", "{'id':1}", RPC_NOT_PERMITTED, NULL);
	client_close(&c);
	assert_int_equal(stat(s->conf.socket_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
}

static void readers_have_shorter_lines(void **state)
{
	const size_t len = RPC_READER_LINE_BYTES_MAX + 1000;
	struct server *s = *state;
	char *line = malloc(len), *reply;
	struct client c;

	if (getuid() != 0)
		skip();
	assert_non_null(line);
	memset(line, ' ', len);
	client_attach(&c, s, dial_as(s, 12345, 12345, NULL, 0));
	client_send(&c, line, len);
	reply = client_line(&c);
	assert_non_null(reply);
	assert_non_null(strstr(reply, "more than 1048576 bytes"));
	free(reply);
	client_close(&c);
	free(line);
}

static void group_may_write(void **state)
{
	const struct group *group = getgrnam("daemon");
	const gid_t more[] = {4242, 0};
	gid_t many[] = {4242, 4243, 0};
	struct server *s;
	struct client c;

	if (getuid() != 0 || group == NULL)
		skip();
	s = server_create();
	snprintf(s->conf.socket_group, sizeof(s->conf.socket_group), "daemon");
	server_open(s);
	many[2] = group->gr_gid;

	client_attach(&c, s, dial_as(s, 12345, group->gr_gid, NULL, 0));
	add_peer(&c, "alice", 2);
	client_close(&c);
	client_attach(&c, s, dial_as(s, 12345, 12345, many, 3));
	add_peer(&c, "bob", 3);
	client_close(&c);
	client_attach(&c, s, dial_as(s, 12345, 12345, more, 1));
	refuse(&c, "peer.del", "{'peer':'bob'}", RPC_NOT_PERMITTED, "group daemon", NULL);
	client_close(&c);
	server_destroy(s);
}

/* --- the socket file
 * ----------------------------------------------------------------------------*/

static void stale_socket_is_replaced(void **state)
{
	struct server *s = server_create();
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char dir[96];
	struct client c;

	snprintf(dir, sizeof(dir), "%s/run", s->dir);
	assert_int_equal(mkdir(dir, 0755), 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", s->conf.socket_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	server_open(s);
	client_open(&c, s);
	json_decref(call(&c, "version", "{}"));
	client_close(&c);
	ctl_destroy(s->ctl);
	s->ctl = NULL;
	assert_int_equal(access(s->conf.socket_path, F_OK), -1);
	server_destroy(s);
}

static void assert_refused(struct server *s, const char *word)
{
	struct ctl_params p = server_params(s);
	char fault[CTL_FAULT_CHARS];

	assert_null(ctl_create(&p, fault));
	if (strstr(fault, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", fault, word);
}

static void unfit_paths_are_refused(void **state)
{
	struct server *s = *state;
	struct conf *conf = &s->conf;
	char path[CONF_PATH_CHARS], file[CONF_PATH_CHARS];
	struct client c;
	FILE *f;

	memcpy(path, conf->socket_path, sizeof(path));
	assert_refused(s, "served by a process");
	/* The one that serves was not disturbed. */
	client_open(&c, s);
	json_decref(call(&c, "version", "{}"));
	client_close(&c);

	snprintf(file, sizeof(file), "%s/file", s->dir);
	memcpy(conf->socket_path, file, sizeof(path));
	f = fopen(file, "w");
	assert_non_null(f);
	fclose(f);
	assert_refused(s, "not a socket");
	assert_int_equal(unlink(file), 0);

	snprintf(conf->socket_path, sizeof(path), "relative.sock");
	assert_refused(s, "absolute");
	snprintf(conf->socket_path, sizeof(path), "%s/a/b/c.sock", s->dir);
	assert_refused(s, "cannot be made");
	memset(conf->socket_path, 'x', 150);
	conf->socket_path[0] = '/';
	conf->socket_path[150] = '\0';
	assert_refused(s, "at most 107");
	memcpy(conf->socket_path, path, sizeof(path));
}

static int group_setup(void **state)
{
	rpc_init();
	eal_start();
	return crypto_init();
}

#define served(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		served(standard_errors),
		served(batch_is_one_reply),
		served(split_at_every_byte),
		served(long_line_is_refused_and_ends),
		served(garbage_harms_nobody),
		served(half_closed_client_gets_its_replies),
		served(change_waits_for_the_workers),
		served(looks_overtake_changes),
		served(client_may_leave_before_its_reply),
		served(loop_sleeps_when_nothing_is_pending),
		served(unread_replies_make_requests_wait),
		served(client_that_never_reads_is_dropped),
		served(too_many_clients_are_turned_away),
		served(no_descriptor_left_is_no_busy_loop),
		served(batch_with_an_endless_reply_is_cut),
		served(others_may_read_only),
		served(readers_have_shorter_lines),
		cmocka_unit_test(group_may_write),
		cmocka_unit_test(stale_socket_is_replaced),
		served(unfit_paths_are_refused),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
