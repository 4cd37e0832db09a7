#include "path_rig.h"

#include "eal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#define RIG_MAX_PEERS  16
#define RIG_MBUFS      4095
#define RIG_RING_SLOTS 128
#define MBOX_SLOTS     512
#define KEEPALIVE_NONE 0

uint64_t rig_now_ns;

static uint64_t read_clock(void)
{
	return rig_now_ns;
}

const struct rte_ether_addr *rig_neighbour_mac(unsigned port)
{
	static const struct rte_ether_addr macs[RIG_PORTS] = {
		{{2, 0, 0, 0, 0, 0xa0}}, {{2, 0, 0, 0, 0, 0xa1}}};

	return &macs[port];
}

static unsigned port_of(const struct rig *r, unsigned port)
{
	return r->params.one_device ? 0 : port;
}

/* --- building --- */

static struct ip_ifaddr ifaddr(const char *text)
{
	struct ip_ifaddr i;

	assert_int_equal(ip_ifaddr_parse(text, &i), 0);
	return i;
}

static void conf_fill(struct rig *r)
{
	struct conf *c = &r->conf;
	struct conf_port *tunnel = &c->ports[0], *public = &c->ports[r->n_ports - 1];

	c->n_lcores = 1 + r->params.n_workers;
	c->n_mbufs = RIG_MBUFS;
	c->max_sleep_us = 250;
	c->drops_kept_ns = 600 * NS_IN_S;
	c->n_ports = r->n_ports;
	for (unsigned i = 0; i < r->n_ports; i++) {
		c->ports[i].mtu_bytes = i == RIG_PUBLIC && r->params.public_mtu_bytes
						? r->params.public_mtu_bytes
						: 1500;
		c->ports[i].answer_ping = !r->params.has_no_ping;
	}
	tunnel->is_tunnel = true;
	tunnel->ifaddrs[tunnel->n_ifaddrs++] = ifaddr(RIG_ENTRY4 "/24");
	tunnel->ifaddrs[tunnel->n_ifaddrs++] = ifaddr(RIG_ENTRY6 "/64");
	public->is_public = true;
	public->ifaddrs[public->n_ifaddrs++] =
		ifaddr(r->params.is_wide ? "172.32.0.1/11" : RIG_PUBLIC4 "/24");
	public->ifaddrs[public->n_ifaddrs++] = ifaddr(RIG_PUBLIC6 "/64");
	assert_int_equal(ip_prefix_parse("203.0.113.0/28", &c->pool[c->n_pool++]), 0);
	if (r->params.is_wide)
		assert_int_equal(
			ip_prefix_parse("64.0.0.0/10", &c->dedicated[c->n_dedicated++]), 0);
	c->listen_port = RIG_LISTEN_PORT;
	c->inner_addrs[c->n_inner_addrs++] = frame_addr(RIG_INNER_GW4);
	c->inner_addrs[c->n_inner_addrs++] = frame_addr(RIG_INNER_GW6);
	c->max_peers = RIG_MAX_PEERS;
	c->max_leases = RIG_MAX_PEERS;
	c->inner_mtu_bytes = RIG_INNER_MTU;
	c->nat_port_first = 2048;
	c->nat_port_last = 18431;
	c->nat_block_ports = 64;
	c->nat_max_sessions = 1024;
	c->nat_udp_ns = 300 * NS_IN_S;
	c->nat_tcp_established_ns = 7440 * NS_IN_S;
	c->nat_tcp_transitory_ns = 240 * NS_IN_S;
	c->nat_icmp_ns = 60 * NS_IN_S;
	c->nat_rest_ns = 120 * NS_IN_S;
	c->nat_fragment_ns = 2 * NS_IN_S;
	c->mss_clamp = true;
	c->peer_to_peer = r->params.peer_to_peer;
	assert_int_equal(ip_prefix_parse(RIG_EXEMPT4, &c->nat_exempt[c->n_nat_exempt++]), 0);
	c->nat_blocked[c->n_nat_blocked++] =
		(struct conf_blocked){.protos = LEASE_PROTO_TCP, .port = RIG_BLOCKED};
	c->rekey_after_ns = noise_timing_default.rekey_after_ns;
	c->reject_after_ns = noise_timing_default.reject_after_ns;
	c->rekey_attempt_ns = noise_timing_default.rekey_attempt_ns;
	c->rekey_timeout_ns = noise_timing_default.rekey_timeout_ns;
	c->keepalive_ns = noise_timing_default.keepalive_ns;
}

