/* uapi_test.c - requests of the WireGuard tools: what wg(8) writes is understood, all else is
 * -EINVAL and leaves the next request readable.
 */
#include "uapi/uapi.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_A "c53201039adba14be71f886da1d8dbe9eebded08cb111b75340078999aa9f038"
#define KEY_B "0000000000000000000000000000000000000000000000000000000000000001"

/* --- memory: the Nth allocation fails, and nothing freed may hold a key --------------------------
 */

static unsigned fail_at, n_allocs;
static const void *watched;
static size_t watched_len;

void *__real_calloc(size_t n, size_t size);
void __real_free(void *p);
void *__wrap_calloc(size_t n, size_t size);
void __wrap_free(void *p);

void *__wrap_calloc(size_t n, size_t size)
{
	return ++n_allocs == fail_at ? NULL : __real_calloc(n, size);
}

void __wrap_free(void *p)
{
	for (size_t i = 0; p != NULL && p == watched && i < watched_len; i++)
		assert_int_equal(((const uint8_t *)p)[i], 0);
	__real_free(p);
}

/* --- helpers -------------------------------------------------------------------------------------
 */

/* All of text, one request; each line lies at the end of its memory. Returns its err. */
static int request_read(struct uapi_request *r, const char *text)
{
	bool is_last = false;

	*r = (struct uapi_request){0};
	n_allocs = 0;
	while (!is_last) {
		size_t len = strcspn(text, "\n");
		char *line = malloc(len > 0 ? len : 1);

		assert_non_null(line);
		assert_int_equal(text[len], '\n');
		memcpy(line, text, len);
		is_last = uapi_request_line(r, line, len);
		__real_free(line);
		text += len + 1;
	}
	assert_int_equal(text[0], '\0');
	return r->err;
}

static void assert_fault(const char *text, int err)
{
	struct uapi_request r;

	if (request_read(&r, text) != err)
		fail_msg("%d, not %d: %s", r.err, err, text);
	uapi_request_fini(&r);
}

/* --- tests ---------------------------------------------------------------------------------------
 */

static void test_get(void **state)
{
	struct uapi_request r;

	assert_int_equal(request_read(&r, "get=1\n\n"), 0);
	assert_int_equal(r.kind, UAPI_GET);
	uapi_request_fini(&r);
	assert_int_equal(r.kind, UAPI_NONE);
}

/* Each key of the specification, in the way wg(8) writes it. */
static void test_set(void **state)
{
	struct uapi_request r;
	char text[IP_TEXT_CHARS], key[UAPI_KEY_TEXT_CHARS];

	assert_int_equal(
		request_read(&r, "set=1\nprivate_key=" KEY_B "\nlisten_port=51820\nfwmark=7\n"
				 "replace_peers=true\npublic_key=" KEY_A "\n"
				 "preshared_key=" KEY_B "\nendpoint=[2001:db8::1]:51820\n"
				 "persistent_keepalive_interval=25\nreplace_allowed_ips=true\n"
				 "allowed_ip=10.0.0.2/32\nallowed_ip=fd00::2/128\n"
				 "protocol_version=1\n"
				 "public_key=" KEY_B "\nremove=true\nupdate_only=true\n\n"),
		0);
	assert_int_equal(r.kind, UAPI_SET);
	assert_true(r.sets_private_key && r.sets_listen_port && r.sets_fwmark && r.replaces_peers);
	assert_string_equal(uapi_key_format(r.private_key, key), KEY_B);
	assert_int_equal(r.listen_port, 51820);
	assert_int_equal(r.fwmark, 7);
	assert_int_equal(r.n_peers, 2);
	assert_string_equal(uapi_key_format(r.peers[0].public_key, key), KEY_A);
	assert_string_equal(uapi_key_format(r.peers[0].preshared_key, key), KEY_B);
	assert_string_equal(ip_endpoint_format(&r.peers[0].endpoint, text), "[2001:db8::1]:51820");
	assert_int_equal(r.peers[0].persistent_keepalive_s, 25);
	assert_true(r.peers[0].sets_preshared_key && r.peers[0].sets_endpoint &&
		    r.peers[0].sets_keepalive && r.peers[0].replaces_allowed_ips);
	assert_false(r.peers[0].removes || r.peers[0].updates_only);
	assert_int_equal(r.peers[0].n_allowed_ips, 2);
	assert_string_equal(ip_prefix_format(&r.peers[0].allowed_ips[0], text), "10.0.0.2");
	assert_string_equal(ip_prefix_format(&r.peers[0].allowed_ips[1], text), "fd00::2");
	assert_true(r.peers[1].removes && r.peers[1].updates_only);
	assert_int_equal(r.peers[1].n_allowed_ips, 0);
	assert_false(r.peers[1].sets_preshared_key || r.peers[1].sets_endpoint ||
		     r.peers[1].sets_keepalive || r.peers[1].replaces_allowed_ips);
	uapi_request_fini(&r);
}

