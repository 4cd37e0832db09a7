#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>

/* What people see of a row, in this order, as far as it is there. */
static const struct column {
	const char *key, *title;
	int width, decimals;
} columns[] = {
	{"backend", "backend", 10, 0},
	{"handshakes", "handshakes", 11, 0},
	{"way", "way", 5, 0},
	{"peers", "peers", 8, 0},
	{"via", "via", 8, 0},
	{"leases", "leases", 9, 0},
	{"sessions", "sessions", 9, 0},
	{"workers", "workers", 8, 0},
	{"wrong_pct", "wrong %", 8, 0},
	{"size", "size", 6, 0},
	{"burst", "burst", 6, 0},
	{"forged_pct", "forged %", 9, 0},
	{"load_pct", "load %", 7, 0},
	{"offered_mpps", "offered", 8, 3},
	{"p50_us", "p50 us", 8, 2},
	{"p99_us", "p99 us", 8, 2},
	{"p999_us", "p99.9 us", 9, 2},
	{"max_us", "max us", 9, 2},
	{"ndr_mpps", "NDR Mpps", 9, 3},
	{"ndr_gbps", "Gbit/s", 8, 2},
	{"pdr_mpps", "0.5% Mpps", 10, 3},
	{"pdr_gbps", "Gbit/s", 8, 2},
	{"most_mpps", "most Mpps", 10, 3},
	{"trials", "trials", 7, 0},
	{"what", "what", 26, 0},
	{"n", "n", 9, 0},
	{"bytes_each", "bytes each", 12, 0},
	{"bytes_each_min", "min", 9, 0},
	{"bytes_each_max", "max", 9, 0},
	{"handshakes_per_s", "per second", 12, 0},
	{"cycles_per_handshake", "cycles", 10, 0},
	{"x25519_per_s", "X25519/s", 10, 0},
	{"bound_per_s", "bound", 9, 0},
	{"of_bound", "of bound", 10, 3},
	{"cycles_per_pkt", "cycles", 9, 1},
	{"cycles_min", "min", 9, 1},
	{"cycles_max", "max", 9, 1},
	{"open_cycles_per_pkt", "open", 9, 1},
	{"of_best_other", "seal/other", 11, 3},
	{"open_of_best_other", "open/other", 11, 3},
	{"mpps", "Mpps", 8, 3},
	{"gbps", "Gbit/s", 8, 2},
	{"aead_cycles_per_pkt", "AEAD", 9, 1},
	{"ratio", "ratio", 7, 3},
	{"ipsec_mb_cycles_per_pkt", "ipsec-mb", 9, 1},
	{"ratio_ipsec_mb", "ratio", 7, 3},
	{"ratio_of_best", "of best", 8, 3},
	{"gateway_cycles_per_pkt", "gateway", 9, 1},
	{"gateway_ratio", "ratio", 7, 3},
	{"against_first", "to first", 9, 3},
	{"against_fewest", "to fewest", 10, 3},
	{"against_leases", "to leases", 10, 3},
	{"begun_per_s", "begun/s", 10, 0},
	{"handover_cycles", "handover", 9, 1},
	{"neighbour_cycles_per_pkt", "beside", 9, 1},
	{"quiet_cycles_per_pkt", "quiet", 9, 1},
	{"slow_down_pct", "slower %", 9, 2},
	{"slow_down_q1_pct", "q1", 7, 2},
	{"slow_down_q3_pct", "q3", 7, 2},
	{"slow_down_to_quiet_pct", "to quiet %", 11, 2},
	{"updates_per_s", "updates/s", 10, 0},
	{"updates_per_cpu_s", "a CPU second", 13, 0},
	{"rekeys_per_s", "rekeys/s", 9, 0},
	{"slowest_turn_us", "slowest us", 11, 1},
	{"slowest_turn_max_us", "max us", 9, 1},
	{"quiet_slowest_turn_us", "quiet us", 9, 1},
	{"maker_cycles", "maker", 8, 0},
	{"sink_cycles", "sink", 8, 0},
	{"interrupted", "interrupted", 12, 0},
	{"lost", "lost", 6, 0},
	{"reordered", "reordered", 10, 0},
};

static char *cpu_name(char *out, size_t out_bytes)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256];

	snprintf(out, out_bytes, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		char *value = strchr(line, ':');

		if (strncmp(line, "model name", 10) == 0 && value) {
			value[strcspn(value, "\n")] = '\0';
			snprintf(out, out_bytes, "%s", value + 2);
			break;
		}
	}
	if (f)
		fclose(f);
	return out;
}

