/* portierctl why ... */
#include "cli.h"

#include <stdio.h>

static void print_verdict(const json_t *answer)
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
	print_verdict(answer);
	if (json_array_size(json_object_get(answer, "recent")) > 0) {
		cli_print("recently dropped:\n");
		cli_recent_print(json_object_get(answer, "recent"), "");
	}
}

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

#define N(list) (sizeof(list) / sizeof((list)[0]))

const struct cli_verb cli_why_verbs[] = {
	{"why", "in", "explain what would happen to a packet from outside", "why.packet", NULL,
		in_args, N(in_args), print_packet},
	{"why", "out", "explain what would happen to a packet of a peer", "why.packet", NULL,
		out_args, N(out_args), print_packet},
	{NULL},
};
