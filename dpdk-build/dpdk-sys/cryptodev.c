#include "shim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What stands behind an operation in the same pool element. */
struct crypto_private {
	uint8_t iv[16];
	uint8_t aad[16];
	uint8_t back;
};
#define CRYPTO_PRIVATE (sizeof(struct rte_crypto_op) + sizeof(struct rte_crypto_sym_op))

static struct crypto_private *crypto_private(const struct rte_crypto_op *op)
{
	return rte_crypto_op_ctod_offset(op, struct crypto_private *, CRYPTO_PRIVATE);
}

struct suite {
	uint8_t aead;
	uint8_t cipher; /* 0: none */
	uint8_t auth;
	uint8_t cipher_key, iv, auth_key, tag;
};

static const struct suite suites[] = {
	[HEARTH_SUITE_NULL_SHA1] = { 0, 0, RTE_CRYPTO_AUTH_SHA1_HMAC, 0, 0, 20, 12 },
	[HEARTH_SUITE_NULL_XCBC] = { 0, 0, RTE_CRYPTO_AUTH_AES_XCBC_MAC, 0, 0, 16, 12 },
	[HEARTH_SUITE_3DES_SHA1] = { 0, RTE_CRYPTO_CIPHER_3DES_CBC, RTE_CRYPTO_AUTH_SHA1_HMAC, 24, 8,
				     20, 12 },
	[HEARTH_SUITE_AES_SHA1] = { 0, RTE_CRYPTO_CIPHER_AES_CBC, RTE_CRYPTO_AUTH_SHA1_HMAC, 16, 16,
				    20, 12 },
	[HEARTH_SUITE_AES_XCBC] = { 0, RTE_CRYPTO_CIPHER_AES_CBC, RTE_CRYPTO_AUTH_AES_XCBC_MAC, 16,
				    16, 16, 12 },
	[HEARTH_SUITE_AES_GCM] = { RTE_CRYPTO_AEAD_AES_GCM, 0, 0, 16, 12, 0, 16 },
};

int hearth_crypto_info(uint8_t dev, struct hearth_crypto_info *info)
{
	struct rte_cryptodev_info state;

	if (!rte_cryptodev_is_valid_dev(dev))
		return -ENODEV;
	memset(&state, 0, sizeof(state));
	rte_cryptodev_info_get(dev, &state);
	info->driver = state.driver_name;
	info->device = state.device;
	info->max_queues = state.max_nb_queue_pairs;
	info->symmetric = (state.feature_flags & RTE_CRYPTODEV_FF_SYMMETRIC_CRYPTO) != 0;
	return 0;
}

int hearth_crypto_by_bus(const char *name)
{
	struct hearth_crypto_info info;
	int dev;

	for (dev = 0; dev < RTE_CRYPTO_MAX_DEVS; dev++)
		if (hearth_crypto_info(dev, &info) == 0 && info.symmetric && info.device != NULL &&
		    strcmp(rte_dev_name(info.device), name) == 0)
			return dev;
	return -1;
}

int hearth_crypto_setup(uint8_t dev, uint16_t queues, uint32_t descriptors)
{
	int socket = rte_cryptodev_socket_id(dev);
	struct rte_cryptodev_config conf = {
		.socket_id = socket,
		.nb_queue_pairs = queues,
		.ff_disable = RTE_CRYPTODEV_FF_ASYMMETRIC_CRYPTO | RTE_CRYPTODEV_FF_SECURITY,
	};
	struct rte_cryptodev_qp_conf queue_conf = { .nb_descriptors = descriptors };
	uint16_t queue;
	int rc = rte_cryptodev_configure(dev, &conf);

	for (queue = 0; rc == 0 && queue < queues; queue++)
		rc = rte_cryptodev_queue_pair_setup(dev, queue, &queue_conf, socket);
	return rc != 0 ? rc : rte_cryptodev_start(dev);
}

void hearth_crypto_close(uint8_t dev, int started)
{
	if (started)
		rte_cryptodev_stop(dev);
	rte_cryptodev_close(dev);
}

static const struct rte_cryptodev_symmetric_capability *
capability(uint8_t dev, enum rte_crypto_sym_xform_type type, int algorithm)
{
	struct rte_cryptodev_sym_capability_idx index = { .type = type };

	if (type == RTE_CRYPTO_SYM_XFORM_CIPHER)
		index.algo.cipher = algorithm;
	else if (type == RTE_CRYPTO_SYM_XFORM_AUTH)
		index.algo.auth = algorithm;
	else
		index.algo.aead = algorithm;
	return rte_cryptodev_sym_capability_get(dev, &index);
}

