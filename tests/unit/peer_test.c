/* peer_test.c - a peer's life between control, a played handshake thread and readers that run. */
#include "eal.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Memory that runs out on request, and that is looked at when it is given back. */
static int allocs_left = -1;

static void *peer_calloc(size_t n, size_t size)
{
	if (allocs_left == 0)
		return NULL;
	if (allocs_left > 0)
		allocs_left--;
	return calloc(n, size);
}

static uint8_t secret[32]; /* the preshared key of every peer here */

static bool holds_secret(const void *p, size_t len)
{
	return memmem(p, len, secret, sizeof(secret)) != NULL;
}

static unsigned n_freed;

static void peer_free(void *p)
{
	if (p) {
		n_freed++;
		assert_false(holds_secret(p, malloc_usable_size(p)));
	}
	free(p);
}

#define calloc(n, size) peer_calloc(n, size)
#define free		peer_free
#include "../../lib/peer/peer.c"
#undef calloc
#undef free

#include "peer_world.h"

static int setup(void **state)
{
	memset(secret, 0xa5, sizeof(secret));
	secret[0] = 1;
	*state = world_begin(2, 4);
	assert_non_null(*state);
	return 0;
}

static struct peer_conf conf_of(unsigned n)
{
	struct peer_conf c = {.forwarding = true, .max_leases = n};

	snprintf(c.name, sizeof(c.name), "peer%u", n);
	c.public_key[0] = (uint8_t)n;
	c.public_key[31] = 1;
	memcpy(c.preshared_key, secret, sizeof(secret));
	c.address4 = ip_from_v4((const uint8_t[]){10, 0, (uint8_t)(n >> 8), (uint8_t)n});
	return c;
}

static uint32_t add(struct world *w, const struct peer_conf *conf)
{
	const char *culprit = NULL;
	uint32_t idx = PEER_NONE;

	assert_int_equal(peer_add(w->peers, conf, &idx, &culprit), 0);
	assert_int_not_equal(idx, PEER_NONE);
	return idx;
}

/* The handshake thread's turn: the next message, or NULL. */
static struct peer_msg *take(struct world *w)
{
	void *msg;

	return mbox_pop_burst(w->to, &msg, 1) == 1 ? msg : NULL;
}

static void give_back(struct world *w, struct peer_msg *msg)
{
	assert_true(mbox_push(w->from, msg));
	peers_poll(w->peers);
}

static void serve_all(struct world *w)
{
	struct peer_msg *msg;

	grace_poll(w->grace);
	while ((msg = take(w)))
		give_back(w, msg);
}

static void test_add_is_seen_everywhere(void **state)
{
	struct world *w = *state;
	struct peer_conf conf = conf_of(1);
	char text[CRYPTO_KEY_TEXT_CHARS];
	struct peer_status status;
	struct peer_msg *msg;
	uint32_t idx, cursor = 0;

	conf.persistent_keepalive_s = 25;
	assert_int_equal(ip_endpoint_parse("192.0.2.1:51820", &conf.endpoint), 0);
	assert_int_equal(ip_addr_parse("2001:db8::5", &conf.address6), 0);
	memset(conf.name + 6, 'x', 4); /* behind the NUL: not part of the name */
	idx = add(w, &conf);
	assert_int_equal(peers_count(w->peers), 1);
	assert_int_equal(peer_find(w->peers, "peer1"), idx);
	assert_int_equal(peer_find(w->peers, crypto_key_format(conf.public_key, text)), idx);
	assert_int_equal(peer_find_key(w->peers, conf.public_key), idx);
	assert_int_equal(peer_find_inner(w->peers, &conf.address4), idx);
	assert_int_equal(peer_find_inner(w->peers, &conf.address6), idx);
	assert_int_equal(peer_find(w->peers, ""), PEER_NONE);
	assert_int_equal(peer_find(w->peers, "peer2"), PEER_NONE);
	assert_int_equal(
		peer_find(w->peers, "not a key, but as long as one would be......"), PEER_NONE);
	assert_int_equal(peer_next(w->peers, &cursor), idx);
	assert_int_equal(peer_next(w->peers, &cursor), PEER_NONE);
	assert_true(ip_equal(&peer_view(w->peers, idx)->address6, &conf.address6));
	assert_int_equal(peer_view(w->peers, idx)->persistent_keepalive_ns, 25 * NS_IN_S);
	assert_null(peer_view(w->peers, idx + 1));
	assert_null(peer_view(w->peers, PEER_NONE));
	assert_int_equal(peer_home(w->peers, idx), PEER_HOME_NONE);
	peer_status_get(w->peers, idx, &status);
	assert_true(ip_endpoint_equal(&status.endpoint, &conf.endpoint));

	msg = take(w);
	assert_int_equal(msg->kind, PEER_MSG_ADD);
	assert_int_equal(msg->peer_idx, idx);
	assert_memory_equal(msg->public_key, conf.public_key, 32);
	assert_memory_equal(msg->preshared_key, secret, 32);
	assert_true(msg->sets_endpoint);
	assert_int_equal(msg->persistent_keepalive_ns, 25 * NS_IN_S);
	n_freed = 0;
	give_back(w, msg);
	assert_int_equal(n_freed, 1);
}

