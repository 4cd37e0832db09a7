#include "peer/sparse.h"

#include <numa.h>
#include <sys/mman.h>

void *sparse_alloc(size_t n, size_t size_bytes, int socket_id)
{
	size_t total_bytes;
	void *p;

	if (__builtin_mul_overflow(n, size_bytes, &total_bytes) || total_bytes == 0)
		return NULL;
	p = mmap(NULL, total_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	/* Both only make it faster: a kernel that refuses is fine. */
	(void)madvise(p, total_bytes, MADV_HUGEPAGE);
	if (socket_id >= 0 && numa_available() >= 0 && numa_max_node() > 0)
		numa_tonode_memory(p, total_bytes, socket_id);
	return p;
}

void sparse_free(void *p, size_t n, size_t size_bytes)
{
	if (p)
		munmap(p, n * size_bytes);
}
