/* portierctl events: what happens, as it happens. */
#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* The part of an event that tells what it is about. */
static void print_subject(const json_t *event)
{
	const json_t *lease = json_object_get(event, "lease"),
		     *peer = json_object_get(event, "peer");
	char public[CLI_TEXT_CHARS], target[CLI_TEXT_CHARS];

	if (lease != NULL)
		cli_print("lease %" JSON_INTEGER_FORMAT " of %s: %s %s to %s",
			cli_number(lease, "id"), cli_text(lease, "peer"), cli_text(lease, "proto"),
			cli_public_format(lease, public), cli_target_format(lease, target));
	else if (json_is_object(peer))
		cli_print("%s at %s",
			cli_text(peer, "name")[0] != '\0' ? cli_text(peer, "name")
							  : cli_text(peer, "public_key"),
			cli_text(peer, "endpoint"));
	else if (json_object_get(event, "first_port") != NULL)
		cli_print("%s: %s, ports %d to %d", cli_text(event, "peer"),
			cli_text(event, "public_address"), (int)cli_number(event, "first_port"),
			(int)(cli_number(event, "first_port") + cli_number(event, "ports") - 1));
	else if (json_object_get(event, "records") != NULL)
		cli_print("%" JSON_INTEGER_FORMAT " records of blocks were lost",
			cli_number(event, "records"));
	else if (json_object_get(event, "to_port") != NULL)
		cli_print(
			"%s, port %d", cli_text(event, "peer"), (int)cli_number(event, "to_port"));
	else if (json_object_get(event, "leases") != NULL)
		cli_print("%" JSON_INTEGER_FORMAT
			  " leases; there is room for %" JSON_INTEGER_FORMAT,
			cli_number(event, "leases"), cli_number(event, "leases_max"));
	else if (json_object_get(event, "path") != NULL)
		cli_print("%s", cli_text(event, "path"));
	else if (json_object_get(event, "events") != NULL)
		cli_print("%" JSON_INTEGER_FORMAT " events came faster than they were read",
			cli_number(event, "events"));
	if (json_object_get(event, "reason") != NULL)
		cli_print(" (%s)", cli_text(event, "reason"));
}

static void print_event(const json_t *event)
{
	time_t at_s = (time_t)json_number_value(json_object_get(event, "at_s"));
	struct tm tm;
	char when[32] = "?";

	if (localtime_r(&at_s, &tm) != NULL)
		strftime(when, sizeof(when), "%F %T", &tm);
	printf("%s  %-14s  ", when, cli_text(event, "event"));
	print_subject(event);
	putchar('\n');
}

static enum cli_exit run_events(struct cli_link *link, bool wants_json, json_t *params)
{
	json_int_t n_left = cli_number(params, "count");
	bool has_end = json_object_get(params, "count") != NULL;
	json_t *message = NULL;
	enum cli_exit code;

	json_object_del(params, "count");
	code = cli_call(link, "subscribe", json_incref(params), &message);
	json_decref(message);
	while (code == CLI_OK && (!has_end || n_left-- > 0)) {
		const json_t *event;

		code = cli_next(link, &message);
		if (code != CLI_OK)
			break;
		event = json_object_get(message, "params");
		if (wants_json) {
			json_dumpf(event, stdout, JSON_COMPACT | JSON_REAL_PRECISION(13));
			putchar('\n');
		} else {
			print_event(event);
		}
		json_decref(message);
		if (fflush(stdout) != 0)
			break; /* that it cannot be written is said at the end */
	}
	return code;
}

static const struct cli_arg events_args[] = {
	{"--only", "EVENT", "events", CLI_TEXTS,
		"lease, peer, pool, block, or one as lease.opened; may be given several times "
		"(all)"},
	{"--count", "N", "count", CLI_NUMBER, "end after so many (never)"},
};

const struct cli_verb cli_events_verbs[] = {
	{"events", NULL, "what happens, as it happens", "subscribe", NULL, events_args,
		sizeof(events_args) / sizeof(events_args[0]), NULL, run_events},
	{NULL},
};
