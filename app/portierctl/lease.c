/* portierctl lease ... */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static const char *sources(const json_t *lease, char *buf, size_t size)
{
	const json_t *item;
	size_t i, len = 0;

	snprintf(buf, size, "anywhere");
	json_array_foreach(json_object_get(lease, "from"), i, item)
	{
		if (len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", i > 0 ? "," : "",
				json_string_value(item));
	}
	return buf;
}

static const char *limits(const json_t *lease, char *buf, size_t size)
{
	json_int_t pps = cli_number(lease, "max_pps"), flows = cli_number(lease, "max_new_flows");
	size_t len = 0;

	snprintf(buf, size, "none");
	if (pps > 0)
		len = (size_t)snprintf(buf, size, "%" JSON_INTEGER_FORMAT " packets/s", pps);
	if (flows > 0)
		snprintf(buf + len, size - len, "%s%" JSON_INTEGER_FORMAT " new flows/s",
			len > 0 ? ", " : "", flows);
	return buf;
}

static const char *knocks(const json_t *lease, char *buf, size_t size)
{
	const json_t *seen = json_object_get(lease, "knocks");

	snprintf(buf, size, "none seen");
	if (json_is_object(seen))
		snprintf(buf, size,
			"%" JSON_INTEGER_FORMAT " new flows (%.1f/s), about %" JSON_INTEGER_FORMAT
			" sources",
			cli_number(seen, "new_flows"),
			(double)cli_number(seen, "new_flows_10s") / 10,
			cli_number(seen, "sources"));
	return buf;
}

static void print_list(const json_t *result, const json_t *flags)
{
	struct cli_table *t =
		cli_table_create("ID|STATE|PEER|PROTO|PUBLIC|TO|>EXPIRES IN|>IN|>OUT|FROM|LABEL");
	char text[CLI_TEXT_CHARS], from[512];
	const json_t *lease;
	size_t i;

	json_array_foreach(json_object_get(result, "leases"), i, lease)
	{
		const json_t *counters = json_object_get(lease, "counters");

		cli_table_addf(t, "%" JSON_INTEGER_FORMAT, cli_number(lease, "id"));
		cli_table_add(t, cli_text(lease, "state"));
		cli_table_add(t, cli_text(lease, "peer"));
		cli_table_add(t, cli_text(lease, "proto"));
		cli_table_add(t, cli_public_format(lease, text));
		cli_table_add(t, cli_target_format(lease, text));
		cli_table_add(t,
			cli_seconds_format(json_object_get(lease, "expires_in_s"), "never", text));
		cli_table_add(t, cli_bytes_format(cli_number(counters, "in_bytes"), text));
		cli_table_add(t, cli_bytes_format(cli_number(counters, "out_bytes"), text));
		cli_table_add(t, sources(lease, from, sizeof(from)));
		cli_table_add(t, cli_text(lease, "label"));
	}
	cli_table_print(t, "no leases");
}

static const char *idle_words(const json_t *lease, char buf[static CLI_TEXT_CHARS])
{
	const json_t *idle = json_object_get(lease, "idle_s");

	return json_number_value(idle) > 0 ? cli_seconds_format(idle, "-", buf) : "none";
}