static void port_create(struct rig *r, unsigned i)
{
	struct rte_eth_conf conf = {0};
	struct port *port = &r->ports[i];
	char name[RTE_RING_NAMESIZE];
	int id;

	port->n_rx_queues = (uint16_t)r->params.n_rx_queues;
	port->n_tx_queues = (uint16_t)r->params.n_tx_queues;
	for (unsigned q = 0; q < port->n_rx_queues; q++) {
		snprintf(name, sizeof(name), "rig_rx_%u_%u", i, q);
		r->rx[i][q] = rte_ring_create(name, RIG_RING_SLOTS, 0, 0);
		assert_non_null(r->rx[i][q]);
	}
	for (unsigned q = 0; q < port->n_tx_queues; q++) {
		snprintf(name, sizeof(name), "rig_tx_%u_%u", i, q);
		r->tx[i][q] = rte_ring_create(name, RIG_RING_SLOTS, 0, 0);
		assert_non_null(r->tx[i][q]);
	}
	snprintf(name, sizeof(name), "rig%u", i);
	id = rte_eth_from_rings(name, r->rx[i], port->n_rx_queues, r->tx[i], port->n_tx_queues, 0);
	assert_true(id >= 0);
	port->eth_id = (uint16_t)id;
	port->mac = (struct rte_ether_addr){{2, 0, 0, 0, 0, (uint8_t)(i + 1)}};
	assert_int_equal(
		rte_eth_dev_configure(port->eth_id, port->n_rx_queues, port->n_tx_queues, &conf),
		0);
	for (uint16_t q = 0; q < port->n_rx_queues; q++)
		assert_int_equal(
			rte_eth_rx_queue_setup(port->eth_id, q, 64, 0, NULL, r->mempool), 0);
	for (uint16_t q = 0; q < port->n_tx_queues; q++)
		assert_int_equal(rte_eth_tx_queue_setup(port->eth_id, q, 64, 0, NULL), 0);
	assert_int_equal(rte_eth_dev_start(port->eth_id), 0);
}

/* As control_send_frame. */
static void send_frame(void *arg, uint16_t port_idx, struct rte_mbuf *frame)
{
	struct rig *r = arg;
	unsigned worker = port_tx_worker(&r->ports[port_idx], 0);

	*(struct path_punt *)rte_mbuf_to_priv(frame) = (struct path_punt){.port_idx = port_idx};
	if (!mbox_push(r->mail[worker].from_control, frame))
		rte_pktmbuf_free(frame);
}

static void neigh_up(struct rig *r)
{
	static struct neigh_link links[RIG_PORTS];

	for (unsigned i = 0; i < r->n_ports; i++) {
		const struct conf_port *c = &r->conf.ports[i];

		links[i] = (struct neigh_link){
			.port_idx = (uint16_t)i, .mac = r->ports[i].mac, .n_ifaddrs = c->n_ifaddrs};
		memcpy(links[i].ifaddrs, c->ifaddrs, sizeof(c->ifaddrs[0]) * c->n_ifaddrs);
		if (c->is_public) {
			links[i].n_pool = r->conf.n_pool;
			memcpy(links[i].pool, r->conf.pool, sizeof(r->conf.pool));
		}
	}
	r->neigh = neigh_create(&(struct neigh_params){.links = links,
		.n_links = r->n_ports,
		.max_entries = 64,
		.mempool = r->mempool,
		.grace = r->grace,
		.send = send_frame,
		.send_arg = r});
	assert_non_null(r->neigh);
}

/* The neighbour asks for us, so we know it. */
static void neighbour_learn(struct rig *r, unsigned port, const char *host, const char *ours)
{
	struct ip_addr sender = frame_addr(host), target = frame_addr(ours);
	struct frame f;

	frame_who_has(&f, rig_neighbour_mac(port), &sender, &target);
	rig_rx(r, port, 0, &f);
	rig_settle(r);
}

