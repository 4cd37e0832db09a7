#include "flow/blocks.h"

#include "base/bytes.h"

#include <stdlib.h>

/* The word of a block: free, resting, or the owner's index plus one. Zero is free, so that a large
 * pool costs memory only as it is used. */
#define WORD_FREE    0
#define WORD_RESTING UINT32_MAX

/* Addresses [first, last], the first of which has this rank. */
struct range {
	uint32_t first, last, rank;
};

struct blocks {
	struct range ranges[BLOCKS_POOL_MAX]; /* ascending, apart from each other */
	unsigned n_ranges;
	unsigned ports_log2;
	uint32_t first_slot; /* the first port of an address's first block, in blocks */
	uint32_t n_per_addr; /* blocks */
	uint32_t n_addrs, n_blocks;
	uint32_t *words; /* W: whoever claims, and then the claimer; R: all */
};

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

/* Fills ranges and n_ranges; returns how many addresses there are. */
static uint64_t merge_pool(struct blocks *b, const struct blocks_conf *conf)
{
	uint64_t n_addrs = 0;
	unsigned n = 0, n_merged = 0;

	for (unsigned i = 0; i < conf->n_pool; i++) {
		const struct ip_prefix *p = &conf->pool[i];
		uint32_t first;

		if (!ip_is_v4(&p->addr) || p->len_bits < 96)
			continue;
		first = load_be32(ip_v4_bytes(&p->addr));
		b->ranges[n++] = (struct range){
			.first = first,
			.last = first + (uint32_t)((UINT64_C(1) << (128 - p->len_bits)) - 1),
		};
	}
	qsort(b->ranges, n, sizeof(b->ranges[0]), compare_ranges);
	for (unsigned i = 0; i < n; i++) {
		struct range *r = &b->ranges[i];
		struct range *before = n_merged > 0 ? &b->ranges[n_merged - 1] : NULL;

		if (before && r->first <= before->last) {
			if (r->last > before->last)
				before->last = r->last;
			continue;
		}
		b->ranges[n_merged++] = *r;
	}
	b->n_ranges = n_merged;
	for (unsigned i = 0; i < n_merged; i++) {
		b->ranges[i].rank = (uint32_t)n_addrs;
		n_addrs += (uint64_t)b->ranges[i].last - b->ranges[i].first + 1;
	}
	return n_addrs;
}

static bool is_sound(const struct blocks_conf *conf)
{
	unsigned n = conf->block_ports;

	return conf->n_pool <= BLOCKS_POOL_MAX && conf->port_first >= BLOCKS_PORT_MIN &&
	       n >= BLOCKS_PORTS_MIN && n <= BLOCKS_PORTS_MAX && (n & (n - 1)) == 0;
}

struct blocks *blocks_create(const struct blocks_conf *conf)
{
	uint32_t end_slot;
	uint64_t n_addrs;
	struct blocks *b;

	if (!is_sound(conf))
		return NULL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	n_addrs = merge_pool(b, conf);
	b->ports_log2 = (unsigned)__builtin_ctz(conf->block_ports);
	b->first_slot = (conf->port_first + conf->block_ports - 1u) >> b->ports_log2;
	end_slot = (conf->port_last + 1u) >> b->ports_log2;
	if (end_slot > b->first_slot)
		b->n_per_addr = end_slot - b->first_slot;
	if (n_addrs * b->n_per_addr > BLOCKS_MAX)
		goto fail;
	b->n_addrs = (uint32_t)n_addrs;
	b->n_blocks = b->n_addrs * b->n_per_addr;
	b->words = calloc(b->n_blocks + 1, sizeof(*b->words));
	if (!b->words)
		goto fail;
	return b;
fail:
	blocks_destroy(b);
	return NULL;
}

void blocks_destroy(struct blocks *b)
{
	if (!b)
		return;
	free(b->words);
	free(b);
}

