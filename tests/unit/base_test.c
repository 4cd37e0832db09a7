/* base_test.c - byte order, addresses, durations, log lines. */
#include "base/bytes.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/time.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static void bytes_keep_their_order_at_any_alignment(void **state)
{
	uint8_t buf[16];
	static const uint8_t be[8] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

	(void)state;
	for (unsigned off = 0; off < 8; off++) {
		memset(buf, 0x5a, sizeof(buf));
		store_be64(buf + off, 0x0123456789abcdefULL);
		assert_memory_equal(buf + off, be, 8);
		assert_true(load_be64(buf + off) == 0x0123456789abcdefULL);
		assert_true(load_le64(buf + off) == 0xefcdab8967452301ULL);
		assert_true(load_be32(buf + off) == 0x01234567);
		assert_true(load_le32(buf + off) == 0x67452301);
		assert_true(load_be16(buf + off) == 0x0123);
		store_le64(buf + off, 0xefcdab8967452301ULL);
		assert_memory_equal(buf + off, be, 8);
		store_le32(buf + off, 0x67452301);
		store_be32(buf + off + 4, 0x89abcdef);
		assert_memory_equal(buf + off, be, 8);
		assert_int_equal(buf[off + 8], 0x5a);
	}
}

static const char *const good_addrs[] = {"0.0.0.0", "192.0.2.1", "9.10.99.100", "255.255.255.255",
	"::", "::1", "2001:db8::1", "fe80::1:0:0:2", "2001:db8:1:2:3:4:5:6"};
static const char *const bad_addrs[] = {"", " ", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "1.2.3.04",
	"0x1.2.3.4", " 1.2.3.4", "1.2.3.4 ", "1.2.3.-4", "1.2.3.4/24", "2001:db8:::1", ":1",
	"1:2:3", "[::1]", "::1%lo", "::g", "localhost", "1:2:3:4:5:6:7:8:9"};

static void addresses_are_read_and_written(void **state)
{
	struct ip_addr a, before;
	char text[IP_TEXT_CHARS];

	(void)state;
	for (size_t i = 0; i < N_OF(good_addrs); i++) {
		assert_int_equal(ip_addr_parse(good_addrs[i], &a), 0);
		assert_string_equal(ip_addr_format(&a, text), good_addrs[i]);
	}
	assert_int_equal(ip_addr_parse("::ffff:192.0.2.1", &a), 0);
	assert_true(ip_is_v4(&a));
	assert_string_equal(ip_addr_format(&a, text), "192.0.2.1");
	assert_int_equal(ip_addr_parse("2001:DB8:0:0:1:0:0:1", &a), 0);
	assert_string_equal(ip_addr_format(&a, text), "2001:db8::1:0:0:1");

	memset(&a, 0xa5, sizeof(a));
	before = a;
	for (size_t i = 0; i < N_OF(bad_addrs); i++) {
		assert_int_equal(ip_addr_parse(bad_addrs[i], &a), -EINVAL);
		assert_memory_equal(&a, &before, sizeof(a));
	}
}

static void shape_of_an_address(void **state)
{
	static const uint8_t v4[4] = {192, 0, 2, 1};
	struct ip_addr a = ip_from_v4(v4), b = ip_from_v6(a.bytes), none = {{0}};
	struct ip_endpoint e = {a, 7}, f = {a, 8};

	(void)state;
	assert_true(ip_is_v4(&a) && ip_equal(&a, &b) && !ip_is_none(&a));
	assert_memory_equal(ip_v4_bytes(&a), v4, 4);
	assert_true(ip_is_none(&none) && !ip_is_v4(&none));
	assert_false(ip_endpoint_equal(&e, &f));
	f.port = 7;
	assert_true(ip_endpoint_equal(&e, &f));
}

