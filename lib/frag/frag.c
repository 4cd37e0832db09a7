#include "frag/frag.h"

#include "base/ip.h"
#include "frag/ranges.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SOURCE_OWNER (UINT32_C(1) << 31) /* added to the number of a share of sources */
#define ORPHANS	     0			 /* head of their list; that of the lost is t->lost */
#define IPV4_SRC_AT  12
#define IPV4_DST_AT  16
#define IPV6_SRC_AT  8
#define IPV6_DST_AT  24

struct key {
	struct ip_addr src, dst;
	uint32_t id;
	uint32_t owner;
	uint32_t proto; /* IPv6: 0, its fragments need not agree on it (RFC 8200, section 4.5) */
};
static_assert(sizeof(struct key) == 16 + 16 + 4 + 4 + 4, "hashed as bytes: no padding");

enum state {
	ORPHAN = 0, /* its first fragment has not come */
	KNOWN,
	LOST, /* what comes still gets lost_by */
};

/* Entries are numbers from 1; 0 is none, and a head of lists. */
struct link {
	uint32_t prev, next;
};

struct datagram {
	struct key key;
	uint32_t hash_next;		/* also of the free list */
	uint32_t owner_idx, target_idx; /* 0: no target yet */
	struct link age;
	struct link spare; /* of an orphan or a lost one: it may make room */
	uint64_t deadline_ns;
	struct frag_ranges ranges;
	uint8_t state;
	uint8_t lost_by; /* enum frag_verdict */
	uint8_t n_held;
	uint8_t proto, icmp_type;
	bool has_l4;
	bool has_last;
	uint16_t src_port, dst_port;
	uint16_t new_id;
	void *held[FRAG_HELD_MAX];
};

/* Or a target. Lives while it has datagrams: there are never more than twice as many as those. */
struct owner {
	uint32_t number;
	uint32_t hash_next; /* also of the free list */
	uint32_t n_datagrams, n_held;
};

struct frag_table {
	struct frag_conf conf;
	uint32_t mask; /* of both hashes */
	uint32_t n_datagrams, n_spare, n_held;
	uint32_t free_datagram, free_owner;
	uint32_t *datagram_heads, *owner_heads;
	struct datagram *datagrams; /* [ORPHANS] and [lost] have the list heads */
	uint32_t lost;
	struct owner *owners;
};

static bool is_conf_right(const struct frag_conf *c)
{
	return c->n_datagrams >= FRAG_DATAGRAMS_MIN && c->n_datagrams <= FRAG_DATAGRAMS_MAX &&
	       c->owner_datagrams > 0 && c->target_datagrams > 0 && c->held_pkts > 0 &&
	       c->owner_held_pkts > 0 && c->datagram_held_pkts > 0 &&
	       c->datagram_held_pkts <= FRAG_HELD_MAX && c->timeout_ns > 0;
}

struct frag_table *frag_table_create(const struct frag_conf *conf)
{
	struct frag_table *t;
	uint32_t n = 1;

	if (!is_conf_right(conf))
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	while (n < conf->n_datagrams)
		n *= 2;
	t->conf = *conf;
	t->mask = n - 1;
	t->datagram_heads = calloc(n, sizeof(*t->datagram_heads));
	t->owner_heads = calloc(n, sizeof(*t->owner_heads));
	t->datagrams = calloc((size_t)conf->n_datagrams + 2, sizeof(*t->datagrams));
	t->owners = calloc(2 * (size_t)conf->n_datagrams + 1, sizeof(*t->owners));
	if (!t->datagram_heads || !t->owner_heads || !t->datagrams || !t->owners) {
		frag_table_destroy(t);
		return NULL;
	}
	for (uint32_t i = conf->n_datagrams; i > 0; i--) {
		t->datagrams[i].hash_next = t->free_datagram;
		t->free_datagram = i;
	}
	for (uint32_t i = 2 * conf->n_datagrams; i > 0; i--) {
		t->owners[i].hash_next = t->free_owner;
		t->free_owner = i;
	}
	t->lost = conf->n_datagrams + 1;
	t->datagrams[t->lost].spare = (struct link){t->lost, t->lost};
	return t;
}

void frag_table_destroy(struct frag_table *t)
{
	if (!t)
		return;
	crypto_wipe(t->conf.hash_key, sizeof(t->conf.hash_key));
	free(t->datagram_heads);
	free(t->owner_heads);
	free(t->datagrams);
	free(t->owners);
	free(t);
}

