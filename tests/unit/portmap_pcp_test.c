/* portmap_pcp_test.c - PCP messages byte by byte: RFC 6887, sections 7, 8, 11, 13 and 14. */
#include "portmap/portmap.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define MAP_MSG_BYTES 60

/* MAP, 7200 s, client 100.64.0.2; UDP 6881, suggested 198.51.100.7:40001. */
static const uint8_t map_udp[MAP_MSG_BYTES] = {2, 1, 0, 0, 0, 0, 0x1c, 0x20, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0xff, 0xff, 100, 64, 0, 2, /* header */
	'n', 'o', 'n', 'c', 'e', '-', '1', '2', 'b', 'y', 't', 'e', 17, 0, 0, 0, 0x1a, 0xe1, 0x9c,
	0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 7};

static struct ip_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return ip_from_v4((const uint8_t[]){a, b, c, d});
}

/* The message lies at the end of its memory, so that a sanitizer sees a read behind it. */
static struct portmap_pcp_request parse(const void *msg, size_t len)
{
	struct portmap_pcp_request r;
	uint8_t *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, msg, len);
	portmap_pcp_parse(copy, len, &r);
	free(copy);
	return r;
}

/* A message under construction: map_udp, then options. */
struct message {
	size_t len;
	uint8_t bytes[2000];
};

static struct message begin(void)
{
	struct message m = {.len = sizeof(map_udp)};

	memcpy(m.bytes, map_udp, sizeof(map_udp));
	return m;
}

static void put_option(struct message *m, uint8_t code, const void *data, uint16_t len)
{
	uint8_t *at = m->bytes + m->len;

	at[0] = code;
	at[2] = (uint8_t)(len >> 8);
	at[3] = (uint8_t)len;
	if (len > 0)
		memcpy(at + 4, data, len);
	m->len += 4 + (len + 3u) / 4 * 4;
}

static void put_filter(struct message *m, uint8_t len_bits, uint16_t port, struct ip_addr addr)
{
	uint8_t data[20] = {0, len_bits, (uint8_t)(port >> 8), (uint8_t)port};

	memcpy(data + 4, addr.bytes, 16);
	put_option(m, 3, data, sizeof(data));
}

static enum portmap_pcp_result result_of(const struct message *m)
{
	return parse(m->bytes, m->len).result;
}

static void a_map_is_read(void **state)
{
	struct portmap_pcp_request r = parse(map_udp, sizeof(map_udp));
	struct ip_addr client = v4(100, 64, 0, 2), suggested = v4(198, 51, 100, 7);

	assert_int_equal(r.result, PORTMAP_PCP_OK);
	assert_int_equal(r.op, PORTMAP_PCP_MAP);
	assert_int_equal(r.lifetime_s, 7200);
	assert_true(ip_equal(&r.client, &client));
	assert_memory_equal(r.map.nonce, "nonce-12byte", 12);
	assert_int_equal(r.map.proto, 17);
	assert_int_equal(r.map.inner_port, 6881);
	assert_int_equal(r.map.suggested_port, 40001);
	assert_true(ip_equal(&r.map.suggested_addr, &suggested));
	assert_int_equal(r.n_filters, 0);
	assert_false(r.prefers_failure);
}

static void each_byte_has_its_place(void **state)
{
	struct portmap_pcp_request plain = parse(map_udp, sizeof(map_udp));

	for (size_t i = 2; i < sizeof(map_udp); i++) {
		struct message m = begin();
		struct portmap_pcp_request r;

		m.bytes[i] ^= 0x20;
		r = parse(m.bytes, m.len);
		assert_int_equal(r.result, PORTMAP_PCP_OK);
		assert_int_equal(r.lifetime_s != plain.lifetime_s, i >= 4 && i < 8);
		assert_int_equal(!ip_equal(&r.client, &plain.client), i >= 8 && i < 24);
		assert_int_equal(memcmp(r.map.nonce, plain.map.nonce, 12) != 0, i >= 24 && i < 36);
		assert_int_equal(r.map.proto != plain.map.proto, i == 36);
		assert_int_equal(r.map.inner_port != plain.map.inner_port, i == 40 || i == 41);
		assert_int_equal(
			r.map.suggested_port != plain.map.suggested_port, i == 42 || i == 43);
		assert_int_equal(
			!ip_equal(&r.map.suggested_addr, &plain.map.suggested_addr), i >= 44);
	}
}

