/* ip.h - addresses, prefixes and endpoints of both families in one shape.
 *
 * An address is 16 bytes, network order; IPv4 is held as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), so one
 * compare, one hash key and one field serve both families. All-zero is "none".
 * Threads: pure functions, any thread.
 */
#ifndef PORTIER_BASE_IP_H
#define PORTIER_BASE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ip_addr {
	uint8_t bytes[16];
};

/* len_bits counts from the top of the 16 bytes: an IPv4 /24 is held as 120. Host bits are zero. */
struct ip_prefix {
	struct ip_addr addr;
	uint8_t len_bits;
};

struct ip_endpoint {
	struct ip_addr addr;
	uint16_t port; /* host order */
};

/* An address with the prefix length of its link: 192.0.2.1/24 keeps its host bits. */
struct ip_ifaddr {
	struct ip_addr addr;
	uint8_t len_bits; /* as in ip_prefix */
};

static inline struct ip_addr ip_from_v4(const uint8_t v4[4])
{
	struct ip_addr a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};

	memcpy(a.bytes + 12, v4, 4);
	return a;
}

static inline struct ip_addr ip_from_v6(const uint8_t v6[16])
{
	struct ip_addr a;

	memcpy(a.bytes, v6, 16);
	return a;
}

static inline bool ip_is_v4(const struct ip_addr *a)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	return memcmp(a->bytes, mapped, sizeof(mapped)) == 0;
}

static inline bool ip_is_none(const struct ip_addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->bytes, zero, sizeof(zero)) == 0;
}

static inline bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static inline bool ip_endpoint_equal(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
	return a->port == b->port && ip_equal(&a->addr, &b->addr);
}

/* The four bytes of an IPv4 address, network order in memory; only when ip_is_v4(). */
static inline const uint8_t *ip_v4_bytes(const struct ip_addr *a)
{
	return a->bytes + 12;
}

/* The families stay apart: ::/0 holds no IPv4 address. */
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a);
bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);
static inline bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->len_bits == b->len_bits && ip_equal(&a->addr, &b->addr);
}

/* Of a list of prefixes, in O(n). Is the address in one of them? */
bool ip_prefixes_contain(const struct ip_prefix *list, unsigned n, const struct ip_addr *a);
/* How many addresses IPv4 prefixes have, and the one of this rank, which is less. */
uint64_t ip_prefixes_count(const struct ip_prefix *list, unsigned n);
struct ip_addr ip_prefixes_at(const struct ip_prefix *list, unsigned n, uint64_t rank);

/* The first len_bits (at most 128, counted as in ip_prefix) of an address, the rest zero. */
struct ip_addr ip_addr_masked(const struct ip_addr *a, unsigned len_bits);
/* The link prefix of an interface address, host bits cleared. */
struct ip_prefix ip_ifaddr_prefix(const struct ip_ifaddr *i);
/* Loopback, multicast, unspecified, broadcast, 240/4, 0/8: never a host's source address. */
bool ip_is_martian(const struct ip_addr *a);
/* 169.254/16, fe80::/10: of no use beyond its link. */
bool ip_is_link_local(const struct ip_addr *a);

/* IPv4 with 1 for its last byte: where hosts of a /24 guess their gateway to be. */
static inline bool ip_is_gateway_guess(const struct ip_addr *a)
{
	return ip_is_v4(a) && a->bytes[15] == 1;
}

/* Global unicast (RFC 4291, 2.4) or unique local (RFC 4193): what IPv6 routes lead to. */
static inline bool ip_is_routable_v6(const struct ip_addr *a)
{
	return (a->bytes[0] & 0xe0) == 0x20 || (a->bytes[0] & 0xfe) == 0xfc;
}

/* Text to value. Each returns 0, or -EINVAL with *out untouched. No name look-ups, no surrounding
 * space, IPv4 in four decimal parts only. A prefix without "/len" is one host; a prefix with host
 * bits set is -EINVAL, an ifaddr keeps them and needs its "/len". Endpoints are "192.0.2.1:51820"
 * and "[2001:db8::1]:51820", port 1 to 65535. */
int ip_addr_parse(const char *text, struct ip_addr *out);
int ip_prefix_parse(const char *text, struct ip_prefix *out);
int ip_ifaddr_parse(const char *text, struct ip_ifaddr *out);
int ip_endpoint_parse(const char *text, struct ip_endpoint *out);

/* Value to text (RFC 5952), the inverse of the parsers; each returns buf. A host prefix is written
 * without its length. */
#define IP_TEXT_CHARS 64
char *ip_addr_format(const struct ip_addr *a, char buf[static IP_TEXT_CHARS]);
char *ip_prefix_format(const struct ip_prefix *p, char buf[static IP_TEXT_CHARS]);
char *ip_endpoint_format(const struct ip_endpoint *e, char buf[static IP_TEXT_CHARS]);

#endif
