/* lanes_backend.c - AVX-512 lanes where they pay, a back end for single packets where they do not.
 *
 * The environment variable PORTIER_AEAD_LANES is for tests: "force" gives every burst to the lanes,
 * "forbid" makes this CPU one that does not have them.
 */
#include "aead/backend.h"
#include "aead/lanes.h"

#include <rte_common.h>
#include <rte_malloc.h>

#include <stdlib.h>

#ifdef PORTIER_HAS_LANES
#include <cpuid.h>

/* Intel SDM, volume 2A, CPUID: what lanes.c is compiled for. */
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF7_EBX_AVX512F (1u << 16)
#define LEAF7_EBX_IFMA	  (1u << 21)
#define LEAF7_EBX_BW	  (1u << 30)
#define LEAF7_EBX_VL	  (1u << 31)
#define LEAF7_EBX	  (LEAF7_EBX_AVX512F | LEAF7_EBX_IFMA | LEAF7_EBX_BW | LEAF7_EBX_VL)
#define LEAF7_ECX_VBMI2	  (1u << 6)
/* SSE, AVX, mask registers, upper halves of zmm0 to zmm15, zmm16 to zmm31. */
#define XCR0_STATES 0xe6u

bool lanes_can_run(void)
{
	uint32_t eax, ebx, ecx, edx, xcr0, xcr0_high;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & LEAF1_ECX_OSXSAVE))
		return false;
	__asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));
	if ((xcr0 & XCR0_STATES) != XCR0_STATES)
		return false;
	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & LEAF7_EBX) == LEAF7_EBX &&
	       (ecx & LEAF7_ECX_VBMI2);
}

/* TSC cycles of libipsec-mb for one packet of up to 64 i bytes, on the core that lanes_cycles()
 * speaks of; with the rest of a longer one they grow as over the last 1,024 bytes. */
static const uint16_t single_cycles[] = {247, 314, 366, 421, 492, 514, 514, 555, 701, 718, 718, 753,
	732, 757, 753, 800, 981, 1004, 1007, 1046, 1122, 1160, 1160, 1194, 1272, 1302, 1284, 1333,
	1301, 1336, 1335, 1372, 1549};

struct state {
	struct lanes *lanes;
	const struct aead_ops *single; /* NULL: there is none, or it is not wanted */
	void *single_state;
};

static void destroy(void *arg)
{
	struct state *s = arg;

	if (s->single)
		s->single->destroy(s->single_state);
	rte_free(s->lanes);
	rte_free(s);
}

static void *create(int socket_id)
{
	static const struct aead_ops *const singles[] = {&aead_ipsec_mb_ops, &aead_openssl_ops};
	const char *wish = getenv("PORTIER_AEAD_LANES");
	bool is_forced = wish && strcmp(wish, "force") == 0;
	struct state *s;

	if ((wish && strcmp(wish, "forbid") == 0) || !lanes_can_run())
		return NULL;
	s = rte_zmalloc_socket("aead", sizeof(*s), RTE_CACHE_LINE_SIZE, socket_id);
	if (!s)
		return NULL;
	/* Its content does not outlive a call. */
	s->lanes = rte_zmalloc_socket("aead", lanes_bytes(), LANES_ALIGN, socket_id);
	if (!s->lanes) {
		destroy(s);
		return NULL;
	}
	for (unsigned i = 0; i < RTE_DIM(singles) && !is_forced && !s->single; i++) {
		s->single_state = singles[i]->create(socket_id);
		if (s->single_state)
			s->single = singles[i];
	}
	return s;
}

static uint32_t cycles_of_single(uint32_t len)
{
	const uint32_t last = RTE_DIM(single_cycles) - 1;
	uint32_t i = (len + 63) / 64;

	if (i <= last)
		return single_cycles[i];
	return single_cycles[last] +
	       (single_cycles[last] - single_cycles[last - 16]) * (i - last) / 16;
}

/* Few packets, or few and one long among them, leave most lanes empty. */
static bool is_for_single(const struct state *s, const struct aead_job *jobs, uint16_t n)
{
	uint32_t cycles = 0;

	if (!s->single || n >= LANES_ALWAYS)
		return false;
	if (n == 1)
		return true;
	for (uint16_t i = 0; i < n; i++)
		cycles += cycles_of_single(jobs[i].len);
	return cycles <= lanes_cycles(jobs, n);
}

static void seal_burst(void *state, struct aead_job *jobs, uint16_t n)
{
	struct state *s = state;

	if (is_for_single(s, jobs, n))
		s->single->seal_burst(s->single_state, jobs, n);
	else
		lanes_seal(s->lanes, jobs, n);
}

static void open_burst(void *state, struct aead_job *jobs, uint16_t n)
{
	struct state *s = state;

	if (is_for_single(s, jobs, n))
		s->single->open_burst(s->single_state, jobs, n);
	else
		lanes_open(s->lanes, jobs, n);
}

#else

static void *create(int socket_id)
{
	return NULL;
}

static void destroy(void *state)
{
}

static void seal_burst(void *state, struct aead_job *jobs, uint16_t n)
{
}

static void open_burst(void *state, struct aead_job *jobs, uint16_t n)
{
}

#endif

const struct aead_ops aead_lanes_ops = {
	.name = "lanes",
	.create = create,
	.destroy = destroy,
	.seal_burst = seal_burst,
	.open_burst = open_burst,
};
