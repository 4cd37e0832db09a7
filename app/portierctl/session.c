/* portierctl session ... */
#include "cli.h"

#include <string.h>

static void endpoint_add(
	struct cli_table *t, const json_t *session, const char *address, const char *port)
{
	const char *text = cli_text(session, address);

	if (json_is_integer(json_object_get(session, port)))
		cli_table_addf(t, strchr(text, ':') != NULL ? "[%s]:%d" : "%s:%d", text,
			(int)cli_number(session, port));
	else
		cli_table_add(t, "-");
}

static void print_list(const json_t *result, const json_t *flags)
{
	struct cli_table *t =
		cli_table_create("PEER|PROTO|INNER|PUBLIC|REMOTE|STATE|>AGE|>EXPIRES IN");
	char text[CLI_TEXT_CHARS];
	const json_t *session;
	size_t i;

	json_array_foreach(json_object_get(result, "sessions"), i, session)
	{
		cli_table_add(t, cli_text(session, "peer"));
		cli_table_add(t, cli_text(session, "proto"));
		endpoint_add(t, session, "inner_address", "inner_port");
		endpoint_add(t, session, "public_address", "public_port");
		endpoint_add(t, session, "remote_address", "remote_port");
		cli_table_add(t, cli_text(session, "tcp_state"));
		cli_table_add(t, cli_seconds_format(json_object_get(session, "age_s"), "-", text));
		cli_table_add(
			t, cli_seconds_format(json_object_get(session, "expires_in_s"), "-", text));
	}
	cli_table_print(t, "no sessions");
}

static const struct cli_arg list_args[] = {
	{"--peer", "P", "peer", CLI_TEXT, "only those of one peer"},
	{"--proto", "tcp|udp|icmp|icmpv6|N", "proto", CLI_TEXT, "only those of one protocol"},
	{"--port", "N", "port", CLI_NUMBER, "only those with this inner, public or remote port"},
	{"--limit", "N", "limit", CLI_NUMBER, "at most so many (all)"},
};

const struct cli_verb cli_session_verbs[] = {
	{"session", "list", "list what peers have begun, as it stands now", "session.list",
		"sessions", list_args, sizeof(list_args) / sizeof(list_args[0]), print_list},
	{NULL},
};
