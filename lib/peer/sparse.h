/* sparse.h - large zeroed arrays that cost memory only where they are touched.
 *
 * Arrays over all peers or all keypair slots are sized for the configured maximum, and most of a
 * gateway's life they are nearly empty. rte_zmalloc would touch every page of them, and calloc only
 * happens not to.
 *
 * Threads: any, at boot.
 */
#ifndef PORTIER_SPARSE_H
#define PORTIER_SPARSE_H

#include <stddef.h>

/* n * size_bytes of zeros, page-aligned, in transparent huge pages where the kernel has them (n
 * grows from 0, so what is touched is dense). socket_id: preferred NUMA socket, or -1: that of the
 * thread which touches a page first. NULL when address space is out. */
void *sparse_alloc(size_t n, size_t size_bytes, int socket_id);
/* With the numbers of sparse_alloc. NULL is fine. */
void sparse_free(void *p, size_t n, size_t size_bytes);

#endif
