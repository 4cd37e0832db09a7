/* Words of the command line to parameters of a method. */
#include "cli.h"

#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- values ------------------------------------------------------------------------------------*/

static int complain_value(const struct cli_verb *verb, const struct cli_arg *arg, const char *text,
	const char *accepted)
{
	cli_complain("%s %s: %s \"%s\" is not accepted; accepted: %s", verb->noun,
		verb->verb != NULL ? verb->verb : "", arg->name != NULL ? arg->name : arg->value,
		text, accepted);
	return -1;
}

static bool parse_number(const char *text, json_int_t *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static int put_addresses(
	const struct cli_verb *verb, const struct cli_arg *arg, const char *text, json_t *params)
{
	const char *comma = strchr(text, ',');
	const char *second = comma == NULL ? NULL : comma + 1;
	size_t len = comma == NULL ? strlen(text) : (size_t)(comma - text);

	if (len == 0 || (second != NULL && (second[0] == '\0' || strchr(second, ',') != NULL)) ||
		(second != NULL &&
			(memchr(text, ':', len) != NULL) == (strchr(second, ':') != NULL)))
		return complain_value(
			verb, arg, text, "A, A6 or A,A6: one IPv4 and one IPv6 address at most");
	json_object_set_new(params, memchr(text, ':', len) != NULL ? "address6" : "address4",
		json_stringn(text, len));
	if (second != NULL)
		json_object_set_new(params, strchr(second, ':') != NULL ? "address6" : "address4",
			json_string(second));
	return 0;
}

/* An empty file means no key. The key itself is judged by the gateway, and never printed. */
static int put_key_file(
	const struct cli_verb *verb, const struct cli_arg *arg, const char *path, json_t *params)
{
	char key[256]; /* wiped */
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	size_t len = 0;

	while (fd >= 0 && len < sizeof(key) && (n = read(fd, key + len, sizeof(key) - len)) > 0)
		len += (size_t)n;
	if (fd < 0 || n < 0)
		cli_complain("%s: %s cannot be read: %s", arg->name, path, strerror(errno));
	if (fd >= 0 && !is_stdin)
		close(fd);
	if (fd < 0 || n < 0)
		return -1;
	while (len > 0 && (key[len - 1] == '\n' || key[len - 1] == '\r'))
		len--;
	json_object_set_new(params, arg->param, json_stringn(key, len));
	explicit_bzero(key, sizeof(key));
	if (json_object_get(params, arg->param) == NULL)
		return complain_value(verb, arg, path, "a file with a key in base64");
	return 0;
}

static int put_duration(
	const struct cli_verb *verb, const struct cli_arg *arg, const char *text, json_t *params)
{
	uint64_t ns;

	if (time_duration_parse(text, &ns) != 0)
		return complain_value(verb, arg, text,
			"a duration with a unit of ms, s, m, h or d, as 90s or 2h");
	json_object_set_new(params, arg->param,
		ns % NS_IN_S == 0 ? json_integer((json_int_t)(ns / NS_IN_S))
				  : json_real((double)ns / 1e9));
	return 0;
}

/* UTC, so that it means the same wherever it is typed. */
static int put_time(
	const struct cli_verb *verb, const struct cli_arg *arg, const char *text, json_t *params)
{
	static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dZ"};
	json_int_t number;

	if (text[0] == '@' && parse_number(text + 1, &number))
		return json_object_set_new(params, arg->param, json_integer(number));
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = {0};
		const char *end = strptime(text, forms[i], &tm);

		if (end != NULL && *end == '\0')
			return json_object_set_new(
				params, arg->param, json_integer((json_int_t)timegm(&tm)));
	}
	return complain_value(
		verb, arg, text, "a moment in UTC, as 2026-12-31T18:00Z, or @SECONDS since 1970");
}

static int put_text(
	const struct cli_verb *verb, const struct cli_arg *arg, const char *text, json_t *params)
{
	json_t *value = json_string(text), *list;

	if (value == NULL)
		return complain_value(verb, arg, "...", "text in UTF-8");
	if (arg->kind == CLI_TEXT)
		return json_object_set_new(params, arg->param, value);
	list = json_object_get(params, arg->param);
	if (list == NULL) {
		list = json_array();
		json_object_set_new(params, arg->param, list);
	}
	return json_array_append_new(list, value);
}

