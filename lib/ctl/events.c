/* What happens, told to those who asked for it.
 *
 * An event is a JSON-RPC notification, {"method":"event","params":{"event":NAME,"at_s":...}}. One
 * who reads more slowly than things happen misses some, and is told how many. What control does is
 * told as it is done; what workers and time do (a peer up, down or elsewhere, a lease about to end,
 * the pool nearly full) is seen by looking, once a second, as long as somebody asked. */
#include "ctl/server.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A reader may be so far behind. */
#define OUT_BYTES_MAX (256u << 10)
/* A lease is said to end soon this long before, or when a quarter of its time is left. */
#define EXPIRING_NS    (60 * NS_IN_S)
#define EXPIRING_SHARE 4u
/* All leases are walked for it: 1,000,000 take about 50 ms, and are looked at less often. */
#define LOOK_MANY_NS	(5 * NS_IN_S)
#define LEASES_MANY_MIN 100000u
/* Peers looked at each second: 10,000 take about a millisecond. */
#define PEERS_SLICE 8192u
/* From here the pool is low, and from there it is not any more: in tenths. */
#define POOL_LOW_TENTHS	   9u
#define POOL_ENOUGH_TENTHS 8u

/* A client that is refused asks again and again. */
#define DENIED_EVERY_NS NS_IN_S

/* As it was told last. */
struct ctl_seen_peer {
	bool is_known, is_up;
	struct ip_endpoint endpoint;
	uint64_t denied_ns; /* 0: never */
	uint32_t n_denied;  /* by NAT-PMP and PCP since then, and not told */
};

/* --- telling
 * -------------------------------------------------------------------------------------*/

static size_t room_of(const struct ctl_client *client)
{
	size_t len = evbuffer_get_length(client->out);

	return len < OUT_BYTES_MAX ? OUT_BYTES_MAX - len : 0;
}

/* params is consumed. */
static json_t *wrap(const struct ctl *c, const char *name, json_t *params)
{
	json_t *all = json_pack(
		"{s:s, s:f}", "event", name, "at_s", (double)(c->p.wall_ns() / NS_IN_MS) / 1e3);

	json_object_update(all, params);
	json_decref(params);
	return json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "event", "params", all);
}

static int append_chars(const char *chars, size_t len, void *text)
{
	rpc_text_append(text, chars, len);
	return 0;
}

/* The event as a line; event is consumed. */
static void write_line(json_t *event, struct rpc_text *line)
{
	if (json_dump_callback(event, append_chars, line, JSON_COMPACT | JSON_REAL_PRECISION(13)) !=
		0)
		line->is_broken = true;
	rpc_text_append(line, "\n", 1);
	json_decref(event);
}

static void miss(struct ctl_client *client)
{
	client->n_missed++;
	client->ctl->n_events_missed++;
}

static void append(struct ctl_client *client, const struct rpc_text *line)
{
	if (line->is_broken || line->len > room_of(client) ||
		evbuffer_add(client->out, line->chars, line->len) != 0)
		miss(client);
}

void ctl_events_missed(struct ctl_client *client)
{
	struct rpc_text line = {0};
	uint64_t n_missed = client->n_missed;

	if (n_missed == 0 || room_of(client) < OUT_BYTES_MAX / 2)
		return;
	write_line(wrap(client->ctl, "missed", json_pack("{s:I}", "events", (json_int_t)n_missed)),
		&line);
	client->n_missed = 0;
	append(client, &line);
	if (client->n_missed > 0)
		client->n_missed = n_missed; /* memory is out: later */
	rpc_text_fini(&line);
}

/* "lease" is every event of leases. */
static bool is_wanted(const struct ctl_client *client, const char *name)
{
	size_t kind_len = strcspn(name, ".");
	const json_t *item;
	size_t i;

	if (client->events == NULL)
		return false;
	json_array_foreach(client->events, i, item)
	{
		const char *wanted = json_string_value(item);

		if (strcmp(wanted, name) == 0 ||
			(strlen(wanted) == kind_len && strncmp(wanted, name, kind_len) == 0))
			return true;
	}
	return json_array_size(client->events) == 0;
}

