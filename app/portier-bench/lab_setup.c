/* lab_setup.c - building the lab: routers, peers, leases; and its verdict. */
#include <inttypes.h>
#include <stdio.h>

#include <rte_arp.h>

#include "pkt/pkt.h"

#include "lab_frame.h"

#define ADDS_RUN 64 /* peers between two looks at what they set off */

int lab_complain(const char *what)
{
	fprintf(stderr, "portier-bench: %s\n", what);
	return -1;
}

/* --- set-up ------------------------------------------------------------------------------------
 */

/* The router of a link asks for the gateway, which learns of it that way. */
static void introduce_router(struct lab *lab, unsigned port)
{
	struct rte_mbuf *m = pkt_alloc(lab->rig.mempool);
	struct rte_ether_addr everyone = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	bool is_tunnel = port == RIG_TUNNEL;
	struct rte_arp_hdr arp = {
		.arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER),
		.arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = 6,
		.arp_plen = 4,
		.arp_opcode = RTE_BE16(RTE_ARP_OP_REQUEST),
		.arp_data =
			{
				.arp_sha = router_mac,
				.arp_sip = rte_cpu_to_be_32(
					is_tunnel ? RIG_ENTRY_ROUTER_V4 : RIG_PUBLIC_ROUTER_V4),
				.arp_tip =
					rte_cpu_to_be_32(is_tunnel ? RIG_ENTRY_V4 : RIG_PUBLIC_V4),
			},
	};
	uint8_t *frame;

	if (!m)
		return;
	frame = frame_of(m, 60);
	memset(frame, 0, 60);
	ether_write(frame, &everyone, RTE_ETHER_TYPE_ARP);
	memcpy(frame + RTE_ETHER_HDR_LEN, &arp, sizeof(arp));
	enqueue(lab, port, 0, m);
}

static bool knows_router(const struct lab *lab, unsigned port)
{
	uint8_t v4[4];
	struct ip_addr dst;
	struct rte_ether_addr mac;
	bool is_unreachable;

	if (lab->rig.remote)
		return true; /* or else it asks before it sends */
	store_be32(v4, port == RIG_TUNNEL ? RIG_OUTER_FIRST_V4 : RIG_INTERNET_V4);
	dst = ip_from_v4(v4);
	return neigh_resolve(lab->rig.neigh, (uint16_t)port, &dst, &mac, &is_unreachable);
}

int lab_up(struct lab *lab, const struct bench_options *o, const struct rig_params *params)
{
	char fault[RIG_FAULT_CHARS] = "";
	uint64_t give_up_ns;

	*lab = (struct lab){0};
	if (rig_up(&lab->rig, params, fault) < 0)
		return lab_complain(fault);
	if (parties_init(&lab->parties, params->max_peers, lab->rig.aead, o->seed,
		    lab->rig.public_key) < 0 ||
		flows_init(&lab->flows, params->max_leases + params->max_sessions,
			params->max_peers, o->seed) < 0 ||
		flows_pool_set(&lab->flows, &(struct flow_pool){RIG_POOL_V4, RIG_PUBLIC_ADDRS,
						    RIG_NAT_PORT_FIRST, RIG_NAT_PORT_LAST}) < 0)
		return lab_complain("out of memory for the generator");
	introduce_router(lab, RIG_TUNNEL);
	introduce_router(lab, RIG_PUBLIC);
	give_up_ns = rig_now_ns() + LAB_SETTLE_NS;
	while (!knows_router(lab, RIG_TUNNEL) || !knows_router(lab, RIG_PUBLIC)) {
		lab_settle(lab);
		if (rig_now_ns() > give_up_ns)
			return lab_complain("the gateway does not learn its routers");
	}
	return 0;
}

