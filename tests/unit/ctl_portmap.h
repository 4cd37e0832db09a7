/* ctl_portmap.h - NAT-PMP and PCP clients for tests of the control server: requests as bytes, the
 * answer as bytes. The clock stands still unless a test moves it.
 */
#ifndef PORTIER_TESTS_CTL_PORTMAP_H
#define PORTIER_TESTS_CTL_PORTMAP_H

#include "ctl_server.h"

#include "base/bytes.h"
#include "portmap/portmap.h"

#define NOON_NS	     (1000 * NS_IN_S)
#define FIRST_PORT   40000
#define LAST_PORT    40099
#define NATPMP_BYTES 16
#define MAP_BYTES    60

static uint64_t noon_ns;

static inline uint64_t frozen_now_ns(void)
{
	return noon_ns;
}

/* The last answer. */
static struct {
	unsigned n;
	struct ctl_portmap_route to;
	size_t len;
	uint8_t msg[PORTMAP_MSG_BYTES];
} heard;

static inline bool hear(
	void *arg, const struct ctl_portmap_route *to, const uint8_t *msg, size_t len)
{
	assert_true(len <= sizeof(heard.msg));
	heard.n++;
	heard.to = *to;
	heard.len = len;
	memcpy(heard.msg, msg, len);
	return true;
}

static struct server *server;
static struct client operator;
static uint32_t alice, bob;

static inline int portmap_group_setup(void **state)
{
	rpc_init();
	eal_start();
	return crypto_init();
}

/* With so many addresses, one or none. */
static inline int portmap_setup_with(unsigned n_addresses)
{
	char fault[CTL_FAULT_CHARS];
	struct ctl_params p;

	server = server_create();
	lease_table_destroy(server->leases);
	server->conf.pool[0] = prefix("198.51.100.1");
	server->conf.n_pool = n_addresses;
	server->leases = make_leases(&server->conf);
	assert_non_null(server->leases);
	noon_ns = NOON_NS;
	memset(&heard, 0, sizeof(heard));
	p = server_params(server);
	p.now_ns = frozen_now_ns;
	p.started_ns = noon_ns;
	p.portmap_reply = hear;
	server->ctl = ctl_create(&p, fault);
	assert_non_null(server->ctl);
	client_open(&operator, server);
	add_peer(&operator, "alice", 2);
	add_peer(&operator, "bob", 3);
	json_decref(call(
		&operator, "peer.set", "{'peer':'alice','portmap':true,'address6':'fd00::2'}"));
	json_decref(call(&operator, "peer.set", "{'peer':'bob','portmap':true}"));
	alice = peer_find(server->peers, "alice");
	bob = peer_find(server->peers, "bob");
	return 0;
}

/* One address, so that ports are what peers differ in. */
static inline int portmap_setup(void **state)
{
	return portmap_setup_with(1);
}

static inline int portmap_setup_without_address(void **state)
{
	return portmap_setup_with(0);
}

static inline int portmap_teardown(void **state)
{
	client_close(&operator);
	server_destroy(server);
	return 0;
}

/* From a port of its own, to the address that it takes for the gateway. */
static inline void tell(uint32_t peer_idx, const uint8_t *msg, size_t len)
{
	const struct peer_conf *conf = peer_conf_get(server->peers, peer_idx);
	struct ctl_portmap_request r = {
		.from = {.peer_idx = peer_idx,
			.peer = {conf->address4, 54321},
			.gateway = {address("10.0.0.1"), PORTMAP_PORT}},
		.msg = msg,
		.len = len,
	};

	ctl_portmap_take(server->ctl, &r);
}

/* Until that many answers were heard. */
static inline void hear_until(unsigned n)
{
	uint64_t deadline_ns = test_now_ns() + DEADLINE_S * NS_IN_S;

	while (heard.n < n) {
		pump(server);
		assert_true(test_now_ns() < deadline_ns);
	}
	assert_int_equal(heard.n, n);
}

/* The answer, once there is one; it goes back the way the request came. */
static inline const uint8_t *answer(uint32_t peer_idx, unsigned n_before)
{
	hear_until(n_before + 1);
	assert_int_equal(heard.to.peer_idx, peer_idx);
	assert_int_equal(heard.to.peer.port, 54321);
	assert_int_equal(heard.to.gateway.port, PORTMAP_PORT);
	return heard.msg;
}

static inline const uint8_t *ask(uint32_t peer_idx, const uint8_t *msg, size_t len)
{
	unsigned n = heard.n;

	tell(peer_idx, msg, len);
	return answer(peer_idx, n);
}

/* One that needs no worker to know of it. */
static inline const uint8_t *ask_quickly(uint32_t peer_idx, const uint8_t *msg, size_t len)
{
	unsigned n = heard.n;

	tell(peer_idx, msg, len);
	assert_int_equal(heard.n, n + 1);
	return heard.msg;
}

/* --- NAT-PMP */

struct natpmp {
	uint8_t bytes[12];
};

static inline struct natpmp natpmp(
	uint8_t op, uint16_t inner_port, uint16_t suggested_port, uint32_t lifetime_s)
{
	struct natpmp m = {{0, op}};

	store_be16(m.bytes + 4, inner_port);
	store_be16(m.bytes + 6, suggested_port);
	store_be32(m.bytes + 8, lifetime_s);
	return m;
}

