/* time.h - one unit of time everywhere: unsigned nanoseconds on a monotonic clock.
 *
 * Engines never read a clock; the loops of app and path read it once and pass it down.
 */
#ifndef PORTIER_BASE_TIME_H
#define PORTIER_BASE_TIME_H

#include <stdint.h>

#define NS_IN_US 1000ULL
#define NS_IN_MS 1000000ULL
#define NS_IN_S	 1000000000ULL

/* "Never", as a deadline. Larger than any sum of a real time and a real duration. */
#define TIME_NEVER UINT64_MAX

/* Parse a duration: a decimal integer with a unit, one of ms, s, m, h, d ("250ms", "30s", "2h").
 * "0" needs no unit. Returns 0; -EINVAL not a duration; -ERANGE over 100 years. */
int time_duration_parse(const char *text, uint64_t *out_ns);

/* Write the shortest exact form ("90s", "2h", "250ms") into buf; returns buf. A rest under 1 ms is
 * cut off; TIME_NEVER is "never", which the parser does not take. */
#define TIME_DURATION_CHARS 32
char *time_duration_format(uint64_t ns, char buf[static TIME_DURATION_CHARS]);

#endif
