#include "control.h"

#include <signal.h>
#include <string.h>

#include <event2/event.h>

#include "base/log.h"
#include "pkt/pkt.h"
#include "notify.h"

#define MAIL_BURST 64

/* A mailbox that wakes this thread. */
struct lane {
	struct boot *boot;
	struct mbox *mbox;
	void (*take)(struct boot *b, struct rte_mbuf *m);
	struct event *readable;
};

struct control {
	struct boot *boot;
	struct lane frames[CONF_WORKERS_MAX], requests[CONF_WORKERS_MAX];
	struct event *timer, *watchdog, *on_term, *on_int, *on_hup;
};

void control_send_frame(void *arg, uint16_t port_idx, struct rte_mbuf *frame)
{
	struct boot *b = arg;
	unsigned worker = port_tx_worker(&b->ports[port_idx], 0);

	*(struct path_punt *)rte_mbuf_to_priv(frame) = (struct path_punt){.port_idx = port_idx};
	if (!mbox_push(b->mail[worker].from_control, frame))
		rte_pktmbuf_free(frame);
}

static void take_frame(struct boot *b, struct rte_mbuf *frame)
{
	struct path_punt punt = *(struct path_punt *)rte_mbuf_to_priv(frame);
	uint64_t now_ns = boot_now_ns();

	if (ip_is_none(&punt.next))
		neigh_input(b->neigh, punt.port_idx, frame, now_ns);
	else
		neigh_hold(b->neigh, punt.port_idx, &punt.next, frame, now_ns);
}

static void take_request(struct boot *b, struct rte_mbuf *m)
{
	const struct path_service *s = rte_mbuf_to_priv(m);

	ctl_portmap_take(b->ctl, &(struct ctl_portmap_request){
					 .from = {s->peer_idx, s->peer, s->gateway},
					 .msg = rte_pktmbuf_mtod(m, const uint8_t *),
					 .len = m->data_len,
				 });
	rte_pktmbuf_free(m);
}

/* In a buffer of its own, to the worker that can seal it. */
bool control_send_reply(
	void *arg, const struct ctl_portmap_route *to, const uint8_t *msg, size_t len)
{
	struct boot *b = arg;
	uint8_t home = peer_home(b->peers, to->peer_idx);
	struct rte_mbuf *m = home < b->n_workers ? pkt_alloc(b->mempool) : NULL;

	if (!m)
		return false;
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), msg, len);
	*(struct path_service *)rte_mbuf_to_priv(m) = (struct path_service){
		.peer_idx = to->peer_idx, .peer = to->peer, .gateway = to->gateway};
	if (mbox_push(b->mail[home].replies, m))
		return true;
	rte_pktmbuf_free(m);
	return false;
}

/* To one worker after the other: as from outside, it may be any. */
bool control_send_probe(void *arg, uint8_t number)
{
	struct boot *b = arg;
	struct rte_mbuf *m = pkt_alloc(b->mempool);
	unsigned worker = b->n_probes_sent++ % b->n_workers;

	if (!m)
		return false;
	m->data_len = probe_build(probe_ask_get(b->probes, number), rte_pktmbuf_mtod(m, uint8_t *));
	m->pkt_len = m->data_len;
	*(struct path_probe *)rte_mbuf_to_priv(m) = (struct path_probe){.number = number};
	if (mbox_push(b->mail[worker].probes, m))
		return true;
	rte_pktmbuf_free(m);
	return false;
}

/* One bounded burst; what is left wakes us again at once. */
static void on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct lane *lane = arg;
	void *mail[MAIL_BURST];
	unsigned n;

	mbox_disarm(lane->mbox);
	n = mbox_pop_burst(lane->mbox, mail, MAIL_BURST);
	for (unsigned i = 0; i < n; i++)
		lane->take(lane->boot, mail[i]);
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

static int lane_open(struct lane *lane, struct boot *b, struct mbox *mbox,
	void (*take)(struct boot *b, struct rte_mbuf *m))
{
	*lane = (struct lane){.boot = b, .mbox = mbox, .take = take};
	lane->readable = event_new(b->base, mbox_fd(mbox), EV_READ | EV_PERSIST, on_mail, lane);
	if (!lane->readable || event_add(lane->readable, NULL) < 0)
		return -1;
	event_active(lane->readable, EV_READ, 0);
	return 0;
}

static void on_reload(evutil_socket_t signal_nr, short what, void *arg)
{
	struct control *c = arg;
	struct rpc_fault logged;

	notify_send("RELOADING=1");
	json_decref(ctl_reload(c->boot->ctl, &logged));
	notify_send("READY=1");
}

/* Half of what is demanded, or a busy moment would be taken for the end. */
static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;

	if (ctl_workers_turn(c->boot->ctl))
		notify_send("WATCHDOG=1");
}

static int watchdog_add(struct control *c)
{
	uint64_t interval_us = notify_watchdog_ns() / 2 / NS_IN_US;
	struct timeval tv = {.tv_sec = (time_t)(interval_us / 1000000),
		.tv_usec = (suseconds_t)(interval_us % 1000000)};

	if (interval_us == 0)
		return 0;
	c->watchdog = event_new(c->boot->base, -1, EV_PERSIST, on_watchdog, c);
	return c->watchdog ? event_add(c->watchdog, &tv) : -1;
}

static int events_add(struct control *c)
{
	struct boot *b = c->boot;

	for (unsigned i = 0; i < b->n_workers; i++)
		if (lane_open(&c->frames[i], b, b->mail[i].to_control, take_frame) < 0 ||
			lane_open(&c->requests[i], b, b->mail[i].requests, take_request) < 0)
			return -1;
	c->timer = evtimer_new(b->base, on_timer, c);
	c->on_term = evsignal_new(b->base, SIGTERM, on_signal, c);
	c->on_int = evsignal_new(b->base, SIGINT, on_signal, c);
	c->on_hup = evsignal_new(b->base, SIGHUP, on_reload, c);
	if (!c->timer || !c->on_term || !c->on_int || !c->on_hup)
		return -1;
	if (event_add(c->on_term, NULL) < 0 || event_add(c->on_int, NULL) < 0 ||
		event_add(c->on_hup, NULL) < 0 || watchdog_add(c) < 0)
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
		notify_send("READY=1");
		rc = event_base_dispatch(b->base) < 0 ? -1 : 0;
	}
	for (unsigned i = 0; i < b->n_workers; i++) {
		event_drop(c.frames[i].readable);
		event_drop(c.requests[i].readable);
	}
	notify_send("STOPPING=1");
	event_drop(c.timer);
	event_drop(c.watchdog);
	event_drop(c.on_term);
	event_drop(c.on_int);
	event_drop(c.on_hup);
	return rc;
}
