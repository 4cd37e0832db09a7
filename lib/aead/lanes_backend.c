/* lanes_backend.c - lanes where they pay, a back end for single packets where they do not.
 *
 * There are two kinds of lanes: AVX-512 (lanes.h) and AVX2 (lanes_avx2.h). The environment variable
 * PORTIER_AEAD_LANES is for tests: "force" gives every burst to the lanes, "forbid" makes this CPU
 * one that does not have them, "avx2" one that has no AVX-512.
 */
#include "aead/backend.h"
#include "aead/lanes.h"
#include "aead/lanes_avx2.h"

#include <rte_common.h>
#include <rte_malloc.h>

#include <stdlib.h>

#ifdef PORTIER_HAS_LANES
#include <cpuid.h>

/* Intel SDM, volume 2A, CPUID: what lanes.c and lanes_avx2.c are compiled for. */
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF7_EBX_AVX2	  (1u << 5)
#define LEAF7_EBX_BMI2	  (1u << 8)
#define LEAF7_EBX_AVX512F (1u << 16)
#define LEAF7_EBX_IFMA	  (1u << 21)
#define LEAF7_EBX_BW	  (1u << 30)
#define LEAF7_EBX_VL	  (1u << 31)
#define LEAF7_ECX_VBMI2	  (1u << 6)
/* SSE and AVX; with AVX-512 also mask registers, upper halves of zmm0 to zmm15, zmm16 to zmm31. */
#define XCR0_AVX    0x06u
#define XCR0_AVX512 0xe6u

/* What the CPU and the operating system have: leaf 1 and 7 of CPUID, and XCR0. */
static bool read_features(struct lanes_features *f)
{
	uint32_t eax, ebx, edx, xcr0_high;

	*f = (struct lanes_features){0};
	if (!__get_cpuid(1, &eax, &ebx, &f->leaf1_ecx, &edx) ||
		!(f->leaf1_ecx & LEAF1_ECX_OSXSAVE) ||
		!__get_cpuid_count(7, 0, &eax, &f->leaf7_ebx, &f->leaf7_ecx, &edx))
		return false;
	__asm__ volatile("xgetbv" : "=a"(f->xcr0), "=d"(xcr0_high) : "c"(0));
	return true;
}

static bool has_all(uint32_t value, uint32_t wanted)
{
	return (value & wanted) == wanted;
}

bool lanes_are_enough(const struct lanes_features *f)
{
	return has_all(f->leaf1_ecx, LEAF1_ECX_OSXSAVE) && has_all(f->xcr0, XCR0_AVX512) &&
	       has_all(f->leaf7_ebx,
		       LEAF7_EBX_AVX512F | LEAF7_EBX_IFMA | LEAF7_EBX_BW | LEAF7_EBX_VL) &&
	       has_all(f->leaf7_ecx, LEAF7_ECX_VBMI2);
}

bool lanes_avx2_are_enough(const struct lanes_features *f)
{
	return has_all(f->leaf1_ecx, LEAF1_ECX_OSXSAVE) && has_all(f->xcr0, XCR0_AVX) &&
	       has_all(f->leaf7_ebx, LEAF7_EBX_AVX2 | LEAF7_EBX_BMI2);
}

bool lanes_can_run(void)
{
	struct lanes_features f;

	return read_features(&f) && lanes_are_enough(&f);
}

bool lanes_avx2_can_run(void)
{
	struct lanes_features f;

	return read_features(&f) && lanes_avx2_are_enough(&f);
}

/* --- what they cost ----------------------------------------------------------------------------
 */

/* TSC cycles of libipsec-mb for one packet of up to 64 i bytes; with the rest of a longer one they
 * grow as over the last 1,024 bytes. */
#define SINGLE_STEPS 33

/* On the Sapphire Rapids core that lanes_cycles() speaks of. */
static const uint16_t single_avx512[SINGLE_STEPS] = {247, 314, 366, 421, 492, 514, 514, 555, 701,
	718, 718, 753, 732, 757, 753, 800, 981, 1004, 1007, 1046, 1122, 1160, 1160, 1194, 1272,
	1302, 1284, 1333, 1301, 1336, 1335, 1372, 1549};
/* On the Zen 3 core that avx2_cycles() speaks of. */
static const uint16_t single_avx2[SINGLE_STEPS] = {300, 594, 679, 735, 777, 967, 1016, 1059, 1127,
	1408, 1506, 1543, 1586, 1757, 1800, 1849, 2027, 2205, 2247, 2352, 2401, 2566, 2615, 2664,
	2658, 2940, 2989, 3068, 3258, 3350, 3368, 3423, 3381};

static uint32_t single_cycles(const uint16_t table[SINGLE_STEPS], uint32_t len)
{
	const uint32_t last = SINGLE_STEPS - 1;
	uint32_t i = (len + 63) / 64;

	if (i <= last)
		return table[i];
	return table[last] + (table[last] - table[last - 16]) * (i - last) / 16;
}

static uint32_t avx512_cycles(const struct aead_job *jobs, uint16_t n, bool is_seal)
{
	return lanes_cycles(jobs, n);
}