static void test_add_refuses(void **state)
{
	struct world *w = *state;
	struct peer_conf one = conf_of(1), conf;
	const char *culprit = NULL;
	uint32_t idx = 77;

	assert_int_equal(ip_addr_parse("2001:db8::1", &one.address6), 0);
	add(w, &one);
	serve_all(w);

	conf = conf_of(2);
	memcpy(conf.public_key, one.public_key, 32);
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EEXIST);
	assert_string_equal(culprit, "public key");
	conf = conf_of(2);
	strcpy(conf.name, one.name);
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EEXIST);
	assert_string_equal(culprit, "name");
	conf = conf_of(2);
	conf.address4 = one.address4;
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EEXIST);
	assert_string_equal(culprit, "address");
	conf = conf_of(2);
	conf.address6 = one.address6;
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EEXIST);
	assert_string_equal(culprit, "IPv6 address");
	conf = conf_of(2);
	memset(&conf.address4, 0, sizeof(conf.address4));
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EINVAL);
	assert_string_equal(culprit, "address");
	conf = conf_of(2);
	conf.address4 = one.address6;
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EINVAL);
	assert_string_equal(culprit, "address");
	conf = conf_of(2);
	conf.address6 = conf.address4;
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EINVAL);
	assert_string_equal(culprit, "IPv6 address");
	conf = conf_of(2);
	memset(conf.public_key, 0, 32);
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EINVAL);
	assert_string_equal(culprit, "public key");
	conf = conf_of(2);
	memset(conf.name, 'n', sizeof(conf.name));
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EINVAL);
	assert_string_equal(culprit, "name");

	assert_int_equal(idx, 77);
	assert_int_equal(peers_count(w->peers), 1);
	assert_null(take(w));
	/* Two peers without a name are fine, and nothing of what was refused is left behind. */
	conf = conf_of(2);
	memset(conf.name, 0, sizeof(conf.name));
	add(w, &conf);
	conf = conf_of(3);
	memset(conf.name, 0, sizeof(conf.name));
	add(w, &conf);
	assert_int_equal(peers_count(w->peers), 3);
}

