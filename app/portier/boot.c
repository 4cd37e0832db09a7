#include "boot.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <numa.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_version.h>

#include "base/log.h"
#include "crypto/crypto.h"
#include "pkt/pkt.h"
#include "path/steer.h"

#include "control.h"
#include "telemetry.h"

#define FRAME_SLOTS 1024u
#define ORDER_SLOTS 4096u
/* Of NAT-PMP and PCP: 44,000 a second from a million peers are 90 in the 2 ms of a busy turn. */
#define REQUEST_SLOTS	 4096u
#define PROBE_MAIL_SLOTS 64u
#define EAL_ARGS	 (CONF_EAL_ARGS_MAX + 16)

static uint64_t read_clock(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_IN_S + (uint64_t)ts.tv_nsec;
}

/* 36 years ahead, so that what was before this machine started has a place on it too. */
uint64_t boot_now_ns(void)
{
	return (UINT64_C(1) << 60) + read_clock(CLOCK_MONOTONIC);
}

static uint64_t wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

__attribute__((format(printf, 2, 3))) static int refuse(char *fault, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fault, BOOT_FAULT_CHARS, fmt, ap);
	va_end(ap);
	return -1;
}

static bool needs_pci(const struct conf *conf)
{
	for (unsigned i = 0; i < conf->n_ports; i++)
		if (strncmp(conf->ports[i].device, "net_", 4) != 0)
			return true;
	return false;
}

/* "0@0,1@1,2@1": lcore i runs on the i-th CPU of eal.lcores; several may share one. */
static void format_lcores(const struct conf *conf, char *out, size_t out_bytes)
{
	size_t at = 0;

	for (uint32_t i = 0; i < conf->n_lcores && at < out_bytes; i++)
		at += (size_t)snprintf(out + at, out_bytes - at, "%s%u@%u",
			i ? "," : "--lcores=", i, conf->lcore_cpus[i]);
}

static int eal_up(struct boot *b, char *fault)
{
	const struct conf *conf = b->conf;
	char lcores[16 * (CONF_WORKERS_MAX + 1) + 16], memory[32];
	char *argv[EAL_ARGS];
	int argc = 0;

	format_lcores(conf, lcores, sizeof(lcores));
	snprintf(memory, sizeof(memory), "%u", conf->memory_mb);
	argv[argc++] = "portier";
	argv[argc++] = lcores;
	argv[argc++] = "--main-lcore=0";
	if (!conf->telemetry)
		argv[argc++] = "--no-telemetry";
	argv[argc++] = "--log-level=lib.*:error";
	argv[argc++] = "--log-level=pmd.*:error";
	argv[argc++] = "-m";
	argv[argc++] = memory;
	if (conf->no_huge)
		argv[argc++] = "--no-huge";
	/* No files in hugetlbfs or the runtime directory: nothing is left behind by a crash.
	 * Without hugepages DPDK refuses the first of these. */
	argv[argc++] = conf->no_huge ? "--no-shconf" : "--in-memory";
	if (!needs_pci(conf))
		argv[argc++] = "--no-pci";
	for (unsigned i = 0; i < conf->n_eal_args; i++)
		argv[argc++] = (char *)conf->eal_args[i];
	if (rte_eal_init(argc, argv) < 0)
		return refuse(fault,
			"eal: DPDK does not start: %s; check eal.lcores, eal.memory_mb, eal.args, "
			"and "
			"whether hugepages are reserved and mounted (dpdk-setup.sh status) or "
			"eal.huge "
			"is false",
			rte_strerror(rte_errno));
	b->is_eal_up = true;
	return 0;
}

static int ports_up(struct boot *b, char *fault)
{
	const struct conf *conf = b->conf;

	b->mempool = pkt_pool_create("packets", conf->n_mbufs, (int)rte_socket_id());
	if (!b->mempool)
		return refuse(fault,
			"eal.mbufs: %u packet buffers do not fit into eal.memory_mb = %u",
			conf->n_mbufs, conf->memory_mb);
	for (unsigned i = 0; i < conf->n_ports; i++) {
		const struct conf_port *c = &conf->ports[i];
		char port_fault[PORT_FAULT_CHARS] = "";
		struct port_params params = {
			.name = c->name,
			.device = c->device,
			.n_workers = b->n_workers,
			.n_rx_queues = c->n_rx_queues,
			.rx_ring_pkts = c->rx_ring_pkts,
			.tx_ring_pkts = c->tx_ring_pkts,
			.mtu_bytes = c->mtu_bytes,
			.mempool = b->mempool,
		};

		if (port_open(&b->ports[i], &params, port_fault) < 0)
			return refuse(fault, "%s", port_fault);
		b->n_ports++;
		b->eth_port_ids[i] = b->ports[i].eth_id;
		log_info("port %s: %s by %s, %u rx and %u tx queues", c->name, c->device,
			b->ports[i].driver, b->ports[i].n_rx_queues, b->ports[i].n_tx_queues);
	}
	return 0;
}

