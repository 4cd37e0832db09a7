/* libipsec-mb. Cycles a packet on a Sapphire Rapids core (AVX-512 IFMA), seal, bursts of 32, at 64
 * / 512 / 1420 bytes: submit_burst_nocheck 321 / 726 / 1187, submit_job_nocheck 327 / 727 / 1214,
 * submit_job 346 / 745 / 1237, direct API 590 / 822 / 1497. The check is of lengths and pointers
 * that are ours. */
#include "aead/backend.h"

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <rte_common.h>
#include <rte_malloc.h>

struct state {
	size_t total_bytes;
	IMB_MGR *mgr; /* in the same block, behind this struct */
	struct {
		uint8_t nonce[16]; /* AEAD_NONCE_BYTES of it */
		uint8_t tag[AEAD_TAG_BYTES];
	} scratch[AEAD_BURST_MAX] __rte_cache_aligned;
};

static void destroy(void *arg)
{
	struct state *s = arg;

	OPENSSL_cleanse(s, s->total_bytes);
	rte_free(s);
}

static void *create(int socket_id)
{
	size_t total_bytes = sizeof(struct state) + imb_get_mb_mgr_size();
	struct state *s = rte_zmalloc_socket("aead", total_bytes, RTE_CACHE_LINE_SIZE, socket_id);
	IMB_ARCH arch = IMB_ARCH_NONE;

	if (s == NULL)
		return NULL;
	s->total_bytes = total_bytes;
	/* Our memory, not alloc_mb_mgr's: on the worker's socket, and ours to wipe. */
	s->mgr = imb_set_pointers_mb_mgr(s + 1, 0, 1);
	if (s->mgr == NULL)
		goto fail;
	init_mb_mgr_auto(s->mgr, &arch);
	if (imb_get_errno(s->mgr) != 0 || arch == IMB_ARCH_NONE)
		goto fail;
	return s;
fail:
	destroy(s);
	return NULL;
}

static inline void fill_job(
	struct state *s, IMB_JOB *out, struct aead_job *jobs, uint16_t i, bool is_seal)
{
	struct aead_job *job = &jobs[i];

	build_nonce(s->scratch[i].nonce, job->counter);
	out->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	out->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	out->cipher_direction = is_seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	out->chain_order = is_seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
	out->enc_keys = job->key;
	out->dec_keys = job->key;
	out->key_len_in_bytes = AEAD_KEY_BYTES;
	out->iv = s->scratch[i].nonce;
	out->iv_len_in_bytes = AEAD_NONCE_BYTES;
	out->src = job->src;
	out->dst = job->dst;
	out->cipher_start_src_offset_in_bytes = 0;
	out->hash_start_src_offset_in_bytes = 0;
	out->msg_len_to_cipher_in_bytes = job->len;
	out->msg_len_to_hash_in_bytes = job->len;
	out->u.CHACHA20_POLY1305.aad = NULL;
	out->u.CHACHA20_POLY1305.aad_len_in_bytes = 0;
	out->auth_tag_output = is_seal ? job->dst + job->len : s->scratch[i].tag;
	out->auth_tag_output_len_in_bytes = AEAD_TAG_BYTES;
	out->user_data = job;
}

static inline void finish_jobs(
	struct state *s, IMB_JOB *const *done, uint32_t n, struct aead_job *jobs, bool is_seal)
{
	for (uint32_t i = 0; i < n; i++) {
		struct aead_job *job = done[i]->user_data;
		bool is_done = done[i]->status == IMB_STATUS_COMPLETED;

		if (is_seal && !is_done)
			blank_job(job);
		else if (!is_seal)
			job->is_authentic =
				is_done && CRYPTO_memcmp(s->scratch[job - jobs].tag,
						   job->src + job->len, AEAD_TAG_BYTES) == 0;
	}
}

static inline void run_burst(struct state *s, struct aead_job *jobs, uint16_t n, bool is_seal)
{
	IMB_JOB *imb_jobs[AEAD_BURST_MAX];
	uint32_t n_free, n_done, n_flushed;

	/* The manager's queue holds 256 and is empty between bursts: all n are there. */
	n_free = IMB_GET_NEXT_BURST(s->mgr, n, imb_jobs);
	for (uint16_t i = 0; i < n_free; i++)
		fill_job(s, imb_jobs[i], jobs, i, is_seal);
	n_done = IMB_SUBMIT_BURST_NOCHECK(s->mgr, n_free, imb_jobs);
	finish_jobs(s, imb_jobs, n_done, jobs, is_seal);
	/* 1.3 completes this cipher at once; a version that gathers jobs is flushed here. */
	while (unlikely(n_done < n_free)) {
		n_flushed = IMB_FLUSH_BURST(s->mgr, n_free - n_done, imb_jobs);
		if (n_flushed == 0)
			break;
		finish_jobs(s, imb_jobs, n_flushed, jobs, is_seal);
		n_done += n_flushed;
	}
	for (uint32_t i = n_done; is_seal && unlikely(i < n); i++)
		blank_job(&jobs[i]);
}

static void seal_burst(void *state, struct aead_job *jobs, uint16_t n)
{
	run_burst(state, jobs, n, true);
}

static void open_burst(void *state, struct aead_job *jobs, uint16_t n)
{
	run_burst(state, jobs, n, false);
}

const struct aead_ops aead_ipsec_mb_ops = {
	.name = "ipsec-mb",
	.create = create,
	.destroy = destroy,
	.seal_burst = seal_burst,
	.open_burst = open_burst,
};
