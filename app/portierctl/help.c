/* Help at every level, out of the verb tables. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const struct cli_verb *const tables[] = {
	cli_peer_verbs,
	cli_lease_verbs,
	cli_session_verbs,
	cli_pool_verbs,
	cli_stats_verbs,
	cli_ports_verbs,
	cli_health_verbs,
	cli_why_verbs,
	cli_history_verbs,
	cli_events_verbs,
	cli_top_verbs,
};

const struct cli_verb *cli_verb_at(size_t i)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (const struct cli_verb *v = tables[t]; v->noun != NULL; v++) {
			if (i-- == 0)
				return v;
		}
	}
	return NULL;
}

static size_t print_positional(const struct cli_arg *a)
{
	return (size_t)printf(a->is_optional ? " [%s]" : " %s", a->value);
}

static void print_synopsis(const struct cli_verb *v)
{
	size_t width = strlen(v->noun) + (v->verb != NULL ? strlen(v->verb) + 1 : 0);

	printf("  %s%s%s", v->noun, v->verb != NULL ? " " : "", v->verb != NULL ? v->verb : "");
	for (size_t i = 0; i < v->n_args && v->args[i].name == NULL; i++)
		width += print_positional(&v->args[i]);
	printf("%*s%s\n", width < 20 ? (int)(20 - width) : 1, "", v->help);
}

static void print_common(void)
{
	printf("\n"
	       "options, before the noun or behind the verb:\n"
	       "  -s SOCKET   the gateway's control socket (default " CLI_SOCKET ")\n"
	       "  --json      print the result as JSON, on one line\n"
	       "  --help      print help on what was named so far\n"
	       "\n"
	       "exit codes: 0 done; 1 the gateway refused; 2 usage; 3 the gateway cannot be "
	       "reached\n");
}

void cli_help_all(void)
{
	const struct cli_verb *v;

	printf("portierctl - operate a Portier gateway\n"
	       "\n"
	       "usage: portierctl [-s SOCKET] [--json] NOUN VERB [ARG...]\n"
	       "\n");
	for (size_t i = 0; (v = cli_verb_at(i)) != NULL; i++)
		print_synopsis(v);
	printf("\nA PEER is named by its name or its public key.\n");
	print_common();
}

void cli_help_noun(const char *noun)
{
	const struct cli_verb *v;

	printf("usage: portierctl [-s SOCKET] [--json] %s VERB [ARG...]\n\n", noun);
	for (size_t i = 0; (v = cli_verb_at(i)) != NULL; i++) {
		if (strcmp(v->noun, noun) == 0)
			print_synopsis(v);
	}
	print_common();
}

void cli_help_verb(const struct cli_verb *v)
{
	printf("usage: portierctl [-s SOCKET] [--json] %s%s%s", v->noun, v->verb != NULL ? " " : "",
		v->verb != NULL ? v->verb : "");
	for (size_t i = 0; i < v->n_args; i++) {
		if (v->args[i].name == NULL)
			print_positional(&v->args[i]);
	}
	printf("%s\n\n%s\n",
		v->n_args > 0 && v->args[v->n_args - 1].name != NULL ? " [OPTION...]" : "",
		v->help);
	if (v->n_args > 0)
		printf("\n");
	for (size_t i = 0; i < v->n_args; i++) {
		const struct cli_arg *a = &v->args[i];
		int n = printf("  %s%s%s", a->name != NULL ? a->name : "",
			a->name != NULL && a->value != NULL ? " " : "",
			a->value != NULL ? a->value : "");

		printf("%*s%s\n", n < 30 ? 30 - n : 1, "", a->help);
	}
	print_common();
}

/* --- the nearest word --------------------------------------------------------------------------*/

#define WORD_MAX 32

/* Levenshtein; words are short. */
static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], n = strlen(b);

	if (n > WORD_MAX || strlen(a) > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

/* Offered only when more than half of the word is right. */
void cli_nearest_offer(const char *word, const char *candidate, const char **best)
{
	size_t d = distance(word, candidate);

	if (2 * d > strlen(candidate))
		return;
	if (*best == NULL || d < distance(word, *best))
		*best = candidate;
}
