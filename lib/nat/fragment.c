#include "nat/fragment.h"

#include "nat/impl.h"

#define OPTION_END    0
#define OPTION_NOP    1
#define OPTION_COPIED 0x80

/* The header of a first fragment at v->l4_offset, of which the rest may be in later ones. */
static enum nat_verdict parse_first_l4(const uint8_t *pkt, struct nat_view *v)
{
	const uint8_t *l4 = pkt + v->l4_offset;
	unsigned len = (unsigned)v->total_len - v->l4_offset, header_len;

	switch (v->proto) {
	case NAT_PROTO_TCP:
		if (len < TCP_HEADER_BYTES)
			return NAT_TINY_FRAGMENT;
		header_len = (l4[12] >> 4) * 4u;
		if (header_len < TCP_HEADER_BYTES)
			return NAT_MALFORMED;
		if (header_len > len)
			return NAT_TINY_FRAGMENT;
		break;
	case NAT_PROTO_UDP:
		if (len < UDP_HEADER_BYTES)
			return NAT_TINY_FRAGMENT;
		if (load_be16(l4 + 4) < UDP_HEADER_BYTES)
			return NAT_MALFORMED;
		break;
	case NAT_PROTO_ICMP:
	case NAT_PROTO_ICMPV6:
		if ((v->proto == NAT_PROTO_ICMP) != (v->version == 4))
			return NAT_OTHER_PROTO;
		return len < ICMP_HEADER_BYTES ? NAT_TINY_FRAGMENT : nat_parse_icmp(pkt, v);
	default:
		return NAT_OTHER_PROTO;
	}
	v->src_port = load_be16(l4);
	v->dst_port = load_be16(l4 + 2);
	v->has_l4 = true;
	return NAT_OK;
}

static enum nat_verdict parse_first(const uint8_t *pkt, struct nat_view *v)
{
	enum nat_verdict verdict = NAT_OK;

	if (v->version == 6)
		verdict = nat_walk_extensions(pkt, v);
	switch (verdict) {
	case NAT_OK:
		return parse_first_l4(pkt, v);
	case NAT_OTHER_PROTO:
		return NAT_OTHER_PROTO;
	case NAT_MALFORMED: /* RFC 7112: the chain of headers does not end here */
		return NAT_TINY_FRAGMENT;
	default: /* a fragment in a fragment */
		return NAT_MALFORMED;
	}
}

enum nat_verdict nat_fragment_parse(
	const uint8_t *pkt, struct nat_view *v, struct nat_fragment *out)
{
	enum nat_verdict verdict = NAT_FRAGMENT;
	struct nat_view whole = *v;
	struct nat_fragment f;
	unsigned field;

	if (v->version == 4) {
		field = load_be16(pkt + IPV4_FRAGMENT_AT);
		f.id = load_be16(pkt + IPV4_ID_AT);
		f.offset_bytes = (uint16_t)((field & IPV4_OFFSET) * 8);
		f.is_last = !(field & IPV4_MF);
	} else {
		field = nat_v6_fragment_field(pkt, v);
		f.id = load_be32(pkt + v->l4_offset - IPV6_FRAGMENT_BYTES + 4);
		f.offset_bytes = field & 0xfff8;
		f.is_last = !(field & 1);
	}
	f.len_bytes = (uint16_t)(v->total_len - v->l4_offset);
	f.is_first = f.offset_bytes == 0;

	if (f.len_bytes == 0)
		return NAT_TINY_FRAGMENT;
	if (f.is_first) {
		verdict = parse_first(pkt, &whole);
	} else if (v->proto == NAT_PROTO_TCP && f.offset_bytes < TCP_HEADER_BYTES) {
		/* RFC 1858, section 3.2: it could overwrite flags that were let through. */
		verdict = NAT_TINY_FRAGMENT;
	}
	if (verdict == NAT_MALFORMED || verdict == NAT_TINY_FRAGMENT)
		return verdict;
	*v = whole;
	*out = f;
	return verdict;
}

/* The header of a piece that is not the first: options to be copied only, padded to words. Returns
 * its length in bytes; 0: the options cannot be read. */
static unsigned write_later_header(const uint8_t *pkt, unsigned header_len, uint8_t *out)
{
	unsigned n = IPV4_HEADER_BYTES, option_len;

	memcpy(out, pkt, IPV4_HEADER_BYTES);
	for (unsigned at = IPV4_HEADER_BYTES; at < header_len; at += option_len) {
		option_len = 1;
		if (pkt[at] == OPTION_END)
			break;
		if (pkt[at] == OPTION_NOP)
			continue;
		if (at + 2 > header_len)
			return 0;
		option_len = pkt[at + 1];
		if (option_len < 2 || option_len > header_len - at)
			return 0;
		if (pkt[at] & OPTION_COPIED) {
			memcpy(out + n, pkt + at, option_len);
			n += option_len;
		}
	}
	while (n % 4 != 0)
		out[n++] = OPTION_END;
	out[0] = (uint8_t)(0x40 | n / 4);
	return n;
}

size_t nat_fragment_cut(
	const uint8_t *pkt, const struct nat_view *v, uint16_t max_bytes, unsigned k, uint8_t *out)
{
	uint8_t header[IPV4_HEADER_MAX_BYTES];
	size_t start, len, payload_len, first_len, later_len;
	unsigned field, header_len;

	if (v->version != 4 || v->dont_fragment || max_bytes < NAT_FRAGMENT_MIN_BYTES)
		return 0;
	if (v->total_len <= max_bytes) {
		if (k > 0)
			return 0;
		memcpy(out, pkt, v->total_len);
		return v->total_len;
	}
	header_len = write_later_header(pkt, v->l4_offset, header);
	if (header_len == 0)
		return 0;
	payload_len = (size_t)v->total_len - v->l4_offset;
	first_len = ((size_t)max_bytes - v->l4_offset) & ~(size_t)7;
	later_len = (max_bytes - header_len) & ~(size_t)7;
	if (k == 0) {
		header_len = v->l4_offset;
		memcpy(header, pkt, header_len);
		start = 0;
		len = first_len;
	} else {
		start = first_len + (k - 1) * later_len;
		len = later_len;
	}
	if (start >= payload_len)
		return 0;
	if (len > payload_len - start)
		len = payload_len - start;

	/* A last piece is as much the last as what it was cut from. */
	field = load_be16(pkt + IPV4_FRAGMENT_AT);
	if (start + len < payload_len)
		field |= IPV4_MF;
	field = (field & IPV4_MF) | ((field & IPV4_OFFSET) + (unsigned)start / 8);
	store_be16(header + 2, (uint16_t)(header_len + len));
	store_be16(header + IPV4_FRAGMENT_AT, (uint16_t)field);
	store_be16(header + IPV4_CHECKSUM_AT, 0);
	store_be16(header + IPV4_CHECKSUM_AT,
		(uint16_t)~nat_checksum_fold(nat_checksum_add(0, header, header_len)));
	memcpy(out, header, header_len);
	memcpy(out + header_len, pkt + v->l4_offset + start, len);
	return header_len + len;
}
