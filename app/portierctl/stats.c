/* portierctl stats, drops, workers */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS_MAX 70 /* more columns than a screen has */

static void add_number(struct cli_table *t, json_int_t n)
{
	cli_table_addf(t, "%" JSON_INTEGER_FORMAT, n);
}

/* "COUNTER|>TOTAL|>W0|>W1" */
static struct cli_table *per_worker_table(const char *first, size_t n_workers)
{
	char header[2048];
	size_t len = (size_t)snprintf(header, sizeof(header), "%s|>TOTAL", first);

	for (size_t i = 0; i < n_workers; i++)
		len += (size_t)snprintf(header + len, sizeof(header) - len, "|>W%zu", i);
	return cli_table_create(header);
}

/* What is not counted worker by worker. */
static void print_group(const json_t *result, const char *group, const char *header)
{
	const json_t *counters = json_object_get(json_object_get(result, group), "counters");
	struct cli_table *t = cli_table_create(header);
	const char *name;
	json_t *n;

	json_object_foreach((json_t *)counters, name, n)
	{
		cli_table_add(t, name);
		add_number(t, json_integer_value(n));
	}
	printf("\n");
	cli_table_print(t, "");
}

static void print_stats(const json_t *result, const json_t *flags)
{
	const json_t *workers = json_object_get(result, "workers"),
		     *totals = json_object_get(result, "totals"), *worker;
	size_t n = json_array_size(workers) > WORKERS_MAX ? WORKERS_MAX : json_array_size(workers),
	       i;
	struct cli_table *t = per_worker_table("COUNTER", n);
	const char *name;
	json_t *total;

	json_object_foreach(json_object_get(totals, "counters"), name, total)
	{
		cli_table_add(t, name);
		add_number(t, json_integer_value(total));
		for (i = 0; i < n; i++)
			add_number(t,
				cli_number(json_object_get(json_array_get(workers, i), "counters"),
					name));
	}
	cli_table_add(t, "dropped");
	add_number(t, cli_number(totals, "dropped"));
	for (i = 0; i < n; i++)
		add_number(t, cli_number(json_array_get(workers, i), "dropped"));
	cli_table_print(t, "");
	json_array_foreach(workers, i, worker)
	{
		if (!json_is_true(json_object_get(worker, "balanced")))
			printf("worker %zu has packets in its hands, or lost count: look again\n",
				i);
	}
	print_group(result, "handshake", "HANDSHAKES|>TOTAL");
	print_group(result, "portmap", "NAT-PMP AND PCP|>TOTAL");
	print_group(result, "promises", "PROMISES BROKEN|>TOTAL");
}

void cli_recent_print(const json_t *recent, const char *empty)
{
	struct cli_table *t = cli_table_create(">AGO|REASON|PROTO|FROM|TO|>BYTES|>WORKER");
	char text[CLI_TEXT_CHARS];
	const json_t *drop;
	size_t i;

	json_array_foreach(recent, i, drop)
	{
		cli_table_add(t, cli_seconds_format(json_object_get(drop, "age_s"), "-", text));
		cli_table_add(t, cli_text(drop, "reason"));
		cli_table_add(t, cli_text(drop, "proto"));
		cli_table_add(t, cli_text(drop, "src"));
		cli_table_add(t, cli_text(drop, "dst"));
		add_number(t, cli_number(drop, "bytes"));
		add_number(t, cli_number(drop, "worker"));
	}
	cli_table_print(t, empty);
}

static void print_drops(const json_t *result, const json_t *flags)
{
	const json_t *recent = json_object_get(result, "recent");
	struct cli_table *t;
	bool wants_all = json_is_true(json_object_get(flags, "all"));
	const json_t *drop;
	size_t i;

	if (recent != NULL) {
		cli_recent_print(recent, "nothing was dropped lately, or control.drops_kept is 0s");
		return;
	}
	t = cli_table_create(">PACKETS|REASON|MEANING");
	json_array_foreach(json_object_get(result, "drops"), i, drop)
	{
		if (cli_number(drop, "pkts") == 0 && !wants_all)
			continue;
		add_number(t, cli_number(drop, "pkts"));
		cli_table_add(t, cli_text(drop, "name"));
		cli_table_add(t, cli_text(drop, "help"));
	}
	cli_table_print(t, "nothing was dropped");
}

static void print_workers(const json_t *result, const json_t *flags)
{
	static const char *const shown[] = {"received", "forwarded", "consumed", "handed_in",
		"handed_out", "turns", "busy_turns", "sleeps"};
	struct cli_table *t = cli_table_create(
		">WORKER|>CPU|STATE|>DROPPED|>RECEIVED|>FORWARDED|>CONSUMED|>HANDED IN|>HANDED OUT|"
		">TURNS|>BUSY TURNS|>SLEEPS");
	const json_t *worker;
	size_t i;

	json_array_foreach(json_object_get(result, "workers"), i, worker)
	{
		add_number(t, cli_number(worker, "worker"));
		add_number(t, cli_number(worker, "cpu"));
		cli_table_add(
			t, json_is_true(json_object_get(worker, "is_stuck")) ? "stuck" : "turning");
		add_number(t, cli_number(worker, "dropped"));
		for (size_t k = 0; k < sizeof(shown) / sizeof(shown[0]); k++)
			add_number(t, cli_number(json_object_get(worker, "counters"), shown[k]));
	}
	cli_table_print(t, "no workers");
}

static const struct cli_arg drops_args[] = {
	{"--all", NULL, "all", CLI_FLAG, "also the reasons for which nothing was dropped"},
	{"--recent", "N", "recent", CLI_NUMBER, "instead the last N dropped packets, a sample"},
};

const struct cli_verb cli_stats_verbs[] = {
	{"stats", NULL, "what each worker counted", "stats", NULL, NULL, 0, print_stats},
	{"drops", NULL, "what was dropped, and why", "drops", NULL, drops_args, 2, print_drops},
	{"workers", NULL, "how the workers are doing", "workers", NULL, NULL, 0, print_workers},
	{NULL},
};
