/* ip.c - addresses, prefixes and endpoints: text, containment, martians. */
#include "base/ip.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>

/* Length in bits of the prefix ::ffff:0:0 that every IPv4 address carries in front. */
#define V4_PREFIX_BITS 96

static bool is_v4_prefix(const struct ip_prefix *p)
{
	return p->len_bits >= V4_PREFIX_BITS && ip_is_v4(&p->addr);
}

static bool equal_bits(const struct ip_addr *a, const struct ip_addr *b, unsigned n_bits)
{
	unsigned whole = n_bits / 8, rest = n_bits % 8;

	if (memcmp(a->bytes, b->bytes, whole) != 0)
		return false;
	return rest == 0 || ((a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest)) == 0;
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a)
{
	return is_v4_prefix(p) == ip_is_v4(a) && equal_bits(&p->addr, a, p->len_bits);
}

bool ip_prefixes_contain(const struct ip_prefix *list, unsigned n, const struct ip_addr *a)
{
	for (unsigned i = 0; i < n; i++)
		if (ip_prefix_contains(&list[i], a))
			return true;
	return false;
}

static uint64_t count_addresses(const struct ip_prefix *v4)
{
	return UINT64_C(1) << (128 - v4->len_bits);
}

uint64_t ip_prefixes_count(const struct ip_prefix *list, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += count_addresses(&list[i]);
	return sum;
}

struct ip_addr ip_prefixes_at(const struct ip_prefix *list, unsigned n, uint64_t rank)
{
	struct ip_addr addr = {0};

	for (unsigned i = 0; i < n; i++) {
		addr = list[i].addr;
		if (rank < count_addresses(&list[i]))
			break;
		rank -= count_addresses(&list[i]);
	}
	store_be32(addr.bytes + 12, load_be32(addr.bytes + 12) | (uint32_t)rank);
	return addr;
}

bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b)
{
	unsigned shorter = a->len_bits < b->len_bits ? a->len_bits : b->len_bits;

	return is_v4_prefix(a) == is_v4_prefix(b) && equal_bits(&a->addr, &b->addr, shorter);
}

struct ip_addr ip_addr_masked(const struct ip_addr *a, unsigned len_bits)
{
	struct ip_addr masked = {{0}};
	unsigned whole = len_bits / 8, rest = len_bits % 8;

	memcpy(masked.bytes, a->bytes, whole);
	if (rest != 0)
		masked.bytes[whole] = a->bytes[whole] & (uint8_t)(0xff00u >> rest);
	return masked;
}

struct ip_prefix ip_ifaddr_prefix(const struct ip_ifaddr *i)
{
	return (struct ip_prefix){ip_addr_masked(&i->addr, i->len_bits), i->len_bits};
}

bool ip_is_martian(const struct ip_addr *a)
{
	static const struct ip_addr loopback = {{[15] = 1}};

	if (ip_is_v4(a)) {
		uint8_t top = ip_v4_bytes(a)[0];

		return top == 0 || top == 127 || top >= 224;
	}
	return ip_is_none(a) || ip_equal(a, &loopback) || a->bytes[0] == 0xff;
}

