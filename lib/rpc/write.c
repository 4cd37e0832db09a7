/* The longer parts of write.h. */
#include "rpc/rpc.h"

#include <string.h>

static const char decimal_pairs[] = "00010203040506070809"
				    "10111213141516171819"
				    "20212223242526272829"
				    "30313233343536373839"
				    "40414243444546474849"
				    "50515253545556575859"
				    "60616263646566676869"
				    "70717273747576777879"
				    "80818283848586878889"
				    "90919293949596979899";

/* Digits of value, in front of end. */
static void put_digits(char *end, uint64_t value)
{
	while (value >= 100) {
		end -= 2;
		memcpy(end, decimal_pairs + value % 100 * 2, 2);
		value /= 100;
	}
	if (value >= 10) {
		end -= 2;
		memcpy(end, decimal_pairs + value * 2, 2);
	} else {
		*--end = (char)('0' + value);
	}
}

/* Copied as it is; false: something in it needs an escape, or the eye of who knows UTF-8. */
static bool copy_plain(char *at, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			return false;
		at[i] = (char)c;
	}
	return true;
}

void rpc_write_text(struct rpc_text *t, const char *name, const char *text)
{
	size_t len = strlen(text);
	char *at = rpc_write_name(t, name, len + 2);

	if (at == NULL)
		return;
	if (!copy_plain(at + 1, text, len)) {
		rpc_write_json(t, name, json_stringn(text, len));
		return;
	}
	at[0] = '"';
	at[len + 1] = '"';
	rpc_write_done(t, at + len + 2);
}

static unsigned count_digits(uint64_t value)
{
	unsigned n = 1;

	while (value >= 10000) {
		value /= 10000;
		n += 4;
	}
	return n + (value >= 10) + (value >= 100) + (value >= 1000);
}

static char *put_whole(char *at, uint64_t value)
{
	at += count_digits(value);
	put_digits(at, value);
	return at;
}

char *rpc_put_integer(char *at, int64_t value)
{
	if (value >= 0)
		return put_whole(at, (uint64_t)value);
	*at = '-';
	return put_whole(at + 1, 0 - (uint64_t)value);
}

char *rpc_put_seconds(char *at, uint64_t ns)
{
	if (ns == TIME_NEVER) {
		memcpy(at, "null", 4);
		return at + 4;
	}
	at = put_whole(at, ns / NS_IN_S);
	if (ns % NS_IN_S == 0)
		return at;
	/* 1,000 more, so that the zeros in front are there; the point takes its place. */
	put_digits(at + 4, 1000 + ns % NS_IN_S / NS_IN_MS);
	*at = '.';
	return at + 4;
}

static int append_chunk(const char *chars, size_t len, void *arg)
{
	rpc_text_append(arg, chars, len);
	return 0;
}

void rpc_write_json(struct rpc_text *t, const char *name, json_t *value)
{
	char *at = rpc_write_name(t, name, 0);

	if (at == NULL) {
		json_decref(value);
		return;
	}
	rpc_write_done(t, at);
	if (value == NULL)
		rpc_text_append(t, "null", 4);
	else if (json_dump_callback(value, append_chunk, t, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
		t->is_broken = true;
	json_decref(value);
}
