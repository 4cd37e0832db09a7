/* portierctl_test.c - the built portierctl against a control server: words, tables, exit codes. */
#include "ctl_server.h"

#include <fcntl.h>
#include <libgen.h>
#include <sys/wait.h>

#define ARGS_MAX 40

static struct server *server;
static char out[1 << 20], err[1 << 12];

/* The program lies where meson puts it, as seen from this test. */
static const char *program(void)
{
	static char path[512];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);

	assert_true(len > 0);
	path[len] = '\0';
	dirname(path);
	strcat(path, "/../app/portierctl/portierctl");
	if (access(path, X_OK) != 0)
		fail_msg("%s is not built", path);
	return path;
}

/* What the program has written so far, without waiting. */
static void drain(int fd, char *buf, size_t size)
{
	size_t len = strlen(buf);
	ssize_t n;

	while (len + 1 < size && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
}

/* Run it with these words (split at single spaces; %s is the socket), input on its standard input.
 * Returns the exit code; out and err hold what it wrote. */
static int run_with(const char *input, const char *words)
{
	uint64_t deadline_ns = test_now_ns() + DEADLINE_S * NS_IN_S;
	char copy[1024], *argv[ARGS_MAX] = {"portierctl"}, *save = NULL;
	int in_pipe[2], out_pipe[2], err_pipe[2], status, argc = 1;
	pid_t child;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
		assert_true(argc < ARGS_MAX - 1);
		argv[argc++] = strcmp(w, "SOCKET") == 0 ? server->conf.socket_path : w;
	}
	assert_int_equal(pipe2(in_pipe, 0), 0);
	assert_int_equal(pipe2(out_pipe, 0), 0);
	assert_int_equal(pipe2(err_pipe, 0), 0);
	fcntl(out_pipe[0], F_SETFL, O_NONBLOCK);
	fcntl(err_pipe[0], F_SETFL, O_NONBLOCK);
	child = fork();
	if (child == 0) {
		dup2(in_pipe[0], 0);
		dup2(out_pipe[1], 1);
		dup2(err_pipe[1], 2);
		close(in_pipe[1]);
		execv(program(), argv);
		_exit(126);
	}
	assert_true(child > 0);
	close(in_pipe[0]);
	close(out_pipe[1]);
	close(err_pipe[1]);
	assert_int_equal(write(in_pipe[1], input, strlen(input)), strlen(input));
	close(in_pipe[1]);
	out[0] = err[0] = '\0';
	while (waitpid(child, &status, WNOHANG) == 0) {
		pump(server);
		drain(out_pipe[0], out, sizeof(out));
		drain(err_pipe[0], err, sizeof(err));
		assert_true(test_now_ns() < deadline_ns);
	}
	drain(out_pipe[0], out, sizeof(out));
	drain(err_pipe[0], err, sizeof(err));
	close(out_pipe[0]);
	close(err_pipe[0]);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int run(const char *words)
{
	char with_socket[1024];

	snprintf(with_socket, sizeof(with_socket), "-s SOCKET %s", words);
	return run_with("", with_socket);
}

static void expect(const char *words, int code)
{
	int got = run(words);

	if (got != code)
		fail_msg("%s: exit %d, not %d; out \"%s\", err \"%s\"", words, got, code, out, err);
	/* A fault is one sentence on standard error, and nothing else is said anywhere. */
	if (code != 0) {
		assert_string_equal(out, "");
		assert_int_equal(strncmp(err, "portierctl: ", 12), 0);
		assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1);
	} else {
		assert_string_equal(err, "");
	}
}

static void expect_err(const char *words, int code, const char *word)
{
	expect(words, code);
	if (strstr(err, word) == NULL)
		fail_msg("%s: \"%s\" does not say \"%s\"", words, err, word);
}