bool ip_is_link_local(const struct ip_addr *a)
{
	if (ip_is_v4(a))
		return a->bytes[12] == 169 && a->bytes[13] == 254;
	return a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

int ip_addr_parse(const char *text, struct ip_addr *out)
{
	uint8_t v6[16], v4[4];

	if (inet_pton(AF_INET, text, v4) == 1)
		*out = ip_from_v4(v4);
	else if (inet_pton(AF_INET6, text, v6) == 1)
		*out = ip_from_v6(v6);
	else
		return -EINVAL;
	return 0;
}

/* Digits only, no sign, no leading zero, at most max. */
static int parse_decimal(const char *text, unsigned max, unsigned *out)
{
	unsigned value = 0;

	if (*text == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(*text - '0');
		if (value > max)
			return -EINVAL;
	}
	*out = value;
	return 0;
}

static int parse_addr_part(const char *text, size_t len, struct ip_addr *out)
{
	char part[INET6_ADDRSTRLEN];

	if (len >= sizeof(part))
		return -EINVAL;
	memcpy(part, text, len);
	part[len] = '\0';
	return ip_addr_parse(part, out);
}

/* "address/len"; slash points into text. */
static int parse_with_len(
	const char *text, const char *slash, struct ip_addr *addr, uint8_t *len_bits)
{
	size_t addr_len = (size_t)(slash - text);
	struct ip_addr a;
	unsigned len, base;

	if (parse_addr_part(text, addr_len, &a) != 0)
		return -EINVAL;
	/* The notation, not the value, says how the length counts: ::ffff:192.0.2.0/120 is legal.
	 */
	base = memchr(text, ':', addr_len) != NULL ? 0 : V4_PREFIX_BITS;
	if (parse_decimal(slash + 1, 128 - base, &len) != 0)
		return -EINVAL;
	/* An address of one family under a prefix of the other would belong to neither. */
	if (ip_is_v4(&a) && base + len < V4_PREFIX_BITS)
		return -EINVAL;
	*addr = a;
	*len_bits = (uint8_t)(base + len);
	return 0;
}

int ip_prefix_parse(const char *text, struct ip_prefix *out)
{
	const char *slash = strchr(text, '/');
	struct ip_prefix p = {.len_bits = 128};
	struct ip_addr network;

	if (slash == NULL) {
		if (ip_addr_parse(text, &p.addr) != 0)
			return -EINVAL;
	} else if (parse_with_len(text, slash, &p.addr, &p.len_bits) != 0) {
		return -EINVAL;
	}
	network = ip_addr_masked(&p.addr, p.len_bits);
	if (!ip_equal(&network, &p.addr))
		return -EINVAL;
	*out = p;
	return 0;
}

int ip_ifaddr_parse(const char *text, struct ip_ifaddr *out)
{
	const char *slash = strchr(text, '/');
	struct ip_ifaddr i = {0};

	if (slash == NULL || parse_with_len(text, slash, &i.addr, &i.len_bits) != 0)
		return -EINVAL;
	*out = i;
	return 0;
}

int ip_endpoint_parse(const char *text, struct ip_endpoint *out)
{
	const char *colon = strrchr(text, ':');
	struct ip_endpoint e;
	unsigned port;
	size_t len;
	bool has_brackets = text[0] == '[';

	if (colon == NULL || parse_decimal(colon + 1, UINT16_MAX, &port) != 0 || port == 0)
		return -EINVAL;
	len = (size_t)(colon - text);
	if (has_brackets) {
		if (len < 2 || text[len - 1] != ']')
			return -EINVAL;
		text++;
		len -= 2;
	}
	/* Brackets and colons in the address go together, so that each text has one reading. */
	if (has_brackets != (memchr(text, ':', len) != NULL))
		return -EINVAL;
	if (parse_addr_part(text, len, &e.addr) != 0)
		return -EINVAL;
	e.port = (uint16_t)port;
	*out = e;
	return 0;
}

/* By hand: inet_ntop goes through printf, and a list of leases has two addresses a line. */
static void format_v4(const uint8_t *bytes, char *at)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned value = bytes[i];

		if (value >= 100)
			*at++ = (char)('0' + value / 100);
		if (value >= 10)
			*at++ = (char)('0' + value / 10 % 10);
		*at++ = (char)('0' + value % 10);
		*at++ = i < 3 ? '.' : '\0';
	}
}

char *ip_addr_format(const struct ip_addr *a, char buf[static IP_TEXT_CHARS])
{
	static_assert(
		IP_TEXT_CHARS >= INET6_ADDRSTRLEN + sizeof("[]:65535"), "room for an endpoint");

	if (ip_is_v4(a))
		format_v4(ip_v4_bytes(a), buf);
	else
		inet_ntop(AF_INET6, a->bytes, buf, IP_TEXT_CHARS);
	return buf;
}

char *ip_prefix_format(const struct ip_prefix *p, char buf[static IP_TEXT_CHARS])
{
	size_t used;

	ip_addr_format(&p->addr, buf);
	if (p->len_bits == 128)
		return buf;
	used = strlen(buf);
	snprintf(buf + used, IP_TEXT_CHARS - used, "/%u",
		is_v4_prefix(p) ? p->len_bits - V4_PREFIX_BITS : p->len_bits);
	return buf;
}

char *ip_endpoint_format(const struct ip_endpoint *e, char buf[static IP_TEXT_CHARS])
{
	char addr[IP_TEXT_CHARS];

	ip_addr_format(&e->addr, addr);
	/* %.45s: the longest address, which also shows the compiler that buf is large enough. */
	snprintf(buf, IP_TEXT_CHARS, ip_is_v4(&e->addr) ? "%.45s:%u" : "[%.45s]:%u", addr, e->port);
	return buf;
}