int hearth_crypto_supports(uint8_t dev, enum hearth_suite number)
{
	const struct suite *suite = &suites[number];
	const struct rte_cryptodev_symmetric_capability *able;

	if (suite->aead != 0) {
		able = capability(dev, RTE_CRYPTO_SYM_XFORM_AEAD, suite->aead);
		return able != NULL &&
		       rte_cryptodev_sym_capability_check_aead(able, suite->cipher_key, suite->tag,
							       HEARTH_GCM_AAD, suite->iv) == 0;
	}
	if (suite->cipher != 0) {
		able = capability(dev, RTE_CRYPTO_SYM_XFORM_CIPHER, suite->cipher);
		if (able == NULL || rte_cryptodev_sym_capability_check_cipher(
					    able, suite->cipher_key, suite->iv) != 0)
			return 0;
	}
	able = capability(dev, RTE_CRYPTO_SYM_XFORM_AUTH, suite->auth);
	return able != NULL &&
	       rte_cryptodev_sym_capability_check_auth(able, suite->auth_key, suite->tag, 0) == 0;
}

struct rte_mempool *hearth_crypto_session_pool(uint8_t dev, uint32_t sessions)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "hearth_session_%u", dev);
	return rte_cryptodev_sym_session_pool_create(
		name, sessions, rte_cryptodev_sym_get_private_session_size(dev), 0, 0,
		rte_cryptodev_socket_id(dev));
}

void *hearth_crypto_session(uint8_t dev, struct rte_mempool *pool, enum hearth_suite number,
			    int encrypt, const uint8_t *cipher_key, const uint8_t *auth_key)
{
	const struct suite *suite = &suites[number];
	const uint16_t iv_offset = CRYPTO_PRIVATE + offsetof(struct crypto_private, iv);
	struct rte_crypto_sym_xform first, second, *cipher, *auth;

	memset(&first, 0, sizeof(first));
	memset(&second, 0, sizeof(second));
	if (suite->aead != 0) {
		first.type = RTE_CRYPTO_SYM_XFORM_AEAD;
		first.aead.op = encrypt ? RTE_CRYPTO_AEAD_OP_ENCRYPT : RTE_CRYPTO_AEAD_OP_DECRYPT;
		first.aead.algo = suite->aead;
		first.aead.key.data = cipher_key;
		first.aead.key.length = suite->cipher_key;
		first.aead.iv.offset = iv_offset;
		first.aead.iv.length = suite->iv;
		first.aead.digest_length = suite->tag;
		first.aead.aad_length = HEARTH_GCM_AAD;
		return rte_cryptodev_sym_session_create(dev, &first, pool);
	}
	/* Encrypt then authenticate; verify then decrypt. */
	cipher = encrypt ? &first : &second;
	auth = suite->cipher == 0 ? &first : encrypt ? &second : &first;
	auth->type = RTE_CRYPTO_SYM_XFORM_AUTH;
	auth->auth.op = encrypt ? RTE_CRYPTO_AUTH_OP_GENERATE : RTE_CRYPTO_AUTH_OP_VERIFY;
	auth->auth.algo = suite->auth;
	auth->auth.key.data = auth_key;
	auth->auth.key.length = suite->auth_key;
	auth->auth.digest_length = suite->tag;
	if (suite->cipher != 0) {
		first.next = &second;
		cipher->type = RTE_CRYPTO_SYM_XFORM_CIPHER;
		cipher->cipher.op =
			encrypt ? RTE_CRYPTO_CIPHER_OP_ENCRYPT : RTE_CRYPTO_CIPHER_OP_DECRYPT;
		cipher->cipher.algo = suite->cipher;
		cipher->cipher.key.data = cipher_key;
		cipher->cipher.key.length = suite->cipher_key;
		cipher->cipher.iv.offset = iv_offset;
		cipher->cipher.iv.length = suite->iv;
	}
	return rte_cryptodev_sym_session_create(dev, &first, pool);
}

void hearth_crypto_session_free(uint8_t dev, void *session)
{
	/* It wipes the keys. */
	rte_cryptodev_sym_session_free(dev, session);
}

