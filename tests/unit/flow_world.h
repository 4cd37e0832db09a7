/* flow_world.h - one worker's flows over a small pool, a clock that the test moves, and short ways
 * to say what packet passes.
 */
#ifndef PORTIER_TEST_FLOW_WORLD_H
#define PORTIER_TEST_FLOW_WORLD_H

#include "flow/flow.h"

#include "seeded.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ICMP 1
#define TCP  6
#define UDP  17

#define UDP_NS	   (300 * NS_IN_S)
#define LONG_NS	   (7440 * NS_IN_S)
#define TRANS_NS   (240 * NS_IN_S)
#define ICMP_NS	   (60 * NS_IN_S)
#define REST_NS	   (120 * NS_IN_S)
#define LATE_NS	   (135 * NS_IN_MS) /* how late an end may be */
#define PORT_FIRST 2048
#define PORT_LAST  4095
#define BLOCK	   64

#define SYN FLOW_TCP_SYN
#define ACK FLOW_TCP_ACK
#define RST FLOW_TCP_RST
#define FIN FLOW_TCP_FIN

#define PUBLIC_A 0xc6336401 /* 198.51.100.1, of the pool 198.51.100.0/31 */
#define PUBLIC_B 0xc6336400
#define INNER	 0x0a000002
#define REMOTE	 0xcb007105

static struct {
	struct blocks *blocks;
	struct flows *flows;
	struct flow_conf conf;
	struct flow_limits limits;
	uint64_t now_ns;
} world;

static inline struct blocks *world_blocks(uint16_t port_last)
{
	struct blocks_conf conf = {
		.n_pool = 1,
		.port_first = PORT_FIRST,
		.port_last = port_last,
		.block_ports = BLOCK,
	};

	assert(ip_prefix_parse("198.51.100.0/31", &conf.pool[0]) == 0);
	return blocks_create(&conf);
}

static inline struct flow_conf world_conf(struct blocks *blocks, uint32_t max_sessions)
{
	return (struct flow_conf){
		.max_peers = 64,
		.max_sessions = max_sessions,
		.udp_ns = UDP_NS,
		.tcp_established_ns = LONG_NS,
		.tcp_transitory_ns = TRANS_NS,
		.icmp_ns = ICMP_NS,
		.rest_ns = REST_NS,
		.blocks = blocks,
		.random = random_bytes,
	};
}

static inline void world_begin(uint32_t max_sessions)
{
	world.blocks = world_blocks(PORT_LAST);
	world.conf = world_conf(world.blocks, max_sessions);
	world.flows = flows_create(&world.conf);
	world.limits = (struct flow_limits){.max_sessions = UINT32_MAX, .max_blocks = 4};
	world.now_ns = 1000 * NS_IN_S + random_below(NS_IN_S);
	assert(world.blocks && world.flows);
}

static inline void world_end(void)
{
	flows_destroy(world.flows);
	blocks_destroy(world.blocks);
	memset(&world, 0, sizeof(world));
}

/* Time passes; the worker's loop turns often. */
static inline void world_pass(uint64_t ns)
{
	uint64_t end_ns = world.now_ns + ns;

	while (world.now_ns < end_ns) {
		uint64_t left_ns = end_ns - world.now_ns;

		world.now_ns += left_ns < 100 * NS_IN_MS ? left_ns : 100 * NS_IN_MS;
		while (flow_turn(world.flows, world.now_ns, 64) == 64)
			;
	}
}

static inline struct flow_out_key out_key(
	uint32_t peer_idx, uint8_t proto, uint16_t inner_port, uint32_t remote, uint16_t port)
{
	return (struct flow_out_key){
		.peer_idx = peer_idx,
		.inner_v4 = INNER + peer_idx,
		.remote_v4 = remote,
		.inner_port = inner_port,
		.remote_port = port,
		.proto = proto,
	};
}

/* What comes back to s, from remote:port. */
static inline struct flow_in_key in_key(
	const struct flow_session *s, uint32_t remote, uint16_t port)
{
	return (struct flow_in_key){
		.public_v4 = s->public_v4,
		.remote_v4 = remote,
		.public_port = s->public_port,
		.remote_port = port,
		.proto = s->proto,
	};
}

static inline struct flow_session *find_out(const struct flow_out_key *key)
{
	struct flow_session *s;

	flow_find_out_burst(world.flows, key, 1, &s);
	return s;
}

static inline struct flow_session *find_in(const struct flow_in_key *key)
{
	struct flow_session *s;

	flow_find_in_burst(world.flows, key, 1, &s);
	return s;
}

/* A packet of a peer goes out by PUBLIC_A as a worker would send it: begun if need be. */
static inline enum flow_verdict send_packet(
	const struct flow_out_key *key, uint8_t tcp_flags, struct flow_session **out)
{
	struct flow_session *s = find_out(key);
	enum flow_verdict verdict = FLOW_OK;

	if (!s)
		verdict = flow_begin_out(
			world.flows, key, PUBLIC_A, tcp_flags, &world.limits, world.now_ns, &s);
	if (verdict == FLOW_OK)
		flow_sent(world.flows, s, tcp_flags, world.now_ns);
	if (verdict == FLOW_OK && out)
		*out = s;
	return verdict;
}

/* A packet comes in. */
static inline enum flow_verdict receive_packet(
	const struct flow_in_key *key, uint8_t tcp_flags, struct flow_session **out)
{
	struct flow_session *s = find_in(key);
	enum flow_verdict verdict = FLOW_OK;

	if (!s)
		verdict =
			flow_begin_in(world.flows, key, tcp_flags, &world.limits, world.now_ns, &s);
	if (verdict == FLOW_OK)
		flow_received(world.flows, s, tcp_flags, world.now_ns);
	if (verdict == FLOW_OK && out)
		*out = s;
	return verdict;
}

static inline int world_setup(void **state)
{
	world_begin(4096);
	return 0;
}

static inline int world_teardown(void **state)
{
	world_end();
	return 0;
}

static inline struct flow_session *begin_out(const struct flow_out_key *key, uint8_t flags)
{
	struct flow_session *s = NULL;

	if (send_packet(key, flags, &s) != FLOW_OK)
		abort();
	return s;
}

#endif
