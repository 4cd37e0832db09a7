/* portier - the gateway's command line. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <event2/event.h>

#include "base/log.h"
#include "crypto/crypto.h"

#include "boot.h"
#include "control.h"

enum exit_code {
	EXIT_FAILED = 1, /* the configuration is sound, but the gateway can not run */
	EXIT_CONFIG = 2, /* faults in the configuration or the command line */
};

static void usage(FILE *to)
{
	fputs("usage: portier -c FILE [--check]\n"
	      "\n"
	      "  -c, --config FILE  the configuration; see config/portier.conf for every key\n"
	      "      --check        validate FILE and exit: 0, or 2 and one sentence per fault\n"
	      "  -V, --version\n"
	      "  -h, --help\n"
	      "\n"
	      "Runs in the foreground until SIGTERM or SIGINT; SIGHUP reads FILE again. Exit "
	      "codes:\n"
	      "0 stopped by a signal, 1 can not run, 2 fault in the configuration or command "
	      "line.\n",
		to);
}

static void print_fault(void *arg, const char *sentence)
{
	fprintf(stderr, "%s\n", sentence);
}

static int run(struct conf *conf, const char *path)
{
	static struct boot boot;
	char fault[BOOT_FAULT_CHARS] = "";
	struct event_config *config = event_config_new();
	struct event_base *base;
	int rc = EXIT_FAILED;

	/* Without the precise timer, short waits are rounded up to milliseconds of a cached clock.
	 */
	base = NULL;
	if (config) {
		event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
		base = event_base_new_with_config(config);
		event_config_free(config);
	}
	if (!base) {
		log_error("no event loop: out of memory or descriptors");
		return EXIT_FAILED;
	}
	if (boot_up(&boot, conf, path, base, fault) < 0)
		log_error("%s", fault);
	else if (control_run(&boot) < 0)
		log_error("the event loop ended: out of memory or descriptors");
	else
		rc = EXIT_SUCCESS;
	boot_down(&boot);
	event_base_free(base);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, 'k'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	/* No core file may hold keys. */
	const struct rlimit no_core = {0, 0};
	const char *path = NULL;
	bool only_check = false;
	struct conf *conf;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			path = optarg;
			break;
		case 'k':
			only_check = true;
			break;
		case 'V':
			puts("portier " PORTIER_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_CONFIG;
		}
	}
	if (!path || optind < argc) {
		fprintf(stderr, "portier: %s\n",
			path ? "takes options only, no arguments"
			     : "-c FILE is missing: the configuration to run");
		usage(stderr);
		return EXIT_CONFIG;
	}
	(void)setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGPIPE, SIG_IGN);
	/* Until the loop takes it: a reload that comes too early must not end the gateway. */
	signal(SIGHUP, SIG_IGN);
	log_begin_journal();
	if (crypto_init() < 0) {
		fputs("portier: OpenSSL or libsodium lacks an algorithm that WireGuard needs\n",
			stderr);
		return EXIT_FAILED;
	}
	rc = conf_load(path, print_fault, NULL, &conf);
	if (rc == -ENOMEM) {
		fprintf(stderr, "portier: out of memory while reading %s\n", path);
		return EXIT_FAILED;
	}
	if (rc < 0)
		return EXIT_CONFIG;
	if (only_check) {
		printf("%s: sound\n", path);
		rc = EXIT_SUCCESS;
	} else {
		log_set_level(conf->log_level);
		rc = run(conf, path);
	}
	conf_destroy(conf);
	return rc;
}
