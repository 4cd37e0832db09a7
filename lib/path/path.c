/* path.c - building the workers and taking them apart. */
#include "path/path.h"

#include <stdio.h>

#include <rte_malloc.h>
#include <rte_random.h>

#include "base/log.h"
#include "path/worker.h"

/* Packets that may wait between two workers: a few bursts of back-pressure, then drops are counted.
 */
#define HANDOVER_SLOTS 2048
/* Fragmented datagrams under way, and fragments that wait for their first: each direction of a
 * worker. */
#define DATAGRAMS_MAX	   1024
#define FRAGMENTS_HELD_MAX 256
/* Headers without options: what a TCP segment shares its packet with. */
#define IPV4_TCP_BYTES 40
#define IPV6_TCP_BYTES 60

static struct path_prefix prefix_from(const struct ip_prefix *prefix)
{
	unsigned v4_bits = prefix->len_bits - 96u;
	uint32_t mask = v4_bits ? UINT32_MAX << (32 - v4_bits) : 0;

	return (struct path_prefix){.net = load_be32(ip_v4_bytes(&prefix->addr)), .mask = mask};
}

static void addrs_add(struct path_addrs *set, const struct ip_addr *addr)
{
	if (ip_is_v4(addr))
		set->v4[set->n_v4++] = load_be32(ip_v4_bytes(addr));
	else
		set->v6[set->n_v6++] = *addr;
}

static void on_link_add(struct path_port *port, const struct ip_ifaddr *ifaddr)
{
	struct ip_prefix prefix = ip_ifaddr_prefix(ifaddr);

	if (ip_is_v4(&ifaddr->addr))
		port->on_link[port->n_on_link++] = prefix_from(&prefix);
}

static void ports_init(struct path *p)
{
	const struct conf *conf = p->params.conf;

	p->n_ports = conf->n_ports;
	for (unsigned i = 0; i < conf->n_ports; i++) {
		const struct conf_port *c = &conf->ports[i];
		struct path_port *port = &p->ports[i];

		port->port = &p->params.ports[i];
		port->is_tunnel = c->is_tunnel;
		port->is_public = c->is_public;
		port->answer_ping = c->answer_ping;
		port->mtu_bytes = c->mtu_bytes;
		for (unsigned w = 0; w < p->params.n_workers; w++)
			port->tx_worker[w] = (uint8_t)port_tx_worker(port->port, w);
		for (unsigned a = 0; a < c->n_ifaddrs; a++) {
			addrs_add(&port->locals, &c->ifaddrs[a].addr);
			addrs_add(&p->own, &c->ifaddrs[a].addr);
			on_link_add(port, &c->ifaddrs[a]);
		}
		port->gateway_v4 = load_be32(ip_v4_bytes(&c->gateway4));
		if (c->is_tunnel)
			p->tunnel_idx = i;
		if (c->is_public)
			p->public_idx = i;
	}
}

static void nat_init(struct path *p)
{
	const struct conf *conf = p->params.conf;

	for (unsigned i = 0; i < conf->n_pool; i++)
		p->pool[p->n_pool++] = prefix_from(&conf->pool[i]);
	for (unsigned i = 0; i < conf->n_nat_pool; i++)
		p->pool[p->n_pool++] = prefix_from(&conf->nat_pool[i]);
	for (unsigned i = 0; i < conf->n_dedicated; i++)
		p->pool[p->n_pool++] = prefix_from(&conf->dedicated[i]);
	for (unsigned i = 0; i < conf->n_nat_exempt; i++)
		p->exempt[p->n_exempt++] = prefix_from(&conf->nat_exempt[i]);
	p->n_blocked = conf->n_nat_blocked;
	memcpy(p->blocked, conf->nat_blocked, sizeof(p->blocked));
	p->peer_to_peer = conf->peer_to_peer;
	if (conf->mss_clamp) {
		p->mss4 = (uint16_t)(conf->inner_mtu_bytes - IPV4_TCP_BYTES);
		p->mss6 = (uint16_t)(conf->inner_mtu_bytes - IPV6_TCP_BYTES);
	}
}

static void inner_init(struct path *p)
{
	const struct conf *conf = p->params.conf;

	for (unsigned i = 0; i < conf->n_inner_addrs; i++)
		addrs_add(&p->inner, &conf->inner_addrs[i]);
}

static void nets_add(struct path_nets *nets, const struct path_prefix *prefix)
{
	for (uint32_t net = prefix->net >> 20; net <= (prefix->net | ~prefix->mask) >> 20; net++)
		nets->bits[net / 64] |= UINT64_C(1) << net % 64;
}

