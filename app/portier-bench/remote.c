#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_ring_peek.h>

#include "crypto/crypto.h"
#include "rpc/rpc.h"

#define PUMP_BURST  32
#define RING_LOG2   10 /* slots of a memif ring */
#define READ_BYTES  65536u
#define REPLY_BYTES (16u << 20)
#define POLL_US	    1000
#define MEMORY_MB   512

static const char *const port_names[RIG_N_PORTS] = {"tunnel", "public"};
static const char *const files[] = {
	"portier.conf", "private.key", "log", "control.sock", "tunnel.memif", "public.memif"};

struct remote {
	const struct rig *rig;
	char dir[32];
	pid_t pid; /* 0: not started, or it ended */
	int fd;	   /* control socket */
	json_int_t last_id;
	struct rpc_lines lines;
	uint16_t eth_ids[RIG_N_PORTS];
	unsigned n_ports; /* opened so far */
};

__attribute__((format(printf, 2, 3))) static bool refuse(char *fault, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fault, RIG_FAULT_CHARS, fmt, ap);
	va_end(ap);
	return false;
}

static char *path_of(const struct remote *r, const char *file, char buf[static PATH_MAX])
{
	snprintf(buf, PATH_MAX, "%s/%s", r->dir, file);
	return buf;
}

/* --- its configuration -------------------------------------------------------------------------
 */

