/* ctl_uapi_test.c - the socket of the WireGuard tools: what it tells, what it changes, and what
 * changes nothing.
 */
#include "ctl_server.h"

#include <stdio.h>

/* Hexadecimal keys; B in base64 is key_text(2). */
#define KEY_A "0100000000000000000000000000000000000000000000000000000000000001"
#define KEY_B "0200000000000000000000000000000000000000000000000000000000000001"
#define KEY_C "0300000000000000000000000000000000000000000000000000000000000001"
#define PSK   "5900000000000000000000000000000000000000000000000000000000000000"
#define ZERO  "0000000000000000000000000000000000000000000000000000000000000000"

static const uint8_t private_key[CRYPTO_KEY_BYTES] = {0x77, [31] = 0x40};
#define PRIVATE_KEY "7700000000000000000000000000000000000000000000000000000000000040"

static int setup(void **state)
{
	struct server *s = server_create();

	snprintf(s->conf.uapi_name, sizeof(s->conf.uapi_name), "test0");
	memcpy(s->conf.private_key, private_key, sizeof(private_key));
	s->conf.listen_port = 51820;
	server_open(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	server_destroy(*state);
	return 0;
}

static void uapi_path(const struct server *s, struct sockaddr_un *addr)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(addr->sun_path, sizeof(addr->sun_path), "%.80s/test0.sock", s->uapi_dir);
}