/* Readers are written to when the loop finds them ready. */
static void tell(struct ctl *c, const char *name, json_t *params)
{
	struct rpc_text line = {0};
	struct ctl_client *client;

	write_line(wrap(c, name, params), &line);
	TAILQ_FOREACH(client, &c->clients, next)
	{
		if (!is_wanted(client, name))
			continue;
		if (evbuffer_get_length(client->out) == 0)
			client->progress_ns = c->p.now_ns();
		/* What follows a gap waits until the gap was told of. */
		if (client->n_missed > 0)
			miss(client);
		else
			append(client, &line);
		event_add(client->ev_write, NULL);
	}
	rpc_text_fini(&line);
}

/* --- leases
 * --------------------------------------------------------------------------------------*/

/* NULL when memory is out. */
static json_t *build_lease(
	struct ctl *c, const struct lease *lease, const struct door_counters *counters)
{
	struct rpc_text text = {0};
	json_t *built = NULL;

	rpc_write_begin(&text, NULL, '{');
	ctl_lease_write(c, lease, counters, &text);
	rpc_write_end(&text, '}');
	if (!text.is_broken)
		built = json_loadb(text.chars, text.len, 0, NULL);
	rpc_text_fini(&text);
	return built;
}

void ctl_event_lease(struct ctl *c, const char *name, const struct lease *lease,
	const struct door_counters *counters, const char *reason)
{
	json_t *params;

	if (c->n_subscribers == 0)
		return;
	params = json_pack("{s:o?}", "lease", build_lease(c, lease, counters));
	if (reason != NULL)
		json_object_set_new(params, "reason", json_string(reason));
	tell(c, name, params);
}

static bool is_denial_told(struct ctl *c, struct ctl_seen_peer *seen)
{
	uint64_t now_ns = c->p.now_ns();

	if (c->actor.by != CTL_BY_NATPMP && c->actor.by != CTL_BY_PCP)
		return true;
	if (seen->denied_ns != 0 && now_ns - seen->denied_ns < DENIED_EVERY_NS) {
		seen->n_denied++;
		return false;
	}
	seen->denied_ns = now_ns;
	return true;
}

void ctl_event_denied(struct ctl *c, const struct lease_request *req, const struct rpc_fault *fault)
{
	struct ctl_seen_peer gone = {0}, *seen = &gone;
	char peer[CTL_PEER_WORD_CHARS];

	if (c->n_subscribers == 0)
		return;
	if (req->peer_idx < c->p.conf->max_peers)
		seen = &c->seen_peers[req->peer_idx];
	if (!is_denial_told(c, seen))
		return;
	tell(c, "lease.denied",
		json_pack("{s:s, s:i, s:i, s:s, s:i}", "peer",
			ctl_peer_word(c, req->peer_idx, peer), "to_port", (int)req->inner_port,
			"ports", (int)lease_ports_of(req->n_ports), "reason", fault->sentence,
			"left_out", (int)seen->n_denied));
	seen->n_denied = 0;
}

/* From when on a lease ends soon: once in each term, which a renewal begins anew. */
static uint64_t expiring_from_ns(const struct lease *lease)
{
	uint64_t term_ns =
		lease->granted_ns == 0 ? lease->ttl_ns : lease->expires_ns - lease->granted_ns;
	uint64_t notice_ns = term_ns / EXPIRING_SHARE;

	return lease->expires_ns - (notice_ns < EXPIRING_NS ? notice_ns : EXPIRING_NS);
}

/* A lease is told of when that moment lies between two looks. */
static void look_at_leases(struct ctl *c, uint64_t now_ns)
{
	const struct lease *lease;
	uint64_t cursor = 0;

	if (lease_count(c->p.leases, UINT32_MAX) >= LEASES_MANY_MIN &&
		now_ns - c->leases_seen_ns < LOOK_MANY_NS)
		return;
	while ((lease = lease_next(c->p.leases, UINT32_MAX, &cursor)) != NULL) {
		uint64_t from_ns;

		if (lease->expires_ns == TIME_NEVER || lease->expires_ns <= now_ns)
			continue;
		from_ns = expiring_from_ns(lease);
		if (from_ns <= now_ns && from_ns > c->leases_seen_ns)
			ctl_event_lease(c, "lease.expiring", lease, NULL, NULL);
	}
	c->leases_seen_ns = now_ns;
}

