/* What those who have leases are promised, counted where it is broken (stats/stats.h lists it): a
 * port never moves, a door is open when its opener is told so, the mapped address is the egress
 * address, every request is answered, and whoever has to ask again is told.
 */
#include "ctl/server.h"

#include "base/bytes.h"
#include "base/log.h"

/* The first of each is logged, so that there is a place to begin to look. */
static void note_broken(struct ctl *c, enum stats_promise promise, const struct lease *lease)
{
	char peer[CTL_PEER_WORD_CHARS], addr[IP_TEXT_CHARS];

	if (c->n_broken[promise]++ == 0)
		log_error(
			"promise %s is broken at lease %llu of peer %s, %s:%u: this is a fault of "
			"the gateway",
			stats_promise_name(promise), (unsigned long long)lease->id,
			ctl_peer_word(c, lease->peer_idx, peer),
			ip_addr_format(&lease->public_addr, addr), lease->public_port);
}

struct ctl_number ctl_number_of(const struct lease *lease)
{
	if (lease == NULL)
		return (struct ctl_number){0};
	return (struct ctl_number){lease->public_addr, lease->public_port};
}

void ctl_promise_number(struct ctl *c, const struct ctl_number *before, const struct lease *now)
{
	if (!ip_equal(&before->addr, &now->public_addr) || before->port != now->public_port)
		note_broken(c, STATS_PROMISE_port_moved, now);
}

/* No exceptions: all leases of a peer to IPv4 have one address, a whole one too, and its ordinary
 * traffic leaves by that from the first of them on. Sessions that were under way before keep theirs
 * to their end; IPv6 is not translated, so there is nothing to differ. */
void ctl_promise_address(struct ctl *c, const struct lease *lease)
{
	if (ip_is_v4(&lease->public_addr) && load_be32(ip_v4_bytes(&lease->public_addr)) !=
						     peer_public(c->p.peers, lease->peer_idx))
		note_broken(c, STATS_PROMISE_address_differs, lease);
}

/* What was closed meanwhile, its opener may have closed. */
void ctl_promise_door(struct ctl *c, uint64_t lease_id)
{
	const struct lease *lease = lease_get(c->p.leases, lease_id);

	if (lease != NULL && !doors_has(c->p.doors, lease))
		note_broken(c, STATS_PROMISE_told_too_early, lease);
}

void ctl_promise_untold(struct ctl *c)
{
	c->n_broken[STATS_PROMISE_untold]++;
}

static uint64_t dropped(const struct ctl *c, enum stats_drop reason)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < c->p.n_workers; i++)
		sum += __atomic_load_n(&c->p.workers[i]->drop[reason], __ATOMIC_RELAXED);
	return sum;
}

/* Of those that came to control, whatever was not answered and is not waiting; and those that there
 * was no room for. Those beyond a peer's allowance are not among them: a peer that floods us is not
 * to raise an alarm that is about the gateway, and they are counted as drops for portmap_rate. */
static uint64_t unanswered(const struct ctl *c)
{
	const struct ctl_portmap_counters *n = &c->portmap.counters;

	return n->requests - n->answered - n->ignored - c->portmap.n_answers +
	       dropped(c, STATS_DROP_portmap_full);
}

uint64_t ctl_promise_broken(const struct ctl *c, enum stats_promise promise)
{
	return promise == STATS_PROMISE_unanswered ? unanswered(c) : c->n_broken[promise];
}

json_t *ctl_promises_build(const struct ctl *c)
{
	json_t *counters = json_object();

	for (unsigned i = 0; i < STATS_N_PROMISES; i++)
		json_object_set_new(counters, stats_promise_name(i),
			json_integer((json_int_t)ctl_promise_broken(c, i)));
	return json_pack("{s:o}", "counters", counters);
}
