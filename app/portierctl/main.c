/* portierctl - operate a running gateway through its control socket. */
#include "cli.h"

#include "rpc/rpc.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_noun(const char *word)
{
	const struct cli_verb *v;

	for (size_t i = 0; (v = cli_verb_at(i)) != NULL; i++) {
		if (strcmp(v->noun, word) == 0)
			return true;
	}
	return false;
}

/* The verb, or the noun alone where that is one. */
static const struct cli_verb *find_verb(const char *noun, const char *word)
{
	const struct cli_verb *v;

	for (size_t i = 0; (v = cli_verb_at(i)) != NULL; i++) {
		if (strcmp(v->noun, noun) != 0)
			continue;
		if (v->verb == NULL || (word != NULL && strcmp(v->verb, word) == 0))
			return v;
	}
	return NULL;
}

static bool has_verbs(const char *noun)
{
	const struct cli_verb *v;

	for (size_t i = 0; (v = cli_verb_at(i)) != NULL; i++) {
		if (strcmp(v->noun, noun) == 0 && v->verb != NULL)
			return true;
	}
	return false;
}

static void complain_noun(const char *word)
{
	const struct cli_verb *v;
	const char *best = NULL;

	for (size_t i = 0; (v = cli_verb_at(i)) != NULL; i++)
		cli_nearest_offer(word, v->noun, &best);
	if (best != NULL)
		cli_complain("there is no noun \"%s\"; did you mean %s? (portierctl --help)", word,
			best);
	else
		cli_complain("there is no noun \"%s\"; portierctl --help lists them", word);
}

static void complain_verb(const char *noun, const char *word)
{
	const struct cli_verb *v;
	const char *best = NULL;
	char verbs[128] = "";

	for (size_t i = 0; (v = cli_verb_at(i)) != NULL; i++) {
		if (strcmp(v->noun, noun) != 0)
			continue;
		snprintf(verbs + strlen(verbs), sizeof(verbs) - strlen(verbs), "%s%s",
			verbs[0] != '\0' ? ", " : "", v->verb != NULL ? v->verb : v->args[0].value);
		if (word != NULL && v->verb != NULL)
			cli_nearest_offer(word, v->verb, &best);
	}
	if (word == NULL)
		cli_complain("%s needs a verb: %s", noun, verbs);
	else if (best != NULL)
		cli_complain("%s has no verb \"%s\"; did you mean %s?", noun, word, best);
	else
		cli_complain("%s has no verb \"%s\"; accepted: %s", noun, word, verbs);
}

#define PAGE_MAX 1000 /* of what the gateway gives at once */

/* Pages are put together, and what else the last one says stays; the gateway answers others in
 * between. */
static enum cli_exit call_paged(
	struct cli_link *link, const struct cli_verb *v, const json_t *params, json_t **result)
{
	const json_t *limit = json_object_get(params, "limit");
	json_int_t left = limit != NULL ? json_integer_value(limit) : INT64_MAX;
	json_t *all = json_array(), *page = NULL, *next = NULL;
	enum cli_exit code;

	do {
		json_t *ask = json_deep_copy(params);

		if (next != NULL)
			json_object_set_new(ask, "cursor", next);
		if (limit != NULL)
			json_object_set_new(
				ask, "limit", json_integer(left < PAGE_MAX ? left : PAGE_MAX));
		json_decref(page);
		page = NULL;
		code = cli_call(link, v->method, ask, &page);
		next = json_incref(json_object_get(page, "next"));
		json_array_extend(all, json_object_get(page, v->page));
		left -= (json_int_t)json_array_size(json_object_get(page, v->page));
	} while (code == CLI_OK && json_is_integer(next) && left > 0);
	json_decref(next);
	*result = page != NULL ? page : json_object();
	json_object_del(*result, "next");
	json_object_set_new(*result, v->page, all);
	return code;
}

static enum cli_exit run(
	const struct cli_verb *v, const struct cli_globals *g, json_t *params, const json_t *flags)
{
	struct cli_link *link = cli_link_open(g->socket_path);
	json_t *result = NULL;
	enum cli_exit code;

	if (link == NULL)
		return CLI_UNREACHABLE;
	if (v->converse != NULL) {
		code = v->converse(link, g->wants_json, params);
		cli_link_close(link);
		return code;
	}
	if (v->page != NULL)
		code = call_paged(link, v, params, &result);
	else
		code = cli_call(link, v->method, json_incref(params), &result);
	cli_link_close(link);
	if (code == CLI_OK && g->wants_json) {
		json_dumpf(
			result, stdout, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
		putchar('\n');
	} else if (code == CLI_OK) {
		v->print(result, flags);
	}
	json_decref(result);
	return code;
}

static enum cli_exit run_words(
	const struct cli_verb *v, int argc, char **argv, struct cli_globals *g)
{
	json_t *params = json_object(), *flags = json_object();
	enum cli_exit code = CLI_USAGE;

	if (cli_args_parse(v, argc, argv, g, params, flags) == 0) {
		if (g->wants_help) {
			cli_help_verb(v);
			code = CLI_OK;
		} else {
			code = run(v, g, params, flags);
		}
	}
	json_decref(params);
	json_decref(flags);
	return code;
}

/* A script must not take half of a reply for the whole. */
static enum cli_exit finish(enum cli_exit code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	cli_complain("standard output cannot be written: %s", strerror(errno));
	return code == CLI_OK ? CLI_REFUSED : code;
}

int main(int argc, char **argv)
{
	struct cli_globals g = {.socket_path = CLI_SOCKET};
	const struct cli_verb *v;
	bool is_help;
	int i, taken;

	rpc_init();
	for (i = 1; i < argc && (taken = cli_global_parse(argc, argv, &i, &g)) != 0; i++) {
		if (taken < 0)
			return CLI_USAGE;
	}
	if (i == argc) {
		if (!g.wants_help)
			cli_complain("a noun is missing; portierctl --help lists them");
		else
			cli_help_all();
		return g.wants_help ? CLI_OK : CLI_USAGE;
	}
	if (!is_noun(argv[i])) {
		complain_noun(argv[i]);
		return CLI_USAGE;
	}
	is_help = i + 1 < argc
			  ? strcmp(argv[i + 1], "--help") == 0 || strcmp(argv[i + 1], "-h") == 0
			  : g.wants_help;
	if (is_help && has_verbs(argv[i])) {
		cli_help_noun(argv[i]);
		return CLI_OK;
	}
	v = i + 1 == argc && has_verbs(argv[i])
		    ? NULL
		    : find_verb(argv[i], i + 1 < argc ? argv[i + 1] : NULL);
	if (v == NULL && g.wants_help) {
		cli_help_noun(argv[i]);
		return CLI_OK;
	}
	if (v == NULL) {
		complain_verb(argv[i], i + 1 < argc ? argv[i + 1] : NULL);
		return CLI_USAGE;
	}
	i += v->verb != NULL ? 2 : 1;
	return finish(run_words(v, argc - i, argv + i, &g));
}