/* What rings can hold at once; with fewer buffers than that, a full ring starves the others. */
static void warn_mbufs(const struct boot *b)
{
	uint64_t n_ring_pkts = 0;

	for (unsigned i = 0; i < b->n_ports; i++)
		n_ring_pkts += (uint64_t)b->ports[i].n_rx_queues * b->conf->ports[i].rx_ring_pkts +
			       (uint64_t)b->ports[i].n_tx_queues * b->conf->ports[i].tx_ring_pkts;
	if (n_ring_pkts > b->conf->n_mbufs)
		log_warn("eal.mbufs = %u is less than the %" PRIu64
			 " packets that the rings of the "
			 "ports hold; raise it, or lower rx_ring and tx_ring",
			b->conf->n_mbufs, n_ring_pkts);
}

/* A worker that crosses sockets for every packet works, at a price the operator should know. */
static void warn_numa(const struct boot *b)
{
	if (numa_available() < 0)
		return;
	for (unsigned w = 0; w < b->n_workers; w++) {
		int worker_node = numa_node_of_cpu((int)b->conf->lcore_cpus[w + 1]);

		for (unsigned i = 0; i < b->n_ports; i++)
			if (b->ports[i].socket_id >= 0 && b->ports[i].socket_id != worker_node)
				log_warn(
					"worker %u is on NUMA node %d, port %s on node %d: packets "
					"cross sockets",
					w, worker_node, b->ports[i].name, b->ports[i].socket_id);
	}
}

static int mailboxes_up(struct boot *b, char *fault)
{
	uint32_t n_peer_msgs = rte_align32pow2(2 * b->conf->max_peers + 2);
	char name[RTE_RING_NAMESIZE];
	int socket_id = (int)rte_socket_id();
	bool ok;

	b->peer_msgs_out = mbox_create("peer_msgs_out", n_peer_msgs, true, socket_id);
	b->peer_msgs_in = mbox_create("peer_msgs_in", n_peer_msgs, true, socket_id);
	ok = b->peer_msgs_out && b->peer_msgs_in;
	for (unsigned i = 0; ok && i < b->n_workers; i++) {
		struct path_mail *mail = &b->mail[i];

		snprintf(name, sizeof(name), "msgs_%u", i);
		mail->msgs = mbox_create(
			name, rte_align32pow2(b->conf->handshake_queue + 1), true, socket_id);
		snprintf(name, sizeof(name), "events_%u", i);
		mail->events = mbox_create(name,
			peer_events_n_slots(b->keypairs, b->conf->max_peers), true, socket_id);
		snprintf(name, sizeof(name), "orders_%u", i);
		mail->orders = mbox_create(name, ORDER_SLOTS, false, socket_id);
		snprintf(name, sizeof(name), "to_control_%u", i);
		mail->to_control = mbox_create(name, FRAME_SLOTS, true, socket_id);
		snprintf(name, sizeof(name), "from_control_%u", i);
		mail->from_control = mbox_create(name, FRAME_SLOTS, false, socket_id);
		snprintf(name, sizeof(name), "requests_%u", i);
		mail->requests = mbox_create(name, REQUEST_SLOTS, true, socket_id);
		snprintf(name, sizeof(name), "replies_%u", i);
		mail->replies = mbox_create(name, REQUEST_SLOTS, false, socket_id);
		snprintf(name, sizeof(name), "probes_%u", i);
		mail->probes = mbox_create(name, PROBE_MAIL_SLOTS, false, socket_id);
		ok = mail->msgs && mail->events && mail->orders && mail->to_control &&
		     mail->from_control && mail->requests && mail->replies && mail->probes;
	}
	if (!ok)
		return refuse(fault,
			"mailboxes: out of memory; raise eal.memory_mb = %u or lower "
			"tunnel.max_peers = %u",
			b->conf->memory_mb, b->conf->max_peers);
	peers_connect(b->peers, b->peer_msgs_out, b->peer_msgs_in);
	return 0;
}

