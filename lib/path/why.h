/* why.h - inside path: what the parts of an explanation share. Control thread; nothing is written
 * that a worker reads.
 */
#ifndef PORTIER_PATH_WHY_H
#define PORTIER_PATH_WHY_H

#include "path/worker.h"

struct why_ask {
	const struct path *p;
	struct why_answer *a;
	uint64_t now_ns;
	uint8_t pkt[WHY_PKT_BYTES];
	enum nat_verdict verdict;
	struct nat_view v;
	uint8_t tcp_flags;
	/* As it stands: rewritten on the way. Ports in host order. */
	struct ip_endpoint src, dst;
	/* Of an ICMP error: the packet that it quotes, rewritten with it. */
	bool is_error;
	struct why_tuple quote;
	bool is_hairpin;
};

/* What it is about, for sentences: name or number. */
#define WHY_PEER_CHARS 48
char *why_peer(const struct why_ask *k, uint32_t peer_idx, char buf[static WHY_PEER_CHARS]);

/* The end. */
void why_drop(struct why_ask *k, enum stats_drop reason);
void why_refuse(struct why_ask *k, enum stats_drop reason); /* the sender is told, if it may be */
void why_end(struct why_ask *k, enum why_end end, uint32_t to_peer, uint16_t port_idx);

/* Size and hop on the way through; the stage is named. False: it ended here. */
bool why_may_pass(struct why_ask *k, const char *stage, uint16_t mtu_bytes, bool is_hop);
/* What is left of the time of a session, in words. */
void why_say_session(struct why_ask *k, const char *stage, const struct flow_session *s);

/* Is it an ICMP error that quotes something? Then is_error and quote are set. */
bool why_takes_quote(struct why_ask *k);
/* The end of an error that quotes a packet which nobody sent. */
void why_stray(struct why_ask *k, const char *stage);
/* What leads it: its own headers, or those of the packet that it quotes, which went the other way.
 */
struct why_tuple why_lead(const struct why_ask *k);

/* why_in.c: from the Internet, whose packet parses; at the door; sealed for a peer. */
void why_from_outside(struct why_ask *k, uint16_t port_idx);
void why_knock(struct why_ask *k, uint32_t exempt_peer);
void why_seal(struct why_ask *k, uint32_t peer_idx);
/* why_out.c: from a peer. */
void why_from_peer(struct why_ask *k, uint32_t peer_idx);

/* The sessions of a peer are at its home; of one that has none, where they would be looked for. */
static inline const struct flows *why_flows(const struct why_ask *k, uint32_t peer_idx)
{
	uint8_t home = peer_home(k->p->params.peers, peer_idx);

	return k->p->workers[home < k->p->params.n_workers ? home : 0]->flows;
}

static inline bool why_is_icmp(const struct why_ask *k)
{
	return k->v.proto == NAT_PROTO_ICMP || k->v.proto == NAT_PROTO_ICMPV6;
}

/* What is left until then, or has passed since. */
static inline unsigned why_seconds(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (unsigned)((to_ns - from_ns) / NS_IN_S) : 0;
}

static inline uint32_t why_v4(const struct ip_addr *a)
{
	return load_be32(ip_v4_bytes(a));
}

#endif
