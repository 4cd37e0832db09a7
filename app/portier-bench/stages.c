#include "stages.h"

#include <rte_cycles.h>

const char *stage_name(unsigned idx)
{
	static const char *const names[] = {
#define X(name) #name,
		STAGES(X)
#undef X
	};

	return names[idx];
}

/* Of the turn that is taken now. */
static struct {
	uint32_t *cycles; /* by stage */
	uint64_t last;
} watch;

/* The clock since the last look goes to this stage. */
static inline void book(enum stage stage)
{
	uint64_t now = rte_rdtsc();

	watch.cycles[stage] += (uint32_t)(now - watch.last);
	watch.last = now;
}

#define PATH_MARK(stage) book(STAGE_##stage)
#include "path/turn.h"

void stages_turn(struct path_worker *w, uint32_t cycles[static STAGE_N])
{
	watch.cycles = cycles;
	watch.last = rte_rdtsc();
	path_turn(w);
}