static void test_later_key_counts(void **state)
{
	struct uapi_request r;

	assert_int_equal(request_read(&r, "set=1\nlisten_port=1\nlisten_port=2\npublic_key=" KEY_A
					  "\nallowed_ip=10.0.0.2\nreplace_allowed_ips=true\n\n"),
		0);
	assert_int_equal(r.listen_port, 2);
	assert_int_equal(r.peers[0].n_allowed_ips, 0);
	uapi_request_fini(&r);
}

static void test_faults(void **state)
{
	static const char *const bad_lines[] = {"nonsense", "=", "=1", "listen_port",
		"listen_port=", "listen_port=65536", "listen_port=-1", "listen_port= 1",
		"listen_port=0x1", "listen_port=18446744073709551617", "fwmark=4294967296",
		"private_key=", "private_key=" KEY_A "0", "private_key=g" KEY_A,
		"replace_peers=false", "replace_peers=1", "endpoint=1.2.3.4:5",
		"allowed_ip=10.0.0.2/32", "remove=true", "get=1", "set=1", "errno=0",
		"public_key=", "public_key=" KEY_A "\nlisten_port=1",
		"public_key=" KEY_A "\nreplace_peers=true", "public_key=" KEY_A "\nremove=false",
		"public_key=" KEY_A "\nupdate_only=yes", "public_key=" KEY_A "\nendpoint=1.2.3.4",
		"public_key=" KEY_A "\nendpoint=1.2.3.4:0",
		"public_key=" KEY_A "\nendpoint=host.example:1",
		"public_key=" KEY_A "\npersistent_keepalive_interval=off",
		"public_key=" KEY_A "\npersistent_keepalive_interval=65536",
		"public_key=" KEY_A "\nallowed_ip=10.0.0.2/33",
		"public_key=" KEY_A "\nallowed_ip=-10.0.0.2/32",
		"public_key=" KEY_A "\nallowed_ip=10.0.0.2/24",
		"public_key=" KEY_A "\nprotocol_version=2",
		"public_key=" KEY_A "\npreshared_key=" KEY_A " ",
		"public_key=" KEY_A "\nreplace_allowed_ips=no",
		"public_key=" KEY_A "\nallowed_ip=10.0.0.2\nunknown=1"};
	char text[512];

	for (size_t i = 0; i < sizeof(bad_lines) / sizeof(bad_lines[0]); i++) {
		snprintf(text, sizeof(text), "set=1\n%s\nlisten_port=1\n\n", bad_lines[i]);
		assert_fault(text, -EINVAL);
	}
	assert_fault("\n", -EINVAL);
	assert_fault("get=2\n\n", -EINVAL);
	assert_fault("set=0\n\n", -EINVAL);
	assert_fault("listen_port=1\n\n", -EINVAL);
	assert_fault("get=1\nlisten_port=1\n\n", -EINVAL);
	assert_fault("get=1\nget=1\n\n", -EINVAL);
}

