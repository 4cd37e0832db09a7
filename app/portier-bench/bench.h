/* bench.h - what every benchmark is given, and the one table of benchmarks.
 *
 * A benchmark drives the real packet path in this process, on one core, by hand: the generator puts
 * prepared frames into the rx ring of a net_ring port, the worker takes one turn, the sink empties
 * the tx ring and checks every packet. Only the worker's turn is timed; what generator and sink
 * cost is measured apart and stated.
 *
 * Cycles are TSC cycles. What is compared is measured in turns within one run.
 */
#ifndef PORTIER_BENCH_H
#define PORTIER_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "aead/aead.h"

#define BENCH_SIZES_MAX 16
#define BENCH_QUICK_MB	512

/* Inner IP bytes of the packets of one row. */
struct bench_size {
	uint16_t bytes; /* IMIX: the mean */
	bool is_imix;
};

struct bench_options {
	bool is_json, is_quick;
	bool is_huge; /* hugepages for DPDK's memory */
	unsigned repeats;
	unsigned burst;	 /* packets a turn of a worker finds */
	uint32_t n_pkts; /* per trial; 0: it lasts a time instead */
	uint64_t seed;
	enum aead_backend aead;
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n_sizes;		/* 0: those that the benchmark thinks telling */
	uint32_t max_peers, max_leases; /* 0: as the benchmark says */
};

struct report;

struct bench {
	const char *name, *help;
	unsigned memory_mb; /* for DPDK; quick runs take BENCH_QUICK_MB */
	/* Unless said otherwise. Trials are short and many where they are compared with each other:
	 * what disturbs a shared machine lasts 10 ms and more, and must hit both. */
	unsigned repeats;
	uint32_t n_pkts;
	/* 0, or -1 when a check failed or the gateway did not come up; the reason was printed. */
	int (*run)(const struct bench_options *o, struct report *r);
};

int bench_aead(const struct bench_options *o, struct report *r);
int bench_in(const struct bench_options *o, struct report *r);
int bench_out(const struct bench_options *o, struct report *r);
int bench_both(const struct bench_options *o, struct report *r);
int bench_sessions(const struct bench_options *o, struct report *r);
int bench_leases(const struct bench_options *o, struct report *r);
int bench_peers(const struct bench_options *o, struct report *r);
int bench_workers(const struct bench_options *o, struct report *r);
int bench_handover(const struct bench_options *o, struct report *r);
int bench_handshake(const struct bench_options *o, struct report *r);
int bench_rekey(const struct bench_options *o, struct report *r);
int bench_churn(const struct bench_options *o, struct report *r);
int bench_latency(const struct bench_options *o, struct report *r);
int bench_ndr(const struct bench_options *o, struct report *r);
int bench_memif(const struct bench_options *o, struct report *r);
int bench_memory(const struct bench_options *o, struct report *r);

/* A number that looks random, one to one. */
static inline uint64_t bench_mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* The size of the packet with this number: of twelve packets, seven have 64 bytes, four 576, one
 * 1420. */
#define BENCH_IMIX_MEAN_BYTES ((7 * 64 + 4 * 576 + 1420) / 12)

static inline uint16_t bench_size_of(struct bench_size size, uint64_t number)
{
	uint64_t one_of_12;

	if (!size.is_imix)
		return size.bytes;
	one_of_12 = bench_mix(number ^ UINT64_C(0x696d6978)) % 12;
	return one_of_12 < 7 ? 64 : one_of_12 < 11 ? 576 : 1420;
}

#endif