uint32_t frag_n_datagrams(const struct frag_table *t)
{
	return t->n_datagrams;
}

uint32_t frag_n_held(const struct frag_table *t)
{
	return t->n_held;
}

/* --- lists, oldest first -------------------------------------------------------------------- */

static void age_append(struct frag_table *t, uint32_t i)
{
	struct datagram *d = t->datagrams;

	d[i].age = (struct link){.prev = d[0].age.prev};
	d[d[0].age.prev].age.next = i;
	d[0].age.prev = i;
}

static void age_remove(struct frag_table *t, uint32_t i)
{
	struct datagram *d = t->datagrams;

	d[d[i].age.prev].age.next = d[i].age.next;
	d[d[i].age.next].age.prev = d[i].age.prev;
}

static void spare_append(struct frag_table *t, uint32_t head, uint32_t i)
{
	struct datagram *d = t->datagrams;

	d[i].spare = (struct link){.prev = d[head].spare.prev, .next = head};
	d[d[head].spare.prev].spare.next = i;
	d[head].spare.prev = i;
	t->n_spare++;
}

static void spare_remove(struct frag_table *t, uint32_t i)
{
	struct datagram *d = t->datagrams;

	d[d[i].spare.prev].spare.next = d[i].spare.next;
	d[d[i].spare.next].spare.prev = d[i].spare.prev;
	t->n_spare--;
}

/* --- owners --------------------------------------------------------------------------------- */

/* Numbers are ours, not an attacker's: spreading them is enough. */
static uint32_t *owner_head(const struct frag_table *t, uint32_t number)
{
	return &t->owner_heads[(number * UINT32_C(0x9e3779b1) >> 8) & t->mask];
}

/* 0: it has no datagrams. */
static uint32_t owner_find(const struct frag_table *t, uint32_t number)
{
	uint32_t i = *owner_head(t, number);

	while (i != 0 && t->owners[i].number != number)
		i = t->owners[i].hash_next;
	return i;
}

/* There are two free for each datagram that is. */
static uint32_t owner_find_or_add(struct frag_table *t, uint32_t number)
{
	uint32_t i = owner_find(t, number), *head;

	if (i != 0)
		return i;
	i = t->free_owner;
	t->free_owner = t->owners[i].hash_next;
	head = owner_head(t, number);
	t->owners[i] = (struct owner){.number = number, .hash_next = *head};
	*head = i;
	return i;
}

/* One datagram less. */
static void owner_leave(struct frag_table *t, uint32_t i)
{
	uint32_t *at = owner_head(t, t->owners[i].number);

	if (--t->owners[i].n_datagrams > 0)
		return;
	while (*at != i)
		at = &t->owners[*at].hash_next;
	*at = t->owners[i].hash_next;
	t->owners[i].hash_next = t->free_owner;
	t->free_owner = i;
}

static uint32_t share_of_source(const struct frag_table *t, const struct key *k)
{
	size_t len = ip_is_v4(&k->src) ? 16 : 8; /* one IPv6 subscriber owns a /64 */

	return SOURCE_OWNER |
	       (uint32_t)(crypto_siphash(t->conf.hash_key, k->src.bytes, len) % FRAG_SOURCE_SHARES);
}

/* --- datagrams ------------------------------------------------------------------------------ */

static struct key key_of(const struct frag_in *in)
{
	bool is_v4 = in->view->version == 4;

	return (struct key){
		.src = is_v4 ? ip_from_v4(in->ip + IPV4_SRC_AT) : ip_from_v6(in->ip + IPV6_SRC_AT),
		.dst = is_v4 ? ip_from_v4(in->ip + IPV4_DST_AT) : ip_from_v6(in->ip + IPV6_DST_AT),
		.id = in->fragment->id,
		.owner = in->owner,
		.proto = is_v4 ? in->view->proto : 0,
	};
}

static uint32_t *datagram_head(struct frag_table *t, const struct key *k)
{
	return &t->datagram_heads[crypto_siphash(t->conf.hash_key, k, sizeof(*k)) & t->mask];
}

/* Its held packets go to pkts. Returns how many. */
static unsigned take_held(struct frag_table *t, struct datagram *d, void **pkts)
{
	unsigned n = d->n_held;

	memcpy(pkts, d->held, n * sizeof(pkts[0]));
	d->n_held = 0;
	t->n_held -= n;
	t->owners[d->owner_idx].n_held -= n;
	return n;
}