struct natpmp_reply {
	uint16_t result, inner_port, public_port;
	uint32_t epoch_s, lifetime_s;
};

static inline struct natpmp_reply natpmp_read(uint8_t op)
{
	assert_int_equal(heard.len, NATPMP_BYTES);
	assert_int_equal(heard.msg[0], 0);
	assert_int_equal(heard.msg[1], op | 0x80);
	return (struct natpmp_reply){load_be16(heard.msg + 2), load_be16(heard.msg + 8),
		load_be16(heard.msg + 10), load_be32(heard.msg + 4), load_be32(heard.msg + 12)};
}

static inline struct natpmp_reply natpmp_ask(uint32_t peer_idx, uint8_t op, uint16_t inner_port,
	uint16_t suggested_port, uint32_t lifetime_s)
{
	struct natpmp m = natpmp(op, inner_port, suggested_port, lifetime_s);

	ask(peer_idx, m.bytes, sizeof(m.bytes));
	return natpmp_read(op);
}

/* A mapping that is granted: its public port. */
static inline uint16_t natpmp_map(uint32_t peer_idx, uint8_t op, uint16_t inner_port,
	uint16_t suggested_port, uint32_t lifetime_s)
{
	struct natpmp_reply r = natpmp_ask(peer_idx, op, inner_port, suggested_port, lifetime_s);

	assert_int_equal(r.result, 0);
	assert_int_equal(r.inner_port, inner_port);
	assert_true(r.public_port >= FIRST_PORT && r.public_port <= LAST_PORT);
	return r.public_port;
}

/* --- PCP: a message under construction */

struct pcp {
	size_t len;
	uint8_t bytes[PORTMAP_MSG_BYTES + 100];
};

static inline struct pcp pcp_map(uint32_t peer_idx, uint8_t proto, uint16_t inner_port,
	uint16_t suggested_port, uint32_t lifetime_s)
{
	const struct peer_conf *conf = peer_conf_get(server->peers, peer_idx);
	struct pcp m = {.len = MAP_BYTES, .bytes = {2, PORTMAP_PCP_MAP}};

	store_be32(m.bytes + 4, lifetime_s);
	memcpy(m.bytes + 8, conf->address4.bytes, 16);
	memcpy(m.bytes + 24, "nonce-12byte", 12);
	m.bytes[36] = proto;
	store_be16(m.bytes + 40, inner_port);
	store_be16(m.bytes + 42, suggested_port);
	return m;
}

static inline void put_option(struct pcp *m, uint8_t code, const void *data, uint16_t len)
{
	m->bytes[m->len] = code;
	store_be16(m->bytes + m->len + 2, len);
	if (len > 0)
		memcpy(m->bytes + m->len + 4, data, len);
	m->len += 4 + (len + 3u) / 4 * 4;
}

static inline void put_filter(struct pcp *m, uint8_t len_bits, uint16_t port, const char *addr)
{
	struct ip_addr a = address(addr);
	uint8_t data[20] = {0, len_bits};

	store_be16(data + 2, port);
	memcpy(data + 4, a.bytes, 16);
	put_option(m, 3, data, sizeof(data));
}

struct pcp_reply {
	uint8_t result;
	uint32_t lifetime_s, epoch_s;
	uint16_t public_port;
	struct ip_addr public_addr;
};

/* What must be as in the request is; the rest is given. */
static inline struct pcp_reply pcp_ask(uint32_t peer_idx, const struct pcp *m)
{
	struct pcp_reply r;

	ask(peer_idx, m->bytes, m->len);
	assert_true(heard.len >= MAP_BYTES && heard.len % 4 == 0);
	assert_int_equal(heard.msg[0], 2);
	assert_int_equal(heard.msg[1], 0x80 | PORTMAP_PCP_MAP);
	assert_memory_equal(heard.msg + 24, m->bytes + 24, 13); /* nonce, protocol */
	assert_memory_equal(heard.msg + 40, m->bytes + 40, 2);	/* inner port */
	r = (struct pcp_reply){.result = heard.msg[3],
		.lifetime_s = load_be32(heard.msg + 4),
		.epoch_s = load_be32(heard.msg + 8),
		.public_port = load_be16(heard.msg + 42),
		.public_addr = ip_from_v6(heard.msg + 44)};
	/* A refusal says what was suggested again, and has no options. */
	if (r.result != 0) {
		assert_memory_equal(heard.msg + 42, m->bytes + 42, 18);
		assert_int_equal(heard.len, MAP_BYTES);
	}
	return r;
}

static inline void pcp_refused(
	uint32_t peer_idx, const struct pcp *m, enum portmap_pcp_result want, uint32_t lifetime_s)
{
	struct pcp_reply r = pcp_ask(peer_idx, m);

	assert_int_equal(r.result, want);
	assert_int_equal(r.lifetime_s, lifetime_s);
}

static inline struct pcp_reply pcp_granted(uint32_t peer_idx, const struct pcp *m)
{
	struct pcp_reply r = pcp_ask(peer_idx, m);

	assert_int_equal(r.result, 0);
	return r;
}

/* --- what there is */

static inline const struct lease *lease_of(uint32_t peer_idx, uint8_t proto, uint16_t inner_port)
{
	const struct peer_conf *conf = peer_conf_get(server->peers, peer_idx);

	return lease_find_inner(server->leases, peer_idx, &conf->address4, proto, inner_port);
}

#endif
