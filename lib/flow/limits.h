/* limits.h - what one peer's ordinary traffic may do.
 *
 * Spec:    RFC 4787, section 5 (filtering); RFC 6888 REQ-4 and REQ-5 (limits per subscriber).
 * Threads: plain values; whoever holds them says who writes.
 */
#ifndef PORTIER_FLOW_LIMITS_H
#define PORTIER_FLOW_LIMITS_H

#include <stdint.h>

/* What may come in to a peer's mappings, of flows that begin from now on. */
enum flow_filter {
	FLOW_STRICT = 0, /* what comes from an address and port that was sent to */
	FLOW_MODERATE, /* from an address that was sent to, since the filter is no longer strict */
	FLOW_OPEN,     /* from anywhere */
};

/* Read at each beginning; may change between any two. */
struct flow_limits {
	enum flow_filter filter;
	uint32_t max_sessions;
	uint16_t max_blocks;	   /* of ports */
	uint32_t new_per_s, burst; /* token bucket of new sessions; new_per_s 0: no limit */
};

#endif
