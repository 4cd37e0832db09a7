#include "lanes_inside.h"

#include <stdio.h>

const struct inside *inside;

int inside_run_each(int (*group)(void), bool (*begin)(void), void (*end)(void))
{
	static const struct inside *const kinds[] = {&inside_avx512, &inside_avx2};
	int failed = 0;
	unsigned n_run = 0;

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		inside = kinds[i];
		if (!inside->can_run()) {
			printf("this CPU has no %s lanes\n", inside->name);
			continue;
		}
		printf("%s lanes\n", inside->name);
		n_run++;
		failed += begin && !begin() ? 1 : group();
		if (end)
			end();
	}
	if (n_run == 0)
		return 77;
	return failed != 0;
}
