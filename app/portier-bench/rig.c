#include "remote.h"
#include "rig.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include "base/bytes.h"
#include "crypto/crypto.h"
#include "pkt/pkt.h"

#define N_MBUFS	    16384u
#define MBUF_CACHE  256u /* as pkt_pool_create has it */
#define FRAME_SLOTS 1024u
#define ORDER_SLOTS 4096u
#define MSG_SLOTS   4096u

static uint64_t clock_skipped_ns;

uint64_t rig_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_IN_S + (uint64_t)ts.tv_nsec + clock_skipped_ns;
}

void rig_clock_skip(uint64_t ns)
{
	clock_skipped_ns += ns;
}

__attribute__((format(printf, 2, 3))) static int refuse(char *fault, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fault, RIG_FAULT_CHARS, fmt, ap);
	va_end(ap);
	return -1;
}

int rig_eal_up(bool is_huge, unsigned memory_mb, char fault[static RIG_FAULT_CHARS])
{
	char memory[16];
	/* Nothing in the runtime directory. DPDK takes --in-memory with hugepages only. */
	char *argv[] = {"portier-bench", "--no-telemetry", "--no-pci", "--lcores=0",
		"--log-level=lib.*:error", "--log-level=pmd.*:error",
		is_huge ? "--in-memory" : "--no-shconf", "-m", memory, is_huge ? NULL : "--no-huge",
		NULL};
	int argc = is_huge ? 9 : 10;

	snprintf(memory, sizeof(memory), "%u", memory_mb);
	if (rte_eal_init(argc, argv) < 0)
		return refuse(fault, "DPDK does not start: %s%s", rte_strerror(rte_errno),
			is_huge ? "; are enough hugepages reserved (dpdk-setup.sh status)?" : "");
	return 0;
}

/* --- configuration, as the daemon would have read it -------------------------------------------
 */

static void conf_port_init(struct conf_port *c, const char *name, uint32_t addr, uint32_t router)
{
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->device, sizeof(c->device), "net_ring_%s", name);
	c->ifaddrs[0] = (struct ip_ifaddr){rig_addr_v4(addr), 96 + 24};
	c->n_ifaddrs = 1;
	c->gateway4 = rig_addr_v4(router);
	c->mtu_bytes = 1500;
	c->answer_ping = true;
}

static struct conf *conf_create(const struct rig_params *params)
{
	struct conf *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->n_lcores = params->n_workers + 1;
	c->poll_always = true;
	c->n_ports = RIG_N_PORTS;
	conf_port_init(&c->ports[RIG_TUNNEL], "tunnel", RIG_ENTRY_V4, RIG_ENTRY_ROUTER_V4);
	conf_port_init(&c->ports[RIG_PUBLIC], "public", RIG_PUBLIC_V4, RIG_PUBLIC_ROUTER_V4);
	c->ports[RIG_TUNNEL].is_tunnel = true;
	c->ports[RIG_PUBLIC].is_public = true;
	crypto_random(c->private_key, sizeof(c->private_key));
	c->listen_port = RIG_LISTEN_PORT;
	c->inner_addrs[0] = rig_addr_v4(RIG_INNER_SELF_V4);
	c->n_inner_addrs = 1;
	c->max_peers = params->max_peers;
	c->inner_mtu_bytes = RIG_INNER_MTU;
	c->handshake_queue = MSG_SLOTS - 1;
	c->rekey_after_ns = noise_timing_default.rekey_after_ns;
	c->reject_after_ns = noise_timing_default.reject_after_ns;
	c->rekey_attempt_ns = noise_timing_default.rekey_attempt_ns;
	c->rekey_timeout_ns = noise_timing_default.rekey_timeout_ns;
	c->keepalive_ns = noise_timing_default.keepalive_ns;
	c->pool[0] = (struct ip_prefix){rig_addr_v4(RIG_POOL_V4), 96 + 26};
	c->n_pool = 1;
	c->lease_port_first = 1024;
	c->lease_port_last = 65535;
	c->default_ttl_ns = 3600 * NS_IN_S;
	c->max_ttl_ns = 24 * 3600 * NS_IN_S;
	c->quarantine_ns = 120 * NS_IN_S;
	c->max_leases = params->max_leases;
	c->max_leases_per_peer = params->max_leases;
	c->nat_port_first = c->nat_port_last = 1024;
	c->nat_block_ports = 64;
	c->nat_max_sessions = 1024;
	if (params->max_sessions) {
		c->lease_port_last = RIG_NAT_PORT_FIRST - 1;
		c->nat_port_first = RIG_NAT_PORT_FIRST;
		c->nat_port_last = RIG_NAT_PORT_LAST;
		c->nat_max_sessions = params->max_sessions;
	}
	c->nat_udp_ns = c->nat_tcp_established_ns = c->nat_tcp_transitory_ns = c->nat_icmp_ns =
		300 * NS_IN_S;
	if (params->max_sessions)
		c->nat_udp_ns = 3600 * NS_IN_S; /* none ends while it is measured */
	c->nat_rest_ns = 120 * NS_IN_S;
	c->nat_fragment_ns = 2 * NS_IN_S;
	c->drops_kept_ns = 600 * NS_IN_S;
	return c;
}

