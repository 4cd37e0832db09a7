/* noise_test.c - the handshake in both roles: known answers, damage, replay, order.
 */
#include "noise_parties.h"

#include "../vectors/noise_vectors.h"

static enum noise_verdict respond(
	struct party *p, uint32_t idx, struct wgmsg_response *msg, struct noise_keypair *kp)
{
	return noise_response_create(&p->remote, idx, key_of(2000 + idx), msg, kp);
}

static void assert_keypairs_match(const struct noise_keypair *i, const struct noise_keypair *r)
{
	assert_memory_equal(i->send_key, r->recv_key, CRYPTO_KEY_BYTES);
	assert_memory_equal(i->recv_key, r->send_key, CRYPTO_KEY_BYTES);
	assert_memory_not_equal(i->send_key, i->recv_key, CRYPTO_KEY_BYTES);
	assert_int_equal(i->local_idx, r->remote_idx);
	assert_int_equal(i->remote_idx, r->local_idx);
	assert_true(i->is_initiator && !r->is_initiator && i->is_live && r->is_live);
	assert_true(i->send_counter == 0 && r->send_counter == 0);
	assert_memory_equal(&i->replay, zero, sizeof(uint64_t));
}

/* Nothing of a handshake is left once it is over. */
static void assert_no_handshake(const struct noise_remote *remote)
{
	assert_int_equal(remote->state, NOISE_IDLE);
	assert_memory_equal(remote->hash, zero, sizeof(remote->hash));
	assert_memory_equal(remote->chaining_key, zero, sizeof(remote->chaining_key));
	assert_memory_equal(remote->ephemeral_private, zero, sizeof(remote->ephemeral_private));
	assert_memory_equal(remote->remote_ephemeral, zero, sizeof(remote->remote_ephemeral));
	assert_true(remote->local_idx == 0 && remote->remote_idx == 0);
}

static void known_answers_in_both_roles(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(noise_vectors); i++) {
		const struct noise_vector *v = &noise_vectors[i];
		uint8_t a_key[32], b_key[32], ephemeral[32], psk[32], stamp[NOISE_TIMESTAMP_BYTES];
		struct wgmsg_initiation initiation;
		struct wgmsg_response response;
		struct noise_keypair a_kp, b_kp;
		struct noise_hello hello;
		struct party a, b;

		unhex(v->initiator, a_key);
		unhex(v->responder, b_key);
		unhex(v->psk, psk);
		unhex(v->timestamp, stamp);
		assert_int_equal(noise_local_init(&a.local, a_key), 0);
		assert_int_equal(noise_local_init(&b.local, b_key), 0);
		assert_hex(a.local.public_key, v->initiator_public);
		assert_hex(b.local.public_key, v->responder_public);
		noise_remote_init(&a.remote, &a.local, b.local.public_key, i == 0 ? NULL : psk);
		noise_remote_init(&b.remote, &b.local, a.local.public_key, psk);

		unhex(v->initiator_ephemeral, ephemeral);
		assert_int_equal(noise_initiation_create(&a.remote, &a.local, v->initiator_idx,
					 ephemeral, stamp, &initiation),
			NOISE_OK);
		assert_hex(&initiation, v->initiation);
		assert_int_equal(a.remote.state, NOISE_INITIATION_SENT);

		unhex(v->initiation, (uint8_t *)&initiation);
		assert_int_equal(noise_initiation_open(&b.local, &initiation, &hello), NOISE_OK);
		assert_hex(hello.public_key, v->initiator_public);
		assert_int_equal(noise_initiation_accept(&b.remote, &hello), NOISE_OK);
		assert_int_equal(b.remote.state, NOISE_INITIATION_RECEIVED);
		assert_memory_equal(b.remote.last_timestamp, stamp, sizeof(stamp));
		unhex(v->responder_ephemeral, ephemeral);
		memset(&b_kp, 0xa5, sizeof(b_kp));
		assert_int_equal(noise_response_create(
					 &b.remote, v->responder_idx, ephemeral, &response, &b_kp),
			NOISE_OK);
		assert_hex(&response, v->response);
		assert_hex(b_kp.recv_key, v->to_responder);
		assert_hex(b_kp.send_key, v->to_initiator);
		assert_int_equal(b_kp.peer_idx, 0xa5a5a5a5);
		assert_no_handshake(&b.remote);

		unhex(v->response, (uint8_t *)&response);
		memset(&a_kp, 0xa5, sizeof(a_kp));
		assert_int_equal(
			noise_response_open(&a.remote, &a.local, &response, &a_kp), NOISE_OK);
		assert_keypairs_match(&a_kp, &b_kp);
		assert_int_equal(a_kp.local_idx, v->initiator_idx);
		assert_no_handshake(&a.remote);
		parties_fini(&a, &b);
	}
}