static size_t build_error(const struct portmap_pcp_request *r, uint8_t out[PORTMAP_MSG_BYTES])
{
	struct portmap_pcp_answer a = {.request = r, .result = r->result, .epoch_s = 0x01020304};

	memset(out, 0xee, PORTMAP_MSG_BYTES);
	return portmap_pcp_build(&a, out);
}

/* Whatever was parsed is said again, and the answer has the full size. */
static void cut_short_at_each_length(void **state)
{
	for (size_t len = 2; len < sizeof(map_udp); len++) {
		struct portmap_pcp_request r = parse(map_udp, len);
		uint8_t out[PORTMAP_MSG_BYTES];

		assert_int_equal(r.result, PORTMAP_PCP_MALFORMED_REQUEST);
		assert_int_equal(build_error(&r, out), MAP_MSG_BYTES);
		assert_int_equal(out[1], 0x81);
		assert_int_equal(out[3], PORTMAP_PCP_MALFORMED_REQUEST);
		for (size_t i = 24; i < sizeof(map_udp); i++)
			assert_int_equal(out[i], i < len ? map_udp[i] : 0);
	}
}

static void lengths_that_are_none(void **state)
{
	uint8_t msg[1200] = {0};
	struct portmap_pcp_request r;
	uint8_t out[PORTMAP_MSG_BYTES];

	memcpy(msg, map_udp, sizeof(map_udp));
	msg[60] = 200; /* an option that is ignored, for what is behind */
	for (size_t len = 61; len <= sizeof(msg); len++) {
		size_t data_len = len >= 64 ? len - 64 : 0;

		msg[62] = (uint8_t)(data_len >> 8);
		msg[63] = (uint8_t)data_len;
		r = parse(msg, len);
		assert_int_equal(r.result, len % 4 != 0 || len > 1100
						   ? PORTMAP_PCP_MALFORMED_REQUEST
						   : PORTMAP_PCP_OK);
		if (r.result != PORTMAP_PCP_OK) {
			assert_int_equal(build_error(&r, out), MAP_MSG_BYTES);
			assert_memory_equal(out + 24, map_udp + 24, 36);
		}
	}
}

static void announce(void **state)
{
	static const uint8_t request[24] = {2, [18] = 0xff, 0xff, 100, 64, 0, 2};
	static const uint8_t want[24] = {2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0};
	struct portmap_pcp_request r = parse(request, sizeof(request));
	uint8_t out[PORTMAP_MSG_BYTES];

	assert_int_equal(r.result, PORTMAP_PCP_OK);
	assert_int_equal(r.op, PORTMAP_PCP_ANNOUNCE);
	assert_int_equal(
		portmap_pcp_build(&(struct portmap_pcp_answer){.request = &r, .epoch_s = 256}, out),
		24);
	assert_memory_equal(out, want, 24);
	assert_int_equal(portmap_pcp_announce(256, out), 24);
	assert_memory_equal(out, want, 24);
}

static void other_opcodes_are_refused_at_full_size(void **state)
{
	struct message m = {.len = 84};
	struct portmap_pcp_request r;
	uint8_t out[PORTMAP_MSG_BYTES];

	for (size_t i = 0; i < m.len; i++)
		m.bytes[i] = (uint8_t)i;
	m.bytes[0] = 2;
	m.bytes[1] = PORTMAP_PCP_PEER;
	portmap_pcp_parse(m.bytes, m.len, &r);
	assert_int_equal(r.result, PORTMAP_PCP_UNSUPP_OPCODE);
	assert_int_equal(build_error(&r, out), 80); /* what is behind are options */
	assert_int_equal(out[1], 0x82);
	assert_int_equal(out[3], PORTMAP_PCP_UNSUPP_OPCODE);
	assert_memory_equal(out + 24, m.bytes + 24, 56);

	/* Cut: still full. */
	portmap_pcp_parse(m.bytes, 28, &r);
	assert_int_equal(build_error(&r, out), 80);
	assert_memory_equal(out + 24, m.bytes + 24, 4);
	for (size_t i = 28; i < 80; i++)
		assert_int_equal(out[i], 0);

	m.bytes[1] = 0x7f;
	portmap_pcp_parse(m.bytes, m.len, &r);
	assert_int_equal(r.result, PORTMAP_PCP_UNSUPP_OPCODE);
	assert_int_equal(build_error(&r, out), 84);
	assert_memory_equal(out + 24, m.bytes + 24, 60);
	portmap_pcp_parse(m.bytes, 1999, &r);
	assert_int_equal(r.result, PORTMAP_PCP_MALFORMED_REQUEST);
	assert_int_equal(build_error(&r, out), PORTMAP_MSG_BYTES);
}

