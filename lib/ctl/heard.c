/* Where peers were heard: noted while it is known, and begun with after a restart, so that doors
 * work before their peers find out that the gateway was gone. */
#include "ctl/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_EVERY_NS (60 * NS_IN_S)
#define NOTE_SLICE    8192u
#define RECENT_NS     (3600 * NS_IN_S)
/* 1,000 a second: each handshake costs the handshake thread two X25519 operations, 70 us. */
#define BEGIN_SLICE    50u
#define BEGIN_EVERY_US 50000

struct ctl_heard {
	struct ip_endpoint endpoint; /* as stored */
	uint64_t noted_ns;
};

struct ctl_begin {
	uint32_t peer_idx;
	bool starts;
	struct ip_endpoint endpoint;
};

/* --- while it is known -------------------------------------------------------------------------*/

static void note(struct ctl *c, uint32_t peer_idx)
{
	struct ctl_heard *h = &c->heard[peer_idx];
	struct store_heard row = {0};
	struct peer_status status;

	peer_status_get(c->p.peers, peer_idx, &status);
	if (status.last_received_ns == 0 || status.endpoint.port == 0)
		return;
	if (ip_endpoint_equal(&h->endpoint, &status.endpoint) &&
		status.last_received_ns < h->noted_ns + NOTE_EVERY_NS)
		return;
	*h = (struct ctl_heard){status.endpoint, status.last_received_ns};
	memcpy(row.peer_key, peer_conf_get(c->p.peers, peer_idx)->public_key, sizeof(row.peer_key));
	row.endpoint = status.endpoint;
	row.at_ns = ctl_wall_of(c, status.last_received_ns);
	store_heard_put(c->p.store, &row);
}

void ctl_heard_sweep(struct ctl *c)
{
	if (c->p.store == NULL || ctl_store_is_failing(c))
		return;
	for (unsigned n = 0; n < NOTE_SLICE; n++) {
		uint32_t peer_idx = peer_next(c->p.peers, &c->heard_cursor);

		if (peer_idx == PEER_NONE) {
			c->heard_cursor = 0;
			break;
		}
		note(c, peer_idx);
	}
}

/* --- after a restart ---------------------------------------------------------------------------*/

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval pause = {.tv_usec = BEGIN_EVERY_US};
	struct ctl *c = arg;

	for (unsigned n = 0; n < BEGIN_SLICE && c->n_begun < c->n_begins; n++) {
		const struct ctl_begin *b = &c->begins[c->n_begun];

		/* The handshake thread is behind: later. */
		if (peer_begin(c->p.peers, b->peer_idx, &b->endpoint, b->starts) == -EAGAIN)
			break;
		c->n_begun++;
	}
	if (c->n_begun < c->n_begins) {
		event_add(c->ev_begin, &pause);
		return;
	}
	free(c->begins);
	c->begins = NULL;
	c->n_begins = c->n_begun = 0;
}

static void take_heard(void *arg, const struct store_heard *row)
{
	struct ctl *c = arg;
	uint32_t peer_idx = peer_find_key(c->p.peers, row->peer_key);

	if (peer_idx == PEER_NONE || c->n_begins == c->p.conf->max_peers)
		return;
	c->heard[peer_idx] = (struct ctl_heard){row->endpoint, ctl_moment_of(c, row->at_ns)};
	c->begins[c->n_begins++] = (struct ctl_begin){
		.peer_idx = peer_idx,
		.starts = lease_count(c->p.leases, peer_idx) > 0 &&
			  c->p.wall_ns() < row->at_ns + RECENT_NS,
		.endpoint = row->endpoint,
	};
}

int ctl_heard_restore(struct ctl *c, char fault[static CTL_FAULT_CHARS])
{
	const struct timeval at_once = {0};
	char why[STORE_FAULT_CHARS] = "control: memory is out";
	int err = -ENOMEM;

	c->heard = calloc(c->p.conf->max_peers, sizeof(c->heard[0]));
	c->begins = calloc(c->p.conf->max_peers, sizeof(c->begins[0]));
	c->ev_begin = evtimer_new(c->p.base, on_begin, c);
	if (c->heard != NULL && c->begins != NULL && c->ev_begin != NULL)
		err = store_heard_load(c->p.store, take_heard, c, why);
	if (err != 0)
		snprintf(fault, CTL_FAULT_CHARS, "%s", why);
	else
		event_add(c->ev_begin, &at_once);
	return err;
}

void ctl_heard_fini(struct ctl *c)
{
	if (c->ev_begin != NULL)
		event_free(c->ev_begin);
	free(c->begins);
	free(c->heard);
}
