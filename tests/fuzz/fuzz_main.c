/* fuzz_main.c - runs a fuzz target without libFuzzer: kept inputs first, then mutations of them.
 *
 * usage: NAME_fuzz [-n RUNS] [FILE|DIRECTORY]...
 *
 * Deterministic under PORTIER_TEST_SEED, which is printed. An input that crashes is printed in hex:
 * decoded into a file of tests/vectors/fuzz/NAME/ it becomes a kept input. The same target links
 * with clang -fsanitize=fuzzer instead of this file for a long hunt.
 */
#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX_BYTES 2048
#define CORPUS_MAX	4096
#define DEFAULT_RUNS	50000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Present under a sanitizer, which ends the process without a signal. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

struct input {
	uint8_t *bytes;
	size_t len;
};

static struct input corpus[CORPUS_MAX];
static unsigned n_corpus;
/* What runs now, for the report of a crash. */
static const uint8_t *running;
static size_t running_len;

static uint64_t random_state;

/* splitmix64: the sequence is part of what a seed means, so it is not left to the C library. */
static uint64_t random_next(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static size_t random_below(size_t n)
{
	return (size_t)(random_next() % n);
}

/* Only calls that are safe in a signal handler. */
static void report_input(void)
{
	static const char digits[] = "0123456789abcdef";
	static const char head[] = "\nfuzz: this input does it, in hex:\n";
	char pair[2];

	if (write(STDERR_FILENO, head, sizeof(head) - 1) < 0)
		return;
	for (size_t i = 0; i < running_len; i++) {
		pair[0] = digits[running[i] >> 4];
		pair[1] = digits[running[i] & 15];
		if (write(STDERR_FILENO, pair, 2) < 0)
			return;
	}
	if (write(STDERR_FILENO, "\n", 1) < 0)
		return;
}

static void on_crash(int signo)
{
	report_input();
	signal(signo, SIG_DFL);
	raise(signo);
}

static void watch_for_crashes(void)
{
	signal(SIGABRT, on_crash);
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(report_input);
		return;
	}
	signal(SIGSEGV, on_crash);
	signal(SIGBUS, on_crash);
	signal(SIGFPE, on_crash);
	signal(SIGILL, on_crash);
}

/* A copy of exactly the right size: a sanitizer sees the first byte read beyond it. */
static void run_one(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);

	if (!exact)
		abort();
	memcpy(exact, bytes, len);
	running = exact;
	running_len = len;
	LLVMFuzzerTestOneInput(exact, len);
	running_len = 0;
	free(exact);
}

static void corpus_add(const uint8_t *bytes, size_t len)
{
	struct input *in;

	if (n_corpus == CORPUS_MAX)
		return;
	in = &corpus[n_corpus++];
	in->bytes = malloc(len ? len : 1);
	if (!in->bytes)
		abort();
	memcpy(in->bytes, bytes, len);
	in->len = len;
}

static bool load_file(const char *path)
{
	uint8_t buf[INPUT_MAX_BYTES];
	FILE *f = fopen(path, "rb");
	size_t len;

	if (!f) {
		perror(path);
		return false;
	}
	len = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	corpus_add(buf, len);
	return true;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Sorted, so that a seed means the same on every file system. */
static bool load_path(const char *path)
{
	struct dirent **names;
	char full[4096];
	struct stat st;
	bool ok = true;
	int n;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		return load_file(path);
	n = scandir(path, &names, NULL, by_name);
	if (n < 0) {
		perror(path);
		return false;
	}
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.') {
			snprintf(full, sizeof(full), "%s/%s", path, names[i]->d_name);
			ok = ok && load_file(full);
		}
		free(names[i]);
	}
	free(names);
	return ok;
}

/* Values at which lengths and counters change their meaning. */
static uint64_t interesting(void)
{
	static const uint64_t values[] = {0, 1, 7, 8, 15, 16, 19, 20, 31, 32, 63, 64, 127, 128, 148,
		255, 256, 1279, 1280, 1500, 32767, 32768, 65535, 65536, INT32_MAX, UINT32_MAX,
		UINT32_MAX - 1, INT64_MAX, UINT64_MAX};

	return values[random_below(sizeof(values) / sizeof(values[0]))];
}

