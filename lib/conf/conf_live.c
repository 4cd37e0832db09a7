/* What a configuration that is read again changes of the one that runs. */
#include "conf/conf_impl.h"

#include <stdio.h>
#include <string.h>

#define KEY_CHARS 64

/* Keys that read into more than one field of their own. */
static const struct {
	const char *name;
	size_t offset, width_bytes;
} wide_keys[] = {
#define WIDE(name, field)                                                             \
	{                                                                             \
		name, offsetof(struct conf, field), sizeof(((struct conf *)0)->field) \
	}
	WIDE("eal.lcores", n_lcores),
	WIDE("eal.lcores", lcore_cpus),
	WIDE("eal.args", eal_args),
	WIDE("ports", ports),
	/* The content of the file; its path is the key's own field. */
	WIDE("tunnel.private_key_file", private_key),
	WIDE("tunnel.inner_addresses", inner_addrs),
	WIDE("public.pool", pool),
	WIDE("public.dedicated", dedicated),
	WIDE("nat.pool", nat_pool),
	WIDE("nat.ports", nat_port_first),
	WIDE("nat.ports", nat_port_last),
	WIDE("nat.exempt", nat_exempt),
	WIDE("nat.blocked", nat_blocked),
	WIDE("leases.deny", deny),
	WIDE("leases.ports", lease_port_first),
	WIDE("leases.ports", lease_port_last),
#undef WIDE
};

static bool is_field_same(
	const struct conf *running, const struct conf *fresh, size_t offset, size_t width_bytes)
{
	return memcmp((const char *)running + offset, (const char *)fresh + offset, width_bytes) ==
	       0;
}

static bool is_key_same(const struct conf *running, const struct conf *fresh,
	const struct conf_key *k, const char *name)
{
	bool is_same = is_field_same(running, fresh, k->offset, k->width_bytes);

	for (size_t i = 0; i < sizeof(wide_keys) / sizeof(wide_keys[0]); i++)
		if (strcmp(wide_keys[i].name, name) == 0)
			is_same = is_same && is_field_same(running, fresh, wide_keys[i].offset,
						     wide_keys[i].width_bytes);
	return is_same;
}

bool conf_live_knows(const struct conf_key *k, const char *name)
{
	for (size_t i = 0; i < sizeof(wide_keys) / sizeof(wide_keys[0]); i++)
		if (strcmp(wide_keys[i].name, name) == 0)
			return true;
	return k->width_bytes > 0 || strcmp(name, "peers") == 0;
}

static void take_keys(struct conf *running, const struct conf *fresh, const struct conf_key *keys,
	const char *group, conf_note_fn note, void *arg)
{
	char name[KEY_CHARS];

	for (const struct conf_key *k = keys; k->name; k++) {
		snprintf(name, sizeof(name), "%s%s%s", group, group[0] ? "." : "", k->name);
		if (k->kind == CONF_GROUP) {
			take_keys(running, fresh, k->sub, name, note, arg);
			continue;
		}
		if (is_key_same(running, fresh, k, name))
			continue;
		note(arg, name, k->live);
		if (k->live)
			memcpy((char *)running + k->offset, (const char *)fresh + k->offset,
				k->width_bytes);
	}
}

void conf_take_live(struct conf *running, struct conf *fresh, conf_note_fn note, void *arg)
{
	struct conf_peer *peers = running->peers;
	struct conf_lease *leases = running->leases;
	uint32_t n_peers = running->n_peers, n_leases = running->n_leases;

	take_keys(running, fresh, conf_root_keys, "", note, arg);
	running->peers = fresh->peers;
	running->n_peers = fresh->n_peers;
	running->leases = fresh->leases;
	running->n_leases = fresh->n_leases;
	fresh->peers = peers;
	fresh->n_peers = n_peers;
	fresh->leases = leases;
	fresh->n_leases = n_leases;
}
