#include "doors/sketch.h"

#include <math.h>

uint64_t sketch_estimate(const struct sketch *s)
{
	const double m = SKETCH_REGISTERS, alpha = 0.7213 / (1 + 1.079 / m);
	double sum = 0, n;
	unsigned n_empty = 0;

	for (unsigned i = 0; i < SKETCH_REGISTERS; i++) {
		uint8_t rank = __atomic_load_n(&s->registers[i], __ATOMIC_RELAXED);

		sum += 1 / (double)(UINT64_C(1) << rank);
		n_empty += rank == 0;
	}
	n = alpha * m * m / sum;
	if (n <= 2.5 * m && n_empty > 0)
		n = m * log(m / n_empty);
	return (uint64_t)(n + 0.5);
}