static struct lease_table *leases_create(const struct conf *conf)
{
	struct lease_conf lc = {
		.n_pool = conf->n_pool,
		.n_dedicated = conf->n_dedicated,
		.port_first = conf->lease_port_first,
		.port_last = conf->lease_port_last,
		.max_leases = conf->max_leases,
		.default_ttl_ns = conf->default_ttl_ns,
		/* ctl clamps what is asked for; what the configuration opens has no end. */
		.max_ttl_ns = TIME_NEVER,
		.max_age_ns = conf->max_age_ns,
		.reserve_ns = conf->reserve_ns,
		.quarantine_ns = conf->quarantine_ns,
		.n_deny = conf->n_deny,
		.random = crypto_random,
	};

	memcpy(lc.pool, conf->pool, sizeof(conf->pool[0]) * conf->n_pool);
	memcpy(lc.dedicated, conf->dedicated, sizeof(conf->dedicated[0]) * conf->n_dedicated);
	for (unsigned i = 0; i < conf->n_deny; i++)
		lc.deny[i] = (struct lease_ports){conf->deny[i].first, conf->deny[i].last};
	return lease_table_create(&lc);
}

static void link_pool_add(struct neigh_link *link, const struct ip_prefix *pool, unsigned n)
{
	static_assert(NEIGH_POOL_MAX >= 3 * CONF_POOL_MAX, "room for every pool");

	memcpy(link->pool + link->n_pool, pool, n * sizeof(pool[0]));
	link->n_pool += n;
}

static struct neigh *neighbours_create(struct boot *b)
{
	static struct neigh_link links[CONF_PORTS_MAX];
	const struct conf *conf = b->conf;

	for (unsigned i = 0; i < conf->n_ports; i++) {
		const struct conf_port *c = &conf->ports[i];

		links[i] = (struct neigh_link){
			.port_idx = (uint16_t)i,
			.mac = b->ports[i].mac,
			.n_ifaddrs = c->n_ifaddrs,
			.gateway4 = c->gateway4,
			.gateway6 = c->gateway6,
		};
		memcpy(links[i].ifaddrs, c->ifaddrs, sizeof(c->ifaddrs[0]) * c->n_ifaddrs);
		if (c->is_public) {
			link_pool_add(&links[i], conf->pool, conf->n_pool);
			link_pool_add(&links[i], conf->nat_pool, conf->n_nat_pool);
			link_pool_add(&links[i], conf->dedicated, conf->n_dedicated);
		}
	}
	return neigh_create(&(struct neigh_params){
		.links = links,
		.n_links = conf->n_ports,
		.max_entries = 4096,
		.mempool = b->mempool,
		.grace = b->grace,
		.send = control_send_frame,
		.send_arg = b,
	});
}

static int tables_up(struct boot *b, char *fault)
{
	const struct conf *conf = b->conf;
	int socket_id = (int)rte_socket_id();

	b->grace = grace_create(b->n_workers + 1);
	if (b->grace)
		b->peers = peers_create(&(struct peer_params){.max_peers = conf->max_peers,
			.n_workers = b->n_workers,
			.grace = b->grace,
			.socket_id = socket_id});
	b->keypairs = keypairs_create(b->n_workers, conf->max_peers);
	if (!b->grace || !b->peers || !b->keypairs)
		return refuse(fault, "tunnel.max_peers: %u peers do not fit into memory",
			conf->max_peers);
	b->leases = leases_create(conf);
	b->doors = doors_create(conf->max_leases, conf->max_peers, b->grace, socket_id);
	b->probes = probes_create(b->grace);
	if (!b->leases || !b->doors || !b->probes)
		return refuse(
			fault, "leases.max: %u leases do not fit into memory", conf->max_leases);
	b->neigh = neighbours_create(b);
	if (!b->neigh)
		return refuse(fault, "neighbour table: out of memory; raise eal.memory_mb = %u",
			conf->memory_mb);
	return mailboxes_up(b, fault);
}

