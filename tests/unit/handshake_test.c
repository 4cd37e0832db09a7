/* handshake_test.c - the handshake thread, turn by turn: real messages from a second party on one
 * side, played workers and the real control side on the other. */
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

static uint64_t real_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_IN_S + (uint64_t)ts.tv_nsec;
}

static int setup(void **state)
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

static uint64_t counted(const struct world *w, enum stats_handshake_counter c)
{
	return w->stats.counter[c];
}

#define COUNTED(w, c) counted(w, STATS_HANDSHAKE_##c)

static unsigned turn(struct world *w)
{
	unsigned n = handshake_turn(
		w->h, w->now_ns, WALL_S + w->now_ns / NS_IN_S, (uint32_t)(w->now_ns % NS_IN_S));

	peers_poll(w->peers);
	return n;
}

static void turns(struct world *w)
{
	while (turn(w) > 0)
		;
}

/* --- the far end --- */

static void party_init(struct world *w, struct party *p, unsigned n)
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

static void party_fini(struct party *p)
{
	noise_remote_fini(&p->gateway);
	noise_local_fini(&p->local);
	cookie_maker_fini(&p->maker);
	cookie_checker_fini(&p->checker);
}

/* Known to the gateway, with its preshared key. */
static void party_add(struct world *w, struct party *p, unsigned n)
{
	const char *culprit;

	party_init(w, p, n);
	assert_int_equal(peer_add(w->peers, &p->conf, &p->peer_idx, &culprit), 0);
	turns(w);
}

static void party_add_with_endpoint(struct world *w, struct party *p, unsigned n)
{
	const char *culprit;

	party_init(w, p, n);
	p->conf.endpoint = p->path.remote;
	p->conf.persistent_keepalive_s = 25;
	assert_int_equal(peer_add(w->peers, &p->conf, &p->peer_idx, &culprit), 0);
	turns(w);
}

static struct wgmsg_initiation party_begin(struct world *w, struct party *p, uint32_t idx)
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

static void deliver(struct world *w, unsigned worker, const void *msg, uint16_t len,
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

static struct peer_order *next_order(struct world *w, unsigned worker)
{
	void *o;

	return mbox_pop_burst(w->params.lanes[worker].orders, &o, 1) == 1 ? o : NULL;
}

static struct peer_order *expect_order(
	struct world *w, unsigned worker, enum peer_order_kind kind, uint32_t peer_idx)
{
	struct peer_order *o = next_order(w, worker);

	assert_non_null(o);
	assert_int_equal(o->kind, kind);
	assert_int_equal(o->peer_idx, peer_idx);
	return o;
}

static void order_done(struct peer_order *o)
{
	rte_pktmbuf_free(o->pkt);
	peer_order_put(o);
}

static void expect_no_order(struct world *w)
{
	for (unsigned i = 0; i < N_WORKERS; i++)
		assert_int_equal(mbox_count(w->params.lanes[i].orders), 0);
}

static void drop_orders(struct world *w)
{
	struct peer_order *o;

	for (unsigned i = 0; i < N_WORKERS; i++)
		while ((o = next_order(w, i)))
			order_done(o);
}

static int teardown(void **state)
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
static void party_complete(struct world *w, struct party *p, const struct peer_order *o)
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
static uint32_t party_handshake(struct world *w, struct party *p)
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

/* --- responder --- */

static void test_initiation_is_answered(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	struct peer_order *o;
	struct party p;

	party_add(w, &p, 1);
	expect_no_order(w);
	assert_int_equal(peer_home(w->peers, p.peer_idx), PEER_HOME_NONE);
	msg = party_begin(w, &p, 77);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	/* Home is the next worker after the one it came by, as home_shift says. */
	assert_int_equal(peer_home(w->peers, p.peer_idx), 1);
	order_done(expect_order(w, 1, PEER_ORDER_SET, p.peer_idx));
	o = expect_order(w, 1, PEER_ORDER_INSTALL, p.peer_idx);
	party_complete(w, &p, o);
	assert_int_equal(keypairs_worker(w->keypairs, o->local_idx), 1);
	assert_int_equal(o->remote_idx, 77);
	order_done(o);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, received), 1);
	assert_int_equal(COUNTED(w, initiations_in), 1);
	assert_int_equal(COUNTED(w, responses_out), 1);

	/* The home stays, whoever receives the next one. */
	msg = party_begin(w, &p, 78);
	deliver(w, 1, &msg, sizeof(msg), &p.path);
	turns(w);
	o = expect_order(w, 1, PEER_ORDER_INSTALL, p.peer_idx);
	party_complete(w, &p, o);
	order_done(o);
	party_fini(&p);
}

