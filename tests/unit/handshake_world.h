/* handshake_world.h - the handshake thread in a world of its own: real messages from far ends on
 * one side, played workers and the real control side on the other. The tests turn it by hand.
 */
#ifndef PORTIER_TESTS_HANDSHAKE_WORLD_H
#define PORTIER_TESTS_HANDSHAKE_WORLD_H

#include "handshake/handshake.h"
#include "handshake/impl.h"

#include "eal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/time.h"
#include "cookie/cookie.h"

#define MAX_PEERS   8
#define N_WORKERS   2
#define QUEUE_MSGS  64
#define ORDER_SLOTS 16
#define MBUFS	    255
#define PRIV_BYTES  64
#define WALL_S	    1700000000

struct world {
	struct grace *grace;
	struct peers *peers;
	struct keypairs *keypairs;
	struct rte_mempool *mbufs;
	struct handshake_params params;
	struct handshake *h;
	struct stats_handshake stats;
	uint8_t public_key[32]; /* the gateway's */
	uint64_t now_ns;
};

/* The far end. */
struct party {
	struct noise_local local;
	struct noise_remote gateway;
	struct cookie_maker maker;
	struct cookie_checker checker;
	struct peer_conf conf; /* as the gateway is told of it */
	uint32_t peer_idx;
	struct peer_path path;
};

static inline uint64_t real_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_IN_S + (uint64_t)ts.tv_nsec;
}

static inline int setup(void **state)
{
	static const char *names[3] = {"msgs", "events", "orders"};
	struct world *w = calloc(1, sizeof(*w));
	uint8_t private_key[32];
	struct crypto_x25519_key *key;
	char name[16];

	w->now_ns = 1000 * NS_IN_S;
	w->grace = grace_create(1);
	w->peers = peers_create(&(struct peer_params){.max_peers = MAX_PEERS,
		.n_workers = N_WORKERS,
		.grace = w->grace,
		.socket_id = -1});
	w->keypairs = keypairs_create(N_WORKERS, MAX_PEERS);
	w->mbufs = rte_pktmbuf_pool_create("mbufs", MBUFS, 0, PRIV_BYTES, 2048, SOCKET_ID_ANY);
	assert_true(w->peers && w->keypairs && w->mbufs);
	crypto_random(private_key, sizeof(private_key));
	key = crypto_x25519_key_create(private_key);
	crypto_x25519_key_public(key, w->public_key);
	crypto_x25519_key_destroy(key);
	w->params = (struct handshake_params){
		.peers = w->peers,
		.keypairs = w->keypairs,
		.grace = w->grace,
		.mbufs = w->mbufs,
		.timing = noise_timing_default,
		.queue_msgs = QUEUE_MSGS,
		.home_shift = 1,
		.stats = &w->stats,
		.now_ns = real_now_ns,
		.socket_id = -1,
		.from_control = mbox_create("from_control", 64, true, -1),
		.to_control = mbox_create("to_control", 4, false, -1),
	};
	memcpy(w->params.private_key, private_key, 32);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		struct mbox **m[3] = {&w->params.lanes[i].msgs, &w->params.lanes[i].events,
			&w->params.lanes[i].orders};
		uint32_t n_slots[3] = {
			128, peer_events_n_slots(w->keypairs, MAX_PEERS), ORDER_SLOTS};

		for (unsigned k = 0; k < 3; k++) {
			snprintf(name, sizeof(name), "%s%u", names[k], i);
			*m[k] = mbox_create(name, n_slots[k], k < 2, -1);
			assert_non_null(*m[k]);
		}
	}
	peers_connect(w->peers, w->params.from_control, w->params.to_control);
	w->h = handshake_create(&w->params);
	assert_non_null(w->h);
	*state = w;
	return 0;
}

static inline uint64_t counted(const struct world *w, enum stats_handshake_counter c)
{
	return w->stats.counter[c];
}

#define COUNTED(w, c) counted(w, STATS_HANDSHAKE_##c)

