/* uapi_fuzz.c - foreign bytes as lines of the WireGuard tools' protocol. */
#include "uapi/uapi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_request(const struct uapi_request *r)
{
	check(r->err == 0 || r->err == -EINVAL || r->err == -E2BIG);
	check(r->err != 0 || r->kind != UAPI_NONE);
	check(r->kind == UAPI_SET || r->n_peers == 0);
	for (uint32_t i = 0; i < r->n_peers; i++) {
		const struct uapi_peer *peer = &r->peers[i];

		check(peer->n_allowed_ips <= UAPI_ALLOWED_IPS_MAX);
		for (unsigned j = 0; j < peer->n_allowed_ips && r->err == 0; j++)
			check(peer->allowed_ips[j].len_bits <= 128);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uapi_request r = {0};

	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end == NULL ? size : (size_t)(end - data);

		if (uapi_request_line(&r, (const char *)data, len)) {
			check_request(&r);
			uapi_request_fini(&r);
		}
		len += end != NULL;
		data += len;
		size -= len;
	}
	uapi_request_fini(&r);
	return 0;
}
