/* main.c - portier-bench: one benchmark by name. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "crypto/crypto.h"
#include "rpc/rpc.h"

#include "flow.h"
#include "report.h"
#include "rig.h"
#include "sample.h"

enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

/* 327,680 packets of each row: in short trials where ratios are what is wanted. */
#define IN_TURNS 80, 4096
#define AT_ONCE	 5, 65536
/* Pairs of trials that last a time. */
#define BY_TIME 200, 0

static const struct bench benches[] = {
	{"aead", "the cipher alone, each back end", BENCH_QUICK_MB, IN_TURNS, bench_aead},
	{"in", "Internet to peer: lease, translation, seal", BENCH_QUICK_MB, IN_TURNS, bench_in},
	{"out", "peer to Internet: open, replay, anti-spoof, translation", BENCH_QUICK_MB, IN_TURNS,
		bench_out},
	{"both", "both ways in each turn", BENCH_QUICK_MB, IN_TURNS, bench_both},
	{"leases", "in, with 1 k to 1 M leases", 3072, IN_TURNS, bench_leases},
	{"sessions", "by sessions and by leases, in turns; new sessions a second", 4096, IN_TURNS,
		bench_sessions},
	{"peers", "both ways, with 1 to 100 k peers", 1024, IN_TURNS, bench_peers},
	{"workers", "the same packets on one worker and on two", BENCH_QUICK_MB, IN_TURNS,
		bench_workers},
	{"handover", "packets that arrive on the wrong worker: 0, 50, 100 %", BENCH_QUICK_MB,
		IN_TURNS, bench_handover},
	{"handshake", "responder handshakes a second, against X25519 alone", 1024, IN_TURNS,
		bench_handshake},
	{"rekey", "packets while 1,000 peers a second rekey", BENCH_QUICK_MB, BY_TIME, bench_rekey},
	{"churn", "packets while leases open and close through the socket", BENCH_QUICK_MB, BY_TIME,
		bench_churn},
	{"latency", "time in the gateway at 10, 50 and 90 % load", BENCH_QUICK_MB, AT_ONCE,
		bench_latency},
	{"ndr", "highest rate without loss, and with 0.5 % (RFC 2544)", BENCH_QUICK_MB, AT_ONCE,
		bench_ndr},
	{"memif", "a portier process of its own, over shared memory", BENCH_QUICK_MB, AT_ONCE,
		bench_memif},
	{"memory", "bytes a peer, a keypair, a lease", 2048, AT_ONCE, bench_memory},
};

static void print_help(void)
{
	printf("usage: portier-bench NAME [OPTION...]\n\n"
	       "Drives the real packet path in this process and measures it, in TSC cycles a "
	       "packet.\n"
	       "Every packet is checked at the far end. Nothing on the machine is touched.\n\n");
	for (unsigned i = 0; i < RTE_DIM(benches); i++)
		printf("  %-10s %s\n", benches[i].name, benches[i].help);
	printf("\n  --json             one JSON object instead of a table\n"
	       "  --quick            small and short: shows that it works, measures nothing\n"
	       "  --sizes LIST       inner packet sizes, 36 to 1420 or imix: --sizes 64,512,imix\n"
	       "  --repeats N        of each trial, 1 to 256 (default 80; rekey and churn 200;\n"
	       "                     latency and memif 5)\n"
	       "  --pkts N           packets of a trial, up to 2000000 (default 4096; latency and "
	       "memif\n"
	       "                     65536; rekey and churn: what takes the gateway 8 ms)\n"
	       "  --burst N          packets a worker finds in a turn, 1 to 64 (default 32)\n"
	       "  --peers N          peers at most; --leases N leases at most\n"
	       "  --aead NAME        ipsec-mb, openssl or lanes (default: the fastest here;\n"
	       "                     in and out: each of them in turns)\n"
	       "  --huge             DPDK's memory in hugepages (as much reserved as is wanted)\n"
	       "  --seed N           of everything random (default 1)\n"
	       "\nexit status: 0 done and sound, 1 a check failed or it does not run, 2 wrong "
	       "usage\n");
}

__attribute__((format(printf, 1, 2))) static int usage_error(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "portier-bench: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see portier-bench --help\n");
	return EXIT_USAGE;
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < min || value > max)
		return false;
	*out = value;
	return true;
}

static bool parse_sizes(char *list, struct bench_options *o)
{
	for (char *save, *word = strtok_r(list, ",", &save); word;
		word = strtok_r(NULL, ",", &save)) {
		uint64_t bytes = BENCH_IMIX_MEAN_BYTES;
		bool is_imix = strcmp(word, "imix") == 0;

		if (o->n_sizes == BENCH_SIZES_MAX / 2 ||
			(!is_imix && !parse_number(word, FLOW_MIN_BYTES, RIG_INNER_MTU, &bytes)))
			return false;
		o->sizes[o->n_sizes++] = (struct bench_size){(uint16_t)bytes, is_imix};
	}
	return o->n_sizes > 0;
}

