/* JSON memory: wiped when it is freed. A message that is read takes its own from an arena, because
 * malloc and the wipe, value by value, were a third of the cost of reading it. */
#include "rpc/impl.h"
#include "rpc/rpc.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES_MIN (4u << 10)
#define CHUNK_BYTES_MAX (1u << 20)
/* As a block's len: its memory is an arena's, which wipes and frees it. */
#define IN_ARENA SIZE_MAX

/* jansson frees without saying how much, so each block carries its size. */
struct block {
	size_t len;
	max_align_t bytes[];
};

struct rpc_chunk {
	struct rpc_chunk *next;
	size_t len, used; /* bytes */
	max_align_t bytes[];
};

/* Of this thread; NULL: blocks come from malloc. */
static _Thread_local struct rpc_arena *arena;

static struct rpc_chunk *add_chunk(struct rpc_arena *a, size_t need)
{
	size_t len = a->chunks == NULL ? CHUNK_BYTES_MIN : 2 * a->chunks->len;
	struct rpc_chunk *chunk;

	if (len > CHUNK_BYTES_MAX)
		len = CHUNK_BYTES_MAX;
	if (len < need)
		len = need;
	chunk = malloc(sizeof(*chunk) + len);
	if (chunk == NULL)
		return NULL;
	chunk->next = a->chunks;
	chunk->len = len;
	chunk->used = 0;
	a->chunks = chunk;
	return chunk;
}

static struct block *arena_block(struct rpc_arena *a, size_t len)
{
	size_t need =
		(sizeof(struct block) + len + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
	struct rpc_chunk *chunk = a->chunks;
	struct block *b;

	if (chunk == NULL || chunk->len - chunk->used < need)
		chunk = add_chunk(a, need);
	if (chunk == NULL)
		return NULL;
	b = (struct block *)((char *)chunk->bytes + chunk->used);
	chunk->used += need;
	b->len = IN_ARENA;
	return b;
}

static void *block_alloc(size_t len)
{
	struct block *b;

	if (len > SIZE_MAX / 2)
		return NULL;
	if (arena != NULL) {
		b = arena_block(arena, len);
		return b == NULL ? NULL : b->bytes;
	}
	b = malloc(sizeof(*b) + len);
	if (b == NULL)
		return NULL;
	b->len = len;
	return b->bytes;
}

static void block_free(void *bytes)
{
	struct block *b;

	if (bytes == NULL)
		return;
	b = (struct block *)((char *)bytes - offsetof(struct block, bytes));
	if (b->len == IN_ARENA)
		return;
	explicit_bzero(bytes, b->len);
	free(b);
}

void rpc_init(void)
{
	json_set_alloc_funcs(block_alloc, block_free);
	json_object_seed(0);
}

json_t *rpc_arena_load(
	struct rpc_arena *a, const char *text, size_t len, size_t flags, json_error_t *error)
{
	json_t *value;

	arena = a;
	value = json_loadb(text, len, flags, error);
	arena = NULL;
	return value;
}

/* The newest is the largest, or as large as any is kept. */
void rpc_arena_reset(struct rpc_arena *a)
{
	struct rpc_chunk *kept = a->chunks;

	if (kept == NULL)
		return;
	a->chunks = kept->next;
	rpc_arena_fini(a);
	explicit_bzero(kept->bytes, kept->used);
	kept->used = 0;
	kept->next = NULL;
	if (kept->len <= CHUNK_BYTES_MAX)
		a->chunks = kept;
	else
		free(kept);
}

void rpc_arena_fini(struct rpc_arena *a)
{
	struct rpc_chunk *chunk;

	while ((chunk = a->chunks) != NULL) {
		a->chunks = chunk->next;
		explicit_bzero(chunk->bytes, chunk->used);
		free(chunk);
	}
}
