#include "lanes_inside.h"

#include "aead/lanes_avx2.h"
#include "aead/lanes_avx2_column.h"

static void run_blocks(unsigned n, const uint8_t keys[][32], const uint64_t counters[],
	const uint32_t blocks[], uint8_t out[][64])
{
	static const uint8_t zeros[BLOCK_BYTES];
	const uint8_t *from[N_LANES], *at[N_LANES];
	uint8_t *to[N_LANES];
	struct tag_pair *no_pair = NULL;
	struct state8 state;
	__m256i x[16];

	for (unsigned i = 0; i < N_LANES; i++) {
		at[i] = keys[i];
		from[i] = zeros;
		to[i] = out[i];
	}
	load_state(&state, at, counters);
	state.block = _mm256_loadu_si256((const void *)blocks);
	run_column(&state, x, &no_pair, NULL);
	apply_column(x, from, to);
}

static void run_tags(unsigned width, const uint8_t keys[][32], const uint8_t *const texts[],
	const uint32_t lens[], uint8_t tags[][16])
{
	for (unsigned i = 0; i < INSIDE_POLY; i++) {
		uint64_t tag[2];
		struct poly p;

		poly_begin(&p, keys[i]);
		poly_rest(&p, texts[i], 0, lens[i]);
		poly_end(&p, keys[i], tag);
		memcpy(tags[i], tag, sizeof(tag));
	}
}

static void seal(void *lanes, struct aead_job *jobs, uint16_t n)
{
	lanes_avx2_seal(lanes, jobs, n);
}

static void open(void *lanes, struct aead_job *jobs, uint16_t n)
{
	lanes_avx2_open(lanes, jobs, n);
}

static uint64_t general[9];

static void registers(void *l, struct aead_job *jobs, uint16_t n, bool is_seal,
	uint8_t out[static INSIDE_REGISTERS])
{
	if (is_seal) {
		lanes_avx2_seal(l, jobs, n);
		INSIDE_SAVE_GENERAL(general);
	} else {
		lanes_avx2_open(l, jobs, n);
		INSIDE_SAVE_GENERAL(general);
	}
#define SAVE(i) __asm__ volatile("vmovdqu %%ymm" #i ", %0" : "=m"(*(uint8_t(*)[32])(out + 64 * i)))
	SAVE(0);
	SAVE(1);
	SAVE(2);
	SAVE(3);
	SAVE(4);
	SAVE(5);
	SAVE(6);
	SAVE(7);
	SAVE(8);
	SAVE(9);
	SAVE(10);
	SAVE(11);
	SAVE(12);
	SAVE(13);
	SAVE(14);
	SAVE(15);
#undef SAVE
	memcpy(out + INSIDE_VECTORS, general, sizeof(general));
}

const struct inside inside_avx2 = {
	.name = "avx2",
	.can_run = lanes_avx2_can_run,
	.bytes = lanes_avx2_bytes,
	.seal = seal,
	.open = open,
	.max_lanes = 8,
	.blocks = run_blocks,
	.max_width = 1,
	.tags = run_tags,
	.registers = registers,
};
