/* conf_fuzz.c - conf_load is total: any bytes are a configuration or are refused with sentences.
 *
 * The parser is libconfig's; what it would misread is refused before it sees it (conf_text_check).
 */
#include "conf/conf.h"
#include "crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses the string in which a file ends, and a byte that its lexer takes. */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

static void check_sentence(void *arg, const char *sentence)
{
	size_t len = strlen(sentence);

	if (len == 0 || len >= CONF_FAULT_CHARS)
		abort();
	for (size_t i = 0; i < len; i++) {
		if (sentence[i] < ' ' || sentence[i] > '~')
			abort();
	}
	++*(unsigned *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	static char path[64];
	struct conf *c = NULL;
	unsigned n_faults = 0;
	int rc;

	if (fd < 0) {
		fd = memfd_create("conf", 0);
		if (fd < 0 || crypto_init() != 0)
			abort();
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	rc = conf_load(path, check_sentence, &n_faults, &c);
	if ((rc == 0) != (n_faults == 0) || (rc == 0) != (c != NULL))
		abort();
	conf_destroy(c);
	return 0;
}
