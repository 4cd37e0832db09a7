#include "sample.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static long count_preemptions(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nivcsw;
}

void watch_begin(struct sample_watch *w)
{
	w->n_preemptions = count_preemptions();
}

bool watch_saw_interruption(struct sample_watch *w, uint64_t cycles)
{
	long n;

	if ((double)cycles > w->usual_cycles * 1.5) {
		n = count_preemptions();
		if (n != w->n_preemptions) {
			w->n_preemptions = n;
			w->n_interrupted++;
			return true;
		}
	}
	w->usual_cycles += ((double)cycles - w->usual_cycles) / 64;
	return false;
}

/* By cycles a packet, without division. */
static int compare_bursts(const void *a, const void *b)
{
	const struct sample_burst *x = a, *y = b;
	uint64_t left = (uint64_t)x->cycles * y->n_pkts, right = (uint64_t)y->cycles * x->n_pkts;

	return left < right ? -1 : left > right;
}

struct sample_figure sample_figure(struct sample *s)
{
	struct sample_figure f = {0};
	uint64_t cycles = 0, n_pkts = 0, all_cycles, all_pkts;
	uint32_t n_kept = s->n - s->n * SAMPLE_CUT_PCT / 100;

	qsort(s->bursts, s->n, sizeof(s->bursts[0]), compare_bursts);
	for (uint32_t i = 0; i < n_kept; i++) {
		cycles += s->bursts[i].cycles;
		n_pkts += s->bursts[i].n_pkts;
	}
	f.n_kept = n_kept;
	all_cycles = cycles;
	all_pkts = n_pkts;
	for (uint32_t i = n_kept; i < s->n; i++) {
		all_cycles += s->bursts[i].cycles;
		all_pkts += s->bursts[i].n_pkts;
	}
	for (uint32_t i = 0; i < s->n; i++)
		if (s->bursts[i].cycles > f.slowest_burst)
			f.slowest_burst = s->bursts[i].cycles;
	if (n_pkts) {
		f.cycles = (double)cycles / (double)n_pkts;
		f.mean = (double)all_cycles / (double)all_pkts;
	}
	return f;
}

void course_add(struct sample_course *c, const struct sample_figure *f, uint64_t gateway_cycles)
{
	double before = c->n ? c->ends_cycles[c->n - 1] : 0;

	if (c->n == SAMPLE_REPEATS_MAX)
		return;
	c->ends_cycles[c->n] = before + (double)gateway_cycles;
	c->cycles[c->n] = f->mean;
	c->slowest[c->n++] = f->slowest_burst;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double series_quantile(const struct sample_series *s, double share)
{
	double sorted[SAMPLE_REPEATS_MAX], at;
	unsigned below;

	if (s->n == 0)
		return 0;
	memcpy(sorted, s->values, s->n * sizeof(sorted[0]));
	qsort(sorted, s->n, sizeof(sorted[0]), compare_doubles);
	at = share * (s->n - 1);
	below = (unsigned)at;
	if (below + 1 >= s->n)
		return sorted[s->n - 1];
	return sorted[below] + (sorted[below + 1] - sorted[below]) * (at - below);
}

double series_median_ratio(const struct sample_series *a, const struct sample_series *b)
{
	struct sample_series ratios = {.n = 0};

	for (unsigned i = 0; i < a->n && i < b->n; i++)
		series_add(&ratios, a->values[i] / b->values[i]);
	return series_median(&ratios);
}

double series_median_difference(const struct sample_series *a, const struct sample_series *b)
{
	struct sample_series differences = {.n = 0};

	for (unsigned i = 0; i < a->n && i < b->n; i++)
		series_add(&differences, a->values[i] - b->values[i]);
	return series_median(&differences);
}

void series_slow_downs(
	const struct sample_series *a, const struct sample_series *b, struct sample_series *out_pct)
{
	out_pct->n = 0;
	for (unsigned i = 0; i < a->n && i < b->n; i++)
		series_add(out_pct, (a->values[i] / b->values[i] - 1) * 100);
}

double series_min(const struct sample_series *s)
{
	double min = s->n ? s->values[0] : 0;

	for (unsigned i = 1; i < s->n; i++)
		if (s->values[i] < min)
			min = s->values[i];
	return min;
}

double series_max(const struct sample_series *s)
{
	double max = s->n ? s->values[0] : 0;

	for (unsigned i = 1; i < s->n; i++)
		if (s->values[i] > max)
			max = s->values[i];
	return max;
}
