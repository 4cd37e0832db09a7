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

static struct path_pool pool_from_prefix(const struct ip_prefix *prefix)
{
	unsigned v4_bits = prefix->len_bits - 96u;
	uint32_t mask = v4_bits ? UINT32_MAX << (32 - v4_bits) : 0;

	return (struct path_pool){.net = load_be32(ip_v4_bytes(&prefix->addr)), .mask = mask};
}

static void addrs_add(struct path_addrs *set, const struct ip_addr *addr)
{
	if (ip_is_v4(addr))
		set->v4[set->n_v4++] = load_be32(ip_v4_bytes(addr));
	else
		set->v6[set->n_v6++] = *addr;
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
		}
		if (c->is_tunnel)
			p->tunnel_idx = i;
		if (c->is_public) {
			p->public_idx = i;
			for (unsigned a = 0; a < conf->n_pool; a++)
				p->pool[p->n_pool++] = pool_from_prefix(&conf->pool[a]);
		}
	}
}

static void inner_init(struct path *p)
{
	const struct conf *conf = p->params.conf;

	for (unsigned i = 0; i < conf->n_inner_addrs; i++)
		addrs_add(&p->inner, &conf->inner_addrs[i]);
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
	path_wheel_init(&w->wheel, w->now_ns);
	w->aead = aead_create(p->params.aead, socket_id);
	if (!w->aead)
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
	inner_init(p);
	for (unsigned i = 0; i < params->n_workers; i++) {
		if (!worker_create(p, i)) {
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

static void worker_destroy(struct path_worker *w, unsigned n_workers)
{
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
