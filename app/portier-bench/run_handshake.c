/* run_handshake.c - responder handshakes a second, against what X25519 alone allows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include <rte_cycles.h>

#include "crypto/crypto.h"

#include "lab.h"
#include "report.h"
#include "sample.h"

/* Paper 5.4: a responder does three Diffie-Hellmans (es, ee, se; ss is kept) and makes one key. */
#define DHS_PER_HANDSHAKE 3
#define ACTIVE_MAX	  1000 /* parties that do handshakes; the others are only known */
#define TRIAL		  64   /* handshakes */
/* A peer may begin 50 handshakes a second: the clock of the gateway moves on between rounds. */
#define ROUND_SKIP_NS (25 * NS_IN_MS)

/* Each trial in turns with what bounds it, so that noise which lasts longer than both is in both.
 */
struct turns {
	struct sample_series cost, bound; /* cycles a handshake */
	struct sample_series dh, key;	  /* of bound */
	struct sample_series of_bound;
};

/* The cipher alone, as fast as the library can: keys and contexts are made before. */
struct x25519 {
	EVP_PKEY *own, *other;
	EVP_PKEY_CTX *ctx;
	uint8_t private_key[CRYPTO_KEY_BYTES];
};

static bool x25519_init(struct x25519 *x)
{
	uint8_t public_key[CRYPTO_KEY_BYTES];
	size_t len = sizeof(public_key);

	crypto_random(x->private_key, sizeof(x->private_key));
	x->own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, x->private_key, 32);
	if (!x->own || EVP_PKEY_get_raw_public_key(x->own, public_key, &len) <= 0)
		return false;
	x->other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, 32);
	x->ctx = EVP_PKEY_CTX_new(x->own, NULL);
	return x->other && x->ctx && EVP_PKEY_derive_init(x->ctx) > 0 &&
	       EVP_PKEY_derive_set_peer(x->ctx, x->other) > 0;
}

static void x25519_fini(struct x25519 *x)
{
	EVP_PKEY_CTX_free(x->ctx);
	EVP_PKEY_free(x->own);
	EVP_PKEY_free(x->other);
}

static void x25519_trial(struct x25519 *x, struct turns *t)
{
	static struct sample samples[2];
	uint8_t shared[CRYPTO_KEY_BYTES];
	size_t len;

	samples[0].n = samples[1].n = 0;
	for (unsigned i = 0; i < TRIAL; i++) {
		uint64_t began = rte_rdtsc(), between;
		EVP_PKEY *made;

		len = sizeof(shared);
		EVP_PKEY_derive(x->ctx, shared, &len);
		between = rte_rdtsc();
		made = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, x->private_key, 32);
		sample_add(&samples[0], between - began, 1);
		sample_add(&samples[1], rte_rdtsc() - between, 1);
		EVP_PKEY_free(made);
	}
	series_add(&t->dh, sample_figure(&samples[0]).mean);
	series_add(&t->key, sample_figure(&samples[1]).mean);
	series_add(&t->bound,
		DHS_PER_HANDSHAKE * t->dh.values[t->dh.n - 1] + t->key.values[t->key.n - 1]);
}

/* n_known peers, of which every stride-th is a party that can do handshakes. */
static int peers_add(struct lab *lab, uint32_t n_known, uint32_t stride)
{
	for (uint32_t i = 0; i < n_known; i++) {
		uint8_t public_key[CRYPTO_KEY_BYTES];
		struct party *party;

		if (i % stride == 0)
			party = parties_add(&lab->parties, 0);
		else
			party = parties_add_hollow(&lab->parties, public_key);
		if (!party || rig_peer_add(&lab->rig, i,
				      i % stride ? public_key : party->local.public_key) < 0)
			return lab_complain("a peer can not be added");
		if (i % TRIAL == 0)
			lab_settle(lab);
	}
	lab_settle(lab);
	return 0;
}

/* The initiations are in the handshake thread's mailbox; only its turns are timed. Cycles for each
 * that it answered; 0: none. */