static FILE *create_file(const struct remote *r, const char *name)
{
	char path[PATH_MAX];
	int fd = open(path_of(r, name, path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? NULL : fdopen(fd, "w");
}

static bool write_key(const struct remote *r)
{
	char text[CRYPTO_KEY_TEXT_CHARS]; /* wiped */
	FILE *f = create_file(r, "private.key");
	bool ok = f && fprintf(f, "%s\n", crypto_key_format(r->rig->conf->private_key, text)) > 0;

	crypto_wipe(text, sizeof(text));
	return f && fclose(f) == 0 && ok;
}

/* CPUs for its worker and its control thread: others than ours where there are any. */
static void choose_cpus(int *worker, int *control)
{
	int own = sched_getcpu(), n = get_nprocs();

	*worker = n > 1 ? (own + 1) % n : own;
	*control = n > 2 ? (own + 2) % n : *worker;
}

static void write_port(FILE *f, const struct remote *r, unsigned port)
{
	const struct conf_port *c = &r->rig->conf->ports[port];
	char addr[IP_TEXT_CHARS], gateway[IP_TEXT_CHARS], mac[RTE_ETHER_ADDR_FMT_SIZE];

	rte_ether_format_addr(mac, sizeof(mac), &r->rig->ports[port].mac);
	fprintf(f,
		"  { name = \"%s\"; roles = [ \"%s\" ]; addresses = [ \"%s/24\" ]; gateways = [ "
		"\"%s\" ];\n"
		"    device = \"net_memif%u,role=server,socket-abstract=no,socket=%s/%s.memif,"
		"rsize=%u,mac=%s\"; }%s\n",
		port_names[port], port_names[port], ip_addr_format(&c->ifaddrs[0].addr, addr),
		ip_addr_format(&c->gateway4, gateway), port, r->dir, port_names[port], RING_LOG2,
		mac, port + 1 < RIG_N_PORTS ? "," : "");
}

static bool write_conf(const struct remote *r)
{
	const struct conf *conf = r->rig->conf;
	const struct group *group = getgrgid(getegid());
	char self[IP_TEXT_CHARS], pool[IP_TEXT_CHARS];
	int worker, control;
	FILE *f = create_file(r, "portier.conf");

	if (!f)
		return false;
	choose_cpus(&worker, &control);
	fprintf(f, "eal = { lcores = [ %d, %d ]; huge = false; memory_mb = %u; mbufs = 16384; };\n",
		control, worker, MEMORY_MB);
	fprintf(f, "workers = { idle = \"poll\"; aead = \"%s\"; };\nports = (\n",
		aead_backend_name(r->rig->aead));
	for (unsigned i = 0; i < RIG_N_PORTS; i++)
		write_port(f, r, i);
	fprintf(f,
		");\ntunnel = { private_key_file = \"private.key\"; listen_port = %u; "
		"inner_mtu = %u; inner_addresses = [ \"%s\" ]; };\n",
		conf->listen_port, conf->inner_mtu_bytes,
		ip_addr_format(&conf->inner_addrs[0], self));
	fprintf(f, "public = { pool = [ \"%s\" ]; };\n", ip_prefix_format(&conf->pool[0], pool));
	fprintf(f,
		"control = { socket = \"%s/control.sock\"; group = \"%s\"; uapi_name = \"\"; };\n",
		r->dir, group ? group->gr_name : "root");
	return fclose(f) == 0;
}

/* --- the process -------------------------------------------------------------------------------
 */

/* Beside our own program. */
static bool find_program(char path[static PATH_MAX])
{
	char own[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);

	if (n <= 0)
		return false;
	own[n] = '\0';
	return snprintf(path, PATH_MAX, "%s/../portier/portier", dirname(own)) < PATH_MAX &&
	       access(path, X_OK) == 0;
}

static void become_gateway(const char *program, const char *conf_path, const char *log_path)
{
	int log = open(log_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	cpu_set_t all;

	CPU_ZERO(&all);
	for (int i = 0; i < get_nprocs(); i++)
		CPU_SET(i, &all);
	/* Ours is on one CPU, and it is to have the others; and it must not outlive us. */
	sched_setaffinity(0, sizeof(all), &all);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (log >= 0) {
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
	}
	execl(program, program, "-c", conf_path, NULL);
	_exit(127);
}

static bool spawn(struct remote *r, char *fault)
{
	char program[PATH_MAX], conf_path[PATH_MAX], log_path[PATH_MAX];

	if (!find_program(program))
		return refuse(fault, "there is no portier beside this program");
	path_of(r, "portier.conf", conf_path);
	path_of(r, "log", log_path);
	r->pid = fork();
	if (r->pid == 0)
		become_gateway(program, conf_path, log_path);
	return r->pid > 0 || refuse(fault, "portier can not be started: %s", strerror(errno));
}

static bool has_ended(struct remote *r)
{
	int status;

	if (r->pid > 0 && waitpid(r->pid, &status, WNOHANG) == r->pid)
		r->pid = 0;
	return r->pid == 0;
}

static bool is_in_time(uint64_t give_up_ns)
{
	usleep(POLL_US);
	return rig_now_ns() < give_up_ns;
}

/* What it said, when it does not come up. */
static void print_log(const struct remote *r)
{
	char path[PATH_MAX], line[512];
	FILE *f = fopen(path_of(r, "log", path), "r");

	while (f && fgets(line, sizeof(line), f))
		fprintf(stderr, "portier: %s", line);
	if (f)
		fclose(f);
}

static void end_process(struct remote *r)
{
	uint64_t give_up_ns = rig_now_ns() + REMOTE_WAIT_NS;

	if (has_ended(r))
		return;
	kill(r->pid, SIGTERM);
	while (!has_ended(r) && is_in_time(give_up_ns))
		;
	if (r->pid > 0) {
		kill(r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
		r->pid = 0;
	}
}

/* --- its control socket ------------------------------------------------------------------------
 */

static bool dial(struct remote *r)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const struct timeval wait = {.tv_sec = REMOTE_WAIT_NS / NS_IN_S};

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control.sock", r->dir);
	r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->fd >= 0 && connect(r->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
		setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
		return true;
	}
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	return false;
}

static bool read_line(struct remote *r, const char **line, size_t *len)
{
	int got;

	while ((got = rpc_lines_next(&r->lines, line, len)) == 0) {
		void *room = rpc_lines_reserve(&r->lines, READ_BYTES);
		ssize_t n = room ? read(r->fd, room, READ_BYTES) : -1;

		if (n <= 0)
			return false;
		rpc_lines_commit(&r->lines, (size_t)n);
	}
	return got > 0;
}

/* The result, the caller's to decref; NULL: it was refused, and the reason printed. */
static json_t *call(struct remote *r, const char *method, json_t *params)
{
	struct rpc_text request = {0};
	struct rpc_fault fault = {.sentence = "it does not answer"};
	json_t *result = NULL;
	const char *line;
	size_t len;
	bool ok;

	rpc_text_request(&request, ++r->last_id, method, params);
	ok = !request.is_broken &&
	     send(r->fd, request.chars, request.len, MSG_NOSIGNAL) == (ssize_t)request.len &&
	     read_line(r, &line, &len) &&
	     rpc_reply_parse(line, len, r->last_id, &result, &fault) == 0;
	rpc_text_fini(&request);
	if (!ok)
		fprintf(stderr, "portier-bench: %s: %s\n", method, fault.sentence);
	return result;
}

int remote_peer_add(struct remote *r, uint32_t peer_idx, const uint8_t public_key[CRYPTO_KEY_BYTES])
{
	struct ip_addr inner = rig_inner_addr(peer_idx);
	char key[CRYPTO_KEY_TEXT_CHARS], addr[IP_TEXT_CHARS], name[16];
	json_t *peer;

	snprintf(name, sizeof(name), "peer-%" PRIu32, peer_idx);
	peer = call(r, "peer.add",
		json_pack("{s:s, s:s, s:s, s:b, s:i}", "public_key",
			crypto_key_format(public_key, key), "name", name, "address4",
			ip_addr_format(&inner, addr), "forwarding", 1, "max_leases",
			(int)RTE_MIN(r->rig->params.max_leases, (uint32_t)UINT16_MAX)));
	json_decref(peer);
	return peer ? 0 : -EIO;
}

int remote_lease_open(struct remote *r, uint32_t peer_idx, uint16_t inner_port, struct lease *out)
{
	char name[16];
	const char *text;
	json_t *lease;
	bool ok;

	snprintf(name, sizeof(name), "peer-%" PRIu32, peer_idx);
	lease = call(r, "lease.open",
		json_pack("{s:s, s:s, s:i}", "peer", name, "proto", "udp", "to_port", inner_port));
	text = json_string_value(json_object_get(lease, "public_address"));
	*out = (struct lease){
		.peer_idx = peer_idx,
		.inner_addr = rig_inner_addr(peer_idx),
		.inner_port = inner_port,
		.public_port = (uint16_t)json_integer_value(json_object_get(lease, "public_port")),
	};
	ok = text && ip_addr_parse(text, &out->public_addr) == 0;
	json_decref(lease);
	return ok ? 0 : -EIO;
}

static uint64_t counter_of(const json_t *counters, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(counters, name));
}

int remote_work(struct remote *r, struct remote_work *out)
{
	json_t *stats = call(r, "stats", NULL);
	const json_t *counters =
		json_object_get(json_array_get(json_object_get(stats, "workers"), 0), "counters");
	struct timespec ts = {0};
	clockid_t clock;
	bool ok = counters && clock_getcpuclockid(r->pid, &clock) == 0 &&
		  clock_gettime(clock, &ts) == 0;

	*out = (struct remote_work){
		.cpu_ns = (uint64_t)ts.tv_sec * NS_IN_S + (uint64_t)ts.tv_nsec,
		.turns = counter_of(counters, "turns"),
		.busy_turns = counter_of(counters, "busy_turns"),
	};
	json_decref(stats);
	return ok ? 0 : -1;
}

bool remote_is_balanced(struct remote *r)
{
	json_t *stats = call(r, "stats", NULL);
	bool ok = json_is_true(
		json_object_get(json_array_get(json_object_get(stats, "workers"), 0), "balanced"));

	json_decref(stats);
	return ok;
}

void remote_drops_print(struct remote *r)
{
	json_t *drops = call(r, "drops", NULL), *drop;
	size_t i;

	json_array_foreach(json_object_get(drops, "drops"), i, drop)
	{
		json_int_t n = json_integer_value(json_object_get(drop, "pkts"));

		if (n > 0)
			fprintf(stderr, "portier-bench: portier dropped %lld: %s\n", (long long)n,
				json_string_value(json_object_get(drop, "help")));
	}
	json_decref(drops);
}

/* --- its ports ---------------------------------------------------------------------------------
 */

static bool open_port(struct remote *r, unsigned port, char *fault)
{
	struct rte_eth_conf eth_conf = {0};
	char device[16], args[128];
	uint16_t id;
	int rc;

	snprintf(device, sizeof(device), "net_memif%u", port);
	snprintf(args, sizeof(args), "role=client,socket-abstract=no,socket=%s/%s.memif,rsize=%u",
		r->dir, port_names[port], RING_LOG2);
	rc = rte_eal_hotplug_add("vdev", device, args);
	if (rc == 0)
		rc = rte_eth_dev_get_port_by_name(device, &id);
	if (rc < 0)
		return refuse(fault, "%s does not come up: %s", device, rte_strerror(-rc));
	r->eth_ids[port] = id;
	r->n_ports++;
	rc = rte_eth_dev_configure(id, 1, 1, &eth_conf);
	if (rc == 0)
		rc = rte_eth_rx_queue_setup(
			id, 0, 1u << RING_LOG2, rte_socket_id(), NULL, r->rig->mempool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(id, 0, 1u << RING_LOG2, rte_socket_id(), NULL);
	if (rc == 0)
		rc = rte_eth_dev_start(id);
	return rc == 0 || refuse(fault, "%s does not start: %s", device, rte_strerror(-rc));
}

static bool are_linked(const struct remote *r)
{
	for (unsigned i = 0; i < RIG_N_PORTS; i++) {
		struct rte_eth_link link = {0};

		if (rte_eth_link_get_nowait(r->eth_ids[i], &link) < 0 || !link.link_status)
			return false;
	}
	return true;
}

unsigned remote_pump(struct remote *r)
{
	struct rte_mbuf *pkts[PUMP_BURST];
	unsigned n_moved = 0;

	for (unsigned i = 0; i < RIG_N_PORTS; i++) {
		struct rte_ring *to_it = r->rig->rx[i][0], *from_it = r->rig->tx[i][0];
		unsigned n = rte_ring_dequeue_burst_start(to_it, (void **)pkts, PUMP_BURST, NULL);
		unsigned n_sent = n ? rte_eth_tx_burst(r->eth_ids[i], 0, pkts, (uint16_t)n) : 0;

		if (n)
			rte_ring_dequeue_finish(to_it, n_sent);
		n_moved += n_sent;
		if (rte_ring_free_count(from_it) < PUMP_BURST)
			continue;
		n = rte_eth_rx_burst(r->eth_ids[i], 0, pkts, PUMP_BURST);
		rte_ring_enqueue_burst(from_it, (void **)pkts, n, NULL);
		n_moved += n;
	}
	return n_moved;
}

/* --- all of it ---------------------------------------------------------------------------------
 */

static bool come_up(struct remote *r, char *fault)
{
	uint64_t give_up_ns = rig_now_ns() + REMOTE_WAIT_NS;

	if (!write_key(r) || !write_conf(r))
		return refuse(fault, "%s: a file can not be written: %s", r->dir, strerror(errno));
	if (!spawn(r, fault))
		return false;
	while (!dial(r))
		if (has_ended(r) || !is_in_time(give_up_ns))
			return refuse(fault, "portier does not come up");
	for (unsigned i = 0; i < RIG_N_PORTS; i++)
		if (!open_port(r, i, fault))
			return false;
	while (!are_linked(r))
		if (has_ended(r) || !is_in_time(give_up_ns))
			return refuse(fault, "portier does not connect to its ports");
	return true;
}

struct remote *remote_start(const struct rig *rig, char fault[static RIG_FAULT_CHARS])
{
	struct remote *r = calloc(1, sizeof(*r));

	if (!r) {
		refuse(fault, "out of memory");
		return NULL;
	}
	r->rig = rig;
	r->fd = -1;
	rpc_lines_init(&r->lines, REPLY_BYTES);
	snprintf(r->dir, sizeof(r->dir), "/tmp/portier-bench.XXXXXX");
	if (!mkdtemp(r->dir)) {
		refuse(fault, "/tmp: %s", strerror(errno));
		r->dir[0] = '\0';
	} else if (come_up(r, fault)) {
		return r;
	} else {
		print_log(r);
	}
	remote_stop(r);
	return NULL;
}

void remote_stop(struct remote *r)
{
	char path[PATH_MAX];

	if (!r)
		return;
	for (unsigned i = 0; i < r->n_ports; i++) {
		rte_eth_dev_stop(r->eth_ids[i]);
		rte_eth_dev_close(r->eth_ids[i]);
	}
	if (r->fd >= 0)
		close(r->fd);
	end_process(r);
	for (unsigned i = 0; r->dir[0] && i < RTE_DIM(files); i++)
		unlink(path_of(r, files[i], path));
	if (r->dir[0])
		rmdir(r->dir);
	rpc_lines_fini(&r->lines);
	free(r);
}
