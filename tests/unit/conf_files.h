/* conf_files.h - for the tests of conf: a directory with key files, and files loaded from it. */
#ifndef PORTIER_TESTS_CONF_FILES_H
#define PORTIER_TESTS_CONF_FILES_H

#include "conf/conf.h"
#include "conf/conf_impl.h"
#include "crypto/crypto.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_CHARS   (64 * 1024)
#define FAULTS_MAX   128
#define KEY_TEXT     "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
#define PSK_TEXT     "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE="
#define KEY_TEXT_LEN 44

#define MINIMAL_HEAD                                                                              \
	"eal = { lcores = [ 0, 0 ]; };\n"                                                         \
	"ports = ( { name = \"p0\"; device = \"net_tap0\"; roles = [ \"tunnel\", \"public\" ];\n" \
	"  addresses = [ \"192.0.2.1/24\" ]; } );\n"                                              \
	"tunnel = { private_key_file = \"private.key\"; inner_addresses = [ \"100.64.0.1\" ]; "   \
	"};\n"                                                                                    \
	"public = { pool = [ \"198.51.100.0/28\" ]; };\n"

static char work_dir[] = "/tmp/conf_test.XXXXXX";
static uint8_t private_key[CRYPTO_KEY_BYTES];
static char own_key_text[CRYPTO_KEY_TEXT_CHARS];

struct faults {
	unsigned n;
	char text[FAULTS_MAX][CONF_FAULT_CHARS];
};
static struct faults faults;

static inline void collect(void *arg, const char *sentence)
{
	struct faults *f = arg;

	assert_true(strlen(sentence) < CONF_FAULT_CHARS);
	assert_null(strchr(sentence, '\n'));
	assert_null(strstr(sentence, "yAnz5TF")); /* the private key */
	assert_true(f->n < FAULTS_MAX);
	snprintf(f->text[f->n++], CONF_FAULT_CHARS, "%s", sentence);
}

/* --- files ------------------------------------------------------------------------------------ */

static inline char *work_path(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", work_dir, name);
	return path;
}

static inline void file_write(const char *name, const char *text, unsigned mode)
{
	FILE *f = fopen(work_path(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(work_path(name), mode), 0);
}

static inline void file_read(const char *path, char text[static TEXT_CHARS])
{
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, TEXT_CHARS - 1, f);
	text[n] = '\0';
	assert_int_equal(fclose(f), 0);
}

/* In place; to may not be longer than from by more than text has room for. */
static inline void replace(char text[static TEXT_CHARS], const char *from, const char *to)
{
	static char rest[TEXT_CHARS];

	for (char *p = text; (p = strstr(p, from)); p += strlen(to)) {
		snprintf(rest, sizeof(rest), "%s", p + strlen(from));
		snprintf(p, (size_t)(text + TEXT_CHARS - p), "%s%s", to, rest);
	}
}

static inline int load(const char *name, struct conf **out)
{
	memset(&faults, 0, sizeof(faults));
	return conf_load(work_path(name), collect, &faults, out);
}

static inline void documented_read(char text[static TEXT_CHARS], bool with_examples)
{
	file_read(CONF_SOURCE_DIR "/config/portier.conf", text);
	replace(text, "/etc/portier/private.key", "private.key");
	replace(text, "/etc/portier/alice.psk", "alice.psk");
	replace(text, "lcores = [ 0, 1 ]", "lcores = [ 0, 0 ]"); /* this machine may have one */
	if (with_examples)
		replace(text, "#:", " ");
}

static inline int load_text(const char *text, struct conf **out)
{
	file_write("test.conf", text, 0644);
	return load("test.conf", out);
}

static inline struct conf *load_good(const char *text)
{
	struct conf *c = NULL;
	int rc = load_text(text, &c);

	if (rc != 0)
		fail_msg("refused: %s", faults.n ? faults.text[0] : "without a sentence");
	assert_int_equal(faults.n, 0);
	return c;
}

/* --- setup and teardown of the group
 * ------------------------------------------------------------------------------------
 */

static inline int setup(void **state)
{
	struct crypto_x25519_key *key;
	uint8_t public_key[CRYPTO_KEY_BYTES];

	if (crypto_init() != 0 || !mkdtemp(work_dir))
		return -1;
	file_write("private.key", KEY_TEXT "\n", 0600);
	file_write("alice.psk", PSK_TEXT "\n", 0400);
	file_write("world.key", KEY_TEXT "\n", 0604);
	file_write("group.key", KEY_TEXT "\n", 0640);
	file_write("malformed.key", "aGVsbG8=\n", 0600);
	file_write("empty.key", "", 0600);
	if (mkdir(work_path("directory.key"), 0700) != 0 ||
		crypto_key_parse(KEY_TEXT, private_key) != 0)
		return -1;
	key = crypto_x25519_key_create(private_key);
	if (!key)
		return -1;
	crypto_x25519_key_public(key, public_key);
	crypto_x25519_key_destroy(key);
	crypto_key_format(public_key, own_key_text);
	return 0;
}

static inline int teardown(void **state)
{
	DIR *d = opendir(work_dir);

	for (struct dirent *e; d && (e = readdir(d));)
		remove(work_path(e->d_name));
	if (d)
		closedir(d);
	return rmdir(work_dir);
}

#endif
