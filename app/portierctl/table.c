#include "cli.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Labels and names come from others: no byte of them may steer a terminal. */
static void make_printable(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

void cli_complain(const char *fmt, ...)
{
	char sentence[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	make_printable(sentence);
	fprintf(stderr, "portierctl: %s\n", sentence);
}

void cli_print(const char *fmt, ...)
{
	char text[2048];
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	len = strlen(text);
	if (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	else
		len = 0;
	make_printable(text);
	fputs(text, stdout);
	if (len > 0)
		putchar('\n');
}

/* --- tables ------------------------------------------------------------------------------------*/

#define COLUMNS_MAX 80

struct cli_table {
	unsigned n_columns;
	bool is_right[COLUMNS_MAX];
	size_t width[COLUMNS_MAX];
	char **cells; /* the first row is the header */
	size_t n_cells, room;
};

static void *must(void *p)
{
	if (p == NULL) {
		cli_complain("memory is out");
		exit(CLI_UNREACHABLE);
	}
	return p;
}

/* Characters, not bytes. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

struct cli_table *cli_table_create(const char *header)
{
	struct cli_table *t = must(calloc(1, sizeof(*t)));
	char *copy = must(strdup(header)), *save = NULL;

	for (char *word = strtok_r(copy, "|", &save); word != NULL && t->n_columns < COLUMNS_MAX;
		word = strtok_r(NULL, "|", &save)) {
		t->is_right[t->n_columns++] = word[0] == '>';
		cli_table_add(t, word + (word[0] == '>'));
	}
	free(copy);
	return t;
}

void cli_table_add(struct cli_table *t, const char *text)
{
	unsigned column = (unsigned)(t->n_cells % t->n_columns);
	char *cell = must(strdup(text[0] == '\0' ? "-" : text));

	make_printable(cell);
	/* While the header is read, columns are still being counted. */
	if (t->n_cells < t->n_columns)
		column = (unsigned)t->n_cells;
	if (width_of(cell) > t->width[column])
		t->width[column] = width_of(cell);
	if (t->n_cells == t->room) {
		t->room = t->room == 0 ? 256 : 2 * t->room;
		t->cells = must(realloc(t->cells, t->room * sizeof(t->cells[0])));
	}
	t->cells[t->n_cells++] = cell;
}

void cli_table_addf(struct cli_table *t, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_table_add(t, text);
}

static void print_cell(const struct cli_table *t, size_t i)
{
	unsigned column = (unsigned)(i % t->n_columns);
	int pad = (int)(t->width[column] - width_of(t->cells[i]));
	bool is_last = column + 1 == t->n_columns;

	if (t->is_right[column])
		printf("%*s%s", pad, "", t->cells[i]);
	else
		printf("%s%*s", t->cells[i], is_last ? 0 : pad, "");
	fputs(is_last ? "\n" : "  ", stdout);
}

void cli_table_print(struct cli_table *t, const char *empty)
{
	if (t->n_cells <= t->n_columns) {
		printf("%s\n", empty);
	} else {
		for (size_t i = 0; i < t->n_cells; i++)
			print_cell(t, i);
	}
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void cli_field(const char *name, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_printable(text);
	printf("%-20s %s\n", name, text);
}

/* --- values ------------------------------------------------------------------------------------*/

const char *cli_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL || text[0] == '\0' ? "-" : text;
}

json_int_t cli_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static char *endpoint_format(
	const json_t *lease, const char *address, const char *port, char buf[static CLI_TEXT_CHARS])
{
	const char *text = cli_text(lease, address);
	bool is_v6 = strchr(text, ':') != NULL;

	unsigned first = (unsigned)cli_number(lease, port);
	unsigned n = (unsigned)cli_number(lease, "ports");
	char last[16] = "";

	if (n > 1)
		snprintf(last, sizeof(last), "-%u", first + n - 1);
	if (json_is_null(json_object_get(lease, port))) {
		snprintf(buf, CLI_TEXT_CHARS, "%.46s (all ports)", text);
		return buf;
	}
	snprintf(buf, CLI_TEXT_CHARS, "%s%.46s%s:%u%s", is_v6 ? "[" : "", text, is_v6 ? "]" : "",
		first, last);
	return buf;
}

char *cli_public_format(const json_t *lease, char buf[static CLI_TEXT_CHARS])
{
	return endpoint_format(lease, "public_address", "public_port", buf);
}

char *cli_target_format(const json_t *lease, char buf[static CLI_TEXT_CHARS])
{
	return endpoint_format(lease, "to_address", "to_port", buf);
}

char *cli_bytes_format(json_int_t bytes, char buf[static CLI_TEXT_CHARS])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double n = (double)bytes / 1024;
	unsigned unit = 0;

	if (bytes < 1024) {
		snprintf(buf, CLI_TEXT_CHARS, "%" JSON_INTEGER_FORMAT " B", bytes);
		return buf;
	}
	for (; n >= 1024 && unit < 5; unit++)
		n /= 1024;
	snprintf(buf, CLI_TEXT_CHARS, "%.1f %s", n, units[unit]);
	return buf;
}

char *cli_time_format(const json_t *seconds, const char *none, char buf[static CLI_TEXT_CHARS])
{
	time_t s = (time_t)json_number_value(seconds);
	struct tm tm;

	if (!json_is_number(seconds) || gmtime_r(&s, &tm) == NULL ||
		strftime(buf, CLI_TEXT_CHARS, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(buf, CLI_TEXT_CHARS, "%s", none);
	return buf;
}

char *cli_seconds_format(const json_t *seconds, const char *none, char buf[static CLI_TEXT_CHARS])
{
	static const struct {
		const char *unit;
		uint64_t s;
	} units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};
	double value = json_number_value(seconds);
	uint64_t s = value > 0 && value < 1e18 ? (uint64_t)value : 0;
	unsigned i = 0;

	if (!json_is_number(seconds)) {
		snprintf(buf, CLI_TEXT_CHARS, "%s", none);
		return buf;
	}
	while (i < 3 && s < units[i].s)
		i++;
	/* Two units say enough. */
	if (i == 3 || s % units[i].s / units[i + 1].s == 0)
		snprintf(buf, CLI_TEXT_CHARS, "%" PRIu64 "%s", s / units[i].s, units[i].unit);
	else
		snprintf(buf, CLI_TEXT_CHARS, "%" PRIu64 "%s%" PRIu64 "%s", s / units[i].s,
			units[i].unit, s % units[i].s / units[i + 1].s, units[i + 1].unit);
	return buf;
}
