/* run_memory.c - bytes a peer, a keypair and a lease: reserved for those that the configuration
 * allows, and touched by those that are there.
 *
 * What is reserved is found once a repeat, from gateways that come and go. Pages are touched for
 * the first time only once in a process, so what is touched is found by parts: as many as there are
 * repeats come one after the other, and each part's growth is a value. The first touch pages that
 * later ones share.
 */
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_malloc.h>

#include "lab.h"
#include "report.h"
#include "sample.h"

struct usage {
	uint64_t reserved; /* by malloc and by DPDK's heaps */
	uint64_t resident;
};

static struct usage usage_now(void)
{
	struct mallinfo2 m = mallinfo2();
	struct rte_malloc_socket_stats heap = {0};
	unsigned long long total, resident = 0;
	struct usage u;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%llu %llu", &total, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	rte_malloc_get_socket_stats((int)rte_socket_id(), &heap);
	u.reserved = m.uordblks + m.hblkhd + heap.heap_allocsz_bytes;
	u.resident = resident * (uint64_t)sysconf(_SC_PAGESIZE);
	return u;
}

/* each: bytes of one, by repeat or by part. */
static void memory_row(
	struct report *r, const char *what, uint32_t n, const struct sample_series *each)
{
	json_t *row = report_row(r);

	row_text(row, "what", what);
	row_count(row, "n", n);
	row_number(row, "bytes_each", series_median(each));
	row_number(row, "bytes_each_min", series_min(each));
	row_number(row, "bytes_each_max", series_max(each));
}

static void growth_add(struct sample_series *each, uint64_t from, uint64_t to, uint32_t n)
{
	series_add(each, ((double)to - (double)from) / n);
}

/* Where part i of n_parts of them begins. */
static uint32_t part_begin(uint32_t n, unsigned i, unsigned n_parts)
{
	return (uint32_t)((uint64_t)n * i / n_parts);
}

/* A gateway that may have so many: what it reserves beyond an empty process. */
static int reserved_by(struct lab *lab, const struct bench_options *o,
	const struct rig_params *params, uint64_t *out)
{
	char fault[RIG_FAULT_CHARS];
	struct usage before = usage_now();
	int rc = rig_up(&lab->rig, params, fault);

	if (rc < 0)
		lab_complain(fault);
	*out = usage_now().reserved - before.reserved;
	rig_down(&lab->rig);
	return rc;
}

static int reserve_once(struct lab *lab, const struct bench_options *o, uint32_t n,
	struct sample_series *peers, struct sample_series *leases)
{
	struct rig_params params = {
		.n_workers = 1, .max_peers = 1000, .max_leases = 1000, .aead = o->aead};
	uint64_t small, many_peers, many_leases;

	if (reserved_by(lab, o, &params, &small) < 0)
		return -1;
	params.max_peers += n;
	if (reserved_by(lab, o, &params, &many_peers) < 0)
		return -1;
	params.max_peers -= n;
	params.max_leases += n;
	if (reserved_by(lab, o, &params, &many_leases) < 0)
		return -1;
	growth_add(peers, small, many_peers, n);
	growth_add(leases, small, many_leases, n);
	return 0;
}

static int run_reserved(
	struct lab *lab, const struct bench_options *o, struct report *r, uint32_t n)
{
	struct sample_series peers = {0}, leases = {0};

	for (unsigned i = 0; i < o->repeats; i++)
		if (reserve_once(lab, o, n, &peers, &leases) < 0)
			return -1;
	memory_row(r, "peer, allowed", n, &peers);
	memory_row(r, "lease, allowed", n, &leases);
	return 0;
}

/* Of whom there are how many; peers who shake no hands, and those who do. */
struct crowd {
	uint32_t n_peers, n_handshakes, n_leases;
};

/* Those from first up to end come, in the order of their numbers. 0 or -1, printed. */
typedef int (*come_fn)(struct lab *lab, const struct crowd *c, uint32_t first, uint32_t end);

