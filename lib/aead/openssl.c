/* OpenSSL EVP. Cycles a packet on a Sapphire Rapids core, seal, at 64 / 512 / 1420 bytes: with the
 * tag as a parameter 1406 / 1790 / 2801, with EVP_CIPHER_CTX_ctrl 1814 / 2198 / 3212. */
#include "aead/backend.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <rte_malloc.h>

struct state {
	EVP_CIPHER *cipher;
	/* One a direction: changing it would fetch and schedule anew. */
	EVP_CIPHER_CTX *seal, *open;
};

static void destroy(void *arg)
{
	struct state *s = arg;

	/* These wipe the key schedules. */
	EVP_CIPHER_CTX_free(s->seal);
	EVP_CIPHER_CTX_free(s->open);
	EVP_CIPHER_free(s->cipher);
	rte_free(s);
}

static void *create(int socket_id)
{
	struct state *s = rte_zmalloc_socket("aead", sizeof(*s), RTE_CACHE_LINE_SIZE, socket_id);

	if (s == NULL)
		return NULL;
	s->cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	s->seal = EVP_CIPHER_CTX_new();
	s->open = EVP_CIPHER_CTX_new();
	if (s->cipher == NULL || s->seal == NULL || s->open == NULL)
		goto fail;
	if (EVP_EncryptInit_ex2(s->seal, s->cipher, NULL, NULL, NULL) != 1 ||
		EVP_DecryptInit_ex2(s->open, s->cipher, NULL, NULL, NULL) != 1)
		goto fail;
	return s;
fail:
	destroy(s);
	return NULL;
}

static OSSL_PARAM tag_param(uint8_t *tag)
{
	return OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, AEAD_TAG_BYTES);
}

static bool seal_one(EVP_CIPHER_CTX *ctx, const struct aead_job *job)
{
	uint8_t nonce[AEAD_NONCE_BYTES];
	OSSL_PARAM params[] = {tag_param(job->dst + job->len), OSSL_PARAM_construct_end()};
	int n_out;

	build_nonce(nonce, job->counter);
	if (EVP_EncryptInit_ex2(ctx, NULL, job->key, nonce, NULL) != 1)
		return false;
	/* Zero bytes are not an update but a final in this cipher. */
	if (job->len != 0 && EVP_EncryptUpdate(ctx, job->dst, &n_out, job->src, (int)job->len) != 1)
		return false;
	return EVP_EncryptFinal_ex(ctx, job->dst + job->len, &n_out) == 1 &&
	       EVP_CIPHER_CTX_get_params(ctx, params) == 1;
}

static bool open_one(EVP_CIPHER_CTX *ctx, const struct aead_job *job)
{
	uint8_t nonce[AEAD_NONCE_BYTES], none[AEAD_TAG_BYTES];
	/* Read only, whatever the type says; compared in constant time by final. */
	OSSL_PARAM params[] = {
		tag_param((uint8_t *)(uintptr_t)job->src + job->len), OSSL_PARAM_construct_end()};
	int n_out;

	build_nonce(nonce, job->counter);
	if (EVP_DecryptInit_ex2(ctx, NULL, job->key, nonce, params) != 1)
		return false;
	if (job->len != 0 && EVP_DecryptUpdate(ctx, job->dst, &n_out, job->src, (int)job->len) != 1)
		return false;
	return EVP_DecryptFinal_ex(ctx, none, &n_out) == 1;
}

static void seal_burst(void *state, struct aead_job *jobs, uint16_t n)
{
	struct state *s = state;

	for (uint16_t i = 0; i < n; i++)
		if (!seal_one(s->seal, &jobs[i]))
			blank_job(&jobs[i]);
}

static void open_burst(void *state, struct aead_job *jobs, uint16_t n)
{
	struct state *s = state;

	for (uint16_t i = 0; i < n; i++)
		jobs[i].is_authentic = open_one(s->open, &jobs[i]);
}

const struct aead_ops aead_openssl_ops = {
	.name = "openssl",
	.create = create,
	.destroy = destroy,
	.seal_burst = seal_burst,
	.open_burst = open_burst,
};