static void test_each_byte_counts(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg, bad;
	struct party p;

	party_add(w, &p, 1);
	msg = party_begin(w, &p, 1);
	for (size_t i = 0; i < sizeof(msg) - sizeof(msg.mac2); i++) {
		bad = msg;
		((uint8_t *)&bad)[i] ^= 0x40;
		deliver(w, 0, &bad, sizeof(bad), &p.path);
		turns(w);
		expect_no_order(w);
	}
	assert_int_equal(COUNTED(w, rejected), 4);   /* the type */
	assert_int_equal(COUNTED(w, bad_mac1), 128); /* all else */
	assert_int_equal(peer_home(w->peers, p.peer_idx), PEER_HOME_NONE);
	/* With a MAC1 that is right (anyone can make one) Noise decides. */
	for (size_t i = 8; i < offsetof(struct wgmsg_initiation, mac1); i++) {
		bad = msg;
		((uint8_t *)&bad)[i] ^= 0x40;
		cookie_macs_add(&p.maker, (uint8_t *)&bad, sizeof(bad), w->now_ns);
		deliver(w, 0, &bad, sizeof(bad), &p.path);
		turns(w);
		expect_no_order(w);
	}
	assert_int_equal(COUNTED(w, rejected), 4 + 108);
	/* Nothing of it was believed: the real one still passes. */
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	assert_int_equal(COUNTED(w, responses_out), 1);
	drop_orders(w);
	party_fini(&p);
}

static void test_unknown_and_replayed(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	struct party p, stranger;

	party_add(w, &p, 1);
	party_init(w, &stranger, 2);
	msg = party_begin(w, &stranger, 5);
	deliver(w, 0, &msg, sizeof(msg), &stranger.path);
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, unknown_peer), 1);

	msg = party_begin(w, &p, 5);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	drop_orders(w);
	deliver(w, 1, &msg, sizeof(msg), &p.path);
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, replayed), 1);
	assert_int_equal(COUNTED(w, rejected), 0);
	assert_int_equal(COUNTED(w, responses_out), 1);
	party_fini(&p);
	party_fini(&stranger);
}

static void test_flood_of_one_peer(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	uint64_t start_ns;
	struct party p, other;

	party_add(w, &p, 1);
	party_add(w, &other, 2);
	start_ns = w->now_ns;
	for (unsigned n = 0; n < 60; n++) {
		msg = party_begin(w, &p, n);
		/* All in one second, whatever their timestamps say. */
		w->now_ns = start_ns + n;
		deliver(w, 0, &msg, sizeof(msg), &p.path);
		turns(w);
		for (struct peer_order *o; (o = next_order(w, 1)); order_done(o))
			if (o->kind == PEER_ORDER_INSTALL)
				peer_event_retired(w->params.lanes[1].events, o->local_idx);
		w->now_ns = start_ns + (n + 1) * 20 * NS_IN_MS;
	}
	assert_int_equal(COUNTED(w, initiations_in), 50);
	assert_int_equal(COUNTED(w, flooded), 10);
	/* Others are not concerned, and a second later neither is this one. */
	party_handshake(w, &other);
	w->now_ns = start_ns + 2 * NS_IN_S;
	party_handshake(w, &p);
	party_fini(&p);
	party_fini(&other);
}

static void test_garbage_of_every_length(void **state)
{
	struct world *w = *state;
	unsigned long seed = eal_test_seed(6);
	uint8_t bytes[2048];
	struct party p;

	srandom((unsigned)seed);
	party_add(w, &p, 1);
	for (uint16_t len = 0; len < 400; len++) {
		for (uint8_t type = 0; type < 6; type++) {
			for (uint16_t i = 0; i < len; i++)
				bytes[i] = (uint8_t)random();
			if (len >= 4)
				store_le32(bytes, type);
			deliver(w, type % N_WORKERS, bytes, len, &p.path);
		}
		turns(w);
	}
	expect_no_order(w);
	assert_int_equal(COUNTED(w, received), 2400);
	assert_int_equal(COUNTED(w, rejected) + COUNTED(w, bad_mac1), 2400);
	assert_int_equal(COUNTED(w, bad_mac1), 2);
	party_fini(&p);
}

static void test_truncated_and_segmented(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	struct rte_mbuf *m, *tail;
	struct party p;

	party_add(w, &p, 1);
	msg = party_begin(w, &p, 1);
	for (uint16_t len = 0; len < sizeof(msg); len++) {
		deliver(w, 0, &msg, len, &p.path);
		turns(w);
	}
	m = rte_pktmbuf_alloc(w->mbufs);
	tail = rte_pktmbuf_alloc(w->mbufs);
	memcpy(rte_pktmbuf_append(m, 100), &msg, 100);
	memcpy(rte_pktmbuf_append(tail, 48), (uint8_t *)&msg + 100, 48);
	memcpy(rte_mbuf_to_priv(m), &p.path, sizeof(p.path));
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	assert_true(mbox_push(w->params.lanes[0].msgs, m));
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, rejected), 149);
	party_fini(&p);
}

/* --- under load --- */

