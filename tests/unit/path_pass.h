/* path_pass.h - one packet through the gateway, and what became of it: the common steps of tests of
 * the whole path, on one rig with one connected client.
 */
#ifndef PORTIER_TESTS_PATH_PASS_H
#define PORTIER_TESTS_PATH_PASS_H

#include "path_rig.h"

#include "lease/lease.h"

extern struct rig *rig;
extern struct rig_client *client; /* number 0 */

/* cmocka's set-up and tear-down. */
int pass_setup(const struct rig_params *params, unsigned home);
int pass_teardown(void **state);
/* Another client, connected, at home on that worker. */
struct rig_client *pass_client_add(unsigned i, unsigned home);
/* The client's lease for both protocols, opened; of IPv6 a pinhole. */
struct lease pass_lease(bool is_v4);

/* A frame goes in, one leaves by a port (*out), nothing is dropped. */
void pass(unsigned from, unsigned to, const struct frame *f, struct frame *out);
/* It is dropped for this reason, and nothing leaves. */
void drop_one(unsigned from, const struct frame *f, enum stats_drop reason);
/* It is dropped for this reason, and its sender is told by one frame (*out). */
void refuse_one(unsigned from, unsigned to, const struct frame *f, enum stats_drop reason,
	struct frame *out);
/* Let time pass, in steps that give every timer its turn; the client's keys are renewed. */
void pass_time(uint64_t ns);

#endif
