/* portmap_natpmp_test.c - NAT-PMP messages byte by byte: RFC 6886, figures of sections 3.2 to 3.5.
 */
#include "portmap/portmap.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const uint8_t map_tcp[] = {0, 2, 0, 0, 0x1f, 0x90, 0x9c, 0x40, 0, 0, 0x0e, 0x10};

/* The message lies at the end of its memory, so that a sanitizer sees a read behind it. */
static uint8_t *exact(const void *msg, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, msg, len);
	return copy;
}

static void what_is_a_request(void **state)
{
	for (unsigned version = 0; version < 256; version++)
		for (unsigned op = 0; op < 256; op++) {
			const uint8_t msg[] = {(uint8_t)version, (uint8_t)op};
			enum portmap_kind want = version == 0	? PORTMAP_NATPMP
						 : version == 2 ? PORTMAP_PCP
								: PORTMAP_OTHER_VERSION;

			if (op >= 128)
				want = PORTMAP_NO_REQUEST;
			assert_int_equal(portmap_classify(msg, 2), want);
			assert_int_equal(portmap_classify(msg, 1), PORTMAP_NO_REQUEST);
		}
	assert_int_equal(portmap_classify(NULL, 0), PORTMAP_NO_REQUEST);
}

static void requests_are_read(void **state)
{
	const uint8_t address[] = {0, 0};
	struct portmap_natpmp_request r;

	portmap_natpmp_parse(address, sizeof(address), &r);
	assert_int_equal(r.op, PORTMAP_NATPMP_ADDRESS);
	assert_true(r.is_whole);

	portmap_natpmp_parse(map_tcp, sizeof(map_tcp), &r);
	assert_int_equal(r.op, PORTMAP_NATPMP_TCP);
	assert_true(r.is_whole);
	assert_int_equal(r.inner_port, 8080);
	assert_int_equal(r.suggested_port, 40000);
	assert_int_equal(r.lifetime_s, 3600);
}

static void reserved_bytes_and_a_longer_message_are_nothing(void **state)
{
	uint8_t msg[40];
	struct portmap_natpmp_request r;

	memset(msg, 0xff, sizeof(msg));
	memcpy(msg, map_tcp, sizeof(map_tcp));
	msg[2] = msg[3] = 0xff;
	portmap_natpmp_parse(msg, sizeof(msg), &r);
	assert_true(r.is_whole);
	assert_int_equal(r.inner_port, 8080);
	assert_int_equal(r.lifetime_s, 3600);
}

static void cut_short_at_each_length(void **state)
{
	for (size_t len = 2; len < sizeof(map_tcp); len++) {
		uint8_t *msg = exact(map_tcp, len);
		struct portmap_natpmp_request r;

		portmap_natpmp_parse(msg, len, &r);
		assert_false(r.is_whole);
		assert_int_equal(r.op, PORTMAP_NATPMP_TCP);
		assert_int_equal(r.inner_port, len >= 6 ? 8080 : len == 5 ? 0x1f00 : 0);
		assert_int_equal(r.suggested_port, len >= 8 ? 40000 : len == 7 ? 0x9c00 : 0);
		free(msg);
	}
}

/* Each byte is in one field, and in that alone. */
static void each_byte_has_its_place(void **state)
{
	for (size_t i = 0; i < sizeof(map_tcp); i++) {
		struct portmap_natpmp_request r, plain;
		uint8_t msg[sizeof(map_tcp)];

		memcpy(msg, map_tcp, sizeof(msg));
		msg[i] ^= 0x10;
		portmap_natpmp_parse(map_tcp, sizeof(map_tcp), &plain);
		portmap_natpmp_parse(msg, sizeof(msg), &r);
		assert_int_equal(r.op != plain.op, i == 1);
		if (i == 1)
			continue; /* not a mapping any more */
		assert_int_equal(r.inner_port != plain.inner_port, i == 4 || i == 5);
		assert_int_equal(r.suggested_port != plain.suggested_port, i == 6 || i == 7);
		assert_int_equal(r.lifetime_s != plain.lifetime_s, i >= 8);
	}
}

static void check_answer(
	const struct portmap_natpmp_answer *a, const uint8_t *want, size_t want_len)
{
	uint8_t out[PORTMAP_MSG_BYTES];

	memset(out, 0xee, sizeof(out));
	assert_int_equal(portmap_natpmp_build(a, out), want_len);
	assert_memory_equal(out, want, want_len);
}

static void answers_are_written(void **state)
{
	static const uint8_t address[] = {0, 128, 0, 0, 0x01, 0x02, 0x03, 0x04, 198, 51, 100, 7};
	static const uint8_t tcp[] = {
		0, 130, 0, 0, 0x01, 0x02, 0x03, 0x04, 0x1f, 0x90, 0x9c, 0x40, 0, 0, 0x0e, 0x10};
	static const uint8_t no_address[] = {0, 128, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0};
	static const uint8_t full[] = {0, 129, 0, 4, 0, 0, 0, 9, 0, 80, 0, 0, 0, 0, 0, 0};
	static const uint8_t unknown[] = {0, 255, 0, 5, 0, 0, 0, 9};
	const uint8_t v4[] = {198, 51, 100, 7};

	check_answer(&(struct portmap_natpmp_answer){.op = PORTMAP_NATPMP_ADDRESS,
			     .epoch_s = 0x01020304,
			     .public_addr = ip_from_v4(v4)},
		address, sizeof(address));
	check_answer(&(struct portmap_natpmp_answer){.op = PORTMAP_NATPMP_TCP,
			     .epoch_s = 0x01020304,
			     .inner_port = 8080,
			     .public_port = 40000,
			     .lifetime_s = 3600},
		tcp, sizeof(tcp));
	/* Refusals have the full size. */
	check_answer(&(struct portmap_natpmp_answer){.op = PORTMAP_NATPMP_ADDRESS,
			     .result = PORTMAP_NATPMP_NETWORK_FAILURE,
			     .epoch_s = 9},
		no_address, sizeof(no_address));
	check_answer(&(struct portmap_natpmp_answer){.op = PORTMAP_NATPMP_UDP,
			     .result = PORTMAP_NATPMP_NO_RESOURCES,
			     .epoch_s = 9,
			     .inner_port = 80},
		full, sizeof(full));
	check_answer(
		&(struct portmap_natpmp_answer){
			.op = 127, .result = PORTMAP_NATPMP_UNSUPP_OPCODE, .epoch_s = 9},
		unknown, sizeof(unknown));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_a_request),
		cmocka_unit_test(requests_are_read),
		cmocka_unit_test(reserved_bytes_and_a_longer_message_are_nothing),
		cmocka_unit_test(cut_short_at_each_length),
		cmocka_unit_test(each_byte_has_its_place),
		cmocka_unit_test(answers_are_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