/* The sender index is covered by MAC1 only; a change of it is seen in the result, nowhere else. */
static bool is_field(size_t at, size_t offset, size_t size)
{
	return at >= offset && at < offset + size;
}
#define IS_IN(type, field, at) is_field(at, offsetof(type, field), sizeof(((type *)0)->field))

static void every_bit_of_an_initiation_counts(void **state)
{
	struct noise_remote before;
	struct wgmsg_initiation msg, bad;
	struct party a, b, twin;

	(void)state;
	parties_init(&a, &b, key_of(3));
	assert_int_equal(initiate(&a, 7, 1, &msg), NOISE_OK);
	memcpy(&before, &b.remote, sizeof(before));
	for (size_t at = 0; at < offsetof(struct wgmsg_initiation, mac1); at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(&bad, &msg, sizeof(bad));
			((uint8_t *)&bad)[at] ^= (uint8_t)(1u << bit);
			if (IS_IN(struct wgmsg_initiation, type_le32, at)) {
				assert_int_not_equal(wgmsg_classify((uint8_t *)&bad, sizeof(bad)),
					WGMSG_INITIATION);
			} else if (IS_IN(struct wgmsg_initiation, sender_idx_le32, at)) {
				memcpy(&twin, &b, sizeof(twin));
				assert_int_equal(receive(&twin, &bad), NOISE_OK);
				assert_int_equal(
					twin.remote.remote_idx, 7u ^ 1u << (8 * (at - 4) + bit));
			} else {
				assert_int_equal(receive(&b, &bad), NOISE_REJECT);
			}
			assert_memory_equal(&b.remote, &before, sizeof(before));
		}
	assert_int_equal(receive(&b, &msg), NOISE_OK);
	parties_fini(&a, &b);
}

static void every_bit_of_a_response_counts(void **state)
{
	struct noise_remote before;
	struct noise_keypair kp, untouched, b_kp;
	struct wgmsg_initiation initiation;
	struct wgmsg_response msg, bad;
	struct party a, b, twin;

	(void)state;
	parties_init(&a, &b, key_of(3));
	assert_int_equal(initiate(&a, 7, 1, &initiation), NOISE_OK);
	assert_int_equal(receive(&b, &initiation), NOISE_OK);
	assert_int_equal(respond(&b, 9, &msg, &b_kp), NOISE_OK);
	memcpy(&before, &a.remote, sizeof(before));
	memset(&untouched, 0xa5, sizeof(untouched));
	memset(&kp, 0xa5, sizeof(kp));
	for (size_t at = 0; at < offsetof(struct wgmsg_response, mac1); at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(&bad, &msg, sizeof(bad));
			((uint8_t *)&bad)[at] ^= (uint8_t)(1u << bit);
			if (IS_IN(struct wgmsg_response, type_le32, at)) {
				assert_int_not_equal(wgmsg_classify((uint8_t *)&bad, sizeof(bad)),
					WGMSG_RESPONSE);
			} else if (IS_IN(struct wgmsg_response, sender_idx_le32, at)) {
				memcpy(&twin, &a, sizeof(twin));
				assert_int_equal(
					noise_response_open(&twin.remote, &twin.local, &bad, &kp),
					NOISE_OK);
				assert_int_equal(kp.remote_idx, 9u ^ 1u << (8 * (at - 4) + bit));
				memset(&kp, 0xa5, sizeof(kp));
			} else {
				assert_int_equal(
					noise_response_open(&a.remote, &a.local, &bad, &kp),
					NOISE_REJECT);
			}
			assert_memory_equal(&a.remote, &before, sizeof(before));
			assert_memory_equal(&kp, &untouched, sizeof(kp));
		}
	assert_int_equal(noise_response_open(&a.remote, &a.local, &msg, &kp), NOISE_OK);
	assert_keypairs_match(&kp, &b_kp);
	parties_fini(&a, &b);
}

