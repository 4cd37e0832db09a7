/* ctl_restart.h - a control server with a store, whose gateway ends and begins again, for tests.
 */
#ifndef PORTIER_TESTS_CTL_RESTART_H
#define PORTIER_TESTS_CTL_RESTART_H

#include "ctl_portmap.h"

#include <signal.h>
#include <sys/resource.h>

#define HOUR_NS (3600 * NS_IN_S)

static char db[96];
static struct conf_peer conf_peers[2];
static struct conf_lease conf_leases[2];
/* Of the next run; NULL: it translates nothing. */
static const struct flows *const *run_flows;
static const struct blocks *run_blocks;

/* --- runs of one gateway: the tables of each are its own, the file is the same */

static inline bool try_begin(char fault[static CTL_FAULT_CHARS])
{
	struct ctl_params p;

	server->store = store_open(db, test_wall_ns(), fault);
	if (server->store == NULL)
		return false;
	p = server_params(server);
	p.portmap_reply = hear;
	p.flows = run_flows;
	p.blocks = run_blocks;
	server->ctl = ctl_create(&p, fault);
	return server->ctl != NULL && ctl_load_conf(server->ctl, fault) == 0;
}

static inline void begin(void)
{
	char fault[CTL_FAULT_CHARS];

	if (!try_begin(fault))
		fail_msg("%s", fault);
	client_open(&operator, server);
}

static inline void end(void)
{
	client_close(&operator);
	server_tables_destroy(server);
	store_close(server->store);
	server->ctl = NULL;
	server->store = NULL;
}

static inline void restart(void)
{
	end();
	server_tables_create(server);
	begin();
	ctl_tick(server->ctl);
}

static inline int setup(void **state)
{
	server = server_create();
	server->conf.reserve_ns = HOUR_NS;
	server->conf.reject_after_ns = 180 * NS_IN_S;
	server->conf.peers = conf_peers;
	server->conf.leases = conf_leases;
	lease_table_destroy(server->leases);
	server->leases = make_leases(&server->conf);
	memset(conf_peers, 0, sizeof(conf_peers));
	memset(conf_leases, 0, sizeof(conf_leases));
	memset(&heard, 0, sizeof(heard));
	assert_int_equal(chmod(server->dir, 0700), 0);
	snprintf(db, sizeof(db), "%s/portier.db", server->dir);
	snprintf(server->conf.store_path, sizeof(server->conf.store_path), "%s", db);
	begin();
	return 0;
}

static inline int teardown(void **state)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char name[112];

	end();
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", db, ends[i]);
		unlink(name);
	}
	server_tables_create(server);
	server_destroy(server);
	return 0;
}

static inline void pass(uint64_t ns)
{
	clock_offset_ns += ns;
	ctl_tick(server->ctl);
}

/* Of a list: how many there are. */
static inline size_t count(const char *method, const char *params, const char *name)
{
	json_t *result = call(&operator, method, params);
	size_t n = json_array_size(json_object_get(result, name));

	json_decref(result);
	return n;
}

static inline size_t leases_count(void)
{
	return count("lease.list", "{}", "leases");
}

/* As text; the caller frees it. Jansson's own would be memory of the server. */
static inline char *dump(const json_t *object)
{
	size_t len = json_dumpb(object, NULL, 0, JSON_SORT_KEYS);
	char *out = calloc(1, len + 1);

	assert_int_equal(json_dumpb(object, out, len, JSON_SORT_KEYS), len);
	return out;
}

/* Without what is counted from a moment, or since the start. */
static inline char *lasting(json_t *object)
{
	static const char *const passing[] = {
		"expires_in_s", "opened_age_s", "last_used_age_s", "age_s", "last_received_age_s"};
	char *text;

	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		json_object_del(object, passing[i]);
	text = dump(object);
	json_decref(object);
	return text;
}

static inline void is_as_before(const char *method, const char *params, char *before)
{
	char *after = lasting(call(&operator, method, params));

	assert_string_equal(after, before);
	free(after);
	free(before);
}

static inline void configure_peer(unsigned i, const char *name, unsigned n)
{
	struct conf_peer *p = &conf_peers[i];

	*p = (struct conf_peer){.forwarding = true, .max_leases = 8};
	snprintf(p->name, sizeof(p->name), "%s", name);
	assert_int_equal(crypto_key_parse(key_text(n), p->public_key), 0);
	p->address4 = ip_from_v4((const uint8_t[]){10, 0, 0, (uint8_t)n});
	p->filter = FLOW_MODERATE;
	p->max_sessions = 77;
	server->conf.n_peers = i + 1;
}

static inline void configure_lease(unsigned i, uint16_t public_port, uint16_t inner_port)
{
	conf_leases[i] = (struct conf_lease){.protos = LEASE_PROTO_BOTH,
		.public_addr = address("198.51.100.1"),
		.public_port = public_port,
		.inner_port = inner_port};
	server->conf.n_leases = i + 1;
}

static inline void add_client(void)
{
	add_peer(&operator, "alice", 2);
	json_decref(call(&operator, "peer.set", "{'peer':'alice','portmap':true}"));
	alice = peer_find(server->peers, "alice");
}

/* --- a disk that is full */

static inline void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static inline void fill_disk(void)
{
	char name[112];
	struct stat st;

	signal(SIGXFSZ, SIG_IGN);
	snprintf(name, sizeof(name), "%s-wal", db);
	assert_int_equal(stat(name, &st), 0);
	limit_files((rlim_t)st.st_size);
}

#endif