/* It holds nothing any more. */
static void datagram_del(struct frag_table *t, uint32_t i)
{
	struct datagram *d = &t->datagrams[i];
	uint32_t *at = datagram_head(t, &d->key);

	while (*at != i)
		at = &t->datagrams[*at].hash_next;
	*at = d->hash_next;
	age_remove(t, i);
	if (d->state != KNOWN)
		spare_remove(t, i);
	owner_leave(t, d->owner_idx);
	if (d->target_idx != 0)
		owner_leave(t, d->target_idx);
	d->hash_next = t->free_datagram;
	t->free_datagram = i;
	t->n_datagrams--;
}

/* The datagram can not be whole any more; what is held of it is dropped. */
static enum frag_verdict datagram_lose(
	struct frag_table *t, uint32_t i, enum frag_verdict verdict, struct frag_out *out)
{
	struct datagram *d = &t->datagrams[i];

	if (d->state == ORPHAN)
		spare_remove(t, i);
	spare_append(t, t->lost, i);
	d->state = LOST;
	d->lost_by = (uint8_t)verdict;
	out->n_dropped = take_held(t, d, out->dropped);
	return verdict;
}

static void evict(struct frag_table *t, uint32_t i, struct frag_out *out)
{
	out->n_dropped = take_held(t, &t->datagrams[i], out->dropped);
	datagram_del(t, i);
}

/* The oldest orphan goes, which holds at least one packet, unless that is the one to keep. False:
 * there is no other. */
static bool evict_orphan(struct frag_table *t, uint32_t keep, struct frag_out *out)
{
	uint32_t i = t->datagrams[ORPHANS].spare.next;

	if (i == ORPHANS || i == keep)
		return false;
	evict(t, i, out);
	return true;
}

/* For one more datagram. False: there is none. */
static bool make_room(struct frag_table *t, bool is_orphan, struct frag_out *out)
{
	uint32_t lost = t->datagrams[t->lost].spare.next;

	if (is_orphan && t->n_held >= t->conf.held_pkts)
		return evict_orphan(t, 0, out);
	if (t->free_datagram != 0 && !(is_orphan && t->n_spare >= t->conf.n_datagrams / 4))
		return true;
	if (lost != t->lost)
		evict(t, lost, out);
	else if (is_orphan && t->n_spare >= t->conf.n_datagrams / 4)
		return evict_orphan(t, 0, out);
	else
		evict(t, t->datagrams[0].age.next, out);
	return true;
}

/* False: it has its share already. */
static bool target_has_room(const struct frag_table *t, uint32_t number)
{
	uint32_t i = number != FRAG_TARGET_NONE ? owner_find(t, number) : 0;

	return i == 0 || t->owners[i].n_datagrams < t->conf.target_datagrams;
}

static void target_join(struct frag_table *t, struct datagram *d, uint32_t number)
{
	if (number == FRAG_TARGET_NONE || d->target_idx != 0)
		return;
	d->target_idx = owner_find_or_add(t, number);
	t->owners[d->target_idx].n_datagrams++;
}

/* Returns its number; 0: *verdict says why there is no place. */
static uint32_t datagram_add(struct frag_table *t, const struct key *k, const struct frag_in *in,
	enum frag_verdict *verdict, struct frag_out *out)
{
	uint32_t number = in->owner == FRAG_OWNER_NONE ? share_of_source(t, k) : in->owner;
	uint32_t owner = owner_find(t, number), i, *head;
	bool is_orphan = !in->fragment->is_first;

	*verdict = FRAG_QUOTA;
	if (owner != 0 &&
		(t->owners[owner].n_datagrams >= t->conf.owner_datagrams ||
			(is_orphan && t->owners[owner].n_held >= t->conf.owner_held_pkts)))
		return 0;
	if (!target_has_room(t, in->target))
		return 0;
	*verdict = FRAG_FULL;
	if (!make_room(t, is_orphan, out))
		return 0;

	owner = owner_find_or_add(t, number);
	t->owners[owner].n_datagrams++;
	i = t->free_datagram;
	t->free_datagram = t->datagrams[i].hash_next;
	head = datagram_head(t, k);
	t->datagrams[i] = (struct datagram){
		.key = *k,
		.hash_next = *head,
		.owner_idx = owner,
		.new_id = in->new_id,
	};
	*head = i;
	age_append(t, i);
	spare_append(t, ORPHANS, i);
	t->n_datagrams++;
	return i;
}

static uint32_t datagram_find(struct frag_table *t, const struct key *k)
{
	uint32_t i = *datagram_head(t, k);

	while (i != 0 && memcmp(&t->datagrams[i].key, k, sizeof(*k)) != 0)
		i = t->datagrams[i].hash_next;
	return i;
}