static void no_other_length_is_a_handshake(void **state)
{
	uint8_t buf[512] = {0};
	struct wgmsg_initiation initiation;
	struct wgmsg_response response;
	struct noise_keypair kp;
	struct party a, b;

	(void)state;
	parties_init(&a, &b, NULL);
	assert_int_equal(initiate(&a, 7, 1, &initiation), NOISE_OK);
	assert_int_equal(receive(&b, &initiation), NOISE_OK);
	assert_int_equal(respond(&b, 9, &response, &kp), NOISE_OK);
	for (size_t len = 0; len < sizeof(buf); len++) {
		memcpy(buf, &initiation, sizeof(initiation));
		assert_true((wgmsg_classify(buf, len) == WGMSG_INITIATION) == (len == 148));
		memcpy(buf, &response, sizeof(response));
		assert_true((wgmsg_classify(buf, len) == WGMSG_RESPONSE) == (len == 92));
	}
	parties_fini(&a, &b);
}

static void old_timestamps_are_refused(void **state)
{
	static const struct {
		uint32_t stamp;
		enum noise_verdict verdict;
	} steps[] = {{100, NOISE_OK}, {100, NOISE_REJECT}, {99, NOISE_REJECT}, {101, NOISE_OK},
		{100, NOISE_REJECT}, {0, NOISE_REJECT}, {400, NOISE_OK}, {300, NOISE_REJECT}};
	struct wgmsg_initiation msg, first;
	struct noise_remote before;
	struct party a, b;

	(void)state;
	parties_init(&a, &b, NULL);
	for (uint32_t i = 0; i < N_OF(steps); i++) {
		assert_int_equal(initiate(&a, i, steps[i].stamp, &msg), NOISE_OK);
		memcpy(&before, &b.remote, sizeof(before));
		assert_int_equal(receive(&b, &msg), steps[i].verdict);
		if (i == 0)
			memcpy(&first, &msg, sizeof(first));
		if (steps[i].verdict == NOISE_REJECT)
			assert_memory_equal(&b.remote, &before, sizeof(before));
	}
	/* Forgetting the handshake does not forget the time. */
	noise_remote_reset(&b.remote);
	assert_no_handshake(&b.remote);
	memcpy(&before, &b.remote, sizeof(before));
	assert_int_equal(receive(&b, &first), NOISE_REJECT);
	assert_int_equal(receive(&b, &msg), NOISE_REJECT);
	assert_memory_equal(&b.remote, &before, sizeof(before));
	parties_fini(&a, &b);
}

static void responses_need_their_initiation(void **state)
{
	struct wgmsg_initiation initiation;
	struct wgmsg_response first, second, bad;
	struct noise_keypair kp, b_kp;
	struct noise_remote before;
	struct party a, b;

	(void)state;
	parties_init(&a, &b, NULL);
	/* Nothing was received, so nothing can be answered; nothing was sent, so no answer fits. */
	memcpy(&before, &b.remote, sizeof(before));
	assert_int_equal(respond(&b, 9, &first, &b_kp), NOISE_REJECT);
	memset(&first, 0, sizeof(first));
	assert_int_equal(noise_response_open(&b.remote, &b.local, &first, &kp), NOISE_REJECT);
	assert_memory_equal(&b.remote, &before, sizeof(before));

	assert_int_equal(initiate(&a, 7, 1, &initiation), NOISE_OK);
	assert_int_equal(respond(&a, 9, &first, &b_kp), NOISE_REJECT);
	assert_int_equal(receive(&b, &initiation), NOISE_OK);
	assert_int_equal(respond(&b, 9, &first, &b_kp), NOISE_OK);
	assert_int_equal(respond(&b, 10, &second, &b_kp), NOISE_REJECT);

	/* A second initiation takes the place of the first. */
	assert_int_equal(initiate(&a, 8, 2, &initiation), NOISE_OK);
	memcpy(&before, &a.remote, sizeof(before));
	assert_int_equal(noise_response_open(&a.remote, &a.local, &first, &kp), NOISE_REJECT);
	assert_int_equal(receive(&b, &initiation), NOISE_OK);
	assert_int_equal(respond(&b, 11, &second, &b_kp), NOISE_OK);
	memcpy(&bad, &second, sizeof(bad));
	store_le32(bad.receiver_idx_le32, 7);
	assert_int_equal(noise_response_open(&a.remote, &a.local, &bad, &kp), NOISE_REJECT);
	assert_memory_equal(&a.remote, &before, sizeof(before));
	assert_int_equal(noise_response_open(&a.remote, &a.local, &second, &kp), NOISE_OK);
	assert_keypairs_match(&kp, &b_kp);
	assert_int_equal(noise_response_open(&a.remote, &a.local, &second, &kp), NOISE_REJECT);
	assert_no_handshake(&a.remote);
	parties_fini(&a, &b);
}