static void mail_up(struct rig *r, unsigned i)
{
	struct {
		struct mbox **mbox;
		const char *name;
		uint32_t n_slots;
		bool wants_fd;
	} boxes[] = {
		{&r->mail[i].msgs, "msgs", MBOX_SLOTS, true},
		{&r->mail[i].events, "events", 4096, true},
		{&r->mail[i].orders, "orders", MBOX_SLOTS, false},
		{&r->mail[i].to_control, "to_control", MBOX_SLOTS, true},
		{&r->mail[i].from_control, "from_control", MBOX_SLOTS, false},
		{&r->mail[i].requests, "requests", MBOX_SLOTS, true},
		{&r->mail[i].replies, "replies", MBOX_SLOTS, false},
		{&r->mail[i].probes, "probes", MBOX_SLOTS, false},
	};

	for (size_t k = 0; k < RTE_DIM(boxes); k++) {
		char name[RTE_RING_NAMESIZE];

		snprintf(name, sizeof(name), "%s_%u", boxes[k].name, i);
		*boxes[k].mbox = mbox_create(name, boxes[k].n_slots, boxes[k].wants_fd, 0);
		assert_non_null(*boxes[k].mbox);
	}
	/* Nobody sleeps here: the descriptor is never looked at. */
	assert_true(peer_events_n_slots(r->keypairs, RIG_MAX_PEERS) <= 4096);
}

static void tables_up(struct rig *r)
{
	unsigned n_workers = r->params.n_workers;

	r->grace = grace_create(n_workers + 1);
	assert_non_null(r->grace);
	r->peers = peers_create(&(struct peer_params){
		.max_peers = RIG_MAX_PEERS, .n_workers = n_workers, .grace = r->grace});
	assert_non_null(r->peers);
	r->keypairs = keypairs_create(n_workers, RIG_MAX_PEERS);
	assert_non_null(r->keypairs);
	r->doors = doors_create(RIG_MAX_PEERS, RIG_MAX_PEERS, r->grace, 0);
	assert_non_null(r->doors);
	r->probes = probes_create(r->grace);
	assert_non_null(r->probes);
	r->peer_msgs_out = mbox_create("peer_msgs_out", 64, true, 0);
	r->peer_msgs_in = mbox_create("peer_msgs_in", 64, true, 0);
	assert_true(r->peer_msgs_out && r->peer_msgs_in);
	peers_connect(r->peers, r->peer_msgs_out, r->peer_msgs_in);
	for (unsigned i = 0; i < n_workers; i++)
		mail_up(r, i);
	neigh_up(r);
}

struct rig *rig_create(const struct rig_params *params)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	assert_int_equal(crypto_init(), 0);
	r->params = *params;
	r->params.n_workers += !r->params.n_workers;
	r->params.n_rx_queues += !r->params.n_rx_queues;
	r->params.n_tx_queues += !r->params.n_tx_queues;
	r->n_ports = params->one_device ? 1 : 2;
	rig_now_ns = 1000 * NS_IN_S;
	conf_fill(r);
	r->mempool = pkt_pool_create("rig", RIG_MBUFS, 0);
	r->orders = rte_mempool_create(
		"rig_orders", 255, sizeof(struct peer_order), 0, 0, NULL, NULL, NULL, NULL, 0, 0);
	assert_true(r->mempool && r->orders);
	for (unsigned i = 0; i < r->n_ports; i++)
		port_create(r, i);
	tables_up(r);
	r->path = path_create(&(struct path_params){.conf = &r->conf,
		.ports = r->ports,
		.n_workers = r->params.n_workers,
		.mail = r->mail,
		.peers = r->peers,
		.keypairs = r->keypairs,
		.doors = r->doors,
		.probes = r->probes,
		.neigh = r->neigh,
		.grace = r->grace,
		.mempool = r->mempool,
		.aead = AEAD_OPENSSL,
		.now_ns = read_clock});
	assert_non_null(r->path);
	for (unsigned i = 0; i < r->params.n_workers; i++)
		grace_reader_online(r->grace, i);
	for (unsigned i = 0; i < RIG_CLIENTS_MAX; i++) {
		char host[16];

		snprintf(host, sizeof(host), "192.0.2.%u", 10 + i);
		neighbour_learn(r, RIG_TUNNEL, host, RIG_ENTRY4);
	}
	neighbour_learn(r, RIG_TUNNEL, "192.0.2.77", RIG_ENTRY4);
	neighbour_learn(r, RIG_TUNNEL, RIG_CLIENT6, RIG_ENTRY6);
	neighbour_learn(r, RIG_PUBLIC, RIG_HOST4, RIG_PUBLIC4);
	neighbour_learn(r, RIG_PUBLIC, RIG_HOST6, RIG_PUBLIC6);
	neighbour_learn(r, RIG_PUBLIC, RIG_EXEMPT4, RIG_PUBLIC4);
	rig_tx_discard(r);
	return r;
}

