#include "lanes_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct inside *inside;
void *inside_lanes;

static int run(int (*group)(void))
{
	size_t bytes = (inside->bytes() + INSIDE_ALIGN - 1) & ~(INSIDE_ALIGN - 1ULL);
	int failed = 1;

	inside_lanes = aligned_alloc(INSIDE_ALIGN, bytes);
	if (inside_lanes) {
		memset(inside_lanes, 0, bytes);
		failed = group();
	}
	free(inside_lanes);
	return failed;
}

int inside_run_each(int (*group)(void))
{
	static const struct inside *const kinds[] = {&inside_avx512, &inside_avx2};
	const char *wanted = getenv("PORTIER_TEST_LANES");
	int failed = 0;
	unsigned n_run = 0;

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		inside = kinds[i];
		if (wanted && strcmp(wanted, inside->name) != 0)
			continue;
		if (!inside->can_run()) {
			printf("this CPU has no %s lanes\n", inside->name);
			continue;
		}
		printf("%s lanes\n", inside->name);
		n_run++;
		failed += run(group);
	}
	if (n_run == 0)
		return 77;
	return failed != 0;
}
