/* queue.h - packets that arrive at a given rate, whether the gateway keeps up or not.
 *
 * Time is virtual: it advances by the cycles that the worker's turns take, and by the waits for the
 * next packet; what generator and sink do takes none of it. So one core measures what two would:
 * the rx ring fills while the worker works, overflows at QUEUE_SLOTS as a NIC's would, and a packet
 * leaves when the turn that sent it ends. A packet that finds the worker idle waits for a part of
 * an idle turn.
 */
#ifndef PORTIER_BENCH_QUEUE_H
#define PORTIER_BENCH_QUEUE_H

#include "lab.h"

#define QUEUE_SLOTS 1024 /* descriptors of a port, by default */

struct queue_trial {
	enum flow_way way;
	double pps;
	double duration_s; /* of virtual time */
	/* A trial that drops more than this share has failed, and ends early; 1: none does. */
	double max_loss;
	bool is_random; /* exponential gaps; else even ones */
	/* Room for the latency of each packet, in cycles; NULL: not wanted. */
	uint32_t *latencies;
	uint32_t max_latencies;
};

struct queue_result {
	uint64_t n_offered, n_dropped; /* dropped: the rx ring was full */
	double pps;		       /* that went through */
	bool has_failed;	       /* max_loss was exceeded */
	uint32_t n_latencies;
	uint32_t n_interrupted; /* turns whose time was taken to be a usual one */
};

/* 0, or -1 when no packets could be made (printed). */
int queue_run(struct lab *lab, const struct queue_trial *t, struct queue_result *out);

#endif
