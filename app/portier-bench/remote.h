/* remote.h - a gateway of its own: a portier process, reached over shared memory (net_memif) and
 * its control socket alone.
 *
 *   rx rings --> memif (client) ~~> tunnel, public port of portier
 *   tx rings <-- memif (client) <~~
 *
 * Threads: one.
 */
#ifndef PORTIER_BENCH_REMOTE_H
#define PORTIER_BENCH_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "rig.h"

#define REMOTE_WAIT_NS (20 * NS_IN_S) /* what takes longer has failed */

struct remote;

/* Start one with the key and the addresses of rig->conf, and connect to its ports. It is there when
 * this returns. NULL, with a sentence. The rings, the buffers and the configuration stay rig's. */
struct remote *remote_start(const struct rig *rig, char fault[static RIG_FAULT_CHARS]);
/* End it and leave nothing behind. NULL is fine. */
void remote_stop(struct remote *r);

/* Carry what waits in the rings, up to a burst each way and port. Returns how many frames. */
unsigned remote_pump(struct remote *r);

/* As rig_peer_add and rig_lease_open; 0 or -EIO, the reason was printed. */
int remote_peer_add(
	struct remote *r, uint32_t peer_idx, const uint8_t public_key[CRYPTO_KEY_BYTES]);
int remote_lease_open(struct remote *r, uint32_t peer_idx, uint16_t inner_port, struct lease *out);

/* What it has done since it started. */
struct remote_work {
	uint64_t cpu_ns; /* of all its threads */
	uint64_t turns, busy_turns;
};
/* 0 or -1, the reason was printed. Answering costs its control thread some of that time. */
int remote_work(struct remote *r, struct remote_work *out);

bool remote_is_balanced(struct remote *r);
void remote_drops_print(struct remote *r);

#endif