static void test_cookie_under_load(void **state)
{
	struct world *w = *state;
	const struct wgmsg_cookie_reply *reply;
	struct wgmsg_initiation msg;
	uint8_t junk[148] = {WGMSG_INITIATION};
	struct peer_order *o;
	struct party p;

	party_add(w, &p, 1);
	/* An eighth of 64 is 8; less is no load. */
	for (unsigned i = 0; i < 7; i++)
		deliver(w, i % 2, junk, sizeof(junk), &p.path);
	turns(w);
	assert_int_equal(COUNTED(w, under_load), 0);
	for (unsigned i = 0; i < 8; i++)
		deliver(w, i % 2, junk, sizeof(junk), &p.path);
	turns(w);
	assert_true(COUNTED(w, under_load) > 0);
	assert_int_equal(COUNTED(w, bad_mac1), 15);
	expect_no_order(w);

	/* Junk is dropped; a message with MAC1 gets a cookie, by the worker that received it. */
	msg = party_begin(w, &p, 42);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	o = expect_order(w, 0, PEER_ORDER_SEND, PEER_NONE);
	assert_memory_equal(&o->path, &p.path, sizeof(p.path));
	reply = pkt_data(o->pkt, sizeof(*reply));
	assert_int_equal(load_le32(reply->receiver_idx_le32), 42);
	assert_true(cookie_reply_open(&p.maker, reply, w->now_ns));
	order_done(o);
	assert_int_equal(COUNTED(w, cookie_sent), 1);
	assert_int_equal(COUNTED(w, initiations_in), 0);

	/* With the cookie it passes; from another address it does not. */
	msg = party_begin(w, &p, 43);
	p.path.remote.port++;
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	order_done(expect_order(w, 0, PEER_ORDER_SEND, PEER_NONE));
	p.path.remote.port--;
	party_handshake(w, &p);

	/* One source has five at once and twenty a second. */
	msg = party_begin(w, &p, 44);
	for (unsigned i = 0; i < 10; i++) {
		deliver(w, 0, &msg, sizeof(msg), &p.path);
		turns(w);
	}
	assert_true(COUNTED(w, rate_limited) >= 5);
	drop_orders(w);

	/* A second without load ends it: no cookie is asked for. */
	w->now_ns += 2 * NS_IN_S;
	cookie_maker_fini(&p.maker);
	cookie_maker_init(&p.maker, w->public_key);
	party_handshake(w, &p);
	assert_int_equal(COUNTED(w, cookie_sent), 2);
	party_fini(&p);
}

/* --- initiator --- */

/* Our initiation arrives at the party, which answers. */
static struct wgmsg_response party_respond(
	struct world *w, struct party *p, const struct peer_order *o, struct noise_keypair *out)
{
	const struct wgmsg_initiation *msg = pkt_data(o->pkt, sizeof(*msg));
	struct wgmsg_response resp;
	struct noise_hello hello;
	uint8_t ephemeral[32];

	assert_int_equal(cookie_check(&p->checker, (const uint8_t *)msg, sizeof(*msg),
				 &p->path.remote, false, w->now_ns),
		COOKIE_MAC1_OK);
	assert_int_equal(noise_initiation_open(&p->local, msg, &hello), NOISE_OK);
	assert_memory_equal(hello.public_key, w->public_key, 32);
	assert_int_equal(noise_initiation_accept(&p->gateway, &hello), NOISE_OK);
	crypto_random(ephemeral, sizeof(ephemeral));
	assert_int_equal(noise_response_create(&p->gateway, 0x99, ephemeral, &resp, out), NOISE_OK);
	cookie_macs_add(&p->maker, (uint8_t *)&resp, sizeof(resp), w->now_ns);
	return resp;
}

