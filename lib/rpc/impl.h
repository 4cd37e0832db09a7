/* impl.h - the inside of lib/rpc. */
#ifndef PORTIER_RPC_IMPL_H
#define PORTIER_RPC_IMPL_H

#include <stdbool.h>
#include <stddef.h>

/* In a text it stands for itself, alone. */
static inline bool rpc_is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* What comes before the closing quote to out, which has room for as much; *at is then behind the
 * quote. Returns its end; NULL: it is no text, and *at is where. */
char *rpc_chars_read(const char **at, const char *end, char *out);

#endif
