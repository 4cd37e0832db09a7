/* failure.c - what came to nothing at a door, noted for its lease (doors/failures.h): packets that
 * were dropped, and what the peer itself refused.
 */
#include "path/worker.h"

#define ICMP_UNREACHABLE	3
#define ICMP_CODE_PORT		3
#define ICMPV6_UNREACHABLE	1
#define ICMPV6_CODE_PORT	4
#define TCP_FLAGS_OF_CONNECTION (FLOW_TCP_SYN | FLOW_TCP_ACK | FLOW_TCP_RST | FLOW_TCP_FIN)

/* By reason, plus 1; 0: it says nothing of the lease. */
static const uint8_t failures[STATS_N_DROPS] = {
	[STATS_DROP_peer_unreachable] = 1 + DOOR_FAILURE_peer_unreachable,
	[STATS_DROP_peer_hold_full] = 1 + DOOR_FAILURE_peer_unreachable,
	[STATS_DROP_peer_hold_expired] = 1 + DOOR_FAILURE_peer_unreachable,
	[STATS_DROP_too_big] = 1 + DOOR_FAILURE_too_big,
	[STATS_DROP_lease_flows] = 1 + DOOR_FAILURE_lease_flows,
	[STATS_DROP_lease_rate] = 1 + DOOR_FAILURE_lease_rate,
	[STATS_DROP_lease_source] = 1 + DOOR_FAILURE_lease_source,
};

void path_failure_note(struct path_worker *w, struct rte_mbuf *m, enum stats_drop reason)
{
	const struct path_meta *meta = path_meta(m);
	struct path_params *params = &w->path->params;
	uint8_t home;

	/* It may be another lease's by now. */
	if (failures[reason] == 0 || !door_is(meta->door, meta->generation))
		return;
	home = peer_home(params->peers, meta->door->peer_idx);
	/* Elsewhere nothing of these fails once there is a home. */
	doors_note_failure(params->doors, meta->door, (enum door_failure)(failures[reason] - 1),
		home != w->idx, w->now_ns);
}

/* RFC 9293, 3.10.7.1: only an RST in answer to a segment without an ACK, as the first of a
 * connection is, has sequence number 0 and an ACK. */
static bool refuses_connection(struct rte_mbuf *m)
{
	const uint8_t *tcp =
		rte_pktmbuf_mtod_offset(m, const uint8_t *, path_meta(m)->view.l4_offset);

	return (path_tcp_flags(m) & TCP_FLAGS_OF_CONNECTION) == (FLOW_TCP_RST | FLOW_TCP_ACK) &&
	       load_be32(tcp + 4) == 0;
}

static bool refuses_port(struct rte_mbuf *m, const struct nat_icmp_error *quote)
{
	if (path_meta(m)->view.version == 4)
		return quote->type == ICMP_UNREACHABLE && quote->code == ICMP_CODE_PORT;
	return quote->type == ICMPV6_UNREACHABLE && quote->code == ICMPV6_CODE_PORT;
}

/* A firewall that plays a port without a program may send either for either protocol: what was
 * refused is what the error quotes. */
void path_failure_look(struct path_worker *w, struct rte_mbuf *m, const struct door *door,
	const struct nat_icmp_error *quote)
{
	uint8_t proto = quote ? quote->inner_proto : NAT_PROTO_TCP;

	if (proto != NAT_PROTO_TCP && proto != NAT_PROTO_UDP)
		return;
	if (quote ? refuses_port(m, quote) : refuses_connection(m))
		doors_note_failure(w->path->params.doors, door,
			proto == NAT_PROTO_TCP ? DOOR_FAILURE_no_listener_tcp
					       : DOOR_FAILURE_no_listener_udp,
			false, w->now_ns);
}
