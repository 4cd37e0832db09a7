/* What monitoring reads: every counter, every reason to drop, and how full things are.
 *
 * Spec: OpenMetrics 1.0, and Prometheus' text format 0.0.4 for readers that do not ask for it. They
 * differ in two places only: the family of a counter lacks "_total" in OpenMetrics, and its end is
 * marked there. Help and labels are our own words, and the names of the configuration: nothing in
 * them is to be escaped. */
#include "ctl/server.h"

#include <rte_ethdev.h>
#include <rte_version.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct metrics {
	struct ctl *ctl;
	FILE *to;
	bool is_openmetrics;
};

/* --- lines
 * ---------------------------------------------------------------------------------------*/

static void begin(const struct metrics *m, const char *name, bool is_counter, const char *help)
{
	const char *suffix = is_counter && !m->is_openmetrics ? "_total" : "";

	fprintf(m->to, "# TYPE portier_%s%s %s\n# HELP portier_%s%s %s\n", name, suffix,
		is_counter ? "counter" : "gauge", name, suffix, help);
}

static void gauge(const struct metrics *m, const char *name, const char *help, double value)
{
	begin(m, name, false, help);
	fprintf(m->to, "portier_%s %.15g\n", name, value);
}

static void counter(const struct metrics *m, const char *name, const char *help, uint64_t value)
{
	begin(m, name, true, help);
	fprintf(m->to, "portier_%s_total %" PRIu64 "\n", name, value);
}

/* --- workers
 * -------------------------------------------------------------------------------------*/

/* holding is the one that goes down again. */
static void write_worker_counters(const struct metrics *m)
{
	const struct ctl_params *p = &m->ctl->p;
	char name[64];

	for (unsigned i = 0; i < STATS_N_COUNTERS; i++) {
		bool is_counter = i != STATS_holding;

		snprintf(name, sizeof(name), "worker_%s", stats_counter_name(i));
		begin(m, name, is_counter, stats_counter_help(i));
		for (unsigned w = 0; w < p->n_workers; w++)
			fprintf(m->to, "portier_%s%s{worker=\"%u\"} %" PRIu64 "\n", name,
				is_counter ? "_total" : "", w,
				__atomic_load_n(&p->workers[w]->counter[i], __ATOMIC_RELAXED));
	}
	begin(m, "worker_stuck", false, "1: the worker has not turned for seconds");
	for (unsigned w = 0; w < p->n_workers; w++)
		fprintf(m->to, "portier_worker_stuck{worker=\"%u\"} %d\n", w,
			ctl_worker_is_stuck(m->ctl, w, p->now_ns()));
}

static void write_drops(const struct metrics *m)
{
	const struct ctl_params *p = &m->ctl->p;

	begin(m, "drops", true, "packets dropped, each for one reason");
	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		for (unsigned w = 0; w < p->n_workers; w++)
			fprintf(m->to,
				"portier_drops_total{reason=\"%s\",worker=\"%u\"} %" PRIu64 "\n",
				stats_drop_name(i), w,
				__atomic_load_n(&p->workers[w]->drop[i], __ATOMIC_RELAXED));
	begin(m, "drop_reason", false, "what a reason of portier_drops means");
	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		fprintf(m->to, "portier_drop_reason{reason=\"%s\",help=\"%s\"} 1\n",
			stats_drop_name(i), stats_drop_help(i));
}

static void write_promises(const struct metrics *m)
{
	begin(m, "promises_broken", true, "promises to those who have leases, broken");
	for (unsigned i = 0; i < STATS_N_PROMISES; i++)
		fprintf(m->to, "portier_promises_broken_total{promise=\"%s\"} %" PRIu64 "\n",
			stats_promise_name(i), ctl_promise_broken(m->ctl, i));
	begin(m, "promise", false, "what a promise of portier_promises_broken means");
	for (unsigned i = 0; i < STATS_N_PROMISES; i++)
		fprintf(m->to, "portier_promise{promise=\"%s\",help=\"%s\"} 1\n",
			stats_promise_name(i), stats_promise_help(i));
}

