/* The last dropped packets of all workers, put in order. */
#include "ctl/server.h"

#include <stdlib.h>

struct found {
	struct stats_recent_drop drop;
	unsigned worker;
};

static int compare_found(const void *a, const void *b)
{
	uint64_t x = ((const struct found *)a)->drop.at_ns,
		 y = ((const struct found *)b)->drop.at_ns;

	return (x < y) - (x > y);
}

static size_t collect(struct ctl *c, struct found *out,
	bool (*wants)(const void *arg, const struct stats_recent_drop *d), const void *arg)
{
	uint64_t now_ns = c->p.now_ns();
	size_t n = 0;

	for (unsigned worker = 0; worker < c->p.n_workers; worker++) {
		for (uint64_t i = 0; i < STATS_RECENT_SLOTS; i++) {
			out[n].worker = worker;
			if (stats_recent_read(c->p.recent[worker], i, now_ns, &out[n].drop) &&
				(wants == NULL || wants(arg, &out[n].drop)))
				n++;
		}
	}
	qsort(out, n, sizeof(out[0]), compare_found);
	return n;
}

void ctl_end_write(struct rpc_text *t, const char *name, const struct ip_endpoint *e)
{
	char text[IP_TEXT_CHARS];

	if (ip_is_none(&e->addr))
		rpc_write_null(t, name);
	else if (e->port == 0)
		rpc_write_text(t, name, ip_addr_format(&e->addr, text));
	else
		rpc_write_text(t, name, ip_endpoint_format(e, text));
}

static void write_found(struct ctl *c, const struct found *f, struct rpc_text *t)
{
	uint64_t now_ns = c->p.now_ns();
	char proto[CTL_IP_PROTO_CHARS];

	rpc_write_begin(t, NULL, '{');
	rpc_write_text(t, "reason", stats_drop_name(f->drop.reason));
	rpc_write_seconds(t, "age_s", now_ns > f->drop.at_ns ? now_ns - f->drop.at_ns : 0);
	if (ip_is_none(&f->drop.src.addr))
		rpc_write_null(t, "proto");
	else
		rpc_write_text(t, "proto", ctl_ip_proto_word(f->drop.proto, proto));
	ctl_end_write(t, "src", &f->drop.src);
	ctl_end_write(t, "dst", &f->drop.dst);
	rpc_write_integer(t, "bytes", f->drop.size_bytes);
	rpc_write_integer(t, "worker", f->worker);
	rpc_write_end(t, '}');
}

void ctl_recent_write(struct ctl *c, struct rpc_text *t, uint64_t n,
	bool (*wants)(const void *arg, const struct stats_recent_drop *d), const void *arg)
{
	struct found *found = c->p.recent == NULL ? NULL
						  : calloc(c->p.n_workers * STATS_RECENT_SLOTS + 1,
							    sizeof(*found));
	size_t n_found = found != NULL ? collect(c, found, wants, arg) : 0;

	rpc_write_begin(t, "recent", '[');
	for (size_t i = 0; i < n_found && i < n; i++)
		write_found(c, &found[i], t);
	rpc_write_end(t, ']');
	free(found);
}
