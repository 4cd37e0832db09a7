/* portierctl pool ... */
#include "cli.h"

static void print_totals(const json_t *totals)
{
	cli_field("addresses", "%lld", (long long)cli_number(totals, "addresses"));
	cli_field("leases", "%lld of %lld", (long long)cli_number(totals, "leases"),
		(long long)cli_number(totals, "leases_max"));
	cli_field("peers", "%lld", (long long)cli_number(totals, "peers"));
	cli_field("blocks", "%lld of %lld", (long long)cli_number(totals, "blocks_taken"),
		(long long)cli_number(totals, "blocks"));
	cli_field("ports in use", "%lld, and %lld rest",
		(long long)cli_number(totals, "ports_used"),
		(long long)cli_number(totals, "ports_resting"));
	cli_field("sessions", "%lld of %lld", (long long)cli_number(totals, "sessions"),
		(long long)cli_number(totals, "sessions_max"));
}

static void print_pool(const json_t *result, const json_t *flags)
{
	static const char *const columns[] = {
		"leases", "peers", "blocks", "owned", "resting", "free"};
	struct cli_table *t =
		cli_table_create("ADDRESS|ROLE|>LEASES|>PEERS|>BLOCKS|>OWNED|>RESTING|>FREE");
	const json_t *address;
	size_t i;

	json_array_foreach(json_object_get(result, "addresses"), i, address)
	{
		cli_table_add(t, cli_text(address, "address"));
		cli_table_add(t, cli_text(address, "role"));
		for (size_t k = 0; k < sizeof(columns) / sizeof(columns[0]); k++)
			cli_table_addf(t, "%lld", (long long)cli_number(address, columns[k]));
	}
	cli_table_print(t, "no addresses");
	cli_print("\n");
	print_totals(json_object_get(result, "totals"));
}

const struct cli_verb cli_pool_verbs[] = {
	{"pool", "show", "show the public addresses and what each is used for", "pool.show",
		"addresses", NULL, 0, print_pool},
	{NULL},
};