static void look_at_pool(struct ctl *c)
{
	uint64_t n_ports = ctl_pool_ports_count(c->p.conf);
	uint32_t n_leases = lease_port_count(c->p.leases, UINT32_MAX);
	uint64_t n_max = c->p.conf->max_leases;
	bool was_low = c->is_pool_low;

	if (n_ports < n_max) {
		n_max = n_ports;
		n_leases -= lease_pinhole_count(c->p.leases);
	}
	if (n_leases * UINT64_C(10) >= n_max * POOL_LOW_TENTHS)
		c->is_pool_low = true;
	else if (n_leases * UINT64_C(10) < n_max * POOL_ENOUGH_TENTHS)
		c->is_pool_low = false;
	if (c->is_pool_low != was_low)
		tell(c, c->is_pool_low ? "pool.low" : "pool.enough",
			json_pack("{s:I, s:I}", "leases", (json_int_t)n_leases, "leases_max",
				(json_int_t)n_max));
}

/* --- blocks of public ports
 * ----------------------------------------------------------------------------------*/

void ctl_event_block(struct ctl *c, const struct ctl_block_record *record)
{
	const struct flow_record *flow = record->flow;
	char public[IP_TEXT_CHARS], key[CRYPTO_KEY_TEXT_CHARS];
	const char *peer = record->peer->name;
	struct ip_addr addr;
	uint8_t bytes[4];

	if (c->n_subscribers == 0)
		return;
	store_be32(bytes, flow->public_v4);
	addr = ip_from_v4(bytes);
	if (peer[0] == '\0')
		peer = crypto_key_format(record->peer->public_key, key);
	/* When it happened, not when it was learnt of. */
	tell(c, flow->is_claimed ? "block.claimed" : "block.released",
		json_pack("{s:f, s:s, s:s, s:i, s:i}", "at_s",
			(double)(record->wall_ns / NS_IN_MS) / 1e3, "peer", peer, "public_address",
			ip_addr_format(&addr, public), "first_port", (int)flow->first_port, "ports",
			(int)flow->n_ports));
}

void ctl_event_blocks_missed(struct ctl *c, uint64_t n)
{
	if (c->n_subscribers > 0)
		tell(c, "block.missed", json_pack("{s:I}", "records", (json_int_t)n));
}

/* --- peers
 * ---------------------------------------------------------------------------------------*/

void ctl_event_peer(struct ctl *c, const char *name, uint32_t peer_idx)
{
	if (c->n_subscribers == 0)
		return;
	tell(c, name, json_pack("{s:o}", "peer", ctl_peer_build(c, peer_idx)));
}

void ctl_event_store(struct ctl *c, bool is_failing)
{
	if (c->n_subscribers == 0)
		return;
	tell(c, is_failing ? "store.failing" : "store.recovered",
		json_pack("{s:s, s:s}", "path", c->p.conf->store_path, "reason",
			c->store_status.why));
}

void ctl_events_forget_peer(struct ctl *c, uint32_t peer_idx)
{
	if (c->seen_peers != NULL)
		c->seen_peers[peer_idx] = (struct ctl_seen_peer){0};
}

/* Up: there is a session that may still carry packets. */
static bool is_up(const struct ctl *c, const struct peer_status *status, uint64_t now_ns)
{
	return status->last_handshake_ns != 0 &&
	       (now_ns < status->last_handshake_ns ||
		       now_ns - status->last_handshake_ns < c->p.conf->reject_after_ns);
}

static void look_at_peer(struct ctl *c, uint32_t peer_idx, uint64_t now_ns)
{
	struct ctl_seen_peer *seen = &c->seen_peers[peer_idx];
	struct peer_status status;
	bool was_up = seen->is_up, has_moved;

	peer_status_get(c->p.peers, peer_idx, &status);
	has_moved =
		seen->endpoint.port != 0 && !ip_endpoint_equal(&seen->endpoint, &status.endpoint);
	seen->is_up = is_up(c, &status, now_ns);
	seen->endpoint = status.endpoint;
	if (!seen->is_known) {
		seen->is_known = true;
		return;
	}
	if (seen->is_up != was_up)
		ctl_event_peer(c, seen->is_up ? "peer.up" : "peer.down", peer_idx);
	if (seen->is_up && has_moved)
		ctl_event_peer(c, "peer.roamed", peer_idx);
}

