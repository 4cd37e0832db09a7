/* wgmsg_test.c - classification of each type at each length, and the layouts. */
#include "wgmsg/wgmsg.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_right_len(enum wgmsg_type type, size_t len)
{
	switch (type) {
	case WGMSG_INITIATION:
		return len == 148;
	case WGMSG_RESPONSE:
		return len == 92;
	case WGMSG_COOKIE_REPLY:
		return len == 64;
	case WGMSG_DATA:
		return len >= 32;
	default:
		return false;
	}
}

/* The message lies at the end of its memory, so that a sanitizer sees a read behind it. */
static enum wgmsg_type classify(uint32_t type_le, size_t len)
{
	uint8_t *msg = malloc(len > 0 ? len : 1);
	uint8_t type[4] = {(uint8_t)type_le, (uint8_t)(type_le >> 8), (uint8_t)(type_le >> 16),
		(uint8_t)(type_le >> 24)};
	enum wgmsg_type result;

	assert_non_null(msg);
	memset(msg, 0x5a, len);
	memcpy(msg, type, len < 4 ? len : 4);
	result = wgmsg_classify(msg, len);
	free(msg);
	return result;
}

static void each_type_at_each_length(void **state)
{
	(void)state;
	for (uint32_t type = 0; type <= 255; type++)
		for (size_t len = 0; len <= 320; len++) {
			enum wgmsg_type want = is_right_len((enum wgmsg_type)type, len)
						       ? (enum wgmsg_type)type
						       : WGMSG_INVALID;

			assert_int_equal(classify(type, len), want);
		}
	assert_int_equal(wgmsg_classify(NULL, 0), WGMSG_INVALID);
	assert_int_equal(classify(WGMSG_DATA, 65507), WGMSG_DATA);
}

static void reserved_bytes_must_be_zero(void **state)
{
	static const size_t lens[] = {0, 148, 92, 64, 32};

	(void)state;
	for (uint32_t type = WGMSG_INITIATION; type <= WGMSG_DATA; type++) {
		assert_int_equal(classify(type, lens[type]), type);
		for (unsigned bit = 8; bit < 32; bit++)
			assert_int_equal(classify(type | 1u << bit, lens[type]), WGMSG_INVALID);
	}
}

/* The paper's figures: offset of each field. */
static void fields_are_where_the_paper_puts_them(void **state)
{
	(void)state;
	assert_int_equal(offsetof(struct wgmsg_initiation, sender_idx_le32), 4);
	assert_int_equal(offsetof(struct wgmsg_initiation, ephemeral), 8);
	assert_int_equal(offsetof(struct wgmsg_initiation, static_sealed), 40);
	assert_int_equal(offsetof(struct wgmsg_initiation, timestamp_sealed), 88);
	assert_int_equal(offsetof(struct wgmsg_initiation, mac1), 116);
	assert_int_equal(offsetof(struct wgmsg_initiation, mac2), 132);
	assert_int_equal(offsetof(struct wgmsg_response, sender_idx_le32), 4);
	assert_int_equal(offsetof(struct wgmsg_response, receiver_idx_le32), 8);
	assert_int_equal(offsetof(struct wgmsg_response, ephemeral), 12);
	assert_int_equal(offsetof(struct wgmsg_response, empty_sealed), 44);
	assert_int_equal(offsetof(struct wgmsg_response, mac1), 60);
	assert_int_equal(offsetof(struct wgmsg_response, mac2), 76);
	assert_int_equal(offsetof(struct wgmsg_cookie_reply, receiver_idx_le32), 4);
	assert_int_equal(offsetof(struct wgmsg_cookie_reply, nonce), 8);
	assert_int_equal(offsetof(struct wgmsg_cookie_reply, cookie_sealed), 32);
	assert_int_equal(offsetof(struct wgmsg_data, receiver_idx_le32), 4);
	assert_int_equal(offsetof(struct wgmsg_data, counter_le64), 8);
	assert_int_equal(_Alignof(struct wgmsg_initiation), 1);
}

static void plaintext_is_padded_to_16(void **state)
{
	(void)state;
	assert_int_equal(wgmsg_padded_len(0), 0);
	for (uint32_t len = 1; len < 70000; len++) {
		uint32_t padded = wgmsg_padded_len(len);

		assert_true(padded % 16 == 0 && padded >= len && padded - len < 16);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_type_at_each_length),
		cmocka_unit_test(reserved_bytes_must_be_zero),
		cmocka_unit_test(fields_are_where_the_paper_puts_them),
		cmocka_unit_test(plaintext_is_padded_to_16),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
