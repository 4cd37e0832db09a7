/* wheel.c - a hashed timer wheel over peers: arming is a list insertion, and the packet path only
 * arms when a deadline moves forward in time to before what the wheel already knows.
 *
 * A deadline beyond one round lies in the last slot and is put back when that comes up.
 */
#include "path/worker.h"

static uint64_t tick_of(uint64_t time_ns)
{
	return time_ns >> WHEEL_TICK_LOG2;
}

void path_wheel_init(struct path_wheel *wheel, uint64_t now_ns)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->tick = tick_of(now_ns);
}

void path_wheel_remove(struct peer_hot *hot)
{
	if (!hot->wheel_prev)
		return;
	*hot->wheel_prev = hot->wheel_next;
	if (hot->wheel_next)
		hot->wheel_next->wheel_prev = hot->wheel_prev;
	hot->wheel_next = NULL;
	hot->wheel_prev = NULL;
}

void path_wheel_arm(struct path_wheel *wheel, struct peer_hot *hot, uint64_t due_ns)
{
	/* The slot after the one that the deadline falls into: never early. */
	uint64_t tick = tick_of(due_ns) + 1;
	struct peer_hot **slot;

	path_wheel_remove(hot);
	hot->wheel_due_ns = due_ns;
	if (due_ns == TIME_NEVER)
		return;
	if (tick < wheel->tick)
		tick = wheel->tick;
	if (tick >= wheel->tick + WHEEL_SLOTS)
		tick = wheel->tick + WHEEL_SLOTS - 1;
	slot = &wheel->slots[tick % WHEEL_SLOTS];
	hot->wheel_next = *slot;
	if (*slot)
		(*slot)->wheel_prev = &hot->wheel_next;
	*slot = hot;
	hot->wheel_prev = slot;
}

struct peer_hot *path_wheel_next(struct path_wheel *wheel, uint64_t now_ns)
{
	uint64_t now_tick = tick_of(now_ns);
	unsigned n_put_back = 0;

	/* After a long pause one round meets everybody. */
	if (now_tick > wheel->tick + WHEEL_SLOTS)
		wheel->tick = now_tick - WHEEL_SLOTS;
	while (wheel->tick <= now_tick) {
		struct peer_hot *hot = wheel->slots[wheel->tick % WHEEL_SLOTS];

		if (!hot) {
			if (wheel->tick == now_tick)
				return NULL;
			wheel->tick++;
			continue;
		}
		path_wheel_remove(hot);
		if (hot->wheel_due_ns <= now_ns)
			return hot;
		path_wheel_arm(wheel, hot, hot->wheel_due_ns);
		/* After a pause there may be as many as there are peers: the rest, next turn. */
		if (++n_put_back == WHEEL_PUT_BACK_MAX)
			return NULL;
	}
	return NULL;
}