static void options_that_are_known(void **state)
{
	struct ip_addr net = v4(192, 0, 2, 0);
	struct message m = begin();
	struct portmap_pcp_request r;

	put_option(&m, 2, NULL, 0);
	put_filter(&m, 0, 7, v4(1, 2, 3, 4));
	put_filter(&m, 120, 443, net);
	put_option(&m, 200, "abc", 3); /* may be ignored */
	r = parse(m.bytes, m.len);
	assert_int_equal(r.result, PORTMAP_PCP_OK);
	assert_true(r.prefers_failure);
	assert_int_equal(r.n_filters, 2);
	/* Erratum 3891: what clears has neither port nor address. */
	assert_int_equal(r.filters[0].len_bits, 0);
	assert_int_equal(r.filters[0].port, 0);
	assert_true(ip_is_none(&r.filters[0].addr));
	assert_int_equal(r.filters[1].len_bits, 120);
	assert_int_equal(r.filters[1].port, 443);
	assert_true(ip_equal(&r.filters[1].addr, &net));
}

static void as_many_filters_as_fit(void **state)
{
	struct message m = begin();
	struct portmap_pcp_request r;

	for (unsigned i = 0; i < PORTMAP_PCP_FILTERS_MAX; i++)
		put_filter(&m, 128, 0, v4(192, 0, 2, (uint8_t)i));
	assert_true(m.len <= PORTMAP_MSG_BYTES);
	r = parse(m.bytes, m.len);
	assert_int_equal(r.result, PORTMAP_PCP_OK);
	assert_int_equal(r.n_filters, PORTMAP_PCP_FILTERS_MAX);
	assert_int_equal(r.filters[42].addr.bytes[15], 42);
	put_filter(&m, 128, 0, v4(192, 0, 2, 99));
	assert_int_equal(result_of(&m), PORTMAP_PCP_MALFORMED_REQUEST);
}

static void options_that_are_refused(void **state)
{
	static const uint8_t sixteen[16] = {0}, twenty[20] = {0, 128};
	struct ip_addr v6 = {{0x20, 0x01, 0x0d, 0xb8}};
	static const struct {
		uint8_t len_bits;
		bool is_v6;
		enum portmap_pcp_result want;
	} prefixes[] = {
		{95, false, PORTMAP_PCP_MALFORMED_OPTION},
		{96, false, PORTMAP_PCP_OK},
		{128, false, PORTMAP_PCP_OK},
		{129, false, PORTMAP_PCP_MALFORMED_OPTION},
		{255, false, PORTMAP_PCP_MALFORMED_OPTION},
		{64, true, PORTMAP_PCP_MALFORMED_OPTION}, /* the client is IPv4 */
		{1, false, PORTMAP_PCP_MALFORMED_OPTION},
	};
	struct message m;

	for (unsigned code = 0; code < 256; code++) {
		m = begin();
		put_option(&m, (uint8_t)code, NULL, 0);
		assert_int_equal(result_of(&m), code == 2     ? PORTMAP_PCP_OK
						: code == 3   ? PORTMAP_PCP_MALFORMED_OPTION
						: code >= 128 ? PORTMAP_PCP_OK
							      : PORTMAP_PCP_UNSUPP_OPTION);
	}
	m = begin();
	put_option(&m, 1, sixteen, 16); /* THIRD_PARTY */
	assert_int_equal(result_of(&m), PORTMAP_PCP_UNSUPP_OPTION);
	m = begin();
	put_option(&m, 2, NULL, 0);
	put_option(&m, 2, NULL, 0);
	assert_int_equal(result_of(&m), PORTMAP_PCP_MALFORMED_OPTION);
	m = begin();
	put_option(&m, 2, sixteen, 4);
	assert_int_equal(result_of(&m), PORTMAP_PCP_MALFORMED_OPTION);
	for (uint16_t len = 0; len <= 20; len++) {
		m = begin();
		put_option(&m, 3, twenty, len);
		/* With 20: IPv6 in a request of IPv4. */
		assert_int_equal(result_of(&m), PORTMAP_PCP_MALFORMED_OPTION);
	}
	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		m = begin();
		put_filter(&m, prefixes[i].len_bits, 0, prefixes[i].is_v6 ? v6 : v4(192, 0, 2, 1));
		assert_int_equal(result_of(&m), prefixes[i].want);
	}
	/* Longer than the message. */
	for (unsigned len = 1; len < 65536; len += 97) {
		m = begin();
		put_option(&m, 200, NULL, 0);
		m.bytes[62] = (uint8_t)(len >> 8);
		m.bytes[63] = (uint8_t)len;
		assert_int_equal(result_of(&m), PORTMAP_PCP_MALFORMED_OPTION);
	}
	/* Behind ANNOUNCE. */
	m = begin();
	m.bytes[1] = PORTMAP_PCP_ANNOUNCE;
	m.len = 24;
	put_option(&m, 2, NULL, 0);
	assert_int_equal(result_of(&m), PORTMAP_PCP_MALFORMED_OPTION);
}

