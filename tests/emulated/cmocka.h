/* cmocka.h - what the tests of the lanes use of cmocka, which there is no static library of. The
 * first failure ends the run.
 */
#ifndef PORTIER_TESTS_EMULATED_CMOCKA_H
#define PORTIER_TESTS_EMULATED_CMOCKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
	const char *name;
	void (*run)(void **state);
};

#define cmocka_unit_test(f) ((struct CMUnitTest){#f, f})
#define cmocka_run_group_tests(tests, setup, teardown) \
	run_tests(tests, sizeof(tests) / sizeof((tests)[0]))

#define assert_true(is)			expect_true((is), #is, __FILE__, __LINE__)
#define assert_false(is)		assert_true(!(is))
#define assert_int_equal(a, b)		assert_true((a) == (b))
#define assert_ptr_not_equal(a, b)	assert_true((a) != (b))
#define assert_in_range(x, least, most) assert_true(is_in_range(x, least, most))
#define assert_memory_equal(a, b, n)	assert_true((n) == 0 || memcmp(a, b, n) == 0)

static inline void expect_true(bool is, const char *what, const char *file, int line)
{
	if (is)
		return;
	printf("%s:%d: %s\n", file, line, what);
	exit(1);
}

static inline bool is_in_range(uintmax_t x, uintmax_t least, uintmax_t most)
{
	return x >= least && x <= most;
}

static inline int run_tests(const struct CMUnitTest *tests, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		printf("%s\n", tests[i].name);
		fflush(stdout);
		tests[i].run(NULL);
	}
	return 0;
}

#endif
