/* conf_test.c - the configuration: each bad file gives its sentences, and no more.
 *
 * tests/vectors/conf/bad: the "# expect: SENTENCE" lines on top of a file are all the faults that
 * it gives, in order; "# <-" marks the line that the first of them has to name. @LAST_CPU@ stands
 * for the last CPU of this machine, @OWN_KEY@ for the public key of private.key.
 */
#include "conf_files.h"

/* --- memory: the Nth allocation fails, and nothing freed may hold the private key --------------
 */

static bool is_watching;
static unsigned fail_at, n_allocs;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void __wrap_free(void *p);

static bool is_failing(void)
{
	return is_watching && ++n_allocs == fail_at;
}

void *__wrap_malloc(size_t size)
{
	return is_failing() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return is_failing() ? NULL : __real_calloc(n, size);
}

/* The only blocks that hold keys start with struct conf or struct conf_peer. */
static struct conf *watched;

void __wrap_free(void *p)
{
	static const uint8_t zero[CRYPTO_KEY_BYTES];

	if (is_watching && watched && p == watched)
		assert_memory_equal(watched->private_key, zero, sizeof(zero));
	if (is_watching && watched && p && p == watched->peers)
		assert_memory_equal(watched->peers[0].preshared_key, zero, sizeof(zero));
	__real_free(p);
}

static void expect_one(const char *text, const char *want)
{
	struct conf *c = NULL;

	assert_int_equal(load_text(text, &c), -EINVAL);
	assert_null(c);
	if (faults.n != 1 || !strstr(faults.text[0], want))
		fail_msg("%u faults, the first is: %s", faults.n, faults.text[0]);
}

/* --- bad files -------------------------------------------------------------------------------- */

static unsigned marked_line(const char *text)
{
	const char *mark = strstr(text, "# <-");
	unsigned line = 1;

	for (const char *p = text; mark && p < mark; p++)
		line += *p == '\n';
	return mark ? line : 0;
}

static void check_bad_file(const char *name, char text[static TEXT_CHARS])
{
	char last_cpu[24], prefix[256];
	unsigned n = 0, mark;
	struct conf *c = NULL;
	char *line = text;

	snprintf(last_cpu, sizeof(last_cpu), "%ld", sysconf(_SC_NPROCESSORS_CONF) - 1);
	replace(text, "@LAST_CPU@", last_cpu);
	replace(text, "@OWN_KEY@", own_key_text);
	file_write(name, text, 0644);
	assert_int_equal(load(name, &c), -EINVAL);
	assert_null(c);
	mark = marked_line(text);
	while (strncmp(line, "# expect: ", 10) == 0) {
		char *want = line + 10, *end = strchr(line, '\n');
		size_t at = (size_t)snprintf(prefix, sizeof(prefix), "%s:", work_path(name));
		const char *got = n < faults.n ? faults.text[n] : "(nothing)";

		*end = '\0';
		line = end + 1;
		if (strncmp(got, prefix, at) != 0)
			fail_msg("%s: no file in: %s", name, got);
		if (mark && n == 0 && strtoul(got + at, NULL, 10) != mark)
			fail_msg("%s: not line %u: %s", name, mark, got);
		at += strspn(got + at, "0123456789:");
		if (strcmp(got + at + 1, want) != 0)
			fail_msg("%s:\nwant %s\n got %s", name, want, got + at + 1);
		n++;
	}
	assert_true(n > 0);
	if (n != faults.n)
		fail_msg("%s: %u faults, not %u: %s", name, faults.n, n, faults.text[n]);
}

static void test_bad_files(void **state)
{
	static char text[TEXT_CHARS];
	char path[512];
	DIR *d = opendir(CONF_SOURCE_DIR "/tests/vectors/conf/bad");
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		if (!strstr(e->d_name, ".conf"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", CONF_SOURCE_DIR "/tests/vectors/conf/bad",
			e->d_name);
		file_read(path, text);
		check_bad_file(e->d_name, text);
		n++;
	}
	closedir(d);
	assert_true(n >= 30);
}

static void test_minimal(void **state)
{
	struct conf *c = load_good(MINIMAL_HEAD
		"workers = { idle = \"poll\"; aead = \"openssl\"; };\n"
		"leases = { max_per_peer = 3; ports = \"1024-60000\"; };\n"
		"nat = { ports = \"60001-65535\"; filter = \"moderate\"; sessions_per_peer = 7; "
		"};\n"
		"control = { log_level = \"debug\"; socket = \"/s\"; };\n"
		"peers = ( { public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\";\n"
		"  address = \"fd00::2\"; } );");

	assert_true(c->poll_always);
	assert_int_equal(c->aead_backend, 2);
	assert_int_equal(c->lease_port_first, 1024);
	assert_int_equal(c->lease_port_last, 60000);
	assert_int_equal(c->nat_port_last, 65535);
	assert_int_equal(c->peers[0].filter, 1);
	assert_int_equal(c->peers[0].max_sessions, 7);
	assert_int_equal(c->n_nat_pool, 0);
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(c->socket_path, "/s");
	assert_int_equal(c->ports[0].mtu_bytes, 1500);
	assert_int_equal(c->peers[0].max_leases, 3);
	assert_false(c->peers[0].forwarding);
	assert_true(ip_is_none(&c->peers[0].address4));
	assert_int_equal(c->peers[0].endpoint.port, 0);
	conf_destroy(c);
}