static void nets_add_addrs(struct path_nets *nets, const struct path_addrs *addrs)
{
	for (unsigned i = 0; i < addrs->n_v4; i++)
		nets_add(nets, &(struct path_prefix){addrs->v4[i], UINT32_MAX});
}

/* After ports_init, nat_init and inner_init. */
static void odd_init(struct path *p)
{
	for (uint32_t octet = 0; octet < 256; octet++)
		if (path_is_martian_v4(octet << 24))
			nets_add(&p->odd_sources, &(struct path_prefix){octet << 24, 0xff000000});
	nets_add_addrs(&p->odd_sources, &p->own);
	for (unsigned i = 0; i < p->n_pool; i++)
		nets_add(&p->odd_sources, &p->pool[i]);

	p->odd_destinations = p->odd_sources;
	nets_add(&p->odd_destinations, &PATH_LINK_LOCAL_V4);
	nets_add_addrs(&p->odd_destinations, &p->inner);
	for (unsigned i = 0; i < p->n_ports; i++)
		for (unsigned l = 0; l < p->ports[i].n_on_link; l++)
			nets_add(&p->odd_destinations, &p->ports[i].on_link[l]);
}

static void assign_rx_queues(struct path *p)
{
	for (unsigned i = 0; i < p->n_ports; i++) {
		for (uint16_t q = 0; q < p->params.ports[i].n_rx_queues; q++) {
			struct path_worker *w = p->workers[port_rx_worker(q, p->params.n_workers)];

			w->rx_queues[w->n_rx_queues++] = (struct path_rx_queue){(uint16_t)i, q};
		}
	}
}

static struct blocks *blocks_make(const struct conf *conf)
{
	struct blocks_conf bc = {
		.port_first = conf->nat_port_first,
		.port_last = conf->nat_port_last,
		.block_ports = conf->nat_block_ports,
	};

	for (unsigned i = 0; i < conf->n_pool; i++)
		bc.pool[bc.n_pool++] = conf->pool[i];
	for (unsigned i = 0; i < conf->n_nat_pool; i++)
		bc.pool[bc.n_pool++] = conf->nat_pool[i];
	return blocks_create(&bc);
}

static void *alloc_on(size_t bytes, int socket_id)
{
	return rte_zmalloc_socket("flows", bytes, RTE_CACHE_LINE_SIZE, socket_id);
}

static bool nat_create(struct path_worker *w, int socket_id)
{
	const struct conf *conf = w->path->params.conf;
	struct frag_conf fc = {
		.n_datagrams = DATAGRAMS_MAX,
		.owner_datagrams = DATAGRAMS_MAX / 16,
		.target_datagrams = DATAGRAMS_MAX / 16,
		.held_pkts = FRAGMENTS_HELD_MAX,
		.owner_held_pkts = FRAGMENTS_HELD_MAX / 16,
		.datagram_held_pkts = FRAG_HELD_MAX,
		.timeout_ns = conf->nat_fragment_ns,
	};

	crypto_random(fc.hash_key, sizeof(fc.hash_key));
	w->frags_in = frag_table_create(&fc);
	w->frags_out = frag_table_create(&fc);
	/* Numbers of one worker are those that are its index modulo the number of workers. */
	w->id_step = (uint16_t)w->path->params.n_workers;
	w->datagram_id = (uint16_t)(rte_rand() / w->id_step * w->id_step + w->idx);
	w->flows = flows_create(&(struct flow_conf){
		.max_peers = conf->max_peers,
		.max_sessions = conf->nat_max_sessions,
		.udp_ns = conf->nat_udp_ns,
		.tcp_established_ns = conf->nat_tcp_established_ns,
		.tcp_transitory_ns = conf->nat_tcp_transitory_ns,
		.icmp_ns = conf->nat_icmp_ns,
		.rest_ns = conf->nat_rest_ns,
		.blocks = w->path->blocks,
		.random = crypto_random,
		.alloc = alloc_on,
		.free = rte_free,
		.socket_id = socket_id,
	});
	return w->flows && w->frags_in && w->frags_out;
}

