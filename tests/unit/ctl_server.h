/* ctl_server.h - a control server with real tables, and played workers and handshake thread, for
 * tests.
 *
 * Everything happens on the test's own thread, in pump(): the loop turns once, the handshake thread
 * hands messages back, and the workers pass a quiescent point unless is_withholding. So a test
 * decides when a change is committed.
 */
#ifndef PORTIER_TESTS_CTL_SERVER_H
#define PORTIER_TESTS_CTL_SERVER_H

#include "eal.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "ctl/ctl.h"
#include "port/port.h"

#define N_WORKERS	2
#define MAX_LEASES	64
#define MAX_PEERS	1100 /* more than one page of a list */
#define DEADLINE_S	20
#define CLIENT_IN_BYTES (8u << 20)

struct server {
	char dir[64];
	char uapi_dir[80]; /* nothing is there while conf.uapi_name is empty */
	struct conf conf;
	struct event_base *base;
	struct grace *grace;
	struct peers *peers;
	struct lease_table *leases;
	struct doors *doors;
	struct store *store; /* the test's, to open and close; NULL: none */
	struct mbox *to, *from;
	struct stats_worker stats[N_WORKERS];
	const struct stats_worker *workers[N_WORKERS];
	struct stats_handshake handshake;
	struct rte_mempool *mempool;
	struct port port;
	uint16_t eth_port_ids[1];
	struct ctl *ctl;
	bool is_withholding; /* workers do not report */
	bool is_behind;	     /* the handshake thread takes nothing */
};

/* The clock moves on by itself, and by hand. */
static uint64_t clock_offset_ns;

static inline uint64_t test_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_IN_S + (uint64_t)ts.tv_nsec + clock_offset_ns;
}

/* Not that of now, so that one shows when it stands for the other. */
static inline uint64_t test_wall_ns(void)
{
	return UINT64_C(1700000000) * NS_IN_S + test_now_ns();
}

