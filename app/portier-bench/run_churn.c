/* run_churn.c - packets while leases open and close through the control socket at full rate.
 *
 * Three states in turns: quiet; next to a thread that works as hard without touching the gateway,
 * because CPUs may share a core; and next to the control thread at full rate. What churn costs the
 * path is the difference between the last two; what the machine makes of it all, that between the
 * first and the last: medians over the repeats of what slices next to each other differ by.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "cases.h"
#include "churner.h"
#include "server.h"

#define CHURN_LEASES 2000 /* open at a time, about, on top of the lab's */
#define CHURN_PEERS  100
#define BATCH	     500

enum state {
	STATE_QUIET = 0,
	STATE_NEIGHBOUR, /* somebody else works on the other CPU */
	STATE_CHURN,
	STATE_N,
};

struct churn_case {
	struct bench_size size;
	struct sample_series cycles[STATE_N], slowest[STATE_N];
	struct sample_course course[STATE_N];
	struct sample_series updates, updates_cpu;
	struct bench_aead aead;		      /* beside slices with churn */
	struct sample_series stages[STAGE_N]; /* of slices with churn */
	uint64_t n_interrupted, lost;
};

/* --- a neighbour that works --------------------------------------------------------------------
 */

struct neighbour {
	pthread_t thread;
	atomic_bool is_stopping;
	bool is_running;
};