/* --- ring ports --------------------------------------------------------------------------------
 */

static struct rte_ring *ring_create(const char *way, unsigned port, unsigned queue)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "bench_%s_%u_%u", way, port, queue);
	return rte_ring_create(
		name, RIG_RING_SLOTS, (int)rte_socket_id(), RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static bool rings_up(struct rig *rig, unsigned idx)
{
	for (unsigned q = 0; q < rig->params.n_workers; q++) {
		rig->rx[idx][q] = ring_create("rx", idx, q);
		rig->tx[idx][q] = ring_create("tx", idx, q);
		if (!rig->rx[idx][q] || !rig->tx[idx][q])
			return false;
	}
	return true;
}

static int port_up(struct rig *rig, unsigned idx)
{
	struct port *port = &rig->ports[idx];
	struct rte_eth_conf eth_conf = {0};
	unsigned n = rig->params.n_workers;
	int eth_id, rc;

	if (!rings_up(rig, idx))
		return -ENOMEM;
	snprintf(port->name, sizeof(port->name), "%s", rig->conf->ports[idx].name);
	eth_id = rte_eth_from_rings(port->name, rig->rx[idx], n, rig->tx[idx], n, rte_socket_id());
	if (eth_id < 0)
		return -rte_errno;
	rig->n_ports++;
	port->eth_id = (uint16_t)eth_id;
	port->n_rx_queues = port->n_tx_queues = (uint16_t)n;
	port->socket_id = (int)rte_socket_id();
	port->driver = "net_ring";
	rc = rte_eth_dev_configure(port->eth_id, (uint16_t)n, (uint16_t)n, &eth_conf);
	for (uint16_t q = 0; rc == 0 && q < n; q++)
		rc = rte_eth_rx_queue_setup(
			port->eth_id, q, RIG_RING_SLOTS, rte_socket_id(), NULL, rig->mempool);
	for (uint16_t q = 0; rc == 0 && q < n; q++)
		rc = rte_eth_tx_queue_setup(port->eth_id, q, RIG_RING_SLOTS, rte_socket_id(), NULL);
	if (rc == 0)
		rc = rte_eth_macaddr_get(port->eth_id, &port->mac);
	return rc == 0 ? rte_eth_dev_start(port->eth_id) : rc;
}

static void rings_down(struct rig *rig)
{
	for (unsigned p = 0; p < RIG_N_PORTS; p++) {
		for (unsigned q = 0; q < rig->params.n_workers; q++) {
			struct rte_mbuf *m;

			while (rig->rx[p][q] && rte_ring_dequeue(rig->rx[p][q], (void **)&m) == 0)
				rte_pktmbuf_free(m);
			while (rig->tx[p][q] && rte_ring_dequeue(rig->tx[p][q], (void **)&m) == 0)
				rte_pktmbuf_free(m);
			rte_ring_free(rig->rx[p][q]);
			rte_ring_free(rig->tx[p][q]);
		}
	}
}

/* --- tables and threads ------------------------------------------------------------------------
 */

static void send_frame(void *arg, uint16_t port_idx, struct rte_mbuf *frame)
{
	struct rig *rig = arg;

	*(struct path_punt *)rte_mbuf_to_priv(frame) = (struct path_punt){.port_idx = port_idx};
	if (!mbox_push(rig->mail[0].from_control, frame))
		rte_pktmbuf_free(frame);
}

static int mailboxes_up(struct rig *rig)
{
	uint32_t n_peer_msgs = rte_align32pow2(2 * rig->params.max_peers + 2);
	char name[RTE_RING_NAMESIZE];
	bool ok;

	rig->peer_msgs_out = mbox_create("peer_msgs_out", n_peer_msgs, true, SOCKET_ID_ANY);
	rig->peer_msgs_in = mbox_create("peer_msgs_in", n_peer_msgs, true, SOCKET_ID_ANY);
	ok = rig->peer_msgs_out && rig->peer_msgs_in;
	for (unsigned i = 0; ok && i < rig->params.n_workers; i++) {
		struct path_mail *mail = &rig->mail[i];

		snprintf(name, sizeof(name), "msgs_%u", i);
		mail->msgs = mbox_create(name, MSG_SLOTS, true, SOCKET_ID_ANY);
		snprintf(name, sizeof(name), "events_%u", i);
		mail->events =
			mbox_create(name, peer_events_n_slots(rig->keypairs, rig->params.max_peers),
				true, SOCKET_ID_ANY);
		snprintf(name, sizeof(name), "orders_%u", i);
		mail->orders = mbox_create(name, ORDER_SLOTS, false, SOCKET_ID_ANY);
		snprintf(name, sizeof(name), "to_control_%u", i);
		mail->to_control = mbox_create(name, FRAME_SLOTS, true, SOCKET_ID_ANY);
		snprintf(name, sizeof(name), "from_control_%u", i);
		mail->from_control = mbox_create(name, FRAME_SLOTS, false, SOCKET_ID_ANY);
		snprintf(name, sizeof(name), "requests_%u", i);
		mail->requests = mbox_create(name, FRAME_SLOTS, true, SOCKET_ID_ANY);
		snprintf(name, sizeof(name), "replies_%u", i);
		mail->replies = mbox_create(name, FRAME_SLOTS, false, SOCKET_ID_ANY);
		snprintf(name, sizeof(name), "probes_%u", i);
		mail->probes = mbox_create(name, FRAME_SLOTS, false, SOCKET_ID_ANY);
		ok = mail->msgs && mail->events && mail->orders && mail->to_control &&
		     mail->from_control && mail->requests && mail->replies && mail->probes;
	}
	return ok ? 0 : -1;
}

static struct neigh *neighbours_create(struct rig *rig)
{
	const struct conf *conf = rig->conf;
	struct neigh_link links[RIG_N_PORTS];

	for (unsigned i = 0; i < RIG_N_PORTS; i++) {
		const struct conf_port *c = &conf->ports[i];

		links[i] = (struct neigh_link){
			.port_idx = (uint16_t)i,
			.mac = rig->ports[i].mac,
			.ifaddrs = {c->ifaddrs[0]},
			.n_ifaddrs = 1,
			.gateway4 = c->gateway4,
		};
	}
	links[RIG_PUBLIC].pool[0] = conf->pool[0];
	links[RIG_PUBLIC].n_pool = 1;
	return neigh_create(&(struct neigh_params){
		.links = links,
		.n_links = RIG_N_PORTS,
		.max_entries = 64,
		.mempool = rig->mempool,
		.grace = rig->grace,
		.send = send_frame,
		.send_arg = rig,
	});
}

static struct lease_table *leases_create(const struct conf *conf)
{
	struct lease_conf lc = {
		.n_pool = conf->n_pool,
		.port_first = conf->lease_port_first,
		.port_last = conf->lease_port_last,
		.max_leases = conf->max_leases,
		.default_ttl_ns = conf->default_ttl_ns,
		.max_ttl_ns = conf->max_ttl_ns,
		.quarantine_ns = conf->quarantine_ns,
		.random = crypto_random,
	};

	lc.pool[0] = conf->pool[0];
	return lease_table_create(&lc);
}

static int tables_up(struct rig *rig)
{
	const struct rig_params *params = &rig->params;

	rig->grace = grace_create(params->n_workers + 1);
	if (!rig->grace)
		return -1;
	rig->peers = peers_create(&(struct peer_params){.max_peers = params->max_peers,
		.n_workers = params->n_workers,
		.grace = rig->grace,
		.socket_id = SOCKET_ID_ANY});
	rig->keypairs = keypairs_create(params->n_workers, params->max_peers);
	rig->leases = leases_create(rig->conf);
	rig->doors = doors_create(params->max_leases, params->max_peers, rig->grace, SOCKET_ID_ANY);
	rig->neigh = neighbours_create(rig);
	rig->probes = probes_create(rig->grace);
	if (!rig->peers || !rig->keypairs || !rig->leases || !rig->doors || !rig->probes ||
		!rig->neigh || mailboxes_up(rig) < 0)
		return -1;
	peers_connect(rig->peers, rig->peer_msgs_out, rig->peer_msgs_in);
	return 0;
}

static int path_up(struct rig *rig)
{
	rig->path = path_create(&(struct path_params){
		.conf = rig->conf,
		.ports = rig->ports,
		.n_workers = rig->params.n_workers,
		.mail = rig->mail,
		.peers = rig->peers,
		.keypairs = rig->keypairs,
		.doors = rig->doors,
		.probes = rig->probes,
		.neigh = rig->neigh,
		.grace = rig->grace,
		.mempool = rig->mempool,
		.aead = rig->aead,
		.now_ns = rig_now_ns,
	});
	if (!rig->path)
		return -1;
	for (unsigned i = 0; i < rig->params.n_workers; i++) {
		rig->workers[i] = path_worker(rig->path, i);
		grace_reader_online(rig->grace, i);
	}
	return 0;
}

int rig_start_elsewhere(pthread_t *thread, void *(*body)(void *), void *arg)
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	int rc;

	CPU_ZERO(&cpus);
	for (int i = 0; i < CPU_SETSIZE && i < get_nprocs(); i++)
		if (i != sched_getcpu())
			CPU_SET(i, &cpus);
	pthread_attr_init(&attr);
	if (CPU_COUNT(&cpus) > 0)
		pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	rc = pthread_create(thread, &attr, body, arg);
	pthread_attr_destroy(&attr);
	return rc;
}