static void test_failed_add_leaves_nothing(void **state)
{
	struct world *w = *state;
	const char *culprit = NULL;
	struct peer_conf conf;
	uint32_t idx = 77, n;

	/* Each allocation in turn. */
	conf = conf_of(1);
	for (n = 0;; n++) {
		int rc;

		allocs_left = (int)n;
		rc = peer_add(w->peers, &conf, &idx, &culprit);
		allocs_left = -1;
		grace_poll(w->grace);
		if (rc == 0)
			break;
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(idx, 77);
		assert_int_equal(peer_find(w->peers, "peer1"), PEER_NONE);
		assert_int_equal(peer_find_inner(w->peers, &conf.address4), PEER_NONE);
		assert_null(take(w));
	}
	assert_true(n >= 2);
	/* The mailbox holds three. */
	for (n = 2; n <= 3; n++) {
		conf = conf_of(n);
		add(w, &conf);
	}
	conf = conf_of(4);
	idx = 77;
	for (n = 0; n < 3 * MAX_PEERS; n++) {
		assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -EAGAIN);
		assert_int_equal(idx, 77);
		assert_int_equal(peer_find(w->peers, "peer4"), PEER_NONE);
		assert_int_equal(peer_find_key(w->peers, conf.public_key), PEER_NONE);
		grace_poll(w->grace);
	}
	assert_int_equal(peers_count(w->peers), 3);
	serve_all(w);
	add(w, &conf);
}

/* What a change of address and name does, with a reader that still looks at the old one. */
static void test_set_publishes_anew(void **state)
{
	struct world *w = *state;
	struct peer_conf one = conf_of(1), conf = one;
	const struct peer_view *before;
	const char *culprit = NULL;
	struct peer_msg *msg;
	uint32_t idx = add(w, &one);

	serve_all(w);
	grace_reader_online(w->grace, 0);
	before = peer_view(w->peers, idx);
	conf.address4 = conf_of(9).address4;
	assert_int_equal(ip_addr_parse("2001:db8::9", &conf.address6), 0);
	strcpy(conf.name, "nine");
	assert_int_equal(peer_set(w->peers, idx, &conf, &culprit), 0);
	grace_poll(w->grace);
	assert_true(ip_equal(&before->address4, &one.address4));
	assert_true(ip_equal(&peer_view(w->peers, idx)->address4, &conf.address4));
	grace_reader_offline(w->grace, 0);
	n_freed = 0;
	grace_poll(w->grace);
	assert_int_equal(n_freed, 1);
	assert_int_equal(peer_find_inner(w->peers, &one.address4), PEER_NONE);
	assert_int_equal(peer_find_inner(w->peers, &conf.address4), idx);
	assert_int_equal(peer_find_inner(w->peers, &conf.address6), idx);
	assert_int_equal(peer_find(w->peers, "nine"), idx);
	assert_int_equal(peer_find(w->peers, "peer1"), PEER_NONE);
	/* What it began came from addresses that it has no longer: its home worker hears so. */
	msg = take(w);
	assert_int_equal(msg->kind, PEER_MSG_SET);
	assert_true(msg->forgets_flows);
	give_back(w, msg);
	/* A limit is read from the view: nobody has to be told. */
	conf.limits.filter = FLOW_OPEN;
	conf.limits.max_sessions = 77;
	assert_int_equal(peer_set(w->peers, idx, &conf, &culprit), 0);
	assert_int_equal(peer_view(w->peers, idx)->limits.filter, FLOW_OPEN);
	assert_int_equal(peer_view(w->peers, idx)->limits.max_sessions, 77);
	assert_null(take(w));
	assert_int_equal(peer_set(w->peers, idx + 5, &conf, &culprit), -ENOENT);
}

/* It is what one says, and nothing of peer 10 is there. */
static void assert_unchanged(struct world *w, uint32_t idx, const struct peer_conf *one)
{
	struct peer_conf ten = conf_of(10);

	assert_int_equal(peer_find(w->peers, one->name), idx);
	assert_int_equal(peer_find(w->peers, ten.name), PEER_NONE);
	assert_int_equal(peer_find_inner(w->peers, &one->address4), idx);
	assert_int_equal(peer_find_inner(w->peers, &one->address6), idx);
	assert_int_equal(peer_find_inner(w->peers, &ten.address4), PEER_NONE);
	assert_int_equal(peer_conf_get(w->peers, idx)->persistent_keepalive_s, 0);
	assert_true(ip_equal(&peer_view(w->peers, idx)->address4, &one->address4));
}

