/* run_rekey.c - packets while peers rekey: what that costs the path, and what it loses.
 *
 * Twice: with the handshake thread's turns taken between the workers' turns, untimed, which shows
 * what rekeys cost a worker; and with that thread running beside it, as in the daemon. Where two
 * CPUs are two threads of one core, the Diffie-Hellmans take their share of that core: so these
 * slices are compared with others next to a thread that does as many of them and nothing else.
 *
 * Slices of TRIAL_SLICE_US take turns, the last first in every second repeat; the slow-down is the
 * median over what neighbours differ by.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "crypto/crypto.h"

#include "cases.h"

#define REKEYS_PER_S 1000 /* of the time that the workers work */

enum state {
	STATE_QUIET = 0,
	STATE_NEIGHBOUR, /* the Diffie-Hellmans of as many rekeys on the other CPU, but no rekeys */
	STATE_BUSY,
	STATE_N,
};

/* Goes on from one slice of its state to the next. */
struct pace {
	uint32_t cursor;
	uint64_t cycles_before; /* that the workers worked in the slices before this one */
	uint64_t n_begun;
	uint64_t n_late; /* the next peer still waited for its last one */
	struct neighbour *neighbour;
};

/* --- a neighbour that does what the handshake thread does, but not to the gateway ----------------
 */

#define DHS_PER_REKEY 4 /* of a responder, with the key that it makes */

struct neighbour {
	pthread_t thread;
	sem_t due; /* rekeys */
	atomic_bool is_stopping;
	bool is_running;
	struct crypto_x25519_key *key;
};

static void *work(void *arg)
{
	struct neighbour *n = arg;
	uint8_t public_key[CRYPTO_KEY_BYTES], shared[CRYPTO_KEY_BYTES];

	crypto_x25519_key_public(n->key, public_key);
	while (sem_wait(&n->due) == 0 && !atomic_load(&n->is_stopping))
		for (unsigned i = 0; i < DHS_PER_REKEY; i++)
			(void)crypto_x25519(n->key, public_key, shared);
	return NULL;
}

static int neighbour_start(struct neighbour *n)
{
	static const uint8_t private_key[CRYPTO_KEY_BYTES] = {1};

	sem_init(&n->due, 0, 0);
	atomic_store(&n->is_stopping, false);
	n->key = crypto_x25519_key_create(private_key);
	n->is_running = n->key && rig_start_elsewhere(&n->thread, work, n) == 0;
	return n->is_running ? 0 : lab_complain("no thread for other work");
}

static void neighbour_stop(struct neighbour *n)
{
	if (n->is_running) {
		atomic_store(&n->is_stopping, true);
		sem_post(&n->due);
		pthread_join(n->thread, NULL);
		sem_destroy(&n->due);
	}
	crypto_x25519_key_destroy(n->key);
}

/* -----------------------------------------------------------------------------------------------
 */

static uint64_t rekeys_due(const struct pace *pace, uint64_t gateway_cycles)
{
	return (pace->cycles_before + gateway_cycles) / (rte_get_tsc_hz() / REKEYS_PER_S);
}

/* When the handshake thread would begin, too: with the worker's first turn. */
static void neighbour_some(struct lab *lab, void *arg, uint64_t gateway_cycles)
{
	struct pace *pace = arg;

	(void)lab;
	for (; pace->n_begun < rekeys_due(pace, gateway_cycles); pace->n_begun++)
		sem_post(&pace->neighbour->due);
}

static void rekey_some(struct lab *lab, void *arg, uint64_t gateway_cycles)
{
	struct pace *pace = arg;

	while (pace->n_begun + pace->n_late < rekeys_due(pace, gateway_cycles)) {
		if (lab_initiate(lab, pace->cursor))
			pace->n_begun++;
		else
			pace->n_late++;
		pace->cursor = pace->cursor + 1 == lab->parties.n ? 0 : pace->cursor + 1;
	}
}

/* One row. Means, not cut ones: the turns that carry a rekey are among the slowest two per cent. */
struct rekey_case {
	enum flow_way way;
	struct bench_size size;
	struct pace pace[STATE_N];
	struct sample_series cycles[STATE_N], slowest[STATE_N];
	struct sample_course course[STATE_N];
	struct bench_aead aead;		      /* beside slices with rekeys */
	struct sample_series stages[STAGE_N]; /* of slices with rekeys */
	uint64_t n_rekeys, n_interrupted, lost;
};

/* Of a slice in stages only those are kept. */
static int run_once(struct lab *lab, const struct bench_options *o, struct rekey_case *c,
	enum state state, bool in_stages, struct trial_result *result)
{
	struct trial trial = {
		.has_in = c->way == FLOW_IN,
		.has_out = c->way == FLOW_OUT,
		.burst = o->burst,
		.n_pkts = o->n_pkts,
		.n_cycles = o->n_pkts ? 0 : trial_slice_cycles(),
		.is_live = true,
		.in_stages = in_stages,
		.between = state == STATE_BUSY ? rekey_some : NULL,
		.at_start = state == STATE_NEIGHBOUR ? neighbour_some : NULL,
		.between_arg = &c->pace[state],
	};
	uint64_t lost = lab->flows.counts.lost, n_handshakes = lab->parties.n_handshakes;
	struct sample_figure figure;
	int rc;

	flows_use(&lab->flows, 0, lab->flows.n, c->size);
	rc = trial_run(lab, &trial, result);
	if (rc == 0)
		rc = lab_handshakes_wait(lab, 0, lab->parties.n);
	if (rc < 0)
		return rc;
	if (in_stages) {
		stages_add(c->stages, result, result->sample.n);
	} else {
		figure = sample_figure(&result->sample);
		course_add(&c->course[state], &figure, result->gateway_cycles);
		series_add(&c->cycles[state], figure.mean);
		series_add(&c->slowest[state], figure.slowest_burst);
	}
	c->lost += lab->flows.counts.lost - lost;
	c->n_interrupted += result->n_interrupted;
	c->pace[state].cycles_before += result->gateway_cycles;
	if (state == STATE_BUSY)
		c->n_rekeys += lab->parties.n_handshakes - n_handshakes;
	return 0;
}