/* Both begin at once: each drops its own and answers the other's, neither answer fits, and the next
 * attempt (which jitter lets one of them make first) succeeds. */
static void initiations_may_cross(void **state)
{
	struct wgmsg_initiation from_a, from_b;
	struct wgmsg_response by_a, by_b;
	struct noise_keypair a_kp, b_kp, kp;
	struct party a, b;

	(void)state;
	parties_init(&a, &b, NULL);
	assert_int_equal(initiate(&a, 7, 1, &from_a), NOISE_OK);
	assert_int_equal(initiate(&b, 8, 1, &from_b), NOISE_OK);
	assert_int_equal(receive(&a, &from_b), NOISE_OK);
	assert_int_equal(receive(&b, &from_a), NOISE_OK);
	assert_memory_equal(a.remote.ephemeral_private, zero, CRYPTO_KEY_BYTES);
	assert_int_equal(respond(&a, 17, &by_a, &a_kp), NOISE_OK);
	assert_int_equal(respond(&b, 18, &by_b, &b_kp), NOISE_OK);
	assert_int_equal(noise_response_open(&a.remote, &a.local, &by_b, &kp), NOISE_REJECT);
	assert_int_equal(noise_response_open(&b.remote, &b.local, &by_a, &kp), NOISE_REJECT);
	assert_no_handshake(&a.remote);
	assert_no_handshake(&b.remote);

	/* A late one crosses with a begun one: the begun one gives way. */
	assert_int_equal(initiate(&a, 27, 2, &from_a), NOISE_OK);
	assert_int_equal(initiate(&b, 28, 2, &from_b), NOISE_OK);
	assert_int_equal(receive(&b, &from_a), NOISE_OK);
	assert_int_equal(respond(&b, 38, &by_b, &b_kp), NOISE_OK);
	assert_int_equal(noise_response_open(&a.remote, &a.local, &by_b, &a_kp), NOISE_OK);
	assert_keypairs_match(&a_kp, &b_kp);
	parties_fini(&a, &b);
}

static void preshared_keys_must_agree(void **state)
{
	struct wgmsg_initiation initiation;
	struct wgmsg_response response;
	struct noise_keypair kp, b_kp;
	struct noise_remote before;
	struct party a, b;

	(void)state;
	parties_init(&a, &b, NULL);
	noise_remote_set_preshared_key(&b.remote, key_of(5));
	assert_int_equal(initiate(&a, 7, 1, &initiation), NOISE_OK);
	assert_int_equal(receive(&b, &initiation), NOISE_OK);
	assert_int_equal(respond(&b, 9, &response, &b_kp), NOISE_OK);
	memcpy(&before, &a.remote, sizeof(before));
	assert_int_equal(noise_response_open(&a.remote, &a.local, &response, &kp), NOISE_REJECT);
	assert_memory_equal(&a.remote, &before, sizeof(before));
	noise_remote_set_preshared_key(&a.remote, key_of(6));
	assert_int_equal(noise_response_open(&a.remote, &a.local, &response, &kp), NOISE_REJECT);
	noise_remote_set_preshared_key(&a.remote, key_of(5));
	assert_int_equal(noise_response_open(&a.remote, &a.local, &response, &kp), NOISE_OK);
	assert_keypairs_match(&kp, &b_kp);
	noise_remote_set_preshared_key(&a.remote, NULL);
	assert_memory_equal(a.remote.preshared_key, zero, CRYPTO_KEY_BYTES);
	parties_fini(&a, &b);
}

static void timestamps_are_tai64n(void **state)
{
	uint8_t stamp[NOISE_TIMESTAMP_BYTES], later[NOISE_TIMESTAMP_BYTES];

	(void)state;
	noise_timestamp_build(0, 0, stamp);
	assert_hex(stamp, "400000000000000a00000000");
	noise_timestamp_build(1700000000, 999999999, stamp);
	assert_hex(stamp, "400000006553f10a3b000000");
	noise_timestamp_build(1700000000, 0xffffff, later);
	assert_hex(later, "400000006553f10a00000000");
	noise_timestamp_build(1700000001, 0, later);
	assert_true(memcmp(later, stamp, sizeof(stamp)) > 0);
	noise_timestamp_build(UINT32_MAX + 1ULL, 0, later);
	assert_hex(later, "400000010000000a00000000");
}

