/* history.list */
#include "ctl/history.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_WORDS "ADDRESS:PORT or ADDRESS:PORT/PROTO, as 198.51.100.7:20001/tcp"
#define MOMENT_WORDS "seconds since 1970"
/* About the year 2255: its nanoseconds fit. */
#define MOMENT_MAX_S 9e9

static const struct rpc_param list_params[] = {
	{"number", RPC_TEXT, false, NUMBER_WORDS},
	{"peer", RPC_TEXT, false, "a name, or a public key"},
	{"at", RPC_SECONDS, false, MOMENT_WORDS},
	{"since", RPC_SECONDS, false, MOMENT_WORDS},
	{"until", RPC_SECONDS, false, MOMENT_WORDS},
	{"limit", RPC_INTEGER, false, NULL},
	{"cursor", RPC_INTEGER, false, NULL},
};

/* ---- what is asked ---- */

static int get_number(const char *text, struct store_history_query *q, struct rpc_fault *fault)
{
	char excerpt[RPC_EXCERPT_CHARS];
	struct ip_endpoint end;

	if (ctl_number_parse(text, &end, &q->protos) != 0)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, text, NUMBER_WORDS,
			"\"%s\" is no public port; accepted: %s, with tcp or udp",
			rpc_excerpt(text, excerpt), NUMBER_WORDS);
	q->public_addr = end.addr;
	q->port = end.port;
	return 0;
}

/* One that is deleted is known by its key. */
static int get_peer(
	struct ctl *c, const char *who, struct store_history_query *q, struct rpc_fault *fault)
{
	uint32_t peer_idx = peer_find(c->p.peers, who);

	q->is_of_peer = true;
	if (!c->history.is_on)
		return rpc_fault_set(fault, RPC_REFUSED, "history.mode", "history.mode = \"full\"",
			"history is off: what a peer had is not known; what it has, portierctl "
			"lease list --peer tells");
	if (peer_idx != PEER_NONE)
		memcpy(q->peer_key, peer_conf_get(c->p.peers, peer_idx)->public_key,
			sizeof(q->peer_key));
	else if (crypto_key_parse(who, q->peer_key) != 0)
		return rpc_fault_set(fault, RPC_NOT_FOUND, who,
			"the name or public key of a peer, the public key of one that was deleted",
			"there is no peer of this name; accepted: the name or public key of one, "
			"or "
			"the public key of one that was deleted");
	return 0;
}

/* step_ns: how much is meant by a moment without a fraction; 0: none. */
static int get_moment(const struct rpc_value *params, const char *name, uint64_t *out_ns,
	uint64_t *out_width_ns, struct rpc_fault *fault)
{
	const struct rpc_value *value = rpc_value_get(params, name);
	double s = rpc_value_number(value);

	if (value == NULL)
		return 0;
	if (s > MOMENT_MAX_S)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, name, MOMENT_WORDS,
			"%s is too far ahead; accepted: %s", name, MOMENT_WORDS);
	*out_ns = rpc_value_is_integer(value) ? (uint64_t)rpc_value_integer(value) * NS_IN_S
					      : (uint64_t)(s * 1e3) * NS_IN_MS;
	*out_width_ns = rpc_value_is_integer(value) ? NS_IN_S : NS_IN_MS;
	return 0;
}

/* A complaint has a second (RFC 6302): whoever had the port in any part of it is meant. */
static int get_span(
	const struct rpc_value *params, struct store_history_query *q, struct rpc_fault *fault)
{
	uint64_t at_ns = 0, width_ns = 0, ignored;

	q->until_ns = TIME_NEVER;
	if (get_moment(params, "at", &at_ns, &width_ns, fault) != 0 ||
		get_moment(params, "since", &q->since_ns, &ignored, fault) != 0 ||
		get_moment(params, "until", &q->until_ns, &ignored, fault) != 0)
		return -EINVAL;
	if (rpc_value_get(params, "at") == NULL)
		return 0;
	if (q->since_ns != 0 || q->until_ns != TIME_NEVER)
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "at", "at, or since and until",
			"at is one moment, since and until are others; accepted: at, or those two");
	q->since_ns = at_ns;
	q->until_ns = at_ns + width_ns;
	return 0;
}

static int get_query(struct ctl *c, const struct rpc_value *params, struct store_history_query *q,
	struct rpc_fault *fault)
{
	const char *number = rpc_value_get_text(params, "number"),
		   *peer = rpc_value_get_text(params, "peer");
	struct ctl_page page;

	if ((number == NULL) == (peer == NULL))
		return rpc_fault_set(fault, RPC_INVALID_PARAMS, "number", "number, or peer",
			"whose history? accepted: that of a public port, %s, or of a peer",
			NUMBER_WORDS);
	if (get_span(params, q, fault) != 0 || ctl_page_get(params, &page, fault) != 0)
		return -EINVAL;
	q->limit = (uint32_t)page.limit;
	q->after_id = page.cursor;
	return number != NULL ? get_number(number, q, fault) : get_peer(c, peer, q, fault);
}

/* ---- what is answered ---- */

static void write_moment(struct rpc_text *t, const char *name, uint64_t wall_ns)
{
	if (wall_ns == TIME_NEVER || wall_ns == 0)
		rpc_write_null(t, name);
	else
		rpc_write_seconds(t, name, wall_ns / NS_IN_MS * NS_IN_MS);
}

static void write_actor(
	struct rpc_text *t, const char *by, const char *uid, const struct store_actor *a)
{
	if (a->by[0] == '\0')
		rpc_write_null(t, by);
	else
		rpc_write_text(t, by, a->by);
	if (a->has_uid)
		rpc_write_integer(t, uid, a->uid);
	else
		rpc_write_null(t, uid);
}

