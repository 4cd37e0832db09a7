#include "conf/conf_impl.h"
#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (512u << 20) /* a million peers take about 200 MiB */

static int read_fully(int fd, char *buf, size_t want_bytes, size_t *got_bytes)
{
	size_t got = 0;

	while (got < want_bytes) {
		ssize_t n = read(fd, buf + got, want_bytes - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	*got_bytes = got;
	return 0;
}

int conf_file_read(const char *path, char **out, size_t *len_bytes)
{
	struct stat st;
	size_t cap, got;
	char *text;
	int rc, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st) != 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EISDIR;
	if (rc == 0 && st.st_size > (off_t)FILE_BYTES_MAX)
		rc = -EFBIG;
	if (rc != 0)
		goto out_close;
	cap = (size_t)st.st_size;
	text = malloc(cap + 1);
	if (!text) {
		rc = -ENOMEM;
		goto out_close;
	}
	rc = read_fully(fd, text, cap, &got);
	if (rc != 0) {
		free(text);
		goto out_close;
	}
	text[got] = '\0';
	*out = text;
	*len_bytes = got;
out_close:
	close(fd);
	return rc;
}

/* --- what libconfig would misread ----------------------------------------------------------- */

struct scan {
	const char *p, *end;
	unsigned line;
};

static void scan_step(struct scan *s)
{
	if (*s->p++ == '\n')
		s->line++;
}

static bool scan_at(const struct scan *s, const char *what)
{
	size_t len = strlen(what);

	return (size_t)(s->end - s->p) >= len && memcmp(s->p, what, len) == 0;
}

/* Past a comment or a string, if one begins here. */
static bool scan_skip(struct conf_ctx *ctx, struct scan *s)
{
	unsigned first_line = s->line;

	if (*s->p == '#' || scan_at(s, "//")) {
		while (s->p < s->end && *s->p != '\n')
			s->p++;
		return true;
	}
	if (scan_at(s, "/*")) {
		for (s->p += 2; s->p < s->end && !scan_at(s, "*/");)
			scan_step(s);
		if (s->p == s->end)
			conf_fault_line(ctx, first_line, "the comment that begins here has no end");
		else
			s->p += 2;
		return true;
	}
	if (*s->p != '"')
		return false;
	for (s->p++; s->p < s->end && *s->p != '"'; scan_step(s)) {
		if (*s->p == '\\' && s->p + 1 < s->end)
			scan_step(s);
	}
	if (s->p < s->end)
		s->p++;
	return true;
}

static bool is_word(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
	       ch == '_' || ch == '*' || ch == '-' || ch == '.' || ch == '+';
}

/* A word is a name or a number; only a whole integer can be too large. libconfig keeps 32 bits of
 * it and says nothing. */
static bool is_large_integer(const char *word, size_t len)
{
	char text[32];
	unsigned long long value;
	char *end;
	bool is_hex;

	while (len > 0 && (*word == '-' || *word == '+')) {
		word++;
		len--;
	}
	if (len == 0 || *word < '0' || *word > '9')
		return false;
	is_hex = len > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
	for (size_t i = is_hex ? 2 : 0; i < len; i++) {
		bool is_digit = (word[i] >= '0' && word[i] <= '9') ||
				(is_hex && ((word[i] >= 'a' && word[i] <= 'f') ||
						   (word[i] >= 'A' && word[i] <= 'F')));

		if (!is_digit && word[i] != 'L')
			return false;
	}
	if (len >= sizeof(text))
		return true;
	memcpy(text, word, len);
	text[len] = '\0';
	errno = 0;
	value = strtoull(text, &end, is_hex ? 16 : 10);
	return errno == ERANGE || value > INT32_MAX;
}

void conf_text_check(struct conf_ctx *ctx, const char *text, size_t len_bytes)
{
	struct scan s = {text, text + len_bytes, 1};

	while (s.p < s.end) {
		const char *word = s.p;

		if (scan_skip(ctx, &s))
			continue;
		if (scan_at(&s, "@include")) {
			conf_fault_line(ctx, s.line,
				"@include is not supported; the configuration is one file");
			s.p += strlen("@include");
		} else if (*s.p == '\0') {
			conf_fault_line(ctx, s.line, "the file has a NUL byte; it must be text");
			return;
		} else if (is_word(*s.p)) {
			while (s.p < s.end && is_word(*s.p))
				s.p++;
			if (is_large_integer(word, (size_t)(s.p - word)))
				conf_fault_line(ctx, s.line,
					"%.*s is too large; integers here go from 0 to 2147483647",
					(int)(s.p - word > 40 ? 40 : s.p - word), word);
		} else {
			scan_step(&s);
		}
	}
}

/* --- key files ------------------------------------------------------------------------------ */

/* A path that is not absolute starts at the directory of the configuration. */
static int resolve_path(
	const struct conf_ctx *ctx, const char *text, char out[static CONF_PATH_CHARS])
{
	const char *slash = strrchr(ctx->path, '/');
	int dir_len = text[0] == '/' || !slash ? 0 : (int)(slash + 1 - ctx->path);
	int n = snprintf(out, CONF_PATH_CHARS, "%.*s%s", dir_len, ctx->path, text);

	return text[0] != '\0' && n > 0 && n < CONF_PATH_CHARS ? 0 : -EINVAL;
}

/* Fault or key: the file is opened once, so what is judged is what is read. */
static void read_key_fd(struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s,
	int fd, uint8_t key[static CRYPTO_KEY_BYTES])
{
	static const uint8_t zero[CRYPTO_KEY_BYTES];
	char path[CONF_KEY_PATH_CHARS], value[CONF_VALUE_CHARS];
	char text[CRYPTO_KEY_TEXT_CHARS + 2];	 /* wiped */
	uint8_t got_key[CRYPTO_KEY_BYTES] = {0}; /* wiped */
	struct stat st;
	size_t got = 0;
	int rc = fstat(fd, &st) == 0 ? 0 : -errno;

	conf_key_path(s, path);
	conf_value_text(s, value);
	if (rc == 0 && !S_ISREG(st.st_mode)) {
		conf_fault(ctx, s, "%s = %s is not a regular file; it takes %s", path, value,
			k->takes);
		return;
	}
	if (rc == 0 && (st.st_mode & 077) != 0) {
		conf_fault(ctx, s,
			"%s = %s has mode %04o, so others than its owner can reach it; it takes a "
			"file of mode 0600 or 0400",
			path, value, (unsigned)st.st_mode & 07777);
		return;
	}
	if (rc == 0)
		rc = read_fully(fd, text, sizeof(text) - 1, &got);
	if (rc != 0) {
		conf_fault(ctx, s, "%s = %s cannot be read (%s); it takes %s", path, value,
			strerror(-rc), k->takes);
		goto out_wipe;
	}
	text[got] = '\0';
	if (strlen(text) != got || crypto_key_parse(text, got_key) != 0 ||
		memcmp(got_key, zero, sizeof(zero)) == 0)
		conf_fault(
			ctx, s, "%s = %s does not hold a key; it takes %s", path, value, k->takes);
	else
		memcpy(key, got_key, sizeof(got_key));
out_wipe:
	crypto_wipe(text, sizeof(text));
	crypto_wipe(got_key, sizeof(got_key));
}

static void read_key_file(struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s,
	uint8_t key[static CRYPTO_KEY_BYTES], char resolved[static CONF_PATH_CHARS])
{
	char path[CONF_KEY_PATH_CHARS], value[CONF_VALUE_CHARS];
	const char *text;
	int fd;

	if (config_setting_type(s) != CONFIG_TYPE_STRING) {
		conf_fault_type(ctx, s, k->takes);
		return;
	}
	text = config_setting_get_string(s);
	if (resolve_path(ctx, text, resolved) != 0) {
		conf_fault_value(ctx, k, s, k->takes);
		return;
	}
	/* O_NONBLOCK: a FIFO here must not hold the start. */
	fd = open(resolved, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		conf_fault(ctx, s, "%s = %s cannot be read (%s); it takes %s",
			conf_key_path(s, path), conf_value_text(s, value), strerror(errno),
			k->takes);
		return;
	}
	read_key_fd(ctx, k, s, fd, key);
	close(fd);
}

void conf_read_private_key(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	struct conf *c = base;

	read_key_file(ctx, k, s, c->private_key, c->private_key_file);
}

void conf_read_preshared_key(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	struct conf_peer *peer = base;
	char resolved[CONF_PATH_CHARS];

	read_key_file(ctx, k, s, peer->preshared_key, resolved);
}
