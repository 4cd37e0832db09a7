/* impl.h - the inside of lib/rpc. */
#ifndef PORTIER_RPC_IMPL_H
#define PORTIER_RPC_IMPL_H

#include <stddef.h>

#include <jansson.h>

struct rpc_arena;

/* json_loadb whose values live in the arena until it is reset: reference counts do not free them,
 * and nothing may be added to them. On NULL the arena wants a reset too. */
json_t *rpc_arena_load(
	struct rpc_arena *a, const char *text, size_t len, size_t flags, json_error_t *error);
/* Wipes all, keeps one chunk. */
void rpc_arena_reset(struct rpc_arena *a);

#endif