static void uapi_open(struct client *c, struct server *s)
{
	struct sockaddr_un addr;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	uapi_path(s, &addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	client_attach(c, s, fd);
}

/* Everything up to the empty line, in one text. */
static const char *answer(struct client *c)
{
	static char text[65536];
	size_t len = 0;
	char *line;

	for (;;) {
		line = client_line(c);
		assert_non_null(line);
		if (line[0] == '\0')
			break;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n", line);
		assert_true(len < sizeof(text));
		free(line);
	}
	free(line);
	return text;
}

static const char *ask(struct client *c, const char *request)
{
	client_send(c, request, strlen(request));
	return answer(c);
}

static void assert_set(struct client *c, const char *lines, int err)
{
	char request[2048], wanted[32];
	const char *got;

	snprintf(request, sizeof(request), "set=1\n%s\n", lines);
	snprintf(wanted, sizeof(wanted), "errno=%d\n", -err);
	got = ask(c, request);
	if (strcmp(got, wanted) != 0)
		fail_msg("%s: %s, not %s", lines, got, wanted);
}

static const struct peer_conf *conf_of(struct server *s, unsigned n)
{
	uint32_t peer_idx = peer_find(s->peers, key_text(n));

	return peer_idx == PEER_NONE ? NULL : peer_conf_get(s->peers, peer_idx);
}

static void assert_address4(struct server *s, const char *wanted)
{
	char got[IP_TEXT_CHARS];

	assert_string_equal(ip_addr_format(&conf_of(s, 1)->address4, got), wanted);
}

/* --- get -----------------------------------------------------------------------------------------
 */

static void test_get(void **state)
{
	struct server *s = *state;
	unsigned long long sec = 0, nsec = 0;
	struct peer_hot *hot;
	struct client c;
	char wanted[1024];
	const char *got, *at;
	uint64_t wall_ns;

	uapi_open(&c, s);
	assert_string_equal(
		ask(&c, "get=1\n\n"), "private_key=" PRIVATE_KEY "\nlisten_port=51820\nerrno=0\n");
	assert_set(&c,
		"public_key=" KEY_A "\npreshared_key=" PSK "\nendpoint=[2001:db8:9::1]:4000\n"
		"persistent_keepalive_interval=25\nallowed_ip=10.0.0.2/32\n"
		"allowed_ip=fd00::2/128\n",
		0);
	/* What the home worker writes, 10 s ago. */
	hot = peer_hot(s->peers, peer_find(s->peers, key_text(1)));
	hot->last_handshake_ns = test_now_ns();
	hot->rx_bytes = 1234;
	hot->tx_bytes = 5678;
	wall_ns = test_wall_ns();
	clock_offset_ns += 10 * NS_IN_S;
	got = ask(&c, "get=1\n\n");
	at = strstr(got, "last_handshake_time_sec=");
	assert_non_null(at);
	assert_int_equal(sscanf(at, "last_handshake_time_sec=%llu\nlast_handshake_time_nsec=%llu\n",
				 &sec, &nsec),
		2);
	/* Two clocks are read one after the other. */
	assert_true(sec * NS_IN_S + nsec + NS_IN_S - wall_ns < 6 * NS_IN_S);
	snprintf(wanted, sizeof(wanted),
		"private_key=" PRIVATE_KEY "\nlisten_port=51820\npublic_key=" KEY_A
		"\npreshared_key=" PSK "\nprotocol_version=1\nendpoint=[2001:db8:9::1]:4000\n"
		"last_handshake_time_sec=%llu\nlast_handshake_time_nsec=%llu\n"
		"tx_bytes=5678\nrx_bytes=1234\npersistent_keepalive_interval=25\n"
		"allowed_ip=10.0.0.2/32\nallowed_ip=fd00::2/128\nerrno=0\n",
		sec, nsec);
	assert_string_equal(got, wanted);
	client_close(&c);
}

static void test_get_is_paged(void **state)
{
	struct server *s = *state;
	const char needle[] = "public_key=";
	unsigned n = 0;
	struct client c, adder;
	char *line;

	client_open(&adder, s);
	for (unsigned i = 0; i < 1000; i++) {
		char params[256];

		snprintf(params, sizeof(params), "{'public_key':'%s','address4':'10.%u.%u.2'}",
			key_text(i + 1), 1 + (i >> 8), i & 0xff);
		json_decref(call(&adder, "peer.add", params));
	}
	client_close(&adder);
	uapi_open(&c, s);
	/* Two at once: the second is answered after the first. */
	client_send(&c, "get=1\n\nget=1\n\n", 14);
	for (unsigned n_ends = 0; n_ends < 2;) {
		line = client_line(&c);
		assert_non_null(line);
		n += strncmp(line, needle, sizeof(needle) - 1) == 0;
		n_ends += strcmp(line, "errno=0") == 0;
		free(line);
	}
	assert_int_equal(n, 2000);
	client_close(&c);
}

/* uid 0 alone is told secrets; and the file lets nobody else in to begin with. */
static void test_secrets(void **state)
{
	struct server *s = *state;
	struct sockaddr_un addr;
	struct client c;
	struct stat st;
	const char *got;
	int fd, rc;

	if (geteuid() != 0)
		skip(); /* it takes on another uid */
	uapi_open(&c, s);
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=10.0.0.2/32\npreshared_key=" PSK "\n", 0);
	uapi_path(s, &addr);
	assert_int_equal(stat(addr.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	assert_int_equal(seteuid(65534), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	rc = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(rc, -1);
	close(fd);

	/* Even if somebody opens the file. */
	assert_int_equal(chmod(addr.sun_path, 0666), 0);
	assert_int_equal(seteuid(65534), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	rc = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(rc, 0);
	client_close(&c);
	client_attach(&c, s, fd);
	got = ask(&c, "get=1\n\n");
	assert_null(strstr(got, "private_key"));
	assert_null(strstr(got, "preshared_key"));
	assert_non_null(strstr(got, "public_key=" KEY_A));
	assert_set(&c, "public_key=" KEY_A "\nremove=true\n", EPERM);
	assert_int_equal(peers_count(s->peers), 1);
	client_close(&c);
}

/* --- set -----------------------------------------------------------------------------------------
 */

static void test_add_change_remove(void **state)
{
	struct server *s = *state;
	struct client c;

	uapi_open(&c, s);
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=10.0.0.2/32\n", 0);
	assert_non_null(conf_of(s, 1));
	assert_false(conf_of(s, 1)->forwarding);
	assert_int_equal(conf_of(s, 1)->max_leases, 8);

	assert_set(&c, "public_key=" KEY_A "\npersistent_keepalive_interval=7\n", 0);
	assert_int_equal(conf_of(s, 1)->persistent_keepalive_s, 7);
	assert_address4(s, "10.0.0.2");

	/* allowed_ip adds; replace_allowed_ips replaces. */
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=fd00::2/128\n", 0);
	assert_false(ip_is_none(&conf_of(s, 1)->address4));
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=10.0.0.3/32\n", EINVAL);
	assert_set(
		&c, "public_key=" KEY_A "\nreplace_allowed_ips=true\nallowed_ip=10.0.0.3/32\n", 0);
	assert_true(ip_is_none(&conf_of(s, 1)->address6));
	assert_address4(s, "10.0.0.3");
	assert_set(&c, "public_key=" KEY_A "\nreplace_allowed_ips=true\n", EINVAL);

	assert_set(&c, "public_key=" KEY_A "\npreshared_key=" PSK "\n", 0);
	assert_int_equal(conf_of(s, 1)->preshared_key[0], 0x59);
	assert_set(&c, "public_key=" KEY_A "\npreshared_key=" ZERO "\n", 0);
	assert_int_equal(conf_of(s, 1)->preshared_key[0], 0);

	assert_set(&c, "public_key=" KEY_A "\nremove=true\n", 0);
	assert_null(conf_of(s, 1));
	assert_set(&c, "public_key=" KEY_A "\nremove=true\n", 0);
	client_close(&c);
}

/* Prefixes are told, added and replaced as addresses are. */
static void test_routes(void **state)
{
	struct server *s = *state;
	const struct peer_conf *conf;
	struct client c, j;

	client_open(&j, s);
	uapi_open(&c, s);
	assert_set(&c,
		"public_key=" KEY_A "\nallowed_ip=fd00:5::/48\nallowed_ip=10.0.0.2/32\n"
		"allowed_ip=fd00::2/128\nallowed_ip=2001:db8:2:1::/64\n",
		0);
	assert_non_null(strstr(ask(&c, "get=1\n\n"),
		"allowed_ip=10.0.0.2/32\nallowed_ip=fd00::2/128\nallowed_ip=fd00:5::/48\n"
		"allowed_ip=2001:db8:2:1::/64\nerrno=0\n"));
	/* One that is there, and further ones up to the most that there may be. */
	assert_set(&c,
		"public_key=" KEY_A "\nallowed_ip=fd00:5::/48\nallowed_ip=fd00:6::/48\n"
		"allowed_ip=fd00:7::7/128\n",
		0);
	assert_int_equal(conf_of(s, 1)->n_routes, 4);
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=fd00:8::/48\n", EINVAL);
	assert_set(&c, "public_key=" KEY_B "\nallowed_ip=10.0.0.3/32\nallowed_ip=fd00:5::/64\n",
		EADDRINUSE);
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=2001:db8:9::/47\n", EINVAL);

	assert_set(&c,
		"public_key=" KEY_A "\nreplace_allowed_ips=true\nallowed_ip=10.0.0.2/32\n"
		"allowed_ip=fd00:9::/64\n",
		0);
	conf = conf_of(s, 1);
	assert_int_equal(conf->n_routes, 1);
	assert_true(ip_is_none(&conf->address6));
	assert_set(
		&c, "public_key=" KEY_A "\nreplace_allowed_ips=true\nallowed_ip=10.0.0.2/32\n", 0);
	assert_int_equal(conf_of(s, 1)->n_routes, 0);

	/* A prefix of one address stays one when what was told is said again. */
	json_decref(call(&j, "peer.set",
		"{'peer':'AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=','routes':['fd00:a::1/"
		"128']}"));
	assert_set(&c,
		"replace_peers=true\npublic_key=" KEY_A "\nreplace_allowed_ips=true\n"
		"allowed_ip=10.0.0.2/32\nallowed_ip=fd00:a::1/128\n",
		0);
	assert_int_equal(conf_of(s, 1)->n_routes, 1);
	assert_true(ip_is_none(&conf_of(s, 1)->address6));
	client_close(&c);
	client_close(&j);
}

static void test_update_only(void **state)
{
	struct server *s = *state;
	struct client c;

	uapi_open(&c, s);
	assert_set(&c, "public_key=" KEY_A "\nupdate_only=true\nallowed_ip=10.0.0.2/32\n", 0);
	assert_null(conf_of(s, 1));
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=10.0.0.2/32\n", 0);
	assert_set(
		&c, "public_key=" KEY_A "\nupdate_only=true\npersistent_keepalive_interval=9\n", 0);
	assert_int_equal(conf_of(s, 1)->persistent_keepalive_s, 9);
	client_close(&c);
}

static void test_replace_peers(void **state)
{
	struct server *s = *state;
	struct client c, j;
	json_int_t id;

	client_open(&j, s);
	uapi_open(&c, s);
	json_decref(call(&j, "peer.add",
		"{'public_key':'AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=',"
		"'name':'alice','address4':'10.0.0.8','forwarding':true}"));
	add_peer(&j, "bob", 2);
	id = open_lease(&j, "{'peer':'alice','to_port':80}");
	json_decref(call(&j, "peer.set", "{'peer':'alice','persistent_keepalive_s':5}"));

	/* Bob goes, a third comes; alice keeps name and door, and loses the rest. */
	assert_set(&c,
		"replace_peers=true\npublic_key=" KEY_A "\nallowed_ip=10.0.0.8/32\n"
		"public_key=" KEY_C "\nallowed_ip=10.0.0.9/32\n",
		0);
	assert_null(conf_of(s, 2));
	assert_string_equal(conf_of(s, 1)->name, "alice");
	assert_true(conf_of(s, 1)->forwarding);
	assert_int_equal(conf_of(s, 1)->persistent_keepalive_s, 0);
	assert_non_null(lease_get(s->leases, (uint64_t)id));
	assert_false(conf_of(s, 3)->forwarding);
	assert_int_equal(peers_count(s->peers), 2);

	/* No peers at all. */
	assert_set(&c, "replace_peers=true\n", 0);
	assert_null(conf_of(s, 1));
	assert_null(conf_of(s, 3));
	assert_null(lease_get(s->leases, (uint64_t)id));
	client_close(&c);
	client_close(&j);
}

/* What is wrong with the whole request changes nothing of it. */
static void test_nothing_changes(void **state)
{
	struct server *s = *state;
	struct client c;

	uapi_open(&c, s);
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=10.0.0.2/32\n", 0);
#define ADDS_B "public_key=" KEY_B "\nallowed_ip=10.0.0.3/32\n"
	assert_set(&c, "private_key=" KEY_A "\n" ADDS_B, EOPNOTSUPP);
	assert_set(&c, "private_key=" ZERO "\n" ADDS_B, EOPNOTSUPP);
	assert_set(&c, "listen_port=51821\n" ADDS_B, EOPNOTSUPP);
	assert_set(&c, "listen_port=0\nreplace_peers=true\n", EOPNOTSUPP);
	assert_set(&c, "fwmark=1\n" ADDS_B, EOPNOTSUPP);
	assert_set(&c, ADDS_B "public_key=" KEY_C "\nallowed_ip=10.0.0.0/24\n", EINVAL);
	assert_set(&c, ADDS_B "public_key=" KEY_C "\nallowed_ip=fd00::/32\n", EINVAL);
	assert_set(&c, ADDS_B "public_key=" KEY_C "\nallowed_ip=0.0.0.0/0\n", EINVAL);
	assert_set(&c, ADDS_B "unknown=1\n", EINVAL);
	assert_int_equal(peers_count(s->peers), 1);
	/* What is the case already can be said again. */
	assert_set(&c, "private_key=" PRIVATE_KEY "\nlisten_port=51820\nfwmark=0\n" ADDS_B, 0);
	assert_int_equal(peers_count(s->peers), 2);
	client_close(&c);
}

static void test_rules(void **state)
{
	struct server *s = *state;
	struct crypto_x25519_key *own = crypto_x25519_key_create(private_key);
	uint8_t public_key[CRYPTO_KEY_BYTES];
	char lines[256] = "public_key=";
	struct client c;

	uapi_open(&c, s);
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=10.0.0.2/32\n", 0);
	/* The first that is refused ends it, and says why by its number. */
	assert_set(&c, "public_key=" KEY_B "\nallowed_ip=10.0.0.2/32\n", EADDRINUSE);
	assert_set(&c, "public_key=" KEY_B "\nallowed_ip=198.51.100.1/32\n", EADDRNOTAVAIL);
	assert_set(&c, "public_key=" KEY_B "\n", EINVAL);
	assert_set(&c, "public_key=" ZERO "\nallowed_ip=10.0.0.3/32\n", EINVAL);
	crypto_x25519_key_public(own, public_key);
	crypto_x25519_key_destroy(own);
	for (unsigned i = 0; i < sizeof(public_key); i++)
		snprintf(lines + 11 + 2 * i, 3, "%02x", public_key[i]);
	strcat(lines, "\nallowed_ip=10.0.0.3/32\n");
	assert_set(&c, lines, EINVAL);
	assert_int_equal(peers_count(s->peers), 1);
	client_close(&c);
}

/* Said again, an endpoint is gone back to; to whom the gateway talks is what the handshake thread
 * was told last. */
static void test_endpoint_again(void **state)
{
	struct server *s = *state;
	struct client c;
	void *msg;

	uapi_open(&c, s);
	assert_set(&c, "public_key=" KEY_A "\nallowed_ip=10.0.0.2/32\nendpoint=192.0.2.77:5\n", 0);
	peer_hot_path_set(peer_hot(s->peers, peer_find(s->peers, key_text(1))),
		&(struct peer_path){.remote = {.addr = address("192.0.2.99"), .port = 9}});
	s->is_behind = true;
	assert_set(&c, "public_key=" KEY_A "\nendpoint=192.0.2.77:5\n", 0);
	assert_int_equal(mbox_pop_burst(s->to, &msg, 1), 1);
	assert_true(((struct peer_msg *)msg)->sets_endpoint);
	assert_true(mbox_push(s->from, msg));
	client_close(&c);
}

/* --- bounds --------------------------------------------------------------------------------------
 */

static void test_answer_waits_for_workers(void **state)
{
	struct server *s = *state;
	static const char request[] = "set=1\npublic_key=" KEY_A "\nallowed_ip=10.0.0.2/32\n\n";
	struct client c;
	char *line;

	uapi_open(&c, s);
	s->is_withholding = true;
	client_send(&c, request, sizeof(request) - 1);
	for (unsigned i = 0; i < 50; i++)
		assert_null(client_try_line(&c));
	assert_non_null(conf_of(s, 1));
	s->is_withholding = false;
	line = client_line(&c);
	assert_string_equal(line, "errno=0");
	free(line);

	/* One who does not wait for the answer does no harm. */
	s->is_withholding = true;
	client_send(&c, request, sizeof(request) - 1);
	client_close(&c);
	s->is_withholding = false;
	for (unsigned i = 0; i < 50; i++)
		pump(s);
}

static void test_garbage(void **state)
{
	struct server *s = *state;
	struct client c;
	char *big = malloc(1 << 20);

	assert_non_null(big);
	uapi_open(&c, s);
	assert_string_equal(ask(&c, "\n"), "errno=22\n");
	assert_string_equal(ask(&c, "hello\nworld\n\n"), "errno=22\n");
	assert_string_equal(ask(&c, "set=1\nx\n\n"), "errno=-22\n");
	assert_string_equal(
		ask(&c, "get=1\n\n"), "private_key=" PRIVATE_KEY "\nlisten_port=51820\nerrno=0\n");
	memset(big, 'x', 1 << 20);
	client_send(&c, big, 1 << 20);
	assert_string_equal(answer(&c), "errno=-90\n");
	assert_null(client_line(&c));
	client_close(&c);
	free(big);
}

/* One who asks and does not read is let go of, and has cost what fits the buffers. */
static void test_silent_reader(void **state)
{
	struct server *s = *state;
	uint64_t deadline_ns;
	struct client c;
	char byte;

	uapi_open(&c, s);
	for (unsigned i = 0; i < 100000; i++) {
		if (send(c.fd, "get=1\n\n", 7, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		pump(s);
	}
	clock_offset_ns += CTL_STALL_NS + NS_IN_S;
	ctl_tick(s->ctl);
	deadline_ns = test_now_ns() + DEADLINE_S * NS_IN_S;
	/* What is in the kernel's buffers comes, and then the end. */
	while (recv(c.fd, &byte, 1, MSG_DONTWAIT) > 0)
		assert_true(test_now_ns() < deadline_ns);
	assert_true(recv(c.fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
	client_close(&c);
}

static void test_many_clients(void **state)
{
	struct server *s = *state;
	struct client clients[40], c;
	char byte;

	for (unsigned i = 0; i < 40; i++) {
		uapi_open(&clients[i], s);
		pump(s);
	}
	assert_string_equal(ask(&clients[31], "get=1\n\n"),
		"private_key=" PRIVATE_KEY "\nlisten_port=51820\nerrno=0\n");
	assert_int_equal(recv(clients[32].fd, &byte, 1, MSG_DONTWAIT), 0);
	for (unsigned i = 0; i < 40; i++)
		client_close(&clients[i]);
	for (unsigned i = 0; i < 50; i++)
		pump(s);
	uapi_open(&c, s);
	assert_non_null(strstr(ask(&c, "get=1\n\n"), "errno=0"));
	client_close(&c);
}

/* A name that is taken is said, and is not taken away from whom it belongs to. */
static void test_name_is_taken(void **state)
{
	struct server *s = *state;
	struct ctl_params p = server_params(s);
	char fault[CTL_FAULT_CHARS];
	struct sockaddr_un addr;
	struct conf conf = s->conf;

	uapi_path(s, &addr);
	snprintf(conf.socket_path, sizeof(conf.socket_path), "%s/run/other.sock", s->dir);
	p.conf = &conf;
	assert_null(ctl_create(&p, fault));
	assert_non_null(strstr(fault, "control.uapi_name"));
	assert_non_null(strstr(fault, "test0.sock is served by a process that runs"));
	assert_int_equal(access(addr.sun_path, F_OK), 0);
	assert_int_equal(access(conf.socket_path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_get_is_paged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secrets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_add_change_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(test_update_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replace_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endpoint_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answer_waits_for_workers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_clients, setup, teardown),
		cmocka_unit_test_setup_teardown(test_name_is_taken, setup, teardown),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
