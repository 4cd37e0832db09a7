/* portierctl health, reload, version */
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

static void print_words(const json_t *result, const char *name, const char *label)
{
	const json_t *word;
	size_t i;

	json_array_foreach(json_object_get(result, name), i, word)
		cli_field(label, "%s", json_string_value(word));
}

static void print_reload(const json_t *result, const json_t *flags)
{
	print_words(result, "applied", "applied");
	print_words(result, "at_restart", "at restart");
	print_words(result, "refused", "refused");
	cli_field("peers", "%d added, %d changed, %d deleted",
		(int)cli_number(result, "peers_added"), (int)cli_number(result, "peers_changed"),
		(int)cli_number(result, "peers_deleted"));
	cli_field("leases", "%d opened, %d closed", (int)cli_number(result, "leases_opened"),
		(int)cli_number(result, "leases_closed"));
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
	{"reload", NULL, "read the configuration again", "reload", NULL, NULL, 0, print_reload},
	{"version", NULL, "what runs", "version", NULL, NULL, 0, print_version},
	{NULL},
};