void lab_down(struct lab *lab)
{
	parties_fini(&lab->parties);
	flows_fini(&lab->flows);
	if (lab->stamped[RIG_TUNNEL] && lab->stamped[RIG_PUBLIC])
		lab_drain(lab);
	rte_ring_free(lab->stamped[RIG_TUNNEL]);
	rte_ring_free(lab->stamped[RIG_PUBLIC]);
	lab->stamped[RIG_TUNNEL] = lab->stamped[RIG_PUBLIC] = NULL;
	rig_down(&lab->rig);
}

int lab_peers_add(struct lab *lab, uint32_t n, uint8_t queue)
{
	uint32_t first = lab->parties.n;

	for (uint32_t i = 0; i < n; i++) {
		struct party *party = parties_add(&lab->parties, queue);

		if (!party || rig_peer_add(&lab->rig, first + i, party->local.public_key) < 0)
			return lab_complain("a peer can not be added");
		if (i % ADDS_RUN == 0)
			lab_settle(lab);
	}
	lab_settle(lab);
	return lab_handshakes(lab, first, n);
}

int lab_leases_add(struct lab *lab, uint32_t n, uint32_t first_peer, uint32_t n_peers)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t peer = first_peer + i % n_peers;
		struct lease lease;

		if (rig_lease_open(
			    &lab->rig, peer, (uint16_t)(1024 + lab->flows.n / n_peers), &lease) < 0)
			return lab_complain("a lease can not be opened");
		flows_add(&lab->flows,
			&(struct flow){
				.peer = peer,
				.public_v4 = load_be32(ip_v4_bytes(&lease.public_addr)),
				.inner_v4 = load_be32(ip_v4_bytes(&lease.inner_addr)),
				.public_port = lease.public_port,
				.inner_port = lease.inner_port,
			});
		if (i % 4096 == 0)
			lab_settle(lab);
	}
	return 0;
}

void lab_sessions_add(struct lab *lab, uint32_t n, uint32_t first_peer, uint32_t n_peers)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t dice = bench_mix(lab->flows.seed ^ lab->flows.n);
		uint32_t peer = first_peer + i % n_peers;
		struct ip_addr inner = rig_inner_addr(peer);

		flows_add(
			&lab->flows, &(struct flow){
					     .peer = peer,
					     .inner_v4 = load_be32(ip_v4_bytes(&inner)),
					     .inner_port = (uint16_t)(1024 + i / n_peers),
					     .host_v4 = RIG_INTERNET_V4 | (dice & 0x1ffff),
					     .host_port = (uint16_t)(1024 + (dice >> 32 & 0x7fff)),
				     });
	}
}

/* --- the verdict -------------------------------------------------------------------------------
 */

static bool is_sound_in_all(const struct lab *lab)
{
	const struct flow_tally *c = &lab->flows.counts;
	bool is_sound = c->lost == 0 && c->duplicated == 0 && c->corrupt == 0 && c->foreign == 0 &&
			lab->n_unknown == 0 && lab->parties.n_rejected == 0 &&
			(c->reordered == 0 || lab->rig.params.n_workers > 1);

	if (!is_sound) {
		fprintf(stderr,
			"portier-bench: of %" PRIu64 " packets sent, %" PRIu64
			" arrived; lost %" PRIu64 ", duplicated %" PRIu64 ", reordered %" PRIu64
			", corrupt %" PRIu64 ", foreign %" PRIu64 ", unknown frames %" PRIu64
			", refused handshakes %" PRIu64 "\n",
			c->sent, c->received, c->lost, c->duplicated, c->reordered, c->corrupt,
			c->foreign, lab->n_unknown, lab->parties.n_rejected);
		rig_drops_print(&lab->rig);
	}
	if (!rig_is_balanced(&lab->rig)) {
		fprintf(stderr, "portier-bench: the gateway's counters do not balance\n");
		is_sound = false;
	}
	return is_sound;
}

int lab_finish(struct lab *lab, int rc)
{
	if (rc == 0 && !is_sound_in_all(lab))
		rc = lab_complain("the checks failed: figures are not shown");
	lab_down(lab);
	return rc;
}
