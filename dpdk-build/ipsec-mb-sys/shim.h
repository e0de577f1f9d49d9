/* What Rust cannot call or see directly: ipsec-mb's macros over function pointers, and the
 * places of the job's fields, many of which stand in anonymous unions. bindgen reads this file;
 * shim.c holds the bodies and the assertions on the fields' widths. */
#ifndef HEARTH_IPSEC_MB_SHIM_H
#define HEARTH_IPSEC_MB_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <intel-ipsec-mb.h>

enum hearth_job_layout {
	HEARTH_JOB_ENC_KEYS = offsetof(IMB_JOB, enc_keys),
	HEARTH_JOB_DEC_KEYS = offsetof(IMB_JOB, dec_keys),
	HEARTH_JOB_KEY_LEN = offsetof(IMB_JOB, key_len_in_bytes),
	HEARTH_JOB_SRC = offsetof(IMB_JOB, src),
	HEARTH_JOB_DST = offsetof(IMB_JOB, dst),
	HEARTH_JOB_CIPHER_OFFSET = offsetof(IMB_JOB, cipher_start_src_offset_in_bytes),
	HEARTH_JOB_CIPHER_LEN = offsetof(IMB_JOB, msg_len_to_cipher_in_bytes),
	HEARTH_JOB_HASH_OFFSET = offsetof(IMB_JOB, hash_start_src_offset_in_bytes),
	HEARTH_JOB_HASH_LEN = offsetof(IMB_JOB, msg_len_to_hash_in_bytes),
	HEARTH_JOB_IV = offsetof(IMB_JOB, iv),
	HEARTH_JOB_IV_LEN = offsetof(IMB_JOB, iv_len_in_bytes),
	HEARTH_JOB_TAG = offsetof(IMB_JOB, auth_tag_output),
	HEARTH_JOB_TAG_LEN = offsetof(IMB_JOB, auth_tag_output_len_in_bytes),
	HEARTH_JOB_HMAC_IPAD = offsetof(IMB_JOB, u.HMAC._hashed_auth_key_xor_ipad),
	HEARTH_JOB_HMAC_OPAD = offsetof(IMB_JOB, u.HMAC._hashed_auth_key_xor_opad),
	HEARTH_JOB_XCBC_K1 = offsetof(IMB_JOB, u.XCBC._k1_expanded),
	HEARTH_JOB_XCBC_K2 = offsetof(IMB_JOB, u.XCBC._k2),
	HEARTH_JOB_XCBC_K3 = offsetof(IMB_JOB, u.XCBC._k3),
	HEARTH_JOB_GCM_AAD = offsetof(IMB_JOB, u.GCM.aad),
	HEARTH_JOB_GCM_AAD_LEN = offsetof(IMB_JOB, u.GCM.aad_len_in_bytes),
	HEARTH_JOB_STATUS = offsetof(IMB_JOB, status),
	HEARTH_JOB_CIPHER_MODE = offsetof(IMB_JOB, cipher_mode),
	HEARTH_JOB_CIPHER_DIRECTION = offsetof(IMB_JOB, cipher_direction),
	HEARTH_JOB_HASH_ALG = offsetof(IMB_JOB, hash_alg),
	HEARTH_JOB_CHAIN_ORDER = offsetof(IMB_JOB, chain_order),
	HEARTH_JOB_USER_DATA = offsetof(IMB_JOB, user_data),
	HEARTH_JOB_USER_DATA2 = offsetof(IMB_JOB, user_data2),
};

enum hearth_job_values {
	HEARTH_CIPHER_CBC = IMB_CIPHER_CBC,
	HEARTH_CIPHER_GCM = IMB_CIPHER_GCM,
	HEARTH_CIPHER_NULL = IMB_CIPHER_NULL,
	HEARTH_CIPHER_DES3 = IMB_CIPHER_DES3,
	HEARTH_DIR_ENCRYPT = IMB_DIR_ENCRYPT,
	HEARTH_DIR_DECRYPT = IMB_DIR_DECRYPT,
	HEARTH_AUTH_HMAC_SHA1 = IMB_AUTH_HMAC_SHA_1,
	HEARTH_AUTH_XCBC = IMB_AUTH_AES_XCBC,
	HEARTH_AUTH_GCM = IMB_AUTH_AES_GMAC,
	HEARTH_ORDER_CIPHER_HASH = IMB_ORDER_CIPHER_HASH,
	HEARTH_ORDER_HASH_CIPHER = IMB_ORDER_HASH_CIPHER,
	HEARTH_STATUS_COMPLETED = IMB_STATUS_COMPLETED,
	HEARTH_MAX_BURST = IMB_MAX_BURST_SIZE,
	HEARTH_MAX_JOBS = IMB_MAX_JOBS,
	HEARTH_GCM_KEY_SIZE = sizeof(struct gcm_key_data),
};

enum hearth_imb_arch {
	HEARTH_ARCH_AUTO,
	HEARTH_ARCH_SSE,
	HEARTH_ARCH_AVX,
	HEARTH_ARCH_AVX2,
	HEARTH_ARCH_AVX512,
	HEARTH_ARCH_OTHER,
};

/* Sets the manager up for an instruction set; 0, or the library's error number. */
int hearth_imb_init(IMB_MGR *mgr, enum hearth_imb_arch arch);
enum hearth_imb_arch hearth_imb_arch_of(const IMB_MGR *mgr);

IMB_JOB *hearth_imb_next_job(IMB_MGR *mgr);
IMB_JOB *hearth_imb_submit_job(IMB_MGR *mgr);
IMB_JOB *hearth_imb_completed_job(IMB_MGR *mgr);
IMB_JOB *hearth_imb_flush_job(IMB_MGR *mgr);
uint32_t hearth_imb_next_burst(IMB_MGR *mgr, uint32_t n, IMB_JOB **jobs);
uint32_t hearth_imb_submit_burst(IMB_MGR *mgr, uint32_t n, IMB_JOB **jobs);
uint32_t hearth_imb_flush_burst(IMB_MGR *mgr, uint32_t max, IMB_JOB **jobs);

/* Key schedules; the caller's buffers are 16-octet aligned. */
void hearth_imb_aes128_keyexp(IMB_MGR *mgr, const uint8_t key[16], uint8_t enc[176],
			      uint8_t dec[176]);
void hearth_imb_des_keysched(IMB_MGR *mgr, uint64_t schedule[16], const uint8_t key[8]);
void hearth_imb_sha1_one_block(IMB_MGR *mgr, const uint8_t block[64], uint8_t digest[20]);
void hearth_imb_xcbc_keyexp(IMB_MGR *mgr, const uint8_t key[16], uint8_t k1[176], uint8_t k2[16],
			    uint8_t k3[16]);
/* `expanded` takes HEARTH_GCM_KEY_SIZE octets and is 64-octet aligned, which the header says only
 * where LINUX is defined. */
void hearth_imb_aes128_gcm_pre(IMB_MGR *mgr, const uint8_t key[16], uint8_t *expanded);

#endif