static void a_mapping_is_answered(void **state)
{
	static const uint8_t want[84] = {2, 0x81, 0, 0, 0, 0, 0, 120, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, /* header */
		'n', 'o', 'n', 'c', 'e', '-', '1', '2', 'b', 'y', 't', 'e', 17, 0, 0, 0, 0x1a, 0xe1,
		0xc3, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9, /* map */
		3, 0, 0, 20, 0, 120, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 0};
	struct message m = begin();
	struct portmap_pcp_request r;
	uint8_t out[PORTMAP_MSG_BYTES];
	struct portmap_pcp_answer a = {.request = &r,
		.lifetime_s = 120,
		.epoch_s = 5,
		.public_port = 50000,
		.public_addr = v4(203, 0, 113, 9),
		.echoes_options = true};

	put_option(&m, 200, "ignored!", 8);
	put_filter(&m, 120, 0, v4(192, 0, 2, 0));
	r = parse(m.bytes, m.len);
	memset(out, 0xee, sizeof(out));
	assert_int_equal(portmap_pcp_build(&a, out), 84);
	assert_memory_equal(out, want, 84);
	/* Not applied, not said. */
	a.echoes_options = false;
	assert_int_equal(portmap_pcp_build(&a, out), 60);
	assert_memory_equal(out, want, 60);
	/* Nor in a refusal. */
	a.echoes_options = true;
	a.result = PORTMAP_PCP_USER_EX_QUOTA;
	assert_int_equal(portmap_pcp_build(&a, out), 60);
}

static void refusals_say_for_how_long(void **state)
{
	struct portmap_pcp_request r = parse(map_udp, sizeof(map_udp));
	uint8_t out[PORTMAP_MSG_BYTES];

	for (unsigned result = 1; result <= PORTMAP_PCP_EXCESSIVE_REMOTE_PEERS; result++) {
		bool is_short = result == PORTMAP_PCP_NETWORK_FAILURE ||
				result == PORTMAP_PCP_NO_RESOURCES ||
				result == PORTMAP_PCP_USER_EX_QUOTA;
		uint8_t want[60] = {2, 0x81, 0, (uint8_t)result, 0, 0, is_short ? 0 : 1800 >> 8,
			is_short ? 30 : 1800 & 0xff, 1, 2, 3, 4};

		memcpy(want + 24, map_udp + 24, 36);
		r.result = (enum portmap_pcp_result)result;
		assert_int_equal(build_error(&r, out), 60);
		assert_memory_equal(out, want, 60);
	}
}

/* The same bytes are a NAT-PMP answer: version, op, result 1. */
static void another_version_is_refused(void **state)
{
	static const uint8_t want[24] = {2, 0x81, 0, 1, 0, 0, 7, 8, 1, 2, 3, 4};
	uint8_t out[PORTMAP_MSG_BYTES];

	memset(out, 0xee, sizeof(out));
	assert_int_equal(portmap_pcp_refuse_version(1, 0x01020304, out), 24);
	assert_memory_equal(out, want, 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_map_is_read),
		cmocka_unit_test(each_byte_has_its_place),
		cmocka_unit_test(cut_short_at_each_length),
		cmocka_unit_test(lengths_that_are_none),
		cmocka_unit_test(announce),
		cmocka_unit_test(other_opcodes_are_refused_at_full_size),
		cmocka_unit_test(options_that_are_known),
		cmocka_unit_test(as_many_filters_as_fit),
		cmocka_unit_test(options_that_are_refused),
		cmocka_unit_test(a_mapping_is_answered),
		cmocka_unit_test(refusals_say_for_how_long),
		cmocka_unit_test(another_version_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
