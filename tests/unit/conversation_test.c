/* Two WireGuard ends talk for simulated hours over a link that loses, repeats, delays and corrupts,
 * while they restart, roam, sleep and come under load. One clock, one seed.
 *
 * Always: an inner packet is accepted at most once and as it was sent; no counter is used twice
 * under one key; no keypair leaks. After trouble stops, within SETTLE_NS: every packet arrives.
 */
#include "conversation_party.h"

#define S	  NS_IN_S
#define MS	  NS_IN_MS
#define N_FLIGHT  4096
#define N_MEMORY  64 /* packets that the attacker has recorded */
#define SETTLE_NS (45 * S)
/* Even a healthy pair may need a few rounds of 5 s: cookies to both ends, crossing initiations. */
#define DELIVERY_NS (30 * S)

enum link_kind { LINK_CLEAN, LINK_LOSSY, LINK_DEAD, LINK_ONE_WAY, N_LINK_KINDS };

struct phase {
	enum link_kind link;
	uint64_t start_ns, end_ns;
	unsigned loss_percent, dup_percent, flip_percent, replay_percent;
	uint64_t latency_ns, spread_ns;
	uint64_t gap_ns[2]; /* mean time between bursts of each party's data; 0: silent */
	unsigned n_completed;
};

/* One inner packet; its id is its place in the list, from 1. */
struct inner {
	uint64_t sent_ns;
	bool is_accepted;
	bool is_excused; /* may be lost without fault: see inner_sealed() */
	uint8_t from;
};

struct key_use {
	uint8_t key[CRYPTO_KEY_BYTES];
	uint64_t next_counter;
};

static uint64_t rng_state;
static struct party parties[2];
static uint8_t private_keys[2][CRYPTO_KEY_BYTES], public_keys[2][CRYPTO_KEY_BYTES];
static uint8_t preshared_key[CRYPTO_KEY_BYTES];
static uint64_t persistent_ns[2];
static struct phase phase;
static struct packet flight[N_FLIGHT], memory[N_MEMORY];
static unsigned n_flight, n_memory;
static struct inner *inners;
static uint64_t n_inners, inners_max;
static struct key_use *key_uses;
static unsigned n_key_uses, key_uses_max;
static uint64_t next_send_ns[2];
static unsigned n_delivered_late;
static uint64_t restarted_ns[2];   /* last time */
static uint64_t stale_since_ns[2]; /* first data after the far end forgot the key; 0: none */

