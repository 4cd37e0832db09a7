/* portierctl peer ... */
#include "cli.h"

#include <stdio.h>

static const char *switch_word(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name)) ? "on" : "off";
}

static const char *forwarding_word(const json_t *peer)
{
	if (json_is_true(json_object_get(peer, "is_barred")))
		return "barred";
	return switch_word(peer, "forwarding");
}

/* "10.0.0.2", "fd00::2" or both. */
static const char *addresses(const json_t *peer, char buf[static 2 * CLI_TEXT_CHARS])
{
	const char *v4 = json_string_value(json_object_get(peer, "address4"));
	const char *v6 = json_string_value(json_object_get(peer, "address6"));

	snprintf(buf, 2 * CLI_TEXT_CHARS, "%s%s%s", v4 != NULL ? v4 : "",
		v4 != NULL && v6 != NULL ? "," : "", v6 != NULL ? v6 : "");
	return buf;
}

static const char *routes(const json_t *peer, char buf[static 4 * CLI_TEXT_CHARS])
{
	const json_t *route;
	size_t i, used = 0;

	snprintf(buf, 4 * CLI_TEXT_CHARS, "-");
	json_array_foreach(json_object_get(peer, "routes"), i, route)
	{
		used += (size_t)snprintf(buf + used, 4 * CLI_TEXT_CHARS - used, "%s%s",
			i > 0 ? ", " : "", json_string_value(route));
		if (used >= 4 * CLI_TEXT_CHARS)
			break;
	}
	return buf;
}

static const char *home(const json_t *peer, char buf[static CLI_TEXT_CHARS])
{
	const json_t *worker = json_object_get(peer, "home");

	if (!json_is_integer(worker))
		return "-";
	snprintf(buf, CLI_TEXT_CHARS, "worker %d", (int)json_integer_value(worker));
	return buf;
}

static void print_list(const json_t *result, const json_t *flags)
{
	struct cli_table *t = cli_table_create(
		"NAME|PUBLIC "
		"KEY|ADDRESS|PUBLIC "
		"ADDRESS|ENDPOINT|>HANDSHAKE|>RECEIVED|>SENT|FORWARDING|>LEASES|HOME");
	char text[2 * CLI_TEXT_CHARS];
	const json_t *peer;
	size_t i;

	json_array_foreach(json_object_get(result, "peers"), i, peer)
	{
		const json_t *counters = json_object_get(peer, "counters");

		cli_table_add(t, cli_text(peer, "name"));
		cli_table_add(t, cli_text(peer, "public_key"));
		cli_table_add(t, addresses(peer, text));
		cli_table_add(t, cli_text(peer, "public_address"));
		cli_table_add(t, cli_text(peer, "endpoint"));
		cli_table_add(t, cli_seconds_format(json_object_get(peer, "last_handshake_age_s"),
					 "never", text));
		cli_table_add(t, cli_bytes_format(cli_number(counters, "rx_bytes"), text));
		cli_table_add(t, cli_bytes_format(cli_number(counters, "tx_bytes"), text));
		cli_table_add(t, forwarding_word(peer));
		cli_table_addf(t, "%d", (int)cli_number(peer, "leases"));
		cli_table_add(t, home(peer, text));
	}
	cli_table_print(t, "no peers");
}

/* Ranges count as many as they have ports. */
static const char *leases(const json_t *peer, char buf[static CLI_TEXT_CHARS])
{
	int n = (int)cli_number(peer, "leases"), n_ports = (int)cli_number(peer, "lease_ports");

	if (n_ports > n)
		snprintf(buf, CLI_TEXT_CHARS, "%d, with %d ports", n, n_ports);
	else
		snprintf(buf, CLI_TEXT_CHARS, "%d", n);
	return buf;
}

static void print_one(const json_t *peer, const json_t *flags)
{
	const json_t *counters = json_object_get(peer, "counters");
	char text[2 * CLI_TEXT_CHARS], more[CLI_TEXT_CHARS], list[4 * CLI_TEXT_CHARS];

	cli_field("peer", "%s", cli_text(peer, "name"));
	cli_field("public key", "%s", cli_text(peer, "public_key"));
	cli_field("preshared key", "%s",
		json_is_true(json_object_get(peer, "has_preshared_key")) ? "yes" : "no");
	cli_field("address", "%s", addresses(peer, text));
	cli_field("endpoint", "%s", cli_text(peer, "endpoint"));
	cli_field("latest handshake", "%s",
		cli_seconds_format(json_object_get(peer, "last_handshake_age_s"), "never", text));
	cli_field("last heard", "%s",
		cli_seconds_format(json_object_get(peer, "last_received_age_s"), "never", text));
	if (json_is_number(json_object_get(peer, "unreachable_age_s")))
		cli_field("unreachable for", "%s",
			cli_seconds_format(json_object_get(peer, "unreachable_age_s"), "-", text));
	cli_field("received, sent", "%s, %s",
		cli_bytes_format(cli_number(counters, "rx_bytes"), text),
		cli_bytes_format(cli_number(counters, "tx_bytes"), more));
	cli_field("public address", "%s", cli_text(peer, "public_address"));
	cli_field("routes", "%s", routes(peer, list));
	cli_field("filter", "%s", cli_text(peer, "filter"));
	cli_field("sessions", "%lld of %lld", (long long)cli_number(peer, "sessions"),
		(long long)cli_number(peer, "max_sessions"));
	cli_field("keepalive", "%d s", (int)cli_number(peer, "persistent_keepalive_s"));
	cli_field("heartbeat", "%g s", json_number_value(json_object_get(peer, "heartbeat_s")));
	cli_field("forwarding", "%s", forwarding_word(peer));
	cli_field("portmap", "%s", switch_word(peer, "portmap"));
	cli_field("leases", "%s of %d", leases(peer, text), (int)cli_number(peer, "max_leases"));
	cli_field("home", "%s", home(peer, text));
	if (json_is_integer(json_object_get(peer, "leases_closed")))
		cli_field("leases closed", "%d", (int)cli_number(peer, "leases_closed"));
}

