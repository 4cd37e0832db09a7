/* portierctl top: workers, doors and drops on one screen, by the second. */
#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define DOORS_MAX     1000 /* of which the busiest are shown */
#define LINES_DEFAULT 50   /* of what is no terminal */
#define LINES_AROUND  14   /* head lines, empty lines, drops */

/* One look. */
struct look {
	json_t *health, *workers, *drops, *leases;
	double at_s;
};

static volatile sig_atomic_t is_ending;

static void on_signal(int signal_nr)
{
	is_ending = 1;
}

static void free_look(struct look *look)
{
	json_decref(look->health);
	json_decref(look->workers);
	json_decref(look->drops);
	json_decref(look->leases);
	*look = (struct look){0};
}

static enum cli_exit take_look(struct cli_link *link, struct look *out)
{
	struct timespec ts;
	enum cli_exit code = cli_call(link, "health", NULL, &out->health);

	if (code == CLI_OK)
		code = cli_call(link, "workers", NULL, &out->workers);
	if (code == CLI_OK)
		code = cli_call(link, "drops", NULL, &out->drops);
	if (code == CLI_OK)
		code = cli_call(
			link, "lease.list", json_pack("{s:i}", "limit", DOORS_MAX), &out->leases);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	out->at_s = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	return code;
}

/* --- one screen --------------------------------------------------------------------------------*/

