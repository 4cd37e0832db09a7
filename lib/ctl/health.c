/* The look at the workers, and what is wrong with the gateway. */
#include "ctl/server.h"

#include <rte_ethdev.h>

#include <stdio.h>
#include <stdlib.h>

/* From here a table is nearly full: 9 of 10. */
static bool is_nearly_full(uint64_t n, uint64_t max)
{
	return max > 0 && n >= max - max / 10;
}

static uint64_t turns_of(const struct ctl *c, unsigned worker)
{
	return __atomic_load_n(&c->p.workers[worker]->counter[STATS_turns], __ATOMIC_RELAXED);
}

void ctl_look(struct ctl *c, uint64_t now_ns)
{
	uint64_t under_load = __atomic_load_n(
		&c->p.handshake->counter[STATS_HANDSHAKE_under_load], __ATOMIC_RELAXED);

	for (unsigned i = 0; i < c->p.n_workers; i++) {
		uint64_t turns = turns_of(c, i);

		if (turns != c->looks[i].turns || c->looks[i].moved_ns == 0)
			c->looks[i] = (struct ctl_look){.turns = turns, .moved_ns = now_ns};
	}
	c->is_under_load = under_load != c->under_load;
	c->under_load = under_load;
	c->looked_ns = now_ns;
}

bool ctl_worker_is_stuck(const struct ctl *c, unsigned worker, uint64_t now_ns)
{
	const struct ctl_look *look = &c->looks[worker];

	return turns_of(c, worker) == look->turns && now_ns - look->moved_ns >= CTL_STUCK_NS;
}

bool ctl_workers_turn(struct ctl *c)
{
	for (unsigned i = 0; i < c->p.n_workers; i++)
		if (ctl_worker_is_stuck(c, i, c->p.now_ns()))
			return false;
	return true;
}

static void add_reason(json_t *reasons, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add_reason(json_t *reasons, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	json_array_append_new(reasons, json_vsprintf(fmt, ap));
	va_end(ap);
}

uint64_t ctl_pool_ports_count(const struct conf *conf)
{
	uint64_t per_address = (uint64_t)conf->lease_port_last - conf->lease_port_first + 1;

	return ip_prefixes_count(conf->pool, conf->n_pool) * per_address;
}

static void look_at_tables(struct ctl *c, json_t *reasons)
{
	const struct conf *conf = c->p.conf;
	uint32_t n_leases = lease_port_count(c->p.leases, UINT32_MAX);
	uint32_t n_peers = peers_count(c->p.peers);
	uint32_t n_kept = lease_held_port_count(c->p.leases);
	uint32_t n_pinholes = lease_pinhole_count(c->p.leases);
	uint64_t n_ports = ctl_pool_ports_count(conf);

	if (is_nearly_full(n_leases, conf->max_leases))
		add_reason(reasons, "leases: %u of %u (leases.max)", n_leases, conf->max_leases);
	if (is_nearly_full(n_leases - n_pinholes + n_kept, n_ports))
		add_reason(reasons, "public pool: %u leases and %u kept ports of %llu",
			n_leases - n_pinholes, n_kept, (unsigned long long)n_ports);
	if (is_nearly_full(n_peers, conf->max_peers))
		add_reason(reasons, "peers: %u of %u (tunnel.max_peers)", n_peers, conf->max_peers);
}

/* Each stays wrong until the next start: somebody was told what was not so. */
static void look_at_promises(struct ctl *c, json_t *reasons)
{
	for (unsigned i = 0; i < STATS_N_PROMISES; i++) {
		uint64_t n = ctl_promise_broken(c, i);

		if (n > 0)
			add_reason(reasons, "promise %s: broken %llu times: %s",
				stats_promise_name(i), (unsigned long long)n,
				stats_promise_help(i));
	}
}

static void look_at_ports(struct ctl *c, json_t *reasons)
{
	for (unsigned i = 0; i < c->p.conf->n_ports; i++) {
		struct rte_eth_link link;

		if (rte_eth_link_get_nowait(c->p.eth_port_ids[i], &link) == 0 &&
			link.link_status == RTE_ETH_LINK_DOWN)
			add_reason(reasons, "port %s: link is down", c->p.conf->ports[i].name);
	}
}

json_t *ctl_health_build(struct ctl *c)
{
	uint64_t now_ns = c->p.now_ns();
	json_t *reasons = json_array();

	for (unsigned i = 0; i < c->p.n_workers; i++) {
		if (ctl_worker_is_stuck(c, i, now_ns))
			add_reason(reasons, "worker %u: has not turned for %llu s", i,
				(unsigned long long)((now_ns - c->looks[i].moved_ns) / NS_IN_S));
	}
	look_at_ports(c, reasons);
	if (c->is_under_load)
		add_reason(reasons, "handshakes: under load, cookies are demanded");
	look_at_tables(c, reasons);
	look_at_promises(c, reasons);
	if (ctl_store_is_failing(c))
		add_reason(reasons, "store %s: cannot be written: %s", c->p.conf->store_path,
			c->store_status.why);
	return json_pack("{s:s, s:o, s:o, s:i, s:i}", "health",
		json_array_size(reasons) == 0 ? "ok" : "degraded", "reasons", reasons, "uptime_s",
		ctl_seconds_build(now_ns - c->p.started_ns), "peers", (int)peers_count(c->p.peers),
		"leases", (int)lease_count(c->p.leases, UINT32_MAX));
}