static void test_set_that_fails_changes_nothing(void **state)
{
	struct world *w = *state;
	struct peer_conf one = conf_of(1), two = conf_of(2), conf = conf_of(10);
	const char *culprit = NULL;
	uint32_t idx;

	assert_int_equal(ip_addr_parse("2001:db8::9", &one.address6), 0);
	idx = add(w, &one);
	add(w, &two);
	serve_all(w);

	conf.persistent_keepalive_s = 7;
	strcpy(conf.name, two.name);
	assert_int_equal(peer_set(w->peers, idx, &conf, &culprit), -EEXIST);
	assert_string_equal(culprit, "name");
	assert_unchanged(w, idx, &one);

	strcpy(conf.name, conf_of(10).name);
	conf.address4 = two.address4;
	assert_int_equal(peer_set(w->peers, idx, &conf, &culprit), -EEXIST);
	assert_string_equal(culprit, "address");
	assert_unchanged(w, idx, &one);

	conf.address4 = conf_of(10).address4;
	for (allocs_left = 0; allocs_left < 2; allocs_left++) {
		int n = allocs_left;

		assert_int_equal(peer_set(w->peers, idx, &conf, &culprit), -ENOMEM);
		allocs_left = n;
	}
	allocs_left = -1;
	for (unsigned n = 0; n < 3; n++)
		assert_true(mbox_push(w->to, &two));
	assert_int_equal(peer_set(w->peers, idx, &conf, &culprit), -EAGAIN);
	for (unsigned n = 0; n < 3; n++)
		assert_ptr_equal(take(w), &two);
	assert_unchanged(w, idx, &one);
}

/* The public key stays; the rest is told to the handshake thread. */
static void test_set_is_told(void **state)
{
	struct world *w = *state;
	struct peer_conf one = conf_of(1), conf = conf_of(10);
	const char *culprit = NULL;
	struct peer_msg *msg;
	uint32_t idx = add(w, &one);

	serve_all(w);
	conf.public_key[5] ^= 1;
	conf.persistent_keepalive_s = 7;
	memset(conf.preshared_key, 0, 32);
	assert_int_equal(peer_set(w->peers, idx, &conf, &culprit), 0);
	assert_memory_equal(peer_conf_get(w->peers, idx)->public_key, one.public_key, 32);
	msg = take(w);
	assert_int_equal(msg->kind, PEER_MSG_SET);
	assert_int_equal(msg->persistent_keepalive_ns, 7 * NS_IN_S);
	assert_false(msg->sets_endpoint);
	assert_true(msg->forgets_flows);
	assert_memory_equal(msg->preshared_key, conf.preshared_key, 32);
	give_back(w, msg);
	assert_int_equal(ip_endpoint_parse("192.0.2.1:7", &conf.endpoint), 0);
	assert_int_equal(peer_set(w->peers, idx, &conf, &culprit), 0);
	msg = take(w);
	assert_true(msg->sets_endpoint);
	assert_false(msg->forgets_flows);
	give_back(w, msg);
	assert_int_equal(peer_set(w->peers, idx, &conf, &culprit), 0);
	assert_null(take(w));
}

