/* eal.h - start DPDK's environment for a unit test: memory only, nothing left behind.
 *
 * Threads: call once, from the main thread, before anything of floor 3.
 */
#ifndef PORTIER_TESTS_EAL_H
#define PORTIER_TESTS_EAL_H

#include <stdio.h>
#include <stdlib.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_memory.h>

static inline void eal_start(void)
{
	static char *argv[] = {"test", "--no-huge", "-m", "256", "--no-shconf", "--no-pci",
		"--no-telemetry", "-l", "0", "--log-level=error", NULL};

	if (rte_eal_init((int)(sizeof(argv) / sizeof(argv[0])) - 1, argv) < 0) {
		fprintf(stderr, "rte_eal_init: %s\n", rte_strerror(rte_errno));
		exit(1);
	}
}

/* The seed of a random test: PORTIER_TEST_SEED, or fallback. Printed, so that a failure can be had
 * again. */
static inline unsigned long eal_test_seed(unsigned long fallback)
{
	const char *text = getenv("PORTIER_TEST_SEED");
	unsigned long seed = text != NULL ? strtoul(text, NULL, 0) : fallback;

	printf("PORTIER_TEST_SEED=%lu\n", seed);
	return seed;
}

#endif
