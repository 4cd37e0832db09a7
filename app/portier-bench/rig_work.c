/* rig_work.c - the gateway at work: what control does between turns, peers and leases, the books.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "remote.h"
#include "rig.h"

#define MAIL_BURST 64

static void take_frames(struct rig *rig, struct mbox *from, uint64_t now_ns)
{
	void *frames[MAIL_BURST];
	unsigned n = mbox_pop_burst(from, frames, MAIL_BURST);

	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = frames[i];
		struct path_punt punt = *(struct path_punt *)rte_mbuf_to_priv(m);

		if (ip_is_none(&punt.next))
			neigh_input(rig->neigh, punt.port_idx, m, now_ns);
		else
			neigh_hold(rig->neigh, punt.port_idx, &punt.next, m, now_ns);
	}
}

void rig_control_turn(struct rig *rig)
{
	uint64_t now_ns = rig_now_ns();

	for (unsigned i = 0; i < rig->params.n_workers; i++)
		take_frames(rig, rig->mail[i].to_control, now_ns);
	if (now_ns >= neigh_next_deadline_ns(rig->neigh))
		neigh_tick(rig->neigh, now_ns);
	peers_poll(rig->peers);
	grace_poll(rig->grace);
}

unsigned rig_upkeep(struct rig *rig)
{
	struct timespec wall;
	unsigned n_done = 0;

	if (rig->remote)
		return 0;
	if (!rig->has_control_thread)
		rig_control_turn(rig);
	if (!rig->is_handshake_running) {
		clock_gettime(CLOCK_REALTIME, &wall);
		n_done = handshake_turn(rig->handshake, rig_now_ns(), (uint64_t)wall.tv_sec,
			(uint32_t)wall.tv_nsec);
		grace_reader_quiescent(rig->grace, rig->params.n_workers);
	}
	return n_done;
}

unsigned rig_work(struct rig *rig)
{
	unsigned n_moved = 0;

	if (rig->remote)
		return remote_pump(rig->remote);
	for (unsigned i = 0; i < rig->params.n_workers; i++) {
		n_moved += path_worker_turn(rig->workers[i]);
		grace_reader_quiescent(rig->grace, i);
	}
	return n_moved;
}

/* Readers that are the caller's: workers, then the handshake thread unless it is a real one. */
static unsigned count_readers(const struct rig *rig)
{
	return rig->params.n_workers + !rig->is_handshake_running;
}

void rig_rest(struct rig *rig)
{
	for (unsigned i = 0; i < count_readers(rig); i++)
		grace_reader_offline(rig->grace, i);
}

void rig_resume(struct rig *rig)
{
	for (unsigned i = 0; i < count_readers(rig); i++)
		grace_reader_online(rig->grace, i);
}

int rig_peer_add(struct rig *rig, uint32_t peer_idx, const uint8_t public_key[CRYPTO_KEY_BYTES])
{
	struct peer_conf conf = {
		.address4 = rig_inner_addr(peer_idx),
		.forwarding = true,
		.max_leases = rig->params.max_leases,
		.limits = {.max_sessions = rig->params.max_sessions, .max_blocks = UINT16_MAX},
	};
	const char *culprit = "its number";
	uint32_t got = peer_idx;
	int rc;

	if (rig->remote)
		return remote_peer_add(rig->remote, peer_idx, public_key);
	snprintf(conf.name, sizeof(conf.name), "peer-%" PRIu32, peer_idx);
	memcpy(conf.public_key, public_key, sizeof(conf.public_key));
	rc = peer_add(rig->peers, &conf, &got, &culprit);
	if (rc == 0 && got != peer_idx)
		rc = -ESTALE;
	if (rc < 0) {
		fprintf(stderr, "portier-bench: peer %" PRIu32 ": %s: %s\n", peer_idx, culprit,
			strerror(-rc));
		return rc;
	}
	if (rig->params.max_sessions)
		peer_public_set(rig->peers, got, RIG_POOL_V4 + got % RIG_PUBLIC_ADDRS);
	return 0;
}

int rig_lease_open(struct rig *rig, uint32_t peer_idx, uint16_t inner_port, struct lease *out)
{
	struct lease_request req = {
		.peer_idx = peer_idx,
		.peer_max_leases = rig->params.max_leases,
		.protos = LEASE_PROTO_UDP,
		.inner_addr = rig_inner_addr(peer_idx),
		.inner_port = inner_port,
	};
	const struct lease *lease;
	int rc;

	if (rig->remote)
		return remote_lease_open(rig->remote, peer_idx, inner_port, out);
	rc = lease_grant(rig->leases, &req, rig_now_ns(), &lease);
	if (rc < 0)
		return rc;
	rc = doors_open(rig->doors, lease);
	*out = *lease;
	return rc;
}

/* --- the books ---------------------------------------------------------------------------------
 */

bool rig_is_balanced(const struct rig *rig)
{
	if (rig->remote)
		return remote_is_balanced(rig->remote);
	for (unsigned i = 0; i < rig->params.n_workers; i++) {
		const struct stats_worker *s = path_stats(rig->path, i);
		const uint64_t *c = s->counter;

		if (c[STATS_received] + c[STATS_handed_in] !=
			c[STATS_forwarded] + c[STATS_consumed] + stats_dropped(s) +
				c[STATS_handed_out] + c[STATS_holding])
			return false;
	}
	return true;
}

uint64_t rig_dropped(const struct rig *rig)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < rig->params.n_workers; i++)
		n += stats_dropped(path_stats(rig->path, i));
	return n;
}

void rig_drops_print(const struct rig *rig)
{
	if (rig->remote) {
		remote_drops_print(rig->remote);
		return;
	}
	for (unsigned i = 0; i < rig->params.n_workers; i++) {
		const struct stats_worker *s = path_stats(rig->path, i);

		for (unsigned k = 0; k < STATS_N_DROPS; k++)
			if (s->drop[k])
				fprintf(stderr,
					"portier-bench: worker %u dropped %" PRIu64 ": %s\n", i,
					s->drop[k], stats_drop_help(k));
	}
}
