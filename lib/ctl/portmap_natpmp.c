/* NAT-PMP requests to wishes, outcomes to result codes. */
#include "ctl/portmap.h"

#define LEAST_S 60

static enum portmap_natpmp_result result_of(enum ctl_portmap_outcome outcome)
{
	switch (outcome) {
	case CTL_PORTMAP_DONE:
		return PORTMAP_NATPMP_OK;
	case CTL_PORTMAP_NOT_AUTHORIZED:
		return PORTMAP_NATPMP_NOT_AUTHORIZED;
	case CTL_PORTMAP_NO_NETWORK:
		return PORTMAP_NATPMP_NETWORK_FAILURE;
	default:
		return PORTMAP_NATPMP_NO_RESOURCES;
	}
}

static void tell_address(
	const struct ctl *c, uint32_t peer_idx, struct portmap_natpmp_answer *answer)
{
	answer->public_addr = ctl_portmap_address(c, peer_idx);
	if (!ip_is_v4(&answer->public_addr))
		answer->result = PORTMAP_NATPMP_NETWORK_FAILURE;
}

/* RFC 6886, 3.3 and 3.4. */
static void map(struct ctl *c, const struct ctl_portmap_request *r,
	const struct portmap_natpmp_request *asked, struct portmap_natpmp_answer *answer,
	struct ctl_portmap_grant *grant)
{
	const struct ctl_portmap_wish wish = {
		.peer_idx = r->from.peer_idx,
		.opener = LEASE_BY_NATPMP,
		.proto = asked->op == PORTMAP_NATPMP_TCP ? LEASE_PROTO_TCP : LEASE_PROTO_UDP,
		.inner_addr = r->from.peer.addr,
		.inner_port = asked->inner_port,
		.suggested_port = asked->suggested_port,
		.lifetime_s = asked->lifetime_s,
		.least_s = LEAST_S,
	};

	if (asked->lifetime_s == 0) {
		answer->result = result_of(ctl_portmap_unmap(c, &wish, grant));
		return;
	}
	answer->result = result_of(ctl_portmap_map(c, &wish, grant));
	if (answer->result != PORTMAP_NATPMP_OK)
		return;
	answer->public_port = grant->public_port;
	answer->lifetime_s = grant->lifetime_s;
}

static bool may_ask(struct ctl *c, const struct ctl_portmap_request *r,
	const struct portmap_natpmp_request *asked)
{
	if (ctl_portmap_is_allowed(c, r->from.peer_idx))
		return true;
	if (asked->op != PORTMAP_NATPMP_ADDRESS && asked->lifetime_s > 0)
		ctl_portmap_deny(c, r->from.peer_idx, asked->inner_port);
	return false;
}

size_t ctl_portmap_natpmp(struct ctl *c, const struct ctl_portmap_request *r,
	uint8_t out[static PORTMAP_MSG_BYTES], struct ctl_portmap_grant *grant)
{
	struct portmap_natpmp_answer answer = {.epoch_s = ctl_portmap_epoch_s(c)};
	struct portmap_natpmp_request asked;

	portmap_natpmp_parse(r->msg, r->len, &asked);
	answer.op = asked.op;
	answer.inner_port = asked.inner_port;
	/* It knows IPv4 only; over IPv6 there is PCP. */
	if (!ip_is_v4(&r->from.peer.addr)) {
		c->portmap.counters.refused++;
		return portmap_pcp_refuse_version(asked.op, answer.epoch_s, out);
	}
	if (asked.op > PORTMAP_NATPMP_TCP)
		answer.result = PORTMAP_NATPMP_UNSUPP_OPCODE;
	/* There is no code for a message that is cut short: "not authorized, or refused". */
	else if (!asked.is_whole || !may_ask(c, r, &asked))
		answer.result = PORTMAP_NATPMP_NOT_AUTHORIZED;
	else if (asked.op == PORTMAP_NATPMP_ADDRESS)
		tell_address(c, r->from.peer_idx, &answer);
	else
		map(c, r, &asked, &answer, grant);
	if (answer.result != PORTMAP_NATPMP_OK)
		c->portmap.counters.refused++;
	return portmap_natpmp_build(&answer, out);
}

size_t ctl_portmap_natpmp_fail(
	struct ctl *c, const struct ctl_portmap_request *r, uint8_t out[static PORTMAP_MSG_BYTES])
{
	struct portmap_natpmp_answer answer = {
		.epoch_s = ctl_portmap_epoch_s(c), .result = PORTMAP_NATPMP_NO_RESOURCES};
	struct portmap_natpmp_request asked;

	portmap_natpmp_parse(r->msg, r->len, &asked);
	answer.op = asked.op;
	answer.inner_port = asked.inner_port;
	return portmap_natpmp_build(&answer, out);
}

size_t ctl_portmap_natpmp_announce(
	const struct ctl *c, uint32_t peer_idx, uint8_t out[static PORTMAP_MSG_BYTES])
{
	struct portmap_natpmp_answer answer = {
		.op = PORTMAP_NATPMP_ADDRESS, .epoch_s = ctl_portmap_epoch_s(c)};

	tell_address(c, peer_idx, &answer);
	return portmap_natpmp_build(&answer, out);
}
