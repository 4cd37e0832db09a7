/* conf_impl.h - inside of lib/conf: one table of keys, the walk over it, and the list of faults.
 *
 * Way of a file: conf_text (bytes that libconfig would misread are refused) -> libconfig ->
 *                conf_read_group (conf_key tables of conf_schema.c, readers of conf_value.c and
 *                conf_field.c) -> conf_check_* (what contradicts what) -> faults in file order.
 * Rule:          a value that was refused stays zero, and checks skip zero: one fault, one
 * sentence. Threads:       control thread.
 */
#ifndef PORTIER_CONF_IMPL_H
#define PORTIER_CONF_IMPL_H

#include "conf/conf.h"
#include "crypto/crypto.h"

#include <libconfig.h>
#include <stddef.h>

#define CONF_FAULTS_MAX	    100 /* listed; what is beyond is only counted */
#define CONF_KEY_PATH_CHARS 128
#define CONF_VALUE_CHARS    96
#define CONF_TAKES_CHARS    192

struct conf_fault {
	unsigned line; /* 0: none */
	char text[CONF_FAULT_CHARS];
};

/* A port of a lease: of a range each has one. */
struct conf_lease_port {
	uint32_t lease_idx;
	uint16_t at; /* 0: its first */
};

struct conf_ctx {
	const char *path;
	struct conf *conf;
	const config_setting_t *root;
	/* [n_leases]: where conf.leases[i] stands in the file */
	const config_setting_t **lease_settings;
	struct conf_lease_port *lease_ports; /* of all leases, in their order */
	uint32_t n_lease_ports;
	struct conf_fault *faults; /* [CONF_FAULTS_MAX], by line */
	unsigned n_faults;
	unsigned n_unlisted;
	int error; /* 0, or -ENOMEM: the verdict is not about the file */
};

enum conf_kind {
	CONF_INT = 1,
	CONF_BOOL,
	CONF_DURATION, /* a string, into nanoseconds */
	CONF_CHOICE,   /* a string out of choices, into its value */
	CONF_TEXT,     /* a string, given to parse */
	CONF_TEXTS,    /* an array of min to max strings, each given to parse */
	CONF_GROUP,    /* keys in sub; offset is not used: it writes into the same struct */
	CONF_CUSTOM,   /* given to read as it is */
};

struct conf_choice {
	const char *name; /* NULL ends the list */
	unsigned value;
};

struct conf_key {
	const char *name; /* NULL ends the table */
	enum conf_kind kind;
	bool required;
	bool inverted; /* CONF_BOOL: the field means the opposite of the key */
	bool live;     /* may change while the gateway runs: only control reads the field */
	bool hidden;   /* the value could be a secret put into the wrong place: not shown */
	size_t offset; /* of the field, from the struct that the group is read into */
	size_t width_bytes;
	long long min, max; /* CONF_INT: the value; CONF_TEXTS: the number of entries */
	const char *min_text, *max_text; /* CONF_DURATION */
	/* The default, as the file would say it, without quotes; NULL: none. With "preset" it is
	 * the key that the field's value was taken from beforehand. */
	const char *def;
	bool preset;
	const struct conf_choice *choices;
	const char *takes; /* what is accepted, to go after "it takes"; NULL: derived */
	/* 0 or -EINVAL. For CONF_TEXTS called once an entry, and appends even when it refuses, so
	 * that entries keep their numbers. */
	int (*parse)(const struct conf_key *k, const char *text, void *base);
	void (*read)(struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s,
		void *base);
	const struct conf_key *sub;
};

/* conf_schema.c: what may stand in a file. The test walks it against config/portier.conf. */
extern const struct conf_key conf_root_keys[];
extern const struct conf_key conf_port_keys[];
extern const struct conf_key conf_peer_keys[];
extern const struct conf_key conf_lease_keys[];

/* conf_live.c: does conf_take_live compare what is read for this key? For the test. */
bool conf_live_knows(const struct conf_key *k, const char *name);

