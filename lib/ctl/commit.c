/* Commit before reply: replies to changes leave when every worker has passed a quiescent point that
 * follows the change and, with a store, when it is on disk. */
#include "ctl/server.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Workers that poll pass a quiescent point within microseconds: it is worth going round the loop
 * for it that often before sleeping. sched_yield, because a worker may live on this CPU. */
#define SPINS	     64u
#define SHORT_NAPS   100u
#define SHORT_NAP_US 1000
#define LONG_NAP_US  10000

static void free_commit(struct ctl_commit *commit)
{
	if (commit->replies != NULL)
		evbuffer_free(commit->replies);
	if (commit->refusals != NULL)
		evbuffer_free(commit->refusals);
	free(commit);
}

struct ctl_commit *ctl_commit_get(struct ctl_client *client)
{
	struct ctl_commit *commit = client->commit;

	if (commit != NULL)
		return commit;
	commit = calloc(1, sizeof(*commit));
	if (commit == NULL)
		return NULL;
	commit->replies = evbuffer_new();
	commit->refusals = evbuffer_new();
	if (commit->replies == NULL || commit->refusals == NULL) {
		free_commit(commit);
		return NULL;
	}
	commit->ctl = client->ctl;
	commit->client = client;
	client->commit = commit;
	client->n_commits++;
	TAILQ_INSERT_TAIL(&client->ctl->commits, commit, next);
	return commit;
}

static void destroy_commit(struct ctl_commit *commit)
{
	TAILQ_REMOVE(&commit->ctl->commits, commit, next);
	free_commit(commit);
}

/* As it may stand in JSON. */
static void copy_why(const struct ctl *c, char buf[static STORE_WHY_CHARS])
{
	snprintf(buf, STORE_WHY_CHARS, "%s", c->store_status.why);
	for (char *at = buf; *at != '\0'; at++)
		if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
			*at = '\'';
}

/* Say why in each refusal. Without memory a mark stays. */
static void say_why(const struct ctl *c, struct evbuffer *refusals)
{
	const size_t mark_len = strlen(CTL_WHY_MARK_JSON);
	struct evbuffer *said = evbuffer_new();
	struct evbuffer_ptr at;
	char why[STORE_WHY_CHARS];

	if (said == NULL)
		return;
	copy_why(c, why);
	while ((at = evbuffer_search(refusals, CTL_WHY_MARK_JSON, mark_len, NULL)).pos >= 0) {
		evbuffer_remove_buffer(refusals, said, (size_t)at.pos);
		evbuffer_drain(refusals, mark_len);
		evbuffer_add(said, why, strlen(why));
	}
	evbuffer_prepend_buffer(refusals, said);
	evbuffer_free(said);
}

static void on_committed(void *arg, bool is_durable)
{
	struct ctl_commit *commit = arg;
	struct ctl_client *client = commit->client;

	if (!is_durable)
		say_why(commit->ctl, commit->refusals);
	for (uint64_t id = commit->opened_after_id; id < commit->opened_to_id; id++)
		ctl_promise_door(commit->ctl, id + 1);
	if (client != NULL) {
		client->n_commits--;
		client->uncommitted_bytes -= evbuffer_get_length(commit->replies);
		commit->client = NULL;
		if (ctl_client_send(client, is_durable ? commit->replies : commit->refusals))
			ctl_client_run(client);
	}
	destroy_commit(commit);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	struct ctl *c = arg;
	struct timeval nap = {0};

	c->n_polls = grace_poll(c->p.grace) > 0 ? 0 : c->n_polls + 1;
	if (grace_pending(c->p.grace) == 0)
		return;
	if (c->n_polls > SPINS)
		nap.tv_usec = c->n_polls > SPINS + SHORT_NAPS ? LONG_NAP_US : SHORT_NAP_US;
	else if (c->n_polls > 0)
		sched_yield();
	event_add(c->ev_poll, &nap);
}

int ctl_commits_init(struct ctl *c)
{
	TAILQ_INIT(&c->commits);
	c->ev_poll = evtimer_new(c->p.base, on_poll, c);
	return c->ev_poll == NULL ? -ENOMEM : 0;
}

void ctl_commits_fini(struct ctl *c)
{
	struct ctl_commit *commit;

	if (c->ev_poll != NULL)
		event_free(c->ev_poll);
	while ((commit = TAILQ_FIRST(&c->commits)) != NULL) {
		ctl_wait_cancel(&commit->wait);
		destroy_commit(commit);
	}
}

void ctl_commit_poll(struct ctl *c)
{
	const struct timeval at_once = {0};

	if (grace_pending(c->p.grace) == 0)
		return;
	c->n_polls = 0;
	event_add(c->ev_poll, &at_once);
}

void ctl_commit_start(struct ctl_client *client)
{
	struct ctl_commit *commit = client->commit;

	if (commit == NULL)
		return;
	client->commit = NULL;
	commit->opened_after_id = client->ctl->opened_after_id;
	commit->opened_to_id = client->ctl->opened_to_id;
	client->ctl->opened_after_id = client->ctl->opened_to_id;
	ctl_wait_start(client->ctl, &commit->wait, on_committed, commit);
}

void ctl_commits_disown(struct ctl_client *client)
{
	struct ctl_commit *commit, *next;

	/* Not yet given to grace. */
	if (client->commit != NULL)
		destroy_commit(client->commit);
	client->commit = NULL;
	for (commit = TAILQ_FIRST(&client->ctl->commits); commit != NULL; commit = next) {
		next = TAILQ_NEXT(commit, next);
		if (commit->client == client)
			commit->client = NULL;
	}
}