static void write_ports(struct rpc_text *t, const struct store_record *r)
{
	bool is_lease = !ip_is_none(&r->inner_addr);

	rpc_write_text(t, "kind", is_lease ? "lease" : "block");
	rpc_write_text(t, "proto", r->protos == 0 ? "all" : ctl_proto_word(r->protos));
	ctl_address_write(t, "public_address", &r->public_addr);
	rpc_write_integer(t, "first_port", r->first_port);
	rpc_write_integer(t, "ports", r->n_ports);
	ctl_address_write(t, "to_address", &r->inner_addr);
	if (is_lease)
		rpc_write_integer(t, "to_port", r->inner_port);
	else
		rpc_write_null(t, "to_port");
}

#define LIVE_MAX 3 /* leases of TCP and UDP, a block */

/* live: what has the number now, whatever is recorded of it. */
struct answer {
	struct rpc_text *text;
	struct store_record live[LIVE_MAX];
	bool is_told[LIVE_MAX];
	unsigned n_live;
};

static void write_record(void *arg, const struct store_record *r)
{
	struct answer *a = arg;
	struct rpc_text *t = a->text;
	char key[CRYPTO_KEY_TEXT_CHARS];

	crypto_key_format(r->peer_key, key);
	for (unsigned i = 0; i < a->n_live; i++)
		a->is_told[i] |= a->live[i].id == r->id;
	rpc_write_begin(t, NULL, '{');
	if (r->id == 0)
		rpc_write_null(t, "id");
	else
		rpc_write_integer(t, "id", (int64_t)r->id);
	rpc_write_text(t, "peer", r->peer_name[0] != '\0' ? r->peer_name : key);
	rpc_write_text(t, "public_key", key);
	write_ports(t, r);
	rpc_write_text(t, "label", r->label);
	write_moment(t, "opened_s", r->opened_ns);
	write_actor(t, "opened_by", "opened_uid", &r->opened_by);
	write_moment(t, "closed_s", r->closed_ns);
	write_actor(t, "closed_by", "closed_uid", &r->closed_by);
	if (r->reason[0] == '\0')
		rpc_write_null(t, "reason");
	else
		rpc_write_text(t, "reason", r->reason);
	write_moment(t, "known_until_s", r->known_ns);
	rpc_write_end(t, '}');
}

static void find_live(struct ctl *c, const struct store_history_query *q, struct answer *a)
{
	const struct lease *last = NULL, *lease;

	for (uint8_t proto = LEASE_PROTO_TCP; proto <= LEASE_PROTO_UDP; proto++) {
		if (q->protos != 0 && (q->protos & proto) == 0)
			continue;
		lease = lease_find_public(c->p.leases, &q->public_addr, proto, q->port);
		if (lease != NULL && lease != last)
			ctl_history_of_lease(c, lease, &a->live[a->n_live++]);
		last = lease;
	}
	if (ctl_history_of_block(c, &q->public_addr, q->port, &a->live[a->n_live]))
		a->n_live++;
}

static int write_records(struct ctl *c, const struct store_history_query *q, struct rpc_text *t,
	uint64_t *next_id, struct rpc_fault *fault)
{
	struct answer a = {.text = t};
	char why[STORE_FAULT_CHARS];

	*next_id = 0;
	if (!q->is_of_peer && q->since_ns < c->p.wall_ns())
		find_live(c, q, &a);
	if (c->history.is_on &&
		store_history_read(c->p.store, q, write_record, &a, next_id, why) != 0)
		return rpc_fault_set(fault, RPC_INTERNAL_ERROR, "store.path", NULL, "%s", why);
	/* With the last page. */
	for (unsigned i = 0; i < a.n_live && *next_id == 0; i++)
		if (!a.is_told[i] && a.live[i].opened_ns < q->until_ns &&
			(q->after_id == 0 || a.live[i].id > q->after_id))
			write_record(&a, &a.live[i]);
	return 0;
}

static void write_mode(struct ctl *c, struct rpc_text *t)
{
	uint64_t wall_ns = c->p.wall_ns(), retention_ns = c->p.conf->history_retention_ns;
	uint64_t since_ns = 0;

	rpc_write_text(t, "mode", c->history.is_on ? "full" : "none");
	if (c->history.is_on)
		since_ns = store_history_since_ns(c->p.store);
	if (since_ns != 0 && wall_ns > retention_ns && wall_ns - retention_ns > since_ns)
		since_ns = wall_ns - retention_ns;
	write_moment(t, "kept_since_s", since_ns);
}

static int run_list(struct ctl *c, const struct rpc_value *params, struct rpc_text *result,
	struct rpc_fault *fault)
{
	struct store_history_query q = {0};
	uint64_t next_id;

	if (get_query(c, params, &q, fault) != 0)
		return -EINVAL;
	ctl_block_records_take(c);
	rpc_write_begin(result, NULL, '{');
	rpc_write_begin(result, "records", '[');
	if (write_records(c, &q, result, &next_id, fault) != 0)
		return -EINVAL;
	rpc_write_end(result, ']');
	write_mode(c, result);
	if (next_id != 0)
		rpc_write_integer(result, "next", (int64_t)next_id);
	else
		rpc_write_null(result, "next");
	rpc_write_end(result, '}');
	return 0;
}

const struct ctl_method ctl_history_methods[] = {
	{"history.list", false, list_params, sizeof(list_params) / sizeof(list_params[0]),
		.write = run_list},
	{NULL},
};
