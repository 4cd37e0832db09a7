#include "stats/stats.h"

#define NAME(name, help) #name,
#define HELP(name, help) help,

static const char *const drop_names[] = {STATS_DROP_REASONS(NAME)};
static const char *const drop_helps[] = {STATS_DROP_REASONS(HELP)};
static const char *const counter_names[] = {STATS_COUNTERS(NAME)};
static const char *const counter_helps[] = {STATS_COUNTERS(HELP)};
static const char *const handshake_names[] = {STATS_HANDSHAKE_COUNTERS(NAME)};
static const char *const handshake_helps[] = {STATS_HANDSHAKE_COUNTERS(HELP)};
static const char *const promise_names[] = {STATS_PROMISES(NAME)};
static const char *const promise_helps[] = {STATS_PROMISES(HELP)};

const char *stats_drop_name(unsigned idx)
{
	return drop_names[idx];
}

const char *stats_drop_help(unsigned idx)
{
	return drop_helps[idx];
}

const char *stats_counter_name(unsigned idx)
{
	return counter_names[idx];
}

const char *stats_counter_help(unsigned idx)
{
	return counter_helps[idx];
}

const char *stats_handshake_name(unsigned idx)
{
	return handshake_names[idx];
}

const char *stats_handshake_help(unsigned idx)
{
	return handshake_helps[idx];
}

const char *stats_promise_name(unsigned idx)
{
	return promise_names[idx];
}

const char *stats_promise_help(unsigned idx)
{
	return promise_helps[idx];
}
