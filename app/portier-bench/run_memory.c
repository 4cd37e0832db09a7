/* run_memory.c - bytes a peer, a keypair and a lease: reserved for those that the configuration
 * allows, and touched by those that are there. */
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_malloc.h>

#include "lab.h"
#include "report.h"

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

static void memory_row(struct report *r, const char *what, uint32_t n, uint64_t from, uint64_t to)
{
	json_t *row = report_row(r);

	row_text(row, "what", what);
	row_count(row, "n", n);
	row_number(row, "bytes_each", ((double)to - (double)from) / n);
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

static int run_reserved(
	struct lab *lab, const struct bench_options *o, struct report *r, uint32_t n)
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
	memory_row(r, "peer, allowed", n, small, many_peers);
	memory_row(r, "lease, allowed", n, small, many_leases);
	return 0;
}

static int run_resident(struct lab *lab, const struct bench_options *o, struct report *r,
	uint32_t n_peers, uint32_t n_handshakes, uint32_t n_leases)
{
	struct usage at[4];

	if (lab_up(lab, o,
		    &(struct rig_params){.n_workers = 1,
			    .max_peers = n_peers + n_handshakes,
			    .max_leases = n_leases,
			    .aead = o->aead}) < 0)
		return -1;
	/* The generator's own memory first: all parties exist before the first peer does. */
	for (uint32_t i = 0; i < n_peers + n_handshakes; i++) {
		uint8_t unused[CRYPTO_KEY_BYTES];

		if (i < n_handshakes ? !parties_add(&lab->parties, 0)
				     : !parties_add_hollow(&lab->parties, unused))
			return lab_complain("out of memory for the generator");
	}
	for (uint32_t i = 0; i < n_handshakes; i++)
		if (rig_peer_add(&lab->rig, i, lab->parties.all[i].local.public_key) < 0)
			return lab_complain("a peer can not be added");
	lab_settle(lab);
	at[0] = usage_now();
	for (uint32_t i = n_handshakes; i < n_peers + n_handshakes; i++) {
		uint8_t key[CRYPTO_KEY_BYTES];

		crypto_random(key, sizeof(key));
		if (rig_peer_add(&lab->rig, i, key) < 0)
			return lab_complain("a peer can not be added");
		if (i % 64 == 0)
			lab_settle(lab);
	}
	lab_settle(lab);
	at[1] = usage_now();
	if (lab_handshakes(lab, 0, n_handshakes) < 0)
		return -1;
	at[2] = usage_now();
	for (uint32_t i = 0; i < n_leases; i++) {
		struct lease lease;

		if (rig_lease_open(&lab->rig, i % n_handshakes, (uint16_t)(1024 + i / n_handshakes),
			    &lease) < 0)
			return lab_complain("a lease can not be opened");
	}
	at[3] = usage_now();
	memory_row(r, "peer, resident", n_peers, at[0].resident, at[1].resident);
	memory_row(r, "first keypair, resident", n_handshakes, at[1].resident, at[2].resident);
	memory_row(r, "lease, resident", n_leases, at[2].resident, at[3].resident);
	return 0;
}

int bench_memory(const struct bench_options *o, struct report *r)
{
	static struct lab lab;
	uint32_t n = o->is_quick ? 10000 : 100000;
	int rc = run_reserved(&lab, o, r, n);

	if (rc == 0)
		rc = run_resident(&lab, o, r, o->is_quick ? 100 : 20000, o->is_quick ? 50 : 5000,
			o->is_quick ? 1000 : 200000);
	lab_down(&lab);
	return rc;
}