static inline unsigned turn(struct world *w)
{
	unsigned n = handshake_turn(
		w->h, w->now_ns, WALL_S + w->now_ns / NS_IN_S, (uint32_t)(w->now_ns % NS_IN_S));

	peers_poll(w->peers);
	return n;
}

static inline void turns(struct world *w)
{
	while (turn(w) > 0)
		;
}

/* --- the far end --- */

static inline void party_init(struct world *w, struct party *p, unsigned n)
{
	uint8_t private_key[32];

	memset(p, 0, sizeof(*p));
	crypto_random(private_key, sizeof(private_key));
	assert_int_equal(noise_local_init(&p->local, private_key), 0);
	memcpy(p->conf.public_key, p->local.public_key, 32);
	crypto_random(p->conf.preshared_key, 32);
	p->conf.address4 = ip_from_v4((const uint8_t[]){10, 0, 0, (uint8_t)n});
	noise_remote_init(&p->gateway, &p->local, w->public_key, p->conf.preshared_key);
	cookie_maker_init(&p->maker, w->public_key);
	cookie_checker_init(&p->checker, p->local.public_key);
	p->path.remote.addr = ip_from_v4((const uint8_t[]){192, 0, 2, (uint8_t)n});
	p->path.remote.port = (uint16_t)(5000 + n);
	p->path.local = ip_from_v4((const uint8_t[]){203, 0, 113, 1});
	p->path.port_idx = 3;
}

static inline void party_fini(struct party *p)
{
	noise_remote_fini(&p->gateway);
	noise_local_fini(&p->local);
	cookie_maker_fini(&p->maker);
	cookie_checker_fini(&p->checker);
}

/* Known to the gateway, with its preshared key. */
static inline void party_add(struct world *w, struct party *p, unsigned n)
{
	const char *culprit;

	party_init(w, p, n);
	assert_int_equal(peer_add(w->peers, &p->conf, &p->peer_idx, &culprit), 0);
	turns(w);
}

static inline void party_add_with_endpoint(struct world *w, struct party *p, unsigned n)
{
	const char *culprit;

	party_init(w, p, n);
	p->conf.endpoint = p->path.remote;
	p->conf.persistent_keepalive_s = 25;
	assert_int_equal(peer_add(w->peers, &p->conf, &p->peer_idx, &culprit), 0);
	turns(w);
}

static inline struct wgmsg_initiation party_begin(struct world *w, struct party *p, uint32_t idx)
{
	struct wgmsg_initiation msg;
	uint8_t ephemeral[32], timestamp[NOISE_TIMESTAMP_BYTES];

	/* Timestamps are 16 ms apart at least. */
	w->now_ns += 20 * NS_IN_MS;
	noise_timestamp_build(
		WALL_S + w->now_ns / NS_IN_S, (uint32_t)(w->now_ns % NS_IN_S), timestamp);
	crypto_random(ephemeral, sizeof(ephemeral));
	assert_int_equal(
		noise_initiation_create(&p->gateway, &p->local, idx, ephemeral, timestamp, &msg),
		NOISE_OK);
	cookie_macs_add(&p->maker, (uint8_t *)&msg, sizeof(msg), w->now_ns);
	return msg;
}

/* --- played workers --- */

static inline void deliver(struct world *w, unsigned worker, const void *msg, uint16_t len,
	const struct peer_path *path)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->mbufs);

	assert_non_null(m);
	/* As if outer headers had been here: the answer must not look at them. */
	m->ol_flags = RTE_MBUF_F_RX_VLAN;
	memcpy(rte_mbuf_to_priv(m), path, sizeof(*path));
	if (len > 0)
		memcpy(rte_pktmbuf_append(m, len), msg, len);
	assert_true(mbox_push(w->params.lanes[worker].msgs, m));
}

static inline struct peer_order *next_order(struct world *w, unsigned worker)
{
	void *o;

	return mbox_pop_burst(w->params.lanes[worker].orders, &o, 1) == 1 ? o : NULL;
}