/* The shorter one holds; what changes nothing is not told. */
static void test_heartbeat_is_told(void **state)
{
	struct world *w = *state;
	struct peer_conf one = conf_of(1);
	const char *culprit = NULL;
	struct peer_msg *msg;
	uint32_t idx;

	one.persistent_keepalive_s = 0;
	assert_int_equal(ip_endpoint_parse("192.0.2.1:7", &one.endpoint), 0);
	idx = add(w, &one);
	serve_all(w);
	assert_int_equal(peer_heartbeat_set(w->peers, idx, 25 * NS_IN_S), 0);
	msg = take(w);
	assert_int_equal(msg->kind, PEER_MSG_SET);
	assert_int_equal(msg->persistent_keepalive_ns, 25 * NS_IN_S);
	assert_false(msg->sets_endpoint || msg->forgets_flows);
	assert_memory_equal(msg->preshared_key, one.preshared_key, 32);
	give_back(w, msg);
	assert_int_equal(peer_heartbeat_set(w->peers, idx, 25 * NS_IN_S), 0);
	assert_null(take(w));
	assert_int_equal(peer_heartbeat(w->peers, idx), 25 * NS_IN_S);
	assert_int_equal(peers_heartbeats(w->peers), 1);

	one.persistent_keepalive_s = 10;
	assert_int_equal(peer_set(w->peers, idx, &one, &culprit), 0);
	msg = take(w);
	assert_int_equal(msg->persistent_keepalive_ns, 10 * NS_IN_S);
	give_back(w, msg);
	assert_int_equal(peer_heartbeat_set(w->peers, idx, 0), 0);
	assert_null(take(w));
	assert_int_equal(peers_heartbeats(w->peers), 0);
	assert_int_equal(peer_heartbeat_set(w->peers, idx, 5 * NS_IN_S), 0);
	msg = take(w);
	assert_int_equal(msg->persistent_keepalive_ns, 5 * NS_IN_S);
	give_back(w, msg);
	one.persistent_keepalive_s = 40;
	assert_int_equal(peer_set(w->peers, idx, &one, &culprit), 0);
	msg = take(w);
	assert_int_equal(msg->persistent_keepalive_ns, 5 * NS_IN_S);
	give_back(w, msg);
	/* The next one with the number has none. */
	assert_int_equal(peer_del(w->peers, idx), 0);
	assert_int_equal(peers_heartbeats(w->peers), 0);
	assert_int_equal(peer_heartbeat(w->peers, idx), 0);
	assert_int_equal(peer_heartbeat_set(w->peers, idx, NS_IN_S), -ENOENT);
}

static void test_del_reuses_the_number_only_when_all_let_go(void **state)
{
	struct world *w = *state;
	struct peer_conf conf = conf_of(1);
	const struct peer_view *seen;
	struct peer_status status;
	struct peer_msg *msg;
	uint32_t idx, other;

	idx = add(w, &conf);
	serve_all(w);
	peer_home_set(w->peers, idx, 1);
	peer_hot(w->peers, idx)->rx_bytes = 9;
	grace_reader_online(w->grace, 1);
	seen = peer_view(w->peers, idx);
	assert_int_equal(peer_del(w->peers, idx), 0);
	assert_int_equal(peer_del(w->peers, idx), -ENOENT);
	assert_int_equal(peers_count(w->peers), 0);
	assert_null(peer_view(w->peers, idx));
	assert_null(peer_conf_get(w->peers, idx));
	assert_int_equal(peer_find(w->peers, "peer1"), PEER_NONE);
	assert_int_equal(peer_find_key(w->peers, conf.public_key), PEER_NONE);
	assert_int_equal(peer_find_inner(w->peers, &conf.address4), PEER_NONE);
	peer_status_get(w->peers, idx, &status);
	assert_int_equal(status.rx_bytes, 0);
	assert_int_equal(status.home, PEER_HOME_NONE);
	assert_false(holds_secret(&w->peers->slots[idx], sizeof(w->peers->slots[idx])));

	/* A reader is inside: its view stays, and nobody is told yet. */
	grace_poll(w->grace);
	peers_poll(w->peers);
	assert_null(take(w));
	assert_true(ip_equal(&seen->address4, &conf.address4));
	grace_reader_quiescent(w->grace, 1);
	n_freed = 0;
	grace_poll(w->grace);
	assert_int_equal(n_freed, 1);
	msg = take(w);
	assert_int_equal(msg->kind, PEER_MSG_DEL);
	assert_int_equal(msg->peer_idx, idx);

	/* The same peer again, while the old number is on its way round. */
	other = add(w, &conf);
	assert_int_not_equal(other, idx);
	give_back(w, take(w));
	give_back(w, msg);
	peer_home_set(w->peers, idx, PEER_HOME_NONE);
	conf = conf_of(2);
	assert_int_equal(add(w, &conf), idx);
	assert_int_equal(peer_hot(w->peers, idx)->rx_bytes, 0);
	assert_int_equal(peer_hot(w->peers, other)->peer_idx, other);
	grace_reader_offline(w->grace, 1);
}

