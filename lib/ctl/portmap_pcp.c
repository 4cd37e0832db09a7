/* PCP requests to wishes, outcomes to result codes. */
#include "ctl/portmap.h"

#include <netinet/in.h>
#include <string.h>

#define LEAST_S 120
#define MOST_S	86400

static enum portmap_pcp_result result_of(enum ctl_portmap_outcome outcome)
{
	switch (outcome) {
	case CTL_PORTMAP_DONE:
		return PORTMAP_PCP_OK;
	case CTL_PORTMAP_NOT_AUTHORIZED:
		return PORTMAP_PCP_NOT_AUTHORIZED;
	case CTL_PORTMAP_NO_NETWORK:
		return PORTMAP_PCP_NETWORK_FAILURE;
	case CTL_PORTMAP_OVER_QUOTA:
		return PORTMAP_PCP_USER_EX_QUOTA;
	case CTL_PORTMAP_NOT_AS_WISHED:
		return PORTMAP_PCP_CANNOT_PROVIDE_EXTERNAL;
	case CTL_PORTMAP_TOO_MANY_SOURCES:
		return PORTMAP_PCP_EXCESSIVE_REMOTE_PEERS;
	default:
		return PORTMAP_PCP_NO_RESOURCES;
	}
}

/* What is wrong with the request, whatever it asks for. */
static enum portmap_pcp_result check(
	struct ctl *c, const struct ctl_portmap_request *r, const struct portmap_pcp_request *asked)
{
	if (asked->result == PORTMAP_PCP_MALFORMED_REQUEST ||
		asked->result == PORTMAP_PCP_UNSUPP_OPCODE)
		return asked->result;
	/* RFC 6887, 8.2: there is a NAT in between. */
	if (!ip_equal(&asked->client, &r->from.peer.addr))
		return PORTMAP_PCP_ADDRESS_MISMATCH;
	if (ctl_portmap_is_allowed(c, r->from.peer_idx))
		return asked->result;
	if (asked->op == PORTMAP_PCP_MAP && asked->lifetime_s > 0)
		ctl_portmap_deny(c, r->from.peer_idx, asked->map.inner_port);
	return PORTMAP_PCP_NOT_AUTHORIZED;
}

/* Section 11.3. No protocol is all protocols; of a new mapping neither those nor all ports can be
 * had. Zero: there is no such mapping. */
static uint8_t protos_of(const struct portmap_pcp_request *asked)
{
	const struct portmap_pcp_map *map = &asked->map;
	bool is_deletion = asked->lifetime_s == 0;

	if (map->proto == 0)
		return is_deletion ? LEASE_PROTO_BOTH : 0;
	if (map->inner_port == 0 && !is_deletion)
		return 0;
	if (map->proto == IPPROTO_TCP)
		return LEASE_PROTO_TCP;
	return map->proto == IPPROTO_UDP ? LEASE_PROTO_UDP : 0;
}

/* Leases have sources, and no source ports: what can not be applied is not accepted. */
static bool has_filter_of_a_port(const struct portmap_pcp_request *asked)
{
	for (unsigned i = 0; i < asked->n_filters; i++)
		if (asked->filters[i].port != 0)
			return true;
	return false;
}

/* Zero of either family is any (section 11.1). */
static struct ip_addr suggested_addr(const struct portmap_pcp_map *map)
{
	static const uint8_t zero[4];
	const struct ip_addr *a = &map->suggested_addr;

	if (ip_is_v4(a) && memcmp(ip_v4_bytes(a), zero, sizeof(zero)) == 0)
		return (struct ip_addr){0};
	return *a;
}

static enum portmap_pcp_result map(struct ctl *c, const struct ctl_portmap_request *r,
	const struct portmap_pcp_request *asked, struct ctl_portmap_grant *grant)
{
	const struct portmap_pcp_map *map = &asked->map;
	struct ctl_portmap_wish wish = {
		.peer_idx = r->from.peer_idx,
		.opener = LEASE_BY_PCP,
		.proto = protos_of(asked),
		.inner_addr = r->from.peer.addr,
		.inner_port = map->proto == 0 ? 0 : map->inner_port,
		.suggested_port = map->suggested_port,
		.takes_no_other = asked->prefers_failure,
		.suggested_addr = suggested_addr(map),
		.lifetime_s = asked->lifetime_s < MOST_S ? asked->lifetime_s : MOST_S,
		.least_s = LEAST_S,
		.has_nonce = true,
		.filters = asked->filters,
		.n_filters = asked->n_filters,
	};

	static_assert(sizeof(wish.nonce) == sizeof(map->nonce), "a nonce is a nonce");
	memcpy(wish.nonce, map->nonce, sizeof(wish.nonce));
	if (wish.proto == 0)
		return PORTMAP_PCP_UNSUPP_PROTOCOL;
	if (asked->lifetime_s == 0)
		return result_of(ctl_portmap_unmap(c, &wish, grant));
	if (has_filter_of_a_port(asked))
		return PORTMAP_PCP_UNSUPP_OPTION;
	return result_of(ctl_portmap_map(c, &wish, grant));
}

size_t ctl_portmap_pcp(struct ctl *c, const struct ctl_portmap_request *r,
	uint8_t out[static PORTMAP_MSG_BYTES], struct ctl_portmap_grant *grant)
{
	struct portmap_pcp_request asked;
	struct portmap_pcp_answer answer = {.request = &asked, .epoch_s = ctl_portmap_epoch_s(c)};

	portmap_pcp_parse(r->msg, r->len, &asked);
	answer.result = check(c, r, &asked);
	if (answer.result == PORTMAP_PCP_OK && asked.op == PORTMAP_PCP_MAP)
		answer.result = map(c, r, &asked, grant);
	if (answer.result != PORTMAP_PCP_OK)
		c->portmap.counters.refused++;
	/* A deletion grants nothing: zeros. */
	answer.lifetime_s = grant->lifetime_s;
	answer.public_port = grant->public_port;
	answer.public_addr = grant->public_addr;
	answer.echoes_options = asked.lifetime_s != 0;
	return portmap_pcp_build(&answer, out);
}

size_t ctl_portmap_pcp_fail(
	struct ctl *c, const struct ctl_portmap_request *r, uint8_t out[static PORTMAP_MSG_BYTES])
{
	struct portmap_pcp_request asked;
	const struct portmap_pcp_answer answer = {.request = &asked,
		.epoch_s = ctl_portmap_epoch_s(c),
		.result = PORTMAP_PCP_NO_RESOURCES};

	portmap_pcp_parse(r->msg, r->len, &asked);
	return portmap_pcp_build(&answer, out);
}
