/* portierctl why ... */
#include "cli.h"

#include <stdio.h>

static void print_end(const json_t *answer)
{
	const char *end = cli_text(answer, "end");

	if (json_is_string(json_object_get(answer, "reason"))) {
		cli_print("%s: %s, %s%s\n", end, cli_text(answer, "reason"),
			cli_text(answer, "help"),
			json_is_true(json_object_get(answer, "tells_sender"))
				? "; its sender is told"
				: "");
		if (cli_text(answer, "hint")[0] != '-')
			cli_print("hint: %s\n", cli_text(answer, "hint"));
	} else if (json_is_string(json_object_get(answer, "peer"))) {
		cli_print("%s: to peer %s as %s > %s, by port %s\n", end, cli_text(answer, "peer"),
			cli_text(answer, "src"), cli_text(answer, "dst"), cli_text(answer, "port"));
	} else if (json_is_string(json_object_get(answer, "port")) &&
		   json_is_string(json_object_get(answer, "src"))) {
		cli_print("%s: as %s > %s, by port %s\n", end, cli_text(answer, "src"),
			cli_text(answer, "dst"), cli_text(answer, "port"));
	} else {
		cli_print("%s: the gateway itself is who it is for\n", end);
	}
}

static void print_packet(const json_t *answer, const json_t *flags)
{
	const json_t *stage;
	size_t i;

	json_array_foreach(json_object_get(answer, "stages"), i, stage)
	{
		cli_print("%-9s %s\n", cli_text(stage, "stage"), cli_text(stage, "text"));
	}
	print_end(answer);
	if (json_array_size(json_object_get(answer, "recent")) > 0) {
		cli_print("recently dropped:\n");
		cli_recent_print(json_object_get(answer, "recent"), "");
	}
}

/* --- a lease */

void cli_failures_print(const json_t *failures)
{
	struct cli_table *t = cli_table_create("FAILURE|>TIMES|>LAST AGO|MEANING");
	char text[CLI_TEXT_CHARS];
	const json_t *failure;
	size_t i;

	json_array_foreach(failures, i, failure)
	{
		cli_table_add(t, cli_text(failure, "reason"));
		cli_table_addf(t, "%" JSON_INTEGER_FORMAT, cli_number(failure, "n"));
		cli_table_add(
			t, cli_seconds_format(json_object_get(failure, "last_age_s"), "-", text));
		cli_table_add(t, cli_text(failure, "help"));
	}
	cli_table_print(t, "nothing failed since it was opened");
}

static void print_peer(const json_t *answer)
{
	const char *peer = cli_text(json_object_get(answer, "lease"), "peer");
	const json_t *unreachable = json_object_get(answer, "unreachable_age_s");
	char text[CLI_TEXT_CHARS];

	if (!json_is_true(json_object_get(answer, "peer_has_connected")))
		cli_field("peer", "%s, which has never connected", peer);
	else if (json_is_number(unreachable))
		cli_field("peer", "%s, unreachable since %s", peer,
			cli_seconds_format(unreachable, "-", text));
	else
		cli_field("peer", "%s, heard %s ago", peer,
			cli_seconds_format(
				json_object_get(answer, "last_received_age_s"), "never", text));
}

static void print_open(const json_t *answer)
{
	const json_t *lease = json_object_get(answer, "lease");
	char text[CLI_TEXT_CHARS];

	cli_field("lease", "%" JSON_INTEGER_FORMAT " (%s)", cli_number(lease, "id"),
		cli_text(lease, "proto"));
	cli_field("public", "%s", cli_text(answer, "public"));
	cli_field("to", "%s", cli_target_format(lease, text));
	cli_field("state", "%s for %s", cli_text(lease, "state"),
		cli_seconds_format(json_object_get(answer, "state_age_s"), "-", text));
	print_peer(answer);
	cli_field("last used", "%s%s",
		cli_seconds_format(json_object_get(lease, "last_used_age_s"), "never", text),
		json_is_number(json_object_get(lease, "last_used_age_s")) ? " ago" : "");
	cli_failures_print(json_object_get(answer, "failures"));
}

static void print_lease(const json_t *answer, const json_t *flags)
{
	const json_t *kept = json_object_get(answer, "kept");
	char text[CLI_TEXT_CHARS];

	if (json_is_object(json_object_get(answer, "lease"))) {
		print_open(answer);
	} else {
		cli_field("public", "%s", cli_text(answer, "public"));
		if (json_is_object(kept))
			cli_field("state", "%s for another %s", cli_text(kept, "state"),
				cli_seconds_format(json_object_get(kept, "ends_in_s"), "-", text));
	}
	if (json_array_size(json_object_get(answer, "recent")) > 0) {
		cli_print("recently dropped:\n");
		cli_recent_print(json_object_get(answer, "recent"), "");
	}
	cli_print("%s\n", cli_text(answer, "verdict"));
}

/* --- a packet */

#define PROTO_ARG                                                                                 \
	{                                                                                         \
		NULL, "PROTO", "proto", CLI_TEXT, "tcp, udp, icmp (an echo), icmpv6, or a number" \
	}
#define SRC_ARG                                                                \
	{                                                                      \
		NULL, "SRC", "src", CLI_TEXT,                                  \
			"A:PORT, [A6]:PORT; of an echo the identifier as port" \
	}
#define DST_ARG                                          \
	{                                                \
		NULL, "DST", "dst", CLI_TEXT, "likewise" \
	}
#define PACKET_OPTIONS                                                                          \
	{"--flags", "F", "flags", CLI_TEXT, "of TCP: some of S A F R P U (S)"},                 \
		{"--size", "N", "size", CLI_NUMBER, "bytes of the IP packet (headers)"},        \
		{"--ttl", "N", "ttl", CLI_NUMBER, "TTL or hop limit (64)"},                     \
		{"--error", "TYPE[/CODE]", "error", CLI_TEXT, "an ICMP error, not an echo"},    \
		{"--about", "'PROTO SRC DST'", "about", CLI_TEXT, "the packet that it quotes"}, \
	{                                                                                       \
		"--df", "on|off", "df", CLI_SWITCH, "it must not be fragmented (off)"           \
	}

static const struct cli_arg in_args[] = {
	PROTO_ARG,
	SRC_ARG,
	DST_ARG,
	PACKET_OPTIONS,
	{"--port", "NAME", "port", CLI_TEXT, "by which it comes (that of the address)"},
};

static const struct cli_arg out_args[] = {
	{NULL, "PEER", "peer", CLI_TEXT, "out of whose tunnel it comes"},
	PROTO_ARG,
	SRC_ARG,
	DST_ARG,
	PACKET_OPTIONS,
};

static const struct cli_arg lease_args[] = {
	{NULL, "LEASE", "lease", CLI_TEXT,
		"the id of an open lease, or ADDRESS:PORT, with /tcp or /udp behind it at will"},
};

#define N(list) (sizeof(list) / sizeof((list)[0]))

const struct cli_verb cli_why_verbs[] = {
	{"why", "in", "explain what would happen to a packet from outside", "why.packet", NULL,
		in_args, N(in_args), print_packet},
	{"why", "out", "explain what would happen to a packet of a peer", "why.packet", NULL,
		out_args, N(out_args), print_packet},
	{"why", NULL, "explain how a lease stands", "why.lease", NULL, lease_args, N(lease_args),
		print_lease},
	{NULL},
};