static void test_long_and_binary_lines(void **state)
{
	struct uapi_request r = {0};
	char line[UAPI_LINE_BYTES_MAX + 1];

	memset(line, 'x', sizeof(line));
	assert_false(uapi_request_line(&r, "set=1", 5));
	assert_false(uapi_request_line(&r, line, sizeof(line)));
	assert_int_equal(r.err, -EINVAL);
	assert_true(uapi_request_line(&r, "", 0));
	uapi_request_fini(&r);
	assert_false(uapi_request_line(&r, "set=1\0", 6));
	assert_int_equal(r.err, -EINVAL);
	uapi_request_fini(&r);
}

/* Each prefix of a sound request is a request, or a fault; never more. */
static void test_truncated(void **state)
{
	static const char text[] = "set=1\nlisten_port=1\npublic_key=" KEY_A
				   "\nendpoint=192.0.2.1:51820\nallowed_ip=10.0.0.2/32\n";
	char cut[sizeof(text) + 2];
	struct uapi_request r;

	for (size_t len = 1; len < sizeof(text) - 1; len++) {
		snprintf(cut, sizeof(cut), "%.*s%s", (int)len, text,
			text[len - 1] == '\n' ? "\n" : "\n\n");
		request_read(&r, cut);
		assert_true(r.err == 0 || r.err == -EINVAL);
		assert_true(r.n_peers <= 1);
		uapi_request_fini(&r);
	}
}

static void test_bounds(void **state)
{
	struct uapi_request r = {0};
	static const char key[] = "public_key=" KEY_A, ip[] = "allowed_ip=10.0.0.2";

	uapi_request_line(&r, "set=1", 5);
	for (unsigned i = 0; i < UAPI_PEERS_MAX; i++)
		uapi_request_line(&r, key, sizeof(key) - 1);
	assert_int_equal(r.err, 0);
	for (unsigned i = 0; i < UAPI_ALLOWED_IPS_MAX; i++)
		uapi_request_line(&r, ip, sizeof(ip) - 1);
	assert_int_equal(r.err, 0);
	uapi_request_line(&r, ip, sizeof(ip) - 1);
	assert_int_equal(r.err, -E2BIG);
	uapi_request_fini(&r);

	uapi_request_line(&r, "set=1", 5);
	for (unsigned i = 0; i <= UAPI_PEERS_MAX; i++)
		uapi_request_line(&r, key, sizeof(key) - 1);
	assert_int_equal(r.err, -E2BIG);
	assert_int_equal(r.n_peers, UAPI_PEERS_MAX);
	uapi_request_fini(&r);
}

static void test_memory_out(void **state)
{
	struct uapi_request r = {0};
	static const char key[] = "public_key=" KEY_A;

	for (unsigned nth = 1; nth <= 3; nth++) {
		n_allocs = 0;
		fail_at = nth;
		uapi_request_line(&r, "set=1", 5);
		for (unsigned i = 0; i < 64; i++)
			uapi_request_line(&r, key, sizeof(key) - 1);
		assert_int_equal(r.err, -ENOMEM);
		assert_int_equal(r.n_peers, nth == 1 ? 0 : 16u << (nth - 2));
		uapi_request_fini(&r);
	}
	fail_at = 0;
}

/* Keys do not stay in memory that is given back, neither when it grows nor at the end. */
static void test_wiped(void **state)
{
	struct uapi_request r = {0};
	static const char key[] = "public_key=" KEY_A, psk[] = "preshared_key=" KEY_A;

	uapi_request_line(&r, "set=1", 5);
	for (unsigned i = 0; i < 17; i++) {
		watched = r.peers;
		watched_len = r.n_peers * sizeof(r.peers[0]);
		uapi_request_line(&r, key, sizeof(key) - 1);
		uapi_request_line(&r, psk, sizeof(psk) - 1);
	}
	watched = r.peers;
	watched_len = r.n_peers * sizeof(r.peers[0]);
	uapi_request_fini(&r);
	watched = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_later_key_counts),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_long_and_binary_lines),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_memory_out),
		cmocka_unit_test(test_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