static bool worker_create(struct path *p, unsigned idx)
{
	int socket_id = p->params.ports[0].socket_id;
	struct path_worker *w =
		rte_zmalloc_socket("path_worker", sizeof(*w), RTE_CACHE_LINE_SIZE, socket_id);

	if (!w)
		return false;
	p->workers[idx] = w;
	w->path = p;
	w->idx = idx;
	w->now_ns = p->params.now_ns();
	w->ip_id = (uint16_t)rte_rand();
	w->mail = p->params.mail[idx];
	stats_recent_init(&w->recent, p->params.conf->drops_kept_ns);
	path_wheel_init(&w->wheel, w->now_ns);
	w->aead = aead_create(p->params.aead, socket_id);
	if (!w->aead || !nat_create(w, socket_id))
		return false;
	for (unsigned from = 0; from < p->params.n_workers; from++) {
		char name[RTE_RING_NAMESIZE];

		if (from == idx)
			continue;
		snprintf(name, sizeof(name), "hand_%u_%u", from, idx);
		w->rings_in[from] = rte_ring_create(
			name, HANDOVER_SLOTS, socket_id, RING_F_SP_ENQ | RING_F_SC_DEQ);
		if (!w->rings_in[from])
			return false;
	}
	return true;
}

struct path *path_create(const struct path_params *params)
{
	const struct conf *conf = params->conf;
	struct path *p = rte_zmalloc("path", sizeof(*p), RTE_CACHE_LINE_SIZE);

	if (!p)
		return NULL;
	p->params = *params;
	p->listen_port = conf->listen_port;
	p->inner_mtu_bytes = conf->inner_mtu_bytes;
	p->timing = (struct noise_timing){
		.rekey_after_ns = conf->rekey_after_ns,
		.reject_after_ns = conf->reject_after_ns,
		.rekey_attempt_ns = conf->rekey_attempt_ns,
		.rekey_timeout_ns = conf->rekey_timeout_ns,
		.keepalive_ns = conf->keepalive_ns,
	};
	/* Anybody may knock at silent peers: what waits for them must not be all buffers there are.
	 */
	p->max_holding = RTE_MAX(conf->n_mbufs / 8 / params->n_workers, (uint32_t)PEER_HOLD_MAX);
	ports_init(p);
	nat_init(p);
	inner_init(p);
	odd_init(p);
	p->blocks = blocks_make(conf);
	for (unsigned i = 0; i < params->n_workers; i++) {
		if (!p->blocks || !worker_create(p, i)) {
			path_destroy(p);
			return NULL;
		}
	}
	assign_rx_queues(p);
	return p;
}

static void free_held(struct path *p)
{
	for (uint32_t i = 0; i < p->params.conf->max_peers; i++) {
		struct peer_hot *hot = peer_hot(p->params.peers, i);

		/* Untouched peers are not read: their memory may never have been used. */
		if (peer_home(p->params.peers, i) != PEER_HOME_NONE && hot->n_held)
			rte_pktmbuf_free_bulk(hot->held, hot->n_held);
	}
}

static void free_fragments(struct frag_table *t)
{
	void *pkts[FRAG_HELD_MAX];
	unsigned n;

	while (t && (frag_n_datagrams(t) || frag_n_held(t))) {
		n = frag_expire(t, UINT64_MAX, pkts, FRAG_HELD_MAX);
		for (unsigned i = 0; i < n; i++)
			rte_pktmbuf_free(pkts[i]);
	}
	frag_table_destroy(t);
}

static void worker_destroy(struct path_worker *w, unsigned n_workers)
{
	free_fragments(w->frags_in);
	free_fragments(w->frags_out);
	flows_destroy(w->flows);
	for (unsigned from = 0; from < n_workers; from++) {
		struct rte_mbuf *m;

		if (!w->rings_in[from])
			continue;
		while (rte_ring_sc_dequeue(w->rings_in[from], (void **)&m) == 0)
			rte_pktmbuf_free(m);
		rte_ring_free(w->rings_in[from]);
	}
	aead_destroy(w->aead);
	rte_free(w);
}

void path_destroy(struct path *p)
{
	if (!p)
		return;
	free_held(p);
	for (unsigned i = 0; i < p->params.n_workers; i++)
		if (p->workers[i])
			worker_destroy(p->workers[i], p->params.n_workers);
	blocks_destroy(p->blocks);
	rte_free(p);
}

struct path_worker *path_worker(struct path *p, unsigned idx)
{
	return p->workers[idx];
}

void path_stop(struct path *p)
{
	atomic_store_explicit(&p->is_stopping, true, memory_order_relaxed);
}

const struct stats_worker *path_stats(const struct path *p, unsigned worker)
{
	return &p->workers[worker]->stats;
}

const struct stats_recent *path_recent(const struct path *p, unsigned worker)
{
	return &p->workers[worker]->recent;
}

const struct flows *path_flows(const struct path *p, unsigned worker)
{
	return p->workers[worker]->flows;
}

const struct blocks *path_blocks(const struct path *p)
{
	return p->blocks;
}