static uint64_t rng_next(void)
{
	uint64_t z = rng_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static uint64_t rng_below(uint64_t n)
{
	return n ? rng_next() % n : 0;
}

static bool rng_percent(unsigned percent)
{
	return rng_next() % 100 < percent;
}

/* --- inner packets ---------------------------------------------------------------------------- */

static size_t inner_fill(uint64_t id, uint8_t *bytes)
{
	size_t len = 16 + 16 * (id * 7 % 8);

	for (size_t i = 0; i < len; i += 8)
		store_le64(bytes + i, id * 0x9e3779b97f4a7c15ULL + i);
	store_le64(bytes, id);
	return len;
}

static void inner_sealed(const struct party *from, uint64_t id, const struct noise_keypair *kp)
{
	struct inner *inner = &inners[id - 1];
	uint64_t *stale_ns = &stale_since_ns[from->number];

	/* The key is about to end, and may do so under way. */
	if (now_ns + 2 * S >= kp->created_ns + T->reject_after_ns)
		inner->is_excused = true;
	/* The far end has restarted, and nobody can know before an answer stays out. (10 s: a
	 * response that it sent before may complete a handshake after.) */
	if (kp->created_ns <= restarted_ns[1 - from->number] + 10 * S) {
		if (*stale_ns == 0)
			*stale_ns = now_ns;
		if (now_ns < *stale_ns + SETTLE_NS)
			inner->is_excused = true;
	}
}

static void inner_arrived(const struct party *to, const uint8_t *bytes, size_t len)
{
	uint64_t id = load_le64(bytes);
	uint8_t expected[INNER_MAX];
	struct inner *inner;

	assert_in_range(id, 1, n_inners);
	assert_int_equal(inner_fill(id, expected), len);
	assert_memory_equal(bytes, expected, len);
	inner = &inners[id - 1];
	assert_int_not_equal(inner->from, to->number);
	assert_false(inner->is_accepted);
	inner->is_accepted = true;
	n_delivered_late += now_ns - inner->sent_ns > S;
}

static void counter_used(const struct noise_keypair *kp, uint64_t counter)
{
	/* Keys in use are among the newest. */
	for (unsigned i = n_key_uses; i-- > 0;) {
		if (memcmp(key_uses[i].key, kp->send_key, CRYPTO_KEY_BYTES) == 0) {
			assert_true(counter == key_uses[i].next_counter++);
			return;
		}
	}
	if (n_key_uses == key_uses_max) {
		key_uses_max = 2 * key_uses_max + 64;
		key_uses = realloc(key_uses, key_uses_max * sizeof(*key_uses));
		assert_non_null(key_uses);
	}
	assert_true(counter == 0);
	memcpy(key_uses[n_key_uses].key, kp->send_key, CRYPTO_KEY_BYTES);
	key_uses[n_key_uses++].next_counter = 1;
}

static void send_burst(struct party *p)
{
	for (uint64_t n = 1 + rng_below(4); n > 0; n--) {
		if (n_inners == inners_max) {
			inners_max = 2 * inners_max + 1024;
			inners = realloc(inners, inners_max * sizeof(*inners));
			assert_non_null(inners);
		}
		inners[n_inners++] = (struct inner){.sent_ns = now_ns, .from = (uint8_t)p->number};
		party_send(p, n_inners);
	}
}

/* --- the link --------------------------------------------------------------------------------- */

static void link_put(const struct packet *pkt, uint64_t delay_ns)
{
	if (n_flight == N_FLIGHT)
		return;
	flight[n_flight] = *pkt;
	flight[n_flight++].due_ns = now_ns + delay_ns;
}

static uint64_t draw_delay(void)
{
	return phase.latency_ns + rng_below(phase.spread_ns);
}

static void link_send(const struct party *from, const void *bytes, size_t len)
{
	struct packet pkt = {.src = from->endpoint, .to = 1 - from->number, .len = len};

	memcpy(pkt.bytes, bytes, len);
	if (n_memory < N_MEMORY)
		memory[n_memory++] = pkt;
	else if (rng_percent(10))
		memory[rng_below(N_MEMORY)] = pkt;

	if (phase.link == LINK_DEAD || (phase.link == LINK_ONE_WAY && from->number == 0))
		return;
	if (rng_percent(phase.dup_percent))
		link_put(&pkt, draw_delay() + rng_below(5 * S));
	if (n_memory && rng_percent(phase.replay_percent))
		link_put(&memory[rng_below(n_memory)], draw_delay());
	if (rng_percent(phase.flip_percent)) {
		struct packet bad = pkt;

		bad.bytes[rng_below(len)] ^= (uint8_t)(1 << rng_below(8));
		bad.is_corrupted = true;
		link_put(&bad, draw_delay());
	}
	if (!rng_percent(phase.loss_percent))
		link_put(&pkt, draw_delay());
}

static unsigned earliest_in_flight(void)
{
	unsigned best = 0;

	for (unsigned i = 1; i < n_flight; i++) {
		if (flight[i].due_ns < flight[best].due_ns)
			best = i;
	}
	return best;
}

/* --- the run ---------------------------------------------------------------------------------- */

static uint64_t next_event_ns(void)
{
	uint64_t at_ns = phase.end_ns;

	if (n_flight && flight[earliest_in_flight()].due_ns < at_ns)
		at_ns = flight[earliest_in_flight()].due_ns;
	for (unsigned i = 0; i < 2; i++) {
		if (party_deadline_ns(&parties[i]) < at_ns)
			at_ns = party_deadline_ns(&parties[i]);
		if (next_send_ns[i] < at_ns)
			at_ns = next_send_ns[i];
	}
	return at_ns > now_ns ? at_ns : now_ns;
}

static void run_phase(void)
{
	unsigned n_stuck = 0;

	while (now_ns < phase.end_ns) {
		uint64_t at_ns = next_event_ns();

		/* A deadline that does not move is a busy loop. */
		n_stuck = at_ns == now_ns ? n_stuck + 1 : 0;
		assert_true(n_stuck < 10000);
		now_ns = at_ns;
		while (n_flight) {
			unsigned i = earliest_in_flight();
			struct packet pkt = flight[i];

			if (pkt.due_ns > now_ns)
				break;
			flight[i] = flight[--n_flight];
			party_receive(&parties[pkt.to], &pkt);
		}
		for (unsigned i = 0; i < 2; i++) {
			party_tick(&parties[i]);
			if (next_send_ns[i] > now_ns)
				continue;
			send_burst(&parties[i]);
			next_send_ns[i] = now_ns + 1 + rng_below(2 * phase.gap_ns[i]);
		}
	}
}

static void restart(unsigned i)
{
	restarted_ns[i] = now_ns;
	stale_since_ns[1 - i] = 0;
	party_stop(&parties[i]);
	party_start(&parties[i], i, private_keys[i], public_keys[1 - i], preshared_key,
		persistent_ns[i]);
}

static void begin_phase(enum link_kind link, uint64_t duration_ns)
{
	static const uint64_t gaps_ns[] = {0, 100 * MS, 700 * MS, 9 * S, 40 * S, 150 * S};

	phase = (struct phase){
		.link = link,
		.start_ns = now_ns,
		.end_ns = now_ns + duration_ns,
		.latency_ns = MS + rng_below(150 * MS),
		.spread_ns = MS,
		.n_completed = parties[0].tally.n_completed + parties[1].tally.n_completed,
	};
	if (link != LINK_CLEAN) {
		phase.loss_percent = (unsigned)rng_below(80);
		phase.dup_percent = (unsigned)rng_below(20);
		phase.flip_percent = (unsigned)rng_below(10);
		phase.replay_percent = (unsigned)rng_below(10);
		phase.spread_ns = rng_below(3 * S);
	}
	for (unsigned i = 0; i < 2; i++) {
		phase.gap_ns[i] = gaps_ns[rng_below(6)];
		next_send_ns[i] =
			phase.gap_ns[i] ? now_ns + rng_below(2 * phase.gap_ns[i]) : TIME_NEVER;
		parties[i].under_load = rng_percent(25);
		if (rng_percent(15))
			parties[i].endpoint.port = (uint16_t)(1024 + rng_below(60000));
		if (rng_percent(20))
			restart(i);
	}
}

/* Trouble is over since phase.start_ns: what was sent later than SETTLE_NS has arrived by now. */
static void assert_progress(void)
{
	uint64_t from_ns = phase.start_ns + SETTLE_NS;
	unsigned n_completed = parties[0].tally.n_completed + parties[1].tally.n_completed;

	for (uint64_t id = n_inners; id > 0 && inners[id - 1].sent_ns >= from_ns; id--) {
		const struct inner *inner = &inners[id - 1];

		if (inner->sent_ns + DELIVERY_NS > now_ns || inner->is_excused)
			continue;
		if (!inner->is_accepted)
			fail_msg("packet %" PRIu64 " of party %u, sent %.3f s after the trouble, "
				 "is lost",
				id, inner->from, (double)(inner->sent_ns - phase.start_ns) / 1e9);
	}
	/* One handshake per 120 s, and what settling takes: neither end storms. */
	assert_true(n_completed - phase.n_completed <= (now_ns - phase.start_ns) / (115 * S) + 8);
}

static void converse(uint64_t duration_ns)
{
	uint64_t until_ns = now_ns + duration_ns;

	while (now_ns < until_ns) {
		enum link_kind link = rng_below(N_LINK_KINDS);
		uint64_t length_ns = 20 * S + rng_below(600 * S);

		begin_phase(
			link, link == LINK_CLEAN ? SETTLE_NS + DELIVERY_NS + length_ns : length_ns);
		run_phase();
		if (link == LINK_CLEAN)
			assert_progress();
		/* The machine sleeps, with packets under way and timers armed. */
		if (rng_percent(5))
			now_ns += rng_below(3600 * S);
	}
}

static void conversation_init(uint64_t seed)
{
	rng_state = seed;
	now_ns = 1000 * S;
	n_flight = n_memory = n_key_uses = n_delivered_late = 0;
	n_inners = 0;
	memset(restarted_ns, 0, sizeof(restarted_ns));
	memset(stale_since_ns, 0, sizeof(stale_since_ns));
	memset(parties, 0, sizeof(parties));
	random_key(preshared_key);
	for (unsigned i = 0; i < 2; i++) {
		struct noise_local local;

		random_key(private_keys[i]);
		assert_int_equal(noise_local_init(&local, private_keys[i]), 0);
		memcpy(public_keys[i], local.public_key, CRYPTO_KEY_BYTES);
		noise_local_fini(&local);
		persistent_ns[i] = rng_percent(30) ? 25 * S : 0;
	}
	assert_int_equal(ip_endpoint_parse("192.0.2.1:51820", &parties[0].endpoint), 0);
	assert_int_equal(ip_endpoint_parse("[2001:db8::2]:51820", &parties[1].endpoint), 0);
	for (unsigned i = 0; i < 2; i++)
		party_start(&parties[i], i, private_keys[i], public_keys[1 - i], preshared_key,
			persistent_ns[i]);
}

static void conversation_fini(void)
{
	party_stop(&parties[0]);
	party_stop(&parties[1]);
	free(inners);
	free(key_uses);
	inners = NULL;
	key_uses = NULL;
	inners_max = 0;
	key_uses_max = 0;
}

/* Everything that can happen did happen: otherwise the run has shown nothing. */
static void assert_eventful(const struct tally *sum)
{
	uint64_t n_accepted = 0;

	for (uint64_t i = 0; i < n_inners; i++)
		n_accepted += inners[i].is_accepted;
	print_message("  %" PRIu64 " sent, %" PRIu64 " accepted, %u late; %u initiations, "
		      "%u completed, %u confirmed, %u given up; %u cookies sent, %u kept, %u good; "
		      "%u replays, %u expired, %u keepalives, %u keys\n",
		n_inners, n_accepted, n_delivered_late, sum->n_initiations, sum->n_completed,
		sum->n_confirmed, sum->n_given_up, sum->n_cookies_sent, sum->n_cookies_kept,
		sum->n_mac2_ok, sum->n_replays, sum->n_expired, sum->n_keepalives, n_key_uses);
	assert_true(n_accepted > 1000 && n_accepted < n_inners);
	assert_true(sum->n_completed > 20 && sum->n_confirmed > 20);
	assert_true(sum->n_cookies_kept > 0 && sum->n_mac2_ok > 0);
	assert_true(sum->n_replays > 0 && sum->n_keepalives > 0);
}

static void add_tally(struct tally *sum, const struct tally *t)
{
	sum->n_initiations += t->n_initiations;
	sum->n_completed += t->n_completed;
	sum->n_confirmed += t->n_confirmed;
	sum->n_given_up += t->n_given_up;
	sum->n_cookies_sent += t->n_cookies_sent;
	sum->n_cookies_kept += t->n_cookies_kept;
	sum->n_mac2_ok += t->n_mac2_ok;
	sum->n_replays += t->n_replays;
	sum->n_expired += t->n_expired;
	sum->n_keepalives += t->n_keepalives;
}

static void test_conversations(void **state)
{
	(void)state;
	const char *text = getenv("PORTIER_TEST_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : 20240613;

	/* Each of the conversations can be repeated alone by giving its seed. */
	for (unsigned i = 0; i < 4; i++, seed++) {
		struct tally sum = {0};

		print_message("seed %" PRIu64 "\n", seed);
		conversation_init(seed);
		converse(6 * 3600 * S);
		add_tally(&sum, &parties[0].tally);
		add_tally(&sum, &parties[1].tally);
		assert_eventful(&sum);
		conversation_fini();
	}
}

/* --- single scenes ---------------------------------------------------------------------------- */

static void scene_init(uint64_t latency_ns)
{
	conversation_init(1);
	for (unsigned i = 0; i < 2; i++) {
		restart(i); /* no persistent keepalive */
		noise_session_set_persistent_keepalive(&parties[i].session, 0, now_ns);
		next_send_ns[i] = TIME_NEVER;
	}
	phase = (struct phase){.latency_ns = latency_ns};
}

/* Let time pass with these mean gaps between bursts of data; 0: silent. */
static void scene_run(uint64_t duration_ns, uint64_t gap0_ns, uint64_t gap1_ns)
{
	phase.end_ns = now_ns + duration_ns;
	phase.gap_ns[0] = gap0_ns;
	phase.gap_ns[1] = gap1_ns;
	for (unsigned i = 0; i < 2; i++)
		next_send_ns[i] = phase.gap_ns[i] ? now_ns : TIME_NEVER;
	run_phase();
}

static unsigned n_lost(uint64_t from_ns, uint64_t until_ns)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < n_inners; i++) {
		if (inners[i].sent_ns >= from_ns && inners[i].sent_ns < until_ns)
			n += !inners[i].is_accepted;
	}
	return n;
}