static void test_pinholes(void **state)
{
	struct conf *c = load_good(MINIMAL_HEAD
		"peers = ( { public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\";\n"
		"  address = \"100.64.0.2,fd00::2\"; routes = [ \"2001:db8:2::/64\" ];\n"
		"  forwarding = true; leases = ( { public_port = 20000; to_port = 80; },\n"
		"    { to_port = 80; to_address = \"fd00::2\"; },\n"
		"    { to_address = \"2001:db8:2::80\"; public_port = 20480; to_port = 20480; "
		"} ); } );");
	char text[IP_TEXT_CHARS];

	assert_int_equal(c->n_leases, 3);
	assert_true(ip_is_none(&c->leases[0].inner_addr));
	assert_string_equal(ip_addr_format(&c->leases[1].inner_addr, text), "fd00::2");
	assert_int_equal(c->leases[1].public_port, 0);
	assert_int_equal(c->leases[1].inner_port, 80);
	assert_int_equal(c->leases[2].public_port, 20480);
	conf_destroy(c);
}

/* A range, or a port, of one protocol and the same of the other are one number; pinholes that lead
 * to one port are one, too, whether they say their public port or not. */
static void test_numbers_of_both(void **state)
{
	struct conf *c = load_good(MINIMAL_HEAD
		"peers = ( { public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\";\n"
		"  address = \"100.64.0.2,fd00::2\"; forwarding = true; max_leases = 20;\n"
		"  leases = (\n"
		"    { public_port = 20000; to_port = 8080; ports = 8; proto = \"tcp\"; },\n"
		"    { public_port = 20000; to_port = 8080; ports = 8; proto = \"udp\"; },\n"
		"    { public_port = 20100; to_port = 80; proto = \"tcp\"; },\n"
		"    { public_port = 20100; to_port = 80; proto = \"udp\"; },\n"
		"    { to_address = \"fd00::2\"; to_port = 2080; proto = \"tcp\"; },\n"
		"    { to_address = \"fd00::2\"; public_port = 2080; to_port = 2080;\n"
		"      proto = \"udp\"; } ); } );");

	assert_int_equal(c->n_leases, 6);
	conf_destroy(c);
}

/* --- files that are not configurations ----------------------------------------------------------
 */

static void test_unreadable(void **state)
{
	struct conf *c = NULL;

	assert_int_equal(load("absent.conf", &c), -ENOENT);
	assert_int_equal(faults.n, 1);
	assert_non_null(strstr(faults.text[0],
		"absent.conf: the configuration cannot be read (No such file or directory)"));
	assert_int_equal(load("directory.key", &c), -EISDIR);
	assert_int_equal(faults.n, 1);
	assert_null(c);
}