static void test_del_waits_for_room(void **state)
{
	struct world *w = *state;
	struct peer_conf conf;
	uint32_t idx[6];
	unsigned n_told = 0;

	for (unsigned n = 0; n < 6; n++) {
		conf = conf_of(n + 1);
		idx[n] = add(w, &conf);
		serve_all(w);
	}
	for (unsigned n = 0; n < 6; n++)
		assert_int_equal(peer_del(w->peers, idx[n]), 0);
	grace_poll(w->grace);
	assert_int_equal(mbox_count(w->to), 3);
	for (unsigned n = 0; n < 6; n++) {
		struct peer_msg *msg = take(w);

		assert_non_null(msg);
		assert_int_equal(msg->kind, PEER_MSG_DEL);
		n_told |= 1u << msg->peer_idx;
		give_back(w, msg);
	}
	assert_int_equal(n_told, 0x3f);
	assert_null(take(w));
}

static void test_full(void **state)
{
	struct world *w = *state;
	const char *culprit = NULL;
	struct peer_conf conf;
	uint32_t idx = 0;

	for (unsigned n = 1; n <= MAX_PEERS; n++) {
		conf = conf_of(n);
		idx = add(w, &conf);
		serve_all(w);
	}
	conf = conf_of(99);
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -ENOSPC);
	assert_int_equal(peers_max(w->peers), MAX_PEERS);
	assert_int_equal(peer_del(w->peers, idx), 0);
	assert_int_equal(peer_add(w->peers, &conf, &idx, &culprit), -ENOSPC);
	serve_all(w);
	add(w, &conf);
}

static void test_destroy_with_messages_on_their_way(void **state)
{
	struct world *w = *state;
	struct peer_conf conf = conf_of(1);
	uint32_t idx = add(w, &conf);
	void *msg;

	assert_int_equal(mbox_pop_burst(w->to, &msg, 1), 1);
	assert_true(mbox_push(w->from, msg));
	conf = conf_of(2);
	add(w, &conf);
	assert_int_equal(peer_del(w->peers, idx), 0);
	/* teardown destroys: the leak check and peer_free watch */
}

/* --- threads --- */

struct race {
	struct world *w;
	_Atomic bool is_over;
	_Atomic uint64_t n_seen, n_faults;
};

/* DPDK bound the first thread, and so its children, to one CPU: races need two. */
static void use_all_cpus(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(all), &all), 0);
}

/* Walks all inner addresses; what it finds must be that peer, as long as it does not let go. */
static void *reader(void *arg)
{
	struct race *r = arg;

	use_all_cpus();
	grace_reader_online(r->w->grace, 0);
	while (!atomic_load(&r->is_over)) {
		for (unsigned n = 1; n <= 4; n++) {
			struct ip_addr inner = conf_of(n).address4;
			uint32_t idx = peer_find_inner(r->w->peers, &inner);
			const struct peer_view *v;

			if (idx == PEER_NONE)
				continue;
			v = peer_view(r->w->peers, idx);
			if (!v)
				continue;
			atomic_fetch_add(&r->n_seen, 1);
			if (!ip_equal(&v->address4, &inner))
				atomic_fetch_add(&r->n_faults, 1);
		}
		grace_reader_quiescent(r->w->grace, 0);
	}
	grace_reader_offline(r->w->grace, 0);
	return NULL;
}