static void print_deleted(const json_t *peer, const json_t *flags)
{
	cli_field("deleted", "%s", cli_text(peer, "name"));
	cli_field("public key", "%s", cli_text(peer, "public_key"));
	cli_field("leases closed", "%d", (int)cli_number(peer, "leases_closed"));
}

static void print_barred(const json_t *peer, const json_t *flags)
{
	cli_field("barred", "%s", cli_text(peer, "name"));
	cli_field("public key", "%s", cli_text(peer, "public_key"));
	cli_field("leases closed", "%d", (int)cli_number(peer, "leases_closed"));
}

static void print_unbarred(const json_t *peer, const json_t *flags)
{
	cli_field("barred no more", "%s", cli_text(peer, "name"));
	cli_field("public key", "%s", cli_text(peer, "public_key"));
}

#define PEER_ARG                                                             \
	{                                                                    \
		NULL, "PEER", "peer", CLI_TEXT, "its name or its public key" \
	}

static const struct cli_arg add_args[] = {
	{NULL, "PUBKEY", "public_key", CLI_TEXT, "its public key, in base64"},
	{"--address", "A[,A6]", NULL, CLI_ADDRESSES,
		"inside the tunnel: IPv4, IPv6 or both; required"},
	{"--name", "N", "name", CLI_TEXT, "letters, digits and any of . _ @ -; up to 31"},
	{"--forwarding", "on|off", "forwarding", CLI_SWITCH, "whether it may have leases (off)"},
	{"--portmap", "on|off", "portmap", CLI_SWITCH,
		"whether it may ask for them by NAT-PMP and PCP (off)"},
	{"--max-leases", "N", "max_leases", CLI_NUMBER, "how many (leases.max_per_peer)"},
	{"--filter", "F", "filter", CLI_TEXT,
		"what may come back in: strict, moderate or open (nat.filter)"},
	{"--max-sessions", "N", "max_sessions", CLI_NUMBER, "how many (nat.sessions_per_peer)"},
	{"--route", "PREFIX", "routes", CLI_TEXTS,
		"an IPv6 prefix that leads to it, /48 to /128; up to 4 times"},
	{"--endpoint", "A:PORT", "endpoint", CLI_TEXT, "where a handshake may be begun (nowhere)"},
	{"--preshared-key-file", "F|-", "preshared_key", CLI_KEY_FILE, "a file, or standard input"},
	{"--keepalive", "SECONDS", "persistent_keepalive_s", CLI_SECONDS,
		"persistent, or off (off)"},
};

static const struct cli_arg set_args[] = {
	PEER_ARG,
	{"--address", "A[,A6]", NULL, CLI_ADDRESSES,
		"inside the tunnel; another one ends its sessions, and of IPv4 its leases"},
	{"--name", "N", "name", CLI_TEXT, "letters, digits and any of . _ @ -; up to 31"},
	{"--forwarding", "on|off", "forwarding", CLI_SWITCH,
		"whether it may have leases; off ends them"},
	{"--portmap", "on|off", "portmap", CLI_SWITCH,
		"whether it may ask for them by NAT-PMP and PCP"},
	{"--max-leases", "N", "max_leases", CLI_NUMBER, "how many; those it has stay"},
	{"--filter", "F", "filter", CLI_TEXT,
		"what may come back in, of new flows: strict, moderate or open"},
	{"--max-sessions", "N", "max_sessions", CLI_NUMBER, "how many; those it has stay"},
	{"--route", "PREFIX", "routes", CLI_TEXTS,
		"in place of those it has, up to 4 times; \"\": none. Ends its sessions"},
	{"--endpoint", "A:PORT", "endpoint", CLI_TEXT,
		"where a handshake may be begun; \"\": nowhere"},
	{"--preshared-key-file", "F|-", "preshared_key", CLI_KEY_FILE,
		"a file, or standard input; empty: none"},
	{"--keepalive", "SECONDS", "persistent_keepalive_s", CLI_SECONDS, "persistent, or off"},
};

static const struct cli_arg one_args[] = {PEER_ARG};

#define N(list) (sizeof(list) / sizeof((list)[0]))

const struct cli_verb cli_peer_verbs[] = {
	{"peer", "add", "add a peer", "peer.add", NULL, add_args, N(add_args), print_one},
	{"peer", "del", "delete a peer and close its leases", "peer.del", NULL, one_args,
		N(one_args), print_deleted},
	{"peer", "set", "change what was said of a peer", "peer.set", NULL, set_args, N(set_args),
		print_one},
	{"peer", "bar", "close all leases of a peer and refuse it others", "peer.bar", NULL,
		one_args, N(one_args), print_barred},
	{"peer", "unbar", "let a peer have leases again", "peer.unbar", NULL, one_args, N(one_args),
		print_unbarred},
	{"peer", "show", "show a peer", "peer.show", NULL, one_args, N(one_args), print_one},
	{"peer", "list", "list all peers", "peer.list", "peers", NULL, 0, print_list},
	{NULL},
};