static void test_misread_text(void **state)
{
	/* A NUL would end the file for libconfig: what follows would not count. */
	int fd = open(work_path("nul.conf"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
	struct conf *c = NULL;

	assert_int_equal(write(fd, MINIMAL_HEAD "\0unknown = 1;", sizeof(MINIMAL_HEAD) + 12),
		sizeof(MINIMAL_HEAD) + 12);
	close(fd);
	assert_int_equal(load("nul.conf", &c), -EINVAL);
	assert_non_null(strstr(faults.text[0], "nul.conf:6: the file has a NUL byte"));

	expect_one(MINIMAL_HEAD "leases = { max = 0x100000001; };", "0x100000001 is too large");
	expect_one(MINIMAL_HEAD "leases = { max = 2147483648; };", "2147483648 is too large");
	expect_one(MINIMAL_HEAD "leases = { max = -4294967295; };", "-4294967295 is too large");
	expect_one(MINIMAL_HEAD "leases = { max = 4294967297L; };", "4294967297L is too large");
	expect_one(
		MINIMAL_HEAD "leases = { max = 2147483647; };", "leases.max = 2147483647 is not");
	expect_one(
		MINIMAL_HEAD "\n/* open\n", "test.conf:7: the comment that begins here has no end");
	/* Not integers of the file: comments, strings, names. */
	conf_destroy(load_good(
		MINIMAL_HEAD "# 99999999999 \"\n// 99999999999\n/* 99999999999\n@include */\n"
			     "control = { group = \"99999999999\"; };\n"));
	expect_one(MINIMAL_HEAD "control = { group = \"\\\"99999999999\"; };", "control.group = ");
}

static void test_fault_cap(void **state)
{
	static char text[TEXT_CHARS];
	struct conf *c = NULL;
	size_t used = (size_t)snprintf(text, sizeof(text), "%s", MINIMAL_HEAD);

	for (unsigned i = 0; i < 150; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "unknown%u = 1;\n", i);
	assert_int_equal(load_text(text, &c), -EINVAL);
	assert_int_equal(faults.n, 101);
	assert_non_null(strstr(faults.text[0], ":6: unknown0 is not a known key"));
	assert_non_null(strstr(faults.text[100], "50 more faults are not listed"));
}

/* --- secrets, memory, many peers ----------------------------------------------------------------
 */

static void test_no_secret_in_sentences(void **state)
{
	/* Wherever the key lands, collect() sees that it is not shown. */
	static const char *const places[] = {
		"control = { group = \"%s\"; };",
		"control = { socket = \"%s\"; };",
		"control = { %.0s private_key = \"" KEY_TEXT "\"; };",
		"workers = { idle = \"%s\"; };",
		"workers = { max_sleep_us = \"%s\"; };",
		"leases = { ports = \"%s\"; };",
		"leases = { max_ttl = \"%s\"; };",
		"peers = ( { address = \"100.64.0.2\"; public_key = \"%s !\"; } );",
		"peers = ( { address = \"%s\"; } );",
		"peers = ( { preshared_key_file = \"%s\"; } );",
	};
	char text[2048], with_key[256];
	struct conf *c = NULL;

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		for (int cut = 0; cut < 3; cut++) {
			char key[KEY_TEXT_LEN + 1];

			snprintf(key, sizeof(key), "%.*s", KEY_TEXT_LEN - cut, KEY_TEXT);
			snprintf(with_key, sizeof(with_key), places[i], key);
			snprintf(text, sizeof(text), "%s%s", MINIMAL_HEAD, with_key);
			assert_int_equal(load_text(text, &c), -EINVAL);
			assert_true(faults.n > 0);
		}
	}
}

static void test_wiped(void **state)
{
	static char text[TEXT_CHARS];

	documented_read(text, true);
	watched = load_good(text);
	is_watching = true;
	conf_destroy(watched);
	is_watching = false;
	watched = NULL;
	conf_destroy(NULL);
}

static void test_out_of_memory(void **state)
{
	static char text[TEXT_CHARS];
	struct conf *c = NULL;
	unsigned n_failed = 0;
	int rc;

	documented_read(text, true);
	file_write("test.conf", text, 0644);
	for (unsigned i = 1;; i++) {
		fail_at = i;
		n_allocs = 0;
		is_watching = true;
		rc = load("test.conf", &c);
		is_watching = false;
		if (rc == 0)
			break;
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(faults.n, 0);
		assert_null(c);
		n_failed++;
	}
	fail_at = 0;
	assert_true(n_failed >= 6);
	conf_destroy(c);
}

/* Against each with each: the number of peers whose address an earlier one has. */
static void test_twins(void **state)
{
	static char text[TEXT_CHARS];
	const char *env = getenv("PORTIER_TEST_SEED");
	unsigned seed = env ? (unsigned)strtoul(env, NULL, 10) : 1;
	uint8_t hosts[40], key[CRYPTO_KEY_BYTES] = {0};
	char key_text[CRYPTO_KEY_TEXT_CHARS];

	print_message("PORTIER_TEST_SEED=%u\n", seed);
	srandom(seed);
	for (unsigned round = 0; round < 50; round++) {
		size_t used = (size_t)snprintf(text, sizeof(text), "%speers = (", MINIMAL_HEAD);
		unsigned want = 0;
		struct conf *c = NULL;

		for (unsigned i = 0; i < 40; i++) {
			bool is_twin = false;

			hosts[i] = (uint8_t)(2 + random() % 200);
			for (unsigned j = 0; j < i; j++)
				is_twin |= hosts[j] == hosts[i];
			want += is_twin;
			key[0] = (uint8_t)(i + 1);
			used += (size_t)snprintf(text + used, sizeof(text) - used,
				"%s{ public_key = \"%s\"; address = \"100.64.0.%u\"; }",
				i ? "," : "", crypto_key_format(key, key_text), hosts[i]);
		}
		snprintf(text + used, sizeof(text) - used, ");");
		assert_int_equal(load_text(text, &c), want ? -EINVAL : 0);
		assert_int_equal(faults.n, want);
		conf_destroy(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_minimal),
		cmocka_unit_test(test_pinholes),
		cmocka_unit_test(test_numbers_of_both),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_misread_text),
		cmocka_unit_test(test_fault_cap),
		cmocka_unit_test(test_no_secret_in_sentences),
		cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_twins),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
