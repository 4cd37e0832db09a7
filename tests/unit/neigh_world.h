/* neigh_world.h - one link with an injected clock: byte-exact frames go in, and what leaves is
 * kept.
 *
 * Threads: all of it from the main thread; static, for the programs that include it once.
 */
#ifndef PORTIER_TESTS_NEIGH_WORLD_H
#define PORTIER_TESTS_NEIGH_WORLD_H

#include "base/bytes.h"
#include "base/time.h"
#include "neigh/neigh.h"
#include "eal.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#define PORT	 3
#define N_MBUFS	 2047
#define SENT_MAX 1024

static struct rte_mempool *mempool;
static struct grace *grace;
static struct neigh *neigh;
static uint64_t now_ns;

/* What left through params.send since the last call of forget(). */
static struct sent {
	uint8_t bytes[128];
	uint16_t len;
} sent[SENT_MAX];
static unsigned n_sent;

static const uint8_t own_mac[6] = {0x02, 0, 0, 0, 0, 0x01};
static const uint8_t gw_mac[6] = {0x02, 0, 0, 0, 0, 0xfe};
static const uint8_t host_mac[6] = {0x02, 0, 0, 0, 0, 0x55};
static const uint8_t other_mac[6] = {0x02, 0, 0, 0, 0, 0x66};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static inline void on_send(void *arg, uint16_t port_idx, struct rte_mbuf *frame)
{
	assert_ptr_equal(arg, &n_sent);
	assert_int_equal(port_idx, PORT);
	if (n_sent < SENT_MAX) {
		sent[n_sent].len = rte_pktmbuf_data_len(frame);
		assert_true(sent[n_sent].len <= sizeof(sent[0].bytes));
		memcpy(sent[n_sent].bytes, rte_pktmbuf_mtod(frame, void *), sent[n_sent].len);
	}
	n_sent++;
	rte_pktmbuf_free(frame);
}

static inline void forget(void)
{
	n_sent = 0;
}

static inline struct ip_addr ip(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

static inline void start(uint32_t max_entries, bool has_gateways)
{
	static struct neigh_link link;

	link = (struct neigh_link){.port_idx = PORT, .n_ifaddrs = 3, .n_pool = 3};
	memcpy(&link.mac, own_mac, 6);
	assert_int_equal(ip_ifaddr_parse("192.0.2.1/24", &link.ifaddrs[0]), 0);
	assert_int_equal(ip_ifaddr_parse("2001:db8::1/64", &link.ifaddrs[1]), 0);
	assert_int_equal(ip_ifaddr_parse("10.9.0.1/16", &link.ifaddrs[2]), 0);
	assert_int_equal(ip_prefix_parse("198.51.100.0/28", &link.pool[0]), 0);
	/* The gateway lies in a pool prefix, and is not ours for that. */
	assert_int_equal(ip_prefix_parse("192.0.2.248/29", &link.pool[1]), 0);
	assert_int_equal(ip_prefix_parse("2001:db8:0:1::/64", &link.pool[2]), 0);
	if (has_gateways) {
		link.gateway4 = ip("192.0.2.254");
		link.gateway6 = ip("2001:db8::fe");
	}
	n_sent = 0;
	now_ns = 1000 * NS_IN_S;
	grace = grace_create(2);
	neigh = neigh_create(&(struct neigh_params){.links = &link,
		.n_links = 1,
		.max_entries = max_entries,
		.mempool = mempool,
		.grace = grace,
		.send = on_send,
		.send_arg = &n_sent});
	assert_non_null(neigh);
}

/* Every packet given to neigh must be back in the pool. */
static inline void stop(void)
{
	neigh_destroy(neigh);
	assert_int_equal(grace_pending(grace), 0);
	grace_destroy(grace);
	assert_int_equal(rte_mempool_avail_count(mempool), N_MBUFS);
}

static inline int setup(void **state)
{
	start(64, true);
	return 0;
}

static inline int setup_without_gateways(void **state)
{
	start(64, false);
	return 0;
}

static inline int teardown(void **state)
{
	stop();
	return 0;
}

static inline struct neigh_counters counters(void)
{
	struct neigh_counters c;

	neigh_counters_get(neigh, &c);
	return c;
}

static inline struct rte_mbuf *mbuf_of(const uint8_t *bytes, size_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(mempool);

	assert_non_null(m);
	/* At the very end of its room: a read past it is a read past the mbuf. */
	m->data_off = (uint16_t)(m->buf_len - len);
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), bytes, len);
	return m;
}

