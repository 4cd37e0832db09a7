#include "control.h"

#include <signal.h>

#include <event2/event.h>

#include "base/log.h"

#define FRAMES_BURST 64

struct lane {
	struct boot *boot;
	struct mbox *mbox;
	struct event *readable;
};

struct control {
	struct boot *boot;
	struct lane lanes[CONF_WORKERS_MAX];
	struct event *timer, *on_term, *on_int;
};

void control_send_frame(void *arg, uint16_t port_idx, struct rte_mbuf *frame)
{
	struct boot *b = arg;
	unsigned worker = port_tx_worker(&b->ports[port_idx], 0);

	*(struct path_punt *)rte_mbuf_to_priv(frame) = (struct path_punt){.port_idx = port_idx};
	if (!mbox_push(b->mail[worker].from_control, frame))
		rte_pktmbuf_free(frame);
}

static void take_frame(struct boot *b, struct rte_mbuf *frame, uint64_t now_ns)
{
	struct path_punt punt = *(struct path_punt *)rte_mbuf_to_priv(frame);

	if (ip_is_none(&punt.next))
		neigh_input(b->neigh, punt.port_idx, frame, now_ns);
	else
		neigh_hold(b->neigh, punt.port_idx, &punt.next, frame, now_ns);
}

/* One bounded burst; what is left wakes us again at once. */
static void on_frames(evutil_socket_t fd, short what, void *arg)
{
	struct lane *lane = arg;
	void *frames[FRAMES_BURST];
	unsigned n;

	mbox_disarm(lane->mbox);
	n = mbox_pop_burst(lane->mbox, frames, FRAMES_BURST);
	for (unsigned i = 0; i < n; i++)
		take_frame(lane->boot, frames[i], boot_now_ns());
	mbox_arm(lane->mbox);
	if (mbox_count(lane->mbox))
		event_active(lane->readable, EV_READ, 0);
}

static void set_timer(struct control *c)
{
	uint64_t now_ns = boot_now_ns(), due_ns = neigh_next_deadline_ns(c->boot->neigh);
	uint64_t wait_us = due_ns > now_ns ? (due_ns - now_ns) / NS_IN_US : 0;
	/* New entries may have nearer deadlines than the one we sleep for: look ten times a second.
	 */
	struct timeval tv = {.tv_usec = (suseconds_t)(wait_us < 100000 ? wait_us + 1000 : 100000)};

	evtimer_add(c->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;

	neigh_tick(c->boot->neigh, boot_now_ns());
	set_timer(c);
}

static void on_signal(evutil_socket_t signal_nr, short what, void *arg)
{
	struct control *c = arg;

	log_info("stopping on signal %d", (int)signal_nr);
	event_base_loopbreak(c->boot->base);
}

static int events_add(struct control *c)
{
	struct boot *b = c->boot;

	for (unsigned i = 0; i < b->n_workers; i++) {
		struct lane *lane = &c->lanes[i];

		*lane = (struct lane){.boot = b, .mbox = b->mail[i].to_control};
		lane->readable = event_new(
			b->base, mbox_fd(lane->mbox), EV_READ | EV_PERSIST, on_frames, lane);
		if (!lane->readable || event_add(lane->readable, NULL) < 0)
			return -1;
		event_active(lane->readable, EV_READ, 0);
	}
	c->timer = evtimer_new(b->base, on_timer, c);
	c->on_term = evsignal_new(b->base, SIGTERM, on_signal, c);
	c->on_int = evsignal_new(b->base, SIGINT, on_signal, c);
	if (!c->timer || !c->on_term || !c->on_int)
		return -1;
	if (event_add(c->on_term, NULL) < 0 || event_add(c->on_int, NULL) < 0)
		return -1;
	on_timer(-1, 0, c);
	return 0;
}

static void event_drop(struct event *e)
{
	if (e)
		event_free(e);
}

int control_run(struct boot *b)
{
	struct control c = {.boot = b};
	int rc = events_add(&c);

	if (rc == 0) {
		log_info("ready: %u workers, %u ports, AEAD by %s, control socket %s", b->n_workers,
			b->n_ports, aead_backend_name(b->aead), b->conf->socket_path);
		rc = event_base_dispatch(b->base) < 0 ? -1 : 0;
	}
	for (unsigned i = 0; i < b->n_workers; i++)
		event_drop(c.lanes[i].readable);
	event_drop(c.timer);
	event_drop(c.on_term);
	event_drop(c.on_int);
	return rc;
}
