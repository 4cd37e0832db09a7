/* MACs and cookies against the paper, every byte of every message flipped; then the limiter. */
#include "cookie/cookie.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "../vectors/cookie_vectors.h"

#define S     NS_IN_S
#define EPOCH (1000 * S)

enum { MSG_MAX = sizeof(struct wgmsg_initiation) };

static uint8_t public_key[32], secret[32], nonce[24];
static struct ip_endpoint source_v4, source_v6;

static int init_all(void **state)
{
	(void)state;
	for (uint8_t i = 0; i < 32; i++) {
		public_key[i] = i;
		secret[i] = (uint8_t)(100 + i);
	}
	for (uint8_t i = 0; i < 24; i++)
		nonce[i] = (uint8_t)(200 + i);
	if (ip_endpoint_parse("192.0.2.7:51820", &source_v4) ||
		ip_endpoint_parse("[2001:db8:1:2:3:4:5:6]:443", &source_v6))
		return -1;
	return crypto_init();
}

static void assert_hex(const uint8_t *got, const char *want)
{
	for (size_t i = 0; i < strlen(want) / 2; i++) {
		unsigned byte;

		assert_int_equal(sscanf(want + 2 * i, "%2x", &byte), 1);
		assert_int_equal(got[i], byte);
	}
}

/* A message whose content means nothing here. */
static void fill(uint8_t *msg, size_t len)
{
	for (size_t i = 0; i < len; i++)
		msg[i] = (uint8_t)(7 * i + 3);
}

struct ends {
	struct cookie_checker checker;
	struct cookie_maker maker;
	struct wgmsg_cookie_reply reply;
	uint8_t msg[MSG_MAX];
	size_t len;
	const struct ip_endpoint *src;
	uint64_t now_ns;
};

static void ends_init(struct ends *e, size_t len, const struct ip_endpoint *src)
{
	memset(e, 0, sizeof(*e));
	cookie_checker_init(&e->checker, public_key);
	cookie_maker_init(&e->maker, public_key);
	e->len = len;
	e->src = src;
	e->now_ns = EPOCH;
}

static void compose(struct ends *e)
{
	fill(e->msg, e->len);
	cookie_macs_add(&e->maker, e->msg, e->len, e->now_ns);
}

static enum cookie_verdict check(struct ends *e, bool under_load)
{
	return cookie_check(&e->checker, e->msg, e->len, e->src, under_load, e->now_ns);
}

static void answer(struct ends *e)
{
	cookie_reply_build(
		&e->checker, e->msg, e->len, e->src, secret, nonce, e->now_ns, &e->reply);
}

/* Message, reply, message: the sender has shown that it receives at its address. */
static void exchange(struct ends *e)
{
	compose(e);
	assert_int_equal(check(e, true), COOKIE_MAC1_OK);
	answer(e);
	assert_true(cookie_reply_open(&e->maker, &e->reply, e->now_ns));
	compose(e);
	assert_int_equal(check(e, true), COOKIE_MAC2_OK);
}

static void test_vectors(void **state)
{
	(void)state;
	static const struct {
		size_t len;
		const struct ip_endpoint *src;
		const char *mac1, *cookie, *mac2, *sealed;
	} v[] = {
		{148, &source_v4, V4_MAC1, V4_COOKIE, V4_MAC2, V4_SEALED},
		{92, &source_v6, V6_MAC1, V6_COOKIE, V6_MAC2, V6_SEALED},
	};

	for (size_t i = 0; i < 2; i++) {
		static const uint8_t zero[16];
		struct ends e;

		ends_init(&e, v[i].len, v[i].src);
		compose(&e);
		assert_hex(e.msg + e.len - 32, v[i].mac1);
		assert_memory_equal(e.msg + e.len - 16, zero, 16);
		answer(&e);
		assert_int_equal(load_le32(e.reply.type_le32), WGMSG_COOKIE_REPLY);
		assert_memory_equal(e.reply.receiver_idx_le32, e.msg + 4, 4);
		assert_memory_equal(e.reply.nonce, nonce, sizeof(nonce));
		assert_hex(e.reply.cookie_sealed, v[i].sealed);
		assert_true(cookie_reply_open(&e.maker, &e.reply, e.now_ns));
		assert_hex(e.maker.cookie, v[i].cookie);
		compose(&e);
		assert_hex(e.msg + e.len - 32, v[i].mac1);
		assert_hex(e.msg + e.len - 16, v[i].mac2);
	}
}