/* Two hours of data in both directions, then in one: rekeying loses nothing and delays nothing,
 * and happens as often as it must. */
static void test_rekeying_is_not_seen(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 3; way++) {
		unsigned n_keys;

		scene_init(40 * MS);
		scene_run(S, 10 * S, 0);
		n_keys = parties[0].tally.n_completed + parties[1].tally.n_completed;
		assert_int_equal(n_keys, 1);
		scene_run(7200 * S, way != 1 ? 50 * MS : 0, way != 0 ? 50 * MS : 0);
		scene_run(S, 0, 0);
		assert_int_equal(n_lost(0, TIME_NEVER), 0);
		assert_int_equal(n_delivered_late, 0);
		n_keys = parties[0].tally.n_completed + parties[1].tally.n_completed;
		/* Who only receives notices with his next keepalive, up to 10 s later. */
		assert_in_range(n_keys, way == 1 ? 55 : 59, 61);
		assert_int_equal(parties[1].tally.n_initiations, 0);
		conversation_fini();
	}
}

static void test_silent_end_restarts(void **state)
{
	(void)state;
	for (unsigned who = 0; who < 2; who++) {
		uint64_t at_ns;

		scene_init(40 * MS);
		scene_run(5 * S, 10 * S, 0);
		restart(who);
		at_ns = now_ns;
		scene_run(60 * S, who == 1 ? 100 * MS : 0, who == 0 ? 100 * MS : 0);
		/* keepalive + rekey_timeout after the first unanswered packet, one round trip. */
		assert_int_equal(n_lost(at_ns + 15 * S + 80 * MS, now_ns - S), 0);
		assert_true(n_lost(at_ns, at_ns + 14 * S) > 0);
		conversation_fini();
	}
}

