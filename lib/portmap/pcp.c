#include "portmap/portmap.h"

#include "base/bytes.h"

#include <assert.h>

#define VERSION	   2
#define ANSWER_BIT 0x80

#define HEADER_BYTES	    24
#define MAP_BYTES	    36 /* after the header */
#define PEER_BYTES	    56
#define OPTION_HEADER_BYTES 4
#define FILTER_BYTES	    20

/* RFC 6887, section 7.4: how long a refusal is to be believed. */
#define LONG_ERROR_S  1800
#define SHORT_ERROR_S 30

/* Options below are to be understood or refused; from here on they may be ignored. */
#define OPTION_OPTIONAL 128

enum option {
	OPTION_THIRD_PARTY = 1,
	OPTION_PREFER_FAILURE = 2,
	OPTION_FILTER = 3,
};

static_assert(
	HEADER_BYTES + MAP_BYTES + PORTMAP_PCP_FILTERS_MAX * (OPTION_HEADER_BYTES + FILTER_BYTES) <=
			PORTMAP_MSG_BYTES &&
		HEADER_BYTES + MAP_BYTES +
				(PORTMAP_PCP_FILTERS_MAX + 1) *
					(OPTION_HEADER_BYTES + FILTER_BYTES) >
			PORTMAP_MSG_BYTES,
	"no message holds more filters");

/* --- parsing
 * ------------------------------------------------------------------------------------*/

static void parse_map(const uint8_t *body, size_t len, struct portmap_pcp_map *out)
{
	uint8_t whole[MAP_BYTES] = {0};

	memcpy(whole, body, len < sizeof(whole) ? len : sizeof(whole));
	memcpy(out->nonce, whole, sizeof(out->nonce));
	out->proto = whole[12];
	out->inner_port = load_be16(whole + 16);
	out->suggested_port = load_be16(whole + 18);
	out->suggested_addr = ip_from_v6(whole + 20);
}

/* Section 13.3; prefix lengths by erratum 3891, but that all of IPv4 (96) is let pass, as the RFC
 * has it. The filter is of the family of the client, which has no other to be reached by. */
static enum portmap_pcp_result parse_filter(const uint8_t *data, struct portmap_pcp_request *out)
{
	struct portmap_pcp_filter *f = &out->filters[out->n_filters];

	*f = (struct portmap_pcp_filter){.len_bits = data[1]};
	if (f->len_bits != 0) {
		f->port = load_be16(data + 2);
		f->addr = ip_from_v6(data + 4);
		if (f->len_bits > 128 || (ip_is_v4(&f->addr) && f->len_bits < 96) ||
			ip_is_v4(&f->addr) != ip_is_v4(&out->client))
			return PORTMAP_PCP_MALFORMED_OPTION;
	}
	out->n_filters++;
	return PORTMAP_PCP_OK;
}

static enum portmap_pcp_result parse_option(
	uint8_t code, const uint8_t *data, size_t len, struct portmap_pcp_request *out)
{
	if (code >= OPTION_OPTIONAL)
		return PORTMAP_PCP_OK;
	if (code != OPTION_PREFER_FAILURE && code != OPTION_FILTER)
		return PORTMAP_PCP_UNSUPP_OPTION; /* THIRD_PARTY among them */
	/* Section 7.3: these two belong to MAP only. */
	if (out->op != PORTMAP_PCP_MAP)
		return PORTMAP_PCP_MALFORMED_OPTION;
	if (code == OPTION_FILTER)
		return len == FILTER_BYTES ? parse_filter(data, out) : PORTMAP_PCP_MALFORMED_OPTION;
	/* Section 13.2: at most once. */
	if (len != 0 || out->prefers_failure)
		return PORTMAP_PCP_MALFORMED_OPTION;
	out->prefers_failure = true;
	return PORTMAP_PCP_OK;
}

static enum portmap_pcp_result parse_options(
	const uint8_t *at, size_t len, struct portmap_pcp_request *out)
{
	enum portmap_pcp_result result = PORTMAP_PCP_OK;

	/* The message is a multiple of 4, so each option header is whole. */
	while (len > 0 && result == PORTMAP_PCP_OK) {
		size_t data_len = load_be16(at + 2);
		size_t whole_len = OPTION_HEADER_BYTES + (data_len + 3) / 4 * 4;

		if (whole_len > len)
			return PORTMAP_PCP_MALFORMED_OPTION;
		result = parse_option(at[0], at + OPTION_HEADER_BYTES, data_len, out);
		at += whole_len;
		len -= whole_len;
	}
	return result;
}

/* What a refusal of this opcode says again. */
static void keep_body(const uint8_t *body, size_t len, struct portmap_pcp_request *out)
{
	size_t most = out->op == PORTMAP_PCP_PEER ? PEER_BYTES : PORTMAP_MSG_BYTES - HEADER_BYTES;

	out->body = body;
	out->body_len = len < most ? len : most;
}