static double handshakes_time(struct lab *lab)
{
	const uint64_t *n_answered =
		&lab->rig.handshake_stats.counter[STATS_HANDSHAKE_responses_out];
	uint64_t before = *n_answered, cycles = 0;
	struct timespec wall;
	unsigned n_done;

	clock_gettime(CLOCK_REALTIME, &wall);
	do {
		uint64_t began = rte_rdtsc();

		n_done = handshake_turn(lab->rig.handshake, rig_now_ns(), (uint64_t)wall.tv_sec,
			(uint32_t)wall.tv_nsec);
		cycles += rte_rdtsc() - began;
		grace_reader_quiescent(lab->rig.grace, lab->rig.params.n_workers);
	} while (n_done);
	return *n_answered > before ? (double)cycles / (double)(*n_answered - before) : 0;
}

/* Handshakes of the next parties, from *at on, each of them in its turn. */
static int handshakes_trial(struct lab *lab, uint32_t n_known, uint32_t stride, uint32_t *at,
	struct x25519 *x, struct turns *t)
{
	uint64_t before = lab->parties.n_handshakes;
	unsigned n = 0;
	double cost;

	for (; n < TRIAL && *at < n_known; *at += stride, n++)
		lab_initiate(lab, *at);
	rig_turn(&lab->rig, 0);
	x25519_trial(x, t);
	cost = handshakes_time(lab);
	lab_settle(lab);
	if (*at >= n_known) {
		*at = 0;
		rig_clock_skip(ROUND_SKIP_NS);
	}
	if (lab->parties.n_handshakes - before < n || cost == 0)
		return lab_complain("not every handshake completed");
	series_add(&t->cost, cost);
	series_add(&t->of_bound, t->bound.values[t->bound.n - 1] / cost);
	return 0;
}

static void handshake_row(
	struct report *r, uint32_t n_known, const struct turns *t, uint64_t n_handshakes)
{
	double hz = (double)rte_get_tsc_hz(), cycles = series_median(&t->cost);
	json_t *row = report_row(r);

	row_count(row, "peers", n_known);
	row_number(row, "cycles_per_handshake", cycles);
	row_number(row, "cycles_min", series_min(&t->cost));
	row_number(row, "cycles_max", series_max(&t->cost));
	row_number(row, "handshakes_per_s", hz / cycles);
	row_number(row, "x25519_per_s", hz / series_median(&t->dh));
	row_number(row, "x25519_keys_per_s", hz / series_median(&t->key));
	row_number(row, "bound_per_s", hz / series_median(&t->bound));
	row_number(row, "of_bound", series_median(&t->of_bound));
	row_number(row, "of_bound_min", series_min(&t->of_bound));
	row_number(row, "of_bound_max", series_max(&t->of_bound));
	row_count(row, "completed", n_handshakes);
	row_count(row, "lost", 0);
}

static int run_known(const struct bench_options *o, struct report *r, uint32_t n_known,
	struct x25519 *x, struct lab *lab)
{
	struct turns *t = calloc(1, sizeof(*t));
	uint32_t stride = RTE_MAX(n_known / ACTIVE_MAX, 1u), at = 0;
	int rc;

	if (!t)
		return lab_complain("out of memory");
	rc = lab_up(lab, o,
		&(struct rig_params){
			.n_workers = 1, .max_peers = n_known, .max_leases = 16, .aead = o->aead});
	if (rc == 0)
		rc = peers_add(lab, n_known, stride);
	for (unsigned repeat = 0; rc == 0 && repeat < o->repeats; repeat++)
		rc = handshakes_trial(lab, n_known, stride, &at, x, t);
	if (rc == 0)
		handshake_row(r, n_known, t, lab->parties.n_handshakes);
	free(t);
	return lab_finish(lab, rc);
}

int bench_handshake(const struct bench_options *o, struct report *r)
{
	uint32_t known[] = {10, o->is_quick ? 100 : 100000};
	static struct lab lab;
	struct x25519 x = {0};
	int rc = x25519_init(&x) ? 0 : lab_complain("OpenSSL has no X25519");

	if (o->max_peers)
		known[1] = o->max_peers;
	for (unsigned i = 0; rc == 0 && i < RTE_DIM(known); i++)
		rc = run_known(o, r, known[i], &x, &lab);
	x25519_fini(&x);
	return rc;
}
