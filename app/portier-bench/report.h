/* report.h - the rows of a benchmark, for machines (one JSON object) and for people (a table).
 *
 * The object: {"bench": NAME, what was run and on what, "rows": [{...}, ...]}. Every row of packets
 * has size, bytes, cycles_per_pkt, mpps, gbps, aead_cycles_per_pkt, ratio and lost.
 */
#ifndef PORTIER_BENCH_REPORT_H
#define PORTIER_BENCH_REPORT_H

#include <jansson.h>

#include "bench.h"
#include "sample.h"

struct report {
	json_t *root, *rows;
};

/* 0 or -1: out of memory. */
int report_init(struct report *r, const char *bench, const struct bench_options *o);
void report_fini(struct report *r);
/* One more row; the report's. */
json_t *report_row(struct report *r);
/* Of the whole run, beside the rows. */
void report_note(struct report *r, const char *key, json_t *value);
/* With what the gateway sealed. */
void report_backend(struct report *r, enum aead_backend backend);
void report_print(const struct report *r, bool is_json);

/* Numbers are cut to a tenth of what noise leaves meaningful. */
void row_number(json_t *row, const char *key, double value);
void row_count(json_t *row, const char *key, uint64_t value);
void row_text(json_t *row, const char *key, const char *value);
/* "1420" or "imix", and the bytes. */
void row_size(json_t *row, struct bench_size size);
/* slow_down_pct, the median of how much slower busy is than its neighbours beside, with quartiles;
 * and slow_down_to_quiet_pct. */
void row_slow_downs(json_t *row, const struct sample_series *busy,
	const struct sample_series *beside, const struct sample_series *quiet);
/* {"ms": [...], "cycles": [...], "slowest_us": [...]} */
void row_course(json_t *row, const char *key, const struct sample_course *course);
/* cycles_per_pkt, and the rates of a core that does nothing else. */
void row_cycles(json_t *row, double cycles, uint16_t bytes);

#endif
