#include "lanes_inside.h"

#include "aead/lanes.h"
#include "aead/lanes_chacha.h"
#include "aead/lanes_poly.h"

#include <string.h>

static void run_blocks(unsigned n, const uint8_t keys[][32], const uint64_t counters[],
	const uint32_t blocks[], uint8_t out[][64])
{
	static const uint8_t zeros[64];
	struct column column;
	struct state16 state;
	struct rows rows;
	v16 x[16];
	v8 y[16];

	for (unsigned i = 0; i < INSIDE_LANES; i++) {
		column.keys[i] = keys[i % n];
		column.counters[i] = counters[i % n];
		column.blocks[i] = blocks[i % n];
		rows.src[i] = zeros;
		rows.dst[i] = out[i % n];
		rows.mask[i] = UINT64_MAX;
	}
	load_state(&state, &column);
	if (n == INSIDE_LANES) {
		fill_words(x, &state);
		COLUMN_ROUND(x);
		LATER_ROUNDS(x);
		add_words(x, &state);
		apply_rows(&rows, x, true);
	} else {
		fill_words8(y, &state);
		COLUMN_ROUND(y);
		LATER_ROUNDS(y);
		add_words8(y, &state);
		apply_rows8(&rows, y, true);
	}
}

static void run_tags(unsigned width, const uint8_t keys[][32], const uint8_t *const texts[],
	const uint32_t lens[], uint8_t tags[][16])
{
	uint64_t words[4][INSIDE_POLY];
	struct poly_group g;
	uint32_t len_max = 0;
	__m512i out[2];

	for (unsigned lane = 0; lane < INSIDE_POLY; lane++) {
		unsigned i = lane / width;

		for (unsigned w = 0; w < 4; w++)
			memcpy(&words[w][lane], keys[i] + 8 * w, 8);
		g.texts[lane] = texts[i];
		g.lens[lane] = lens[i];
		if (lens[i] > len_max)
			len_max = lens[i];
	}
	g.r_lo = _mm512_loadu_si512(words[0]);
	g.r_hi = _mm512_loadu_si512(words[1]);
	g.s_lo = _mm512_loadu_si512(words[2]);
	g.s_hi = _mm512_loadu_si512(words[3]);
	if (width == 1)
		poly_tags(&g, 1, len_max, out);
	else if (width == 2)
		poly_tags(&g, 2, len_max, out);
	else
		poly_tags(&g, 4, len_max, out);
	for (unsigned i = 0; i < INSIDE_POLY / width; i++)
		memcpy(tags[i], (uint8_t *)&out[i * width % 2] + i * width / 2 * 16, 16);
}

static uint64_t general[9];

static void registers(void *l, struct aead_job *jobs, uint16_t n, bool is_seal,
	uint8_t out[static INSIDE_REGISTERS])
{
	if (is_seal) {
		lanes_seal(l, jobs, n);
		INSIDE_SAVE_GENERAL(general);
	} else {
		lanes_open(l, jobs, n);
		INSIDE_SAVE_GENERAL(general);
	}
#define SAVE(i) \
	__asm__ volatile("vmovdqu64 %%zmm" #i ", %0" : "=m"(*(uint8_t(*)[64])(out + 64 * i)))
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
	SAVE(16);
	SAVE(17);
	SAVE(18);
	SAVE(19);
	SAVE(20);
	SAVE(21);
	SAVE(22);
	SAVE(23);
	SAVE(24);
	SAVE(25);
	SAVE(26);
	SAVE(27);
	SAVE(28);
	SAVE(29);
	SAVE(30);
	SAVE(31);
#undef SAVE
	memcpy(out + INSIDE_VECTORS, general, sizeof(general));
}

static void seal(void *lanes, struct aead_job *jobs, uint16_t n)
{
	lanes_seal(lanes, jobs, n);
}

static void open(void *lanes, struct aead_job *jobs, uint16_t n)
{
	lanes_open(lanes, jobs, n);
}

const struct inside inside_avx512 = {
	.name = "avx512",
	.can_run = lanes_can_run,
	.bytes = lanes_bytes,
	.seal = seal,
	.open = open,
	.max_lanes = 16,
	.blocks = run_blocks,
	.max_width = 4,
	.tags = run_tags,
	.registers = registers,
};
