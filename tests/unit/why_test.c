/* why_test.c - the packet that is asked about is what was asked, and the answer's words have
 * bounds.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "nat/nat.h"
#include "why/why.h"

static struct ip_addr address(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(text, &a), 0);
	return a;
}

static struct why_packet packet(uint8_t proto, const char *src, const char *dst)
{
	return (struct why_packet){.proto = proto,
		.src = address(src),
		.dst = address(dst),
		.src_port = 5000,
		.dst_port = 80,
		.tcp_flags = 0x12,
		.ttl = 9};
}

static void a_packet_is_as_asked(void **state)
{
	static const struct {
		const char *src, *dst;
		uint8_t proto;
		uint16_t min_bytes;
	} rows[] = {
		{"192.0.2.1", "192.0.2.2", 6, 40},
		{"192.0.2.1", "192.0.2.2", 17, 28},
		{"192.0.2.1", "192.0.2.2", 1, 28},
		{"192.0.2.1", "192.0.2.2", 47, 20},
		{"2001:db8::1", "2001:db8::2", 6, 60},
		{"2001:db8::1", "2001:db8::2", 17, 48},
		{"2001:db8::1", "2001:db8::2", 58, 48},
		{"2001:db8::1", "2001:db8::2", 132, 40},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct why_packet q = packet(rows[i].proto, rows[i].src, rows[i].dst);
		bool has_ports = q.proto == 6 || q.proto == 17;
		bool is_v6 = !ip_is_v4(&q.src);
		static uint8_t pkt[WHY_PKT_BYTES];
		struct nat_view v;

		assert_int_equal(why_packet_min(&q), rows[i].min_bytes);
		for (q.size_bytes = rows[i].min_bytes; q.size_bytes < 200; q.size_bytes++) {
			enum nat_verdict verdict;

			q.dont_fragment = q.size_bytes & 1;
			assert_int_equal(why_packet_build(&q, pkt, sizeof(pkt)), q.size_bytes);
			verdict = nat_parse(pkt, q.size_bytes, &v);
			assert_int_equal(verdict, has_ports || q.proto == 1 || q.proto == 58
							  ? NAT_OK
							  : NAT_OTHER_PROTO);
			assert_int_equal(v.total_len, q.size_bytes);
			assert_int_equal(v.dont_fragment, q.dont_fragment || is_v6);
			assert_int_equal(v.hop_limit, 9);
			assert_int_equal(v.proto, q.proto);
			if (has_ports) {
				assert_int_equal(v.src_port, 5000);
				assert_int_equal(v.dst_port, 80);
			} else if (verdict == NAT_OK) {
				assert_int_equal(v.src_port, 5000);
				assert_true(nat_icmp_sum_ok(pkt, &v));
			}
		}
	}
}

static void what_cannot_be_is_refused(void **state)
{
	struct why_packet q = packet(6, "192.0.2.1", "192.0.2.2");
	static uint8_t pkt[WHY_PKT_BYTES];

	q.size_bytes = 39;
	assert_int_equal(why_packet_build(&q, pkt, sizeof(pkt)), 0);
	q.size_bytes = 100;
	assert_int_equal(why_packet_build(&q, pkt, 99), 0);
	q.size_bytes = UINT16_MAX;
	assert_int_equal(why_packet_build(&q, pkt, sizeof(pkt)), 0);
	q.size_bytes = 0;
	assert_int_equal(why_packet_build(&q, pkt, sizeof(pkt)), 40);
	q.dst = address("2001:db8::2");
	assert_int_equal(why_packet_build(&q, pkt, sizeof(pkt)), 0);
}

static void an_answer_has_bounds(void **state)
{
	static struct why_answer a;
	char text[2 * WHY_TEXT_CHARS];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (unsigned i = 0; i < 2 * WHY_STAGES_MAX; i++)
		why_say(&a, "stage", "%u%s", i, text);
	assert_int_equal(a.n_stages, WHY_STAGES_MAX);
	assert_int_equal(strlen(a.stages[0].text), WHY_TEXT_CHARS - 1);
	for (unsigned i = 0; i < 2 * WHY_TUPLES_MAX; i++)
		why_tuple_add(&a, &(struct why_tuple){.proto = (uint8_t)i});
	assert_int_equal(a.n_tuples, WHY_TUPLES_MAX);
	for (unsigned reason = 0; reason < STATS_N_DROPS; reason++)
		assert_non_null(why_hint((enum stats_drop)reason));
	assert_string_equal(why_end_word(WHY_DROPPED), "dropped");
	assert_string_equal(why_end_word(WHY_CONSUMED), "consumed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_is_as_asked),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(an_answer_has_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