static void print_one(const json_t *lease, const json_t *flags)
{
	const json_t *counters = json_object_get(lease, "counters");
	char text[CLI_TEXT_CHARS], more[CLI_TEXT_CHARS], from[512];

	cli_field("lease", "%" JSON_INTEGER_FORMAT "%s", cli_number(lease, "id"),
		json_is_true(json_object_get(lease, "is_renewal")) ? " (renewed)" : "");
	cli_field("state", "%s", cli_text(lease, "state"));
	cli_field("peer", "%s", cli_text(lease, "peer"));
	cli_field("proto", "%s", cli_text(lease, "proto"));
	cli_field("public", "%s", cli_public_format(lease, text));
	cli_field("to", "%s", cli_target_format(lease, text));
	cli_field("from", "%s", sources(lease, from, sizeof(from)));
	cli_field("limits", "%s", limits(lease, from, sizeof(from)));
	cli_field("expires in", "%s",
		cli_seconds_format(json_object_get(lease, "expires_in_s"), "never", text));
	cli_field("until", "%s",
		cli_time_format(json_object_get(lease, "until"), "no last moment", text));
	cli_field("idle limit", "%s", idle_words(lease, text));
	cli_field("last used", "%s",
		cli_seconds_format(json_object_get(lease, "last_used_age_s"), "never", text));
	cli_field("label", "%s", cli_text(lease, "label"));
	cli_field("opened by", "%s", cli_text(lease, "opened_by"));
	cli_field("in", "%" JSON_INTEGER_FORMAT " packets, %s", cli_number(counters, "in_pkts"),
		cli_bytes_format(cli_number(counters, "in_bytes"), text));
	cli_field("out", "%" JSON_INTEGER_FORMAT " packets, %s", cli_number(counters, "out_pkts"),
		cli_bytes_format(cli_number(counters, "out_bytes"), more));
	cli_field("knocks", "%s", knocks(lease, from, sizeof(from)));
	cli_field("refused",
		"%" JSON_INTEGER_FORMAT " packets from elsewhere, %" JSON_INTEGER_FORMAT
		" beyond the limits",
		cli_number(counters, "refused_pkts"), cli_number(counters, "limited_pkts"));
}

static void print_shown(const json_t *lease, const json_t *flags)
{
	print_one(lease, flags);
	if (json_array_size(json_object_get(lease, "failures")) > 0)
		cli_failures_print(json_object_get(lease, "failures"));
}

static void print_checked(const json_t *check, const json_t *flags)
{
	const json_t *took = json_object_get(check, "answer_s");

	cli_field("lease", "%" JSON_INTEGER_FORMAT " (%s)", cli_number(check, "id"),
		cli_text(check, "proto"));
	cli_field("from", "%s", cli_text(check, "from"));
	cli_field("public", "%s", cli_text(check, "public"));
	cli_field("to", "%s", cli_text(check, "to"));
	cli_field("sent", "%" JSON_INTEGER_FORMAT " packets", cli_number(check, "sent"));
	if (json_is_number(took))
		cli_field("answer", "%s, in %.0f ms", cli_text(check, "answer"),
			json_number_value(took) * 1e3);
	cli_print("%s: %s\n", cli_text(check, "outcome"), cli_text(check, "verdict"));
}

static void print_reserved(const json_t *result, const json_t *flags)
{
	struct cli_table *t = cli_table_create("STATE|PEER|PUBLIC|TO|>ENDS IN");
	char text[CLI_TEXT_CHARS];
	const json_t *held;
	size_t i;

	json_array_foreach(json_object_get(result, "reserved"), i, held)
	{
		cli_table_add(t, cli_text(held, "state"));
		cli_table_add(t, cli_text(held, "peer"));
		cli_table_add(t, cli_public_format(held, text));
		cli_table_add(t, cli_target_format(held, text));
		cli_table_add(t, cli_seconds_format(json_object_get(held, "ends_in_s"), "-", text));
	}
	cli_table_print(t, "no ports are kept");
}

static void print_closed(const json_t *lease, const json_t *flags)
{
	if (json_object_get(lease, "leases_closed") != NULL)
		cli_print("%" JSON_INTEGER_FORMAT " leases of %s closed\n",
			cli_number(lease, "leases_closed"), cli_text(lease, "peer"));
	else
		printf("lease %" JSON_INTEGER_FORMAT " closed\n", cli_number(lease, "id"));
}