static int put_value(const struct cli_verb *verb, const struct cli_arg *arg, const char *text,
	json_t *params, json_t *flags)
{
	json_int_t number = 0;

	switch (arg->kind) {
	case CLI_TEXT:
	case CLI_TEXTS:
		return put_text(verb, arg, text, params);
	case CLI_SECONDS:
		if (strcmp(text, "off") != 0 && !parse_number(text, &number))
			return complain_value(verb, arg, text, "seconds, 0 or more, or off");
		return json_object_set_new(params, arg->param, json_integer(number));
	case CLI_NUMBER:
		if (!parse_number(text, &number))
			return complain_value(verb, arg, text, "a number, 0 or more");
		return json_object_set_new(params, arg->param, json_integer(number));
	case CLI_DAYS:
		if (!parse_number(text, &number) || number > 36500)
			return complain_value(verb, arg, text, "a number of days, 0 to 36500");
		return json_object_set_new(params, arg->param, json_integer(number * 86400));
	case CLI_DURATION:
		return put_duration(verb, arg, text, params);
	case CLI_TIME:
		return put_time(verb, arg, text, params);
	case CLI_SWITCH:
		if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
			return complain_value(verb, arg, text, "on or off");
		return json_object_set_new(
			params, arg->param, json_boolean(strcmp(text, "on") == 0));
	case CLI_ADDRESSES:
		return put_addresses(verb, arg, text, params);
	case CLI_KEY_FILE:
		return put_key_file(verb, arg, text, params);
	case CLI_TRUE:
		return json_object_set_new(params, arg->param, json_true());
	case CLI_FLAG:
		return json_object_set_new(flags, arg->param, json_true());
	}
	return -1;
}

/* --- words -------------------------------------------------------------------------------------*/

int cli_global_parse(int argc, char **argv, int *i, struct cli_globals *g)
{
	const char *word = argv[*i];

	if (strcmp(word, "--json") == 0) {
		g->wants_json = true;
	} else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		g->wants_help = true;
	} else if (strcmp(word, "-s") == 0) {
		if (*i + 1 == argc) {
			cli_complain("-s needs a value: the path of the gateway's control socket");
			return -1;
		}
		g->socket_path = argv[++*i];
	} else {
		return 0;
	}
	return 1;
}

/* --name or --name=value. */
static const struct cli_arg *find_option(const struct cli_verb *verb, const char *word)
{
	size_t len = strcspn(word, "=");

	for (size_t i = 0; i < verb->n_args; i++) {
		const char *name = verb->args[i].name;

		if (name != NULL && strlen(name) == len && memcmp(name, word, len) == 0)
			return &verb->args[i];
	}
	return NULL;
}

static int complain_option(const struct cli_verb *verb, const char *word)
{
	const char *best = NULL;

	for (size_t i = 0; i < verb->n_args; i++) {
		if (verb->args[i].name != NULL)
			cli_nearest_offer(word, verb->args[i].name, &best);
	}
	if (best != NULL)
		cli_complain("%s %s has no option %s; did you mean %s?", verb->noun,
			verb->verb != NULL ? verb->verb : "", word, best);
	else
		cli_complain("%s %s has no option %s", verb->noun,
			verb->verb != NULL ? verb->verb : "", word);
	return -1;
}

static int parse_option(
	const struct cli_verb *verb, int argc, char **argv, int *i, json_t *params, json_t *flags)
{
	const struct cli_arg *arg = find_option(verb, argv[*i]);
	const char *value = strchr(argv[*i], '=');

	if (arg == NULL)
		return complain_option(verb, argv[*i]);
	if (arg->kind == CLI_FLAG || arg->kind == CLI_TRUE)
		return put_value(verb, arg, "", params, flags);
	if (value != NULL)
		return put_value(verb, arg, value + 1, params, flags);
	if (*i + 1 == argc) {
		cli_complain("%s needs a value: %s", arg->name, arg->value);
		return -1;
	}
	return put_value(verb, arg, argv[++*i], params, flags);
}

int cli_args_parse(const struct cli_verb *verb, int argc, char **argv, struct cli_globals *g,
	json_t *params, json_t *flags)
{
	size_t n_positional = 0;
	bool is_all_words = false;

	for (int i = 0; i < argc; i++) {
		int taken = is_all_words ? 0 : cli_global_parse(argc, argv, &i, g);

		if (taken < 0)
			return -1;
		if (taken > 0)
			continue;
		/* Behind it a word may begin with a dash: the name of a peer does. */
		if (!is_all_words && strcmp(argv[i], "--") == 0) {
			is_all_words = true;
			continue;
		}
		if (!is_all_words && argv[i][0] == '-' && argv[i][1] != '\0') {
			if (parse_option(verb, argc, argv, &i, params, flags) != 0)
				return -1;
			continue;
		}
		if (n_positional == verb->n_args || verb->args[n_positional].name != NULL) {
			cli_complain("%s %s: \"%s\" is one word too many", verb->noun,
				verb->verb != NULL ? verb->verb : "", argv[i]);
			return -1;
		}
		if (put_value(verb, &verb->args[n_positional++], argv[i], params, flags) != 0)
			return -1;
	}
	if (n_positional < verb->n_args && verb->args[n_positional].name == NULL &&
		!verb->args[n_positional].is_optional && !g->wants_help) {
		const struct cli_arg *missing = &verb->args[n_positional];

		cli_complain("%s%s%s needs %s: %s", verb->noun, verb->verb != NULL ? " " : "",
			verb->verb != NULL ? verb->verb : "", missing->value, missing->help);
		return -1;
	}
	return 0;
}
