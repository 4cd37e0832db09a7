/* flow.h - which packets are sent, and what they must look like when they arrive.
 *
 * Every packet has a number, and everything about it follows from that number and the seed: its
 * lease, its host on the Internet, its length, its payload. So the sink needs no list of what was
 * sent: it reads the number, and compares each byte.
 *
 * Threads: one.
 */
#ifndef PORTIER_BENCH_FLOW_H
#define PORTIER_BENCH_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "bench.h"

#define FLOW_HEADER_BYTES 28 /* IPv4 and UDP */
#define FLOW_MIN_BYTES	  (FLOW_HEADER_BYTES + 8)
#define FLOW_WINDOW_PKTS  8192 /* at most this many are under way */

/* One lease, or one session. Addresses and ports in host order. */
struct flow {
	uint32_t peer;
	uint32_t public_v4,
		inner_v4; /* public 0: the gateway chooses; the first packet out tells */
	uint16_t public_port, inner_port;
	uint32_t host_v4; /* of a session; 0: every packet another host */
	uint16_t host_port;
};

/* What a public side that the gateway chose must be one of. */
struct flow_pool {
	uint32_t first_v4, n_v4;
	uint16_t port_first, port_last;
};

enum flow_way {
	FLOW_IN = 0, /* Internet -> peer */
	FLOW_OUT,    /* peer -> Internet */
};

/* What the sink found. */
struct flow_tally {
	uint64_t sent, received;
	uint64_t lost, duplicated;
	uint64_t reordered; /* behind a later packet of its peer and way */
	uint64_t corrupt;   /* not, byte by byte, what was expected */
	uint64_t foreign;   /* no packet that is under way */
};

struct lab_flows {
	struct flow *flows;
	uint32_t n, max;
	uint32_t first, n_used; /* packets are spread over these, at random */
	bool in_order;		/* or each gets one, in turns */
	uint64_t order_began;	/* the number of the first such packet */
	struct flow_pool pool;
	uint8_t *is_taken; /* public sides that have been learnt: a bit each, by address and port */
	struct bench_size size;
	uint64_t seed;
	uint64_t next_number, window_number;
	struct flow_tally counts;
	uint8_t *page;	     /* random bytes: payloads are parts of it */
	uint32_t *sums;	     /* sums[i]: of the first i 16-bit words of page */
	uint64_t *latest[2]; /* by way and peer: greatest number received + 1 */
	bool has_arrived[FLOW_WINDOW_PKTS];
	/* When there is one: called for each packet that arrives, with what the sink says of it. */
	void (*arrived)(void *arg, uint64_t number, uint64_t stamp);
	void *arrived_arg;
	uint64_t stamp; /* of the packet that the sink looks at */
};

/* A packet of this number. */
struct flow_pkt {
	uint64_t number;
	enum flow_way way;
	const struct flow *flow;
	uint32_t host_v4;
	uint16_t host_port;
	uint16_t len; /* of the inner IP packet */
};

/* 0 or -1: out of memory. */
int flows_init(struct lab_flows *f, uint32_t max_flows, uint32_t max_peers, uint64_t seed);
void flows_fini(struct lab_flows *f);
void flows_add(struct lab_flows *f, const struct flow *flow);
/* Spread what follows over these, in this size. */
void flows_use(struct lab_flows *f, uint32_t first, uint32_t n, struct bench_size size);
/* The same, each flow in its turn. */
void flows_use_in_order(struct lab_flows *f, uint32_t first, uint32_t n, struct bench_size size);
/* Public sides of sessions are of this pool, and no two have the same. 0 or -1: out of memory. */
int flows_pool_set(struct lab_flows *f, const struct flow_pool *pool);

/* The next packet to send. At most FLOW_WINDOW_PKTS before flow_settle. */
struct flow_pkt flow_next(struct lab_flows *f, enum flow_way way);
/* Its IP packet, as the sender sends it (is_sent) or as the receiver must get it: translated, TTL
 * one less. out has room for pkt->len. */
void flow_build(const struct lab_flows *f, const struct flow_pkt *pkt, bool is_sent, uint8_t *out);
/* An IP packet arrived for this peer (way in: the one whose keys opened it; out: ignored). len may
 * be padded up to a multiple of 16 with zeros, no further than max_len (0: no padding). */
void flow_arrived(struct lab_flows *f, enum flow_way way, uint32_t peer, const uint8_t *ip,
	uint32_t len, uint32_t max_len);
/* Nothing before this number is under way any more: what did not arrive is lost. */
void flow_settle_before(struct lab_flows *f, uint64_t number);
/* Nothing is under way at all. */
void flow_settle(struct lab_flows *f);

#endif