/* --- a long conversation over a line that loses, repeats and reorders ----------------------------
 */

struct parcel {
	int to; /* which party */
	enum wgmsg_type type;
	struct wgmsg_initiation initiation;
	struct wgmsg_response response;
};

#define LINE_MAX 6
#define TURNS	 3000

struct talk {
	struct party party[2];
	struct parcel line[LINE_MAX];
	unsigned n;
	uint32_t next_idx;
	uint32_t stamp;
	uint64_t random;
	struct noise_keypair answered[TURNS + 1]; /* by local index of the responder */
	unsigned n_agreed;
};

static uint32_t draw(struct talk *t, uint32_t below)
{
	t->random = t->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((t->random >> 33) % below);
}

static void post(struct talk *t, const struct parcel *p)
{
	t->line[t->n < LINE_MAX ? t->n++ : draw(t, LINE_MAX)] = *p;
}

static void deliver(struct talk *t, const struct parcel *p)
{
	struct party *to = &t->party[p->to];
	struct parcel answer = {.to = !p->to, .type = WGMSG_RESPONSE};
	struct noise_remote before;
	struct noise_keypair kp;
	uint32_t idx = t->next_idx++;

	memcpy(&before, &to->remote, sizeof(before));
	if (p->type == WGMSG_INITIATION) {
		if (receive(to, &p->initiation) == NOISE_OK) {
			assert_int_equal(
				respond(to, idx, &answer.response, &t->answered[idx]), NOISE_OK);
			post(t, &answer);
			return;
		}
	} else if (noise_response_open(&to->remote, &to->local, &p->response, &kp) == NOISE_OK) {
		struct noise_keypair *theirs = &t->answered[kp.remote_idx];

		assert_keypairs_match(&kp, theirs);
		memset(theirs, 0, sizeof(*theirs)); /* no second agreement on the same keys */
		t->n_agreed++;
		return;
	}
	assert_memory_equal(&to->remote, &before, sizeof(before));
}

static void a_long_conversation(void **state)
{
	const char *seed = getenv("PORTIER_TEST_SEED");
	struct talk *t = calloc(1, sizeof(*t));

	(void)state;
	assert_non_null(t);
	if (seed != NULL)
		t->random = strtoull(seed, NULL, 0);
	else
		crypto_random(&t->random, sizeof(t->random));
	print_message("PORTIER_TEST_SEED=%llu\n", (unsigned long long)t->random);
	parties_init(&t->party[0], &t->party[1], key_of(3));
	while (t->next_idx < TURNS) {
		uint32_t dice = draw(t, 10);

		if (dice == 0 || t->n == 0) {
			struct parcel p = {.to = (int)draw(t, 2), .type = WGMSG_INITIATION};

			assert_int_equal(initiate(&t->party[!p.to], t->next_idx++, ++t->stamp,
						 &p.initiation),
				NOISE_OK);
			post(t, &p);
			continue;
		}
		uint32_t at = draw(t, t->n);
		struct parcel p = t->line[at];

		if (dice > 2) /* else it stays on the line, to arrive once more */
			t->line[at] = t->line[--t->n];
		if (dice < 9) /* else it is lost */
			deliver(t, &p);
	}
	assert_true(t->n_agreed > TURNS / 100);
	parties_fini(&t->party[0], &t->party[1]);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers_in_both_roles),
		cmocka_unit_test(every_bit_of_an_initiation_counts),
		cmocka_unit_test(every_bit_of_a_response_counts),
		cmocka_unit_test(no_other_length_is_a_handshake),
		cmocka_unit_test(old_timestamps_are_refused),
		cmocka_unit_test(responses_need_their_initiation),
		cmocka_unit_test(initiations_may_cross),
		cmocka_unit_test(preshared_keys_must_agree),
		cmocka_unit_test(timestamps_are_tai64n),
		cmocka_unit_test(a_long_conversation),
	};

	return cmocka_run_group_tests(tests, init_crypto, NULL);
}
