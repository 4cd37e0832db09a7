/* records.h - what became of one worker's blocks of public ports, on its way to control.
 *
 * Spec:      RFC 6888 REQ-14, RFC 7422 (one record a block tells whose each of its ports was).
 * Threads:   the worker adds, control takes; neither waits for the other.
 * Memory:    sized at create; no allocation afterwards.
 * Invariant: records are taken in the order in which they were added; each is taken or counted as
 *            missed.
 */
#ifndef PORTIER_FLOW_RECORDS_H
#define PORTIER_FLOW_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

/* So many wait for control, which looks every second: peers that come all at once have a block
 * each. */
#define FLOW_RECORDS_WAITING 16384u

struct flow_record {
	uint64_t at_ns; /* monotonic, as the worker's other times */
	uint32_t peer_idx;
	uint32_t public_v4; /* host order */
	uint16_t first_port, n_ports;
	bool is_claimed; /* else released: from now on its ports are not the peer's */
};

struct flow_records;

/* NULL: memory. NULL is fine for destroy. */
struct flow_records *flow_records_create(void);
void flow_records_destroy(struct flow_records *r);

/* The worker. O(1); a record for which there is no room is counted as missed. */
void flow_records_add(struct flow_records *r, const struct flow_record *record);
/* Control: the next one. False: there is none. O(1). */
bool flow_records_take(struct flow_records *r, struct flow_record *out);
/* How many were missed, ever. Any thread. */
uint64_t flow_records_missed(const struct flow_records *r);

#endif