static inline struct ip_addr address(const char *text)
{
	struct ip_addr a = {0};

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

static inline struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p = {0};

	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

static inline void fill_conf(struct server *s)
{
	struct conf *conf = &s->conf;
	struct conf_port *port = &conf->ports[0];

	snprintf(conf->socket_path, sizeof(conf->socket_path), "%s/run/control.sock", s->dir);
	conf->pool[0] = prefix("198.51.100.0/30");
	conf->n_pool = 1;
	conf->dedicated[0] = prefix("198.51.100.64/31");
	conf->n_dedicated = 1;
	conf->inner_addrs[0] = address("10.0.0.1");
	conf->n_inner_addrs = 1;
	conf->lease_port_first = 40000;
	conf->lease_port_last = 40099;
	conf->default_ttl_ns = 3600 * NS_IN_S;
	conf->max_ttl_ns = 86400 * NS_IN_S;
	conf->quarantine_ns = 120 * NS_IN_S;
	conf->max_leases = MAX_LEASES;
	conf->max_leases_per_peer = 8;
	conf->max_peers = MAX_PEERS;
	conf->nat_filter = FLOW_MODERATE;
	conf->nat_sessions_per_peer = 77;
	conf->nat_max_blocks = 5;
	conf->nat_new_per_s = 30;
	conf->lcore_cpus[1] = 1;
	conf->n_ports = 1;
	snprintf(port->name, sizeof(port->name), "wan");
	snprintf(port->device, sizeof(port->device), "net_null0");
	port->is_tunnel = port->is_public = true;
	port->mtu_bytes = 1500;
	assert_int_equal(ip_ifaddr_parse("192.0.2.1/24", &port->ifaddrs[0]), 0);
	assert_int_equal(ip_ifaddr_parse("2001:db8::1/64", &port->ifaddrs[1]), 0);
	port->n_ifaddrs = 2;
	port->gateway4 = address("192.0.2.254");
}

/* One device for all tests of the process: DPDK's own. */
static inline void open_port(struct server *s)
{
	static struct rte_mempool *mempool;
	static struct port port;
	char fault[PORT_FAULT_CHARS];

	if (mempool == NULL) {
		mempool = rte_pktmbuf_pool_create(
			"test", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
		assert_non_null(mempool);
		if (port_open(&port,
			    &(struct port_params){.name = "wan",
				    .device = "net_null0",
				    .n_workers = 1,
				    .rx_ring_pkts = 64,
				    .tx_ring_pkts = 64,
				    .mtu_bytes = 1500,
				    .mempool = mempool},
			    fault) != 0)
			fail_msg("%s", fault);
	}
	s->eth_port_ids[0] = port.eth_id;
}

static inline struct ctl_params server_params(struct server *s)
{
	return (struct ctl_params){
		.base = s->base,
		.conf = &s->conf,
		.peers = s->peers,
		.leases = s->leases,
		.doors = s->doors,
		.store = s->store,
		.grace = s->grace,
		.workers = s->workers,
		.n_workers = N_WORKERS,
		.handshake = &s->handshake,
		.eth_port_ids = s->eth_port_ids,
		.now_ns = test_now_ns,
		.wall_ns = test_wall_ns,
		.uapi_dir = s->uapi_dir,
		.aead_name = "none",
		.started_ns = test_now_ns(),
	};
}

static inline void server_open(struct server *s)
{
	struct ctl_params p = server_params(s);
	char fault[CTL_FAULT_CHARS];

	s->ctl = ctl_create(&p, fault);
	if (s->ctl == NULL)
		fail_msg("%s", fault);
}

static inline struct lease_table *make_leases(const struct conf *conf)
{
	struct lease_conf lc = {
		.n_pool = conf->n_pool,
		.n_dedicated = conf->n_dedicated,
		.port_first = conf->lease_port_first,
		.port_last = conf->lease_port_last,
		.max_leases = conf->max_leases,
		.default_ttl_ns = conf->default_ttl_ns,
		.max_ttl_ns = TIME_NEVER,
		.max_age_ns = conf->max_age_ns,
		.reserve_ns = conf->reserve_ns,
		.quarantine_ns = conf->quarantine_ns,
		.random = crypto_random,
	};

	memcpy(lc.pool, conf->pool, sizeof(lc.pool[0]) * conf->n_pool);
	memcpy(lc.dedicated, conf->dedicated, sizeof(lc.dedicated[0]) * conf->n_dedicated);
	for (lc.n_deny = 0; lc.n_deny < conf->n_deny; lc.n_deny++)
		lc.deny[lc.n_deny] = (struct lease_ports){
			conf->deny[lc.n_deny].first, conf->deny[lc.n_deny].last};
	return lease_table_create(&lc);
}

static inline void server_tables_create(struct server *s)
{
	s->base = event_base_new();
	s->grace = grace_create(N_WORKERS);
	s->peers = peers_create(&(struct peer_params){.max_peers = MAX_PEERS,
		.n_workers = N_WORKERS,
		.grace = s->grace,
		.socket_id = -1});
	s->to = mbox_create("to_handshake", 16, false, -1);
	s->from = mbox_create("from_handshake", 64, false, -1);
	peers_connect(s->peers, s->to, s->from);
	s->leases = make_leases(&s->conf);
	s->doors = doors_create(MAX_LEASES, MAX_PEERS, s->grace, -1);
	assert_true(s->base && s->grace && s->peers && s->to && s->from && s->leases && s->doors);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		s->workers[i] = &s->stats[i];
		grace_reader_online(s->grace, i);
	}
}

static inline struct server *server_create(void)
{
	struct server *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	clock_offset_ns = 0;
	snprintf(s->dir, sizeof(s->dir), "/tmp/portier-ctl-test-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	assert_int_equal(chmod(s->dir, 0755), 0);
	snprintf(s->uapi_dir, sizeof(s->uapi_dir), "%s/wireguard", s->dir);
	fill_conf(s);
	open_port(s);
	server_tables_create(s);
	return s;
}

static inline void serve_handshake(struct server *s)
{
	void *msg;

	while (!s->is_behind && mbox_pop_burst(s->to, &msg, 1) == 1)
		assert_true(mbox_push(s->from, msg));
}

static inline void pump(struct server *s)
{
	assert_true(event_base_loop(s->base, EVLOOP_NONBLOCK) >= 0);
	serve_handshake(s);
	for (unsigned i = 0; i < N_WORKERS && !s->is_withholding; i++)
		grace_reader_quiescent(s->grace, i);
}

/* With the server itself. */
static inline void server_tables_destroy(struct server *s)
{
	ctl_destroy(s->ctl);
	s->is_behind = false;
	for (unsigned i = 0; i < N_WORKERS; i++)
		grace_reader_offline(s->grace, i);
	for (unsigned i = 0; i < 100; i++) {
		serve_handshake(s);
		peers_poll(s->peers);
		grace_poll(s->grace);
	}
	doors_destroy(s->doors);
	lease_table_destroy(s->leases);
	peers_destroy(s->peers);
	mbox_destroy(s->to);
	mbox_destroy(s->from);
	grace_destroy(s->grace);
	event_base_free(s->base);
}

static inline void server_destroy(struct server *s)
{
	char dir[96];

	server_tables_destroy(s);
	snprintf(dir, sizeof(dir), "%s/run", s->dir);
	rmdir(dir);
	rmdir(s->uapi_dir);
	rmdir(s->dir);
	free(s);
}

/* --- a client that does not block
 * ---------------------------------------------------------------*/

struct client {
	struct server *server;
	int fd;
	struct rpc_lines lines;
	bool is_closed; /* by the server */
};

static inline void client_attach(struct client *c, struct server *s, int fd)
{
	*c = (struct client){.server = s, .fd = fd};
	rpc_lines_init(&c->lines, CLIENT_IN_BYTES);
}

static inline int dial(const struct server *s)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", s->conf.socket_path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline void client_open(struct client *c, struct server *s)
{
	int fd = dial(s);

	assert_true(fd >= 0);
	client_attach(c, s, fd);
}

static inline void client_close(struct client *c)
{
	rpc_lines_fini(&c->lines);
	close(c->fd);
}

static inline void client_send(struct client *c, const char *bytes, size_t len)
{
	uint64_t deadline_ns = test_now_ns() + DEADLINE_S * NS_IN_S;

	while (len > 0) {
		ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			return;
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
		pump(c->server);
		assert_true(test_now_ns() < deadline_ns);
	}
}

/* The next line, if it is there after one turn; the caller frees it. */
static inline char *client_try_line(struct client *c)
{
	const char *line;
	size_t len;
	void *room;
	ssize_t n;

	pump(c->server);
	if (rpc_lines_next(&c->lines, &line, &len) == 1)
		return strndup(line, len);
	room = rpc_lines_reserve(&c->lines, 65536);
	assert_non_null(room);
	n = recv(c->fd, room, 65536, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		c->is_closed = true;
	rpc_lines_commit(&c->lines, n > 0 ? (size_t)n : 0);
	return rpc_lines_next(&c->lines, &line, &len) == 1 ? strndup(line, len) : NULL;
}

/* The next line; NULL when the server hangs up. */
static inline char *client_line(struct client *c)
{
	uint64_t deadline_ns = test_now_ns() + DEADLINE_S * NS_IN_S;
	char *line;

	while ((line = client_try_line(c)) == NULL && !c->is_closed)
		assert_true(test_now_ns() < deadline_ns);
	return line;
}

static inline json_t *client_json(struct client *c)
{
	char *line = client_line(c);
	json_t *json;

	assert_non_null(line);
	json = json_loads(line, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	assert_non_null(json);
	free(line);
	return json;
}

static inline void client_request(
	struct client *c, json_int_t id, const char *method, const char *params)
{
	char text[4096];
	int len = snprintf(text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":%lld,\"method\":\"%s\",\"params\":%s}\n",
		(long long)id, method, params);

	assert_true(len > 0 && (size_t)len < sizeof(text));
	client_send(c, text, (size_t)len);
}

/* One request, its result; it must succeed. params is JSON with ' for ". */
static inline json_t *call(struct client *c, const char *method, const char *params)
{
	static json_int_t last_id = 1000;
	char quoted[2048];
	json_t *reply, *result;

	snprintf(quoted, sizeof(quoted), "%s", params);
	for (char *at = quoted; (at = strchr(at, '\'')) != NULL;)
		*at = '"';
	client_request(c, ++last_id, method, quoted);
	reply = client_json(c);
	result = json_object_get(reply, "result");
	if (result == NULL)
		fail_msg("%s %s: %s", method, params,
			json_string_value(
				json_object_get(json_object_get(reply, "error"), "message")));
	assert_int_equal(json_integer_value(json_object_get(reply, "id")), last_id);
	json_incref(result);
	json_decref(reply);
	return result;
}

/* One request that must be refused with this code; the message must contain each of words (up to
 * NULL). */
static inline void refuse(struct client *c, const char *method, const char *params, int code, ...)
{
	char quoted[2048];
	const char *message, *word;
	json_t *reply, *error;
	va_list ap;

	snprintf(quoted, sizeof(quoted), "%s", params);
	for (char *at = quoted; (at = strchr(at, '\'')) != NULL;)
		*at = '"';
	client_request(c, 1, method, quoted);
	reply = client_json(c);
	error = json_object_get(reply, "error");
	if (error == NULL)
		fail_msg("%s %s was not refused", method, params);
	message = json_string_value(json_object_get(error, "message"));
	if (json_integer_value(json_object_get(error, "code")) != code)
		fail_msg("%s %s: code %d: %s", method, params,
			(int)json_integer_value(json_object_get(error, "code")), message);
	va_start(ap, code);
	while ((word = va_arg(ap, const char *)) != NULL) {
		if (strstr(message, word) == NULL)
			fail_msg(
				"%s %s: \"%s\" does not say \"%s\"", method, params, message, word);
	}
	va_end(ap);
	json_decref(reply);
}

/* A public key in base64 that ends in n; any 32 bytes are one. */
static inline const char *key_text(unsigned n)
{
	static char text[CRYPTO_KEY_TEXT_CHARS];
	uint8_t key[CRYPTO_KEY_BYTES] = {0};

	key[0] = (uint8_t)n;
	key[1] = (uint8_t)(n >> 8);
	key[31] = 1;
	return crypto_key_format(key, text);
}

/* 10.0.0.n, as long as that is one; further ones leave out the .1 of their network. */
static inline void add_peer(struct client *c, const char *name, unsigned n)
{
	unsigned host = n < 250 ? n : n % 250 + 2;
	char params[512];

	snprintf(params, sizeof(params),
		"{'public_key':'%s','name':'%s','address4':'10.0.%u.%u','forwarding':true}",
		key_text(n), name, n / 250, host);
	json_decref(call(c, "peer.add", params));
}

static inline json_int_t number(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_integer(value))
		fail_msg("%s is no integer", name);
	return json_integer_value(value);
}

static inline const char *text(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_string(value))
		fail_msg("%s is no string", name);
	return json_string_value(value);
}

static inline json_int_t open_lease(struct client *c, const char *params)
{
	json_t *lease = call(c, "lease.open", params);
	json_int_t id = number(lease, "id");

	json_decref(lease);
	return id;
}

/* What the handshake thread would write when a peer gives no answer, or does again. */
static inline void set_reachable(struct server *s, const char *peer, bool is_reachable)
{
	peer_shake(s->peers, peer_find(s->peers, peer))->unreachable_since_ns =
		is_reachable ? 0 : test_now_ns();
}

#endif
