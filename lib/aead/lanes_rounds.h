/* lanes_rounds.h - the order of ChaCha20's rounds, whatever vectors the words are in. Private to
 * lib/aead.
 *
 * Spec:    RFC 8439, 2.1 and 2.3: four quarter rounds side by side, or two by two.
 * Needs:   MIX(x, a, b, d, n), a quarter of a quarter round: x[a] += x[b], and x[d] = (x[d] ^ x[a])
 *          rotated by n bits to the left. Each kind of lanes defines its own.
 * Threads: macros without state; gcc keeps an array in registers only if its indices are constants
 *          from the start.
 */
#ifndef PORTIER_AEAD_LANES_ROUNDS_H
#define PORTIER_AEAD_LANES_ROUNDS_H

#define HALF_ROUND(x, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, n, m) \
	do {                                                                \
		MIX(x, 0, b0, d0, n);                                       \
		MIX(x, 1, b1, d1, n);                                       \
		MIX(x, 2, b2, d2, n);                                       \
		MIX(x, 3, b3, d3, n);                                       \
		MIX(x, c0, d0, b0, m);                                      \
		MIX(x, c1, d1, b1, m);                                      \
		MIX(x, c2, d2, b2, m);                                      \
		MIX(x, c3, d3, b3, m);                                      \
	} while (0)
#define ROUND(x, ...)                               \
	do {                                        \
		HALF_ROUND(x, __VA_ARGS__, 16, 12); \
		HALF_ROUND(x, __VA_ARGS__, 8, 7);   \
	} while (0)
#define COLUMN_ROUND(x)	  ROUND(x, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define DIAGONAL_ROUND(x) ROUND(x, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14)

/* Two by two, for CPUs whose registers the state fills: fewer words are put aside to make room, and
 * other work fits in between. */
#define TWO_QUARTERS(x, a0, b0, c0, d0, a1, b1, c1, d1) \
	do {                                            \
		MIX(x, a0, b0, d0, 16);                 \
		MIX(x, a1, b1, d1, 16);                 \
		MIX(x, c0, d0, b0, 12);                 \
		MIX(x, c1, d1, b1, 12);                 \
		MIX(x, a0, b0, d0, 8);                  \
		MIX(x, a1, b1, d1, 8);                  \
		MIX(x, c0, d0, b0, 7);                  \
		MIX(x, c1, d1, b1, 7);                  \
	} while (0)
#define COLUMN_ROUND_LEFT(x)	TWO_QUARTERS(x, 0, 4, 8, 12, 1, 5, 9, 13)
#define COLUMN_ROUND_RIGHT(x)	TWO_QUARTERS(x, 2, 6, 10, 14, 3, 7, 11, 15)
#define DIAGONAL_ROUND_LEFT(x)	TWO_QUARTERS(x, 0, 5, 10, 15, 1, 6, 11, 12)
#define DIAGONAL_ROUND_RIGHT(x) TWO_QUARTERS(x, 2, 7, 8, 13, 3, 4, 9, 14)

#endif