static void write_portmap(const struct metrics *m)
{
	const struct ctl_portmap_counters *n = &m->ctl->portmap.counters;

#define X(name, help) counter(m, "portmap_" #name, help, n->name);
	CTL_PORTMAP_COUNTERS(X)
#undef X
}

static void write_lease_states(const struct metrics *m)
{
	static const enum lease_state states[] = {
		LEASE_ACTIVE, LEASE_SUSPENDED, LEASE_RESERVED, LEASE_QUARANTINE};

	begin(m, "lease_states", false,
		"leases, and numbers that are kept after their end, by state");
	for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		fprintf(m->to, "portier_lease_states{state=\"%s\"} %u\n",
			lease_state_word(states[i]),
			lease_state_count(m->ctl->p.leases, states[i]));
}

/* --- other threads
 * -------------------------------------------------------------------------------*/

static void write_handshake(const struct metrics *m)
{
	char name[64];

	for (unsigned i = 0; i < STATS_N_HANDSHAKE_COUNTERS; i++) {
		snprintf(name, sizeof(name), "handshake_%s", stats_handshake_name(i));
		counter(m, name, stats_handshake_help(i),
			__atomic_load_n(&m->ctl->p.handshake->counter[i], __ATOMIC_RELAXED));
	}
}

static void write_neigh(const struct metrics *m)
{
	struct neigh_counters n;

	if (m->ctl->p.neigh == NULL)
		return;
	neigh_counters_get(m->ctl->p.neigh, &n);
	counter(m, "neigh_answered", "ARP requests and neighbour solicitations answered",
		n.answered);
	counter(m, "neigh_learnt", "neighbours that are new or have moved", n.learnt);
	counter(m, "neigh_requests_sent", "neighbours asked for", n.requests_sent);
	counter(m, "neigh_held", "packets that had to wait for a neighbour", n.held);
	counter(m, "neigh_held_dropped", "of these, dropped", n.held_dropped);
	counter(m, "neigh_input_dropped", "frames that told the neighbour table nothing",
		n.input_dropped);
}

static void write_tables(const struct metrics *m)
{
	const struct ctl *c = m->ctl;
	uint64_t now_ns = c->p.now_ns();
	json_t *health = ctl_health_build(m->ctl);

	begin(m, "build_info", false, "always 1; the labels tell what runs");
	fprintf(m->to, "portier_build_info{version=\"%s\",dpdk=\"%s\",aead=\"%s\"} 1\n",
		PORTIER_VERSION, rte_version(), c->p.aead_name);
	gauge(m, "uptime_seconds", "time since the gateway was started",
		(double)((now_ns - c->p.started_ns) / NS_IN_MS) / 1e3);
	gauge(m, "healthy", "1: portierctl health says ok; 0: it says degraded, and why",
		json_array_size(json_object_get(health, "reasons")) == 0);
	json_decref(health);
	gauge(m, "peers", "peers that are known", peers_count(c->p.peers));
	gauge(m, "peers_max", "tunnel.max_peers", c->p.conf->max_peers);
	gauge(m, "leases", "leases that are open", lease_count(c->p.leases, UINT32_MAX));
	gauge(m, "lease_ports", "public ports of open leases: of a range all",
		lease_port_count(c->p.leases, UINT32_MAX) - lease_pinhole_count(c->p.leases));
	gauge(m, "pinholes", "of these, pinholes to IPv6 addresses",
		lease_pinhole_count(c->p.leases));
	gauge(m, "leases_max", "leases.max", c->p.conf->max_leases);
	gauge(m, "heartbeats", "peers that are kept reachable because they have leases",
		peers_heartbeats(c->p.peers));
	gauge(m, "public_ports", "ports of the public pool that leases may have",
		(double)ctl_pool_ports_count(c->p.conf));
	counter(m, "block_records", "blocks of public ports claimed or released by workers",
		c->n_block_records);
	counter(m, "block_records_missed", "of these, lost: they came faster than they were taken",
		ctl_block_records_missed(c));
	gauge(m, "store_failing", "1: the store cannot be written, and changes are refused",
		ctl_store_is_failing(c));
	counter(m, "store_failures", "times that the store began to fail", c->n_store_failures);
	gauge(m, "history_kept", "1: history.mode is full, and records are kept", c->history.is_on);
	counter(m, "history_records_missed",
		"records of blocks that had no room while the store could not be written",
		c->history.n_missed_ever);
	gauge(m, "bars", "public keys that are barred from having leases", (double)c->bars.n);
	counter(m, "checks", "checks of doors begun", c->n_checks);
	counter(m, "events_missed", "events that subscribers were too slow for",
		c->n_events_missed);
	gauge(m, "control_clients", "connections to the control socket", c->n_clients);
}

