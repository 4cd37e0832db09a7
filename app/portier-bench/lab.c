#include "lab.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <rte_arp.h>

#include "base/bytes.h"
#include "nat/nat.h"
#include "pkt/pkt.h"
#include "wgmsg/wgmsg.h"

#include "lab_frame.h"

#define PARTY_PORT     51820
#define OUTER_BYTES    (RTE_ETHER_HDR_LEN + 20 + 8)
#define HANDSHAKES_RUN 64
/* Parties whose timers are looked at between two batches. */
#define DUTIES_PER_LOOK 256

/* --- frames ------------------------------------------------------------------------------------
 */

/* Ethernet, IPv4 and UDP around a WireGuard message of len bytes, from this party to the entry. */
static void outer_write(
	const struct lab *lab, const struct party *party, uint8_t *frame, uint32_t len)
{
	uint32_t outer_v4 = RIG_OUTER_FIRST_V4 + (uint32_t)(party - lab->parties.all);
	uint8_t *ip = frame + RTE_ETHER_HDR_LEN;
	uint32_t sum;

	ether_write(frame, &lab->rig.ports[RIG_TUNNEL].mac, RTE_ETHER_TYPE_IPV4);
	store_be16(ip, 0x4500);
	store_be16(ip + 2, (uint16_t)(28 + len));
	store_be32(ip + 4, 0);
	ip[8] = 64;
	ip[9] = NAT_PROTO_UDP;
	store_be16(ip + 10, 0);
	store_be32(ip + 12, outer_v4);
	store_be32(ip + 16, RIG_ENTRY_V4);
	sum = nat_checksum_add(0, ip, 20);
	store_be16(ip + 10, (uint16_t)~nat_checksum_fold(sum));
	store_be16(ip + 20, PARTY_PORT);
	store_be16(ip + 22, RIG_LISTEN_PORT);
	store_be16(ip + 24, (uint16_t)(8 + len));
	store_be16(ip + 26, 0);
}

static void send_message(struct lab *lab, const struct party *party, const void *msg, uint32_t len)
{
	struct rte_mbuf *m = pkt_alloc(lab->rig.mempool);
	uint8_t *frame;

	if (!m)
		return;
	frame = frame_of(m, OUTER_BYTES + len);
	memcpy(frame + OUTER_BYTES, msg, len);
	outer_write(lab, party, frame, len);
	enqueue(lab, RIG_TUNNEL, party->queue, m);
}

/* The data header, and the job that seals len bytes of plaintext behind it in place. */
static struct aead_job data_prepare(struct party_keys *keys, uint8_t *msg, uint32_t len)
{
	store_le32(msg, WGMSG_DATA);
	store_le32(msg + 4, keys->remote_idx);
	store_le64(msg + 8, keys->send_counter);
	return (struct aead_job){
		.key = keys->send_key,
		.counter = keys->send_counter++,
		.src = msg + sizeof(struct wgmsg_data),
		.dst = msg + sizeof(struct wgmsg_data),
		.len = len,
	};
}

static void send_keepalive(struct lab *lab, struct party *party, uint64_t now_ns)
{
	struct party_keys *keys = party_sending_keys(party, now_ns);
	uint8_t msg[WGMSG_DATA_MIN_BYTES];
	struct aead_job job;

	if (!keys)
		return;
	job = data_prepare(keys, msg, 0);
	aead_seal_burst(lab->parties.aead, &job, 1);
	send_message(lab, party, msg, sizeof(msg));
	party->unanswered_ns = 0;
}

static void send_initiation(struct lab *lab, struct party *party, uint64_t now_ns)
{
	struct wgmsg_initiation msg;

	if (party_initiate(&lab->parties, party, now_ns, &msg))
		send_message(lab, party, &msg, sizeof(msg));
}

/* What has left the gateway is the far end's, private area and all. */
static uint64_t *stamp_of(struct rte_mbuf *m)
{
	return rte_mbuf_to_priv(m);
}

