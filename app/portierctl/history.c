/* portierctl history: who had which public ports. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static char *ports_format(const json_t *r, char buf[static CLI_TEXT_CHARS])
{
	const char *addr = cli_text(r, "public_address");
	json_int_t first = cli_number(r, "first_port"), n = cli_number(r, "ports");
	bool is_v6 = strchr(addr, ':') != NULL;
	int len = snprintf(buf, CLI_TEXT_CHARS, "%s%.46s%s:%" JSON_INTEGER_FORMAT, is_v6 ? "[" : "",
		addr, is_v6 ? "]" : "", first);

	if (n > 1)
		snprintf(buf + len, CLI_TEXT_CHARS - (size_t)len, "-%" JSON_INTEGER_FORMAT,
			first + n - 1);
	return buf;
}

/* "control (uid 0)", "pcp". */
static char *actor_format(const json_t *r, const char *by, const char *uid, const char *reason,
	char buf[static CLI_TEXT_CHARS])
{
	int len = snprintf(buf, CLI_TEXT_CHARS, "%.15s", cli_text(r, by));

	if (json_is_integer(json_object_get(r, uid)))
		len += snprintf(buf + len, CLI_TEXT_CHARS - (size_t)len,
			" (uid %" JSON_INTEGER_FORMAT ")", cli_number(r, uid));
	if (reason != NULL && json_is_string(json_object_get(r, reason)))
		snprintf(buf + len, CLI_TEXT_CHARS - (size_t)len, ": %.24s", cli_text(r, reason));
	return buf;
}

/* One that nobody closed says what is known: it ended between two moments. */
static void add_end(struct cli_table *t, const json_t *r)
{
	char closed[CLI_TEXT_CHARS], known[CLI_TEXT_CHARS];

	cli_time_format(json_object_get(r, "closed_s"), "open", closed);
	if (json_is_number(json_object_get(r, "known_until_s")))
		cli_table_addf(t, "after %s, before %s",
			cli_time_format(json_object_get(r, "known_until_s"), "-", known), closed);
	else
		cli_table_add(t, closed);
}

static void print_what_is_known(const json_t *result)
{
	char since[CLI_TEXT_CHARS];

	if (strcmp(cli_text(result, "mode"), "none") == 0)
		cli_print("history is off (history.mode): only what is open now is known\n");
	else
		cli_print("history is known since %s\n",
			cli_time_format(json_object_get(result, "kept_since_s"), "now", since));
}

static void print_history(const json_t *result, const json_t *flags)
{
	struct cli_table *t =
		cli_table_create("OPENED|CLOSED|PEER|PROTO|PUBLIC|TO|OPENED BY|CLOSED BY|LABEL");
	char text[CLI_TEXT_CHARS];
	const json_t *r;
	size_t i;

	json_array_foreach(json_object_get(result, "records"), i, r)
	{
		cli_table_add(t, cli_time_format(json_object_get(r, "opened_s"), "-", text));
		add_end(t, r);
		cli_table_add(t, cli_text(r, "peer"));
		cli_table_add(t, cli_text(r, "proto"));
		cli_table_add(t, ports_format(r, text));
		cli_table_add(t, json_is_integer(json_object_get(r, "to_port"))
					 ? cli_target_format(r, text)
					 : "-");
		cli_table_add(t, actor_format(r, "opened_by", "opened_uid", NULL, text));
		cli_table_add(t, actor_format(r, "closed_by", "closed_uid", "reason", text));
		cli_table_add(t, cli_text(r, "label"));
	}
	cli_table_print(t, "nobody");
	print_what_is_known(result);
}

static const struct cli_arg history_args[] = {
	{NULL, "A:PORT[/PROTO]", "number", CLI_TEXT,
		"a public port, as 198.51.100.7:20001/tcp or [2001:db8::7]:80", true},
	{"--peer", "P", "peer", CLI_TEXT,
		"instead of a port: all that this peer had; by its key, if it was deleted"},
	{"--at", "TIME", "at", CLI_TIME, "only who had it then, in any part of that second"},
	{"--since", "TIME", "since", CLI_TIME, "not what was over by then"},
	{"--until", "TIME", "until", CLI_TIME, "not what began then or later"},
	{"--limit", "N", "limit", CLI_NUMBER, "at most so many, the oldest (all)"},
};

const struct cli_verb cli_history_verbs[] = {
	{"history", NULL, "who had a public port, or which ones a peer had", "history.list",
		"records", history_args, sizeof(history_args) / sizeof(history_args[0]),
		print_history},
	{NULL},
};