static void test_start_begins_a_handshake(void **state)
{
	struct world *w = *state;
	struct noise_keypair theirs;
	struct wgmsg_response resp, bad;
	struct peer_order *o;
	struct party p;
	unsigned home;

	party_add_with_endpoint(w, &p, 1);
	home = peer_home(w->peers, p.peer_idx);
	assert_int_equal(home, p.peer_idx % N_WORKERS);
	/* The home worker learns of it, so that its timers run. */
	o = expect_order(w, home, PEER_ORDER_SET, p.peer_idx);
	assert_int_equal(o->persistent_keepalive_ns, 25 * NS_IN_S);
	assert_true(ip_endpoint_equal(&o->path.remote, &p.path.remote));
	order_done(o);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);

	assert_true(peer_event_start(w->params.lanes[home].events, p.peer_idx));
	turns(w);
	o = expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx);
	assert_true(ip_endpoint_equal(&o->path.remote, &p.path.remote));
	resp = party_respond(w, &p, o, &theirs);
	order_done(o);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, initiations_out), 1);

	/* Any byte wrong: refused, and the real one still passes. */
	for (size_t i = 0; i < offsetof(struct wgmsg_response, mac1); i++) {
		bad = resp;
		((uint8_t *)&bad)[i] ^= 1;
		cookie_macs_add(&p.maker, (uint8_t *)&bad, sizeof(bad), w->now_ns);
		if (i >= 4 && i < 8)
			continue; /* the sender's index is the sender's */
		deliver(w, 1, &bad, sizeof(bad), &p.path);
		turns(w);
		expect_no_order(w);
	}
	assert_int_equal(COUNTED(w, rejected), 60 - 4);
	deliver(w, 1, &resp, sizeof(resp), &p.path);
	turns(w);
	o = expect_order(w, home, PEER_ORDER_INSTALL, p.peer_idx);
	assert_null(o->pkt);
	assert_true(o->is_initiator);
	assert_memory_equal(o->send_key, theirs.recv_key, 32);
	assert_memory_equal(o->recv_key, theirs.send_key, 32);
	assert_int_equal(o->local_idx, theirs.remote_idx);
	assert_int_equal(o->remote_idx, 0x99);
	assert_memory_equal(&o->path, &p.path, sizeof(p.path));
	order_done(o);
	assert_int_equal(COUNTED(w, responses_in), 1);
	/* The series ended, and the answer is good once. */
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	deliver(w, 1, &resp, sizeof(resp), &p.path);
	w->now_ns += 200 * NS_IN_S;
	turns(w);
	expect_no_order(w);
	party_fini(&p);
}

static void test_retries_and_gives_up(void **state)
{
	struct world *w = *state;
	const struct noise_timing *t = &w->params.timing;
	uint64_t start_ns, last_ns = 0;
	struct peer_order *o;
	struct party p;
	unsigned n = 0, home;

	party_add_with_endpoint(w, &p, 1);
	drop_orders(w);
	home = peer_home(w->peers, p.peer_idx);
	start_ns = w->now_ns;
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	while (w->now_ns - start_ns < t->rekey_attempt_ns) {
		uint64_t deadline_ns;

		o = expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx);
		pkt_data(o->pkt, sizeof(struct wgmsg_initiation));
		order_done(o);
		n++;
		deadline_ns = handshake_next_deadline_ns(w->h);
		assert_true(deadline_ns >= w->now_ns + t->rekey_timeout_ns);
		assert_true(deadline_ns <= w->now_ns + t->rekey_timeout_ns * 16 / 15 + 1);
		/* Not a moment before. */
		w->now_ns = deadline_ns - 1;
		turns(w);
		expect_no_order(w);
		w->now_ns = deadline_ns;
		turns(w);
	}
	order_done(expect_order(w, home, PEER_ORDER_GIVE_UP, p.peer_idx));
	last_ns = w->now_ns;
	assert_true(n >= 17 && n <= 18);
	assert_true(last_ns - start_ns < t->rekey_attempt_ns + 6 * NS_IN_S);
	assert_int_equal(COUNTED(w, initiations_out), n);
	assert_int_equal(COUNTED(w, gave_up), 1);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	w->now_ns += 100 * NS_IN_S;
	turns(w);
	expect_no_order(w);
	/* Asked again, it begins again; and no slot was lost on the way. */
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	order_done(expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx));
	assert_int_equal(w->keypairs->n_used[home], 1);
	party_fini(&p);
}

static void test_cookie_reply_goes_into_the_next_initiation(void **state)
{
	struct world *w = *state;
	struct wgmsg_cookie_reply reply;
	uint8_t secret[32], nonce[CRYPTO_XNONCE_BYTES];
	struct ip_endpoint gateway = {.port = 51820};
	struct peer_order *o;
	struct party p;
	unsigned home;

	party_add_with_endpoint(w, &p, 1);
	drop_orders(w);
	home = peer_home(w->peers, p.peer_idx);
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	o = expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx);
	crypto_random(secret, sizeof(secret));
	crypto_random(nonce, sizeof(nonce));
	cookie_reply_build(&p.checker, pkt_data(o->pkt, sizeof(struct wgmsg_initiation)),
		sizeof(struct wgmsg_initiation), &gateway, secret, nonce, w->now_ns, &reply);
	order_done(o);
	reply.nonce[0] ^= 1;
	deliver(w, 0, &reply, sizeof(reply), &p.path);
	turns(w);
	assert_int_equal(COUNTED(w, rejected), 1);
	reply.nonce[0] ^= 1;
	deliver(w, 0, &reply, sizeof(reply), &p.path);
	turns(w);
	assert_int_equal(COUNTED(w, cookies_in), 1);
	expect_no_order(w);
	w->now_ns = handshake_next_deadline_ns(w->h);
	turns(w);
	o = expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx);
	assert_int_equal(cookie_check(&p.checker, pkt_data(o->pkt, sizeof(struct wgmsg_initiation)),
				 sizeof(struct wgmsg_initiation), &gateway, true, w->now_ns),
		COOKIE_MAC2_OK);
	order_done(o);
	party_fini(&p);
}