/* --- the sink ----------------------------------------------------------------------------------
 */

/* A router answers for itself only. */
static void answer_arp(struct lab *lab, unsigned port, struct rte_mbuf *m)
{
	struct rte_arp_hdr *arp;

	if (m->data_len < RTE_ETHER_HDR_LEN + sizeof(*arp))
		goto ignore;
	arp = rte_pktmbuf_mtod_offset(m, struct rte_arp_hdr *, RTE_ETHER_HDR_LEN);
	if (arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REQUEST) ||
		rte_be_to_cpu_32(arp->arp_data.arp_tip) !=
			(port == RIG_TUNNEL ? RIG_ENTRY_ROUTER_V4 : RIG_PUBLIC_ROUTER_V4))
		goto ignore;
	ether_write(rte_pktmbuf_mtod(m, uint8_t *), &lab->rig.ports[port].mac, RTE_ETHER_TYPE_ARP);
	arp->arp_opcode = RTE_BE16(RTE_ARP_OP_REPLY);
	arp->arp_data.arp_tha = arp->arp_data.arp_sha;
	arp->arp_data.arp_sha = router_mac;
	RTE_SWAP(arp->arp_data.arp_tip, arp->arp_data.arp_sip);
	enqueue(lab, port, 0, m);
	return;
ignore:
	rte_pktmbuf_free(m);
}

/* An IPv4 frame to the router, whose header is sound. NULL: it is not. */
static const uint8_t *ipv4_of(const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *),
		      *ip = frame + RTE_ETHER_HDR_LEN;

	if (m->data_len < OUTER_BYTES || memcmp(frame, &router_mac, 6) != 0 ||
		load_be16(frame + 12) != RTE_ETHER_TYPE_IPV4 || ip[0] != 0x45 ||
		load_be16(ip + 2) != m->data_len - RTE_ETHER_HDR_LEN ||
		nat_checksum_fold(nat_checksum_add(0, ip, 20)) != 0xffff)
		return NULL;
	return ip;
}

/* The WireGuard message in a frame from the entry, and the party it goes to; NULL. */
static struct party *party_of(
	struct lab *lab, const struct rte_mbuf *m, const uint8_t **msg, uint32_t *len)
{
	const uint8_t *ip = ipv4_of(m);
	uint32_t idx;

	if (!ip || ip[9] != NAT_PROTO_UDP || load_be32(ip + 12) != RIG_ENTRY_V4 ||
		load_be16(ip + 20) != RIG_LISTEN_PORT || load_be16(ip + 22) != PARTY_PORT ||
		load_be16(ip + 24) != m->data_len - RTE_ETHER_HDR_LEN - 20)
		return NULL;
	idx = load_be32(ip + 16) - RIG_OUTER_FIRST_V4;
	*msg = ip + 28;
	*len = (uint32_t)(m->data_len - OUTER_BYTES);
	return idx < lab->parties.n ? &lab->parties.all[idx] : NULL;
}

static void take_handshake(struct lab *lab, struct party *party, const uint8_t *msg, uint32_t len)
{
	uint8_t answer[PARTY_MSG_MAX];
	bool has_keys = false;
	uint64_t now_ns = rig_now_ns();
	uint32_t answer_len = party_take(&lab->parties, party, msg, len, now_ns, answer, &has_keys);

	if (answer_len)
		send_message(lab, party, answer, answer_len);
	if (has_keys)
		send_keepalive(lab, party, now_ns);
}

/* Data messages that are opened together. */
struct opening {
	struct rte_mbuf *pkts[AEAD_BURST_MAX];
	struct aead_job jobs[AEAD_BURST_MAX];
	struct party *parties[AEAD_BURST_MAX];
	struct party_keys *keys[AEAD_BURST_MAX];
	uint16_t n;
};