/* --- ports
 * ---------------------------------------------------------------------------------------*/

static uint64_t device_counter(const struct rte_eth_stats *s, unsigned i)
{
	const uint64_t values[] = {s->ipackets, s->ibytes, s->imissed, s->ierrors, s->rx_nombuf,
		s->opackets, s->obytes, s->oerrors};

	return values[i];
}

static void write_ports(const struct metrics *m)
{
	/* In the order of device_counter. */
	static const struct {
		const char *name, *help;
	} families[] = {
		{"port_rx_pkts", "packets that the device received"},
		{"port_rx_bytes", "bytes that the device received"},
		{"port_rx_missed", "packets that the device had no room for"},
		{"port_rx_errors", "packets that the device received damaged"},
		{"port_rx_no_memory", "receptions for which no buffer was free"},
		{"port_tx_pkts", "packets that the device sent"},
		{"port_tx_bytes", "bytes that the device sent"},
		{"port_tx_errors", "packets that the device failed to send"},
	};
	const struct conf *conf = m->ctl->p.conf;
	struct rte_eth_stats stats[CONF_PORTS_MAX] = {0};

	for (unsigned i = 0; i < conf->n_ports; i++)
		(void)!rte_eth_stats_get(m->ctl->p.eth_port_ids[i], &stats[i]);
	for (unsigned f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
		begin(m, families[f].name, true, families[f].help);
		for (unsigned i = 0; i < conf->n_ports; i++)
			fprintf(m->to, "portier_%s_total{port=\"%s\"} %" PRIu64 "\n",
				families[f].name, conf->ports[i].name,
				device_counter(&stats[i], f));
	}
	begin(m, "port_up", false, "1: the port has a link");
	for (unsigned i = 0; i < conf->n_ports; i++) {
		struct rte_eth_link link = {0};

		(void)!rte_eth_link_get_nowait(m->ctl->p.eth_port_ids[i], &link);
		fprintf(m->to, "portier_port_up{port=\"%s\"} %d\n", conf->ports[i].name,
			link.link_status == RTE_ETH_LINK_UP);
	}
}

int ctl_metrics_build(struct ctl *c, bool is_openmetrics, char **out, size_t *out_len)
{
	struct metrics m = {.ctl = c, .is_openmetrics = is_openmetrics};
	bool is_broken;

	m.to = open_memstream(out, out_len);
	if (m.to == NULL)
		return -ENOMEM;
	write_tables(&m);
	write_promises(&m);
	write_portmap(&m);
	write_lease_states(&m);
	write_worker_counters(&m);
	write_drops(&m);
	write_handshake(&m);
	write_neigh(&m);
	write_ports(&m);
	if (is_openmetrics)
		fputs("# EOF\n", m.to);
	is_broken = ferror(m.to) != 0;
	if (fclose(m.to) == 0 && !is_broken)
		return 0;
	free(*out);
	return -ENOMEM;
}