static void *handshake_main(void *arg)
{
	handshake_run(arg);
	return NULL;
}

static int handshake_up(struct rig *rig)
{
	const struct conf *conf = rig->conf;
	struct handshake_params params = {
		.peers = rig->peers,
		.keypairs = rig->keypairs,
		.from_control = rig->peer_msgs_out,
		.to_control = rig->peer_msgs_in,
		.grace = rig->grace,
		.grace_reader_id = rig->params.n_workers,
		.mbufs = rig->mempool,
		.timing =
			{
				.rekey_after_ns = conf->rekey_after_ns,
				.reject_after_ns = conf->reject_after_ns,
				.rekey_attempt_ns = conf->rekey_attempt_ns,
				.rekey_timeout_ns = conf->rekey_timeout_ns,
				.keepalive_ns = conf->keepalive_ns,
			},
		.queue_msgs = conf->handshake_queue,
		.stats = &rig->handshake_stats,
		.now_ns = rig_now_ns,
		.socket_id = SOCKET_ID_ANY,
	};

	for (unsigned i = 0; i < rig->params.n_workers; i++)
		params.lanes[i] = (struct handshake_lane){
			.msgs = rig->mail[i].msgs,
			.events = rig->mail[i].events,
			.orders = rig->mail[i].orders,
		};
	memcpy(params.private_key, conf->private_key, sizeof(params.private_key));
	rig->handshake = handshake_create(&params);
	if (!rig->handshake)
		return -1;
	if (!rig->params.has_handshake_thread) {
		grace_reader_online(rig->grace, rig->params.n_workers);
		return 0;
	}
	if (rig_start_elsewhere(&rig->handshake_thread, handshake_main, rig->handshake) != 0)
		return -1;
	rig->is_handshake_running = true;
	return 0;
}