static void open_flush(struct lab *lab, struct opening *o)
{
	uint64_t now_ns = rig_now_ns();

	aead_open_burst(lab->parties.aead, o->jobs, o->n);
	for (uint16_t i = 0; i < o->n; i++) {
		const struct aead_job *job = &o->jobs[i];

		if (!job->is_authentic) {
			lab->flows.counts.corrupt++;
			continue;
		}
		lab->flows.stamp = *stamp_of(o->pkts[i]);
		party_opened(o->parties[i], o->keys[i], job->len != 0, now_ns);
		if (job->len)
			flow_arrived(&lab->flows, FLOW_IN,
				(uint32_t)(o->parties[i] - lab->parties.all), job->dst, job->len,
				RIG_INNER_MTU);
	}
	rte_pktmbuf_free_bulk(o->pkts, o->n);
	o->n = 0;
}

/* True: the message waits to be opened. */
static bool take_message(struct lab *lab, struct rte_mbuf *m, struct opening *o)
{
	const uint8_t *msg;
	uint32_t len;
	struct party *party = party_of(lab, m, &msg, &len), *owner;
	struct party_keys *keys;

	if (!party) {
		lab->n_unknown++;
		return false;
	}
	if (wgmsg_classify(msg, len) != WGMSG_DATA) {
		take_handshake(lab, party, msg, len);
		return false;
	}
	owner = parties_find(&lab->parties, load_le32(msg + 4), &keys);
	if (owner != party || !keys->is_live || keys->local_idx != load_le32(msg + 4)) {
		lab->n_unknown++;
		return false;
	}
	o->pkts[o->n] = m;
	o->parties[o->n] = party;
	o->keys[o->n] = keys;
	o->jobs[o->n++] = (struct aead_job){
		.key = keys->recv_key,
		.counter = load_le64(msg + 8),
		.src = msg + sizeof(struct wgmsg_data),
		.dst = (uint8_t *)(uintptr_t)msg + sizeof(struct wgmsg_data),
		.len = len - (uint32_t)WGMSG_DATA_MIN_BYTES,
	};
	return true;
}

static bool is_arp(const struct rte_mbuf *m)
{
	return m->data_len >= RTE_ETHER_HDR_LEN &&
	       load_be16(rte_pktmbuf_mtod_offset(m, const uint8_t *, 12)) == RTE_ETHER_TYPE_ARP;
}

static void drain_tunnel(struct lab *lab, struct rte_ring *ring)
{
	struct opening o = {.n = 0};
	struct rte_mbuf *m;

	while (rte_ring_dequeue(ring, (void **)&m) == 0) {
		if (is_arp(m))
			answer_arp(lab, RIG_TUNNEL, m);
		else if (!take_message(lab, m, &o))
			rte_pktmbuf_free(m);
		if (o.n == AEAD_BURST_MAX)
			open_flush(lab, &o);
	}
	if (o.n)
		open_flush(lab, &o);
}

static void drain_public(struct lab *lab, struct rte_ring *ring)
{
	struct rte_mbuf *m;

	while (rte_ring_dequeue(ring, (void **)&m) == 0) {
		const uint8_t *ip;

		if (is_arp(m)) {
			answer_arp(lab, RIG_PUBLIC, m);
			continue;
		}
		lab->flows.stamp = *stamp_of(m);
		ip = ipv4_of(m);
		if (ip)
			flow_arrived(&lab->flows, FLOW_OUT, 0, ip,
				m->data_len - (uint32_t)RTE_ETHER_HDR_LEN, 0);
		else
			lab->n_unknown++;
		rte_pktmbuf_free(m);
	}
}

void lab_drain(struct lab *lab)
{
	if (lab->stamped[RIG_TUNNEL] && lab->stamped[RIG_PUBLIC]) {
		drain_tunnel(lab, lab->stamped[RIG_TUNNEL]);
		drain_public(lab, lab->stamped[RIG_PUBLIC]);
	}
	for (unsigned q = 0; q < lab->rig.params.n_workers; q++) {
		drain_tunnel(lab, lab->rig.tx[RIG_TUNNEL][q]);
		drain_public(lab, lab->rig.tx[RIG_PUBLIC][q]);
	}
}

