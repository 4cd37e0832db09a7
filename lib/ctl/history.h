/* history.h - who had which public ports, as the control server records it; for lib/ctl only.
 *
 *   history.c           what is told to the store, and when
 *   history_methods.c   what is asked of it
 *
 * Spec:   RFC 6302, RFC 6888 REQ-12 and REQ-14, RFC 7422. Where a peer went is nowhere here.
 * Modes:  history.mode "none": nothing outlives what it tells of, and a look-up sees what is open
 *         now. "full": records in the store (store/history.h), for history.retention after their
 *         end.
 */
#ifndef PORTIER_CTL_HISTORY_H
#define PORTIER_CTL_HISTORY_H

#include "ctl/server.h"
#include "store/history.h"

/* What is open now, as its record would be. */
void ctl_history_of_lease(const struct ctl *c, const struct lease *lease, struct store_record *out);
/* The block that this port is in; false: it is nobody's, or not known to be somebody's yet. */
bool ctl_history_of_block(
	const struct ctl *c, const struct ip_addr *addr, uint16_t port, struct store_record *out);

#endif