static void assert_out(const char *word)
{
	if (strstr(out, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", out, word);
}

static json_t *expect_json(const char *words)
{
	json_t *result;

	expect(words, 0);
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
	result = json_loads(out, 0, NULL);
	if (result == NULL)
		fail_msg("%s: no JSON: %.200s", words, out);
	return result;
}

static int setup(void **state)
{
	server = server_create();
	server_open(server);
	return 0;
}

static int teardown(void **state)
{
	server_destroy(server);
	return 0;
}

#define ALICE "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="

static void add_alice(void)
{
	expect("peer add " ALICE " --address 10.0.0.2,fd00::2 --name alice --forwarding on", 0);
}

/* --- without a gateway
 * --------------------------------------------------------------------------*/

static void usage_faults(void **state)
{
	expect_err("", 2, "noun");
	expect_err("laese list", 2, "did you mean lease?");
	expect_err("lease lsit", 2, "did you mean list?");
	expect_err("lease", 2, "open, renew, close, show, check, list, reserved");
	expect_err("quux", 2, "--help");
	expect_err("lease open --lable x", 2, "did you mean --label?");
	expect_err("lease open --ttl", 2, "DURATION");
	expect_err("lease open --ttl 5", 2, "90s or 2h");
	expect_err("lease open --to-port x", 2, "--to-port \"x\"");
	expect_err("lease show", 2, "ID");
	expect_err("lease show -- --json", 2, "number");
	expect_err("lease show 1 2", 2, "one word too many");
	expect_err("lease show x", 2, "number");
	expect_err("peer set alice --forwarding yes", 2, "on or off");
	expect_err("peer add K --address 10.0.0.1,10.0.0.2", 2, "one IPv4 and one IPv6");
	expect_err("peer add K --address ,", 2, "--address");
	expect_err("peer add K --preshared-key-file /nonexistent", 2, "/nonexistent");
	expect_err("peer add K --keepalive soon", 2, "off");
	assert_int_equal(run_with("", "-s"), 2);
}

static void help_at_every_level(void **state)
{
	expect("--help", 0);
	assert_out("lease renew ID");
	assert_out("exit codes");
	expect("peer --help", 0);
	assert_out("peer set PEER");
	assert_null(strstr(out, "lease open"));
	expect("lease open --help", 0);
	assert_out("--from PREFIX");
	expect("drops -h", 0);
	assert_out("--all");
}

static void no_gateway(void **state)
{
	assert_int_equal(run_with("", "-s /nonexistent/socket health"), 3);
	assert_non_null(strstr(err, "/nonexistent/socket"));
	assert_non_null(strstr(err, "is portier running?"));
	/* One that hangs up is as good as none. */
	ctl_destroy(server->ctl);
	server->ctl = NULL;
	expect_err("health", 3, "cannot be reached");
}

/* --- with one
 * -----------------------------------------------------------------------------------*/

/* Of a gateway that translates nothing; what it says of sessions is tested at its methods. */
static void session_and_pool_verbs(void **state)
{
	json_t *result;

	add_alice();
	expect("session list", 0);
	assert_out("no sessions");
	expect("session list --peer alice --proto udp --port 53 --limit 5", 0);
	assert_out("no sessions");
	expect_err("session list --peer bob", 1, "bob");
	expect_err("session list --proto sctp", 1, "icmpv6");
	expect_err("session list --port 0", 1, "65535");
	result = expect_json("--json session list --limit 1");
	assert_int_equal(json_array_size(json_object_get(result, "sessions")), 0);
	json_decref(result);
	expect("pool show", 0);
	assert_out("198.51.100.65  dedicated");
	assert_out("sessions");
	result = expect_json("--json pool show");
	assert_non_null(json_object_get(json_object_get(result, "totals"), "leases"));
	json_decref(result);
	expect_err("session", 2, "list");
}

/* Of a gateway without a packet path: what it answers is tested at its methods. */
static void why_verbs(void **state)
{
	add_alice();
	expect_err("why", 2, "in, out");
	expect_err("why in udp 192.0.2.9:1", 2, "why in needs DST");
	expect_err("why in udp 192.0.2.9:1 198.51.100.1:2 3", 2, "\"3\" is one word too many");
	expect_err("why in udp 192.0.2.9 198.51.100.1:2", 1, "src has no port");
	expect_err("why out bob udp 192.0.2.9:1 198.51.100.1:2", 1, "bob");
	expect_err("why out alice udp 10.0.0.2:1 198.51.100.1:2 --df maybe", 2, "on or off");
	expect("why out --help", 0);
	assert_out("PEER PROTO SRC DST [OPTION...]");
	expect("why --help", 0);
	assert_out("why LEASE");
	assert_out("why in PROTO");
	expect_err("why 1 2", 2, "\"2\" is one word too many");
	expect_err("why 1", 1, "lease 1");
	expect_err("why x", 1, "ADDRESS:PORT/PROTO");
	expect("why 198.51.100.1:40000/tcp", 0);
	assert_out("is free");
	expect("lease open --peer alice --to-port 80 --public-port 40010 "
	       "--public-address 198.51.100.2",
		0);
	expect("why 198.51.100.2:40010", 0);
	assert_out("never connected");
	assert_out("nothing failed since it was opened");
	expect("lease close 1", 0);
	expect("why 198.51.100.2:40010", 0);
	assert_out("quarantine for another");
}

static void peer_verbs(void **state)
{
	json_t *result;

	add_alice();
	assert_out("alice");
	assert_out("10.0.0.2,fd00::2");
	expect("peer list", 0);
	assert_out(ALICE);
	assert_out("never");
	expect("peer show alice", 0);
	assert_out("on");
	result = expect_json("--json peer set alice --max-leases 3 --keepalive 25 --endpoint "
			     "192.0.2.9:51820 --name=al");
	assert_int_equal(number(result, "max_leases"), 3);
	assert_int_equal(number(result, "persistent_keepalive_s"), 25);
	assert_string_equal(text(result, "endpoint"), "192.0.2.9:51820");
	json_decref(result);
	result = expect_json("--json peer set al --filter moderate --max-sessions 99 --route "
			     "2001:db8:2::/64 --route fd77::/48");
	assert_string_equal(text(result, "filter"), "moderate");
	assert_int_equal(number(result, "max_sessions"), 99);
	assert_int_equal(json_array_size(json_object_get(result, "routes")), 2);
	json_decref(result);
	expect("peer show al", 0);
	assert_out("2001:db8:2::/64, fd77::/48");
	assert_out("moderate");
	assert_out("0 of 99");
	assert_out("public address");
	expect("peer set al --filter closed", 1);
	result = expect_json("--json peer set al --route=");
	assert_int_equal(json_array_size(json_object_get(result, "routes")), 0);
	json_decref(result);
	result = expect_json("peer set al --keepalive off --json");
	assert_int_equal(number(result, "persistent_keepalive_s"), 0);
	json_decref(result);
	result = expect_json("--json peer show " ALICE);
	assert_string_equal(text(result, "name"), "al");
	json_decref(result);
	expect_err("peer show alice", 1, "alice");
	expect_err("peer add " ALICE " --address 10.0.0.3", 1, "public key");
	expect("peer set al --name -x", 0);
	expect_err("peer show -x", 2, "no option -x");
	expect("peer show -- -x", 0);
	expect("peer set --name al -- -x", 0);
	expect("peer del al", 0);
	assert_out("deleted");
	expect("peer list", 0);
	assert_string_equal(out, "no peers\n");
	result = expect_json("--json peer list");
	assert_int_equal(json_array_size(json_object_get(result, "peers")), 0);
	json_decref(result);
}

static void closing_and_barring(void **state)
{
	json_t *result;

	add_alice();
	expect("lease open --peer alice --to-port 80", 0);
	expect("lease open --peer alice --to-port 81", 0);
	expect_err("lease close", 1, "which lease is to close?");
	expect("lease close --help", 0);
	assert_out("lease close [ID] [OPTION...]");
	expect("lease close --peer alice", 0);
	assert_string_equal(out, "2 leases of alice closed\n");
	expect("lease open --peer alice --to-port 80", 0);
	expect("peer bar alice", 0);
	assert_out("leases closed        1");
	expect("peer list", 0);
	assert_out("barred");
	expect("peer show alice", 0);
	assert_out("forwarding           barred");
	expect_err("lease open --peer alice --to-port 80", 1, "portierctl peer unbar alice");
	expect("peer del alice", 0);
	expect_err("peer unbar alice", 1, "alice");
	result = expect_json("--json peer unbar " ALICE);
	assert_true(json_is_false(json_object_get(result, "is_barred")));
	json_decref(result);
	add_alice();
	expect("peer unbar alice", 0);
	assert_out("barred no more       alice");
	expect("lease open --peer alice --to-port 80", 0);
}

/* Of a gateway without a store; what is on disk is tested at its methods. */
static void history_verb(void **state)
{
	json_t *result;

	add_alice();
	expect_err("history", 1, "whose history?");
	expect_err("history 198.51.100.2", 1, "198.51.100.7:20001/tcp");
	expect_err("history 198.51.100.2:1 --at yesterday", 2, "2026-12-31T18:00Z");
	expect_err("history --peer alice", 1, "history is off");
	expect("history 198.51.100.2:40010", 0);
	assert_string_equal(
		out, "nobody\nhistory is off (history.mode): only what is open now is known\n");
	expect("lease open --peer alice --proto tcp --to-port 80 --label web --public-port 40010 "
	       "--public-address 198.51.100.2",
		0);
	expect("history 198.51.100.2:40010/tcp", 0);
	assert_out("OPENED");
	assert_out("198.51.100.2:40010");
	assert_out("10.0.0.2:80");
	assert_out("open ");
	assert_out("web");
	expect("history 198.51.100.2:40010/udp", 0);
	assert_out("nobody");
	expect("history 198.51.100.2:40010 --at @1000", 0);
	assert_out("nobody");
	result = expect_json("--json history 198.51.100.2:40010 --since @1000 --until "
			     "2099-01-01T00:00Z --limit 5");
	assert_string_equal(text(result, "mode"), "none");
	assert_int_equal(json_array_size(json_object_get(result, "records")), 1);
	json_decref(result);
	expect("history --help", 0);
	assert_out("history [A:PORT[/PROTO]] [OPTION...]");
}

static void preshared_key_from_standard_input(void **state)
{
	const char *words = "-s SOCKET peer set alice --preshared-key-file -";

	add_alice();
	assert_int_equal(run_with("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=\n", words), 0);
	assert_out("preshared key        yes");
	assert_null(strstr(out, "c2Vj"));
	assert_int_equal(run_with("too short\n", words), 1);
	assert_null(strstr(err, "too short"));
	assert_int_equal(run_with("", words), 0);
	assert_out("preshared key        no");
}

static void lease_verbs(void **state)
{
	json_t *result;

	add_alice();
	result = expect_json(
		"--json lease open --peer alice --proto tcp --to-port 80 --ttl 1h --idle 90m "
		"--from "
		"192.0.2.0/24 --from 203.0.113.9 --label web --public-port 40010 --public-address "
		"198.51.100.2 --to-address 10.0.0.2");
	assert_int_equal(number(result, "id"), 1);
	assert_int_equal(number(result, "public_port"), 40010);
	assert_int_equal(number(result, "ttl_s"), 3600);
	assert_int_equal(number(result, "idle_s"), 5400);
	assert_int_equal(json_array_size(json_object_get(result, "from")), 2);
	json_decref(result);
	expect("lease list", 0);
	assert_out("198.51.100.2:40010");
	assert_out("192.0.2.0/24,203.0.113.9");
	expect("lease list --peer alice", 0);
	expect("lease show 1", 0);
	assert_out("10.0.0.2:80");
	assert_out("1h30m");
	assert_out("opened by");
	expect("lease open --peer alice --proto tcp --to-port 80 --idle 2h --label web", 0);
	assert_out("stays as it was opened: --idle; to change it, close");
	expect("lease open --peer alice --proto tcp --to-port 80 --idle 90m", 0);
	assert_null(strstr(out, "stays"));
	result = expect_json("--json lease renew 1 --ttl 2h");
	assert_int_equal(number(result, "ttl_s"), 7200);
	json_decref(result);
	expect("lease close 1", 0);
	assert_string_equal(out, "lease 1 closed\n");
	expect_err("lease close 1", 1, "no open lease 1");
	expect("lease list", 0);
	assert_string_equal(out, "no leases\n");
	expect("lease reserved", 0);
	assert_out("quarantine  alice  198.51.100.2:40010  10.0.0.2:80");
	expect("lease open --peer alice --to-port 80 --until 2033-05-18T03:33Z", 0);
	assert_out("2033-05-18T03:33:00Z");
	expect("lease list", 0);
	assert_out("2   active  alice");
	expect_err("lease open --peer alice --to-port 80 --until @1", 1, "until has passed");
	expect_err("lease open --peer alice --to-port 80 --until soon", 2, "2026-12-31T18:00Z");
	expect("lease close 2", 0);
	expect_err("lease open --peer bob --to-port 80", 1, "bob");
	expect_err("lease open --peer alice", 1, "to_port");
	expect("peer set alice --portmap on", 0);
	assert_out("portmap");
	expect_err("peer set alice --portmap yes", 2, "on or off");
	expect("peer set alice --forwarding off", 0);
	expect_err("lease open --peer alice --to-port 80", 1,
		"peer alice has forwarding off; turn it on with: portierctl peer set alice "
		"--forwarding on");
}

/* Lists are put together from pages of CTL_LIST_DEFAULT. */
static void long_lists(void **state)
{
	const unsigned n = CTL_LIST_DEFAULT + 5;
	struct client c;
	json_t *result;

	client_open(&c, server);
	for (unsigned i = 2; i < 2 + n; i++)
		add_peer(&c, "", i);
	client_close(&c);
	result = expect_json("--json peer list");
	assert_int_equal(json_array_size(json_object_get(result, "peers")), n);
	assert_null(json_object_get(result, "next"));
	json_decref(result);
}

static void reports(void **state)
{
	json_t *result;

	server->stats[0].drop[STATS_DROP_no_lease] = 42;
	expect("drops", 0);
	assert_out("42  no_lease  to a public address");
	assert_null(strstr(out, "wg_bad_tag"));
	expect("drops --all", 0);
	assert_out("wg_bad_tag");
	result = expect_json("--json drops");
	assert_int_equal(number(result, "dropped"), 42);
	json_decref(result);
	expect("stats", 0);
	assert_out("received");
	assert_out("worker 0 has packets in its hands");
	json_decref(expect_json("--json stats"));
	expect("workers", 0);
	assert_out("turning");
	json_decref(expect_json("--json workers"));
	expect("ports", 0);
	assert_out("net_null0");
	json_decref(expect_json("--json ports"));
	expect("health", 0);
	assert_out("ok");
	json_decref(expect_json("--json health"));
	expect("version", 0);
	json_decref(expect_json("--json version"));
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
		served(usage_faults),
		served(help_at_every_level),
		served(no_gateway),
		served(peer_verbs),
		served(session_and_pool_verbs),
		served(why_verbs),
		served(closing_and_barring),
		served(history_verb),
		served(preshared_key_from_standard_input),
		served(lease_verbs),
		served(long_lists),
		served(reports),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