static void prefixes_are_read_and_written(void **state)
{
	static const struct {
		const char *text;
		unsigned len_bits;
	} good[] = {{"0.0.0.0/0", 96}, {"10.0.0.0/8", 104}, {"192.0.2.128/25", 121},
		{"192.0.2.1", 128}, {"::/0", 0}, {"2001:db8::/32", 32}, {"2001:db8::8000:0/97", 97},
		{"2001:db8::1", 128}};
	static const char *const bad[] = {"", "/", "/24", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8",
		"10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/8 ", "10.0.0.0/8/8", "10.0.0.0/-1",
		"::/129", "2001:db8::1/64", "2001:db8::/4294967328", "192.0.2.1/31",
		"::ffff:0.0.0.0/95", "10/8"};
	struct ip_prefix p, before;
	char text[IP_TEXT_CHARS];

	(void)state;
	for (size_t i = 0; i < N_OF(good); i++) {
		assert_int_equal(ip_prefix_parse(good[i].text, &p), 0);
		assert_int_equal(p.len_bits, good[i].len_bits);
		assert_string_equal(ip_prefix_format(&p, text), good[i].text);
	}
	assert_int_equal(ip_prefix_parse("192.0.2.1/32", &p), 0);
	assert_string_equal(ip_prefix_format(&p, text), "192.0.2.1");
	assert_int_equal(ip_prefix_parse("::ffff:192.0.2.0/120", &p), 0);
	assert_string_equal(ip_prefix_format(&p, text), "192.0.2.0/24");

	memset(&p, 0xa5, sizeof(p));
	before = p;
	for (size_t i = 0; i < N_OF(bad); i++) {
		assert_int_equal(ip_prefix_parse(bad[i], &p), -EINVAL);
		assert_memory_equal(&p, &before, sizeof(p));
	}
}

static void interface_addresses_keep_host_bits(void **state)
{
	static const char *const bad[] = {"192.0.2.1", "192.0.2.1/", "192.0.2.1/33", "", "x/24"};
	struct ip_ifaddr i = {0};
	struct ip_prefix p;
	char text[IP_TEXT_CHARS];

	(void)state;
	assert_int_equal(ip_ifaddr_parse("192.0.2.77/26", &i), 0);
	assert_string_equal(ip_addr_format(&i.addr, text), "192.0.2.77");
	p = ip_ifaddr_prefix(&i);
	assert_string_equal(ip_prefix_format(&p, text), "192.0.2.64/26");
	assert_int_equal(ip_ifaddr_parse("2001:db8::1/64", &i), 0);
	p = ip_ifaddr_prefix(&i);
	assert_string_equal(ip_prefix_format(&p, text), "2001:db8::/64");
	assert_true(ip_prefix_equal(&p, &(struct ip_prefix){ip_addr_masked(&i.addr, 64), 64}));
	assert_false(ip_prefix_equal(&p, &(struct ip_prefix){p.addr, 65}));
	assert_false(ip_prefix_equal(&p, &(struct ip_prefix){i.addr, 64}));
	for (size_t k = 0; k < N_OF(bad); k++)
		assert_int_equal(ip_ifaddr_parse(bad[k], &i), -EINVAL);
}

static bool holds(const char *prefix, const char *addr)
{
	struct ip_prefix p;
	struct ip_addr a;

	assert_int_equal(ip_prefix_parse(prefix, &p), 0);
	assert_int_equal(ip_addr_parse(addr, &a), 0);
	return ip_prefix_contains(&p, &a);
}

static bool overlap(const char *one, const char *other)
{
	struct ip_prefix a, b;

	assert_int_equal(ip_prefix_parse(one, &a), 0);
	assert_int_equal(ip_prefix_parse(other, &b), 0);
	assert_true(ip_prefix_overlaps(&a, &b) == ip_prefix_overlaps(&b, &a));
	return ip_prefix_overlaps(&a, &b);
}