static void test_readers_never_meet_another_peer(void **state)
{
	struct world *w = *state;
	unsigned long seed = eal_test_seed(4);
	struct race r = {.w = w};
	uint32_t idx_of[5];
	pthread_t thread;

	srandom((unsigned)seed);
	memset(idx_of, 0xff, sizeof(idx_of));
	assert_int_equal(pthread_create(&thread, NULL, reader, &r), 0);
	for (unsigned round = 0; round < 20000 || atomic_load(&r.n_seen) == 0; round++) {
		unsigned n = 1 + (unsigned)random() % 4;
		struct peer_conf conf = conf_of(n);
		const char *culprit;

		if (idx_of[n] == PEER_NONE) {
			int rc = peer_add(w->peers, &conf, &idx_of[n], &culprit);

			assert_true(rc == 0 || rc == -ENOSPC);
		} else if (random() % 2) {
			conf.max_leases = round;
			assert_int_equal(peer_set(w->peers, idx_of[n], &conf, &culprit), 0);
		} else if (peers_count(w->peers) > 2) {
			/* Some stay, so that a reader that is slow finds any. */
			assert_int_equal(peer_del(w->peers, idx_of[n]), 0);
			idx_of[n] = PEER_NONE;
		}
		serve_all(w);
	}
	atomic_store(&r.is_over, true);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&r.n_faults), 0);
	serve_all(w);
}

#define N_PATHS 200000

static void *roaming_worker(void *arg)
{
	struct race *r = arg;
	struct peer_hot *hot = peer_hot(r->w->peers, 0);

	use_all_cpus();
	for (unsigned n = 1; n <= N_PATHS; n++) {
		struct peer_path path;

		memset(&path, (int)(n % 255 + 1), sizeof(path));
		peer_hot_path_set(hot, &path);
	}
	atomic_store(&r->is_over, true);
	return NULL;
}

static void test_status_is_never_torn(void **state)
{
	struct world *w = *state;
	struct peer_conf conf = conf_of(1);
	struct race r = {.w = w};
	struct peer_status status;
	pthread_t thread;

	assert_int_equal(add(w, &conf), 0);
	assert_int_equal(peer_hot(w->peers, 0)->session.deadline_ns, TIME_NEVER);
	assert_int_equal(pthread_create(&thread, NULL, roaming_worker, &r), 0);
	while (!atomic_load(&r.is_over)) {
		uint8_t bytes[18];

		peer_status_get(w->peers, 0, &status);
		memcpy(bytes, &status.endpoint.addr, 16);
		memcpy(bytes + 16, &status.endpoint.port, 2);
		for (unsigned n = 1; n < sizeof(bytes); n++)
			assert_int_equal(bytes[n], bytes[0]);
	}
	pthread_join(thread, NULL);
	assert_int_equal(peer_hot(w->peers, 0)->path_version, 2 * N_PATHS);
}

/* A worker that was stopped in the middle of a write does not stop control. */
static void test_status_gives_up_on_a_stopped_writer(void **state)
{
	struct world *w = *state;
	struct peer_conf conf = conf_of(1);
	struct peer_status status;
	uint32_t idx;

	assert_int_equal(ip_endpoint_parse("192.0.2.1:51820", &conf.endpoint), 0);
	idx = add(w, &conf);
	peer_hot(w->peers, idx)->path_version = 5;
	memset(&peer_hot(w->peers, idx)->path, 0xee, sizeof(struct peer_path));
	peer_status_get(w->peers, idx, &status);
	assert_true(ip_endpoint_equal(&status.endpoint, &conf.endpoint));
}

#define LIFE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIFE_TEST(test_add_is_seen_everywhere),
		LIFE_TEST(test_add_refuses),
		LIFE_TEST(test_failed_add_leaves_nothing),
		LIFE_TEST(test_set_publishes_anew),
		LIFE_TEST(test_set_that_fails_changes_nothing),
		LIFE_TEST(test_set_is_told),
		LIFE_TEST(test_heartbeat_is_told),
		LIFE_TEST(test_del_reuses_the_number_only_when_all_let_go),
		LIFE_TEST(test_del_waits_for_room),
		LIFE_TEST(test_full),
		LIFE_TEST(test_destroy_with_messages_on_their_way),
		LIFE_TEST(test_readers_never_meet_another_peer),
		LIFE_TEST(test_status_is_never_torn),
		LIFE_TEST(test_status_gives_up_on_a_stopped_writer),
	};

	eal_start();
	if (crypto_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
