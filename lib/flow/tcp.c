#include "flow/tcp.h"

/* What a packet is to the state machine: the first that fits. */
enum event {
	RST,
	SYN,
	SYN_ACK,
	FIN,
	OTHER,
	EVENTS,
};

static enum event event_of(uint8_t flags)
{
	if (flags & FLOW_TCP_RST)
		return RST;
	if (flags & FLOW_TCP_SYN)
		return flags & FLOW_TCP_ACK ? SYN_ACK : SYN;
	return flags & FLOW_TCP_FIN ? FIN : OTHER;
}

#define TO(state, life)                           \
	{                                         \
		FLOW_TCP_##state, FLOW_TCP_##life \
	}

/* In the order of the events: RST, SYN, SYN ACK, FIN, other. */
static const struct flow_tcp_step steps_out[FLOW_TCP_STATES][EVENTS] = {
	[FLOW_TCP_INIT_OUT] = {TO(INIT_OUT, KEEP), TO(INIT_OUT, TRANSITORY),
		TO(INIT_OUT, TRANSITORY), TO(INIT_OUT, KEEP), TO(INIT_OUT, KEEP)},
	[FLOW_TCP_INIT_IN] = {TO(INIT_IN, KEEP), TO(ESTABLISHED, LONG), TO(ESTABLISHED, LONG),
		TO(INIT_IN, KEEP), TO(INIT_IN, KEEP)},
	[FLOW_TCP_ESTABLISHED] = {TO(TRANS, CUT), TO(ESTABLISHED, LONG), TO(ESTABLISHED, LONG),
		TO(FIN_OUT, LONG), TO(ESTABLISHED, LONG)},
	[FLOW_TCP_FIN_OUT] = {TO(TRANS, CUT), TO(FIN_OUT, LONG), TO(FIN_OUT, LONG),
		TO(FIN_OUT, LONG), TO(FIN_OUT, LONG)},
	[FLOW_TCP_FIN_IN] = {TO(TRANS, CUT), TO(FIN_IN, LONG), TO(FIN_IN, LONG),
		TO(FIN_BOTH, TRANSITORY), TO(FIN_IN, LONG)},
	[FLOW_TCP_FIN_BOTH] = {TO(FIN_BOTH, KEEP), TO(INIT_OUT, TRANSITORY), TO(ESTABLISHED, LONG),
		TO(FIN_BOTH, KEEP), TO(FIN_BOTH, KEEP)},
	[FLOW_TCP_TRANS] = {TO(TRANS, KEEP), TO(INIT_OUT, TRANSITORY), TO(ESTABLISHED, LONG),
		TO(FIN_OUT, LONG), TO(ESTABLISHED, LONG)},
};

static const struct flow_tcp_step steps_in[FLOW_TCP_STATES][EVENTS] = {
	[FLOW_TCP_INIT_OUT] = {TO(INIT_OUT, KEEP), TO(ESTABLISHED, LONG), TO(ESTABLISHED, LONG),
		TO(INIT_OUT, KEEP), TO(INIT_OUT, KEEP)},
	[FLOW_TCP_INIT_IN] = {TO(INIT_IN, KEEP), TO(INIT_IN, KEEP), TO(INIT_IN, KEEP),
		TO(INIT_IN, KEEP), TO(INIT_IN, KEEP)},
	[FLOW_TCP_ESTABLISHED] = {TO(TRANS, CUT), TO(ESTABLISHED, KEEP), TO(ESTABLISHED, KEEP),
		TO(FIN_IN, KEEP), TO(ESTABLISHED, KEEP)},
	[FLOW_TCP_FIN_OUT] = {TO(TRANS, CUT), TO(FIN_OUT, KEEP), TO(FIN_OUT, KEEP),
		TO(FIN_BOTH, TRANSITORY), TO(FIN_OUT, KEEP)},
	[FLOW_TCP_FIN_IN] = {TO(TRANS, CUT), TO(FIN_IN, KEEP), TO(FIN_IN, KEEP), TO(FIN_IN, KEEP),
		TO(FIN_IN, KEEP)},
	[FLOW_TCP_FIN_BOTH] = {TO(FIN_BOTH, KEEP), TO(FIN_BOTH, KEEP), TO(FIN_BOTH, KEEP),
		TO(FIN_BOTH, KEEP), TO(FIN_BOTH, KEEP)},
	[FLOW_TCP_TRANS] = {TO(TRANS, KEEP), TO(TRANS, KEEP), TO(ESTABLISHED, KEEP),
		TO(FIN_IN, KEEP), TO(ESTABLISHED, KEEP)},
};

struct flow_tcp_step flow_tcp_step(enum flow_tcp_state state, uint8_t flags, bool is_out)
{
	return is_out ? steps_out[state][event_of(flags)] : steps_in[state][event_of(flags)];
}