static int path_up(struct boot *b, char *fault)
{
	uint64_t cycles = 0;

	b->aead = aead_select((enum aead_backend)b->conf->aead_backend, &cycles);
	if (b->aead == AEAD_AUTO)
		return refuse(fault, "workers.aead: the wanted back end does not work on this CPU; "
				     "accepted are \"auto\", \"ipsec-mb\", \"openssl\" and "
				     "\"lanes\"");
	log_info("AEAD by %s: %" PRIu64 " cycles to seal a packet of mixed sizes",
		aead_backend_name(b->aead), cycles);
	b->path = path_create(&(struct path_params){
		.conf = b->conf,
		.ports = b->ports,
		.n_workers = b->n_workers,
		.mail = b->mail,
		.peers = b->peers,
		.keypairs = b->keypairs,
		.doors = b->doors,
		.probes = b->probes,
		.neigh = b->neigh,
		.grace = b->grace,
		.mempool = b->mempool,
		.aead = b->aead,
		.now_ns = boot_now_ns,
	});
	if (!b->path)
		return refuse(fault, "workers: out of memory; raise eal.memory_mb = %u",
			b->conf->memory_mb);
	for (unsigned i = 0; i < b->n_workers; i++) {
		b->worker_stats[i] = path_stats(b->path, i);
		b->worker_flows[i] = path_flows(b->path, i);
		b->worker_recent[i] = path_recent(b->path, i);
	}
	return 0;
}

static void *handshake_main(void *arg)
{
	handshake_run(arg);
	return NULL;
}

static int handshake_up(struct boot *b, char *fault)
{
	const struct conf *conf = b->conf;
	struct handshake_params params = {
		.peers = b->peers,
		.keypairs = b->keypairs,
		.from_control = b->peer_msgs_out,
		.to_control = b->peer_msgs_in,
		.grace = b->grace,
		.grace_reader_id = b->n_workers,
		.mbufs = b->mempool,
		.timing =
			{
				.rekey_after_ns = conf->rekey_after_ns,
				.reject_after_ns = conf->reject_after_ns,
				.rekey_attempt_ns = conf->rekey_attempt_ns,
				.rekey_timeout_ns = conf->rekey_timeout_ns,
				.keepalive_ns = conf->keepalive_ns,
			},
		.queue_msgs = conf->handshake_queue,
		.home_shift = conf->home_shift,
		.stats = &b->handshake_stats,
		.now_ns = boot_now_ns,
		.socket_id = (int)rte_socket_id(),
	}; /* wiped */

	for (unsigned i = 0; i < b->n_workers; i++)
		params.lanes[i] = (struct handshake_lane){
			.msgs = b->mail[i].msgs,
			.events = b->mail[i].events,
			.orders = b->mail[i].orders,
		};
	memcpy(params.private_key, conf->private_key, sizeof(params.private_key));
	b->handshake = handshake_create(&params);
	crypto_wipe(&params, sizeof(params));
	if (!b->handshake)
		return refuse(fault, "handshake thread: out of memory or descriptors");
	if (pthread_create(&b->handshake_thread, NULL, handshake_main, b->handshake) != 0)
		return refuse(fault, "handshake thread: the system refuses a thread");
	pthread_setname_np(b->handshake_thread, "handshake");
	b->is_handshake_running = true;
	return 0;
}

static int why(void *arg, const struct why_packet *q, struct why_answer *out)
{
	const struct boot *b = arg;

	return path_why(b->path, q, out);
}

static int ctl_up(struct boot *b, char *fault)
{
	char ctl_fault[CTL_FAULT_CHARS] = "", store_fault[STORE_FAULT_CHARS];

	if (b->conf->store_path[0] != '\0') {
		b->store = store_open(b->conf->store_path, wall_ns(), store_fault);
		if (!b->store)
			return refuse(fault, "%s", store_fault);
	}
	b->ctl = ctl_create(
		&(struct ctl_params){
			.base = b->base,
			.conf = b->conf,
			.conf_path = b->conf_path,
			.peers = b->peers,
			.leases = b->leases,
			.doors = b->doors,
			.store = b->store,
			.neigh = b->neigh,
			.grace = b->grace,
			.flows = b->worker_flows,
			.blocks = path_blocks(b->path),
			.workers = b->worker_stats,
			.n_workers = b->n_workers,
			.handshake = &b->handshake_stats,
			.eth_port_ids = b->eth_port_ids,
			.now_ns = boot_now_ns,
			.wall_ns = wall_ns,
			.aead_name = aead_backend_name(b->aead),
			.started_ns = boot_now_ns(),
			.portmap_reply = control_send_reply,
			.portmap_reply_arg = b,
			.recent = b->worker_recent,
			.why = why,
			.why_arg = b,
			.probes = b->probes,
			.probe_send = control_send_probe,
			.probe_send_arg = b,
		},
		ctl_fault);
	if (!b->ctl || ctl_load_conf(b->ctl, ctl_fault) < 0)
		return refuse(fault, "%s", ctl_fault);
	return 0;
}

