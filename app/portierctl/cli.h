/* cli.h - the inside of portierctl: a verb is a row in a table, a noun is a file.
 *
 * Exit codes: 0 done; 1 the gateway refused, or standard output cannot be written; 2 usage; 3 the
 * gateway cannot be reached.
 */
#ifndef PORTIERCTL_CLI_H
#define PORTIERCTL_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define CLI_SOCKET "/run/portier/control.sock"

enum cli_exit {
	CLI_OK = 0,
	CLI_REFUSED = 1,
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3,
};

/* How the text of an argument becomes a parameter. */
enum cli_kind {
	CLI_TEXT = 1,
	CLI_TEXTS,     /* may be given several times: an array */
	CLI_NUMBER,    /* an integer */
	CLI_SECONDS,   /* an integer of seconds; "off" is 0 */
	CLI_DURATION,  /* "1h": seconds */
	CLI_TIME,      /* "2026-12-31T18:00Z" or "@1798740000": seconds since 1970 */
	CLI_DAYS,      /* a number of days: seconds */
	CLI_SWITCH,    /* on or off: true or false */
	CLI_ADDRESSES, /* A[,A6]: address4 and address6 */
	CLI_KEY_FILE,  /* a file whose content is the key; - is standard input */
	CLI_TRUE,      /* takes no value: true */
	CLI_FLAG,      /* takes no value; for the printer only, not sent */
};

struct cli_arg {
	/* "--ttl"; of a positional argument NULL: they come first, and are told apart by their
	 * order. */
	const char *name;
	const char *value; /* what stands for the value in help: "DURATION"; NULL for a flag */
	const char *param; /* of the method */
	enum cli_kind kind;
	const char *help;
	bool is_optional; /* of a positional one: it may be missing, and so may those behind it */
};

struct cli_link;

struct cli_verb {
	const char *noun;
	const char *verb; /* NULL: the noun alone, whatever stands behind it that is no verb */
	const char *help;
	const char *method;
	/* Results come in pages: the name of the array; else NULL. Then a parameter "limit" is of
	 * all pages together. */
	const char *page;
	const struct cli_arg *args;
	size_t n_args;
	/* For people; flags are those of kind CLI_FLAG that were given, as true members. */
	void (*print)(const json_t *result, const json_t *flags);
	/* In the place of one call and print: it talks to the gateway until it ends. Else NULL. */
	enum cli_exit (*converse)(struct cli_link *link, bool wants_json, json_t *params);
};

/* One array a file; each ends with a verb without a noun. */
extern const struct cli_verb cli_peer_verbs[];
extern const struct cli_verb cli_lease_verbs[];
extern const struct cli_verb cli_session_verbs[];
extern const struct cli_verb cli_pool_verbs[];
extern const struct cli_verb cli_stats_verbs[];
extern const struct cli_verb cli_ports_verbs[];
extern const struct cli_verb cli_health_verbs[];
extern const struct cli_verb cli_why_verbs[];
extern const struct cli_verb cli_history_verbs[];
extern const struct cli_verb cli_events_verbs[];
extern const struct cli_verb cli_top_verbs[];

/* --- args.c: words of the command line to parameters */

/* What stands before the noun, and may stand behind the verb too. */
struct cli_globals {
	const char *socket_path;
	bool wants_json;
	bool wants_help;
};

/* Take one global option at argv[*i], if there is one; *i is then at its last word. 1 taken; 0
 * none; -1 a fault was said. */
int cli_global_parse(int argc, char **argv, int *i, struct cli_globals *g);
/* argv are the words behind the verb. 0, or -1 when a fault was said on standard error. */
int cli_args_parse(const struct cli_verb *verb, int argc, char **argv, struct cli_globals *g,
	json_t *params, json_t *flags);

/* --- call.c: one conversation with the gateway */

/* NULL when a fault was said. */
struct cli_link *cli_link_open(const char *socket_path);
void cli_link_close(struct cli_link *link);
/* params is consumed. CLI_OK and *result, or the exit code, the fault said. */
enum cli_exit cli_call(struct cli_link *link, const char *method, json_t *params, json_t **result);

/* The next message of the gateway, however long it takes. */
enum cli_exit cli_next(struct cli_link *link, json_t **message);

/* --- help.c */
void cli_help_all(void);
void cli_help_noun(const char *noun);
void cli_help_verb(const struct cli_verb *verb);
/* Every verb; NULL ends. */
const struct cli_verb *cli_verb_at(size_t i);
/* Of the words offered so far, the one most like word; start with *best NULL. */
void cli_nearest_offer(const char *word, const char *candidate, const char **best);

/* --- table.c: for people's eyes */

/* "portierctl: " and one sentence on standard error. */
void cli_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

struct cli_table;
/* header: columns separated by |; one that begins with > is aligned to the right. */
struct cli_table *cli_table_create(const char *header);
/* The next cell, in order of rows; text is made printable. */
void cli_table_add(struct cli_table *t, const char *text);
void cli_table_addf(struct cli_table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Prints, or says empty when there are no rows; then frees. */
void cli_table_print(struct cli_table *t, const char *empty);

/* Recent drops, as drops and why have them (stats.c). */
void cli_recent_print(const json_t *recent, const char *empty);

/* What came to nothing at a lease, as lease show and why have it (why.c). */
void cli_failures_print(const json_t *failures);

/* printf, of which no byte steers the terminal but newlines of fmt at its end. */
void cli_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One line of what is shown of one thing. */
void cli_field(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Members as text: "-" for null or absent. Buffers of CLI_TEXT_CHARS; each returns its buf. */
#define CLI_TEXT_CHARS 64
const char *cli_text(const json_t *object, const char *name);
json_int_t cli_number(const json_t *object, const char *name);
/* The public side and the target of a lease, as an endpoint. */
char *cli_public_format(const json_t *lease, char buf[static CLI_TEXT_CHARS]);
char *cli_target_format(const json_t *lease, char buf[static CLI_TEXT_CHARS]);
char *cli_bytes_format(json_int_t bytes, char buf[static CLI_TEXT_CHARS]);
/* Seconds since 1970 to "2026-12-31T18:00:00Z"; null to none. */
char *cli_time_format(const json_t *seconds, const char *none, char buf[static CLI_TEXT_CHARS]);
/* 95.2 to "1m35s"; null to none. */
char *cli_seconds_format(const json_t *seconds, const char *none, char buf[static CLI_TEXT_CHARS]);

#endif