/* Both began at once. Ours is dropped for theirs, but goes on until their keys are confirmed. */
static void test_crossing_initiations(void **state)
{
	struct world *w = *state;
	struct party p;
	unsigned home;

	party_add_with_endpoint(w, &p, 2);
	drop_orders(w);
	home = peer_home(w->peers, p.peer_idx);
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	order_done(expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx));
	for (unsigned n = 0; n < 2; n++) {
		struct wgmsg_initiation msg = party_begin(w, &p, 7);
		struct peer_order *o;

		deliver(w, home, &msg, sizeof(msg), &p.path);
		turns(w);
		o = expect_order(w, home, PEER_ORDER_INSTALL, p.peer_idx);
		party_complete(w, &p, o);
		order_done(o);
		/* The slot that ours had reserved went to theirs. */
		assert_int_equal(w->keypairs->n_used[home], n + 1);
		/* Not confirmed yet: ours is repeated. */
		w->now_ns += 6 * NS_IN_S;
		turns(w);
		order_done(expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx));
	}
	peer_event_confirmed(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	w->now_ns += 200 * NS_IN_S;
	turns(w);
	expect_no_order(w);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	party_fini(&p);
}

static void test_start_without_endpoint(void **state)
{
	struct world *w = *state;
	struct party p;

	party_add(w, &p, 1);
	peer_event_start(w->params.lanes[0].events, p.peer_idx);
	peer_event_start(w->params.lanes[0].events, p.peer_idx + 1);
	peer_event_confirmed(w->params.lanes[0].events, p.peer_idx + 1);
	turns(w);
	expect_no_order(w);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	/* Once it was heard, it has one. */
	party_handshake(w, &p);
	peer_event_start(w->params.lanes[1].events, p.peer_idx);
	turns(w);
	order_done(expect_order(w, 1, PEER_ORDER_SEND_PEER, p.peer_idx));
	party_fini(&p);
}

static uint64_t earliest_retry_ns(struct world *w, const struct party *p)
{
	uint64_t min_ns = TIME_NEVER;

	for (unsigned i = 0; i < MAX_PEERS; i++) {
		uint64_t due_ns =
			noise_retry_deadline_ns(&peer_shake(w->peers, p[i].peer_idx)->retry);

		if (due_ns < min_ns)
			min_ns = due_ns;
	}
	return min_ns;
}

/* Many series: the heap gives each its turn in the order of time. */
static void test_many_series(void **state)
{
	struct world *w = *state;
	unsigned long seed = eal_test_seed(3);
	struct party p[MAX_PEERS];
	unsigned sent[MAX_PEERS] = {0};
	bool is_running[MAX_PEERS] = {false};

	srandom((unsigned)seed);
	for (unsigned i = 0; i < MAX_PEERS; i++)
		party_add_with_endpoint(w, &p[i], i + 1);
	drop_orders(w);
	for (unsigned step = 0; step < 600; step++) {
		unsigned i = (unsigned)random() % MAX_PEERS;
		struct mbox *events = w->params.lanes[peer_home(w->peers, p[i].peer_idx)].events;
		uint64_t deadline_ns;
		struct peer_order *o;

		if (random() % 3 == 0) {
			peer_event_confirmed(events, p[i].peer_idx);
			is_running[i] = false;
		} else if (random() % 2) {
			peer_event_start(events, p[i].peer_idx);
			is_running[i] = true;
		}
		turns(w);
		deadline_ns = handshake_next_deadline_ns(w->h);
		if (deadline_ns != TIME_NEVER && random() % 2)
			w->now_ns = deadline_ns;
		else
			w->now_ns += (uint64_t)random() % NS_IN_S;
		turns(w);
		for (unsigned k = 0; k < N_WORKERS; k++)
			for (; (o = next_order(w, k)); order_done(o)) {
				assert_int_equal(o->kind, PEER_ORDER_SEND_PEER);
				for (i = 0; i < MAX_PEERS; i++)
					if (p[i].peer_idx == o->peer_idx)
						sent[i]++;
			}
		deadline_ns = handshake_next_deadline_ns(w->h);
		assert_true(deadline_ns > w->now_ns);
		assert_true(deadline_ns == earliest_retry_ns(w, p));
	}
	for (unsigned i = 0; i < MAX_PEERS; i++) {
		assert_true(sent[i] > 0);
		if (is_running[i])
			peer_event_confirmed(
				w->params.lanes[peer_home(w->peers, p[i].peer_idx)].events,
				p[i].peer_idx);
		party_fini(&p[i]);
	}
	turns(w);
	assert_int_equal(w->h->n_heap, 0);
	drop_orders(w);
}

/* --- what control says --- */