struct rekey_room {
	struct trial_result *result;
	struct beside *beside;
};

/* Each state once; backwards in every second repeat, so that none is always the first. */
static int run_states(struct lab *lab, const struct bench_options *o, struct rekey_case *c,
	bool is_backwards, bool has_thread, struct rekey_room *room)
{
	struct beside_figure beside;
	int rc = 0;

	for (unsigned k = 0; rc == 0 && k < STATE_N; k++) {
		enum state state = is_backwards ? STATE_N - 1 - k : k;

		if (state != STATE_NEIGHBOUR || has_thread)
			rc = run_once(lab, o, c, state, false, room->result);
	}
	if (rc == 0)
		rc = beside_time(room->beside, c->way == FLOW_IN, c->way == FLOW_OUT, c->size,
			BESIDE_PKTS, &beside);
	if (rc < 0)
		return rc;
	aead_add(&c->aead, c->cycles[STATE_BUSY].values[c->cycles[STATE_BUSY].n - 1], &beside);
	return is_backwards ? run_once(lab, o, c, STATE_BUSY, true, room->result) : 0;
}

static void rekey_row(struct report *r, const struct rekey_case *c, bool has_thread)
{
	double us = (double)rte_get_tsc_hz() / 1e6;
	const struct sample_series *busy = &c->cycles[STATE_BUSY], *quiet = &c->cycles[STATE_QUIET];
	json_t *row = report_row(r);

	row_text(row, "handshakes", has_thread ? "beside" : "untimed");
	row_text(row, "way", c->way == FLOW_IN ? "in" : "out");
	row_size(row, c->size);
	row_cycles(row, series_median(busy), c->size.bytes);
	if (has_thread)
		row_number(row, "neighbour_cycles_per_pkt",
			series_median(&c->cycles[STATE_NEIGHBOUR]));
	row_number(row, "quiet_cycles_per_pkt", series_median(quiet));
	row_slow_downs(row, busy, has_thread ? &c->cycles[STATE_NEIGHBOUR] : quiet, quiet);
	row_number(row, "rekeys_per_s",
		(double)c->n_rekeys * us * 1e6 /
			(double)RTE_MAX(c->pace[STATE_BUSY].cycles_before, 1u));
	row_count(row, "rekeys", c->n_rekeys);
	row_count(row, "late", c->pace[STATE_BUSY].n_late);
	row_number(row, "slowest_turn_us", series_median(&c->slowest[STATE_BUSY]) / us);
	row_number(row, "slowest_turn_max_us", series_max(&c->slowest[STATE_BUSY]) / us);
	row_number(row, "quiet_slowest_turn_us", series_median(&c->slowest[STATE_QUIET]) / us);
	row_count(row, "interrupted", c->n_interrupted);
	row_count(row, "lost", c->lost);
	row_aead(row, &c->aead);
	row_stages(row, c->stages);
	row_course(row, "course_quiet", &c->course[STATE_QUIET]);
	if (has_thread)
		row_course(row, "course_neighbour", &c->course[STATE_NEIGHBOUR]);
	row_course(row, "course", &c->course[STATE_BUSY]);
}

static int run_rekeys(
	const struct bench_options *o, struct report *r, bool has_thread, struct rekey_room *room)
{
	static const struct bench_size sizes_default[] = {{64}, {1420}};
	static struct rekey_case cases[2 * BENCH_SIZES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n = 2 * cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes);
	uint32_t n_peers = o->max_peers ? o->max_peers : o->is_quick ? 10 : 1000;
	struct neighbour neighbour = {.is_running = false};
	static struct lab lab;
	int rc = lab_up(&lab, o,
		&(struct rig_params){.n_workers = 1,
			.max_peers = n_peers,
			.max_leases = n_peers,
			.aead = o->aead,
			.has_handshake_thread = has_thread});

	if (rc == 0 && has_thread)
		rc = neighbour_start(&neighbour);
	if (rc == 0)
		rc = lab_peers_add(&lab, n_peers, 0);
	if (rc == 0)
		rc = lab_leases_add(&lab, n_peers, 0, n_peers);
	for (unsigned i = 0; i < n; i++)
		cases[i] = (struct rekey_case){.way = i % 2 ? FLOW_OUT : FLOW_IN,
			.size = sizes[i / 2],
			.pace[STATE_NEIGHBOUR].neighbour = &neighbour};
	if (rc == 0) {
		room->beside = beside_create(&lab, o);
		rc = room->beside ? 0 : -1;
	}
	for (unsigned repeat = 0; rc == 0 && repeat < o->repeats; repeat++)
		for (unsigned i = 0; rc == 0 && i < n; i++)
			rc = run_states(&lab, o, &cases[i], repeat % 2, has_thread, room);
	beside_destroy(room->beside);
	room->beside = NULL;
	for (unsigned i = 0; rc == 0 && i < n; i++)
		rekey_row(r, &cases[i], has_thread);
	neighbour_stop(&neighbour);
	return lab_finish(&lab, rc);
}

int bench_rekey(const struct bench_options *o, struct report *r)
{
	struct rekey_room room = {.result = calloc(1, sizeof(*room.result))};
	int rc = room.result ? run_rekeys(o, r, false, &room) : lab_complain("out of memory");

	if (rc == 0)
		rc = run_rekeys(o, r, true, &room);
	free(room.result);
	return rc;
}
