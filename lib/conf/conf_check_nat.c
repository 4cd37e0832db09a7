#include "conf/conf_impl.h"

#include <stdio.h>

/* Blocks begin at multiples of their size, and only whole ones are used. */
static void check_blocks(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;
	const config_setting_t *s = conf_at(ctx, "nat.block_ports");
	uint32_t first;

	if (c->nat_block_ports == 0) /* refused before */
		return;
	if ((c->nat_block_ports & (c->nat_block_ports - 1)) != 0) {
		conf_fault(ctx, s,
			"nat.block_ports = %u is not a power of two; it takes 64, 128, 256, 512, "
			"1024, 2048 or 4096",
			c->nat_block_ports);
		return;
	}
	if (c->nat_port_first == 0)
		return;
	first = (c->nat_port_first + c->nat_block_ports - 1u) / c->nat_block_ports *
		c->nat_block_ports;
	if (first + c->nat_block_ports - 1u > c->nat_port_last)
		conf_fault(ctx, conf_at(ctx, "nat.ports") ?: s,
			"nat.ports = \"%u-%u\" holds no whole block of nat.block_ports = %u ports; "
			"blocks begin at multiples of their size",
			c->nat_port_first, c->nat_port_last, c->nat_block_ports);
}

/* A public port has one owner: a lease or a block of a peer (DESIGN, 1.5). */
static void check_ranges(struct conf_ctx *ctx)
{
	const struct conf *c = ctx->conf;

	if (c->nat_port_first == 0 || c->lease_port_first == 0 ||
		c->nat_port_last < c->lease_port_first || c->lease_port_last < c->nat_port_first)
		return;
	conf_fault(ctx, conf_at(ctx, "nat.ports") ?: conf_at(ctx, "leases.ports"),
		"nat.ports = \"%u-%u\" overlaps leases.ports = \"%u-%u\"; each takes a range of "
		"its own",
		c->nat_port_first, c->nat_port_last, c->lease_port_first, c->lease_port_last);
}

void conf_check_nat(struct conf_ctx *ctx)
{
	check_blocks(ctx);
	check_ranges(ctx);
}