/* What a control thread does most: read and write JSON. */
static void *work(void *arg)
{
	static const char text[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"lease.open\",\"params\":"
		"{\"peer\":\"peer-1\",\"proto\":\"udp\",\"to_port\":20000}}";
	struct neighbour *n = arg;

	while (!atomic_load_explicit(&n->is_stopping, memory_order_relaxed)) {
		json_t *value = json_loads(text, 0, NULL);
		char back[256];

		json_dumpb(value, back, sizeof(back), JSON_COMPACT);
		json_decref(value);
	}
	return NULL;
}

static void neighbour_start(struct neighbour *n)
{
	atomic_store(&n->is_stopping, false);
	n->is_running = rig_start_elsewhere(&n->thread, work, n) == 0;
}

static void neighbour_stop(struct neighbour *n)
{
	if (!n->is_running)
		return;
	atomic_store(&n->is_stopping, true);
	pthread_join(n->thread, NULL);
	n->is_running = false;
}

/* -----------------------------------------------------------------------------------------------
 */

struct churn {
	struct lab *lab;
	const struct bench_options *o;
	struct server *server;
	struct churner *churner;
	struct trial_result *result;
	struct beside *beside;
};

/* Of a slice in stages only those are kept. */
static int run_once(struct churn *ch, struct churn_case *c, enum state state, bool in_stages)
{
	struct trial trial = {
		.has_in = true,
		.burst = ch->o->burst,
		.n_pkts = ch->o->n_pkts,
		.n_cycles = ch->o->n_pkts ? 0 : trial_slice_cycles(),
		.is_live = true,
		.in_stages = in_stages,
	};
	uint64_t lost = ch->lab->flows.counts.lost, cpu_ns, began_ns, updates;
	struct neighbour neighbour = {.is_running = false};
	struct sample_figure figure;
	int rc;

	flows_use(&ch->lab->flows, 0, ch->lab->flows.n, c->size);
	if (state == STATE_NEIGHBOUR)
		neighbour_start(&neighbour);
	cpu_ns = server_cpu_ns(ch->server);
	began_ns = rig_now_ns();
	updates = churner_updates(ch->churner);
	/* However short the trial and busy the machine: leases change while it runs. */
	rig_rest(&ch->lab->rig);
	if (state == STATE_CHURN && !churner_resume(ch->churner))
		return lab_complain("the control socket does not answer");
	rig_resume(&ch->lab->rig);
	rc = trial_run(ch->lab, &trial, ch->result);
	began_ns = rig_now_ns() - began_ns;
	updates = churner_updates(ch->churner) - updates;
	cpu_ns = server_cpu_ns(ch->server) - cpu_ns;
	neighbour_stop(&neighbour);
	rig_rest(&ch->lab->rig);
	if (!churner_pause(ch->churner))
		rc = lab_complain("the control socket did not do as it was asked");
	rig_resume(&ch->lab->rig);
	if (rc < 0)
		return rc;
	c->lost += ch->lab->flows.counts.lost - lost;
	if (in_stages) {
		stages_add(c->stages, ch->result, ch->result->sample.n);
		return 0;
	}
	figure = sample_figure(&ch->result->sample);
	course_add(&c->course[state], &figure, ch->result->gateway_cycles);
	series_add(&c->cycles[state], figure.mean);
	series_add(&c->slowest[state], figure.slowest_burst);
	c->n_interrupted += ch->result->n_interrupted;
	if (state != STATE_CHURN)
		return 0;
	series_add(&c->updates, (double)updates * 1e9 / (double)began_ns);
	series_add(&c->updates_cpu, (double)updates * 1e9 / (double)RTE_MAX(cpu_ns, 1u));
	return 0;
}

static void churn_row(struct report *r, const struct churn_case *c)
{
	double us = (double)rte_get_tsc_hz() / 1e6;
	json_t *row = report_row(r);

	row_text(row, "way", "in");
	row_size(row, c->size);
	row_cycles(row, series_median(&c->cycles[STATE_CHURN]), c->size.bytes);
	row_number(row, "neighbour_cycles_per_pkt", series_median(&c->cycles[STATE_NEIGHBOUR]));
	row_number(row, "quiet_cycles_per_pkt", series_median(&c->cycles[STATE_QUIET]));
	row_slow_downs(
		row, &c->cycles[STATE_CHURN], &c->cycles[STATE_NEIGHBOUR], &c->cycles[STATE_QUIET]);
	row_number(row, "updates_per_s", series_median(&c->updates));
	row_number(row, "updates_per_cpu_s", series_median(&c->updates_cpu));
	row_number(row, "slowest_turn_us", series_median(&c->slowest[STATE_CHURN]) / us);
	row_number(row, "slowest_turn_max_us", series_max(&c->slowest[STATE_CHURN]) / us);
	row_number(row, "quiet_slowest_turn_us", series_median(&c->slowest[STATE_QUIET]) / us);
	row_count(row, "interrupted", c->n_interrupted);
	row_count(row, "lost", c->lost);
	row_aead(row, &c->aead);
	row_stages(row, c->stages);
	row_course(row, "course_quiet", &c->course[STATE_QUIET]);
	row_course(row, "course_neighbour", &c->course[STATE_NEIGHBOUR]);
	row_course(row, "course", &c->course[STATE_CHURN]);
}

/* Each state once; backwards in every second repeat. */
static int run_states(struct churn *ch, struct churn_case *c, bool is_backwards)
{
	struct beside_figure beside;
	int rc = 0;

	for (unsigned k = 0; rc == 0 && k < STATE_N; k++)
		rc = run_once(ch, c, is_backwards ? STATE_N - 1 - k : k, false);
	if (rc == 0)
		rc = beside_time(ch->beside, true, false, c->size, BESIDE_PKTS, &beside);
	if (rc < 0)
		return rc;
	aead_add(&c->aead, c->cycles[STATE_CHURN].values[c->cycles[STATE_CHURN].n - 1], &beside);
	return is_backwards ? run_once(ch, c, STATE_CHURN, true) : 0;
}

static int run_all(struct churn *ch, struct churn_case *cases, unsigned n)
{
	int rc = 0;

	for (unsigned repeat = 0; rc == 0 && repeat < ch->o->repeats; repeat++)
		for (unsigned i = 0; rc == 0 && i < n; i++)
			rc = run_states(ch, &cases[i], repeat % 2);
	return rc;
}

/* Static leases carry the packets; the churned ones belong to other peers. */
static int churn_up(struct churn *ch, struct lab *lab, const struct bench_options *o)
{
	uint32_t n_leases = o->is_quick ? 16 : 1000;
	int rc;

	ch->lab = lab;
	ch->result = calloc(1, sizeof(*ch->result));
	rc = lab_up(lab, o,
		&(struct rig_params){.n_workers = 1,
			.max_peers = CHURN_PEERS + 8,
			.max_leases = n_leases + 4 * CHURN_LEASES,
			.aead = o->aead});
	if (rc == 0)
		rc = lab_peers_add(lab, 8, 0);
	if (rc == 0)
		rc = lab_leases_add(lab, n_leases, 0, 8);
	for (uint32_t i = 8; rc == 0 && i < 8 + CHURN_PEERS; i++) {
		uint8_t key[CRYPTO_KEY_BYTES];

		parties_add_hollow(&lab->parties, key);
		rc = rig_peer_add(&lab->rig, i, key);
	}
	if (rc < 0 || !ch->result)
		return lab_complain("the peers can not be added");
	lab_settle(lab);
	ch->beside = beside_create(lab, o);
	if (!ch->beside)
		return -1;
	ch->server = server_start(&lab->rig);
	if (ch->server)
		ch->churner = churner_start(&(struct churner_params){
			.socket_path = server_socket(ch->server),
			.first_peer = 8,
			.n_peers = CHURN_PEERS,
			.batch = o->is_quick ? 20 : BATCH,
		});
	return ch->churner ? 0 : lab_complain("the control socket does not answer");
}

int bench_churn(const struct bench_options *o, struct report *r)
{
	static const struct bench_size sizes_default[] = {{64}, {1420}};
	static struct churn_case cases[BENCH_SIZES_MAX];
	struct bench_size sizes[BENCH_SIZES_MAX];
	unsigned n = cases_sizes(o, sizes_default, RTE_DIM(sizes_default), sizes);
	struct churn ch = {.o = o};
	static struct lab lab;
	int rc = churn_up(&ch, &lab, o);

	for (unsigned i = 0; i < n; i++)
		cases[i] = (struct churn_case){.size = sizes[i]};
	if (rc == 0)
		rc = run_all(&ch, cases, n);
	for (unsigned i = 0; rc == 0 && i < n; i++)
		churn_row(r, &cases[i]);
	churner_stop(ch.churner);
	server_stop(ch.server);
	beside_destroy(ch.beside);
	free(ch.result);
	return lab_finish(&lab, rc);
}