static void test_set_changes_key_and_endpoint(void **state)
{
	struct world *w = *state;
	const char *culprit;
	struct peer_order *o;
	struct party p;

	party_add(w, &p, 1);
	party_handshake(w, &p);
	crypto_random(p.conf.preshared_key, 32);
	noise_remote_set_preshared_key(&p.gateway, p.conf.preshared_key);
	p.conf.persistent_keepalive_s = 9;
	assert_int_equal(ip_endpoint_parse("198.51.100.5:77", &p.conf.endpoint), 0);
	assert_int_equal(peer_set(w->peers, p.peer_idx, &p.conf, &culprit), 0);
	turns(w);
	o = expect_order(w, 1, PEER_ORDER_SET, p.peer_idx);
	assert_int_equal(o->persistent_keepalive_ns, 9 * NS_IN_S);
	assert_true(ip_endpoint_equal(&o->path.remote, &p.conf.endpoint));
	assert_true(ip_is_none(&o->path.local));
	order_done(o);
	peer_event_start(w->params.lanes[1].events, p.peer_idx);
	turns(w);
	o = expect_order(w, 1, PEER_ORDER_SEND_PEER, p.peer_idx);
	assert_true(ip_endpoint_equal(&o->path.remote, &p.conf.endpoint));
	order_done(o);
	/* Opens only if both ends took the new preshared key. */
	party_handshake(w, &p);
	party_fini(&p);
}

static bool is_all_zero(const void *p, size_t len)
{
	const uint8_t *bytes = p;

	for (size_t i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static void test_del_wipes_and_recycles(void **state)
{
	struct world *w = *state;
	struct peer_order *o;
	uint32_t idx[3], old_idx;
	struct party p, next;
	const char *culprit;

	party_add_with_endpoint(w, &p, 1);
	drop_orders(w);
	old_idx = p.peer_idx;
	peer_home_set(w->peers, p.peer_idx, 1);
	for (unsigned n = 0; n < 3; n++)
		idx[n] = party_handshake(w, &p);
	peer_event_start(w->params.lanes[1].events, p.peer_idx);
	turns(w);
	order_done(expect_order(w, 1, PEER_ORDER_SEND_PEER, p.peer_idx));
	assert_int_equal(w->keypairs->n_used[1], 4);

	assert_int_equal(peer_del(w->peers, p.peer_idx), 0);
	grace_poll(w->grace);
	turns(w);
	assert_true(is_all_zero(peer_shake(w->peers, p.peer_idx), sizeof(struct peer_shake)));
	assert_int_equal(w->h->n_heap, 0);
	o = expect_order(w, 1, PEER_ORDER_DEL, p.peer_idx);
	/* Until the worker let go, the number is not used again. */
	party_init(w, &next, 2);
	assert_int_equal(peer_add(w->peers, &next.conf, &next.peer_idx, &culprit), 0);
	turns(w);
	assert_int_not_equal(next.peer_idx, old_idx);
	/* The worker's answer. */
	for (unsigned n = 0; n < 3; n++)
		assert_true(peer_event_retired(w->params.lanes[1].events, idx[n]));
	assert_true(peer_event_msg(w->params.lanes[1].events, o->msg));
	order_done(o);
	turns(w);
	assert_int_equal(peer_home(w->peers, old_idx), PEER_HOME_NONE);

	/* Same number, same slots, other indices. */
	party_fini(&p);
	party_add(w, &p, 3);
	assert_int_equal(p.peer_idx, old_idx);
	for (unsigned n = 0; n < 4; n++) {
		uint32_t fresh = party_handshake(w, &p);

		for (unsigned k = 0; k < 3; k++)
			assert_int_not_equal(fresh, idx[k]);
	}
	assert_int_equal(w->keypairs->n_used[1], 4);
	party_fini(&p);
	party_fini(&next);
}

static void test_del_without_home(void **state)
{
	struct world *w = *state;
	struct party p, q;

	party_add(w, &p, 1);
	assert_int_equal(peer_del(w->peers, p.peer_idx), 0);
	grace_poll(w->grace);
	turns(w);
	expect_no_order(w);
	party_add(w, &q, 2);
	assert_int_equal(q.peer_idx, p.peer_idx);
	party_handshake(w, &q);
	party_fini(&p);
	party_fini(&q);
}

/* --- what runs out --- */

static void test_slots_run_out(void **state)
{
	struct world *w = *state;
	uint32_t n_slots = w->keypairs->n_slots, idx[64];
	struct wgmsg_initiation msg;
	struct party p;

	assert_int_equal(n_slots, 64);
	party_add(w, &p, 1);
	for (uint32_t n = 0; n < n_slots; n++) {
		w->now_ns += NS_IN_S / 20;
		idx[n] = party_handshake(w, &p);
	}
	for (unsigned n = 0; n < 3; n++) {
		w->now_ns += NS_IN_S;
		msg = party_begin(w, &p, 1);
		deliver(w, 0, &msg, sizeof(msg), &p.path);
		turns(w);
		expect_no_order(w);
		assert_int_equal(COUNTED(w, no_slot), n + 1);
	}
	peer_event_start(w->params.lanes[1].events, p.peer_idx);
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, no_slot), 4);
	peer_event_confirmed(w->params.lanes[1].events, p.peer_idx);
	/* Indices that are not given out, or twice, free nothing. */
	peer_event_retired(w->params.lanes[1].events, idx[7] ^ 1);
	peer_event_retired(w->params.lanes[1].events, 0);
	peer_event_retired(w->params.lanes[1].events, idx[5]);
	peer_event_retired(w->params.lanes[1].events, idx[5]);
	turns(w);
	w->now_ns += NS_IN_S;
	assert_int_not_equal(party_handshake(w, &p), idx[5]);
	msg = party_begin(w, &p, 1);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	expect_no_order(w);
	/* A peer without a home finds one where there is room. */
	party_fini(&p);
	party_add(w, &p, 2);
	msg = party_begin(w, &p, 1);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	assert_int_equal(peer_home(w->peers, p.peer_idx), 0);
	drop_orders(w);
	party_fini(&p);
}