/* Packet buffers one behind the other, as they lie in hugepages. In ordinary pages DPDK begins each
 * on a page of its own, where a device's addresses must not break; then all are 4,096 bytes apart,
 * in the same few sets of the first-level cache, and a packet of 1,420 bytes costs a fifth more. No
 * device is here that would mind. */
static struct rte_mempool *mempool_create(void)
{
	struct rte_pktmbuf_pool_private priv = {
		.mbuf_data_room_size = RTE_PKTMBUF_HEADROOM + PKT_DATA_ROOM_BYTES,
		.mbuf_priv_size = PKT_PRIV_BYTES,
	};
	unsigned element_bytes =
		sizeof(struct rte_mbuf) + priv.mbuf_priv_size + priv.mbuf_data_room_size;
	struct rte_mempool *pool = rte_mempool_create_empty("packets", N_MBUFS, element_bytes,
		MBUF_CACHE, sizeof(priv), (int)rte_socket_id(), RTE_MEMPOOL_F_NO_IOVA_CONTIG);

	if (!pool)
		return NULL;
	rte_pktmbuf_pool_init(pool, &priv);
	if (rte_mempool_populate_default(pool) < 0) {
		rte_mempool_free(pool);
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

/* The addresses of its ports are ours to say: the locally administered ones of their numbers. */
static int remote_up(struct rig *rig, char fault[static RIG_FAULT_CHARS])
{
	for (unsigned i = 0; i < RIG_N_PORTS; i++) {
		rig->ports[i].mac = (struct rte_ether_addr){{0x02, 0, 0, 0, 0, (uint8_t)(i + 1)}};
		if (!rings_up(rig, i))
			return refuse(fault, "out of memory for rings");
	}
	rig->remote = remote_start(rig, fault);
	return rig->remote ? 0 : -1;
}

int rig_up(struct rig *rig, const struct rig_params *params, char fault[static RIG_FAULT_CHARS])
{
	struct crypto_x25519_key *key;

	*rig = (struct rig){.params = *params};
	rig->conf = conf_create(params);
	key = rig->conf ? crypto_x25519_key_create(rig->conf->private_key) : NULL;
	if (!key)
		return refuse(fault, "out of memory");
	crypto_x25519_key_public(key, rig->public_key);
	crypto_x25519_key_destroy(key);
	rig->aead = aead_select(params->aead, NULL);
	if (rig->aead == AEAD_AUTO)
		return refuse(fault, "the AEAD back end does not work on this CPU");
	rig->mempool = mempool_create();
	if (!rig->mempool)
		return refuse(fault, "out of memory for %u packet buffers", N_MBUFS);
	if (params->is_remote)
		return remote_up(rig, fault);
	for (unsigned i = 0; i < RIG_N_PORTS; i++) {
		int rc = port_up(rig, i);

		if (rc < 0)
			return refuse(
				fault, "ring port %u does not come up: %s", i, rte_strerror(-rc));
	}
	if (tables_up(rig) < 0)
		return refuse(fault, "out of memory for %" PRIu32 " peers and %" PRIu32 " leases",
			params->max_peers, params->max_leases);
	if (path_up(rig) < 0 || handshake_up(rig) < 0)
		return refuse(fault, "out of memory for the workers");
	return 0;
}

/* --- down --------------------------------------------------------------------------------------
 */

static void drain_frames(struct mbox *m)
{
	void *frame;

	while (m && mbox_pop_burst(m, &frame, 1))
		rte_pktmbuf_free(frame);
}

static void mailboxes_down(struct rig *rig)
{
	for (unsigned i = 0; i < rig->params.n_workers; i++) {
		struct path_mail *mail = &rig->mail[i];

		drain_frames(mail->to_control);
		drain_frames(mail->from_control);
		drain_frames(mail->requests);
		drain_frames(mail->replies);
		drain_frames(mail->probes);
		mbox_destroy(mail->msgs);
		mbox_destroy(mail->events);
		mbox_destroy(mail->orders);
		mbox_destroy(mail->to_control);
		mbox_destroy(mail->from_control);
		mbox_destroy(mail->requests);
		mbox_destroy(mail->replies);
		mbox_destroy(mail->probes);
	}
	mbox_destroy(rig->peer_msgs_out);
	mbox_destroy(rig->peer_msgs_in);
}

void rig_down(struct rig *rig)
{
	remote_stop(rig->remote);
	if (rig->path)
		for (unsigned i = 0; i < rig->params.n_workers; i++)
			grace_reader_offline(rig->grace, i);
	if (rig->is_handshake_running) {
		handshake_stop(rig->handshake);
		pthread_join(rig->handshake_thread, NULL);
	} else if (rig->handshake) {
		grace_reader_offline(rig->grace, rig->params.n_workers);
	}
	while (rig->grace && grace_pending(rig->grace) && grace_poll(rig->grace))
		;
	handshake_destroy(rig->handshake);
	path_destroy(rig->path);
	neigh_destroy(rig->neigh);
	doors_destroy(rig->doors);
	probes_destroy(rig->probes);
	lease_table_destroy(rig->leases);
	peers_destroy(rig->peers);
	keypairs_destroy(rig->keypairs);
	mailboxes_down(rig);
	grace_destroy(rig->grace);
	for (unsigned i = 0; i < rig->n_ports; i++)
		port_close(&rig->ports[i]);
	rings_down(rig);
	rte_mempool_free(rig->mempool);
	free(rig->conf);
	*rig = (struct rig){0};
}
