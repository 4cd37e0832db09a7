/* The table as a whole: its memory. */
#include "lease/impl.h"
#include "lease/pool.h"

#include <assert.h>
#include <stdlib.h>

static bool table_init(struct lease_table *t, const struct lease_conf *conf)
{
	uint64_t n_places = lease_pool_count(conf);
	uint32_t n = conf->max_leases, n_numbers = 2 * n;

	t->conf = *conf;
	if (t->conf.port_first == 0)
		t->conf.port_first = 1;
	t->next_id = 1;
	t->leases = lease_array_create(n, sizeof(*t->leases));
	t->number_of = lease_array_create(n, sizeof(*t->number_of));
	t->lease_links = lease_array_create(n, sizeof(*t->lease_links));
	t->number_links = lease_array_create(n_numbers, sizeof(*t->number_links));
	t->holders = lease_array_create(n_numbers, sizeof(*t->holders));
	return t->leases && t->number_of && t->lease_links && t->number_links && t->holders &&
	       lease_slab_init(&t->slab, n) && lease_index_init(&t->by_id, n) &&
	       lease_heap_init(&t->deadlines, n) && lease_slab_init(&t->holder_slab, n_numbers) &&
	       lease_index_init(&t->by_peer, n_numbers) &&
	       lease_numbers_init(&t->numbers, &t->conf, n_numbers, n_places);
}

struct lease_table *lease_table_create(const struct lease_conf *conf)
{
	struct lease_table *t;

	assert(conf->max_leases <= LEASE_TABLE_MAX && conf->n_pool <= LEASE_POOL_MAX &&
		conf->port_first <= conf->port_last && conf->port_last != 0);
	for (unsigned i = 0; i < conf->n_pool; i++)
		assert(ip_is_v4(&conf->pool[i].addr));
	t = calloc(1, sizeof(*t));
	if (t && !table_init(t, conf)) {
		lease_table_destroy(t);
		t = NULL;
	}
	return t;
}

void lease_table_destroy(struct lease_table *t)
{
	if (!t)
		return;
	free(t->leases);
	free(t->number_of);
	free(t->lease_links);
	free(t->number_links);
	free(t->holders);
	lease_slab_fini(&t->slab);
	lease_index_fini(&t->by_id);
	lease_heap_fini(&t->deadlines);
	lease_slab_fini(&t->holder_slab);
	lease_index_fini(&t->by_peer);
	lease_numbers_fini(&t->numbers);
	free(t);
}

void lease_table_times_set(struct lease_table *t, uint64_t default_ttl_ns, uint64_t quarantine_ns)
{
	t->conf.default_ttl_ns = default_ttl_ns;
	t->conf.quarantine_ns = quarantine_ns;
}
