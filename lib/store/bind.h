/* bind.h - values to parameters of a statement; for lib/store only. */
#ifndef PORTIER_STORE_BIND_H
#define PORTIER_STORE_BIND_H

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "base/ip.h"
#include "base/time.h"
#include "crypto/crypto.h"

static inline void bind_text(sqlite3_stmt *st, int i, const char *text)
{
	sqlite3_bind_text(st, i, text, -1, SQLITE_TRANSIENT);
}

static inline void bind_number(sqlite3_stmt *st, int i, uint64_t n)
{
	sqlite3_bind_int64(st, i, (int64_t)n);
}

static inline void bind_time(sqlite3_stmt *st, int i, uint64_t ns)
{
	if (ns == TIME_NEVER)
		sqlite3_bind_null(st, i);
	else
		bind_number(st, i, ns);
}

static inline void bind_key(sqlite3_stmt *st, int i, const uint8_t key[static CRYPTO_KEY_BYTES])
{
	char text[CRYPTO_KEY_TEXT_CHARS]; /* wiped */

	bind_text(st, i, crypto_key_format(key, text));
	crypto_wipe(text, sizeof(text));
}

static inline void bind_addr(sqlite3_stmt *st, int i, const struct ip_addr *a)
{
	char text[IP_TEXT_CHARS];

	bind_text(st, i, ip_addr_format(a, text));
}

static inline int run(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return rc == SQLITE_DONE ? 0 : -EIO;
}

#endif