unsigned lab_stamp(struct lab *lab, uint64_t stamp)
{
	unsigned n = 0;

	for (unsigned port = 0; port < RIG_N_PORTS; port++) {
		struct rte_mbuf *m;

		if (!lab->stamped[port])
			lab->stamped[port] =
				rte_ring_create(port == RIG_TUNNEL ? "bench_stamped_tunnel"
								   : "bench_stamped_public",
					2 * RIG_RING_SLOTS, (int)rte_socket_id(),
					RING_F_SP_ENQ | RING_F_SC_DEQ);
		for (unsigned q = 0; q < lab->rig.params.n_workers; q++) {
			while (rte_ring_dequeue(lab->rig.tx[port][q], (void **)&m) == 0) {
				*stamp_of(m) = stamp;
				n++;
				if (!lab->stamped[port] || rte_ring_enqueue(lab->stamped[port], m))
					rte_pktmbuf_free(m);
			}
		}
	}
	return n;
}

/* --- the generator -----------------------------------------------------------------------------
 */

static void batch_add(struct lab *lab, struct lab_batch *b, unsigned port,
	const struct flow_pkt *pkt, struct rte_mbuf *m)
{
	unsigned queue = lab->parties.all[pkt->flow->peer].queue;

	if (lab->wrong_pct &&
		bench_mix(pkt->number ^ UINT64_C(0x77726f6e67)) % 100 < lab->wrong_pct)
		queue = (queue + 1) % lab->rig.params.n_workers;
	b->pkts[port][queue][b->n[port][queue]++] = m;
}

static void make_in(struct lab *lab, struct rte_mbuf **pkts, uint16_t n, struct lab_batch *batch)
{
	for (uint16_t i = 0; i < n; i++) {
		struct flow_pkt pkt = flow_next(&lab->flows, FLOW_IN);
		uint8_t *frame = frame_of(pkts[i], (uint32_t)RTE_ETHER_HDR_LEN + pkt.len);

		ether_write(frame, &lab->rig.ports[RIG_PUBLIC].mac, RTE_ETHER_TYPE_IPV4);
		flow_build(&lab->flows, &pkt, true, frame + RTE_ETHER_HDR_LEN);
		batch_add(lab, batch, RIG_PUBLIC, &pkt, pkts[i]);
	}
}

static bool make_out(struct lab *lab, struct rte_mbuf **pkts, uint16_t n, struct lab_batch *batch)
{
	struct aead_job jobs[AEAD_BURST_MAX];
	uint64_t now_ns = rig_now_ns();

	for (uint16_t i = 0; i < n; i++) {
		struct flow_pkt pkt = flow_next(&lab->flows, FLOW_OUT);
		struct party *party = &lab->parties.all[pkt.flow->peer];
		struct party_keys *keys = party_sending_keys(party, now_ns);
		uint32_t padded =
			RTE_MAX(RTE_MIN(wgmsg_padded_len(pkt.len), (uint32_t)RIG_INNER_MTU),
				(uint32_t)pkt.len);
		uint32_t len = (uint32_t)WGMSG_DATA_MIN_BYTES + padded;
		uint8_t *frame, *inner;

		if (!keys)
			return false;
		frame = frame_of(pkts[i], OUTER_BYTES + len);
		inner = frame + OUTER_BYTES + sizeof(struct wgmsg_data);
		outer_write(lab, party, frame, len);
		flow_build(&lab->flows, &pkt, true, inner);
		memset(inner + pkt.len, 0, padded - pkt.len);
		jobs[i] = data_prepare(keys, frame + OUTER_BYTES, padded);
		party->unanswered_ns = 0;
		batch_add(lab, batch, RIG_TUNNEL, &pkt, pkts[i]);
	}
	aead_seal_burst(lab->parties.aead, jobs, n);
	return true;
}

