/* sample.h - from timed bursts to a figure, and from repeated figures to a median and its spread.
 *
 * A machine that others share interrupts: bursts during which the core was taken away are left out,
 * and the figure of a trial is the mean over the others without the slowest SAMPLE_CUT_PCT per cent
 * of them. The mean with those, and the slowest burst, are kept beside it.
 */
#ifndef PORTIER_BENCH_SAMPLE_H
#define PORTIER_BENCH_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#define SAMPLE_CUT_PCT	   2
#define SAMPLE_BURSTS_MAX  65536
#define SAMPLE_REPEATS_MAX 256

/* One trial, while it runs. */
struct sample {
	uint32_t n;
	struct sample_burst {
		uint32_t cycles, n_pkts, idx;
	} bursts[SAMPLE_BURSTS_MAX];
};

/* One trial, when it is over; cycles a packet. */
struct sample_figure {
	double cycles, mean;
	uint32_t slowest_burst; /* cycles in all */
	uint32_t n_kept;	/* bursts[0 .. n_kept) are those that were not cut */
};

/* Was a burst interrupted: did the kernel give the core to others meanwhile? Asked only of bursts
 * that took half as long again as usual, because asking is a system call. */
struct sample_watch {
	long n_preemptions;
	double usual_cycles;
	uint32_t n_interrupted;
};
/* Before a stretch of timed bursts: what happened until now is nobody's. */
void watch_begin(struct sample_watch *w);
/* Right after a burst. */
bool watch_saw_interruption(struct sample_watch *w, uint64_t cycles);

/* The same over all repeats of a trial. */
struct sample_series {
	unsigned n;
	double values[SAMPLE_REPEATS_MAX];
};

static inline void sample_add(struct sample *s, uint64_t cycles, uint32_t n_pkts)
{
	if (s->n < SAMPLE_BURSTS_MAX)
		s->bursts[s->n] = (struct sample_burst){
			cycles < UINT32_MAX ? (uint32_t)cycles : UINT32_MAX, n_pkts, s->n};
	s->n += s->n < SAMPLE_BURSTS_MAX;
}

/* Reorders the bursts. Zeros when there is none. */
struct sample_figure sample_figure(struct sample *s);

/* One figure after the other, by the time that the gateway had worked when each was taken. */
struct sample_course {
	unsigned n;
	double ends_cycles[SAMPLE_REPEATS_MAX];
	double cycles[SAMPLE_REPEATS_MAX];  /* a packet, the slowest bursts included */
	double slowest[SAMPLE_REPEATS_MAX]; /* burst, in cycles */
};
/* After a trial in which the gateway worked this long. */
void course_add(struct sample_course *c, const struct sample_figure *f, uint64_t gateway_cycles);

static inline void series_add(struct sample_series *s, double value)
{
	if (s->n < SAMPLE_REPEATS_MAX)
		s->values[s->n++] = value;
}

/* The value that this share of them does not exceed, between two where it falls between; of an
 * empty series 0. */
double series_quantile(const struct sample_series *s, double share);

static inline double series_median(const struct sample_series *s)
{
	return series_quantile(s, 0.5);
}

/* The median over what each value of a is to its neighbour in b: what was measured right before or
 * after it, so that noise which lasts longer than both cancels out. */
double series_median_ratio(const struct sample_series *a, const struct sample_series *b);
/* The same of what each value of a is more than its neighbour in b. */
double series_median_difference(const struct sample_series *a, const struct sample_series *b);
/* How much slower, in per cent: each value of a beside its neighbour in b. */
void series_slow_downs(const struct sample_series *a, const struct sample_series *b,
	struct sample_series *out_pct);
double series_min(const struct sample_series *s);
double series_max(const struct sample_series *s);

#endif