static inline void input(const uint8_t *bytes, size_t len)
{
	neigh_input(neigh, PORT, mbuf_of(bytes, len), now_ns);
}

/* Nothing comes out of it, and it is counted. */
static inline void expect_ignored(const uint8_t *bytes, size_t len)
{
	struct neigh_counters before = counters();
	unsigned n_before = n_sent;

	input(bytes, len);
	before.input_dropped++;
	assert_memory_equal(&(struct neigh_counters[1]){counters()}, &before, sizeof(before));
	assert_int_equal(n_sent, n_before);
}

static inline void expect_sent(unsigned i, const uint8_t *bytes, size_t len)
{
	assert_true(i < n_sent);
	assert_int_equal(sent[i].len, len);
	assert_memory_equal(sent[i].bytes, bytes, len);
}

static inline void tick_at(uint64_t at_ns)
{
	now_ns = at_ns;
	neigh_tick(neigh, now_ns);
	grace_poll(grace);
}

/* ARP */

#define ARP_BYTES    42
#define ARP_BYTES_IN 60

struct arp {
	const uint8_t *eth_dst;
	uint16_t op;
	const uint8_t *sha;
	const char *spa;
	const uint8_t *tha; /* NULL: zeros */
	const char *tpa;
};

/* Written out by hand, so that the library's own writer is not its judge. */
static inline const uint8_t *arp(const struct arp *a)
{
	static uint8_t f[ARP_BYTES_IN];
	struct ip_addr spa = ip(a->spa), tpa = ip(a->tpa);

	memset(f, 0, sizeof(f));
	memcpy(f, a->eth_dst, 6);
	memcpy(f + 6, a->sha, 6);
	memcpy(f + 12, "\x08\x06\x00\x01\x08\x00\x06\x04", 8);
	store_be16(f + 20, a->op);
	memcpy(f + 22, a->sha, 6);
	memcpy(f + 28, spa.bytes + 12, 4);
	if (a->tha != NULL)
		memcpy(f + 32, a->tha, 6);
	memcpy(f + 38, tpa.bytes + 12, 4);
	return f;
}

static inline const uint8_t *arp_ask(const uint8_t *sha, const char *spa, const char *tpa)
{
	return arp(&(struct arp){broadcast, 1, sha, spa, NULL, tpa});
}

static inline const uint8_t *arp_answer(const uint8_t *sha, const char *spa)
{
	return arp(&(struct arp){own_mac, 2, sha, spa, own_mac, "192.0.2.1"});
}

/* Neighbour discovery */

#define NS	 135
#define NA	 136
#define ND_BYTES 86

struct nd {
	uint8_t type;
	const uint8_t *eth_dst, *eth_src;
	const char *src, *dst, *target;
	uint8_t flags;
	const uint8_t *mac; /* of the option; NULL: none */
};

static inline void set_checksum(uint8_t *f, size_t len)
{
	uint32_t sum = (uint32_t)(len - 54) + 58;

	store_be16(f + 56, 0);
	for (size_t at = 22; at < len; at++)
		sum += at % 2 == 0 ? (uint32_t)f[at] << 8 : f[at];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	store_be16(f + 56, (uint16_t)~sum);
}

