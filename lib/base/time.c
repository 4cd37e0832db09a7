/* time.c - durations as people write them. */
#include "base/time.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* 100 years of 365.25 days: far under UINT64_MAX ns (584 years), so that sums can not overflow. */
#define DURATION_MAX_NS (36525ULL * 86400 * NS_IN_S)

/* Largest first: format takes the first that divides. */
static const struct unit {
	const char *name;
	uint64_t ns;
} units[] = {
	{"d", 86400 * NS_IN_S},
	{"h", 3600 * NS_IN_S},
	{"m", 60 * NS_IN_S},
	{"s", NS_IN_S},
	{"ms", NS_IN_MS},
};
#define N_UNITS (sizeof(units) / sizeof(units[0]))

int time_duration_parse(const char *text, uint64_t *out_ns)
{
	size_t n_digits = strspn(text, "0123456789");
	const char *name = text + n_digits;
	uint64_t value = 0, unit_ns = 0;

	if (n_digits == 0)
		return -EINVAL;
	for (size_t i = 0; i < N_UNITS; i++)
		if (strcmp(name, units[i].name) == 0)
			unit_ns = units[i].ns;
	if (unit_ns == 0) {
		if (strcmp(text, "0") != 0)
			return -EINVAL;
		unit_ns = NS_IN_S;
	}
	for (size_t i = 0; i < n_digits; i++) {
		value = value * 10 + (uint64_t)(text[i] - '0');
		if (value > DURATION_MAX_NS / unit_ns)
			return -ERANGE;
	}
	*out_ns = value * unit_ns;
	return 0;
}

char *time_duration_format(uint64_t ns, char buf[static TIME_DURATION_CHARS])
{
	if (ns == TIME_NEVER) {
		strcpy(buf, "never");
		return buf;
	}
	ns -= ns % NS_IN_MS;
	if (ns == 0) {
		strcpy(buf, "0s");
		return buf;
	}
	for (size_t i = 0; i < N_UNITS; i++) {
		if (ns % units[i].ns != 0)
			continue;
		snprintf(
			buf, TIME_DURATION_CHARS, "%" PRIu64 "%s", ns / units[i].ns, units[i].name);
		break;
	}
	return buf;
}
