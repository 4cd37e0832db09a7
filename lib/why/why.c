#include "why/why.h"

#include <stdarg.h>
#include <stdio.h>

void why_say(struct why_answer *a, const char *stage, const char *fmt, ...)
{
	struct why_stage *s = &a->stages[a->n_stages];
	va_list ap;

	if (a->n_stages == WHY_STAGES_MAX)
		return;
	a->n_stages++;
	s->name = stage;
	va_start(ap, fmt);
	vsnprintf(s->text, sizeof(s->text), fmt, ap);
	va_end(ap);
}

void why_tuple_add(struct why_answer *a, const struct why_tuple *t)
{
	if (a->n_tuples < WHY_TUPLES_MAX)
		a->tuples[a->n_tuples++] = *t;
}

const char *why_end_word(enum why_end end)
{
	static const char *const words[] = {"dropped", "forwarded", "waits", "consumed"};

	return words[end];
}

const char *why_hint(enum stats_drop reason)
{
	static const char *const hints[STATS_N_DROPS] = {
		[STATS_DROP_not_for_us] =
			"it was sent to the wrong address, or to the wrong port of the gateway",
		[STATS_DROP_martian_source] =
			"no packet from outside has such a source; somebody forges it",
		[STATS_DROP_own_source] =
			"no packet from outside has an address of the gateway; somebody forges it",
		[STATS_DROP_entry_closed] =
			"doors are on public addresses, never on those that clients tunnel to",
		[STATS_DROP_ping_disabled] = "answer_ping of the port turns answers on",
		[STATS_DROP_inner_source] =
			"a peer sends from its address or routes: portierctl peer set --address, "
			"--route",
		[STATS_DROP_inner_no_service] = "inside the tunnel the gateway answers ping, and "
						"NAT-PMP and PCP",
		[STATS_DROP_inner_to_peer] = "tunnel.peer_to_peer lets peers reach each other",
		[STATS_DROP_inner_protocol] = "TCP, UDP and ICMP are translated; of others none is",
		[STATS_DROP_nat_blocked] = "nat.blocked names the ports that peers may not use",
		[STATS_DROP_nat_no_beginning] =
			"a TCP session begins with a SYN; this one ended here, or began elsewhere",
		[STATS_DROP_nat_no_port] =
			"more blocks a peer (nat.max_blocks), or more public addresses",
		[STATS_DROP_nat_too_many] =
			"portierctl peer set --max-sessions gives it more; session list shows them",
		[STATS_DROP_nat_too_fast] = "nat.new_sessions_per_s bounds how fast a peer begins",
		[STATS_DROP_nat_table_full] = "nat.max_sessions sizes the table of a worker",
		[STATS_DROP_no_lease] = "portierctl lease open opens a door; lease list shows them",
		[STATS_DROP_no_session] =
			"only what the peer sent to may answer: a lease lets others in, or peer "
			"set --filter",
		[STATS_DROP_lease_source] =
			"the lease says from where it may be used: lease show, lease open --from",
		[STATS_DROP_lease_rate] = "the lease bounds packets a second: lease show",
		[STATS_DROP_lease_flows] = "the lease bounds new flows a second: lease show",
		[STATS_DROP_peer_unreachable] =
			"the peer has to connect first, or needs an endpoint: peer set --endpoint",
		[STATS_DROP_peer_hold_full] =
			"the peer does not answer handshakes: peer show says since when",
		[STATS_DROP_too_big] = "the sender has to send smaller packets, or allow that they "
				       "are cut",
		[STATS_DROP_ttl_expired] = "as traceroute means it",
		[STATS_DROP_neigh_unreachable] =
			"the port has no gateway for that address: ports.gateways",
		[STATS_DROP_portmap_outside] =
			"NAT-PMP and PCP are asked for inside the tunnel only",
	};

	return hints[reason] != NULL ? hints[reason] : "";
}