int report_init(struct report *r, const char *bench, const struct bench_options *o)
{
	char cpu[128], when[32];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	r->rows = json_array();
	r->root = json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:b, s:i, s:i, s:I, s:I}", "bench",
		bench, "version", PORTIER_VERSION, "date", when, "cpu", cpu_name(cpu, sizeof(cpu)),
		"tsc_hz", (json_int_t)rte_get_tsc_hz(), "quick", o->is_quick, "huge", o->is_huge,
		"burst", (int)o->burst, "repeats", (int)o->repeats, "pkts", (json_int_t)o->n_pkts,
		"seed", (json_int_t)o->seed);
	if (r->root && r->rows)
		return 0;
	report_fini(r);
	return -1;
}

void report_fini(struct report *r)
{
	json_decref(r->root);
	json_decref(r->rows);
	*r = (struct report){0};
}

json_t *report_row(struct report *r)
{
	json_t *row = json_object();

	json_array_append_new(r->rows, row);
	return row;
}

void report_note(struct report *r, const char *key, json_t *value)
{
	json_object_set_new(r->root, key, value);
}

void row_number(json_t *row, const char *key, double value)
{
	double unit = fabs(value) >= 100 ? 10 : 10000;

	json_object_set_new(row, key, json_real(round(value * unit) / unit));
}

void row_count(json_t *row, const char *key, uint64_t value)
{
	json_object_set_new(row, key, json_integer((json_int_t)value));
}

void row_text(json_t *row, const char *key, const char *value)
{
	json_object_set_new(row, key, json_string(value));
}

void row_size(json_t *row, struct bench_size size)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", size.bytes);
	row_text(row, "size", size.is_imix ? "imix" : text);
	row_count(row, "bytes", size.bytes);
}

void row_cycles(json_t *row, double cycles, uint16_t bytes)
{
	double mpps = cycles > 0 ? (double)rte_get_tsc_hz() / cycles / 1e6 : 0;

	row_number(row, "cycles_per_pkt", cycles);
	row_number(row, "mpps", mpps);
	row_number(row, "gbps", mpps * bytes * 8 / 1e3);
}

static json_t *numbers(const double *values, unsigned n, double unit)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(array, json_real(round(values[i] / unit * 1000) / 1000));
	return array;
}

void row_slow_downs(json_t *row, const struct sample_series *busy,
	const struct sample_series *beside, const struct sample_series *quiet)
{
	struct sample_series pct;

	series_slow_downs(busy, beside, &pct);
	row_number(row, "slow_down_pct", series_median(&pct));
	row_number(row, "slow_down_q1_pct", series_quantile(&pct, 0.25));
	row_number(row, "slow_down_q3_pct", series_quantile(&pct, 0.75));
	series_slow_downs(busy, quiet, &pct);
	row_number(row, "slow_down_to_quiet_pct", series_median(&pct));
}

void row_course(json_t *row, const char *key, const struct sample_course *course)
{
	double us = (double)rte_get_tsc_hz() / 1e6;

	json_object_set_new(row, key,
		json_pack("{s:o, s:o, s:o}", "ms",
			numbers(course->ends_cycles, course->n, us * 1000), "cycles",
			numbers(course->cycles, course->n, 1), "slowest_us",
			numbers(course->slowest, course->n, us)));
}

static bool has_column(const struct report *r, const char *key)
{
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) if (json_object_get(row, key)) return true;
	return false;
}

static void print_cell(const json_t *value, const struct column *c)
{
	if (!value)
		printf("%*s", c->width, "-");
	else if (json_is_string(value))
		printf("%*s", c->width, json_string_value(value));
	else
		printf("%*.*f", c->width, c->decimals, json_number_value(value));
}

/* Stages that take a cycle or more. */
static void print_stages(const json_t *stages)
{
	const char *name;
	json_t *value;

	if (!stages)
		return;
	printf("      stages:");
	json_object_foreach((json_t *)stages, name, value) if (json_number_value(value) >= 1)
		printf("  %s %.0f", name, json_number_value(value));
	printf("\n");
}

static void print_table(const struct report *r)
{
	size_t i;
	json_t *row;

	for (unsigned c = 0; c < RTE_DIM(columns); c++)
		if (has_column(r, columns[c].key))
			printf("%*s", columns[c].width, columns[c].title);
	printf("\n");
	json_array_foreach(r->rows, i, row)
	{
		for (unsigned c = 0; c < RTE_DIM(columns); c++)
			if (has_column(r, columns[c].key))
				print_cell(json_object_get(row, columns[c].key), &columns[c]);
		printf("\n");
		print_stages(json_object_get(row, "stages"));
	}
}

void report_backend(struct report *r, enum aead_backend backend)
{
	report_note(r, "backend", json_string(aead_backend_name(backend)));
}

void report_print(const struct report *r, bool is_json)
{
	json_object_set(r->root, "rows", r->rows);
	if (!is_json) {
		print_table(r);
		return;
	}
	json_dumpf(r->root, stdout, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
	printf("\n");
}
