/* JSON memory: wiped when it is freed. */
#include "rpc/rpc.h"

#include <stdlib.h>
#include <string.h>

/* jansson frees without saying how much, so each block carries its size. */
struct block {
	size_t len;
	max_align_t bytes[];
};

static void *block_alloc(size_t len)
{
	struct block *b = len > SIZE_MAX / 2 ? NULL : malloc(sizeof(*b) + len);

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
	explicit_bzero(bytes, b->len);
	free(b);
}

void rpc_init(void)
{
	json_set_alloc_funcs(block_alloc, block_free);
	json_object_seed(0);
}
