#include "telemetry.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_telemetry.h>

/* DPDK has no argument for its callbacks and no way to take a command back: what they look at is
 * here, and NULL once it is gone. */
static struct {
	pthread_mutex_t lock;
	const struct boot *boot;
} shown = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* "/portier/stats,1" is of worker 1 alone; without a number, of all. 0; -EINVAL. */
static int parse_worker(const struct boot *b, const char *params, unsigned *first, unsigned *end)
{
	char *rest;
	unsigned long worker;

	*first = 0;
	*end = b->n_workers;
	if (params == NULL || params[0] == '\0')
		return 0;
	worker = strtoul(params, &rest, 10);
	if (params[0] < '0' || params[0] > '9' || rest[0] != '\0' || worker >= b->n_workers)
		return -EINVAL;
	*first = (unsigned)worker;
	*end = (unsigned)worker + 1;
	return 0;
}

static uint64_t read_counter(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static int show_stats(const struct boot *b, const char *params, struct rte_tel_data *d)
{
	unsigned first, end;

	if (parse_worker(b, params, &first, &end) != 0)
		return -EINVAL;
	for (unsigned i = 0; i < STATS_N_COUNTERS; i++) {
		uint64_t sum = 0;

		for (unsigned w = first; w < end; w++)
			sum += read_counter(&b->worker_stats[w]->counter[i]);
		rte_tel_data_add_dict_u64(d, stats_counter_name(i), sum);
	}
	return 0;
}

static int show_drops(const struct boot *b, const char *params, struct rte_tel_data *d)
{
	unsigned first, end;

	if (parse_worker(b, params, &first, &end) != 0)
		return -EINVAL;
	for (unsigned i = 0; i < STATS_N_DROPS; i++) {
		uint64_t sum = 0;

		for (unsigned w = first; w < end; w++)
			sum += read_counter(&b->worker_stats[w]->drop[i]);
		rte_tel_data_add_dict_u64(d, stats_drop_name(i), sum);
	}
	return 0;
}

static int show_handshakes(const struct boot *b, const char *params, struct rte_tel_data *d)
{
	for (unsigned i = 0; i < STATS_N_HANDSHAKE_COUNTERS; i++)
		rte_tel_data_add_dict_u64(
			d, stats_handshake_name(i), read_counter(&b->handshake_stats.counter[i]));
	return 0;
}

/* Of the control thread's table, which may be at work on it: each count as it stood a moment ago.
 */
static int show_leases(const struct boot *b, const char *params, struct rte_tel_data *d)
{
	static const enum lease_state states[] = {
		LEASE_ACTIVE, LEASE_SUSPENDED, LEASE_RESERVED, LEASE_QUARANTINE};

	for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		rte_tel_data_add_dict_u64(
			d, lease_state_word(states[i]), lease_state_count(b->leases, states[i]));
	rte_tel_data_add_dict_u64(d, "pinholes", lease_pinhole_count(b->leases));
	rte_tel_data_add_dict_u64(d, "leases_max", b->conf->max_leases);
	return 0;
}

typedef int (*show_fn)(const struct boot *b, const char *params, struct rte_tel_data *d);

static int show(show_fn fn, const char *params, struct rte_tel_data *d)
{
	int rc = -EAGAIN;

	rte_tel_data_start_dict(d);
	pthread_mutex_lock(&shown.lock);
	if (shown.boot != NULL)
		rc = fn(shown.boot, params, d);
	pthread_mutex_unlock(&shown.lock);
	return rc;
}

static int on_stats(const char *cmd, const char *params, struct rte_tel_data *d)
{
	return show(show_stats, params, d);
}

static int on_drops(const char *cmd, const char *params, struct rte_tel_data *d)
{
	return show(show_drops, params, d);
}

static int on_handshakes(const char *cmd, const char *params, struct rte_tel_data *d)
{
	return show(show_handshakes, params, d);
}

static int on_leases(const char *cmd, const char *params, struct rte_tel_data *d)
{
	return show(show_leases, params, d);
}

int telemetry_up(const struct boot *b)
{
	/* A dictionary has at most this many entries in DPDK 22.11. */
	static_assert(STATS_N_COUNTERS <= RTE_TEL_MAX_DICT_ENTRIES &&
			      STATS_N_DROPS <= RTE_TEL_MAX_DICT_ENTRIES &&
			      STATS_N_HANDSHAKE_COUNTERS <= RTE_TEL_MAX_DICT_ENTRIES,
		"all fit");
	pthread_mutex_lock(&shown.lock);
	shown.boot = b;
	pthread_mutex_unlock(&shown.lock);
	if (rte_telemetry_register_cmd("/portier/stats", on_stats,
		    "Counters of the workers. Parameter: worker (all without it)") < 0 ||
		rte_telemetry_register_cmd("/portier/drops", on_drops,
			"Packets dropped, by reason. Parameter: worker (all without it)") < 0 ||
		rte_telemetry_register_cmd("/portier/handshakes", on_handshakes,
			"Counters of the handshake thread") < 0 ||
		rte_telemetry_register_cmd("/portier/leases", on_leases,
			"Counters of leases and kept numbers, by state") < 0)
		return -1;
	return 0;
}

void telemetry_down(void)
{
	pthread_mutex_lock(&shown.lock);
	shown.boot = NULL;
	pthread_mutex_unlock(&shown.lock);
}