bool lab_make(struct lab *lab, enum flow_way way, uint16_t n, struct lab_batch *batch)
{
	struct rte_mbuf *pkts[AEAD_BURST_MAX];

	while (n) {
		uint16_t part = RTE_MIN(n, (uint16_t)AEAD_BURST_MAX);

		if (rte_pktmbuf_alloc_bulk(lab->rig.mempool, pkts, part) < 0)
			return false;
		if (way == FLOW_IN)
			make_in(lab, pkts, part, batch);
		else if (!make_out(lab, pkts, part, batch))
			return false;
		n -= part;
	}
	return true;
}

uint16_t lab_send(
	struct lab *lab, struct lab_batch *batch, unsigned port, unsigned queue, uint16_t n)
{
	uint16_t *at = &batch->at[port][queue];

	n = RTE_MIN(n, (uint16_t)(batch->n[port][queue] - *at));
	n = (uint16_t)rte_ring_enqueue_burst(
		lab->rig.rx[port][queue], (void **)batch->pkts[port][queue] + *at, n, NULL);
	*at += n;
	return n;
}

/* --- between packets ---------------------------------------------------------------------------
 */

static void duties_look(struct lab *lab, uint64_t now_ns)
{
	struct parties *p = &lab->parties;

	for (uint32_t i = 0; i < RTE_MIN(p->n, (uint32_t)DUTIES_PER_LOOK); i++) {
		struct party *party = &p->all[p->cursor];

		p->cursor = p->cursor + 1 == p->n ? 0 : p->cursor + 1;
		switch (party_duty(party, now_ns)) {
		case PARTY_REKEY:
			send_initiation(lab, party, now_ns);
			break;
		case PARTY_KEEPALIVE:
			send_keepalive(lab, party, now_ns);
			break;
		case PARTY_IDLE:
			break;
		}
	}
}

static bool is_moving(struct lab *lab)
{
	for (unsigned q = 0; q < lab->rig.params.n_workers; q++)
		for (unsigned p = 0; p < RIG_N_PORTS; p++)
			if (!rte_ring_empty(lab->rig.rx[p][q]) ||
				!rte_ring_empty(lab->rig.tx[p][q]))
				return true;
	return false;
}

void lab_look(struct lab *lab)
{
	duties_look(lab, rig_now_ns());
	rig_upkeep(&lab->rig);
	lab_drain(lab);
}

void lab_settle(struct lab *lab)
{
	struct rig *rig = &lab->rig;
	bool is_busy;

	duties_look(lab, rig_now_ns());
	do {
		is_busy = rig_work(rig) != 0;
		is_busy |= rig_upkeep(rig) != 0;
		is_busy |= is_moving(lab);
		lab_drain(lab);
	} while (is_busy);
}

bool lab_initiate(struct lab *lab, uint32_t party_idx)
{
	struct party *party = &lab->parties.all[party_idx];

	if (party->is_waiting)
		return false;
	send_initiation(lab, party, rig_now_ns());
	return true;
}

int lab_handshakes_wait(struct lab *lab, uint32_t first, uint32_t n)
{
	uint64_t give_up_ns = rig_now_ns() + LAB_SETTLE_NS;
	uint32_t n_waiting;

	do {
		lab_settle(lab);
		n_waiting = 0;
		for (uint32_t i = first; i < first + n; i++)
			n_waiting += lab->parties.all[i].is_waiting;
		if (n_waiting && rig_now_ns() > give_up_ns)
			return lab_complain("a handshake does not complete");
	} while (n_waiting);
	return 0;
}

int lab_handshakes(struct lab *lab, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += HANDSHAKES_RUN) {
		uint32_t part = RTE_MIN(n - i, (uint32_t)HANDSHAKES_RUN);

		for (uint32_t k = 0; k < part; k++)
			lab_initiate(lab, first + i + k);
		if (lab_handshakes_wait(lab, first + i, part) < 0)
			return -1;
	}
	return 0;
}