/* The order of checks is that of section 8.2. */
void portmap_pcp_parse(const uint8_t *msg, size_t len, struct portmap_pcp_request *out)
{
	uint8_t header[HEADER_BYTES] = {0};
	const uint8_t *body = msg + (len < HEADER_BYTES ? len : HEADER_BYTES);
	size_t body_len = len < HEADER_BYTES ? 0 : len - HEADER_BYTES, opcode_len = 0;

	memset(out, 0, sizeof(*out));
	memcpy(header, msg, len < HEADER_BYTES ? len : HEADER_BYTES);
	out->op = header[1] & (uint8_t)~ANSWER_BIT;
	out->lifetime_s = load_be32(header + 4);
	out->client = ip_from_v6(header + 8);
	if (out->op == PORTMAP_PCP_MAP) {
		parse_map(body, body_len, &out->map);
		opcode_len = MAP_BYTES;
	} else if (out->op != PORTMAP_PCP_ANNOUNCE) {
		keep_body(body, body_len, out);
	}

	if (len < HEADER_BYTES || len > PORTMAP_MSG_BYTES || len % 4 != 0)
		out->result = PORTMAP_PCP_MALFORMED_REQUEST;
	else if (out->op > PORTMAP_PCP_MAP)
		out->result = PORTMAP_PCP_UNSUPP_OPCODE;
	else if (body_len < opcode_len)
		out->result = PORTMAP_PCP_MALFORMED_REQUEST;
	else
		out->result = parse_options(body + opcode_len, body_len - opcode_len, out);
}

/* --- building
 * -----------------------------------------------------------------------------------*/

static uint32_t error_lifetime_s(enum portmap_pcp_result result)
{
	switch (result) {
	case PORTMAP_PCP_NETWORK_FAILURE:
	case PORTMAP_PCP_NO_RESOURCES:
	case PORTMAP_PCP_USER_EX_QUOTA:
		return SHORT_ERROR_S;
	default:
		return LONG_ERROR_S;
	}
}

static void build_header(uint8_t *out, uint8_t op, enum portmap_pcp_result result,
	uint32_t lifetime_s, uint32_t epoch_s)
{
	memset(out, 0, PORTMAP_MSG_BYTES);
	out[0] = VERSION;
	out[1] = op | ANSWER_BIT;
	out[3] = (uint8_t)result;
	store_be32(out + 4, lifetime_s);
	store_be32(out + 8, epoch_s);
}

static void build_map(uint8_t *body, const struct portmap_pcp_answer *a)
{
	const struct portmap_pcp_map *map = &a->request->map;
	bool is_ok = a->result == PORTMAP_PCP_OK;
	const struct ip_addr *addr = is_ok ? &a->public_addr : &map->suggested_addr;

	memcpy(body, map->nonce, sizeof(map->nonce));
	body[12] = map->proto;
	store_be16(body + 16, map->inner_port);
	store_be16(body + 18, is_ok ? a->public_port : map->suggested_port);
	memcpy(body + 20, addr->bytes, sizeof(addr->bytes));
}

static uint8_t *build_option(uint8_t *out, enum option code, uint16_t len)
{
	out[0] = (uint8_t)code;
	store_be16(out + 2, len);
	return out + OPTION_HEADER_BYTES;
}

/* Section 7.3: what was applied is said again, and nothing else. */
static uint8_t *build_options(uint8_t *out, const struct portmap_pcp_request *r)
{
	if (r->prefers_failure)
		out = build_option(out, OPTION_PREFER_FAILURE, 0);
	for (unsigned i = 0; i < r->n_filters; i++) {
		const struct portmap_pcp_filter *f = &r->filters[i];

		out = build_option(out, OPTION_FILTER, FILTER_BYTES);
		out[1] = f->len_bits;
		store_be16(out + 2, f->port);
		memcpy(out + 4, f->addr.bytes, sizeof(f->addr.bytes));
		out += FILTER_BYTES;
	}
	return out;
}

size_t portmap_pcp_build(const struct portmap_pcp_answer *a, uint8_t out[static PORTMAP_MSG_BYTES])
{
	const struct portmap_pcp_request *r = a->request;
	bool is_ok = a->result == PORTMAP_PCP_OK;
	uint8_t *end = out + HEADER_BYTES;

	build_header(out, r->op, a->result, is_ok ? a->lifetime_s : error_lifetime_s(a->result),
		a->epoch_s);
	if (r->op == PORTMAP_PCP_MAP) {
		build_map(end, a);
		end += MAP_BYTES;
		if (is_ok && a->echoes_options)
			end = build_options(end, r);
	} else if (r->op != PORTMAP_PCP_ANNOUNCE) {
		if (r->body_len > 0)
			memcpy(end, r->body, r->body_len);
		end += r->op == PORTMAP_PCP_PEER ? PEER_BYTES : (r->body_len + 3) / 4 * 4;
	}
	return (size_t)(end - out);
}

size_t portmap_pcp_refuse_version(
	uint8_t op, uint32_t epoch_s, uint8_t out[static PORTMAP_MSG_BYTES])
{
	build_header(
		out, op & (uint8_t)~ANSWER_BIT, PORTMAP_PCP_UNSUPP_VERSION, LONG_ERROR_S, epoch_s);
	return HEADER_BYTES;
}

size_t portmap_pcp_announce(uint32_t epoch_s, uint8_t out[static PORTMAP_MSG_BYTES])
{
	build_header(out, PORTMAP_PCP_ANNOUNCE, PORTMAP_PCP_OK, 0, epoch_s);
	return HEADER_BYTES;
}
