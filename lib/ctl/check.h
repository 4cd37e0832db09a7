/* check.h - inside ctl: what the parts of lease.check share.
 *
 *   check.c        what is asked, how a probe is sent again, and the reply when it comes
 *   check_from.c   where a probe comes from
 *   check_found.c  what came of it, in words
 */
#ifndef PORTIER_CTL_CHECK_H
#define PORTIER_CTL_CHECK_H

#include "ctl/server.h"

struct ctl_check {
	TAILQ_ENTRY(ctl_check) next;
	struct ctl_client *client; /* NULL: it hung up */
	struct rpc_text reply;	   /* begun */
	uint64_t lease_id;
	uint8_t number; /* of the probe */
	struct probe_ask ask;
	uint64_t began_ns, ends_ns, resend_ns, resend_gap_ns;
	unsigned n_sent;
};

/* An address of the gateway's public side that the lease admits and that is not its own, with a
 * port where nothing else is heard. 0; -EINVAL with *fault: there is none, and what would be
 * admitted. */
int ctl_check_from(
	struct ctl *c, const struct lease *l, struct ip_endpoint *out, struct rpc_fault *fault);

/* What is known of it by now, as one value. */
void ctl_check_write(struct ctl *c, const struct ctl_check *check, struct rpc_text *t);

#endif