static void test_worker_that_does_not_listen(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	unsigned n_lost = 0;
	struct party p, q;

	party_add(w, &p, 1);
	party_add(w, &q, 2);
	party_handshake(w, &q);
	/* The mailbox of the home takes 15; the rest is lost, and its slots are not. */
	for (unsigned n = 0; n < 200; n++) {
		w->now_ns += NS_IN_S / 20;
		msg = party_begin(w, &p, n);
		deliver(w, 0, &msg, sizeof(msg), &p.path);
		turns(w);
	}
	n_lost = (unsigned)COUNTED(w, lost);
	assert_int_equal(COUNTED(w, responses_out), 15);
	assert_int_equal(n_lost, 186);
	assert_true(w->keypairs->n_used[1] <= 17);

	/* A peer that can be begun with needs to be announced: that waits. */
	party_fini(&q);
	party_add_with_endpoint(w, &q, 4);
	q.peer_idx = peer_find_key(w->peers, q.conf.public_key);
	assert_int_equal(q.peer_idx % N_WORKERS, 0);
	party_fini(&q);
	party_add_with_endpoint(w, &q, 5);
	assert_int_equal(q.peer_idx % N_WORKERS, 1);
	assert_int_equal(peer_home(w->peers, q.peer_idx), PEER_HOME_NONE);
	assert_true(handshake_next_deadline_ns(w->h) < w->now_ns + NS_IN_S);
	order_done(next_order(w, 1));
	turns(w);
	assert_int_equal(peer_home(w->peers, q.peer_idx), 1);

	/* Deleting waits as well. */
	assert_int_equal(peer_del(w->peers, p.peer_idx), 0);
	assert_int_equal(peer_del(w->peers, q.peer_idx), 0);
	grace_poll(w->grace);
	turns(w);
	assert_true(handshake_next_deadline_ns(w->h) < w->now_ns + NS_IN_S);
	drop_orders(w);
	w->now_ns += NS_IN_S;
	turns(w);
	for (unsigned n = 0; n < 2; n++) {
		struct peer_order *o = next_order(w, 1);

		assert_non_null(o);
		assert_int_equal(o->kind, PEER_ORDER_DEL);
		assert_true(peer_event_msg(w->params.lanes[1].events, o->msg));
		order_done(o);
	}
	turns(w);
	party_fini(&p);
	party_fini(&q);
	/* All numbers but those of the two that live are free again. */
	for (unsigned n = 0; n < MAX_PEERS - 2; n++) {
		party_add(w, &p, n + 10);
		party_fini(&p);
	}
}

static void test_control_that_does_not_listen(void **state)
{
	struct world *w = *state;
	struct party p[MAX_PEERS];
	const char *culprit;

	for (unsigned n = 0; n < MAX_PEERS; n++) {
		party_init(w, &p[n], n + 1);
		assert_int_equal(peer_add(w->peers, &p[n].conf, &p[n].peer_idx, &culprit), 0);
	}
	/* The way back takes three; the others wait. */
	while (handshake_turn(w->h, w->now_ns, WALL_S, 0) > 0)
		;
	assert_int_equal(mbox_count(w->params.to_control), 3);
	assert_true(handshake_next_deadline_ns(w->h) < TIME_NEVER);
	for (unsigned n = 0; n < 4; n++)
		turn(w);
	assert_true(handshake_next_deadline_ns(w->h) == TIME_NEVER);
	assert_int_equal(mbox_count(w->params.to_control), 0);
	for (unsigned n = 0; n < MAX_PEERS; n++)
		party_fini(&p[n]);
}

