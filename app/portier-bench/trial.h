/* trial.h - one timed run of packets through the gateway.
 *
 * LAB_AHEAD frames are made; then, a burst at a time, they are put into the rx rings and the
 * workers take their turns, and only those turns are timed; then the sink empties the tx rings and
 * checks everything. Timers, handshakes and neighbours have their turns in between, untimed.
 */
#ifndef PORTIER_BENCH_TRIAL_H
#define PORTIER_BENCH_TRIAL_H

#include <rte_cycles.h>

#include "lab.h"
#include "sample.h"
#include "stages.h"

/* Where trials of different kinds are compared and take turns: shorter than what disturbs a shared
 * machine. */
#define TRIAL_SLICE_US 8000

static inline uint64_t trial_slice_cycles(void)
{
	return rte_get_tsc_hz() / 1000000 * TRIAL_SLICE_US;
}

struct trial {
	bool has_in, has_out;
	unsigned burst;
	uint32_t n_pkts;      /* each way */
	uint32_t n_warm_pkts; /* each way, before those: as the others, but not in the result */
	uint64_t n_cycles;    /* goes on until the workers have worked so long */
	bool in_stages;	      /* of one worker */
	/* Timers, orders and handshakes fall into the timed turns, as they come. */
	bool is_live;
	/* Before each batch, and right before its timed turns, when there is one: gateway_cycles is
	 * what the workers have worked. */
	void (*between)(struct lab *lab, void *arg, uint64_t gateway_cycles);
	void (*at_start)(struct lab *lab, void *arg, uint64_t gateway_cycles);
	void *between_arg;
};

struct trial_result {
	double maker_cycles, sink_cycles; /* a packet */
	uint64_t n_pkts;
	uint64_t gateway_cycles;
	uint32_t n_interrupted; /* bursts left out: the kernel gave the core to others meanwhile */
	struct sample sample;	/* a burst is one turn of every worker that had work */
	uint32_t stages[SAMPLE_BURSTS_MAX][STAGE_N]; /* of each burst, by its idx; in_stages only */
};

/* Goes on beyond n_pkts and n_cycles as long as every burst was interrupted. 0, or -1 when no
 * packets could be made (printed). Soundness is lab_is_sound's. */
int trial_run(struct lab *lab, const struct trial *t, struct trial_result *out);

#endif
