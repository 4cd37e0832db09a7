/* portmap_fuzz.c - any UDP payload to port 5351: parsed, and answered as a refusal and as a
 * success. An answer is never longer than a message may be, nor shorter than its kind, and is
 * itself no request.
 */
#include "portmap/portmap.h"

#include <stdlib.h>
#include <string.h>

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void answer_natpmp(const uint8_t *data, size_t size)
{
	struct portmap_natpmp_request r;
	uint8_t out[PORTMAP_MSG_BYTES];
	size_t len;

	portmap_natpmp_parse(data, size, &r);
	require(r.op == data[1]);
	len = portmap_natpmp_build(&(struct portmap_natpmp_answer){.op = r.op,
					   .inner_port = r.inner_port,
					   .public_port = r.suggested_port,
					   .lifetime_s = r.lifetime_s},
		out);
	require(len == 8 || len == 12 || len == 16);
	require(portmap_classify(out, len) == PORTMAP_NO_REQUEST);
	if (len == 16 && size >= 12)
		require(memcmp(out + 8, data + 4, 8) == 0);
}

static void answer_pcp(const uint8_t *data, size_t size)
{
	struct portmap_pcp_request r, again;
	uint8_t out[PORTMAP_MSG_BYTES];
	struct portmap_pcp_answer a = {.request = &r, .echoes_options = true};
	size_t len;

	portmap_pcp_parse(data, size, &r);
	require(r.op == data[1] && r.n_filters <= PORTMAP_PCP_FILTERS_MAX);
	a.result = r.result;
	a.public_addr = r.map.suggested_addr;
	a.public_port = r.map.suggested_port;
	len = portmap_pcp_build(&a, out);
	require(len >= 24 && len <= sizeof(out) && len % 4 == 0);
	require(portmap_classify(out, len) == PORTMAP_NO_REQUEST);
	if (r.op == PORTMAP_PCP_MAP) {
		require(len >= 60);
		if (size >= 60)
			require(memcmp(out + 24, data + 24, 13) == 0 &&
				memcmp(out + 40, data + 40, 20) == 0);
	}
	/* What was applied is said so that it reads the same. */
	if (r.result == PORTMAP_PCP_OK && r.op == PORTMAP_PCP_MAP) {
		out[1] = PORTMAP_PCP_MAP;
		memcpy(out + 8, r.client.bytes, 16);
		portmap_pcp_parse(out, len, &again);
		require(again.result == PORTMAP_PCP_OK && again.n_filters == r.n_filters &&
			again.prefers_failure == r.prefers_failure &&
			memcmp(again.filters, r.filters, sizeof(r.filters)) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	switch (portmap_classify(data, size)) {
	case PORTMAP_NATPMP:
		answer_natpmp(data, size);
		break;
	case PORTMAP_PCP:
		answer_pcp(data, size);
		break;
	case PORTMAP_OTHER_VERSION:
		require(data[0] != 0 && data[0] != 2);
		break;
	case PORTMAP_NO_REQUEST:
		break;
	}
	return 0;
}