/* Both begin in the same instant, refuse each other's response, and wait for a confirmation that
 * nobody sends; one packet each, never followed by another. */
static void test_crossing_beginnings(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		scene_init(100 * MS);
		rng_state += i * UINT64_C(0x632be59bd9b4e019);
		scene_run(1, 1000 * S, 1000 * S);
		scene_run(60 * S, 0, 0);
		assert_true(n_inners >= 2);
		assert_int_equal(n_lost(0, TIME_NEVER), 0);
		assert_true(n_delivered_late > 0);
		conversation_fini();
	}
}

static void test_both_under_load(void **state)
{
	(void)state;
	scene_init(40 * MS);
	parties[0].under_load = parties[1].under_load = true;
	scene_run(1, 1000 * S, 0);
	/* Initiation and cookie, initiation and response and cookie, initiation and response. */
	scene_run(10 * S, 0, 0);
	assert_int_equal(n_lost(0, TIME_NEVER), n_inners);
	scene_run(2 * S, 0, 0);
	assert_int_equal(n_lost(0, TIME_NEVER), 0);
	assert_int_equal(parties[0].tally.n_cookies_kept, 1);
	assert_int_equal(parties[1].tally.n_cookies_kept, 1);
	/* An hour of it: a cookie that ends costs a round, no data. */
	scene_run(3600 * S, 200 * MS, 200 * MS);
	scene_run(S, 0, 0);
	assert_int_equal(n_lost(0, TIME_NEVER), 0);
	conversation_fini();
}

/* Nobody answers: the series ends, what is held goes, and in the end nothing ticks any more. */
static void test_nobody_there(void **state)
{
	(void)state;
	scene_init(40 * MS);
	scene_run(5 * S, 10 * S, 0);
	phase.link = LINK_DEAD;
	scene_run(400 * S, 20 * S, 0);
	scene_run(200 * S, 0, 0);
	assert_true(parties[0].tally.n_given_up > 0);
	assert_int_equal(parties[0].n_held, 0);
	scene_run(600 * S, 0, 0);
	assert_true(party_deadline_ns(&parties[0]) == TIME_NEVER);
	assert_true(party_deadline_ns(&parties[1]) == TIME_NEVER);
	phase.link = LINK_CLEAN;
	scene_run(S, 10 * S, 0);
	assert_int_equal(n_lost(now_ns - S, TIME_NEVER), 0);
	conversation_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rekeying_is_not_seen),
		cmocka_unit_test(test_silent_end_restarts),
		cmocka_unit_test(test_crossing_beginnings),
		cmocka_unit_test(test_both_under_load),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_conversations),
	};

	if (crypto_init() != 0)
		return 1;
	return cmocka_run_group_tests_name("conversation", tests, NULL, NULL);
}
