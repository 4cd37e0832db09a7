/* stats, drops, workers, ports, health, version */
#include "ctl/server.h"

#include <rte_ethdev.h>
#include <rte_version.h>

#include <errno.h>
#include <string.h>

/* A copy, so that one look is shown throughout. W: the worker; words never tear. */
static void read_worker(const struct ctl *c, unsigned worker, struct stats_worker *out)
{
	const struct stats_worker *s = c->p.workers[worker];

	for (unsigned i = 0; i < STATS_N_COUNTERS; i++)
		out->counter[i] = __atomic_load_n(&s->counter[i], __ATOMIC_RELAXED);
	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		out->drop[i] = __atomic_load_n(&s->drop[i], __ATOMIC_RELAXED);
}

static void add_worker(struct stats_worker *sum, const struct stats_worker *s)
{
	for (unsigned i = 0; i < STATS_N_COUNTERS; i++)
		sum->counter[i] += s->counter[i];
	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		sum->drop[i] += s->drop[i];
}

/* The invariant of stats.h. It holds when no packet is inside the worker: a busy one may show false
 * for a moment. */
static bool is_balanced(const struct stats_worker *s)
{
	const uint64_t *n = s->counter;

	return n[STATS_received] + n[STATS_handed_in] ==
		       n[STATS_forwarded] + n[STATS_consumed] + stats_dropped(s) +
			       n[STATS_handed_out] + n[STATS_holding] &&
	       n[STATS_originated] == n[STATS_originated_sent] + n[STATS_originated_lost];
}

static json_t *counters_build(const struct stats_worker *s)
{
	json_t *counters = json_object();

	for (unsigned i = 0; i < STATS_N_COUNTERS; i++)
		json_object_set_new(
			counters, stats_counter_name(i), json_integer((json_int_t)s->counter[i]));
	return counters;
}

static json_t *worker_build(const struct stats_worker *s)
{
	json_t *drops = json_object();

	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		json_object_set_new(
			drops, stats_drop_name(i), json_integer((json_int_t)s->drop[i]));
	return json_pack("{s:o, s:o, s:I, s:b}", "counters", counters_build(s), "drops", drops,
		"dropped", (json_int_t)stats_dropped(s), "balanced", is_balanced(s));
}

static json_t *handshake_build(const struct ctl *c)
{
	json_t *counters = json_object();

	for (unsigned i = 0; i < STATS_N_HANDSHAKE_COUNTERS; i++) {
		uint64_t n = __atomic_load_n(&c->p.handshake->counter[i], __ATOMIC_RELAXED);

		json_object_set_new(counters, stats_handshake_name(i), json_integer((json_int_t)n));
	}
	return json_pack("{s:o}", "counters", counters);
}

static json_t *neigh_build(const struct ctl *c)
{
	struct neigh_counters n;

	if (c->p.neigh == NULL)
		return json_null();
	neigh_counters_get(c->p.neigh, &n);
	return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "counters", "answered",
		(json_int_t)n.answered, "learnt", (json_int_t)n.learnt, "requests_sent",
		(json_int_t)n.requests_sent, "held", (json_int_t)n.held, "held_dropped",
		(json_int_t)n.held_dropped, "input_dropped", (json_int_t)n.input_dropped);
}

static json_t *run_stats(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	struct stats_worker sum = {0}, one;
	json_t *workers = json_array();

	for (unsigned i = 0; i < c->p.n_workers; i++) {
		json_t *worker;

		read_worker(c, i, &one);
		add_worker(&sum, &one);
		worker = worker_build(&one);
		json_object_set_new(worker, "worker", json_integer(i));
		json_array_append_new(workers, worker);
	}
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "workers", workers, "totals",
		worker_build(&sum), "handshake", handshake_build(c), "neigh", neigh_build(c),
		"portmap", ctl_portmap_build(c), "promises", ctl_promises_build(c));
}

static void write_drop(struct ctl *c, unsigned reason, int64_t *total, struct rpc_text *t)
{
	int64_t sum = 0;

	rpc_write_begin(t, NULL, '{');
	rpc_write_text(t, "name", stats_drop_name(reason));
	rpc_write_text(t, "help", stats_drop_help(reason));
	rpc_write_begin(t, "workers", '[');
	for (unsigned i = 0; i < c->p.n_workers; i++) {
		int64_t n =
			(int64_t)__atomic_load_n(&c->p.workers[i]->drop[reason], __ATOMIC_RELAXED);

		sum += n;
		rpc_write_integer(t, NULL, n);
	}
	rpc_write_end(t, ']');
	rpc_write_integer(t, "pkts", sum);
	rpc_write_end(t, '}');
	*total += sum;
}

static int run_drops(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	const struct rpc_value *recent = rpc_value_get(params, "recent");
	int64_t n_recent = rpc_value_integer(recent);
	int64_t total = 0;

	if (recent != NULL && (n_recent < 1 || n_recent > CTL_LIST_MAX))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "recent", "1 to 4000",
			"recent %lld is not accepted; accepted: 1 to %u", (long long)n_recent,
			CTL_LIST_MAX);
	rpc_write_begin(result, NULL, '{');
	rpc_write_begin(result, "drops", '[');
	for (unsigned reason = 0; reason < STATS_N_DROPS; reason++)
		write_drop(c, reason, &total, result);
	rpc_write_end(result, ']');
	rpc_write_integer(result, "dropped", total);
	if (recent != NULL)
		ctl_recent_write(c, result, (uint64_t)n_recent, NULL, NULL);
	rpc_write_end(result, '}');
	return 0;
}