uint32_t blocks_addr_rank(const struct blocks *b, uint32_t addr_v4)
{
	unsigned low = 0, high = b->n_ranges;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (addr_v4 > b->ranges[mid].last)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == b->n_ranges || addr_v4 < b->ranges[low].first)
		return BLOCKS_NONE;
	return b->ranges[low].rank + addr_v4 - b->ranges[low].first;
}

/* The first block of this address; BLOCKS_NONE: not in the pool. */
static uint32_t find_first(const struct blocks *b, uint32_t addr_v4)
{
	uint32_t rank = blocks_addr_rank(b, addr_v4);

	return rank == BLOCKS_NONE ? BLOCKS_NONE : rank * b->n_per_addr;
}

uint32_t blocks_claim(struct blocks *b, uint32_t addr_v4, uint32_t peer_idx, uint32_t random)
{
	uint32_t first = find_first(b, addr_v4);
	uint32_t at;

	if (first == BLOCKS_NONE || b->n_per_addr == 0)
		return BLOCKS_NONE;
	at = random % b->n_per_addr;
	for (uint32_t i = 0; i < b->n_per_addr; i++) {
		uint32_t *word = &b->words[first + at];
		uint32_t free_word = WORD_FREE;

		if (__atomic_load_n(word, __ATOMIC_RELAXED) == WORD_FREE &&
			__atomic_compare_exchange_n(word, &free_word, peer_idx + 1, false,
				__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return first + at;
		at = at + 1 < b->n_per_addr ? at + 1 : 0;
	}
	return BLOCKS_NONE;
}

void blocks_retire(struct blocks *b, uint32_t block)
{
	__atomic_store_n(&b->words[block], WORD_RESTING, __ATOMIC_RELEASE);
}

void blocks_release(struct blocks *b, uint32_t block)
{
	__atomic_store_n(&b->words[block], WORD_FREE, __ATOMIC_RELEASE);
}

uint32_t blocks_owner(const struct blocks *b, uint32_t addr_v4, uint16_t port)
{
	uint32_t first = find_first(b, addr_v4);
	uint32_t at = ((uint32_t)port >> b->ports_log2) - b->first_slot;
	uint32_t word;

	if (first == BLOCKS_NONE || at >= b->n_per_addr)
		return BLOCKS_NONE;
	word = __atomic_load_n(&b->words[first + at], __ATOMIC_ACQUIRE);
	return word == WORD_RESTING || word == WORD_FREE ? BLOCKS_NONE : word - 1;
}

uint32_t blocks_addr(const struct blocks *b, uint32_t block)
{
	return blocks_addr_at(b, block / b->n_per_addr);
}

uint16_t blocks_first_port(const struct blocks *b, uint32_t block)
{
	return (uint16_t)((b->first_slot + block % b->n_per_addr) << b->ports_log2);
}

uint16_t blocks_ports(const struct blocks *b)
{
	return (uint16_t)(1u << b->ports_log2);
}

uint32_t blocks_total(const struct blocks *b)
{
	return b->n_blocks;
}

bool blocks_count(const struct blocks *b, uint32_t addr_v4, struct blocks_counts *out)
{
	uint32_t first = find_first(b, addr_v4);

	if (first == BLOCKS_NONE)
		return false;
	*out = (struct blocks_counts){.total = b->n_per_addr};
	for (uint32_t i = 0; i < b->n_per_addr; i++) {
		uint32_t word = __atomic_load_n(&b->words[first + i], __ATOMIC_RELAXED);

		out->owned += word != WORD_FREE && word != WORD_RESTING;
		out->resting += word == WORD_RESTING;
	}
	return true;
}

uint32_t blocks_addrs(const struct blocks *b)
{
	return b->n_addrs;
}

uint32_t blocks_addr_at(const struct blocks *b, uint32_t rank)
{
	unsigned i = b->n_ranges - 1;

	while (b->ranges[i].rank > rank)
		i--;
	return b->ranges[i].first + (rank - b->ranges[i].rank);
}
