/* portierctl ports */
#include "cli.h"

#include <stdio.h>

static const char *join(const json_t *list, char *buf, size_t size)
{
	const json_t *item;
	size_t i, len = 0;

	buf[0] = '\0';
	json_array_foreach(list, i, item)
	{
		if (len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", i > 0 ? ", " : "",
				json_string_value(item));
	}
	return buf[0] == '\0' ? "-" : buf;
}

static void print_link(const json_t *link)
{
	const json_t *speed = json_object_get(link, "speed_mbps");

	if (!json_is_true(json_object_get(link, "up")))
		cli_field("  link", "down");
	else if (json_is_integer(speed))
		cli_field("  link", "up, %d Mbit/s, %s duplex", (int)json_integer_value(speed),
			cli_text(link, "duplex"));
	else
		cli_field("  link", "up");
}

static void print_ports(const json_t *result, const json_t *flags)
{
	char text[1024], more[CLI_TEXT_CHARS];
	const json_t *port;
	size_t i;

	json_array_foreach(json_object_get(result, "ports"), i, port)
	{
		const json_t *n = json_object_get(port, "counters");

		cli_field("port", "%s", cli_text(port, "name"));
		cli_field(
			"  roles", "%s", join(json_object_get(port, "roles"), text, sizeof(text)));
		cli_field("  device", "%s", cli_text(port, "device"));
		cli_field("  driver", "%s", cli_text(port, "driver"));
		cli_field("  mac", "%s", cli_text(port, "mac"));
		print_link(json_object_get(port, "link"));
		cli_field("  mtu", "%d", (int)cli_number(port, "mtu_bytes"));
		cli_field("  addresses", "%s",
			join(json_object_get(port, "addresses"), text, sizeof(text)));
		cli_field("  gateways", "%s",
			join(json_object_get(port, "gateways"), text, sizeof(text)));
		cli_field("  received",
			"%" JSON_INTEGER_FORMAT " packets, %s; %" JSON_INTEGER_FORMAT
			" missed, %" JSON_INTEGER_FORMAT " bad",
			cli_number(n, "rx_pkts"), cli_bytes_format(cli_number(n, "rx_bytes"), more),
			cli_number(n, "rx_missed"), cli_number(n, "rx_errors"));
		cli_field("  sent",
			"%" JSON_INTEGER_FORMAT " packets, %s; %" JSON_INTEGER_FORMAT " failed",
			cli_number(n, "tx_pkts"), cli_bytes_format(cli_number(n, "tx_bytes"), more),
			cli_number(n, "tx_errors"));
	}
}

const struct cli_verb cli_ports_verbs[] = {
	{"ports", NULL, "the gateway's ports and their devices", "ports", NULL, NULL, 0,
		print_ports},
	{NULL},
};