struct rte_mempool *hearth_crypto_op_pool(uint8_t dev, uint16_t queue, uint32_t ops)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "hearth_ops_%u_%u", dev, queue);
	return rte_crypto_op_pool_create(name, RTE_CRYPTO_OP_TYPE_SYMMETRIC, ops, 0,
					 sizeof(struct crypto_private),
					 rte_cryptodev_socket_id(dev));
}

int hearth_crypto_op_alloc(struct rte_mempool *pool, struct rte_crypto_op **ops, uint16_t n)
{
	return rte_crypto_op_bulk_alloc(pool, RTE_CRYPTO_OP_TYPE_SYMMETRIC, ops, n) == n ? 0 :
											   -ENOMEM;
}

void hearth_crypto_op_free(struct rte_crypto_op *op)
{
	rte_crypto_op_free(op);
}

void hearth_crypto_fill(struct rte_crypto_op *op, enum hearth_suite number, void *session,
			struct rte_mbuf *mbuf, const struct hearth_crypto_op *what)
{
	struct crypto_private *private = crypto_private(op);
	struct rte_crypto_sym_op *sym = op->sym;
	uint8_t *tag = rte_pktmbuf_mtod_offset(mbuf, uint8_t *, what->tag_offset);
	rte_iova_t tag_iova = rte_pktmbuf_iova_offset(mbuf, what->tag_offset);

	__rte_crypto_op_reset(op, RTE_CRYPTO_OP_TYPE_SYMMETRIC);
	rte_crypto_op_attach_sym_session(op, session);
	private->back = 0;
	memcpy(private->iv, what->iv, what->iv_len);
	sym->m_src = mbuf;
	if (suites[number].aead != 0) {
		/* Some devices read the additional data in units of 16 octets. */
		memset(private->aad, 0, sizeof(private->aad));
		memcpy(private->aad, rte_pktmbuf_mtod_offset(mbuf, void *, what->auth_offset),
		       HEARTH_GCM_AAD);
		sym->aead.data.offset = what->cipher_offset;
		sym->aead.data.length = what->cipher_len;
		sym->aead.digest.data = tag;
		sym->aead.digest.phys_addr = tag_iova;
		sym->aead.aad.data = private->aad;
		sym->aead.aad.phys_addr = rte_crypto_op_ctophys_offset(
			op, CRYPTO_PRIVATE + offsetof(struct crypto_private, aad));
		return;
	}
	sym->cipher.data.offset = what->cipher_offset;
	sym->cipher.data.length = what->cipher_len;
	sym->auth.data.offset = what->auth_offset;
	sym->auth.data.length = what->auth_len;
	sym->auth.digest.data = tag;
	sym->auth.digest.phys_addr = tag_iova;
}

uint16_t hearth_crypto_enqueue(uint8_t dev, uint16_t queue, struct rte_crypto_op **ops, uint16_t n)
{
	uint16_t done = 0;

	while (done < n) {
		done += rte_cryptodev_enqueue_burst(dev, queue, ops + done, n - done);
		/* A full queue leaves the operation untouched; one that the device has refused, or
		 * (crypto_openssl) carried out without taking it, must not go in again. */
		if (done == n || ops[done]->status == RTE_CRYPTO_OP_STATUS_NOT_PROCESSED)
			break;
		crypto_private(ops[done])->back = 1;
		done++;
	}
	return done;
}

uint16_t hearth_crypto_dequeue(uint8_t dev, uint16_t queue)
{
	struct rte_crypto_op *ops[HEARTH_CRYPTO_BURST];
	uint16_t i, n = rte_cryptodev_dequeue_burst(dev, queue, ops, HEARTH_CRYPTO_BURST);

	for (i = 0; i < n; i++)
		crypto_private(ops[i])->back = 1;
	return n;
}

int hearth_crypto_is_back(const struct rte_crypto_op *op)
{
	return crypto_private(op)->back;
}

enum hearth_crypto_verdict hearth_crypto_verdict(const struct rte_crypto_op *op)
{
	switch (op->status) {
	case RTE_CRYPTO_OP_STATUS_SUCCESS:
		return HEARTH_CRYPTO_DONE;
	case RTE_CRYPTO_OP_STATUS_AUTH_FAILED:
		return HEARTH_CRYPTO_BAD_TAG;
	default:
		return HEARTH_CRYPTO_FAILED;
	}
}
