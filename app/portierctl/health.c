/* portierctl health, version */
#include "cli.h"

static void print_health(const json_t *result, const json_t *flags)
{
	char text[CLI_TEXT_CHARS];
	const json_t *reason;
	size_t i;

	cli_field("health", "%s", cli_text(result, "health"));
	json_array_foreach(json_object_get(result, "reasons"), i, reason)
		cli_field("reason", "%s", json_string_value(reason));
	cli_field(
		"uptime", "%s", cli_seconds_format(json_object_get(result, "uptime_s"), "-", text));
	cli_field("peers", "%d", (int)cli_number(result, "peers"));
	cli_field("leases", "%d", (int)cli_number(result, "leases"));
}

static void print_version(const json_t *result, const json_t *flags)
{
	cli_field("portierctl", "%s", PORTIER_VERSION);
	cli_field("portier", "%s", cli_text(result, "version"));
	cli_field("dpdk", "%s", cli_text(result, "dpdk"));
	cli_field("aead", "%s", cli_text(result, "aead"));
}

const struct cli_verb cli_health_verbs[] = {
	{"health", NULL, "ok, or what is wrong", "health", NULL, NULL, 0, print_health},
	{"version", NULL, "what runs", "version", NULL, NULL, 0, print_version},
	{NULL},
};