/* Measured, for bursts of 2 to 15: a column of 8 blocks of ChaCha20 with what goes beside it, a
 * block of Poly1305 of the two packets whose tags have no columns beside them, and what every burst
 * and packet costs besides. To open takes the columns of keys first. Where this errs, by up to 3
 * per cent with a long packet and a short one, single packets are the better guess. */
#define AVX2_COLUMN    476u
#define AVX2_POLY      7u
#define AVX2_BURST     147u
#define AVX2_PACKET    66u
#define AVX2_DOUBT_PCT 4u

static uint32_t avx2_cycles(const struct aead_job *jobs, uint16_t n, bool is_seal)
{
	uint32_t n_blocks = 0, n_poly = 0, n_columns, cycles;

	for (uint16_t i = 0; i < n; i++) {
		n_blocks += (jobs[i].len + 63) / 64;
		n_poly += (jobs[i].len + 15) / 16 + 1;
	}
	n_columns = is_seal ? (n + n_blocks + 7) / 8 : (n + 7u) / 8 + (n_blocks + 7) / 8;
	cycles =
		AVX2_BURST + AVX2_PACKET * n + AVX2_COLUMN * n_columns + AVX2_POLY * n_poly * 2 / n;
	return cycles + cycles * AVX2_DOUBT_PCT / 100;
}

/* --- which of them -----------------------------------------------------------------------------
 */

static void avx512_seal(void *lanes, struct aead_job *jobs, uint16_t n)
{
	lanes_seal(lanes, jobs, n);
}

static void avx512_open(void *lanes, struct aead_job *jobs, uint16_t n)
{
	lanes_open(lanes, jobs, n);
}

static void avx2_seal(void *lanes, struct aead_job *jobs, uint16_t n)
{
	lanes_avx2_seal(lanes, jobs, n);
}

static void avx2_open(void *lanes, struct aead_job *jobs, uint16_t n)
{
	lanes_avx2_open(lanes, jobs, n);
}

/* Best first. */
static const struct kind {
	const char *isa;
	bool (*can_run)(void);
	size_t (*bytes)(void);
	void (*seal)(void *lanes, struct aead_job *jobs, uint16_t n);
	void (*open)(void *lanes, struct aead_job *jobs, uint16_t n);
	/* About how many TSC cycles a burst of fewer than LANES_ALWAYS takes, by its lengths. */
	uint32_t (*cycles)(const struct aead_job *jobs, uint16_t n, bool is_seal);
	const uint16_t *single; /* the same of libipsec-mb, one packet */
} kinds[] = {
	{"avx512", lanes_can_run, lanes_bytes, avx512_seal, avx512_open, avx512_cycles,
		single_avx512},
	{"avx2", lanes_avx2_can_run, lanes_avx2_bytes, avx2_seal, avx2_open, avx2_cycles,
		single_avx2},
};

static const struct kind *choose_kind(const char *wish)
{
	bool is_avx2_wanted = wish && strcmp(wish, "avx2") == 0;

	for (unsigned i = 0; i < RTE_DIM(kinds); i++) {
		if (is_avx2_wanted && strcmp(kinds[i].isa, "avx2") != 0)
			continue;
		if (kinds[i].can_run())
			return &kinds[i];
	}
	return NULL;
}

static_assert(LANES_ALIGN >= LANES_AVX2_ALIGN, "memory serves both kinds");

struct state {
	const struct kind *kind;
	void *lanes;
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
	const struct kind *kind = choose_kind(wish);
	struct state *s;

	if ((wish && strcmp(wish, "forbid") == 0) || !kind)
		return NULL;
	s = rte_zmalloc_socket("aead", sizeof(*s), RTE_CACHE_LINE_SIZE, socket_id);
	if (!s)
		return NULL;
	s->kind = kind;
	/* Its content does not outlive a call. */
	s->lanes = rte_zmalloc_socket("aead", kind->bytes(), LANES_ALIGN, socket_id);
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

/* Few packets, or few and one long among them, leave most lanes empty. */
static bool is_for_single(
	const struct state *s, const struct aead_job *jobs, uint16_t n, bool is_seal)
{
	uint32_t cycles = 0;

	if (!s->single || n >= LANES_ALWAYS)
		return false;
	if (n == 1)
		return true;
	for (uint16_t i = 0; i < n; i++)
		cycles += single_cycles(s->kind->single, jobs[i].len);
	return cycles <= s->kind->cycles(jobs, n, is_seal);
}

static void seal_burst(void *state, struct aead_job *jobs, uint16_t n)
{
	struct state *s = state;

	if (is_for_single(s, jobs, n, true))
		s->single->seal_burst(s->single_state, jobs, n);
	else
		s->kind->seal(s->lanes, jobs, n);
}

static void open_burst(void *state, struct aead_job *jobs, uint16_t n)
{
	struct state *s = state;

	if (is_for_single(s, jobs, n, false))
		s->single->open_burst(s->single_state, jobs, n);
	else
		s->kind->open(s->lanes, jobs, n);
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