static int come_peers(struct lab *lab, const struct crowd *c, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++) {
		uint8_t key[CRYPTO_KEY_BYTES];

		crypto_random(key, sizeof(key));
		if (rig_peer_add(&lab->rig, c->n_handshakes + i, key) < 0)
			return lab_complain("a peer can not be added");
		if (i % 64 == 0)
			lab_settle(lab);
	}
	lab_settle(lab);
	return 0;
}

static int come_keypairs(struct lab *lab, const struct crowd *c, uint32_t first, uint32_t end)
{
	return lab_handshakes(lab, first, end - first);
}

static int come_leases(struct lab *lab, const struct crowd *c, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++) {
		struct lease lease;

		if (rig_lease_open(&lab->rig, i % c->n_handshakes,
			    (uint16_t)(1024 + i / c->n_handshakes), &lease) < 0)
			return lab_complain("a lease can not be opened");
	}
	return 0;
}

static int grow(struct lab *lab, const struct crowd *c, unsigned n_parts, uint32_t n, come_fn come,
	struct sample_series *each)
{
	for (unsigned i = 0; i < n_parts; i++) {
		uint32_t first = part_begin(n, i, n_parts), end = part_begin(n, i + 1, n_parts);
		uint64_t before = usage_now().resident;

		if (come(lab, c, first, end) < 0)
			return -1;
		growth_add(each, before, usage_now().resident, end - first);
	}
	return 0;
}

static int grow_all(
	struct lab *lab, const struct bench_options *o, struct report *r, const struct crowd *c)
{
	unsigned n_parts = RTE_MIN(o->repeats, c->n_handshakes); /* none is empty */
	const struct {
		const char *what;
		uint32_t n;
		come_fn come;
	} kinds[] = {
		{"peer, resident", c->n_peers, come_peers},
		{"first keypair, resident", c->n_handshakes, come_keypairs},
		{"lease, resident", c->n_leases, come_leases},
	};

	for (unsigned i = 0; i < RTE_DIM(kinds); i++) {
		struct sample_series each = {0};

		if (grow(lab, c, n_parts, kinds[i].n, kinds[i].come, &each) < 0)
			return -1;
		memory_row(r, kinds[i].what, kinds[i].n, &each);
	}
	return 0;
}

static int run_resident(
	struct lab *lab, const struct bench_options *o, struct report *r, const struct crowd *c)
{
	if (lab_up(lab, o,
		    &(struct rig_params){.n_workers = 1,
			    .max_peers = c->n_peers + c->n_handshakes,
			    .max_leases = c->n_leases,
			    .aead = o->aead}) < 0)
		return -1;
	/* The generator's own memory first: all parties exist before the first peer does. */
	for (uint32_t i = 0; i < c->n_peers + c->n_handshakes; i++) {
		uint8_t unused[CRYPTO_KEY_BYTES];

		if (i < c->n_handshakes ? !parties_add(&lab->parties, 0)
					: !parties_add_hollow(&lab->parties, unused))
			return lab_complain("out of memory for the generator");
	}
	for (uint32_t i = 0; i < c->n_handshakes; i++)
		if (rig_peer_add(&lab->rig, i, lab->parties.all[i].local.public_key) < 0)
			return lab_complain("a peer can not be added");
	lab_settle(lab);
	return grow_all(lab, o, r, c);
}

int bench_memory(const struct bench_options *o, struct report *r)
{
	static const struct crowd few = {.n_peers = 100, .n_handshakes = 50, .n_leases = 1000},
				  many = {.n_peers = 20000,
					  .n_handshakes = 5000,
					  .n_leases = 200000};
	static struct lab lab;
	uint32_t n = o->is_quick ? 10000 : 100000;
	int rc = run_reserved(&lab, o, r, n);

	if (rc == 0)
		rc = run_resident(&lab, o, r, o->is_quick ? &few : &many);
	lab_down(&lab);
	return rc;
}