static void prefixes_contain_and_overlap(void **state)
{
	(void)state;
	assert_true(holds("192.0.2.0/24", "192.0.2.0") && holds("192.0.2.0/24", "192.0.2.255"));
	assert_false(holds("192.0.2.0/24", "192.0.3.0") || holds("192.0.2.0/24", "192.0.1.255"));
	assert_true(holds("192.0.2.128/25", "192.0.2.128"));
	assert_false(holds("192.0.2.128/25", "192.0.2.127"));
	assert_true(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.0"));
	assert_true(holds("0.0.0.0/0", "8.8.8.8") && holds("::/0", "2001:db8::1"));
	assert_false(holds("::/0", "8.8.8.8") || holds("0.0.0.0/0", "2001:db8::1"));
	assert_true(overlap("10.0.0.0/8", "10.1.2.0/24") && overlap("0.0.0.0/0", "1.2.3.4"));
	assert_false(overlap("10.0.0.0/9", "10.128.0.0/9") || overlap("::/0", "0.0.0.0/0"));
	assert_true(overlap("::/0", "2001:db8::/32"));
}

static void martians_are_known(void **state)
{
	static const char *const martian[] = {"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255",
		"224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"};
	static const char *const decent[] = {"1.0.0.1", "10.0.0.1", "126.0.0.1", "128.0.0.1",
		"223.255.255.255", "::2", "2001:db8::1", "fe80::1", "fd00::1"};
	struct ip_addr a;

	(void)state;
	for (size_t i = 0; i < N_OF(martian); i++) {
		assert_int_equal(ip_addr_parse(martian[i], &a), 0);
		assert_true(ip_is_martian(&a));
	}
	for (size_t i = 0; i < N_OF(decent); i++) {
		assert_int_equal(ip_addr_parse(decent[i], &a), 0);
		assert_false(ip_is_martian(&a));
	}
}

static void endpoints_are_read_and_written(void **state)
{
	static const char *const good[] = {
		"192.0.2.1:51820", "0.0.0.0:1", "[2001:db8::1]:65535", "[::]:51820"};
	static const char *const bad[] = {"", ":", ":1", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0",
		"192.0.2.1:65536", "192.0.2.1:08", "192.0.2.1:1 ", "[192.0.2.1]:1",
		"2001:db8::1:80", "[2001:db8::1]", "[2001:db8::1]80", "[]:1", "[:1", "]:1",
		"[2001:db8::1:1", "[::1]x:1",
		"[1111:1111:1111:1111:1111:1111:111:111:1111:1111:1111:11]:1"};
	struct ip_endpoint e, before;
	char text[IP_TEXT_CHARS];

	(void)state;
	for (size_t i = 0; i < N_OF(good); i++) {
		assert_int_equal(ip_endpoint_parse(good[i], &e), 0);
		assert_string_equal(ip_endpoint_format(&e, text), good[i]);
	}
	memset(&e, 0xa5, sizeof(e));
	before = e;
	for (size_t i = 0; i < N_OF(bad); i++) {
		assert_int_equal(ip_endpoint_parse(bad[i], &e), -EINVAL);
		assert_memory_equal(&e, &before, sizeof(e));
	}
}

static void durations_are_read_and_written(void **state)
{
	static const struct {
		const char *text, *shortest;
		uint64_t ns;
	} good[] = {{"0", "0s", 0}, {"0s", "0s", 0}, {"250ms", "250ms", 250 * NS_IN_MS},
		{"90s", "90s", 90 * NS_IN_S}, {"120s", "2m", 120 * NS_IN_S},
		{"2h", "2h", 7200 * NS_IN_S}, {"48h", "2d", 172800 * NS_IN_S},
		{"1000ms", "1s", NS_IN_S}, {"36525d", "36525d", 36525ULL * 86400 * NS_IN_S}};
	static const char *const bad[] = {"", "s", "1", "00", "-1s", "+1s", " 1s", "1 s", "1s ",
		"1.5s", "1S", "1us", "1w", "1ss", "1h30m", "0x1s"};
	static const char *const large[] = {"36526d", "876601h", "3155760001s",
		"99999999999999999999999ms", "18446744073709551617s"};
	char text[TIME_DURATION_CHARS];
	uint64_t ns;

	(void)state;
	for (size_t i = 0; i < N_OF(good); i++) {
		assert_int_equal(time_duration_parse(good[i].text, &ns), 0);
		assert_true(ns == good[i].ns);
		assert_string_equal(time_duration_format(ns, text), good[i].shortest);
	}
	ns = 77;
	for (size_t i = 0; i < N_OF(bad); i++)
		assert_int_equal(time_duration_parse(bad[i], &ns), -EINVAL);
	for (size_t i = 0; i < N_OF(large); i++)
		assert_int_equal(time_duration_parse(large[i], &ns), -ERANGE);
	assert_true(ns == 77);
	assert_string_equal(time_duration_format(TIME_NEVER, text), "never");
	assert_string_equal(time_duration_format(1500 * NS_IN_US, text), "1ms");
	assert_string_equal(time_duration_format(999, text), "0s");
	assert_string_equal(time_duration_format(TIME_NEVER - 1, text), "18446744073709ms");
}

/* What one call writes to standard error; *n_bytes of it are in buf, NUL after them. */
#define CAPTURE(buf, n_bytes, call)                                \
	do {                                                       \
		int ends[2], saved = dup(STDERR_FILENO);           \
		assert_int_equal(pipe(ends), 0);                   \
		dup2(ends[1], STDERR_FILENO);                      \
		close(ends[1]);                                    \
		call;                                              \
		dup2(saved, STDERR_FILENO);                        \
		close(saved);                                      \
		(n_bytes) = read(ends[0], (buf), sizeof(buf) - 1); \
		close(ends[0]);                                    \
		assert_true((n_bytes) >= 0);                       \
		(buf)[n_bytes] = '\0';                             \
	} while (0)

static void log_lines_are_whole_and_clean(void **state)
{
	static char buf[8192], text[5000];
	ssize_t n;

	(void)state;
	CAPTURE(buf, n, log_warn("peer %d is silent", 7));
	assert_string_equal(buf, "warn peer 7 is silent\n");
	CAPTURE(buf, n, log_debug("not wanted"));
	assert_string_equal(buf, "");
	log_set_level(LOG_LEVEL_DEBUG);
	CAPTURE(buf, n, log_debug("wanted"));
	assert_string_equal(buf, "debug wanted\n");
	log_set_level(LOG_LEVEL_ERROR);
	CAPTURE(buf, n, log_info("not wanted"));
	assert_string_equal(buf, "");
	CAPTURE(buf, n, log_error("a\nerror b\x1b[2J"));
	assert_string_equal(buf, "error a?error b?[2J\n");
	memset(text, 'x', sizeof(text) - 1);
	errno = EBADF;
	CAPTURE(buf, n, (log_error("%s", text), assert_int_equal(errno, EBADF)));
	assert_int_equal(n, 1023);
	assert_true(buf[n - 1] == '\n' && buf[n - 2] == 'x');
	log_set_level(LOG_LEVEL_INFO);
}

/* As systemd does it for a service whose standard error is the journal. */
static void name_stream(void)
{
	char stream[64];
	struct stat st;

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_begin_journal();
	log_warn("x");
	log_error("y");
	log_info("z");
}

static void log_lines_for_the_journal(void **state)
{
	char buf[64];
	ssize_t n;

	/* Another's stream: no priorities. */
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_begin_journal();
	CAPTURE(buf, n, log_warn("x"));
	assert_string_equal(buf, "warn x\n");
	CAPTURE(buf, n, name_stream());
	assert_string_equal(buf, "<4>x\n<3>y\n<6>z\n");
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_begin_journal();
	unsetenv("JOURNAL_STREAM");
}

/* By rank, through the gap between two prefixes. */
static void lists_of_prefixes_are_counted_and_searched(void **state)
{
	static const char *const all[] = {"192.0.2.4", "192.0.2.5", "198.51.100.9"};
	struct ip_prefix list[2];
	struct ip_addr a, wanted;

	assert_int_equal(ip_prefix_parse("192.0.2.4/31", &list[0]), 0);
	assert_int_equal(ip_prefix_parse("198.51.100.9", &list[1]), 0);
	assert_int_equal(ip_prefixes_count(list, 2), 3);
	assert_int_equal(ip_prefixes_count(list, 0), 0);
	for (unsigned rank = 0; rank < 3; rank++) {
		assert_int_equal(ip_addr_parse(all[rank], &wanted), 0);
		a = ip_prefixes_at(list, 2, rank);
		assert_true(ip_equal(&a, &wanted));
		assert_true(ip_prefixes_contain(list, 2, &a));
		assert_int_equal(ip_prefixes_contain(list, 1, &a), rank < 2);
	}
	assert_int_equal(ip_addr_parse("192.0.2.6", &a), 0);
	assert_false(ip_prefixes_contain(list, 2, &a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_of_prefixes_are_counted_and_searched),
		cmocka_unit_test(bytes_keep_their_order_at_any_alignment),
		cmocka_unit_test(addresses_are_read_and_written),
		cmocka_unit_test(shape_of_an_address),
		cmocka_unit_test(prefixes_are_read_and_written),
		cmocka_unit_test(interface_addresses_keep_host_bits),
		cmocka_unit_test(prefixes_contain_and_overlap),
		cmocka_unit_test(martians_are_known),
		cmocka_unit_test(endpoints_are_read_and_written),
		cmocka_unit_test(durations_are_read_and_written),
		cmocka_unit_test(log_lines_are_whole_and_clean),
		cmocka_unit_test(log_lines_for_the_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