static bool parse_aead(const char *name, struct bench_options *o)
{
	for (enum aead_backend b = AEAD_IPSEC_MB; b <= AEAD_LANES; b++)
		if (strcmp(name, aead_backend_name(b)) == 0)
			o->aead = b;
	return o->aead != AEAD_AUTO;
}

enum option_id {
	OPT_HELP = 'h',
	OPT_JSON = 256,
	OPT_QUICK,
	OPT_SIZES,
	OPT_REPEATS,
	OPT_PKTS,
	OPT_BURST,
	OPT_PEERS,
	OPT_LEASES,
	OPT_AEAD,
	OPT_HUGE,
	OPT_SEED,
};

static const struct option long_options[] = {
	{"help", no_argument, NULL, OPT_HELP},
	{"json", no_argument, NULL, OPT_JSON},
	{"quick", no_argument, NULL, OPT_QUICK},
	{"sizes", required_argument, NULL, OPT_SIZES},
	{"repeats", required_argument, NULL, OPT_REPEATS},
	{"pkts", required_argument, NULL, OPT_PKTS},
	{"burst", required_argument, NULL, OPT_BURST},
	{"peers", required_argument, NULL, OPT_PEERS},
	{"leases", required_argument, NULL, OPT_LEASES},
	{"aead", required_argument, NULL, OPT_AEAD},
	{"huge", no_argument, NULL, OPT_HUGE},
	{"seed", required_argument, NULL, OPT_SEED},
	{NULL, 0, NULL, 0},
};

/* Numbers by option: where they go and what they may be. */
static bool parse_count(int id, const char *text, struct bench_options *o)
{
	uint64_t value;

	switch (id) {
	case OPT_REPEATS:
		return parse_number(text, 1, SAMPLE_REPEATS_MAX, &value) &&
		       (o->repeats = (unsigned)value, true);
	case OPT_PKTS:
		return parse_number(text, 1, 2000000, &value) &&
		       (o->n_pkts = (uint32_t)value, true);
	case OPT_BURST:
		return parse_number(text, 1, PATH_BURST, &value) &&
		       (o->burst = (unsigned)value, true);
	case OPT_PEERS:
		return parse_number(text, 1, 200000, &value) &&
		       (o->max_peers = (uint32_t)value, true);
	case OPT_LEASES:
		return parse_number(text, 1, 2000000, &value) &&
		       (o->max_leases = (uint32_t)value, true);
	default:
		return parse_number(text, 0, INT64_MAX, &o->seed);
	}
}

static int parse_options(int argc, char **argv, struct bench_options *o)
{
	int id;

	while ((id = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (id) {
		case OPT_HELP:
			print_help();
			exit(EXIT_OK);
		case OPT_JSON:
			o->is_json = true;
			break;
		case OPT_QUICK:
			o->is_quick = true;
			break;
		case OPT_HUGE:
			o->is_huge = true;
			break;
		case OPT_SIZES:
			if (!parse_sizes(optarg, o))
				return usage_error("--sizes wants up to %d of 36 to 1420 and imix",
					BENCH_SIZES_MAX / 2);
			break;
		case OPT_AEAD:
			if (!parse_aead(optarg, o))
				return usage_error(
					"--aead %s: accepted are ipsec-mb, openssl and lanes",
					optarg);
			break;
		case '?':
			fprintf(stderr, "portier-bench: see portier-bench --help\n");
			return EXIT_USAGE;
		default:
			if (!parse_count(id, optarg, o))
				return usage_error("%s: not a number this option takes", optarg);
		}
	}
	return EXIT_OK;
}

static const struct bench *find_bench(const char *name)
{
	for (unsigned i = 0; i < RTE_DIM(benches); i++)
		if (strcmp(benches[i].name, name) == 0)
			return &benches[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct bench_options o = {.burst = 32, .seed = 1};
	char fault[RIG_FAULT_CHARS] = "a cipher library lacks an algorithm";
	const struct bench *bench;
	struct report report;
	int rc = parse_options(argc, argv, &o);

	if (rc != EXIT_OK)
		return rc;
	if (optind + 1 != argc)
		return usage_error("exactly one benchmark is wanted");
	bench = find_bench(argv[optind]);
	if (!bench)
		return usage_error("%s is no benchmark", argv[optind]);
	if (!o.repeats)
		o.repeats = o.is_quick ? 2 : bench->repeats;
	if (!o.n_pkts)
		o.n_pkts = o.is_quick ? RTE_MIN(1024u, bench->n_pkts) : bench->n_pkts;

	rpc_init();
	if (crypto_init() < 0 ||
		rig_eal_up(o.is_huge, o.is_quick ? BENCH_QUICK_MB : bench->memory_mb, fault) < 0) {
		fprintf(stderr, "portier-bench: %s\n", fault);
		return EXIT_FAILED;
	}
	if (report_init(&report, bench->name, &o) < 0)
		return EXIT_FAILED;
	rc = bench->run(&o, &report) < 0 ? EXIT_FAILED : EXIT_OK;
	if (rc == EXIT_OK)
		report_print(&report, o.is_json);
	report_fini(&report);
	rte_eal_cleanup();
	return rc;
}
