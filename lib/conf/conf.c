#include "conf/conf.h"
#include "conf/conf_impl.h"
#include "crypto/crypto.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void faults_emit(const struct conf_ctx *ctx, conf_fault_fn fault, void *arg)
{
	char sentence[CONF_FAULT_CHARS];

	for (unsigned i = 0; i < ctx->n_faults; i++) {
		const struct conf_fault *f = &ctx->faults[i];
		int n = f->line ? snprintf(
					  sentence, sizeof(sentence), "%s:%u: ", ctx->path, f->line)
				: snprintf(sentence, sizeof(sentence), "%s: ", ctx->path);

		if (n > 0 && n < CONF_FAULT_CHARS)
			snprintf(sentence + n, sizeof(sentence) - (size_t)n, "%.*s",
				CONF_FAULT_CHARS - 1 - n, f->text);
		fault(arg, sentence);
	}
	if (ctx->n_unlisted > 0) {
		snprintf(sentence, sizeof(sentence), "%s: %u more faults are not listed", ctx->path,
			ctx->n_unlisted);
		fault(arg, sentence);
	}
}

static void check_all(struct conf_ctx *ctx)
{
	conf_check_host(ctx);
	conf_check_ports(ctx);
	conf_check_pools(ctx);
	conf_check_tunnel(ctx);
	conf_check_lease_rules(ctx);
	conf_check_history(ctx);
	conf_check_nat(ctx);
	conf_check_peers(ctx);
	conf_check_routes(ctx);
	conf_check_leases(ctx);
}

static void read_text(struct conf_ctx *ctx, const char *text)
{
	config_t tree;

	config_init(&tree);
	if (config_read_string(&tree, text) == CONFIG_TRUE) {
		ctx->root = config_root_setting(&tree);
		conf_read_group(ctx, ctx->root, NULL, conf_root_keys, ctx->conf);
		if (ctx->error == 0)
			check_all(ctx);
	} else {
		conf_fault_line(ctx, (unsigned)config_error_line(&tree),
			"%s; the file takes libconfig syntax, as config/portier.conf shows it",
			config_error_text(&tree));
	}
	config_destroy(&tree);
}

int conf_load(const char *path, conf_fault_fn fault, void *arg, struct conf **out)
{
	struct conf_ctx ctx = {.path = path};
	char *text = NULL;
	size_t len_bytes;
	int rc = -ENOMEM;

	ctx.conf = calloc(1, sizeof(*ctx.conf));
	ctx.faults = calloc(CONF_FAULTS_MAX, sizeof(*ctx.faults));
	if (!ctx.conf || !ctx.faults)
		goto out_free;
	rc = conf_file_read(path, &text, &len_bytes);
	if (rc != 0) {
		conf_fault_line(&ctx, 0, "the configuration cannot be read (%s)",
			rc == -EISDIR ? "not a regular file" : strerror(-rc));
		goto out_emit;
	}
	conf_text_check(&ctx, text, len_bytes);
	if (ctx.n_faults == 0)
		read_text(&ctx, text);
	rc = ctx.error ? ctx.error : ctx.n_faults > 0 ? -EINVAL : 0;
out_emit:
	if (rc != -ENOMEM) /* else the list could lack anything */
		faults_emit(&ctx, fault, arg);
out_free:
	if (rc == 0)
		*out = ctx.conf;
	else
		conf_destroy(ctx.conf);
	free(text);
	free(ctx.faults);
	free(ctx.lease_settings);
	free(ctx.lease_ports);
	return rc;
}

void conf_destroy(struct conf *c)
{
	if (!c)
		return;
	if (c->peers) /* peers may have been counted and not read */
		crypto_wipe(c->peers, c->n_peers * sizeof(*c->peers));
	free(c->peers);
	free(c->leases);
	crypto_wipe(c, sizeof(*c));
	free(c);
}