static const struct rpc_param drops_params[] = {
	{"recent", RPC_INTEGER, false, "how many of the last dropped packets"},
};

static json_t *run_workers(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	uint64_t now_ns = c->p.now_ns();
	json_t *workers = json_array();

	for (unsigned i = 0; i < c->p.n_workers; i++) {
		struct stats_worker s;

		read_worker(c, i, &s);
		json_array_append_new(
			workers, json_pack("{s:i, s:i, s:b, s:b, s:I, s:o}", "worker", (int)i,
					 "cpu", (int)c->p.conf->lcore_cpus[i + 1], "is_stuck",
					 ctl_worker_is_stuck(c, i, now_ns), "balanced",
					 is_balanced(&s), "dropped", (json_int_t)stats_dropped(&s),
					 "counters", counters_build(&s)));
	}
	return json_pack("{s:o}", "workers", workers);
}

/* --- ports -------------------------------------------------------------------------------------*/

static json_t *device_counters_build(uint16_t eth_id)
{
	struct rte_eth_stats s;

	if (rte_eth_stats_get(eth_id, &s) != 0)
		return json_object();
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_pkts",
		(json_int_t)s.ipackets, "rx_bytes", (json_int_t)s.ibytes, "rx_missed",
		(json_int_t)s.imissed, "rx_errors", (json_int_t)s.ierrors, "rx_no_memory",
		(json_int_t)s.rx_nombuf, "tx_pkts", (json_int_t)s.opackets, "tx_bytes",
		(json_int_t)s.obytes, "tx_errors", (json_int_t)s.oerrors);
}

static json_t *link_build(uint16_t eth_id)
{
	struct rte_eth_link link = {0};

	if (rte_eth_link_get_nowait(eth_id, &link) != 0)
		return json_null();
	return json_pack("{s:b, s:o, s:s}", "up", link.link_status == RTE_ETH_LINK_UP, "speed_mbps",
		link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? json_null()
							     : json_integer(link.link_speed),
		"duplex", link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX ? "full" : "half");
}

static json_t *ifaddrs_build(const struct conf_port *port)
{
	json_t *list = json_array();
	char text[IP_TEXT_CHARS];

	for (unsigned i = 0; i < port->n_ifaddrs; i++) {
		const struct ip_ifaddr *a = &port->ifaddrs[i];
		int len_bits = ip_is_v4(&a->addr) ? a->len_bits - 96 : a->len_bits;

		json_array_append_new(
			list, json_sprintf("%s/%d", ip_addr_format(&a->addr, text), len_bits));
	}
	return list;
}

static json_t *port_build(const struct conf_port *port, uint16_t eth_id)
{
	struct rte_eth_dev_info info = {0};
	struct rte_ether_addr mac = {0};
	char mac_text[RTE_ETHER_ADDR_FMT_SIZE];
	json_t *roles = json_array(), *gateways = json_array();
	uint16_t mtu_bytes = port->mtu_bytes;

	(void)!rte_eth_dev_info_get(eth_id, &info);
	(void)!rte_eth_macaddr_get(eth_id, &mac);
	(void)!rte_eth_dev_get_mtu(eth_id, &mtu_bytes);
	rte_ether_format_addr(mac_text, sizeof(mac_text), &mac);
	if (port->is_tunnel)
		json_array_append_new(roles, json_string("tunnel"));
	if (port->is_public)
		json_array_append_new(roles, json_string("public"));
	if (!ip_is_none(&port->gateway4))
		json_array_append_new(gateways, ctl_address_build(&port->gateway4));
	if (!ip_is_none(&port->gateway6))
		json_array_append_new(gateways, ctl_address_build(&port->gateway6));
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:i, s:o, s:o, s:o, s:o}", "name", port->name,
		"device", port->device, "driver", info.driver_name != NULL ? info.driver_name : "",
		"mac", mac_text, "link", link_build(eth_id), "mtu_bytes", (int)mtu_bytes,
		"addresses", ifaddrs_build(port), "gateways", gateways, "roles", roles, "counters",
		device_counters_build(eth_id));
}

static json_t *run_ports(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	json_t *ports = json_array();

	for (unsigned i = 0; i < c->p.conf->n_ports; i++)
		json_array_append_new(
			ports, port_build(&c->p.conf->ports[i], c->p.eth_port_ids[i]));
	return json_pack("{s:o}", "ports", ports);
}

static json_t *run_health(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	return ctl_health_build(c);
}

static json_t *run_version(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "version", PORTIER_VERSION, "dpdk", rte_version(),
		"aead", c->p.aead_name, "uptime_s",
		ctl_seconds_build(c->p.now_ns() - c->p.started_ns));
}

const struct ctl_method ctl_report_methods[] = {
	{"stats", false, NULL, 0, run_stats},
	{"drops", false, drops_params, 1, .write = run_drops},
	{"workers", false, NULL, 0, run_workers},
	{"ports", false, NULL, 0, run_ports},
	{"health", false, NULL, 0, run_health},
	{"version", false, NULL, 0, run_version},
	{NULL},
};