static int workers_up(struct boot *b, char *fault)
{
	for (unsigned i = 0; i < b->n_workers; i++) {
		if (rte_eal_remote_launch(path_worker_run, path_worker(b->path, i), i + 1) < 0)
			return refuse(fault, "worker %u does not start on lcore %u", i, i + 1);
		b->n_running++;
	}
	return 0;
}

static int telemetry(struct boot *b, char *fault)
{
	if (b->conf->telemetry && telemetry_up(b) < 0)
		return refuse(fault, "eal.telemetry: DPDK does not take the commands; set it to "
				     "false to go without");
	return 0;
}

/* To their owners in the card, where it can; without that, workers hand packets over. */
static void steer(const struct boot *b)
{
	const struct conf *conf = b->conf;

	for (unsigned i = 0; i < conf->n_ports && b->n_workers > 1 && !conf->home_shift; i++) {
		char fault[STEER_FAULT_CHARS] = "";
		unsigned n;

		if (!conf->ports[i].is_tunnel)
			continue;
		n = steer_port(&b->ports[i], b->keypairs, conf->listen_port, fault);
		if (n > 0)
			log_info("port %s: %u flow rules put packets to their owners",
				conf->ports[i].name, n);
		else
			log_info("port %s: packets are put to their owners in software: %s",
				conf->ports[i].name, fault);
	}
}

int boot_up(struct boot *b, struct conf *conf, const char *conf_path, struct event_base *base,
	char fault[static BOOT_FAULT_CHARS])
{
	*b = (struct boot){.conf = conf,
		.conf_path = conf_path,
		.base = base,
		.n_workers = conf->n_lcores - 1};
	log_info("portier %s on %s", PORTIER_VERSION, rte_version());
	if (conf->home_shift)
		log_warn("testing.home_shift = %u: packets are handed over on purpose",
			conf->home_shift);
	if (eal_up(b, fault) < 0 || ports_up(b, fault) < 0)
		return -1;
	warn_numa(b);
	warn_mbufs(b);
	if (tables_up(b, fault) < 0 || path_up(b, fault) < 0)
		return -1;
	steer(b);
	if (handshake_up(b, fault) < 0 || workers_up(b, fault) < 0 || ctl_up(b, fault) < 0 ||
		telemetry(b, fault) < 0)
		return -1;
	return 0;
}

/* What is still under way when everybody has stopped. */
static void drain_frames(struct mbox *m)
{
	void *frame;

	while (m && mbox_pop_burst(m, &frame, 1))
		rte_pktmbuf_free(frame);
}

static void mailboxes_down(struct boot *b)
{
	for (unsigned i = 0; i < b->n_workers; i++) {
		struct path_mail *mail = &b->mail[i];

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
	mbox_destroy(b->peer_msgs_out);
	mbox_destroy(b->peer_msgs_in);
}

void boot_down(struct boot *b)
{
	telemetry_down();
	/* Readers first, so that every grace period ends. */
	if (b->path)
		path_stop(b->path);
	for (unsigned i = 0; i < b->n_running; i++)
		rte_eal_wait_lcore(i + 1);
	if (b->is_handshake_running) {
		handshake_stop(b->handshake);
		pthread_join(b->handshake_thread, NULL);
	}
	/* With every reader offline this carries out all that was deferred. */
	while (b->grace && grace_pending(b->grace) && grace_poll(b->grace))
		;
	ctl_destroy(b->ctl);
	store_close(b->store);
	handshake_destroy(b->handshake);
	path_destroy(b->path);
	neigh_destroy(b->neigh);
	doors_destroy(b->doors);
	probes_destroy(b->probes);
	lease_table_destroy(b->leases);
	peers_destroy(b->peers);
	keypairs_destroy(b->keypairs);
	mailboxes_down(b);
	grace_destroy(b->grace);
	for (unsigned i = 0; i < b->n_ports; i++)
		port_close(&b->ports[i]);
	rte_mempool_free(b->mempool);
	if (b->is_eal_up)
		rte_eal_cleanup();
}
