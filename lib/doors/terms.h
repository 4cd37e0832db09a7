/* terms.h - what a lease asks of those who come in by its door: from where, how many packets and
 * new flows a second.
 *
 * A lease that asks nothing has no terms: one null pointer is all that its packets see of this.
 *
 * Buckets:   virtual scheduling (ITU-T I.371, A.1): of a bucket only the moment is kept at which it
 *            will be full; a packet moves it on by one interval, and is refused where that would be
 *            more than a second ahead. So a bucket holds what one second allows.
 * Flows:     a far endpoint is a flow until it is forgotten (recent.h). Of TCP only a segment that
 *            begins a connection can be new, and one that comes again is none.
 * Threads:   control makes them, and replaces them whole; the home worker of the peer asks, and
 * owns the buckets.
 */
#ifndef PORTIER_DOORS_TERMS_H
#define PORTIER_DOORS_TERMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/time.h"
#include "doors/recent.h"
#include "lease/lease.h"
#include "table/grace.h"

/* W: home worker. */
struct door_buckets {
	uint64_t pkts_full_ns, flows_full_ns;
	struct recent flows;
};

struct door_terms {
	struct grace_work retire; /* W, R: control */
	/* W: control, before any worker sees them. */
	uint32_t pkt_interval_ns, flow_interval_ns; /* 0: as many as come */
	struct door_buckets *buckets;		    /* NULL: neither is limited */
	uint32_t n_sources;			    /* 0: any */
	struct ip_prefix sources[];
};

/* A packet from the Internet to a door. */
struct door_knock {
	struct ip_addr src;
	uint16_t src_port;
	bool is_tcp;
	bool is_beginning; /* of TCP: SYN without ACK */
	bool is_error;	   /* an ICMP error: no flow of its own */
};

enum door_verdict {
	DOOR_REFUSES_SOURCE = 0,
	DOOR_REFUSES_RATE,
	DOOR_REFUSES_FLOW,
	DOOR_ADMITS,
};

/* *out: NULL for a lease that asks nothing. 0; -ENOMEM. Control. */
int door_terms_create(const struct lease *lease, struct door_terms **out);
void door_terms_destroy(void *terms); /* NULL is fine */
bool door_terms_equal(const struct door_terms *terms, const struct lease *lease);

bool door_terms_admit_source(const struct door_terms *terms, const struct ip_addr *src);
/* flow_hash: keyed, of protocol, far address and port; used where needs_flow says so. O(sources).
 * Home worker, between online and quiescent. */
enum door_verdict door_terms_ask(struct door_terms *terms, const struct door_knock *knock,
	uint64_t flow_hash, uint64_t now_ns);

/* The same, of which the buckets know nothing; for showing. Control. */
enum door_verdict door_terms_peek(const struct door_terms *terms, const struct door_knock *knock,
	uint64_t flow_hash, uint64_t now_ns);

/* Is the flow of this packet looked at? */
static inline bool door_terms_need_flow(
	const struct door_terms *terms, const struct door_knock *knock)
{
	return terms->flow_interval_ns > 0 && !knock->is_error &&
	       (!knock->is_tcp || knock->is_beginning);
}

#endif
