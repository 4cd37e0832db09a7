#include "flow/records.h"

#include <stdlib.h>

struct flow_records {
	/* Counts, never wound back; a place is a count modulo FLOW_RECORDS_WAITING. */
	uint64_t n_added __attribute__((aligned(64))); /* W: the worker; R: control */
	uint64_t n_missed;			       /* W: the worker; R: all */
	uint64_t n_taken __attribute__((aligned(64))); /* W: control; R: the worker */
	struct flow_record waiting[FLOW_RECORDS_WAITING];
};

struct flow_records *flow_records_create(void)
{
	struct flow_records *r = aligned_alloc(64, sizeof(*r));

	if (r)
		r->n_added = r->n_missed = r->n_taken = 0;
	return r;
}

void flow_records_destroy(struct flow_records *r)
{
	free(r);
}

void flow_records_add(struct flow_records *r, const struct flow_record *record)
{
	uint64_t n_taken = __atomic_load_n(&r->n_taken, __ATOMIC_ACQUIRE);

	if (r->n_added - n_taken == FLOW_RECORDS_WAITING) {
		__atomic_store_n(&r->n_missed, r->n_missed + 1, __ATOMIC_RELAXED);
		return;
	}
	r->waiting[r->n_added % FLOW_RECORDS_WAITING] = *record;
	__atomic_store_n(&r->n_added, r->n_added + 1, __ATOMIC_RELEASE);
}

bool flow_records_take(struct flow_records *r, struct flow_record *out)
{
	if (__atomic_load_n(&r->n_added, __ATOMIC_ACQUIRE) == r->n_taken)
		return false;
	*out = r->waiting[r->n_taken % FLOW_RECORDS_WAITING];
	__atomic_store_n(&r->n_taken, r->n_taken + 1, __ATOMIC_RELEASE);
	return true;
}

uint64_t flow_records_missed(const struct flow_records *r)
{
	return __atomic_load_n(&r->n_missed, __ATOMIC_RELAXED);
}