static inline const uint8_t *nd(const struct nd *p, size_t *len)
{
	static uint8_t f[ND_BYTES];
	struct ip_addr src = ip(p->src), dst = ip(p->dst), target = ip(p->target);

	memset(f, 0, sizeof(f));
	*len = p->mac != NULL ? ND_BYTES : ND_BYTES - 8;
	memcpy(f, p->eth_dst, 6);
	memcpy(f + 6, p->eth_src, 6);
	memcpy(f + 12, "\x86\xdd\x60", 3);
	store_be16(f + 18, (uint16_t)(*len - 54));
	f[20] = 58;
	f[21] = 255;
	memcpy(f + 22, src.bytes, 16);
	memcpy(f + 38, dst.bytes, 16);
	f[54] = p->type;
	f[58] = p->flags;
	memcpy(f + 62, target.bytes, 16);
	if (p->mac != NULL) {
		f[78] = p->type == NS ? 1 : 2;
		f[79] = 1;
		memcpy(f + 80, p->mac, 6);
	}
	set_checksum(f, *len);
	return f;
}

static const uint8_t group_1[6] = {0x33, 0x33, 0xff, 0, 0, 0x01};
static const uint8_t group_fe[6] = {0x33, 0x33, 0xff, 0, 0, 0xfe};
static const uint8_t all_nodes[6] = {0x33, 0x33, 0, 0, 0, 0x01};

static const struct nd host_asks = {
	NS, group_1, host_mac, "2001:db8::55", "ff02::1:ff00:1", "2001:db8::1", 0, host_mac};
static const struct nd gateway_answers = {
	NA, own_mac, gw_mac, "2001:db8::fe", "2001:db8::1", "2001:db8::fe", 0x60, gw_mac};

static inline void input_nd(const struct nd *p)
{
	size_t len;
	const uint8_t *f = nd(p, &len);

	input(f, len);
}

static inline void expect_nd_ignored(const struct nd *p)
{
	size_t len;
	const uint8_t *f = nd(p, &len);

	expect_ignored(f, len);
}

static inline void expect_nd_sent(unsigned i, const struct nd *p)
{
	size_t len;
	const uint8_t *f = nd(p, &len);

	expect_sent(i, f, len);
}

/* Resolution */

enum outcome { RESOLVED, WAITS, UNREACHABLE };

static inline enum outcome resolve(const char *dst, const uint8_t *mac)
{
	struct rte_ether_addr out = {{0}};
	struct ip_addr a = ip(dst);
	bool is_unreachable = true;

	if (neigh_resolve(neigh, PORT, &a, &out, &is_unreachable)) {
		assert_false(is_unreachable);
		if (mac != NULL)
			assert_memory_equal(&out, mac, 6);
		return RESOLVED;
	}
	assert_true(rte_is_zero_ether_addr(&out));
	return is_unreachable ? UNREACHABLE : WAITS;
}

/* A frame with a number in it, and no destination yet. */
static inline const uint8_t *packet(uint8_t nr)
{
	static uint8_t f[ARP_BYTES_IN];

	memset(f, nr, sizeof(f));
	memcpy(f, "\0\0\0\0\0\0", 6);
	memcpy(f + 6, own_mac, 6);
	return f;
}

static inline void hold(const char *dst, uint8_t nr)
{
	struct ip_addr a = ip(dst);

	neigh_hold(neigh, PORT, &a, mbuf_of(packet(nr), ARP_BYTES_IN), now_ns);
}

static inline void expect_packet_sent(unsigned i, uint8_t nr, const uint8_t *mac)
{
	uint8_t f[ARP_BYTES_IN];

	memcpy(f, packet(nr), sizeof(f));
	memcpy(f, mac, 6);
	expect_sent(i, f, sizeof(f));
}

static inline void learn_gateways(void)
{
	tick_at(now_ns);
	input(arp_answer(gw_mac, "192.0.2.254"), ARP_BYTES_IN);
	input_nd(&gateway_answers);
	assert_int_equal(resolve("8.8.8.8", gw_mac), RESOLVED);
	assert_int_equal(resolve("2001:4860::8888", gw_mac), RESOLVED);
	forget();
}

#define LINK_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define HOST_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_without_gateways, teardown)

static inline void start_world(void)
{
	eal_start();
	mempool = rte_pktmbuf_pool_create("test", N_MBUFS, 0, 0, 512, SOCKET_ID_ANY);
	if (mempool == NULL)
		exit(1);
}

#endif