static inline struct peer_order *expect_order(
	struct world *w, unsigned worker, enum peer_order_kind kind, uint32_t peer_idx)
{
	struct peer_order *o = next_order(w, worker);

	assert_non_null(o);
	assert_int_equal(o->kind, kind);
	assert_int_equal(o->peer_idx, peer_idx);
	return o;
}

static inline void order_done(struct peer_order *o)
{
	rte_pktmbuf_free(o->pkt);
	peer_order_put(o);
}

static inline void expect_no_order(struct world *w)
{
	for (unsigned i = 0; i < N_WORKERS; i++)
		assert_int_equal(mbox_count(w->params.lanes[i].orders), 0);
}

static inline void drop_orders(struct world *w)
{
	struct peer_order *o;

	for (unsigned i = 0; i < N_WORKERS; i++)
		while ((o = next_order(w, i)))
			order_done(o);
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	/* Every order comes back, whatever became of it. */
	drop_orders(w);
	assert_int_equal(rte_mempool_avail_count(w->h->orders), w->h->orders->size);
	handshake_destroy(w->h);
	peers_destroy(w->peers);
	keypairs_destroy(w->keypairs);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		mbox_destroy(w->params.lanes[i].msgs);
		mbox_destroy(w->params.lanes[i].events);
		mbox_destroy(w->params.lanes[i].orders);
	}
	mbox_destroy(w->params.from_control);
	mbox_destroy(w->params.to_control);
	grace_destroy(w->grace);
	/* Every buffer came back, whatever happened to its message. */
	assert_int_equal(rte_mempool_avail_count(w->mbufs), MBUFS);
	rte_mempool_free(w->mbufs);
	free(w);
	return 0;
}

static const void *pkt_data(const struct rte_mbuf *m, size_t len)
{
	assert_non_null(m);
	assert_int_equal(m->pkt_len, len);
	assert_int_equal(m->data_len, len);
	assert_int_equal(m->ol_flags, 0);
	return rte_pktmbuf_mtod(m, const void *);
}

/* The party opens the response that comes with an INSTALL, and both ends have the same keys. */
static inline void party_complete(struct world *w, struct party *p, const struct peer_order *o)
{
	const struct wgmsg_response *resp = pkt_data(o->pkt, sizeof(*resp));
	struct noise_keypair theirs;

	assert_int_equal(cookie_check(&p->checker, (const uint8_t *)resp, sizeof(*resp),
				 &p->path.remote, false, w->now_ns),
		COOKIE_MAC1_OK);
	assert_int_equal(noise_response_open(&p->gateway, &p->local, resp, &theirs), NOISE_OK);
	assert_memory_equal(theirs.send_key, o->recv_key, 32);
	assert_memory_equal(theirs.recv_key, o->send_key, 32);
	assert_int_equal(theirs.remote_idx, o->local_idx);
	assert_int_equal(theirs.local_idx, o->remote_idx);
	assert_false(o->is_initiator);
	assert_int_equal(o->created_ns, w->now_ns);
	assert_memory_equal(&o->path, &p->path, sizeof(p->path));
}

/* A whole handshake, begun by the party; returns our index. The home is 1 (0 plus home_shift). */
static inline uint32_t party_handshake(struct world *w, struct party *p)
{
	struct wgmsg_initiation msg = party_begin(w, p, 0x1234);
	struct peer_order *o;
	uint32_t idx;

	deliver(w, 0, &msg, sizeof(msg), &p->path);
	turns(w);
	o = next_order(w, 1);
	assert_non_null(o);
	if (o->kind == PEER_ORDER_SET) {
		order_done(o);
		o = next_order(w, 1);
	}
	assert_int_equal(o->kind, PEER_ORDER_INSTALL);
	party_complete(w, p, o);
	idx = o->local_idx;
	order_done(o);
	return idx;
}

#define HS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