static const struct cli_arg open_args[] = {
	{"--peer", "P", "peer", CLI_TEXT, "whose it is: name or public key; required"},
	{"--proto", "tcp|udp|both", "proto", CLI_TEXT, "(both)"},
	{"--public-address", "A", "public_address", CLI_TEXT,
		"one of the pool (that of the peer's leases, else any)"},
	{"--public-port", "N", "public_port", CLI_NUMBER,
		"one of leases.ports; of a range the first (any free one)"},
	{"--to-port", "N", "to_port", CLI_NUMBER,
		"the peer's own port, required; of a range the first (the public ones)"},
	{"--ports", "N", "ports", CLI_NUMBER,
		"a range of so many: 2, 4, 8 and so on to 1024; --public-port is a multiple (1)"},
	{"--whole-address", NULL, "whole_address", CLI_TRUE,
		"all ports of a dedicated address (public.dedicated), unchanged, for --to-port"},
	{"--to-address", "A", "to_address", CLI_TEXT,
		"one of the peer's own; to IPv6 it is a pinhole (its first one)"},
	{"--ttl", "DURATION", "ttl_s", CLI_DURATION,
		"until it expires, as 1h (leases.default_ttl)"},
	{"--until", "TIME", "until", CLI_TIME,
		"no renewal goes beyond, as 2026-12-31T18:00Z (no last moment)"},
	{"--idle", "DURATION", "idle_s", CLI_DURATION, "close when unused for so long (no limit)"},
	{"--from", "PREFIX", "from", CLI_TEXTS, "who may come in; up to 8 times (anyone)"},
	{"--max-pps", "N", "max_pps", CLI_NUMBER,
		"packets in a second that come in; 0 is no limit (leases.max_pps)"},
	{"--max-new-flows", "N", "max_new_flows", CLI_NUMBER,
		"new flows in a second; 0 is no limit (leases.max_new_flows)"},
	{"--label", "TEXT", "label", CLI_TEXT, "for people; up to 63 bytes"},
};

/* A renewal gives a lease more time, and nothing else of what is asked for. */
static void print_opened(const json_t *lease, const json_t *flags)
{
	const json_t *unchanged = json_object_get(lease, "unchanged"), *name;
	size_t n;

	print_one(lease, flags);
	if (json_array_size(unchanged) == 0)
		return;
	cli_print("stays as it was opened:");
	json_array_foreach(unchanged, n, name)
	{
		for (size_t i = 0; i < sizeof(open_args) / sizeof(open_args[0]); i++)
			if (strcmp(open_args[i].param, json_string_value(name)) == 0)
				cli_print(" %s", open_args[i].name);
	}
	cli_print("; to change it, close the lease and open it again\n");
}

#define ID_ARG                                                          \
	{                                                               \
		NULL, "ID", "id", CLI_NUMBER, "the id of an open lease" \
	}

static const struct cli_arg renew_args[] = {
	ID_ARG,
	{"--ttl", "DURATION", "ttl_s", CLI_DURATION, "from now on, as 1h (as granted before)"},
};

static const struct cli_arg one_args[] = {ID_ARG};

static const struct cli_arg close_args[] = {
	{NULL, "ID", "id", CLI_NUMBER, "the id of an open lease", true},
	{"--peer", "P", "peer", CLI_TEXT, "instead of one: all that this peer has"},
};

static const struct cli_arg check_args[] = {
	ID_ARG,
	{"--proto", "tcp|udp", "proto", CLI_TEXT, "(tcp, if the lease is for that)"},
	{"--public-port", "N", "public_port", CLI_NUMBER,
		"which of a range (the first), or of a whole address: required there"},
	{"--timeout", "DURATION", "timeout_s", CLI_DURATION, "for the answer, up to 20s (5s)"},
};

static const struct cli_arg list_args[] = {
	{"--peer", "P", "peer", CLI_TEXT, "only the leases of this one"},
	{"--forgotten", "DAYS", "unused_s", CLI_DAYS, "only those that nobody used for so long"},
};

#define N(list) (sizeof(list) / sizeof((list)[0]))

const struct cli_verb cli_lease_verbs[] = {
	{"lease", "open", "open a public port to a peer, or give its lease more time", "lease.open",
		NULL, open_args, N(open_args), print_opened},
	{"lease", "renew", "extend a lease", "lease.renew", NULL, renew_args, N(renew_args),
		print_one},
	{"lease", "close", "close a lease, or all of a peer", "lease.close", NULL, close_args,
		N(close_args), print_closed},
	{"lease", "show", "show a lease", "lease.show", NULL, one_args, N(one_args), print_shown},
	{"lease", "check", "knock at the door of a lease, from the gateway itself", "lease.check",
		NULL, check_args, N(check_args), print_checked},
	{"lease", "list", "list open leases", "lease.list", "leases", list_args, N(list_args),
		print_list},
	{"lease", "reserved", "list ports kept after the end of a lease", "lease.reserved",
		"reserved", NULL, 0, print_reserved},
	{NULL},
};
