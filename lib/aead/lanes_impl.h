/* lanes_impl.h - what the three files of lanes share: the columns, the tags, the burst around them.
 *
 * Threads: as lanes.h. All three are compiled for AVX-512.
 */
#ifndef PORTIER_AEAD_LANES_IMPL_H
#define PORTIER_AEAD_LANES_IMPL_H

#include "aead/lanes.h"
#include "aead/lanes_chacha.h"
#include "aead/lanes_poly.h"

#include <assert.h>
#include <string.h>

#define N_SETS	 (AEAD_BURST_MAX / N_LANES)
#define NOINLINE __attribute__((noinline))

/* Blocks of one packet that no column has taken yet; block 0 holds the Poly1305 key. */
struct run {
	const struct aead_job *job;
	uint32_t next, end;
};

/* A block whose packet is not verified yet. */
struct deferred {
	const struct aead_job *job;
	uint32_t block;
};

struct lanes {
	/* Wiped after each call, up to the last set in use. */
	struct {
		struct poly_group group;
		__m512i tags[2];
		struct state16 state;
		struct first_round first;
		uint8_t sink[BLOCK_BYTES]; /* what lanes without a packet write */
		uint8_t keystream[N_LANES][BLOCK_BYTES];
		v16 poly_keys[N_SETS][8];
	} secret;
	struct column column;
	struct rows rows;
	struct run runs[AEAD_BURST_MAX];
	unsigned n_runs, next_run;
	struct deferred deferred[N_LANES];
	unsigned n_deferred;
	uint8_t zeros[BLOCK_BYTES];
};

static_assert(_Alignof(struct lanes) == LANES_ALIGN, "vectors");

static inline uint32_t count_blocks(uint32_t len)
{
	return (len + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

/* --- lanes_columns.c ----------------------------------------------------------------------------
 */

/* Blocks next and up of a job's text are to be done by flush_runs, at the latest. */
void lanes_add_run(struct lanes *l, const struct aead_job *job, uint32_t next);
void lanes_flush_runs(struct lanes *l);

/* Poly1305 keys of a whole set of 16, which stays the set of lanes_run_set. */
void lanes_run_keys(struct lanes *l, unsigned set, struct aead_job *const jobs[N_LANES]);

/* Texts of a whole set, longest first, of which those in dead have nothing to write. */
void lanes_run_set(struct lanes *l, struct aead_job *const jobs[N_LANES], uint64_t dead);

/* Poly1305 keys of n packets, of a set that is not whole, and as much of the runs as fits beside
 * them; with is_deferred then the first blocks of the packets, into l->deferred. */
void lanes_run_part_keys(
	struct lanes *l, unsigned set, struct aead_job *const *jobs, unsigned n, bool is_deferred);

/* Deferred blocks of the packets that proved authentic are applied; the rest of those becomes runs.
 */
void lanes_settle(struct lanes *l, struct aead_job *const *jobs, unsigned n, uint64_t forged);

/* --- lanes_tags.c -------------------------------------------------------------------------------
 */

/* About what the tags of n packets, longest first, at most a set, cost in TSC cycles. */
uint32_t lanes_tags_cycles(struct aead_job *const *jobs, unsigned n);

/* The tags of n packets of a set: written, or compared. Returns the packets whose tags differ. */
uint64_t lanes_run_tags(
	struct lanes *l, unsigned set, struct aead_job *const *jobs, unsigned n, bool is_seal);

#endif