static void look_at_peers(struct ctl *c, uint64_t now_ns)
{
	for (unsigned n = 0; n < PEERS_SLICE; n++) {
		uint32_t peer_idx = peer_next(c->p.peers, &c->peers_cursor);

		if (peer_idx == PEER_NONE) {
			c->peers_cursor = 0;
			return;
		}
		look_at_peer(c, peer_idx, now_ns);
	}
}

void ctl_events_look(struct ctl *c, uint64_t now_ns)
{
	if (c->n_subscribers == 0)
		return;
	look_at_leases(c, now_ns);
	look_at_pool(c);
	look_at_peers(c, now_ns);
}

/* --- subscribing
 * ---------------------------------------------------------------------------------*/

/* What nobody looked at meanwhile is not told afterwards. */
static int begin_looking(struct ctl *c)
{
	uint32_t cursor = 0, peer_idx;
	uint64_t now_ns = c->p.now_ns();

	if (c->seen_peers == NULL)
		c->seen_peers = calloc(c->p.conf->max_peers, sizeof(c->seen_peers[0]));
	if (c->seen_peers == NULL)
		return -ENOMEM;
	memset(c->seen_peers, 0, c->p.conf->max_peers * sizeof(c->seen_peers[0]));
	while ((peer_idx = peer_next(c->p.peers, &cursor)) != PEER_NONE)
		look_at_peer(c, peer_idx, now_ns);
	c->leases_seen_ns = now_ns;
	look_at_pool(c);
	return 0;
}

void ctl_events_unsubscribe(struct ctl_client *client)
{
	if (client->events == NULL)
		return;
	json_decref(client->events);
	client->events = NULL;
	client->ctl->n_subscribers--;
}

static const char *const names[] = {"lease", "lease.opened", "lease.renewed", "lease.closed",
	"lease.denied", "lease.expiring", "lease.suspended", "lease.resumed", "peer", "peer.added",
	"peer.deleted", "peer.barred", "peer.unbarred", "peer.up", "peer.down", "peer.roamed",
	"pool", "pool.low", "pool.enough", "block", "block.claimed", "block.released",
	"block.missed", "store", "store.failing", "store.recovered"};

static int check_names(const struct rpc_value *list, struct rpc_fault *fault)
{
	const struct rpc_value *item = NULL;
	char excerpt[RPC_EXCERPT_CHARS];
	size_t k;

	while ((item = rpc_value_next(list, item)) != NULL) {
		const char *word = rpc_value_text(item);

		for (k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			if (strcmp(word, names[k]) == 0)
				break;
		if (k == sizeof(names) / sizeof(names[0]))
			return rpc_fault_set(fault, RPC_INVALID_PARAMS, word,
				"lease, peer, pool, block, store, or one of their events, as "
				"lease.opened",
				"there is no event \"%s\"; accepted: lease, peer, pool, block, "
				"store, or one of their events, as lease.opened",
				rpc_excerpt(word, excerpt));
	}
	return 0;
}

static json_t *run_subscribe(struct ctl *c, const struct rpc_value *params, struct rpc_fault *fault)
{
	const struct rpc_value *wanted = rpc_value_get(params, "events"), *item = NULL;
	struct ctl_client *client = c->asking;
	json_t *list;

	if (check_names(wanted, fault) != 0)
		return NULL;
	list = json_array();
	while ((item = rpc_value_next(wanted, item)) != NULL)
		json_array_append_new(list, json_string(item->text));
	ctl_events_unsubscribe(client);
	if (list == NULL || (c->n_subscribers == 0 && begin_looking(c) != 0)) {
		json_decref(list);
		return NULL;
	}
	client->events = list;
	c->n_subscribers++;
	return json_pack("{s:O}", "events", list);
}

static const struct rpc_param subscribe_params[] = {
	{"events", RPC_TEXTS, false, "names of events; all without it"},
};

const struct ctl_method ctl_event_methods[] = {
	{"subscribe", false, subscribe_params, 1, .run = run_subscribe},
	{NULL},
};