/* conf_fault.c: sentences. at may be NULL: no line. */
void conf_fault(struct conf_ctx *ctx, const config_setting_t *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void conf_fault_line(struct conf_ctx *ctx, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* "peers[3].address" */
char *conf_key_path(const config_setting_t *s, char buf[static CONF_KEY_PATH_CHARS]);
/* As the file says it, on one line, shortened; what looks like a key is not shown. */
char *conf_value_text(const config_setting_t *s, char buf[static CONF_VALUE_CHARS]);
/* "PATH is a TYPE; it takes TAKES" */
void conf_fault_type(struct conf_ctx *ctx, const config_setting_t *s, const char *takes);
/* "PATH = VALUE is not accepted; it takes TAKES" */
void conf_fault_value(struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s,
	const char *takes);

/* conf_value.c */
char *conf_takes(const struct conf_key *k, char buf[static CONF_TAKES_CHARS]);
/* Read keys out of a group into base; defaults go where the group is silent. group NULL: the whole
 * group is absent, and absent_name names it. */
void conf_read_group(struct conf_ctx *ctx, const config_setting_t *group, const char *absent_name,
	const struct conf_key *keys, void *base);
/* Array or list. */
bool conf_is_sequence(const config_setting_t *s);

/* conf_field.c: parsers and readers that the tables name */
int conf_parse_name(const struct conf_key *k, const char *text, void *base);
int conf_parse_uapi_name(const struct conf_key *k, const char *text, void *base);
int conf_parse_label(const struct conf_key *k, const char *text, void *base);
int conf_parse_device(const struct conf_key *k, const char *text, void *base);
int conf_parse_role(const struct conf_key *k, const char *text, void *base);
int conf_parse_ifaddr(const struct conf_key *k, const char *text, void *base);
int conf_parse_gateway(const struct conf_key *k, const char *text, void *base);
int conf_parse_eal_arg(const struct conf_key *k, const char *text, void *base);
int conf_parse_inner_addr(const struct conf_key *k, const char *text, void *base);
int conf_parse_pool(const struct conf_key *k, const char *text, void *base);
int conf_parse_dedicated(const struct conf_key *k, const char *text, void *base);
int conf_parse_nat_pool(const struct conf_key *k, const char *text, void *base);
int conf_parse_nat_ports(const struct conf_key *k, const char *text, void *base);
int conf_parse_exempt(const struct conf_key *k, const char *text, void *base);
int conf_parse_blocked(const struct conf_key *k, const char *text, void *base);
int conf_parse_route(const struct conf_key *k, const char *text, void *base);
int conf_parse_lease_ports(const struct conf_key *k, const char *text, void *base);
int conf_parse_deny(const struct conf_key *k, const char *text, void *base);
int conf_parse_store_path(const struct conf_key *k, const char *text, void *base);
int conf_parse_socket(const struct conf_key *k, const char *text, void *base);
int conf_parse_public_key(const struct conf_key *k, const char *text, void *base);
int conf_parse_peer_address(const struct conf_key *k, const char *text, void *base);
int conf_parse_metrics_listen(const struct conf_key *k, const char *text, void *base);
int conf_parse_endpoint(const struct conf_key *k, const char *text, void *base);
int conf_parse_public_addr(const struct conf_key *k, const char *text, void *base);
int conf_parse_to_addr(const struct conf_key *k, const char *text, void *base);
int conf_parse_source(const struct conf_key *k, const char *text, void *base);
void conf_read_lcores(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base);
void conf_read_ports(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base);
void conf_read_peers(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base);
void conf_read_peer_leases(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base);

/* conf_file.c */
/* The whole file, NUL-terminated, to be freed; len without the NUL. 0 or -errno; -EISDIR
 * for anything that is not a regular file, -EFBIG past 512 MiB. */
int conf_file_read(const char *path, char **out, size_t *len_bytes);
void conf_read_private_key(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base);
void conf_read_preshared_key(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base);
/* Refuse what libconfig would take for something else: a NUL byte (it would stop there), an
 * integer past 31 bits (it would wrap), a comment without an end (it would hide the rest), @include
 * (this is one file). */
void conf_text_check(struct conf_ctx *ctx, const char *text, size_t len_bytes);

/* conf_check.c, conf_check_nat.c, conf_check_peers.c, conf_check_routes.c, conf_check_leases.c:
 * values that contradict each other */
void conf_check_host(struct conf_ctx *ctx);
void conf_check_ports(struct conf_ctx *ctx);
void conf_check_pools(struct conf_ctx *ctx);
void conf_check_tunnel(struct conf_ctx *ctx);
void conf_check_lease_rules(struct conf_ctx *ctx);
void conf_check_history(struct conf_ctx *ctx);
void conf_check_nat(struct conf_ctx *ctx);
void conf_check_peers(struct conf_ctx *ctx);
void conf_check_routes(struct conf_ctx *ctx);
void conf_check_leases(struct conf_ctx *ctx);

/* Fills a zeroed key; false: this one takes no part. */
typedef bool (*conf_twin_key_fn)(
	const struct conf_ctx *ctx, uint32_t idx, uint8_t key[static CRYPTO_KEY_BYTES]);
typedef void (*conf_twin_fault_fn)(struct conf_ctx *ctx, uint32_t idx, uint32_t first_idx);
/* Calls fault for each of n things whose key an earlier one has. O(n log n). */
void conf_find_twins(
	struct conf_ctx *ctx, uint32_t n, conf_twin_key_fn key_of, conf_twin_fault_fn fault);

/* Where things stand in the file, for a sentence; NULL when they are not in it. */
const config_setting_t *conf_at(const struct conf_ctx *ctx, const char *path);
const config_setting_t *conf_at_port(
	const struct conf_ctx *ctx, unsigned port_idx, const char *key);
const config_setting_t *conf_at_elem(const config_setting_t *list, unsigned idx);
/* A key of a peer, or else the peer. */
const config_setting_t *conf_at_peer(const struct conf_ctx *ctx, uint32_t idx, const char *key);

/* The pools of public addresses, as the file calls them. */
struct conf_pool {
	const char *key;
	const struct ip_prefix *prefixes;
	unsigned n;
};
#define CONF_POOLS 3
struct conf_pool conf_pool_get(const struct conf *c, unsigned pool_idx);
/* The prefix of a pool that holds an address, and the key of that pool; NULL. */
const struct ip_prefix *conf_pool_find(
	const struct conf *c, const struct ip_addr *a, const char **key);
/* No lease may have this port. */
bool conf_is_denied(const struct conf *c, uint16_t port);
/* Index of the port that has this address; -1. */
int conf_port_find(const struct conf *c, const struct ip_addr *a);

#endif