static void test_verdicts(void **state)
{
	(void)state;
	struct ends e;

	ends_init(&e, 148, &source_v4);
	compose(&e);
	assert_int_equal(check(&e, false), COOKIE_MAC1_OK);
	assert_int_equal(check(&e, true), COOKIE_MAC1_OK);
	exchange(&e);
	assert_int_equal(check(&e, false), COOKIE_MAC1_OK); /* MAC2 is not looked at */

	/* Meant for another key. */
	e.checker.mac1_key[0] ^= 1;
	assert_int_equal(check(&e, true), COOKIE_INVALID);
	/* Too short to hold MACs. */
	ends_init(&e, 31, &source_v4);
	assert_int_equal(check(&e, true), COOKIE_INVALID);
	/* Before the first cookie reply there is no secret: a MAC2 under the zero secret is none.
	 */
	ends_init(&e, 148, &source_v4);
	e.now_ns = S;
	memset(secret, 0, sizeof(secret));
	exchange(&e);
	cookie_checker_init(&e.checker, public_key);
	assert_int_equal(check(&e, true), COOKIE_MAC1_OK);
	init_all(NULL);
}

static void test_every_bit_of_a_message(void **state)
{
	(void)state;
	static const size_t lens[] = {
		sizeof(struct wgmsg_initiation), sizeof(struct wgmsg_response)};

	for (size_t i = 0; i < 2; i++) {
		struct ends e;

		ends_init(&e, lens[i], &source_v6);
		exchange(&e);
		for (size_t bit = 0; bit < 8 * e.len; bit++) {
			struct cookie_checker before = e.checker;

			e.msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(check(&e, true),
				bit / 8 < e.len - 16 ? COOKIE_INVALID : COOKIE_MAC1_OK);
			e.msg[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_memory_equal(&e.checker, &before, sizeof(before));
		}
		assert_int_equal(check(&e, true), COOKIE_MAC2_OK);
	}
}

static void test_address_and_port_bind_the_cookie(void **state)
{
	(void)state;
	const struct ip_endpoint *sources[] = {&source_v4, &source_v6};

	for (size_t i = 0; i < 2; i++) {
		struct ip_endpoint other;
		struct ends e;

		ends_init(&e, 148, sources[i]);
		exchange(&e);
		e.src = &other;
		for (unsigned bit = 0; bit < 128; bit++) {
			other = *sources[i];
			other.addr.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(check(&e, true), COOKIE_MAC1_OK);
		}
		for (unsigned bit = 0; bit < 16; bit++) {
			other = *sources[i];
			other.port ^= (uint16_t)(1 << bit);
			assert_int_equal(check(&e, true), COOKIE_MAC1_OK);
		}
		other = *sources[i];
		assert_int_equal(check(&e, true), COOKIE_MAC2_OK);
	}
}

static void test_every_bit_of_a_reply(void **state)
{
	(void)state;
	struct ends e;

	ends_init(&e, 148, &source_v4);
	compose(&e);
	answer(&e);
	/* Type and receiver index are judged by whom they lead here: only nonce and seal count. */
	for (size_t bit = 8 * offsetof(struct wgmsg_cookie_reply, nonce); bit < 8 * sizeof(e.reply);
		bit++) {
		struct cookie_maker before = e.maker;
		uint8_t *byte = (uint8_t *)&e.reply + bit / 8;

		*byte ^= (uint8_t)(1 << bit % 8);
		assert_false(cookie_reply_open(&e.maker, &e.reply, e.now_ns));
		*byte ^= (uint8_t)(1 << bit % 8);
		assert_memory_equal(&e.maker, &before, sizeof(before));
	}
	assert_true(cookie_reply_open(&e.maker, &e.reply, e.now_ns));
}

static void test_reply_answers_our_last_message_once(void **state)
{
	(void)state;
	struct cookie_maker before;
	struct ends e;

	ends_init(&e, 148, &source_v4);
	compose(&e);
	answer(&e);
	/* We have sent another message since. */
	e.msg[8] ^= 1;
	cookie_macs_add(&e.maker, e.msg, e.len, e.now_ns);
	before = e.maker;
	assert_false(cookie_reply_open(&e.maker, &e.reply, e.now_ns));
	assert_memory_equal(&e.maker, &before, sizeof(before));
	answer(&e);
	assert_true(cookie_reply_open(&e.maker, &e.reply, e.now_ns));
	/* A replay would make the cookie look younger than it is. */
	before = e.maker;
	assert_false(cookie_reply_open(&e.maker, &e.reply, e.now_ns + 60 * S));
	assert_memory_equal(&e.maker, &before, sizeof(before));
	/* Nothing sent at all. */
	cookie_maker_init(&e.maker, public_key);
	assert_false(cookie_reply_open(&e.maker, &e.reply, e.now_ns));
	/* From someone with another key. */
	cookie_macs_add(&e.maker, e.msg, e.len, e.now_ns);
	e.maker.cookie_key[31] ^= 1;
	assert_false(cookie_reply_open(&e.maker, &e.reply, e.now_ns));
}

static void test_secret_and_cookie_expire(void **state)
{
	(void)state;
	static const uint8_t zero[32];
	uint8_t first[32];
	struct ends e;

	ends_init(&e, 148, &source_v4);
	exchange(&e);
	memcpy(first, e.checker.secret, sizeof(first));

	/* The sender stops 5 s before the end. */
	e.now_ns = EPOCH + 115 * S - 1;
	compose(&e);
	assert_int_equal(check(&e, true), COOKIE_MAC2_OK);
	e.now_ns = EPOCH + 120 * S - 1;
	assert_int_equal(check(&e, true), COOKIE_MAC2_OK);
	e.now_ns = EPOCH + 115 * S;
	compose(&e);
	assert_memory_equal(e.msg + e.len - 16, zero, 16);
	assert_memory_equal(e.maker.cookie, zero, sizeof(e.maker.cookie));
	assert_int_equal(check(&e, true), COOKIE_MAC1_OK);

	/* A reply that comes before the change keeps the secret, one after it takes the new one. */
	secret[0] ^= 1;
	e.now_ns = EPOCH + 120 * S - 1;
	compose(&e);
	answer(&e);
	assert_memory_equal(e.checker.secret, first, sizeof(first));
	assert_true(cookie_reply_open(&e.maker, &e.reply, e.now_ns));
	compose(&e);
	assert_int_equal(check(&e, true), COOKIE_MAC2_OK);
	e.now_ns++;
	compose(&e);
	assert_int_equal(check(&e, true), COOKIE_MAC1_OK); /* ends with its secret */
	answer(&e);
	assert_memory_equal(e.checker.secret, secret, sizeof(secret));
	assert_true(cookie_reply_open(&e.maker, &e.reply, e.now_ns));
	compose(&e);
	assert_int_equal(check(&e, true), COOKIE_MAC2_OK);
	/* The old cookie is worth nothing under the new secret, at any time. */
	memcpy(e.checker.secret, first, sizeof(first));
	assert_int_equal(check(&e, true), COOKIE_MAC1_OK);
	init_all(NULL);

	/* Time jumps. */
	ends_init(&e, 148, &source_v4);
	exchange(&e);
	e.now_ns += 86400 * S;
	assert_int_equal(check(&e, true), COOKIE_MAC1_OK);
	exchange(&e);
}

static void test_fini_wipes(void **state)
{
	(void)state;
	static const uint8_t zero[sizeof(struct cookie_checker) + sizeof(struct cookie_maker)];
	struct ends e;

	ends_init(&e, 148, &source_v4);
	exchange(&e);
	cookie_checker_fini(&e.checker);
	cookie_maker_fini(&e.maker);
	assert_memory_equal(&e.checker, zero, sizeof(e.checker));
	assert_memory_equal(&e.maker, zero, sizeof(e.maker));
}

/* --- the limiter ------------------------------------------------------------------------------ */

static const uint8_t hash_key[CRYPTO_SIPHASH_KEY_BYTES] = {1, 2, 3};

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

static unsigned count_allowed(
	struct cookie_limiter *l, const char *src, unsigned n_tries, uint64_t now_ns)
{
	struct ip_addr a = addr(src);
	unsigned n = 0;

	for (unsigned i = 0; i < n_tries; i++)
		n += cookie_limiter_allow(l, &a, now_ns);
	return n;
}

static void test_limiter_rate(void **state)
{
	(void)state;
	struct cookie_limiter *l = cookie_limiter_create(1024, hash_key);
	struct ip_addr a = addr("192.0.2.1");
	unsigned n = 0;

	assert_non_null(l);
	assert_int_equal(count_allowed(l, "192.0.2.1", 100, EPOCH), 5);
	assert_int_equal(count_allowed(l, "192.0.2.1", 100, EPOCH + 50 * NS_IN_MS - 1), 0);
	assert_int_equal(count_allowed(l, "192.0.2.1", 100, EPOCH + 50 * NS_IN_MS), 1);
	assert_int_equal(count_allowed(l, "192.0.2.1", 100, EPOCH + 200 * NS_IN_MS), 3);
	assert_int_equal(
		count_allowed(l, "192.0.2.1", 100, EPOCH + 100 * S), 5); /* burst is a cap */
	/* A thousand tries a second, for ten seconds. */
	for (unsigned ms = 0; ms < 10000; ms++)
		n += cookie_limiter_allow(l, &a, EPOCH + 200 * S + ms * NS_IN_MS);
	assert_int_equal(n, 5 + 199);
	/* A neighbour is not touched by it, nor the other way round. */
	assert_int_equal(count_allowed(l, "192.0.2.2", 100, EPOCH + 210 * S - NS_IN_MS), 5);
	cookie_limiter_destroy(l);
	cookie_limiter_destroy(NULL);
}

static void test_limiter_counts_ipv6_by_64(void **state)
{
	(void)state;
	struct cookie_limiter *l = cookie_limiter_create(1024, hash_key);

	assert_non_null(l);
	assert_int_equal(count_allowed(l, "2001:db8::1", 3, EPOCH), 3);
	assert_int_equal(count_allowed(l, "2001:db8::ffff:ffff:ffff:ffff", 3, EPOCH), 2);
	assert_int_equal(count_allowed(l, "2001:db8:0:1::1", 6, EPOCH), 5);
	assert_int_equal(count_allowed(l, "2001:db8:0:0:8000::", 1, EPOCH), 0);
	/* Every bit of an IPv4 address counts, though it sits in the lower half. */
	assert_int_equal(count_allowed(l, "192.0.2.1", 6, EPOCH), 5);
	assert_int_equal(count_allowed(l, "192.0.2.3", 6, EPOCH), 5);
	assert_int_equal(count_allowed(l, "::", 6, EPOCH), 5);
	assert_int_equal(count_allowed(l, "::1", 6, EPOCH), 0);
	cookie_limiter_destroy(l);
}

static void test_limiter_full(void **state)
{
	(void)state;
	struct cookie_limiter *l = cookie_limiter_create(4, hash_key);

	assert_non_null(l);
	assert_int_equal(count_allowed(l, "10.0.0.1", 1, EPOCH), 1);
	assert_int_equal(count_allowed(l, "10.0.0.2", 2, EPOCH), 2);
	assert_int_equal(count_allowed(l, "10.0.0.3", 3, EPOCH), 3);
	assert_int_equal(count_allowed(l, "10.0.0.4", 4, EPOCH), 4);
	assert_int_equal(count_allowed(l, "10.0.0.5", 9, EPOCH), 0);
	/* Who is in keeps being served. */
	assert_int_equal(count_allowed(l, "10.0.0.2", 9, EPOCH), 3);
	/* .1 is full of tokens again after 50 ms: its place is taken over. */
	assert_int_equal(count_allowed(l, "10.0.0.5", 9, EPOCH + 50 * NS_IN_MS - 1), 0);
	assert_int_equal(count_allowed(l, "10.0.0.5", 9, EPOCH + 50 * NS_IN_MS), 5);
	assert_int_equal(count_allowed(l, "10.0.0.1", 9, EPOCH + 50 * NS_IN_MS), 0);
	/* .2 kept what it owes. */
	assert_int_equal(count_allowed(l, "10.0.0.2", 9, EPOCH + 50 * NS_IN_MS), 1);
	assert_int_equal(count_allowed(l, "10.0.0.1", 9, EPOCH + S), 5);
	cookie_limiter_destroy(l);
}

/* A flood from far more sources than places: what passes is bounded by the places, each of which is
 * free again after 50 ms. */
static void test_limiter_flooded(void **state)
{
	(void)state;
	struct cookie_limiter *l = cookie_limiter_create(100, hash_key); /* 128 places */
	struct ip_addr a = addr("10.0.0.0");
	unsigned n_allowed = 0;

	assert_non_null(l);
	for (uint32_t i = 0; i < 60000; i++) {
		store_be32(a.bytes + 12, 0x0a000000 + i);
		n_allowed += cookie_limiter_allow(l, &a, EPOCH + i * (NS_IN_S / 60000));
	}
	assert_in_range(n_allowed, 128 * 19, 128 * 20);
	cookie_limiter_destroy(l);
}

static void test_limiter_create(void **state)
{
	(void)state;
	static const uint32_t sizes[] = {1, 2, 3, 5, 7, 8, 9, 1000};

	assert_null(cookie_limiter_create(0, hash_key));
	assert_null(cookie_limiter_create(UINT32_MAX, hash_key));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct cookie_limiter *l = cookie_limiter_create(sizes[i], hash_key);
		struct ip_addr a = addr("192.0.2.0");

		assert_non_null(l);
		for (uint32_t n = 0; n < 5000; n++) {
			store_be32(a.bytes + 12, n);
			cookie_limiter_allow(l, &a, EPOCH); /* within its memory: ASan looks */
		}
		cookie_limiter_destroy(l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_every_bit_of_a_message),
		cmocka_unit_test(test_address_and_port_bind_the_cookie),
		cmocka_unit_test(test_every_bit_of_a_reply),
		cmocka_unit_test(test_reply_answers_our_last_message_once),
		cmocka_unit_test(test_secret_and_cookie_expire),
		cmocka_unit_test(test_fini_wipes),
		cmocka_unit_test(test_limiter_rate),
		cmocka_unit_test(test_limiter_counts_ipv6_by_64),
		cmocka_unit_test(test_limiter_full),
		cmocka_unit_test(test_limiter_flooded),
		cmocka_unit_test(test_limiter_create),
	};

	return cmocka_run_group_tests_name("cookie", tests, init_all, NULL);
}