static double rate(json_int_t now, json_int_t before, double seconds)
{
	return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

static void print_head(const struct look *now)
{
	const json_t *reason;
	char uptime[CLI_TEXT_CHARS];
	size_t i;

	printf("portier: %s, up %s, %d peers, %d leases\n", cli_text(now->health, "health"),
		cli_seconds_format(json_object_get(now->health, "uptime_s"), "-", uptime),
		(int)cli_number(now->health, "peers"), (int)cli_number(now->health, "leases"));
	json_array_foreach(json_object_get(now->health, "reasons"), i, reason)
		cli_print("  %s\n", json_string_value(reason));
}

static void print_workers(const struct look *now, const struct look *before, double seconds)
{
	static const char *const rates[] = {"received", "forwarded", "opened", "sealed"};
	struct cli_table *t = cli_table_create(
		">WORKER|>CPU|STATE|>BUSY|>RECEIVED/s|>FORWARDED/s|>OPENED/s|>SEALED/s|>DROPPED/s");
	const json_t *worker;
	size_t i;

	json_array_foreach(json_object_get(now->workers, "workers"), i, worker)
	{
		const json_t *old = json_array_get(json_object_get(before->workers, "workers"), i);
		const json_t *n = json_object_get(worker, "counters"),
			     *o = json_object_get(old, "counters");
		double turns = rate(cli_number(n, "turns"), cli_number(o, "turns"), seconds);
		double busy =
			rate(cli_number(n, "busy_turns"), cli_number(o, "busy_turns"), seconds);

		cli_table_addf(t, "%d", (int)cli_number(worker, "worker"));
		cli_table_addf(t, "%d", (int)cli_number(worker, "cpu"));
		cli_table_add(
			t, json_is_true(json_object_get(worker, "is_stuck")) ? "stuck" : "turning");
		cli_table_addf(t, "%.0f %%", turns > 0 ? 100 * busy / turns : 0);
		for (size_t k = 0; k < sizeof(rates) / sizeof(rates[0]); k++)
			cli_table_addf(t, "%.0f",
				rate(cli_number(n, rates[k]), cli_number(o, rates[k]), seconds));
		cli_table_addf(t, "%.0f",
			rate(cli_number(worker, "dropped"), cli_number(old, "dropped"), seconds));
	}
	cli_table_print(t, "no workers");
}

struct door {
	const json_t *lease;
	double in_rate, out_rate; /* bytes a second */
};

static int compare_doors(const void *a, const void *b)
{
	const struct door *x = a, *y = b;
	double x_rate = x->in_rate + x->out_rate, y_rate = y->in_rate + y->out_rate;

	if (x_rate != y_rate)
		return x_rate < y_rate ? 1 : -1;
	return cli_number(x->lease, "id") < cli_number(y->lease, "id") ? -1 : 1;
}

static const json_t *find_lease(const json_t *leases, size_t near, json_int_t id)
{
	const json_t *lease = json_array_get(leases, near);
	size_t i;

	if (lease != NULL && cli_number(lease, "id") == id)
		return lease;
	json_array_foreach(leases, i, lease)
	{
		if (cli_number(lease, "id") == id)
			return lease;
	}
	return NULL;
}

static size_t fill_doors(
	const struct look *now, const struct look *before, double seconds, struct door *doors)
{
	const json_t *old_leases = json_object_get(before->leases, "leases"), *lease;
	size_t i;

	json_array_foreach(json_object_get(now->leases, "leases"), i, lease)
	{
		const json_t *old = find_lease(old_leases, i, cli_number(lease, "id"));
		const json_t *n = json_object_get(lease, "counters"),
			     *o = json_object_get(old, "counters");

		doors[i] = (struct door){.lease = lease};
		if (old == NULL)
			continue;
		doors[i].in_rate =
			rate(cli_number(n, "in_bytes"), cli_number(o, "in_bytes"), seconds);
		doors[i].out_rate =
			rate(cli_number(n, "out_bytes"), cli_number(o, "out_bytes"), seconds);
	}
	return i;
}

static void add_knocks(struct cli_table *t, const json_t *seen)
{
	if (!json_is_object(seen)) {
		cli_table_add(t, "");
		cli_table_add(t, "");
		return;
	}
	cli_table_addf(t, "%.1f", (double)cli_number(seen, "new_flows_10s") / 10);
	cli_table_addf(t, "%" JSON_INTEGER_FORMAT, cli_number(seen, "sources"));
}

static void print_doors(
	const struct look *now, const struct look *before, double seconds, unsigned n_lines)
{
	struct cli_table *t =
		cli_table_create("DOOR|PEER|PROTO|PUBLIC|TO|>IN/s|>OUT/s|>FLOWS/s|>SOURCES|LABEL");
	struct door *doors = calloc(DOORS_MAX + 1, sizeof(doors[0]));
	size_t n = doors == NULL ? 0 : fill_doors(now, before, seconds, doors);
	char text[CLI_TEXT_CHARS];

	if (n > 0)
		qsort(doors, n, sizeof(doors[0]), compare_doors);
	for (size_t i = 0; i < n && i < n_lines; i++) {
		const json_t *lease = doors[i].lease;

		cli_table_addf(t, "%" JSON_INTEGER_FORMAT, cli_number(lease, "id"));
		cli_table_add(t, cli_text(lease, "peer"));
		cli_table_add(t, cli_text(lease, "proto"));
		cli_table_add(t, cli_public_format(lease, text));
		cli_table_add(t, cli_target_format(lease, text));
		cli_table_add(t, cli_bytes_format((json_int_t)doors[i].in_rate, text));
		cli_table_add(t, cli_bytes_format((json_int_t)doors[i].out_rate, text));
		add_knocks(t, json_object_get(lease, "knocks"));
		cli_table_add(t, cli_text(lease, "label"));
	}
	cli_table_print(t, "no doors are open");
	if (json_is_integer(json_object_get(now->leases, "next")))
		printf("(the busiest of the first %d)\n", DOORS_MAX);
	free(doors);
}

/* What is being dropped now, or has been. */
static void print_drops(const struct look *now, const struct look *before, double seconds)
{
	struct cli_table *t = cli_table_create(">DROPS/s|>PACKETS|REASON|MEANING");
	const json_t *drop;
	size_t i;

	json_array_foreach(json_object_get(now->drops, "drops"), i, drop)
	{
		const json_t *old = json_array_get(json_object_get(before->drops, "drops"), i);

		if (cli_number(drop, "pkts") == 0)
			continue;
		cli_table_addf(t, "%.0f",
			rate(cli_number(drop, "pkts"), cli_number(old, "pkts"), seconds));
		cli_table_addf(t, "%" JSON_INTEGER_FORMAT, cli_number(drop, "pkts"));
		cli_table_add(t, cli_text(drop, "name"));
		cli_table_add(t, cli_text(drop, "help"));
	}
	cli_table_print(t, "nothing was dropped");
}

static unsigned screen_lines(bool is_screen)
{
	struct winsize size = {0};

	if (!is_screen || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0)
		return LINES_DEFAULT;
	return size.ws_row;
}

static void print_look(const struct look *now, const struct look *before, bool is_screen)
{
	double seconds = before->at_s > 0 ? now->at_s - before->at_s : 0;
	size_t n_workers = json_array_size(json_object_get(now->workers, "workers"));
	unsigned n_lines = screen_lines(is_screen), n_taken = LINES_AROUND + (unsigned)n_workers;

	if (is_screen)
		fputs("\033[H\033[2J", stdout);
	print_head(now);
	putchar('\n');
	print_workers(now, before, seconds);
	putchar('\n');
	print_doors(now, before, seconds, n_lines > n_taken + 3 ? n_lines - n_taken : 3);
	putchar('\n');
	print_drops(now, before, seconds);
	fflush(stdout);
}

/* --- the loop ----------------------------------------------------------------------------------*/

/* A screen of its own, so that what stood there before comes back. */
static void set_screen(bool is_screen, bool is_on)
{
	if (is_screen)
		fputs(is_on ? "\033[?1049h\033[?25l" : "\033[?25h\033[?1049l", stdout);
}

static enum cli_exit run_top(struct cli_link *link, bool wants_json, json_t *params)
{
	const json_t *interval = json_object_get(params, "interval"),
		     *count = json_object_get(params, "count");
	double interval_s = interval != NULL ? json_number_value(interval) : 1;
	struct timespec wait = {.tv_sec = (time_t)interval_s,
		.tv_nsec = (long)((interval_s - (double)(time_t)interval_s) * 1e9)};
	struct sigaction action = {.sa_handler = on_signal};
	struct look now = {0}, before = {0};
	bool is_screen = isatty(STDOUT_FILENO) && !wants_json;
	enum cli_exit code = CLI_OK;

	if (wants_json) {
		cli_complain("top is for people's eyes; for programs there are stats, drops, "
			     "workers and lease list");
		return CLI_USAGE;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	set_screen(is_screen, true);
	for (json_int_t n = 0; code == CLI_OK && !is_ending; n++) {
		if (count != NULL && n == json_integer_value(count))
			break;
		if (n > 0)
			nanosleep(&wait, NULL);
		if (is_ending)
			break;
		free_look(&before);
		before = now;
		now = (struct look){0};
		code = take_look(link, &now);
		if (code == CLI_OK)
			print_look(&now, &before, is_screen);
		if (ferror(stdout))
			break;
	}
	set_screen(is_screen, false);
	free_look(&now);
	free_look(&before);
	return is_ending ? CLI_OK : code;
}

static const struct cli_arg top_args[] = {
	{"--interval", "DURATION", "interval", CLI_DURATION, "between two looks (1s)"},
	{"--count", "N", "count", CLI_NUMBER, "end after so many looks (never)"},
};

const struct cli_verb cli_top_verbs[] = {
	{"top", NULL, "workers, doors and drops, live", NULL, NULL, top_args,
		sizeof(top_args) / sizeof(top_args[0]), NULL, run_top},
	{NULL},
};