/* --- a fragment ----------------------------------------------------------------------------- */

/* Note its bytes. HELD: noted, and nothing said yet of where it goes. */
static enum frag_verdict note_bytes(struct datagram *d, const struct nat_fragment *f)
{
	uint16_t end = (uint16_t)(f->offset_bytes + f->len_bytes);
	uint16_t last = frag_ranges_end(&d->ranges);

	switch (frag_ranges_add(&d->ranges, f->offset_bytes, end)) {
	case FRAG_RANGES_ADDED:
		break;
	case FRAG_RANGES_REPEATED:
		return FRAG_DUPLICATE;
	case FRAG_RANGES_FULL:
		return FRAG_TOO_MANY_PIECES;
	default:
		return FRAG_OVERLAP;
	}
	/* A datagram has one end, and nothing behind it. */
	if ((d->has_last && (f->is_last || end > last)) || (f->is_last && last > end))
		return FRAG_OVERLAP;
	d->has_last |= f->is_last;
	return FRAG_HELD;
}

static void learn(struct frag_table *t, uint32_t i, const struct nat_view *v, struct frag_out *out)
{
	struct datagram *d = &t->datagrams[i];

	d->state = KNOWN;
	d->proto = v->proto;
	d->icmp_type = v->icmp_type;
	d->has_l4 = v->has_l4;
	d->src_port = v->src_port;
	d->dst_port = v->dst_port;
	spare_remove(t, i);
	out->n_released = take_held(t, d, out->released);
}

static enum frag_verdict hold(struct frag_table *t, uint32_t i, void *pkt, struct frag_out *out)
{
	struct datagram *d = &t->datagrams[i];
	struct owner *o = &t->owners[d->owner_idx];

	if (d->n_held >= t->conf.datagram_held_pkts)
		return datagram_lose(t, i, FRAG_TOO_MANY_PIECES, out);
	if (o->n_held >= t->conf.owner_held_pkts)
		return datagram_lose(t, i, FRAG_QUOTA, out);
	if (t->n_held >= t->conf.held_pkts && !evict_orphan(t, i, out))
		return datagram_lose(t, i, FRAG_FULL, out);
	d->held[d->n_held++] = pkt;
	o->n_held++;
	t->n_held++;
	return FRAG_HELD;
}

enum frag_verdict frag_input(
	struct frag_table *t, const struct frag_in *in, uint64_t now_ns, struct frag_out *out)
{
	const struct nat_fragment *f = in->fragment;
	struct key k = key_of(in);
	uint32_t i = datagram_find(t, &k);
	enum frag_verdict verdict;
	struct datagram *d;

	*out = (struct frag_out){.n_released = 0};
	if (i == 0) {
		i = datagram_add(t, &k, in, &verdict, out);
		if (i == 0)
			return verdict;
		t->datagrams[i].deadline_ns = now_ns + t->conf.timeout_ns;
	}
	d = &t->datagrams[i];
	if (d->state == LOST)
		return d->lost_by;
	verdict = note_bytes(d, f);
	if (verdict == FRAG_DUPLICATE)
		return verdict;
	if (verdict != FRAG_HELD)
		return datagram_lose(t, i, verdict, out);
	if (d->target_idx == 0 && !target_has_room(t, in->target))
		return datagram_lose(t, i, FRAG_QUOTA, out);
	target_join(t, d, in->target);

	if (f->is_first)
		learn(t, i, in->view, out);
	else if (d->state == ORPHAN)
		return hold(t, i, in->pkt, out);
	out->proto = d->proto;
	out->icmp_type = d->icmp_type;
	out->has_l4 = d->has_l4;
	out->src_port = d->src_port;
	out->dst_port = d->dst_port;
	out->new_id = d->new_id;
	if (d->has_last && frag_ranges_has_no_gap(&d->ranges))
		datagram_del(t, i);
	return FRAG_PASS;
}

unsigned frag_expire(struct frag_table *t, uint64_t now_ns, void **pkts, unsigned max)
{
	unsigned n = 0;
	uint32_t i;

	for (unsigned looked = 0; looked < max; looked++) {
		i = t->datagrams[0].age.next;
		if (i == 0 || t->datagrams[i].deadline_ns > now_ns ||
			t->datagrams[i].n_held > max - n)
			break;
		n += take_held(t, &t->datagrams[i], pkts + n);
		datagram_del(t, i);
	}
	return n;
}