static void put_value(uint8_t *buf, size_t len)
{
	size_t width = (size_t)1 << random_below(4);
	uint64_t value = interesting();
	bool is_big_endian = random_next() & 1;
	size_t at;

	if (len < width)
		return;
	at = random_below(len - width + 1);
	for (size_t i = 0; i < width; i++) {
		size_t shift = 8 * (is_big_endian ? width - 1 - i : i);

		buf[at + i] = (uint8_t)(value >> shift);
	}
}

static size_t insert_bytes(uint8_t *buf, size_t len)
{
	size_t n = 1 + random_below(16), at = random_below(len + 1);

	if (len + n > INPUT_MAX_BYTES)
		return len;
	memmove(buf + at + n, buf + at, len - at);
	for (size_t i = 0; i < n; i++)
		buf[at + i] = (uint8_t)random_next();
	return len + n;
}

static size_t remove_bytes(uint8_t *buf, size_t len)
{
	size_t at, n;

	if (len == 0)
		return 0;
	at = random_below(len);
	n = 1 + random_below(len - at < 16 ? len - at : 16);
	memmove(buf + at, buf + at + n, len - at - n);
	return len - n;
}

/* The head of this input with the tail of another. */
static size_t splice(uint8_t *buf, size_t len)
{
	const struct input *other = &corpus[random_below(n_corpus)];
	size_t keep = random_below(len + 1), from = random_below(other->len + 1);
	size_t n = other->len - from;

	if (keep + n > INPUT_MAX_BYTES)
		n = INPUT_MAX_BYTES - keep;
	memcpy(buf + keep, other->bytes + from, n);
	return keep + n;
}

static size_t mutate(uint8_t *buf, size_t len)
{
	switch (random_below(7)) {
	case 0:
		if (len > 0)
			buf[random_below(len)] ^= (uint8_t)(1u << random_below(8));
		return len;
	case 1:
		if (len > 0)
			buf[random_below(len)] = (uint8_t)random_next();
		return len;
	case 2:
		put_value(buf, len);
		return len;
	case 3:
		return random_below(len + 1);
	case 4:
		return insert_bytes(buf, len);
	case 5:
		return remove_bytes(buf, len);
	default:
		return splice(buf, len);
	}
}

static void run_mutations(unsigned long n_runs)
{
	static uint8_t buf[INPUT_MAX_BYTES];

	for (unsigned long run = 0; run < n_runs; run++) {
		const struct input *from = &corpus[random_below(n_corpus)];
		size_t len = from->len;

		memcpy(buf, from->bytes, len);
		for (size_t i = 1 + random_below(6); i > 0; i--)
			len = mutate(buf, len);
		run_one(buf, len);
	}
}

int main(int argc, char **argv)
{
	const char *seed_text = getenv("PORTIER_TEST_SEED");
	uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 1;
	unsigned long n_runs = DEFAULT_RUNS;
	int opt;

	while ((opt = getopt(argc, argv, "n:")) != -1) {
		if (opt != 'n') {
			fprintf(stderr, "usage: %s [-n RUNS] [FILE|DIRECTORY]...\n", argv[0]);
			return 2;
		}
		n_runs = strtoul(optarg, NULL, 0);
	}
	for (int i = optind; i < argc; i++) {
		if (!load_path(argv[i]))
			return 2;
	}
	/* The empty input is always worth a run, and something must be there to mutate. */
	corpus_add((const uint8_t *)"", 0);

	printf("PORTIER_TEST_SEED=%" PRIu64 ", %u kept inputs, %lu runs\n", seed, n_corpus, n_runs);
	fflush(stdout);
	watch_for_crashes();
	for (unsigned i = 0; i < n_corpus; i++)
		run_one(corpus[i].bytes, corpus[i].len);
	random_state = seed;
	run_mutations(n_runs);
	for (unsigned i = 0; i < n_corpus; i++)
		free(corpus[i].bytes);
	return 0;
}
