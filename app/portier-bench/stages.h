/* stages.h - one turn of a worker, taken stage by stage with a look at the clock in between.
 *
 * It is the turn that workers take (path/turn.h), compiled with marks. A row's total comes from
 * real turns; a trial in stages says how it divides.
 *
 * Threads: one.
 */
#ifndef PORTIER_BENCH_STAGES_H
#define PORTIER_BENCH_STAGES_H

#include <stdint.h>

#include "path/path.h"

#define STAGES(X)   \
	X(poll)     \
	X(rx)       \
	X(classify) \
	X(door)     \
	X(dispatch) \
	X(open)     \
	X(replay)   \
	X(inner)    \
	X(snat)     \
	X(dnat)     \
	X(v6)       \
	X(mtu)      \
	X(seal)     \
	X(timers)   \
	X(tx)       \
	X(free)

enum stage {
#define X(name) STAGE_##name,
	STAGES(X)
#undef X
		STAGE_N
};

const char *stage_name(unsigned idx);
/* One turn; adds to cycles what each stage took. */
void stages_turn(struct path_worker *w, uint32_t cycles[static STAGE_N]);

#endif
