/* The characters of a text: UTF-8, and escapes. */
#include "rpc/impl.h"

#include <stdint.h>
#include <string.h>

/* Length of the character at at, which is not ASCII; 0: it is none (RFC 3629, section 4). */
static size_t utf8_len(const char *at, const char *end)
{
	const unsigned char *b = (const unsigned char *)at;
	size_t len = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
	unsigned char low = 0x80, high = 0xbf;

	if (b[0] < 0xc2 || b[0] > 0xf4 || (size_t)(end - at) < len)
		return 0;
	if (b[0] == 0xe0)
		low = 0xa0; /* shorter would do */
	else if (b[0] == 0xed)
		high = 0x9f; /* half of a pair */
	else if (b[0] == 0xf0)
		low = 0x90;
	else if (b[0] == 0xf4)
		high = 0x8f; /* beyond the last */
	if (b[1] < low || b[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (b[i] < 0x80 || b[i] > 0xbf)
			return 0;
	return len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits after \u; negative: they are not there. */
static int32_t read_hex(const char **at, const char *end)
{
	int32_t value = 0;

	if (end - *at < 4)
		return -1;
	for (unsigned i = 0; i < 4; i++) {
		int digit = hex_digit((*at)[i]);

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	*at += 4;
	return value;
}

/* At most as long as its escape. */
static char *put_utf8(char *out, uint32_t code)
{
	if (code < 0x80) {
		*out++ = (char)code;
		return out;
	}
	if (code < 0x800) {
		*out++ = (char)(0xc0 | code >> 6);
	} else {
		if (code < 0x10000) {
			*out++ = (char)(0xe0 | code >> 12);
		} else {
			*out++ = (char)(0xf0 | code >> 18);
			*out++ = (char)(0x80 | (code >> 12 & 0x3f));
		}
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
	}
	*out++ = (char)(0x80 | (code & 0x3f));
	return out;
}

/* What follows \u. NULL: no character, or the zero that would end a text early. */
static char *read_code(const char **at, const char *end, char *out)
{
	int32_t code = read_hex(at, end), low;

	if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff))
		return NULL;
	if (code >= 0xd800 && code <= 0xdbff) {
		if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
			return NULL;
		*at += 2;
		low = read_hex(at, end);
		if (low < 0xdc00 || low > 0xdfff)
			return NULL;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	return put_utf8(out, (uint32_t)code);
}

static char *read_escape(const char **at, const char *end, char *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *found;
	char c;

	if (*at == end)
		return NULL;
	c = *(*at)++;
	if (c == 'u')
		return read_code(at, end, out);
	found = c == '\0' ? NULL : strchr(from, c);
	if (found == NULL)
		return NULL;
	*out++ = to[found - from];
	return out;
}

char *rpc_chars_read(const char **at, const char *end, char *out)
{
	while (*at < end) {
		unsigned char c = (unsigned char)**at;
		size_t len;

		if (rpc_is_plain(c)) {
			*out++ = *(*at)++;
		} else if (c == '"') {
			(*at)++;
			return out;
		} else if (c == '\\') {
			(*at)++;
			out = read_escape(at, end, out);
			if (out == NULL)
				return NULL;
		} else {
			len = c < 0x80 ? 0 : utf8_len(*at, end);
			if (len == 0)
				return NULL;
			memcpy(out, *at, len);
			out += len;
			*at += len;
		}
	}
	return NULL;
}
