#include "doors/terms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t interval_ns(uint32_t per_s)
{
	return per_s > 0 ? (uint32_t)(NS_IN_S / per_s) : 0;
}

int door_terms_create(const struct lease *lease, struct door_terms **out)
{
	size_t bytes = lease->n_sources * sizeof(lease->sources[0]);
	struct door_terms *t = NULL;
	bool is_limited = lease->max_pps > 0 || lease->max_new_flows > 0;

	if (lease->n_sources > 0 || is_limited) {
		t = calloc(1, sizeof(*t) + bytes);
		if (!t)
			return -ENOMEM;
		t->pkt_interval_ns = interval_ns(lease->max_pps);
		t->flow_interval_ns = interval_ns(lease->max_new_flows);
		t->n_sources = lease->n_sources;
		memcpy(t->sources, lease->sources, bytes);
		if (is_limited && !(t->buckets = calloc(1, sizeof(*t->buckets)))) {
			free(t);
			return -ENOMEM;
		}
	}
	*out = t;
	return 0;
}

void door_terms_destroy(void *terms)
{
	struct door_terms *t = terms;

	if (t)
		free(t->buckets);
	free(t);
}

bool door_terms_equal(const struct door_terms *terms, const struct lease *lease)
{
	if (!terms)
		return lease->n_sources == 0 && lease->max_pps == 0 && lease->max_new_flows == 0;
	if (terms->n_sources != lease->n_sources ||
		terms->pkt_interval_ns != interval_ns(lease->max_pps) ||
		terms->flow_interval_ns != interval_ns(lease->max_new_flows))
		return false;
	for (uint32_t i = 0; i < terms->n_sources; i++)
		if (!ip_prefix_equal(&terms->sources[i], &lease->sources[i]))
			return false;
	return true;
}

bool door_terms_admit_source(const struct door_terms *terms, const struct ip_addr *src)
{
	return terms->n_sources == 0 || ip_prefixes_contain(terms->sources, terms->n_sources, src);
}

/* One out of a bucket. False: there is none, and nothing changed. */
static bool take(uint64_t *full_ns, uint32_t interval_ns, uint64_t now_ns)
{
	uint64_t next_ns = (*full_ns > now_ns ? *full_ns : now_ns) + interval_ns;

	if (next_ns - now_ns > NS_IN_S)
		return false;
	*full_ns = next_ns;
	return true;
}

static bool take_flow(
	struct door_buckets *b, uint32_t interval_ns, uint64_t flow_hash, uint64_t now_ns)
{
	if (recent_has(&b->flows, flow_hash))
		return true;
	if (!take(&b->flows_full_ns, interval_ns, now_ns))
		return false;
	recent_add(&b->flows, flow_hash);
	return true;
}

/* buckets: NULL when neither is limited. */
static enum door_verdict ask(const struct door_terms *terms, struct door_buckets *buckets,
	const struct door_knock *knock, uint64_t flow_hash, uint64_t now_ns)
{
	if (!door_terms_admit_source(terms, &knock->src))
		return DOOR_REFUSES_SOURCE;
	if (door_terms_need_flow(terms, knock) &&
		!take_flow(buckets, terms->flow_interval_ns, flow_hash, now_ns))
		return DOOR_REFUSES_FLOW;
	if (terms->pkt_interval_ns > 0 &&
		!take(&buckets->pkts_full_ns, terms->pkt_interval_ns, now_ns))
		return DOOR_REFUSES_RATE;
	return DOOR_ADMITS;
}

enum door_verdict door_terms_ask(struct door_terms *terms, const struct door_knock *knock,
	uint64_t flow_hash, uint64_t now_ns)
{
	return ask(terms, terms->buckets, knock, flow_hash, now_ns);
}

/* The worker may be writing: what is read is of different moments then, and only shown. */
enum door_verdict door_terms_peek(const struct door_terms *terms, const struct door_knock *knock,
	uint64_t flow_hash, uint64_t now_ns)
{
	struct door_buckets copy = {0};

	if (terms->buckets)
		copy = *terms->buckets;
	return ask(terms, &copy, knock, flow_hash, now_ns);
}
