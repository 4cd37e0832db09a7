/* When leases were used last: which are idle, which are forgotten, and what a restart knows of it.
 *
 * The counters of a door have the moment; the store gets it with each change of the lease, and by
 * itself in one round of the sweep an hour, and at the end. Who kills the gateway takes the uses of
 * the last hour from it. */
#include "ctl/server.h"

#define ROUND_NS (3600 * NS_IN_S)

uint64_t ctl_lease_used_ns(const struct ctl *c, const struct lease *lease)
{
	struct door_counters counters;

	doors_counters_get(c->p.doors, lease->id, &counters);
	return counters.last_used_ns;
}

static bool is_older(
	const struct ctl *c, const struct lease *lease, uint64_t since_ns, uint64_t age_ns)
{
	uint64_t used_ns = ctl_lease_used_ns(c, lease), now_ns = c->p.now_ns();

	if (used_ns > since_ns)
		since_ns = used_ns;
	return now_ns > since_ns && now_ns - since_ns >= age_ns;
}

bool ctl_lease_is_unused(const struct ctl *c, const struct lease *lease, uint64_t unused_ns)
{
	return unused_ns == 0 || is_older(c, lease, lease->opened_ns, unused_ns);
}

/* A limit may be shorter than a round: it counts from the start. */
bool ctl_lease_is_idle(const struct ctl *c, const struct lease *lease)
{
	uint64_t since_ns = lease->opened_ns > c->p.started_ns ? lease->opened_ns : c->p.started_ns;

	return lease->idle_ns != 0 && is_older(c, lease, since_ns, lease->idle_ns);
}

void ctl_used_round(struct ctl *c, uint64_t now_ns)
{
	if (c->used_round_ns == 0)
		c->used_round_ns = c->p.started_ns;
	c->is_used_round = c->p.store != NULL && !ctl_store_is_failing(c) &&
			   now_ns - c->used_round_ns >= ROUND_NS;
	if (!c->is_used_round)
		return;
	c->used_since_ns = c->used_round_ns;
	c->used_round_ns = now_ns;
}

static void put_used(struct ctl *c, const struct lease *lease, uint64_t since_ns)
{
	uint64_t used_ns = ctl_lease_used_ns(c, lease);

	if (used_ns >= since_ns && used_ns != 0 && !ctl_lease_is_configured(lease))
		store_lease_used_put(c->p.store, lease->id, ctl_wall_of(c, used_ns));
}

void ctl_used_sweep(struct ctl *c, const struct lease *lease)
{
	if (c->is_used_round)
		put_used(c, lease, c->used_since_ns);
}

void ctl_used_fini(struct ctl *c)
{
	/* A round that is under way has not seen all. */
	uint64_t since_ns = c->is_used_round ? c->used_since_ns : c->used_round_ns, cursor = 0;
	const struct lease *lease;

	if (c->p.store == NULL)
		return;
	while ((lease = lease_next(c->p.leases, UINT32_MAX, &cursor)) != NULL)
		put_used(c, lease, since_ns);
}