static void test_no_buffers(void **state)
{
	struct world *w = *state;
	struct rte_mbuf *all[MBUFS];
	struct party p;
	unsigned home;

	party_add_with_endpoint(w, &p, 1);
	drop_orders(w);
	home = peer_home(w->peers, p.peer_idx);
	assert_int_equal(rte_pktmbuf_alloc_bulk(w->mbufs, all, MBUFS), 0);
	peer_event_start(w->params.lanes[home].events, p.peer_idx);
	turns(w);
	expect_no_order(w);
	assert_int_equal(COUNTED(w, lost), 1);
	rte_pktmbuf_free_bulk(all, MBUFS);
	w->now_ns = handshake_next_deadline_ns(w->h);
	turns(w);
	order_done(expect_order(w, home, PEER_ORDER_SEND_PEER, p.peer_idx));
	party_fini(&p);
}

/* --- the thread itself --- */

static void *run(void *arg)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	pthread_setaffinity_np(pthread_self(), sizeof(all), &all);
	handshake_run(arg);
	return NULL;
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

/* With nothing to do the thread sleeps, and no grace period waits for it. */
static void expect_grace_passes(struct world *w)
{
	uint64_t give_up_ns = real_now_ns() + 20 * NS_IN_S;
	bool is_over = false;

	assert_int_equal(grace_defer(w->grace, set_true, &is_over), 0);
	while (!is_over) {
		grace_poll(w->grace);
		sched_yield();
		assert_true(real_now_ns() < give_up_ns);
	}
}

static void test_thread_sleeps_and_wakes(void **state)
{
	struct world *w = *state;
	pthread_t thread;
	struct party p;

	party_init(w, &p, 1);
	assert_int_equal(pthread_create(&thread, NULL, run, w->h), 0);
	for (unsigned round = 0; round < 50; round++) {
		const char *culprit;
		struct wgmsg_initiation msg;
		struct peer_order *o;

		assert_int_equal(peer_add(w->peers, &p.conf, &p.peer_idx, &culprit), 0);
		msg = party_begin(w, &p, round);
		/* Control's message and a worker's arrive in any order: the initiator repeats. */
		do {
			if (mbox_count(w->params.lanes[0].msgs) == 0)
				deliver(w, 0, &msg, sizeof(msg), &p.path);
			peers_poll(w->peers);
			sched_yield();
		} while (!(o = next_order(w, 1)));
		do {
			bool is_del = o && o->kind == PEER_ORDER_DEL;

			if (o && o->kind == PEER_ORDER_INSTALL) {
				assert_int_equal(peer_del(w->peers, p.peer_idx), 0);
				peer_event_retired(w->params.lanes[1].events, o->local_idx);
			} else if (is_del) {
				peer_event_msg(w->params.lanes[1].events, o->msg);
			}
			if (o)
				order_done(o);
			if (is_del)
				break;
			grace_poll(w->grace);
			sched_yield();
			o = next_order(w, 1);
		} while (true);
		while (peer_home(w->peers, p.peer_idx) != PEER_HOME_NONE)
			sched_yield();
		peers_poll(w->peers);
		expect_grace_passes(w);
	}
	handshake_stop(w->h);
	pthread_join(thread, NULL);
	assert_int_equal(COUNTED(w, responses_out), 50);
	party_fini(&p);
}

static void test_destroy_with_work_left(void **state)
{
	struct world *w = *state;
	struct wgmsg_initiation msg;
	const char *culprit;
	struct party p, q;

	party_add(w, &p, 1);
	msg = party_begin(w, &p, 1);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	turns(w);
	deliver(w, 0, &msg, sizeof(msg), &p.path);
	for (unsigned n = 0; n < 6; n++) {
		party_init(w, &q, n + 2);
		assert_int_equal(peer_add(w->peers, &q.conf, &q.peer_idx, &culprit), 0);
		party_fini(&q);
	}
	while (handshake_turn(w->h, w->now_ns, WALL_S, 0) > 0)
		;
	party_fini(&p);
	handshake_destroy(NULL);
	/* teardown destroys with orders, messages and returns still in the mailboxes */
}

#define HS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HS_TEST(test_initiation_is_answered),
		HS_TEST(test_each_byte_counts),
		HS_TEST(test_unknown_and_replayed),
		HS_TEST(test_flood_of_one_peer),
		HS_TEST(test_garbage_of_every_length),
		HS_TEST(test_truncated_and_segmented),
		HS_TEST(test_cookie_under_load),
		HS_TEST(test_start_begins_a_handshake),
		HS_TEST(test_retries_and_gives_up),
		HS_TEST(test_cookie_reply_goes_into_the_next_initiation),
		HS_TEST(test_crossing_initiations),
		HS_TEST(test_start_without_endpoint),
		HS_TEST(test_many_series),
		HS_TEST(test_set_changes_key_and_endpoint),
		HS_TEST(test_del_wipes_and_recycles),
		HS_TEST(test_del_without_home),
		HS_TEST(test_slots_run_out),
		HS_TEST(test_worker_that_does_not_listen),
		HS_TEST(test_control_that_does_not_listen),
		HS_TEST(test_no_buffers),
		HS_TEST(test_thread_sleeps_and_wakes),
		HS_TEST(test_destroy_with_work_left),
	};

	eal_start();
	if (crypto_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