static void ring_free(struct rte_ring *ring)
{
	void *m;

	if (!ring)
		return;
	while (rte_ring_dequeue(ring, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(ring);
}

static void mbox_free(struct mbox *box, bool has_frames)
{
	void *m;

	while (mbox_pop_burst(box, &m, 1))
		if (has_frames)
			rte_pktmbuf_free(m);
	mbox_destroy(box);
}

void rig_destroy(struct rig *r)
{
	unsigned in_use;

	rig_listen(r);
	for (unsigned i = 0; i < r->params.n_workers; i++)
		grace_reader_offline(r->grace, i);
	while (grace_poll(r->grace))
		;
	path_destroy(r->path);
	neigh_destroy(r->neigh);
	doors_destroy(r->doors);
	probes_destroy(r->probes);
	peers_destroy(r->peers);
	keypairs_destroy(r->keypairs);
	for (unsigned i = 0; i < r->params.n_workers; i++) {
		mbox_free(r->mail[i].msgs, true);
		mbox_free(r->mail[i].events, false);
		mbox_free(r->mail[i].orders, false);
		mbox_free(r->mail[i].to_control, true);
		mbox_free(r->mail[i].from_control, true);
		mbox_free(r->mail[i].requests, true);
		mbox_free(r->mail[i].replies, true);
		mbox_free(r->mail[i].probes, true);
	}
	mbox_destroy(r->peer_msgs_out);
	mbox_destroy(r->peer_msgs_in);
	grace_destroy(r->grace);
	for (unsigned i = 0; i < r->n_ports; i++) {
		port_close(&r->ports[i]);
		for (unsigned q = 0; q < RIG_WORKERS_MAX; q++) {
			ring_free(r->rx[i][q]);
			ring_free(r->tx[i][q]);
		}
	}
	in_use = rte_mempool_in_use_count(r->mempool);
	assert_int_equal(in_use, 0);
	in_use = rte_mempool_in_use_count(r->orders);
	assert_int_equal(in_use, 0);
	rte_mempool_free(r->mempool);
	rte_mempool_free(r->orders);
	free(r);
}

/* --- turns --- */

void rig_check_balance_of(const struct rig *r, unsigned worker)
{
	const struct stats_worker *s = path_stats(r->path, worker);
	const uint64_t *c = s->counter;

	assert_int_equal(c[STATS_received] + c[STATS_handed_in],
		c[STATS_forwarded] + c[STATS_consumed] + stats_dropped(s) + c[STATS_handed_out] +
			c[STATS_holding]);
	assert_int_equal(c[STATS_originated], c[STATS_originated_sent] + c[STATS_originated_lost]);
}

void rig_check_balance(const struct rig *r)
{
	for (unsigned i = 0; i < r->params.n_workers; i++)
		rig_check_balance_of(r, i);
	assert_int_equal(rig_counter(r, STATS_handed_in), rig_counter(r, STATS_handed_out));
}

unsigned rig_worker_turn(struct rig *r, unsigned worker)
{
	unsigned n = path_worker_turn(path_worker(r->path, worker));

	grace_reader_quiescent(r->grace, worker);
	return n;
}

static unsigned control_turn(struct rig *r)
{
	unsigned n_all = 0, n;
	void *frames[32];

	for (unsigned i = 0; i < r->params.n_workers; i++) {
		n = mbox_pop_burst(r->mail[i].to_control, frames, RTE_DIM(frames));
		for (unsigned k = 0; k < n; k++) {
			struct path_punt punt = *(struct path_punt *)rte_mbuf_to_priv(frames[k]);

			if (ip_is_none(&punt.next))
				neigh_input(r->neigh, punt.port_idx, frames[k], rig_now_ns);
			else
				neigh_hold(
					r->neigh, punt.port_idx, &punt.next, frames[k], rig_now_ns);
		}
		n_all += n;
	}
	while (grace_poll(r->grace))
		;
	return n_all;
}

void rig_settle(struct rig *r)
{
	/* What a timer sends is not counted as met: it takes one round more to go on. */
	for (unsigned n_quiet = 0; n_quiet < 2; n_quiet++) {
		unsigned n = control_turn(r);

		for (unsigned i = 0; i < r->params.n_workers; i++)
			n += rig_worker_turn(r, i);
		if (n)
			n_quiet = 0;
	}
	rig_listen(r);
	rig_check_balance(r);
}

void rig_listen(struct rig *r)
{
	void *m;

	for (unsigned i = 0; i < r->params.n_workers; i++) {
		while (mbox_pop_burst(r->mail[i].msgs, &m, 1)) {
			rte_pktmbuf_free(m);
			r->n_handshakes++;
		}
		while (mbox_pop_burst(r->mail[i].events, &m, 1)) {
			r->n_start += peer_event_kind_get(m) == PEER_EVENT_START;
			r->n_confirmed += peer_event_kind_get(m) == PEER_EVENT_CONFIRMED;
			r->n_retired += peer_event_kind_get(m) == PEER_EVENT_RETIRED;
			if (peer_event_kind_get(m) == PEER_EVENT_MSG)
				r->returned = (void *)(uintptr_t)peer_event_value_get(m);
		}
	}
}

uint64_t rig_counter(const struct rig *r, enum stats_counter counter)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < r->params.n_workers; i++)
		sum += path_stats(r->path, i)->counter[counter];
	return sum;
}

