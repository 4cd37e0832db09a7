#include "server.h"

#include <grp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "ctl/ctl.h"

#define LOOK_US 2000

struct server {
	struct rig *rig;
	struct event_base *base;
	struct event *timer;
	struct ctl *ctl;
	const struct stats_worker *stats[RIG_WORKERS_MAX];
	uint16_t eth_ids[RIG_N_PORTS];
	char dir[64];
	pthread_t thread;
	bool is_running;
	atomic_bool is_stopping;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;

	if (atomic_load_explicit(&s->is_stopping, memory_order_acquire))
		event_base_loopbreak(s->base);
	rig_control_turn(s->rig);
}

static void *serve(void *arg)
{
	struct server *s = arg;

	event_base_dispatch(s->base);
	return NULL;
}

/* Whoever runs the benchmark may write: root, or a member of this group. */
static void conf_complete(struct server *s)
{
	const struct group *group = getgrgid(getegid());
	struct conf *conf = s->rig->conf;

	snprintf(conf->socket_path, sizeof(conf->socket_path), "%s/control.sock", s->dir);
	if (group)
		snprintf(conf->socket_group, sizeof(conf->socket_group), "%s", group->gr_name);
}

static struct ctl *ctl_start(struct server *s)
{
	char fault[CTL_FAULT_CHARS] = "";
	struct rig *rig = s->rig;
	struct ctl *ctl;

	for (unsigned i = 0; i < rig->params.n_workers; i++)
		s->stats[i] = path_stats(rig->path, i);
	for (unsigned i = 0; i < RIG_N_PORTS; i++)
		s->eth_ids[i] = rig->ports[i].eth_id;
	ctl = ctl_create(
		&(struct ctl_params){
			.base = s->base,
			.conf = rig->conf,
			.peers = rig->peers,
			.leases = rig->leases,
			.doors = rig->doors,
			.neigh = rig->neigh,
			.grace = rig->grace,
			.workers = s->stats,
			.n_workers = rig->params.n_workers,
			.handshake = &rig->handshake_stats,
			.eth_port_ids = s->eth_ids,
			.now_ns = rig_now_ns,
			.aead_name = aead_backend_name(rig->aead),
			.wall_ns = rig_now_ns,
			.started_ns = rig_now_ns(),
		},
		fault);
	if (!ctl)
		fprintf(stderr, "portier-bench: %s\n", fault);
	return ctl;
}

struct server *server_start(struct rig *rig)
{
	const struct timeval look = {.tv_usec = LOOK_US};
	struct server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->rig = rig;
	snprintf(s->dir, sizeof(s->dir), "/tmp/portier-bench.XXXXXX");
	s->base = event_base_new();
	if (!s->base || !mkdtemp(s->dir))
		goto fail;
	conf_complete(s);
	s->ctl = ctl_start(s);
	s->timer = event_new(s->base, -1, EV_PERSIST, on_timer, s);
	if (!s->ctl || !s->timer || event_add(s->timer, &look) < 0)
		goto fail;
	rig->has_control_thread = true;
	s->is_running = rig_start_elsewhere(&s->thread, serve, s) == 0;
	if (s->is_running)
		return s;
fail:
	server_stop(s);
	return NULL;
}

void server_stop(struct server *s)
{
	if (!s)
		return;
	if (s->is_running) {
		atomic_store_explicit(&s->is_stopping, true, memory_order_release);
		pthread_join(s->thread, NULL);
	}
	s->rig->has_control_thread = false;
	ctl_destroy(s->ctl);
	if (s->timer)
		event_free(s->timer);
	if (s->base)
		event_base_free(s->base);
	rmdir(s->dir);
	free(s);
}

const char *server_socket(const struct server *s)
{
	return s->rig->conf->socket_path;
}

uint64_t server_cpu_ns(const struct server *s)
{
	struct timespec ts = {0};
	clockid_t clock;

	if (pthread_getcpuclockid(s->thread, &clock) == 0)
		clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_IN_S + (uint64_t)ts.tv_nsec;
}
