#include "neigh/onlink.h"
#include "base/bytes.h"

#define V4_BITS_BEFORE 96

static struct onlink_prefix compile_prefix(const struct ip_addr *addr, unsigned len_bits)
{
	uint8_t mask[16] = {0};
	struct onlink_prefix p;

	for (unsigned i = 0; i < len_bits && i < 128; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
	memcpy(p.mask, mask, sizeof(p.mask));
	memcpy(p.net, addr->bytes, sizeof(p.net));
	p.net[0] &= p.mask[0];
	p.net[1] &= p.mask[1];
	return p;
}

bool onlink_init(struct onlink *o, const struct neigh_link *link)
{
	if (link->n_ifaddrs > NEIGH_IFADDRS_MAX || link->n_pool > NEIGH_POOL_MAX)
		return false;
	*o = (struct onlink){.gateway4 = link->gateway4,
		.gateway6 = link->gateway6,
		.n_ifaddrs = link->n_ifaddrs};
	for (unsigned i = 0; i < link->n_ifaddrs; i++) {
		const struct ip_ifaddr *ifaddr = &link->ifaddrs[i];

		o->ifaddrs[i] = *ifaddr;
		o->nets[i] = compile_prefix(&ifaddr->addr, ifaddr->len_bits);
		o->ours[o->n_ours++] = compile_prefix(&ifaddr->addr, 128);
		o->has_v4 |= ip_is_v4(&ifaddr->addr);
		o->has_v6 |= !ip_is_v4(&ifaddr->addr);
	}
	for (unsigned i = 0; i < link->n_pool; i++)
		o->ours[o->n_ours++] = compile_prefix(&link->pool[i].addr, link->pool[i].len_bits);
	return true;
}

static bool is_gateway(const struct onlink *o, const struct ip_addr *addr)
{
	return ip_equal(addr, &o->gateway4) || ip_equal(addr, &o->gateway6);
}

bool onlink_is_ours(const struct onlink *o, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < o->n_ours; i++)
		if (onlink_prefix_has(&o->ours[i], addr))
			return i < o->n_ifaddrs || !is_gateway(o, addr);
	return false;
}

bool onlink_is_near(const struct onlink *o, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < o->n_ifaddrs; i++)
		if (onlink_prefix_has(&o->nets[i], addr))
			return true;
	/* fe80::/10 is on every IPv6 link (RFC 4291, 2.5.6). */
	return o->has_v6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

/* RFC 1122, 3.2.1.3; a /31 has neither (RFC 3021). */
static bool is_net_or_broadcast(const struct onlink *o, const struct ip_addr *addr)
{
	uint32_t host = load_be32(ip_v4_bytes(addr)), mask;

	for (unsigned i = 0; i < o->n_ifaddrs; i++) {
		unsigned len_bits = o->ifaddrs[i].len_bits;

		if (!onlink_prefix_has(&o->nets[i], addr) || len_bits < V4_BITS_BEFORE + 1 ||
			len_bits > V4_BITS_BEFORE + 30)
			continue;
		mask = UINT32_MAX >> (len_bits - V4_BITS_BEFORE);
		if ((host & mask) == 0 || (host & mask) == mask)
			return true;
	}
	return false;
}

bool onlink_is_host(const struct onlink *o, const struct ip_addr *addr)
{
	if (ip_is_none(addr) || ip_is_martian(addr) || onlink_is_ours(o, addr))
		return false;
	if (is_gateway(o, addr))
		return true;
	return onlink_is_near(o, addr) && !(ip_is_v4(addr) && is_net_or_broadcast(o, addr));
}

const struct ip_addr *onlink_source(const struct onlink *o, const struct ip_addr *target)
{
	const struct ip_addr *first = NULL;

	for (unsigned i = 0; i < o->n_ifaddrs; i++) {
		const struct ip_addr *own = &o->ifaddrs[i].addr;

		if (onlink_prefix_has(&o->nets[i], target))
			return own;
		if (first == NULL && ip_is_v4(own) == ip_is_v4(target))
			first = own;
	}
	return first;
}