uint64_t rig_dropped(const struct rig *r, enum stats_drop reason)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < r->params.n_workers; i++)
		sum += path_stats(r->path, i)->drop[reason];
	return sum;
}

uint64_t rig_dropped_all(const struct rig *r)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < r->params.n_workers; i++)
		sum += stats_dropped(path_stats(r->path, i));
	return sum;
}

/* --- wires --- */

void rig_rx_mbuf(struct rig *r, unsigned port, unsigned queue, struct rte_mbuf *m)
{
	assert_int_equal(rte_ring_enqueue(r->rx[port_of(r, port)][queue], m), 0);
}

void rig_rx(struct rig *r, unsigned port, unsigned queue, const struct frame *f)
{
	struct rte_mbuf *m = pkt_alloc(r->mempool);
	char *at;

	assert_non_null(m);
	/* What its last owner left there means nothing. */
	memset(rte_mbuf_to_priv(m), 0x5a, PKT_PRIV_BYTES);
	at = rte_pktmbuf_append(m, (uint16_t)f->len);
	assert_non_null(at);
	memcpy(at, f->bytes, f->len);
	rig_rx_mbuf(r, port, queue, m);
}

bool rig_tx(struct rig *r, unsigned port, struct frame *out)
{
	for (unsigned q = 0; q < r->params.n_tx_queues; q++) {
		struct rte_mbuf *m;

		if (rte_ring_dequeue(r->tx[port_of(r, port)][q], (void **)&m) != 0)
			continue;
		assert_int_equal(m->nb_segs, 1);
		assert_int_equal(m->pkt_len, m->data_len);
		assert_true(m->data_len <= sizeof(out->bytes));
		out->len = m->data_len;
		memcpy(out->bytes, rte_pktmbuf_mtod(m, uint8_t *), out->len);
		rte_pktmbuf_free(m);
		return true;
	}
	return false;
}

unsigned rig_tx_count(struct rig *r, unsigned port)
{
	unsigned n = 0;

	for (unsigned q = 0; q < r->params.n_tx_queues; q++)
		n += rte_ring_count(r->tx[port_of(r, port)][q]);
	return n;
}

void rig_tx_discard(struct rig *r)
{
	struct frame f;

	for (unsigned i = 0; i < RIG_PORTS; i++)
		while (rig_tx(r, i, &f))
			;
}

void rig_public_wrap(struct rig *r, struct frame *f, size_t len)
{
	frame_wrap(f, rig_neighbour_mac(RIG_PUBLIC), &r->ports[port_of(r, RIG_PUBLIC)].mac, len);
}

void rig_public_frame(struct rig *r, struct frame *f, const struct flow *flow, size_t payload_len)
{
	frame_build(f, rig_neighbour_mac(RIG_PUBLIC), &r->ports[port_of(r, RIG_PUBLIC)].mac, flow,
		NULL, payload_len);
}
